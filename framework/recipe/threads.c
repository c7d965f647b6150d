/* threads.c — how many threads a recipe computes with, and on which path of kernels. */
#include "recipe_private.h"

int sm_recipe_threads(const sm_recipe *r, int64_t asked) {
  if (!asked && r) asked = r->train.threads;
  return asked ? (int)asked : sm_cpu_count();
}

sm_pool *sm_recipe_pool(const sm_recipe *r, int64_t threads, const char *isa, sm_error *err) {
  const bool asked = isa != NULL;
  if (!asked) isa = sm_isa_names[r ? r->train.isa : 0];
  const char *path = sm_isa_find(isa);
  if (!path) {
    char here[128];
    sm_fail(err, SM_EUNSUPPORTED, "this processor has no kernels '%s'; it has %s", isa,
            sm_isa_list(here, sizeof here));
    if (!asked) sm_fail_place(err, sm_recipe_place(r, "train", "isa"));
    sm_hint(err, "take one of these, or native, the best of them: train.isa=native, or --isa native");
    return NULL;
  }
  sm_pool *pool = sm_pool_new(sm_recipe_threads(r, threads), err);
  if (pool) sm_pool_take(pool, path);
  return pool;
}

/* eval_rig.c — see eval_rig.h. */
#include "framework/recipe/recipe.h"

#include "eval_rig.h"
#include "test.h"

static sm_status give(sm_eval_context *c, const char *split, sm_feature_spec *spec, sm_features *f,
                      sm_error *err) {
  eval_rig *g = (eval_rig *)(void *)c;
  (void)err;
  g->spec = *spec;
  snprintf(spec->what, sizeof spec->what, "made-up features");
  static int64_t in_order[4096];
  for (int i = 0; i < 4096; i++) in_order[i] = i;
  *f = strcmp(split, "train") ? g->test : g->train;
  assert_true(f->n <= 4096);
  f->index = in_order;
  return SM_OK;
}

static sm_status going_on(sm_eval_context *c, double done, sm_error *err) {
  eval_rig *g = (eval_rig *)(void *)c;
  assert_true(done >= g->done && done <= 1);
  g->done = done;
  return ++g->asked == g->stop_after ? sm_fail(err, SM_EINTERRUPTED, "stop") : SM_OK;
}

eval_rig eval_rig_make(sm_pool *pool, sm_features train, sm_features test) {
  return (eval_rig){
      .context = {.pool = pool, .features = give, .going_on = going_on}, .train = train, .test = test};
}

sm_status eval_rig_run(eval_rig *g, const char *name, const char *yaml, sm_eval_result *r, sm_error *err) {
  sm_registry *registry = sm_registry_new(NULL, err);
  const sm_plugin *plugin = registry ? sm_registry_find(registry, SM_EVALUATION, name, err) : NULL;
  if (!plugin) fail_msg("%s", err->message);
  sm_arena *arena = sm_arena_new("test");
  sm_instance instance;
  *r = (sm_eval_result){0};
  sm_status status = sm_instance_new(registry, plugin, &instance, err);
  if (!status) status = sm_options_fill(plugin, yaml, instance.self, arena, err);
  if (!status) status = sm_instance_create(&instance, err);
  if (status) fail_msg("%s", err->message);
  status = ((const sm_evaluation_ops *)plugin->ops)->run(instance.self, &g->context, r, err);
  sm_instance_free(&instance);
  sm_arena_free(arena);
  sm_registry_free(registry);
  return status;
}

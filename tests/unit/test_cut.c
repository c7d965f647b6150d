/* test_cut.c — how work is cut decides when it is done, never what comes out: steps of an odd network give the same
 * bits for any number of threads, with every instruction set and precision. Pools stand for the
 * threads, so no machine is too small for this. */
#include "framework/base/work.h"
#include "framework/tensor/kernels.h"
#include "ssl_rig.h"
#include "test.h"

enum { PICTURES = 7, STEPS = 2 };

typedef struct outcome {
  uint64_t values; /* of student, teacher and state, after the steps */
  int64_t items;   /* work items of the last of them */
  bool there;      /* the processor has this instruction set */
} outcome;

static uint64_t hash_of_sets(const sm_trainable *t) {
  uint64_t hash = 0;
  for (int s = 0; s <= SM_SET_STATE; s++)
    for (int r = 0; r < sm_set_rows(t->set[s]); r++) {
      const int64_t n = sm_set_row(t->set[s], r)->size;
      float *x = malloc((size_t)n * sizeof *x);
      assert_non_null(x);
      sm_set_read(t->set[s], r, SM_VALUES, 0, n, x);
      hash = sm_hash64(x, (size_t)n * sizeof *x, hash);
      free(x);
    }
  return hash;
}

/* Widths and numbers of tokens that fit no register, a gradient of several tiles, a short last micro-batch. */
static void open_rig(ssl_rig *rig, const char *isa, sm_dtype real, bool bf16, sm_pool *pool) {
  rig_open(rig, 1);
  sm_pool_free(rig->pool);
  rig->config.pool = rig->pool = pool;
  rig_plugin(rig, &rig->backbone, SM_BACKBONE, "vit",
             "{arch: custom, dim: 104, depth: 2, heads: 4, patch_size: 4, drop_path: 0.2, layer_scale: 0.1}");
  rig_plugin(rig, &rig->head, SM_HEAD, "projection", "{hidden: 219, bottleneck: 30, out_dim: 523}");
  rig_plugin(rig, &rig->tokenizer, SM_TOKENIZER, "online_ema", "{}");
  rig_plugin(rig, &rig->cls, SM_LOSS, "cls_distill", "{}");
  rig_plugin(rig, &rig->mim, SM_LOSS, "mim", "{}");
  rig->config.global_height = 20;
  rig->config.global_width = 24;
  rig->config.locals = 1;
  rig->config.batch_size = PICTURES;
  rig->config.micro_batch = 4;
  rig->config.isa = isa;
  rig->config.real = real;
  rig->config.bf16 = bf16;
}

static outcome steps_with(const char *isa, sm_dtype real, bool bf16, int threads) {
  ssl_rig rig;
  sm_error err = {0};
  sm_work_log log = {.turns = 1}; /* behind a step of warm-up */
  outcome out = {.there = sm_kernels_find(SM_CPU, bf16 ? SM_BF16 : real, isa)};
  if (!out.there) return out;
  sm_pool *pool = sm_pool_new_model(threads, &err);
  assert_non_null(pool);
  sm_pool_note(pool, &log);
  open_rig(&rig, isa, real, bf16, pool);
  rig_start(&rig);
  sm_batch *b = rig_batch(&rig, PICTURES, 0.4, 3);
  for (b->step = 0; b->step < STEPS; b->step++) {
    sm_time time = rig_time(&rig, b->step);
    sm_step_result result;
    sm_work_begin(&log);
    must(sm_step(rig.net, b, &time, &result, &err), &err);
    sm_work_end(&log);
  }
  for (int i = 0; i < log.jobs; i++) out.items += log.job[i].items;
  out.values = hash_of_sets(rig.net);
  rig_batch_free(b);
  rig_close(&rig);
  sm_work_free(&log);
  return out;
}

static void same_bits_for_any_number_of_threads(void **state) {
  static const char *const isa[] = {"baseline", "avx2", "avx512", "avx512_bf16"};
  static const int threads[] = {2, 3, 7, 16, 64};
  int seen = 0;
  for (int i = 0; i < 4; i++)
    for (int kind = 0; kind < 3; kind++) {
      const sm_dtype real = kind == 1 ? SM_F64 : SM_F32;
      const outcome one = steps_with(isa[i], real, kind == 2, 1);
      outcome many = one;
      for (int k = 0; one.there && k < 5; k++) {
        many = steps_with(isa[i], real, kind == 2, threads[k]);
        if (many.values != one.values)
          fail_msg("%s, %s: %d threads give other bits than one", isa[i], kind == 2 ? "bf16" : sm_dtype_name(real),
                   threads[k]);
      }
      if (!one.there) continue;
      seen++;
      /* OpenBLAS adds up in an order of its own, so there work must not be cut otherwise */
      const bool any_cut = sm_kernels_find(SM_CPU, kind == 2 ? SM_BF16 : real, isa[i])->any_cut;
      assert_true(any_cut ? many.items > one.items + one.items / 4 : many.items == one.items);
    }
  assert_true(seen >= 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(same_bits_for_any_number_of_threads)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

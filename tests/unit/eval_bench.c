/* eval_bench.c — see eval_bench.h. */
#include "eval_bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "framework/eval/classify.h"

int eval_stop_after, eval_asked;
static bool stop(void) { return ++eval_asked == eval_stop_after; }

/* ---- stripes ------------------------------------------------------------------------------------------ */

static int64_t s_count(const void *self) { return ((const stripes *)self)->n; }
static int s_label(const void *self, int64_t i) {
  const stripes *s = self;
  if (!s->sizes) return (int)(i % 4);
  int c = 0;
  for (int64_t end = s->sizes[0]; c < 3 && i >= end; end += s->sizes[++c]) {
  }
  return i < s->n - 1 ? c : -1; /* the last picture has no label */
}
static const char *s_name(const void *self, int64_t i) {
  (void)self, (void)i;
  return "stripes";
}
static int s_classes(const void *self) {
  (void)self;
  return 4;
}
static const char *s_class_name(const void *self, int c) {
  static const char *const name[] = {"none", "rows", "columns", "chequers"};
  (void)self;
  return name[c];
}
static sm_status s_read(const void *self, int64_t i, const sm_image_limits *limits, sm_image *out,
                        sm_error *err) {
  const stripes *s = self;
  (void)limits;
  sm_status status = sm_image_reshape(out, SIDE, SIDE, err);
  sm_rng rng = sm_rng_make(s->seed, SM_RNG_TEST, 0, (uint64_t)i, 0);
  int label = (int)(i % 4), shift = (int)sm_rng_below(&rng, 4);
  for (int k = 0; !status && k < SIDE * SIDE * 3; k++) {
    int y = (k / 3 / SIDE + shift) / 2 % 2, x = (k / 3 % SIDE + shift) / 2 % 2;
    int bright = label == 1 ? y : label == 2 ? x : label == 3 ? x ^ y : (int)sm_rng_below(&rng, 2);
    out->rgb[k] = (uint8_t)(96 + 40 * bright + (int)sm_rng_below(&rng, 100));
  }
  return status;
}
static uint64_t s_hash(const void *self) { return ((const stripes *)self)->seed; }
const sm_dataset_ops stripes_ops = {.count = s_count,
                                    .label = s_label,
                                    .name = s_name,
                                    .classes = s_classes,
                                    .class_name = s_class_name,
                                    .read = s_read,
                                    .hash = s_hash};

/* ---- a network and its evaluator ---------------------------------------------------------------------- */

static void make(eval_bench *b, sm_kind kind, const char *name, const char *yaml, sm_instance *to) {
  sm_error err = {0};
  const sm_plugin *p = sm_registry_find(b->registry, kind, name, &err);
  if (!p || sm_instance_new(b->registry, p, to, &err) || sm_options_fill(p, yaml, to->self, b->arena, &err) ||
      sm_instance_create(to, &err))
    fail_msg("%s", err.message);
}

static void make_network(eval_bench *b, bool with_head) {
  sm_error err = {0};
  make(b, SM_BACKBONE, "vit", "{arch: custom, dim: 32, depth: 2, heads: 2, patch_size: 4}", &b->vit);
  make(b, SM_HEAD, "projection", "{out_dim: 24, hidden: 40, bottleneck: 16}", &b->head);
  sm_network_parts parts = {.name = "vit",
                            .backbone = b->vit.plugin->ops,
                            .self = b->vit.self,
                            .height = SIDE,
                            .width = SIDE,
                            .mean = {0.5f, 0.5f, 0.5f},
                            .std = {0.25f, 0.25f, 0.25f},
                            .net = SM_NET_TEACHER,
                            .run = b->folder};
  if (with_head)
    parts.head = (sm_head){
        .ops = b->head.plugin->ops, .self = b->head.self, .role = SM_ROLE_TEACHER, .dim = 32, .view_dim = 24};
  if (sm_network_wrap(&parts, &b->network, &err) || sm_network_allocate(b->network, &err))
    fail_msg("%s", err.message);
}

void eval_bench_open(eval_bench *b, sm_pool *pool, bool with_head, const char *plugins) {
  sm_error err = {0};
  *b = (eval_bench){
      .train = {256, 1, NULL}, .test = {128, 2, NULL}, .folder = "/tmp/smalti-evaluation-XXXXXX"};
  assert_non_null(mkdtemp(b->folder));
  b->registry = sm_registry_new(plugins, &err);
  b->arena = sm_arena_new("test");
  assert_true(b->registry && b->arena);
  make_network(b, with_head);
  b->config = sm_evaluator_config_of(b->network, pool);
  b->config.train = (sm_dataset){&stripes_ops, &b->train};
  b->config.test = (sm_dataset){&stripes_ops, &b->test};
  b->config.workers = sm_pool_threads(pool) == 1 ? 1 : 3;
  b->config.stop = stop;
  b->e = eval_bench_at(b, SIDE, SIDE);
  eval_stop_after = eval_asked = 0;
}

sm_evaluator *eval_bench_at(const eval_bench *b, int height, int width) {
  sm_evaluator_config c = b->config;
  sm_evaluator *e;
  sm_error err = {0};
  c.height = height, c.width = width;
  if (sm_evaluator_new(&c, &e, &err)) fail_msg("%s", err.message);
  return e;
}

void eval_bench_close(eval_bench *b) {
  sm_evaluator_free(b->e);
  sm_network_close(b->network);
  sm_instance_free(&b->vit);
  sm_instance_free(&b->head);
  sm_arena_free(b->arena);
  sm_registry_free(b->registry);
  assert_int_equal(sm_remove_tree(b->folder, NULL), SM_OK);
}

void eval_bench_open_rank(eval_bench *b, sm_ranks *ranks) {
  sm_error err = {0};
  sm_pool *pool = sm_pool_new(1 + (sm_ranks_rank(ranks) == 1), &err);
  assert_non_null(pool);
  eval_bench_open(b, pool, false, NULL);
  b->config.ranks = ranks;
}

sm_evaluator *eval_bench_ready(eval_bench *b) {
  sm_evaluator_free(b->e);
  return b->e = eval_bench_at(b, SIDE, SIDE);
}

void eval_bench_close_rank(eval_bench *b) {
  sm_pool *pool = b->config.pool;
  eval_bench_close(b);
  sm_pool_free(pool);
}

sm_status eval_bench_run(eval_bench *b, const char *plugin, const char *yaml, sm_eval_result *r,
                         sm_error *err) {
  sm_instance instance;
  *r = (sm_eval_result){0};
  make(b, SM_EVALUATION, plugin, yaml, &instance);
  sm_status status = sm_evaluator_run(b->e, instance.plugin->ops, instance.self, NULL, r, err);
  sm_instance_free(&instance);
  return status;
}

double eval_figure(const sm_eval_result *r, const char *name) {
  for (int i = 0; i < r->n; i++)
    if (!strcmp(r->figure[i].name, name)) return r->figure[i].value;
  fail_msg("no figure %s", name);
  return 0;
}

bool eval_bench_apart(void) {
  sm_error err = {0};
  sm_pool *pool = sm_pool_new(1, &err);
  const bool apart = sm_products_apart(pool);
  sm_pool_free(pool);
  return apart;
}

/* ssl_rig.c — see ssl_rig.h. */
#include "row_rig.h"
#include "ssl_rig.h"
#include "test.h"

static void expect_ok(sm_status status, const sm_error *err) {
  char text[2048];
  if (status != SM_OK) fail_msg("%s", sm_error_text(err, text, sizeof text));
}

static double everything(const void *self) {
  (void)self;
  return 1;
}
static void nothing(const void *self, const sm_mask_request *request, uint8_t *mask) {
  (void)self, (void)request, (void)mask;
}
static const sm_masker_ops from_batch = {.max_ratio = everything, .draw = nothing};

void rig_open(ssl_rig *rig, int threads) {
  sm_error err = {0};
  *rig = (ssl_rig){.arena = sm_arena_new("rig"), .registry = sm_registry_new(NULL, &err)};
  rig->pool = sm_pool_new(threads, &err);
  if (!rig->registry || !rig->pool || !rig->arena) expect_ok(SM_ENOMEM, &err);
  rig->config = (sm_ssl_config){.masker = {"from_batch", &from_batch, NULL},
                                .globals = 2,
                                .global_height = 16,
                                .global_width = 16,
                                .local_height = 8,
                                .local_width = 8,
                                .batch_size = 4,
                                .optimizer = {.kind = SM_ADAMW, .beta1 = .9, .beta2 = .999, .eps = 1e-8},
                                .lr = {.from = 1e-3},
                                .weight_decay = {.from = .04},
                                .epochs = 10,
                                .steps_per_epoch = 4,
                                .seed = 1,
                                .device = SM_CPU,
                                .pool = rig->pool};
}

void rig_plugin(ssl_rig *rig, sm_instance *instance, sm_kind kind, const char *name, const char *format,
                ...) {
  char yaml[1024];
  sm_error err = {0};
  va_list args;
  va_start(args, format);
  vsnprintf(yaml, sizeof yaml, format, args);
  va_end(args);
  const sm_plugin *plugin = sm_registry_find(rig->registry, kind, name, &err);
  if (!plugin) expect_ok(SM_ENOTFOUND, &err);
  expect_ok(sm_instance_new(plugin, instance, &err), &err);
  expect_ok(sm_options_fill(plugin, yaml, instance->self, rig->arena, &err), &err);
  expect_ok(sm_instance_create(instance, &err), &err);
}

static sm_ssl_slot slot(const char *name, const sm_instance *i) {
  return (sm_ssl_slot){name, i->plugin->ops, i->self};
}

void rig_start(ssl_rig *rig) {
  sm_error err = {0};
  sm_ssl_config *c = &rig->config;
  if (rig->masker.self) c->masker = slot("masker", &rig->masker);
  c->backbone = slot("vit", &rig->backbone);
  c->head[0] = slot("main", &rig->head);
  c->tokenizer[0] = slot("main", &rig->tokenizer);
  c->heads = c->tokenizers = 1;
  if (rig->cls.self) c->loss[c->losses++].slot = slot("cls", &rig->cls);
  if (rig->mim.self) c->loss[c->losses++].slot = slot("mim", &rig->mim);
  expect_ok(sm_ssl_new(c, &rig->ssl, &err), &err);
  expect_ok(sm_ssl_allocate(rig->ssl, &err), &err);
}

void rig_close(ssl_rig *rig) {
  sm_ssl_free(rig->ssl);
  sm_instance *all[] = {&rig->backbone, &rig->head, &rig->tokenizer, &rig->cls, &rig->mim, &rig->masker};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (all[i]->self) sm_instance_free(all[i]);
  sm_pool_free(rig->pool);
  sm_registry_free(rig->registry);
  sm_arena_free(rig->arena);
}

/* ---- batches ----------------------------------------------------------------------------------------- */

static float *normals(sm_rng *rng, int64_t n) {
  float *x = malloc((size_t)n * sizeof *x);
  assert_non_null(x);
  for (int64_t i = 0; i < n; i++) x[i] = (float)sm_rng_normal(rng);
  return x;
}

sm_batch *rig_batch(const ssl_rig *rig, int pictures, double ratio, uint64_t seed) {
  const sm_ssl_config *c = &rig->config;
  const sm_backbone_spec *spec = sm_ssl_backbone(rig->ssl);
  sm_rng rng = sm_rng_make(seed, SM_RNG_TEST, 0, 0, 0);
  sm_batch *b = calloc(1, sizeof *b);
  assert_non_null(b);
  int64_t views = (int64_t)pictures * c->globals, locals = (int64_t)pictures * c->locals;
  int64_t side = c->global_height, small = c->local_height;
  int64_t cells = views * (side / spec->patch) * (side / spec->patch);
  b->pictures = pictures;
  b->global = normals(&rng, views * 3 * side * side);
  if (locals) b->local = normals(&rng, locals * 3 * small * small);
  b->mask = malloc((size_t)cells);
  b->sample = calloc((size_t)pictures, sizeof *b->sample);
  assert_non_null(b->mask);
  for (int64_t i = 0; i < cells; i++) b->mask[i] = sm_rng_uniform(&rng) < ratio;
  if (c->masked == SM_MASKED_ALL && locals) {
    cells = locals * (small / spec->patch) * (small / spec->patch);
    assert_non_null(b->local_mask = malloc((size_t)cells));
    for (int64_t i = 0; i < cells; i++) b->local_mask[i] = sm_rng_uniform(&rng) < ratio;
  }
  return b;
}

void rig_batch_free(sm_batch *b) {
  free(b->global);
  free(b->local);
  free(b->mask);
  free(b->local_mask);
  free(b->sample);
  free(b);
}

/* ---- logits by a graph of their own ------------------------------------------------------------------ */

static sm_tensor *backbone(ssl_rig *rig, sm_graph *g, int set, sm_tensor *pictures, sm_tensor *mask) {
  const sm_backbone_ops *ops = rig->config.backbone.ops;
  const sm_params p = {sm_ssl_set(rig->ssl, set), "backbone."};
  sm_backbone_in in = {.pictures = pictures, .mask = mask};
  sm_backbone_out out = {0};
  ops->build(rig->config.backbone.self, g, &p, &in, &out);
  return out.tokens;
}

static sm_tensor *head(ssl_rig *rig, sm_graph *g, int set, sm_tensor *tokens, sm_site site) {
  const sm_head_ops *ops = rig->config.head[0].ops;
  const void *self = rig->config.head[0].self;
  const sm_params p = {sm_ssl_set(rig->ssl, set), "head."};
  sm_role role = set == SM_SSL_TEACHER ? SM_ROLE_TEACHER : SM_ROLE_STUDENT;
  return ops->logits(self, g, &p, ops->features(self, g, &p, tokens, site, role), site, role);
}

double *rig_logits(ssl_rig *rig, const sm_batch *b, int set, bool local, sm_site site, int64_t *tokens,
                   int64_t *k) {
  const sm_ssl_config *c = &rig->config;
  sm_error err = {0};
  sm_graph *g = sm_graph_new(
      &(sm_graph_config){
          .device = SM_CPU, .real = c->real, .pool = rig->pool, .isa = c->isa, .bf16 = c->bf16},
      &err);
  if (!g) expect_ok(SM_ENOMEM, &err);
  int64_t views = (int64_t)b->pictures * (local ? c->locals : c->globals),
          size = local ? c->local_height : c->global_height;
  int64_t cells = (size / sm_ssl_backbone(rig->ssl)->patch) * (size / sm_ssl_backbone(rig->ssl)->patch);
  const uint8_t *masks = local ? b->local_mask : b->mask;
  bool masked = set == SM_SSL_STUDENT && masks;
  sm_tensor *pictures = sm_input_real(g, "pictures", 4, (int64_t[]){views, 3, size, size}, NULL);
  sm_tensor *mask = masked ? sm_input(g, "mask", SM_U8, 2, (int64_t[]){views, cells}, NULL) : NULL;
  int pass = sm_pass_begin(g, "logits");
  sm_tensor *y = head(rig, g, set, backbone(rig, g, set, pictures, mask), site);
  sm_keep(g, y);
  sm_pass_end(g);
  expect_ok(sm_graph_plan(g, &err), &err);
  expect_ok(sm_graph_allocate(g, &err), &err);
  const float *from = local ? b->local : b->global;
  sm_write(pictures, 0, sm_elements(pictures), from);
  if (masked) sm_write_u8(mask, 0, views * cells, masks);
  sm_graph_run(g, pass);
  double *out = malloc((size_t)sm_elements(y) * sizeof *out);
  assert_non_null(out);
  for (int64_t i = 0; i < sm_elements(y); i++) out[i] = sm_get(y, i);
  *tokens = y->dim[1];
  *k = y->dim[2];
  sm_graph_free(g);
  return out;
}

/* ---- looking ----------------------------------------------------------------------------------------- */

sm_time rig_time(const ssl_rig *rig, int64_t step) {
  return (sm_time){step, rig->config.steps_per_epoch, rig->config.epochs};
}

int rig_row(ssl_rig *rig, int set, const char *name) {
  int row = sm_set_find(sm_ssl_set(rig->ssl, set), name);
  if (row < 0) fail_msg("no parameter '%s' in set '%s'", name, sm_set_name(sm_ssl_set(rig->ssl, set)));
  return row;
}

double rig_value(ssl_rig *rig, int set, int row, sm_buffer which, int64_t index) {
  return row_get(sm_ssl_set(rig->ssl, set), row, which, index);
}

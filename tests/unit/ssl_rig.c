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
  rig->config = (sm_train_config){.masker = {"from_batch", &from_batch, NULL},
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
  expect_ok(sm_instance_new(rig->registry, plugin, instance, &err), &err);
  expect_ok(sm_options_fill(plugin, yaml, instance->self, rig->arena, &err), &err);
  expect_ok(sm_instance_create(instance, &err), &err);
}

static sm_train_slot slot(const char *name, const sm_instance *i) {
  return (sm_train_slot){.name = name, .ops = i->plugin->ops, .self = i->self};
}

void rig_start(ssl_rig *rig) {
  sm_error err = {0};
  sm_train_config *c = &rig->config;
  if (rig->masker.self) c->masker = slot("masker", &rig->masker);
  c->backbone = slot("vit", &rig->backbone);
  c->head[0] = slot("main", &rig->head);
  c->tokenizer[0] = slot("main", &rig->tokenizer);
  c->heads = c->tokenizers = 1;
  if (rig->cls.self) c->loss[c->losses++].slot = slot("cls", &rig->cls);
  if (rig->mim.self) c->loss[c->losses++].slot = slot("mim", &rig->mim);
  expect_ok(sm_trainable_new(c, &rig->net, &err), &err);
  expect_ok(sm_trainable_allocate(rig->net, &err), &err);
}

void rig_close(ssl_rig *rig) {
  sm_trainable_free(rig->net);
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
  const sm_train_config *c = &rig->config;
  const sm_backbone_spec *spec = &rig->net->spec;
  sm_rng rng = sm_rng_make(seed, SM_RNG_TEST, 0, 0, 0);
  sm_batch *b = calloc(1, sizeof *b);
  assert_non_null(b);
  int64_t views = (int64_t)pictures * c->globals, locals = (int64_t)pictures * c->locals;
  const int64_t area = (int64_t)c->global_height * c->global_width,
                small = (int64_t)c->local_height * c->local_width;
  const int64_t cell = (int64_t)spec->cell * spec->cell;
  int64_t cells = views * (area / cell);
  b->pictures = pictures;
  b->global = normals(&rng, views * 3 * area);
  if (locals) b->local = normals(&rng, locals * 3 * small);
  b->mask = malloc((size_t)cells);
  b->sample = calloc((size_t)pictures, sizeof *b->sample);
  assert_non_null(b->mask);
  for (int64_t i = 0; i < cells; i++) b->mask[i] = sm_rng_uniform(&rng) < ratio;
  if (c->masked == SM_MASKED_ALL && locals) {
    cells = locals * (small / cell);
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

static sm_head bound_head(ssl_rig *rig, int set) {
  const sm_train_config *c = &rig->config;
  return (sm_head){.ops = c->head[0].ops,
                   .self = c->head[0].self,
                   .params = {rig->net->set[set], "head."},
                   .role = set == SM_SET_TEACHER ? SM_ROLE_TEACHER : SM_ROLE_STUDENT};
}

double *rig_logits(ssl_rig *rig, const sm_batch *b, int set, bool local, sm_site site, int64_t *tokens,
                   int64_t *k) {
  const sm_train_config *c = &rig->config;
  const int64_t views = (int64_t)b->pictures * (local ? c->locals : c->globals);
  const int64_t height = local ? c->local_height : c->global_height,
                width = local ? c->local_width : c->global_width;
  const int64_t cells = (height / rig->net->spec.cell) * (width / rig->net->spec.cell);
  const uint8_t *masks = local ? b->local_mask : b->mask;
  const bool masked = set == SM_SET_STUDENT && masks;
  sm_error err = {0};
  sm_graph *g = sm_graph_new(
      &(sm_graph_config){
          .device = SM_CPU, .real = c->real, .pool = rig->pool, .isa = c->isa, .bf16 = c->bf16},
      &err);
  if (!g) expect_ok(SM_ENOMEM, &err);
  sm_tensor *pictures = sm_input_real(g, "pictures", 4, (int64_t[]){views, 3, height, width}, NULL);
  sm_tensor *mask = masked ? sm_input(g, "mask", SM_U8, 2, (int64_t[]){views, cells}, NULL) : NULL;
  const int pass = sm_pass_begin(g, "logits");
  const sm_backbone_in in = {.pictures = pictures, .mask = mask, .view = true, .patches = true};
  sm_backbone_out out;
  sm_backbone_build("vit", c->backbone.ops, c->backbone.self, g,
                    &(sm_params){rig->net->set[set], "backbone."}, &in, &out);
  const sm_head h = bound_head(rig, set);
  sm_tensor *of_view = sm_head_logits(g, &h, out.view, site),
            *of_patches = sm_head_logits(g, &h, out.patches, site);
  sm_keep(g, of_view);
  sm_keep(g, of_patches);
  sm_pass_end(g);
  expect_ok(sm_graph_plan(g, &err), &err);
  expect_ok(sm_graph_allocate(g, &err), &err);
  sm_write(pictures, 0, sm_elements(pictures), local ? b->local : b->global);
  if (masked) sm_write_u8(mask, 0, views * cells, masks);
  sm_graph_run(g, pass);
  *tokens = 1 + cells;
  *k = of_view->dim[1];
  double *all = malloc((size_t)(views * *tokens * *k) * sizeof *all);
  assert_non_null(all);
  for (int64_t v = 0; v < views; v++) {
    sm_read_f64(of_view, v * *k, *k, all + v * *tokens * *k);
    sm_read_f64(of_patches, v * cells * *k, cells * *k, all + (v * *tokens + 1) * *k);
  }
  sm_graph_free(g);
  return all;
}

/* ---- looking ----------------------------------------------------------------------------------------- */

sm_time rig_time(const ssl_rig *rig, int64_t step) {
  return (sm_time){step, rig->config.steps_per_epoch, rig->config.epochs};
}

int rig_row(ssl_rig *rig, int set, const char *name) {
  int row = sm_set_find(rig->net->set[set], name);
  if (row < 0) fail_msg("no parameter '%s' in set '%s'", name, sm_set_name(rig->net->set[set]));
  return row;
}

double rig_value(ssl_rig *rig, int set, int row, sm_buffer which, int64_t index) {
  sm_set *s = rig->net->set[set];
  double value;
  sm_set_read_f64(s, row, which, index, 1, &value);
  return value;
}

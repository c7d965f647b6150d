/* tune_net.c — see tune_net.h. */
#include "tune_net.h"

#include <math.h>
#include <string.h>

#define NEVER (-1e4f) /* logarithm of a label that a picture does not have: exp of it is 0 */

/* ---- parameters ---------------------------------------------------------------------------------------- */

double sm_layer_rate(double decay, int depth, int layer) { return pow(decay, depth + 1 - layer); }

/* "backbone.blocks.3.norm1.weight": where "blocks.3." ends, else 0. */
static size_t block_prefix(const char *name) {
  const char *at = strstr(name, "blocks.");
  if (!at || (at != name && at[-1] != '.')) return 0;
  const char *end = strchr(at + strlen("blocks."), '.');
  return end ? (size_t)(end - name) + 1 : 0;
}

/* Rows stand in the order of the forward pass: what comes before the first block, the blocks, what comes behind. */
void sm_tune_layers(sm_set *set, double decay) {
  int rows = sm_set_rows(set), depth = 0, last = -1, layer = 0;
  size_t open = 0;
  const char *in = "";
  for (int pass = 0; pass < 2; pass++, layer = 0, open = 0)
    for (int r = 0; r < rows; r++) {
      sm_row *row = sm_set_row(set, r);
      bool own = !strncmp(row->name, "backbone.", strlen("backbone."));
      size_t n = own ? block_prefix(row->name) : 0;
      if (n && (n != open || strncmp(in, row->name, n) != 0)) layer++, open = n, in = row->name;
      if (!pass && n) depth = layer, last = r;
      bool behind = !own || (last >= 0 && r > last);
      if (pass) row->lr_scale = sm_layer_rate(decay, depth, behind ? depth + 1 : layer);
    }
}

/* BEiT's no_weight_decay; biases and norms are not decayed anyway. */
static void choose_decay(sm_set *set) {
  static const char *const not_decayed[] = {"backbone.cls_token", "backbone.pos_embed"};
  for (size_t i = 0; i < sizeof not_decayed / sizeof *not_decayed; i++) {
    int row = sm_set_find(set, not_decayed[i]);
    if (row >= 0) sm_set_row(set, row)->decay = false;
  }
}

static int head_width(const sm_tune_net *t, sm_error *err) {
  const sm_head *h = &t->e->c.head;
  int n = t->c->head_layers;
  if (!n) return t->e->spec.dim;
  if (!h->ops) {
    sm_fail(err, SM_EINVAL,
            "fine-tuning shall start behind layer %d of the [CLS] head, but there is no such head", n);
    sm_hint(err, "evaluate a run or a checkpoint, or start behind the backbone: finetune_head_layer=0");
    return 0;
  }
  int width = h->ops->layer_dim ? h->ops->layer_dim(h->self, n) : 0;
  if (width > 0) return width;
  sm_fail(err, SM_EINVAL, "the [CLS] head has no layer %d with an activation behind it", n);
  sm_hint(err, "start behind the backbone: finetune_head_layer=0");
  return 0;
}

static sm_status declare(sm_tune_net *t, int width, sm_error *err) {
  const sm_evaluator_config *c = &t->e->c;
  if (!(t->set = sm_set_new("finetune", sm_set_real(c->set), true, err))) return SM_ENOMEM;
  c->backbone->declare(c->backbone_self, c->declared_height ? c->declared_height : c->height,
                       &(sm_params){t->set, "backbone."});
  if (t->c->head_layers)
    c->head.ops->declare(c->head.self, &(sm_params){t->set, "head."}, t->e->spec.dim, c->head.view_dim, 0,
                         c->head.role);
  const sm_params classifier = {t->set, "classifier."};
  sm_declare(&classifier, "weight", SM_INIT_ZEROS, 0, 0, 2, (int64_t[]){t->classes, width});
  sm_declare(&classifier, "bias", SM_INIT_ZEROS, 0, 0, 1, (int64_t[]){t->classes});
  sm_status status = sm_set_seal(t->set, SM_MOMENTS_TWO, err);
  if (status) return status;
  sm_tune_layers(t->set, t->c->layer_decay);
  choose_decay(t->set);
  return SM_OK;
}

/* Copy rows "PREFIX…" of a set to rows "TO…". False: one has no partner of its size. */
static bool copy_rows(sm_set *to, const char *to_prefix, sm_set *from, const char *prefix) {
  size_t cut = strlen(to_prefix);
  for (int r = 0; r < sm_set_rows(to); r++) {
    const sm_row *row = sm_set_row(to, r);
    char name[320];
    if (row->alias_of >= 0 || strncmp(row->name, to_prefix, cut) != 0) continue;
    snprintf(name, sizeof name, "%s%s", prefix, row->name + cut);
    int source = sm_set_find(from, name);
    if (source < 0 || sm_set_row(from, source)->size != row->size) return false;
    float *values = sm_set_lend(from, source, SM_VALUES, NULL);
    sm_set_write(to, r, SM_VALUES, 0, row->size, values);
    sm_set_give_back(from, source, SM_VALUES, values, false);
  }
  return true;
}

static void draw_classifier(sm_tune_net *t) {
  int w = sm_set_find(t->set, "classifier.weight"), b = sm_set_find(t->set, "classifier.bias");
  sm_rng rng = sm_rng_named(t->c->seed, SM_RNG_EVAL, "classifier.weight");
  for (int64_t i = 0; i < sm_set_row(t->set, w)->size; i++)
    sm_set_write(t->set, w, SM_VALUES, i, 1, &(float){(float)(t->c->initial * sm_rng_normal(&rng))});
  sm_set_fill(t->set, b, SM_VALUES, 0);
}

sm_status sm_tune_net_reset(sm_tune_net *t, sm_error *err) {
  const sm_evaluator_config *c = &t->e->c;
  if (!copy_rows(t->set, "backbone.", c->set, c->prefix) ||
      (t->c->head_layers && !copy_rows(t->set, "head.", c->head.params.set, c->head.params.prefix)))
    return sm_fail(err, SM_EINTERNAL, "the network to fine-tune is not the one that was trained");
  draw_classifier(t);
  for (int r = 0; r < sm_set_rows(t->set); r++) {
    sm_row *row = sm_set_row(t->set, r);
    if (row->alias_of >= 0) continue;
    for (int b = SM_GRADIENTS; b <= SM_MOMENT2; b++) sm_set_fill(t->set, r, (sm_buffer)b, 0);
    row->steps = 0;
  }
  return SM_OK;
}

/* ---- passes -------------------------------------------------------------------------------------------- */

/* Logits of the pictures; cls: their [CLS] rows. */
static sm_tensor *classify(const sm_tune_net *t, sm_tensor *pictures, sm_tensor *drop, const sm_rows *cls) {
  const sm_evaluator_config *c = &t->e->c;
  sm_graph *g = t->graph;
  bool mean = t->c->pool == SM_POOL_MEAN || t->e->spec.prefix < 1;
  sm_backbone_in in = {.pictures = pictures, .drop = drop, .only = mean ? NULL : cls};
  sm_backbone_out out = {0};
  sm_scope_push(g, "backbone");
  c->backbone->build(c->backbone_self, g, &(sm_params){t->set, "backbone."}, &in, &out);
  sm_scope_pop(g);
  if (!out.tokens) return sm_graph_fail(g, "the backbone gave no tokens");
  sm_tensor *x = mean                    ? sm_mean_tokens(g, out.tokens, t->e->spec.prefix)
                 : out.tokens->ndim == 3 ? sm_gather(g, out.tokens, cls)
                                         : out.tokens;
  if (t->c->head_layers)
    x = c->head.ops->layer(c->head.self, g, &(sm_params){t->set, "head."}, x, SM_SITE_VIEW, c->head.role,
                           t->c->head_layers);
  const sm_params classifier = {t->set, "classifier."};
  return sm_linear(g, x, sm_param(g, &classifier, "weight"), sm_param(g, &classifier, "bias"));
}

static void build_train(sm_tune_net *t) {
  sm_graph *g = t->graph;
  int64_t n = t->group;
  t->train = sm_pass_begin(g, "fine-tuning");
  t->count = sm_count(g, "pictures", n);
  t->pictures =
      sm_input_real(g, "pictures", 4, (int64_t[]){n, 3, t->e->c.height, t->e->c.width}, t->count);
  t->labels = sm_input_real(g, "labels", 2, (int64_t[]){n, t->classes}, t->count);
  t->cls = sm_rows_new(g, "[CLS]", n, n, t->tokens, t->count);
  if (t->c->drop_path > 0)
    t->drop = sm_input_real(g, "drop path", 2, (int64_t[]){n, t->e->spec.drop_columns}, t->count);
  t->pairs = sm_pairs_new(g, "labels of pictures", n, n);
  sm_target target = {.form = SM_TARGET_DISTRIBUTION,
                      .dim = t->classes,
                      .logits = t->labels,
                      .scale = sm_scalar(g, "label scale", 1)};
  sm_tensor *logits = classify(t, t->pictures, t->drop, t->cls);
  sm_xent_out got = sm_xent(g, logits, sm_scalar(g, "temperature", 1), &target, t->pairs);
  t->loss = got.loss;
  sm_keep(g, t->loss);
  sm_loss_term(g, t->loss);
  sm_pass_backward(g);
  sm_pass_end(g);
}

static void build_test(sm_tune_net *t) {
  sm_graph *g = t->graph;
  int64_t n = SM_EVAL_BATCH;
  t->test = sm_pass_begin(g, "test");
  t->test_count = sm_count(g, "test pictures", n);
  t->test_pictures =
      sm_input_real(g, "test pictures", 4, (int64_t[]){n, 3, t->e->c.height, t->e->c.width}, t->test_count);
  t->test_cls = sm_rows_new(g, "test [CLS]", n, n, t->tokens, t->test_count);
  t->test_logits = classify(t, t->test_pictures, NULL, t->test_cls);
  sm_keep(g, t->test_logits);
  sm_pass_end(g);
}

/* What the passes do not read is not trained: the rest of the head, the mask token. */
static void freeze_unread(sm_tune_net *t) {
  for (int r = 0; r < sm_set_rows(t->set); r++) {
    sm_row *row = sm_set_row(t->set, r);
    if (row->alias_of < 0 && !sm_set_used(t->set, t->graph, r)) row->flags |= SM_ROW_FROZEN;
  }
}

sm_status sm_tune_net_new(const sm_evaluator *e, const sm_finetune_config *c, int classes, sm_tune_net *t,
                          sm_error *err) {
  *t = (sm_tune_net){.e = e, .c = c, .classes = classes, .group = (int)c->group};
  if (sm_set_real(e->c.set) != SM_F32)
    return sm_fail(err, SM_EUNSUPPORTED, "fine-tuning wants a network of F32 numbers");
  if (c->drop_path > 0 && !e->spec.drop_columns) {
    sm_fail(err, SM_EINVAL, "the backbone knows no stochastic depth, but drop_path is %g", c->drop_path);
    return sm_hint(err, "say drop_path=0");
  }
  t->tokens = e->spec.prefix + (e->c.height / e->spec.patch) * (e->c.width / e->spec.patch);
  int width = head_width(t, err);
  if (!width) return err ? err->code : SM_EINVAL;
  sm_status status = declare(t, width, err);
  if (status) return status;
  t->bf16 = c->precision == SM_FINETUNE_BF16 ||
              (c->precision == SM_FINETUNE_AS_TRAINED && (e->c.bf16 || e->c.trained_bf16));
  sm_graph_config config = {.device = SM_CPU, .real = SM_F32, .pool = e->c.pool, .bf16 = t->bf16};
  if (!(t->graph = sm_graph_new(&config, err))) return SM_ENOMEM;
  build_train(t);
  build_test(t);
  status = sm_graph_plan(t->graph, err);
  if (!status) status = sm_set_allocate(t->set, c->seed, err);
  if (!status) status = sm_graph_allocate(t->graph, err);
  if (!status) freeze_unread(t);
  return status;
}

void sm_tune_net_free(sm_tune_net *t) {
  sm_graph_free(t->graph);
  sm_set_free(t->set);
  *t = (sm_tune_net){0};
}

/* ---- running ------------------------------------------------------------------------------------------- */

static void set_rows(sm_rows *rows, int n, int tokens) {
  int32_t list[SM_TUNE_GROUP];
  for (int i = 0; i < n; i++) list[i] = i * tokens;
  sm_rows_set(rows, list, n);
}

double sm_tune_net_gradient(sm_tune_net *t, int n, const float *q, double weight) {
  sm_put(t->count, n);
  set_rows(t->cls, n, t->tokens);
  for (int64_t k = 0; k < (int64_t)n * t->classes; k++)
    sm_write(t->labels, k, 1, &(float){q[k] > 0 ? logf(q[k]) : NEVER});
  sm_pairs_begin(t->pairs);
  for (int i = 0; i < n; i++) sm_pairs_add(t->pairs, i, i, weight);
  sm_pairs_end(t->pairs);
  sm_graph_run(t->graph, t->train);
  double sum = 0;
  for (int i = 0; i < n; i++) sum += sm_get(t->loss, i);
  return sum;
}

void sm_tune_net_logits(sm_tune_net *t, const float *x, int n, float *logits) {
  int64_t pixels = 3 * (int64_t)t->e->c.height * t->e->c.width;
  sm_put(t->test_count, n);
  set_rows(t->test_cls, n, t->tokens);
  sm_write(t->test_pictures, 0, n * pixels, x);
  sm_graph_run(t->graph, t->test);
  sm_read(t->test_logits, 0, (int64_t)n * t->classes, logits);
}

/* tune_net.c — see tune_net.h. */
#include "tune_net.h"

#include <math.h>
#include <string.h>

#define NEVER (-1e4f) /* logarithm of a label that a picture does not have: exp of it is 0 */

/* ---- parameters ---------------------------------------------------------------------------------------- */

static sm_params tune_net_network_of(const sm_tune_net *t) { return (sm_params){t->set, "network."}; }
static sm_params tune_net_classifier_of(const sm_tune_net *t) { return (sm_params){t->set, "classifier."}; }

double sm_layer_rate(double decay, int layers, int layer) { return pow(decay, layers + 1 - layer); }

void sm_drop_path_draw(const sm_backbone_spec *spec, double rate, sm_rng *rng, float *factor) {
  for (int k = 0; k < spec->drop_columns; k++) {
    const int layer = spec->drop_layer[k];
    const double keep = 1 - (spec->layers > 1 && layer > 1 ? rate * (layer - 1) / (spec->layers - 1) : 0);
    factor[k] = keep >= 1 ? 1 : sm_rng_uniform(rng) < keep ? (float)(1 / keep) : 0;
  }
}

/* Rates by layer: heads and the classifier stand behind the last one. Embeddings are not decayed, as BEiT's
 * no_weight_decay has it; biases and norms are not anyway. */
static void tune_net_choose_rates(sm_tune_net *t) {
  static const char backbone[] = "network." SM_BACKBONE_PREFIX;
  for (int r = 0; r < sm_set_rows(t->set); r++) {
    sm_row *row = sm_set_row(t->set, r);
    bool own = !strncmp(row->name, backbone, strlen(backbone));
    row->lr_scale = sm_layer_rate(t->c->layer_decay, t->spec.layers, own ? row->layer : t->spec.layers + 1);
    if (row->flags & SM_ROW_EMBEDDING) row->decay = false;
  }
}

static int tune_net_head_width(const sm_tune_net *t, sm_error *err) {
  const sm_head *h = &t->head;
  int n = t->c->head_layers;
  if (!n) return t->spec.dim;
  if (!h->ops || !h->view_dim) {
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

static sm_status tune_net_declare(sm_tune_net *t, sm_error *err) {
  if (!(t->set = sm_set_new("finetune", SM_F32, true, err))) return err ? err->code : SM_ENOMEM;
  const sm_params network = tune_net_network_of(t), classifier = tune_net_classifier_of(t);
  sm_network_declare(t->x->network, &network);
  t->head = sm_network_head(t->x->network, &network, &t->room);
  int width = tune_net_head_width(t, err);
  if (!width) return err ? err->code : SM_EINVAL;
  sm_declare(&classifier, "weight", SM_INIT_ZEROS, 0, 0, 2, (int64_t[]){t->classes, width});
  sm_declare(&classifier, "bias", SM_INIT_ZEROS, 0, 0, 1, (int64_t[]){t->classes});
  sm_status status = sm_set_seal(t->set, SM_MOMENTS_TWO, err);
  if (!status) tune_net_choose_rates(t);
  return status;
}

static void tune_net_draw_classifier(sm_tune_net *t) {
  int w = sm_set_find(t->set, "classifier.weight"), b = sm_set_find(t->set, "classifier.bias");
  sm_rng rng = sm_rng_named(t->c->seed, SM_RNG_EVAL, "classifier.weight");
  for (int64_t i = 0; i < sm_set_row(t->set, w)->size; i++) {
    float value = (float)(t->c->initial * sm_rng_normal(&rng));
    sm_set_write(t->set, w, SM_VALUES, i, 1, &value);
  }
  sm_set_fill(t->set, b, SM_VALUES, 0);
}

sm_status sm_tune_net_reset(sm_tune_net *t, sm_error *err) {
  const sm_params network = tune_net_network_of(t);
  sm_status status = sm_network_load(t->x->network, &network, err);
  if (status) return status;
  tune_net_draw_classifier(t);
  for (int r = 0; r < sm_set_rows(t->set); r++) {
    sm_row *row = sm_set_row(t->set, r);
    if (row->alias_of >= 0) continue;
    for (int b = SM_GRADIENTS; b <= SM_MOMENT2; b++) sm_set_fill(t->set, r, (sm_buffer)b, 0);
    row->steps = 0;
  }
  t->loss = 0;
  return SM_OK;
}

/* ---- passes -------------------------------------------------------------------------------------------- */

/* Logits of the pictures. */
static sm_tensor *tune_net_classify(const sm_tune_net *t, sm_tensor *pictures, sm_tensor *drop,
                                    bool training) {
  sm_graph *g = t->graph;
  const sm_params network = tune_net_network_of(t), classifier = tune_net_classifier_of(t);
  const bool mean = t->c->pool == SM_POOL_MEAN;
  const sm_backbone_in in = {
      .pictures = pictures, .drop = drop, .training = training, .view = !mean, .patches = mean};
  sm_backbone_out out = {0};
  sm_network_build(t->x->network, g, &network, &in, &out);
  sm_tensor *x = mean ? sm_mean_tokens(g, out.patches, 0) : out.view;
  if (t->c->head_layers)
    x = t->head.ops->layer(t->head.self, g, &t->head, x, SM_SITE_VIEW, t->c->head_layers);
  return sm_linear(g, x, sm_param(g, &classifier, "weight"), sm_param(g, &classifier, "bias"));
}

static sm_tensor *tune_net_input_pictures(const sm_tune_net *t, const char *name, int64_t n,
                                          sm_tensor *count) {
  return sm_input_real(t->graph, name, 4, (int64_t[]){n, 3, t->x->height, t->x->width}, count);
}

static void tune_net_build_train(sm_tune_net *t) {
  sm_graph *g = t->graph;
  int64_t n = t->c->group;
  t->train = sm_pass_begin(g, "fine-tuning");
  t->count = sm_count(g, "pictures", n);
  t->pictures = tune_net_input_pictures(t, "pictures", n, t->count);
  t->labels = sm_input_real(g, "labels", 2, (int64_t[]){n, t->classes}, t->count);
  if (t->c->drop_path > 0)
    t->drop = sm_input_real(g, "drop path", 2, (int64_t[]){n, t->spec.drop_columns}, t->count);
  t->pairs = sm_pairs_new(g, "labels of pictures", n, n);
  sm_target target = {.form = SM_TARGET_DISTRIBUTION,
                      .dim = t->classes,
                      .logits = t->labels,
                      .scale = sm_scalar(g, "label scale", 1)};
  sm_tensor *logits = tune_net_classify(t, t->pictures, t->drop, true);
  sm_xent_out got = sm_xent(g, logits, sm_scalar(g, "temperature", 1), &target, t->pairs);
  t->losses = got.loss;
  sm_keep(g, t->losses);
  sm_loss_term(g, t->losses);
  sm_pass_backward(g);
  sm_pass_end(g);
  t->update = sm_running_pending(g) ? sm_pass_begin(g, "update") : -1;
  if (t->update < 0) return;
  sm_running_update(g);
  sm_pass_end(g);
}

static void tune_net_build_test(sm_tune_net *t) {
  sm_graph *g = t->graph;
  t->test = sm_pass_begin(g, "test");
  t->test_count = sm_count(g, "test pictures", SM_EVAL_BATCH);
  t->test_pictures = tune_net_input_pictures(t, "test pictures", SM_EVAL_BATCH, t->test_count);
  t->test_logits = tune_net_classify(t, t->test_pictures, NULL, false);
  sm_keep(g, t->test_logits);
  sm_pass_end(g);
}

/* What the passes do not read is not trained: the rest of the head, the mask token. */
static void tune_net_freeze_unread(sm_tune_net *t) {
  for (int r = 0; r < sm_set_rows(t->set); r++) {
    sm_row *row = sm_set_row(t->set, r);
    if (row->alias_of < 0 && !sm_set_used(t->set, t->graph, r)) row->flags |= SM_ROW_FROZEN;
  }
}

static sm_status tune_net_plan(sm_tune_net *t, sm_error *err) {
  const sm_graph_config config = {.device = SM_CPU, .real = SM_F32, .pool = t->x->pool, .bf16 = t->bf16};
  if (!(t->graph = sm_graph_new(&config, err))) return err ? err->code : SM_ENOMEM;
  tune_net_build_train(t);
  tune_net_build_test(t);
  return sm_graph_plan(t->graph, err);
}

static sm_status tune_net_cut(sm_tune_net *t, sm_ranks *ranks, sm_error *err) {
  const sm_piece_sum loss = {&t->loss, 1};
  const sm_pieces_config c = {.set = t->set,
                              .graph = t->graph,
                              .gradient_pass = t->train,
                              .pieces = t->c->pieces,
                              .ranks = ranks,
                              .pool = t->x->pool,
                              .sum = &loss,
                              .sums = 1};
  return sm_pieces_new(&c, &t->pieces, err);
}

static sm_status tune_net_allocate(sm_tune_net *t, sm_ranks *ranks, sm_error *err) {
  sm_status status = sm_set_allocate(t->set, t->c->seed, err);
  if (!status) status = sm_graph_allocate(t->graph, err);
  if (!status) tune_net_freeze_unread(t);
  return !status && t->c->pieces > 1 ? tune_net_cut(t, ranks, err) : status;
}

/* All but memory. */
static sm_status tune_net_open(const sm_eval_context *x, const sm_finetune_config *c, int classes, sm_tune_net *t,
                               sm_error *err) {
  *t = (sm_tune_net){.x = x, .c = c, .classes = classes};
  if (sm_set_real(sm_network_set(x->network)) != SM_F32)
    return sm_fail(err, SM_EUNSUPPORTED, "fine-tuning wants a network of F32 numbers");
  sm_status status = sm_network_at(x->network, x->height, x->width, &t->spec, err);
  if (status) return status;
  if (c->drop_path > 0 && !t->spec.drop_columns) {
    sm_fail(err, SM_EINVAL, "the backbone knows no stochastic depth, but drop_path is %g", c->drop_path);
    return sm_hint(err, "say drop_path=0");
  }
  t->bf16 = c->precision == SM_FINETUNE_BF16 ||
            (c->precision == SM_FINETUNE_AS_TRAINED && (x->bf16 || sm_network_describe(x->network)->bf16));
  status = tune_net_declare(t, err);
  return status ? status : tune_net_plan(t, err);
}

sm_status sm_tune_net_new(const sm_eval_context *x, const sm_finetune_config *c, int classes, sm_ranks *ranks,
                          sm_tune_net *t, sm_error *err) {
  sm_status status = tune_net_open(x, c, classes, t, err);
  return status ? status : tune_net_allocate(t, ranks, err);
}

sm_status sm_tune_net_bytes(const sm_eval_context *x, const sm_finetune_config *c, int classes, int ranks,
                            size_t *bytes, sm_error *err) {
  sm_tune_net t;
  sm_plan_report graph;
  sm_status status = tune_net_open(x, c, classes, &t, err);
  *bytes = 0;
  if (!status) {
    sm_graph_report(t.graph, &graph);
    *bytes = sm_set_bytes(t.set) + graph.inputs + graph.transient + graph.worker +
             sm_pieces_bytes(t.set, c->pieces, ranks);
  }
  sm_tune_net_free(&t);
  return status;
}

void sm_tune_net_free(sm_tune_net *t) {
  sm_pieces_free(t->pieces);
  sm_graph_free(t->graph);
  sm_set_free(t->set);
  *t = (sm_tune_net){0};
}

/* ---- running ------------------------------------------------------------------------------------------- */

static void tune_net_put_pictures(const sm_tune_net *t, sm_tensor *count, sm_tensor *pictures, const float *x,
                                  int n) {
  sm_put(count, n);
  sm_write(pictures, 0, n * 3 * (int64_t)t->x->height * t->x->width, x);
}

static void tune_net_put_labels(sm_tune_net *t, const float *q, int64_t n) {
  for (int64_t k = 0; k < n * t->classes; k++) {
    float value = q[k] > 0 ? logf(q[k]) : NEVER;
    sm_write(t->labels, k, 1, &value);
  }
}

void sm_tune_net_gradient(sm_tune_net *t, int n, const float *x, const float *q, double weight) {
  tune_net_put_pictures(t, t->count, t->pictures, x, n);
  tune_net_put_labels(t, q, n);
  sm_pairs_begin(t->pairs);
  for (int i = 0; i < n; i++) sm_pairs_add(t->pairs, i, i, weight);
  sm_pairs_end(t->pairs);
  if (!t->pieces || !sm_pieces_run(t->pieces, t->train)) sm_graph_run(t->graph, t->train);
  double sum = 0;
  for (int i = 0; i < n; i++) sum += sm_get(t->losses, i);
  t->loss += sum;
}

void sm_tune_net_update(sm_tune_net *t) {
  if (t->update >= 0) sm_graph_run(t->graph, t->update);
}

void sm_tune_net_logits(sm_tune_net *t, const float *x, int n, float *z) {
  tune_net_put_pictures(t, t->test_count, t->test_pictures, x, n);
  sm_graph_run(t->graph, t->test);
  sm_read(t->test_logits, 0, (int64_t)n * t->classes, z);
}

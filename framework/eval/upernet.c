/* upernet.c — a copy of a network with UperNet behind it, trained on classes of pixels (smalti/upernet.h).
 *
 * Owns its parameter set, the graph of a step, and a graph for the size that was asked about last. The loss
 * looks at labelled pixels only: they are a list of rows, gathered from the resized logits. */
#include <smalti/upernet.h>

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "tune_net.h"
#include "upernet_head.h"

struct sm_upernet {
  const sm_eval_context *x;
  sm_upernet_config c;
  sm_backbone_spec spec; /* for crops */
  int block[SM_UPERNET_LEVELS];
  bool bf16;
  sm_set *set; /* rows "network.…" and "head.…" */
  sm_upernet_head head;
  /* a step */
  sm_graph *graph;
  int step, update; /* passes; update -1: nothing moves */
  sm_tensor *pictures, *drop_path, *drop, *drop_auxiliary, *ids, *loss;
  sm_rows *labelled; /* of (batch, labels) */
  sm_pairs *pairs[2];
  int32_t *token, *id; /* (batch · labels) */
  /* asking */
  sm_graph *asking;
  int ask, ask_height, ask_width;
  sm_tensor *asked, *answer;
};

/* ---- which blocks -------------------------------------------------------------------------------------- */

static void upernet_choose_blocks(sm_upernet *u) {
  const int n = u->spec.blocks ? u->spec.blocks : 1;
  const int last[SM_UPERNET_LEVELS] = {(n + 2) / 3, (n + 1) / 2, (2 * n + 2) / 3, n};
  for (int i = 0; i < SM_UPERNET_LEVELS; i++) u->block[i] = last[i] - 1;
}

static sm_status upernet_check_blocks(sm_upernet *u, sm_error *err) {
  for (int i = 0; i < SM_UPERNET_LEVELS; i++) {
    const sm_block_spec *b = &u->spec.block[u->block[i]];
    u->head.dim[i] = b->dim ? b->dim : u->spec.dim;
    if (!b->rows || (b->rows == u->spec.rows && b->cols == u->spec.cols)) continue;
    sm_fail(err, SM_EINVAL, "block %d has a grid of %d x %d, but the last one %d x %d", u->block[i], b->cols,
            b->rows, u->spec.cols, u->spec.rows);
    return sm_hint(err,
                   "UperNet makes its own pyramid of a network whose grid stays, such as vit; "
                   "segment_linear takes any network");
  }
  return SM_OK;
}

static sm_status upernet_check_size(const sm_upernet *u, int height, int width, const sm_backbone_spec *spec,
                                    sm_error *err) {
  const int last = SM_UPERNET_LEVELS - 1;
  if (sm_upernet_side(&u->head, last, spec->rows) && sm_upernet_side(&u->head, last, spec->cols))
    return SM_OK;
  const int least = spec->cell << (last - u->head.finest);
  sm_fail(err, SM_EINVAL, "%d x %d pixels are too small for four levels", width, height);
  return sm_hint(err, "each side must be at least %d with patches of %d", least, spec->cell);
}

/* ---- parameters ---------------------------------------------------------------------------------------- */

static sm_params upernet_network(const sm_upernet *u) { return (sm_params){u->set, "network."}; }

/* As fine-tuning: by layer, the head behind the last one; embeddings do not decay. */
static void upernet_choose_rates(sm_upernet *u) {
  static const char backbone[] = "network." SM_BACKBONE_PREFIX;
  for (int r = 0; r < sm_set_rows(u->set); r++) {
    sm_row *row = sm_set_row(u->set, r);
    const bool own = !strncmp(row->name, backbone, strlen(backbone));
    row->lr_scale = sm_layer_rate(u->c.layer_decay, u->spec.layers, own ? row->layer : u->spec.layers + 1);
    if (row->flags & SM_ROW_EMBEDDING) row->decay = false;
  }
}

static sm_status upernet_declare(sm_upernet *u, sm_error *err) {
  if (!(u->set = sm_set_new("upernet", SM_F32, true, err))) return err ? err->code : SM_ENOMEM;
  const sm_params network = upernet_network(u);
  sm_network_declare(u->x->network, &network);
  u->head.params = (sm_params){u->set, "head."};
  sm_upernet_head_declare(&u->head);
  sm_status status = sm_set_seal(u->set, SM_MOMENTS_TWO, err);
  if (!status) upernet_choose_rates(u);
  return status;
}

/* What the step does not read is not trained: the network's own head, the final norm, the mask token. */
static void upernet_freeze_unread(sm_upernet *u) {
  for (int r = 0; r < sm_set_rows(u->set); r++) {
    sm_row *row = sm_set_row(u->set, r);
    if (row->alias_of < 0 && !sm_set_used(u->set, u->graph, r)) row->flags |= SM_ROW_FROZEN;
  }
}

/* ---- graphs -------------------------------------------------------------------------------------------- */

static sm_graph *upernet_graph(const sm_upernet *u, sm_error *err) {
  return sm_graph_new(
      &(sm_graph_config){.device = SM_CPU, .real = SM_F32, .pool = u->x->pool, .bf16 = u->bf16}, err);
}

/* Each block is asked for once, however many levels it becomes. */
static sm_upernet_maps upernet_build(const sm_upernet *u, sm_graph *g, sm_tensor *pictures, bool training,
                                     int rows, int cols) {
  const sm_params network = upernet_network(u);
  sm_backbone_in in = {.pictures = pictures, .training = training, .patches = true};
  sm_backbone_out out = {0};
  sm_tensor *block[SM_UPERNET_LEVELS];
  int wish[SM_UPERNET_LEVELS];
  if (training) in.drop = u->drop_path;
  for (int i = 0; i < SM_UPERNET_LEVELS; i++) {
    if (!i || u->block[i] != u->block[i - 1])
      in.block[in.blocks++] = (sm_block_wish){.block = u->block[i], .raw = true};
    wish[i] = in.blocks - 1;
  }
  sm_network_build(u->x->network, g, &network, &in, &out);
  if (!sm_graph_ok(g)) return (sm_upernet_maps){0};
  for (int i = 0; i < SM_UPERNET_LEVELS; i++) block[i] = out.block[wish[i]].patches;
  return sm_upernet_head_build(&u->head, g, block, rows, cols, training ? u->drop : NULL,
                               training ? u->drop_auxiliary : NULL, training);
}

/* The loss of logits on a grid of rows x cols, at the labelled pixels. */
static sm_tensor *upernet_loss(sm_upernet *u, sm_tensor *logits, int rows, int cols, int which) {
  sm_graph *g = u->graph;
  const int64_t most = u->labelled->capacity;
  logits = sm_resample(g, logits, SM_RESAMPLE_BILINEAR, rows, cols, u->c.label_height, u->c.label_width);
  const sm_target target = {.form = SM_TARGET_IDS, .dim = u->c.classes, .ids = u->ids};
  u->pairs[which] = sm_pairs_new(g, which ? "auxiliary labels" : "labels of pixels", most, most);
  const sm_xent_out got =
      sm_xent(g, sm_gather(g, logits, u->labelled), sm_scalar(g, "temperature", 1), &target, u->pairs[which]);
  sm_loss_term(g, got.loss);
  return got.loss;
}

static void upernet_inputs(sm_upernet *u) {
  sm_graph *g = u->graph;
  const int64_t n = u->c.batch, labels = (int64_t)u->c.label_height * u->c.label_width;
  u->pictures = sm_input_real(g, "crops", 4, (int64_t[]){n, 3, u->c.height, u->c.width}, NULL);
  u->labelled = sm_rows_new(g, "labelled pixels", n * labels, n, labels, NULL);
  u->ids = sm_input(g, "classes of pixels", SM_I32, 1, (int64_t[]){n * labels}, u->labelled->count);
  if (u->c.drop_path > 0)
    u->drop_path = sm_input_real(g, "drop path", 2, (int64_t[]){n, u->spec.drop_columns}, NULL);
  if (u->c.dropout > 0) {
    u->drop = sm_input_real(g, "dropout", 3, (int64_t[]){n, 1, u->head.width}, NULL);
    if (u->head.auxiliary)
      u->drop_auxiliary =
          sm_input_real(g, "auxiliary dropout", 3, (int64_t[]){n, 1, u->head.auxiliary}, NULL);
  }
}

static sm_status upernet_build_step(sm_upernet *u, sm_error *err) {
  if (!(u->graph = upernet_graph(u, err))) return err ? err->code : SM_ENOMEM;
  sm_graph *g = u->graph;
  const int rows = u->spec.rows, cols = u->spec.cols;
  upernet_inputs(u);
  u->step = sm_pass_begin(g, "step");
  const sm_upernet_maps maps = upernet_build(u, g, u->pictures, true, rows, cols);
  if (sm_graph_ok(g)) {
    sm_tensor *loss = upernet_loss(u, maps.logits, sm_upernet_side(&u->head, 0, rows),
                                   sm_upernet_side(&u->head, 0, cols), 0);
    sm_keep(g, u->loss = sm_sum(g, loss));
    if (maps.auxiliary)
      upernet_loss(u, maps.auxiliary, sm_upernet_side(&u->head, 2, rows), sm_upernet_side(&u->head, 2, cols),
                   1);
  }
  sm_pass_backward(g);
  sm_pass_end(g);
  u->update = sm_running_pending(g) ? sm_pass_begin(g, "update") : -1;
  if (u->update >= 0) {
    sm_running_update(g);
    sm_pass_end(g);
  }
  sm_status status = sm_graph_plan(g, err);
  if (!status) status = sm_set_allocate(u->set, u->c.seed, err);
  if (!status) status = sm_graph_allocate(g, err);
  if (!status) upernet_freeze_unread(u);
  return status;
}

/* ---- making it ----------------------------------------------------------------------------------------- */

static sm_status upernet_check(const sm_upernet *u, sm_error *err) {
  if (!u->x->network)
    return sm_fail(err, SM_EINVAL, "there is no network to fine-tune: pixels have no weights");
  if (sm_set_real(sm_network_set(u->x->network)) != SM_F32)
    return sm_fail(err, SM_EUNSUPPORTED, "fine-tuning wants a network of F32 numbers");
  if (u->c.batch >= 2 && u->c.classes >= 1 && u->c.label_height >= 1 && u->c.label_width >= 1) return SM_OK;
  return sm_fail(err, SM_EINTERNAL, "UperNet with steps of %d crops, %d classes, labels of %d x %d",
                 u->c.batch, u->c.classes, u->c.label_width, u->c.label_height);
}

static sm_status upernet_make(sm_upernet *u, sm_error *err) {
  sm_status status = upernet_check(u, err);
  if (!status) status = sm_network_at(u->x->network, u->c.height, u->c.width, &u->spec, err);
  if (status) return status;
  if (u->c.drop_path > 0 && !u->spec.drop_columns) {
    sm_fail(err, SM_EINVAL, "the backbone knows no stochastic depth, but drop_path is %g", u->c.drop_path);
    return sm_hint(err, "say drop_path=0");
  }
  u->bf16 = u->x->bf16 || sm_network_describe(u->x->network)->bf16;
  upernet_choose_blocks(u);
  u->head = (sm_upernet_head){.finest = sm_upernet_finest(u->spec.cell),
                              .width = u->c.channels ? u->c.channels : u->spec.dim,
                              .auxiliary = u->c.auxiliary,
                              .classes = u->c.classes};
  status = upernet_check_blocks(u, err);
  if (!status) status = upernet_check_size(u, u->c.height, u->c.width, &u->spec, err);
  if (!status) status = upernet_declare(u, err);
  if (!status) status = upernet_build_step(u, err);
  if (status) return status;
  const size_t most = (size_t)u->labelled->capacity;
  u->token = sm_malloc(most * sizeof *u->token);
  u->id = sm_malloc(most * sizeof *u->id);
  if (!u->token || !u->id) return sm_fail(err, SM_ENOMEM, "no memory for labels of %zu pixels", most);
  const sm_params network = upernet_network(u);
  return sm_network_load(u->x->network, &network, err);
}

sm_status sm_upernet_new(const sm_eval_context *x, const sm_upernet_config *c, sm_upernet **out,
                         sm_error *err) {
  sm_upernet *u = sm_calloc(1, sizeof *u);
  *out = NULL;
  if (!u) return sm_fail(err, SM_ENOMEM, "no memory for UperNet");
  u->x = x, u->c = *c;
  sm_status status = upernet_make(u, err);
  if (status) sm_upernet_free(u);
  else *out = u;
  return status;
}

void sm_upernet_free(sm_upernet *u) {
  if (!u) return;
  sm_graph_free(u->graph);
  sm_graph_free(u->asking);
  sm_set_free(u->set);
  sm_free(u->token);
  sm_free(u->id);
  sm_free(u);
}

int sm_upernet_channels(const sm_upernet *u) { return u->head.width; }
void sm_upernet_blocks(const sm_upernet *u, int block[4]) { memcpy(block, u->block, sizeof u->block); }

/* ---- a step -------------------------------------------------------------------------------------------- */

/* Which pixels count, their classes, and their weights in the two means. The number of them. */
static int64_t upernet_put_labels(sm_upernet *u, const uint16_t *label, int ignore) {
  const double of[2] = {1, u->c.auxiliary_weight};
  int64_t n = 0;
  for (int64_t i = 0; i < u->labelled->capacity; i++) {
    if (label[i] == ignore || label[i] >= u->c.classes) continue;
    u->token[n] = (int32_t)i, u->id[n++] = label[i];
  }
  sm_rows_set(u->labelled, u->token, n);
  sm_write_i32(u->ids, 0, n, u->id);
  for (int which = 0; which < 2 && u->pairs[which]; which++) {
    sm_pairs_begin(u->pairs[which]);
    for (int64_t i = 0; i < n; i++) sm_pairs_add(u->pairs[which], i, i, of[which] / (double)n);
    sm_pairs_end(u->pairs[which]);
  }
  return n;
}

/* Factors 0 or 1/keep of n channels. */
static void upernet_put_dropout(const sm_upernet *u, sm_tensor *to, int crop, sm_rng *rng) {
  const int64_t n = to ? to->dim[2] : 0;
  const double keep = 1 - u->c.dropout;
  for (int64_t k = 0; k < n; k++) sm_fill(to, crop * n + k, 1, sm_rng_uniform(rng) < keep ? 1 / keep : 0);
}

static void upernet_put_drops(sm_upernet *u, int64_t number) {
  float row[SM_SITES_MAX];
  for (int i = 0; i < u->c.batch; i++) {
    const uint64_t step = (uint64_t)number, crop = (uint64_t)i;
    sm_rng path = sm_rng_make(u->c.seed, SM_RNG_DROP_PATH, step, crop, 0);
    sm_rng channels = sm_rng_make(u->c.seed, SM_RNG_EVAL, step, crop, 35);
    if (u->drop_path) {
      sm_drop_path_draw(&u->spec, u->c.drop_path, &path, row);
      sm_write(u->drop_path, (int64_t)i * u->spec.drop_columns, u->spec.drop_columns, row);
    }
    upernet_put_dropout(u, u->drop, i, &channels);
    upernet_put_dropout(u, u->drop_auxiliary, i, &channels);
  }
}

static sm_status upernet_diverged(int64_t number, double rate, const char *what, sm_error *err) {
  sm_fail(err, SM_EINVAL, "segmentation, step %" PRId64 ": %s is not finite", number, what);
  return sm_hint(err, "lower lr (it is %g now) or lengthen the warm-up", rate);
}

sm_status sm_upernet_step(sm_upernet *u, int64_t number, const float *x, const uint16_t *label, int ignore,
                          double rate, double *loss, sm_error *err) {
  const sm_optimizer_config adamw = {.kind = SM_ADAMW, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
  const sm_optimizer_step values = {.lr = rate, .weight_decay = u->c.weight_decay};
  sm_optimizer_result got;
  *loss = 0;
  if (!upernet_put_labels(u, label, ignore)) return SM_OK; /* nothing to learn from */
  upernet_put_drops(u, number);
  sm_write(u->pictures, 0, sm_elements(u->pictures), x);
  sm_graph_run(u->graph, u->step);
  *loss = sm_get(u->loss, 0);
  if (!isfinite(*loss)) return upernet_diverged(number, rate, "the loss", err);
  sm_optimizer_run(&adamw, u->set, u->x->pool, &values, &got);
  if (!isfinite(got.grad_norm))
    return upernet_diverged(number, rate, sm_set_row(u->set, got.worst_row)->name, err);
  if (u->update >= 0) sm_graph_run(u->graph, u->update);
  return SM_OK;
}

/* ---- asking -------------------------------------------------------------------------------------------- */

void sm_upernet_grid(const sm_upernet *u, int height, int width, int *rows, int *cols) {
  *rows = sm_upernet_side(&u->head, 0, height / u->spec.cell);
  *cols = sm_upernet_side(&u->head, 0, width / u->spec.cell);
}

static sm_status upernet_build_asking(sm_upernet *u, int height, int width, sm_error *err) {
  sm_backbone_spec spec = {0};
  sm_graph_free(u->asking);
  u->asking = NULL, u->ask_height = u->ask_width = 0;
  sm_status status = sm_network_at(u->x->network, height, width, &spec, err);
  if (!status) status = upernet_check_size(u, height, width, &spec, err);
  if (status) return status;
  if (!(u->asking = upernet_graph(u, err))) return err ? err->code : SM_ENOMEM;
  u->ask = sm_pass_begin(u->asking, "asking");
  u->asked = sm_input_real(u->asking, "picture", 4, (int64_t[]){1, 3, height, width}, NULL);
  const sm_upernet_maps maps = upernet_build(u, u->asking, u->asked, false, spec.rows, spec.cols);
  if (sm_graph_ok(u->asking)) sm_keep(u->asking, u->answer = maps.logits);
  sm_pass_end(u->asking);
  status = sm_graph_plan(u->asking, err);
  if (!status) status = sm_graph_allocate(u->asking, err);
  if (!status) u->ask_height = height, u->ask_width = width;
  return status;
}

sm_status sm_upernet_ask(sm_upernet *u, const float *x, int height, int width, float *z, sm_error *err) {
  if (height != u->ask_height || width != u->ask_width) {
    sm_status status = upernet_build_asking(u, height, width, err);
    if (status) return status;
  }
  sm_write(u->asked, 0, sm_elements(u->asked), x);
  sm_graph_run(u->asking, u->ask);
  sm_read(u->answer, 0, sm_elements(u->answer), z);
  return SM_OK;
}

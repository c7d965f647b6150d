/* data2vec — the target of a patch is what the teacher makes of it in its last n blocks (Baevski et al., ICML
 * 2022):
 *
 *   t = norm of the mean over the blocks of norm(output of the block, before the final norm)
 *
 * Norms have no gain; they divide by sqrt(var + 1e-5). `layer` is over the numbers of a patch, `instance`
 * over the patches of a view, number by number, `batch` over the patches of all views of the step, number by
 * number, as torch.nn.functional has them (fairseq, data2vec_vision.py: layer_norm_target_layer,
 * instance_norm_target_layer, batch_norm_target_layer, layer_norm_targets, instance_norm_targets). A part of the
 * step has other means, so with `batch` micro-batches are refused; local views have theirs apart.
 *
 * With `blocks_only` the teacher is an average of the blocks only, and what turns pixels into tokens is the student's
 * own (ema_transformer_only, which the published recipe has). Vectors are as long as the backbone is wide, so the head's out_dim is left 0, or the head
 * is `identity`: fairseq declares a final projection, but does not apply it. `mim_regression` with penalty smooth_l1
 * compares them. */
#include <smalti/plugin.h>

#include <smalti/op.h>

#include <math.h>

enum { NONE, LAYER, INSTANCE, BATCH };
static const char *const norm_names[] = {"none", "layer", "instance", "batch", NULL};
static const double norm_eps = 1e-5;

typedef struct data2vec {
  sm_schedule momentum;
  int64_t blocks;
  int block_norm, norm;
  bool blocks_only;
} data2vec;

static const sm_option options[] = {
    SM_INT(data2vec, blocks, "blocks", "6", 1, SM_WISHES_MAX, "blocks",
           "How many of the teacher's last blocks are averaged"),
    SM_CHOICE(data2vec, block_norm, "block_norm", "layer", norm_names,
              "How each block's output is normalised before the mean"),
    SM_CHOICE(data2vec, norm, "norm", "layer", norm_names, "How the mean is normalised"),
    SM_SCHEDULE(data2vec, momentum, "momentum", "{from: 0.9998, to: 0.9999, shape: linear, per: step}", 0, 1,
                NULL, "How much of the teacher's weights a step keeps"),
    SM_BOOL(data2vec, blocks_only, "blocks_only", "false",
            "The teacher averages the blocks, and has the student's own embedding of pixels and positions"),
};

static sm_status data2vec_spec(const void *self, sm_tokenizer_spec *out, sm_error *err) {
  const data2vec *t = self;
  if (out->blocks && t->blocks > out->blocks) {
    sm_fail(err, SM_EINVAL, "the mean is over %d blocks, but the backbone has %d", (int)t->blocks,
            out->blocks);
    return sm_hint(err, "set blocks to at most %d", out->blocks);
  }
  out->patch = SM_TARGET_VECTORS;
  out->patch_dim = out->dim;
  out->needs_teacher = true;
  out->teacher_blocks = (int)t->blocks;
  out->raw_blocks = true;
  out->whole_step = t->block_norm == BATCH || t->norm == BATCH;
  out->ema = &t->momentum;
  out->ema_blocks_only = t->blocks_only;
  return SM_OK;
}

/* ---- norms over patches: x (B, N, D) → the same, number by number; targets get no gradient, so there is none.
 * Instance norm goes item by item; batch norm is one tile of 16 numbers after the other. ---------------------- */

enum { COLUMNS = 16 };

#define NORMS(real, name)                                                                                   \
  /* Columns first … last-1 of `rows` rows of d numbers. */                                                 \
  static void name##_columns(const real *x, real *y, int64_t rows, int64_t d, int64_t first, int64_t last,  \
                             double eps) {                                                                  \
    for (int64_t c = first; c < last; c++) {                                                                \
      double mean = 0, square = 0;                                                                          \
      for (int64_t k = 0; k < rows; k++) mean += (double)x[k * d + c] / (double)rows;                       \
      for (int64_t k = 0; k < rows; k++)                                                                    \
        square += ((double)x[k * d + c] - mean) * ((double)x[k * d + c] - mean);                            \
      const double inverse = 1 / sqrt(square / (double)rows + eps);                                         \
      for (int64_t k = 0; k < rows; k++) y[k * d + c] = (real)(((double)x[k * d + c] - mean) * inverse);    \
    }                                                                                                       \
  }                                                                                                         \
  static void instance_##name(const sm_node *n, int64_t first, int64_t last, sm_worker *w) {                \
    const real *x = sm_at(w, n->in[0], first);                                                              \
    real *y = sm_at(w, n->out[0], first);                                                                   \
    const int64_t count = n->in[0]->dim[1], d = n->in[0]->dim[2];                                           \
    for (int64_t i = 0; i < last - first; i++, x += count * d, y += count * d)                              \
      name##_columns(x, y, count, d, 0, d, n->f[0]);                                                        \
  }                                                                                                         \
  static void batch_##name(const sm_node *n, int64_t first, int64_t last, sm_worker *w) {                   \
    const int64_t d = n->in[0]->dim[2], rows = sm_items(n->in[0]) * n->in[0]->dim[1], end = last * COLUMNS; \
    name##_columns(sm_at(w, n->in[0], 0), sm_at(w, n->out[0], 0), rows, d, first * COLUMNS,                 \
                   end < d ? end : d, n->f[0]);                                                             \
  }
NORMS(float, norm_f32)
NORMS(double, norm_f64)

static int64_t data2vec_tiles(const sm_node *n) { return (n->in[0]->dim[2] + COLUMNS - 1) / COLUMNS; }

#define RUN(name) {[SM_CPU] = {name##_f32, name##_f64}, [SM_PLAIN] = {name##_f32, name##_f64}}
static const sm_op instance_norm = {.name = "instance_norm", .cls = SM_PER_ITEM, .run = RUN(instance_norm)};
static const sm_op batch_norm = {
    .name = "target_batch_norm", .cls = SM_TILES, .tiles = data2vec_tiles, .run = RUN(batch_norm)};

static sm_tensor *data2vec_norm(sm_graph *g, sm_tensor *x, int norm) {
  if (norm == NONE || !sm_graph_ok(g)) return x;
  if (norm == LAYER) return sm_layer_norm(g, x, NULL, NULL, norm_eps);
  sm_tensor *y = sm_result(g, x->dtype, x->ndim, x->dim, x->count);
  sm_emit(g, norm == BATCH ? &batch_norm : &instance_norm, 1, &x, 1, &y)->f[0] = norm_eps;
  return y;
}

/* ---- targets ------------------------------------------------------------------------------------------- */

static bool data2vec_over_patches(int norm) { return norm == INSTANCE || norm == BATCH; }

/* What looks at each patch alone is done for hidden ones only. */
static void data2vec_build_local(void *self, sm_graph *g, const sm_tokenizer_env *env, const sm_seen *seen,
                                 sm_target *patch) {
  const data2vec *t = self;
  sm_tensor *sum = NULL;
  if (!env->want_patch) return;
  for (int k = 0; k < seen->blocks; k++) {
    sm_tensor *x = seen->block[k];
    if (data2vec_over_patches(t->block_norm)) x = data2vec_norm(g, x, t->block_norm);
    if (!data2vec_over_patches(t->norm)) x = sm_gather(g, x, env->masked);
    if (t->block_norm == LAYER) x = data2vec_norm(g, x, LAYER);
    sum = sum ? sm_add(g, sum, x) : x;
  }
  sm_tensor *target = data2vec_norm(g, sm_scale(g, sum, 1.0 / seen->blocks), t->norm);
  if (data2vec_over_patches(t->norm)) target = sm_gather(g, target, env->masked);
  *patch = (sm_target){.form = SM_TARGET_VECTORS, .dim = target->dim[target->ndim - 1], .vectors = target};
}

/* The same of either kind of view. */
static void data2vec_build(void *self, sm_graph *g, const sm_tokenizer_env *env, const sm_seen *seen,
                           sm_target *view, sm_target *patch) {
  (void)view;
  data2vec_build_local(self, g, env, seen, patch);
}

static const sm_tokenizer_ops ops = {
    .spec = data2vec_spec, .build = data2vec_build, .build_local = data2vec_build_local};
static const sm_plugin plugin = {.kind = SM_TOKENIZER,
                                 .name = "data2vec",
                                 .summary = "The mean of the teacher's last blocks, normalised without gain",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .cite = "Baevski et al., data2vec, ICML 2022",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .instance_size = sizeof(data2vec),
                                 .ops = &ops};
SM_MODULE(&plugin)

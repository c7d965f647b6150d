/* hog — the target of a patch is its histograms of oriented gradients: 3·bins·(P/pool)² numbers (MaskFeat, Wei et
 * al., CVPR 2022; SlowFast, slowfast/models/operators.py: HOGLayerC). Of each channel of the normalised picture by
 * itself, its border mirrored without the edge:
 *
 *   gx, gy      the picture under [[1, 0, -1], [2, 0, -2], [1, 0, -1]] and its transpose
 *   bin         floor(bins · atan2(gx, gy)/π) mod bins, so that opposite directions are one
 *   histogram   of a cell of pool × pool pixels: the sum of √(gx² + gy²) in each bin
 *   target      histogram / max(‖histogram‖, 1e-12)
 *
 * There is no interpolation between bins or cells, no window and no norm over blocks of cells. Order: channel, bin,
 * cell row, cell column. MaskFeat's head is one linear layer behind the final norm (`linear`), its loss
 * `mim_regression` with penalty l2. */
#include <smalti/plugin.h>

#include <smalti/op.h>

#include <math.h>

enum { BINS_MAX = 64 };
static const double hog_pi = 3.14159265358979323846, hog_eps = 1e-12;

typedef struct hog {
  int64_t pool, bins;
} hog;

static const sm_option options[] = {
    SM_INT(hog, pool, "pool", "8", 1, 16, "px", "Side of a cell of a histogram, a divisor of the patch's side"),
    SM_INT(hog, bins, "bins", "9", 1, BINS_MAX, NULL, "Directions from 0 to 180 degrees"),
};

static sm_status hog_spec(const void *self, sm_tokenizer_spec *out, sm_error *err) {
  const hog *t = self;
  const int cell = out->cell;
  if (cell && cell % t->pool) {
    sm_fail(err, SM_EINVAL, "patches of %d pixels cannot be cut into cells of %d", cell, (int)t->pool);
    return sm_hint(err, "set pool to a divisor of the patch's side: 8 where it is 16, 4 where it is 8");
  }
  out->patch = SM_TARGET_VECTORS;
  out->patch_dim = (int)(3 * t->bins * (cell / t->pool) * (cell / t->pool));
  return SM_OK;
}

/* ---- the op: in pictures (B, 3, H, W), token (R), i = side of a patch, of a cell, bins, patches of a view; out (R,
 * 3·bins·cells). Differences are made in the graph's real type, as the reference makes them, so that a gradient that
 * is 0 there is 0 here; sums in double. ------------------------------------------------------------------------- */

static int64_t hog_mirror(int64_t at, int64_t n) { return at < 0 ? -at : at >= n ? 2 * n - 2 - at : at; }

#define HOG(real, name, root, arc)                                                                               \
  /* Into the bin of one pixel of a channel (height, width). */                                                  \
  static void name##_pixel(const real *x, int64_t h, int64_t w, int64_t row, int64_t col, int bins, double *bin) { \
    const real *above = x + hog_mirror(row - 1, h) * w, *here = x + row * w,                                     \
               *below = x + hog_mirror(row + 1, h) * w;                                                          \
    const int64_t left = hog_mirror(col - 1, w), right = hog_mirror(col + 1, w);                                 \
    const real gx = (above[left] - above[right]) + 2 * (here[left] - here[right]) + (below[left] - below[right]); \
    const real gy = (above[left] - below[left]) + 2 * (above[col] - below[col]) + (above[right] - below[right]); \
    const real phase = arc(gx, gy) / (real)hog_pi * (real)bins;                                                  \
    int at = (int)floor((double)phase) % bins;                                                                   \
    if (at < 0) at += bins;                                                                                      \
    bin[at] += (double)root(gx * gx + gy * gy);                                                                  \
  }                                                                                                              \
  static void name(const sm_node *n, int64_t first, int64_t last, sm_worker *worker) {                           \
    const int64_t side = n->i[0], pool = n->i[1], patches = n->i[3], h = n->in[0]->dim[2], w = n->in[0]->dim[3], \
                  cells = side / pool, across = w / side;                                                        \
    const int bins = (int)n->i[2];                                                                               \
    const int32_t *token = sm_at(worker, n->in[1], 0);                                                           \
    real *out = sm_at(worker, n->out[0], first);                                                                 \
    for (int64_t r = first; r < last; r++) {                                                                     \
      const int64_t patch = token[r] % patches, top = patch / across * side, left = patch % across * side;       \
      for (int64_t c = 0; c < 3; c++, out += bins * cells * cells) {                                             \
        const real *x = (const real *)sm_at(worker, n->in[0], token[r] / patches) + c * h * w;                   \
        for (int64_t cell = 0; cell < cells * cells; cell++) {                                                   \
          const int64_t y0 = top + cell / cells * pool, x0 = left + cell % cells * pool;                         \
          double bin[BINS_MAX] = {0}, square = 0;                                                                \
          for (int64_t k = 0; k < pool * pool; k++)                                                              \
            name##_pixel(x, h, w, y0 + k / pool, x0 + k % pool, bins, bin);                                      \
          for (int k = 0; k < bins; k++) square += bin[k] * bin[k];                                              \
          const double length = sqrt(square) > hog_eps ? sqrt(square) : hog_eps;                                 \
          for (int k = 0; k < bins; k++) out[k * cells * cells + cell] = (real)(bin[k] / length);                \
        }                                                                                                        \
      }                                                                                                          \
    }                                                                                                            \
  }
HOG(float, hog_f32, sqrtf, atan2f)
HOG(double, hog_f64, sqrt, atan2)
static const sm_op hog_op = {.name = "hog",
                             .cls = SM_PER_ITEM,
                             .cross = 3,
                             .run = {[SM_CPU] = {hog_f32, hog_f64}, [SM_PLAIN] = {hog_f32, hog_f64}}};

/* ---- targets ------------------------------------------------------------------------------------------- */

static void hog_build_local(void *self, sm_graph *g, const sm_tokenizer_env *env, const sm_seen *seen,
                            sm_target *patch) {
  const hog *t = self;
  if (!env->want_patch || !sm_graph_ok(g)) return;
  const int64_t side = seen->pictures->dim[2] / seen->rows, cells = side / t->pool,
                dim[] = {env->masked->capacity, 3 * t->bins * cells * cells};
  if (seen->pictures->dim[2] < 2 || seen->pictures->dim[3] < 2) {
    sm_graph_fail(g, "hog needs views of 2 pixels or more in each direction");
    return;
  }
  sm_tensor *y = sm_result(g, sm_graph_real(g), 2, dim, env->masked->count);
  sm_node *n = sm_emit(g, &hog_op, 2, (sm_tensor *[]){seen->pictures, env->masked->token}, 1, &y);
  n->i[0] = side, n->i[1] = t->pool, n->i[2] = t->bins, n->i[3] = (int64_t)seen->rows * seen->cols;
  *patch = (sm_target){.form = SM_TARGET_VECTORS, .dim = dim[1], .vectors = y};
}

/* The same of either kind of view. */
static void hog_build(void *self, sm_graph *g, const sm_tokenizer_env *env, const sm_seen *seen, sm_target *view,
                      sm_target *patch) {
  (void)view;
  hog_build_local(self, g, env, seen, patch);
}

static const sm_tokenizer_ops ops = {.spec = hog_spec, .build = hog_build, .build_local = hog_build_local};
static const sm_plugin plugin = {.kind = SM_TOKENIZER,
                                 .name = "hog",
                                 .summary = "Histograms of oriented gradients of the patch",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .cite = "Wei et al., Masked Feature Prediction, CVPR 2022; Dalal & Triggs, CVPR 2005",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .instance_size = sizeof(hog),
                                 .ops = &ops};
SM_MODULE(&plugin)

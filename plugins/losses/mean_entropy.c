/* mean_entropy — me-max, mean-entropy maximisation (Assran et al., Masked Siamese Networks, ECCV 2022; msn,
 * src/losses.py): over the step all prototypes should be used.
 *
 *   loss = weight · (ln K - H(p)),  p = mean over the step's views of softmax(z/temperature),  H(p) = -Σ p ln p
 *
 * z are the student's logits (of [CLS]). With `views: others` the first global view is left out, which is the target of
 * the others in MSN (cls_distill with targets: first). The passes over global and local views have a mean each; their
 * losses weigh as many views as they have. MSN's code has one mean over both, which this is at most. A part of the step
 * has another mean, so micro-batches are refused. */
#include <smalti/plugin.h>

#include <smalti/op.h>

#include <math.h>

enum { ALL, OTHERS };
static const char *const view_names[] = {"all", "others", NULL};

typedef struct mean_entropy {
  double weight, temperature;
  int views;
} mean_entropy;

static const sm_option options[] = {
    SM_FLOAT(mean_entropy, weight, "weight", "1", 0, 1e6, NULL, "Factor of this loss in the sum"),
    SM_FLOAT(mean_entropy, temperature, "temperature", "0.1", 1e-4, 100, NULL, "Temperature of the softmax"),
    SM_CHOICE(mean_entropy, views, "views", "all", view_names,
              "All views, or all but the first global one, which is a target only"),
};

/* ---- ops: z (R, K), weights of rows from first (R + 1) and weight (pairs), inv_tau (1) ----------------- */

enum { COLUMNS = 16 };
static const double least = 1e-30; /* of a mean, whose logarithm is taken */

#define MEAN_ENTROPY(real, suffix)                                                                              \
  static double mean_entropy_weight_##suffix(const int32_t *first, const real *weight, int64_t row) {           \
    double sum = 0;                                                                                             \
    for (int32_t k = first[row]; k < first[row + 1]; k++) sum += (double)weight[k];                             \
    return sum;                                                                                                 \
  }                                                                                                             \
  /* in z, inv_tau; out lse (R) */                                                                              \
  static void me_lse_##suffix(const sm_node *n, int64_t begin, int64_t end, sm_worker *w) {                     \
    const real *z = sm_at(w, n->in[0], begin);                                                                  \
    const double scale = (double)*(const real *)sm_at(w, n->in[1], 0);                                          \
    real *lse = sm_at(w, n->out[0], begin);                                                                     \
    const int64_t k = n->in[0]->dim[1];                                                                         \
    for (int64_t r = begin; r < end; r++, z += k) {                                                             \
      double most = -INFINITY, sum = 0;                                                                         \
      for (int64_t c = 0; c < k; c++)                                                                           \
        if (scale * (double)z[c] > most) most = scale * (double)z[c];                                           \
      for (int64_t c = 0; c < k; c++) sum += exp(scale * (double)z[c] - most);                                  \
      lse[r - begin] = (real)(most + log(sum));                                                                 \
    }                                                                                                           \
  }                                                                                                             \
  /* in z, lse, first, weight, inv_tau; out log of the weighted mean (K) */                                     \
  static void me_mean_##suffix(const sm_node *n, int64_t begin, int64_t end, sm_worker *w) {                    \
    const real *z = sm_at(w, n->in[0], 0), *lse = sm_at(w, n->in[1], 0), *weight = sm_at(w, n->in[3], 0);       \
    const int32_t *first = sm_at(w, n->in[2], 0);                                                               \
    const double scale = (double)*(const real *)sm_at(w, n->in[4], 0);                                          \
    real *mean = sm_at(w, n->out[0], 0);                                                                        \
    const int64_t rows = sm_items(n->in[0]), k = n->in[0]->dim[1], stop = end * COLUMNS < k ? end * COLUMNS : k; \
    for (int64_t c = begin * COLUMNS; c < stop; c++) {                                                          \
      double sum = 0, all = 0;                                                                                  \
      for (int64_t r = 0; r < rows; r++) {                                                                      \
        const double own = mean_entropy_weight_##suffix(first, weight, r);                                      \
        if (own > 0) sum += own * exp(scale * (double)z[r * k + c] - (double)lse[r]);                           \
        all += own;                                                                                             \
      }                                                                                                         \
      mean[c] = (real)log(all > 0 && sum / all > least ? sum / all : least);                                    \
    }                                                                                                           \
  }                                                                                                             \
  /* in z, lse, first, weight, inv_tau, mean (K); out loss (R) = w·Σ p (mean + ln K) */                         \
  static void me_loss_##suffix(const sm_node *n, int64_t begin, int64_t end, sm_worker *w) {                    \
    const real *z = sm_at(w, n->in[0], begin), *lse = sm_at(w, n->in[1], begin), *weight = sm_at(w, n->in[3], 0), \
               *mean = sm_at(w, n->in[5], 0);                                                                   \
    const int32_t *first = sm_at(w, n->in[2], 0);                                                               \
    const double scale = (double)*(const real *)sm_at(w, n->in[4], 0);                                          \
    real *loss = sm_at(w, n->out[0], begin);                                                                    \
    const int64_t k = n->in[0]->dim[1];                                                                         \
    for (int64_t r = begin; r < end; r++, z += k) {                                                             \
      const double own = mean_entropy_weight_##suffix(first, weight, r);                                        \
      double sum = 0;                                                                                           \
      for (int64_t c = 0; own > 0 && c < k; c++)                                                                \
        sum += exp(scale * (double)z[c] - (double)lse[r - begin]) * ((double)mean[c] + log((double)k));         \
      loss[r - begin] = (real)(own * sum);                                                                      \
    }                                                                                                           \
  }                                                                                                             \
  /* the same and dloss (R); out dz = w·p·(mean - Σ p·mean)/tau: the other terms add up to 0 */                 \
  static void me_dz_##suffix(const sm_node *n, int64_t begin, int64_t end, sm_worker *w) {                      \
    const real *z = sm_at(w, n->in[0], begin), *lse = sm_at(w, n->in[1], begin), *weight = sm_at(w, n->in[3], 0), \
               *mean = sm_at(w, n->in[5], 0), *dloss = sm_at(w, n->in[6], begin);                               \
    const int32_t *first = sm_at(w, n->in[2], 0);                                                               \
    const double scale = (double)*(const real *)sm_at(w, n->in[4], 0);                                          \
    real *dz = sm_at(w, n->out[0], begin);                                                                      \
    const int64_t k = n->in[0]->dim[1];                                                                         \
    for (int64_t r = begin; r < end; r++, z += k, dz += k) {                                                    \
      const double own = mean_entropy_weight_##suffix(first, weight, r) * (double)dloss[r - begin];             \
      double middle = 0;                                                                                        \
      for (int64_t c = 0; c < k; c++)                                                                           \
        middle += exp(scale * (double)z[c] - (double)lse[r - begin]) * (double)mean[c];                         \
      for (int64_t c = 0; c < k; c++) {                                                                         \
        const double v = own * scale * exp(scale * (double)z[c] - (double)lse[r - begin]) *                     \
                         ((double)mean[c] - middle);                                                            \
        dz[c] = (real)(n->acc ? (double)dz[c] + v : v);                                                         \
      }                                                                                                         \
    }                                                                                                           \
  }
MEAN_ENTROPY(float, f32)
MEAN_ENTROPY(double, f64)

static int64_t mean_entropy_tiles(const sm_node *n) { return (n->in[0]->dim[1] + COLUMNS - 1) / COLUMNS; }

#define RUN(name) {[SM_CPU] = {name##_f32, name##_f64}, [SM_PLAIN] = {name##_f32, name##_f64}}
static const sm_op me_lse = {.name = "me_lse", .cls = SM_PER_ITEM, .cross = 2, .run = RUN(me_lse)};
static const sm_op me_mean = {
    .name = "me_mean", .cls = SM_TILES, .tiles = mean_entropy_tiles, .run = RUN(me_mean)};
static const sm_op me_dz = {.name = "me_dz", .cls = SM_PER_ITEM, .cross = 60, .run = RUN(me_dz)};

static void mean_entropy_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *dz = sm_grad_slot(g, n->in[0], &acc);
  if (!dz) return;
  sm_tensor *in[7] = {sm_value(g, n->in[0]), sm_value(g, n->in[1])};
  for (int k = 2; k < 6; k++) in[k] = n->in[k];
  in[6] = sm_grad_of(g, n->out[0]);
  sm_emit(g, &me_dz, 7, in, 1, &dz)->acc = acc;
}
static const sm_op me_loss = {
    .name = "me_loss", .cls = SM_PER_ITEM, .cross = 60, .run = RUN(me_loss), .vjp = mean_entropy_vjp};

/* ---- the loss ------------------------------------------------------------------------------------------ */

static sm_status mean_entropy_spec(const void *self, sm_loss_spec *out, sm_error *err) {
  (void)self, (void)err;
  *out = (sm_loss_spec){.site = SM_SITE_VIEW, .local_views = true, .whole_step = true};
  return SM_OK;
}

/* No target: the pair's target row means nothing. */
static void mean_entropy_pairs(const void *self, const sm_pair_request *r) {
  const mean_entropy *l = self;
  const int skip = l->views == OTHERS, views = r->local ? r->locals : r->globals;
  const double all = (double)r->step_pictures * (r->globals - skip + r->locals);
  for (int row = 0; row < r->pictures * views; row++)
    if (r->local || row % views >= skip) sm_pairs_add(r->out, row, row, l->weight / all);
}

static sm_tensor *mean_entropy_build(void *self, sm_graph *g, const sm_prediction *p, const sm_target *target,
                                     const sm_pairs *pairs, sm_tensor **stats) {
  sm_tensor *z = p->logits;
  (void)target, (void)stats;
  if (!sm_graph_ok(g)) return z;
  sm_tensor *scale = sm_scalar(g, "1/temperature of the mean", 1 / ((const mean_entropy *)self)->temperature),
            *lse = sm_result(g, sm_graph_real(g), 1, z->dim, z->count),
            *mean = sm_result(g, sm_graph_real(g), 1, &z->dim[1], NULL),
            *loss = sm_result(g, sm_graph_real(g), 1, z->dim, z->count);
  sm_tensor *in[] = {z, lse, pairs->first, pairs->weight, scale, mean};
  sm_emit(g, &me_lse, 2, (sm_tensor *[]){z, scale}, 1, &lse);
  sm_emit(g, &me_mean, 5, in, 1, &mean);
  sm_emit(g, &me_loss, 6, in, 1, &loss);
  sm_loss_term(g, loss);
  return loss;
}

static const sm_loss_ops ops = {
    .spec = mean_entropy_spec, .pairs = mean_entropy_pairs, .build = mean_entropy_build};
static const sm_plugin plugin = {.kind = SM_LOSS,
                                 .name = "mean_entropy",
                                 .summary = "Lets a step's views use all of a head's prototypes",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .cite = "Assran et al., Masked Siamese Networks, ECCV 2022",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .instance_size = sizeof(mean_entropy),
                                 .ops = &ops};
SM_MODULE(&plugin)

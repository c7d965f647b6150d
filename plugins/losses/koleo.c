/* koleo — spreads the features of a step's pictures apart (Sablayrolles et al. 2019; the regulariser of
 * DINOv2):
 *
 *   loss = Σ over global views of  -weight · mean over pictures of log(‖x - nn‖ + eps)
 *
 * where x are the views' features at length 1 and nn is the row of another picture, of the same view
 * index, with the largest cosine. As dinov2/loss/koleo_loss.py does it, eps = 1e-8 is the least length,
 * and is added to each coordinate of the difference and to the distance. Gradients flow into both ends. A
 * view that has no other row costs nothing. */
#include <smalti/plugin.h>

#include <smalti/op.h>

#include <math.h>

#define EPS 1e-8

typedef struct koleo {
  double weight;
} koleo;

static const sm_option options[] = {
    SM_FLOAT(koleo, weight, "weight", "0.1", 0, 1e6, NULL, "Factor of this loss in the sum"),
};

/* ---- the op: in x (R, D), first (R + 1), weight (pairs), i0 = views; out loss (R), nearest (R), distance
 * (R) ------------- */

#define GENERIC static inline __attribute__((always_inline))
GENERIC double koleo_get(const void *x, int64_t i, bool wide) {
  return wide ? ((const double *)x)[i] : (double)((const float *)x)[i];
}
GENERIC void koleo_put(void *x, int64_t i, double value, bool wide) {
  if (wide) ((double *)x)[i] = value;
  else ((float *)x)[i] = (float)value;
}

/* Of a row: the sum of its pairs' weights. */
GENERIC double koleo_weight(const sm_node *n, sm_worker *w, int64_t row, bool wide) {
  const int32_t *first = sm_at(w, n->in[1], 0);
  const void *weight = sm_at(w, n->in[2], 0);
  double sum = 0;
  for (int32_t k = first[row]; k < first[row + 1]; k++) sum += koleo_get(weight, k, wide);
  return sum;
}

/* Four sums at once: they do not wait for each other, and their order is fixed. */
GENERIC double koleo_dot(const void *x, int64_t a, int64_t b, int64_t d, bool wide) {
  double sum[4] = {0};
  for (int64_t k = 0; k < d; k++) sum[k & 3] += koleo_get(x, a * d + k, wide) * koleo_get(x, b * d + k, wide);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

GENERIC void koleo_forward(const sm_node *n, int64_t begin, int64_t end, sm_worker *w, bool wide) {
  const void *x = sm_at(w, n->in[0], 0);
  void *loss = sm_at(w, n->out[0], begin), *distance = sm_at(w, n->out[2], begin);
  int32_t *nearest = sm_at(w, n->out[1], begin);
  const int64_t rows = sm_items(n->in[0]), d = n->in[0]->dim[1], views = n->i[0];
  for (int64_t r = begin; r < end; r++) {
    double best = -INFINITY, square = 0;
    int64_t to = -1;
    for (int64_t other = r % views; other < rows; other += views) {
      double cosine = other == r ? -INFINITY : koleo_dot(x, r, other, d, wide);
      if (cosine > best) best = cosine, to = other;
    }
    for (int64_t k = 0; to >= 0 && k < d; k++) {
      double apart = koleo_get(x, r * d + k, wide) - koleo_get(x, to * d + k, wide) + EPS;
      square += apart * apart;
    }
    nearest[r - begin] = (int32_t)to;
    koleo_put(distance, r - begin, sqrt(square), wide);
    koleo_put(loss, r - begin, to < 0 ? 0 : -koleo_weight(n, w, r, wide) * log(sqrt(square) + EPS), wide);
  }
}

/* in x, first, weight, nearest, distance, dloss (R): what row r gets as itself, and as the nearest of others,
 * in their order. */
GENERIC void koleo_backward(const sm_node *n, int64_t begin, int64_t end, sm_worker *w, bool wide) {
  const void *x = sm_at(w, n->in[0], 0), *distance = sm_at(w, n->in[4], 0), *dloss = sm_at(w, n->in[5], 0);
  const int32_t *nearest = sm_at(w, n->in[3], 0);
  void *dx = sm_at(w, n->out[0], begin);
  const int64_t rows = sm_items(n->in[0]), d = n->in[0]->dim[1], views = n->i[0];
  for (int64_t r = begin; r < end; r++) {
    for (int64_t k = 0; !n->acc && k < d; k++) koleo_put(dx, (r - begin) * d + k, 0, wide);
    for (int64_t i = r % views; i < rows; i += views) {
      if (nearest[i] < 0 || (i != r && nearest[i] != r)) continue;
      double away = koleo_get(distance, i, wide);
      double factor = -koleo_weight(n, w, i, wide) * koleo_get(dloss, i, wide) / (away * (away + EPS)) *
                      (i == r ? 1 : -1);
      for (int64_t k = 0; k < d; k++) {
        double apart = koleo_get(x, i * d + k, wide) - koleo_get(x, nearest[i] * d + k, wide) + EPS;
        koleo_put(dx, (r - begin) * d + k, koleo_get(dx, (r - begin) * d + k, wide) + factor * apart, wide);
      }
    }
  }
}

#define KERNELS(name)                                                                                       \
  static void name##_f32(const sm_node *n, int64_t a, int64_t b, sm_worker *w) { name(n, a, b, w, false); } \
  static void name##_f64(const sm_node *n, int64_t a, int64_t b, sm_worker *w) { name(n, a, b, w, true); }
KERNELS(koleo_forward)
KERNELS(koleo_backward)
#define RUN(name) {[SM_CPU] = {name##_f32, name##_f64}, [SM_PLAIN] = {name##_f32, name##_f64}}

static const sm_op koleo_dx = {
    .name = "koleo_dx", .cls = SM_PER_ITEM, .cross = 63, .run = RUN(koleo_backward)};

static void koleo_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *dx = sm_grad_slot(g, n->in[0], &acc);
  if (!dx) return;
  sm_tensor *in[] = {sm_value(g, n->in[0]),   n->in[1], n->in[2], n->out[1], n->out[2],
                     sm_grad_of(g, n->out[0])};
  sm_node *node = sm_emit(g, &koleo_dx, 6, in, 1, &dx);
  node->acc = acc;
  node->i[0] = n->i[0];
}
static const sm_op koleo_op = {
    .name = "koleo", .cls = SM_PER_ITEM, .cross = 7, .run = RUN(koleo_forward), .vjp = koleo_vjp};

/* ---- the loss ------------------------------------------------------------------------------------------ */

static sm_status koleo_spec(const void *self, sm_loss_spec *out, sm_error *err) {
  (void)self, (void)err;
  *out = (sm_loss_spec){.site = SM_SITE_VIEW, .features = true, .whole_step = true};
  return SM_OK;
}

/* No target: the pair's target row means nothing. */
static void koleo_pairs(const void *self, const sm_pair_request *r) {
  for (int row = 0; row < r->pictures * r->globals; row++)
    sm_pairs_add(r->out, row, row, ((const koleo *)self)->weight / r->step_pictures);
}

static sm_tensor *koleo_build(void *self, sm_graph *g, const sm_prediction *p, const sm_target *target,
                              const sm_pairs *pairs, sm_tensor **stats) {
  (void)self, (void)target, (void)stats;
  sm_tensor *x = sm_l2_normalize(g, p->features, EPS);
  sm_tensor *out[] = {sm_result(g, sm_graph_real(g), 1, x->dim, x->count),
                      sm_result(g, SM_I32, 1, x->dim, x->count),
                      sm_result(g, sm_graph_real(g), 1, x->dim, x->count)};
  sm_emit(g, &koleo_op, 3, (sm_tensor *[]){x, pairs->first, pairs->weight}, 3, out)->i[0] = p->views;
  sm_loss_term(g, out[0]);
  return out[0];
}

static const sm_loss_ops ops = {.spec = koleo_spec, .pairs = koleo_pairs, .build = koleo_build};
static const sm_plugin plugin = {
    .kind = SM_LOSS,
    .name = "koleo",
    .summary = "Spreads the features of the pictures of a step apart",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite =
        "Sablayrolles et al., Spreading vectors for similarity search, ICLR 2019; Oquab et al., DINOv2, 2023",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(koleo),
    .ops = &ops};
SM_MODULE(&plugin)

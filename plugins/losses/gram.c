/* gram — Gram anchoring (DINOv3, Siméoni et al. 2025; dinov3, loss/gram_loss.py): which patches of a view resemble each
 * other must stay as a frozen earlier teacher has it, while the features themselves may move.
 *
 *   loss = weight · mean over views, i and j of (x_i·x_j - t_i·t_j)²
 *
 * where x are the student's features at the patches of a global view at length 1 and t the frozen network's (tokenizer
 * `checkpoint` with labels: features), of any width. With `level: step` (img_level false there) i and j run over all
 * patches of the step, so micro-batches are refused. `negatives: drop` sets similarities below 0 to 0, in both
 * (remove_neg); `drop_teacher`: the teacher's, and the student's where the teacher's was below 0 too
 * (remove_only_teacher_neg). The student sees its views masked where a masker hides patches (tokens_used: all). */
#include <smalti/plugin.h>

#include <smalti/op.h>

enum { LEVEL_IMAGE, LEVEL_STEP };
static const char *const level_names[] = {"image", "step", NULL};
enum { KEEP, DROP, DROP_TEACHER };
static const char *const negative_names[] = {"keep", "drop", "drop_teacher", NULL};
static const double length_eps = 1e-12;

typedef struct gram {
  double weight;
  int level, negatives;
  bool normalize;
} gram;

static const sm_option options[] = {
    SM_FLOAT(gram, weight, "weight", "1", 0, 1e6, NULL, "Factor of this loss in the sum"),
    SM_CHOICE(gram, level, "level", "image", level_names, "Compare the patches of a view, or of the whole step"),
    SM_BOOL(gram, normalize, "normalize", "true", "Bring features to length 1 first"),
    SM_CHOICE(gram, negatives, "negatives", "keep", negative_names,
              "Similarities below 0: keep them, set them to 0, or only where the teacher's are"),
};

/* ---- the op: x (R, D), t (R, E), first (R + 1), weight (pairs); i0 = rows of a group (0: all), i1 = negatives; out
 * loss (R) = w_r · mean over j of the group of (x_r·x_j - t_r·t_j)², w_r the sum of the row's weights ------------- */

#define GRAM(real, name)                                                                                          \
  /* Eight sums at once, added in a fixed order. */                                                               \
  static real name##_dot(const real *a, const real *b, int64_t d) {                                               \
    real sum[8] = {0};                                                                                            \
    int64_t k = 0;                                                                                                \
    for (; k + 8 <= d; k += 8)                                                                                    \
      for (int i = 0; i < 8; i++) sum[i] += a[k + i] * b[k + i];                                                  \
    for (; k < d; k++) sum[0] += a[k] * b[k];                                                                     \
    return ((sum[0] + sum[4]) + (sum[1] + sum[5])) + ((sum[2] + sum[6]) + (sum[3] + sum[7]));                     \
  }                                                                                                               \
  /* Of rows r and j; *slope: does it follow the student's similarity? */                                         \
  static real name##_apart(const sm_node *n, const real *x, const real *t, int64_t r, int64_t j, bool *slope) {   \
    const int64_t d = n->in[0]->dim[1], e = n->in[1]->dim[1];                                                     \
    real own = name##_dot(x + r * d, x + j * d, d), other = name##_dot(t + r * e, t + j * e, e);                  \
    *slope = true;                                                                                                \
    if (own < 0 && (n->i[1] == DROP || (n->i[1] == DROP_TEACHER && other < 0))) own = 0, *slope = false;          \
    if (other < 0 && n->i[1] != KEEP) other = 0;                                                                  \
    return own - other;                                                                                           \
  }                                                                                                               \
  static real name##_weight(const sm_node *n, sm_worker *w, int64_t row) {                                        \
    const int32_t *first = sm_at(w, n->in[2], 0);                                                                 \
    const real *weight = sm_at(w, n->in[3], 0);                                                                   \
    real sum = 0;                                                                                                 \
    for (int32_t k = first[row]; k < first[row + 1]; k++) sum += weight[k];                                       \
    return sum;                                                                                                   \
  }                                                                                                               \
  static void forward_##name(const sm_node *n, int64_t begin, int64_t end, sm_worker *w) {                        \
    const real *x = sm_at(w, n->in[0], 0), *t = sm_at(w, n->in[1], 0);                                            \
    real *loss = sm_at(w, n->out[0], begin);                                                                      \
    const int64_t size = n->i[0] ? n->i[0] : sm_items(n->in[0]);                                                  \
    for (int64_t r = begin; r < end; r++) {                                                                       \
      double sum = 0;                                                                                             \
      bool slope;                                                                                                 \
      for (int64_t j = r / size * size; j < r / size * size + size; j++) {                                        \
        const double apart = (double)name##_apart(n, x, t, r, j, &slope);                                         \
        sum += apart * apart;                                                                                     \
      }                                                                                                           \
      loss[r - begin] = (real)((double)name##_weight(n, w, r) * sum / (double)size);                              \
    }                                                                                                             \
  }                                                                                                               \
  /* and dloss (R): each pair of rows counts in both of their losses. */                                          \
  static void backward_##name(const sm_node *n, int64_t begin, int64_t end, sm_worker *w) {                       \
    const real *x = sm_at(w, n->in[0], 0), *t = sm_at(w, n->in[1], 0), *dloss = sm_at(w, n->in[4], 0);            \
    real *dx = sm_at(w, n->out[0], begin);                                                                        \
    const int64_t d = n->in[0]->dim[1], size = n->i[0] ? n->i[0] : sm_items(n->in[0]);                            \
    for (int64_t r = begin; r < end; r++, dx += d) {                                                              \
      const real own = name##_weight(n, w, r) * dloss[r];                                                         \
      for (int64_t k = 0; !n->acc && k < d; k++) dx[k] = 0;                                                       \
      for (int64_t j = r / size * size; j < r / size * size + size; j++) {                                        \
        bool slope;                                                                                               \
        const real apart = name##_apart(n, x, t, r, j, &slope);                                                   \
        if (!slope) continue;                                                                                     \
        const real factor = 2 * (own + name##_weight(n, w, j) * dloss[j]) * apart / (real)size;                   \
        for (int64_t k = 0; k < d; k++) dx[k] += factor * x[j * d + k];                                           \
      }                                                                                                           \
    }                                                                                                             \
  }
GRAM(float, gram_f32)
GRAM(double, gram_f64)

#define RUN(name) {[SM_CPU] = {name##_f32, name##_f64}, [SM_PLAIN] = {name##_f32, name##_f64}}
static const sm_op gram_dx = {.name = "gram_dx", .cls = SM_PER_ITEM, .cross = 31, .run = RUN(backward_gram)};

static void gram_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *dx = sm_grad_slot(g, n->in[0], &acc);
  if (!dx) return;
  sm_tensor *in[] = {sm_value(g, n->in[0]), sm_value(g, n->in[1]), n->in[2], n->in[3], sm_grad_of(g, n->out[0])};
  sm_node *node = sm_emit(g, &gram_dx, 5, in, 1, &dx);
  node->acc = acc;
  node->i[0] = n->i[0], node->i[1] = n->i[1];
}
static const sm_op gram_op = {
    .name = "gram", .cls = SM_PER_ITEM, .cross = 15, .run = RUN(forward_gram), .vjp = gram_vjp};

/* ---- the loss ------------------------------------------------------------------------------------------ */

static sm_status gram_spec(const void *self, sm_loss_spec *out, sm_error *err) {
  (void)err;
  *out = (sm_loss_spec){.forms = SM_TARGET_VECTORS,
                        .site = SM_SITE_PATCH,
                        .features = true,
                        .all_patches = true,
                        .any_width = true,
                        .whole_step = ((const gram *)self)->level == LEVEL_STEP};
  return SM_OK;
}

static void gram_pairs(const void *self, const sm_pair_request *r) {
  int64_t row = 0;
  for (int view = 0; view < r->pictures * r->globals; view++)
    for (int k = 0; k < r->masked[view]; k++, row++)
      sm_pairs_add(r->out, row, row, ((const gram *)self)->weight / (double)r->step_masked);
}

static sm_tensor *gram_build(void *self, sm_graph *g, const sm_prediction *p, const sm_target *target,
                             const sm_pairs *pairs, sm_tensor **stats) {
  const gram *l = self;
  sm_tensor *x = p->features, *t = target->vectors;
  (void)stats;
  if (l->normalize) x = sm_l2_normalize(g, x, length_eps), t = sm_l2_normalize(g, t, length_eps);
  if (!sm_graph_ok(g)) return x;
  sm_tensor *loss = sm_result(g, sm_graph_real(g), 1, x->dim, x->count);
  sm_node *n = sm_emit(g, &gram_op, 4, (sm_tensor *[]){x, t, pairs->first, pairs->weight}, 1, &loss);
  n->i[0] = l->level == LEVEL_IMAGE ? p->patches : 0;
  n->i[1] = l->negatives;
  sm_loss_term(g, loss);
  return loss;
}

static const sm_loss_ops ops = {.spec = gram_spec, .pairs = gram_pairs, .build = gram_build};
static const sm_plugin plugin = {.kind = SM_LOSS,
                                 .name = "gram",
                                 .summary = "Keeps which patches resemble each other as a frozen network has it",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .cite = "Siméoni et al., DINOv3, 2025",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .instance_size = sizeof(gram),
                                 .ops = &ops};
SM_MODULE(&plugin)

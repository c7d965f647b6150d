/* prototype_codes — codes of the views over the prototypes of a head, balanced by Sinkhorn and Knopp: SwAV's (Caron et
 * al., NeurIPS 2020; swav, main_swav.py) and MSN's (Assran et al., ECCV 2022; msn, src/losses.py).
 *
 *   q = softmax((z - shift)/temperature)
 *
 * where z are the teacher's scores of the prototypes, and shift is what makes every prototype be used equally often
 * over the rows at hand, `iterations` times: each prototype's column of exp(z/temperature) is divided by its sum, then
 * each row by its own; the last division of the rows is the softmax's.
 *
 *   balance  over the views of one place, view by view, as SwAV has it; or over all global views of the step
 *   start    from the scores (SwAV, DINOv2), or from rows that are distributions already (MSN, which balances
 *            p^(1/T)/Σ p^(1/T): temperature is then tau·T, 0.1 · 0.25)
 *
 * SwAV has no moving average: with momentum 0, the default, the teacher is the student as the step found it, so codes
 * are those of SwAV but for masks and stochastic depth, for one forward pass more. SwAV's queue of earlier views is not
 * there: use a batch that is large against the number of prototypes. A part of the step balances otherwise, so
 * micro-batches are refused. */
#include <smalti/plugin.h>

#include <smalti/op.h>

#include <math.h>

enum { BY_VIEW, BY_STEP };
static const char *const balance_names[] = {"view", "step", NULL};
enum { FROM_SCORES, FROM_DISTRIBUTIONS };
static const char *const start_names[] = {"scores", "distributions", NULL};

typedef struct prototype_codes {
  sm_schedule momentum, temperature;
  int64_t iterations;
  int balance, start;
  sm_tensor *scale; /* of the graph */
} prototype_codes;

static const sm_option options[] = {
    SM_SCHEDULE(prototype_codes, momentum, "momentum", "0", 0, 1, NULL,
                "How much of the teacher's weights a step keeps; 0: it is the student"),
    SM_SCHEDULE(prototype_codes, temperature, "temperature", "0.05", 1e-4, 100, NULL,
                "Of the scores: lower is sharper; SwAV's epsilon"),
    SM_INT(prototype_codes, iterations, "sinkhorn_iterations", "3", 1, 100, NULL, "Rounds of balancing"),
    SM_CHOICE(prototype_codes, balance, "balance", "view", balance_names,
              "Balance the first global views of a step, its second ones and so on apart, or all together"),
    SM_CHOICE(prototype_codes, start, "start", "scores", start_names,
              "Balance exp(scores/temperature), or their softmax"),
};

static sm_status prototype_codes_spec(const void *self, sm_tokenizer_spec *out, sm_error *err) {
  (void)err;
  *out = (sm_tokenizer_spec){.view = SM_TARGET_DISTRIBUTION,
                             .needs_head = true,
                             .needs_teacher = true,
                             .whole_step = true,
                             .ema = &((const prototype_codes *)self)->momentum};
  return SM_OK;
}

/* ---- ops: rows r of x (R, K) belong to group r mod i0. All with logarithms, in double. ----------------- */

enum { COLUMNS = 16 };

#define CODES(real, suffix)                                                                                    \
  /* in x, lse? (R), scale; out shift (G, K) = log mean over the group's rows of exp(scale·x - lse) / scale */ \
  static void codes_shift_##suffix(const sm_node *n, int64_t first, int64_t last, sm_worker *w) {              \
    const real *x = sm_at(w, n->in[0], 0), *lse = n->in[1] ? sm_at(w, n->in[1], 0) : NULL;                     \
    const double scale = (double)*(const real *)sm_at(w, n->in[2], 0);                                         \
    real *shift = sm_at(w, n->out[0], 0);                                                                      \
    const int64_t rows = sm_items(n->in[0]), k = n->in[0]->dim[1], groups = n->i[0],                           \
                  end = last * COLUMNS < k ? last * COLUMNS : k;                                               \
    for (int64_t g = 0; g < groups; g++)                                                                       \
      for (int64_t c = first * COLUMNS; c < end; c++) {                                                        \
        double most = -INFINITY, sum = 0;                                                                      \
        int64_t count = 0;                                                                                     \
        for (int64_t r = g; r < rows; r += groups, count++) {                                                  \
          const double v = scale * (double)x[r * k + c] - (lse ? (double)lse[r] : 0);                          \
          if (v > most) most = v;                                                                              \
        }                                                                                                      \
        for (int64_t r = g; r < rows; r += groups)                                                             \
          sum += exp(scale * (double)x[r * k + c] - (lse ? (double)lse[r] : 0) - most);                        \
        shift[g * k + c] = count ? (real)((most + log(sum / (double)count)) / scale) : 0;                      \
      }                                                                                                        \
  }                                                                                                            \
  /* in x, shift? (G, K), scale; out lse (R) = log of the sum over k of exp(scale·(x - shift)) */              \
  static void codes_rows_##suffix(const sm_node *n, int64_t first, int64_t last, sm_worker *w) {               \
    const real *x = sm_at(w, n->in[0], first), *shift = n->in[1] ? sm_at(w, n->in[1], 0) : NULL;               \
    const double scale = (double)*(const real *)sm_at(w, n->in[2], 0);                                         \
    real *lse = sm_at(w, n->out[0], first);                                                                    \
    const int64_t k = n->in[0]->dim[1], groups = n->i[0];                                                      \
    for (int64_t r = first; r < last; r++, x += k) {                                                           \
      const real *s = shift ? shift + r % groups * k : NULL;                                                   \
      double most = -INFINITY, sum = 0;                                                                        \
      for (int64_t c = 0; c < k; c++) {                                                                        \
        const double v = scale * ((double)x[c] - (s ? (double)s[c] : 0));                                      \
        if (v > most) most = v;                                                                                \
      }                                                                                                        \
      for (int64_t c = 0; c < k; c++) sum += exp(scale * ((double)x[c] - (s ? (double)s[c] : 0)) - most);      \
      lse[r - first] = (real)(most + log(sum));                                                                \
    }                                                                                                          \
  }                                                                                                            \
  /* in x, shift (G, K); out y = x - shift */                                                                  \
  static void codes_less_##suffix(const sm_node *n, int64_t first, int64_t last, sm_worker *w) {               \
    const real *x = sm_at(w, n->in[0], first), *shift = sm_at(w, n->in[1], 0);                                 \
    real *y = sm_at(w, n->out[0], first);                                                                      \
    const int64_t k = n->in[0]->dim[1];                                                                        \
    for (int64_t r = first; r < last; r++, x += k, y += k)                                                     \
      for (int64_t c = 0; c < k; c++) y[c] = x[c] - shift[r % n->i[0] * k + c];                                \
  }
CODES(float, f32)
CODES(double, f64)

static int64_t codes_tiles(const sm_node *n) { return (n->in[0]->dim[1] + COLUMNS - 1) / COLUMNS; }

#define RUN(name) {[SM_CPU] = {name##_f32, name##_f64}, [SM_PLAIN] = {name##_f32, name##_f64}}
static const sm_op codes_shift = {
    .name = "codes_shift", .cls = SM_TILES, .tiles = codes_tiles, .run = RUN(codes_shift)};
static const sm_op codes_rows = {.name = "codes_rows", .cls = SM_PER_ITEM, .cross = 6, .run = RUN(codes_rows)};
static const sm_op codes_less = {.name = "codes_less", .cls = SM_PER_ITEM, .cross = 2, .run = RUN(codes_less)};

static sm_tensor *prototype_codes_rows(sm_graph *g, sm_tensor *x, sm_tensor *shift, sm_tensor *scale,
                                       int64_t groups) {
  sm_tensor *lse = sm_result(g, sm_graph_real(g), 1, x->dim, x->count);
  sm_emit(g, &codes_rows, 3, (sm_tensor *[]){x, shift, scale}, 1, &lse)->i[0] = groups;
  return lse;
}

/* ---- targets ------------------------------------------------------------------------------------------- */

static sm_tensor *prototype_codes_balance(const prototype_codes *t, sm_graph *g, sm_tensor *x, int64_t groups) {
  sm_tensor *lse = t->start == FROM_DISTRIBUTIONS ? prototype_codes_rows(g, x, NULL, t->scale, groups) : NULL,
            *shift = NULL;
  for (int64_t k = 0; k < t->iterations; k++) {
    if (shift) lse = prototype_codes_rows(g, x, shift, t->scale, groups);
    shift = sm_result(g, sm_graph_real(g), 2, (int64_t[]){groups, x->dim[1]}, NULL);
    sm_emit(g, &codes_shift, 3, (sm_tensor *[]){x, lse, t->scale}, 1, &shift)->i[0] = groups;
  }
  sm_tensor *y = sm_result(g, sm_graph_real(g), 2, x->dim, x->count);
  sm_emit(g, &codes_less, 2, (sm_tensor *[]){x, shift}, 1, &y)->i[0] = groups;
  return y;
}

static void prototype_codes_build(void *self, sm_graph *g, const sm_tokenizer_env *env, const sm_seen *seen,
                                  sm_target *view, sm_target *patch) {
  prototype_codes *t = self;
  (void)patch;
  t->scale = NULL;
  if (!env->want_view) return;
  if (!env->head) {
    sm_graph_fail(g, "prototype_codes needs the teacher and a head");
    return;
  }
  t->scale = sm_scalar(g, "1/temperature of codes", 1);
  sm_tensor *z = sm_head_logits(g, env->head, seen->view, SM_SITE_VIEW);
  if (!sm_graph_ok(g)) return;
  const int64_t groups = t->balance == BY_VIEW && seen->views > 1 ? seen->views : 1;
  *view = (sm_target){.form = SM_TARGET_DISTRIBUTION,
                      .dim = z->dim[1],
                      .logits = prototype_codes_balance(t, g, z, groups),
                      .scale = t->scale};
}

static void prototype_codes_prepare(void *self, const sm_time *time, int64_t mask_start_epoch) {
  prototype_codes *t = self;
  (void)mask_start_epoch;
  if (t->scale) sm_put(t->scale, 1 / sm_schedule_at(&t->temperature, time));
}

static const sm_tokenizer_ops ops = {
    .spec = prototype_codes_spec, .build = prototype_codes_build, .prepare = prototype_codes_prepare};
static const sm_plugin plugin = {
    .kind = SM_TOKENIZER,
    .name = "prototype_codes",
    .summary = "Balanced codes of the views over a head's prototypes",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite = "Caron et al., SwAV, NeurIPS 2020; Assran et al., Masked Siamese Networks, ECCV 2022",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(prototype_codes),
    .ops = &ops};
SM_MODULE(&plugin)

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
 * are those of SwAV but for masks and stochastic depth, for one forward pass more. A part of the step balances otherwise,
 * so micro-batches are refused.
 *
 * Where a batch is small against the number of prototypes, earlier ones help to balance it (SwAV's queue): from epoch
 * queue_start on, the head's features of each step's global views are kept, those of the newest queue_length pictures.
 * Once there are as many, their scores by today's prototypes are rows of the balancing too, before the step's own join
 * the queue; they are no targets. The queue is part of the state, so a resumed run has the same. */
#include <smalti/plugin.h>

#include <smalti/op.h>

#include <math.h>
#include <string.h>

enum { BY_VIEW, BY_STEP };
static const char *const balance_names[] = {"view", "step", NULL};
enum { FROM_SCORES, FROM_DISTRIBUTIONS };
static const char *const start_names[] = {"scores", "distributions", NULL};

typedef struct prototype_codes {
  sm_schedule momentum, temperature;
  int64_t iterations;
  int64_t queue_length, queue_start;
  int balance, start;
  sm_tensor *scale, *features, *filling; /* of the graph; filling: 1 where the step joins the queue */
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
    SM_INT(prototype_codes, queue_length, "queue_length", "0", 0, 1048576, "pictures",
           "How many earlier pictures help to balance a step; 0: none"),
    SM_INT(prototype_codes, queue_start, "queue_start", "15", 0, 1000000, "epochs",
           "The epoch that begins to keep them; they take part when there are queue_length"),
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

/* ---- ops: rows r of x (R, K) belong to group r mod i0, and so do those of the queue. All with logarithms, in
 * double. ------------------------------------------------------------------------------------------------- */

enum { COLUMNS = 16 };

#define CODES(real, suffix)                                                                                          \
  /* in x, lse? (R), scale, queue? (Q, K), its lse?, filled (1): the queue takes part where all Q rows are; out shift \
   * (G, K) = log mean over the group's rows of exp(scale·x - lse) / scale */                                        \
  static void codes_shift_##suffix(const sm_node *n, int64_t first, int64_t last, sm_worker *w) {                    \
    const real *x[2] = {sm_at(w, n->in[0], 0)}, *lse[2] = {n->in[1] ? sm_at(w, n->in[1], 0) : NULL};                 \
    const double scale = (double)*(const real *)sm_at(w, n->in[2], 0);                                               \
    int64_t rows[2] = {sm_items(n->in[0]), 0};                                                                       \
    const int64_t k = n->in[0]->dim[1], groups = n->i[0],                                                            \
                  end = last * COLUMNS < k ? last * COLUMNS : k;                                                     \
    real *shift = sm_at(w, n->out[0], 0);                                                                            \
    if (n->in[3] && (double)*(const real *)sm_at(w, n->in[5], 0) >= (double)n->in[3]->dim[0]) {                      \
      x[1] = sm_at(w, n->in[3], 0), lse[1] = n->in[4] ? sm_at(w, n->in[4], 0) : NULL;                                \
      rows[1] = n->in[3]->dim[0];                                                                                    \
    }                                                                                                                \
    for (int64_t g = 0; g < groups; g++)                                                                             \
      for (int64_t c = first * COLUMNS; c < end; c++) {                                                              \
        double most = -INFINITY, sum = 0;                                                                            \
        int64_t count = 0;                                                                                           \
        for (int b = 0; b < 2; b++)                                                                                  \
          for (int64_t r = g; r < rows[b]; r += groups, count++) {                                                   \
            const double v = scale * (double)x[b][r * k + c] - (lse[b] ? (double)lse[b][r] : 0);                     \
            if (v > most) most = v;                                                                                  \
          }                                                                                                          \
        for (int b = 0; b < 2; b++)                                                                                  \
          for (int64_t r = g; r < rows[b]; r += groups)                                                              \
            sum += exp(scale * (double)x[b][r * k + c] - (lse[b] ? (double)lse[b][r] : 0) - most);                   \
        shift[g * k + c] = count ? (real)((most + log(sum / (double)count)) / scale) : 0;                            \
      }                                                                                                              \
  }                                                                                                                  \
  /* in x, shift? (G, K), scale; out lse (R) = log of the sum over k of exp(scale·(x - shift)) */                    \
  static void codes_rows_##suffix(const sm_node *n, int64_t first, int64_t last, sm_worker *w) {                     \
    const real *x = sm_at(w, n->in[0], first), *shift = n->in[1] ? sm_at(w, n->in[1], 0) : NULL;                     \
    const double scale = (double)*(const real *)sm_at(w, n->in[2], 0);                                               \
    real *lse = sm_at(w, n->out[0], first);                                                                          \
    const int64_t k = n->in[0]->dim[1], groups = n->i[0];                                                            \
    for (int64_t r = first; r < last; r++, x += k) {                                                                 \
      const real *s = shift ? shift + r % groups * k : NULL;                                                         \
      double most = -INFINITY, sum = 0;                                                                              \
      for (int64_t c = 0; c < k; c++) {                                                                              \
        const double v = scale * ((double)x[c] - (s ? (double)s[c] : 0));                                            \
        if (v > most) most = v;                                                                                      \
      }                                                                                                              \
      for (int64_t c = 0; c < k; c++) sum += exp(scale * ((double)x[c] - (s ? (double)s[c] : 0)) - most);            \
      lse[r - first] = (real)(most + log(sum));                                                                      \
    }                                                                                                                \
  }                                                                                                                  \
  /* in x, shift (G, K); out y = x - shift */                                                                        \
  static void codes_less_##suffix(const sm_node *n, int64_t first, int64_t last, sm_worker *w) {                     \
    const real *x = sm_at(w, n->in[0], first), *shift = sm_at(w, n->in[1], 0);                                       \
    real *y = sm_at(w, n->out[0], first);                                                                            \
    const int64_t k = n->in[0]->dim[1];                                                                              \
    for (int64_t r = first; r < last; r++, x += k, y += k)                                                           \
      for (int64_t c = 0; c < k; c++) y[c] = x[c] - shift[r % n->i[0] * k + c];                                      \
  }                                                                                                                  \
  /* in features (R, F), filling (1); out queue (Q, F), newest rows first, and filled (1), how many there are */     \
  static void codes_join_##suffix(const sm_node *n, int64_t first, int64_t last, sm_worker *w) {                     \
    const real *x = sm_at(w, n->in[0], 0), *filling = sm_at(w, n->in[1], 0);                                         \
    real *queue = sm_at(w, n->out[0], 0), *filled = sm_at(w, n->out[1], 0);                                          \
    const int64_t f = n->in[0]->dim[1], all = n->out[0]->dim[0], rows = sm_items(n->in[0]),                          \
                  taken = rows < all ? rows : all, there = taken + (int64_t)*filled;                                 \
    if (first >= last || *filling == 0) return;                                                                      \
    memmove(queue + taken * f, queue, (size_t)((all - taken) * f) * sizeof *queue);                                  \
    memcpy(queue, x, (size_t)(taken * f) * sizeof *queue);                                                           \
    *filled = (real)(there < all ? there : all);                                                                     \
  }
CODES(float, f32)
CODES(double, f64)

static int64_t codes_tiles(const sm_node *n) { return (n->in[0]->dim[1] + COLUMNS - 1) / COLUMNS; }

#define RUN(name) {[SM_CPU] = {name##_f32, name##_f64}, [SM_PLAIN] = {name##_f32, name##_f64}}
static const sm_op codes_shift = {
    .name = "codes_shift", .cls = SM_TILES, .tiles = codes_tiles, .run = RUN(codes_shift)};
static const sm_op codes_rows = {.name = "codes_rows", .cls = SM_PER_ITEM, .cross = 6, .run = RUN(codes_rows)};
static const sm_op codes_join = {.name = "codes_join", .cls = SM_TILES, .run = RUN(codes_join)};
static const sm_op codes_less = {.name = "codes_less", .cls = SM_PER_ITEM, .cross = 2, .run = RUN(codes_less)};

static sm_tensor *prototype_codes_rows(sm_graph *g, sm_tensor *x, sm_tensor *shift, sm_tensor *scale,
                                       int64_t groups) {
  sm_tensor *lse = sm_result(g, sm_graph_real(g), 1, x->dim, x->count);
  sm_emit(g, &codes_rows, 3, (sm_tensor *[]){x, shift, scale}, 1, &lse)->i[0] = groups;
  return lse;
}

/* ---- targets ------------------------------------------------------------------------------------------- */

/* Scores of the step and, or NULL, of the queue. */
static sm_tensor *prototype_codes_balance(const prototype_codes *t, sm_graph *g, sm_tensor *x, sm_tensor *queue,
                                          sm_tensor *filled, int64_t groups) {
  sm_tensor *shift = NULL, *lse = NULL, *queue_lse = NULL;
  for (int64_t k = 0; k < t->iterations; k++) {
    if (shift || t->start == FROM_DISTRIBUTIONS) {
      lse = prototype_codes_rows(g, x, shift, t->scale, groups);
      if (queue) queue_lse = prototype_codes_rows(g, queue, shift, t->scale, groups);
    }
    shift = sm_result(g, sm_graph_real(g), 2, (int64_t[]){groups, x->dim[1]}, NULL);
    sm_emit(g, &codes_shift, 6, (sm_tensor *[]){x, lse, t->scale, queue, queue_lse, filled}, 1, &shift)->i[0] =
        groups;
  }
  sm_tensor *y = sm_result(g, sm_graph_real(g), 2, x->dim, x->count);
  sm_emit(g, &codes_less, 2, (sm_tensor *[]){x, shift}, 1, &y)->i[0] = groups;
  return y;
}

static int64_t prototype_codes_groups(const prototype_codes *t, int views) {
  return t->balance == BY_VIEW && views > 1 ? views : 1;
}

/* Rows as the step has them, row = picture·G + view, so that joining is one move and groups stay. */
static void prototype_codes_declare(const void *self, const sm_params *state, const sm_head *head, int views) {
  const prototype_codes *t = self;
  const int64_t one = 1, width = head->ops->feature_dim && head->view_dim
                                     ? head->ops->feature_dim(head->self, SM_SITE_VIEW, head->dim)
                                     : 0;
  if (!t->queue_length || width < 1) return;
  sm_declare(state, "queue", SM_INIT_ZEROS, 0, SM_ROW_NO_DECAY, 2, (int64_t[]){t->queue_length * views, width});
  sm_declare(state, "queue_filled", SM_INIT_ZEROS, 0, SM_ROW_NO_DECAY, 1, &one);
}

/* The head's scores of what it keeps of earlier steps. */
static sm_tensor *prototype_codes_queue(prototype_codes *t, sm_graph *g, const sm_tokenizer_env *env,
                                        sm_tensor **filled) {
  const sm_head *head = env->head;
  if (!t->queue_length) return NULL;
  if (!sm_has_param(&env->state, "queue"))
    return sm_graph_fail(g, "prototype_codes keeps a queue of features, but this head does not say how wide they "
                            "are (feature_dim); set queue_length: 0, or take head prototypes");
  sm_tensor *kept = sm_param(g, &env->state, "queue");
  if (sm_graph_ok(g) && kept->dim[1] != t->features->dim[1])
    return sm_graph_fail(g, "feature_dim of the head says %lld, but its features are %lld wide",
                         (long long)kept->dim[1], (long long)t->features->dim[1]);
  t->filling = sm_scalar(g, "does the step join the queue?", 0);
  *filled = sm_param(g, &env->state, "queue_filled");
  return head->ops->logits(head->self, g, head, kept, SM_SITE_VIEW);
}

static void prototype_codes_build(void *self, sm_graph *g, const sm_tokenizer_env *env, const sm_seen *seen,
                                  sm_target *view, sm_target *patch) {
  prototype_codes *t = self;
  const sm_head *head = env->head;
  sm_tensor *filled = NULL;
  (void)patch;
  t->scale = t->features = t->filling = NULL;
  if (!env->want_view) return;
  if (!head) {
    sm_graph_fail(g, "prototype_codes needs the teacher and a head");
    return;
  }
  t->scale = sm_scalar(g, "1/temperature of codes", 1);
  t->features = head->ops->features(head->self, g, head, seen->view, SM_SITE_VIEW);
  sm_tensor *z = head->ops->logits(head->self, g, head, t->features, SM_SITE_VIEW),
            *queue = prototype_codes_queue(t, g, env, &filled);
  if (!sm_graph_ok(g)) return;
  *view = (sm_target){.form = SM_TARGET_DISTRIBUTION,
                      .dim = z->dim[1],
                      .logits = prototype_codes_balance(t, g, z, queue, filled,
                                                        prototype_codes_groups(t, seen->views)),
                      .scale = t->scale};
}

static void prototype_codes_build_update(void *self, sm_graph *g, const sm_tokenizer_env *env) {
  const prototype_codes *t = self;
  if (!t->filling) return;
  sm_emit(g, &codes_join, 2, (sm_tensor *[]){t->features, t->filling}, 2,
          (sm_tensor *[]){sm_param(g, &env->state, "queue"), sm_param(g, &env->state, "queue_filled")});
}

static void prototype_codes_prepare(void *self, const sm_time *time, int64_t mask_start_epoch) {
  prototype_codes *t = self;
  (void)mask_start_epoch;
  if (t->scale) sm_put(t->scale, 1 / sm_schedule_at(&t->temperature, time));
  if (t->filling) sm_put(t->filling, time->step / time->steps_per_epoch >= t->queue_start);
}

static const sm_tokenizer_ops ops = {.spec = prototype_codes_spec,
                                     .declare_behind = prototype_codes_declare,
                                     .build = prototype_codes_build,
                                     .build_update = prototype_codes_build_update,
                                     .prepare = prototype_codes_prepare};
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

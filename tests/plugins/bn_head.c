/* bn_head — a head with batch normalisation (Ioffe & Szegedy 2015), as DINO's use_bn_in_head: linear, norm
 * over the rows of the step, GELU, linear. It is what a plugin's author would write, with public headers
 * only.
 *
 * In training a row's logits depend on the other rows, so whole_step is set. Elsewhere (evaluations, a
 * network of an earlier run) the running mean and variance stand in, which the update pass moves once per
 * step: running = m·running + (1 - m)·step's. */
#include <smalti/plugin.h>

#include <smalti/op.h>

#include <math.h>

static const char *const site_names[] = {"view", "patch"};
static const double eps = 1e-5;

typedef struct sums { /* of a step: over all rows that a site saw; NULL: none yet */
  sm_tensor *mean, *mean_rows, *spread, *spread_rows;
} sums;

typedef struct bn_head {
  int64_t hidden, out_dim;
  double momentum;
  sums sum[2][2]; /* by role and site */
} bn_head;

static const sm_option options[] = {
    SM_INT(bn_head, hidden, "hidden", "64", 1, 65536, NULL, "Width of the hidden layer"),
    SM_INT(bn_head, out_dim, "out_dim", "0", 0, 1048576, NULL,
           "K, the number of logits; 0: the target's size"),
    SM_FLOAT(bn_head, momentum, "momentum", "0.9", 0, 1, NULL,
             "How much of the running mean and variance a step keeps"),
};

static int bn_out_dim(const void *self, sm_site site, int dim) {
  (void)site, (void)dim;
  return (int)((const bn_head *)self)->out_dim;
}

static void declare_as(const sm_params *p, const char *site, const char *name, sm_init init, double a,
                       int ndim, const int64_t *dim) {
  char full[64];
  snprintf(full, sizeof full, "%s.%s", site, name);
  sm_declare(p, full, init, a, 0, ndim, dim);
}

static void bn_declare(const void *self, const sm_head *h) {
  const int64_t hidden = ((const bn_head *)self)->hidden, k[] = {h->view_dim, h->patch_dim};
  for (int site = 0; site < 2; site++) {
    if (!k[site]) continue;
    declare_as(&h->params, site_names[site], "in.weight", SM_INIT_TRUNC_NORMAL, 0.02, 2,
               (int64_t[]){hidden, h->dim});
    declare_as(&h->params, site_names[site], "norm.weight", SM_INIT_ONES, 0, 1, &hidden);
    declare_as(&h->params, site_names[site], "norm.bias", SM_INIT_ZEROS, 0, 1, &hidden);
    declare_as(&h->params, site_names[site], "out.weight", SM_INIT_TRUNC_NORMAL, 0.02, 2,
               (int64_t[]){k[site], hidden});
    declare_as(&h->params, site_names[site], "out.bias", SM_INIT_ZEROS, 0, 1, &k[site]);
  }
}

static void bn_declare_state(const void *self, const sm_head *h) {
  const int64_t hidden = ((const bn_head *)self)->hidden, k[] = {h->view_dim, h->patch_dim};
  for (int site = 0; site < 2; site++) {
    if (!k[site]) continue;
    declare_as(&h->state, site_names[site], "running_mean", SM_INIT_ZEROS, 0, 1, &hidden);
    declare_as(&h->state, site_names[site], "running_var", SM_INIT_ONES, 0, 1, &hidden);
  }
}

/* ---- ops ----------------------------------------------------------------------------------------------- */

/* x is (R, C) or (B, N, C): rows are items times what stands between. */
static int64_t width(const sm_tensor *x) { return x->dim[x->ndim - 1]; }
static int64_t middle(const sm_tensor *x) { return x->ndim == 3 ? x->dim[1] : 1; }

/* One column per tile. norm: in x (R, C), w, b (C); out y (R, C), mean (1, C), spread (1, C) = Σ (x - mean)².
 * norm_dx: in dy, x, mean, spread, w; out dx, dw, db. fixed: in x, mean, variance, w, b; out y; without
 * gradient. */
#define KERNELS(real, suffix)                                                                              \
  static void norm_##suffix(const sm_node *n, int64_t first, int64_t last, sm_worker *worker) {            \
    const real *x = sm_at(worker, n->in[0], 0), *w = sm_at(worker, n->in[1], 0),                           \
               *b = sm_at(worker, n->in[2], 0);                                                            \
    real *y = sm_at(worker, n->out[0], 0), *mean = sm_at(worker, n->out[1], 0),                            \
         *spread = sm_at(worker, n->out[2], 0);                                                            \
    const int64_t d = width(n->in[0]), rows = sm_items(n->in[0]) * middle(n->in[0]);                       \
    for (int64_t c = first; c < last; c++) {                                                               \
      double sum = 0, square = 0;                                                                          \
      for (int64_t r = 0; r < rows; r++) sum += (double)x[r * d + c];                                      \
      const double middle = rows ? sum / (double)rows : 0;                                                 \
      for (int64_t r = 0; r < rows; r++)                                                                   \
        square += ((double)x[r * d + c] - middle) * ((double)x[r * d + c] - middle);                       \
      const double inverse = rows ? 1 / sqrt(square / (double)rows + eps) : 0;                             \
      for (int64_t r = 0; r < rows; r++)                                                                   \
        y[r * d + c] = (real)(((double)x[r * d + c] - middle) * inverse * (double)w[c] + (double)b[c]);    \
      mean[c] = (real)middle;                                                                              \
      spread[c] = (real)square;                                                                            \
    }                                                                                                      \
  }                                                                                                        \
  static void norm_dx_##suffix(const sm_node *n, int64_t first, int64_t last, sm_worker *worker) {         \
    const real *dy = sm_at(worker, n->in[0], 0), *x = sm_at(worker, n->in[1], 0),                          \
               *mean = sm_at(worker, n->in[2], 0), *spread = sm_at(worker, n->in[3], 0),                   \
               *w = sm_at(worker, n->in[4], 0);                                                            \
    real *dx = n->out[0] ? sm_at(worker, n->out[0], 0) : NULL, *dw = sm_at(worker, n->out[1], 0),          \
         *db = sm_at(worker, n->out[2], 0);                                                                \
    const int64_t d = width(n->in[0]), rows = sm_items(n->in[0]) * middle(n->in[0]);                       \
    for (int64_t c = first; c < last; c++) {                                                               \
      double sum = 0, along = 0;                                                                           \
      const double inverse = rows ? 1 / sqrt((double)spread[c] / (double)rows + eps) : 0;                  \
      for (int64_t r = 0; r < rows; r++) {                                                                 \
        sum += (double)dy[r * d + c];                                                                      \
        along += (double)dy[r * d + c] * ((double)x[r * d + c] - (double)mean[c]) * inverse;               \
      }                                                                                                    \
      for (int64_t r = 0; dx && r < rows; r++) {                                                           \
        const double normal = ((double)x[r * d + c] - (double)mean[c]) * inverse;                          \
        const double v =                                                                                   \
            (double)w[c] * inverse * ((double)dy[r * d + c] - (sum + normal * along) / (double)rows);      \
        dx[r * d + c] = (real)(n->acc & 1 ? (double)dx[r * d + c] + v : v);                                \
      }                                                                                                    \
      dw[c] = (real)(n->acc & 2 ? (double)dw[c] + along : along);                                          \
      db[c] = (real)(n->acc & 4 ? (double)db[c] + sum : sum);                                              \
    }                                                                                                      \
  }                                                                                                        \
  static void fixed_##suffix(const sm_node *n, int64_t first, int64_t last, sm_worker *worker) {           \
    const real *x = sm_at(worker, n->in[0], first), *mean = sm_at(worker, n->in[1], 0),                    \
               *variance = sm_at(worker, n->in[2], 0), *w = sm_at(worker, n->in[3], 0),                    \
               *b = sm_at(worker, n->in[4], 0);                                                            \
    real *y = sm_at(worker, n->out[0], first);                                                             \
    const int64_t d = width(n->in[0]), rows = (last - first) * middle(n->in[0]);                           \
    for (int64_t r = 0; r < rows; r++)                                                                     \
      for (int64_t c = 0; c < d; c++)                                                                      \
        y[r * d + c] = (real)(((double)x[r * d + c] - (double)mean[c]) / sqrt((double)variance[c] + eps) * \
                                  (double)w[c] +                                                           \
                              (double)b[c]);                                                               \
  }
KERNELS(float, f32)
KERNELS(double, f64)
#define RUN(name) {[SM_CPU] = {name##_f32, name##_f64}, [SM_PLAIN] = {name##_f32, name##_f64}}

static int64_t columns(const sm_node *n) { return width(n->in[0]); }

static const sm_op norm_dx = {.name = "bn_dx", .cls = SM_TILES, .tiles = columns, .run = RUN(norm_dx)};

static void norm_vjp(sm_graph *g, sm_node *n) {
  bool acc[3] = {false, false, false};
  sm_tensor *out[3];
  for (int k = 0; k < 3; k++) out[k] = sm_grad_slot(g, n->in[k], &acc[k]);
  if (!out[1] || !out[2]) return; /* gain and bias are trained, or nothing is */
  sm_tensor *in[] = {sm_grad_of(g, n->out[0]), sm_value(g, n->in[0]), n->out[1], n->out[2], n->in[1]};
  sm_emit(g, &norm_dx, 5, in, 3, out)->acc = (uint32_t)acc[0] | (uint32_t)acc[1] << 1 | (uint32_t)acc[2] << 2;
}
static const sm_op norm = {
    .name = "bn", .cls = SM_TILES, .tiles = columns, .vjp = norm_vjp, .run = RUN(norm)};
static const sm_op fixed = {.name = "bn_fixed", .cls = SM_PER_ITEM, .cross = 30, .run = RUN(fixed)};

/* ---- forward ------------------------------------------------------------------------------------------- */

/* What the update needs of this call's rows, added to those of earlier calls in the step. */
static void add_up(sums *s, sm_graph *g, sm_tensor *x, sm_tensor *spread, sm_site site) {
  char name[64];
  const int64_t one = 1, d = width(x);
  const double share = 1.0 / (double)middle(x); /* counts are of items */
  sm_tensor **all[] = {&s->mean, &s->mean_rows, &s->spread, &s->spread_rows};
  for (int k = 0; !s->spread_rows && k < 4; k++) {
    snprintf(name, sizeof name, "%s.bn.sum%d", site_names[site], k);
    *all[k] = sm_accumulator(g, name, 1, k % 2 ? &one : &d);
  }
  sm_sum_rows_into(g, sm_scale(g, x, share), s->mean);
  sm_add_count_into(g, x, s->mean_rows);
  sm_sum_rows_into(g, sm_scale(g, spread, share), s->spread);
  sm_add_count_into(g, x, s->spread_rows);
}

static sm_tensor *bn_features(void *self, sm_graph *g, const sm_head *h, sm_tensor *x, sm_site site) {
  const char *name = site_names[site];
  bn_head *b = self;
  x = sm_linear(g, x, sm_param(g, &h->params, "%s.in.weight", name), NULL);
  if (!sm_graph_ok(g)) return x;
  sm_tensor *gain = sm_param(g, &h->params, "%s.norm.weight", name),
            *bias = sm_param(g, &h->params, "%s.norm.bias", name);
  const int64_t row[] = {1, width(x)};
  sm_tensor *y[] = {sm_result(g, x->dtype, x->ndim, x->dim, x->count), NULL, NULL};
  if (h->training) {
    y[1] = sm_result(g, x->dtype, 2, row, NULL), y[2] = sm_result(g, x->dtype, 2, row, NULL);
    sm_emit(g, &norm, 3, (sm_tensor *[]){x, gain, bias}, 3, y);
    add_up(&b->sum[h->role][site], g, x, y[2], site);
  } else {
    sm_tensor *in[] = {x, sm_param(g, &h->state, "%s.running_mean", name),
                       sm_param(g, &h->state, "%s.running_var", name), gain, bias};
    sm_emit(g, &fixed, 5, in, 1, y);
  }
  return sm_gelu(g, y[0]);
}

static sm_tensor *bn_logits(void *self, sm_graph *g, const sm_head *h, sm_tensor *features, sm_site site) {
  (void)self;
  return sm_linear(g, features, sm_param(g, &h->params, "%s.out.weight", site_names[site]),
                   sm_param(g, &h->params, "%s.out.bias", site_names[site]));
}

static void bn_build_update(void *self, sm_graph *g, const sm_head *h) {
  bn_head *b = self;
  for (int site = 0; site < 2; site++) {
    sums *s = &b->sum[h->role][site];
    if (!s->mean) continue;
    sm_tensor *momentum = sm_scalar(g, "bn.momentum", b->momentum);
    sm_ema_update(g, sm_param(g, &h->state, "%s.running_mean", site_names[site]), s->mean, s->mean_rows,
                  momentum);
    sm_ema_update(g, sm_param(g, &h->state, "%s.running_var", site_names[site]), s->spread, s->spread_rows,
                  momentum);
    *s = (sums){0}; /* another graph makes its own */
  }
}

static const sm_head_ops ops = {.affine = true,
                                .whole_step = true,
                                .out_dim = bn_out_dim,
                                .declare = bn_declare,
                                .features = bn_features,
                                .logits = bn_logits,
                                .declare_state = bn_declare_state,
                                .build_update = bn_build_update};
static const sm_plugin plugin = {.kind = SM_HEAD,
                                 .name = "bn_head",
                                 .summary = "Two linear layers with batch normalisation between them",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .instance_size = sizeof(bn_head),
                                 .ops = &ops};
SM_MODULE(&plugin)

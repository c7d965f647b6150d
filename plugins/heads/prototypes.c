/* prototypes — the head of SwAV and MSN: an MLP to a narrow feature of length 1, and its cosine with K prototypes.
 *
 *   logits = W x/‖x‖,  rows of W of length 1
 *
 * (swav, src/resnet50.py: projection_head and prototypes; msn, msn_train.py: init_model, and snn of src/losses.py.) The
 * MLP has batch normalisation between its layers unless batch_norm is false; in training over the rows of a pass, so a
 * step is not cut into micro-batches; elsewhere by the running mean and variance, which the update pass moves once per
 * step. SwAV brings W's rows to length 1 before each step; here lengths are divided out, which leaves other steps along W
 * alone. The teacher has the student's prototypes as they are, not averages (MSN compares targets with the same ones);
 * they do not decay, and train.freeze_last_layer keeps them as they began (SwAV's freeze_prototypes_niters).
 *
 * Names: SITE.mlp.N, SITE.bn.N (SITE is view or patch), SITE.prototypes.weight_v; lengths weight_g stay 1. */
#include <smalti/plugin.h>

#include <smalti/op.h>

#include <math.h>

enum { LAYERS_MAX = 8, COLUMNS = 16 };
enum { GELU, RELU };
static const char *const activation_names[] = {"gelu", "relu", NULL};
static const char *const site_names[] = {"view", "patch"};
static const double bn_eps = 1e-5;

typedef struct sums { /* of a step: over all rows that a site's layer saw; NULL: none yet */
  sm_tensor *mean, *mean_rows, *spread, *spread_rows;
} sums;

typedef struct prototypes {
  int64_t hidden, layers, features, out_dim;
  int activation;
  bool batch_norm;
  double bn_momentum;
  sums sum[2][2][LAYERS_MAX]; /* by role, site and layer */
} prototypes;

static const sm_option options[] = {
    SM_INT(prototypes, hidden, "hidden", "2048", 1, 65536, NULL, "Width of the MLP's hidden layers"),
    SM_INT(prototypes, layers, "layers", "3", 1, LAYERS_MAX, NULL, "Linear layers of the MLP"),
    SM_INT(prototypes, features, "features", "256", 1, 65536, NULL, "Width of what is compared with prototypes"),
    SM_INT(prototypes, out_dim, "out_dim", "1024", 0, 1048576, NULL, "K, the number of prototypes"),
    SM_CHOICE(prototypes, activation, "activation", "gelu", activation_names, "Between the MLP's layers"),
    SM_BOOL(prototypes, batch_norm, "batch_norm", "true", "Batch normalisation between the MLP's layers"),
    SM_FLOAT(prototypes, bn_momentum, "bn_momentum", "0.9", 0, 1, NULL,
             "How much of the running mean and variance a step keeps"),
};

static int prototypes_out_dim(const void *self, sm_site site, int dim) {
  (void)site, (void)dim;
  return (int)((const prototypes *)self)->out_dim;
}

/* ---- parameters ---------------------------------------------------------------------------------------- */

typedef struct layer_name {
  char s[64];
} layer_name;
static layer_name prototypes_name(sm_site site, const char *module, int layer, const char *part) {
  layer_name name;
  snprintf(name.s, sizeof name.s, "%s.%s.%d.%s", site_names[site], module, layer, part);
  return name;
}

static bool prototypes_has_norm(const prototypes *h, int layer) {
  return h->batch_norm && layer < h->layers - 1;
}

static void prototypes_declare_site(const prototypes *h, const sm_params *p, sm_site site, int64_t in, int64_t k) {
  char name[64];
  const unsigned last = SM_ROW_LAST_LAYER | SM_ROW_COPIED | SM_ROW_NO_DECAY;
  for (int layer = 0; layer < h->layers; layer++) {
    const int64_t out = layer == h->layers - 1 ? h->features : h->hidden;
    sm_declare(p, prototypes_name(site, "mlp", layer, "weight").s, SM_INIT_TRUNC_NORMAL, .02, 0, 2,
               (int64_t[]){out, in});
    sm_declare(p, prototypes_name(site, "mlp", layer, "bias").s, SM_INIT_ZEROS, 0, 0, 1, &out);
    if (prototypes_has_norm(h, layer)) {
      sm_declare(p, prototypes_name(site, "bn", layer, "weight").s, SM_INIT_ONES, 0, 0, 1, &out);
      sm_declare(p, prototypes_name(site, "bn", layer, "bias").s, SM_INIT_ZEROS, 0, 0, 1, &out);
    }
    in = out;
  }
  snprintf(name, sizeof name, "%s.prototypes.weight_g", site_names[site]);
  sm_declare(p, name, SM_INIT_ONES, 0, last | SM_ROW_FROZEN, 2, (int64_t[]){k, 1});
  snprintf(name, sizeof name, "%s.prototypes.weight_v", site_names[site]);
  sm_declare(p, name, SM_INIT_UNIFORM_FAN, (double)h->features, last, 2, (int64_t[]){k, h->features});
}

static void prototypes_declare(const void *self, const sm_head *h) {
  if (h->view_dim) prototypes_declare_site(self, &h->params, SM_SITE_VIEW, h->dim, h->view_dim);
  if (h->patch_dim) prototypes_declare_site(self, &h->params, SM_SITE_PATCH, h->dim, h->patch_dim);
}

static void prototypes_declare_state(const void *self, const sm_head *h) {
  const prototypes *p = self;
  const int k[] = {h->view_dim, h->patch_dim};
  for (int site = 0; site < 2; site++)
    for (int layer = 0; k[site] && layer < p->layers; layer++) {
      if (!prototypes_has_norm(p, layer)) continue;
      sm_declare(&h->state, prototypes_name((sm_site)site, "bn", layer, "running_mean").s, SM_INIT_ZEROS, 0, 0, 1,
                 &p->hidden);
      sm_declare(&h->state, prototypes_name((sm_site)site, "bn", layer, "running_var").s, SM_INIT_ONES, 0, 0, 1,
                 &p->hidden);
    }
}

/* ---- batch normalisation (Ioffe & Szegedy 2015) -------------------------------------------------------- */

/* x is (R, C) or (B, N, C): rows are items times what stands between. */
static int64_t prototypes_width(const sm_tensor *x) { return x->dim[x->ndim - 1]; }
static int64_t prototypes_middle(const sm_tensor *x) { return x->ndim == 3 ? x->dim[1] : 1; }

/* Some columns per tile. bn: in x (R, C), w, b (C); out y (R, C), mean (1, C), spread (1, C) = Σ (x - mean)². bn_dx: in
 * dy, x, mean, spread, w; out dx, dw, db. bn_fixed: in x, mean, variance, w, b; out y; without gradient. */
#define BATCH_NORM(real, suffix)                                                                                 \
  static void bn_##suffix(const sm_node *n, int64_t first, int64_t last, sm_worker *worker) {                    \
    const real *x = sm_at(worker, n->in[0], 0), *w = sm_at(worker, n->in[1], 0), *b = sm_at(worker, n->in[2], 0); \
    real *y = sm_at(worker, n->out[0], 0), *mean = sm_at(worker, n->out[1], 0),                                  \
         *spread = sm_at(worker, n->out[2], 0);                                                                  \
    const int64_t d = prototypes_width(n->in[0]), rows = sm_items(n->in[0]) * prototypes_middle(n->in[0]),       \
                  end = last * COLUMNS < d ? last * COLUMNS : d;                                                 \
    for (int64_t c = first * COLUMNS; c < end; c++) {                                                            \
      double sum = 0, square = 0;                                                                                \
      for (int64_t r = 0; r < rows; r++) sum += (double)x[r * d + c];                                            \
      const double middle = rows ? sum / (double)rows : 0;                                                       \
      for (int64_t r = 0; r < rows; r++)                                                                         \
        square += ((double)x[r * d + c] - middle) * ((double)x[r * d + c] - middle);                             \
      const double inverse = rows ? 1 / sqrt(square / (double)rows + bn_eps) : 0;                                \
      for (int64_t r = 0; r < rows; r++)                                                                         \
        y[r * d + c] = (real)(((double)x[r * d + c] - middle) * inverse * (double)w[c] + (double)b[c]);          \
      mean[c] = (real)middle;                                                                                    \
      spread[c] = (real)square;                                                                                  \
    }                                                                                                            \
  }                                                                                                              \
  static void bn_dx_##suffix(const sm_node *n, int64_t first, int64_t last, sm_worker *worker) {                 \
    const real *dy = sm_at(worker, n->in[0], 0), *x = sm_at(worker, n->in[1], 0),                                \
               *mean = sm_at(worker, n->in[2], 0), *spread = sm_at(worker, n->in[3], 0),                         \
               *w = sm_at(worker, n->in[4], 0);                                                                  \
    real *dx = n->out[0] ? sm_at(worker, n->out[0], 0) : NULL, *dw = sm_at(worker, n->out[1], 0),                \
         *db = sm_at(worker, n->out[2], 0);                                                                      \
    const int64_t d = prototypes_width(n->in[1]), rows = sm_items(n->in[1]) * prototypes_middle(n->in[1]),       \
                  end = last * COLUMNS < d ? last * COLUMNS : d;                                                 \
    for (int64_t c = first * COLUMNS; c < end; c++) {                                                            \
      double sum = 0, along = 0;                                                                                 \
      const double inverse = rows ? 1 / sqrt((double)spread[c] / (double)rows + bn_eps) : 0;                     \
      for (int64_t r = 0; r < rows; r++) {                                                                       \
        sum += (double)dy[r * d + c];                                                                            \
        along += (double)dy[r * d + c] * ((double)x[r * d + c] - (double)mean[c]) * inverse;                     \
      }                                                                                                          \
      for (int64_t r = 0; dx && r < rows; r++) {                                                                 \
        const double normal = ((double)x[r * d + c] - (double)mean[c]) * inverse;                                \
        const double v =                                                                                         \
            (double)w[c] * inverse * ((double)dy[r * d + c] - (sum + normal * along) / (double)rows);            \
        dx[r * d + c] = (real)(n->acc & 1 ? (double)dx[r * d + c] + v : v);                                      \
      }                                                                                                          \
      dw[c] = (real)(n->acc & 2 ? (double)dw[c] + along : along);                                                \
      db[c] = (real)(n->acc & 4 ? (double)db[c] + sum : sum);                                                    \
    }                                                                                                            \
  }                                                                                                              \
  static void bn_fixed_##suffix(const sm_node *n, int64_t first, int64_t last, sm_worker *worker) {              \
    const real *x = sm_at(worker, n->in[0], first), *mean = sm_at(worker, n->in[1], 0),                          \
               *variance = sm_at(worker, n->in[2], 0), *w = sm_at(worker, n->in[3], 0),                          \
               *b = sm_at(worker, n->in[4], 0);                                                                  \
    real *y = sm_at(worker, n->out[0], first);                                                                   \
    const int64_t d = prototypes_width(n->in[0]), rows = (last - first) * prototypes_middle(n->in[0]);           \
    for (int64_t r = 0; r < rows; r++)                                                                           \
      for (int64_t c = 0; c < d; c++)                                                                            \
        y[r * d + c] = (real)(((double)x[r * d + c] - (double)mean[c]) / sqrt((double)variance[c] + bn_eps) *    \
                                  (double)w[c] +                                                                 \
                              (double)b[c]);                                                                     \
  }
BATCH_NORM(float, f32)
BATCH_NORM(double, f64)
#define RUN(name) {[SM_CPU] = {name##_f32, name##_f64}, [SM_PLAIN] = {name##_f32, name##_f64}}

static int64_t prototypes_tiles(const sm_node *n) { /* x is the input that is as wide as the gain */
  return (prototypes_width(n->in[0]) + COLUMNS - 1) / COLUMNS;
}

static const sm_op bn_dx = {.name = "bn_dx", .cls = SM_TILES, .tiles = prototypes_tiles, .run = RUN(bn_dx)};

static void bn_vjp(sm_graph *g, sm_node *n) {
  bool acc[3] = {false, false, false};
  sm_tensor *out[3];
  for (int k = 0; k < 3; k++) out[k] = sm_grad_slot(g, n->in[k], &acc[k]);
  if (!out[1] || !out[2]) return; /* gain and bias are trained, or nothing is */
  sm_tensor *in[] = {sm_grad_of(g, n->out[0]), sm_value(g, n->in[0]), n->out[1], n->out[2], n->in[1]};
  sm_emit(g, &bn_dx, 5, in, 3, out)->acc = (uint32_t)acc[0] | (uint32_t)acc[1] << 1 | (uint32_t)acc[2] << 2;
}
static const sm_op bn = {
    .name = "bn", .cls = SM_TILES, .tiles = prototypes_tiles, .vjp = bn_vjp, .run = RUN(bn)};
static const sm_op bn_fixed = {.name = "bn_fixed", .cls = SM_PER_ITEM, .cross = 30, .run = RUN(bn_fixed)};

/* What the update needs of this call's rows, added to those of earlier calls in the step. */
static void prototypes_add_up(sums *s, sm_graph *g, sm_tensor *x, sm_tensor *spread) {
  const int64_t one = 1, d = prototypes_width(x);
  const double share = 1.0 / (double)prototypes_middle(x); /* counts are of items */
  static const char *const names[] = {"sum of rows", "rows", "sum of squares", "rows of squares"};
  sm_tensor **all[] = {&s->mean, &s->mean_rows, &s->spread, &s->spread_rows};
  for (int k = 0; !s->spread_rows && k < 4; k++) *all[k] = sm_accumulator(g, names[k], 1, k % 2 ? &one : &d);
  sm_sum_rows_into(g, sm_scale(g, x, share), s->mean);
  sm_add_count_into(g, x, s->mean_rows);
  sm_sum_rows_into(g, sm_scale(g, spread, share), s->spread);
  sm_add_count_into(g, x, s->spread_rows);
}

static sm_tensor *prototypes_norm(prototypes *p, sm_graph *g, const sm_head *h, sm_tensor *x, sm_site site,
                                  int layer) {
  sm_tensor *gain = sm_param(g, &h->params, "%s", prototypes_name(site, "bn", layer, "weight").s),
            *bias = sm_param(g, &h->params, "%s", prototypes_name(site, "bn", layer, "bias").s);
  if (!sm_graph_ok(g)) return x;
  const int64_t row[] = {1, prototypes_width(x)};
  sm_tensor *y[] = {sm_result(g, x->dtype, x->ndim, x->dim, x->count), NULL, NULL};
  if (h->training) {
    y[1] = sm_result(g, x->dtype, 2, row, NULL), y[2] = sm_result(g, x->dtype, 2, row, NULL);
    sm_emit(g, &bn, 3, (sm_tensor *[]){x, gain, bias}, 3, y);
    prototypes_add_up(&p->sum[h->role][site][layer], g, x, y[2]);
  } else {
    sm_tensor *in[] = {x, sm_param(g, &h->state, "%s", prototypes_name(site, "bn", layer, "running_mean").s),
                       sm_param(g, &h->state, "%s", prototypes_name(site, "bn", layer, "running_var").s), gain, bias};
    sm_emit(g, &bn_fixed, 5, in, 1, y);
  }
  return y[0];
}

static void prototypes_build_update(void *self, sm_graph *g, const sm_head *h) {
  prototypes *p = self;
  for (int site = 0; site < 2; site++)
    for (int layer = 0; layer < p->layers; layer++) {
      sums *s = &p->sum[h->role][site][layer];
      if (!s->mean) continue;
      sm_tensor *momentum = sm_scalar(g, "momentum of the running mean", p->bn_momentum);
      sm_ema_update(g, sm_param(g, &h->state, "%s", prototypes_name((sm_site)site, "bn", layer, "running_mean").s),
                    s->mean, s->mean_rows, momentum);
      sm_ema_update(g, sm_param(g, &h->state, "%s", prototypes_name((sm_site)site, "bn", layer, "running_var").s),
                    s->spread, s->spread_rows, momentum);
      *s = (sums){0}; /* another graph makes its own */
    }
}

/* ---- forward ------------------------------------------------------------------------------------------- */

static sm_tensor *prototypes_features(void *self, sm_graph *g, const sm_head *h, sm_tensor *x, sm_site site) {
  prototypes *p = self;
  for (int layer = 0; layer < p->layers; layer++) {
    x = sm_linear(g, x, sm_param(g, &h->params, "%s", prototypes_name(site, "mlp", layer, "weight").s),
                  sm_param(g, &h->params, "%s", prototypes_name(site, "mlp", layer, "bias").s));
    if (layer == p->layers - 1) break;
    if (prototypes_has_norm(p, layer)) x = prototypes_norm(p, g, h, x, site, layer);
    x = p->activation == RELU ? sm_relu(g, x) : sm_gelu(g, x);
  }
  return sm_l2_normalize(g, x, 1e-12);
}

static sm_tensor *prototypes_logits(void *self, sm_graph *g, const sm_head *h, sm_tensor *x, sm_site site) {
  (void)self;
  sm_tensor *w = sm_weight_norm(g, sm_param(g, &h->params, "%s.prototypes.weight_v", site_names[site]),
                                sm_param(g, &h->params, "%s.prototypes.weight_g", site_names[site]));
  return sm_linear(g, x, w, NULL);
}

static const sm_head_ops ops = {.affine = true,
                                .whole_step = true,
                                .out_dim = prototypes_out_dim,
                                .declare = prototypes_declare,
                                .features = prototypes_features,
                                .logits = prototypes_logits,
                                .declare_state = prototypes_declare_state,
                                .build_update = prototypes_build_update};
static const sm_plugin plugin = {
    .kind = SM_HEAD,
    .name = "prototypes",
    .summary = "MLP with batch normalisation, and the cosine of its output with learned prototypes",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite = "Caron et al., SwAV, NeurIPS 2020; Assran et al., Masked Siamese Networks, ECCV 2022",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(prototypes),
    .ops = &ops};
SM_MODULE(&plugin)

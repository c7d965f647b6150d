/* prototypes — the head of SwAV and MSN: an MLP to a narrow feature of length 1, and its cosine with K prototypes.
 *
 *   logits = W x/‖x‖,  rows of W of length 1
 *
 * (swav, src/resnet50.py: projection_head and prototypes; msn, msn_train.py: init_model, and snn of src/losses.py.) The
 * MLP has batch normalisation between its layers unless batch_norm is false; in training over the rows of a pass, so a
 * step is not cut into micro-batches; elsewhere by the running mean and variance. A pass has the views of one size, so
 * global and local views are batches of their own, and the running state moves once for each, as MSN's encoder has it,
 * which runs its head once per size; SwAV's joins the views of all sizes before its head, which is not done here. SwAV
 * brings W's rows to length 1 before each step; here lengths are divided out, which leaves other steps along W
 * alone. The teacher has the student's prototypes as they are, not averages (MSN compares targets with the same ones);
 * they do not decay, and train.freeze_last_layer keeps them as they began (SwAV's freeze_prototypes_niters).
 *
 * Names: SITE.mlp.N, SITE.bn.N (SITE is view or patch), SITE.prototypes.weight_v; lengths weight_g stay 1. */
#include <smalti/plugin.h>

enum { LAYERS_MAX = 8 };
enum { GELU, RELU };
static const char *const activation_names[] = {"gelu", "relu", NULL};
static const char *const site_names[] = {"view", "patch"};
static const double norm_eps = 1e-5;

typedef struct prototypes {
  int64_t hidden, layers, features, out_dim;
  int activation;
  bool batch_norm;
  double bn_momentum;
} prototypes;

static const sm_option options[] = {
    SM_INT(prototypes, hidden, "hidden", "2048", 1, 65536, NULL, "Width of the MLP's hidden layers"),
    SM_INT(prototypes, layers, "layers", "3", 1, LAYERS_MAX, NULL, "Linear layers of the MLP"),
    SM_INT(prototypes, features, "features", "256", 1, 65536, NULL, "Width of what is compared with prototypes"),
    SM_INT(prototypes, out_dim, "out_dim", "1024", 0, 1048576, NULL, "K, the number of prototypes"),
    SM_CHOICE(prototypes, activation, "activation", "gelu", activation_names, "Between the MLP's layers"),
    SM_BOOL(prototypes, batch_norm, "batch_norm", "true", "Batch normalisation between the MLP's layers"),
    SM_FLOAT(prototypes, bn_momentum, "bn_momentum", "0.9", 0, 1, NULL,
             "How much of the running mean and variance each batch keeps"),
};

static int prototypes_out_dim(const void *self, sm_site site, int dim) {
  (void)site, (void)dim;
  return (int)((const prototypes *)self)->out_dim;
}

/* ---- parameters ---------------------------------------------------------------------------------------- */

typedef struct layer_name {
  char s[64];
} layer_name;
static layer_name prototypes_name(sm_site site, const char *module, int layer) {
  layer_name name;
  snprintf(name.s, sizeof name.s, "%s.%s.%d", site_names[site], module, layer);
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
    sm_declare_linear(p, prototypes_name(site, "mlp", layer).s, SM_INIT_TRUNC_NORMAL, .02, out, in, true);
    if (prototypes_has_norm(h, layer)) {
      sm_declare_norm(p, prototypes_name(site, "bn", layer).s, SM_INIT_ONES, out);
      sm_declare_running(p, prototypes_name(site, "bn", layer).s, out);
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

/* ---- forward ------------------------------------------------------------------------------------------- */

static sm_tensor *prototypes_param(sm_graph *g, const sm_head *h, sm_site site, const char *module, int layer,
                                   const char *part) {
  return sm_param(g, &h->params, "%s.%s", prototypes_name(site, module, layer).s, part);
}

static sm_tensor *prototypes_norm(const prototypes *p, sm_graph *g, const sm_head *h, sm_tensor *x, sm_site site,
                                  int layer) {
  const sm_running running = {prototypes_param(g, h, site, "bn", layer, "running_mean"),
                              prototypes_param(g, h, site, "bn", layer, "running_var"), 1 - p->bn_momentum};
  return sm_batch_norm(g, x, prototypes_param(g, h, site, "bn", layer, "weight"),
                       prototypes_param(g, h, site, "bn", layer, "bias"), &running, norm_eps, h->training);
}

static sm_tensor *prototypes_features(void *self, sm_graph *g, const sm_head *h, sm_tensor *x, sm_site site) {
  const prototypes *p = self;
  for (int layer = 0; layer < p->layers; layer++) {
    x = sm_linear(g, x, prototypes_param(g, h, site, "mlp", layer, "weight"),
                  prototypes_param(g, h, site, "mlp", layer, "bias"));
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

static int prototypes_feature_dim(const void *self, sm_site site, int dim) {
  (void)site, (void)dim;
  return (int)((const prototypes *)self)->features;
}

static const sm_head_ops ops = {.affine = true,
                                .whole_step = true,
                                .out_dim = prototypes_out_dim,
                                .declare = prototypes_declare,
                                .features = prototypes_features,
                                .logits = prototypes_logits,
                                .feature_dim = prototypes_feature_dim};
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

/* projection — the head of DINO and iBOT: an MLP to a narrow bottleneck, L2 normalisation, and a
 * weight-normalised linear layer to K logits, for [CLS] and for patches.
 *
 * How much the two sites share is a number of leading layers (the MLP's, then the last one), named by a
 * choice:
 *
 *   shared            all of them (official shared_head: true)
 *   last_separate     the whole MLP, not the last layer (official shared_head: false)
 *   first_two_shared  the first two layers of the MLP (the dagger columns of the paper's appendix E)
 *   separate          none ("vanilla" there)
 *
 * Names: mlp.0, mlp.2, mlp.4, last_layer for [CLS]; where patches have their own, mlp2.0 …, last_layer2. A
 * shared layer is also declared under the second name (an alias) where iBOT does or where the other network
 * owns it, so that averages meet by name. */
#include <smalti/plugin.h>

#include <string.h>

enum { SHARED, LAST_SEPARATE, SEPARATE, FIRST_TWO_SHARED };
static const char *const sharing_names[] = {"shared", "last_separate", "separate", "first_two_shared", NULL};
/* teacher_sharing: 0 is "same", then the four above */
static const char *const teacher_names[] = {"same",     "shared",           "last_separate",
                                            "separate", "first_two_shared", NULL};

typedef struct projection {
  int64_t hidden, bottleneck, layers, out_dim, patch_out_dim;
  bool norm_last_layer;
  int sharing, teacher_sharing;
} projection;

static const sm_option options[] = {
    SM_INT(projection, hidden, "hidden", "2048", 1, 65536, NULL, "Width of the MLP's hidden layers"),
    SM_INT(projection, bottleneck, "bottleneck", "256", 1, 65536, NULL,
           "Width after the MLP, before the last layer"),
    SM_INT(projection, layers, "layers", "3", 1, 8, NULL, "Linear layers of the MLP"),
    SM_INT(projection, out_dim, "out_dim", "0", 0, 1048576, NULL,
           "K, the number of logits; 0: the target's size"),
    SM_INT(projection, patch_out_dim, "patch_out_dim", "0", 0, 1048576, NULL,
           "K at the patches where their last layer is their own; 0: as out_dim"),
    SM_BOOL(projection, norm_last_layer, "norm_last_layer", "true",
            "Keep the gain of the last layer's rows at 1"),
    SM_CHOICE(projection, sharing, "sharing", "shared", sharing_names,
              "What the [CLS] and patch heads of the student share"),
    SM_CHOICE(projection, teacher_sharing, "teacher_sharing", "same", teacher_names,
              "The same for the teacher"),
};

static sm_status projection_create(void *self, sm_error *err) {
  const projection *h = self;
  bool shares_last = h->sharing == SHARED || h->teacher_sharing == 1 + SHARED;
  if (shares_last && h->patch_out_dim && h->patch_out_dim != h->out_dim) {
    sm_fail(err, SM_EINVAL, "patch_out_dim %d differs from out_dim %d, but both use one last layer",
            (int)h->patch_out_dim, (int)h->out_dim);
    return sm_hint(err, "set sharing: last_separate, or leave patch_out_dim out");
  }
  return SM_OK;
}

static int projection_out_dim(const void *self, sm_site site, int dim) {
  const projection *h = self;
  (void)dim;
  return (int)(site == SM_SITE_PATCH && h->patch_out_dim ? h->patch_out_dim : h->out_dim);
}

/* ---- which layer is whose ---------------------------------------------------------------------------- */

/* How many leading layers the two sites share in a network; the last layer is number h->layers. */
static int projection_shared_layers(const projection *h, sm_role role) {
  int layers = (int)h->layers, sharing = h->sharing;
  if (role == SM_ROLE_TEACHER && h->teacher_sharing > 0) sharing = h->teacher_sharing - 1;
  switch (sharing) {
    case SHARED:
      return layers + 1;
    case LAST_SEPARATE:
      return layers;
    case FIRST_TWO_SHARED:
      return layers < 2 ? layers : 2;
    default:
      return 0;
  }
}

typedef struct layer_name {
  char s[32];
} layer_name;
static layer_name projection_name_of(const projection *h, int layer, bool second) {
  layer_name name;
  if (layer == h->layers) snprintf(name.s, sizeof name.s, "last_layer%s", second ? "2" : "");
  else snprintf(name.s, sizeof name.s, "mlp%s.%d", second ? "2" : "", 2 * layer);
  return name;
}

static layer_name projection_used_layer(const projection *h, int layer, sm_site site, sm_role role) {
  return projection_name_of(h, layer, site == SM_SITE_PATCH && layer >= projection_shared_layers(h, role));
}

static layer_name projection_part(layer_name layer, const char *which) {
  layer_name name;
  size_t n = strlen(layer.s);
  memcpy(name.s, layer.s, n);
  snprintf(name.s + n, sizeof name.s - n, ".%s", which);
  return name;
}

/* ---- parameters -------------------------------------------------------------------------------------- */

static void projection_declare_layer(const projection *h, const sm_params *p, int layer, layer_name base,
                                     int in_dim, int64_t k) {
  if (layer ==
      h->layers) { /* torch's default for a linear layer; the gain is then set to 1 (ibot, models/head.py) */
    unsigned gain = SM_ROW_LAST_LAYER | (h->norm_last_layer ? SM_ROW_FROZEN : 0);
    sm_declare(p, projection_part(base, "weight_g").s, SM_INIT_ONES, 0, gain, 2, (int64_t[]){k, 1});
    sm_declare(p, projection_part(base, "weight_v").s, SM_INIT_UNIFORM_FAN, (double)h->bottleneck,
               SM_ROW_LAST_LAYER, 2, (int64_t[]){k, h->bottleneck});
    return;
  }
  int64_t in = layer == 0 ? in_dim : h->hidden, out = layer == h->layers - 1 ? h->bottleneck : h->hidden;
  sm_declare_linear(p, base.s, SM_INIT_TRUNC_NORMAL, .02, out, in, true);
}

static void projection_declare_second_name(const projection *h, const sm_params *p, int layer) {
  layer_name first = projection_name_of(h, layer, false), second = projection_name_of(h, layer, true);
  const char *const parts[2][2] = {{"weight", "bias"}, {"weight_g", "weight_v"}};
  for (int k = 0; k < 2; k++) {
    const char *which = parts[layer == h->layers][k];
    sm_declare_alias(p, projection_part(second, which).s, projection_part(first, which).s);
  }
}

static void projection_declare(const void *self, const sm_head *to) {
  const projection *h = self;
  const sm_params *p = &to->params;
  const sm_role role = to->role;
  const int in_dim = to->dim, view_dim = to->view_dim, patch_dim = to->patch_dim;
  int shared = projection_shared_layers(h, role);
  int elsewhere = projection_shared_layers(h, role == SM_ROLE_TEACHER ? SM_ROLE_STUDENT : SM_ROLE_TEACHER);
  for (int layer = 0; layer <= h->layers; layer++) {
    bool common = layer < shared;
    if (view_dim || (patch_dim && common))
      projection_declare_layer(h, p, layer, projection_name_of(h, layer, false), in_dim,
                               view_dim ? view_dim : patch_dim);
    if (patch_dim && !common)
      projection_declare_layer(h, p, layer, projection_name_of(h, layer, true), in_dim, patch_dim);
    if (patch_dim && common && (layer == h->layers || layer >= elsewhere))
      projection_declare_second_name(h, p, layer);
  }
}

/* ---- forward ----------------------------------------------------------------------------------------- */

static sm_tensor *projection_features(void *self, sm_graph *g, const sm_head *at, sm_tensor *x,
                                      sm_site site) {
  const projection *h = self;
  const sm_params *p = &at->params;
  for (int layer = 0; layer < h->layers; layer++) {
    layer_name base = projection_used_layer(h, layer, site, at->role);
    if (layer > 0) x = sm_gelu(g, x);
    x = sm_linear(g, x, sm_param(g, p, "%s.weight", base.s), sm_param(g, p, "%s.bias", base.s));
  }
  return sm_l2_normalize(g, x, 1e-12);
}

static sm_tensor *projection_logits(void *self, sm_graph *g, const sm_head *at, sm_tensor *x, sm_site site) {
  const projection *h = self;
  const sm_params *p = &at->params;
  layer_name base = projection_used_layer(h, (int)h->layers, site, at->role);
  sm_tensor *w =
      sm_weight_norm(g, sm_param(g, p, "%s.weight_v", base.s), sm_param(g, p, "%s.weight_g", base.s));
  return sm_linear(g, x, w, NULL);
}

static int projection_layer_dim(const void *self, int n) {
  const projection *h = self;
  return n >= 1 && n < h->layers ? (int)h->hidden : 0;
}

static sm_tensor *projection_layer(void *self, sm_graph *g, const sm_head *at, sm_tensor *x, sm_site site,
                                   int n) {
  const sm_params *p = &at->params;
  for (int i = 0; i < n; i++) {
    layer_name base = projection_used_layer(self, i, site, at->role);
    x = sm_gelu(g,
                sm_linear(g, x, sm_param(g, p, "%s.weight", base.s), sm_param(g, p, "%s.bias", base.s)));
  }
  return x;
}

static int projection_feature_dim(const void *self, sm_site site, int dim) {
  (void)site, (void)dim;
  return (int)((const projection *)self)->bottleneck;
}

static const sm_head_ops ops = {.affine = true,
                                .out_dim = projection_out_dim,
                                .declare = projection_declare,
                                .features = projection_features,
                                .logits = projection_logits,
                                .layer_dim = projection_layer_dim,
                                .layer = projection_layer,
                                .feature_dim = projection_feature_dim};
static const sm_plugin plugin = {
    .kind = SM_HEAD,
    .name = "projection",
    .summary = "MLP, bottleneck, L2 norm and a weight-normalised last layer; [CLS] and patches may share it",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite = "Caron et al., DINO, ICCV 2021; Zhou et al., iBOT, ICLR 2022",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(projection),
    .create = projection_create,
    .ops = &ops};
SM_MODULE(&plugin)

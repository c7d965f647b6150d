/* linear — one linear layer from tokens to K logits, with a bias; [CLS] and patches have their own.
 *
 * The head of BEiT (its lm_head), where the target is a fixed vocabulary. */
#include <smalti/plugin.h>

typedef struct linear_head {
  int64_t out_dim;
} linear_head;

static const sm_option options[] = {
    SM_INT(linear_head, out_dim, "out_dim", "0", 0, 1048576, NULL,
           "K, the number of logits; 0: the target's size"),
};

static const char *linear_base_of(sm_site site) { return site == SM_SITE_VIEW ? "view" : "patch"; }

static int linear_out_dim(const void *self, sm_site site, int dim) {
  (void)site, (void)dim;
  return (int)((const linear_head *)self)->out_dim;
}

static void linear_declare_site(const sm_params *p, sm_site site, int64_t in, int64_t out) {
  if (out) sm_declare_linear(p, linear_base_of(site), SM_INIT_TRUNC_NORMAL, .02, out, in, true);
}

static void linear_declare(const void *self, const sm_head *h) {
  (void)self;
  linear_declare_site(&h->params, SM_SITE_VIEW, h->dim, h->view_dim);
  linear_declare_site(&h->params, SM_SITE_PATCH, h->dim, h->patch_dim);
}

static sm_tensor *linear_features(void *self, sm_graph *g, const sm_head *h, sm_tensor *x, sm_site site) {
  (void)self, (void)g, (void)h, (void)site;
  return x;
}

static sm_tensor *linear_logits(void *self, sm_graph *g, const sm_head *h, sm_tensor *x, sm_site site) {
  const sm_params *p = &h->params;
  (void)self;
  return sm_linear(g, x, sm_param(g, p, "%s.weight", linear_base_of(site)),
                   sm_param(g, p, "%s.bias", linear_base_of(site)));
}

static int linear_feature_dim(const void *self, sm_site site, int dim) {
  (void)self, (void)site;
  return dim;
}

static const sm_head_ops ops = {.affine = true,
                                .declare = linear_declare,
                                .features = linear_features,
                                .logits = linear_logits,
                                .out_dim = linear_out_dim,
                                .feature_dim = linear_feature_dim};
static const sm_plugin plugin = {.kind = SM_HEAD,
                                 .name = "linear",
                                 .summary = "One linear layer from tokens to logits",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .cite = "Bao et al., BEiT, ICLR 2022",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .instance_size = sizeof(linear_head),
                                 .ops = &ops};
SM_MODULE(&plugin)

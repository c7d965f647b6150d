/* identity — no head: the backbone's features are what is compared with vectors as long (data2vec, whose code
 * declares a final projection but does not apply it). It has no parameters. */
#include <smalti/plugin.h>

static int identity_out_dim(const void *self, sm_site site, int dim) {
  (void)self, (void)site;
  return dim;
}

static void identity_declare(const void *self, const sm_head *h) { (void)self, (void)h; }

static sm_tensor *identity_features(void *self, sm_graph *g, const sm_head *h, sm_tensor *x, sm_site site) {
  (void)self, (void)g, (void)h, (void)site;
  return x;
}

/* A copy: a loss may write over logits (sm_xent). */
static sm_tensor *identity_logits(void *self, sm_graph *g, const sm_head *h, sm_tensor *x, sm_site site) {
  (void)self, (void)h, (void)site;
  return sm_scale(g, x, 1);
}

static int identity_feature_dim(const void *self, sm_site site, int dim) {
  (void)self, (void)site;
  return dim;
}

static const sm_head_ops ops = {.affine = true,
                                .out_dim = identity_out_dim,
                                .declare = identity_declare,
                                .features = identity_features,
                                .logits = identity_logits,
                                .feature_dim = identity_feature_dim};
static const sm_plugin plugin = {.kind = SM_HEAD,
                                 .name = "identity",
                                 .summary = "The features themselves, without a parameter",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .cite = "Baevski et al., data2vec, ICML 2022",
                                 .instance_size = 1,
                                 .ops = &ops};
SM_MODULE(&plugin)

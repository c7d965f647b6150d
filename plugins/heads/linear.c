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

static const char *base_of(sm_site site) { return site == SM_SITE_VIEW ? "view" : "patch"; }

static int out_dim(const void *self, sm_site site) {
  (void)site;
  return (int)((const linear_head *)self)->out_dim;
}

static void declare_site(const sm_params *p, sm_site site, int64_t in, int64_t out) {
  char name[32];
  if (out == 0) return;
  snprintf(name, sizeof name, "%s.weight", base_of(site));
  sm_declare(p, name, SM_INIT_TRUNC_NORMAL, .02, 0, 2, (int64_t[]){out, in});
  snprintf(name, sizeof name, "%s.bias", base_of(site));
  sm_declare(p, name, SM_INIT_ZEROS, 0, 0, 1, &out);
}

static void declare(const void *self, const sm_params *p, int in_dim, int view_dim, int patch_dim,
                    sm_role role) {
  (void)self, (void)role;
  declare_site(p, SM_SITE_VIEW, in_dim, view_dim);
  declare_site(p, SM_SITE_PATCH, in_dim, patch_dim);
}

static sm_tensor *features(const void *self, sm_graph *g, const sm_params *p, sm_tensor *tokens, sm_site site,
                           sm_role role) {
  (void)self, (void)g, (void)p, (void)site, (void)role;
  return tokens;
}

static sm_tensor *logits(const void *self, sm_graph *g, const sm_params *p, sm_tensor *x, sm_site site,
                         sm_role role) {
  (void)self, (void)role;
  return sm_linear(g, x, sm_param(g, p, "%s.weight", base_of(site)),
                   sm_param(g, p, "%s.bias", base_of(site)));
}

static const sm_head_ops ops = {.affine = 1,
                                .declare = declare,
                                .features = features,
                                .logits = logits,
                                .out_dim = out_dim};
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

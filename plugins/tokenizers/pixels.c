/* pixels — the target of a patch is the patch itself: 3·P·P numbers, channel by channel.
 *
 *   normalize: view   as the student's view is normalised, by the recipe's mean and deviation: SimMIM's
 *                     target (Xie et al., CVPR 2022; main loss in models/simmim.py)
 *   normalize: unit   values in [0, 1]
 *   normalize: patch  (x - mean)/sqrt(var + 1e-6) with mean and variance over all numbers of the patch, the
 *                     variance with n - 1 below: MAE's norm_pix_loss (He et al., CVPR 2022; models_mae.py,
 *                     forward_loss)
 *
 * Layer norm divides by sqrt(v + eps) with the variance over n. With var = v·n/(n - 1), the form above is
 * layer norm with eps = 1e-6·(n - 1)/n, times sqrt((n - 1)/n), which is how it is made here.
 *
 * By default the tokenizer looks at the student's clean view. With `plain` or `pixels` it wants one of its
 * own, then normalised (but for `unit`) by ImageNet's mean and deviation. */
#include <math.h>
#include <string.h>

#include <smalti/plugin.h>

enum { VIEW, UNIT, PATCH };
static const char *const normalize_names[] = {"view", "unit", "patch", NULL};

typedef struct pixels {
  int normalize;
  bool plain;
  int64_t pixels;
  sm_own_view own;
} pixels;

static const sm_option options[] = {
    SM_CHOICE(
        pixels, normalize, "normalize", "patch", normalize_names,
        "Targets as the student's view is normalised, in 0 … 1, or each patch to mean 0 and variance 1"),
    SM_BOOL(pixels, plain, "plain", "false",
            "Look at the picture's own colours, not at those that the student's view was given"),
    SM_INT(pixels, pixels, "pixels", "0", 0, 64, "px",
           "Side of a patch in the tokenizer's view; 0: as in the student's"),
};

static sm_status pixels_spec(const void *self, sm_tokenizer_spec *out, sm_error *err) {
  pixels *t = (pixels *)self; /* the own view must lie in the instance */
  int side = t->pixels ? (int)t->pixels : out->cell;
  bool own = t->normalize == UNIT || t->plain || t->pixels;
  (void)err;
  t->own =
      (sm_own_view){.pixels = (int)t->pixels, .std = {1, 1, 1}, .plain = t->plain};
  if (t->normalize != UNIT) {
    memcpy(t->own.mean, sm_imagenet_mean, sizeof t->own.mean);
    memcpy(t->own.std, sm_imagenet_std, sizeof t->own.std);
  }
  *out = (sm_tokenizer_spec){.patch = SM_TARGET_VECTORS,
                             .patch_dim = 3 * side * side,
                             .own = own ? &t->own : NULL};
  return SM_OK;
}

static void pixels_build_local(void *self, sm_graph *g, const sm_tokenizer_env *env, const sm_seen *seen,
                        sm_target *patch) {
  const pixels *t = self;
  if (!env->want_patch) return;
  int side = (int)(seen->pictures->dim[2] / seen->rows);
  int64_t n = 3 * (int64_t)side * side;
  sm_tensor *x = sm_gather(g, sm_patchify(g, seen->pictures, side), env->masked);
  if (t->normalize == PATCH) {
    double share = (double)(n - 1) / (double)n;
    x = sm_scale(g, sm_layer_norm(g, x, NULL, NULL, 1e-6 * share), sqrt(share));
  }
  *patch = (sm_target){.form = SM_TARGET_VECTORS, .dim = n, .vectors = x};
}

/* The same of either kind of view: their patches have one size. */
static void pixels_build(void *self, sm_graph *g, const sm_tokenizer_env *env, const sm_seen *seen,
                         sm_target *view, sm_target *patch) {
  (void)view;
  pixels_build_local(self, g, env, seen, patch);
}

static const sm_tokenizer_ops ops = {
    .spec = pixels_spec, .build = pixels_build, .build_local = pixels_build_local};
static const sm_plugin plugin = {.kind = SM_TOKENIZER,
                                 .name = "pixels",
                                 .summary = "The patch's own pixels, raw or normalised patch by patch",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .cite = "He et al., MAE, CVPR 2022; Xie et al., SimMIM, CVPR 2022",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .instance_size = sizeof(pixels),
                                 .ops = &ops};
SM_MODULE(&plugin)

/* feature_distill — the student must give the features of another network: a frozen one of any width (tokenizer
 * `checkpoint` with labels: features) behind a linear head, or whatever tokenizer gives vectors. No view is compared with
 * another: each with what the other network makes of the same one.
 *
 *   loss = Σ weight · φ(prediction, target), mean over global views, or over patches
 *
 *   penalty: cosine     1 - cos(p, t)
 *   penalty: l2, l1, smooth_l1    mean over the numbers of (p - t)², |p - t|, or (p - t)²/(2·beta) where |p - t| < beta,
 *                       else |p - t| - beta/2
 *
 *   whiten   t is first brought to mean 0 and variance 1 over its numbers (layer norm without gain, eps 1e-5)
 *
 * The defaults are those of Wei et al. 2022, "Contrastive learning rivals masked image modeling in fine-tuning via
 * feature distillation": all patches, whitened, smooth L1 with beta 2. Hidden patches alone make it masked image
 * modelling with a frozen teacher (MILAN, EVA). What the mean over hidden patches is over: hidden_patches.h. */
#include "hidden_patches.h"

enum { COSINE, L2, L1, SMOOTH_L1 };
static const char *const penalty_names[] = {"cosine", "l2", "l1", "smooth_l1", NULL};
static const sm_penalty penalties[] = {[COSINE] = SM_L2, [L2] = SM_L2, [L1] = SM_L1, [SMOOTH_L1] = SM_SMOOTH_L1};
enum { ON_VIEW, ON_PATCHES, ON_HIDDEN };
static const char *const on_names[] = {"view", "patches", "hidden", NULL};
static const double whiten_eps = 1e-5, length_eps = 1e-12;

typedef struct feature_distill {
  double weight, beta;
  int on, penalty, normalize;
  bool whiten;
} feature_distill;

static const sm_option options[] = {
    SM_FLOAT(feature_distill, weight, "weight", "1", 0, 1e6, NULL, "Factor of this loss in the sum"),
    SM_CHOICE(feature_distill, on, "on", "patches", on_names, "Compare views ([CLS]), all patches, or hidden ones"),
    SM_CHOICE(feature_distill, penalty, "penalty", "smooth_l1", penalty_names, "What a difference costs"),
    SM_FLOAT(feature_distill, beta, "beta", "2", 1e-6, 1e6, NULL,
             "Where smooth_l1 turns from a parabola into lines"),
    SM_BOOL(feature_distill, whiten, "whiten", "true",
            "Bring each target to mean 0 and variance 1 over its numbers first"),
    NORMALIZE_OPTION(feature_distill, normalize, "patch"),
};

static sm_status feature_distill_spec(const void *self, sm_loss_spec *out, sm_error *err) {
  const feature_distill *l = self;
  (void)err;
  *out = (sm_loss_spec){.forms = SM_TARGET_VECTORS,
                        .site = l->on == ON_VIEW ? SM_SITE_VIEW : SM_SITE_PATCH,
                        .local_views = l->on == ON_HIDDEN,
                        .all_patches = l->on == ON_PATCHES};
  return SM_OK;
}

static void feature_distill_pairs(const void *self, const sm_pair_request *r) {
  const feature_distill *l = self;
  const int views = r->pictures * r->globals;
  if (l->on != ON_VIEW) {
    pair_hidden_patches(r, l->normalize, l->weight);
    return;
  }
  for (int row = 0; row < views; row++)
    sm_pairs_add(r->out, row, row, l->weight / ((double)r->step_pictures * r->globals));
}

static sm_tensor *feature_distill_build(void *self, sm_graph *g, const sm_prediction *p, const sm_target *target,
                                        const sm_pairs *pairs, sm_tensor **stats) {
  const feature_distill *l = self;
  sm_target t = *target;
  sm_tensor *x = p->logits;
  (void)stats;
  if (l->whiten) t.vectors = sm_layer_norm(g, t.vectors, NULL, NULL, whiten_eps);
  if (l->penalty == COSINE) { /* of vectors of length 1: |p - t|² = 2·(1 - cos), and the mean is over D numbers */
    x = sm_l2_normalize(g, x, length_eps);
    t.vectors = sm_l2_normalize(g, t.vectors, length_eps);
  }
  sm_tensor *loss = sm_regression(g, x, penalties[l->penalty], l->beta, &t, pairs);
  if (l->penalty == COSINE) loss = sm_scale(g, loss, (double)t.dim / 2);
  sm_loss_term(g, loss);
  return loss;
}

static const sm_loss_ops ops = {
    .spec = feature_distill_spec, .pairs = feature_distill_pairs, .build = feature_distill_build};
static const sm_plugin plugin = {.kind = SM_LOSS,
                                 .name = "feature_distill",
                                 .summary = "Regression of views or patches to another network's features",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .cite = "Wei et al., Feature Distillation, 2022",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .instance_size = sizeof(feature_distill),
                                 .ops = &ops};
SM_MODULE(&plugin)

/* mim_regression — masked image modelling with vectors: at every hidden patch of a view the student must give
 * the tokenizer's vector of the same patch of the clean view.
 *
 *   loss = Σ weight · mean over the vector's numbers of φ(prediction - target)
 *
 *   penalty: l2         x²                                  MAE (He et al., CVPR 2022)
 *   penalty: l1         |x|                                 SimMIM (Xie et al., CVPR 2022)
 *   penalty: smooth_l1  x²/(2·beta) where |x| < beta, else |x| - beta/2   (Girshick 2015; data2vec, Baevski
 *                       et al. 2022)
 *
 * What the mean over patches is over is a choice, as in `mim`: `patch`, over all hidden patches of the
 * step, is what MAE and SimMIM do; `picture`, over each view's hidden patches and then over all views. */
#include "hidden_patches.h"

static const char *const penalty_names[] = {
    [SM_L2] = "l2", [SM_L1] = "l1", [SM_SMOOTH_L1] = "smooth_l1", NULL};

typedef struct mim_regression {
  double weight, beta;
  int penalty, normalize;
} mim_regression;

static const sm_option options[] = {
    SM_FLOAT(mim_regression, weight, "weight", "1", 0, 1e6, NULL, "Factor of this loss in the sum"),
    SM_CHOICE(mim_regression, penalty, "penalty", "l2", penalty_names, "What a difference costs"),
    SM_FLOAT(mim_regression, beta, "beta", "1", 1e-6, 1e6, NULL,
             "Where smooth_l1 turns from a parabola into lines"),
    NORMALIZE_OPTION(mim_regression, normalize, "patch"),
};

static sm_status mim_regression_spec(const void *self, sm_loss_spec *out, sm_error *err) {
  (void)self, (void)err;
  *out = (sm_loss_spec){
      .forms = SM_TARGET_VECTORS, .site = SM_SITE_PATCH, .local_views = true};
  return SM_OK;
}

static void mim_regression_pairs(const void *self, const sm_pair_request *r) {
  const mim_regression *m = self;
  pair_hidden_patches(r, m->normalize, m->weight);
}

static sm_tensor *mim_regression_build(void *self, sm_graph *g, const sm_prediction *p,
                                       const sm_target *target, const sm_pairs *pairs_, sm_tensor **stats) {
  const mim_regression *m = self;
  sm_tensor *loss = sm_regression(g, p->logits, (sm_penalty)m->penalty, m->beta, target, pairs_);
  sm_loss_term(g, loss);
  *stats = NULL;
  return loss;
}

static const sm_loss_ops ops = {
    .spec = mim_regression_spec, .pairs = mim_regression_pairs, .build = mim_regression_build};
static const sm_plugin plugin = {.kind = SM_LOSS,
                                 .name = "mim_regression",
                                 .summary = "In-view regression of hidden patches to vectors",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .cite = "He et al., MAE, CVPR 2022; Xie et al., SimMIM, CVPR 2022",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .instance_size = sizeof(mim_regression),
                                 .ops = &ops};
SM_MODULE(&plugin)

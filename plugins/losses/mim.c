/* mim — masked image modelling: at every hidden patch of a view the student must say what the
 * tokenizer says of the same patch of the clean view. What the mean is over is a choice: hidden_patches.h. */
#include "hidden_patches.h"

typedef struct mim {
  double weight, student_temperature;
  int normalize;
} mim;

static const sm_option options[] = {
    SM_FLOAT(mim, weight, "weight", "1", 0, 1e6, NULL, "Factor of this loss in the sum"),
    SM_FLOAT(mim, student_temperature, "student_temperature", "0.1", 1e-4, 100, NULL,
             "Temperature of the student's softmax"),
    NORMALIZE_OPTION(mim, normalize, "picture"),
};

static sm_status mim_spec(const void *self, sm_loss_spec *out, sm_error *err) {
  (void)self, (void)err;
  *out = (sm_loss_spec){.forms = SM_TARGET_DISTRIBUTION | SM_TARGET_IDS,
                        .site = SM_SITE_PATCH,
                        .local_views = true};
  return SM_OK;
}

static void mim_pairs(const void *self, const sm_pair_request *r) {
  const mim *m = self;
  pair_hidden_patches(r, m->normalize, m->weight);
}

static sm_tensor *mim_build(void *self, sm_graph *g, const sm_prediction *p, const sm_target *target,
                        const sm_pairs *pairs_, sm_tensor **stats) {
  sm_tensor *inv_tau = sm_scalar(g, "1/temperature of the student", 1 / ((mim *)self)->student_temperature);
  sm_xent_out out = sm_xent(g, p->logits, inv_tau, target, pairs_);
  sm_loss_term(g, out.loss);
  *stats = out.stats;
  return out.loss;
}

static const sm_loss_ops ops = {.spec = mim_spec, .pairs = mim_pairs, .build = mim_build};
static const sm_plugin plugin = {.kind = SM_LOSS,
                                 .name = "mim",
                                 .summary = "In-view prediction of hidden patches",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .cite = "Zhou et al., iBOT, ICLR 2022; Bao et al., BEiT, ICLR 2022",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .instance_size = sizeof(mim),
                                 .ops = &ops};
SM_MODULE(&plugin)

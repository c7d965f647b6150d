/* cls_distill — DINO's loss: the [CLS] of one view must say what the teacher says of another view of the same
 * picture.
 *
 * Pairs: teacher on global view q, student on view v, v ≠ q, over global and local views. Each weighs
 * weight/(pictures · (G·(G+L) - G)), so the loss is the mean over pairs and pictures of the step (ibot,
 * iBOTLoss.forward). With `targets: first` only the first global view is a target, and only the others are
 * compared with it, G + L - 1 pairs (MSN; msn, msn_train.py: imgs[0] and imgs[1:]). */
#include <smalti/plugin.h>

typedef struct cls_distill {
  double weight, student_temperature;
  int targets;
} cls_distill;

enum { TARGETS_ALL, TARGETS_FIRST };
static const char *const target_names[] = {"all", "first", NULL};

static const sm_option options[] = {
    SM_FLOAT(cls_distill, weight, "weight", "1", 0, 1e6, NULL, "Factor of this loss in the sum"),
    SM_FLOAT(cls_distill, student_temperature, "student_temperature", "0.1", 1e-4, 100, NULL,
             "Temperature of the student's softmax"),
    SM_CHOICE(cls_distill, targets, "targets", "all", target_names,
              "Every global view is a target of every other view, or only the first"),
};

static sm_status cls_distill_spec(const void *self, sm_loss_spec *out, sm_error *err) {
  (void)self, (void)err;
  *out = (sm_loss_spec){.forms = SM_TARGET_DISTRIBUTION | SM_TARGET_IDS,
                        .site = SM_SITE_VIEW,
                        .local_views = true};
  return SM_OK;
}

static int64_t cls_distill_max_pairs(const void *self, const sm_pair_request *r, int64_t predictions) {
  const int targets = ((const cls_distill *)self)->targets == TARGETS_FIRST ? 1 : r->globals;
  return predictions * (r->local ? targets : r->globals < 2 ? 0 : targets < 2 ? 1 : targets - 1);
}

static void cls_distill_pairs(const void *self, const sm_pair_request *r) {
  const int targets = ((const cls_distill *)self)->targets == TARGETS_FIRST ? 1 : r->globals;
  int all = targets * (r->globals + r->locals) - targets, views = r->local ? r->locals : r->globals;
  double weight = ((const cls_distill *)self)->weight / ((double)r->step_pictures * all);
  for (int64_t picture = 0; picture < r->pictures; picture++)
    for (int v = 0; v < views; v++)
      for (int q = 0; q < targets; q++)
        if (r->local || q != v) sm_pairs_add(r->out, picture * views + v, picture * r->globals + q, weight);
}

static sm_tensor *cls_distill_build(void *self, sm_graph *g, const sm_prediction *p, const sm_target *target,
                        const sm_pairs *pairs_, sm_tensor **stats) {
  sm_tensor *inv_tau =
      sm_scalar(g, "1/temperature of the student", 1 / ((cls_distill *)self)->student_temperature);
  sm_xent_out out = sm_xent(g, p->logits, inv_tau, target, pairs_);
  sm_loss_term(g, out.loss);
  *stats = out.stats;
  return out.loss;
}

static const sm_loss_ops ops = {.spec = cls_distill_spec,
                                .max_pairs = cls_distill_max_pairs,
                                .pairs = cls_distill_pairs,
                                .build = cls_distill_build};
static const sm_plugin plugin = {.kind = SM_LOSS,
                                 .name = "cls_distill",
                                 .summary = "Cross-view distillation of [CLS], over global and local views",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .cite = "Caron et al., DINO, ICCV 2021",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .instance_size = sizeof(cls_distill),
                                 .ops = &ops};
SM_MODULE(&plugin)

/* step_rig.c — see step_rig.h. */
#include "row_rig.h"
#include "step_rig.h"
#include "test.h"

static const char *or_nothing(const char *text) { return text ? text : ""; }

void step_start(ssl_rig *rig, const setting *s) {
  rig_open(rig, s->threads ? s->threads : 2);
  rig_plugin(rig, &rig->backbone, SM_BACKBONE, "vit",
             "{arch: custom, dim: 8, depth: 2, heads: 2, patch_size: 4%s}", or_nothing(s->vit));
  if (s->linear) rig_plugin(rig, &rig->head, SM_HEAD, "linear", "{out_dim: 6}");
  else
    rig_plugin(rig, &rig->head, SM_HEAD, "projection", "{hidden: 10, bottleneck: 5, out_dim: 6%s}",
               or_nothing(s->head));
  rig_plugin(rig, &rig->tokenizer, SM_TOKENIZER, "online_ema",
             "{momentum: 0.5, temperature: 0.2, patch_temperature: 0.3, center_momentum: 0.8, "
             "patch_center_momentum: 0.6%s}",
             or_nothing(s->tokenizer));
  if (!s->no_cls) rig_plugin(rig, &rig->cls, SM_LOSS, "cls_distill", "{weight: 0.75}");
  if (!s->no_mim) rig_plugin(rig, &rig->mim, SM_LOSS, "mim", "{weight: 1.5%s}", or_nothing(s->mim));
  if (s->attention) rig_plugin(rig, &rig->masker, SM_MASKER, "attention", "%s", s->attention);
  rig->config.globals = s->globals ? s->globals : 2;
  rig->config.locals = s->locals;
  rig->config.masked = s->masked;
  rig->config.batch_size = s->pictures ? s->pictures : 3;
  rig->config.micro_batch = s->micro;
  rig->config.pieces = s->pieces;
  rig->config.ranks = s->ranks;
  rig->config.recompute = s->recompute;
  rig->config.bf16 = s->bf16;
  rig->config.real = s->real;
  rig_start(rig);
}

void step_shake(ssl_rig *rig) {
  for (int which = 0; which < SM_SETS; which++) {
    sm_set *set = rig->net->set[which];
    for (int r = 0; r < sm_set_rows(set); r++) {
      const sm_row *row = sm_set_row(set, r);
      if (row->alias_of >= 0) continue;
      sm_rng rng = sm_rng_named((uint64_t)which, SM_RNG_TEST, row->name);
      for (int64_t i = 0; i < row->size; i++) row_add(set, r, i, sm_rng_normal(&rng) * .3);
    }
  }
}

void step_gradients(ssl_rig *rig, const sm_batch *b, sm_step_result *result) {
  sm_error err = {0};
  sm_time time = rig_time(rig, b->step);
  if (sm_step_gradients(rig->net, b, &time, result, &err) != SM_OK) fail_msg("%s", err.message);
}

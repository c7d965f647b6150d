/* framework/train/distil.c — a student learns what its tokenizers say: iBOT, DINO, BEiT-style recipes and all
 * between.
 *
 * The inner part of Algorithm 1 of the iBOT paper, for pictures x with views u, v (global), local views, and
 * masks m:
 *
 *   teacher  h_t(u), h_t(v) on the clean views, and on local ones where patches of them are hidden;
 *            masks, where they follow its attention; targets by its tokenizer's OLD state
 *   student  h_s(û), h_s(v̂) on the masked views, heads on the view and on masked patches only
 *            loss = Σ pairs weight · CE(student, target); backward
 *
 * The outer part is step.c. Host code only feeds inputs (distil_feed.c) and reads sums between passes. */
#include <math.h>
#include <string.h>

#include "distil.h"

/* ---- the step ------------------------------------------------------------------------------------------ */

static void distil_prepare(distil *d, const sm_time *time) {
  const sm_train_config *c = &d->t.c;
  int64_t start = 0;
  if (c->masker.ops && OPS(masker, c->masker)->start_epoch)
    start = OPS(masker, c->masker)->start_epoch(c->masker.self);
  for (int i = 0; i < c->tokenizers; i++)
    if (OPS(tokenizer, c->tokenizer[i])->prepare)
      OPS(tokenizer, c->tokenizer[i])->prepare(c->tokenizer[i].self, time, start);
  for (int i = 0; i < c->losses; i++)
    if (OPS(loss, c->loss[i].slot)->prepare) OPS(loss, c->loss[i].slot)->prepare(c->loss[i].slot.self, time);
}

/* Masks of the whole step from the teacher's attention. Of several micro-batches only the last is still seen
 * afterwards: the others are looked at again when their turn comes. */
static sm_status distil_late_masks(distil *d, const sm_batch *b, sm_error *err) {
  sm_status status = SM_OK;
  for (int first = 0; d->late_masks && !status && first < b->pictures; first += d->t.micro) {
    const int n = b->pictures - first < d->t.micro ? b->pictures - first : d->t.micro;
    for (int kind = 0; kind < KINDS; kind++) sm_distil_feed_pictures(d, kind, b, first, n);
    sm_trainable_run(&d->t, d->pass[PASS_SEE], SM_TIME_TEACHER);
    status = sm_distil_draw_masks(d, b, first, n, err);
  }
  return status;
}

static sm_status distil_begin(sm_trainable *t, const sm_batch *b, const sm_time *time, sm_error *err) {
  distil *d = (distil *)t;
  memset(d->loss_sum, 0, sizeof d->loss_sum);
  memset(d->stat_sum, 0, sizeof d->stat_sum);
  distil_prepare(d, time);
  sm_status status = distil_late_masks(d, b, err);
  if (status) return status;
  d->counts[COUNT_PICTURES] = b->pictures;
  d->counts[COUNT_HIDDEN] = (double)sm_distil_count_hidden(d, b);
  return SM_OK;
}

static void distil_add_losses(distil *d, int kind) {
  for (int i = 0; i < d->t.c.losses; i++) {
    const bound_loss *l = &d->kind[kind].loss[i];
    if (!l->pairs || !l->rows) continue;
    for (int64_t r = 0, n = sm_items(l->rows); r < n; r++) d->loss_sum[i] += sm_get(l->rows, r);
    if (!l->stats) continue;
    for (int64_t r = 0, n = sm_items(l->stats) * 4; r < n; r++) d->stat_sum[i][r % 4] += sm_get(l->stats, r);
  }
}

static double distil_loss(const distil *d) {
  double sum = 0;
  for (int i = 0; i < d->t.c.losses; i++) sum += d->loss_sum[i];
  return sum;
}

static sm_status distil_accumulate(sm_trainable *t, const sm_batch *b, int first, int n, sm_error *err) {
  distil *d = (distil *)t;
  sm_status status = sm_distil_feed(d, b, first, n, err);
  if (status) return status;
  if (d->late_masks && b->pictures > t->micro) sm_trainable_run(t, d->pass[PASS_SEE], SM_TIME_TEACHER);
  sm_trainable_run(t, d->pass[PASS_TEACHER], SM_TIME_TEACHER);
  if ((status = sm_distil_bound_ids(d, err))) return status;
  for (int kind = 0; kind < KINDS; kind++) {
    if (d->pass[PASS_STUDENT + kind] < 0) continue;
    sm_trainable_run(t, d->pass[PASS_STUDENT + kind], SM_TIME_STUDENT);
    distil_add_losses(d, kind);
  }
  if (isfinite(distil_loss(d))) return SM_OK;
  const sm_item_views views[KINDS] = {{d->kind[GLOBAL].count, t->c.globals},
                                      {d->kind[LOCAL].count, t->c.locals}};
  return sm_step_nonfinite(t, d->pass, PASSES, b, first, views, KINDS, err);
}

/* ---- what is reported ---------------------------------------------------------------------------------- */

static void distil_report(sm_trainable *t, sm_step_result *r) {
  static const char *const name[4] = {"", "student_entropy.%s", "teacher_entropy.%s", "agreement.%s"};
  const distil *d = (const distil *)t;
  const sm_train_config *c = &t->c;
  r->loss = distil_loss(d);
  sm_step_put(r, true, r->loss, "loss", "");
  for (int i = 0; i < c->losses; i++) sm_step_put(r, true, d->loss_sum[i], "loss.%s", c->loss[i].slot.name);
  for (int k = 1; k < 4; k++)
    for (int i = 0; i < c->losses; i++)
      if (d->stat_sum[i][0] > 0)
        sm_step_put(r, true, d->stat_sum[i][k] / d->stat_sum[i][0], name[k], c->loss[i].slot.name);
  if (!d->late_masks) return;
  /* share of patches that late masks hide, of the views that are masked */
  int64_t all = (int64_t)c->globals * d->kind[GLOBAL].cells;
  if (d->kind[LOCAL].masked_views) all += (int64_t)c->locals * d->kind[LOCAL].cells;
  sm_step_put(r, true, d->counts[COUNT_HIDDEN] / (d->counts[COUNT_PICTURES] * (double)all), "hidden", "");
}

static double distil_norm(sm_set *set, int row) {
  double sum = 0;
  float part[256];
  for (int64_t at = 0, n, size = sm_set_row(set, row)->size; at < size; at += n) {
    n = size - at < 256 ? size - at : 256;
    sm_set_read(set, row, SM_VALUES, at, n, part);
    for (int64_t k = 0; k < n; k++) sum += (double)part[k] * (double)part[k];
  }
  return sqrt(sum);
}

/* Norms of the states that updates move. */
static void distil_states(sm_trainable *t, sm_step_result *r) {
  const distil *d = (const distil *)t;
  sm_set *state = t->set[SM_SET_STATE];
  for (int k = 0; k < t->c.tokenizers; k++)
    for (int i = d->state_rows[k].first;
         OPS(tokenizer, t->c.tokenizer[k])->build_update && i < d->state_rows[k].end; i++)
      sm_step_put(r, false, distil_norm(state, i), "norm.%s", sm_set_row(state, i)->name);
}

/* ---- what is added up ---------------------------------------------------------------------------------- */

static int distil_sums(sm_trainable *t, sm_step_sum *out, int most) {
  distil *d = (distil *)t;
  const sm_train_config *c = &t->c;
  sm_step_sum list[4 + 2 * SM_SLOTS_MAX + SM_SLOTS_MAX] = {
      {.kind = SM_SUM_COUNT, .name = "pictures and hidden patches", .host = d->counts, .n = 2},
      {.kind = SM_SUM_HOST, .name = "losses", .host = d->loss_sum, .n = c->losses},
      {.kind = SM_SUM_HOST, .name = "statistics of losses", .host = d->stat_sum[0], .n = 4 * c->losses}};
  int n = 3;
  if (t->spec.batch_norm) list[n++] = (sm_step_sum){.kind = SM_SUM_WHOLE_STEP, .name = c->backbone.name};
  for (int i = 0; i < c->tokenizers; i++)
    if (d->tokenizer_spec[i].whole_step)
      list[n++] = (sm_step_sum){.kind = SM_SUM_WHOLE_STEP, .name = c->tokenizer[i].name};
  for (int i = 0; i < c->heads; i++)
    if (OPS(head, c->head[i])->whole_step)
      list[n++] = (sm_step_sum){.kind = SM_SUM_WHOLE_STEP, .name = c->head[i].name};
  for (int i = 0; i < c->losses; i++)
    if (d->loss_spec[i].whole_step)
      list[n++] = (sm_step_sum){.kind = SM_SUM_WHOLE_STEP, .name = c->loss[i].slot.name};
  if (n > most) n = most;
  memcpy(out, list, (size_t)n * sizeof *out);
  return n;
}

/* ---- building ------------------------------------------------------------------------------------------ */

static sm_status distil_build(sm_trainable *t, sm_error *err) {
  distil *d = (distil *)t;
  for (int i = 0; i < PASSES; i++) d->pass[i] = -1;
  sm_status status = sm_distil_specs(d, err);
  if (!status) status = sm_distil_sets(d, err);
  if (status) return status;
  sm_distil_passes(d);
  if (d->fault.code) {
    if (err) *err = d->fault;
    return d->fault.code;
  }
  status = sm_distil_lists(d, err);
  return status || !d->late_masks ? status : sm_distil_mask_room(d, err);
}

const sm_trainable_ops sm_distil_ops = {.size = sizeof(distil),
                                        .build = distil_build,
                                        .fill = sm_distil_load_frozen,
                                        .begin = distil_begin,
                                        .accumulate = distil_accumulate,
                                        .report = distil_report,
                                        .states = distil_states,
                                        .sums = distil_sums};

double sm_distil_loss_dim(const sm_trainable *t, int loss) {
  const distil *d = (const distil *)t;
  const int tokenizer = t->c.loss[loss].tokenizer;
  if (tokenizer < 0 || !d->tokenizer_spec[tokenizer].ema) return 0;
  const sm_target *target = d->loss_spec[loss].site == SM_SITE_VIEW
                                ? &d->view_target[tokenizer]
                                : &d->kind[GLOBAL].patch_target[tokenizer];
  return target->form == SM_TARGET_DISTRIBUTION || target->form == SM_TARGET_IDS ? (double)target->dim : 0;
}

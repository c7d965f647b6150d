/* framework/train/ssl_step.c — one training step. Set it beside Algorithm 1 of the iBOT paper:
 *
 *   for each micro-batch of pictures x, with views u, v (global), local views, and masks m:
 *     teacher  h_t(u), h_t(v) on the clean views, and on local ones where patches of them are hidden;
 *              masks, where they follow its attention; targets by its tokenizer's OLD state
 *     student  h_s(û), h_s(v̂) on the masked views, heads on [CLS] and masked patches only
 *              loss = Σ pairs weight · CE(student, target); backward
 *   centre   C ← m C + (1-m) mean(h_t)                                                          once a step
 *   student  clip, AdamW
 *   teacher  θ_t ← l θ_t + (1-l) θ_s
 *
 * How the passes are built is in ssl_build.c. Host code here only fills inputs and reads sums between passes.
 */
#include <math.h>
#include <string.h>

#include "ssl_private.h"

#define NONFINITE_HINT                                                                          \
  "the weights were not touched; the last checkpoint is good. Lower optimizer.lr, clip harder " \
  "(train.clip_grad) or "                                                                       \
  "lengthen the warm-up"

/* ---- filling inputs -------------------------------------------------------------------------------- */

/* Stochastic depth: a factor 0 or 1/keep for each view and site, drawn for the sample and not for its place
 * in memory. */
static void fill_drop(sm_ssl *s, sm_tensor *drop, const sm_batch *b, int first, int pictures, int views,
                      int first_view) {
  if (!drop) return;
  int sites = s->spec.drop_sites;
  int64_t slot = b->step % s->c.steps_per_epoch * s->c.batch_size + first, row = 0;
  for (int i = 0; i < pictures; i++)
    for (int v = 0; v < views; v++, row++) {
      sm_rng rng = sm_rng_make(s->c.seed, SM_RNG_DROP_PATH, (uint64_t)b->epoch, (uint64_t)(slot + i),
                               (uint32_t)(first_view + v));
      for (int k = 0; k < sites; k++) {
        double keep = 1 - s->spec.drop_rate[k], factor = keep >= 1                     ? 1
                                                         : sm_rng_uniform(&rng) < keep ? 1 / keep
                                                                                       : 0;
        sm_write_f64(drop, row * sites + k, 1, &factor);
      }
    }
}

static void set_prefix_rows(sm_ssl *s, sm_rows *rows, int64_t views, int tokens) {
  for (int64_t i = 0; i < views; i++) s->token_list[i] = (int32_t)(i * tokens);
  sm_rows_set(rows, s->token_list, views);
}

/* What the student's heads see of the views, in order of (picture, view, token): [CLS] and hidden patches. */
typedef struct kept {
  int32_t *token, *view, *patch; /* tokens; which of them are [CLS], which are hidden */
  int64_t n, views, patches;
} kept;

static void keep(kept *k, int64_t token, bool patch) {
  if (patch) k->patch[k->patches++] = (int32_t)k->n;
  else k->view[k->views++] = (int32_t)k->n;
  k->token[k->n++] = (int32_t)token;
}

/* (pictures·views, patches), or NULL: nothing is hidden. */
static const uint8_t *masks_of(const view_kind *k, bool local, const sm_batch *b) {
  return !k->masked_views ? NULL : k->drawn ? k->drawn : local ? b->local_mask : b->mask;
}

static sm_status check_promise(const sm_ssl *s, const view_kind *k, int masked, int masked_views,
                               sm_error *err) {
  if (masked > k->max_masked)
    return sm_fail(err, SM_EINTERNAL, "masker '%s' hid %d of %d patches, but promised at most %lld",
                   s->c.masker.name, masked, k->patches, (long long)k->max_masked);
  if (masked_views > k->masked_views)
    return sm_fail(err, SM_EINTERNAL, "more than %d of %d views of a picture have hidden patches",
                   k->masked_views, k->views);
  return SM_OK;
}

/* Masked patches in the same order, as tokens and as cells; k->masked counts them by view. */
static sm_status set_masked_rows(sm_ssl *s, view_kind *k, const uint8_t *masks, int64_t views,
                                 sm_error *err) {
  kept list = {.token = s->kept_list[0], .view = s->kept_list[1], .patch = s->kept_list[2]};
  int64_t n = 0;
  int masked_views = 0;
  for (int64_t r = 0; r < views; r++) {
    const uint8_t *mask = masks ? masks + r * k->patches : NULL;
    int32_t masked = 0;
    if (k->keep_view) keep(&list, r * k->tokens, false);
    for (int p = 0; mask && p < k->patches; p++) {
      if (!mask[p]) continue;
      int64_t token = r * k->tokens + s->spec.prefix + p;
      s->cell_list[n] = (int32_t)(r * k->patches + p);
      s->token_list[n++] = (int32_t)token;
      if (k->keep_patch) keep(&list, token, true);
      masked++;
    }
    k->masked[r] = masked;
    masked_views = (r % k->views ? masked_views : 0) + (masked > 0);
    sm_status status = check_promise(s, k, masked, masked_views, err);
    if (status) return status;
  }
  sm_rows_set(k->patch_rows, s->token_list, n);
  sm_rows_set(k->cell_rows, s->cell_list, n);
  if (!k->kept_rows) return SM_OK;
  sm_rows_set(k->kept_rows, list.token, list.n);
  sm_rows_set(k->kept_view_rows, list.view, list.views);
  sm_rows_set(k->kept_patch_rows, list.patch, list.patches);
  return SM_OK;
}

static int64_t count_masked(const sm_ssl *s, const sm_batch *b) {
  int64_t n = 0;
  for (int kind = 0; kind < KINDS; kind++) {
    const view_kind *k = &s->kind[kind];
    const uint8_t *masks = masks_of(k, kind == LOCAL, b);
    for (int64_t i = 0, all = (int64_t)b->pictures * k->views * k->patches; masks && i < all; i++)
      n += masks[i];
  }
  return n;
}

static void fill_pictures(sm_ssl *s, int kind, const sm_batch *b, int first, int pictures) {
  const view_kind *k = &s->kind[kind];
  if (!k->pictures) return;
  int64_t views = (int64_t)pictures * k->views, pixels = sm_item_elements(k->pictures);
  sm_put(k->count, (double)views);
  sm_write(k->pictures, 0, views * pixels,
           (kind == LOCAL ? b->local : b->global) + (int64_t)first * k->views * pixels);
}

static sm_status fill_masks(sm_ssl *s, int kind, const sm_batch *b, int first, int pictures, sm_error *err) {
  view_kind *k = &s->kind[kind];
  int64_t views = (int64_t)pictures * k->views;
  const uint8_t *masks = masks_of(k, kind == LOCAL, b);
  if (!k->patch_rows) return SM_OK;
  if (masks) masks += (int64_t)first * k->views * k->patches;
  if (masks) sm_write_u8(k->mask, 0, views * k->patches, masks);
  else if (k->mask) sm_fill(k->mask, 0, views * k->patches, 0);
  return set_masked_rows(s, k, masks, views, err);
}

static sm_status fill_micro_batch(sm_ssl *s, const sm_batch *b, int first, int pictures, sm_error *err) {
  const int64_t globals = s->c.globals;
  sm_status status = SM_OK;
  for (int o = 0; o < s->views.owns; o++) {
    int64_t pixels = sm_item_elements(s->own_view[o]);
    sm_write(s->own_view[o], 0, pictures * globals * pixels, b->own[o] + first * globals * pixels);
  }
  for (int kind = 0; kind < KINDS && !status; kind++) {
    const view_kind *k = &s->kind[kind];
    if (!k->pictures) continue;
    fill_pictures(s, kind, b, first, pictures);
    fill_drop(s, k->drop, b, first, pictures, k->views, kind == LOCAL ? SM_LOCAL_VIEW : 0);
    set_prefix_rows(s, k->view_rows, (int64_t)pictures * k->views, k->tokens);
    status = fill_masks(s, kind, b, first, pictures, err);
  }
  return status;
}

/* The mean of a patch loss is over all views that may have hidden patches: all global ones, also where only one of them
 * is masked in turn, and the local ones where they are. */
sm_pair_request sm_ssl_pair_request(const sm_ssl *s, int loss, int kind) {
  return (sm_pair_request){.site = s->loss_spec[loss].site,
                           .local = kind == LOCAL,
                           .globals = s->c.globals,
                           .locals = s->c.locals,
                           .masked = s->kind[kind].masked,
                           .views = s->c.globals + (s->kind[LOCAL].masked_views ? s->c.locals : 0)};
}

static void fill_pairs(sm_ssl *s, int kind, int pictures, int step_pictures, int64_t step_masked) {
  for (int i = 0; i < s->c.losses; i++) {
    bound_loss *l = &s->kind[kind].loss[i];
    if (!l->pairs) continue;
    sm_pair_request r = sm_ssl_pair_request(s, i, kind);
    r.pictures = pictures;
    r.step_pictures = step_pictures;
    r.step_masked = step_masked;
    r.out = l->pairs;
    sm_pairs_begin(l->pairs);
    OPS(loss, s->c.loss[i].slot)->pairs(s->c.loss[i].slot.self, &r);
    sm_pairs_end(l->pairs);
  }
}

/* ---- reading sums ---------------------------------------------------------------------------------- */

static void add_losses(sm_ssl *s, int kind) {
  for (int i = 0; i < s->c.losses; i++) {
    const bound_loss *l = &s->kind[kind].loss[i];
    if (!l->pairs || !l->rows) continue;
    for (int64_t r = 0, n = sm_items(l->rows); r < n; r++) s->loss_sum[i] += sm_get(l->rows, r);
    if (!l->stats) continue;
    for (int64_t r = 0, n = sm_items(l->stats) * 4; r < n; r++) s->stat_sum[i][r % 4] += sm_get(l->stats, r);
  }
}

static double norm_of(const sm_set *set, int row, const sm_row *r) {
  double sum = 0;
  for (int64_t k = 0; k < r->size; k++) {
    double v = 0;
    sm_set_read_f64(set, row, SM_VALUES, k, 1, &v);
    sum += v * v;
  }
  return sqrt(sum);
}

void sm_ssl_put(sm_step_result *r, bool mean, double value, const char *fmt, const char *name) {
  if (r->n == SM_METRICS_MAX) return;
  sm_metric *m = &r->metric[r->n++];
  snprintf(m->name, sizeof m->name, fmt, name);
  m->value = value;
  m->mean = mean;
}

static void report_losses(sm_ssl *s, sm_step_result *r) {
  r->loss = 0;
  for (int i = 0; i < s->c.losses; i++) r->loss += s->loss_sum[i];
  sm_ssl_put(r, true, r->loss, "loss", "");
  for (int i = 0; i < s->c.losses; i++) sm_ssl_put(r, true, s->loss_sum[i], "loss.%s", s->c.loss[i].slot.name);
  static const char *const name[4] = {"", "student_entropy.%s", "teacher_entropy.%s", "agreement.%s"};
  for (int k = 1; k < 4; k++)
    for (int i = 0; i < s->c.losses; i++)
      if (s->stat_sum[i][0] > 0)
        sm_ssl_put(r, true, s->stat_sum[i][k] / s->stat_sum[i][0], name[k], s->c.loss[i].slot.name);
}

/* Norms of the states that updates move. */
static void report_states(sm_ssl *s, sm_step_result *r) {
  sm_set *state = s->set[SM_SSL_STATE];
  for (int t = 0; t < s->c.tokenizers; t++)
    for (int i = s->state_rows[t].first;
         OPS(tokenizer, s->c.tokenizer[t])->build_update && i < s->state_rows[t].end; i++) {
      const sm_row *row = sm_set_row(state, i);
      sm_ssl_put(r, false, norm_of(state, i, row), "norm.%s", row->name);
    }
}

double sm_step_metric(const sm_step_result *r, const char *name) {
  for (int i = 0; i < r->n; i++)
    if (!strcmp(r->metric[i].name, name)) return r->metric[i].value;
  return NAN;
}

/* ---- the step -------------------------------------------------------------------------------------- */

static void prepare(sm_ssl *s, const sm_time *t) {
  int64_t start = 0;
  if (s->c.masker.ops && OPS(masker, s->c.masker)->start_epoch)
    start = OPS(masker, s->c.masker)->start_epoch(s->c.masker.self);
  for (int i = 0; i < s->c.tokenizers; i++)
    if (OPS(tokenizer, s->c.tokenizer[i])->prepare)
      OPS(tokenizer, s->c.tokenizer[i])->prepare(s->c.tokenizer[i].self, t, start);
  for (int i = 0; i < s->c.losses; i++)
    if (OPS(loss, s->c.loss[i].slot)->prepare)
      OPS(loss, s->c.loss[i].slot)->prepare(s->c.loss[i].slot.self, t);
}

/* The first non-finite value of the micro-batch in the graph, with the picture it belongs to. */
sm_status sm_ssl_nonfinite(sm_ssl *s, const sm_batch *b, int first, sm_error *err) {
  char what[400] = "the loss is not finite";
  int64_t item = -1;
  const sm_tensor *where = NULL;
  for (int p = 0; p < PASS_UPDATE; p++)
    if (s->pass[p] >= 0 && sm_graph_find_nonfinite(s->graph, s->pass[p], what, sizeof what, &item, &where))
      break;
  int views = 0;
  for (int kind = 0; kind < KINDS && where && where->count; kind++)
    if (where->count == s->kind[kind].count) views = kind == LOCAL ? s->c.locals : s->c.globals;
  if (item >= 0 && views) { /* items of the tensor are views */
    int64_t picture = first + item / views;
    sm_fail(err, SM_EINVAL, "step %lld: %s, item %lld (sample %lld)", (long long)b->step, what,
            (long long)item, (long long)(picture < b->pictures ? b->sample[picture] : -1));
  } else {
    sm_fail(err, SM_EINVAL, "step %lld: %s", (long long)b->step, what);
  }
  return sm_hint(err, NONFINITE_HINT);
}

int sm_ssl_part_of(const sm_ssl *s, const sm_batch *b, int first) {
  return b->pictures - first < s->micro ? b->pictures - first : s->micro;
}

static void look(sm_ssl *s, const sm_batch *b, int first) {
  for (int kind = 0; kind < KINDS; kind++) fill_pictures(s, kind, b, first, sm_ssl_part_of(s, b, first));
  sm_graph_run(s->graph, s->pass[PASS_SEE]);
}

/* The masks of the whole step, whose number divisors of losses may need, from the teacher's attention. Of several
 * micro-batches only the last is still seen afterwards: the others are looked at again when their turn comes. */
static void draw_late_masks(sm_ssl *s, const sm_batch *b, sm_step_result *r) {
  double start = sm_now();
  for (int first = 0; s->late_masks && first < b->pictures; first += s->micro) {
    look(s, b, first);
    sm_ssl_draw_masks(s, b, first, sm_ssl_part_of(s, b, first));
  }
  r->seconds[0] += sm_now() - start;
}

/* Share of patches that late masks hide, of the views that are masked. */
static void report_hidden(const sm_ssl *s, const sm_batch *b, int64_t step_masked, sm_step_result *r) {
  int64_t all = (int64_t)s->c.globals * s->kind[GLOBAL].patches;
  if (s->kind[LOCAL].masked_views) all += (int64_t)s->c.locals * s->kind[LOCAL].patches;
  if (s->late_masks)
    sm_ssl_put(r, true, (double)step_masked / ((double)b->pictures * (double)all), "hidden", "");
}

sm_status sm_ssl_gradients(sm_ssl *s, const sm_batch *b, const sm_time *t, sm_step_result *r, sm_error *err) {
  static const int student[KINDS] = {[GLOBAL] = PASS_GLOBAL, [LOCAL] = PASS_LOCAL};
  if (s->c.objective.ops) return sm_ssl_objective_gradients(s, b, t, r, err);
  memset(r, 0, sizeof *r);
  memset(s->loss_sum, 0, sizeof s->loss_sum);
  memset(s->stat_sum, 0, sizeof s->stat_sum);
  prepare(s, t);
  draw_late_masks(s, b, r);
  int64_t step_masked = count_masked(s, b);
  for (int first = 0; first < b->pictures; first += s->micro) {
    int pictures = sm_ssl_part_of(s, b, first);
    double start = sm_now(), now;
    sm_status status = fill_micro_batch(s, b, first, pictures, err);
    if (status) return status;
    for (int kind = 0; kind < KINDS; kind++) fill_pairs(s, kind, pictures, b->pictures, step_masked);
    r->seconds[3] += (now = sm_now()) - start;
    if (s->late_masks && b->pictures > s->micro) sm_graph_run(s->graph, s->pass[PASS_SEE]);
    sm_graph_run(s->graph, s->pass[PASS_TEACHER]);
    r->seconds[0] += (start = sm_now()) - now;
    for (int kind = 0; kind < KINDS; kind++) {
      if (s->pass[student[kind]] < 0) continue;
      sm_graph_run(s->graph, s->pass[student[kind]]);
      add_losses(s, kind);
    }
    r->seconds[1] += sm_now() - start;
    double sum = 0;
    for (int i = 0; i < s->c.losses; i++) sum += s->loss_sum[i];
    if (!isfinite(sum)) return sm_ssl_nonfinite(s, b, first, err);
  }
  report_losses(s, r);
  report_hidden(s, b, step_masked, r);
  return SM_OK;
}

/* The update pass (centres) wants all weights as they were for the targets, so it comes first; the teacher
 * follows the student's new values in the optimiser's sweep. Where a gradient is not finite the optimiser touches
 * nothing, and the teacher stays too. */
void sm_ssl_update(sm_ssl *s, const sm_time *t, sm_step_result *r) {
  double start = sm_now();
  sm_optimizer_step values = {.lr = sm_schedule_at(&s->c.lr, t),
                              .weight_decay = sm_schedule_at(&s->c.weight_decay, t),
                              .freeze_last_layer = t->step / t->steps_per_epoch < s->c.freeze_last_layer,
                              .ema = s->ema_momentum ? s->ema : NULL,
                              .ema_momentum = s->ema_momentum ? sm_schedule_at(s->ema_momentum, t) : 1};
  sm_optimizer_result result;
  if (s->pass[PASS_UPDATE] >= 0) sm_graph_run(s->graph, s->pass[PASS_UPDATE]);
  sm_optimizer_run(&s->c.optimizer, s->set[SM_SSL_STUDENT], s->c.pool, &values, &result);
  r->grad_norm = result.grad_norm;
  r->worst_row = result.worst_row;
  if (!isfinite(result.grad_norm)) return;
  sm_ssl_put(r, true, result.grad_norm, "grad_norm", "");
  sm_ssl_put(r, false, values.lr, "lr", "");
  sm_ssl_put(r, false, values.weight_decay, "weight_decay", "");
  if (s->ema_momentum) sm_ssl_put(r, false, values.ema_momentum, "momentum", "");
  report_states(s, r);
  r->seconds[2] += sm_now() - start;
}

sm_status sm_ssl_step(sm_ssl *s, const sm_batch *b, const sm_time *t, sm_step_result *r, sm_error *err) {
  sm_status status = sm_ssl_gradients(s, b, t, r, err);
  if (status) return status;
  sm_ssl_update(s, t, r);
  if (isfinite(r->grad_norm)) return SM_OK;
  sm_fail(err, SM_EINVAL, "step %lld: the gradient of '%s' is not finite", (long long)b->step,
          sm_set_row(s->set[SM_SSL_STUDENT], r->worst_row)->name);
  return sm_hint(err, NONFINITE_HINT);
}

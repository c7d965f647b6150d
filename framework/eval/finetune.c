/* finetune.c — the protocol of fine-tuning: which pictures, the schedule, the choice of a rate, the figure.
 *
 * Position is the step: a loader begins at any, and everything drawn is keyed by (seed, epoch, place), so a
 * state file of weights and moments is all that a resumed run needs to come to the same bits. It is written
 * after each epoch and when a signal asks for a stop. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "classes.h"
#include "classify.h"
#include "subset.h"
#include "tune_state.h"
#include "tune_step.h"

typedef struct tuning {
  sm_eval_context *x;
  sm_finetune_config c;
  int middle; /* where nothing could be held out: which of the rates asked for is the only one */
  int64_t *index, fitted, held; /* training pictures: learned from, then held out, each part ascending */
  int classes;
  uint64_t pictures; /* key of which they are */
  int64_t steps_per_epoch, steps;
  sm_tune_step step;
  sm_tune_state state;
  float *z; /* logits of a batch of tests */
  int64_t tested;
} tuning;

/* ---- pictures ------------------------------------------------------------------------------------------ */

/* With several rates a part is put aside; which pictures is a draw keyed by the seed. Where nothing can be,
 * the middle rate is the only one. */
static sm_status finetune_hold_out(tuning *t, const int32_t *label, int64_t all, int classes, sm_error *err) {
  t->fitted = all;
  if (t->c.rates < 2) return SM_OK;
  sm_status status =
      sm_subset_hold_out(t->index, label, all, classes, t->c.hold_out, t->c.seed, &t->fitted, err);
  t->held = all - t->fitted;
  if (status || t->held) return status;
  t->middle = sm_middle_of(t->c.rate, t->c.rates);
  t->c.rate += t->middle;
  t->c.rates = 1;
  return SM_OK;
}

static sm_status finetune_check_classes(tuning *t, const sm_picture_list *train, sm_error *err) {
  sm_picture_list test;
  sm_status status = sm_picture_list_get(t->x, "test", &test, err);
  return status ? status
                : sm_classes_check(SM_LABELS_BOTH, (sm_label_list){train->label, train->n},
                                   (sm_label_list){test.label, test.n}, train->classes, err);
}

/* A cosine that would rise, as DeiT's default of 1e-5 makes it for small rates. */
static sm_status finetune_check_rates(const tuning *t, sm_error *err) {
  for (int i = 0; i < t->c.rates; i++) {
    const double rate = t->c.rate[i] * (double)t->c.batch / 256;
    if (t->c.least_rate <= rate) continue;
    sm_fail(err, SM_EINVAL,
            "min_lr %.4g is above the rate itself, which is %.4g: lr %.4g times batch %" PRId64 "/256",
            t->c.least_rate, rate, t->c.rate[i], t->c.batch);
    return sm_hint(err, "the rate would rise to its end: lower min_lr, or say min_lr=0 for a thousandth of the rate");
  }
  return SM_OK;
}

static sm_status finetune_choose_pictures(tuning *t, sm_error *err) {
  sm_picture_list train;
  int32_t *label = NULL;
  int64_t all = 0;
  sm_status status = sm_picture_list_get(t->x, "train", &train, err);
  if (!status) status = finetune_check_classes(t, &train, err);
  if (!status) status = sm_subset_labelled(&train, &t->index, &label, &all, err);
  if (!status) status = finetune_hold_out(t, label, all, train.classes, err);
  sm_free(label);
  if (status) return status;
  t->classes = train.classes;
  t->pictures = sm_hash64(t->index, (size_t)all * sizeof *t->index, train.hash);
  if (t->c.batch > t->fitted) t->c.batch = t->fitted;
  if (t->c.group > t->c.batch) t->c.group = t->c.batch;
  t->c.batch -= t->c.batch % t->c.group;
  t->steps_per_epoch = t->fitted / t->c.batch;
  t->steps = t->steps_per_epoch * t->c.epochs;
  return finetune_check_rates(t, err);
}

static sm_status finetune_open_crops(const tuning *t, sm_pictures **crops, sm_error *err) {
  const sm_picture_request request = {.split = "train",
                                      .geometry = SM_PICTURES_CROPS,
                                      .index = t->index,
                                      .n = t->fitted,
                                      .batch = (int)t->c.group,
                                      .epochs = t->c.epochs,
                                      .epoch_batches = t->steps_per_epoch * t->step.groups,
                                      .first_batch = t->state.step * t->step.groups,
                                      .seed = t->c.seed,
                                      .filter = SM_FILTER_BICUBIC,
                                      .least_area = t->c.least_area,
                                      .flip = t->c.flip,
                                      .randaugment = t->c.randaugment,
                                      .randaugment_std = t->c.randaugment_std};
  return sm_pictures_open(t->x, &request, crops, err);
}

/* ---- training ------------------------------------------------------------------------------------------ */

/* A state that cannot be kept is no reason to stop. */
static bool finetune_keep(const tuning *t) {
  sm_error why = {0};
  char text[2048];
  if (sm_tune_state_save(&t->state, &t->step.net, &why) == SM_OK) return t->state.path[0] != 0;
  sm_log(SM_LOG_WARNING, "fine-tuning could not be kept, and goes on: %s",
         sm_error_text(&why, text, sizeof text));
  return false;
}

/* What a fault of the system, or a signal while it is waited for, breaks off is kept, too. */
static sm_status finetune_next(const tuning *t, sm_pictures *pictures, sm_picture_batch *b, sm_error *err) {
  const sm_status status = sm_pictures_next(pictures, b, err);
  if (status == SM_EIO || status == SM_ENOMEM || status == SM_EINTERRUPTED) finetune_keep(t);
  return status;
}

static sm_status finetune_going_on(const tuning *t, sm_error *err) {
  double done = ((double)t->state.step / (double)t->steps + t->state.rate) / t->c.rates;
  sm_status status = t->x->going_on(t->x, done, err);
  if (status != SM_EINTERRUPTED) return status;
  bool kept = finetune_keep(t);
  return sm_fail(err, SM_EINTERRUPTED, "stopped in fine-tuning, at epoch %" PRId64 " of %" PRId64 "; %s",
                 t->state.step / t->steps_per_epoch + 1, t->c.epochs,
                 kept ? "the same command goes on from there" : "the same command begins anew");
}

static void finetune_end_epoch(tuning *t) {
  sm_tune_hits *h = &t->state.hits[t->state.rate];
  double loss = t->state.loss / (double)t->steps_per_epoch;
  t->state.loss = 0;
  if (t->state.step == t->steps_per_epoch) h->first_loss = loss;
  h->last_loss = loss;
  sm_log(SM_LOG_DEBUG, "fine-tuning, epoch %" PRId64 " of %" PRId64 ": loss %.4f",
         t->state.step / t->steps_per_epoch, t->c.epochs, loss);
  finetune_keep(t);
}

static sm_status finetune_train(tuning *t, sm_error *err) {
  sm_pictures *crops;
  if (t->state.step >= t->steps) return SM_OK;
  sm_status status = finetune_open_crops(t, &crops, err);
  while (!status && t->state.step < t->steps) {
    double loss = 0;
    for (int64_t g = 0; !status && g < t->step.groups; g++) {
      sm_picture_batch b;
      if (!(status = finetune_next(t, crops, &b, err))) loss += sm_tune_step_group(&t->step, &b);
    }
    if (!status) status = sm_tune_step_update(&t->step, t->c.rate[t->state.rate], t->state.step, loss, err);
    if (status) break;
    t->state.loss += loss;
    t->state.step++;
    if (t->state.step % t->steps_per_epoch == 0) finetune_end_epoch(t);
    status = finetune_going_on(t, err);
  }
  sm_pictures_close(crops);
  return status;
}

/* ---- measuring ----------------------------------------------------------------------------------------- */

typedef struct measured {
  int64_t labelled, top1, top5;
  int32_t *label, *guess; /* of each picture; NULL: not wanted */
  int64_t *index, n;
} measured;

static void finetune_note(const tuning *t, measured *m, const float *z, int32_t label, int64_t index) {
  const int rank = sm_rank_of(z, t->classes, label);
  m->labelled += label >= 0;
  m->top1 += rank == 0;
  m->top5 += rank < 5;
  if (!m->label) return;
  m->label[m->n] = label;
  m->index[m->n] = index;
  m->guess[m->n++] = sm_first_of(z, t->classes);
}

/* Some pictures of a split, all where index is NULL. */
static sm_status finetune_measure(tuning *t, const char *split, const int64_t *index, int64_t n, measured *m,
                                  sm_error *err) {
  sm_pictures *pictures;
  sm_picture_batch b;
  sm_status status =
      sm_pictures_open(t->x, &(sm_picture_request){.split = split, .index = index, .n = n}, &pictures, err);
  if (status) return status;
  while (!status && !(status = finetune_next(t, pictures, &b, err)) && b.n) {
    sm_tune_net_logits(&t->step.net, b.x, b.n, t->z);
    for (int i = 0; i < b.n; i++) finetune_note(t, m, t->z + (int64_t)i * t->classes, b.label[i], b.index[i]);
    status = finetune_going_on(t, err);
  }
  sm_pictures_close(pictures);
  return status;
}

static sm_status finetune_measure_tests(tuning *t, sm_tune_hits *h, sm_error *err) {
  sm_picture_list test;
  measured m = {0};
  sm_status status = sm_picture_list_get(t->x, "test", &test, err);
  if (status) return status;
  m.label = sm_malloc((size_t)test.n * sizeof *m.label);
  m.guess = sm_malloc((size_t)test.n * sizeof *m.guess);
  m.index = sm_malloc((size_t)test.n * sizeof *m.index);
  if (!m.label || !m.guess || !m.index)
    status = sm_fail(err, SM_ENOMEM, "no memory for the classes of %" PRId64 " pictures", test.n);
  if (!status) status = finetune_measure(t, "test", NULL, 0, &m, err);
  if (!status) status = sm_class_mean_of(m.label, m.guess, m.n, t->classes, &h->balanced, err);
  if (!status) t->tested = m.labelled, h->top1 = m.top1, h->top5 = m.top5;
  if (!status && t->c.rates == 1) /* of several it is not known yet which one counts */
    status = sm_figure_each(t->x, m.index, m.label, m.guess, m.n, err, "top1");
  sm_free(m.index);
  sm_free(m.label);
  sm_free(m.guess);
  return status;
}

static sm_status finetune_measure_rate(tuning *t, sm_error *err) {
  sm_tune_hits *h = &t->state.hits[t->state.rate];
  measured m = {0};
  sm_status status = t->held ? finetune_measure(t, "train", t->index + t->fitted, t->held, &m, err) : SM_OK;
  if (!status) h->held = m.top1;
  return status ? status : finetune_measure_tests(t, h, err);
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

static sm_status finetune_check(const sm_eval_context *x, const sm_finetune_config *c, sm_error *err) {
  if (!x->network) return sm_fail(err, SM_EINVAL, "there is no network to fine-tune: pixels have no weights");
  if (c->rates < 1 || c->rates > SM_TUNE_RATES || c->epochs < 1 || c->batch < 1 || c->group < 1)
    return sm_fail(err, SM_EINTERNAL, "fine-tuning with %d rates, %" PRId64 " epochs, batches of %" PRId64,
                   c->rates, c->epochs, c->batch);
  if (c->warmup >= (double)c->epochs) {
    sm_fail(err, SM_EINVAL, "a warm-up of %g epochs leaves nothing of %" PRId64, c->warmup, c->epochs);
    return sm_hint(err, "make warmup_epochs smaller than epochs");
  }
  return SM_OK;
}

/* With pictures made ahead, and lists of them. */
sm_status sm_finetune_bytes(const sm_eval_context *x, const sm_eval_sizes *s, const sm_finetune_config *c,
                            sm_eval_bytes *b, sm_error *err) {
  sm_finetune_config own = *c;
  *b = (sm_eval_bytes){.none = true};
  if (own.batch > s->train && s->train > 0) own.batch = s->train;
  if (own.group > own.batch) own.group = own.batch;
  sm_status status = finetune_check(x, &own, err);
  if (!status) status = sm_tune_step_bytes(x, &own, s->classes, &b->first, err);
  b->first += sm_eval_loader_bytes((int)own.group, x->height, x->width, SM_CROPS_AHEAD) +
              SM_EVAL_BATCH * (size_t)s->classes * sizeof(float) +
              (size_t)s->train * (2 * sizeof(int64_t) + 2 * sizeof(int32_t) + 1) +
              (size_t)s->test * (sizeof(int64_t) + 2 * sizeof(int32_t));
  return status;
}

static sm_status finetune_prepare(tuning *t, sm_error *err) {
  sm_status status = finetune_choose_pictures(t, err);
  if (!status) status = sm_tune_step_new(t->x, &t->c, t->classes, t->steps_per_epoch, &t->step, err);
  if (status) return status;
  t->z = sm_malloc(SM_EVAL_BATCH * (size_t)t->classes * sizeof *t->z);
  if (!t->z) return sm_fail(err, SM_ENOMEM, "no memory for the logits of %d classes", t->classes);
  if ((status = sm_tune_net_reset(&t->step.net, err))) return status;
  sm_tune_state_place(&t->state, &t->step.net, t->pictures, t->c.batch);
  return SM_OK;
}

static sm_status finetune_run(tuning *t, sm_error *err) {
  bool found = false;
  sm_status status = sm_tune_state_load(&t->state, &t->step.net, &found, err);
  if (found)
    sm_log(SM_LOG_INFO, "fine-tuning goes on at step %" PRId64 " of %" PRId64, t->state.step, t->steps);
  for (; !status && t->state.rate < t->c.rates; t->state.rate++, t->state.step = 0, t->state.loss = 0) {
    if (!found) status = sm_tune_net_reset(&t->step.net, err);
    found = false;
    if (!status) status = finetune_train(t, err);
    if (!status) status = finetune_measure_rate(t, err);
  }
  if (!status) sm_tune_state_remove(&t->state);
  return status;
}

static void finetune_report(const tuning *t, sm_finetune_result *r) {
  const sm_tune_hits *h = t->state.hits;
  *r = (sm_finetune_result){.fitted = t->fitted,
                            .held = t->held,
                            .tested = t->tested,
                            .batch = t->c.batch,
                            .steps = t->steps,
                            .bf16 = t->step.net.bf16};
  for (int i = 1; i < t->c.rates; i++)
    if (h[i].held > h[r->best].held) r->best = i;
  h += r->best;
  r->best += t->middle;
  r->held_top1 = h->held, r->top1 = h->top1, r->top5 = h->top5, r->balanced = h->balanced;
  r->first_loss = h->first_loss, r->last_loss = h->last_loss;
}

sm_status sm_finetune_eval(sm_eval_context *x, const sm_finetune_config *c, sm_finetune_result *r,
                           sm_error *err) {
  const char *doing = x->doing;
  tuning *t = sm_calloc(1, sizeof *t);
  if (!t) return sm_fail(err, SM_ENOMEM, "no memory for fine-tuning");
  t->x = x;
  t->c = *c;
  x->doing = "fine-tuning";
  sm_status status = finetune_check(x, c, err);
  if (!status) status = finetune_prepare(t, err);
  if (!status) status = finetune_run(t, err);
  if (!status) finetune_report(t, r);
  x->doing = doing;
  sm_tune_step_free(&t->step);
  sm_free(t->z);
  sm_free(t->index);
  sm_free(t);
  return status;
}

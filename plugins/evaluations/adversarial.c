/* plugins/evaluations/adversarial.c — test sets of some of the training classes whose pictures are hard or drawn
 * otherwise (ImageNet-A, ImageNet-R): accuracy among these classes only, and whether confidence tells when it is
 * right. The classifier is a linear layer, since only logits can be kept of some classes. */
#include <math.h>
#include <string.h>

#include "ask.h"
#include "calibration.h"
#include "outside.h"

typedef struct adversarial {
  const char *folder;
  int64_t bin;
  ask_options ask;
} adversarial;

static const sm_option options[] = {
    SM_PATH(adversarial, folder, "folder", NULL,
            "pictures in folders CLASS/PICTURE, with names of training classes, of which some may be missing"),
    SM_INT(adversarial, bin, "bin", "100", 1, 1000000, "pictures", "of a bin of the calibration error"),
    ASK_POOL(adversarial, ask),
};

static sm_status adversarial_create(void *self, sm_error *err) {
  (void)err;
  ((adversarial *)self)->ask.kind = SM_CLASSIFY_LINEAR;
  return SM_OK;
}

static void adversarial_wants(const void *self, sm_feature_spec *spec) {
  ask_wants(&((const adversarial *)self)->ask, spec);
}

/* ---- what is there ------------------------------------------------------------------------------------- */

typedef struct judging {
  const adversarial *o;
  outside_names classes;
  outside pictures;
  uint8_t *kept; /* (classes) it has pictures */
  int kept_classes;
} judging;

static int adversarial_class_of(void *ctx, const char *name, sm_error *err) {
  const judging *j = ctx;
  return outside_class_of(&j->classes, j->o->folder, name, err);
}

static sm_status adversarial_read(judging *j, sm_eval_context *x, sm_error *err) {
  sm_status status = outside_classes(x, &j->classes, err);
  if (!status) status = outside_tree(j->o->folder, adversarial_class_of, j, &j->pictures, err);
  if (status) return status;
  if (!(j->kept = sm_calloc((size_t)j->classes.n, 1))) return sm_fail(err, SM_ENOMEM, "no memory for classes");
  for (int64_t i = 0; i < j->pictures.n; i++) j->kept[j->pictures.label[i]] = 1;
  for (int c = 0; c < j->classes.n; c++) j->kept_classes += j->kept[c];
  if (j->kept_classes > 1) return SM_OK;
  return sm_fail(err, SM_EINVAL, "'%s' has pictures of one class only: there is nothing to tell apart", j->o->folder);
}

/* ---- answers ------------------------------------------------------------------------------------------- */

/* The likeliest of the kept classes, and its share of their softmax. Equal logits: the lower class. */
static int adversarial_judge(const judging *j, const float *logits, float *confidence) {
  int best = -1;
  double sum = 0;
  for (int c = 0; c < j->classes.n; c++)
    if (j->kept[c] && (best < 0 || logits[c] > logits[best])) best = c;
  for (int c = 0; c < j->classes.n; c++)
    if (j->kept[c]) sum += exp((double)logits[c] - (double)logits[best]);
  *confidence = (float)(1 / sum);
  return best;
}

/* Test pictures of the same classes, asked the same way. */
static sm_status adversarial_clean(const judging *j, const ask_question *q, const sm_features *test, sm_eval_result *r,
                                   sm_error *err) {
  enum { SOME = 256 };
  int32_t class_of[SOME];
  float *logits = sm_malloc(SOME * (size_t)q->classes * sizeof *logits), confidence;
  int64_t n = 0, right = 0;
  sm_status status = logits ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for logits");
  for (int64_t at = 0; !status && at < test->n; at += SOME) {
    const int64_t some = test->n - at < SOME ? test->n - at : SOME;
    status = sm_classifier_ask(q->classifier, test->x + at * test->dim, some, class_of, logits, err);
    for (int64_t i = 0; !status && i < some; i++) {
      const int32_t label = test->label[at + i];
      if (label < 0 || !j->kept[label]) continue;
      n++, right += adversarial_judge(j, logits + i * q->classes, &confidence) == label;
    }
  }
  sm_free(logits);
  if (!status && n) sm_figure_hits(r, right, n, "clean");
  return status;
}

static void adversarial_calibration(sm_eval_result *r, const double *value, const sm_interval *interval) {
  static const char *const name[] = {"calibration", "calibration.script", "aurra"};
  for (int v = 0; v < CALIBRATIONS && r->n < SM_FIGURES_MAX; v++) {
    if (isnan(value[v])) continue;
    r->interval[r->n] = interval[v], r->has_interval[r->n] = true;
    sm_figure_add_in(r, "%", value[v], "%s", name[v]);
  }
}

/* Pictures that could be read come first in confidence and right. */
static sm_status adversarial_figures(const judging *j, const ask_question *q, const int32_t *class_of,
                                     const float *logits, sm_eval_result *r, sm_error *err) {
  const outside *o = &j->pictures;
  double value[CALIBRATIONS];
  sm_interval interval[CALIBRATIONS];
  int64_t n = 0, hits = 0;
  float *confidence = sm_malloc((size_t)o->n * sizeof *confidence);
  uint8_t *right = sm_malloc((size_t)o->n);
  sm_status status = confidence && right ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for answers");
  for (int64_t i = 0; !status && i < o->n; i++) {
    if (class_of[i] == ASK_UNREAD) continue;
    right[n] = adversarial_judge(j, logits + i * q->classes, &confidence[n]) == o->label[i];
    hits += right[n++];
  }
  if (!status && !n) status = sm_fail(err, SM_EINVAL, "no picture of '%s' could be read", j->o->folder);
  if (!status) status = calibration_of(confidence, right, n, j->o->bin, value, interval, err);
  sm_free(confidence);
  sm_free(right);
  if (status) return status;
  sm_figure_hits(r, hits, n, "top1");
  adversarial_calibration(r, value, interval);
  snprintf(r->protocol, sizeof r->protocol,
           "%s, logits of %d of %d classes; calibration: RMS over bins of %lld pictures, script: without the last bin "
           "as published; aurra: mean accuracy over response rates; clean: test pictures of these classes; %lld pictures",
           sm_classifier_what(q->classifier), j->kept_classes, j->classes.n, (long long)j->o->bin, (long long)n);
  return SM_OK;
}

static sm_status adversarial_ask(judging *j, sm_eval_context *x, ask_question *q, sm_eval_result *r, sm_error *err) {
  const size_t n = (size_t)j->pictures.n;
  int32_t *class_of = sm_malloc(n * sizeof *class_of);
  float *logits = sm_malloc(n * (size_t)q->classes * sizeof *logits);
  sm_status status = class_of && logits ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for logits");
  q->request = (sm_picture_request){.own = &outside_ops, .own_self = &j->pictures};
  q->n = j->pictures.n, q->from = 0, q->to = 1;
  if (!status) status = ask_about(x, q, class_of, logits, err);
  if (!status) status = adversarial_figures(j, q, class_of, logits, r, err);
  sm_free(class_of);
  sm_free(logits);
  return status;
}

static sm_status adversarial_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  judging j = {.o = self};
  ask_question q = {0};
  sm_features test;
  x->doing = "pictures of the folder";
  sm_status status = adversarial_read(&j, x, err);
  if (!status) status = ask_open(x, &j.o->ask, &q, &test, err);
  if (!status) status = adversarial_ask(&j, x, &q, result, err);
  if (!status) status = adversarial_clean(&j, &q, &test, result, err);
  ask_close(&q);
  outside_free(&j.pictures);
  outside_names_free(&j.classes);
  sm_free(j.kept);
  return status;
}

static void adversarial_names(const void *self, sm_text *out) {
  (void)self;
  sm_text_add(out, "top1 calibration calibration.script aurra clean ");
}

static const sm_evaluation_ops ops = {adversarial_run, adversarial_wants, adversarial_names};
static const sm_plugin adversarial_plugin = {
    .kind = SM_EVALUATION,
    .name = "adversarial",
    .summary = "accuracy and calibration on pictures of some of the classes, as ImageNet-A and ImageNet-R",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite = "Hendrycks et al., Natural Adversarial Examples, CVPR 2021",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(adversarial),
    .create = adversarial_create,
    .ops = &ops,
};
SM_MODULE(&adversarial_plugin)

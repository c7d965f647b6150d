/* corruptions_folder.c — ImageNet-C and CIFAR-C as published. Pictures of ImageNet-C are cut from their centre without
 * resizing where the evaluation has their size. mCE is printed where all fifteen corruptions and five severities are
 * there, and from a tree as ImageNet-C's only: AlexNet's errors are of ImageNet's classes. */
#include "corruptions.h"

#include <math.h>
#include <string.h>

/* The fifteen, then the four that are published beside them. AlexNet: test.py of hendrycks/robustness. */
static const corruption_of known[CORRUPTIONS_MOST] = {
    {"gaussian_noise", false, 88.6428}, {"shot_noise", false, 89.4468},        {"impulse_noise", false, 92.2640},
    {"defocus_blur", false, 81.9880},   {"glass_blur", false, 82.6268},        {"motion_blur", false, 78.5948},
    {"zoom_blur", false, 79.8360},      {"snow", false, 86.6816},              {"frost", false, 82.6572},
    {"fog", false, 81.9324},            {"brightness", false, 56.4592},        {"contrast", false, 85.3204},
    {"elastic_transform", false, 64.6056}, {"pixelate", false, 71.7840},       {"jpeg_compression", false, 60.6500},
    {"speckle_noise", false, 84.5388},  {"gaussian_blur", false, 78.7108},     {"spatter", false, 71.7512},
    {"saturate", false, 65.8248}};
enum { FIFTEEN = 15 };

void corruptions_folder_names(sm_text *out) {
  sm_text_add(out, "mce error15 error19 ");
  for (int i = 0; i < CORRUPTIONS_MOST; i++) sm_text_add(out, "error.%s ", known[i].name);
}

/* ---- what is there ------------------------------------------------------------------------------------- */

typedef struct reading {
  const corruptions *o;
  sm_eval_context *x;
  ask_question *q;
  outside_names classes;
  errors e;
  bool arrays;
  int which[CORRUPTIONS_MOST]; /* in `known` */
} reading;

static int folder_known(const char *name, size_t length) {
  for (int i = 0; i < CORRUPTIONS_MOST; i++)
    if (strlen(known[i].name) == length && !strncmp(known[i].name, name, length)) return i;
  return -1;
}

static sm_status folder_list(reading *r, sm_error *err) {
  const char *root = r->o->folder;
  outside_names files = {0}, folders = {0};
  bool there[CORRUPTIONS_MOST] = {false};
  sm_status status = outside_names_get(root, 'f', &files, err);
  if (!status) status = outside_names_get(root, 'd', &folders, err);
  for (int i = 0; i < files.n; i++) r->arrays |= !strcmp(files.v[i], "labels.npy");
  const outside_names *names = r->arrays ? &files : &folders;
  for (int i = 0; !status && i < names->n; i++) {
    size_t length = strlen(names->v[i]);
    if (r->arrays && (length < 5 || strcmp(names->v[i] + length - 4, ".npy"))) continue;
    if (r->arrays && !strcmp(names->v[i], "labels.npy")) continue;
    const int k = folder_known(names->v[i], r->arrays ? length - 4 : length);
    if (k >= 0) there[k] = true;
    else {
      status = sm_fail(err, SM_EINVAL, "'%s/%s' is none of the 19 published corruptions", root, names->v[i]);
      sm_hint(err, "name the folder that holds gaussian_noise and its like, and take other things out of it");
    }
  }
  outside_names_free(&files);
  outside_names_free(&folders);
  for (int k = 0; !status && k < CORRUPTIONS_MOST; k++)
    if (there[k]) r->which[r->e.corruptions] = k, r->e.of[r->e.corruptions++] = known[k];
  if (!status && !r->e.corruptions)
    status = sm_fail(err, SM_EINVAL, "'%s' holds no corruption: neither NAME/SEVERITY/CLASS nor NAME.npy and labels.npy",
                     root);
  return status;
}

/* ---- one corruption and severity ----------------------------------------------------------------------- */

static sm_status folder_ask(reading *r, outside *pictures, int corruption, int severity, sm_error *err) {
  errors *e = &r->e;
  const int all = e->corruptions * e->severities, at = corruption * e->severities + severity;
  if (!e->wrong) {
    sm_status status = corruptions_table_new(e, pictures->n, err);
    if (status) return status;
  }
  if (pictures->n != e->pictures)
    return sm_fail(err, SM_EINVAL, "'%s' severity %d has %lld pictures, but those before have %lld: they must be the same",
                   e->of[corruption].name, e->severity[severity], (long long)pictures->n, (long long)e->pictures);
  int32_t *class_of = sm_malloc((size_t)pictures->n * sizeof *class_of);
  if (!class_of) return sm_fail(err, SM_ENOMEM, "no memory for classes");
  const int shorter = r->x->height < r->x->width ? r->x->height : r->x->width;
  r->q->request = (sm_picture_request){.own = &outside_ops, .own_self = pictures, .resize = shorter};
  r->q->n = pictures->n;
  r->q->from = (double)at / all, r->q->to = (at + 1.0) / all;
  sm_status status = ask_about(r->x, r->q, class_of, NULL, err);
  for (int64_t i = 0; !status && i < pictures->n; i++)
    if (class_of[i] != ASK_UNREAD) corruptions_note(e, corruption, severity, i, class_of[i] != pictures->label[i]);
  sm_free(class_of);
  return status;
}

static int folder_class_of(void *ctx, const char *name, sm_error *err) {
  const reading *r = ctx;
  return outside_class_of(&r->classes, r->o->folder, name, err);
}

static sm_status folder_tree(reading *r, sm_error *err) {
  sm_status status = SM_OK;
  for (int c = 0; !status && c < r->e.corruptions; c++)
    for (int s = 0; !status && s < r->e.severities; s++) {
      outside pictures;
      sm_text root = {0};
      sm_text_add(&root, "%s/%s/%d", r->o->folder, r->e.of[c].name, r->e.severity[s]);
      if (root.failed) status = sm_fail(err, SM_ENOMEM, "no memory for a path");
      if (!status) status = outside_tree(root.s, folder_class_of, r, &pictures, err);
      if (!status) {
        status = folder_ask(r, &pictures, c, s, err);
        outside_free(&pictures);
      }
      sm_text_free(&root);
    }
  return status;
}

/* ---- arrays -------------------------------------------------------------------------------------------- */

static sm_status folder_array(const reading *r, const char *name, int dims, sm_npy *a, sm_error *err) {
  sm_text path = {0};
  sm_text_add(&path, "%s/%s.npy", r->o->folder, name);
  sm_status status = path.failed ? sm_fail(err, SM_ENOMEM, "no memory for a path")
                                 : sm_npy_read(path.s, (size_t)4 << 30, a, err);
  if (!status && (a->ndim != dims || (dims == 4 && (strcmp(a->dtype, "U8") || a->shape[3] != 3)))) {
    status = sm_fail(err, SM_EFORMAT, "'%s' is not what CIFAR-C holds: %s", path.s,
                     dims == 4 ? "pictures (N, height, width, 3) of type uint8" : "labels (N)");
    sm_npy_free(a);
  }
  sm_text_free(&path);
  return status;
}

static sm_status folder_labels(const reading *r, const sm_npy *a, int32_t **label, sm_error *err) {
  const bool wide = !strcmp(a->dtype, "I64"), middle = !strcmp(a->dtype, "I32"), bytes = !strcmp(a->dtype, "U8");
  if (!wide && !middle && !bytes)
    return sm_fail(err, SM_EFORMAT, "'%s/labels.npy' holds %s, not whole numbers", r->o->folder, a->dtype);
  if (!(*label = sm_malloc((size_t)a->shape[0] * sizeof **label + 1)))
    return sm_fail(err, SM_ENOMEM, "no memory for %lld labels", (long long)a->shape[0]);
  for (int64_t i = 0; i < a->shape[0]; i++) {
    const int64_t v = wide ? ((const int64_t *)a->data)[i]
                           : middle ? ((const int32_t *)a->data)[i] : ((const uint8_t *)a->data)[i];
    if (v < 0 || v >= r->classes.n)
      return sm_fail(err, SM_EINVAL, "'%s/labels.npy': label %lld of picture %lld, but the training pictures have %d classes",
                     r->o->folder, (long long)v, (long long)i, r->classes.n);
    (*label)[i] = (int32_t)v;
  }
  return SM_OK;
}

/* The five severities lie one behind the other. */
static sm_status folder_arrays(reading *r, sm_error *err) {
  sm_npy labels = {0};
  int32_t *label = NULL;
  sm_status status = folder_array(r, "labels", 1, &labels, err);
  if (!status) status = folder_labels(r, &labels, &label, err);
  for (int c = 0; !status && c < r->e.corruptions; c++) {
    sm_npy a = {0};
    status = folder_array(r, r->e.of[c].name, 4, &a, err);
    const int64_t each = status ? 0 : a.shape[0] / SM_SEVERITIES;
    if (!status && (a.shape[0] % SM_SEVERITIES || each < 1 || a.shape[0] != labels.shape[0] || a.shape[1] < 1 ||
                    a.shape[2] < 1 || a.shape[1] > 4096 || a.shape[2] > 4096))
      status = sm_fail(err, SM_EFORMAT, "'%s/%s.npy' holds %lld pictures for %lld labels; there must be as many, five times the set",
                       r->o->folder, r->e.of[c].name, (long long)a.shape[0], (long long)labels.shape[0]);
    for (int s = 0; !status && s < r->e.severities; s++) {
      const int64_t first = each * (r->e.severity[s] - 1);
      outside pictures = {.n = each,
                          .label = label + first,
                          .rgb = (const uint8_t *)a.data + 3 * first * a.shape[1] * a.shape[2],
                          .height = (int)a.shape[1],
                          .width = (int)a.shape[2]};
      status = folder_ask(r, &pictures, c, s, err);
    }
    sm_npy_free(&a);
  }
  sm_free(label);
  sm_npy_free(&labels);
  return status;
}

/* ---- figures ------------------------------------------------------------------------------------------- */

static double folder_figure(const sm_eval_result *r, const char *corruption) {
  char name[48];
  snprintf(name, sizeof name, "error.%.30s", corruption);
  for (int i = 0; i < r->n; i++)
    if (!strcmp(r->figure[i].name, name)) return r->figure[i].value;
  return NAN;
}

/* The mean over the first n of the published ones: plain, and of each over AlexNet's. NaN: some are missing. */
static double folder_mean(const reading *r, const sm_eval_result *result, int n, bool over_alexnet) {
  double sum = 0;
  if (r->e.severities != SM_SEVERITIES) return NAN;
  for (int i = 0; i < n; i++) {
    const double error = folder_figure(result, known[i].name);
    sum += over_alexnet ? 100 * error / known[i].alexnet : error;
  }
  return sum / n;
}

static sm_status folder_add_figures(reading *r, const sm_features *test, sm_eval_result *result, int64_t *n,
                                    sm_error *err) {
  int64_t wrong = 0;
  int32_t *class_of = sm_malloc((size_t)test->n * sizeof *class_of);
  sm_status status = class_of ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for classes");
  if (!status) status = sm_classifier_ask(r->q->classifier, test->x, test->n, class_of, NULL, err);
  for (int64_t i = 0; !status && i < test->n; i++) wrong += test->label[i] >= 0 && class_of[i] != test->label[i];
  sm_free(class_of);
  if (status) return status;
  r->e.other_clean = true;
  r->e.clean_error = 100.0 * (double)wrong / (double)sm_labelled(test);
  sm_figure_hits(result, wrong, sm_labelled(test), "clean");
  if ((status = corruptions_figures(&r->e, result, n, err))) return status;
  const double fifteen = folder_mean(r, result, FIFTEEN, false), all = folder_mean(r, result, CORRUPTIONS_MOST, false);
  if (!isnan(fifteen)) sm_figure_add_in(result, "%", fifteen, "error15");
  if (!isnan(all)) sm_figure_add_in(result, "%", all, "error19");
  if (!isnan(fifteen) && !r->arrays) sm_figure_add_in(result, "%", folder_mean(r, result, FIFTEEN, true), "mce");
  return SM_OK;
}

sm_status corruptions_run_folder(const corruptions *o, sm_eval_context *x, ask_question *q, const sm_features *test,
                                 sm_eval_result *result, sm_error *err) {
  reading r = {.o = o, .x = x, .q = q};
  int64_t n = 0;
  for (int s = 1; s <= SM_SEVERITIES; s++)
    for (int i = 0; i < o->severities.n; i++)
      if (o->severities.v[i] == s) {
        r.e.severity[r.e.severities++] = s;
        break;
      }
  sm_status status = folder_list(&r, err);
  if (!status) status = outside_classes(x, &r.classes, err);
  if (!status) status = r.arrays ? folder_arrays(&r, err) : folder_tree(&r, err);
  if (!status) status = folder_add_figures(&r, test, result, &n, err);
  if (!status)
    snprintf(result->protocol, sizeof result->protocol,
             "errors of %s on %d of the 15 + 4 published corruptions, %d %s, as %s, cut without resizing; %lld pictures; "
             "error: plain mean; error15, error19: of the 15 and of all 19%s",
             sm_classifier_what(q->classifier), r.e.corruptions, r.e.severities,
             sm_plural(r.e.severities, "severity", "severities"), r.arrays ? "CIFAR-C" : "ImageNet-C", (long long)n,
             r.arrays ? "" : "; mce: of the 15, over AlexNet's");
  outside_names_free(&r.classes);
  sm_free(r.e.wrong);
  return status;
}

/* plugins/evaluations/corruptions.c — how much worse a classifier on frozen features gets when test pictures are
 * corrupted: made here (smalti/corrupt.h), or read from ImageNet-C or CIFAR-C (corruptions_folder.c). */
#include "corruptions.h"

#include <math.h>
#include <string.h>

enum { PUBLISHED, FIFTEEN, OWN, ALL };
static const char *const whiches[] = {"published", "fifteen", "own", "all", NULL};
static const char *const scales[] = {"auto", "imagenet", "cifar", NULL};
static const char *const stores[] = {"auto", "raw", "jpeg", NULL};

static const sm_option options[] = {
    SM_PATH(corruptions, folder, "folder", "~",
            "ImageNet-C (NAME/SEVERITY/CLASS/PICTURE) or CIFAR-C (NAME.npy, labels.npy); left out: the corruptions are "
            "made of the test pictures"),
    SM_CHOICE(corruptions, which, "which", "published", whiches,
              "made ones: those that follow the published scripts, these without the extra four, those of our own, or "
              "all"),
    SM_INTS(corruptions, severities, "severities", "[1, 2, 3, 4, 5]", 1, 5, NULL, "of each corruption"),
    SM_CHOICE(corruptions, scale, "parameters", "auto", scales,
              "strengths for pictures of 224 or of 32 pixels; auto: the nearer to the evaluation's size"),
    SM_CHOICE(corruptions, store, "stored", "auto", stores,
              "raw, or through a JPEG file of quality 85 as ImageNet-C's; auto: jpeg with ImageNet's parameters"),
    ASK_CLASSIFIER(corruptions, ask),
    ASK_PICTURES(corruptions, ask),
};

static void corruptions_wants(const void *self, sm_feature_spec *spec) {
  ask_wants(&((const corruptions *)self)->ask, spec);
  spec->slow = true;
}

static bool corruptions_made(const corruptions *o, int c) {
  const sm_corruption_about *about = &sm_corruption_list[c];
  if (o->which == OWN) return !about->published;
  if (o->which == FIFTEEN) return about->published && !about->extra;
  return about->published || o->which == ALL;
}

/* ---- making them --------------------------------------------------------------------------------------- */

typedef struct making {
  sm_corruption what;
  int severity;
  sm_corruption_scale scale;
  bool jpeg;
  uint64_t seed;
} making;

static sm_status corruptions_edit(void *ctx, int64_t index, sm_image *image, sm_image_scratch *scratch, sm_error *err) {
  const making *m = ctx;
  sm_rng rng = sm_rng_make(m->seed, SM_RNG_EVAL, 100 + (uint64_t)m->what, (uint64_t)index, (uint32_t)m->severity);
  sm_status status = sm_image_corrupt(image, m->what, m->severity, m->scale, &rng, scratch, err);
  void *data;
  size_t bytes;
  if (status || !m->jpeg) return status;
  status = sm_image_encode_jpeg(image, 85, &data, &bytes, err);
  if (status) return status;
  status = sm_image_decode(data, bytes, NULL, image, err);
  sm_free(data);
  return status;
}

/* ---- errors -------------------------------------------------------------------------------------------- */

sm_status corruptions_table_new(errors *e, int64_t pictures, sm_error *err) {
  e->pictures = pictures;
  e->wrong = sm_malloc((size_t)(pictures * e->corruptions * e->severities + 1));
  if (!e->wrong) return sm_fail(err, SM_ENOMEM, "no memory for the errors of %lld pictures", (long long)pictures);
  memset(e->wrong, MISSED, (size_t)(pictures * e->corruptions * e->severities + 1));
  return SM_OK;
}

void corruptions_note(errors *e, int corruption, int severity, int64_t picture, bool wrong) {
  e->wrong[(picture * e->corruptions + corruption) * e->severities + severity] = wrong;
}

enum { COLUMNS = 4 + SM_SEVERITIES + CORRUPTIONS_MOST };

/* Which columns a value goes to: error or error.own, its severity, its corruption. */
static void corruptions_row(const errors *e, const uint8_t *wrong, double clean, float *row) {
  int cells[2] = {0};
  double sum[2] = {0};
  for (int j = 0; j < COLUMNS; j++) row[j] = 0;
  for (int c = 0; c < e->corruptions; c++)
    for (int s = 0; s < e->severities; s++) {
      const double v = 100.0 * wrong[c * e->severities + s];
      const int own = e->of[c].own;
      sum[own] += v, cells[own]++;
      row[4 + s] += (float)(v / e->corruptions);
      row[4 + SM_SEVERITIES + c] += (float)(v / e->severities);
    }
  for (int own = 0; own < 2; own++) {
    row[2 * own] = cells[own] ? (float)(sum[own] / cells[own]) : 0;
    row[2 * own + 1] = row[2 * own] - (float)clean;
  }
}

static void corruptions_add(const errors *e, const double *mean, const sm_interval *interval, int column,
                            sm_eval_result *r, const char *name) {
  if (r->n >= SM_FIGURES_MAX) return;
  const int at = r->n;
  sm_figure_add_in(r, "%", mean[column], "%s", name);
  if (isnan(mean[column])) return;
  const bool borrowed = e->other_clean && (column == 1 || column == 3);
  if (!borrowed) r->interval[at] = interval[column], r->has_interval[at] = true;
}

/* The error the other way round, for columns of a table, where more is better. */
static void corruptions_accuracy(double error, sm_interval of, sm_eval_result *r) {
  if (r->n >= SM_FIGURES_MAX) return;
  r->interval[r->n] = (sm_interval){100 - of.high, 100 - of.low};
  r->has_interval[r->n] = true;
  sm_figure_add_in(r, "%", 100 - error, "accuracy");
}

/* e->clean (pictures): 1: wrong, where the clean pictures are the same ones; else e->clean_error is of others. */
sm_status corruptions_figures(const errors *e, sm_eval_result *r, int64_t *counted, sm_error *err) {
  const int64_t cells = (int64_t)e->corruptions * e->severities;
  double mean[COLUMNS] = {0};
  sm_interval interval[COLUMNS];
  int64_t n = 0, clean = 0;
  bool any[2] = {false};
  char name[48];
  float *v = sm_malloc((size_t)(e->pictures + 1) * COLUMNS * sizeof *v);
  if (!v) return sm_fail(err, SM_ENOMEM, "no memory for the errors of %lld pictures", (long long)e->pictures);
  for (int64_t i = 0; i < e->pictures; i++) { /* those that could be read every time */
    if (memchr(e->wrong + i * cells, MISSED, (size_t)cells) || (!e->other_clean && e->clean[i] == MISSED)) continue;
    corruptions_row(e, e->wrong + i * cells, e->other_clean ? e->clean_error : 100.0 * e->clean[i],
                    v + n * COLUMNS);
    clean += !e->other_clean && e->clean[i];
    for (int j = 0; j < COLUMNS; j++) mean[j] += (double)v[n * COLUMNS + j];
    n++;
  }
  for (int j = 0; j < COLUMNS; j++) mean[j] = n ? mean[j] / (double)n : NAN;
  sm_status status = n ? sm_mean_intervals(v, n, COLUMNS, interval, err)
                       : sm_fail(err, SM_EINVAL, "no labelled picture could be read in every corruption");
  sm_free(v);
  if (status) return status;
  for (int c = 0; c < e->corruptions; c++) any[e->of[c].own] = true;
  if (!e->other_clean) sm_figure_hits(r, clean, n, "clean");
  if (any[0]) corruptions_add(e, mean, interval, 0, r, "error"), corruptions_add(e, mean, interval, 1, r, "relative");
  if (any[1]) {
    corruptions_add(e, mean, interval, 2, r, "error.own");
    corruptions_add(e, mean, interval, 3, r, "relative.own");
  }
  for (int s = 0; s < e->severities; s++) {
    snprintf(name, sizeof name, "error.s%d", e->severity[s]);
    corruptions_add(e, mean, interval, 4 + s, r, name);
  }
  for (int c = 0; c < e->corruptions; c++) {
    snprintf(name, sizeof name, "error.%.30s", e->of[c].name);
    corruptions_add(e, mean, interval, 4 + SM_SEVERITIES + c, r, name);
  }
  if (any[0]) corruptions_accuracy(mean[0], interval[0], r);
  *counted = n;
  return SM_OK;
}

/* ---- running ------------------------------------------------------------------------------------------- */

static void corruptions_severities(const corruptions *o, errors *e) {
  for (int s = 1; s <= SM_SEVERITIES; s++)
    for (int i = 0; i < o->severities.n; i++)
      if (o->severities.v[i] == s) {
        e->severity[e->severities++] = s;
        break;
      }
}

static sm_status corruptions_ask_made(const corruptions *o, sm_eval_context *x, ask_question *q, making *m,
                                      const sm_picture_list *list, const int64_t *index, errors *e, sm_error *err) {
  int32_t *class_of = sm_malloc((size_t)list->n * sizeof *class_of);
  sm_status status = class_of ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for classes");
  const int all = e->corruptions * e->severities;
  q->request = (sm_picture_request){.split = "test", .index = index, .n = e->pictures, .edit = corruptions_edit, .edit_ctx = m};
  q->n = list->n;
  for (int c = 0, k = 0; c < SM_CORRUPTIONS; c++) {
    if (!corruptions_made(o, c)) continue;
    for (int s = 0; !status && s < e->severities; s++) {
      m->what = (sm_corruption)c, m->severity = e->severity[s];
      q->from = (double)(k * e->severities + s) / all, q->to = q->from + 1.0 / all;
      status = ask_about(x, q, class_of, NULL, err);
      for (int64_t i = 0; !status && i < e->pictures; i++)
        if (class_of[index[i]] != ASK_UNREAD)
          corruptions_note(e, k, s, i, class_of[index[i]] != list->label[index[i]]);
    }
    k++;
  }
  sm_free(class_of);
  return status;
}

static sm_status corruptions_run_made(const corruptions *o, sm_eval_context *x, ask_question *q,
                                      const sm_features *test, sm_eval_result *result, sm_error *err) {
  sm_picture_list list;
  int64_t *index = NULL, n = 0;
  errors e = {0};
  making m = {.seed = (uint64_t)o->ask.seed};
  m.scale = o->scale ? (sm_corruption_scale)(o->scale - 1) : sm_corruption_scale_for(x->height, x->width);
  m.jpeg = o->store == 2 || (o->store == 0 && m.scale == SM_CORRUPT_FOR_224);
  corruptions_severities(o, &e);
  for (int c = 0; c < SM_CORRUPTIONS; c++)
    if (corruptions_made(o, c))
      e.of[e.corruptions++] = (corruption_of){sm_corruption_list[c].name, !sm_corruption_list[c].published, 0};
  sm_status status = sm_picture_list_get(x, "test", &list, err);
  if (!status) status = ask_choose(&o->ask, &list, &index, &n, err);
  if (!status) status = corruptions_table_new(&e, n, err);
  if (!status && !(e.clean = sm_malloc((size_t)n + 1))) status = sm_fail(err, SM_ENOMEM, "no memory for errors");
  if (!status) {
    memset(e.clean, MISSED, (size_t)n + 1);
    status = ask_clean(q, test, n, index, e.clean, err);
  }
  if (!status) status = corruptions_ask_made(o, x, q, &m, &list, index, &e, err);
  if (!status) status = corruptions_figures(&e, result, &n, err);
  if (!status)
    snprintf(result->protocol, sizeof result->protocol,
             "plain mean error of %s; %d made corruptions (%s) of %d %s, %s's strengths, %s; %lld pictures, seed %lld; "
             "not mCE",
             sm_classifier_what(q->classifier), e.corruptions, whiches[o->which], e.severities,
             sm_plural(e.severities, "severity", "severities"),
             m.scale == SM_CORRUPT_FOR_32 ? "CIFAR-C" : "ImageNet-C", m.jpeg ? "JPEG 85" : "raw", (long long)n,
             (long long)o->ask.seed);
  sm_free(index);
  sm_free(e.clean);
  sm_free(e.wrong);
  return status;
}

static sm_status corruptions_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  const corruptions *o = self;
  ask_question q = {0};
  sm_features test;
  x->doing = "corrupted pictures";
  sm_status status = ask_open(x, &o->ask, &q, &test, err);
  if (!status && o->folder) status = corruptions_run_folder(o, x, &q, &test, result, err);
  else if (!status) status = corruptions_run_made(o, x, &q, &test, result, err);
  ask_close(&q);
  return status;
}

static void corruptions_names(const void *self, sm_text *out) {
  const corruptions *o = self;
  sm_text_add(out, "clean error relative accuracy ");
  for (int i = 0; i < o->severities.n; i++) sm_text_add(out, "error.s%d ", (int)o->severities.v[i]);
  if (o->folder) {
    corruptions_folder_names(out);
    return;
  }
  if (o->which >= OWN) sm_text_add(out, "error.own relative.own ");
  for (int c = 0; c < SM_CORRUPTIONS; c++)
    if (corruptions_made(o, c)) sm_text_add(out, "error.%s ", sm_corruption_list[c].name);
}

static const sm_evaluation_ops ops = {corruptions_run, corruptions_wants, corruptions_names};
static const sm_plugin plugin = {
    .kind = SM_EVALUATION,
    .name = "corruptions",
    .summary = "error of a classifier on frozen features when test pictures are corrupted",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite = "Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, "
            "ICLR 2019",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(corruptions),
    .ops = &ops,
};
SM_MODULE(&plugin)

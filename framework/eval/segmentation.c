/* segmentation.c — see smalti/segmentation.h. One row of sums for each unit, so that a resample adds rows. */
#include <math.h>
#include <string.h>

#include <smalti/measure.h>
#include <smalti/segmentation.h>

enum { DRAWS = 2000, FIGURES = 3, BOTH = 0, TAKEN = 1, LABELLED = 2 };

struct sm_segmentation {
  int classes, ignore;
  int64_t units, room, last; /* rows, and the number of the last one */
  int64_t *row;              /* (units, 3, classes) */
  int64_t *sum;              /* (3, classes) */
};

sm_status sm_segmentation_new(int classes, int ignore, sm_segmentation **out, sm_error *err) {
  *out = NULL;
  if (classes < 1 || classes > 65536) return sm_fail(err, SM_EINVAL, "%d classes: there must be 1 to 65536", classes);
  sm_segmentation *s = sm_calloc(1, sizeof *s);
  int64_t *sum = sm_calloc(3 * (size_t)classes, sizeof *sum);
  if (!s || !sum) {
    sm_free(s);
    sm_free(sum);
    return sm_fail(err, SM_ENOMEM, "no memory for sums of %d classes", classes);
  }
  *s = (sm_segmentation){.classes = classes, .ignore = ignore, .last = -1, .sum = sum};
  *out = s;
  return SM_OK;
}

void sm_segmentation_free(sm_segmentation *s) {
  if (!s) return;
  sm_free(s->row);
  sm_free(s->sum);
  sm_free(s);
}

/* ---- sums ---------------------------------------------------------------------------------------------- */

static sm_status segmentation_unit(sm_segmentation *s, int64_t unit, int64_t **row, sm_error *err) {
  const size_t wide = 3 * (size_t)s->classes;
  if (s->units && unit == s->last) return *row = s->row + (size_t)(s->units - 1) * wide, SM_OK;
  if (unit < s->last) return sm_fail(err, SM_EINTERNAL, "a segmentation's pictures come out of order");
  if (s->units == s->room) {
    const int64_t room = s->room ? 2 * s->room : 64;
    int64_t *more = sm_realloc(s->row, (size_t)room * wide * sizeof *more);
    if (!more) return sm_fail(err, SM_ENOMEM, "no memory for sums of %lld pictures", (long long)room);
    s->row = more;
    s->room = room;
  }
  *row = s->row + (size_t)s->units++ * wide;
  memset(*row, 0, wide * sizeof **row);
  s->last = unit;
  return SM_OK;
}

static sm_status segmentation_check(const sm_segmentation *s, const uint16_t *label, const uint16_t *guess,
                                    int64_t n, sm_error *err) {
  for (int64_t i = 0; i < n; i++) {
    if (label[i] == s->ignore) continue;
    if (label[i] >= s->classes)
      return sm_fail(err, SM_EINVAL, "a label is %d, but there are %d classes", label[i], s->classes);
    if (guess[i] >= s->classes)
      return sm_fail(err, SM_EINVAL, "a prediction is %d, but there are %d classes", guess[i], s->classes);
  }
  return SM_OK;
}

sm_status sm_segmentation_add(sm_segmentation *s, const uint16_t *label, const uint16_t *guess, int64_t n,
                              int64_t unit, sm_error *err) {
  int64_t *row = NULL;
  const size_t k = (size_t)s->classes;
  sm_status status = segmentation_check(s, label, guess, n, err);
  if (!status) status = segmentation_unit(s, unit, &row, err);
  for (int64_t i = 0; !status && i < n; i++) {
    if (label[i] == s->ignore) continue;
    int64_t *const to[] = {row, s->sum};
    for (int t = 0; t < 2; t++) {
      to[t][BOTH * k + label[i]] += label[i] == guess[i];
      to[t][TAKEN * k + guess[i]]++;
      to[t][LABELLED * k + label[i]]++;
    }
  }
  return status;
}

static sm_segmentation_sums segmentation_view(const int64_t *sum, int classes) {
  return (sm_segmentation_sums){classes, sum + (size_t)BOTH * (size_t)classes, sum + (size_t)TAKEN * (size_t)classes,
                                sum + (size_t)LABELLED * (size_t)classes};
}

sm_segmentation_sums sm_segmentation_of(const sm_segmentation *s) { return segmentation_view(s->sum, s->classes); }

/* ---- figures ------------------------------------------------------------------------------------------- */

static double segmentation_ratio(int64_t a, int64_t b) { return b ? (double)a / (double)b : NAN; }

double sm_segmentation_iou(const sm_segmentation_sums *s, int c) {
  return segmentation_ratio(s->both[c], s->taken[c] + s->labelled[c] - s->both[c]);
}
double sm_segmentation_accuracy(const sm_segmentation_sums *s, int c) {
  return segmentation_ratio(s->both[c], s->labelled[c]);
}

/* The means, where a class that has no labelled pixel here takes its ratios from `whole`; NULL: it has its
 * own. */
static sm_segmentation_means segmentation_mean(const sm_segmentation_sums *s,
                                               const sm_segmentation_sums *whole) {
  int64_t both = 0, labelled = 0, ious = 0, accuracies = 0;
  double iou = 0, accuracy = 0;
  for (int c = 0; c < s->classes; c++) {
    const sm_segmentation_sums *of = whole && !s->labelled[c] ? whole : s;
    const double i = sm_segmentation_iou(of, c), a = sm_segmentation_accuracy(of, c);
    both += s->both[c], labelled += s->labelled[c];
    if (!isnan(i)) iou += i, ious++;
    if (!isnan(a)) accuracy += a, accuracies++;
  }
  return (sm_segmentation_means){ious ? iou / (double)ious : NAN, segmentation_ratio(both, labelled),
                                 accuracies ? accuracy / (double)accuracies : NAN};
}

sm_segmentation_means sm_segmentation_mean(const sm_segmentation_sums *s) {
  return segmentation_mean(s, NULL);
}

/* Percentiles of the resamples' means: ratios of resampled sums, over the classes that the figure itself
 * is over. A class that a draw has no label of would leave the mean, or count as 0 where it is taken for
 * another, and draws would lie about another figure than the one they are of; it keeps the set's own ratio
 * there. Draws without a labelled pixel have none. */
static sm_status segmentation_bootstrap(const sm_segmentation *s, sm_interval at[FIGURES], bool *has, sm_error *err) {
  const size_t wide = 3 * (size_t)s->classes;
  *has = false;
  if (s->units < 2) return SM_OK;
  const sm_segmentation_sums whole = sm_segmentation_of(s);
  double *drawn = sm_malloc((size_t)FIGURES * DRAWS * sizeof *drawn);
  int64_t *sum = sm_malloc(wide * sizeof *sum), n = 0;
  if (!drawn || !sum) {
    sm_free(drawn);
    sm_free(sum);
    return sm_fail(err, SM_ENOMEM, "no memory for an interval");
  }
  for (int d = 0; d < DRAWS; d++) {
    sm_rng rng = sm_rng_make(0, SM_RNG_EVAL, 0, (uint64_t)d, 21);
    memset(sum, 0, wide * sizeof *sum);
    for (int64_t u = 0; u < s->units; u++) {
      const int64_t *row = s->row + (size_t)sm_rng_below(&rng, (uint32_t)s->units) * wide;
      for (size_t i = 0; i < wide; i++) sum[i] += row[i];
    }
    const sm_segmentation_sums view = segmentation_view(sum, s->classes);
    const sm_segmentation_means m = segmentation_mean(&view, &whole);
    if (isnan(m.all)) continue;
    drawn[n] = m.iou, drawn[DRAWS + n] = m.all, drawn[2 * DRAWS + n] = m.accuracy;
    n++;
  }
  for (int f = 0; f < FIGURES && n > 0; f++) {
    sm_drawn_interval(drawn + (size_t)f * DRAWS, (size_t)n, &at[f].low, &at[f].high);
    at[f].low *= 100, at[f].high *= 100;
  }
  *has = n > 0;
  sm_free(drawn);
  sm_free(sum);
  return SM_OK;
}

sm_status sm_segmentation_figures(const sm_segmentation *s, const char *(*name)(const void *ctx, int c),
                                  const void *ctx, sm_eval_result *r, sm_error *err) {
  const sm_segmentation_sums sums = sm_segmentation_of(s);
  const sm_segmentation_means m = sm_segmentation_mean(&sums);
  const char *const names[FIGURES] = {"miou", "aacc", "macc"};
  const double value[FIGURES] = {m.iou, m.all, m.accuracy};
  sm_interval at[FIGURES];
  bool has;
  sm_status status = segmentation_bootstrap(s, at, &has, err);
  for (int f = 0; !status && f < FIGURES && r->n < SM_FIGURES_MAX; f++) {
    if (has) r->interval[r->n] = at[f], r->has_interval[r->n] = true;
    sm_figure_add_in(r, "%", 100 * value[f], "%s", names[f]);
  }
  for (int c = 0; !status && name && c < s->classes; c++)
    sm_figure_add_in(r, "%", 100 * sm_segmentation_iou(&sums, c), "iou_%.40s", name(ctx, c));
  return status;
}

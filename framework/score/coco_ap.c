/* coco_ap.c — COCO's average precision, figure by figure as cocoeval.py has it: the same comparisons, the same
 * order of sums.
 *
 * First all detections of a class and picture are matched, at each threshold and range of areas; the marks that this
 * leaves are then accumulated, once for the figures and once for each resample of the pictures. */
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "framework/score/score.h"

enum { T = SM_COCO_THRESHOLDS, R = SM_COCO_RECALLS, A = SM_COCO_AREAS, M = SM_COCO_DEPTHS, MOST = 100 };
static const int coco_depths[M] = {1, 10, MOST};
static const double coco_areas[A][2] = {{0, 1e10}, {0, 1024}, {1024, 9216}, {9216, 1e10}};

const char *const sm_coco_figure_names[SM_COCO_FIGURES] = {
    "AP",  "AP50", "AP75",  "AP_small", "AP_medium", "AP_large",
    "AR1", "AR10", "AR100", "AR_small", "AR_medium", "AR_large",
};

typedef struct coco_sorted { /* an object in the order of matching */
  int category, image, at;
  double score;
} coco_sorted;

typedef struct coco_mark { /* what became of a detection; bit t: threshold t */
  double score;
  int category, image, rank; /* rank: in its picture and class */
  uint16_t hit[A], ignored[A];
} coco_mark;

typedef struct coco_wanted { /* labels of a class in a picture that count */
  int category, image, n[A];
} coco_wanted;

typedef struct coco_scoring {
  const sm_coco *truth, *found;
  bool masks;
  double thresholds[T], recalls[R];
  coco_sorted *labels, *answers;
  coco_mark *marks;
  coco_wanted *wanted;
  int n_marks, n_wanted;
  double *iou; /* of one picture and class: [detection][label] */
  bool *taken;
  int *order;
} coco_scoring;

/* numpy.linspace */
static void coco_linspace(double low, double high, int n, double *out) {
  const double step = (high - low) / (n - 1);
  for (int i = 0; i < n; i++) out[i] = i * step + low;
  out[n - 1] = high;
}

static sm_status coco_no_memory_to_score(sm_error *err) {
  return sm_fail(err, SM_ENOMEM, "no memory to score the detections");
}

/* ---- one category --------------------------------------------------------------------------------------- */

/* By category, the order kept in each; then they have the first one. */
static sm_status coco_merge(sm_coco *c, sm_error *err) {
  const size_t bytes = (size_t)c->n_objects * sizeof *c->objects;
  sm_coco_object *sorted = sm_malloc(bytes + 1);
  int n = 0;
  if (!sorted) return coco_no_memory_to_score(err);
  for (int k = 0; k < c->n_categories && n < c->n_objects; k++)
    for (int i = 0; i < c->n_objects; i++)
      if (c->objects[i].category == k) sorted[n++] = c->objects[i];
  for (int i = 0; i < n; i++) sorted[i].category = 0;
  if (n) memcpy(c->objects, sorted, bytes);
  sm_free(sorted);
  return SM_OK;
}

sm_status sm_coco_one_category(sm_coco *truth, sm_coco *found, sm_error *err) {
  sm_coco_category *all = sm_arena_alloc(truth->arena, sizeof *all);
  sm_status status = all ? coco_merge(truth, err) : coco_no_memory_to_score(err);
  if (!status) status = coco_merge(found, err);
  if (status) return status;
  *all = (sm_coco_category){.id = 1, .name = "object"};
  truth->categories = found->categories = all;
  truth->n_categories = found->n_categories = 1;
  return SM_OK;
}

/* ---- matching ------------------------------------------------------------------------------------------- */

static int coco_sorted_order(const void *a, const void *b) {
  const coco_sorted *x = a, *y = b;
  if (x->category != y->category) return x->category < y->category ? -1 : 1;
  if (x->image != y->image) return x->image < y->image ? -1 : 1;
  if (x->score != y->score) return x->score > y->score ? -1 : 1;
  return (x->at > y->at) - (x->at < y->at);
}

static coco_sorted *coco_sort(const sm_coco *c, bool by_score) {
  coco_sorted *list = sm_malloc(((size_t)c->n_objects + 1) * sizeof *list);
  for (int i = 0; list && i < c->n_objects; i++)
    list[i] =
        (coco_sorted){c->objects[i].category, c->objects[i].image, i, by_score ? c->objects[i].score : 0};
  if (list && c->n_objects) qsort(list, (size_t)c->n_objects, sizeof *list, coco_sorted_order);
  return list;
}

static int coco_group(const coco_sorted *list, int n, int from) {
  int to = from + 1;
  while (to < n && list[to].category == list[from].category && list[to].image == list[from].image) to++;
  return to;
}

static bool coco_outside(double area, int a) { return area < coco_areas[a][0] || area > coco_areas[a][1]; }

static void coco_overlaps(coco_scoring *s, const coco_sorted *d, int nd, const coco_sorted *g, int ng) {
  for (int i = 0; i < nd; i++)
    for (int j = 0; j < ng; j++) {
      const sm_coco_object *x = &s->found->objects[d[i].at], *y = &s->truth->objects[g[j].at];
      s->iou[(size_t)i * (size_t)ng + (size_t)j] =
          s->masks ? sm_rle_iou(&x->mask, &y->mask, y->crowd) : sm_box_iou(x->box, y->box, y->crowd);
    }
}

/* The label for detection i at one threshold, or −1: the best that is free, the later of equal ones; labels that
 * count before those that do not. order: `counted` labels that count, then the others. */
static int coco_best(const coco_scoring *s, const coco_sorted *g, int ng, int counted, int i,
                     double threshold) {
  double best = threshold < 1 - 1e-10 ? threshold : 1 - 1e-10;
  int m = -1;
  for (int k = 0; k < ng; k++) {
    const int j = s->order[k];
    const double iou = s->iou[(size_t)i * (size_t)ng + (size_t)j];
    if (s->taken[k] && !s->truth->objects[g[j].at].crowd) continue;
    if (m >= 0 && m < counted && k >= counted) break;
    if (iou < best) continue;
    best = iou;
    m = k;
  }
  return m;
}

static void coco_match(coco_scoring *s, coco_mark *marks, const coco_sorted *d, int nd, const coco_sorted *g,
                       int ng, int a, int *count) {
  int counted = 0, rest = 0;
  for (int pass = 0; pass < 2; pass++) {
    for (int j = 0; j < ng; j++) {
      const sm_coco_object *label = &s->truth->objects[g[j].at];
      const bool ignored = label->crowd || coco_outside(label->area, a);
      if (ignored == (pass == 1)) s->order[counted + rest] = j, pass ? rest++ : counted++;
    }
  }
  *count = counted;
  for (int t = 0; t < T; t++) {
    memset(s->taken, 0, (size_t)ng * sizeof *s->taken);
    for (int i = 0; i < nd; i++) {
      const int m = coco_best(s, g, ng, counted, i, s->thresholds[t]);
      const bool ignored = m >= 0 ? m >= counted : coco_outside(s->found->objects[d[i].at].area, a);
      if (m >= 0) s->taken[m] = true;
      marks[i].hit[a] |= (uint16_t)((m >= 0) << t);
      marks[i].ignored[a] |= (uint16_t)(ignored << t);
    }
  }
}

static sm_status coco_match_room(coco_scoring *s, sm_error *err) {
  const int ng = s->truth->n_objects, nd = s->found->n_objects;
  int most = 0;
  for (int i = 0, to; i < ng; i = to) {
    to = coco_group(s->labels, ng, i);
    most = to - i > most ? to - i : most;
  }
  s->iou = sm_malloc(((size_t)most * MOST + 1) * sizeof *s->iou);
  s->taken = sm_malloc((size_t)most + 1);
  s->order = sm_malloc(((size_t)most + 1) * sizeof *s->order);
  s->marks = sm_calloc((size_t)nd + 1, sizeof *s->marks);
  s->wanted = sm_calloc((size_t)ng + 1, sizeof *s->wanted);
  return s->iou && s->taken && s->order && s->marks && s->wanted ? SM_OK : coco_no_memory_to_score(err);
}

static int coco_mark_order(const void *a, const void *b) { /* a stable sort by score within a class */
  const coco_mark *x = a, *y = b;
  if (x->category != y->category) return x->category < y->category ? -1 : 1;
  if (x->score != y->score) return x->score > y->score ? -1 : 1;
  if (x->image != y->image) return x->image < y->image ? -1 : 1;
  return (x->rank > y->rank) - (x->rank < y->rank);
}

/* Walks both sorted lists, group by group; a group may be in one of them only. */
static void coco_match_all(coco_scoring *s) {
  const int ng = s->truth->n_objects, nd = s->found->n_objects;
  for (int i = 0, j = 0; i < nd || j < ng;) {
    int way = i == nd ? 1 : j == ng ? -1 : 0;
    if (!way) {
      const coco_sorted x = {s->answers[i].category, s->answers[i].image, 0, 0},
                        y = {s->labels[j].category, s->labels[j].image, 0, 0};
      way = coco_sorted_order(&x, &y);
    }
    const int di = way <= 0 ? coco_group(s->answers, nd, i) : i,
              gj = way >= 0 ? coco_group(s->labels, ng, j) : j;
    const int kept = di - i < MOST ? di - i : MOST;
    const coco_sorted *d = s->answers + i, *g = s->labels + j, *either = kept ? d : g;
    coco_mark *marks = s->marks + s->n_marks;
    coco_wanted *wanted = &s->wanted[s->n_wanted];
    *wanted = (coco_wanted){.category = either->category, .image = either->image};
    for (int k = 0; k < kept; k++)
      marks[k] = (coco_mark){.score = d[k].score, .category = d[k].category, .image = d[k].image, .rank = k};
    coco_overlaps(s, d, kept, g, gj - j);
    for (int a = 0; a < A; a++) coco_match(s, marks, d, kept, g, gj - j, a, &wanted->n[a]);
    s->n_marks += kept;
    s->n_wanted += gj > j;
    i = di;
    j = gj;
  }
  if (s->n_marks) qsort(s->marks, (size_t)s->n_marks, sizeof *s->marks, coco_mark_order);
}

/* ---- accumulation ---------------------------------------------------------------------------------------- */

typedef struct coco_curve { /* of one class and range of areas, at one threshold and depth */
  double precision[R], scores[R], recall;
} coco_curve;

/* `times`: how often each picture counts; NULL: once. at: scratch for the marks of a class, [2][n]. */
static void coco_accumulate(const coco_scoring *s, const coco_mark *marks, int n, int labels, int a, int m,
                            int t, const int *times, double *at, coco_curve *curve) {
  double *recall = at, *precision = at + n;
  int64_t hits = 0, misses = 0;
  int kept = 0;
  memset(curve, 0, sizeof *curve);
  int *which = (int *)(at + 2 * n);
  for (int i = 0; i < n; i++) {
    const int w = times ? times[marks[i].image] : 1;
    if (!w || marks[i].rank >= coco_depths[m]) continue;
    const bool hit = marks[i].hit[a] >> t & 1, ignored = marks[i].ignored[a] >> t & 1;
    hits += ignored || !hit ? 0 : w;
    misses += ignored || hit ? 0 : w;
    recall[kept] = (double)hits / labels;
    precision[kept] = (double)hits / ((double)misses + (double)hits + DBL_EPSILON);
    which[kept++] = i;
  }
  curve->recall = kept ? recall[kept - 1] : 0;
  for (int i = kept - 1; i > 0; i--)
    if (precision[i] > precision[i - 1]) precision[i - 1] = precision[i];
  for (int r = 0, i = 0; r < R; r++) {
    while (i < kept && recall[i] < s->recalls[r]) i++;
    if (i == kept) break;
    curve->precision[r] = precision[i];
    curve->scores[r] = marks[which[i]].score;
  }
}

/* Labels of a class that count, in range a. */
static int coco_labels(const coco_scoring *s, int category, int a, const int *times) {
  int64_t n = 0;
  for (int i = 0; i < s->n_wanted; i++)
    if (s->wanted[i].category == category)
      n += (int64_t)s->wanted[i].n[a] * (times ? times[s->wanted[i].image] : 1);
  return (int)n;
}

static size_t coco_at_precision(int t, int r, int k, int a, int K) {
  return (((size_t)t * R + (size_t)r) * (size_t)K + (size_t)k) * A + (size_t)a;
}

static size_t coco_at_recall(int t, int k, int a, int m, int K) {
  return (((size_t)t * (size_t)K + (size_t)k) * A + (size_t)a) * M + (size_t)m;
}

static void coco_fill(const coco_scoring *s, int k, const coco_mark *marks, int n, const int *times,
                      double *scratch, sm_coco_ap *out) {
  const int K = out->categories;
  coco_curve curve;
  for (int a = 0; a < A; a++) {
    const int labels = coco_labels(s, k, a, times);
    for (int m = 0; labels && m < M; m++)
      for (int t = 0; t < T; t++) {
        coco_accumulate(s, marks, n, labels, a, m, t, times, scratch, &curve);
        out->recall[coco_at_recall(t, k, a, m, K)] = curve.recall;
        for (int r = 0; m == M - 1 && r < R; r++) {
          out->precision[coco_at_precision(t, r, k, a, K)] = curve.precision[r];
          if (!a) out->scores[((size_t)t * R + (size_t)r) * (size_t)K + (size_t)k] = curve.scores[r];
        }
      }
  }
}

/* ---- the twelve figures ---------------------------------------------------------------------------------- */

/* numpy's sum: pairwise, eight at a time. */
static double coco_sum(const double *x, size_t n) {
  if (n < 8) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    return sum;
  }
  if (n > 128) {
    const size_t half = n / 2 - n / 2 % 8;
    return coco_sum(x, half) + coco_sum(x + half, n - half);
  }
  double r[8];
  size_t i = 8;
  memcpy(r, x, sizeof r);
  for (; i + 8 <= n; i += 8)
    for (int j = 0; j < 8; j++) r[j] += x[i + (size_t)j];
  double sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
  for (; i < n; i++) sum += x[i];
  return sum;
}

static double coco_mean(const double *x, size_t n) { return n ? coco_sum(x, n) / (double)n : -1; }

static double coco_precision(const sm_coco_ap *ap, int from, int to, int a, double *scratch) {
  size_t n = 0;
  for (int t = from; t < to; t++)
    for (int r = 0; r < R; r++)
      for (int k = 0; k < ap->categories; k++) {
        const double p = ap->precision[coco_at_precision(t, r, k, a, ap->categories)];
        if (p > -1) scratch[n++] = p;
      }
  return coco_mean(scratch, n);
}

static double coco_recall(const sm_coco_ap *ap, int a, int m, double *scratch) {
  size_t n = 0;
  for (int t = 0; t < T; t++)
    for (int k = 0; k < ap->categories; k++) {
      const double p = ap->recall[coco_at_recall(t, k, a, m, ap->categories)];
      if (p > -1) scratch[n++] = p;
    }
  return coco_mean(scratch, n);
}

static void coco_figures(const sm_coco_ap *ap, double *scratch, double figures[SM_COCO_FIGURES]) {
  figures[0] = coco_precision(ap, 0, T, 0, scratch);
  figures[1] = coco_precision(ap, 0, 1, 0, scratch);
  figures[2] = coco_precision(ap, 5, 6, 0, scratch);
  for (int a = 1; a < A; a++) figures[2 + a] = coco_precision(ap, 0, T, a, scratch);
  for (int m = 0; m < M; m++) figures[6 + m] = coco_recall(ap, 0, m, scratch);
  for (int a = 1; a < A; a++) figures[8 + a] = coco_recall(ap, a, M - 1, scratch);
}

double sm_coco_category_ap(const sm_coco_ap *ap, int k) {
  double values[T * R];
  size_t n = 0;
  for (int t = 0; t < T; t++)
    for (int r = 0; r < R; r++) {
      const double p = ap->precision[coco_at_precision(t, r, k, 0, ap->categories)];
      if (p > -1) values[n++] = p;
    }
  return coco_mean(values, n);
}

/* ---- all of it ------------------------------------------------------------------------------------------- */

static sm_status coco_ap_new(sm_coco_ap *ap, int K, sm_error *err) {
  const size_t cells = (size_t)K + 1;
  *ap = (sm_coco_ap){.categories = K};
  ap->precision = sm_malloc(cells * T * R * A * sizeof *ap->precision);
  ap->recall = sm_malloc(cells * T * A * M * sizeof *ap->recall);
  ap->scores = sm_malloc(cells * T * R * sizeof *ap->scores);
  return ap->precision && ap->recall && ap->scores ? SM_OK : coco_no_memory_to_score(err);
}

static void coco_ap_clear(sm_coco_ap *ap) {
  const size_t K = (size_t)ap->categories;
  for (size_t i = 0; i < K * T * R * A; i++) ap->precision[i] = -1;
  for (size_t i = 0; i < K * T * A * M; i++) ap->recall[i] = -1;
  for (size_t i = 0; i < K * T * R; i++) ap->scores[i] = -1;
}

void sm_coco_ap_free(sm_coco_ap *ap) {
  sm_free(ap->precision);
  sm_free(ap->recall);
  sm_free(ap->scores);
  *ap = (sm_coco_ap){0};
}

static void coco_round(const coco_scoring *s, const int *times, double *scratch, sm_coco_ap *ap,
                       double *figures) {
  coco_ap_clear(ap);
  for (int k = 0, from = 0, to; k < ap->categories; k++, from = to) {
    for (to = from; to < s->n_marks && s->marks[to].category == k;) to++;
    coco_fill(s, k, s->marks + from, to - from, times, scratch, ap);
  }
  coco_figures(ap, scratch, figures);
}

/* Pictures drawn with replacement; a class without labels in a draw is left out of it. */
static sm_status coco_interval(const coco_scoring *s, int resamples, uint64_t seed, double *scratch,
                               sm_coco_ap *ap, sm_error *err) {
  const int images = s->truth->n_images;
  sm_coco_ap draw;
  sm_status status = coco_ap_new(&draw, ap->categories, err);
  int *times = sm_malloc(((size_t)images + 1) * sizeof *times);
  double *all = sm_malloc((size_t)resamples * SM_COCO_FIGURES * sizeof *all), figures[SM_COCO_FIGURES];
  if (!status && (!times || !all)) status = coco_no_memory_to_score(err);
  sm_rng rng = sm_rng_named(seed, SM_RNG_EVAL, "coco");
  for (int b = 0; !status && b < resamples; b++) {
    memset(times, 0, (size_t)images * sizeof *times);
    for (int i = 0; i < images; i++) times[sm_rng_below(&rng, (uint32_t)images)]++;
    coco_round(s, times, scratch, &draw, figures);
    for (int f = 0; f < SM_COCO_FIGURES; f++) all[(size_t)f * (size_t)resamples + (size_t)b] = figures[f];
  }
  for (int f = 0; !status && f < SM_COCO_FIGURES; f++) {
    double *x = all + (size_t)f * (size_t)resamples;
    size_t n = 0;
    for (int b = 0; b < resamples; b++)
      if (x[b] > -1) x[n++] = x[b];
    ap->low[f] = ap->high[f] = -1;
    if (n) sm_drawn_interval(x, n, &ap->low[f], &ap->high[f]);
  }
  ap->has_interval = !status;
  sm_coco_ap_free(&draw);
  sm_free(times);
  sm_free(all);
  return status;
}

sm_status sm_coco_score(const sm_coco *truth, const sm_coco *found, bool masks, int resamples, uint64_t seed,
                        sm_coco_ap *ap, sm_error *err) {
  coco_scoring s = {.truth = truth, .found = found, .masks = masks};
  coco_linspace(.5, .95, T, s.thresholds);
  coco_linspace(0, 1, R, s.recalls);
  sm_status status = coco_ap_new(ap, truth->n_categories, err);
  s.labels = coco_sort(truth, false);
  s.answers = coco_sort(found, true);
  if (!status && (!s.labels || !s.answers)) status = coco_no_memory_to_score(err);
  if (!status) status = coco_match_room(&s, err);
  const size_t cells = (size_t)truth->n_categories * T * R, marks = 3 * (size_t)found->n_objects;
  double *scratch = status ? NULL : sm_malloc(((cells > marks ? cells : marks) + 1) * sizeof *scratch);
  if (!status && !scratch) status = coco_no_memory_to_score(err);
  if (!status) {
    coco_match_all(&s);
    coco_round(&s, NULL, scratch, ap, ap->figures);
    if (resamples > 0 && truth->n_images) status = coco_interval(&s, resamples, seed, scratch, ap, err);
  }
  sm_free(s.labels);
  sm_free(s.answers);
  sm_free(s.marks);
  sm_free(s.wanted);
  sm_free(s.iou);
  sm_free(s.taken);
  sm_free(s.order);
  sm_free(scratch);
  return status;
}

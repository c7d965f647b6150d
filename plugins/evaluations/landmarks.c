/* plugins/evaluations/landmarks.c — pictures of a landmark are asked for by a part of one: Revisited Oxford
 * and Paris (Radenovic et al., CVPR 2018), easy, medium and hard. Queries are cut to their boxes; features
 * are averaged over scales, as DINO's and iBOT's eval_image_retrieval.py. */
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include <smalti/measure.h>
#include <smalti/plugin.h>
#include <smalti/retrieval.h>

#include "looks.h"

enum { LEVELS = 3 };
static const char *const level_names[LEVELS] = {"easy", "medium",
                                                "hard"}; /* in the order of sm_landmark_level */

typedef struct landmarks {
  const char *truth, *images;
  sm_floats scales;
  sm_ints k;
  int64_t size;
  int features;
  double power;
  bool crop;
} landmarks;

static const sm_option options[] = {
    SM_PATH(landmarks, truth, "truth", "~",
            "ground truth in JSON: imlist, qimlist and gnd, as the published files; it must be given"),
    SM_PATH(landmarks, images, "images", "~",
            "the folder of the pictures: NAME.jpg, or NAME as it is; it must be given"),
    SM_INT(landmarks, size, "size", "512", 32, 4096, "px",
           "longer side at most; smaller pictures stay as they are"),
    SM_FLOATS(landmarks, scales, "scales", "[1, 0.70711, 0.5]", 0.1, 2, NULL,
              "of the picture, bilinear; features are averaged over them"),
    SM_CHOICE(landmarks, features, "features", "cls", looks_kinds,
              "[CLS] and the generalised mean of the patches, or one of them"),
    SM_FLOAT(landmarks, power, "power", "3", 1, 100, NULL, "of the generalised mean"),
    SM_BOOL(landmarks, crop, "crop", "true",
            "queries are cut to their boxes, as the benchmark wants it; DINO and iBOT did not"),
    SM_INTS(landmarks, k, "k", "[1, 5, 10]", 1, 10000, "pictures",
            "precision at k, each k a figure of its own"),
};

static void landmarks_wants(const void *self, sm_feature_spec *spec) {
  (void)self;
  spec->blocks = 1;
  spec->labels = SM_LABELS_ANY;
}

/* ---- one picture --------------------------------------------------------------------------------------- */

typedef struct run {
  const landmarks *o;
  sm_eval_context *x;
  looks looks;
  sm_landmarks truth;
  sm_image_scratch *scratch;
  sm_image read, cut; /* used again and again */
  float *pixels, *scaled, *row;
  size_t room;
  int64_t done;
  float *base, *asked, *base_small, *asked_small; /* rows of length 1, of pictures and of queries */
  uint8_t *role;
  int64_t *ranking; /* (queries, images) */
  float *score;     /* (queries, 1 + k), those that count for a level */
  double *precision;
} run;

/* So many of n pixels that whole patches cover them: what is over at the end is left out, as a network's own
 * first layer does. */
static int landmarks_whole(const run *r, int n) {
  const int cell = r->x->network ? sm_network_describe(r->x->network)->backbone.cell : 1;
  const int whole = cell > 1 ? n / cell * cell : n;
  return whole > 0 ? whole : cell;
}

static sm_status landmarks_room(run *r, size_t values, sm_error *err) {
  if (values <= r->room) return SM_OK;
  sm_free(r->pixels);
  sm_free(r->scaled);
  r->pixels = sm_malloc(values * sizeof *r->pixels), r->scaled = sm_malloc(values * sizeof *r->scaled);
  r->room = r->pixels && r->scaled ? values : 0;
  return r->room ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for a picture");
}

/* The box within the picture, to whole pixels as PIL rounds them. */
static sm_status landmarks_box(const sm_image *image, const sm_landmark *l, const char *name, sm_box *box,
                               sm_error *err) {
  double at[4];
  for (int i = 0; i < 4; i++) at[i] = fmin(fmax(rint(l->box[i]), 0), i % 2 ? image->height : image->width);
  *box = (sm_box){(int)at[0], (int)at[1], (int)(at[2] - at[0]), (int)(at[3] - at[1])};
  if (box->width > 0 && box->height > 0) return SM_OK;
  return sm_fail(err, SM_EINVAL, "the box of query '%s' lies outside of its picture of %d x %d pixels", name,
                 image->width, image->height);
}

/* NAME.jpg where there is one, else NAME. The query's box, where it has one; the longer side at most `size`.
 * */
static sm_status landmarks_read(run *r, const char *name, const sm_landmark *query, sm_error *err) {
  struct stat st;
  sm_box box = {0};
  sm_text path = {0};
  sm_text_add(&path, "%s/%s.jpg", r->o->images, name);
  if (!path.failed && stat(path.s, &st) != 0) path.s[path.len - strlen(".jpg")] = 0;
  sm_status status = path.failed ? sm_fail(err, SM_ENOMEM, "no memory for a path")
                                 : sm_image_read(path.s, NULL, r->scratch, &r->read, err);
  sm_text_free(&path);
  if (status) return status;
  box.width = r->read.width, box.height = r->read.height;
  if (query && query->boxed && r->o->crop && (status = landmarks_box(&r->read, query, name, &box, err)))
    return status;
  const int longer = box.width > box.height ? box.width : box.height;
  const double scale = longer > r->o->size ? (double)r->o->size / longer : 1;
  const int width = (int)lround(box.width * scale), height = (int)lround(box.height * scale);
  return sm_image_resize(&r->read, &box, width > 0 ? width : 1, height > 0 ? height : 1, SM_FILTER_LANCZOS,
                         r->scratch, &r->cut, err);
}

static sm_status landmarks_row(run *r, const char *name, const sm_landmark *query, float *row, float *small,
                               sm_error *err) {
  float mean[3], std[3];
  sm_status status = landmarks_read(r, name, query, err);
  if (status) return status;
  const int height = r->cut.height, width = r->cut.width, dim = r->looks.dim;
  double most = 1;
  for (int i = 0; i < r->o->scales.n; i++) most = fmax(most, r->o->scales.v[i]);
  const size_t cell = (size_t)landmarks_whole(r, 1); /* a side shorter than a patch becomes one */
  status = landmarks_room(
      r, 3 * (size_t)(height * most + (double)cell) * (size_t)(width * most + (double)cell), err);
  if (status) return status;
  sm_picture_normalisation(r->x, mean, std);
  sm_image_normalise(&r->cut, mean, std, r->pixels);
  if (small) looks_small(r->pixels, height, width, small);
  for (int d = 0; d < dim; d++) row[d] = 0;
  for (int i = 0; !status && i < r->o->scales.n; i++) {
    const double scale = r->o->scales.v[i];
    const int rows = landmarks_whole(r, (int)(height * scale)),
              cols = landmarks_whole(r, (int)(width * scale));
    looks_scale(r->pixels, height, width, scale, rows, cols, r->scaled);
    status = looks_row(&r->looks, r->scaled, rows, cols, r->row, err);
    for (int d = 0; !status && d < dim; d++) row[d] += r->row[d] / (float)r->o->scales.n;
  }
  r->done++;
  return status ? status
                : r->x->going_on(r->x, (double)r->done / (double)(r->truth.images + r->truth.queries), err);
}

/* ---- all of them --------------------------------------------------------------------------------------- */

static sm_status landmarks_reserve(run *r, sm_error *err) {
  const size_t images = (size_t)r->truth.images, queries = (size_t)r->truth.queries,
               dim = (size_t)r->looks.dim;
  r->scratch = sm_image_scratch_new();
  r->row = sm_malloc(dim * sizeof *r->row);
  r->base = sm_malloc(images * dim * sizeof *r->base), r->asked = sm_malloc(queries * dim * sizeof *r->asked);
  r->role = sm_malloc(images), r->ranking = sm_malloc(queries * images * sizeof *r->ranking);
  r->score = sm_malloc(queries * (size_t)(1 + r->o->k.n) * sizeof *r->score);
  r->precision = sm_malloc((size_t)(1 + r->o->k.n) * sizeof *r->precision);
  bool room =
      r->scratch && r->row && r->base && r->asked && r->role && r->ranking && r->score && r->precision;
  if (r->x->network) {
    r->base_small = sm_malloc(images * LOOKS_SMALL_DIM * sizeof(float));
    r->asked_small = sm_malloc(queries * LOOKS_SMALL_DIM * sizeof(float));
    room &= r->base_small && r->asked_small;
  }
  return room ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for features of %zu pictures", images + queries);
}

static sm_status landmarks_rows(run *r, sm_error *err) {
  sm_status status = SM_OK;
  for (int64_t i = 0; !status && i < r->truth.queries; i++) /* their boxes may be wrong: first */
    status = landmarks_row(r, r->truth.query[i], &r->truth.of[i], r->asked + i * r->looks.dim,
                           r->asked_small ? r->asked_small + i * LOOKS_SMALL_DIM : NULL, err);
  for (int64_t i = 0; !status && i < r->truth.images; i++)
    status = landmarks_row(r, r->truth.image[i], NULL, r->base + i * r->looks.dim,
                           r->base_small ? r->base_small + i * LOOKS_SMALL_DIM : NULL, err);
  if (status) return status;
  sm_unit_rows(r->base, r->truth.images, r->looks.dim);
  sm_unit_rows(r->asked, r->truth.queries, r->looks.dim);
  if (r->base_small) sm_unit_rows(r->base_small, r->truth.images, LOOKS_SMALL_DIM);
  if (r->asked_small) sm_unit_rows(r->asked_small, r->truth.queries, LOOKS_SMALL_DIM);
  return SM_OK;
}

/* ---- figures ------------------------------------------------------------------------------------------- */

/* Scores of the queries that have something to find at this level, in per cent; returns how many. */
static int64_t landmarks_score(run *r, sm_landmark_level level) {
  const int columns = 1 + r->o->k.n;
  int64_t n = 0;
  for (int64_t q = 0; q < r->truth.queries; q++) {
    float *to = r->score + n * columns;
    const int64_t relevant = sm_landmark_roles(&r->truth.of[q], level, r->role, r->truth.images);
    if (!relevant) continue;
    to[0] = (float)(100 * sm_ranking_ap(r->ranking + q * r->truth.images, r->truth.images, r->role, relevant,
                                        r->o->k.v, r->o->k.n, r->precision));
    for (int j = 1; j < columns; j++) to[j] = (float)(100 * r->precision[j - 1]);
    n++;
  }
  return n;
}

static void landmarks_add(const run *r, int64_t n, int column, const sm_interval *interval,
                          sm_eval_result *to, const char *name) {
  double sum = 0;
  if (to->n >= SM_FIGURES_MAX) return;
  for (int64_t i = 0; i < n; i++) sum += (double)r->score[i * (1 + r->o->k.n) + column];
  if (n) to->interval[to->n] = *interval, to->has_interval[to->n] = true;
  sm_figure_add_in(to, "%", n ? sum / (double)n : NAN, "%s", name);
}

/* A k that was asked for twice is one figure. */
static bool landmarks_is_new(const sm_ints *k, int j) {
  for (int i = 0; i < j; i++)
    if (k->v[i] == k->v[j]) return false;
  return true;
}

/* Of one ranking; `pixels`: of the small pictures, of which only the means count. */
static sm_status landmarks_figures(run *r, bool pixels, int64_t counted[LEVELS], sm_eval_result *to,
                                   sm_error *err) {
  sm_interval interval[1 + SM_LIST_MAX];
  char name[48];
  sm_status status = sm_nearest_rows(
      pixels ? r->base_small : r->base, r->truth.images, pixels ? r->asked_small : r->asked, r->truth.queries,
      pixels ? LOOKS_SMALL_DIM : r->looks.dim, r->truth.images, r->x->pool, r->ranking, NULL, err);
  for (int level = 0; !status && level < LEVELS; level++) {
    const int64_t n = counted[level] = landmarks_score(r, (sm_landmark_level)level);
    if (n) status = sm_mean_intervals(r->score, n, 1 + r->o->k.n, interval, err);
    if (status) break;
    snprintf(name, sizeof name, "%s.%s", pixels ? "pixels" : "map", level_names[level]);
    landmarks_add(r, n, 0, &interval[0], to, name);
    for (int j = 0; !pixels && j < r->o->k.n; j++) {
      if (!landmarks_is_new(&r->o->k, j)) continue;
      snprintf(name, sizeof name, "mp%lld.%s", (long long)r->o->k.v[j], level_names[level]);
      landmarks_add(r, n, 1 + j, &interval[1 + j], to, name);
    }
  }
  return status;
}

static void landmarks_protocol(const run *r, const int64_t counted[LEVELS], sm_eval_result *to) {
  char features[64], scales[160] = "";
  int boxes = 0;
  for (int i = 0, at = 0; i < r->o->scales.n && at < 100; i++)
    at += snprintf(scales + at, sizeof scales - (size_t)at, "%s%g", i ? ", " : "", r->o->scales.v[i]);
  for (int64_t q = 0; q < r->truth.queries; q++) boxes += r->truth.of[q].boxed;
  snprintf(
      to->protocol, sizeof to->protocol,
      "revisited protocol, %s by cosine; longer side at most %lld (Lanczos), scales %s (bilinear, averaged); "
      "queries %s; AP by trapezoids; %lld pictures; %lld easy, %lld medium, %lld hard queries",
      looks_what(&r->looks, features, sizeof features), (long long)r->o->size, scales,
      !boxes       ? "without boxes"
      : r->o->crop ? "cut to their boxes"
                   : "not cut to their boxes",
      (long long)r->truth.images, (long long)counted[0], (long long)counted[1], (long long)counted[2]);
}

static sm_status landmarks_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  run r = {.o = self, .x = x};
  int64_t counted[LEVELS];
  x->doing = "landmarks";
  sm_status status = sm_landmarks_read(r.o->truth, &r.truth, err);
  if (!status) status = looks_open(&r.looks, x, (looks_kind)r.o->features, r.o->power, err);
  if (!status) status = landmarks_reserve(&r, err);
  if (!status) status = landmarks_rows(&r, err);
  if (!status && r.base_small) {
    status = landmarks_figures(&r, false, counted, result, err);
    if (!status) status = landmarks_figures(&r, true, counted, result, err);
  } else if (!status) {
    status = landmarks_figures(&r, false, counted, result, err);
  }
  if (!status) landmarks_protocol(&r, counted, result);
  looks_close(&r.looks);
  sm_landmarks_free(&r.truth);
  sm_image_scratch_free(r.scratch);
  sm_image_free(&r.read), sm_image_free(&r.cut);
  sm_free(r.pixels), sm_free(r.scaled), sm_free(r.row);
  sm_free(r.base), sm_free(r.asked), sm_free(r.base_small), sm_free(r.asked_small);
  sm_free(r.role), sm_free(r.ranking), sm_free(r.score), sm_free(r.precision);
  return status;
}

static void landmarks_names(const void *self, sm_text *out) {
  const landmarks *o = self;
  for (int level = 0; level < LEVELS; level++) {
    sm_text_add(out, "map.%s pixels.%s ", level_names[level], level_names[level]);
    for (int j = 0; j < o->k.n; j++)
      if (landmarks_is_new(&o->k, j))
        sm_text_add(out, "mp%lld.%s ", (long long)o->k.v[j], level_names[level]);
  }
}

static sm_status landmarks_create(void *self, sm_error *err) {
  const landmarks *o = self;
  if (o->truth && o->images) return SM_OK;
  sm_fail(err, SM_EINVAL, "landmarks needs `%s`", o->truth ? "images" : "truth");
  return sm_hint(err,
                 "name the folder of the pictures and the ground truth: images=jpg truth=gnd_roxford5k.json");
}

static const sm_evaluation_ops ops = {landmarks_run, landmarks_wants, landmarks_names};
static const sm_plugin plugin = {
    .kind = SM_EVALUATION,
    .name = "landmarks",
    .summary = "mean average precision of pictures of a landmark: Revisited Oxford and Paris",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite =
        "Radenovic et al., Revisiting Oxford and Paris: Large-Scale Image Retrieval Benchmarking, CVPR 2018",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(landmarks),
    .create = landmarks_create,
    .ops = &ops,
};
SM_MODULE(&plugin)

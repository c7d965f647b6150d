/* plugins/evaluations/correspondence.c — which patch of one view of a picture is which of another (iBOT's
 * instance-level correspondence, as a figure). Two views of each test picture are drawn: a box of it,
 * perhaps turned from left to right, its colours changed. Where the middle of a patch of the first lies in
 * the second is known; the network says: the patch nearest by cosine. Beside it stand the patches' own
 * pixels, and the same place in both views.
 *
 * The views are a data set of their own, two for each picture, so that the loader makes them like any
 * pictures. */
#include <math.h>
#include <string.h>

#include <smalti/dense.h>
#include <smalti/measure.h>
#include <smalti/plugin.h>
#include <smalti/show.h>

enum { RESAMPLES = 1000 };

typedef struct correspondence {
  int64_t pictures, patch, seed;
  double colour;
} correspondence;

static const sm_option options[] = {
    SM_INT(correspondence, pictures, "pictures", "1000", 0, 1e9, "pictures",
           "test pictures at most, drawn by the seed; 0: all"),
    SM_FLOAT(correspondence, colour, "colour", "1", 0, 1, NULL,
             "how far colours of each view are changed by themselves: 1 as iBOT's views, 0 not at all"),
    SM_INT(correspondence, patch, "patch", "16", 1, 256, "px",
           "side of a patch where pixels are the features"),
    SM_INT(correspondence, seed, "seed", "0", 0, 1e9, NULL, "of pictures and views"),
};

static void correspondence_wants(const void *self, sm_feature_spec *spec) {
  (void)self;
  *spec = (sm_feature_spec){.blocks = 1, .pool = SM_POOL_CLS, .labels = SM_LABELS_NONE};
  spec->test_alone = true;
}

/* ---- the views as a data set --------------------------------------------------------------------------- */

typedef struct views {
  sm_dataset from;
  int64_t *index, n; /* pictures of it */
  const correspondence *o;
  int height, width;
  sm_match_view *view; /* (n, 2) as read */
} views;

static sm_status views_read(const void *self, int64_t i, const sm_image_limits *limits, sm_image *to,
                            sm_error *err) {
  const views *v = self;
  const int64_t index = v->index[i / 2];
  sm_image image = {0};
  sm_image_limits whole = limits ? *limits : (sm_image_limits){0};
  sm_image_scratch *scratch = sm_image_scratch_new();
  whole.shrink = NULL;
  sm_status status = scratch ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for a picture");
  if (!status) status = v->from.ops->read(v->from.self, index, &whole, &image, err);
  if (!status) {
    sm_match_view *view = &v->view[i];
    *view = sm_match_view_draw(image.width, image.height, v->o->colour, (uint64_t)v->o->seed, index,
                               (int)(i % 2));
    status = sm_match_view_cut(&image, view, v->width, v->height, SM_FILTER_BICUBIC, scratch, to, err);
  }
  sm_image_free(&image);
  sm_image_scratch_free(scratch);
  return status;
}

static sm_status views_open(void *self, sm_error *err) { return (void)self, (void)err, SM_OK; }
static int64_t views_count(const void *self) { return 2 * ((const views *)self)->n; }
static int views_label(const void *self, int64_t i) { return (void)self, (void)i, -1; }
static const char *views_name(const void *self, int64_t i) {
  const views *v = self;
  return v->from.ops->name(v->from.self, v->index[i / 2]);
}
static int views_classes(const void *self) { return (void)self, 0; }
static const char *views_class_name(const void *self, int c) { return (void)self, (void)c, ""; }
static uint64_t views_hash(const void *self) { return (uint64_t)((const views *)self)->n; }

static const sm_dataset_ops views_ops = {.open = views_open,
                                         .count = views_count,
                                         .label = views_label,
                                         .name = views_name,
                                         .classes = views_classes,
                                         .class_name = views_class_name,
                                         .read = views_read,
                                         .hash = views_hash};

/* ---- matching ------------------------------------------------------------------------------------------ */

enum { NETWORK, PIXELS, PLACE, GUESSES };
static const char *const before[GUESSES] = {"", "pixels.", "place."};
static const char *const figures[SM_MATCH_FIGURES] = {"radius0", "radius1", "distance"};
static const char *const units[SM_MATCH_FIGURES] = {"%", "%", "patches"};

typedef struct matching {
  const correspondence *o;
  sm_eval_context *x;
  views v;
  sm_looker *looker; /* NULL: pixels are the features */
  int rows, cols, cell;
  const float *patches[2]; /* of network and pixels, in the picture that is looked at now */
  float *first[2];         /* those of the first view of a picture */
  int dim[2];
  float *pixels; /* room for the second's */
  int *match;
  sm_match_score *score[GUESSES]; /* (v.n) */
  sm_of_unit *distance;           /* of the network's matches */
  int64_t distances, room, pictures;
} matching;

static bool matching_has(const matching *m, int guess) { return guess != PIXELS || m->looker; }

static sm_status matching_no_memory(sm_error *err) {
  return sm_fail(err, SM_ENOMEM, "no memory to match patches");
}

/* Patches are those of a first picture: of the network where there is one. */
static sm_status matching_reserve(matching *m, const sm_look *look, sm_error *err) {
  m->cell = m->looker ? look->cell : (int)m->o->patch;
  m->rows = m->v.height / m->cell, m->cols = m->v.width / m->cell;
  if (m->rows < 1 || m->cols < 1) {
    sm_fail(err, SM_EINVAL, "views of %d x %d pixels have no patch of %d", m->v.width, m->v.height, m->cell);
    return sm_hint(err, "give a smaller patch=, or a larger --size");
  }
  if (m->looker && (m->rows != look->rows || m->cols != look->cols))
    return sm_fail(err, SM_EUNSUPPORTED, "`%s` has %d x %d patches of %d pixels in views of %d x %d",
                   sm_network_describe(m->x->network)->name, look->cols, look->rows, m->cell, m->v.width,
                   m->v.height);
  const size_t n = (size_t)m->rows * (size_t)m->cols, pictures = (size_t)m->v.n;
  m->dim[PIXELS] = 3 * m->cell * m->cell;
  m->dim[NETWORK] = m->looker ? look->dim : m->dim[PIXELS];
  bool room = (m->match = sm_malloc(n * sizeof *m->match));
  for (int k = 0; k < 2; k++) room = room && (m->first[k] = sm_malloc(n * (size_t)m->dim[k] * sizeof(float)));
  for (int k = 0; k < GUESSES; k++) room = room && (m->score[k] = sm_calloc(pictures, sizeof **m->score));
  room = room && (m->pixels = sm_malloc(n * (size_t)m->dim[PIXELS] * sizeof(float)));
  return room ? SM_OK : matching_no_memory(err);
}

static sm_status matching_look(matching *m, const float *x, sm_error *err) {
  sm_look look = {0};
  sm_status status = m->looker ? sm_looker_run(m->looker, x, &look, err) : SM_OK;
  if (!status && !m->match) status = matching_reserve(m, &look, err);
  if (status) return status;
  sm_patch_pixels(x, m->v.height, m->v.width, m->cell, m->pixels);
  m->patches[PIXELS] = m->pixels;
  m->patches[NETWORK] = m->looker ? look.patches : m->pixels;
  return SM_OK;
}

static sm_status matching_keep_distances(matching *m, const sm_match_view v[2], int64_t picture,
                                          sm_error *err) {
  const int n = m->rows * m->cols;
  if (m->distances + n > m->room) {
    const int64_t room = 2 * m->room + n;
    sm_of_unit *more = sm_realloc(m->distance, (size_t)room * sizeof *more);
    if (!more) return matching_no_memory(err);
    m->distance = more, m->room = room;
  }
  for (int i = 0; i < n; i++) {
    const int truth = sm_match_truth(&v[0], &v[1], m->rows, m->cols, i);
    if (truth < 0) continue;
    m->distance[m->distances++] = (sm_of_unit){sm_match_distance(m->match[i], truth, m->cols), picture};
  }
  return SM_OK;
}

/* The second view is looked at, the first one's patches are kept. */
static sm_status matching_score(matching *m, const sm_match_view v[2], sm_error *err) {
  const int n = m->rows * m->cols;
  sm_status status = SM_OK;
  for (int guess = 0; !status && guess < GUESSES; guess++) {
    if (!matching_has(m, guess)) continue;
    if (guess != PLACE)
      status = sm_match(m->first[guess], n, m->patches[guess], n, m->dim[guess], m->match, NULL, err);
    for (int i = 0; guess == PLACE && i < n; i++) m->match[i] = i;
    if (!status) sm_match_add(&m->score[guess][m->pictures], &v[0], &v[1], m->rows, m->cols, m->match);
    if (!status && guess == NETWORK) status = matching_keep_distances(m, v, m->pictures, err);
  }
  m->pictures++;
  return status;
}

static void matching_keep(matching *m) {
  const size_t n = (size_t)m->rows * (size_t)m->cols;
  for (int k = 0; k < 2; k++) memcpy(m->first[k], m->patches[k], n * (size_t)m->dim[k] * sizeof(float));
}

static sm_status matching_all(matching *m, sm_error *err) {
  const int64_t pixels = 3 * (int64_t)m->v.height * m->v.width;
  const sm_picture_request request = {
      .own = &views_ops, .own_self = &m->v, .resize = m->v.height < m->v.width ? m->v.height : m->v.width};
  sm_pictures *pictures = NULL;
  sm_picture_batch b;
  int64_t kept = -1; /* the picture whose first view was the last that was looked at */
  sm_status status = sm_pictures_open(m->x, &request, &pictures, err);
  while (!status && !(status = sm_pictures_next(pictures, &b, err)) && b.n)
    for (int i = 0; !status && i < b.n; i++) {
      const int64_t at = b.index[i];
      if ((status = matching_look(m, b.x + i * pixels, err))) break;
      if (at % 2 == 0) matching_keep(m), kept = at;
      else if (kept == at - 1) status = matching_score(m, &m->v.view[kept], err);
      if (!status) status = m->x->going_on(m->x, (double)(at + 1) / (double)(2 * m->v.n), err);
    }
  sm_pictures_close(pictures);
  return status;
}

/* ---- figures ------------------------------------------------------------------------------------------- */

static void matching_put(sm_eval_result *r, double value, sm_interval at, const char *unit, const char *which,
                         const char *name) {
  if (r->n < SM_FIGURES_MAX) r->interval[r->n] = at, r->has_interval[r->n] = true;
  sm_figure_add_in(r, unit, value, "%s%s", which, name);
}

static sm_status matching_figures(matching *m, sm_eval_result *r, sm_error *err) {
  double value[SM_MATCH_FIGURES], median;
  sm_interval at[SM_MATCH_FIGURES], at_median;
  if (!m->distances) {
    sm_fail(err, SM_EINVAL, "no patch has its middle in both views of a picture");
    return sm_hint(err, "take larger pictures, so that there are more patches");
  }
  sm_status status =
      sm_median_interval(m->distance, m->distances, m->pictures, RESAMPLES, 0, &median, &at_median, err);
  for (int guess = 0; !status && guess < GUESSES; guess++) {
    if (!matching_has(m, guess)) continue;
    if ((status = sm_match_figures(m->score[guess], m->pictures, value, at, err))) break;
    for (int f = 0; f < SM_MATCH_FIGURES; f++)
      matching_put(r, value[f], at[f], units[f], before[guess], figures[f]);
    if (guess == NETWORK) matching_put(r, median, at_median, units[SM_MATCH_DISTANCE], "", "median");
  }
  snprintf(r->protocol, sizeof r->protocol,
           "two views of each of %lld %s (40 to 100 %% of the area, half of them flipped, colours %g times "
           "iBOT's), %d x %d pixels, %d x %d patches; %lld patches that both hold, the nearest by cosine of "
           "%s counts; distances in patches; intervals over pictures; seed %lld",
           (long long)m->pictures, sm_plural(m->pictures, "picture", "pictures"), m->o->colour, m->v.width,
           m->v.height, m->cols, m->rows, (long long)m->distances,
           m->looker ? "the last block after the norm" : "pixels", (long long)m->o->seed);
  return status;
}

static void correspondence_names(const void *self, sm_text *out) {
  (void)self;
  for (int guess = 0; guess < GUESSES; guess++)
    for (int f = 0; f < SM_MATCH_FIGURES; f++) sm_text_add(out, "%s%s ", before[guess], figures[f]);
  sm_text_add(out, "median ");
}

/* ---- running ------------------------------------------------------------------------------------------- */

static sm_status matching_open(matching *m, sm_error *err) {
  const sm_look_request want = {
      .height = m->x->height, .width = m->x->width, .patches = true, .bf16 = m->x->bf16};
  sm_picture_list list;
  sm_status status = sm_picture_list_get(m->x, "test", &list, err);
  if (!status)
    status = sm_picture_draw(&list, m->o->pictures, (uint64_t)m->o->seed, &m->v.index, &m->v.n, err);
  if (!status) status = sm_picture_dataset(m->x, "test", &m->v.from, err);
  if (!status && !(m->v.view = sm_calloc(2 * (size_t)m->v.n + 1, sizeof *m->v.view)))
    status = matching_no_memory(err);
  if (!status && m->x->network && !(m->looker = sm_looker_new(m->x->network, m->x->pool, &want, err)))
    status = err ? err->code : SM_EUNSUPPORTED;
  return status;
}

static sm_status correspondence_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  matching m = {.o = self, .x = x, .v = {.o = self, .height = x->height, .width = x->width}};
  const char *doing = x->doing;
  x->doing = "two views of each picture";
  sm_status status = matching_open(&m, err);
  if (!status) status = matching_all(&m, err);
  if (!status) status = matching_figures(&m, result, err);
  x->doing = doing;
  sm_looker_free(m.looker);
  sm_free(m.v.index);
  sm_free(m.v.view);
  sm_free(m.match);
  sm_free(m.pixels);
  sm_free(m.distance);
  for (int k = 0; k < 2; k++) sm_free(m.first[k]);
  for (int k = 0; k < GUESSES; k++) sm_free(m.score[k]);
  return status;
}

static const sm_evaluation_ops ops = {correspondence_run, correspondence_wants, correspondence_names};
static const sm_plugin plugin = {
    .kind = SM_EVALUATION,
    .name = "correspondence",
    .summary = "how often the nearest patch of another view of a picture is the same part of it",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite = "Zhou et al., iBOT: Image BERT Pre-Training with Online Tokenizer, ICLR 2022",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(correspondence),
    .ops = &ops,
};
SM_MODULE(&plugin)

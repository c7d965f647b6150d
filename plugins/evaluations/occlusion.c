/* plugins/evaluations/occlusion.c — how well a classifier on frozen features does when a share of a picture's
 * cells is dropped: random ones, those where the network looks (salient), or the others (Naseer et al.).
 * Cells are drawn for each picture by itself, and those of a larger share hold those of a smaller one. */
#include <math.h>
#include <string.h>

#include <smalti/show.h>

#include "cells.h"
#include "curve.h"

enum { RANDOM, SALIENT, NONSALIENT, WAYS };
enum { SHARES_MOST = 20 };
static const char *const drops[] = {"random", "salient", "nonsalient", "all", NULL}; /* in the order above */
static const char *const fills[] = {"mean", "black", NULL};

typedef struct occlusion {
  int drop, fill;
  sm_floats shares;
  sm_ints grid;
  const char *saliency, *saliency_network;
  int64_t head;
  ask_options ask;
  const sm_host *host;
  sm_network *other; /* that of `saliency`, from create on */
} occlusion;

static const sm_option options[] = {
    SM_CHOICE(occlusion, drop, "drop", "random", drops,
              "which cells: random ones; salient: those that hold the share of the attention of [CLS], the largest "
              "first; nonsalient: the smallest first; all: a curve of each"),
    SM_FLOATS(occlusion, shares, "shares", "[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]", 0.001, 1, NULL,
              "of the cells, or of the attention: the points of the curve, beside nothing dropped; at most 20"),
    SM_INTS(occlusion, grid, "cells", "14", 1, 256, NULL,
            "rows and columns that a picture is cut into; one number is both"),
    SM_CHOICE(occlusion, fill, "fill", "mean", fills,
              "a dropped cell becomes the mean colour (0 after normalisation, as iBOT's) or black (Naseer's)"),
    SM_PATH(occlusion, saliency, "saliency", "~",
            "run folder, checkpoint or weights of the network whose attention counts, so that all networks of a "
            "comparison lose the same cells; left out: the network that is evaluated"),
    SM_STRING(occlusion, saliency_network, "saliency_network", "~",
              "its backbone, as 'vit: {arch: small}', of weights that do not say what they are of"),
    SM_INT(occlusion, head, "head", "0", 0, 256, NULL, "whose attention, from 1; 0: the mean of all heads"),
    ASK_CLASSIFIER(occlusion, ask),
    ASK_PICTURES(occlusion, ask),
};

static void occlusion_wants(const void *self, sm_feature_spec *spec) {
  ask_wants(&((const occlusion *)self)->ask, spec);
  spec->slow = true;
}

static bool occlusion_has(const occlusion *o, int way) { return o->drop == WAYS || o->drop == way; }
static bool occlusion_looks(const occlusion *o) { return o->drop != RANDOM; }

/* ---- options ------------------------------------------------------------------------------------------- */

/* The shares in ascending order, each once; how many. */
static int occlusion_shares(const occlusion *o, double share[SM_LIST_MAX]) {
  int n = 0;
  memcpy(share, o->shares.v, (size_t)o->shares.n * sizeof *share);
  sm_sort_doubles(share, (size_t)o->shares.n);
  for (int i = 0; i < o->shares.n; i++)
    if (!n || share[i] > share[n - 1]) share[n++] = share[i];
  return n;
}

static sm_status occlusion_look_elsewhere(occlusion *o, sm_error *err) {
  const sm_network_source from = {.path = o->saliency, .backbone = o->saliency_network};
  sm_status status = sm_network_open(o->host, &from, &o->other, err);
  if (status || sm_network_describe(o->other)->backbone.heads > 0) return status;
  sm_fail(err, SM_EUNSUPPORTED, "'%s' is a `%s`, which has no attention that could say what is salient", o->saliency,
          sm_network_describe(o->other)->name);
  sm_network_close(o->other);
  o->other = NULL;
  return sm_hint(err, "name a vision transformer");
}

static sm_status occlusion_create(void *self, sm_error *err) {
  occlusion *o = self;
  double share[SM_LIST_MAX];
  const int shares = occlusion_shares(o, share);
  if (shares < 1 || shares > SHARES_MOST)
    return sm_fail(err, SM_EINVAL, "shares: there are %d; give 1 to %d", shares, SHARES_MOST);
  if (o->grid.n < 1 || o->grid.n > 2)
    return sm_fail(err, SM_EINVAL, "cells: %d numbers; give rows and columns, or one number for both", o->grid.n);
  if (!occlusion_looks(o) && (o->saliency || o->saliency_network || o->head)) {
    sm_fail(err, SM_EINVAL, "%s says where to look, but random cells are dropped wherever they are",
            o->saliency ? "saliency" : o->head ? "head" : "saliency_network");
    return sm_hint(err, "give drop: salient, nonsalient or all, or leave it out");
  }
  if (!o->saliency && o->saliency_network)
    return sm_fail(err, SM_EINVAL, "saliency_network says what `saliency` is, which is left out");
  return o->saliency ? occlusion_look_elsewhere(o, err) : SM_OK;
}

static void occlusion_destroy(void *self) { sm_network_close(((occlusion *)self)->other); }

/* ---- where to look ------------------------------------------------------------------------------------- */

typedef struct occluding {
  const occlusion *o;
  sm_eval_context *x;
  ask_question q;
  curve c;
  cells grid;
  double share[SM_LIST_MAX];
  int shares;
  int heads;       /* of the network that looks */
  float *mass;     /* (c.n, cells) attention; NaN: not seen */
  uint8_t *hidden; /* (c.n, cells) of the question in progress */
  float *lost;     /* (c.points, c.n) percent of the cells that were dropped */
  float colour[3];
} occluding;

static sm_status occlusion_eyes(occluding *w, const sm_network **eyes, sm_error *err) {
  const occlusion *o = w->o;
  *eyes = o->other ? o->other : w->x->network;
  const char *what = *eyes ? sm_network_describe(*eyes)->name : "pixels";
  if (o->other) return sm_network_allocate(o->other, err);
  if (*eyes && sm_network_describe(*eyes)->backbone.heads > 0) return SM_OK;
  sm_fail(err, SM_EUNSUPPORTED, "drop: %s asks where [CLS] looks, but `%s` has no attention", drops[o->drop], what);
  return sm_hint(err, "take drop: random, or name a network that looks in its place: saliency: PATH");
}

/* Its pictures are those that the classifier's features are of, normalised as it wants them. */
static void occlusion_normalise(const sm_eval_context *x, const sm_network *eyes, const float *in, float *out) {
  const sm_network_spec *to = sm_network_describe(eyes);
  const int64_t pixels = (int64_t)x->height * x->width;
  float mean[3], std[3];
  sm_picture_normalisation(x, mean, std);
  const bool same = !memcmp(mean, to->mean, sizeof mean) && !memcmp(std, to->std, sizeof std);
  for (int c = 0; c < 3; c++)
    for (int64_t i = c * pixels; i < (c + 1) * pixels; i++)
      out[i] = same ? in[i] : (in[i] * std[c] + mean[c] - to->mean[c]) / to->std[c];
}

static sm_status occlusion_look(occluding *w, const sm_network *eyes, sm_looker *looker, const float *x, float *room,
                                float *mass, sm_error *err) {
  sm_look look;
  occlusion_normalise(w->x, eyes, x, room);
  sm_status status = sm_looker_run(looker, room, &look, err);
  if (status) return status;
  if (w->o->head > look.heads)
    return sm_fail(err, SM_EINVAL, "head: %lld, but the network that looks has %d", (long long)w->o->head, look.heads);
  const cells patches = {look.rows, look.cols, w->grid.height, w->grid.width};
  const int n = cells_count(&patches);
  if (w->o->head) memcpy(room, look.attention + (w->o->head - 1) * n, (size_t)n * sizeof *room);
  else sm_attention_mean(look.attention, look.heads, n, room);
  cells_spread(&patches, room, &w->grid, mass);
  w->heads = look.heads;
  return SM_OK;
}

static sm_status occlusion_look_at_all(occluding *w, const sm_network *eyes, sm_looker *looker, sm_error *err) {
  const sm_picture_request request = {.split = "test", .index = w->c.index, .n = w->c.n};
  const int64_t pixels = 3 * (int64_t)w->grid.height * w->grid.width;
  const int n = cells_count(&w->grid);
  float *room = sm_malloc((size_t)pixels * sizeof *room);
  sm_pictures *pictures = NULL;
  sm_picture_batch b;
  int64_t done = 0;
  sm_status status = room ? sm_pictures_open(w->x, &request, &pictures, err)
                          : sm_fail(err, SM_ENOMEM, "no memory to look");
  while (!status && !(status = sm_pictures_next(pictures, &b, err)) && b.n)
    for (int i = 0; !status && i < b.n; i++) {
      const int64_t place = curve_place(&w->c, b.index[i]);
      status = occlusion_look(w, eyes, looker, b.x + i * pixels, room, w->mass + place * n, err);
      if (!status) status = w->x->going_on(w->x, (double)++done / (double)w->c.n / (w->c.points + 1), err);
    }
  sm_pictures_close(pictures);
  sm_free(room);
  return status;
}

static sm_status occlusion_saliency(occluding *w, sm_error *err) {
  const sm_look_request want = {.height = w->x->height, .width = w->x->width, .attention = true};
  const size_t size = (size_t)w->c.n * (size_t)cells_count(&w->grid);
  const sm_network *eyes;
  if (!occlusion_looks(w->o)) return SM_OK;
  sm_status status = occlusion_eyes(w, &eyes, err);
  if (status) return status;
  if (!(w->mass = sm_malloc((size + 1) * sizeof *w->mass)))
    return sm_fail(err, SM_ENOMEM, "no memory for the attention of %lld pictures", (long long)w->c.n);
  for (size_t i = 0; i < size; i++) w->mass[i] = NAN;
  sm_looker *looker = sm_looker_new(eyes, w->x->pool, &want, err);
  status = looker ? occlusion_look_at_all(w, eyes, looker, err) : err ? err->code : SM_EUNSUPPORTED;
  sm_looker_free(looker);
  return status;
}

/* ---- dropping ------------------------------------------------------------------------------------------ */

static void occlusion_draw(const occluding *w, int64_t place, double share, uint8_t *hidden, uint32_t *order) {
  const int n = cells_count(&w->grid);
  const int drop = (int)floor(share * n + 1e-9); /* 0.29 of 100 is 29 */
  cells_order(&w->grid, (uint64_t)w->o->ask.seed, w->c.index[place], order);
  memset(hidden, 0, (size_t)n);
  for (int k = 0; k < drop; k++) hidden[order[k]] = 1;
}

/* The cells that hold the largest share, or all but those that hold the rest. */
static sm_status occlusion_weigh(const occluding *w, int64_t place, int way, double share, uint8_t *hidden,
                                 sm_error *err) {
  const int n = cells_count(&w->grid);
  const float *mass = w->mass + place * n;
  memset(hidden, 0, (size_t)n);
  if (isnan(mass[0])) return SM_OK; /* it was not looked at */
  sm_status status = sm_attention_mass(mass, n, way == SALIENT ? share : 1 - share, hidden, err);
  for (int k = 0; way == NONSALIENT && k < n; k++) hidden[k] = !hidden[k];
  return status;
}

static void occlusion_change(void *ctx, float *x, const int64_t *index, int n) {
  const occluding *w = ctx;
  const int64_t pixels = 3 * (int64_t)w->grid.height * w->grid.width;
  for (int i = 0; i < n; i++)
    cells_fill(&w->grid, w->hidden + curve_place(&w->c, index[i]) * cells_count(&w->grid), w->colour, x + i * pixels);
}

static sm_status occlusion_ask(occluding *w, int way, double share, int point, uint32_t *order, sm_error *err) {
  const int n = cells_count(&w->grid);
  sm_status status = SM_OK;
  for (int64_t i = 0; !status && i < w->c.n; i++) {
    uint8_t *hidden = w->hidden + i * n;
    int lost = 0;
    if (way == RANDOM) occlusion_draw(w, i, share, hidden, order);
    else status = occlusion_weigh(w, i, way, share, hidden, err);
    for (int k = 0; k < n; k++) lost += hidden[k];
    w->lost[point * w->c.n + i] = (float)(100.0 * lost / n);
  }
  w->q.from = (double)point / (w->c.points + 1), w->q.to = (point + 1.0) / (w->c.points + 1);
  if (!status) status = curve_ask(&w->c, point, w->x, &w->q, err);
  for (int64_t i = 0; way != RANDOM && i < w->c.n; i++)
    if (isnan(w->mass[i * n])) w->c.wrong[point * w->c.n + i] = CURVE_MISSED;
  return status;
}

/* Point 0 is the clean one. */
static int occlusion_point(const occluding *w, int way, int share) {
  return 1 + share + (w->o->drop == WAYS ? way * w->shares : 0);
}

static sm_status occlusion_ask_all(occluding *w, const sm_features *test, sm_error *err) {
  const size_t n = (size_t)cells_count(&w->grid);
  uint32_t *order = sm_malloc(n * sizeof *order);
  w->hidden = sm_malloc((size_t)w->c.n * n + 1);
  w->lost = sm_calloc((size_t)w->c.points * (size_t)w->c.n + 1, sizeof *w->lost);
  sm_status status = order && w->hidden && w->lost
                         ? curve_clean(&w->c, 0, &w->q, test, err)
                         : sm_fail(err, SM_ENOMEM, "no memory for the cells of %lld pictures", (long long)w->c.n);
  w->q.change = occlusion_change, w->q.ctx = w;
  w->x->doing = "pictures with dropped cells";
  for (int way = 0; way < WAYS; way++)
    for (int s = 0; occlusion_has(w->o, way) && !status && s < w->shares; s++)
      status = occlusion_ask(w, way, w->share[s], occlusion_point(w, way, s), order, err);
  sm_free(order);
  return status;
}

/* ---- figures ------------------------------------------------------------------------------------------- */

static const char *occlusion_name(char name[48], const char *what, const char *way, double share) {
  snprintf(name, 48, "%s%s.%.6g", what, way, 100 * share);
  return name;
}

static sm_status occlusion_way(occluding *w, int way, sm_eval_result *r, sm_error *err) {
  double at[SM_LIST_MAX + 1] = {0};
  int point[SM_LIST_MAX + 1] = {0};
  char name[48];
  for (int s = 0; s < w->shares; s++) at[s + 1] = w->share[s], point[s + 1] = occlusion_point(w, way, s);
  snprintf(name, sizeof name, "auc.%s", drops[way]);
  sm_status status = curve_area(&w->c, point, at, w->shares + 1, r, name, err);
  for (int s = 0; !status && s < w->shares; s++) {
    curve_point(&w->c, point[s + 1], r, occlusion_name(name, "", drops[way], w->share[s]));
    if (way != RANDOM)
      status = curve_mean(&w->c, w->lost + point[s + 1] * w->c.n, r,
                          occlusion_name(name, "lost.", drops[way], w->share[s]), err);
  }
  return status;
}

static void occlusion_protocol(const occluding *w, sm_eval_result *r) {
  const occlusion *o = w->o;
  char eyes[128] = "";
  if (occlusion_looks(o) && o->head)
    snprintf(eyes, sizeof eyes, ", attention of head %lld of %d of %.60s", (long long)o->head, w->heads,
             o->saliency ? o->saliency : "the network itself");
  else if (occlusion_looks(o))
    snprintf(eyes, sizeof eyes, ", attention of %d heads of %.60s", w->heads,
             o->saliency ? o->saliency : "the network itself");
  snprintf(r->protocol, sizeof r->protocol,
           "%s; %s of %d x %d cells dropped to %s%s; auc: mean height over shares 0 to %g; %lld %s, seed %lld",
           sm_classifier_what(w->q.classifier), o->drop == WAYS ? "random, salient, nonsalient" : drops[o->drop],
           w->grid.rows, w->grid.cols, o->fill ? "black" : "the mean colour", eyes, w->share[w->shares - 1],
           (long long)w->c.counted, sm_plural(w->c.counted, "picture", "pictures"), (long long)o->ask.seed);
}

static sm_status occlusion_figures(occluding *w, sm_eval_result *r, sm_error *err) {
  sm_status status = curve_end(&w->c, err);
  if (!status) curve_point(&w->c, 0, r, "top1");
  for (int way = 0; !status && way < WAYS; way++)
    if (occlusion_has(w->o, way)) status = occlusion_way(w, way, r, err);
  if (!status) occlusion_protocol(w, r);
  return status;
}

static void occlusion_names(const void *self, sm_text *out) {
  const occlusion *o = self;
  double share[SM_LIST_MAX];
  char name[48];
  const int shares = occlusion_shares(o, share);
  sm_text_add(out, "top1 ");
  for (int way = 0; way < WAYS; way++) {
    if (!occlusion_has(o, way)) continue;
    sm_text_add(out, "auc.%s ", drops[way]);
    for (int s = 0; s < shares; s++) {
      sm_text_add(out, "%s ", occlusion_name(name, "", drops[way], share[s]));
      if (way != RANDOM) sm_text_add(out, "%s ", occlusion_name(name, "lost.", drops[way], share[s]));
    }
  }
}

/* ---- running ------------------------------------------------------------------------------------------- */

static sm_status occlusion_prepare(occluding *w, sm_error *err) {
  const occlusion *o = w->o;
  float mean[3], std[3];
  w->grid = (cells){(int)o->grid.v[0], (int)o->grid.v[o->grid.n - 1], w->x->height, w->x->width};
  w->shares = occlusion_shares(o, w->share);
  sm_picture_normalisation(w->x, mean, std);
  for (int c = 0; c < 3; c++) w->colour[c] = o->fill ? -mean[c] / std[c] : 0;
  return cells_check(&w->grid, err);
}

static sm_status occlusion_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  const occlusion *o = self;
  occluding w = {.o = o, .x = x};
  sm_features test;
  sm_status status = occlusion_prepare(&w, err);
  x->doing = "where the network looks";
  if (!status) status = curve_open(&w.c, x, &o->ask, 1 + w.shares * (o->drop == WAYS ? WAYS : 1), err);
  if (!status) status = occlusion_saliency(&w, err);
  if (!status) status = ask_open(x, &o->ask, &w.q, &test, err);
  if (!status) status = occlusion_ask_all(&w, &test, err);
  if (!status) status = occlusion_figures(&w, result, err);
  ask_close(&w.q);
  curve_free(&w.c);
  sm_free(w.mass);
  sm_free(w.hidden);
  sm_free(w.lost);
  return status;
}

static const sm_evaluation_ops ops = {occlusion_run, occlusion_wants, occlusion_names};
static const sm_plugin occlusion_plugin = {
    .kind = SM_EVALUATION,
    .name = "occlusion",
    .summary = "accuracy of a classifier on frozen features when a share of each picture is dropped",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite = "Naseer et al., Intriguing Properties of Vision Transformers, NeurIPS 2021",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(occlusion),
    .create = occlusion_create,
    .destroy = occlusion_destroy,
    .ops = &ops,
    .host = offsetof(occlusion, host),
};
SM_MODULE(&occlusion_plugin)

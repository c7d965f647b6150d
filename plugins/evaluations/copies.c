/* plugins/evaluations/copies.c — copy detection: edited pictures ask for the one that they were made of,
 * among originals and pictures that have nothing to do with them. The copies are made here of test pictures
 * (copies_edits.c), or read as Copydays' (copies_folder.c); features are whitened by training pictures, as
 * DINO's eval_copy_detection.py has it, but about their mean. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <smalti/measure.h>
#include <smalti/retrieval.h>

#include "copies.h"

enum { ASKED_MOST = 256, RANKED_MOST = 1 << 24 }; /* queries of a ranking, and its entries, at a time */

static const sm_option options[] = {
    SM_PATH(
        copies, folder, "folder", "~",
        "copies that lie there as Copydays': original/, strong/, crops/50/ …; left out: they are made of test "
        "pictures"),
    SM_INT(copies, pictures, "pictures", "200", 2, 1e6, "pictures",
           "how many test pictures are copied, drawn by the seed"),
    SM_INT(
        copies, distractors, "distractors", "2000", 0, 1e7, "pictures",
        "training pictures that are ranked too, at most half of them where others are whitened by; Copydays: "
        "10000"),
    SM_INT(copies, whiten, "whiten", "4000", 0, 1e7, "pictures",
           "other training pictures, by which features are whitened; 0: they are not. Copydays: 20000"),
    SM_PATH(copies, whitening, "whitening", "~",
            "a file that keeps the whitening: read where it is there, else written; of one network, once "
            "trained"),
    SM_CHOICE(copies, features, "features", "cls_gem", looks_kinds,
              "[CLS] and the generalised mean of the patches, or one of them"),
    SM_FLOAT(copies, power, "power", "4", 1, 100, NULL, "of the generalised mean"),
    SM_INTS(copies, crop, "crop", "[20, 50, 80]", 1, 95, "%", "of a picture's area that a crop cuts off"),
    SM_INTS(copies, jpeg, "jpeg", "[20, 10, 5]", 1, 100, NULL, "qualities of JPEG"),
    SM_INTS(copies, resize, "resize", "[4, 8]", 2, 64, NULL, "how many times smaller both sides become"),
    SM_INT(copies, depth, "depth", "0", 0, 1e7, "pictures",
           "of a ranking that count, an original behind them is not found; 0: all. Copydays: 20"),
    SM_INT(copies, seed, "seed", "0", 0, 1e9, NULL, "of pictures and edits"),
};

static void copies_wants(const void *self, sm_feature_spec *spec) {
  (void)self;
  spec->blocks = 1;
  spec->labels = SM_LABELS_ANY;
}

/* ---- rows of features ---------------------------------------------------------------------------------- */

typedef struct rows {
  int64_t n;
  float *x, *small; /* (n, dim), (n, LOOKS_SMALL_DIM) */
  int64_t *which;   /* (n), in the set: those that could be read */
} rows;

static void rows_free(rows *r) {
  sm_free(r->x);
  sm_free(r->small);
  sm_free(r->which);
  *r = (rows){0};
}

typedef struct run {
  const copies *o;
  sm_eval_context *x;
  looks looks;
  copies_list list;
  int64_t done, all; /* pictures that the network looks at */
  int64_t *picture;  /* (originals) numbers of the test pictures */
  int32_t *owner;    /* (originals, or files.n): whose each picture is */
  int64_t originals;
  int32_t units;
  int64_t *train; /* drawn training pictures: distractors, then those to whiten by */
  int64_t distractors, whitened;
  sm_whitening white; /* dim 0: none */
  int64_t n;          /* of the database */
  float *base[COPIES_SPACES];
  int32_t *of; /* (n) owner, -1: distractor */
  copies_scores scores;
  int64_t queries;
} run;

static int run_dim(const run *r, int space) { return space == COPIES_SMALL ? LOOKS_SMALL_DIM : r->looks.dim; }

static copies_set run_set(const run *r, sm_dataset from, const int64_t *index, int64_t n,
                          const copies_edit *edit) {
  const int side = r->x->height > r->x->width ? r->x->height : r->x->width;
  return (copies_set){from,         index,      n, edit, (uint64_t)r->o->seed, r->o->folder ? 0 : side,
                      r->x->height, r->x->width};
}

static sm_status run_rows(run *r, copies_set *set, rows *to, sm_error *err) {
  const sm_picture_request request = {
      .own = &copies_set_ops, .own_self = set, .resize = set->height < set->width ? set->height : set->width};
  const size_t n = (size_t)(set->n ? set->n : 1), dim = (size_t)r->looks.dim;
  sm_pictures *pictures = NULL;
  sm_picture_batch b;
  *to = (rows){.x = sm_malloc(n * dim * sizeof(float)),
               .small = sm_malloc(n * LOOKS_SMALL_DIM * sizeof(float)),
               .which = sm_malloc(n * sizeof(int64_t))};
  if (!to->x || !to->small || !to->which || !set->n)
    return set->n ? sm_fail(err, SM_ENOMEM, "no memory for features of %zu pictures", n) : SM_OK;
  sm_status status = sm_pictures_open(r->x, &request, &pictures, err);
  while (!status && !(status = sm_pictures_next(pictures, &b, err)) && b.n)
    for (int i = 0; !status && i < b.n; i++) {
      const float *x = b.x + (int64_t)i * 3 * set->height * set->width;
      to->which[to->n] = b.index[i];
      looks_small(x, set->height, set->width, to->small + to->n * LOOKS_SMALL_DIM);
      status = looks_row(&r->looks, x, set->height, set->width, to->x + to->n * r->looks.dim, err);
      to->n++;
      if (!status) status = r->x->going_on(r->x, (double)(r->done + to->n) / (double)r->all, err);
    }
  sm_pictures_close(pictures);
  r->done += set->n;
  return status;
}

/* Into a space: whitened, or as they are, in each case of length 1. */
static sm_status run_place(const run *r, const rows *from, int space, float *to, sm_error *err) {
  const int dim = run_dim(r, space);
  if (space == COPIES_WHITE) return sm_whitening_apply(&r->white, from->x, from->n, r->x->pool, to, err);
  if (from->n)
    memcpy(to, space == COPIES_SMALL ? from->small : from->x, (size_t)from->n * (size_t)dim * sizeof *to);
  sm_unit_rows(to, from->n, dim);
  return SM_OK;
}

/* ---- which pictures ------------------------------------------------------------------------------------ */

/* Some of a split in an order drawn by the seed, at most `most` of them. */
static sm_status run_draw(const run *r, const char *split, int64_t most, uint32_t purpose, int64_t **to,
                          int64_t *n, sm_error *err) {
  sm_picture_list list;
  sm_status status = sm_picture_list_get(r->x, split, &list, err);
  if (status) return status;
  uint32_t *order = sm_malloc((size_t)(list.n + 1) * sizeof *order);
  *n = list.n < most ? list.n : most;
  *to = sm_malloc((size_t)(*n + 1) * sizeof **to);
  if (!order || !*to || list.n > UINT32_MAX)
    status = sm_fail(err, SM_ENOMEM, "no memory for a choice of %lld pictures", (long long)list.n);
  else {
    sm_rng rng = sm_rng_make((uint64_t)r->o->seed, SM_RNG_EVAL, 0, 0, purpose);
    for (int64_t i = 0; i < list.n; i++) order[i] = (uint32_t)i;
    sm_rng_shuffle(&rng, order, (size_t)list.n);
    for (int64_t i = 0; i < *n; i++) (*to)[i] = list.index[order[i]];
  }
  sm_free(order);
  return status;
}

static sm_status run_choose_training(run *r, sm_error *err) {
  int64_t n = 0;
  if (!r->o->whiten && !r->o->distractors) return SM_OK;
  sm_status status = run_draw(r, "train", r->o->whiten + 2 * r->o->distractors, 11, &r->train, &n, err);
  const int64_t most = r->o->whiten ? n / 2 : n;
  r->distractors = r->o->distractors < most ? r->o->distractors : most;
  r->whitened = r->o->whiten < n - r->distractors ? r->o->whiten : n - r->distractors;
  if (!r->o->whiten) r->whitened = 0;
  return status;
}

static sm_status run_choose_made(run *r, sm_error *err) {
  copies_made_list(r->o, &r->list);
  sm_status status = run_draw(r, "test", r->o->pictures, 10, &r->picture, &r->originals, err);
  if (status) return status;
  r->owner = sm_malloc((size_t)(r->originals + 1) * sizeof *r->owner);
  if (!r->owner) return sm_fail(err, SM_ENOMEM, "no memory for %lld pictures", (long long)r->originals);
  for (int64_t i = 0; i < r->originals; i++) r->owner[i] = (int32_t)i;
  r->units = (int32_t)r->originals;
  r->all += r->originals * (1 + r->list.edits);
  return SM_OK;
}

static sm_status run_choose_read(run *r, sm_error *err) {
  sm_status status = copies_folder_list(r->o->folder, &r->list, err);
  if (status) return status;
  const int64_t n = r->list.files.n;
  r->originals = r->list.originals;
  r->picture = sm_malloc((size_t)n * sizeof *r->picture);
  r->owner = sm_malloc((size_t)n * sizeof *r->owner);
  if (!r->picture || !r->owner) return sm_fail(err, SM_ENOMEM, "no memory for %lld pictures", (long long)n);
  for (int64_t i = 0; i < n; i++) r->picture[i] = i;
  r->all += n;
  return copies_folder_owners(&r->list, r->owner, &r->units, err);
}

static sm_status run_choose(run *r, sm_error *err) {
  sm_status status = run_choose_training(r, err);
  if (!status) status = r->o->folder ? run_choose_read(r, err) : run_choose_made(r, err);
  r->all += r->distractors + r->whitened;
  return status;
}

static sm_status run_originals_from(run *r, sm_dataset *from, sm_error *err) {
  if (!r->o->folder) return sm_picture_dataset(r->x, "test", from, err);
  *from = (sm_dataset){&outside_ops, &r->list.files};
  return SM_OK;
}

/* ---- whitening ----------------------------------------------------------------------------------------- */

/* The features of a picture that everybody can make: waves of all directions. */
static sm_status run_probe(run *r, float *row, sm_error *err) {
  const int height = r->x->height, width = r->x->width;
  float *x = sm_malloc(3 * (size_t)height * (size_t)width * sizeof *x);
  if (!x) return sm_fail(err, SM_ENOMEM, "no memory for a picture");
  for (int c = 0; c < 3; c++)
    for (int v = 0; v < height; v++)
      for (int u = 0; u < width; u++)
        x[((int64_t)c * height + v) * width + u] =
            (float)((u * (3 + c) + v * (5 - c) + u * v / 7) % 61) / 15 - 2;
  sm_status status = looks_row(&r->looks, x, height, width, row, err);
  sm_free(x);
  return status;
}

static sm_status run_learn(run *r, sm_error *err) {
  rows learnt = {0};
  sm_dataset train;
  sm_status status = sm_picture_dataset(r->x, "train", &train, err);
  if (status) return status;
  copies_set set = run_set(r, train, r->train + r->distractors, r->whitened, NULL);
  status = run_rows(r, &set, &learnt, err);
  if (!status)
    status = sm_whitening_learn(learnt.x, learnt.n, r->looks.dim, true, r->x->pool, &r->white, err);
  if (!status && learnt.n < r->looks.dim)
    sm_log(SM_LOG_WARNING,
           "copies: %d features are whitened by %lld pictures only: give more training pictures, or "
           "compare `plain`",
           r->looks.dim, (long long)learnt.n);
  r->whitened = learnt.n;
  rows_free(&learnt);
  return status;
}

static sm_status run_whiten(run *r, sm_error *err) {
  char what[160], features[64];
  struct stat st;
  const bool there = r->o->whitening && stat(r->o->whitening, &st) == 0;
  if (!r->o->whiten) return SM_OK;
  if (!r->o->whitening) return run_learn(r, err);
  float *probe = sm_malloc((size_t)r->looks.dim * sizeof *probe);
  sm_status status = probe ? run_probe(r, probe, err) : sm_fail(err, SM_ENOMEM, "no memory for features");
  snprintf(what, sizeof what, "%s, %d x %d", looks_what(&r->looks, features, sizeof features), r->x->height,
           r->x->width);
  if (!status && there) {
    r->all -= r->whitened, r->whitened = 0;
    status = sm_whitening_read(r->o->whitening, what, probe, r->looks.dim, &r->white, err);
  } else if (!status) {
    status = run_learn(r, err);
    if (!status) status = sm_whitening_write(&r->white, what, probe, r->o->whitening, err);
  }
  sm_free(probe);
  return status;
}

/* ---- the database -------------------------------------------------------------------------------------- */

static sm_status run_reserve(run *r, int64_t n, sm_error *err) {
  r->scores.used[COPIES_WHITE] = r->white.dim > 0, r->scores.used[COPIES_PLAIN] = true;
  r->scores.used[COPIES_SMALL] = r->x->network != NULL;
  r->of = sm_malloc((size_t)n * sizeof *r->of);
  bool room = r->of != NULL;
  for (int k = 0; k < COPIES_SPACES; k++)
    if (r->scores.used[k])
      room &= (r->base[k] = sm_malloc((size_t)n * (size_t)run_dim(r, k) * sizeof(float))) != NULL;
  return room ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for features of %lld pictures", (long long)n);
}

/* These pictures behind those that are there. */
static sm_status run_database_add(run *r, copies_set *set, const int32_t *owner, sm_error *err) {
  rows got = {0};
  sm_status status = run_rows(r, set, &got, err);
  for (int k = 0; !status && k < COPIES_SPACES; k++)
    if (r->scores.used[k]) status = run_place(r, &got, k, r->base[k] + r->n * run_dim(r, k), err);
  for (int64_t i = 0; !status && i < got.n; i++) r->of[r->n++] = owner ? owner[got.which[i]] : -1;
  rows_free(&got);
  return status;
}

static sm_status run_database(run *r, sm_error *err) {
  sm_dataset from, train;
  sm_status status = run_reserve(r, r->originals + r->distractors, err);
  if (!status) status = run_originals_from(r, &from, err);
  if (status) return status;
  copies_set originals = run_set(r, from, r->picture, r->originals, NULL);
  status = run_database_add(r, &originals, r->owner, err);
  r->originals = r->n;
  if (!status && r->originals < 2)
    status = sm_fail(err, SM_EINVAL, "copy detection needs two originals, and %lld could be read",
                     (long long)r->originals);
  if (status || !r->distractors) return status;
  if ((status = sm_picture_dataset(r->x, "train", &train, err))) return status;
  copies_set others = run_set(r, train, r->train, r->distractors, NULL);
  status = run_database_add(r, &others, NULL, err);
  r->distractors = r->n - r->originals;
  return status;
}

/* ---- asking -------------------------------------------------------------------------------------------- */

typedef struct asking {
  int64_t at_once, depth;
  float *query;
  int64_t *nearest; /* (at_once, depth) */
  uint8_t *role;    /* (n) */
} asking;

static void run_score(run *r, const asking *a, int edit, int space, int32_t owner, const int64_t *ranking) {
  int64_t relevant = 0;
  for (int64_t i = 0; i < r->n; i++) {
    a->role[i] = r->of[i] == owner ? SM_RELEVANT : SM_OTHER;
    relevant += r->of[i] == owner;
  }
  if (!relevant) return; /* its original could not be read */
  copies_scores_add(&r->scores, owner, edit, space,
                    100 * sm_ranking_ap(ranking, a->depth, a->role, relevant, NULL, 0, NULL));
  if (space == COPIES_PLAIN) copies_scores_count(&r->scores, owner, edit), r->queries++;
}

static sm_status run_ask_rows(run *r, const asking *a, const rows *from, const int32_t *owner, int edit,
                              sm_error *err) {
  sm_status status = SM_OK;
  for (int k = 0; !status && k < COPIES_SPACES; k++) {
    const int dim = run_dim(r, k);
    if (!r->scores.used[k]) continue;
    status = run_place(r, from, k, a->query, err);
    for (int64_t at = 0; !status && at < from->n; at += a->at_once) {
      const int64_t some = from->n - at < a->at_once ? from->n - at : a->at_once;
      status = sm_nearest_rows(r->base[k], r->n, a->query + at * dim, some, dim, a->depth, r->x->pool,
                               a->nearest, NULL, err);
      for (int64_t i = 0; !status && i < some; i++)
        run_score(r, a, edit, k, owner[from->which[at + i]], a->nearest + i * a->depth);
    }
  }
  return status;
}

static sm_status run_ask(run *r, asking *a, const sm_dataset *from, int64_t most, sm_error *err) {
  const int wide = r->looks.dim > LOOKS_SMALL_DIM ? r->looks.dim : LOOKS_SMALL_DIM;
  a->depth = r->o->depth && r->o->depth < r->n ? r->o->depth : r->n;
  a->at_once = RANKED_MOST / r->n;
  if (a->at_once > ASKED_MOST) a->at_once = ASKED_MOST;
  if (a->at_once < 1) a->at_once = 1;
  a->query = sm_malloc((size_t)most * (size_t)wide * sizeof *a->query);
  a->nearest = sm_malloc((size_t)(a->at_once * a->depth) * sizeof *a->nearest);
  a->role = sm_malloc((size_t)r->n);
  sm_status status =
      a->query && a->nearest && a->role
          ? copies_scores_new(&r->scores, r->units, r->list.edits, err)
          : sm_fail(err, SM_ENOMEM, "no memory for a ranking of %lld pictures", (long long)r->n);
  for (int e = 0; !status && e < r->list.edits; e++) {
    const copies_edit *edit = &r->list.edit[e];
    const int64_t first = r->o->folder ? edit->first : 0;
    rows got = {0};
    copies_set set = r->o->folder ? run_set(r, *from, r->picture + first, edit->n, NULL)
                                  : run_set(r, *from, r->picture, most, edit);
    status = run_rows(r, &set, &got, err);
    if (!status) status = run_ask_rows(r, a, &got, r->owner + first, e, err);
    rows_free(&got);
  }
  sm_free(a->query);
  sm_free(a->nearest);
  sm_free(a->role);
  return status;
}

static sm_status run_queries(run *r, sm_error *err) {
  asking a = {0};
  sm_dataset from;
  int64_t most = r->units; /* of one edit */
  for (int e = 0; e < r->list.edits; e++)
    if (r->list.edit[e].n > most) most = r->list.edit[e].n;
  sm_status status = run_originals_from(r, &from, err);
  return status ? status : run_ask(r, &a, &from, most, err);
}

/* ---- the evaluation ------------------------------------------------------------------------------------ */

static void run_protocol(const run *r, sm_eval_result *result) {
  char features[64], white[64] = "not whitened", depth[48] = "";
  if (r->white.dim && r->whitened)
    snprintf(white, sizeof white, "whitened about the mean of %lld training pictures",
             (long long)r->whitened);
  else if (r->white.dim) snprintf(white, sizeof white, "whitened by a file");
  if (r->o->depth) snprintf(depth, sizeof depth, ", first %lld of a ranking", (long long)r->o->depth);
  snprintf(result->protocol, sizeof result->protocol,
           "%s find their originals by cosine, %s, %s; whole pictures squashed to %d x %d; %d edits, "
           "%lld queries, %lld originals, %lld distractors%s; map: mean of the groups; seed %lld",
           r->o->folder ? "copies of a folder" : "made copies",
           looks_what(&r->looks, features, sizeof features), white, r->x->height, r->x->width, r->list.edits,
           (long long)r->queries, (long long)r->originals, (long long)r->distractors, depth,
           (long long)r->o->seed);
}

static sm_status copies_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  run *r = sm_calloc(1, sizeof *r);
  if (!r) return sm_fail(err, SM_ENOMEM, "no memory for an evaluation");
  r->o = self, r->x = x;
  x->doing = "copies";
  sm_status status = looks_open(&r->looks, x, (looks_kind)r->o->features, r->o->power, err);
  if (!status) status = run_choose(r, err);
  if (!status) status = run_whiten(r, err);
  if (!status) status = run_database(r, err);
  if (!status) status = run_queries(r, err);
  if (!status) status = copies_figures(&r->scores, &r->list, result, err);
  if (!status) run_protocol(r, result);
  looks_close(&r->looks);
  outside_free(&r->list.files);
  sm_free(r->picture);
  sm_free(r->owner);
  sm_free(r->train);
  sm_whitening_free(&r->white);
  for (int k = 0; k < COPIES_SPACES; k++) sm_free(r->base[k]);
  sm_free(r->of);
  copies_scores_free(&r->scores);
  sm_free(r);
  return status;
}

static sm_status copies_create(void *self, sm_error *err) {
  const copies *o = self;
  if (!o->whitening || o->whiten) return SM_OK;
  sm_fail(err, SM_EINVAL, "a file `whitening` is given, but `whiten` is 0: nothing is whitened");
  return sm_hint(err, "leave one of them out");
}

/* Of a folder, those of Copydays. */
static void copies_folder_names(sm_text *out) {
  static const int jpeg[] = {3, 5, 8, 10, 15, 20, 30, 50, 75}, crops[] = {10, 15, 20, 30, 40, 50, 60, 70, 80};
  sm_text_add(out, "map.strong map.jpegqual map.crops ");
  for (int i = 0; i < 9; i++) sm_text_add(out, "map.jpegqual%d map.crops%d ", jpeg[i], crops[i]);
}

static void copies_names(const void *self, sm_text *out) {
  const copies *o = self;
  copies_list *l = sm_malloc(sizeof *l);
  sm_text_add(out, "map plain pixels ");
  if (o->folder || !l) copies_folder_names(out);
  else {
    copies_made_list(o, l);
    for (int g = 0; g < l->groups; g++) sm_text_add(out, "map.%s ", l->group[g]);
    for (int e = 0; e < l->edits; e++)
      sm_text_add(out, "map.%s%s ", l->group[l->edit[e].group], l->edit[e].level);
  }
  sm_free(l);
}

static const sm_evaluation_ops ops = {copies_run, copies_wants, copies_names};
static const sm_plugin plugin = {
    .kind = SM_EVALUATION,
    .name = "copies",
    .summary =
        "mean average precision of originals, ranked for copies that were cropped, compressed, written over",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite = "Douze et al., Evaluation of GIST descriptors for web-scale image search, CIVR 2009",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(copies),
    .create = copies_create,
    .ops = &ops,
};
SM_MODULE(&plugin)

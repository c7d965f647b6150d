/* pictures.c — the pictures of a split as evaluations take them: lists, a part of the training pictures, and
 * batches of centres or of crops, from the one loader or the other.
 *
 * The evaluator owns lists and part; opened pictures own their loader and borrow the list of which. */
#include <string.h>

#include "framework/nn/pieces.h"

#include "classes.h"
#include "evaluator.h"
#include "subset.h"

static const char *const split_name[SM_EVAL_SPLITS] = {"train", "test", "train"};

/* ---- lists --------------------------------------------------------------------------------------------- */

sm_status sm_evaluator_split(const sm_evaluator *e, const char *name, int *which, sm_error *err) {
  *which = !strcmp(name, "test") ? SM_EVAL_TEST : e->list[SM_EVAL_PART].index ? SM_EVAL_PART : SM_EVAL_TRAIN;
  if (*which == SM_EVAL_TEST || !strcmp(name, "train")) return SM_OK;
  return sm_fail(err, SM_EINVAL, "no split called '%s'; there are train and test", name);
}

static const sm_dataset *pictures_of(const sm_evaluator *e, int which) {
  return which == SM_EVAL_TEST ? &e->c.test : &e->c.train;
}

/* Whether test classes are numbered by themselves. */
static bool pictures_own_numbers(sm_labels labels) { return labels == SM_LABELS_TEST || labels == SM_LABELS_NONE; }

/* Which number each class of the split's data set has. */
static sm_status pictures_classes(const sm_evaluator *e, int which, sm_class_numbers *to, sm_error *err) {
  const sm_dataset *train = &e->c.train, *own = pictures_of(e, which);
  sm_status status = sm_classes_number(own, to, err);
  if (status || which != SM_EVAL_TEST || pictures_own_numbers(e->labels) || !train->ops) return status;
  sm_class_numbers known;
  status = sm_classes_number(train, &known, err);
  if (!status && known.n) status = sm_classes_match(train, &known, own, to, err);
  sm_free(known.of);
  return status;
}

sm_status sm_evaluator_class_names(sm_evaluator *e, const char *split,
                                   void (*take)(void *ctx, const char *name), void *ctx, sm_error *err) {
  int which = 0;
  sm_status status = sm_evaluator_split(e, split, &which, err);
  if (!status) status = sm_evaluator_list(e, which, err);
  if (status) return status;
  bool theirs = which == SM_EVAL_TEST && !pictures_own_numbers(e->labels) && e->c.train.ops;
  sm_class_numbers numbers = {0};
  const sm_dataset *d = theirs ? &e->c.train : pictures_of(e, which == SM_EVAL_PART ? SM_EVAL_TRAIN : which);
  status = sm_classes_number(d, &numbers, err);
  if (!status && theirs && !numbers.n) { /* unlabelled training pictures have no say */
    sm_free(numbers.of);
    status = sm_classes_number(d = &e->c.test, &numbers, err);
  }
  for (int c = 0; !status && c < numbers.n; c++) take(ctx, sm_classes_name(d, &numbers, c));
  sm_free(numbers.of);
  return status;
}

static void pictures_list_free(sm_picture_list *l) {
  sm_free((void *)l->index);
  sm_free((void *)l->label);
  *l = (sm_picture_list){0};
}

static sm_status pictures_list_new(sm_picture_list *l, int64_t n, int64_t **index, int32_t **label,
                                   sm_error *err) {
  size_t room = n > 0 ? (size_t)n : 1;
  *index = sm_malloc(room * sizeof **index);
  *label = sm_malloc(room * sizeof **label);
  l->n = n, l->index = *index, l->label = *label;
  if (*index && *label) return SM_OK;
  pictures_list_free(l);
  return sm_fail(err, SM_ENOMEM, "no memory for a list of %lld pictures", (long long)n);
}

static sm_status pictures_none(int which, sm_error *err) {
  sm_fail(err, SM_EINVAL, "there are no %s pictures to evaluate on", split_name[which]);
  return sm_hint(err, "give the recipe data.%s, or name a folder of pictures: --%s FOLDER", split_name[which],
                 split_name[which]);
}

static sm_status pictures_list(sm_evaluator *e, int which, sm_error *err) {
  const sm_dataset *d = pictures_of(e, which);
  sm_picture_list *l = &e->list[which];
  int64_t n = d->ops->count(d->self), *index;
  int32_t *label;
  sm_class_numbers numbers;
  sm_status status = pictures_list_new(l, n, &index, &label, err);
  if (status) return status;
  status = pictures_classes(e, which, &numbers, err);
  l->classes = numbers.n;
  l->hash = d->ops->hash(d->self);
  for (int64_t i = 0; !status && i < n; i++) {
    const int c = d->ops->label(d->self, i);
    index[i] = i, label[i] = c < 0 || !numbers.of ? -1 : numbers.of[c];
  }
  sm_free(numbers.of);
  if (!status && !e->met[which] && !(e->met[which] = sm_calloc((size_t)n + 1, 1)))
    status = sm_fail(err, SM_ENOMEM, "no memory for a list of %lld pictures", (long long)n);
  if (status) pictures_list_free(l);
  return status;
}

sm_status sm_evaluator_list(sm_evaluator *e, int which, sm_error *err) {
  if (e->list[which].index) return SM_OK;
  return pictures_of(e, which)->ops ? pictures_list(e, which, err) : pictures_none(which, err);
}

void sm_evaluator_whole(sm_evaluator *e) { pictures_list_free(&e->list[SM_EVAL_PART]); }

void sm_evaluator_labels(sm_evaluator *e, sm_labels labels) {
  const bool renumbered = pictures_own_numbers(e->labels) != pictures_own_numbers(labels);
  e->labels = labels;
  if (renumbered) pictures_list_free(&e->list[SM_EVAL_TEST]);
}

sm_status sm_evaluator_check(sm_evaluator *e, const sm_evaluation_ops *ops, const void *self, sm_error *err) {
  sm_feature_spec want = {0};
  if (ops->wants) ops->wants(self, &want);
  sm_evaluator_labels(e, want.labels);
  if (want.labels == SM_LABELS_ANY || want.labels == SM_LABELS_NONE) return SM_OK;
  const bool both = want.labels == SM_LABELS_BOTH;
  const sm_picture_list *train = &e->list[SM_EVAL_TRAIN], *test = &e->list[SM_EVAL_TEST];
  sm_status status = both ? sm_evaluator_list(e, SM_EVAL_TRAIN, err) : SM_OK;
  if (!status && both) status = sm_classes_two("training", train->classes, err);
  if (!status) status = sm_evaluator_list(e, SM_EVAL_TEST, err);
  if (status) return status;
  const int classes = both ? train->classes : test->classes;
  return sm_classes_check(want.labels, (sm_label_list){train->label, train->n},
                          (sm_label_list){test->label, test->n}, classes, err);
}

sm_status sm_evaluation_check(sm_dataset train, sm_dataset test, const sm_evaluation_ops *ops,
                              const void *self, sm_error *err) {
  sm_evaluator lists = {.c = {.train = train, .test = test}};
  sm_status status = sm_evaluator_check(&lists, ops, self, err);
  sm_evaluator_forget_lists(&lists);
  return status;
}

sm_status sm_evaluations_check(const sm_recipe *r, sm_dataset train, sm_dataset test, sm_error *err) {
  for (int i = 0; i < r->evaluations; i++) {
    const sm_slot *slot = &r->evaluate[i];
    if (sm_evaluation_check(train, test, slot->plugin.plugin->ops, slot->plugin.self, err))
      return sm_fail_at(err, slot->file, slot->line, slot->col);
  }
  return SM_OK;
}

void sm_evaluator_forget_lists(sm_evaluator *e) {
  for (int i = 0; i < SM_EVAL_SPLITS; i++) pictures_list_free(&e->list[i]);
  for (int i = 0; i < 2; i++) {
    sm_free(e->met[i]);
    e->met[i] = NULL;
  }
}

/* Contexts of tests have features, but no pictures. */
static sm_status pictures_evaluator_of(const sm_eval_context *x, sm_evaluator **e, sm_error *err) {
  *e = x->core;
  return *e ? SM_OK : sm_fail(err, SM_EUNSUPPORTED, "this evaluation gets features only, and no pictures");
}

sm_status sm_picture_list_get(sm_eval_context *x, const char *split, sm_picture_list *list, sm_error *err) {
  sm_evaluator *e;
  int which = 0;
  sm_status status = pictures_evaluator_of(x, &e, err);
  if (!status) status = sm_evaluator_split(e, split, &which, err);
  if (!status) status = sm_evaluator_list(e, which, err);
  if (!status) *list = e->list[which];
  return status;
}

sm_status sm_picture_part(sm_eval_context *x, double share, uint64_t seed, sm_error *err) {
  sm_evaluator *e;
  int64_t *index, n;
  int32_t *label;
  sm_status status = pictures_evaluator_of(x, &e, err);
  if (status) return status;
  sm_evaluator_whole(e);
  e->part++;
  const sm_picture_list *all = &e->list[SM_EVAL_TRAIN];
  status = sm_evaluator_list(e, SM_EVAL_TRAIN, err);
  if (!status) status = sm_subset_balanced(all, share, seed, &index, &n, err);
  if (status) return status;
  if ((label = sm_malloc((size_t)n * sizeof *label)) == NULL) {
    sm_free(index);
    return sm_fail(err, SM_ENOMEM, "no memory for a list of %lld pictures", (long long)n);
  }
  for (int64_t i = 0; i < n; i++) label[i] = all->label[index[i]];
  e->list[SM_EVAL_PART] = (sm_picture_list){
      n, index, label, all->classes, sm_hash64(index, (size_t)n * sizeof *index, all->hash)};
  return SM_OK;
}

/* ---- opening ------------------------------------------------------------------------------------------- */

struct sm_pictures {
  const sm_picture_list *whole; /* of the split */
  uint8_t *met;
  sm_subset subset;     /* which of them */
  sm_eval_loader *centres; /* this one, */
  sm_eval_batch *centre;
  sm_loader *crops; /* or that one */
  sm_batch *crop;
  int64_t number; /* of the next one; of crops: which of all ranks'           */
  int64_t left;   /* of crops, that are still to come                          */
  int batch, step; /* crops of a batch; places of a step                       */
  int64_t each, steps; /* batches and steps of an epoch                        */
  int32_t *label;
  int64_t *index;
  bool own; /* pictures of the evaluation's own: their labels and indices are the loader's */
  sm_status (*edit)(void *ctx, int64_t index, sm_image *, sm_image_scratch *, sm_error *);
  void *edit_ctx;
};

static sm_view_recipe pictures_view(const sm_evaluator_config *c, const sm_picture_request *r) {
  sm_view_recipe v = sm_view_recipe_default();
  v.height = r->height, v.width = r->width;
  v.filter = r->filter;
  v.scale[0] = r->least_area, v.scale[1] = 1;
  v.ratio[0] = 3.0 / 4, v.ratio[1] = 4.0 / 3;
  v.flip_p = r->flip ? 0.5 : 0;
  v.jitter_p = v.grey_p = v.blur_p = v.solarize_p = 0;
  if (r->randaugment > 0) v.randaugment = (sm_randaugment){.layers = 2, r->randaugment, r->randaugment_std};
  memcpy(v.mean, c->mean, sizeof v.mean);
  memcpy(v.std, c->std, sizeof v.std);
  return v;
}

static sm_status pictures_open_crops(sm_pictures *p, const sm_evaluator_config *c, const sm_picture_request *r,
                                     sm_dataset d, sm_eval_sharing by, sm_error *err) {
  const sm_view_recipe view = pictures_view(c, r);
  const int batch = p->subset.n < r->batch ? (int)p->subset.n : r->batch, ranks = sm_ranks_size(by.ranks),
            groups = by.in_turn ? ranks : by.groups > 1 ? by.groups : 1, pieces = by.in_turn ? ranks : by.pieces > 1 ? by.pieces : 1,
            each = groups / pieces, turns = sm_ranks_longest(pieces, ranks) * each;
  p->batch = batch, p->step = batch * groups;
  p->each = r->epoch_batches ? r->epoch_batches : batch > 0 ? p->subset.n / batch : 0;
  p->steps = (p->each + groups - 1) / groups;
  const int64_t step = r->first_batch / groups, steps = p->steps * r->epochs;
  p->left = (steps - step) * turns;
  sm_loader_config config = {
      .dataset = d,
      .views = {.globals = 1, .global_first = view, .global_other = view, .local = view},
      .seed = r->seed,
      .batch_size = p->step,
      .steps_per_epoch = p->steps,
      .epoch_places = by.in_turn ? p->each * batch : 0,
      .last_step = steps,
      .workers = c->workers,
      .prefetch = SM_CROPS_AHEAD,
      .limits = c->limits,
      .max_bad = c->max_bad,
      .stop = c->stop,
      .ranks = by.ranks,
      .place = sm_pieces_first(pieces, by.ranks, 0) * each * batch,
      .pictures = sm_pieces_own(pieces, by.ranks) * each * batch,
      .rounds = turns,
      .round_pictures = batch};
  return p->left > 0 ? sm_loader_new(&config, step, &p->crops, err) : SM_OK;
}

/* The loader counts within the subset. */
static sm_status pictures_edit(void *ctx, int64_t index, sm_image *image, sm_image_scratch *scratch, sm_error *err) {
  const sm_pictures *p = ctx;
  return p->edit(p->edit_ctx, p->own ? index : p->subset.index[index], image, scratch, err);
}

static sm_status pictures_open_centres(sm_pictures *p, const sm_evaluator_config *c, const sm_picture_request *r,
                                       sm_dataset d, sm_ranks *ranks, sm_error *err) {
  p->edit = r->edit, p->edit_ctx = r->edit_ctx;
  sm_eval_loader_config config = {.dataset = d,
                                  .height = r->height,
                                  .width = r->width,
                                  .resize = r->resize ? r->resize : sm_image_eval_resize(r->height, r->width),
                                  .edit = r->edit ? pictures_edit : NULL,
                                  .edit_ctx = p,
                                  .filter = c->filter,
                                  .batch_size = r->batch,
                                  .workers = c->workers,
                                  .prefetch = SM_EVAL_AHEAD,
                                  .limits = c->limits,
                                  .max_bad = c->max_bad,
                                  .stop = c->stop,
                                  .ranks = ranks};
  memcpy(config.mean, c->mean, sizeof config.mean);
  memcpy(config.std, c->std, sizeof config.std);
  return sm_eval_loader_new(&config, &p->centres, err);
}

/* What an evaluation asks for, before its indices are used. */
static sm_status pictures_check_request(const sm_picture_request *r, const sm_picture_list *whole,
                                        sm_error *err) {
  if (r->n < 0 || r->batch < 0 || r->epochs < 0 || r->epoch_batches < 0 || r->first_batch < 0 ||
      r->height < 0 || r->width < 0)
    return sm_fail(err, SM_EINTERNAL, "a request for pictures has a number below 0");
  for (int64_t i = 0; r->index && i < r->n; i++)
    if (r->index[i] < 0 || r->index[i] >= whole->n)
      return sm_fail(err, SM_EINTERNAL, "a request for picture %lld of %lld of '%s'", (long long)r->index[i],
                     (long long)whole->n, r->split);
  return SM_OK;
}

/* Pictures that belong to no split. */
static sm_status pictures_open_own(sm_evaluator *e, const sm_picture_request *request, sm_pictures **out,
                                   sm_error *err) {
  sm_picture_request r = *request;
  sm_pictures *p = sm_calloc(1, sizeof *p);
  if (!p) return sm_fail(err, SM_ENOMEM, "no memory for pictures");
  if (!r.height || !r.width) r.height = e->c.height, r.width = e->c.width;
  if (!r.batch) r.batch = SM_EVAL_BATCH;
  p->own = true;
  p->label = sm_malloc((size_t)r.batch * sizeof *p->label);
  p->index = sm_malloc((size_t)r.batch * sizeof *p->index);
  sm_status status = p->label && p->index ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for pictures");
  if (!status) status = pictures_open_centres(p, &e->c, &r, (sm_dataset){r.own, r.own_self}, NULL, err);
  if (status) sm_pictures_close(p);
  else *out = p;
  return status;
}

sm_status sm_evaluator_open(sm_evaluator *e, const sm_picture_request *request, sm_eval_sharing by,
                            sm_pictures **out, sm_error *err) {
  sm_picture_request r = *request;
  int which = 0;
  *out = NULL;
  if (r.own) return pictures_open_own(e, request, out, err);
  sm_status status = sm_evaluator_split(e, r.split, &which, err);
  if (!status) status = sm_evaluator_list(e, which, err);
  if (status) return status;
  const int data = which == SM_EVAL_PART ? SM_EVAL_TRAIN : which;
  const sm_picture_list *list = &e->list[which];
  if ((status = pictures_check_request(&r, &e->list[data], err))) return status;
  if (!r.height || !r.width) r.height = e->c.height, r.width = e->c.width;
  if (!r.batch) r.batch = SM_EVAL_BATCH;
  if (!r.index) r.n = list->n;
  sm_pictures *p = sm_calloc(1, sizeof *p);
  if (!p) return sm_fail(err, SM_ENOMEM, "no memory for a batch of %d pictures", r.batch);
  p->whole = &e->list[data];
  p->met = e->met[data];
  p->subset = (sm_subset){pictures_of(e, data), r.index ? r.index : list->index, r.n};
  p->label = sm_malloc((size_t)r.batch * sizeof *p->label);
  p->index = sm_malloc((size_t)r.batch * sizeof *p->index);
  bool some = r.index || which == SM_EVAL_PART;
  sm_dataset d = some ? sm_subset_dataset(&p->subset) : *pictures_of(e, data);
  if (!p->label || !p->index)
    status = sm_fail(err, SM_ENOMEM, "no memory for a batch of %d pictures", r.batch);
  if (!status && r.geometry == SM_PICTURES_CROPS) status = pictures_open_crops(p, &e->c, &r, d, by, err);
  else if (!status) status = pictures_open_centres(p, &e->c, &r, d, by.ranks, err);
  for (int64_t i = 0; !status && i < r.n; i++) p->met[p->subset.index[i]] |= SM_EVAL_ASKED;
  if (status) sm_pictures_close(p);
  else *out = p;
  return status;
}

sm_status sm_pictures_open(sm_eval_context *x, const sm_picture_request *r, sm_pictures **out,
                           sm_error *err) {
  sm_evaluator *e;
  *out = NULL;
  sm_status status = pictures_evaluator_of(x, &e, err);
  return status ? status : sm_evaluator_open(e, r, (sm_eval_sharing){0}, out, err);
}

sm_status sm_picture_classes(sm_eval_context *x, const char *split, void (*take)(void *ctx, const char *name),
                             void *ctx, sm_error *err) {
  sm_evaluator *e;
  sm_status status = pictures_evaluator_of(x, &e, err);
  return status ? status : sm_evaluator_class_names(e, split, take, ctx, err);
}

void sm_picture_normalisation(const sm_eval_context *x, float mean[3], float std[3]) {
  const sm_evaluator *e = x->core;
  for (int c = 0; c < 3; c++) mean[c] = e ? e->c.mean[c] : 0, std[c] = e ? e->c.std[c] : 1;
}

/* ---- taking batches ------------------------------------------------------------------------------------ */

static void pictures_release(sm_pictures *p) {
  if (p->centre) sm_eval_loader_release(p->centres, p->centre);
  if (p->crop) sm_loader_release(p->crops, p->crop);
  p->centre = NULL, p->crop = NULL;
}

sm_status sm_pictures_next(sm_pictures *p, sm_picture_batch *to, sm_error *err) {
  const int64_t *from = NULL; /* as the loader counts them: within the subset */
  sm_status status = SM_OK;
  pictures_release(p);
  *to = (sm_picture_batch){.number = p->number};
  if (p->centres) {
    if ((status = sm_eval_loader_next(p->centres, &p->centre, err)) || !p->centre) return status;
    to->n = p->centre->pictures, to->x = p->centre->x, from = p->centre->sample;
  } else {
    if (!p->left || (status = sm_loader_next(p->crops, &p->crop, err))) return status;
    p->left--;
    to->number = p->crop->epoch * p->each + (p->crop->step % p->steps * p->step + p->crop->place) / p->batch;
    to->n = p->crop->pictures, to->x = p->crop->global, to->epoch = p->crop->epoch, from = p->crop->sample;
  }
  for (int i = 0; p->own && i < to->n; i++) p->index[i] = from[i], p->label[i] = p->centre->label[i];
  for (int i = 0; !p->own && i < to->n; i++) {
    p->index[i] = p->subset.index[from[i]];
    p->label[i] = p->whole->label[p->index[i]];
  }
  to->label = p->label, to->index = p->index;
  p->number++;
  return SM_OK;
}

bool sm_pictures_over(const sm_pictures *p) { return !p->centre && !p->crop; }

void sm_pictures_close(sm_pictures *p) {
  int64_t n = 0;
  if (!p) return;
  pictures_release(p);
  const sm_bad *bad = p->centres ? sm_eval_loader_bad(p->centres, &n)
                      : p->crops ? sm_loader_bad(p->crops, &n)
                                 : NULL;
  for (int64_t i = 0; !p->own && i < n; i++) p->met[p->subset.index[bad[i].index]] |= SM_EVAL_BAD;
  sm_eval_loader_free(p->centres);
  sm_loader_free(p->crops);
  sm_free(p->label);
  sm_free(p->index);
  sm_free(p);
}

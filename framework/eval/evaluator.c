/* evaluator.c — features of a backbone over a data set, and running evaluation plugins on them.
 *
 * Owns a forward-only graph and, for each split, one matrix with a row a picture: [CLS] of each kept block, the
 * last one at the end, then the mean of the patches. What evaluations ask for is a range of its columns, copied
 * unless it is the whole. Without a backbone a row is the picture itself. */
#include <string.h>

#include "evaluator.h"
#include "subset.h"

#define NO_ENLARGING 96 /* pictures whose shorter side is below this are cut whole, not from an eighth more */

static const char *const split_name[SM_EVAL_SPLITS] = {"train", "test", "train"};

/* ---- the graph ----------------------------------------------------------------------------------------- */

void sm_evaluator_want(sm_evaluator_config *c, const sm_evaluation_ops *ops, const void *self) {
  sm_feature_spec want = {.blocks = 1, .pool = SM_POOL_BOTH};
  if (ops->wants) ops->wants(self, &want);
  if (want.head) c->want_head = true;
  if (want.pool != SM_POOL_CLS) c->patches = true;
  if (want.pool == SM_POOL_MEAN) return;
  if (want.blocks == 0) c->some_blocks = true;
  else if (want.blocks > c->blocks) c->blocks = want.blocks;
}

static int some_blocks(const sm_evaluator *e) {
  return e->spec.depth < 1 ? 1 : e->spec.depth < SM_SOME_BLOCKS ? e->spec.depth : SM_SOME_BLOCKS;
}

static sm_status choose_blocks(sm_evaluator *e, sm_error *err) {
  e->blocks = e->c.blocks > 1 ? e->c.blocks : 1;
  if (e->c.some_blocks && some_blocks(e) > e->blocks) e->blocks = some_blocks(e);
  int most = (int)(sizeof e->block / sizeof *e->block);
  if (e->blocks == 1 || (e->blocks <= e->spec.depth && e->blocks <= most)) return SM_OK;
  sm_fail(err, SM_EINVAL, "features of the last %d blocks are wanted, but the backbone has %d%s", e->blocks,
          e->spec.depth, e->spec.depth > most ? " and gives at most 16" : "");
  return sm_hint(err, "ask for fewer n_last_blocks");
}

/* The tensors to read: the last block's are the tokens themselves. (B, tokens, D), or (B, D) of [CLS] alone. */
static void take_blocks(sm_evaluator *e, const sm_backbone_out *got) {
  for (int i = 0; i < e->blocks; i++) {
    sm_tensor *t = i == e->blocks - 1 ? got->tokens : got->blocks[i];
    if (!t)
      t = sm_graph_fail(e->graph, got->tokens ? "the backbone gives no features of its last blocks"
                                              : "the backbone gave no tokens");
    sm_keep(e->graph, e->block[i] = t);
  }
}

/* How many pictures the next run is over. */
static void set_pictures(const sm_evaluator *e, int n) {
  int32_t row[SM_EVAL_BATCH];
  sm_put(e->count, n);
  for (int i = 0; e->cls && i < n; i++) row[i] = (int32_t)(i * e->cls->slot->dim[1]);
  if (e->cls) sm_rows_set(e->cls, row, n);
}

static sm_status build(sm_evaluator *e, sm_error *err) {
  const sm_evaluator_config *c = &e->c;
  sm_status status = sm_backbone_ask(c->backbone, c->backbone_self, c->height, c->width, &e->spec, err);
  if (!status) status = choose_blocks(e, err);
  if (status) return status;
  sm_graph_config config = {.device = SM_CPU, .real = sm_set_real(c->set), .pool = c->pool, .bf16 = c->bf16};
  sm_graph *g = e->graph = sm_graph_new(&config, err);
  if (!g) return SM_ENOMEM;
  e->pass = sm_pass_begin(g, "features");
  e->count = sm_count(g, "pictures", SM_EVAL_BATCH);
  e->pictures = sm_input_real(g, "pictures", 4, (int64_t[]){SM_EVAL_BATCH, 3, c->height, c->width}, e->count);
  sm_backbone_in in = {.pictures = e->pictures};
  int64_t tokens = e->spec.prefix + (int64_t)(c->height / e->spec.patch) * (c->width / e->spec.patch);
  if (e->blocks > 1) in.last_blocks = e->blocks;
  if (!c->patches) in.only = e->cls = sm_rows_new(g, "cls", SM_EVAL_BATCH, SM_EVAL_BATCH, tokens, e->count);
  sm_backbone_out got = {0};
  c->backbone->build(c->backbone_self, g, &(sm_params){c->set, c->prefix}, &in, &got);
  take_blocks(e, &got);
  sm_pass_end(g);
  status = sm_graph_plan(g, err);
  if (!status) status = sm_graph_allocate(g, err);
  if (!status) set_pictures(e, SM_EVAL_BATCH);
  return status;
}

sm_status sm_evaluator_new(const sm_evaluator_config *c, sm_evaluator **out, sm_error *err) {
  sm_evaluator *e = sm_calloc(1, sizeof *e);
  *out = NULL;
  if (!e) return sm_fail(err, SM_ENOMEM, "no memory for an evaluation");
  e->c = *c;
  if (!e->c.prefix) e->c.prefix = "backbone.";
  sm_status status = c->backbone ? build(e, err) : SM_OK;
  e->dim = c->backbone ? e->spec.dim : 3 * (int64_t)c->height * c->width;
  e->width = c->backbone ? e->dim * (e->blocks + c->patches) : e->dim;
  if (status) sm_evaluator_free(e);
  else *out = e;
  return status;
}

static void forget(sm_eval_split *s) {
  for (int i = 0; i < SM_EVAL_COPIES; i++) sm_free(s->copy[i].x);
  sm_free(s->raw);
  sm_free(s->label);
  sm_free(s->sample);
  memset(s, 0, sizeof *s);
}

static void forget_part(sm_evaluator *e) {
  forget(&e->split[SM_EVAL_PART]);
  sm_free(e->part);
  e->part = NULL;
  e->parts = 0;
}

void sm_evaluator_reset(sm_evaluator *e) {
  forget_part(e);
  for (int i = 0; i < SM_EVAL_SPLITS; i++) forget(&e->split[i]);
}

void sm_evaluator_free(sm_evaluator *e) {
  if (!e) return;
  sm_evaluator_reset(e);
  sm_assigner_free(e->assigner);
  sm_graph_free(e->graph);
  sm_free(e);
}

size_t sm_evaluator_bytes(const sm_evaluator *e) {
  sm_plan_report r = {0};
  if (e->graph) sm_graph_report(e->graph, &r);
  return r.inputs + r.transient + r.worker;
}

sm_pool *sm_evaluator_pool(const sm_evaluator *e) { return e->c.pool; }
size_t sm_evaluator_width(const sm_evaluator *e) { return (size_t)e->width; }

double sm_evaluator_flops(const sm_evaluator *e) {
  sm_plan_report r = {0};
  if (!e->graph) return 0;
  set_pictures(e, SM_EVAL_BATCH); /* flops are those of the pictures there are */
  sm_graph_report(e->graph, &r);
  return r.flops / SM_EVAL_BATCH;
}

/* ---- labels -------------------------------------------------------------------------------------------- */

/* Folders may hold other classes, or the same in another order. */
sm_status sm_evaluator_classes(const sm_evaluator *e, int32_t **map, sm_error *err) {
  const sm_dataset *train = &e->c.train, *test = &e->c.test;
  int n = test->ops->classes(test->self), m = train->ops ? train->ops->classes(train->self) : 0;
  *map = NULL;
  if (!n || !m) return SM_OK;
  if (!(*map = sm_malloc((size_t)n * sizeof **map)))
    return sm_fail(err, SM_ENOMEM, "no memory for class names");
  for (int i = 0; i < n; i++) {
    const char *name = test->ops->class_name(test->self, i);
    int k = i < m && !strcmp(name, train->ops->class_name(train->self, i)) ? i : 0;
    while (k < m && strcmp(name, train->ops->class_name(train->self, k)) != 0) k++;
    (*map)[i] = (int32_t)k;
    if (k < m) continue;
    sm_free(*map);
    *map = NULL;
    sm_fail(err, SM_EINVAL, "test pictures have a class '%s' that no training picture has", name);
    return sm_hint(err, "training has %d classes, from '%s' to '%s'", m,
                   train->ops->class_name(train->self, 0), train->ops->class_name(train->self, m - 1));
  }
  return SM_OK;
}

/* ---- features ------------------------------------------------------------------------------------------ */

typedef struct pooling {
  const sm_evaluator *e;
  float *to;
} pooling;

/* Columns d … d + n of a picture's token as floats: graphs are f32 but for some tests. */
static void copy_token(const sm_tensor *t, int64_t picture, int64_t token, int64_t d, int64_t n, float *to) {
  int64_t at = picture * sm_item_elements(t) + token * t->dim[t->ndim - 1] + d;
  sm_read(t, at, n, to);
}

#define STRIP 64 /* columns summed together */

static void mean_of_patches(const sm_evaluator *e, const sm_tensor *t, int64_t i, float *to) {
  int64_t dim = e->dim, tokens = t->dim[1], prefix = e->spec.prefix;
  float part[STRIP];
  for (int64_t d = 0; d < dim; d += STRIP) {
    int n = dim - d < STRIP ? (int)(dim - d) : STRIP;
    double sum[STRIP] = {0};
    for (int64_t k = prefix; k < tokens; k++) {
      copy_token(t, i, k, d, n, part);
      for (int j = 0; j < n; j++) sum[j] += part[j];
    }
    for (int j = 0; j < n; j++) to[d + j] = (float)(sum[j] / (double)(tokens - prefix));
  }
}

static void pool_one(void *context, int64_t i, int worker) {
  const pooling *p = context;
  const sm_evaluator *e = p->e;
  (void)worker;
  float *to = p->to + i * e->width;
  for (int b = 0; b < e->blocks; b++) copy_token(e->block[b], i, 0, 0, e->dim, to + b * e->dim);
  if (e->c.patches) mean_of_patches(e, e->block[e->blocks - 1], i, to + e->blocks * e->dim);
}

void sm_evaluator_forward(sm_evaluator *e, const float *x, int pictures, float *to) {
  int64_t pixels = 3 * (int64_t)e->c.height * e->c.width;
  if (!e->graph) memcpy(to, x, (size_t)pictures * (size_t)e->width * sizeof *to);
  for (int first = 0; e->graph && first < pictures; first += SM_EVAL_BATCH) {
    int n = pictures - first < SM_EVAL_BATCH ? pictures - first : SM_EVAL_BATCH;
    const float *from = x + first * pixels;
    sm_write(e->pictures, 0, n * pixels, from);
    set_pictures(e, n);
    sm_graph_run(e->graph, e->pass);
    pooling p = {e, to + first * e->width};
    sm_pool_run(e->c.pool, n, pool_one, &p);
  }
}

static sm_status reserve(const sm_evaluator *e, sm_eval_split *s, int64_t n, sm_error *err) {
  size_t room = n > 0 ? (size_t)n : 1;
  s->raw = sm_malloc(room * (size_t)e->width * sizeof *s->raw);
  s->label = sm_malloc(room * sizeof *s->label);
  s->sample = sm_malloc(room * sizeof *s->sample);
  if (s->raw && s->label && s->sample) return SM_OK;
  return sm_fail(err, SM_ENOMEM, "no memory for the features of %lld pictures", (long long)n);
}

static void take_batch(sm_evaluator *e, sm_eval_split *s, const sm_eval_batch *b, const int32_t *map) {
  sm_evaluator_forward(e, b->x, b->pictures, s->raw + s->n * e->width);
  for (int i = 0; i < b->pictures; i++) {
    s->label[s->n + i] = map && b->label[i] >= 0 ? map[b->label[i]] : b->label[i];
    s->sample[s->n + i] = b->sample[i];
  }
  s->n += b->pictures;
}

sm_status sm_evaluator_dataset(const sm_evaluator *e, int which, sm_subset *subset, sm_dataset *d,
                               sm_error *err) {
  const sm_dataset *whole = which == SM_EVAL_TEST ? &e->c.test : &e->c.train;
  if (!whole->ops) {
    sm_fail(err, SM_EINVAL, "there are no %s pictures to evaluate on", split_name[which]);
    return sm_hint(err, "give the recipe data.%s, or name a folder of pictures: --%s FOLDER",
                   split_name[which], split_name[which]);
  }
  *subset = (sm_subset){&e->c.train, e->part, e->parts};
  *d = which == SM_EVAL_PART ? sm_subset_dataset(subset) : *whole;
  return SM_OK;
}

sm_status sm_evaluator_pictures(const sm_evaluator *e, const sm_dataset *d, sm_eval_loader **loader,
                                sm_error *err) {
  const sm_evaluator_config *c = &e->c;
  const int shorter = c->height < c->width ? c->height : c->width;
  sm_eval_loader_config config = {*d,
                                  c->height,
                                  c->width,
                                  shorter < NO_ENLARGING ? shorter : 0,
                                  c->filter,
                                  {c->mean[0], c->mean[1], c->mean[2]},
                                  {c->std[0], c->std[1], c->std[2]},
                                  SM_EVAL_BATCH,
                                  c->workers,
                                  2,
                                  c->limits};
  return sm_eval_loader_new(&config, loader, err);
}

static sm_status run_all(sm_evaluator *e, int which, const sm_dataset *d, const int32_t *map, sm_error *err) {
  sm_eval_split *s = &e->split[which];
  const sm_evaluator_config *c = &e->c;
  sm_eval_loader *loader;
  sm_status status = sm_evaluator_pictures(e, d, &loader, err);
  if (status) return status;
  int64_t all = d->ops->count(d->self);
  char what[64];
  snprintf(what, sizeof what, "features of %s pictures", split_name[which]);
  for (;;) {
    sm_eval_batch *b;
    if ((status = sm_eval_loader_next(loader, &b, err)) || !b) break;
    take_batch(e, s, b, map);
    sm_eval_loader_release(loader, b);
    if (c->progress) c->progress(c->progress_ctx, what, (double)s->n / (double)all);
    if (c->stop && c->stop() && (status = sm_fail(err, SM_EINTERRUPTED, "stopped while making %s", what)))
      break;
  }
  if (!status) sm_eval_loader_bad(loader, &s->bad);
  sm_eval_loader_free(loader);
  return status;
}

/* A part's features are rows of the whole's, where these were made. */
static void copy_part(sm_evaluator *e) {
  const sm_eval_split *from = &e->split[SM_EVAL_TRAIN];
  sm_eval_split *to = &e->split[SM_EVAL_PART];
  for (int64_t i = 0, p = 0; i < from->n; i++) {
    while (p < e->parts && e->part[p] < from->sample[i]) p++;
    if (p == e->parts || e->part[p] != from->sample[i]) continue;
    memcpy(to->raw + to->n * e->width, from->raw + i * e->width, (size_t)e->width * sizeof *to->raw);
    to->label[to->n] = from->label[i];
    to->sample[to->n++] = from->sample[i];
  }
  to->bad = e->parts - to->n;
}

static sm_status make_features(sm_evaluator *e, int which, sm_error *err) {
  sm_eval_split *s = &e->split[which];
  sm_subset subset;
  sm_dataset d;
  int32_t *map = NULL;
  sm_status status = sm_evaluator_dataset(e, which, &subset, &d, err);
  if (!status) status = reserve(e, s, d.ops->count(d.self), err);
  if (!status && which == SM_EVAL_TEST) status = sm_evaluator_classes(e, &map, err);
  bool there = which == SM_EVAL_PART && e->split[SM_EVAL_TRAIN].made;
  if (!status && there) copy_part(e);
  else if (!status) status = run_all(e, which, &d, map, err);
  for (int64_t i = 0; !status && which == SM_EVAL_PART && !there && i < s->n; i++)
    s->sample[i] = e->part[s->sample[i]]; /* what the subset calls i */
  sm_free(map);
  s->made = !status;
  if (status) forget(s);
  else e->seen[which == SM_EVAL_TEST] = s->n, e->bad[which == SM_EVAL_TEST] = s->bad;
  return status;
}

/* ---- a choice of them ---------------------------------------------------------------------------------- */

static void name_choice(sm_feature_spec *spec) {
  char blocks[32] = "";
  if (spec->blocks > 1) snprintf(blocks, sizeof blocks, " of the last %d blocks", spec->blocks);
  if (spec->pool == SM_POOL_MEAN) snprintf(spec->what, sizeof spec->what, "mean features");
  else if (spec->pool == SM_POOL_CLS) snprintf(spec->what, sizeof spec->what, "cls features%s", blocks);
  else snprintf(spec->what, sizeof spec->what, "cls features%s and mean features", blocks);
}

sm_status sm_evaluator_columns(const sm_evaluator *e, sm_feature_spec *spec, int64_t *first, int64_t *n,
                               sm_error *err) {
  *first = 0;
  *n = e->width;
  if (!e->graph) {
    spec->blocks = 0;
    snprintf(spec->what, sizeof spec->what, "pixels as features");
    return SM_OK;
  }
  if (spec->pool == SM_POOL_MEAN) spec->blocks = 0;
  else if (spec->blocks == 0) spec->blocks = some_blocks(e);
  if (spec->blocks < 0 || spec->blocks > e->blocks || (spec->pool != SM_POOL_CLS && !e->c.patches))
    return sm_fail(err, SM_EINTERNAL, "an evaluation asks for features that its `wants` did not announce");
  *first = (e->blocks - spec->blocks) * e->dim;
  *n = (spec->blocks + (spec->pool != SM_POOL_CLS)) * e->dim;
  name_choice(spec);
  return SM_OK;
}

/* Some columns as a matrix, made once. */
static const float *columns(const sm_evaluator *e, sm_eval_split *s, int64_t first, int64_t n) {
  if (n == e->width) return s->raw;
  int at = 0;
  while (at < SM_EVAL_COPIES && s->copy[at].x && (s->copy[at].first != first || s->copy[at].n != n)) at++;
  if (at == SM_EVAL_COPIES) return NULL;
  sm_eval_columns *c = &s->copy[at];
  if (c->x) return c->x;
  *c = (sm_eval_columns){first, n, sm_malloc((size_t)(s->n ? s->n : 1) * (size_t)n * sizeof *c->x)};
  for (int64_t i = 0; c->x && i < s->n; i++)
    memcpy(c->x + i * n, s->raw + i * e->width + first, (size_t)n * sizeof *c->x);
  return c->x;
}

sm_status sm_evaluator_features(sm_evaluator *e, const char *split, sm_feature_spec *spec, sm_features *f,
                                sm_error *err) {
  int which = !strcmp(split, "test") ? SM_EVAL_TEST : e->part ? SM_EVAL_PART : SM_EVAL_TRAIN;
  int64_t first, n;
  if (which != SM_EVAL_TEST && strcmp(split, "train"))
    return sm_fail(err, SM_EINVAL, "no split called '%s'; there are train and test", split);
  sm_eval_split *s = &e->split[which];
  sm_status status = sm_evaluator_columns(e, spec, &first, &n, err);
  if (!status && !s->made) status = make_features(e, which, err);
  if (status) return status;
  const sm_dataset *d =
      which == SM_EVAL_TEST && !e->c.train.ops ? &e->c.test : &e->c.train; /* labels are of the training classes */
  *f = (sm_features){.n = s->n,
                     .dim = (int)n,
                     .classes = d->ops->classes(d->self),
                     .x = columns(e, s, first, n),
                     .label = s->label};
  return f->x ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for %s", spec->what);
}

const int64_t *sm_evaluator_samples(const sm_evaluator *e, const char *split) {
  return e->split[!strcmp(split, "test")].sample;
}

void sm_evaluator_counts(const sm_evaluator *e, const char *split, int64_t *made, int64_t *bad) {
  *made = e->seen[!strcmp(split, "test")];
  *bad = e->bad[!strcmp(split, "test")];
}

/* ---- running plugins ----------------------------------------------------------------------------------- */

static sm_status features_of(sm_eval_context *x, const char *split, sm_feature_spec *spec, sm_features *f,
                             sm_error *err) {
  return sm_evaluator_features(x->core, split, spec, f, err);
}

static sm_status features(sm_eval_context *x, const char *split, sm_pool_mode pool, sm_features *f,
                          sm_error *err) {
  sm_feature_spec spec = {.blocks = 1, .pool = pool};
  return sm_evaluator_features(x->core, split, &spec, f, err);
}

static sm_status augmented(sm_eval_context *x, sm_augmented_request *r, sm_error *err) {
  return sm_evaluator_augmented(x->core, r, err);
}

static void progress(sm_eval_context *x, double done) {
  sm_evaluator *e = x->core;
  if (e->c.progress) e->c.progress(e->c.progress_ctx, "evaluation", done);
}

static sm_status going_on(sm_eval_context *x, double done, sm_error *err) {
  const sm_evaluator *e = x->core;
  progress(x, done);
  return e->c.stop && e->c.stop() ? sm_fail(err, SM_EINTERRUPTED, "stopped in an evaluation") : SM_OK;
}

static sm_status part(sm_eval_context *x, double share, uint64_t seed, int64_t *pictures, sm_error *err) {
  sm_evaluator *e = x->core;
  sm_subset subset;
  sm_dataset d;
  forget_part(e);
  sm_status status = sm_evaluator_dataset(e, SM_EVAL_TRAIN, &subset, &d, err);
  if (!status) status = sm_subset_balanced(&d, share, seed, &e->part, &e->parts, err);
  *pictures = e->parts;
  return status;
}

static sm_status assigned(sm_eval_context *x, const char *split, sm_assigned *to, sm_error *err) {
  const sm_evaluator *e = x->core;
  int which = !strcmp(split, "test") ? SM_EVAL_TEST : e->part ? SM_EVAL_PART : SM_EVAL_TRAIN;
  return sm_evaluator_assigned(x->core, which, to, err);
}

static sm_status finetune(sm_eval_context *x, const sm_finetune_config *c, sm_finetune_result *r,
                          sm_error *err) {
  return sm_evaluator_finetune(x->core, c, r, err);
}

sm_status sm_evaluator_run(sm_evaluator *e, const sm_evaluation_ops *ops, void *self, sm_eval_result *result,
                           sm_error *err) {
  sm_eval_context x = {.pool = e->c.pool,
                       .core = e,
                       .features = features,
                       .progress = progress,
                       .features_of = features_of,
                       .augmented = augmented,
                       .going_on = going_on,
                       .part = part,
                       .assigned = assigned,
                       .finetune = finetune,
                       .network = e->graph ? &e->spec : NULL};
  sm_status status = ops->run(self, &x, result, err);
  forget_part(e);
  return status;
}

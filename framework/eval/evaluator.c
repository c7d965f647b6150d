/* evaluator.c — features of a backbone over a data set, and running evaluation plugins on them.
 *
 * Owns a forward-only graph and, for each split, one matrix with a row a picture: [CLS] | mean of patches;
 * poolings are copies of its halves. Without a backbone a row is the picture itself. */
#include <string.h>

#include "eval.h"

#define BATCH 32
#define NO_ENLARGING 96 /* pictures below this side are cut whole, not from an eighth more */

typedef struct split_features {
  bool made;
  int64_t n, bad;
  float *raw;       /* (n, halves·dim): [CLS] | mean of patches            */
  float *pooled[2]; /* SM_POOL_CLS, SM_POOL_MEAN: (n, dim), made on demand */
  int32_t *label;
  int64_t *sample;
} split_features;

struct sm_evaluator {
  sm_evaluator_config c;
  sm_backbone_spec spec;
  sm_graph *graph; /* NULL: pixels */
  int pass, tokens, halves;
  int64_t dim;
  sm_tensor *count, *pictures, *out;
  split_features split[2];
};

static const char *const split_name[2] = {"train", "test"};

/* ---- the graph ----------------------------------------------------------------------------------------- */

static sm_status build(sm_evaluator *e, sm_error *err) {
  const sm_evaluator_config *c = &e->c;
  e->spec.size = sizeof e->spec;
  sm_status status = c->backbone->spec(c->backbone_self, c->size, &e->spec, err);
  if (status) return status;
  sm_graph_config config = {SM_CPU, sm_set_real(c->set), c->pool, NULL};
  sm_graph *g = e->graph = sm_graph_new(&config, err);
  if (!g) return SM_ENOMEM;
  e->pass = sm_pass_begin(g, "features");
  e->count = sm_count(g, "pictures", BATCH);
  e->pictures = sm_input_real(g, "pictures", 4, (int64_t[]){BATCH, 3, c->size, c->size}, e->count);
  sm_backbone_in in = {.size = sizeof in, .pictures = e->pictures};
  sm_backbone_out got = {.size = sizeof got};
  c->backbone->build(c->backbone_self, g, &(sm_params){c->set, c->prefix}, &in, &got);
  e->out = got.tokens ? got.tokens : sm_graph_fail(g, "the backbone gave no tokens");
  sm_keep(g, e->out);
  sm_pass_end(g);
  status = sm_graph_plan(g, err);
  if (!status) status = sm_graph_allocate(g, err);
  if (!status) e->tokens = (int)e->out->dim[1];
  return status;
}

sm_status sm_evaluator_new(const sm_evaluator_config *c, sm_evaluator **out, sm_error *err) {
  sm_evaluator *e = sm_calloc(1, sizeof *e);
  *out = NULL;
  if (!e) return sm_fail(err, SM_ENOMEM, "no memory for an evaluation");
  e->c = *c;
  if (!e->c.prefix) e->c.prefix = "backbone.";
  sm_status status = c->backbone ? build(e, err) : SM_OK;
  e->halves = c->backbone ? 2 : 1;
  e->dim = c->backbone ? e->spec.dim : 3 * (int64_t)c->size * c->size;
  if (status) sm_evaluator_free(e);
  else *out = e;
  return status;
}

static void forget(split_features *s) {
  sm_free(s->raw);
  sm_free(s->pooled[0]);
  sm_free(s->pooled[1]);
  sm_free(s->label);
  sm_free(s->sample);
  memset(s, 0, sizeof *s);
}

void sm_evaluator_reset(sm_evaluator *e) {
  for (int i = 0; i < 2; i++) forget(&e->split[i]);
}

void sm_evaluator_free(sm_evaluator *e) {
  if (!e) return;
  sm_evaluator_reset(e);
  sm_graph_free(e->graph);
  sm_free(e);
}

size_t sm_evaluator_bytes(const sm_evaluator *e) {
  sm_plan_report r = {0};
  if (e->graph) sm_graph_report(e->graph, &r);
  return r.inputs + r.transient + r.worker;
}

sm_pool *sm_evaluator_pool(const sm_evaluator *e) { return e->c.pool; }
size_t sm_evaluator_width(const sm_evaluator *e) { return (size_t)e->halves * (size_t)e->dim; }

double sm_evaluator_flops(const sm_evaluator *e) {
  sm_plan_report r = {0};
  if (!e->graph) return 0;
  sm_put(e->count, BATCH); /* flops are those of the pictures there are */
  sm_graph_report(e->graph, &r);
  return r.flops / BATCH;
}

/* ---- labels -------------------------------------------------------------------------------------------- */

/* The training class of each test class. Folders may hold other classes, or the same in another order. */
static sm_status map_classes(const sm_evaluator *e, int32_t **map, sm_error *err) {
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

static sm_status reserve(const sm_evaluator *e, split_features *s, int64_t n, sm_error *err) {
  size_t room = n > 0 ? (size_t)n : 1;
  s->raw = sm_malloc(room * (size_t)e->halves * (size_t)e->dim * sizeof *s->raw);
  s->label = sm_malloc(room * sizeof *s->label);
  s->sample = sm_malloc(room * sizeof *s->sample);
  if (s->raw && s->label && s->sample) return SM_OK;
  return sm_fail(err, SM_ENOMEM, "no memory for the features of %lld pictures", (long long)n);
}

typedef struct pooling {
  const sm_evaluator *e;
  float *to;
} pooling;

static void pool_one(void *context, int64_t i, int worker) {
  const pooling *p = context;
  (void)worker;
  int dim = p->e->spec.dim, tokens = p->e->tokens, prefix = p->e->spec.prefix;
  float *cls = p->to + i * 2 * dim, *mean = cls + dim;
  for (int d = 0; d < dim; d++) {
    double sum = 0;
    for (int t = prefix; t < tokens; t++) sum += sm_get(p->e->out, (i * tokens + t) * dim + d);
    cls[d] = (float)sm_get(p->e->out, i * tokens * dim + d);
    mean[d] = (float)(sum / (tokens - prefix));
  }
}

void sm_evaluator_forward(sm_evaluator *e, const float *x, int pictures, float *to) {
  int64_t pixels = 3 * (int64_t)e->c.size * e->c.size;
  for (int first = 0; first < pictures; first += BATCH) {
    int n = pictures - first < BATCH ? pictures - first : BATCH;
    const float *from = x + first * pixels;
    if (e->pictures->dtype == SM_F32) memcpy(e->pictures->data, from, (size_t)(n * pixels) * sizeof *from);
    else
      for (int64_t i = 0; i < n * pixels; i++) ((double *)e->pictures->data)[i] = from[i];
    sm_put(e->count, n);
    sm_graph_run(e->graph, e->pass);
    pooling p = {e, to + first * 2 * e->dim};
    sm_pool_run(e->c.pool, n, pool_one, &p);
  }
}

static void take_batch(sm_evaluator *e, split_features *s, const sm_eval_batch *b, const int32_t *map) {
  float *to = s->raw + s->n * e->halves * e->dim;
  if (e->graph) sm_evaluator_forward(e, b->x, b->pictures, to);
  else memcpy(to, b->x, (size_t)b->pictures * (size_t)e->dim * sizeof *to);
  for (int i = 0; i < b->pictures; i++) {
    s->label[s->n + i] = map && b->label[i] >= 0 ? map[b->label[i]] : b->label[i];
    s->sample[s->n + i] = b->sample[i];
  }
  s->n += b->pictures;
}

static sm_status run_all(sm_evaluator *e, int which, const int32_t *map, sm_error *err) {
  split_features *s = &e->split[which];
  const sm_dataset *d = which ? &e->c.test : &e->c.train;
  const sm_evaluator_config *c = &e->c;
  sm_eval_loader_config config = {*d,
                                  c->size,
                                  c->size < NO_ENLARGING ? c->size : 0,
                                  c->filter,
                                  {c->mean[0], c->mean[1], c->mean[2]},
                                  {c->std[0], c->std[1], c->std[2]},
                                  BATCH,
                                  c->workers,
                                  2,
                                  c->limits};
  sm_eval_loader *loader;
  sm_status status = sm_eval_loader_new(&config, &loader, err);
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

static sm_status make_features(sm_evaluator *e, int which, sm_error *err) {
  split_features *s = &e->split[which];
  const sm_dataset *d = which ? &e->c.test : &e->c.train;
  int32_t *map = NULL;
  if (!d->ops) {
    sm_fail(err, SM_EINVAL, "there are no %s pictures to evaluate on", split_name[which]);
    return sm_hint(err, "give the recipe data.%s, or name a folder of pictures: --%s FOLDER",
                   split_name[which], split_name[which]);
  }
  sm_status status = reserve(e, s, d->ops->count(d->self), err);
  if (!status && which) status = map_classes(e, &map, err);
  if (!status) status = run_all(e, which, map, err);
  sm_free(map);
  s->made = !status;
  if (status) forget(s);
  return status;
}

/* The (n, dim) matrix of one half of raw, made once. */
static sm_status pooled(sm_evaluator *e, split_features *s, int half, sm_error *err) {
  int64_t dim = e->dim;
  if (s->pooled[half]) return SM_OK;
  float *to = s->pooled[half] = sm_malloc((size_t)(s->n ? s->n : 1) * (size_t)dim * sizeof *to);
  if (!to) return sm_fail(err, SM_ENOMEM, "no memory for pooled features");
  for (int64_t i = 0; i < s->n; i++)
    memcpy(to + i * dim, s->raw + (2 * i + half) * dim, (size_t)dim * sizeof *to);
  return SM_OK;
}

sm_status sm_evaluator_features(sm_evaluator *e, const char *split, sm_pool_mode pool, sm_features *f,
                                sm_error *err) {
  int which = !strcmp(split, "test");
  if (!which && strcmp(split, "train"))
    return sm_fail(err, SM_EINVAL, "no split called '%s'; there are train and test", split);
  split_features *s = &e->split[which];
  bool whole = pool == SM_POOL_BOTH || e->halves == 1;
  sm_status status = s->made ? SM_OK : make_features(e, which, err);
  if (!status && !whole) status = pooled(e, s, pool == SM_POOL_MEAN, err);
  if (status) return status;
  const sm_dataset *d =
      which && !e->c.train.ops ? &e->c.test : &e->c.train; /* labels are of the training classes */
  *f = (sm_features){.n = s->n,
                     .dim = (int)(whole ? e->halves * e->dim : e->dim),
                     .classes = d->ops->classes(d->self),
                     .x = whole ? s->raw : s->pooled[pool == SM_POOL_MEAN],
                     .label = s->label};
  return SM_OK;
}

const int64_t *sm_evaluator_samples(const sm_evaluator *e, const char *split) {
  return e->split[!strcmp(split, "test")].sample;
}

void sm_evaluator_counts(const sm_evaluator *e, const char *split, int64_t *made, int64_t *bad) {
  const split_features *s = &e->split[!strcmp(split, "test")];
  *made = s->n;
  *bad = s->bad;
}

/* ---- running plugins ----------------------------------------------------------------------------------- */

static sm_status features_for(sm_eval_context *x, const char *split, sm_pool_mode pool, sm_features *f,
                              sm_error *err) {
  return sm_evaluator_features(x->core, split, pool, f, err);
}

static void progress_for(sm_eval_context *x, double done) {
  sm_evaluator *e = x->core;
  if (e->c.progress) e->c.progress(e->c.progress_ctx, "evaluation", done);
}

sm_status sm_evaluator_run(sm_evaluator *e, const sm_evaluation_ops *ops, void *self, sm_eval_result *result,
                           sm_error *err) {
  sm_eval_context x = {
      .size = sizeof x, .pool = e->c.pool, .core = e, .features = features_for, .progress = progress_for};
  return ops->run(self, &x, result, err);
}

/* framework/eval/evaluator.c — features of a backbone over a data set, and running evaluation plugins on
 * them.
 *
 * Owns a forward-only graph and, for each split, one matrix of [CLS] | mean of patches; poolings are views or
 * copies of it. */
#include <string.h>

#include "eval.h"

#define BATCH 32

typedef struct split_features {
  bool made;
  int64_t n, cap;
  float *raw;       /* (n, 2·dim): [CLS] | mean of patches */
  float *pooled[2]; /* SM_POOL_CLS, SM_POOL_MEAN: (n, dim), made on demand */
  int32_t *label;
} split_features;

struct sm_evaluator {
  sm_evaluator_config c;
  sm_backbone_spec spec;
  sm_graph *graph;
  int pass, tokens;
  sm_tensor *count, *pictures, *out;
  split_features split[2];
};

static const char *const split_name[2] = {"train", "test"};

sm_status sm_evaluator_new(const sm_evaluator_config *c, sm_evaluator **out, sm_error *err) {
  sm_evaluator *e = sm_calloc(1, sizeof *e);
  *out = NULL;
  if (!e) return sm_fail(err, SM_ENOMEM, "no memory for an evaluation");
  e->c = *c;
  if (!e->c.prefix) e->c.prefix = "backbone.";
  e->spec.size = sizeof e->spec;
  sm_status status = c->backbone->spec(c->backbone_self, c->size, &e->spec, err);
  sm_graph_config config = {SM_CPU, sm_set_real(c->set), c->pool, NULL};
  if (!status && !(e->graph = sm_graph_new(&config, err))) status = SM_ENOMEM;
  if (!status) {
    sm_graph *g = e->graph;
    e->pass = sm_pass_begin(g, "features");
    e->count = sm_count(g, "pictures", BATCH);
    e->pictures = sm_input_real(g, "pictures", 4, (int64_t[]){BATCH, 3, c->size, c->size}, e->count);
    sm_backbone_in in = {.size = sizeof in, .pictures = e->pictures};
    sm_backbone_out got = {.size = sizeof got};
    c->backbone->build(c->backbone_self, g, &(sm_params){c->set, e->c.prefix}, &in, &got);
    e->out = got.tokens ? got.tokens : sm_graph_fail(g, "the backbone gave no tokens");
    sm_keep(g, e->out);
    sm_pass_end(g);
    status = sm_graph_plan(g, err);
  }
  if (!status) status = sm_graph_allocate(e->graph, err);
  if (status) {
    sm_evaluator_free(e);
    return status;
  }
  e->tokens = (int)e->out->dim[1];
  *out = e;
  return SM_OK;
}

static void forget(split_features *s) {
  sm_free(s->raw);
  sm_free(s->pooled[0]);
  sm_free(s->pooled[1]);
  sm_free(s->label);
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
  sm_plan_report r;
  sm_graph_report(e->graph, &r);
  return r.inputs + r.transient + r.worker;
}

/* ---- features
 * ---------------------------------------------------------------------------------------------------------------
 */

static bool grow(split_features *s, int64_t more, int dim) {
  if (s->n + more <= s->cap) return true;
  int64_t cap = s->cap ? 2 * s->cap : 1024;
  float *raw = sm_realloc(s->raw, (size_t)cap * 2 * (size_t)dim * sizeof *raw);
  if (raw) s->raw = raw;
  int32_t *label = sm_realloc(s->label, (size_t)cap * sizeof *label);
  if (label) s->label = label;
  if (raw && label) s->cap = cap;
  return raw && label;
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

static void run_batch(sm_evaluator *e, split_features *s, const sm_eval_batch *b) {
  int64_t pixels = 3 * (int64_t)e->c.size * e->c.size;
  for (int first = 0; first < b->pictures; first += BATCH) {
    int n = b->pictures - first < BATCH ? b->pictures - first : BATCH;
    const float *x = b->x + first * pixels;
    if (e->pictures->dtype == SM_F32) memcpy(e->pictures->data, x, (size_t)(n * pixels) * sizeof *x);
    else
      for (int64_t i = 0; i < n * pixels; i++) ((double *)e->pictures->data)[i] = x[i];
    sm_put(e->count, n);
    sm_graph_run(e->graph, e->pass);
    pooling p = {e, s->raw + (s->n + first) * 2 * e->spec.dim};
    sm_pool_run(e->c.pool, n, pool_one, &p);
  }
  memcpy(s->label + s->n, b->label, (size_t)b->pictures * sizeof *b->label);
  s->n += b->pictures;
}

static sm_status make_features(sm_evaluator *e, int which, sm_error *err) {
  split_features *s = &e->split[which];
  const sm_dataset *d = which ? &e->c.test : &e->c.train;
  if (!d->ops) {
    sm_fail(err, SM_EINVAL, "there are no %s pictures to evaluate on", split_name[which]);
    return sm_hint(err, "give the recipe data.%s", split_name[which]);
  }
  sm_eval_loader_config c = {.dataset = *d,
                             .size = e->c.size,
                             .resize = e->c.size < 96 ? e->c.size : 0,
                             .filter = e->c.filter,
                             .batch_size = BATCH,
                             .workers = e->c.workers,
                             .prefetch = 2,
                             .limits = e->c.limits};
  memcpy(c.mean, e->c.mean, sizeof c.mean);
  memcpy(c.std, e->c.std, sizeof c.std);
  sm_eval_loader *loader;
  sm_status status = sm_eval_loader_new(&c, &loader, err);
  if (status) return status;
  int64_t all = d->ops->count(d->self);
  char what[64];
  snprintf(what, sizeof what, "features of %s pictures", split_name[which]);
  for (;;) {
    sm_eval_batch *b;
    if ((status = sm_eval_loader_next(loader, &b, err)) || !b) break;
    if (!grow(s, b->pictures, e->spec.dim))
      status = sm_fail(err, SM_ENOMEM, "no memory for the features of %lld pictures", (long long)all);
    else run_batch(e, s, b);
    sm_eval_loader_release(loader, b);
    if (status) break;
    if (e->c.progress) e->c.progress(e->c.progress_ctx, what, (double)s->n / (double)all);
  }
  sm_eval_loader_free(loader);
  s->made = !status;
  return status;
}

/* The (n, dim) matrix of one half of raw, made once. */
static sm_status pooled(sm_evaluator *e, split_features *s, int half, sm_error *err) {
  int dim = e->spec.dim;
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
  sm_status status = s->made ? SM_OK : make_features(e, which, err);
  if (!status && pool != SM_POOL_BOTH) status = pooled(e, s, pool == SM_POOL_MEAN, err);
  if (status) return status;
  const sm_dataset *d = which ? &e->c.test : &e->c.train;
  *f = (sm_features){.n = s->n,
                     .dim = pool == SM_POOL_BOTH ? 2 * e->spec.dim : e->spec.dim,
                     .classes = d->ops->classes(d->self),
                     .x = pool == SM_POOL_BOTH ? s->raw : s->pooled[pool == SM_POOL_MEAN],
                     .label = s->label};
  return SM_OK;
}

/* ---- running plugins
 * -----------------------------------------------------------------------------------------------------------
 */

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

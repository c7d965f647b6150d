/* assigned.c — the number of the [CLS] head's largest output for each picture, as iBOT's unsup_cls.py takes it.
 *
 * Owns a graph of backbone and head, made when it is first wanted and kept with the evaluator, and what it has
 * found for each split. */
#include <string.h>

#include "evaluator.h"
#include "subset.h"

typedef struct sm_assigner {
  sm_graph *graph;
  int pass;
  sm_tensor *count, *pictures, *ids;
  sm_rows *cls;
  int64_t n;
  int32_t *cluster, *label;
} sm_assigner;

void sm_assigner_free(sm_assigner *a) {
  if (!a) return;
  sm_graph_free(a->graph);
  sm_free(a->cluster);
  sm_free(a->label);
  sm_free(a);
}

static sm_status build(const sm_evaluator *e, sm_assigner *a, sm_error *err) {
  const sm_evaluator_config *c = &e->c;
  const sm_head *h = &c->head;
  sm_graph_config config = {.device = SM_CPU, .real = sm_set_real(c->set), .pool = c->pool, .bf16 = c->bf16};
  sm_graph *g = a->graph = sm_graph_new(&config, err);
  if (!g) return SM_ENOMEM;
  int64_t tokens = e->spec.prefix + (int64_t)(c->height / e->spec.patch) * (c->width / e->spec.patch);
  a->pass = sm_pass_begin(g, "head");
  a->count = sm_count(g, "pictures", SM_EVAL_BATCH);
  a->pictures = sm_input_real(g, "pictures", 4, (int64_t[]){SM_EVAL_BATCH, 3, c->height, c->width}, a->count);
  a->cls = sm_rows_new(g, "[CLS]", SM_EVAL_BATCH, SM_EVAL_BATCH, tokens, a->count);
  sm_backbone_in in = {.pictures = a->pictures, .only = a->cls};
  sm_backbone_out out = {0};
  c->backbone->build(c->backbone_self, g, &(sm_params){c->set, c->prefix}, &in, &out);
  sm_tensor *x = out.tokens ? out.tokens : sm_graph_fail(g, "the backbone gave no tokens");
  if (x->ndim == 3) x = sm_gather(g, x, a->cls);
  x = h->ops->features(h->self, g, &h->params, x, SM_SITE_VIEW, h->role);
  a->ids = sm_argmax(g, h->ops->logits(h->self, g, &h->params, x, SM_SITE_VIEW, h->role), NULL);
  sm_keep(g, a->ids);
  sm_pass_end(g);
  sm_status status = sm_graph_plan(g, err);
  return status ? status : sm_graph_allocate(g, err);
}

static sm_status no_head(sm_error *err) {
  sm_fail(err, SM_EINVAL, "the network has no [CLS] head whose largest output could be taken");
  return sm_hint(err, "evaluate a run or a checkpoint that was trained with a loss on [CLS]; exported weights "
                      "have no head");
}

static sm_status make(const sm_evaluator *e, sm_assigner **to, sm_error *err) {
  if (!e->graph || !e->c.head.ops) return no_head(err);
  sm_assigner *a = sm_calloc(1, sizeof *a);
  if (!a) return sm_fail(err, SM_ENOMEM, "no memory for the head");
  sm_status status = build(e, a, err);
  if (status) sm_assigner_free(a);
  else *to = a;
  return status;
}

static void run_batch(const sm_evaluator *e, sm_assigner *a, const sm_eval_batch *b, const int32_t *map) {
  int32_t row[SM_EVAL_BATCH];
  int64_t pixels = 3 * (int64_t)e->c.height * e->c.width;
  for (int i = 0; i < b->pictures; i++) row[i] = (int32_t)(i * a->cls->slot->dim[1]);
  sm_put(a->count, b->pictures);
  sm_rows_set(a->cls, row, b->pictures);
  sm_write(a->pictures, 0, b->pictures * pixels, b->x);
  sm_graph_run(a->graph, a->pass);
  for (int i = 0; i < b->pictures; i++, a->n++) {
    sm_read_i32(a->ids, i, 1, &a->cluster[a->n]);
    a->label[a->n] = map && b->label[i] >= 0 ? map[b->label[i]] : b->label[i];
  }
}

static sm_status run_all(const sm_evaluator *e, sm_assigner *a, const sm_dataset *d, const int32_t *map,
                         sm_error *err) {
  const sm_evaluator_config *c = &e->c;
  int64_t all = d->ops->count(d->self);
  sm_free(a->cluster);
  sm_free(a->label);
  a->n = 0;
  a->cluster = sm_malloc((size_t)(all > 0 ? all : 1) * sizeof *a->cluster);
  a->label = sm_malloc((size_t)(all > 0 ? all : 1) * sizeof *a->label);
  if (!a->cluster || !a->label) return sm_fail(err, SM_ENOMEM, "no memory for clusters of pictures");
  sm_eval_loader *loader;
  sm_status status = sm_evaluator_pictures(e, d, &loader, err);
  if (status) return status;
  for (;;) {
    sm_eval_batch *b;
    if ((status = sm_eval_loader_next(loader, &b, err)) || !b) break;
    run_batch(e, a, b, map);
    sm_eval_loader_release(loader, b);
    if (c->progress) c->progress(c->progress_ctx, "outputs of the head", (double)a->n / (double)all);
    if (c->stop && c->stop() &&
        (status = sm_fail(err, SM_EINTERRUPTED, "stopped while running the head")))
      break;
  }
  sm_eval_loader_free(loader);
  return status;
}

sm_status sm_evaluator_assigned(sm_evaluator *e, int which, sm_assigned *to, sm_error *err) {
  sm_subset subset;
  sm_dataset d;
  int32_t *map = NULL;
  sm_status status = e->assigner ? SM_OK : make(e, &e->assigner, err);
  if (!status) status = sm_evaluator_dataset(e, which, &subset, &d, err);
  if (!status && which == SM_EVAL_TEST) status = sm_evaluator_classes(e, &map, err);
  if (!status) status = run_all(e, e->assigner, &d, map, err);
  sm_free(map);
  if (status) return status;
  const sm_dataset *labels = e->c.train.ops ? &e->c.train : &e->c.test;
  *to = (sm_assigned){.n = e->assigner->n,
                      .outputs = e->c.head.view_dim,
                      .classes = labels->ops->classes(labels->self),
                      .cluster = e->assigner->cluster,
                      .label = e->assigner->label};
  e->seen[which == SM_EVAL_TEST] = e->assigner->n;
  e->bad[which == SM_EVAL_TEST] = d.ops->count(d.self) - e->assigner->n;
  return SM_OK;
}

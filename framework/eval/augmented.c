/* augmented.c — features of random-resized crops: a training loader over some pictures, and the network behind it.
 *
 * Nothing is kept: each epoch draws its own crops, and the parts go to whoever asked. */
#include <string.h>

#include "evaluator.h"
#include "subset.h"

sm_view_recipe sm_evaluator_crops(const sm_evaluator_config *c) {
  sm_view_recipe r = sm_view_recipe_default();
  r.height = c->height, r.width = c->width;
  r.filter = SM_FILTER_BILINEAR;
  r.scale[0] = 0.08, r.scale[1] = 1;
  r.ratio[0] = 3.0 / 4, r.ratio[1] = 4.0 / 3;
  r.flip_p = 0.5;
  r.jitter_p = r.grey_p = r.blur_p = r.solarize_p = 0;
  memcpy(r.mean, c->mean, sizeof r.mean);
  memcpy(r.std, c->std, sizeof r.std);
  return r;
}

static sm_status open_loader(const sm_evaluator *e, const sm_augmented_request *r, sm_subset *s, int64_t *steps,
                             sm_loader **loader, sm_error *err) {
  const sm_evaluator_config *c = &e->c;
  sm_view_recipe view = sm_evaluator_crops(c);
  int batch = r->n < SM_EVAL_BATCH ? (int)r->n : SM_EVAL_BATCH;
  *steps = r->n / batch * r->epochs;
  sm_loader_config config = {
      .dataset = sm_subset_dataset(s),
      .views = {.globals = 1, .global_first = view, .global_other = view, .local = view},
      .seed = r->seed,
      .batch_size = batch,
      .last_step = *steps,
      .workers = c->workers,
      .prefetch = 4,
      .limits = c->limits,
      .max_bad = 1};
  return sm_loader_new(&config, 0, loader, err);
}

sm_status sm_evaluator_augmented(sm_evaluator *e, sm_augmented_request *r, sm_error *err) {
  const sm_eval_split *s = &e->split[e->part ? SM_EVAL_PART : 0];
  int64_t first, n, steps = 0;
  sm_loader *loader = NULL;
  sm_status status = sm_evaluator_columns(e, &r->features, &first, &n, err);
  if (status) return status;
  if (!s->made || r->n < 1)
    return sm_fail(err, SM_EINTERNAL, "augmented features are asked for before those of the pictures");
  float *wide = sm_malloc(SM_EVAL_BATCH * (size_t)e->width * sizeof *wide);
  int64_t *index = sm_malloc((size_t)r->n * sizeof *index);
  sm_subset pictures = {&e->c.train, index, r->n};
  if (!wide || !index) status = sm_fail(err, SM_ENOMEM, "no memory for %s", r->features.what);
  for (int64_t i = 0; !status && i < r->n; i++) index[i] = s->sample[r->row[i]];
  if (!status) status = open_loader(e, r, &pictures, &steps, &loader, err);
  for (int64_t step = 0; !status && step < steps; step++) {
    sm_batch *b;
    if ((status = sm_loader_next(loader, &b, err))) break;
    sm_evaluator_forward(e, b->global, b->pictures, wide);
    for (int i = 0; i < b->pictures; i++) /* close the rows up, in place */
      memmove(wide + i * n, wide + i * e->width + first, (size_t)n * sizeof *wide);
    status = r->take(r->to, b->epoch, wide, b->label, b->pictures, err);
    sm_loader_release(loader, b);
  }
  sm_loader_free(loader);
  sm_free(wide);
  sm_free(index);
  return status;
}

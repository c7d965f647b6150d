/* framework/train/fitting.c — tokenizers that learn from training pictures before the first step (a codebook
 * of patches): what they are given to look at.
 *
 * Views come from a training loader of its own, that makes the first global view only: cut and changed as in
 * training, in the tokenizer's size and normalisation. Its epochs begin where no run will ever come, so the
 * draws are not those of training and still follow from the seed alone. */
#include <string.h>

#include "train.h"

enum { BATCH = 32 };
static const int64_t first_epoch = INT64_C(1) << 30;

typedef struct source {
  sm_loader *loader;
  sm_batch *batch; /* the one at hand, or NULL */
  int used;        /* of its pictures */
  size_t floats;   /* of a view */
} source;

static sm_status fitting_next_views(sm_sampler *sampler, int64_t n, float *views, sm_error *err) {
  source *from = sampler->core;
  if (sm_signals_stop()) {
    sm_fail(err, SM_EINTERRUPTED, "stopped before the first step");
    return sm_hint(err, "run the same command again");
  }
  for (int64_t i = 0; i < n; i++, views += from->floats) {
    if (from->batch && from->used == from->batch->pictures) {
      sm_loader_release(from->loader, from->batch);
      from->batch = NULL;
    }
    if (!from->batch) {
      sm_status status = sm_loader_next(from->loader, &from->batch, err);
      if (status) return status;
      from->used = 0;
    }
    memcpy(views, from->batch->global + from->floats * (size_t)from->used++, from->floats * sizeof *views);
  }
  return SM_OK;
}

/* The first global view as tokenizer's own view `k` (-1: as it is). */
static sm_view_recipe fitting_view_of(const sm_views *views, int k) {
  sm_view_recipe r = views->global_first;
  if (k < 0) return r;
  const sm_own_recipe *own = &views->own[k];
  for (int i = 0; i < 2; i++) r.blur_radius[i] *= (double)own->view.height / r.height;
  r.height = own->view.height, r.width = own->view.width;
  r.filter = own->view.filter;
  memcpy(r.mean, own->view.mean, sizeof r.mean);
  memcpy(r.std, own->view.std, sizeof r.std);
  if (own->plain) r.jitter_p = r.grey_p = r.blur_p = r.solarize_p = r.randaugment.layers = 0;
  return r;
}

static sm_status fitting_fit(const sm_train_tokenizer *t, const sm_fitting *f, sm_error *err) {
  const int64_t count = f->dataset.ops->count(f->dataset.self);
  const int batch = count < BATCH ? (int)count : BATCH;
  sm_loader_config c = {.dataset = f->dataset,
                        .views = {.globals = 1, .global_first = fitting_view_of(&f->views, t->own)},
                        .seed = f->seed,
                        .batch_size = batch,
                        .workers = f->workers,
                        .prefetch = 2,
                        .limits = f->limits,
                        .max_bad = f->max_bad,
                        .scaled_jpeg = f->scaled_jpeg,
                        .stop = sm_signals_stop};
  source from = {.floats = sm_view_floats(&c.views.global_first)};
  sm_status status = sm_loader_new(&c, count / batch * first_epoch, &from.loader, err);
  if (status) return status;
  sm_sampler sampler = {.pictures = count / batch * batch,
                        .height = c.views.global_first.height,
                        .width = c.views.global_first.width,
                        .rows = t->rows,
                        .cols = t->cols,
                        .seed = f->seed,
                        .pool = f->pool,
                        .core = &from,
                        .next = fitting_next_views};
  sm_log(SM_LOG_INFO, "tokenizer '%s' learns from training pictures", t->name);
  status = t->ops->fit(t->self, &t->state, &sampler, err);
  sm_loader_free(from.loader);
  return status;
}

sm_status sm_fit_tokenizers(sm_trainable *trainable, int tokenizers, const sm_fitting *f, sm_error *err) {
  sm_status status = SM_OK;
  for (int i = 0; i < tokenizers && !status; i++) {
    const sm_train_tokenizer t = sm_distil_tokenizer(trainable, i);
    if (t.ops->fit) status = fitting_fit(&t, f, err);
  }
  return status;
}

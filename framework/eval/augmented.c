/* augmented.c — features of random-resized crops: a training loader over some pictures, and the network behind it.
 *
 * Nothing is kept: each epoch draws its own crops, and the parts go to whoever asked. */
#include <string.h>

#include "evaluator.h"

/* Some pictures of a dataset, as a dataset. */
typedef struct subset {
  const sm_dataset *whole;
  const int64_t *sample; /* of the split's rows */
  const int64_t *row;
  int64_t n;
} subset;

static int64_t whole_index(const subset *s, int64_t i) { return s->sample[s->row[i]]; }
static int64_t count(const void *self) { return ((const subset *)self)->n; }
static int label(const void *self, int64_t i) {
  const subset *s = self;
  return s->whole->ops->label(s->whole->self, whole_index(s, i));
}
static const char *name(const void *self, int64_t i) {
  const subset *s = self;
  return s->whole->ops->name(s->whole->self, whole_index(s, i));
}
static int classes(const void *self) {
  const subset *s = self;
  return s->whole->ops->classes(s->whole->self);
}
static const char *class_name(const void *self, int c) {
  const subset *s = self;
  return s->whole->ops->class_name(s->whole->self, c);
}
static sm_status read_picture(const void *self, int64_t i, const sm_image_limits *limits, sm_image *out,
                              sm_error *err) {
  const subset *s = self;
  return s->whole->ops->read(s->whole->self, whole_index(s, i), limits, out, err);
}
static uint64_t hash(const void *self) {
  const subset *s = self;
  return s->whole->ops->hash(s->whole->self);
}

static const sm_dataset_ops subset_ops = {.size = sizeof subset_ops,
                                          .count = count,
                                          .label = label,
                                          .name = name,
                                          .classes = classes,
                                          .class_name = class_name,
                                          .read = read_picture,
                                          .hash = hash};

/* torchvision's RandomResizedCrop(size), whose default filter is bilinear, and RandomHorizontalFlip(). */
static sm_view_recipe crop_and_flip(const sm_evaluator_config *c) {
  sm_view_recipe r = sm_view_recipe_default();
  r.size = c->size;
  r.filter = SM_FILTER_BILINEAR;
  r.scale[0] = 0.08, r.scale[1] = 1;
  r.ratio[0] = 3.0 / 4, r.ratio[1] = 4.0 / 3;
  r.flip_p = 0.5;
  r.jitter_p = r.grey_p = r.blur_p = r.solarize_p = 0;
  memcpy(r.mean, c->mean, sizeof r.mean);
  memcpy(r.std, c->std, sizeof r.std);
  return r;
}

static sm_status open_loader(const sm_evaluator *e, const sm_augmented_request *r, subset *s, int64_t *steps,
                             sm_loader **loader, sm_error *err) {
  const sm_evaluator_config *c = &e->c;
  sm_view_recipe view = crop_and_flip(c);
  int batch = r->n < SM_EVAL_BATCH ? (int)r->n : SM_EVAL_BATCH;
  *steps = r->n / batch * r->epochs;
  sm_loader_config config = {
      .dataset = {&subset_ops, s},
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
  const sm_eval_split *s = &e->split[0];
  int64_t first, n, steps = 0;
  sm_loader *loader = NULL;
  sm_status status = sm_evaluator_columns(e, &r->features, &first, &n, err);
  if (status) return status;
  if (!s->made || r->n < 1)
    return sm_fail(err, SM_EINTERNAL, "augmented features are asked for before those of the pictures");
  subset pictures = {&e->c.train, s->sample, r->row, r->n};
  float *wide = sm_malloc(SM_EVAL_BATCH * (size_t)e->width * sizeof *wide);
  if (!wide) status = sm_fail(err, SM_ENOMEM, "no memory for %s", r->features.what);
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
  return status;
}

/* segment_linear.c — evaluation `segment_linear`: a linear layer on frozen patches gives pixels their
 * classes, as DINOv2's linear_head.py (batch norm and a 1×1 convolution) and iBOT's segmentation (four
 * blocks, no batch norm) have it; features are made once, from whole pictures, or of random crops in each
 * step, as there. */
#include <math.h>
#include <string.h>

#include <smalti/measure.h>
#include <smalti/plugin.h>

#include "segment_crops.h"

#define WARMUP (1500.0 / 40000) /* of the steps */
enum { CROP_CELLS = 128 }; /* patches along a crop's side at most */

typedef struct segment_linear {
  int64_t blocks, iterations, batch, pixels, crop, patch, pictures, seed;
  bool batch_norm, flip, distort;
  sm_floats lr, scale;
  double weight_decay, hold_out;
  const char *size;
} segment_linear;

static const sm_option options[] = {
    SM_INT(segment_linear, blocks, "n_last_blocks", "1", 1, 16, "blocks",
           "patches of so many last blocks side by side: 1 as DINOv2, 4 as iBOT"),
    SM_BOOL(segment_linear, batch_norm, "batch_norm", "true",
            "before the layer: true as DINOv2, false as iBOT"),
    SM_INT(segment_linear, iterations, "iterations", "2000", 1, 1e6, "steps",
           "40000 as DINOv2, 160000 as iBOT"),
    SM_INT(segment_linear, batch, "batch_size", "16", 1, 4096, "pictures",
           "of a step, at most all that there are"),
    SM_FLOATS(segment_linear, lr, "lr", "0.001", 1e-8, 1000, NULL,
              "learning rate, 0.0008 as iBOT; of several the best on held-out training pictures counts"),
    SM_FLOAT(segment_linear, weight_decay, "weight_decay", "0.0001", 0, 10, NULL, "0.05 as iBOT"),
    SM_FLOAT(segment_linear, hold_out, "hold_out", "0.1", 0.001, 0.9, NULL,
             "share of the training pictures that chooses among several rates and is not learned from"),
    SM_INT(segment_linear, pixels, "label_pixels", "4", 0, 64, "px",
           "the loss looks at so many labels along the side of a patch, the nearest ones; 0: at all"),
    SM_INT(
        segment_linear, crop, "crop", "0", 0, 4096, "px",
        "side of random crops of the training pictures, whose features are made in each step: 512 as published; 0: whole "
        "pictures, whose features are made once"),
    SM_FLOATS(segment_linear, scale, "scale", "[0.5, 2]", 0.05, 20, NULL,
              "pictures are scaled by so much before they are cropped, drawn between the two"),
    SM_BOOL(segment_linear, flip, "flip", "true", "half of the crops are mirrored"),
    SM_BOOL(segment_linear, distort, "distort", "true",
            "other brightness, contrast, saturation and hue, each in half of the crops"),
    SM_STRING(
        segment_linear, size, "size", "~",
        "pixels of the shorter side, or of height and width, as 360x480; left out: as they are, with `crop` its side"),
    SM_INT(segment_linear, patch, "patch", "16", 1, 256, "px",
           "side of a patch where pixels are the features"),
    SM_INT(segment_linear, pictures, "train_pictures", "0", 0, 1e9, "pictures",
           "training pictures at most, drawn by the seed; 0: all"),
    SM_INT(segment_linear, seed, "seed", "0", 0, 1e9, NULL,
           "of the pictures, the weights, the order and the held-out pictures"),
};

typedef struct linear {
  const segment_linear *o;
  segment s;
  sm_patch_sample *sample; /* (room) training pictures; each owns features and labels */
  int64_t n, room, held;
  uint32_t *order; /* (n): the held-out ones in front */
  int dim, batch;
  sm_patch_head *head, *best;
  double rate, held_miou;
  float *z; /* of a picture's patches */
  size_t patches;
  segment_crops crops; /* where they are asked for, with what becomes of a batch of them */
  sm_dense *dense;
  int rows, cols, ignore;
  float *x, *feature; /* (batch, 3, height, width), (batch, rows · cols, dim) */
  uint16_t *label;
} linear;

static sm_status linear_create(void *self, sm_error *err) {
  const segment_linear *o = self;
  sm_whole_request r = {0};
  sm_status status = segment_size(o->size, &r, err);
  if (status) return status;
  if (o->scale.n != 2 || o->scale.v[0] > o->scale.v[1]) {
    sm_fail(err, SM_EINVAL, "scale must be the smallest and the largest one");
    return sm_hint(err, "for instance scale='[0.5, 2]', or '[1, 1]' for none");
  }
  if (o->crop && r.height) {
    sm_fail(err, SM_EINVAL, "pictures that are scaled and cropped keep the ratio of their sides");
    return sm_hint(err, "say the shorter side alone: size=%d", r.height < r.width ? r.height : r.width);
  }
  if (!o->crop || o->lr.n == 1) return SM_OK;
  sm_fail(err, SM_EINVAL, "crops are learned from at one rate, not %d", o->lr.n);
  return sm_hint(err, "choose the rate on whole pictures: leave crop out");
}

/* ---- what is learned from ------------------------------------------------------------------------------ */

/* So many labels along a patch's side, unless there are fewer. */
static sm_status linear_labels(const linear *l, const sm_dense_picture *p, const sm_label_map *own,
                               sm_label_map *to, sm_error *err) {
  const sm_whole *w = p->whole;
  const int64_t cell = w->height / p->rows;
  int64_t height = (w->resized_height * l->o->pixels + cell / 2) / cell,
          width = (w->resized_width * l->o->pixels + cell / 2) / cell;
  if (!l->o->pixels || height > own->height) height = own->height;
  if (!l->o->pixels || width > own->width) width = own->width;
  return sm_label_map_resize(own, NULL, width < 1 ? 1 : (int)width, height < 1 ? 1 : (int)height, to, err);
}

static sm_status linear_keep(void *ctx, const segment_picture *p, sm_error *err) {
  linear *l = ctx;
  const sm_dense_picture *d = &p->dense;
  const size_t floats = (size_t)d->rows * (size_t)d->cols * (size_t)d->dim;
  if (!l->sample) {
    l->room = segment_count(&l->s);
    l->sample = sm_calloc((size_t)l->room, sizeof *l->sample);
  }
  float *x = l->sample ? sm_malloc(floats * sizeof *x) : NULL;
  if (!x) {
    sm_fail(err, SM_ENOMEM, "no memory for the patches of %lld training pictures", (long long)l->room);
    return sm_hint(err, "take smaller pictures (size), fewer blocks, or fewer pictures (train_pictures)");
  }
  memcpy(x, d->x, floats * sizeof *x);
  sm_patch_sample *to = &l->sample[l->n++];
  *to = (sm_patch_sample){.whole = *d->whole, .rows = d->rows, .cols = d->cols, .ignore = p->ignore, .x = x};
  to->whole.x = NULL, to->whole.capacity = 0;
  l->dim = d->dim;
  return linear_labels(l, d, p->labels, &to->labels, err);
}

/* With several rates a part is put aside; which pictures is a draw keyed by the seed. */
static sm_status linear_hold_out(linear *l, sm_error *err) {
  int64_t labelled = 0;
  for (int64_t i = 0; i < l->n && !labelled; i++)
    for (int64_t k = 0; k < (int64_t)l->sample[i].labels.width * l->sample[i].labels.height; k++)
      labelled += l->sample[i].labels.value[k] != l->sample[i].ignore;
  if (!labelled) return segment_no_label(err);
  if (l->o->lr.n > 1) {
    l->held = llround(l->o->hold_out * (double)l->n);
    if (l->held < 1) l->held = 1;
    if (l->n < 2)
      return sm_fail(err, SM_EINVAL, "several rates want two training pictures, and there is one");
  }
  if (!(l->order = sm_malloc((size_t)l->n * sizeof *l->order)))
    return sm_fail(err, SM_ENOMEM, "no memory for an order of %lld pictures", (long long)l->n);
  for (int64_t i = 0; i < l->n; i++) l->order[i] = (uint32_t)i;
  sm_rng rng = sm_rng_make((uint64_t)l->o->seed, SM_RNG_EVAL, 0, 0, 31);
  sm_rng_shuffle(&rng, l->order, (size_t)l->n);
  const int64_t fitted = l->n - l->held;
  l->batch = (int)(l->o->batch < fitted ? l->o->batch : fitted);
  return SM_OK;
}

/* ---- crops --------------------------------------------------------------------------------------------- */

static sm_status linear_crop_room(linear *l, sm_error *err) {
  const segment_linear *o = l->o;
  const size_t n = (size_t)l->batch, floats = (size_t)l->rows * (size_t)l->cols * (size_t)l->dim;
  l->x = sm_malloc(n * 3 * (size_t)o->crop * (size_t)o->crop * sizeof *l->x);
  l->feature = sm_malloc(n * floats * sizeof *l->feature);
  l->label = sm_malloc(n * (size_t)l->crops.label_height * (size_t)l->crops.label_width * sizeof *l->label);
  if (l->x && l->feature && l->label) return SM_OK;
  sm_fail(err, SM_ENOMEM, "no memory for %d crops of %lld pixels", l->batch, (long long)o->crop);
  return sm_hint(err, "take a smaller batch_size");
}

/* Instead of the patches of whole pictures: what is needed to make those of crops. */
static sm_status linear_crops(linear *l, sm_error *err) {
  const segment_linear *o = l->o;
  const int side = (int)o->crop;
  const sm_network *network = l->s.x->network;
  const int cell = network ? sm_network_describe(network)->backbone.cell : l->s.cell;
  const int labels = o->pixels && o->pixels < cell ? side / cell * (int)o->pixels : side;
  const sm_dense_request request = {.split = "train", .blocks = l->s.blocks, .cell = l->s.cell};
  if (side % cell) {
    sm_fail(err, SM_EINVAL, "crops of %d pixels are not whole patches of %d", side, cell);
    return sm_hint(err, "say crop=%d", (side + cell - 1) / cell * cell);
  }
  if (side / cell > CROP_CELLS) {
    sm_fail(err, SM_EINVAL, "crops of %d pixels are %d patches of %d wide; %d can be learned from", side, side / cell,
            cell, CROP_CELLS);
    return sm_hint(err, "say crop=%d or less", CROP_CELLS * cell);
  }
  l->crops = (segment_crops){.seed = (uint64_t)o->seed,
                             .height = side,
                             .width = side,
                             .label_height = labels,
                             .label_width = labels,
                             .shorter = l->s.size.shorter,
                             .least = o->scale.v[0],
                             .most = o->scale.v[1],
                             .flip = o->flip,
                             .distort = o->distort};
  l->batch = (int)o->batch;
  l->ignore = l->s.train.ops->maps->ignore(l->s.train.self);
  sm_status status = segment_crops_open(&l->crops, &l->s, 0.1, err);
  if (!status) status = sm_dense_open(l->s.x, &request, &l->dense, err);
  if (!status) status = sm_dense_shape(l->dense, side, side, &l->rows, &l->cols, &l->dim, err);
  return status ? status : linear_crop_room(l, err);
}

/* Batch number `step` into `sample` (batch). */
static sm_status linear_crop_batch(linear *l, int64_t step, sm_patch_sample *sample, sm_error *err) {
  const segment_crops *c = &l->crops;
  const int64_t pixels = 3 * (int64_t)c->height * c->width,
                labels = (int64_t)c->label_height * c->label_width,
                floats = (int64_t)l->rows * l->cols * l->dim;
  sm_status status = SM_OK;
  for (int i = 0; !status && i < l->batch; i++)
    status = segment_crop(&l->crops, step * l->batch + i, l->x + i * pixels, l->label + i * labels, err);
  if (!status) status = sm_dense_make(l->dense, l->x, l->batch, l->feature, err);
  for (int64_t k = 0; !status && k < l->batch * labels; k++)
    if (l->label[k] == l->ignore) l->label[k] = SEGMENT_OUTSIDE;
  for (int i = 0; i < l->batch; i++)
    sample[i] = (sm_patch_sample){
        .whole = {.own_height = c->height,
                  .own_width = c->width,
                  .resized_height = c->height,
                  .resized_width = c->width,
                  .height = c->height,
                  .width = c->width},
        .rows = l->rows,
        .cols = l->cols,
        .ignore = SEGMENT_OUTSIDE,
        .x = l->feature + i * floats,
        .labels = {.width = c->label_width, .height = c->label_height, .value = l->label + i * labels}};
  return status;
}

/* ---- training ------------------------------------------------------------------------------------------ */

/* Whole pictures, in an order of each epoch's own. */
static void linear_batch(linear *l, int64_t step, const sm_patch_sample **batch) {
  const int64_t fitted = l->n - l->held, per_epoch = fitted / l->batch, at = step % per_epoch * l->batch;
  uint32_t *order = l->order + l->held;
  sm_rng rng = sm_rng_make((uint64_t)l->o->seed, SM_RNG_EVAL, (uint64_t)(step / per_epoch), 0, 32);
  if (!at) sm_rng_shuffle(&rng, order, (size_t)fitted);
  for (int i = 0; i < l->batch; i++) batch[i] = &l->sample[order[at + i]];
}

static sm_status linear_train(linear *l, int which, sm_error *err) {
  const sm_patch_sample **batch = sm_malloc((size_t)l->batch * sizeof *batch);
  sm_patch_sample *crop = sm_malloc((size_t)l->batch * sizeof *crop);
  sm_status status = batch && crop ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for a batch");
  double loss;
  for (int i = 0; !status && i < l->batch; i++) batch[i] = &crop[i];
  for (int64_t step = 0; !status && step < l->o->iterations; step++) {
    if (l->dense) status = linear_crop_batch(l, step, crop, err);
    else linear_batch(l, step, batch);
    if (status) break;
    const double rate = segment_rate(l->o->lr.v[which], WARMUP, step, l->o->iterations),
                 done = (which + (double)step / (double)l->o->iterations) / l->o->lr.n;
    status = sm_patch_head_step(l->head, batch, l->batch, rate, &loss, err);
    if (!status) status = segment_going_on(&l->s, 0.3 + 0.3 * done, err);
  }
  sm_free(batch);
  sm_free(crop);
  return status;
}

static sm_status linear_reserve(linear *l, int rows, int cols, sm_error *err) {
  const size_t patches = (size_t)rows * (size_t)cols;
  if (l->patches >= patches) return SM_OK;
  sm_free(l->z);
  l->z = sm_malloc(patches * (size_t)l->s.classes * sizeof *l->z);
  l->patches = l->z ? patches : 0;
  return l->z ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for classes of %d x %d patches", cols, rows);
}

/* mIoU of the held-out pictures, at the labels that the loss looks at. */
static sm_status linear_measure(linear *l, double *miou, sm_error *err) {
  sm_segmentation *score = NULL;
  sm_status status = sm_segmentation_new(l->s.classes, l->sample[0].ignore, &score, err);
  for (int64_t i = 0; !status && i < l->held; i++) {
    const sm_patch_sample *s = &l->sample[l->order[i]];
    const int64_t n = (int64_t)s->labels.width * s->labels.height;
    sm_whole w = s->whole;
    w.own_height = s->labels.height, w.own_width = s->labels.width;
    uint16_t *guess = sm_malloc((size_t)n * sizeof *guess);
    status =
        guess ? linear_reserve(l, s->rows, s->cols, err) : sm_fail(err, SM_ENOMEM, "no memory for classes");
    if (!status) {
      sm_patch_head_ask(l->head, s->x, (int64_t)s->rows * s->cols, l->z);
      status = sm_patch_guess(&w, s->rows, s->cols, l->z, l->s.classes, l->s.x->pool, guess, err);
    }
    if (!status) status = sm_segmentation_add(score, s->labels.value, guess, n, i, err);
    sm_free(guess);
  }
  if (!status) {
    const sm_segmentation_sums sums = sm_segmentation_of(score);
    *miou = 100 * sm_segmentation_mean(&sums).iou;
  }
  sm_segmentation_free(score);
  return status;
}

static sm_status linear_new_head(linear *l, sm_error *err) {
  int64_t most = (int64_t)l->rows * l->cols; /* of a crop */
  for (int64_t i = 0; i < l->n; i++) {
    const int64_t patches = (int64_t)l->sample[i].rows * l->sample[i].cols;
    if (patches > most) most = patches;
  }
  return sm_patch_head_new(&(sm_patch_head_config){.dim = l->dim,
                                                   .classes = l->s.classes,
                                                   .patches = most * l->batch,
                                                   .batch_norm = l->o->batch_norm,
                                                   .weight_decay = l->o->weight_decay,
                                                   .seed = (uint64_t)l->o->seed,
                                                   .pool = l->s.x->pool},
                           &l->head, err);
}

/* One layer for each rate, from the same weights; the best one stays, the first of equals. */
static sm_status linear_fit(linear *l, sm_error *err) {
  sm_status status = SM_OK;
  for (int k = 0; !status && k < l->o->lr.n; k++) {
    double miou = 0;
    status = linear_new_head(l, err);
    if (!status) status = linear_train(l, k, err);
    if (!status && l->held) status = linear_measure(l, &miou, err);
    const bool better = !l->best || miou > l->held_miou;
    if (status || !better) {
      sm_patch_head_free(l->head);
    } else {
      sm_patch_head_free(l->best);
      l->best = l->head, l->held_miou = miou, l->rate = l->o->lr.v[k];
    }
    l->head = NULL;
  }
  return status;
}

/* ---- running ------------------------------------------------------------------------------------------- */

static sm_status linear_ask(void *ctx, const segment_picture *p, sm_error *err) {
  linear *l = ctx;
  sm_status status = linear_reserve(l, p->dense.rows, p->dense.cols, err);
  if (status) return status;
  sm_patch_head_ask(l->best, p->dense.x, (int64_t)p->dense.rows * p->dense.cols, l->z);
  return segment_add(&l->s, p, l->z, err);
}

static void linear_protocol(const linear *l, char *to, size_t size) {
  char what[256], from[48] = "pixels", chosen[64] = "",
                  crops[80] = "no crops, flips, distortion, unlike published";
  const segment_linear *o = l->o;
  if (l->s.x->network)
    snprintf(from, sizeof from, "last %lld block%s", (long long)o->blocks, o->blocks > 1 ? "s" : "");
  if (l->held) snprintf(chosen, sizeof chosen, " (best of %d on %lld held out)", o->lr.n, (long long)l->held);
  if (o->crop)
    snprintf(crops, sizeof crops, "crops of %lld, scale %g-%g%s%s", (long long)o->crop, o->scale.v[0],
             o->scale.v[1], o->flip ? ", flips" : "", o->distort ? ", distortion" : "");
  snprintf(to, size, "%slinear, %s, %lld steps of %d, AdamW lr %.4g%s, decay %.4g, poly; %s; %s",
           o->batch_norm ? "batch norm + " : "", from, (long long)o->iterations, l->batch, l->rate, chosen,
           o->weight_decay, crops, segment_what(&l->s, what, sizeof what));
}

static void linear_free(linear *l) {
  for (int64_t i = 0; i < l->n; i++) {
    sm_free((void *)l->sample[i].x);
    sm_label_map_free(&l->sample[i].labels);
  }
  sm_free(l->sample);
  sm_free(l->order);
  sm_free(l->z);
  sm_free(l->x);
  sm_free(l->feature);
  sm_free(l->label);
  sm_dense_close(l->dense);
  segment_crops_close(&l->crops);
  sm_patch_head_free(l->head);
  sm_patch_head_free(l->best);
  segment_close(&l->s);
}

static sm_status linear_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  const segment_linear *o = self;
  linear l = {.o = o, .s = {.blocks = (int)o->blocks, .cell = (int)o->patch}};
  l.s.most = o->pictures, l.s.seed = (uint64_t)o->seed;
  const char *doing = x->doing;
  x->doing = "linear segmentation";
  sm_status status = segment_size(o->size, &l.s.size, err);
  if (!status) status = segment_open(&l.s, x, err);
  if (!status && o->crop) {
    if (!l.s.size.shorter) l.s.size.shorter = (int)o->crop;
    status = linear_crops(&l, err);
  } else if (!status) {
    status = segment_each(&l.s, "train", 0, 0.3, linear_keep, &l, err);
    if (!status) status = linear_hold_out(&l, err);
  }
  if (!status) status = linear_fit(&l, err);
  if (!status) status = segment_each(&l.s, "test", 0.6, 1, linear_ask, &l, err);
  if (!status) status = segment_figures(&l.s, result, err);
  if (!status && l.held) sm_figure_add_in(result, "%", l.held_miou, "held_out");
  if (!status) linear_protocol(&l, result->protocol, sizeof result->protocol);
  x->doing = doing;
  linear_free(&l);
  return status;
}

/* Patches are made here, so no more than the least is asked of the core. */
static void linear_wants(const void *self, sm_feature_spec *spec) {
  (void)self;
  spec->blocks = 1;
  spec->pool = SM_POOL_CLS;
  spec->slow = true;
}

static void linear_figures(const void *self, sm_text *out) {
  segment_names(out);
  if (((const segment_linear *)self)->lr.n > 1) sm_text_add(out, "held_out ");
}

static const sm_evaluation_ops ops = {linear_run, linear_wants, linear_figures};
static const sm_plugin plugin = {
    .kind = SM_EVALUATION,
    .name = "segment_linear",
    .summary = "classes of pixels from a linear layer on frozen patches",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite = "Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, TMLR 2024",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(segment_linear),
    .create = linear_create,
    .ops = &ops,
};
SM_MODULE(&plugin)

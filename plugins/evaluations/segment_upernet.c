/* segment_upernet.c — evaluation `segment_upernet`: the whole network is trained to give pixels their
 * classes, with UperNet behind it, as BEiT's and iBOT's semantic segmentation on ADE20K; test pictures are
 * looked at through a sliding window or whole. */
#include <math.h>
#include <string.h>

#include <smalti/measure.h>
#include <smalti/plugin.h>
#include <smalti/upernet.h>

#include "segment_crops.h"

enum { SLIDE, WHOLE };
static const char *const looks[] = {"slide", "whole", NULL};

typedef struct segment_upernet {
  int64_t crop, size, iterations, batch, channels, auxiliary, pixels, pictures, seed;
  double lr, layer_decay, weight_decay, warmup, drop_path, dropout, auxiliary_weight;
  sm_floats scale;
  bool flip, distort;
  int look;
} segment_upernet;

static const sm_option options[] = {
    SM_INT(segment_upernet, crop, "crop", "0", 0, 4096, "px",
           "side of the crops; 512 as published; 0: height and width of the evaluation's pictures"),
    SM_INT(segment_upernet, size, "size", "0", 0, 16384, "px",
           "shorter side of whole pictures, before a scale is drawn and in the test; 0: that of the crops"),
    SM_FLOATS(segment_upernet, scale, "scale", "[0.5, 2]", 0.05, 20, NULL,
              "training pictures are scaled by so much, drawn between the two"),
    SM_BOOL(segment_upernet, flip, "flip", "true", "half of the crops are mirrored"),
    SM_BOOL(segment_upernet, distort, "distort", "true",
            "other brightness, contrast, saturation and hue, each in half of the crops, as published"),
    SM_INT(segment_upernet, iterations, "iterations", "2000", 1, 1e6, "steps", "160000 as published"),
    SM_INT(segment_upernet, batch, "batch_size", "16", 2, 1024, "crops",
           "of a step; batch norm is over all of them"),
    SM_FLOAT(segment_upernet, lr, "lr", "0.00008", 1e-8, 10, NULL,
             "learning rate of the head; published: 0.00008 for ViT-B, 0.00003 for ViT-S"),
    SM_FLOAT(
        segment_upernet, layer_decay, "layer_decay", "0.65", 0.01, 1, NULL,
        "a layer's rate is this times that of the layer above; published: 0.65 for ViT-B, 0.9 for ViT-S"),
    SM_FLOAT(segment_upernet, weight_decay, "weight_decay", "0.05", 0, 10, NULL,
             "not of norms, biases and embeddings"),
    SM_FLOAT(segment_upernet, warmup, "warmup", "0.009375", 0, 0.9, NULL,
             "share of the steps over which the rate rises; 1500 of 160000 as published"),
    SM_FLOAT(segment_upernet, drop_path, "drop_path", "0.1", 0, 0.9, NULL,
             "of the last layer; grows linearly from 0"),
    SM_FLOAT(segment_upernet, dropout, "dropout", "0.1", 0, 0.9, NULL,
             "share of the head's channels that a crop's classes do without"),
    SM_INT(segment_upernet, channels, "channels", "0", 0, 4096, NULL,
           "of the head; 0: the network's width, as published"),
    SM_INT(segment_upernet, auxiliary, "auxiliary", "256", 0, 4096, NULL,
           "channels of the auxiliary head on the third level, in training; 0: there is none"),
    SM_FLOAT(segment_upernet, auxiliary_weight, "auxiliary_weight", "0.4", 0, 10, NULL, "of its loss"),
    SM_INT(segment_upernet, pixels, "label_pixels", "0", 0, 64, "px",
           "the loss looks at so many labels along the side of a patch, the nearest ones; 0: at all"),
    SM_CHOICE(
        segment_upernet, look, "test", "slide", looks,
        "windows of a crop's size, two thirds of it apart, whose logits are averaged; or the picture as one"),
    SM_INT(segment_upernet, pictures, "train_pictures", "0", 0, 1e9, "pictures",
           "training pictures at most, drawn by the seed; 0: all"),
    SM_INT(segment_upernet, seed, "seed", "0", 0, 1e9, NULL,
           "of the pictures, the head's weights, order, crops, and what is dropped"),
};

typedef struct tuning {
  const segment_upernet *o;
  segment s;
  int cell, height, width; /* of crops and windows */
  segment_crops crops;
  sm_upernet *net;
  double loss;
  /* of a test picture */
  float *window, *part; /* pixels and logits of what is looked at */
  float *z;             /* sum of the logits */
  int *looked;          /* how often at each cell of them */
  size_t floats, parts, cells;
} tuning;

static sm_status upernet_create(void *self, sm_error *err) {
  const segment_upernet *o = self;
  if (o->scale.n == 2 && o->scale.v[0] <= o->scale.v[1]) return SM_OK;
  sm_fail(err, SM_EINVAL, "scale must be the smallest and the largest one");
  return sm_hint(err, "for instance scale='[0.5, 2]', or '[1, 1]' for none");
}

/* ---- sizes --------------------------------------------------------------------------------------------- */

static sm_status upernet_sizes(tuning *t, sm_eval_context *x, sm_error *err) {
  const segment_upernet *o = t->o;
  if (!x->network) return sm_fail(err, SM_EINVAL, "there is no network to fine-tune: pixels have no weights");
  t->cell = sm_network_describe(x->network)->backbone.cell;
  t->height = o->crop ? (int)o->crop : x->height, t->width = o->crop ? (int)o->crop : x->width;
  if (t->height % t->cell || t->width % t->cell) {
    sm_fail(err, SM_EINVAL, "crops of %d x %d pixels are not whole patches of %d", t->width, t->height,
            t->cell);
    return sm_hint(err, "say crop=%d", (t->height + t->cell - 1) / t->cell * t->cell);
  }
  if (o->look == WHOLE && sm_network_describe(x->network)->backbone.one_grid) {
    sm_fail(err, SM_EINVAL, "the backbone takes pictures of one size only, and no whole ones of their own");
    return sm_hint(err, "say test=slide");
  }
  t->s.size.shorter = o->size ? (int)o->size : t->height < t->width ? t->height : t->width;
  return SM_OK;
}

/* ---- training ------------------------------------------------------------------------------------------ */

static void upernet_crops(tuning *t) {
  const segment_upernet *o = t->o;
  t->crops = (segment_crops){.seed = (uint64_t)o->seed,
                             .height = t->height,
                             .width = t->width,
                             .label_height = t->height,
                             .label_width = t->width,
                             .shorter = t->s.size.shorter,
                             .least = o->scale.v[0],
                             .most = o->scale.v[1],
                             .flip = o->flip,
                             .distort = o->distort};
  if (o->pixels && o->pixels < t->cell) {
    t->crops.label_height = t->height / t->cell * (int)o->pixels;
    t->crops.label_width = t->width / t->cell * (int)o->pixels;
  }
}

static sm_status upernet_build(tuning *t, sm_error *err) {
  const segment_upernet *o = t->o;
  return sm_upernet_new(t->s.x,
                        &(sm_upernet_config){.height = t->height,
                                             .width = t->width,
                                             .label_height = t->crops.label_height,
                                             .label_width = t->crops.label_width,
                                             .batch = (int)o->batch,
                                             .classes = t->s.classes,
                                             .channels = (int)o->channels,
                                             .auxiliary = (int)o->auxiliary,
                                             .auxiliary_weight = o->auxiliary_weight,
                                             .dropout = o->dropout,
                                             .drop_path = o->drop_path,
                                             .layer_decay = o->layer_decay,
                                             .weight_decay = o->weight_decay,
                                             .seed = (uint64_t)o->seed},
                        &t->net, err);
}

static sm_status upernet_train(tuning *t, sm_error *err) {
  const segment_upernet *o = t->o;
  const int64_t pixels = 3 * (int64_t)t->height * t->width,
                labels = (int64_t)t->crops.label_height * t->crops.label_width;
  const int ignore = t->s.train.ops->maps->ignore(t->s.train.self);
  float *x = sm_malloc((size_t)(o->batch * pixels) * sizeof *x);
  uint16_t *label = sm_malloc((size_t)(o->batch * labels) * sizeof *label);
  sm_status status =
      x && label ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for %lld crops", (long long)o->batch);
  for (int64_t step = 0; !status && step < o->iterations; step++) {
    for (int64_t i = 0; !status && i < o->batch; i++)
      status = segment_crop(&t->crops, step * o->batch + i, x + i * pixels, label + i * labels, err);
    if (!status)
      status = sm_upernet_step(t->net, step, x, label, ignore,
                               segment_rate(o->lr, o->warmup, step, o->iterations), &t->loss, err);
    if (!status) status = segment_going_on(&t->s, 0.05 + 0.8 * (double)step / (double)o->iterations, err);
  }
  sm_free(x);
  sm_free(label);
  return status;
}

/* ---- testing ------------------------------------------------------------------------------------------- */

static sm_status upernet_grow(float **at, size_t *has, size_t wants, sm_error *err) {
  if (*has >= wants) return SM_OK;
  sm_free(*at);
  *at = sm_malloc(wants * sizeof **at);
  *has = *at ? wants : 0;
  return *at ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory to look at a picture");
}

/* Room for the sums over rows x cols cells, zero, and for a window. */
static sm_status upernet_clear(tuning *t, int rows, int cols, sm_error *err) {
  int part_rows, part_cols;
  const size_t cells = (size_t)rows * (size_t)cols, classes = (size_t)t->s.classes;
  sm_upernet_grid(t->net, t->height, t->width, &part_rows, &part_cols);
  sm_status status = upernet_grow(&t->z, &t->cells, cells * classes, err);
  if (!status) status = upernet_grow(&t->window, &t->floats, 3 * (size_t)t->height * (size_t)t->width, err);
  if (!status)
    status = upernet_grow(&t->part, &t->parts, (size_t)part_rows * (size_t)part_cols * classes, err);
  sm_free(t->looked);
  t->looked = status ? NULL : sm_calloc(cells, sizeof *t->looked);
  if (!status && !t->looked) status = sm_fail(err, SM_ENOMEM, "no memory to look at a picture");
  if (!status) memset(t->z, 0, cells * classes * sizeof *t->z);
  return status;
}

/* The window at (top, left), zeros beyond the picture; its logits are added to those of rows x cols cells. */
static sm_status upernet_look(tuning *t, const sm_whole *w, int top, int left, int rows, int cols,
                              sm_error *err) {
  int part_rows, part_cols, first_row, first_col;
  const int classes = t->s.classes;
  float *to = t->window;
  for (int c = 0; c < 3; c++)
    for (int y = top; y < top + t->height; y++)
      for (int x = left; x < left + t->width; x++)
        *to++ = y < w->height && x < w->width ? w->x[((int64_t)c * w->height + y) * w->width + x] : 0;
  sm_status status = sm_upernet_ask(t->net, t->window, t->height, t->width, t->part, err);
  if (status) return status;
  sm_upernet_grid(t->net, t->height, t->width, &part_rows, &part_cols);
  sm_upernet_grid(t->net, top, left, &first_row, &first_col);
  for (int i = 0; i < part_rows && first_row + i < rows; i++)
    for (int j = 0; j < part_cols && first_col + j < cols; j++) {
      const int64_t at = (int64_t)(first_row + i) * cols + first_col + j;
      const float *from = t->part + ((int64_t)i * part_cols + j) * classes;
      for (int k = 0; k < classes; k++) t->z[at * classes + k] += from[k];
      t->looked[at]++;
    }
  return SM_OK;
}

/* How many windows of `side`, `stride` apart, cover `size`; the last one ends at the border. */
static int upernet_windows(int size, int side, int stride) {
  return (size > side ? size - side + stride - 1 : 0) / stride + 1;
}
static int upernet_window_at(int i, int size, int side, int stride) {
  const int last = size > side ? size - side : 0;
  return i * stride < last ? i * stride : last;
}

/* Windows begin at whole patches: two thirds of their side apart, rounded down. */
static sm_status upernet_slide(tuning *t, const sm_whole *w, int rows, int cols, sm_error *err) {
  const int down = t->height / t->cell * 2 / 3 * t->cell, across = t->width / t->cell * 2 / 3 * t->cell;
  sm_status status = upernet_clear(t, rows, cols, err);
  for (int i = 0; !status && i < upernet_windows(w->height, t->height, down); i++)
    for (int j = 0; !status && j < upernet_windows(w->width, t->width, across); j++)
      status = upernet_look(t, w, upernet_window_at(i, w->height, t->height, down),
                            upernet_window_at(j, w->width, t->width, across), rows, cols, err);
  for (int64_t i = 0; !status && i < (int64_t)rows * cols; i++)
    for (int k = 0; k < t->s.classes; k++) t->z[i * t->s.classes + k] /= (float)t->looked[i];
  return status;
}

static sm_status upernet_test(void *ctx, const segment_picture *p, sm_error *err) {
  tuning *t = ctx;
  const sm_whole *w = p->dense.whole;
  segment_picture scored = *p;
  sm_status status;
  sm_upernet_grid(t->net, w->height, w->width, &scored.dense.rows, &scored.dense.cols);
  const int rows = scored.dense.rows, cols = scored.dense.cols;
  if (t->o->look == WHOLE) {
    status = upernet_grow(&t->z, &t->cells, (size_t)rows * (size_t)cols * (size_t)t->s.classes, err);
    if (!status) status = sm_upernet_ask(t->net, w->x, w->height, w->width, t->z, err);
  } else {
    status = upernet_slide(t, w, rows, cols, err);
  }
  return status ? status : segment_add(&t->s, &scored, t->z, err);
}

/* ---- running ------------------------------------------------------------------------------------------- */

static void upernet_protocol(const tuning *t, char *to, size_t size) {
  const segment_upernet *o = t->o;
  char what[256], aside[32] = "";
  int block[4];
  sm_upernet_blocks(t->net, block);
  if (o->auxiliary) snprintf(aside, sizeof aside, " + %g auxiliary", o->auxiliary_weight);
  const int n =
      snprintf(to, size, "UperNet of %d channels on blocks %d %d %d %d%s, %lld steps of %lld crops of ",
               sm_upernet_channels(t->net), block[0], block[1], block[2], block[3], aside,
               (long long)o->iterations, (long long)o->batch);
  snprintf(to + n, size - (size_t)n, "%d x %d, scale %g-%g%s%s, AdamW lr %g, layer decay %g, test %s; %s",
           t->width, t->height, o->scale.v[0], o->scale.v[1], o->flip ? ", flips" : "",
           o->distort ? ", distortion" : "", o->lr, o->layer_decay, o->look == WHOLE ? "whole" : "by windows",
           segment_what(&t->s, what, sizeof what));
}

static void upernet_free(tuning *t) {
  sm_upernet_free(t->net);
  segment_crops_close(&t->crops);
  sm_free(t->window);
  sm_free(t->part);
  sm_free(t->z);
  sm_free(t->looked);
  segment_close(&t->s);
}

static sm_status upernet_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  const segment_upernet *o = self;
  tuning t = {.o = o, .s = {.most = o->pictures, .seed = (uint64_t)o->seed}};
  const char *doing = x->doing;
  x->doing = "segmentation by fine-tuning";
  sm_status status = upernet_sizes(&t, x, err);
  sm_whole_request padded = {.shorter = t.s.size.shorter, .multiple = t.cell};
  if (!status) status = segment_open(&t.s, x, err);
  if (!status) upernet_crops(&t);
  if (!status) status = segment_crops_open(&t.crops, &t.s, 0.05, err);
  if (!status) status = upernet_build(&t, err);
  if (!status) status = upernet_train(&t, err);
  if (!status) status = segment_each_whole(&t.s, "test", &padded, 0.85, 1, upernet_test, &t, err);
  if (!status) status = segment_figures(&t.s, result, err);
  if (!status) sm_figure_add(result, t.loss, "train_loss");
  if (!status) upernet_protocol(&t, result->protocol, sizeof result->protocol);
  x->doing = doing;
  upernet_free(&t);
  return status;
}

/* The network is trained here, so no more than the least is asked of the core. */
static void upernet_wants(const void *self, sm_feature_spec *spec) {
  (void)self;
  spec->blocks = 1;
  spec->pool = SM_POOL_CLS;
  spec->own_size = true;
}

static void upernet_figures(const void *self, sm_text *out) {
  (void)self;
  segment_names(out);
  sm_text_add(out, "train_loss ");
}

static const sm_evaluation_ops ops = {upernet_run, upernet_wants, upernet_figures};
static const sm_plugin plugin = {
    .kind = SM_EVALUATION,
    .name = "segment_upernet",
    .summary = "classes of pixels from the whole network, fine-tuned with UperNet behind it",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite = "Xiao et al., Unified Perceptual Parsing for Scene Understanding, ECCV 2018",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(segment_upernet),
    .create = upernet_create,
    .ops = &ops,
};
SM_MODULE(&plugin)

/* plugins/evaluations/video.c — objects of a clip's first frame are followed by the features of its patches:
 * video object segmentation without training, measured as DAVIS 2017 does (J and F), beside the first mask left
 * as it is.
 *
 * One clip at a time, one frame at a time. The walk owns the memory of a clip; what the network sees of a frame
 * lives until the next. */
#include "video.h"

#include <math.h>
#include <string.h>

enum { CLIPS_SHOWN = 100, DRAWS = 2000, COPY = SM_VIDEO_FIGURES, GAIN };

static const char *const splits[] = {"test", "train", NULL};

static const sm_option options[] = {
    SM_INT(
        struct video, shorter, "shorter", "480", 16, 4096, "pixels",
        "frames are resized until the shorter side is this, to the nearest multiple of the network's cell"),
    SM_INT(
        struct video, multiple, "multiple", "64", 1, 1024, "pixels",
        "the longer side, in proportion, goes down to a multiple of this, itself rounded up to one of the cell"),
    SM_INT(struct video, frames, "frames", "7", 0, 256, "frames",
           "the last frames that a frame's labels come from, beside the first"),
    SM_INT(struct video, radius, "radius", "12", 0, 1024, "patches",
           "labels come from a square window around a patch, so far to each side; 0: from everywhere"),
    SM_INT(struct video, top, "top", "5", 1, 1024, "patches",
           "how many patches, of all those frames together, hand their labels on"),
    SM_FLOAT(struct video, temperature, "temperature", "0.1", 1e-3, 100, NULL,
             "a patch counts exp(cosine / temperature)"),
    SM_INT(struct video, patch, "patch", "16", 1, 256, "pixels",
           "side of a patch where pixels are the features"),
    SM_CHOICE(struct video, split, "split", "test", splits, "which clips"),
    SM_PATH(struct video, masks, "masks", "~",
            "folder for the masks that are found, CLIP/FRAME.png, as `smalti score davis` reads them"),
    SM_PATH(struct video, strips, "strips", "~",
            "folder for a picture of each clip: frames and masks side by side"),
};

static void video_wants(const void *self, sm_feature_spec *spec) {
  (void)self;
  spec->blocks = 1;
  spec->pool = SM_POOL_MEAN;
  spec->labels = SM_LABELS_ANY;
}

/* ---- clips --------------------------------------------------------------------------------------------- */

static const char *video_split(const video_walk *w) { return w->o->split ? "training" : "test"; }

/* The clips of the split: first picture and number of frames of each. Pictures of no clip do not count. */
static sm_status video_list(video_walk *w, sm_error *err) {
  const sm_clip_ops *ops = w->set.ops->clips;
  if (!ops || ops->count(w->set.self) < 1) {
    sm_fail(err, SM_EUNSUPPORTED, "the %s pictures are no clips", video_split(w));
    return sm_hint(err, "take a data set that has some: clips, or labelled with clips: prefix");
  }
  const int64_t pictures = w->set.ops->count(w->set.self);
  w->clips = ops->count(w->set.self);
  w->clip = sm_calloc((size_t)w->clips, sizeof *w->clip);
  if (!w->clip) return sm_fail(err, SM_ENOMEM, "no memory for %lld clips", (long long)w->clips);
  for (int64_t i = 0; i < pictures; i++) {
    const int64_t c = ops->of(w->set.self, i);
    if (c < 0) continue;
    if (!w->clip[c].frames++) w->clip[c].first = i;
    w->all++;
  }
  for (int64_t c = 0; c < w->clips; c++) {
    w->clip[c].name = ops->name(w->set.self, c);
    if (w->clip[c].frames >= 3) continue;
    sm_fail(err, SM_EINVAL, "the clip '%.200s' has %lld %s, and three are the fewest", w->clip[c].name,
            (long long)w->clip[c].frames, sm_plural(w->clip[c].frames, "frame", "frames"));
    return sm_hint(err, "the first frame is given and the last one is not scored");
  }
  return SM_OK;
}

/* ---- frames -------------------------------------------------------------------------------------------- */

/* As eval_video_segmentation.py has it: 854 x 480 becomes 832 x 480. */
static sm_status video_size(video_walk *w, const char *name, int height, int width, sm_error *err) {
  const int64_t multiple = (w->o->multiple + w->cell - 1) / w->cell * w->cell,
                least = height < width ? height : width, most = height < width ? width : height;
  const int64_t shorter = (w->o->shorter + w->cell / 2) / w->cell * w->cell;
  int64_t longer = least > 0 ? shorter * most / least / multiple * multiple : 0;
  if (longer < shorter) longer = shorter;
  if (shorter < w->cell || longer > 16384) {
    sm_fail(err, SM_EINVAL,
            "a frame of %d x %d pixels cannot be cut into patches of %d: it would be %lld x %lld", width,
            height, w->cell, (long long)(height < width ? longer : shorter),
            (long long)(height < width ? shorter : longer));
    sm_hint(err, "give another shorter side: shorter=480");
    return sm_fail_at(err, name, 0, 0), SM_EINVAL;
  }
  w->request = (sm_whole_request){.height = (int)(height < width ? shorter : longer),
                                  .width = (int)(height < width ? longer : shorter)};
  return SM_OK;
}

/* The picture in its size. A frame that cannot be read ends it: a clip without it is another clip. */
static sm_status video_read(video_walk *w, int64_t index, sm_error *err) {
  const char *name = w->set.ops->name(w->set.self, index);
  sm_status status = sm_whole_read(w->x, w->split, index, &w->request, &w->frame, NULL, err);
  if (status) return err && !err->place[0] ? (sm_fail_at(err, name, 0, 0), status) : status;
  if (w->own_height && (w->frame.own_height != w->own_height || w->frame.own_width != w->own_width)) {
    status = sm_fail(err, SM_EFORMAT, "the frame is %d x %d pixels, but the first one of its clip is %d x %d",
                     w->frame.own_width, w->frame.own_height, w->own_width, w->own_height);
    sm_fail_at(err, name, 0, 0);
  }
  w->own_height = w->frame.own_height, w->own_width = w->frame.own_width;
  return status;
}

/* Patches of raw pixels, (rows·cols, 3·cell²). */
static void video_pixels(video_walk *w) {
  const int cell = w->cell, cols = w->seen.cols, dim = w->seen.dim;
  for (int c = 0; c < 3; c++)
    for (int y = 0; y < w->frame.height; y++)
      for (int x = 0; x < w->frame.width; x++)
        w->pixels[((int64_t)(y / cell) * cols + x / cell) * dim + (c * cell + y % cell) * cell + x % cell] =
            w->frame.x[((int64_t)c * w->frame.height + y) * w->frame.width + x];
  w->seen.patches = w->pixels;
}

static sm_status video_see(video_walk *w, sm_error *err) {
  if (w->looker) return sm_looker_run(w->looker, w->frame.x, &w->seen, err);
  video_pixels(w);
  return SM_OK;
}

/* What looks at frames of this size: kept while the size stays. */
static sm_status video_look_at(video_walk *w, sm_error *err) {
  const int height = w->request.height, width = w->request.width;
  if (height == w->seen_height && width == w->seen_width) return SM_OK;
  sm_looker_free(w->looker);
  sm_free(w->pixels);
  w->looker = NULL, w->pixels = NULL;
  w->several = w->several || w->seen_height > 0;
  w->seen_height = height, w->seen_width = width;
  if (w->x->network) {
    const sm_look_request request = {.height = height, .width = width, .patches = true, .bf16 = w->x->bf16};
    return (w->looker = sm_looker_new(w->x->network, w->x->pool, &request, err)) ? SM_OK : err->code;
  }
  w->seen = (sm_look){
      .rows = height / w->cell, .cols = width / w->cell, .cell = w->cell, .dim = 3 * w->cell * w->cell};
  w->pixels = sm_malloc((size_t)3 * (size_t)height * (size_t)width * sizeof *w->pixels);
  return w->pixels ? SM_OK
                   : sm_fail(err, SM_ENOMEM, "no memory for a frame of %d x %d pixels", width, height);
}

/* ---- masks --------------------------------------------------------------------------------------------- */

/* The true mask of a frame; unknown pixels are background, as in DAVIS's tools. */
static sm_status video_truth(video_walk *w, int64_t index, sm_label_map *to, sm_error *err) {
  sm_status status = sm_picture_label_map(w->x, w->split, index, w->own_height, w->own_width, to, err);
  if (status) return status;
  const int ignore = w->set.ops->maps->ignore(w->set.self);
  const size_t pixels = (size_t)to->width * (size_t)to->height;
  for (size_t i = 0; i < pixels; i++)
    if (to->value[i] == ignore) to->value[i] = 0;
  return SM_OK;
}

/* Objects that come later are not scored, as in DAVIS; said once. */
static void video_watch_newcomers(video_walk *w, int64_t index, int objects) {
  const int largest = sm_mask_objects(w->truth.value, w->own_height, w->own_width);
  if (largest <= objects || w->told) return;
  w->told = true;
  sm_log(SM_LOG_WARNING, "%s has object %d, which its clip's first mask lacks: such objects are not scored",
         w->set.ops->maps->name(w->set.self, index), largest);
}

static sm_status video_no_mask(const video_walk *w, sm_error *err) {
  sm_fail(err, SM_EUNSUPPORTED, "the clip '%.200s' has no masks", w->clip[w->at].name);
  return sm_hint(err, "say where they are: masks of the data set clips, labels of labelled");
}

/* The size of a clip's frames is that of its first mask, until the frames themselves are read. */
static sm_status video_first_size(video_walk *w, int64_t index, int *height, int *width, sm_error *err) {
  const sm_map_ops *maps = w->set.ops->maps;
  if (!maps || !maps->name(w->set.self, index)) return video_no_mask(w, err);
  sm_status status = maps->read(w->set.self, index, NULL, &w->first, err);
  *height = w->first.height, *width = w->first.width;
  return status;
}

static sm_status video_no_object(const video_walk *w, int64_t index, sm_error *err) {
  const char *name = w->set.ops->maps->name(w->set.self, index);
  sm_fail(err, SM_EINVAL, "the first mask of the clip '%.200s' has no object", w->clip[w->at].name);
  sm_hint(err,
          "where masks are 0 and 255, say foreground: true; take clips without an object out of the list");
  return sm_fail_at(err, name, 0, 0), SM_EINVAL;
}

/* ---- one clip ------------------------------------------------------------------------------------------ */

static void video_one_free(video_walk *w) {
  sm_propagation_free(w->propagation);
  sm_clip_score_free(&w->score[0]);
  sm_clip_score_free(&w->score[1]);
  sm_free(w->labels);
  w->propagation = NULL, w->labels = NULL;
}

static sm_status video_count_lost(video_walk *w, const uint16_t *small, size_t cells, sm_error *err) {
  enum { NUMBERS = 1 << 16, IN_MASK = 1, ON_GRID = 2 };
  const size_t pixels = (size_t)w->own_height * (size_t)w->own_width;
  uint8_t *there = sm_calloc(NUMBERS, 1);
  if (!there) return sm_fail(err, SM_ENOMEM, "no memory for the objects of a clip");
  for (size_t i = 0; i < pixels; i++) there[w->first.value[i]] |= IN_MASK;
  for (size_t i = 0; i < cells; i++) there[small[i]] |= ON_GRID;
  for (int o = 1; o < NUMBERS; o++) w->lost += there[o] == IN_MASK;
  sm_free(there);
  return SM_OK;
}

/* The first mask, on the grid, is where labels begin. */
static sm_status video_begin_labels(video_walk *w, int objects, sm_error *err) {
  const struct video *o = w->o;
  const int rows = w->seen.rows, cols = w->seen.cols;
  const size_t cells = (size_t)rows * (size_t)cols;
  uint16_t *small = sm_malloc(cells * sizeof *small);
  w->labels = sm_malloc(cells * ((size_t)objects + 1) * sizeof *w->labels);
  sm_status status =
      small && w->labels ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for the labels of a clip");
  if (!status)
    status =
        sm_mask_to_grid(w->first.value, w->own_height, w->own_width, rows, cols, small, &w->channels, err);
  if (!status) status = video_count_lost(w, small, cells, err);
  if (!status) {
    const sm_propagation_config c = {rows,           cols,        w->seen.dim,    w->channels, (int)o->frames,
                                     (int)o->radius, (int)o->top, o->temperature, w->x->pool};
    sm_labels_of_mask(small, rows, cols, w->channels, w->labels);
    status = sm_propagation_new(&c, w->seen.patches, w->labels, &w->propagation, err);
  }
  sm_free(small);
  return status;
}

/* The first frame: its features and its mask begin the propagation. */
static sm_status video_begin(video_walk *w, sm_error *err) {
  const video_clip *clip = &w->clip[w->at];
  int height = 0, width = 0;
  w->own_height = w->own_width = 0;
  sm_status status = video_first_size(w, clip->first, &height, &width, err);
  if (!status) status = video_size(w, w->set.ops->name(w->set.self, clip->first), height, width, err);
  if (!status) status = video_look_at(w, err);
  if (!status) status = video_read(w, clip->first, err);
  if (!status) status = video_truth(w, clip->first, &w->first, err);
  if (status) return status;
  const int objects = sm_mask_objects(w->first.value, w->own_height, w->own_width);
  if (!objects) return video_no_object(w, clip->first, err);
  status = video_see(w, err);
  if (!status) status = video_begin_labels(w, objects, err);
  if (!status) status = sm_label_map_reshape(&w->found, w->own_width, w->own_height, err);
  for (int k = 0; !status && k < 2; k++)
    status = sm_clip_score_new(objects, clip->frames - 2, &w->score[k], err);
  return status;
}

/* Frame t > 0. */
static sm_status video_follow(video_walk *w, int64_t t, sm_error *err) {
  const video_clip *clip = &w->clip[w->at];
  const int64_t index = clip->first + t;
  sm_status status = video_read(w, index, err);
  if (!status) status = video_see(w, err);
  if (!status) status = sm_propagation_next(w->propagation, w->seen.patches, w->labels, err);
  if (!status)
    status = sm_labels_to_mask(w->labels, w->channels, w->seen.rows, w->seen.cols, w->cell, w->own_height,
                               w->own_width, w->found.value, err);
  if (!status) status = video_truth(w, index, &w->truth, err);
  if (status || t == clip->frames - 1) return status;
  video_watch_newcomers(w, index, w->score[0].objects);
  const uint16_t *const answers[] = {w->found.value, w->first.value};
  for (int k = 0; !status && k < 2; k++) {
    const sm_frame f = {w->truth.value, answers[k], NULL, w->own_height, w->own_width};
    status = sm_clip_score_add(&w->score[k], &f, w->x->pool, err);
  }
  return status;
}

static void video_sum(video_walk *w) {
  double *row = w->sums + w->at * VIDEO_COLUMNS, copy[SM_VIDEO_FIGURES];
  sm_clip_score_sums(&w->score[0], row);
  sm_clip_score_sums(&w->score[1], copy);
  row[COPY] = copy[0];
  row[GAIN] = row[0] - copy[0];
  w->objects[w->at] = w->score[0].objects;
}

static sm_status video_one(video_walk *w, sm_error *err) {
  const video_clip *clip = &w->clip[w->at];
  sm_status status = video_begin(w, err);
  if (!status) status = video_draw_frame(w, 0, &w->first, err);
  for (int64_t t = 1; !status && t < clip->frames; t++) {
    status = video_follow(w, t, err);
    if (!status) status = video_draw_frame(w, t, &w->found, err);
    if (!status) status = w->x->going_on(w->x, (double)++w->done / (double)(w->all - w->clips), err);
  }
  if (!status) status = video_draw_strip(w, err);
  if (!status) video_sum(w);
  video_one_free(w);
  return status;
}

/* ---- figures ------------------------------------------------------------------------------------------- */

static void video_protocol(const video_walk *w, double objects, sm_eval_result *r) {
  const struct video *o = w->o;
  const int wide = (int)(2 * o->radius + 1);
  char window[32] = "everywhere", size[48];
  if (o->radius) snprintf(window, sizeof window, "%d x %d", wide, wide);
  if (w->several) snprintf(size, sizeof size, "shorter side %d", (int)o->shorter);
  else snprintf(size, sizeof size, "%d x %d", w->seen_width, w->seen_height);
  snprintf(
      r->protocol, sizeof r->protocol,
      "DAVIS 2017, semi-supervised: labels from the first frame and the last %d, top %d by cosine of %s, "
      "window %s, temperature %g; frames of %s (antialiased), patches of %d; first and last frame not scored; "
      "mean over %.0f objects of %lld %s %s%s; copy: the first mask everywhere",
      (int)o->frames, (int)o->top, w->x->network ? "the last block's patches" : "raw pixels", window,
      o->temperature, size, w->cell, objects, (long long)w->clips, video_split(w),
      sm_plural(w->clips, "clip", "clips"), w->clips > 1 ? ", resampled for intervals" : "");
}

static sm_status video_figures(const video_walk *w, sm_eval_result *r, sm_error *err) {
  sm_interval at[VIDEO_COLUMNS];
  double sum[VIDEO_COLUMNS] = {0}, objects = 0;
  for (int64_t c = 0; c < w->clips; c++) {
    for (int k = 0; k < VIDEO_COLUMNS; k++) sum[k] += w->sums[c * VIDEO_COLUMNS + k];
    objects += w->objects[c];
  }
  sm_status status =
      w->clips < 2 ? SM_OK
                   : sm_ratio_intervals(w->sums, w->objects, w->clips, VIDEO_COLUMNS, DRAWS, 0, at, err);
  for (int k = 0; !status && k < VIDEO_COLUMNS; k++) {
    if (w->clips > 1)
      r->interval[r->n] = (sm_interval){100 * at[k].low, 100 * at[k].high}, r->has_interval[r->n] = true;
    sm_figure_add_in(r, "%", 100 * sum[k] / objects, "%s",
                     k == COPY   ? "copy.j_and_f"
                     : k == GAIN ? "gain"
                                 : sm_video_figure_names[k]);
  }
  for (int64_t c = 0; !status && w->clips <= CLIPS_SHOWN && c < w->clips; c++)
    sm_figure_add_in(r, "%", 100 * w->sums[c * VIDEO_COLUMNS] / w->objects[c], "j_and_f.%.36s",
                     w->clip[c].name);
  if (!status) video_protocol(w, objects, r);
  if (!status && w->lost)
    sm_log(
        SM_LOG_WARNING,
        "%lld of %.0f objects %s too small to be on the grid of patches, and not followed: give a larger 'shorter'",
        (long long)w->lost, objects, sm_plural(w->lost, "is", "are"));
  return status;
}

/* ---- running ------------------------------------------------------------------------------------------- */

static void video_free(video_walk *w) {
  video_one_free(w);
  sm_looker_free(w->looker);
  sm_free(w->pixels);
  sm_free(w->clip);
  sm_free(w->sums);
  sm_free(w->objects);
  sm_whole_free(&w->frame);
  sm_label_map_free(&w->first);
  sm_label_map_free(&w->truth);
  sm_label_map_free(&w->found);
  sm_image_free(&w->picture);
  sm_image_free(&w->strip);
}

static sm_status video_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  const struct video *o = self;
  video_walk w = {.o = o, .x = x, .split = splits[o->split]};
  w.cell = x->network ? sm_network_describe(x->network)->backbone.cell : (int)o->patch;
  x->doing = "labels that follow clips";
  sm_status status = sm_picture_dataset(x, w.split, &w.set, err);
  if (!status) status = video_list(&w, err);
  if (!status) {
    w.sums = sm_calloc((size_t)w.clips * VIDEO_COLUMNS, sizeof *w.sums);
    w.objects = sm_calloc((size_t)w.clips, sizeof *w.objects);
    if (!w.sums || !w.objects) status = sm_fail(err, SM_ENOMEM, "no memory for the scores of clips");
  }
  for (; !status && w.at < w.clips; w.at += !status) status = video_one(&w, err);
  if (!status) status = video_figures(&w, result, err);
  video_free(&w);
  return status;
}

static void video_names(const void *self, sm_text *out) {
  (void)self;
  for (int k = 0; k < SM_VIDEO_FIGURES; k++) sm_text_add(out, "%s ", sm_video_figure_names[k]);
  sm_text_add(out, "copy.j_and_f gain ");
}

static const sm_evaluation_ops ops = {video_run, video_wants, video_names};
static const sm_plugin plugin = {
    .kind = SM_EVALUATION,
    .name = "video",
    .summary = "objects of a clip's first frame followed by the features of its patches: J and F of DAVIS",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite =
        "Jabri et al., Space-Time Correspondence as a Contrastive Random Walk, NeurIPS 2020; Pont-Tuset et al., The "
        "2017 DAVIS Challenge on Video Object Segmentation, arXiv 1704.00675",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(struct video),
    .ops = &ops,
};
SM_MODULE(&plugin)

/* clip_score.c — DAVIS's measures of the objects of a clip, frame by frame (smalti/video.h). */
#include <smalti/video.h>

const char *const sm_video_figure_names[SM_VIDEO_FIGURES] = {"j_and_f", "j",        "j_recall", "j_decay",
                                                             "f",       "f_recall", "f_decay"};

int sm_mask_objects(const uint16_t *mask, int height, int width) {
  const int64_t pixels = (int64_t)height * width;
  int largest = 0;
  for (int64_t i = 0; i < pixels; i++)
    if (mask[i] > largest) largest = mask[i];
  return largest;
}

sm_status sm_clip_score_new(int objects, int64_t frames, sm_clip_score *s, sm_error *err) {
  *s = (sm_clip_score){.objects = objects, .room = frames};
  if (objects < 1 || frames < 1)
    return sm_fail(err, SM_EINVAL, "a clip of %d objects in %lld scored frames has no score", objects,
                   (long long)frames);
  s->j = sm_malloc((size_t)objects * (size_t)frames * sizeof *s->j);
  s->f = sm_malloc((size_t)objects * (size_t)frames * sizeof *s->f);
  if (s->j && s->f) return SM_OK;
  sm_clip_score_free(s);
  return sm_fail(err, SM_ENOMEM, "no memory for the scores of %d objects in %lld frames", objects,
                 (long long)frames);
}

void sm_clip_score_free(sm_clip_score *s) {
  if (!s) return;
  sm_free(s->j);
  sm_free(s->f);
  *s = (sm_clip_score){0};
}

typedef struct clip_frame {
  sm_clip_score *score;
  const sm_frame *frame;
} clip_frame;

static void clip_score_object(void *ctx, int64_t item, int worker) {
  const clip_frame *c = ctx;
  const int64_t at = item * c->score->room + c->score->frames;
  (void)worker;
  c->score->j[at] = sm_region_measure(c->frame, (int)item + 1);
  if (sm_boundary_measure(c->frame, (int)item + 1, SM_BOUNDARY_SHARE, &c->score->f[at], NULL))
    c->score->f[at] = -1;
}

sm_status sm_clip_score_add(sm_clip_score *s, const sm_frame *frame, sm_pool *pool, sm_error *err) {
  const int64_t pixels = (int64_t)frame->height * frame->width;
  if (s->frames == s->room)
    return sm_fail(err, SM_EINVAL, "a clip of %lld scored frames gets one more", (long long)s->room);
  for (int64_t i = 0; i < pixels; i++)
    if (frame->found[i] > s->objects)
      return sm_fail(err, SM_EINVAL, "object %d was found at (%lld, %lld), but the clip has %d",
                     frame->found[i], (long long)(i % frame->width), (long long)(i / frame->width),
                     s->objects);
  sm_pool_run(pool, s->objects, clip_score_object, &(clip_frame){s, frame});
  for (int o = 0; o < s->objects; o++)
    if (s->f[o * s->room + s->frames] < 0)
      return sm_fail(err, SM_ENOMEM, "no memory for boundaries in %d x %d pixels", frame->width,
                     frame->height);
  s->frames++;
  return SM_OK;
}

sm_series sm_clip_score_j(const sm_clip_score *s, int object) {
  return sm_series_of(s->j + (object - 1) * s->room, s->frames);
}
sm_series sm_clip_score_f(const sm_clip_score *s, int object) {
  return sm_series_of(s->f + (object - 1) * s->room, s->frames);
}

void sm_clip_score_sums(const sm_clip_score *s, double sums[SM_VIDEO_FIGURES]) {
  for (int k = 0; k < SM_VIDEO_FIGURES; k++) sums[k] = 0;
  for (int o = 1; o <= s->objects; o++) {
    const sm_series j = sm_clip_score_j(s, o), f = sm_clip_score_f(s, o);
    const double add[SM_VIDEO_FIGURES] = {
        (j.mean + f.mean) / 2, j.mean, j.recall, j.decay, f.mean, f.recall, f.decay};
    for (int k = 0; k < SM_VIDEO_FIGURES; k++) sums[k] += add[k];
  }
}

/* plugins/evaluations/video.h — what the files of evaluation `video` share: options, and where it is in the clips. */
#ifndef VIDEO_H
#define VIDEO_H

#include <smalti/measure.h>
#include <smalti/plugin.h>
#include <smalti/show.h>
#include <smalti/video.h>

enum { VIDEO_TILES = 6, VIDEO_COLUMNS = SM_VIDEO_FIGURES + 2 };

struct video {
  int64_t shorter, multiple, frames, radius, top, patch;
  double temperature;
  int split;
  const char *masks, *strips;
};

typedef struct video_clip {
  const char *name;
  int64_t first, frames; /* its first picture, and how many */
} video_clip;

typedef struct video_walk {
  const struct video *o;
  sm_eval_context *x;
  const char *split;
  sm_dataset set;
  video_clip *clip;   /* (clips) */
  int64_t clips, all; /* all: frames of all clips */
  int64_t at, done;   /* this clip; frames followed so far */
  int cell;
  bool told; /* of objects that come later */

  /* what looks at frames of one size */
  sm_whole_request request;
  int seen_height, seen_width;
  bool several; /* sizes there were */
  sm_looker *looker; /* NULL: pixels are the features */
  float *pixels;
  sm_look seen;

  /* of this clip */
  int own_height, own_width, channels;
  sm_whole frame;
  sm_label_map first, truth, found;
  float *labels; /* (channels, rows, cols) */
  sm_propagation *propagation;
  sm_clip_score score[2];  /* what is found, and the first mask left as it is */
  sm_image picture, strip; /* video_draw.c */
  int tiles;

  /* of all clips */
  double
      *sums; /* (clips, VIDEO_COLUMNS): the seven figures, J&F of the first mask, what is gained over that */
  double *objects; /* (clips) */
  int64_t lost;    /* objects that no patch has in the first frame */
} video_walk;

/* video_draw.c: write the mask of frame t, where masks are wanted, and put the frame on the strip, where it is
 * one of those shown. w->truth is that of the frame. */
sm_status video_draw_frame(video_walk *, int64_t t, const sm_label_map *found, sm_error *);
sm_status video_draw_strip(video_walk *, sm_error *); /* the clip has ended */

#endif

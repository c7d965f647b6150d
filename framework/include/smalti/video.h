/* smalti/video.h — objects in video: region and boundary measures of DAVIS, and labels that follow features from frame
 * to frame.
 *
 * Masks hold object numbers, 0 is background: value[y * width + x]. */
#ifndef SMALTI_VIDEO_H
#define SMALTI_VIDEO_H

#include <smalti/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- measures (davis2017-evaluation: metrics.py) ------------------------------------------------------- */

#define SM_BOUNDARY_SHARE .008 /* of the diagonal: how far apart boundaries may lie */

/* One object in one frame: pixels of value `object`. `unknown` (may be NULL): pixels that are not 0 count for neither.
 * J: |∩| / |∪|, 1 where both are empty. F: the harmonic mean of precision and recall of the boundaries, which match
 * within ceil(share · diagonal) pixels. SM_ENOMEM. [any] */
typedef struct sm_frame {
  const uint16_t *truth, *found;
  const uint8_t *unknown;
  int height, width;
} sm_frame;
double sm_region_measure(const sm_frame *, int object);
sm_status sm_boundary_measure(const sm_frame *, int object, double share, double *f, sm_error *);

/* Of one object's values over the frames (n): their mean, the share above .5, and by how much the mean of the first
 * quarter of the frames is above that of the last; quarters share their ends. NaN values count in no mean, and as not
 * above .5 in recall. NaN where n is 0. The reference keeps ends of quarters in 8 bits, so beyond 256 frames it
 * differs. */
typedef struct sm_series {
  double mean, recall, decay;
} sm_series;
sm_series sm_series_of(const double *value, int64_t n);

/* ---- clips --------------------------------------------------------------------------------------------- */

/* The largest number in a mask. DAVIS numbers objects from 1 on, so it is how many there are. */
int sm_mask_objects(const uint16_t *mask, int height, int width);

/* J and F of each object of a clip in each scored frame. In the semi-supervised task of DAVIS 2017 these are all frames
 * but the first and the last, and the objects are those of the first frame's mask.
 * Zero-initialise. */
typedef struct sm_clip_score {
  int objects;
  int64_t frames, room;
  double *j, *f; /* (objects, room), of which `frames` are filled */
} sm_clip_score;
/* Room for `frames` frames. SM_EINVAL: no object, or no frame; SM_ENOMEM. */
sm_status sm_clip_score_new(int objects, int64_t frames, sm_clip_score *, sm_error *);
void sm_clip_score_free(sm_clip_score *); /* frees and zeroes; NULL is allowed */
/* The next frame, its objects on the pool: the same for any number of threads. SM_EINVAL: there is no room, or an
 * object was found that the clip has not; SM_ENOMEM. [main] */
sm_status sm_clip_score_add(sm_clip_score *, const sm_frame *, sm_pool *, sm_error *);
sm_series sm_clip_score_j(const sm_clip_score *, int object); /* of object 1 … objects */
sm_series sm_clip_score_f(const sm_clip_score *, int object);

/* The seven figures of DAVIS in the order of its tables, each a fraction: J&F, then mean, recall and decay of J and
 * of F. */
enum { SM_VIDEO_FIGURES = 7 };
extern const char *const sm_video_figure_names[SM_VIDEO_FIGURES]; /* "j_and_f", "j", "j_recall" … */
/* Their sums over the objects of a clip; the figures of clips are sums of these over the number of objects. */
void sm_clip_score_sums(const sm_clip_score *, double sums[SM_VIDEO_FIGURES]);

/* ---- propagation (dino: eval_video_segmentation.py) ---------------------------------------------------- */

typedef struct sm_propagation_config {
  int rows, cols, dim, channels; /* grid of the patches, width of their features; background and objects */
  int queue;                     /* last frames that are looked at beside the first: 7 */
  int radius;                    /* of the square window around a patch, in patches: 12; 0: everywhere */
  int top;                       /* how many patches, of all frames together, hand their labels on: 5 */
  double temperature;            /* a patch counts exp(cosine / temperature): .1 */
  sm_pool *pool;
} sm_propagation_config;

/* Shrink a mask to the grid (PIL's nearest). *channels: its largest value + 1; what vanished is lost. small (rows·cols).
 * SM_ENOMEM. [any] */
sm_status sm_mask_to_grid(const uint16_t *mask, int height, int width, int rows, int cols, uint16_t *small,
                          int *channels, sm_error *);
/* Soft labels (channels, rows, cols) of a small mask: 1 where it has the channel's number, else 0. */
void sm_labels_of_mask(const uint16_t *small, int rows, int cols, int channels, float *labels);

typedef struct sm_propagation sm_propagation;
/* Begin with the first frame's features (rows·cols, dim), not normalised, and labels (channels, rows, cols). SM_ENOMEM,
 * SM_EINVAL: features that are not finite. [main] */
sm_status sm_propagation_new(const sm_propagation_config *, const float *features, const float *labels,
                             sm_propagation **, sm_error *);
/* The next frame: its labels as the mean of those of the most similar patches of the first frame and the queue, which
 * it joins, soft as they are. The same for any number of threads. [main] */
sm_status sm_propagation_next(sm_propagation *, const float *features, float *labels, sm_error *);
void sm_propagation_free(sm_propagation *); /* NULL is allowed */

/* Soft labels to a mask of height × width: made larger `cell` times (bilinear), each channel stretched to 0 … 1, the
 * largest one wins, the lower one of equal ones; then nearest to the size. SM_ENOMEM. [any] */
sm_status sm_labels_to_mask(const float *labels, int channels, int rows, int cols, int cell, int height, int width,
                            uint16_t *mask, sm_error *);

#ifdef __cplusplus
}
#endif
#endif

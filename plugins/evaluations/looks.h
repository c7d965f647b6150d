/* looks.h — one row of features of one picture, of any size: the view, a generalised mean of the patches, or
 * both; of pixels, and for a baseline beside a network, a small picture. */
#ifndef LOOKS_H
#define LOOKS_H

#include <smalti/evaluation.h>
#include <smalti/show.h>

typedef enum { LOOKS_BOTH, LOOKS_CLS, LOOKS_GEM } looks_kind;
extern const char *const looks_kinds[]; /* "cls_gem", "cls", "gem": in the order of looks_kind */

#define LOOKS_SMALL 16 /* pixels a side of the small picture, which is averaged from squares */
#define LOOKS_SMALL_DIM (3 * LOOKS_SMALL * LOOKS_SMALL)

/* A network looks at pictures one by one, so that no picture's row depends on others, nor on how many come
 * together. Graphs of the last few sizes are kept. */
typedef struct looks {
  sm_eval_context *x;
  looks_kind kind;
  double power; /* of the generalised mean */
  int dim;      /* of a row */
  struct looks_at {
    sm_looker *looker;
    int height, width;
  } at[6];
  int next; /* of `at`, to be used again */
} looks;

/* SM_EINVAL where the network cannot take pictures of the evaluation's size. [main] */
sm_status looks_open(looks *, sm_eval_context *, looks_kind, double power, sm_error *);
void looks_close(looks *);
/* Of a normalised picture x (3, height, width), into `row` (dim), not scaled to length 1. [main] */
sm_status looks_row(looks *, const float *x, int height, int width, float *row, sm_error *);
/* The small picture's values, into `row` (LOOKS_SMALL_DIM). */
void looks_small(const float *x, int height, int width, float *row);
/* Bilinear as torch's interpolate by a factor: pixel i lies at (i + 1/2) / scale - 1/2. x (3, height,
 * width), to (3, rows, cols): the first rows and columns of the scaled picture, or more of its edge. */
void looks_scale(const float *x, int height, int width, double scale, int rows, int cols, float *to);
/* "[CLS] and patches by GeM 4", "16 x 16 pixels", for a protocol. */
const char *looks_what(const looks *, char *buf, size_t size);

#endif

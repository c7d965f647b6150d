/* curve.h — how often a classifier is right about test pictures that are changed more and more: the points of a
 * curve, the area under it, and intervals over pictures. */
#ifndef CURVE_H
#define CURVE_H

#include "ask.h"

typedef struct curve {
  sm_picture_list list; /* of the test pictures */
  int64_t *index, n;    /* which of them, ascending */
  int points;
  uint8_t *wrong;  /* (points, n): 0, 1, or CURVE_MISSED */
  int64_t counted; /* after curve_end: pictures that could be read for every point */
} curve;
enum { CURVE_MISSED = 2 };

/* Zero-initialise; curve_free in any case. */
sm_status curve_open(curve *, sm_eval_context *, const ask_options *, int points, sm_error *);
void curve_free(curve *);
/* The pictures as they are, and as question->change leaves them. */
sm_status curve_clean(curve *, int point, const ask_question *, const sm_features *test, sm_error *);
sm_status curve_ask(curve *, int point, sm_eval_context *, ask_question *, sm_error *);
int64_t curve_place(const curve *, int64_t index); /* of a picture in `index`; -1: it is not asked for */
bool curve_counts(const curve *, int64_t place);   /* it could be read for every point */

/* Counts; SM_EINVAL where no picture could be read for every point. Figures are of these pictures only. */
sm_status curve_end(curve *, sm_error *);
/* Percent that the classifier is right about. */
void curve_point(const curve *, int point, sm_eval_result *, const char *name);
/* The mean of v (n), of each picture one, in percent. */
sm_status curve_mean(const curve *, const float *v, sm_eval_result *, const char *name, sm_error *);
/* By trapezoids over at[0] <= at[1] …, over the length of that run: the mean height of the curve. n > 1. */
sm_status curve_area(const curve *, const int *point, const double *at, int n, sm_eval_result *, const char *name,
                     sm_error *);

#endif

/* apart.h — work in a child process, which may crash, end or never come back without harm to who asked. */
#ifndef SM_CHECK_APART_H
#define SM_CHECK_APART_H

#include "watch.h"

typedef struct sm_apart {
  void (*work)(void *ctx, int out);                                       /* in the child */
  void (*message)(void *ctx, int kind, const void *bytes, size_t n); /* what it has sent, in order */
  void *ctx;
  double seconds; /* that the child may stay without a sign of life (watch.h) */
} sm_apart;

/* From the child: a message of at most SM_APART_MOST bytes; what is longer is cut. */
#define SM_APART_MOST 4000
void sm_apart_send(int out, int kind, const void *bytes, size_t n);

/* Memory that parent and child share; NULL with an error. */
sm_watch *sm_watch_new(sm_error *);
void sm_watch_free(sm_watch *); /* NULL is allowed */

/* Run the work in a child. *fault says how it went wrong, from what `watch` tells ("the callback 'draw'
 * crashed (…)"), and is empty where the work came to its end. *stuck: it had to be killed. An error: there is
 * no child. What the child prints goes to stderr. */
sm_status sm_apart_run(const sm_apart *, sm_watch *, char fault[256], bool *stuck, sm_error *);

#endif

/* discovery.h — for the evaluation `discovery`: what it found in a picture, and the sheet that shows it. */
#ifndef SMALTI_PLUGIN_DISCOVERY_H
#define SMALTI_PLUGIN_DISCOVERY_H

#include <smalti/plugin.h>
#include <smalti/show.h>

/* LOST and TokenCut look at features; the other two boxes need none: what they hit is the baseline. */
enum { DISCOVERY_LOST, DISCOVERY_TOKENCUT, DISCOVERY_CENTRE, DISCOVERY_WHOLE, DISCOVERY_BOXES };

typedef struct discovery_found {
  double box[DISCOVERY_BOXES][4]; /* x, y, width, height in pixels of the picture itself; width 0: none */
  double negative; /* share of pairs of patches whose product is below 0; LOST only */
} discovery_found;

/* A tile of the picture as the network saw it, with annotated boxes (n, 4) and those of the methods that were asked. */
sm_status discovery_draw(sm_sheet *, sm_eval_context *, const sm_whole *, const char *name, const double *truth,
                         int64_t n, const discovery_found *, const bool methods[2], sm_error *);

#endif

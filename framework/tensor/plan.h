/* framework/tensor/plan.h — private: the steps of planning, in their order (plan.c).
 *
 * Nothing in a plan depends on the number of threads but the number of worker blocks. */
#ifndef SM_PLAN_H
#define SM_PLAN_H

#include "graph.h"

static inline size_t sm_round64(size_t n) { return (n + 63) & ~(size_t)63; }

/* Number all nodes, cut passes into segments, note when each tensor is used, size the groups (segments.c). */
sm_status sm_plan_segments(sm_graph *, sm_error *);
sm_segment *sm_segment_at(sm_graph *, int index); /* counted over all passes */
/* A place for every transient, in one block or in each worker's memory (places.c). */
sm_status sm_plan_places(sm_graph *, sm_error *);

#endif

/* framework/tensor/plan.h — private: the steps of planning, in their order (plan.c).
 *
 * Of the number of threads depend the number of worker blocks, and, where no bit depends on it, how finely work is
 * cut (sm_kernel_table.any_cut): tiles here, groups of items where a pass runs. */
#ifndef SM_PLAN_H
#define SM_PLAN_H

#include "graph.h"

static inline size_t sm_round64(size_t n) { return (n + 63) & ~(size_t)63; }

/* Number all nodes, cut passes into segments, note when each tensor is used, size the groups (segments.c). */
sm_status sm_plan_segments(sm_graph *, sm_error *);
sm_segment *sm_segment_at(sm_graph *, int index); /* counted over all passes */
/* Cut the products of a segment of tiles so that its threads end together, and put its tiles in order (tiles.c). */
sm_status sm_plan_tiles(sm_graph *, sm_pass *, sm_segment *, sm_error *);
/* A place for every transient, in one block or in each worker's memory (places.c). */
sm_status sm_plan_places(sm_graph *, sm_error *);

#endif

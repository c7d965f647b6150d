/* smalti/masker.h — which patches the student does not see. */
#ifndef SMALTI_MASKER_H
#define SMALTI_MASKER_H

#include <smalti/module.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Which views of a picture have hidden patches: the recipe's data.views.masked, not a masker's business. ONE:
 * one global view, drawn for each picture and epoch; its mask is the one that GLOBAL would give it. */
typedef enum { SM_MASKED_GLOBAL, SM_MASKED_ONE, SM_MASKED_ALL } sm_masked;

typedef struct sm_mask_request {
  int rows, cols;         /* grid of mask cells: local views have a smaller one     */
  int view;               /* which view, from 0: the global ones, then the local    */
  int64_t epoch;
  sm_rng *rng;            /* keyed by (seed, epoch, slot, view): see data.h          */
  const float *attention; /* (heads, rows·cols): the teacher's last block, from [CLS] to each patch; NULL
                             unless needs_attention. A row of it adds up to 1 less what [CLS] pays to itself
                             and to other prefix tokens */
  int heads;
  /* Of the masked views of one step and kind there are `places`, of which this is number `place`; `step` is the same
   * for all of them: to copy, and to share out what they are to have between them. places 0, step NULL: this mask is
   * looked at by itself. */
  int64_t place, places;
  const sm_rng *step;
} sm_mask_request;

typedef struct sm_masker_ops {
  uint32_t needs_attention;                 /* 1: masks are drawn after the teacher has looked at the view */
  double (*max_ratio)(const void *self);    /* [main] pure: most that can be hidden, 0 … 1; of a grid it is
                                               rounded up to whole cells */
  int64_t (*start_epoch)(const void *self); /* [main] pure or NULL (0): no masks before it */
  void (*draw)(const void *self, const sm_mask_request *,
               uint8_t *mask); /* [worker], with attention [main]; mask: rows·cols zeros, set 1 = hidden */
  /* [main] pure or NULL: how many of a grid's cells it hides, where that is the same in every masked view; -1
   * (or NULL): it is not. A backbone that drops hidden patches needs to know. */
  int (*count)(const void *self, int rows, int cols);
} sm_masker_ops;

#ifdef __cplusplus
}
#endif
#endif

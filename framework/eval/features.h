/* features.h — private to framework/eval: a network's pass from pictures in memory to one row of features per
 * picture.
 *
 * A row is the view of each kept block, the last one at the end, then the mean of the last block's patches;
 * without a network it is the picture itself. The pass owns its graph and borrows network and pool. One
 * thread. */
#ifndef SM_EVAL_FEATURES_H
#define SM_EVAL_FEATURES_H

#include <smalti/evaluation.h>

#define SM_EVAL_BATCH 32 /* pictures that go through a graph together */
#define SM_EVAL_AHEAD 2  /* batches of pictures that are made ahead … */
#define SM_CROPS_AHEAD 4 /* … and of crops */
#define SM_SOME_BLOCKS 4 /* what `blocks: 0` means: eval_linear.py's default for ViT-S and ViT-T */

typedef struct sm_feature_config {
  const sm_network *network; /* NULL: pixels                                                */
  int height, width;
  int blocks;       /* views of so many last blocks, at least of one               */
  bool some_blocks; /* and of four, or all where there are fewer                   */
  bool patches;     /* and the mean of the patches                                 */
  bool bf16;
  bool planned; /* has no memory: only its width and its report can be asked for */
  sm_pool *pool;
} sm_feature_config;

typedef struct sm_feature_net sm_feature_net;
sm_status sm_feature_net_new(const sm_feature_config *, sm_feature_net **, sm_error *);
void sm_feature_net_free(sm_feature_net *);
int64_t sm_feature_net_width(const sm_feature_net *);
/* x (n, 3, height, width) → to (n, width of a row). */
void sm_feature_net_run(sm_feature_net *, const float *x, int64_t n, float *to);
/* Which columns of a row a choice means; fills spec->blocks and spec->what. SM_EINTERNAL:
 * they are not there. */
sm_status sm_feature_net_columns(const sm_feature_net *, sm_feature_spec *, int64_t *first, int64_t *n,
                                 sm_error *);
void sm_feature_net_report(const sm_feature_net *, sm_plan_report *); /* of 32 pictures */

#endif

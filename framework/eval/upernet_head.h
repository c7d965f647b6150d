/* upernet_head.h — private to framework/eval: the head of UperNet (Xiao et al., ECCV 2018) over four blocks
 * of a network whose grid stays the same, and the auxiliary head beside it.
 *
 *   pyramid   the blocks' maps at four sizes, each half of the one before: by 2×2 transposed convolutions
 *             with stride 2 up, by the largest of a window down, as BEiT's and iBOT's segmentation
 *   pooling   the last level's means over 1, 2, 3 and 6 parts of each side, carried back: a 3×3 convolution
 *             over all of them and the level itself
 *   FPN       each level adds the one below it, bilinearly
 *   fusion    a 3×3 convolution over all levels in the first one's size, then the classes
 *
 * Convolutions but those to the classes have no bias, and batch norm and ReLU behind them. A convolution over
 * maps side by side is the sum of one over each, and so it is written, parameter by parameter. Borrows the
 * set. */
#ifndef SM_EVAL_UPERNET_HEAD_H
#define SM_EVAL_UPERNET_HEAD_H

#include <smalti/params.h>

enum { SM_UPERNET_LEVELS = 4 };

typedef struct sm_upernet_head {
  sm_params params;
  int dim[SM_UPERNET_LEVELS]; /* of the blocks */
  int finest;                 /* the first level is patches by 2^finest on each side: 2, 1 or 0 */
  int width, auxiliary;       /* channels of the head, and of the one beside it (0: there is none) */
  int classes;
} sm_upernet_head;

/* 2^this times the patches on each side, as near to four pixels as 2×2 steps come. */
int sm_upernet_finest(int cell);
/* Of a level 0 … 3, along a side of so many patches; 0: there are too few. */
int sm_upernet_side(const sm_upernet_head *, int level, int patches);

void sm_upernet_head_declare(const sm_upernet_head *);

/* (B, cells of the first level, or of the third, classes); auxiliary may be NULL. */
typedef struct sm_upernet_maps {
  sm_tensor *logits, *auxiliary;
} sm_upernet_maps;
/* block: (B, rows · cols, dim) of each. drop: (B, 1, width) factors 0 or 1/keep of the channels before the
 * classes, drop_auxiliary (B, 1, auxiliary) the same; NULL: none. training: by this batch's statistics, and
 * with the auxiliary head. */
sm_upernet_maps sm_upernet_head_build(const sm_upernet_head *, sm_graph *, sm_tensor *const *block, int rows,
                                      int cols, sm_tensor *drop, sm_tensor *drop_auxiliary, bool training);

#endif

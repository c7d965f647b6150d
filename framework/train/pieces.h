/* framework/train/pieces.h — the sums of a step, added in a tree over pieces of its pictures.
 *
 * The pictures of a step are cut into `train.pieces` runs of nearly one size. What is summed over a step
 * (sm_trainable_sums: gradients, centres, losses and their statistics) is summed for each piece alone, and the
 * pieces are added in pairs:
 *
 *   sum(a, n) = the sums of piece a              where n is 1
 *             = sum(a, n/2) + sum(a + n/2, n/2)   else
 *
 * So the bits follow from the number of pieces, and not from who computes which of them. One process keeps at
 * most log2(pieces) sums beside the one that grows. Where several ranks train, each has as many pieces as another, in
 * one run, and what it ends with is a subtree; the rest of the tree is added between them. */
#ifndef SM_PIECES_H
#define SM_PIECES_H

#include "trainable.h"

typedef struct sm_pieces sm_pieces;

/* Of one rank. */
int sm_pieces_own(const sm_trainable *);
/* For a trainable of more than one piece, which has its memory already, and its list of n sums; only host numbers,
 * accumulators and gradients are added, so counts must be those of the step from the beginning. */
sm_status sm_pieces_new(sm_trainable *, const sm_step_sum *, int n, sm_pieces **, sm_error *);
void sm_pieces_free(sm_pieces *);
/* The sums of this rank's piece `piece` are whole: add them to their place in the tree. In the end, after the last one,
 * the sums of all of them stand where those of a piece did; before, these are zero again. */
void sm_pieces_end(sm_pieces *, int piece);
/* After the last one: the sums of all ranks stand there. */
sm_status sm_pieces_reduce(sm_pieces *, sm_error *);
/* What they take beside the trainable, at most. */
size_t sm_pieces_bytes(const sm_trainable *);
/* The first of `pictures` that belongs to a piece; of piece number `pieces`: their number. */
int sm_piece_first(int pictures, int pieces, int piece);

#endif

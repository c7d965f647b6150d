/* framework/nn/pieces.h — the sums of a step, added in a tree over pieces of its pictures.
 *
 * The pictures of a step are cut into a number of runs of nearly one size (`train.pieces`; `pieces` of fine-tuning).
 * What is summed over a step (gradients, centres, losses and their statistics) is summed for each piece alone, and the
 * pieces are added in pairs:
 *
 *   sum(a, n) = the sums of piece a              where n is 1
 *             = sum(a, n/2) + sum(a + n/2, n/2)   else
 *
 * So the bits follow from the number of pieces, and not from who computes which of them. One process keeps at
 * most log2(pieces) sums beside the one that grows. Where several ranks train, each has a run of pieces, as long as
 * another or longer by one (sm_ranks_first), and ends with the nodes of the tree that are this run: one, where there are
 * 2^k ranks. The rest of the tree is added between them.
 *
 * That of gradients begins before they are all there. They are cut into parts, the same on all ranks, in the
 * order in which the last backward pass is done with them (as planned): those of heads and last blocks first.
 * As soon as a part is whole its messages go, while the rest of the pass is computed; the thread that runs the
 * pass asks for them, between items and between segments, so there is no other thread. A sum is element by
 * element, so the parts change no bit. */
#ifndef SM_PIECES_H
#define SM_PIECES_H

#include "framework/nn/nn.h"
#include "framework/ranks/ranks.h"

typedef struct sm_pieces sm_pieces;

/* What is added beside gradients and the accumulators of the graph: n numbers of the host. */
typedef struct sm_piece_sum {
  double *host;
  int64_t n;
} sm_piece_sum;

/* Whose sums they are; all is borrowed but for the list of sums, which is copied. */
typedef struct sm_pieces_config {
  sm_set *set;       /* its gradients; it has its memory already                                  */
  sm_graph *graph;   /* planned                                                                   */
  int gradient_pass; /* the last of a micro-batch that adds to gradients; -1: there is none       */
  int pieces;        /* a power of two, more than one                                             */
  sm_ranks *ranks;   /* that share them out, no more than there are pieces; or NULL                */
  sm_pool *pool;
  const sm_piece_sum *sum;
  int sums;
  double *seconds; /* where those are counted that messages take in the midst of a pass; or NULL */
} sm_pieces_config;

/* The first piece of this rank, or of the one `after` it; of the last one's next: all. 0 pieces are one. */
int sm_pieces_first(int pieces, const sm_ranks *, int after);
int sm_pieces_own(int pieces, const sm_ranks *); /* how many it has */
/* SM_ENOMEM. */
sm_status sm_pieces_new(const sm_pieces_config *, sm_pieces **, sm_error *);
void sm_pieces_free(sm_pieces *);
/* The last micro-batch of the rank's last piece comes next. */
void sm_pieces_last(sm_pieces *);
/* Run a pass, if it is the one after which all gradients of the rank are there, and send them as they get
 * ready. False: it is not; nothing was run. */
bool sm_pieces_run(sm_pieces *, int pass);
/* The sums of this rank's piece `piece` are whole: add them to their place in the tree. In the end, after the
 * last one, the sums of all of them stand where those of a piece did (with several ranks some gradients may be
 * those of all by then); before, these are zero again. */
void sm_pieces_end(sm_pieces *, int piece);
/* At the end of a step, with what became of its pieces: if that is well on all ranks, the sums of all stand
 * there. Else the error is everybody's (sm_ranks_agree), and the sums mean nothing: also then the messages are
 * sent for which others wait. */
sm_status sm_pieces_reduce(sm_pieces *, sm_status, sm_error *);
/* Of the gradients, in the order of getting ready, and when each does, as a part of the time of a micro-batch,
 * by multiply-adds. Their number. */
int sm_pieces_parts(const sm_pieces *, const sm_ranks_part **, double *when);
sm_sum_cost sm_pieces_cost(const sm_pieces *, const sm_ranks_part *); /* of the sum of a part */
#define SM_PIECES_PARTS 16 /* at most: messages are to be few, and the last, which nothing hides, short */
/* For a rehearsal: a micro-batch that takes so many seconds, in which nothing is computed; of the last one,
 * parts of the gradients are sent when they would be ready. */
void sm_pieces_pretend(sm_pieces *, double seconds);
/* What they take beside set and graph, of each of so many ranks, at most. */
size_t sm_pieces_bytes(const sm_set *, int pieces, int ranks);
/* The first of `pictures` that belongs to a piece; of piece number `pieces`: their number. */
int sm_piece_first(int pictures, int pieces, int piece);
/* The first that belongs to this rank, or to the one `after` it. */
int sm_pieces_place(int pictures, int pieces, const sm_ranks *, int after);

#endif

/* tree.h — private to framework/ranks: the tree of a sum, and which of its nodes each rank begins with (ranks.h).
 *
 * For 3 ranks and 8 leaves, whose runs are of 2, 3 and 3 leaves; [ ] are the nodes that ranks begin with:
 *
 *   leaf       0   1   2   3   4   5   6   7
 *   rank       0   0   1   1   1   2   2   2
 *   level 0                   [4] [5]
 *   level 1   [0   1] [2   3]         [6   7]
 *
 * Where there are 2^k ranks each begins with one. */
#ifndef SM_RANKS_TREE_H
#define SM_RANKS_TREE_H

#include "ranks.h"

struct sm_ranks_tree {
  int ranks;
  int *before;         /* (ranks + 1): nodes of the ranks before one; the last: all */
  sm_ranks_node *node; /* of all ranks, in order */
  int most;            /* that a rank has */
  size_t place;        /* bytes of room for a part of one node: a multiple of 64 */
  char *room;          /* (all nodes, place); NULL where each rank has one */
};

bool sm_tree_pairs(int ranks); /* 2^k: one node for each */

#endif

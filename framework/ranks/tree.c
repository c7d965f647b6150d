/* tree.c — see tree.h. */
#include "tree.h"

#include "module.h"

/* Room for parts of all nodes together, and for one of them, in bytes. */
enum { ROOM = 1 << 26, PLACE_LEAST = 1 << 12, PLACE_MOST = SM_MESSAGES_BLOCK };

int sm_ranks_first(int leaves, int ranks, int rank) { return (int)((int64_t)leaves * rank / ranks); }

int sm_ranks_longest(int leaves, int ranks) { return (leaves + ranks - 1) / ranks; }

int sm_ranks_nodes(int first, int end, sm_ranks_node node[SM_RANKS_NODES]) {
  int n = 0;
  while (first < end) {
    int level = 0;
    while (!(first >> level & 1) && first + (2 << level) <= end) level++;
    node[n++] = (sm_ranks_node){first, level};
    first += 1 << level;
  }
  return n;
}

bool sm_tree_pairs(int ranks) { return (ranks & (ranks - 1)) == 0; }

bool sm_ranks_siblings(sm_ranks_node left, sm_ranks_node right) {
  return left.level == right.level && right.first == left.first + (1 << left.level) && !(left.first >> left.level & 1);
}

int sm_ranks_push(sm_ranks_node waits[SM_RANKS_NODES], int held, sm_ranks_node node) {
  for (; held && sm_ranks_siblings(waits[held - 1], node); held--)
    node = (sm_ranks_node){waits[held - 1].first, node.level + 1};
  waits[held] = node;
  return held + 1;
}

/* How many nodes all ranks begin with, and into `tree`, unless it is NULL, which. */
static int tree_nodes(int leaves, int ranks, sm_ranks_tree *tree) {
  sm_ranks_node node[SM_RANKS_NODES];
  int all = 0;
  for (int r = 0; r < ranks; r++) {
    const int n = sm_ranks_nodes(sm_ranks_first(leaves, ranks, r), sm_ranks_first(leaves, ranks, r + 1), node);
    for (int i = 0; tree && i < n; i++) tree->node[all + i] = node[i];
    all += n;
    if (tree) tree->before[r + 1] = all, tree->most = n > tree->most ? n : tree->most;
  }
  return all;
}

static size_t tree_place(int nodes) {
  const size_t place = ROOM / (size_t)nodes / 64 * 64;
  return place < PLACE_LEAST ? PLACE_LEAST : place > PLACE_MOST ? PLACE_MOST : place;
}

size_t sm_ranks_sum_bytes(int leaves, int ranks) {
  if (ranks < 2) return 0;
  const int nodes = sm_tree_pairs(ranks) ? 0 : tree_nodes(leaves, ranks, NULL);
  return SM_MESSAGES_BLOCK + (nodes ? (size_t)nodes * tree_place(nodes) : 0);
}

void sm_ranks_tree_free(sm_ranks_tree *tree) {
  if (!tree) return;
  sm_free(tree->before);
  sm_free(tree->node);
  sm_aligned_free(tree->room);
  sm_free(tree);
}

sm_status sm_ranks_tree_new(int leaves, int ranks, sm_ranks_tree **out, sm_error *err) {
  const int nodes = tree_nodes(leaves, ranks, NULL);
  sm_ranks_tree *tree = sm_calloc(1, sizeof *tree);
  *out = NULL;
  if (tree) {
    tree->ranks = ranks;
    tree->place = tree_place(nodes);
    tree->before = sm_calloc((size_t)ranks + 1, sizeof *tree->before);
    tree->node = sm_calloc((size_t)nodes, sizeof *tree->node);
    if (!sm_tree_pairs(ranks)) tree->room = sm_aligned_alloc((size_t)nodes * tree->place);
  }
  if (!tree || !tree->before || !tree->node || (!sm_tree_pairs(ranks) && !tree->room)) {
    sm_ranks_tree_free(tree);
    return sm_fail(err, SM_ENOMEM, "no memory for the sums of %d ranks", ranks);
  }
  tree_nodes(leaves, ranks, tree);
  *out = tree;
  return SM_OK;
}

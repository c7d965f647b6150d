/* framework/nn/pieces.c — see pieces.h. Nodes of the tree whose sums wait for their sibling's are put aside in a stack;
 * a rank's own nodes, which have none there, stay at its bottom until all ranks add theirs. */
#include "pieces.h"

#include <math.h>

#include "framework/tensor/graph.h"

enum { BLOCK = 512 }; /* numbers of a tensor handled at once */
/* Seconds between questions to messages, at least: while computing, and while sleeping, when there may be many
 * ranks on few processors. */
#define ASK_EVERY 1e-4
#define ASK_ASLEEP 1e-3

typedef struct pieces_sum {
  double *host; /* NULL: a tensor's */
  sm_tensor *tensor;
  int64_t n;
} pieces_sum;

struct sm_pieces {
  sm_pieces_config c;
  int first, own;      /* pieces of this rank */
  int nodes;           /* that they are the sum of */
  sm_ranks_node node[SM_RANKS_NODES]; /* the stack: those that are put aside */
  int held, most;                     /* of it: now, and ever */
  sm_ranks_tree *tree;
  pieces_sum *sum; /* those of the host, then the graph's accumulators */
  int sums;
  int64_t numbers; /* of all of these */
  double *all;     /* room for them */
  double *aside[SM_RANKS_NODES];
  sm_partial *gradients[SM_RANKS_NODES];
  void *numbers_aside[SM_RANKS_NODES], *gradients_aside[SM_RANKS_NODES]; /* the same, as sums want them */
  sm_ranks_part part[SM_PIECES_PARTS]; /* of the gradients, in the order of getting ready       */
  int settled[SM_PIECES_PARTS];        /* after so many segments of the last pass               */
  int parts, ready;                    /* all; those with the sums of all of this rank's pieces */
  bool last, begun, alone; /* the last micro-batch is next; the sum over ranks is; the pool is busy */
  double asked;
};

int sm_piece_first(int pictures, int pieces, int piece) { return (int)((int64_t)pictures * piece / pieces); }

int sm_pieces_first(int pieces, const sm_ranks *ranks, int after) {
  return sm_ranks_first(pieces > 1 ? pieces : 1, sm_ranks_size(ranks), sm_ranks_rank(ranks) + after);
}

int sm_pieces_own(int pieces, const sm_ranks *ranks) {
  return sm_pieces_first(pieces, ranks, 1) - sm_pieces_first(pieces, ranks, 0);
}

int sm_pieces_place(int pictures, int pieces, const sm_ranks *ranks, int after) {
  return sm_piece_first(pictures, pieces > 1 ? pieces : 1, sm_pieces_first(pieces, ranks, after));
}

/* How many sums are put aside at once, of the pieces of one rank: the last one's are not. */
static int pieces_most(int first, int end) {
  sm_ranks_node stack[SM_RANKS_NODES];
  int most = 0;
  for (int piece = first, held = 0; piece + 1 < end; piece++) {
    held = sm_ranks_push(stack, held, (sm_ranks_node){piece, 0});
    if (held > most) most = held;
  }
  return most;
}

size_t sm_pieces_bytes(const sm_set *set, int pieces, int ranks) {
  int most = 0;
  if (pieces < 2) return 0;
  for (int r = 0; r < ranks; r++) {
    const int own = pieces_most(sm_ranks_first(pieces, ranks, r), sm_ranks_first(pieces, ranks, r + 1));
    if (own > most) most = own;
  }
  return (size_t)most * sm_partial_bytes(set) + sm_ranks_sum_bytes(pieces, ranks);
}

/* Whole rows, from the last to the first, so that what a backward pass is done with first lies together. */
static void pieces_cut(sm_pieces *p) {
  sm_set *set = p->c.set;
  int64_t all, end;
  size_t size;
  const char *run = sm_gradients_run(set, &all, &size);
  const int pass = p->c.gradient_pass;
  const int64_t least = (all + SM_PIECES_PARTS - 1) / SM_PIECES_PARTS;
  end = all;
  for (int r = sm_set_rows(set) - 1; r >= 0; r--) {
    const sm_row *row = sm_set_row(set, r);
    const int64_t n = end - row->offset;
    if (row->alias_of >= 0 || n < 1 || (row->offset && n < least)) continue;
    const int settled = pass < 0 ? 0 : sm_graph_settled(p->c.graph, pass, run + (size_t)row->offset * size,
                                                         (size_t)n * size);
    int at = p->parts++;
    for (; at > 0 && p->settled[at - 1] > settled; at--)
      p->part[at] = p->part[at - 1], p->settled[at] = p->settled[at - 1];
    p->part[at] = (sm_ranks_part){row->offset, n};
    p->settled[at] = settled;
    end = row->offset;
  }
}

static sm_status pieces_no_memory(sm_error *err) { return sm_fail(err, SM_ENOMEM, "no memory for the sums of pieces"); }

static sm_status pieces_list(sm_pieces *p, sm_error *err) {
  const sm_pieces_config *c = &p->c;
  int accumulators = 0;
  while (sm_graph_accumulator(c->graph, accumulators)) accumulators++;
  p->sums = c->sums + accumulators;
  if (!(p->sum = sm_calloc((size_t)p->sums + 1, sizeof *p->sum))) return pieces_no_memory(err);
  for (int i = 0; i < c->sums; i++) p->sum[i] = (pieces_sum){.host = c->sum[i].host, .n = c->sum[i].n};
  for (int i = 0; i < accumulators; i++) {
    sm_tensor *a = sm_graph_accumulator(c->graph, i);
    p->sum[c->sums + i] = (pieces_sum){.tensor = a, .n = sm_elements(a)};
  }
  for (int i = 0; i < p->sums; i++) p->numbers += p->sum[i].n;
  return SM_OK;
}

static sm_status pieces_reserve(sm_pieces *p, sm_error *err) {
  const size_t room = (size_t)p->numbers + 1;
  p->all = sm_calloc(room, sizeof *p->all);
  sm_status status = p->all ? SM_OK : pieces_no_memory(err);
  for (int i = 0; i < p->most && !status; i++) {
    p->numbers_aside[i] = p->aside[i] = sm_calloc(room, sizeof *p->aside[i]);
    if (!p->aside[i]) status = pieces_no_memory(err);
    else if (!(p->gradients[i] = sm_partial_new(p->c.set, err))) status = SM_ENOMEM;
    else p->gradients_aside[i] = sm_partial_run(p->gradients[i]);
  }
  return status ? status : sm_ranks_tree_new(p->c.pieces, sm_ranks_size(p->c.ranks), &p->tree, err);
}

sm_status sm_pieces_new(const sm_pieces_config *c, sm_pieces **out, sm_error *err) {
  sm_pieces *p = sm_calloc(1, sizeof *p);
  sm_ranks_node node[SM_RANKS_NODES];
  *out = NULL;
  if (!p) return pieces_no_memory(err);
  p->c = *c;
  p->first = sm_pieces_first(c->pieces, c->ranks, 0);
  p->own = sm_pieces_own(c->pieces, c->ranks);
  p->nodes = sm_ranks_nodes(p->first, p->first + p->own, node);
  p->most = pieces_most(p->first, p->first + p->own);
  sm_status status = pieces_list(p, err);
  if (!status) status = pieces_reserve(p, err);
  if (status) return sm_pieces_free(p), status;
  pieces_cut(p);
  *out = p;
  return status;
}

void sm_pieces_free(sm_pieces *p) {
  if (!p) return;
  for (int i = 0; i < p->most; i++) {
    sm_free(p->aside[i]);
    sm_partial_free(p->gradients[i]);
  }
  sm_ranks_tree_free(p->tree);
  sm_free(p->all);
  sm_free(p->sum);
  sm_free(p);
}

typedef enum {
  PIECES_ADD,  /* `aside` is added                   */
  PIECES_PUT,  /* to `aside`, and zeros in its place */
  PIECES_COPY, /* to `aside`                         */
  PIECES_TAKE  /* from `aside`                       */
} pieces_way;

/* Numbers of one sum. */
static void pieces_move(double *x, double *aside, int64_t n, pieces_way way) {
  for (int64_t i = 0; i < n; i++) {
    if (way == PIECES_ADD) x[i] += aside[i];
    else if (way == PIECES_TAKE) x[i] = aside[i];
    else aside[i] = x[i];
    if (way == PIECES_PUT) x[i] = 0;
  }
}

/* A tensor of f32 read as doubles, added and written is rounded once, as a sum in f32 is. */
static void pieces_numbers(sm_pieces *p, double *aside, pieces_way way) {
  double part[BLOCK];
  for (int i = 0; i < p->sums; aside += p->sum[i++].n) {
    const pieces_sum *s = &p->sum[i];
    if (s->host) pieces_move(s->host, aside, s->n, way);
    for (int64_t at = 0, n; !s->host && at < s->n; at += n) {
      n = s->n - at < BLOCK ? s->n - at : BLOCK;
      sm_read_f64(s->tensor, at, n, part);
      pieces_move(part, aside + at, n, way);
      if (way != PIECES_COPY) sm_write_f64(s->tensor, at, n, part);
    }
  }
}

/* The first n parts of the gradients are those of the last piece: add what waits for it, and let them go. */
static void pieces_ready(sm_pieces *p, int n) {
  for (; p->ready < n; p->ready++)
    for (int i = p->held; i >= p->nodes; i--)
      sm_partial_add(p->gradients[i - 1], p->part[p->ready].first, p->part[p->ready].n, p->c.pool);
  sm_ranks_sum_ready(p->c.ranks, n);
}

/* Those that join the last piece are what lies above the rank's own nodes but the last. */
void sm_pieces_end(sm_pieces *p, int piece) {
  const bool last = piece + 1 == p->own;
  int64_t n;
  size_t size;
  sm_gradients_run(p->c.set, &n, &size);
  if (piece == 0) p->held = 0;
  const int held = sm_ranks_push(p->node, p->held, (sm_ranks_node){p->first + piece, 0});
  for (int i = p->held; i >= held; i--) {
    pieces_numbers(p, p->aside[i - 1], PIECES_ADD);
    if (!last) sm_partial_add(p->gradients[i - 1], 0, n, p->c.pool);
  }
  if (last) {
    pieces_ready(p, p->parts);
    return;
  }
  p->held = held;
  pieces_numbers(p, p->aside[held - 1], PIECES_PUT);
  sm_partial_put(p->gradients[held - 1], p->c.pool);
}

/* ---- between ranks ------------------------------------------------------------------------------------- */

static void pieces_add_gradients(void *ctx, void *to, const void *from, int64_t first, int64_t n) {
  const sm_pieces *p = ctx;
  (void)first;
  sm_gradients_add(p->c.set, to, from, n, p->c.pool, p->alone);
}

static void pieces_begin_sum(sm_pieces *p) {
  int64_t n;
  size_t size;
  void *gradients = sm_gradients_run(p->c.set, &n, &size);
  if (p->begun) return;
  const sm_ranks_values values = {gradients, p->gradients_aside, size, pieces_add_gradients, p};
  sm_ranks_sum_begin(p->c.ranks, p->tree, &values, p->part, p->parts);
  p->begun = true;
}

void sm_pieces_last(sm_pieces *p) { p->last = sm_ranks_size(p->c.ranks) > 1; }

static void pieces_segment_done(void *ctx, int done) {
  sm_pieces *p = ctx;
  const double start = sm_now();
  int ready = p->ready;
  while (ready < p->parts && p->settled[ready] <= done) ready++;
  pieces_ready(p, ready);
  sm_ranks_sum_go_on(p->c.ranks);
  p->asked = sm_now();
  if (p->c.seconds) *p->c.seconds += p->asked - start;
}

static void pieces_item_done(void *ctx) {
  sm_pieces *p = ctx;
  const double start = sm_now();
  if (start < p->asked + ASK_EVERY) return;
  p->alone = true;
  sm_ranks_sum_go_on(p->c.ranks);
  p->alone = false;
  p->asked = sm_now();
  if (p->c.seconds) *p->c.seconds += p->asked - start;
}

bool sm_pieces_run(sm_pieces *p, int pass) {
  if (!p->last || pass != p->c.gradient_pass) return false;
  p->last = false;
  pieces_begin_sum(p);
  sm_graph_run_watched(p->c.graph, pass, &(sm_pass_watch){pieces_segment_done, pieces_item_done, p});
  return true;
}

/* As those of a tensor of f32 are added there. */
static void pieces_add_numbers(void *ctx, void *to, const void *from, int64_t first, int64_t n) {
  const sm_pieces *p = ctx;
  double *x = to;
  const double *y = from;
  int64_t before = 0;
  for (int i = 0; i < p->sums; before += p->sum[i++].n) {
    const int64_t start = before > first ? before - first : 0, rest = before + p->sum[i].n - first,
                  end = rest < n ? rest : n;
    const bool single = p->sum[i].tensor && p->sum[i].tensor->dtype == SM_F32;
    for (int64_t k = start; k < end; k++) x[k] = single ? (float)(x[k] + y[k]) : x[k] + y[k];
  }
}

static sm_status pieces_reduce_numbers(sm_pieces *p, sm_error *err) {
  const sm_ranks_values values = {p->all, p->numbers_aside, sizeof *p->all, pieces_add_numbers, p};
  if (sm_ranks_size(p->c.ranks) < 2) return SM_OK;
  pieces_numbers(p, p->all, PIECES_COPY);
  sm_status status = sm_ranks_sum(p->c.ranks, p->tree, &values, p->numbers, err);
  if (!status) pieces_numbers(p, p->all, PIECES_TAKE);
  return status;
}

/* A rank that failed, perhaps before it could begin, takes part in the sum all the same: others may be in the
 * midst of it. */
sm_status sm_pieces_reduce(sm_pieces *p, sm_status status, sm_error *err) {
  sm_ranks *ranks = p->c.ranks;
  sm_error lost = {0};
  pieces_begin_sum(p);
  status = sm_ranks_agree(ranks, status, err);
  const sm_status summed = sm_ranks_sum_end(ranks, &lost);
  if (!status && summed && err) *err = lost;
  p->ready = 0;
  p->last = p->begun = false;
  if (status || summed) return status ? status : summed;
  return pieces_reduce_numbers(p, err);
}

sm_sum_cost sm_pieces_cost(const sm_pieces *p, const sm_ranks_part *part) {
  return sm_ranks_sum_cost(p->tree, part->n, sm_dtype_size(sm_set_real(p->c.set)));
}

/* ---- as if ----------------------------------------------------------------------------------------------- */

int sm_pieces_parts(const sm_pieces *p, const sm_ranks_part **part, double *when) {
  const int pass = p->c.gradient_pass;
  sm_plan_report plan;
  sm_graph_report(p->c.graph, &plan);
  *part = p->part;
  for (int i = 0; i < p->parts; i++) {
    const double rest = pass < 0 ? 0 : sm_graph_flops(p->c.graph, pass, p->settled[i]);
    when[i] = plan.flops > 0 ? 1 - rest / plan.flops : 1;
  }
  return p->parts;
}

void sm_pieces_pretend(sm_pieces *p, double seconds) {
  const sm_ranks_part *part;
  double when[SM_PIECES_PARTS];
  const double start = sm_now();
  const int parts = sm_pieces_parts(p, &part, when);
  if (p->last) pieces_begin_sum(p);
  for (int ready = 0; p->last && ready < parts;) {
    const double now = (sm_now() - start) / seconds, rest = (when[ready] - now) * seconds;
    for (; ready < parts && when[ready] <= now; ready++) pieces_ready(p, ready + 1);
    sm_ranks_sum_go_on(p->c.ranks);
    sm_sleep(p->ready == 0 || rest < ASK_ASLEEP ? fmax(rest, 0) : ASK_ASLEEP);
  }
  p->last = false;
  sm_sleep(fmax(start + seconds - sm_now(), 0));
}

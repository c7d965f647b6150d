/* framework/nn/pieces.c — see pieces.h. A level holds the sum of 2^level pieces that waits for its
 * neighbour: the bits of the number of pieces done say which levels are taken, as in a binary counter. */
#include "pieces.h"

#include <math.h>

#include "framework/tensor/graph.h"

enum { LEVELS = 20, BLOCK = 512 }; /* 2^20 pieces at most; numbers of a tensor handled at once */
/* Seconds between questions to messages, at least: while computing, and while sleeping, when there may be many
 * ranks on few processors. */
#define ASK_EVERY 1e-4
#define ASK_ASLEEP 5e-3

typedef struct pieces_sum {
  double *host; /* NULL: a tensor's */
  sm_tensor *tensor;
  int64_t n;
} pieces_sum;

struct sm_pieces {
  sm_pieces_config c;
  int levels;
  pieces_sum *sum; /* those of the host, then the graph's accumulators */
  int sums;
  int64_t numbers; /* of all of these */
  double *own, *theirs; /* room for them: those of this rank and of another */
  double *aside[LEVELS];
  sm_partial *gradients[LEVELS];
  sm_ranks_part part[SM_PIECES_PARTS]; /* of the gradients, in the order of getting ready       */
  int settled[SM_PIECES_PARTS];        /* after so many segments of the last pass               */
  int parts, ready;                    /* all; those with the sums of all of this rank's pieces */
  bool last, begun, alone; /* the last micro-batch is next; the sum over ranks is; the pool is busy */
  double asked;
};

int sm_piece_first(int pictures, int pieces, int piece) { return (int)((int64_t)pictures * piece / pieces); }

int sm_pieces_own(int pieces, const sm_ranks *ranks) { return (pieces > 1 ? pieces : 1) / sm_ranks_size(ranks); }

static int pieces_levels(int own) {
  int levels = 0;
  while (1 << levels < own) levels++;
  return levels;
}

size_t sm_pieces_bytes(const sm_set *set, int pieces, int ranks) {
  if (pieces < 2) return 0;
  return (size_t)pieces_levels(pieces / ranks) * sm_partial_bytes(set) + sm_ranks_sum_bytes(ranks);
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
  p->own = sm_calloc(room, sizeof *p->own);
  p->theirs = sm_calloc(room, sizeof *p->theirs);
  sm_status status = p->own && p->theirs ? SM_OK : pieces_no_memory(err);
  for (int i = 0; i < p->levels && !status; i++) {
    p->aside[i] = sm_calloc(room, sizeof *p->aside[i]);
    if (!p->aside[i]) status = pieces_no_memory(err);
    else if (!(p->gradients[i] = sm_partial_new(p->c.set, err))) status = SM_ENOMEM;
  }
  return status;
}

sm_status sm_pieces_new(const sm_pieces_config *c, sm_pieces **out, sm_error *err) {
  sm_pieces *p = sm_calloc(1, sizeof *p);
  *out = NULL;
  if (!p) return pieces_no_memory(err);
  p->c = *c;
  p->levels = pieces_levels(sm_pieces_own(c->pieces, c->ranks));
  sm_status status = pieces_list(p, err);
  if (!status) status = pieces_reserve(p, err);
  if (status) return sm_pieces_free(p), status;
  pieces_cut(p);
  *out = p;
  return status;
}

void sm_pieces_free(sm_pieces *p) {
  if (!p) return;
  for (int i = 0; i < p->levels; i++) {
    sm_free(p->aside[i]);
    sm_partial_free(p->gradients[i]);
  }
  sm_free(p->own);
  sm_free(p->theirs);
  sm_free(p->sum);
  sm_free(p);
}

typedef enum {
  PIECES_ADD, /* `aside` is added                   */
  PIECES_PUT, /* to `aside`, and zeros in its place */
  PIECES_COPY /* to `aside`                         */
} pieces_way;

/* Numbers of one sum. */
static void pieces_move(double *x, double *aside, int64_t n, pieces_way way) {
  for (int64_t i = 0; i < n; i++) {
    if (way == PIECES_ADD) x[i] += aside[i];
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
    for (int level = 0; level < p->levels; level++)
      sm_partial_add(p->gradients[level], p->part[p->ready].first, p->part[p->ready].n, p->c.pool);
  sm_ranks_sum_ready(p->c.ranks, n);
}

void sm_pieces_end(sm_pieces *p, int piece) {
  const bool last = piece + 1 == sm_pieces_own(p->c.pieces, p->c.ranks);
  int level = 0;
  int64_t n;
  size_t size;
  sm_gradients_run(p->c.set, &n, &size);
  for (; piece >> level & 1; level++) {
    pieces_numbers(p, p->aside[level], PIECES_ADD);
    if (!last) sm_partial_add(p->gradients[level], 0, n, p->c.pool);
  }
  if (last) {
    pieces_ready(p, p->parts);
    return;
  }
  pieces_numbers(p, p->aside[level], PIECES_PUT);
  sm_partial_put(p->gradients[level], p->c.pool);
}

/* ---- between ranks ------------------------------------------------------------------------------------- */

static void pieces_add_gradients(void *ctx, int64_t first, int64_t n, const void *from) {
  const sm_pieces *p = ctx;
  sm_gradients_add(p->c.set, first, n, from, p->c.pool, p->alone);
}

static void pieces_begin_sum(sm_pieces *p) {
  int64_t n;
  size_t size;
  void *gradients = sm_gradients_run(p->c.set, &n, &size);
  if (p->begun) return;
  sm_ranks_sum_begin(p->c.ranks, gradients, size, pieces_add_gradients, p, p->part, p->parts);
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

/* Numbers are few, so both partners of a level add all of them, as the tree says; gradients are shared out. */
static sm_status pieces_reduce_numbers(sm_pieces *p, sm_error *err) {
  sm_ranks *ranks = p->c.ranks;
  sm_status status = SM_OK;
  for (int level = 0; !status && 1 << level < sm_ranks_size(ranks); level++) {
    pieces_numbers(p, p->own, PIECES_COPY);
    status = sm_ranks_swap(ranks, level, p->own, p->theirs, (size_t)p->numbers * sizeof *p->own, err);
    if (!status) pieces_numbers(p, p->theirs, PIECES_ADD);
  }
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

/* framework/train/pieces.c — see pieces.h. A level holds the sum of 2^level pieces that waits for its
 * neighbour: the bits of the number of pieces done say which levels are taken, as in a binary counter. */
#include "pieces.h"

enum { LEVELS = 20, BLOCK = 512 }; /* 2^20 pieces at most; numbers of a tensor handled at once */

struct sm_pieces {
  sm_trainable *t;
  int levels;
  sm_step_sum *sum; /* host numbers and accumulators */
  int sums;
  int64_t numbers; /* of all of these */
  double *own, *theirs; /* room for them: those of this rank and of another */
  double *aside[LEVELS];
  sm_partial *gradients[LEVELS];
};

int sm_piece_first(int pictures, int pieces, int piece) { return (int)((int64_t)pictures * piece / pieces); }

int sm_pieces_own(const sm_trainable *t) { return t->c.pieces / sm_ranks_size(t->c.ranks); }

static int pieces_levels(const sm_trainable *t) {
  int levels = 0;
  while (1 << levels < sm_pieces_own(t)) levels++;
  return levels;
}

size_t sm_pieces_bytes(const sm_trainable *t) {
  if (t->c.pieces < 2) return 0;
  return (size_t)pieces_levels(t) * sm_partial_bytes(t->set[SM_SET_STUDENT]) + sm_ranks_sum_bytes(t->c.ranks);
}

sm_status sm_pieces_new(sm_trainable *t, const sm_step_sum *sum, int n, sm_pieces **out, sm_error *err) {
  sm_pieces *p = sm_calloc(1, sizeof *p);
  if (!p) return sm_fail(err, SM_ENOMEM, "no memory for the sums of pieces");
  p->t = t;
  p->levels = pieces_levels(t);
  p->sum = sm_calloc((size_t)n + 1, sizeof *p->sum);
  sm_status status = p->sum ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for the sums of pieces");
  for (int i = 0; !status && i < n; i++) {
    if (sum[i].kind != SM_SUM_HOST && sum[i].kind != SM_SUM_ACCUMULATOR) continue;
    p->sum[p->sums++] = sum[i];
    p->numbers += sum[i].n;
  }
  p->own = sm_calloc((size_t)p->numbers + 1, sizeof *p->own);
  p->theirs = sm_calloc((size_t)p->numbers + 1, sizeof *p->theirs);
  if (!status && (!p->own || !p->theirs))
    status = sm_fail(err, SM_ENOMEM, "no memory for the sums of pieces");
  for (int i = 0; i < p->levels && !status; i++) {
    p->aside[i] = sm_calloc((size_t)p->numbers + 1, sizeof *p->aside[i]);
    if (!p->aside[i]) status = sm_fail(err, SM_ENOMEM, "no memory for the sums of pieces");
    else if (!(p->gradients[i] = sm_partial_new(t->set[SM_SET_STUDENT], err))) status = SM_ENOMEM;
  }
  if (status) sm_pieces_free(p);
  else *out = p;
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
    const sm_step_sum *s = &p->sum[i];
    if (s->host) pieces_move(s->host, aside, s->n, way);
    for (int64_t at = 0, n; !s->host && at < s->n; at += n) {
      n = s->n - at < BLOCK ? s->n - at : BLOCK;
      sm_read_f64(s->tensor, at, n, part);
      pieces_move(part, aside + at, n, way);
      if (way != PIECES_COPY) sm_write_f64(s->tensor, at, n, part);
    }
  }
}

void sm_pieces_end(sm_pieces *p, int piece) {
  int level = 0;
  for (; piece >> level & 1; level++) {
    pieces_numbers(p, p->aside[level], PIECES_ADD);
    sm_partial_add(p->gradients[level], p->t->c.pool);
  }
  if (piece + 1 == sm_pieces_own(p->t)) return;
  pieces_numbers(p, p->aside[level], PIECES_PUT);
  sm_partial_put(p->gradients[level], p->t->c.pool);
}

/* ---- between ranks ------------------------------------------------------------------------------------- */

static void pieces_add_gradients(void *ctx, int64_t first, int64_t n, const void *from) {
  const sm_pieces *p = ctx;
  sm_gradients_add(p->t->set[SM_SET_STUDENT], first, n, from, p->t->c.pool);
}

/* Numbers are few, so both partners of a level add all of them, as the tree says; gradients are shared out. */
sm_status sm_pieces_reduce(sm_pieces *p, sm_error *err) {
  sm_ranks *ranks = p->t->c.ranks;
  sm_status status = SM_OK;
  int64_t n;
  size_t size;
  for (int level = 0; !status && 1 << level < sm_ranks_size(ranks); level++) {
    pieces_numbers(p, p->own, PIECES_COPY);
    status = sm_ranks_swap(ranks, level, p->own, p->theirs, (size_t)p->numbers * sizeof *p->own, err);
    if (!status) pieces_numbers(p, p->theirs, PIECES_ADD);
  }
  void *gradients = sm_gradients_run(p->t->set[SM_SET_STUDENT], &n, &size);
  return status ? status : sm_ranks_sum(ranks, gradients, n, size, pieces_add_gradients, p, err);
}

/* partial.c — gradients of a set put aside: a node of the tree in which the pieces of a step are added
 * (pieces.c). Sums are element by element, so chunks may go to any thread. */
#include "framework/nn/nn.h"

#include <string.h>

#include "set.h"

struct sm_partial {
  sm_set *set;
  void *buffer; /* laid out as the set's gradients */
};

size_t sm_partial_bytes(const sm_set *set) { return sm_set_buffer_bytes(set); }

sm_partial *sm_partial_new(sm_set *set, sm_error *err) {
  const size_t bytes = sm_set_buffer_bytes(set);
  sm_partial *p = sm_calloc(1, sizeof *p);
  if (p) p->set = set;
  if (p && (p->buffer = set->backend->reserve(bytes)) && set->backend->commit(p->buffer, bytes)) return p;
  char text[32];
  sm_fail(err, SM_ENOMEM, "the sums of a piece of a step need %s, which the system refuses",
          sm_human_bytes((double)bytes, text, sizeof text));
  sm_hint(err, "lower train.pieces, or choose a smaller backbone or head; `smalti plan` shows what they take");
  sm_partial_free(p);
  return NULL;
}

void sm_partial_free(sm_partial *p) {
  if (!p) return;
  if (p->buffer) p->set->backend->release(p->buffer, sm_set_buffer_bytes(p->set));
  sm_free(p);
}

static void partial_put_chunk(void *ctx, int64_t item, int worker) {
  (void)worker;
  const sm_partial *to = ctx;
  const sm_set *set = to->set;
  const sm_chunk *c = &set->chunk[item];
  const size_t size = sm_dtype_size(set->real), bytes = (size_t)c->n * size;
  char *gradient = (char *)sm_set_data(set, c->row, SM_GRADIENTS) + (size_t)c->start * size;
  memcpy((char *)to->buffer + (size_t)(set->row[c->row].offset + c->start) * size, gradient, bytes);
  set->backend->clear(gradient, bytes);
}

void sm_partial_put(sm_partial *p, sm_pool *pool) { sm_pool_run(pool, p->set->chunks, partial_put_chunk, p); }

void sm_partial_add(const sm_partial *p, int64_t first, int64_t n, sm_pool *pool) {
  const size_t at = (size_t)first * sm_dtype_size(p->set->real);
  sm_gradients_add(p->set, (char *)p->set->buffer[SM_GRADIENTS] + at, (const char *)p->buffer + at, n, pool, false);
}

void *sm_partial_run(sm_partial *p) { return p->buffer; }

/* ---- gradients of other pieces and processes ------------------------------------------------------------- */

void *sm_gradients_run(sm_set *set, int64_t *n, size_t *size) {
  *n = set->elements;
  *size = sm_dtype_size(set->real);
  return set->buffer[SM_GRADIENTS];
}

typedef struct add_job {
  const sm_sweeps *sweeps;
  char *to;
  const char *from;
  int64_t n;
  size_t size;
} add_job;

static void partial_add_chunk(void *ctx, int64_t item, int worker) {
  (void)worker;
  const add_job *job = ctx;
  const int64_t first = item * SM_SWEEP_CHUNK, rest = job->n - first;
  job->sweeps->add(job->to + (size_t)first * job->size, job->from + (size_t)first * job->size,
                   rest < SM_SWEEP_CHUNK ? rest : SM_SWEEP_CHUNK);
}

void sm_gradients_add(const sm_set *set, void *to, const void *from, int64_t n, sm_pool *pool, bool alone) {
  add_job job = {sm_backend_sweeps(set->backend, set->real, pool), to, from, n, sm_dtype_size(set->real)};
  const int64_t chunks = (n + SM_SWEEP_CHUNK - 1) / SM_SWEEP_CHUNK;
  if (!alone) sm_pool_run(pool, chunks, partial_add_chunk, &job);
  for (int64_t i = 0; alone && i < chunks; i++) partial_add_chunk(&job, i, 0);
}

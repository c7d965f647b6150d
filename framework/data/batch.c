/* framework/data/batch.c — the memory of one training batch; see batch.h. */
#include "batch.h"

#include "views.h"

/* Places of the arrays inside the block, each at a multiple of 64 bytes, and the block's size. */
typedef struct layout {
  size_t global, local, own[SM_OWNS_MAX], mask, local_mask, label, sample, bytes;
} layout;

static size_t batch_up64(size_t bytes) { return (bytes + 63) & ~(size_t)63; }

size_t sm_batch_cells(const sm_views *views, const sm_masking *m, bool local) {
  if (!local) return (size_t)m->rows * (size_t)m->cols;
  return sm_masking_local(m, views) ? (size_t)m->local_rows * (size_t)m->local_cols : 0;
}

static layout batch_lay_out(const sm_views *v, const sm_masking *m, int pictures) {
  const size_t n = (size_t)pictures, g = (size_t)v->globals, l = (size_t)v->locals;
  layout at = {0};
  at.local = at.global + batch_up64(n * g * sm_view_floats(&v->global_first) * sizeof(float));
  size_t end = at.local + batch_up64(n * l * sm_view_floats(&v->local) * sizeof(float));
  for (int k = 0; k < v->owns; k++) {
    at.own[k] = end;
    end += batch_up64(n * g * sm_view_floats(&v->own[k].view) * sizeof(float));
  }
  at.mask = end;
  at.local_mask = at.mask + batch_up64(n * g * sm_batch_cells(v, m, false));
  at.label = at.local_mask + batch_up64(n * l * sm_batch_cells(v, m, true));
  at.sample = at.label + batch_up64(n * sizeof(int32_t));
  at.bytes = at.sample + batch_up64((n + 1) * sizeof(int64_t)); /* some, also of no pictures */
  return at;
}

size_t sm_batch_bytes(const sm_views *v, const sm_masking *m, int pictures) {
  return batch_lay_out(v, m, pictures).bytes;
}

void *sm_batch_allocate(sm_batch *b, const sm_views *v, const sm_masking *m, int pictures) {
  const layout at = batch_lay_out(v, m, pictures);
  char *block = sm_aligned_alloc(at.bytes);
  if (!block) return NULL;
  b->global = (float *)(block + at.global);
  b->local = v->locals ? (float *)(block + at.local) : NULL;
  for (int k = 0; k < v->owns; k++) b->own[k] = (float *)(block + at.own[k]);
  b->mask = at.local_mask > at.mask ? (uint8_t *)(block + at.mask) : NULL;
  b->local_mask = at.label > at.local_mask ? (uint8_t *)(block + at.local_mask) : NULL;
  b->label = (int32_t *)(block + at.label);
  b->sample = (int64_t *)(block + at.sample);
  return block;
}

/* set_values.c — how values get into parameter sets and out of them again.
 *
 * Only nn knows where a row lies. The rest of the program copies elements, converted where its type is
 * another one, or borrows the bytes of a row for as long as it takes to write, read or hash them. */
#include <string.h>

#include "framework/nn/nn.h"
#include "set.h"

void *sm_set_data(const sm_set *set, int row, sm_buffer which) {
  char *base = set->buffer[which];
  return base ? base + (size_t)set->row[row].offset * sm_dtype_size(set->real) : NULL;
}

static char *set_values_from(const sm_set *set, int row, sm_buffer which, int64_t first) {
  char *base = set->allocated ? sm_set_data(set, row, which) : NULL;
  return base ? base + (size_t)first * sm_dtype_size(set->real) : NULL;
}

static bool set_values_read(const sm_set *set, int row, sm_buffer which, int64_t first, int64_t n, void *to,
                            sm_dtype type) {
  const void *from = set_values_from(set, row, which, first);
  if (from) sm_values_read(set->backend, from, set->real, n, to, type);
  return from != NULL;
}

static bool set_values_write(sm_set *set, int row, sm_buffer which, int64_t first, int64_t n,
                             const void *from, sm_dtype type) {
  void *to = set_values_from(set, row, which, first);
  if (to) sm_values_write(set->backend, to, set->real, n, from, type);
  return to != NULL;
}

bool sm_set_read(const sm_set *s, int row, sm_buffer which, int64_t first, int64_t n, float *to) {
  return set_values_read(s, row, which, first, n, to, SM_F32);
}
bool sm_set_read_f64(const sm_set *s, int row, sm_buffer which, int64_t first, int64_t n, double *to) {
  return set_values_read(s, row, which, first, n, to, SM_F64);
}
bool sm_set_write(sm_set *s, int row, sm_buffer which, int64_t first, int64_t n, const float *from) {
  return set_values_write(s, row, which, first, n, from, SM_F32);
}
bool sm_set_write_f64(sm_set *s, int row, sm_buffer which, int64_t first, int64_t n, const double *from) {
  return set_values_write(s, row, which, first, n, from, SM_F64);
}

bool sm_set_fill(sm_set *set, int row, sm_buffer which, double value) {
  void *to = set_values_from(set, row, which, 0);
  if (to) sm_values_fill(set->backend, to, set->real, set->row[row].size, value);
  return to != NULL;
}

void *sm_set_lend(const sm_set *set, int row, sm_buffer which, size_t *bytes) {
  if (bytes) *bytes = (size_t)set->row[row].size * sm_dtype_size(set->real);
  return set_values_from(set, row, which, 0);
}
void sm_set_give_back(const sm_set *set, int row, sm_buffer which, void *lent, bool changed) {
  /* it was the memory itself, which the host sees */
  (void)set, (void)row, (void)which, (void)lent, (void)changed;
}

uint64_t sm_set_row_hash(const sm_set *set, int row, sm_buffer which, uint64_t hash) {
  size_t bytes;
  void *values = sm_set_lend(set, row, which, &bytes);
  if (values) hash = sm_hash64(values, bytes, hash);
  sm_set_give_back(set, row, which, values, false);
  return hash;
}

uint64_t sm_set_hash(const sm_set *set, sm_buffer which) {
  uint64_t hash = 0;
  for (int row = 0; row < sm_set_rows(set); row++) hash = sm_set_row_hash(set, row, which, hash);
  return hash;
}

/* ---- by name ----------------------------------------------------------------------------------------- */

static int set_values_row(const sm_params *p, const char *name) {
  const char *prefix = p->prefix ? p->prefix : "";
  size_t n = strlen(prefix);
  for (int r = 0; r < p->set->rows; r++)
    if (!strncmp(p->set->row[r].name, prefix, n) && !strcmp(p->set->row[r].name + n, name)) return r;
  return -1;
}

bool sm_has_param(const sm_params *p, const char *name) { return set_values_row(p, name) >= 0; }

bool sm_param_grid(const sm_params *p, const char *name, int *rows, int *cols) {
  int row = set_values_row(p, name);
  if (row < 0) return false;
  const sm_row *r = &p->set->row[row];
  if (r->grid.rows) *rows = r->grid.rows, *cols = r->grid.cols;
  else if (r->made_for.rows) *rows = r->made_for.rows, *cols = r->made_for.cols;
  return r->grid.rows || r->made_for.rows;
}

bool sm_params_read(const sm_params *p, const char *name, int64_t first, int64_t n, float *to) {
  int row = set_values_row(p, name);
  return row >= 0 && sm_set_read(p->set, row, SM_VALUES, first, n, to);
}
bool sm_params_write(const sm_params *p, const char *name, int64_t first, int64_t n, const float *from) {
  int row = set_values_row(p, name);
  return row >= 0 && sm_set_write(p->set, row, SM_VALUES, first, n, from);
}

/* ---- to other ranks -------------------------------------------------------------------------------------- */

sm_status sm_set_broadcast(sm_set *set, sm_ranks *ranks, sm_error *err) {
  for (int row = 0; row < sm_set_rows(set); row++) {
    int64_t steps = sm_set_row(set, row)->steps;
    sm_status status = sm_ranks_broadcast(ranks, 0, &steps, sizeof steps, err);
    sm_set_row(set, row)->steps = steps;
    for (int buffer = SM_VALUES; !status && buffer <= SM_MOMENT2; buffer++) {
      size_t bytes;
      void *at = buffer == SM_GRADIENTS ? NULL : sm_set_lend(set, row, (sm_buffer)buffer, &bytes);
      if (!at) continue;
      status = sm_ranks_broadcast(ranks, 0, at, bytes, err);
      sm_set_give_back(set, row, (sm_buffer)buffer, at, true);
    }
    if (status) return status;
  }
  return SM_OK;
}

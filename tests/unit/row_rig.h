/* row_rig.h — rows of parameter sets, element by element, for unit tests. */
#ifndef ROW_RIG_H
#define ROW_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "framework/nn/nn.h"

static inline double row_get(const sm_set *set, int row, sm_buffer which, int64_t i) {
  double x = 0;
  assert_true(sm_set_read_f64(set, row, which, i, 1, &x));
  return x;
}
static inline void row_put(sm_set *set, int row, sm_buffer which, int64_t i, double x) {
  assert_true(sm_set_write_f64(set, row, which, i, 1, &x));
}
/* As the element type adds: in f32, x is rounded before. */
static inline void row_add(sm_set *set, int row, int64_t i, double x) {
  double old = row_get(set, row, SM_VALUES, i);
  row_put(set, row, SM_VALUES, i, sm_set_real(set) == SM_F32 ? (double)((float)old + (float)x) : old + x);
}
/* The same bytes in row `row` of both. */
static inline void rows_equal(const sm_set *a, const sm_set *b, int row, sm_buffer which) {
  size_t bytes;
  const void *x = sm_set_lend(a, row, which, &bytes), *y = sm_set_lend(b, row, which, NULL);
  assert_true(x && y);
  assert_memory_equal(x, y, bytes);
}

#endif

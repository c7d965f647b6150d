/* kernel_check.h — every fast kernel, for every instruction set of this processor, against the plain one, and
 * two ranges against one. Outputs start as NaN unless they accumulate, so a kernel that trusts old memory
 * shows. */
#ifndef KERNEL_CHECK_H
#define KERNEL_CHECK_H

#include "kernel_rig.h"

/* ---- running and comparing ------------------------------------------------------------------ */

/* Largest difference, relative to the largest expected value of that output (at least 1). Beyond the valid
 * items nothing may have changed. */
static inline double distance(const sm_node *n, const copies *expected, const copies *start) {
  double worst = 0;
  for (int k = 0; k < SM_MAX_OUT; k++) {
    if (!n->out[k]) continue;
    sm_tensor was = *n->out[k];
    struct sm_tensor_plan there = {.data = expected->data[k]};
    int64_t valid = sm_items(&was) * sm_item_elements(&was);
    double scale = 1;
    was.plan = &there;
    for (int64_t e = 0; e < valid; e++) scale = fmax(scale, fabs(get(&was, e)));
    for (int64_t e = 0; e < valid; e++) {
      double difference = fabs(get(n->out[k], e) - get(&was, e)) / scale;
      if (!(difference <= worst)) worst = isnan(difference) ? INFINITY : difference;
    }
    size_t used = (size_t)valid * sm_dtype_size(was.dtype);
    assert_memory_equal((char *)n->out[k]->plan->data + used, (char *)start->data[k] + used,
                        size_of(&was) - used);
  }
  return worst;
}

/* Is the range of this op split into calls of BLAS of another shape, whose sums may be ordered in another
 * way? */
static inline bool shape_matters(int op) {
  return op == SM_OP_linear || op == SM_OP_linear_dx || op == SM_OP_conv || op == SM_OP_convolve ||
         op == SM_OP_convolve_dx;
}

/* Outputs that do not accumulate start as NaN. `range` is the number of items or tiles. */
static inline void check(int op, sm_node *n, int64_t range, double tolerance) {
  if (now.real == SM_F64) tolerance = 1e-11;
  for (int k = 0; k < SM_MAX_OUT; k++) {
    bool is_input = n->out[k] && n->out[k] == n->in[0];
    bool always_added = op == SM_OP_sum_rows_into || op == SM_OP_add_count_into || op == SM_OP_ema_update ||
                        op == SM_OP_batch_update || (op == SM_OP_batch_stats && k == 1);
    if (!n->out[k] || is_input || always_added || n->acc >> k & 1) continue;
    memset(n->out[k]->plan->data, 0xff, size_of(n->out[k]));
  }
  copies start = keep(n);
  run(sm_kernels_find(SM_PLAIN, now.real, NULL), op, n, 0, range);
  copies expected = keep(n);
  for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
    const sm_kernel_table *table = table_for(now.real, isas[i]);
    if (!table) continue;
    restore(n, &start);
    run(table, op, n, 0, range);
    double d = distance(n, &expected, &start);
    if (!(d <= tolerance))
      fail_msg("%s, %s, %s: off by %g, allowed %g", op_names[op], isas[i], sm_dtype_name(now.real), d,
               tolerance);
    copies at_once = keep(n);
    restore(n, &start);
    run(table, op, n, 0, range / 2);
    run(table, op, n, range / 2, range);
    if (shape_matters(op)) {
      assert_true(distance(n, &expected, &start) <= tolerance);
    } else if (!same_bits(n, &at_once)) {
      fail_msg("%s, %s, %s: two ranges give other bits than one", op_names[op], isas[i],
               sm_dtype_name(now.real));
    }
    drop(&at_once);
  }
  restore(n, &start);
  drop(&start);
  drop(&expected);
}

static inline void check_both(int op, sm_node *n, int64_t range,
                              double tolerance) { /* writing, then accumulating */
  check(op, n, range, tolerance);
  n->acc = 7;
  for (int k = 0; k < SM_MAX_OUT; k++)
    for (int64_t e = 0; n->out[k] && e < sm_elements(n->out[k]); e++)
      set(n->out[k], e, sm_rng_normal(&now.rng));
  check(op, n, range, tolerance);
  n->acc = 0;
}

static const int64_t sizes[] = {0, 1, 3, 6};
#define EACH_SIZE(b) for (const int64_t *b = sizes; b < sizes + sizeof sizes / sizeof *sizes; b++)

#endif

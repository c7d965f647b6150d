/* test_kernels_losses.c — the kernels of losses and targets as test_kernels.c sees the others: sums, argmax,
 * Sinkhorn, cross-entropy and regression, and the digits that they keep. */
#include "framework/tensor/backend.h"
#include "kernel_check.h"

/* ---- sums ----------------------------------------------------------------------------------- */

static void sum_kernels(void **state) {
  static const int64_t many[] = {0, 1, 33, 211};
  EACH_REAL for (int s = 0; s < 4; s++) {
    begin(real);
    int64_t k = 130, b = many[s];
    sm_tensor *x = items(DIMS(b, k));
    NODE(mean, IN(items(DIMS(b, 3, k))), OUT(whole(DIMS(1, k))));
    check(SM_OP_mean_items, &mean, sm_column_tiles(k), 1e-6);
    NODE(rows, IN(x), OUT(whole(DIMS(k))));
    check(SM_OP_sum_rows_into, &rows, sm_column_tiles(k), 1e-6);
    NODE(sum, IN(x), OUT(whole(DIMS(1))));
    check(SM_OP_sum, &sum, 1, 1e-6);
    NODE(count, IN(x), OUT(whole(DIMS(1))));
    check(SM_OP_add_count_into, &count, 1, 1e-7);
    NODE(sum_dx, IN(scalar(0.7)), OUT(items(DIMS(b, k))));
    check_both(SM_OP_sum_dx, &sum_dx, b, 1e-7);
    NODE(ema, IN(scalar(0.9)), OUT(whole(DIMS(k)), whole(DIMS(k)), scalar((double)b)));
    check(SM_OP_ema_update, &ema, 1, 1e-6);
    end();
  }
}

/* ---- argmax and cross-entropy --------------------------------------------------------------- */

static void argmax_kernel(void **state) {
  static const int64_t widths[] = {1, 255, 256, 257, 1000};
  EACH_REAL EACH_SIZE(b) for (int s = 0; s < 5; s++) {
    begin(real);
    int64_t k = widths[s];
    sm_tensor *x = items(DIMS(*b, k));
    for (int64_t e = 0; e < *b * k; e++) set(x, e, (double)sm_rng_below(&now.rng, 9)); /* many ties */
    NODE(argmax, IN(x, NULL), OUT(counted(SM_I32, DIMS(*b))));
    check(SM_OP_argmax, &argmax, *b, 0);
    argmax.in[1] = whole(DIMS(k));
    check(SM_OP_argmax, &argmax, *b, 0);
    end();
  }
}

static void sinkhorn_kernels(void **state) {
  static const int64_t widths[] = {1, 63, 64, 65, 600};
  EACH_REAL EACH_SIZE(b) for (int s = 0; s < 5; s++) {
    begin(real);
    int64_t k = widths[s];
    sm_tensor *x = items(DIMS(*b, k)), *lse = items(DIMS(*b));
    for (int64_t e = 0; e < *b * k; e++) set(x, e, 4 * get(x, e)); /* times 25: beyond what exp can take */
    NODE(shift, IN(x, NULL, scalar(25)), OUT(whole(DIMS(k))));
    check(SM_OP_sinkhorn_shift, &shift, sm_column_tiles(k), 1e-6);
    shift.in[1] = lse;
    check(SM_OP_sinkhorn_shift, &shift, sm_column_tiles(k), 1e-6);
    NODE(rows, IN(x, whole(DIMS(k)), scalar(25)), OUT(items(DIMS(*b))));
    check(SM_OP_sinkhorn_rows, &rows, *b, 1e-6);
    end();
  }
}

static void cross_entropy_kernels(void **state) {
  static const int64_t widths[] = {1, 2, 100, 511, 1025};
  EACH_REAL EACH_SIZE(b) for (int s = 0; s < 5; s++) {
    begin(real);
    sm_node soft = cross_entropy(*b, widths[s], 0.2, true), ids = cross_entropy(*b, widths[s], 0.5, false);
    check(SM_OP_xent_soft, &soft, *b, 5e-6);
    soft.in[6] = NULL;
    check(SM_OP_xent_soft, &soft, *b, 5e-6);
    check(SM_OP_xent_ids, &ids, *b, 5e-6);
    end();
  }
}

static void regression_kernels(void **state) {
  static const int64_t widths[] = {1, 3, 512, 769};
  EACH_REAL EACH_SIZE(b) for (int s = 0; s < 4; s++) for (int penalty = SM_L2; penalty <= SM_SMOOTH_L1;
                                                          penalty++) {
    begin(real);
    sm_node n = vector_regression(*b, widths[s], penalty, 0.7);
    check(SM_OP_regression, &n, *b, 2e-6);
    NODE(dx, IN(items(DIMS(*b)), n.in[0], n.in[1], n.in[2], n.in[3], n.in[4]),
         OUT(items(DIMS(*b, widths[s]))));
    dx.i[0] = penalty;
    dx.f[0] = 0.7;
    check_both(SM_OP_regression_dx, &dx, *b, 2e-6);
    end();
  }
}

/* Logits of ±1e4 with scales of 10 and 25: everything stays finite, and the loss is right. */
static void extreme_logits_stay_finite(void **state) {
  EACH_REAL {
    begin(real);
    sm_node soft = cross_entropy(3, 70, 1e4, true), ids = cross_entropy(3, 70, 1e4, false);
    check(SM_OP_xent_soft, &soft, 3, 1e-4);
    check(SM_OP_xent_ids, &ids, 3, 1e-4);
    sm_tensor *qkv = items(DIMS(1, 9, 12));
    for (int64_t e = 0; e < 9 * 12; e++) set(qkv, e, 100 * get(qkv, e));
    NODE(attention, IN(qkv), OUT(items(DIMS(1, 9, 4)), items(DIMS(1, 1, 9))));
    attention.i[0] = 1;
    attention.f[0] = 0.5;
    check(SM_OP_attention, &attention, 1, 1e-3);
    end();
  }
}

/* The loss of a long row is good to 1e-6 in f32. */
static void long_rows_lose_no_digits(void **state) {
  begin(SM_F32);
  sm_node n = cross_entropy(6, 8192, 0.2, true);
  copies start = keep(&n);
  run(sm_kernels_find(SM_PLAIN, SM_F32, NULL), SM_OP_xent_soft, &n, 0, 6);
  double expected[6][5];
  for (int r = 0; r < 6; r++) {
    expected[r][0] = get(n.out[0], r);
    for (int k = 0; k < 4; k++) expected[r][1 + k] = get(n.out[1], 4 * r + k);
  }
  for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
    const sm_kernel_table *table = table_for(SM_F32, isas[i]);
    if (!table) continue;
    restore(&n, &start);
    run(table, SM_OP_xent_soft, &n, 0, 6);
    for (int r = 0; r < 6; r++) {
      assert_true(fabs(get(n.out[0], r) - expected[r][0]) <= 1e-6 * expected[r][0]);
      for (int k = 0; k < 4; k++)
        assert_true(fabs(get(n.out[1], 4 * r + k) - expected[r][1 + k]) <=
                    2e-6 * fmax(1, expected[r][1 + k]));
    }
  }
  drop(&start);
  end();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sum_kernels),
      cmocka_unit_test(argmax_kernel),
      cmocka_unit_test(sinkhorn_kernels),
      cmocka_unit_test(cross_entropy_kernels),
      cmocka_unit_test(regression_kernels),
      cmocka_unit_test(extreme_logits_stay_finite),
      cmocka_unit_test(long_rows_lose_no_digits),
  };
  sm_products_prepare();
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_kernels_windows.c — attention with a bias, windows, merging: the fast kernels against the plain ones,
 * the plain ones against numbers worked out by hand and against attention without windows. */
#include "kernel_check.h"

/* ---- fast against plain ---------------------------------------------------------------------------- */

/* Rows, columns, prefix, shift, windows down and across, heads, width of a head. */
static const int64_t shapes[][8] = {{2, 2, 0, 0, 1, 1, 1, 1},    {1, 1, 0, 0, 2, 3, 2, 4},
                                    {3, 3, 0, 1, 2, 3, 2, 8},    {7, 7, 0, 3, 2, 2, 3, 32},
                                    {2, 4, 0, 1, 3, 1, 2, 5},    {4, 5, 1, 0, 1, 1, 3, 8},
                                    {17, 17, 1, 0, 1, 1, 1, 16}, {1, 1, 1, 0, 1, 1, 2, 3}};

static sm_tensor *bias_of(const int64_t *s, sm_tensor *table) {
  const int64_t t = s[2] + s[0] * s[1], heads = s[6], variants = s[3] ? 4 : 1;
  sm_tensor *bias = whole(DIMS(variants, heads, t, t));
  NODE(n, IN(table), OUT(bias));
  for (int k = 0; k < 4; k++) n.i[k] = s[k];
  check(SM_OP_relative_bias, &n, variants * heads, 0);
  run(sm_kernels_find(SM_PLAIN, now.real, NULL), SM_OP_relative_bias, &n, 0, variants * heads);
  return bias;
}

static int64_t rows_of_table(const int64_t *s) { return (2 * s[0] - 1) * (2 * s[1] - 1) + 3 * s[2]; }

static void biased_attention_kernels(void **state) {
  EACH_REAL EACH_SIZE(b) for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
    const int64_t *s = shapes[k], t = s[2] + s[0] * s[1], windows = s[4] * s[5], d = s[6] * s[7];
    if (t > 100 && *b > 1) continue;
    begin(real);
    sm_tensor *table = whole(DIMS(rows_of_table(s), s[6])), *bias = bias_of(s, table);
    NODE(forward, IN(items(DIMS(*b, windows * t, 3 * d)), bias),
         OUT(items(DIMS(*b, windows * t, d)), items(DIMS(*b, windows * s[6], t))));
    forward.i[0] = s[5];
    forward.f[0] = 0.4;
    check(SM_OP_attention_biased, &forward, *b, 5e-6);
    run(sm_kernels_find(SM_PLAIN, real, NULL), SM_OP_attention_biased, &forward, 0, *b);
    NODE(back, IN(forward.in[0], bias, forward.out[0], forward.out[1], items(DIMS(*b, windows * t, d))),
         OUT(items(DIMS(*b, windows * t, 3 * d)), items(DIMS(*b, rows_of_table(s), s[6]))));
    back.i[0] = s[5], back.i[1] = s[0], back.i[2] = s[1], back.i[3] = s[2];
    back.f[0] = 0.4;
    check(SM_OP_attention_biased_dx, &back, *b, 2e-5);
    back.out[1] = NULL;
    check_both(SM_OP_attention_biased_dx, &back, *b, 2e-5);
    forward.out[1] = NULL;
    check(SM_OP_attention_biased, &forward, *b, 5e-6);
    NODE(sum, IN(items(DIMS(*b, 29, 3))), OUT(whole(DIMS(29, 3))));
    check_both(SM_OP_sum_items, &sum, 2, 1e-6);
    end();
  }
}

/* Height, width, rows, columns, shift, C: padding in one direction, in both, none, a window larger than all. */
static const int64_t grids[][6] = {{1, 1, 1, 1, 0, 1}, {4, 4, 2, 2, 1, 3},  {5, 7, 3, 3, 1, 19},
                                   {3, 3, 7, 7, 3, 8}, {6, 4, 2, 4, 0, 64}, {8, 8, 4, 4, 2, 5}};

static void window_kernels(void **state) {
  EACH_REAL EACH_SIZE(b) for (size_t k = 0; k < sizeof grids / sizeof *grids; k++) {
    const int64_t *s = grids[k], padded = (s[0] + s[2] - 1) / s[2] * s[2] * ((s[1] + s[3] - 1) / s[3] * s[3]);
    begin(real);
    NODE(in, IN(items(DIMS(*b, s[0] * s[1], s[5]))), OUT(items(DIMS(*b, padded, s[5]))));
    NODE(out, IN(items(DIMS(*b, padded, s[5]))), OUT(items(DIMS(*b, s[0] * s[1], s[5]))));
    for (int i = 0; i < 5; i++) in.i[i] = out.i[i] = s[i];
    check_both(SM_OP_windows, &in, *b, 1e-6);
    check_both(SM_OP_unwindows, &out, *b, 1e-6);
    const int64_t merged = (s[0] + 1) / 2 * ((s[1] + 1) / 2);
    NODE(merge, IN(items(DIMS(*b, s[0] * s[1], s[5]))), OUT(items(DIMS(*b, merged, 4 * s[5]))));
    NODE(merge_dx, IN(items(DIMS(*b, merged, 4 * s[5]))), OUT(items(DIMS(*b, s[0] * s[1], s[5]))));
    merge.i[0] = merge_dx.i[0] = s[0], merge.i[1] = merge_dx.i[1] = s[1];
    check(SM_OP_merge_tokens, &merge, *b, 0);
    check_both(SM_OP_merge_tokens_dx, &merge_dx, *b, 1e-6);
    const int64_t side = s[2], cells = (s[0] + side - 1) / side * ((s[1] + side - 1) / side);
    NODE(repeat, IN(bytes(DIMS(*b, cells))), OUT(bytes(DIMS(*b, s[0] * s[1]))));
    repeat.i[0] = s[0], repeat.i[1] = s[1], repeat.i[2] = side;
    check(SM_OP_repeat_cells, &repeat, *b, 0);
    end();
  }
}

/* ---- known numbers ----------------------------------------------------------------------------------- */

static void plain(int op, const sm_node *n, int64_t range) {
  run(sm_kernels_find(SM_PLAIN, now.real, NULL), op, n, 0, range);
}

/* A table whose row r holds r shows which row each pair reads: 2×2 as the paper's code numbers them. */
static void rows_of_relative_positions(void **state) {
  static const double expected[] = {4, 3, 1, 0, 5, 4, 2, 1, 7, 6, 4, 3, 8, 7, 5, 4};
  static const double with_prefix[] = {11, 9, 9, 9, 9, 10, 4, 3, 1, 0, 10, 5, 4, 2, 1};
  begin(SM_F64);
  sm_tensor *table = whole(DIMS(12, 1)), *bias = whole(DIMS(1, 1, 4, 4)), *longer = whole(DIMS(1, 1, 5, 5));
  for (int r = 0; r < 12; r++) set(table, r, r);
  NODE(n, IN(table), OUT(bias));
  n.i[0] = n.i[1] = 2;
  plain(SM_OP_relative_bias, &n, 1);
  for (int k = 0; k < 16; k++) assert_true(get(bias, k) == expected[k]);
  n.out[0] = longer;
  n.i[2] = 1;
  plain(SM_OP_relative_bias, &n, 1);
  for (int k = 0; k < 15; k++) assert_true(get(longer, k) == with_prefix[k]);
  end();
}

/* 4 places, shifted by 2: in the last window of a row, columns 2 and 3 come from the other edge. */
static void regions_of_the_last_windows(void **state) {
  begin(SM_F64);
  sm_tensor *table = whole(DIMS(49, 1)), *bias = whole(DIMS(4, 1, 16, 16));
  for (int r = 0; r < 49; r++) set(table, r, 0);
  NODE(n, IN(table), OUT(bias));
  n.i[0] = n.i[1] = 4, n.i[3] = 2;
  plain(SM_OP_relative_bias, &n, 4);
  for (int v = 0; v < 4; v++)
    for (int i = 0; i < 16; i++)
      for (int j = 0; j < 16; j++) {
        const bool rows = v / 2 && i / 8 != j / 8, cols = v % 2 && i % 4 / 2 != j % 4 / 2;
        assert_true(get(bias, (v * 16 + i) * 16 + j) == (rows || cols ? -100 : 0));
      }
  end();
}

/* 3×3 tokens in windows of 2, rolled by 1: the first window holds tokens 4, 5, 7, 8; the last the first. */
static void order_of_windows(void **state) {
  static const double expected[] = {5, 6, 8, 9, 0, 4, 0, 7, 0, 0, 2, 3, 0, 0, 0, 1};
  begin(SM_F64);
  sm_tensor *x = items(DIMS(1, 9, 1)), *y = items(DIMS(1, 16, 1)), *back = items(DIMS(1, 9, 1));
  for (int k = 0; k < 9; k++) set(x, k, k + 1);
  NODE(in, IN(x), OUT(y));
  NODE(out, IN(y), OUT(back));
  static const int64_t numbers[] = {3, 3, 2, 2, 1};
  for (int k = 0; k < 5; k++) in.i[k] = out.i[k] = numbers[k];
  plain(SM_OP_windows, &in, 1);
  for (int k = 0; k < 16; k++) assert_true(get(y, k) == expected[k]);
  plain(SM_OP_unwindows, &out, 1);
  for (int k = 0; k < 9; k++) assert_true(get(back, k) == k + 1);
  end();
}

static void order_of_merged_tokens(void **state) {
  static const double expected[] = {1, 4, 2, 5, 3, 6, 0, 0, 7, 0, 8, 0, 9, 0, 0, 0};
  static const double cells[] = {1, 1, 0, 1, 1, 0, 0, 0, 1};
  begin(SM_F64);
  sm_tensor *x = items(DIMS(1, 9, 1)), *y = items(DIMS(1, 4, 4)), *mask = bytes(DIMS(1, 4)),
            *fine = bytes(DIMS(1, 9));
  for (int k = 0; k < 9; k++) set(x, k, k + 1);
  NODE(merge, IN(x), OUT(y));
  merge.i[0] = merge.i[1] = 3;
  plain(SM_OP_merge_tokens, &merge, 1);
  for (int k = 0; k < 16; k++) assert_true(get(y, k) == expected[k]);
  set(mask, 0, 1), set(mask, 1, 0), set(mask, 2, 0), set(mask, 3, 1);
  NODE(repeat, IN(mask), OUT(fine));
  repeat.i[0] = repeat.i[1] = 3, repeat.i[2] = 2;
  plain(SM_OP_repeat_cells, &repeat, 1);
  for (int k = 0; k < 9; k++) assert_true(get(fine, k) == cells[k]);
  end();
}

/* Without a bias, windows are pictures of their own: the same bits as attention over (B·W, T). */
static void windows_are_pictures(void **state) {
  const int64_t b = 2, windows = 3, t = 9, d = 16;
  begin(SM_F32);
  sm_tensor *qkv = items(DIMS(b, windows * t, 3 * d)), *apart = items(DIMS(b * windows, t, 3 * d)),
            *bias = whole(DIMS(1, 2, t, t)), *o = items(DIMS(b, windows * t, d)),
            *o_apart = items(DIMS(b * windows, t, d));
  for (int64_t k = 0; k < b * windows * t * 3 * d; k++) set(apart, k, get(qkv, k));
  for (int64_t k = 0; k < sm_elements(bias); k++) set(bias, k, 0);
  NODE(biased, IN(qkv, bias), OUT(o, items(DIMS(b, windows * 2, t))));
  NODE(bare, IN(apart), OUT(o_apart, items(DIMS(b * windows, 2, t))));
  biased.f[0] = bare.f[0] = 0.3;
  bare.i[0] = 2;
  const sm_kernel_table *table = sm_kernels_find(SM_CPU, SM_F32, NULL);
  run(table, SM_OP_attention_biased, &biased, 0, b);
  run(table, SM_OP_attention, &bare, 0, b * windows);
  for (int64_t k = 0; k < b * windows * t * d; k++) assert_true(fabs(get(o, k) - get(o_apart, k)) < 1e-6);
  end();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(biased_attention_kernels),   cmocka_unit_test(window_kernels),
      cmocka_unit_test(rows_of_relative_positions), cmocka_unit_test(regions_of_the_last_windows),
      cmocka_unit_test(order_of_windows),           cmocka_unit_test(order_of_merged_tokens),
      cmocka_unit_test(windows_are_pictures),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

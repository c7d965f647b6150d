/* test_kernels_bf16.c — products of bf16, in every table that has them: exact where nothing has to be
 * rounded, rounded to nearest where something has, and the same from operands in memory as bf16. */
#include "kernel_check.h"

static const char *const bf16_isas[] = {"avx512_bf16", "avx512", "avx2", "neon", "baseline",
                                        "avx512_bf16_onednn", "avx512_onednn", "avx2_onednn"};
#define EACH_BF16_TABLE(t)             \
  for (int isa_ = 0; isa_ < 4; isa_++) \
    for (const sm_kernel_table *t = table_for(SM_BF16, bf16_isas[isa_]), *once_ = t; once_ && t; once_ = NULL)

static void fill_whole_numbers(sm_tensor *t) { /* bf16 holds them, and f32 their sums */
  for (int64_t k = 0; k < sm_elements(t); k++) set(t, k, (double)sm_rng_below(&now.rng, 33) - 16);
}

/* Where bf16 holds the operands and f32 the sums, nothing is rounded: the bits are those of f32. */
static void bf16_products_of_whole_numbers_are_exact(void **state) {
  static const int64_t shape[][3] = {{1, 1, 1},     {7, 5, 19},   {3, 33, 64},
                                     {2, 1100, 97}, {5, 64, 300}, {490, 37, 70}};
  for (int s = 0; s < 6; s++) {
    int64_t t = shape[s][0], c = shape[s][1], m = shape[s][2];
    begin(SM_F32);
    sm_tensor *x = items(DIMS(3, t, c)), *w = whole(DIMS(m, c)), *bias = whole(DIMS(m)),
              *dy = items(DIMS(3, t, m));
    fill_whole_numbers(x), fill_whole_numbers(w), fill_whole_numbers(bias), fill_whole_numbers(dy);
    NODE(forward, IN(x, w, bias), OUT(items(DIMS(3, t, m))));
    NODE(dx, IN(dy, w), OUT(items(DIMS(3, t, c))));
    NODE(dw, IN(dy, x), OUT(whole(DIMS(m, c)), whole(DIMS(m))));
    sm_grid grid = sm_product_grid(m, c);
    const struct {
      int op;
      sm_node *node;
      int64_t range;
    } all[] = {{SM_OP_linear, &forward, 3},
               {SM_OP_linear_dx, &dx, 3},
               {SM_OP_linear_dw, &dw, grid.row_tiles * grid.column_tiles}};
    for (int i = 0; i < 3; i++) {
      copies start = keep(all[i].node);
      run(sm_kernels_find(SM_PLAIN, SM_F32, NULL), all[i].op, all[i].node, 0, all[i].range);
      copies expected = keep(all[i].node);
      EACH_BF16_TABLE(table) {
        restore(all[i].node, &start);
        run(table, all[i].op, all[i].node, 0, all[i].range);
        if (!same_bits(all[i].node, &expected))
          fail_msg("%s, %s: not exact", op_names[all[i].op], table->isa);
      }
      restore(all[i].node, &start);
      drop(&start);
      drop(&expected);
    }
    end();
  }
}

/* The same tensor in memory as bf16, its values rounded. */
static sm_tensor *narrow(const sm_tensor *t) {
  sm_tensor *copy = blank(SM_BF16, t->ndim, t->dim);
  copy->count = t->count;
  for (int64_t k = 0; k < sm_elements(t); k++) set(copy, k, get(t, k));
  return copy;
}
static void round_to_bf16(sm_tensor *t) {
  const sm_tensor *n = narrow(t);
  for (int64_t k = 0; k < sm_elements(t); k++) set(t, k, get(n, k));
}

/* An op gives the same whether its operands lie in memory as bf16 or as f32 of the same values, and a narrow
 * result is the wide one rounded. */
static void check_narrow(int op, sm_node *n, int64_t range) {
  uint32_t in_mask = sm_op_at(op)->narrow_in, out_mask = sm_op_at(op)->narrow_out;
  assert_true(in_mask || out_mask);
  for (int k = 0; k < SM_MAX_IN; k++)
    if (n->in[k] && in_mask >> k & 1) round_to_bf16(n->in[k]);
  sm_node thin = *n;
  for (int k = 0; k < SM_MAX_IN; k++)
    if (n->in[k] && in_mask >> k & 1) thin.in[k] = narrow(n->in[k]);
  for (int k = 0; k < SM_MAX_OUT; k++)
    if (n->out[k] && out_mask >> k & 1) thin.out[k] = narrow(n->out[k]);
  EACH_BF16_TABLE(table) {
    run(table, op, n, 0, range);
    run(table, op, &thin, 0, range);
    for (int k = 0; k < SM_MAX_OUT; k++) {
      if (!n->out[k]) continue;
      const sm_tensor *want = out_mask >> k & 1 ? narrow(n->out[k]) : n->out[k];
      for (int64_t e = 0; e < sm_items(want) * sm_item_elements(want); e++)
        if (get(want, e) != get(thin.out[k], e))
          fail_msg("%s, %s: narrow out[%d][%d] is %.9g, not %.9g", op_names[op], table->isa, k, (int)e,
                   get(thin.out[k], e), get(want, e));
    }
  }
}

static void bf16_in_memory_changes_nothing(void **state) {
  static const int64_t shape[][3] = {
      {1, 1, 1}, {7, 6, 18}, {3, 33, 64}, {5, 64, 300}, {65, 96, 12}}; /* T, C, N */
  for (int s = 0; s < 5; s++) {
    int64_t t = shape[s][0], c = shape[s][1], m = shape[s][2];
    begin(SM_F32);
    sm_tensor *x = items(DIMS(3, t, c)), *w = whole(DIMS(m, c)), *bias = whole(DIMS(m)),
              *dy = items(DIMS(3, t, m));
    NODE(forward, IN(x, w, bias), OUT(items(DIMS(3, t, m))));
    check_narrow(SM_OP_linear, &forward, 3);
    NODE(dx, IN(dy, w), OUT(items(DIMS(3, t, c))));
    check_narrow(SM_OP_linear_dx, &dx, 3);
    NODE(dw, IN(dy, x), OUT(whole(DIMS(m, c)), whole(DIMS(m))));
    sm_grid grid = sm_product_grid(m, c);
    check_narrow(SM_OP_linear_dw, &dw, grid.row_tiles * grid.column_tiles);
    NODE(gelu, IN(x), OUT(items(DIMS(3, t, c))));
    check_narrow(SM_OP_gelu, &gelu, 3);
    NODE(gelu_dx, IN(x, items(DIMS(3, t, c))), OUT(items(DIMS(3, t, c))));
    check_narrow(SM_OP_gelu_dx, &gelu_dx, 3);
    NODE(gelu_both, IN(x, items(DIMS(3, t, c))), OUT(items(DIMS(3, t, c)), items(DIMS(3, t, c))));
    check_narrow(SM_OP_gelu_dx, &gelu_both, 3);
    NODE(norm, IN(x, whole(DIMS(c)), whole(DIMS(c))), OUT(items(DIMS(3, t, c)), items(DIMS(3, t, 2))));
    norm.f[0] = 1e-6;
    check_narrow(SM_OP_layer_norm, &norm, 3);
    end();
  }
  for (int heads = 1; heads <= 3; heads += 2) {
    int64_t t = 37, d = 24;
    begin(SM_F32);
    NODE(attention, IN(items(DIMS(2, t, 3 * d))), OUT(items(DIMS(2, t, d)), items(DIMS(2, heads, t))));
    attention.i[0] = heads;
    attention.f[0] = 0.3;
    check_narrow(SM_OP_attention, &attention, 2);
    run(sm_kernels_find(SM_CPU, SM_BF16, NULL), SM_OP_attention, &attention, 0, 2);
    NODE(back, IN(attention.in[0], attention.out[0], attention.out[1], items(DIMS(2, t, d))),
         OUT(items(DIMS(2, t, 3 * d))));
    back.i[0] = heads;
    back.f[0] = 0.3;
    check_narrow(SM_OP_attention_dx, &back, 2);
    end();
  }
  for (int heads = 1; heads <= 3; heads += 2) {
    int64_t t = 9, d = 24;
    begin(SM_F32);
    NODE(attention, IN(items(DIMS(2, 4 * t, 3 * d)), whole(DIMS(4, heads, t, t))),
         OUT(items(DIMS(2, 4 * t, d)), items(DIMS(2, 4 * heads, t))));
    attention.i[0] = 2;
    attention.f[0] = 0.3;
    check_narrow(SM_OP_attention_biased, &attention, 2);
    run(sm_kernels_find(SM_CPU, SM_BF16, NULL), SM_OP_attention_biased, &attention, 0, 2);
    NODE(back,
         IN(attention.in[0], attention.in[1], attention.out[0], attention.out[1], items(DIMS(2, 4 * t, d))),
         OUT(items(DIMS(2, 4 * t, 3 * d)), items(DIMS(2, 25, heads))));
    back.i[0] = 2, back.i[1] = back.i[2] = 3;
    back.f[0] = 0.3;
    check_narrow(SM_OP_attention_biased_dx, &back, 2);
    NODE(into, IN(items(DIMS(2, 25, 37))), OUT(items(DIMS(2, 36, 37))));
    NODE(out_of, IN(items(DIMS(2, 36, 37))), OUT(items(DIMS(2, 25, 37))));
    into.i[0] = into.i[1] = out_of.i[0] = out_of.i[1] = 5;
    into.i[2] = into.i[3] = out_of.i[2] = out_of.i[3] = 3;
    into.i[4] = out_of.i[4] = 1;
    check_narrow(SM_OP_windows, &into, 2);
    check_narrow(SM_OP_unwindows, &out_of, 2);
    end();
  }
}

/* y = x·1: what is left of x shows the rounding, to nearest with halves to even. */
static void bf16_operands_are_rounded_to_nearest(void **state) {
  static const double from[] =
      {1, 1 + 1 / 256., 1 + 3 / 256., 1 + 1 / 512., 1 + 3 / 512., -1 - 3 / 256., 3e38, 0},
                      to[] = {1, 1, 1 + 4 / 256., 1, 1 + 2 / 256., -1 - 4 / 256., 3.00405527e38, 0};
  begin(SM_F32);
  sm_tensor *x = items(DIMS(1, 8, 1)), *w = whole(DIMS(1, 1));
  NODE(forward, IN(x, w, NULL), OUT(items(DIMS(1, 8, 1))));
  set(w, 0, 1);
  for (int i = 0; i < 8; i++) set(x, i, from[i]);
  EACH_BF16_TABLE(table) {
    run(table, SM_OP_linear, &forward, 0, 1);
    for (int i = 0; i < 8; i++)
      if (fabs(get(forward.out[0], i) - to[i]) > 1e-6 * fabs(to[i]))
        fail_msg("%s: %.9g becomes %.9g, not %.9g", table->isa, from[i], get(forward.out[0], i), to[i]);
  }
  set(x, 3, NAN);
  EACH_BF16_TABLE(table) {
    run(table, SM_OP_linear, &forward, 0, 1);
    assert_true(isnan(get(forward.out[0], 3)));
    assert_true(get(forward.out[0], 2) == to[2]);
  }
  end();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(bf16_products_of_whole_numbers_are_exact),
      cmocka_unit_test(bf16_in_memory_changes_nothing),
      cmocka_unit_test(bf16_operands_are_rounded_to_nearest),
  };
  sm_products_prepare();
  return cmocka_run_group_tests(tests, NULL, NULL);
}

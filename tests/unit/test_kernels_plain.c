/* test_kernels_plain.c — the plain kernels, which all others are held against, against numbers worked out by
 * hand, another formula, and differences of their own forward ops. */
#include "kernel_rig.h"

/* ---- the plain kernels against known numbers ------------------------------------------------ */

static void fill_with(sm_tensor *t, const double *values) {
  for (int64_t k = 0; k < sm_items(t) * sm_item_elements(t); k++) set(t, k, values[k]);
}
static void expect(const sm_tensor *t, int64_t k, double value) {
  if (!(fabs(get(t, k) - value) <= 1e-12))
    fail_msg("element %lld is %.15g, expected %.15g", (long long)k, get(t, k), value);
}
static void plain(int op, const sm_node *n, int64_t range) {
  run(sm_kernels_find(SM_PLAIN, SM_F64, NULL), op, n, 0, range);
}

static void cross_entropy_of_known_numbers(void **state) {
  begin(SM_F64);
  /* s = softmax(ln 1, ln 2, ln 5) = (1, 2, 5)/8; the target with shift (1, 1, 1) and scale 2
   * is (1, 4, 1)/6 */
  sm_tensor *z = items(DIMS(1, 3)), *t = whole(DIMS(1, 3)), *shift = whole(DIMS(3)),
            *first = blank(SM_I32, DIMS(3));
  fill_with(z, (double[]){log(1) / 10, log(2) / 10, log(5) / 10});
  fill_with(t, (double[]){3, 3 + log(2), 3});
  fill_with(shift, (double[]){1, 1, 1});
  fill_with(first, (double[]){0, 2, 2});
  sm_tensor *index = blank(SM_I32, DIMS(2)), *weight = whole(DIMS(2)), *loss = items(DIMS(1)),
            *stats = items(DIMS(1, 4));
  fill_with(weight, (double[]){0.5, 0.25});
  NODE(n, IN(z, scalar(10), first, index, weight, t, shift, scalar(2)), OUT(loss, stats, z));
  plain(SM_OP_xent_soft, &n, 1);
  double ce = -(log(1 / 8.) + 4 * log(2 / 8.) + log(5 / 8.)) / 6;
  expect(loss, 0, 0.75 * ce);
  expect(stats, 0, 2);
  expect(stats, 1, -2 * (log(1 / 8.) / 8 + 2 * log(2 / 8.) / 8 + 5 * log(5 / 8.) / 8));
  expect(stats, 2, -2 * (2 * log(1 / 6.) / 6 + 4 * log(4 / 6.) / 6));
  expect(stats, 3, 0);
  expect(z, 0, 10 * 0.75 * (1 / 8. - 1 / 6.));
  expect(z, 1, 10 * 0.75 * (2 / 8. - 4 / 6.));
  expect(z, 2, 10 * 0.75 * (5 / 8. - 1 / 6.));
  /* the id 2 with weight 0.75, agreeing twice */
  sm_tensor *ids = integers(DIMS(1), 1);
  set(ids, 0, 2);
  fill_with(z, (double[]){log(1) / 10, log(2) / 10, log(5) / 10});
  n.in[5] = ids;
  n.in[6] = n.in[7] = NULL;
  plain(SM_OP_xent_ids, &n, 1);
  expect(loss, 0, -0.75 * log(5 / 8.));
  expect(stats, 2, 0);
  expect(stats, 3, 2);
  expect(z, 2, 10 * 0.75 * (5 / 8. - 1));
  end();
}

static void sinkhorn_of_known_numbers(void **state) {
  begin(SM_F64);
  /* weights (1 3; 2 6; 1 0) of three rows; column means 4/3 and 3 are the shift's exp(scale·shift) */
  sm_tensor *x = items(DIMS(3, 2)), *shift = whole(DIMS(2)), *lse = items(DIMS(3));
  fill_with(x, (double[]){log(1) / 2, log(3) / 2, log(2) / 2, log(6) / 2, log(1) / 2, -1e6});
  NODE(columns, IN(x, NULL, scalar(2)), OUT(shift));
  plain(SM_OP_sinkhorn_shift, &columns, 1);
  expect(shift, 0, log(4 / 3.) / 2);
  expect(shift, 1, log(3) / 2);
  /* rows of (3/4 1; 6/4 2; 3/4 0) */
  NODE(rows, IN(x, shift, scalar(2)), OUT(lse));
  plain(SM_OP_sinkhorn_rows, &rows, 3);
  expect(lse, 0, log(7 / 4.));
  expect(lse, 1, log(7 / 2.));
  expect(lse, 2, log(3 / 4.));
  /* rows divided by these: (4/7 12/7; 4/7 12/7; 4/3 0) */
  columns.in[1] = lse;
  plain(SM_OP_sinkhorn_shift, &columns, 1);
  expect(shift, 0, log((4 / 7. + 4 / 7. + 4 / 3.) / 3) / 2);
  expect(shift, 1, log(24 / 21.) / 2);
  set(x->count, 0, 0);
  plain(SM_OP_sinkhorn_shift, &columns, 1);
  expect(shift, 0, 0);
  expect(shift, 1, 0);
  end();
}

/* Differences 0.5, -2 and 0 of two targets, weights 0.5 and 0.25, beta 1. */
static void regression_of_known_numbers(void **state) {
  static const double expected[] = {[SM_L2] = 0.5 * (0.25 + 4) / 3 + 0.25 * 0,
                                    [SM_L1] = 0.5 * 2.5 / 3,
                                    [SM_SMOOTH_L1] = 0.5 * (0.125 + 1.5) / 3};
  static const double slope[][3] = {
      [SM_L2] = {1, -4, 0}, [SM_L1] = {1, -1, 0}, [SM_SMOOTH_L1] = {0.5, -1, 0}};
  begin(SM_F64);
  for (int penalty = SM_L2; penalty <= SM_SMOOTH_L1; penalty++) {
    sm_tensor *x = items(DIMS(1, 3)), *t = whole(DIMS(2, 3)), *first = blank(SM_I32, DIMS(3)),
              *index = blank(SM_I32, DIMS(2)), *weight = whole(DIMS(2)), *loss = items(DIMS(1)),
              *dloss = items(DIMS(1)), *dx = items(DIMS(1, 3));
    fill_with(x, (double[]){1.5, 2, 7});
    fill_with(t, (double[]){1, 4, 7, 1.5, 2, 7});
    fill_with(first, (double[]){0, 2, 2});
    fill_with(index, (double[]){0, 1});
    fill_with(weight, (double[]){0.5, 0.25});
    fill_with(dloss, (double[]){3});
    NODE(n, IN(x, first, index, weight, t), OUT(loss));
    NODE(d, IN(dloss, x, first, index, weight, t), OUT(dx));
    n.i[0] = d.i[0] = penalty;
    n.f[0] = d.f[0] = 1;
    plain(SM_OP_regression, &n, 1);
    plain(SM_OP_regression_dx, &d, 1);
    expect(loss, 0, expected[penalty]);
    for (int k = 0; k < 3; k++) expect(dx, k, 3 * 0.5 * slope[penalty][k] / 3);
  }
  end();
}

static void layer_norm_of_one_to_four(void **state) {
  begin(SM_F64);
  sm_tensor *x = items(DIMS(1, 4)), *w = whole(DIMS(4)), *b = whole(DIMS(4)), *y = items(DIMS(1, 4)),
            *stats = items(DIMS(1, 2));
  fill_with(x, (double[]){1, 2, 3, 4});
  fill_with(w, (double[]){1, 1, 2, 1});
  fill_with(b, (double[]){0, 0, 0, 5});
  NODE(n, IN(x, w, b), OUT(y, stats));
  n.f[0] = 0.25; /* variance 1.25 + 0.25 = 1.5 */
  plain(SM_OP_layer_norm, &n, 1);
  expect(stats, 0, 2.5);
  expect(stats, 1, 1 / sqrt(1.5));
  expect(y, 0, -1.5 / sqrt(1.5));
  expect(y, 1, -0.5 / sqrt(1.5));
  expect(y, 2, 1 / sqrt(1.5));
  expect(y, 3, 1.5 / sqrt(1.5) + 5);
  end();
}

static void weight_norm_of_three_and_four(void **state) {
  begin(SM_F64);
  sm_tensor *v = whole(DIMS(1, 2)), *gain = whole(DIMS(1, 1)), *w = whole(DIMS(1, 2));
  fill_with(v, (double[]){3, 4});
  fill_with(gain, (double[]){10});
  NODE(n, IN(v, gain), OUT(w));
  plain(SM_OP_weight_norm, &n, 1);
  expect(w, 0, 6);
  expect(w, 1, 8);
  sm_tensor *dw = whole(DIMS(1, 2)), *dgain = whole(DIMS(1, 1));
  fill_with(dw, (double[]){1, 0}); /* v̂ = (0.6, 0.8): dgain = 0.6, dv = 2·((1, 0) - 0.6·v̂) */
  NODE(back, IN(dw, v, gain), OUT(w, dgain));
  plain(SM_OP_weight_norm_dv, &back, 1);
  expect(dgain, 0, 0.6);
  expect(w, 0, 2 * (1 - 0.36));
  expect(w, 1, -2 * 0.48);
  end();
}

static void gelu_of_one_and_minus_three(void **state) {
  begin(SM_F64);
  sm_tensor *x = items(DIMS(1, 2)), *y = items(DIMS(1, 2));
  fill_with(x, (double[]){1, -3});
  NODE(n, IN(x), OUT(y));
  plain(SM_OP_gelu, &n, 1);
  expect(y, 0, 0.841344746068542948585);
  expect(y, 1, -3 * 0.00134989803163009452665);
  end();
}

/* One head of width 1 and two tokens: the second's q is ln 3, its scores are (0, ln 3) with k = (0, 1). */
static void attention_of_two_tokens(void **state) {
  begin(SM_F64);
  sm_tensor *qkv = items(DIMS(1, 2, 3)), *o = items(DIMS(1, 2, 1)), *lse = items(DIMS(1, 1, 2));
  fill_with(qkv, (double[]){0, 0, 8, log(3), 1, 16});
  NODE(n, IN(qkv), OUT(o, lse));
  n.i[0] = 1;
  n.f[0] = 1;
  plain(SM_OP_attention, &n, 1);
  expect(o, 0, 12);
  expect(o, 1, 8 * 0.25 + 16 * 0.75);
  expect(lse, 0, log(2));
  expect(lse, 1, log(4));
  end();
}

/* Written in another way than any kernel: each tap by Keys' two cubics as torch writes them, on a clamped
 * grid. */
static double keys(double x, int far) {
  const double a = -0.75;
  return far ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : ((a + 2) * x - (a + 3)) * x * x + 1;
}
static double sampled(const sm_tensor *pos, const int64_t *g, int64_t y, int64_t x, int64_t column) {
  double sy = ((double)y + 0.5) * ((double)g[0] / ((double)g[2] + 0.1)) - 0.5;
  double sx = ((double)x + 0.5) * ((double)g[1] / ((double)g[3] + 0.1)) - 0.5;
  double ty = sy - floor(sy), tx = sx - floor(sx), sum = 0;
  double wy[4] = {keys(ty + 1, 1), keys(ty, 0), keys(1 - ty, 0), keys(2 - ty, 1)};
  double wx[4] = {keys(tx + 1, 1), keys(tx, 0), keys(1 - tx, 0), keys(2 - tx, 1)};
  for (int j = 0; j < 4; j++)
    for (int i = 0; i < 4; i++) {
      int64_t py = (int64_t)floor(sy) - 1 + j, px = (int64_t)floor(sx) - 1 + i;
      py = py < 0 ? 0 : py > g[0] - 1 ? g[0] - 1 : py;
      px = px < 0 ? 0 : px > g[1] - 1 ? g[1] - 1 : px;
      sum += wy[j] * wx[i] * get(pos, (1 + py * g[1] + px) * pos->dim[2] + column);
    }
  return sum;
}

static void position_resize_follows_torch(void **state) {
  static const int64_t grid[][4] = {{14, 14, 6, 6}, {5, 4, 5, 4}, {3, 5, 8, 2}};
  for (int s = 0; s < 3; s++) {
    begin(SM_F64);
    const int64_t *g = grid[s];
    sm_tensor *pos = whole(DIMS(1, 1 + g[0] * g[1], 2)), *y = whole(DIMS(1, 1 + g[2] * g[3], 2));
    NODE(n, IN(pos), OUT(y));
    memcpy(n.i, g, 4 * sizeof *g);
    n.i[5] = 1;
    plain(SM_OP_position_resize, &n, 1);
    expect(y, 0, get(pos, 0));
    expect(y, 1, get(pos, 1));
    for (int64_t p = 0; p < g[2] * g[3]; p++)
      for (int64_t c = 0; c < 2; c++) expect(y, (1 + p) * 2 + c, sampled(pos, g, p / g[3], p % g[3], c));
    if (s == 1)
      assert_true(fabs(get(y, 2) - get(pos, 2)) > 1e-3); /* the same grid is not the identity: + 0.1 */
    end();
  }
}

static void adamw_of_one_step(void **state) {
  double p = 1, g = 0.5, m = 0, v = 0; /* the first step moves by lr (but for eps), after the decay */
  const sm_adamw_args args = {.lr = 0.1,
                              .beta1 = 0.9,
                              .beta2 = 0.999,
                              .eps = 1e-8,
                              .weight_decay = 0.2,
                              .correction1 = 1 - 0.9,
                              .correction2 = 1 - 0.999,
                              .grad_scale = 2};
  const sm_sweeps *sweeps = sm_kernels_find(SM_PLAIN, SM_F64, NULL)->sweeps;
  sweeps->adamw(&p, &g, &m, &v, 1, &args);
  assert_true(fabs(m - 0.1) < 1e-15 && fabs(v - 0.001) < 1e-15);
  assert_true(fabs(p - (1 - 0.02 - 0.1 / (1 + 1e-8))) < 1e-14);
}

/* ---- the plain gradients against differences ---------------------------------------------------- */

/* Σ y·dy of the forward op. */
static double weighted(int op, const sm_node *n, int64_t range, const sm_tensor *dy) {
  double sum = 0;
  plain(op, n, range);
  for (int64_t k = 0; k < sm_items(dy) * sm_item_elements(dy); k++) sum += get(n->out[0], k) * get(dy, k);
  return sum;
}

/* Is `gradient` the derivative of Σ y·dy by `input`? Central differences, good to about 1e-8. */
static void derivative(int op, const sm_node *n, int64_t range, const sm_tensor *dy, sm_tensor *input,
                       const sm_tensor *gradient) {
  const double step = 1e-5;
  for (int64_t k = 0; k < sm_items(input) * sm_item_elements(input); k++) {
    double value = get(input, k), up, down;
    set(input, k, value + step);
    up = weighted(op, n, range, dy);
    set(input, k, value - step);
    down = weighted(op, n, range, dy);
    set(input, k, value);
    double expected = (up - down) / (2 * step);
    if (!(fabs(get(gradient, k) - expected) <= 1e-7 * fmax(1, fabs(expected))))
      fail_msg("%s: d/d[%lld] is %.10g, expected %.10g", op_names[op], (long long)k, get(gradient, k),
               expected);
  }
}

static void gradients_of_blocks(void **state) {
  begin(SM_F64);
  sm_tensor *x = items(DIMS(2, 3, 4)), *dx = items(DIMS(2, 3, 4)), *dy = items(DIMS(2, 3, 4)),
            *y = items(DIMS(2, 3, 4));
  sm_tensor *w = whole(DIMS(4)), *b = whole(DIMS(4)), *dw = whole(DIMS(4)), *db = whole(DIMS(4));

  sm_tensor *m = whole(DIMS(5, 4)), *bias = whole(DIMS(5)), *dm = whole(DIMS(5, 4)), *dbias = whole(DIMS(5));
  sm_tensor *wide = items(DIMS(2, 3, 5));
  NODE(linear, IN(x, m, bias), OUT(items(DIMS(2, 3, 5))));
  NODE(linear_dx, IN(wide, m), OUT(dx));
  NODE(linear_dw, IN(wide, x), OUT(dm, dbias));
  plain(SM_OP_linear_dx, &linear_dx, 2);
  plain(SM_OP_linear_dw, &linear_dw, 1);
  derivative(SM_OP_linear, &linear, 2, wide, x, dx);
  derivative(SM_OP_linear, &linear, 2, wide, m, dm);
  derivative(SM_OP_linear, &linear, 2, wide, bias, dbias);

  NODE(gelu, IN(x), OUT(y));
  NODE(gelu_dx, IN(x, dy), OUT(dx));
  plain(SM_OP_gelu_dx, &gelu_dx, 2);
  derivative(SM_OP_gelu, &gelu, 2, dy, x, dx);

  sm_tensor *stats = items(DIMS(2, 3, 2));
  NODE(norm, IN(x, w, b), OUT(y, stats));
  NODE(norm_dx, IN(dy, x, w, stats, NULL), OUT(dx));
  NODE(norm_dw, IN(dy, x, stats), OUT(dw, db));
  norm.f[0] = 1e-2;
  plain(SM_OP_layer_norm, &norm, 2);
  plain(SM_OP_layer_norm_dx, &norm_dx, 2);
  plain(SM_OP_layer_norm_dw, &norm_dw, 1);
  derivative(SM_OP_layer_norm, &norm, 2, dy, w, dw);
  derivative(SM_OP_layer_norm, &norm, 2, dy, b, db);
  derivative(SM_OP_layer_norm, &norm, 2, dy, x, dx);

  sm_tensor *drop = items(DIMS(2, 3)), *before = items(DIMS(2, 3, 4));
  NODE(residual, IN(before, x, w, drop), OUT(y));
  NODE(residual_df, IN(dy, w, drop), OUT(dx));
  NODE(residual_dgamma, IN(dy, x, drop), OUT(dw));
  residual.i[0] = residual_df.i[0] = residual_dgamma.i[0] = 1;
  plain(SM_OP_residual_df, &residual_df, 2);
  plain(SM_OP_residual_dgamma, &residual_dgamma, 1);
  derivative(SM_OP_residual, &residual, 2, dy, x, dx);
  derivative(SM_OP_residual, &residual, 2, dy, w, dw);

  sm_tensor *qkv = items(DIMS(2, 3, 12)), *dqkv = items(DIMS(2, 3, 12)), *lse = items(DIMS(2, 2, 3));
  NODE(attention, IN(qkv), OUT(y, lse));
  NODE(attention_dx, IN(qkv, y, lse, dy), OUT(dqkv));
  attention.i[0] = attention_dx.i[0] = 2;
  attention.f[0] = attention_dx.f[0] = 0.8;
  plain(SM_OP_attention, &attention, 2);
  plain(SM_OP_attention_dx, &attention_dx, 2);
  derivative(SM_OP_attention, &attention, 2, dy, qkv, dqkv);

  sm_tensor *length = items(DIMS(2, 3, 1));
  NODE(l2, IN(x), OUT(y, length));
  NODE(l2_dx, IN(dy, y, length), OUT(dx));
  l2.f[0] = l2_dx.f[0] = 1.5; /* longer than some rows, shorter than others */
  plain(SM_OP_l2_normalize, &l2, 2);
  plain(SM_OP_l2_normalize_dx, &l2_dx, 2);
  derivative(SM_OP_l2_normalize, &l2, 2, dy, x, dx);
  end();
}

static void gradients_of_tokens_and_losses(void **state) {
  begin(SM_F64);
  sm_tensor *patches = items(DIMS(3, 4, 2)), *dpatches = items(DIMS(3, 4, 2)), *mask = bytes(DIMS(3, 4));
  sm_tensor *cls = whole(DIMS(1, 1, 2)), *pos = whole(DIMS(1, 5, 2)), *token = whole(DIMS(1, 2)),
            *dy = items(DIMS(3, 5, 2));
  sm_tensor *dcls = whole(DIMS(1, 1, 2)), *dpos = whole(DIMS(1, 5, 2)), *dtoken = whole(DIMS(1, 2));
  NODE(tokens, IN(patches, cls, pos, token, mask), OUT(items(DIMS(3, 5, 2))));
  NODE(dpatch, IN(dy, mask), OUT(dpatches));
  NODE(dparam, IN(dy, mask), OUT(dcls, dpos, dtoken));
  plain(SM_OP_tokens_dpatch, &dpatch, 3);
  plain(SM_OP_tokens_dparam, &dparam, 1);
  derivative(SM_OP_tokens, &tokens, 3, dy, patches, dpatches);
  derivative(SM_OP_tokens, &tokens, 3, dy, cls, dcls);
  derivative(SM_OP_tokens, &tokens, 3, dy, pos, dpos);
  derivative(SM_OP_tokens, &tokens, 3, dy, token, dtoken);

  sm_tensor *small = whole(DIMS(1, 7, 2)), *dsmall = whole(DIMS(1, 7, 2)), *dlarge = whole(DIMS(1, 13, 2));
  NODE(resize, IN(small), OUT(whole(DIMS(1, 13, 2))));
  NODE(resize_dx, IN(dlarge), OUT(dsmall));
  memcpy(resize.i, ((int64_t[]){2, 3, 3, 4, SM_RESIZE_DINO, 1}), sizeof resize.i);
  memcpy(resize_dx.i, resize.i, sizeof resize.i);
  plain(SM_OP_position_resize_dx, &resize_dx, 1);
  derivative(SM_OP_position_resize, &resize, 1, dlarge, small, dsmall);

  sm_tensor *v = whole(DIMS(3, 4)), *gain = whole(DIMS(3, 1)), *dw = whole(DIMS(3, 4));
  sm_tensor *dv = whole(DIMS(3, 4)), *dgain = whole(DIMS(3, 1));
  NODE(weight, IN(v, gain), OUT(whole(DIMS(3, 4))));
  NODE(weight_dv, IN(dw, v, gain), OUT(dv, dgain));
  plain(SM_OP_weight_norm_dv, &weight_dv, 1);
  derivative(SM_OP_weight_norm, &weight, 1, dw, v, dv);
  derivative(SM_OP_weight_norm, &weight, 1, dw, gain, dgain);

  for (int soft = 0; soft < 2; soft++) { /* the op overwrites its logits, so differences by hand */
    int op = soft ? SM_OP_xent_soft : SM_OP_xent_ids;
    sm_node n = cross_entropy(4, 5, 0.2, soft);
    sm_tensor *z = n.out[2], *start = copy_of(z), *gradient;
    plain(op, &n, 4);
    gradient = copy_of(z);
    for (int64_t k = 0; k < 4 * 5; k++) {
      double sides[2];
      for (int side = 0; side < 2; side++) {
        memcpy(z->plan->data, start->plan->data, size_of(z));
        set(z, k, get(start, k) + (side ? 1e-6 : -1e-6));
        plain(op, &n, 4);
        sides[side] = get(n.out[0], 0) + get(n.out[0], 1) + get(n.out[0], 2) + get(n.out[0], 3);
      }
      assert_true(fabs((sides[1] - sides[0]) / 2e-6 - get(gradient, k)) <= 1e-7);
    }
  }
  end();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(cross_entropy_of_known_numbers),
      cmocka_unit_test(sinkhorn_of_known_numbers),
      cmocka_unit_test(regression_of_known_numbers),
      cmocka_unit_test(layer_norm_of_one_to_four),
      cmocka_unit_test(weight_norm_of_three_and_four),
      cmocka_unit_test(gelu_of_one_and_minus_three),
      cmocka_unit_test(attention_of_two_tokens),
      cmocka_unit_test(position_resize_follows_torch),
      cmocka_unit_test(adamw_of_one_step),
      cmocka_unit_test(gradients_of_blocks),
      cmocka_unit_test(gradients_of_tokens_and_losses),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_kernels_pictures.c — kernels of pictures as tokens and of discrete codes: the fast ones against the
 * plain ones, the plain ones against known numbers. */
#include "kernel_check.h"

static void set_window(sm_node *n, int64_t height, int64_t width, int64_t side) {
  n->i[0] = height, n->i[1] = width, n->i[2] = side;
}

/* ---- convolution ------------------------------------------------------------------------------------- */

/* Height, width, window, C, O: windows larger than the picture, more columns than one tile, more rows than
 * one chunk. */
static const int64_t shapes[][5] = {
    {1, 1, 3, 1, 1}, {5, 4, 3, 3, 7}, {2, 3, 7, 3, 40}, {8, 8, 3, 48, 33}, {16, 16, 3, 20, 6}};

static void convolution_kernels(void **state) {
  EACH_REAL EACH_SIZE(b) for (int s = 0; s < 5; s++) {
    int64_t h = shapes[s][0], w = shapes[s][1], k = shapes[s][2], c = shapes[s][3], o = shapes[s][4];
    sm_grid grid = sm_product_grid(o, k * k * c);
    begin(real);
    sm_tensor *weight = whole(DIMS(o, c, k, k)), *ordered = whole(DIMS(o, k * k * c)),
              *turned = whole(DIMS(c, k * k * o)), *x = items(DIMS(*b, h * w, c)),
              *dy = items(DIMS(*b, h * w, o));
    NODE(order, IN(weight), OUT(ordered, turned));
    order.i[0] = k;
    check(SM_OP_conv_weight, &order, (o + SM_FILTER_TILE - 1) / SM_FILTER_TILE, 0);
    order.out[1] = NULL;
    check(SM_OP_conv_weight, &order, (o + SM_FILTER_TILE - 1) / SM_FILTER_TILE, 0);
    NODE(conv, IN(x, whole(DIMS(o, k * k * c)), whole(DIMS(o))), OUT(items(DIMS(*b, h * w, o))));
    set_window(&conv, h, w, k);
    check_both(SM_OP_conv, &conv, *b, 5e-6);
    conv.in[2] = NULL;
    check(SM_OP_conv, &conv, *b, 5e-6);
    NODE(dw, IN(dy, x), OUT(whole(DIMS(o, c, k, k)), whole(DIMS(o))));
    set_window(&dw, h, w, k);
    check_both(SM_OP_conv_dw, &dw, grid.row_tiles * grid.column_tiles, 5e-6);
    dw.out[1] = NULL;
    check(SM_OP_conv_dw, &dw, grid.row_tiles * grid.column_tiles, 5e-6);
    end();
  }
}

/* A picture of 1 … 4 (2×2) under a window whose only 1 stands above the middle: each pixel becomes the one
 * above it. */
static void convolution_of_known_numbers(void **state) {
  begin(SM_F64);
  sm_tensor *x = items(DIMS(1, 4, 1)), *w = whole(DIMS(1, 1, 3, 3)), *ordered = whole(DIMS(1, 9)),
            *turned = whole(DIMS(1, 9)), *y = items(DIMS(1, 4, 1)), *bias = whole(DIMS(1));
  for (int i = 0; i < 4; i++) set(x, i, i + 1);
  for (int i = 0; i < 9; i++) set(w, i, i == 1);
  set(bias, 0, 10);
  NODE(order, IN(w), OUT(ordered, turned));
  order.i[0] = 3;
  run(sm_kernels_find(SM_PLAIN, SM_F64, NULL), SM_OP_conv_weight, &order, 0, 1);
  assert_true(get(ordered, 1) == 1 && get(turned, 7) == 1); /* above becomes below */
  NODE(conv, IN(x, ordered, bias), OUT(y));
  set_window(&conv, 2, 2, 3);
  run(sm_kernels_find(SM_PLAIN, SM_F64, NULL), SM_OP_conv, &conv, 0, 1);
  static const double expected[] = {10, 10, 11, 12};
  for (int i = 0; i < 4; i++) assert_true(get(y, i) == expected[i]);
  end();
}

/* ---- ReLU, pooling, up-sampling ---------------------------------------------------------------------- */

static void resampling_kernels(void **state) {
  static const int64_t sides[][3] = {{2, 2, 1}, {4, 2, 19}, {6, 8, 64}};
  EACH_REAL EACH_SIZE(b) for (int s = 0; s < 3; s++) {
    int64_t h = sides[s][0], w = sides[s][1], c = sides[s][2];
    begin(real);
    sm_tensor *x = items(DIMS(*b, h * w, c)), *half = items(DIMS(*b, h * w / 4, c)),
              *twice = items(DIMS(*b, 4 * h * w, c));
    for (int64_t e = 0; e < *b * h * w * c; e += 3) set(x, e, 0.5); /* equal values in a window */
    NODE(relu, IN(x), OUT(items(DIMS(*b, h * w, c))));
    check(SM_OP_relu, &relu, *b, 0);
    NODE(relu_dx, IN(x, items(DIMS(*b, h * w, c))), OUT(items(DIMS(*b, h * w, c))));
    check_both(SM_OP_relu_dx, &relu_dx, *b, 1e-7);
    NODE(pool, IN(x), OUT(items(DIMS(*b, h * w / 4, c))));
    set_window(&pool, h, w, 2);
    check(SM_OP_max_pool, &pool, *b, 0);
    NODE(pool_dx, IN(x, half), OUT(items(DIMS(*b, h * w, c))));
    set_window(&pool_dx, h, w, 2);
    check_both(SM_OP_max_pool_dx, &pool_dx, *b, 1e-7);
    NODE(up, IN(x), OUT(items(DIMS(*b, 4 * h * w, c))));
    set_window(&up, h, w, 2);
    check(SM_OP_upsample, &up, *b, 0);
    NODE(up_dx, IN(twice), OUT(items(DIMS(*b, h * w, c))));
    set_window(&up_dx, h, w, 2);
    check_both(SM_OP_upsample_dx, &up_dx, *b, 1e-6);
    end();
  }
}

/* ---- discrete codes ---------------------------------------------------------------------------------- */

static void code_kernels(void **state) {
  static const int64_t widths[] = {1, 5, 64, 130, 1025};
  EACH_REAL EACH_SIZE(b) for (int s = 0; s < 5; s++) {
    int64_t t = 3, k = widths[s];
    begin(real);
    sm_tensor *z = items(DIMS(*b, t, k)), *key = blank(SM_I32, DIMS(3)), *inv_tau = scalar(1.7);
    set(key, 0, 12345), set(key, 1, -7), set(key, 2, 40);
    NODE(gumbel, IN(z, inv_tau, key), OUT(items(DIMS(*b, t, k))));
    check(SM_OP_gumbel_softmax, &gumbel, *b, 5e-6);
    NODE(gumbel_dx, IN(items(DIMS(*b, t, k)), items(DIMS(*b, t, k)), inv_tau), OUT(items(DIMS(*b, t, k))));
    check_both(SM_OP_gumbel_softmax_dx, &gumbel_dx, *b, 5e-6);
    NODE(kl, IN(z), OUT(items(DIMS(*b))));
    check(SM_OP_kl_uniform, &kl, *b, 5e-6);
    NODE(kl_dx, IN(z, items(DIMS(*b))), OUT(items(DIMS(*b, t, k))));
    check_both(SM_OP_kl_uniform_dx, &kl_dx, *b, 5e-6);
    NODE(by, IN(z, inv_tau), OUT(items(DIMS(*b, t, k))));
    check_both(SM_OP_scale_by, &by, *b, 1e-6);
    end();
  }
}

static void reconstruction_kernels(void **state) {
  EACH_REAL EACH_SIZE(b) {
    begin(real);
    int64_t t = 70, c = 3;
    sm_tensor *p = items(DIMS(*b, t, 2 * c)), *x = items(DIMS(*b, t, c)), *q = items(DIMS(*b, t, c));
    for (int64_t e = 0; e < *b * t * c; e++) set(x, e, 0.1 + 0.8 * sm_rng_uniform(&now.rng));
    NODE(error, IN(q, x), OUT(items(DIMS(*b))));
    check(SM_OP_squared_error, &error, *b, 2e-6);
    NODE(error_dx, IN(q, x, items(DIMS(*b))), OUT(items(DIMS(*b, t, c))));
    check_both(SM_OP_squared_error_dx, &error_dx, *b, 2e-6);
    NODE(nll, IN(p, x), OUT(items(DIMS(*b)), items(DIMS(*b))));
    check(SM_OP_logit_laplace, &nll, *b, 5e-6);
    NODE(nll_dx, IN(p, x, items(DIMS(*b))), OUT(items(DIMS(*b, t, 2 * c))));
    check_both(SM_OP_logit_laplace_dx, &nll_dx, *b, 1e-5);
    end();
  }
}

/* Location 0, scale 1 at x = ½: ln(2·½·½) = -ln 2, nothing off; a scale of e adds 1. */
static void logit_laplace_of_known_numbers(void **state) {
  begin(SM_F64);
  sm_tensor *p = items(DIMS(2, 1, 2)), *x = items(DIMS(2, 1, 1)), *nll = items(DIMS(2)), *e = items(DIMS(2));
  set(p, 0, 0), set(p, 1, 0), set(p, 2, 2), set(p, 3, 1), set(x, 0, 0.5), set(x, 1, 0.5);
  NODE(n, IN(p, x), OUT(nll, e));
  run(sm_kernels_find(SM_PLAIN, SM_F64, NULL), SM_OP_logit_laplace, &n, 0, 2);
  assert_float_equal(get(nll, 0), -log(2), 1e-12);
  assert_float_equal(get(nll, 1), -log(2) + 1 + 2 / exp(1), 1e-12);
  assert_float_equal(get(e, 0), 0, 1e-12);
  assert_float_equal(get(e, 1), pow(1 / (1 + exp(-2)) - 0.5, 2), 1e-12);
  end();
}

/* Gumbel noise: at temperature 1 the largest element falls on k as often as softmax says, and the draw of an
 * item is the same wherever in a batch it stands. */
static void gumbel_noise_samples_the_softmax(void **state) {
  begin(SM_F32);
  enum { N = 4000, K = 3 };
  static const double p[K] = {0.5, 0.3, 0.2};
  sm_tensor *z = items(DIMS(N, 1, K)), *y = items(DIMS(N, 1, K)), *key = blank(SM_I32, DIMS(3));
  for (int64_t e = 0; e < N * K; e++) set(z, e, log(p[e % K]));
  set(key, 0, 3);
  NODE(n, IN(z, scalar(1), key), OUT(y));
  const sm_kernel_table *table = sm_kernels_find(SM_CPU, SM_F32, NULL);
  run(table, SM_OP_gumbel_softmax, &n, 0, N);
  int hits[K] = {0};
  for (int i = 0; i < N; i++) {
    int best = 0;
    for (int k = 1; k < K; k++)
      if (get(y, i * K + k) > get(y, i * K + best)) best = k;
    hits[best]++;
  }
  for (int k = 0; k < K; k++) assert_true(fabs(hits[k] / (double)N - p[k]) < 4 * sqrt(p[k] * (1 - p[k]) / N));
  double ninth = get(y, 9 * K);
  set(key, 2, 9);
  run(table, SM_OP_gumbel_softmax, &n, 0, 1);
  assert_true(get(y, 0) == ninth);
  end();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(convolution_kernels),
      cmocka_unit_test(convolution_of_known_numbers),
      cmocka_unit_test(resampling_kernels),
      cmocka_unit_test(code_kernels),
      cmocka_unit_test(reconstruction_kernels),
      cmocka_unit_test(logit_laplace_of_known_numbers),
      cmocka_unit_test(gumbel_noise_samples_the_softmax),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

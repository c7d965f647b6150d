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

/* ---- strides, borders, groups ------------------------------------------------------------------------ */

/* Height, width, window, stride, border, groups, C, O: even windows, windows over both edges, one channel and
 * several per group, depthwise ones of more channels than a tile, more rows than one chunk. */
static const int64_t strided[][8] = {{1, 1, 3, 1, 1, 1, 1, 1},    {5, 4, 3, 2, 1, 1, 3, 7},
                                     {9, 8, 7, 2, 3, 1, 3, 40},   {4, 6, 2, 2, 0, 1, 5, 6},
                                     {5, 5, 1, 2, 0, 1, 48, 33},  {6, 5, 3, 2, 1, 4, 8, 12},
                                     {5, 6, 3, 1, 1, 3, 9, 6},    {10, 9, 3, 1, 1, 1, 20, 6},
                                     {7, 5, 3, 2, 1, 70, 70, 70}, {4, 4, 5, 1, 2, 3, 3, 3}};

static void set_strides(sm_node *n, const int64_t *s) {
  for (int k = 0; k < 6; k++) n->i[k] = s[k];
}

static void strided_kernels(void **state) {
  EACH_REAL EACH_SIZE(b) for (size_t s = 0; s < sizeof strided / sizeof *strided; s++) {
    const int64_t *at = strided[s], h = at[0], w = at[1], k = at[2], groups = at[5], c = at[6], o = at[7];
    const int64_t pixels = sm_window_count((int)h, (int)k, (int)at[3], (int)at[4]) *
                           sm_window_count((int)w, (int)k, (int)at[3], (int)at[4]);
    const bool across = groups == c && c == o;
    const sm_grid grid = sm_product_grid(o / groups, k * k * c / groups);
    begin(real);
    sm_tensor *ordered = across ? whole(DIMS(k * k, c)) : whole(DIMS(o, k * k * c / groups)),
              *x = items(DIMS(*b, h * w, c)), *dy = items(DIMS(*b, pixels, o));
    NODE(order, IN(whole(DIMS(o, c / groups, k, k))), OUT(whole(ordered->ndim, ordered->dim)));
    set_strides(&order, at);
    check(SM_OP_filter_order, &order, (o + SM_FILTER_TILE - 1) / SM_FILTER_TILE, 0);
    NODE(forward, IN(x, ordered, whole(DIMS(o))), OUT(items(DIMS(*b, pixels, o))));
    NODE(dx, IN(dy, ordered), OUT(items(DIMS(*b, h * w, c))));
    NODE(dw, IN(dy, x), OUT(whole(DIMS(o, c / groups, k, k)), whole(DIMS(o))));
    set_strides(&forward, at), set_strides(&dx, at), set_strides(&dw, at);
    check(across ? SM_OP_depthwise : SM_OP_convolve, &forward, *b, 5e-6);
    forward.in[2] = NULL;
    check(across ? SM_OP_depthwise : SM_OP_convolve, &forward, *b, 5e-6);
    check_both(across ? SM_OP_depthwise_dx : SM_OP_convolve_dx, &dx, *b, 5e-6);
    const int64_t tiles = across ? sm_column_tiles(c) : groups * grid.row_tiles * grid.column_tiles;
    check_both(across ? SM_OP_depthwise_dw : SM_OP_convolve_dw, &dw, tiles, 1e-5);
    dw.out[1] = NULL;
    check(across ? SM_OP_depthwise_dw : SM_OP_convolve_dw, &dw, tiles, 1e-5);
    end();
  }
}

static void pooling_kernels(void **state) {
  static const int64_t windows[][6] = {
      {1, 1, 1, 1, 0, 3}, {5, 4, 3, 2, 1, 70}, {6, 7, 2, 2, 0, 5}, {4, 5, 3, 1, 1, 2}};
  EACH_REAL EACH_SIZE(b) for (int s = 0; s < 4; s++) {
    const int64_t *at = windows[s], c = at[5];
    const int64_t pixels = sm_window_count((int)at[0], (int)at[2], (int)at[3], (int)at[4]) *
                           sm_window_count((int)at[1], (int)at[2], (int)at[3], (int)at[4]);
    begin(real);
    sm_tensor *x = items(DIMS(*b, at[0] * at[1], c)), *dy = items(DIMS(*b, pixels, c));
    for (int64_t e = 0; e < sm_elements(x); e += 3) /* some are equal */
      set(x, e, e < *b * at[0] * at[1] * c ? 0.5 : NAN);
    NODE(max, IN(x), OUT(items(DIMS(*b, pixels, c))));
    NODE(mean, IN(x), OUT(items(DIMS(*b, pixels, c))));
    NODE(max_dx, IN(x, dy), OUT(items(DIMS(*b, at[0] * at[1], c))));
    NODE(mean_dx, IN(dy), OUT(items(DIMS(*b, at[0] * at[1], c))));
    set_strides(&max, at), set_strides(&mean, at), set_strides(&max_dx, at), set_strides(&mean_dx, at);
    check(SM_OP_pool_max, &max, *b, 0);
    check_both(SM_OP_pool_max_dx, &max_dx, *b, 1e-6);
    check(SM_OP_pool_mean, &mean, *b, 1e-6);
    check_both(SM_OP_pool_mean_dx, &mean_dx, *b, 1e-6);
    end();
  }
}

static void resizing_kernels(void **state) {
  static const int64_t pairs[][5] = {{1, 1, 3, 2, 3}, {5, 4, 5, 9, 70}, {6, 7, 2, 3, 5}, {4, 4, 6, 6, 2}};
  EACH_REAL EACH_SIZE(b) for (int64_t s = 0; s < 8; s++) {
    const int64_t *at = pairs[s / 2], c = at[4];
    begin(real);
    NODE(forward, IN(items(DIMS(*b, at[0] * at[1], c))), OUT(items(DIMS(*b, at[2] * at[3], c))));
    NODE(dx, IN(items(DIMS(*b, at[2] * at[3], c))), OUT(items(DIMS(*b, at[0] * at[1], c))));
    for (int k = 0; k < 4; k++) forward.i[k] = at[k], dx.i[k] = at[k];
    forward.i[4] = dx.i[4] = s % 2 ? SM_RESAMPLE_MEAN : SM_RESAMPLE_BILINEAR;
    check(SM_OP_resample, &forward, *b, 2e-6);
    check_both(SM_OP_resample_dx, &dx, *b, 2e-6);
    end();
  }
}

/* torch's interpolate of 0, 1, 4, mode="bilinear", to 6 and to 2; adaptive_avg_pool2d of the same row to 2. */
static void resizing_of_known_numbers(void **state) {
  static const double up[] = {0, 0.25, 0.75, 1.75, 3.25, 4}, down[] = {0.25, 3.25}, means[] = {0.5, 2.5};
  static const struct {
    int64_t to, rule;
    const double *want;
  } known[] = {{6, SM_RESAMPLE_BILINEAR, up}, {2, SM_RESAMPLE_BILINEAR, down}, {2, SM_RESAMPLE_MEAN, means}};
  begin(SM_F64);
  for (int k = 0; k < 3; k++) {
    sm_tensor *x = items(DIMS(1, 3, 1)), *y = items(DIMS(1, known[k].to, 1));
    for (int i = 0; i < 3; i++) set(x, i, i * i);
    NODE(n, IN(x), OUT(y));
    n.i[0] = n.i[2] = 1, n.i[1] = 3, n.i[3] = known[k].to, n.i[4] = known[k].rule;
    run(sm_kernels_find(SM_PLAIN, SM_F64, NULL), SM_OP_resample, &n, 0, 1);
    for (int64_t i = 0; i < known[k].to; i++) assert_true(fabs(get(y, i) - known[k].want[i]) < 1e-12);
  }
  end();
}

static void hiding_kernels(void **state) {
  EACH_REAL EACH_SIZE(b) for (int64_t c = 3; c < 200; c += 97) {
    begin(real);
    sm_tensor *x = items(DIMS(*b, 24, c)), *mask = bytes(DIMS(*b, 6));
    NODE(hide, IN(x, whole(DIMS(1, c)), mask), OUT(items(DIMS(*b, 24, c))));
    NODE(dx, IN(items(DIMS(*b, 24, c)), mask), OUT(items(DIMS(*b, 24, c))));
    NODE(token, IN(items(DIMS(*b, 24, c)), mask), OUT(whole(DIMS(1, c))));
    for (sm_node *const *n = (sm_node *const[]){&hide, &dx, &token, NULL}; *n; n++)
      (*n)->i[0] = 4, (*n)->i[1] = 6, (*n)->i[2] = 2;
    check(SM_OP_hide_cells, &hide, *b, 0);
    check_both(SM_OP_hide_cells_dx, &dx, *b, 1e-6);
    check_both(SM_OP_hide_cells_dtoken, &token, sm_column_tiles(c), 1e-6);
    end();
  }
}

/* ---- batch norm -------------------------------------------------------------------------------------- */

static sm_tensor *spread(const sm_tensor *x) { /* values of 1/deviation: above 0 */
  sm_tensor *stats = whole(DIMS(2, x->dim[2]));
  for (int64_t e = x->dim[2]; e < sm_elements(stats); e++) set(stats, e, 0.5 + fabs(get(stats, e)));
  return stats;
}

/* Rows by item, columns: a part with one row, several parts, more than a tile of columns. */
static void batch_kernels(void **state) {
  static const int64_t batches[][2] = {{1, 3}, {5, 70}, {2800, 5}};
  EACH_REAL EACH_SIZE(b) for (int s = 0; s < 3; s++) {
    const int64_t rows = batches[s][0], c = batches[s][1];
    begin(real);
    sm_tensor *x = items(DIMS(*b, rows, c)), *dy = items(DIMS(*b, rows, c)), *stats = spread(x);
    const int64_t parts = sm_batch_parts(x->dim[0] * rows), tiles = sm_column_tiles(c);
    for (int64_t e = 0; e < *b * rows * c; e++) set(x, e, get(x, e) + 30); /* a mean far from 0 */
    NODE(sums, IN(x), OUT(whole(DIMS(parts, 2, c))));
    check(SM_OP_batch_sums, &sums, parts * tiles, 5e-6);
    sm_tensor *part = whole(DIMS(parts, 2, c));
    for (int64_t p = 0; p < parts; p++) /* spreads are not below 0 */
      for (int64_t e = 0; e < c; e++) set(part, (2 * p + 1) * c + e, fabs(get(part, (2 * p + 1) * c + e)));
    NODE(join, IN(part, x), OUT(whole(DIMS(2, c)), whole(DIMS(2 * c + 1))));
    join.f[0] = 1e-5;
    check(SM_OP_batch_stats, &join, tiles, 5e-6);
    join.out[1] = NULL;
    check(SM_OP_batch_stats, &join, tiles, 5e-6);
    sm_tensor *var = whole(DIMS(c));
    for (int64_t e = 0; e < c; e++) set(var, e, fabs(get(var, e)));
    NODE(fixed, IN(whole(DIMS(c)), var), OUT(whole(DIMS(2, c))));
    fixed.f[0] = 1e-5;
    check(SM_OP_batch_fixed, &fixed, tiles, 5e-6);
    NODE(norm, IN(x, stats, whole(DIMS(c)), whole(DIMS(c))), OUT(items(DIMS(*b, rows, c))));
    check(SM_OP_batch_norm, &norm, *b, 5e-6);
    NODE(gradient, IN(dy, x, stats), OUT(whole(DIMS(parts, 2, c))));
    check(SM_OP_batch_norm_sums, &gradient, parts * tiles, 1e-5);
    NODE(dw, IN(whole(DIMS(parts, 2, c))), OUT(whole(DIMS(2, c)), whole(DIMS(c)), whole(DIMS(c))));
    check(SM_OP_batch_norm_dw, &dw, tiles, 5e-6);
    dw.acc = 6;
    for (int k = 1; k < 3; k++)
      for (int64_t e = 0; e < c; e++) set(dw.out[k], e, sm_rng_normal(&now.rng));
    check(SM_OP_batch_norm_dw, &dw, tiles, 5e-6);
    NODE(dx, IN(dy, x, stats, whole(DIMS(c)), whole(DIMS(2, c))), OUT(items(DIMS(*b, rows, c))));
    check_both(SM_OP_batch_norm_dx, &dx, *b, 5e-6);
    dx.i[0] = 1;
    check_both(SM_OP_batch_norm_dx, &dx, *b, 5e-6);
    end();
  }
}

/* 1, 2, 3, 6: mean 3, variance 3.5 biased and 14/3 unbiased; the state keeps three quarters; then no rows
 * come. */
static void batch_norm_of_known_numbers(void **state) {
  static const double values[] = {1, 2, 3, 6};
  EACH_REAL for (sm_device device = SM_CPU; device <= SM_PLAIN; device++) {
    begin(real);
    const sm_kernel_table *table = sm_kernels_find(device, real, NULL);
    sm_tensor *x = items(DIMS(2, 2, 1)), *part = whole(DIMS(1, 2, 1)), *stats = whole(DIMS(2, 1)),
              *sums = whole(DIMS(3)), *mean = whole(DIMS(1)), *var = whole(DIMS(1));
    for (int i = 0; i < 4; i++) set(x, i, values[i]);
    for (int i = 0; i < 3; i++) set(sums, i, 0);
    set(mean, 0, 1), set(var, 0, 2);
    NODE(cut, IN(x), OUT(part));
    NODE(join, IN(part, x), OUT(stats, sums));
    join.f[0] = 1e-7;
    NODE(update, IN(scalar(0.25)), OUT(mean, var, sums));
    run(table, SM_OP_batch_sums, &cut, 0, 1);
    run(table, SM_OP_batch_stats, &join, 0, 1);
    assert_float_equal(get(stats, 0), 3, 1e-6);
    assert_float_equal(get(stats, 1), 1 / sqrt(3.5), 1e-6);
    assert_true(get(sums, 2) == 4);
    run(table, SM_OP_batch_update, &update, 0, 1);
    assert_float_equal(get(mean, 0), 0.75 * 1 + 0.25 * 3, 1e-6);
    assert_float_equal(get(var, 0), 0.75 * 2 + 0.25 * 14 / 3, 1e-6);
    assert_true(get(sums, 0) == 0 && get(sums, 1) == 0 && get(sums, 2) == 0);
    set(x->count, 0, 0);
    const double before = get(mean, 0);
    run(table, SM_OP_batch_sums, &cut, 0, 1);
    run(table, SM_OP_batch_stats, &join, 0, 1);
    run(table, SM_OP_batch_update, &update, 0, 1);
    assert_true(get(mean, 0) == before && isfinite(get(stats, 1)));
    end();
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(convolution_kernels),
      cmocka_unit_test(convolution_of_known_numbers),
      cmocka_unit_test(resampling_kernels),
      cmocka_unit_test(strided_kernels),
      cmocka_unit_test(pooling_kernels),
      cmocka_unit_test(resizing_kernels),
      cmocka_unit_test(resizing_of_known_numbers),
      cmocka_unit_test(hiding_kernels),
      cmocka_unit_test(batch_kernels),
      cmocka_unit_test(batch_norm_of_known_numbers),
      cmocka_unit_test(code_kernels),
      cmocka_unit_test(reconstruction_kernels),
      cmocka_unit_test(logit_laplace_of_known_numbers),
      cmocka_unit_test(gumbel_noise_samples_the_softmax),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

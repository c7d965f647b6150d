/* test_gradients_losses.c — the gradients of losses, pictures and codes, as test_gradients.c sees those of
 * layers. */
#include "gradient_rig.h"

/* ---- losses -------------------------------------------------------------------------------------------- */

static void c_xent(void) {
  sm_target t = soft_target(3, 11, true);
  pairs = sm_pairs_new(b->g, "pairs", 6, 4);
  sm_tensor *logits = sm_linear(b->g, param(2, 4, 5, 0), param(2, 11, 5, 0), NULL);
  sm_xent_out out = sm_xent(b->g, logits, sm_scalar(b->g, "inv_tau", 3), &t, pairs);
  b->term = out.loss;
  sm_loss_term(b->g, out.loss);
}
static void c_xent_ids(void) {
  sm_target soft = soft_target(3, 11, false);
  sm_target t = {
      .form = SM_TARGET_IDS, .dim = 11, .ids = sm_argmax(b->g, sm_scale(b->g, soft.logits, 1), NULL)};
  pairs = sm_pairs_new(b->g, "pairs", 6, 4);
  sm_tensor *logits = sm_linear(b->g, param(2, 4, 5, 0), param(2, 11, 5, 0), NULL);
  sm_xent_out out = sm_xent(b->g, logits, sm_scalar(b->g, "inv_tau", 1.5), &t, pairs);
  b->term = out.loss;
  sm_loss_term(b->g, out.loss);
}

/* Predictions are used twice, so that gradients meet; differences lie on both sides of beta. */
static void regression(sm_penalty penalty) {
  sm_target t = {.form = SM_TARGET_VECTORS, .dim = 11, .vectors = fixed_real(2, 3, 11, 0)};
  pairs = sm_pairs_new(b->g, "pairs", 6, 4);
  sm_tensor *x = sm_linear(b->g, param(2, 4, 5, 0), param(2, 11, 5, 0), NULL);
  sm_loss_term(b->g, sm_regression(b->g, x, penalty, 0.6, &t, pairs));
  finish(sm_scale(b->g, sm_regression(b->g, x, penalty, 0.6, &t, pairs), 2));
}
static void c_regression_l2(void) { regression(SM_L2); }
static void c_regression_l1(void) { regression(SM_L1); }
static void c_regression_smooth(void) { regression(SM_SMOOTH_L1); }

/* ---- pictures and codes -------------------------------------------------------------------------------- */

static sm_tensor *filter(int64_t out, int64_t in, int64_t side) {
  sm_tensor *w = param(3, out, in, side * side);
  w->ndim = 4, w->dim[2] = w->dim[3] = side;
  return w;
}
static void c_conv(void) { /* two in a row, so that one passes its gradient on; one weight is used twice */
  sm_tensor *x = computed(param(3, 2, 12, 3)), *w = filter(3, 3, 3), *bias = param(1, 3, 0, 0);
  x = sm_conv2d(b->g, sm_conv2d(b->g, x, w, bias, 3, 4), w, NULL, 3, 4);
  finish(sm_conv2d(b->g, x, filter(5, 3, 1), param(1, 5, 0, 0), 3, 4));
}
static void c_conv_wide(void) {
  finish(sm_conv2d(b->g, computed(param(3, 2, 4, 2)), filter(3, 2, 7), NULL, 2, 2));
}
static void c_pictures(void) {
  sm_tensor *x = sm_relu(b->g, computed(param(3, 2, 24, 3)));
  x = sm_add(b->g, x, computed(param(3, 2, 24, 3)));
  finish(sm_upsample(b->g, sm_max_pool(b->g, x, 4, 6), 2, 3));
}
/* Weights (out, in, side, side) in a parameter of 3 dimensions; two layers, so that gradients go on. */
static void convolve(int64_t channels, int64_t out, int64_t side, int stride, int pad, int groups,
                     bool bias) {
  const sm_conv_shape first = {5, 4, stride, pad, groups};
  const int h = sm_window_count(5, (int)side, stride, pad), w = sm_window_count(4, (int)side, stride, pad);
  sm_tensor *x = computed(param(3, 2, 20, channels));
  x = sm_convolve(b->g, x, filter(out, channels / groups, side), bias ? param(1, out, 0, 0) : NULL, &first);
  finish(sm_convolve(b->g, x, filter(2, out, 1), NULL, &(sm_conv_shape){.height = h, .width = w}));
}
static void c_convolve(void) { convolve(3, 4, 3, 2, 1, 1, true); }
static void c_convolve_even(void) { convolve(2, 3, 2, 2, 0, 1, false); }
static void c_convolve_wide(void) { convolve(2, 3, 7, 3, 3, 1, false); }
static void c_convolve_groups(void) { convolve(4, 6, 3, 2, 1, 2, true); }
static void c_convolve_points(void) { convolve(4, 6, 1, 2, 0, 2, true); }
static void c_depthwise(void) { convolve(3, 3, 3, 2, 1, 3, true); }
static void c_depthwise_same(void) { convolve(4, 4, 5, 1, 2, 4, false); }
static void c_pooling(void) {
  sm_tensor *x = computed(param(3, 2, 30, 3));
  x = sm_add(b->g, sm_pool_max(b->g, x, &(sm_pool_shape){6, 5, 3, 2, 1}),
             sm_pool_mean(b->g, x, &(sm_pool_shape){6, 5, 3, 2, 1}));
  finish(sm_pool_mean(b->g, x, &(sm_pool_shape){.height = 3, .width = 3, .side = 2, .stride = 1}));
}
static void c_resample(void) { /* up, down, and a map that is used twice */
  sm_tensor *x = computed(param(3, 2, 20, 3));
  sm_tensor *y = sm_resample(b->g, x, SM_RESAMPLE_BILINEAR, 5, 4, 7, 3);
  y = sm_add(b->g, y, sm_resample(b->g, x, SM_RESAMPLE_MEAN, 5, 4, 7, 3));
  finish(sm_resample(b->g, y, SM_RESAMPLE_BILINEAR, 7, 3, 2, 6));
}
static void c_split(void) {
  sm_tensor *x = computed(param(3, 2, 6, 8));
  sm_tensor *y = sm_merge_tokens(b->g, sm_split_tokens(b->g, x, 3, 2), 6, 4);
  finish(sm_split_tokens(b->g, sm_add(b->g, x, sm_scale(b->g, y, 2)), 2, 3));
}
static void c_hide_cells(void) {
  byte_mask = sm_input(b->g, "mask", SM_U8, 2, (int64_t[]){3, 4}, NULL);
  finish(sm_hide_cells(b->g, computed(param(3, 3, 16, 5)), param(2, 1, 5, 0), byte_mask, 4, 4, 2));
}
static double running_values[2][8] = {{.3, -.2, .1, 0, 0, .4, -1, .2}, {1, 2, .5, .8, 1.5, 1, .7, .3}};
static sm_running running(int64_t c) {
  return (sm_running){sm_external(b->g, "mean", SM_F64, 1, &c, running_values[0], NULL),
                      sm_external(b->g, "var", SM_F64, 1, &c, running_values[1], NULL), 0.1};
}
static void batch_norm(bool training) {
  const sm_running r = running(5);
  sm_tensor *x = computed(param(3, 3, 4, 5)), *w = param(1, 5, 0, 0), *shift = param(1, 5, 0, 0);
  x = sm_gelu(b->g, sm_batch_norm(b->g, x, w, shift, &r, 1e-5, training)); /* gain and shift are used twice */
  finish(sm_add(b->g, x, sm_batch_norm(b->g, x, w, shift, training ? NULL : &r, 1e-3, training)));
}
static void c_batch_norm(void) { batch_norm(true); }
static void c_batch_norm_fixed(void) { batch_norm(false); }
static void c_residual_convolutions(void) { /* as in a residual network, made again between borders */
  const sm_running r = running(3);
  sm_graph_recompute(b->g, true);
  sm_tensor *x = sm_block_border(b->g, computed(param(3, 2, 20, 3)));
  for (int i = 0; i < 2; i++) {
    sm_tensor *y = sm_convolve(b->g, x, filter(3, 3, 3), NULL, &(sm_conv_shape){5, 4, 1, 1, 1});
    y = sm_batch_norm(b->g, y, param(1, 3, 0, 0), param(1, 3, 0, 0), &r, 1e-5, true);
    x = sm_block_border(b->g, sm_relu(b->g, sm_add(b->g, y, x)));
  }
  finish(sm_mean_tokens(b->g, x, 0));
}
static void c_codes(void) {
  sm_tensor *key = sm_input(b->g, "key", SM_I32, 1, (int64_t[]){3}, NULL), *z = computed(param(3, 2, 3, 7));
  sm_tensor *tau = sm_scalar(b->g, "1/temperature", 0.8);
  sm_loss_term(b->g, sm_scale_by(b->g, sm_kl_uniform(b->g, z), tau));
  finish(sm_gumbel_softmax(b->g, z, tau, key));
}
static void c_reconstruction(void) {
  sm_tensor *p = computed(param(3, 2, 5, 6)), *x = fixed_real(3, 2, 5, 3), *q = computed(param(3, 2, 5, 3));
  for (int i = 0; i < 30; i++) fixed[n_fixed - 1].value[i] = 1 / (1 + exp(-fixed[n_fixed - 1].value[i]));
  sm_loss_term(b->g, sm_squared_error(b->g, q, x));
  finish(sm_logit_laplace(b->g, p, x, NULL));
}

static const gradient_case cases[] = {{"xent, soft", c_xent},
                                      {"xent, ids", c_xent_ids},
                                      {"regression, l2", c_regression_l2},
                                      {"regression, l1", c_regression_l1},
                                      {"regression, smooth l1", c_regression_smooth},
                                      {"convolutions", c_conv},
                                      {"convolution, window over the edge", c_conv_wide},
                                      {"relu, max_pool, upsample", c_pictures},
                                      {"convolution with a stride", c_convolve},
                                      {"convolution, even window", c_convolve_even},
                                      {"convolution, stride and window over the edge", c_convolve_wide},
                                      {"convolution in groups", c_convolve_groups},
                                      {"convolution of points in groups", c_convolve_points},
                                      {"depthwise convolution with a stride", c_depthwise},
                                      {"depthwise convolution", c_depthwise_same},
                                      {"pooling", c_pooling},
                                      {"resample", c_resample},
                                      {"split_tokens", c_split},
                                      {"hidden cells", c_hide_cells},
                                      {"batch norm", c_batch_norm},
                                      {"batch norm by its running state", c_batch_norm_fixed},
                                      {"residual convolutions made again", c_residual_convolutions},
                                      {"gumbel_softmax, kl_uniform", c_codes},
                                      {"squared_error, logit_laplace", c_reconstruction}};

static void every_gradient(void **state) { check_cases(cases, sizeof cases / sizeof *cases); }

static void any_number_of_threads(void **state) { check_threads(cases, sizeof cases / sizeof *cases); }

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(every_gradient),
                                     cmocka_unit_test(any_number_of_threads)};
  return cmocka_run_group_tests_name("gradients of losses", tests, NULL, NULL);
}

/* test_gradients.c — the gradients of layers against central differences in double, and what a graph
 * promises: the same bits for any number of threads, counts of 0, accumulation, errors that name what is
 * wrong. Losses, pictures and codes are in test_gradients_losses.c. */
#include "gradient_rig.h"

/* ---- the cases ------------------------------------------------------------------------------------- */

static void c_linear(void) {
  sm_tensor *x = computed(param(3, 3, 5, 7)), *w = param(2, 4, 7, 0);
  finish(sm_linear(b->g, x, w, param(1, 4, 0, 0)));
}
static void c_linear_no_bias(void) { finish(sm_linear(b->g, param(2, 5, 3, 0), param(2, 9, 3, 0), NULL)); }
static void c_linear_twice(void) { /* one weight used twice, in a chain */
  sm_tensor *w = param(2, 6, 6, 0), *x = param(2, 4, 6, 0);
  finish(sm_linear(b->g, sm_gelu(b->g, sm_linear(b->g, x, w, NULL)), w, NULL));
}
static void c_gelu(void) { finish(sm_gelu(b->g, param(2, 4, 33, 0))); }
static void c_layer_norm_bare(void) {
  finish(sm_layer_norm(b->g, computed(param(3, 2, 3, 17)), NULL, NULL, 1e-6));
}
static void c_layer_norm(void) {
  finish(sm_layer_norm(b->g, computed(param(3, 2, 3, 17)), param(1, 17, 0, 0), param(1, 17, 0, 0), 1e-6));
}
static void c_residual_plain(void) {
  finish(sm_residual(b->g, computed(param(3, 2, 3, 5)), computed(param(3, 2, 3, 5)), NULL, NULL, 0));
}
static void c_residual_full(void) {
  finish(sm_residual(b->g, computed(param(3, 3, 2, 70)), computed(param(3, 3, 2, 70)), param(1, 70, 0, 0),
                     fixed_real(2, 3, 2, 0), 1));
}
static void c_mlp(void) { /* hidden values are kept, and their gradients written over them */
  sm_tensor *x = computed(param(2, 9, 5, 0));
  for (int i = 0; i < 2; i++) x = sm_gelu(b->g, sm_linear(b->g, x, param(2, 5, 5, 0), param(1, 5, 0, 0)));
  finish(sm_linear(b->g, x, param(2, 5, 5, 0), NULL));
}
static void c_block(void) { /* pre-norm block: aliased and shared gradients meet */
  sm_tensor *x = computed(param(3, 2, 3, 6)), *w = param(1, 6, 0, 0), *bias = param(1, 6, 0, 0),
            *m = param(2, 6, 6, 0);
  for (int i = 0; i < 2; i++)
    x = sm_residual(b->g, x, sm_linear(b->g, sm_layer_norm(b->g, x, w, bias, 1e-6), m, NULL), NULL, NULL, 0);
  finish(sm_add(b->g, sm_layer_norm(b->g, x, w, bias, 1e-6), x));
}
static void c_attention(void) { finish(sm_attention(b->g, computed(param(3, 2, 5, 24)), 2)); }
static void c_attention_one(void) { finish(sm_attention(b->g, computed(param(3, 1, 1, 12)), 4)); }
static void windowed(sm_window w, int height, int width, int across, int heads) {
  const int rows = (2 * w.rows - 1) * (2 * w.cols - 1);
  sm_tensor *table = param(2, rows, heads, 0), *bias = sm_relative_bias(b->g, table, &w);
  sm_tensor *x = sm_windows(b->g, computed(param(3, 2, height * width, 4)), height, width, &w);
  for (int i = 0; i < 2; i++) { /* one bias serves two blocks */
    sm_tensor *qkv = sm_linear(b->g, x, param(2, 12, 4, 0), NULL);
    x = sm_attention_biased(b->g, qkv, bias, across);
  }
  finish(sm_merge_tokens(b->g, sm_unwindows(b->g, x, height, width, &w), height, width));
}
static void c_windows(void) { windowed((sm_window){.rows = 2, .cols = 3}, 2, 3, 1, 2); }
static void c_windows_shifted(void) { windowed((sm_window){.rows = 3, .cols = 2, .shift = 1}, 5, 5, 3, 2); }
static void c_attention_prefix(void) {
  const sm_window w = {.rows = 2, .cols = 2, .prefix = 1};
  sm_tensor *bias = sm_relative_bias(b->g, param(2, 12, 3, 0), &w);
  finish(sm_attention_biased(b->g, computed(param(3, 2, 5, 18)), bias, 1));
}
static void c_tokens(void) {
  byte_mask = sm_input(b->g, "mask", SM_U8, 2, (int64_t[]){3, 4}, NULL);
  finish(sm_tokens(b->g, computed(param(3, 3, 4, 5)), param(3, 1, 1, 5), param(3, 1, 5, 5), param(2, 1, 5, 0),
                   byte_mask));
}
static void c_tokens_no_mask(void) {
  finish(sm_tokens(b->g, computed(param(3, 3, 4, 5)), param(3, 1, 1, 5), param(3, 1, 5, 5), NULL, NULL));
}
static void c_tokens_no_class(void) {
  byte_mask = sm_input(b->g, "mask", SM_U8, 2, (int64_t[]){3, 4}, NULL);
  finish(sm_tokens(b->g, computed(param(3, 3, 4, 5)), NULL, param(3, 1, 4, 5), param(2, 1, 5, 0), byte_mask));
}
static void c_tokens_mask_alone(void) {
  byte_mask = sm_input(b->g, "mask", SM_U8, 2, (int64_t[]){3, 4}, NULL);
  finish(sm_tokens(b->g, computed(param(3, 3, 4, 5)), NULL, NULL, param(2, 1, 5, 0), byte_mask));
}
static void c_patches(void) {
  sm_tensor *pictures = fixed_real(3, 2, 3, 16);
  pictures->ndim = 4, pictures->dim[2] = 4, pictures->dim[3] = 4;
  finish(sm_linear(b->g, sm_patchify(b->g, pictures, 2), param(2, 5, 12, 0), param(1, 5, 0, 0)));
}
static void c_patches_back(void) { /* pictures that want a gradient too, twice */
  sm_tensor *flat = param(3, 2, 3, 24);
  flat->ndim = flat->grad->ndim = 4;
  flat->dim[2] = flat->grad->dim[2] = 4, flat->dim[3] = flat->grad->dim[3] = 6;
  sm_tensor *pictures = sm_scale(b->g, flat, 0.5);
  sm_tensor *coarse = sm_linear(b->g, sm_patchify(b->g, pictures, 2), param(2, 5, 12, 0), NULL);
  finish(sm_add(b->g, coarse, sm_linear(b->g, sm_patchify(b->g, flat, 2), param(2, 5, 12, 0), NULL)));
}
static void c_position(void) { finish(sm_position_resize(b->g, param(3, 1, 1 + 16, 3), 4, 4, 3, 2)); }
static void c_position_up(void) { finish(sm_position_resize(b->g, param(3, 1, 1 + 6, 70), 2, 3, 5, 4)); }
static void c_position_exact(void) {
  finish(sm_position_resize_by(b->g, param(3, 1, 2 + 6, 5), SM_RESIZE_EXACT, 2, 2, 3, 5, 4));
}
static void c_position_smooth(void) {
  finish(sm_position_resize_by(b->g, param(3, 1, 20, 5), SM_RESIZE_ANTIALIAS, 0, 5, 4, 3, 6));
}
static void c_take(void) { /* the class token stays, one token of another kind goes, some places are filled */
  index_list = sm_input(b->g, "index", SM_I32, 2, (int64_t[]){3, 4}, NULL);
  sm_tensor *x = computed(param(3, 3, 5, 7));
  x = sm_take(b->g, x, 1, 2, index_list, param(1, 7, 0, 0));
  finish(sm_insert_tokens(b->g, x, param(3, 1, 2, 7), 1));
}
static void c_take_all(void) {
  index_list = sm_input(b->g, "index", SM_I32, 2, (int64_t[]){3, 4}, NULL);
  sm_tensor *x = computed(param(3, 3, 3, 70));
  finish(sm_add(b->g, sm_take(b->g, x, 0, 0, index_list, NULL),
                sm_insert_tokens(b->g, x, param(3, 1, 1, 70), 3)));
}
static void c_swiglu(void) { finish(sm_swiglu(b->g, computed(param(3, 2, 3, 10)))); }
static void c_head_norm(void) {
  sm_tensor *x = computed(param(3, 2, 3, 18));
  x = sm_head_norm(b->g, x, 0, 2, param(1, 3, 0, 0), param(1, 3, 0, 0), 1e-2);
  x = sm_head_norm(b->g, x, 6, 2, param(1, 3, 0, 0), param(1, 3, 0, 0), 1e-2);
  finish(sm_attention(b->g, x, 2));
}
static void c_gather(void) {
  row_set = sm_rows_new(b->g, "rows", 8, 3, 5, NULL);
  n_rows = 5;
  memcpy(row_list, (int32_t[]){0, 14, 3, 7, 5}, 5 * sizeof(int32_t));
  finish(sm_gather(b->g, computed(param(3, 3, 5, 4)), row_set));
}
static void c_gather_two_ways(void) {
  row_set = sm_rows_new(b->g, "rows", 8, 3, 5, NULL);
  n_rows = 2;
  memcpy(row_list, (int32_t[]){4, 9}, 2 * sizeof(int32_t));
  sm_tensor *x = computed(param(3, 3, 5, 4)), *y = sm_gather(b->g, x, row_set);
  sm_loss_term(b->g, sm_sum(b->g, sm_mul(b->g, y, y)));
  finish(sm_drop_prefix(b->g, x, 1));
}
static void c_mean_tokens(void) {
  sm_tensor *x = computed(param(3, 3, 5, 4)), *y = sm_mean_tokens(b->g, x, 2);
  sm_loss_term(b->g, sm_sum(b->g, sm_mul(b->g, x, x)));
  finish(y);
}
static void c_l2(void) { finish(sm_l2_normalize(b->g, computed(param(2, 6, 9, 0)), 1e-12)); }
static void c_weight_norm(void) {
  finish(
      sm_linear(b->g, param(2, 3, 4, 0), sm_weight_norm(b->g, param(2, 7, 4, 0), param(2, 7, 1, 0)), NULL));
}
static void c_weight_norm_twice(void) { /* one result, in which both gradients meet */
  sm_tensor *v = param(2, 5, 5, 0), *gain = param(2, 5, 1, 0), *w = sm_weight_norm(b->g, v, gain);
  sm_tensor *x = sm_linear(b->g, param(2, 3, 5, 0), w, NULL);
  assert_ptr_equal(sm_weight_norm(b->g, v, gain), w);
  finish(sm_linear(b->g, x, sm_weight_norm(b->g, v, gain), NULL));
}
/* Two blocks of all that keeps values for its gradient, also tiled ops and a sum that must not be made twice;
 * then a value from inside a block and one from behind the last. */
static void blocks(bool again) {
  sm_graph_recompute(b->g, again);
  sm_tensor *x = sm_block_border(b->g, computed(param(3, 2, 3, 6))), *inside = NULL;
  sm_tensor *w = param(1, 6, 0, 0), *bias = param(1, 6, 0, 0), *gamma = param(1, 6, 0, 0),
            *qkv = param(2, 18, 6, 0), *v = param(2, 6, 6, 0), *gain = param(2, 6, 1, 0);
  sm_tensor *acc = sm_accumulator(b->g, "sum", 1, (int64_t[]){6});
  for (int i = 0; i < 2; i++) {
    inside = sm_layer_norm(b->g, x, w, bias, 1e-6);
    inside = sm_attention(b->g, sm_linear(b->g, inside, qkv, NULL), 2);
    sm_sum_rows_into(b->g, inside, acc);
    sm_tensor *f = sm_linear(b->g, sm_gelu(b->g, inside), sm_weight_norm(b->g, v, gain), NULL);
    f = sm_mul(b->g, f, sm_l2_normalize(b->g, f, 1e-12));
    x = sm_block_border(b->g, sm_residual(b->g, x, f, gamma, NULL, 0));
  }
  finish(sm_mul(b->g, sm_gelu(b->g, x), inside));
}
static void c_blocks(void) { blocks(false); }
static void c_blocks_again(void) { blocks(true); }
static void c_small(void) {
  sm_tensor *x = param(2, 4, 5, 0), *y = param(2, 4, 5, 0);
  finish(sm_scale(b->g, sm_add(b->g, sm_mul(b->g, x, y), sm_mul(b->g, x, x)), -0.5));
}
static void c_counted(void) { /* two of four items count */
  b->count = sm_count(b->g, "count", 2);
  sm_tensor *x = sm_input_real(b->g, "x", 2, (int64_t[]){4, 5}, b->count);
  filled *f = &fixed[n_fixed++];
  f->t = x;
  for (int i = 0; i < 20; i++) f->value[i] = draw();
  finish(sm_gelu(b->g, sm_linear(b->g, x, param(2, 3, 5, 0), param(1, 3, 0, 0))));
}

static const gradient_case cases[] = {{"linear", c_linear},
                                      {"linear without bias", c_linear_no_bias},
                                      {"linear, shared weight", c_linear_twice},
                                      {"gelu", c_gelu},
                                      {"layer_norm", c_layer_norm},
                                      {"layer_norm without gain", c_layer_norm_bare},
                                      {"residual", c_residual_plain},
                                      {"residual with scale and drop path", c_residual_full},
                                      {"mlp", c_mlp},
                                      {"block", c_block},
                                      {"attention", c_attention},
                                      {"attention, one token", c_attention_one},
                                      {"windows", c_windows},
                                      {"windows, padded and shifted", c_windows_shifted},
                                      {"attention with a bias and a prefix", c_attention_prefix},
                                      {"tokens", c_tokens},
                                      {"tokens without mask", c_tokens_no_mask},
                                      {"tokens without class", c_tokens_no_class},
                                      {"tokens, mask alone", c_tokens_mask_alone},
                                      {"patchify", c_patches},
                                      {"patchify, by pictures", c_patches_back},
                                      {"position_resize down", c_position},
                                      {"position_resize up", c_position_up},
                                      {"position_resize, exactly", c_position_exact},
                                      {"position_resize, antialiased", c_position_smooth},
                                      {"take and insert", c_take},
                                      {"take of all, insert at the end", c_take_all},
                                      {"swiglu", c_swiglu},
                                      {"head_norm", c_head_norm},
                                      {"gather", c_gather},
                                      {"gather and drop_prefix", c_gather_two_ways},
                                      {"mean of tokens", c_mean_tokens},
                                      {"l2_normalize", c_l2},
                                      {"weight_norm", c_weight_norm},
                                      {"weight_norm, shared", c_weight_norm_twice},
                                      {"blocks", c_blocks},
                                      {"blocks made again", c_blocks_again},
                                      {"add, mul, scale, sum", c_small},
                                      {"counted items", c_counted}};

/* ---- what a graph promises ----------------------------------------------------------------------------- */

static void every_gradient(void **state) { check_cases(cases, sizeof cases / sizeof *cases); }

static void any_number_of_threads(void **state) { check_threads(cases, sizeof cases / sizeof *cases); }

static void gradients_add_up(void **state) {
  open_case(&cases[0], 2, SM_CPU);
  loss();
  double once = b->grad[1][3];
  sm_graph_run(b->g, b->pass);
  assert_true(fabs(b->grad[1][3] - 2 * once) < 1e-12 * fabs(once));
  close_case();
}

static const gradient_case *case_of(void (*build)(void)) {
  const gradient_case *c = cases;
  while (c->build != build) c++;
  return c;
}

/* Making blocks again changes what is done, not what comes out. */
static void made_again(void **state) {
  double kept[PARAMS][MAX];
  int nodes = 0;
  for (int again = 0; again < 2; again++) {
    sm_plan_report plan;
    open_case(case_of(again ? c_blocks_again : c_blocks), 2, SM_CPU);
    loss();
    sm_graph_report(b->g, &plan);
    if (!again) memcpy(kept, b->grad, sizeof kept);
    else assert_memory_equal(kept, b->grad, sizeof kept);
    assert_true(!again || plan.nodes > nodes);
    nodes = plan.nodes;
    close_case();
  }
}

static void gradients_take_places(void **state) {
  open_case(case_of(c_mlp), 2, SM_CPU);
  const sm_pass *p = &b->g->pass[b->pass];
  int found = 0;
  for (int i = 0; i < p->n; i++) {
    const sm_node *n = p->node[i];
    if (strcmp(n->op->name, "gelu_dx")) continue;
    assert_non_null(n->out[0]->plan->data);
    found += n->out[0]->plan->data == n->in[0]->plan->data;
  }
  assert_int_equal(found, 2);
  close_case();
}

/* The hidden layer's value is made again by the op that makes its gradient, not by one of its own. */
static void values_come_with_gradients(void **state) {
  open_case(case_of(c_mlp), 2, SM_CPU);
  const sm_pass *p = &b->g->pass[b->pass];
  int made = 0;
  for (int i = p->forward; i < p->n; i++) {
    const sm_node *n = p->node[i];
    assert_string_not_equal(n->op->name, "gelu");
    made += !strcmp(n->op->name, "gelu_dx") && n->out[1];
  }
  assert_int_equal(made, 2);
  close_case();
}

static void no_items(void **state) {
  open_case(case_of(c_counted), 2, SM_CPU);
  sm_put(b->count, 0);
  loss();
  for (int k = 0; k < b->n; k++)
    for (int64_t e = 0; e < b->size[k]; e++) assert_true(b->grad[k][e] == 0);
  close_case();
}

/* ---- errors ---------------------------------------------------------------------------------------- */

static void e_linear(void) {
  sm_tensor *x = param(2, 4, 5, 0);
  finish(sm_linear(b->g, x, param(2, 3, 6, 0), NULL));
}
static void e_window_shift(void) {
  finish(sm_windows(b->g, param(3, 1, 4, 2), 2, 2, &(sm_window){.rows = 2, .cols = 2, .shift = 2}));
}
static void e_bias_rows(void) {
  finish(sm_relative_bias(b->g, param(2, 9, 2, 0), &(sm_window){.rows = 2, .cols = 2, .prefix = 1}));
}
static void e_bias_windows(void) {
  sm_tensor *bias = sm_relative_bias(b->g, param(2, 9, 2, 0), &(sm_window){.rows = 2, .cols = 2, .shift = 1});
  finish(sm_attention_biased(b->g, param(3, 1, 12, 12), bias, 2));
}
static void e_bias_of_none(void) {
  finish(sm_attention_biased(b->g, param(3, 1, 4, 12), param(3, 2, 4, 4), 1));
}
static void e_attention(void) { finish(sm_attention(b->g, param(3, 1, 2, 8), 3)); }
static void e_logits_twice(void) {
  sm_target t = soft_target(3, 11, false);
  pairs = sm_pairs_new(b->g, "pairs", 6, 4);
  sm_tensor *logits = sm_linear(b->g, param(2, 4, 5, 0), param(2, 11, 5, 0), NULL);
  sm_loss_term(b->g, sm_xent(b->g, logits, sm_scalar(b->g, "inv_tau", 3), &t, pairs).loss);
  sm_loss_term(b->g, sm_sum(b->g, logits));
}
static void e_scaled_loss(void) {
  sm_target t = soft_target(3, 11, false);
  pairs = sm_pairs_new(b->g, "pairs", 6, 4);
  sm_tensor *logits = sm_linear(b->g, param(2, 4, 5, 0), param(2, 11, 5, 0), NULL);
  sm_loss_term(b->g, sm_scale(b->g, sm_xent(b->g, logits, sm_scalar(b->g, "inv_tau", 3), &t, pairs).loss, 2));
}
static void expect_error(void (*build)(void), const char *part) {
  sm_error err = {0};
  b = test_calloc(1, sizeof *b);
  n_fixed = 0;
  b->pool = sm_pool_new(1, &err);
  b->g = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .real = SM_F64, .pool = b->pool}, &err);
  sm_pass_begin(b->g, "errors");
  sm_scope_push(b->g, "here");
  build();
  sm_pass_backward(b->g);
  sm_scope_pop(b->g);
  sm_pass_end(b->g);
  assert_int_equal(sm_graph_plan(b->g, &err), SM_EINVAL);
  if (!strstr(err.message, part)) fail_msg("'%s' is not in '%s'", part, err.message);
  close_case();
}
static void errors_are_sticky_and_named(void **state) {
  expect_error(e_linear, "here: linear wants a weight (N, last dimension of x), but 'p1' is F64 (3, 6)");
  expect_error(e_attention, "attention wants qkv (B, T, 3·heads·d), but 'p0' is F64 (1, 2, 8)");
  expect_error(e_window_shift, "windows wants windows of 1 to 64 tokens a side, a shift that is smaller");
  expect_error(e_bias_rows, "relative_bias wants a table ((2·rows-1)(2·cols-1), heads), with 3 more rows");
  expect_error(e_bias_windows, "attention_biased wants qkv (B, windows·T, 3·heads·d), whole rows of windows");
  expect_error(e_bias_of_none, "attention_biased wants a bias that sm_relative_bias made");
  expect_error(e_logits_twice, "cannot be used by op 'sum' too");
  expect_error(e_scaled_loss, "must itself be a loss term");
}

static void a_nan_is_named(void **state) {
  open_case(&cases[0], 2, SM_CPU);
  char what[200];
  int64_t item;
  assert_false(sm_graph_find_nonfinite(b->g, b->pass, what, sizeof what, &item, NULL));
  b->value[0][2 * 5 * 7] = NAN; /* third item of x */
  assert_true(sm_graph_find_nonfinite(b->g, b->pass, what, sizeof what, &item, NULL));
  assert_string_equal(what, "op 'scale' made a NaN in 'p0.scale'");
  assert_int_equal(item, 2);
  close_case();
}

static void ops_have_rows(void **state) {
  for (int i = 0; sm_op_at(i); i++) {
    assert_non_null(sm_op_at(i)->doc);
    assert_ptr_equal(sm_op_named(sm_op_at(i)->name), sm_op_at(i));
  }
  assert_null(sm_op_named("convolution"));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(ops_have_rows),
                                     cmocka_unit_test(every_gradient),
                                     cmocka_unit_test(any_number_of_threads),
                                     cmocka_unit_test(gradients_add_up),
                                     cmocka_unit_test(made_again),
                                     cmocka_unit_test(gradients_take_places),
                                     cmocka_unit_test(values_come_with_gradients),
                                     cmocka_unit_test(no_items),
                                     cmocka_unit_test(errors_are_sticky_and_named),
                                     cmocka_unit_test(a_nan_is_named)};
  return cmocka_run_group_tests_name("gradients", tests, NULL, NULL);
}

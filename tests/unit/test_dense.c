/* test_dense.c — what the step leaves out is exactly nothing: the same loss built densely, as the official
 * code does it, gives the same losses, gradients and centres.
 *
 * Dense means: both heads, of student and teacher, at every token of every view; pairs at every token, with
 * weight 0 where the loss does not look; the centres as means over the dense logits. All in f64, by the
 * public graph functions, over the same parameter sets. */
#include <math.h>

#include "framework/tensor/memory.h"
#include "framework/train/distil.h"
#include "row_rig.h"
#include "ssl_rig.h"
#include "test.h"

enum { B = 3, G = 2, PATCHES = 16, TOKENS = 17, LOCAL_PATCHES = 4, LOCAL_TOKENS = 5, K = 6, V = B * G };
static const double cls_weight = .75, mim_weight = 1.5, tolerance = 1e-10;

typedef struct setting {
  const char *head, *tokenizer; /* further options, each beginning with a comma */
  int locals;
  double mask_ratio;
  bool hard;
  sm_masked masked;
} setting;

static void start(ssl_rig *rig, const setting *s) {
  rig_open(rig, 2);
  rig_plugin(rig, &rig->backbone, SM_BACKBONE, "vit",
             "{arch: custom, dim: 8, depth: 2, heads: 2, patch_size: 4}");
  rig_plugin(rig, &rig->head, SM_HEAD, "projection", "{hidden: 10, bottleneck: 5, out_dim: %d%s}", (int)K,
             s->head);
  rig_plugin(rig, &rig->tokenizer, SM_TOKENIZER, "online_ema",
             "{momentum: 0.5, temperature: 0.2, patch_temperature: 0.3, center_momentum: 0.8, "
             "patch_center_momentum: 0.6%s}",
             s->tokenizer);
  rig_plugin(rig, &rig->cls, SM_LOSS, "cls_distill", "{weight: %g}", cls_weight);
  rig_plugin(rig, &rig->mim, SM_LOSS, "mim", "{weight: %g}", mim_weight);
  rig->config.globals = G;
  rig->config.locals = s->locals;
  rig->config.masked = s->masked;
  rig->config.batch_size = B;
  rig->config.real = SM_F64;
  rig_start(rig);
  for (int which = 0; which < SM_SETS; which++) { /* far from initial values, teacher from student */
    sm_set *set = rig->net->set[which];
    for (int r = 0; r < sm_set_rows(set); r++) {
      sm_rng rng = sm_rng_named((uint64_t)which, SM_RNG_TEST, sm_set_row(set, r)->name);
      for (int64_t i = 0; sm_set_row(set, r)->alias_of < 0 && i < sm_set_row(set, r)->size; i++)
        row_add(set, r, i, .3 * sm_rng_normal(&rng));
    }
  }
}

static void expect_ok(sm_status status, const sm_error *err) {
  if (status != SM_OK) fail_msg("%s", err->message);
}

/* ---- the dense step ---------------------------------------------------------------------------------- */

typedef struct dense_loss {
  sm_pairs *pairs;
  sm_tensor *rows;
} dense_loss;

typedef struct dense {
  ssl_rig *rig;
  sm_graph *g;
  sm_tensor *pictures, *mask, *local, *local_mask;
  sm_rows *all, *all_local;
  sm_target target[2], local_target; /* by site; of patches */
  dense_loss loss[2], local_loss[2];
  int teacher, student, student_local;
} dense;

/* (views, D) before (views, N, D) as (views, 1 + N, D), in double precision. */
static void join_kernel(const sm_node *n, int64_t first, int64_t last, sm_worker *w) {
  const int64_t d = n->in[0]->dim[1], patches = n->in[1]->dim[1];
  for (int64_t i = first; i < last; i++) {
    double *to = sm_at(w, n->out[0], i);
    memcpy(to, sm_at(w, n->in[0], i), (size_t)d * sizeof *to);
    memcpy(to + d, sm_at(w, n->in[1], i), (size_t)(patches * d) * sizeof *to);
  }
}
static void part_kernel(const sm_node *n, int64_t first, int64_t last, sm_worker *w) {
  const int64_t d = n->out[0]->dim[1], patches = n->out[1]->dim[1];
  for (int64_t i = first; i < last; i++) {
    const double *from = sm_at(w, n->in[0], i);
    memcpy(sm_at(w, n->out[0], i), from, (size_t)d * sizeof *from);
    memcpy(sm_at(w, n->out[1], i), from + d, (size_t)(patches * d) * sizeof *from);
  }
}
static const sm_op part_op = {.name = "part", .cls = SM_PER_ITEM, .run = {[SM_CPU] = {NULL, part_kernel}}};
static void join_vjp(sm_graph *g, sm_node *n) {
  bool view_acc, patches_acc;
  sm_tensor *dy = sm_grad_of(g, n->out[0]);
  sm_tensor *d[2] = {sm_grad_slot(g, n->in[0], &view_acc), sm_grad_slot(g, n->in[1], &patches_acc)};
  if (!d[0]) return; /* the teacher's */
  assert_false(view_acc || patches_acc);
  sm_emit(g, &part_op, 1, &dy, 2, d);
}
static const sm_op join_op = {
    .name = "join", .cls = SM_PER_ITEM, .vjp = join_vjp, .run = {[SM_CPU] = {NULL, join_kernel}}};

static sm_tensor *join_tokens(sm_graph *g, sm_tensor *view, sm_tensor *patches) {
  const int64_t dim[] = {patches->dim[0], 1 + patches->dim[1], patches->dim[2]};
  sm_tensor *y = sm_result(g, SM_F64, 3, dim, patches->count);
  sm_emit(g, &join_op, 2, (sm_tensor *[]){view, patches}, 1, &y);
  return y;
}

/* A head at every token, as rows (views·tokens, K): the view first, then its patches. */
static sm_tensor *head(dense *d, int which, sm_tensor *tokens, sm_site site, const sm_rows *all) {
  const sm_head h = {.ops = d->rig->config.head[0].ops,
                     .self = d->rig->config.head[0].self,
                     .params = {d->rig->net->set[which], "head."},
                     .role = which == SM_SET_TEACHER ? SM_ROLE_TEACHER : SM_ROLE_STUDENT};
  return sm_gather(d->g, sm_head_logits(d->g, &h, tokens, site), all);
}

/* All that the backbone gives: (views, 1 + patches, D). */
static sm_tensor *trunk(dense *d, int which, sm_tensor *pictures, sm_tensor *mask) {
  const sm_params p = {d->rig->net->set[which], "backbone."};
  const sm_backbone_in in = {.pictures = pictures, .mask = mask, .view = true, .patches = true};
  sm_backbone_out out;
  sm_backbone_build("vit", d->rig->config.backbone.ops, d->rig->config.backbone.self, d->g, &p, &in, &out);
  return join_tokens(d->g, out.view, out.patches);
}

static sm_tensor *center(dense *d, const char *name) {
  const sm_params p = {d->rig->net->set[SM_SET_STATE], "tokenizer."};
  return sm_has_param(&p, name) ? sm_param(d->g, &p, "%s", name) : NULL;
}

static void build_target(dense *d, sm_tensor *tokens, sm_site site, bool hard, const sm_rows *all,
                         sm_target *t) {
  bool ids = hard && site == SM_SITE_PATCH;
  *t = (sm_target){.form = ids ? SM_TARGET_IDS : SM_TARGET_DISTRIBUTION, .dim = K};
  t->logits = head(d, SM_SET_TEACHER, tokens, site, all);
  t->shift = center(d, site == SM_SITE_VIEW ? "center.cls" : "center.patch");
  t->scale = sm_scalar(d->g, "1/temperature", site == SM_SITE_VIEW ? 1 / .2 : 1 / .3);
  if (ids) t->ids = sm_argmax(d->g, t->logits, t->shift);
  sm_keep(d->g, t->logits);
}

static void build_teacher(dense *d, bool hard) {
  d->teacher = sm_pass_begin(d->g, "teacher");
  sm_tensor *tokens = trunk(d, SM_SET_TEACHER, d->pictures, NULL);
  for (int site = SM_SITE_VIEW; site <= SM_SITE_PATCH; site++)
    build_target(d, tokens, (sm_site)site, hard, d->all, &d->target[site]);
  if (d->local_mask)
    build_target(d, trunk(d, SM_SET_TEACHER, d->local, NULL), SM_SITE_PATCH, hard, d->all_local,
                 &d->local_target);
  sm_pass_end(d->g);
}

static dense_loss build_loss(dense *d, sm_tensor *tokens, sm_site site, const sm_rows *all,
                             const sm_target *target, int64_t pairs_a_row) {
  dense_loss l = {.pairs = sm_pairs_new(d->g, "pairs", all->capacity * pairs_a_row, all->capacity)};
  sm_tensor *logits = head(d, SM_SET_STUDENT, tokens, site, all);
  l.rows = sm_xent(d->g, logits, sm_scalar(d->g, "1/temperature", 1 / .1), target, l.pairs).loss;
  sm_loss_term(d->g, l.rows);
  return l;
}

static void build(dense *d, ssl_rig *rig, bool hard) {
  sm_error err = {0};
  int locals = rig->config.locals;
  *d = (dense){.rig = rig};
  d->g = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .real = SM_F64, .pool = rig->pool}, &err);
  if (!d->g) expect_ok(SM_ENOMEM, &err);
  d->pictures = sm_input_real(d->g, "pictures", 4, (int64_t[]){V, 3, 16, 16}, NULL);
  d->mask = sm_input(d->g, "mask", SM_U8, 2, (int64_t[]){V, PATCHES}, NULL);
  d->all = sm_rows_new(d->g, "all tokens", V * TOKENS, V, TOKENS, NULL);
  if (locals) {
    const int64_t views = (int64_t)B * locals;
    d->local = sm_input_real(d->g, "local views", 4, (int64_t[]){views, 3, 8, 8}, NULL);
    d->all_local = sm_rows_new(d->g, "all local tokens", views * LOCAL_TOKENS, views, LOCAL_TOKENS, NULL);
    if (rig->config.masked == SM_MASKED_ALL)
      d->local_mask = sm_input(d->g, "local mask", SM_U8, 2, (int64_t[]){views, LOCAL_PATCHES}, NULL);
  }
  build_teacher(d, hard);
  d->student = sm_pass_begin(d->g, "student");
  sm_tensor *tokens = trunk(d, SM_SET_STUDENT, d->pictures, d->mask);
  d->loss[SM_SITE_VIEW] = build_loss(d, tokens, SM_SITE_VIEW, d->all, &d->target[SM_SITE_VIEW], G);
  d->loss[SM_SITE_PATCH] = build_loss(d, tokens, SM_SITE_PATCH, d->all, &d->target[SM_SITE_PATCH], 1);
  sm_pass_backward(d->g);
  sm_pass_end(d->g);
  if (locals) {
    d->student_local = sm_pass_begin(d->g, "student local");
    tokens = trunk(d, SM_SET_STUDENT, d->local, d->local_mask);
    d->local_loss[SM_SITE_VIEW] =
        build_loss(d, tokens, SM_SITE_VIEW, d->all_local, &d->target[SM_SITE_VIEW], G);
    if (d->local_mask)
      d->local_loss[SM_SITE_PATCH] = build_loss(d, tokens, SM_SITE_PATCH, d->all_local, &d->local_target, 1);
    sm_pass_backward(d->g);
    sm_pass_end(d->g);
  }
  expect_ok(sm_graph_plan(d->g, &err), &err);
  expect_ok(sm_graph_allocate(d->g, &err), &err);
}

static void all_rows(sm_rows *rows) {
  int32_t *token = malloc((size_t)rows->capacity * sizeof *token);
  assert_non_null(token);
  for (int64_t i = 0; i < rows->capacity; i++) token[i] = (int32_t)i;
  sm_rows_set(rows, token, rows->capacity);
  free(token);
}

/* Every token of view `u` with the same token of each global view `q` but itself. Local views have fewer
 * tokens, all of which find a counterpart. */
static void pair_views(dense_loss *l, int views, int tokens, bool local, double weight) {
  sm_pairs_begin(l->pairs);
  for (int picture = 0; picture < B; picture++)
    for (int u = 0; u < views; u++)
      for (int t = 0; t < tokens; t++)
        for (int q = 0; q < G; q++)
          if (local || q != u)
            assert_true(sm_pairs_add(l->pairs, ((int64_t)picture * views + u) * tokens + t,
                                     ((int64_t)picture * G + q) * TOKENS + t, t ? 0 : weight));
  sm_pairs_end(l->pairs);
}

/* Each patch with itself; the mean is over the hidden ones of a view, then over `all` views. */
static void pair_patches(dense_loss *l, const uint8_t *mask, int views, int patches, int all) {
  sm_pairs_begin(l->pairs);
  for (int v = 0; v < views; v++) {
    int masked = 0;
    for (int p = 0; p < patches; p++) masked += mask[v * patches + p];
    for (int t = 0; t <= patches; t++) {
      bool counts = t && mask[v * patches + t - 1];
      int64_t row = (int64_t)v * (patches + 1) + t;
      assert_true(sm_pairs_add(l->pairs, row, row, counts ? mim_weight / (all * fmax(1, masked)) : 0));
    }
  }
  sm_pairs_end(l->pairs);
}

static void run(dense *d, const sm_batch *b) {
  int locals = d->rig->config.locals, local_views = d->local_mask ? B * locals : 0;
  double cls = cls_weight / (B * (G * (G + locals) - G));
  sm_write(d->pictures, 0, sm_elements(d->pictures), b->global);
  sm_write_u8(d->mask, 0, V * PATCHES, b->mask);
  all_rows(d->all);
  pair_views(&d->loss[SM_SITE_VIEW], G, TOKENS, false, cls);
  pair_patches(&d->loss[SM_SITE_PATCH], b->mask, V, PATCHES, V + local_views);
  if (locals) {
    sm_write(d->local, 0, sm_elements(d->local), b->local);
    all_rows(d->all_local);
    pair_views(&d->local_loss[SM_SITE_VIEW], locals, LOCAL_TOKENS, true, cls);
  }
  if (local_views) {
    sm_write_u8(d->local_mask, 0, local_views * LOCAL_PATCHES, b->local_mask);
    pair_patches(&d->local_loss[SM_SITE_PATCH], b->local_mask, local_views, LOCAL_PATCHES, V + local_views);
  }
  sm_graph_run(d->g, d->teacher);
  sm_graph_run(d->g, d->student);
  if (locals) sm_graph_run(d->g, d->student_local);
}

static double total(const sm_tensor *rows) {
  double sum = 0;
  for (int64_t i = 0; rows && i < sm_elements(rows); i++) sum += sm_get(rows, i);
  return sum;
}

/* Over views, of each view's mean over the tokens first … last-1, of logit k. */
static double sum_of_means(const sm_tensor *logits, int views, int tokens, int first, int last, int k) {
  double sum = 0;
  for (int v = 0; v < views; v++)
    for (int t = first; t < last; t++)
      sum += sm_get(logits, ((int64_t)v * tokens + t) * K + k) / (last - first);
  return sum;
}

/* m·centre + (1-m)·mean of the dense logits over all views and the tokens first … last-1, local views with
 * their patches among them where they are masked. */
static void next_center(dense *d, sm_site site, double momentum, int first, int last, double *out) {
  const sm_tensor *c = d->target[site].shift;
  int locals = d->local_mask && site == SM_SITE_PATCH ? B * d->rig->config.locals : 0;
  for (int k = 0; c && k < K; k++) {
    double sum = sum_of_means(d->target[site].logits, V, TOKENS, first, last, k);
    if (locals) sum += sum_of_means(d->local_target.logits, locals, LOCAL_TOKENS, 1, LOCAL_TOKENS, k);
    out[k] = momentum * sm_get(c, k) + (1 - momentum) * sum / (V + locals);
  }
}

/* ---- pruned against dense ---------------------------------------------------------------------------- */

/* All gradients of the student in one block, and zero in the set. */
static double *take_gradients(ssl_rig *rig) {
  sm_set *set = rig->net->set[SM_SET_STUDENT];
  int64_t n = 0;
  for (int r = 0; r < sm_set_rows(set); r++) n += sm_set_row(set, r)->size;
  double *all = malloc((size_t)n * sizeof *all), *at = all;
  assert_non_null(all);
  for (int r = 0; r < sm_set_rows(set); r++) {
    sm_set_read_f64(set, r, SM_GRADIENTS, 0, sm_set_row(set, r)->size, at);
    at += sm_set_row(set, r)->size;
  }
  for (int r = 0; r < sm_set_rows(set); r++) sm_set_fill(set, r, SM_GRADIENTS, 0);
  return all;
}

static void compare_gradients(ssl_rig *rig, const double *pruned, const double *full) {
  sm_set *set = rig->net->set[SM_SET_STUDENT];
  int64_t at = 0;
  for (int r = 0; r < sm_set_rows(set); r++) {
    double largest = 0;
    for (int64_t i = 0; i < sm_set_row(set, r)->size; i++, at++) {
      largest = fmax(largest, fabs(full[at]));
      if (!(fabs(pruned[at] - full[at]) <= tolerance))
        fail_msg("gradient of %s[%lld]: pruned %.12g, dense %.12g", sm_set_row(set, r)->name, (long long)i,
                 pruned[at], full[at]);
    }
    if (!(sm_set_row(set, r)->flags & SM_ROW_FROZEN)) assert_true(largest > 1e-6); /* it was compared */
  }
}

static void expect_center(ssl_rig *rig, const char *name, const double *want) {
  int row = sm_set_find(rig->net->set[SM_SET_STATE], name);
  for (int k = 0; row >= 0 && k < K; k++)
    assert_float_equal(rig_value(rig, SM_SET_STATE, row, SM_VALUES, k), want[k], tolerance);
}

static void compare(const setting *s) {
  ssl_rig rig;
  dense d;
  sm_error err = {0};
  sm_step_result result;
  start(&rig, s);
  sm_batch *b = rig_batch(&rig, B, s->mask_ratio, 7);
  sm_time time = rig_time(&rig, 0);
  expect_ok(sm_step_gradients(rig.net, b, &time, &result, &err), &err);
  double *pruned = take_gradients(&rig), cls_center[K], patch_center[K];
  build(&d, &rig, s->hard);
  run(&d, b);
  double *full = take_gradients(&rig);
  compare_gradients(&rig, pruned, full);
  assert_float_equal(sm_step_metric(&result, "loss.cls"),
                     total(d.loss[SM_SITE_VIEW].rows) + total(d.local_loss[SM_SITE_VIEW].rows), tolerance);
  assert_float_equal(sm_step_metric(&result, "loss.mim"),
                     total(d.loss[SM_SITE_PATCH].rows) + total(d.local_loss[SM_SITE_PATCH].rows), tolerance);
  next_center(&d, SM_SITE_VIEW, .8, 0, 1, cls_center);
  next_center(&d, SM_SITE_PATCH, .6, 1, TOKENS, patch_center);
  sm_step_update(rig.net, &time, &result);
  expect_center(&rig, "tokenizer.center.cls", cls_center);
  expect_center(&rig, "tokenizer.center.patch", patch_center);
  sm_plan_report little, much;
  sm_graph_report(rig.net->graph, &little);
  sm_graph_report(d.g, &much);
  assert_true(little.flops < much.flops && little.transient < much.transient);
  free(pruned);
  free(full);
  sm_graph_free(d.g);
  rig_batch_free(b);
  rig_close(&rig);
}

static void test_pruned_is_dense(void **state) {
  compare(&(setting){.head = "", .tokenizer = "", .mask_ratio = .4});
  compare(&(setting){.head = "", .tokenizer = "", .mask_ratio = .4, .locals = 3});
  compare(&(setting){.head = ", sharing: separate", .tokenizer = "", .mask_ratio = .3, .locals = 1});
  compare(&(setting){
      .head = ", sharing: last_separate, norm_last_layer: false", .tokenizer = "", .mask_ratio = .5});
  compare(&(setting){.head = "", .tokenizer = ", labels: hard", .hard = true, .mask_ratio = .4});
  compare(
      &(setting){.head = "", .tokenizer = ", patch_centering: none, centering: none", .mask_ratio = .4});
  compare(&(setting){.head = "", .tokenizer = "", .mask_ratio = .4, .locals = 3, .masked = SM_MASKED_ALL});
  compare(&(setting){.head = ", sharing: separate",
                     .tokenizer = ", labels: hard",
                     .hard = true,
                     .mask_ratio = .5,
                     .locals = 2,
                     .masked = SM_MASKED_ALL});
}

/* ---- no backward where nothing is asked for ---------------------------------------------------------- */

/* Arithmetic of an op in a pass; -1: it does not occur. */
static double flops_of(const sm_graph *g, const char *pass, const char *op) {
  static sm_profile_line line[256];
  int n = sm_graph_profile_lines(g, line, 256);
  for (int i = 0; i < n; i++)
    if (!strcmp(line[i].pass, pass) && !strcmp(line[i].op, op)) return line[i].flops;
  return -1;
}

static void test_no_gradient_no_backward(void **state) {
  ssl_rig rig;
  sm_error err = {0};
  sm_step_result result;
  start(&rig, &(setting){.head = "", .tokenizer = "", .locals = 2});
  sm_batch *b = rig_batch(&rig, B, .4, 7);
  sm_time time = rig_time(&rig, 0);
  expect_ok(sm_step_gradients(rig.net, b, &time, &result, &err), &err);
  const sm_graph *g = rig.net->graph;
  static const char *const backward[] = {"linear_dx",     "linear_dw",       "gelu_dx",       "layer_norm_dx",
                                         "layer_norm_dw", "attention_dx",    "tokens_dpatch", "tokens_dparam",
                                         "scatter",       "l2_normalize_dx", "weight_norm_dv"};
  for (size_t i = 0; i < sizeof backward / sizeof *backward; i++) {
    assert_true(flops_of(g, "teacher", backward[i]) < 0 && flops_of(g, "update", backward[i]) < 0);
    assert_true(flops_of(g, "student", backward[i]) >= 0);
  }
  /* pictures have no gradient; all else that is multiplied has one for each factor */
  double embed = 2. * V * PATCHES * 48 * 8, local_embed = 2. * B * 2 * 4 * 48 * 8;
  assert_true(flops_of(g, "student", "linear_dw") == flops_of(g, "student", "linear"));
  assert_true(flops_of(g, "student", "linear_dx") == flops_of(g, "student", "linear") - embed);
  assert_true(flops_of(g, "student local", "linear_dx") ==
              flops_of(g, "student local", "linear") - local_embed);
  rig_batch_free(b);
  rig_close(&rig);
}

/* Two layers; the first one trained or fixed. */
static sm_graph *two_layers(sm_pool *pool, double *w, double *dw, bool train_first) {
  sm_error err = {0};
  sm_graph *g = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .real = SM_F64, .pool = pool}, &err);
  if (!g) expect_ok(SM_ENOMEM, &err);
  const int64_t square[2] = {4, 4};
  sm_tensor *x = sm_input_real(g, "x", 2, (int64_t[]){5, 4}, NULL);
  sm_tensor *w1 = sm_external(g, "w1", SM_F64, 2, square, w, train_first ? dw : NULL);
  sm_tensor *w2 = sm_external(g, "w2", SM_F64, 2, square, w + 16, dw + 16);
  int pass = sm_pass_begin(g, "step");
  sm_loss_term(g, sm_sum(g, sm_gelu(g, sm_linear(g, sm_gelu(g, sm_linear(g, x, w1, NULL)), w2, NULL))));
  sm_pass_backward(g);
  sm_pass_end(g);
  expect_ok(sm_graph_plan(g, &err), &err);
  expect_ok(sm_graph_allocate(g, &err), &err);
  for (int i = 0; i < 20; i++) sm_fill(x, i, 1, sin(i));
  sm_graph_run(g, pass);
  return g;
}

static void test_no_backward_below_fixed_weights(void **state) {
  sm_error err = {0};
  sm_pool *pool = sm_pool_new(1, &err);
  double w[32], all[32] = {0}, second[32] = {0};
  for (int i = 0; i < 32; i++) w[i] = cos(i);
  sm_graph *trained = two_layers(pool, w, all, true), *fixed = two_layers(pool, w, second, false);
  assert_memory_equal(all + 16, second + 16, 16 * sizeof *all);
  assert_true(all[3] != 0 && second[3] == 0);
  assert_true(flops_of(trained, "step", "linear_dx") == 2 * 5 * 16 &&
              flops_of(fixed, "step", "linear_dx") < 0);
  assert_true(flops_of(fixed, "step", "linear_dw") == flops_of(trained, "step", "linear_dw") / 2);
  sm_plan_report a, b;
  sm_graph_report(trained, &a);
  sm_graph_report(fixed, &b);
  assert_true(b.nodes < a.nodes && b.flops == a.flops - 2 * 2 * 5 * 16);
  sm_graph_free(trained);
  sm_graph_free(fixed);
  sm_pool_free(pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_pruned_is_dense),
      cmocka_unit_test(test_no_gradient_no_backward),
      cmocka_unit_test(test_no_backward_below_fixed_weights),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

/* framework/tensor/ops_windows.c — windows of a grid of tokens and attention with a bias: builders, rows of
 * the op table and vjps. Node layouts are in ops.def.
 *
 * The gradient of a bias is never a T×T matrix outside a kernel: attention's backward pass sums it up to the
 * rows of the table that the bias was made of, item by item, and sum_items adds the items. */
#include <math.h>

#include "graph.h"

#define OP(NAME, CLASS, ...) const sm_op sm_op_##NAME = {.name = #NAME, .cls = CLASS, __VA_ARGS__}

/* ---- the bias -------------------------------------------------------------------------------------- */

static int64_t ops_windows_table_rows(const sm_window *w) {
  return (2 * (int64_t)w->rows - 1) * (2 * (int64_t)w->cols - 1) + 3 * (int64_t)w->prefix;
}
static int64_t ops_windows_tokens(const sm_window *w) { return w->prefix + (int64_t)w->rows * w->cols; }

static bool ops_windows_want(sm_graph *g, const char *op, const sm_window *w, const sm_tensor *t) {
  return sm_want(g,
                 w->rows > 0 && w->cols > 0 && w->rows <= SM_WINDOW_MAX && w->cols <= SM_WINDOW_MAX &&
                     (w->prefix == 0 || w->prefix == 1) && w->shift >= 0 && w->shift < w->rows &&
                     w->shift < w->cols && !(w->prefix && w->shift),
                 op, "windows of 1 to 64 tokens a side, a shift that is smaller, and no prefix with it", t);
}

sm_tensor *sm_relative_bias(sm_graph *g, sm_tensor *table, const sm_window *w) {
  if (!ops_windows_want(g, "relative_bias", w, table) ||
      !sm_want(g, table->ndim == 2 && table->dim[0] == ops_windows_table_rows(w), "relative_bias",
               "a table ((2·rows-1)(2·cols-1), heads), with 3 more rows for a prefix", table))
    return &g->inert;
  const int64_t t = ops_windows_tokens(w), dim[4] = {w->shift ? 4 : 1, table->dim[1], t, t};
  sm_tensor *bias = sm_result(g, table->dtype, 4, dim, NULL);
  sm_node *n = SM_EMIT(g, relative_bias, INS(table), OUTS(bias));
  n->i[0] = w->rows, n->i[1] = w->cols, n->i[2] = w->prefix, n->i[3] = w->shift;
  return bias;
}
static int64_t ops_windows_bias_tiles(const sm_node *n) { return n->out[0]->dim[0] * n->out[0]->dim[1]; }
static void ops_windows_bias_vjp(sm_graph *g, sm_node *n) { (void)g, (void)n; } /* attention's does it */
OP(relative_bias, SM_TILES, .doc = "a table's rows by relative position, less what two regions lose",
   .tiles = ops_windows_bias_tiles, .vjp = ops_windows_bias_vjp);

/* ---- attention -------------------------------------------------------------------------------------- */

static double ops_windows_attention_flops(const sm_node *n) { /* two products of T×T×d a head and window */
  return 4 * (double)sm_items(n->in[0]) * (double)n->in[0]->dim[1] * (double)n->in[1]->dim[2] *
         (double)n->in[0]->dim[2] / 3;
}
static double ops_windows_attention_dx_flops(const sm_node *n) {
  return 2.5 * ops_windows_attention_flops(n);
}

sm_tensor *sm_attention_biased(sm_graph *g, sm_tensor *qkv, sm_tensor *bias, int across) {
  if (!sm_graph_ok(g)) return &g->inert;
  const sm_node *made = bias->maker;
  if (!sm_want(g, made && made->op == &sm_op_relative_bias, "attention_biased",
               "a bias that sm_relative_bias made", bias) ||
      !sm_want(g,
               qkv->ndim == 3 && qkv->dim[2] % (3 * bias->dim[1]) == 0 && qkv->dim[1] % bias->dim[2] == 0 &&
                   (bias->dim[0] == 1 || (across > 0 && qkv->dim[1] / bias->dim[2] % across == 0)),
               "attention_biased",
               "qkv (B, windows·T, 3·heads·d), whole rows of windows where they are shifted", qkv))
    return &g->inert;
  const int64_t heads = bias->dim[1], t = bias->dim[2];
  const int64_t lse_dim[3] = {qkv->dim[0], qkv->dim[1] / t * heads, t};
  sm_tensor *out[2] = {sm_result_last(g, qkv, qkv->dim[2] / 3),
                       sm_result(g, qkv->dtype, 3, lse_dim, qkv->count)};
  sm_node *n = SM_EMIT(g, attention_biased, INS(qkv, bias), OUTS(out[0], out[1]));
  n->i[0] = across;
  n->f[0] = 1 / sqrt((double)qkv->dim[2] / 3 / (double)heads);
  return out[0];
}

static void ops_windows_attention_vjp(sm_graph *g, sm_node *n) {
  const sm_node *made = n->in[1]->maker;
  sm_tensor *qkv = n->in[0], *table = made->in[0], *of_items = NULL;
  bool acc_qkv, acc_table;
  sm_tensor *d = sm_grad_slot(g, qkv, &acc_qkv), *dtable = sm_grad_slot(g, table, &acc_table);
  if (!d && dtable) {
    sm_graph_fail(g, "attention_biased with a trained table '%s' needs a gradient of its qkv", table->name);
    return;
  }
  if (!d) return;
  if (dtable)
    of_items =
        sm_result(g, table->dtype, 3, (int64_t[]){qkv->dim[0], table->dim[0], table->dim[1]}, qkv->count);
  sm_node *b = SM_EMIT(g, attention_biased_dx,
                       INS(sm_value(g, qkv), sm_value(g, n->in[1]), sm_value(g, n->out[0]),
                           sm_value(g, n->out[1]), sm_grad_of(g, n->out[0])),
                       OUTS(d, of_items));
  b->acc = acc_qkv;
  b->i[0] = n->i[0];
  for (int k = 0; k < 3; k++) b->i[1 + k] = made->i[k];
  b->f[0] = n->f[0];
  if (dtable) SM_EMIT(g, sum_items, INS(of_items), OUTS(dtable))->acc = acc_table;
}
OP(attention_biased, SM_PER_ITEM, .doc = "softmax(scale·q kᵀ + bias) v in each window, head by head",
   .cross = 2, .scratch = sm_scratch_attention_biased, .flops = ops_windows_attention_flops,
   .vjp = ops_windows_attention_vjp, .narrow_in = 1, .narrow_out = 1);
OP(attention_biased_dx, SM_PER_ITEM,
   .doc = "gradients of attention_biased by qkv and, item by item, by the table", .cross = 2,
   .scratch = sm_scratch_attention_biased_dx, .flops = ops_windows_attention_dx_flops,
   .narrow_in = 1 | 4 | 16, .narrow_out = 1);

static int64_t ops_windows_item_columns(const sm_node *n) {
  return sm_column_tiles(sm_item_elements(n->in[0]));
}
OP(sum_items, SM_TILES, .doc = "Σ over valid items", .tiles = ops_windows_item_columns);

/* ---- into windows and out of them ------------------------------------------------------------------- */

static int64_t ops_windows_padded(const sm_window *w, int height, int width) {
  return ((int64_t)height + w->rows - 1) / w->rows * w->rows *
         (((int64_t)width + w->cols - 1) / w->cols * w->cols);
}
static void ops_windows_numbers(sm_node *n, const sm_window *w, int height, int width) {
  n->i[0] = height, n->i[1] = width, n->i[2] = w->rows, n->i[3] = w->cols, n->i[4] = w->shift;
}

sm_tensor *sm_windows(sm_graph *g, sm_tensor *x, int height, int width, const sm_window *w) {
  if (!ops_windows_want(g, "windows", w, x) ||
      !sm_want(
          g,
          w->prefix == 0 && x->ndim == 3 && height > 0 && width > 0 && x->dim[1] == (int64_t)height * width,
          "windows", "tokens (B, height·width, C), and no prefix", x))
    return &g->inert;
  sm_tensor *y = sm_result(g, x->dtype, 3,
                           (int64_t[]){x->dim[0], ops_windows_padded(w, height, width), x->dim[2]}, x->count);
  ops_windows_numbers(SM_EMIT(g, windows, INS(x), OUTS(y)), w, height, width);
  return y;
}
sm_tensor *sm_unwindows(sm_graph *g, sm_tensor *x, int height, int width, const sm_window *w) {
  if (!ops_windows_want(g, "unwindows", w, x) ||
      !sm_want(g,
               w->prefix == 0 && x->ndim == 3 && height > 0 && width > 0 &&
                   x->dim[1] == ops_windows_padded(w, height, width),
               "unwindows", "tokens in the windows of height × width, and no prefix", x))
    return &g->inert;
  sm_tensor *y =
      sm_result(g, x->dtype, 3, (int64_t[]){x->dim[0], (int64_t)height * width, x->dim[2]}, x->count);
  ops_windows_numbers(SM_EMIT(g, unwindows, INS(x), OUTS(y)), w, height, width);
  return y;
}
/* Each is the other's transpose. */
static void ops_windows_move_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *dx = sm_grad_slot(g, n->in[0], &acc), *dy = sm_grad_of(g, n->out[0]);
  if (!dx) return;
  sm_node *b = n->op == &sm_op_windows ? SM_EMIT(g, unwindows, INS(dy), OUTS(dx))
                                       : SM_EMIT(g, windows, INS(dy), OUTS(dx));
  b->acc = acc;
  for (int k = 0; k < 5; k++) b->i[k] = n->i[k];
}
OP(windows, SM_PER_ITEM, .doc = "tokens padded, rolled and cut into windows", .recompute = true,
   .vjp = ops_windows_move_vjp, .narrow_in = 1, .narrow_out = 1);
OP(unwindows, SM_PER_ITEM, .doc = "tokens back from their windows", .recompute = true,
   .vjp = ops_windows_move_vjp, .narrow_in = 1, .narrow_out = 1);

/* ---- four tokens to one, one cell to many ------------------------------------------------------------- */

sm_tensor *sm_merge_tokens(sm_graph *g, sm_tensor *x, int height, int width) {
  if (!sm_want(g, x->ndim == 3 && height > 0 && width > 0 && x->dim[1] == (int64_t)height * width,
               "merge_tokens", "tokens (B, height·width, C)", x))
    return &g->inert;
  const int64_t n_merged = (height + 1) / 2 * (int64_t)((width + 1) / 2);
  sm_tensor *y = sm_result(g, x->dtype, 3, (int64_t[]){x->dim[0], n_merged, 4 * x->dim[2]}, x->count);
  sm_node *n = SM_EMIT(g, merge_tokens, INS(x), OUTS(y));
  n->i[0] = height, n->i[1] = width;
  return y;
}
static void ops_windows_merge_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *dx = sm_grad_slot(g, n->in[0], &acc);
  if (!dx) return;
  sm_node *b = SM_EMIT(g, merge_tokens_dx, INS(sm_grad_of(g, n->out[0])), OUTS(dx));
  b->acc = acc;
  b->i[0] = n->i[0], b->i[1] = n->i[1];
}
OP(merge_tokens, SM_PER_ITEM, .doc = "2×2 tokens side by side", .recompute = true,
   .vjp = ops_windows_merge_vjp);

/* The gradient of merge_tokens, used as an op of its own. */
sm_tensor *sm_split_tokens(sm_graph *g, sm_tensor *x, int height, int width) {
  if (!sm_want(g,
               x->ndim == 3 && height > 0 && width > 0 && x->dim[1] == (int64_t)height * width &&
                   x->dim[2] % 4 == 0,
               "split_tokens", "tokens (B, height·width, 4C)", x))
    return &g->inert;
  sm_tensor *y = sm_result(g, x->dtype, 3, (int64_t[]){x->dim[0], 4 * x->dim[1], x->dim[2] / 4}, x->count);
  sm_node *n = SM_EMIT(g, merge_tokens_dx, INS(x), OUTS(y));
  n->i[0] = 2 * height, n->i[1] = 2 * width;
  return y;
}
static void ops_windows_split_vjp(sm_graph *g, sm_node *n) {
  if (!n->in[0]->needs_grad) return;
  sm_tensor *dx = sm_result_like(g, n->in[0], ".grad");
  sm_node *b = SM_EMIT(g, merge_tokens, INS(sm_grad_of(g, n->out[0])), OUTS(dx));
  b->i[0] = n->i[0], b->i[1] = n->i[1];
  sm_grad_pass(g, n->in[0], dx);
}
OP(merge_tokens_dx, SM_PER_ITEM, .doc = "a token as 2×2: gradient of merge_tokens",
   .vjp = ops_windows_split_vjp);

sm_tensor *sm_repeat_cells(sm_graph *g, sm_tensor *cells, int height, int width, int side) {
  if (!sm_want(g,
               cells->dtype == SM_U8 && cells->ndim == 2 && side > 0 && height > 0 && width > 0 &&
                   cells->dim[1] == (int64_t)((height + side - 1) / side) * ((width + side - 1) / side),
               "repeat_cells", "a mask (B, cells) of U8 that covers the grid", cells))
    return &g->inert;
  sm_tensor *y = sm_result(g, SM_U8, 2, (int64_t[]){cells->dim[0], (int64_t)height * width}, cells->count);
  sm_node *n = SM_EMIT(g, repeat_cells, INS(cells), OUTS(y));
  n->i[0] = height, n->i[1] = width, n->i[2] = side;
  return y;
}
OP(repeat_cells, SM_PER_ITEM, .doc = "a mask's cells repeated over a finer grid");

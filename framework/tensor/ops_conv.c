/* framework/tensor/ops_conv.c — convolution, ReLU, pooling and up-sampling of pictures that lie as tokens:
 * builders, rows of the op table and vjps.
 *
 * A picture is (B, H·W, C), channels last, so a 1×1 convolution is sm_linear and everything pointwise is
 * shared with transformers. Node layouts are in ops.def. */
#include <string.h>

#include "graph.h"

#define OP(NAME, CLASS, ...) const sm_op sm_op_##NAME = {.name = #NAME, .cls = CLASS, __VA_ARGS__}

static bool ops_conv_is_picture(const sm_tensor *x, int height, int width) {
  return x->ndim == 3 && height > 0 && width > 0 && x->dim[1] == (int64_t)height * width;
}

/* ---- convolution ----------------------------------------------------------------------------------- */

static int64_t ops_conv_weight_tiles(const sm_node *n) {
  return (n->in[0]->dim[0] + SM_FILTER_TILE - 1) / SM_FILTER_TILE;
}
OP(conv_weight, SM_TILES, .doc = "a convolution's weight in the order of its products",
   .tiles = ops_conv_weight_tiles);

/* The node that orders w in the open pass, made once. */
static sm_node *ops_conv_weight_node(const sm_graph *g, const sm_tensor *w) {
  const sm_pass *p = g->open >= 0 ? &g->pass[g->open] : NULL;
  for (int i = 0; p && i < p->n; i++)
    if (p->node[i]->op == &sm_op_conv_weight && p->node[i]->in[0] == w) return p->node[i];
  return NULL;
}

sm_tensor *sm_conv_weight(sm_graph *g, sm_tensor *w) {
  if (!sm_want(g, w->ndim == 4 && w->dim[2] == w->dim[3] && w->dim[2] % 2 == 1, "conv_weight",
               "a weight (O, C, k, k) with odd k", w))
    return &g->inert;
  if (w->dim[2] == 1) return w; /* a linear layer */
  const sm_node *made = ops_conv_weight_node(g, w);
  if (made) return made->out[0];
  int64_t area = w->dim[2] * w->dim[3];
  sm_tensor *out[2] = {sm_result(g, g->config.real, 2, (int64_t[]){w->dim[0], area * w->dim[1]}, NULL), NULL};
  if (w->needs_grad) out[1] = sm_result(g, g->config.real, 2, (int64_t[]){w->dim[1], area * w->dim[0]}, NULL);
  SM_EMIT(g, conv_weight, INS(w), OUTS(out[0], out[1]))->i[0] = w->dim[2];
  return out[0];
}

static double conv_flops(const sm_node *n) {
  return 2 * (double)sm_items(n->in[0]) * (double)n->in[0]->dim[1] * (double)sm_elements(n->in[1]);
}
static double conv_dw_flops(const sm_node *n) {
  return 2 * (double)sm_items(n->in[0]) * (double)n->in[0]->dim[1] * (double)sm_elements(n->out[0]);
}

static void ops_conv_set_window(sm_node *n, int64_t height, int64_t width, int64_t side) {
  n->i[0] = height, n->i[1] = width, n->i[2] = side;
}

sm_tensor *sm_conv2d(sm_graph *g, sm_tensor *x, sm_tensor *w, sm_tensor *b, int height, int width) {
  if (!sm_want(g, ops_conv_is_picture(x, height, width), "conv", "pictures (B, H·W, C)", x) ||
      !sm_want(g, w->ndim == 4 && w->dim[1] == x->dim[2], "conv", "a weight (O, C, k, k) for x's channels",
               w) ||
      !sm_want(g, !b || (b->ndim == 1 && b->dim[0] == w->dim[0]), "conv", "a bias (O)", b))
    return &g->inert;
  if (w->dim[2] == 1 && w->dim[3] == 1) return sm_linear(g, x, w, b);
  sm_tensor *ordered = sm_conv_weight(g, w);
  sm_tensor *y = sm_result_last(g, x, w->dim[0]);
  ops_conv_set_window(SM_EMIT(g, conv, INS(x, ordered, b, w), OUTS(y)), height, width, w->dim[2]);
  return y;
}

/* dx is a convolution of dy with the same windows, turned round; its weight was ordered with the forward
 * one. */
static void conv_dx(sm_graph *g, const sm_node *n, sm_tensor *dy) {
  bool acc;
  sm_tensor *dx = sm_grad_slot(g, n->in[0], &acc), *turned = n->in[1]->maker ? n->in[1]->maker->out[1] : NULL;
  if (!dx) return;
  if (!turned) {
    sm_graph_fail(g, "a convolution with the fixed weight '%s' passes no gradient on", n->in[3]->name);
    return;
  }
  sm_node *d = SM_EMIT(g, conv, INS(dy, turned), OUTS(dx));
  d->acc = acc;
  ops_conv_set_window(d, n->i[0], n->i[1], n->i[2]);
}
static void conv_vjp(sm_graph *g, sm_node *n) {
  sm_tensor *b = n->in[2], *dy = sm_grad_of(g, n->out[0]);
  bool acc_w = false, acc_b = false;
  conv_dx(g, n, dy);
  sm_tensor *dw = sm_grad_slot(g, n->in[3], &acc_w), *db = b ? sm_grad_slot(g, b, &acc_b) : NULL;
  if (!dw && db) {
    sm_graph_fail(g, "conv with a trained bias '%s' needs a trained weight", b->name);
    return;
  }
  if (!dw) return;
  sm_node *d = SM_EMIT(g, conv_dw, INS(dy, sm_value(g, n->in[0])), OUTS(dw, db));
  d->acc = (uint32_t)acc_w | (uint32_t)acc_b << 1;
  ops_conv_set_window(d, n->i[0], n->i[1], n->i[2]);
}
static int64_t conv_dw_tiles(const sm_node *n) {
  sm_grid grid = sm_product_grid_of(n, sm_last_dim(n->in[0]), n->i[2] * n->i[2] * sm_last_dim(n->in[1]));
  return grid.row_tiles * grid.column_tiles;
}
OP(conv, SM_PER_ITEM, .doc = "convolution of the same size", .cross = 1u << 1, .scratch = sm_scratch_conv,
   .flops = conv_flops, .vjp = conv_vjp);
OP(conv_dw, SM_TILES, .doc = "gradients of conv by weight and bias", .tiles = conv_dw_tiles,
   .scratch = sm_scratch_conv_dw, .flops = conv_dw_flops);

/* ---- ReLU ------------------------------------------------------------------------------------------ */

sm_tensor *sm_relu(sm_graph *g, sm_tensor *x) {
  sm_tensor *y = sm_result_like(g, x, ".relu");
  SM_EMIT(g, relu, INS(x), OUTS(y));
  return y;
}
static void ops_conv_relu_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *dx = sm_grad_slot(g, n->in[0], &acc);
  if (dx) SM_EMIT(g, relu_dx, INS(sm_value(g, n->in[0]), sm_grad_of(g, n->out[0])), OUTS(dx))->acc = acc;
}
OP(relu, SM_PER_ITEM, .doc = "max(x, 0)", .recompute = true, .vjp = ops_conv_relu_vjp);
OP(relu_dx, SM_PER_ITEM, .doc = "dy where x > 0", .in_place = 1 | 2);

/* ---- pooling and up-sampling ----------------------------------------------------------------------- */

sm_tensor *sm_max_pool(sm_graph *g, sm_tensor *x, int height, int width) {
  if (!sm_want(g, ops_conv_is_picture(x, height, width) && height % 2 == 0 && width % 2 == 0, "max_pool",
               "pictures (B, H·W, C) of even height and width", x))
    return &g->inert;
  sm_tensor *y = sm_result(g, x->dtype, 3, (int64_t[]){x->dim[0], x->dim[1] / 4, x->dim[2]}, x->count);
  ops_conv_set_window(SM_EMIT(g, max_pool, INS(x), OUTS(y)), height, width, 2);
  return y;
}
static void ops_conv_max_pool_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *dx = sm_grad_slot(g, n->in[0], &acc);
  if (!dx) return;
  sm_node *d = SM_EMIT(g, max_pool_dx, INS(sm_value(g, n->in[0]), sm_grad_of(g, n->out[0])), OUTS(dx));
  d->acc = acc;
  ops_conv_set_window(d, n->i[0], n->i[1], 2);
}
OP(max_pool, SM_PER_ITEM, .doc = "largest of 2×2", .vjp = ops_conv_max_pool_vjp);
OP(max_pool_dx, SM_PER_ITEM, .doc = "gradient of max_pool: to the first of the largest");

sm_tensor *sm_upsample(sm_graph *g, sm_tensor *x, int height, int width) {
  if (!sm_want(g, ops_conv_is_picture(x, height, width), "upsample", "pictures (B, H·W, C)", x))
    return &g->inert;
  sm_tensor *y = sm_result(g, x->dtype, 3, (int64_t[]){x->dim[0], x->dim[1] * 4, x->dim[2]}, x->count);
  ops_conv_set_window(SM_EMIT(g, upsample, INS(x), OUTS(y)), height, width, 2);
  return y;
}
static void ops_conv_upsample_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *dx = sm_grad_slot(g, n->in[0], &acc);
  if (!dx) return;
  sm_node *d = SM_EMIT(g, upsample_dx, INS(sm_grad_of(g, n->out[0])), OUTS(dx));
  d->acc = acc;
  ops_conv_set_window(d, n->i[0], n->i[1], 2);
}
OP(upsample, SM_PER_ITEM, .doc = "each pixel as 2×2", .vjp = ops_conv_upsample_vjp);
OP(upsample_dx, SM_PER_ITEM, .doc = "gradient of upsample");

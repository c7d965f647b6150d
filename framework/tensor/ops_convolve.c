/* framework/tensor/ops_convolve.c — convolutions with strides, borders and groups, pooling with windows of any
 * size, hidden cells: builders, rows of the op table and vjps.
 *
 * Pictures lie as tokens, (B, H·W, C). A convolution of windows 1×1 without stride and groups is sm_linear;
 * one with as many groups as channels on both sides (depthwise) has kernels of its own. ops_conv.c has the
 * simpler convolution that keeps the size. Node layouts are in ops.def. */
#include <string.h>

#include "graph.h"

#define OP(NAME, CLASS, ...) const sm_op sm_op_##NAME = {.name = #NAME, .cls = CLASS, __VA_ARGS__}

static bool convolve_is_picture(const sm_tensor *x, int height, int width) {
  return x->ndim == 3 && height > 0 && width > 0 && x->dim[1] == (int64_t)height * width;
}

int sm_window_count(int size, int side, int stride, int pad) {
  const int64_t room = (int64_t)size + 2 * (int64_t)pad - side;
  return room < 0 || stride < 1 ? 0 : (int)(room / stride) + 1;
}

/* ---- convolution --------------------------------------------------------------------------------------- */

static int64_t convolve_filter_tiles(const sm_node *n) {
  return (n->in[0]->dim[0] + SM_FILTER_TILE - 1) / SM_FILTER_TILE;
}
OP(filter_order, SM_TILES, .doc = "a convolution's weight in the order of its products",
   .tiles = convolve_filter_tiles);

/* The ordered weight in the open pass, made once. */
static sm_tensor *convolve_order(sm_graph *g, sm_tensor *w, int64_t groups) {
  const sm_pass *p = g->open >= 0 ? &g->pass[g->open] : NULL;
  for (int i = 0; p && i < p->n; i++)
    if (p->node[i]->op == &sm_op_filter_order && p->node[i]->in[0] == w && p->node[i]->i[5] == groups)
      return p->node[i]->out[0];
  const int64_t area = w->dim[2] * w->dim[3];
  const bool across = groups == w->dim[0] && w->dim[1] == 1;
  sm_tensor *y = across ? sm_result(g, g->config.real, 2, (int64_t[]){area, w->dim[0]}, NULL)
                        : sm_result(g, g->config.real, 2, (int64_t[]){w->dim[0], area * w->dim[1]}, NULL);
  sm_node *n = SM_EMIT(g, filter_order, INS(w), OUTS(y));
  n->i[2] = w->dim[2], n->i[5] = groups;
  return y;
}

static void convolve_copy_shape(sm_node *to, const sm_node *from) { memcpy(to->i, from->i, sizeof to->i); }

static double convolve_flops(const sm_node *n) {
  return 2 * (double)sm_items(n->out[0]) * (double)n->out[0]->dim[1] * (double)sm_elements(n->in[1]);
}
static double convolve_dx_flops(const sm_node *n) {
  return 2 * (double)sm_items(n->in[0]) * (double)n->in[0]->dim[1] * (double)sm_elements(n->in[1]);
}
static double convolve_dw_flops(const sm_node *n) {
  return 2 * (double)sm_items(n->in[0]) * (double)n->in[0]->dim[1] * (double)sm_elements(n->out[0]);
}

static bool convolve_wants(sm_graph *g, const sm_tensor *x, const sm_tensor *w, const sm_tensor *b,
                           const sm_conv_shape *s) {
  return sm_want(g, convolve_is_picture(x, s->height, s->width), "convolve", "pictures (B, H·W, C)", x) &&
         sm_want(g, w->ndim == 4 && w->dim[2] == w->dim[3], "convolve", "a weight (O, C/groups, k, k)", w) &&
         sm_want(g,
                 s->groups > 0 && x->dim[2] % s->groups == 0 && w->dim[0] % s->groups == 0 &&
                     w->dim[1] == x->dim[2] / s->groups,
                 "convolve", "a weight (O, C/groups, k, k) for x's channels and these groups", w) &&
         sm_want(g,
                 s->stride > 0 && s->pad >= 0 &&
                     sm_window_count(s->height, (int)w->dim[2], s->stride, s->pad) > 0 &&
                     sm_window_count(s->width, (int)w->dim[2], s->stride, s->pad) > 0,
                 "convolve", "pictures that a window fits into, with a stride of 1 or more", x) &&
         sm_want(g, !b || (b->ndim == 1 && b->dim[0] == w->dim[0]), "convolve", "a bias (O)", b);
}

sm_tensor *sm_convolve(sm_graph *g, sm_tensor *x, sm_tensor *w, sm_tensor *b, const sm_conv_shape *given) {
  sm_conv_shape s = *given;
  if (!s.stride) s.stride = 1;
  if (!s.groups) s.groups = 1;
  if (!convolve_wants(g, x, w, b, &s)) return &g->inert;
  const int side = (int)w->dim[2];
  if (side == 1 && s.stride == 1 && !s.pad && s.groups == 1) return sm_linear(g, x, w, b);
  const int64_t rows = sm_window_count(s.height, side, s.stride, s.pad),
                cols = sm_window_count(s.width, side, s.stride, s.pad);
  sm_tensor *y = sm_result(g, x->dtype, 3, (int64_t[]){x->dim[0], rows * cols, w->dim[0]}, x->count);
  sm_tensor *ordered = convolve_order(g, w, s.groups);
  const bool across = s.groups == w->dim[0] && w->dim[1] == 1;
  sm_node *n = across ? SM_EMIT(g, depthwise, INS(x, ordered, b, w), OUTS(y))
                      : SM_EMIT(g, convolve, INS(x, ordered, b, w), OUTS(y));
  const int64_t shape[6] = {s.height, s.width, side, s.stride, s.pad, s.groups};
  memcpy(n->i, shape, sizeof shape);
  return y;
}

static void convolve_vjp(sm_graph *g, sm_node *n) {
  sm_tensor *b = n->in[2], *dy = sm_grad_of(g, n->out[0]);
  bool acc = false, acc_w = false, acc_b = false;
  const bool across = n->op == &sm_op_depthwise;
  sm_tensor *dx = sm_grad_slot(g, n->in[0], &acc);
  if (dx) {
    sm_tensor *ordered = sm_value(g, n->in[1]);
    sm_node *d = across ? SM_EMIT(g, depthwise_dx, INS(dy, ordered), OUTS(dx))
                        : SM_EMIT(g, convolve_dx, INS(dy, ordered), OUTS(dx));
    d->acc = acc;
    convolve_copy_shape(d, n);
  }
  sm_tensor *dw = sm_grad_slot(g, n->in[3], &acc_w), *db = b ? sm_grad_slot(g, b, &acc_b) : NULL;
  if (!dw && db) {
    sm_graph_fail(g, "convolve with a trained bias '%s' needs a trained weight", b->name);
    return;
  }
  if (!dw) return;
  sm_tensor *x = sm_value(g, n->in[0]);
  sm_node *d = across ? SM_EMIT(g, depthwise_dw, INS(dy, x), OUTS(dw, db))
                      : SM_EMIT(g, convolve_dw, INS(dy, x), OUTS(dw, db));
  d->acc = (uint32_t)acc_w | (uint32_t)acc_b << 1;
  convolve_copy_shape(d, n);
}

static int64_t convolve_dw_tiles(const sm_node *n) {
  const int64_t part = sm_last_dim(n->in[1]) / n->i[5];
  sm_grid grid = sm_product_grid(sm_last_dim(n->in[0]) / n->i[5], n->i[2] * n->i[2] * part);
  return n->i[5] * grid.row_tiles * grid.column_tiles;
}
static int64_t convolve_channel_tiles(const sm_node *n) { return sm_column_tiles(sm_last_dim(n->in[0])); }

OP(convolve, SM_PER_ITEM, .doc = "convolution with stride, border and groups", .cross = 1u << 1,
   .scratch = sm_scratch_convolve, .flops = convolve_flops, .vjp = convolve_vjp);
OP(convolve_dx, SM_PER_ITEM, .doc = "gradient of convolve by its pictures", .cross = 1u << 1,
   .scratch = sm_scratch_convolve, .flops = convolve_dx_flops);
OP(convolve_dw, SM_TILES, .doc = "gradients of convolve by weight and bias", .tiles = convolve_dw_tiles,
   .scratch = sm_scratch_conv_dw, .flops = convolve_dw_flops);
OP(depthwise, SM_PER_ITEM, .doc = "convolution of each channel alone", .cross = 1u << 1, .vjp = convolve_vjp);
OP(depthwise_dx, SM_PER_ITEM, .doc = "gradient of depthwise by its pictures", .cross = 1u << 1);
OP(depthwise_dw, SM_TILES, .doc = "gradients of depthwise by weight and bias",
   .tiles = convolve_channel_tiles);

/* ---- pooling ------------------------------------------------------------------------------------------- */

static sm_tensor *convolve_pool(sm_graph *g, const sm_op *op, sm_tensor *x, const sm_pool_shape *given) {
  sm_pool_shape s = *given;
  if (!s.stride) s.stride = s.side;
  if (!sm_want(g, convolve_is_picture(x, s.height, s.width), op->name, "pictures (B, H·W, C)", x) ||
      !sm_want(g, s.side > 0 && s.stride > 0 && s.pad >= 0 && 2 * s.pad <= s.side, op->name,
               "a window with a border of at most half its side", x) ||
      !sm_want(g,
               sm_window_count(s.height, s.side, s.stride, s.pad) > 0 &&
                   sm_window_count(s.width, s.side, s.stride, s.pad) > 0,
               op->name, "pictures that a window fits into", x))
    return &g->inert;
  const int64_t rows = sm_window_count(s.height, s.side, s.stride, s.pad),
                cols = sm_window_count(s.width, s.side, s.stride, s.pad);
  sm_tensor *y = sm_result(g, x->dtype, 3, (int64_t[]){x->dim[0], rows * cols, x->dim[2]}, x->count);
  sm_node *n = sm_emit(g, op, 1, &x, 1, &y);
  const int64_t shape[5] = {s.height, s.width, s.side, s.stride, s.pad};
  memcpy(n->i, shape, sizeof shape);
  return y;
}

sm_tensor *sm_pool_max(sm_graph *g, sm_tensor *x, const sm_pool_shape *s) {
  return convolve_pool(g, &sm_op_pool_max, x, s);
}
sm_tensor *sm_pool_mean(sm_graph *g, sm_tensor *x, const sm_pool_shape *s) {
  return convolve_pool(g, &sm_op_pool_mean, x, s);
}

static void convolve_pool_max_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *dx = sm_grad_slot(g, n->in[0], &acc);
  if (!dx) return;
  sm_node *d = SM_EMIT(g, pool_max_dx, INS(sm_value(g, n->in[0]), sm_grad_of(g, n->out[0])), OUTS(dx));
  d->acc = acc;
  convolve_copy_shape(d, n);
}
static void convolve_pool_mean_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *dx = sm_grad_slot(g, n->in[0], &acc);
  if (!dx) return;
  sm_node *d = SM_EMIT(g, pool_mean_dx, INS(sm_grad_of(g, n->out[0])), OUTS(dx));
  d->acc = acc;
  convolve_copy_shape(d, n);
}
OP(pool_max, SM_PER_ITEM, .doc = "largest of a window", .vjp = convolve_pool_max_vjp);
OP(pool_max_dx, SM_PER_ITEM, .doc = "gradient of pool_max: to the first of the largest");
OP(pool_mean, SM_PER_ITEM, .doc = "mean of a window", .vjp = convolve_pool_mean_vjp);
OP(pool_mean_dx, SM_PER_ITEM, .doc = "gradient of pool_mean");

/* ---- hidden cells -------------------------------------------------------------------------------------- */

sm_tensor *sm_hide_cells(sm_graph *g, sm_tensor *x, sm_tensor *token, sm_tensor *mask, int height, int width,
                         int side) {
  if (!sm_want(g,
               convolve_is_picture(x, height, width) && side > 0 && height % side == 0 && width % side == 0,
               "hide_cells", "pictures (B, H·W, C) of whole cells", x) ||
      !sm_want(g,
               mask->dtype == SM_U8 && mask->ndim == 2 &&
                   mask->dim[1] == (int64_t)(height / side) * (width / side),
               "hide_cells", "a mask (B, cells) U8", mask) ||
      !sm_want(g, token->ndim == 2 && token->dim[0] == 1 && token->dim[1] == x->dim[2], "hide_cells",
               "a token (1, C)", token))
    return &g->inert;
  sm_tensor *y = sm_result_like(g, x, ".hidden");
  sm_node *n = SM_EMIT(g, hide_cells, INS(x, token, mask), OUTS(y));
  n->i[0] = height, n->i[1] = width, n->i[2] = side;
  return y;
}
static void convolve_hide_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *dy = sm_grad_of(g, n->out[0]), *dx = sm_grad_slot(g, n->in[0], &acc);
  if (dx) {
    sm_node *d = SM_EMIT(g, hide_cells_dx, INS(dy, n->in[2]), OUTS(dx));
    d->acc = acc;
    convolve_copy_shape(d, n);
  }
  sm_tensor *dt = sm_grad_slot(g, n->in[1], &acc);
  if (!dt) return;
  sm_node *d = SM_EMIT(g, hide_cells_dtoken, INS(dy, n->in[2]), OUTS(dt));
  d->acc = acc;
  convolve_copy_shape(d, n);
}
OP(hide_cells, SM_PER_ITEM, .doc = "pixels of hidden cells become a token", .cross = 1u << 1,
   .vjp = convolve_hide_vjp);
OP(hide_cells_dx, SM_PER_ITEM, .doc = "gradient of hide_cells by its pictures: 0 where hidden");
OP(hide_cells_dtoken, SM_TILES, .doc = "gradient of hide_cells by its token",
   .tiles = convolve_channel_tiles);

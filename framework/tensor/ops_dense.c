/* framework/tensor/ops_dense.c — linear, GELU, layer norm, residual, attention: builders, rows of the op
 * table and vjps.
 *
 * Node layouts are in ops.def. A vjp emits backward nodes; which of its inputs need a gradient decides what
 * is emitted. */
#include <math.h>
#include <string.h>

#include "graph.h"

#define OP(NAME, CLASS, ...) const sm_op sm_op_##NAME = {.name = #NAME, .cls = CLASS, __VA_ARGS__}

/* ---- linear ---------------------------------------------------------------------------------------- */

static double ops_dense_rows_now(const sm_tensor *t) { return (double)sm_items(t) * (double)sm_item_rows(t); }
static double ops_dense_linear_flops(const sm_node *n) {                   /* y = x wᵀ and dx = dy w alike */
  return 2 * ops_dense_rows_now(n->in[0]) * (double)sm_elements(n->in[1]); /* also (D, 3, P, P) */
}
static double ops_dense_linear_dw_flops(const sm_node *n) {
  return 2 * ops_dense_rows_now(n->in[0]) * (double)sm_last_dim(n->in[0]) * (double)sm_last_dim(n->in[1]);
}
static int64_t ops_dense_linear_dw_tiles(const sm_node *n) {
  sm_grid g = sm_product_grid_of(n, sm_last_dim(n->in[0]), sm_last_dim(n->in[1]));
  return g.row_tiles * g.column_tiles;
}

sm_tensor *sm_linear(sm_graph *g, sm_tensor *x, sm_tensor *w, sm_tensor *b) {
  if (!sm_want(g, x->ndim >= 2, "linear", "x with at least two dimensions", x) ||
      !sm_want(g, w->ndim >= 2 && sm_elements(w) == w->dim[0] * sm_last_dim(x), "linear",
               "a weight (N, last dimension of x)", w) ||
      !sm_want(g, !b || (b->ndim == 1 && b->dim[0] == w->dim[0]), "linear", "a bias (N)", b))
    return &g->inert;
  sm_tensor *y = sm_result_last(g, x, w->dim[0]);
  SM_EMIT(g, linear, INS(x, w, b), OUTS(y));
  return y;
}

static void ops_dense_linear_vjp(sm_graph *g, sm_node *n) {
  sm_tensor *x = n->in[0], *w = n->in[1], *b = n->in[2], *dy = sm_grad_of(g, n->out[0]);
  bool acc_w = false, acc_b = false, acc_x;
  sm_tensor *dw = sm_grad_slot(g, w, &acc_w), *db = b ? sm_grad_slot(g, b, &acc_b) : NULL;
  sm_tensor *dx = sm_grad_slot(g, x, &acc_x);
  if (dx) SM_EMIT(g, linear_dx, INS(dy, w), OUTS(dx))->acc = acc_x;
  if (!dw && db) { /* a bias alone cannot be asked for: the kernel makes both */
    sm_graph_fail(g, "linear with a trained bias '%s' needs a trained weight", b->name);
    return;
  }
  if (dw)
    SM_EMIT(g, linear_dw, INS(dy, sm_value(g, x)), OUTS(dw, db))->acc = (uint32_t)acc_w | (uint32_t)acc_b
                                                                                              << 1;
}
OP(linear, SM_PER_ITEM, .doc = "y = x wᵀ + b", .flops = ops_dense_linear_flops, .vjp = ops_dense_linear_vjp,
   .narrow_in = 1, .narrow_out = 1);
OP(linear_dx, SM_PER_ITEM, .doc = "dx = dy w", .flops = ops_dense_linear_flops, .narrow_in = 1,
   .narrow_out = 1);
OP(linear_dw, SM_TILES, .doc = "dw = dyᵀ x, db = Σ dy", .tiles = ops_dense_linear_dw_tiles,
   .flops = ops_dense_linear_dw_flops, .narrow_in = 3);

/* ---- gelu ------------------------------------------------------------------------------------------ */

sm_tensor *sm_gelu(sm_graph *g, sm_tensor *x) {
  sm_tensor *y = sm_result_like(g, x, ".gelu");
  SM_EMIT(g, gelu, INS(x), OUTS(y));
  return y;
}
static void ops_dense_gelu_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *dx = sm_grad_slot(g, n->in[0], &acc);
  if (!dx) return;
  sm_tensor *out[2] = {dx, sm_take_again(g, n->out[0])};
  SM_EMIT(g, gelu_dx, INS(sm_value(g, n->in[0]), sm_grad_of(g, n->out[0])), OUTS(out[0], out[1]))->acc = acc;
}
OP(gelu, SM_PER_ITEM, .doc = "x·Φ(x)", .recompute = true, .vjp = ops_dense_gelu_vjp, .narrow_out = 1);
OP(gelu_dx, SM_PER_ITEM, .doc = "dx = dy·(Φ(x) + x·φ(x)), and x·Φ(x) once more where it is read",
   .narrow_out = 3, .in_place = 1 | 2);

/* ---- layer norm ------------------------------------------------------------------------------------ */

static int64_t ops_dense_column_tiles_of_first(const sm_node *n) {
  return sm_column_tiles(sm_last_dim(n->in[0]));
}

sm_tensor *sm_layer_norm(sm_graph *g, sm_tensor *x, sm_tensor *w, sm_tensor *b, double eps) {
  if (!sm_want(g, x->ndim >= 2, "layer_norm", "x with at least two dimensions", x) ||
      !sm_want(g, !w == !b, "layer_norm", "weight and bias, or neither", w ? w : b) ||
      !sm_want(g, !w || (w->ndim == 1 && w->dim[0] == sm_last_dim(x)), "layer_norm", "a weight (D)", w) ||
      !sm_want(g, !b || (b->ndim == 1 && b->dim[0] == sm_last_dim(x)), "layer_norm", "a bias (D)", b))
    return &g->inert;
  sm_tensor *out[2] = {sm_result_last(g, x, sm_last_dim(x)), sm_result_last(g, x, 2)};
  SM_EMIT(g, layer_norm, INS(x, w, b), OUTS(out[0], out[1]))->f[0] = eps;
  return out[0];
}
/* dx goes to a fresh tensor with the gradient so far as an operand, so that an aliased residual gradient is
 * never copied. */
static void ops_dense_layer_norm_vjp(sm_graph *g, sm_node *n) {
  sm_tensor *x = n->in[0], *w = n->in[1], *b = n->in[2], *stats = n->out[1], *dy = sm_grad_of(g, n->out[0]);
  bool acc_w = false, acc_b = false;
  sm_tensor *dw = w ? sm_grad_slot(g, w, &acc_w) : NULL, *db = b ? sm_grad_slot(g, b, &acc_b) : NULL;
  if ((dw == NULL) != (db == NULL)) {
    sm_graph_fail(g, "layer_norm wants weight '%s' and bias '%s' both trained or both fixed", w->name,
                  b->name);
    return;
  }
  sm_tensor *value = sm_value(g, x);
  if (x->needs_grad && x->persistent) {
    sm_graph_fail(g, "layer_norm of a parameter ('%s') has no gradient", x->name);
    return;
  }
  if (x->needs_grad) {
    sm_tensor *so_far = x->grad;
    x->grad = NULL;
    x->plan->grad_shared = false;
    bool acc;
    sm_tensor *dx = sm_grad_slot(g, x, &acc);
    if (dx) SM_EMIT(g, layer_norm_dx, INS(dy, value, w, stats, so_far), OUTS(dx));
  }
  if (dw)
    SM_EMIT(g, layer_norm_dw, INS(dy, value, stats), OUTS(dw, db))->acc = (uint32_t)acc_w | (uint32_t)acc_b
                                                                                                << 1;
}
OP(layer_norm, SM_PER_ITEM, .doc = "(x - mean)/sqrt(var + eps)·w + b; w and b may be left out",
   .recompute = true, .vjp = ops_dense_layer_norm_vjp, .narrow_out = 1);
OP(layer_norm_dx, SM_PER_ITEM, .doc = "gradient of layer_norm by x, added to an earlier one");
OP(layer_norm_dw, SM_TILES, .doc = "gradient of layer_norm by w and b",
   .tiles = ops_dense_column_tiles_of_first);

/* ---- residual -------------------------------------------------------------------------------------- */

sm_tensor *sm_residual(sm_graph *g, sm_tensor *x, sm_tensor *f, sm_tensor *gamma, sm_tensor *drop, int site) {
  if (!sm_want(g, x->ndim >= 2 && sm_elements(x) == sm_elements(f) && x->count == f->count, "residual",
               "f of the shape of x", f) ||
      !sm_want(g, !gamma || gamma->dim[0] == sm_last_dim(x), "residual", "gamma (D)", gamma) ||
      !sm_want(g, !drop || (drop->ndim == 2 && drop->dim[0] == x->dim[0] && site >= 0 && site < drop->dim[1]),
               "residual", "drop-path factors (B, sites)", drop))
    return &g->inert;
  sm_tensor *y = sm_result_last(g, x, sm_last_dim(x));
  SM_EMIT(g, residual, INS(x, f, gamma, drop), OUTS(y))->i[0] = site;
  return y;
}
static void ops_dense_residual_vjp(sm_graph *g, sm_node *n) {
  sm_tensor *x = n->in[0], *f = n->in[1], *gamma = n->in[2], *drop = n->in[3], *dy = sm_grad_of(g, n->out[0]);
  bool acc;
  sm_tensor *dgamma = gamma ? sm_grad_slot(g, gamma, &acc) : NULL;
  if (dgamma) {
    sm_node *d = SM_EMIT(g, residual_dgamma, INS(dy, sm_value(g, f), drop), OUTS(dgamma));
    d->acc = acc;
    d->i[0] = n->i[0];
  }
  if (!gamma && !drop) {
    sm_grad_pass(g, f, dy);
  } else {
    sm_tensor *df = sm_grad_slot(g, f, &acc);
    if (df) {
      sm_node *d = SM_EMIT(g, residual_df, INS(dy, gamma, drop), OUTS(df));
      d->acc = acc;
      d->i[0] = n->i[0];
    }
  }
  sm_grad_pass(g, x, dy);
}
OP(residual, SM_PER_ITEM, .doc = "x + drop·gamma⊙f", .vjp = ops_dense_residual_vjp);
OP(residual_df, SM_PER_ITEM, .doc = "drop·gamma⊙dy");
OP(residual_dgamma, SM_TILES, .doc = "Σ drop·f⊙dy", .tiles = ops_dense_column_tiles_of_first);

/* ---- attention ------------------------------------------------------------------------------------- */

static double ops_dense_attention_flops(const sm_node *n) { /* two products of T×T×d a head */
  const sm_tensor *qkv = n->in[0];
  return 4 * (double)sm_items(qkv) * (double)qkv->dim[1] * (double)qkv->dim[1] * (double)qkv->dim[2] / 3;
}
static double ops_dense_attention_dx_flops(const sm_node *n) { return 2.5 * ops_dense_attention_flops(n); }

static bool ops_dense_attention_wants(sm_graph *g, const char *op, const sm_tensor *qkv, int heads) {
  return sm_want(g, qkv->ndim == 3 && heads > 0 && qkv->dim[2] % (3 * heads) == 0, op,
                 "qkv (B, T, 3·heads·d)", qkv);
}
static double ops_dense_attention_scale(const sm_tensor *qkv, int heads) {
  return 1 / sqrt((double)qkv->dim[2] / 3 / heads);
}

sm_tensor *sm_attention(sm_graph *g, sm_tensor *qkv, int heads) {
  if (!ops_dense_attention_wants(g, "attention", qkv, heads)) return &g->inert;
  int64_t lse_dim[3] = {qkv->dim[0], heads, qkv->dim[1]};
  sm_tensor *out[2] = {sm_result_last(g, qkv, qkv->dim[2] / 3),
                       sm_result(g, qkv->dtype, 3, lse_dim, qkv->count)};
  sm_node *n = SM_EMIT(g, attention, INS(qkv), OUTS(out[0], out[1]));
  n->i[0] = heads;
  n->f[0] = ops_dense_attention_scale(qkv, heads);
  return out[0];
}
static void ops_dense_attention_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *d = sm_grad_slot(g, n->in[0], &acc);
  if (!d) return;
  sm_node *b = SM_EMIT(
      g, attention_dx,
      INS(sm_value(g, n->in[0]), sm_value(g, n->out[0]), sm_value(g, n->out[1]), sm_grad_of(g, n->out[0])),
      OUTS(d));
  b->acc = acc;
  b->i[0] = n->i[0];
  b->f[0] = n->f[0];
}
sm_tensor *sm_attention_map(sm_graph *g, sm_tensor *qkv, int heads, int prefix) {
  if (!ops_dense_attention_wants(g, "attention_map", qkv, heads) ||
      !sm_want(g, prefix >= 0 && prefix < qkv->dim[1], "attention_map", "more tokens than the prefix", qkv))
    return &g->inert;
  const int64_t dim[3] = {qkv->dim[0], heads, qkv->dim[1] - prefix};
  sm_tensor *y = sm_result(g, qkv->dtype, 3, dim, qkv->count);
  sm_node *n = SM_EMIT(g, attention_map, INS(qkv), OUTS(y));
  n->i[0] = heads;
  n->i[1] = prefix;
  n->f[0] = ops_dense_attention_scale(qkv, heads);
  return y;
}
OP(attention, SM_PER_ITEM, .doc = "softmax(scale·q kᵀ) v, head by head", .scratch = sm_scratch_attention,
   .flops = ops_dense_attention_flops, .vjp = ops_dense_attention_vjp, .narrow_in = 1, .narrow_out = 1);
OP(attention_dx, SM_PER_ITEM, .doc = "gradient of attention; probabilities are made again from lse",
   .scratch = sm_scratch_attention_dx, .flops = ops_dense_attention_dx_flops, .narrow_in = 1 | 2 | 8,
   .narrow_out = 1);
OP(attention_map, SM_PER_ITEM, .doc = "attention row of token 0", .scratch = sm_scratch_attention);

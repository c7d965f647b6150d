/* framework/tensor/ops_sequence.c — sequences of tokens made longer and shorter, and the parts of
 * transformer blocks that later networks have: take, insert, SwiGLU, norms of heads. Node layouts are in
 * ops.def. */
#include "graph.h"

#define OP(NAME, CLASS, ...) const sm_op sm_op_##NAME = {.name = #NAME, .cls = CLASS, __VA_ARGS__}

static int64_t ops_sequence_columns(const sm_node *n) { return sm_column_tiles(sm_last_dim(n->in[0])); }

/* ---- take ------------------------------------------------------------------------------------------ */

sm_tensor *sm_take(sm_graph *g, sm_tensor *x, int keep, int skip, sm_tensor *index, sm_tensor *fill) {
  if (!sm_want(g, x->ndim == 3 && keep >= 0 && keep <= skip && skip <= x->dim[1], "take",
               "tokens (B, T, D) with 0 ≤ keep ≤ skip ≤ T", x) ||
      !sm_want(g,
               index->dtype == SM_I32 && index->ndim == 2 && index->dim[0] == x->dim[0] &&
                   index->count == x->count && keep + index->dim[1] > 0,
               "take", "an index (B, N) of I32", index) ||
      !sm_want(g, !fill || sm_elements(fill) == sm_last_dim(x), "take", "a token (D) to fill with", fill))
    return &g->inert;
  sm_tensor *y = sm_result(g, x->dtype, 3, (int64_t[]){x->dim[0], keep + index->dim[1], x->dim[2]}, x->count);
  sm_node *n = SM_EMIT(g, take, INS(x, index, fill), OUTS(y));
  n->i[0] = keep;
  n->i[1] = skip;
  return y;
}
static void ops_sequence_take_vjp(sm_graph *g, sm_node *n) {
  sm_tensor *dy = sm_grad_of(g, n->out[0]), *index = n->in[1];
  bool acc;
  sm_tensor *dx = sm_grad_slot(g, n->in[0], &acc);
  if (dx) {
    sm_node *d = SM_EMIT(g, take_dx, INS(dy, index), OUTS(dx));
    d->acc = acc;
    d->i[0] = n->i[0];
    d->i[1] = n->i[1];
  }
  sm_tensor *dfill = n->in[2] ? sm_grad_slot(g, n->in[2], &acc) : NULL;
  if (!dfill) return;
  sm_node *d = SM_EMIT(g, take_dfill, INS(dy, index), OUTS(dfill));
  d->acc = acc;
  d->i[0] = n->i[0];
}
OP(take, SM_PER_ITEM, .doc = "tokens by an index of each item, or a fill", .vjp = ops_sequence_take_vjp);
OP(take_dx, SM_PER_ITEM, .doc = "gradient of take by the tokens");
OP(take_dfill, SM_TILES, .doc = "gradient of take by the fill", .tiles = ops_sequence_columns);

/* ---- insert ---------------------------------------------------------------------------------------- */

sm_tensor *sm_insert_tokens(sm_graph *g, sm_tensor *x, sm_tensor *tokens, int at) {
  if (!sm_want(g, x->ndim == 3 && at >= 0 && at <= x->dim[1], "insert", "tokens (B, T, D) with T ≥ at", x) ||
      !sm_want(g, tokens->ndim == 3 && tokens->dim[0] == 1 && tokens->dim[2] == x->dim[2] && !tokens->count,
               "insert", "tokens (1, R, D) to put in", tokens))
    return &g->inert;
  const int64_t dim[3] = {x->dim[0], x->dim[1] + tokens->dim[1], x->dim[2]};
  sm_tensor *y = sm_result(g, x->dtype, 3, dim, x->count);
  SM_EMIT(g, insert, INS(x, tokens), OUTS(y))->i[0] = at;
  return y;
}
static void ops_sequence_insert_vjp(sm_graph *g, sm_node *n) {
  sm_tensor *dy = sm_grad_of(g, n->out[0]);
  bool acc;
  sm_tensor *dx = sm_grad_slot(g, n->in[0], &acc);
  if (dx) {
    sm_node *d = SM_EMIT(g, insert_dx, INS(dy), OUTS(dx));
    d->acc = acc;
    d->i[0] = n->i[0];
  }
  sm_tensor *dtokens = sm_grad_slot(g, n->in[1], &acc);
  if (!dtokens) return;
  sm_node *d = SM_EMIT(g, insert_dtokens, INS(dy), OUTS(dtokens));
  d->acc = acc;
  d->i[0] = n->i[0];
}
OP(insert, SM_PER_ITEM, .doc = "the same tokens put into every sequence", .cross = 1u << 1,
   .vjp = ops_sequence_insert_vjp);
OP(insert_dx, SM_PER_ITEM, .doc = "gradient of insert by the sequence");
OP(insert_dtokens, SM_TILES, .doc = "gradient of insert by the tokens", .tiles = ops_sequence_columns);

/* ---- SwiGLU ---------------------------------------------------------------------------------------- */

sm_tensor *sm_swiglu(sm_graph *g, sm_tensor *x) {
  if (!sm_want(g, x->ndim >= 2 && sm_last_dim(x) % 2 == 0, "swiglu", "x (…, 2·S)", x)) return &g->inert;
  sm_tensor *y = sm_result_last(g, x, sm_last_dim(x) / 2);
  SM_EMIT(g, swiglu, INS(x), OUTS(y));
  return y;
}
static void ops_sequence_swiglu_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *dx = sm_grad_slot(g, n->in[0], &acc);
  if (dx) SM_EMIT(g, swiglu_dx, INS(sm_value(g, n->in[0]), sm_grad_of(g, n->out[0])), OUTS(dx))->acc = acc;
}
OP(swiglu, SM_PER_ITEM, .doc = "silu(first half)·second half", .recompute = true,
   .vjp = ops_sequence_swiglu_vjp);
OP(swiglu_dx, SM_PER_ITEM, .doc = "gradient of swiglu");

/* ---- norms of heads -------------------------------------------------------------------------------- */

sm_tensor *sm_head_norm(sm_graph *g, sm_tensor *x, int first, int heads, sm_tensor *w, sm_tensor *b,
                        double eps) {
  const int64_t d = sm_elements(w);
  if (!sm_want(g, w->ndim == 1 && b->ndim == 1 && b->dim[0] == d, "head_norm", "a weight and a bias (d)",
               w) ||
      !sm_want(g, x->ndim >= 2 && first >= 0 && heads > 0 && first + heads * d <= sm_last_dim(x), "head_norm",
               "x (…, W) with room for heads·d columns from the first on", x))
    return &g->inert;
  sm_tensor *out[2] = {sm_result_last(g, x, sm_last_dim(x)), sm_result_last(g, x, 2 * heads)};
  sm_node *n = SM_EMIT(g, head_norm, INS(x, w, b), OUTS(out[0], out[1]));
  n->i[0] = first;
  n->i[1] = heads;
  n->f[0] = eps;
  return out[0];
}
static void ops_sequence_head_norm_vjp(sm_graph *g, sm_node *n) {
  sm_tensor *x = n->in[0], *w = n->in[1], *b = n->in[2], *dy = sm_grad_of(g, n->out[0]);
  bool acc[2] = {false, false};
  sm_tensor *dw = sm_grad_slot(g, w, &acc[0]), *db = sm_grad_slot(g, b, &acc[1]);
  sm_tensor *value = sm_value(g, x), *stats = sm_value(g, n->out[1]);
  if ((dw == NULL) != (db == NULL)) {
    sm_graph_fail(g, "head_norm wants weight '%s' and bias '%s' both trained or both fixed", w->name,
                  b->name);
    return;
  }
  if (dw) {
    sm_node *d = SM_EMIT(g, head_norm_dw, INS(dy, value, stats, w), OUTS(dw, db));
    d->acc = (uint32_t)acc[0] | (uint32_t)acc[1] << 1;
    d->i[0] = n->i[0];
    d->i[1] = n->i[1];
  }
  sm_tensor *dx = sm_grad_slot(g, x, &acc[0]);
  if (!dx) return;
  sm_node *d = SM_EMIT(g, head_norm_dx, INS(dy, value, w, stats), OUTS(dx));
  d->acc = acc[0];
  d->i[0] = n->i[0];
  d->i[1] = n->i[1];
}
static int64_t ops_sequence_head_columns(const sm_node *n) { return sm_column_tiles(n->in[3]->dim[0]); }
OP(head_norm, SM_PER_ITEM, .doc = "layer norm of each head's part of a row",
   .vjp = ops_sequence_head_norm_vjp);
OP(head_norm_dx, SM_PER_ITEM, .doc = "gradient of head_norm by x");
OP(head_norm_dw, SM_TILES, .doc = "gradient of head_norm by w and b", .tiles = ops_sequence_head_columns);

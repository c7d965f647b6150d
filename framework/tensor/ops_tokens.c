/* framework/tensor/ops_tokens.c — pictures to tokens and lists of tokens: patchify, tokens, position
 * embeddings, gather, prefix, normalisations of rows and weights. Node layouts are in ops.def. */
#include <string.h>

#include "graph.h"

#define OP(NAME, CLASS, ...) const sm_op sm_op_##NAME = {.name = #NAME, .cls = CLASS, __VA_ARGS__}

static int64_t ops_tokens_columns_of_in(const sm_node *n) { return sm_column_tiles(sm_last_dim(n->in[0])); }

/* ---- patches and tokens ---------------------------------------------------------------------------- */

sm_tensor *sm_patchify(sm_graph *g, sm_tensor *x, int patch) {
  if (!sm_want(g, x->ndim == 4 && patch > 0 && x->dim[2] % patch == 0 && x->dim[3] % patch == 0, "patchify",
               "pictures (B, 3, H, W) that divide into patches", x))
    return &g->inert;
  int64_t n = (x->dim[2] / patch) * (x->dim[3] / patch);
  sm_tensor *y = sm_result(g, x->dtype, 3, (int64_t[]){x->dim[0], n, x->dim[1] * patch * patch}, x->count);
  SM_EMIT(g, patchify, INS(x), OUTS(y))->i[0] = patch;
  return y;
}
static void ops_tokens_patchify_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *dx = sm_grad_slot(g, n->in[0], &acc);
  if (!dx) return;
  sm_node *b = SM_EMIT(g, patchify_dx, INS(sm_grad_of(g, n->out[0])), OUTS(dx));
  b->acc = acc;
  b->i[0] = n->i[0];
}
OP(patchify, SM_PER_ITEM, .doc = "(B, C, H, W) → (B, N, C·P·P)", .recompute = true,
   .vjp = ops_tokens_patchify_vjp);
OP(patchify_dx, SM_PER_ITEM, .doc = "gradient of patchify");

sm_tensor *sm_tokens(sm_graph *g, sm_tensor *patches, sm_tensor *cls, sm_tensor *pos, sm_tensor *mask_token,
                     sm_tensor *mask) {
  int64_t d = sm_last_dim(patches), n = patches->ndim == 3 ? patches->dim[1] : 0, prefix = cls != NULL;
  if (!sm_want(g, patches->ndim == 3, "tokens", "patches (B, N, D)", patches) ||
      !sm_want(g, !cls || sm_elements(cls) == d, "tokens", "a [CLS] token (1, 1, D)", cls) ||
      !sm_want(g, !pos || sm_elements(pos) == (n + prefix) * d, "tokens",
               "a position embedding (1, 1+N, D), or (1, N, D) without a [CLS] token", pos) ||
      !sm_want(g,
               !mask || (mask->dtype == SM_U8 && mask->ndim == 2 && mask->dim[0] == patches->dim[0] &&
                         mask->dim[1] == n),
               "tokens", "a mask (B, N) of U8", mask) ||
      !sm_want(g, !mask || (mask_token && sm_elements(mask_token) == d), "tokens", "a mask token (1, D)",
               mask_token))
    return &g->inert;
  sm_tensor *y = sm_result(g, patches->dtype, 3, (int64_t[]){patches->dim[0], n + prefix, d}, patches->count);
  SM_EMIT(g, tokens, INS(patches, cls, pos, mask ? mask_token : NULL, mask), OUTS(y))->i[0] = !cls;
  return y;
}
static void tokens_vjp(sm_graph *g, sm_node *n) {
  sm_tensor *dy = sm_grad_of(g, n->out[0]), *mask = n->in[4];
  bool acc_patch, acc[3] = {false, false, false};
  sm_tensor *dpatch = sm_grad_slot(g, n->in[0], &acc_patch), *out[3] = {NULL, NULL, NULL};
  if (dpatch) {
    sm_node *d = SM_EMIT(g, tokens_dpatch, INS(dy, mask), OUTS(dpatch));
    d->acc = acc_patch;
    d->i[0] = n->i[0];
  }
  for (int k = 0; k < 3; k++)
    if (n->in[k + 1]) out[k] = sm_grad_slot(g, n->in[k + 1], &acc[k]);
  if (!out[0] && !out[1] && !out[2]) return;
  sm_node *d = SM_EMIT(g, tokens_dparam, INS(dy, mask), OUTS(out[0], out[1], out[2]));
  d->acc = (uint32_t)acc[0] | (uint32_t)acc[1] << 1 | (uint32_t)acc[2] << 2;
  d->i[0] = n->i[0];
}
OP(tokens, SM_PER_ITEM, .doc = "[CLS] | patches or mask token, + position embedding", .vjp = tokens_vjp);
OP(tokens_dpatch, SM_PER_ITEM, .doc = "gradient of tokens by patches");
OP(tokens_dparam, SM_TILES, .doc = "gradients of tokens by [CLS], position and mask token",
   .tiles = ops_tokens_columns_of_in);

sm_tensor *sm_position_resize_by(sm_graph *g, sm_tensor *pos, sm_resize_rule rule, int prefix, int h0, int w0,
                                 int h1, int w1) {
  if (!sm_want(g,
               pos->ndim == 3 && pos->dim[0] == 1 && prefix >= 0 && h0 > 0 && w0 > 0 &&
                   pos->dim[1] == prefix + (int64_t)h0 * w0 && h1 > 0 && w1 > 0,
               "position_resize", "a position embedding (1, prefix+h0·w0, D)", pos))
    return &g->inert;
  sm_tensor *y =
      sm_result(g, pos->dtype, 3, (int64_t[]){1, prefix + (int64_t)h1 * w1, pos->dim[2]}, NULL);
  sm_node *n = SM_EMIT(g, position_resize, INS(pos), OUTS(y));
  n->i[0] = h0, n->i[1] = w0, n->i[2] = h1, n->i[3] = w1, n->i[4] = rule, n->i[5] = prefix;
  return y;
}
sm_tensor *sm_position_resize(sm_graph *g, sm_tensor *pos, int h0, int w0, int h1, int w1) {
  return sm_position_resize_by(g, pos, SM_RESIZE_DINO, 1, h0, w0, h1, w1);
}
static void ops_tokens_position_resize_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *d = sm_grad_slot(g, n->in[0], &acc);
  if (!d) return;
  sm_node *b = SM_EMIT(g, position_resize_dx, INS(sm_grad_of(g, n->out[0])), OUTS(d));
  b->acc = acc;
  for (int k = 0; k < 6; k++) b->i[k] = n->i[k];
}
OP(position_resize, SM_TILES, .doc = "bicubic position embedding for another grid",
   .tiles = ops_tokens_columns_of_in, .vjp = ops_tokens_position_resize_vjp);
OP(position_resize_dx, SM_TILES, .doc = "gradient of position_resize", .tiles = ops_tokens_columns_of_in);

/* ---- lists of tokens ------------------------------------------------------------------------------- */

sm_tensor *sm_gather(sm_graph *g, sm_tensor *x, const sm_rows *rows) {
  if (!sm_graph_ok(g)) return &g->inert;
  if (!sm_want(g,
               (x->ndim == 2 || x->ndim == 3) && rows->slot->dim[0] == x->dim[0] &&
                   rows->slot->dim[1] == (x->ndim == 3 ? x->dim[1] : 1),
               "gather", "tokens (B, T, D) or rows (B, D) that fit the row list", x))
    return &g->inert;
  sm_tensor *y = sm_result(g, x->dtype, 2, (int64_t[]){rows->capacity, sm_last_dim(x)}, rows->count);
  SM_EMIT(g, gather, INS(x, rows->token, rows->slot), OUTS(y));
  return y;
}
sm_tensor *sm_gather_items(sm_graph *g, sm_tensor *x, const sm_rows *rows) {
  if (!sm_graph_ok(g)) return &g->inert;
  if (!sm_want(g, x->ndim == 2 && rows->slot->dim[0] == x->dim[0] && !x->needs_grad, "gather_items",
               "values (B, S) of the items that the row list is of, without gradient", x))
    return &g->inert;
  sm_tensor *y = sm_result(g, x->dtype, 2, (int64_t[]){rows->capacity, x->dim[1]}, rows->count);
  SM_EMIT(g, gather, INS(x, rows->token), OUTS(y))->i[0] = rows->slot->dim[1];
  return y;
}
static void ops_tokens_gather_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *dx = sm_grad_slot(g, n->in[0], &acc);
  if (dx) SM_EMIT(g, scatter, INS(sm_grad_of(g, n->out[0]), n->in[2]), OUTS(dx))->acc = acc;
}
OP(gather, SM_PER_ITEM, .doc = "rows of a token tensor by list", .cross = 1, .vjp = ops_tokens_gather_vjp);
OP(scatter, SM_PER_ITEM, .doc = "rows back to their tokens, the others 0", .cross = 1);

sm_tensor *sm_drop_prefix(sm_graph *g, sm_tensor *x, int prefix) {
  if (!sm_want(g, x->ndim == 3 && prefix >= 0 && prefix < x->dim[1], "drop_prefix",
               "tokens (B, T, D) with T > prefix", x))
    return &g->inert;
  sm_tensor *y = sm_result(g, x->dtype, 3, (int64_t[]){x->dim[0], x->dim[1] - prefix, x->dim[2]}, x->count);
  SM_EMIT(g, drop_prefix, INS(x), OUTS(y))->i[0] = prefix;
  return y;
}
static void ops_tokens_drop_prefix_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *dx = sm_grad_slot(g, n->in[0], &acc);
  if (!dx) return;
  sm_node *b = SM_EMIT(g, drop_prefix_dx, INS(sm_grad_of(g, n->out[0])), OUTS(dx));
  b->acc = acc;
  b->i[0] = n->i[0];
}
OP(drop_prefix, SM_PER_ITEM, .doc = "tokens without the first n", .vjp = ops_tokens_drop_prefix_vjp);
OP(drop_prefix_dx, SM_PER_ITEM, .doc = "gradient of drop_prefix");

sm_tensor *sm_mean_tokens(sm_graph *g, sm_tensor *x, int prefix) {
  if (!sm_want(g, x->ndim == 3 && prefix >= 0 && prefix < x->dim[1], "mean_tokens",
               "tokens (B, T, D) with T > prefix", x))
    return &g->inert;
  sm_tensor *y = sm_result(g, x->dtype, 2, (int64_t[]){x->dim[0], x->dim[2]}, x->count);
  SM_EMIT(g, mean_tokens, INS(x), OUTS(y))->i[0] = prefix;
  return y;
}
static void ops_tokens_mean_tokens_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *dx = sm_grad_slot(g, n->in[0], &acc);
  if (!dx) return;
  sm_node *b = SM_EMIT(g, mean_tokens_dx, INS(sm_grad_of(g, n->out[0])), OUTS(dx));
  b->acc = acc;
  b->i[0] = n->i[0];
}
OP(mean_tokens, SM_PER_ITEM, .doc = "mean of the tokens behind the first n",
   .vjp = ops_tokens_mean_tokens_vjp);
OP(mean_tokens_dx, SM_PER_ITEM, .doc = "gradient of mean_tokens");

/* ---- normalisation --------------------------------------------------------------------------------- */

sm_tensor *sm_l2_normalize(sm_graph *g, sm_tensor *x, double eps) {
  if (!sm_want(g, x->ndim >= 2, "l2_normalize", "x with at least two dimensions", x)) return &g->inert;
  sm_tensor *out[2] = {sm_result_last(g, x, sm_last_dim(x)), sm_result_last(g, x, 1)};
  SM_EMIT(g, l2_normalize, INS(x), OUTS(out[0], out[1]))->f[0] = eps;
  return out[0];
}
static void ops_tokens_l2_normalize_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *dx = sm_grad_slot(g, n->in[0], &acc);
  if (!dx) return;
  sm_node *b =
      SM_EMIT(g, l2_normalize_dx,
              INS(sm_grad_of(g, n->out[0]), sm_value(g, n->out[0]), sm_value(g, n->out[1])), OUTS(dx));
  b->acc = acc;
  b->f[0] = n->f[0];
}
OP(l2_normalize, SM_PER_ITEM, .doc = "x/max(‖x‖, eps)", .vjp = ops_tokens_l2_normalize_vjp);
OP(l2_normalize_dx, SM_PER_ITEM, .doc = "gradient of l2_normalize");

static int64_t ops_tokens_row_tiles(const sm_node *n) {
  return (n->in[0]->dim[0] + SM_ROW_TILE - 1) / SM_ROW_TILE;
}
/* Several uses in a pass share one result, and their gradients meet in it. */
static sm_tensor *ops_tokens_weight_norm_made(const sm_graph *g, const sm_tensor *v, const sm_tensor *gain) {
  const sm_pass *p = g->open >= 0 ? &g->pass[g->open] : NULL;
  for (int i = 0; p && i < p->n; i++) {
    const sm_node *n = p->node[i];
    if (n->op == &sm_op_weight_norm && n->in[0] == v && n->in[1] == gain) return n->out[0];
  }
  return NULL;
}
sm_tensor *sm_weight_norm(sm_graph *g, sm_tensor *v, sm_tensor *gain) {
  if (!sm_want(g, v->ndim == 2, "weight_norm", "v (K, F)", v) ||
      !sm_want(g, gain && sm_elements(gain) == v->dim[0], "weight_norm", "a gain (K, 1)", gain))
    return &g->inert;
  sm_tensor *w = ops_tokens_weight_norm_made(g, v, gain);
  if (w) return w;
  w = sm_result(g, v->dtype, 2, v->dim, NULL);
  SM_EMIT(g, weight_norm, INS(v, gain), OUTS(w));
  return w;
}
static void ops_tokens_weight_norm_vjp(sm_graph *g, sm_node *n) {
  bool acc[2] = {false, false};
  sm_tensor *out[2] = {sm_grad_slot(g, n->in[0], &acc[0]), sm_grad_slot(g, n->in[1], &acc[1])};
  if (out[0] || out[1])
    SM_EMIT(g, weight_norm_dv, INS(sm_grad_of(g, n->out[0]), n->in[0], n->in[1]), OUTS(out[0], out[1]))->acc =
        (uint32_t)acc[0] | (uint32_t)acc[1] << 1;
}
OP(weight_norm, SM_TILES, .doc = "gain·v/‖v‖ by rows", .tiles = ops_tokens_row_tiles,
   .vjp = ops_tokens_weight_norm_vjp);
OP(weight_norm_dv, SM_TILES, .doc = "gradient of weight_norm", .tiles = ops_tokens_row_tiles);

sm_tensor *sm_mean_items(sm_graph *g, sm_tensor *x) {
  sm_tensor *y = sm_result(g, x->dtype, 2, (int64_t[]){1, sm_last_dim(x)}, NULL);
  SM_EMIT(g, mean_items, INS(x), OUTS(y));
  return y;
}
OP(mean_items, SM_TILES, .doc = "mean over items and middle dimensions", .tiles = ops_tokens_columns_of_in);

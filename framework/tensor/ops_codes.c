/* framework/tensor/ops_codes.c — learning discrete codes: Gumbel-softmax, KL divergence from uniform, errors
 * of a reconstruction. Builders, rows of the op table and vjps; node layouts are in ops.def. */
#include <string.h>

#include "graph.h"

#define OP(NAME, CLASS, ...) const sm_op sm_op_##NAME = {.name = #NAME, .cls = CLASS, __VA_ARGS__}

static sm_tensor *ops_codes_one_an_item(sm_graph *g, const sm_tensor *x) {
  return sm_result(g, x->dtype, 1, x->dim, x->count);
}

/* ---- Gumbel-softmax -------------------------------------------------------------------------------- */

sm_tensor *sm_gumbel_softmax(sm_graph *g, sm_tensor *logits, sm_tensor *inv_tau, sm_tensor *key) {
  if (!sm_want(g, logits->ndim == 3, "gumbel_softmax", "logits (B, T, K)", logits) ||
      !sm_want(g, sm_elements(inv_tau) == 1, "gumbel_softmax", "a scalar 1/temperature", inv_tau) ||
      !sm_want(g, key->dtype == SM_I32 && sm_elements(key) == 3, "gumbel_softmax", "a key (3) of I32", key))
    return &g->inert;
  sm_tensor *y = sm_result_like(g, logits, ".gumbel_softmax");
  SM_EMIT(g, gumbel_softmax, INS(logits, inv_tau, key), OUTS(y));
  return y;
}
static void ops_codes_gumbel_softmax_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *d = sm_grad_slot(g, n->in[0], &acc);
  if (d)
    SM_EMIT(g, gumbel_softmax_dx, INS(sm_value(g, n->out[0]), sm_grad_of(g, n->out[0]), n->in[1]), OUTS(d))
        ->acc = acc;
}
OP(gumbel_softmax, SM_PER_ITEM, .doc = "softmax((logits + Gumbel noise)/tau)", .cross = 1u << 1 | 1u << 2,
   .vjp = ops_codes_gumbel_softmax_vjp);
OP(gumbel_softmax_dx, SM_PER_ITEM, .doc = "gradient of gumbel_softmax", .cross = 1u << 2, .in_place = 2);

/* ---- KL divergence --------------------------------------------------------------------------------- */

sm_tensor *sm_kl_uniform(sm_graph *g, sm_tensor *logits) {
  if (!sm_want(g, logits->ndim == 3, "kl_uniform", "logits (B, T, K)", logits)) return &g->inert;
  sm_tensor *kl = ops_codes_one_an_item(g, logits);
  SM_EMIT(g, kl_uniform, INS(logits), OUTS(kl));
  return kl;
}
static void ops_codes_kl_uniform_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *d = sm_grad_slot(g, n->in[0], &acc);
  if (d) SM_EMIT(g, kl_uniform_dx, INS(sm_value(g, n->in[0]), sm_grad_of(g, n->out[0])), OUTS(d))->acc = acc;
}
OP(kl_uniform, SM_PER_ITEM, .doc = "Σ over tokens of KL(softmax(logits) ‖ uniform)",
   .vjp = ops_codes_kl_uniform_vjp);
OP(kl_uniform_dx, SM_PER_ITEM, .doc = "gradient of kl_uniform");

/* ---- reconstruction -------------------------------------------------------------------------------- */

sm_tensor *sm_squared_error(sm_graph *g, sm_tensor *p, sm_tensor *x) {
  if (!sm_want(g,
               p->ndim == x->ndim && p->dim[0] == x->dim[0] && p->count == x->count &&
                   sm_item_elements(p) == sm_item_elements(x),
               "squared_error", "pictures of the shape of the prediction", x))
    return &g->inert;
  sm_tensor *e = ops_codes_one_an_item(g, p);
  SM_EMIT(g, squared_error, INS(p, x), OUTS(e));
  return e;
}
static void ops_codes_squared_error_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *d = sm_grad_slot(g, n->in[0], &acc);
  if (d)
    SM_EMIT(g, squared_error_dx, INS(sm_value(g, n->in[0]), sm_value(g, n->in[1]), sm_grad_of(g, n->out[0])),
            OUTS(d))
        ->acc = acc;
}
OP(squared_error, SM_PER_ITEM, .doc = "Σ (p - x)² of an item", .vjp = ops_codes_squared_error_vjp);
OP(squared_error_dx, SM_PER_ITEM, .doc = "gradient of squared_error by p");

sm_tensor *sm_logit_laplace(sm_graph *g, sm_tensor *p, sm_tensor *x, sm_tensor **error) {
  if (error) *error = &g->inert;
  if (!sm_want(g,
               p->ndim == 3 && x->ndim == 3 && p->count == x->count && p->dim[0] == x->dim[0] &&
                   p->dim[1] == x->dim[1] && p->dim[2] == 2 * x->dim[2],
               "logit_laplace", "locations and log-scales (B, T, 2C) for pictures (B, T, C)", p))
    return &g->inert;
  sm_tensor *out[2] = {ops_codes_one_an_item(g, p), ops_codes_one_an_item(g, p)};
  SM_EMIT(g, logit_laplace, INS(p, x), OUTS(out[0], out[1]));
  out[1]->needs_grad = false;
  if (error) *error = out[1];
  return out[0];
}
static void ops_codes_logit_laplace_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *d = sm_grad_slot(g, n->in[0], &acc);
  if (d)
    SM_EMIT(g, logit_laplace_dx, INS(sm_value(g, n->in[0]), sm_value(g, n->in[1]), sm_grad_of(g, n->out[0])),
            OUTS(d))
        ->acc = acc;
}
OP(logit_laplace, SM_PER_ITEM, .doc = "negative log-likelihood of pictures, and squared error",
   .vjp = ops_codes_logit_laplace_vjp);
OP(logit_laplace_dx, SM_PER_ITEM, .doc = "gradient of logit_laplace by the prediction");

/* ---- a factor that changes every step -------------------------------------------------------------- */

sm_tensor *sm_scale_by(sm_graph *g, sm_tensor *x, sm_tensor *factor) {
  if (!sm_want(g, sm_elements(factor) == 1 && factor->dtype == x->dtype, "scale_by", "a scalar factor",
               factor))
    return &g->inert;
  sm_tensor *y = sm_result_like(g, x, ".scale_by");
  SM_EMIT(g, scale_by, INS(x, factor), OUTS(y));
  return y;
}
static void ops_codes_scale_by_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *d = sm_grad_slot(g, n->in[0], &acc);
  if (d) SM_EMIT(g, scale_by, INS(sm_grad_of(g, n->out[0]), n->in[1]), OUTS(d))->acc = acc;
}
OP(scale_by, SM_PER_ITEM, .doc = "factor·x, the factor a scalar of the step", .cross = 1u << 1,
   .vjp = ops_codes_scale_by_vjp);

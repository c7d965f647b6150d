/* framework/tensor/ops_small.c — elementwise ops, sums, state updates, losses; row and pair lists; the op
 * table itself. Node layouts are in ops.def. */
#include <string.h>

#include "graph.h"

#define OP(NAME, CLASS, ...) const sm_op sm_op_##NAME = {.name = #NAME, .cls = CLASS, __VA_ARGS__}

static int64_t ops_small_columns_of_in(const sm_node *n) { return sm_column_tiles(sm_last_dim(n->in[0])); }

static bool ops_small_same_shape(const sm_tensor *a, const sm_tensor *b) {
  return a->ndim == b->ndim && a->count == b->count &&
         !memcmp(a->dim, b->dim, sizeof a->dim[0] * (size_t)a->ndim);
}

/* ---- elementwise ----------------------------------------------------------------------------------- */

sm_tensor *sm_add(sm_graph *g, sm_tensor *a, sm_tensor *b) {
  if (!sm_want(g, ops_small_same_shape(a, b), "add", "two tensors of one shape", b)) return &g->inert;
  sm_tensor *y = sm_result_like(g, a, ".add");
  SM_EMIT(g, add, INS(a, b), OUTS(y));
  return y;
}
static void ops_small_add_vjp(sm_graph *g, sm_node *n) {
  sm_grad_pass(g, n->in[0], sm_grad_of(g, n->out[0]));
  sm_grad_pass(g, n->in[1], sm_grad_of(g, n->out[0]));
}
OP(add, SM_PER_ITEM, .doc = "a + b", .vjp = ops_small_add_vjp);

sm_tensor *sm_mul(sm_graph *g, sm_tensor *a, sm_tensor *b) {
  if (!sm_want(g, ops_small_same_shape(a, b), "mul", "two tensors of one shape", b)) return &g->inert;
  sm_tensor *y = sm_result_like(g, a, ".mul");
  SM_EMIT(g, mul, INS(a, b), OUTS(y));
  return y;
}
static void ops_small_mul_vjp(sm_graph *g, sm_node *n) {
  for (int k = 0; k < 2; k++) {
    bool acc;
    sm_tensor *d = sm_grad_slot(g, n->in[k], &acc);
    if (d) SM_EMIT(g, mul, INS(sm_grad_of(g, n->out[0]), sm_value(g, n->in[1 - k])), OUTS(d))->acc = acc;
  }
}
OP(mul, SM_PER_ITEM, .doc = "a·b", .vjp = ops_small_mul_vjp);

sm_tensor *sm_scale(sm_graph *g, sm_tensor *x, double factor) {
  sm_tensor *y = sm_result_like(g, x, ".scale");
  SM_EMIT(g, scale, INS(x), OUTS(y))->f[0] = factor;
  return y;
}
static void ops_small_scale_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *d = sm_grad_slot(g, n->in[0], &acc);
  if (!d) return;
  sm_node *b = SM_EMIT(g, scale, INS(sm_grad_of(g, n->out[0])), OUTS(d));
  b->acc = acc;
  b->f[0] = n->f[0];
}
OP(scale, SM_PER_ITEM, .doc = "factor·x", .vjp = ops_small_scale_vjp);
OP(copy, SM_PER_ITEM, .doc = "x");
OP(fill, SM_PER_ITEM, .doc = "a constant");

sm_tensor *sm_sum(sm_graph *g, sm_tensor *x) {
  sm_tensor *y = sm_result(g, x->dtype, 1, (int64_t[]){1}, NULL);
  SM_EMIT(g, sum, INS(x), OUTS(y));
  return y;
}
static void ops_small_sum_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *d = sm_grad_slot(g, n->in[0], &acc);
  if (d) SM_EMIT(g, sum_dx, INS(sm_grad_of(g, n->out[0])), OUTS(d))->acc = acc;
}
OP(sum, SM_TILES, .doc = "sum of all valid elements", .vjp = ops_small_sum_vjp);
OP(sum_dx, SM_PER_ITEM, .doc = "gradient of sum", .cross = 1);

/* ---- states ---------------------------------------------------------------------------------------- */

void sm_sum_rows_into(sm_graph *g, sm_tensor *x, sm_tensor *acc) {
  if (sm_want(g, acc->persistent && sm_elements(acc) == sm_last_dim(x), "sum_rows_into", "an accumulator (K)",
              acc))
    SM_EMIT(g, sum_rows_into, INS(x), OUTS(acc))->acc = 1;
}
void sm_add_count_into(sm_graph *g, sm_tensor *x, sm_tensor *acc) {
  if (sm_want(g, acc->persistent && sm_elements(acc) == 1, "add_count_into", "an accumulator (1)", acc))
    SM_EMIT(g, add_count_into, INS(x), OUTS(acc))->acc = 1;
}
void sm_ema_update(sm_graph *g, sm_tensor *state, sm_tensor *sum, sm_tensor *n, sm_tensor *momentum) {
  if (sm_want(g, sm_elements(state) == sm_elements(sum) && state->persistent && sum->persistent, "ema_update",
              "state and sum of one size", sum))
    SM_EMIT(g, ema_update, INS(momentum), OUTS(state, sum, n));
}
OP(sum_rows_into, SM_TILES, .doc = "accumulator += column sums", .tiles = ops_small_columns_of_in);
OP(add_count_into, SM_TILES, .doc = "accumulator += valid items");
OP(ema_update, SM_TILES, .doc = "state = m·state + (1-m)·sum/n; sum = n = 0");

sm_tensor *sm_sinkhorn(sm_graph *g, sm_tensor *logits, sm_tensor *scale, int iterations) {
  if (!sm_want(g, logits->ndim == 2, "sinkhorn", "logits (R, K)", logits) ||
      !sm_want(g, sm_elements(scale) == 1, "sinkhorn", "a scale (1)", scale) ||
      !sm_want(g, iterations > 0, "sinkhorn", "at least one iteration over", logits))
    return &g->inert;
  sm_tensor *shift = NULL, *lse = NULL;
  for (int i = 0; i < iterations; i++) {
    if (shift) {
      lse = sm_result(g, logits->dtype, 1, logits->dim, logits->count);
      SM_EMIT(g, sinkhorn_rows, INS(logits, shift, scale), OUTS(lse));
    }
    shift = sm_result(g, logits->dtype, 1, &logits->dim[1], NULL);
    SM_EMIT(g, sinkhorn_shift, INS(logits, lse, scale), OUTS(shift));
  }
  return shift;
}
OP(sinkhorn_shift, SM_TILES, .doc = "log of the mean weight of each column, over scale",
   .tiles = ops_small_columns_of_in);
OP(sinkhorn_rows, SM_PER_ITEM, .doc = "log of the weight of each row");

sm_tensor *sm_argmax(sm_graph *g, sm_tensor *logits, sm_tensor *shift) {
  if (!sm_want(g, logits->ndim == 2, "argmax", "logits (R, K)", logits)) return &g->inert;
  sm_tensor *ids = sm_result(g, SM_I32, 1, logits->dim, logits->count);
  SM_EMIT(g, argmax, INS(logits, shift), OUTS(ids));
  return ids;
}
OP(argmax, SM_PER_ITEM, .doc = "index of the largest logits - shift");

/* ---- cross-entropy --------------------------------------------------------------------------------- */

sm_xent_out sm_xent(sm_graph *g, sm_tensor *logits, sm_tensor *inv_tau, const sm_target *t,
                    const sm_pairs *pairs) {
  sm_xent_out failed = {&g->inert, &g->inert};
  if (!sm_graph_ok(g)) return failed;
  bool soft = t->form == SM_TARGET_DISTRIBUTION;
  const sm_tensor *of = soft ? t->logits : t->ids;
  if (!sm_want(g, logits->ndim == 2 && pairs->predictions == logits->dim[0], "xent",
               "logits (R, K) with a pair list for R rows", logits) ||
      !sm_want(g, logits->maker, "xent", "computed logits, which it overwrites", logits) ||
      !sm_want(g, (soft || t->form == SM_TARGET_IDS) && of, "xent", "a target of distributions or ids", of) ||
      !sm_want(g, !soft || sm_last_dim(of) == sm_last_dim(logits), "xent",
               "a target as wide as the prediction", of))
    return failed;
  sm_tensor *out[3] = {sm_result(g, logits->dtype, 1, logits->dim, logits->count),
                       sm_result(g, logits->dtype, 2, (int64_t[]){logits->dim[0], 4}, logits->count), logits};
  sm_tensor *in[8] = {logits,
                      inv_tau,
                      pairs->first,
                      pairs->target,
                      pairs->weight,
                      soft ? t->logits : t->ids,
                      soft ? t->shift : NULL,
                      soft ? t->scale : NULL};
  sm_node *n = sm_emit(g, soft ? &sm_op_xent_soft : &sm_op_xent_ids, 8, in, 3, out);
  if (logits->maker) out[0]->needs_grad = logits->needs_grad;
  (void)n;
  sm_keep(g, out[0]);
  sm_keep(g, out[1]);
  return (sm_xent_out){out[0], out[1]};
}
/* The forward kernel has written the gradient over the logits already. */
static void ops_small_xent_vjp(sm_graph *g, sm_node *n) {
  sm_tensor *logits = n->in[0];
  if (!n->out[0]->plan->grad_is_one) {
    sm_graph_fail(g, "the loss of a cross-entropy over '%s' must itself be a loss term", logits->name);
    return;
  }
  const sm_pass *p = &g->pass[g->open];
  for (int i = 0; i < p->forward; i++)
    for (int k = 0; k < SM_MAX_IN; k++)
      if (p->node[i] != n && p->node[i]->in[k] == logits) {
        sm_graph_fail(g,
                      "logits '%s' are overwritten by their cross-entropy and cannot be used by op '%s' too",
                      logits->name, p->node[i]->op->name);
        return;
      }
  if (logits->needs_grad) logits->grad = logits;
}
#define XENT_CROSS (1u << 5)
OP(xent_soft, SM_PER_ITEM, .doc = "cross-entropy against distributions, and its gradient",
   .cross = XENT_CROSS, .scratch = sm_scratch_xent, .vjp = ops_small_xent_vjp);
OP(xent_ids, SM_PER_ITEM, .doc = "cross-entropy against ids, and its gradient", .cross = XENT_CROSS,
   .scratch = sm_scratch_xent, .vjp = ops_small_xent_vjp);

/* ---- regression ------------------------------------------------------------------------------------ */

sm_tensor *sm_regression(sm_graph *g, sm_tensor *x, sm_penalty penalty, double beta, const sm_target *t,
                         const sm_pairs *pairs) {
  if (!sm_graph_ok(g)) return &g->inert;
  if (!sm_want(g, x->ndim == 2 && pairs->predictions == x->dim[0], "regression",
               "predictions (R, D) with a pair list for R rows", x) ||
      !sm_want(g, t->form == SM_TARGET_VECTORS && t->vectors && sm_last_dim(t->vectors) == sm_last_dim(x),
               "regression", "a target of vectors as long as the predictions", x) ||
      !sm_want(g, penalty != SM_SMOOTH_L1 || beta > 0, "regression", "a beta above 0", x))
    return &g->inert;
  sm_tensor *loss = sm_result(g, x->dtype, 1, x->dim, x->count);
  sm_node *n =
      SM_EMIT(g, regression, INS(x, pairs->first, pairs->target, pairs->weight, t->vectors), OUTS(loss));
  n->i[0] = penalty;
  n->f[0] = beta;
  loss->needs_grad = x->needs_grad; /* none flows into the target */
  sm_keep(g, loss);
  return loss;
}
static void ops_small_regression_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *d = sm_grad_slot(g, n->in[0], &acc);
  if (!d) return;
  sm_node *b = SM_EMIT(g, regression_dx,
                       INS(sm_grad_of(g, n->out[0]), sm_value(g, n->in[0]), n->in[1], n->in[2], n->in[3],
                           sm_value(g, n->in[4])),
                       OUTS(d));
  b->acc = acc;
  b->i[0] = n->i[0];
  b->f[0] = n->f[0];
}
OP(regression, SM_PER_ITEM, .doc = "mean penalty on the difference from vectors", .cross = 1u << 4,
   .vjp = ops_small_regression_vjp);
OP(regression_dx, SM_PER_ITEM, .doc = "gradient of regression", .cross = 1u << 5);

/* ---- the table ------------------------------------------------------------------------------------- */

static const sm_op *const table[SM_OP_COUNT] = {
#define X(name) [SM_OP_##name] = &sm_op_##name,
#include "ops.def"
#undef X
};
const sm_op *sm_op_at(int index) { return index >= 0 && index < SM_OP_COUNT ? table[index] : NULL; }
int sm_op_number(const sm_op *op) {
  for (int i = 0; i < SM_OP_COUNT; i++)
    if (table[i] == op) return i;
  return -1;
}
const sm_op *sm_op_named(const char *name) {
  for (int i = 0; i < SM_OP_COUNT; i++)
    if (!strcmp(table[i]->name, name)) return table[i];
  return NULL;
}

/* framework/tensor/autodiff.c — reverse mode: walks a pass backwards and lets each op's vjp emit its backward
 * nodes.
 *
 * Gradients of transients are transients; gradients of parameters are always added to. A gradient may be an
 * alias of another tensor (a residual branch), which is then read-only and copied before anything is added to
 * it.
 *
 * A value of the forward pass that a vjp reads is either kept, since the planner sees it read, or made again
 * by a copy of its node: that of a cheap op always, that of a whole block where the graph recomputes. Copies
 * are made on demand, so what nobody reads is not made; the chain of them ends at borders, inputs and
 * parameters. */
#include "graph.h"

sm_tensor *sm_grad_of(sm_graph *g, sm_tensor *t) {
  (void)g;
  return t->grad;
}

static bool autodiff_grad_allowed(sm_graph *g, const sm_tensor *t) {
  if (t->persistent || t->plan->pass == g->open) return true;
  sm_graph_fail(
      g, "a gradient would leave the pass: '%s' was made in pass '%s'; use one pass from parameters to loss",
      t->name, g->pass[t->plan->pass].name);
  return false;
}

sm_tensor *sm_grad_slot(sm_graph *g, sm_tensor *t, bool *acc) {
  *acc = false;
  if (!t || !t->needs_grad || !sm_graph_ok(g) || !autodiff_grad_allowed(g, t)) return NULL;
  if (t->persistent) {
    *acc = true;
    return t->grad;
  }
  if (!t->grad) {
    t->grad = sm_result_like(g, t, ".grad");
    return t->grad;
  }
  *acc = true;
  if (t->plan->grad_shared) {
    sm_tensor *own = sm_result_like(g, t, ".grad");
    SM_EMIT(g, copy, INS(t->grad), OUTS(own));
    t->grad = own;
    t->plan->grad_shared = false;
  }
  return t->grad;
}

void sm_grad_alias(sm_graph *g, sm_tensor *t, sm_tensor *grad) {
  if (!t || !t->needs_grad || !sm_graph_ok(g) || !autodiff_grad_allowed(g, t)) return;
  t->grad = grad;
  t->plan->grad_shared = true;
}

void sm_grad_pass(sm_graph *g, sm_tensor *t, sm_tensor *dy) {
  if (!t || !t->needs_grad || !dy) return;
  if (!t->grad) {
    sm_grad_alias(g, t, dy);
    return;
  }
  bool acc;
  sm_tensor *dt = sm_grad_slot(g, t, &acc);
  if (dt) SM_EMIT(g, copy, INS(dy), OUTS(dt))->acc = acc;
}

void sm_graph_recompute(sm_graph *g, bool blocks) { g->recompute = blocks; }

/* Only what a copy of the node would make alone and anew can be made again: no sum over micro-batches, no
 * logits that their loss overwrites. */
static bool autodiff_can_be_remade(const sm_node *n) {
  for (int k = 0; k < SM_MAX_OUT; k++)
    if (n->out[k] && (n->out[k]->persistent || n->out[k]->maker != n)) return false;
  return true;
}

sm_tensor *sm_block_border(sm_graph *g, sm_tensor *x) {
  if (!g->recompute || !sm_graph_ok(g) || g->open < 0) return x;
  sm_pass *p = &g->pass[g->open];
  for (int i = p->block; i >= 0 && i < p->n; i++)
    for (int k = 0; autodiff_can_be_remade(p->node[i]) && k < SM_MAX_OUT; k++)
      if (p->node[i]->out[k]) p->node[i]->out[k]->plan->remake = true;
  x->plan->remake = false;
  x->plan->border = true;
  p->block = p->n;
  return x;
}

sm_tensor *sm_value(sm_graph *g, sm_tensor *t) {
  sm_node *m = t->maker;
  if (!g->backward || !m || t->persistent || t->plan->border) return t;
  if (!m->op->recompute && !t->plan->remake) return t;
  if (t->plan->again) return t->plan->again;
  sm_tensor *in[SM_MAX_IN], *out[SM_MAX_OUT];
  for (int k = 0; k < SM_MAX_IN; k++) in[k] = m->in[k] ? sm_value(g, m->in[k]) : NULL;
  for (int k = 0; k < SM_MAX_OUT; k++) {
    out[k] = m->out[k] ? sm_result_like(g, m->out[k], " again") : NULL;
    if (m->out[k]) m->out[k]->plan->again = out[k];
  }
  sm_node *n = sm_emit(g, m->op, SM_MAX_IN, in, SM_MAX_OUT, out);
  for (int k = 0; k < 6; k++) n->i[k] = m->i[k];
  n->f[0] = m->f[0];
  n->f[1] = m->f[1];
  return t->plan->again;
}

/* The twin of t without the node that made it again, so that the caller makes it: NULL where there is none,
 * or where a node of the pass reads it already. (Gradients of weights, its usual readers, wait and come
 * later.) */
sm_tensor *sm_take_again(sm_graph *g, const sm_tensor *t) {
  sm_tensor *twin = sm_graph_ok(g) ? t->plan->again : NULL;
  sm_pass *p = &g->pass[g->open];
  int at = p->n - 1;
  for (; twin && at >= p->forward && p->node[at] != twin->maker; at--)
    for (int k = 0; k < SM_MAX_IN; k++)
      if (p->node[at]->in[k] == twin) return NULL;
  if (!twin || at < p->forward) return NULL;
  for (p->n--; at < p->n; at++) p->node[at] = p->node[at + 1];
  twin->maker = NULL;
  return twin;
}

static bool autodiff_is_fused_loss(const sm_op *op) {
  return op == &sm_op_xent_soft || op == &sm_op_xent_ids;
}

void sm_pass_backward(sm_graph *g) {
  if (!sm_graph_ok(g)) return;
  if (g->open < 0) {
    sm_graph_fail(g, "backward outside a pass");
    return;
  }
  sm_pass *p = &g->pass[g->open];
  p->forward = p->n;
  g->backward = true;
  for (int i = 0; i < p->terms; i++) {
    sm_tensor *t = p->term[i];
    if (t->maker && autodiff_is_fused_loss(t->maker->op)) {
      t->plan->grad_is_one = true;
    } else if (t->needs_grad) {
      bool acc;
      sm_tensor *dt = sm_grad_slot(g, t, &acc);
      if (!dt) break;
      sm_node *n = sm_emit(g, &sm_op_fill, 0, NULL, 1, &dt);
      n->f[0] = 1;
      n->acc = acc;
    }
  }
  for (int i = p->forward - 1; i >= 0 && sm_graph_ok(g); i--) {
    sm_node *n = p->node[i];
    if (n->out[0] && n->out[0]->plan->border) sm_flush_deferred(g); /* before another block is made again */
    if (!n->op->vjp) continue;
    bool flows = false;
    for (int k = 0; k < SM_MAX_OUT; k++)
      flows |= n->out[k] && n->out[k]->needs_grad && n->out[k]->maker == n &&
               (n->out[k]->grad || n->out[k]->plan->grad_is_one);
    if (flows) n->op->vjp(g, n);
  }
  g->backward = false;
  sm_flush_deferred(g);
}

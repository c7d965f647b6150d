/* framework/tensor/ops_batch.c — batch normalisation with running state (Ioffe & Szegedy 2015): builder, rows
 * of the op table, vjp, and the update of the state.
 *
 * All rows of a pass, items times what stands between, are one batch. Sums over rows are cut into parts by
 * shapes alone, each part in one tile, and parts are joined in ascending order: the bits do not depend on
 * threads. What a step says of the state is gathered in accumulators, so that micro-batches add up and the
 * state moves once. Node layouts are in ops.def. */
#include <string.h>

#include "graph.h"

#define OP(NAME, CLASS, ...) const sm_op sm_op_##NAME = {.name = #NAME, .cls = CLASS, __VA_ARGS__}

static int64_t batch_parts(const sm_tensor *x) { return sm_batch_parts(x->dim[0] * sm_item_rows(x)); }

static int64_t batch_part_tiles(const sm_node *n) {
  return batch_parts(n->in[0]) * sm_column_tiles(sm_last_dim(n->in[0]));
}
static int64_t batch_column_tiles(const sm_node *n) { return sm_column_tiles(sm_last_dim(n->in[0])); }

OP(batch_sums, SM_TILES, .doc = "mean and spread of parts of a batch's rows", .tiles = batch_part_tiles);
OP(batch_stats, SM_TILES, .doc = "mean and 1/deviation of a batch, and its share of the running state",
   .tiles = batch_column_tiles);
OP(batch_fixed, SM_TILES, .doc = "the same of a running state", .tiles = batch_column_tiles);
OP(batch_norm_sums, SM_TILES, .doc = "sums of batch_norm's gradients over parts of the rows",
   .tiles = batch_part_tiles);
OP(batch_norm_dw, SM_TILES, .doc = "gradients of batch_norm by gain and shift", .tiles = batch_column_tiles);
OP(batch_norm_dx, SM_PER_ITEM, .doc = "gradient of batch_norm by its rows", .cross = 1u << 2 | 1u << 4);
OP(batch_update, SM_TILES, .doc = "moves a running mean and variance");

static void batch_norm_vjp(sm_graph *g, sm_node *n) {
  sm_tensor *x = n->in[0], *dy = sm_grad_of(g, n->out[0]);
  const int64_t c = sm_last_dim(x);
  bool acc = false, acc_w = false, acc_b = false;
  sm_tensor *dw = sm_grad_slot(g, n->in[2], &acc_w), *db = sm_grad_slot(g, n->in[3], &acc_b);
  sm_tensor *again = sm_value(g, x), *stats = sm_value(g, n->in[1]);
  sm_tensor *part = sm_result(g, g->config.real, 3, (int64_t[]){batch_parts(x), 2, c}, NULL),
            *sums = sm_result(g, g->config.real, 2, (int64_t[]){2, c}, NULL);
  SM_EMIT(g, batch_norm_sums, INS(dy, again, stats), OUTS(part));
  sm_node *d = SM_EMIT(g, batch_norm_dw, INS(part), OUTS(sums, dw, db));
  d->acc = (uint32_t)acc_w << 1 | (uint32_t)acc_b << 2;
  sm_tensor *dx = sm_grad_slot(g, x, &acc);
  if (!dx) return;
  d = SM_EMIT(g, batch_norm_dx, INS(dy, again, stats, n->in[2], sums), OUTS(dx));
  d->acc = acc;
  d->i[0] = n->i[0];
}
OP(batch_norm, SM_PER_ITEM, .doc = "rows less the mean, over the deviation, times gain, plus shift",
   .cross = 1u << 1, .recompute = true, .vjp = batch_norm_vjp);

/* A state that the update shall move. */
static void batch_note(sm_graph *g, const sm_running *r, sm_tensor *sums) {
  sm_moving *m = sm_graph_memory(g, sizeof *m), **at = &g->moving;
  if (!m) return;
  *m = (sm_moving){.mean = r->mean, .var = r->var, .sums = sums, .momentum = r->momentum};
  while (*at) at = &(*at)->next;
  *at = m;
}

/* (2, C): of this batch, or of the running state. */
static sm_tensor *batch_make_stats(sm_graph *g, sm_tensor *x, const sm_running *r, double eps,
                                   bool training) {
  const int64_t c = sm_last_dim(x);
  sm_tensor *stats = sm_result(g, g->config.real, 2, (int64_t[]){2, c}, NULL);
  if (!training) {
    SM_EMIT(g, batch_fixed, INS(r->mean, r->var), OUTS(stats))->f[0] = eps;
    return stats;
  }
  sm_tensor *part = sm_result(g, g->config.real, 3, (int64_t[]){batch_parts(x), 2, c}, NULL);
  SM_EMIT(g, batch_sums, INS(x), OUTS(part));
  sm_tensor *sums = NULL;
  if (r) {
    sums = sm_accumulator(g, "batch norm's sums", 1, (int64_t[]){2 * c + 1});
    batch_note(g, r, sums);
  }
  SM_EMIT(g, batch_stats, INS(part, x), OUTS(stats, sums))->f[0] = eps;
  return stats;
}

static bool batch_is_row(const sm_tensor *t, int64_t c) { return t->ndim == 1 && t->dim[0] == c; }

sm_tensor *sm_batch_norm(sm_graph *g, sm_tensor *x, sm_tensor *w, sm_tensor *b, const sm_running *r,
                         double eps, bool training) {
  const int64_t c = sm_last_dim(x);
  if (!sm_want(g, x->ndim == 2 || x->ndim == 3, "batch_norm", "rows (B, C) or (B, N, C)", x) ||
      !sm_want(g, batch_is_row(w, c), "batch_norm", "a gain (C)", w) ||
      !sm_want(g, batch_is_row(b, c), "batch_norm", "a shift (C)", b) ||
      !sm_want(g, r || training, "batch_norm", "a running state where it does not train", x) ||
      !sm_want(g, !r || batch_is_row(r->mean, c), "batch_norm", "a running mean (C)", r ? r->mean : NULL) ||
      !sm_want(g, !r || batch_is_row(r->var, c), "batch_norm", "a running variance (C)", r ? r->var : NULL))
    return &g->inert;
  if (r && (!r->mean->persistent || !r->var->persistent))
    return sm_graph_fail(g, "batch_norm wants its running state among the parameters, not made by ops");
  if (w->needs_grad != b->needs_grad)
    return sm_graph_fail(g, "batch_norm trains both '%s' and '%s' or neither", w->name, b->name);
  sm_tensor *stats = batch_make_stats(g, x, r, eps, training), *y = sm_result_like(g, x, ".norm");
  SM_EMIT(g, batch_norm, INS(x, stats, w, b), OUTS(y))->i[0] = !training;
  return y;
}

void sm_running_update(sm_graph *g) {
  for (sm_moving *m = g->moving; m && sm_graph_ok(g); m = m->next) {
    sm_tensor *momentum = sm_scalar(g, "batch norm's momentum", m->momentum);
    SM_EMIT(g, batch_update, INS(momentum), OUTS(m->mean, m->var, m->sums));
  }
  g->moving = NULL;
}

bool sm_running_pending(const sm_graph *g) { return g->moving != NULL; }

/* framework/tensor/plan.c — planning, allocating and reporting what a graph takes.
 *
 * In order: which tensors lie in memory as bf16, which kernel each node gets, segments and lifetimes
 * (segments.c), a place for every transient (places.c), scratch, and inputs. */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

/* ---- narrow tensors --------------------------------------------------------------------------------- */

/* With bf16, a tensor lies in memory as bf16 if one op writes it and every op that reads it allows that.
 * These ops read it as an operand of products, which would be rounded anyway: nothing is lost by doing so
 * once, early. */
static void plan_narrow(sm_graph *g) {
  if (!g->config.bf16 || !g->backend->narrow) return;
  for (int i = 0; i < g->tensors; i++) {
    struct sm_tensor_plan *p = g->tensor[i]->plan;
    p->narrow = g->tensor[i]->dtype == SM_F32 && !g->tensor[i]->persistent && !p->kept && g->tensor[i]->maker;
  }
  for (int i = 0; i < g->passes; i++)
    for (int k = 0; k < g->pass[i].n; k++) {
      const sm_node *n = g->pass[i].node[k];
      for (int o = 0; o < SM_MAX_IN; o++)
        if (n->in[o]) n->in[o]->plan->narrow &= n->op->narrow_in >> o & 1;
      for (int o = 0; o < SM_MAX_OUT; o++)
        if (n->out[o])
          n->out[o]->plan->narrow &=
              n->op->narrow_out >> o & 1 && !(n->acc >> o & 1) && n->out[o]->maker == n;
    }
  for (int i = 0; i < g->tensors; i++)
    if (g->tensor[i]->plan->narrow) g->tensor[i]->dtype = SM_BF16;
}

/* ---- the plan ------------------------------------------------------------------------------------ */

static sm_status plan_kernels(sm_graph *g, sm_error *err) {
  int real = g->config.real == SM_F64;
  for (int i = 0; i < g->passes; i++)
    for (int k = 0; k < g->pass[i].n; k++) {
      sm_node *n = g->pass[i].node[k];
      int core = sm_op_number(n->op);
      n->plan->kernel = core >= 0 ? g->kernels->run[core] : n->op->run[g->config.device][real];
      if (!n->plan->kernel) {
        sm_fail(err, SM_EUNSUPPORTED, "op '%s' has no %s kernel for %s", n->op->name, real ? "F64" : "F32",
                g->backend->name);
        return sm_hint(err, "it is used for '%s'; choose another back end or precision",
                       n->out[0] ? n->out[0]->name : "?");
      }
    }
  return SM_OK;
}

static void plan_scratch(sm_graph *g) {
  for (int i = 0; i < g->passes; i++)
    for (int s = 0; s < g->pass[i].segments; s++) {
      sm_segment *segment = &g->pass[i].segment[s];
      for (int k = segment->first; k < segment->last; k++) {
        sm_node *n = g->pass[i].node[k];
        int64_t items = segment->tiles ? 1 : segment->group;
        size_t bytes = n->op->scratch ? sm_round64(n->op->scratch(n, items)) : 0;
        if (bytes > segment->scratch_bytes) segment->scratch_bytes = bytes;
      }
      if (segment->scratch_bytes > g->worker_scratch) g->worker_scratch = segment->scratch_bytes;
    }
}

sm_status sm_graph_plan(sm_graph *g, sm_error *err) {
  if (!sm_graph_ok(g)) {
    if (err) *err = g->error;
    return g->error.code;
  }
  if (g->planned) return SM_OK;
  plan_narrow(g);
  sm_status status = plan_kernels(g, err);
  if (!status) status = sm_plan_segments(g, err);
  if (!status) status = sm_plan_places(g, err);
  if (status) return status;
  plan_scratch(g);
  for (int i = 0; i < g->tensors; i++) {
    sm_tensor *t = g->tensor[i];
    if (!t->persistent || t->plan->data) continue;
    t->plan->bytes = sm_round64((size_t)sm_elements(t) * sm_dtype_size(t->dtype));
    t->plan->offset = g->input_bytes;
    g->input_bytes += t->plan->bytes;
  }
  g->planned = true;
  return SM_OK;
}

/* ---- memory ---------------------------------------------------------------------------------------- */

sm_status sm_graph_allocate(sm_graph *g, sm_error *err) {
  if (g->allocated) return SM_OK;
  size_t threads = (size_t)sm_pool_threads(g->config.pool), worker = sm_worker_bytes(g);
  g->inputs = g->backend->allocate(g->input_bytes + 64);
  g->transients = g->backend->allocate(g->transient_bytes + 64);
  g->workers = g->backend->allocate(worker * threads + 64);
  g->free_at = sm_calloc(threads, sizeof *g->free_at);
  g->seconds = sm_calloc((size_t)g->nodes * threads + 1, sizeof *g->seconds);
  g->calls = sm_calloc((size_t)g->nodes * threads + 1, sizeof *g->calls);
  if (!g->inputs || !g->transients || !g->workers || !g->free_at || !g->seconds || !g->calls || !sm_lists_allocate(g)) {
    char need[32];
    sm_fail(
        err, SM_ENOMEM, "not enough memory for the step: %s are needed",
        sm_human_bytes((double)(g->input_bytes + g->transient_bytes + worker * threads), need, sizeof need));
    return sm_hint(err, "lower train.micro_batch; `smalti plan` shows the largest tensors");
  }
  for (int i = 0; i < g->tensors; i++) {
    sm_tensor *t = g->tensor[i];
    if (t->persistent && !t->plan->data) {
      t->plan->data = g->inputs + t->plan->offset;
      if (t->plan->initial != 0) sm_put(t, t->plan->initial);
    } else if (!t->persistent && t->plan->first_segment >= 0 && !t->plan->local) {
      t->plan->data = g->transients + t->plan->offset;
    }
  }
  g->allocated = true;
  return SM_OK;
}

/* ---- report ---------------------------------------------------------------------------------------- */

static int plan_line_by_bytes(const void *a, const void *b) {
  const sm_plan_line *x = a, *y = b;
  return x->bytes < y->bytes ? 1 : x->bytes > y->bytes ? -1 : strcmp(x->name, y->name);
}

static void plan_collect_lines(sm_graph *g) {
  if (g->line) return;
  g->line = sm_graph_memory(g, (size_t)(g->tensors + 1) * sizeof *g->line);
  if (!g->line) return;
  for (int i = 0; i < g->tensors; i++) {
    const sm_tensor *t = g->tensor[i];
    if (!t->plan->bytes) continue;
    sm_plan_line *l = &g->line[g->lines++];
    *l = (sm_plan_line){.name = t->name,
                        .kind = t->persistent    ? "input"
                                : t->plan->local ? "worker"
                                                 : "transient",
                        .ndim = t->ndim,
                        .bytes = t->plan->bytes};
    memcpy(l->dim, t->dim, sizeof l->dim);
  }
  qsort(g->line, (size_t)g->lines, sizeof *g->line, plan_line_by_bytes);
}

void sm_graph_report(const sm_graph *graph, sm_plan_report *r) {
  sm_graph *g = (sm_graph *)graph; /* the sorted list is made on first use */
  plan_collect_lines(g);
  if (g->allocated) sm_rows_refresh(g); /* flops are those of the items and rows that there are */
  *r = (sm_plan_report){.inputs = g->input_bytes,
                        .transient = g->transient_bytes,
                        .unshared = g->unshared_bytes,
                        .worker = sm_worker_bytes(g) * (size_t)sm_pool_threads(g->config.pool),
                        .nodes = g->nodes,
                        .segments = g->all_segments,
                        .largest = g->line,
                        .n_largest = g->lines};
  for (int i = 0; i < g->passes; i++) r->flops += sm_graph_flops(g, i, 0);
}

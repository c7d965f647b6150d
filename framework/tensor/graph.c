/* framework/tensor/graph.c — building: tensors, passes, scopes, nodes and the sticky error.
 *
 * Owns the graph and everything in its arena. Does not know what any op computes. */
#include "graph.h"

#include <stdlib.h>
#include <string.h>

void sm_products_prepare(void);

int64_t sm_item_elements(const sm_tensor *t) {
  int64_t n = 1;
  for (int i = 1; i < t->ndim; i++) n *= t->dim[i];
  return n;
}
int64_t sm_elements(const sm_tensor *t) { return t->dim[0] * sm_item_elements(t); }
int64_t sm_items(const sm_tensor *t) {
  return t->count && t->count->plan->data ? *(const int32_t *)t->count->plan->data : t->dim[0];
}

const char *sm_shape_text(int ndim, const int64_t *dim, char *buf, size_t size) {
  size_t used = (size_t)snprintf(buf, size, "(");
  for (int i = 0; i < ndim && used < size; i++)
    used += (size_t)snprintf(buf + used, size - used, "%s%lld", i ? ", " : "", (long long)dim[i]);
  if (used < size) snprintf(buf + used, size - used, ")");
  return buf;
}

/* ---- graph ----------------------------------------------------------------------------------------- */

sm_graph *sm_graph_new(const sm_graph_config *config, sm_error *err) {
  sm_dtype precision = config->bf16 && config->real == SM_F32 ? SM_BF16 : config->real;
  const sm_backend *backend = sm_backend_of(config->device);
  const char *isa = config->isa ? config->isa : config->device == SM_CPU ? sm_pool_isa(config->pool) : NULL;
  const sm_kernel_table *kernels = backend ? backend->kernels(precision, isa) : NULL;
  if (!kernels) {
    char here[128];
    sm_fail(err, SM_EUNSUPPORTED, "no %s kernels for instruction set '%s' on this processor",
            sm_dtype_name(precision), isa ? isa : "any");
    sm_hint(err, "choose one of those that are here, or leave it out: %s", sm_isa_list(here, sizeof here));
    return NULL;
  }
  sm_graph *g = sm_calloc(1, sizeof *g);
  if (!g || !(g->arena = sm_arena_new("graph"))) {
    sm_free(g);
    sm_fail(err, SM_ENOMEM, "no memory for a graph");
    return NULL;
  }
  sm_products_prepare();
  g->config = *config;
  g->backend = backend;
  g->kernels = kernels;
  g->open = -1;
  g->inert = (sm_tensor){.name = "(failed)",
                         .dtype = config->real,
                         .ndim = 4,
                         .dim = {1, 1, 1, 1},
                         .persistent = true,
                         .plan = &g->inert_plan};
  return g;
}

void sm_graph_free(sm_graph *g) {
  if (!g) return;
  g->backend->free(g->inputs);
  g->backend->free(g->transients);
  g->backend->free(g->workers);
  sm_free(g->free_at);
  for (int i = 0; i < g->passes; i++) {
    sm_free(g->pass[i].node);
    sm_free(g->pass[i].segment);
    sm_free(g->pass[i].term);
  }
  sm_free(g->tensor);
  sm_free(g->seconds);
  sm_free(g->calls);
  sm_arena_free(g->arena);
  sm_free(g);
}

sm_dtype sm_graph_real(const sm_graph *g) { return g->config.real; }
const char *sm_graph_isa(const sm_graph *g) { return g->kernels->isa; }
bool sm_graph_ok(const sm_graph *g) { return g->error.code == SM_OK; }

sm_tensor *sm_graph_fail(sm_graph *g, const char *fmt, ...) {
  if (sm_graph_ok(g)) {
    char text[sizeof g->error.message];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    sm_text where = {0};
    for (int i = 0; i < g->scopes; i++) sm_text_add(&where, "%s%s", i ? "." : "", g->scope[i]);
    sm_fail(&g->error, SM_EINVAL, "%s%s%s", where.len ? where.s : "", where.len ? ": " : "", text);
    sm_text_free(&where);
  }
  return &g->inert;
}

/* The same with the status that says so. */
static sm_tensor *graph_no_memory(sm_graph *g, const char *what) {
  if (sm_graph_ok(g)) sm_fail(&g->error, SM_ENOMEM, "no memory for %s of the graph", what);
  return &g->inert;
}

void *sm_graph_memory(sm_graph *g, size_t bytes) {
  void *p = sm_arena_alloc(g->arena, bytes);
  if (!p && sm_graph_ok(g)) sm_fail(&g->error, SM_ENOMEM, "no memory while building the graph");
  return p;
}

/* ---- scopes and passes ----------------------------------------------------------------------------- */

void sm_scope_push(sm_graph *g, const char *fmt, ...) {
  char text[128];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  if (g->scopes == SM_SCOPES_MAX) {
    sm_graph_fail(g, "scopes nested deeper than %d", SM_SCOPES_MAX);
    return;
  }
  const char *copy = sm_arena_strdup(g->arena, text);
  g->scope[g->scopes++] = copy ? copy : "";
}
void sm_scope_pop(sm_graph *g) {
  if (g->scopes > 0) g->scopes--;
}

static const char *graph_scoped_name(sm_graph *g, const char *name) {
  char text[256];
  size_t used = 0;
  for (int i = 0; i < g->scopes && used < sizeof text; i++)
    used += (size_t)snprintf(text + used, sizeof text - used, "%s.", g->scope[i]);
  if (used < sizeof text) snprintf(text + used, sizeof text - used, "%s", name);
  const char *copy = sm_arena_strdup(g->arena, text);
  return copy ? copy : "(no memory)";
}

int sm_pass_begin(sm_graph *g, const char *name) {
  if (g->open >= 0) sm_graph_fail(g, "pass '%s' begins inside pass '%s'", name, g->pass[g->open].name);
  if (g->passes == SM_PASSES_MAX) {
    sm_graph_fail(g, "more than %d passes", SM_PASSES_MAX);
    return SM_PASSES_MAX - 1;
  }
  g->open = g->passes++;
  g->pass[g->open].name = sm_arena_strdup(g->arena, name);
  g->pass[g->open].block = -1;
  return g->open;
}
void sm_pass_end(sm_graph *g) {
  if (g->open >= 0 && !g->pass[g->open].forward) g->pass[g->open].forward = g->pass[g->open].n;
  g->open = -1;
}

/* ---- tensors --------------------------------------------------------------------------------------- */

static sm_tensor *graph_tensor_new(sm_graph *g, const char *name, sm_dtype dtype, int ndim,
                                   const int64_t *dim, sm_tensor *count) {
  if (!sm_graph_ok(g)) return &g->inert;
  if (ndim < 1 || ndim > SM_MAX_DIMS)
    return sm_graph_fail(g, "tensor '%s' has %d dimensions, not 1 to %d", name, ndim, SM_MAX_DIMS);
  double bytes = (double)sm_dtype_size(dtype);
  for (int i = 0; i < ndim; i++) {
    if (dim[i] < 0) return sm_graph_fail(g, "dimension %d of tensor '%s' is negative", i, name);
    bytes *= (double)dim[i];
  }
  if (bytes > 1e13) return sm_graph_fail(g, "tensor '%s' would take more than 9 TiB", name);
  if (g->tensors == g->tensors_cap) {
    int cap = g->tensors_cap ? 2 * g->tensors_cap : 256;
    sm_tensor **grown = sm_realloc(g->tensor, (size_t)cap * sizeof *grown);
    if (!grown) return graph_no_memory(g, "a tensor");
    g->tensor = grown;
    g->tensors_cap = cap;
  }
  sm_tensor *t = sm_graph_memory(g, sizeof *t);
  struct sm_tensor_plan *plan = sm_graph_memory(g, sizeof *plan);
  if (!t || !plan) return &g->inert;
  *plan = (struct sm_tensor_plan){
      .pass = g->open, .written = -1, .read = -1, .cross_read = -1, .first_segment = -1, .last_segment = -1};
  *t = (sm_tensor){.name = graph_scoped_name(g, name),
                   .dtype = dtype,
                   .device = g->config.device,
                   .ndim = ndim,
                   .count = count,
                   .plan = plan};
  for (int i = 0; i < ndim; i++) t->dim[i] = dim[i];
  g->tensor[g->tensors++] = t;
  return t;
}

sm_tensor *sm_result(sm_graph *g, sm_dtype dtype, int ndim, const int64_t *dim, sm_tensor *count) {
  if (g->open < 0) return sm_graph_fail(g, "an op was used outside a pass");
  return graph_tensor_new(g, "result", dtype, ndim, dim, count);
}
sm_tensor *sm_result_like(sm_graph *g, const sm_tensor *t, const char *suffix) {
  sm_tensor *r = sm_result(g, t->dtype, t->ndim, t->dim, t->count);
  if (r != &g->inert) r->name = sm_arena_printf(g->arena, "%s%s", t->name, suffix);
  return r;
}
sm_tensor *sm_result_last(sm_graph *g, const sm_tensor *x, int64_t last) {
  int64_t dim[SM_MAX_DIMS];
  for (int i = 0; i < x->ndim; i++) dim[i] = x->dim[i];
  dim[x->ndim - 1] = last;
  return sm_result(g, x->dtype, x->ndim, dim, x->count);
}

sm_tensor *sm_input(sm_graph *g, const char *name, sm_dtype dtype, int ndim, const int64_t *dim,
                    sm_tensor *count) {
  sm_tensor *t = graph_tensor_new(g, name, dtype, ndim, dim, count);
  t->persistent = true;
  t->plan->pass = -1;
  return t;
}
sm_tensor *sm_input_real(sm_graph *g, const char *name, int ndim, const int64_t *dim, sm_tensor *count) {
  return sm_input(g, name, g->config.real, ndim, dim, count);
}
sm_tensor *sm_count(sm_graph *g, const char *name, int64_t capacity) {
  sm_tensor *t = sm_input(g, name, SM_I32, 1, (int64_t[]){1}, NULL);
  t->plan->initial = (double)capacity;
  return t;
}
sm_tensor *sm_scalar(sm_graph *g, const char *name, double value) {
  sm_tensor *t = sm_input_real(g, name, 1, (int64_t[]){1}, NULL);
  t->plan->initial = value;
  return t;
}
sm_tensor *sm_accumulator(sm_graph *g, const char *name, int ndim, const int64_t *dim) {
  sm_tensor *t = sm_input_real(g, name, ndim, dim, NULL);
  if (t != &g->inert) t->plan->accumulator = true;
  return t;
}

sm_tensor *sm_graph_accumulator(const sm_graph *g, int index) {
  for (int i = 0; i < g->tensors; i++)
    if (g->tensor[i]->plan->accumulator && index-- == 0) return g->tensor[i];
  return NULL;
}
sm_tensor *sm_external(sm_graph *g, const char *name, sm_dtype dtype, int ndim, const int64_t *dim,
                       void *data, void *grad) {
  sm_tensor *t = graph_tensor_new(g, name, dtype, ndim, dim, NULL);
  if (t == &g->inert) return t;
  t->name = sm_arena_strdup(g->arena, name); /* named by its owner, not by where it is first used */
  t->persistent = true;
  t->plan->pass = -1;
  t->plan->data = data;
  if (grad) {
    sm_tensor *d = graph_tensor_new(g, name, dtype, ndim, dim, NULL);
    if (d == &g->inert) return d;
    d->name = sm_arena_printf(g->arena, "%s.grad", name);
    d->persistent = true;
    d->plan->pass = -1;
    d->plan->data = grad;
    t->grad = d;
    t->needs_grad = true;
  }
  return t;
}
sm_tensor *sm_graph_owned_known(const sm_graph *g, const void *owner, int index) {
  for (const sm_owned *o = g->owned; o; o = o->next)
    if (o->owner == owner) return index < o->n ? o->tensor[index] : NULL;
  return NULL;
}
sm_tensor **sm_graph_owned(sm_graph *g, const void *owner, int index, int n) {
  sm_owned *o = g->owned;
  while (o && o->owner != owner) o = o->next;
  if (!o) {
    o = sm_graph_memory(g, sizeof *o);
    sm_tensor **list = sm_graph_memory(g, (size_t)n * sizeof *list);
    if (!o || !list) return NULL;
    *o = (sm_owned){owner, list, n, g->owned};
    g->owned = o;
  }
  return &o->tensor[index];
}
void sm_keep(sm_graph *g, sm_tensor *t) {
  if (t != &g->inert) t->plan->kept = true;
}

/* ---- nodes ----------------------------------------------------------------------------------------- */

sm_node *sm_append(sm_graph *g, sm_node *n) {
  sm_pass *p = &g->pass[g->open];
  if (p->n == p->cap) {
    int cap = p->cap ? 2 * p->cap : 128;
    sm_node **grown = sm_realloc(p->node, (size_t)cap * sizeof *grown);
    if (!grown) {
      graph_no_memory(g, "a node");
      return &g->inert_node;
    }
    p->node = grown;
    p->cap = cap;
  }
  return p->node[p->n++] = n;
}

/* Backward reductions into parameter gradients wait, so that the chain of per-item nodes is not cut by a
 * barrier at each of them; a flush puts those that wait side by side into one segment. Their order among
 * themselves is kept. */
#define DEFER_LIMIT 6
static bool graph_may_defer(const sm_graph *g, const sm_node *n) {
  if (!g->backward || n->op->cls != SM_TILES) return false;
  for (int k = 0; k < SM_MAX_OUT; k++)
    if (n->out[k] && !n->out[k]->persistent) return false;
  return true;
}
void sm_flush_deferred(sm_graph *g) {
  int n = g->n_deferred;
  g->n_deferred = 0;
  for (int i = 0; i < n; i++) sm_append(g, g->deferred[i]);
}

sm_node *sm_emit(sm_graph *g, const sm_op *op, int n_in, sm_tensor *const *in, int n_out,
                 sm_tensor *const *out) {
  if (!sm_graph_ok(g)) return &g->inert_node;
  if (g->open < 0) {
    sm_graph_fail(g, "op %s was used outside a pass", op->name);
    return &g->inert_node;
  }
  if (n_in > SM_MAX_IN || n_out > SM_MAX_OUT) {
    sm_graph_fail(g, "op %s has too many operands", op->name);
    return &g->inert_node;
  }
  sm_node *n = sm_graph_memory(g, sizeof *n);
  struct sm_node_plan *plan = sm_graph_memory(g, sizeof *plan);
  if (!n || !plan) return &g->inert_node;
  n->op = op;
  n->plan = plan;
  bool grad = false;
  for (int k = 0; k < n_in; k++) {
    n->in[k] = in[k];
    grad |= in[k] && in[k]->needs_grad;
  }
  for (int k = 0; k < n_out; k++) {
    sm_tensor *t = n->out[k] = out[k];
    if (!t || t->persistent || t->maker) continue;
    t->maker = n;
    t->needs_grad = grad && op->vjp && !g->backward;
    if (!strcmp(t->name + strlen(t->name) - (strlen(t->name) < 6 ? 0 : 6), "result"))
      t->name = sm_arena_printf(g->arena, "%.*s%s", (int)(strlen(t->name) - 6), t->name, op->name);
  }
  if (graph_may_defer(g, n)) {
    g->deferred[g->n_deferred++] = n;
    if (g->n_deferred == DEFER_LIMIT) sm_flush_deferred(g);
    return n;
  }
  return sm_append(g, n);
}

bool sm_want(sm_graph *g, bool ok, const char *op, const char *what, const sm_tensor *t) {
  char shape[96];
  if (!sm_graph_ok(g)) return false;
  if (!ok)
    sm_graph_fail(g, "%s wants %s, but '%s' is %s %s", op, what, t ? t->name : "nothing",
                  t ? sm_dtype_name(t->dtype) : "",
                  t ? sm_shape_text(t->ndim, t->dim, shape, sizeof shape) : "");
  return ok;
}

void sm_loss_term(sm_graph *g, sm_tensor *t) {
  if (!sm_graph_ok(g)) return;
  if (g->open < 0 || t->plan->pass != g->open) {
    sm_graph_fail(g, "loss term '%s' is not made in the open pass", t->name);
    return;
  }
  sm_pass *p = &g->pass[g->open];
  sm_tensor **grown = sm_realloc(p->term, (size_t)(p->terms + 1) * sizeof *grown);
  if (!grown) {
    graph_no_memory(g, "a loss term");
    return;
  }
  p->term = grown;
  p->term[p->terms++] = t;
  sm_keep(g, t);
}

/* param.c — parameters as tensors of a graph.
 *
 * The graph keeps one tensor for each row of a set that owns memory, so asking again (or by an alias) gives
 * the same tensor, and the gradients of all uses meet in one place. */
#include "framework/nn/nn.h"

#include <string.h>

#include "framework/tensor/graph.h"
#include "set.h"

sm_tensor *sm_set_tensor(sm_set *set, sm_graph *g, int row) {
  row = sm_set_root(set, row);
  const sm_row *r = &set->row[row];
  if (!set->sealed)
    return sm_graph_fail(g, "parameter '%s' of set '%s' is used before the set is sealed", r->name,
                         set->name);
  if (sm_graph_real(g) != set->real)
    return sm_graph_fail(g, "set '%s' holds %s, but the graph computes in %s", set->name,
                         sm_dtype_name(set->real), sm_dtype_name(sm_graph_real(g)));
  sm_tensor **place = sm_graph_ok(g) ? sm_graph_owned(g, set, row, set->rows) : NULL;
  if (!place) return &g->inert;
  if (*place) return *place;
  char name[300];
  snprintf(name, sizeof name, "%s.%s", set->name, r->name);
  void *grad = r->flags & SM_ROW_FROZEN ? NULL : sm_set_data(set, row, SM_GRADIENTS);
  sm_tensor *made = sm_external(g, name, set->real, r->ndim, r->dim, sm_set_data(set, row, SM_VALUES), grad);
  if (made != &g->inert) *place = made;
  return made;
}

bool sm_set_used(const sm_set *set, const sm_graph *g, int row) {
  return sm_graph_owned_known(g, set, sm_set_root(set, row)) != NULL;
}

static sm_tensor *param_fail_unknown(sm_graph *g, const sm_set *set, const char *name) {
  const char **names = sm_calloc((size_t)set->rows + 1, sizeof *names);
  for (int r = 0; names && r < set->rows; r++) names[r] = set->row[r].name;
  const char *near = names ? sm_nearest(name, names) : NULL;
  sm_tensor *inert = sm_graph_fail(g, "parameter set '%s' has no '%s'%s%s%s", set->name, name,
                                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
  sm_free(names);
  return inert;
}

sm_tensor *sm_param(sm_graph *g, const sm_params *p, const char *name, ...) {
  char full[256];
  int n = snprintf(full, sizeof full, "%s", p->prefix ? p->prefix : "");
  if (n >= 0 && (size_t)n < sizeof full) {
    va_list args;
    va_start(args, name);
    int m = vsnprintf(full + n, sizeof full - (size_t)n, name, args);
    va_end(args);
    n = m < 0 ? m : n + m;
  }
  if (n < 0 || (size_t)n >= sizeof full)
    return sm_graph_fail(g, "a parameter name of set '%s' is longer than %d characters: %s…", p->set->name,
                         (int)sizeof full - 1, full);
  int row = sm_set_find(p->set, full);
  return row >= 0 ? sm_set_tensor(p->set, g, row) : param_fail_unknown(g, p->set, full);
}

/* framework/tensor/ops_maps.c — maps of another size: builders, rows of the op table and vjps.
 *
 * A map lies as tokens, (B, H·W, C). Both rules of sm_resample are separable: a number of the result is a sum
 * over rows and columns of the map, weighted by where they lie. Node layouts are in ops.def. */
#include <string.h>

#include "graph.h"

#define OP(NAME, CLASS, ...) const sm_op sm_op_##NAME = {.name = #NAME, .cls = CLASS, __VA_ARGS__}

sm_tensor *sm_resample(sm_graph *g, sm_tensor *x, sm_resample_rule rule, int height, int width, int to_height,
                       int to_width) {
  if (!sm_want(g, x->ndim == 3 && height > 0 && width > 0 && x->dim[1] == (int64_t)height * width, "resample",
               "maps (B, H·W, C)", x) ||
      !sm_want(g, to_height > 0 && to_width > 0, "resample", "a size to give to", x))
    return &g->inert;
  if (height == to_height && width == to_width) return x; /* both rules leave it as it is */
  sm_tensor *y =
      sm_result(g, x->dtype, 3, (int64_t[]){x->dim[0], (int64_t)to_height * to_width, x->dim[2]}, x->count);
  sm_node *n = SM_EMIT(g, resample, INS(x), OUTS(y));
  const int64_t shape[5] = {height, width, to_height, to_width, rule};
  memcpy(n->i, shape, sizeof shape);
  return y;
}

static void maps_resample_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *dx = sm_grad_slot(g, n->in[0], &acc);
  if (!dx) return;
  sm_node *d = SM_EMIT(g, resample_dx, INS(sm_grad_of(g, n->out[0])), OUTS(dx));
  d->acc = acc;
  memcpy(d->i, n->i, sizeof d->i);
}
OP(resample, SM_PER_ITEM, .doc = "a map in another size", .vjp = maps_resample_vjp);
OP(resample_dx, SM_PER_ITEM, .doc = "gradient of resample");

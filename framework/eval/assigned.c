/* assigned.c — the number of the head's largest output for each picture, as iBOT's unsup_cls.py takes it.
 *
 * Owns a graph of the network and its head while it works. */
#include "features.h"

#include <smalti/measure.h>

typedef struct assigner {
  sm_graph *graph;
  int pass;
  sm_tensor *count, *pictures, *ids;
} assigner;

static sm_status assigned_build(const sm_eval_context *x, assigner *a, sm_error *err) {
  const sm_graph_config config = {.device = SM_CPU, .real = SM_F32, .pool = x->pool, .bf16 = x->bf16};
  sm_graph *g = a->graph = sm_graph_new(&config, err);
  if (!g) return err ? err->code : SM_ENOMEM;
  a->pass = sm_pass_begin(g, "head");
  a->count = sm_count(g, "pictures", SM_EVAL_BATCH);
  const int64_t dim[] = {SM_EVAL_BATCH, 3, x->height, x->width};
  a->pictures = sm_input_real(g, "pictures", 4, dim, a->count);
  const sm_backbone_in in = {.pictures = a->pictures, .view = true};
  sm_backbone_out out = {0};
  sm_network_build(x->network, g, NULL, &in, &out);
  a->ids = sm_argmax(g, sm_network_logits(x->network, g, NULL, out.view, SM_SITE_VIEW), NULL);
  sm_keep(g, a->ids);
  sm_pass_end(g);
  sm_status status = sm_graph_plan(g, err);
  return status ? status : sm_graph_allocate(g, err);
}

static sm_status assigned_no_head(sm_error *err) {
  sm_fail(err, SM_EINVAL, "the network has no [CLS] head whose largest output could be taken");
  return sm_hint(err,
                 "evaluate a run or a checkpoint that was trained with a loss on [CLS]; exported weights "
                 "have no head");
}

static sm_status assigned_reserve(sm_assigned *to, const sm_picture_list *list, int outputs, sm_error *err) {
  const size_t room = list->n > 0 ? (size_t)list->n : 1;
  *to = (sm_assigned){.outputs = outputs,
                      .classes = list->classes,
                      .cluster = sm_malloc(room * sizeof *to->cluster),
                      .label = sm_malloc(room * sizeof *to->label)};
  return to->cluster && to->label ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for clusters of pictures");
}

static sm_status assigned_run(sm_eval_context *x, const assigner *a, const char *split, int64_t all,
                              sm_assigned *to, sm_error *err) {
  const int64_t pixels = 3 * (int64_t)x->height * x->width;
  sm_pictures *pictures;
  sm_picture_batch b;
  sm_status status = sm_pictures_open(x, &(sm_picture_request){.split = split}, &pictures, err);
  if (status) return status;
  while (!status && !(status = sm_pictures_next(pictures, &b, err)) && b.n) {
    sm_put(a->count, b.n);
    sm_write(a->pictures, 0, b.n * pixels, b.x);
    sm_graph_run(a->graph, a->pass);
    sm_read_i32(a->ids, 0, b.n, to->cluster + to->n);
    for (int i = 0; i < b.n; i++) to->label[to->n++] = b.label[i];
    status = x->going_on(x, (double)to->n / (double)all, err);
  }
  sm_pictures_close(pictures);
  return status;
}

sm_status sm_assigned_eval(sm_eval_context *x, const char *split, sm_assigned *to, sm_error *err) {
  assigner a = {0};
  sm_picture_list list;
  const char *doing = x->doing;
  *to = (sm_assigned){0};
  const int outputs = x->network ? sm_network_describe(x->network)->view_dim : 0;
  if (outputs < 1) return assigned_no_head(err);
  x->doing = "outputs of the head";
  sm_status status = sm_picture_list_get(x, split, &list, err);
  if (!status) status = assigned_build(x, &a, err);
  if (!status) status = assigned_reserve(to, &list, outputs, err);
  if (!status) status = assigned_run(x, &a, split, list.n, to, err);
  sm_graph_free(a.graph);
  x->doing = doing;
  if (status) sm_assigned_free(to);
  return status;
}

void sm_assigned_free(sm_assigned *to) {
  sm_free(to->cluster);
  sm_free(to->label);
  *to = (sm_assigned){0};
}

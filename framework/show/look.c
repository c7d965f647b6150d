/* look.c — a graph that looks at one picture at a time: view, patches, attention, queries, keys and values, logits of
 * the patches. */
#include <math.h>
#include <string.h>

#include <smalti/show.h>

#include "framework/models/models.h"

enum { LOOKED = 7 };
struct sm_looker {
  sm_look_request want;
  sm_graph *graph;
  sm_tensor *x, *view, *patches, *attention, *logits, *as_view, *as_patch, *qkv;
  int pass;
  sm_look look;
  float *memory[LOOKED]; /* view, patches, attention, logits, the head's two answers to the view, and qkv */
};

static sm_status looker_refuse(const sm_network *n, const char *what, const char *hint, sm_error *err) {
  sm_fail(err, SM_EUNSUPPORTED, "backbone `%s` has no %s to look at", sm_network_describe(n)->name, what);
  return sm_hint(err, "%s", hint);
}

static sm_status looker_check(sm_looker *l, const sm_network *n, sm_backbone_spec *spec, sm_error *err) {
  sm_status status = sm_network_at(n, l->want.height, l->want.width, spec, err);
  if (status) return status;
  if ((l->want.attention || l->want.qkv) && spec->heads < 1)
    return looker_refuse(n, "attention", "take a vision transformer, or another figure: pca, matches", err);
  if (l->want.logits && sm_network_describe(n)->patch_dim < 1)
    return looker_refuse(n, "head on patches", "give a run folder whose losses join a head at the patches", err);
  l->look = (sm_look){.rows = spec->rows, .cols = spec->cols, .cell = spec->cell, .dim = spec->dim,
                      .heads = spec->heads, .outputs = l->want.logits ? sm_network_describe(n)->patch_dim : 0};
  return SM_OK;
}

static void looker_build(sm_looker *l, const sm_network *n, const sm_backbone_spec *spec) {
  sm_graph *g = l->graph;
  sm_tensor *count = sm_count(g, "pictures", 1);
  const sm_network_spec *about = sm_network_describe(n);
  const bool both = l->want.logits && about->view_dim == about->patch_dim;
  l->pass = sm_pass_begin(g, "look");
  l->x = sm_input_real(g, "pictures", 4, (int64_t[]){1, 3, l->want.height, l->want.width}, count);
  sm_backbone_in in = {.pictures = l->x, .view = l->want.view || both, .attention = l->want.attention};
  in.qkv = l->want.qkv;
  in.patches = l->want.patches || l->want.logits;
  if (l->want.raw) in.blocks = 1, in.block[0] = (sm_block_wish){spec->blocks > 0 ? spec->blocks - 1 : 0, true};
  sm_backbone_out out = {0};
  sm_network_build(n, g, NULL, &in, &out);
  l->view = l->want.view ? out.view : NULL, l->attention = out.attention, l->qkv = out.qkv;
  l->patches = l->want.patches ? l->want.raw ? out.block[0].patches : out.patches : NULL;
  if (l->want.logits) l->logits = sm_network_logits(n, g, NULL, out.patches, SM_SITE_PATCH);
  if (both) {
    l->as_view = sm_network_logits(n, g, NULL, out.view, SM_SITE_VIEW);
    l->as_patch = sm_network_logits(n, g, NULL, out.view, SM_SITE_PATCH);
  }
  sm_tensor *kept[] = {l->view, l->patches, l->attention, l->logits, l->as_view, l->as_patch, l->qkv};
  for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
    if (kept[i]) sm_keep(g, kept[i]);
  sm_pass_end(g);
}

static sm_status looker_memory(sm_looker *l, sm_error *err) {
  const size_t cells = (size_t)l->look.rows * (size_t)l->look.cols, k = (size_t)l->look.outputs;
  const sm_tensor *made[] = {l->view, l->patches, l->attention, l->logits, l->as_view, l->as_patch, l->qkv};
  const size_t size[] = {(size_t)l->look.dim, cells * (size_t)l->look.dim, cells * (size_t)l->look.heads,
                         cells * k, k, k, 3 * cells * (size_t)l->look.dim};
  for (int i = 0; i < LOOKED; i++)
    if (made[i] && !(l->memory[i] = sm_malloc(size[i] * sizeof(float))))
      return sm_fail(err, SM_ENOMEM, "no memory for what the network sees");
  return SM_OK;
}

static sm_status looker_open(sm_looker *l, const sm_network *n, sm_pool *pool, sm_backbone_spec *spec,
                             sm_error *err) {
  sm_status status = looker_check(l, n, spec, err);
  if (status) return status;
  const sm_graph_config config = {
      .device = SM_CPU, .real = sm_set_real(sm_network_set(n)), .pool = pool, .bf16 = l->want.bf16};
  if (!(l->graph = sm_graph_new(&config, err))) return err->code;
  looker_build(l, n, spec);
  status = sm_graph_plan(l->graph, err);
  if (!status) status = sm_graph_allocate(l->graph, err);
  return status ? status : looker_memory(l, err);
}

sm_looker *sm_looker_new(const sm_network *n, sm_pool *pool, const sm_look_request *want, sm_error *err) {
  if (!n || !sm_network_set(n)) {
    sm_fail(err, SM_EUNSUPPORTED, "pixels are no network: there is nothing that it sees");
    sm_hint(err, "leave '--net pixels' out; '--net init' is an untrained network");
    return NULL;
  }
  sm_looker *l = sm_calloc(1, sizeof *l);
  sm_backbone_spec *spec = sm_calloc(1, sizeof *spec);
  sm_status status = l && spec ? SM_OK : sm_fail(err, SM_ENOMEM, "out of memory");
  if (!status) l->want = *want, status = looker_open(l, n, pool, spec, err);
  sm_free(spec);
  if (!status) return l;
  sm_looker_free(l);
  return NULL;
}

void sm_looker_free(sm_looker *l) {
  if (!l) return;
  sm_graph_free(l->graph);
  for (int i = 0; i < LOOKED; i++) sm_free(l->memory[i]);
  sm_free(l);
}

static bool looker_take(const sm_tensor *t, float *to, size_t n) {
  bool finite = true;
  if (!t) return true;
  sm_read(t, 0, (int64_t)n, to);
  for (size_t i = 0; i < n; i++) finite &= isfinite(to[i]) != 0;
  return finite;
}

sm_status sm_looker_run(sm_looker *l, const float *x, sm_look *out, sm_error *err) {
  const size_t cells = (size_t)l->look.rows * (size_t)l->look.cols, k = (size_t)l->look.outputs;
  sm_write(l->x, 0, 3 * (int64_t)l->want.height * l->want.width, x);
  sm_graph_run(l->graph, l->pass);
  bool finite = looker_take(l->view, l->memory[0], (size_t)l->look.dim);
  finite &= looker_take(l->patches, l->memory[1], cells * (size_t)l->look.dim);
  finite &= looker_take(l->attention, l->memory[2], cells * (size_t)l->look.heads);
  finite &= looker_take(l->logits, l->memory[3], cells * k);
  finite &= looker_take(l->qkv, l->memory[6], 3 * cells * (size_t)l->look.dim);
  looker_take(l->as_view, l->memory[4], k), looker_take(l->as_patch, l->memory[5], k);
  if (!finite) {
    sm_fail(err, SM_EINVAL, "the network's answer to a picture holds values that are not finite");
    return sm_hint(err, "its weights are damaged, or the run diverged: take an earlier checkpoint");
  }
  *out = l->look;
  out->view = l->memory[0], out->patches = l->memory[1], out->attention = l->memory[2], out->logits = l->memory[3];
  out->qkv = l->memory[6];
  out->shared = l->as_view && l->as_patch && !memcmp(l->memory[4], l->memory[5], k * sizeof(float));
  return SM_OK;
}

/* features_net.c — see features.h. */
#include "features.h"

#include <string.h>

#include "framework/base/work.h"
#include "framework/models/models.h"

#define STRIP 64 /* columns summed together */

struct sm_feature_net {
  sm_feature_config c;
  sm_backbone_spec spec;
  sm_graph *graph; /* NULL: pixels */
  int pass, blocks;
  sm_tensor *count, *pictures, *view[SM_WISHES_MAX],
      *patches;                         /* views of the kept blocks, the last one at the end */
  int64_t at[SM_WISHES_MAX + 1], width; /* their columns; after the last, the mean of patches */
};

/* ---- the graph ----------------------------------------------------------------------------------------- */

static int net_depth(const sm_feature_net *n) { return n->spec.blocks > 1 ? n->spec.blocks : 1; }
static int net_some_blocks(const sm_feature_net *n) {
  return net_depth(n) < SM_SOME_BLOCKS ? net_depth(n) : SM_SOME_BLOCKS;
}

static sm_status net_choose_blocks(sm_feature_net *n, sm_error *err) {
  n->blocks = n->c.blocks > 1 ? n->c.blocks : 1;
  if (n->c.some_blocks && net_some_blocks(n) > n->blocks) n->blocks = net_some_blocks(n);
  if (n->blocks <= net_depth(n) && n->blocks <= SM_WISHES_MAX) return SM_OK;
  sm_fail(err, SM_EINVAL, "features of the last %d blocks are wanted, but the backbone has %d%s", n->blocks,
          net_depth(n), net_depth(n) > SM_WISHES_MAX ? " and gives at most 16" : "");
  return sm_hint(err, "ask for fewer n_last_blocks");
}

static void net_lay_out(sm_feature_net *n) {
  int first = net_depth(n) - n->blocks;
  for (int b = 0; b < n->blocks; b++) {
    int dim = n->spec.block[first + b].dim;
    n->at[b + 1] = n->at[b] + (b < n->blocks - 1 && dim ? dim : n->spec.dim);
  }
  n->width = n->at[n->blocks] + (n->c.patches ? n->spec.dim : 0);
}

/* How many pictures the next run is over. */
static void net_count(const sm_feature_net *n, int64_t pictures) { sm_put(n->count, (double)pictures); }

static void net_passes(sm_feature_net *n) {
  sm_graph *g = n->graph;
  const int64_t dim[] = {SM_EVAL_BATCH, 3, n->c.height, n->c.width};
  n->pass = sm_pass_begin(g, "features");
  n->count = sm_count(g, "pictures", SM_EVAL_BATCH);
  n->pictures = sm_input_real(g, "pictures", 4, dim, n->count);
  sm_backbone_in in = {
      .pictures = n->pictures, .view = true, .patches = n->c.patches, .blocks = n->blocks - 1};
  for (int b = 0; b < in.blocks; b++) in.block[b].block = net_depth(n) - n->blocks + b;
  sm_backbone_out out = {0};
  sm_network_build(n->c.network, g, NULL, &in, &out);
  for (int b = 0; b < n->blocks; b++)
    sm_keep(g, n->view[b] = b < in.blocks ? out.block[b].view : out.view);
  if (n->c.patches) sm_keep(g, n->patches = out.patches);
  sm_pass_end(g);
}

static sm_status net_build(sm_feature_net *n, sm_error *err) {
  sm_status status = sm_network_at(n->c.network, n->c.height, n->c.width, &n->spec, err);
  if (!status) status = net_choose_blocks(n, err);
  if (status) return status;
  net_lay_out(n);
  sm_graph_config config = {.device = SM_CPU,
                            .real = sm_set_real(sm_network_set(n->c.network)),
                            .pool = n->c.pool,
                            .bf16 = n->c.bf16};
  if (!(n->graph = sm_graph_new(&config, err))) return err ? err->code : SM_ENOMEM;
  net_passes(n);
  status = sm_graph_plan(n->graph, err);
  if (n->c.planned) return status;
  if (!status) status = sm_graph_allocate(n->graph, err);
  if (!status) net_count(n, SM_EVAL_BATCH);
  return status;
}

sm_status sm_feature_net_new(const sm_feature_config *c, sm_feature_net **out, sm_error *err) {
  sm_feature_net *n = sm_calloc(1, sizeof *n);
  *out = NULL;
  if (!n) return sm_fail(err, SM_ENOMEM, "no memory for an evaluation");
  n->c = *c;
  n->width = 3 * (int64_t)c->height * c->width;
  sm_status status = c->network ? net_build(n, err) : SM_OK;
  if (status) sm_feature_net_free(n);
  else *out = n;
  return status;
}

void sm_feature_net_free(sm_feature_net *n) {
  if (n) sm_graph_free(n->graph);
  sm_free(n);
}

int64_t sm_feature_net_width(const sm_feature_net *n) { return n->width; }

void sm_feature_net_report(const sm_feature_net *n, sm_plan_report *r) {
  *r = (sm_plan_report){0};
  if (!n->graph) return;
  if (!n->c.planned) net_count(n, SM_EVAL_BATCH); /* flops are those of the pictures there are */
  sm_graph_report(n->graph, r);
}

/* ---- running it ---------------------------------------------------------------------------------------- */

typedef struct pooling {
  const sm_feature_net *net;
  float *to;
} pooling;

static void net_mean(const sm_tensor *patches, int64_t picture, float *to) {
  int64_t n = patches->dim[1], dim = patches->dim[2];
  float part[STRIP];
  for (int64_t d = 0; d < dim; d += STRIP) {
    int wide = dim - d < STRIP ? (int)(dim - d) : STRIP;
    double sum[STRIP] = {0};
    for (int64_t k = 0; k < n; k++) {
      sm_read(patches, (picture * n + k) * dim + d, wide, part);
      for (int j = 0; j < wide; j++) sum[j] += (double)part[j];
    }
    for (int j = 0; j < wide; j++) to[d + j] = (float)(sum[j] / (double)n);
  }
}

static void net_pool(void *context, int64_t i, int worker) {
  const pooling *p = context;
  const sm_feature_net *n = p->net;
  (void)worker;
  float *to = p->to + i * n->width;
  for (int b = 0; b < n->blocks; b++) {
    int64_t dim = n->at[b + 1] - n->at[b];
    sm_read(n->view[b], i * dim, dim, to + n->at[b]);
  }
  if (n->c.patches) net_mean(n->patches, i, to + n->at[n->blocks]);
}

void sm_feature_net_run(sm_feature_net *n, const float *x, int64_t pictures, float *to) {
  int64_t pixels = 3 * (int64_t)n->c.height * n->c.width;
  if (!n->graph) memcpy(to, x, (size_t)(pictures * pixels) * sizeof *to);
  for (int64_t first = 0; n->graph && first < pictures; first += SM_EVAL_BATCH) {
    int64_t some = pictures - first < SM_EVAL_BATCH ? pictures - first : SM_EVAL_BATCH;
    sm_write(n->pictures, 0, some * pixels, x + first * pixels);
    net_count(n, some);
    sm_graph_run(n->graph, n->pass);
    pooling p = {n, to + first * n->width};
    sm_work_name(sm_pool_log(n->c.pool), "features: pooling");
    sm_pool_run(n->c.pool, some, net_pool, &p);
  }
}

/* ---- a choice of columns ------------------------------------------------------------------------------- */

static void net_name(sm_feature_spec *spec) {
  char blocks[32] = "";
  if (spec->blocks > 1) snprintf(blocks, sizeof blocks, " of the last %d blocks", spec->blocks);
  if (spec->pool == SM_POOL_MEAN) snprintf(spec->what, sizeof spec->what, "mean features");
  else if (spec->pool == SM_POOL_CLS) snprintf(spec->what, sizeof spec->what, "cls features%s", blocks);
  else snprintf(spec->what, sizeof spec->what, "cls features%s and mean features", blocks);
}

sm_status sm_feature_net_columns(const sm_feature_net *n, sm_feature_spec *spec, int64_t *first,
                                 int64_t *columns, sm_error *err) {
  *first = 0;
  *columns = n->width;
  if (!n->graph) {
    spec->blocks = 0;
    snprintf(spec->what, sizeof spec->what, "pixels as features");
    return SM_OK;
  }
  if (spec->pool == SM_POOL_MEAN) spec->blocks = 0;
  else if (spec->blocks == 0) spec->blocks = net_some_blocks(n);
  if (spec->blocks < 0 || spec->blocks > n->blocks || (spec->pool != SM_POOL_CLS && !n->c.patches))
    return sm_fail(err, SM_EINTERNAL, "an evaluation asks for features that its `wants` did not announce");
  *first = n->at[n->blocks - spec->blocks];
  *columns = n->at[n->blocks] - *first + (spec->pool != SM_POOL_CLS ? n->spec.dim : 0);
  net_name(spec);
  return SM_OK;
}

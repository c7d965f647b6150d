/* dense.c — features of the patches of whole pictures (smalti/dense.h). Owns the pictures of a batch, one
 * more that is of another size, and a graph for the size in hand. */
#include <math.h>
#include <string.h>

#include <smalti/dense.h>

#include "evaluator.h"

enum { DENSE_BATCH = 8 };

struct sm_dense {
  sm_eval_context *x, own; /* own: of a rank that follows rank 0's */
  sm_dense_request r;
  sm_picture_list list;
  int64_t at; /* pictures that were read */
  sm_whole whole[DENSE_BATCH + 1];
  int read, given; /* of `whole`; the batch is those before `batch` */
  int batch;
  sm_backbone_spec spec; /* for pictures of height × width */
  int height, width, rows, cols, dim;
  sm_graph *graph;
  int pass;
  sm_tensor *count, *pictures, *patches[SM_WISHES_MAX];
  float *feature; /* (batch, rows · cols, dim) */
  float *given_x; /* (batch, 3, height, width): pictures for other ranks; NULL where there are none */
};

/* ---- opening ------------------------------------------------------------------------------------------- */

static sm_status dense_fit_grid(sm_dense *d, const sm_network_spec *about, sm_error *err) {
  d->r.size.multiple = about->backbone.cell;
  if (!about->backbone.one_grid) return SM_OK;
  if (d->r.size.height || d->r.size.width || d->r.size.shorter) {
    sm_fail(err, SM_EINVAL, "the backbone takes pictures of %d x %d pixels only", about->width,
            about->height);
    return sm_hint(err, "leave the size out: pictures are then resized to that");
  }
  d->r.size.height = about->height, d->r.size.width = about->width;
  return SM_OK;
}

sm_status sm_dense_open(sm_eval_context *x, const sm_dense_request *r, sm_dense **out, sm_error *err) {
  sm_dense *d = sm_calloc(1, sizeof *d);
  *out = NULL;
  if (!d) return sm_fail(err, SM_ENOMEM, "no memory for features of patches");
  d->x = x, d->r = *r;
  sm_status status = SM_OK;
  if (!r->index) {
    status = sm_picture_list_get(x, r->split, &d->list, err);
    d->r.index = d->list.index, d->r.n = d->list.n;
  }
  if (!status && x->network) status = dense_fit_grid(d, sm_network_describe(x->network), err);
  else d->r.size.multiple = r->cell > 1 ? r->cell : 1;
  if (status) sm_dense_close(d);
  else *out = d;
  return status;
}

void sm_dense_close(sm_dense *d) {
  if (!d) return;
  for (int i = 0; i <= DENSE_BATCH; i++) sm_whole_free(&d->whole[i]);
  sm_graph_free(d->graph);
  sm_free(d->feature);
  sm_free(d->given_x);
  sm_free(d);
}

/* ---- a graph for pictures of one size ------------------------------------------------------------------ */

static int dense_depth(const sm_dense *d) { return d->spec.blocks > 1 ? d->spec.blocks : 1; }

static sm_status dense_check_blocks(sm_dense *d, sm_error *err) {
  const int depth = dense_depth(d), first = depth - d->r.blocks;
  if (d->r.blocks < 1 || d->r.blocks > depth || d->r.blocks > SM_WISHES_MAX) {
    sm_fail(err, SM_EINVAL, "patches of the last %d blocks are wanted, but the backbone has %d", d->r.blocks,
            depth);
    return sm_hint(err, "ask for fewer n_last_blocks");
  }
  d->dim = 0;
  for (int b = first; b < depth; b++) {
    const sm_block_spec *s = &d->spec.block[b];
    d->dim += s->dim ? s->dim : d->spec.dim;
    if (!s->rows || (s->rows == d->spec.rows && s->cols == d->spec.cols)) continue;
    sm_fail(err, SM_EINVAL, "block %d has a grid of %d x %d patches, but the last one %d x %d", b, s->cols,
            s->rows, d->spec.cols, d->spec.rows);
    return sm_hint(err, "take the last block alone: n_last_blocks=1");
  }
  return SM_OK;
}

static void dense_passes(sm_dense *d) {
  sm_graph *g = d->graph;
  d->pass = sm_pass_begin(g, "patches");
  d->count = sm_count(g, "pictures", DENSE_BATCH);
  d->pictures = sm_input_real(g, "pictures", 4, (int64_t[]){DENSE_BATCH, 3, d->height, d->width}, d->count);
  sm_backbone_in in = {.pictures = d->pictures, .patches = true, .blocks = d->r.blocks - 1};
  for (int b = 0; b < in.blocks; b++) in.block[b].block = dense_depth(d) - d->r.blocks + b;
  sm_backbone_out out = {0};
  sm_network_build(d->x->network, g, NULL, &in, &out);
  for (int b = 0; b < d->r.blocks; b++)
    sm_keep(g, d->patches[b] = b < in.blocks ? out.block[b].patches : out.patches);
  sm_pass_end(g);
}

static sm_status dense_build(sm_dense *d, sm_error *err) {
  sm_status status = sm_network_at(d->x->network, d->height, d->width, &d->spec, err);
  if (!status) status = dense_check_blocks(d, err);
  if (status) return status;
  d->rows = d->spec.rows, d->cols = d->spec.cols;
  const sm_graph_config config = {.device = SM_CPU,
                                  .real = sm_set_real(sm_network_set(d->x->network)),
                                  .pool = d->x->pool,
                                  .bf16 = d->x->bf16};
  sm_graph_free(d->graph);
  if (!(d->graph = sm_graph_new(&config, err))) return err ? err->code : SM_ENOMEM;
  dense_passes(d);
  status = sm_graph_plan(d->graph, err);
  return status ? status : sm_graph_allocate(d->graph, err);
}

/* A rank that follows shares nothing. */
static bool dense_shares(const sm_dense *d) {
  const sm_evaluator *e = d->x->core;
  return e && d->x != &d->own && sm_evaluator_shares_rows(e);
}

static sm_status dense_size(sm_dense *d, int height, int width, sm_error *err) {
  if (d->height == height && d->width == width) return SM_OK;
  d->height = height, d->width = width;
  sm_status status = SM_OK;
  if (d->x->network) status = dense_build(d, err);
  else {
    const int cell = d->r.size.multiple;
    d->rows = d->height / cell, d->cols = d->width / cell, d->dim = 3 * cell * cell;
  }
  if (status) return status;
  const size_t pixels = 3 * (size_t)height * (size_t)width;
  sm_free(d->feature);
  sm_free(d->given_x);
  d->given_x = dense_shares(d) ? sm_malloc(DENSE_BATCH * pixels * sizeof *d->given_x) : NULL;
  d->feature =
      sm_malloc(DENSE_BATCH * (size_t)d->rows * (size_t)d->cols * (size_t)d->dim * sizeof *d->feature);
  if (d->feature && (d->given_x || !dense_shares(d))) return SM_OK;
  d->height = d->width = 0;
  return sm_fail(err, SM_ENOMEM, "no memory for features of %d x %d patches", d->cols, d->rows);
}

/* ---- a batch ------------------------------------------------------------------------------------------- */

/* Pictures of one size, and perhaps one of another behind them. */
static sm_status dense_fill(sm_dense *d, sm_error *err) {
  if (d->batch && d->batch < d->read) { /* the one that is left comes first */
    const sm_whole first = d->whole[0];
    d->whole[0] = d->whole[d->batch];
    d->whole[d->batch] = first;
    d->read = 1;
  } else {
    d->read = 0;
  }
  d->batch = d->given = 0;
  while (d->read < DENSE_BATCH + 1 && d->at < d->r.n) {
    bool bad = false;
    sm_whole *w = &d->whole[d->read];
    sm_status status = sm_whole_read(d->x, d->r.split, d->r.index[d->at], &d->r.size, w, &bad, err);
    if (status) return status;
    d->at++;
    if (bad) continue;
    d->read++;
    if (w->height != d->whole[0].height || w->width != d->whole[0].width) break;
  }
  while (d->batch < d->read && d->batch < DENSE_BATCH && d->whole[d->batch].height == d->whole[0].height &&
         d->whole[d->batch].width == d->whole[0].width)
    d->batch++;
  return SM_OK;
}

/* Blocks side by side. */
static void dense_take_patches(const sm_dense *d, int i) {
  const int64_t cells = (int64_t)d->rows * d->cols;
  int64_t column = 0;
  for (int b = 0; b < d->r.blocks; b++) {
    const int64_t wide = d->patches[b]->dim[2];
    for (int64_t p = 0; p < cells; p++)
      sm_read(d->patches[b], (i * cells + p) * wide, wide, d->feature + (i * cells + p) * d->dim + column);
    column += wide;
  }
}

static bool dense_is_finite(const sm_dense *d, int i) {
  const int64_t n = (int64_t)d->rows * d->cols * d->dim;
  for (int64_t k = 0; k < n; k++)
    if (!isfinite(d->feature[i * n + k])) return false;
  return true;
}

static sm_status dense_not_finite(const char *what, sm_error *err) {
  sm_fail(err, SM_EINVAL, "the patches of %.200s are not finite numbers", what);
  return sm_hint(err, "the weights hold NaN or infinities, or training diverged");
}

static sm_status dense_check_finite(const sm_dense *d, int i, sm_error *err) {
  sm_dataset set;
  if (dense_is_finite(d, i)) return SM_OK;
  sm_status status = sm_picture_dataset(d->x, d->r.split, &set, err);
  return status ? status : dense_not_finite(set.ops->name(set.self, d->whole[i].index), err);
}

/* n pictures of the size in hand into d->feature. */
static void dense_compute(sm_dense *d, const float *const *x, int n) {
  const int64_t pixels = 3 * (int64_t)d->height * d->width;
  if (d->graph) {
    for (int i = 0; i < n; i++) sm_write(d->pictures, i * pixels, pixels, x[i]);
    sm_put(d->count, n);
    sm_graph_run(d->graph, d->pass);
  }
  for (int i = 0; i < n; i++)
    if (d->graph) dense_take_patches(d, i);
    else
      sm_patch_pixels(x[i], d->height, d->width, d->r.size.multiple,
                      d->feature + (int64_t)i * d->rows * d->cols * d->dim);
}

/* ---- by ranks ------------------------------------------------------------------------------------------ */

/* What ranks are given (sm_row_job), in this order. */
enum { SHAPE, PICTURES };
typedef struct dense_shape {
  int32_t height, width, blocks, multiple;
} dense_shape;

/* A rank that follows keeps its graph until the size changes, or nothing more is asked of it. */
static sm_status dense_follow(sm_evaluator *e, const dense_shape *shape, sm_dense **out, sm_error *err) {
  sm_dense *d = e->dense;
  if (!d && !(d = e->dense = sm_calloc(1, sizeof *d)))
    return sm_fail(err, SM_ENOMEM, "no memory for features of patches");
  if (!d->x) d->own = sm_evaluator_context(e), d->x = &d->own;
  if (d->r.blocks != shape->blocks) d->height = d->width = 0;
  d->r.blocks = shape->blocks, d->r.size.multiple = shape->multiple;
  *out = d;
  return dense_size(d, shape->height, shape->width, err);
}

sm_status sm_dense_rows(const sm_row_job *j, int64_t first, int64_t n, void *made, sm_pool *pool, sm_error *err) {
  const float *x[DENSE_BATCH];
  sm_dense *d = j->own;
  sm_status status = d ? SM_OK : dense_follow(j->by, j->given[SHAPE].x, &d, err);
  (void)pool;
  if (status) return status;
  const int64_t pixels = 3 * (int64_t)d->height * d->width;
  for (int i = 0; i < n; i++) x[i] = (const float *)j->given[PICTURES].x + (first + i) * pixels;
  dense_compute(d, x, (int)n);
  if (made != (void *)d->feature) memcpy(made, d->feature, (size_t)n * j->bytes);
  return SM_OK;
}

/* n pictures of the size in hand into d->feature, by all ranks that there are. Rank 0's share comes first, where it is
 * computed anyway. */
static sm_status dense_features(sm_dense *d, const float *const *x, int n, sm_error *err) {
  sm_evaluator *e = d->x->core;
  const size_t picture = 3 * (size_t)d->height * (size_t)d->width * sizeof **x;
  if (!d->given_x || e->joined) return dense_compute(d, x, n), SM_OK;
  for (int i = 0; i < n; i++) memcpy((char *)d->given_x + (size_t)i * picture, x[i], picture);
  const dense_shape shape = {d->height, d->width, d->r.blocks, d->r.size.multiple};
  const sm_row_job job = {
      .work = SM_ROWS_PATCHES,
      .make = sm_dense_rows,
      .doing = "features of patches",
      .n = n,
      .most = DENSE_BATCH,
      .bytes = (size_t)d->rows * (size_t)d->cols * (size_t)d->dim * sizeof *d->feature,
      .own = d,
      .given = {[SHAPE] = {&shape, sizeof shape}, [PICTURES] = {d->given_x, (size_t)n * picture}}};
  return sm_share_rows(e, &job, d->feature, e->c.pool, err);
}

/* ---- the next picture ---------------------------------------------------------------------------------- */

static sm_status dense_run(sm_dense *d, sm_error *err) {
  const float *x[DENSE_BATCH];
  sm_status status = SM_OK;
  for (int i = 0; i < d->batch; i++) x[i] = d->whole[i].x;
  status = dense_features(d, x, d->batch, err);
  for (int i = 0; !status && i < d->batch; i++) status = dense_check_finite(d, i, err);
  return status;
}

sm_status sm_dense_next(sm_dense *d, sm_dense_picture *p, sm_error *err) {
  sm_status status = SM_OK;
  *p = (sm_dense_picture){0};
  if (d->given == d->batch) {
    status = dense_fill(d, err);
    if (!status && d->batch) status = dense_size(d, d->whole[0].height, d->whole[0].width, err);
    if (!status && d->batch) status = dense_run(d, err);
    if (status || !d->batch) return status;
  }
  *p = (sm_dense_picture){.whole = &d->whole[d->given],
                          .rows = d->rows,
                          .cols = d->cols,
                          .dim = d->dim,
                          .x = d->feature + (int64_t)d->given * d->rows * d->cols * d->dim};
  d->given++;
  return SM_OK;
}

/* ---- pictures in memory -------------------------------------------------------------------------------- */

sm_status sm_dense_shape(sm_dense *d, int height, int width, int *rows, int *cols, int *dim, sm_error *err) {
  sm_status status = dense_size(d, height, width, err);
  *rows = d->rows, *cols = d->cols, *dim = d->dim;
  return status;
}

sm_status sm_dense_make(sm_dense *d, const float *x, int64_t n, float *to, sm_error *err) {
  const int64_t pixels = 3 * (int64_t)d->height * d->width, floats = (int64_t)d->rows * d->cols * d->dim;
  for (int64_t at = 0; at < n; at += DENSE_BATCH) {
    const int some = n - at < DENSE_BATCH ? (int)(n - at) : DENSE_BATCH;
    const float *batch[DENSE_BATCH];
    for (int i = 0; i < some; i++) batch[i] = x + (at + i) * pixels;
    const sm_status status = dense_features(d, batch, some, err);
    if (status) return status;
    for (int i = 0; i < some; i++)
      if (!dense_is_finite(d, i)) return dense_not_finite("a picture", err);
    memcpy(to + at * floats, d->feature, (size_t)(some * floats) * sizeof *to);
  }
  return SM_OK;
}

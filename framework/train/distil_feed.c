/* framework/train/distil_feed.c — a micro-batch into the inputs of the graph: pictures, masks, drop-path
 * factors, hidden patches, and the pairs of the losses. */
#include <string.h>

#include "distil.h"

sm_status sm_distil_lists(distil *d, sm_error *err) {
  size_t longest = 1;
  bool memory = true;
  for (int kind = 0; kind < KINDS; kind++) {
    view_kind *k = &d->kind[kind];
    const size_t views = (size_t)d->t.micro * (size_t)k->views;
    if (views * (size_t)k->cells > longest) longest = views * (size_t)k->cells;
    if (views) memory = (k->masked = sm_arena_alloc(d->t.arena, views * sizeof *k->masked)) && memory;
    if (k->every) memory = (k->all = sm_arena_alloc(d->t.arena, views * sizeof *k->all)) && memory;
    for (size_t v = 0; v < views && k->all; v++) k->all[v] = k->cells;
  }
  memory = (d->cell_list = sm_arena_alloc(d->t.arena, longest * sizeof *d->cell_list)) && memory;
  if (d->t.spec.drops)
    memory = (d->visible_list = sm_arena_alloc(d->t.arena, longest * sizeof *d->visible_list)) &&
             (d->place_list = sm_arena_alloc(d->t.arena, longest * sizeof *d->place_list)) && memory;
  return memory ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for what trains");
}

/* ---- pictures ------------------------------------------------------------------------------------------ */

typedef struct feed_job {
  sm_tensor *to;
  const float *from;
  int64_t pixels; /* of a view */
} feed_job;

static void feed_view(void *ctx, int64_t view, int worker) {
  const feed_job *job = ctx;
  (void)worker;
  sm_write(job->to, view * job->pixels, job->pixels, job->from + view * job->pixels);
}

/* By all threads: a step's pictures may be a hundred megabytes. */
static void feed_views(const distil *d, sm_tensor *to, int64_t views, const float *from) {
  sm_pool_run(d->t.c.pool, views, feed_view, &(feed_job){to, from, sm_item_elements(to)});
}

void sm_distil_feed_pictures(distil *d, int kind, const sm_batch *b, int first, int n) {
  const view_kind *k = &d->kind[kind];
  if (!k->pictures) return;
  const int64_t views = (int64_t)n * k->views, pixels = sm_item_elements(k->pictures);
  sm_put(k->count, (double)views);
  feed_views(d, k->pictures, views, (kind == LOCAL ? b->local : b->global) + (int64_t)first * k->views * pixels);
}

static void feed_own_views(distil *d, const sm_batch *b, int first, int n) {
  for (int o = 0; o < d->t.views.owns; o++) {
    const int64_t views = d->t.c.globals, pixels = sm_item_elements(d->own_view[o]);
    feed_views(d, d->own_view[o], n * views, b->own[o] + first * views * pixels);
  }
}

/* Stochastic depth: a factor 0 or 1/keep for each view and site, drawn for the sample and not for its place
 * in memory. */
static void feed_drop(distil *d, const view_kind *k, const sm_batch *b, int first, int n, int first_view) {
  const int sites = d->t.spec.drop_sites;
  const int64_t slot = b->step % d->t.c.steps_per_epoch * d->t.c.batch_size + b->place + first;
  float factor[SM_SITES_MAX];
  if (!k->drop) return;
  for (int64_t row = 0; row < (int64_t)n * k->views; row++) {
    sm_rng rng = sm_rng_make(d->t.c.seed, SM_RNG_DROP_PATH, (uint64_t)b->epoch,
                             (uint64_t)(slot + row / k->views), (uint32_t)(first_view + row % k->views));
    for (int i = 0; i < sites; i++) {
      const double keep = 1 - d->t.spec.drop_rate[i];
      factor[i] = keep >= 1 ? 1 : sm_rng_uniform(&rng) < keep ? (float)(1 / keep) : 0;
    }
    sm_write(k->drop, row * sites, sites, factor);
  }
}

/* ---- masks --------------------------------------------------------------------------------------------- */

/* (pictures·views, cells), or NULL: nothing is hidden. */
static const uint8_t *feed_masks_of(const view_kind *k, bool local, const sm_batch *b) {
  return !k->masked_views ? NULL : k->drawn ? k->drawn : local ? b->local_mask : b->mask;
}

int64_t sm_distil_count_hidden(const distil *d, const sm_batch *b) {
  int64_t n = 0;
  for (int kind = 0; kind < KINDS; kind++) {
    const view_kind *k = &d->kind[kind];
    const uint8_t *masks = feed_masks_of(k, kind == LOCAL, b);
    for (int64_t i = 0, all = (int64_t)b->pictures * k->views * k->cells; masks && i < all; i++)
      n += masks[i];
  }
  return n;
}

static sm_status feed_check_promise(const distil *d, const view_kind *k, int masked, int masked_views,
                                    sm_error *err) {
  if (masked > k->max_masked || (k->drops && masked < k->max_masked))
    return sm_distil_bound_hidden(d, (int)(k - d->kind), masked, err);
  if (masked_views > k->masked_views)
    return sm_fail(err, SM_EINTERNAL, "more than %d of %d views of a picture have hidden patches",
                   k->masked_views, k->views);
  return SM_OK;
}

/* The hidden patches as cells, in order of picture, view and cell; k->masked counts them by view. */
static sm_status feed_hidden(distil *d, view_kind *k, const uint8_t *masks, int64_t views, sm_error *err) {
  int64_t n = 0;
  int masked_views = 0;
  for (int64_t r = 0; r < views; r++) {
    int32_t masked = 0;
    for (int p = 0; masks && p < k->cells; p++)
      if (masks[r * k->cells + p]) d->cell_list[n++] = (int32_t)(r * k->cells + p), masked++;
    k->masked[r] = masked;
    masked_views = (r % k->views ? masked_views : 0) + (masked > 0);
    sm_status status = feed_check_promise(d, k, masked, masked_views, err);
    if (status) return status;
  }
  sm_rows_set(k->hidden, d->cell_list, n);
  return SM_OK;
}

/* Which cells of each view are visible, and which of the visible ones each cell is; each view has as many. */
static void feed_visible(distil *d, view_kind *k, const uint8_t *masks, int64_t views) {
  int64_t n = 0;
  for (int64_t r = 0; r < views; r++) {
    int32_t seen = 0;
    for (int p = 0; p < k->cells; p++) {
      const bool visible = !masks[r * k->cells + p];
      if (visible) d->visible_list[n++] = p;
      d->place_list[r * k->cells + p] = visible ? seen++ : -1;
    }
  }
  sm_write_i32(k->visible, 0, n, d->visible_list);
  sm_write_i32(k->place, 0, views * k->cells, d->place_list);
}

static sm_status feed_masks(distil *d, int kind, const sm_batch *b, int first, int n, sm_error *err) {
  view_kind *k = &d->kind[kind];
  const int64_t views = (int64_t)n * k->views;
  const uint8_t *masks = feed_masks_of(k, kind == LOCAL, b);
  if (!k->hidden) return SM_OK;
  if (masks) masks += (int64_t)first * k->views * k->cells;
  if (k->mask && masks) sm_write_u8(k->mask, 0, views * k->cells, masks);
  sm_status status = feed_hidden(d, k, masks, views, err);
  if (!status && k->drops) feed_visible(d, k, masks, views);
  return status;
}

/* All patches as cells. */
static void feed_every(const distil *d, const view_kind *k, int64_t views) {
  if (!k->every) return;
  for (int64_t cell = 0; cell < views * k->cells; cell++) d->cell_list[cell] = (int32_t)cell;
  sm_rows_set(k->every, d->cell_list, views * k->cells);
}

/* ---- pairs --------------------------------------------------------------------------------------------- */

/* The mean of a patch loss is over all views that may have hidden patches: all global ones, also where only
 * one of them is masked in turn, and the local ones where they are. */
sm_pair_request sm_distil_pair_request(const distil *d, int loss, int kind) {
  const sm_train_config *c = &d->t.c;
  const bool all = d->loss_spec[loss].all_patches;
  return (sm_pair_request){.site = d->loss_spec[loss].site,
                           .local = kind == LOCAL,
                           .globals = c->globals,
                           .locals = c->locals,
                           .masked = all ? d->kind[kind].all : d->kind[kind].masked,
                           .views = c->globals + (!all && d->kind[LOCAL].masked_views ? c->locals : 0)};
}

static sm_status feed_pairs(distil *d, int kind, int n, sm_error *err) {
  sm_status status = SM_OK;
  for (int i = 0; i < d->t.c.losses && !status; i++) {
    const bound_loss *l = &d->kind[kind].loss[i];
    if (!l->pairs) continue;
    sm_pair_request r = sm_distil_pair_request(d, i, kind);
    r.pictures = n;
    r.step_pictures = (int)d->counts[COUNT_PICTURES];
    r.step_masked = d->loss_spec[i].all_patches
                        ? (int64_t)r.step_pictures * d->kind[kind].views * d->kind[kind].cells
                        : (int64_t)d->counts[COUNT_HIDDEN];
    r.out = l->pairs;
    sm_pairs_begin(l->pairs);
    OPS(loss, d->t.c.loss[i].slot)->pairs(d->t.c.loss[i].slot.self, &r);
    sm_pairs_end(l->pairs);
    status = sm_distil_bound_pairs(d, i, kind, n, err);
  }
  return status;
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

sm_status sm_distil_feed(distil *d, const sm_batch *b, int first, int n, sm_error *err) {
  const double start = sm_now();
  sm_status status = SM_OK;
  feed_own_views(d, b, first, n);
  for (int kind = 0; kind < KINDS && !status; kind++) {
    const view_kind *k = &d->kind[kind];
    if (!k->pictures) continue;
    sm_distil_feed_pictures(d, kind, b, first, n);
    feed_drop(d, k, b, first, n, kind == LOCAL ? SM_LOCAL_VIEW : 0);
    status = feed_masks(d, kind, b, first, n, err);
    feed_every(d, k, (int64_t)n * k->views);
  }
  for (int kind = 0; kind < KINDS && !status; kind++) status = feed_pairs(d, kind, n, err);
  d->t.seconds[SM_TIME_HOST] += sm_now() - start;
  return status;
}

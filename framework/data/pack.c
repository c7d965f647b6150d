/* pack.c — a dataset's pictures, decoded by several threads, into one packed file in the dataset's order.
 *
 * The ring hands out whole batches in order, so the owner only writes. What a batch holds stays with its
 * slot until it is written; the format of the file is that of smalti/packed.h. */
#include <string.h>

#include <smalti/packed.h>

#include "bad.h"
#include "framework/base/mapped.h"
#include "guard.h"
#include "ring.h"
#include "source.h"

enum { BATCH = 8, AHEAD = 2, SLOTS = AHEAD + 1 };

typedef enum { GOOD, BAD, FAILED } outcome;

typedef struct worker {
  sm_image own; /* what was read */
  sm_image_scratch *scratch;
} worker;

typedef struct place {
  sm_image kept;    /* the memory of what is to be written */
  sm_image picture; /* a view of it, or of what the dataset lends */
  outcome outcome;
  sm_error error; /* of FAILED */
  bool shrunk;
} place;

typedef struct packing {
  const sm_pack_config *config;
  int64_t count;
  size_t prefix; /* of every name: the folder they have in common */
  sm_bad_book *book;
  worker *workers; /* workers + 1 */
  place place[SLOTS][BATCH];
  int64_t first[SLOTS]; /* index of place 0 */
  sm_ring *ring;
  sm_packed_writer *writer;
} packing;

static sm_status pack_no_memory(sm_error *err) {
  return sm_fail(err, SM_ENOMEM, "out of memory for packing pictures");
}

/* ---- what the workers do ------------------------------------------------------------------------------- */

static int pack_open_batch(void *ctx, int slot, int64_t batch) {
  packing *p = ctx;
  const int64_t first = p->first[slot] = batch * BATCH, left = p->count - first;
  return left <= 0 ? -1 : left < BATCH ? (int)left : BATCH;
}

static int pack_scaled(int side, int longer, int most) {
  const int64_t rounded = ((int64_t)side * most + longer / 2) / longer;
  return rounded > 1 ? (int)rounded : 1;
}

static sm_image pack_view_of(const sm_image *image) {
  return (sm_image){.width = image->width, .height = image->height, .rgb = image->rgb};
}

/* The worker's memory goes to the place, and the place's to the worker: no copy. */
static sm_status pack_make_picture(packing *p, int64_t index, place *at, worker *w, sm_error *err) {
  const sm_pack_config *c = p->config;
  const sm_source source = {&c->dataset, &c->limits, NULL, c->stop, p->ring};
  sm_status status = sm_source_get(&source, index, NULL, &w->own, &at->picture, err);
  if (status) return status;
  const int width = at->picture.width, height = at->picture.height, longer = width > height ? width : height;
  at->shrunk = c->max_side > 0 && longer > c->max_side;
  if (at->shrunk) {
    status = sm_image_resize(&at->picture, NULL, pack_scaled(width, longer, c->max_side),
                             pack_scaled(height, longer, c->max_side), SM_FILTER_BICUBIC, w->scratch,
                             &at->kept, err);
    at->picture = pack_view_of(&at->kept);
  } else if (at->picture.rgb == w->own.rgb) {
    sm_image mine = w->own;
    w->own = at->kept;
    at->kept = mine;
  }
  return status;
}

static void pack_make_item(void *ctx, int slot, int item, int who) {
  packing *p = ctx;
  place *at = &p->place[slot][item];
  const int64_t index = p->first[slot] + item;
  sm_error why;
  sm_error_clear(&why);
  sm_status status = pack_make_picture(p, index, at, &p->workers[who], &why);
  why.code = status;
  at->outcome = !status ? GOOD : sm_source_ends(status) ? FAILED : BAD;
  if (at->outcome == BAD && !sm_bad_met(p->book, index, &why)) {
    at->outcome = FAILED;
    pack_no_memory(&why);
  }
  if (at->outcome == FAILED) at->error = why;
}

static const sm_ring_ops ring_ops = {.open = pack_open_batch, .item = pack_make_item};

/* ---- what the owner does ------------------------------------------------------------------------------- */

/* A data set makes some names when they are asked for, and may have no memory for that. */
static sm_status pack_name(const packing *p, int64_t index, const char **name, sm_error *err) {
  const sm_dataset *set = &p->config->dataset;
  *name = set->ops->name(set->self, index);
  if (*name && strcmp(*name, SM_NO_NAME) != 0) return SM_OK;
  return sm_fail(err, SM_ENOMEM, "no memory for the name of picture %lld", (long long)index);
}

/* Names as seen from the folder that all of them are in: a packed file is to say nothing of where it was
 * made. */
static sm_status pack_common_folder(packing *p, sm_error *err) {
  const char *first, *name;
  sm_status status = pack_name(p, 0, &first, err);
  const char *slash = status ? NULL : strrchr(first, '/');
  size_t n = slash ? (size_t)(slash - first) + 1 : 0;
  for (int64_t i = 1; i < p->count && n > 0 && !status; i++) {
    size_t same = 0;
    if ((status = pack_name(p, i, &name, err))) break;
    while (same < n && name[same] == first[same]) same++;
    for (n = same; n > 0 && first[n - 1] != '/';) n--;
  }
  p->prefix = n;
  return status;
}

static sm_status pack_put(packing *p, int slot, int item, sm_pack_result *result, sm_error *err) {
  const place *at = &p->place[slot][item];
  const sm_dataset *set = &p->config->dataset;
  const int64_t index = p->first[slot] + item;
  if (at->outcome == FAILED) {
    *err = at->error;
    return at->error.code;
  }
  if (at->outcome == BAD && !sm_bad_list(p->book, index)) return pack_no_memory(err);
  if (at->outcome == BAD) return SM_OK;
  result->pictures++;
  result->shrunk += at->shrunk;
  const char *name;
  sm_status status = pack_name(p, index, &name, err);
  if (status) return status;
  const sm_packed_picture picture = {.name = name + p->prefix,
                                     .width = at->picture.width,
                                     .height = at->picture.height,
                                     .label = set->ops->label(set->self, index),
                                     .rgb = at->picture.rgb};
  return sm_packed_add(p->writer, &picture);
}

static sm_status pack_put_batch(packing *p, int slot, sm_pack_result *result, sm_error *err) {
  const int64_t left = p->count - p->first[slot];
  const int items = left < BATCH ? (int)left : BATCH;
  sm_status status = sm_mapped_check(NULL, err);
  for (int i = 0; i < items && !status; i++) status = pack_put(p, slot, i, result, err);
  if (!status) status = sm_bad_check(p->book, p->first[slot] + items, p->config->max_bad, err);
  if (!status && p->config->progress)
    p->config->progress(p->config->progress_ctx, p->first[slot] + items, p->count);
  return status;
}

static sm_status pack_put_all(packing *p, sm_pack_result *result, sm_error *err) {
  const sm_pack_config *c = p->config;
  sm_status status = SM_OK;
  int slot = 0;
  for (int k = 0; k < c->dataset.ops->classes(c->dataset.self) && !status; k++)
    status = sm_packed_class(p->writer, c->dataset.ops->class_name(c->dataset.self, k));
  while (!status && (slot = sm_ring_next(p->ring)) >= 0) {
    status = pack_put_batch(p, slot, result, err);
    sm_ring_release(p->ring, slot);
    if (!status && c->stop && c->stop())
      status = sm_fail(err, SM_EINTERRUPTED, "stopped while packing: nothing was written");
  }
  return status;
}

static sm_status pack_prepare(packing *p, sm_error *err) {
  const sm_pack_config *c = p->config;
  sm_status status = sm_ring_check(BATCH, c->workers, AHEAD, err);
  if (status) return status;
  if (c->max_side < 0 || c->max_side > SM_IMAGE_MAX_SIDE || !(c->max_bad >= 0 && c->max_bad <= 1))
    return sm_fail(err, SM_EINVAL, "max_side %d or max_bad %g is out of range", c->max_side, c->max_bad);
  if (p->count < 1 || p->count > INT32_MAX)
    return sm_fail(err, SM_EINVAL, "the dataset holds %lld pictures: the number must lie between 1 and %d",
                   (long long)p->count, INT32_MAX);
  if ((status = pack_common_folder(p, err))) return status;
  if (!(p->workers = sm_calloc((size_t)c->workers + 1, sizeof *p->workers))) return pack_no_memory(err);
  for (int w = 0; w <= c->workers; w++)
    if (!(p->workers[w].scratch = sm_image_scratch_new())) return pack_no_memory(err);
  sm_error why = {0};
  p->book = sm_bad_book_new(&c->dataset, p->count, 0, NULL, &why);
  if (p->book) p->ring = sm_ring_new(&ring_ops, p, SLOTS, c->workers, 0, &why);
  status = p->ring ? sm_ring_start(p->ring, &why) : why.code;
  if (status && err) *err = why;
  return status;
}

static void pack_release(packing *p) {
  sm_ring_free(p->ring);
  sm_bad_book_free(p->book);
  for (int w = 0; p->workers && w <= p->config->workers; w++) {
    sm_image_free(&p->workers[w].own);
    sm_image_scratch_free(p->workers[w].scratch);
  }
  sm_free(p->workers);
  for (int i = 0; i < SLOTS * BATCH; i++) sm_image_free(&p->place[i / BATCH][i % BATCH].kept);
  sm_free(p);
}

/* The list outlives the book; its names are the dataset's. */
static sm_status pack_take_bad(const packing *p, sm_pack_result *result, sm_error *err) {
  const sm_bad *bad = sm_bad_listed(p->book, &result->n_bad);
  if (result->n_bad == 0) return SM_OK;
  if (!(result->bad = sm_malloc((size_t)result->n_bad * sizeof *bad))) return pack_no_memory(err);
  memcpy(result->bad, bad, (size_t)result->n_bad * sizeof *bad);
  return SM_OK;
}

sm_status sm_pack(const sm_pack_config *config, const char *path, sm_pack_result *result, sm_error *err) {
  *result = (sm_pack_result){0};
  packing *p = sm_calloc(1, sizeof *p);
  if (!p) return pack_no_memory(err);
  p->config = config;
  p->count = config->dataset.ops->count(config->dataset.self);
  sm_error why = {0};
  /* Created before the work begins: a folder that cannot be written to is told at once. */
  if ((p->writer = sm_packed_create(path, &why))) {
    if (pack_prepare(p, &why) == SM_OK && pack_put_all(p, result, &why) == SM_OK)
      pack_take_bad(p, result, &why);
    if (why.code == SM_OK) sm_packed_finish(p->writer, &result->bytes, &why); /* tells its own errors, too */
    else sm_packed_abort(p->writer);
  }
  pack_release(p);
  if (why.code != SM_OK) sm_pack_result_free(result);
  if (why.code != SM_OK && err) *err = why;
  return why.code;
}

void sm_pack_result_free(sm_pack_result *result) {
  sm_free(result->bad);
  *result = (sm_pack_result){0};
}

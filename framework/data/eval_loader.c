/* eval_loader.c — a dataset in its order, each picture resized and cropped once, for features and k-NN.
 *
 * Batch b covers the indices b·batch_size …; pictures that cannot be read are left out of it, listed, and
 * nothing takes their place: a figure of a test set is over the pictures there are. Ranks take batches in turn, so many
 * of which are a round; all then know which pictures of it are bad, as if one process had met them in their order. */
#include <pthread.h>
#include <string.h>

#include "bad.h"
#include "framework/base/mapped.h"
#include "ring.h"
#include "source.h"

enum { MOST_SIDE = 8192 };

typedef enum { GOOD, BAD, FAILED } outcome;

typedef struct made {
  sm_eval_batch batch;
  int64_t round, first; /* index of item 0, of rank 0's batch and of this rank's */
  int items;
  uint8_t *outcome; /* of each item    */
  int64_t *bad;     /* indices that cannot be used: items at most */

  pthread_mutex_t lock; /* for what follows, while items are made */
  int failed_item;      /* the first one that failed for good */
  sm_error error;       /* why; code SM_OK: none did */
} made;

typedef struct worker {
  sm_image own, picture, crop; /* picture: a view of own, or of what the dataset has */
  sm_image_scratch *scratch;
} worker;

struct sm_eval_loader {
  sm_eval_loader_config config;
  int64_t count;
  size_t floats; /* of one picture */
  sm_bad_book *book;
  made *made; /* prefetch + 1 */
  int slots;
  worker *workers; /* workers + 1: 0 is the owner */
  sm_ring *ring;
  sm_error failed;
};

static int eval_loader_open_batch(void *ctx, int slot, int64_t number) {
  sm_eval_loader *loader = ctx;
  made *m = &loader->made[slot];
  sm_error_clear(&m->error);
  const int batch = loader->config.batch_size;
  m->round = number * batch * sm_ranks_size(loader->config.ranks);
  if (m->round >= loader->count) return -1;
  m->first = m->round + (int64_t)batch * sm_ranks_rank(loader->config.ranks);
  const int64_t rest = loader->count - m->first;
  m->items = rest >= batch ? batch : rest > 0 ? (int)rest : 0; /* of the last round, there may be none */
  return m->items;
}

static sm_status eval_loader_make_picture(const sm_eval_loader *loader, int64_t index, worker *w, float *out,
                              sm_error *err) {
  const sm_eval_loader_config *c = &loader->config;
  const sm_source source = {&c->dataset, &c->limits, NULL, c->stop, loader->ring};
  sm_status status = sm_source_get(&source, index, NULL, &w->own, &w->picture, err);
  if (!status)
    status =
        sm_image_eval_crop(&w->picture, c->resize, c->height, c->width, c->filter, w->scratch, &w->crop, err);
  if (!status && c->edit) status = c->edit(c->edit_ctx, index, &w->crop, w->scratch, err);
  if (!status && (w->crop.width != c->width || w->crop.height != c->height))
    status = sm_fail(err, SM_EINTERNAL, "an edit changed the size of a picture");
  if (!status) sm_image_normalise(&w->crop, c->mean, c->std, out);
  return status;
}

static void eval_loader_note_failure(made *m, int item, const sm_error *why) {
  pthread_mutex_lock(&m->lock);
  if (!m->error.code || item < m->failed_item) {
    m->failed_item = item;
    m->error = *why;
  }
  pthread_mutex_unlock(&m->lock);
}

static void eval_loader_make_item(void *ctx, int slot, int item, int who) {
  sm_eval_loader *loader = ctx;
  made *m = &loader->made[slot];
  int64_t index = m->first + item;
  sm_error why;
  sm_error_clear(&why);
  sm_status status = eval_loader_make_picture(loader, index, &loader->workers[who],
                                              m->batch.x + (size_t)item * loader->floats, &why);
  why.code = status;
  m->batch.sample[item] = index;
  m->batch.label[item] = loader->config.dataset.ops->label(loader->config.dataset.self, index);
  m->outcome[item] = !status ? GOOD : sm_source_ends(status) ? FAILED : BAD;
  if (m->outcome[item] == BAD && !sm_bad_met(loader->book, index, &why)) {
    m->outcome[item] = FAILED;
    why.code = sm_fail(&why, SM_ENOMEM, "out of memory for the list of bad pictures");
  }
  if (m->outcome[item] == FAILED) eval_loader_note_failure(m, item, &why);
}

static const sm_ring_ops ring_ops = {.open = eval_loader_open_batch, .item = eval_loader_make_item};

static sm_status eval_loader_check(sm_eval_loader_config *c, sm_error *err) {
  const int shorter = c->height < c->width ? c->height : c->width;
  if (shorter < 1 || c->height > MOST_SIDE || c->width > MOST_SIDE)
    return sm_fail(err, SM_EINVAL, "pictures of %d x %d pixels: each side must lie between 1 and %d",
                   c->height, c->width, MOST_SIDE);
  if (c->resize == 0) c->resize = (shorter * 256 + 112) / 224;
  if (c->resize < shorter || c->resize > 2 * MOST_SIDE)
    return sm_fail(err, SM_EINVAL,
                   "resize is %d: it must not be less than the crop of %d pixels nor more than %d", c->resize,
                   shorter, 2 * MOST_SIDE);
  sm_status status = sm_ring_check(c->batch_size, c->workers, c->prefetch, err);
  if (status) return status;
  if (!(c->max_bad >= 0 && c->max_bad <= 1))
    return sm_fail(err, SM_EINVAL, "max_bad is %g: a share must lie between 0 and 1", c->max_bad);
  for (int i = 0; i < 3; i++)
    if (!(c->std[i] > 0))
      return sm_fail(err, SM_EINVAL, "the deviation of channel %d is %g: it must be positive", i, c->std[i]);
  return SM_OK;
}

static int eval_loader_slots(int prefetch) { return prefetch + 1; }
static size_t eval_loader_floats(int height, int width) { return 3 * (size_t)height * (size_t)width; }

size_t sm_eval_loader_bytes(int batch, int height, int width, int prefetch) {
  return (size_t)eval_loader_slots(prefetch) * (size_t)batch * eval_loader_floats(height, width) * sizeof(float);
}

static sm_status eval_loader_allocate(sm_eval_loader *loader, sm_error *err) {
  const sm_eval_loader_config *c = &loader->config;
  size_t n = (size_t)c->batch_size;
  loader->slots = eval_loader_slots(c->prefetch);
  loader->floats = eval_loader_floats(c->height, c->width);
  loader->made = sm_calloc((size_t)loader->slots, sizeof *loader->made);
  loader->workers = sm_calloc((size_t)c->workers + 1, sizeof *loader->workers);
  if (!loader->made || !loader->workers) goto no_memory;
  for (int w = 0; w <= c->workers; w++)
    if (!(loader->workers[w].scratch = sm_image_scratch_new())) goto no_memory;
  for (int s = 0; s < loader->slots; s++) {
    made *m = &loader->made[s];
    pthread_mutex_init(&m->lock, NULL);
    m->batch.x = sm_aligned_alloc(n * loader->floats * sizeof(float));
    m->batch.label = sm_calloc(n, sizeof(int32_t));
    m->batch.sample = sm_calloc(n, sizeof(int64_t));
    m->outcome = sm_calloc(n, 1);
    m->bad = sm_calloc(n, sizeof *m->bad);
    if (!m->batch.x || !m->batch.label || !m->batch.sample || !m->outcome || !m->bad) goto no_memory;
  }
  return SM_OK;

no_memory:
  return sm_fail(err, SM_ENOMEM, "out of memory for %d batches of %d pictures", loader->slots, c->batch_size);
}

sm_status sm_eval_loader_new(const sm_eval_loader_config *config, sm_eval_loader **out, sm_error *err) {
  sm_error why = {0};
  sm_status status = SM_OK;
  *out = NULL;
  sm_eval_loader *loader = sm_calloc(1, sizeof *loader);
  if (!loader) return sm_fail(err, SM_ENOMEM, "out of memory for a loader");
  loader->config = *config;
  loader->count = config->dataset.ops->count(config->dataset.self);
  if ((status = eval_loader_check(&loader->config, &why)) != SM_OK) goto out;
  if (loader->count < 1 || loader->count > INT32_MAX) {
    status = sm_fail(&why, SM_EINVAL, "the dataset holds %lld pictures: the number must lie between 1 and %d",
                     (long long)loader->count, INT32_MAX);
    goto out;
  }
  if ((status = eval_loader_allocate(loader, &why)) != SM_OK) goto out;
  loader->book = sm_bad_book_new(&config->dataset, loader->count, 0, NULL, &why);
  if (loader->book) loader->ring = sm_ring_new(&ring_ops, loader, loader->slots, config->workers, 0, &why);
  status = loader->ring ? sm_ring_start(loader->ring, &why) : why.code;

out:
  if (status) {
    if (err) *err = why;
    sm_eval_loader_free(loader);
  } else {
    *out = loader;
  }
  return status;
}

void sm_eval_loader_free(sm_eval_loader *loader) {
  if (!loader) return;
  sm_ring_free(loader->ring);
  sm_bad_book_free(loader->book);
  for (int s = 0; loader->made && s < loader->slots; s++) {
    pthread_mutex_destroy(&loader->made[s].lock);
    sm_aligned_free(loader->made[s].batch.x);
    sm_free(loader->made[s].batch.label);
    sm_free(loader->made[s].batch.sample);
    sm_free(loader->made[s].outcome);
    sm_free(loader->made[s].bad);
  }
  for (int w = 0; loader->workers && w <= loader->config.workers; w++) {
    sm_image_free(&loader->workers[w].own);
    sm_image_free(&loader->workers[w].crop);
    sm_image_scratch_free(loader->workers[w].scratch);
  }
  sm_free(loader->made);
  sm_free(loader->workers);
  sm_free(loader);
}

/* The whole is known here, so that what counts is the share of all, wherever the bad ones stand. `read`: so far. */
static sm_status eval_loader_few_bad(const sm_eval_loader *loader, int64_t read, sm_error *err) {
  int64_t bad;
  sm_bad_listed(loader->book, &bad);
  if ((double)bad <= loader->config.max_bad * (double)loader->count) return SM_OK;
  return sm_bad_check(loader->book, read, loader->config.max_bad, err);
}

/* Close the gaps that bad pictures leave; how many there are. */
static int eval_loader_close_gaps(const sm_eval_loader *loader, made *m) {
  sm_eval_batch *b = &m->batch;
  int n = 0, bad = 0;
  for (int i = 0; i < m->items; i++) {
    if (m->outcome[i] == BAD) {
      m->bad[bad++] = m->first + i;
      continue;
    }
    if (n < i) {
      memcpy(b->x + (size_t)n * loader->floats, b->x + (size_t)i * loader->floats,
             loader->floats * sizeof(float));
      b->label[n] = b->label[i];
      b->sample[n] = b->sample[i];
    }
    n++;
  }
  b->pictures = n;
  return bad;
}

/* List those of a round, batch by batch. */
static sm_status eval_loader_list(sm_eval_loader *loader, const made *m, const sm_bad *bad, int64_t n, sm_error *err) {
  const int ranks = sm_ranks_size(loader->config.ranks);
  sm_status status = SM_OK;
  int64_t at = 0, read = m->round;
  for (int i = 0; !status && i < ranks; i++) {
    read += loader->config.batch_size;
    for (; !status && at < n && bad[at].index < read; at++)
      if (!sm_bad_list(loader->book, bad[at].index))
        status = sm_fail(err, SM_ENOMEM, "out of memory for the list of bad pictures");
    if (!status) status = eval_loader_few_bad(loader, read < loader->count ? read : loader->count, err);
  }
  return status;
}

static sm_status eval_loader_settle(sm_eval_loader *loader, made *m, sm_error *err) {
  sm_ranks *ranks = loader->config.ranks;
  sm_bad *bad = NULL;
  int64_t n = 0;
  sm_status status = sm_mapped_check(NULL, err);
  if (!status && m->error.code) *err = m->error, status = m->error.code;
  if ((status = sm_ranks_agree(ranks, status, err))) return status;
  const int own = eval_loader_close_gaps(loader, m);
  double all = own;
  status = sm_ranks_count(ranks, &all, 1, err);
  if (status || all == 0) return status;
  status = sm_bad_gather(loader->book, ranks, m->bad, own, &bad, &n, err);
  if (!status) status = eval_loader_list(loader, m, bad, n, err);
  sm_free(bad);
  return sm_ranks_agree(ranks, status, err);
}

sm_status sm_eval_loader_next(sm_eval_loader *loader, sm_eval_batch **out, sm_error *err) {
  *out = NULL;
  if (loader->failed.code != SM_OK) {
    if (err) *err = loader->failed;
    return loader->failed.code;
  }
  for (;;) {
    int slot = sm_ring_next(loader->ring);
    if (slot == SM_RING_END) return SM_OK;
    if (slot == SM_RING_HELD)
      return sm_fail(err, SM_EINVAL, "all %d batches of the loader are held; release one first",
                     loader->slots);
    made *m = &loader->made[slot];
    if (eval_loader_settle(loader, m, &loader->failed) != SM_OK) {
      if (err) *err = loader->failed;
      return loader->failed.code;
    }
    if (m->batch.pictures > 0 || loader->config.ranks) {
      *out = &m->batch;
      return SM_OK;
    }
    sm_ring_release(loader->ring, slot);
  }
}

void sm_eval_loader_release(sm_eval_loader *loader, sm_eval_batch *batch) {
  for (int s = 0; batch && s < loader->slots; s++)
    if (&loader->made[s].batch == batch) sm_ring_release(loader->ring, s);
}

const sm_bad *sm_eval_loader_bad(const sm_eval_loader *loader, int64_t *n) {
  return sm_bad_listed(loader->book, n);
}

/* loader.c — the training loader: what is made of each place of a step, and what becomes of a bad picture.
 *
 * Threads and their order are the ring's business (ring.h), the order of pictures that of order.h, the draws those of
 * views.h, the list of bad pictures that of bad.h, a batch's memory that of batch.h. A batch is opened under the ring's lock (its pictures are looked up in the epoch's
 * order), its items are made by the workers, and the owner settles it when it is given out: bad pictures are
 * listed, errors reported. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bad.h"
#include "batch.h"
#include "framework/base/mapped.h"
#include "order.h"
#include "ring.h"
#include "source.h"
#include "views.h"

/* A bad picture that an item came across: listed when the batch is given out. */
typedef struct found {
  int item, attempt;
  int64_t index;
} found;

typedef struct made {
  sm_batch batch;
  uint8_t *attempts; /* of each item: 0 when the picture in turn was good */
  int round;         /* of its step */
  void *memory;

  pthread_mutex_t lock; /* for what follows, while items are made */
  found *found;
  int n_found, found_cap;
  int failed_item; /* first item that failed for good, or -1 */
  int n_failed;
  sm_error error;
} made;

typedef struct worker {
  sm_image own;          /* what was read here */
  sm_image picture;      /* a view of that, or of what the cache or the dataset has */
  int width, height, by; /* of the picture in full size, and what its sides were divided by */
  sm_image_scratch *scratch;
  _Atomic int64_t read_ns, view_ns;
} worker;

struct sm_loader {
  sm_loader_config config;
  int64_t count, steps_per_epoch;
  size_t global_floats, local_floats, own_floats[SM_OWNS_MAX]; /* of one view */
  size_t cells, local_cells;                                   /* of one view's mask, 0: it has none */
  sm_bad_book *book;
  sm_cache *cache; /* or NULL */
  made *made;      /* prefetch + 1 */
  int slots;
  worker *workers; /* workers + 1: 0 is the owner */
  sm_ring *ring;
  sm_order order; /* asked under the ring's lock; workers prepare the next one outside of it */

  double born, waited;
  int64_t batches, pictures, replaced;
  sm_error failed; /* code SM_OK while all is well */
};

/* ---- what the workers do ----------------------------------------------------------------------------- */

/* Processor time of this thread. */
static int64_t loader_worked(void) {
  struct timespec t;
  return clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) == 0 ? t.tv_sec * INT64_C(1000000000) + t.tv_nsec : 0;
}

static void loader_note_failure(made *m, int item, const sm_error *err) {
  pthread_mutex_lock(&m->lock);
  m->n_failed++;
  if (m->failed_item < 0 || item < m->failed_item) {
    m->failed_item = item;
    m->error = *err;
  }
  pthread_mutex_unlock(&m->lock);
}

static bool loader_note_bad(made *m, int item, int attempt, int64_t index) {
  bool done = true;
  pthread_mutex_lock(&m->lock);
  if (m->n_found == m->found_cap) {
    int cap = m->found_cap ? 2 * m->found_cap : 16;
    found *bigger = sm_realloc(m->found, (size_t)cap * sizeof *bigger);
    if (bigger) m->found = bigger, m->found_cap = cap;
    done = bigger != NULL;
  }
  if (done) m->found[m->n_found++] = (found){item, attempt, index};
  pthread_mutex_unlock(&m->lock);
  return done;
}

static sm_status loader_too_many_attempts(const sm_loader *loader, const made *m, int item, sm_error *err) {
  sm_fail(err, SM_EFORMAT,
          "step %lld, place %d: %d pictures in turn could not be used, the last one of them %s",
          (long long)m->batch.step, m->batch.place + item, SM_LOADER_ATTEMPTS + 1,
          loader->config.dataset.ops->name(loader->config.dataset.self, m->batch.sample[item]));
  return sm_hint(err, "most of the dataset is damaged: see `smalti data check`");
}

typedef struct asking {
  const sm_views *views;
  const sm_slot_key *key;
  int width, height; /* what was asked about */
} asking;

/* The view that needs the most detail decides. */
static int loader_most_shrinking(void *ctx, int width, int height) {
  asking *a = ctx;
  int by = 8;
  a->width = width;
  a->height = height;
  for (int v = 0; v < a->views->globals + a->views->locals && by > 1; v++) {
    sm_view_choice choice;
    sm_views_draw(a->views, a->key, v, width, height, &choice);
    int may = sm_view_may_shrink(sm_views_recipe(a->views, v), &choice);
    if (may < by) by = may;
    for (int k = 0; v < a->views->globals && k < a->views->owns; k++)
      if ((may = sm_view_may_shrink(&a->views->own[k].view, &choice)) < by) by = may;
  }
  return by;
}

static sm_status loader_get_picture(const sm_loader *loader, int64_t index, const sm_slot_key *key, worker *w,
                             sm_error *err) {
  const sm_loader_config *c = &loader->config;
  const sm_source source = {&c->dataset, &c->limits, loader->cache, c->stop, loader->ring};
  asking a = {.views = &c->views, .key = key};
  sm_image_shrink shrink = {loader_most_shrinking, &a, 1};
  sm_status status =
      sm_source_get(&source, index, c->scaled_jpeg ? &shrink : NULL, &w->own, &w->picture, err);
  w->by = shrink.by;
  w->width = w->by > 1 ? a.width : w->picture.width;
  w->height = w->by > 1 ? a.height : w->picture.height;
  return status;
}

/* Get the item's picture, or the first good one of its replacements, as the worker's picture. */
static sm_status loader_find_picture(sm_loader *loader, made *m, int item, const sm_slot_key *key, worker *w,
                              sm_error *err) {
  for (int attempt = 0; attempt <= SM_LOADER_ATTEMPTS && !sm_ring_stopping(loader->ring); attempt++) {
    int64_t index = attempt ? sm_slot_replacement(key, attempt, loader->count) : m->batch.sample[item];
    sm_error why;
    sm_status status = SM_EFORMAT;
    m->batch.sample[item] = index;
    m->attempts[item] = (uint8_t)attempt;
    if (!sm_bad_is(loader->book, index)) {
      sm_error_clear(&why);
      status = loader_get_picture(loader, index, key, w, &why);
      if (!status) return SM_OK;
      if (sm_source_ends(status)) {
        *err = why;
        return status;
      }
      why.code = status;
      if (!sm_bad_met(loader->book, index, &why))
        return sm_fail(err, SM_ENOMEM, "out of memory for the list of bad pictures");
    }
    if (!loader_note_bad(m, item, attempt, index))
      return sm_fail(err, SM_ENOMEM, "out of memory for the list of bad pictures");
  }
  if (sm_ring_stopping(loader->ring)) return sm_fail(err, SM_EINTERRUPTED, "the loader is being closed");
  return loader_too_many_attempts(loader, m, item, err);
}

/* A global view again, as the tokenizers want it. */
static sm_status loader_make_owns(const sm_loader *loader, const sm_batch *b, size_t row,
                           const sm_view_choice *global, worker *w, sm_error *err) {
  const sm_views *views = &loader->config.views;
  sm_status status = SM_OK;
  for (int k = 0; k < views->owns && !status; k++) {
    const sm_view_choice choice = sm_views_own_choice(views, k, global);
    status = sm_view_apply_shrunk(&w->picture, w->by, &views->own[k].view, &choice, w->scratch,
                                  b->own[k] + row * loader->own_floats[k], err);
  }
  return status;
}

/* Of view v, whose row among the views of its kind this is. */
static sm_status loader_make_mask(const sm_loader *loader, const sm_batch *b, const sm_slot_key *key, int v,
                                  size_t row, sm_error *err) {
  const sm_loader_config *c = &loader->config;
  const bool local = v >= c->views.globals;
  uint8_t *mask = local ? b->local_mask : b->mask;
  if (!mask) return SM_OK;
  return sm_masking_draw(&c->masking, &c->views, key, v, NULL, 0,
                         mask + row * (local ? loader->local_cells : loader->cells), err);
}

static sm_status loader_make_views(const sm_loader *loader, made *m, int item, const sm_slot_key *key,
                                   worker *w, sm_error *err) {
  const sm_views *views = &loader->config.views;
  const int n_views = views->globals + views->locals;
  sm_batch *b = &m->batch;
  for (int v = 0; v < n_views && !sm_ring_stopping(loader->ring); v++) {
    size_t row = v < views->globals ? (size_t)item * (size_t)views->globals + (size_t)v
                                    : (size_t)item * (size_t)views->locals + (size_t)(v - views->globals);
    float *out =
        v < views->globals ? b->global + row * loader->global_floats : b->local + row * loader->local_floats;
    sm_view_choice choice;
    sm_views_draw(views, key, v, w->width, w->height, &choice);
    sm_status status =
        sm_view_apply_shrunk(&w->picture, w->by, sm_views_recipe(views, v), &choice, w->scratch, out, err);
    if (status) return status;
    if (v < views->globals && (status = loader_make_owns(loader, b, row, &choice, w, err)) != SM_OK)
      return status;
    if ((status = loader_make_mask(loader, b, key, v, row, err)) != SM_OK) return status;
  }
  return SM_OK;
}

/* The order that comes behind the one that this batch ends in. */
static void loader_prepare_order(sm_loader *loader, const sm_batch *b) {
  const sm_loader_config *c = &loader->config;
  const int64_t places = loader->steps_per_epoch * c->batch_size,
                round = (b->step % loader->steps_per_epoch * c->batch_size + c->batch_size - 1) / loader->count;
  const bool within = round < (places - 1) / loader->count;
  const int64_t epoch = within ? b->epoch : b->epoch + 1;
  if (!c->last_step || epoch * loader->steps_per_epoch < c->last_step)
    sm_order_prepare(&loader->order, epoch, within ? round + 1 : 0);
}

static void loader_make_item(void *ctx, int slot, int item, int who) {
  sm_loader *loader = ctx;
  made *m = &loader->made[slot];
  worker *w = &loader->workers[who];
  const sm_batch *b = &m->batch;
  const sm_slot_key key = {loader->config.seed, b->epoch,
                           b->step % loader->steps_per_epoch * loader->config.batch_size + b->place + item};
  sm_error err;
  const int64_t start = loader_worked();
  sm_status status = loader_find_picture(loader, m, item, &key, w, &err);
  const int64_t middle = loader_worked();
  if (!status) {
    m->batch.label[item] = loader->config.dataset.ops->label(loader->config.dataset.self, b->sample[item]);
    status = loader_make_views(loader, m, item, &key, w, &err);
  }
  atomic_fetch_add_explicit(&w->read_ns, middle - start, memory_order_relaxed);
  atomic_fetch_add_explicit(&w->view_ns, loader_worked() - middle, memory_order_relaxed);
  if (status && !sm_ring_stopping(loader->ring)) loader_note_failure(m, item, &err);
  if (item == 0 && who > 0) loader_prepare_order(loader, b);
}

/* ---- opening a batch --------------------------------------------------------------------------------- */

static int loader_rounds(const sm_loader_config *c) { return c->rounds > 1 ? c->rounds : 1; }

/* Pictures of a step that are made here. */
static int loader_own(const sm_loader_config *c) { return c->ranks ? c->pictures : c->batch_size; }

/* Of a batch, at most. */
static int loader_share(const sm_loader_config *c) { return c->round_pictures ? c->round_pictures : loader_own(c); }

/* Of a batch's first picture, counted from the first that is made here. */
static int loader_begin(const sm_loader_config *c, int round) {
  const int64_t begin = (int64_t)round * loader_share(c);
  return begin < loader_own(c) ? (int)begin : loader_own(c);
}

/* The ring counts batches. */
static int loader_open_batch(void *ctx, int slot, int64_t number) {
  sm_loader *loader = ctx;
  const sm_loader_config *config = &loader->config;
  const int rounds = loader_rounds(config);
  const int64_t step = number / rounds;
  if (config->last_step && step >= config->last_step) return -1;
  made *m = &loader->made[slot];
  sm_batch *b = &m->batch;
  b->step = step;
  b->epoch = step / loader->steps_per_epoch;
  const int round = (int)(number % rounds), begin = loader_begin(config, round);
  m->round = round;
  b->pictures = loader_begin(config, round + 1) - begin;
  b->place = (config->ranks ? config->place : 0) + begin;
  m->n_found = m->n_failed = 0;
  m->failed_item = -1;
  int64_t first = step % loader->steps_per_epoch * config->batch_size + b->place;
  if (config->epoch_places && first + b->pictures > config->epoch_places)
    b->pictures = first < config->epoch_places ? (int)(config->epoch_places - first) : 0;
  for (int i = 0; i < b->pictures; i++) b->sample[i] = sm_order_at(&loader->order, b->epoch, first + i);
  return b->pictures;
}

static const sm_ring_ops ring_ops = {.open = loader_open_batch, .item = loader_make_item};

/* ---- making and freeing ------------------------------------------------------------------------------ */

static sm_status loader_check(const sm_loader_config *c, int64_t count, int64_t first_step, sm_error *err) {
  sm_status status;
  if ((status = sm_views_check(&c->views, err)) != SM_OK) return status;
  if ((status = sm_masking_check(&c->masking, err)) != SM_OK) return status;
  if ((status = sm_ring_check(c->batch_size, c->workers, c->prefetch, err)) != SM_OK) return status;
  if (!(c->max_bad >= 0 && c->max_bad <= 1))
    return sm_fail(err, SM_EINVAL, "max_bad is %g: a share must lie between 0 and 1", c->max_bad);
  if (c->steps_per_epoch < 0 || c->last_step < 0 || first_step < 0)
    return sm_fail(err, SM_EINVAL,
                   "steps_per_epoch (%lld), last_step (%lld) and the first step (%lld) must not be negative",
                   (long long)c->steps_per_epoch, (long long)c->last_step, (long long)first_step);
  if (count < 1) return sm_fail(err, SM_EINVAL, "the dataset holds no picture");
  if (count > INT32_MAX)
    return sm_fail(err, SM_EUNSUPPORTED, "the dataset holds %lld pictures; at most %d are supported",
                   (long long)count, INT32_MAX);
  if (c->steps_per_epoch == 0 && count < c->batch_size) {
    sm_fail(err, SM_EINVAL, "the dataset holds %lld %s, fewer than one batch of %d", (long long)count,
            sm_plural(count, "picture", "pictures"), c->batch_size);
    return sm_hint(err,
                   "lower train.batch_size, or set train.steps_per_epoch so that pictures come up several "
                   "times an epoch");
  }
  return SM_OK;
}

size_t sm_loader_bytes(const sm_loader_config *c) {
  return sm_batch_bytes(&c->views, &c->masking, loader_share(c)) * ((size_t)c->prefetch + 1);
}

static bool loader_make_slot(made *m, const sm_loader_config *c) {
  m->memory = sm_batch_allocate(&m->batch, &c->views, &c->masking, loader_share(c));
  m->attempts = sm_malloc((size_t)loader_share(c) + 1);
  return m->memory && m->attempts;
}

static sm_status loader_allocate(sm_loader *loader, sm_error *err) {
  const sm_loader_config *c = &loader->config;
  char text[32];
  loader->slots = c->prefetch + 1;
  loader->made = sm_calloc((size_t)loader->slots, sizeof *loader->made);
  loader->workers = sm_calloc((size_t)c->workers + 1, sizeof *loader->workers);
  const bool ordered = sm_order_begin(&loader->order, c->seed, loader->count, c->workers > 0);
  for (int s = 0; loader->made && s < loader->slots; s++) pthread_mutex_init(&loader->made[s].lock, NULL);
  if (!loader->made || !loader->workers || !ordered) goto no_memory;
  for (int w = 0; w <= c->workers; w++)
    if (!(loader->workers[w].scratch = sm_image_scratch_new())) goto no_memory;
  for (int s = 0; s < loader->slots; s++)
    if (!loader_make_slot(&loader->made[s], c)) goto no_memory;
  return SM_OK;

no_memory:
  sm_fail(err, SM_ENOMEM, "out of memory for %d batches of %d pictures (%s)", loader->slots, loader_share(c),
          sm_human_bytes((double)sm_loader_bytes(c), text, sizeof text));
  return sm_hint(err, "lower data.prefetch or train.batch_size");
}

sm_status sm_loader_new(const sm_loader_config *config, int64_t first_step, sm_loader **out, sm_error *err) {
  sm_error why = {0};
  int64_t count = config->dataset.ops->count(config->dataset.self);
  sm_status status = loader_check(config, count, first_step, &why);
  *out = NULL;
  if (status) {
    if (err) *err = why;
    return status;
  }
  sm_loader *loader = sm_calloc(1, sizeof *loader);
  if (!loader) return sm_fail(err, SM_ENOMEM, "out of memory for a loader");
  loader->config = *config;
  loader->config.known_bad = NULL; /* copied into the book; the caller's memory is not kept */
  loader->count = count;
  loader->steps_per_epoch = config->steps_per_epoch ? config->steps_per_epoch : count / config->batch_size;
  loader->global_floats = sm_view_floats(&config->views.global_first);
  loader->local_floats = sm_view_floats(&config->views.local);
  for (int k = 0; k < config->views.owns; k++)
    loader->own_floats[k] = sm_view_floats(&config->views.own[k].view);
  loader->cells = sm_batch_cells(&config->views, &config->masking, false);
  loader->local_cells = sm_batch_cells(&config->views, &config->masking, true);
  loader->born = sm_now();
  status = loader_allocate(loader, &why);
  if (!status && config->cache_bytes && !config->dataset.ops->borrow) {
    loader->cache = sm_cache_new(count, config->cache_bytes, &why);
    status = loader->cache ? SM_OK : why.code;
  }
  if (!status) {
    loader->book = sm_bad_book_new(&config->dataset, count, config->n_known_bad, config->known_bad, &why);
    if (loader->book)
      loader->ring = sm_ring_new(&ring_ops, loader, loader->slots, config->workers,
                                 first_step * loader_rounds(config), &why);
    status = loader->ring ? sm_ring_start(loader->ring, &why) : why.code;
  }
  if (status) {
    if (err) *err = why;
    sm_loader_free(loader);
    return status;
  }
  *out = loader;
  return SM_OK;
}

void sm_loader_free(sm_loader *loader) {
  if (!loader) return;
  sm_ring_free(loader->ring);
  sm_bad_book_free(loader->book);
  sm_cache_free(loader->cache);
  for (int s = 0; loader->made && s < loader->slots; s++) {
    pthread_mutex_destroy(&loader->made[s].lock);
    sm_aligned_free(loader->made[s].memory);
    sm_free(loader->made[s].attempts);
    sm_free(loader->made[s].found);
  }
  for (int w = 0; loader->workers && w <= loader->config.workers; w++) {
    sm_image_free(&loader->workers[w].own);
    sm_image_scratch_free(loader->workers[w].scratch);
  }
  sm_free(loader->made);
  sm_free(loader->workers);
  sm_order_end(&loader->order);
  sm_free(loader);
}

/* ---- giving out -------------------------------------------------------------------------------------- */

static int loader_by_item(const void *a, const void *b) {
  const found *x = a, *y = b;
  if (x->item != y->item) return x->item < y->item ? -1 : 1;
  return x->attempt < y->attempt ? -1 : x->attempt > y->attempt;
}

/* Pictures read until the end of the batch, each counted once: the good one that each place came to, and the bad
 * ones. Known from the step and the places that failed, so that it is the same after a stop. */
static int64_t loader_read_until(const sm_loader *loader, const made *m, int64_t failed) {
  const sm_loader_config *c = &loader->config;
  const int64_t batch = c->batch_size, step = m->batch.step, done = (m->round + 1) * batch / loader_rounds(c);
  int64_t n, places = step >= loader->count / batch ? loader->count : step * batch + done - failed;
  sm_bad_listed(loader->book, &n);
  return places < loader->count - n ? places + n : loader->count; /* capped before it can overflow */
}

/* Of what the batch came across, what is not listed yet: those come first then, by place. */
static int loader_sort_new(const sm_loader *loader, made *m) {
  int n = 0;
  for (int i = 0; i < m->n_found; i++)
    if (!sm_bad_is_listed(loader->book, m->found[i].index)) m->found[n++] = m->found[i];
  if (n > 1) qsort(m->found, (size_t)n, sizeof *m->found, loader_by_item);
  return n;
}

static sm_status loader_list(sm_loader *loader, const made *m, int n, sm_error *err) {
  for (int i = 0; i < n; i++)
    if (!sm_bad_list(loader->book, m->found[i].index))
      return sm_fail(err, SM_ENOMEM, "out of memory for the list of bad pictures");
  return SM_OK;
}

/* The same for what the batch came across on all ranks, whose places are in the order of ranks. */
static sm_status loader_list_all(sm_loader *loader, const made *m, int n, sm_error *err) {
  sm_ranks *ranks = loader->config.ranks;
  sm_bad *all = NULL;
  int64_t n_all = 0, *mine = sm_malloc(((size_t)n + 1) * sizeof *mine);
  sm_status status = mine ? SM_OK : sm_fail(err, SM_ENOMEM, "out of memory for the list of bad pictures");
  for (int i = 0; !status && i < n; i++) mine[i] = m->found[i].index;
  status = sm_ranks_agree(ranks, status, err);
  if (!status) status = sm_bad_gather(loader->book, ranks, mine, n, &all, &n_all, err);
  for (int64_t i = 0; !status && i < n_all; i++)
    if (!sm_bad_list(loader->book, all[i].index))
      status = sm_fail(err, SM_ENOMEM, "out of memory for the list of bad pictures");
  sm_free(mine);
  sm_free(all);
  return sm_ranks_agree(ranks, status, err);
}

/* Its memory of what a batch came across is used up. One that a fault of the system or a signal broke leaves no
 * trace: what is saved then is what an undisturbed run has at this step. */
static sm_status loader_settle(sm_loader *loader, made *m, sm_error *err) {
  sm_status status = sm_mapped_check(NULL, err);
  if (!status && m->failed_item >= 0 && sm_source_ends(m->error.code)) {
    *err = m->error;
    status = m->error.code;
  }
  sm_ranks *ranks = loader->config.ranks;
  if ((status = sm_ranks_agree(ranks, status, err))) return status;
  const int fresh = loader_sort_new(loader, m);
  double n[] = {fresh, m->n_failed};
  if ((status = sm_ranks_count(ranks, n, 2, err))) return status;
  if (n[0] > 0) status = ranks ? loader_list_all(loader, m, fresh, err) : loader_list(loader, m, fresh, err);
  for (int i = 0; i < m->batch.pictures; i++) loader->replaced += m->attempts[i] > 0;
  const int64_t read = loader_read_until(loader, m, (int64_t)n[1]);
  if (!status) status = sm_bad_check(loader->book, read, loader->config.max_bad, err);
  if (!status && m->failed_item >= 0) {
    *err = m->error;
    status = m->error.code;
  }
  return n[1] > 0 ? sm_ranks_agree(ranks, status, err) : status;
}

sm_status sm_loader_next(sm_loader *loader, sm_batch **out, sm_error *err) {
  sm_error why = {0};
  *out = NULL;
  if (loader->failed.code != SM_OK) {
    if (err) *err = loader->failed;
    return loader->failed.code;
  }
  double start = sm_now();
  int slot = sm_ring_next(loader->ring);
  loader->waited += sm_now() - start;
  if (slot == SM_RING_END)
    return sm_fail(err, SM_EINVAL, "there is no batch after step %lld, the last one",
                   (long long)loader->config.last_step - 1);
  if (slot == SM_RING_HELD)
    return sm_fail(err, SM_EINVAL, "all %d batches of the loader are held; release one first", loader->slots);
  made *m = &loader->made[slot];
  sm_status status = loader_settle(loader, m, &why);
  if (status) {
    loader->failed = why;
    if (err) *err = why;
    return status;
  }
  loader->batches++;
  loader->pictures += m->batch.pictures;
  *out = &m->batch;
  return SM_OK;
}

void sm_loader_release(sm_loader *loader, sm_batch *batch) {
  for (int s = 0; batch && s < loader->slots; s++)
    if (&loader->made[s].batch == batch) sm_ring_release(loader->ring, s);
}

int64_t sm_loader_steps_per_epoch(const sm_loader *loader) { return loader->steps_per_epoch; }

void sm_loader_stats_get(const sm_loader *loader, sm_loader_stats *stats) {
  *stats = (sm_loader_stats){.batches = loader->batches,
                             .wait_seconds = loader->waited,
                             .elapsed = sm_now() - loader->born,
                             .pictures = loader->pictures,
                             .replaced = loader->replaced};
  for (int w = 0; w <= loader->config.workers; w++) {
    stats->read_seconds += (double)atomic_load(&loader->workers[w].read_ns) * 1e-9;
    stats->view_seconds += (double)atomic_load(&loader->workers[w].view_ns) * 1e-9;
  }
  if (loader->cache) sm_cache_stats(loader->cache, &stats->cached, &stats->cache_bytes, &stats->cache_hits);
}

const sm_bad *sm_loader_bad(const sm_loader *loader, int64_t *n) { return sm_bad_listed(loader->book, n); }

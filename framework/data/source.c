/* source.c — see source.h. The cache is one pointer per picture, set once. */
#include <config.h>

#include <dirent.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "framework/base/io.h"
#include "listing.h"
#include "ring.h"
#include "source.h"

typedef struct kept {
  int width, height;
  uint8_t rgb[];
} kept;

struct sm_cache {
  int64_t count;
  size_t bytes; /* the bound */
  _Atomic(kept *) *at;
  _Atomic size_t used;
  _Atomic int64_t pictures, found;
};

enum { HEAP_COST = 16 }; /* what malloc adds to a block, about */

/* ---- the cache ----------------------------------------------------------------------------------------- */

sm_cache *sm_cache_new(int64_t count, size_t bytes, sm_error *err) {
  sm_cache *cache = sm_calloc(1, sizeof *cache);
  if (cache) cache->at = sm_calloc((size_t)count, sizeof *cache->at);
  if (!cache || !cache->at) {
    sm_cache_free(cache);
    sm_fail(err, SM_ENOMEM, "out of memory for a cache of %lld pictures", (long long)count);
    return NULL;
  }
  cache->count = count;
  cache->bytes = bytes;
  atomic_store(&cache->used, (size_t)count * sizeof *cache->at);
  return cache;
}

void sm_cache_free(sm_cache *cache) {
  if (!cache) return;
  for (int64_t i = 0; i < cache->count; i++) sm_free(atomic_load(&cache->at[i]));
  sm_free((void *)cache->at);
  sm_free(cache);
}

bool sm_cache_find(sm_cache *cache, int64_t index, sm_image *view) {
  kept *k = atomic_load_explicit(&cache->at[index], memory_order_acquire);
  if (!k) return false;
  *view = (sm_image){.width = k->width, .height = k->height, .rgb = k->rgb};
  atomic_fetch_add_explicit(&cache->found, 1, memory_order_relaxed);
  return true;
}

/* Two workers may bring the same picture: the second one's copy goes. */
void sm_cache_keep(sm_cache *cache, int64_t index, const sm_image *image) {
  const size_t pixels = 3 * (size_t)image->width * (size_t)image->height;
  const size_t need = sizeof(kept) + pixels + HEAP_COST;
  kept *none = NULL;
  const size_t before = atomic_fetch_add(&cache->used, need);
  kept *k = before <= cache->bytes && need <= cache->bytes - before ? sm_malloc(sizeof *k + pixels) : NULL;
  if (k) {
    k->width = image->width;
    k->height = image->height;
    memcpy(k->rgb, image->rgb, pixels);
    if (atomic_compare_exchange_strong_explicit(&cache->at[index], &none, k, memory_order_release,
                                                memory_order_relaxed)) {
      atomic_fetch_add_explicit(&cache->pictures, 1, memory_order_relaxed);
      return;
    }
  }
  sm_free(k);
  atomic_fetch_sub(&cache->used, need);
}

void sm_cache_stats(const sm_cache *cache, int64_t *pictures, size_t *bytes, int64_t *found) {
  *pictures = atomic_load(&cache->pictures);
  *bytes = atomic_load(&cache->used);
  *found = atomic_load(&cache->found);
}

/* ---- one picture --------------------------------------------------------------------------------------- */

static bool source_lends(const sm_dataset *set) { return set->ops->borrow != NULL; }

/* A kept picture is of use if it would be decoded in full size now. */
static bool source_find_whole(const sm_source *s, int64_t index, const sm_image_shrink *shrink,
                              sm_image *view) {
  return sm_cache_find(s->cache, index, view) &&
         (!shrink || shrink->most(shrink->ctx, view->width, view->height) <= 1);
}

static sm_status source_try(const sm_source *s, int64_t index, sm_image_shrink *shrink, sm_image *own,
                            sm_image *view, sm_error *err) {
  const sm_dataset *set = s->dataset;
  sm_image_limits limits = *s->limits;
  if (shrink) shrink->by = 1;
  if (view && source_lends(set)) return set->ops->borrow(set->self, index, &limits, view, err);
  if (view && s->cache && source_find_whole(s, index, shrink, view)) return SM_OK;
  limits.shrink = shrink;
  sm_status status = set->ops->read(set->self, index, &limits, own, err);
  if (status || !view) return status;
  *view = (sm_image){.width = own->width, .height = own->height, .rgb = own->rgb};
  if (s->cache && (!shrink || shrink->by == 1)) sm_cache_keep(s->cache, index, own);
  return SM_OK;
}

/* ---- faults that pass ---------------------------------------------------------------------------------- */

enum { AGAIN = 10, FIRST_WAIT = 10, SLICE = 20 /* ms */ };

bool sm_source_is_fault(sm_status status) {
  return status == SM_EIO || status == SM_ENOTFOUND || status == SM_ENOMEM;
}

bool sm_source_ends(sm_status status) {
  return sm_source_is_fault(status) || status == SM_EINTERRUPTED || status == SM_EINTERNAL;
}

static bool source_must_stop(const sm_source *s) {
  return (s->stop && s->stop()) || (s->ring && sm_ring_stopping(s->ring));
}

/* False: it was broken off. */
static bool source_wait(const sm_source *s, int ms) {
  for (; ms > 0 && !source_must_stop(s); ms -= SLICE)
    sm_sleep(1e-3 * (ms < SLICE ? ms : SLICE));
  return ms <= 0;
}

static sm_status source_give_up(const sm_source *s, int64_t index, const sm_error *why, sm_error *err) {
  const sm_dataset *set = s->dataset;
  const bool gone = why->code == SM_ENOTFOUND;
  sm_fail(err, gone ? SM_EIO : why->code, "%s%s, nor in %d further attempts within 10 s", why->message,
          gone ? ", though it was there when the pictures were listed" : "", AGAIN);
  sm_fail_at(err, why->place[0] ? why->place : set->ops->name(set->self, index), 0, 0);
  if (why->hint[0]) return sm_hint(err, "%s", why->hint);
  return sm_hint(err, why->code == SM_ENOMEM
                          ? "free some memory, or use fewer data.workers"
                          : "see to the disk or file system and run the same command again");
}

sm_status sm_source_get(const sm_source *s, int64_t index, sm_image_shrink *shrink, sm_image *own,
                        sm_image *view, sm_error *err) {
  for (int attempt = 0;; attempt++) {
    sm_error why = {0};
    const sm_status status = why.code = source_try(s, index, shrink, own, view, &why);
    if (!sm_source_is_fault(status)) {
      if (status && err) *err = why;
      return status;
    }
    if (attempt == AGAIN) return source_give_up(s, index, &why, err);
    if (!source_wait(s, FIRST_WAIT << attempt))
      return sm_fail(err, SM_EINTERRUPTED, "stopped while a picture could not be read: %s", why.message);
  }
}

sm_status sm_source_size(const sm_source *s, int64_t index, sm_image *own, int *height, int *width, sm_error *err) {
  const sm_dataset *d = s->dataset;
  if (sm_image_size(d->ops->name(d->self, index), width, height, NULL) == SM_OK) return SM_OK;
  const sm_status status = sm_source_get(s, index, NULL, own, NULL, err);
  *height = own->height, *width = own->width;
  return status;
}

/* A text file of rows is a list. */
bool sm_list_is(const char *path) {
  static const char *const endings[] = {".csv", ".tsv", ".txt"};
  const size_t n = strlen(path);
  for (int i = 0; i < 3; i++)
    if (n > 4 && !strcmp(path + n - 4, endings[i])) return true;
  return false;
}

bool sm_tar_is(const char *path) {
  const size_t n = strlen(path);
  return n > 4 && !strcmp(path + n - 4, ".tar");
}

/* A folder of shards has some, and neither sub-folders nor pictures beside them. */
static bool source_holds_shards(const char *path) {
  DIR *dir = opendir(path);
  struct dirent *d;
  bool shards = false, others = false;
  while (dir && !others && (d = readdir(dir))) {
    if (d->d_name[0] == '.') continue;
    if (sm_tar_is(d->d_name)) shards = true;
    else others = d->d_type == DT_DIR || sm_listing_is_picture(d->d_name);
  }
  if (dir) closedir(dir);
  return shards && !others;
}

const char *sm_dataset_for(const char *path, sm_error *err) {
  struct stat st;
  bool there;
  if (sm_path_look(path, &st, &there, err)) return NULL;
  if (there && S_ISREG(st.st_mode)) return sm_list_is(path) ? "list" : sm_tar_is(path) ? "tar" : "packed";
  if (there && source_holds_shards(path)) return "tar";
  return "folder"; /* which says what is not there */
}

/* listing.c — a listing put into order: which pictures, in which order and of which class, and their hash. */
#include <string.h>

#include "listing.h"

enum { NAMED = 5 };

/* ---- arranging ----------------------------------------------------------------------------------------- */

typedef struct arranging {
  sm_listing *l;
  int64_t limit, taken; /* of this class */
  int32_t label;
  bool no_memory;
} arranging;

static bool arranging_full(const arranging *a) { return a->no_memory || (a->limit && a->taken >= a->limit); }

/* Entries from … to-1 of a folder, all of them pictures. */
static void arranging_add(arranging *a, uint32_t folder, uint32_t from, uint32_t to) {
  sm_listing *l = a->l;
  int64_t n = (int64_t)to - from;
  if (a->limit && n > a->limit - a->taken) n = a->limit - a->taken;
  if (n <= 0) return;
  if (l->n_runs == l->runs_room) {
    const int64_t room = l->runs_room ? 2 * l->runs_room : 64;
    sm_listing_run *more = sm_realloc(l->runs, (size_t)room * sizeof *more);
    a->no_memory |= !more;
    if (!more) return;
    l->runs = more;
    l->runs_room = room;
  }
  l->runs[l->n_runs++] = (sm_listing_run){l->count, folder, from, a->label};
  l->count += n;
  a->taken += n;
}

/* deep: with what lies in sub-folders, each where its name stands. */
static void arranging_walk(arranging *a, uint32_t folder, bool deep) {
  const sm_listing *l = a->l;
  const sm_listing_node *node = &l->nodes[folder];
  uint32_t from = 0;
  for (uint32_t c = node->child; c < node->child + node->children && !arranging_full(a); c++) {
    arranging_add(a, folder, from, l->nodes[c].at);
    if (deep && !arranging_full(a)) arranging_walk(a, c, deep);
    from = l->nodes[c].at + 1;
  }
  if (!arranging_full(a)) arranging_add(a, folder, from, l->heads[folder].entries);
}

static bool arranging_name_class(sm_listing *l, int c) {
  sm_listing_cursor at;
  const bool found = sm_listing_find(l, 0, l->nodes[l->nodes[0].child + (uint32_t)c].at, &at);
  l->class_names[c] = sm_strdup(found ? at.name : "?");
  l->n_classes += l->class_names[c] != NULL;
  return l->class_names[c] != NULL;
}

static void arranging_tell(const sm_listing *l, const sm_text *empty, int n_empty, int64_t stray) {
  if (n_empty > 0)
    sm_log(SM_LOG_WARNING, "%s %s: %d of %d class folders hold no picture: %s%s", sm_listing_kind(l),
           l->root, n_empty, l->n_classes, empty->s ? empty->s : "", n_empty > NAMED ? ", …" : "");
  if (stray > 0)
    sm_log(SM_LOG_WARNING, "%s %s: %lld pictures beside the class folders have no label", sm_listing_kind(l),
           l->root, (long long)stray);
}

static void arranging_by_class(arranging *a) {
  sm_listing *l = a->l;
  const uint32_t classes = l->nodes[0].children;
  sm_text empty = {0};
  int n_empty = 0;
  arranging_walk(a, 0, false);
  const int64_t stray = l->count;
  l->class_names = sm_calloc(classes + 1, sizeof *l->class_names);
  a->no_memory |= !l->class_names;
  for (uint32_t c = 0; c < classes && !a->no_memory; c++) {
    if (!arranging_name_class(l, (int)c)) a->no_memory = true;
    a->label = (int32_t)c;
    a->taken = 0;
    arranging_walk(a, l->nodes[0].child + c, true);
    if (a->taken == 0 && n_empty++ < NAMED && !a->no_memory)
      sm_text_add(&empty, "%s%s", n_empty > 1 ? ", " : "", l->class_names[c]);
  }
  if (l->count > stray) arranging_tell(l, &empty, n_empty, stray);
  else
    for (; l->n_classes > 0; l->n_classes--) sm_free(l->class_names[l->n_classes - 1]);
  sm_text_free(&empty);
}

static int64_t listing_bytes(uint64_t value) {
  return value < SM_LISTING_BYTES ? -1 : (int64_t)(value - SM_LISTING_BYTES);
}

static int64_t listing_run_end(const sm_listing *l, int64_t run) {
  return run + 1 < l->n_runs ? l->runs[run + 1].first : l->count;
}

/* Names as seen from the root, each with its zero byte, and sizes, in order. */
static sm_status listing_make_hash(sm_listing *l, sm_error *err) {
  sm_text path = {0};
  const size_t root = strlen(l->root) + (l->root[strlen(l->root) - 1] != '/');
  sm_listing_cursor c;
  for (int64_t r = 0; r < l->n_runs && !path.failed; r++) {
    const sm_listing_run *run = &l->runs[r];
    const int64_t n = listing_run_end(l, r) - run->first;
    sm_listing_folder_path(l, run->folder, &path);
    if (!path.failed && path.s[path.len - 1] != '/') sm_text_add(&path, "/");
    const size_t folder = path.len;
    for (uint32_t i = 0; i < n && !path.failed; i++) {
      const uint32_t at = run->entry + i;
      if (i == 0 ? !sm_listing_find(l, run->folder, at, &c) : !sm_listing_next(&c, at % SM_LISTING_BLOCK == 0))
        break; /* the mapping changes under us; whoever uses it will hear of that */
      path.len = folder;
      sm_text_bytes(&path, c.name, c.length + 1);
      const uint64_t bytes = (uint64_t)listing_bytes(c.entry.value);
      unsigned char eight[8];
      for (int b = 0; b < 8; b++) eight[b] = (unsigned char)(bytes >> 8 * b);
      if (!path.failed) l->hash = sm_hash64(path.s + root, path.len - root, l->hash);
      l->hash = sm_hash64(eight, sizeof eight, l->hash);
    }
  }
  const bool failed = path.failed;
  sm_text_free(&path);
  return failed ? sm_fail(err, SM_ENOMEM, "out of memory while listing %s", l->root) : SM_OK;
}

sm_status sm_listing_arrange(sm_listing *l, bool classes, int64_t limit, sm_error *err) {
  arranging a = {.l = l, .limit = limit, .label = -1};
  if (classes) arranging_by_class(&a);
  else arranging_walk(&a, 0, true);
  if (a.no_memory) return sm_fail(err, SM_ENOMEM, "out of memory while listing %s", l->root);
  return listing_make_hash(l, err);
}

/* ---- what it holds ------------------------------------------------------------------------------------- */

int64_t sm_listing_found(const sm_listing *l) { return l->pictures; }
int64_t sm_listing_folders(const sm_listing *l) { return l->folders; }
int64_t sm_listing_shards(const sm_listing *l) { return l->shards; }
int64_t sm_listing_others(const sm_listing *l) { return l->others; }
int64_t sm_listing_count(const sm_listing *l) { return l->count; }
int sm_listing_classes(const sm_listing *l) { return l->n_classes; }
const char *sm_listing_class_name(const sm_listing *l, int c) { return l->class_names[c]; }
uint64_t sm_listing_hash(const sm_listing *l) { return l->hash; }

void sm_listing_tell(const sm_listing *l) {
  for (const char *s = l->tell_skipped.s; s && s < l->tell_skipped.s + l->tell_skipped.len; s += strlen(s) + 1)
    sm_log(SM_LOG_INFO, "folder: %s leads back to a folder above it and is skipped", s);
  if (l->tell_others.s) sm_log(l->tell_pictures ? SM_LOG_WARNING : SM_LOG_INFO, "%s", l->tell_others.s);
}

/* ---- one picture --------------------------------------------------------------------------------------- */

static const sm_listing_run *listing_run_of(const sm_listing *l, int64_t index) {
  int64_t low = 0, high = l->n_runs;
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    if (l->runs[middle].first <= index) low = middle;
    else high = middle;
  }
  return &l->runs[low];
}

int sm_listing_label(const sm_listing *l, int64_t index) { return listing_run_of(l, index)->label; }

static bool listing_entry_of(const sm_listing *l, int64_t index, sm_listing_cursor *c) {
  const sm_listing_run *run = listing_run_of(l, index);
  return sm_listing_find(l, run->folder, run->entry + (uint32_t)(index - run->first), c);
}

void sm_listing_path(const sm_listing *l, int64_t index, sm_text *path) {
  sm_listing_cursor c;
  sm_listing_folder_path(l, listing_run_of(l, index)->folder, path);
  if (!listing_entry_of(l, index, &c) || path->failed) return;
  sm_text_add(path, "%s%s", path->s[path->len - 1] == '/' ? "" : "/", c.name);
}

sm_listing_place sm_listing_at(const sm_listing *l, int64_t index) {
  sm_listing_cursor c;
  sm_listing_place place = {.bytes = -1, .shard = -1};
  if (!listing_entry_of(l, index, &c)) return place;
  place.bytes = listing_bytes(c.entry.value);
  place.dangling = c.entry.value == SM_LISTING_DANGLING;
  if (!l->shards || c.entry.shard >= l->shards || c.entry.offset > INT64_MAX / SM_LISTING_UNIT) return place;
  place.shard = (int64_t)c.entry.shard;
  place.offset = (int64_t)c.entry.offset * SM_LISTING_UNIT;
  return place;
}

/* ---- names that were asked for ------------------------------------------------------------------------- */

static sm_listing_kept *listing_seat(sm_listing_kept *kept, size_t room, int64_t index) {
  size_t at = (size_t)((uint64_t)index * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (room - 1);
  while (kept[at].name && kept[at].index != index) at = (at + 1) & (room - 1);
  return &kept[at];
}

static bool listing_keep_more(sm_listing *l) {
  if (2 * (l->n_kept + 1) <= l->kept_room) return true;
  const size_t room = l->kept_room ? 2 * l->kept_room : 64;
  sm_listing_kept *more = sm_calloc(room, sizeof *more);
  if (!more) return false;
  for (size_t i = 0; i < l->kept_room; i++)
    if (l->kept[i].name) *listing_seat(more, room, l->kept[i].index) = l->kept[i];
  sm_free(l->kept);
  l->kept = more;
  l->kept_room = room;
  return true;
}

const char *sm_listing_name(const sm_listing *listing, int64_t index) {
  sm_listing *l = (sm_listing *)(uintptr_t)listing; /* what it keeps changes nothing that is seen */
  sm_text path = {0};
  const char *name = NULL;
  pthread_mutex_lock(&l->lock);
  sm_listing_kept *seat = listing_keep_more(l) ? listing_seat(l->kept, l->kept_room, index) : NULL;
  if (seat && !seat->name) {
    sm_listing_path(l, index, &path);
    if (!path.failed && (seat->name = sm_strdup(path.s))) {
      seat->index = index;
      l->n_kept++;
    }
    sm_text_free(&path);
  }
  if (seat) name = seat->name;
  pthread_mutex_unlock(&l->lock);
  return name;
}

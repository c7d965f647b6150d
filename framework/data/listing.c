/* listing.c — a listing put into order: which pictures, in which order and of which class, and their hash. */
#include <string.h>

#include "listing.h"

enum { NAMED = 5 };

static int64_t listing_bytes(uint64_t value) {
  return value < SM_LISTING_BYTES ? -1 : (int64_t)(value - SM_LISTING_BYTES);
}

static int listing_class(const sm_listing_cursor *c) {
  return c->entry.label < SM_LISTING_CLASS ? -1 : (int)(c->entry.label - SM_LISTING_CLASS);
}

/* How many pictures a run has. */
static int64_t listing_run_length(const sm_listing *l, int64_t run) {
  return (run + 1 < l->n_runs ? l->runs[run + 1].first : l->count) - l->runs[run].first;
}

/* The picture number i of a run of n, after that of i - 1. False behind the last, and where the mapping changes under
 * us, of which whoever uses it will hear. */
static bool listing_run_next(const sm_listing *l, const sm_listing_run *run, int64_t n, int64_t i,
                             sm_listing_cursor *c) {
  const uint32_t at = run->entry + (uint32_t)i;
  if (i >= n) return false;
  return i == 0 ? sm_listing_find(l, run->folder, at, c) : sm_listing_next(c, at % SM_LISTING_BLOCK == 0);
}

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

/* ---- classes by number ---------------------------------------------------------------------------------- */

typedef struct numbering {
  int64_t *taken; /* of each class; before the first: of pictures without one */
  int64_t odd;    /* labels */
  int classes;
} numbering;

static void numbering_look(const sm_listing *l, numbering *n) {
  sm_listing_cursor c;
  for (int64_t r = 0; r < l->n_runs; r++)
    for (int64_t i = 0; listing_run_next(l, &l->runs[r], listing_run_length(l, r), i, &c); i++) {
      n->odd += c.entry.label == SM_LISTING_ODD_LABEL;
      if (listing_class(&c) >= n->classes) n->classes = listing_class(&c) + 1;
    }
}

/* A run of n pictures once more, without those that are over their class's limit. */
static void numbering_cut(arranging *a, numbering *number, const sm_listing_run *run, int64_t n,
                          int64_t limit) {
  sm_listing_cursor c;
  uint32_t from = run->entry;
  for (int64_t i = 0; listing_run_next(a->l, run, n, i, &c); i++) {
    if (number->taken[listing_class(&c)]++ < limit || !limit) continue;
    arranging_add(a, run->folder, from, run->entry + (uint32_t)i);
    from = run->entry + (uint32_t)i + 1;
  }
  arranging_add(a, run->folder, from, run->entry + (uint32_t)n);
}

static void numbering_cut_all(arranging *a, numbering *number, int64_t limit) {
  sm_listing *l = a->l, all = {.runs = l->runs, .n_runs = l->n_runs, .count = l->count};
  l->runs = NULL;
  l->n_runs = l->runs_room = l->count = 0;
  for (int64_t r = 0; r < all.n_runs; r++)
    numbering_cut(a, number, &all.runs[r], listing_run_length(&all, r), limit);
  sm_free(all.runs);
}

static bool numbering_name(sm_listing *l, int classes) {
  char name[16];
  if (!(l->class_names = sm_calloc((size_t)classes + 1, sizeof *l->class_names))) return false;
  for (; l->n_classes < classes; l->n_classes++) {
    snprintf(name, sizeof name, "%d", l->n_classes);
    if (!(l->class_names[l->n_classes] = sm_strdup(name))) return false;
  }
  return true;
}

static void numbering_tell(const sm_listing *l, const numbering *n) {
  sm_text empty = {0};
  int n_empty = 0;
  for (int c = 0; c < n->classes; c++)
    if (!n->taken[c] && n_empty++ < NAMED) sm_text_add(&empty, "%s%d", n_empty > 1 ? ", " : "", c);
  if (n_empty > 0)
    sm_log(SM_LOG_WARNING, "shards %s: %d of %d class numbers have no picture: %s%s", l->root, n_empty,
           n->classes, empty.s ? empty.s : "", n_empty > NAMED ? ", …" : "");
  if (n->taken[-1] > 0)
    sm_log(SM_LOG_WARNING, "shards %s: %lld of %lld pictures have no label: there is no .cls beside them",
           l->root, (long long)n->taken[-1], (long long)l->pictures);
  sm_text_free(&empty);
}

static sm_status numbering_odd(const sm_listing *l, const numbering *n, sm_error *err) {
  const char *first = l->odd_label.s ? l->odd_label.s : "";
  sm_fail(err, SM_EFORMAT, "%lld of the labels %s%s%s", (long long)n->odd,
          sm_plural(n->odd, "is no class number", "are no class numbers"), *first ? ": " : "", first);
  sm_fail_at(err, l->root, 0, 0);
  return sm_hint(
      err, "a member called .cls holds a number from 0 to %d; where no labels are wanted say classes: none",
      SM_LISTING_CLASSES - 1);
}

/* In the order of names, whatever the class. */
static sm_status arranging_by_number(arranging *a, sm_error *err) {
  sm_listing *l = a->l;
  numbering n = {0};
  const int64_t limit = a->limit;
  a->limit = 0;
  arranging_walk(a, 0, true);
  numbering_look(l, &n);
  if (n.odd) return numbering_odd(l, &n, err);
  int64_t *taken = sm_calloc((size_t)n.classes + 1, sizeof *taken);
  a->no_memory |= !taken || !numbering_name(l, n.classes);
  if (!a->no_memory) {
    n.taken = taken + 1;
    numbering_cut_all(a, &n, limit);
    numbering_tell(l, &n);
  }
  l->by_number = true;
  sm_free(taken);
  return SM_OK;
}

/* ---- all of it ------------------------------------------------------------------------------------------ */

static void listing_hash_entry(sm_listing *l, const sm_listing_cursor *c) {
  const uint64_t bytes = (uint64_t)listing_bytes(c->entry.value);
  const uint32_t class = (uint32_t)listing_class(c);
  unsigned char raw[12];
  for (int b = 0; b < 8; b++) raw[b] = (unsigned char)(bytes >> 8 * b);
  for (int b = 0; b < 4; b++) raw[8 + b] = (unsigned char)(class >> 8 * b);
  l->hash = sm_hash64(raw, l->by_number ? 12 : 8, l->hash);
}

/* Names as seen from the root, each with its zero byte, sizes, and classes by number, in order. */
static sm_status listing_make_hash(sm_listing *l, sm_error *err) {
  sm_text path = {0};
  const size_t root = strlen(l->root) + (l->root[strlen(l->root) - 1] != '/');
  sm_listing_cursor c;
  for (int64_t r = 0; r < l->n_runs && !path.failed; r++) {
    sm_listing_folder_path(l, l->runs[r].folder, &path);
    if (!path.failed && path.s[path.len - 1] != '/') sm_text_add(&path, "/");
    const size_t folder = path.len;
    for (int64_t i = 0; !path.failed && listing_run_next(l, &l->runs[r], listing_run_length(l, r), i, &c); i++) {
      path.len = folder;
      sm_text_bytes(&path, c.name, c.length + 1);
      if (!path.failed) l->hash = sm_hash64(path.s + root, path.len - root, l->hash);
      listing_hash_entry(l, &c);
    }
  }
  const bool failed = path.failed;
  sm_text_free(&path);
  return failed ? sm_fail(err, SM_ENOMEM, "out of memory while listing %s", l->root) : SM_OK;
}

sm_status sm_listing_arrange(sm_listing *l, sm_listing_by by, int64_t limit, sm_error *err) {
  arranging a = {.l = l, .limit = limit, .label = -1};
  sm_status status = SM_OK;
  if (by == SM_LISTING_BY_NUMBER) status = arranging_by_number(&a, err);
  else if (by == SM_LISTING_BY_FOLDER) arranging_by_class(&a);
  else arranging_walk(&a, 0, true);
  if (a.no_memory) status = sm_fail(err, SM_ENOMEM, "out of memory while listing %s", l->root);
  return status ? status : listing_make_hash(l, err);
}

/* ---- what it holds ------------------------------------------------------------------------------------- */

int64_t sm_listing_found(const sm_listing *l) { return l->pictures; }
int64_t sm_listing_folders(const sm_listing *l) { return l->folders; }
int64_t sm_listing_shards(const sm_listing *l) { return l->shards; }
bool sm_listing_numbered(const sm_listing *l) { return l->numbered; }
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

int sm_listing_label(const sm_listing *l, int64_t index) {
  sm_listing_cursor c;
  if (!l->by_number) return listing_run_of(l, index)->label;
  return listing_entry_of(l, index, &c) ? listing_class(&c) : -1;
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

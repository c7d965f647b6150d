/* listing_entries.c — the entries of a listing, written and read, and the tables that lead to them.
 *
 * * Names of a folder are sorted, so each says only what differs from the one before it; every sixteenth
 * stands whole, and where these begin is known. A picture is found by decoding at most sixteen. Nothing
 * that was read is believed: an index file comes from anywhere, and may change while it is mapped. */
#include <string.h>
#include <sys/stat.h>

#include "framework/base/mapped.h"
#include "listing.h"

/* ---- one entry ----------------------------------------------------------------------------------------- */

static void listing_put_number(sm_text *to, uint64_t value) {
  unsigned char bytes[10];
  size_t n = 0;
  for (; value >= 128; value >>= 7) bytes[n++] = (unsigned char)(value | 128);
  bytes[n++] = (unsigned char)value;
  sm_text_bytes(to, bytes, n);
}

void sm_listing_put(const sm_listing *l, sm_text *entries, uint32_t at, const char *before, const char *name,
                    const sm_listing_entry *entry) {
  unsigned char shared = 0;
  while (at % SM_LISTING_BLOCK && shared < SM_LISTING_NAME && name[shared] && name[shared] == before[shared])
    shared++;
  sm_text_bytes(entries, &shared, 1);
  sm_text_bytes(entries, name + shared, strlen(name + shared) + 1);
  listing_put_number(entries, entry->value);
  if (!l->shards || entry->value == SM_LISTING_SUB) return;
  listing_put_number(entries, entry->shard);
  listing_put_number(entries, entry->offset);
  if (l->numbered) listing_put_number(entries, entry->label);
}

static bool listing_number(sm_listing_cursor *c, uint64_t *value) {
  *value = 0;
  for (int shift = 0; shift < 63 && c->at < c->end; shift += 7) {
    const unsigned char byte = *c->at++;
    *value |= (uint64_t)(byte & 127) << shift;
    if (byte < 128) return true;
  }
  return false;
}

bool sm_listing_next(sm_listing_cursor *c, bool whole) {
  c->entry.label = SM_LISTING_NO_LABEL;
  if (c->at == c->end) return false;
  const size_t shared = *c->at++;
  const unsigned char *stop = memchr(c->at, 0, (size_t)(c->end - c->at));
  if (!stop || (whole ? shared > 0 : shared > c->length)) return false;
  const size_t rest = (size_t)(stop - c->at);
  if (shared + rest == 0 || shared + rest > SM_LISTING_NAME || memchr(c->at, '/', rest)) return false;
  memcpy(c->name + shared, c->at, rest + 1);
  c->length = shared + rest;
  c->at = stop + 1;
  if (c->name[0] == '.' || !listing_number(c, &c->entry.value)) return false;
  if (!c->sharded || c->entry.value == SM_LISTING_SUB) return true;
  return listing_number(c, &c->entry.shard) && listing_number(c, &c->entry.offset) &&
         (!c->numbered || listing_number(c, &c->entry.label));
}

/* ---- the tables ---------------------------------------------------------------------------------------- */

static size_t listing_blocks_of(uint32_t entries) {
  return entries / SM_LISTING_BLOCK + (entries % SM_LISTING_BLOCK > 0);
}

/* Room for nodes and blocks. An entry takes three bytes at least, so that numbers which cannot be true ask
 * for no memory. */
static const char *listing_reserve(sm_listing *l, bool *no_memory) {
  uint64_t blocks = 0, entries = 0;
  for (uint32_t f = 0; f < l->folders; f++) {
    blocks += listing_blocks_of(l->heads[f].entries);
    entries += l->heads[f].entries;
  }
  if (entries > l->entries_bytes / 3) return "it has fewer entries than it says";
  l->nodes = sm_calloc(l->folders, sizeof *l->nodes);
  l->blocks = sm_calloc((size_t)blocks + 1, sizeof *l->blocks);
  *no_memory = !l->nodes || !l->blocks;
  return NULL;
}

/* A folder met as entry `at` of folder f. Numbers go up by what is met, so no folder can be its own
 * ancestor. */
static const char *listing_add_node(sm_listing *l, uint32_t f, uint32_t at, uint32_t *next) {
  if (*next == l->folders) return "it has more folders than it says";
  sm_listing_node *up = &l->nodes[f];
  if (up->depth == SM_LISTING_DEEPEST) return "its folders lie too deep";
  if (!up->children++) up->child = *next;
  l->nodes[(*next)++] = (sm_listing_node){.parent = f, .at = at, .depth = up->depth + 1};
  return NULL;
}

static const char *listing_read_nodes(sm_listing *l) {
  sm_listing_cursor c = {
      l->entries, l->entries + l->entries_bytes, .sharded = l->shards > 0, .numbered = l->numbered};
  const char *what = NULL;
  uint32_t next = 1;
  size_t block = 0;
  l->pictures = 0;
  for (uint32_t f = 0; f < l->folders; f++) {
    if (f >= next) return "a folder of its list is in no other";
    l->nodes[f].block = block;
    for (uint32_t i = 0; i < l->heads[f].entries; i++) {
      const bool whole = i % SM_LISTING_BLOCK == 0;
      if (whole) l->blocks[block++] = (uint64_t)(c.at - l->entries);
      if (!sm_listing_next(&c, whole)) return "an entry of its list makes no sense";
      if (c.entry.value == SM_LISTING_SUB) what = listing_add_node(l, f, i, &next);
      else if (l->shards && c.entry.shard >= l->shards) what = "a picture lies in no shard";
      else if (c.entry.label >= SM_LISTING_CLASS + SM_LISTING_CLASSES) what = "a picture has a class that cannot be";
      else l->pictures++;
      if (what) return what;
    }
  }
  if (next < l->folders || c.at != c.end) return "its list does not end where it should";
  return l->pictures > INT32_MAX ? "it has too many pictures" : NULL;
}

sm_status sm_listing_read_image(sm_listing *l, const char **what, sm_error *err) {
  bool no_memory = false;
  const char *why = listing_reserve(l, &no_memory);
  if (no_memory) return sm_fail(err, SM_ENOMEM, "no memory for a list of %u folders", l->folders);
  if (!why) why = listing_read_nodes(l);
  if (what) *what = why;
  return why ? sm_fail(err, SM_EFORMAT, "%s", why) : SM_OK;
}

sm_status sm_listing_own(sm_listing *l, sm_error *err) {
  char *exact = l->own_entries.len ? sm_realloc(l->own_entries.s, l->own_entries.len) : NULL;
  if (exact) l->own_entries.s = exact, l->own_entries.cap = l->own_entries.len;
  l->heads = l->own_heads;
  l->entries = (const unsigned char *)l->own_entries.s;
  l->entries_bytes = l->own_entries.len;
  l->shard_heads = l->own_shards;
  l->shard_names = l->own_names.s;
  l->names_bytes = l->own_names.len;
  return sm_listing_read_image(l, NULL, err);
}

bool sm_listing_find(const sm_listing *l, uint32_t folder, uint32_t at, sm_listing_cursor *c) {
  const size_t block = l->nodes[folder].block + at / SM_LISTING_BLOCK;
  c->at = l->entries + l->blocks[block];
  c->end = l->entries + l->entries_bytes;
  c->sharded = l->shards > 0;
  c->numbered = l->numbered;
  for (uint32_t i = 0; i <= at % SM_LISTING_BLOCK; i++)
    if (!sm_listing_next(c, i == 0)) return false;
  return true;
}

void sm_listing_folder_path(const sm_listing *l, uint32_t folder, sm_text *path) {
  uint32_t below[SM_LISTING_DEEPEST + 1];
  int n = 0;
  sm_listing_cursor c;
  for (; folder; folder = l->nodes[folder].parent) below[n++] = folder;
  path->len = 0;
  sm_text_add(path, "%s", l->root);
  while (n-- > 0 && sm_listing_find(l, l->nodes[below[n]].parent, l->nodes[below[n]].at, &c))
    sm_text_add(path, "%s%s", path->len && path->s[path->len - 1] == '/' ? "" : "/", c.name);
}

void sm_listing_shard_path(const sm_listing *l, uint32_t shard, sm_text *path) {
  const bool slash = l->root[strlen(l->root) - 1] == '/';
  path->len = 0;
  if (l->single) sm_text_add(path, "%s", l->root);
  else sm_text_add(path, "%s%s%s", l->root, slash ? "" : "/", l->shard_names + l->shard_heads[shard].name);
}

int64_t sm_listing_changed(const struct stat *st) {
  return (int64_t)st->st_mtim.tv_sec * INT64_C(1000000000) + st->st_mtim.tv_nsec;
}

/* File systems count in steps of 10 ms at most, or in whole seconds, as do FAT (two) and old servers. */
bool sm_listing_newer(const sm_listing *l, double now, double *tick) {
  const int64_t second = INT64_C(1000000000);
  *tick = 0;
  for (uint32_t f = 0; f < l->folders; f++) {
    const int64_t changed = l->heads[f].changed;
    const double step = changed % second ? 0.05 : 2;
    if ((double)changed * 1e-9 > now - step && step > *tick) *tick = step;
  }
  return *tick > 0;
}

static size_t listing_begin(const sm_listing *l, uint32_t folder) {
  while (folder < l->folders && !l->heads[folder].entries) folder++;
  return folder < l->folders ? (size_t)l->blocks[l->nodes[folder].block] : l->entries_bytes;
}

bool sm_listing_equal(const sm_listing *a, const sm_listing *b, sm_text *where) {
  const uint32_t folders = a->folders < b->folders ? a->folders : b->folders;
  for (uint32_t f = 0; f < folders; f++) {
    const size_t at = listing_begin(a, f), n = listing_begin(a, f + 1) - at, to = listing_begin(b, f);
    if (n == listing_begin(b, f + 1) - to && !memcmp(a->entries + at, b->entries + to, n)) continue;
    sm_listing_folder_path(b, f, where);
    return false;
  }
  return true; /* equal folders have the same sub-folders */
}

void sm_listing_each(int64_t items, void (*fn)(void *ctx, int64_t item, int worker), void *ctx) {
  const int threads = items < SM_LISTING_THREADS ? (int)items : SM_LISTING_THREADS;
  sm_pool *pool = threads > 1 ? sm_pool_new(threads, NULL) : NULL;
  if (pool) sm_pool_run(pool, items, fn, ctx);
  else
    for (int64_t i = 0; i < items; i++) fn(ctx, i, 0);
  sm_pool_free(pool);
}

/* ---- making and freeing -------------------------------------------------------------------------------- */

sm_listing *sm_listing_new(const char *path, sm_error *err) {
  sm_listing *l = sm_calloc(1, sizeof *l);
  if (l && (l->root = sm_strdup(path))) {
    for (size_t n = strlen(l->root); n > 1 && l->root[n - 1] == '/';) l->root[--n] = 0;
    pthread_mutex_init(&l->lock, NULL);
    return l;
  }
  sm_free(l);
  sm_fail(err, SM_ENOMEM, "out of memory while listing %s", path);
  return NULL;
}

void sm_listing_free(sm_listing *l) {
  if (!l) return;
  for (size_t i = 0; i < l->kept_room; i++) sm_free(l->kept[i].name);
  for (int c = 0; c < l->n_classes; c++) sm_free(l->class_names[c]);
  sm_free(l->kept);
  sm_free(l->class_names);
  sm_free(l->runs);
  sm_free(l->nodes);
  sm_free(l->blocks);
  sm_free(l->own_heads);
  sm_free(l->own_shards);
  sm_text_free(&l->own_names);
  sm_text_free(&l->own_entries);
  sm_text_free(&l->tell_others);
  sm_text_free(&l->tell_skipped);
  sm_text_free(&l->odd_label);
  if (l->map && l->map_path) sm_mapped_free(l->map, l->map_bytes);
  else sm_free((void *)(uintptr_t)l->map);
  sm_free(l->map_path);
  sm_free(l->root);
  pthread_mutex_destroy(&l->lock);
  sm_free(l);
}

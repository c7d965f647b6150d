/* listing_file.c — index files, and the same bytes in memory: a listing's image written as it is, and mapped again
 * after everything in it was doubted. What it says is then held against the folders as they are, one look at each. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <smalti/image.h>

#include "framework/base/io.h"
#include "framework/base/mapped.h"
#include "framework/base/signature.h"
#include "listing.h"
#include "listing_format.h"

/* ---- writing ------------------------------------------------------------------------------------------- */

enum { PARTS = 5 };
typedef struct listing_parts { /* what the file is made of */
  listing_header h;
  struct {
    const void *data;
    size_t bytes;
  } part[PARTS];
} listing_parts;

static void listing_cut(const sm_listing *l, listing_parts *p) {
  p->h = (listing_header){.version = l->numbered ? 2 : 1, /* the oldest that can say it */
                          .pictures = (uint64_t)l->pictures,
                          .folders = l->folders,
                          .shards = l->shards,
                          .entries_bytes = l->entries_bytes,
                          .webp = sm_image_reads_webp(),
                          .single = l->single};
  p->part[0].data = &p->h, p->part[0].bytes = sizeof p->h;
  p->part[1].data = l->heads, p->part[1].bytes = l->folders * sizeof *l->heads;
  p->part[2].data = l->shard_heads, p->part[2].bytes = l->shards * sizeof *l->shard_heads;
  p->part[3].data = l->entries, p->part[3].bytes = l->entries_bytes;
  p->part[4].data = l->shard_names, p->part[4].bytes = l->names_bytes;
  for (int i = 0; i < PARTS; i++) p->h.file_bytes += p->part[i].bytes;
  memcpy(p->h.magic, LISTING_MAGIC, sizeof p->h.magic);
  uint32_t crc = 0;
  for (int i = 0; i < PARTS; i++) crc = sm_crc32c(crc, p->part[i].data, p->part[i].bytes);
  p->h.crc = crc;
}

sm_status sm_listing_save(const sm_listing *l, const char *file, sm_error *err) {
  listing_parts p;
  listing_cut(l, &p);
  sm_file *out = sm_file_create(file, err);
  if (!out) return err ? err->code : SM_EIO;
  for (int i = 0; i < PARTS; i++) sm_file_write(out, p.part[i].data, p.part[i].bytes);
  return sm_file_commit(out, err); /* tells a write that failed */
}

sm_status sm_listing_write(const sm_listing *l, sm_text *to, sm_error *err) {
  listing_parts p;
  listing_cut(l, &p);
  for (int i = 0; i < PARTS; i++)
    if (p.part[i].bytes) sm_text_bytes(to, p.part[i].data, p.part[i].bytes);
  return to->failed ? sm_fail(err, SM_ENOMEM, "no memory for the list of the pictures in %s", l->root) : SM_OK;
}

/* ---- comparing with what is there ---------------------------------------------------------------------- */

/* What is looked at: every folder, or the folder of the shards and then every shard. */
static int64_t listing_looks(const sm_listing *l) { return l->shards ? 1 + (int64_t)l->shards : l->folders; }

static void listing_look_path(const sm_listing *l, int64_t item, sm_text *path) {
  if (l->shards && item > 0) sm_listing_shard_path(l, (uint32_t)(item - 1), path);
  else sm_listing_folder_path(l, (uint32_t)item, path);
}

static bool listing_as_it_was(const sm_listing *l, int64_t item, const struct stat *st) {
  const int64_t changed = sm_listing_changed(st);
  if (!l->shards || item == 0) return S_ISDIR(st->st_mode) && changed == l->heads[item].changed;
  const sm_listing_shard *s = &l->shard_heads[item - 1];
  return S_ISREG(st->st_mode) && changed == s->changed && (uint64_t)st->st_size == s->bytes;
}

typedef struct looking {
  const sm_listing *l;
  _Atomic int64_t first; /* the first that is not as it was */
} looking;

/* 0, or the error number; ESTALE: it has changed. */
static int listing_look(const sm_listing *l, int64_t item) {
  struct stat st;
  sm_text path = {0};
  if (l->single && item == 0) return 0; /* there is no folder */
  listing_look_path(l, item, &path);
  int code = path.failed ? ENOMEM : stat(path.s, &st) == 0 ? 0 : errno;
  if (!code && !listing_as_it_was(l, item, &st)) code = ESTALE;
  sm_text_free(&path);
  return code;
}

static void listing_look_at(void *ctx, int64_t item, int worker) {
  looking *looks = ctx;
  int64_t first = atomic_load(&looks->first);
  (void)worker;
  if (item > first || !listing_look(looks->l, item)) return;
  while (item < first && !atomic_compare_exchange_weak(&looks->first, &first, item)) continue;
}

static sm_status listing_outdated(const sm_listing *l, int64_t item, sm_error *err) {
  const int code = listing_look(l, item);
  const char *kind = l->shards && item > 0 ? "shard" : "folder";
  sm_text path = {0};
  listing_look_path(l, item, &path);
  const char *name = path.s ? path.s : "";
  sm_status status = SM_EFORMAT;
  if (code == ENOENT || code == ENOTDIR)
    sm_fail(err, status, "the index is out of date: the %s %s is gone", kind, name);
  else if (code && code != ESTALE) status = sm_fail_errno(err, code, "examine", name);
  else sm_fail(err, status, "the index is out of date: the %s %s has changed", kind, name);
  if (status == SM_EFORMAT)
    sm_hint(err, "make it anew: smalti data index %s; or remove it, and the %ss are %s again", l->root, kind,
            l->shards ? "read" : "listed");
  sm_text_free(&path);
  return status;
}

sm_status sm_listing_check(const sm_listing *l, sm_error *err) {
  looking looks = {.l = l, .first = INT64_MAX};
  sm_listing_each(listing_looks(l), listing_look_at, &looks);
  const int64_t first = atomic_load(&looks.first);
  return first == INT64_MAX ? SM_OK : listing_outdated(l, first, err);
}

/* ---- opening ------------------------------------------------------------------------------------------- */

static sm_status listing_damaged(const sm_listing *l, const char *what, sm_error *err) {
  sm_fail(err, SM_EFORMAT, "the index is damaged: %s", what);
  return sm_hint(err, "make it anew: smalti data index %s", l->root);
}

static sm_status listing_map(sm_listing *l, sm_error *err) {
  struct stat st;
  const int fd = open(l->map_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return sm_fail_errno(err, errno, "open", l->map_path);
  sm_status status = SM_OK;
  if (fstat(fd, &st)) status = sm_fail_errno(err, errno, "examine", l->map_path);
  else if (!S_ISREG(st.st_mode)) status = sm_fail(err, SM_EINVAL, "this is not a regular file");
  else if (st.st_size == 0) status = listing_damaged(l, "it is empty", err);
  else if ((l->map = sm_mapped_new(fd, (size_t)st.st_size, l->map_path, err))) l->map_bytes = (size_t)st.st_size;
  else status = SM_EIO;
  close(fd);
  return status;
}

static sm_status listing_check_header(const sm_listing *l, listing_header *h, sm_error *err) {
  if (l->map_bytes < sizeof *h || memcmp(l->map, LISTING_MAGIC, sizeof h->magic) != 0) {
    sm_fail(err, SM_EFORMAT, "not an index of pictures: it is %s", sm_signature(l->map, l->map_bytes));
    return sm_hint(err, "remove it, or make one: smalti data index %s", l->root);
  }
  memcpy(h, l->map, sizeof *h);
  if (h->version < 1 || h->version > SM_LISTING_VERSION) {
    sm_fail(err, SM_EUNSUPPORTED, "this index has version %" PRIu32 " of the format; smalti %s reads 1 to %d",
            h->version, sm_version(), SM_LISTING_VERSION);
    return sm_hint(err, "make it anew: smalti data index %s", l->root);
  }
  if (l->map_bytes < h->file_bytes) return listing_damaged(l, "it is cut short", err);
  if (l->map_bytes > h->file_bytes) return listing_damaged(l, "there are bytes behind its end", err);
  const uint64_t room = l->map_bytes - sizeof *h,
                 tables = h->folders * (uint64_t)sizeof *l->heads + h->shards * (uint64_t)sizeof *l->shard_heads;
  if (h->folders < 1 || tables > room || h->entries_bytes > room - tables || h->webp > 1 || h->single > 1 ||
      (h->single && h->shards != 1) || (h->version > 1 && !h->shards))
    return listing_damaged(l, "its header contradicts itself", err);
  listing_header bare = *h;
  bare.crc = 0;
  const uint32_t crc =
      sm_crc32c(sm_crc32c(0, &bare, sizeof bare), (const char *)l->map + sizeof bare, l->map_bytes - sizeof bare);
  if (crc != h->crc) return listing_damaged(l, "its checksum does not fit", err);
  if (h->webp == sm_image_reads_webp()) return SM_OK;
  sm_fail(err, SM_EUNSUPPORTED, "this index was made by a smalti that %s WebP, and this one %s",
          h->webp ? "reads" : "does not read", h->webp ? "does not" : "does");
  return sm_hint(err, "make it anew: smalti data index %s", l->root);
}

/* Every shard has a name, and none leads out of their folder. */
static const char *listing_check_shards(const sm_listing *l) {
  if (l->names_bytes && (!l->shards || l->shard_names[l->names_bytes - 1])) return "its last name has no end";
  for (uint32_t s = 0; s < l->shards; s++) {
    const uint64_t at = l->shard_heads[s].name;
    if (at >= l->names_bytes) return "a shard has no name";
    if (strchr(l->shard_names + at, '/') || strchr(".", l->shard_names[at])) return "the name of a shard is none";
  }
  return NULL;
}

/* What is mapped. */
static sm_status listing_read(sm_listing *l, sm_error *err) {
  listing_header h;
  const char *what = NULL;
  sm_status status = listing_check_header(l, &h, err);
  if (status) return status;
  l->folders = h.folders;
  l->shards = h.shards;
  l->single = h.single;
  l->numbered = h.version > 1;
  l->heads = (const sm_listing_folder_head *)(const void *)((const char *)l->map + sizeof h);
  l->shard_heads = (const sm_listing_shard *)(const void *)(l->heads + h.folders);
  l->entries = (const unsigned char *)(l->shard_heads + h.shards);
  l->entries_bytes = (size_t)h.entries_bytes;
  l->shard_names = (const char *)l->entries + l->entries_bytes;
  l->names_bytes = l->map_bytes - (size_t)(l->shard_names - (const char *)l->map);
  if ((what = listing_check_shards(l))) return listing_damaged(l, what, err);
  status = sm_listing_read_image(l, &what, err);
  if (!status && (l->pictures < 1 || (uint64_t)l->pictures != h.pictures)) {
    what = "it does not have the pictures that it says";
    status = SM_EFORMAT;
  }
  return status == SM_EFORMAT ? listing_damaged(l, what, err) : status;
}

static sm_status listing_read_file(sm_listing *l, sm_error *err) {
  sm_status status = listing_map(l, err);
  if (!status) status = listing_read(l, err);
  return status ? status : sm_mapped_check(l->map, err);
}

static sm_listing *listing_open(const char *path, const char *file, bool check, sm_error *err) {
  sm_error why = {0};
  sm_listing *l = sm_listing_new(path, err);
  if (!l) return NULL;
  sm_status status = (l->map_path = sm_strdup(file)) ? listing_read_file(l, &why)
                                                     : sm_fail(&why, SM_ENOMEM, "no memory to open an index");
  if (!status && check) status = sm_listing_check(l, &why);
  if (!status) return l;
  sm_fail_at(&why, file, 0, 0);
  if (err) *err = why;
  sm_listing_free(l);
  return NULL;
}

sm_listing *sm_listing_open(const char *path, const char *file, sm_error *err) {
  return listing_open(path, file, true, err);
}

sm_listing *sm_listing_load(const char *path, const char *file, sm_error *err) {
  return listing_open(path, file, false, err);
}

sm_listing *sm_listing_read(const char *path, const void *bytes, size_t n, sm_error *err) {
  sm_listing *l = sm_listing_new(path, err);
  if (!l) return NULL;
  void *own = sm_malloc(n + 1);
  sm_status status = own ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for the list of the pictures in %s", path);
  if (own) memcpy(own, bytes, n);
  l->map = own;
  l->map_bytes = n;
  if (!status) status = listing_read(l, err);
  if (!status) status = sm_listing_check(l, err);
  if (!status) return l;
  sm_listing_free(l);
  return NULL;
}

/* A path that ends in no name of its own, such as ".", is looked up. */
char *sm_listing_file(sm_arena *arena, const char *path) {
  size_t n = strlen(path);
  while (n > 1 && path[n - 1] == '/') n--;
  char *bare = sm_arena_strndup(arena, path, n), whole[PATH_MAX];
  const char *base = bare ? sm_path_base(bare) : NULL;
  if (base && (!*base || !strcmp(base, ".") || !strcmp(base, "..")) && realpath(bare, whole))
    return sm_arena_printf(arena, "%s%s", whole, SM_LISTING_SUFFIX);
  return bare ? sm_arena_printf(arena, "%s%s", bare, SM_LISTING_SUFFIX) : NULL;
}

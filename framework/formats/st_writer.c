/* st_writer.c — writes a safetensors file with checksums, whole or not at all.
 *
 * The header lies in front of the data but holds its checksums, so it is laid out with zeros for digits, the
 * data is written behind it, and the finished header last. Data goes to the file by position (pwrite), which
 * lets tensors come in any order; sm_file owns the temporary name, the rename and the syncs. The writer owns
 * the rest through its arena. */
#include <config.h>

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "st.h"

typedef struct entry {
  const char *name, *dtype;
  int ndim;
  int64_t shape[SM_ST_MAX_DIMS];
  uint64_t bytes, offset, written;
  uint32_t crc;
} entry;

typedef struct pair {
  const char *key, *value;
  entry *tensor;   /* whose checksum this is, or NULL */
  size_t value_at; /* in the header's text */
} pair;

struct sm_st_writer {
  sm_file *file;
  sm_arena *arena;
  char *path;
  sm_st_order order;
  entry *entries;  /* in order of data once laid out */
  entry **by_name; /* sorted; made by the layout */
  size_t count, room, last;
  pair *pairs;
  size_t npairs, pairs_room;
  sm_text header; /* empty until laid out */
  uint64_t data_at;
  sm_error first; /* the first error, with code SM_OK while there is none */
};

static bool st_writer_grow(sm_st_writer *w, void **array, size_t *room, size_t count, size_t each) {
  if (count < *room) return true;
  size_t wanted = *room ? *room * 2 : 64;
  void *larger = sm_realloc(*array, wanted * each);
  if (!larger) {
    sm_fail(&w->first, SM_ENOMEM, "no memory for the header");
    return false;
  }
  *array = larger;
  *room = wanted;
  return true;
}

sm_st_writer *sm_st_create(const char *path, sm_st_order order, sm_error *err) {
  sm_st_writer *w = sm_calloc(1, sizeof *w);
  if (!w || !(w->arena = sm_arena_new("safetensors writer")) ||
      !(w->path = sm_arena_strdup(w->arena, path))) {
    sm_fail(err, SM_ENOMEM, "no memory to write '%.400s'", path);
  } else if ((w->file = sm_file_create(path, err))) {
    w->order = order;
    return w;
  }
  sm_st_abort(w);
  return NULL;
}

void sm_st_abort(sm_st_writer *w) {
  if (!w) return;
  sm_file_abort(w->file);
  sm_arena_free(w->arena);
  sm_text_free(&w->header);
  sm_free(w->entries);
  sm_free(w->by_name);
  sm_free(w->pairs);
  sm_free(w);
}

/* ---- declaring ---- */

static bool st_writer_may_declare(sm_st_writer *w, const char *what, const char *name) {
  if (!w || w->first.code) return false;
  if (!w->header.len) return true;
  sm_fail(&w->first, SM_EINTERNAL, "%s '%.200s' comes after the first data", what, name);
  return false;
}

static bool st_writer_add_pair(sm_st_writer *w, const char *key, const char *value, entry *tensor) {
  if (!st_writer_grow(w, (void **)&w->pairs, &w->pairs_room, w->npairs, sizeof *w->pairs)) return false;
  pair p = {
      .key = sm_arena_strdup(w->arena, key), .value = sm_arena_strdup(w->arena, value), .tensor = tensor};
  if (!p.key || !p.value) return sm_fail(&w->first, SM_ENOMEM, "no memory for the header"), false;
  w->pairs[w->npairs++] = p;
  return true;
}

sm_status sm_st_metadata(sm_st_writer *w, const char *key, const char *value) {
  if (!st_writer_may_declare(w, "metadata", key)) return w ? w->first.code : SM_EINVAL;
  if (!strcmp(key, ST_KEY_FORMAT) || !strncmp(key, ST_KEY_CRC, strlen(ST_KEY_CRC)))
    return sm_fail(&w->first, SM_EINVAL, "the metadata key '%.200s' is kept for the writer", key);
  if (!value) return sm_fail(&w->first, SM_ENOMEM, "no memory for the header");
  st_writer_add_pair(w, key, value, NULL);
  return w->first.code;
}

sm_status sm_st_declare(sm_st_writer *w, const char *name, const char *dtype, int ndim,
                        const int64_t *shape) {
  if (!st_writer_may_declare(w, "tensor", name)) return w ? w->first.code : SM_EINVAL;
  entry e = {.dtype = sm_st_dtype_name(dtype), .ndim = ndim};
  uint64_t elements;
  if (!*name || !strcmp(name, "__metadata__"))
    return sm_fail(&w->first, SM_EINVAL, "a tensor cannot be named '%s'", name);
  if (!e.dtype)
    return sm_fail(&w->first, SM_EINVAL, "tensor '%.200s': unknown element type '%.40s'", name, dtype);
  if (ndim < 0 || ndim > SM_ST_MAX_DIMS)
    return sm_fail(&w->first, SM_EINVAL, "tensor '%.200s' has %d dimensions, not 0 to %d", name, ndim,
                   SM_ST_MAX_DIMS);
  if (!sm_st_size(dtype, ndim, shape, &elements, &e.bytes))
    return sm_fail(&w->first, SM_EINVAL, "tensor '%.200s': the shape's size overflows", name);
  for (int i = 0; i < ndim; i++) e.shape[i] = shape[i];
  if (!st_writer_grow(w, (void **)&w->entries, &w->room, w->count, sizeof *w->entries)) return w->first.code;
  if (!(e.name = sm_arena_strdup(w->arena, name)))
    return sm_fail(&w->first, SM_ENOMEM, "no memory for the header");
  w->entries[w->count++] = e;
  return SM_OK;
}

/* ---- the header ---- */

static int st_writer_compare_entries(const void *a, const void *b) {
  const entry *x = a, *y = b;
  size_t wide_x = sm_st_dtype_size(x->dtype), wide_y = sm_st_dtype_size(y->dtype);
  if (wide_x != wide_y) return wide_x < wide_y ? 1 : -1;
  return strcmp(x->name, y->name);
}
static int st_writer_compare_names(const void *a, const void *b) {
  return strcmp((*(entry *const *)a)->name, (*(entry *const *)b)->name);
}
static int st_writer_compare_pairs(const void *a, const void *b) {
  return strcmp(((const pair *)a)->key, ((const pair *)b)->key);
}

static void st_writer_add_text(sm_text *t, const char *s) {
  sm_text_add(t, "\"");
  for (; *s; s++) {
    if (*s == '"' || *s == '\\') sm_text_add(t, "\\%c", *s);
    else if ((unsigned char)*s < 0x20) sm_text_add(t, "\\u%04x", (unsigned)*s);
    else sm_text_bytes(t, s, 1);
  }
  sm_text_add(t, "\"");
}

static bool st_writer_place_data(sm_st_writer *w) {
  uint64_t at = 0;
  if (w->order == SM_ST_SORTED && w->count)
    qsort(w->entries, w->count, sizeof *w->entries, st_writer_compare_entries);
  if (!(w->by_name = sm_malloc((w->count + 1) * sizeof *w->by_name)))
    return sm_fail(&w->first, SM_ENOMEM, "no memory for the header"), false;
  for (size_t i = 0; i < w->count; i++) {
    w->by_name[i] = &w->entries[i];
    w->entries[i].offset = at;
    if (__builtin_add_overflow(at, w->entries[i].bytes, &at) || at > INT64_MAX / 2)
      return sm_fail(&w->first, SM_EINVAL, "tensor '%.200s': the file's size overflows", w->entries[i].name),
             false;
  }
  if (w->count) qsort(w->by_name, w->count, sizeof *w->by_name, st_writer_compare_names);
  for (size_t i = 1; i < w->count; i++)
    if (!strcmp(w->by_name[i - 1]->name, w->by_name[i]->name))
      return sm_fail(&w->first, SM_EINVAL, "tensor '%.200s' is declared twice", w->by_name[i]->name), false;
  return true;
}

static bool st_writer_add_own_pairs(sm_st_writer *w) {
  if (!st_writer_add_pair(w, ST_KEY_FORMAT, "1", NULL) ||
      !st_writer_add_pair(w, ST_KEY_HEADER, ST_ZEROS, NULL))
    return false;
  for (size_t i = 0; i < w->count; i++) {
    char *key = sm_arena_printf(w->arena, ST_KEY_TENSOR "%s", w->entries[i].name);
    if (!key) return sm_fail(&w->first, SM_ENOMEM, "no memory for the header"), false;
    if (!st_writer_add_pair(w, key, ST_ZEROS, &w->entries[i])) return false;
  }
  qsort(w->pairs, w->npairs, sizeof *w->pairs, st_writer_compare_pairs);
  for (size_t i = 1; i < w->npairs; i++)
    if (!strcmp(w->pairs[i - 1].key, w->pairs[i].key))
      return sm_fail(&w->first, SM_EINVAL, "the metadata key '%.200s' is given twice", w->pairs[i].key),
             false;
  return true;
}

static bool st_writer_lay_out(sm_st_writer *w) {
  sm_text *t = &w->header;
  if (!st_writer_place_data(w) || !st_writer_add_own_pairs(w)) return false;
  sm_text_add(t, "{\"__metadata__\":{");
  for (size_t i = 0; i < w->npairs; i++) {
    if (i) sm_text_add(t, ",");
    st_writer_add_text(t, w->pairs[i].key);
    sm_text_add(t, ":");
    w->pairs[i].value_at = t->len + 1;
    st_writer_add_text(t, w->pairs[i].value);
  }
  sm_text_add(t, "}");
  for (size_t i = 0; i < w->count; i++) {
    const entry *e = &w->entries[i];
    sm_text_add(t, ",");
    st_writer_add_text(t, e->name);
    sm_text_add(t, ":{\"dtype\":\"%s\",\"shape\":[", e->dtype);
    for (int d = 0; d < e->ndim; d++) sm_text_add(t, "%s%" PRId64, d ? "," : "", e->shape[d]);
    sm_text_add(t, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", e->offset, e->offset + e->bytes);
  }
  sm_text_add(t, "}");
  while (!t->failed && (8 + t->len) % ST_DATA_BORDER) sm_text_add(t, " ");
  if (t->failed) return sm_fail(&w->first, SM_ENOMEM, "no memory for the header"), false;
  if (t->len > SM_ST_MAX_HEADER)
    return sm_fail(&w->first, SM_EINVAL, "the header takes %zu bytes, more than %d", t->len,
                   SM_ST_MAX_HEADER),
           false;
  w->data_at = 8 + t->len;
  return true;
}

static bool st_writer_laid_out(sm_st_writer *w) {
  if (w->first.code) return false;
  return w->header.len || st_writer_lay_out(w);
}

/* ---- the data ---- */

static bool st_writer_write_at(sm_st_writer *w, const void *data, size_t bytes, uint64_t at) {
  return !sm_write_at(sm_file_fd(w->file), data, bytes, at, &w->first);
}

static entry *st_writer_find(sm_st_writer *w, const char *name) {
  entry key = {.name = name}, *p = &key, **found;
  for (size_t i = w->last; i < w->count && i <= w->last + 1; i++) /* most callers keep the order */
    if (!strcmp(w->entries[i].name, name)) return w->last = i, &w->entries[i];
  found = w->count ? bsearch(&p, w->by_name, w->count, sizeof *w->by_name, st_writer_compare_names) : NULL;
  if (!found) return NULL;
  w->last = (size_t)(*found - w->entries);
  return *found;
}

sm_status sm_st_write(sm_st_writer *w, const char *name, const void *data, size_t bytes) {
  if (!w) return SM_EINVAL;
  if (!st_writer_laid_out(w)) return w->first.code;
  entry *e = st_writer_find(w, name);
  if (!e) return sm_fail(&w->first, SM_EINTERNAL, "tensor '%.200s' was not declared", name);
  if (bytes > e->bytes - e->written)
    return sm_fail(&w->first, SM_EINTERNAL, "tensor '%.200s' holds %" PRIu64 " bytes; %" PRIu64 " were given",
                   name, e->bytes, e->written + bytes);
  if (!st_writer_write_at(w, data, bytes, w->data_at + e->offset + e->written)) return w->first.code;
  e->crc = sm_crc32c(e->crc, data, bytes);
  e->written += bytes;
  return SM_OK;
}

/* ---- the end ---- */

static void st_writer_put_digits(sm_st_writer *w, size_t at, uint32_t crc) {
  char digits[ST_DIGITS + 1];
  snprintf(digits, sizeof digits, "%08" PRIx32, crc);
  memcpy(w->header.s + at, digits, ST_DIGITS);
}

static bool st_writer_write_header(sm_st_writer *w) {
  unsigned char length[8];
  size_t own_at = 0;
  for (size_t i = 0; i < w->count; i++)
    if (w->entries[i].written != w->entries[i].bytes)
      return sm_fail(&w->first, SM_EINTERNAL, "tensor '%.200s' got %" PRIu64 " of its %" PRIu64 " bytes",
                     w->entries[i].name, w->entries[i].written, w->entries[i].bytes),
             false;
  for (size_t i = 0; i < w->npairs; i++) {
    if (w->pairs[i].tensor) st_writer_put_digits(w, w->pairs[i].value_at, w->pairs[i].tensor->crc);
    if (!strcmp(w->pairs[i].key, ST_KEY_HEADER)) own_at = w->pairs[i].value_at;
  }
  for (int i = 0; i < 8; i++) length[i] = (unsigned char)((uint64_t)w->header.len >> (8 * i));
  st_writer_put_digits(w, own_at, sm_crc32c(sm_crc32c(0, length, 8), w->header.s, w->header.len));
  return st_writer_write_at(w, length, 8, 0) && st_writer_write_at(w, w->header.s, w->header.len, 8);
}

/* Reads the synced temporary file back, from the disk where the system lets go of its cached pages. */
static sm_status st_writer_check(sm_st_writer *w, sm_error *err) {
  posix_fadvise(sm_file_fd(w->file), 0, 0, POSIX_FADV_DONTNEED);
  sm_st_reader *r = sm_st_open(sm_file_temporary(w->file), err);
  if (!r) return err ? err->code : SM_EIO;
  sm_status status = sm_st_count(r) == w->count && sm_st_has_checksums(r)
                         ? sm_st_verify(r, err)
                         : sm_fail(err, SM_EIO, "not what was written");
  sm_st_close(r);
  return status;
}

sm_status sm_st_finish(sm_st_writer *w, sm_error *err) {
  sm_error own;
  sm_status status = SM_EINVAL;
  if (!w) return err && err->code ? err->code : SM_EINVAL;
  if (!err) err = &own;
  if (!st_writer_laid_out(w) || !st_writer_write_header(w)) {
    *err = w->first;
    status = sm_fail_at(err, w->path, 0, 0);
  } else if (!(status = sm_file_sync(w->file, err)) && (status = st_writer_check(w, err))) {
    sm_error why = *err;
    status = sm_fail(err, SM_EIO, "reading back what was written failed: %.800s", why.message);
    sm_fail_at(err, w->path, 0, 0);
    sm_hint(err, "check the disk; the older file, if any, was kept");
  }
  if (!status) {
    sm_file *file = w->file;
    w->file = NULL;
    status = sm_file_commit(file, err);
  }
  sm_st_abort(w);
  return status;
}

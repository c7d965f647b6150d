/* st_reader.c — opens safetensors files: maps them, checks that the tensors tile the data, looks up,
 * verifies. Files of PyTorch are opened as if they were such (pth.h).
 *
 * The header's own rules are in st_parse.c. The mapping is read-only and private; nothing is copied but
 * names. A reader may stand before another one, whose tensors it shows under other names (sm_st_rename). */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "framework/base/mapped.h"
#include "framework/base/signature.h"
#include "pth.h"
#include "st.h"

struct sm_st_reader {
  char *path;
  sm_arena *arena;
  st_header header;           /* tensors sorted by place, pairs by key */
  const sm_st_tensor **names; /* sorted by name */
  const unsigned char *map;
  uint64_t map_bytes, data_at;
  bool checksums, torch;
  pth_sum *sums; /* of the members of a PyTorch file; in the arena */
  size_t n_sums;
  sm_st_reader *base; /* behind this one; owned */
};

static int st_reader_compare_places(const void *a, const void *b) {
  const sm_st_tensor *x = a, *y = b;
  if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
  if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1; /* empty ones first: they take no room */
  return strcmp(x->name, y->name);
}
static int st_reader_compare_names(const void *a, const void *b) {
  return strcmp((*(const sm_st_tensor *const *)a)->name, (*(const sm_st_tensor *const *)b)->name);
}
static int st_reader_compare_pairs(const void *a, const void *b) {
  return strcmp(((const st_pair *)a)->key, ((const st_pair *)b)->key);
}

/* ---- opening ---- */

/* What it is instead, and how it becomes what was wanted. */
static sm_status st_reader_refuse_kind(const void *data, size_t bytes, sm_error *err) {
  sm_fail(err, SM_EFORMAT, "not a safetensors file: it is %s", sm_signature(data, bytes));
  if (sm_signature_lfs(data, bytes))
    return sm_hint(err, "fetch the file it stands for: 'git lfs pull', or download it from its page again");
  return sm_hint(err, "give a file in the safetensors format; where this one was downloaded, do it again");
}

static sm_status st_reader_map_file(sm_st_reader *r, sm_error *err) {
  struct stat st;
  sm_status status = SM_OK;
  int fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not make us wait */
  if (fd < 0)
    return sm_fail(err, errno == ENOENT ? SM_ENOTFOUND : SM_EIO, "cannot open the file: %s", strerror(errno));
  if (fstat(fd, &st)) {
    status = sm_fail(err, SM_EIO, "cannot examine the file: %s", strerror(errno));
  } else if (!S_ISREG(st.st_mode)) {
    status = sm_fail(err, SM_EINVAL, "not a regular file");
  } else if (st.st_size < 9) {
    char begun[9];
    ssize_t n = pread(fd, begun, sizeof begun, 0);
    status = st_reader_refuse_kind(begun, n > 0 ? (size_t)n : 0, err);
  } else {
    r->map = sm_mapped_new(fd, (size_t)st.st_size, r->path, err);
    if (r->map) r->map_bytes = (uint64_t)st.st_size;
    else status = SM_EIO;
  }
  close(fd);
  return status;
}

static sm_status st_reader_check_names(sm_st_reader *r, sm_error *err) {
  st_header *h = &r->header;
  if (!(r->names = sm_malloc((h->count + 1) * sizeof *r->names)))
    return sm_fail(err, SM_ENOMEM, "no memory for %zu tensors", h->count);
  for (size_t i = 0; i < h->count; i++) r->names[i] = &h->tensors[i];
  if (h->count) qsort(r->names, h->count, sizeof *r->names, st_reader_compare_names);
  for (size_t i = 1; i < h->count; i++)
    if (!strcmp(r->names[i - 1]->name, r->names[i]->name))
      return sm_fail(err, SM_EFORMAT, "tensor '%.200s' is in the header twice", r->names[i]->name);
  if (h->npairs) qsort(h->pairs, h->npairs, sizeof *h->pairs, st_reader_compare_pairs);
  for (size_t i = 1; i < h->npairs; i++)
    if (!strcmp(h->pairs[i - 1].key, h->pairs[i].key))
      return sm_fail(err, SM_EFORMAT, "the metadata key '%.200s' is in the header twice", h->pairs[i].key);
  return SM_OK;
}

/* The tensors, in order of place, must follow each other without gaps and end where the file ends. */
static sm_status st_reader_check_places(sm_st_reader *r, sm_error *err) {
  uint64_t size = r->map_bytes - r->data_at, at = 0;
  for (size_t i = 0; i < r->header.count; i++) {
    sm_st_tensor *t = &r->header.tensors[i];
    if (t->offset > size || t->bytes > size - t->offset)
      return sm_fail(err, SM_EFORMAT,
                     "tensor '%.200s' ends at byte %" PRIu64 " of the data, the file has %" PRIu64, t->name,
                     t->offset + t->bytes, size),
             sm_hint(err, "the file was probably cut short: copy it again");
    if (t->offset < at)
      return sm_fail(err, SM_EFORMAT, "tensor '%.200s' overlaps the one before it ('%.200s')", t->name,
                     t[-1].name);
    if (t->offset > at)
      return sm_fail(err, SM_EFORMAT, "a hole of %" PRIu64 " bytes before tensor '%.200s'", t->offset - at,
                     t->name);
    t->data = r->map + r->data_at + at;
    at += t->bytes;
  }
  if (at != size)
    return sm_fail(err, SM_EFORMAT, "%" PRIu64 " bytes are left over after the last tensor", size - at);
  return SM_OK;
}

static const st_pair *st_reader_find_pair(const sm_st_reader *r, const char *key) {
  st_pair wanted = {.key = key};
  return r->header.npairs ? bsearch(&wanted, r->header.pairs, r->header.npairs, sizeof *r->header.pairs,
                                    st_reader_compare_pairs)
                          : NULL;
}

/* A checksum is there, well-formed (lower case only: the digits are compared as they stand) and equal. */
static bool st_reader_equal_digits(const char *digits, uint32_t crc) {
  char own[ST_DIGITS + 1];
  snprintf(own, sizeof own, "%08" PRIx32, crc);
  return !strcmp(digits, own);
}

/* One sign of smalti's checksums is enough to ask for all of them, so that no single changed byte can switch
 * them off. */
static sm_status st_reader_check_header(sm_st_reader *r, sm_error *err) {
  const st_header *h = &r->header;
  const char *text = (const char *)r->map + 8;
  const st_pair *own = st_reader_find_pair(r, ST_KEY_HEADER);
  size_t length = (size_t)r->data_at - 8, sums = 0;
  for (size_t i = 0; i < h->npairs; i++) {
    bool sum = !strncmp(h->pairs[i].key, ST_KEY_CRC, strlen(ST_KEY_CRC));
    r->checksums |= sum || !strcmp(h->pairs[i].key, ST_KEY_FORMAT);
    sums += sum;
  }
  if (!r->checksums) return SM_OK;
  if (!own || strlen(own->value) != ST_DIGITS || sums != h->count + 1)
    return sm_fail(err, SM_EFORMAT, "the header's checksums are not complete");
  uint32_t crc = sm_crc32c(0, r->map, 8 + own->value_at);
  crc = sm_crc32c(crc, ST_ZEROS, ST_DIGITS);
  size_t rest = own->value_at + ST_DIGITS;
  crc = sm_crc32c(crc, text + rest, length - rest);
  if (st_reader_equal_digits(own->value, crc)) return SM_OK;
  sm_fail(err, SM_EFORMAT, "the header is damaged: its checksum is %08" PRIx32 ", %s is stored", crc,
          own->value);
  return sm_hint(
      err, "if another program rewrote the file, let it drop the metadata keys that begin with 'smalti.'");
}

static sm_status st_reader_open_torch(sm_st_reader *r, sm_error *err) {
  r->torch = true;
  sm_status status = sm_pth_read(r->map, r->map_bytes, r->arena, &r->header, &r->sums, &r->n_sums, err);
  return status ? status : st_reader_check_names(r, err);
}

static sm_status st_reader_open_header(sm_st_reader *r, sm_error *err) {
  uint64_t length = 0;
  sm_status status;
  if (sm_pth_begins(r->map, r->map_bytes) && !strstr(sm_signature(r->map, (size_t)r->map_bytes), "NumPy"))
    return st_reader_open_torch(r, err);
  for (int i = 7; i >= 0; i--) length = length << 8 | r->map[i];
  if (r->map[8] != '{' && (length > r->map_bytes - 8 || sm_signature_known(r->map, (size_t)r->map_bytes)))
    return st_reader_refuse_kind(r->map, (size_t)r->map_bytes, err);
  if (length > SM_ST_MAX_HEADER)
    return sm_fail(err, SM_EFORMAT, "not a safetensors file: a header of %" PRIu64 " bytes (at most %d)",
                   length, SM_ST_MAX_HEADER);
  if (length > r->map_bytes - 8)
    return sm_fail(err, SM_EFORMAT, "the header of %" PRIu64 " bytes goes past the file's end", length);
  r->data_at = 8 + length;
  if ((status = sm_st_parse_header((const char *)r->map + 8, (size_t)length, r->arena, &r->header, err)))
    return status;
  if (r->header.count)
    qsort(r->header.tensors, r->header.count, sizeof *r->header.tensors, st_reader_compare_places);
  if ((status = st_reader_check_names(r, err)) || (status = st_reader_check_places(r, err))) return status;
  return st_reader_check_header(r, err);
}

/* Whatever was found before is not what the file holds if it was lost meanwhile. */
static bool st_reader_is_whole(const sm_st_reader *r, sm_error *err) {
  while (r->base) r = r->base;
  return sm_mapped_check(r->map, err) == SM_OK;
}

sm_st_reader *sm_st_open(const char *path, sm_error *err) {
  sm_st_reader *r = sm_calloc(1, sizeof *r);
  if (!r || !(r->arena = sm_arena_new("safetensors reader")) ||
      !(r->path = sm_arena_strdup(r->arena, path))) {
    sm_fail(err, SM_ENOMEM, "no memory to open the file");
  } else if (!st_reader_map_file(r, err)) {
    sm_status status = st_reader_open_header(r, err);
    if (!st_reader_is_whole(r, err)) status = SM_EIO;
    if (!status) return r;
  }
  sm_fail_at(err, path, 0, 0);
  sm_st_close(r);
  return NULL;
}

sm_st_reader *sm_st_rename(sm_st_reader *base, const sm_st_tensor *tensors, size_t count, sm_arena *arena,
                           sm_error *err) {
  sm_st_reader *r = sm_calloc(1, sizeof *r);
  sm_status status = r ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for %zu tensors", count);
  if (!status) {
    *r = (sm_st_reader){.path = base->path, .arena = arena, .torch = base->torch};
    r->header.tensors = sm_calloc(count + 1, sizeof *tensors);
    if (!r->header.tensors) status = sm_fail(err, SM_ENOMEM, "no memory for %zu tensors", count);
  }
  if (!status) {
    if (count) memcpy(r->header.tensors, tensors, count * sizeof *tensors);
    r->header.count = count;
    status = st_reader_check_names(r, err);
  }
  if (!status) return r->base = base, r;
  sm_fail_at(err, base->path, 0, 0);
  if (r) r->arena = NULL; /* still the caller's */
  sm_st_close(r);
  return NULL;
}

void sm_st_close(sm_st_reader *r) {
  if (!r) return;
  sm_st_close(r->base);
  sm_mapped_free(r->map, (size_t)r->map_bytes);
  sm_st_header_free(&r->header);
  sm_arena_free(r->arena);
  sm_free(r->names);
  sm_free(r);
}

/* ---- looking up ---- */

const char *sm_st_path(const sm_st_reader *r) { return r->path; }
size_t sm_st_count(const sm_st_reader *r) { return r->header.count; }
size_t sm_st_metadata_count(const sm_st_reader *r) {
  return r->base ? sm_st_metadata_count(r->base) : r->header.npairs;
}
bool sm_st_has_checksums(const sm_st_reader *r) { return r->base ? r->base->checksums : r->checksums; }
bool sm_st_is_torch(const sm_st_reader *r) { return r->torch; }

const sm_st_tensor *sm_st_at(const sm_st_reader *r, size_t index) {
  return index < r->header.count ? &r->header.tensors[index] : NULL;
}

const sm_st_tensor *sm_st_find(const sm_st_reader *r, const char *name) {
  sm_st_tensor key = {.name = name};
  const sm_st_tensor *wanted = &key;
  const sm_st_tensor **found =
      r->header.count ? bsearch(&wanted, r->names, r->header.count, sizeof *r->names, st_reader_compare_names)
                      : NULL;
  return found ? *found : NULL;
}

const char *sm_st_get(const sm_st_reader *r, const char *key) {
  if (r->base) return sm_st_get(r->base, key);
  const st_pair *pair = st_reader_find_pair(r, key);
  return pair ? pair->value : NULL;
}

bool sm_st_metadata_at(const sm_st_reader *r, size_t index, const char **key, const char **value) {
  if (r->base) return sm_st_metadata_at(r->base, index, key, value);
  if (index >= r->header.npairs) return false;
  *key = r->header.pairs[index].key;
  *value = r->header.pairs[index].value;
  return true;
}

const sm_st_tensor *sm_st_expect(const sm_st_reader *r, const char *name, const char *dtype, int ndim,
                                 const int64_t *shape, sm_error *err) {
  const sm_st_tensor *t = sm_st_find(r, name);
  char has[192], wants[192];
  if (!t) {
    sm_fail(err, SM_ENOTFOUND, "tensor '%.200s' is not in the file", name);
    sm_fail_at(err, r->path, 0, 0);
    return NULL;
  }
  bool type = !dtype || !strcmp(dtype, t->dtype);
  bool form =
      ndim < 0 || (ndim == t->ndim && (!ndim || !memcmp(shape, t->shape, (size_t)ndim * sizeof *shape)));
  if (type && form) return t;
  sm_fail(err, SM_EFORMAT, "tensor '%.200s' is %s in the file, but %s is needed", name,
          sm_st_describe(t->dtype, t->ndim, t->shape, has, sizeof has),
          sm_st_describe(dtype ? dtype : t->dtype, ndim < 0 ? t->ndim : ndim, ndim < 0 ? t->shape : shape,
                         wants, sizeof wants));
  sm_fail_at(err, r->path, 0, 0);
  return NULL;
}

sm_status sm_st_read(const sm_st_reader *r, const char *name, void *to, size_t bytes, sm_error *err) {
  const sm_st_tensor *t = sm_st_expect(r, name, NULL, -1, NULL, err);
  if (!t) return SM_ENOTFOUND;
  if (t->bytes != bytes) {
    sm_fail(err, SM_EINVAL, "tensor '%.200s' has %" PRIu64 " bytes, room was given for %zu", name, t->bytes,
            bytes);
    return sm_fail_at(err, r->path, 0, 0), SM_EINVAL;
  }
  if (bytes) memcpy(to, t->data, bytes);
  return st_reader_is_whole(r, err) ? SM_OK : SM_EIO;
}

/* ---- checksums ---- */

static sm_status st_reader_verify(const sm_st_reader *r, const sm_st_tensor *t, sm_text *key, sm_error *err) {
  key->len = 0;
  sm_text_add(key, ST_KEY_TENSOR "%s", t->name);
  if (key->failed) return sm_fail(err, SM_ENOMEM, "no memory to verify the file");
  const char *digits = sm_st_get(r, key->s);
  if (!digits) return sm_fail(err, SM_EFORMAT, "tensor '%.200s' has no checksum", t->name);
  uint32_t crc = sm_crc32c(0, t->data, (size_t)t->bytes);
  if (st_reader_equal_digits(digits, crc)) return SM_OK;
  return sm_fail(err, SM_EFORMAT, "tensor '%.200s' is damaged: its checksum is %08" PRIx32 ", %.8s is stored",
                 t->name, crc, digits);
}

/* The archive of a PyTorch file has a checksum for each member; 0 where torch was told to make none. */
static sm_status st_reader_verify_torch(const sm_st_reader *r, sm_error *err) {
  for (size_t i = 0; i < r->n_sums; i++) {
    const pth_sum *s = &r->sums[i];
    if (!s->crc || sm_pth_crc32(r->map + s->at, (size_t)s->bytes) == s->crc) continue;
    sm_fail(err, SM_EFORMAT, "a member of the zip archive is damaged: its checksum is not the stored one");
    sm_fail_at(err, r->path, 0, 0);
    return sm_hint(err, "copy or download the file again");
  }
  return SM_OK;
}

sm_status sm_st_verify(const sm_st_reader *r, sm_error *err) {
  if (r->base) return sm_st_verify(r->base, err);
  sm_text key = {0};
  sm_status status = st_reader_verify_torch(r, err);
  for (size_t i = 0; r->checksums && i < r->header.count && !status; i++)
    if ((status = st_reader_verify(r, &r->header.tensors[i], &key, err))) sm_fail_at(err, r->path, 0, 0);
  if (!st_reader_is_whole(r, err)) status = SM_EIO;
  sm_text_free(&key);
  return status;
}

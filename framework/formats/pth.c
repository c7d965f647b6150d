/* pth.c — files that torch.save wrote, in both forms, as named tensors.
 *
 *   since PyTorch 1.6   a zip archive: NAME/data.pkl, NAME/data/KEY for each storage, NAME/version
 *   before              pickles one after another (a magic number, 1001, what machine it was, the object, the
 *                       list of keys), then each storage: its count in 64 bits, its bytes
 *
 * A contiguous tensor's data lies in the mapped file; others are copied into the arena, in all not more than
 * four times the file. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pth.h"

typedef struct pth_file {
  const unsigned char *map;
  uint64_t bytes;
  pth_pool pool;
  pth_names names;
  pth_zip zip;
  uint64_t copied;
  sm_arena *arena;
  sm_error *err;
} pth_file;

bool sm_pth_begins(const unsigned char *map, uint64_t bytes) {
  if (bytes < 9 || map[8] == '{') return false;
  if (!memcmp(map, "PK\3\4", 4) || !memcmp(map, "PK\5\6", 4)) return true;
  return map[0] == 0x80 && map[1] >= 2 && map[1] <= 5;
}

static sm_status pth_bad(const pth_file *f, const char *what) {
  sm_fail(f->err, SM_EFORMAT, "not weights of PyTorch, or damaged: %s", what);
  return sm_hint(f->err, "copy or download the file again");
}

/* ---- the bytes of tensors ----------------------------------------------------------------------------- */

static size_t pth_element_bytes(const pth_storage *s) { return s->dtype ? sm_st_dtype_size(s->dtype) : 1; }

static bool pth_contiguous(const pth_tensor *t) {
  int64_t step = 1;
  for (int d = t->ndim - 1; d >= 0; d--) {
    if (t->size[d] != 1 && t->stride[d] != step) return false;
    step *= t->size[d];
  }
  return true;
}

/* Element by element in row-major order, the last dimension first to count up. */
static void pth_gather(const pth_tensor *t, const unsigned char *from, unsigned char *to, uint64_t elements,
                       size_t size) {
  int64_t index[SM_ST_MAX_DIMS] = {0}, at = 0;
  for (uint64_t i = 0; i < elements; i++, to += size) {
    memcpy(to, from + (size_t)at * size, size);
    for (int d = t->ndim - 1; d >= 0; d--) {
      at += t->stride[d];
      if (++index[d] < t->size[d]) break;
      at -= t->stride[d] * t->size[d];
      index[d] = 0;
    }
  }
}

static sm_status pth_take(pth_file *f, const pth_named *named, sm_st_tensor *out) {
  const pth_tensor *t = &f->pool.tensor[named->tensor];
  const pth_storage *s = &f->pool.storage[t->storage];
  const size_t size = sm_st_dtype_size(t->dtype);
  *out = (sm_st_tensor){.name = named->name, .dtype = sm_st_dtype_name(t->dtype), .ndim = t->ndim};
  memcpy(out->shape, t->size, sizeof out->shape);
  if (!sm_st_size(t->dtype, t->ndim, t->size, &out->elements, &out->bytes))
    return pth_bad(f, "a tensor's size overflows"); /* pth_known.c has looked */
  const unsigned char *from = s->data + (size_t)t->offset * size;
  const int64_t first = s->view ? s->view_at : 0;
  if (out->elements) from += (size_t)first * pth_element_bytes(s);
  out->data = out->elements ? from : f->map;
  bool contiguous = true;
  if (out->elements) contiguous = pth_contiguous(t);
  if (contiguous) return SM_OK;
  if (out->bytes > 4 * f->bytes + PTH_COPY_MORE - f->copied) {
    sm_fail(f->err, SM_EFORMAT, "tensor '%.200s' of %" PRIu64 " bytes is out of proportion to the file", out->name,
            out->bytes);
    return sm_hint(f->err, "its strides name the same numbers again and again; save it with .contiguous()");
  }
  f->copied += out->bytes;
  unsigned char *copy = sm_arena_alloc(f->arena, (size_t)out->bytes);
  if (!copy) return sm_fail(f->err, SM_ENOMEM, "no memory for tensor '%.200s'", out->name);
  pth_gather(t, from, copy, out->elements, size);
  out->data = copy;
  return SM_OK;
}

static sm_status pth_fill(pth_file *f, st_header *h) {
  sm_status status = SM_OK;
  h->tensors = sm_calloc(f->names.count + 1, sizeof *h->tensors);
  if (!h->tensors) return sm_fail(f->err, SM_ENOMEM, "no memory for %zu tensors", f->names.count);
  for (size_t i = 0; !status && i < f->names.count; i++)
    if (!(status = pth_take(f, &f->names.named[i], &h->tensors[i]))) h->count++;
  h->pairs = f->names.pairs, h->npairs = f->names.npairs;
  f->names.pairs = NULL;
  return status;
}

/* ---- the form since 1.6 ------------------------------------------------------------------------------- */

/* NAME/data.pkl says what NAME is. */
static sm_status pth_zip_root(const pth_file *f, const pth_member **pickle, size_t *root) {
  static const char end[] = "data.pkl";
  const size_t n = sizeof end - 1;
  *pickle = NULL;
  for (size_t i = 0; i < f->zip.count; i++) {
    const pth_member *m = &f->zip.member[i];
    if (m->name_bytes <= n || memcmp(m->name + m->name_bytes - n, end, n) || m->name[m->name_bytes - n - 1] != '/')
      continue;
    if (memchr(m->name, '/', m->name_bytes - n - 1)) continue;
    if (*pickle) return pth_bad(f, "two members are called data.pkl");
    *pickle = m;
    *root = m->name_bytes - n;
  }
  return *pickle ? SM_OK : pth_bad(f, "a zip archive without a data.pkl");
}

static const pth_member *pth_zip_member(const pth_file *f, const pth_member *pickle, size_t root, const char *name,
                                        size_t n) {
  char full[PTH_NAME_MAX];
  if (root > sizeof full || n > sizeof full - root) return NULL;
  memcpy(full, pickle->name, root);
  memcpy(full + root, name, n);
  return sm_pth_zip_find(&f->zip, full, root + n);
}

static sm_status pth_zip_check_kind(const pth_file *f, const pth_member *pickle, size_t root) {
  const pth_member *order = pth_zip_member(f, pickle, root, "byteorder", 9),
                   *version = pth_zip_member(f, pickle, root, "version", 7);
  if (pth_zip_member(f, pickle, root, "constants.pkl", 13)) {
    sm_fail(f->err, SM_EUNSUPPORTED, "a TorchScript program, not weights by name");
    return sm_hint(f->err, "in Python: torch.save(torch.jit.load(FILE).state_dict(), OTHER)");
  }
  if (order && (order->bytes < 6 || memcmp(f->map + order->at, "little", 6) != 0)) {
    sm_fail(f->err, SM_EUNSUPPORTED, "its numbers are big-endian");
    return sm_hint(f->err, "load it and save it again with PyTorch on a little-endian machine");
  }
  char text[16] = "0";
  int64_t number = 0;
  if (version) snprintf(text, sizeof text, "%.*s", (int)(version->bytes < 15 ? version->bytes : 0), f->map + version->at);
  text[strcspn(text, "\r\n")] = 0;
  if (sm_parse_int(text, &number) && number >= 0 && number <= 10) return SM_OK;
  sm_fail(f->err, SM_EUNSUPPORTED, "its version is not one of 0 to 10");
  return sm_hint(f->err, "save it again with an older PyTorch, or as safetensors");
}

static sm_status pth_zip_find_storage(pth_file *f, const pth_member *pickle, size_t root, pth_storage *s) {
  char name[PTH_NAME_MAX];
  if (s->key_bytes > 200 || memchr(s->key, '/', s->key_bytes)) return pth_bad(f, "a storage has an absurd key");
  const int n = snprintf(name, sizeof name, "data/%.*s", (int)s->key_bytes, s->key);
  const pth_member *m = pth_zip_member(f, pickle, root, name, (size_t)n);
  if (!m) return pth_bad(f, "the bytes of a storage are missing");
  if ((uint64_t)s->count > m->bytes / pth_element_bytes(s))
    return pth_bad(f, "a storage is smaller than the pickle says");
  s->data = f->map + m->at;
  return SM_OK;
}

static int pth_compare_storages(const void *a, const void *b) {
  const pth_storage *x = *(pth_storage *const *)a, *y = *(pth_storage *const *)b;
  const size_t n = x->key_bytes < y->key_bytes ? x->key_bytes : y->key_bytes;
  const int order = memcmp(x->key, y->key, n);
  return order ? order : (x->key_bytes > y->key_bytes) - (x->key_bytes < y->key_bytes);
}

static sm_status pth_read_zip(pth_file *f, st_header *header, pth_sum **sums, size_t *n_sums) {
  const pth_member *pickle = NULL;
  size_t root = 0, at = 0;
  sm_status status = sm_pth_zip_read(f->map, f->bytes, &f->zip, f->err);
  if (!status) status = pth_zip_root(f, &pickle, &root);
  if (!status) status = pth_zip_check_kind(f, pickle, root);
  if (status) return status;
  if (pickle->bytes > PTH_PICKLE_MAX) return pth_bad(f, "its pickle is larger than 64 MiB");
  pth_ref object = sm_pth_pickle(&f->pool, f->map + pickle->at, (size_t)pickle->bytes, &at);
  if (!object) return f->pool.status;
  if ((status = sm_pth_name(&f->pool, object, &f->names))) return status;
  for (uint32_t i = 0; !status && i < f->pool.storages; i++)
    status = pth_zip_find_storage(f, pickle, root, &f->pool.storage[i]);
  if (!status) status = pth_fill(f, header);
  pth_sum *list = sm_arena_alloc(f->arena, (f->zip.count + 1) * sizeof *list);
  if (!list) return status ? status : sm_fail(f->err, SM_ENOMEM, "no memory for the archive's checksums");
  for (size_t i = 0; i < f->zip.count; i++)
    list[i] = (pth_sum){f->zip.member[i].at, f->zip.member[i].bytes, f->zip.member[i].crc};
  *sums = list;
  *n_sums = f->zip.count;
  return status;
}

/* ---- the form before ---------------------------------------------------------------------------------- */

static bool pth_is_long(const pth_pool *p, pth_ref v, const char *bytes, size_t n) {
  return sm_pth_kind_of(p, v) == PTH_LONG && p->value[v].as.text.n == n && !memcmp(p->value[v].as.text.s, bytes, n);
}

static bool pth_little_endian(const pth_pool *p, pth_ref machine) {
  if (sm_pth_kind_of(p, machine) != PTH_DICT) return false;
  for (uint32_t at = p->value[machine].as.items.first; at; at = p->item[at].next) {
    const pth_value *key = &p->value[p->item[at].key], *value = &p->value[p->item[at].value];
    if (key->kind == PTH_TEXT && key->as.text.n == 13 && !memcmp(key->as.text.s, "little_endian", 13))
      return value->kind == PTH_BOOL && value->as.number;
  }
  return true;
}

static sm_status pth_legacy_head(pth_file *f, size_t *at) {
  static const char magic[] = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
  pth_pool *p = &f->pool;
  sm_error why = {0}, *err = p->err;
  p->err = &why;
  pth_ref v = sm_pth_pickle(p, f->map, (size_t)f->bytes, at);
  p->err = err;
  if (p->status == SM_ENOMEM) return *f->err = why, SM_ENOMEM;
  if (!pth_is_long(p, v, magic, sizeof magic - 1)) {
    sm_fail(f->err, SM_EFORMAT, "not a safetensors file: it is a Python pickle");
    return sm_hint(f->err, "give a file in the safetensors format; where this one was downloaded, do it again");
  }
  v = sm_pth_pickle(p, f->map, (size_t)f->bytes, at);
  if (p->status) return p->status;
  if (sm_pth_kind_of(p, v) != PTH_INT || p->value[v].as.number != 1001)
    return pth_bad(f, "its protocol is not 1001");
  v = sm_pth_pickle(p, f->map, (size_t)f->bytes, at);
  if (p->status) return p->status;
  if (pth_little_endian(p, v)) return SM_OK;
  sm_fail(f->err, SM_EUNSUPPORTED, "it says that its numbers are big-endian");
  return sm_hint(f->err, "load it and save it again with PyTorch on a little-endian machine");
}

/* One storage: its count, its bytes. All records of the pickle with this key are of it; sorted by key. */
static sm_status pth_legacy_storage(pth_file *f, pth_storage **sorted, pth_ref key, size_t *at) {
  const pth_pool *p = &f->pool;
  uint64_t count = 0;
  if (sm_pth_kind_of(p, key) != PTH_TEXT) return pth_bad(f, "a storage's key is no text");
  pth_storage wanted = {.key = p->value[key].as.text.s, .key_bytes = p->value[key].as.text.n}, *one = &wanted;
  pth_storage **found = p->storages ? bsearch(&one, sorted, p->storages, sizeof *sorted, pth_compare_storages) : NULL;
  if (!found) return pth_bad(f, "it holds a storage that nobody knows");
  if (f->bytes - *at < 8) return pth_bad(f, "it ends before a storage");
  for (int i = 7; i >= 0; i--) count = count << 8 | f->map[*at + (size_t)i];
  *at += 8;
  while (found > sorted && !pth_compare_storages(&found[-1], &one)) found--;
  const size_t size = pth_element_bytes(*found);
  if (count > (f->bytes - *at) / size) return pth_bad(f, "a storage reaches beyond the file");
  for (; found < sorted + p->storages && !pth_compare_storages(found, &one); found++) {
    if ((uint64_t)(*found)->count != count || pth_element_bytes(*found) != size)
      return pth_bad(f, "a storage has another size than the pickle says");
    (*found)->data = f->map + *at;
  }
  *at += (size_t)count * size;
  return SM_OK;
}

static sm_status pth_legacy_storages(pth_file *f, pth_ref keys, size_t at) {
  pth_pool *p = &f->pool;
  sm_status status = SM_OK;
  if (sm_pth_kind_of(p, keys) != PTH_LIST) return pth_bad(f, "it has no list of storages");
  pth_storage **sorted = sm_malloc((p->storages + 1) * sizeof *sorted);
  if (!sorted) return sm_fail(f->err, SM_ENOMEM, "no memory for %" PRIu32 " storages", p->storages);
  for (uint32_t i = 0; i < p->storages; i++) sorted[i] = &p->storage[i];
  if (p->storages) qsort(sorted, p->storages, sizeof *sorted, pth_compare_storages);
  for (uint32_t i = p->value[keys].as.items.first; !status && i; i = p->item[i].next)
    status = pth_legacy_storage(f, sorted, p->item[i].value, &at);
  for (uint32_t i = 0; !status && i < p->storages; i++)
    if (!p->storage[i].data) status = pth_bad(f, "the bytes of a storage are missing");
  sm_free(sorted);
  return status;
}

static sm_status pth_read_legacy(pth_file *f, st_header *header) {
  size_t at = 0;
  sm_status status = pth_legacy_head(f, &at);
  if (status) return status;
  pth_ref object = sm_pth_pickle(&f->pool, f->map, (size_t)f->bytes, &at);
  if (!object) return f->pool.status;
  pth_ref keys = sm_pth_pickle(&f->pool, f->map, (size_t)f->bytes, &at);
  if (!keys) return f->pool.status;
  if (!(status = sm_pth_name(&f->pool, object, &f->names))) status = pth_legacy_storages(f, keys, at);
  return status ? status : pth_fill(f, header);
}

sm_status sm_pth_read(const unsigned char *map, uint64_t bytes, sm_arena *arena, st_header *header, pth_sum **sums,
                      size_t *n_sums, sm_error *err) {
  sm_error none;
  if (!err) err = &none;
  pth_file f = {.map = map, .bytes = bytes, .arena = arena, .err = err, .pool = {.arena = arena, .err = err}};
  *header = (st_header){0};
  *sums = NULL;
  *n_sums = 0;
  const sm_status status =
      map[0] == 'P' ? pth_read_zip(&f, header, sums, n_sums) : pth_read_legacy(&f, header);
  sm_pth_names_free(&f.names);
  sm_pth_pool_free(&f.pool);
  sm_pth_zip_free(&f.zip);
  return status;
}

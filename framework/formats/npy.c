/* npy.c — NumPy's .npy files: features and labels out, small arrays in.
 *
 * Format: numpy.lib.format, version 1.0. Magic, version, length of a header that is a Python dict literal
 * padded with spaces to a 64-byte border and ended by a newline; then the elements. */
#include <inttypes.h>
#include <string.h>

#include "st.h"

static const char MAGIC[] = "\x93NUMPY";
enum { MAGIC_BYTES = 6, PREFIX = 10, BORDER = 64 };

static const struct {
  const char *dtype, *descr;
} TYPES[] = {{"F32", "<f4"}, {"F64", "<f8"}, {"I64", "<i8"}, {"I32", "<i4"}, {"U8", "|u1"}, {"U8", "|b1"}};
enum { NTYPES = sizeof TYPES / sizeof *TYPES };

/* ---- writing ---- */

static bool npy_header_text(sm_text *t, const char *descr, int ndim, const int64_t *shape) {
  sm_text_add(t, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
  for (int i = 0; i < ndim; i++) sm_text_add(t, "%s%" PRId64, i ? ", " : "", shape[i]);
  sm_text_add(t, "%s), }", ndim == 1 ? "," : "");
  while (!t->failed && (PREFIX + t->len + 1) % BORDER) sm_text_add(t, " ");
  sm_text_add(t, "\n");
  return !t->failed;
}

sm_status sm_npy_write(const char *path, const char *dtype, int ndim, const int64_t *shape, const void *data,
                       sm_error *err) {
  const char *descr = NULL;
  uint64_t elements, bytes;
  sm_text head = {0};
  sm_status status;
  for (int i = 0; i < NTYPES; i++)
    if (!strcmp(dtype, TYPES[i].dtype)) descr = TYPES[i].descr;
  if (!descr) return sm_fail(err, SM_EINVAL, "an .npy file cannot hold elements of type '%.40s'", dtype);
  if (ndim < 0 || ndim > SM_ST_MAX_DIMS)
    return sm_fail(err, SM_EINVAL, "an array of %d dimensions, not 0 to %d", ndim, SM_ST_MAX_DIMS);
  if (!sm_st_size(dtype, ndim, shape, &elements, &bytes))
    return sm_fail(err, SM_EINVAL, "the array's size overflows");
  if (!npy_header_text(&head, descr, ndim, shape)) {
    sm_text_free(&head);
    return sm_fail(err, SM_ENOMEM, "no memory to write '%.400s'", path);
  }
  sm_file *file = sm_file_create(path, err);
  if (!file) {
    sm_text_free(&head);
    return err ? err->code : SM_EIO;
  }
  const unsigned char prefix[4] = {1, 0, (unsigned char)head.len, (unsigned char)(head.len >> 8)};
  sm_file_write(file, MAGIC, MAGIC_BYTES); /* write errors are sticky: commit reports them */
  sm_file_write(file, prefix, sizeof prefix);
  sm_file_write(file, head.s, head.len);
  sm_file_write(file, data, (size_t)bytes);
  status = sm_file_commit(file, err);
  sm_text_free(&head);
  return status;
}

/* ---- reading ---- */

static const char *npy_skip(const char *s) {
  while (*s == ' ') s++;
  return s;
}

/* The place after `token`, or NULL; spaces before it are passed over. */
static const char *npy_after(const char *s, const char *token) {
  s = npy_skip(s);
  size_t n = strlen(token);
  return strncmp(s, token, n) ? NULL : s + n;
}

static const char *npy_read_shape(const char *s, sm_npy *a) {
  if (!(s = npy_after(s, "("))) return NULL;
  for (a->ndim = 0; *(s = npy_skip(s)) != ')'; a->ndim++) {
    int64_t extent = 0;
    if (a->ndim == SM_ST_MAX_DIMS || *s < '0' || *s > '9') return NULL;
    for (; *s >= '0' && *s <= '9'; s++)
      if (__builtin_mul_overflow(extent, 10, &extent) || __builtin_add_overflow(extent, *s - '0', &extent))
        return NULL;
    a->shape[a->ndim] = extent;
    s = npy_skip(s);
    if (*s == ',') s++;
    else if (*s != ')') return NULL;
  }
  return s + 1;
}

static const char *npy_read_type(const char *s, sm_npy *a) {
  for (int i = 0; i < NTYPES; i++) {
    char quoted[8];
    const char *rest;
    snprintf(quoted, sizeof quoted, "'%s'", TYPES[i].descr);
    if ((rest = npy_after(s, quoted))) return a->dtype = TYPES[i].dtype, rest;
  }
  return NULL;
}

/* The dict literal, keys in any order, each once. NULL on success, else what is wrong. */
static const char *npy_read_header(const char *s, sm_npy *a) {
  unsigned seen = 0, bit;
  if (!(s = npy_after(s, "{"))) return "its header is no dict";
  while (*(s = npy_skip(s)) != '}') {
    const char *rest;
    if ((rest = npy_after(s, "'descr':"))) {
      bit = 1;
      if (!(s = npy_read_type(rest, a))) return "its element type is not one of <f4, <f8, <i8, <i4, |u1, |b1";
    } else if ((rest = npy_after(s, "'fortran_order':"))) {
      bit = 2;
      if (!(s = npy_after(rest, "False"))) return "it is in Fortran order";
    } else if ((rest = npy_after(s, "'shape':"))) {
      bit = 4;
      if (!(s = npy_read_shape(rest, a))) return "its shape cannot be read";
    } else {
      return "its header has an unknown key";
    }
    if (seen & bit) return "its header has a key twice";
    seen |= bit;
    s = npy_skip(s);
    if (*s == ',') s++;
    else if (*s != '}') return "its header is damaged";
  }
  return seen == 7 ? NULL : "its header lacks a key";
}

static sm_status npy_take_array(char *file, size_t length, sm_npy *a, sm_error *err) {
  uint64_t elements, bytes;
  size_t head;
  if (length < PREFIX || memcmp(file, MAGIC, MAGIC_BYTES))
    return sm_fail(err, SM_EFORMAT, "not an .npy file");
  if (file[6] != 1 || file[7] != 0)
    return sm_fail(err, SM_EUNSUPPORTED, ".npy version %d.%d; only 1.0 is read", file[6], file[7]);
  head = (size_t)(unsigned char)file[8] | (size_t)(unsigned char)file[9] << 8;
  if (head == 0 || head > length - PREFIX || file[PREFIX + head - 1] != '\n')
    return sm_fail(err, SM_EFORMAT, "the .npy file is damaged: its header is cut");
  file[PREFIX + head - 1] = 0; /* the newline: the header is a text now */
  const char *wrong = npy_read_header(file + PREFIX, a);
  if (wrong) return sm_fail(err, SM_EFORMAT, "the .npy file cannot be read: %s", wrong);
  if (!sm_st_size(a->dtype, a->ndim, a->shape, &elements, &bytes) || bytes != length - PREFIX - head)
    return sm_fail(err, SM_EFORMAT, "the .npy file has %zu bytes of data, which is not what its shape needs",
                   length - PREFIX - head);
  if (!(a->data = sm_aligned_alloc(bytes ? (size_t)bytes : 1)))
    return sm_fail(err, SM_ENOMEM, "no memory for %" PRIu64 " bytes", bytes);
  a->bytes = (size_t)bytes;
  memcpy(a->data, file + PREFIX + head, a->bytes);
  return SM_OK;
}

sm_status sm_npy_read(const char *path, size_t limit, sm_npy *a, sm_error *err) {
  char *file;
  size_t length;
  memset(a, 0, sizeof *a);
  sm_status status = sm_file_get(path, limit, &file, &length, err);
  if (status) return status;
  if ((status = npy_take_array(file, length, a, err))) sm_fail_at(err, path, 0, 0);
  sm_free(file);
  return status;
}

void sm_npy_free(sm_npy *a) {
  sm_aligned_free(a->data);
  memset(a, 0, sizeof *a);
}

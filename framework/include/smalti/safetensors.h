/* smalti/safetensors.h — safetensors files: tensors by name, with checksums. Files of PyTorch (torch.save, .pth) are
 * read as if they were such.
 *
 * Equal input gives equal bytes, and the safetensors package reads them. Numbers are little-endian. No handle
 * may be used by two threads at once. */
#ifndef SMALTI_SAFETENSORS_H
#define SMALTI_SAFETENSORS_H

#include <smalti/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- element types ------------------------------------------------------------------------------------ */

/* Types go by their safetensors names: "F64" "F32" "F16" "BF16" "I64" "I32" "I16" "I8" "U64" "U32" "U16" "U8"
 * "BOOL". Bytes of one element, or 0 when the name is not one of these. */
size_t sm_st_dtype_size(const char *dtype);

#define SM_ST_MAX_DIMS 8
#define SM_ST_MAX_HEADER 100000000 /* bytes; the limit of the reference reader */

/* ---- safetensors: writing ----------------------------------------------------------------------------- */

/* A file is declared first and filled afterwards:
 *
 *   sm_st_writer *w = sm_st_create("model.safetensors", SM_ST_AS_DECLARED, err);
 *   sm_st_metadata(w, "step", "1200");
 *   sm_st_declare(w, "norm.weight", "F32", 1, (int64_t[]){384});       … all tensors …
 *   sm_st_write(w, "norm.weight", values, 384 * sizeof(float));        … in any order, in chunks …
 *   status = sm_st_finish(w, err);
 *
 * Errors are sticky: the first one is remembered, later calls do nothing, and sm_st_finish reports it; so the
 * calls in between need no checks, though they return the status. `w` may be NULL everywhere (after a failed
 * create).
 *
 * The file is written under a temporary name, synced, dropped from the page cache where the system allows it,
 * read back and checked, and only then renamed over `path` (sm_file). Until then an older file at `path` is
 * untouched.
 *
 * Checksums live in the metadata, where other readers ignore them:
 *   "smalti.format"              "1"
 *   "smalti.crc32c.header"       CRC-32C of the length word and the header, with these 8 digits as zeros
 *   "smalti.crc32c.tensor.NAME"  CRC-32C of the bytes of tensor NAME as 8 lower-case hexadecimal digits
 * Keys that begin with "smalti." are kept for smalti. The header is padded with spaces so that the data
 * starts on a 64-byte border. */
typedef struct sm_st_writer sm_st_writer;

typedef enum {
  SM_ST_AS_DECLARED, /* data in the order of declaration */
  /* wider elements first, then by name (reference order): tensors are aligned to their elements */
  SM_ST_SORTED
} sm_st_order;

sm_st_writer *sm_st_create(const char *path, sm_st_order, sm_error *); /* NULL on error */
/* A pair of UTF-8 texts, copied; pairs are stored sorted by key. A key given twice is SM_EINVAL; value NULL, a
 * text that there was no memory for, is SM_ENOMEM. */
sm_status sm_st_metadata(sm_st_writer *, const char *key, const char *value);
/* A tensor, row-major; ndim 0 is a scalar, extents may be 0. Name and shape are copied. */
sm_status sm_st_declare(sm_st_writer *, const char *name, const char *dtype, int ndim, const int64_t *shape);
/* The next `bytes` bytes of tensor `name`; the first call closes the declarations. */
sm_status sm_st_write(sm_st_writer *, const char *name, const void *data, size_t bytes);
sm_status sm_st_finish(sm_st_writer *,
                       sm_error *); /* frees the writer in every case; on error nothing is left */
void sm_st_abort(sm_st_writer *);   /* drops the file and frees; NULL allowed */

/* ---- safetensors: reading ----------------------------------------------------------------------------- */

/* One tensor of an open file. Everything points into the reader and dies with it. `data` is as aligned as the
 * file is: in files of other writers perhaps not to the element, then copy (sm_st_read). */
typedef struct sm_st_tensor {
  const char *name, *dtype;
  int ndim;
  int64_t shape[SM_ST_MAX_DIMS];
  uint64_t elements, bytes, offset; /* offset from the start of the data */
  const void *data;
} sm_st_tensor;

typedef struct sm_st_reader sm_st_reader;

/* Maps the file and checks the header completely; the contents of the tensors are not touched (see
 * sm_st_verify). A damaged or hostile file is SM_EFORMAT with the file, the tensor and the rule: header
 * length, JSON (UTF-8, one object, no duplicate keys, nothing after it), fields of each tensor, a type that
 * is not known (SM_EUNSUPPORTED), extents that overflow, extents that do not match the bytes, offsets outside
 * the file, overlaps, holes, bytes left over; and, where smalti wrote the file, the header's checksum. A file
 * must not be cut while it is mapped; replacing it by rename is harmless.
 *
 * A file that torch.save wrote (a zip archive since PyTorch 1.6, or the older form) has its tensors by dotted
 * name, {"teacher": {"norm.weight": …}} as "teacher.norm.weight", and some plain values as metadata
 * ("pth.epoch", "pth.args.arch"). Nothing in it is executed or imported: objects that are no tensors are left,
 * and whatever is damaged, or larger than the file can answer for, is SM_EFORMAT. Strided tensors are made
 * contiguous; `offset` is 0. sm_st_verify compares the archive's CRC-32. */
sm_st_reader *sm_st_open(const char *path, sm_error *); /* NULL on error */
void sm_st_close(sm_st_reader *);                       /* NULL allowed */
const char *sm_st_path(const sm_st_reader *);

size_t sm_st_count(const sm_st_reader *);
const sm_st_tensor *sm_st_at(const sm_st_reader *, size_t index); /* in order of data (PyTorch: of the dicts); NULL past the end */
const sm_st_tensor *sm_st_find(const sm_st_reader *, const char *name); /* NULL if there is none */
/* Like sm_st_find, but missing tensors and other types or shapes are errors that name file, tensor and both
 * sides. `dtype` NULL: any type; ndim -1: any shape. */
const sm_st_tensor *sm_st_expect(const sm_st_reader *, const char *name, const char *dtype, int ndim,
                                 const int64_t *shape, sm_error *);
/* Copies the bytes of a tensor to `to`, which holds exactly `bytes` bytes (else SM_EINVAL). */
sm_status sm_st_read(const sm_st_reader *, const char *name, void *to, size_t bytes, sm_error *);

const char *sm_st_get(const sm_st_reader *, const char *key); /* metadata value, or NULL */
size_t sm_st_metadata_count(const sm_st_reader *);
bool sm_st_metadata_at(const sm_st_reader *, size_t index, const char **key, const char **value);

bool sm_st_is_torch(const sm_st_reader *); /* written by torch.save */
bool sm_st_has_checksums(const sm_st_reader *);
/* Reads all tensors and compares their checksums; a file without any (of another writer) passes. */
sm_status sm_st_verify(const sm_st_reader *, sm_error *);

#ifdef __cplusplus
}
#endif
#endif

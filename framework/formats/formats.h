/* framework/formats/formats.h — the files a run leaves behind: safetensors, .npy, TensorBoard events, JSON lines.
 *
 * All four are written so that equal input gives equal bytes, and read by what everybody else uses (the
 * safetensors package, NumPy, TensorBoard, any JSON parser). Nothing here knows of networks or runs. All
 * numbers are stored little-endian; smalti refuses to be built for big-endian machines. No handle may be used
 * by two threads at once. */
#ifndef SM_FORMATS_H
#define SM_FORMATS_H

#include <smalti/base.h>

struct cJSON;

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
  SM_ST_SORTED       /* wider elements first, then by name (reference order): tensors are aligned to their elements */
} sm_st_order;

sm_st_writer *sm_st_create(const char *path, sm_st_order, sm_error *); /* NULL on error */
/* A pair of UTF-8 texts, copied; pairs are stored sorted by key. A key given twice is SM_EINVAL. */
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
 * must not be cut while it is mapped; replacing it by rename is harmless. */
sm_st_reader *sm_st_open(const char *path, sm_error *); /* NULL on error */
void sm_st_close(sm_st_reader *);                       /* NULL allowed */
const char *sm_st_path(const sm_st_reader *);

size_t sm_st_count(const sm_st_reader *);
const sm_st_tensor *sm_st_at(const sm_st_reader *, size_t index); /* in order of data; NULL past the end */
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

bool sm_st_has_checksums(const sm_st_reader *);
/* Reads all tensors and compares their checksums; a file without any (of another writer) passes. */
sm_status sm_st_verify(const sm_st_reader *, sm_error *);

/* ---- .npy --------------------------------------------------------------------------------------------- */

/* NumPy's array file, format 1.0, C order, data on a 64-byte border, written whole or not at all.
 * dtype: "F32", "F64", "I64", "I32" or "U8". */
sm_status sm_npy_write(const char *path, const char *dtype, int ndim, const int64_t *shape, const void *data,
                       sm_error *);

typedef struct sm_npy {
  const char *dtype; /* as above; static text */
  int ndim;
  int64_t shape[SM_ST_MAX_DIMS];
  size_t bytes;
  void *data; /* aligned to 64 bytes */
} sm_npy;
/* Reads what sm_npy_write writes and what numpy.save writes for these types in C order; files of more than
 * `limit` bytes are refused. Release with sm_npy_free. */
sm_status sm_npy_read(const char *path, size_t limit, sm_npy *, sm_error *);
void sm_npy_free(sm_npy *);

/* ---- TensorBoard -------------------------------------------------------------------------------------- */

/* One event file "events.out.tfevents.SECONDS.HOST" in `folder` (made if missing). A run that goes on after
 * an interruption opens a new file with `first_step` = the first step that will be written again: TensorBoard
 * then forgets all it read at that step and later. A new run gives -1. Records are kept in memory until
 * sm_tb_flush, which appends them and does not fsync: events are a convenience, metrics.jsonl is the record.
 * Values are stored as float. A NULL handle is allowed everywhere and does nothing, so that a run can go on
 * when the folder cannot be written. */
typedef struct sm_tb sm_tb;
sm_tb *sm_tb_open(const char *folder, int64_t first_step, sm_error *); /* NULL on error */
/* All later events carry this time (seconds since 1970) in place of the clock's; a negative one returns to
 * the clock. */
void sm_tb_at(sm_tb *, double wall_time);
void sm_tb_scalar(sm_tb *, const char *tag, int64_t step, double value);
void sm_tb_image(sm_tb *, const char *tag, int64_t step, int width, int height, const void *png,
                 size_t bytes);
sm_status sm_tb_flush(sm_tb *, sm_error *);
sm_status sm_tb_close(sm_tb *, sm_error *); /* flushes and frees in every case */
const char *sm_tb_path(const sm_tb *);

/* ---- JSON --------------------------------------------------------------------------------------------- */

/* A builder for one JSON value: keys stay in the order given. Zero-initialise, or sm_json_begin to start
 * again. Inside arrays the key is NULL. Numbers are printed so that they read back to the same double; JSON
 * knows neither NaN nor infinities, so these become null. Texts are UTF-8; bytes that are not become U+FFFD.
 */
typedef struct sm_json {
  sm_text text;
  uint64_t arrays; /* bit d: the bracket open at depth d is '[' */
  int depth;       /* open brackets, at most 63 */
  bool comma;      /* the next value needs one before it */
} sm_json;
void sm_json_begin(sm_json *); /* empties, and opens the outermost object */
void sm_json_int(sm_json *, const char *key, int64_t);
void sm_json_double(sm_json *, const char *key, double);
void sm_json_bool(sm_json *, const char *key, bool);
void sm_json_string(sm_json *, const char *key, const char *utf8); /* NULL gives null */
void sm_json_null(sm_json *, const char *key);
void sm_json_object(sm_json *, const char *key); /* opens; sm_json_close ends it */
void sm_json_array(sm_json *, const char *key);
void sm_json_close(sm_json *);
/* Closes the outermost object; the text belongs to the builder. NULL when memory ran out or brackets do not
 * match. */
const char *sm_json_finish(sm_json *);
void sm_json_free(sm_json *);

/* JSON lines: one object a line, appended. `keep_bytes` is what sm_jsonl_flush had given when the state to go
 * on from was saved: what follows is cut off. 0 starts an empty file; -1 appends to whatever whole lines
 * there are (an unfinished last line is cut). A file shorter than `keep_bytes`, or not at the end of a line
 * there, is SM_EFORMAT. */
typedef struct sm_jsonl sm_jsonl;
sm_jsonl *sm_jsonl_open(const char *path, int64_t keep_bytes, sm_error *); /* NULL on error */
/* Finishes the record and adds it as one line (kept in memory up to 64 KiB); the builder can be used again.
 */
sm_status sm_jsonl_append(sm_jsonl *, sm_json *, sm_error *);
/* Writes and fsyncs; `*length` (may be NULL) is the file's length, all of it on disk. */
sm_status sm_jsonl_flush(sm_jsonl *, int64_t *length, sm_error *);
int64_t sm_jsonl_length(const sm_jsonl *); /* with what is still kept in memory */
sm_status sm_jsonl_close(sm_jsonl *, sm_error *); /* flushes and frees in every case; NULL allowed */

/* Calls `fn` with each record of a file; a status other than SM_OK ends the walk and is returned. Records
 * belong to the walk. An unfinished last line is passed over. A line that is no object is SM_EFORMAT, or,
 * when `damaged` is given, counted there and passed over. */
typedef sm_status (*sm_jsonl_fn)(void *ctx, int line, const struct cJSON *record, sm_error *);
sm_status sm_jsonl_each(const char *path, sm_jsonl_fn, void *ctx, int *damaged, sm_error *);

#endif

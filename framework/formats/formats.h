/* framework/formats/formats.h — the files a run leaves behind: safetensors, .npy, TensorBoard events, JSON
 * lines.
 *
 * All four are written so that equal input gives equal bytes, and read by what everybody else uses (the
 * safetensors package, NumPy, TensorBoard, any JSON parser). Nothing here knows of networks or runs. All
 * numbers are stored little-endian; smalti refuses to be built for big-endian machines. No handle may be used
 * by two threads at once. */
#ifndef SM_FORMATS_H
#define SM_FORMATS_H

#include <smalti/base.h>
#include <smalti/npy.h>
#include <smalti/safetensors.h>

struct cJSON;

/* ---- tensors under other names ------------------------------------------------------------------------ */

/* A reader that stands before `base`: it has these tensors (copied; their names and values live in `base` or
 * in `arena`), and the path and the metadata of `base`. It owns both from then on; on error (NULL) neither. */
sm_st_reader *sm_st_rename(sm_st_reader *base, const sm_st_tensor *, size_t count, sm_arena *arena, sm_error *);

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
 * knows neither NaN nor infinities, so these become null. Texts are UTF-8; bytes that
 * are not become U+FFFD. */
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

/* A JSON value out of `text`, which ends with a 0 byte behind `bytes`. SM_EFORMAT: it is none; SM_ENOMEM. The
 * value, NULL on error, is the caller's: cJSON_Delete. */
sm_status sm_json_read(const char *text, size_t bytes, struct cJSON **, sm_error *);

/* JSON lines: one object a line, appended. `keep_bytes` is what sm_jsonl_flush had given when the state to go
 * on from was saved: what follows is cut off. 0 starts an empty file; -1 appends to whatever whole lines
 * there are (an unfinished last line is cut). A file shorter than `keep_bytes`, or not at the end of a line
 * there, is SM_EFORMAT. */
typedef struct sm_jsonl sm_jsonl;
sm_jsonl *sm_jsonl_open(const char *path, int64_t keep_bytes, sm_error *); /* NULL on error */
/* Finishes the record and adds it as one line (kept in memory up to 64 KiB); the builder
 * can be used again. */
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

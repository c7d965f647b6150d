/* jsonl.c — JSON lines: one object a line, appended, cut back on resume.
 *
 * The file is what a run is compared by, byte for byte: a line is written whole or (after a crash) cut off by
 * whoever goes on. Reading is for reports and tolerates what a crash leaves. */
#include <config.h>

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "framework/formats/formats.h"

enum { FLUSH_AT = 65536, READ_LIMIT = 1 << 30 };

struct sm_jsonl {
  sm_tail tail;
  char *path;
};

/* ---- writing ---- */

/* The length of the whole lines of an open file. */
static sm_status jsonl_whole_lines(int fd, uint64_t size, uint64_t *length, sm_error *err) {
  char block[4096];
  for (*length = size; *length;) {
    size_t wanted = *length < sizeof block ? (size_t)*length : sizeof block;
    uint64_t from = *length - wanted;
    ssize_t got = pread(fd, block, wanted, (off_t)from);
    if (got < 0 && errno == EINTR) continue;
    if (got != (ssize_t)wanted)
      return sm_fail(err, SM_EIO, "reading failed: %s", got < 0 ? strerror(errno) : "cut short");
    while (wanted && block[wanted - 1] != '\n') wanted--;
    *length = from + wanted;
    if (wanted) break;
  }
  return SM_OK;
}

/* What a link leads to may lie outside the run, and would be cut. */
static sm_status jsonl_open_file(sm_jsonl *j, sm_error *err) {
  j->tail.fd = open(j->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
  if (j->tail.fd >= 0) return SM_OK;
  if (errno != ELOOP)
    return sm_fail(err, errno == ENOENT ? SM_ENOTFOUND : SM_EIO, "cannot open the file for writing: %s",
                   strerror(errno));
  sm_fail(err, SM_EINVAL, "a symbolic link stands where records are to be written");
  return sm_hint(err, "put the file itself there, or remove the link");
}

static sm_status jsonl_cut(sm_jsonl *j, int64_t keep, sm_error *err) {
  struct stat st;
  uint64_t length = keep > 0 ? (uint64_t)keep : 0, whole;
  sm_status status;
  if (fstat(j->tail.fd, &st)) return sm_fail(err, SM_EIO, "cannot examine the file: %s", strerror(errno));
  if (!S_ISREG(st.st_mode)) return sm_fail(err, SM_EINVAL, "records are to be written, but this is no file");
  if (keep > st.st_size) {
    sm_fail(err, SM_EFORMAT,
            "the file has %" PRId64 " bytes, but %" PRId64 " were written when the run was saved",
            (int64_t)st.st_size, keep);
    return sm_hint(err, "records were lost; resume from an older checkpoint or start a new run");
  }
  if ((status = jsonl_whole_lines(j->tail.fd, keep < 0 ? (uint64_t)st.st_size : length, &whole, err)))
    return status;
  if (keep > 0 && whole != length) {
    sm_fail(err, SM_EFORMAT, "byte %" PRId64 ", where the run was saved, is not at the end of a line", keep);
    return sm_hint(err, "the file was changed; restore it or start a new run");
  }
  if (whole < (uint64_t)st.st_size && ftruncate(j->tail.fd, (off_t)whole))
    return sm_fail(err, SM_EIO, "cutting the file failed: %s", strerror(errno));
  j->tail.length = whole;
  return SM_OK;
}

static void jsonl_release(sm_jsonl *j) {
  if (j->tail.fd >= 0) close(j->tail.fd);
  sm_text_free(&j->tail.waiting);
  sm_free(j->path);
  sm_free(j);
}

sm_jsonl *sm_jsonl_open(const char *path, int64_t keep_bytes, sm_error *err) {
  sm_jsonl *j = sm_calloc(1, sizeof *j);
  sm_status status = SM_OK;
  if (!j) return sm_fail(err, SM_ENOMEM, "no memory to open '%.400s'", path), NULL;
  j->tail.fd = -1;
  if (!(j->path = sm_strdup(path))) status = sm_fail(err, SM_ENOMEM, "no memory to open the file");
  else status = jsonl_open_file(j, err);
  if (!status) status = jsonl_cut(j, keep_bytes, err);
  if (!status) return j;
  sm_fail_at(err, path, 0, 0);
  jsonl_release(j);
  return NULL;
}

static sm_status jsonl_placed(sm_jsonl *j, sm_status status, sm_error *err) {
  if (status) sm_fail_at(err, j->path, 0, 0);
  return status;
}

sm_status sm_jsonl_append(sm_jsonl *j, sm_json *record, sm_error *err) {
  const char *line = sm_json_finish(record);
  if (!line)
    return jsonl_placed(
        j, sm_fail(err, SM_EINTERNAL, "a record that is no whole object, or no memory for it"), err);
  sm_text_bytes(&j->tail.waiting, line, record->text.len);
  sm_text_bytes(&j->tail.waiting, "\n", 1);
  return j->tail.waiting.len < FLUSH_AT && !j->tail.waiting.failed
             ? SM_OK
             : jsonl_placed(j, sm_tail_flush(&j->tail, err), err);
}

sm_status sm_jsonl_flush(sm_jsonl *j, int64_t *length, sm_error *err) {
  sm_status status = sm_tail_flush(&j->tail, err);
  if (!status && fsync(j->tail.fd)) status = sm_fail(err, SM_EIO, "fsync failed: %s", strerror(errno));
  if (!status && length) *length = (int64_t)j->tail.length;
  return jsonl_placed(j, status, err);
}

int64_t sm_jsonl_length(const sm_jsonl *j) { return (int64_t)(j->tail.length + j->tail.waiting.len); }

sm_status sm_jsonl_close(sm_jsonl *j, sm_error *err) {
  if (!j) return SM_OK;
  sm_status status = sm_jsonl_flush(j, NULL, err);
  jsonl_release(j);
  return status;
}

/* ---- reading ---- */

sm_status sm_jsonl_each(const char *path, sm_jsonl_fn fn, void *ctx, int *damaged, sm_error *err) {
  char *text, *end;
  size_t bytes;
  int number = 0;
  if (damaged) *damaged = 0;
  sm_status status = sm_file_get(path, READ_LIMIT, &text, &bytes, err);
  if (status) return status;
  for (char *line = text; !status && (end = memchr(line, '\n', bytes - (size_t)(line - text)));
       line = end + 1) {
    cJSON *record;
    number++;
    *end = 0;
    if (sm_json_read(line, (size_t)(end - line), &record, err) == SM_ENOMEM) {
      status = SM_ENOMEM;
    } else if (cJSON_IsObject(record)) {
      status = fn(ctx, number, record, err);
    } else if (damaged) {
      ++*damaged;
    } else {
      status = sm_fail(err, SM_EFORMAT, "the line is not a JSON object");
      sm_fail_at(err, path, number, 0);
    }
    cJSON_Delete(record);
  }
  sm_free(text);
  return status;
}

/* start.c — training that starts from weights: the backbone of another run, an export, or a file of another
 * program.
 *
 * Strict as all loading; what was taken goes to the log line by line, also what does not fit. Heads keep
 * their initial values. */
#include <inttypes.h>
#include <string.h>

#include "checkpoint.h"
#include "framework/eval/weights.h"
#include "train.h"

static void log_lines(sm_log_level level, const char *text) {
  while (text && *text) {
    int n = (int)strcspn(text, "\n");
    sm_log(level, "  %.*s", n, text);
    text += n + (text[n] == '\n');
  }
}

/* Runs without a teacher have none in their checkpoints. */
static const char *prefix_of(const sm_st_reader *file) {
  if (!sm_st_get(file, "checkpoint.format")) return "";
  return sm_checkpoint_has_teacher(file) ? "teacher.backbone." : "student.backbone.";
}

sm_status sm_start_from(const char *path, sm_ssl *ssl, sm_error *err) {
  sm_set *student = sm_ssl_set(ssl, SM_SSL_STUDENT);
  sm_arena *arena = sm_arena_new("start");
  const char *name = NULL;
  sm_weights_report report = {0};
  sm_st_reader *file = NULL;
  sm_status status =
      arena ? sm_checkpoint_find(path, arena, &name, err) : sm_fail(err, SM_ENOMEM, "out of memory");
  if (!status && !(file = sm_st_open(name, err))) status = err ? err->code : SM_EFORMAT;
  if (!status) status = sm_st_verify(file, err);
  if (!status) {
    sm_weights_source from = {file, prefix_of(file), NULL};
    status = sm_weights_load(&from, student, "backbone.", &report, err);
    sm_log(status ? SM_LOG_ERROR : SM_LOG_INFO, "starting from %s: %d tensors, %" PRId64 " numbers", name,
           report.taken, report.elements);
    log_lines(status ? SM_LOG_ERROR : SM_LOG_INFO, report.text.s);
  }
  if (!status) sm_set_copy(sm_ssl_set(ssl, SM_SSL_TEACHER), student);
  if (status && err && !err->hint[0])
    sm_hint(err, "train.init names the weights to start from; leave it out to start from random values");
  sm_text_free(&report.text);
  sm_st_close(file);
  sm_arena_free(arena);
  return status;
}

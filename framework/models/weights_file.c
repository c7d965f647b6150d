/* weights_file.c — whole files into sets: what plugins load that build something of their own, and what a new
 * run starts from (train.init): the backbone of another run, an export, or a file of another program.
 *
 * Strict as all loading. Where a run starts, what was taken goes to the log line by line, also what does not
 * fit; heads keep their initial values. */
#include <inttypes.h>
#include <string.h>

#include "checkpoint.h"
#include "foreign.h"
#include "models.h"

sm_status sm_weights_fill(const char *path, const char *prefix, const sm_params *to, sm_error *err) {
  sm_weights_report report = {0};
  sm_st_reader *file = sm_st_open(path, err);
  if (!file) return err ? err->code : SM_EFORMAT;
  sm_status status = sm_st_verify(file, err);
  const sm_weights_source from = {.file = file, .prefix = prefix};
  if (!status) status = sm_weights_load(&from, to->set, to->prefix, &report, err);
  sm_text_free(&report.text);
  sm_st_close(file);
  return status;
}

static void file_log(sm_log_level level, const char *text) {
  while (text && *text) {
    int n = (int)strcspn(text, "\n");
    sm_log(level, "  %.*s", n, text);
    text += n + (text[n] == '\n');
  }
}

/* "head.,fc_norm." as a list, whose texts live in the arena. NULL: memory ran out. */
static const char *const *file_list(sm_arena *arena, const char *text) {
  const char **list = sm_arena_alloc(arena, ((text ? strlen(text) / 2 : 0) + 2) * sizeof *list);
  int n = 0;
  for (size_t length; list && text && *text; text += length + (text[length] == ',')) {
    length = strcspn(text, ",");
    if (length && !(list[n++] = sm_arena_strndup(arena, text, length))) return NULL;
  }
  return list;
}

static sm_status file_take(const sm_start *start, const sm_st_reader *file, const sm_foreign *foreign,
                           const char *name, sm_arena *arena, sm_set *student, sm_error *err) {
  sm_weights_report report = {0};
  sm_weights_about about;
  sm_status status = sm_weights_about_read(file, &about, err);
  sm_weights_source from = {.file = file, .height = about.height, .width = about.width, .isa = start->isa};
  if (status) return status;
  from.foreign = foreign->plugin != NULL;
  from.prefix = start->prefix && !from.foreign ? start->prefix : "";
  from.say_prefix = "train.init_prefix=", from.say_ignore = "train.init_ignore=";
  if (!(from.ignore = file_list(arena, start->ignore))) return sm_fail(err, SM_ENOMEM, "out of memory");
  if (!start->prefix && sm_is_checkpoint(file))
    from.prefix = sm_checkpoint_backbone(sm_checkpoint_has_teacher(file));
  status = sm_weights_load(&from, student, SM_BACKBONE_PREFIX, &report, err);
  const sm_log_level level = status ? SM_LOG_ERROR : SM_LOG_INFO;
  sm_log(level, "starting from %s: %d %s, %" PRId64 " numbers", name, report.taken,
         sm_plural(report.taken, "tensor", "tensors"), report.elements);
  if (from.foreign)
    sm_log(level, "  family       %s, names behind '%s'", foreign->family, foreign->prefix);
  file_log(level, report.text.s);
  file_log(level, foreign->text.s);
  sm_text_free(&report.text);
  return status;
}

sm_status sm_start_from(const sm_start *start, sm_set *student, sm_set *teacher, sm_error *err) {
  sm_arena *arena = sm_arena_new("start");
  const char *name = NULL;
  sm_st_reader *file = NULL;
  sm_status status =
      arena ? sm_weights_file(start->path, arena, &name, err) : sm_fail(err, SM_ENOMEM, "out of memory");
  sm_foreign foreign = {0};
  if (!status && !(file = sm_foreign_open(name, start->prefix, SM_NET_AUTO, arena, &foreign, err)))
    status = err ? err->code : SM_EFORMAT;
  if (!status) status = sm_st_verify(file, err);
  if (!status && sm_is_checkpoint(file)) status = sm_checkpoint_format(file, err);
  if (!status) status = file_take(start, file, &foreign, name, arena, student, err);
  if (!status) sm_set_copy(teacher, student);
  if (status && err && !err->hint[0])
    sm_hint(err, "train.init names the weights to start from; leave it out to start from random values");
  sm_st_close(file);
  sm_text_free(&foreign.text);
  sm_arena_free(arena);
  return status;
}

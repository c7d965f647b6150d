/* output.c — files that a user names for results: what is there already is asked about. */
#include <string.h>
#include <sys/stat.h>

#include "cli.h"
#include "framework/base/io.h"

static bool output_is_file(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* What is no file (a folder, a device) is refused when it is written, with --force too. */
sm_status sm_cli_may_write(const char *path, bool force, sm_error *err) {
  struct stat st;
  bool there;
  if (force) return SM_OK;
  const sm_status status = sm_path_look(path, &st, &there, err);
  if (status || !there || !S_ISREG(st.st_mode)) return status;
  sm_fail(err, SM_EINVAL, "the file is there already");
  sm_fail_at(err, path, 0, 0);
  return sm_hint(err, "give another name with --out, or --force to replace it");
}

sm_status sm_cli_may_write_into(sm_cli *cli, const char *folder, const char *const *names, bool force,
                                sm_error *err) {
  sm_status status = SM_OK;
  for (int i = 0; names[i] && !status; i++) {
    const char *path = sm_path_join(cli->arena, folder, names[i]);
    status = path ? sm_cli_may_write(path, force, err) : sm_fail(err, SM_ENOMEM, "out of memory");
  }
  return status;
}

/* Whether the first bytes of a file hold `mark`. */
static bool output_begins_with(const char *path, const char *mark) {
  char head[32768];
  FILE *f = output_is_file(path) ? fopen(path, "re") : NULL;
  size_t n = f ? fread(head, 1, sizeof head - 1, f) : 0;
  if (f) fclose(f);
  head[n] = 0;
  return strstr(head, mark) != NULL;
}

sm_status sm_cli_may_write_table(sm_cli *cli, const char *folder, sm_error *err) {
  static const char *const names[] = {"report.html", "table.md", "table.tex", "table.csv", NULL};
  const char *page = sm_path_join(cli->arena, folder, names[0]),
             *notes = sm_path_join(cli->arena, folder, names[1]);
  if (!page || !notes) return sm_fail(err, SM_ENOMEM, "out of memory");
  if (output_begins_with(page, ">smalti table<")) return SM_OK;
  if (!output_is_file(page) && output_begins_with(notes, "\n## How it was measured\n"))
    return SM_OK; /* killed */
  if (!sm_cli_may_write_into(cli, folder, names, false, err)) return SM_OK;
  return sm_hint(err, "it is no page of a table; give another folder with --out, or move the file away");
}

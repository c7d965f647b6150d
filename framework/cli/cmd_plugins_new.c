/* cmd_plugins_new.c — `smalti plugins new`: a plugin that builds and passes the check, to start from.
 *
 * The templates are framework/cli/skeletons/; the build turns them into skeletons.inc. */
#include "cmd_plugins.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "framework/plugin/kind.h"

#define MARK "@NAME@"

struct new_options {
  const char *out;
};

static const sm_option options[] = {
    SM_PATH(struct new_options, out, "out", "~", "folder to write to (default: the plugin's name)"),
};

static const struct {
  const char *name, *text; /* "masker" … and "makefile" */
} skeletons[] = {
#include "skeletons.inc"
};

static const char *cmd_plugins_new_skeleton(const char *name) {
  for (size_t k = 0; k < sizeof skeletons / sizeof *skeletons; k++)
    if (!strcmp(skeletons[k].name, name)) return skeletons[k].text;
  return NULL;
}

/* The name becomes a C type and a recipe key. */
static sm_status cmd_plugins_new_check_name(const char *name, sm_error *err) {
  static const char *const taken[] = {"plugin", "options", "ops",    "create", "spec",   "declare",  "build",
                                      "draw",   "read",    "open",   "count",  "run",    "features", "label",
                                      "logits", "classes", "hash",   "name",   "int",    "char",     "for",
                                      "double", "if",      "else",   "while",  "struct", "static",   "block",
                                      "pairs",  "norm",    "linear", "void",   "return", NULL};
  size_t n = strlen(name);
  if (n < 2 || n > 63 || name[0] < 'a' || name[0] > 'z' ||
      strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != n) {
    sm_fail(err, SM_EINVAL, "'%.60s' cannot be the name of a plugin", name);
    return sm_hint(err, "2 to 63 of a-z, 0-9 and _, a letter first");
  }
  for (int k = 0; taken[k]; k++)
    if (!strcmp(taken[k], name)) {
      sm_fail(err, SM_EINVAL, "'%s' means something else in the template", name);
      return sm_hint(err, "choose another name, for instance my_%s", name);
    }
  return SM_OK;
}

static sm_status cmd_plugins_new_is_free(const char *path, sm_error *err) {
  struct stat st;
  if (lstat(path, &st) != 0) return SM_OK;
  sm_fail(err, SM_EINVAL, "%s exists already", path);
  return sm_hint(err, "choose another name or --out");
}

static sm_status cmd_plugins_new_write_file(const char *path, const char *text, const char *name,
                                            sm_error *err) {
  sm_text out = {0};
  for (const char *mark; (mark = strstr(text, MARK)); text = mark + strlen(MARK)) {
    sm_text_bytes(&out, text, (size_t)(mark - text));
    sm_text_add(&out, "%s", name);
  }
  sm_text_add(&out, "%s", text);
  sm_status status =
      out.failed ? sm_fail(err, SM_ENOMEM, "out of memory") : sm_file_put(path, out.s, out.len, err);
  sm_text_free(&out);
  return status;
}

/* Plugins of --plugin-path come before those that are installed. */
static void cmd_plugins_new_warn(sm_cli *cli, sm_kind kind, const char *name) {
  sm_registry *r;
  sm_error err;
  const sm_plugin *p = sm_cli_registry(cli, &r, &err) == SM_OK ? sm_registry_find(r, kind, name, &err) : NULL;
  if (p)
    sm_cli_note(cli, "smalti: there is a %s '%s' already (%s); with --plugin-path the new one hides it",
                sm_kind_name(kind), name, sm_registry_file(r, p));
}

static int cmd_plugins_new_run(sm_cli *cli, int argc, char **argv) {
  (void)argc;
  const struct new_options *o = cli->options;
  const char *name = argv[2], *dir = o->out ? o->out : name;
  sm_error err;
  sm_kind kind = sm_plugins_kind(argv[1], &err);
  if (!kind) return sm_cli_usage_error(&err);
  sm_status status = cmd_plugins_new_check_name(name, &err);
  char *file = sm_arena_printf(cli->arena, "%s/%s.c", dir, name);
  char *makefile = sm_arena_printf(cli->arena, "%s/Makefile", dir);
  if (!status && (!file || !makefile)) status = sm_fail(&err, SM_ENOMEM, "out of memory");
  if (!status) status = cmd_plugins_new_is_free(file, &err);
  if (!status) status = cmd_plugins_new_is_free(makefile, &err);
  if (!status) status = sm_mkdirs(dir, &err);
  if (!status)
    status = cmd_plugins_new_write_file(file, cmd_plugins_new_skeleton(sm_kind_name(kind)), name, &err);
  if (!status)
    status = cmd_plugins_new_write_file(makefile, cmd_plugins_new_skeleton("makefile"), name, &err);
  if (status) return sm_cli_usage_error(&err);
  printf("%s\n%s\n", file, makefile);
  cmd_plugins_new_warn(cli, kind, name);
  sm_cli_note(cli, "next: cd %s && make check; then smalti --plugin-path %s plugins show %s", dir, dir, name);
  return SM_EXIT_OK;
}

const sm_command sm_command_plugins_new = {
    .name = "plugins new",
    .usage = "KIND NAME",
    .summary = "write the source of a new plugin, to start from",
    .about =
        "KIND is @KINDS@. "
        "Writes NAME.c, a plugin that works, and a Makefile that builds it with pkg-config and checks it.",
    .min_args = 2,
    .max_args = 2,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .options_size = sizeof(struct new_options),
    .run = cmd_plugins_new_run,
};

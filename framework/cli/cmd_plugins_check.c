/* cmd_plugins_check.c — `smalti plugins check`: drive a plugin through its options and report what does not
 * hold.
 *
 * The work is in framework/check; this file finds the plugins and prints the lines. */
#include "cmd_plugins.h"

#include <string.h>
#include <sys/resource.h>

#include "framework/formats/formats.h"

#include "framework/check/check.h"

#if defined(__SANITIZE_ADDRESS__) /* gcc */
#define SANITIZED 1
#elif defined(__has_feature) /* clang */
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

struct check_options {
  const char *options;
};

static const sm_option options[] = {
    SM_STRING(
        struct check_options, options, "options", "~",
        "options that every instance gets, as YAML, for plugins with required ones: '{path: pictures}'; of several plugins in a file each takes those that it knows"),
};

#define MODULE_MOST 64 /* plugins of one file */

typedef struct session {
  sm_cli *cli;
  sm_json json;
  int plugins, passed, failed, notes;
} session;

static void cmd_plugins_check_print_line(void *ctx, sm_check_mark mark, const char *text) {
  static const char *const marks[] = {[SM_CHECK_PASS] = "✓", [SM_CHECK_FAIL] = "✗", [SM_CHECK_NOTE] = "–"};
  static const char *const names[] = {
      [SM_CHECK_PASS] = "pass", [SM_CHECK_FAIL] = "fail", [SM_CHECK_NOTE] = "note"};
  session *s = ctx;
  if (!s->cli->json) {
    if (mark == SM_CHECK_FAIL || !s->cli->quiet) printf("  %s %s\n", marks[mark], text);
    fflush(stdout); /* some checks take seconds */
    return;
  }
  sm_json_object(&s->json, NULL);
  sm_json_string(&s->json, "mark", names[mark]);
  sm_json_string(&s->json, "text", text);
  sm_json_close(&s->json);
}

static void cmd_plugins_check_begin(session *s, const char *kind, const char *name, const char *file) {
  if (!s->cli->json) {
    printf("%s%s%s%s%s%s\n", s->plugins ? "\n" : "", kind ? kind : "", kind ? " " : "", name ? name : "",
           name ? ", " : "", file);
    return;
  }
  sm_json_object(&s->json, NULL);
  sm_json_string(&s->json, "kind", kind);
  sm_json_string(&s->json, "name", name);
  sm_json_string(&s->json, "file", file);
  sm_json_array(&s->json, "lines");
}

static void cmd_plugins_check_end(session *s) {
  s->plugins++;
  if (!s->cli->json) return;
  sm_json_close(&s->json);
  sm_json_close(&s->json);
}

static sm_status check_one(session *s, sm_registry *r, const sm_plugin *p, const char *yaml, sm_error *err) {
  const sm_check_config config = {.host = r, .options = yaml, .line = cmd_plugins_check_print_line, .ctx = s};
  sm_check_result result;
  cmd_plugins_check_begin(s, sm_kind_name((sm_kind)p->kind), p->name, sm_registry_file(r, p));
  sm_status status = sm_check_plugin(p, &config, &result, err);
  cmd_plugins_check_end(s);
  s->passed += result.passed, s->failed += result.failed, s->notes += result.notes;
  return status;
}

/* All plugins of a file, each with those options that it knows. A file that is refused is a check that
 * failed. */
static sm_status check_file(session *s, sm_registry *r, const char *file, sm_error *err) {
  const struct check_options *o = s->cli->options;
  const sm_plugin *all[MODULE_MOST];
  int n = 0;
  sm_status status = SM_OK;
  if (sm_registry_load(r, file, err) != SM_OK) {
    char text[sizeof(sm_error) + 16];
    cmd_plugins_check_begin(s, NULL, NULL, file);
    err->place[0] = 0; /* it is in the heading */
    cmd_plugins_check_print_line(s, SM_CHECK_FAIL, sm_error_text(err, text, sizeof text));
    cmd_plugins_check_end(s);
    s->failed++;
    return SM_OK;
  }
  for (int k = 0; n < MODULE_MOST && k < sm_registry_count(r); k++)
    if (strcmp(sm_registry_file(r, sm_registry_at(r, k)), file) == 0) all[n++] = sm_registry_at(r, k);
  for (int k = 0; !status && k < n; k++)
    status = check_one(s, r, all[k], sm_check_options(all, n, all[k], o->options, s->cli->arena), err);
  return status;
}

static bool cmd_plugins_check_is_file(const char *text) {
  size_t n = strlen(text);
  return n > 3 && !strcmp(text + n - 3, ".so");
}

/* An option's largest value may ask for more memory than there is. A limit makes that an error of the
 * plugin's instead of a machine that swaps; the address sanitizer's own memory would count,
 * so not with it. */
static void cmd_plugins_check_limit_memory(void) {
#ifndef SANITIZED
  const rlim_t most = (rlim_t)2 << 30;
  struct rlimit limit;
  if (getrlimit(RLIMIT_DATA, &limit) != 0 || limit.rlim_cur <= most) return;
  limit.rlim_cur = most;
  (void)setrlimit(RLIMIT_DATA, &limit); /* without it the check still works */
#endif
}

static int cmd_plugins_check_finish(session *s) {
  if (s->cli->json) {
    sm_json_close(&s->json);
    sm_json_int(&s->json, "passed", s->passed);
    sm_json_int(&s->json, "failed", s->failed);
    sm_json_int(&s->json, "notes", s->notes);
    int code = sm_cli_json(&s->json);
    if (code) return code;
  } else if (!s->cli->quiet) {
    printf("\n%d %s: %d passed, %d failed, %d not tried\n", s->plugins,
           sm_plural(s->plugins, "plugin", "plugins"), s->passed, s->failed, s->notes);
  }
  return s->failed ? SM_EXIT_NO : SM_EXIT_OK;
}

static int cmd_plugins_check_run(sm_cli *cli, int argc, char **argv) {
  sm_error err;
  sm_registry *r;
  session s = {.cli = cli};
  cmd_plugins_check_limit_memory();
  sm_status status = sm_cli_registry(cli, &r, &err);
  if (cli->json) {
    sm_json_begin(&s.json);
    sm_json_array(&s.json, "plugins");
  }
  for (int k = 1; k < argc && !status; k++) {
    if (cmd_plugins_check_is_file(argv[k])) {
      status = check_file(&s, r, argv[k], &err);
      continue;
    }
    const sm_plugin *p = sm_plugins_find(r, argv[k], &err);
    status = p ? check_one(&s, r, p, ((const struct check_options *)cli->options)->options, &err) : err.code;
  }
  int code = !status ? cmd_plugins_check_finish(&s) : sm_cli_fail(&err);
  sm_json_free(&s.json);
  return code;
}

const sm_command sm_command_plugins_check = {
    .name = "plugins check",
    .usage = "FILE.so|[KIND/]NAME ...",
    .summary = "try to break plugins: every option's ends, gradients, threads, memory",
    .about =
        "Each plugin is made with its defaults, every choice, and the smallest and largest value of each option, one at a time, and driven as training would drive it, on tiny data in double precision: "
        "gradients are compared with differences (to 1e-6), results of two runs and of 1 and 2 threads bit by bit, batches may be empty, allocations fail. "
        "Lines begin with ✓ (holds), ✗ (does not) or – (could not be tried: "
        "the plugin refused those options, or they are too large to run here). The exit code is 1 if anything does not hold.",
    .min_args = 1,
    .max_args = -1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .options_size = sizeof(struct check_options),
    .run = cmd_plugins_check_run,
};

/* cmd_plugins_check.c — `smalti plugins check`: drive a plugin through its options and report what does not
 * hold.
 *
 * The work is in framework/check; this file finds the plugins and prints the lines. Each file is loaded and
 * driven in a child process, which sends what it finds. Where a plugin ends that, the next child goes on
 * behind the part of the check that did. */
#define _GNU_SOURCE
#include "cmd_plugins.h"

#include <dlfcn.h>
#include <string.h>
#include <sys/resource.h>

#include "framework/formats/formats.h"

#include "framework/check/apart.h"
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
  double seconds;
};

static const sm_option options[] = {
    SM_STRING(
        struct check_options, options, "options", "~",
        "options that every instance gets, as YAML, for plugins with required ones: '{path: pictures}'; of several plugins in a file each takes those that it knows"),
    SM_FLOAT(struct check_options, seconds, "seconds", "60", 0.1, 1e6, "s",
             "longest time that a callback may take; one that takes longer counts as not coming back"),
};

#define MODULE_MOST 64 /* plugins of one file */
enum { CRASHES = 3 };  /* of one plugin; the rest of it is not tried */

/* What a child sends. */
enum { BEGIN, LINE, END = LINE + SM_CHECK_NOTE + 1, FAILED };

typedef struct session {
  sm_cli *cli;
  sm_json json;
  int plugins, passed, failed, notes;
  const char *given; /* file or name in work */
  sm_watch *watch;
  bool open;      /* a plugin's heading is printed */
  sm_error error; /* of the child: the check could not be done */
} session;

/* ---- printing ------------------------------------------------------------------------------------------ */

static void cmd_plugins_check_print_line(void *ctx, sm_check_mark mark, const char *text) {
  static const char *const marks[] = {[SM_CHECK_PASS] = "✓", [SM_CHECK_FAIL] = "✗", [SM_CHECK_NOTE] = "–"};
  static const char *const names[] = {
      [SM_CHECK_PASS] = "pass", [SM_CHECK_FAIL] = "fail", [SM_CHECK_NOTE] = "note"};
  session *s = ctx;
  int *count = mark == SM_CHECK_PASS ? &s->passed : mark == SM_CHECK_FAIL ? &s->failed : &s->notes;
  (*count)++;
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
  s->open = true;
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
  if (!s->open) return;
  s->open = false;
  s->plugins++;
  if (!s->cli->json) return;
  sm_json_close(&s->json);
  sm_json_close(&s->json);
}

/* ---- in the child -------------------------------------------------------------------------------------- */

typedef struct child {
  const session *s;
  int out;
} child;

static void cmd_plugins_check_send_line(void *ctx, sm_check_mark mark, const char *text) {
  sm_apart_send(((const child *)ctx)->out, LINE + (int)mark, text, strlen(text) + 1);
}

static void cmd_plugins_check_send_begin(const child *c, const char *kind, const char *name,
                                         const char *file) {
  char text[SM_APART_MOST];
  int n = snprintf(text, sizeof text, "%s%c%s%c%s", kind, 0, name, 0, file);
  sm_apart_send(c->out, BEGIN, text, (size_t)n < sizeof text ? (size_t)n + 1 : sizeof text);
}

/* The heading is there already where an earlier child was in the midst of this plugin. */
static sm_status check_one(child *c, sm_registry *r, const sm_plugin *p, const char *yaml, sm_error *err) {
  sm_watch *watch = c->s->watch;
  const sm_check_config config = {
      .host = r, .options = yaml, .line = cmd_plugins_check_send_line, .ctx = c, .watch = watch};
  if (!watch->part)
    cmd_plugins_check_send_begin(c, sm_kind_name((sm_kind)p->kind), p->name, sm_registry_file(r, p));
  sm_status status = sm_check_plugin(p, &config, err);
  sm_apart_send(c->out, END, NULL, 0);
  watch->kind[0] = watch->name[0] = 0;
  watch->part = 0;
  watch->plugin++;
  return status;
}

/* All plugins of a file, each with those options that it knows. A file that is refused is a check that
 * failed. */
static sm_status check_file(child *c, sm_registry *r, const char *file, sm_error *err) {
  const struct check_options *o = c->s->cli->options;
  const sm_plugin *all[MODULE_MOST];
  int n = 0;
  sm_status status = SM_OK;
  if (sm_registry_load(r, file, err) != SM_OK) {
    char text[sizeof(sm_error) + 16];
    cmd_plugins_check_send_begin(c, "", "", file);
    err->place[0] = 0; /* it is in the heading */
    cmd_plugins_check_send_line(c, SM_CHECK_FAIL, sm_error_text(err, text, sizeof text));
    sm_apart_send(c->out, END, NULL, 0);
    return SM_OK;
  }
  for (int k = 0; n < MODULE_MOST && k < sm_registry_count(r); k++)
    if (strcmp(sm_registry_file(r, sm_registry_at(r, k)), file) == 0) all[n++] = sm_registry_at(r, k);
  for (int k = c->s->watch->plugin; !status && k < n; k++)
    status = check_one(c, r, all[k], sm_check_options(all, n, all[k], o->options, c->s->cli->arena), err);
  return status;
}

static bool cmd_plugins_check_is_file(const char *text) {
  size_t n = strlen(text);
  return n > 3 && !strcmp(text + n - 3, ".so");
}

static void cmd_plugins_check_work(void *ctx, int out) {
  child c = {ctx, out};
  const session *s = ctx;
  sm_error err = {0};
  sm_registry *r;
  const sm_plugin *p = NULL;
  sm_status status = sm_cli_registry(s->cli, &r, &err);
  if (!status && cmd_plugins_check_is_file(s->given)) status = check_file(&c, r, s->given, &err);
  else if (!status && !(p = sm_plugins_find(r, s->given, &err))) status = err.code;
  else if (!status && !s->watch->plugin)
    status = check_one(&c, r, p, ((const struct check_options *)s->cli->options)->options, &err);
  if (status) sm_apart_send(out, FAILED, &err, sizeof err);
}

/* ---- in the parent ------------------------------------------------------------------------------------- */

static void cmd_plugins_check_message(void *ctx, int kind, const void *bytes, size_t n) {
  session *s = ctx;
  const char *text = bytes;
  if (kind == BEGIN) {
    const char *name = text + strlen(text) + 1, *file = name + strlen(name) + 1;
    cmd_plugins_check_begin(s, *text ? text : NULL, *name ? name : NULL, file);
  } else if (kind == END) {
    cmd_plugins_check_end(s);
  } else if (kind == FAILED) {
    if (n == sizeof s->error) memcpy(&s->error, bytes, n);
  } else {
    cmd_plugins_check_print_line(s, (sm_check_mark)(kind - LINE), text);
  }
}

/* A finding, of the plugin and the variant that were in work. */
static void cmd_plugins_check_fault(session *s, const char *fault) {
  const sm_watch *w = s->watch;
  char text[512];
  if (!s->open)
    cmd_plugins_check_begin(s, w->kind[0] ? w->kind : NULL, w->name[0] ? w->name : NULL, s->given);
  snprintf(text, sizeof text, "%s%s%s", w->kind[0] ? w->variant : "", w->kind[0] ? ": " : "", fault);
  cmd_plugins_check_print_line(s, SM_CHECK_FAIL, text);
}

/* Where the next child begins; false: there is nothing left of this file. */
static bool cmd_plugins_check_go_on(session *s, bool stuck, int *crashes) {
  sm_watch *w = s->watch;
  if (!w->kind[0]) { /* the file itself */
    cmd_plugins_check_end(s);
    return false;
  }
  if (w->part > 0 && !stuck && ++*crashes < CRASHES) {
    w->part++;
    w->tried = true;
  } else {
    cmd_plugins_check_print_line(s, SM_CHECK_NOTE, "the rest of this plugin is not tried");
    cmd_plugins_check_end(s);
    *crashes = 0;
    w->part = 0;
    w->plugin++;
  }
  w->kind[0] = w->name[0] = 0;
  return true;
}

static sm_status cmd_plugins_check_given(session *s, const char *given, sm_error *err) {
  const struct check_options *o = s->cli->options;
  const sm_apart apart = {cmd_plugins_check_work, cmd_plugins_check_message, s, o->seconds};
  sm_status status = SM_OK;
  char fault[256] = "";
  int crashes = 0;
  memset(s->watch, 0, sizeof *s->watch);
  s->given = given;
  do {
    bool stuck;
    status = sm_apart_run(&apart, s->watch, fault, &stuck, err);
    if (status || !fault[0]) break;
    cmd_plugins_check_fault(s, fault);
    if (!cmd_plugins_check_go_on(s, stuck, &crashes)) break;
  } while (true);
  if (status || !s->error.code) return status;
  *err = s->error;
  return err->code;
}

/* An option's largest value may ask for more memory than there is. A limit makes that an error of the
 * plugin's instead of a machine that swaps; the address sanitizer's own memory would count,
 * so not with it. */
static void cmd_plugins_check_limit_memory(void) {
#ifndef SANITIZED
  const rlim_t most = (rlim_t)2 << 30;
  struct rlimit limit;
  /* preloaded for a plugin that is built with it: their maps are larger than any limit */
  if (dlsym(RTLD_DEFAULT, "__asan_init") || dlsym(RTLD_DEFAULT, "__tsan_init")) return;
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
  session s = {.cli = cli, .watch = sm_watch_new(&err)};
  sm_status status = s.watch ? SM_OK : err.code;
  cmd_plugins_check_limit_memory();
  if (cli->json) {
    sm_json_begin(&s.json);
    sm_json_array(&s.json, "plugins");
  }
  for (int k = 1; k < argc && !status; k++) status = cmd_plugins_check_given(&s, argv[k], &err);
  int code = !status ? cmd_plugins_check_finish(&s) : sm_cli_fail(&err);
  sm_json_free(&s.json);
  sm_watch_free(s.watch);
  return code;
}

const sm_command sm_command_plugins_check = {
    .name = "plugins check",
    .usage = "FILE.so|[KIND/]NAME ...",
    .summary = "try to break plugins: every option's ends, gradients, threads, memory",
    .about =
        "Each plugin is made with its defaults, every choice, and the smallest and largest value of each option, one at a time, and driven as training would drive it, on tiny data in double precision: "
        "gradients are compared with differences (to 1e-6), results of two runs and of 1 and 2 threads bit by bit, batches may be empty, allocations fail. "
        "All of it runs in a child process: a crash, an exit and a callback that does not come back are findings like others. "
        "Lines begin with ✓ (holds), ✗ (does not) or – (could not be tried: "
        "the plugin refused those options, or they are too large to run here). The exit code is 1 if anything does not hold, and if nothing of a plugin could be tried.",
    .min_args = 1,
    .max_args = -1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .options_size = sizeof(struct check_options),
    .run = cmd_plugins_check_run,
};

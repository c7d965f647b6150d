/* iofail.c — makes chosen system calls of a program fail, or sends it a signal there, to see how it takes it.
 * For tests, by LD_PRELOAD:
 *
 *   SMALTI_IOFAIL=CALL:K:HOW[:PATH]
 *
 *     CALL  open read write pwrite fsync rename close
 *     K     the K-th such call ("3"), or that and all after it ("3+")
 *     HOW   it fails: EIO ENOSPC EINTR EDQUOT EACCES EMFILE ENFILE ENOENT ENOMEM ESTALE ETIMEDOUT; it moves half of
 *           the bytes: short; it takes 3 ms, as on a network file system: SLOW; the program gets a signal before
 *           it: KILL TERM INT USR1 HUP XCPU STOP
 *     PATH  count only calls on files with this text in their path; that of a pipe is pipe:[NUMBER]
 *
 * Only calls made through the C library's public names are seen, not those that stdio makes inside it. A
 * failing close does close, as on Linux. Nothing is printed; whether the call was reached is told by the
 * program's behaviour. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { SHORT = -1, SLOW = -2, SIGNAL = -1000 /* and below: SIGNAL - its number */ };
static const struct {
  const char *name;
  int code;
} reasons[] = {{"EIO", EIO},
               {"ENOSPC", ENOSPC},
               {"EINTR", EINTR},
               {"EDQUOT", EDQUOT},
               {"EACCES", EACCES},
               {"EMFILE", EMFILE},
               {"ENFILE", ENFILE},
               {"ENOENT", ENOENT},
               {"ENOMEM", ENOMEM},
               {"ESTALE", ESTALE},
               {"ETIMEDOUT", ETIMEDOUT},
               {"SLOW", SLOW},
               {"short", SHORT},
               {"KILL", SIGNAL - SIGKILL},
               {"INT", SIGNAL - SIGINT},
               {"TERM", SIGNAL - SIGTERM},
               {"USR1", SIGNAL - SIGUSR1},
               {"HUP", SIGNAL - SIGHUP},
               {"XCPU", SIGNAL - SIGXCPU},
               {"STOP", SIGNAL - SIGSTOP}};

static struct {
  char call[16], path[256];
  long k;
  bool onwards;
  int code; /* errno, or one of the above */
} plan;
static _Atomic long seen;

__attribute__((constructor)) static void read_plan(void) {
  char text[512], *rest = text;
  const char *spec = getenv("SMALTI_IOFAIL");
  if (!spec || strlen(spec) >= sizeof text) return;
  strcpy(text, spec);
  const char *call = strsep(&rest, ":"), *k = strsep(&rest, ":"), *how = strsep(&rest, ":");
  if (!call || !k || !how) return;
  for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
    if (strcmp(how, reasons[i].name) == 0) plan.code = reasons[i].code;
  snprintf(plan.call, sizeof plan.call, "%s", call);
  snprintf(plan.path, sizeof plan.path, "%s", rest ? rest : "");
  plan.k = strtol(k, NULL, 10);
  plan.onwards = k[strlen(k) - 1] == '+';
}

/* 0: let it be; else what is to happen. */
static int verdict(const char *call, const char *path) {
  if (plan.code == 0 || strcmp(call, plan.call) != 0 || !strstr(path, plan.path)) return 0;
  long n = atomic_fetch_add(&seen, 1) + 1;
  if (n != plan.k && !(plan.onwards && n > plan.k)) return 0;
  if (plan.code == SLOW) return usleep(3000), 0;
  if (plan.code > SIGNAL) return plan.code;
  raise(SIGNAL - plan.code);
  return 0;
}

static int verdict_fd(const char *call, int fd) {
  char link[64], path[4096];
  if (plan.code == 0 || strcmp(call, plan.call) != 0) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  path[n > 0 ? n : 0] = 0;
  return verdict(call, path);
}

static void *real(const char *name) {
  void *found = dlsym(RTLD_NEXT, name);
  if (!found) abort();
  return found;
}

static int fail(int code) {
  errno = code;
  return -1;
}

ssize_t read(int fd, void *to, size_t n) {
  int code = verdict_fd("read", fd);
  if (code > 0) return fail(code);
  ssize_t (*next)(int, void *, size_t) = real("read");
  return next(fd, to, code < 0 && n > 1 ? n / 2 : n);
}

ssize_t write(int fd, const void *from, size_t n) {
  int code = verdict_fd("write", fd);
  if (code > 0) return fail(code);
  ssize_t (*next)(int, const void *, size_t) = real("write");
  return next(fd, from, code < 0 && n > 1 ? n / 2 : n);
}

ssize_t pwrite(int fd, const void *from, size_t n, off_t at) {
  int code = verdict_fd("pwrite", fd);
  if (code > 0) return fail(code);
  ssize_t (*next)(int, const void *, size_t, off_t) = real("pwrite");
  return next(fd, from, code < 0 && n > 1 ? n / 2 : n, at);
}

int fsync(int fd) {
  int code = verdict_fd("fsync", fd);
  if (code > 0) return fail(code);
  int (*next)(int) = real("fsync");
  return next(fd);
}

int close(int fd) {
  int code = verdict_fd("close", fd);
  int (*next)(int) = real("close");
  int result = next(fd);
  return code > 0 ? fail(code) : result;
}

int rename(const char *from, const char *to) {
  int code = verdict("rename", to);
  if (code > 0) return fail(code);
  int (*next)(const char *, const char *) = real("rename");
  return next(from, to);
}

static int open_by(const char *name, const char *path, int flags, mode_t mode) {
  int code = verdict("open", path);
  if (code > 0) return fail(code);
  int (*next)(const char *, int, ...) = real(name);
  return next(path, flags, mode);
}

int open(const char *path, int flags, ...) {
  va_list args;
  va_start(args, flags);
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
  va_end(args);
  return open_by("open", path, flags, mode);
}

#ifndef open64 /* where large files are not the default, open64 is another function */
int open64(const char *path, int flags, ...) {
  va_list args;
  va_start(args, flags);
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
  va_end(args);
  return open_by("open64", path, flags, mode);
}
#endif

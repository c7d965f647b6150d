/* iofail.c — makes chosen calls of a program fail, or sends it a signal there, to see how it takes it. For
 * tests, by LD_PRELOAD:
 *
 *   SMALTI_IOFAIL=CALL:K:HOW[:PATH]
 *
 *     CALL  open read write pwrite fsync rename close; pread ftruncate fstat flock lseek; stat access mkdir
 *           rmdir unlink opendir readdir fopen realpath utime; mmap pthread_create fork pipe; with each its
 *           relatives (openat, lstat, scandir …). alloc: malloc, calloc, realloc and their aligned relatives,
 *           of the program and of every library in it
 *     K     the K-th such call ("3"), or that and all after it ("3+")
 *     HOW   it fails: EIO ENOSPC and others, below; it moves half of the bytes: short (read, write, pread,
 *           pwrite); it takes 3 ms, as on a network file system: SLOW; the program gets a signal before it: KILL
 *           TERM INT HUP USR1 XCPU STOP
 *     PATH  count only calls on files with this text in their path; that of a pipe is pipe:[NUMBER]
 *
 *   SMALTI_IOFAIL_LOG=FILE
 *
 *     gets a line "CALL PATH" for each call, in their order; with SMALTI_IOFAIL, only for calls that failed
 *     or got a signal: no line says that K was not reached
 *
 * Parent and children count together. Only calls made through the C library's public names are seen, not
 * those that stdio makes inside it. A failing close does close, as on Linux. In a build with sanitizers,
 * which have an allocator of their own, alloc counts nothing. Nothing is printed. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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
               {"EPERM", EPERM},
               {"EROFS", EROFS},
               {"EMFILE", EMFILE},
               {"ENFILE", ENFILE},
               {"ENOENT", ENOENT},
               {"ENOMEM", ENOMEM},
               {"EAGAIN", EAGAIN},
               {"ESTALE", ESTALE},
               {"ETIMEDOUT", ETIMEDOUT},
               {"SLOW", SLOW},
               {"short", SHORT},
               {"KILL", SIGNAL - SIGKILL},
               {"INT", SIGNAL - SIGINT},
               {"TERM", SIGNAL - SIGTERM},
               {"HUP", SIGNAL - SIGHUP},
               {"USR1", SIGNAL - SIGUSR1},
               {"XCPU", SIGNAL - SIGXCPU},
               {"STOP", SIGNAL - SIGSTOP}};

static struct {
  char call[16], path[256];
  long k;
  bool onwards;
  int code; /* errno, or one of the above; 0: nothing fails */
} plan;
static int log_fd = -1;
static _Atomic long own_count, *seen = &own_count; /* the page that parent and children share */

static void read_plan(const char *spec) {
  char text[512], *rest = text;
  if (!spec || strlen(spec) >= sizeof text) return;
  strcpy(text, spec);
  const char *call = strsep(&rest, ":"), *k = strsep(&rest, ":"), *how = strsep(&rest, ":");
  if (!call || !k || !how) return;
  snprintf(plan.call, sizeof plan.call, "%s", call);
  snprintf(plan.path, sizeof plan.path, "%s", rest ? rest : "");
  plan.k = strtol(k, NULL, 10);
  plan.onwards = k[strlen(k) - 1] == '+';
  for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
    if (strcmp(how, reasons[i].name) == 0) plan.code = reasons[i].code;
}

__attribute__((constructor)) static void begin(void) {
  const char *log = getenv("SMALTI_IOFAIL_LOG");
  const long prot = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_ANONYMOUS;
  long page = syscall(SYS_mmap, NULL, sizeof own_count, prot, flags, -1, 0);
  if (page != -1) seen = (_Atomic long *)page;
  long fd = log ? syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
  /* out of the way: the program's descriptors stay the same */
  if (fd >= 0) log_fd = fcntl((int)fd, F_DUPFD_CLOEXEC, 500);
  if (fd >= 0) syscall(SYS_close, fd);
  read_plan(getenv("SMALTI_IOFAIL"));
}

static void tell(const char *call, const char *path) {
  char line[4200];
  int n = snprintf(line, sizeof line, "%s %s\n", call, path);
  if (log_fd >= 0) syscall(SYS_write, log_fd, line, n < (int)sizeof line ? n : (int)sizeof line - 1);
}

static bool concerns(const char *call) { return plan.code == 0 ? log_fd >= 0 : strcmp(call, plan.call) == 0; }

/* 0: let it be; else what is to happen. Allocates nothing. */
static int verdict(const char *call, const char *path) {
  if (!concerns(call)) return 0;
  int was = errno;
  if (plan.code == 0) tell(call, path);
  errno = was;
  if (plan.code == 0 || !strstr(path, plan.path)) return 0;
  long n = atomic_fetch_add(seen, 1) + 1;
  if (n != plan.k && !(plan.onwards && n > plan.k)) return 0;
  if (plan.code == SLOW) return usleep(3000), 0;
  tell(call, path);
  errno = was;
  if (plan.code > SIGNAL) return plan.code;
  raise(SIGNAL - plan.code);
  return 0;
}

static int verdict_fd(const char *call, int fd) {
  char link[64], path[4096];
  if (!concerns(call)) return 0;
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

/* ---- on descriptors ------------------------------------------------------------------------------------ */

/* What moves bytes: fails, or moves half of them. */
#define MOVES(name, pointer, more, pass)                        \
  ssize_t name(int fd, pointer bytes, size_t n more) {          \
    int code = verdict_fd(#name, fd);                           \
    if (code > 0) return fail(code);                            \
    ssize_t (*next)(int, pointer, size_t more) = real(#name);   \
    return next(fd, bytes, code < 0 && n > 1 ? n / 2 : n pass); \
  }
#define NOTHING
#define COMMA_OFFSET , off_t at
#define COMMA_AT , at
MOVES(read, void *, NOTHING, NOTHING)
MOVES(write, const void *, NOTHING, NOTHING)
MOVES(pread, void *, COMMA_OFFSET, COMMA_AT)
MOVES(pwrite, const void *, COMMA_OFFSET, COMMA_AT)

int fsync(int fd) {
  int code = verdict_fd("fsync", fd);
  int (*next)(int) = real("fsync");
  return code > 0 ? fail(code) : next(fd);
}

int ftruncate(int fd, off_t size) {
  int code = verdict_fd("ftruncate", fd);
  int (*next)(int, off_t) = real("ftruncate");
  return code > 0 ? fail(code) : next(fd, size);
}

off_t lseek(int fd, off_t at, int from) {
  int code = verdict_fd("lseek", fd);
  off_t (*next)(int, off_t, int) = real("lseek");
  return code > 0 ? fail(code) : next(fd, at, from);
}

int futimens(int fd, const struct timespec times[2]) {
  int code = verdict_fd("utime", fd);
  int (*next)(int, const struct timespec[2]) = real("futimens");
  return code > 0 ? fail(code) : next(fd, times);
}

int fstat(int fd, struct stat *to) {
  int code = verdict_fd("fstat", fd);
  int (*next)(int, struct stat *) = real("fstat");
  return code > 0 ? fail(code) : next(fd, to);
}

int flock(int fd, int how) {
  int code = verdict_fd("flock", fd);
  int (*next)(int, int) = real("flock");
  return code > 0 ? fail(code) : next(fd, how);
}

int close(int fd) {
  int code = verdict_fd("close", fd);
  int (*next)(int) = real("close");
  int result = next(fd);
  return code > 0 ? fail(code) : result;
}

void *mmap(void *where, size_t size, int prot, int flags, int fd, off_t at) {
  int code = fd < 0 ? verdict("mmap", "") : verdict_fd("mmap", fd);
  void *(*next)(void *, size_t, int, int, int, off_t) = real("mmap");
  if (code <= 0) return next(where, size, prot, flags, fd, at);
  errno = code;
  return MAP_FAILED;
}

/* ---- on paths ------------------------------------------------------------------------------------------ */

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

int openat(int folder, const char *path, int flags, ...) {
  va_list args;
  va_start(args, flags);
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
  va_end(args);
  int code = verdict("open", path);
  int (*next)(int, const char *, int, ...) = real("openat");
  return code > 0 ? fail(code) : next(folder, path, flags, mode);
}

int utimensat(int folder, const char *path, const struct timespec times[2], int flags) {
  int code = verdict("utime", path);
  int (*next)(int, const char *, const struct timespec[2], int) = real("utimensat");
  return code > 0 ? fail(code) : next(folder, path, times, flags);
}

int rename(const char *from, const char *to) {
  int code = verdict("rename", to);
  int (*next)(const char *, const char *) = real("rename");
  return code > 0 ? fail(code) : next(from, to);
}

int mkdir(const char *path, mode_t mode) {
  int code = verdict("mkdir", path);
  int (*next)(const char *, mode_t) = real("mkdir");
  return code > 0 ? fail(code) : next(path, mode);
}

int access(const char *path, int mode) {
  int code = verdict("access", path);
  int (*next)(const char *, int) = real("access");
  return code > 0 ? fail(code) : next(path, mode);
}

int unlink(const char *path) {
  int code = verdict("unlink", path);
  int (*next)(const char *) = real("unlink");
  return code > 0 ? fail(code) : next(path);
}

int unlinkat(int folder, const char *path, int flags) {
  int code = verdict("unlink", path);
  int (*next)(int, const char *, int) = real("unlinkat");
  return code > 0 ? fail(code) : next(folder, path, flags);
}

int rmdir(const char *path) {
  int code = verdict("rmdir", path);
  int (*next)(const char *) = real("rmdir");
  return code > 0 ? fail(code) : next(path);
}

int stat(const char *path, struct stat *to) {
  int code = verdict("stat", path);
  int (*next)(const char *, struct stat *) = real("stat");
  return code > 0 ? fail(code) : next(path, to);
}

int lstat(const char *path, struct stat *to) {
  int code = verdict("stat", path);
  int (*next)(const char *, struct stat *) = real("lstat");
  return code > 0 ? fail(code) : next(path, to);
}

char *realpath(const char *path, char *to) {
  int code = verdict("realpath", path);
  char *(*next)(const char *, char *) = real("realpath");
  if (code <= 0) return next(path, to);
  errno = code;
  return NULL;
}

FILE *fopen(const char *path, const char *mode) {
  int code = verdict("fopen", path);
  FILE *(*next)(const char *, const char *) = real("fopen");
  if (code <= 0) return next(path, mode);
  errno = code;
  return NULL;
}

DIR *opendir(const char *path) {
  int code = verdict("opendir", path);
  DIR *(*next)(const char *) = real("opendir");
  if (code <= 0) return next(path);
  errno = code;
  return NULL;
}

DIR *fdopendir(int fd) {
  int code = verdict_fd("opendir", fd);
  DIR *(*next)(int) = real("fdopendir");
  if (code <= 0) return next(fd);
  errno = code;
  return NULL;
}

int scandir(const char *path, struct dirent ***list, int (*wanted)(const struct dirent *),
            int (*order)(const struct dirent **, const struct dirent **)) {
  int code = verdict("opendir", path);
  int (*next)(const char *, struct dirent ***, int (*)(const struct dirent *),
              int (*)(const struct dirent **, const struct dirent **)) = real("scandir");
  return code > 0 ? fail(code) : next(path, list, wanted, order);
}

struct dirent *readdir(DIR *folder) {
  int code = verdict_fd("readdir", dirfd(folder));
  struct dirent *(*next)(DIR *) = real("readdir");
  if (code <= 0) return next(folder);
  errno = code;
  return NULL;
}

/* ---- processes and threads ----------------------------------------------------------------------------- */

pid_t fork(void) {
  int code = verdict("fork", "");
  pid_t (*next)(void) = real("fork");
  return code > 0 ? fail(code) : next();
}

int pipe(int end[2]) {
  int code = verdict("pipe", "");
  int (*next)(int[2]) = real("pipe");
  return code > 0 ? fail(code) : next(end);
}

int pipe2(int end[2], int flags) {
  int code = verdict("pipe", "");
  int (*next)(int[2], int) = real("pipe2");
  return code > 0 ? fail(code) : next(end, flags);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *of) {
  int code = verdict("pthread_create", "");
  int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = real("pthread_create");
  return code > 0 ? code : next(thread, attributes, run, of);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

#if defined(__GLIBC__) && !defined(SM_SANITIZED)
/* By glibc's second names: dlsym, which the others use, may itself allocate. */
void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

static bool no_memory(void) {
  if (verdict("alloc", "") <= 0) return false;
  errno = ENOMEM;
  return true;
}

void *malloc(size_t size) { return no_memory() ? NULL : __libc_malloc(size); }
void *calloc(size_t n, size_t size) { return no_memory() ? NULL : __libc_calloc(n, size); }
void *realloc(void *old, size_t size) { return no_memory() ? NULL : __libc_realloc(old, size); }
void *aligned_alloc(size_t border, size_t size) { return no_memory() ? NULL : __libc_memalign(border, size); }
void *memalign(size_t border, size_t size);
void *memalign(size_t border, size_t size) { return no_memory() ? NULL : __libc_memalign(border, size); }

int posix_memalign(void **to, size_t border, size_t size) {
  void *got = no_memory() ? NULL : __libc_memalign(border, size);
  if (got) *to = got;
  return got ? 0 : ENOMEM;
}
#endif

/* replay.c — the main of a fuzz target without libFuzzer: each file of the corpus goes through the target
 * once, in a process of its own with limits, so that a crash, a hang or a claim of much memory is one
 * failure with the file's name.
 *
 *   tests/fuzz/fuzz_NAME [FILE or FOLDER …]     by default $SMALTI_SRCDIR/tests/fuzz/corpus/NAME */
#include "fuzz.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* For inputs of a few KiB, with sanitizers on a busy machine: processor seconds, wall seconds, bytes of one
 * allocation and of the process. */
enum { REPLAY_CPU = 20, REPLAY_WALL = 120 };
#define REPLAY_ALLOCATION ((size_t)256 << 20)
#define REPLAY_RESIDENT_KIB (1L << 20)

#ifdef __has_feature
#define REPLAY_FEATURE(name) __has_feature(name)
#else
#define REPLAY_FEATURE(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || REPLAY_FEATURE(address_sanitizer) || \
    REPLAY_FEATURE(thread_sanitizer)
enum { REPLAY_SANITIZED = 1 };
/* The sanitizer's own allocator has the limit, from the environment that the process starts with. */
static void replay_limit_allocations(char **argv) {
  static const char *const variable[] = {"ASAN_OPTIONS", "TSAN_OPTIONS"};
  char options[4096];
  if (getenv("SMALTI_REPLAY")) return;
  setenv("SMALTI_REPLAY", "1", 1);
  for (int i = 0; i < 2; i++) {
    const char *old = getenv(variable[i]);
    snprintf(options, sizeof options, "%s:allocator_may_return_null=0:max_allocation_size_mb=%zu",
             old ? old : "", REPLAY_ALLOCATION >> 20);
    setenv(variable[i], options, 1);
  }
  execv("/proc/self/exe", argv);
}
#else
enum { REPLAY_SANITIZED = 0 };
static void replay_limit_allocations(char **argv) { (void)argv; }
#ifdef __GLIBC__
/* Over the C library's: an allocation above the limit is a finding, though the system might grant it. */
void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
static size_t replay_size(size_t n, size_t size) {
  size_t bytes;
  FUZZ_MUST(!__builtin_mul_overflow(n, size, &bytes) && bytes <= REPLAY_ALLOCATION);
  return bytes;
}
void *malloc(size_t bytes) { return __libc_malloc(replay_size(1, bytes)); }
void *calloc(size_t n, size_t size) { return replay_size(n, size), __libc_calloc(n, size); }
void *realloc(void *old, size_t bytes) { return __libc_realloc(old, replay_size(1, bytes)); }
#endif
#endif

static int inputs, failures;

/* In the child: the target on one input. Exits, since leaks are looked for at the end of a process. */
static _Noreturn void replay_one(const char *file) {
  struct rlimit cpu = {REPLAY_CPU, REPLAY_CPU + 1};
  struct stat about;
  FILE *f = fopen(file, "rb");
  FUZZ_MUST(f && fstat(fileno(f), &about) == 0);
  size_t size = (size_t)about.st_size;
  uint8_t *data = malloc(size ? size : 1); /* exactly as long as the input: reading on is found */
  FUZZ_MUST(data && fread(data, 1, size, f) == size);
  fclose(f);
  setrlimit(RLIMIT_CPU, &cpu);
  alarm(REPLAY_WALL);
  LLVMFuzzerTestOneInput(data, size);
  free(data);
  exit(0);
}

static void replay_file(const char *file) {
  struct rusage used;
  int how;
  fflush(NULL);
  pid_t child = fork();
  FUZZ_MUST(child >= 0);
  if (child == 0) replay_one(file);
  FUZZ_MUST(wait4(child, &how, 0, &used) == child);
  inputs++;
  const char *what = NULL;
  if (WIFSIGNALED(how) && (WTERMSIG(how) == SIGXCPU || WTERMSIG(how) == SIGALRM)) what = "it does not end";
  else if (WIFSIGNALED(how)) what = strsignal(WTERMSIG(how));
  else if (WEXITSTATUS(how)) what = "it exits with an error";
  else if (!REPLAY_SANITIZED && used.ru_maxrss > REPLAY_RESIDENT_KIB)
    what = "it takes more than 1 GiB of memory";
  if (!what) return;
  failures++;
  fprintf(stderr, "FAIL: %s: %s\n", file, what);
}

static int replay_visible(const struct dirent *entry) { return entry->d_name[0] != '.'; }

static void replay(const char *path) {
  struct dirent **entry;
  struct stat about;
  char file[4096];
  if (stat(path, &about) == 0 && !S_ISDIR(about.st_mode)) return replay_file(path), (void)0;
  int n = scandir(path, &entry, replay_visible, alphasort);
  if (n < 0) failures++, perror(path);
  for (int i = 0; i < n; i++) {
    snprintf(file, sizeof file, "%s/%s", path, entry[i]->d_name);
    replay_file(file);
    free(entry[i]);
  }
  if (n >= 0) free(entry);
}

int main(int argc, char **argv) {
  replay_limit_allocations(argv);
  LLVMFuzzerInitialize(&argc, &argv);
  fuzz_folder(); /* before the children, which share it one after another */
  const char *tree = getenv("SMALTI_SRCDIR"), *name = strstr(argv[0], "fuzz_");
  for (const char *next = name; next; next = strstr(next + 1, "fuzz_")) name = next;
  char corpus[4096];
  snprintf(corpus, sizeof corpus, "%s/tests/fuzz/corpus/%s", tree ? tree : ".", name ? name + 5 : "");
  if (argc < 2) replay(corpus);
  for (int i = 1; i < argc; i++) replay(argv[i]);
  printf("%d inputs, %d failures\n", inputs, failures);
  return failures > 0 || inputs == 0;
}

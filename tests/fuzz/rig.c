/* rig.c — see fuzz.h. Owns the folder and the registry. */
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <smalti/base.h>

static char folder[256];
static pid_t folder_owner;
static sm_registry *registry;

_Noreturn void fuzz_broken(const char *file, int line, const char *rule) {
  fprintf(stderr, "%s:%d: broken: %s\n", file, line, rule);
  abort();
}

static void rig_end(void) { /* a child that replays one input leaves the folder to its parent */
  if (getpid() != folder_owner) return;
  if (*folder) sm_remove_tree(folder, NULL);
  sm_registry_free(registry);
  registry = NULL;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  sm_log_to(NULL, NULL); /* a warning for each damaged file would be most of the output */
  folder_owner = getpid();
  atexit(rig_end);
  return 0;
}

const char *fuzz_folder(void) {
  if (*folder) return folder;
  const char *base = getenv("TMPDIR");
  if (!base && access("/dev/shm", W_OK) == 0) base = "/dev/shm";
  snprintf(folder, sizeof folder, "%s/smalti-fuzz-XXXXXX", base ? base : "/tmp");
  FUZZ_MUST(mkdtemp(folder));
  return folder;
}

const char *fuzz_path(const char *name) {
  static char path[8][600];
  static int turn;
  turn = (turn + 1) % 8;
  snprintf(path[turn], sizeof path[turn], "%s/%s", fuzz_folder(), name);
  return path[turn];
}

const char *fuzz_file(const char *name, const void *data, size_t size) {
  const char *path = fuzz_path(name);
  unlink(path);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  FUZZ_MUST(fd >= 0 && write(fd, data, size) == (ssize_t)size);
  close(fd);
  return path;
}

/* Which of the names the line at `at` begins, or -1. */
static int rig_heading(const char *at, const char *end, const char *const *name) {
  static const char sign[] = "=== ";
  const size_t n = sizeof sign - 1;
  const char *stop = memchr(at, '\n', (size_t)(end - at));
  size_t line = (size_t)((stop ? stop : end) - at);
  if (line <= n || memcmp(at, sign, n) != 0) return -1;
  for (int i = 0; name[i]; i++)
    if (strlen(name[i]) == line - n && memcmp(at + n, name[i], line - n) == 0) return i;
  return -1;
}

void fuzz_files(const uint8_t *data, size_t size, const char *const *name) {
  const char *at = (const char *)data, *end = at + size, *begin = at;
  int now = 0;
  for (int i = 0; name[i]; i++) unlink(fuzz_path(name[i]));
  if (size == 0) return;
  while (at < end) {
    const char *stop = memchr(at, '\n', (size_t)(end - at)), *next = stop ? stop + 1 : end;
    int heading = rig_heading(at, end, name);
    if (heading >= 0) {
      if (at > begin || now > 0) fuzz_file(name[now], begin, (size_t)(at - begin));
      now = heading, begin = next;
    }
    at = next;
  }
  fuzz_file(name[now], begin, (size_t)(end - begin));
}

void fuzz_touch(const void *data, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) (void)((const volatile uint8_t *)data)[i];
}

sm_registry *fuzz_registry(void) {
  sm_error err = {0};
  if (registry) return registry;
  registry = sm_registry_new(NULL, &err);
  FUZZ_MUST(registry && sm_registry_scan(registry, &err) == SM_OK && sm_registry_count(registry) > 0);
  return registry;
}

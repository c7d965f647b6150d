/* mapped.c — see mapped.h. The table of mappings is global, since a signal handler can reach nothing else; it is
 * read without a lock. Mappings beyond its room are not guarded. */
#include <config.h>

#include "mapped.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "io.h"

enum { MOST = 64 };
static const int64_t each_wait = 100000000, patience = INT64_C(5000000000); /* ns */

typedef struct mapping {
  _Atomic uintptr_t begin; /* 0: the place is free */
  _Atomic size_t bytes;
  const char *_Atomic path;
  _Atomic int64_t since, last; /* ns: first and last fault of those that came close together */
  _Atomic bool lost;
} mapping;

static mapping table[MOST];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* for taking a place, and for the handler */
static struct sigaction handler_before;
static uintptr_t page_bytes;

/* ---- in the signal handler ------------------------------------------------------------------------------- */

static mapping *mapped_find(uintptr_t at) {
  for (int i = 0; i < MOST; i++) {
    const uintptr_t begin = atomic_load(&table[i].begin);
    if (begin && at >= begin && at - begin < atomic_load(&table[i].bytes)) return &table[i];
  }
  return NULL;
}

/* Is there hope that the fault passes? Faults that come one after the other belong together. */
static bool mapped_wait(mapping *m) {
  struct timespec now;
  if (atomic_load(&m->lost) || clock_gettime(CLOCK_MONOTONIC, &now) != 0) return false;
  const int64_t ns = now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
  if (ns - atomic_exchange(&m->last, ns) > 10 * each_wait) atomic_store(&m->since, ns);
  if (ns - atomic_load(&m->since) > patience) return false;
  nanosleep(&(struct timespec){.tv_nsec = each_wait}, NULL);
  return true;
}

static void mapped_on_fault(int number, siginfo_t *info, void *context) {
  (void)context;
  const int code = errno;
  const uintptr_t at = (uintptr_t)info->si_addr;
  mapping *m = mapped_find(at);
  bool answered = m && mapped_wait(m);
  if (m && !answered) {
    void *page = (void *)(at / page_bytes * page_bytes); /* NOLINT(performance-no-int-to-ptr) */
    atomic_store(&m->lost, true);
    answered =
        mmap(page, page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
  }
  if (!answered) sigaction(number, &handler_before, NULL); /* the access comes again and goes the usual way */
  errno = code;
}

/* ---- outside of it --------------------------------------------------------------------------------------- */

/* With each mapping, in case that somebody else took the signal over meanwhile. */
static void mapped_install(void) {
  struct sigaction action, now;
  if (sigaction(SIGBUS, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) &&
      now.sa_sigaction == mapped_on_fault)
    return;
  page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
  memset(&action, 0, sizeof action);
  action.sa_sigaction = mapped_on_fault;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, &handler_before);
}

static void mapped_guard(const void *map, size_t bytes, const char *path) {
  pthread_mutex_lock(&lock);
  mapped_install();
  for (int i = 0; i < MOST; i++) {
    mapping *m = &table[i];
    if (atomic_load(&m->begin)) continue;
    atomic_store(&m->bytes, bytes);
    atomic_store(&m->path, path);
    atomic_store(&m->lost, false);
    atomic_store(&m->last, INT64_MIN / 2);
    atomic_store(&m->begin, (uintptr_t)map);
    break;
  }
  pthread_mutex_unlock(&lock);
}

const void *sm_mapped_new(int fd, size_t bytes, const char *path, sm_error *err) {
  void *map = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
  if (map == MAP_FAILED) {
    sm_fail_errno(err, errno, "map", path);
    if (err && err->code == SM_ENOMEM) err->code = SM_EIO;
    return NULL;
  }
  mapped_guard(map, bytes, path);
  return map;
}

void sm_mapped_free(const void *map, size_t bytes) {
  if (!map) return;
  mapping *m = mapped_find((uintptr_t)map);
  if (m) atomic_store(&m->begin, 0);
  munmap((void *)(uintptr_t)map, bytes);
}

sm_status sm_mapped_check(const void *map, sm_error *err) {
  for (int i = 0; i < MOST; i++) {
    const uintptr_t begin = atomic_load(&table[i].begin);
    if (!begin || (map && begin != (uintptr_t)map) || !atomic_load(&table[i].lost)) continue;
    sm_fail(err, SM_EIO, "the file was cut short, or its disk failed, while it was in use");
    sm_fail_at(err, atomic_load(&table[i].path), 0, 0);
    return sm_hint(err,
                   "put the whole file back under another name and rename it to this one; "
                   "a file in use must not be written to");
  }
  return SM_OK;
}

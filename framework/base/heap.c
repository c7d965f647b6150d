/* heap.c — allocation with a failure injector, and large aligned blocks.
 *
 * A size of 0 gives a valid pointer, so NULL always means that memory ran out. SMALTI_FAIL_ALLOC=k makes the
 * k-th allocation of the process fail; without it (and without sm_heap_fail_at) the
 * injector costs one load. */
#include <config.h>

#include <smalti/base.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#ifdef HAVE_SYS_MMAN_H
#include <sys/mman.h>
#endif

#include "heap.h"

static pthread_once_t injector_once = PTHREAD_ONCE_INIT;
static _Atomic int64_t fail_at; /* 0: off */
static _Atomic int64_t calls;

static void heap_read_environment(void) {
  const char *text = getenv("SMALTI_FAIL_ALLOC");
  int64_t k;
  if (text && sm_parse_int(text, &k) && k > 0) atomic_store(&fail_at, k);
}

void sm_heap_fail_at(int64_t k) {
  pthread_once(&injector_once, heap_read_environment);
  atomic_store(&calls, 0);
  atomic_store(&fail_at, k);
}

int64_t sm_heap_calls(void) { return atomic_load(&calls); }

static bool heap_injected(void) {
  pthread_once(&injector_once, heap_read_environment);
  int64_t k = atomic_load_explicit(&fail_at, memory_order_relaxed);
  return k != 0 && atomic_fetch_add(&calls, 1) + 1 == k;
}

void *sm_malloc(size_t bytes) { return heap_injected() ? NULL : malloc(bytes ? bytes : 1); }

void *sm_calloc(size_t n, size_t bytes) {
  if (heap_injected()) return NULL;
  return n && bytes ? calloc(n, bytes) : calloc(1, 1);
}

void *sm_realloc(void *old, size_t bytes) { return heap_injected() ? NULL : realloc(old, bytes ? bytes : 1); }

char *sm_strdup(const char *text) {
  size_t n = strlen(text) + 1;
  char *copy = sm_malloc(n);
  return copy ? memcpy(copy, text, n) : NULL;
}

void sm_free(void *block) { free(block); }

/* The block is taken from calloc, which hands out big ones as untouched zero pages: memory that is never used
 * is never paid for. The pointer that free wants stands just below the border. */
void *sm_aligned_alloc(size_t bytes) {
  const size_t huge = (size_t)2 << 20;
  size_t border = bytes >= 2 * huge ? huge : 64;
  if (heap_injected() || bytes > SIZE_MAX - border - sizeof(void *)) return NULL;
  char *raw = calloc(1, bytes + border + sizeof(void *));
  if (!raw) return NULL;
  uintptr_t start = ((uintptr_t)raw + sizeof(void *) + border - 1) / border * border;
  char *block = raw + (start - (uintptr_t)raw);
  memcpy(block - sizeof(void *), &raw, sizeof raw);
#if defined(HAVE_MADVISE) && HAVE_DECL_MADV_HUGEPAGE
  if (border == huge)
    (void)madvise(block, bytes / huge * huge, MADV_HUGEPAGE); /* only advice: failing is fine */
#endif
  return block;
}

void sm_aligned_free(void *block) {
  if (!block) return;
  void *raw;
  memcpy(&raw, (char *)block - sizeof(void *), sizeof raw);
  free(raw);
}

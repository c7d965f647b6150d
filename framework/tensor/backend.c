/* framework/tensor/backend.c — the table of back ends: both run on the host's processors, in its memory, and
 * differ in their kernels alone. */
#include "backend.h"

#include <string.h>
#include <sys/mman.h>

static void backend_cpu_write(void *to, const void *host, size_t bytes) { memcpy(to, host, bytes); }
static void backend_cpu_read(const void *from, void *host, size_t bytes) { memcpy(host, from, bytes); }
static void backend_cpu_clear(void *at, size_t bytes) { memset(at, 0, bytes); }

/* Address space only: planning a network that would not fit costs nothing. */
static void *backend_cpu_reserve(size_t bytes) {
  void *block = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return block == MAP_FAILED ? NULL : block;
}
static bool backend_cpu_commit(void *block, size_t bytes) {
  if (mprotect(block, bytes, PROT_READ | PROT_WRITE) != 0) return false;
#ifdef MADV_HUGEPAGE
  (void)madvise(block, bytes, MADV_HUGEPAGE); /* only advice: failing is fine */
#endif
  return true;
}
static void backend_cpu_release(void *block, size_t bytes) { munmap(block, bytes); }

static const sm_kernel_table *backend_cpu_kernels(sm_dtype real, const char *isa) {
  return sm_kernels_find(SM_CPU, real, isa);
}
static const sm_kernel_table *backend_plain_kernels(sm_dtype real, const char *isa) {
  return sm_kernels_find(SM_PLAIN, real, isa);
}

/* clang-format off */
#define ON_THE_HOST \
  .allocate = sm_aligned_alloc, .free = sm_aligned_free, \
  .write = backend_cpu_write, .read = backend_cpu_read, .clear = backend_cpu_clear, \
  .reserve = backend_cpu_reserve, .commit = backend_cpu_commit, .release = backend_cpu_release, \
  .groups = true, .worker_local = true, .in_place = true, \
  .run = sm_exec_run, .find_nonfinite = sm_exec_find_nonfinite
/* clang-format on */

static const sm_backend backends[SM_DEVICE_COUNT] = {
    [SM_CPU] = {.name = "the CPU back end", .kernels = backend_cpu_kernels, .narrow = true, ON_THE_HOST},
    [SM_PLAIN] = {.name = "the plain back end", .kernels = backend_plain_kernels, ON_THE_HOST},
};

const sm_backend *sm_backend_of(sm_device device) {
  return (unsigned)device < SM_DEVICE_COUNT ? &backends[device] : NULL;
}
const sm_sweeps *sm_backend_sweeps(const sm_backend *b, sm_dtype real, const sm_pool *pool) {
  return b->kernels(real, b == &backends[SM_CPU] ? sm_pool_isa(pool) : NULL)->sweeps;
}
const sm_sweeps *sm_host_sweeps(sm_dtype real, const sm_pool *pool) {
  return sm_backend_sweeps(&backends[SM_CPU], real, pool);
}
bool sm_host_any_cut(sm_dtype real, const sm_pool *pool) {
  return backends[SM_CPU].kernels(real, sm_pool_isa(pool))->any_cut;
}

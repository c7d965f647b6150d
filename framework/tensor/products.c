/* framework/tensor/products.c — what matrix products need to know before the first of them runs. */
#include <config.h>

#include <cblas.h>
#include <stdatomic.h>
#include <unistd.h>

#include "kernels.h"

_Atomic int64_t sm_rows_bytes = (512 << 10) / 8 * 5;

void sm_products_prepare(void) {
  openblas_set_num_threads(1);
#ifdef _SC_LEVEL2_CACHE_SIZE
  long cache = sysconf(_SC_LEVEL2_CACHE_SIZE); /* 0 or -1: not known */
  if (cache >= 128 << 10) atomic_store_explicit(&sm_rows_bytes, cache / 8 * 5, memory_order_relaxed);
#endif
}

extern char *openblas_get_corename(void);
const char *sm_products_text(const char *isa, char *buf, size_t size) {
  snprintf(buf, size, "%s", openblas_get_corename());
#ifdef HAVE_ONEDNN
  char text[48];
  if (strstr(isa, "_onednn")) snprintf(buf, size, "%s, %s", openblas_get_corename(), sm_onednn_text(text, sizeof text));
#endif
  (void)isa;
  return buf;
}

/* dispatch.c — which of the tables of pixel loops this CPU runs. */
#include <config.h>

#include "planes.h"

const sm_pixel_ops *sm_pixel_ops_best(void) {
#if defined(HAVE_AVX512_BUILD)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    return &sm_pixel_ops_avx512;
#endif
#if defined(HAVE_AVX2_BUILD)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma"))
    return &sm_pixel_ops_avx2;
#endif
  return &sm_pixel_ops_baseline;
}

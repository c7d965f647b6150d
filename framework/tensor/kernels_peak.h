/* framework/tensor/kernels_peak.h — private: the fastest multiply-adds this instruction set can do, as the yardstick of
 * `smalti bench`. Included by kernels_variant.h.
 *
 * Twelve independent chains of fused multiply-adds on full registers hide the latency of four cycles on two units. */

#if defined(__AVX512F__)
#define PEAK_BYTES 64
#elif defined(__AVX__)
#define PEAK_BYTES 32
#else
#define PEAK_BYTES 16
#endif
#define PEAK_CHAINS 12
#define PEAK_LANES ((int64_t)(PEAK_BYTES / sizeof(real)))
typedef real peak_vector __attribute__((vector_size(PEAK_BYTES)));

/* Runs `rounds` rounds; returns the operations done (2 a multiply-add). `sink` keeps the compiler from dropping them. */
static double sweep_peak(int64_t rounds, double *sink) {
  peak_vector acc[PEAK_CHAINS], a = {0}, b = {0};
  for (int i = 0; i < PEAK_LANES; i++) a[i] = (real)(1 + 1e-7 * i), b[i] = (real)1e-3;
  for (int c = 0; c < PEAK_CHAINS; c++) acc[c] = b * (real)c;
  for (int64_t r = 0; r < rounds; r++)
#pragma GCC unroll 12
    for (int c = 0; c < PEAK_CHAINS; c++) acc[c] = acc[c] * a + b;
  for (int c = 1; c < PEAK_CHAINS; c++) acc[0] += acc[c];
  *sink += (double)acc[0][0];
  return 2.0 * (double)rounds * PEAK_CHAINS * (double)PEAK_LANES;
}

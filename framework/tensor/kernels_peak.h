/* framework/tensor/kernels_peak.h — private: the fastest multiply-adds this instruction set can do, as the
 * yardstick of `smalti bench`. Included by kernels_variant.h.
 *
 * Twelve independent chains of multiply-adds on full registers hide their latency: four cycles on two units, six
 * where bf16 is multiplied. */

#define PEAK_CHAINS 12

INLINE vector peak_step(vector sum, vector a, vector b) {
#if OPERAND_K == 2
  return (vector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
#else
  return sum * a + b;
#endif
}

/* Runs `rounds` rounds; returns the operations done (2 a multiply-add). `sink` keeps the compiler from dropping
 * them. */
static double sweep_peak(int64_t rounds, double *sink) {
  vector sum[PEAK_CHAINS], a = {0}, b = {0};
  for (int i = 0; i < VECTOR_LANES; i++) a[i] = (real)(1 + 1e-7 * i), b[i] = (real)1e-3;
  for (int c = 0; c < PEAK_CHAINS; c++) sum[c] = b * (real)c;
  for (int64_t r = 0; r < rounds; r++)
#pragma GCC unroll 12
    for (int c = 0; c < PEAK_CHAINS; c++) sum[c] = peak_step(sum[c], a, b);
  for (int c = 1; c < PEAK_CHAINS; c++) sum[0] += sum[c];
  *sink += (double)sum[0][0];
  return 2.0 * OPERAND_K * (double)rounds * PEAK_CHAINS * (double)VECTOR_LANES;
}

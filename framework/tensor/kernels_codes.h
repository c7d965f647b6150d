/* framework/tensor/kernels_codes.h — private: Gumbel-softmax, KL divergence from uniform, errors of a
 * reconstruction. Included by kernels_variant.h. */

/* ---- logarithm and exponential of any sign -------------------------------------------------- */

/* ln x for normal x > 0. f32: x = m·2^e with m in [√½, √2), ln m = 2 artanh(s), s = (m-1)/(m+1), to 2e-9. */
#if SM_REAL_F64
INLINE double log_positive(double x) { return log(x); }
#else
INLINE float log_positive(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  int32_t e = (int32_t)(bits - 0x3f3504f3u) >> 23;
  bits -= (uint32_t)e << 23;
  float m;
  memcpy(&m, &bits, sizeof m);
  float f = m - 1, s = f / (m + 1), z = s * s;
  float p = ((0.11111111f * z + 0.14285714f) * z + 0.2f) * z + 0.33333333f;
  return (float)e * 0.69314718f + 2 * (s + s * z * p);
}
#endif
INLINE real exp_any(real x) {
  real e = exp_negative(x < 0 ? x : -x);
  return x < 0 ? e : 1 / e;
}

/* ---- noise ---------------------------------------------------------------------------------- */

#define NOISE 64 /* numbers made at once, four a block of the generator */

/* Gumbel numbers -ln(-ln u) from `at` on, a multiple of NOISE: number k is word k % 4 of Philox4x32-10's block k / 4 with the
 * counter (block, row, item, 0). u = (23 bits + ½)/2^23 is never 0 or 1. */
static void gumbel_noise(const uint32_t *key, uint32_t item, uint32_t row, int64_t at, real *out) {
  uint32_t word[4][NOISE / 4];
  SIMD for (int b = 0; b < NOISE / 4; b++) {
    uint32_t c0 = (uint32_t)(at / 4) + (uint32_t)b, c1 = row, c2 = item, c3 = 0, k0 = key[0], k1 = key[1];
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++) {
      uint64_t p0 = UINT64_C(0xD2511F53) * c0, p1 = UINT64_C(0xCD9E8D57) * c2;
      c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
      c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
      c1 = (uint32_t)p1;
      c3 = (uint32_t)p0;
      k0 += UINT32_C(0x9E3779B9);
      k1 += UINT32_C(0xBB67AE85);
    }
    word[0][b] = c0, word[1][b] = c1, word[2][b] = c2, word[3][b] = c3;
  }
  real u[NOISE];
  for (int k = 0; k < NOISE; k++)
    u[k] = ((real)(word[k % 4][k / 4] >> 9) + (real)0.5) * (real)(1.0 / 8388608);
  SIMD_EXP for (int k = 0; k < NOISE; k++) out[k] = -log_positive(-log_positive(u[k]));
}

KERNEL(gumbel_softmax) {
  const real *logits = in_at(w, n, 0, first), inv_tau = *in_at(w, n, 1, 0);
  const int32_t *words = sm_range_at(w, n->in[2], 0);
  const uint32_t key[2] = {(uint32_t)words[0], (uint32_t)words[1]};
  real *y = out_at(w, n, 0, first);
  int64_t tokens = n->in[0]->dim[1], size = last_dim(n->in[0]);
  for (int64_t item = first; item < last; item++)
    for (int64_t t = 0; t < tokens; t++, logits += size, y += size) {
      for (int64_t k0 = 0; k0 < size; k0 += NOISE) {
        real noise[NOISE];
        int64_t count = min_i64(NOISE, size - k0);
        gumbel_noise(key, (uint32_t)words[2] + (uint32_t)item, (uint32_t)t, k0, noise);
        for (int64_t k = 0; k < count; k++) y[k0 + k] = (logits[k0 + k] + noise[k]) * inv_tau;
      }
      real max, inverse = (real)(1 / row_exp(y, size, &max));
      SIMD EACH(size) y[k] *= inverse;
    }
}

KERNEL(gumbel_softmax_dx) {
  const real *y = in_at(w, n, 0, first), *dy = in_at(w, n, 1, first), inv_tau = *in_at(w, n, 2, 0);
  real *dx = out_at(w, n, 0, first);
  int64_t size = last_dim(n->in[0]), rows = rows_of(n->in[0], last - first);
  for (int64_t r = 0; r < rows; r++, y += size, dy += size, dx += size) {
    real mean = (real)row_dot(y, dy, size);
    if (adds_to(n, 0)) {
      SIMD EACH(size) dx[k] += inv_tau * y[k] * (dy[k] - mean);
    } else {
      SIMD EACH(size) dx[k] = inv_tau * y[k] * (dy[k] - mean);
    }
  }
}

/* ---- KL(softmax(z) ‖ uniform) = ln K - H ---------------------------------------------------- */

/* Σ e^u and Σ e^u·u with u = z - max. */
INLINE void row_energy(const real *z, int64_t size, real max, double *total, double *energy) {
  *total = *energy = 0;
  for (int64_t k0 = 0; k0 < size; k0 += SUM_BLOCK) {
    int64_t k1 = min_i64(k0 + SUM_BLOCK, size);
    real s = 0, e = 0;
    SIMD_EXP_SUM(s, e)
    for (int64_t k = k0; k < k1; k++) {
      real u = z[k] - max, p = exp_negative(u);
      s += p;
      e += p * u;
    }
    *total += (double)s;
    *energy += (double)e;
  }
}

KERNEL(kl_uniform) {
  const real *z = in_at(w, n, 0, first);
  real *kl = out_at(w, n, 0, first);
  int64_t tokens = n->in[0]->dim[1], size = last_dim(n->in[0]);
  for (int64_t i = 0; i < last - first; i++) {
    double sum = 0;
    for (int64_t t = 0; t < tokens; t++, z += size) {
      double total, energy;
      row_energy(z, size, row_max(z, NULL, size), &total, &energy);
      sum += log((double)size) - log(total) + energy / total;
    }
    kl[i] = (real)sum;
  }
}

/* d/dz_k = p_k (ln p_k + H) = p_k (u_k - Σ p u). */
KERNEL(kl_uniform_dx) {
  const real *z = in_at(w, n, 0, first), *g = in_at(w, n, 1, first);
  real *dz = out_at(w, n, 0, first);
  int64_t tokens = n->in[0]->dim[1], size = last_dim(n->in[0]);
  bool add = adds_to(n, 0);
  for (int64_t i = 0; i < last - first; i++)
    for (int64_t t = 0; t < tokens; t++, z += size, dz += size) {
      double total, energy;
      real max = row_max(z, NULL, size);
      row_energy(z, size, max, &total, &energy);
      real factor = (real)(g[i] / total), mean = (real)(energy / total);
      if (add) {
        SIMD_EXP EACH(size) dz[k] += factor * exp_negative(z[k] - max) * (z[k] - max - mean);
      } else {
        SIMD_EXP EACH(size) dz[k] = factor * exp_negative(z[k] - max) * (z[k] - max - mean);
      }
    }
}

/* ---- reconstruction ------------------------------------------------------------------------- */

KERNEL(squared_error) {
  const real *p = in_at(w, n, 0, first), *x = in_at(w, n, 1, first);
  real *e = out_at(w, n, 0, first);
  int64_t size = sm_item_elements(n->in[0]);
  for (int64_t i = 0; i < last - first; i++, p += size, x += size) {
    double sum = 0;
    EACH(size) sum += (double)(p[k] - x[k]) * (double)(p[k] - x[k]);
    e[i] = (real)sum;
  }
}

KERNEL(squared_error_dx) {
  const real *p = in_at(w, n, 0, first), *x = in_at(w, n, 1, first), *g = in_at(w, n, 2, first);
  real *dp = out_at(w, n, 0, first);
  int64_t size = sm_item_elements(n->in[0]);
  bool add = adds_to(n, 0);
  for (int64_t i = 0; i < last - first; i++, p += size, x += size, dp += size) {
    real factor = 2 * g[i];
    SIMD EACH(size) dp[k] = (add ? dp[k] : 0) + factor * (p[k] - x[k]);
  }
}

/* -ln f = ln(2 b x (1-x)) + |logit x - mu|/b, a row being mu of all channels, then ln b. */
KERNEL(logit_laplace) {
  const real *p = in_at(w, n, 0, first), *x = in_at(w, n, 1, first);
  real *nll = out_at(w, n, 0, first), *error = out_at(w, n, 1, first);
  int64_t channels = last_dim(n->in[1]), pixels = rows_of(n->in[1], 1);
  for (int64_t i = 0; i < last - first; i++) {
    double sum = 0, squares = 0;
    for (int64_t j = 0; j < pixels; j++, p += 2 * channels, x += channels) EACH(channels) {
        real mu = p[k], log_b = p[channels + k], up = log_positive(x[k]), down = log_positive(1 - x[k]);
        real off = up - down - mu, guess = 1 / (1 + exp_any(-mu)) - x[k];
        sum += (double)((real)0.69314718055994531 + log_b + up + down) +
               (double)((off < 0 ? -off : off) * exp_any(-log_b));
        squares += (double)guess * (double)guess;
      }
    nll[i] = (real)sum;
    error[i] = (real)squares;
  }
}

KERNEL(logit_laplace_dx) {
  const real *p = in_at(w, n, 0, first), *x = in_at(w, n, 1, first), *g = in_at(w, n, 2, first);
  real *dp = out_at(w, n, 0, first);
  int64_t channels = last_dim(n->in[1]), pixels = rows_of(n->in[1], 1);
  bool add = adds_to(n, 0);
  for (int64_t i = 0; i < last - first; i++)
    for (int64_t j = 0; j < pixels; j++, p += 2 * channels, x += channels, dp += 2 * channels)
      EACH(channels) {
        real off = log_positive(x[k]) - log_positive(1 - x[k]) - p[k], inverse = exp_any(-p[channels + k]);
        real sign = (real)((off < 0) - (off > 0)), distance = off < 0 ? -off : off;
        dp[k] = (add ? dp[k] : 0) + g[i] * sign * inverse;
        dp[channels + k] = (add ? dp[channels + k] : 0) + g[i] * (1 - distance * inverse);
      }
}

KERNEL(scale_by) {
  const real *x = in_at(w, n, 0, first), factor = *in_at(w, n, 1, 0);
  real *y = out_at(w, n, 0, first);
  int64_t size = (last - first) * sm_item_elements(n->out[0]);
  if (adds_to(n, 0)) {
    SIMD EACH(size) y[k] += factor * x[k];
  } else {
    SIMD EACH(size) y[k] = factor * x[k];
  }
}

/* framework/tensor/kernels_pointwise.h — private: element by element. Included by kernels_variant.h.
 *
 * An output may be the same memory as an input of the same shape: nothing here is restrict. */

#define EACH(size) for (int64_t k = 0; k < (size); k++)

/* ---- GELU ----------------------------------------------------------------------------------- */

/* Φ(-a) and exp(-a²/2) for a >= 0. f32: Φ(-a) = exp(-a²/2)·R(a), R = ½·erfcx(a/√2) as a polynomial in t =
 * 1/(1 + 0.3·a), our own minimax fit (relative error 1.1e-7). Working with the small tail keeps all digits
 * where GELU is nearly 0. */
INLINE real normal_tail(real a, real *bell) {
#if SM_REAL_F64
  *bell = exp(-0.5 * a * a);
  return 0.5 * erfc(a * 0.70710678118654752440);
#else
  float t = 1.0f / (1.0f + 0.3f * a), p = 0.03619503f;
  p = p * t - 0.15937898f;
  p = p * t + 0.21011946f;
  p = p * t - 0.057168274f;
  p = p * t + 0.13041690f;
  p = p * t + 0.099347000f;
  p = p * t + 0.12084555f;
  p = p * t + 0.11962326f;
  *bell = exp_negative(-0.5f * a * a);
  return p * t * *bell;
#endif
}

/* Every element on its own: CHUNK of them at a time, so that they can be narrowed on the way. */
#define EACH_CHUNK(size) \
  for (int64_t k0 = 0, count; count = min_i64(CHUNK, (size)-k0), k0 < (size); k0 += CHUNK)

INLINE real gelu_value(real v, real tail) { /* v·Φ(v), from the tail on either side */
  return (v > 0 ? v : 0) - (v < 0 ? -v : v) * tail;
}
INLINE real gelu_slope(real v, real tail, real bell) {
  return fused(v * bell, (real)0.39894228040143267794, v > 0 ? 1 - tail : tail);
}

KERNEL(gelu) {
  const real *in = in_at(w, n, 0, first);
  void *out = sm_range_at(w, n->out[0], first);
  const bool narrow = IS_NARROW(n->out[0]);
  EACH_CHUNK((last - first) * sm_item_elements(n->in[0])) {
    const real *x = in + k0;
    real ys[CHUNK], *y = room(out, narrow, k0, ys);
    SIMD_EXP EACH(count) {
      real bell, tail = normal_tail(x[k] < 0 ? -x[k] : x[k], &bell);
      y[k] = gelu_value(x[k], tail);
    }
    put_reals(out, narrow, k0, count, y);
  }
}

/* The gradient and, into `y` if it is there, the value once more: the tail serves both. */
INLINE void gelu_back(const real *x, const real *dy, real *dx, real *y, int64_t count) {
  SIMD_EXP EACH(count) {
    real v = x[k], bell, tail = normal_tail(v < 0 ? -v : v, &bell);
    dx[k] = dy[k] * gelu_slope(v, tail, bell);
    if (y) y[k] = gelu_value(v, tail);
  }
}

KERNEL(gelu_dx) {
  const real *in = in_at(w, n, 0, first), *from = in_at(w, n, 1, first);
  const sm_tensor *again = n->out[1];
  void *out = sm_range_at(w, n->out[0], first), *value = again ? sm_range_at(w, again, first) : NULL;
  const bool add = adds_to(n, 0), narrow = IS_NARROW(n->out[0]), narrow_value = again && IS_NARROW(again);
  EACH_CHUNK((last - first) * sm_item_elements(n->in[0])) {
    real ds[CHUNK], ys[CHUNK], *dx = add ? ds : room(out, narrow, k0, ds);
    real *y = again ? room(value, narrow_value, k0, ys) : NULL;
    if (y) gelu_back(in + k0, from + k0, dx, y, count);
    else gelu_back(in + k0, from + k0, dx, NULL, count);
    if (add) { /* then out is wide */
      real *sum = (real *)out + k0;
      SIMD EACH(count) sum[k] += dx[k];
    } else {
      put_reals(out, narrow, k0, count, dx);
    }
    if (y) put_reals(value, narrow_value, k0, count, y);
  }
}

/* ---- residual ------------------------------------------------------------------------------- */

INLINE void residual_row(real *y, const real *x, const real *f, const real *gamma, real factor, int64_t d) {
  if (x && gamma) {
    SIMD EACH(d) y[k] = x[k] + factor * gamma[k] * f[k];
  } else if (x) {
    SIMD EACH(d) y[k] = x[k] + factor * f[k];
  } else if (gamma) {
    SIMD EACH(d) y[k] = factor * gamma[k] * f[k];
  } else {
    SIMD EACH(d) y[k] = factor * f[k];
  }
}

KERNEL(residual) {
  const real *x = in_at(w, n, 0, first), *f = in_at(w, n, 1, first), *gamma = in_at(w, n, 2, 0);
  const real *drop = in_at(w, n, 3, first);
  real *y = out_at(w, n, 0, first);
  int64_t d = last_dim(n->in[0]), item_rows = rows_of(n->in[0], 1), sites = drop ? last_dim(n->in[3]) : 0;
  for (int64_t i = 0; i < last - first; i++) {
    real factor = drop ? drop[i * sites + n->i[0]] : 1;
    for (int64_t r = i * item_rows; r < (i + 1) * item_rows; r++)
      residual_row(y + r * d, x + r * d, f + r * d, gamma, factor, d);
  }
}

KERNEL(residual_df) {
  const real *dy = in_at(w, n, 0, first), *gamma = in_at(w, n, 1, 0), *drop = in_at(w, n, 2, first);
  real *df = out_at(w, n, 0, first);
  int64_t d = last_dim(n->in[0]), item_rows = rows_of(n->in[0], 1), sites = drop ? last_dim(n->in[2]) : 0;
  for (int64_t i = 0; i < last - first; i++) {
    real factor = drop ? drop[i * sites + n->i[0]] : 1;
    for (int64_t r = i * item_rows; r < (i + 1) * item_rows; r++)
      residual_row(df + r * d, adds_to(n, 0) ? df + r * d : NULL, dy + r * d, gamma, factor, d);
  }
}

/* ---- small ---------------------------------------------------------------------------------- */

KERNEL(add) {
  const real *a = in_at(w, n, 0, first), *b = in_at(w, n, 1, first);
  real *y = out_at(w, n, 0, first);
  int64_t size = (last - first) * sm_item_elements(n->out[0]);
  SIMD EACH(size) y[k] = a[k] + b[k];
}

KERNEL(mul) {
  const real *a = in_at(w, n, 0, first), *b = in_at(w, n, 1, first);
  real *y = out_at(w, n, 0, first);
  int64_t size = (last - first) * sm_item_elements(n->out[0]);
  if (adds_to(n, 0)) {
    SIMD EACH(size) y[k] += a[k] * b[k];
  } else {
    SIMD EACH(size) y[k] = a[k] * b[k];
  }
}

KERNEL(scale) {
  const real *x = in_at(w, n, 0, first);
  real *y = out_at(w, n, 0, first), factor = (real)n->f[0];
  int64_t size = (last - first) * sm_item_elements(n->out[0]);
  if (adds_to(n, 0)) {
    SIMD EACH(size) y[k] += factor * x[k];
  } else {
    SIMD EACH(size) y[k] = factor * x[k];
  }
}

KERNEL(copy) {
  const real *x = in_at(w, n, 0, first);
  real *y = out_at(w, n, 0, first);
  int64_t size = (last - first) * sm_item_elements(n->out[0]);
  if (adds_to(n, 0)) {
    SIMD EACH(size) y[k] += x[k];
  } else {
    SIMD EACH(size) y[k] = x[k];
  }
}

KERNEL(fill) {
  real *y = out_at(w, n, 0, first), value = (real)n->f[0];
  int64_t size = (last - first) * sm_item_elements(n->out[0]);
  SIMD EACH(size) y[k] = value;
}

/* framework/tensor/kernels_norm.h — private: layer norm, L2 normalisation, weight norm. Included by
 * kernels_variant.h. The gradients of layer norm's parameters are sums over rows: kernels_columns.h. */

/* Two passes over the row (it is in L1): E[x²] - E[x]² would lose digits. */
KERNEL(layer_norm) {
  const real *x = in_at(w, n, 0, first), *weight = in_at(w, n, 1, 0), *bias = in_at(w, n, 2, 0);
  real *stats = out_at(w, n, 1, first);
  void *out = sm_range_at(w, n->out[0], first);
  const bool narrow = IS_NARROW(n->out[0]);
  int64_t d = last_dim(n->in[0]), rows = rows_of(n->in[0], last - first);
  for (int64_t r = 0; r < rows; r++, x += d) {
    real mean = (real)(row_sum(x, d) / (double)d);
    real inverse = (real)(1 / sqrt(row_product(x, mean, x, mean, d) / (double)d + n->f[0]));
    EACH_CHUNK(d) {
      real ys[CHUNK], *y = room(out, narrow, r * d + k0, ys);
      const real *v = x + k0, *scale = weight + k0, *shift = bias + k0;
      SIMD for (int64_t c = 0; c < count; c++) y[c] = (v[c] - mean) * inverse * scale[c] + shift[c];
      put_reals(out, narrow, r * d + k0, count, y);
    }
    if (stats) {
      stats[2 * r] = mean;
      stats[2 * r + 1] = inverse;
    }
  }
}

/* dx = res + (g - mean(g) - x̂·mean(g·x̂)) / σ with g = dy·w, x̂ = (x - mean)/σ. */
KERNEL(layer_norm_dx) {
  const real *dy = in_at(w, n, 0, first), *x = in_at(w, n, 1, first), *weight = in_at(w, n, 2, 0);
  const real *stats = in_at(w, n, 3, first), *res = in_at(w, n, 4, first);
  real *dx = out_at(w, n, 0, first);
  int64_t d = last_dim(n->in[0]), rows = rows_of(n->in[0], last - first);
  for (int64_t r = 0; r < rows; r++, dy += d, x += d, dx += d) {
    real mean = stats[2 * r], inverse = stats[2 * r + 1], sum_g = 0, sum_gx = 0;
    SIMD_SUM(sum_g, sum_gx)
    for (int64_t c = 0; c < d; c++) {
      real g = dy[c] * weight[c];
      sum_g += g;
      sum_gx += g * ((x[c] - mean) * inverse);
    }
    real a = sum_g / (real)d, b = sum_gx / (real)d;
    if (res) {
      const real *before = res + r * d;
      SIMD for (int64_t c = 0; c < d; c++) dx[c] =
          before[c] + inverse * (dy[c] * weight[c] - a - (x[c] - mean) * inverse * b);
    } else {
      SIMD for (int64_t c = 0; c < d; c++) dx[c] =
          inverse * (dy[c] * weight[c] - a - (x[c] - mean) * inverse * b);
    }
  }
}

/* ---- L2 ------------------------------------------------------------------------------------- */

KERNEL(l2_normalize) {
  const real *x = in_at(w, n, 0, first);
  real *y = out_at(w, n, 0, first), *norm = out_at(w, n, 1, first), eps = (real)n->f[0];
  int64_t d = last_dim(n->in[0]), rows = rows_of(n->in[0], last - first);
  for (int64_t r = 0; r < rows; r++, x += d, y += d) {
    real length = (real)sqrt(row_dot(x, x, d));
    if (length < eps) length = eps;
    real inverse = 1 / length;
    SIMD for (int64_t c = 0; c < d; c++) y[c] = x[c] * inverse;
    if (norm) norm[r] = length;
  }
}

/* dx = (dy - y·(y·dy))/norm; where the length was clamped, y = x/eps is linear in x. */
KERNEL(l2_normalize_dx) {
  const real *dy = in_at(w, n, 0, first), *y = in_at(w, n, 1, first), *norm = in_at(w, n, 2, first);
  real *dx = out_at(w, n, 0, first), eps = (real)n->f[0];
  int64_t d = last_dim(n->in[0]), rows = rows_of(n->in[0], last - first);
  for (int64_t r = 0; r < rows; r++, dy += d, y += d, dx += d) {
    real inverse = 1 / norm[r], along = norm[r] == eps ? 0 : (real)row_dot(y, dy, d);
    if (adds_to(n, 0)) {
      SIMD for (int64_t c = 0; c < d; c++) dx[c] += (dy[c] - along * y[c]) * inverse;
    } else {
      SIMD for (int64_t c = 0; c < d; c++) dx[c] = (dy[c] - along * y[c]) * inverse;
    }
  }
}

/* ---- weight norm ---------------------------------------------------------------------------- */

/* 1/‖v‖; 0 for a row of zeros, whose direction means nothing. */
INLINE real inverse_length(const real *v, int64_t f) {
  double square = row_dot(v, v, f);
  return square > 0 ? (real)(1 / sqrt(square)) : 0;
}

KERNEL(weight_norm) {
  const real *v = in_at(w, n, 0, 0), *gain = in_at(w, n, 1, 0);
  real *out = out_at(w, n, 0, 0);
  int64_t rows = n->in[0]->dim[0], f = last_dim(n->in[0]);
  for (int64_t r = first * SM_ROW_TILE; r < min_i64(last * SM_ROW_TILE, rows); r++) {
    real factor = gain[r] * inverse_length(v + r * f, f);
    const real *from = v + r * f;
    real *to = out + r * f;
    SIMD for (int64_t c = 0; c < f; c++) to[c] = factor * from[c];
  }
}

/* With v̂ = v/‖v‖: dgain = v̂·dw, dv = gain/‖v‖·(dw - v̂·(v̂·dw)). */
KERNEL(weight_norm_dv) {
  const real *dw = in_at(w, n, 0, 0), *v = in_at(w, n, 1, 0), *gain = in_at(w, n, 2, 0);
  real *dv = out_at(w, n, 0, 0), *dgain = out_at(w, n, 1, 0);
  int64_t rows = n->in[1]->dim[0], f = last_dim(n->in[1]);
  bool add = adds_to(n, 0);
  for (int64_t r = first * SM_ROW_TILE; r < min_i64(last * SM_ROW_TILE, rows); r++) {
    const real *g = dw + r * f, *from = v + r * f;
    real inverse = inverse_length(from, f), along = (real)(row_dot(from, g, f) * (double)inverse);
    if (dgain) dgain[r] = adds_to(n, 1) ? dgain[r] + along : along;
    if (!dv) continue;
    real *to = dv + r * f, factor = gain[r] * inverse, back = along * inverse;
    if (add) {
      SIMD for (int64_t c = 0; c < f; c++) to[c] += factor * (g[c] - back * from[c]);
    } else {
      SIMD for (int64_t c = 0; c < f; c++) to[c] = factor * (g[c] - back * from[c]);
    }
  }
}

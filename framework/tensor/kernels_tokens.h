/* framework/tensor/kernels_tokens.h — private: pictures to tokens, position embeddings. Included by
 * kernels_variant.h. */

KERNEL(patchify) {
  const real *x = in_at(w, n, 0, first);
  real *y = out_at(w, n, 0, first);
  int64_t channels = n->in[0]->dim[1], height = n->in[0]->dim[2], width = n->in[0]->dim[3], p = n->i[0];
  int64_t gh = height / p, gw = width / p;
  for (int64_t i = 0; i < last - first; i++, x += channels * height * width)
    for (int64_t gy = 0; gy < gh; gy++)
      for (int64_t gx = 0; gx < gw; gx++)
        for (int64_t c = 0; c < channels; c++)
          for (int64_t py = 0; py < p; py++, y += p)
            memcpy(y, x + (c * height + gy * p + py) * width + gx * p, (size_t)p * sizeof *y);
}

/* [CLS] (unless i0) | patches or mask token, plus position. A masked patch without a mask token is zero. */
KERNEL(tokens) {
  const real *patches = in_at(w, n, 0, first), *cls = in_at(w, n, 1, 0), *pos = in_at(w, n, 2, 0);
  const real *mask_token = in_at(w, n, 3, 0);
  const uint8_t *mask = n->in[4] ? sm_range_at(w, n->in[4], first) : NULL;
  real *y = out_at(w, n, 0, first);
  int64_t count = n->in[0]->dim[1], d = n->in[0]->dim[2], prefix = n->i[0] ? 0 : 1;
  for (int64_t i = 0; i < last - first; i++)
    for (int64_t j = 0; j < count + prefix; j++, y += d) {
      const real *from = j >= prefix ? patches + (i * count + j - prefix) * d : cls, *at = pos ? pos + j * d : NULL;
      if (j >= prefix && mask && mask[i * count + j - prefix]) from = mask_token;
      if (from && at) {
        SIMD for (int64_t c = 0; c < d; c++) y[c] = from[c] + at[c];
      } else if (from || at) {
        memcpy(y, from ? from : at, (size_t)d * sizeof *y);
      } else {
        memset(y, 0, (size_t)d * sizeof *y);
      }
    }
}

KERNEL(tokens_dpatch) {
  const real *dy = in_at(w, n, 0, first);
  const uint8_t *mask = n->in[1] ? sm_range_at(w, n->in[1], first) : NULL;
  real *dx = out_at(w, n, 0, first);
  int64_t count = n->out[0]->dim[1], d = n->out[0]->dim[2], prefix = n->i[0] ? 0 : 1;
  for (int64_t i = 0; i < last - first; i++)
    for (int64_t j = 0; j < count; j++, dx += d) {
      const real *g = dy + (i * (count + prefix) + j + prefix) * d;
      bool masked = mask && mask[i * count + j];
      if (masked) {
        if (!adds_to(n, 0)) memset(dx, 0, (size_t)d * sizeof *dx);
      } else if (adds_to(n, 0)) {
        SIMD for (int64_t c = 0; c < d; c++) dx[c] += g[c];
      } else {
        memcpy(dx, g, (size_t)d * sizeof *dx);
      }
    }
}

/* One tile of columns: every picture's gradient is read once, in order; dpos is 1 + N rows that stay in L2.
 */
static void token_columns(const sm_node *n, const real *dy, const uint8_t *mask, int64_t c0, int64_t width,
                          real *const *out) {
  int64_t items = sm_items(n->in[0]), tokens = n->in[0]->dim[1], d = n->in[0]->dim[2], prefix = n->i[0] ? 0 : 1;
  real *dpos = out[1];
  double sum_cls[SM_COLUMN_TILE] = {0}, sum_mask[SM_COLUMN_TILE] = {0};
  for (int64_t j = 0; dpos && !adds_to(n, 1) && j < tokens; j++)
    memset(dpos + j * d + c0, 0, (size_t)width * sizeof *dpos);
  for (int64_t i = 0; i < items; i++) {
    real part[SM_COLUMN_TILE] = {0};
    const real *g = dy + i * tokens * d + c0;
    if (out[0]) EACH_COLUMN sum_cls[c] += (double)g[c];
    for (int64_t j = 0; j < tokens; j++, g += d) {
      if (dpos) {
        real *to = dpos + j * d + c0;
        SIMD EACH_COLUMN to[c] += g[c];
      }
      if (out[2] && mask && j >= prefix && mask[i * (tokens - prefix) + j - prefix]) {
        SIMD EACH_COLUMN part[c] += g[c];
      }
    }
    EACH_COLUMN sum_mask[c] += (double)part[c];
  }
  if (out[0]) columns_store(out[0] + c0, sum_cls, width, adds_to(n, 0));
  if (out[2]) columns_store(out[2] + c0, sum_mask, width, adds_to(n, 2));
}

KERNEL(tokens_dparam) {
  const real *dy = in_at(w, n, 0, 0);
  const uint8_t *mask = n->in[1] ? sm_range_at(w, n->in[1], 0) : NULL;
  real *out[3] = {out_at(w, n, 0, 0), out_at(w, n, 1, 0), out_at(w, n, 2, 0)};
  int64_t d = last_dim(n->in[0]);
  for (int64_t t = first; t < last; t++) {
    int64_t c0 = t * SM_COLUMN_TILE;
    token_columns(n, dy, mask, c0, min_i64(SM_COLUMN_TILE, d - c0), out);
  }
}

/* ---- position embeddings for another grid --------------------------------------------------- */

/* Four taps of cubic convolution (Keys 1981, a = -0.75) along one axis, as torch's interpolate with an
 * explicit scale factor: source = (place + ½)/factor - ½ with factor = (to + 0.1)/from, border repeated. */
INLINE void cubic_taps(int64_t place, int64_t from, int64_t to, int64_t index[4], real weight[4]) {
  const double a = -0.75;
  double source = ((double)place + 0.5) * ((double)from / ((double)to + 0.1)) - 0.5, base = floor(source),
         t = source - base;
  for (int k = 0; k < 4; k++) {
    double x = fabs(t + 1 - k);
    double value = x <= 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
    int64_t at = (int64_t)base - 1 + k;
    index[k] = at < 0 ? 0 : at >= from ? from - 1 : at;
    weight[k] = (real)value;
  }
}

KERNEL(position_resize) {
  const real *pos = in_at(w, n, 0, 0);
  real *y = out_at(w, n, 0, 0);
  int64_t h0 = n->i[0], w0 = n->i[1], h1 = n->i[2], w1 = n->i[3], d = last_dim(n->in[0]);
  int64_t c0 = first * SM_COLUMN_TILE, width = min_i64(last * SM_COLUMN_TILE, d) - c0;
  if (width <= 0) return;
  memcpy(y + c0, pos + c0, (size_t)width * sizeof *y);
  for (int64_t p = 0; p < h1 * w1; p++) {
    int64_t iy[4], ix[4];
    real wy[4], wx[4], *to = y + (1 + p) * d + c0;
    cubic_taps(p / w1, h0, h1, iy, wy);
    cubic_taps(p % w1, w0, w1, ix, wx);
    memset(to, 0, (size_t)width * sizeof *to);
    for (int k = 0; k < 16; k++) {
      const real *from = pos + (1 + iy[k / 4] * w0 + ix[k % 4]) * d + c0;
      real f = wy[k / 4] * wx[k % 4];
      SIMD EACH_COLUMN to[c] += f * from[c];
    }
  }
}

KERNEL(position_resize_dx) {
  const real *dy = in_at(w, n, 0, 0);
  real *dpos = out_at(w, n, 0, 0);
  int64_t h0 = n->i[0], w0 = n->i[1], h1 = n->i[2], w1 = n->i[3], d = last_dim(n->in[0]);
  int64_t c0 = first * SM_COLUMN_TILE, width = min_i64(last * SM_COLUMN_TILE, d) - c0;
  if (width <= 0) return;
  for (int64_t p = 0; !adds_to(n, 0) && p < 1 + h0 * w0; p++)
    memset(dpos + p * d + c0, 0, (size_t)width * sizeof *dpos);
  SIMD EACH_COLUMN dpos[c0 + c] += dy[c0 + c];
  for (int64_t p = 0; p < h1 * w1; p++) {
    int64_t iy[4], ix[4];
    real wy[4], wx[4];
    const real *from = dy + (1 + p) * d + c0;
    cubic_taps(p / w1, h0, h1, iy, wy);
    cubic_taps(p % w1, w0, w1, ix, wx);
    for (int k = 0; k < 16; k++) {
      real *to = dpos + (1 + iy[k / 4] * w0 + ix[k % 4]) * d + c0, f = wy[k / 4] * wx[k % 4];
      SIMD EACH_COLUMN to[c] += f * from[c];
    }
  }
}

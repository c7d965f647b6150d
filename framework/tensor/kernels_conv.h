/* framework/tensor/kernels_conv.h — private: convolution, ReLU, pooling, up-sampling of pictures (H·W, C).
 * Included by kernels_variant.h.
 *
 * A convolution is a product of its windows, laid out as rows of k·k·C reals, with the ordered weight. Windows are
 * copied so many rows at a time that they stay in the second-level cache; the matrix of all of them never exists.
 * Rows of different pictures stand side by side, so small grids make full products as well. */

#define EACH(size) for (int64_t k = 0; k < (size); k++)

typedef struct windows {
  int64_t height, width, side, channels;
} windows;

INLINE windows windows_of(const sm_node *n, const sm_tensor *x) {
  return (windows){n->i[0], n->i[1], n->i[2], last_dim(x)};
}

/* Columns [c0, c1) of the window at pixel row `r` (over all pictures), in the order (ky, kx, c); what lies outside is 0. */
INLINE void copy_window(const windows *s, const real *x, int64_t r, int64_t c0, int64_t c1, real *to) {
  int64_t pixels = s->height * s->width, at = r % pixels, py = at / s->width, px = at % s->width;
  int64_t reach = s->side / 2, line = s->side * s->channels;
  const real *picture = x + (r - at) * s->channels;
  int64_t kx0 = reach > px ? reach - px : 0, kx1 = min_i64(s->side, s->width + reach - px);
  for (int64_t ky = c0 / line; ky * line < c1; ky++) {
    int64_t from = ky * line > c0 ? 0 : c0 - ky * line, end = min_i64(line, c1 - ky * line);
    int64_t y = py + ky - reach, inside0 = kx0 * s->channels, inside1 = kx1 * s->channels;
    if (y < 0 || y >= s->height) inside0 = inside1 = end;
    if (inside0 < from) inside0 = from;
    if (inside0 > end) inside0 = end;
    if (inside1 > end) inside1 = end;
    if (inside1 < inside0) inside1 = inside0;
    const real *source = picture + ((y * s->width + px - reach) * s->channels);
    for (int64_t k = from; k < inside0; k++) *to++ = 0;
    if (inside1 > inside0) memcpy(to, source + inside0, (size_t)(inside1 - inside0) * sizeof *to);
    to += inside1 - inside0;
    for (int64_t k = inside1; k < end; k++) *to++ = 0;
  }
}

KERNEL(conv) {
  const sm_tensor *y = n->out[0];
  const real *x = in_at(w, n, 0, first), *weight = in_at(w, n, 1, 0);
  windows s = windows_of(n, n->in[0]);
  int64_t k = s.side * s.side * s.channels, m = last_dim(y), rows = rows_of(y, last - first);
  int64_t chunk = sm_conv_rows(k);
  real *window = w->scratch, *out = out_at(w, n, 0, first);
  for (int64_t r0 = 0; r0 < rows; r0 += chunk) {
    int64_t count = min_i64(chunk, rows - r0);
    for (int64_t r = 0; r < count; r++) copy_window(&s, x, r0 + r, 0, k, window + r * k);
    gemm(&(product){.m = count,
                    .n = m,
                    .k = k,
                    .a = window,
                    .lda = k,
                    .b = weight,
                    .ldb = k,
                    .tb = TRANSPOSED,
                    .bias = in_at(w, n, 2, 0),
                    .add = adds_to(n, 0),
                    .c = out + r0 * m,
                    .ldc = m},
         w->pack);
  }
}

/* A tile is a rectangle of the ordered gradient (O, k·k·C): summed up in scratch, then put where the weight has it. */
INLINE void put_filter_tile(const sm_node *n, const real *sum, int64_t ld, int64_t o0, int64_t o1, int64_t c0,
                            int64_t c1, const windows *s, real *dw) {
  int64_t area = s->side * s->side;
  for (int64_t o = o0; o < o1; o++)
    for (int64_t c = c0; c < c1; c++) {
      real *at = dw + (o * s->channels + c % s->channels) * area + c / s->channels;
      real value = sum[(o - o0) * ld + c - c0];
      *at = adds_to(n, 0) ? *at + value : value;
    }
}

KERNEL(conv_dw) {
  const sm_tensor *dy = n->in[0], *xs = n->in[1];
  const real *g = in_at(w, n, 0, 0), *x = in_at(w, n, 1, 0);
  real *dw = out_at(w, n, 0, 0), *db = out_at(w, n, 1, 0);
  windows s = windows_of(n, xs);
  int64_t m = last_dim(dy), k = s.side * s.side * s.channels, rows = rows_of(dy, sm_items(dy));
  sm_grid grid = sm_product_grid(m, k);
  real *sum = w->scratch, *window = sum + SM_PRODUCT_TILE * SM_PRODUCT_TILE;
  for (int64_t t = first; t < last; t++) {
    int64_t o0 = t / grid.column_tiles * grid.rows, o1 = min_i64(o0 + grid.rows, m);
    int64_t c0 = t % grid.column_tiles * grid.columns, c1 = min_i64(c0 + grid.columns, k), width = c1 - c0;
    memset(sum, 0, (size_t)((o1 - o0) * width) * sizeof *sum);
    for (int64_t r0 = 0; r0 < rows; r0 += SM_CONV_DEPTH) {
      int64_t count = min_i64(SM_CONV_DEPTH, rows - r0);
      for (int64_t r = 0; r < count; r++) copy_window(&s, x, r0 + r, c0, c1, window + r * width);
      gemm(&(product){.m = o1 - o0,
                      .n = width,
                      .k = count,
                      .a = g + r0 * m + o0,
                      .lda = m,
                      .ta = TRANSPOSED,
                      .b = window,
                      .ldb = width,
                      .add = true,
                      .c = sum,
                      .ldc = width},
           w->pack);
    }
    put_filter_tile(n, sum, width, o0, o1, c0, c1, &s, dw);
    for (int64_t j = o0; db && c0 == 0 && j < o1; j += SM_COLUMN_TILE) {
      double column[SM_COLUMN_TILE];
      int64_t columns = min_i64(SM_COLUMN_TILE, o1 - j);
      columns_sum(g + j, false, m, rows, columns, column);
      columns_store(db + j, column, columns, adds_to(n, 1));
    }
  }
}

/* (O, C, k, k) → (O, k·k·C), and, where asked for, (C, k·k·O) with the window turned round. */
KERNEL(conv_weight) {
  const real *weight = in_at(w, n, 0, 0);
  real *ordered = out_at(w, n, 0, 0), *turned = out_at(w, n, 1, 0);
  int64_t filters = n->in[0]->dim[0], channels = n->in[0]->dim[1], area = n->i[0] * n->i[0];
  int64_t o1 = min_i64(last * SM_FILTER_TILE, filters);
  for (int64_t o = first * SM_FILTER_TILE; o < o1; o++)
    for (int64_t c = 0; c < channels; c++)
      for (int64_t a = 0; a < area; a++) {
        real v = weight[(o * channels + c) * area + a];
        ordered[(o * area + a) * channels + c] = v;
        if (turned) turned[(c * area + area - 1 - a) * filters + o] = v;
      }
}

/* ---- ReLU ----------------------------------------------------------------------------------- */

KERNEL(relu) { /* a NaN stays one */
  const real *x = in_at(w, n, 0, first);
  real *y = out_at(w, n, 0, first);
  int64_t size = (last - first) * sm_item_elements(n->in[0]);
  SIMD EACH(size) y[k] = x[k] <= 0 ? 0 : x[k];
}

KERNEL(relu_dx) {
  const real *x = in_at(w, n, 0, first), *dy = in_at(w, n, 1, first);
  real *dx = out_at(w, n, 0, first);
  int64_t size = (last - first) * sm_item_elements(n->in[0]);
  if (adds_to(n, 0)) {
    SIMD EACH(size) dx[k] += x[k] <= 0 ? 0 : dy[k];
  } else {
    SIMD EACH(size) dx[k] = x[k] <= 0 ? 0 : dy[k];
  }
}

/* ---- pooling and up-sampling ---------------------------------------------------------------- */

/* The four pixels that one of a picture of half the side stands for. `out`: that pixel, counted over all pictures. */
INLINE void four_pixels(int64_t out, int64_t height, int64_t width, int64_t channels, int64_t *four) {
  int64_t half = width / 2, pixels = height / 2 * half, at = out % pixels;
  int64_t row = out / pixels * height + at / half * 2, corner = (row * width + at % half * 2) * channels;
  four[0] = corner;
  four[1] = corner + channels;
  four[2] = corner + width * channels;
  four[3] = four[2] + channels;
}

KERNEL(max_pool) {
  const real *x = in_at(w, n, 0, first);
  real *y = out_at(w, n, 0, first);
  int64_t c = last_dim(n->in[0]), pixels = rows_of(n->out[0], last - first), four[4];
  for (int64_t p = 0; p < pixels; p++, y += c) {
    four_pixels(p, n->i[0], n->i[1], c, four);
    const real *a = x + four[0], *b = x + four[1], *d = x + four[2], *e = x + four[3];
    SIMD EACH(c) {
      real m = b[k] <= a[k] ? a[k] : b[k], q = e[k] <= d[k] ? d[k] : e[k];
      y[k] = q <= m ? m : q;
    }
  }
}

KERNEL(max_pool_dx) {
  const real *x = in_at(w, n, 0, first), *dy = in_at(w, n, 1, first);
  real *dx = out_at(w, n, 0, first);
  int64_t c = last_dim(n->in[0]), pixels = rows_of(n->in[1], last - first), four[4];
  bool add = adds_to(n, 0);
  for (int64_t p = 0; p < pixels; p++, dy += c) {
    four_pixels(p, n->i[0], n->i[1], c, four);
    for (int64_t k = 0; k < c; k++) {
      int best = 0;
      for (int j = 1; j < 4; j++)
        if (!(x[four[j] + k] <= x[four[best] + k])) best = j;
      for (int j = 0; j < 4; j++) {
        real v = j == best ? dy[k] : 0, *at = &dx[four[j] + k];
        *at = add ? *at + v : v;
      }
    }
  }
}

KERNEL(upsample) {
  const real *x = in_at(w, n, 0, first);
  real *y = out_at(w, n, 0, first);
  int64_t c = last_dim(n->in[0]), pixels = rows_of(n->in[0], last - first), four[4];
  for (int64_t p = 0; p < pixels; p++, x += c) {
    four_pixels(p, 2 * n->i[0], 2 * n->i[1], c, four);
    for (int j = 0; j < 4; j++) memcpy(y + four[j], x, (size_t)c * sizeof *y);
  }
}

KERNEL(upsample_dx) {
  const real *dy = in_at(w, n, 0, first);
  real *dx = out_at(w, n, 0, first);
  int64_t c = last_dim(n->in[0]), pixels = rows_of(n->out[0], last - first), four[4];
  bool add = adds_to(n, 0);
  for (int64_t p = 0; p < pixels; p++, dx += c) {
    four_pixels(p, 2 * n->i[0], 2 * n->i[1], c, four);
    const real *a = dy + four[0], *b = dy + four[1], *d = dy + four[2], *e = dy + four[3];
    SIMD EACH(c) dx[k] = (add ? dx[k] : 0) + ((a[k] + b[k]) + (d[k] + e[k]));
  }
}

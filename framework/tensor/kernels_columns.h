/* framework/tensor/kernels_columns.h — private: sums over rows, column by column. Included by
 * kernels_variant.h.
 *
 * A tile is SM_COLUMN_TILE columns: 256 bytes a row in f32, held in L1 while the rows stream by. Rows are
 * added in ascending order, ROW_BLOCK of them in the real type and these in double, so ten thousand rows lose
 * no digits. */

#define ROW_BLOCK 32
#define ROWS_AHEAD 32
#define EACH_COLUMN for (int64_t c = 0; c < width; c++)

INLINE void columns_store(real *out, const double *sum, int64_t width, bool add) {
  EACH_COLUMN out[c] = add ? (real)((double)out[c] + sum[c]) : (real)sum[c];
}

/* The same loop twice, so that the compiler knows the width of a full tile. */
#define FULL_OR_PARTIAL(call)          \
  do {                                 \
    if (width == SM_COLUMN_TILE) {     \
      enum { WIDTH = SM_COLUMN_TILE }; \
      call;                            \
    } else {                           \
      const int64_t WIDTH = width;     \
      call;                            \
    }                                  \
  } while (0)

INLINE void columns_sum_body(const void *x, const bool narrow, int64_t stride, int64_t rows, int64_t width,
                             double *sum) {
  EACH_COLUMN sum[c] = 0;
  for (int64_t r0 = 0; r0 < rows; r0 += ROW_BLOCK) {
    int64_t r1 = min_i64(r0 + ROW_BLOCK, rows);
    real part[SM_COLUMN_TILE] = {0}, wide[SM_COLUMN_TILE];
    for (int64_t r = r0; r < r1; r++) {
      const real *row = reals(x, narrow, r * stride, width, wide);
      SIMD EACH_COLUMN part[c] += row[c];
    }
    EACH_COLUMN sum[c] += (double)part[c];
  }
}
static void columns_sum(const void *x, bool narrow, int64_t stride, int64_t rows, int64_t width,
                        double *sum) {
  if (narrow) FULL_OR_PARTIAL(columns_sum_body(x, SM_BF16_PRODUCTS, stride, rows, WIDTH, sum));
  else FULL_OR_PARTIAL(columns_sum_body(x, false, stride, rows, WIDTH, sum));
}

/* ---- layer norm's parameters ---------------------------------------------------------------- */

INLINE void norm_columns(const real *dy, const real *x, const real *stats, int64_t stride, int64_t rows,
                         int64_t width, double *sum_w, double *sum_b) {
  EACH_COLUMN sum_w[c] = sum_b[c] = 0;
  for (int64_t r0 = 0; r0 < rows; r0 += ROW_BLOCK) {
    int64_t r1 = min_i64(r0 + ROW_BLOCK, rows);
    real part_w[SM_COLUMN_TILE] = {0}, part_b[SM_COLUMN_TILE] = {0};
    for (int64_t r = r0; r < r1; r++) {
      const real *g = dy + r * stride, *v = x + r * stride;
      real mean = stats[2 * r], inverse = stats[2 * r + 1];
      SIMD EACH_COLUMN {
        part_w[c] += g[c] * ((v[c] - mean) * inverse);
        part_b[c] += g[c];
      }
    }
    EACH_COLUMN {
      sum_w[c] += (double)part_w[c];
      sum_b[c] += (double)part_b[c];
    }
  }
}

KERNEL(layer_norm_dw) {
  const real *dy = in_at(w, n, 0, 0), *x = in_at(w, n, 1, 0), *stats = in_at(w, n, 2, 0);
  real *dw = out_at(w, n, 0, 0), *db = out_at(w, n, 1, 0);
  int64_t d = last_dim(n->in[0]), rows = rows_of(n->in[0], sm_items(n->in[0]));
  for (int64_t t = first; t < last; t++) {
    int64_t c0 = t * SM_COLUMN_TILE, width = min_i64(SM_COLUMN_TILE, d - c0);
    double sum_w[SM_COLUMN_TILE], sum_b[SM_COLUMN_TILE];
    FULL_OR_PARTIAL(norm_columns(dy + c0, x + c0, stats, d, rows, WIDTH, sum_w, sum_b));
    if (dw) columns_store(dw + c0, sum_w, width, adds_to(n, 0));
    if (db) columns_store(db + c0, sum_b, width, adds_to(n, 1));
  }
}

/* ---- layer scale ---------------------------------------------------------------------------- */

INLINE void product_columns(const real *dy, const real *f, const real *drop, int64_t sites, int64_t item_rows,
                            int64_t stride, int64_t rows, int64_t width, double *sum) {
  EACH_COLUMN sum[c] = 0;
  for (int64_t r0 = 0; r0 < rows; r0 += ROW_BLOCK) {
    int64_t r1 = min_i64(r0 + ROW_BLOCK, rows);
    real part[SM_COLUMN_TILE] = {0};
    for (int64_t r = r0; r < r1; r++) {
      const real *g = dy + r * stride, *v = f + r * stride;
      real factor = drop ? drop[r / item_rows * sites] : 1;
      SIMD EACH_COLUMN part[c] += factor * (g[c] * v[c]);
    }
    EACH_COLUMN sum[c] += (double)part[c];
  }
}

KERNEL(residual_dgamma) {
  const real *dy = in_at(w, n, 0, 0), *f = in_at(w, n, 1, 0), *drop = in_at(w, n, 2, 0);
  real *dgamma = out_at(w, n, 0, 0);
  int64_t d = last_dim(n->in[0]), items = sm_items(n->in[0]), item_rows = rows_of(n->in[0], 1);
  int64_t sites = drop ? last_dim(n->in[2]) : 0;
  for (int64_t t = first; t < last; t++) {
    int64_t c0 = t * SM_COLUMN_TILE, width = min_i64(SM_COLUMN_TILE, d - c0);
    double sum[SM_COLUMN_TILE];
    FULL_OR_PARTIAL(product_columns(dy + c0, f + c0, drop ? drop + n->i[0] : NULL, sites, item_rows, d,
                                    items * item_rows, WIDTH, sum));
    columns_store(dgamma + c0, sum, width, adds_to(n, 0));
  }
}

/* ---- means and sums ------------------------------------------------------------------------- */

KERNEL(mean_items) {
  const real *x = in_at(w, n, 0, 0);
  real *y = out_at(w, n, 0, 0);
  int64_t f = last_dim(n->in[0]), rows = rows_of(n->in[0], sm_items(n->in[0]));
  for (int64_t t = first; t < last; t++) {
    int64_t c0 = t * SM_COLUMN_TILE, width = min_i64(SM_COLUMN_TILE, f - c0);
    double sum[SM_COLUMN_TILE];
    columns_sum(x + c0, false, f, rows, width, sum);
    EACH_COLUMN sum[c] /= rows > 0 ? (double)rows : 1;
    columns_store(y + c0, sum, width, false);
  }
}

KERNEL(sum_rows_into) {
  const real *x = in_at(w, n, 0, 0);
  real *acc = out_at(w, n, 0, 0);
  int64_t k = last_dim(n->in[0]), rows = rows_of(n->in[0], sm_items(n->in[0]));
  for (int64_t t = first; t < last; t++) {
    int64_t c0 = t * SM_COLUMN_TILE, width = min_i64(SM_COLUMN_TILE, k - c0);
    double sum[SM_COLUMN_TILE];
    columns_sum(x + c0, false, k, rows, width, sum);
    columns_store(acc + c0, sum, width, true);
  }
}

KERNEL(sum) {
  const real *x = in_at(w, n, 0, 0);
  if (first >= last) return;
  *out_at(w, n, 0, 0) = (real)long_sum(x, sm_items(n->in[0]) * sm_item_elements(n->in[0]), false);
}

KERNEL(sum_dx) {
  real g = *in_at(w, n, 0, 0), *dx = out_at(w, n, 0, first);
  int64_t size = (last - first) * sm_item_elements(n->out[0]);
  bool add = adds_to(n, 0);
  for (int64_t k = 0; k < size; k++) dx[k] = add ? dx[k] + g : g;
}

KERNEL(add_count_into) {
  if (first < last) *out_at(w, n, 0, 0) += (real)sm_items(n->in[0]);
}

KERNEL(ema_update) {
  real *state = out_at(w, n, 0, 0), *sum = out_at(w, n, 1, 0), *count = out_at(w, n, 2, 0);
  real m = *in_at(w, n, 0, 0);
  int64_t k = sm_elements(n->out[0]);
  if (first >= last || *count == 0) return;
  real part = (1 - m) / *count;
  SIMD for (int64_t c = 0; c < k; c++) {
    state[c] = m * state[c] + part * sum[c];
    sum[c] = 0;
  }
  *count = 0;
}

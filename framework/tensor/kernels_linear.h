/* framework/tensor/kernels_linear.h — private: y = x wᵀ + b and its gradients. Included by kernels_variant.h.
 */

KERNEL(linear) {
  const real *x = in_at(w, n, 0, first), *weight = in_at(w, n, 1, 0), *bias = in_at(w, n, 2, 0);
  real *y = out_at(w, n, 0, first);
  int64_t c = last_dim(n->in[0]), m = last_dim(n->out[0]), rows = rows_of(n->in[0], last - first);
  gemm(AS_IS, TRANSPOSED, rows, m, c, 1, x, c, weight, c, bias, false, y, m, w->pack);
}

KERNEL(linear_dx) {
  const real *dy = in_at(w, n, 0, first), *weight = in_at(w, n, 1, 0);
  real *dx = out_at(w, n, 0, first);
  int64_t m = last_dim(n->in[0]), c = last_dim(n->out[0]), rows = rows_of(n->in[0], last - first);
  gemm(AS_IS, AS_IS, rows, c, m, 1, dy, m, weight, c, NULL, adds_to(n, 0), dx, c, w->pack);
}

/* A tile is a rectangle of dw: one product over all valid rows, so nothing is ever added across threads. Those of
 * the first column of tiles also make db. */
KERNEL(linear_dw) {
  const real *dy = in_at(w, n, 0, 0), *x = in_at(w, n, 1, 0);
  real *dw = out_at(w, n, 0, 0), *db = out_at(w, n, 1, 0);
  int64_t m = last_dim(n->in[0]), c = last_dim(n->in[1]), rows = rows_of(n->in[0], sm_items(n->in[0]));
  sm_grid grid = sm_product_grid(m, c);
  for (int64_t t = first; t < last; t++) {
    int64_t m0 = t / grid.column_tiles * grid.rows, c0 = t % grid.column_tiles * grid.columns;
    int64_t high = min_i64(grid.rows, m - m0), wide = min_i64(grid.columns, c - c0);
    gemm(TRANSPOSED, AS_IS, high, wide, rows, 1, dy + m0, m, x + c0, c, NULL, adds_to(n, 0), dw + m0 * c + c0,
         c, w->pack);
    for (int64_t j = m0; db && c0 == 0 && j < m0 + high; j += SM_COLUMN_TILE) {
      double sum[SM_COLUMN_TILE];
      int64_t width = min_i64(SM_COLUMN_TILE, m0 + high - j);
      columns_sum(dy + j, m, rows, width, sum);
      columns_store(db + j, sum, width, adds_to(n, 1));
    }
  }
}

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

/* A tile is some rows of dw (columns of dy): one product over all valid rows, so nothing is ever added across
 * threads. */
KERNEL(linear_dw) {
  const real *dy = in_at(w, n, 0, 0), *x = in_at(w, n, 1, 0);
  real *dw = out_at(w, n, 0, 0), *db = out_at(w, n, 1, 0);
  int64_t m = last_dim(n->in[0]), c = last_dim(n->in[1]), rows = rows_of(n->in[0], sm_items(n->in[0]));
  int64_t tile = sm_tile_rows(m, c);
  for (int64_t t = first; t < last; t++) {
    int64_t m0 = t * tile, m1 = min_i64(m0 + tile, m);
    if (m0 >= m1) break;
    if (rows > 0) {
      gemm(TRANSPOSED, AS_IS, m1 - m0, c, rows, 1, dy + m0, m, x, c, NULL, adds_to(n, 0), dw + m0 * c, c,
           w->pack);
    } else if (!adds_to(n, 0)) {
      memset(dw + m0 * c, 0, (size_t)((m1 - m0) * c) * sizeof *dw);
    }
    for (int64_t j = m0; db && j < m1; j += SM_COLUMN_TILE) {
      double sum[SM_COLUMN_TILE];
      int64_t width = min_i64(SM_COLUMN_TILE, m1 - j);
      columns_sum(dy + j, m, rows, width, sum);
      columns_store(db + j, sum, width, adds_to(n, 1));
    }
  }
}

/* framework/tensor/kernels_linear.h — private: y = x wᵀ + b and its gradients. Included by kernels_variant.h.
 */

KERNEL(linear) {
  const sm_tensor *x = n->in[0], *y = n->out[0];
  int64_t c = last_dim(x), m = last_dim(y);
  gemm(&(product){.m = rows_of(x, last - first),
                  .n = m,
                  .k = c,
                  .a = sm_range_at(w, x, first),
                  .lda = c,
                  .a_narrow = IS_NARROW(x),
                  .b = in_at(w, n, 1, 0),
                  .ldb = c,
                  .tb = TRANSPOSED,
                  .bias = in_at(w, n, 2, 0),
                  .c = sm_range_at(w, y, first),
                  .ldc = m,
                  .c_narrow = IS_NARROW(y)},
       w->pack);
}

KERNEL(linear_dx) {
  const sm_tensor *dy = n->in[0], *dx = n->out[0];
  int64_t m = last_dim(dy), c = last_dim(dx);
  gemm(&(product){.m = rows_of(dy, last - first),
                  .n = c,
                  .k = m,
                  .a = sm_range_at(w, dy, first),
                  .lda = m,
                  .a_narrow = IS_NARROW(dy),
                  .b = in_at(w, n, 1, 0),
                  .ldb = c,
                  .add = adds_to(n, 0),
                  .c = sm_range_at(w, dx, first),
                  .ldc = c,
                  .c_narrow = IS_NARROW(dx)},
       w->pack);
}

/* A tile is a rectangle of dw: one product over all valid rows, so nothing is ever added across threads. Those of
 * the first column of tiles also make db. */
KERNEL(linear_dw) {
  const sm_tensor *dy = n->in[0], *x = n->in[1];
  const void *g = sm_range_at(w, dy, 0), *v = sm_range_at(w, x, 0);
  real *dw = out_at(w, n, 0, 0), *db = out_at(w, n, 1, 0);
  int64_t m = last_dim(dy), c = last_dim(x), rows = rows_of(dy, sm_items(dy));
  sm_grid grid = sm_product_grid(m, c);
  for (int64_t t = first; t < last; t++) {
    int64_t m0 = t / grid.column_tiles * grid.rows, c0 = t % grid.column_tiles * grid.columns;
    int64_t m1 = min_i64(m0 + grid.rows, m);
    gemm(&(product){.m = m1 - m0,
                    .n = min_i64(grid.columns, c - c0),
                    .k = rows,
                    .a = place(g, IS_NARROW(dy), m0),
                    .lda = m,
                    .ta = TRANSPOSED,
                    .a_narrow = IS_NARROW(dy),
                    .b = place(v, IS_NARROW(x), c0),
                    .ldb = c,
                    .b_narrow = IS_NARROW(x),
                    .add = adds_to(n, 0),
                    .c = dw + m0 * c + c0,
                    .ldc = c},
         w->pack);
    for (int64_t j = m0; db && c0 == 0 && j < m1; j += SM_COLUMN_TILE) {
      double sum[SM_COLUMN_TILE];
      int64_t width = min_i64(SM_COLUMN_TILE, m1 - j);
      columns_sum(place(g, IS_NARROW(dy), j), IS_NARROW(dy), m, rows, width, sum);
      columns_store(db + j, sum, width, adds_to(n, 1));
    }
  }
}

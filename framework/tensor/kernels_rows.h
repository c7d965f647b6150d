/* framework/tensor/kernels_rows.h — private: rows taken out of tensors and put back. Included by
 * kernels_variant.h. */

/* to = from, or to += from; from NULL stands for zeros. */
INLINE void put_row(real *to, const real *from, int64_t d, bool add) {
  if (add && from) {
    SIMD for (int64_t c = 0; c < d; c++) to[c] += from[c];
  } else if (from) {
    memcpy(to, from, (size_t)d * sizeof *to);
  } else if (!add) {
    memset(to, 0, (size_t)d * sizeof *to);
  }
}

KERNEL(gather) {
  const real *x = in_at(w, n, 0, 0);
  const int32_t *token = sm_range_at(w, n->in[1], first);
  real *y = out_at(w, n, 0, first);
  int64_t d = last_dim(n->in[0]), tokens = n->i[0] > 0 ? n->i[0] : 1;
  for (int64_t r = 0; r < last - first; r++) put_row(y + r * d, x + token[r] / tokens * d, d, false);
}

/* The inverse of gather by the inverse list, so that each row is written once and ranges never meet. */
KERNEL(scatter) {
  const real *dy = in_at(w, n, 0, 0);
  const int32_t *slot = sm_range_at(w, n->in[1], first);
  real *dx = out_at(w, n, 0, first);
  int64_t d = last_dim(n->in[0]), rows = rows_of(n->out[0], last - first);
  for (int64_t r = 0; r < rows; r++)
    put_row(dx + r * d, slot[r] >= 0 ? dy + (int64_t)slot[r] * d : NULL, d, adds_to(n, 0));
}

KERNEL(drop_prefix) {
  const real *x = in_at(w, n, 0, first);
  real *y = out_at(w, n, 0, first);
  int64_t tokens = n->in[0]->dim[1], d = n->in[0]->dim[2], skip = n->i[0];
  for (int64_t i = 0; i < last - first; i++)
    memcpy(y + i * (tokens - skip) * d, x + (i * tokens + skip) * d,
           (size_t)((tokens - skip) * d) * sizeof *y);
}

KERNEL(drop_prefix_dx) {
  const real *dy = in_at(w, n, 0, first);
  real *dx = out_at(w, n, 0, first);
  int64_t tokens = n->out[0]->dim[1], d = n->out[0]->dim[2], skip = n->i[0];
  for (int64_t i = 0; i < last - first; i++) {
    put_row(dx + i * tokens * d, NULL, skip * d, adds_to(n, 0));
    put_row(dx + (i * tokens + skip) * d, dy + i * (tokens - skip) * d, (tokens - skip) * d, adds_to(n, 0));
  }
}

KERNEL(mean_tokens) {
  const real *x = in_at(w, n, 0, first);
  real *y = out_at(w, n, 0, first);
  int64_t tokens = n->in[0]->dim[1], d = n->in[0]->dim[2], skip = n->i[0];
  real share = (real)(1.0 / (double)(tokens - skip));
  for (int64_t i = 0; i < last - first; i++, x += tokens * d, y += d) {
    memset(y, 0, (size_t)d * sizeof *y);
    for (int64_t t = skip; t < tokens; t++) put_row(y, x + t * d, d, true);
    SIMD for (int64_t c = 0; c < d; c++) y[c] *= share;
  }
}

KERNEL(mean_tokens_dx) {
  const real *dy = in_at(w, n, 0, first);
  real *dx = out_at(w, n, 0, first);
  int64_t tokens = n->out[0]->dim[1], d = n->out[0]->dim[2], skip = n->i[0];
  real share = (real)(1.0 / (double)(tokens - skip));
  for (int64_t i = 0; i < last - first; i++, dx += tokens * d, dy += d) {
    put_row(dx, NULL, skip * d, adds_to(n, 0));
    for (int64_t t = skip; t < tokens; t++) {
      real *to = dx + t * d;
      if (adds_to(n, 0)) {
        SIMD for (int64_t c = 0; c < d; c++) to[c] += share * dy[c];
      } else {
        SIMD for (int64_t c = 0; c < d; c++) to[c] = share * dy[c];
      }
    }
  }
}

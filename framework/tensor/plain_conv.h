/* framework/tensor/plain_conv.h — private: reference kernels of pictures as tokens and of discrete codes. Included by
 * plain.h. */

/* ---- convolution ---------------------------------------------------------------------------- */

PLAIN(conv_weight) {
  const real *weight = in(w, n, 0, 0);
  real *ordered = out(w, n, 0, 0), *turned = out(w, n, 1, 0);
  int64_t filters = n->in[0]->dim[0], channels = n->in[0]->dim[1], side = n->i[0];
  FOR(o, filters) FOR(c, channels) FOR(ky, side) FOR(kx, side) {
    if (o < first * SM_FILTER_TILE || o >= last * SM_FILTER_TILE) continue;
    real v = weight[((o * channels + c) * side + ky) * side + kx];
    ordered[((o * side + ky) * side + kx) * channels + c] = v;
    if (turned) turned[((c * side + side - 1 - ky) * side + side - 1 - kx) * filters + o] = v;
  }
}

/* x at (y, x) of an item, 0 outside. */
static double pixel(const sm_node *n, const real *item, int64_t y, int64_t x, int64_t channels, int64_t c) {
  bool inside = y >= 0 && x >= 0 && y < n->i[0] && x < n->i[1];
  return inside ? (double)item[(y * n->i[1] + x) * channels + c] : 0;
}

PLAIN(conv) {
  const real *x = in(w, n, 0, first), *weight = in(w, n, 1, 0), *bias = in(w, n, 2, 0);
  real *y = out(w, n, 0, first);
  int64_t c = row_length(n->in[0]), m = row_length(n->out[0]), side = n->i[2], reach = side / 2;
  FOR(i, last - first) FOR(py, n->i[0]) FOR(px, n->i[1]) FOR(o, m) {
    const real *item = x + i * sm_item_elements(n->in[0]);
    double sum = bias ? bias[o] : 0;
    FOR(ky, side)
    FOR(kx, side) FOR(k, c) sum += pixel(n, item, py + ky - reach, px + kx - reach, c, k) *
                                   weight[((o * side + ky) * side + kx) * c + k];
    put(n, 0, &y[((i * n->i[0] + py) * n->i[1] + px) * m + o], sum);
  }
}

PLAIN(conv_dw) {
  const real *dy = in(w, n, 0, 0), *x = in(w, n, 1, 0);
  real *dw = out(w, n, 0, 0), *db = out(w, n, 1, 0);
  int64_t m = row_length(n->in[0]), c = row_length(n->in[1]), side = n->i[2], reach = side / 2;
  int64_t items = sm_items(n->in[0]), size = sm_item_elements(n->in[1]);
  sm_grid grid = sm_product_grid(m, side * side * c);
  FOR(o, m) FOR(ky, side) FOR(kx, side) FOR(k, c) {
    int64_t column = (ky * side + kx) * c + k,
            tile = o / grid.rows * grid.column_tiles + column / grid.columns;
    if (tile < first || tile >= last) continue;
    double sum = 0, bias = 0;
    FOR(i, items) FOR(py, n->i[0]) FOR(px, n->i[1]) {
      double g = dy[((i * n->i[0] + py) * n->i[1] + px) * m + o];
      sum += g * pixel(n, x + i * size, py + ky - reach, px + kx - reach, c, k);
      bias += g;
    }
    put(n, 0, &dw[((o * c + k) * side + ky) * side + kx], sum);
    if (db && column == 0) put(n, 1, &db[o], bias);
  }
}

/* ---- ReLU, pooling, up-sampling ------------------------------------------------------------- */

PLAIN(relu) {
  const real *x = in(w, n, 0, first);
  real *y = out(w, n, 0, first);
  FOR(k, (last - first) * sm_item_elements(n->in[0])) y[k] = x[k] <= 0 ? 0 : x[k];
}

PLAIN(relu_dx) {
  const real *x = in(w, n, 0, first), *dy = in(w, n, 1, first);
  real *dx = out(w, n, 0, first);
  FOR(k, (last - first) * sm_item_elements(n->in[0])) put(n, 0, &dx[k], x[k] <= 0 ? 0 : dy[k]);
}

PLAIN(max_pool) {
  const real *x = in(w, n, 0, first);
  real *y = out(w, n, 0, first);
  int64_t c = row_length(n->in[0]), height = n->i[0] / 2, width = n->i[1] / 2;
  FOR(i, last - first) FOR(py, height) FOR(px, width) FOR(k, c) {
    const real *item = x + i * sm_item_elements(n->in[0]);
    double best = -INFINITY;
    FOR(j, 4) {
      double v = pixel(n, item, 2 * py + j / 2, 2 * px + j % 2, c, k);
      if (!(v <= best)) best = v;
    }
    y[((i * height + py) * width + px) * c + k] = (real)best;
  }
}

PLAIN(max_pool_dx) {
  const real *x = in(w, n, 0, first), *dy = in(w, n, 1, first);
  real *dx = out(w, n, 0, first);
  int64_t c = row_length(n->in[0]), height = n->i[0] / 2, width = n->i[1] / 2;
  FOR(i, last - first) FOR(py, height) FOR(px, width) FOR(k, c) {
    int64_t size = sm_item_elements(n->in[0]), best = 0;
    const real *item = x + i * size;
    for (int64_t j = 1; j < 4; j++)
      if (pixel(n, item, 2 * py + j / 2, 2 * px + j % 2, c, k) >
          pixel(n, item, 2 * py + best / 2, 2 * px + best % 2, c, k))
        best = j;
    FOR(j, 4)
    put(n, 0, &dx[i * size + ((2 * py + j / 2) * n->i[1] + 2 * px + j % 2) * c + k],
        j == best ? dy[((i * height + py) * width + px) * c + k] : 0);
  }
}

PLAIN(upsample) {
  const real *x = in(w, n, 0, first);
  real *y = out(w, n, 0, first);
  int64_t c = row_length(n->in[0]), height = 2 * n->i[0], width = 2 * n->i[1];
  FOR(i, last - first)
  FOR(py, height) FOR(px, width) FOR(k, c) y[((i * height + py) * width + px) * c + k] =
      x[i * sm_item_elements(n->in[0]) + (py / 2 * n->i[1] + px / 2) * c + k];
}

PLAIN(upsample_dx) {
  const real *dy = in(w, n, 0, first);
  real *dx = out(w, n, 0, first);
  int64_t c = row_length(n->in[0]), height = 2 * n->i[0], width = 2 * n->i[1];
  FOR(i, last - first) FOR(py, n->i[0]) FOR(px, n->i[1]) FOR(k, c) {
    double sum = 0;
    FOR(j, 4) sum += dy[((i * height + 2 * py + j / 2) * width + 2 * px + j % 2) * c + k];
    put(n, 0, &dx[((i * n->i[0] + py) * n->i[1] + px) * c + k], sum);
  }
}

/* ---- discrete codes ------------------------------------------------------------------------- */

/* Gumbel number k of a row: Philox4x32-10 (Salmon et al. 2011), by the book. */
static double plain_gumbel(const int32_t *key, int64_t item, int64_t row, int64_t k) {
  uint32_t c[4] = {(uint32_t)(k / 4), (uint32_t)row, (uint32_t)key[2] + (uint32_t)item, 0};
  uint32_t k0 = (uint32_t)key[0], k1 = (uint32_t)key[1];
  FOR(round, 10) {
    uint64_t p0 = UINT64_C(0xD2511F53) * c[0], p1 = UINT64_C(0xCD9E8D57) * c[2];
    uint32_t next[4] = {(uint32_t)(p1 >> 32) ^ c[1] ^ k0, (uint32_t)p1, (uint32_t)(p0 >> 32) ^ c[3] ^ k1,
                        (uint32_t)p0};
    FOR(j, 4) c[j] = next[j];
    k0 += UINT32_C(0x9E3779B9);
    k1 += UINT32_C(0xBB67AE85);
  }
  return -log(-log(((c[k % 4] >> 9) + 0.5) / 8388608));
}

PLAIN(gumbel_softmax) {
  const real *logits = in(w, n, 0, first), inv_tau = *in(w, n, 1, 0);
  const int32_t *key = sm_range_at(w, n->in[2], 0);
  real *y = out(w, n, 0, first);
  int64_t tokens = n->in[0]->dim[1], size = row_length(n->in[0]);
  for (int64_t item = first; item < last; item++) FOR(t, tokens) {
      double max = -INFINITY, sum = 0;
      int64_t r = ((item - first) * tokens + t) * size;
      FOR(k, size) max = fmax(max, (logits[r + k] + plain_gumbel(key, item, t, k)) * inv_tau);
      FOR(k, size) sum += exp((logits[r + k] + plain_gumbel(key, item, t, k)) * inv_tau - max);
      FOR(k, size)
      y[r + k] = (real)(exp((logits[r + k] + plain_gumbel(key, item, t, k)) * inv_tau - max) / sum);
    }
}

PLAIN(gumbel_softmax_dx) {
  const real *y = in(w, n, 0, first), *dy = in(w, n, 1, first), inv_tau = *in(w, n, 2, 0);
  real *dx = out(w, n, 0, first);
  int64_t size = row_length(n->in[0]);
  FOR(r, (last - first) * item_rows(n->in[0])) {
    double mean = 0;
    FOR(k, size) mean += (double)y[r * size + k] * dy[r * size + k];
    FOR(k, size) put(n, 0, &dx[r * size + k], inv_tau * y[r * size + k] * (dy[r * size + k] - mean));
  }
}

/* ln softmax(z)_k of a row. */
static double log_probability(const real *z, int64_t size, int64_t at) {
  double max = -INFINITY, sum = 0;
  FOR(k, size) max = fmax(max, z[k]);
  FOR(k, size) sum += exp(z[k] - max);
  return z[at] - max - log(sum);
}
static double row_entropy(const real *z, int64_t size) {
  double h = 0;
  FOR(k, size) h -= exp(log_probability(z, size, k)) * log_probability(z, size, k);
  return h;
}

PLAIN(kl_uniform) {
  const real *z = in(w, n, 0, first);
  real *kl = out(w, n, 0, first);
  int64_t tokens = n->in[0]->dim[1], size = row_length(n->in[0]);
  FOR(i, last - first) {
    double sum = 0;
    FOR(t, tokens) sum += log((double)size) - row_entropy(z + (i * tokens + t) * size, size);
    kl[i] = (real)sum;
  }
}

PLAIN(kl_uniform_dx) {
  const real *z = in(w, n, 0, first), *dkl = in(w, n, 1, first);
  real *dz = out(w, n, 0, first);
  int64_t tokens = n->in[0]->dim[1], size = row_length(n->in[0]);
  FOR(i, last - first) FOR(t, tokens) {
    const real *row = z + (i * tokens + t) * size;
    double h = row_entropy(row, size);
    FOR(k, size) {
      double log_p = log_probability(row, size, k);
      put(n, 0, &dz[(i * tokens + t) * size + k], dkl[i] * exp(log_p) * (log_p + h));
    }
  }
}

PLAIN(squared_error) {
  const real *p = in(w, n, 0, first), *x = in(w, n, 1, first);
  real *e = out(w, n, 0, first);
  int64_t size = sm_item_elements(n->in[0]);
  FOR(i, last - first) {
    double sum = 0;
    FOR(k, size)
    sum += ((double)p[i * size + k] - x[i * size + k]) * ((double)p[i * size + k] - x[i * size + k]);
    e[i] = (real)sum;
  }
}

PLAIN(squared_error_dx) {
  const real *p = in(w, n, 0, first), *x = in(w, n, 1, first), *de = in(w, n, 2, first);
  real *dp = out(w, n, 0, first);
  int64_t size = sm_item_elements(n->in[0]);
  FOR(i, last - first)
  FOR(k, size) put(n, 0, &dp[i * size + k], 2 * (double)de[i] * ((double)p[i * size + k] - x[i * size + k]));
}

PLAIN(logit_laplace) {
  const real *p = in(w, n, 0, first), *x = in(w, n, 1, first);
  real *nll = out(w, n, 0, first), *error = out(w, n, 1, first);
  int64_t c = row_length(n->in[1]), pixels = item_rows(n->in[1]);
  FOR(i, last - first) {
    double sum = 0, squares = 0;
    FOR(j, pixels) FOR(k, c) {
      const real *row = p + (i * pixels + j) * 2 * c;
      double v = x[(i * pixels + j) * c + k], mu = row[k], b = exp(row[c + k]);
      sum += log(2 * b * v * (1 - v)) + fabs(log(v / (1 - v)) - mu) / b;
      squares += pow(1 / (1 + exp(-mu)) - v, 2);
    }
    nll[i] = (real)sum;
    error[i] = (real)squares;
  }
}

PLAIN(logit_laplace_dx) {
  const real *p = in(w, n, 0, first), *x = in(w, n, 1, first), *dnll = in(w, n, 2, first);
  real *dp = out(w, n, 0, first);
  int64_t c = row_length(n->in[1]), pixels = item_rows(n->in[1]);
  FOR(i, last - first) FOR(j, pixels) FOR(k, c) {
    const int64_t at = (i * pixels + j) * 2 * c;
    double v = x[(i * pixels + j) * c + k], off = log(v / (1 - v)) - p[at + k], b = exp(p[at + c + k]);
    put(n, 0, &dp[at + k], dnll[i] * (off > 0 ? -1 : off < 0) / b);
    put(n, 0, &dp[at + c + k], dnll[i] * (1 - fabs(off) / b));
  }
}

PLAIN(scale_by) {
  const real *x = in(w, n, 0, first), factor = *in(w, n, 1, 0);
  real *y = out(w, n, 0, first);
  FOR(k, (last - first) * sm_item_elements(n->out[0])) put(n, 0, &y[k], (double)factor * x[k]);
}

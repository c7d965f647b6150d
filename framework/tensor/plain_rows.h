/* framework/tensor/plain_rows.h — private: reference kernels of tokens, rows, norms and sums. Included by
 * plain.h. */

PLAIN(patchify) {
  const real *x = in(w, n, 0, first);
  real *y = out(w, n, 0, first);
  int64_t channels = n->in[0]->dim[1], height = n->in[0]->dim[2], width = n->in[0]->dim[3], p = n->i[0];
  int64_t cells = width / p, count = height / p * cells;
  FOR(i, last - first)
  FOR(j, count) FOR(c, channels) FOR(py, p) FOR(px, p)
      y[(((i * count + j) * channels + c) * p + py) * p + px] =
          x[((i * channels + c) * height + j / cells * p + py) * width + j % cells * p + px];
}

PLAIN(tokens) {
  const real *patches = in(w, n, 0, first), *cls = in(w, n, 1, 0), *pos = in(w, n, 2, 0),
             *mask_token = in(w, n, 3, 0);
  const uint8_t *mask = n->in[4] ? sm_range_at(w, n->in[4], first) : NULL;
  real *y = out(w, n, 0, first);
  int64_t count = n->in[0]->dim[1], d = n->in[0]->dim[2], prefix = n->i[0] ? 0 : 1;
  FOR(i, last - first) FOR(j, count + prefix) FOR(c, d) {
    int64_t patch = i * count + j - prefix;
    double value = j < prefix            ? cls[c]
                   : mask && mask[patch] ? (mask_token ? mask_token[c] : 0)
                                         : patches[patch * d + c];
    y[(i * (count + prefix) + j) * d + c] = (real)(value + (pos ? pos[j * d + c] : 0));
  }
}

PLAIN(tokens_dpatch) {
  const real *dy = in(w, n, 0, first);
  const uint8_t *mask = n->in[1] ? sm_range_at(w, n->in[1], first) : NULL;
  real *dx = out(w, n, 0, first);
  int64_t count = n->out[0]->dim[1], d = n->out[0]->dim[2], prefix = n->i[0] ? 0 : 1;
  FOR(i, last - first)
  FOR(j, count) FOR(c, d) put(n, 0, &dx[(i * count + j) * d + c],
                              mask && mask[i * count + j] ? 0 : dy[(i * (count + prefix) + j + prefix) * d + c]);
}

PLAIN(tokens_dparam) {
  const real *dy = in(w, n, 0, 0);
  const uint8_t *mask = n->in[1] ? sm_range_at(w, n->in[1], 0) : NULL;
  real *dcls = out(w, n, 0, 0), *dpos = out(w, n, 1, 0), *dmask = out(w, n, 2, 0);
  int64_t t = n->in[0]->dim[1], d = n->in[0]->dim[2], items = sm_items(n->in[0]), prefix = n->i[0] ? 0 : 1;
  COLUMNS(c, d) {
    double sum_mask = 0;
    FOR(j, t) {
      double sum = 0;
      FOR(i, items) {
        sum += dy[(i * t + j) * d + c];
        if (j >= prefix && mask && mask[i * (t - prefix) + j - prefix]) sum_mask += dy[(i * t + j) * d + c];
      }
      if (dpos) put(n, 1, &dpos[j * d + c], sum);
      if (dcls && j == 0) put(n, 0, &dcls[c], sum);
    }
    if (dmask) put(n, 2, &dmask[c], sum_mask);
  }
}

/* ---- position embeddings for another grid: cubic convolution, a = -0.75 --------------------- */

static double cubic(double x) {
  const double a = -0.75;
  x = fabs(x);
  if (x <= 1) return (a + 2) * x * x * x - (a + 3) * x * x + 1;
  if (x < 2) return a * x * x * x - 5 * a * x * x + 8 * a * x - 4 * a;
  return 0;
}

/* How much of source cell `from` goes into place `to` of an axis resized from n0 to n1: border cells stand
 * for all beyond. */
static double axis_weight(int64_t to, int64_t from, int64_t n0, int64_t n1) {
  double source = (to + 0.5) / ((n1 + 0.1) / (double)n0) - 0.5, sum = 0;
  for (int64_t tap = (int64_t)floor(source) - 1; tap <= (int64_t)floor(source) + 2; tap++) {
    int64_t at = tap < 0 ? 0 : tap >= n0 ? n0 - 1 : tap;
    if (at == from) sum += cubic(source - (double)tap);
  }
  return sum;
}

static double cell_weight(const sm_node *n, int64_t to, int64_t from) {
  return axis_weight(to / n->i[3], from / n->i[1], n->i[0], n->i[2]) *
         axis_weight(to % n->i[3], from % n->i[1], n->i[1], n->i[3]);
}

PLAIN(position_resize) {
  const real *pos = in(w, n, 0, 0);
  real *y = out(w, n, 0, 0);
  int64_t d = row_length(n->in[0]);
  COLUMNS(c, d) {
    y[c] = pos[c];
    FOR(to, n->i[2] * n->i[3]) {
      double sum = 0;
      FOR(from, n->i[0] * n->i[1]) sum += cell_weight(n, to, from) * pos[(1 + from) * d + c];
      y[(1 + to) * d + c] = (real)sum;
    }
  }
}

PLAIN(position_resize_dx) {
  const real *dy = in(w, n, 0, 0);
  real *dpos = out(w, n, 0, 0);
  int64_t d = row_length(n->in[0]);
  COLUMNS(c, d) {
    put(n, 0, &dpos[c], dy[c]);
    FOR(from, n->i[0] * n->i[1]) {
      double sum = 0;
      FOR(to, n->i[2] * n->i[3]) sum += cell_weight(n, to, from) * dy[(1 + to) * d + c];
      put(n, 0, &dpos[(1 + from) * d + c], sum);
    }
  }
}

/* ---- rows ----------------------------------------------------------------------------------- */

PLAIN(gather) {
  const real *x = in(w, n, 0, 0);
  const int32_t *token = sm_range_at(w, n->in[1], first);
  real *y = out(w, n, 0, first);
  int64_t d = row_length(n->in[0]), tokens = n->i[0] > 0 ? n->i[0] : 1;
  FOR(r, last - first) FOR(c, d) y[r * d + c] = x[token[r] / tokens * d + c];
}

PLAIN(scatter) {
  const real *dy = in(w, n, 0, 0);
  const int32_t *slot = sm_range_at(w, n->in[1], first);
  real *dx = out(w, n, 0, first);
  int64_t d = row_length(n->in[0]);
  FOR(r, (last - first) * item_rows(n->out[0]))
  FOR(c, d) put(n, 0, &dx[r * d + c], slot[r] < 0 ? 0 : dy[slot[r] * d + c]);
}

PLAIN(drop_prefix) {
  const real *x = in(w, n, 0, first);
  real *y = out(w, n, 0, first);
  int64_t t = n->in[0]->dim[1], d = n->in[0]->dim[2], skip = n->i[0];
  FOR(i, last - first)
  FOR(j, t - skip) FOR(c, d) y[(i * (t - skip) + j) * d + c] = x[(i * t + skip + j) * d + c];
}

PLAIN(drop_prefix_dx) {
  const real *dy = in(w, n, 0, first);
  real *dx = out(w, n, 0, first);
  int64_t t = n->out[0]->dim[1], d = n->out[0]->dim[2], skip = n->i[0];
  FOR(i, last - first)
  FOR(j, t) FOR(c, d)
      put(n, 0, &dx[(i * t + j) * d + c], j < skip ? 0 : dy[(i * (t - skip) + j - skip) * d + c]);
}

PLAIN(mean_tokens) {
  const real *x = in(w, n, 0, first);
  real *y = out(w, n, 0, first);
  int64_t t = n->in[0]->dim[1], d = n->in[0]->dim[2], skip = n->i[0];
  FOR(i, last - first) FOR(c, d) {
    double sum = 0;
    for (int64_t j = skip; j < t; j++) sum += (double)x[(i * t + j) * d + c];
    y[i * d + c] = (real)(sum / (double)(t - skip));
  }
}

PLAIN(mean_tokens_dx) {
  const real *dy = in(w, n, 0, first);
  real *dx = out(w, n, 0, first);
  int64_t t = n->out[0]->dim[1], d = n->out[0]->dim[2], skip = n->i[0];
  FOR(i, last - first)
  FOR(j, t) FOR(c, d)
      put(n, 0, &dx[(i * t + j) * d + c], j < skip ? 0 : (double)dy[i * d + c] / (double)(t - skip));
}

/* ---- norms ---------------------------------------------------------------------------------- */

static double length_of(const real *x, int64_t d) {
  double square = 0;
  FOR(c, d) square += (double)x[c] * x[c];
  return sqrt(square);
}

PLAIN(l2_normalize) {
  const real *x = in(w, n, 0, first);
  real *y = out(w, n, 0, first), *norm = out(w, n, 1, first);
  int64_t d = row_length(n->in[0]);
  FOR(r, (last - first) * item_rows(n->in[0])) {
    double length = fmax(length_of(x + r * d, d), n->f[0]);
    FOR(c, d) y[r * d + c] = (real)(x[r * d + c] / length);
    if (norm) norm[r] = (real)length;
  }
}

PLAIN(l2_normalize_dx) {
  const real *dy = in(w, n, 0, first), *y = in(w, n, 1, first), *norm = in(w, n, 2, first);
  real *dx = out(w, n, 0, first);
  int64_t d = row_length(n->in[0]);
  FOR(r, (last - first) * item_rows(n->in[0])) {
    double along = 0;
    FOR(c, d) along += (double)y[r * d + c] * dy[r * d + c];
    if (norm[r] == (real)n->f[0]) along = 0;
    FOR(c, d) put(n, 0, &dx[r * d + c], (dy[r * d + c] - y[r * d + c] * along) / norm[r]);
  }
}

PLAIN(weight_norm) {
  const real *v = in(w, n, 0, 0), *gain = in(w, n, 1, 0);
  real *y = out(w, n, 0, 0);
  int64_t f = row_length(n->in[0]);
  for (int64_t r = first * SM_ROW_TILE; r < last * SM_ROW_TILE && r < n->in[0]->dim[0]; r++) {
    double length = length_of(v + r * f, f);
    FOR(c, f) y[r * f + c] = length > 0 ? (real)(gain[r] * v[r * f + c] / length) : 0;
  }
}

PLAIN(weight_norm_dv) {
  const real *dw = in(w, n, 0, 0), *v = in(w, n, 1, 0), *gain = in(w, n, 2, 0);
  real *dv = out(w, n, 0, 0), *dgain = out(w, n, 1, 0);
  int64_t f = row_length(n->in[1]);
  for (int64_t r = first * SM_ROW_TILE; r < last * SM_ROW_TILE && r < n->in[1]->dim[0]; r++) {
    double length = length_of(v + r * f, f), along = 0;
    FOR(c, f) along += length > 0 ? dw[r * f + c] * (v[r * f + c] / length) : 0;
    if (dgain) put(n, 1, &dgain[r], along);
    if (!dv) continue;
    FOR(c, f) {
      double direction = length > 0 ? v[r * f + c] / length : 0;
      put(n, 0, &dv[r * f + c], length > 0 ? gain[r] / length * (dw[r * f + c] - direction * along) : 0);
    }
  }
}

/* ---- sums ----------------------------------------------------------------------------------- */

PLAIN(mean_items) {
  const real *x = in(w, n, 0, 0);
  real *y = out(w, n, 0, 0);
  int64_t f = row_length(n->in[0]), rows = valid_rows(n->in[0]);
  COLUMNS(c, f) {
    double sum = 0;
    FOR(r, rows) sum += x[r * f + c];
    y[c] = rows > 0 ? (real)(sum / (double)rows) : 0;
  }
}

PLAIN(sum_rows_into) {
  const real *x = in(w, n, 0, 0);
  real *acc = out(w, n, 0, 0);
  int64_t k = row_length(n->in[0]);
  COLUMNS(c, k) {
    double sum = acc[c];
    FOR(r, valid_rows(n->in[0])) sum += x[r * k + c];
    acc[c] = (real)sum;
  }
}

PLAIN(sum) {
  const real *x = in(w, n, 0, 0);
  double sum = 0;
  if (first >= last) return;
  FOR(k, sm_items(n->in[0]) * sm_item_elements(n->in[0])) sum += x[k];
  *out(w, n, 0, 0) = (real)sum;
}

PLAIN(sum_dx) {
  real *dx = out(w, n, 0, first);
  FOR(k, (last - first) * sm_item_elements(n->out[0])) put(n, 0, &dx[k], *in(w, n, 0, 0));
}

PLAIN(add_count_into) {
  if (first < last) *out(w, n, 0, 0) += (real)sm_items(n->in[0]);
}

PLAIN(ema_update) {
  real *state = out(w, n, 0, 0), *sum = out(w, n, 1, 0), *count = out(w, n, 2, 0);
  double m = *in(w, n, 0, 0);
  if (first >= last || *count == 0) return;
  FOR(k, sm_elements(n->out[0])) {
    state[k] = (real)(m * state[k] + (1 - m) * sum[k] / *count);
    sum[k] = 0;
  }
  *count = 0;
}

/* ---- element by element --------------------------------------------------------------------- */

#define ELEMENTS(k) FOR(k, (last - first) * sm_item_elements(n->out[0]))

PLAIN(add) { ELEMENTS(k) out(w, n, 0, first)[k] = in(w, n, 0, first)[k] + in(w, n, 1, first)[k]; }
PLAIN(mul) {
  ELEMENTS(k) put(n, 0, &out(w, n, 0, first)[k], (double)in(w, n, 0, first)[k] * in(w, n, 1, first)[k]);
}
PLAIN(scale) {
  ELEMENTS(k) put(n, 0, &out(w, n, 0, first)[k], (real)n->f[0] * (double)in(w, n, 0, first)[k]);
}
PLAIN(copy) { ELEMENTS(k) put(n, 0, &out(w, n, 0, first)[k], in(w, n, 0, first)[k]); }
PLAIN(fill) { ELEMENTS(k) out(w, n, 0, first)[k] = (real)n->f[0]; }

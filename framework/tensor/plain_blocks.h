/* framework/tensor/plain_blocks.h — private: reference kernels of a transformer block. Included by plain.h.
 */

/* ---- linear --------------------------------------------------------------------------------- */

PLAIN(linear) {
  const real *x = in(w, n, 0, first), *weight = in(w, n, 1, 0), *bias = in(w, n, 2, 0);
  real *y = out(w, n, 0, first);
  int64_t c = row_length(n->in[0]), m = row_length(n->out[0]);
  FOR(r, (last - first) * item_rows(n->in[0])) FOR(j, m) {
    double sum = bias ? bias[j] : 0;
    FOR(k, c) sum += (double)x[r * c + k] * weight[j * c + k];
    y[r * m + j] = (real)sum;
  }
}

PLAIN(linear_dx) {
  const real *dy = in(w, n, 0, first), *weight = in(w, n, 1, 0);
  real *dx = out(w, n, 0, first);
  int64_t m = row_length(n->in[0]), c = row_length(n->out[0]);
  FOR(r, (last - first) * item_rows(n->in[0])) FOR(k, c) {
    double sum = 0;
    FOR(j, m) sum += (double)dy[r * m + j] * weight[j * c + k];
    put(n, 0, &dx[r * c + k], sum);
  }
}

PLAIN(linear_dw) {
  const real *dy = in(w, n, 0, 0), *x = in(w, n, 1, 0);
  real *dw = out(w, n, 0, 0), *db = out(w, n, 1, 0);
  int64_t m = row_length(n->in[0]), c = row_length(n->in[1]), rows = valid_rows(n->in[0]);
  sm_grid grid = sm_product_grid(m, c);
  FOR(j, m) FOR(k, c) {
    int64_t tile = j / grid.rows * grid.column_tiles + k / grid.columns;
    if (tile < first || tile >= last) continue;
    double sum = 0, column = 0;
    FOR(r, rows) sum += (double)dy[r * m + j] * x[r * c + k];
    put(n, 0, &dw[j * c + k], sum);
    if (!db || k > 0) continue;
    FOR(r, rows) column += dy[r * m + j];
    put(n, 1, &db[j], column);
  }
}

/* ---- GELU: x·Φ(x) --------------------------------------------------------------------------- */

PLAIN(gelu) {
  const real *x = in(w, n, 0, first);
  real *y = out(w, n, 0, first);
  FOR(k, (last - first) * sm_item_elements(n->in[0]))
  y[k] = (real)(0.5 * x[k] * erfc(-(double)x[k] * M_SQRT1_2));
}

PLAIN(gelu_dx) {
  const real *x = in(w, n, 0, first), *dy = in(w, n, 1, first);
  real *dx = out(w, n, 0, first), *y = out(w, n, 1, first);
  FOR(k, (last - first) * sm_item_elements(n->in[0])) {
    double v = x[k], phi = exp(-0.5 * v * v) / sqrt(2 * M_PI), below = 0.5 * erfc(-v * M_SQRT1_2);
    put(n, 0, &dx[k], dy[k] * (below + v * phi));
    if (y) y[k] = (real)(v * below);
  }
}

/* ---- layer norm ----------------------------------------------------------------------------- */

PLAIN(layer_norm) {
  const real *x = in(w, n, 0, first), *weight = in(w, n, 1, 0), *bias = in(w, n, 2, 0);
  real *y = out(w, n, 0, first), *stats = out(w, n, 1, first);
  int64_t d = row_length(n->in[0]);
  FOR(r, (last - first) * item_rows(n->in[0])) {
    double mean = 0, variance = 0;
    FOR(c, d) mean += x[r * d + c] / (double)d;
    FOR(c, d) variance += (x[r * d + c] - mean) * (x[r * d + c] - mean) / (double)d;
    double inverse = 1 / sqrt(variance + n->f[0]);
    FOR(c, d) y[r * d + c] = (real)((x[r * d + c] - mean) * inverse * (weight ? weight[c] : 1) + (bias ? bias[c] : 0));
    if (!stats) continue;
    stats[2 * r] = (real)mean;
    stats[2 * r + 1] = (real)inverse;
  }
}

PLAIN(layer_norm_dx) {
  const real *dy = in(w, n, 0, first), *x = in(w, n, 1, first), *weight = in(w, n, 2, 0);
  const real *stats = in(w, n, 3, first), *res = in(w, n, 4, first);
  real *dx = out(w, n, 0, first);
  int64_t d = row_length(n->in[0]);
  FOR(r, (last - first) * item_rows(n->in[0])) {
    double mean = stats[2 * r], inverse = stats[2 * r + 1], mean_g = 0, mean_gx = 0;
    FOR(c, d) {
      double g = (double)dy[r * d + c] * (weight ? weight[c] : 1);
      mean_g += g / (double)d;
      mean_gx += g * (x[r * d + c] - mean) * inverse / (double)d;
    }
    FOR(c, d) {
      double normal = (x[r * d + c] - mean) * inverse, g = (double)dy[r * d + c] * (weight ? weight[c] : 1);
      dx[r * d + c] = (real)((res ? res[r * d + c] : 0) + inverse * (g - mean_g - normal * mean_gx));
    }
  }
}

PLAIN(layer_norm_dw) {
  const real *dy = in(w, n, 0, 0), *x = in(w, n, 1, 0), *stats = in(w, n, 2, 0);
  real *dw = out(w, n, 0, 0), *db = out(w, n, 1, 0);
  int64_t d = row_length(n->in[0]), rows = valid_rows(n->in[0]);
  COLUMNS(c, d) {
    double sum_w = 0, sum_b = 0;
    FOR(r, rows) {
      sum_w += (double)dy[r * d + c] * ((double)x[r * d + c] - stats[2 * r]) * stats[2 * r + 1];
      sum_b += dy[r * d + c];
    }
    if (dw) put(n, 0, &dw[c], sum_w);
    if (db) put(n, 1, &db[c], sum_b);
  }
}

/* ---- residual: y = x + drop·gamma⊙f --------------------------------------------------------- */

PLAIN(residual) {
  const real *x = in(w, n, 0, first), *f = in(w, n, 1, first), *gamma = in(w, n, 2, 0),
             *drop = in(w, n, 3, first);
  real *y = out(w, n, 0, first);
  int64_t d = row_length(n->in[0]), size = sm_item_elements(n->in[0]);
  FOR(i, last - first) FOR(k, size) {
    double factor = drop ? drop[i * row_length(n->in[3]) + n->i[0]] : 1;
    y[i * size + k] = (real)(x[i * size + k] + factor * (gamma ? gamma[k % d] : 1) * f[i * size + k]);
  }
}

PLAIN(residual_df) {
  const real *dy = in(w, n, 0, first), *gamma = in(w, n, 1, 0), *drop = in(w, n, 2, first);
  real *df = out(w, n, 0, first);
  int64_t d = row_length(n->in[0]), size = sm_item_elements(n->in[0]);
  FOR(i, last - first) FOR(k, size) {
    double factor = drop ? drop[i * row_length(n->in[2]) + n->i[0]] : 1;
    put(n, 0, &df[i * size + k], factor * (gamma ? gamma[k % d] : 1) * dy[i * size + k]);
  }
}

PLAIN(residual_dgamma) {
  const real *dy = in(w, n, 0, 0), *f = in(w, n, 1, 0), *drop = in(w, n, 2, 0);
  real *dgamma = out(w, n, 0, 0);
  int64_t d = row_length(n->in[0]), rows = item_rows(n->in[0]);
  COLUMNS(c, d) {
    double sum = 0;
    FOR(r, valid_rows(n->in[0])) {
      double factor = drop ? drop[r / rows * row_length(n->in[2]) + n->i[0]] : 1;
      sum += factor * dy[r * d + c] * f[r * d + c];
    }
    put(n, 0, &dgamma[c], sum);
  }
}

/* ---- attention ------------------------------------------------------------------------------ */

/* qkv[item][token][part: 0 q, 1 k, 2 v][head][c] */
typedef struct attention_at {
  int64_t t, d, heads, width;
} attention_at;

static attention_at attention_shape(const sm_node *n) {
  int64_t d = n->in[0]->dim[2] / 3;
  return (attention_at){n->in[0]->dim[1], d, n->i[0], d / n->i[0]};
}
static int64_t qkv_at(const attention_at *a, int64_t item, int64_t token, int64_t part, int64_t head) {
  return (item * a->t + token) * 3 * a->d + part * a->d + head * a->width;
}

static double score(const attention_at *a, const real *qkv, int64_t item, int64_t head, int64_t query,
                    int64_t key, double scale) {
  double dot = 0;
  FOR(c, a->width)
  dot += (double)qkv[qkv_at(a, item, query, 0, head) + c] * qkv[qkv_at(a, item, key, 1, head) + c];
  return dot * scale;
}

/* p = softmax of the query's scores; returns log Σ exp(score). */
static double probabilities(const attention_at *a, const real *qkv, int64_t item, int64_t head, int64_t query,
                            double scale, double *p) {
  double max = -INFINITY, sum = 0;
  FOR(t, a->t) {
    p[t] = score(a, qkv, item, head, query, t, scale);
    if (p[t] > max) max = p[t];
  }
  FOR(t, a->t) sum += exp(p[t] - max);
  FOR(t, a->t) p[t] = exp(p[t] - max) / sum;
  return max + log(sum);
}

PLAIN(attention) {
  attention_at a = attention_shape(n);
  const real *qkv = in(w, n, 0, first);
  real *o = out(w, n, 0, first), *lse = out(w, n, 1, first);
  double *p = w->scratch;
  FOR(i, last - first) FOR(h, a.heads) FOR(q, a.t) {
    double log_sum = probabilities(&a, qkv, i, h, q, n->f[0], p);
    if (lse) lse[(i * a.heads + h) * a.t + q] = (real)log_sum;
    FOR(c, a.width) {
      double sum = 0;
      FOR(t, a.t) sum += p[t] * qkv[qkv_at(&a, i, t, 2, h) + c];
      o[(i * a.t + q) * a.d + h * a.width + c] = (real)sum;
    }
  }
}

/* dv_t += p_t·do; dp_t = do·v_t; ds = p⊙(dp - Σ p·dp)·scale; dq += ds_t·k_t; dk_t += ds_t·q. */
PLAIN(attention_dx) {
  attention_at a = attention_shape(n);
  const real *qkv = in(w, n, 0, first), *dout = in(w, n, 3, first);
  real *dqkv = out(w, n, 0, first);
  double *p = w->scratch, *dp = p + a.t;
  if (!(n->acc & 1)) FOR(k, (last - first) * a.t * 3 * a.d) dqkv[k] = 0;
  FOR(i, last - first) FOR(h, a.heads) FOR(q, a.t) {
    const real *d = dout + (i * a.t + q) * a.d + h * a.width;
    double mean = 0;
    probabilities(&a, qkv, i, h, q, n->f[0], p);
    FOR(t, a.t) {
      dp[t] = 0;
      FOR(c, a.width) dp[t] += (double)d[c] * qkv[qkv_at(&a, i, t, 2, h) + c];
      mean += p[t] * dp[t];
    }
    FOR(t, a.t) FOR(c, a.width) {
      double ds = p[t] * (dp[t] - mean) * n->f[0];
      dqkv[qkv_at(&a, i, t, 2, h) + c] += (real)(p[t] * d[c]);
      dqkv[qkv_at(&a, i, q, 0, h) + c] += (real)(ds * qkv[qkv_at(&a, i, t, 1, h) + c]);
      dqkv[qkv_at(&a, i, t, 1, h) + c] += (real)(ds * qkv[qkv_at(&a, i, q, 0, h) + c]);
    }
  }
}

PLAIN(attention_map) {
  attention_at a = attention_shape(n);
  const real *qkv = in(w, n, 0, first);
  real *map = out(w, n, 0, first);
  FOR(i, last - first) FOR(h, a.heads) {
    double max = -INFINITY, sum = 0;
    FOR(t, a.t) max = fmax(max, score(&a, qkv, i, h, 0, t, n->f[0]));
    FOR(t, a.t) sum += exp(score(&a, qkv, i, h, 0, t, n->f[0]) - max);
    for (int64_t t = n->i[1]; t < a.t; t++) *map++ = (real)(exp(score(&a, qkv, i, h, 0, t, n->f[0]) - max) / sum);
  }
}

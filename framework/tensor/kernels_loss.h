/* framework/tensor/kernels_loss.h — private: argmax, Sinkhorn, softmax cross-entropy and regression. Included by
 * kernels_variant.h.
 *
 * The hot loop of a self-supervised loss: rows of K logits against rows of K lazy target logits. A row and
 * its target stay in L2 from the first look (maxima) to the last (the gradient over the logits). Exponentials
 * are made once for each row and each pair; sums are relative to the maximum, so logits of any finite size
 * give finite results. */

#define ARGMAX_BLOCK 256

/* Place and value of the largest x - shift, the first on ties: block maxima, then one look into the winning
 * block. */
INLINE int64_t best_of(const real *x, const real *shift, int64_t n, real *max) {
  real best = -INFINITY;
  int64_t block = 0;
  for (int64_t k0 = 0; k0 < n; k0 += ARGMAX_BLOCK) {
    real m = row_max(x + k0, shift ? shift + k0 : NULL, min_i64(ARGMAX_BLOCK, n - k0));
    if (m > best) {
      best = m;
      block = k0;
    }
  }
  *max = best;
  for (int64_t k = block; k < min_i64(block + ARGMAX_BLOCK, n); k++)
    if ((shift ? x[k] - shift[k] : x[k]) == best) return k;
  return block;
}
static int64_t row_best(const real *x, const real *shift, int64_t n, real *max) {
  return shift ? best_of(x, shift, n, max) : best_of(x, NULL, n, max);
}

KERNEL(argmax) {
  const real *logits = in_at(w, n, 0, first), *shift = in_at(w, n, 1, 0);
  int32_t *ids = sm_range_at(w, n->out[0], first);
  int64_t k = last_dim(n->in[0]);
  real max;
  for (int64_t r = 0; r < last - first; r++) ids[r] = (int32_t)row_best(logits + r * k, shift, k, &max);
}

/* ---- Sinkhorn and Knopp --------------------------------------------------------------------- */

/* Σ_r exp(x·scale - lse - max) and max of each column of a tile; rows in ascending order. */
INLINE void sinkhorn_columns(const real *x, const real *lse, real scale, int64_t stride, int64_t rows,
                             int64_t width, real *max, double *sum) {
  EACH_COLUMN {
    max[c] = -INFINITY;
    sum[c] = 0;
  }
  for (int64_t r = 0; r < rows; r++) {
    const real *row = x + r * stride, less = lse ? lse[r] : 0;
    SIMD EACH_COLUMN {
      real v = row[c] * scale - less;
      max[c] = v > max[c] ? v : max[c];
    }
  }
  for (int64_t r0 = 0; r0 < rows; r0 += ROW_BLOCK) {
    int64_t r1 = min_i64(r0 + ROW_BLOCK, rows);
    real part[SM_COLUMN_TILE] = {0};
    for (int64_t r = r0; r < r1; r++) {
      const real *row = x + r * stride, less = lse ? lse[r] : 0;
      SIMD_EXP EACH_COLUMN part[c] += exp_negative(row[c] * scale - less - max[c]);
    }
    EACH_COLUMN sum[c] += (double)part[c];
  }
}

KERNEL(sinkhorn_shift) {
  const real *x = in_at(w, n, 0, 0), *lse = in_at(w, n, 1, 0);
  real *shift = out_at(w, n, 0, 0), scale = *in_at(w, n, 2, 0);
  int64_t k = last_dim(n->in[0]), rows = sm_items(n->in[0]);
  for (int64_t t = first; t < last; t++) {
    int64_t c0 = t * SM_COLUMN_TILE, width = min_i64(SM_COLUMN_TILE, k - c0);
    real max[SM_COLUMN_TILE];
    double sum[SM_COLUMN_TILE];
    FULL_OR_PARTIAL(sinkhorn_columns(x + c0, lse, scale, k, rows, WIDTH, max, sum));
    EACH_COLUMN shift[c0 + c] =
        rows > 0 ? (real)(((double)max[c] + log(sum[c] / (double)rows)) / (double)scale) : 0;
  }
}

KERNEL(sinkhorn_rows) {
  const real *x = in_at(w, n, 0, first), *shift = in_at(w, n, 1, 0);
  real *lse = out_at(w, n, 0, first), scale = *in_at(w, n, 2, 0);
  int64_t k = last_dim(n->in[0]);
  for (int64_t r = 0; r < last - first; r++, x += k) {
    real max = row_max(x, shift, k);
    double sum = 0;
    for (int64_t k0 = 0; k0 < k; k0 += SUM_BLOCK) {
      int64_t k1 = min_i64(k0 + SUM_BLOCK, k);
      real part = 0;
      SIMD_EXP_SUM(part)
      for (int64_t c = k0; c < k1; c++) part += exp_negative((x[c] - shift[c] - max) * scale);
      sum += (double)part;
    }
    lse[r] = (real)((double)max * (double)scale + log(sum));
  }
}

/* ---- cross-entropy -------------------------------------------------------------------------- */

typedef struct softmax_row {
  int64_t best;       /* argmax                                        */
  real max, scale;    /* u_k = (x_k - shift_k - max)·scale             */
  double sum, energy; /* Σ exp(u), Σ exp(u)·u                          */
  double cross;       /* of a target: Σ exp(u)·v, v the student's u    */
} softmax_row;

INLINE double log_sum(const softmax_row *s) { return log(s->sum); }
INLINE double entropy(const softmax_row *s) { return log(s->sum) - s->energy / s->sum; }

/* e = exp(u) and the sums. */
static void student_row(const real *z, int64_t n, real *e, softmax_row *s) {
  s->best = row_best(z, NULL, n, &s->max);
  s->sum = s->energy = 0;
  const real max = s->max, scale = s->scale;
  for (int64_t k0 = 0; k0 < n; k0 += SUM_BLOCK) {
    int64_t k1 = min_i64(k0 + SUM_BLOCK, n);
    real sum = 0, energy = 0;
    SIMD_EXP_SUM(sum, energy)
    for (int64_t k = k0; k < k1; k++) {
      real u = (z[k] - max) * scale, p = exp_negative(u);
      e[k] = p;
      sum += p;
      energy += p * u;
    }
    s->sum += (double)sum;
    s->energy += (double)energy;
  }
}

INLINE void target_sums(const real *t, const real *shift, const real *z, const softmax_row *student,
                        int64_t n, real *e, softmax_row *q) {
  const real max = q->max, scale = q->scale, zmax = student->max, zscale = student->scale;
  q->sum = q->energy = q->cross = 0;
  for (int64_t k0 = 0; k0 < n; k0 += SUM_BLOCK) {
    int64_t k1 = min_i64(k0 + SUM_BLOCK, n);
    real sum = 0, energy = 0, cross = 0;
    SIMD_EXP_SUM(sum, energy, cross)
    for (int64_t k = k0; k < k1; k++) {
      real u = ((shift ? t[k] - shift[k] : t[k]) - max) * scale, p = exp_negative(u);
      e[k] = p;
      sum += p;
      energy += p * u;
      cross += p * ((z[k] - zmax) * zscale);
    }
    q->sum += (double)sum;
    q->energy += (double)energy;
    q->cross += (double)cross;
  }
}
static void target_row(const real *t, const real *shift, const real *z, const softmax_row *student, int64_t n,
                       real *e, softmax_row *q) {
  q->best = row_best(t, shift, n, &q->max);
  if (shift) target_sums(t, shift, z, student, n, e, q);
  else target_sums(t, NULL, z, student, n, e, q);
}

/* Scratch: K exponentials of the student, K of a target, K of the weighted sum of targets. */
KERNEL(xent_soft) {
  const real *target = in_at(w, n, 5, 0), *shift = in_at(w, n, 6, 0), *weight = in_at(w, n, 4, 0);
  const int32_t *pairs = sm_range_at(w, n->in[2], 0), *index = sm_range_at(w, n->in[3], 0);
  real *loss = out_at(w, n, 0, first), *stats = out_at(w, n, 1, first), *logits = out_at(w, n, 2, first);
  int64_t k = last_dim(n->out[2]);
  real *es = w->scratch, *et = es + k, *mix = et + k, inv_tau = *in_at(w, n, 1, 0);
  softmax_row s = {.scale = inv_tau}, q = {.scale = *in_at(w, n, 7, 0)};
  for (int64_t r = first; r < last; r++, loss++, stats += 4, logits += k) {
    int32_t p0 = pairs[r], p1 = pairs[r + 1];
    double total = 0, weights = 0, target_entropy = 0, agree = 0;
    *loss = 0;
    memset(stats, 0, 4 * sizeof *stats);
    if (p0 == p1) {
      memset(logits, 0, (size_t)k * sizeof *logits);
      continue;
    }
    student_row(logits, k, es, &s);
    for (int32_t p = p0; p < p1; p++) {
      target_row(target + (int64_t)index[p] * k, shift, logits, &s, k, et, &q);
      real part = (real)((double)weight[p] * (double)inv_tau / q.sum);
      if (p == p0) {
        SIMD for (int64_t c = 0; c < k; c++) mix[c] = part * et[c];
      } else {
        SIMD for (int64_t c = 0; c < k; c++) mix[c] += part * et[c];
      }
      total += (double)weight[p] * (log_sum(&s) - q.cross / q.sum);
      weights += (double)weight[p];
      target_entropy += entropy(&q);
      agree += s.best == q.best;
    }
    real part = (real)(weights * (double)inv_tau / s.sum);
    SIMD for (int64_t c = 0; c < k; c++) logits[c] = part * es[c] - mix[c];
    *loss = (real)total;
    stats[0] = (real)(p1 - p0);
    stats[1] = (real)((p1 - p0) * entropy(&s));
    stats[2] = (real)target_entropy;
    stats[3] = (real)agree;
  }
}

/* Scratch: K exponentials of the student. */
KERNEL(xent_ids) {
  const real *weight = in_at(w, n, 4, 0);
  const int32_t *pairs = sm_range_at(w, n->in[2], 0), *index = sm_range_at(w, n->in[3], 0), *ids = sm_range_at(w, n->in[5], 0);
  real *loss = out_at(w, n, 0, first), *stats = out_at(w, n, 1, first), *logits = out_at(w, n, 2, first);
  int64_t k = last_dim(n->out[2]);
  real *es = w->scratch, inv_tau = *in_at(w, n, 1, 0);
  softmax_row s = {.scale = inv_tau};
  for (int64_t r = first; r < last; r++, loss++, stats += 4, logits += k) {
    int32_t p0 = pairs[r], p1 = pairs[r + 1];
    double total = 0, weights = 0, agree = 0;
    *loss = 0;
    memset(stats, 0, 4 * sizeof *stats);
    if (p0 == p1) {
      memset(logits, 0, (size_t)k * sizeof *logits);
      continue;
    }
    student_row(logits, k, es, &s);
    for (int32_t p = p0; p < p1; p++) {
      int32_t id = ids[index[p]];
      total += (double)weight[p] * (log_sum(&s) - (double)((logits[id] - s.max) * inv_tau));
      weights += (double)weight[p];
      agree += s.best == id;
    }
    real part = (real)(weights * (double)inv_tau / s.sum);
    SIMD for (int64_t c = 0; c < k; c++) logits[c] = part * es[c];
    for (int32_t p = p0; p < p1; p++) logits[ids[index[p]]] -= weight[p] * inv_tau;
    *loss = (real)total;
    stats[0] = (real)(p1 - p0);
    stats[1] = (real)((p1 - p0) * entropy(&s));
    stats[3] = (real)agree;
  }
}

/* ---- regression ----------------------------------------------------------------------------- */

INLINE real penalty_of(int kind, real x, real beta) {
  real a = x < 0 ? -x : x;
  if (kind == SM_L2) return x * x;
  if (kind == SM_L1) return a;
  return a < beta ? x * x / (2 * beta) : a - beta / 2;
}
INLINE real slope_of(int kind, real x, real beta) {
  real sign = (real)((x > 0) - (x < 0));
  if (kind == SM_L2) return 2 * x;
  if (kind == SM_L1) return sign;
  return x < beta && x > -beta ? x / beta : sign;
}

INLINE double penalties(int kind, const real *x, const real *t, int64_t n, real beta) {
  double total = 0;
  for (int64_t k0 = 0; k0 < n; k0 += SUM_BLOCK) {
    int64_t k1 = min_i64(k0 + SUM_BLOCK, n);
    real sum = 0;
    SIMD_SUM(sum) for (int64_t k = k0; k < k1; k++) sum += penalty_of(kind, x[k] - t[k], beta);
    total += (double)sum;
  }
  return total;
}
static double row_penalty(int64_t kind, const real *x, const real *t, int64_t n, real beta) {
  if (kind == SM_L2) return penalties(SM_L2, x, t, n, beta);
  if (kind == SM_L1) return penalties(SM_L1, x, t, n, beta);
  return penalties(SM_SMOOTH_L1, x, t, n, beta);
}

KERNEL(regression) {
  const int32_t *pairs = sm_range_at(w, n->in[1], 0), *index = sm_range_at(w, n->in[2], 0);
  const real *x = in_at(w, n, 0, first), *weight = in_at(w, n, 3, 0), *target = in_at(w, n, 4, 0);
  real *loss = out_at(w, n, 0, first);
  int64_t d = last_dim(n->in[0]);
  for (int64_t r = first; r < last; r++, x += d, loss++) {
    double total = 0;
    for (int32_t p = pairs[r]; p < pairs[r + 1]; p++)
      total += (double)weight[p] * row_penalty(n->i[0], x, target + (int64_t)index[p] * d, d, (real)n->f[0]);
    *loss = (real)(total / (double)d);
  }
}

INLINE void add_slopes(int kind, const real *x, const real *t, int64_t n, real beta, real factor, real *dx) {
  SIMD for (int64_t k = 0; k < n; k++) dx[k] += factor * slope_of(kind, x[k] - t[k], beta);
}

KERNEL(regression_dx) {
  const int32_t *pairs = sm_range_at(w, n->in[2], 0), *index = sm_range_at(w, n->in[3], 0);
  const real *dloss = in_at(w, n, 0, first), *x = in_at(w, n, 1, first), *weight = in_at(w, n, 4, 0),
             *target = in_at(w, n, 5, 0), beta = (real)n->f[0];
  real *dx = out_at(w, n, 0, first);
  int64_t d = last_dim(n->in[1]);
  for (int64_t r = first; r < last; r++, x += d, dx += d, dloss++) {
    if (!n->acc) memset(dx, 0, (size_t)d * sizeof *dx);
    for (int32_t p = pairs[r]; p < pairs[r + 1]; p++) {
      const real *t = target + (int64_t)index[p] * d;
      real factor = *dloss * weight[p] / (real)d;
      if (n->i[0] == SM_L2) add_slopes(SM_L2, x, t, d, beta, factor, dx);
      else if (n->i[0] == SM_L1) add_slopes(SM_L1, x, t, d, beta, factor, dx);
      else add_slopes(SM_SMOOTH_L1, x, t, d, beta, factor, dx);
    }
  }
}

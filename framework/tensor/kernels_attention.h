/* framework/tensor/kernels_attention.h — private: multi-head self-attention. Included by kernels_variant.h.
 *
 * Scores live in scratch only, SM_QUERY_BLOCK queries at a time, and the backward pass makes the
 * probabilities again from lse: no N×N matrix outlives its head. q, k, v are read in place inside qkv (row
 * stride 3D). Queries, heads and pictures go in ascending order, so a picture's result depends on that
 * picture only. */

typedef struct attention_shape {
  int64_t t, d, heads, width, ld; /* tokens, D, heads, D/heads, row stride of the scores */
  real scale;
} attention_shape;

INLINE attention_shape shape_of(const sm_node *n) {
  int64_t t = n->in[0]->dim[1], d = n->in[0]->dim[2] / 3;
  return (attention_shape){t, d, n->i[0], d / n->i[0], sm_score_stride(t), (real)n->f[0]};
}

INLINE void scores(const attention_shape *a, const real *q, const real *k, int64_t queries, real *s,
                   void *pack) {
  gemm(AS_IS, TRANSPOSED, queries, a->t, a->width, a->scale, q, 3 * a->d, k, 3 * a->d, NULL, false, s, a->ld,
       pack);
  for (int64_t r = 0; r < queries; r++) /* padding takes no part: exp makes it 0 */
    for (int64_t t = a->t; t < a->ld; t++) s[r * a->ld + t] = -INFINITY;
}

/* One head of one picture; o and lse point at this head. The rows of o, not the scores, are divided by the
 * sum: d < T. */
static void attend(const attention_shape *a, const real *q, real *o, real *lse, real *s, void *pack) {
  const real *k = q + a->d, *v = q + 2 * a->d;
  for (int64_t q0 = 0; q0 < a->t; q0 += SM_QUERY_BLOCK) {
    int64_t queries = min_i64(SM_QUERY_BLOCK, a->t - q0);
    real inverse[SM_QUERY_BLOCK], max;
    scores(a, q + q0 * 3 * a->d, k, queries, s, pack);
    for (int64_t r = 0; r < queries; r++) {
      double sum = row_exp(s + r * a->ld, a->ld & ~(int64_t)(LANES - 1), &max);
      inverse[r] = (real)(1 / sum);
      if (lse) lse[q0 + r] = max + REAL_LOG((real)sum);
    }
    real *rows = o + q0 * a->d;
    gemm(AS_IS, AS_IS, queries, a->width, a->t, 1, s, a->ld, v, 3 * a->d, NULL, false, rows, a->d, pack);
    for (int64_t r = 0; r < queries; r++) {
      SIMD for (int64_t c = 0; c < a->width; c++) rows[r * a->d + c] *= inverse[r];
    }
  }
}

KERNEL(attention) {
  attention_shape a = shape_of(n);
  const real *qkv = in_at(w, n, 0, first);
  real *o = out_at(w, n, 0, first), *lse = out_at(w, n, 1, first);
  for (int64_t i = 0; i < last - first; i++)
    for (int64_t h = 0; h < a.heads; h++)
      attend(&a, qkv + i * a.t * 3 * a.d + h * a.width, o + i * a.t * a.d + h * a.width,
             lse ? lse + (i * a.heads + h) * a.t : NULL, w->scratch, w->pack);
}

/* p = exp(s - lse), then ds = scale·p⊙(dp - Σ do·o): the softmax's gradient, row by row. */
INLINE void score_gradient(const attention_shape *a, int64_t queries, real *s, real *ds, const real *o,
                           const real *dout, const real *lse) {
  for (int64_t r = 0; r < queries; r++) {
    real *p = s + r * a->ld, *g = ds + r * a->ld, log_sum = lse[r], delta = 0, scale = a->scale;
    const real *orow = o + r * a->d, *drow = dout + r * a->d;
    SIMD_SUM(delta)
    for (int64_t c = 0; c < a->width; c++) delta += orow[c] * drow[c];
    SIMD_EXP for (int64_t t = 0; t < (a->ld & ~(int64_t)(LANES - 1)); t++) {
      p[t] = exp_negative(p[t] - log_sum);
      g[t] = scale * p[t] * (g[t] - delta);
    }
  }
}

static void attend_back(const attention_shape *a, const real *q, const real *o, const real *dout,
                        const real *lse, real *dq, bool add, real *s, void *pack) {
  const real *k = q + a->d, *v = q + 2 * a->d;
  real *dk = dq + a->d, *dv = dq + 2 * a->d;
  int64_t d3 = 3 * a->d;
  real *ds = s + min_i64(SM_QUERY_BLOCK, a->t) * a->ld;
  for (int64_t q0 = 0; q0 < a->t; q0 += SM_QUERY_BLOCK) {
    int64_t queries = min_i64(SM_QUERY_BLOCK, a->t - q0);
    const real *orow = o + q0 * a->d, *drow = dout + q0 * a->d;
    bool more = add || q0 > 0;
    scores(a, q + q0 * d3, k, queries, s, pack);
    gemm(AS_IS, TRANSPOSED, queries, a->t, a->width, 1, drow, a->d, v, d3, NULL, false, ds, a->ld, pack);
    score_gradient(a, queries, s, ds, orow, drow, lse + q0);
    gemm(TRANSPOSED, AS_IS, a->t, a->width, queries, 1, s, a->ld, drow, a->d, NULL, more, dv, d3, pack);
    gemm(TRANSPOSED, AS_IS, a->t, a->width, queries, 1, ds, a->ld, q + q0 * d3, d3, NULL, more, dk, d3, pack);
    gemm(AS_IS, AS_IS, queries, a->width, a->t, 1, ds, a->ld, k, d3, NULL, add, dq + q0 * d3, d3, pack);
  }
}

KERNEL(attention_dx) {
  attention_shape a = shape_of(n);
  const real *qkv = in_at(w, n, 0, first), *o = in_at(w, n, 1, first), *lse = in_at(w, n, 2, first);
  const real *dout = in_at(w, n, 3, first);
  real *dqkv = out_at(w, n, 0, first);
  for (int64_t i = 0; i < last - first; i++)
    for (int64_t h = 0; h < a.heads; h++) {
      int64_t at = i * a.t * 3 * a.d + h * a.width, row = i * a.t * a.d + h * a.width;
      attend_back(&a, qkv + at, o + row, dout + row, lse + (i * a.heads + h) * a.t, dqkv + at, adds_to(n, 0),
                  w->scratch, w->pack);
    }
}

KERNEL(attention_map) {
  attention_shape a = shape_of(n);
  const real *qkv = in_at(w, n, 0, first);
  real *map = out_at(w, n, 0, first), max;
  for (int64_t i = 0; i < last - first; i++)
    for (int64_t h = 0; h < a.heads; h++) {
      const real *q = qkv + i * a.t * 3 * a.d + h * a.width, *k = q + a.d;
      real *row = map + (i * a.heads + h) * a.t;
      for (int64_t t = 0; t < a.t; t++) row[t] = a.scale * (real)row_dot(q, k + t * 3 * a.d, a.width);
      real inverse = (real)(1 / row_exp(row, a.t, &max));
      for (int64_t t = 0; t < a.t; t++) row[t] *= inverse;
    }
}

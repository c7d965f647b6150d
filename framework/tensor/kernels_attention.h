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

/* Where a head lies: q, k, v inside qkv and so on; each narrow or not, as the node's operands are. */
typedef struct attention_memory {
  const void *q, *k, *v, *o, *dout;
  void *out, *dq, *dk, *dv;
  bool qkv_narrow, o_narrow, dout_narrow, dqkv_narrow;
  real *s; /* scores, and behind them their gradient */
  void *pack;
} attention_memory;

/* Scores of the queries from q0 on. */
INLINE void scores(const attention_shape *a, const attention_memory *m, int64_t q0, int64_t queries) {
  gemm(&(product){.m = queries,
                  .n = a->t,
                  .k = a->width,
                  .alpha = a->scale,
                  .a = place(m->q, m->qkv_narrow, q0 * 3 * a->d),
                  .lda = 3 * a->d,
                  .a_narrow = m->qkv_narrow,
                  .b = m->k,
                  .ldb = 3 * a->d,
                  .b_narrow = m->qkv_narrow,
                  .tb = TRANSPOSED,
                  .c = m->s,
                  .ldc = a->ld},
       m->pack);
  for (int64_t r = 0; r < queries; r++) /* padding takes no part: exp makes it 0 */
    for (int64_t t = a->t; t < a->ld; t++) m->s[r * a->ld + t] = -INFINITY;
}

/* One head of one picture. The rows of o, not the scores, are divided by the sum: d < T. */
static void attend(const attention_shape *a, const attention_memory *m, real *lse) {
  for (int64_t q0 = 0; q0 < a->t; q0 += SM_QUERY_BLOCK) {
    int64_t queries = min_i64(SM_QUERY_BLOCK, a->t - q0);
    real inverse[SM_QUERY_BLOCK], max;
    scores(a, m, q0, queries);
    for (int64_t r = 0; r < queries; r++) {
      double sum = row_exp(m->s + r * a->ld, a->ld & ~(int64_t)(LANES - 1), &max);
      inverse[r] = (real)(1 / sum);
      if (lse) lse[q0 + r] = max + REAL_LOG((real)sum);
    }
    gemm(&(product){.m = queries,
                    .n = a->width,
                    .k = a->t,
                    .row_scale = inverse,
                    .a = m->s,
                    .lda = a->ld,
                    .b = m->v,
                    .ldb = 3 * a->d,
                    .b_narrow = m->qkv_narrow,
                    .c = place_out(m->out, m->o_narrow, q0 * a->d),
                    .ldc = a->d,
                    .c_narrow = m->o_narrow},
         m->pack);
  }
}

KERNEL(attention) {
  attention_shape a = shape_of(n);
  const void *qkv = sm_range_at(w, n->in[0], first);
  void *o = sm_range_at(w, n->out[0], first);
  real *lse = out_at(w, n, 1, first);
  attention_memory m = {
      .qkv_narrow = IS_NARROW(n->in[0]), .o_narrow = IS_NARROW(n->out[0]), .s = w->scratch, .pack = w->pack};
  for (int64_t i = 0; i < last - first; i++)
    for (int64_t h = 0; h < a.heads; h++) {
      int64_t at = i * a.t * 3 * a.d + h * a.width;
      m.q = place(qkv, m.qkv_narrow, at);
      m.k = place(qkv, m.qkv_narrow, at + a.d);
      m.v = place(qkv, m.qkv_narrow, at + 2 * a.d);
      m.out = place_out(o, m.o_narrow, i * a.t * a.d + h * a.width);
      attend(&a, &m, lse ? lse + (i * a.heads + h) * a.t : NULL);
    }
}

/* Σ o·do of one row: what the softmax's gradient subtracts. */
INLINE real row_delta(const attention_shape *a, const attention_memory *m, int64_t row) {
  real delta = 0;
  EACH_CHUNK(a->width) {
    real os[CHUNK], ds[CHUNK];
    const real *o = reals(m->o, m->o_narrow, row * a->d + k0, count, os),
               *g = reals(m->dout, m->dout_narrow, row * a->d + k0, count, ds);
    SIMD_SUM(delta)
    for (int64_t c = 0; c < count; c++) delta += o[c] * g[c];
  }
  return delta;
}

/* p = exp(s - lse), then ds = scale·p⊙(dp - Σ do·o): the softmax's gradient, row by row. */
INLINE void score_gradient(const attention_shape *a, const attention_memory *m, int64_t q0, int64_t queries,
                           real *ds, const real *lse) {
  for (int64_t r = 0; r < queries; r++) {
    real *p = m->s + r * a->ld, *g = ds + r * a->ld, log_sum = lse[q0 + r], scale = a->scale;
    real delta = row_delta(a, m, q0 + r);
    SIMD_EXP for (int64_t t = 0; t < (a->ld & ~(int64_t)(LANES - 1)); t++) {
      p[t] = exp_negative(p[t] - log_sum);
      g[t] = scale * p[t] * (g[t] - delta);
    }
  }
}

/* to (T, width) += s (queries, T)ᵀ rows (queries, width), both of the queries from q0 on. */
INLINE void add_transposed(const attention_shape *a, const attention_memory *m, const real *s,
                           const void *rows, bool narrow, int64_t stride, int64_t queries, bool add,
                           void *to) {
  gemm(&(product){.m = a->t,
                  .n = a->width,
                  .k = queries,
                  .a = s,
                  .lda = a->ld,
                  .ta = TRANSPOSED,
                  .b = rows,
                  .ldb = stride,
                  .b_narrow = narrow,
                  .add = add,
                  .c = to,
                  .ldc = 3 * a->d,
                  .c_narrow = m->dqkv_narrow},
       m->pack);
}

static void attend_back(const attention_shape *a, const attention_memory *m, const real *lse, bool add) {
  int64_t d3 = 3 * a->d;
  real *ds = m->s + min_i64(SM_QUERY_BLOCK, a->t) * a->ld;
  for (int64_t q0 = 0; q0 < a->t; q0 += SM_QUERY_BLOCK) {
    int64_t queries = min_i64(SM_QUERY_BLOCK, a->t - q0);
    const void *drow = place(m->dout, m->dout_narrow, q0 * a->d), *qrow = place(m->q, m->qkv_narrow, q0 * d3);
    scores(a, m, q0, queries);
    gemm(&(product){.m = queries, /* dp = do vᵀ */
                    .n = a->t,
                    .k = a->width,
                    .a = drow,
                    .lda = a->d,
                    .a_narrow = m->dout_narrow,
                    .b = m->v,
                    .ldb = d3,
                    .b_narrow = m->qkv_narrow,
                    .tb = TRANSPOSED,
                    .c = ds,
                    .ldc = a->ld},
         m->pack);
    score_gradient(a, m, q0, queries, ds, lse);
    add_transposed(a, m, m->s, drow, m->dout_narrow, a->d, queries, add || q0 > 0, m->dv);
    add_transposed(a, m, ds, qrow, m->qkv_narrow, d3, queries, add || q0 > 0, m->dk);
    gemm(&(product){.m = queries, /* dq = ds k */
                    .n = a->width,
                    .k = a->t,
                    .a = ds,
                    .lda = a->ld,
                    .b = m->k,
                    .ldb = d3,
                    .b_narrow = m->qkv_narrow,
                    .add = add,
                    .c = place_out(m->dq, m->dqkv_narrow, q0 * d3),
                    .ldc = d3,
                    .c_narrow = m->dqkv_narrow},
         m->pack);
  }
}

KERNEL(attention_dx) {
  attention_shape a = shape_of(n);
  const void *qkv = sm_range_at(w, n->in[0], first), *o = sm_range_at(w, n->in[1], first),
             *dout = sm_range_at(w, n->in[3], first);
  const real *lse = in_at(w, n, 2, first);
  void *dqkv = sm_range_at(w, n->out[0], first);
  attention_memory m = {.qkv_narrow = IS_NARROW(n->in[0]),
                        .o_narrow = IS_NARROW(n->in[1]),
                        .dout_narrow = IS_NARROW(n->in[3]),
                        .dqkv_narrow = IS_NARROW(n->out[0]),
                        .s = w->scratch,
                        .pack = w->pack};
  for (int64_t i = 0; i < last - first; i++)
    for (int64_t h = 0; h < a.heads; h++) {
      int64_t at = i * a.t * 3 * a.d + h * a.width, row = i * a.t * a.d + h * a.width;
      m.q = place(qkv, m.qkv_narrow, at);
      m.k = place(qkv, m.qkv_narrow, at + a.d);
      m.v = place(qkv, m.qkv_narrow, at + 2 * a.d);
      m.dq = place_out(dqkv, m.dqkv_narrow, at);
      m.dk = place_out(dqkv, m.dqkv_narrow, at + a.d);
      m.dv = place_out(dqkv, m.dqkv_narrow, at + 2 * a.d);
      m.o = place(o, m.o_narrow, row);
      m.dout = place(dout, m.dout_narrow, row);
      attend_back(&a, &m, lse + (i * a.heads + h) * a.t, adds_to(n, 0));
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

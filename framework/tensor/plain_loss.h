/* framework/tensor/plain_loss.h — private: reference argmax, Sinkhorn, cross-entropy and sweeps. Included
 * by plain.h. */

/* argmax_k (x_k - shift_k), the lowest k on ties; the difference is taken in the graph's type, as its users
 * see it. */
static int64_t best(const real *x, const real *shift, int64_t k) {
  int64_t at = 0;
  FOR(c, k) {
    real here = x[c] - (shift ? shift[c] : 0), there = x[at] - (shift ? shift[at] : 0);
    if (here > there) at = c;
  }
  return at;
}

PLAIN(argmax) {
  const real *logits = in(w, n, 0, first), *shift = in(w, n, 1, 0);
  int32_t *ids = sm_range_at(w, n->out[0], first);
  int64_t k = row_length(n->in[0]);
  FOR(r, last - first) ids[r] = (int32_t)best(logits + r * k, shift, k);
}

PLAIN(sinkhorn_shift) {
  const real *x = in(w, n, 0, 0), *lse = in(w, n, 1, 0);
  real *shift = out(w, n, 0, 0);
  int64_t k = row_length(n->in[0]), rows = sm_items(n->in[0]);
  double scale = *in(w, n, 2, 0);
  COLUMNS(c, k) {
    double max = -INFINITY, sum = 0;
    FOR(r, rows) max = fmax(max, x[r * k + c] * scale - (lse ? lse[r] : 0));
    FOR(r, rows) sum += exp(x[r * k + c] * scale - (lse ? lse[r] : 0) - max);
    shift[c] = rows > 0 ? (real)((max + log(sum / (double)rows)) / scale) : 0;
  }
}

PLAIN(sinkhorn_rows) {
  const real *x = in(w, n, 0, first), *shift = in(w, n, 1, 0);
  real *lse = out(w, n, 0, first);
  int64_t k = row_length(n->in[0]);
  double scale = *in(w, n, 2, 0);
  FOR(r, last - first) {
    double max = -INFINITY, sum = 0;
    FOR(c, k) max = fmax(max, ((double)x[r * k + c] - shift[c]) * scale);
    FOR(c, k) sum += exp(((double)x[r * k + c] - shift[c]) * scale - max);
    lse[r] = (real)(max + log(sum));
  }
}

/* log softmax((x - shift)·scale). */
static void log_softmax(const real *x, const real *shift, double scale, int64_t k, double *y) {
  double max = -INFINITY, sum = 0;
  FOR(c, k) {
    y[c] = ((double)x[c] - (shift ? shift[c] : 0)) * scale;
    if (y[c] > max) max = y[c];
  }
  FOR(c, k) sum += exp(y[c] - max);
  FOR(c, k) y[c] -= max + log(sum);
}

static double entropy(const double *log_p, int64_t k) {
  double sum = 0;
  FOR(c, k) sum -= exp(log_p[c]) * log_p[c];
  return sum;
}

/* Both cross-entropies: an id is the distribution whose whole weight lies on it. */
static void xent(const sm_node *n, int64_t first, int64_t last, sm_worker *w, bool soft) {
  const real *weight = in(w, n, 4, 0), *target = soft ? in(w, n, 5, 0) : NULL, *shift = in(w, n, 6, 0);
  const int32_t *pairs = sm_range_at(w, n->in[2], 0), *index = sm_range_at(w, n->in[3], 0);
  const int32_t *ids = soft ? NULL : sm_range_at(w, n->in[5], 0);
  real *loss = out(w, n, 0, first), *stats = out(w, n, 1, first), *logits = out(w, n, 2, first);
  int64_t k = row_length(n->out[2]);
  double inv_tau = *in(w, n, 1, 0), *log_s = w->scratch, *log_q = log_s + k, *gradient = log_q + k;
  FOR(r, last - first) {
    real *z = logits + r * k;
    int64_t student = best(z, NULL, k);
    double total = 0, sums[4] = {0};
    log_softmax(z, NULL, inv_tau, k, log_s);
    FOR(c, k) gradient[c] = 0;
    for (int32_t p = pairs[first + r]; p < pairs[first + r + 1]; p++) {
      const real *t = soft ? target + index[p] * k : NULL;
      if (soft) log_softmax(t, shift, *in(w, n, 7, 0), k, log_q);
      FOR(c, k) {
        double q = soft ? exp(log_q[c]) : c == ids[index[p]];
        if (q > 0) total -= weight[p] * q * log_s[c];
        gradient[c] += inv_tau * weight[p] * (exp(log_s[c]) - q);
      }
      sums[0] += 1;
      sums[1] += entropy(log_s, k);
      sums[2] += soft ? entropy(log_q, k) : 0;
      sums[3] += student == (soft ? best(t, shift, k) : ids[index[p]]);
    }
    loss[r] = (real)total;
    FOR(j, 4) stats[4 * r + j] = (real)sums[j];
    FOR(c, k) z[c] = (real)gradient[c];
  }
}
PLAIN(xent_soft) { xent(n, first, last, w, true); }
PLAIN(xent_ids) { xent(n, first, last, w, false); }

static double penalty(int64_t kind, double x, double beta, double *slope) {
  double sign = x > 0 ? 1 : x < 0 ? -1 : 0;
  switch (kind) {
    case SM_L2:
      *slope = 2 * x;
      return x * x;
    case SM_L1:
      *slope = sign;
      return fabs(x);
    default:
      *slope = fabs(x) < beta ? x / beta : sign;
      return fabs(x) < beta ? x * x / (2 * beta) : fabs(x) - beta / 2;
  }
}

PLAIN(regression) {
  const int32_t *pairs = sm_range_at(w, n->in[1], 0), *index = sm_range_at(w, n->in[2], 0);
  const real *x = in(w, n, 0, first), *weight = in(w, n, 3, 0), *target = in(w, n, 4, 0);
  real *loss = out(w, n, 0, first);
  int64_t d = row_length(n->in[0]);
  FOR(r, last - first) {
    double total = 0, slope;
    for (int32_t p = pairs[first + r]; p < pairs[first + r + 1]; p++)
      FOR(k, d)
      total += weight[p] * penalty(n->i[0], x[r * d + k] - target[index[p] * d + k], n->f[0], &slope);
    loss[r] = (real)(total / (double)d);
  }
}

PLAIN(regression_dx) {
  const int32_t *pairs = sm_range_at(w, n->in[2], 0), *index = sm_range_at(w, n->in[3], 0);
  const real *dloss = in(w, n, 0, first), *x = in(w, n, 1, first), *weight = in(w, n, 4, 0),
             *target = in(w, n, 5, 0);
  real *dx = out(w, n, 0, first);
  int64_t d = row_length(n->in[1]);
  FOR(r, last - first) FOR(k, d) {
    double sum = 0, slope;
    for (int32_t p = pairs[first + r]; p < pairs[first + r + 1]; p++) {
      penalty(n->i[0], x[r * d + k] - target[index[p] * d + k], n->f[0], &slope);
      sum += weight[p] * slope;
    }
    sum *= dloss[r] / (double)d;
    dx[r * d + k] = (real)(n->acc ? dx[r * d + k] + sum : sum);
  }
}

/* ---- sweeps --------------------------------------------------------------------------------- */

static double plain_sum_squares(const void *values, int64_t n) {
  const real *x = values;
  double sum = 0;
  FOR(k, n) sum += (double)x[k] * x[k];
  return sum;
}

static void plain_adamw(void *param, const void *grad, void *moment1, void *moment2, int64_t n,
                        const sm_adamw_args *a) {
  real *p = param, *m = moment1, *v = moment2;
  FOR(k, n) {
    double g = a->grad_scale * ((const real *)grad)[k];
    p[k] = (real)(p[k] * (1 - a->lr * a->weight_decay));
    m[k] = (real)(a->beta1 * m[k] + (1 - a->beta1) * g);
    v[k] = (real)(a->beta2 * v[k] + (1 - a->beta2) * g * g);
    p[k] = (real)(p[k] - a->lr * (m[k] / a->correction1) / (sqrt(v[k]) / sqrt(a->correction2) + a->eps));
  }
}

static void plain_sgd(void *param, const void *grad, void *buffer, int64_t n, double lr, double momentum,
                      double weight_decay, double grad_scale, bool first) {
  real *p = param, *b = buffer;
  FOR(k, n) {
    double d = grad_scale * ((const real *)grad)[k] + weight_decay * p[k];
    b[k] = (real)(first ? d : momentum * b[k] + d);
    p[k] = (real)(p[k] - lr * b[k]);
  }
}

static void plain_ema(void *teacher, const void *student, int64_t n, double momentum) {
  real *t = teacher;
  FOR(k, n) t[k] = (real)(momentum * t[k] + (1 - momentum) * ((const real *)student)[k]);
}

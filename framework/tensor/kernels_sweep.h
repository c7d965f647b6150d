/* framework/tensor/kernels_sweep.h — private: vector work over whole parameters. Included by
 * kernels_variant.h. Coefficients are worked out in double and rounded once, as torch does with its Python
 * scalars. */

static double sweep_sum_squares(const void *values, int64_t n) { return long_sum(values, n, true); }

/* Loshchilov & Hutter 2019 as in torch.optim.AdamW: decay first, eps outside the bias-corrected root. */
static void sweep_adamw(void *param, const void *grad, void *moment1, void *moment2, int64_t n,
                        const sm_adamw_args *args) {
  real *restrict p = param, *restrict m = moment1, *restrict v = moment2;
  const real *restrict g = grad;
  const real decay = (real)(1 - args->lr * args->weight_decay), step = (real)(args->lr / args->correction1);
  const real b1 = (real)args->beta1, b2 = (real)args->beta2, a1 = (real)(1 - args->beta1),
             a2 = (real)(1 - args->beta2);
  const real root2 = (real)sqrt(args->correction2), eps = (real)args->eps, scale = (real)args->grad_scale;
  SIMD for (int64_t k = 0; k < n; k++) {
    real d = scale * g[k];
    m[k] = b1 * m[k] + a1 * d;
    v[k] = b2 * v[k] + a2 * d * d;
    p[k] = decay * p[k] - step * (m[k] / (REAL_SQRT(v[k]) / root2 + eps));
  }
}

static void sweep_sgd(void *param, const void *grad, void *buffer, int64_t n, double lr, double momentum,
                      double weight_decay, double grad_scale, bool first) {
  real *restrict p = param, *restrict b = buffer;
  const real *restrict g = grad;
  const real rate = (real)lr, mu = (real)momentum, decay = (real)weight_decay, scale = (real)grad_scale;
  if (first) {
    SIMD for (int64_t k = 0; k < n; k++) {
      b[k] = scale * g[k] + decay * p[k];
      p[k] -= rate * b[k];
    }
  } else {
    SIMD for (int64_t k = 0; k < n; k++) {
      b[k] = mu * b[k] + (scale * g[k] + decay * p[k]);
      p[k] -= rate * b[k];
    }
  }
}

static void sweep_ema(void *teacher, const void *student, int64_t n, double momentum) {
  real *restrict t = teacher;
  const real *restrict s = student;
  const real m = (real)momentum, rest = (real)(1 - momentum);
  SIMD for (int64_t k = 0; k < n; k++) t[k] = m * t[k] + rest * s[k];
}

static void sweep_product(const void *a, int64_t m, const void *b, int64_t n, int64_t k, void *c, int64_t ldc,
                          void *pack) {
  gemm(
      &(product){
          .m = m, .n = n, .k = k, .a = a, .lda = k, .b = b, .ldb = k, .tb = TRANSPOSED, .c = c, .ldc = ldc},
      pack);
}

static void sweep_product_columns(const void *a, int64_t lda, int64_t m, const void *b, int64_t ldb, int64_t n,
                                  int64_t k, void *c, int64_t ldc, void *pack) {
  gemm(
      &(product){
          .m = m, .n = n, .k = k, .a = a, .lda = lda, .ta = TRANSPOSED, .b = b, .ldb = ldb, .c = c, .ldc = ldc},
      pack);
}

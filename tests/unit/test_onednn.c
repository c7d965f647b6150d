/* test_onednn.c — the paths whose products are oneDNN's: the bits of a row do not depend on which rows come with it, where
 * they lie, or which thread computes them, and the sums are those of doubles. Skipped where smalti is built without. */
#include "framework/tensor/backend.h"
#include "kernel_check.h"

static const char *const paths[] = {"avx2_onednn", "avx512_onednn", "avx512_bf16_onednn"};
enum { PATHS = sizeof paths / sizeof *paths };

/* Rows, columns, depth: whole blocks and not, one of everything, more than one block each way. */
static const int64_t shapes[][3] = {{1, 1, 1},     {5, 7, 3},      {97, 33, 64},    {200, 384, 96},
                                    {290, 50, 71}, {150, 197, 64}, {100, 1100, 40}, {110, 24, 1100}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static float *random_floats(int64_t n, uint64_t key) {
  sm_rng rng = sm_rng_make(key, SM_RNG_TEST, 0, 0, 0);
  float *x = sm_aligned_alloc((size_t)(n + 32) * sizeof *x);
  assert_non_null(x);
  for (int64_t i = 0; i < n + 32; i++) x[i] = (float)sm_rng_normal(&rng);
  return x;
}

/* What the bf16 kernels make of an operand. */
static double operand(float x, bool bf16) {
  if (!bf16) return (double)x;
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return sm_bf16_value((uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16));
}

typedef struct job {
  const sm_sweeps *sweeps;
  const float *a, *b;
  float *c, *whole;
  int64_t m, n, k;
} job;

/* Every run of rows that begins at row `first`, compared with what all rows together gave. */
static void compare_from(job *j, int64_t first, float *c, void *pack) {
  static const int64_t counts[] = {1, 2, 5, 6, 31, 95, 96, 97, 130};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    const int64_t rows = counts[i], ldc = j->n + (int64_t)i; /* other distances between the rows of c, too */
    if (first + rows > j->m) break;
    j->sweeps->product(j->a + first * j->k, rows, j->b, j->n, j->k, c, ldc, pack);
    for (int64_t r = 0; r < rows; r++)
      if (memcmp(c + r * ldc, j->whole + (first + r) * j->n, (size_t)j->n * sizeof *c) != 0)
        fail_msg("%d × %d × %d: row %d of %d differs where it comes with %d rows from %d on", (int)j->m, (int)j->k,
                 (int)j->n, (int)(first + r), (int)j->m, (int)rows, (int)first);
  }
}

static void check_shape(const sm_kernel_table *table, const int64_t *shape, bool bf16) {
  job j = {.sweeps = table->sweeps, .m = shape[0], .n = shape[1], .k = shape[2]};
  float *a = random_floats(j.m * j.k, 1), *b = random_floats(j.n * j.k, 2), *moved = random_floats(j.n * j.k, 3),
        *c = random_floats(j.m * (j.n + 16), 4), *whole = random_floats(j.m * j.n, 5);
  void *pack = sm_aligned_alloc(SM_PACK_BYTES);
  assert_non_null(pack);
  j.a = a, j.b = b, j.whole = whole;
  j.sweeps->product(a, j.m, b, j.n, j.k, whole, j.n, pack);
  for (int64_t r = 0; r < j.m; r++)
    for (int64_t l = 0; l < j.n; l++) {
      double sum = 0, size = 0;
      for (int64_t p = 0; p < j.k; p++) {
        const double product = operand(a[r * j.k + p], bf16) * operand(b[l * j.k + p], bf16);
        sum += product, size += fabs(product);
      }
      if (!(fabs((double)whole[r * j.n + l] - sum) <= 1e-6 * size))
        fail_msg("%s: element %d, %d is %.9g, not %.9g", table->isa, (int)r, (int)l, (double)whole[r * j.n + l], sum);
    }
  const int64_t step = j.m > 20 ? 13 : 1;
  for (int64_t first = 0; first < j.m; first += step) compare_from(&j, first, c, pack);
  for (int shift = 1; shift < 16; shift += 7) { /* the right operand elsewhere: groups put it where there is room */
    memcpy(moved + shift, b, (size_t)(j.n * j.k) * sizeof *b);
    j.b = moved + shift;
    compare_from(&j, 0, c, pack);
  }
  sm_aligned_free(pack);
  sm_aligned_free(whole);
  sm_aligned_free(c);
  sm_aligned_free(moved);
  sm_aligned_free(b);
  sm_aligned_free(a);
}

static void rows_do_not_depend_on_their_company(void **state) {
  for (int p = 0; p < PATHS; p++)
    for (int bf16 = 0; bf16 < 2; bf16++) {
      const sm_kernel_table *table = sm_kernels_find(SM_CPU, bf16 ? SM_BF16 : SM_F32, paths[p]);
      if (table && strstr(table->isa, "_onednn"))
        for (int s = 0; s < SHAPES; s++) check_shape(table, shapes[s], bf16);
    }
}

/* The rows of a product cut into items for three threads: the same bits as by one, and as in one piece. */
static void multiply_item(void *ctx, int64_t item, int worker) {
  job *j = ctx;
  const int64_t first = item * 50, rows = j->m - first < 50 ? j->m - first : 50;
  void *pack = sm_aligned_alloc(SM_PACK_BYTES);
  (void)worker;
  if (pack) j->sweeps->product(j->a + first * j->k, rows, j->b, j->n, j->k, j->c + first * j->n, j->n, pack);
  sm_aligned_free(pack);
}

static void threads_do_not_change_bits(void **state) {
  for (int p = 0; p < PATHS; p++)
    for (int bf16 = 0; bf16 < 2; bf16++) {
      const sm_kernel_table *table = sm_kernels_find(SM_CPU, bf16 ? SM_BF16 : SM_F32, paths[p]);
      if (!table || !strstr(table->isa, "_onednn")) continue;
      job j = {.sweeps = table->sweeps, .m = 420, .n = 130, .k = 200};
      float *a = random_floats(j.m * j.k, 1), *b = random_floats(j.n * j.k, 2);
      void *pack = sm_aligned_alloc(SM_PACK_BYTES);
      j.a = a, j.b = b, j.c = random_floats(j.m * j.n, 3), j.whole = random_floats(j.m * j.n, 4);
      j.sweeps->product(a, j.m, b, j.n, j.k, j.whole, j.n, pack);
      for (int threads = 1; threads <= 3; threads += 2) {
        sm_pool *pool = sm_pool_new(threads, NULL);
        assert_non_null(pool);
        for (int again = 0; again < 3; again++) {
          memset(j.c, 0, (size_t)(j.m * j.n) * sizeof *j.c);
          sm_pool_run(pool, (j.m + 49) / 50, multiply_item, &j);
          assert_memory_equal(j.c, j.whole, (size_t)(j.m * j.n) * sizeof *j.c);
        }
        sm_pool_free(pool);
      }
      sm_aligned_free(pack);
      sm_aligned_free(j.whole);
      sm_aligned_free(j.c);
      sm_aligned_free(b);
      sm_aligned_free(a);
    }
}

/* What a checkpoint records beside the path names the library: its bits are those of its version. */
static void products_are_named(void **state) {
  char own[64], theirs[64];
  sm_products_text("avx2", own, sizeof own);
  for (int p = 0; p < PATHS; p++) {
    if (!sm_isa_find(paths[p])) continue;
    sm_products_text(paths[p], theirs, sizeof theirs);
    assert_memory_equal(theirs, own, strlen(own));
    assert_non_null(strstr(theirs, ", oneDNN "));
    assert_null(strstr(own, "oneDNN"));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rows_do_not_depend_on_their_company),
      cmocka_unit_test(threads_do_not_change_bits),
      cmocka_unit_test(products_are_named),
  };
  int here = 0;
  for (int p = 0; p < PATHS; p++) here += sm_isa_find(paths[p]) != NULL;
  if (here) return cmocka_run_group_tests(tests, NULL, NULL);
  puts("smalti is built without oneDNN: nothing to test");
  return 77;
}

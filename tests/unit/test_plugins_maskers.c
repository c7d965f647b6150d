/* Maskers: two-sample tests against 20,000 masks of the reference a setting (golden file `masks`; fixed
 * seeds, so the outcome is the same each time), and what their options promise. */
#include <math.h>
#include <cJSON.h>

#include "framework/recipe/recipe.h"

#include "golden.h"
#include "test.h"

enum { MOST_CELLS = 1024 };

typedef struct masker {
  sm_arena *arena;
  sm_registry *registry;
  sm_instance instance;
  const sm_masker_ops *ops;
  sm_status created;
  sm_error err;
} masker;

static masker open_masker(const char *name, const char *options) {
  masker m = {.arena = sm_arena_new("masker"), .registry = sm_registry_new(NULL, NULL)};
  const sm_plugin *plugin = sm_registry_find(m.registry, SM_MASKER, name, &m.err);
  if (!plugin) fail_msg("%s", m.err.message);
  assert_int_equal(sm_instance_new(m.registry, plugin, &m.instance, &m.err), SM_OK);
  if (sm_options_fill(plugin, options, m.instance.self, m.arena, &m.err) != SM_OK)
    fail_msg("%s", m.err.message);
  m.created = sm_instance_create(&m.instance, &m.err);
  m.ops = plugin->ops;
  return m;
}

static void close_masker(masker *m) {
  sm_instance_free(&m->instance);
  sm_registry_free(m->registry);
  sm_arena_free(m->arena);
}

/* One mask; returns how many cells it hides. */
static int draw(const masker *m, int rows, int cols, int64_t epoch, uint64_t sample, uint8_t *mask) {
  sm_rng rng = sm_rng_make(5, SM_RNG_TEST, (uint64_t)epoch, sample, 0);
  sm_mask_request request = {.rows = rows, .cols = cols, .epoch = epoch, .rng = &rng};
  memset(mask, 0, (size_t)(rows * cols));
  m->ops->draw(m->instance.self, &request, mask);
  int n = 0;
  for (int i = 0; i < rows * cols; i++) {
    assert_true(mask[i] <= 1);
    n += mask[i];
  }
  return n;
}

/* ---- against the reference --------------------------------------------------------------------------- */

typedef struct tally {
  int grid;
  int64_t samples;
  double count[MOST_CELLS + 1], position[MOST_CELLS];
  double agreement; /* share of horizontal neighbours that are alike */
} tally;

static void collect(const masker *m, tally *t) {
  uint8_t mask[MOST_CELLS];
  double alike = 0;
  for (int64_t s = 0; s < t->samples; s++) {
    t->count[draw(m, t->grid, t->grid, 0, (uint64_t)s, mask)]++;
    for (int i = 0; i < t->grid * t->grid; i++) {
      t->position[i] += mask[i];
      if ((i + 1) % t->grid) alike += mask[i] == mask[i + 1];
    }
  }
  for (int i = 0; i < t->grid * t->grid; i++) t->position[i] /= (double)t->samples;
  t->agreement = alike / (double)(t->samples * t->grid * (t->grid - 1));
}

/* Two-sample chi-square over the counts; bins are joined until both samples together have 20 in each. Returns
 * the normal score of the statistic (Wilson and Hilferty 1931). */
static double count_score(const tally *t, const double *reference, int64_t n) {
  double ours = 0, theirs = 0, all = 0, chi = 0;
  int bins = 0;
  for (int64_t i = 0; i < n; i++) all += reference[i];
  double ratio = sqrt(all / (double)t->samples);
  for (int64_t i = 0; i < n; i++) {
    ours += t->count[i];
    theirs += reference[i];
    if (ours + theirs < 20) continue;
    chi += pow(ours * ratio - theirs / ratio, 2) / (ours + theirs);
    bins++;
    ours = theirs = 0;
  }
  double df = bins > 1 ? bins - 1 : 1, spread = 2 / (9 * df);
  return (cbrt(chi / df) - (1 - spread)) / sqrt(spread);
}

static double worst_position(const tally *t, const double *reference, double samples) {
  double worst = 0;
  for (int i = 0; i < t->grid * t->grid; i++) {
    double a = t->position[i], b = reference[i], p = (a + b) / 2;
    double deviation = sqrt(p * (1 - p) * (1 / (double)t->samples + 1 / samples));
    worst = fmax(worst, fabs(a - b) / (deviation > 0 ? deviation : 1e-9));
  }
  return worst;
}

static double *values(const golden_tensor *from) {
  double *all = calloc((size_t)from->count, sizeof *all);
  assert_non_null(all);
  for (int64_t i = 0; i < from->count; i++) all[i] = golden_value(from, i);
  return all;
}

/* A number or a list of them, as YAML. */
static char *as_yaml(const cJSON *setting, const char *key) {
  return cJSON_PrintUnformatted(cJSON_GetObjectItem(setting, key));
}

static void check_setting(golden *file, const cJSON *setting, int index) {
  char options[256], *ratio = as_yaml(setting, "ratio"), *var = as_yaml(setting, "ratio_var");
  bool block = !strcmp(cJSON_GetStringValue(cJSON_GetObjectItem(setting, "shape")), "block");
  snprintf(options, sizeof options, "{ratio: %s, ratio_var: %s}", ratio, var);
  masker m = open_masker(block ? "blockwise" : "random", options);
  assert_int_equal(m.created, SM_OK);
  tally *t = calloc(1, sizeof *t);
  assert_non_null(t);
  t->grid = (int)golden_number(setting, "grid");
  t->samples = 20000;
  assert_true(t->grid * t->grid <= MOST_CELLS);
  collect(&m, t);
  golden_tensor counts = golden_getf(file, "%d.count_histogram", index);
  golden_tensor positions = golden_getf(file, "%d.position_frequency", index);
  double *reference = values(&counts), *frequency = values(&positions);
  double count = count_score(t, reference, counts.count),
         position = worst_position(t, frequency, golden_number(setting, "samples"));
  double agreement = t->agreement - golden_number(setting, "neighbour_agreement");
  if (!(count < 3.7)) fail_msg("setting %d, %s: counts differ, score %.2f", index, options, count);
  if (!(position < 4.7))
    fail_msg("setting %d, %s: a position is %.2f deviations off", index, options, position);
  if (!(fabs(agreement) < 0.002))
    fail_msg("setting %d, %s: neighbours agree %+.4f more", index, options, agreement);
  free(reference);
  free(frequency);
  free(t);
  cJSON_free(ratio);
  cJSON_free(var);
  close_masker(&m);
}

static void test_reference_statistics(void **state) {
  golden *file = golden_open("masks.safetensors");
  const cJSON *settings = golden_json(file, "settings"), *setting;
  int index = 0;
  cJSON_ArrayForEach(setting, settings) check_setting(file, setting, index++);
  assert_true(index > 0);
  golden_close(file);
}

/* BEiT's generator once more, in the words of its masking_generator.py and with a generator of its own. */
static int beit_block(sm_rng *rng, int grid, int smallest, int most, uint8_t *mask) {
  for (int attempt = 0; attempt < 10; attempt++) {
    double area = sm_rng_between(rng, smallest, most),
           aspect = exp(sm_rng_between(rng, log(.3), log(1 / .3)));
    int h = (int)nearbyint(sqrt(area * aspect)), w = (int)nearbyint(sqrt(area / aspect)), masked = 0;
    if (h >= grid || w >= grid) continue;
    int top = (int)sm_rng_below(rng, (uint32_t)(grid - h + 1)),
        left = (int)sm_rng_below(rng, (uint32_t)(grid - w + 1));
    for (int i = 0; i < h * w; i++) masked += mask[(top + i / w) * grid + left + i % w];
    int delta = h * w - masked;
    if (delta <= 0 || delta > most) continue;
    for (int i = 0; i < h * w; i++) mask[(top + i / w) * grid + left + i % w] = 1;
    return delta;
  }
  return 0;
}

static void beit_mask(sm_rng *rng, int grid, int wanted, uint8_t *mask) {
  memset(mask, 0, (size_t)(grid * grid));
  for (int left = wanted, delta; left > 0; left -= delta)
    if (!(delta = beit_block(rng, grid, 16, left, mask))) break;
}

static void check_beit(int grid, double ratio, int wanted) {
  enum { SAMPLES = 20000 };
  char options[64];
  snprintf(options, sizeof options, "{ratio: %g, min_block: 16}", ratio);
  masker m = open_masker("blockwise", options);
  uint8_t mask[MOST_CELLS];
  double *count = calloc((size_t)(grid * grid) + 1, sizeof *count),
         *position = calloc((size_t)(grid * grid), sizeof *position);
  tally *t = calloc(1, sizeof *t);
  assert_true(count && position && t);
  *t = (tally){.grid = grid, .samples = SAMPLES};
  collect(&m, t);
  double alike = 0;
  for (uint64_t s = 0; s < SAMPLES; s++) {
    sm_rng rng = sm_rng_make(6, SM_RNG_TEST, 0, s, 0);
    int n = 0;
    beit_mask(&rng, grid, wanted, mask);
    for (int i = 0; i < grid * grid; i++) {
      n += mask[i];
      position[i] += mask[i] / (double)SAMPLES;
      if ((i + 1) % grid) alike += mask[i] == mask[i + 1];
    }
    count[n]++;
  }
  alike /= (double)SAMPLES * grid * (grid - 1);
  for (int n = wanted + 1; n <= grid * grid; n++) assert_true(t->count[n] == 0);
  assert_true(t->count[wanted] > .3 * SAMPLES &&
              t->count[wanted] < SAMPLES); /* it may fall short, and does */
  double score = count_score(t, count, grid * grid + 1), worst = worst_position(t, position, SAMPLES);
  if (!(score < 3.7)) fail_msg("grid %d: counts differ, score %.2f", grid, score);
  if (!(worst < 4.7)) fail_msg("grid %d: a position is %.2f deviations off", grid, worst);
  if (!(fabs(t->agreement - alike) < .002))
    fail_msg("grid %d: neighbours agree %+.4f more", grid, t->agreement - alike);
  free(count);
  free(position);
  free(t);
  close_masker(&m);
}

static void test_beit(void **state) {
  check_beit(14, .3827, 75);
  check_beit(10, .3827, 38); /* here iBOT's smallest block would be 9 */
}

/* ---- options --------------------------------------------------------------------------------------- */

static void test_none(void **state) {
  uint8_t mask[49];
  masker m = open_masker("none", "{}");
  assert_int_equal(m.created, SM_OK);
  assert_true(m.ops->max_ratio(m.instance.self) == 0);
  assert_int_equal(draw(&m, 7, 7, 0, 1, mask), 0);
  close_masker(&m);
}

static void test_random_hides_exactly(void **state) {
  uint8_t mask[70];
  masker m = open_masker("random", "{ratio: 0.29}");
  for (uint64_t s = 0; s < 50; s++) assert_int_equal(draw(&m, 7, 10, 0, s, mask), 20); /* floor(20.3) */
  close_masker(&m);
  m = open_masker("random", "{ratio: 1}");
  assert_int_equal(draw(&m, 7, 10, 0, 0, mask), 70);
  close_masker(&m);
}

static void test_ratio_list(void **state) {
  uint8_t mask[100];
  masker m = open_masker("random", "{ratio: [0, 0.5], ratio_var: [0, 0.2]}");
  assert_float_equal(m.ops->max_ratio(m.instance.self), .7, 1e-12);
  int whole = 0;
  for (uint64_t s = 0; s < 1000; s++) {
    int n = draw(&m, 10, 10, 0, s, mask);
    whole += n == 0;
    assert_true(n == 0 || (n >= 30 && n <= 70));
  }
  assert_true(abs(whole - 500) < 64); /* 4 deviations */
  close_masker(&m);
}

static void test_start_epoch(void **state) {
  uint8_t mask[196];
  const char *const names[] = {"random", "blockwise"};
  for (int i = 0; i < 2; i++) {
    masker m = open_masker(names[i], "{ratio: 0.4, start_epoch: 3}");
    assert_int_equal(m.ops->start_epoch(m.instance.self), 3);
    assert_int_equal(draw(&m, 14, 14, 2, 0, mask), 0);
    assert_true(draw(&m, 14, 14, 3, 0, mask) > 0);
    close_masker(&m);
  }
}

/* What is hidden never passes the wanted number, on any grid; with one aspect and one area it is a square. */
static void test_blockwise_shapes(void **state) {
  uint8_t mask[196];
  masker m = open_masker("blockwise", "{ratio: 0.5}");
  for (uint64_t s = 0; s < 200; s++) assert_true(draw(&m, 6, 20, 0, s, mask) <= 60);
  for (uint64_t s = 0; s < 200; s++) assert_true(draw(&m, 20, 6, 0, s, mask) <= 60);
  draw(&m, 1, 1, 0, 0, mask); /* no block fits: gives up */
  close_masker(&m);
  m = open_masker("blockwise",
                  "{ratio: 0.0825, aspect: [1, 1]}"); /* 16.17 of 196 cells: one block of 4 x 4 */
  for (uint64_t s = 0; s < 50; s++) {
    assert_int_equal(draw(&m, 14, 14, 0, s, mask), 16);
    int first = 0;
    while (!mask[first]) first++;
    for (int i = 0; i < 16; i++) assert_int_equal(mask[first + i / 4 * 14 + i % 4], 1);
  }
  close_masker(&m);
}

/* A largest block bounds every block: squares of 4 cells, but for the last few that are wanted. */
static void test_blockwise_largest(void **state) {
  uint8_t mask[400];
  masker m = open_masker("blockwise", "{ratio: 0.5, aspect: [1, 1], min_block: 4, max_block: 4}");
  for (uint64_t s = 0; s < 50; s++) {
    int odd = 0;
    assert_true(draw(&m, 20, 20, 0, s, mask) >= 150);
    for (int i = 0; i < 20; i++)
      for (int j = 0; j < 20; j++) {
        bool square = !mask[i * 20 + j];
        for (int top = i - 1; top <= i && !square; top++)
          for (int left = j - 1; left <= j && !square; left++)
            square = top >= 0 && left >= 0 && top < 19 && left < 19 && mask[top * 20 + left] &&
                     mask[top * 20 + left + 1] && mask[top * 20 + 20 + left] && mask[top * 20 + 21 + left];
        odd += !square;
      }
    assert_true(odd < 4);
  }
  close_masker(&m);
}

/* ---- shared out over a step ---------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

/* DINOv2's collate: half of a step's views are whole, and the n-th smallest mask of the others lies between the n-th and
 * the next of n + 1 even steps from 0.1 to 0.5. */
static void test_stratified(void **state) {
  enum { STEPS = 3, PLACES = 24, SIDE = 32 };
  masker m = open_masker("random", "{ratio: [0, 0.3], ratio_var: [0, 0.2], stratified: true}");
  assert_int_equal(m.created, SM_OK);
  uint8_t mask[SIDE * SIDE];
  int moved = 0;
  for (int step = 0; step < STEPS; step++) {
    const sm_rng shared = sm_rng_make(6, SM_RNG_TEST, 0, (uint64_t)step, 0);
    int hidden[PLACES];
    for (int place = 0; place < PLACES; place++) {
      sm_rng own = sm_rng_make(6, SM_RNG_TEST, 1, (uint64_t)step, (uint32_t)place);
      sm_mask_request request = {
          .rows = SIDE, .cols = SIDE, .rng = &own, .place = place, .places = PLACES, .step = &shared};
      memset(mask, 0, sizeof mask);
      m.ops->draw(m.instance.self, &request, mask);
      hidden[place] = 0;
      for (int i = 0; i < SIDE * SIDE; i++) hidden[place] += mask[i];
      moved += (place >= PLACES / 2) != (hidden[place] > 0);
    }
    qsort(hidden, PLACES, sizeof *hidden, by_size);
    for (int k = 0; k < PLACES / 2; k++) {
      const double low = 0.1 + 0.4 * k / (PLACES / 2), high = 0.1 + 0.4 * (k + 1) / (PLACES / 2);
      assert_int_equal(hidden[k], 0);
      assert_in_range(hidden[PLACES / 2 + k], (int)(low * SIDE * SIDE), (int)(high * SIDE * SIDE));
    }
  }
  assert_true(moved > 0); /* in no fixed order */
  close_masker(&m);
}

/* ---- from attention ---------------------------------------------------------------------------------- */

enum { HEADS = 3 };

/* A mask from attention that is small numbers, so that some are equal; sum[i] over the heads. */
static int look(const masker *m, int rows, int cols, uint64_t sample, float *sum, uint8_t *mask) {
  int cells = rows * cols, n = 0;
  float *attention = calloc((size_t)(HEADS * cells), sizeof *attention);
  assert_non_null(attention);
  sm_rng made = sm_rng_make(8, SM_RNG_TEST, 0, sample, 0), rng = sm_rng_make(5, SM_RNG_TEST, 3, sample, 0);
  for (int i = 0; i < HEADS * cells; i++) attention[i] = (float)sm_rng_below(&made, 64) / 4096;
  for (int i = 0; i < cells; i++) sum[i] = attention[i] + attention[cells + i] + attention[2 * cells + i];
  sm_mask_request request = {.rows = rows,
                             .cols = cols,
                             .epoch = 3,
                             .rng = &rng,
                             .attention = attention,
                             .heads = HEADS};
  memset(mask, 0, (size_t)cells);
  m->ops->draw(m->instance.self, &request, mask);
  for (int i = 0; i < cells; i++) n += mask[i];
  free(attention);
  return n;
}

/* Place of a cell when all are ordered by attention, the most first; of equals the earlier. */
static int place_of(const float *sum, int cells, int cell) {
  int before = 0;
  for (int i = 0; i < cells; i++) before += sum[i] > sum[cell] || (sum[i] == sum[cell] && i < cell);
  return before;
}

static void test_attention_high_and_low(void **state) {
  uint8_t mask[196];
  float sum[196];
  masker high = open_masker("attention", "{ratio: 0.3}"),
         low = open_masker("attention", "{ratio: 0.3, mode: low}");
  assert_int_equal(high.ops->needs_attention, 1);
  for (uint64_t s = 0; s < 50; s++) {
    assert_int_equal(look(&high, 14, 14, s, sum, mask), 58); /* floor(58.8) */
    for (int i = 0; i < 196; i++) assert_int_equal(mask[i], place_of(sum, 196, i) < 58);
    assert_int_equal(look(&low, 7, 14, s, sum, mask), 29);
    float most = 0, least = 1; /* of the hidden, of the visible */
    for (int i = 0; i < 98; i++)
      if (mask[i]) most = fmaxf(most, sum[i]);
      else least = fminf(least, sum[i]);
    assert_true(most <= least);
  }
  close_masker(&high);
  close_masker(&low);
  high = open_masker("attention", "{ratio: 1}");
  assert_int_equal(look(&high, 5, 5, 1, sum, mask), 25);
  close_masker(&high);
}

/* Of the floor(0.25·196) = 49 most attended, floor(0.25·0.4·196) = 19 stay visible; the rest of floor(78.4)
 * is hidden. */
static void test_attention_hint(void **state) {
  uint8_t mask[196];
  float sum[196];
  int shown[49] = {0};
  masker m = open_masker("attention", "{ratio: 0.4, mode: hint, hint: 0.25}");
  for (uint64_t s = 0; s < 400; s++) {
    assert_int_equal(look(&m, 14, 14, s, sum, mask), 78 - 19);
    int visible = 0;
    for (int i = 0; i < 196; i++) {
      int place = place_of(sum, 196, i);
      if (place >= 49) assert_int_equal(mask[i], place < 78);
      else if (!mask[i]) visible++, shown[place]++;
    }
    assert_int_equal(visible, 19);
  }
  for (int i = 0; i < 49; i++)
    assert_true(abs(shown[i] - 400 * 19 / 49) < 45); /* each as likely: 4.6 deviations */
  close_masker(&m);
  m = open_masker("attention", "{ratio: 0.4, mode: hint, hint: 0}");
  assert_int_equal(look(&m, 14, 14, 0, sum, mask), 78);
  close_masker(&m);
}

static void test_same_generator_same_mask(void **state) {
  uint8_t a[196], b[196];
  masker m = open_masker("blockwise", "{ratio: 0.3, ratio_var: 0.2}");
  draw(&m, 14, 14, 1, 7, a);
  draw(&m, 14, 14, 1, 7, b);
  assert_memory_equal(a, b, 196);
  draw(&m, 14, 14, 1, 8, b);
  assert_memory_not_equal(a, b, 196);
  close_masker(&m);
}

static void expect_refusal(const char *name, const char *options, const char *message) {
  masker m = open_masker(name, options);
  assert_int_equal(m.created, SM_EINVAL);
  if (!strstr(m.err.message, message)) fail_msg("'%s' does not say '%s'", m.err.message, message);
  assert_true(m.err.hint[0] != 0);
  close_masker(&m);
}

static void test_refusals(void **state) {
  expect_refusal("random", "{ratio: 0.3, ratio_var: 0.4}",
                 "ratio 0.3 with ratio_var 0.4 leaves the range from 0 to 1");
  expect_refusal("blockwise", "{ratio: 0.9, ratio_var: 0.2}",
                 "ratio 0.9 with ratio_var 0.2 leaves the range from 0 to 1");
  expect_refusal("blockwise", "{ratio: [0, 0.3], ratio_var: [0, 0.1, 0.2]}",
                 "2 ratios, but 3 values of ratio_var");
  expect_refusal("blockwise", "{aspect: 2}",
                 "aspect must be a lowest and a highest value, or one value of at most 1");
  expect_refusal("blockwise", "{min_block: 16, max_block: 9}", "max_block 9 is smaller than min_block 16");
  expect_refusal("blockwise", "{aspect: [2, 1]}", "aspect must be a lowest and a highest value");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_reference_statistics),
      cmocka_unit_test(test_beit),
      cmocka_unit_test(test_none),
      cmocka_unit_test(test_random_hides_exactly),
      cmocka_unit_test(test_ratio_list),
      cmocka_unit_test(test_start_epoch),
      cmocka_unit_test(test_blockwise_shapes),
      cmocka_unit_test(test_blockwise_largest),
      cmocka_unit_test(test_attention_high_and_low),
      cmocka_unit_test(test_attention_hint),
      cmocka_unit_test(test_stratified),
      cmocka_unit_test(test_same_generator_same_mask),
      cmocka_unit_test(test_refusals),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

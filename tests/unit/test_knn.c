/* test_knn.c — weighted k-NN: the reference's predictions, values worked out by hand, a plain double loop,
 * any number of threads, refusals, and the plugin around it. */
#include <math.h>

#include <smalti/measure.h>

#include "framework/recipe/recipe.h"

#include "golden.h"
#include "pools.h"
#include "test.h"

enum { MOST_K = 32 };

static void must_knn(const sm_features *train, const sm_features *test, const int *k, int n_k,
                     double temperature, sm_pool *p, int32_t *predictions, double *top1, double *top5) {
  sm_error err = {0};
  if (sm_knn(train, test, k, n_k, temperature, p, predictions, top1, top5, &err)) fail_msg("%s", err.message);
}

/* ---- the reference ------------------------------------------------------------------------------------- */

static sm_features golden_features(golden *g, const char *split, float **x, int32_t **label) {
  golden_tensor features = golden_getf(g, "%s.features", split), labels = golden_getf(g, "%s.labels", split);
  sm_features f = {.n = features.shape[0], .dim = (int)features.shape[1]};
  *x = golden_floats(&features);
  *label = malloc((size_t)f.n * sizeof **label);
  assert_non_null(*label);
  assert_int_equal(labels.count, f.n);
  for (int64_t i = 0; i < f.n; i++) {
    (*label)[i] = (int32_t)golden_value(&labels, i);
    if ((*label)[i] >= f.classes) f.classes = (*label)[i] + 1;
  }
  f.x = *x;
  f.label = *label;
  return f;
}

static int golden_ks(golden *g, int *k) {
  int n = 0;
  for (int i = 0; i < golden_tensor_count(g); i++) {
    const char *name = golden_tensor_name(g, i);
    int value, end = 0;
    if (sscanf(name, "expect.k%d.prediction%n", &value, &end) == 1 && end && !name[end] && n < MOST_K)
      k[n++] = value;
  }
  return n;
}

static void reference(void **state) {
  golden *g = golden_open("knn.safetensors");
  float *x[2];
  int32_t *label[2];
  sm_features train = golden_features(g, "train", &x[0], &label[0]);
  sm_features test = golden_features(g, "test", &x[1], &label[1]);
  int k[MOST_K], n_k = golden_ks(g, k);
  assert_true(n_k > 0);
  if (test.classes > train.classes) train.classes = test.classes;
  int32_t *guess = malloc((size_t)(n_k * test.n) * sizeof *guess);
  double top1[MOST_K], top5[MOST_K];
  assert_non_null(guess);
  must_knn(&train, &test, k, n_k, 0.07, pool[2], guess, top1, top5);
  for (int j = 0; j < n_k; j++) {
    golden_tensor want = golden_getf(g, "expect.k%d.prediction", k[j]);
    for (int64_t i = 0; i < test.n; i++)
      if (guess[j * test.n + i] != (int32_t)golden_value(&want, i))
        fail_msg("k = %d, test row %lld: class %d, not %g", k[j], (long long)i, guess[j * test.n + i],
                 golden_value(&want, i));
    golden_tensor one = golden_getf(g, "expect.k%d.top1", k[j]),
                  five = golden_getf(g, "expect.k%d.top5", k[j]);
    assert_float_equal(top1[j], golden_value(&one, 0), 1e-4);
    assert_float_equal(top5[j], golden_value(&five, 0), 1e-4);
  }
  for (int i = 0; i < 2; i++) free(x[i]), free(label[i]);
  free(guess);
  golden_close(g);
}

/* ---- random features: a double loop, threads ------------------------------------------------------- */

enum { TRAIN = 2611, TEST = 713, DIM = 37, CLASSES = 9 };
static float random_train[TRAIN * DIM], random_test[TEST * DIM];
static int32_t random_train_label[TRAIN], random_test_label[TEST];

static void draw(float *x, int32_t *label, int n, uint64_t seed) {
  sm_rng rng = sm_rng_make(seed, SM_RNG_TEST, 0, 0, 0);
  for (int i = 0; i < n; i++) {
    label[i] = (int32_t)sm_rng_below(&rng, CLASSES + 1) - 1;
    for (int d = 0; d < DIM; d++)
      x[i * DIM + d] = (float)(sm_rng_normal(&rng) * (1 + i % 7) + (d == label[i] ? 1 + i % 7 : 0));
  }
}

static void random_features(sm_features *train, sm_features *test) {
  draw(random_train, random_train_label, TRAIN, 1);
  draw(random_test, random_test_label, TEST, 2);
  *train = (sm_features){TRAIN, DIM, CLASSES, random_train, random_train_label, NULL};
  *test = (sm_features){TEST, DIM, CLASSES, random_test, random_test_label, NULL};
}

static double cosine(const float *a, const float *b) {
  double ab = 0, aa = 0, bb = 0;
  for (int d = 0; d < DIM; d++)
    ab += (double)a[d] * b[d], aa += (double)a[d] * a[d], bb += (double)b[d] * b[d];
  return ab / sqrt(aa * bb);
}

/* The class by definition; *margin is how far it is ahead of the next, of all votes. */
static int32_t slow(int row, int k, double temperature, double *margin) {
  static double s[TRAIN];
  double votes[CLASSES] = {0}, all = 0, second = 0;
  for (int i = 0; i < TRAIN; i++) s[i] = cosine(random_test + row * DIM, random_train + i * DIM);
  for (int n = 0; n < k; n++) {
    int best = 0;
    for (int i = 1; i < TRAIN; i++)
      if (s[i] > s[best]) best = i;
    if (random_train_label[best] >= 0) votes[random_train_label[best]] += exp(s[best] / temperature);
    s[best] = -2;
  }
  int32_t first = 0;
  for (int32_t c = 0; c < CLASSES; c++) {
    all += votes[c];
    if (votes[c] > votes[first]) first = c;
  }
  for (int32_t c = 0; c < CLASSES; c++)
    if (c != first && votes[c] > second) second = votes[c];
  *margin = all > 0 ? (votes[first] - second) / all : -1;
  return all > 0 ? first : -1;
}

static void against_double_loop(void **state) {
  static const int k[] = {1, 7, 33};
  static const double temperatures[] = {0.07, 0.5};
  sm_features train, test;
  random_features(&train, &test);
  static int32_t guess[3 * TEST];
  double top1[3], top5[3];
  int compared = 0;
  for (int t = 0; t < 2; t++) {
    must_knn(&train, &test, k, 3, temperatures[t], pool[2], guess, top1, top5);
    for (int j = 0; j < 3; j++)
      for (int row = 0; row < TEST; row += 5) {
        double margin;
        int32_t want = slow(row, k[j], temperatures[t], &margin);
        if (want >= 0 && margin < 1e-4) continue; /* rounding may decide */
        compared++;
        if (guess[j * TEST + row] != want)
          fail_msg("k = %d, row %d: class %d, not %d", k[j], row, guess[j * TEST + row], want);
      }
  }
  assert_true(compared > 800);
}

static void threads(void **state) {
  static const int k[] = {5, 20};
  static int32_t guess[3][2 * TEST];
  double top1[3][2], top5[3][2];
  sm_features train, test;
  random_features(&train, &test);
  for (int t = 0; t < 3; t++) must_knn(&train, &test, k, 2, 0.07, pool[t + 1], guess[t], top1[t], top5[t]);
  for (int t = 1; t < 3; t++) {
    assert_memory_equal(guess[t], guess[0], sizeof guess[0]);
    assert_memory_equal(top1[t], top1[0], sizeof top1[0]);
    assert_memory_equal(top5[t], top5[0], sizeof top5[0]);
  }
  int hits = 0, labelled = 0;
  for (int i = 0; i < TEST; i++) {
    labelled += random_test_label[i] >= 0;
    hits += random_test_label[i] >= 0 && guess[0][i] == random_test_label[i];
  }
  assert_true(labelled < TEST); /* rows without a label are classified, but not counted */
  assert_float_equal(top1[0][0], 100.0 * hits / labelled, 1e-9);
  assert_true(top1[0][0] > 15 && top5[0][0] > top1[0][0]);
}

/* ---- by hand --------------------------------------------------------------------------------------- */

/* Similarities with (1, 0): 1, 0.8, 0.8, 0.6, 0, -1. */
static const float hand_train[] = {2, 0, 4, 3, 0.8f, -0.6f, 3, 4, 0, 1, -5, 0};
static const float hand_test[] = {7, 0};

static int32_t classify(const int32_t *label, int64_t n, int classes, int k, double temperature, double *top1,
                        double *top5, int32_t truth) {
  sm_features train = {n, 2, classes, hand_train, label, NULL},
              test = {1, 2, classes, hand_test, &truth, NULL};
  int32_t guess;
  must_knn(&train, &test, &k, 1, temperature, pool[1], &guess, top1, top5);
  return guess;
}

static void by_hand(void **state) {
  double one, five;
  /* e^10 for class 0 against 2·e^8 and, from k = 4 on, e^6 for class 1: the weight of the nearest wins */
  static const int32_t a[] = {0, 1, 1, 1, 1, 1};
  assert_int_equal(classify(a, 6, 2, 6, 0.1, &one, &five, 0), 0);
  assert_float_equal(one, 100, 0);
  /* at temperature 1 the votes are e = 2.72 against 2·e^0.8 + e^0.6 + 1 + 1/e = 7.6 */
  assert_int_equal(classify(a, 6, 2, 6, 1, &one, &five, 0), 1);
  assert_float_equal(one, 0, 0);
  assert_float_equal(five, 100, 0); /* second of two */
  /* k = 2: the third, as similar as the second, comes later and is not asked: e against e^0.8 */
  static const int32_t b[] = {2, 0, 1, 1, 1, 1};
  assert_int_equal(classify(b, 6, 3, 2, 1, &one, &five, 1), 2);
  static const int32_t c[] = {-1, 1, 0, 0, 0, 0};
  assert_int_equal(classify(c, 6, 2, 2, 1, &one, &five, 1), 1);
  /* equal votes of rows 1 and 2 go to the lower class, whichever comes first */
  static const int32_t d[] = {-1, 3, 2, -1, -1, -1};
  assert_int_equal(classify(d, 6, 4, 3, 0.07, &one, &five, 3), 2);
  assert_float_equal(one, 0, 0);
  assert_float_equal(five, 100, 0);
}

static void top5_counts_five(void **state) {
  double one, five;
  /* Classes 0 … 5 are neighbours in this order; the sixth is out, and so is class 6 that nobody votes for. */
  static const int32_t label[] = {0, 1, 2, 3, 4, 5};
  classify(label, 6, 7, 6, 0.5, &one, &five, 4);
  assert_float_equal(five, 100, 0);
  classify(label, 6, 7, 6, 0.5, &one, &five, 5);
  assert_float_equal(five, 0, 0);
  classify(label, 6, 7, 6, 0.5, &one, &five, 6);
  assert_float_equal(five, 0, 0);
}

/* A class that nobody votes for is a hit at no depth and no k, however few classes there are. */
static void only_votes_count(void **state) {
  static const int32_t label[] = {3, 3, 2, 2, 1, -1}; /* neighbours in this order; class 0 has none */
  static const int k[] = {1, 2, 3, 4, 5, 6}, voted[] = {1, 1, 2, 2, 3, 3};
  double one, five;
  for (int i = 0; i < 6; i++)
    for (int32_t truth = 0; truth < 4; truth++) {
      const int32_t guess = classify(label, 6, 4, k[i], 0.5, &one, &five, truth);
      assert_float_equal(one, guess == truth ? 100 : 0, 0);
      assert_float_equal(five, truth > 3 - voted[i] ? 100 : 0, 0);
      if (k[i] == 1) assert_true(one == five); /* one neighbour names one class */
    }
  /* the vote of the farthest, e^-20000 of the nearest's, is 0 in doubles and still a vote */
  classify((int32_t[]){0, 0, 0, 0, 0, 1}, 6, 3, 6, 1e-4, &one, &five, 1);
  assert_float_equal(five, 100, 0);
  classify((int32_t[]){0, 0, 0, 0, 0, 1}, 6, 3, 6, 1e-4, &one, &five, 2);
  assert_float_equal(five, 0, 0);
}

static void few_pictures(void **state) {
  double one, five, same, same5;
  static const int32_t label[] = {1, 0, 0};
  assert_int_equal(classify(label, 3, 2, 200, 1, &one, &five, 0),
                   classify(label, 3, 2, 3, 1, &same, &same5, 0));
  assert_float_equal(one, same, 0);
  assert_int_equal(classify(label, 1, 2, 10000, 1, &one, &five, 1), 1); /* a single candidate */
  /* far below the range of exp: the nearest still decides */
  assert_int_equal(classify((int32_t[]){0, 1, 1}, 3, 2, 3, 1e-4, &one, &five, 0), 0);
}

static void no_labels(void **state) {
  double one, five;
  static const int32_t none[] = {-1, -1, -1, -1, -1, 0};
  assert_int_equal(classify(none, 6, 1, 5, 1, &one, &five, 0), -1); /* nobody votes: no class, and no hit */
  assert_float_equal(one, 0, 0);
  assert_float_equal(five, 0, 0);
  assert_int_equal(classify(none, 6, 1, 6, 1, &one, &five, -1), 0);
  assert_true(isnan(one) && isnan(five)); /* nothing to compare with */
}

/* ---- refusals -------------------------------------------------------------------------------------- */

static void refused(const sm_features *train, const sm_features *test, int k, double temperature,
                    const char *message) {
  double one, five;
  sm_error err = {0};
  assert_int_equal(sm_knn(train, test, &k, 1, temperature, pool[1], NULL, &one, &five, &err), SM_EINVAL);
  assert_string_equal(err.message, message);
}

static void refusals(void **state) {
  static const int32_t label[] = {0, 1, 2}, zero[] = {0};
  const sm_features train = {3, 2, 3, hand_train, label, NULL}, test = {1, 2, 3, hand_test, zero, NULL};
  sm_features f = train;
  f.n = 0;
  refused(&f, &test, 1, 1, "k-NN needs pictures on both sides, but has 0 to look in and 1 to classify");
  f = test;
  f.n = 0;
  refused(&train, &f, 1, 1, "k-NN needs pictures on both sides, but has 3 to look in and 0 to classify");
  f = test;
  f.dim = 1;
  refused(&train, &f, 1, 1, "k-NN features are 2 wide in train and 1 in test");
  f = train;
  f.classes = 0;
  refused(&f, &test, 1, 1, "k-NN needs labelled pictures, and the training pictures have no classes");
  refused(&train, &test, 0, 1, "k-NN with k = 0, which is below 1");
  refused(&train, &test, 1, 0, "k-NN temperature is 0, not above 0");
  refused(&train, &test, 1, NAN, "k-NN temperature is nan, not above 0");
  f = test;
  f.label = (int32_t[]){3};
  refused(&train, &f, 1, 1, "test picture 0 is of class 3, but training has classes 0 to 2");
  f = train;
  f.x = (float[]){1, 2, 3, NAN, 5, 6};
  refused(&f, &test, 1, 1, "the features of training picture 1 are not finite numbers");
  f = test;
  f.x = (float[]){INFINITY, 0};
  refused(&train, &f, 1, 1, "the features of test picture 0 are not finite numbers");
}

/* ---- the plugin ------------------------------------------------------------------------------------ */

static sm_pool_mode asked;
static int32_t test_label[] = {1};

static sm_status give(sm_eval_context *x, const char *split, sm_feature_spec *spec, sm_features *f,
                      sm_error *err) {
  static const int32_t train_label[] = {0, 1, 1, 1, 1, 1};
  (void)x, (void)err;
  asked = spec->pool;
  assert_int_equal(spec->blocks, 1);
  snprintf(spec->what, sizeof spec->what, "pixels as features");
  *f = strcmp(split, "train") ? (sm_features){1, 2, 2, hand_test, test_label, NULL}
                              : (sm_features){6, 2, 2, hand_train, train_label, NULL};
  return SM_OK;
}

static sm_status try
  (const sm_plugin *plugin, const char *yaml, sm_eval_result *to, sm_error *err) {
    sm_arena *arena = sm_arena_new("test");
    sm_instance instance;
    sm_eval_context x = {.pool = pool[1], .features = give};
    *to = (sm_eval_result){0};
    sm_status status = sm_instance_new(NULL, plugin, &instance, err);
    if (!status) status = sm_options_fill(plugin, yaml, instance.self, arena, err);
    if (!status) status = sm_instance_create(&instance, err);
    if (!status) status = ((const sm_evaluation_ops *)plugin->ops)->run(instance.self, &x, to, err);
    sm_instance_free(&instance);
    sm_arena_free(arena);
    return status;
  }

static sm_eval_result evaluated(const sm_plugin *plugin, const char *yaml) {
  sm_error err = {0};
  sm_eval_result result;
  if (try (plugin, yaml, &result, &err)) fail_msg("%s", err.message);
  return result;
}

static void the_plugin(void **state) {
  sm_error err = {0};
  sm_registry *registry = sm_registry_new(NULL, &err);
  const sm_plugin *plugin = registry ? sm_registry_find(registry, SM_EVALUATION, "knn", &err) : NULL;
  if (!plugin) fail_msg("%s", err.message);
  sm_eval_result r = evaluated(plugin, "{k: 1}");
  assert_int_equal(asked, SM_POOL_CLS);
  static const char *const names[] = {"top1", "top5", "balanced"};
  assert_int_equal(r.n, 3);
  for (int i = 0; i < 3; i++) { /* the only neighbour is of another class */
    assert_string_equal(r.figure[i].name, names[i]);
    assert_string_equal(r.figure[i].unit, "%");
    assert_float_equal(r.figure[i].value, 0, 0);
    assert_true(r.has_interval[i] && r.interval[i].low == 0 && r.interval[i].high == 0);
  }
  assert_string_equal(r.protocol,
                      "weighted k-NN, pixels as features, temperature 0.07, 1 against 6 pictures");
  r = evaluated(plugin, "{k: [1, 6], temperature: 1, pool: mean}");
  assert_int_equal(asked, SM_POOL_MEAN);
  assert_int_equal(r.n, 6);
  assert_string_equal(r.figure[0].name, "top1.k1");
  assert_float_equal(r.figure[0].value, 0, 0);
  assert_string_equal(r.figure[3].name, "top1.k6");
  assert_float_equal(r.figure[3].value, 100, 0);
  assert_string_equal(r.figure[5].name, "balanced.k6");
  assert_float_equal(r.figure[5].value, 100, 0);
  /* there are six neighbours: a larger k is 6, is called so, and comes once */
  sm_eval_result all = evaluated(plugin, "{k: [1, 1000, 7], temperature: 1}");
  assert_int_equal(all.n, 6);
  for (int i = 0; i < 6; i++) {
    assert_string_equal(all.figure[i].name, r.figure[i].name);
    assert_float_equal(all.figure[i].value, r.figure[i].value, 0);
  }
  assert_non_null(strstr(all.protocol, "1 against 6 pictures, k at most 6: there are no more"));
  assert_null(strstr(r.protocol, "at most"));
  all = evaluated(plugin, "{k: 1000, temperature: 1}");
  assert_string_equal(all.figure[0].name, "top1");
  test_label[0] = -1;
  assert_int_equal(try (plugin, "{}", &r, &err), SM_EINVAL);
  assert_string_equal(err.message, "none of the 1 test pictures has a class");
  test_label[0] = 1;
  sm_registry_free(registry);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reference),        cmocka_unit_test(against_double_loop),
      cmocka_unit_test(threads),          cmocka_unit_test(by_hand),
      cmocka_unit_test(top5_counts_five), cmocka_unit_test(only_votes_count),
      cmocka_unit_test(few_pictures),     cmocka_unit_test(no_labels),
      cmocka_unit_test(refusals),         cmocka_unit_test(the_plugin),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}

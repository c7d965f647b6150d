/* test_table.c — figures over seeds held against published ones and against the noise, claims, what a child process
 * tells, and the masks that a page shows. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "framework/table/gallery.h"
#include "framework/table/results.h"

#include "plugin_fixture.h"
#include "test.h"

/* ---- comparing ----------------------------------------------------------------------------------------- */

enum { ROWS = 7 };
static sm_table_run runs[ROWS];
static sm_table_result rows[ROWS];
static sm_table_recipe recipe = {.figures = 1};
static const sm_table_jobs jobs = {.recipe = &recipe};

/* NaN leaves a figure out. */
static sm_table_results results(int n, const double *published, const double *here) {
  for (int i = 0; i < n; i++) {
    runs[i].published[0] = published[i];
    rows[i] = (sm_table_result){.run = &runs[i]};
    rows[i].value[0].mean = here[i];
  }
  return (sm_table_results){.jobs = &jobs, .row = rows, .rows = n};
}

/* Spearman's coefficients are those of scipy.stats.spearmanr. */
static void test_compare(void **state) {
  const double paper[ROWS] = {69.1, 69.0, 9.5, 44.3, 6.9, 67.9, 48.0};
  sm_table_comparison c;
  sm_table_results r = results(ROWS, paper, paper);
  sm_table_compare(&r, 0, &c);
  assert_int_equal(c.rows, 7);
  assert_float_equal(c.rank, 1, 1e-12);
  assert_int_equal(c.pairs, 21);
  assert_int_equal(c.agree, 21);
  assert_int_equal(c.gaps, 6);
  assert_int_equal(c.gap[0].better, 0);
  assert_int_equal(c.gap[0].worse, 1);
  assert_int_equal(c.gap[5].better, 2);
  assert_int_equal(c.gap[5].worse, 4);
  assert_float_equal(c.gap[2].published, 67.9 - 48.0, 1e-12);
  assert_true(c.gap[2].agrees);

  const double here[ROWS] = {40, 41, 20, 20, 25, 39, 30}; /* ranks 6 7 1.5 1.5 3 5 4 against 7 6 2 3 1 5 4 */
  r = results(ROWS, paper, here);
  sm_table_compare(&r, 0, &c);
  assert_float_equal(c.rank, 0.8468812149338254, 1e-12);
  assert_int_equal(c.agree, 17);
  assert_false(c.gap[0].agrees);
  assert_float_equal(c.gap[0].here, -1, 1e-12);

  const double some[ROWS] = {40, NAN, 20, NAN, NAN, 39, NAN};
  r = results(ROWS, paper, some);
  sm_table_compare(&r, 0, &c);
  assert_int_equal(c.rows, 3);
  assert_float_equal(c.rank, 1, 1e-12);
  r = results(2, paper, here);
  sm_table_compare(&r, 0, &c);
  assert_true(isnan(c.rank)); /* two rows have no rank correlation to speak of */
  const double same[ROWS] = {5, 5, 5, 5, 5, 5, 5};
  r = results(ROWS, paper, same);
  sm_table_compare(&r, 0, &c);
  assert_true(isnan(c.rank));
  assert_int_equal(c.agree, 0);
  r = results(ROWS, same, here); /* nothing to disagree with */
  sm_table_compare(&r, 0, &c);
  assert_int_equal(c.pairs, 0);
  assert_true(c.gap[0].agrees);
}

/* Two columns, k-NN and a measure; scipy.stats.spearmanr, and every order counted. */
static void test_correlate(void **state) {
  static sm_table_job job = {.evaluations = 2,
                             .evaluation = {{.name = "knn", .knn = true}, {.name = "rank", .without_labels = true}}};
  static sm_table_recipe two = {.figures = 2, .figure = {{.figure = "knn.top1"}, {.figure = "rank.rankme"}}};
  static const sm_table_jobs both = {.recipe = &two, .job = &job, .n = 1};
  const double knn[ROWS] = {1, 2, 3, 4, 5, 6, 7}, rank[ROWS] = {1, 3, 2, 5, 4, 7, 6};
  sm_table_results r = results(4, knn, knn);
  sm_table_correlation c;
  r.jobs = &both;
  for (int i = 0; i < ROWS; i++) rows[i].value[1].mean = rank[i];
  assert_int_equal(sm_table_reference(&r), 0);
  assert_false(sm_table_without_labels(&r, 0));
  assert_true(sm_table_without_labels(&r, 1));
  sm_table_correlate(&r, 1, 0, &c);
  assert_int_equal(c.rows, 4);
  assert_float_equal(c.rank, 0.8, 1e-12);
  assert_float_equal(c.chance, 8.0 / 24, 1e-12); /* ±1 in one order each, ±0.8 in three */
  rows[1].value[1].mean = NAN;
  sm_table_correlate(&r, 1, 0, &c);
  assert_int_equal(c.rows, 3);
  assert_float_equal(c.rank, 1, 1e-12);
  assert_float_equal(c.chance, 2.0 / 6, 1e-12);
  r.rows = 2;
  sm_table_correlate(&r, 1, 0, &c);
  assert_true(isnan(c.rank) && isnan(c.chance));
  job.evaluation[0].knn = false;
  assert_int_equal(sm_table_reference(&r), -1);
}

/* ---- noise --------------------------------------------------------------------------------------------- */

/* Quantiles of scipy.stats.t. */
static void test_student(void **state) {
  static const double of[][2] = {{1, 12.706204736174698}, {2, 4.302652729749464}, {2.5, 3.574654841985856},
                                 {10, 2.2281388519862735}, {99, 1.9842169515864174}, {2500, 1.9609}};
  for (size_t i = 0; i < sizeof of / sizeof *of; i++)
    assert_float_equal(sm_table_student(of[i][0]), of[i][1], i < 5 ? 1e-7 : 5e-5);
  assert_float_equal(sm_table_student(INFINITY), 1.959963984540054, 1e-12);
  assert_float_equal(sm_table_student(0.5), 12.706204736174698, 1e-7);
}

enum { SEEN = 20, TRIALS = 3 };
static uint8_t right[3][TRIALS][SEEN];

/* A row of three seeds, which pictures each was right about; the figure is the share of them. */
static sm_table_sample told(int row, const char *const hits[TRIALS]) {
  sm_table_sample s = {.n = TRIALS};
  for (int k = 0; k < TRIALS; k++) {
    s.seed[k] = 10 + k;
    for (int i = 0; i < SEEN; i++) {
      right[row][k][i] = hits[k][i] == '1';
      s.value[k] += 100.0 / SEEN * right[row][k][i];
    }
    s.low[k] = s.value[k] - 1, s.high[k] = s.value[k] + 1;
    s.hits[k] = (sm_hits){right[row][k], SEEN, 0xabc};
  }
  return s;
}

static void assert_gap(const sm_table_sample *a, const sm_table_sample *b, double gap, double low, double high) {
  sm_table_gap_noise g;
  sm_table_noise(a, b, &g);
  assert_float_equal(g.gap, gap, 1e-9);
  assert_float_equal(g.low, low, 1e-6);
  assert_float_equal(g.high, high, 1e-6);
  assert_int_equal(g.told, low > 0 || high < 0);
}

/* Mean squares by hand (NumPy), of the differences in percent. */
static void test_noise_in_pairs(void **state) {
  static const char *const good[] = {"11111111111111111100", "11111111111111111110", "11111111111111110000"},
                          *const like[] = {"11111111111111011110", "11111111111111110100", "11111011111101001011"},
                          *const poor[] = {"11111111110000000000", "11111111011000000000", "11111110110000010000"};
  sm_table_gap_noise g;
  sm_table_sample a = told(0, good), c = told(1, like), b = told(2, poor);
  /* MSs 7000/6, MSp 5008.77, MSe 7000/6: √(5008.77/60), 12.3 degrees */
  assert_gap(&a, &b, 115.0 / 3, 18.482882200528984, 58.18378446613769);
  /* 500 + 1500 − 2078.9 is below the larger of them: √(1500/60), 19 degrees */
  assert_gap(&a, &c, 5, -5.465120272049733, 15.465120272049733);
  assert_gap(&c, &a, -5, -15.465120272049733, 5.465120272049733);
  sm_table_noise(&a, &c, &g);
  assert_int_equal(g.noise, SM_NOISE_PAIRED);
  assert_int_equal(g.seeds, 3);
  assert_int_equal(g.pictures, SEEN);
  a.n = 1; /* the pictures alone */
  assert_gap(&a, &b, 40, 16.476440408085434, 63.52355959191456);
  a.n = 3, b.seed[1] = 99; /* no partner: seeds 10 and 12 are left */
  sm_table_noise(&a, &b, &g);
  assert_int_equal(g.seeds, 2);
  b.seed[0] = b.seed[2] = 98;
  sm_table_noise(&a, &b, &g);
  assert_true(g.noise == SM_NOISE_UNKNOWN && isnan(g.gap) && isnan(g.low) && !g.told);
  assert_gap(&c, &c, 0, 0, 0);
}

/* What is known of the figures alone. */
static void test_noise_apart(void **state) {
  sm_table_gap_noise g;
  sm_table_sample a = {.n = 3, .seed = {0, 1, 2}, .value = {50, 51, 52}},
                  b = {.n = 3, .seed = {2, 0, 1}, .value = {47, 48, 48.5}};
  for (int k = 0; k < 3; k++) a.low[k] = a.high[k] = b.low[k] = b.high[k] = NAN;
  assert_gap(&a, &b, 19.0 / 6, -0.8260260890472386, 7.159359422380572); /* t of two degrees, d = 2, 2.5, 5 */
  sm_table_noise(&a, &b, &g);
  assert_int_equal(g.noise, SM_NOISE_SEEDS);
  for (int k = 0; k < 3; k++) a.low[k] = b.low[k] = 49, a.high[k] = b.high[k] = 51;
  assert_gap(&a, &b, 19.0 / 6, 0.17120902469857358, 6.162124308634759);
  sm_table_noise(&a, &b, &g);
  assert_true(g.noise == SM_NOISE_APART && g.pictures == 0);
  a.n = 1, b.n = 2;
  assert_gap(&a, &b, 2, 0.5857864376269049, 3.414213562373095);
  static uint8_t hit[2];
  a.hits[0] = (sm_hits){hit, 2, 5}, b.hits[1] = (sm_hits){hit, 2, 6}; /* of other pictures: no pairs */
  sm_table_noise(&a, &b, &g);
  assert_int_equal(g.noise, SM_NOISE_APART);
  b.low[1] = NAN;
  sm_table_noise(&a, &b, &g);
  assert_true(g.noise == SM_NOISE_UNKNOWN && g.gap == 2 && isnan(g.low) && !g.told);
}

/* Rows of one run each, whose figure has an interval of ±`half`. */
static void assert_places(const double *mean, double half, int n, const char *wanted) {
  char got[ROWS + 1] = "";
  double none[ROWS] = {0};
  sm_table_results r = results(n, none, mean);
  for (int i = 0; i < n; i++) {
    sm_table_sample *s = &rows[i].sample[0];
    *s = (sm_table_sample){.n = isfinite(mean[i])};
    s->value[0] = mean[i], s->low[0] = mean[i] - half, s->high[0] = mean[i] + half;
  }
  sm_table_rank(&r, 0);
  for (int i = 0; i < n; i++) got[i] = "-12"[rows[i].place[0]];
  assert_string_equal(got, wanted);
}

/* The noise of a gap is √2 · 0.7. */
static void test_places(void **state) {
  assert_places((double[]){50, 52, 51, NAN}, 0.7, 4, "-12-");
  assert_places((double[]){51, 52}, 0.7, 2, "-1"); /* nothing follows the second */
  assert_places((double[]){50, 52, 51, 48}, 0.7, 4, "-12-");
  assert_places((double[]){50, 52, 51.9, 48}, 0.7, 4, "----"); /* the first two are level: no second either */
  assert_places((double[]){50, 52, 50.1, 48}, 0.7, 4, "-1--");
  assert_places((double[]){50, 52, 51, 48}, NAN, 4, "----"); /* nothing is known of the noise */
  assert_places((double[]){5, 5}, 0.7, 2, "--");
  assert_places((double[]){5}, 0.7, 1, "-");
  assert_places((double[]){NAN, NAN}, 0.7, 2, "--");
}

/* ---- claims -------------------------------------------------------------------------------------------- */

static void write_text(const char *path, const char *text) {
  assert_int_equal(sm_file_put(path, text, strlen(text), NULL), SM_OK);
}

static void set_age(const char *path, int seconds) {
  struct timespec t[2];
  clock_gettime(CLOCK_REALTIME, &t[0]);
  t[0].tv_sec -= seconds;
  t[1] = t[0];
  assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
}

static void test_claims(void **state) {
  sm_claim a, b;
  sm_error err = {0};
  char who[300] = "", path[4300], host[256];
  struct stat st;
  assert_int_equal(sm_claim_take(&a, folder, "one", 60, who, sizeof who, &err), SM_CLAIM_MINE);
  assert_int_equal(sm_claim_take(&b, folder, "one", 60, who, sizeof who, &err), SM_CLAIM_OTHERS);
  gethostname(host, sizeof host);
  snprintf(path, sizeof path, "process %ld on %s", (long)getpid(), host);
  assert_string_equal(who, path);
  assert_int_equal(sm_claim_take(&b, folder, "two", 60, who, sizeof who, &err), SM_CLAIM_MINE);
  assert_true(sm_claim_beat(&b));
  sm_claim_release(&b);
  assert_int_equal(stat(b.path, &st), -1);

  set_age(a.path, 100); /* without a sign of life */
  assert_int_equal(sm_claim_take(&b, folder, "one", 120, who, sizeof who, &err), SM_CLAIM_OTHERS);
  assert_int_equal(sm_claim_take(&b, folder, "one", 60, who, sizeof who, &err), SM_CLAIM_MINE);
  assert_false(sm_claim_beat(&a)); /* it notices, */
  sm_claim_release(&a);            /* and leaves the other's alone */
  assert_int_equal(stat(b.path, &st), 0);
  set_age(b.path, 100);
  assert_true(sm_claim_beat(&b));
  assert_int_equal(sm_claim_take(&a, folder, "one", 60, who, sizeof who, &err), SM_CLAIM_OTHERS);
  sm_claim_release(&b);

  /* from the future, as its owner's clock was put back: it begins to age now */
  assert_int_equal(sm_claim_take(&a, folder, "one", 60, who, sizeof who, &err), SM_CLAIM_MINE);
  set_age(a.path, -86400);
  assert_int_equal(sm_claim_take(&b, folder, "one", 60, who, sizeof who, &err), SM_CLAIM_OTHERS);
  assert_int_equal(stat(a.path, &st), 0);
  assert_true(st.st_mtime <= time(NULL) + 1);
  assert_true(sm_claim_beat(&a));
  sm_claim_release(&a);

  snprintf(path, sizeof path, "%s/claims/three", folder);
  write_text(path, "0-0 4711 elsewhere\n");
  assert_int_equal(sm_claim_take(&a, folder, "three", 60, who, sizeof who, &err), SM_CLAIM_OTHERS);
  assert_string_equal(who, "process 4711 on elsewhere");
  write_text(path, "cut sh");
  assert_int_equal(sm_claim_take(&a, folder, "three", 60, who, sizeof who, &err), SM_CLAIM_OTHERS);
  set_age(path, 100);
  assert_int_equal(sm_claim_take(&a, folder, "three", 60, who, sizeof who, &err), SM_CLAIM_MINE);
  sm_claim_release(&a);

  snprintf(path, sizeof path, "%s/claims", folder);
  assert_int_equal(sm_remove_tree(path, NULL), SM_OK);
  write_text(path, "a file in the way");
  assert_int_equal(sm_claim_take(&a, folder, "one", 60, who, sizeof who, &err), SM_CLAIM_ERROR);
  assert_int_not_equal(err.code, SM_OK);
}

/* ---- children ------------------------------------------------------------------------------------------ */

static sm_status count_to(void *ctx, sm_child *child, sm_error *err) {
  for (int i = 1; i <= *(int *)ctx; i++) sm_child_tell(child, &(sm_tell){.kind = SM_TELL_STEP, .step = i});
  sm_log(SM_LOG_WARNING, "counted to %d", *(int *)ctx);
  sm_fail(err, SM_EFORMAT, "no more");
  sm_hint(err, "stop");
  return sm_fail_at(err, "here", 1, 2);
}

static sm_status die(void *ctx, sm_child *child, sm_error *err) {
  (void)child, (void)err;
  raise(*(int *)ctx);
  return SM_OK;
}

static sm_status wait_for_stop(void *ctx, sm_child *child, sm_error *err) {
  (void)ctx;
  sm_child_tell(child, &(sm_tell){.kind = SM_TELL_START});
  while (!sm_signals_stop()) usleep(1000);
  return sm_fail(err, SM_EINTERRUPTED, "asked to");
}

static sm_status fine(void *ctx, sm_child *child, sm_error *err) {
  (void)ctx, (void)child, (void)err;
  return SM_OK;
}

static void test_children(void **state) {
  sm_error err = {0};
  sm_tell tell;
  int n = 100, seen = 0, warnings = 0;
  sm_child *c = sm_child_start(count_to, &n, &err);
  assert_non_null(c);
  for (int got; (got = sm_child_listen(c, 60, &tell)) >= 0;) {
    if (got && tell.kind == SM_TELL_STEP) assert_int_equal(tell.step, ++seen);
    if (got && tell.kind == SM_TELL_WARNING) assert_string_equal(tell.text, "counted to 100"), warnings++;
  }
  int64_t peak = 0;
  assert_int_equal(sm_child_end(c, &peak, &err), SM_EFORMAT);
  assert_int_equal(seen, 100);
  assert_int_equal(warnings, 1);
  assert_string_equal(err.message, "no more");
  assert_string_equal(err.place, "here:1:2");
  assert_string_equal(err.hint, "stop");
  assert_true(peak > 100000);

  n = SIGKILL;
  c = sm_child_start(die, &n, &err);
  assert_int_equal(sm_child_end(c, NULL, &err), SM_EINTERNAL);
  assert_non_null(strstr(err.message, "ended by signal 9"));
  assert_non_null(strstr(err.hint, "memory"));

  c = sm_child_start(wait_for_stop, NULL, &err);
  assert_int_equal(sm_child_listen(c, 60, &tell), 1);
  sm_child_stop(c);
  assert_int_equal(sm_child_end(c, NULL, &err), SM_EINTERRUPTED);

  c = sm_child_start(fine, NULL, &err);
  assert_int_equal(sm_child_end(c, NULL, &err), SM_OK);
}

/* ---- masks --------------------------------------------------------------------------------------------- */

/* A page shows the masks that the loader gives in the last epoch, whichever views are masked. */
static void test_masks(void **state) {
  enum { EPOCHS = 3, STEPS = 2, PICTURES = 8, CELLS = 16 };
  static const char *const masked[] = {"global", "one", "all"};
  for (size_t m = 0; m < sizeof masked / sizeof *masked; m++) {
    sm_error err = {0};
    sm_recipe *r = NULL;
    sm_batch *batch = NULL;
    sm_loader *loader = NULL;
    sm_views views;
    char path[128], text[1024];
    snprintf(path, sizeof path, "%s/recipe.yaml", folder);
    snprintf(
        text, sizeof text,
        "smalti: 1\nname: masks\n"
        "data: {train: {shapes: {count: 16, size: 16}}, views: {masked: %s, global: {count: 2, size: 16},"
        " local: {count: 0}}}\n"
        "backbone: {vit: {dim: 24, depth: 1, heads: 2, patch_size: 4}}\nhead: {projection: {out_dim: 32}}\n"
        "masker: {random: {ratio: [0.1, 0.5]}}\ntokenizer: online_ema\nlosses: {cls: cls_distill, mim: mim}\n"
        "optimizer: adamw\ntrain: {epochs: %d, steps_per_epoch: %d, batch_size: %d, seed: 5,"
        " scale_schedules: true, freeze_last_layer: 0}\n",
        masked[m], EPOCHS, STEPS, PICTURES);
    write_text(path, text);
    must(sm_recipe_load(&r, registry, path, 0, NULL, &err), &err);
    must(sm_recipe_create(r, &err), &err);
    must(sm_views_of(r, &views, &err), &err);
    sm_loader_config c = {.dataset = {r->data.train.plugin.plugin->ops, r->data.train.plugin.self},
                          .views = views,
                          .masking = sm_masking_of(r, (sm_block_spec[2]){{.rows = 4, .cols = 4}}),
                          .seed = 5,
                          .batch_size = PICTURES,
                          .steps_per_epoch = STEPS,
                          .prefetch = 1};
    must(c.dataset.ops->open(c.dataset.self, &err), &err);
    must(sm_loader_new(&c, (EPOCHS - 1) * STEPS, &loader, &err), &err);
    must(sm_loader_next(loader, &batch, &err), &err);
    int hidden = 0, whole = 0;
    for (int i = 0; i < 2 * PICTURES; i++) {
      uint8_t mask[CELLS];
      sm_gallery_mask(r, &(sm_block_spec){.rows = 4, .cols = 4}, i / 2, i % 2, NULL, 0, mask);
      assert_memory_equal(mask, batch->mask + i * CELLS, CELLS);
      bool any = memchr(mask, 1, CELLS) != NULL;
      hidden += any, whole += !any;
    }
    assert_int_equal(hidden, strcmp(masked[m], "one") == 0 ? PICTURES : 2 * PICTURES);
    assert_int_equal(whole, 2 * PICTURES - hidden);
    sm_loader_free(loader);
    sm_recipe_free(r);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_compare), cmocka_unit_test(test_correlate),  cmocka_unit_test(test_student),
      cmocka_unit_test(test_noise_in_pairs), cmocka_unit_test(test_noise_apart),
      cmocka_unit_test(test_places), cmocka_unit_test(test_claims), cmocka_unit_test(test_children),
      cmocka_unit_test(test_masks),
  };
  return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}

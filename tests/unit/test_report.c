/* test_report.c — the pages of runs made here, and what they take from a recipe. */
#include <unistd.h>

#include "framework/base/heap.h"
#include "framework/report/report.h"
#include "framework/report/html.h"
#include "framework/report/run.h"

#include "markup.h"

static const char RECIPE[] =
    "smalti: 1\nname: demo\nbackbone: {vit: {arch: tiny, patch_size: 4}}\n"
    "heads: {main: {projection: {out_dim: 1024}}}\n"
    "tokenizers: {main: {online_ema: {momentum: {from: 0.996, to: 1}}}}\ntrain: {epochs: 20}\n"
    "evaluate: {near: {knn: {k: [10, 20]}}, far: {linear: {}}}\n";

static void put(const char *name, const char *text) {
  assert_int_equal(sm_file_put(path_of(name), text, strlen(text), NULL), SM_OK);
}

static void make_run(const char *name) {
  char at[64];
  sm_text metrics = {0}, timing = {0};
  assert_int_equal(sm_mkdirs(path_of(name), NULL), SM_OK);
  for (int i = 1; i <= 300; i++) {
    sm_text_add(&metrics, "{\"step\":%d,\"epoch\":%d,\"loss\":%g,\"loss.cls\":%g,\"teacher_entropy.cls\":5,",
                i, i / 15, 9.0 / i + 1, 4.0 / i);
    sm_text_add(&metrics, "\"student_entropy.cls\":6,\"temperature\":1,\"grad_norm\":%s,\"my<metric>\":%d}\n",
                i == 7 ? "null" : "1.5", i);
    sm_text_add(&timing, "{\"step\":%d,\"images_per_s\":%d,\"seconds\":%d,\"rss\":1073741824}\n", i,
                30 + i % 3, 4 * i);
    if (i % 100 == 0)
      sm_text_add(&metrics,
                  "{\"step\":%d,\"epoch\":%d,\"eval\":\"near\",\"top1.k10\":%d,\"top1.k20\":%g}\n", i,
                  i / 15, 20, 30.5 + i / 100);
    if (i % 100 == 0) /* older records have no units */
      sm_text_add(&metrics, "{\"step\":%d,\"eval\":\"far\",\"rank\":%d,\"units\":{\"rank\":\"axes\"}}\n", i, i);
  }
  sm_text_add(&metrics, "nonsense\n{\"step\":301,\"lo"); /* one damaged line, and one that a crash cut */
  snprintf(at, sizeof at, "%s/metrics.jsonl", name), put(at, metrics.s);
  snprintf(at, sizeof at, "%s/timing.jsonl", name), put(at, timing.s);
  snprintf(at, sizeof at, "%s/recipe.yaml", name), put(at, RECIPE);
  sm_text_free(&metrics);
  sm_text_free(&timing);
}

static char *page(const char *name) {
  char *text;
  size_t bytes;
  assert_int_equal(sm_file_get(path_of(name), 16 << 20, &text, &bytes, NULL), SM_OK);
  assert_int_equal(strlen(text), bytes);
  assert_well_formed(text);
  assert_int_equal(count(text, "http"),
                   count(text, "http://www.w3.org/2000/svg") + count(text, "http-equiv"));
  assert_null(strstr(text, "<script"));
  return text;
}

static void a_whole_run(void **state) {
  sm_error err = {0};
  make_run("demo");
  put("demo/environment.json",
      "{\"cpu\":{\"model\":\"<b>Xeon\"},\"plugins\":[\"vit\",\"mim\"],\"fast\":true}");
  put("demo/bad-pictures.txt", "a/<x>.jpg\ttruncated\nb.jpg\n");
  put("demo/preview.png", "not really a PNG");
  assert_int_equal(sm_report_run(path_of("demo/"), NULL, &err), SM_OK);
  char *text = page("demo/report.html");
  static const char *const PARTS[] = {"<h1>demo</h1>",
                                      "Best k-NN top-1</dt><dd>33.5 %",
                                      "step 300; 31.5 at first",
                                      "<h3>k-NN accuracy, top-1</h3>",
                                      "<td>near top1.k20</td>",
                                      "<td>far rank, axes</td>",
                                      "<h3>far rank, axes</h3>",
                                      "<h3>Temperature</h3>",
                                      "epoch 20 of 20",
                                      "<dd>31</dd>",
                                      "1.0 GiB",
                                      "20 min 00 s",
                                      "1 line of the records could not be read",
                                      "<h3>Loss</h3>",
                                      "<h3>Gradient norm</h3>",
                                      "ln K: uniform",
                                      "teacher cls",
                                      "<td>my&lt;metric&gt;</td>",
                                      "&lt;b&gt;Xeon",
                                      "vit, mim",
                                      "a/&lt;x&gt;.jpg",
                                      "data:image/png;base64,bm90IHJlYWxseSBhIFBORw==",
                                      "<b>vit</b> <span class=\"p\"><i>arch</i>tiny</span>",
                                      "from 0.996, to 1",
                                      "name: demo\n"};
  for (size_t i = 0; i < sizeof PARTS / sizeof *PARTS; i++)
    if (!strstr(text, PARTS[i])) fail_msg("the page lacks: %s", PARTS[i]);
  assert_int_equal(sm_report_run(path_of("demo"), NULL, &err), SM_OK);
  char *again = page("demo/report.html");
  assert_string_equal(text, again);
  sm_free(text);
  sm_free(again);
}

static void a_run_with_next_to_nothing(void **state) {
  sm_error err = {0};
  assert_int_equal(sm_mkdirs(path_of("bare"), NULL), SM_OK);
  assert_int_equal(sm_report_run(path_of("bare"), NULL, &err), SM_ENOTFOUND);
  assert_non_null(strstr(err.message, "bare' has no metrics.jsonl"));
  put("bare/metrics.jsonl", "");
  put("bare/recipe.yaml", "a: [unclosed <script>"); /* shown as text, not summarised */
  put("bare/environment.json", "{broken");
  assert_int_equal(sm_report_run(path_of("bare"), NULL, &err), SM_OK);
  char *text = page("bare/report.html");
  assert_non_null(strstr(text, "unclosed &lt;script&gt;"));
  assert_null(strstr(text, "<h2>Curves"));
  assert_null(strstr(text, "<h2>Environment"));
  sm_free(text);
}

static void runs_compared(void **state) {
  sm_error err = {0};
  make_run("one");
  make_run("more/one");
  make_run("two");
  put("two/metrics.jsonl",
      "{\"step\":1,\"loss\":2}\n"
      "{\"step\":2,\"eval\":\"knn\",\"top1.k10\":41.5,\"top1.k20\":61.25}\n");
  const char *const folders[] = {path_of("one"), path_of("more/one"), path_of("two")};
  assert_int_equal(sm_report_compare(folders, 3, path_of("all.html"), &err), SM_OK);
  char *text = page("all.html");
  assert_non_null(strstr(text, "<h1>3 runs compared</h1>"));
  assert_non_null(strstr(text, "<td>more/one</td>")); /* equal names get their parent's */
  assert_non_null(strstr(text, "<td>two</td>"));
  assert_non_null(strstr(text, ">33.5</"));
  assert_non_null(strstr(text, "<b>61.25</b>")); /* one figure per k, the best counts and is bold */
  assert_non_null(strstr(text, "<h3>Loss: cls</h3>"));
  sm_free(text);
  assert_int_equal(sm_report_compare(folders, 0, path_of("none.html"), &err), SM_EINVAL);
  const char *const missing[] = {path_of("nowhere")};
  assert_int_equal(sm_report_compare(missing, 1, path_of("none.html"), &err), SM_ENOTFOUND);
}

/* Want of memory is told: there is the whole page or none. */
static void reports_without_memory(void **state) {
  sm_error err = {0};
  assert_int_equal(sm_mkdirs(path_of("small"), NULL), SM_OK);
  put("small/metrics.jsonl",
      "{\"step\":1,\"loss\":2}\n{\"step\":2,\"loss\":1,\"x\":null}\ndamaged\n"
      "{\"step\":2,\"eval\":\"near\",\"top1\":41.5}\n");
  put("small/timing.jsonl", "{\"step\":1,\"images_per_s\":3,\"rss\":7}\n");
  put("small/recipe.yaml", RECIPE);
  put("small/environment.json", "{\"cpu\":{\"model\":\"x\"}}");
  put("small/bad-pictures.txt", "a.jpg\ttruncated\n");
  put("small/preview.png", "not really a PNG");
  assert_int_equal(sm_report_run(path_of("small"), NULL, &err), SM_OK);
  char *whole = page("small/report.html");
  sm_heap_fail_at(INT64_MAX);
  assert_int_equal(sm_report_run(path_of("small"), NULL, &err), SM_OK);
  int64_t n = sm_heap_calls(), told = 0;
  for (int64_t k = 1; k <= n; k++) {
    assert_int_equal(remove(path_of("small/report.html")), 0);
    sm_heap_fail_at(k);
    sm_status status = sm_report_run(path_of("small"), NULL, &err);
    sm_heap_fail_at(0);
    if (status == SM_OK) {
      char *text = page("small/report.html");
      if (strcmp(text, whole) != 0) fail_msg("allocation %d of %d is lost without a word", (int)k, (int)n);
      sm_free(text);
      continue;
    }
    assert_int_equal(status, SM_ENOMEM);
    assert_non_null(strstr(err.message, "memory"));
    told++;
    put("small/report.html", "");
  }
  assert_true(told > n / 2);
  sm_free(whole);
}

/* What is there and cannot be read is no reason for a thinner page. */
static void a_report_of_files_that_cannot_be_read(void **state) {
  sm_error err = {0};
  assert_int_equal(sm_mkdirs(path_of("odd/recipe.yaml"), NULL), SM_OK); /* a folder in the place of a file */
  put("odd/metrics.jsonl", "{\"step\":1,\"loss\":2}\n");
  assert_int_equal(sm_report_run(path_of("odd"), NULL, &err), SM_EIO);
  assert_non_null(strstr(err.message, "odd/recipe.yaml"));
  assert_int_equal(sm_mkdirs(path_of("large"), NULL), SM_OK);
  put("large/metrics.jsonl", "{\"step\":1,\"loss\":2}\n");
  put("large/preview.png", "");
  assert_int_equal(truncate(path_of("large/preview.png"), 13 << 20), 0);
  assert_int_equal(sm_report_run(path_of("large"), NULL, &err), SM_OK);
  char *text = page("large/report.html");
  assert_non_null(strstr(text, "preview.png is too large for this page and left out."));
  sm_free(text);
}

static void figures_of_what_a_network_sees(void **state) {
  sm_error err = {0};
  const sm_report_figure figure[2] = {
      {.title = "Heads & <masks>", .about = "\"last\" block", .png = "not really a PNG", .bytes = 16},
      {.title = "Patterns", .about = "unused", .reason = "backbone `a<b` has no head"}};
  const sm_report_figures figures = {.figure = figure, .n = 2, .about = "Step <7>."};
  make_run("seen");
  assert_int_equal(sm_report_run(path_of("seen"), &figures, &err), SM_OK);
  char *text = page("seen/report.html");
  static const char *const PARTS[] = {"<h2>What the network sees</h2>",
                                      "Step &lt;7&gt;.",
                                      "<figure><h3>Heads &amp; &lt;masks&gt;</h3>",
                                      "alt=\"Heads &amp; &lt;masks&gt;\" src=\"data:image/png;base64,bm90IHJlYWxseSBhIFBORw==\"",
                                      "<figcaption>&quot;last&quot; block</figcaption>",
                                      "Patterns is left out: backbone `a&lt;b` has no head."};
  for (size_t i = 0; i < sizeof PARTS / sizeof *PARTS; i++)
    if (!strstr(text, PARTS[i])) fail_msg("the page lacks: %s", PARTS[i]);
  assert_null(strstr(text, "unused"));
  assert_true(strstr(text, "<h2>Curves") < strstr(text, "<h2>What the network sees"));
  sm_free(text);
  assert_int_equal(sm_report_run(path_of("seen"), NULL, &err), SM_OK);
  text = page("seen/report.html");
  assert_null(strstr(text, "What the network sees"));
  sm_free(text);
}

static const sm_yaml *tree(sm_arena *arena, const char *text) {
  return sm_yaml_read(arena, "test", false, text, strlen(text), NULL);
}

static void numbers_of_a_recipe(void **state) {
  double v = 0;
  sm_arena *arena = sm_arena_new("test");
  const sm_yaml *recipe = tree(arena, RECIPE);
  assert_true(sm_recipe_number(recipe, "train.epochs", &v));
  assert_true(v == 20);
  assert_true(sm_recipe_number(recipe, "*.out_dim", &v));
  assert_true(v == 1024);
  assert_false(sm_recipe_number(recipe, "train.nothing", &v));
  assert_false(sm_recipe_number(recipe, "train", &v));
  assert_false(sm_recipe_number(NULL, "train.epochs", &v));
  recipe = tree(arena, "a: {out_dim: 1}\nb: {out_dim: 2, heads: [1, {x: ~}, !delete ]}\n");
  assert_false(sm_recipe_number(recipe, "*.out_dim", &v)); /* which of them? */
  sm_text summary = {0};
  sm_recipe_summary(recipe, &summary);
  assert_string_equal(
      summary.s,
      "<dt>a</dt><dd><span class=\"p\"><i>out_dim</i>1</span> </dd>\n<dt>b</dt><dd><span "
      "class=\"p\"><i>out_dim</i>2</span> <span class=\"p\"><i>heads</i>1, x ~, </span> </dd>\n");
  sm_recipe_summary(NULL, &summary);
  sm_text_free(&summary);
  sm_arena_free(arena);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_whole_run),
      cmocka_unit_test(a_run_with_next_to_nothing),
      cmocka_unit_test(runs_compared),
      cmocka_unit_test(reports_without_memory),
      cmocka_unit_test(a_report_of_files_that_cannot_be_read),
      cmocka_unit_test(figures_of_what_a_network_sees),
      cmocka_unit_test(numbers_of_a_recipe),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

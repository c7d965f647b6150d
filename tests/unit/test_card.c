/* test_card.c — a page of parts made here, whatever they hold; and results that are found again only where
 * all that they depend on is the same. */
#include <unistd.h>

#include "framework/eval/eval.h"
#include "framework/report/card.h"

#include "test.h"

static char *read_whole(const char *path) {
  char *data;
  size_t bytes;
  sm_error err = {0};
  must(sm_file_get(path, 1 << 20, &data, &bytes, &err), &err);
  return data;
}

static int times(const char *text, const char *part) {
  int n = 0;
  for (const char *at = text; (at = strstr(at, part)); at += strlen(part)) n++;
  return n;
}

/* ---- the page ------------------------------------------------------------------------------------------ */

static void a_page_escapes_what_it_is_given(void **state) {
  sm_error err = {0};
  const sm_card_fact fact[] = {{"weights", "<script>alert(1)</script>", NULL}};
  const sm_card_figure figure[] = {{"top1", "85.30 %", 84.5, 86.25, true}, {"a&b", "-", 0, 0, false}};
  const sm_card_evaluation evaluation[] = {{"k\"nn", "about", "a <protocol>", "measured 2026-01-31", figure, 2}};
  unsigned char png[] = {1, 2, 3};
  const sm_card_picture picture[] = {{"it's", "caption", png, 3}};
  const sm_card card = {.title = "<b>", .subtitle = "a & b", .tile = fact, .tiles = 1, .fact = fact, .facts = 1,
                        .missing = fact, .missings = 1, .evaluation = evaluation, .evaluations = 1,
                        .picture = picture, .pictures = 1, .recipe = "name: <x>\n"};
  must(sm_card_write(&card, path_of("a.html"), &err), &err);
  char *page = read_whole(path_of("a.html"));
  assert_null(strstr(page, "<script"));
  assert_int_equal(times(page, "&lt;script&gt;alert(1)"), 3);
  for (const char *const *part = (const char *const[]){"<h1>&lt;b&gt;</h1>", "a &amp; b", "<h3>k&quot;nn</h3>",
                                                        "a &lt;protocol&gt;", "84.50 – 86.25", "alt=\"it&#39;s\"",
                                                        "base64,AQID\"", "name: &lt;x&gt;", "a&amp;b", NULL};
       *part; part++)
    if (!strstr(page, *part)) fail_msg("no %s in %s", *part, page);
  sm_free(page);
}

static void parts_that_are_not_there_have_no_heading(void **state) {
  sm_error err = {0};
  sm_card_figure figure[13];
  for (int i = 0; i < 13; i++) figure[i] = (sm_card_figure){.name = "f", .value = "1.00"};
  sm_card_evaluation evaluation = {.name = "e", .figure = figure, .n = 13};
  sm_card card = {.title = "t", .subtitle = "", .evaluation = &evaluation, .evaluations = 1};
  must(sm_card_write(&card, path_of("b.html"), &err), &err);
  char *page = read_whole(path_of("b.html"));
  assert_non_null(strstr(page, "<summary>3 more</summary>")); /* ten are seen at once */
  assert_null(strstr(page, "95 % interval"));
  assert_null(strstr(page, "Not measured"));
  assert_null(strstr(page, "What it sees"));
  assert_null(strstr(page, "<h2>Recipe"));
  sm_free(page);
  evaluation.n = 12;
  must(sm_card_write(&card, path_of("b.html"), &err), &err);
  page = read_whole(path_of("b.html"));
  assert_null(strstr(page, " more</summary>"));
  sm_free(page);
  assert_int_equal(sm_card_write(&card, path_of("nowhere/b.html"), &err), SM_ENOTFOUND);
  card.recipe = "a: [";
  assert_int_not_equal(sm_card_write(&card, path_of("c.html"), &err), SM_OK);
  assert_int_equal(access(path_of("c.html"), F_OK), -1);
}

/* ---- results that are kept ----------------------------------------------------------------------------- */

#define IDENTITY(step, k, train)                                                                      \
  "\"evaluation\":\"knn\",\"net\":\"teacher\",\"step\":" step ",\"recipe_hash\":\"ab\",\"size\":32," \
  "\"precision\":\"fp32\",\"data\":{\"train\":" train ",\"test\":\"02\"},\"options\":{\"k\":\"" k "\"}"
#define RECORD(identity, top1, time)                                                                        \
  "{" identity ",\"figures\":{\"top1\":" top1 ",\"nan\":null},\"intervals\":{\"top1\":[1.5,3]},"             \
  "\"units\":{\"top1\":\"%\"},\"protocol\":\"p\",\"time\":\"" time "\"}\n"

static bool kept(const char *identity, sm_eval_result *r, char when[40]) {
  sm_error err = {0};
  bool found;
  must(sm_eval_kept(path_of("evaluations.jsonl"), identity, r, when, &found, &err), &err);
  return found;
}

static void the_last_result_of_the_same_is_found(void **state) {
  static const char records[] = RECORD(IDENTITY("4", "[3]", "\"01\""), "1", "2026-01-01T00:00:00Z") RECORD(
      IDENTITY("4", "[3]", "\"01\""), "2.5", "2026-01-02T00:00:00Z") "{\"evaluation\":\"knn\"\n{}\n"
      RECORD(IDENTITY("4", "[5]", "\"01\""), "7", "2026-01-03T00:00:00Z")
      "{" IDENTITY("4", "[3]", "\"01\"") ",\"figures\":{\"top1\":\"x\"},\"protocol\":\"p\",\"time\":\"t\"}\n"
      "{" IDENTITY("4", "[3]", "\"01\"") ",\"figures\":{},\"protocol\":\"p\",\"time\":\"t\"}\n";
  sm_eval_result *r = sm_calloc(1, sizeof *r);
  sm_error err = {0};
  char when[40];
  assert_false(kept("{}", r, when)); /* no file */
  must(sm_file_put(path_of("evaluations.jsonl"), records, sizeof records - 1, &err), &err);
  assert_true(kept("{" IDENTITY("4", "[3]", "\"01\"") "}", r, when));
  assert_string_equal(when, "2026-01-02T00:00:00Z");
  assert_int_equal(r->n, 2);
  assert_string_equal(r->figure[0].name, "top1");
  assert_string_equal(r->figure[0].unit, "%");
  assert_true(r->figure[0].value == 2.5 && r->figure[1].value != r->figure[1].value);
  assert_true(sm_has_interval(r, 0) && r->interval[0].low == 1.5 && r->interval[0].high == 3);
  assert_false(sm_has_interval(r, 1));
  assert_string_equal(r->protocol, "p");
  assert_true(kept("{" IDENTITY("4", "[5]", "\"01\"") "}", r, when) && r->figure[0].value == 7);
  assert_false(kept("{" IDENTITY("5", "[3]", "\"01\"") "}", r, when));
  assert_false(kept("{" IDENTITY("4", "[3]", "\"03\"") "}", r, when));
  assert_false(kept("{" IDENTITY("4", "[3]", "null") "}", r, when));
  assert_false(kept("{}", r, when)); /* says nothing: is the same as nothing */
  sm_free(r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_page_escapes_what_it_is_given),
      cmocka_unit_test(parts_that_are_not_there_have_no_heading),
      cmocka_unit_test(the_last_result_of_the_same_is_found),
  };
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

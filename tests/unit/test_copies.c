/* test_copies.c — what copies are made like, whose they are, and which figures come of their scores. */
#include <math.h>
#include <sys/stat.h>

#include "plugins/evaluations/copies.h"
#include "test.h"

/* ---- edits --------------------------------------------------------------------------------------------- */

static void drawn(sm_image *image, int width, int height) {
  sm_rng rng = sm_rng_make(1, SM_RNG_TEST, 0, 0, 0);
  assert_int_equal(sm_image_reshape(image, width, height, NULL), SM_OK);
  for (int i = 0; i < 3 * width * height; i++) image->rgb[i] = (uint8_t)(100 + sm_rng_below(&rng, 50));
}

static void edited(copies_kind kind, int64_t strength, int64_t index, sm_image *image) {
  const copies_edit e = {.kind = kind, .strength = strength};
  sm_image_scratch *scratch = sm_image_scratch_new();
  drawn(image, 64, 48);
  assert_int_equal(copies_edit_make(&e, 7, index, image, scratch, NULL), SM_OK);
  sm_image_scratch_free(scratch);
}

static void sizes(void **state) {
  sm_image image = {0};
  edited(COPIES_CROP, 75, 0, &image);
  assert_int_equal(image.width, 32), assert_int_equal(image.height, 24);
  edited(COPIES_CROP, 20, 0, &image); /* a side of sqrt(.8) */
  assert_int_equal(image.width, 57), assert_int_equal(image.height, 43);
  edited(COPIES_RESIZE, 8, 0, &image);
  assert_int_equal(image.width, 8), assert_int_equal(image.height, 6);
  edited(COPIES_RESIZE, 64, 0, &image);
  assert_int_equal(image.width, 1), assert_int_equal(image.height, 1);
  edited(COPIES_BORDER, 0, 0, &image);
  assert_int_equal(image.width, 64 + 2 * 9), assert_int_equal(image.height, 48 + 2 * 7);
  edited(COPIES_STRONG, 0, 0, &image);
  assert_int_equal(image.width, 45), assert_int_equal(image.height, 34);
  sm_image_free(&image);
}

static void flip_and_border(void **state) {
  sm_image was = {0}, image = {0};
  drawn(&was, 64, 48);
  edited(COPIES_FLIP, 0, 0, &image);
  for (int y = 0; y < 48; y++)
    for (int x = 0; x < 64; x++)
      assert_memory_equal(&image.rgb[(y * 64 + x) * 3], &was.rgb[(y * 64 + 63 - x) * 3], 3);
  edited(COPIES_BORDER, 0, 0, &image);
  for (int y = 0; y < 48; y++)
    assert_memory_equal(&image.rgb[((y + 7) * 82 + 9) * 3], &was.rgb[y * 64 * 3], 64 * 3);
  assert_memory_equal(image.rgb, image.rgb + 81 * 3, 3);
  sm_image_free(&was), sm_image_free(&image);
}

static int64_t apart(const sm_image *a, const sm_image *b) {
  int64_t sum = 0;
  assert_int_equal(a->width, b->width), assert_int_equal(a->height, b->height);
  for (int i = 0; i < 3 * a->width * a->height; i++) sum += abs(a->rgb[i] - b->rgb[i]);
  return sum;
}

/* Stronger edits are farther away; the same picture is drawn alike, another one differently. */
static void strengths_and_draws(void **state) {
  sm_image was = {0}, weak = {0}, strong = {0};
  drawn(&was, 64, 48);
  edited(COPIES_JPEG, 50, 0, &weak), edited(COPIES_JPEG, 3, 0, &strong);
  assert_true(apart(&was, &weak) > 0 && apart(&was, &strong) > apart(&was, &weak));
  for (copies_kind kind = COPIES_CROP; kind < COPIES_KINDS; kind++) {
    const int64_t strength = kind < COPIES_FLIP ? 20 : 0;
    const bool draws =
        kind == COPIES_CROP || kind == COPIES_TEXT || kind == COPIES_BORDER || kind == COPIES_STRONG;
    edited(kind, strength, 3, &weak), edited(kind, strength, 3, &strong);
    assert_int_equal(apart(&weak, &strong), 0);
    edited(kind, strength, 4, &strong);
    if (kind != COPIES_STRONG) assert_int_equal(apart(&weak, &strong) > 0, draws);
  }
  sm_image_free(&was), sm_image_free(&weak), sm_image_free(&strong);
}

static void small_pictures(void **state) {
  float x[3 * 32 * 48], row[LOOKS_SMALL_DIM];
  for (int c = 0; c < 3; c++)
    for (int v = 0; v < 32; v++)
      for (int u = 0; u < 48; u++) x[(c * 32 + v) * 48 + u] = (float)(1000 * c + 10 * v + u);
  looks_small(x, 32, 48, row); /* squares of two rows and three columns */
  for (int c = 0; c < 3; c++)
    for (int v = 0; v < 16; v++)
      for (int u = 0; u < 16; u++)
        assert_float_equal(row[(c * 16 + v) * 16 + u], 1000 * c + 10 * (2 * v + .5) + 3 * u + 1, 1e-3);
  looks_small(x, 1, 2, row); /* fewer pixels are repeated: 0 and 1, behind them 2 and 3 */
  assert_float_equal(row[0], 0, 0), assert_float_equal(row[255], 1, 0), assert_float_equal(row[256], 2, 0);
}

/* Of a ramp, each value says where it lies. */
static void scaled_pictures(void **state) {
  float x[3 * 4 * 6], to[3 * 3 * 4];
  for (int c = 0; c < 3; c++)
    for (int v = 0; v < 4; v++)
      for (int u = 0; u < 6; u++) x[(c * 4 + v) * 6 + u] = (float)(1000 * c + 10 * v + u);
  looks_scale(x, 4, 6, .5, 2, 3, to);
  assert_float_equal(to[0], 5.5, 1e-5), assert_float_equal(to[1], 7.5, 1e-5),
      assert_float_equal(to[3], 25.5, 1e-5);
  assert_float_equal(to[2 * 6], 2005.5, 1e-3);
  looks_scale(x, 4, 6, sqrt(.5), 2, 4, to); /* .2071, 1.6213, 3.0355, 4.4497 */
  assert_float_equal(to[0], 11 * .207107, 1e-4), assert_float_equal(to[7], 16.213203 + 4.449747, 1e-4);
  looks_scale(x, 4, 6, 1, 2, 4, to);
  assert_float_equal(to[5], 11, 0);
  looks_scale(x, 2, 2, .1, 3, 3, to); /* beyond the picture its edge goes on */
  assert_float_equal(to[8], x[3], 0);
}

/* ---- which edits --------------------------------------------------------------------------------------- */

static void lists(void **state) {
  copies o = {.crop = {3, {50, 20, 50}}, .jpeg = {1, {5}}};
  copies_list l;
  copies_made_list(&o, &l);
  assert_int_equal(l.groups, 9); /* without `resize` */
  assert_int_equal(l.edits, 2 + 1 + 7);
  assert_string_equal(l.group[0], "crop"), assert_string_equal(l.edit[1].level, "20");
  assert_string_equal(l.group[8], "strong"), assert_string_equal(l.edit[9].level, "");
  assert_int_equal(l.edit[2].group, 1);
}

static void touch(const char *name) { assert_int_equal(sm_file_put(path_of(name), "", 0, NULL), SM_OK); }

static void folders(void **state) {
  static const char *const made[] = {"original", "strong", "crops", "crops/10", "crops/50"};
  copies_list l;
  int32_t owner[8], owners;
  for (int i = 0; i < 5; i++) assert_int_equal(mkdir(path_of(made[i]), 0700), 0);
  touch("original/200200.jpg"), touch("original/200100.jpg");
  touch("strong/200201.jpg"), touch("strong/200103.jpg"), touch("strong/200104.jpg");
  touch("crops/10/200102.jpg"), touch("crops/50/200205.jpg");
  assert_int_equal(copies_folder_list(folder, &l, NULL), SM_OK);
  assert_int_equal(l.groups, 2), assert_int_equal(l.edits, 3), assert_int_equal(l.originals, 2);
  assert_string_equal(l.group[0], "crops"), assert_string_equal(l.edit[1].level, "50");
  assert_string_equal(l.group[1], "strong"), assert_int_equal(l.edit[2].n, 3);
  assert_int_equal(copies_folder_owners(&l, owner, &owners, NULL), SM_OK);
  assert_int_equal(owners, 2);
  const int32_t want[] = {0, 1, 0, 1, 0, 0, 1}; /* originals, crops of 10 and 50, strong ones, each by name */
  assert_memory_equal(owner, want, sizeof want);
  outside_free(&l.files);
  touch("strong/200301.jpg");
  assert_int_equal(copies_folder_list(folder, &l, NULL), SM_OK);
  assert_int_equal(copies_folder_owners(&l, owner, &owners, NULL), SM_EINVAL);
  outside_free(&l.files);
  assert_int_equal(copies_folder_list(path_of("none"), &l, NULL), SM_ENOTFOUND);
}

/* ---- figures ------------------------------------------------------------------------------------------- */

static void near_figure(const sm_eval_result *r, const char *name, double want) {
  for (int i = 0; i < r->n; i++)
    if (!strcmp(r->figure[i].name, name)) {
      assert_float_equal(r->figure[i].value, want, 1e-9);
      assert_true(r->has_interval[i] && r->interval[i].low <= want + 1e-9 &&
                  r->interval[i].high >= want - 1e-9);
      return;
    }
  fail_msg("no figure '%s'", name);
}

/* Two originals; crops of two levels, and strong copies, of which the second original has three. */
static void by_hand(void **state) {
  copies_list l = {.groups = 2,
                   .edits = 3,
                   .group = {"crop", "strong"},
                   .edit = {{.level = "20"}, {.level = "50"}, {.group = 1}}};
  static const double ap[2][3] = {{100, 50, 10}, {50, 0, 60}}; /* summed over an original's queries */
  static const int64_t n[2][3] = {{1, 1, 1}, {1, 1, 3}};
  copies_scores s = {.used = {true, true, false}};
  sm_eval_result r = {0};
  assert_int_equal(copies_scores_new(&s, 2, 3, NULL), SM_OK);
  for (int u = 0; u < 2; u++)
    for (int e = 0; e < 3; e++) {
      copies_scores_add(&s, u, e, COPIES_WHITE, ap[u][e]);
      copies_scores_add(&s, u, e, COPIES_PLAIN, 8);
      for (int64_t i = 0; i < n[u][e]; i++) copies_scores_count(&s, u, e);
    }
  assert_int_equal(copies_figures(&s, &l, &r, NULL), SM_OK);
  assert_int_equal(r.n, 6);
  near_figure(&r, "map.crop20", 75);
  near_figure(&r, "map.crop50", 25);
  near_figure(&r, "map.crop", 50);
  near_figure(&r, "map.strong", 17.5); /* of four queries */
  near_figure(&r, "map", 33.75);
  near_figure(&r, "plain", (8 + 16. / 4) / 2);
  assert_float_equal(r.interval[0].low, (25 + 20) / 2., 1e-9); /* the second original twice, or the first */
  assert_float_equal(r.interval[0].high, (75 + 10) / 2., 1e-9);
  l.edits = 4, l.edit[3] = (copies_edit){.group = 1, .level = "9"};
  copies_scores_free(&s);
  assert_int_equal(copies_scores_new(&s, 2, 4, NULL), SM_OK);
  sm_error err = {0};
  assert_int_equal(copies_figures(&s, &l, &r, &err), SM_EINVAL);
  assert_non_null(strstr(err.message, "crop20"));
  copies_scores_free(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(sizes),
                                     cmocka_unit_test(flip_and_border),
                                     cmocka_unit_test(strengths_and_draws),
                                     cmocka_unit_test(small_pictures),
                                     cmocka_unit_test(scaled_pictures),
                                     cmocka_unit_test(lists),
                                     cmocka_unit_test(folders),
                                     cmocka_unit_test(by_hand)};
  return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

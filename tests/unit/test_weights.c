/* test_weights.c — weights between files and sets: strict loading and what it says, conversions, position
 * embeddings for another grid, exports, and a network of timm's with the features that timm gave. */
#include <math.h>
#include <unistd.h>

#include "framework/recipe/recipe.h"

#include "framework/models/models.h"
#include "golden.h"
#include "row_rig.h"
#include "test.h"

static char path[128];
static sm_registry *registry;

static int set_up(void **state) {
  if (make_folder(state)) return -1;
  snprintf(path, sizeof path, "%s/w.safetensors", folder);
  registry = sm_registry_new(NULL, NULL);
  return registry ? 0 : -1;
}

static int tear_down(void **state) {
  sm_registry_free(registry);
  return remove_folder(state);
}

/* ---- a set and a file to play with --------------------------------------------------------------------- */

/* net.a.weight (2, 3), net.a.bias (2), net.pos_embed (1, 5, 2), net.mask (2), and other.x (1) beside them. */
static sm_set *small_set(uint64_t seed) {
  sm_error err = {0};
  sm_set *set = sm_set_new("test", SM_F32, false, &err);
  const sm_params net = {set, "net."}, other = {set, "other."};
  sm_declare(&net, "a.weight", SM_INIT_NORMAL, 1, 0, 2, (int64_t[]){2, 3});
  sm_declare(&net, "a.bias", SM_INIT_NORMAL, 1, 0, 1, (int64_t[]){2});
  sm_declare_grid(&net, "pos_embed", SM_INIT_NORMAL, 1, 0, 1, 2, 2, 2);
  sm_declare(&net, "mask", SM_INIT_NORMAL, 1, SM_ROW_NO_EXPORT, 1, (int64_t[]){2});
  sm_declare(&other, "x", SM_INIT_NORMAL, 1, 0, 1, (int64_t[]){1});
  if (sm_set_seal(set, SM_MOMENTS_NONE, &err) || sm_set_allocate(set, seed, &err))
    fail_msg("%s", err.message);
  return set;
}

static const float *values(sm_set *set, const char *name) {
  int row = sm_set_find(set, name);
  if (row < 0) fail_msg("no row %s", name);
  return sm_set_lend(set, row, SM_VALUES, NULL);
}

typedef struct piece {
  const char *name, *dtype;
  int ndim;
  int64_t shape[4];
  const void *data;
} piece;

static const float a_weight[6] = {1, 2, 3, 4, 5, 6}, a_bias[2] = {7, 8},
                   pos_embed[10] = {10, 11, 12, 13, 14, 15, 16, 17, 18, 19};
#define A_WEIGHT \
  { "a.weight", "F32", 2, {2, 3}, a_weight }
#define A_BIAS \
  { "a.bias", "F32", 1, {2}, a_bias }
#define POS_EMBED \
  { "pos_embed", "F32", 3, {1, 5, 2}, pos_embed }

static sm_st_reader *file_of(const piece *p, int n, const char *prefix) {
  sm_error err = {0};
  sm_st_writer *w = sm_st_create(path, SM_ST_AS_DECLARED, &err);
  for (int pass = 0; pass < 2; pass++)
    for (int i = 0; i < n; i++) {
      char name[128];
      size_t bytes = sm_st_dtype_size(p[i].dtype);
      for (int d = 0; d < p[i].ndim; d++) bytes *= (size_t)p[i].shape[d];
      snprintf(name, sizeof name, "%s%s", prefix, p[i].name);
      if (!pass) sm_st_declare(w, name, p[i].dtype, p[i].ndim, p[i].shape);
      else sm_st_write(w, name, p[i].data, bytes);
    }
  if (sm_st_finish(w, &err)) fail_msg("%s", err.message);
  sm_st_reader *r = sm_st_open(path, &err);
  if (!r) fail_msg("%s", err.message);
  return r;
}

#define FILE_OF(prefix, ...) \
  file_of((const piece[]){__VA_ARGS__}, (int)(sizeof((const piece[]){__VA_ARGS__}) / sizeof(piece)), prefix)

/* ---- what fits ----------------------------------------------------------------------------------------- */

static void takes_by_name(void **state) {
  sm_error err = {0};
  sm_weights_report report;
  sm_set *set = small_set(1), *before = small_set(1);
  sm_st_reader *file = FILE_OF("teacher.", POS_EMBED, A_BIAS, A_WEIGHT);
  sm_weights_source from = {.file = file, .prefix = "teacher."};
  if (sm_weights_load(&from, set, "net.", &report, &err)) fail_msg("%s", err.message);
  assert_memory_equal(values(set, "net.a.weight"), a_weight, sizeof a_weight);
  assert_memory_equal(values(set, "net.a.bias"), a_bias, sizeof a_bias);
  assert_memory_equal(values(set, "net.pos_embed"), pos_embed, sizeof pos_embed);
  assert_memory_equal(values(set, "net.mask"), values(before, "net.mask"), 8); /* not in the file */
  assert_memory_equal(values(set, "other.x"), values(before, "other.x"), 4);   /* not asked for   */
  assert_int_equal(report.taken, 3);
  assert_int_equal(report.elements, 18);
  assert_int_equal(report.initial, 1);
  assert_int_equal(report.converted + report.resized + report.ignored, 0);
  assert_string_equal(report.text.s, "initial      mask: not in the file, keeps its initial values\n");
  sm_text_free(&report.text);
  sm_st_close(file);
  sm_set_free(set);
  sm_set_free(before);
}

static void converts(void **state) {
  static const double weight[6] = {1, -2, 0.1, 1e-30, 1e30, 0};
  static const uint16_t bias[2] = {0x3c00, 0xfbff}; /* F16: 1, -65504 */
  /* BF16: 1, -2, π ≈ 3.140625, the smallest normal, the largest number, and zeros */
  static const uint16_t position[10] = {0x3f80, 0xc000, 0x4049, 0x0080, 0x7f7f, 0x8000};
  static const uint16_t mask[2] = {0x0001, 0x7bff}; /* F16: the smallest subnormal, the largest number */
  sm_error err = {0};
  sm_weights_report report;
  sm_set *set = small_set(1);
  sm_st_reader *file = FILE_OF("", {"a.weight", "F64", 2, {2, 3}, weight}, {"a.bias", "F16", 1, {2}, bias},
                               {"pos_embed", "BF16", 3, {1, 5, 2}, position}, {"mask", "F16", 1, {2}, mask});
  sm_weights_source from = {.file = file, .prefix = ""};
  if (sm_weights_load(&from, set, "net.", &report, &err)) fail_msg("%s", err.message);
  for (int i = 0; i < 6; i++) assert_true(values(set, "net.a.weight")[i] == (float)weight[i]);
  assert_true(values(set, "net.a.bias")[0] == 1 && values(set, "net.a.bias")[1] == -65504);
  const float *p = values(set, "net.pos_embed");
  assert_true(p[0] == 1 && p[1] == -2 && p[2] == 3.140625f && p[3] == 0x1p-126f && p[4] == 0x1.fep127f &&
              p[5] == 0 && signbit(p[5]));
  assert_true(values(set, "net.mask")[0] == 0x1p-24f && values(set, "net.mask")[1] == 65504);
  assert_int_equal(report.converted, 4);
  assert_int_equal(report.initial, 0);
  sm_text_free(&report.text);
  sm_st_close(file);
  sm_set_free(set);
}

static void resizes_positions(void **state) {
  /* A grid of 4 × 4: the first feature is the same everywhere, the second grows to the right. */
  float big[34];
  for (int i = 0; i < 17; i++) {
    big[2 * i] = i ? 3 : 100;
    big[2 * i + 1] = i ? (float)((i - 1) % 4) : 200;
  }
  sm_error err = {0};
  sm_weights_report report;
  sm_set *set = small_set(1);
  sm_st_reader *file = FILE_OF("", A_WEIGHT, A_BIAS, {"pos_embed", "F32", 3, {1, 17, 2}, big});
  sm_weights_source from = {.file = file, .prefix = ""};
  if (sm_weights_load(&from, set, "net.", &report, &err)) fail_msg("%s", err.message);
  const float *p = values(set, "net.pos_embed"); /* 2 × 2 */
  assert_true(p[0] == 100 && p[1] == 200);       /* [CLS] stays as it is */
  for (int i = 1; i < 5; i++) assert_float_equal(p[2 * i], 3, 1e-5);
  assert_float_equal(p[3], p[7], 1e-5); /* rows are alike */
  assert_float_equal(p[5], p[9], 1e-5);
  /* scale 2.1 / 4: columns are read at 0.5·4/2.1 - 0.5 = 0.452 and 1.5·4/2.1 - 0.5 = 2.357, with a = -0.75 */
  assert_float_equal(p[3], 0.36243, 1e-5);
  assert_float_equal(p[5], 2.45144, 1e-5);
  assert_int_equal(report.resized, 1);
  assert_int_equal(report.taken, 3);
  assert_non_null(strstr(report.text.s, "resized      pos_embed: from 4 x 4 patches to 2 x 2\n"));
  sm_text_free(&report.text);
  sm_st_close(file);
  sm_set_free(set);
}

/* Two rows before the patches, or none; a grid of 2 × 4 that the file has as 4 × 8, or as 8 × 2 by the size
 * of its views. */
static void resizes_oblong(int prefix, int rows, int cols, int height, int width) {
  float big[2 * (2 + 32)];
  const int n = prefix + rows * cols;
  for (int i = 0; i < n; i++)
    big[2 * i] = i < prefix ? 100 + (float)i : 3, big[2 * i + 1] = (float)((i - prefix) / cols);
  sm_error err = {0};
  sm_weights_report report;
  sm_set *set = sm_set_new("test", SM_F32, false, &err);
  sm_declare_grid(&(sm_params){set, "net."}, "where", SM_INIT_ZEROS, 0, 0, prefix, 2, 4, 2);
  if (sm_set_seal(set, SM_MOMENTS_NONE, &err) || sm_set_allocate(set, 1, &err)) fail_msg("%s", err.message);
  sm_st_reader *file = FILE_OF("", {"where", "F32", 3, {1, n, 2}, big});
  const sm_weights_source from = {.file = file, .prefix = "", .height = height, .width = width};
  if (sm_weights_load(&from, set, "net.", &report, &err)) fail_msg("%s", err.message);
  const float *p = values(set, "net.where");
  for (int i = 0; i < prefix; i++) assert_true(p[2 * i] == 100 + (float)i);
  for (int i = prefix; i < prefix + 8; i++) assert_float_equal(p[2 * i], 3, 1e-5);
  for (int i = prefix; i < prefix + 4; i++)
    assert_true(p[2 * i + 1] + 1 < p[2 * i + 9]); /* the second row lies below */
  char line[80];
  snprintf(line, sizeof line, "resized      where: from %d x %d patches to 2 x 4\n", rows, cols);
  assert_string_equal(report.text.s, line);
  sm_text_free(&report.text);
  sm_st_close(file);
  sm_set_free(set);
}

static void resizes_oblongs(void **state) {
  resizes_oblong(2, 4, 8, 32, 64);
  resizes_oblong(0, 4, 4, 0, 0);
  resizes_oblong(1, 8, 2, 128, 32);
  resizes_oblong(1, 4, 2, 64, 32); /* as many patches as in the network, in another grid */
}

/* ---- what does not ------------------------------------------------------------------------------------- */

static void refused(sm_st_reader *file, const char *prefix, const char *const *ignore, const char *message,
                    const char *hint, const char *lines) {
  sm_error err = {0};
  sm_weights_report report;
  sm_set *set = small_set(1), *before = small_set(1);
  sm_weights_source from = {
      .file = file, .prefix = prefix, .ignore = ignore, .say_prefix = "--prefix ", .say_ignore = "--ignore "};
  assert_int_equal(sm_weights_load(&from, set, "net.", &report, &err), SM_EINVAL);
  assert_string_equal(err.message, message);
  assert_string_equal(err.hint, hint);
  assert_string_equal(err.place, path);
  assert_string_equal(report.text.s, lines);
  for (int r = 0; r < sm_set_rows(set); r++) /* all or nothing */
    rows_equal(set, before, r, SM_VALUES);
  sm_text_free(&report.text);
  sm_st_close(file);
  sm_set_free(set);
  sm_set_free(before);
}

static void differences(void **state) {
  static const int32_t ids[2] = {1, 2};
  static const float wide[8] = {0};
  refused(FILE_OF("", A_WEIGHT, POS_EMBED, {"head.weight", "F32", 2, {2, 4}, wide}), "", NULL,
          "the weights do not fit the network: 1 missing, 1 unexpected, 0 of another shape or type: missing "
          "a.bias (2); "
          "unexpected head.weight (2, 4)",
          "check the backbone's options: the file is of another network",
          "missing      a.bias (2)\n"
          "initial      mask: not in the file, keeps its initial values\n"
          "unexpected   head.weight (2, 4)\n");
  refused(
      FILE_OF("", {"a.weight", "F32", 2, {4, 2}, wide}, POS_EMBED, {"a.bias", "I32", 1, {2}, ids}), "", NULL,
      "the weights do not fit the network: 0 missing, 0 unexpected, 2 of another shape or type: other shape "
      "a.weight: the file has (4, 2), the network needs (2, 3); other type a.bias: the file has I32, not "
      "floating-point numbers",
      "the same architecture in another size: check the backbone's options",
      "other shape  a.weight: the file has (4, 2), the network needs (2, 3)\n"
      "other type   a.bias: the file has I32, not floating-point numbers\n"
      "initial      mask: not in the file, keeps its initial values\n");
  /* a position embedding that is no square grid, or of another width, is not resized */
  refused(
      FILE_OF("", A_WEIGHT, A_BIAS, {"pos_embed", "F32", 3, {1, 4, 2}, wide}), "", NULL,
      "the weights do not fit the network: 0 missing, 0 unexpected, 1 of another shape or type: other shape "
      "pos_embed: the file has (1, 4, 2), the network needs (1, 5, 2)",
      "the same architecture in another size: check the backbone's options",
      "other shape  pos_embed: the file has (1, 4, 2), the network needs (1, 5, 2)\n"
      "initial      mask: not in the file, keeps its initial values\n");
}

static void extra_names(void **state) {
  static const char *const ignore[] = {"fc_norm.", "head.", NULL};
  static const float x[2] = {0};
  const piece head = {"head.bias", "F32", 1, {2}, x};
  refused(
      FILE_OF("", A_WEIGHT, A_BIAS, POS_EMBED, head), "", NULL,
      "the weights do not fit the network: 0 missing, 1 unexpected, 0 of another shape or type: unexpected "
      "head.bias (2)",
      "if these are not wanted, leave them: --ignore head.",
      "initial      mask: not in the file, keeps its initial values\nunexpected   head.bias (2)\n");
  sm_error err = {0};
  sm_weights_report report;
  sm_set *set = small_set(1);
  sm_st_reader *file = FILE_OF("", A_WEIGHT, A_BIAS, POS_EMBED, head);
  sm_weights_source from = {.file = file, .prefix = "", .ignore = ignore};
  assert_int_equal(sm_weights_load(&from, set, "net.", &report, &err), SM_OK);
  assert_int_equal(report.ignored, 1);
  assert_non_null(strstr(report.text.s, "ignored      head.bias\n"));
  sm_text_free(&report.text);
  sm_st_close(file);
  sm_set_free(set);
}

static void wrong_prefix(void **state) {
  refused(FILE_OF("module.backbone.", A_WEIGHT, A_BIAS, POS_EMBED), "", NULL,
          "the weights do not fit the network: 3 missing, 3 unexpected, 0 of another shape or type: missing "
          "a.weight "
          "(2, 3); missing a.bias (2); missing pos_embed (1, 5, 2); …",
          "names in the file begin with 'module.backbone.': give --prefix module.backbone.",
          "missing      a.weight (2, 3)\n"
          "missing      a.bias (2)\n"
          "missing      pos_embed (1, 5, 2)\n"
          "initial      mask: not in the file, keeps its initial values\n"
          "unexpected   module.backbone.a.weight (2, 3)\n"
          "unexpected   module.backbone.a.bias (2)\n"
          "unexpected   module.backbone.pos_embed (1, 5, 2)\n");
}

/* A network of two numbered layers, and files with one more or fewer of them. */
static void other_depth(void **state) {
  static const float x[2] = {0};
#define LAYER(n)                                \
  {                                             \
    "blocks." n ".mlp.0.bias", "F32", 1, {2}, x \
  }
  const char *const hints[] = {
      "the file is of a deeper network, which has 3 'blocks' where this one has 2; say so in the backbone's "
      "options, as in 'depth: 3'",
      "the file is of a shallower network, which has 1 'blocks' where this one has 2; say so in the "
      "backbone's options, as in 'depth: 1'"};
  for (int shallower = 0; shallower < 2; shallower++) {
    sm_error err = {0};
    sm_weights_report report;
    sm_set *set = sm_set_new("test", SM_F32, false, &err);
    const sm_params net = {set, "net."};
    sm_declare(&net, "blocks.0.mlp.0.bias", SM_INIT_ZEROS, 0, 0, 1, (int64_t[]){2});
    sm_declare(&net, "blocks.1.mlp.0.bias", SM_INIT_ZEROS, 0, 0, 1, (int64_t[]){2});
    if (sm_set_seal(set, SM_MOMENTS_NONE, &err) || sm_set_allocate(set, 1, &err)) fail_msg("%s", err.message);
    sm_st_reader *file =
        shallower ? FILE_OF("", LAYER("0")) : FILE_OF("", LAYER("0"), LAYER("1"), LAYER("2"));
    const sm_weights_source from = {.file = file, .prefix = "", .say_ignore = "--ignore "};
    assert_int_equal(sm_weights_load(&from, set, "net.", &report, &err), SM_EINVAL);
    assert_string_equal(err.hint, hints[shallower]);
    sm_text_free(&report.text);
    sm_st_close(file);
    sm_set_free(set);
  }
#undef LAYER
}

/* Values that no training gives are named, and nothing is changed. */
static void not_finite(void **state) {
  static const float nan_bias[2] = {1, NAN};
  static const uint16_t infinite[2] = {0x3c00, 0x7c00};
  static const double large[2] = {1e300, 0};
  const struct {
    piece bias;
    const char *message;
  } cases[] = {
      {{"a.bias", "F32", 1, {2}, nan_bias}, "tensor 'a.bias' holds a NaN (element 2 of 2)"},
      {{"a.bias", "F16", 1, {2}, infinite}, "tensor 'a.bias' holds an infinite number (element 2 of 2)"},
      {{"a.bias", "F64", 1, {2}, large},
       "tensor 'a.bias' holds a number too large for F32 (element 1 of 2)"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    sm_error err = {0};
    sm_weights_report report;
    sm_set *set = small_set(1), *before = small_set(1);
    sm_st_reader *file = FILE_OF("", A_WEIGHT, cases[i].bias, POS_EMBED);
    const sm_weights_source from = {.file = file, .prefix = ""};
    assert_int_equal(sm_weights_load(&from, set, "net.", &report, &err), SM_EFORMAT);
    assert_string_equal(err.message, cases[i].message);
    assert_string_equal(err.place, path);
    for (int r = 0; r < sm_set_rows(set); r++) rows_equal(set, before, r, SM_VALUES);
    sm_text_free(&report.text);
    sm_st_close(file);
    sm_set_free(set);
    sm_set_free(before);
  }
}

/* ---- exports ------------------------------------------------------------------------------------------- */

static const sm_weights_about about = {.backbone = "{vit: {arch: small}}",
                                       .net = "teacher",
                                       .recipe = "ibot-vits16",
                                       .recipe_hash = 0x0123456789abcdefu,
                                       .step = 1200,
                                       .height = 224,
                                       .width = 224,
                                       .mean = {0.485f, 0.456f, 0.406f},
                                       .std = {0.229f, 0.224f, 0.225f},
                                       .filter = SM_FILTER_BILINEAR};

static sm_st_reader *exported(sm_set *set, sm_weights_format format, int want_dropped,
                              int64_t want_elements) {
  sm_error err = {0};
  int dropped;
  int64_t elements;
  if (sm_weights_save(path, set, "net.", format, &about, &dropped, &elements, &err))
    fail_msg("%s", err.message);
  assert_int_equal(dropped, want_dropped);
  assert_int_equal(elements, want_elements);
  sm_st_reader *r = sm_st_open(path, &err);
  if (!r || sm_st_verify(r, &err)) fail_msg("%s", err.message);
  return r;
}

static void export_and_back(void **state) {
  sm_error err = {0};
  sm_weights_report report;
  sm_weights_about got;
  sm_set *set = small_set(1), *back = small_set(2);
  sm_st_reader *file = exported(set, SM_WEIGHTS_TIMM, 1, 18);
  assert_int_equal(sm_st_count(file), 3);
  assert_non_null(sm_st_find(file, "a.weight"));
  assert_null(sm_st_find(file, "mask"));
  assert_string_equal(sm_st_get(file, "format"), "pt");
  assert_string_equal(sm_st_get(file, "mean"), "[0.485, 0.456, 0.406]");
  if (sm_weights_about_read(file, &got, &err)) fail_msg("%s", err.message);
  assert_string_equal(got.backbone, about.backbone);
  assert_string_equal(got.net, "teacher");
  assert_string_equal(got.recipe, "ibot-vits16");
  assert_true(got.recipe_hash == about.recipe_hash);
  assert_int_equal(got.step, 1200);
  assert_int_equal(got.height, 224);
  assert_int_equal(got.filter, SM_FILTER_BILINEAR);
  assert_memory_equal(got.mean, about.mean, sizeof about.mean);
  assert_memory_equal(got.std, about.std, sizeof about.std);
  sm_weights_source from = {.file = file, .prefix = ""};
  assert_int_equal(sm_weights_load(&from, back, "net.", &report, &err), SM_OK);
  assert_memory_equal(values(back, "net.a.weight"), values(set, "net.a.weight"), 24);
  assert_memory_equal(values(back, "net.pos_embed"), values(set, "net.pos_embed"), 40);
  sm_text_free(&report.text);
  sm_st_close(file);
  file = exported(set, SM_WEIGHTS_IBOT, 0, 20);
  assert_non_null(sm_st_find(file, "mask"));
  sm_st_close(file);
  sm_set_free(set);
  sm_set_free(back);
}

static void ibot_names(void **state) {
  sm_error err = {0};
  sm_set *set = sm_set_new("test", SM_F32, false, &err);
  const sm_params net = {set, "net."};
  sm_declare(&net, "blocks.0.ls1.gamma", SM_INIT_ONES, 0, 0, 1, (int64_t[]){2});
  sm_declare(&net, "blocks.0.ls2.gamma", SM_INIT_ONES, 0, 0, 1, (int64_t[]){2});
  assert_int_equal(sm_set_seal(set, SM_MOMENTS_NONE, &err), SM_OK);
  assert_int_equal(sm_set_allocate(set, 1, &err), SM_OK);
  sm_st_reader *file = exported(set, SM_WEIGHTS_IBOT, 0, 4);
  assert_non_null(sm_st_find(file, "blocks.0.gamma_1"));
  assert_non_null(sm_st_find(file, "blocks.0.gamma_2"));
  sm_st_close(file);
  file = exported(set, SM_WEIGHTS_TIMM, 0, 4);
  assert_non_null(sm_st_find(file, "blocks.0.ls2.gamma"));
  sm_st_close(file);
  sm_set_free(set);
}

static void foreign_metadata(void **state) {
  sm_error err = {0};
  sm_weights_about got;
  sm_st_reader *file = FILE_OF("", A_BIAS);
  assert_int_equal(sm_weights_about_read(file, &got, &err), SM_OK);
  assert_null(got.backbone);
  assert_int_equal(got.height, 0);
  sm_st_close(file);
  sm_st_writer *w = sm_st_create(path, SM_ST_AS_DECLARED, &err);
  sm_st_metadata(w, "producer", "smalti");
  sm_st_metadata(w, "backbone", "{vit: {}}");
  sm_st_metadata(w, "view_size", "-3");
  assert_int_equal(sm_st_finish(w, &err), SM_OK);
  assert_non_null(file = sm_st_open(path, &err));
  assert_int_equal(sm_weights_about_read(file, &got, &err), SM_EFORMAT);
  assert_string_equal(err.message, "the weights file's metadata has '-3' for 'view_size'");
  sm_st_close(file);
}

/* ---- timm's network gives timm's features -------------------------------------------------------------- */

static double features_differ(const sm_network *n, const golden_tensor *input, const golden_tensor *tokens,
                              double *norm) {
  sm_error err = {0};
  sm_pool *pool = sm_pool_new(2, &err);
  sm_graph *g = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .real = SM_F32, .pool = pool}, &err);
  const int pass = sm_pass_begin(g, "features");
  sm_tensor *count = sm_count(g, "pictures", input->shape[0]);
  sm_tensor *x = sm_input_real(g, "pictures", 4, input->shape, count);
  const sm_backbone_in in = {.pictures = x, .view = true, .patches = true};
  sm_backbone_out out;
  sm_network_build(n, g, NULL, &in, &out);
  sm_keep(g, out.view);
  sm_keep(g, out.patches);
  sm_pass_end(g);
  if (sm_graph_plan(g, &err) || sm_graph_allocate(g, &err)) fail_msg("%s", err.message);
  for (int64_t i = 0; i < input->count; i++) sm_fill(x, i, 1, golden_value(input, i));
  sm_graph_run(g, pass);
  const int64_t each = tokens->shape[1] * tokens->shape[2], dim = tokens->shape[2];
  double worst = 0, difference = 0, all = 0;
  assert_int_equal(sm_elements(out.view) + sm_elements(out.patches), tokens->count);
  for (int64_t i = 0; i < tokens->count; i++) { /* [CLS], then the patches */
    const int64_t picture = i / each, at = i % each;
    const double got = at < dim ? sm_get(out.view, picture * dim + at)
                                : sm_get(out.patches, picture * (each - dim) + at - dim);
    const double want = golden_value(tokens, i), d = fabs(got - want);
    worst = d > worst ? d : worst;
    difference += d * d;
    all += want * want;
  }
  *norm = sqrt(difference / all);
  sm_graph_free(g);
  sm_pool_free(pool);
  return worst;
}

/* The file says what its views are by the length of its table of positions. */
static void timm_features(void **state) {
  golden *g = golden_open("timm_features.safetensors");
  sm_error err = {0};
  sm_network *n;
  const sm_network_source from = {
      .path = golden_path(g), .backbone = golden_text(g, "backbone"), .prefix = "model."};
  if (sm_network_open(registry, &from, &n, &err) || sm_network_allocate(n, &err)) fail_msg("%s", err.message);
  assert_int_equal(sm_network_describe(n)->height, atoi(golden_text(g, "size")));
  assert_true(sm_network_assumed(n));
  assert_int_equal(sm_network_report(n)->taken, sm_set_rows(sm_network_set(n)) - 1);
  assert_string_equal(sm_network_report(n)->text.s,
                      "initial      masked_embed: not in the file, keeps its initial values\n"
                      "unused       input: 1 tensor of another part of the file\n"
                      "unused       tokens: 1 tensor of another part of the file\n");
  golden_tensor input = golden_get(g, "input"), tokens = golden_get(g, "tokens");
  double norm, worst = features_differ(n, &input, &tokens, &norm);
  if (worst > 1e-4 || norm > 1e-5)
    fail_msg("features differ from timm's by %g at most, %g in norm", worst, norm);
  sm_network_close(n);
  golden_close(g);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(takes_by_name),     cmocka_unit_test(converts),
      cmocka_unit_test(resizes_positions), cmocka_unit_test(differences),
      cmocka_unit_test(extra_names),       cmocka_unit_test(wrong_prefix),
      cmocka_unit_test(other_depth),       cmocka_unit_test(not_finite),
      cmocka_unit_test(ibot_names),        cmocka_unit_test(export_and_back),
      cmocka_unit_test(foreign_metadata),  cmocka_unit_test(timm_features),
      cmocka_unit_test(resizes_oblongs),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* test_dvae.c — DALL·E's encoder and decoder (plugins/dvae_net.h) against the published one's numbers and
 * against loops written here; the tokenizer that runs the encoder, and the files it refuses.
 *
 * With a path as argument, and a seed, it only writes a small encoder there, for tests
 * from the command line. */
#include <math.h>
#include <unistd.h>

#include "framework/recipe/recipe.h"

#include "dvae_file.h"
#include "golden.h"
#include "plugin_fixture.h"
#include "test.h"

static sm_arena *arena;

static const dvae_shape small = {.groups = 2, .blocks = 2, .hidden = 8, .vocabulary = 16};

static const char *file_in(const char *name) {
  const char *path = sm_path_join(arena, folder, name);
  assert_non_null(path);
  return path;
}

static void put(sm_tensor *to, const double *from) {
  sm_write_f64(to, 0, sm_elements(to), from);
}

/* ---- loops that say what the network is ---------------------------------------------------------------- */

/* x (h, w, in) → (h, w, out), borders of zeros. */
static double *conv(sm_set *set, const char *name, const double *x, int h, int w, int in, int *out) {
  char full[128];
  snprintf(full, sizeof full, "%s.w", name);
  int row = sm_set_find(set, full);
  if (row < 0) fail_msg("there is no %s", full);
  const int64_t *dim = sm_set_row(set, row)->dim;
  const double *weight = sm_set_lend(set, row, SM_VALUES, NULL);
  snprintf(full, sizeof full, "%s.b", name);
  const double *bias = sm_set_lend(set, sm_set_find(set, full), SM_VALUES, NULL);
  assert_int_equal(dim[1], in);
  const int o = (int)dim[0], k = (int)dim[2], half = k / 2;
  double *y = calloc((size_t)(h * w * o), sizeof *y);
  assert_non_null(y);
  for (int r = 0; r < h; r++)
    for (int c = 0; c < w; c++)
      for (int n = 0; n < o; n++) {
        double sum = bias[n];
        for (int i = 0; i < k; i++)
          for (int j = 0; j < k; j++) {
            int rr = r + i - half, cc = c + j - half;
            if (rr < 0 || rr >= h || cc < 0 || cc >= w) continue;
            for (int m = 0; m < in; m++)
              sum += x[(rr * w + cc) * in + m] * weight[((n * in + m) * k + i) * k + j];
          }
        y[(r * w + c) * o + n] = sum;
      }
  *out = o;
  return y;
}

static double *relu(const double *x, int n) {
  double *y = malloc((size_t)n * sizeof *y);
  assert_non_null(y);
  for (int i = 0; i < n; i++) y[i] = x[i] > 0 ? x[i] : 0;
  return y;
}

/* Takes x over. */
static double *block(sm_set *set, const char *name, double *x, int h, int w, int *width, double gain) {
  char full[128];
  int channels = *width, out = *width;
  double *res = x;
  for (int k = 1; k <= 4; k++) {
    snprintf(full, sizeof full, "%s.res_path.conv_%d", name, k);
    double *y = relu(res, h * w * channels);
    if (res != x) free(res);
    res = conv(set, full, y, h, w, channels, &channels);
    free(y);
  }
  snprintf(full, sizeof full, "%s.id_path.w", name);
  bool wider = sm_set_find(set, full) >= 0;
  snprintf(full, sizeof full, "%s.id_path", name);
  double *id = wider ? conv(set, full, x, h, w, *width, &out) : x;
  assert_int_equal(out, channels);
  for (int i = 0; i < h * w * out; i++) id[i] += gain * res[i];
  free(res);
  if (wider) free(x);
  *width = out;
  return id;
}

/* Halves (largest of four) or doubles; takes x over. */
static double *resample(double *x, int *h, int *w, int width, bool up) {
  const int hh = up ? *h * 2 : *h / 2, ww = up ? *w * 2 : *w / 2;
  double *y = malloc((size_t)(hh * ww * width) * sizeof *y);
  assert_non_null(y);
  for (int r = 0; r < hh; r++)
    for (int c = 0; c < ww; c++)
      for (int n = 0; n < width; n++) {
        double most = -INFINITY;
        for (int k = 0; k < 4 && !up; k++) {
          const double of_four = x[((2 * r + k / 2) * *w + 2 * c + k % 2) * width + n];
          if (of_four > most) most = of_four;
        }
        y[(r * ww + c) * width + n] = up ? x[(r / 2 * *w + c / 2) * width + n] : most;
      }
  free(x);
  *h = hh, *w = ww;
  return y;
}

static double *network(sm_set *set, const dvae_shape *s, bool decoder, const double *input, int in, int h,
                       int w) {
  char name[64];
  int width;
  double *x = conv(set, "blocks.input", input, h, w, in, &width);
  for (int g = 1; g <= s->groups; g++) {
    for (int b = 1; b <= s->blocks; b++) {
      snprintf(name, sizeof name, "blocks.group_%d.block_%d", g, b);
      x = block(set, name, x, h, w, &width, pow(s->groups * s->blocks, -2));
    }
    if (g < s->groups) x = resample(x, &h, &w, width, decoder);
  }
  double *y = relu(x, h * w * width), *out = conv(set, "blocks.output.conv", y, h, w, width, &width);
  free(x);
  free(y);
  return out;
}

/* ---- the network --------------------------------------------------------------------------------------- */

/* One half on one picture in double precision, against the loops. */
static void agrees(const dvae_shape *s, dvae_half half, int h, int w) {
  sm_error err = {0};
  sm_set *set = dvae_drawn(s, half, SM_F64, 3);
  const int in = half == DVAE_ENCODER ? 3 : s->vocabulary;
  double *input = malloc((size_t)(h * w * in) * sizeof *input);
  assert_non_null(input);
  for (int i = 0; i < h * w * in; i++) input[i] = fmod(0.37 * i + 0.11 * (i % 7), 1) * 0.8 + 0.1;
  sm_graph *g = sm_graph_new(&(sm_graph_config){.real = SM_F64, .pool = pool}, &err);
  int pass = sm_pass_begin(g, "forward");
  sm_tensor *x = sm_input_real(g, "x", 3, (int64_t[]){1, h * w, in}, NULL);
  const sm_params params = {set, ""};
  sm_tensor *y =
      half == DVAE_ENCODER ? dvae_encode(g, &params, s, x, h, w) : dvae_decode(g, &params, s, x, h, w);
  sm_keep(g, y);
  sm_pass_end(g);
  must(sm_graph_plan(g, &err), &err);
  must(sm_graph_allocate(g, &err), &err);
  put(x, input);
  sm_graph_run(g, pass);
  const int stride = dvae_stride(s),
            cells = half == DVAE_ENCODER ? h * w / stride / stride : h * w * stride * stride;
  assert_int_equal(y->dim[1], cells);
  assert_int_equal(y->dim[2], half == DVAE_ENCODER ? s->vocabulary : 6);
  double *want = network(set, s, half == DVAE_DECODER, input, in, h, w), largest = 0;
  for (int64_t i = 0; i < sm_elements(y); i++) {
    largest = fmax(largest, fabs(want[i]));
    if (!(fabs(sm_get(y, i) - want[i]) <= 1e-10))
      fail_msg("element %d: %g, not %g", (int)i, sm_get(y, i), want[i]);
  }
  assert_true(largest > 0.1);
  free(want);
  free(input);
  sm_graph_free(g);
  sm_set_free(set);
}

static void both_halves_are_what_they_say(void **state) {
  agrees(&small, DVAE_ENCODER, 6, 8);
  agrees(&small, DVAE_DECODER, 3, 4);
  const dvae_shape deep = {.groups = 3, .blocks = 1, .hidden = 4, .vocabulary = 5};
  agrees(&deep, DVAE_ENCODER, 8, 4);
  agrees(&deep, DVAE_DECODER, 2, 1);
  const dvae_shape flat = {.groups = 1, .blocks = 1, .hidden = 4, .vocabulary = 3};
  agrees(&flat, DVAE_ENCODER, 3, 5);
  agrees(&flat, DVAE_DECODER, 3, 5);
}

/* Names, sizes and deviations of the initial weights are DALL·E's. */
static void parameters_are_those_of_dalle(void **state) {
  const dvae_shape dalle = {.groups = 4, .blocks = 2, .hidden = 256, .vocabulary = 8192};
  sm_error err = {0};
  int64_t n = 0;
  sm_set *set = sm_set_new("dalle", SM_F32, false, &err);
  dvae_declare_encoder(&(sm_params){set, ""}, &dalle);
  must(sm_set_seal(set, SM_MOMENTS_NONE, &err), &err);
  for (int r = 0; r < sm_set_rows(set); r++) n += sm_set_row(set, r)->size;
  assert_int_equal(n, 53786240);
  assert_int_equal(sm_set_find(set, "blocks.group_1.block_1.id_path.w"), -1);
  const sm_row *row = sm_set_row(set, sm_set_find(set, "blocks.group_4.block_1.res_path.conv_1.w"));
  const int64_t shape[4] = {512, 1024, 3, 3};
  assert_memory_equal(row->dim, shape, sizeof shape);
  assert_int_equal(row->init, SM_INIT_NORMAL);
  assert_float_equal(row->init_a, 1 / sqrt(1024 * 9), 1e-12);
  assert_int_equal(dvae_stride(&dalle), 8);
  sm_set_free(set);
  set = sm_set_new("dalle", SM_F32, false, &err);
  dvae_declare_decoder(&(sm_params){set, ""}, &dalle);
  must(sm_set_seal(set, SM_MOMENTS_NONE, &err), &err);
  const int64_t first[4] = {128, 8192, 1, 1}, second[4] = {512, 128, 1, 1}, last[4] = {6, 256, 1, 1};
  assert_memory_equal(sm_set_row(set, sm_set_find(set, "blocks.input.w"))->dim, first, sizeof first);
  assert_memory_equal(sm_set_row(set, sm_set_find(set, "blocks.group_1.block_1.res_path.conv_1.w"))->dim,
                      second, sizeof second);
  assert_memory_equal(sm_set_row(set, sm_set_find(set, "blocks.output.conv.w"))->dim, last, sizeof last);
  sm_set_free(set);
}

/* ---- the tokenizer ------------------------------------------------------------------------------------- */

typedef struct bench {
  sm_instance it;
  const sm_tokenizer_ops *ops;
  sm_tokenizer_spec spec;
  sm_set *frozen;
  sm_graph *g;
  sm_tensor *pictures;
  sm_rows *cells;
  sm_target patch;
  int pass, views, grid;
} bench;

static sm_status ask(bench *b, const char *options, sm_error *err) {
  *b = (bench){0};
  *err = (sm_error){0};
  const sm_plugin *p = sm_registry_find(registry, SM_TOKENIZER, "dvae", err);
  assert_non_null(p);
  b->ops = p->ops;
  must(sm_instance_new(registry, p, &b->it, err), err);
  must(sm_options_fill(p, options, b->it.self, arena, err), err);
  return sm_tokenizer_ask(b->ops, b->it.self, &(sm_backbone_spec){.cell = 4, .dim = 8, .blocks = 1}, &b->spec,
                          err);
}

/* `views` views of grid x grid cells, all of them hidden. */
static void open_bench(bench *b, const char *options, sm_dtype real, int views, int grid) {
  sm_error err;
  must(ask(b, options, &err), &err);
  must(sm_instance_create(&b->it, &err), &err);
  assert_non_null(b->spec.own);
  b->views = views, b->grid = grid;
  const int cells = grid * grid, side = grid * b->spec.own->pixels;
  const sm_params frozen = {b->frozen = sm_set_new("frozen", real, false, &err), "t."};
  b->ops->declare_frozen(b->it.self, &frozen);
  must(sm_set_seal(b->frozen, SM_MOMENTS_NONE, &err), &err);
  must(sm_set_allocate(b->frozen, 1, &err), &err);
  must(b->ops->load(b->it.self, &frozen, &err), &err);
  b->g = sm_graph_new(&(sm_graph_config){.real = real, .pool = pool}, &err);
  b->pass = sm_pass_begin(b->g, "targets");
  b->pictures = sm_input_real(b->g, "pictures", 4, (int64_t[]){views, 3, side, side}, NULL);
  b->cells = sm_rows_new(b->g, "cells", views * cells, views, cells, NULL);
  const sm_tokenizer_env env = {.frozen = frozen, .masked = b->cells, .want_patch = true};
  const sm_seen seen = {.pictures = b->pictures, .rows = grid, .cols = grid};
  sm_target view = {0};
  b->ops->build(b->it.self, b->g, &env, &seen, &view, &b->patch);
  assert_int_equal(view.form, SM_TARGET_NONE);
  assert_int_equal(b->patch.form, SM_TARGET_IDS);
  assert_int_equal(b->patch.dim, b->spec.patch_dim);
  sm_keep(b->g, b->patch.ids);
  sm_pass_end(b->g);
  must(sm_graph_plan(b->g, &err), &err);
  must(sm_graph_allocate(b->g, &err), &err);
}

/* ids of pictures with values in [0, 1], normalised here as the loader does it. */
static void run(bench *b, const double *pictures, int32_t *ids) {
  const int cells = b->grid * b->grid, n = b->views * cells;
  const int64_t area = b->pictures->dim[2] * b->pictures->dim[3];
  double *x = malloc((size_t)sm_elements(b->pictures) * sizeof *x);
  int32_t *cell = malloc((size_t)n * sizeof *cell);
  assert_true(x && cell);
  for (int64_t i = 0; i < sm_elements(b->pictures); i++) {
    int c = (int)(i / area % 3);
    x[i] = (pictures[i] - (double)b->spec.own->mean[c]) / (double)b->spec.own->std[c];
  }
  put(b->pictures, x);
  for (int i = 0; i < n; i++) cell[i] = i;
  sm_rows_set(b->cells, cell, n);
  sm_graph_run(b->g, b->pass);
  for (int i = 0; i < n; i++) ids[i] = (int32_t)sm_get(b->patch.ids, i);
  free(x);
  free(cell);
}

static void close_bench(bench *b) {
  sm_graph_free(b->g);
  sm_set_free(b->frozen);
  sm_instance_free(&b->it);
}

static const char *options_for(const char *file, const char *more) {
  return sm_arena_printf(arena, "{weights: %s%s}", file, more);
}

/* What the view is like, and names from the loops' logits of the picture mapped to [0.1, 0.9]. */
static void names_are_the_likeliest_codes(void **state) {
  enum { GRID = 3, CELLS = GRID * GRID, SIDE = 2 * GRID };
  double picture[3 * SIDE * SIDE], mapped[SIDE * SIDE * 3];
  int32_t ids[CELLS];
  bench b;
  const char *file = file_in("small.safetensors");
  dvae_write(file, &small, 1);
  open_bench(&b, options_for(file, ""), SM_F64, 1, GRID);
  const sm_own_view *own = b.spec.own;
  assert_int_equal(b.spec.patch_dim, 16);
  assert_true(own->pixels == 2 && own->filter == SM_FILTER_LANCZOS && !own->plain);
  assert_false(b.spec.needs_teacher || b.spec.needs_head || b.spec.view);
  for (int c = 0; c < 3; c++) {
    assert_float_equal(own->mean[c], -0.125, 1e-6);
    assert_float_equal(own->std[c], 1.25, 1e-6);
  }
  for (int i = 0; i < 3 * SIDE * SIDE; i++) {
    picture[i] = fmod(0.61 * i + 0.013 * (i % 29) * (i % 17), 1);
    mapped[i % (SIDE * SIDE) * 3 + i / (SIDE * SIDE)] = 0.8 * picture[i] + 0.1;
  }
  run(&b, picture, ids);
  sm_set *weights = dvae_drawn(&small, DVAE_ENCODER, SM_F32, 1),
         *wide = dvae_drawn(&small, DVAE_ENCODER, SM_F64, 1);
  for (int r = 0; r < sm_set_rows(wide); r++) /* as the file holds them */
    for (int64_t i = 0; i < sm_set_row(wide, r)->size; i++)
      row_put(wide, r, SM_VALUES, i, row_get(weights, r, SM_VALUES, i));
  double *logits = network(wide, &small, false, mapped, 3, SIDE, SIDE);
  int different = 0;
  for (int k = 0; k < CELLS; k++) {
    int best = 0;
    for (int v = 1; v < 16; v++)
      if (logits[k * 16 + v] > logits[k * 16 + best]) best = v;
    assert_int_equal(ids[k], best);
    different += best != ids[0];
  }
  assert_true(different > 0);
  free(logits);
  sm_set_free(weights);
  sm_set_free(wide);
  close_bench(&b);
}

static bool has_block(const golden *file, int group, int block) {
  char name[96];
  snprintf(name, sizeof name, "encoder.blocks.group_%d.block_%d.res_path.conv_1.w", group, block);
  return golden_has(file, name);
}

static dvae_shape shape_in(const golden *file) {
  dvae_shape s = {.hidden = (int)golden_get(file, "encoder.blocks.input.w").shape[0],
                  .vocabulary = (int)golden_get(file, "encoder.blocks.output.conv.w").shape[0]};
  while (has_block(file, s.groups + 1, 1)) s.groups++;
  while (has_block(file, 1, s.blocks + 1)) s.blocks++;
  return s;
}

/* OpenAI's encoder, its own numbers: logits within 1e-4, every id; and the ids by way of the tokenizer. */
static void like_published(golden *file) {
  sm_error err = {0};
  golden_tensor image = golden_get(file, "image"), logits = golden_get(file, "expect.logits"),
                want = golden_get(file, "expect.token_ids");
  const int views = (int)image.shape[0], side = (int)image.shape[2], grid = (int)logits.shape[2],
            codes = (int)logits.shape[1], cells = grid * grid;
  double *picture = golden_doubles(&image);
  int32_t *ids = malloc((size_t)(views * cells) * sizeof *ids);
  assert_non_null(ids);
  bench b;
  open_bench(&b, options_for(golden_path(file), ""), SM_F32, views, grid);
  assert_int_equal(b.spec.patch_dim, codes);
  assert_int_equal(b.spec.own->pixels * grid, side);
  run(&b, picture, ids);
  for (int i = 0; i < views * cells; i++) assert_int_equal(ids[i], (int)golden_value(&want, i));

  const dvae_shape shape = shape_in(file);
  assert_int_equal(shape.vocabulary, codes);
  sm_graph *g = sm_graph_new(&(sm_graph_config){.real = SM_F32, .pool = pool}, &err);
  int pass = sm_pass_begin(g, "forward");
  sm_tensor *x = sm_input_real(g, "pictures", 4, (int64_t[]){views, 3, side, side}, NULL);
  sm_tensor *y = dvae_encode(g, &(sm_params){b.frozen, "t."}, &shape, sm_patchify(g, x, 1), side, side);
  sm_keep(g, y);
  sm_pass_end(g);
  must(sm_graph_plan(g, &err), &err);
  must(sm_graph_allocate(g, &err), &err);
  for (int64_t i = 0; i < image.count; i++) picture[i] = 0.8 * picture[i] + 0.1;
  put(x, picture);
  sm_graph_run(g, pass);
  double worst = 0;
  for (int v = 0; v < views; v++)
    for (int k = 0; k < cells; k++)
      for (int c = 0; c < codes; c++)
        worst = fmax(worst, fabs(sm_get(y, ((int64_t)v * cells + k) * codes + c) -
                                 golden_value(&logits, ((int64_t)v * codes + c) * cells + k)));
  if (!(worst <= 1e-4)) fail_msg("logits differ by %g", worst);
  sm_graph_free(g);
  close_bench(&b);
  free(picture);
  free(ids);
  golden_close(file);
}

/* Every file of the golden folder that holds an encoder. */
static void published_logits_and_ids(void **state) {
  char *names[16];
  int n = golden_names("dvae_encoder", names, 16);
  for (int i = 0; i < n; i++) {
    like_published(golden_open(names[i]));
    free(names[i]);
  }
}

/* ---- files --------------------------------------------------------------------------------------------- */

static void refused(const char *file, sm_status code, const char *message, const char *hint) {
  bench b;
  sm_error err;
  assert_int_equal(ask(&b, options_for(file, ""), &err), code);
  assert_string_equal(err.message, message);
  if (!strstr(err.hint, hint)) fail_msg("the hint is: %s", err.hint);
  sm_instance_free(&b.it);
}

static void files_that_are_none_are_refused(void **state) {
  sm_error err = {0};
  refused(file_in("nowhere"), SM_ENOTFOUND, "no such run or file: No such file or directory",
          "train a dVAE first");
  const char *file = file_in("other.safetensors");
  sm_st_writer *w = sm_st_create(file, SM_ST_AS_DECLARED, &err);
  sm_st_declare(w, "blocks.input.w", "F32", 4, (int64_t[]){1, 2, 1, 1}); /* a decoder's */
  sm_st_write(w, "blocks.input.w", (float[]){1, 2}, 8);
  must(sm_st_finish(w, &err), &err);
  refused(file, SM_EINVAL, "the file holds no dVAE's encoder: no 'blocks.input.w' of shape [hidden, 3, 7, 7]",
          "the names must be those of OpenAI's encoder");
  sm_set *set = dvae_drawn(&small, DVAE_ENCODER, SM_F32, 1);
  set_write(file, set, "model.", "blocks.group_2.block_2.res_path.conv_3.b");
  refused(file, SM_EINVAL, "tensor 'model.blocks.group_2.block_2.res_path.conv_3.b' is not in the file",
          "an encoder of 2 groups of 2 blocks from 8 channels on, with 16 codes, has it so");
  set_write(file, set, "model.", "blocks.output.conv.w");
  refused(file, SM_EINVAL, "tensor 'model.blocks.output.conv.w' is not in the file", "");
  sm_set_free(set);
}

static void shapes_that_do_not_fit_are_refused(void **state) {
  sm_error err = {0};
  const char *file = file_in("shapes.safetensors"), *odd = "blocks.group_2.block_1.id_path.b";
  sm_set *set = dvae_drawn(&small, DVAE_ENCODER, SM_F32, 1);
  sm_st_writer *w = sm_st_create(file, SM_ST_AS_DECLARED, &err);
  set_add(w, set, "", odd, false);
  sm_st_declare(w, odd, "F32", 1, (int64_t[]){1});
  set_add(w, set, "", odd, true);
  sm_st_write(w, odd, (float[]){0}, 4);
  must(sm_st_finish(w, &err), &err);
  refused(file, SM_EINVAL,
          "tensor 'blocks.group_2.block_1.id_path.b' is F32 [1] in the file, but F32 [16] is needed",
          "an encoder of 2 groups of 2 blocks");
  w = sm_st_create(file, SM_ST_AS_DECLARED, &err);
  for (int values = 0; values <= 1; values++) {
    set_add(w, set, "a.", NULL, values);
    set_add(w, set, "b.", NULL, values);
  }
  must(sm_st_finish(w, &err), &err);
  refused(file, SM_EINVAL, "'a.blocks.input.w' and 'b.blocks.input.w' both begin an encoder",
          "keep one of them");
  sm_set_free(set);
}

/* The same names from a file with both halves, moments of an optimiser and names behind a beginning. */
static void names_may_have_a_beginning(void **state) {
  double picture[3 * 4 * 4];
  int32_t ids[2][4];
  sm_error err = {0};
  const char *plain = file_in("plain.safetensors"), *both = file_in("both.safetensors");
  dvae_write(plain, &small, 1);
  sm_set *encoder = dvae_drawn(&small, DVAE_ENCODER, SM_F32, 1),
         *decoder = dvae_drawn(&small, DVAE_DECODER, SM_F32, 1);
  sm_st_writer *w = sm_st_create(both, SM_ST_AS_DECLARED, &err);
  for (int values = 0; values <= 1; values++) {
    set_add(w, encoder, "optimizer.m.encoder.", NULL, values);
    set_add(w, encoder, "student.encoder.", NULL, values);
    set_add(w, decoder, "student.decoder.", NULL, values);
  }
  must(sm_st_finish(w, &err), &err);
  for (int i = 0; i < 3 * 4 * 4; i++) picture[i] = fmod(0.61 * i * i, 1);
  for (int k = 0; k < 2; k++) {
    bench b;
    open_bench(&b, options_for(k ? both : plain, ", plain: true"), SM_F32, 1, 2);
    assert_true(b.spec.own->plain);
    run(&b, picture, ids[k]);
    close_bench(&b);
  }
  assert_memory_equal(ids[0], ids[1], sizeof ids[0]);
  sm_set_free(encoder);
  sm_set_free(decoder);
}

static int open_all(void **state) {
  arena = sm_arena_new("test");
  return !arena || open_fixture(state);
}
static int close_all(void **state) {
  sm_arena_free(arena);
  return close_fixture(state);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(both_halves_are_what_they_say),   cmocka_unit_test(parameters_are_those_of_dalle),
      cmocka_unit_test(names_are_the_likeliest_codes),   cmocka_unit_test(published_logits_and_ids),
      cmocka_unit_test(files_that_are_none_are_refused), cmocka_unit_test(shapes_that_do_not_fit_are_refused),
      cmocka_unit_test(names_may_have_a_beginning),
  };
  if (argc > 1) {
    dvae_write(argv[1], &small, argc > 2 ? strtoull(argv[2], NULL, 10) : 1);
    return 0;
  }
  return cmocka_run_group_tests(tests, open_all, close_all);
}

/* test_swin.c — the Swin backbone against iBOT's own code (every swin*.safetensors of tests/golden or
 * $SMALTI_GOLDEN, whatever its sizes), and what its description, its options and its names say.
 *
 * A file holds one case, or a list of cases whose tensors begin with their number. The loss is the sum of
 * squares of all tokens, the mean one included. */
#include <math.h>

#include <cjson/cJSON.h>

#include "framework/models/weights.h"
#include "framework/nn/nn.h"
#include "framework/recipe/recipe.h"

#include "golden.h"
#include "plugin_fixture.h"
#include "test.h"

#define TOLERANCE 1e-4

static sm_arena *arena;

static sm_instance made(const char *yaml) {
  sm_error err = {0};
  sm_instance it = {0};
  const sm_plugin *p = sm_registry_find(registry, SM_BACKBONE, "swin", &err);
  if (!p) must(err.code, &err);
  must(sm_instance_new(registry, p, &it, &err), &err);
  must(sm_options_fill(p, yaml, it.self, arena, &err), &err);
  must(sm_instance_create(&it, &err), &err);
  return it;
}

/* ---- golden ---------------------------------------------------------------------------------------------- */

typedef struct swin_case {
  golden *file;
  const cJSON *config;
  char prefix[16]; /* of the tensors: "", "0." … */
  int image, build;
  sm_instance net;
  sm_set *set;
  sm_graph *g;
  sm_tensor *image_in, *mask, *view, *patches, *stage[8];
  int pass, stages;
} swin_case;

static double either(const cJSON *config, const char *name, const char *other) {
  return golden_number(config, cJSON_GetObjectItemCaseSensitive((cJSON *)config, name) ? name : other);
}

static void add_list(sm_text *text, const cJSON *config, const char *key) {
  const cJSON *v;
  int n = 0;
  sm_text_add(text, ", %s: [", key);
  cJSON_ArrayForEach(v, cJSON_GetObjectItemCaseSensitive((cJSON *)config, key))
      sm_text_add(text, "%s%d", n++ ? ", " : "", v->valueint);
  sm_text_add(text, "]");
}

static bool has(const swin_case *c, const char *name) {
  char full[sizeof c->prefix + 256];
  snprintf(full, sizeof full, "%s%s", c->prefix, name);
  return golden_has(c->file, full);
}

static golden_tensor tensor(const swin_case *c, const char *name, const char *behind) {
  return golden_getf(c->file, "%s%s%s", c->prefix, name, behind);
}

/* All rows of the set from the file; and every tensor of the model has its row, but for head and indices. */
static void load_values(swin_case *c) {
  for (int r = 0; r < sm_set_rows(c->set); r++) {
    const sm_row *row = sm_set_row(c->set, r);
    if (!strcmp(row->name, "image")) continue;
    const golden_tensor t = tensor(c, "model.", row->name);
    if (t.count != row->size) fail_msg("%s: %d elements in the file", row->name, (int)t.count);
    double *values = golden_doubles(&t);
    sm_set_write_f64(c->set, r, SM_VALUES, 0, row->size, values);
    free(values);
  }
  char begin[32];
  const int n = snprintf(begin, sizeof begin, "%smodel.", c->prefix);
  for (int i = 0; i < golden_tensor_count(c->file); i++) {
    const char *name = golden_tensor_name(c->file, i);
    if (strncmp(name, begin, (size_t)n) != 0 || !strncmp(name + n, "head.", 5)) continue;
    if (strstr(name, "relative_position_index")) continue;
    if (sm_set_find(c->set, name + n) < 0) fail_msg("the network lacks %s", name + n);
  }
}

static void open_net(swin_case *c, sm_dtype real) {
  sm_error err = {0};
  sm_text yaml = {0};
  c->image = (int)either(c->config, "image", "image_size");
  c->build = cJSON_GetObjectItemCaseSensitive((cJSON *)c->config, "build")
                 ? (int)golden_number(c->config, "build")
                 : c->image;
  sm_text_add(&yaml, "{arch: custom, dim: %d, patch_size: %d, window: %d",
              (int)golden_number(c->config, "dim"), (int)either(c->config, "patch", "patch_size"),
              (int)golden_number(c->config, "window"));
  add_list(&yaml, c->config, "depths");
  add_list(&yaml, c->config, "heads");
  sm_text_add(&yaml, "}");
  c->net = made(yaml.s);
  sm_text_free(&yaml);
  c->stages = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive((cJSON *)c->config, "depths"));
  const golden_tensor image = tensor(c, "image", "");
  assert_int_equal(image.rank, 4);
  assert_non_null(c->set = sm_set_new("net", real, true, &err));
  const sm_backbone_ops *ops = c->net.plugin->ops;
  ops->declare(c->net.self, c->build, c->build, &(sm_params){c->set, ""});
  sm_declare(&(sm_params){c->set, ""}, "image", SM_INIT_ZEROS, 0, 0, 4, image.shape);
  must(sm_set_seal(c->set, SM_MOMENTS_NONE, &err), &err);
  must(sm_set_allocate(c->set, 1, &err), &err);
  load_values(c);
  double *values = golden_doubles(&image);
  sm_set_write_f64(c->set, sm_set_find(c->set, "image"), SM_VALUES, 0, image.count, values);
  free(values);
}

static sm_tensor *squares(swin_case *c, sm_tensor *x) {
  sm_keep(c->g, x);
  sm_tensor *sum = sm_sum(c->g, sm_mul(c->g, x, x));
  sm_loss_term(c->g, sum);
  return sum;
}

/* The blocks that end the stages, raw: as the reference gives them before merging. */
static void wish_for_stages(const swin_case *c, sm_backbone_in *in) {
  const cJSON *depth;
  int blocks = 0;
  cJSON_ArrayForEach(depth, cJSON_GetObjectItemCaseSensitive((cJSON *)c->config, "depths"))
      in->block[in->blocks++] = (sm_block_wish){(blocks += depth->valueint) - 1, true};
}

static void build(swin_case *c, sm_dtype real) {
  sm_error err = {0};
  const golden_tensor image = tensor(c, "image", "");
  const sm_params p = {c->set, ""};
  sm_backbone_out out = {0};
  assert_non_null(c->g = sm_graph_new(&(sm_graph_config){.real = real, .pool = pool}, &err));
  c->pass = sm_pass_begin(c->g, "student");
  c->image_in = sm_param(c->g, &p, "image");
  sm_backbone_in in = {.pictures = c->image_in, .view = true, .patches = true};
  if (has(c, "mask")) {
    const golden_tensor mask = tensor(c, "mask", "");
    in.mask = c->mask =
        sm_input(c->g, "mask", SM_U8, 2, (int64_t[]){image.shape[0], mask.count / image.shape[0]}, NULL);
  }
  wish_for_stages(c, &in);
  sm_backbone_build("swin", c->net.plugin->ops, c->net.self, c->g, &p, &in, &out);
  c->view = out.view, c->patches = out.patches;
  squares(c, out.view);
  squares(c, out.patches);
  for (int s = 0; s < c->stages; s++) sm_keep(c->g, c->stage[s] = out.block[s].patches);
  sm_pass_backward(c->g);
  sm_pass_end(c->g);
  must(sm_graph_plan(c->g, &err), &err);
  must(sm_graph_allocate(c->g, &err), &err);
  if (c->mask) {
    const golden_tensor mask = tensor(c, "mask", "");
    for (int64_t k = 0; k < mask.count; k++) sm_fill(c->mask, k, 1, golden_value(&mask, k));
  }
}

/* The largest difference, of the largest number that is expected (at least 1). */
static void near(const char *what, const golden_tensor *want, double (*got)(void *, int64_t), void *from) {
  double worst = 0, scale = 1;
  for (int64_t k = 0; k < want->count; k++) {
    scale = fmax(scale, fabs(golden_value(want, k)));
    const double d = fabs(got(from, k) - golden_value(want, k));
    worst = d <= worst ? worst : d;
  }
  if (!(worst <= TOLERANCE * scale)) fail_msg("%s: off by %g of %g", what, worst, scale);
}

static double of_tokens(void *from, int64_t k) { /* (B, 1 + N, D): the view, then the patches */
  const swin_case *c = from;
  const int64_t n = c->patches->dim[1], d = c->patches->dim[2], row = k / d;
  return row % (n + 1) == 0 ? sm_get(c->view, row / (n + 1) * d + k % d)
                            : sm_get(c->patches, (row - 1 - row / (n + 1)) * d + k % d);
}
static double of_tensor(void *from, int64_t k) { return sm_get(from, k); }
typedef struct row_of {
  const sm_set *set;
  int row;
} row_of;
static double of_gradient(void *from, int64_t k) {
  const row_of *r = from;
  double g = NAN;
  assert_true(sm_set_read_f64(r->set, r->row, SM_GRADIENTS, k, 1, &g));
  return g;
}

static void compare(swin_case *c) {
  char name[256];
  const golden_tensor tokens = tensor(c, "expect.tokens", "");
  assert_int_equal(tokens.count, sm_elements(c->view) + sm_elements(c->patches));
  near("tokens", &tokens, of_tokens, c);
  for (int s = 0; s < c->stages; s++) {
    snprintf(name, sizeof name, "expect.stage%d", s);
    if (!has(c, name)) continue;
    const golden_tensor stage = tensor(c, name, "");
    assert_int_equal(stage.count, sm_elements(c->stage[s]));
    near(name, &stage, of_tensor, c->stage[s]);
  }
  for (int r = 0; r < sm_set_rows(c->set); r++) {
    const char *row = sm_set_row(c->set, r)->name;
    const bool image = !strcmp(row, "image");
    snprintf(name, sizeof name, image ? "expect.grad_image" : "expect.grad.%s", row);
    if (!has(c, name)) { /* nothing was hidden, so its token has no gradient */
      assert_true(image || (!strcmp(row, "masked_embed") && !c->mask));
      continue;
    }
    const golden_tensor grad = tensor(c, name, "");
    assert_int_equal(grad.count, sm_set_row(c->set, r)->size);
    near(name, &grad, of_gradient, &(row_of){c->set, r});
  }
}

static void run_case(golden *file, const cJSON *config, int number, sm_dtype real) {
  swin_case c = {.file = file, .config = config};
  if (number >= 0) snprintf(c.prefix, sizeof c.prefix, "%d.", number);
  open_net(&c, real);
  build(&c, real);
  sm_graph_run(c.g, c.pass);
  compare(&c);
  sm_graph_free(c.g);
  sm_set_free(c.set);
  sm_instance_free(&c.net);
}

static void test_golden(void **state) {
  char *name[16];
  const int n = golden_names("swin", name, 16);
  for (int i = 0; i < n; i++) {
    golden *file = golden_open(name[i]);
    const cJSON *config = golden_json(file, "config"), *one;
    for (sm_dtype real = SM_F32; real <= SM_F64; real++) {
      int number = 0;
      if (!cJSON_IsArray(config)) run_case(file, config, -1, real);
      else cJSON_ArrayForEach(one, config) run_case(file, one, number++, real);
    }
    golden_close(file);
    free(name[i]);
  }
}

/* ---- what it says of itself -------------------------------------------------------------------------------- */

static sm_set *set_for(const sm_instance *it, int height, int width) {
  sm_error err = {0};
  sm_set *set = sm_set_new("swin", SM_F32, false, &err);
  assert_non_null(set);
  ((const sm_backbone_ops *)it->plugin->ops)->declare(it->self, height, width, &(sm_params){set, ""});
  must(sm_set_seal(set, SM_MOMENTS_NONE, &err), &err);
  return set;
}

static int64_t table_rows(sm_set *set, int stage) {
  char name[96];
  snprintf(name, sizeof name, "layers.%d.blocks.0.attn.relative_position_bias_table", stage);
  const int row = sm_set_find(set, name);
  assert_true(row >= 0);
  return sm_set_row(set, row)->dim[0];
}

/* As timm's swin_*_patch4_window7_224 with num_classes=0 count them, and the mask token; windows shrink on
 * the grids of 224 pixels, 56, 28, 14 and 7. */
static void test_sizes(void **state) {
  static const struct {
    const char *options;
    int dim, size;
    int64_t parameters, tables[4];
  } cases[] = {
      {"{}", 96, 224, 27519354, {169, 169, 169, 169}},
      {"{window: 14}", 96, 224, 0, {729, 729, 729, 169}},
      {"{arch: small}", 96, 224, 48837258, {169, 169, 169, 169}},
      {"{arch: base}", 128, 224, 86743224, {169, 169, 169, 169}},
      {"{window: 12}", 96, 96, 0, {529, 529, 121, 25}},
      {"{window: 14, input_size: 224}", 96, 96, 0, {729, 729, 729, 169}},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    sm_instance it = made(cases[i].options);
    sm_set *set = set_for(&it, cases[i].size, cases[i].size);
    if (cases[i].parameters) assert_int_equal(sm_set_parameters(set), cases[i].parameters + cases[i].dim);
    for (int s = 0; s < 4; s++) assert_int_equal(table_rows(set, s), cases[i].tables[s]);
    sm_set_free(set);
    sm_instance_free(&it);
  }
}

static void test_spec(void **state) {
  static const int dims[] = {96, 192, 384, 768}, sides[] = {56, 28, 14, 7},
                   stage_of[] = {0, 0, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3};
  sm_instance it = made("{drop_path: 0.11}");
  const sm_backbone_ops *ops = it.plugin->ops;
  sm_backbone_spec spec = {0};
  sm_error err = {0};
  must(ops->spec(it.self, 224, 224, &spec, &err), &err);
  assert_true(spec.dim == 768 && spec.rows == 7 && spec.cols == 7 && spec.cell == 32 && spec.heads == 0);
  assert_true(spec.blocks == 12 && spec.layers == 12 && spec.drop_sites == 24);
  for (int k = 0; k < 12; k++) {
    const int s = stage_of[k];
    assert_true(spec.block[k].dim == dims[s] && spec.block[k].rows == sides[s] &&
                spec.block[k].cols == sides[s]);
    assert_float_equal(spec.drop_rate[2 * k], 0.01 * k, 1e-12);
    assert_int_equal(spec.drop_layer[2 * k + 1], 1 + k);
  }
  memset(&spec, 0, sizeof spec);
  must(ops->spec(it.self, 96, 160, &spec, &err), &err); /* local views, not square */
  assert_true(spec.rows == 3 && spec.cols == 5);
  assert_int_equal(ops->spec(it.self, 100, 96, &spec, &err), SM_EINVAL);
  assert_string_equal(err.message, "views of 100 x 96 pixels cannot be cut into cells of 32");
  sm_instance_free(&it);
}

static void refused(const char *yaml, const char *message) {
  sm_error err = {0};
  sm_instance it = {0};
  const sm_plugin *p = sm_registry_find(registry, SM_BACKBONE, "swin", &err);
  assert_non_null(p);
  must(sm_instance_new(registry, p, &it, &err), &err);
  sm_status status = sm_options_fill(p, yaml, it.self, arena, &err);
  if (!status) status = sm_instance_create(&it, &err);
  assert_int_equal(status, SM_EINVAL);
  if (!strstr(err.message, message)) fail_msg("'%s', not '%s'", err.message, message);
  assert_true(err.hint[0] != 0);
  sm_instance_free(&it);
}

static void test_refusals(void **state) {
  refused("{arch: custom, dim: 48}", "arch 'custom' needs dim, depths and heads");
  refused("{depths: [2, 2, 2]}", "depths are of 3 stages, heads of 4");
  refused("{depths: [1, 1, 1, 1, 1, 1, 1], heads: [1, 1, 1, 1, 1, 1, 1]}", "depths are of 7 stages");
  refused("{depths: [100, 20, 10], heads: [1, 1, 1]}", "130 blocks are too many");
  refused("{heads: [3, 6, 12, 25]}", "stage 4: a width of 768 cannot be divided among 25 heads");
  refused("{input_size: 30}", "an input_size of 30 pixels cannot be cut into patches of 4");
}

/* Layers: each block its own, what merges its stage's last. Tables decay in training and not in fine-tuning. */
static void test_rows(void **state) {
  sm_instance it = made("{arch: custom, dim: 8, depths: [1, 2], heads: [1, 2], window: 4}");
  sm_set *set = set_for(&it, 64, 64);
  static const struct {
    const char *name;
    int layer;
    unsigned flags;
    bool decay;
  } rows[] = {{"masked_embed", 0, SM_ROW_NO_EXPORT, true},
              {"patch_embed.norm.bias", 0, 0, false},
              {"layers.0.blocks.0.attn.relative_position_bias_table", 1, SM_ROW_EMBEDDING, true},
              {"layers.0.downsample.reduction.weight", 1, 0, true},
              {"layers.1.blocks.1.mlp.fc2.weight", 3, 0, true},
              {"norm.weight", 4, 0, false}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const sm_row *row = sm_set_row(set, sm_set_find(set, rows[i].name));
    assert_true(row->layer == rows[i].layer && row->flags == rows[i].flags && row->decay == rows[i].decay);
  }
  assert_int_equal(sm_set_find(set, "layers.1.downsample.norm.weight"), -1);
  assert_int_equal(sm_set_find(set, "layers.0.downsample.reduction.bias"), -1);
  sm_set_free(set);
  sm_instance_free(&it);
}

/* ---- names of other programs ---------------------------------------------------------------------------- */

static sm_set *filled(const sm_instance *it, uint64_t seed) {
  sm_error err = {0};
  sm_set *set = set_for(it, 64, 64);
  must(sm_set_allocate(set, seed, &err), &err);
  return set;
}

/* Rows under their own names, behind `prefix`, and what official files hold beside them. */
static sm_st_reader *official(sm_set *set, const char *prefix) {
  sm_error err = {0};
  char name[256];
  const int64_t index[16 * 16] = {0};
  const float mask[16 * 16] = {0};
  sm_st_writer *w = sm_st_create(path_of("official.safetensors"), SM_ST_AS_DECLARED, &err);
  assert_non_null(w);
  for (int write = 0; write < 2; write++) {
    for (int r = 0; r < sm_set_rows(set); r++) {
      const sm_row *row = sm_set_row(set, r);
      size_t bytes;
      snprintf(name, sizeof name, "%s%s", prefix, row->name);
      if (!write) sm_st_declare(w, name, "F32", row->ndim, row->dim);
      else {
        void *values = sm_set_lend(set, r, SM_VALUES, &bytes);
        sm_st_write(w, name, values, bytes);
        sm_set_give_back(set, r, SM_VALUES, values, false);
      }
    }
    for (int i = 0; i < 2; i++) {
      const char *buffer = i ? "attn_mask" : "attn.relative_position_index";
      snprintf(name, sizeof name, "%slayers.0.blocks.%d.%s", prefix, i, buffer);
      if (write) sm_st_write(w, name, i ? (const void *)mask : index, i ? sizeof mask : sizeof index);
      else sm_st_declare(w, name, i ? "F32" : "I64", 2, (int64_t[]){16, 16});
    }
  }
  must(sm_st_finish(w, &err), &err);
  sm_st_reader *file = sm_st_open(path_of("official.safetensors"), &err);
  if (!file) must(err.code, &err);
  return file;
}

static void same_values(sm_set *a, sm_set *b, int but) {
  for (int r = 0; r < sm_set_rows(a); r++) {
    if (r == but) continue;
    size_t bytes;
    void *x = sm_set_lend(a, r, SM_VALUES, &bytes), *y = sm_set_lend(b, r, SM_VALUES, NULL);
    if (memcmp(x, y, bytes) != 0) fail_msg("%s differs", sm_set_row(a, r)->name);
    sm_set_give_back(a, r, SM_VALUES, x, false);
    sm_set_give_back(b, r, SM_VALUES, y, false);
  }
}

static void load_named(sm_set *to, const sm_st_reader *file, const char *prefix, int ignored, int initial) {
  sm_error err = {0};
  sm_weights_report report;
  const sm_weights_source from = {.file = file, .prefix = prefix};
  const sm_status status = sm_weights_load(&from, to, "", &report, &err);
  if (status) fail_msg("%s\n%s", err.message, report.text.s);
  assert_true(report.ignored == ignored && report.initial == initial && !report.unexpected);
  sm_text_free(&report.text);
}

static void test_foreign_names(void **state) {
  sm_error err = {0};
  sm_instance it = made("{arch: custom, dim: 8, depths: [2, 1, 1], heads: [1, 2, 2], window: 4}");
  sm_set *set = filled(&it, 1), *back = filled(&it, 2);
  sm_st_reader *file = official(set, "teacher.backbone.");
  load_named(back, file, "teacher.backbone.", 2, 0);
  same_values(set, back, -1);
  sm_st_close(file);
  sm_set_free(back);
  back = filled(&it, 3);
  int dropped;
  int64_t elements;
  const sm_weights_about about = {.backbone = "{swin: {}}", .net = "teacher", .recipe = "", .std = {1, 1, 1}};
  must(sm_weights_save(path_of("timm.safetensors"), set, "", SM_WEIGHTS_TIMM, &about, &dropped, &elements,
                       &err),
       &err);
  assert_int_equal(dropped, 1);
  assert_non_null(file = sm_st_open(path_of("timm.safetensors"), &err));
  assert_null(sm_st_find(file, "layers.0.downsample.norm.weight")); /* merging begins the next stage */
  assert_int_equal(sm_st_find(file, "layers.1.downsample.norm.weight")->shape[0], 32);
  assert_int_equal(sm_st_find(file, "layers.2.downsample.reduction.weight")->shape[0], 32);
  load_named(back, file, "", 0, 1);
  same_values(set, back, sm_set_find(set, "masked_embed"));
  sm_st_close(file);
  sm_set_free(set);
  sm_set_free(back);
  sm_instance_free(&it);
}

static int open_all(void **state) {
  arena = sm_arena_new("swin");
  return open_fixture(state) || !arena;
}
static int close_all(void **state) {
  sm_arena_free(arena);
  return close_fixture(state);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_golden),   cmocka_unit_test(test_sizes), cmocka_unit_test(test_spec),
      cmocka_unit_test(test_refusals), cmocka_unit_test(test_rows),  cmocka_unit_test(test_foreign_names),
  };
  return cmocka_run_group_tests(tests, open_all, close_all);
}

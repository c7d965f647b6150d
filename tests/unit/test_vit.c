/* test_vit.c — the forms of the vision transformer beside the networks that they are for: every
 * vit_*.safetensors of the golden folder holds the weights of one, by smalti's names, the options that make
 * it, and what its authors' code gives for pictures, with masks, and for pictures of other sizes. */
#include <math.h>

#include "framework/nn/nn.h"
#include "framework/recipe/recipe.h"

#include "golden.h"
#include "test.h"

enum { MOST_FILES = 64 };

typedef struct network {
  golden *file;
  const char *name;
  sm_arena *arena;
  sm_registry *registry;
  sm_instance instance;
  const sm_backbone_ops *ops;
  sm_pool *pool;
  sm_set *set;
} network;

static void expect_ok(sm_status status, const sm_error *err) {
  char text[2048];
  if (status != SM_OK) fail_msg("%s", sm_error_text(err, text, sizeof text));
}

/* Every row of the set is a tensor of the file, and the other way round; a row that never moves is as the
 * file has it before that is taken. */
static void fill(network *n) {
  int taken = 0;
  for (int r = 0; r < sm_set_rows(n->set); r++) {
    const sm_row *row = sm_set_row(n->set, r);
    char name[160];
    snprintf(name, sizeof name, "model.%s", row->name);
    if (!golden_has(n->file, name) && !strcmp(row->name, "masked_embed")) continue;
    golden_tensor t = golden_get(n->file, name);
    if (t.count != row->size) fail_msg("%s: %s has %lld elements", n->name, row->name, (long long)t.count);
    double *values = golden_doubles(&t);
    for (int64_t i = 0; row->flags & SM_ROW_FROZEN && i < row->size; i++) {
      double own;
      sm_set_read_f64(n->set, r, SM_VALUES, i, 1, &own);
      if (fabs(own - values[i]) > 1e-6) fail_msg("%s: %s[%lld] is %g", n->name, row->name, (long long)i, own);
    }
    sm_set_write_f64(n->set, r, SM_VALUES, 0, row->size, values);
    free(values);
    taken++;
  }
  for (int i = 0; i < golden_tensor_count(n->file); i++)
    taken -= !strncmp(golden_tensor_name(n->file, i), "model.", 6);
  if (taken) fail_msg("%s: the file has %d more tensors than the network", n->name, -taken);
}

static void open_network(network *n, const char *name) {
  sm_error err = {0};
  *n = (network){.name = name, .file = golden_open(name), .arena = sm_arena_new("vit")};
  n->registry = sm_registry_new(NULL, &err);
  const sm_plugin *plugin = sm_registry_find(n->registry, SM_BACKBONE, "vit", &err);
  if (!plugin) expect_ok(SM_ENOTFOUND, &err);
  expect_ok(sm_instance_new(n->registry, plugin, &n->instance, &err), &err);
  expect_ok(sm_options_fill(plugin, golden_text(n->file, "options"), n->instance.self, n->arena, &err), &err);
  expect_ok(sm_instance_create(&n->instance, &err), &err);
  n->ops = plugin->ops;
  assert_non_null(n->pool = sm_pool_new(2, &err));
  golden_tensor image = golden_get(n->file, "image");
  n->set = sm_set_new("v", SM_F32, false, &err);
  n->ops->declare(n->instance.self, (int)image.shape[2], (int)image.shape[3], &(sm_params){n->set, ""});
  expect_ok(sm_set_seal(n->set, SM_MOMENTS_NONE, &err), &err);
  expect_ok(sm_set_allocate(n->set, 1, &err), &err);
  fill(n);
}

static void close_network(network *n) {
  sm_set_free(n->set);
  sm_pool_free(n->pool);
  sm_instance_free(&n->instance);
  sm_registry_free(n->registry);
  sm_arena_free(n->arena);
  golden_close(n->file);
}

typedef struct seen {
  sm_graph *graph;
  sm_tensor *view, *patches;
  int64_t cells;
} seen;

static seen run_network(network *n, const char *pictures, const char *mask) {
  sm_error err = {0};
  sm_backbone_spec spec = {0};
  sm_backbone_out out = {0};
  golden_tensor image = golden_get(n->file, pictures);
  float *pixels = golden_floats(&image);
  expect_ok(n->ops->spec(n->instance.self, (int)image.shape[2], (int)image.shape[3], &spec, &err), &err);
  seen s = {.cells = (int64_t)spec.rows * spec.cols};
  s.graph = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .real = SM_F32, .pool = n->pool}, &err);
  sm_tensor *x = sm_input_real(s.graph, "pictures", 4, image.shape, NULL), *m = NULL;
  if (mask) m = sm_input(s.graph, "mask", SM_U8, 2, (int64_t[]){image.shape[0], s.cells}, NULL);
  int pass = sm_pass_begin(s.graph, "see");
  const sm_backbone_in in = {.pictures = x, .mask = m, .view = true, .patches = true};
  n->ops->build(n->instance.self, s.graph, &(sm_params){n->set, ""}, &in, &out);
  sm_keep(s.graph, s.view = out.view);
  sm_keep(s.graph, s.patches = out.patches);
  sm_pass_end(s.graph);
  sm_status status = sm_graph_plan(s.graph, &err);
  if (!status) status = sm_graph_allocate(s.graph, &err);
  expect_ok(status, &err);
  sm_write(x, 0, image.count, pixels);
  for (int64_t i = 0; m && i < sm_elements(m); i++) {
    golden_tensor hidden = golden_get(n->file, mask);
    sm_fill(m, i, 1, golden_value(&hidden, i));
  }
  sm_graph_run(s.graph, pass);
  free(pixels);
  return s;
}

static void close_to(const network *n, const char *what, double got, double want) {
  if (!(fabs(got - want) <= 1e-4)) fail_msg("%s: %s is %.6f, not %.6f", n->name, what, got, want);
}

/* Tokens of no patch come first, of which the first is the view, unless the file holds that itself. */
static void compare_tokens(network *n, const char *pictures, const char *mask, const char *expected) {
  if (!golden_has(n->file, expected)) return;
  seen s = run_network(n, pictures, mask);
  golden_tensor want = golden_get(n->file, expected);
  const int64_t b = want.shape[0], t = want.shape[1], d = want.shape[2], prefix = t - s.cells;
  for (int64_t i = 0; i < b; i++)
    for (int64_t k = 0; k < s.cells * d; k++)
      close_to(n, expected, sm_get(s.patches, i * s.cells * d + k),
               golden_value(&want, (i * t + prefix) * d + k));
  for (int64_t i = 0; i < b * d && prefix; i++)
    close_to(n, "the view", sm_get(s.view, i), golden_value(&want, i / d * t * d + i % d));
  sm_graph_free(s.graph);
}

static void compare_view(network *n) {
  if (!golden_has(n->file, "expect.view")) return;
  seen s = run_network(n, "image", NULL);
  golden_tensor want = golden_get(n->file, "expect.view");
  assert_int_equal(want.count, sm_elements(s.view));
  for (int64_t i = 0; i < want.count; i++) close_to(n, "the view", sm_get(s.view, i), golden_value(&want, i));
  sm_graph_free(s.graph);
}

/* A classifier over the view. */
static void compare_logits(network *n) {
  if (!golden_has(n->file, "expect.logits")) return;
  seen s = run_network(n, "image", NULL);
  golden_tensor want = golden_get(n->file, "expect.logits"), w = golden_get(n->file, "head.weight"),
                bias = golden_get(n->file, "head.bias");
  const int64_t k = w.shape[0], d = w.shape[1];
  for (int64_t i = 0; i < want.count; i++) {
    double sum = golden_value(&bias, i % k);
    for (int64_t c = 0; c < d; c++) sum += sm_get(s.view, i / k * d + c) * golden_value(&w, i % k * d + c);
    close_to(n, "expect.logits", sum, golden_value(&want, i));
  }
  sm_graph_free(s.graph);
}

static void published_networks(void **state) {
  char *names[MOST_FILES];
  const int files = golden_names("vit_", names, MOST_FILES);
  assert_true(!golden_is_own() || files == 7);
  for (int f = 0; f < files; f++) {
    network n;
    open_network(&n, names[f]);
    compare_tokens(&n, "image", NULL, "expect.tokens");
    compare_tokens(&n, "image", "mask", "expect.tokens_masked");
    compare_view(&n);
    compare_logits(&n);
    for (int r = 0; r < 10; r++) {
      char pictures[16], expected[32];
      snprintf(pictures, sizeof pictures, "rect%d", r);
      snprintf(expected, sizeof expected, "expect.rect%d", r);
      if (golden_has(n.file, expected)) compare_tokens(&n, pictures, NULL, expected);
      snprintf(expected, sizeof expected, "expect.teacher.rect%d", r);
      compare_tokens(&n, pictures, NULL, expected);
    }
    close_network(&n);
    free(names[f]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(published_networks)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

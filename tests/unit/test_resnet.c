/* test_resnet.c — residual networks with batch norm against PyTorch (tests/golden/resnet.py): view, map,
 * gradients, running state after several steps, evaluation; what resnet says of itself and refuses; files with
 * PyTorch's names; student and teacher with running states of their own. */
#include <math.h>

#include "framework/models/weights.h"
#include "framework/nn/nn.h"
#include "framework/recipe/recipe.h"
#include "golden.h"
#include "plugin_fixture.h"

static sm_instance made(const char *options, sm_status *created, sm_error *err) {
  sm_instance it = {0};
  static sm_arena *arena;
  if (!arena) assert_non_null(arena = sm_arena_new("options"));
  const sm_plugin *plugin = sm_registry_find(registry, SM_BACKBONE, "resnet", err);
  if (!plugin) fail_msg("%s", err->message);
  assert_int_equal(sm_instance_new(registry, plugin, &it, err), SM_OK);
  if (sm_options_fill(plugin, options, it.self, arena, err) != SM_OK) fail_msg("%s", err->message);
  *created = sm_instance_create(&it, err);
  return it;
}
static sm_instance good(const char *options) {
  sm_status status;
  sm_error err = {0};
  sm_instance it = made(options, &status, &err);
  if (status) fail_msg("%s", err.message);
  return it;
}

/* ---- PyTorch ------------------------------------------------------------------------------------------- */

typedef struct rig {
  sm_instance it;
  sm_set *set;
  sm_graph *g;
  sm_tensor *count, *pictures, *view, *map, *eval_view, *weight[2];
  int train, update, eval;
} rig;

static void put_all(sm_tensor *to, const golden_tensor *from) {
  double *v = golden_doubles(from);
  sm_write_f64(to, 0, from->count, v);
  free(v);
}

static void build(rig *r, golden *file, sm_dtype real, bool recompute) {
  sm_error err = {0};
  const golden_tensor p = golden_get(file, "pictures"), map = golden_get(file, "map");
  const int64_t dim[] = {p.shape[1], p.shape[2], p.shape[3], p.shape[4]};
  const sm_backbone_ops *ops = (r->it = good(golden_text(file, "options"))).plugin->ops;
  const sm_params params = {r->set = sm_set_new("student", real, true, &err), "net."};
  ops->declare(r->it.self, (int)dim[2], (int)dim[3], &params);
  assert_int_equal(sm_set_seal(r->set, SM_MOMENTS_NONE, &err), SM_OK);
  r->g = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .real = real, .pool = pool}, &err);
  sm_graph_recompute(r->g, recompute);
  r->count = sm_count(r->g, "pictures", dim[0]);
  r->pictures = sm_input_real(r->g, "pictures", 4, dim, r->count);
  r->weight[0] = sm_input_real(r->g, "view weight", 2, (int64_t[]){dim[0], map.shape[2]}, r->count);
  r->weight[1] = sm_input_real(r->g, "map weight", 3, map.shape, r->count);
  sm_backbone_in in = {.pictures = r->pictures, .training = true, .view = true, .patches = true};
  sm_backbone_out out = {0};
  r->train = sm_pass_begin(r->g, "train");
  ops->build(r->it.self, r->g, &params, &in, &out);
  sm_keep(r->g, r->view = out.view), sm_keep(r->g, r->map = out.patches);
  sm_loss_term(r->g, sm_mul(r->g, r->view, r->weight[0]));
  sm_loss_term(r->g, sm_mul(r->g, r->map, r->weight[1]));
  sm_pass_backward(r->g);
  sm_pass_end(r->g);
  assert_true(sm_running_pending(r->g));
  r->update = sm_pass_begin(r->g, "update");
  sm_running_update(r->g);
  sm_pass_end(r->g);
  assert_false(sm_running_pending(r->g));
  in.training = false;
  r->eval = sm_pass_begin(r->g, "eval");
  ops->build(r->it.self, r->g, &params, &in, &out);
  sm_keep(r->g, r->eval_view = out.view);
  sm_pass_end(r->g);
  if (sm_graph_plan(r->g, &err) || sm_set_allocate(r->set, 1, &err) || sm_graph_allocate(r->g, &err))
    fail_msg("%s", err.message);
}

static const char *short_name(const sm_row *row) { return row->name + strlen("net."); }

static void load(rig *r, golden *file) {
  int found = 0;
  for (int i = 0; i < sm_set_rows(r->set); i++) {
    const sm_row *row = sm_set_row(r->set, i);
    if (row->flags & SM_ROW_NO_EXPORT) continue;
    const golden_tensor t = golden_getf(file, "state.%s", short_name(row));
    double *v = golden_doubles(&t);
    assert_int_equal(t.count, row->size);
    assert_true(sm_set_write_f64(r->set, i, SM_VALUES, 0, row->size, v));
    free(v);
    found++;
  }
  const golden_tensor view = golden_get(file, "view_weight"), map = golden_get(file, "map_weight");
  put_all(r->weight[0], &view), put_all(r->weight[1], &map);
  int in_file = 0;
  for (int i = 0; i < golden_tensor_count(file); i++)
    in_file += !strncmp(golden_tensor_name(file, i), "state.", 6);
  assert_int_equal(found, in_file);
}

/* The largest difference, relative to the largest value. */
static void expect(const char *what, const char *name, const double *got, const golden_tensor *want,
                   double most) {
  double worst = 0, scale = 1e-3;
  for (int64_t k = 0; k < want->count; k++) {
    worst = fmax(worst, fabs(got[k] - golden_value(want, k)));
    scale = fmax(scale, fabs(golden_value(want, k)));
    if (isnan(got[k])) worst = INFINITY;
  }
  if (!(worst <= most * scale)) fail_msg("%s %s is off by %g of %g", what, name, worst, scale);
}

static void expect_tensor(const char *what, const sm_tensor *t, const golden_tensor *want, double most) {
  double *got = test_calloc((size_t)want->count, sizeof *got);
  assert_int_equal(sm_elements(t), want->count);
  sm_read_f64(t, 0, want->count, got);
  expect(what, "", got, want, most);
  test_free(got);
}

static void expect_rows(const rig *r, golden *file, const char *prefix, sm_buffer which, double most) {
  int compared = 0;
  for (int i = 0; i < sm_set_rows(r->set); i++) {
    const sm_row *row = sm_set_row(r->set, i);
    char name[96];
    snprintf(name, sizeof name, "%s.%s", prefix, short_name(row));
    if (!golden_has(file, name)) continue;
    const golden_tensor want = golden_get(file, name);
    double *got = test_calloc((size_t)want.count, sizeof *got);
    assert_true(sm_set_read_f64(r->set, i, which, 0, want.count, got));
    expect(prefix, row->name, got, &want, most);
    test_free(got);
    compared++;
  }
  assert_true(compared > 10);
}

static void agrees(golden *file, sm_dtype real, bool recompute, double most) {
  rig r = {0};
  build(&r, file, real, recompute);
  load(&r, file);
  const golden_tensor p = golden_get(file, "pictures"), view = golden_get(file, "view"),
                      map = golden_get(file, "map"), eval = golden_get(file, "eval_view");
  double *all = golden_doubles(&p);
  const int64_t steps = p.shape[0], size = p.count / steps;
  for (int64_t s = 0; s < steps; s++) {
    sm_write_f64(r.pictures, 0, size, all + s * size);
    sm_graph_run(r.g, r.train);
    if (s == 0) {
      expect_tensor("view", r.view, &view, most);
      expect_tensor("map", r.map, &map, most);
      expect_rows(&r, file, "grad", SM_GRADIENTS, most);
    }
    sm_graph_run(r.g, r.update);
  }
  expect_rows(&r, file, "after", SM_VALUES, most);
  sm_write_f64(r.pictures, 0, size, all);
  sm_graph_run(r.g, r.eval);
  expect_tensor("view in evaluation", r.eval_view, &eval, most);
  free(all);
  sm_graph_free(r.g);
  sm_set_free(r.set);
  sm_instance_free(&r.it);
}

static void as_pytorch_has_it(void **state) {
  char *names[16];
  const int n = golden_names("resnet_", names, 16);
  for (int i = 0; i < n; i++) {
    golden *file = golden_open(names[i]);
    agrees(file, SM_F64, false, 1e-6); /* the file holds F32 */
    agrees(file, SM_F64, true, 1e-6);
    agrees(file, SM_F32, false, 1e-4);
    golden_close(file);
    free(names[i]);
  }
}

/* Two micro-batches: each normalised alone, the state moved once, by the mean over all their rows. */
static void micro_batches_move_the_state_once(void **state) {
  golden *file = golden_open("resnet_basic.safetensors");
  const golden_tensor p = golden_get(file, "pictures");
  const int64_t batch = p.shape[1], size = p.count / p.shape[0], one = size / batch;
  double *all = golden_doubles(&p);
  rig r = {0};
  build(&r, file, SM_F64, false);
  load(&r, file);
  const int row = sm_set_find(r.set, "net.bn1.running_var");
  double before, stat[2], after;
  assert_true(batch >= 2 && sm_set_read_f64(r.set, row, SM_VALUES, 0, 1, &before));
  for (int k = 0; k < 2; k++) { /* what each picture alone makes of it */
    load(&r, file);
    sm_put(r.count, 1);
    sm_write_f64(r.pictures, 0, one, all + k * one);
    sm_graph_run(r.g, r.train);
    sm_graph_run(r.g, r.update);
    sm_set_read_f64(r.set, row, SM_VALUES, 0, 1, &after);
    stat[k] = (after - 0.9 * before) / 0.1;
  }
  load(&r, file);
  for (int k = 0; k < 2; k++) {
    sm_write_f64(r.pictures, 0, one, all + k * one);
    sm_graph_run(r.g, r.train);
  }
  sm_graph_run(r.g, r.update);
  sm_set_read_f64(r.set, row, SM_VALUES, 0, 1, &after);
  assert_float_equal(after, 0.9 * before + 0.1 * (stat[0] + stat[1]) / 2, 1e-9);
  sm_put(r.count, 0); /* a step without pictures of this size moves nothing */
  sm_graph_run(r.g, r.train);
  sm_graph_run(r.g, r.update);
  double still;
  sm_set_read_f64(r.set, row, SM_VALUES, 0, 1, &still);
  assert_true(still == after);
  free(all);
  sm_graph_free(r.g);
  sm_set_free(r.set);
  sm_instance_free(&r.it);
  golden_close(file);
}

/* ---- what it says of itself ---------------------------------------------------------------------------- */

/* Trainable numbers of torchvision's networks with fc = Identity(), and the mask token's three. */
static void sizes_are_torchvisions(void **state) {
  static const struct {
    const char *options;
    int dim, layers;
    int64_t parameters;
  } cases[] = {{"{arch: resnet18}", 512, 8, 11176512},
               {"{arch: resnet34}", 512, 16, 21284672},
               {"{}", 2048, 16, 23508032},
               {"{arch: resnet101}", 2048, 33, 42500160},
               {"{arch: resnet152}", 2048, 50, 58143808},
               {"{groups: 32, group_width: 4}", 2048, 16, 22979904},
               {"{group_width: 128}", 2048, 16, 66834240}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    sm_error err = {0};
    sm_instance it = good(cases[i].options);
    const sm_backbone_ops *ops = it.plugin->ops;
    sm_backbone_spec spec = {0};
    assert_int_equal(ops->spec(it.self, 224, 96, &spec, &err), SM_OK);
    assert_true(spec.dim == cases[i].dim && spec.layers == cases[i].layers && spec.batch_norm);
    assert_true(spec.rows == 7 && spec.cols == 3 && spec.cell == 32 && spec.heads == 0 && spec.blocks == 4);
    assert_true(spec.block[0].rows == 56 && spec.block[0].dim == spec.dim / 8);
    sm_set *set = sm_set_new("s", SM_F32, true, &err);
    ops->declare(it.self, 224, 224, &(sm_params){set, ""});
    assert_int_equal(sm_set_seal(set, SM_MOMENTS_NONE, &err), SM_OK);
    assert_int_equal(sm_set_parameters(set), cases[i].parameters + 3);
    const sm_row *last = sm_set_row(set, sm_set_find(set, "layer4.0.downsample.1.running_var"));
    assert_true(last->flags == (SM_ROW_RUNNING | SM_ROW_FROZEN) && last->dim[0] == spec.dim);
    sm_set_free(set);
    sm_instance_free(&it);
  }
}

static void refusals_name_the_remedy(void **state) {
  static const struct {
    const char *options, *message;
  } cases[] = {{"{depths: [1, 2]}", "depths has 2 numbers, but there are 4 stages"},
               {"{arch: custom}", "arch 'custom' needs depths"},
               {"{arch: resnet18, groups: 2}", "basic blocks have no groups"},
               {"{width: 8, group_width: 4}", "a width of 8 in groups of 4 leaves no channel"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    sm_status status;
    sm_error err = {0};
    sm_instance it = made(cases[i].options, &status, &err);
    assert_int_equal(status, SM_EINVAL);
    if (!strstr(err.message, cases[i].message)) fail_msg("'%s' does not say '%s'", err.message, cases[i].message);
    assert_true(err.hint[0] != 0);
    sm_instance_free(&it);
  }
  sm_instance it = good("{arch: resnet18}");
  sm_backbone_spec spec = {0};
  sm_error err = {0};
  assert_int_equal(((const sm_backbone_ops *)it.plugin->ops)->spec(it.self, 100, 100, &spec, &err),
                   SM_EINVAL);
  assert_string_equal(err.message, "views of 100 pixels cannot be cut into cells of 32");
  sm_instance_free(&it);
}

/* zero_init: the last norm of each block, and no other. */
static void zero_init_is_the_last_gain(void **state) {
  static const char *const options[] = {"{arch: custom, depths: [1, 1, 1, 1], width: 2}",
                                        "{arch: custom, depths: [1, 1, 1, 1], width: 2, zero_init: true}"};
  for (int zero = 0; zero < 2; zero++) {
    sm_error err = {0};
    sm_instance it = good(options[zero]);
    sm_set *set = sm_set_new("s", SM_F32, true, &err);
    ((const sm_backbone_ops *)it.plugin->ops)->declare(it.self, 32, 32, &(sm_params){set, ""});
    assert_int_equal(sm_set_seal(set, SM_MOMENTS_NONE, &err), SM_OK);
    assert_int_equal(sm_set_allocate(set, 1, &err), SM_OK);
    float first, last;
    sm_set_read(set, sm_set_find(set, "layer2.0.bn1.weight"), SM_VALUES, 0, 1, &first);
    sm_set_read(set, sm_set_find(set, "layer2.0.bn2.weight"), SM_VALUES, 1, 1, &last);
    assert_true(first == 1 && last == (zero ? 0 : 1));
    sm_set_free(set);
    sm_instance_free(&it);
  }
}

/* ---- teacher, files ------------------------------------------------------------------------------------ */

static void declare_pair(const sm_params *p) {
  sm_declare(p, "bn.weight", SM_INIT_ONES, 0, 0, 1, (int64_t[]){3});
  sm_declare(p, "bn.running_mean", SM_INIT_ZEROS, 0, SM_ROW_RUNNING, 1, (int64_t[]){3});
  sm_declare(p, "bn.running_var", SM_INIT_ONES, 0, SM_ROW_RUNNING, 1, (int64_t[]){3});
}

/* A copy takes them along, an average leaves them, and no optimiser touches them. */
static void teachers_keep_their_own(void **state) {
  sm_error err = {0};
  sm_set *teacher = sm_set_new("teacher", SM_F32, false, &err),
         *student = sm_set_new("student", SM_F32, true, &err);
  declare_pair(&(sm_params){teacher, ""}), declare_pair(&(sm_params){student, ""});
  assert_int_equal(sm_set_seal(teacher, SM_MOMENTS_NONE, &err), SM_OK);
  assert_int_equal(sm_set_seal(student, SM_MOMENTS_ONE, &err), SM_OK);
  sm_ema_link *link = sm_ema_link_new(teacher, student, &err);
  assert_non_null(link);
  assert_int_equal(sm_set_allocate(student, 1, &err), SM_OK);
  sm_set_fill(student, 1, SM_VALUES, 5);
  assert_int_equal(sm_set_allocate_from(teacher, student, 1, &err), SM_OK);
  float v;
  sm_set_read(teacher, 1, SM_VALUES, 0, 1, &v);
  assert_true(v == 5); /* where the run begins, as load_state_dict does it */
  sm_set_fill(student, 0, SM_VALUES, 3), sm_set_fill(student, 1, SM_VALUES, 7);
  sm_set_fill(student, 0, SM_GRADIENTS, 1), sm_set_fill(student, 1, SM_GRADIENTS, 1);
  sm_ema_run(link, pool, 0.5);
  sm_set_read(teacher, 0, SM_VALUES, 0, 1, &v);
  assert_true(v == 2);
  sm_set_read(teacher, 1, SM_VALUES, 0, 1, &v);
  assert_true(v == 5);
  const sm_optimizer_config sgd = {.kind = SM_SGD, .momentum = 0.9};
  sm_optimizer_run(&sgd, student, pool, &(sm_optimizer_step){.lr = 1, .weight_decay = 1, .ema = link}, NULL);
  sm_set_read(student, 1, SM_VALUES, 0, 1, &v);
  assert_true(v == 7);
  sm_set_read(student, 0, SM_VALUES, 0, 1, &v);
  assert_true(v == 2); /* a gain is trained, and not decayed */
  sm_ema_link_free(link);
  sm_set_free(teacher);
  sm_set_free(student);
}

/* PyTorch's count of batches is no tensor of ours; other names still are. */
static void counters_of_pytorch_are_left(void **state) {
  sm_error err = {0};
  const int64_t three = 3;
  const float mean[] = {1, 2, 3};
  sm_set *set = sm_set_new("s", SM_F32, false, &err);
  declare_pair(&(sm_params){set, ""});
  assert_int_equal(sm_set_seal(set, SM_MOMENTS_NONE, &err), SM_OK);
  assert_int_equal(sm_set_allocate(set, 1, &err), SM_OK);
  for (int stray = 0; stray < 2; stray++) {
    const char *count = stray ? "bn.num_batches" : "bn.num_batches_tracked";
    sm_st_writer *w = sm_st_create("bn.safetensors", SM_ST_AS_DECLARED, &err);
    static const char *const names[] = {"bn.running_mean", "bn.running_var", "bn.weight"};
    for (int i = 0; i < 3; i++) sm_st_declare(w, names[i], "F32", 1, &three);
    sm_st_declare(w, count, "I64", 0, NULL);
    for (int i = 0; i < 3; i++) sm_st_write(w, names[i], mean, sizeof mean);
    sm_st_write(w, count, (int64_t[]){9}, sizeof(int64_t));
    assert_int_equal(sm_st_finish(w, &err), SM_OK);
    sm_st_reader *file = sm_st_open("bn.safetensors", &err);
    sm_weights_report report = {0};
    const sm_status got =
        sm_weights_load(&(sm_weights_source){.file = file, .prefix = ""}, set, "", &report, &err);
    assert_int_equal(got, stray ? SM_EINVAL : SM_OK);
    assert_true(stray ? report.unexpected == 1 : report.taken == 3 && report.ignored == 1);
    sm_text_free(&report.text);
    sm_st_close(file);
  }
  float v;
  sm_set_read(set, 1, SM_VALUES, 2, 1, &v);
  assert_true(v == 3);
  sm_set_free(set);
}

/* ---- errors of the ops --------------------------------------------------------------------------------- */

static void wrong_shapes_are_named(void **state) {
  sm_error err = {0};
  static const struct {
    sm_conv_shape shape;
    const char *says;
  } cases[] = {{{4, 5, 1, 1, 3}, "a weight (O, C/groups, k, k) for x's channels and these groups"},
               {{4, 5, -1, 1, 2}, "pictures that a window fits into, with a stride of 1 or more"},
               {{4, 6, 1, 1, 2}, "pictures (B, H·W, C)"},
               {{2, 10, 1, 0, 2}, "pictures that a window fits into"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    sm_graph *g = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .real = SM_F32, .pool = pool}, &err);
    sm_tensor *x = sm_input_real(g, "x", 3, (int64_t[]){2, 20, 4}, NULL),
              *w = sm_input_real(g, "w", 4, (int64_t[]){6, 2, 3, 3}, NULL);
    sm_pass_begin(g, "p");
    sm_convolve(g, x, w, NULL, &cases[i].shape);
    sm_pass_end(g);
    assert_int_equal(sm_graph_plan(g, &err), SM_EINVAL);
    if (!strstr(err.message, cases[i].says)) fail_msg("'%s' does not say '%s'", err.message, cases[i].says);
    sm_graph_free(g);
  }
  assert_int_equal(sm_window_count(224, 7, 2, 3), 112);
  assert_int_equal(sm_window_count(2, 5, 1, 1), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(as_pytorch_has_it),
      cmocka_unit_test(micro_batches_move_the_state_once),
      cmocka_unit_test(sizes_are_torchvisions),
      cmocka_unit_test(refusals_name_the_remedy),
      cmocka_unit_test(zero_init_is_the_last_gain),
      cmocka_unit_test(teachers_keep_their_own),
      cmocka_unit_test(counters_of_pytorch_are_left),
      cmocka_unit_test(wrong_shapes_are_named),
  };
  return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}

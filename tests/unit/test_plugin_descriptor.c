/* test_plugin_descriptor.c — what is refused in module fields, descriptors, option tables and ops tables, in
 * words. */
#include <math.h>

#include "framework/plugin/registry.h"
#include "framework/plugin/kind.h"
#include "framework/plugin/loader.h"
#include "framework/plugin/registry_private.h"

#include "test.h"

static sm_error err;

struct masker {
  int64_t i;
  double f;
  bool b;
  const char *s;
  int c;
  sm_floats list;
  sm_ints ints;
  sm_schedule schedule;
};

static double ratio(const void *self) {
  (void)self;
  return 0;
}

static void draw(const void *self, const sm_mask_request *request, uint8_t *mask) {
  (void)self, (void)request, (void)mask;
}

static const sm_masker_ops ops = {.max_ratio = ratio, .draw = draw};
static const char *const colours[] = {"red", "green", NULL};

static sm_plugin sound(void) {
  return (sm_plugin){.kind = SM_MASKER,
                     .name = "m",
                     .summary = "Hides nothing",
                     .version = "1",
                     .license = "MIT",
                     .ops = &ops,
                     .instance_size = sizeof(struct masker)};
}

/* ---- module fields --------------------------------------------------------------------------------- */

static void expect_module(const sm_module *m, const char *message) {
  assert_int_not_equal(sm_module_check(m, "m.so", &err), SM_OK);
  assert_string_equal(err.message, message);
  assert_string_equal(err.place, "m.so");
}

static void module_fields_are_checked(void **state) {
  const sm_plugin p = sound(), *const plugins[] = {&p, &p}, *const holes[] = {NULL};
  const sm_module good = {&sm_core_identity, 1, plugins};
  assert_int_equal(sm_module_check(&good, "m.so", &err), SM_OK);
  sm_module m = good;
  m.core = NULL;
  expect_module(&m, "module field 'core' is NULL; it must be &sm_core_identity");
  m = good, m.n_plugins = 0;
  expect_module(&m, "module field 'n_plugins' is 0, not 1 to 1024");
  m = good, m.plugins = NULL;
  expect_module(&m, "module field 'plugins' is NULL");
  m = good, m.plugins = holes;
  expect_module(&m, "plugin 0 of the module is NULL");
  m = good, m.n_plugins = 2;
  expect_module(&m, "the module has two plugins called masker 'm' (0 and 1)");
}

/* ---- descriptor ------------------------------------------------------------------------------------ */

static void expect(const sm_plugin *p, const char *message) {
  sm_error_clear(&err);
  assert_int_not_equal(sm_descriptor_check(p, &err), SM_OK);
  assert_string_equal(err.message, message);
}

static void descriptor_fields_are_named(void **state) {
  char text[160];
  sm_plugin p = sound();
  assert_int_equal(sm_descriptor_check(&p, &err), SM_OK);
  p.name = NULL;
  expect(&p, "a descriptor's name is NULL");
  p = sound(), p.kind = 9;
  expect(&p, "plugin 'm': kind is 9, not 1 to 8");
  p = sound(), p.name = "Bad-Name";
  expect(&p, "masker 'Bad-Name': the name must be 1 to 63 of a-z, 0-9 and _");
  p = sound(), p.name = "";
  expect(&p, "masker '': the name must be 1 to 63 of a-z, 0-9 and _");
  p = sound(), p.version = "";
  expect(&p, "masker 'm': version is empty");
  p = sound(), p.license = NULL;
  expect(&p, "masker 'm': license is NULL");
  p = sound(), p.instance_size = SIZE_MAX;
  snprintf(text, sizeof text, "masker 'm': instance_size is %zu bytes, above 67108864", SIZE_MAX);
  expect(&p, text);
  p = sound(), p.n_options = 3;
  expect(&p, "masker 'm': n_options is 3 but options is NULL");
  p = sound(), p.n_options = 1000;
  expect(&p, "masker 'm': n_options is 1000, above 256");
  p = sound(), p.ops = NULL;
  expect(&p, "masker 'm': ops is NULL");
}

static void ops_tables_are_checked_for_every_kind(void **state) {
  char text[160];
  void *const zeros[64] = {0};
  static const char *const first[] = {NULL, "spec", "declare", "max_ratio", "spec", "spec", "open", "run",
                                     "spec"};
  for (uint32_t kind = 1; kind < SM_KIND_END; kind++) {
    const char *name = sm_kind_name((sm_kind)kind);
    sm_plugin p = sound();
    p.kind = kind, p.ops = zeros;
    snprintf(text, sizeof text, "%s 'm': the callback '%s' is NULL", name, first[kind]);
    expect(&p, text);
    assert_int_equal(sm_kind_named(name), kind);
  }
  assert_int_equal(sm_kind_named("maskers"), SM_MASKER);
  assert_int_equal(sm_kind_named("losses"), SM_LOSS);
  assert_int_equal(sm_kind_named("mask"), 0);
  assert_string_equal(sm_kind_name((sm_kind)0), "unknown kind");
}

/* ---- options --------------------------------------------------------------------------------------- */

/* One option; `problem` is what follows "masker 'm': option 'x': " ("masker 'm': " for defaults), NULL if it
 * is sound. */
static void try_option(sm_option o, const char *problem) {
  char text[256];
  sm_plugin p = sound();
  if (!o.name) o.name = "x";
  if (!o.doc) o.doc = "Something";
  p.options = &o, p.n_options = 1;
  if (!problem) {
    if (sm_descriptor_check(&p, &err) != SM_OK) fail_msg("%s", err.message);
    return;
  }
  if (strncmp(problem, "the default", 11) == 0) snprintf(text, sizeof text, "masker 'm': %s", problem);
  else snprintf(text, sizeof text, "masker 'm': option '%s': %s", o.name, problem);
  expect(&p, text);
}

#define AT(field) .offset = offsetof(struct masker, field)

static void option_rows_are_checked(void **state) {
  char text[160];
  sm_plugin p = sound();
  sm_option o = {.name = "x", .type = SM_OPT_INT, .def = "1", .doc = ""}, two[2];
  p.options = &o, p.n_options = 1;
  expect(&p, "masker 'm': option 'x': doc is empty");
  o.doc = NULL;
  expect(&p, "masker 'm': option 'x': doc is NULL");
  o.name = NULL;
  expect(&p, "masker 'm': option 0 has no name");
  try_option((sm_option){.name = "a b"}, "the name may hold only a-z, 0-9 and _");
  try_option((sm_option){.type = (sm_option_type)77}, "type 77 is not one of the 9 option types");
  snprintf(text, sizeof text, "offset 100000 and 8 bytes lie beyond the instance's %zu bytes (instance_size)",
           sizeof(struct masker));
  try_option((sm_option){.offset = 100000}, text);
  snprintf(text, sizeof text, "offset %zu and 8 bytes lie beyond the instance's %zu bytes (instance_size)",
           sizeof(struct masker) - 4, sizeof(struct masker));
  try_option((sm_option){.offset = sizeof(struct masker) - 4}, text);
  try_option((sm_option){.offset = 4}, "offset 4 is not a multiple of 8, as int needs");
  try_option((sm_option){.min = 3, .max = 2, .def = "3"}, "min 3 is not below max 2");
  try_option((sm_option){.min = NAN, .max = 2, .def = "2"}, "min nan is not below max 2");
  try_option((sm_option){.type = SM_OPT_CHOICE, AT(c)}, "a choice needs a list of choices");
  p = sound(), p.options = two, p.n_options = 2;
  two[0] = (sm_option){.name = "x", .type = SM_OPT_INT, .def = "1", .doc = "d", AT(i)};
  two[1] = (sm_option){.name = "x", .type = SM_OPT_FLOAT, .def = "1", .doc = "d", AT(f)};
  expect(&p, "masker 'm': two options are called 'x'");
  two[1].name = "y", two[1].offset = 0;
  expect(&p, "masker 'm': options 'x' and 'y' lie on the same bytes of the instance");
}

/* Where the plugin wants its host: a pointer's place in the instance, of no option. */
static void the_host_has_a_place(void **state) {
  const sm_option option = {.name = "s", .type = SM_OPT_STRING, .def = "~", .doc = "d", AT(s)};
  sm_instance instance;
  char text[160];
  sm_plugin p = sound();
  p.host = offsetof(struct masker, s);
  assert_int_equal(sm_descriptor_check(&p, &err), SM_OK);
  assert_int_equal(sm_instance_new((const sm_host *)&err, &p, &instance, &err), SM_OK);
  assert_ptr_equal(((struct masker *)instance.self)->s, &err);
  sm_instance_free(&instance);
  p.options = &option, p.n_options = 1;
  expect(&p, "masker 'm': option 's' and the host lie on the same bytes of the instance");
  p.n_options = 0;
  const size_t wrong[] = {sizeof(struct masker), offsetof(struct masker, s) + 1};
  for (int i = 0; i < 2; i++) {
    p.host = wrong[i];
    snprintf(text, sizeof text,
             "masker 'm': host %zu is no place of a pointer in the instance's %zu bytes (instance_size)",
             wrong[i], sizeof(struct masker));
    expect(&p, text);
  }
}

static void defaults_must_read_and_lie_in_range(void **state) {
  const struct {
    sm_option o;
    const char *problem;
  } cases[] = {
      {{.type = SM_OPT_INT, .def = NULL}, NULL}, /* required */
      {{.type = SM_OPT_INT, .def = "5", .min = 1, .max = 5}, NULL},
      {{.type = SM_OPT_INT, .def = "6", .min = 1, .max = 5},
       "the default '6' of x is wrong: x must be a whole number between 1 and 5, not '6'"},
      {{.type = SM_OPT_INT, .def = "1.5"},
       "the default '1.5' of x is wrong: x must be a whole number, not '1.5'"},
      {{.type = SM_OPT_INT, .def = "~"}, "default '~' (left out) is for strings, paths and lists only"},
      {{.type = SM_OPT_FLOAT, .def = "5.0e-4", AT(f)}, NULL},
      {{.type = SM_OPT_FLOAT, .def = "-0.5", .min = 0, .max = 1, AT(f)},
       "the default '-0.5' of x is wrong: x must be a number between 0 and 1, not '-0.5'"},
      {{.type = SM_OPT_FLOAT, .def = "inf", AT(f)},
       "the default 'inf' of x is wrong: x must be a number, not 'inf'"},
      {{.type = SM_OPT_FLOAT, .def = "", AT(f)},
       "the default '' of x is wrong: x must be a number, not nothing"},
      {{.type = SM_OPT_BOOL, .def = "true", AT(b)}, NULL},
      {{.type = SM_OPT_BOOL, .def = "yes", AT(b)},
       "the default 'yes' of x is wrong: x must be true or false, not 'yes'"},
      {{.type = SM_OPT_STRING, .def = "~", AT(s)}, NULL},
      {{.type = SM_OPT_PATH, .def = "a/b c", AT(s)}, NULL},
      {{.type = SM_OPT_CHOICE, .def = "green", .choices = colours, AT(c)}, NULL},
      {{.type = SM_OPT_CHOICE, .def = "blue", .choices = colours, AT(c)},
       "the default 'blue' of x is wrong: x must be one of red, green, not 'blue'"},
      {{.type = SM_OPT_FLOATS, .def = "[0.0, 0.3]", .min = 0, .max = 1, AT(list)}, NULL},
      {{.type = SM_OPT_FLOATS, .def = "0.3", AT(list)}, NULL},
      {{.type = SM_OPT_FLOATS, .def = "[]", AT(list)},
       "the default '[]' of x is wrong: x must have 1 to 32 numbers, not 0"},
      {{.type = SM_OPT_FLOATS, .def = "~", AT(list)}, NULL},
      {{.type = SM_OPT_FLOATS, .def = "[0.3, 2]", .min = 0, .max = 1, AT(list)},
       "the default '[0.3, 2]' of x is wrong: x must be a number or list of numbers, each between 0 and 1, not '2'"},
      {{.type = SM_OPT_FLOATS, .def = "[0.3", AT(list)},
       "the default '[0.3' of x is wrong: not valid YAML: did not find expected ',' or ']'"},
      {{.type = SM_OPT_INTS, .def = "[10, 20]", AT(ints)}, NULL},
      {{.type = SM_OPT_INTS, .def = "[10, 2.5]", AT(ints)},
       "the default '[10, 2.5]' of x is wrong: x must be a whole number or list of them, not '2.5'"},
      {{.type = SM_OPT_INTS,
        .def = "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]",
        AT(ints)},
       "the default '[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]' of x is wrong: x must have 1 to 32 numbers, not 33"},
      {{.type = SM_OPT_SCHEDULE, .def = "0.1", .min = 0, .max = 1, AT(schedule)}, NULL},
      {{.type = SM_OPT_SCHEDULE,
        .def = "{from: 0.04, to: 0.07, shape: linear, per: epoch, epochs: 30}",
        .min = 0.01,
        .max = 1,
        AT(schedule)},
       NULL},
      {{.type = SM_OPT_SCHEDULE, .def = "{from: 0.04, to: 7}", .min = 0, .max = 1, AT(schedule)},
       "the default '{from: 0.04, to: 7}' of x is wrong: x.to must be a number between 0 and 1, not '7'"},
      {{.type = SM_OPT_SCHEDULE, .def = "{from: 1, to: 2, form: 1}", AT(schedule)},
       "the default '{from: 1, to: 2, form: 1}' of x is wrong: unknown key 'form' in x"},
      {{.type = SM_OPT_SCHEDULE, .def = "{from: 1, to: 2, shape: round}", AT(schedule)},
       "the default '{from: 1, to: 2, shape: round}' of x is wrong: x.shape must be one of constant, cosine, linear, not 'round'"},
      {{.type = SM_OPT_SCHEDULE, .def = "{from: 1, to: 2, per: day}", AT(schedule)},
       "the default '{from: 1, to: 2, per: day}' of x is wrong: x.per must be one of step, epoch, not 'day'"},
      {{.type = SM_OPT_SCHEDULE, .def = "{from: 1}", AT(schedule)},
       "the default '{from: 1}' of x is wrong: x has no 'to'"},
      {{.type = SM_OPT_SCHEDULE, .def = "a b", AT(schedule)},
       "the default 'a b' of x is wrong: x must be a number or schedule {from: A, to: B} of numbers, not 'a b'"},
  };
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) try_option(cases[k].o, cases[k].problem);
}

static void built_in_plugins_are_checked_too(void **state) {
  sm_registry *r = sm_registry_new(NULL, &err);
  sm_plugin p = sound(), q = sound();
  assert_int_equal(sm_registry_add_builtin(r, &p, &err), SM_OK);
  assert_string_equal(sm_registry_file(r, &p), "(built in)");
  assert_ptr_equal(sm_registry_find(r, SM_MASKER, "m", &err), &p);
  assert_int_equal(sm_registry_add_builtin(r, &q, &err), SM_EINVAL);
  assert_string_equal(err.message, "masker 'm' is given by two files: (built in) and (built in)");
  q.name = NULL;
  assert_int_equal(sm_registry_add_builtin(r, &q, NULL), SM_EINVAL);
  sm_registry_free(r);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(module_fields_are_checked),
      cmocka_unit_test(descriptor_fields_are_named),
      cmocka_unit_test(ops_tables_are_checked_for_every_kind),
      cmocka_unit_test(option_rows_are_checked),
      cmocka_unit_test(the_host_has_a_place),
      cmocka_unit_test(defaults_must_read_and_lie_in_range),
      cmocka_unit_test(built_in_plugins_are_checked_too),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

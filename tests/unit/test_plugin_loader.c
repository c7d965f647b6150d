/* test_plugin_loader.c — module files: each way to be wrong with its exact words, the registry, instances,
 * and mutated ELF files thrown at the note reader. */
#define _GNU_SOURCE /* memmem */
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <elf.h>
#include <link.h>

#include "framework/plugin/registry.h"
#include "framework/base/heap.h"
#include "framework/plugin/loader.h"
#include "framework/plugin/note.h"
#include "framework/plugin/registry_private.h"

#include "test.h"

enum { SOUND_PLUGINS = 24 }; /* in all test modules that load */

static char modules[512]; /* where the test plugins lie */
static char scratch[512]; /* this test's own folder     */
static sm_error err;

static const char *module_path(const char *name) {
  static char path[768];
  snprintf(path, sizeof path, "%s/%s.so", modules, name);
  return path;
}

static const char *scratch_path(const char *name) {
  static char path[768];
  snprintf(path, sizeof path, "%s/%s", scratch, name);
  return path;
}

static void copy_to(const char *from, const char *to) {
  char *data;
  size_t bytes;
  assert_int_equal(sm_file_get(from, 1 << 24, &data, &bytes, &err), SM_OK);
  assert_int_equal(sm_file_put(to, data, bytes, &err), SM_OK);
  sm_free(data);
}

/* ---- refusals ------------------------------------------------------------------------------------------ */

static void expect_refusal(const char *file, sm_status code, const char *message, const char *hint) {
  sm_registry *r = sm_registry_new(NULL, &err);
  assert_non_null(r);
  assert_int_equal(sm_registry_load(r, file, &err), code);
  assert_string_equal(err.message, message);
  assert_string_equal(err.hint, hint);
  assert_string_equal(err.place, file);
  assert_int_equal(sm_registry_load(r, file, NULL),
                   code); /* without an error object the status still comes */
  assert_int_equal(sm_registry_count(r), 0);
  sm_registry_free(r);
}

static void module_refusals_say_what_and_why(void **state) {
  static const struct {
    const char *module;
    sm_status code;
    const char *message, *hint;
  } cases[] = {
      {"no_note", SM_EFORMAT,
       "a shared object, but not a smalti plugin: it has no version note (section .note.smalti)",
       "a plugin's source ends with SM_MODULE(&PLUGIN), which writes the note; build it again"},
      {"missing_symbol", SM_EUNSUPPORTED,
       "the plugin uses 'sm_from_the_future', which neither smalti 0.1.0 nor a library it is linked with has",
       "is it a public function? Then build the plugin against this smalti (pkg-config smalti)"},
      {"no_entry", SM_EINVAL, "the plugin does not export 'smalti_module'",
       "end its source with SM_MODULE(&PLUGIN), and let nothing hide that symbol"},
      {"null_module", SM_EINVAL, "'smalti_module' gives NULL instead of the module description",
       "let SM_MODULE(&PLUGIN) write it"},
      {"null_fields", SM_EINVAL, "masker 'bare': summary is NULL", ""},
      {"bad_options", SM_EINVAL,
       "masker 'unsound': the default '1.5' of ratio is wrong: ratio must be a number between 0.1 and 1, not '1.5'",
       ""},
      {"missing_callback", SM_EINVAL, "masker 'handless': the callback 'draw' is NULL",
       "every masker needs it; see sm_masker_ops in smalti/masker.h"},
  };
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
    expect_refusal(module_path(cases[k].module), cases[k].code, cases[k].message, cases[k].hint);
}

/* The number moves with the interface, and so does what is said. */
static void other_interfaces_are_refused(void **state) {
  static const struct {
    const char *module, *hint;
    int by;
  } cases[] = {{"newer_abi", "this smalti is the older one: update it, or build the plugin against it", 1},
               {"older_abi", "the plugin is the older one: build it again against this smalti", -1}};
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    char message[128];
    snprintf(message, sizeof message, "the plugin is built for plugin interface %d.%d, this smalti (%s) has %d.%d", SM_ABI_MAJOR,
             SM_ABI_MINOR + cases[k].by, sm_version(), SM_ABI_MAJOR, SM_ABI_MINOR);
    expect_refusal(module_path(cases[k].module), SM_EUNSUPPORTED, message, cases[k].hint);
  }
}

static void second_core_names_both_files(void **state) {
  sm_registry *r = sm_registry_new(NULL, &err);
  assert_int_equal(sm_registry_load(r, module_path("second_core"), &err), SM_EUNSUPPORTED);
  const char *both = strstr(err.message, "/second_core.so, this program's in ");
  assert_non_null(both);
  assert_non_null(strstr(both, "libsmalti"));
  assert_ptr_equal(strstr(err.message, "the plugin uses a second copy of libsmalti: its is in "),
                   err.message);
  sm_registry_free(r);
}

static void needs_a_regular_elf_file(void **state) {
  char file[768];
  snprintf(file, sizeof file, "%s", scratch_path("x.so"));
  expect_refusal(file, SM_ENOTFOUND, "cannot open the plugin: No such file or directory", "");
  assert_int_equal(sm_file_put(file, "", 0, &err), SM_OK);
  expect_refusal(file, SM_EFORMAT, "the file is empty", "");
  assert_int_equal(sm_file_put(file, "hello\n", 6, &err), SM_OK);
  expect_refusal(file, SM_EFORMAT, "not a shared object (no ELF header)",
                 "a plugin is the .so file that the compiler makes of its source");
  unlink(file);
  assert_int_equal(mkfifo(file, 0600), 0); /* must not wait for a writer */
  expect_refusal(file, SM_EINVAL, "not a regular file", "give the .so file of a plugin");
  unlink(file);
  expect_refusal(scratch, SM_EINVAL, "not a regular file", "give the .so file of a plugin");
}

/* Copy fine.so, write `n` bytes at `offset`, cut it to `length` (0: not at all). */
static const char *spoilt(size_t offset, const void *bytes, size_t n, size_t length) {
  char *data;
  size_t size;
  assert_int_equal(sm_file_get(module_path("fine"), 1 << 24, &data, &size, &err), SM_OK);
  memcpy(data + offset, bytes, n);
  assert_int_equal(sm_file_put(scratch_path("spoilt.so"), data, length ? length : size, &err), SM_OK);
  sm_free(data);
  return scratch_path("spoilt.so");
}

static void foreign_and_cut_files_are_refused_before_mapping(void **state) {
  const unsigned char class32 = ELFCLASS32, msb = ELFDATA2MSB;
  const uint16_t odd = 4711, rel = ET_REL, none = 0;
  const char *here = "build the plugin on this machine";
  const char *words = "the plugin is built for another machine: it differs in word size or byte order";
  expect_refusal(spoilt(EI_CLASS, &class32, 1, 0), SM_EUNSUPPORTED, words, here);
  expect_refusal(spoilt(EI_DATA, &msb, 1, 0), SM_EUNSUPPORTED, words, here);
#if defined(__x86_64__)
  expect_refusal(spoilt(offsetof(ElfW(Ehdr), e_machine), &odd, 2, 0), SM_EUNSUPPORTED,
                 "the plugin is built for another machine: ELF machine 4711, and this smalti for 62", here);
#endif
  expect_refusal(spoilt(offsetof(ElfW(Ehdr), e_type), &rel, 2, 0), SM_EFORMAT,
                 "an ELF file, but not a shared object", "link it with -shared");
  expect_refusal(spoilt(offsetof(ElfW(Ehdr), e_phnum), &none, 2, 0), SM_EFORMAT,
                 "the file is damaged: it has no program headers that can be read", "");
  const char *again = "build or copy the plugin again";
  expect_refusal(spoilt(0, "", 0, 40), SM_EFORMAT, "the file is damaged: the ELF header ends beyond its end",
                 again);
  expect_refusal(spoilt(0, "", 0, 100), SM_EFORMAT,
                 "the file is damaged: its program headers lie beyond its end", again);
  expect_refusal(spoilt(0, "", 0, 4200), SM_EFORMAT, "the file is damaged: a segment lies beyond its end",
                 again);
}

/* Any single byte or length may be anything: the reader answers, and with words. (Under the sanitizers this
 * looks at every access.) Only the reader is tried; binding such a file is what it is there to prevent. */
static void mutated_elf_files_never_trip_the_reader(void **state) {
  char *data;
  size_t size;
  int accepted = 0, refused = 0;
  sm_abi_note note;
  assert_int_equal(sm_file_get(module_path("fine"), 1 << 24, &data, &size, &err), SM_OK);
  FILE *f = tmpfile();
  assert_non_null(f);
  int fd = fileno(f);
  const ElfW(Ehdr) *head = (const ElfW(Ehdr) *)(const void *)data;
  size_t notes = 0, segments = sizeof *head + (size_t)head->e_phnum * sizeof(ElfW(Phdr));
  const ElfW(Phdr) *segment = (const ElfW(Phdr) *)(const void *)(data + head->e_phoff);
  for (int k = 0; k < head->e_phnum; k++)
    if (segment[k].p_type == PT_NOTE && memmem(data + segment[k].p_offset, segment[k].p_filesz, "smalti", 7))
      notes = segment[k].p_offset;
  sm_rng rng = sm_rng_make(1, SM_RNG_TEST, 0, 0, 0);
  assert_int_equal(pwrite(fd, data, size, 0), (ssize_t)size);
  for (int k = 0; k < 20000; k++) {
    size_t at[3];
    int n = 1 + (int)sm_rng_below(&rng, 3);
    for (int j = 0; j < n; j++) {
      at[j] = sm_rng_below(&rng, 2) ? sm_rng_below(&rng, (uint32_t)segments)
                                    : notes + sm_rng_below(&rng, 64);
      unsigned char byte = (unsigned char)(sm_rng_below(&rng, 4) ? sm_rng_u32(&rng) : 0xff);
      assert_int_equal(pwrite(fd, &byte, 1, (off_t)at[j]), 1);
    }
    size_t cut = sm_rng_below(&rng, 8) ? size : sm_rng_below(&rng, (uint32_t)size + 1);
    if (cut < size) assert_int_equal(ftruncate(fd, (off_t)cut), 0);
    sm_error_clear(&err);
    sm_status status = sm_note_read(fd, &note, &err);
    if (status == SM_OK) {
      accepted++;
    } else {
      refused++;
      assert_int_equal(err.code, status);
      assert_true(strlen(err.message) > 10);
    }
    if (cut < size) assert_int_equal(pwrite(fd, data + cut, size - cut, (off_t)cut), (ssize_t)(size - cut));
    for (int j = 0; j < n; j++) assert_int_equal(pwrite(fd, data + at[j], 1, (off_t)at[j]), 1);
  }
  assert_int_equal(sm_note_read(fd, &note, &err), SM_OK); /* everything was put back */
  assert_true(accepted > 500 && refused > 500);
  fclose(f);
  sm_free(data);
}

/* ---- registry ------------------------------------------------------------------------------------------ */

static void sound_module_is_listed_with_its_file(void **state) {
  sm_registry *r = sm_registry_new(NULL, &err);
  assert_int_equal(sm_registry_load(r, module_path("fine"), &err), SM_OK);
  assert_int_equal(sm_registry_load(r, module_path("fine"), &err),
                   SM_OK); /* again: no second entry, no error */
  assert_int_equal(sm_registry_count(r), 1);
  const sm_plugin *p = sm_registry_find(r, SM_MASKER, "fine", &err);
  assert_ptr_equal(p, sm_registry_at(r, 0));
  assert_string_equal(p->cite, "Nobody, Nothing, 2026");
  assert_string_equal(sm_registry_file(r, p), module_path("fine"));
  assert_null(sm_registry_at(r, 1));
  assert_null(sm_registry_at(r, -1));
  sm_registry_free(r);
}

static void same_plugin_from_two_files_names_both(void **state) {
  char message[2048], a[768];
  snprintf(a, sizeof a, "%s", module_path("twice_a"));
  snprintf(message, sizeof message, "masker 'twice' is given by two files: %s and %s", a,
           module_path("twice_b"));
  sm_registry *r = sm_registry_new(NULL, &err);
  assert_int_equal(sm_registry_load(r, a, &err), SM_OK);
  assert_int_equal(sm_registry_load(r, module_path("twice_b"), &err), SM_EINVAL);
  assert_string_equal(err.message, message);
  assert_string_equal(err.place, module_path("twice_b"));
  assert_string_equal(err.hint, "rename one of them or take one file away");
  assert_int_equal(sm_registry_count(r), 1);
  sm_registry_free(r);
}

static void scan_goes_on_after_refusals(void **state) {
  sm_registry *r = sm_registry_new(modules, &err);
  assert_int_equal(sm_registry_count(r), 0); /* nothing is loaded yet */
  assert_int_equal(sm_registry_scan(r, &err), SM_OK);
  assert_int_equal(sm_registry_refusals(r), 11); /* all but bad_create, fine and one of the two twice_* */
  assert_int_equal(sm_registry_count(r), SOUND_PLUGINS);
  static const sm_kind kinds[] = {SM_BACKBONE, SM_HEAD, SM_HEAD, SM_MASKER, SM_MASKER};
  static const char *const names[] = {"conv", "bn_head", "not_affine", "fine", "greedy"};
  for (int k = 0; k < 5; k++) assert_non_null(sm_registry_find(r, kinds[k], names[k], &err));
  for (int k = 0; k < 11; k++) assert_true(strlen(sm_registry_refusal(r, k)->message) > 10);
  assert_null(sm_registry_refusal(r, 11));
  assert_null(sm_registry_refusal(r, -1));
  sm_registry_free(r);
}

static void names_are_looked_for_in_their_own_file_first(void **state) {
  sm_registry *r = sm_registry_new(modules, &err);
  assert_non_null(sm_registry_find(r, SM_MASKER, "fine", &err));
  assert_int_equal(sm_registry_count(r), 1); /* only fine.so was loaded */
  assert_int_equal(sm_registry_refusals(r), 0);
  assert_non_null(sm_registry_find(r, SM_MASKER, "greedy", &err)); /* lies in bad_create.so: all are loaded */
  assert_int_equal(sm_registry_count(r), SOUND_PLUGINS);
  sm_registry_free(r);
}

static void unknown_names_get_a_suggestion(void **state) {
  sm_registry *r = sm_registry_new(modules, &err);
  const char *refused = "; 11 modules were refused, see `smalti plugins list`";
  char hint[512];
  assert_null(sm_registry_find(r, SM_MASKER, "fime", &err));
  assert_int_equal(err.code, SM_ENOTFOUND);
  assert_string_equal(err.message, "no masker called 'fime'");
  snprintf(hint, sizeof hint,
           "did you mean 'fine'? There are: blames_the_user, failing, fine, greedy, leaks, masks_all, "
           "masks_beyond, "
           "own_random, silent, twice; one of your own is found with --plugin-path FOLDER%s",
           refused);
  assert_string_equal(err.hint, hint);
  assert_null(sm_registry_find(r, SM_LOSS, "fine", &err));
  assert_string_equal(err.message, "no loss called 'fine'");
  snprintf(hint, sizeof hint, "'fine' is a masker%s", refused);
  assert_string_equal(err.hint, hint);
  /* The file of that name was refused: its reason is the answer. */
  assert_null(sm_registry_find(r, SM_MASKER, "newer_abi", &err));
  assert_string_equal(err.place, module_path("newer_abi"));
  assert_null(sm_registry_find(r, SM_MASKER, "nothing_like_it", NULL));
  sm_registry_free(r);
}

static void earlier_folders_hide_later_files(void **state) {
  char first[768], path[2048];
  snprintf(first, sizeof first, "%s", scratch_path("first"));
  assert_int_equal(sm_mkdirs(first, &err), SM_OK);
  snprintf(path, sizeof path, "%s/fine.so", first);
  copy_to(module_path("fine"), path);
  snprintf(path, sizeof path, "%s:%s", first, modules);
  sm_registry *r = sm_registry_new(path, &err);
  const sm_plugin *p = sm_registry_find(r, SM_MASKER, "fine", &err);
  assert_non_null(p);
  snprintf(path, sizeof path, "%s/fine.so", first);
  assert_string_equal(sm_registry_file(r, p), path);
  assert_string_equal(sm_registry_folder(r, 0), first);
  assert_string_equal(sm_registry_folder(r, 1), modules);
  assert_int_equal(sm_registry_scan(r, &err), SM_OK);
  for (int k = 0; k < sm_registry_refusals(r); k++)
    assert_null(strstr(sm_registry_refusal(r, k)->message, "'fine' is given by two files"));
  sm_registry_free(r);
}

static void folders_given_by_hand_must_exist(void **state) {
  char message[1024];
  snprintf(message, sizeof message, "cannot look for plugins in %s: No such file or directory",
           scratch_path("nowhere"));
  assert_null(sm_registry_new(scratch_path("nowhere"), &err));
  assert_string_equal(err.message, message);
  assert_string_equal(err.hint, "--plugin-path takes folders that hold .so files");
  assert_int_equal(setenv("SMALTI_PLUGIN_PATH", scratch_path("nowhere"), 1), 0);
  sm_registry *r = sm_registry_new("::", &err);
  assert_non_null(r);
  assert_null(sm_registry_find(r, SM_MASKER, "fine", &err));
  snprintf(message, sizeof message, "no masker was found in %s; set --plugin-path or SMALTI_PLUGIN_PATH",
           scratch_path("nowhere"));
  assert_string_equal(err.hint, message);
  assert_int_equal(unsetenv("SMALTI_PLUGIN_PATH"), 0);
  sm_registry_free(r);
}

/* Let allocation 1, 2, 3 … fail: the registry says so, keeps nothing half done, and goes on when there is
 * memory again. */
static void registry_survives_running_out_of_memory(void **state) {
  int failures = 0;
  for (int k = 1; k < 200; k++) {
    sm_heap_fail_at(k);
    sm_registry *r = sm_registry_new(modules, &err);
    sm_status status = r ? sm_registry_scan(r, &err) : err.code;
    bool reached = sm_heap_calls() >= k;
    sm_heap_fail_at(0);
    if (status != SM_OK) {
      assert_int_equal(status, SM_ENOMEM);
      failures++;
    }
    if (r) {
      assert_int_equal(sm_registry_scan(r, &err), SM_OK);
      assert_int_equal(sm_registry_count(r), SOUND_PLUGINS);
    }
    sm_registry_free(r);
    if (!reached) break;
  }
  assert_true(failures > 3);
}

/* ---- instances ----------------------------------------------------------------------------------------- */

static sm_instance make(sm_registry *r, const char *name) {
  sm_instance instance;
  const sm_plugin *p = sm_registry_find(r, SM_MASKER, name, &err);
  assert_non_null(p);
  assert_int_equal(sm_instance_new(r, p, &instance, &err), SM_OK);
  return instance;
}

static void failing_create_is_told_with_the_plugins_name(void **state) {
  sm_registry *r = sm_registry_new(modules, &err);
  sm_instance failing = make(r, "failing"), silent = make(r, "silent");
  assert_int_equal(sm_instance_create(&failing, &err), SM_EINVAL);
  assert_string_equal(err.message, "masker 'failing': ratio 0.5 needs a grid of at least 2");
  assert_string_equal(err.hint, "raise grid");
  assert_int_equal(sm_instance_create(&failing, NULL), SM_EINVAL);
  assert_false(failing.created);
  assert_int_equal(sm_instance_create(&silent, &err), SM_EIO);
  assert_string_equal(err.message, "masker 'silent': create failed: input/output error");
  assert_string_equal(err.hint, "the plugin gave no reason; tell its author");
  sm_instance_free(&failing);
  sm_instance_free(&silent);
  assert_null(failing.self);
  sm_registry_free(r);
}

static void create_under_memory_pressure_leaves_nothing(void **state) {
  sm_registry *r = sm_registry_new(modules, &err);
  sm_instance greedy = make(r, "greedy");
  for (int k = 1; k <= 3; k++) {
    char message[64];
    snprintf(message, sizeof message, "masker 'greedy': no memory for block %d", k - 1);
    sm_heap_fail_at(k);
    assert_int_equal(sm_instance_create(&greedy, &err), SM_ENOMEM);
    sm_heap_fail_at(0);
    assert_string_equal(err.message, message);
  }
  assert_int_equal(sm_instance_create(&greedy, &err), SM_OK);
  assert_int_equal(sm_instance_create(&greedy, &err), SM_OK); /* once only: nothing leaks */
  sm_instance_free(&greedy);
  const sm_plugin *conv = sm_registry_find(r, SM_BACKBONE, "conv", &err);
  assert_non_null(conv);
  sm_heap_fail_at(1);
  sm_instance none;
  assert_int_equal(sm_instance_new(r, conv, &none, &err), SM_ENOMEM);
  sm_heap_fail_at(0);
  assert_string_equal(err.message, "out of memory for backbone 'conv'");
  sm_instance_free(&none);
  sm_registry_free(r);
}

/* A passing want of descriptors is no folder without plugins. */
static void folders_that_cannot_be_listed_now(void **state) {
  struct rlimit was, none;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
  none = was;
  none.rlim_cur = 0;
  assert_int_equal(setenv("SMALTI_PLUGIN_PATH", modules, 1), 0);
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
  sm_registry *r = sm_registry_new(NULL, &err);
  setrlimit(RLIMIT_NOFILE, &was);
  unsetenv("SMALTI_PLUGIN_PATH");
  assert_null(r);
  assert_int_equal(err.code, SM_EIO);
  assert_non_null(strstr(err.message, "cannot look for plugins in"));
  assert_non_null(strstr(err.hint, "ulimit -n"));
}

static int set_up(void **state) {
  const char *build = getenv("SMALTI_BUILDDIR"), *tmp = getenv("TMPDIR");
  snprintf(modules, sizeof modules, "%s/tests/plugins/.libs", build ? build : ".");
  snprintf(scratch, sizeof scratch, "%s/smalti-loader-XXXXXX", tmp ? tmp : "/tmp");
  return unsetenv("SMALTI_PLUGIN_PATH") == 0 && mkdtemp(scratch) ? 0 : -1;
}

static int tear_down(void **state) {
  return sm_remove_tree(scratch, NULL) == SM_OK ? 0 : -1;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(module_refusals_say_what_and_why),
      cmocka_unit_test(other_interfaces_are_refused),
      cmocka_unit_test(second_core_names_both_files),
      cmocka_unit_test(needs_a_regular_elf_file),
      cmocka_unit_test(foreign_and_cut_files_are_refused_before_mapping),
      cmocka_unit_test(mutated_elf_files_never_trip_the_reader),
      cmocka_unit_test(sound_module_is_listed_with_its_file),
      cmocka_unit_test(same_plugin_from_two_files_names_both),
      cmocka_unit_test(scan_goes_on_after_refusals),
      cmocka_unit_test(names_are_looked_for_in_their_own_file_first),
      cmocka_unit_test(unknown_names_get_a_suggestion),
      cmocka_unit_test(earlier_folders_hide_later_files),
      cmocka_unit_test(folders_given_by_hand_must_exist),
      cmocka_unit_test(folders_that_cannot_be_listed_now),
      cmocka_unit_test(registry_survives_running_out_of_memory),
      cmocka_unit_test(failing_create_is_told_with_the_plugins_name),
      cmocka_unit_test(create_under_memory_pressure_leaves_nothing),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}

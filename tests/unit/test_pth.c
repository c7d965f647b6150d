/* test_pth.c — files of PyTorch: the golden ones, good, odd and hostile (tests/golden/pth.safetensors, and those of
 * $SMALTI_GOLDEN/pth with their manifest), and pickles and archives written here that would cost memory or
 * time. */
#include <smalti/safetensors.h>

#include "pth_file.h"
#include "test.h"

static void must_put(const char *name, const void *data, size_t n) {
  sm_error err = {0};
  must(sm_file_put(path_of(name), data, n, &err), &err);
}

/* ---- golden files ------------------------------------------------------------------------------------- */

/* Every tensor of `want` is in `have`, with the same type, shape and bits, and no other. */
static void same_tensors(const char *file, const sm_st_reader *have, const sm_st_reader *want) {
  if (sm_st_count(have) != sm_st_count(want))
    fail_msg("%s: %zu tensors instead of %zu", file, sm_st_count(have), sm_st_count(want));
  for (size_t i = 0; i < sm_st_count(want); i++) {
    const sm_st_tensor *w = sm_st_at(want, i), *h = sm_st_find(have, w->name);
    if (!h) fail_msg("%s: '%s' is missing", file, w->name);
    if (strcmp(h->dtype, w->dtype) || h->ndim != w->ndim || memcmp(h->shape, w->shape, (size_t)w->ndim * 8))
      fail_msg("%s: '%s' has another type or shape", file, w->name);
    if (h->bytes != w->bytes || (w->bytes && memcmp(h->data, w->data, (size_t)w->bytes)))
      fail_msg("%s: '%s' has other bits", file, w->name);
  }
}

static void check_file(const char *name, const char *path, const char *must, const char *expect) {
  sm_error err = {0};
  sm_st_reader *r = sm_st_open(path, &err);
  if (r && sm_st_verify(r, &err)) {
    sm_st_close(r);
    r = NULL;
  }
  if (!r && (!err.message[0] || strcmp(err.place, path))) fail_msg("%s: refused without a word", name);
  if (!r && strchr(err.message, '\n')) fail_msg("%s: more than a sentence", name);
  if (!r && !strcmp(must, "load")) fail_msg("%s: %s", name, err.message);
  if (r && !strcmp(must, "refuse")) fail_msg("%s is taken", name);
  if (r) {
    sm_st_reader *want = sm_st_open(expect, &err);
    if (!want) fail_msg("%s: %s", expect, err.message);
    same_tensors(name, r, want);
    sm_st_close(want);
  }
  sm_st_close(r);
}

static void golden_files(void **state) {
  const char *source = getenv("SMALTI_SRCDIR");
  char path[1024];
  sm_error err = {0};
  int files = 0;
  snprintf(path, sizeof path, "%s/tests/golden/pth.safetensors", source ? source : ".");
  sm_st_reader *all = sm_st_open(path, &err);
  if (!all) fail_msg("%s", err.message);
  for (size_t i = 0; i < sm_st_count(all); i++) {
    const sm_st_tensor *t = sm_st_at(all, i);
    char must[16];
    const char *word = sm_st_get(all, t->name), *expect = word ? strchr(word, '|') : NULL;
    if (!expect) continue;
    snprintf(must, sizeof must, "%.*s", (int)(expect - word), word);
    const sm_st_tensor *e = sm_st_find(all, expect + 1);
    must_put("file.pth", t->data, t->bytes);
    if (e) must_put("expect.safetensors", e->data, e->bytes);
    check_file(t->name, path_of("file.pth"), must, path_of("expect.safetensors"));
    files++;
  }
  assert_true(files > 150);
  sm_st_close(all);
}

/* Others of the same kinds, where they are. */
static void golden_folder(void **state) {
  const char *golden = getenv("SMALTI_GOLDEN");
  char path[1024], line[4096];
  snprintf(path, sizeof path, "%s/pth/MANIFEST.tsv", golden ? golden : "");
  FILE *manifest = golden ? fopen(path, "r") : NULL;
  if (!manifest) skip();
  while (fgets(line, sizeof line, manifest)) {
    char name[256], must[16], expect[256], file[1400], other[1400];
    if (*line == '#' || sscanf(line, "%255[^\t]\t%15[^\t]\t%255[^\t]", name, must, expect) != 3 ||
        !strcmp(name, "file"))
      continue;
    snprintf(file, sizeof file, "%s/pth/%s", golden, name);
    snprintf(other, sizeof other, "%s/pth/%s", golden, expect);
    check_file(name, file, must, other);
  }
  fclose(manifest);
}

/* ---- files written here ------------------------------------------------------------------------------- */

static sm_text bytes;

static void put(const void *data, size_t n) { sm_text_bytes(&bytes, data, n); }
static void put_number(uint64_t value, int n) {
  for (int i = 0; i < n; i++) put(&(char){(char)(value >> 8 * i)}, 1);
}
#define PUT(text) put(text, sizeof text - 1)

/* A tensor w of 2 × 3 floats over the storage "0" of 6. */
#define STORAGE "((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0000X\3\0\0\0cpuK\6tQ"
#define TENSOR "ctorch._utils\n_rebuild_tensor_v2\n" STORAGE "K\0K\2K\3\x86K\3K\1\x86\x89}tR"
#define KEY(c) "X\1\0\0\0" c

/* An archive of a/data.pkl and a/data/0. */
static void put_archive(const char *name, const char *pickle, size_t n) {
  static const float values[6] = {1, 2, 3, 4, 5, 6};
  const struct {
    const char *name;
    const void *data;
    size_t bytes;
  } member[] = {{"a/data.pkl", pickle, n}, {"a/data/0", values, sizeof values}};
  size_t at[2], directory = 0;
  bytes.len = 0;
  for (int pass = 0; pass < 2; pass++) {
    if (pass) directory = bytes.len;
    for (int i = 0; i < 2; i++) {
      if (!pass) at[i] = bytes.len;
      put(pass ? "PK\1\2\0\0\0\0" : "PK\3\4\0\0", pass ? 8 : 6);
      put("\0\0\0\0\0\0\0\0\0\0\0\0", 12); /* flags, method, time, date, checksum */
      put_number(member[i].bytes, 4), put_number(member[i].bytes, 4);
      put_number(strlen(member[i].name), 2), put_number(0, 2);
      if (pass) put("\0\0\0\0\0\0\0\0\0\0", 10), put_number(at[i], 4);
      put(member[i].name, strlen(member[i].name));
      if (!pass) put(member[i].data, member[i].bytes);
    }
  }
  const size_t size = bytes.len - directory;
  PUT("PK\5\6\0\0\0\0\2\0\2\0");
  put_number(size, 4), put_number(directory, 4), put_number(0, 2);
  must_put(name, bytes.s, bytes.len);
}

static sm_st_reader *archive_of(const sm_text *pickle, sm_error *err) {
  char name[] = "made.pth";
  char *copy = malloc(pickle->len + 1);
  memcpy(copy, pickle->s, pickle->len);
  put_archive(name, copy, pickle->len);
  free(copy);
  return sm_st_open(path_of(name), err);
}

static void good(void **state) {
  static const char text[] = "\x80\2}" KEY("w") TENSOR "s.";
  sm_text pickle = {0};
  sm_error err = {0};
  sm_text_bytes(&pickle, text, sizeof text - 1);
  sm_st_reader *r = archive_of(&pickle, &err);
  if (!r) fail_msg("%s", err.message);
  const sm_st_tensor *w = sm_st_find(r, "w");
  assert_true(w && w->ndim == 2 && w->shape[0] == 2 && w->shape[1] == 3 && sm_st_is_torch(r));
  float last;
  memcpy(&last, (const char *)w->data + 5 * sizeof last, sizeof last); /* no file aligns it */
  assert_true(last == 6);
  sm_st_close(r);
  sm_text_free(&pickle);
}

/* What costs memory or time where it is believed: each is refused, or leaves w. */
static void greedy(void **state) {
#define LITERAL(text) text, sizeof text - 1
  static const struct {
    const char *what;
    const char *begin;
    size_t begin_bytes;
    const char *again;
    size_t again_bytes;
    int times;
    const char *end;
    size_t end_bytes;
    const char *message; /* NULL: loads */
  } cases[] = {
      {"values on the stack", LITERAL("\x80\2"), LITERAL("N"), 1000000, LITERAL("}" KEY("w") TENSOR "s."), NULL},
      {"MARKs", LITERAL("\x80\2"), LITERAL("("), 300000, LITERAL("."), "it stops without an object"},
      {"copies of one list", LITERAL("\x80\2]"), LITERAL("2"), 300000, LITERAL("."), "it holds no tensors"},
      {"lists", LITERAL("\x80\2}" KEY("x")), LITERAL("]("), 30000, LITERAL("."), "it stops without an object"},
      {"dicts", LITERAL("\x80\2}"), LITERAL(KEY("x") "}"), 20000, LITERAL(""), "it ends too early"},
      {"tuples", LITERAL("\x80\2}" KEY("x") "]"), LITERAL("\x85"), 20000, LITERAL("s."), "more than 64 deep"},
      {"values", LITERAL("\x80\2"), LITERAL("]"), 1100000, LITERAL("."), "it makes more than 1048576 values"},
      {"memo", LITERAL("\x80\2]"), LITERAL("\x94"), 1000, LITERAL("."), "it holds no tensors"},
      {"calls", LITERAL("\x80\2}"), LITERAL(KEY("x") "cos\nsystem\nX\4\0\0\0true\x85Rs"), 1000,
       LITERAL(KEY("w") TENSOR "s."), NULL},
      {"equal keys", LITERAL("\x80\2}"), LITERAL(KEY("w") "Ns"), 100000, LITERAL(KEY("w") TENSOR "s."), NULL},
  };
#undef LITERAL
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    sm_error err = {0};
    sm_text pickle = {0};
    sm_text_bytes(&pickle, cases[i].begin, cases[i].begin_bytes);
    for (int n = 0; n < cases[i].times; n++) sm_text_bytes(&pickle, cases[i].again, cases[i].again_bytes);
    sm_text_bytes(&pickle, cases[i].end, cases[i].end_bytes);
    sm_st_reader *r = archive_of(&pickle, &err);
    if (cases[i].message && (r || !strstr(err.message, cases[i].message)))
      fail_msg("%s: %s", cases[i].what, r ? "taken" : err.message);
    if (!cases[i].message && (!r || sm_st_count(r) != 1)) fail_msg("%s: %s", cases[i].what, err.message);
    sm_st_close(r);
    sm_text_free(&pickle);
  }
}

/* Lists within one another, twice each: 2^n ways to one tensor. */
static void doubling(void **state) {
  static const char w[] = "\x80\2" TENSOR "q\0";
  for (int deep = 10; deep <= 50; deep += 40) {
    sm_error err = {0};
    sm_text pickle = {0};
    sm_text_bytes(&pickle, w, sizeof w - 1);
    for (int i = 0; i < deep; i++) sm_text_bytes(&pickle, "2\x86", 2); /* DUP, TUPLE2 */
    sm_text_bytes(&pickle, ".", 1);
    sm_st_reader *r = archive_of(&pickle, &err);
    if (deep == 10) assert_true(r && sm_st_count(r) == 1024);
    else assert_true(!r && strstr(err.message, "it names more than"));
    sm_st_close(r);
    sm_text_free(&pickle);
  }
}

/* Damage: each byte of a good archive changed, each length cut; nothing may crash, hang or be half taken. */
static void damaged(void **state) {
  static const char text[] = "\x80\2}" KEY("w") TENSOR "s.";
  put_archive("whole.pth", text, sizeof text - 1);
  const size_t n = bytes.len;
  char *copy = malloc(n);
  memcpy(copy, bytes.s, n);
  for (size_t i = 0; i < 2 * n; i++) {
    sm_error err = {0};
    char *changed = malloc(n);
    memcpy(changed, copy, n);
    if (i < n) changed[i] = (char)(changed[i] ^ (1 << i % 8));
    must_put("damaged.pth", changed, i < n ? n : i - n);
    sm_st_reader *r = sm_st_open(path_of("damaged.pth"), &err);
    if (!r) assert_true(err.message[0] != 0);
    if (i >= n) assert_null(r);
    if (r && sm_st_count(r)) assert_true(sm_st_at(r, 0)->bytes <= n * 4 + (16 << 20));
    sm_st_close(r);
    free(changed);
  }
  free(copy);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(golden_files), cmocka_unit_test(golden_folder), cmocka_unit_test(good),
      cmocka_unit_test(greedy),       cmocka_unit_test(doubling),      cmocka_unit_test(damaged),
  };
  if (argc > 1) return pth_write(argc, argv);
  int failed = cmocka_run_group_tests(tests, make_folder, remove_folder);
  sm_text_free(&bytes);
  return failed;
}

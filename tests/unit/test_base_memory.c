/* test_base_memory.c — arenas, the heap and its failure injector, aligned blocks, growing texts. */
#include <sys/wait.h>
#include <unistd.h>

#include "framework/base/heap.h"

#include "test.h"

static void arena_gives_zeroed_aligned_pieces(void **state) {
  sm_arena *arena = sm_arena_new("test");
  assert_non_null(arena);
  char *last = NULL;
  for (size_t size = 0; size < 3000; size += 7) {
    char *piece = sm_arena_alloc(arena, size);
    assert_non_null(piece);
    assert_int_equal((uintptr_t)piece % 16, 0);
    assert_ptr_not_equal(piece, last);
    for (size_t i = 0; i < size; i++) assert_int_equal(piece[i], 0);
    memset(piece, 0xff, size);
    last = piece;
  }
  sm_arena_free(arena);
}

static void arena_takes_big_pieces_between_small_ones(void **state) {
  sm_arena *arena = sm_arena_new("test");
  char *a = sm_arena_strdup(arena, "before");
  char *big = sm_arena_alloc(arena, 10u << 20);
  char *b = sm_arena_strndup(arena, "afterwards", 5);
  memset(big, 1, 10u << 20);
  assert_string_equal(a, "before");
  assert_string_equal(b, "after");
  assert_true(b > a && b < a + 4096); /* the small block goes on being filled */
  assert_true(sm_arena_bytes(arena) >= (10u << 20) + 12);
  assert_true(sm_arena_bytes(arena) <= (10u << 20) + 64);
  assert_string_equal(sm_arena_printf(arena, "%s-%d", "blocks", 11), "blocks-11");
  assert_null(sm_arena_alloc(arena, SIZE_MAX - 3));
  sm_arena_free(arena);
  sm_arena_free(NULL);
}

static void every_arena_allocation_may_fail(void **state) {
  int64_t k = 1;
  for (;; k++) {
    sm_heap_fail_at(k);
    sm_arena *arena = sm_arena_new("test");
    void *a = sm_arena_alloc(arena, 5000), *b = sm_arena_alloc(arena, 20);
    bool ok = arena && a && b;
    sm_arena_free(arena);
    if (ok) break;
  }
  sm_heap_fail_at(0);
  assert_int_equal(k, 5); /* the arena, its name, two blocks; the fifth is never asked for */
}

static void injector_fails_one_call_only(void **state) {
  sm_heap_fail_at(3);
  void *a = sm_malloc(10), *b = sm_calloc(2, 5), *c = sm_strdup("x"), *d = sm_aligned_alloc(100);
  assert_non_null(a);
  assert_non_null(b);
  assert_null(c);
  assert_non_null(d);
  assert_int_equal(sm_heap_calls(), 4);
  sm_heap_fail_at(1);
  assert_null(sm_realloc(a, 100)); /* the old block stays valid */
  sm_heap_fail_at(0);
  sm_free(a);
  sm_free(b);
  sm_aligned_free(d);
}

/* The variable is read once a process, so another process has to look. */
static void injector_reads_the_environment(void **state) {
  const char *asked = getenv("SMALTI_FAIL_ALLOC");
  if (asked) {
    assert_string_equal(asked, "2");
    void *a = sm_malloc(1), *b = sm_malloc(1), *c = sm_malloc(1);
    assert_true(a && !b && c);
    sm_free(a);
    sm_free(c);
  }
}

static void sizes_of_zero_are_blocks_too(void **state) {
  void *a = sm_malloc(0), *b = sm_calloc(0, 8), *c = sm_aligned_alloc(0);
  assert_non_null(a);
  assert_non_null(b);
  assert_non_null(c);
  a = sm_realloc(a, 0);
  assert_non_null(a);
  sm_free(a);
  sm_free(b);
  sm_aligned_free(c);
  sm_aligned_free(NULL);
  assert_null(sm_aligned_alloc(SIZE_MAX - 10));
}

static void aligned_blocks_are_zeroed_and_on_borders(void **state) {
  static const size_t sizes[] = {1, 63, 64, 65, 4096, 1000003, (size_t)9 << 20};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    unsigned char *block = sm_aligned_alloc(sizes[i]);
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % 64, 0);
    assert_int_equal(block[0] | block[sizes[i] / 2] | block[sizes[i] - 1], 0);
    memset(block, 0xaa, sizes[i]);
    sm_aligned_free(block);
  }
}

static void text_grows(void **state) {
  sm_text text = {0};
  for (int i = 0; i < 1000; i++) sm_text_add(&text, "%d,", i);
  sm_text_bytes(&text, "a\0b", 3);
  assert_int_equal(text.len, 10 * 2 + 90 * 3 + 900 * 4 + 3);
  assert_int_equal(text.s[text.len], 0);
  assert_memory_equal(text.s, "0,1,2,", 6);
  assert_memory_equal(text.s + text.len - 3, "a\0b", 3);
  assert_false(text.failed);
  sm_text_free(&text);
  assert_null(text.s);
  sm_text_add(&text, "%s", ""); /* even an empty text is terminated */
  assert_string_equal(text.s, "");
  sm_text_free(&text);
}

static void text_remembers_failure(void **state) {
  sm_text text = {0};
  sm_text_add(&text, "kept");
  sm_heap_fail_at(1);
  sm_text_add(&text, "%200d", 1);
  sm_heap_fail_at(0);
  sm_text_add(&text, "not added");
  assert_true(text.failed);
  assert_string_equal(text.s, "kept");
  sm_text_free(&text);
}

static int run_again_with_injector(const char *self) {
  pid_t child = fork();
  if (child == 0) {
    setenv("SMALTI_FAIL_ALLOC", "2", 1);
    execl(self, self, "environment", (char *)NULL);
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

int main(int argc, char **argv) {
  const struct CMUnitTest environment[] = {cmocka_unit_test(injector_reads_the_environment)};
  if (argc > 1) return cmocka_run_group_tests(environment, NULL, NULL);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(arena_gives_zeroed_aligned_pieces),
      cmocka_unit_test(arena_takes_big_pieces_between_small_ones),
      cmocka_unit_test(every_arena_allocation_may_fail),
      cmocka_unit_test(injector_fails_one_call_only),
      cmocka_unit_test(sizes_of_zero_are_blocks_too),
      cmocka_unit_test(aligned_blocks_are_zeroed_and_on_borders),
      cmocka_unit_test(text_grows),
      cmocka_unit_test(text_remembers_failure),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  return failed + run_again_with_injector(argv[0]);
}

/* arena.c — memory that is freed together.
 *
 * A list of zeroed blocks, each twice as large as the one before up to a limit; an allocation that would
 * waste much of a block gets one of its own. Single pieces are never freed. */
#include <smalti/base.h>

#include <string.h>

enum { ALIGNMENT = 16, FIRST_BLOCK = 4096, LARGEST_BLOCK = 1 << 20 };

typedef struct block {
  struct block *next;
  size_t used, size; /* of data */
  _Alignas(ALIGNMENT) char data[];
} block;

struct sm_arena {
  char *name;
  block *blocks; /* the first is the one that is filled */
  size_t next_size, bytes;
};

sm_arena *sm_arena_new(const char *name) {
  sm_arena *arena = sm_calloc(1, sizeof *arena);
  if (!arena) return NULL;
  arena->next_size = FIRST_BLOCK;
  arena->name = sm_strdup(name ? name : "");
  if (!arena->name) {
    sm_free(arena);
    return NULL;
  }
  return arena;
}

void sm_arena_free(sm_arena *arena) {
  if (!arena) return;
  for (block *b = arena->blocks, *next; b; b = next) {
    next = b->next;
    sm_free(b);
  }
  sm_free(arena->name);
  sm_free(arena);
}

static block *arena_add_block(sm_arena *arena, size_t size, bool first) {
  block *b = sm_calloc(1, sizeof *b + size);
  if (!b) return NULL;
  b->size = size;
  if (first || !arena->blocks) {
    b->next = arena->blocks;
    arena->blocks = b;
  } else { /* a big piece: go on filling the block at the front */
    b->next = arena->blocks->next;
    arena->blocks->next = b;
  }
  return b;
}

void *sm_arena_alloc(sm_arena *arena, size_t bytes) {
  if (!arena || bytes > SIZE_MAX / 2) return NULL;
  size_t need = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  if (need == 0) need = ALIGNMENT;
  block *b = arena->blocks;
  if (!b || b->size - b->used < need) {
    bool big = need > arena->next_size / 4;
    b = arena_add_block(arena, big ? need : arena->next_size, !big);
    if (!b) return NULL;
    if (!big && arena->next_size < LARGEST_BLOCK) arena->next_size *= 2;
  }
  void *piece = b->data + b->used;
  b->used += need;
  arena->bytes += need;
  return piece;
}

char *sm_arena_strndup(sm_arena *arena, const char *text, size_t n) {
  n = strnlen(text, n);
  char *copy = sm_arena_alloc(arena, n + 1);
  return copy ? memcpy(copy, text, n) : NULL;
}

char *sm_arena_strdup(sm_arena *arena, const char *text) {
  return sm_arena_strndup(arena, text, strlen(text));
}

char *sm_arena_printf(sm_arena *arena, const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  int n = vsnprintf(NULL, 0, fmt, args);
  va_end(args);
  char *text = n < 0 ? NULL : sm_arena_alloc(arena, (size_t)n + 1);
  if (!text) return NULL;
  va_start(args, fmt);
  vsnprintf(text, (size_t)n + 1, fmt, args);
  va_end(args);
  return text;
}

size_t sm_arena_bytes(const sm_arena *arena) { return arena ? arena->bytes : 0; }

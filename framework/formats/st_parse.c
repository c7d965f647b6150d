/* st_parse.c — the JSON header of a safetensors file, read strictly.
 *
 * A general JSON parser is too kind for this: it lets duplicate keys pass, rounds offsets above 2^53 and
 * builds a tree many times the size of a hostile header. This one knows the one shape a header may have,
 * keeps integers exact and stores nothing but the tensors and the metadata pairs. Strings are decoded into
 * the caller's arena. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "st.h"

typedef struct scan {
  const char *s;
  size_t n, at;
  sm_arena *arena;
  const char *tensor; /* the one being read, for messages; NULL outside */
  sm_error *err;
  sm_status status;
} scan;

/* ---- errors ---- */

static bool st_parse_bad(scan *p, const char *what) {
  if (p->status) return false;
  if (p->tensor)
    p->status = sm_fail(p->err, SM_EFORMAT, "header, byte %zu: tensor '%.200s': %s", p->at, p->tensor, what);
  else p->status = sm_fail(p->err, SM_EFORMAT, "header, byte %zu: %s", p->at, what);
  return false;
}

static bool st_parse_no_memory(scan *p) {
  if (!p->status) p->status = sm_fail(p->err, SM_ENOMEM, "no memory for the header of %zu bytes", p->n);
  return false;
}

/* ---- tokens ---- */

static int st_parse_peek(scan *p) {
  while (p->at < p->n && strchr(" \t\n\r", p->s[p->at]) && p->s[p->at]) p->at++;
  return p->at < p->n ? (unsigned char)p->s[p->at] : -1;
}

static bool st_parse_take(scan *p, char wanted) {
  char what[48];
  if (st_parse_peek(p) == wanted) {
    p->at++;
    return true;
  }
  snprintf(what, sizeof what, p->at < p->n ? "expected '%c'" : "the text ends where '%c' is due", wanted);
  return st_parse_bad(p, what);
}

static bool st_parse_hex4(scan *p, unsigned *code) {
  *code = 0;
  if (p->n - p->at < 4) return st_parse_bad(p, "unfinished \\u escape");
  for (int i = 0; i < 4; i++, p->at++) {
    char c = p->s[p->at];
    unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                     : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
                                            : 16;
    if (digit > 15) return st_parse_bad(p, "\\u needs four hexadecimal digits");
    *code = *code << 4 | digit;
  }
  return true;
}

static size_t st_parse_put_utf8(char *to, unsigned c) {
  if (c < 0x80) return to[0] = (char)c, 1;
  if (c < 0x800) return to[0] = (char)(0xC0 | c >> 6), to[1] = (char)(0x80 | (c & 63)), 2;
  if (c < 0x10000)
    return to[0] = (char)(0xE0 | c >> 12), to[1] = (char)(0x80 | (c >> 6 & 63)),
           to[2] = (char)(0x80 | (c & 63)), 3;
  to[0] = (char)(0xF0 | c >> 18), to[1] = (char)(0x80 | (c >> 12 & 63));
  to[2] = (char)(0x80 | (c >> 6 & 63)), to[3] = (char)(0x80 | (c & 63));
  return 4;
}

/* After the backslash; writes at most 4 bytes, and an escape is never shorter than what it stands for. */
static bool st_parse_escape(scan *p, char *to, size_t *length) {
  static const char FROM[] = "\"\\/bfnrt", TO[] = "\"\\/\b\f\n\r\t";
  if (p->at >= p->n) return st_parse_bad(p, "unfinished text");
  char c = p->s[p->at++];
  const char *found = c ? strchr(FROM, c) : NULL;
  unsigned code, low;
  if (found) return to[0] = TO[found - FROM], *length = 1, true;
  if (c != 'u') return st_parse_bad(p, "unknown escape in a text");
  if (!st_parse_hex4(p, &code)) return false;
  if (!code) return st_parse_bad(p, "a text holds a zero byte");
  if (code >= 0xDC00 && code < 0xE000) return st_parse_bad(p, "unpaired surrogate in a text");
  if (code >= 0xD800 && code < 0xDC00) {
    if (p->n - p->at < 6 || p->s[p->at] != '\\' || p->s[p->at + 1] != 'u')
      return st_parse_bad(p, "unpaired surrogate in a text");
    p->at += 2;
    if (!st_parse_hex4(p, &low)) return false;
    if (low < 0xDC00 || low >= 0xE000) return st_parse_bad(p, "unpaired surrogate in a text");
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  }
  *length = st_parse_put_utf8(to, code);
  return true;
}

/* A text, decoded; *start (may be NULL) is where its first character lies. NULL on error. */
static const char *st_parse_text(scan *p, size_t *start) {
  if (!st_parse_take(p, '"')) return NULL;
  size_t from = p->at, end = p->at, used = 0;
  if (start) *start = from;
  while (end < p->n && p->s[end] != '"') end += p->s[end] == '\\' ? 2 : 1;
  if (end >= p->n) return st_parse_bad(p, "unfinished text"), NULL;
  char *out = sm_arena_alloc(p->arena, end - from + 1);
  if (!out) return st_parse_no_memory(p), NULL;
  while (p->s[p->at] != '"') {
    size_t length;
    if (p->s[p->at] == '\\') {
      p->at++;
      if (!st_parse_escape(p, out + used, &length)) return NULL;
    } else {
      if ((unsigned char)p->s[p->at] < 0x20) return st_parse_bad(p, "control character in a text"), NULL;
      length = sm_utf8_length((const unsigned char *)p->s + p->at, end - p->at);
      if (!length) return st_parse_bad(p, "a text is not valid UTF-8"), NULL;
      memcpy(out + used, p->s + p->at, length);
      p->at += length;
    }
    used += length;
  }
  p->at++;
  return out;
}

static bool st_parse_number(scan *p, uint64_t *value) {
  int c = st_parse_peek(p);
  if (c < '0' || c > '9') return st_parse_bad(p, "expected a whole number of 0 or more");
  bool zero = c == '0';
  size_t from = p->at;
  for (*value = 0; p->at < p->n && (c = (unsigned char)p->s[p->at]) >= '0' && c <= '9'; p->at++)
    if (__builtin_mul_overflow(*value, 10u, value) ||
        __builtin_add_overflow(*value, (unsigned)(c - '0'), value) || *value > INT64_MAX)
      return st_parse_bad(p, "a number is too large");
  if (zero && p->at - from > 1) return st_parse_bad(p, "a number starts with 0");
  if (p->at < p->n && (c == '.' || c == 'e' || c == 'E'))
    return st_parse_bad(p, "expected a whole number of 0 or more");
  return true;
}

/* The numbers of an array, at most `most`; *count is set. */
static bool st_parse_numbers(scan *p, uint64_t *values, int most, int *count, const char *too_many) {
  *count = 0;
  if (!st_parse_take(p, '[')) return false;
  if (st_parse_peek(p) == ']') return p->at++, true;
  for (;;) {
    if (*count == most) return st_parse_bad(p, too_many);
    if (!st_parse_number(p, &values[(*count)++])) return false;
    if (st_parse_peek(p) == ']') return p->at++, true;
    if (!st_parse_take(p, ',')) return false;
  }
}

/* After a member of an object: true to go on; at the end *done. */
static bool st_parse_next_member(scan *p, bool *done) {
  *done = st_parse_peek(p) == '}';
  if (*done) p->at++;
  return *done || st_parse_take(p, ',');
}

/* ---- parts of the header ---- */

static bool st_parse_grow(scan *p, void **array, size_t *room, size_t count, size_t each) {
  if (count < *room) return true;
  size_t wanted = *room ? *room * 2 : 64;
  void *larger = sm_realloc(*array, wanted * each);
  if (!larger) return st_parse_no_memory(p);
  *array = larger;
  *room = wanted;
  return true;
}

static bool st_parse_metadata(scan *p, st_header *h) {
  bool done = false;
  if (!st_parse_take(p, '{')) return false;
  if (st_parse_peek(p) == '}') return p->at++, true;
  while (!done) {
    st_pair pair;
    if (!st_parse_grow(p, (void **)&h->pairs, &h->pairs_room, h->npairs, sizeof *h->pairs)) return false;
    if (!(pair.key = st_parse_text(p, NULL)) || !st_parse_take(p, ':') ||
        !(pair.value = st_parse_text(p, &pair.value_at)))
      return false;
    h->pairs[h->npairs++] = pair;
    if (!st_parse_next_member(p, &done)) return false;
  }
  return true;
}

enum { HAS_DTYPE = 1, HAS_SHAPE = 2, HAS_OFFSETS = 4 };

static bool st_parse_field(scan *p, const char *key, sm_st_tensor *t, uint64_t *end, unsigned *seen) {
  uint64_t values[SM_ST_MAX_DIMS];
  unsigned bit = !strcmp(key, "dtype")          ? HAS_DTYPE
                 : !strcmp(key, "shape")        ? HAS_SHAPE
                 : !strcmp(key, "data_offsets") ? HAS_OFFSETS
                                                : 0;
  int count;
  if (!bit) return st_parse_bad(p, "unknown field (known are dtype, shape, data_offsets)");
  if (*seen & bit) return st_parse_bad(p, "a field is given twice");
  *seen |= bit;
  if (bit == HAS_DTYPE) {
    const char *name = st_parse_text(p, NULL);
    if (!name) return false;
    if (!(t->dtype = sm_st_dtype_name(name))) {
      p->status =
          sm_fail(p->err, SM_EUNSUPPORTED, "tensor '%.200s': unknown element type '%.40s'", p->tensor, name);
      return false;
    }
  } else if (bit == HAS_SHAPE) {
    if (!st_parse_numbers(p, values, SM_ST_MAX_DIMS, &t->ndim, "more than 8 dimensions")) return false;
    for (int i = 0; i < t->ndim; i++) t->shape[i] = (int64_t)values[i];
  } else {
    if (!st_parse_numbers(p, values, 2, &count, "data_offsets has more than 2 numbers")) return false;
    if (count != 2) return st_parse_bad(p, "data_offsets has fewer than 2 numbers");
    if (values[0] > values[1]) return st_parse_bad(p, "data_offsets ends before it begins");
    t->offset = values[0];
    *end = values[1];
  }
  return true;
}

static bool st_parse_tensor(scan *p, st_header *h, const char *name) {
  sm_st_tensor t = {.name = name};
  uint64_t end = 0;
  unsigned seen = 0;
  bool done = false;
  if (!st_parse_grow(p, (void **)&h->tensors, &h->room, h->count, sizeof *h->tensors)) return false;
  p->tensor = name;
  if (!st_parse_take(p, '{')) return false;
  while (!done) {
    const char *key = st_parse_text(p, NULL);
    if (!key || !st_parse_take(p, ':') || !st_parse_field(p, key, &t, &end, &seen) ||
        !st_parse_next_member(p, &done))
      return false;
  }
  if (!(seen & HAS_DTYPE)) return st_parse_bad(p, "dtype is missing");
  if (!(seen & HAS_SHAPE)) return st_parse_bad(p, "shape is missing");
  if (!(seen & HAS_OFFSETS)) return st_parse_bad(p, "data_offsets is missing");
  if (!sm_st_size(t.dtype, t.ndim, t.shape, &t.elements, &t.bytes))
    return st_parse_bad(p, "the shape's size overflows");
  if (t.bytes != end - t.offset) {
    char what[256], shape[192];
    snprintf(what, sizeof what, "%s needs %" PRIu64 " bytes, data_offsets span %" PRIu64,
             sm_st_describe(t.dtype, t.ndim, t.shape, shape, sizeof shape), t.bytes, end - t.offset);
    return st_parse_bad(p, what);
  }
  p->tensor = NULL;
  h->tensors[h->count++] = t;
  return true;
}

static bool st_parse_header(scan *p, st_header *h) {
  bool done = false, had_metadata = false;
  if (p->n == 0 || p->s[0] != '{') return st_parse_bad(p, "the header does not start with '{'");
  p->at = 1;
  if (st_parse_peek(p) == '}') {
    p->at++;
    done = true;
  }
  while (!done) {
    const char *name = st_parse_text(p, NULL);
    if (!name || !st_parse_take(p, ':')) return false;
    if (!strcmp(name, "__metadata__")) {
      if (had_metadata) return st_parse_bad(p, "__metadata__ is given twice");
      had_metadata = true;
      if (!st_parse_metadata(p, h)) return false;
    } else if (!st_parse_tensor(p, h, name)) {
      return false;
    }
    if (!st_parse_next_member(p, &done)) return false;
  }
  while (p->at < p->n && p->s[p->at] == ' ') p->at++;
  return p->at == p->n || st_parse_bad(p, "something follows the JSON object");
}

sm_status sm_st_parse_header(const char *json, size_t bytes, sm_arena *arena, st_header *out, sm_error *err) {
  scan p = {.s = json, .n = bytes, .arena = arena, .err = err};
  memset(out, 0, sizeof *out);
  st_parse_header(&p, out);
  return p.status;
}

void sm_st_header_free(st_header *h) {
  sm_free(h->tensors);
  sm_free(h->pairs);
  memset(h, 0, sizeof *h);
}

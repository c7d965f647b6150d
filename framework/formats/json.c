/* json.c — a small builder of JSON texts with keys in the caller's order.
 *
 * Metrics must come out as the same bytes whenever the same numbers go in, so there are no spaces, no
 * reordering and one way to print each number. cJSON reads; it does not write, since it prints doubles with
 * 15 or 17 digits as it happens. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "bytes.h"
#include "framework/formats/formats.h"

enum { MAX_DEPTH = 63 };

static void json_quoted(sm_text *t, const char *utf8) {
  const unsigned char *s = (const unsigned char *)utf8;
  size_t left = strlen(utf8), n;
  sm_text_bytes(t, "\"", 1);
  for (; left; s += n, left -= n) {
    n = sm_utf8_length(s, left);
    if (!n) {
      sm_text_bytes(t, "\xEF\xBF\xBD", 3);
      n = 1;
    } else if (*s == '"' || *s == '\\') {
      sm_text_add(t, "\\%c", *s);
    } else if (*s == '\n') {
      sm_text_bytes(t, "\\n", 2);
    } else if (*s == '\t') {
      sm_text_bytes(t, "\\t", 2);
    } else if (*s < 0x20) {
      sm_text_add(t, "\\u%04x", *s);
    } else {
      sm_text_bytes(t, s, n);
    }
  }
  sm_text_bytes(t, "\"", 1);
}

/* Comma and key: what comes before every value. */
static void json_before(sm_json *j, const char *key) {
  bool array = j->arrays >> j->depth & 1;
  if (j->depth == 0) sm_json_begin(j);
  if (array != !key)
    j->text.failed = true; /* a key in an array, or none in an object: the caller's mistake */
  if (j->comma) sm_text_bytes(&j->text, ",", 1);
  if (key) {
    json_quoted(&j->text, key);
    sm_text_bytes(&j->text, ":", 1);
  }
  j->comma = true;
}

static void json_open_bracket(sm_json *j, bool array) {
  if (j->depth == MAX_DEPTH) {
    j->text.failed = true;
    return;
  }
  j->depth++;
  j->arrays = array ? j->arrays | (uint64_t)1 << j->depth : j->arrays & ~((uint64_t)1 << j->depth);
  j->comma = false;
  sm_text_bytes(&j->text, array ? "[" : "{", 1);
}

void sm_json_begin(sm_json *j) {
  if (j->text.failed) sm_text_free(&j->text);
  j->text.len = 0;
  j->depth = 0;
  json_open_bracket(j, false);
}

void sm_json_int(sm_json *j, const char *key, int64_t v) {
  json_before(j, key);
  sm_text_add(&j->text, "%" PRId64, v);
}

void sm_json_double(sm_json *j, const char *key, double v) {
  char buf[48];
  json_before(j, key);
  sm_text_add(&j->text, "%s", isfinite(v) ? sm_double_text(v, buf, sizeof buf) : "null");
}

void sm_json_bool(sm_json *j, const char *key, bool v) {
  json_before(j, key);
  sm_text_add(&j->text, v ? "true" : "false");
}

void sm_json_null(sm_json *j, const char *key) {
  json_before(j, key);
  sm_text_add(&j->text, "null");
}

void sm_json_string(sm_json *j, const char *key, const char *utf8) {
  json_before(j, key);
  if (utf8) json_quoted(&j->text, utf8);
  else sm_text_add(&j->text, "null");
}

void sm_json_object(sm_json *j, const char *key) {
  json_before(j, key);
  json_open_bracket(j, false);
}

void sm_json_array(sm_json *j, const char *key) {
  json_before(j, key);
  json_open_bracket(j, true);
}

void sm_json_close(sm_json *j) {
  if (j->depth < 2) {
    j->text.failed = true; /* the outermost object is closed by sm_json_finish */
    return;
  }
  sm_text_bytes(&j->text, j->arrays >> j->depth & 1 ? "]" : "}", 1);
  j->depth--;
  j->comma = true;
}

const char *sm_json_finish(sm_json *j) {
  if (j->depth == 0) sm_json_begin(j);
  if (j->depth != 1) j->text.failed = true;
  sm_text_bytes(&j->text, "}", 1);
  j->depth = 0;
  return j->text.failed ? NULL : j->text.s;
}

void sm_json_free(sm_json *j) {
  sm_text_free(&j->text);
  memset(j, 0, sizeof *j);
}

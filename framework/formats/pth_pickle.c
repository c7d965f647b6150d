/* pth_pickle.c — the pickle machine: opcodes of protocols 0 to 5 to inert values (Python, Lib/pickletools.py).
 *
 * It executes nothing. A name that Python would import becomes a value with that name; what a call would make
 * becomes an object without contents, unless pth_known.c knows what it means. Lengths and indices are checked
 * before they are used; the stack, the memo and the pool are bounded. */
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "pth.h"

typedef struct machine {
  pth_pool *pool;
  const unsigned char *data;
  size_t bytes, at, begin;
  pth_ref *stack, *memo;
  uint32_t *mark; /* heights of the stack at each MARK */
  uint32_t height, stack_room, marks, mark_room, memo_count, memo_room;
} machine;

static bool pickle_ok(const machine *m) { return !m->pool->status; }
static pth_ref pickle_bad(machine *m, const char *what) {
  return sm_pth_bad(m->pool, "byte %zu: %s", m->at - m->begin, what);
}

/* ---- reading ------------------------------------------------------------------------------------------ */

static const unsigned char *pickle_take(machine *m, uint64_t n) {
  if (n > m->bytes - m->at) {
    pickle_bad(m, "it ends too early");
    return NULL;
  }
  const unsigned char *at = m->data + m->at;
  m->at += (size_t)n;
  return at;
}

static uint64_t pickle_unsigned(machine *m, int bytes) {
  const unsigned char *at = pickle_take(m, (uint64_t)bytes);
  uint64_t value = 0;
  for (int i = bytes - 1; at && i >= 0; i--) value = value << 8 | at[i];
  return value;
}

/* Up to a newline, which is passed over; *n: its length. */
static const char *pickle_line(machine *m, size_t *n) {
  const unsigned char *at = m->data + m->at, *end = memchr(at, '\n', m->bytes - m->at);
  if (!end) {
    pickle_bad(m, "a line has no end");
    return NULL;
  }
  *n = (size_t)(end - at);
  m->at += *n + 1;
  return (const char *)at;
}

static bool pickle_is_utf8(const char *s, size_t n) {
  for (size_t i = 0, length; i < n; i += length)
    if (!(length = sm_utf8_length((const unsigned char *)s + i, n - i))) return false;
  return true;
}

/* ---- the stack ---------------------------------------------------------------------------------------- */

static bool pickle_grow(machine *m, uint32_t **array, uint32_t need, uint32_t *room) {
  if (need <= *room) return true;
  if (need > PTH_STACK_MAX) return pickle_bad(m, "its stack or memo grows too large"), false;
  uint32_t more = *room ? *room : 64;
  while (more < need) more *= 2;
  uint32_t *grown = sm_realloc(*array, more * sizeof **array);
  if (!grown) {
    if (pickle_ok(m)) m->pool->status = sm_fail(m->pool->err, SM_ENOMEM, "no memory for a pickle");
    return false;
  }
  memset(grown + *room, 0, (more - *room) * sizeof *grown);
  *array = grown;
  *room = more;
  return true;
}

static void pickle_push(machine *m, pth_ref v) {
  if (v && pickle_ok(m) && pickle_grow(m, &m->stack, m->height + 1, &m->stack_room)) m->stack[m->height++] = v;
}

/* The lowest height that values may be taken from: behind the last MARK. */
static uint32_t pickle_floor(const machine *m) { return m->marks ? m->mark[m->marks - 1] : 0; }

static pth_ref pickle_pop(machine *m) {
  if (m->height <= pickle_floor(m)) return pickle_bad(m, "it takes a value from an empty stack");
  return m->stack[--m->height];
}

static pth_ref pickle_top(machine *m) {
  if (m->height <= pickle_floor(m)) return pickle_bad(m, "it looks at an empty stack");
  return m->stack[m->height - 1];
}

static void pickle_push_mark(machine *m) {
  if (pickle_grow(m, &m->mark, m->marks + 1, &m->mark_room)) m->mark[m->marks++] = m->height;
}

/* Takes the last MARK away: values from *from on lie behind it. */
static bool pickle_pop_mark(machine *m, uint32_t *from) {
  if (!m->marks) return pickle_bad(m, "there is no MARK"), false;
  *from = m->mark[--m->marks];
  return true;
}

static void pickle_put(machine *m, uint64_t index) {
  pth_ref v = pickle_top(m);
  if (!v) return;
  if (index >= PTH_STACK_MAX) {
    pickle_bad(m, "its memo has absurd numbers");
    return;
  }
  if (!pickle_grow(m, &m->memo, (uint32_t)index + 1, &m->memo_room)) return;
  if (!m->memo[index]) m->memo_count++;
  m->memo[index] = v;
}

static void pickle_get(machine *m, uint64_t index) {
  if (index >= m->memo_room || !m->memo[index]) pickle_bad(m, "it asks for a memo entry that was never set");
  else pickle_push(m, m->memo[index]);
}

/* ---- values ------------------------------------------------------------------------------------------- */

static void pickle_plain(machine *m, pth_kind kind, int64_t number) {
  pth_ref v = sm_pth_new(m->pool, kind);
  if (v) m->pool->value[v].as.number = number;
  pickle_push(m, v);
}

static void pickle_text(machine *m, pth_kind kind, const void *s, size_t n) {
  if (!s) return;
  if (kind == PTH_TEXT && !pickle_is_utf8(s, n)) {
    pickle_bad(m, "a text is not UTF-8");
    return;
  }
  pth_ref v = sm_pth_new(m->pool, kind);
  if (v) m->pool->value[v].as.text.s = s, m->pool->value[v].as.text.n = n;
  pickle_push(m, v);
}

static void pickle_counted(machine *m, pth_kind kind, int length_bytes) {
  const uint64_t n = pickle_unsigned(m, length_bytes);
  if (pickle_ok(m)) pickle_text(m, kind, pickle_take(m, n), (size_t)n);
}

/* Bytes of Python 2: text where they are UTF-8. */
static void pickle_string(machine *m, int length_bytes) {
  const uint64_t n = pickle_unsigned(m, length_bytes);
  const char *s = pickle_ok(m) ? (const char *)pickle_take(m, n) : NULL;
  if (s) pickle_text(m, pickle_is_utf8(s, (size_t)n) ? PTH_TEXT : PTH_BYTES, s, (size_t)n);
}

/* A number of n bytes, little-endian, two's complement; what does not fit into 64 bits keeps its bytes. */
static void pickle_long(machine *m, uint64_t n) {
  const unsigned char *at = pickle_take(m, n);
  if (!at) return;
  if (n > 8) {
    pickle_text(m, PTH_LONG, at, (size_t)n);
    return;
  }
  uint64_t value = n && at[n - 1] & 0x80 ? ~(uint64_t)0 : 0;
  for (size_t i = (size_t)n; i-- > 0;) value = value << 8 | at[i];
  pickle_plain(m, PTH_INT, (int64_t)value);
}

static void pickle_real(machine *m) {
  const unsigned char *at = pickle_take(m, 8);
  uint64_t bits = 0;
  if (!at) return;
  for (int i = 0; i < 8; i++) bits = bits << 8 | at[i]; /* big-endian, alone among all numbers */
  pth_ref v = sm_pth_new(m->pool, PTH_FLOAT);
  if (v) memcpy(&m->pool->value[v].as.real, &bits, sizeof bits);
  pickle_push(m, v);
}

/* A number written out, of protocol 0: "12", "12L", "1.5"; "00" and "01" are false and true. */
static void pickle_written(machine *m, bool real) {
  char text[64];
  size_t n = 0;
  const char *line = pickle_line(m, &n);
  int64_t whole;
  double value;
  if (!line) return;
  if (n >= sizeof text) {
    pickle_text(m, PTH_LONG, line, n);
    return;
  }
  memcpy(text, line, n);
  text[n] = 0;
  if (!real && n && text[n - 1] == 'L') text[--n] = 0;
  if (!real && (!strcmp(text, "00") || !strcmp(text, "01"))) pickle_plain(m, PTH_BOOL, text[1] == '1');
  else if (!real && sm_parse_int(text, &whole)) pickle_plain(m, PTH_INT, whole);
  else if (real && sm_parse_double(text, &value)) {
    pth_ref v = sm_pth_new(m->pool, PTH_FLOAT);
    if (v) m->pool->value[v].as.real = value;
    pickle_push(m, v);
  } else pickle_text(m, PTH_LONG, line, n);
}

/* A text of protocol 0: what is escaped in it is not read, and serves as no name. */
static void pickle_line_text(machine *m, bool quoted) {
  size_t n = 0;
  const char *s = pickle_line(m, &n);
  if (!s) return;
  if (quoted && n >= 2 && (*s == '\'' || *s == '"') && s[n - 1] == *s) s++, n -= 2;
  const bool plain = !memchr(s, '\\', n) && pickle_is_utf8(s, n);
  pickle_text(m, plain ? PTH_TEXT : PTH_BYTES, s, n);
}

static pth_ref pickle_global(machine *m, const char *s, size_t module, size_t n) {
  pth_ref v = sm_pth_new(m->pool, PTH_GLOBAL);
  if (v) {
    m->pool->value[v].as.global.s = s;
    m->pool->value[v].as.global.n = (uint32_t)n, m->pool->value[v].as.global.module = (uint32_t)module;
  }
  return v;
}

static pth_ref pickle_global_lines(machine *m) {
  size_t module = 0, name = 0;
  const char *s = pickle_line(m, &module), *t = s ? pickle_line(m, &name) : NULL;
  if (!t) return 0;
  if (module + name > PTH_NAME_MAX) return pickle_bad(m, "a class has an absurd name");
  return pickle_global(m, s, module, module + 1 + name);
}

static void pickle_stack_global(machine *m) {
  pth_ref name = pickle_pop(m), module = name ? pickle_pop(m) : 0;
  if (!module) return;
  if (sm_pth_kind_of(m->pool, name) != PTH_TEXT || sm_pth_kind_of(m->pool, module) != PTH_TEXT) {
    pickle_bad(m, "a class is named by what is no text");
    return;
  }
  const pth_value a = m->pool->value[module], b = m->pool->value[name];
  const size_t n = a.as.text.n + 1 + b.as.text.n;
  if (n > PTH_NAME_MAX) {
    pickle_bad(m, "a class has an absurd name");
    return;
  }
  char *s = sm_arena_alloc(m->pool->arena, n);
  if (!s) {
    m->pool->status = sm_fail(m->pool->err, SM_ENOMEM, "no memory for a pickle");
    return;
  }
  memcpy(s, a.as.text.s, a.as.text.n);
  s[a.as.text.n] = '\n';
  memcpy(s + a.as.text.n + 1, b.as.text.s, b.as.text.n);
  pickle_push(m, pickle_global(m, s, a.as.text.n, n));
}

/* ---- containers and calls ----------------------------------------------------------------------------- */

static bool pickle_collects(const machine *m, pth_ref v, pth_kind wanted) {
  const pth_kind kind = sm_pth_kind_of(m->pool, v);
  return kind == wanted || kind == PTH_OBJECT || kind == PTH_BROKEN;
}

/* Entries from stack[from] on into a container, single or in pairs; an inert object forgets them. */
static void pickle_fill(machine *m, pth_ref to, uint32_t from, bool pairs) {
  const bool keep = sm_pth_kind_of(m->pool, to) == (pairs ? PTH_DICT : PTH_LIST) ||
                    sm_pth_kind_of(m->pool, to) == PTH_TUPLE;
  if (pairs && (m->height - from) % 2) {
    pickle_bad(m, "a key has no value");
    return;
  }
  for (uint32_t i = from; keep && i < m->height; i += pairs ? 2 : 1)
    sm_pth_push(m->pool, to, pairs ? m->stack[i] : 0, m->stack[pairs ? i + 1 : i]);
  m->height = from;
}

/* What lies behind the last MARK becomes a container. */
static void pickle_collect(machine *m, pth_kind kind) {
  uint32_t from = 0;
  if (!pickle_pop_mark(m, &from)) return;
  pth_ref v = sm_pth_new(m->pool, kind);
  if (v) pickle_fill(m, v, from, kind == PTH_DICT);
  pickle_push(m, v);
}

/* What lies behind the last MARK goes into the container before it. */
static void pickle_extend(machine *m, bool pairs) {
  uint32_t from = 0;
  if (!pickle_pop_mark(m, &from)) return;
  if (from <= pickle_floor(m)) {
    pickle_bad(m, "there is nothing to put entries into");
    return;
  }
  pth_ref to = m->stack[from - 1];
  if (!pickle_collects(m, to, pairs ? PTH_DICT : PTH_LIST)) pickle_bad(m, "entries go into what holds none");
  else pickle_fill(m, to, from, pairs);
}

static void pickle_append(machine *m, bool pair) {
  pth_ref value = pickle_pop(m), key = value && pair ? pickle_pop(m) : 0, to = value ? pickle_top(m) : 0;
  if (!to || (pair && !key)) return;
  if (!pickle_collects(m, to, pair ? PTH_DICT : PTH_LIST)) pickle_bad(m, "an entry goes into what holds none");
  else if (sm_pth_kind_of(m->pool, to) == (pair ? PTH_DICT : PTH_LIST)) sm_pth_push(m->pool, to, key, value);
}

static void pickle_tuple(machine *m, uint32_t n) {
  pth_ref v = sm_pth_new(m->pool, PTH_TUPLE);
  if (m->height - pickle_floor(m) < n) pickle_bad(m, "a tuple wants more values than there are");
  else if (v) pickle_fill(m, v, m->height - n, false);
  pickle_push(m, v);
}

static pth_ref pickle_object(machine *m, pth_ref of) {
  pth_ref v = sm_pth_new(m->pool, PTH_OBJECT);
  if (v) m->pool->value[v].as.object.of = of;
  return v;
}

static void pickle_reduce(machine *m) {
  pth_ref arguments = pickle_pop(m), function = arguments ? pickle_pop(m) : 0;
  if (!function) return;
  if (sm_pth_kind_of(m->pool, arguments) != PTH_TUPLE) pickle_bad(m, "a call's arguments are no tuple");
  else pickle_push(m, sm_pth_reduce(m->pool, function, arguments));
}

/* NEWOBJ, NEWOBJ_EX: a class called with arguments. */
static void pickle_new_object(machine *m, bool named) {
  pth_ref last = pickle_pop(m), arguments = last && named ? pickle_pop(m) : last;
  pth_ref class = arguments ? pickle_pop(m) : 0;
  if (!class) return;
  if (sm_pth_kind_of(m->pool, arguments) != PTH_TUPLE) pickle_bad(m, "a call's arguments are no tuple");
  else if (named) pickle_push(m, pickle_object(m, class));
  else pickle_push(m, sm_pth_reduce(m->pool, class, arguments));
}

/* INST names the class in two lines, OBJ has it behind the MARK: protocols 0 and 1. */
static void pickle_instance(machine *m, bool lines) {
  pth_ref class = lines ? pickle_global_lines(m) : 0;
  uint32_t from = 0;
  if ((lines && !class) || !pickle_pop_mark(m, &from)) return;
  if (!lines && from < m->height) class = m->stack[from];
  if (!class) {
    pickle_bad(m, "an object has no class");
    return;
  }
  m->height = from;
  pickle_push(m, pickle_object(m, class));
}

/* BUILD: an object's attributes; dicts have some that nobody needs (_metadata). */
static void pickle_build(machine *m) {
  pth_ref state = pickle_pop(m), to = state ? pickle_top(m) : 0;
  if (!to) return;
  if (sm_pth_kind_of(m->pool, to) == PTH_OBJECT) m->pool->value[to].as.object.state = state;
}

static void pickle_persistent(machine *m) {
  pth_ref id = pickle_pop(m);
  if (id) pickle_push(m, sm_pth_persistent(m->pool, id));
}

static void pickle_drop(machine *m) {
  if (m->marks && m->mark[m->marks - 1] == m->height) m->marks--;
  else pickle_pop(m);
}

static void pickle_drop_marked(machine *m) {
  uint32_t from = 0;
  if (pickle_pop_mark(m, &from)) m->height = from;
}

static void pickle_written_index(machine *m, bool put) {
  char text[24];
  size_t n = 0;
  int64_t index = -1;
  const char *line = pickle_line(m, &n);
  if (!line) return;
  snprintf(text, sizeof text, "%.*s", (int)(n < sizeof text ? n : 0), line);
  if (!sm_parse_int(text, &index) || index < 0) pickle_bad(m, "its memo has absurd numbers");
  else if (put) pickle_put(m, (uint64_t)index);
  else pickle_get(m, (uint64_t)index);
}

/* ---- opcodes ------------------------------------------------------------------------------------------ */

static void pickle_protocol(machine *m) {
  if (pickle_unsigned(m, 1) > 5) pickle_bad(m, "it is of a protocol beyond 5");
}

/* Values: true if the opcode was one of these. */
static bool pickle_value(machine *m, int op) {
  switch (op) {
    case 'N': return pickle_plain(m, PTH_NONE, 0), true;
    case 0x88: return pickle_plain(m, PTH_BOOL, 1), true;
    case 0x89: return pickle_plain(m, PTH_BOOL, 0), true;
    case 'I': case 'L': return pickle_written(m, false), true;
    case 'F': return pickle_written(m, true), true;
    case 'G': return pickle_real(m), true;
    case 'J': return pickle_plain(m, PTH_INT, (int32_t)(uint32_t)pickle_unsigned(m, 4)), true;
    case 'K': return pickle_plain(m, PTH_INT, (int64_t)pickle_unsigned(m, 1)), true;
    case 'M': return pickle_plain(m, PTH_INT, (int64_t)pickle_unsigned(m, 2)), true;
    case 0x8a: return pickle_long(m, pickle_unsigned(m, 1)), true;
    case 0x8b: return pickle_long(m, pickle_unsigned(m, 4)), true;
    case 'S': return pickle_line_text(m, true), true;
    case 'V': return pickle_line_text(m, false), true;
    case 'T': return pickle_string(m, 4), true;
    case 'U': return pickle_string(m, 1), true;
    case 'X': return pickle_counted(m, PTH_TEXT, 4), true;
    case 0x8c: return pickle_counted(m, PTH_TEXT, 1), true;
    case 0x8d: return pickle_counted(m, PTH_TEXT, 8), true;
    case 'B': return pickle_counted(m, PTH_BYTES, 4), true;
    case 'C': return pickle_counted(m, PTH_BYTES, 1), true;
    case 0x8e: case 0x96: return pickle_counted(m, PTH_BYTES, 8), true;
    default: return false;
  }
}

static bool pickle_container(machine *m, int op) {
  switch (op) {
    case ')': return pickle_push(m, sm_pth_new(m->pool, PTH_TUPLE)), true;
    case ']': return pickle_push(m, sm_pth_new(m->pool, PTH_LIST)), true;
    case '}': return pickle_push(m, sm_pth_new(m->pool, PTH_DICT)), true;
    case 0x8f: return pickle_push(m, sm_pth_new(m->pool, PTH_OBJECT)), true; /* a set */
    case 't': return pickle_collect(m, PTH_TUPLE), true;
    case 'l': return pickle_collect(m, PTH_LIST), true;
    case 'd': return pickle_collect(m, PTH_DICT), true;
    case 0x91: return pickle_drop_marked(m), pickle_push(m, sm_pth_new(m->pool, PTH_OBJECT)), true;
    case 0x85: return pickle_tuple(m, 1), true;
    case 0x86: return pickle_tuple(m, 2), true;
    case 0x87: return pickle_tuple(m, 3), true;
    case 'a': return pickle_append(m, false), true;
    case 's': return pickle_append(m, true), true;
    case 'e': case 0x90: return pickle_extend(m, false), true;
    case 'u': return pickle_extend(m, true), true;
    default: return false;
  }
}

static bool pickle_call(machine *m, int op) {
  switch (op) {
    case 'c': return pickle_push(m, pickle_global_lines(m)), true;
    case 0x93: return pickle_stack_global(m), true;
    case 'R': return pickle_reduce(m), true;
    case 'b': return pickle_build(m), true;
    case 'i': return pickle_instance(m, true), true;
    case 'o': return pickle_instance(m, false), true;
    case 0x81: return pickle_new_object(m, false), true;
    case 0x92: return pickle_new_object(m, true), true;
    case 'Q': return pickle_persistent(m), true;
    default: return false;
  }
}

static bool pickle_machinery(machine *m, int op) {
  switch (op) {
    case 0x80: return pickle_protocol(m), true;
    case 0x95: return pickle_unsigned(m, 8), true; /* FRAME: a hint for buffers */
    case '(': return pickle_push_mark(m), true;
    case '0': return pickle_drop(m), true;
    case '1': return pickle_drop_marked(m), true;
    case '2': return pickle_push(m, pickle_top(m)), true;
    case 'q': return pickle_put(m, pickle_unsigned(m, 1)), true;
    case 'r': return pickle_put(m, pickle_unsigned(m, 4)), true;
    case 'p': return pickle_written_index(m, true), true;
    case 0x94: return pickle_put(m, m->memo_count), true;
    case 'h': return pickle_get(m, pickle_unsigned(m, 1)), true;
    case 'j': return pickle_get(m, pickle_unsigned(m, 4)), true;
    case 'g': return pickle_written_index(m, false), true;
    default: return false;
  }
}

pth_ref sm_pth_pickle(pth_pool *pool, const unsigned char *data, size_t bytes, size_t *at) {
  machine m = {.pool = pool, .data = data, .bytes = bytes, .at = *at, .begin = *at};
  pth_ref object = 0;
  while (pickle_ok(&m) && !object) {
    if (m.at - m.begin > PTH_PICKLE_MAX) pickle_bad(&m, "it is too long");
    const unsigned char *op = pickle_take(&m, 1);
    if (!op) break;
    if (*op == '.') {
      if (m.marks || !(object = pickle_pop(&m))) pickle_bad(&m, "it stops without an object");
      break;
    }
    if (pickle_value(&m, *op) || pickle_container(&m, *op) || pickle_call(&m, *op) || pickle_machinery(&m, *op))
      continue;
    sm_pth_bad(pool, "byte %zu: opcode 0x%02x is none that weights need", m.at - 1 - m.begin, *op);
  }
  *at = m.at;
  sm_free(m.stack);
  sm_free(m.memo);
  sm_free(m.mark);
  return pickle_ok(&m) ? object : 0;
}

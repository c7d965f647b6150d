/* pth_names.c — from nested dicts, lists and tuples to tensors with dotted names: {"a": {"b": [t]}} has a.b.0.
 *
 * A pickle may name one container many times, also inside itself, so containers without tensors are found out
 * once and left, and what has tensors is bounded by depth and by the number of names. Plain values near the
 * top (an epoch, the arguments of the training) become metadata. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pth.h"

typedef struct walk {
  pth_pool *pool;
  pth_names *out;
  char name[PTH_NAME_MAX + 1]; /* of what is looked at */
  size_t bytes;                /* of all names         */
} walk;

static bool names_is_container(pth_kind kind) {
  return kind == PTH_DICT || kind == PTH_LIST || kind == PTH_TUPLE;
}

/* ---- which containers hold tensors -------------------------------------------------------------------- */

typedef struct keyed {
  const char *s;
  size_t n;
  uint32_t item;
} keyed;

static int names_compare_keys(const void *a, const void *b) {
  const keyed *x = a, *y = b;
  const int order = memcmp(x->s, y->s, x->n < y->n ? x->n : y->n);
  if (order || x->n != y->n) return order ? order : x->n < y->n ? -1 : 1;
  return x->item < y->item ? -1 : 1;
}

/* Of equal keys of a dict the last one counts, as in Python. */
static void names_drop_overwritten(walk *w, pth_ref dict) {
  pth_pool *p = w->pool;
  const uint32_t most = p->value[dict].as.items.count;
  keyed *key = sm_malloc((most + 1) * sizeof *key);
  uint32_t n = 0;
  if (!key) {
    p->status = sm_fail(p->err, SM_ENOMEM, "no memory for names");
    return;
  }
  for (uint32_t at = p->value[dict].as.items.first; at && n < most; at = p->item[at].next) {
    const pth_value *k = &p->value[p->item[at].key];
    if (k->kind == PTH_TEXT) key[n++] = (keyed){k->as.text.s, k->as.text.n, at};
  }
  if (n) qsort(key, n, sizeof *key, names_compare_keys);
  for (uint32_t i = 1; i < n; i++)
    if (key[i - 1].n == key[i].n && !memcmp(key[i - 1].s, key[i].s, key[i].n)) p->item[key[i - 1].item].value = 0;
  sm_free(key);
}

static bool names_holds(walk *w, pth_ref v, int depth) {
  pth_pool *p = w->pool;
  const pth_kind kind = sm_pth_kind_of(p, v);
  if (kind == PTH_TENSOR || kind == PTH_BROKEN) return true;
  if (!names_is_container(kind) || p->status) return false;
  pth_value *c = &p->value[v];
  if (c->seen == PTH_OPEN) return sm_pth_bad(p, "a container holds itself"), false;
  if (c->seen != PTH_UNSEEN) return c->seen == PTH_HOLDS;
  if (depth >= PTH_DEPTH_MAX)
    return sm_pth_bad(p, "containers lie more than %d deep in one another", PTH_DEPTH_MAX), false;
  bool holds = false;
  c->seen = PTH_OPEN;
  if (kind == PTH_DICT) names_drop_overwritten(w, v);
  for (uint32_t at = c->as.items.first; at && !p->status; at = p->item[at].next)
    holds = names_holds(w, p->item[at].value, depth + 1) || holds;
  c->seen = holds ? PTH_HOLDS : PTH_EMPTY;
  return holds;
}

/* ---- names -------------------------------------------------------------------------------------------- */

/* A key as a part of a name; NULL: it cannot be one. */
static const char *names_key(const pth_pool *p, pth_ref key, char *buf, size_t size, size_t *n) {
  const pth_kind kind = sm_pth_kind_of(p, key);
  const char *s = buf;
  if (kind == PTH_TEXT) {
    s = p->value[key].as.text.s;
    *n = p->value[key].as.text.n;
    return memchr(s, 0, *n) ? NULL : s;
  }
  if (kind == PTH_INT) snprintf(buf, size, "%" PRId64, p->value[key].as.number);
  else if (kind == PTH_BOOL) snprintf(buf, size, "%s", p->value[key].as.number ? "True" : "False");
  else if (kind == PTH_NONE) snprintf(buf, size, "None");
  else return NULL;
  *n = strlen(buf);
  return s;
}

/* Append a part behind `length` bytes of the name. Returns the new length; SIZE_MAX: it does not fit. */
static size_t names_append(walk *w, size_t length, bool root, const char *part, size_t n) {
  if (length + 1 + n > PTH_NAME_MAX) return SIZE_MAX;
  if (!root) w->name[length++] = '.';
  memcpy(w->name + length, part, n);
  w->name[length + n] = 0;
  return length + n;
}

static bool names_room(walk *w, void **array, size_t n, size_t *room, size_t size) {
  if (n < *room) return true;
  const size_t more = *room ? *room * 2 : 64;
  void *grown = sm_realloc(*array, more * size);
  if (!grown) return w->pool->status = sm_fail(w->pool->err, SM_ENOMEM, "no memory for names"), false;
  *array = grown;
  *room = more;
  return true;
}

static void names_add(walk *w, uint32_t tensor, size_t length) {
  pth_names *out = w->out;
  void *array = out->named;
  if (out->count >= PTH_TENSORS_MAX || (w->bytes += length + 1) > PTH_TEXT_MAX) {
    sm_pth_bad(w->pool, "it names more than %d tensors, or by texts too long", PTH_TENSORS_MAX);
    return;
  }
  if (!names_room(w, &array, out->count, &out->room, sizeof *out->named)) return;
  out->named = array;
  const char *name = sm_arena_strdup(w->pool->arena, w->name);
  if (!name) w->pool->status = sm_fail(w->pool->err, SM_ENOMEM, "no memory for names");
  else out->named[out->count++] = (pth_named){name, tensor};
}

static void names_walk(walk *w, pth_ref v, size_t length, bool root) {
  pth_pool *p = w->pool;
  const pth_kind kind = sm_pth_kind_of(p, v);
  char buf[160];
  if (kind == PTH_TENSOR) names_add(w, p->value[v].as.index, length);
  if (kind == PTH_BROKEN)
    sm_pth_unsupported(p, "tensor '%.120s' is made by %s, which smalti does not know", w->name,
                       sm_pth_global_text(p, p->value[v].as.object.of, buf, sizeof buf));
  if (!names_is_container(kind) || p->value[v].seen != PTH_HOLDS) return;
  uint32_t number = 0;
  for (uint32_t at = p->value[v].as.items.first; at && !p->status; at = p->item[at].next, number++) {
    const pth_ref value = p->item[at].value;
    const pth_kind inner = sm_pth_kind_of(p, value);
    size_t n = 0;
    if (inner != PTH_TENSOR && inner != PTH_BROKEN &&
        !(names_is_container(inner) && p->value[value].seen == PTH_HOLDS))
      continue;
    if (kind != PTH_DICT) n = (size_t)snprintf(buf, sizeof buf, "%" PRIu32, number);
    const char *part = kind == PTH_DICT ? names_key(p, p->item[at].key, buf, sizeof buf, &n) : buf;
    if (!part) {
      sm_pth_unsupported(p, "a tensor in '%.120s' has a key that is no text and no number", w->name);
      break;
    }
    const size_t longer = names_append(w, length, root, part, n);
    if (longer == SIZE_MAX) sm_pth_bad(p, "a tensor's name is longer than %d bytes", PTH_NAME_MAX);
    else names_walk(w, value, longer, false);
    w->name[length] = 0;
  }
}

/* ---- plain values ------------------------------------------------------------------------------------- */

static void names_pair(walk *w, pth_ref v) {
  pth_pool *p = w->pool;
  pth_names *out = w->out;
  const pth_value *x = &p->value[v];
  char number[32];
  const char *text = number;
  size_t n = 0;
  switch (sm_pth_kind_of(p, v)) {
    case PTH_TEXT:
      text = x->as.text.s, n = x->as.text.n;
      if (n > 200 || memchr(text, 0, n)) return;
      break;
    case PTH_INT: n = (size_t)snprintf(number, sizeof number, "%" PRId64, x->as.number); break;
    case PTH_BOOL: n = (size_t)snprintf(number, sizeof number, "%s", x->as.number ? "true" : "false"); break;
    case PTH_FLOAT: n = strlen(sm_double_text(x->as.real, number, sizeof number)); break;
    default: return;
  }
  void *array = out->pairs;
  if (out->npairs >= PTH_PAIRS_MAX || !names_room(w, &array, out->npairs, &out->pairs_room, sizeof *out->pairs))
    return;
  out->pairs = array;
  st_pair pair = {.key = sm_arena_printf(p->arena, "pth.%s", w->name),
                  .value = sm_arena_strndup(p->arena, text, n)};
  for (size_t i = 0; pair.key && i < out->npairs; i++)
    if (!strcmp(out->pairs[i].key, pair.key)) return; /* keys may meet; the first one stays */
  if (pair.key && pair.value) out->pairs[out->npairs++] = pair;
  else p->status = sm_fail(p->err, SM_ENOMEM, "no memory for names");
}

/* Plain values of the outermost dict, and of dicts and of objects' attributes (argparse.Namespace) in it. */
static void names_plain(walk *w, pth_ref v, size_t length, int depth) {
  pth_pool *p = w->pool;
  char buf[160];
  if (sm_pth_kind_of(p, v) == PTH_OBJECT) v = p->value[v].as.object.state;
  if (sm_pth_kind_of(p, v) != PTH_DICT) return;
  uint32_t looked = 0;
  for (uint32_t at = p->value[v].as.items.first; at && !p->status && looked++ < 4096; at = p->item[at].next) {
    size_t n = 0;
    const char *part = names_key(p, p->item[at].key, buf, sizeof buf, &n);
    const size_t longer = part && n < 100 ? names_append(w, length, depth == 0, part, n) : SIZE_MAX;
    if (longer == SIZE_MAX) continue;
    names_pair(w, p->item[at].value);
    if (depth == 0) names_plain(w, p->item[at].value, longer, 1);
    w->name[length] = 0;
  }
}

sm_status sm_pth_name(pth_pool *pool, pth_ref root, pth_names *out) {
  walk w = {.pool = pool, .out = out};
  *out = (pth_names){0};
  if (names_holds(&w, root, 0)) names_walk(&w, root, 0, true);
  if (!pool->status && !out->count) {
    char class[120];
    if (sm_pth_kind_of(pool, root) == PTH_OBJECT) {
      sm_pth_unsupported(pool, "it holds a Python object (%s), not weights by name",
                         sm_pth_global_text(pool, pool->value[root].as.object.of, class, sizeof class));
      sm_hint(pool->err, "save its weights alone, in Python: torch.save(model.state_dict(), FILE)");
    } else sm_pth_unsupported(pool, "it holds no tensors");
  }
  names_plain(&w, root, 0, 0);
  return pool->status;
}

void sm_pth_names_free(pth_names *n) {
  sm_free(n->named);
  sm_free(n->pairs);
  *n = (pth_names){0};
}

/* pth_values.c — the values that a pickle makes: one pool of small records that only grows.
 *
 * Value 0 means "none", so an index that was never set is harmless. Containers are lists through a pool of
 * items. The pool owns its arrays; texts belong to the mapped file. */
#include <string.h>

#include "pth.h"

void sm_pth_pool_free(pth_pool *p) {
  sm_free(p->value);
  sm_free(p->item);
  sm_free(p->storage);
  sm_free(p->tensor);
  *p = (pth_pool){0};
}

pth_ref sm_pth_bad(pth_pool *p, const char *fmt, ...) {
  char text[400];
  va_list args;
  if (p->status) return 0;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  p->status = sm_fail(p->err, SM_EFORMAT, "the pickle is damaged or made to harm: %s", text);
  sm_hint(p->err, "download the file again, from where its authors put it");
  return 0;
}

pth_ref sm_pth_unsupported(pth_pool *p, const char *fmt, ...) {
  char text[400];
  va_list args;
  if (p->status) return 0;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  p->status = sm_fail(p->err, SM_EUNSUPPORTED, "%s", text);
  return 0;
}

/* Room for one more record of `size` bytes in *array, which holds n of *room. */
static bool values_grow(pth_pool *p, void **array, uint32_t n, uint32_t *room, size_t size, const char *what) {
  if (p->status) return false;
  if (n < *room) return true;
  if (n >= PTH_VALUES_MAX) return sm_pth_bad(p, "it makes more than %d %s", PTH_VALUES_MAX, what), false;
  const uint32_t more = *room ? *room * 2 : 64;
  void *grown = sm_realloc(*array, more * size);
  if (!grown) return p->status = sm_fail(p->err, SM_ENOMEM, "no memory for a pickle's %s", what), false;
  *array = grown;
  *room = more;
  return true;
}

pth_ref sm_pth_new(pth_pool *p, pth_kind kind) {
  void *array = p->value;
  if (!p->values) { /* the one that means "none" */
    if (!values_grow(p, &array, 0, &p->value_room, sizeof *p->value, "values")) return 0;
    p->value = array;
    p->value[0] = (pth_value){.kind = PTH_NONE};
    p->values = 1;
  }
  if (!values_grow(p, &array, p->values, &p->value_room, sizeof *p->value, "values")) return 0;
  p->value = array;
  p->value[p->values] = (pth_value){.kind = (uint8_t)kind};
  return p->values++;
}

pth_ref sm_pth_number(pth_pool *p, int64_t number) {
  pth_ref v = sm_pth_new(p, PTH_INT);
  if (v) p->value[v].as.number = number;
  return v;
}

void sm_pth_push(pth_pool *p, pth_ref container, pth_ref key, pth_ref value) {
  void *array = p->item;
  if (!p->items) p->items = 1; /* item 0 ends a list */
  if (p->status || !container ||
      !values_grow(p, &array, p->items, &p->item_room, sizeof *p->item, "entries"))
    return;
  p->item = array;
  p->item[p->items] = (pth_item){key, value, 0};
  pth_value *c = &p->value[container];
  if (c->as.items.last) p->item[c->as.items.last].next = p->items;
  else c->as.items.first = p->items;
  c->as.items.last = p->items++;
  c->as.items.count++;
}

uint32_t sm_pth_new_storage(pth_pool *p) {
  void *array = p->storage;
  if (!values_grow(p, &array, p->storages, &p->storage_room, sizeof *p->storage, "storages")) return 0;
  p->storage = array;
  p->storage[p->storages] = (pth_storage){0};
  return p->storages++;
}

uint32_t sm_pth_new_tensor(pth_pool *p) {
  void *array = p->tensor;
  if (!values_grow(p, &array, p->tensors, &p->tensor_room, sizeof *p->tensor, "tensors")) return 0;
  p->tensor = array;
  p->tensor[p->tensors] = (pth_tensor){0};
  return p->tensors++;
}

pth_kind sm_pth_kind_of(const pth_pool *p, pth_ref v) { return v ? (pth_kind)p->value[v].kind : PTH_NONE; }

pth_ref sm_pth_nth(const pth_pool *p, pth_ref v, uint32_t n) {
  const pth_kind kind = sm_pth_kind_of(p, v);
  if (kind != PTH_TUPLE && kind != PTH_LIST) return 0;
  uint32_t at = p->value[v].as.items.first;
  while (at && n--) at = p->item[at].next;
  return at ? p->item[at].value : 0;
}

bool sm_pth_is(const pth_pool *p, pth_ref v, const char *module, const char *name) {
  if (sm_pth_kind_of(p, v) != PTH_GLOBAL) return false;
  const pth_value *g = &p->value[v];
  const size_t m = strlen(module), n = strlen(name);
  return g->as.global.module == m && g->as.global.n == m + 1 + n && !memcmp(g->as.global.s, module, m) &&
         !memcmp(g->as.global.s + m + 1, name, n);
}

const char *sm_pth_global_text(const pth_pool *p, pth_ref v, char *buf, size_t size) {
  if (sm_pth_kind_of(p, v) != PTH_GLOBAL) return snprintf(buf, size, "something computed"), buf;
  const pth_value *g = &p->value[v];
  size_t at = 0;
  for (size_t i = 0; i < g->as.global.n && at + 1 < size; i++) {
    const char c = i == g->as.global.module ? '.' : g->as.global.s[i];
    buf[at++] = c > 32 && c < 127 ? c : '?';
  }
  buf[at] = 0;
  return buf;
}

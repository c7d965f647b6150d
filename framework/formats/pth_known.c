/* pth_known.c — the few functions and storage types whose meaning is known (torch/_utils.py,
 * torch/serialization.py): what they would make is noted, nothing is called.
 *
 * Tensors are checked against their storage here, so whoever copies one needs no more checks. */
#include <inttypes.h>
#include <string.h>

#include "pth.h"

static const struct {
  const char *storage, *type, *dtype; /* torch.FloatStorage, torch.float32, F32 */
} types[] = {{"FloatStorage", "float32", "F32"}, {"DoubleStorage", "float64", "F64"},
             {"HalfStorage", "float16", "F16"},  {"BFloat16Storage", "bfloat16", "BF16"},
             {"LongStorage", "int64", "I64"},    {"IntStorage", "int32", "I32"},
             {"ShortStorage", "int16", "I16"},   {"CharStorage", "int8", "I8"},
             {"ByteStorage", "uint8", "U8"},     {"BoolStorage", "bool", "BOOL"},
             {"", "uint16", "U16"},              {"", "uint32", "U32"},
             {"", "uint64", "U64"}};
enum { TYPES = sizeof types / sizeof *types };

static bool known_int(const pth_pool *p, pth_ref v, int64_t *number) {
  if (sm_pth_kind_of(p, v) != PTH_INT) return false;
  *number = p->value[v].as.number;
  return true;
}

static uint32_t known_count(const pth_pool *p, pth_ref v) {
  const pth_kind kind = sm_pth_kind_of(p, v);
  return kind == PTH_TUPLE || kind == PTH_LIST || kind == PTH_DICT ? p->value[v].as.items.count : 0;
}

/* ---- storages ----------------------------------------------------------------------------------------- */

static bool known_storage_type(pth_pool *p, pth_ref class, const char **dtype) {
  char name[120];
  if (sm_pth_is(p, class, "torch.storage", "UntypedStorage") ||
      sm_pth_is(p, class, "torch", "UntypedStorage"))
    return *dtype = NULL, true;
  for (int i = 0; i < TYPES; i++)
    if (types[i].storage[0] && (sm_pth_is(p, class, "torch", types[i].storage) ||
                                sm_pth_is(p, class, "torch.cuda", types[i].storage)))
      return *dtype = types[i].dtype, true;
  sm_pth_unsupported(p, "it stores numbers as %s, which smalti does not read",
                     sm_pth_global_text(p, class, name, sizeof name));
  return false;
}

/* The sixth field of the legacy form: None, or (key, offset, size) of a part. */
static bool known_view(pth_pool *p, pth_ref id, pth_storage *s) {
  pth_ref view = known_count(p, id) > 5 ? sm_pth_nth(p, id, 5) : 0;
  if (!view || sm_pth_kind_of(p, view) == PTH_NONE) return true;
  if (sm_pth_kind_of(p, view) != PTH_TUPLE || !known_int(p, sm_pth_nth(p, view, 1), &s->view_at) ||
      !known_int(p, sm_pth_nth(p, view, 2), &s->view_count))
    return sm_pth_bad(p, "a storage's view makes no sense"), false;
  if (s->view_at < 0 || s->view_count < 0 || s->view_at > s->count || s->view_count > s->count - s->view_at)
    return sm_pth_bad(p, "a storage's view lies beyond its storage"), false;
  return s->view = true;
}

pth_ref sm_pth_persistent(pth_pool *p, pth_ref id) {
  pth_storage s = {0};
  pth_ref tag = sm_pth_nth(p, id, 0), key = sm_pth_nth(p, id, 2);
  if (sm_pth_kind_of(p, id) != PTH_TUPLE || known_count(p, id) < 5 || known_count(p, id) > 6 ||
      sm_pth_kind_of(p, tag) != PTH_TEXT || p->value[tag].as.text.n != 7 ||
      memcmp(p->value[tag].as.text.s, "storage", 7) != 0)
    return sm_pth_bad(p, "a persistent id names no storage");
  if (sm_pth_kind_of(p, sm_pth_nth(p, id, 1)) != PTH_GLOBAL) return sm_pth_bad(p, "a storage has no type");
  if (sm_pth_kind_of(p, key) != PTH_TEXT) return sm_pth_bad(p, "a storage's key is no text");
  if (!known_int(p, sm_pth_nth(p, id, 4), &s.count) || s.count < 0)
    return sm_pth_bad(p, "a storage has no count of elements");
  if (!known_storage_type(p, sm_pth_nth(p, id, 1), &s.dtype) || !known_view(p, id, &s)) return 0;
  s.key = p->value[key].as.text.s, s.key_bytes = p->value[key].as.text.n;
  const uint32_t index = sm_pth_new_storage(p);
  pth_ref v = sm_pth_new(p, PTH_STORAGE);
  if (!v) return 0;
  p->storage[index] = s;
  p->value[v].as.index = index;
  return v;
}

/* ---- tensors ------------------------------------------------------------------------------------------ */

/* Elements of a size; false: it is negative, or their bytes overflow. */
static bool known_elements(const pth_tensor *t, int64_t *elements) {
  uint64_t n, bytes;
  if (!sm_st_size(t->dtype, t->ndim, t->size, &n, &bytes)) return false;
  return *elements = (int64_t)n, true;
}

/* Every element lies inside the storage: torch's strides are not negative, so the last one decides. */
static bool known_inside(pth_pool *p, const pth_tensor *t, int64_t count) {
  int64_t elements = 0, last = t->offset, step = 0;
  if (!known_elements(t, &elements)) return sm_pth_bad(p, "a tensor's size overflows"), false;
  for (int d = 0; d < t->ndim; d++)
    if (t->stride[d] < 0) return sm_pth_bad(p, "a tensor's stride is negative"), false;
  if (t->offset < 0 || t->offset > count) return sm_pth_bad(p, "a tensor begins outside its storage"), false;
  for (int d = 0; elements && d < t->ndim; d++)
    if (__builtin_mul_overflow(t->size[d] - 1, t->stride[d], &step) || __builtin_add_overflow(last, step, &last))
      return sm_pth_bad(p, "a tensor's strides overflow"), false;
  if (elements && last >= count) return sm_pth_bad(p, "a tensor reaches beyond its storage"), false;
  return true;
}

static bool known_dims(pth_pool *p, pth_ref size, pth_ref stride, pth_tensor *t) {
  const uint32_t n = known_count(p, size);
  if (sm_pth_kind_of(p, size) != PTH_TUPLE || sm_pth_kind_of(p, stride) != PTH_TUPLE || known_count(p, stride) != n)
    return sm_pth_bad(p, "a tensor's size and strides make no sense"), false;
  if (n > SM_ST_MAX_DIMS)
    return sm_pth_unsupported(p, "a tensor has %" PRIu32 " dimensions, at most %d are read", n, SM_ST_MAX_DIMS),
           false;
  t->ndim = (int)n;
  for (uint32_t d = 0; d < n; d++)
    if (!known_int(p, sm_pth_nth(p, size, d), &t->size[d]) || !known_int(p, sm_pth_nth(p, stride, d), &t->stride[d]))
      return sm_pth_bad(p, "a tensor's size is no whole number"), false;
  return true;
}

static const char *known_dtype(const pth_pool *p, pth_ref v) {
  for (int i = 0; i < TYPES; i++)
    if (sm_pth_is(p, v, "torch", types[i].type)) return types[i].dtype;
  return NULL;
}

/* (storage, offset, size, stride, …); v3 has the type behind two more, as its storage has none. */
static pth_ref known_tensor(pth_pool *p, pth_ref arguments, bool typed) {
  pth_tensor t = {0};
  char name[120];
  pth_ref storage = sm_pth_nth(p, arguments, 0);
  if (known_count(p, arguments) < (typed ? 7u : 4u)) return sm_pth_bad(p, "a tensor is made of too few things");
  if (sm_pth_kind_of(p, storage) != PTH_STORAGE) return sm_pth_bad(p, "a tensor has no storage");
  t.storage = p->value[storage].as.index;
  const pth_storage *s = &p->storage[t.storage];
  if (typed && !(t.dtype = known_dtype(p, sm_pth_nth(p, arguments, 6))))
    return sm_pth_unsupported(p, "a tensor holds %s, which smalti does not read",
                              sm_pth_global_text(p, sm_pth_nth(p, arguments, 6), name, sizeof name));
  if (!typed && !(t.dtype = s->dtype)) return sm_pth_bad(p, "a tensor has no type");
  if (!known_int(p, sm_pth_nth(p, arguments, 1), &t.offset)) return sm_pth_bad(p, "a tensor has no offset");
  if (!known_dims(p, sm_pth_nth(p, arguments, 2), sm_pth_nth(p, arguments, 3), &t)) return 0;
  int64_t count = s->view ? s->view_count : s->count;
  const int64_t size = (int64_t)sm_st_dtype_size(t.dtype);
  if (typed && s->dtype && sm_st_dtype_size(s->dtype) != (size_t)size)
    return sm_pth_bad(p, "a tensor and its storage are of different types");
  if (!s->dtype) count /= size; /* bytes */
  if (!known_inside(p, &t, count)) return 0;
  const uint32_t index = sm_pth_new_tensor(p);
  pth_ref v = sm_pth_new(p, PTH_TENSOR);
  if (!v) return 0;
  p->tensor[index] = t;
  p->value[v].as.index = index;
  return v;
}

/* ---- other calls -------------------------------------------------------------------------------------- */

/* OrderedDict([[key, value], …]), as Python 2 wrote it. */
static pth_ref known_dict(pth_pool *p, pth_ref pairs) {
  pth_ref v = sm_pth_new(p, PTH_DICT);
  if (sm_pth_kind_of(p, pairs) != PTH_LIST) return v;
  for (uint32_t at = p->value[pairs].as.items.first; v && at; at = p->item[at].next) {
    pth_ref pair = p->item[at].value, key = sm_pth_nth(p, pair, 0), value = sm_pth_nth(p, pair, 1);
    if (key && value) sm_pth_push(p, v, key, value);
  }
  return v;
}

static pth_ref known_nothing(pth_pool *p, pth_kind kind, pth_ref of) {
  pth_ref v = sm_pth_new(p, kind);
  if (v) p->value[v].as.object.of = of;
  return v;
}

/* A function of PyTorch that makes a tensor in a way that is not known. */
static bool known_rebuild(const pth_pool *p, pth_ref function) {
  if (sm_pth_kind_of(p, function) != PTH_GLOBAL) return false;
  const pth_value *g = &p->value[function];
  const char *name = g->as.global.s + g->as.global.module + 1;
  const size_t n = g->as.global.n - g->as.global.module - 1;
  return n > 9 && !memcmp(name, "_rebuild_", 9);
}

pth_ref sm_pth_reduce(pth_pool *p, pth_ref function, pth_ref arguments) {
  static const char utils[] = "torch._utils";
  pth_ref first = sm_pth_nth(p, arguments, 0);
  if (sm_pth_is(p, function, utils, "_rebuild_tensor_v2") || sm_pth_is(p, function, utils, "_rebuild_tensor"))
    return known_tensor(p, arguments, false);
  if (sm_pth_is(p, function, utils, "_rebuild_tensor_v3")) return known_tensor(p, arguments, true);
  if (sm_pth_is(p, function, utils, "_rebuild_parameter") ||
      sm_pth_is(p, function, utils, "_rebuild_parameter_with_state") ||
      sm_pth_is(p, function, "torch.nn.parameter", "Parameter")) {
    const pth_kind kind = sm_pth_kind_of(p, first);
    if (kind == PTH_TENSOR || kind == PTH_BROKEN) return first;
    return sm_pth_bad(p, "a parameter is made of no tensor");
  }
  if (sm_pth_is(p, function, "torch._tensor", "_rebuild_from_type_v2")) {
    pth_ref inner = sm_pth_nth(p, arguments, 2);
    if (known_rebuild(p, first) && sm_pth_kind_of(p, inner) == PTH_TUPLE &&
        !sm_pth_is(p, first, "torch._tensor", "_rebuild_from_type_v2"))
      return sm_pth_reduce(p, first, inner);
    return known_nothing(p, PTH_BROKEN, function);
  }
  if (sm_pth_is(p, function, "collections", "OrderedDict") || sm_pth_is(p, function, "builtins", "dict") ||
      sm_pth_is(p, function, "__builtin__", "dict"))
    return known_dict(p, first);
  if (sm_pth_is(p, function, "collections", "defaultdict")) return sm_pth_new(p, PTH_DICT);
  if (sm_pth_is(p, function, "torch", "Size") && sm_pth_kind_of(p, first) == PTH_TUPLE) return first;
  return known_nothing(p, known_rebuild(p, function) ? PTH_BROKEN : PTH_OBJECT, function);
}

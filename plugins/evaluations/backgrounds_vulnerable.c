/* backgrounds_vulnerable.c — foregrounds before all backgrounds, until one of these makes them look like
 * something else; see backgrounds.h. */
#include "backgrounds.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 64, MASK_LIMIT = 1 << 27 }; /* backgrounds between two looks; bytes of a mask's file */

/* A data set: a foreground before `n` of the backgrounds. */
typedef struct before {
  const outside *backgrounds;
  int64_t first, n;
  sm_image foreground;
  bool *mask; /* (height, width): it is there */
  size_t room;
} before;

static int64_t before_count(const void *self) { return ((const before *)self)->n; }
static int before_label(const void *self, int64_t i) {
  const before *b = self;
  return b->backgrounds->label[b->first + i];
}
static const char *before_name(const void *self, int64_t i) {
  const before *b = self;
  return outside_ops.name(b->backgrounds, b->first + i);
}

static sm_status before_read(const void *self, int64_t i, const sm_image_limits *limits, sm_image *to,
                             sm_error *err) {
  const before *b = self;
  const int width = b->foreground.width, height = b->foreground.height;
  sm_image_limits whole = {0};
  if (limits) whole = *limits;
  whole.shrink = NULL;
  sm_status status = outside_ops.read(b->backgrounds, b->first + i, limits ? &whole : NULL, to, err);
  if (!status && (to->width != width || to->height != height))
    status = sm_fail(err, SM_EINVAL, "the background has %d x %d pixels, but the foreground %d x %d",
                     to->width, to->height, width, height);
  for (size_t p = 0; !status && p < (size_t)width * (size_t)height; p++)
    if (b->mask[p]) memcpy(to->rgb + 3 * p, b->foreground.rgb + 3 * p, 3);
  return status;
}

static sm_dataset_ops before_ops(void) {
  sm_dataset_ops ops = outside_ops;
  ops.count = before_count, ops.label = before_label, ops.name = before_name, ops.read = before_read;
  return ops;
}

/* ---- a foreground -------------------------------------------------------------------------------------- */

static bool before_is(const sm_npy *a, size_t i) {
  if (!strcmp(a->dtype, "U8")) return ((const uint8_t *)a->data)[i] != 0;
  if (!strcmp(a->dtype, "F32")) return ((const float *)a->data)[i] != 0;
  if (!strcmp(a->dtype, "F64")) return ((const double *)a->data)[i] != 0;
  if (!strcmp(a->dtype, "I32")) return ((const int32_t *)a->data)[i] != 0;
  return ((const int64_t *)a->data)[i] != 0;
}

static sm_status before_mask(before *b, const char *path, sm_error *err) {
  sm_npy a = {0};
  const size_t pixels = (size_t)b->foreground.width * (size_t)b->foreground.height;
  sm_status status = sm_npy_read(path, MASK_LIMIT, &a, err);
  if (!status && (a.ndim != 2 || a.shape[0] != b->foreground.height || a.shape[1] != b->foreground.width)) {
    status = sm_fail(err, SM_EINVAL, "the mask is not of the %d x %d pixels of its picture",
                     b->foreground.width, b->foreground.height);
    sm_fail_at(err, path, 0, 0);
  }
  if (!status && b->room < pixels) {
    sm_free(b->mask);
    b->mask = sm_malloc(pixels * sizeof *b->mask);
    b->room = b->mask ? pixels : 0;
    if (!b->mask) status = sm_fail(err, SM_ENOMEM, "no memory for a mask of %zu pixels", pixels);
  }
  for (size_t i = 0; !status && i < pixels; i++) b->mask[i] = before_is(&a, i);
  sm_npy_free(&a);
  return status;
}

/* ROOT/CLASS/NAME.EXTENSION has its mask at FOLDER/fg_mask[/val]/CLASS/NAME.npy. */
static sm_status before_open(before *b, const char *folder, const char *root, const char *path,
                             sm_error *err) {
  const char *tail = path + strlen(root), *end = strrchr(tail, '.');
  sm_text mask = {0};
  sm_text_add(&mask, "%s/fg_mask/val", folder);
  if (!mask.failed && !outside_is_folder(mask.s)) mask.s[mask.len -= strlen("/val")] = 0;
  sm_text_add(&mask, "%.*s.npy", (int)(end ? end - tail : (int)strlen(tail)), tail);
  sm_status status = mask.failed ? sm_fail(err, SM_ENOMEM, "no memory for a path") : SM_OK;
  if (!status) status = sm_image_read(path, NULL, NULL, &b->foreground, err);
  if (!status) status = before_mask(b, mask.s, err);
  sm_text_free(&mask);
  return status;
}

/* ---- asking -------------------------------------------------------------------------------------------- */

/* Some backgrounds at a time, until one is enough. */
static sm_status before_ask(sm_eval_context *x, const backgrounds_sets *sets, ask_question *q, int32_t label,
                            before *b, bool *mistaken, sm_error *err) {
  const int64_t all = b->backgrounds->n;
  int32_t class_of[CHUNK];
  sm_status status = SM_OK;
  *mistaken = false;
  for (b->first = 0; !status && !*mistaken && b->first < all; b->first += b->n) {
    q->n = b->n = all - b->first < CHUNK ? all - b->first : CHUNK;
    status = ask_about(x, q, class_of, NULL, err);
    for (int64_t i = 0; !status && i < b->n; i++) {
      if (class_of[i] == ASK_UNREAD) {
        status = sm_fail(err, SM_EINVAL, "a foreground of %d x %d pixels cannot be set before it",
                         b->foreground.width, b->foreground.height);
        sm_fail_at(err, before_name(b, i), 0, 0);
      }
      *mistaken = *mistaken || !backgrounds_right(sets, class_of[i], label);
    }
  }
  return status;
}

static int before_ascending(const void *a, const void *b) {
  return (*(const uint32_t *)a > *(const uint32_t *)b) - (*(const uint32_t *)a < *(const uint32_t *)b);
}

/* `most` of n, ascending, into the front of `order`. */
static void before_draw(uint32_t *order, int64_t n, int64_t most, uint64_t seed) {
  sm_rng rng = sm_rng_make(seed, SM_RNG_EVAL, 0, 0, 38);
  for (int64_t i = 0; i < n; i++) order[i] = (uint32_t)i;
  sm_rng_shuffle(&rng, order, (size_t)n);
  qsort(order, (size_t)most, sizeof *order, before_ascending);
}

static sm_status before_all(sm_eval_context *x, const backgrounds_sets *sets, ask_question *q,
                            const outside *originals, const char *root, uint32_t *order, int64_t n, before *b,
                            int64_t *vulnerable, sm_error *err) {
  const double from = q->from, to = q->to;
  const sm_dataset_ops ops = before_ops();
  const int shorter = x->height < x->width ? x->height : x->width;
  sm_status status = SM_OK;
  q->request = (sm_picture_request){.own = &ops, .own_self = b, .resize = shorter};
  for (int64_t i = 0; !status && i < n; i++) {
    bool mistaken = false;
    q->from = from + (to - from) * (double)i / (double)n,
    q->to = from + (to - from) * (double)(i + 1) / (double)n;
    status = before_open(b, sets->folder, root, originals->path.v[order[i]], err);
    if (!status) status = before_ask(x, sets, q, originals->label[order[i]], b, &mistaken, err);
    *vulnerable += mistaken;
  }
  return status;
}

sm_status backgrounds_vulnerable(sm_eval_context *x, const backgrounds_sets *sets, ask_question *q,
                                 int64_t most, uint64_t seed, int64_t *vulnerable, int64_t *n,
                                 sm_error *err) {
  outside originals = {0}, backgrounds = {0};
  before b = {.backgrounds = &backgrounds};
  sm_text root = {0};
  *vulnerable = *n = 0;
  sm_status status = backgrounds_tree(sets, "original", &originals, &root, err);
  if (!status) status = backgrounds_tree(sets, "only_bg_t", &backgrounds, NULL, err);
  uint32_t *order = status ? NULL : sm_malloc((size_t)originals.n * sizeof *order);
  if (!status && !order)
    status = sm_fail(err, SM_ENOMEM, "no memory for %lld foregrounds", (long long)originals.n);
  if (!status) {
    *n = most < originals.n ? most : originals.n;
    before_draw(order, originals.n, *n, seed);
    status = before_all(x, sets, q, &originals, root.s, order, *n, &b, vulnerable, err);
  }
  sm_free(order);
  sm_text_free(&root);
  outside_free(&originals);
  outside_free(&backgrounds);
  sm_image_free(&b.foreground);
  sm_free(b.mask);
  return status;
}

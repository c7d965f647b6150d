/* copies_edits.c — the edits that `copies` makes of a picture, and the pictures of a split with one of them.
 * */
#include <math.h>
#include <string.h>

#include <smalti/corrupt.h>

#include "copies.h"

const char *const copies_kind_names[COPIES_KINDS] = {"crop",     "jpeg",       "resize", "flip",   "blur",
                                                     "contrast", "brightness", "text",   "border", "strong"};

enum { COLOUR_SEVERITY = 3, STRONG_CROP = 50, STRONG_JPEG = 10, LONGEST = 8 /* times the shorter side */ };

/* ---- which --------------------------------------------------------------------------------------------- */

static void edits_add(copies_list *l, copies_kind kind, const sm_ints *levels) {
  const int group = l->groups;
  bool any = false;
  for (int i = 0; i < (levels ? levels->n : 1); i++) {
    bool again = false;
    for (int j = 0; j < i; j++) again |= levels->v[j] == levels->v[i];
    if (again || l->edits == COPIES_EDITS_MOST) continue;
    copies_edit *e = &l->edit[l->edits++];
    *e = (copies_edit){.group = group, .kind = kind, .strength = levels ? levels->v[i] : 0};
    if (levels) snprintf(e->level, sizeof e->level, "%lld", (long long)levels->v[i]);
    any = true;
  }
  if (any) snprintf(l->group[l->groups++], COPIES_NAME, "%s", copies_kind_names[kind]);
}

void copies_made_list(const copies *o, copies_list *l) {
  *l = (copies_list){0};
  edits_add(l, COPIES_CROP, &o->crop);
  edits_add(l, COPIES_JPEG, &o->jpeg);
  edits_add(l, COPIES_RESIZE, &o->resize);
  for (copies_kind kind = COPIES_FLIP; kind < COPIES_KINDS; kind++) edits_add(l, kind, NULL);
}

/* ---- one by one ---------------------------------------------------------------------------------------- */

static void edits_swap(sm_image *a, sm_image *b) {
  const sm_image other = *a;
  *a = *b, *b = other;
}

/* The picture becomes `box` of it, at width x height. */
static sm_status edits_resize(sm_image *image, const sm_box *box, int width, int height,
                              sm_image_scratch *scratch, sm_error *err) {
  sm_image to = {0};
  sm_status status = sm_image_resize(image, box, width, height, SM_FILTER_BICUBIC, scratch, &to, err);
  if (!status) edits_swap(image, &to);
  sm_image_free(&to);
  return status;
}

/* A box anywhere in the picture, of its ratio, without so much of its area. */
static sm_status edits_crop(sm_image *image, int64_t percent, sm_rng *rng, sm_image_scratch *scratch,
                            sm_error *err) {
  const double side = sqrt(1 - (double)percent / 100);
  sm_box box = {.width = (int)lround(side * image->width), .height = (int)lround(side * image->height)};
  if (box.width < 1) box.width = 1;
  if (box.height < 1) box.height = 1;
  box.left = (int)sm_rng_below(rng, (uint32_t)(image->width - box.width + 1));
  box.top = (int)sm_rng_below(rng, (uint32_t)(image->height - box.height + 1));
  return edits_resize(image, &box, box.width, box.height, scratch, err);
}

static sm_status edits_jpeg(sm_image *image, int64_t quality, sm_error *err) {
  void *data;
  size_t bytes;
  sm_status status = sm_image_encode_jpeg(image, (int)quality, &data, &bytes, err);
  if (status) return status;
  status = sm_image_decode(data, bytes, NULL, image, err);
  sm_free(data);
  return status;
}

static sm_status edits_corrupt(sm_image *image, sm_corruption what, sm_rng *rng, sm_image_scratch *scratch,
                               sm_error *err) {
  return sm_image_corrupt(image, what, COLOUR_SEVERITY, sm_corruption_scale_for(image->height, image->width),
                          rng, scratch, err);
}

/* Black bars with white writing: one in the upper and one in the lower half, where they leave half of the
 * picture. */
static void edits_text(sm_image *image, sm_rng *rng) {
  const int shorter = image->height < image->width ? image->height : image->width;
  const int zoom = shorter >= 128 ? shorter / 64 : 1, high = (SM_DRAW_TEXT_HEIGHT + 2) * zoom;
  const int bars = 4 * high <= image->height ? 2 : 1;
  for (int b = 0; b < bars; b++) {
    const int room = image->height / bars - high;
    const int y = b * (image->height / bars) + (room > 0 ? (int)sm_rng_below(rng, (uint32_t)room + 1) : 0);
    sm_draw_fill(image, 0, y, image->width, high, 0x000000, 1);
    for (int x = zoom; x < image->width;) {
      char word[16];
      snprintf(word, sizeof word, "COPY %04u", (unsigned)sm_rng_below(rng, 10000));
      sm_draw_text(image, x, y + zoom, zoom, 0xFFFFFF, word);
      x += sm_draw_text_width(zoom, word) + 6 * zoom;
    }
  }
}

/* A frame of one colour, an eighth of the picture wide at each side. */
static sm_status edits_border(sm_image *image, sm_rng *rng, sm_error *err) {
  const int wide = image->width / 8 + 1, high = image->height / 8 + 1;
  sm_image to = {0};
  sm_status status = sm_image_reshape(&to, image->width + 2 * wide, image->height + 2 * high, err);
  if (status) return status;
  sm_draw_fill(&to, 0, 0, to.width, to.height, sm_rng_below(rng, 1 << 24), 1);
  sm_draw_blit(&to, wide, high, image);
  edits_swap(image, &to);
  sm_image_free(&to);
  return SM_OK;
}

static sm_status edits_strong(sm_image *image, sm_rng *rng, sm_image_scratch *scratch, sm_error *err) {
  sm_status status = edits_crop(image, STRONG_CROP, rng, scratch, err);
  if (status) return status;
  if (sm_rng_below(rng, 2)) sm_image_flip(image);
  const sm_corruption colour = sm_rng_below(rng, 2) ? SM_CORRUPT_CONTRAST : SM_CORRUPT_BRIGHTNESS;
  if ((status = edits_corrupt(image, colour, rng, scratch, err))) return status;
  edits_text(image, rng);
  return edits_jpeg(image, STRONG_JPEG, err);
}

sm_status copies_edit_make(const copies_edit *e, uint64_t seed, int64_t index, sm_image *image,
                           sm_image_scratch *scratch, sm_error *err) {
  sm_rng rng =
      sm_rng_make(seed, SM_RNG_EVAL, 200 + (uint64_t)e->kind, (uint64_t)index, (uint32_t)e->strength);
  const int by = e->kind == COPIES_RESIZE ? (int)e->strength : 1;
  switch (e->kind) {
    case COPIES_CROP:
      return edits_crop(image, e->strength, &rng, scratch, err);
    case COPIES_JPEG:
      return edits_jpeg(image, e->strength, err);
    case COPIES_RESIZE:
      return edits_resize(image, NULL, image->width > by ? image->width / by : 1,
                          image->height > by ? image->height / by : 1, scratch, err);
    case COPIES_FLIP:
      sm_image_flip(image);
      return SM_OK;
    case COPIES_BLUR:
      return edits_corrupt(image, SM_CORRUPT_GAUSSIAN_BLUR, &rng, scratch, err);
    case COPIES_CONTRAST:
      return edits_corrupt(image, SM_CORRUPT_CONTRAST, &rng, scratch, err);
    case COPIES_BRIGHTNESS:
      return edits_corrupt(image, SM_CORRUPT_BRIGHTNESS, &rng, scratch, err);
    case COPIES_TEXT:
      edits_text(image, &rng);
      return SM_OK;
    case COPIES_BORDER:
      return edits_border(image, &rng, err);
    case COPIES_STRONG:
      return edits_strong(image, &rng, scratch, err);
    case COPIES_KINDS:
      break;
  }
  return sm_fail(err, SM_EINTERNAL, "no such edit");
}

/* ---- as a data set ------------------------------------------------------------------------------------- */

/* Shorter side of `side` pixels, and a longer one that is not absurd. */
static sm_status edits_scale(sm_image *image, int side, sm_image_scratch *scratch, sm_error *err) {
  const bool tall = image->height > image->width;
  const int shorter = tall ? image->width : image->height, longer = tall ? image->height : image->width;
  int64_t to = (2 * (int64_t)longer * side + shorter) / (2 * (int64_t)shorter);
  if (to > (int64_t)LONGEST * side) to = (int64_t)LONGEST * side;
  return edits_resize(image, NULL, tall ? side : (int)to, tall ? (int)to : side, scratch, err);
}

static sm_status set_read(const void *self, int64_t i, const sm_image_limits *limits, sm_image *to,
                          sm_error *err) {
  const copies_set *s = self;
  sm_image image = {0};
  sm_image_limits whole = limits ? *limits : (sm_image_limits){0};
  sm_image_scratch *scratch = sm_image_scratch_new();
  whole.shrink = NULL;
  sm_status status = scratch ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for a picture");
  if (!status) status = s->from.ops->read(s->from.self, s->index[i], &whole, &image, err);
  if (!status && s->side) status = edits_scale(&image, s->side, scratch, err);
  if (!status && s->edit) status = copies_edit_make(s->edit, s->seed, s->index[i], &image, scratch, err);
  if (!status)
    status = sm_image_resize(&image, NULL, s->width, s->height, SM_FILTER_BICUBIC, scratch, to, err);
  sm_image_free(&image);
  sm_image_scratch_free(scratch);
  return status;
}

static sm_status set_open(void *self, sm_error *err) { return (void)self, (void)err, SM_OK; }
static int64_t set_count(const void *self) { return ((const copies_set *)self)->n; }
static int set_label(const void *self, int64_t i) { return (void)self, (void)i, -1; }
static const char *set_name(const void *self, int64_t i) {
  const copies_set *s = self;
  return s->from.ops->name(s->from.self, s->index[i]);
}
static int set_classes(const void *self) { return (void)self, 0; }
static const char *set_class_name(const void *self, int c) { return (void)self, (void)c, ""; }
static uint64_t set_hash(const void *self) { return (uint64_t)((const copies_set *)self)->n; }

const sm_dataset_ops copies_set_ops = {.open = set_open,
                                       .count = set_count,
                                       .label = set_label,
                                       .name = set_name,
                                       .classes = set_classes,
                                       .class_name = set_class_name,
                                       .read = set_read,
                                       .hash = set_hash};

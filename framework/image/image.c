/* image.c — the picture itself: memory, copies, turning it upright, and the scratch others reuse. */
#include "planes.h"

#include <string.h>

void *sm_buffer_need(sm_buffer *b, size_t bytes) {
  const size_t keep = 32u << 20;
  if (b->data && b->size >= bytes && (b->size <= keep || b->size / 4 <= bytes)) return b->data;
  sm_free(b->data);
  b->data = sm_malloc(bytes > 0 ? bytes : 1);
  b->size = b->data ? bytes : 0;
  return b->data;
}

static void image_buffer_free(sm_buffer *b) {
  sm_free(b->data);
  *b = (sm_buffer){0};
}

sm_image_scratch *sm_image_scratch_new(void) { return sm_calloc(1, sizeof(sm_image_scratch)); }

void sm_image_scratch_free(sm_image_scratch *s) {
  if (!s) return;
  sm_buffer *all[] = {&s->file, &s->taps_x, &s->taps_y, &s->weights,
                      &s->line, &s->middle, &s->view,   &s->other};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) image_buffer_free(all[i]);
  sm_free(s);
}

sm_status sm_image_reshape(sm_image *image, int width, int height, sm_error *err) {
  if (width < 1 || height < 1 || width > SM_IMAGE_MAX_SIDE || height > SM_IMAGE_MAX_SIDE)
    return sm_fail(err, SM_EINVAL, "a picture of %d x %d is not possible (sides are 1 to %d)", width, height,
                   SM_IMAGE_MAX_SIDE);
  size_t bytes = 3 * (size_t)width * (size_t)height;
  sm_buffer memory = {image->capacity ? image->rgb : NULL, image->capacity};
  image->rgb = sm_buffer_need(&memory, bytes);
  image->capacity = memory.size;
  image->width = image->rgb ? width : 0;
  image->height = image->rgb ? height : 0;
  if (!image->rgb) return sm_fail(err, SM_ENOMEM, "no memory for a picture of %d x %d", width, height);
  return SM_OK;
}

sm_status sm_image_copy(sm_image *to, const sm_image *from, sm_error *err) {
  sm_status status = sm_image_reshape(to, from->width, from->height, err);
  if (!status) memcpy(to->rgb, from->rgb, 3 * (size_t)from->width * (size_t)from->height);
  return status;
}

void sm_image_free(sm_image *image) {
  if (!image) return;
  if (image->capacity) sm_free(image->rgb);
  *image = (sm_image){0};
}

void sm_image_flip(sm_image *image) {
  for (int y = 0; y < image->height; y++) {
    uint8_t *left = image->rgb + 3 * (size_t)y * (size_t)image->width,
            *right = left + 3 * (size_t)(image->width - 1);
    for (; left < right; left += 3, right -= 3) {
      uint8_t pixel[3];
      memcpy(pixel, left, 3);
      memcpy(left, right, 3);
      memcpy(right, pixel, 3);
    }
  }
}

static void image_turn_half(sm_image *image) {
  uint8_t *first = image->rgb, *last = image->rgb + 3 * ((size_t)image->width * (size_t)image->height - 1);
  for (; first < last; first += 3, last -= 3) {
    uint8_t pixel[3];
    memcpy(pixel, first, 3);
    memcpy(first, last, 3);
    memcpy(last, pixel, 3);
  }
}

/* Rows become columns; in blocks, because one of the two sides is always walked across its rows. */
static sm_status image_transpose(sm_image *image, sm_error *err) {
  sm_image out = {0};
  sm_status status = sm_image_reshape(&out, image->height, image->width, err);
  if (status) return status;
  enum { BLOCK = 32 };
  const size_t in_row = 3 * (size_t)image->width, out_row = 3 * (size_t)image->height;
  for (int top = 0; top < image->height; top += BLOCK) {
    int bottom = image->height - top < BLOCK ? image->height : top + BLOCK;
    for (int left = 0; left < image->width; left += BLOCK) {
      int right = image->width - left < BLOCK ? image->width : left + BLOCK;
      for (int x = left; x < right; x++)
        for (int y = top; y < bottom; y++)
          memcpy(out.rgb + (size_t)x * out_row + 3 * (size_t)y,
                 image->rgb + (size_t)y * in_row + 3 * (size_t)x, 3);
    }
  }
  sm_image_free(image);
  *image = out;
  return SM_OK;
}

/* EXIF 2.3, tag 0x0112. Values 5 to 8 have rows and columns exchanged; then at most a mirror and a half turn
 * remain. */
sm_status sm_image_upright(sm_image *image, int orientation, sm_error *err) {
  static const struct {
    bool transpose, flip, half;
  } steps[9] = {[2] = {.flip = true},
                [3] = {.half = true},
                [4] = {.flip = true, .half = true},
                [5] = {.transpose = true},
                [6] = {.transpose = true, .flip = true},
                [7] = {.transpose = true, .half = true},
                [8] = {.transpose = true, .flip = true, .half = true}};
  if (orientation < 2 || orientation > 8) return SM_OK;
  if (steps[orientation].transpose) {
    sm_status status = image_transpose(image, err);
    if (status) return status;
  }
  if (steps[orientation].flip) sm_image_flip(image);
  if (steps[orientation].half) image_turn_half(image);
  return SM_OK;
}

/* ---- planes -------------------------------------------------------------------------------------------- */

sm_status sm_planes_make(sm_planes *planes, sm_buffer *buffer, int width, int height, sm_error *err) {
  size_t count = (size_t)width * (size_t)height;
  uint8_t *memory = sm_buffer_need(buffer, 3 * count);
  if (!memory) return sm_fail(err, SM_ENOMEM, "no memory for a picture of %d x %d", width, height);
  *planes = (sm_planes){width, height, {memory, memory + count, memory + 2 * count}};
  return SM_OK;
}

void sm_planes_to_image(const sm_planes *planes, sm_image *image) {
  size_t n = sm_planes_count(planes);
  const uint8_t *r = planes->plane[0], *g = planes->plane[1], *b = planes->plane[2];
  uint8_t *rgb = image->rgb;
  for (size_t i = 0; i < n; i++) {
    rgb[3 * i] = r[i];
    rgb[3 * i + 1] = g[i];
    rgb[3 * i + 2] = b[i];
  }
}

sm_status sm_planes_from_image(sm_planes *planes, const sm_image *image, sm_image_scratch *scratch,
                               sm_error *err) {
  sm_status status = sm_planes_make(planes, &scratch->view, image->width, image->height, err);
  if (status) return status;
  size_t n = sm_planes_count(planes);
  for (size_t i = 0; i < n; i++)
    for (size_t c = 0; c < 3; c++) planes->plane[c][i] = image->rgb[3 * i + c];
  return SM_OK;
}

sm_status sm_planes_aside(const sm_planes *planes, sm_image_scratch *scratch, sm_planes *copy,
                          sm_error *err) {
  sm_status status = sm_planes_make(copy, &scratch->other, planes->width, planes->height, err);
  for (int c = 0; !status && c < 3; c++)
    memcpy(copy->plane[c], planes->plane[c], sm_planes_count(planes));
  return status;
}

/* ---- label pictures ------------------------------------------------------------------------------------ */

sm_status sm_label_map_reshape(sm_label_map *map, int width, int height, sm_error *err) {
  if (width < 1 || height < 1 || width > SM_IMAGE_MAX_SIDE || height > SM_IMAGE_MAX_SIDE)
    return sm_fail(err, SM_EINVAL, "a label picture cannot be %d x %d pixels", width, height);
  const size_t need = (size_t)width * (size_t)height;
  if (map->capacity < need) {
    uint16_t *value = sm_malloc(need * sizeof *value);
    if (!value) return sm_fail(err, SM_ENOMEM, "no memory for a label picture of %d x %d", width, height);
    if (map->capacity) sm_free(map->value);
    map->value = value;
    map->capacity = need;
  }
  map->width = width;
  map->height = height;
  return SM_OK;
}

void sm_label_map_free(sm_label_map *map) {
  if (!map) return;
  if (map->capacity) sm_free(map->value);
  *map = (sm_label_map){0};
}

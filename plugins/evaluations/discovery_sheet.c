/* discovery_sheet.c — a picture with its annotated boxes and what was found. */
#include "discovery.h"

#include <math.h>

enum { LONGER = 240, LINE = 2, TRUTH = 0x30C030 };
static const uint32_t colours[] = {0xE02020, 0x2060FF}; /* LOST, TokenCut */
static const uint32_t mask_colours[] = {0xE0B000, 0xC030C0, 0x00A0D0, 0xE06020, 0x4060FF, 0x909090};
enum { MASK_COLOURS = sizeof mask_colours / sizeof *mask_colours };

/* The network's input, back to bytes, without what was padded. */
static sm_status sheet_picture(sm_eval_context *x, const sm_whole *w, sm_image *to, sm_error *err) {
  float mean[3], std[3];
  const int height = w->resized_height < w->height ? w->resized_height : w->height,
            width = w->resized_width < w->width ? w->resized_width : w->width;
  sm_status status = sm_image_reshape(to, width, height, err);
  if (status) return status;
  sm_picture_normalisation(x, mean, std);
  for (int c = 0; c < 3; c++)
    for (int y = 0; y < height; y++)
      for (int i = 0; i < width; i++) {
        const size_t at = ((size_t)c * (size_t)w->height + (size_t)y) * (size_t)w->width + (size_t)i;
        const double v = 255 * ((double)w->x[at] * (double)std[c] + (double)mean[c]);
        to->rgb[((size_t)y * (size_t)width + (size_t)i) * 3 + (size_t)c] =
            (uint8_t)(v <= 0 ? 0 : v >= 255 ? 255 : v + .5);
      }
  return SM_OK;
}

/* One in the picture's own pixels, on a tile; `in`: so far inside, for boxes that lie on each other. */
static void sheet_box(sm_image *tile, const sm_whole *w, const double box[4], int in, uint32_t colour) {
  const double across = (double)tile->width / w->own_width, down = (double)tile->height / w->own_height;
  const int x = (int)floor(box[0] * across), y = (int)floor(box[1] * down);
  const int right = (int)ceil((box[0] + box[2]) * across), low = (int)ceil((box[1] + box[3]) * down);
  if (box[2] > 0) sm_draw_frame(tile, x + in, y + in, right - x - 2 * in, low - y - 2 * in, LINE, colour);
}

/* Masks over the tile, then their boxes. */
static void sheet_masks(sm_image *tile, const sm_whole *w, const discovery_found *found) {
  for (int y = 0; y < tile->height; y++)
    for (int x = 0; x < tile->width; x++) {
      const int64_t row = (2 * (int64_t)y + 1) * w->own_height / (2 * (int64_t)tile->height),
                    col = (2 * (int64_t)x + 1) * w->own_width / (2 * (int64_t)tile->width);
      const int mask = found->which[row * w->own_width + col];
      if (mask) sm_draw_fill(tile, x, y, 1, 1, mask_colours[(mask - 1) % MASK_COLOURS], .45);
    }
  for (int m = 0; m < found->n_masks; m++)
    sheet_box(tile, w, found->mask_box[m], LINE, mask_colours[m % MASK_COLOURS]);
}

sm_status discovery_draw(sm_sheet *sheet, sm_eval_context *x, const sm_whole *w, const char *name,
                         const double *truth, int64_t n, const discovery_found *found,
                         const bool methods[DISCOVERY_METHODS], sm_error *err) {
  sm_image picture = {0}, tile = {0};
  sm_image_scratch *scratch = sm_image_scratch_new();
  sm_status status = scratch ? sheet_picture(x, w, &picture, err) : sm_fail(err, SM_ENOMEM, "no memory for a sheet");
  if (!status) {
    const int longer = picture.width > picture.height ? picture.width : picture.height;
    const int width = (picture.width * LONGER + longer - 1) / longer,
              height = (picture.height * LONGER + longer - 1) / longer;
    status = sm_image_resize(&picture, NULL, width, height, SM_FILTER_BICUBIC, scratch, &tile, err);
  }
  if (!status && methods[DISCOVERY_MASKCUT]) sheet_masks(&tile, w, found);
  for (int64_t i = 0; !status && i < n; i++) sheet_box(&tile, w, truth + 4 * i, 0, TRUTH);
  for (int m = 0; !status && m <= DISCOVERY_TOKENCUT; m++)
    if (methods[m]) sheet_box(&tile, w, found->box[m], (m + 1) * LINE, colours[m]);
  if (!status) sm_sheet_tile(sheet, &tile, name);
  sm_image_scratch_free(scratch);
  sm_image_free(&picture);
  sm_image_free(&tile);
  return status;
}

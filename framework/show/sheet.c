/* sheet.c — tiles in rows on white, with captions; lines. */
#include <stdlib.h>
#include <string.h>

#include "show.h"

enum { GAP = 6, CAPTION = 12, TEXT_COLOUR = 0x303030 };

typedef struct sheet_tile {
  sm_image image;
  char caption[48];
  bool first; /* of a row */
} sheet_tile;

struct sm_sheet {
  sheet_tile *tile;
  int n, room;
  bool failed, next;
};

sm_sheet *sm_sheet_new(void) { return sm_calloc(1, sizeof(sm_sheet)); }

void sm_sheet_free(sm_sheet *s) {
  if (!s) return;
  for (int i = 0; i < s->n; i++) sm_image_free(&s->tile[i].image);
  sm_free(s->tile);
  sm_free(s);
}

static bool sheet_grow(sm_sheet *s) {
  if (s->n < s->room) return true;
  const int room = s->room ? 2 * s->room : 32;
  sheet_tile *tile = sm_calloc((size_t)room, sizeof *tile);
  if (!tile) return false;
  if (s->n) memcpy(tile, s->tile, (size_t)s->n * sizeof *tile);
  sm_free(s->tile);
  s->tile = tile, s->room = room;
  return true;
}

void sm_sheet_tile(sm_sheet *s, const sm_image *image, const char *caption) {
  sm_error err;
  if (!s || s->failed) return;
  if (!sheet_grow(s) || sm_image_copy(&s->tile[s->n].image, image, &err)) {
    s->failed = true;
    return;
  }
  sheet_tile *t = &s->tile[s->n++];
  snprintf(t->caption, sizeof t->caption, "%s", caption ? caption : "");
  t->first = s->n == 1 || s->next;
  s->next = false;
}

void sm_sheet_row(sm_sheet *s) {
  if (s) s->next = true;
}

static int sheet_height(const sheet_tile *t) { return t->image.height + (t->caption[0] ? CAPTION : 0); }

/* Puts the tiles on `out`, or, with NULL, asks how large that is. */
static void sheet_place(const sm_sheet *s, sm_image *out, int64_t *width, int64_t *height) {
  int64_t x = GAP, y = GAP, high = 0;
  *width = *height = 2 * GAP;
  for (int i = 0; i < s->n; i++) {
    const sheet_tile *t = &s->tile[i];
    if (t->first && i) x = GAP, y += high + GAP, high = 0;
    if (out) {
      char shown[sizeof t->caption];
      const size_t most = (size_t)t->image.width / 6;
      snprintf(shown, sizeof shown, "%.*s", (int)(most < sizeof shown ? most : sizeof shown - 1), t->caption);
      sm_draw_blit(out, (int)x, (int)y, &t->image);
      sm_draw_text(out, (int)x, (int)y + t->image.height + 3, 1, TEXT_COLOUR, shown);
    }
    x += t->image.width + GAP;
    if (sheet_height(t) > high) high = sheet_height(t);
    if (x > *width) *width = x;
    if (y + high + GAP > *height) *height = y + high + GAP;
  }
}

sm_status sm_sheet_draw(const sm_sheet *s, sm_image *out, sm_error *err) {
  int64_t width, height;
  if (!s || s->failed) return sm_fail(err, SM_ENOMEM, "no memory for the tiles of a figure");
  sheet_place(s, NULL, &width, &height);
  if (width > SM_IMAGE_MAX_SIDE || height > SM_IMAGE_MAX_SIDE || width * height > SM_IMAGE_MAX_PIXELS) {
    sm_fail(err, SM_EINVAL, "the figure would be %lld x %lld pixels", (long long)width, (long long)height);
    return sm_hint(err, "show fewer pictures, or a smaller --cell");
  }
  sm_status status = sm_image_reshape(out, (int)width, (int)height, err);
  if (status) return status;
  sm_draw_fill(out, 0, 0, out->width, out->height, 0xFFFFFF, 1);
  sheet_place(s, out, &width, &height);
  return SM_OK;
}

void sm_draw_line(sm_image *image, int x0, int y0, int x1, int y1, int line, uint32_t rgb) {
  const int dx = abs(x1 - x0), dy = abs(y1 - y0), steps = dx > dy ? dx : dy;
  for (int i = 0; i <= steps; i++) {
    const int64_t half = steps / 2, n = steps ? steps : 1;
    const int64_t x = (int64_t)(x1 - x0) * i, y = (int64_t)(y1 - y0) * i;
    sm_draw_fill(image, x0 + (int)((x + (x < 0 ? -half : half)) / n) - line / 2,
                 y0 + (int)((y + (y < 0 ? -half : half)) / n) - line / 2, line, line, rgb, 1);
  }
}

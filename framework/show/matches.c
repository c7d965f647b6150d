/* matches.c — two pictures side by side with a line between patches that correspond. */
#include "show.h"

enum { BETWEEN = 8 };

static int matches_x(const sm_image *image, int cols, int patch) {
  return (2 * (patch % cols) + 1) * image->width / (2 * cols);
}

static int matches_y(const sm_image *image, int rows, int cols, int patch) {
  return (2 * (patch / cols) + 1) * image->height / (2 * rows);
}

sm_status sm_show_matches(const sm_image *left, const sm_image *right, int rows, int cols, const int *from,
                          const int *match, const uint32_t *colour, int n, sm_image *out, sm_error *err) {
  const int height = left->height > right->height ? left->height : right->height, x = left->width + BETWEEN;
  sm_status status = sm_image_reshape(out, x + right->width, height, err);
  if (status) return status;
  sm_draw_fill(out, 0, 0, out->width, out->height, 0xFFFFFF, 1);
  sm_draw_blit(out, 0, 0, left);
  sm_draw_blit(out, x, 0, right);
  for (int i = 0; i < n; i++) {
    const int x0 = matches_x(left, cols, from[i]), y0 = matches_y(left, rows, cols, from[i]);
    const int x1 = x + matches_x(right, cols, match[i]), y1 = matches_y(right, rows, cols, match[i]);
    const uint32_t rgb = colour ? colour[i] : 0xFF0000;
    sm_draw_line(out, x0, y0, x1, y1, 1, rgb);
    sm_draw_fill(out, x0 - 2, y0 - 2, 5, 5, rgb, 1);
    sm_draw_fill(out, x1 - 2, y1 - 2, 5, 5, rgb, 1);
  }
  return SM_OK;
}

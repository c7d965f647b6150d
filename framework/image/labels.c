/* labels.c — label pictures: reading from a file, resizing by the nearest value. The PNG side is in png.c, memory
 * in image.c. */
#include "planes.h"

#include <string.h>

#include "framework/base/signature.h"

/* ---- reading ------------------------------------------------------------------------------------------- */

sm_status sm_label_map_decode(const void *data, size_t bytes, const sm_image_limits *limits,
                              sm_label_map *out, sm_error *err) {
  const sm_image_limits all = sm_image_limits_filled(limits);
  sm_status status = SM_OK;
  if (bytes > all.max_bytes) {
    status = sm_fail(err, SM_EINVAL, "%zu bytes are over the limit of %zu bytes for a picture file", bytes,
                     all.max_bytes);
  } else if (bytes < 8 || memcmp(data, "\x89PNG\r\n\x1a\n", 8) != 0) {
    status = sm_fail(err, SM_EINVAL, "a label picture must be a PNG, but this is %s", sm_signature(data, bytes));
    sm_hint(err, "JPEG and WebP change the numbers: write labels as PNG, 8-bit or 16-bit grey or with a palette");
  } else {
    status = sm_png_decode_values(data, bytes, &all, out, err);
  }
  if (status) out->width = out->height = 0;
  return status;
}

sm_status sm_label_map_read(const char *path, const sm_image_limits *limits, sm_label_map *out,
                            sm_error *err) {
  const sm_image_limits all = sm_image_limits_filled(limits);
  sm_buffer file = {0};
  size_t bytes = 0;
  out->width = out->height = 0;
  sm_status status = sm_image_file_bytes(path, &all, &file, &bytes, err);
  if (!status) status = sm_label_map_decode(file.data, bytes, &all, out, err);
  sm_free(file.data);
  if (status) sm_fail_at(err, path, 0, 0);
  return status;
}

/* ---- resizing ------------------------------------------------------------------------------------------ */

/* floor((i + 1/2)·from/to), exactly. */
static int labels_nearest(int i, int from, int to) {
  return (int)((2 * (int64_t)i + 1) * from / (2 * (int64_t)to));
}

sm_status sm_label_map_resize(const sm_label_map *in, const sm_box *box, int width, int height,
                              sm_label_map *out, sm_error *err) {
  const sm_box all = {0, 0, in->width, in->height}, *b = box ? box : &all;
  if (b->left < 0 || b->top < 0 || b->width < 1 || b->height < 1 || b->width > in->width - b->left ||
      b->height > in->height - b->top)
    return sm_fail(err, SM_EINVAL, "a box of %d x %d at (%d, %d) is not within a label picture of %d x %d",
                   b->width, b->height, b->left, b->top, in->width, in->height);
  sm_status status = sm_label_map_reshape(out, width, height, err);
  for (int y = 0; !status && y < height; y++) {
    const uint16_t *row =
        in->value + (size_t)(b->top + labels_nearest(y, b->height, height)) * (size_t)in->width + b->left;
    for (int x = 0; x < width; x++)
      out->value[(size_t)y * (size_t)width + (size_t)x] = row[labels_nearest(x, b->width, width)];
  }
  return status;
}

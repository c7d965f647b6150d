/* limits.c — what a picture file may cost before it is refused, whatever its header claims. */
#include "planes.h"

sm_image_limits sm_image_limits_filled(const sm_image_limits *limits) {
  sm_image_limits l = limits ? *limits : (sm_image_limits){0};
  if (l.max_pixels <= 0) l.max_pixels = SM_IMAGE_MAX_PIXELS;
  if (l.max_bytes == 0) l.max_bytes = (size_t)256 << 20;
  if (l.max_memory == 0) l.max_memory = (size_t)512 << 20;
  if (l.max_scans <= 0) l.max_scans = 100;
  return l;
}

sm_status sm_image_admit(const char *what, int64_t width, int64_t height, const sm_image_limits *limits,
                         sm_error *err) {
  if (width < 1 || height < 1)
    return sm_fail(err, SM_EFORMAT, "damaged %s: it claims to be %lld x %lld", what, (long long)width,
                   (long long)height);
  if (width > SM_IMAGE_MAX_SIDE || height > SM_IMAGE_MAX_SIDE) {
    sm_fail(err, SM_EINVAL, "%s of %lld x %lld pixels: a side is over the limit of %d pixels", what,
            (long long)width, (long long)height, SM_IMAGE_MAX_SIDE);
    return sm_hint(err, "cut the picture into parts, or scale it down");
  }
  if (width * height > limits->max_pixels) {
    sm_fail(err, SM_EINVAL, "%s of %lld x %lld pixels is over the limit of %lld pixels", what,
            (long long)width, (long long)height, (long long)limits->max_pixels);
    return sm_hint(err, "scale the picture down");
  }
  return SM_OK;
}

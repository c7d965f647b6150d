/* fuzz_picture.c — JPEG, PNG and WebP from memory: exact, scaled, and the size that the header claims. A picture
 * that decodes has the claimed size, and written as PNG it gives the same pixels. The mutator mends the
 * checksums of PNG chunks, else all mutations would end there. */
#include <stdlib.h>
#include <string.h>

#include <smalti/image.h>

#include "framework/image/planes.h"
#include "fuzz.h"

static const sm_image_limits limits = {.max_pixels = 1 << 18, .max_memory = 32 << 20};

static int picture_most(void *ctx, int width, int height) {
  (void)width, (void)height;
  return *(int *)ctx;
}

static void picture_shrunk(const uint8_t *data, size_t size, const sm_image *exact) {
  int most = 1 << (size % 4);
  sm_image_shrink shrink = {picture_most, &most, 1};
  sm_image_limits scaled = limits;
  sm_image small = {0};
  sm_error err;
  scaled.shrink = &shrink;
  if (sm_image_decode(data, size, &scaled, &small, &err) == SM_OK) {
    FUZZ_MUST(small.width == (exact->width + shrink.by - 1) / shrink.by);
    FUZZ_MUST(small.height == (exact->height + shrink.by - 1) / shrink.by);
  }
  sm_image_free(&small);
}

static void picture_as_png(const sm_image *picture) {
  sm_image back = {0};
  sm_error err;
  void *file = NULL;
  size_t bytes = 0;
  FUZZ_MUST(sm_image_encode_png(picture, &file, &bytes, &err) == SM_OK);
  FUZZ_MUST(sm_image_decode(file, bytes, NULL, &back, &err) == SM_OK);
  FUZZ_MUST(back.width == picture->width && back.height == picture->height);
  FUZZ_MUST(memcmp(back.rgb, picture->rgb, (size_t)3 * back.width * back.height) == 0);
  sm_image_free(&back);
  sm_free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  sm_image picture = {0};
  sm_error err = {0};
  if (size >= 8) sm_jpeg_probe(data, size), sm_png_probe(data, size), sm_webp_probe(data, size);
  sm_status status = sm_image_decode(data, size, &limits, &picture, &err);
  if (status) {
    FUZZ_MUST(*err.message && picture.width == 0 && picture.height == 0);
  } else {
    picture_shrunk(data, size, &picture);
    picture_as_png(&picture);
  }
  sm_image_free(&picture);
  return 0;
}

/* ---- the mutator --------------------------------------------------------------------------------------- */

static uint32_t picture_crc(const uint8_t *data, size_t n) { /* ISO 3309, as PNG has it */
  uint32_t crc = ~0u;
  for (size_t i = 0; i < n; i++) {
    crc ^= data[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
  }
  return ~crc;
}

static void picture_mend(uint8_t *data, size_t size) {
  if (size < 8 || memcmp(data, "\x89PNG\r\n\x1a\n", 8) != 0) return;
  for (size_t at = 8; at + 12 <= size;) {
    uint8_t *p = data + at;
    size_t n = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    if (n > size - at - 12) return;
    uint32_t crc = picture_crc(p + 4, n + 4);
    for (int i = 0; i < 4; i++) p[8 + n + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
    at += n + 12;
  }
}

#ifdef SM_FUZZER
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, most);
  if (seed % 16) picture_mend(data, size);
  return size;
}
#else
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
  (void)most, (void)seed;
  picture_mend(data, size);
  return size;
}
#endif

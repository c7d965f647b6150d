/* webp.c — WebP through libwebp: lossy and lossless to 8-bit RGB. What holds several pictures is refused before anything is
 * decoded. A build without libwebp says so when it meets one. */
#include <config.h>

#include "planes.h"

#include <string.h>

#ifdef HAVE_WEBP

#include <webp/decode.h>

bool sm_image_reads_webp(void) { return true; }

static sm_status webp_refuse(VP8StatusCode code, sm_error *err) {
  switch (code) {
    case VP8_STATUS_OUT_OF_MEMORY:
      return sm_fail(err, SM_ENOMEM, "no memory to decode this WebP");
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
      return sm_fail(err, SM_EFORMAT, "WebP cut short: its data ends before the picture is complete");
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return sm_fail(err, SM_EFORMAT, "WebP with a feature that libwebp does not know");
    default:
      return sm_fail(err, SM_EFORMAT, "a damaged WebP picture");
  }
}

/* Lossless pictures are decoded through four bytes per pixel, beside the result; lossy ones take less. */
static sm_status webp_check_head(const WebPBitstreamFeatures *said, const sm_image_limits *limits,
                                 sm_error *err) {
  if (said->has_animation) {
    sm_fail(err, SM_EFORMAT, "an animated WebP, which is no single picture");
    return sm_hint(err, "save the frames as pictures of their own");
  }
  sm_status status = sm_image_admit("WebP", said->width, said->height, limits, err);
  if (status || (uint64_t)said->width * (uint64_t)said->height * 4 <= limits->max_memory) return status;
  return sm_fail(err, SM_EINVAL, "decoding this WebP takes more than the limit of %zu MiB of working memory",
                 limits->max_memory >> 20);
}

sm_status sm_webp_decode(const uint8_t *data, size_t bytes, const sm_image_limits *limits, sm_image *out,
                         sm_error *err) {
  WebPDecoderConfig config;
  if (!WebPInitDecoderConfig(&config))
    return sm_fail(err, SM_EUNSUPPORTED, "libwebp is of another version than it was built for");
  const VP8StatusCode head = WebPGetFeatures(data, bytes, &config.input);
  sm_status status =
      head == VP8_STATUS_OK ? webp_check_head(&config.input, limits, err) : webp_refuse(head, err);
  if (!status) status = sm_image_reshape(out, config.input.width, config.input.height, err);
  if (status) return status;
  config.output.colorspace = MODE_RGB; /* transparency is dropped, as in PNG */
  config.output.is_external_memory = 1;
  config.output.u.RGBA = (WebPRGBABuffer){
      .rgba = out->rgb, .stride = 3 * out->width, .size = 3 * (size_t)out->width * (size_t)out->height};
  const VP8StatusCode code = WebPDecode(data, bytes, &config);
  WebPFreeDecBuffer(&config.output);
  return code == VP8_STATUS_OK ? SM_OK : webp_refuse(code, err);
}

#else

bool sm_image_reads_webp(void) { return false; }

sm_status sm_webp_decode(const uint8_t *data, size_t bytes, const sm_image_limits *limits, sm_image *out,
                         sm_error *err) {
  (void)data, (void)bytes, (void)limits, (void)out;
  sm_fail(err, SM_EUNSUPPORTED, "a WebP picture, and this smalti was built without libwebp");
  return sm_hint(err, "install libwebp-dev and build again, or convert the picture to PNG");
}

#endif

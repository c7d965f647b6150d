/* corrupt.c — corruptions by name and severity: their parameters, and the way there and back to 8 bits. */
#include "corrupt.h"

#include <math.h>

const sm_corruption_about sm_corruption_list[SM_CORRUPTIONS] = {
    [SM_CORRUPT_GAUSSIAN_NOISE] = {"gaussian_noise", true, false},
    [SM_CORRUPT_SHOT_NOISE] = {"shot_noise", true, false},
    [SM_CORRUPT_IMPULSE_NOISE] = {"impulse_noise", true, false},
    [SM_CORRUPT_DEFOCUS_BLUR] = {"defocus_blur", true, false},
    [SM_CORRUPT_ZOOM_BLUR] = {"zoom_blur", true, false},
    [SM_CORRUPT_BRIGHTNESS] = {"brightness", true, false},
    [SM_CORRUPT_CONTRAST] = {"contrast", true, false},
    [SM_CORRUPT_PIXELATE] = {"pixelate", true, false},
    [SM_CORRUPT_JPEG_COMPRESSION] = {"jpeg_compression", true, false},
    [SM_CORRUPT_SPECKLE_NOISE] = {"speckle_noise", true, true},
    [SM_CORRUPT_GAUSSIAN_BLUR] = {"gaussian_blur", true, true},
    [SM_CORRUPT_SATURATE] = {"saturate", true, true},
    [SM_CORRUPT_STREAK] = {"streak", false, false},
    [SM_CORRUPT_HAZE] = {"haze", false, false},
    [SM_CORRUPT_WARP] = {"warp", false, false},
};

/* make_imagenet_c.py and make_cifar_c.py: up to three numbers of each severity. */
static const double strength[2][SM_CORRUPTIONS][SM_SEVERITIES][3] = {
    [SM_CORRUPT_FOR_224] =
        {
            [SM_CORRUPT_GAUSSIAN_NOISE] = {{.08}, {.12}, {.18}, {.26}, {.38}},
            [SM_CORRUPT_SHOT_NOISE] = {{60}, {25}, {12}, {5}, {3}},
            [SM_CORRUPT_IMPULSE_NOISE] = {{.03}, {.06}, {.09}, {.17}, {.27}},
            [SM_CORRUPT_DEFOCUS_BLUR] = {{3, .1}, {4, .5}, {6, .5}, {8, .5}, {10, .5}},
            [SM_CORRUPT_ZOOM_BLUR] = {{1.11, .01}, {1.16, .01}, {1.21, .02}, {1.26, .02}, {1.31, .03}},
            [SM_CORRUPT_BRIGHTNESS] = {{.1}, {.2}, {.3}, {.4}, {.5}},
            [SM_CORRUPT_CONTRAST] = {{.4}, {.3}, {.2}, {.1}, {.05}},
            [SM_CORRUPT_PIXELATE] = {{.6}, {.5}, {.4}, {.3}, {.25}},
            [SM_CORRUPT_JPEG_COMPRESSION] = {{25}, {18}, {15}, {10}, {7}},
            [SM_CORRUPT_SPECKLE_NOISE] = {{.15}, {.2}, {.35}, {.45}, {.6}},
            [SM_CORRUPT_GAUSSIAN_BLUR] = {{1}, {2}, {3}, {4}, {6}},
            [SM_CORRUPT_SATURATE] = {{.3, 0}, {.1, 0}, {2, 0}, {5, .1}, {20, .2}},
            [SM_CORRUPT_STREAK] = {{10, 3}, {15, 5}, {15, 8}, {15, 12}, {20, 15}},
            [SM_CORRUPT_HAZE] = {{1.5, 2}, {2, 2}, {2.5, 1.7}, {2.5, 1.5}, {3, 1.4}},
            [SM_CORRUPT_WARP] = {{488, 170.8, 24.4},
                                 {488, 19.52, 48.8},
                                 {12.2, 2.44, 4.88},
                                 {17.08, 2.44, 4.88},
                                 {29.28, 2.44, 4.88}},
        },
    [SM_CORRUPT_FOR_32] =
        {
            [SM_CORRUPT_GAUSSIAN_NOISE] = {{.04}, {.06}, {.08}, {.09}, {.10}},
            [SM_CORRUPT_SHOT_NOISE] = {{500}, {250}, {100}, {75}, {50}},
            [SM_CORRUPT_IMPULSE_NOISE] = {{.01}, {.02}, {.03}, {.05}, {.07}},
            [SM_CORRUPT_DEFOCUS_BLUR] = {{.3, .4}, {.4, .5}, {.5, .6}, {1, .2}, {1.5, .1}},
            [SM_CORRUPT_ZOOM_BLUR] = {{1.06, .01}, {1.11, .01}, {1.16, .01}, {1.21, .01}, {1.26, .01}},
            [SM_CORRUPT_BRIGHTNESS] = {{.05}, {.1}, {.15}, {.2}, {.3}},
            [SM_CORRUPT_CONTRAST] = {{.75}, {.5}, {.4}, {.3}, {.15}},
            [SM_CORRUPT_PIXELATE] = {{.95}, {.9}, {.85}, {.75}, {.65}},
            [SM_CORRUPT_JPEG_COMPRESSION] = {{80}, {65}, {58}, {50}, {40}},
            [SM_CORRUPT_SPECKLE_NOISE] = {{.06}, {.1}, {.12}, {.16}, {.2}},
            [SM_CORRUPT_GAUSSIAN_BLUR] = {{.4}, {.6}, {.7}, {.8}, {1}},
            [SM_CORRUPT_SATURATE] = {{.3, 0}, {.1, 0}, {1.5, 0}, {2, .1}, {2.5, .2}},
            [SM_CORRUPT_STREAK] = {{6, 1}, {6, 1.5}, {6, 2}, {8, 2}, {9, 2.5}},
            [SM_CORRUPT_HAZE] = {{.2, 3}, {.5, 3}, {.75, 2.5}, {1, 2}, {1.5, 1.75}},
            [SM_CORRUPT_WARP] =
                {{0, 0, 2.56}, {1.6, 6.4, 2.24}, {2.56, 1.92, 1.92}, {3.2, 1.28, 1.6}, {3.2, .96, .96}},
        },
};

sm_corruption_scale sm_corruption_scale_for(int height, int width) {
  const int64_t shorter = height < width ? height : width;
  return shorter * shorter < 32 * 224 ? SM_CORRUPT_FOR_32 : SM_CORRUPT_FOR_224;
}

/* ---- on 8 bits ----------------------------------------------------------------------------------------- */

/* Fewer pixels by averaging, and back by repeating. */
static sm_status corrupt_pixelate(sm_image *image, double share, sm_image_scratch *scratch, sm_error *err) {
  sm_image small = {0};
  const int width = image->width, height = image->height;
  const int w = (int)(width * share) > 0 ? (int)(width * share) : 1;
  const int h = (int)(height * share) > 0 ? (int)(height * share) : 1;
  sm_status status = sm_image_resize(image, NULL, w, h, SM_FILTER_BOX, scratch, &small, err);
  if (!status) status = sm_image_resize(&small, NULL, width, height, SM_FILTER_BOX, scratch, image, err);
  sm_image_free(&small);
  return status;
}

static sm_status corrupt_jpeg(sm_image *image, int quality, sm_error *err) {
  void *data;
  size_t bytes;
  sm_status status = sm_image_encode_jpeg(image, quality, &data, &bytes, err);
  if (status) return status;
  status = sm_image_decode(data, bytes, NULL, image, err);
  sm_free(data);
  return status;
}

/* ---- on numbers ---------------------------------------------------------------------------------------- */

static sm_status corrupt_real(sm_real_image *x, sm_corruption what, const double *c, sm_rng *rng, sm_error *err) {
  switch (what) {
  case SM_CORRUPT_GAUSSIAN_NOISE: sm_corrupt_gaussian(x, c[0], rng); return SM_OK;
  case SM_CORRUPT_SHOT_NOISE: sm_corrupt_shot(x, c[0], rng); return SM_OK;
  case SM_CORRUPT_IMPULSE_NOISE: sm_corrupt_impulse(x, c[0], rng); return SM_OK;
  case SM_CORRUPT_SPECKLE_NOISE: sm_corrupt_speckle(x, c[0], rng); return SM_OK;
  case SM_CORRUPT_BRIGHTNESS: sm_corrupt_brightness(x, c[0]); return SM_OK;
  case SM_CORRUPT_SATURATE: sm_corrupt_saturate(x, c[0], c[1]); return SM_OK;
  case SM_CORRUPT_CONTRAST: sm_corrupt_contrast(x, c[0]); return SM_OK;
  case SM_CORRUPT_GAUSSIAN_BLUR: return sm_corrupt_gaussian_blur(x, c[0], err);
  case SM_CORRUPT_DEFOCUS_BLUR: return sm_corrupt_defocus(x, c[0], c[1], err);
  case SM_CORRUPT_ZOOM_BLUR: return sm_corrupt_zoom(x, c[0], c[1], err);
  case SM_CORRUPT_STREAK: return sm_corrupt_streak(x, c[0], c[1], rng, err);
  case SM_CORRUPT_HAZE: return sm_corrupt_haze(x, c[0], c[1], rng, err);
  default: return sm_corrupt_warp(x, c[0], c[1], c[2], rng, err);
  }
}

static sm_status corrupt_by_numbers(sm_image *image, sm_corruption what, const double *c, sm_rng *rng,
                                    sm_error *err) {
  sm_real_image x = {image->height, image->width, NULL};
  const int64_t n = sm_real_values(&x);
  if (!(x.v = sm_malloc((size_t)n * sizeof *x.v)))
    return sm_fail(err, SM_ENOMEM, "no memory to corrupt a picture of %d x %d pixels", x.width, x.height);
  for (int64_t i = 0; i < n; i++) x.v[i] = image->rgb[i] / 255.0;
  sm_status status = corrupt_real(&x, what, c, rng, err);
  for (int64_t i = 0; !status && i < n; i++) image->rgb[i] = (uint8_t)(sm_clip01(x.v[i]) * 255);
  sm_free(x.v);
  return status;
}

sm_status sm_image_corrupt(sm_image *image, sm_corruption what, int severity, sm_corruption_scale scale, sm_rng *rng,
                           sm_image_scratch *scratch, sm_error *err) {
  if ((unsigned)what >= SM_CORRUPTIONS || (unsigned)scale > SM_CORRUPT_FOR_32)
    return sm_fail(err, SM_EINVAL, "there is no corruption %d of scale %d", (int)what, (int)scale);
  if (severity < 1 || severity > SM_SEVERITIES)
    return sm_fail(err, SM_EINVAL, "severity %d of '%s' does not lie between 1 and %d", severity,
                   sm_corruption_list[what].name, SM_SEVERITIES);
  const double *c = strength[scale][what][severity - 1];
  if (what == SM_CORRUPT_PIXELATE) return corrupt_pixelate(image, c[0], scratch, err);
  if (what == SM_CORRUPT_JPEG_COMPRESSION) return corrupt_jpeg(image, (int)c[0], err);
  return corrupt_by_numbers(image, what, c, rng, err);
}

/* randaugment.c — RandAugment (Cubuk et al. 2020) as timm's "rand-m9-mstd0.5-inc1", which DeiT, BEiT and iBOT
 * fine-tune with: what is drawn, which magnitude means what, and the fifteen operations.
 *
 * Source of the set and its ranges: timm data/auto_augment.py, where "inc" is the set whose operations all
 * grow with the magnitude. Each operation equals PIL's byte for byte: ImageOps and ImageEnhance here;
 * turning, shearing and moving by affine.c. The place among the other augmentations is view.c's. */
#include "planes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What an operation's argument is for a share of the full magnitude. */
typedef enum meaning {
  NOTHING,
  SIGNED, /* ± reach · share                                    */
  LEFT,   /* reach - whole part of reach · share                */
  WHOLE,  /* whole part of reach · share                        */
  FACTOR  /* 1 ± reach · share, at least 0.1; 1: no change      */
} meaning;

static const struct {
  meaning is;
  double reach;
} arguments[SM_RANDAUGMENT_OPS] = {
    [SM_RA_AUTO_CONTRAST] = {NOTHING, 0}, [SM_RA_EQUALIZE] = {NOTHING, 0},
    [SM_RA_INVERT] = {NOTHING, 0},        [SM_RA_ROTATE] = {SIGNED, 30},
    [SM_RA_POSTERIZE] = {LEFT, 4},        [SM_RA_SOLARIZE] = {LEFT, 256},
    [SM_RA_SOLARIZE_ADD] = {WHOLE, 110},  [SM_RA_COLOUR] = {FACTOR, 0.9},
    [SM_RA_CONTRAST] = {FACTOR, 0.9},     [SM_RA_BRIGHTNESS] = {FACTOR, 0.9},
    [SM_RA_SHARPNESS] = {FACTOR, 0.9},    [SM_RA_SHEAR_X] = {SIGNED, 0.3},
    [SM_RA_SHEAR_Y] = {SIGNED, 0.3},      [SM_RA_TRANSLATE_X] = {SIGNED, 0.45},
    [SM_RA_TRANSLATE_Y] = {SIGNED, 0.45},
};

const char *const sm_randaugment_names[] = {"AutoContrast",
                                            "Equalize",
                                            "Invert",
                                            "Rotate",
                                            "PosterizeIncreasing",
                                            "SolarizeIncreasing",
                                            "SolarizeAdd",
                                            "ColorIncreasing",
                                            "ContrastIncreasing",
                                            "BrightnessIncreasing",
                                            "SharpnessIncreasing",
                                            "ShearX",
                                            "ShearY",
                                            "TranslateXRel",
                                            "TranslateYRel",
                                            NULL};

/* ---- drawing ------------------------------------------------------------------------------------------- */

double sm_randaugment_argument(sm_randaugment_op op, double magnitude, bool negative) {
  const double share = magnitude / SM_RANDAUGMENT_FULL, reach = arguments[op].reach;
  const double part = share * reach, either = negative ? -part : part;
  switch (arguments[op].is) {
    case NOTHING:
      return 0;
    case SIGNED:
      return either;
    case LEFT:
      return reach - trunc(part);
    case WHOLE:
      return trunc(part);
    case FACTOR:
      return fmax(0.1, 1 + either);
  }
  return 0;
}

/* Every draw is made whether or not it is used, so that the second operation does not depend on the first. */
void sm_randaugment_draw(const sm_randaugment *r, sm_rng *rng, sm_randaugment_choice *out) {
  *out = (sm_randaugment_choice){0};
  for (int i = 0; i < r->layers; i++) {
    sm_randaugment_op op = (sm_randaugment_op)sm_rng_below(rng, SM_RANDAUGMENT_OPS);
    bool applied = sm_rng_uniform(rng) < 0.5;
    double magnitude = r->magnitude + r->deviation * sm_rng_normal(rng);
    bool negative = sm_rng_uniform(rng) < 0.5;
    magnitude = fmin(fmax(magnitude, 0), SM_RANDAUGMENT_FULL);
    if (!applied) continue;
    out->step[out->steps++] = (sm_randaugment_step){op, sm_randaugment_argument(op, magnitude, negative)};
  }
}

/* ---- operations on each value by itself ---------------------------------------------------------------- */

typedef uint8_t table[3][256];

/* Image.blend: in float, cut off. 1 gives `b`. Source: Pillow src/libImaging/Blend.c. */
static uint8_t randaugment_blend(int a, int b, float factor) {
  float value = (float)a + factor * (float)(b - a);
  return value <= 0 ? 0 : value >= 255 ? 255 : (uint8_t)value;
}

static void randaugment_count_values(const uint8_t *values, size_t n, int64_t count[256]) {
  memset(count, 0, 256 * sizeof *count);
  for (size_t i = 0; i < n; i++) count[values[i]]++;
}

/* ImageOps.autocontrast: the lowest value becomes 0, the highest 255. */
static void randaugment_stretch(const int64_t count[256], uint8_t to[256]) {
  int low = 0, high = 255;
  while (low < 255 && !count[low]) low++;
  while (high > 0 && !count[high]) high--;
  const double scale = high > low ? 255.0 / (high - low) : 1, offset = high > low ? -low * scale : 0;
  for (int v = 0; v < 256; v++) {
    double value = v * scale + offset;
    to[v] = value <= 0 ? 0 : value >= 255 ? 255 : (uint8_t)value;
  }
}

/* ImageOps.equalize: as many pixels for each step of the result, as far as values can be told apart. */
static void randaugment_equalize(const int64_t count[256], uint8_t to[256]) {
  int64_t all = 0;
  int high = 255;
  while (high > 0 && !count[high]) high--;
  for (int v = 0; v < high; v++) all += count[v];
  const int64_t step = all / 255;
  int64_t below = step / 2;
  for (int v = 0; v < 256; v++) {
    int64_t value = step ? below / step : v;
    to[v] = value > 255 ? 255 : (uint8_t)value;
    below += count[v];
  }
}

/* The operations that know nothing of the picture. Posterize with 0 bits is all black: PIL's formula says so,
 * though its newer versions refuse to. */
static uint8_t randaugment_of_value(sm_randaugment_op op, int v, double argument) {
  const int whole = (int)argument;
  switch (op) {
    case SM_RA_INVERT:
      return (uint8_t)(255 - v);
    case SM_RA_POSTERIZE:
      return (uint8_t)(v & ~(0xFF >> whole));
    case SM_RA_SOLARIZE:
      return (uint8_t)(v < whole ? v : 255 - v);
    case SM_RA_SOLARIZE_ADD:
      return (uint8_t)(v >= 128 ? v : v + whole > 255 ? 255 : v + whole);
    case SM_RA_BRIGHTNESS:
      return randaugment_blend(0, v, (float)argument);
    default:
      return (uint8_t)v;
  }
}

/* ImageEnhance.Contrast: away from or towards the mean of the luma, a whole number. */
static int randaugment_mean_luma(const sm_planes *p) {
  const size_t n = sm_planes_count(p);
  return (int)((double)sm_pixel_ops_best()->luma_sum(p->plane, n) / (double)n + 0.5);
}

static void randaugment_fill_table(const sm_planes *p, const sm_randaugment_step *s, table t) {
  const int towards = s->op == SM_RA_CONTRAST ? randaugment_mean_luma(p) : 0;
  for (int c = 0; c < 3; c++) {
    int64_t count[256];
    if (s->op == SM_RA_AUTO_CONTRAST || s->op == SM_RA_EQUALIZE)
      randaugment_count_values(p->plane[c], sm_planes_count(p), count);
    if (s->op == SM_RA_AUTO_CONTRAST) randaugment_stretch(count, t[c]);
    else if (s->op == SM_RA_EQUALIZE) randaugment_equalize(count, t[c]);
    else
      for (int v = 0; v < 256; v++)
        t[c][v] = s->op == SM_RA_CONTRAST ? randaugment_blend(towards, v, (float)s->argument)
                                          : randaugment_of_value(s->op, v, s->argument);
  }
}

static void randaugment_by_table(sm_planes *p, const sm_randaugment_step *s) {
  table t;
  randaugment_fill_table(p, s, t);
  const size_t n = sm_planes_count(p);
  for (int c = 0; c < 3; c++)
    for (size_t i = 0; i < n; i++) p->plane[c][i] = t[c][p->plane[c][i]];
}

/* ---- colour and sharpness ------------------------------------------------------------------------------ */

/* ImageEnhance.Color: away from or towards the picture's own luma. */
static void randaugment_colour(sm_planes *p, float factor) {
  const size_t n = sm_planes_count(p);
  for (size_t i = 0; i < n; i++) {
    uint8_t *r = &p->plane[0][i], *g = &p->plane[1][i], *b = &p->plane[2][i];
    int luma = (int)((19595u * *r + 38470u * *g + 7471u * *b + 32768u) >> 16);
    *r = randaugment_blend(luma, *r, factor);
    *g = randaugment_blend(luma, *g, factor);
    *b = randaugment_blend(luma, *b, factor);
  }
}

/* ImageFilter.SMOOTH: a pixel counts five times, its eight neighbours once, rounded. PIL adds thirteenths up
 * in float; their sum is never nearer than 1/26 to where rounding changes, so whole numbers give the same. */
static int randaugment_smooth(const uint8_t *at, size_t width) {
  const uint8_t *above = at - width, *below = at + width;
  int sum = above[-1] + above[0] + above[1] + at[-1] + 5 * at[0] + at[1] + below[-1] + below[0] + below[1];
  return (2 * sum + 13) / 26;
}

/* ImageEnhance.Sharpness: away from or towards the smoothed picture, whose border is not smoothed. */
static sm_status randaugment_sharpness(sm_planes *p, float factor, sm_image_scratch *scratch, sm_error *err) {
  const size_t width = (size_t)p->width;
  sm_planes in;
  sm_status status = sm_planes_aside(p, scratch, &in, err);
  if (status) return status;
  for (int c = 0; c < 3; c++)
    for (int y = 1; y < p->height - 1; y++)
      for (int x = 1; x < p->width - 1; x++) {
        const size_t i = (size_t)y * width + (size_t)x;
        p->plane[c][i] =
            randaugment_blend(randaugment_smooth(in.plane[c] + i, width), in.plane[c][i], factor);
      }
  return SM_OK;
}

/* ---- turning, shearing, moving ------------------------------------------------------------------------- */

/* Python's round(value, 15): PIL wants multiples of a right angle to be exact. */
static double randaugment_to_15_digits(double value) {
  char text[32];
  snprintf(text, sizeof text, "%.15f", value);
  return strtod(text, NULL);
}

/* Image.rotate: anticlockwise, around the middle. */
static void randaugment_turn(double degrees, int width, int height, double map[6]) {
  const double positive = degrees < 0 ? degrees + 360 : degrees, angle = -(positive * (M_PI / 180));
  const double x = width / 2.0, y = height / 2.0;
  map[0] = map[4] = randaugment_to_15_digits(cos(angle));
  map[1] = randaugment_to_15_digits(sin(angle));
  map[3] = randaugment_to_15_digits(-sin(angle));
  map[2] = map[0] * -x + map[1] * -y + x;
  map[5] = map[3] * -x + map[4] * -y + y;
}

static bool randaugment_is_geometric(sm_randaugment_op op) {
  return op == SM_RA_ROTATE || (op >= SM_RA_SHEAR_X && op <= SM_RA_TRANSLATE_Y);
}

static void randaugment_fill_map(const sm_planes *p, const sm_randaugment_step *s, double map[6]) {
  if (s->op == SM_RA_ROTATE) randaugment_turn(s->argument, p->width, p->height, map);
  if (s->op == SM_RA_SHEAR_X) map[1] = s->argument;
  if (s->op == SM_RA_SHEAR_Y) map[3] = s->argument;
  if (s->op == SM_RA_TRANSLATE_X) map[2] = s->argument * p->width;
  if (s->op == SM_RA_TRANSLATE_Y) map[5] = s->argument * p->height;
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

sm_status sm_planes_randaugment(sm_planes *p, const sm_randaugment_choice *choice, sm_filter filter,
                                const float mean[3], sm_image_scratch *scratch, sm_error *err) {
  const bool cubic = filter == SM_FILTER_BICUBIC || filter == SM_FILTER_LANCZOS;
  sm_status status = SM_OK;
  uint8_t fill[3];
  for (int c = 0; c < 3; c++) fill[c] = (uint8_t)fmin(fmax(nearbyint(255 * (double)mean[c]), 0), 255);
  for (int i = 0; i < choice->steps && !status; i++) {
    const sm_randaugment_step *s = &choice->step[i];
    double map[6] = {1, 0, 0, 0, 1, 0};
    if (randaugment_is_geometric(s->op)) {
      randaugment_fill_map(p, s, map);
      status = sm_planes_affine(p, map, cubic, fill, scratch, err);
    } else if (s->op == SM_RA_SHARPNESS) {
      status = randaugment_sharpness(p, (float)s->argument, scratch, err);
    } else if (s->op == SM_RA_COLOUR) {
      randaugment_colour(p, (float)s->argument);
    } else {
      randaugment_by_table(p, s);
    }
  }
  return status;
}

sm_status sm_image_randaugment(sm_image *image, const sm_randaugment_choice *choice, sm_filter filter,
                               const float mean[3], sm_image_scratch *scratch, sm_error *err) {
  sm_planes planes;
  sm_status status = sm_planes_from_image(&planes, image, scratch, err);
  if (!status) status = sm_planes_randaugment(&planes, choice, filter, mean, scratch, err);
  if (!status) sm_planes_to_image(&planes, image);
  return status;
}

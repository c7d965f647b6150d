/* colour.c — colour operations in PIL's 8-bit arithmetic, on planes and on pictures. A picture is worked on
 * in blocks of separated channels, so every operation has one loop only and needs no memory. */
#include "planes.h"

#include <math.h>

const float sm_imagenet_mean[3] = {SM_IMAGENET_MEAN};
const float sm_imagenet_std[3] = {SM_IMAGENET_STD};

/* ---- the arithmetic ------------------------------------------------------------------------------------ */

/* PIL blends in float and cuts off; here the (float) factor is a fixed-point number with as many bits as
 * leave factor * 255 in 32 bits: 22 up to factor 2. Source: Pillow src/libImaging/Blend.c. */
static sm_blend colour_blend_make(double factor) {
  double f = (float)(factor > 0 ? factor : 0);
  f = f < 4e6 ? f : 4e6;
  int shift = SM_TAP_BITS;
  while (shift > 0 && ldexp(f, shift) * 255 >= 2147483392.0) shift--;
  return (sm_blend){(int32_t)lrint(ldexp(f, shift)), shift};
}

/* np.uint8(hue_factor * 255): cut off towards 0, then modulo 256. */
static int colour_hue_steps(double turn) { return (int)(turn * 255) & 255; }

/* rgb2hsv_row's 8-bit hue of the colour with range 255 that lies 6 * quotient of 1530 steps from red. */
static int colour_pil_hue(int quotient) {
  int place = 6 * quotient, base = place <= 255 || place >= 1275 ? 0 : place <= 765 ? 2 : 4;
  int distance = place >= 1275 ? place - 1530 : place - 255 * base;
  float plus = (float)(distance >= 0 ? 255 : 255 + distance) / 255.0f;
  float minus = (float)(distance >= 0 ? 255 - distance : 255) / 255.0f;
  float hue = (float)((double)base + (double)plus - (double)minus);
  float part = (float)fmod((double)hue / 6.0 + 1.0, 1.0);
  return (int)((double)part * 255.0);
}

/* PIL makes RGB into 8-bit HSV by float quotients that it cuts off. In whole numbers: saturation is cut(255 *
 * range / max), range = max - min; hue is cut(255 * place / (6 * range)), where place counts from red around
 * the circle, `range` steps to each sixth. PIL's hue differs from that only where the quotient is a whole
 * number that its floats reached from below, and whether they do depends on that number alone. Hence a table
 * by quotient and "is whole", filled with PIL's own arithmetic; turning the hue and splitting it into sector
 * and place (mirrored in every other sector) is in it too. Source: Pillow Convert.c. */
void sm_hue_table_make(int steps, int32_t table[SM_HUE_TABLE]) {
  for (int quotient = 0; quotient < 256; quotient++)
    for (int whole = 0; whole < 2; whole++) {
      int hue = ((whole ? colour_pil_hue(quotient) : quotient) + steps) & 255;
      int sector = 6 * hue / 255, place = 6 * hue % 255;
      table[2 * quotient + whole] = sector << 8 | (sector % 2 ? place : 255 - place);
    }
}

/* int(mean of the luma + 0.5) */
static int colour_grey_level(uint64_t sum, size_t n) { return (int)((double)sum / (double)n + 0.5); }

/* ---- on planes ----------------------------------------------------------------------------------------- */

static void colour_jitter_one(sm_planes *planes, const sm_view_choice *choice, sm_jitter what) {
  const sm_pixel_ops *ops = sm_pixel_ops_best();
  const size_t n = sm_planes_count(planes);
  int32_t table[SM_HUE_TABLE];
  int towards = 0;
  switch (what) {
    case SM_JITTER_CONTRAST:
      towards = colour_grey_level(ops->luma_sum(planes->plane, n), n);
      for (int c = 0; c < 3; c++)
        ops->blend_value(planes->plane[c], n, towards, colour_blend_make(choice->contrast));
      break;
    case SM_JITTER_BRIGHTNESS:
      for (int c = 0; c < 3; c++)
        ops->blend_value(planes->plane[c], n, 0, colour_blend_make(choice->brightness));
      break;
    case SM_JITTER_SATURATION:
      ops->blend_luma(planes->plane, n, colour_blend_make(choice->saturation));
      break;
    case SM_JITTER_HUE:
      sm_hue_table_make(colour_hue_steps(choice->hue), table);
      ops->hue(planes->plane, n, table);
      break;
  }
}

void sm_planes_jitter(sm_planes *planes, const sm_view_choice *choice) {
  for (int i = 0; i < 4; i++) colour_jitter_one(planes, choice, (sm_jitter)choice->order[i]);
}

/* ---- on pictures --------------------------------------------------------------------------------------- */

typedef struct colour_op {
  enum { OP_VALUE, OP_LUMA, OP_HUE, OP_GREY, OP_SOLARIZE, OP_SUM } what;
  sm_blend blend;
  int number; /* grey level or threshold */
  uint64_t sum;
  const int32_t *table;
} colour_op;

static void colour_run_block(const sm_pixel_ops *ops, uint8_t *const plane[3], size_t n, colour_op *op) {
  switch (op->what) {
    case OP_VALUE:
      for (int c = 0; c < 3; c++) ops->blend_value(plane[c], n, op->number, op->blend);
      break;
    case OP_LUMA:
      ops->blend_luma(plane, n, op->blend);
      break;
    case OP_HUE:
      ops->hue(plane, n, op->table);
      break;
    case OP_GREY:
      ops->grey(plane, n);
      break;
    case OP_SOLARIZE:
      for (int c = 0; c < 3; c++) ops->solarize(plane[c], n, op->number);
      break;
    case OP_SUM:
      op->sum += ops->luma_sum(plane, n);
      break;
  }
}

static void colour_run(sm_image *image, colour_op *op) {
  enum { BLOCK = 1024 };
  const sm_pixel_ops *ops = sm_pixel_ops_best();
  uint8_t block[3][BLOCK];
  uint8_t *const plane[3] = {block[0], block[1], block[2]};
  size_t total = (size_t)image->width * (size_t)image->height;
  for (size_t start = 0; start < total; start += BLOCK) {
    uint8_t *rgb = image->rgb + 3 * start;
    size_t n = total - start < BLOCK ? total - start : BLOCK;
    for (size_t i = 0; i < n; i++)
      for (size_t c = 0; c < 3; c++) block[c][i] = rgb[3 * i + c];
    colour_run_block(ops, plane, n, op);
    if (op->what == OP_SUM) continue;
    for (size_t i = 0; i < n; i++)
      for (size_t c = 0; c < 3; c++) rgb[3 * i + c] = block[c][i];
  }
}

void sm_image_brightness(sm_image *image, double factor) {
  colour_run(image, &(colour_op){.what = OP_VALUE, .blend = colour_blend_make(factor)});
}

void sm_image_contrast(sm_image *image, double factor) {
  colour_op sum = {.what = OP_SUM};
  colour_run(image, &sum);
  int level = colour_grey_level(sum.sum, (size_t)image->width * (size_t)image->height);
  colour_run(image, &(colour_op){.what = OP_VALUE, .blend = colour_blend_make(factor), .number = level});
}

void sm_image_saturation(sm_image *image, double factor) {
  colour_run(image, &(colour_op){.what = OP_LUMA, .blend = colour_blend_make(factor)});
}

void sm_image_hue(sm_image *image, double turn) {
  int32_t table[SM_HUE_TABLE];
  sm_hue_table_make(colour_hue_steps(turn), table);
  colour_run(image, &(colour_op){.what = OP_HUE, .table = table});
}

void sm_image_grey(sm_image *image) { colour_run(image, &(colour_op){.what = OP_GREY}); }

void sm_image_solarize(sm_image *image, int threshold) {
  colour_run(image, &(colour_op){.what = OP_SOLARIZE, .number = threshold});
}

void sm_image_jitter(sm_image *image, const sm_view_choice *choice) {
  for (int i = 0; i < 4; i++) switch ((sm_jitter)choice->order[i]) {
      case SM_JITTER_BRIGHTNESS:
        sm_image_brightness(image, choice->brightness);
        break;
      case SM_JITTER_CONTRAST:
        sm_image_contrast(image, choice->contrast);
        break;
      case SM_JITTER_SATURATION:
        sm_image_saturation(image, choice->saturation);
        break;
      case SM_JITTER_HUE:
        sm_image_hue(image, choice->hue);
        break;
    }
}

/* ---- numbers ------------------------------------------------------------------------------------------- */

/* Divisions in float as ToTensor and Normalize do them; a table holds the 256 results of each channel. */
void sm_normalise_table(const float mean[3], const float std[3], float table[3][256]) {
  for (int c = 0; c < 3; c++)
    for (int v = 0; v < 256; v++) table[c][v] = ((float)v / 255.0f - mean[c]) / std[c];
}

void sm_image_normalise(const sm_image *image, const float mean[3], const float std[3], float *chw) {
  float table[3][256];
  sm_normalise_table(mean, std, table);
  size_t n = (size_t)image->width * (size_t)image->height;
  for (size_t c = 0; c < 3; c++)
    for (size_t i = 0; i < n; i++) chw[c * n + i] = table[c][image->rgb[3 * i + c]];
}

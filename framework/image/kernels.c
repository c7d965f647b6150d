/* kernels.c — the loops over pixels. This file is compiled once for each CPU level (SM_PIXEL_LEVEL) without
 * contraction of multiply and add, and holds only integer arithmetic and single, exactly rounded float
 * operations, so that every level gives the same bytes. It allocates nothing and checks nothing: callers
 * have. */
#include "lanes.h"
#include "planes.h"

#include <string.h>

#ifndef SM_PIXEL_LEVEL
#define SM_PIXEL_LEVEL baseline
#endif
#define TABLE_NAME_(level) sm_pixel_ops_##level
#define TABLE_NAME(level) TABLE_NAME_(level)
#define TEXT_(level) #level
#define TEXT(level) TEXT_(level)

static inline int clamp_byte(int v) {
  v = v < 0 ? 0 : v;
  return v > 255 ? 255 : v;
}

static inline int luma(int r, int g, int b) { return (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16; }

/* ---- resize -------------------------------------------------------------------------------------------- */

/* Four taps at a time, each of three channels; the four partial sums are added at the end. Integer sums do
 * not depend on the order. The rounding half goes into the first group only. */
static void resample_row(const uint8_t *row, const sm_tap *taps, int width, uint32_t *rgbx) {
  const int32_t half[4] = {1 << (SM_TAP_BITS - 1), 0, 0, 0};
  const lanes start = lanes_weights(half);
  for (int x = 0; x < width; x++) {
    const uint8_t *source = row + 3 * (size_t)taps[x].first;
    const int32_t *weight = taps[x].weight;
    lanes sum = start;
    for (int k = 0; k < taps[x].count; k += 4)
      sum = lanes_add_product(sum, lanes_pixels(source + 3 * (size_t)k), lanes_weights(weight + k));
    lanes_store_pixel(sum, SM_TAP_BITS, rgbx + x);
  }
}

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define RGBX_BYTE(v, c) ((uint8_t)((v) >> (24 - 8 * (c))))
#else
#define RGBX_BYTE(v, c) ((uint8_t)((v) >> (8 * (c))))
#endif

static void split_rgbx(const uint32_t *rgbx, size_t n, bool flip, uint8_t *restrict r, uint8_t *restrict g,
                       uint8_t *restrict b) {
  if (!flip) {
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
      r[i] = RGBX_BYTE(rgbx[i], 0);
      g[i] = RGBX_BYTE(rgbx[i], 1);
      b[i] = RGBX_BYTE(rgbx[i], 2);
    }
  } else {
#pragma omp simd
    for (size_t i = 0; i < n; i++) {
      r[i] = RGBX_BYTE(rgbx[n - 1 - i], 0);
      g[i] = RGBX_BYTE(rgbx[n - 1 - i], 1);
      b[i] = RGBX_BYTE(rgbx[n - 1 - i], 2);
    }
  }
}

static void resample_column(const uint8_t *plane, size_t stride, const sm_tap *tap, size_t n,
                            uint8_t *restrict out) {
  const uint8_t *top = plane + (size_t)tap->first * stride;
  const lanes half = lanes_all(1 << (SM_TAP_BITS - 1));
  size_t x = 0;
  for (; x + 32 <= n; x += 32) {
    const uint8_t *from = top + x;
    lanes left = half, right = half;
    for (int k = 0; k < tap->count; k++, from += stride) {
      const lanes weight = lanes_all(tap->weight[k]);
      left = lanes_add_product(left, lanes_bytes(from), weight);
      right = lanes_add_product(right, lanes_bytes(from + 16), weight);
    }
    lanes_store(left, SM_TAP_BITS, out + x);
    lanes_store(right, SM_TAP_BITS, out + x + 16);
  }
  for (; x < n; x++) {
    int32_t sum = 1 << (SM_TAP_BITS - 1);
    for (int k = 0; k < tap->count; k++) sum += top[(size_t)k * stride + x] * tap->weight[k];
    out[x] = (uint8_t)clamp_byte(sum >> SM_TAP_BITS);
  }
}

/* ---- colour -------------------------------------------------------------------------------------------- */

static uint64_t luma_sum(uint8_t *const plane[3], size_t n) {
  const uint8_t *r = plane[0], *g = plane[1], *b = plane[2];
  uint64_t total = 0;
  for (size_t start = 0; start < n; start += 1 << 16) { /* 65536 x 255 fits 32 bits */
    size_t end = start + (1 << 16) < n ? start + (1 << 16) : n;
    uint32_t sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = start; i < end; i++) sum += (uint32_t)luma(r[i], g[i], b[i]);
    total += sum;
  }
  return total;
}

static void grey(uint8_t *const plane[3], size_t n) {
  uint8_t *restrict r = plane[0], *restrict g = plane[1], *restrict b = plane[2];
#pragma omp simd
  for (size_t i = 0; i < n; i++) {
    uint8_t l = (uint8_t)luma(r[i], g[i], b[i]);
    r[i] = l;
    g[i] = l;
    b[i] = l;
  }
}

static inline uint8_t blend(int a, int b, int32_t factor, int shift, int32_t nudge) {
  return (uint8_t)clamp_byte(a + ((factor * (b - a) + nudge) >> shift));
}

/* What the float arithmetic of Blend.c rounds up to a whole number must not be cut off to the one below. */
static inline int32_t blend_nudge(int shift) { return shift > 15 ? 1 << (shift - 15) : 0; }

static void blend_value(uint8_t *restrict values, size_t n, int towards, sm_blend by) {
  const int32_t factor = by.factor, nudge = blend_nudge(by.shift);
  const int shift = by.shift;
#pragma omp simd
  for (size_t i = 0; i < n; i++) values[i] = blend(towards, values[i], factor, shift, nudge);
}

static void blend_luma(uint8_t *const plane[3], size_t n, sm_blend by) {
  uint8_t *restrict r = plane[0], *restrict g = plane[1], *restrict b = plane[2];
  const int32_t factor = by.factor, nudge = blend_nudge(by.shift);
  const int shift = by.shift;
#pragma omp simd
  for (size_t i = 0; i < n; i++) {
    int l = luma(r[i], g[i], b[i]);
    r[i] = blend(l, r[i], factor, shift, nudge);
    g[i] = blend(l, g[i], factor, shift, nudge);
    b[i] = blend(l, b[i], factor, shift, nudge);
  }
}

static void solarize(uint8_t *restrict values, size_t n, int threshold) {
#pragma omp simd
  for (size_t i = 0; i < n; i++) values[i] = values[i] < threshold ? values[i] : (uint8_t)(255 - values[i]);
}

/* Hue, in blocks: first to quotients (see sm_hue_table_make in colour.c), then through the table to RGB
 * again. The float quotients below are of whole numbers under 2^24 and correctly rounded, so that cutting
 * them off is exact. */
#define HUE_BLOCK 64
typedef struct hue_block {
  int32_t index[HUE_BLOCK], s[HUE_BLOCK], v[HUE_BLOCK];
} hue_block;

static inline void hue_split(const uint8_t *r8, const uint8_t *g8, const uint8_t *b8, hue_block *out) {
#pragma omp simd
  for (int i = 0; i < HUE_BLOCK; i++) {
    int r = r8[i], g = g8[i], b = b8[i];
    int high = r > g ? r : g, low = r < g ? r : g;
    high = high > b ? high : b;
    low = low < b ? low : b;
    int range = high - low;
    int place = r == high ? g - b : g == high ? b - r + 2 * range : r - g + 4 * range;
    place = place < 0 ? place + 6 * range : place;
    int divisor = range > 0 ? 2 * range : 1;
    int quotient = (int)((float)(85 * place) / (float)divisor);
    int whole = quotient * divisor == 85 * place;
    out->index[i] = 2 * quotient + whole;
    out->s[i] = (int)((float)(255 * range) / (float)(high > 0 ? high : 1));
    out->v[i] = high;
  }
}

/* hsv2rgb_row: its rounded products are v * (1 - s/255) and v * (1 - s/255 * m/255), whole numbers over 255
 * and 65025. */
static inline void hue_join(const hue_block *in, const int32_t *restrict table, uint8_t *r8, uint8_t *g8,
                            uint8_t *b8) {
#pragma omp simd
  for (int i = 0; i < HUE_BLOCK; i++) {
    int entry = table[in->index[i]], s = in->s[i], v = in->v[i];
    int sector = entry >> 8, m = entry & 255;
    int low = (int)(((uint32_t)(v * (255 - s) + 127) * 0x8081u) >> 23); /* rounded quotient by 255 */
    int between = (int)((float)(v * (65025 - s * m) + 32512) / 65025.0f);
    int r = sector == 1 || sector == 4 ? between : sector == 2 || sector == 3 ? low : v;
    int g = sector == 1 || sector == 2 ? v : sector == 4 || sector == 5 ? low : between;
    int b = sector == 3 || sector == 4 ? v : sector == 2 || sector == 5 ? between : low;
    r8[i] = (uint8_t)r;
    g8[i] = (uint8_t)g;
    b8[i] = (uint8_t)b;
  }
}

static void hue(uint8_t *const plane[3], size_t n, const int32_t *table) {
  hue_block block;
  size_t i = 0;
  for (; i + HUE_BLOCK <= n; i += HUE_BLOCK) {
    hue_split(plane[0] + i, plane[1] + i, plane[2] + i, &block);
    hue_join(&block, table, plane[0] + i, plane[1] + i, plane[2] + i);
  }
  if (i < n) {
    uint8_t rest[3][HUE_BLOCK] = {{0}};
    for (int c = 0; c < 3; c++) memcpy(rest[c], plane[c] + i, n - i);
    hue_split(rest[0], rest[1], rest[2], &block);
    hue_join(&block, table, rest[0], rest[1], rest[2]);
    for (int c = 0; c < 3; c++) memcpy(plane[c] + i, rest[c], n - i);
  }
}

/* ---- blur ---------------------------------------------------------------------------------------------- */

#define BOX_BLOCK 64

static inline void box_block(const uint8_t *const *rows, int count, uint32_t full, uint32_t part, size_t x,
                             size_t n, uint8_t *restrict out) {
  uint16_t sum[BOX_BLOCK];
  const uint8_t *restrict first = rows[0] + x, *restrict last = rows[count - 1] + x,
                          *restrict row = rows[1] + x;
#pragma omp simd
  for (size_t i = 0; i < n; i++) sum[i] = row[i];
  for (int k = 2; k < count - 1; k++) {
    row = rows[k] + x;
#pragma omp simd
    for (size_t i = 0; i < n; i++) sum[i] = (uint16_t)(sum[i] + row[i]);
  }
#pragma omp simd
  for (size_t i = 0; i < n; i++) {
    uint32_t value = sum[i] * full + (uint32_t)(first[i] + last[i]) * part + (1u << 23);
    out[x + i] = (uint8_t)(value >> 24);
  }
}

static void box_line(const uint8_t *const *rows, int count, uint32_t full, uint32_t part, size_t n,
                     uint8_t *out) {
  size_t x = 0;
  for (; x + BOX_BLOCK <= n; x += BOX_BLOCK) box_block(rows, count, full, part, x, BOX_BLOCK, out);
  if (x < n) box_block(rows, count, full, part, x, n - x, out);
}

const sm_pixel_ops TABLE_NAME(SM_PIXEL_LEVEL) = {
    .name = TEXT(SM_PIXEL_LEVEL),
    .resample_row = resample_row,
    .split_rgbx = split_rgbx,
    .resample_column = resample_column,
    .luma_sum = luma_sum,
    .grey = grey,
    .blend_value = blend_value,
    .blend_luma = blend_luma,
    .hue = hue,
    .solarize = solarize,
    .box_line = box_line,
};

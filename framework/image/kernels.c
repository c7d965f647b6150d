/* kernels.c — the loops over pixels. This file is compiled once for each CPU level (SM_PIXEL_LEVEL) without contraction of
 * multiply and add, and holds only integer arithmetic and single, exactly rounded float operations, so that
 * every level gives the same bytes. It allocates nothing and checks nothing: callers have. */
#include "planes.h"

#include <string.h>

#ifndef SM_PIXEL_LEVEL
#define SM_PIXEL_LEVEL baseline
#endif
#define TABLE_NAME_(level) sm_pixel_ops_##level
#define TABLE_NAME(level) TABLE_NAME_(level)
#define TEXT_(level) #level
#define TEXT(level) TEXT_(level)

typedef uint8_t u8x16 __attribute__((vector_size(16)));
typedef int32_t i32x16 __attribute__((vector_size(64)));

static inline int clamp_byte(int v) {
  v = v < 0 ? 0 : v;
  return v > 255 ? 255 : v;
}

static inline int luma(int r, int g, int b) { return (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16; }

/* ---- resize -------------------------------------------------------------------------------------------- */

#if defined(__SSSE3__)
/* Four taps at a time: spread 12 interleaved bytes over 4 x (R G B unused), widen, multiply, add; at the end add the four
 * partial sums. Integer sums do not depend on the order. */
static void resample_row(const uint8_t *row, const sm_tap *taps, int width, uint32_t *rgbx) {
  typedef int32_t i32x4 __attribute__((vector_size(16)));
  typedef uint8_t u8x4 __attribute__((vector_size(4)));
  const u8x16 spread = {0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11};
  for (int x = 0; x < width; x++) {
    const uint8_t *source = row + 3 * (size_t)taps[x].first;
    const int32_t *weight = taps[x].weight;
    i32x16 sum = {0};
    for (int k = 0; k < taps[x].count; k += 4) {
      u8x16 bytes;
      i32x16 w;
      memcpy(&bytes, source + 3 * (size_t)k, sizeof bytes);
      memcpy(&w, weight + 4 * (size_t)k, sizeof w);
#if defined(__clang__)
      bytes = __builtin_shufflevector(bytes, bytes, 0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11);
      (void)spread;
#else
      bytes = __builtin_shuffle(bytes, spread);
#endif
      sum += __builtin_convertvector(bytes, i32x16) * w;
    }
    i32x4 part[4], total;
    memcpy(part, &sum, sizeof part);
    total = (part[0] + part[1]) + (part[2] + part[3]) + (1 << (SM_TAP_BITS - 1));
    total >>= SM_TAP_BITS;
    total &= ~(total >> 31);              /* below 0: 0 */
    total |= (255 - total) >> 31;         /* above 255: all ones, cut to 255 below */
    u8x4 packed = __builtin_convertvector(total, u8x4);
    memcpy(rgbx + x, &packed, sizeof packed);
  }
}
#else
static void resample_row(const uint8_t *row, const sm_tap *taps, int width, uint32_t *rgbx) {
  for (int x = 0; x < width; x++) {
    const uint8_t *source = row + 3 * (size_t)taps[x].first;
    const int32_t *weight = taps[x].weight;
    int32_t r = 1 << (SM_TAP_BITS - 1), g = r, b = r;
    for (int k = 0; k < taps[x].count; k++) {
      r += source[3 * k] * weight[4 * k];
      g += source[3 * k + 1] * weight[4 * k];
      b += source[3 * k + 2] * weight[4 * k];
    }
    uint8_t packed[4] = {(uint8_t)clamp_byte(r >> SM_TAP_BITS), (uint8_t)clamp_byte(g >> SM_TAP_BITS),
                         (uint8_t)clamp_byte(b >> SM_TAP_BITS), 0};
    memcpy(rgbx + x, packed, sizeof packed);
  }
}
#endif

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

static void resample_column(const uint8_t *plane, size_t stride, const sm_tap *tap, size_t n, uint8_t *restrict out) {
  const uint8_t *top = plane + (size_t)tap->first * stride;
  size_t x = 0;
  for (; x + 16 <= n; x += 16) {
    i32x16 sum = (i32x16){0} + (1 << (SM_TAP_BITS - 1));
    for (int k = 0; k < tap->count; k++) {
      u8x16 bytes;
      memcpy(&bytes, top + (size_t)k * stride + x, sizeof bytes);
      sum += __builtin_convertvector(bytes, i32x16) * tap->weight[k];
    }
    sum >>= SM_TAP_BITS;
    sum &= ~(sum >> 31);
    sum |= (255 - sum) >> 31;
    u8x16 bytes = __builtin_convertvector(sum, u8x16);
    memcpy(out + x, &bytes, sizeof bytes);
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

/* RGB to 8-bit HSV as PIL's rgb2hsv_row rounds it (float quotients, the rest in double), for one block. */
#define HUE_BLOCK 64
typedef struct hue_block {
  int32_t h[HUE_BLOCK], s[HUE_BLOCK], v[HUE_BLOCK];
} hue_block;

static inline void hue_split(const uint8_t *r8, const uint8_t *g8, const uint8_t *b8, hue_block *out) {
  float quotient[HUE_BLOCK];
#pragma omp simd
  for (int i = 0; i < HUE_BLOCK; i++) {
    int r = r8[i], g = g8[i], b = b8[i];
    int high = r > g ? r : g, low = r < g ? r : g;
    high = high > b ? high : b;
    low = low < b ? low : b;
    int range = high - low;
    /* The sector decides which two distances from the maximum are compared. */
    int plus = r == high ? high - b : g == high ? high - r : high - g;
    int minus = r == high ? high - g : g == high ? high - b : high - r;
    double base = r == high ? 0.0 : g == high ? 2.0 : 4.0;
    float divisor = (float)(range > 0 ? range : 1);
    float p = (float)plus / divisor, m = (float)minus / divisor;
    quotient[i] = (float)(base + (double)p - (double)m);
    float share = (float)range / (float)(high > 0 ? high : 1);
    out->s[i] = (int)((double)share * 255.0);
    out->v[i] = high;
  }
#pragma omp simd
  for (int i = 0; i < HUE_BLOCK; i++) {
    double turn = (double)quotient[i] / 6.0 + 1.0;
    float part = (float)(turn >= 1.0 ? turn - 1.0 : turn); /* fmod(turn, 1) of 0.83 … 1.84 */
    out->h[i] = (int)((double)part * 255.0);
  }
}

/* 8-bit HSV to RGB as hsv2rgb_row. Its rounded products are v * (1 - s/255 * m/255): whole numbers over 65025, so that the
 * float quotient below is cut off at exactly the right place (numerator and quotient are exact enough in 24 bits). */
static inline void hue_join(const hue_block *in, int steps, uint8_t *r8, uint8_t *g8, uint8_t *b8) {
#pragma omp simd
  for (int i = 0; i < HUE_BLOCK; i++) {
    int h6 = 6 * ((in->h[i] + steps) & 255), s = in->s[i], v = in->v[i];
    int sector = (h6 * 257 + 257) >> 16; /* h6 / 255 */
    int m = h6 - 255 * sector;
    m = sector & 1 ? m : 255 - m;
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

static void hue(uint8_t *const plane[3], size_t n, int steps) {
  hue_block block;
  size_t i = 0;
  for (; i + HUE_BLOCK <= n; i += HUE_BLOCK) {
    hue_split(plane[0] + i, plane[1] + i, plane[2] + i, &block);
    hue_join(&block, steps, plane[0] + i, plane[1] + i, plane[2] + i);
  }
  if (i < n) {
    uint8_t rest[3][HUE_BLOCK] = {{0}};
    for (int c = 0; c < 3; c++) memcpy(rest[c], plane[c] + i, n - i);
    hue_split(rest[0], rest[1], rest[2], &block);
    hue_join(&block, steps, rest[0], rest[1], rest[2]);
    for (int c = 0; c < 3; c++) memcpy(plane[c] + i, rest[c], n - i);
  }
}

/* ---- blur ---------------------------------------------------------------------------------------------- */

#define BOX_BLOCK 64

static inline void box_block(const uint8_t *const *rows, int count, uint32_t full, uint32_t part, size_t x, size_t n,
                             uint8_t *restrict out) {
  uint16_t sum[BOX_BLOCK];
  const uint8_t *restrict first = rows[0] + x, *restrict last = rows[count - 1] + x, *restrict row = rows[1] + x;
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

static void box_line(const uint8_t *const *rows, int count, uint32_t full, uint32_t part, size_t n, uint8_t *out) {
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

/* lanes.h — sixteen 32-bit integers at a time, for the two resize loops: the compiler does not find these by
 * itself. One implementation for each CPU level and a plain one; included by kernels.c only. All give the
 * same numbers. */
#ifndef SM_IMAGE_LANES_H
#define SM_IMAGE_LANES_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
/* Bytes of four interleaved pixels to R G B R, each pixel in its own four lanes; the fourth is not used. */
#define LANES_SPREAD _mm_setr_epi8(0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11)
#endif

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)

typedef __m512i lanes;
static inline lanes lanes_all(int32_t v) { return _mm512_set1_epi32(v); }
static inline lanes lanes_bytes(const uint8_t *p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
}
static inline lanes lanes_pixels(const uint8_t *p) {
  return _mm512_cvtepu8_epi32(
      _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)p), LANES_SPREAD));
}
/* Four weights, each four times. */
static inline lanes lanes_weights(const int32_t *w) {
  const __m512i each = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  return _mm512_permutexvar_epi32(each,
                                  _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(const void *)w)));
}
static inline lanes lanes_add_product(lanes sum, lanes a, lanes b) {
  return _mm512_add_epi32(sum, _mm512_mullo_epi32(a, b));
}
static inline void lanes_store(lanes v, int shift, uint8_t *to) {
  v = _mm512_max_epi32(_mm512_srai_epi32(v, (unsigned)shift), _mm512_setzero_si512());
  _mm_storeu_si128((__m128i *)(void *)to, _mm512_cvtusepi32_epi8(v));
}
/* The sum of the four groups of four lanes. */
static inline __m128i lanes_fold(lanes v) {
  __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

#elif defined(__AVX2__)

typedef struct lanes {
  __m256i low, high;
} lanes;
static inline lanes lanes_all(int32_t v) { return (lanes){_mm256_set1_epi32(v), _mm256_set1_epi32(v)}; }
static inline lanes lanes_widen(__m128i bytes) {
  return (lanes){_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8))};
}
static inline lanes lanes_bytes(const uint8_t *p) {
  return lanes_widen(_mm_loadu_si128((const __m128i *)(const void *)p));
}
static inline lanes lanes_pixels(const uint8_t *p) {
  return lanes_widen(_mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)p), LANES_SPREAD));
}
static inline lanes lanes_weights(const int32_t *w) {
  __m256i four = _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)w));
  return (lanes){_mm256_permutevar8x32_epi32(four, _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1)),
                 _mm256_permutevar8x32_epi32(four, _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3))};
}
static inline lanes lanes_add_product(lanes sum, lanes a, lanes b) {
  return (lanes){_mm256_add_epi32(sum.low, _mm256_mullo_epi32(a.low, b.low)),
                 _mm256_add_epi32(sum.high, _mm256_mullo_epi32(a.high, b.high))};
}
static inline void lanes_store(lanes v, int shift, uint8_t *to) {
  __m256i words = _mm256_packus_epi32(_mm256_srai_epi32(v.low, shift), _mm256_srai_epi32(v.high, shift));
  words = _mm256_permute4x64_epi64(words, 0xD8); /* packing works in halves: put them in order */
  __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128((__m128i *)(void *)to, bytes);
}
static inline __m128i lanes_fold(lanes v) {
  __m256i half = _mm256_add_epi32(v.low, v.high);
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

#else

typedef struct lanes {
  int32_t v[16];
} lanes;
static inline lanes lanes_all(int32_t v) {
  lanes l;
  for (int i = 0; i < 16; i++) l.v[i] = v;
  return l;
}
static inline lanes lanes_bytes(const uint8_t *p) {
  lanes l;
  for (int i = 0; i < 16; i++) l.v[i] = p[i];
  return l;
}
static inline lanes lanes_pixels(const uint8_t *p) {
  lanes l;
  for (int i = 0; i < 16; i++) l.v[i] = i % 4 < 3 ? p[i / 4 * 3 + i % 4] : 0;
  return l;
}
static inline lanes lanes_weights(const int32_t *w) {
  lanes l;
  for (int i = 0; i < 16; i++) l.v[i] = w[i / 4];
  return l;
}
static inline lanes lanes_add_product(lanes sum, lanes a, lanes b) {
  for (int i = 0; i < 16; i++) sum.v[i] += a.v[i] * b.v[i];
  return sum;
}
static inline uint8_t lanes_byte(int32_t v) { return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v); }
static inline void lanes_store(lanes l, int shift, uint8_t *to) {
  for (int i = 0; i < 16; i++) to[i] = lanes_byte(l.v[i] >> shift);
}

#endif

/* One pixel out of the sum of all groups: shifted, cut to bytes, as R G B and one of no meaning. */
static inline void lanes_store_pixel(lanes sum, int shift, uint32_t *to) {
#if defined(__AVX2__)
  __m128i v = _mm_srai_epi32(lanes_fold(sum), shift);
  v = _mm_packus_epi16(_mm_packs_epi32(v, v), v);
  uint32_t pixel = (uint32_t)_mm_cvtsi128_si32(v);
#else
  uint8_t pixel[4] = {0};
  for (int c = 0; c < 3; c++)
    pixel[c] = lanes_byte((sum.v[c] + sum.v[4 + c] + sum.v[8 + c] + sum.v[12 + c]) >> shift);
#endif
  memcpy(to, &pixel, sizeof *to);
}

#endif

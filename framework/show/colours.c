/* colours.c — colours of values and of heads. */
#include <math.h>

#include "show.h"

/* matplotlib's viridis (van der Walt and Smith, CC0) at nine places; straight between them. */
static const double viridis[9][3] = {{68, 1, 84},   {71, 45, 123}, {59, 82, 139},  {44, 114, 142}, {33, 145, 140},
                                     {40, 174, 128}, {94, 201, 98}, {173, 220, 48}, {253, 231, 37}};

uint32_t sm_viridis(double value) {
  const double p = fmin(fmax(value, 0), 1) * 8;
  const int i = p >= 8 ? 7 : (int)p;
  uint32_t rgb = 0;
  for (int c = 0; c < 3; c++)
    rgb = rgb << 8 | (uint32_t)lround(viridis[i][c] + (viridis[i + 1][c] - viridis[i][c]) * (p - i));
  return rgb;
}

static uint32_t colours_of_hue(double hue, double strength, double value) {
  const double at[3] = {5, 3, 1};
  uint32_t rgb = 0;
  for (int c = 0; c < 3; c++) {
    const double k = fmod(at[c] + hue * 6, 6);
    const double v = value - value * strength * fmax(0, fmin(fmin(k, 4 - k), 1));
    rgb = rgb << 8 | (uint32_t)lround(255 * v);
  }
  return rgb;
}

uint32_t sm_head_colour(int h) {
  static const uint32_t fixed[12] = {0x00A0D7, 0xDC373C, 0xF5B450, 0x0A78BE, 0x289664, 0x874B91,
                                     0xFFA500, 0x7CFC00, 0x00FFFF, 0x87CEEB, 0xFF69B4, 0x8B4513};
  if (h < 12) return fixed[h];
  return colours_of_hue(fmod(0.618033988749895 * (h - 11), 1), 0.7, 0.9);
}

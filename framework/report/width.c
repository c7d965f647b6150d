/* width.c — how many columns a terminal gives to a text.
 *
 * The C library's wcwidth depends on the locale, so that the same table would differ between machines. The
 * ranges are the wide ("W", "F") and the zero-width ones that matter of Unicode's EastAsianWidth.txt and
 * DerivedGeneralCategory.txt. */
#include "framework/report/report.h"

typedef struct range {
  uint32_t first, last;
} range;

static const range ZERO[] = {{0x0300, 0x036F}, {0x0483, 0x0489}, {0x0591, 0x05BD}, {0x0610, 0x061A},
                             {0x064B, 0x065F}, {0x0900, 0x0902}, {0x1AB0, 0x1AFF}, {0x1DC0, 0x1DFF},
                             {0x200B, 0x200F}, {0x202A, 0x202E}, {0x2060, 0x2064}, {0x20D0, 0x20F0},
                             {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F}, {0xFEFF, 0xFEFF}};
static const range WIDE[] = {{0x1100, 0x115F},   {0x231A, 0x231B},   {0x2329, 0x232A},   {0x23E9, 0x23EC},
                             {0x25FD, 0x25FE},   {0x2614, 0x2615},   {0x2648, 0x2653},   {0x26AA, 0x26AB},
                             {0x2705, 0x2705},   {0x274C, 0x274C},   {0x2753, 0x2755},   {0x2795, 0x2797},
                             {0x2B1B, 0x2B1C},   {0x2B50, 0x2B50},   {0x2E80, 0x303E},   {0x3041, 0x33FF},
                             {0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xA000, 0xA4CF},   {0xA960, 0xA97F},
                             {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},   {0xFE30, 0xFE6F},   {0xFF00, 0xFF60},
                             {0xFFE0, 0xFFE6},   {0x1F300, 0x1F64F}, {0x1F680, 0x1F6FF}, {0x1F7E0, 0x1F7EB},
                             {0x1F900, 0x1F9FF}, {0x1FA70, 0x1FAFF}, {0x20000, 0x3FFFD}};

static bool width_within(uint32_t c, const range *ranges, size_t n) {
  for (size_t i = 0; i < n && ranges[i].first <= c; i++)
    if (c <= ranges[i].last) return true;
  return false;
}

/* Damaged sequences count one column per byte, which is what terminals show for them. */
static uint32_t width_next(const unsigned char **s) {
  uint32_t c = *(*s)++;
  int more = c < 0xC0 ? 0 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : c < 0xF8 ? 3 : 0;
  if (!more) return c < 0x80 ? c : 0xFFFD;
  c &= 0x3Fu >> more;
  for (int i = 0; i < more; i++)
    if (((*s)[i] & 0xC0) != 0x80) return 0xFFFD;
  while (more--) c = c << 6 | (*(*s)++ & 0x3F);
  return c;
}

size_t sm_text_width(const char *utf8) {
  const unsigned char *s = (const unsigned char *)utf8;
  size_t width = 0;
  while (*s) {
    uint32_t c = width_next(&s);
    if (c < 0x20 || c == 0x7F || width_within(c, ZERO, sizeof ZERO / sizeof *ZERO)) continue;
    width += width_within(c, WIDE, sizeof WIDE / sizeof *WIDE) ? 2 : 1;
  }
  return width;
}

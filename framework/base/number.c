/* number.c — numbers to text and back, the same in every locale.
 *
 * sm_double_text finds the fewest digits that read back to the same double, then writes them as people do:
 * 0.001, 250000, 1e-5, 1.5e22. */
#include <config.h>

#include <smalti/base.h>

#include <errno.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int number_ascending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

void sm_sort_doubles(double *x, size_t n) {
  if (n) qsort(x, n, sizeof *x, number_ascending);
}

void sm_drawn_interval(double *drawn, size_t n, double *low, double *high) {
  sm_sort_doubles(drawn, n);
  *low = drawn[(n - 1) / 40], *high = drawn[n - 1 - (n - 1) / 40];
}

const char *sm_plural(int64_t n, const char *one, const char *many) { return n == 1 ? one : many; }

char *sm_share_text(double part, double whole, char *buf, size_t size) {
  double percent = whole > 0 ? 100 * fmin(part / whole, 1) : NAN;
  if (!isfinite(percent)) snprintf(buf, size, "?");
  else if (percent <= 0 || percent == 100) snprintf(buf, size, "%.0f %%", fmax(percent, 0));
  else if (percent < 0.01) snprintf(buf, size, "under 0.01 %%");
  else if (percent < 9.95) snprintf(buf, size, "%.2g %%", percent);
  else if (percent < 99.5) snprintf(buf, size, "%.0f %%", percent);
  else if (percent < 99.95) snprintf(buf, size, "%.1f %%", percent);
  else snprintf(buf, size, "over 99.9 %%");
  return buf;
}

char *sm_human_bytes(double bytes, char *buf, size_t size) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  size_t unit = 0;
  while (fabs(bytes) >= 1023.5 && unit + 1 < sizeof units / sizeof *units) bytes /= 1024, unit++;
  bool whole = unit == 0 || fabs(bytes) >= 99.95;
  snprintf(buf, size, "%.*f %s", whole ? 0 : 1, bytes, units[unit]);
  return buf;
}

char *sm_human_seconds(double seconds, char *buf, size_t size) {
  if (!isfinite(seconds)) {
    snprintf(buf, size, "?");
  } else if (fabs(seconds) < 0.9995) {
    bool micro = fabs(seconds) < 0.9995e-3;
    snprintf(buf, size, "%.*f %s", 0, seconds * (micro ? 1e6 : 1e3), micro ? "us" : "ms");
  } else if (fabs(seconds) < 59.95) {
    snprintf(buf, size, "%.1f s", seconds);
  } else {
    const char *sign = seconds < 0 ? "-" : "";
    double whole = floor(fabs(seconds) + 0.5), hours = floor(whole / 3600), days = floor(hours / 24);
    int minute = (int)fmod(floor(whole / 60), 60), second = (int)fmod(whole, 60);
    if (hours < 1)
      snprintf(buf, size, "%s%d min %02d s", sign, minute, second);
    else if (days < 2)
      snprintf(buf, size, "%s%.0f h %02d min", sign, hours, minute);
    else
      snprintf(buf, size, "%s%.0f d %02d h", sign, days, (int)fmod(hours, 24));
  }
  return buf;
}

/* The C locale, whatever the program has chosen for its user. newlocale hands out a static object for it. */
static locale_t number_enter_c_locale(void) { return uselocale(newlocale(LC_ALL_MASK, "C", (locale_t)0)); }

/* "d.ddde±x" with `digits` digits; true if that reads back to x. */
static bool number_reads_back(double x, int digits, char text[40]) {
  snprintf(text, 40, "%.*e", digits - 1, x);
  return strtod(text, NULL) == x;
}

static void number_shortest(double x, char text[40]) {
  int digits =
      fabs(x) < DBL_MIN ? 1 : 15; /* 15 digits, zeros dropped, are the shortest for any normal number */
  while (digits < 17 && !number_reads_back(x, digits, text)) digits++;
  if (digits == 17) number_reads_back(x, 17, text);
}

char *sm_double_text(double x, char *buf, size_t size) {
  if (!isfinite(x)) {
    snprintf(buf, size, "%s", isnan(x) ? "nan" : x < 0 ? "-inf" : "inf");
    return buf;
  }
  char text[40], digits[20];
  locale_t user = number_enter_c_locale();
  number_shortest(x, text);
  char *e = strchr(text, 'e');
  int exponent = atoi(e + 1), n = 0;
  for (char *c = text; c < e; c++)
    if (*c >= '0' && *c <= '9') digits[n++] = *c;
  while (n > 1 && digits[n - 1] == '0') n--;
  digits[n] = 0;
  if (exponent >= -4 && exponent <= 15)
    snprintf(buf, size, "%.*f", n - 1 > exponent ? n - 1 - exponent : 0, x);
  else
    snprintf(buf, size, "%s%c%s%se%d", text[0] == '-' ? "-" : "", digits[0], n > 1 ? "." : "", digits + 1,
             exponent);
  uselocale(user);
  return buf;
}

bool sm_parse_int(const char *text, int64_t *value) {
  const char *c = text + (*text == '-' || *text == '+');
  if (!*c || strspn(c, "0123456789") != strlen(c)) return false;
  errno = 0;
  long long v = strtoll(text, NULL, 10);
  if (errno) return false;
  *value = v;
  return true;
}

/* Digits, point, exponent: no hexadecimal, no words, no space. */
bool sm_parse_double(const char *text, double *value) {
  if (!*text || strspn(text, "0123456789+-.eE") != strlen(text)) return false;
  char *end;
  locale_t user = number_enter_c_locale();
  double v = strtod(text, &end);
  uselocale(user);
  if (*end || end == text || !isfinite(v)) return false;
  *value = v;
  return true;
}

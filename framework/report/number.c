/* number.c — numbers as people read them, and round marks for an axis. */
#include <math.h>
#include <string.h>

#include "framework/report/report.h"

#include "html.h"

/* "1234567" to "1 234 567" with narrow no-break spaces; buf holds `size` bytes. */
static char *number_grouped(double v, char *buf, size_t size) {
  char digits[32];
  int n = snprintf(digits, sizeof digits, "%.0f", fabs(v));
  size_t at = (size_t)snprintf(buf, size, "%s", v < 0 ? "−" : "");
  for (int i = 0; i < n && at < size; i++)
    at += (size_t)snprintf(buf + at, size - at, "%s%c", n > 4 && i && (n - i) % 3 == 0 ? "\u202F" : "",
                           digits[i]);
  return buf;
}

static char *number_scientific(double v, char *buf, size_t size) {
  static const char *const RAISED[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  char text[32];
  snprintf(text, sizeof text, "%.2e", fabs(v));
  char *e = strchr(text, 'e');
  int power = 0;
  sscanf(e + 1, "%d", &power);
  while (e > text && e[-1] == '0') e--;
  if (e > text && e[-1] == '.') e--;
  *e = 0;
  size_t at = (size_t)snprintf(buf, size, "%s", v < 0 ? "−" : "");
  if (strcmp(text, "1") != 0) at += (size_t)snprintf(buf + at, size - at, "%s×", text);
  at += (size_t)snprintf(buf + at, size - at, "10%s", power < 0 ? "⁻" : "");
  snprintf(text, sizeof text, "%d", power < 0 ? -power : power);
  for (char *d = text; *d && at < size; d++)
    at += (size_t)snprintf(buf + at, size - at, "%s", RAISED[*d - '0']);
  return buf;
}

char *sm_number_text(double v, char *buf, size_t size) {
  double magnitude = fabs(v);
  if (!isfinite(v)) snprintf(buf, size, "–");
  else if (v == 0) snprintf(buf, size, "0");
  else if (magnitude >= 1e9 || magnitude < 0.99995e-3) number_scientific(v, buf, size);
  else if (magnitude >= 999.95) number_grouped(v, buf, size);
  else snprintf(buf, size, "%s%.4g", v < 0 ? "−" : "", magnitude);
  return buf;
}

int sm_chart_ticks(double low, double high, int wanted, double *first, double *step) {
  if (wanted < 1) wanted = 1;
  double rough = (high - low) / wanted, power = pow(10, floor(log10(rough)));
  double mantissa = rough / power;
  *step = power * (mantissa < 1.5 ? 1 : mantissa < 3.5 ? 2 : mantissa < 7.5 ? 5 : 10);
  *first = ceil(low / *step - 1e-9) * *step;
  double n = floor((high - *first) / *step + 1e-6) + 1;
  return n > 0 ? (int)fmin(n, 2 * wanted + 1) : 0; /* NaN: none */
}

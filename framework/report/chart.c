/* chart.c — line charts as SVG: one <svg> without scripts, fonts of the reader, colours by CSS classes.
 *
 * Order of work: bring each series down to what the picture can show (bins.c), find the ranges, lay out
 * legend and plot area, then draw grid, bands, lines, levels and marks from back to front. */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "framework/report/report.h"

#include "chart.h"
#include "html.h"

enum { WIDTH = 560, HEIGHT = 320, ROW = 18, TITLE = 30, COLOURS = 8, MARKS_UP_TO = 40, RINGS = 7 };
static const double LETTER =
    6.6; /* width of an average letter at 12 px: the true one is the reader's font's */

typedef struct plot {
  const sm_chart *chart;
  sm_text *out;
  sm_bins *bins;         /* one per series */
  double x0, x1, y0, y1; /* ranges; y as logarithm when `log` */
  double left, right, top, bottom, width, height;
  bool log, banded, empty;
} plot;

/* ---- ranges ---- */

/* Differences of this share of the values are the rounding of sums: such values count as equal, so that an
 * axis always has room for marks that differ. */
static const double EQUAL = 1e-9;
/* Larger values are drawn at the edge: differences of two doubles may be no double. */
static const double LARGEST = 1e300;

static double chart_clip(double v) { return v > LARGEST ? LARGEST : v < -LARGEST ? -LARGEST : v; }

static double chart_magnitude(double low, double high) { return fmax(fabs(low), fabs(high)); }

static bool chart_flat(double low, double high) {
  return high - low <= fmax(EQUAL * chart_magnitude(low, high), DBL_MIN / EQUAL);
}

static void chart_widen(double *low, double *high, double v) {
  if (!isfinite(v)) return;
  v = chart_clip(v);
  if (v < *low) *low = v;
  if (v > *high) *high = v;
}

static void chart_find_x_range(plot *p) {
  p->x0 = DBL_MAX, p->x1 = -DBL_MAX;
  for (size_t s = 0; s < p->chart->nseries; s++)
    for (size_t i = 0; i < p->chart->series[s].n; i++)
      if (isfinite(p->chart->series[s].y[i])) chart_widen(&p->x0, &p->x1, p->chart->series[s].x[i]);
  p->empty = p->x0 > p->x1;
  if (p->empty) p->x0 = 0, p->x1 = 1;
  if (!chart_flat(p->x0, p->x1)) return;
  double margin = fmax(0.5, EQUAL * chart_magnitude(p->x0, p->x1));
  p->x0 -= margin, p->x1 += margin;
}

static void chart_find_y_range(plot *p) {
  double low = DBL_MAX, high = -DBL_MAX;
  for (size_t s = 0; s < p->chart->nseries; s++)
    for (size_t i = 0; i < p->bins[s].n; i++) {
      chart_widen(&low, &high, p->bins[s].low[i]);
      chart_widen(&low, &high, p->bins[s].high[i]);
    }
  for (size_t i = 0; i < p->chart->nlevels && !p->empty; i++) chart_widen(&low, &high, p->chart->levels[i].y);
  if (low > high) low = 0, high = 1;
  p->log = p->chart->log_y && low > 0;
  if (p->log) low = log10(low), high = log10(high);
  if (!p->log && low > 0 && low < 0.4 * high) low = 0;
  double missing = p->log ? 0 : p->chart->least_span - (high - low);
  if (missing > 0) {
    double from = low >= 0 ? fmax(low - missing / 2, 0) : low - missing / 2;
    high += missing - (low - from), low = from;
  }
  bool flat = p->log ? high - low <= EQUAL : chart_flat(low, high);
  double margin = !flat ? 0.04 * (high - low) : fabs(low) > DBL_MIN / EQUAL ? 0.1 * fabs(low) : 1;
  if (p->log && flat) margin = 0.5;
  p->y0 = low == 0 && !p->log ? 0 : low - margin;
  p->y1 = high + margin;
}

static double chart_px(const plot *p, double x) {
  x = chart_clip(x);
  return p->left + (x - p->x0) / (p->x1 - p->x0) * (p->right - p->left);
}
static double chart_py(const plot *p, double y) {
  y = p->log ? log10(y) : chart_clip(y);
  return p->bottom - (y - p->y0) / (p->y1 - p->y0) * (p->bottom - p->top);
}

static size_t chart_colour(const plot *p, size_t s) {
  int own = p->chart->series[s].colour;
  return own > 0 ? (size_t)(own - 1) % COLOURS : s % COLOURS;
}

/* ---- legend ---- */

static double chart_last_value(const sm_chart_series *s) {
  for (size_t i = s->n; i-- > 0;)
    if (isfinite(s->y[i])) return s->y[i];
  return NAN;
}

/* Names and last values, row by row; gives the rows' height. With `draw` false it only measures. */
static double chart_legend(plot *p, double top, bool draw) {
  const sm_chart *c = p->chart;
  double x = 2, y = top + 14, room = p->width - 2;
  if (c->y_label) room -= LETTER * (double)sm_text_width(c->y_label) + 12;
  if (draw && c->y_label) {
    sm_text_add(p->out, "<text class=\"sm-muted\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", p->width - 2,
                y);
    sm_html_text(p->out, c->y_label);
    sm_text_add(p->out, "</text>\n");
  }
  for (size_t s = 0; s < c->nseries; s++) {
    char value[48];
    sm_number_text(chart_last_value(&c->series[s]), value, sizeof value);
    double wide = 22 + LETTER * (double)(sm_text_width(c->series[s].name) + 1 + sm_text_width(value)) + 14;
    if (x > 2 && x + wide > room) {
      x = 2, y += ROW;
      room = p->width - 2;
    }
    if (draw) {
      sm_text_add(p->out,
                  "<path class=\"sm-line sm-%zu%s\" d=\"M%.1f %.1fh14\"/><text x=\"%.1f\" y=\"%.1f\">",
                  chart_colour(p, s), c->series[s].dashed ? " sm-dash" : "", x, y - 4, x + 20, y);
      sm_html_text(p->out, c->series[s].name);
      sm_text_add(p->out, " <tspan class=\"sm-muted\">%s</tspan></text>\n", value);
    }
    x += wide;
  }
  return y - top + 8;
}

/* ---- axes ---- */

typedef struct ticks {      /* the marks of one axis: first + i * step */
  double first, step, most; /* most: the largest magnitude on the axis */
  int n;
} ticks;

static ticks chart_ticks(double low, double high, int wanted) {
  ticks t = {.most = chart_magnitude(low, high)};
  t.n = sm_chart_ticks(low, high, wanted, &t.first, &t.step);
  return t;
}

static double chart_tick(const ticks *t, int i) {
  double v = t->first + i * t->step;
  return fabs(v) < t->step * 1e-6 ? 0 : v;
}

/* As many digits as tell neighbours apart. */
static void chart_tick_text(const ticks *t, double v, char *buf, size_t size) {
  int decimals = (int)fmax(0, ceil(-log10(t->step) - 1e-9));
  int digits = (int)(floor(log10(t->most)) - floor(log10(t->step) + 1e-9)) + 1;
  bool thousands = t->most >= 1e4 && t->most < 1e8 && fmod(t->step, 100) == 0;
  if (v == 0 && thousands) snprintf(buf, size, "0");
  else if (thousands) snprintf(buf, size, "%gk", v / 1000);
  else if (t->most < 1e6 && decimals <= 3) snprintf(buf, size, "%.*f", decimals, v);
  else if (digits <= 3 || (!decimals && t->most < 1e9)) sm_number_text(v, buf, size);
  else if (decimals <= 15 && t->most < 1e12) snprintf(buf, size, "%.*f", decimals, v);
  else snprintf(buf, size, "%.*e", digits - 1, v);
}

static void chart_y_mark(plot *p, double y, const char *text) {
  double at = chart_py(p, y);
  sm_text_add(p->out,
              "<path class=\"sm-grid\" d=\"M%.1f %.1fH%.1f\"/><text class=\"sm-tick\" x=\"%.1f\" y=\"%.1f\" "
              "text-anchor=\"end\">%s</text>\n",
              p->left, at, p->right, p->left - 8, at + 4, text);
}

static void chart_log_axis(plot *p) {
  static const int MANTISSAS[] = {1, 2, 5};
  double decades = p->y1 - p->y0;
  int each = decades > 8 ? (int)ceil(decades / 8) : 1, kinds = decades > 2.5 ? 1 : 3;
  for (int power = (int)floor(p->y0); power <= (int)ceil(p->y1); power++)
    for (int m = 0; m < kinds; m++) {
      double v = MANTISSAS[m] * pow(10, power), at = log10(v);
      char text[48];
      if (at < p->y0 || at > p->y1 || power % each) continue;
      chart_y_mark(p, v, sm_number_text(v, text, sizeof text));
    }
}

static ticks chart_y_ticks(const plot *p) {
  return chart_ticks(p->y0, p->y1, (int)((p->bottom - p->top) / 38));
}

/* Room at the left for the longest mark. */
static void chart_fit_left(plot *p) {
  ticks t = chart_y_ticks(p);
  char text[48];
  for (int i = 0; i < t.n && !p->log; i++) {
    chart_tick_text(&t, chart_tick(&t, i), text, sizeof text);
    p->left = fmax(p->left, 14 + LETTER * (double)sm_text_width(text));
  }
}

static void chart_y_axis(plot *p) {
  ticks t = chart_y_ticks(p);
  char text[48];
  if (p->log) {
    chart_log_axis(p);
    return;
  }
  for (int i = 0; i < t.n; i++) {
    chart_tick_text(&t, chart_tick(&t, i), text, sizeof text);
    chart_y_mark(p, chart_tick(&t, i), text);
  }
}

static void chart_x_axis(plot *p) {
  ticks t = chart_ticks(p->x0, p->x1, (int)((p->right - p->left) / 70));
  char text[48];
  sm_text_add(p->out, "<path class=\"sm-axis\" d=\"M%.1f %.1fH%.1f\"/>\n", p->left, p->bottom, p->right);
  for (int i = 0; i < t.n; i++) {
    double at = chart_px(p, chart_tick(&t, i));
    chart_tick_text(&t, chart_tick(&t, i), text, sizeof text);
    sm_text_add(p->out,
                "<path class=\"sm-axis\" d=\"M%.1f %.1fv4\"/><text class=\"sm-tick\" x=\"%.1f\" y=\"%.1f\" "
                "text-anchor=\"middle\">%s</text>\n",
                at, p->bottom, at, p->bottom + 18, text);
  }
  if (p->chart->x_label) {
    sm_text_add(p->out, "<text class=\"sm-muted\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">", p->right,
                p->bottom + 36);
    sm_html_text(p->out, p->chart->x_label);
    sm_text_add(p->out, "</text>\n");
  }
  if (p->banded)
    sm_text_add(
        p->out,
        "<text class=\"sm-muted\" x=\"%.1f\" y=\"%.1f\">line: mean, band: smallest to largest</text>\n",
        p->left, p->bottom + 36);
}

/* ---- series ---- */

/* From `from`, the end of the run of points without a gap. */
static size_t chart_run_end(const sm_bins *b, size_t from) {
  while (from < b->n && isfinite(b->mean[from])) from++;
  return from;
}

static void chart_band(plot *p, size_t s) {
  const sm_bins *b = &p->bins[s];
  for (size_t i = 0; i < b->n; i++) {
    size_t end = chart_run_end(b, i);
    if (end > i + 1) {
      sm_text_add(p->out, "<path class=\"sm-band sm-%zu%s\" d=\"", chart_colour(p, s),
                  p->chart->nseries > 2 ? " sm-faint" : "");
      for (size_t k = i; k < end; k++)
        sm_text_add(p->out, "%s%.1f %.1f", k == i ? "M" : "L", chart_px(p, b->x[k]), chart_py(p, b->high[k]));
      for (size_t k = end; k-- > i;)
        sm_text_add(p->out, "L%.1f %.1f", chart_px(p, b->x[k]), chart_py(p, b->low[k]));
      sm_text_add(p->out, "Z\"/>\n");
    }
    i = end;
  }
}

/* Marks of series before this one, which are drawn later, at the same place: each makes this mark's ring
 * wider, so that none hides another. */
static int chart_marks_above(const plot *p, size_t s, double x, double y) {
  int n = 0;
  for (size_t k = 0; k < s && n < RINGS; k++) {
    const sm_bins *b = &p->bins[k];
    bool there = false;
    for (size_t i = 0; i < b->n && p->chart->series[k].n <= MARKS_UP_TO && !there; i++)
      there = isfinite(b->mean[i]) && hypot(chart_px(p, b->x[i]) - x, chart_py(p, b->mean[i]) - y) < 3;
    n += there;
  }
  return n;
}

static void chart_line(plot *p, size_t s) {
  const sm_bins *b = &p->bins[s];
  const sm_chart_series *series = &p->chart->series[s];
  bool pen = false;
  sm_text_add(p->out, "<path class=\"sm-line sm-%zu%s\" d=\"", chart_colour(p, s),
              series->dashed ? " sm-dash" : "");
  for (size_t i = 0; i < b->n; i++) {
    if (isfinite(b->mean[i]))
      sm_text_add(p->out, "%s%.1f %.1f", pen ? "L" : "M", chart_px(p, b->x[i]), chart_py(p, b->mean[i]));
    pen = isfinite(b->mean[i]);
  }
  sm_text_add(p->out, "\"/>\n");
  for (size_t i = 0; i < b->n && series->n <= MARKS_UP_TO; i++) {
    char x[48], y[48];
    if (!isfinite(b->mean[i])) continue;
    double at_x = chart_px(p, b->x[i]), at_y = chart_py(p, b->mean[i]);
    sm_text_add(p->out, "<circle class=\"sm-mark sm-%zu\" cx=\"%.1f\" cy=\"%.1f\" r=\"%d\"><title>",
                chart_colour(p, s), at_x, at_y, 3 + 3 * chart_marks_above(p, s, at_x, at_y));
    sm_html_text(p->out, series->name);
    sm_text_add(p->out, ", %s %s: %s</title></circle>\n", p->chart->x_label ? p->chart->x_label : "at",
                sm_number_text(b->x[i], x, sizeof x), sm_number_text(b->mean[i], y, sizeof y));
  }
}

static void chart_level(plot *p, const sm_chart_level *l) {
  if (!isfinite(l->y) || (p->log && l->y <= 0)) return;
  double y = chart_py(p, l->y);
  sm_text_add(p->out,
              "<path class=\"sm-level\" d=\"M%.1f %.1fH%.1f\"/><text class=\"sm-muted sm-halo\" x=\"%.1f\" ",
              p->left, y, p->right, p->right - 2);
  sm_text_add(p->out, "y=\"%.1f\" text-anchor=\"end\">", y - p->top < 16 ? y + 14 : y - 5);
  sm_html_text(p->out, l->name);
  sm_text_add(p->out, "</text>\n");
}

/* ---- the whole ---- */

static void chart_describe(plot *p) {
  const sm_chart *c = p->chart;
  char first[48], last[48];
  if (c->description) {
    sm_html_text(p->out, c->description);
    return;
  }
  for (size_t s = 0; s < c->nseries; s++) {
    const sm_bins *b = &p->bins[s];
    double from = NAN;
    for (size_t i = b->n; i-- > 0;)
      if (isfinite(b->mean[i])) from = b->mean[i];
    if (s) sm_text_add(p->out, "; ");
    sm_html_text(p->out, c->series[s].name);
    sm_text_add(p->out, " from %s to %s", sm_number_text(from, first, sizeof first),
                sm_number_text(chart_last_value(&c->series[s]), last, sizeof last));
  }
}

static void chart_head(plot *p) {
  const sm_chart *c = p->chart;
  uint32_t id = (uint32_t)sm_hash64(c->title, strlen(c->title), c->nseries);
  sm_text_add(
      p->out,
      "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"sm-chart\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" "
      "aria-labelledby=\"t%08" PRIx32 " d%08" PRIx32 "\"",
      p->width, p->height, id, id);
  if (!c->embedded) sm_text_add(p->out, " width=\"%.0f\" height=\"%.0f\"", p->width, p->height);
  sm_text_add(p->out, ">\n<title id=\"t%08" PRIx32 "\">", id);
  sm_html_text(p->out, c->title);
  sm_text_add(p->out, "</title>\n<desc id=\"d%08" PRIx32 "\">", id);
  chart_describe(p);
  sm_text_add(p->out, "</desc>\n");
  if (c->embedded) return;
  sm_text_add(p->out, "<style>%s</style>\n<rect class=\"sm-paper\" width=\"100%%\" height=\"100%%\"/>\n",
              sm_chart_style);
  sm_text_add(p->out, "<text class=\"sm-title\" x=\"2\" y=\"18\">");
  sm_html_text(p->out, c->title);
  sm_text_add(p->out, "</text>\n");
}

static void chart_draw(plot *p) {
  const sm_chart *c = p->chart;
  double title = c->embedded ? 0 : TITLE;
  p->left = 52, p->right = p->width - 16;
  p->top = title + chart_legend(p, title, false) + 6;
  p->bottom = p->height - (c->x_label || p->banded ? 42 : 24);
  if (p->bottom < p->top + 60)
    p->height += p->top + 60 - p->bottom, p->bottom = p->top + 60; /* a very long legend */
  if (!p->empty) chart_find_y_range(p), chart_fit_left(p);
  chart_head(p);
  chart_legend(p, title, true);
  if (p->empty) {
    sm_text_add(
        p->out,
        "<text class=\"sm-muted\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">no data</text>\n</svg>\n",
        p->width / 2, (p->top + p->bottom) / 2);
    return;
  }
  chart_y_axis(p);
  for (size_t s = 0; s < c->nseries; s++)
    if (p->bins[s].binned) chart_band(p, s);
  chart_x_axis(p);
  for (size_t i = 0; i < c->nlevels; i++) chart_level(p, &c->levels[i]);
  for (size_t s = c->nseries; s-- > 0;) chart_line(p, s); /* the first one on top */
  sm_text_add(p->out, "</svg>\n");
}

sm_status sm_chart_svg(const sm_chart *chart, sm_text *out) {
  plot p = {.chart = chart, .out = out};
  sm_status status = SM_OK;
  p.width = chart->width > 0 ? chart->width : WIDTH;
  p.height = chart->height > 0 ? chart->height : HEIGHT;
  p.bins = sm_calloc(chart->nseries + 1, sizeof *p.bins);
  if (!p.bins) return SM_ENOMEM;
  chart_find_x_range(&p);
  for (size_t s = 0; s < chart->nseries && !status; s++) {
    status = sm_bins_make(&p.bins[s], &chart->series[s], p.x0, p.x1, (size_t)(p.width / 2.5));
    p.banded |= p.bins[s].binned;
  }
  if (!status) chart_draw(&p);
  for (size_t s = 0; s < chart->nseries; s++) sm_bins_free(&p.bins[s]);
  sm_free(p.bins);
  return status ? status : out->failed ? SM_ENOMEM : SM_OK;
}

/* page.c — the pieces that pages are made of. */
#include "page.h"

#include <math.h>
#include <string.h>

#include "html.h"

enum {
  WIDTH = 460,
  HEIGHT = 280
}; /* small, so that letters stay readable where a phone scales the chart down */

const sm_curves *sm_run_curves(const sm_run *run, const char *file) {
  return !strcmp(file, "timing") ? &run->timing : !strcmp(file, "evals") ? &run->evals : &run->metrics;
}

sm_status sm_page_chart(sm_text *out, const char *title, const char *unit, bool log_y, double factor,
                        const sm_line *lines, size_t n, const sm_chart_level *levels, size_t nlevels) {
  sm_chart_series *series = sm_calloc(n + 1, sizeof *series);
  size_t points = 0, at = 0;
  bool any = false;
  for (size_t i = 0; i < n; i++) {
    points += lines[i].curve->n;
    any |= isfinite(sm_curve_last(lines[i].curve));
  }
  double *scaled = sm_malloc((points + 1) * sizeof *scaled);
  sm_status status = series && scaled ? SM_OK : SM_ENOMEM;
  for (size_t i = 0; i < n && !status; i++) {
    const sm_curve *c = lines[i].curve;
    series[i] = (sm_chart_series){.name = lines[i].name,
                                  .x = c->x,
                                  .y = scaled + at,
                                  .n = c->n,
                                  .dashed = lines[i].dashed,
                                  .colour = lines[i].colour};
    for (size_t k = 0; k < c->n; k++) scaled[at++] = c->y[k] * factor;
  }
  if (!status && any) {
    sm_chart chart = {.title = title,
                      .x_label = "step",
                      .y_label = unit,
                      .log_y = log_y,
                      .embedded = true,
                      .width = WIDTH,
                      .height = HEIGHT,
                      .series = series,
                      .nseries = n,
                      .levels = levels,
                      .nlevels = nlevels};
    sm_text_add(out, "<figure>\n<h3>");
    sm_html_text(out, title);
    sm_text_add(out, "</h3>\n");
    status = sm_chart_svg(&chart, out);
    sm_text_add(out, "</figure>\n");
  }
  sm_free(series);
  sm_free(scaled);
  return status;
}

void sm_page_tile(sm_text *out, const char *name, const char *value, const char *note) {
  sm_text_add(out, "<div class=\"tile\"><dt>");
  sm_html_text(out, name);
  sm_text_add(out, "</dt><dd>");
  sm_html_text(out, value);
  sm_text_add(out, "</dd>");
  if (*note) {
    sm_text_add(out, "<dd class=\"note\">");
    sm_html_text(out, note);
    sm_text_add(out, "</dd>");
  }
  sm_text_add(out, "</div>\n");
}

void sm_page_heading(sm_text *out, const char *title) {
  sm_text_add(out, "<h2>");
  sm_html_text(out, title);
  sm_text_add(out, "</h2>\n");
}

sm_status sm_page_tabular(sm_text *out, sm_tabular *table) {
  sm_text_add(out, "<div class=\"scroll\">\n");
  sm_status status = sm_tabular_render(table, SM_TABULAR_HTML, out);
  sm_text_add(out, "</div>\n");
  sm_tabular_free(table);
  return status;
}

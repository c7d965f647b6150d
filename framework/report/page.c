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

/* The lines' curves, times `factor`, as series whose values lie in `scaled`. */
static void page_series(const sm_line *lines, size_t n, double factor, sm_chart_series *series,
                        double *scaled) {
  for (size_t i = 0; i < n; i++) {
    const sm_curve *c = lines[i].curve;
    series[i] = (sm_chart_series){.name = lines[i].name,
                                  .x = c->x,
                                  .y = scaled,
                                  .n = c->n,
                                  .dashed = lines[i].dashed,
                                  .colour = lines[i].colour};
    for (size_t k = 0; k < c->n; k++) *scaled++ = c->y[k] * factor;
  }
}

sm_status sm_page_chart(sm_text *out, const char *title, const sm_curve_group *g, const sm_line *lines,
                        size_t n, const sm_chart_level *level) {
  static const sm_curve_group plain = {.scale = 1};
  size_t points = 0;
  bool any = false;
  for (size_t i = 0; i < n; i++) {
    points += lines[i].curve->n;
    any |= isfinite(sm_curve_last(lines[i].curve));
  }
  if (!any) return SM_OK;
  if (!g) g = &plain;
  sm_chart_series *series = sm_calloc(n, sizeof *series);
  double *scaled = sm_malloc(points * sizeof *scaled);
  sm_status status = series && scaled ? SM_OK : SM_ENOMEM;
  if (!status) {
    sm_chart chart = {.title = title,
                      .x_label = "step",
                      .y_label = g->unit,
                      .log_y = g->log_y,
                      .least_span = g->least_span,
                      .embedded = true,
                      .width = WIDTH,
                      .height = HEIGHT,
                      .series = series,
                      .nseries = n,
                      .levels = level,
                      .nlevels = level != NULL};
    page_series(lines, n, 1 / g->scale, series, scaled);
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

/* ---- curves of several runs over each other ---- */

static bool page_seen_before(const sm_overlay *o, size_t run, const sm_curve_group *g,
                             const sm_curve *curve) {
  for (size_t i = 0; i < run; i++)
    if (sm_curves_find(sm_run_curves(&o->runs[i], g->file), curve->name)) return true;
  return false;
}

/* "student_entropy.cls" under "Entropy": "student, cls". */
static const char *page_plain_name(const char *curve, char *buf, size_t size) {
  const char *cut = strstr(curve, "_entropy.");
  if (!cut) return curve;
  snprintf(buf, size, "%.*s, %s", (int)(cut - curve), curve, cut + strlen("_entropy."));
  return buf;
}

/* Where a run lacks the curve, its colour is nobody else's. */
static sm_status page_overlay(sm_text *out, const sm_overlay *o, const sm_curve_group *g,
                              const sm_curve *curve) {
  static const sm_curve none = {.n = 0};
  sm_line lines[SM_MAX_LINES];
  size_t n = 0;
  char title[200], name[120];
  for (size_t i = 0; i < o->n && i < SM_MAX_LINES; i++) {
    const sm_curve *found = sm_curves_find(sm_run_curves(&o->runs[i], g->file), curve->name);
    if (!found && o->leave_out) continue;
    lines[n++] = (sm_line){
        .name = o->names[i], .curve = found ? found : &none, .dashed = i >= 8, .colour = (int)(i % 8) + 1};
  }
  bool whole = !strcmp(curve->name, g->keys[0]);
  snprintf(title, sizeof title, whole ? "%s" : "%s: %.100s", g->title,
           page_plain_name(sm_curve_group_short(g, curve), name, sizeof name));
  return sm_page_chart(out, title, g, lines, n, NULL);
}

sm_status sm_page_overlays(sm_text *out, const sm_overlay *o) {
  sm_status status = SM_OK;
  sm_text_add(out, "<div class=\"charts\">\n");
  for (size_t k = 0; k < sm_ncurve_groups; k++) {
    const sm_curve_group *g = &sm_curve_groups[k];
    for (size_t i = 0; i < o->n && (!o->shown || o->shown(g)); i++) {
      const sm_curves *all = sm_run_curves(&o->runs[i], g->file);
      for (size_t c = 0; c < all->count && !status; c++)
        if (sm_curve_group_takes(g, &all->items[c]) && !page_seen_before(o, i, g, &all->items[c]))
          status = page_overlay(out, o, g, &all->items[c]);
    }
  }
  sm_text_add(out, "</div>\n");
  return status;
}

/* ---- other pieces ---- */

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

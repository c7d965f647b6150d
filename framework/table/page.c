/* page.c — the table's report.html: the table, curves of all rows over each other, what each network looks
 * at, how the order compares with the published one. One file that needs nothing beside it. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "gallery.h"
#include "results.h"

#include "framework/report/html.h"
#include "framework/report/page.h"

enum { PICTURE_LIMIT = 1 << 24, SHOWN = 560 /* pixels that a strip is magnified to, by whole numbers */ };

typedef struct page {
  const sm_table_results *r;
  sm_text html;
  sm_run *run; /* of the first seed of each row; name NULL where there is none */
  int runs;
} page;

/* ---- pieces -------------------------------------------------------------------------------------------- */

/* A table whose rows begin with labels, which stay whole. */
static sm_status page_row_table(page *p, sm_tabular *t) {
  sm_text_add(&p->html, "<div class=\"rows\">\n");
  sm_status status = sm_page_tabular(&p->html, t);
  sm_text_add(&p->html, "</div>\n");
  return status;
}

static void page_paragraph(page *p, const char *class, const char *text) {
  sm_text_add(&p->html, "<p class=\"%s\">", class);
  sm_html_text(&p->html, text);
  sm_text_add(&p->html, "</p>\n");
}

static const sm_table_job *page_shown_job(const page *p, int row) {
  const sm_table_jobs *jobs = p->r->jobs;
  for (int i = 0; i < jobs->n; i++)
    if (jobs->job[i].run == p->r->row[row].run) return &jobs->job[i];
  return NULL;
}

static void page_tiles(page *p) {
  const sm_table_results *r = p->r;
  char text[64], note[64];
  int done = 0, all = 0;
  double hours = 0, peak = 0;
  for (int i = 0; i < r->rows + r->dependencies; i++) {
    const sm_table_result *x = i < r->rows ? &r->row[i] : &r->dependency[i - r->rows];
    done += x->done, all += x->jobs;
    if (isfinite(x->hours)) hours += x->hours * x->jobs;
    if (isfinite(x->peak_bytes)) peak = fmax(peak, x->peak_bytes);
  }
  sm_text_add(&p->html, "<dl class=\"tiles\">\n");
  snprintf(text, sizeof text, "%d of %d", done, all);
  snprintf(note, sizeof note, "%d %s", r->rows, sm_plural(r->rows, "row", "rows"));
  sm_page_tile(&p->html, "Runs done", text, note);
  sm_page_tile(&p->html, "Training", sm_human_seconds(hours * 3600, text, sizeof text),
               "all runs one after the other");
  if (peak > 0)
    sm_page_tile(&p->html, "Most memory", sm_human_bytes(peak, text, sizeof text), "of a process");
  for (int f = 0; f < r->jobs->recipe->figures; f++) {
    sm_table_comparison *c = sm_malloc(sizeof *c);
    if (!c) p->html.failed = true;
    if (!c) break;
    sm_table_compare(r, f, c);
    if (isfinite(c->rank)) {
      char name[96];
      snprintf(name, sizeof name, "Rank correlation, %s", r->jobs->recipe->figure[f].title);
      snprintf(text, sizeof text, "%s%.2f", c->rank < 0 ? "−" : "", fabs(c->rank));
      snprintf(note, sizeof note, "%d of %d %s as published", c->agree, c->pairs,
               sm_plural(c->pairs, "pair", "pairs"));
      sm_page_tile(&p->html, name, text, note);
    }
    sm_free(c);
  }
  sm_text_add(&p->html, "</dl>\n");
}

/* ---- the order ----------------------------------------------------------------------------------------- */

static sm_status page_gaps(page *p, int f) {
  const sm_table_results *r = p->r;
  sm_table_comparison *c = sm_malloc(sizeof *c);
  if (!c) return SM_ENOMEM;
  sm_table_compare(r, f, c);
  sm_status status = SM_OK;
  if (c->gaps) {
    sm_tabular *t = sm_tabular_new(r->jobs->recipe->figure[f].title);
    sm_tabular_column(t, "row", SM_ALIGN_LEFT);
    sm_tabular_column(t, "over", SM_ALIGN_LEFT);
    sm_tabular_column(t, "published", SM_ALIGN_RIGHT);
    sm_tabular_column(t, "here", SM_ALIGN_RIGHT);
    sm_tabular_column(t, "agrees", SM_ALIGN_LEFT);
    for (int i = 0; i < c->gaps; i++) {
      const sm_table_gap *g = &c->gap[i];
      sm_tabular_cell(t, "%s", r->row[g->better].run->label);
      sm_tabular_cell(t, "%s", r->row[g->worse].run->label);
      sm_tabular_cell(t, "%+.1f", g->published);
      sm_tabular_cell(t, "%+.1f", g->here);
      if (!g->agrees) sm_tabular_bold(t);
      sm_tabular_cell(t, "%s", g->agrees ? "yes" : g->here < 0 ? "no" : "level");
    }
    status = page_row_table(p, t);
  }
  sm_free(c);
  return status;
}

static bool page_comparable(const page *p) {
  bool any = false;
  for (int f = 0; f < p->r->jobs->recipe->figures; f++) {
    int both = 0;
    for (int i = 0; i < p->r->rows; i++)
      both += isfinite(p->r->row[i].run->published[f]) && isfinite(p->r->row[i].value[f].mean);
    any = any || both > 1;
  }
  return any;
}

static sm_status page_order(page *p) {
  sm_status status = SM_OK;
  if (!page_comparable(p)) return SM_OK;
  sm_page_heading(&p->html, "Against the published order");
  page_paragraph(p, "subtitle",
            "Rows that follow each other in the published order, and the gap between them here.");
  sm_text_add(&p->html, "<div class=\"side\">\n");
  for (int f = 0; f < p->r->jobs->recipe->figures && !status; f++) status = page_gaps(p, f);
  sm_text_add(&p->html, "</div>\n");
  return status;
}

/* ---- the noise ------------------------------------------------------------------------------------------ */

static void page_add_gap(const sm_table_results *r, sm_tabular *t, int f, const sm_table_gap_noise *g) {
  char noise[80];
  sm_tabular_cell(t, "%s", r->jobs->recipe->figure[f].title);
  sm_tabular_cell(t, "%s", r->row[g->better].run->label);
  sm_tabular_cell(t, "%s", r->row[g->worse].run->label);
  if (isfinite(g->gap)) sm_tabular_cell(t, "%+.2f", g->gap);
  else sm_tabular_cell(t, "–");
  if (g->noise == SM_NOISE_UNKNOWN) sm_tabular_cell(t, "–");
  else sm_tabular_cell(t, "%+.2f … %+.2f", g->low, g->high);
  sm_tabular_cell(t, "%s", sm_table_noise_text(g, noise, sizeof noise));
  sm_tabular_cell(t, "%s", g->told ? "yes" : "not told apart");
  if (g->told) sm_tabular_bold(t);
}

static sm_status page_noise(page *p) {
  sm_table_gap_noise gap[SM_TABLE_GAPS];
  sm_tabular *t = sm_tabular_new(NULL);
  sm_tabular_column(t, "figure", SM_ALIGN_LEFT);
  sm_tabular_column(t, "row", SM_ALIGN_LEFT);
  sm_tabular_column(t, "over", SM_ALIGN_LEFT);
  sm_tabular_column(t, "gap", SM_ALIGN_RIGHT);
  sm_tabular_column(t, "95 % interval", SM_ALIGN_RIGHT);
  sm_tabular_column(t, "noise of", SM_ALIGN_LEFT);
  sm_tabular_column(t, "larger", SM_ALIGN_LEFT);
  for (int f = 0; f < p->r->jobs->recipe->figures; f++) {
    const int n = sm_table_neighbours(p->r, f, gap);
    for (int i = 0; i < n; i++) page_add_gap(p->r, t, f, &gap[i]);
    sm_tabular_rule(t);
  }
  if (t && !sm_tabular_rows(t)) {
    sm_tabular_free(t);
    return SM_OK;
  }
  sm_page_heading(&p->html, "Which gaps are larger than the noise");
  page_paragraph(p, "subtitle", SM_TABLE_NOISE_ABOUT);
  return page_row_table(p, t);
}

/* ---- without labels ------------------------------------------------------------------------------------ */

static void page_add_correlation(const sm_table_results *r, sm_tabular *t, int f, int reference, bool *few) {
  sm_table_correlation c;
  sm_table_correlate(r, f, reference, &c);
  sm_tabular_cell(t, "%s", r->jobs->recipe->figure[f].title);
  if (isfinite(c.rank)) sm_tabular_cell(t, "%s%.2f", c.rank < 0 ? "−" : "", fabs(c.rank));
  else sm_tabular_cell(t, "–");
  sm_tabular_cell(t, "%d", c.rows);
  if (isfinite(c.rank)) sm_tabular_cell(t, "%.1f %%", 100 * c.chance);
  else sm_tabular_cell(t, "–");
  *few = *few || c.rows < 5;
}

static sm_status page_without_labels(page *p) {
  const sm_table_results *r = p->r;
  const int reference = sm_table_reference(r);
  int measures = 0;
  bool few = false;
  for (int f = 0; f < r->jobs->recipe->figures; f++) measures += sm_table_without_labels(r, f);
  if (reference < 0 || !measures) return SM_OK;
  sm_page_heading(&p->html, "Without labels");
  page_paragraph(p, "subtitle", SM_TABLE_NO_LABELS);
  sm_tabular *t = sm_tabular_new(NULL);
  sm_tabular_column(t, "measure", SM_ALIGN_LEFT);
  sm_tabular_column(t, "rank correlation with k-NN", SM_ALIGN_RIGHT);
  sm_tabular_column(t, "rows", SM_ALIGN_RIGHT);
  sm_tabular_column(t, "orders as strong by chance", SM_ALIGN_RIGHT);
  for (int f = 0; f < r->jobs->recipe->figures; f++)
    if (sm_table_without_labels(r, f)) page_add_correlation(r, t, f, reference, &few);
  sm_status status = page_row_table(p, t);
  if (few) page_paragraph(p, "subtitle", SM_TABLE_FEW_ROWS);
  return status;
}

/* ---- curves -------------------------------------------------------------------------------------------- */

static bool page_shown_group(const sm_curve_group *g) {
  static const char *const titles[] = {"Loss", "k-NN accuracy, top-1", "Entropy", "Norm of the centre", NULL};
  for (int i = 0; titles[i]; i++)
    if (!strcmp(g->title, titles[i])) return true;
  return false;
}

static sm_status page_curves(page *p) {
  const char **labels = sm_calloc((size_t)p->runs + 1, sizeof *labels);
  if (!labels) return SM_ENOMEM;
  for (int i = 0; i < p->runs; i++) labels[i] = p->r->row[i].run->label;
  sm_page_heading(&p->html, "Curves");
  page_paragraph(p, "subtitle", "One line per row, of its first seed.");
  sm_status status = sm_page_overlays(&p->html, &(sm_overlay){.runs = p->run,
                                                              .names = labels,
                                                              .n = (size_t)p->runs,
                                                              .leave_out = true,
                                                              .shown = page_shown_group});
  sm_free(labels);
  return status;
}

/* ---- pictures ------------------------------------------------------------------------------------------ */

/* Width of a PNG from its header. */
static int page_png_width(const char *data, size_t bytes) {
  const unsigned char *s = (const unsigned char *)data;
  return bytes < 24 ? 0 : s[16] << 24 | s[17] << 16 | s[18] << 8 | s[19];
}

static bool page_read_strip(page *p, const sm_table_job *job, int strip, char **data, size_t *bytes) {
  char file[96], path[SM_PATH_ROOM];
  if (!job || !job->gallery) return false;
  sm_table_gallery_file(job, sm_gallery_strips[strip].file, file, sizeof file);
  sm_status status = sm_file_get(sm_table_job_path(p->r->jobs, job, file, path), PICTURE_LIMIT,
                                 data, bytes, NULL);
  p->html.failed |= status == SM_ENOMEM;
  return !status;
}

static void page_picture(page *p, const char *label, const char *title, const char *data, size_t bytes) {
  int width = page_png_width(data, bytes), zoom = width > 0 && width < SHOWN ? SHOWN / width : 1;
  sm_text_add(&p->html, "<dt>");
  sm_html_text(&p->html, label);
  sm_text_add(&p->html, "</dt><dd><img width=\"%d\" alt=\"", zoom * width);
  sm_html_text(&p->html, title);
  sm_text_add(&p->html, ", ");
  sm_html_text(&p->html, label);
  sm_text_add(&p->html, "\" src=\"data:image/png;base64,");
  sm_html_base64(&p->html, data, bytes);
  sm_text_add(&p->html, "\"></dd>\n");
}

/* Each kind of picture for all rows; the test pictures, which they share, above each. */
static void page_gallery(page *p) {
  for (int strip = 1; strip < SM_GALLERY_STRIPS; strip++) {
    const sm_gallery_strip *s = &sm_gallery_strips[strip];
    bool begun = false;
    for (int i = 0; i < p->r->rows; i++) {
      char *data, *above;
      size_t bytes;
      const sm_table_job *job = page_shown_job(p, i);
      if (!page_read_strip(p, job, strip, &data, &bytes)) continue;
      if (!begun) {
        sm_page_heading(&p->html, s->title);
        page_paragraph(p, "subtitle", s->about);
        sm_text_add(&p->html, "<div class=\"scroll\"><dl class=\"gallery\">\n");
        size_t size;
        if (page_read_strip(p, job, 0, &above, &size)) {
          page_picture(p, "", "Test pictures", above, size);
          sm_free(above);
        }
      }
      begun = true;
      page_picture(p, p->r->row[i].run->label, s->title, data, bytes);
      sm_free(data);
    }
    if (begun) sm_text_add(&p->html, "</dl></div>\n");
  }
}

/* ---- how it was made ----------------------------------------------------------------------------------- */

static sm_status page_measured(page *p) {
  const sm_table_recipe *t = p->r->jobs->recipe;
  sm_tabular *table = sm_tabular_new(NULL);
  sm_tabular_column(table, "figure", SM_ALIGN_LEFT);
  sm_tabular_column(table, "row", SM_ALIGN_LEFT);
  sm_tabular_column(table, "protocol", SM_ALIGN_LEFT);
  for (int f = 0; f < t->figures; f++)
    for (int i = 0; i < p->r->rows; i++) {
      if (!p->r->row[i].protocol[f]) continue;
      sm_tabular_cell(table, "%s", t->figure[f].title);
      sm_tabular_cell(table, "%s", p->r->row[i].run->label);
      sm_tabular_cell(table, "%s", p->r->row[i].protocol[f]);
    }
  sm_text_add(&p->html, "<details><summary>How it was measured</summary>\n");
  sm_status status = sm_page_tabular(&p->html, table);
  sm_text_add(&p->html, "</details>\n");
  return status;
}

static sm_status page_made(page *p) {
  const sm_table_jobs *jobs = p->r->jobs;
  sm_tabular *table = sm_tabular_new(NULL);
  sm_tabular_column(table, "run", SM_ALIGN_LEFT);
  sm_tabular_column(table, "state", SM_ALIGN_LEFT);
  sm_tabular_column(table, "folder", SM_ALIGN_LEFT);
  sm_tabular_column(table, "hash", SM_ALIGN_LEFT);
  for (int i = 0; i < jobs->n; i++) {
    char title[128];
    sm_tabular_cell(table, "%s", sm_table_job_title(&jobs->job[i], title, sizeof title));
    sm_tabular_cell(table, "%s", sm_job_state_names[jobs->job[i].state]);
    sm_tabular_cell(table, "%s", jobs->job[i].name);
    sm_tabular_cell(table, "%s", jobs->job[i].id);
  }
  sm_text_add(&p->html, "<details><summary>Runs</summary>\n");
  sm_status status = sm_page_tabular(&p->html, table);
  sm_text_add(&p->html, "</details>\n");
  return status;
}

/* ---- all ----------------------------------------------------------------------------------------------- */

static sm_status page_load_runs(page *p, sm_error *err) {
  sm_status status = SM_OK;
  for (int i = 0; i < p->r->rows && !status; i++) {
    char folder[SM_PATH_ROOM];
    const sm_table_job *job = page_shown_job(p, i);
    sm_run *run = &p->run[p->runs++];
    if (!job || !job->trains) continue;
    status = sm_run_load(run, sm_table_job_path(p->r->jobs, job, NULL, folder), err);
    if (status) sm_run_free(run);
    if (status == SM_ENOTFOUND) status = SM_OK; /* not trained yet */
  }
  return status;
}

static sm_status page_build(page *p) {
  const sm_table_recipe *t = p->r->jobs->recipe;
  sm_text subtitle = {0};
  if (t->source) sm_text_add(&subtitle, "Published figures: %s", t->source);
  sm_html_begin(&p->html, t->title, "smalti table", subtitle.s ? subtitle.s : "");
  sm_text_free(&subtitle);
  page_tiles(p);
  sm_page_heading(&p->html, "The table");
  sm_tabular *main_table = sm_table_tabular(p->r, false);
  sm_status status = page_row_table(p, main_table);
  sm_text note = {0};
  sm_table_say_figures(p->r, &note);
  sm_text_add(&note, " images/s: median over the run; hours: wall time of training per run; memory: the most a process used.");
  page_paragraph(p, "subtitle", note.s ? note.s : "");
  p->html.failed |= note.failed;
  sm_text_free(&note);
  if (!status) status = page_noise(p);
  if (!status) status = page_order(p);
  if (!status) status = page_without_labels(p);
  if (!status) status = page_curves(p);
  if (!status) page_gallery(p);
  sm_page_heading(&p->html, "Details");
  if (!status) status = page_measured(p);
  if (!status) status = page_made(p);
  if (!status) status = sm_page_plugins(&p->html, p->run, (size_t)p->runs);
  sm_html_end(&p->html);
  return status ? status : p->html.failed ? SM_ENOMEM : SM_OK;
}

sm_status sm_table_page(const sm_table_results *r, const char *path, sm_error *err) {
  page p = {.r = r, .run = sm_calloc((size_t)r->rows, sizeof *p.run)};
  sm_status status = p.run ? page_load_runs(&p, err) : SM_ENOMEM;
  if (!status) status = page_build(&p);
  if (status == SM_ENOMEM) sm_fail(err, status, "no memory for the page of a table");
  if (!status) status = sm_file_put(path, p.html.s, p.html.len, err);
  for (int i = 0; i < p.runs; i++) sm_run_free(&p.run[i]);
  sm_free(p.run);
  sm_text_free(&p.html);
  return status;
}

/* output.c — the table's files: Markdown with notes, LaTeX and CSV; and the table for a terminal. */
#include <math.h>
#include <string.h>

#include "results.h"

/* ---- notes below the table --------------------------------------------------------------------------- */

static void output_add_comparison(const sm_table_results *r, int f, sm_text *out) {
  sm_table_comparison *c = sm_malloc(sizeof *c);
  if (!c) {
    out->failed = true;
    return;
  }
  sm_table_compare(r, f, c);
  if (c->rows >= 2) {
    sm_text_add(out, "- **");
    sm_markdown_text(out, r->jobs->recipe->figure[f].title);
    sm_text_add(out, "**: ");
    if (isfinite(c->rank))
      sm_text_add(out, "rank correlation (Spearman) %.2f over %d %s; ", c->rank, c->rows,
                  sm_plural(c->rows, "row", "rows"));
    sm_text_add(out, "%d of %d %s of rows in the published order.\n", c->agree, c->pairs,
                sm_plural(c->pairs, "pair", "pairs"));
    for (int i = 0; i < c->gaps; i++) {
      const sm_table_gap *g = &c->gap[i];
      sm_text_add(out, "  - ");
      sm_markdown_text(out, r->row[g->better].run->label);
      sm_text_add(out, " over ");
      sm_markdown_text(out, r->row[g->worse].run->label);
      sm_text_add(out, ": published %+.1f, here %+.1f%s\n", g->published, g->here,
                  g->agrees     ? ""
                  : g->here < 0 ? " (**the other way round**)"
                                : " (**no difference**)");
    }
  }
  sm_free(c);
}

static void output_add_gap(const sm_table_results *r, const sm_table_gap_noise *g, sm_text *out) {
  char noise[80];
  sm_text_add(out, "  - ");
  sm_markdown_text(out, r->row[g->better].run->label);
  sm_text_add(out, " over ");
  sm_markdown_text(out, r->row[g->worse].run->label);
  sm_text_add(out, ": ");
  if (isfinite(g->gap)) sm_text_add(out, "%+.2f ", g->gap);
  if (g->noise == SM_NOISE_UNKNOWN) sm_text_add(out, "(%s): ", sm_table_noise_text(g, noise, sizeof noise));
  else sm_text_add(out, "[%+.2f, %+.2f] (%s): ", g->low, g->high, sm_table_noise_text(g, noise, sizeof noise));
  sm_text_add(out, g->told ? "larger than the noise\n" : "**not told apart**\n");
}

/* Rows that follow each other, and whether they can be told apart. */
static void output_add_noise(const sm_table_results *r, sm_text *out) {
  sm_table_gap_noise gap[SM_TABLE_GAPS];
  bool begun = false;
  for (int f = 0; f < r->jobs->recipe->figures; f++) {
    const int n = sm_table_neighbours(r, f, gap);
    int told = 0;
    for (int i = 0; i < n; i++) told += gap[i].told;
    if (!n) continue;
    if (!begun) sm_text_add(out, "\n## Which gaps are larger than the noise\n\n%s\n\n", SM_TABLE_NOISE_ABOUT);
    begun = true;
    sm_text_add(out, "- **");
    sm_markdown_text(out, r->jobs->recipe->figure[f].title);
    sm_text_add(out, "**: %d of %d %s\n", told, n, sm_plural(n, "gap", "gaps"));
    for (int i = 0; i < n; i++) output_add_gap(r, &gap[i], out);
  }
}

/* Measures without labels, held against k-NN. */
static void output_add_correlations(const sm_table_results *r, sm_text *out) {
  const int reference = sm_table_reference(r);
  bool few = false, begun = false;
  for (int f = 0; reference >= 0 && f < r->jobs->recipe->figures; f++) {
    sm_table_correlation c;
    if (!sm_table_without_labels(r, f)) continue;
    sm_table_correlate(r, f, reference, &c);
    if (!begun) sm_text_add(out, "\n## Without labels\n\n" SM_TABLE_NO_LABELS "\n\n");
    begun = true;
    sm_text_add(out, "- **");
    sm_markdown_text(out, r->jobs->recipe->figure[f].title);
    sm_text_add(out, "** with ");
    sm_markdown_text(out, r->jobs->recipe->figure[reference].title);
    if (isfinite(c.rank))
      sm_text_add(out, ": rank correlation (Spearman) %.2f over %d %s; %.1f %% of all orders of the rows are as strong, either way.\n",
                  c.rank, c.rows, sm_plural(c.rows, "row", "rows"), 100 * c.chance);
    else sm_text_add(out, ": no rank correlation over %d %s.\n", c.rows, sm_plural(c.rows, "row", "rows"));
    few = few || c.rows < 5;
  }
  if (few) sm_text_add(out, "\n" SM_TABLE_FEW_ROWS "\n");
}

/* Rows whose figure was measured in another way than the first row's say so. */
static void output_add_protocols(const sm_table_results *r, sm_text *out) {
  for (int f = 0; f < r->jobs->recipe->figures; f++) {
    const char *usual = NULL;
    for (int i = 0; i < r->rows; i++) {
      const char *p = r->row[i].protocol[f];
      if (!p || (usual && !strcmp(p, usual))) continue;
      sm_text_add(out, "- ");
      sm_markdown_text(out, r->jobs->recipe->figure[f].title);
      if (usual) sm_text_add(out, " of "), sm_markdown_text(out, r->row[i].run->label);
      sm_text_add(out, ": ");
      sm_markdown_text(out, p);
      sm_text_add(out, "\n");
      if (!usual) usual = p;
    }
  }
}

static bool output_any_published(const sm_table_results *r) {
  bool any = false;
  for (int f = 0; f < r->jobs->recipe->figures; f++) any = any || sm_table_published(r, f);
  return any;
}

static void output_add_notes(const sm_table_results *r, sm_text *out) {
  const sm_table_recipe *recipe = r->jobs->recipe;
  const bool published = output_any_published(r);
  if (published && recipe->source) {
    sm_text_add(out, "Published: ");
    sm_markdown_text(out, recipe->source);
    sm_text_add(out, ".\n");
  }
  output_add_noise(r, out);
  if (published) {
    sm_text comparison = {0};
    for (int f = 0; f < recipe->figures; f++) output_add_comparison(r, f, &comparison);
    if (comparison.s) sm_text_add(out, "\n## Against the published order\n\n%s", comparison.s);
    out->failed = out->failed || comparison.failed;
    sm_text_free(&comparison);
  }
  output_add_correlations(r, out);
  sm_text_add(out, "\n## How it was measured\n\n");
  output_add_protocols(r, out);
  sm_text_add(
      out,
      "- images/s: median over the run. hours: wall time of training with its evaluations, per run. memory: the most a process used.\n");
  for (int i = 0; i < r->dependencies; i++) {
    const sm_table_result *d = &r->dependency[i];
    char bytes[32];
    if (!isfinite(d->hours)) continue;
    sm_text_add(out, "- ");
    sm_markdown_text(out, d->run->label);
    sm_text_add(out, ", which rows need: %.0f images/s, %.2f hours, %s.\n", d->images_per_s, d->hours,
                sm_human_bytes(d->peak_bytes, bytes, sizeof bytes));
  }
}

/* ---- the table for programs ---------------------------------------------------------------------------- */

static void output_add_number(sm_tabular *t, double v) {
  char text[40];
  sm_tabular_cell(t, "%s", isfinite(v) ? sm_double_text(v, text, sizeof text) : "");
}

/* To the next row of the column; NaN of the last. */
static sm_table_gap_noise output_gap_below(const sm_table_results *r, int row, int f) {
  sm_table_gap_noise gap[SM_TABLE_GAPS];
  const int n = sm_table_neighbours(r, f, gap);
  for (int i = 0; i < n; i++)
    if (gap[i].better == row) return gap[i];
  return (sm_table_gap_noise){.gap = NAN, .low = NAN, .high = NAN};
}

static sm_tabular *output_numbers(const sm_table_results *r) {
  const sm_table_recipe *recipe = r->jobs->recipe;
  sm_tabular *t = sm_tabular_new(NULL);
  char title[160];
  sm_tabular_column(t, "key", SM_ALIGN_LEFT);
  sm_tabular_column(t, "row", SM_ALIGN_LEFT);
  for (int i = 0; i < recipe->marks; i++) sm_tabular_column(t, recipe->mark[i], SM_ALIGN_LEFT);
  sm_tabular_column(t, "seeds", SM_ALIGN_RIGHT);
  for (int f = 0; f < recipe->figures; f++) {
    static const char *const part[] = {"",           " deviation", " low",     " high",
                                       " published", " gap",       " gap low", " gap high"};
    for (int k = 0; k < 8; k++) {
      snprintf(title, sizeof title, "%s%s", recipe->figure[f].title, part[k]);
      sm_tabular_column(t, title, SM_ALIGN_RIGHT);
    }
  }
  static const char *const cost[] = {"images_per_s", "hours", "peak_bytes"};
  for (int k = 0; k < 3; k++) sm_tabular_column(t, cost[k], SM_ALIGN_RIGHT);
  for (int i = 0; i < r->rows; i++) {
    const sm_table_result *row = &r->row[i];
    sm_tabular_cell(t, "%s", row->run->key);
    sm_tabular_cell(t, "%s", row->run->label);
    for (int m = 0; m < recipe->marks; m++) sm_tabular_cell(t, "%s", row->run->mark[m]);
    sm_tabular_cell(t, "%d", row->done);
    for (int f = 0; f < recipe->figures; f++) {
      const sm_table_value *v = &row->value[f];
      const sm_table_gap_noise g = output_gap_below(r, i, f);
      const double all[] = {v->mean, v->deviation, v->low, v->high, row->run->published[f], g.gap, g.low, g.high};
      for (int k = 0; k < 8; k++) output_add_number(t, all[k]);
    }
    output_add_number(t, row->images_per_s), output_add_number(t, row->hours),
        output_add_number(t, row->peak_bytes);
  }
  return t;
}

/* ---- files --------------------------------------------------------------------------------------------- */

static sm_status output_put(const sm_table_jobs *jobs, const char *name, const sm_text *text, sm_error *err) {
  char path[SM_PATH_ROOM];
  sm_path_put(path, "%s/%s", jobs->options.out, name);
  if (text->failed) return sm_fail(err, SM_ENOMEM, "no memory for %s", name);
  return sm_file_put(path, text->s ? text->s : "", text->len, err);
}

static sm_status output_render(const sm_table_jobs *jobs, sm_tabular *t, sm_tabular_format format,
                               const char *name, const sm_table_results *notes, sm_error *err) {
  sm_text text = {0};
  if (notes) sm_text_add(&text, "# ");
  sm_status status =
      sm_tabular_render(t, format, &text) ? sm_fail(err, SM_ENOMEM, "no memory for %s", name) : SM_OK;
  if (notes) output_add_notes(notes, &text);
  if (!status) status = output_put(jobs, name, &text, err);
  sm_text_free(&text);
  return status;
}

static sm_status output_write_all(const sm_table_results *r, sm_text *shown, sm_error *err) {
  const sm_table_jobs *jobs = r->jobs;
  sm_tabular *t = sm_table_tabular(r, true), *csv = output_numbers(r);
  sm_status status = sm_mkdirs(jobs->options.out, err);
  if (!status) status = output_render(jobs, t, SM_TABULAR_MARKDOWN, "table.md", r, err);
  if (!status) status = output_render(jobs, t, SM_TABULAR_LATEX, "table.tex", NULL, err);
  if (!status) status = output_render(jobs, csv, SM_TABULAR_CSV, "table.csv", NULL, err);
  char path[SM_PATH_ROOM];
  sm_path_put(path, "%s/report.html", jobs->options.out);
  if (!status) status = sm_table_page(r, path, err);
  if (!status && shown && sm_tabular_render(t, SM_TABULAR_TEXT, shown))
    status = sm_fail(err, SM_ENOMEM, "out of memory");
  sm_tabular_free(t);
  sm_tabular_free(csv);
  return status;
}

sm_status sm_table_write(sm_table_jobs *jobs, sm_text *text, sm_error *err) {
  sm_table_results r;
  sm_table_jobs_look(jobs);
  sm_status status = sm_table_results_read(jobs, &r, err);
  if (!status) status = output_write_all(&r, text, err);
  sm_table_results_free(&r);
  return status;
}

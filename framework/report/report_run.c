/* report_run.c — the page of one run, section by section. A section whose file is missing is left out. */
#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "framework/base/io.h"
#include "framework/formats/formats.h"

#include "html.h"
#include "page.h"

enum { MAX_TEXT = 4 << 20, MAX_PICTURE = 12 << 20, MAX_PICTURES = 12, BAD_SHOWN = 100 };

typedef struct page {
  sm_run run;
  const sm_report_figures *figures;
  sm_text html;
  sm_error *err; /* of a section; without a message it is want of memory */
} page;

/* ---- key figures ---- */

static void report_run_tile_accuracy(page *p) {
  const sm_curves *evals = &p->run.evals;
  const sm_curve *best = NULL;
  double top = NAN, at = 0;
  char value[48], a[48], b[48], note[200];
  for (size_t i = 0; i < evals->count; i++) {
    double here, v = sm_curve_best(&evals->items[i], true, &here);
    if (!sm_curve_is(&evals->items[i], "knn top1") || !isfinite(v) || (best && v <= top)) continue;
    best = &evals->items[i], top = v, at = here;
  }
  if (!best) return;
  snprintf(value, sizeof value, "%.1f %%", top);
  snprintf(note, sizeof note, "step %s; %s at first", sm_number_text(at, a, sizeof a),
           sm_number_text(round(sm_curve_first(best) * 10) / 10, b, sizeof b));
  sm_page_tile(&p->html, "Best k-NN top-1", value, note);
}

/* The mean of the last twentieth of the records: single steps are noisy. */
static double report_run_settled(const sm_curve *c) {
  double sum = 0;
  size_t count = 0, tail = c->n / 20 > 0 ? c->n / 20 : 1;
  for (size_t i = c->n - tail; i < c->n; i++)
    if (isfinite(c->y[i])) sum += c->y[i], count++;
  return count ? sum / (double)count : sm_curve_last(c);
}

static void report_run_tile_loss(page *p) {
  const sm_curve *loss = sm_curves_find(&p->run.metrics, "loss");
  char value[48], first[48], note[96];
  if (!loss || !loss->n || !isfinite(sm_curve_last(loss))) return;
  snprintf(note, sizeof note, "mean of the last 5 %%, from %s",
           sm_number_text(sm_curve_first(loss), first, sizeof first));
  sm_page_tile(&p->html, "Loss", sm_number_text(report_run_settled(loss), value, sizeof value), note);
}

static void report_run_tile_progress(page *p) {
  double epochs;
  char value[48], epoch[48], of[48], note[160] = "";
  if (!isfinite(p->run.last_step)) return;
  if (isfinite(p->run.last_epoch)) {
    snprintf(note, sizeof note, "epoch %s", sm_number_text(p->run.last_epoch, epoch, sizeof epoch));
    if (sm_recipe_number(p->run.recipe, "train.epochs", &epochs))
      snprintf(note, sizeof note, "epoch %s of %s", epoch, sm_number_text(epochs, of, sizeof of));
  }
  sm_page_tile(&p->html, "Steps", sm_number_text(p->run.last_step, value, sizeof value), note);
}

static void report_run_tile_speed(page *p) {
  const sm_curve *speed = sm_curves_find(&p->run.timing, "images_per_s");
  char value[48];
  if (!isfinite(sm_curve_median(speed))) return;
  sm_page_tile(&p->html, "Speed", sm_number_text(sm_curve_median(speed), value, sizeof value),
               "pictures/s, median");
}

static void report_run_tile_memory(page *p) {
  double most = sm_curve_best(sm_curves_find(&p->run.timing, "rss"), true, NULL);
  char value[48];
  if (isfinite(most))
    sm_page_tile(&p->html, "Memory", sm_human_bytes(most, value, sizeof value), "at most, of the process");
}

/* "seconds" is the time since the start when it never falls; else it is a step's and says nothing of the
 * whole. */
static void report_run_tile_time(page *p) {
  const sm_curve *seconds = sm_curves_find(&p->run.timing, "seconds");
  char value[48];
  if (!seconds || seconds->n < 3) return;
  for (size_t i = 1; i < seconds->n; i++)
    if (!(seconds->y[i] >= seconds->y[i - 1])) return;
  sm_page_tile(&p->html, "Time", sm_human_seconds(sm_curve_last(seconds), value, sizeof value),
               "of training");
}

static void report_run_tiles(page *p) {
  static void (*const TILES[])(page *) = {report_run_tile_accuracy, report_run_tile_loss,
                                          report_run_tile_progress, report_run_tile_speed,
                                          report_run_tile_time,     report_run_tile_memory};
  sm_text_add(&p->html, "<dl class=\"tiles\">\n");
  for (size_t i = 0; i < sizeof TILES / sizeof *TILES; i++) TILES[i](p);
  sm_text_add(&p->html, "</dl>\n");
  if (p->run.damaged)
    sm_text_add(
        &p->html, "<p class=\"warning\">%d %s of the records could not be read and %s left out.</p>\n",
        p->run.damaged, sm_plural(p->run.damaged, "line", "lines"), sm_plural(p->run.damaged, "is", "are"));
}

/* ---- curves ---- */

static size_t report_run_lines_of(const page *p, const sm_curve_group *f, sm_line *lines) {
  const sm_curves *curves = sm_run_curves(&p->run, f->file);
  size_t n = 0;
  for (size_t i = 0; i < curves->count && n < SM_MAX_LINES; i++) {
    const sm_curve *c = &curves->items[i];
    if (sm_curve_group_takes(f, c)) lines[n++] = (sm_line){.name = sm_curve_group_short(f, c), .curve = c};
  }
  return n;
}

/* Teacher and student of one site share a colour; the student is dashed. Names are "teacher cls", "student
 * cls". */
static void report_run_pair_up(sm_line *lines, size_t n, char names[][64]) {
  for (size_t i = 0; i < n; i++) {
    const char *site = strchr(lines[i].name, '.');
    lines[i].dashed = !strncmp(lines[i].name, "student", 7);
    lines[i].colour = 1;
    for (size_t k = 0; k < i; k++) {
      const char *other = strchr(names[k], ' ');
      bool same = site && other ? !strcmp(site + 1, other + 1) : !site && !other;
      if (same) {
        lines[i].colour = lines[k].colour;
        break;
      }
      if (lines[k].colour >= lines[i].colour) lines[i].colour = lines[k].colour + 1;
    }
    snprintf(names[i], sizeof names[i], "%.7s%s%.50s", lines[i].name, site ? " " : "", site ? site + 1 : "");
  }
  for (size_t i = 0; i < n; i++) lines[i].name = names[i];
}

static sm_status report_run_figure(page *p, const sm_curve_group *f) {
  sm_line lines[SM_MAX_LINES];
  char names[SM_MAX_LINES][64];
  sm_chart_level level = {.name = "ln K: uniform"};
  size_t n = report_run_lines_of(p, f, lines);
  double k;
  bool known = false;
  if (!n) return SM_OK;
  if (!strcmp(f->keys[0], "teacher_entropy")) {
    report_run_pair_up(lines, n, names);
    known = sm_recipe_number(p->run.recipe, "*.out_dim", &k) && k > 1;
    if (known) level.y = log(k);
  }
  return sm_page_chart(&p->html, f->title, f, lines, n, known ? &level : NULL);
}

static bool report_run_in_a_figure(const char *file, const sm_curve *curve) {
  for (size_t i = 0; i < sm_ncurve_groups; i++)
    if (!strcmp(sm_curve_groups[i].file, file) && sm_curve_group_takes(&sm_curve_groups[i], curve))
      return true;
  return false;
}

/* Curves of one family ("x.a", "x.b") that no figure takes, in one chart; `from` is the first of them. */
static sm_status report_run_other_figure(page *p, const char *file, const sm_curves *curves, size_t from) {
  sm_line lines[SM_MAX_LINES];
  const char *name = curves->items[from].name;
  size_t family = strcspn(name, "."), n = 0;
  char title[128];
  for (size_t i = 0; i < curves->count && n < SM_MAX_LINES; i++) {
    const char *other = curves->items[i].name;
    if (strncmp(other, name, family) || strcspn(other, ".") != family) continue;
    if (report_run_in_a_figure(file, &curves->items[i])) continue;
    if (i < from) return SM_OK; /* drawn with an earlier one */
    lines[n++] = (sm_line){.name = other, .curve = &curves->items[i]};
  }
  const char *unit = curves->items[from].unit;
  snprintf(title, sizeof title, "%.*s%s%s", (int)(family < 100 ? family : 100), name, unit[0] ? ", " : "",
           unit);
  return sm_page_chart(&p->html, title, NULL, lines, n, NULL);
}

static sm_status report_run_other_figures(page *p) {
  static const char *const FILES[] = {"metrics", "evals", "timing"};
  sm_status status = SM_OK;
  bool open = false;
  for (int f = 0; f < 3; f++) {
    const sm_curves *curves = sm_run_curves(&p->run, FILES[f]);
    for (size_t i = 0; i < curves->count && !status; i++) {
      if (report_run_in_a_figure(FILES[f], &curves->items[i])) continue;
      if (!open) sm_text_add(&p->html, "<details><summary>More curves</summary>\n<div class=\"charts\">\n");
      open = true;
      status = report_run_other_figure(p, FILES[f], curves, i);
    }
  }
  if (open) sm_text_add(&p->html, "</div>\n</details>\n");
  return status;
}

static void report_run_add_rows(sm_tabular *t, const sm_curves *curves) {
  for (size_t i = 0; i < curves->count; i++) {
    const sm_curve *c = &curves->items[i];
    char text[4][48];
    sm_tabular_cell(t, "%s%s%s", c->name, c->unit[0] ? ", " : "", c->unit);
    sm_tabular_cell(t, "%s", sm_number_text(sm_curve_first(c), text[0], sizeof text[0]));
    sm_tabular_cell(t, "%s", sm_number_text(sm_curve_best(c, false, NULL), text[1], sizeof text[1]));
    sm_tabular_cell(t, "%s", sm_number_text(sm_curve_best(c, true, NULL), text[2], sizeof text[2]));
    sm_tabular_cell(t, "%s", sm_number_text(sm_curve_last(c), text[3], sizeof text[3]));
  }
  sm_tabular_rule(t);
}

static sm_status report_run_all_figures(page *p) {
  static const char *const COLUMNS[] = {"first", "smallest", "largest", "last"};
  sm_tabular *t = sm_tabular_new(NULL);
  sm_tabular_column(t, "metric", SM_ALIGN_LEFT);
  for (int i = 0; i < 4; i++) sm_tabular_column(t, COLUMNS[i], SM_ALIGN_RIGHT);
  report_run_add_rows(t, &p->run.evals);
  report_run_add_rows(t, &p->run.metrics);
  report_run_add_rows(t, &p->run.timing);
  sm_text_add(&p->html, "<details><summary>All metrics in figures</summary>\n");
  sm_status status = sm_page_tabular(&p->html, t);
  sm_text_add(&p->html, "</details>\n");
  return status;
}

static sm_status report_run_curves(page *p) {
  sm_status status = SM_OK;
  if (!p->run.metrics.count && !p->run.evals.count && !p->run.timing.count) return SM_OK;
  sm_page_heading(&p->html, "Curves");
  sm_text_add(&p->html, "<div class=\"charts\">\n");
  for (size_t i = 0; i < sm_ncurve_groups && !status; i++) status = report_run_figure(p, &sm_curve_groups[i]);
  sm_text_add(&p->html, "</div>\n");
  if (!status) status = report_run_other_figures(p);
  return status ? status : report_run_all_figures(p);
}

/* ---- recipe, pictures, environment ---- */

/* A file that is too large for the page is named there instead. *data NULL: nothing to show. */
static sm_status report_run_file(page *p, const char *name, size_t limit, char **data, size_t *bytes) {
  sm_status status = sm_run_file(&p->run, name, limit, data, bytes, p->err);
  if (status != SM_EINVAL) return status;
  sm_error_clear(p->err);
  sm_text_add(&p->html, "<p class=\"warning\">");
  sm_html_text(&p->html, name);
  sm_text_add(&p->html, " is too large for this page and left out.</p>\n");
  return SM_OK;
}

static sm_status report_run_recipe(page *p) {
  sm_text summary = {0};
  char *text;
  size_t bytes;
  sm_status status = report_run_file(p, "recipe.yaml", MAX_TEXT, &text, &bytes);
  if (status || !text) return status;
  sm_recipe_summary(p->run.recipe, &summary);
  p->html.failed |= summary.failed;
  sm_page_heading(&p->html, "Recipe");
  if (summary.len) sm_text_add(&p->html, "<dl class=\"pairs\">\n%s</dl>\n", summary.s);
  sm_text_add(&p->html, "<details><summary>The resolved recipe</summary>\n<pre>");
  sm_html_text(&p->html, text);
  sm_text_add(&p->html, "</pre>\n</details>\n");
  sm_text_free(&summary);
  sm_free(text);
  return SM_OK;
}

static int report_run_is_png(const struct dirent *e) {
  size_t n = strlen(e->d_name);
  return n > 4 && e->d_name[0] != '.' && !strcmp(e->d_name + n - 4, ".png");
}

static int report_run_by_name(const struct dirent **a, const struct dirent **b) {
  return strcmp((*a)->d_name, (*b)->d_name);
}

static void report_run_png(page *p, const char *name, const void *png, size_t bytes, const char *caption) {
  sm_text_add(&p->html, "<img alt=\"");
  sm_html_text(&p->html, name);
  sm_text_add(&p->html, "\" src=\"data:image/png;base64,");
  sm_html_base64(&p->html, png, bytes);
  sm_text_add(&p->html, "\"><figcaption>");
  sm_html_text(&p->html, caption);
  sm_text_add(&p->html, "</figcaption></figure>\n");
}

static sm_status report_run_picture(page *p, const char *name) {
  char *data;
  size_t bytes;
  sm_status status = report_run_file(p, name, MAX_PICTURE, &data, &bytes);
  if (status || !data) return status;
  sm_text_add(&p->html, "<figure>");
  report_run_png(p, name, data, bytes, name);
  sm_free(data);
  return SM_OK;
}

/* Figures that there are, then why others are missing. */
static sm_status report_run_figures(page *p) {
  const sm_report_figures *all = p->figures;
  if (!all || !all->n) return SM_OK;
  sm_page_heading(&p->html, "What the network sees");
  sm_text_add(&p->html, "<p class=\"subtitle\">");
  sm_html_text(&p->html, all->about);
  sm_text_add(&p->html, "</p>\n<div class=\"pictures\">\n");
  for (size_t i = 0; i < all->n; i++) {
    const sm_report_figure *f = &all->figure[i];
    if (!f->png) continue;
    sm_text_add(&p->html, "<figure><h3>");
    sm_html_text(&p->html, f->title);
    sm_text_add(&p->html, "</h3>\n");
    report_run_png(p, f->title, f->png, f->bytes, f->about);
  }
  sm_text_add(&p->html, "</div>\n");
  for (size_t i = 0; i < all->n; i++) {
    const sm_report_figure *f = &all->figure[i];
    if (f->png) continue;
    sm_text_add(&p->html, "<p class=\"subtitle\">");
    sm_html_text(&p->html, f->title);
    sm_text_add(&p->html, " is left out: ");
    sm_html_text(&p->html, f->reason);
    sm_text_add(&p->html, ".</p>\n");
  }
  return SM_OK;
}

static sm_status report_run_pictures(page *p) {
  struct dirent **found = NULL;
  int n = scandir(p->run.folder, &found, report_run_is_png, report_run_by_name);
  if (n < 0) return sm_fail_errno(p->err, errno, "list", p->run.folder);
  sm_status status = SM_OK;
  if (n > 0) {
    sm_page_heading(&p->html, "Pictures");
    sm_text_add(&p->html, "<div class=\"pictures\">\n");
  }
  for (int i = 0; i < n; i++) {
    if (i < MAX_PICTURES && !status) status = report_run_picture(p, found[i]->d_name);
    free(found[i]);
  }
  if (n > 0) sm_text_add(&p->html, "</div>\n");
  free(found);
  return status;
}

static sm_status report_run_bad_pictures(page *p) {
  char *text, *next, *field;
  size_t bytes, count = 0;
  sm_status status = report_run_file(p, "bad-pictures.txt", MAX_TEXT, &text, &bytes);
  if (status || !text) return status;
  sm_tabular *t = sm_tabular_new(NULL);
  sm_tabular_column(t, "picture", SM_ALIGN_LEFT);
  sm_tabular_column(t, "reason", SM_ALIGN_LEFT);
  for (char *line = text; line; line = next) {
    if ((next = strchr(line, '\n'))) *next++ = 0;
    if (!*line) continue;
    if (count++ >= BAD_SHOWN) continue;
    if ((field = strchr(line, '\t'))) *field++ = 0;
    sm_tabular_cell(t, "%s", line);
    sm_tabular_cell(t, "%s", field ? field : "");
  }
  sm_free(text);
  if (!count) return sm_tabular_free(t), SM_OK;
  sm_page_heading(&p->html, "Pictures that could not be used");
  status = sm_page_tabular(&p->html, t);
  if (count > BAD_SHOWN)
    sm_text_add(&p->html, "<p>%zu in all; the first %d are shown, the others are in bad-pictures.txt.</p>\n",
                count, BAD_SHOWN);
  return status;
}

static sm_status report_run_plugins(page *p) { return sm_page_plugins(&p->html, &p->run, 1); }

static void report_run_environment_value(sm_text *out, const cJSON *value) {
  char number[48];
  if (cJSON_IsString(value)) sm_html_text(out, value->valuestring);
  else if (cJSON_IsNumber(value))
    sm_text_add(out, "%s", sm_number_text(value->valuedouble, number, sizeof number));
  else if (cJSON_IsBool(value)) sm_text_add(out, cJSON_IsTrue(value) ? "yes" : "no");
  else if (cJSON_IsNull(value)) sm_text_add(out, "–");
  for (const cJSON *item = cJSON_IsArray(value) || cJSON_IsObject(value) ? value->child : NULL; item;
       item = item->next) {
    if (cJSON_IsObject(value)) {
      sm_text_add(out, "<span class=\"p\"><i>");
      sm_html_text(out, item->string);
      sm_text_add(out, "</i>");
    }
    report_run_environment_value(out, item);
    sm_text_add(out, "%s", cJSON_IsObject(value) ? "</span> " : item->next ? ", " : "");
  }
}

static sm_status report_run_environment(page *p) {
  char *text;
  size_t bytes;
  sm_status status = report_run_file(p, "environment.json", MAX_TEXT, &text, &bytes);
  if (status || !text) return status;
  cJSON *root;
  status = sm_json_read(text, bytes, &root, p->err);
  sm_free(text);
  if (status == SM_EFORMAT)
    sm_text_add(&p->html, "<p class=\"warning\">environment.json is damaged and left out.</p>\n");
  if (status) return status == SM_EFORMAT ? SM_OK : status;
  if (cJSON_IsObject(root) && root->child) {
    sm_page_heading(&p->html, "Environment");
    sm_text_add(&p->html, "<dl class=\"pairs\">\n");
    for (const cJSON *item = root->child; item; item = item->next) {
      if (!strcmp(item->string, "plugins") && cJSON_IsObject(item->child)) continue; /* they have a table */
      sm_text_add(&p->html, "<dt>");
      sm_html_text(&p->html, item->string);
      sm_text_add(&p->html, "</dt><dd>");
      report_run_environment_value(&p->html, item);
      sm_text_add(&p->html, "</dd>\n");
    }
    sm_text_add(&p->html, "</dl>\n");
  }
  cJSON_Delete(root);
  return SM_OK;
}

/* ---- the page ---- */

static sm_status report_run_build(page *p) {
  static sm_status (*const SECTIONS[])(page *) = {
      report_run_curves,       report_run_figures, report_run_pictures,   report_run_recipe,
      report_run_bad_pictures, report_run_plugins, report_run_environment};
  sm_status status = SM_OK;
  sm_html_begin(&p->html, p->run.name, "smalti run", "");
  report_run_tiles(p);
  for (size_t i = 0; i < sizeof SECTIONS / sizeof *SECTIONS && !status; i++) status = SECTIONS[i](p);
  sm_html_end(&p->html);
  return status ? status : p->html.failed ? SM_ENOMEM : SM_OK;
}

sm_status sm_report_run(const char *run_folder, const sm_report_figures *figures, sm_error *err) {
  sm_error own = {0};
  page p = {.figures = figures, .err = err ? err : &own};
  sm_error_clear(p.err);
  sm_text path = {0};
  sm_status status = sm_run_load(&p.run, run_folder, err);
  if (status) goto out;
  sm_text_add(&path, "%s/report.html", p.run.folder);
  status = report_run_build(&p);
  if (!status && path.failed) status = SM_ENOMEM;
  if (status == SM_ENOMEM || (status && !p.err->code))
    status = sm_fail(err, SM_ENOMEM, "no memory for the report of '%.400s'", run_folder);
  if (!status) status = sm_file_put(path.s, p.html.s, p.html.len, err);
out:
  sm_run_free(&p.run);
  sm_text_free(&p.html);
  sm_text_free(&path);
  return status;
}

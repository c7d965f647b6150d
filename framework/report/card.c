/* card.c — see card.h. */
#include "card.h"

#include <string.h>

#include "html.h"
#include "page.h"

enum { ROWS_SHOWN = 10 }; /* of an evaluation; more unfold */

/* ---- pieces -------------------------------------------------------------------------------------------- */

/* <TAG class="CLASS">text</TAG>, nothing for an empty text; `kind` NULL: no class. */
static void card_element(sm_text *out, const char *tag, const char *kind, const char *text) {
  if (!text || !*text) return;
  sm_text_add(out, "<%s", tag);
  if (kind) sm_text_add(out, " class=\"%s\"", kind);
  sm_text_add(out, ">");
  sm_html_text(out, text);
  sm_text_add(out, "</%s>\n", tag);
}

static void card_pairs(sm_text *out, const sm_card_fact *fact, int n) {
  sm_text_add(out, "<dl class=\"pairs\">\n");
  for (int i = 0; i < n; i++) {
    card_element(out, "dt", NULL, fact[i].name);
    card_element(out, "dd", NULL, fact[i].value);
  }
  sm_text_add(out, "</dl>\n");
}

/* ---- figures ------------------------------------------------------------------------------------------- */

/* `intervals`: there is a column for them. */
static sm_status card_rows(sm_text *out, const sm_card_figure *figure, int n, bool intervals) {
  sm_tabular *t = sm_tabular_new(NULL);
  sm_tabular_column(t, "figure", SM_ALIGN_LEFT);
  sm_tabular_column(t, "value", SM_ALIGN_RIGHT);
  if (intervals) sm_tabular_column(t, "95 % interval", SM_ALIGN_RIGHT);
  for (int i = 0; i < n; i++) {
    sm_tabular_cell(t, "%s", figure[i].name);
    sm_tabular_cell(t, "%s", figure[i].value);
    if (!intervals) continue;
    if (figure[i].interval) sm_tabular_cell(t, "%.2f – %.2f", figure[i].low, figure[i].high);
    else sm_tabular_cell(t, "%s", "");
  }
  sm_status status = sm_tabular_render(t, SM_TABULAR_HTML, out);
  sm_tabular_free(t);
  return status;
}

static sm_status card_evaluation(sm_text *out, const sm_card_evaluation *e) {
  const int shown = e->n > ROWS_SHOWN + 2 ? ROWS_SHOWN : e->n;
  bool intervals = false;
  for (int i = 0; i < e->n; i++) intervals |= e->figure[i].interval;
  sm_text_add(out, "<figure>\n");
  card_element(out, "h3", NULL, e->name);
  card_element(out, "p", "about", e->summary);
  sm_status status = card_rows(out, e->figure, shown, intervals);
  if (!status && shown < e->n) {
    sm_text_add(out, "<details><summary>%d more</summary>\n", e->n - shown);
    status = card_rows(out, e->figure + shown, e->n - shown, intervals);
    sm_text_add(out, "</details>\n");
  }
  card_element(out, "figcaption", NULL, e->protocol);
  card_element(out, "figcaption", NULL, e->made);
  sm_text_add(out, "</figure>\n");
  return status;
}

static sm_status card_evaluations(sm_text *out, const sm_card *c) {
  sm_status status = SM_OK;
  if (!c->evaluations) return SM_OK;
  sm_page_heading(out, "Figures");
  sm_text_add(out, "<div class=\"columns\">\n");
  for (int i = 0; i < c->evaluations && !status; i++) status = card_evaluation(out, &c->evaluation[i]);
  sm_text_add(out, "</div>\n");
  return status;
}

/* ---- pictures, recipe ---------------------------------------------------------------------------------- */

static void card_pictures(sm_text *out, const sm_card *c) {
  if (!c->pictures) return;
  sm_page_heading(out, "What it sees");
  sm_text_add(out, "<div class=\"pictures\">\n");
  for (int i = 0; i < c->pictures; i++) {
    const sm_card_picture *p = &c->picture[i];
    sm_text_add(out, "<figure>\n");
    card_element(out, "h3", NULL, p->title);
    sm_text_add(out, "<img alt=\"");
    sm_html_text(out, p->title);
    sm_text_add(out, "\" src=\"data:image/png;base64,");
    sm_html_base64(out, p->png, p->bytes);
    sm_text_add(out, "\">\n");
    card_element(out, "figcaption", NULL, p->caption);
    sm_text_add(out, "</figure>\n");
  }
  sm_text_add(out, "</div>\n");
}

static sm_status card_recipe(sm_text *out, const sm_card *c, sm_error *err) {
  if (!c->recipe) return SM_OK;
  sm_arena *arena = sm_arena_new("card");
  sm_text summary = {0};
  if (!arena) return SM_ENOMEM;
  const sm_yaml *recipe = sm_yaml_read(arena, NULL, false, c->recipe, strlen(c->recipe), err);
  sm_status status = recipe ? SM_OK : err->code;
  sm_recipe_summary(recipe, &summary);
  out->failed |= summary.failed;
  sm_page_heading(out, "Recipe");
  if (summary.len) sm_text_add(out, "<dl class=\"pairs\">\n%s</dl>\n", summary.s);
  sm_text_add(out, "<details><summary>The resolved recipe</summary>\n<pre>");
  sm_html_text(out, c->recipe);
  sm_text_add(out, "</pre>\n</details>\n");
  sm_text_free(&summary);
  sm_arena_free(arena);
  return status;
}

/* ---- the page ------------------------------------------------------------------------------------------ */

static sm_status card_build(sm_text *out, const sm_card *c, sm_error *err) {
  sm_html_begin(out, c->title, "smalti card", c->subtitle);
  sm_text_add(out, "<dl class=\"tiles\">\n");
  for (int i = 0; i < c->tiles; i++)
    sm_page_tile(out, c->tile[i].name, c->tile[i].value, c->tile[i].note ? c->tile[i].note : "");
  sm_text_add(out, "</dl>\n");
  sm_page_heading(out, "The network");
  card_pairs(out, c->fact, c->facts);
  sm_status status = card_evaluations(out, c);
  card_pictures(out, c);
  if (c->missings) {
    sm_page_heading(out, "Not measured");
    card_pairs(out, c->missing, c->missings);
  }
  if (!status) status = card_recipe(out, c, err);
  sm_html_end(out);
  return status ? status : out->failed ? SM_ENOMEM : SM_OK;
}

sm_status sm_card_write(const sm_card *c, const char *path, sm_error *err) {
  sm_error own = {0};
  sm_text html = {0};
  if (!err) err = &own;
  sm_error_clear(err);
  sm_status status = card_build(&html, c, err);
  if (!status) status = sm_file_put(path, html.s, html.len, err);
  else if (!err->code) sm_fail(err, status, "no memory for the card");
  sm_text_free(&html);
  return status;
}

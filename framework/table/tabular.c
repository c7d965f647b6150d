/* tabular.c — the table as people read it: label, marks, figures beside the published ones, costs. Files and
 * the page render it. */
#include <math.h>

#include "results.h"

static const char DASH[] = "–";

static void tabular_add_columns(const sm_table_results *r, sm_tabular *t) {
  const sm_table_recipe *recipe = r->jobs->recipe;
  sm_tabular_column(t, "row", SM_ALIGN_LEFT);
  for (int i = 0; i < recipe->marks; i++) sm_tabular_column(t, recipe->mark[i], SM_ALIGN_CENTRE);
  for (int f = 0; f < recipe->figures; f++) {
    sm_tabular_column(t, recipe->figure[f].title, SM_ALIGN_RIGHT);
    if (sm_table_published(r, f)) sm_tabular_column(t, "published", SM_ALIGN_RIGHT);
  }
  sm_tabular_column(t, "images/s", SM_ALIGN_RIGHT);
  sm_tabular_column(t, "hours", SM_ALIGN_RIGHT);
  sm_tabular_column(t, "memory", SM_ALIGN_RIGHT);
}

static void tabular_add_value(const sm_table_results *r, sm_tabular *t, int row, int f) {
  const sm_table_value *v = &r->row[row].value[f];
  if (!isfinite(v->mean)) sm_tabular_cell(t, "%s", DASH);
  else if (isfinite(v->deviation)) sm_tabular_cell(t, "%.1f ± %.1f", v->mean, v->deviation);
  else sm_tabular_cell(t, "%.1f", v->mean);
  if (r->row[row].place[f] == 1) sm_tabular_bold(t);
  if (r->row[row].place[f] == 2) sm_tabular_second(t);
}

static void tabular_add_costs(const sm_table_result *row, sm_tabular *t) {
  char bytes[32];
  if (isfinite(row->images_per_s)) sm_tabular_cell(t, "%.0f", row->images_per_s);
  else sm_tabular_cell(t, "%s", DASH);
  if (isfinite(row->hours)) sm_tabular_cell(t, "%.2f", row->hours);
  else sm_tabular_cell(t, "%s", DASH);
  sm_tabular_cell(t, "%s",
                  isfinite(row->peak_bytes) ? sm_human_bytes(row->peak_bytes, bytes, sizeof bytes) : DASH);
}

sm_tabular *sm_table_tabular(const sm_table_results *r, bool caption) {
  const sm_table_recipe *recipe = r->jobs->recipe;
  sm_tabular *t = sm_tabular_new(caption ? recipe->title : NULL);
  tabular_add_columns(r, t);
  for (int i = 0; i < r->rows; i++) {
    const sm_table_run *run = r->row[i].run;
    sm_tabular_cell(t, "%s", run->label);
    for (int m = 0; m < recipe->marks; m++) sm_tabular_cell(t, "%s", run->mark[m]);
    for (int f = 0; f < recipe->figures; f++) {
      tabular_add_value(r, t, i, f);
      if (!sm_table_published(r, f)) continue;
      if (isfinite(run->published[f])) sm_tabular_cell(t, "%.1f", run->published[f]);
      else sm_tabular_cell(t, "%s", DASH);
    }
    tabular_add_costs(&r->row[i], t);
  }
  sm_text note = {0};
  sm_table_say_figures(r, &note);
  sm_tabular_note(t, note.failed ? NULL : note.s);
  sm_text_free(&note);
  return t;
}

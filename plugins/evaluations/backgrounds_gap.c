/* backgrounds_gap.c — how much accuracy goes when backgrounds are exchanged, by foreground; see
 * backgrounds.h. */
#include "backgrounds.h"

#include <stdlib.h>
#include <string.h>

enum { GAP_DRAWS = 2000 };

static sm_status gap_no_memory(sm_error *err) { return sm_fail(err, SM_ENOMEM, "no memory for foregrounds"); }

/* "…/insect/fg_n1_2_bg_n3_4.JPEG" → "insect/n1_2"; NULL: no memory. */
static char *gap_name(const char *path) {
  const char *file = sm_path_base(path), *folder = file > path ? file - 1 : path;
  while (folder > path && folder[-1] != '/') folder--;
  const char *name = strncmp(file, "fg_", 3) ? file : file + 3,
             *end = name > file ? strstr(name, "_bg_") : NULL;
  if (!end) {
    name = file;
    end = strrchr(name, '.');
    if (!end) end = name + strlen(name);
  }
  sm_text text = {0};
  sm_text_add(&text, "%.*s%.*s", (int)(file - folder), folder, (int)(end - name), name);
  return text.s;
}

sm_status backgrounds_gap_add(backgrounds_gap *g, int set, const char *path, bool right, sm_error *err) {
  if (g->n == g->room) {
    const int64_t room = g->room ? 2 * g->room : 256;
    backgrounds_foreground *more = sm_realloc(g->of, (size_t)room * sizeof *more);
    if (!more) return gap_no_memory(err);
    g->of = more, g->room = room;
  }
  backgrounds_foreground *f = &g->of[g->n];
  *f = (backgrounds_foreground){.name = gap_name(path)};
  if (!f->name) return gap_no_memory(err);
  f->n[set] = 1, f->right[set] = right;
  g->n++;
  return SM_OK;
}

void backgrounds_gap_free(backgrounds_gap *g) {
  for (int64_t i = 0; i < g->n; i++) sm_free(g->of[i].name);
  sm_free(g->of);
  *g = (backgrounds_gap){0};
}

static int gap_by_name(const void *a, const void *b) {
  return strcmp(((const backgrounds_foreground *)a)->name, ((const backgrounds_foreground *)b)->name);
}

/* Pictures of one name become one entry. */
static void gap_merge(backgrounds_gap *g) {
  int64_t kept = 0;
  qsort(g->of, (size_t)g->n, sizeof *g->of, gap_by_name);
  for (int64_t i = 0; i < g->n; i++) {
    if (!kept || strcmp(g->of[kept - 1].name, g->of[i].name) != 0) {
      g->of[kept++] = g->of[i];
      continue;
    }
    for (int s = 0; s < 2; s++) {
      g->of[kept - 1].n[s] += g->of[i].n[s];
      g->of[kept - 1].right[s] += g->of[i].right[s];
    }
    sm_free(g->of[i].name);
  }
  g->n = kept;
}

static void gap_sum(backgrounds_foreground *sum, const backgrounds_foreground *f) {
  for (int s = 0; s < 2; s++) sum->n[s] += f->n[s], sum->right[s] += f->right[s];
}

static double gap_of(const backgrounds_foreground *sum) {
  return 100.0 * (double)sum->right[0] / (double)sum->n[0] -
         100.0 * (double)sum->right[1] / (double)sum->n[1];
}

sm_status backgrounds_gap_figure(backgrounds_gap *g, sm_eval_result *r, int64_t *pairs, sm_error *err) {
  double drawn[GAP_DRAWS];
  int n = 0;
  backgrounds_foreground all = {0};
  sm_rng rng = sm_rng_make(0, SM_RNG_EVAL, 0, 0, 10);
  if (g->n) gap_merge(g);
  *pairs = 0;
  for (int64_t i = 0; i < g->n; i++) {
    gap_sum(&all, &g->of[i]);
    *pairs += g->of[i].n[0] && g->of[i].n[1];
  }
  if (!all.n[0] || !all.n[1]) return sm_fail(err, SM_EINTERNAL, "a gap between sets without pictures");
  for (int d = 0; d < GAP_DRAWS; d++) {
    backgrounds_foreground sum = {0};
    for (int64_t i = 0; i < g->n; i++) gap_sum(&sum, &g->of[sm_rng_below(&rng, (uint32_t)g->n)]);
    if (sum.n[0] && sum.n[1]) drawn[n++] = gap_of(&sum); /* else it drew from one set only */
  }
  if (n) sm_drawn_interval(drawn, (size_t)n, &r->interval[r->n].low, &r->interval[r->n].high);
  r->has_interval[r->n] = n > 0;
  sm_figure_add_in(r, "%", gap_of(&all), "bg_gap");
  return SM_OK;
}

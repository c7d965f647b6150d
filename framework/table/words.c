/* words.c — what a table's marks and gaps are, in words: the same in all its files. */
#include <math.h>

#include "results.h"

/* ---- figures ------------------------------------------------------------------------------------------- */

/* The most seeds that a figure of the row is known for. */
static int words_seeds(const sm_table_result *row, int figures) {
  int most = 0;
  for (int f = 0; f < figures; f++) most = row->value[f].n > most ? row->value[f].n : most;
  return most;
}

void sm_table_say_figures(const sm_table_results *r, sm_text *out) {
  const int figures = r->jobs->recipe->figures;
  int seeds = 0, fewer = 0;
  for (int i = 0; i < r->rows; i++) seeds = r->row[i].jobs > seeds ? r->row[i].jobs : seeds;
  if (seeds > 1) sm_text_add(out, "Figures are means ± sample standard deviations over n = %d seeds", seeds);
  else sm_text_add(out, "One run per row");
  for (int i = 0; i < r->rows; i++) {
    const int n = words_seeds(&r->row[i], figures);
    if (n && n < seeds)
      sm_text_add(out, "%s%s (%d)", fewer++ ? ", " : "; fewer so far of ", r->row[i].run->label, n);
  }
  sm_text_add(
      out,
      ". Bold is the best of a column, underlined the second, each only where its gap to the next row is "
      "larger than the noise%s.",
      seeds > 1 ? "" : " of the test pictures; what another seed would do is not known");
}

/* ---- noise --------------------------------------------------------------------------------------------- */

const char *sm_table_noise_text(const sm_table_gap_noise *g, char *to, size_t size) {
  char seeds[40];
  snprintf(seeds, sizeof seeds, "%d %s", g->seeds, sm_plural(g->seeds, "seed", "seeds"));
  switch (g->noise) {
    case SM_NOISE_PAIRED:
      snprintf(to, size, "%s × %lld pictures, in pairs", seeds, (long long)g->pictures);
      break;
    case SM_NOISE_APART:
      snprintf(to, size, "%s; pictures not in pairs", seeds);
      break;
    case SM_NOISE_SEEDS:
      snprintf(to, size, "%s; of pictures not known", seeds);
      break;
    case SM_NOISE_UNKNOWN:
      snprintf(to, size, "%s", g->seeds ? "one run without an interval" : "no seed in common");
      break;
  }
  return to;
}

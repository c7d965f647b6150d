/* nearest.c — the known word a misspelt one probably means.
 *
 * Optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours cost 1.
 * Letter case and
 * '-' against '_' cost nothing. A word is near if a quarter of its letters, and one more, may be wrong. */
#include <smalti/base.h>

#include <ctype.h>
#include <string.h>

enum { LONGEST = 64 };

static int nearest_fold(char c) { return c == '-' ? '_' : tolower((unsigned char)c); }

static size_t nearest_least(size_t a, size_t b) { return a < b ? a : b; }

static size_t nearest_distance(const char *a, size_t na, const char *b, size_t nb) {
  size_t rows[3][LONGEST + 1];
  size_t *before = rows[0], *last = rows[1], *now = rows[2];
  for (size_t j = 0; j <= nb; j++) last[j] = j;
  for (size_t i = 1; i <= na; i++) {
    now[0] = i;
    for (size_t j = 1; j <= nb; j++) {
      bool same = nearest_fold(a[i - 1]) == nearest_fold(b[j - 1]);
      now[j] = nearest_least(last[j - 1] + !same, nearest_least(last[j], now[j - 1]) + 1);
      if (i > 1 && j > 1 && nearest_fold(a[i - 1]) == nearest_fold(b[j - 2]) &&
          nearest_fold(a[i - 2]) == nearest_fold(b[j - 1]))
        now[j] = nearest_least(now[j], before[j - 2] + 1);
    }
    size_t *row = before;
    before = last, last = now, now = row;
  }
  return last[nb];
}

const char *sm_nearest(const char *word, const char *const *words) {
  size_t n = strlen(word), best = 0;
  const char *found = NULL;
  if (n == 0 || n > LONGEST) return NULL;
  for (; *words; words++) {
    size_t m = strlen(*words);
    if (m == 0 || m > LONGEST) continue;
    size_t d = nearest_distance(word, n, *words, m);
    if (d > 1 + n / 4 || d >= nearest_least(n, m)) continue;
    if (!found || d < best) found = *words, best = d;
  }
  return found;
}

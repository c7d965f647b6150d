/* framework/train/monitor.c — see monitor.h.
 *
 * Collapse has two faces (Caron et al. 2021, section 5.3): without sharpening every teacher output becomes
 * uniform, entropy ln K and a loss that stays at ln K; without centering one token takes all, entropy 0 and a
 * loss near 0. */
#include "monitor.h"

#include <math.h>
#include <string.h>

#define PATIENCE 5    /* records in a row */
#define UNIFORM 0.995 /* share of ln K */
#define ONE_TOKEN 0.02
#define OUTLIER 6.0  /* deviations of ln(gradient norm) */
#define MEMORY 128.0 /* records the mean and variance look back */

/* ZEROS takes the place of a last loss that no recipe has; with 16 losses it is not looked for. */
enum { ZEROS = SM_SLOTS_MAX - 1, GRADS, GRAD_MEAN, GRAD_VARIANCE };

static double monitor_find(const sm_metric *m, int n, const char *prefix, const char *name) {
  char text[64];
  snprintf(text, sizeof text, "%s%s", prefix, name);
  for (int i = 0; i < n; i++)
    if (!strcmp(m[i].name, text)) return m[i].value;
  return NAN;
}

static bool monitor_collapse(double *seen, const sm_metric *m, int n, const char *name, double k,
                             char *warning) {
  double log_k = log(k), teacher = monitor_find(m, n, "teacher_entropy.", name),
         student = monitor_find(m, n, "student_entropy.", name);
  if (!(k > 1) || isnan(teacher) || isnan(student)) return false;
  bool uniform = teacher > UNIFORM * log_k && student > UNIFORM * log_k;
  bool one = teacher < ONE_TOKEN * log_k && student < ONE_TOKEN * log_k;
  *seen = uniform || one ? *seen + 1 : 0;
  if (*seen != PATIENCE) return false;
  if (uniform)
    snprintf(warning, SM_MONITOR_TEXT,
             "collapsed: uniform: loss '%s' sits at ln %.0f = %.4f (teacher entropy %.4f); lower the "
             "teacher's temperature, "
             "or its EMA momentum",
             name, k, log_k, teacher);
  else
    snprintf(warning, SM_MONITOR_TEXT,
             "collapsed: one token: loss '%s' has teacher entropy %.4f of ln %.0f = %.4f; turn centering on "
             "or lower its "
             "momentum, or raise the teacher's temperature",
             name, teacher, k, log_k);
  return true;
}

static bool monitor_gradient_outlier(double *s, const sm_metric *m, int n, char *warning) {
  double norm = monitor_find(m, n, "grad_norm", "");
  if (!(norm > 0) || !isfinite(norm)) return false;
  double x = log(norm), deviation = sqrt(s[GRAD_VARIANCE] > 1e-4 ? s[GRAD_VARIANCE] : 1e-4),
         z = (x - s[GRAD_MEAN]) / deviation;
  bool outlier = s[GRADS] >= 16 && z > OUTLIER;
  s[GRADS] += s[GRADS] < MEMORY;
  double weight = 1 / s[GRADS], away = x - s[GRAD_MEAN];
  if (outlier)
    snprintf(warning, SM_MONITOR_TEXT, "gradient norm %.4g is %.1f deviations above its usual %.4g", norm, z,
             exp(s[GRAD_MEAN]));
  s[GRAD_MEAN] += weight * away;
  s[GRAD_VARIANCE] = (1 - weight) * (s[GRAD_VARIANCE] + weight * away * away);
  return outlier;
}

/* Exactly 0, not small: no loss has anything to say. */
static bool monitor_no_gradient(double *seen, const sm_metric *m, int n, char *warning) {
  double norm = monitor_find(m, n, "grad_norm", "");
  if (isnan(norm)) return false;
  *seen = norm == 0 ? *seen + 1 : 0;
  if (*seen != PATIENCE) return false;
  snprintf(
      warning, SM_MONITOR_TEXT,
      "nothing is learned: the gradient was exactly 0 in %d records in a row; are patches hidden, do the losses have weights, and do the views differ?",
      PATIENCE);
  return true;
}

int sm_monitor(double monitor[SM_MONITOR_VALUES], const sm_metric *metric, int metrics,
               const char *const *names, const double *dim, int losses,
               char warning[SM_MONITOR_WARNINGS][SM_MONITOR_TEXT]) {
  int n = monitor_gradient_outlier(monitor, metric, metrics, warning[0]);
  if (losses <= ZEROS) n += monitor_no_gradient(&monitor[ZEROS], metric, metrics, warning[n]);
  for (int i = 0; i < losses; i++)
    n += monitor_collapse(&monitor[i], metric, metrics, names[i], dim[i], warning[n]);
  return n;
}

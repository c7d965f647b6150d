/* figures.c — which curves are drawn together, under which title, in which order. What no row takes goes
 * under "more". */
#include <string.h>

#include "run.h"

#define KEYS(...) \
  (const char *const[]) { __VA_ARGS__, NULL }

const sm_curve_group sm_figures[] = {
    {"Loss", NULL, KEYS("loss"), "metrics", false, 1},
    {"k-NN accuracy, top-1", "%", KEYS("knn top1"), "evals", false, 1},
    {"Entropy", "nats", KEYS("teacher_entropy", "student_entropy"), "metrics", false, 1},
    {"Norm of the centre", NULL, KEYS("norm"), "metrics", false, 1},
    {"Teacher and student agree", "share of tokens", KEYS("agreement"), "metrics", false, 1},
    {"Gradient norm", NULL, KEYS("grad_norm"), "metrics", true, 1},
    {"Learning rate", NULL, KEYS("lr"), "metrics", false, 1},
    {"Weight decay", NULL, KEYS("weight_decay"), "metrics", false, 1},
    {"Momentum of the teacher", NULL, KEYS("momentum"), "metrics", false, 1},
    {"Temperature of the teacher", NULL, KEYS("temperature"), "metrics", false, 1},
    {"Speed", "pictures/s", KEYS("images_per_s"), "timing", false, 1},
    {"Memory", "MiB", KEYS("rss"), "timing", false, 1048576},
    {"Waiting for pictures", "s", KEYS("loader_wait"), "timing", false, 1},
};
const size_t sm_nfigures = sizeof sm_figures / sizeof *sm_figures;

bool sm_figure_takes(const sm_curve_group *f, const char *curve) {
  for (const char *const *key = f->keys; *key; key++) {
    size_t n = strlen(*key);
    if (!strncmp(curve, *key, n) && (!curve[n] || curve[n] == '.' || curve[n] == ',')) return true;
  }
  return false;
}

const char *sm_figure_short(const sm_curve_group *f, const char *curve) {
  size_t family = strcspn(curve, ".,");
  if (!strcmp(curve, "loss")) return "total";
  if (f->keys[1] || !curve[family]) return curve;
  return curve + family + (curve[family] == ',' ? 2 : 1);
}

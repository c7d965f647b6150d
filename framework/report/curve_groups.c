/* curve_groups.c — which curves are drawn together, under which title, in which order. What no row takes goes
 * under "more". */
#include <string.h>

#include "run.h"

#define KEYS(...) \
  (const char *const[]) { __VA_ARGS__, NULL }

const sm_curve_group sm_curve_groups[] = {
    {"Loss", NULL, KEYS("loss"), "metrics", false, 1, 0},
    {"k-NN accuracy, top-1", "%", KEYS("knn top1"), "evals", false, 1, 5},
    {"Entropy", "nats", KEYS("teacher_entropy", "student_entropy"), "metrics", false, 1, 0},
    {"Norm of the centre", NULL, KEYS("norm"), "metrics", false, 1, 0},
    {"Teacher and student agree", "share of tokens", KEYS("agreement"), "metrics", false, 1, 0},
    {"Gradient norm", NULL, KEYS("grad_norm"), "metrics", true, 1, 0},
    {"Learning rate", NULL, KEYS("lr"), "metrics", false, 1, 0},
    {"Weight decay", NULL, KEYS("weight_decay"), "metrics", false, 1, 0},
    {"Momentum of the teacher", NULL, KEYS("momentum"), "metrics", false, 1, 0},
    {"Temperature", NULL, KEYS("temperature"), "metrics", false, 1, 0},
    {"Speed", "pictures/s", KEYS("images_per_s"), "timing", false, 1, 0},
    {"Memory", "MiB", KEYS("rss"), "timing", false, 1048576, 0},
    {"Waiting for pictures", "s", KEYS("loader_wait"), "timing", false, 1, 0},
};
const size_t sm_ncurve_groups = sizeof sm_curve_groups / sizeof *sm_curve_groups;

bool sm_curve_is(const sm_curve *curve, const char *kind) {
  size_t n = strlen(kind);
  return !strncmp(curve->kind, kind, n) && (!curve->kind[n] || curve->kind[n] == '.');
}

bool sm_curve_group_takes(const sm_curve_group *g, const sm_curve *curve) {
  bool takes = false;
  for (const char *const *key = g->keys; *key; key++) takes = takes || sm_curve_is(curve, *key);
  return takes;
}

const char *sm_curve_group_short(const sm_curve_group *g, const sm_curve *curve) {
  const char *rest = strchr(curve->name, '.');
  if (!strcmp(curve->name, "loss")) return "total";
  return g->keys[1] || !rest || strcmp(curve->name, curve->kind) != 0 ? curve->name : rest + 1;
}

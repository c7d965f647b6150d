/* check_objective.c — objectives: a step on a few made-up pictures, its gradient, the figures it reports, and
 * what it shows. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver.h"

#define PICTURES 3
#define MOST_NAMES 64

enum { TRAINED, KEPT }; /* parameter sets */

typedef struct objective_trial {
  const sm_objective_ops *ops;
  void *self;
  sm_objective_spec spec;
  sm_tensor *pictures, *key, *shown;
  int height, width;
  /* what was reported */
  sm_checker *checker;
  char name[MOST_NAMES][56];
  int names;
  bool wrong;
} objective_trial;

static bool check_objective_declare(sm_trial *t) {
  const objective_trial *o = t->ctx;
  sm_set *trained = sm_trial_set(t, TRAINED, "objective", true),
         *kept = sm_trial_set(t, KEPT, "state", false);
  if (trained && kept) o->ops->declare(o->self, &(sm_params){trained, ""}, &(sm_params){kept, ""});
  return trained && kept;
}

static sm_objective_env check_objective_env_of(const sm_trial *t, sm_tensor *pictures) {
  const objective_trial *o = t->ctx;
  return (sm_objective_env){.params = {t->set[TRAINED], ""},
                            .state = {t->set[KEPT], ""},
                            .pictures = pictures,
                            .height = o->height,
                            .width = o->width,
                            .step_pictures = 2 * PICTURES};
}

static void check_objective_build(sm_trial *t) {
  objective_trial *o = t->ctx;
  const int64_t words = 3;
  o->pictures = sm_input_real(t->graph, "pictures", 4, (int64_t[]){PICTURES, 3, o->height, o->width},
                              sm_count(t->graph, "count", PICTURES));
  o->key = sm_input(t->graph, "key", SM_I32, 1, &words, NULL);
  sm_objective_env env = check_objective_env_of(t, o->pictures);
  env.key = o->key;
  sm_tensor *loss = o->ops->build(o->self, t->graph, &env);
  if (loss) sm_trial_term(t, loss);
  else sm_graph_fail(t->graph, "build gives no loss tensor");
}

/* Pictures of [0, 1], normalised as the objective or ImageNet's statistics say. */
static void check_objective_fill_pictures(const objective_trial *o, sm_tensor *t) {
  sm_rng rng = sm_rng_make(7, SM_RNG_TEST, 0, 0, 0);
  const int64_t area = (int64_t)o->height * o->width;
  for (int64_t i = 0; i < sm_elements(t); i++) {
    int c = (int)(i / area % 3);
    double mean = o->spec.normalises ? (double)o->spec.mean[c] : 0.45,
           std = o->spec.normalises ? (double)o->spec.std[c] : 0.25;
    sm_write_f64(t, i, 1, &(double){(sm_rng_uniform(&rng) - mean) / std});
  }
}

static void check_objective_fill(sm_trial *t) {
  objective_trial *o = t->ctx;
  const sm_time time = {.step = 3, .steps_per_epoch = 10, .epochs = 5};
  check_objective_fill_pictures(o, o->pictures);
  sm_write_i32(o->key, 0, 3, (int32_t[]){154, 77, 0});
  if (o->ops->prepare) o->ops->prepare(o->self, &time);
}

/* ---- figures ------------------------------------------------------------------------------------------- */

static void check_objective_put(sm_measures *m, const char *name, double value, bool mean) {
  objective_trial *o = m->core;
  (void)mean;
  bool again = false;
  if (!sm_check_that(o->checker, name && name[0] && !strpbrk(name, " \t\n"), NULL,
                     "report: a figure is called '%s'; a name is one word", name ? name : "(NULL)")) {
    o->wrong = true;
    return;
  }
  for (int i = 0; i < o->names; i++) again = again || !strcmp(o->name[i], name);
  o->wrong = !sm_check_that(o->checker, isfinite(value), NULL, "report: %s is %g", name, value) ||
             !sm_check_that(o->checker, !again && strcmp(name, "loss") != 0, NULL,
                            "report: '%s' is there already", name) ||
             !sm_check_that(o->checker, strlen(name) < sizeof o->name[0] && o->names < MOST_NAMES, NULL,
                            "report: too many figures, or a name of more than %zu bytes: '%.80s'",
                            sizeof o->name[0] - 1, name) ||
             o->wrong;
  if (!o->wrong) snprintf(o->name[o->names++], sizeof o->name[0], "%s", name);
}

static bool check_figures(sm_checker *c, const sm_trial_plan *plan) {
  objective_trial *o = plan->ctx;
  sm_trial t;
  if (!sm_trial_open(&t, c, plan, c->two)) return false;
  double loss = sm_trial_run(&t);
  bool ok = sm_check_that(c, isfinite(loss), NULL, "the loss is %g", loss);
  if (o->ops->measure) {
    o->ops->measure(o->self, PICTURES, true);
    o->ops->measure(o->self, PICTURES, false);
  }
  sm_measures measures = {.core = o, .put = check_objective_put};
  o->checker = c, o->names = 0, o->wrong = false;
  if (ok && o->ops->report) o->ops->report(o->self, &measures);
  ok = ok && !o->wrong;
  if (ok) sm_check_good(c, "%d %s", o->names, sm_plural(o->names, "figure", "figures"));
  sm_trial_close(&t);
  return ok;
}

/* ---- showing ------------------------------------------------------------------------------------------- */

static void check_objective_build_both(sm_trial *t) {
  objective_trial *o = t->ctx;
  check_objective_build(t);
  sm_pass_end(t->graph);
  o->shown = sm_input_real(t->graph, "shown", 4, (int64_t[]){PICTURES, 3, o->height, o->width},
                           sm_count(t->graph, "shown count", PICTURES));
  const sm_objective_env env = check_objective_env_of(t, o->shown);
  o->ops->build_show(o->self, t->graph, &env);
  sm_pass_begin(t->graph, "rest"); /* the trial ends the pass it began */
}

static void check_show(sm_checker *c, objective_trial *o, const char *name) {
  const sm_trial_plan plan = {.name = name,
                              .declare = check_objective_declare,
                              .build = check_objective_build_both,
                              .fill = check_objective_fill,
                              .no_gradient = true,
                              .ctx = o};
  char folder[] = "/tmp/smalti-check-XXXXXX";
  sm_trial t;
  sm_error err = {0};
  if (!sm_trial_open(&t, c, &plan, c->two)) return;
  if (mkdtemp(folder)) {
    check_objective_fill_pictures(o, o->shown);
    sm_show show = {.graph = t.graph, .folder = folder, .pictures = PICTURES};
    if (o->ops->show(o->self, &show, &err) != SM_OK) sm_check_error(c, "show", &err);
    else sm_check_good(c, "shows pictures");
    show.folder = "/nonexistent";
    sm_error_clear(&err);
    sm_check_that(c, o->ops->show(o->self, &show, &err) != SM_OK && err.message[0], NULL,
                  "show: a folder that is not there gives no error");
    sm_remove_tree(folder, NULL);
  }
  sm_trial_close(&t);
}

void sm_check_objective(sm_checker *c, sm_instance *instance) {
  static const int sides[] = {8, 16, 32, 128, 224};
  sm_error err = {0};
  objective_trial o = {.ops = instance->plugin->ops, .self = instance->self};
  char name[32];
  for (size_t i = 0; i < sizeof sides / sizeof *sides && !o.height; i++) {
    sm_error_clear(&err);
    if (sm_objective_ask(o.ops, o.self, sides[i], sides[i], &o.spec, &err) == SM_OK)
      o.height = o.width = sides[i];
  }
  if (!o.height) {
    sm_check_error(c, "spec", &err);
    return;
  }
  if (!sm_check_that(c, !o.ops->build_show == !o.ops->show, NULL, "build_show and show: both or neither"))
    return;
  snprintf(name, sizeof name, "%d px", o.height);
  const sm_trial_plan plan = {.name = name,
                              .declare = check_objective_declare,
                              .build = check_objective_build,
                              .fill = check_objective_fill,
                              .ctx = &o};
  if (!sm_trial_check(c, &plan)) return;
  /* The rest with oblong views, where it takes them. */
  if (sm_objective_ask(o.ops, o.self, o.height, 2 * o.height, &o.spec, &err) == SM_OK) o.width = 2 * o.height;
  if (check_figures(c, &plan) && o.ops->show) check_show(c, &o, name);
}

/* check_evaluation.c — evaluations: run on a tiny network and generated pictures of four classes, twice and
 * with other numbers of threads, and where a signal asks for a stop. Options that the evaluation refuses with a
 * reason are noted, but for the defaults; so is one that needs what these pictures have not, such as clips (SM_EUNSUPPORTED).
 *
 * The network is a ViT with a head, the pictures are those of the dataset `shapes`, each with an object in its middle:
 * as a run would have them. */
#include <math.h>
#include <string.h>

#include "driver.h"
#include "framework/eval/eval.h"

enum {
  SIDE = 16,
  DIM = 16,
  OUTPUTS = 12,
  TRAIN = 24,
  TEST = 12,
  MOST = 2500, MOST_OF_VARIANT = 100 /* questions whether to go on: what asks oftener is too large to run here */
};

typedef struct made_up {
  sm_checker *c;
  sm_arena *arena;
  sm_instance vit, head, train, test;
  sm_network *network;
  sm_dataset_ops pictures; /* of `shapes`, with objects */
} made_up;

static int check_categories(const void *self) {
  (void)self;
  return 1;
}
static const char *check_category_name(const void *self, int c) {
  (void)self, (void)c;
  return "thing";
}
static sm_status check_objects_get(const void *self, int64_t index, const sm_object **objects, int64_t *n,
                                   sm_error *err) {
  static const sm_object middle = {.x = SIDE / 4,
                                   .y = SIDE / 4,
                                   .width = SIDE / 2,
                                   .height = SIDE / 2,
                                   .area = SIDE * SIDE / 4,
                                   .id = 1};
  (void)self, (void)index, (void)err;
  *objects = &middle;
  *n = 1;
  return SM_OK;
}
static const sm_object_ops check_objects = {
    .categories = check_categories, .category_name = check_category_name, .get = check_objects_get};

static int asked, most;
static bool check_evaluation_stop_late(void) {
  sm_watch_sign();
  return ++asked > most;
}
static bool check_evaluation_stop_at_once(void) { return true; }

static sm_status check_evaluation_make(made_up *m, sm_kind kind, const char *name, const char *yaml,
                                       sm_instance *to, sm_error *err) {
  sm_registry *registry = (sm_registry *)m->c->config->host;
  const sm_plugin *p = sm_registry_find(registry, kind, name, err);
  sm_status status = p ? sm_instance_new(registry, p, to, err) : err->code;
  if (!status) status = sm_options_fill(p, yaml, to->self, m->arena, err);
  return status ? status : sm_instance_create(to, err);
}

static sm_status check_evaluation_make_network(made_up *m, sm_error *err) {
  static const char vit[] = "{arch: custom, dim: 16, depth: 2, heads: 2, patch_size: 4}",
                    head[] = "{out_dim: 12, hidden: 20, bottleneck: 8}";
  sm_status status = check_evaluation_make(m, SM_BACKBONE, "vit", vit, &m->vit, err);
  if (!status) status = check_evaluation_make(m, SM_HEAD, "projection", head, &m->head, err);
  if (status) return status;
  const sm_network_parts parts = {.name = "vit",
                                  .backbone = m->vit.plugin->ops,
                                  .self = m->vit.self,
                                  .head = {.ops = m->head.plugin->ops,
                                           .self = m->head.self,
                                           .role = SM_ROLE_STUDENT,
                                           .dim = DIM,
                                           .view_dim = OUTPUTS},
                                  .height = SIDE,
                                  .width = SIDE,
                                  .mean = {0.5f, 0.5f, 0.5f},
                                  .std = {0.25f, 0.25f, 0.25f},
                                  .net = SM_NET_STUDENT};
  status = sm_network_wrap(&parts, &m->network, err);
  return status ? status : sm_network_allocate(m->network, err);
}

static sm_status check_evaluation_make_pictures(made_up *m, const char *split, int count, sm_instance *to,
                                                sm_error *err) {
  char yaml[96];
  snprintf(yaml, sizeof yaml, "{count: %d, size: %d, classes: 4, split: %s}", count, SIDE, split);
  sm_status status = check_evaluation_make(m, SM_DATASET, "shapes", yaml, to, err);
  return status ? status : ((const sm_dataset_ops *)to->plugin->ops)->open(to->self, err);
}

static sm_status check_evaluation_make_up(made_up *m, sm_error *err) {
  if (!(m->arena = sm_arena_new("check"))) return sm_fail(err, SM_ENOMEM, "out of memory");
  sm_status status = check_evaluation_make_network(m, err);
  if (!status) status = check_evaluation_make_pictures(m, "train", TRAIN, &m->train, err);
  if (!status) status = check_evaluation_make_pictures(m, "test", TEST, &m->test, err);
  if (status) return status;
  m->pictures = *(const sm_dataset_ops *)m->train.plugin->ops;
  m->pictures.objects = &check_objects;
  return SM_OK;
}

static void check_evaluation_release(made_up *m) {
  sm_instance *made[] = {&m->vit, &m->head, &m->train, &m->test};
  sm_network_close(m->network);
  for (size_t i = 0; i < sizeof made / sizeof *made; i++)
    if (made[i]->plugin) sm_instance_free(made[i]);
  sm_arena_free(m->arena);
}

static sm_status check_evaluation_run(const made_up *m, sm_instance *instance, sm_pool *pool,
                                      bool (*stop)(void), sm_eval_result *result, sm_error *err) {
  sm_evaluator *evaluator;
  sm_evaluator_config c = sm_evaluator_config_of(m->network, pool);
  c.train = (sm_dataset){&m->pictures, m->train.self};
  c.test = (sm_dataset){&m->pictures, m->test.self};
  c.stop = stop;
  memset(result, 0, sizeof *result);
  asked = 0;
  sm_evaluator_want(&c, instance->plugin->ops, instance->self);
  sm_status status = sm_evaluator_new(&c, &evaluator, err);
  if (status) return status;
  status = sm_evaluator_run(evaluator, instance->plugin->ops, instance->self,
                            &(sm_blamed){.plugin = instance->plugin}, result, err);
  sm_evaluator_free(evaluator);
  return status;
}

static bool check_result(sm_checker *c, const sm_eval_result *r) {
  if (!sm_check_that(c, r->n >= 1 && r->n <= SM_FIGURES_MAX, NULL, "it gives %d figures, not 1 to %d", r->n,
                     SM_FIGURES_MAX) ||
      !sm_check_that(c, memchr(r->protocol, 0, sizeof r->protocol) && r->protocol[0], NULL,
                     "it does not state its protocol"))
    return false;
  for (int k = 0; k < r->n; k++) {
    if (!sm_check_that(c, memchr(r->figure[k].name, 0, sizeof r->figure[k].name) && r->figure[k].name[0],
                       NULL, "figure %d has no name", k) ||
        !sm_check_that(c, isfinite(r->figure[k].value), NULL, "figure '%s' is %g", r->figure[k].name,
                       r->figure[k].value))
      return false;
    if (!sm_check_that(c, memchr(r->figure[k].unit, 0, sizeof r->figure[k].unit) != NULL, NULL,
                       "the unit of figure '%s' has no end", r->figure[k].name))
      return false;
    for (int j = 0; j < k; j++)
      if (!sm_check_that(c, strcmp(r->figure[j].name, r->figure[k].name) != 0, NULL,
                         "two figures are called '%s'", r->figure[k].name))
        return false;
  }
  return true;
}

/* What it gives must be among what `figures` says, or tables refuse columns that they could have. */
static void check_evaluation_declared(sm_checker *c, const sm_instance *instance, const sm_eval_result *r) {
  const sm_evaluation_ops *ops = instance->plugin->ops;
  sm_text declared = {0};
  bool all = true;
  if (!ops->figures) return;
  ops->figures(instance->self, &declared);
  for (int k = 0; k < r->n && all; k++)
    all = sm_check_that(c, declared.s && sm_figures_name(declared.s, r->figure[k].name), NULL,
                        "run gives the figure '%s', which figures does not name", r->figure[k].name);
  sm_text_free(&declared);
  if (all) sm_check_good(c, "figures names all that run gives");
}

static bool check_evaluation_same_figures(const sm_eval_result *a, const sm_eval_result *b) {
  bool same = a->n == b->n;
  for (int k = 0; same && k < a->n; k++)
    same = memcmp(&a->figure[k].value, &b->figure[k].value, sizeof(double)) == 0;
  return same;
}

static void check_runs(sm_checker *c, const made_up *m, sm_instance *instance) {
  sm_eval_result result[2];
  sm_error err = {0};
  most = c->thorough ? MOST : MOST_OF_VARIANT;
  for (int k = 0; k < 2; k++) {
    sm_status status =
        check_evaluation_run(m, instance, k ? c->one : c->two, check_evaluation_stop_late, &result[k], &err);
    if (status == SM_EINTERRUPTED && asked > most) {
      sm_check_note(c, "too large to run here");
      return;
    }
    if (status == SM_EINVAL && !c->thorough) {
      sm_check_note(c, "refused: %s", err.message);
      return;
    }
    if (status == SM_EUNSUPPORTED) {
      sm_check_note(c, "not run: generated pictures lack what it needs: %s", err.message);
      return;
    }
    if (status) {
      sm_check_error(c, "run", &err);
      return;
    }
  }
  if (check_result(c, &result[0])) {
    const sm_figure *first = &result[0].figure[0];
    sm_check_good(c, "%d %s (%s %.4g%s%s)", result[0].n, sm_plural(result[0].n, "figure", "figures"),
                  first->name, first->value, first->unit[0] ? " " : "", first->unit);
    sm_check_that(c, check_evaluation_same_figures(&result[0], &result[1]),
                  "the same again and on one thread", "another run, on one thread, gives other figures");
    check_evaluation_declared(c, instance, &result[0]);
  }
  sm_error_clear(&err);
  sm_check_that(
      c, check_evaluation_run(m, instance, c->two, check_evaluation_stop_at_once, &result[0], &err) != SM_OK,
      NULL, "features or going_on fail (a signal asks for a stop), but run says it went well");
}

void sm_check_evaluation(sm_checker *c, sm_instance *instance) {
  made_up m = {.c = c};
  sm_error err = {0};
  if (check_evaluation_make_up(&m, &err) == SM_OK) check_runs(c, &m, instance);
  else sm_check_note(c, "there is no network or no picture to evaluate: %s", err.message);
  check_evaluation_release(&m);
}

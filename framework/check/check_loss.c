/* check_loss.c — losses: every kind of target they accept, global and local views, gradients, batches without
 * rows. */
#include <math.h>
#include <string.h>

#include "driver.h"

#define PICTURES 3
#define GLOBALS 2
#define LOCALS 2
#define CLASSES 7
#define TOKENS 5 /* [CLS] and four patches */
#define VIEWS (PICTURES * GLOBALS)
#define SPARE 16 /* pairs beyond what max_pairs promises, to see whether the promise holds */

/* Masked patches of each view; some views have none. */
static const int32_t masked[VIEWS] = {2, 0, 3, 1, 0, 1};

typedef struct loss_trial {
  const sm_loss_ops *ops;
  void *self;
  sm_loss_spec spec;
  sm_form form;
  bool local, empty;
  int64_t predictions, targets, promised;
  sm_rows *rows, *target_rows;
  sm_pairs *pairs;
  sm_target target;
  sm_tensor *stats;
} loss_trial;

static bool declare(sm_trial *t) {
  sm_set *set = sm_trial_set(t, 0, "predictions", true);
  if (set)
    sm_declare(&(sm_params){set, ""}, "tokens", SM_INIT_NORMAL, 1, 0, 3, (int64_t[]){VIEWS, TOKENS, CLASSES});
  return set != NULL;
}

static sm_pair_request request_of(const loss_trial *l) {
  static const int32_t none[VIEWS];
  int64_t step = 0;
  for (int k = 0; k < VIEWS; k++) step += l->empty ? 0 : masked[k];
  return (sm_pair_request){.site = l->spec.site,
                           .local = l->local,
                           .pictures = l->empty && l->spec.site == SM_SITE_VIEW ? 0 : PICTURES,
                           .step_pictures = 2 * PICTURES,
                           .globals = GLOBALS,
                           .locals = LOCALS,
                           .masked = l->empty ? none : masked,
                           .step_masked = 2 * step,
                           .out = l->pairs,
                           .views = GLOBALS + (l->local ? LOCALS : 0)};
}

static void make_target(sm_graph *g, loss_trial *l) {
  int64_t table[] = {l->targets, CLASSES}, classes = CLASSES;
  l->target = (sm_target){.form = l->form, .dim = CLASSES, .rows = l->target_rows};
  if (l->form == SM_TARGET_DISTRIBUTION) {
    l->target.logits = sm_input_real(g, "target.logits", 2, table, l->target_rows->count);
    l->target.shift = sm_input_real(g, "target.shift", 1, &classes, NULL);
    l->target.scale = sm_scalar(g, "target.scale", 2);
  } else if (l->form == SM_TARGET_IDS) {
    l->target.ids = sm_input(g, "target.ids", SM_I32, 1, table, l->target_rows->count);
  } else {
    l->target.vectors = sm_input_real(g, "target.vectors", 2, table, l->target_rows->count);
  }
}

static void build(sm_trial *t) {
  loss_trial *l = t->ctx;
  sm_graph *g = t->graph;
  bool patch = l->spec.site == SM_SITE_PATCH;
  l->predictions = l->targets = patch ? VIEWS * (TOKENS - 1) : VIEWS;
  l->rows = sm_rows_new(g, "predictions", l->predictions, VIEWS, TOKENS, NULL);
  l->target_rows = sm_rows_new(g, "targets", l->targets, VIEWS, TOKENS, NULL);
  make_target(g, l);
  sm_pair_request r = request_of(l);
  l->promised = l->ops->max_pairs ? l->ops->max_pairs(l->self, &r, l->predictions) : l->predictions;
  l->pairs = sm_pairs_new(g, "pairs", l->promised + SPARE, l->predictions);
  sm_prediction p = {.site = l->spec.site, .local = l->local};
  p.logits = sm_gather(g, sm_param(g, &(sm_params){t->set[0], ""}, "tokens"), l->rows);
  l->stats = NULL;
  sm_tensor *loss = l->ops->build(l->self, g, &p, &l->target, l->pairs, &l->stats);
  if (!loss) {
    sm_graph_fail(g, "build gives no loss tensor");
    return;
  }
  sm_trial_term(t, loss);
  if (l->stats) sm_keep(g, l->stats);
}

static void fill(sm_trial *t) {
  loss_trial *l = t->ctx;
  int32_t token[VIEWS * TOKENS];
  int64_t n = 0;
  const sm_time time = {.step = 3, .steps_per_epoch = 10, .epochs = 5};
  for (int v = 0; v < VIEWS && !l->empty; v++) {
    if (l->spec.site == SM_SITE_VIEW) token[n++] = v * TOKENS;
    for (int k = 0; l->spec.site == SM_SITE_PATCH && k < masked[v]; k++) token[n++] = v * TOKENS + 1 + k;
  }
  sm_rows_set(l->rows, token, n);
  sm_rows_set(l->target_rows, token, n);
  if (l->target.logits) {
    sm_fill_normal(l->target.logits, 31, 1);
    sm_fill_normal(l->target.shift, 32, 0.3);
  }
  if (l->target.vectors) sm_fill_normal(l->target.vectors, 33, 1);
  if (l->target.ids)
    for (int64_t k = 0; k < l->targets; k++) sm_fill(l->target.ids, k, 1, (double)(k * 3 % CLASSES));
  sm_pair_request r = request_of(l);
  sm_pairs_begin(l->pairs);
  l->ops->pairs(l->self, &r);
  sm_pairs_end(l->pairs);
  if (l->ops->prepare) l->ops->prepare(l->self, &time);
}

/* Pairs: no more than promised, existing targets, finite weights. The loss: finite. No rows: nothing. */
static bool check_pairs(sm_checker *c, const sm_trial_plan *plan) {
  sm_trial t;
  loss_trial *l = plan->ctx;
  if (!sm_trial_open(&t, c, plan, c->two)) return false;
  bool targets = true, weights = true;
  for (int64_t k = 0; k < l->pairs->filled; k++) {
    double target = sm_get(l->pairs->target, k);
    targets = targets && target >= 0 && target < (double)sm_items(l->target_rows->token);
    weights = weights && isfinite(sm_get(l->pairs->weight, k));
  }
  double loss = sm_trial_run(&t);
  bool ok = sm_check_that(c, l->pairs->filled <= l->promised, NULL, "%s: %lld pairs, max_pairs promises %lld",
                          plan->name, (long long)l->pairs->filled, (long long)l->promised) &&
            sm_check_that(c, targets, NULL, "%s: a pair's target row does not exist", plan->name) &&
            sm_check_that(c, weights, NULL, "%s: a pair's weight is not finite", plan->name) &&
            sm_check_that(c, isfinite(loss), NULL, "%s: the loss is %g", plan->name, loss);
  if (ok && l->empty)
    ok = sm_check_that(c, l->pairs->filled == 0 && loss == 0, NULL,
                       "%s: %lld pairs and a loss of %g without any rows", plan->name,
                       (long long)l->pairs->filled, loss);
  sm_trial_close(&t);
  return ok;
}

static void check_form(sm_checker *c, loss_trial *l) {
  static const char *const forms[] = {
      [SM_TARGET_DISTRIBUTION] = "distributions", [SM_TARGET_IDS] = "ids", [SM_TARGET_VECTORS] = "vectors"};
  char name[64];
  snprintf(name, sizeof name, "%s%s", forms[l->form], l->local ? ", local views" : "");
  const sm_trial_plan plan = {name, declare, build, fill, false, l};
  l->empty = false;
  if (!check_pairs(c, &plan) || !sm_trial_check(c, &plan)) return;
  l->empty = true;
  check_pairs(c, &plan);
}

void sm_check_loss(sm_checker *c, sm_instance *instance) {
  sm_error err = {0};
  loss_trial l = {
      .ops = instance->plugin->ops, .self = instance->self, .spec = {0}};
  if (l.ops->spec(l.self, &l.spec, &err) != SM_OK) {
    sm_check_error(c, "spec", &err);
    return;
  }
  unsigned known = SM_TARGET_DISTRIBUTION | SM_TARGET_IDS | SM_TARGET_VECTORS;
  if (!sm_check_that(c, l.spec.forms && !(l.spec.forms & ~known), NULL, "spec: forms is 0x%x",
                     l.spec.forms) ||
      !sm_check_that(c, l.spec.site == SM_SITE_VIEW || l.spec.site == SM_SITE_PATCH, NULL, "spec: site is %d",
                     (int)l.spec.site))
    return;
  for (unsigned form = 1; form <= SM_TARGET_VECTORS; form <<= 1)
    for (int local = 0; local <= (int)l.spec.local_views; local++) {
      if (!(l.spec.forms & form)) continue;
      l.form = (sm_form)form, l.local = local;
      check_form(c, &l);
    }
}

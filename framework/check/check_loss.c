/* check_loss.c — losses: every kind of target they accept, or none; logits or features; global and local
 * views; gradients; steps without rows; what one row's loss owes to the others.
 *
 * D of the check's features and K of its logits and targets differ, so that a loss which takes one for the
 * other is found. */
#include <math.h>
#include <string.h>

#include "driver.h"
#include "framework/tensor/graph.h"

#define PICTURES 3
#define GLOBALS 2
#define LOCALS 2
#define K 7
#define D 9
#define PATCHES 4
#define TOKENS (1 + PATCHES) /* rows of a view in the check's own table: the view, then its patches */
#define VIEWS (PICTURES * GLOBALS)
#define SPARE 16 /* pairs beyond what max_pairs promises, to see whether the promise holds */

/* Masked patches of each view; some views have none. */
static const int32_t masked[VIEWS] = {2, 0, 3, 1, 0, 1};

typedef enum { FULL, ONE_PICTURE, EMPTY } filling;

typedef struct loss_trial {
  const sm_loss_ops *ops;
  void *self;
  sm_loss_spec spec;
  sm_form form;
  bool local;
  filling full;
  int64_t predictions, targets, promised;
  sm_rows *rows, *target_rows;
  sm_pairs *pairs;
  sm_target target;
  sm_tensor *stats;
} loss_trial;

static int check_loss_width(const loss_trial *l) { return l->spec.features ? D : K; }
/* Vectors that features are compared with must be as long as these. */
static int check_loss_target_width(const loss_trial *l) {
  return l->form == SM_TARGET_VECTORS && !l->spec.any_width ? check_loss_width(l) : K;
}

static bool check_loss_declare(sm_trial *t) {
  sm_set *set = sm_trial_set(t, 0, "predictions", true);
  if (set)
    sm_declare(&(sm_params){set, ""}, "rows", SM_INIT_NORMAL, 1, 0, 3,
               (int64_t[]){VIEWS, TOKENS, check_loss_width(t->ctx)});
  return set != NULL;
}

static int check_loss_pictures_of(const loss_trial *l) {
  return l->full == FULL ? PICTURES : l->full == ONE_PICTURE;
}
static int check_loss_masked_of(const loss_trial *l, int view) {
  return view >= check_loss_pictures_of(l) * GLOBALS ? 0 : l->spec.all_patches ? PATCHES : masked[view];
}

/* A loss that looks at the whole step is only ever given whole steps. */
static sm_pair_request check_loss_request_of(const loss_trial *l, int32_t now[VIEWS]) {
  int64_t step = 0;
  bool all_views = l->spec.site == SM_SITE_VIEW;
  for (int k = 0; k < VIEWS; k++) step += now[k] = check_loss_masked_of(l, k);
  int steps = l->spec.whole_step ? 1 : 2;
  return (sm_pair_request){.site = l->spec.site,
                           .local = l->local,
                           .pictures = all_views ? check_loss_pictures_of(l) : PICTURES,
                           .step_pictures = steps * PICTURES,
                           .globals = GLOBALS,
                           .locals = LOCALS,
                           .masked = now,
                           .step_masked = steps * step,
                           .out = l->pairs,
                           .views = GLOBALS + (l->local ? LOCALS : 0)};
}

static void check_loss_make_target(sm_graph *g, loss_trial *l) {
  int64_t k = check_loss_target_width(l), table[] = {l->targets, k};
  l->target = (sm_target){.form = l->form, .dim = k, .rows = l->target_rows};
  if (l->form == SM_TARGET_DISTRIBUTION) {
    l->target.logits = sm_input_real(g, "target.logits", 2, table, l->target_rows->count);
    l->target.shift = sm_input_real(g, "target.shift", 1, &k, NULL);
    l->target.scale = sm_scalar(g, "target.scale", 2);
  } else if (l->form == SM_TARGET_IDS) {
    l->target.ids = sm_input(g, "target.ids", SM_I32, 1, table, l->target_rows->count);
  } else if (l->form == SM_TARGET_VECTORS) {
    l->target.vectors = sm_input_real(g, "target.vectors", 2, table, l->target_rows->count);
  }
}

/* Told once: what a wrong shape inside the graph is likely to come from. */
static void check_loss_explain(sm_graph *g, const loss_trial *l, const sm_tensor *loss) {
  char is[96];
  if (!sm_graph_ok(g)) return;
  if (!loss) sm_graph_fail(g, "build gives no loss tensor");
  else if (loss->ndim != 1 || loss->dim[0] != l->predictions)
    sm_graph_fail(g, "build gives a loss of shape %s, not one number per prediction row, (%lld)",
                  sm_shape_text(loss->ndim, loss->dim, is, sizeof is), (long long)l->predictions);
  else if (l->stats && (l->stats->ndim != 2 || l->stats->dim[0] != l->predictions || l->stats->dim[1] != 4))
    sm_graph_fail(g, "*stats is %s, not (%lld, 4) as sm_xent gives it",
                  sm_shape_text(l->stats->ndim, l->stats->dim, is, sizeof is), (long long)l->predictions);
}

static void check_loss_build(sm_trial *t) {
  loss_trial *l = t->ctx;
  sm_graph *g = t->graph;
  int32_t now[VIEWS];
  l->predictions = l->targets = l->spec.site == SM_SITE_PATCH ? VIEWS * PATCHES : VIEWS;
  l->rows = sm_rows_new(g, "predictions", l->predictions, VIEWS, TOKENS, NULL);
  l->target_rows = sm_rows_new(g, "targets", l->targets, VIEWS, TOKENS, NULL);
  check_loss_make_target(g, l);
  sm_pair_request r = check_loss_request_of(l, now);
  l->promised = l->ops->max_pairs ? l->ops->max_pairs(l->self, &r, l->predictions) : l->predictions;
  if (l->promised < 0) {
    sm_graph_fail(g, "max_pairs gives %lld for %lld predictions", (long long)l->promised,
                  (long long)l->predictions);
    return;
  }
  l->pairs = sm_pairs_new(g, "pairs", l->promised + SPARE, l->predictions);
  sm_tensor *x = sm_gather(g, sm_param(g, &(sm_params){t->set[0], ""}, "rows"), l->rows);
  const sm_prediction p = {.site = l->spec.site,
                           .local = l->local,
                           .views = l->local ? LOCALS : GLOBALS,
                           .patches = l->spec.all_patches ? PATCHES : 0,
                           .logits = l->spec.features ? NULL : x,
                           .features = l->spec.features ? x : NULL};
  l->stats = NULL;
  sm_tensor *loss = l->ops->build(l->self, g, &p, l->spec.forms ? &l->target : NULL, l->pairs, &l->stats);
  check_loss_explain(g, l, loss);
  if (!sm_graph_ok(g)) return;
  sm_trial_term(t, loss);
  if (l->stats) sm_keep(g, l->stats);
}

static void check_loss_fill(sm_trial *t) {
  loss_trial *l = t->ctx;
  int32_t row[VIEWS * TOKENS], now[VIEWS];
  int64_t n = 0;
  const sm_time time = {.step = 3, .steps_per_epoch = 10, .epochs = 5};
  for (int v = 0; v < check_loss_pictures_of(l) * GLOBALS; v++) {
    if (l->spec.site == SM_SITE_VIEW) row[n++] = v * TOKENS;
    for (int k = 0; l->spec.site == SM_SITE_PATCH && k < check_loss_masked_of(l, v); k++) row[n++] = v * TOKENS + 1 + k;
  }
  sm_rows_set(l->rows, row, n);
  sm_rows_set(l->target_rows, row, n);
  if (l->target.logits) {
    sm_fill_normal(l->target.logits, 31, 1);
    sm_fill_normal(l->target.shift, 32, 0.3);
  }
  if (l->target.vectors) sm_fill_normal(l->target.vectors, 33, 1);
  if (l->target.ids)
    for (int64_t k = 0; k < l->targets; k++) sm_fill(l->target.ids, k, 1, (double)(k * 3 % K));
  sm_pair_request r = check_loss_request_of(l, now);
  sm_pairs_begin(l->pairs);
  l->ops->pairs(l->self, &r);
  sm_pairs_end(l->pairs);
  if (l->ops->prepare) l->ops->prepare(l->self, &time);
}

/* ---- pairs --------------------------------------------------------------------------------------------- */

/* Every pair was taken, every weight is finite, every row exists. */
static bool check_rows_of_pairs(sm_checker *c, const loss_trial *l, const char *name) {
  const sm_pairs_seen *seen = sm_pairs_look(l->pairs);
  if (!sm_check_that(
          c, !seen->refused || seen->full, NULL,
          "%s: sm_pairs_add refuses prediction row %lld behind row %lld of %lld; rows ascend from 0", name,
          (long long)seen->prediction, (long long)seen->after, (long long)l->predictions))
    return false;
  int64_t rows = sm_items(l->rows->token), targets = l->spec.forms ? sm_items(l->target_rows->token) : rows;
  for (int64_t r = 0; r < l->predictions; r++)
    for (int64_t k = (int64_t)sm_get(l->pairs->first, r); k < (int64_t)sm_get(l->pairs->first, r + 1); k++) {
      double target = sm_get(l->pairs->target, k), weight = sm_get(l->pairs->weight, k);
      if (!sm_check_that(c, r < rows, NULL, "%s: a pair's prediction row is %lld, but there are %lld", name,
                         (long long)r, (long long)rows) ||
          !sm_check_that(c, !l->spec.forms || (target >= 0 && target < (double)targets), NULL,
                         "%s: a pair's target row is %lld, but there are %lld", name, (long long)target,
                         (long long)targets) ||
          !sm_check_that(c, isfinite(weight), NULL, "%s: the weight of a pair of prediction row %lld is %g",
                         name, (long long)r, weight))
        return false;
    }
  return true;
}

/* No more pairs than promised, all of rows that are there; a finite loss; without rows, nothing. */
static bool check_pairs(sm_checker *c, const sm_trial_plan *plan) {
  sm_trial t;
  loss_trial *l = plan->ctx;
  if (!sm_trial_open(&t, c, plan, c->two)) return false;
  long long filled = l->pairs->filled;
  /* Before the graph uses them. */
  bool ok = sm_check_that(c, filled <= l->promised, NULL, "%s: %lld pairs, max_pairs promises %lld",
                          plan->name, filled, (long long)l->promised) &&
            check_rows_of_pairs(c, l, plan->name);
  double loss = ok ? sm_trial_run(&t) : 0;
  ok = ok && sm_check_that(c, isfinite(loss), NULL, "%s: the loss is %g", plan->name, loss) &&
       sm_check_that(c, l->full != EMPTY || (filled == 0 && loss == 0), NULL,
                     "%s: %lld pairs and a loss of %g without any rows", plan->name, filled, loss);
  sm_trial_close(&t);
  return ok;
}

/* ---- rows of a step ------------------------------------------------------------------------------------ */

/* The loss of the first picture's rows, of the whole trial or of that picture alone. */
static bool loss_of_first(sm_checker *c, loss_trial *l, const char *name, filling full, double *sum) {
  sm_trial t;
  const sm_trial_plan plan = {.name = name,
                              .declare = check_loss_declare,
                              .build = check_loss_build,
                              .fill = check_loss_fill,
                              .ctx = l};
  int64_t n = GLOBALS;
  l->full = full;
  if (!sm_trial_open(&t, c, &plan, c->two)) return false;
  sm_trial_run(&t);
  if (l->spec.site == SM_SITE_PATCH) n = check_loss_masked_of(l, 0) + check_loss_masked_of(l, 1);
  *sum = 0;
  for (int64_t k = 0; k < n; k++) *sum += sm_get(t.term[0], k);
  sm_trial_close(&t);
  return true;
}

/* Weights may be over the step, so the means of `mim` over pictures would tell nothing: the view's rows are
 * compared, whose weights depend on step_pictures alone. */
static void check_whole_step(sm_checker *c, loss_trial *l, const char *name) {
  double among = 0, alone = 0;
  if (l->spec.whole_step || l->spec.site != SM_SITE_VIEW || !loss_of_first(c, l, name, FULL, &among) ||
      !loss_of_first(c, l, name, ONE_PICTURE, &alone))
    return;
  sm_check_that(
      c, fabs(among - alone) <= 1e-9 * (1 + fabs(among)), NULL,
      "%s: the loss of a picture's rows is %.12g alone and %.12g among others; a loss that mixes pictures must set whole_step",
      name, alone, among);
}

/* max_pairs is asked for a recipe's plan, with few or no pictures. */
static bool check_max_pairs(sm_checker *c, const loss_trial *l) {
  for (int pictures = 0; l->ops->max_pairs && pictures < 2; pictures++) {
    int64_t rows = l->spec.site == SM_SITE_PATCH ? PATCHES * GLOBALS : GLOBALS;
    int32_t none[GLOBALS] = {0};
    const sm_pair_request r = {.site = l->spec.site,
                               .local = l->local,
                               .pictures = pictures,
                               .step_pictures = pictures,
                               .globals = GLOBALS,
                               .locals = LOCALS,
                               .views = GLOBALS,
                               .masked = none};
    int64_t most = l->ops->max_pairs(l->self, &r, pictures * rows);
    if (!sm_check_that(c, most >= 0, NULL, "max_pairs gives %lld for %d pictures", (long long)most, pictures))
      return false;
  }
  return true;
}

static void check_form(sm_checker *c, loss_trial *l) {
  static const char *const forms[] = {[SM_TARGET_NONE] = "no target",
                                      [SM_TARGET_DISTRIBUTION] = "distributions",
                                      [SM_TARGET_IDS] = "ids",
                                      [SM_TARGET_VECTORS] = "vectors"};
  char name[96];
  snprintf(name, sizeof name, "%s%s%s", forms[l->form], l->spec.features ? ", features" : "",
           l->local ? ", local views" : "");
  const sm_trial_plan plan = {.name = name,
                              .declare = check_loss_declare,
                              .build = check_loss_build,
                              .fill = check_loss_fill,
                              .ctx = l};
  const int failed = c->failed;
  l->full = FULL;
  if (!check_pairs(c, &plan) || !sm_trial_check(c, &plan)) {
    if (c->failed > failed)
      sm_check_note(c, "%s: the check's rows are %d wide (D), its logits and targets %d (K)", name, D, K);
    return;
  }
  l->full = EMPTY;
  if (check_pairs(c, &plan)) check_whole_step(c, l, name);
}

void sm_check_loss(sm_checker *c, sm_instance *instance) {
  sm_error err = {0};
  loss_trial l = {.ops = instance->plugin->ops, .self = instance->self};
  if (l.ops->spec(l.self, &l.spec, &err) != SM_OK) {
    sm_check_error(c, "spec", &err);
    return;
  }
  const unsigned known = SM_TARGET_DISTRIBUTION | SM_TARGET_IDS | SM_TARGET_VECTORS;
  if (!sm_check_that(c, !(l.spec.forms & ~known), NULL,
                     "spec: forms is 0x%x, which has bits that are no SM_TARGET_…", l.spec.forms) ||
      !sm_check_that(c, l.spec.site == SM_SITE_VIEW || l.spec.site == SM_SITE_PATCH, NULL,
                     "spec: site is %d, which is neither view (0) nor patch (1)", (int)l.spec.site))
    return;
  for (int local = 0; local <= (int)l.spec.local_views; local++) {
    l.local = local;
    if (!check_max_pairs(c, &l)) return;
    l.form = SM_TARGET_NONE;
    if (!l.spec.forms) check_form(c, &l);
    for (unsigned form = 1; form <= SM_TARGET_VECTORS; form <<= 1) {
      l.form = (sm_form)form;
      if (l.spec.forms & form) check_form(c, &l);
    }
  }
}

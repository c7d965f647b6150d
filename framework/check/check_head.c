/* check_head.c — heads: both sites, both roles, gradients into weights and tokens, the promise of affine
 * logits. */
#include <math.h>

#include "driver.h"

#define ROWS 5
#define IN_DIM 12
#define OUT_DIM 10

typedef struct head_trial {
  const sm_head_ops *ops;
  const void *self;
  sm_role role;
  int dim[2]; /* by site; 0: not used */
  sm_tensor *count, *features, *logits, *mean_logits;
  sm_site site; /* whose features are kept */
} head_trial;

static const char *const site_names[] = {"view", "patch"};

static int dim_of(const head_trial *h, sm_site site) {
  int asked = h->ops->out_dim(h->self, site);
  return asked > 0 ? asked : OUT_DIM;
}

/* The tokens are parameters too, so that the gradient into the backbone is looked at as well. */
static bool declare(sm_trial *t) {
  const head_trial *h = t->ctx;
  sm_set *set = sm_trial_set(t, 0, h->role == SM_ROLE_STUDENT ? "student" : "teacher", true);
  sm_set *input = set ? sm_trial_set(t, 1, "tokens", true) : NULL;
  if (!input) return false;
  h->ops->declare(h->self, &(sm_params){set, "head."}, IN_DIM, h->dim[SM_SITE_VIEW], h->dim[SM_SITE_PATCH],
                  h->role);
  for (int site = 0; site < 2; site++)
    sm_declare(&(sm_params){input, ""}, site_names[site], SM_INIT_NORMAL, 1, 0, 2, (int64_t[]){ROWS, IN_DIM});
  return true;
}

static void build(sm_trial *t) {
  head_trial *h = t->ctx;
  const sm_params p = {t->set[0], "head."}, input = {t->set[1], ""};
  for (int site = 0; site < 2; site++) {
    if (!h->dim[site]) continue;
    sm_tensor *x = sm_param(t->graph, &input, "%s", site_names[site]);
    sm_tensor *f = h->ops->features(h->self, t->graph, &p, x, (sm_site)site, h->role);
    sm_tensor *z = f ? h->ops->logits(h->self, t->graph, &p, f, (sm_site)site, h->role) : NULL;
    if (!z) {
      sm_graph_fail(t->graph, "%s gives NULL at site %s", f ? "logits" : "features", site_names[site]);
      return;
    }
    sm_trial_score(t, z);
    if (sm_graph_ok(t->graph) && (z->ndim != 2 || z->dim[0] != ROWS || z->dim[1] != h->dim[site]))
      sm_graph_fail(t->graph, "logits at site %s are not (rows, %d)", site_names[site], h->dim[site]);
  }
}

/* Logits of rows, and of the mean of their features. */
static void build_affine(sm_trial *t) {
  head_trial *h = t->ctx;
  const sm_params p = {t->set[0], "head."}, input = {t->set[1], ""};
  sm_tensor *x = sm_param(t->graph, &input, "%s", site_names[h->site]);
  h->features = h->ops->features(h->self, t->graph, &p, x, h->site, h->role);
  h->logits = h->ops->logits(h->self, t->graph, &p, h->features, h->site, h->role);
  h->mean_logits =
      h->ops->logits(h->self, t->graph, &p, sm_mean_items(t->graph, h->features), h->site, h->role);
  sm_keep(t->graph, h->logits);
  sm_keep(t->graph, h->mean_logits);
}

static void check_affine(sm_checker *c, head_trial *h) {
  sm_trial t;
  const sm_trial_plan plan = {"affine logits", declare, build_affine, NULL, true, h};
  if (!sm_trial_open(&t, c, &plan, c->two)) return;
  sm_trial_run(&t);
  double worst = 0, size = 0;
  for (int64_t k = 0; k < h->dim[h->site]; k++) {
    double mean = 0;
    for (int64_t r = 0; r < ROWS; r++) mean += sm_get(h->logits, r * h->dim[h->site] + k) / ROWS;
    worst = fmax(worst, fabs(mean - sm_get(h->mean_logits, k)));
    size = fmax(size, fabs(mean));
  }
  bool holds = worst <= 1e-10 * (1 + size);
  if (h->ops->affine) {
    if (sm_check_that(c, holds, NULL,
                      "affine is promised, but logits(mean) and mean(logits) differ by %.2g at site %s",
                      worst, site_names[h->site]) &&
        h->site == SM_SITE_PATCH)
      sm_check_good(c, "affine");
  } else if (holds && h->site == SM_SITE_PATCH) {
    sm_check_note(c, "logits seem affine in the features: set affine = 1 and patch centring gets cheaper");
  }
  sm_trial_close(&t);
}

/* Rows with a run-time count, from 0 up, as masked patches have it. */
typedef struct counted {
  head_trial *head;
  sm_tensor *count, *tokens;
} counted;

static bool declare_counted(sm_trial *t) {
  const counted *k = t->ctx;
  sm_set *set = sm_trial_set(t, 0, "student", true);
  if (set)
    k->head->ops->declare(k->head->self, &(sm_params){set, "head."}, IN_DIM, k->head->dim[0], k->head->dim[1],
                          k->head->role);
  return set != NULL;
}

static void build_counted(sm_trial *t) {
  counted *k = t->ctx;
  const sm_params p = {t->set[0], "head."};
  k->count = sm_count(t->graph, "rows.count", ROWS);
  k->tokens = sm_input_real(t->graph, "rows", 2, (int64_t[]){ROWS, IN_DIM}, k->count);
  sm_tensor *f = k->head->ops->features(k->head->self, t->graph, &p, k->tokens, k->head->site, k->head->role);
  sm_trial_score(t, k->head->ops->logits(k->head->self, t->graph, &p, f, k->head->site, k->head->role));
}

static void fill_counted(sm_trial *t) { sm_fill_normal(((counted *)t->ctx)->tokens, 5, 1); }

static void check_counts(sm_checker *c, head_trial *h) {
  sm_trial t;
  counted k = {.head = h};
  const sm_trial_plan plan = {"row counts", declare_counted, build_counted, fill_counted, false, &k};
  if (!sm_trial_open(&t, c, &plan, c->two)) return;
  sm_trial_run(&t);
  double first = 0;
  int64_t each = sm_item_elements(t.term[0]);
  for (int64_t j = 0; j < each; j++) first += sm_get(t.term[0], j);
  sm_put(k.count, 1);
  double one = sm_trial_run(&t);
  bool ok = sm_check_that(c, fabs(one - first) <= 1e-12 * (1 + fabs(first)), NULL,
                          "one row alone gives other logits than among %d (%.17g, %.17g)", ROWS, one, first);
  sm_put(k.count, 0);
  ok = sm_check_that(c, sm_trial_run(&t) == 0, NULL, "no rows, but logits") && ok;
  if (ok && h->role == SM_ROLE_TEACHER) sm_check_good(c, "0 and 1 rows");
  sm_trial_close(&t);
}

void sm_check_head(sm_checker *c, sm_instance *instance) {
  static const char *const names[2][3] = {{"student", "student, views only", "student, patches only"},
                                          {"teacher", "teacher, views only", "teacher, patches only"}};
  head_trial h = {.ops = instance->plugin->ops, .self = instance->self};
  for (int role = 0; role < 2; role++)
    for (int sites = 0; sites < (c->thorough ? 3 : 1); sites++) {
      h.role = (sm_role)role;
      h.dim[SM_SITE_VIEW] = sites == 2 ? 0 : dim_of(&h, SM_SITE_VIEW);
      h.dim[SM_SITE_PATCH] = sites == 1 ? 0 : dim_of(&h, SM_SITE_PATCH);
      const sm_trial_plan plan = {names[role][sites], declare, build, NULL, false, &h};
      if (!sm_trial_check(c, &plan)) return;
      if (sites || (c->heavy && !c->thorough)) continue;
      for (int site = 0; site < 2; site++) {
        h.site = (sm_site)site;
        check_affine(c, &h);
        check_counts(c, &h);
      }
    }
}

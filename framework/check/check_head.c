/* check_head.c — heads: both sites, both roles, gradients into weights and rows, the promise of affine
 * logits, rows that are each treated alone (unless whole_step says otherwise), a state that only the update
 * moves. */
#include <math.h>
#include <string.h>

#include "driver.h"

#define ROWS 5
#define DIM 12 /* D of the check */
#define K 10   /* of the check, where the head asks for none */
#define UPDATES 3
#define VIEWS 2
#define PATCHES 3
enum { PARAMS, INPUT, STATE };

typedef struct head_trial {
  const sm_head_ops *ops;
  void *self;
  sm_role role;
  int dim[2];    /* K by site; 0: not used */
  bool moves;    /* a state of its own, or running means and variances (SM_ROW_RUNNING) */
  bool training; /* what moves these runs in a pass of its own */
  sm_head head;
  sm_site site; /* the one looked at */
  sm_tensor *count, *rows, *logits, *mean_logits;
  sm_tensor *cube, *of_rows, *of_cube;
} head_trial;

static const char *const site_names[] = {"view", "patch"};
static const char *const role_names[] = {"student", "teacher"};

static int check_head_dim_of(const head_trial *h, sm_site site) {
  int asked = h->ops->out_dim(h->self, site, DIM);
  return asked > 0 ? asked : K;
}

/* ---- the graph ----------------------------------------------------------------------------------------- */

/* The rows are parameters too, so that the gradient into the backbone is looked at as well. */
static bool check_head_declare(sm_trial *t) {
  head_trial *h = t->ctx;
  sm_set *set = sm_trial_set(t, PARAMS, role_names[h->role], true),
         *input = set ? sm_trial_set(t, INPUT, "rows", true) : NULL,
         *state = input ? sm_trial_set(t, STATE, "state", false) : NULL;
  if (!state) return false;
  h->head = (sm_head){.ops = h->ops,
                      .self = h->self,
                      .params = {set, "head."},
                      .state = {state, "head."},
                      .role = h->role,
                      .training = h->training,
                      .dim = DIM,
                      .view_dim = h->dim[SM_SITE_VIEW],
                      .patch_dim = h->dim[SM_SITE_PATCH]};
  h->ops->declare(h->self, &h->head);
  if (h->ops->declare_state) h->ops->declare_state(h->self, &h->head);
  for (int site = 0; site < 2; site++)
    sm_declare(&(sm_params){input, ""}, site_names[site], SM_INIT_NORMAL, 1, 0, 2, (int64_t[]){ROWS, DIM});
  return true;
}

/* NULL after a complaint. */
static sm_tensor *check_head_logits_of(sm_trial *t, sm_tensor *x, sm_site site, sm_tensor **features) {
  head_trial *h = t->ctx;
  sm_tensor *f = h->ops->features(h->self, t->graph, &h->head, x, site);
  sm_tensor *z = f ? h->ops->logits(h->self, t->graph, &h->head, f, site) : NULL;
  char is[96];
  if (!z) sm_graph_fail(t->graph, "%s gives NULL at site %s", f ? "logits" : "features", site_names[site]);
  else if (sm_graph_ok(t->graph) && (z->ndim != 2 || z->dim[0] != x->dim[0] || z->dim[1] != h->dim[site]))
    sm_graph_fail(
        t->graph,
        "logits at site %s are %s, not (%lld rows, K = %d); the check's rows are D = %d wide, which `declare` is told in h->dim",
        site_names[site], sm_shape_text(z->ndim, z->dim, is, sizeof is), (long long)x->dim[0], h->dim[site],
        DIM);
  *features = f;
  return sm_graph_ok(t->graph) ? z : NULL;
}

static void check_head_build(sm_trial *t) {
  head_trial *h = t->ctx;
  for (int site = 0; site < 2; site++) {
    if (!h->dim[site]) continue;
    sm_tensor *features, *z = check_head_logits_of(
                             t, sm_param(t->graph, &(sm_params){t->set[INPUT], ""}, "%s", site_names[site]),
                             (sm_site)site, &features);
    if (!z) return;
    sm_trial_score(t, z);
  }
}

/* Logits of rows, and of the mean of their features. */
static void check_head_build_affine(sm_trial *t) {
  head_trial *h = t->ctx;
  sm_tensor *features;
  h->logits = check_head_logits_of(
      t, sm_param(t->graph, &(sm_params){t->set[INPUT], ""}, "%s", site_names[h->site]), h->site, &features);
  if (!h->logits) return;
  h->mean_logits = h->ops->logits(h->self, t->graph, &h->head, sm_mean_items(t->graph, features), h->site);
  sm_keep(t->graph, h->logits);
  sm_keep(t->graph, h->mean_logits);
}

/* Rows with a run-time count, from 0 up, as hidden patches have it. */
static void check_head_build_counted(sm_trial *t) {
  head_trial *h = t->ctx;
  sm_tensor *features;
  h->count = sm_count(t->graph, "rows.count", ROWS);
  h->rows = sm_input_real(t->graph, "rows", 2, (int64_t[]){ROWS, DIM}, h->count);
  sm_tensor *z = check_head_logits_of(t, h->rows, h->site, &features);
  if (z) sm_trial_score(t, z);
}

/* A training graph has an update. */
static void check_head_update(sm_trial *t) {
  head_trial *h = t->ctx;
  if (h->ops->build_update) h->ops->build_update(h->self, t->graph, &h->head);
  sm_running_update(t->graph);
}

static void check_head_fill_counted(sm_trial *t) { sm_fill_normal(((head_trial *)t->ctx)->rows, 5, 1); }

/* ---- promises ------------------------------------------------------------------------------------------ */

static void check_affine(sm_checker *c, head_trial *h) {
  sm_trial t;
  const sm_trial_plan plan = {.name = "affine logits",
                              .declare = check_head_declare,
                              .build = check_head_build_affine,
                              .no_gradient = true,
                              .ctx = h};
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
    sm_check_note(c, "logits seem affine in the features: set affine = true and patch centring gets cheaper");
  }
  sm_trial_close(&t);
}

static double check_head_first_row(const sm_trial *t) {
  double sum = 0;
  for (int64_t j = 0; j < sm_item_elements(t->term[0]); j++) sum += sm_get(t->term[0], j);
  return sum;
}

/* The first row alone and among others; no rows. With a state of its own it is looked at in training, where
 * rows may mix, and out of it, where they may not. */
static void check_counts(sm_checker *c, head_trial *h, bool training) {
  sm_trial t;
  const bool own = h->moves;
  const sm_trial_plan plan = {.name = "row counts",
                              .declare = check_head_declare,
                              .build = check_head_build_counted,
                              .update = training ? check_head_update : NULL,
                              .fill = check_head_fill_counted,
                              .no_gradient = own && !training,
                              .ctx = h};
  const char *when = own ? training ? ", in training" : ", out of training" : "";
  h->training = training;
  if (!sm_trial_open(&t, c, &plan, c->two)) return;
  sm_trial_run(&t);
  double first = check_head_first_row(&t);
  sm_put(h->count, 1);
  double one = sm_trial_run(&t);
  bool mixes = fabs(one - first) > 1e-12 * (1 + fabs(first)) || isnan(one),
       may = h->ops->whole_step && (training || !own);
  bool ok = sm_check_that(c, !mixes || (may && isfinite(one)), NULL,
                          "site %s, %s%s: one row alone gives other logits than among %d (%.17g, %.17g); %s",
                          site_names[h->site], role_names[h->role], when, ROWS, one, first,
                          own && !training ? "out of training a head uses its state"
                                           : "a head treats each row alone, or sets whole_step");
  sm_put(h->count, 0);
  double none = sm_trial_run(&t);
  ok = sm_check_that(c, none == 0, NULL, "site %s, %s%s: no rows, but logits that add up to %g",
                     site_names[h->site], role_names[h->role], when, none) &&
       ok;
  if (ok && h->role == SM_ROLE_TEACHER)
    sm_check_good(c, h->ops->whole_step ? "0 and 1 rows, the whole step looked at" : "0 and 1 rows");
  sm_trial_close(&t);
  h->training = false;
}

/* Features of (B, N, D) are those of its rows, as (B, N, F): tokenizers ask for all patches so. */
static void check_head_build_cube(sm_trial *t) {
  head_trial *h = t->ctx;
  char is[96];
  h->rows = sm_input_real(t->graph, "rows", 2, (int64_t[]){VIEWS * PATCHES, DIM}, NULL);
  h->cube = sm_input_real(t->graph, "patches", 3, (int64_t[]){VIEWS, PATCHES, DIM}, NULL);
  h->of_rows = h->ops->features(h->self, t->graph, &h->head, h->rows, h->site);
  h->of_cube = h->ops->features(h->self, t->graph, &h->head, h->cube, h->site);
  if (!sm_graph_ok(t->graph)) return;
  if (!h->of_rows || !h->of_cube) {
    sm_graph_fail(t->graph, "features gives NULL at site %s", site_names[h->site]);
    return;
  }
  if (h->of_cube->ndim != 3 || h->of_cube->dim[1] != PATCHES || h->of_cube->dim[2] != h->of_rows->dim[1])
    sm_graph_fail(t->graph, "features of (B, N, D) are %s at site %s, not (%d, %d, %lld)",
                  sm_shape_text(h->of_cube->ndim, h->of_cube->dim, is, sizeof is), site_names[h->site], VIEWS,
                  PATCHES, (long long)h->of_rows->dim[1]);
  else if (h->ops->feature_dim && h->ops->feature_dim(h->self, h->site, DIM) != h->of_rows->dim[1])
    sm_graph_fail(t->graph, "feature_dim says %d at site %s, but features are %lld wide",
                  h->ops->feature_dim(h->self, h->site, DIM), site_names[h->site],
                  (long long)h->of_rows->dim[1]);
  sm_keep(t->graph, h->of_rows);
  sm_keep(t->graph, h->of_cube);
}

static void check_head_fill_cube(sm_trial *t) {
  sm_fill_normal(((head_trial *)t->ctx)->rows, 7, 1);
  sm_fill_normal(((head_trial *)t->ctx)->cube, 7, 1);
}

static void check_cube(sm_checker *c, head_trial *h) {
  sm_trial t;
  const sm_trial_plan plan = {.name = "features of (B, N, D)",
                              .declare = check_head_declare,
                              .build = check_head_build_cube,
                              .fill = check_head_fill_cube,
                              .no_gradient = true,
                              .ctx = h};
  if (!sm_trial_open(&t, c, &plan, c->two)) return;
  sm_trial_run(&t);
  double worst = 0;
  for (int64_t k = 0; k < sm_elements(h->of_rows); k++)
    worst = fmax(worst, fabs(sm_get(h->of_rows, k) - sm_get(h->of_cube, k)));
  sm_check_that(c, worst < 1e-9, NULL,
                "site %s, %s: features of (B, N, D) differ by %.1e from those of its rows (B·N, D)",
                site_names[h->site], role_names[h->role], worst);
  sm_trial_close(&t);
}

/* ---- the state ----------------------------------------------------------------------------------------- */

/* Where what moves may be: weights do not, as nothing trains them here. */
static const int moving_sets[2] = {STATE, PARAMS};

static uint64_t check_head_state_of(const sm_trial *t) {
  uint64_t running;
  sm_trial_running(t, PARAMS, &running);
  return sm_trial_state(t, STATE) ^ running;
}

/* UPDATES steps from the beginning, or from step `from` on with the values of `load`. keep: stop after the
 * first step and hand the state over. */
static bool check_head_run_updates(sm_checker *c, head_trial *h, sm_pool *pool, int from, sm_set *const load[2],
                                   uint64_t hash[UPDATES], sm_set *keep[2]) {
  sm_trial t;
  const sm_trial_plan plan = {.name = "state",
                              .declare = check_head_declare,
                              .build = check_head_build_counted,
                              .update = check_head_update,
                              .fill = check_head_fill_counted,
                              .no_gradient = true,
                              .ctx = h};
  if (!sm_trial_open(&t, c, &plan, pool)) return false;
  bool ok = true;
  for (int k = 0; load && k < 2; k++) sm_set_copy(t.set[moving_sets[k]], load[k]);
  for (int s = from; ok && s < (keep ? from + 1 : UPDATES); s++) {
    uint64_t before = check_head_state_of(&t);
    sm_fill_normal(h->rows, 60 + (uint64_t)s, 1 + s);
    sm_graph_run(t.graph, t.pass);
    ok = sm_check_that(c, check_head_state_of(&t) == before, NULL,
                       "site %s, %s: the state changes before the update's pass", site_names[h->site],
                       role_names[h->role]);
    sm_graph_run(t.graph, t.update);
    hash[s] = check_head_state_of(&t);
    for (int k = 0; ok && k < 2; k++) ok = sm_trial_state_finite(&t, moving_sets[k], "the update");
  }
  for (int k = 0; ok && keep && k < 2; k++) keep[k] = t.set[moving_sets[k]], t.set[moving_sets[k]] = NULL;
  sm_trial_close(&t);
  return ok;
}

static void check_state(sm_checker *c, head_trial *h) {
  uint64_t once[UPDATES] = {0}, again[UPDATES] = {0}, resumed[UPDATES] = {0};
  sm_set *saved[2] = {NULL};
  h->training = true;
  bool ok = check_head_run_updates(c, h, c->two, 0, NULL, once, NULL) &&
            check_head_run_updates(c, h, c->one, 0, NULL, again, NULL) &&
            sm_check_that(c, memcmp(once, again, sizeof once) == 0, NULL,
                          "site %s, %s: 1 and 2 threads give other states", site_names[h->site],
                          role_names[h->role]);
  if (ok && check_head_run_updates(c, h, c->two, 0, NULL, again, saved) && saved[0] &&
      check_head_run_updates(c, h, c->two, 1, saved, resumed, NULL))
    ok = sm_check_that(
        c, resumed[UPDATES - 1] == once[UPDATES - 1], NULL,
        "site %s, %s: after saving and loading the state, it goes another way (a state that is not declared?)",
        site_names[h->site], role_names[h->role]);
  for (int k = 0; k < 2; k++)
    if (saved[k]) sm_set_free(saved[k]);
  h->training = false;
  if (ok) sm_check_good(c, h->ops->build_update ? "a state of its own" : "running means and variances");
}

/* Does a training pass leave anything for an update to move? */
static bool check_head_moves(sm_checker *c, head_trial *h) {
  sm_trial t = {.checker = c, .ctx = h};
  const bool running = check_head_declare(&t) && sm_trial_running(&t, PARAMS, NULL) > 0;
  sm_trial_close(&t);
  return h->ops->build_update || running;
}

void sm_check_head(sm_checker *c, sm_instance *instance) {
  static const char *const names[2][3] = {{"student", "student, views only", "student, patches only"},
                                          {"teacher", "teacher, views only", "teacher, patches only"}};
  head_trial h = {.ops = instance->plugin->ops, .self = instance->self};
  if (!sm_check_that(c, !h.ops->declare_state == !h.ops->build_update, NULL,
                     "declare_state and build_update come together: one moves what the other declares") ||
      !sm_check_that(c, !h.ops->layer == !h.ops->layer_dim, NULL,
                     "layer and layer_dim come together: one says how wide the other is"))
    return;
  if (h.ops->decode) {
    sm_check_decoder(c, instance);
    return;
  }
  for (int role = 0; role < 2; role++)
    for (int sites = 0; sites < (c->thorough ? 3 : 1); sites++) {
      h.role = (sm_role)role;
      h.dim[SM_SITE_VIEW] = sites == 2 ? 0 : check_head_dim_of(&h, SM_SITE_VIEW);
      h.dim[SM_SITE_PATCH] = sites == 1 ? 0 : check_head_dim_of(&h, SM_SITE_PATCH);
      h.moves = check_head_moves(c, &h);
      for (int training = 0; training <= h.moves; training++) {
        h.training = training;
        /* With a state of its own, it need not have a gradient where it is not trained. */
        const sm_trial_plan plan = {.name = names[role][sites],
                                    .declare = check_head_declare,
                                    .build = check_head_build,
                                    .update = training ? check_head_update : NULL,
                                    .no_gradient = h.moves && !training,
                                    .ctx = &h};
        bool ok = sm_trial_check(c, &plan);
        h.training = false;
        if (!ok) return;
      }
      if (sites || (c->heavy && !c->thorough)) continue;
      for (int site = 0; site < 2; site++) {
        h.site = (sm_site)site;
        check_affine(c, &h);
        for (int training = 0; training <= h.moves; training++)
          check_counts(c, &h, training);
        check_cube(c, &h);
        if (h.moves) check_state(c, &h);
      }
    }
}

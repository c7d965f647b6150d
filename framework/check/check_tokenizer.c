/* check_tokenizer.c — tokenizers: targets that are what the spec says, a state that only the update moves,
 * the same from one run to the next and after saving and loading. */
#include <math.h>
#include <string.h>

#include "driver.h"

#define VIEWS 4
#define SIDE 3 /* patches */
#define TOKENS (1 + SIDE * SIDE)
#define DIM 12
#define CLASSES 10
#define PIXELS 48
#define STEPS 3

typedef struct tokenizer_trial {
  const sm_tokenizer_ops *ops;
  void *self;
  sm_tokenizer_spec spec;
  bool want[2]; /* by site */
  int hidden;   /* masked patches of the first view */
  sm_rows *rows[2];
  sm_target target[2];
  sm_tensor *pictures, *tokens;
  sm_head head;
  int update;
} tokenizer_trial;

/* ---- a plain linear head, so that a tokenizer can be tried without other plugins ----------------------- */

static void head_declare(const void *self, const sm_params *p, int in_dim, int view_dim, int patch_dim,
                         sm_role role) {
  (void)self, (void)role, (void)patch_dim;
  sm_declare(p, "weight", SM_INIT_NORMAL, 0.3, 0, 2, (int64_t[]){view_dim, in_dim});
  sm_declare(p, "bias", SM_INIT_ZEROS, 0, 0, 1, (int64_t[]){view_dim});
}

static sm_tensor *head_features(const void *self, sm_graph *g, const sm_params *p, sm_tensor *x, sm_site site,
                                sm_role role) {
  (void)self, (void)g, (void)p, (void)site, (void)role;
  return x;
}

static sm_tensor *head_logits(const void *self, sm_graph *g, const sm_params *p, sm_tensor *x, sm_site site,
                              sm_role role) {
  (void)self, (void)site, (void)role;
  return sm_linear(g, x, sm_param(g, p, "weight"), sm_param(g, p, "bias"));
}

static int head_out_dim(const void *self, sm_site site) {
  (void)self, (void)site;
  return CLASSES;
}

static const sm_head_ops head_ops = {sizeof head_ops, 1,           head_declare,
                                     head_features,   head_logits, head_out_dim};

/* ---- the graph ----------------------------------------------------------------------------------------- */

static int width(const tokenizer_trial *k, sm_site site) {
  int own = site == SM_SITE_VIEW ? k->spec.view_dim : k->spec.patch_dim;
  return own ? own : CLASSES;
}

static bool declare(sm_trial *t) {
  tokenizer_trial *k = t->ctx;
  sm_set *state = sm_trial_set(t, 0, "state", false),
         *teacher = state ? sm_trial_set(t, 1, "teacher", false) : NULL;
  if (!teacher) return false;
  k->head = (sm_head){&head_ops, NULL, {teacher, "head."}, SM_ROLE_TEACHER, CLASSES, CLASSES};
  head_declare(NULL, &k->head.params, DIM, CLASSES, CLASSES, SM_ROLE_TEACHER);
  if (k->ops->declare)
    k->ops->declare(k->self, &(sm_params){state, "tokenizer."}, width(k, SM_SITE_VIEW),
                    width(k, SM_SITE_PATCH));
  return true;
}

static void keep_target(sm_graph *g, const sm_target *target) {
  if (target->logits) sm_keep(g, target->logits);
  if (target->ids) sm_keep(g, target->ids);
  if (target->vectors) sm_keep(g, target->vectors);
}

static void build(sm_trial *t) {
  tokenizer_trial *k = t->ctx;
  sm_graph *g = t->graph;
  k->pictures = sm_input_real(g, "pictures", 4, (int64_t[]){VIEWS, 3, PIXELS, PIXELS}, NULL);
  k->tokens =
      k->spec.needs_teacher ? sm_input_real(g, "tokens", 3, (int64_t[]){VIEWS, TOKENS, DIM}, NULL) : NULL;
  k->rows[SM_SITE_VIEW] = sm_rows_new(g, "views", VIEWS, VIEWS, TOKENS, NULL);
  k->rows[SM_SITE_PATCH] = sm_rows_new(g, "patches", VIEWS * SIDE, VIEWS, TOKENS, NULL);
  const sm_seen seen = {.size = sizeof seen,
                        .pictures = k->pictures,
                        .tokens = k->tokens,
                        .prefix = 1,
                        .rows = SIDE,
                        .cols = SIDE};
  const sm_tokenizer_env env = {.size = sizeof env,
                                .head = k->spec.needs_head ? &k->head : NULL,
                                .state = {t->set[0], "tokenizer."},
                                .view_rows = k->rows[SM_SITE_VIEW],
                                .patch_rows = k->rows[SM_SITE_PATCH],
                                .want_view = k->want[SM_SITE_VIEW],
                                .want_patch = k->want[SM_SITE_PATCH]};
  k->target[0] = k->target[1] = (sm_target){0};
  k->ops->build(k->self, g, &env, &seen, &k->target[SM_SITE_VIEW], &k->target[SM_SITE_PATCH]);
  for (int site = 0; site < 2; site++) keep_target(g, &k->target[site]);
  sm_pass_end(g);
  k->update = sm_pass_begin(g, "update");
  if (k->ops->build_update) k->ops->build_update(k->self, g, &env);
}

static void fill(sm_trial *t) {
  tokenizer_trial *k = t->ctx;
  int32_t views[VIEWS], patches[VIEWS * SIDE];
  int n = 0;
  for (int v = 0; v < VIEWS; v++) {
    views[v] = v * TOKENS;
    for (int j = 0; j < (v == 0 ? k->hidden : k->hidden / 2); j++) patches[n++] = v * TOKENS + 1 + 2 * j;
  }
  sm_rows_set(k->rows[SM_SITE_VIEW], views, VIEWS);
  sm_rows_set(k->rows[SM_SITE_PATCH], patches, n);
  sm_fill_normal(k->pictures, 41, 1);
  if (k->tokens) sm_fill_normal(k->tokens, 42, 1);
}

static void step(sm_trial *t, int64_t number) {
  tokenizer_trial *k = t->ctx;
  const sm_time time = {.step = number, .steps_per_epoch = 2, .epochs = 3};
  if (k->tokens) sm_fill_normal(k->tokens, 50 + (uint64_t)number, 1);
  if (k->ops->prepare) k->ops->prepare(k->self, &time, 0);
  sm_graph_run(t->graph, t->pass);
}

static uint64_t state_hash(const sm_trial *t) {
  uint64_t hash = 0;
  for (int r = 0; r < sm_set_rows(t->set[0]); r++)
    hash = sm_hash64(sm_set_data(t->set[0], r, SM_VALUES),
                     (size_t)sm_set_row(t->set[0], r)->size * sizeof(double), hash);
  return hash;
}

/* ---- targets ------------------------------------------------------------------------------------------- */

static bool check_distribution(sm_checker *c, const char *where, const sm_target *t, int64_t rows) {
  double scale = t->scale ? sm_get(t->scale, 0) : 0, worst = 0;
  if (!sm_check_that(c, t->logits && t->logits->ndim == 2 && t->logits->dim[1] == t->dim, NULL,
                     "%s: logits are not (rows, %lld)", where, (long long)t->dim) ||
      !sm_check_that(c, isfinite(scale) && scale > 0, NULL, "%s: scale is %g", where, scale) ||
      !sm_check_that(c, !t->logits->needs_grad, NULL, "%s: a gradient would flow into the target", where))
    return false;
  for (int64_t r = 0; r < rows; r++) {
    double most = -INFINITY, sum = 0, total = 0;
    for (int64_t k = 0; k < t->dim; k++)
      most = fmax(most, (sm_get(t->logits, r * t->dim + k) - (t->shift ? sm_get(t->shift, k) : 0)) * scale);
    for (int pass = 0; pass < 2; pass++)
      for (int64_t k = 0; k < t->dim; k++) {
        double z = (sm_get(t->logits, r * t->dim + k) - (t->shift ? sm_get(t->shift, k) : 0)) * scale;
        if (pass == 0) sum += exp(z - most);
        else total += exp(z - most) / sum;
      }
    if (!(fabs(total - 1) <= worst)) worst = fabs(total - 1);
  }
  return sm_check_that(c, worst < 1e-9, NULL, "%s: rows are no distributions (sums are off by %g)", where,
                       worst);
}

static bool check_target(sm_checker *c, const tokenizer_trial *k, sm_site site) {
  static const char *const names[] = {"view target", "patch target"};
  const char *where = names[site];
  const sm_target *t = &k->target[site];
  sm_form promised = site == SM_SITE_VIEW ? k->spec.view : k->spec.patch;
  if (!k->want[site] || promised == SM_TARGET_NONE)
    return sm_check_that(c, promised != SM_TARGET_NONE || t->form == SM_TARGET_NONE, NULL,
                         "%s: given, but the spec says none", where);
  if (!sm_check_that(c, t->form == promised, NULL, "%s: form is %d, the spec says %d", where, (int)t->form,
                     (int)promised) ||
      !sm_check_that(c, t->dim == width(k, site), NULL, "%s: dim is %lld, not %d", where, (long long)t->dim,
                     width(k, site)))
    return false;
  int64_t rows = sm_items(k->rows[site]->token);
  if (t->form == SM_TARGET_DISTRIBUTION) return check_distribution(c, where, t, rows);
  const sm_tensor *values = t->form == SM_TARGET_IDS ? t->ids : t->vectors;
  if (!sm_check_that(c, values != NULL, NULL, "%s: no %s", where,
                     t->form == SM_TARGET_IDS ? "ids" : "vectors"))
    return false;
  bool good = !values->needs_grad;
  for (int64_t j = 0; j < rows * sm_item_elements(values); j++) {
    double v = sm_get(values, j);
    good = good && (t->form == SM_TARGET_IDS ? v >= 0 && v < (double)t->dim : isfinite(v));
  }
  return sm_check_that(c, good, NULL, "%s: %s", where,
                       t->form == SM_TARGET_IDS ? "ids beyond 0 … dim - 1"
                                                : "a vector is not finite, or a gradient would flow");
}

/* ---- runs ---------------------------------------------------------------------------------------------- */

/* STEPS steps; the state's hash after each. From step `from` on with the values of `load`. */
static bool run_steps(sm_checker *c, const sm_trial_plan *plan, sm_pool *pool, uint64_t hash[STEPS], int from,
                      sm_set *load, sm_set **keep) {
  sm_trial t;
  tokenizer_trial *k = plan->ctx;
  if (!sm_trial_open(&t, c, plan, pool)) return false;
  bool ok = true;
  if (load) sm_set_copy(t.set[0], load);
  for (int s = from; s < STEPS && ok; s++) {
    uint64_t before = state_hash(&t);
    step(&t, s);
    ok = sm_check_that(c, state_hash(&t) == before, NULL, "%s: the state changes before the update",
                       plan->name);
    for (int site = 0; site < 2 && ok; site++) ok = check_target(c, k, (sm_site)site);
    sm_graph_run(t.graph, k->update);
    hash[s] = state_hash(&t);
    for (int r = 0; r < sm_set_rows(t.set[0]) && ok; r++) {
      const double *v = sm_set_data(t.set[0], r, SM_VALUES);
      for (int64_t j = 0; j < sm_set_row(t.set[0], r)->size && ok; j++)
        ok = sm_check_that(c, isfinite(v[j]), NULL, "%s: '%s' is %g after an update", plan->name,
                           sm_set_row(t.set[0], r)->name, v[j]);
    }
    if (keep && s == 0) *keep = t.set[0], t.set[0] = NULL; /* taken over: the graph is not run again */
    if (keep) break;
  }
  sm_trial_close(&t);
  return ok;
}

static void check_wants(sm_checker *c, tokenizer_trial *k, bool view, bool patch, int hidden,
                        const char *name) {
  uint64_t once[STEPS] = {0}, again[STEPS] = {0}, resumed[STEPS] = {0};
  sm_set *saved = NULL;
  const sm_trial_plan plan = {name, declare, build, fill, true, k};
  k->want[SM_SITE_VIEW] = view, k->want[SM_SITE_PATCH] = patch, k->hidden = hidden;
  if (!run_steps(c, &plan, c->two, once, 0, NULL, NULL) || !run_steps(c, &plan, c->one, again, 0, NULL, NULL))
    return;
  bool ok = sm_check_that(c, memcmp(once, again, sizeof once) == 0, NULL,
                          "%s: 1 and 2 threads give other states", name);
  if (ok && run_steps(c, &plan, c->two, again, 0, NULL, &saved) && saved &&
      run_steps(c, &plan, c->two, resumed, 1, saved, NULL))
    ok = sm_check_that(
        c, resumed[STEPS - 1] == once[STEPS - 1], NULL,
        "%s: after saving and loading the state, training goes another way (a state that is not declared?)",
        name);
  if (saved) sm_set_free(saved);
  if (ok) sm_check_good(c, "%s", name);
}

void sm_check_tokenizer(sm_checker *c, sm_instance *instance) {
  sm_error err = {0};
  tokenizer_trial k = {
      .ops = instance->plugin->ops, .self = instance->self, .spec = {.size = sizeof(sm_tokenizer_spec)}};
  if (k.ops->spec(k.self, &k.spec, &err) != SM_OK) {
    sm_check_error(c, "spec", &err);
    return;
  }
  if (!sm_check_that(c, k.spec.view || k.spec.patch, NULL, "spec: it gives no target at all") ||
      !sm_check_that(c, k.spec.view_dim >= 0 && k.spec.patch_dim >= 0, NULL, "spec: a negative width") ||
      !sm_check_that(c, !k.spec.needs_attention && !k.spec.own, NULL,
                     "spec: needs_attention and own are reserved"))
    return;
  if (k.spec.view && k.spec.patch) check_wants(c, &k, true, true, 3, "both targets");
  if (k.spec.view) check_wants(c, &k, true, false, 3, "view targets");
  if (k.spec.patch) check_wants(c, &k, false, true, 3, "patch targets");
  if (k.spec.patch) check_wants(c, &k, k.spec.view != SM_TARGET_NONE, true, 0, "nothing masked");
}

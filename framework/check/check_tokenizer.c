/* check_tokenizer.c — tokenizers: targets that are what the spec says, a state that only fit and the update move,
 * the same from one run to the next and after saving and loading. */
#include <math.h>
#include <string.h>

#include "framework/plugin/registry.h"

#include "driver.h"

#define VIEWS 4
#define SIDE 3 /* patches */
#define TOKENS (1 + SIDE * SIDE)
#define DIM 12
#define CLASSES 10
#define PIXELS 48
#define CELL (PIXELS / SIDE)
#define STEPS 3
#define FIT_AT_MOST (1 << 16) /* numbers of a state: larger ones would take long */
enum { STATE, TEACHER, FROZEN };

typedef struct tokenizer_trial {
  const sm_tokenizer_ops *ops;
  void *self;
  sm_tokenizer_spec spec;
  bool want[2]; /* by site */
  bool local;   /* local views too, here of the same size: the targets looked at are theirs */
  int hidden;   /* masked patches of the first view */
  int side;     /* of the pictures it looks at */
  sm_rows *rows[2], *cells;
  sm_target target[2];
  sm_tensor *pictures, *tokens, *attention;
  sm_head head;
  int update;
  bool noted; /* that fit is not tried */
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

static const sm_head_ops head_ops = {.affine = 1,
                                     .declare = head_declare,
                                     .features = head_features,
                                     .logits = head_logits,
                                     .out_dim = head_out_dim};

/* ---- the graph ----------------------------------------------------------------------------------------- */

static int width(const tokenizer_trial *k, sm_site site) {
  int own = site == SM_SITE_VIEW ? k->spec.view_dim : k->spec.patch_dim;
  return own ? own : CLASSES;
}

static bool declare(sm_trial *t) {
  tokenizer_trial *k = t->ctx;
  sm_set *state = sm_trial_set(t, STATE, "state", false),
         *teacher = state ? sm_trial_set(t, TEACHER, "teacher", false) : NULL,
         *frozen = teacher ? sm_trial_set(t, FROZEN, "frozen", false) : NULL;
  if (!frozen) return false;
  k->head = (sm_head){&head_ops, NULL, {teacher, "head."}, SM_ROLE_TEACHER, CLASSES, CLASSES};
  head_declare(NULL, &k->head.params, DIM, CLASSES, CLASSES, SM_ROLE_TEACHER);
  if (k->ops->declare)
    k->ops->declare(k->self, &(sm_params){state, "tokenizer."}, width(k, SM_SITE_VIEW),
                    width(k, SM_SITE_PATCH));
  if (k->ops->declare_frozen) k->ops->declare_frozen(k->self, &(sm_params){frozen, "tokenizer."});
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
  k->pictures = sm_input_real(g, "pictures", 4, (int64_t[]){VIEWS, 3, k->side, k->side}, NULL);
  k->tokens =
      k->spec.needs_teacher ? sm_input_real(g, "tokens", 3, (int64_t[]){VIEWS, TOKENS, DIM}, NULL) : NULL;
  k->rows[SM_SITE_VIEW] = sm_rows_new(g, "views", VIEWS, VIEWS, TOKENS, NULL);
  k->rows[SM_SITE_PATCH] = sm_rows_new(g, "patches", VIEWS * SIDE, VIEWS, TOKENS, NULL);
  k->cells = sm_rows_new(g, "cells", VIEWS * SIDE, VIEWS, SIDE * SIDE, NULL);
  k->attention =
      k->spec.needs_attention ? sm_input_real(g, "attention", 3, (int64_t[]){VIEWS, 2, TOKENS}, NULL) : NULL;
  const sm_seen seen = {.pictures = k->pictures,
                        .tokens = k->tokens,
                        .prefix = 1,
                        .rows = SIDE,
                        .cols = SIDE,
                        .attention = k->attention};
  const sm_tokenizer_env env = {.head = k->spec.needs_head ? &k->head : NULL,
                                .state = {t->set[STATE], "tokenizer."},
                                .frozen = {t->set[FROZEN], "tokenizer."},
                                .cell_rows = k->cells,
                                .view_rows = k->rows[SM_SITE_VIEW],
                                .patch_rows = k->rows[SM_SITE_PATCH],
                                .want_view = k->want[SM_SITE_VIEW],
                                .want_patch = k->want[SM_SITE_PATCH]};
  k->target[0] = k->target[1] = (sm_target){0};
  k->ops->build(k->self, g, &env, &seen, &k->target[SM_SITE_VIEW], &k->target[SM_SITE_PATCH]);
  if (k->local) {
    k->target[SM_SITE_PATCH] = (sm_target){0};
    k->ops->build_local(k->self, g, &env, &seen, &k->target[SM_SITE_PATCH]);
  }
  for (int site = 0; site < 2; site++) keep_target(g, &k->target[site]);
  sm_pass_end(g);
  k->update = sm_pass_begin(g, "update");
  if (k->ops->build_update) k->ops->build_update(k->self, g, &env);
}

static void fill(sm_trial *t) {
  tokenizer_trial *k = t->ctx;
  int32_t views[VIEWS], patches[VIEWS * SIDE], cells[VIEWS * SIDE];
  int n = 0;
  for (int v = 0; v < VIEWS; v++) {
    views[v] = v * TOKENS;
    for (int j = 0; j < (v == 0 ? k->hidden : k->hidden / 2); j++, n++) {
      patches[n] = v * TOKENS + 1 + 2 * j;
      cells[n] = v * SIDE * SIDE + 2 * j;
    }
  }
  sm_rows_set(k->rows[SM_SITE_VIEW], views, VIEWS);
  sm_rows_set(k->rows[SM_SITE_PATCH], patches, n);
  sm_rows_set(k->cells, cells, n);
  sm_fill_normal(k->pictures, 41, 1);
  if (k->attention) sm_fill_normal(k->attention, 43, 1);
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
  for (int r = 0; r < sm_set_rows(t->set[STATE]); r++) hash = sm_set_row_hash(t->set[STATE], r, SM_VALUES, hash);
  return hash;
}

/* ---- learning and loading ------------------------------------------------------------------------------ */

static sm_status random_views(sm_sampler *sampler, int64_t n, float *views, sm_error *err) {
  int64_t *drawn = sampler->core, floats = 3 * (int64_t)sampler->height * sampler->width;
  (void)err;
  for (int64_t i = 0; i < n; i++) {
    sm_rng rng = sm_rng_make(21, SM_RNG_TEST, (uint64_t)(*drawn)++, 0, 0);
    for (int64_t j = 0; j < floats; j++) views[i * floats + j] = (float)sm_rng_uniform(&rng);
  }
  return SM_OK;
}

/* What a run does before its first step. */
static bool prepare_sets(sm_trial *t, bool fit) {
  tokenizer_trial *k = t->ctx;
  sm_checker *c = t->checker;
  sm_error err = {0};
  const sm_params state = {t->set[STATE], "tokenizer."}, frozen = {t->set[FROZEN], "tokenizer."};
  int64_t drawn = 0;
  sm_sampler sampler = {.pictures = 64,
                        .height = k->side,
                        .width = k->side,
                        .rows = SIDE,
                        .cols = SIDE,
                        .seed = 22,
                        .pool = c->two,
                        .core = &drawn,
                        .next = random_views};
  if (k->ops->load && k->ops->load(k->self, &frozen, &err) != SM_OK) return sm_check_error(c, "load", &err);
  if (!k->ops->fit || !fit) return true;
  if (sm_set_bytes(t->set[STATE]) / sizeof(double) > FIT_AT_MOST) {
    if (!k->noted)
      sm_check_note(c, "fit is not tried: the state is large; give --options that make it small");
    k->noted = true;
    return true;
  }
  return k->ops->fit(k->self, &state, &sampler, &err) == SM_OK || sm_check_error(c, "fit", &err);
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
  bool ok = prepare_sets(&t, !load);
  if (load) sm_set_copy(t.set[STATE], load);
  for (int s = from; s < STEPS && ok; s++) {
    uint64_t before = state_hash(&t);
    step(&t, s);
    ok = sm_check_that(c, state_hash(&t) == before, NULL, "%s: the state changes before the update",
                       plan->name);
    for (int site = 0; site < 2 && ok; site++) ok = check_target(c, k, (sm_site)site);
    sm_graph_run(t.graph, k->update);
    hash[s] = state_hash(&t);
    for (int r = 0; r < sm_set_rows(t.set[STATE]) && ok; r++) {
      double v;
      for (int64_t j = 0; j < sm_set_row(t.set[STATE], r)->size && ok; j++) {
        sm_set_read_f64(t.set[STATE], r, SM_VALUES, j, 1, &v);
        ok = sm_check_that(c, isfinite(v), NULL, "%s: '%s' is %g after an update", plan->name,
                           sm_set_row(t.set[STATE], r)->name, v);
      }
    }
    if (keep && s == 0)
      *keep = t.set[STATE], t.set[STATE] = NULL; /* taken over: the graph is not run again */
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
      .ops = instance->plugin->ops, .self = instance->self, .spec = {0}};
  if (sm_tokenizer_ask(k.ops, k.self, CELL, &k.spec, &err) != SM_OK) {
    sm_check_error(c, "spec", &err);
    return;
  }
  const sm_own_view *own = k.spec.own;
  k.side = own && own->pixels ? own->pixels * SIDE : PIXELS;
  if (!sm_check_that(c, k.spec.view || k.spec.patch, NULL, "spec: it gives no target at all") ||
      !sm_check_that(c, k.spec.view_dim >= 0 && k.spec.patch_dim >= 0, NULL, "spec: a negative width") ||
      !sm_check_that(c, !own || (own->pixels >= 0 && own->std[0] > 0 && own->std[1] > 0 && own->std[2] > 0),
                     NULL, "spec: its own view has %d pixels a cell and deviations %g, %g, %g",
                     own ? own->pixels : 0, own ? own->std[0] : 0, own ? own->std[1] : 0,
                     own ? own->std[2] : 0) ||
      !sm_check_that(c, !k.ops->load == !k.ops->declare_frozen, NULL,
                     "declare_frozen and load come together: one fills what the other declares"))
    return;
  if (k.spec.view && k.spec.patch) check_wants(c, &k, true, true, 3, "both targets");
  if (k.spec.view) check_wants(c, &k, true, false, 3, "view targets");
  if (k.spec.patch) check_wants(c, &k, false, true, 3, "patch targets");
  if (k.spec.patch) check_wants(c, &k, k.spec.view != SM_TARGET_NONE, true, 0, "nothing masked");
  k.local = k.ops->build_local && !own;
  if (k.spec.patch && k.local) check_wants(c, &k, false, true, 3, "patch targets of local views");
}

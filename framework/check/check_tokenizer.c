/* check_tokenizer.c — tokenizers: targets that are what the spec says, a state that only fit and the update
 * move, the same from one run to the next and after saving and loading. */
#include <math.h>
#include <string.h>

#include "driver.h"

#define VIEWS 4
#define ROWS 3 /* the grid is oblong, so that rows and columns are not taken for each other */
#define COLS 4
#define PATCHES (ROWS * COLS)
#define DIM 12 /* D of the check */
#define K 10   /* of its head */
#define CELL 16
#define BLOCKS SM_WISHES_MAX /* that its backbone offers */
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
  int cell;     /* pixels of the pictures it looks at */
  sm_rows *masked;
  sm_target target[2];
  sm_tensor *pictures, *view, *patches, *block[SM_WISHES_MAX];
  sm_head head;
  bool noted; /* that fit is not tried */
} tokenizer_trial;

/* ---- a plain linear head, so that a tokenizer can be tried without other plugins ----------------------- */

static void check_tokenizer_head_declare(const void *self, const sm_head *h) {
  (void)self;
  sm_declare(&h->params, "weight", SM_INIT_NORMAL, 0.3, 0, 2, (int64_t[]){h->view_dim, h->dim});
  sm_declare(&h->params, "bias", SM_INIT_ZEROS, 0, 0, 1, (int64_t[]){h->view_dim});
}

static sm_tensor *check_tokenizer_head_features(void *self, sm_graph *g, const sm_head *h, sm_tensor *x,
                                                sm_site site) {
  (void)self, (void)g, (void)h, (void)site;
  return x;
}

static sm_tensor *check_tokenizer_head_logits(void *self, sm_graph *g, const sm_head *h, sm_tensor *x,
                                              sm_site site) {
  (void)self, (void)site;
  return sm_linear(g, x, sm_param(g, &h->params, "weight"), sm_param(g, &h->params, "bias"));
}

static int check_tokenizer_head_out_dim(const void *self, sm_site site, int dim) {
  (void)self, (void)site, (void)dim;
  return K;
}

static int check_tokenizer_head_feature_dim(const void *self, sm_site site, int dim) {
  (void)self, (void)site;
  return dim;
}

static const sm_head_ops head_ops = {.affine = true,
                                     .declare = check_tokenizer_head_declare,
                                     .features = check_tokenizer_head_features,
                                     .logits = check_tokenizer_head_logits,
                                     .out_dim = check_tokenizer_head_out_dim,
                                     .feature_dim = check_tokenizer_head_feature_dim};

/* ---- the graph ----------------------------------------------------------------------------------------- */

static int check_tokenizer_width(const tokenizer_trial *k, sm_site site) {
  int own = sm_tokenizer_width(&k->spec, site);
  return own ? own : K;
}

static bool check_tokenizer_declare(sm_trial *t) {
  tokenizer_trial *k = t->ctx;
  sm_set *state = sm_trial_set(t, STATE, "state", false),
         *teacher = state ? sm_trial_set(t, TEACHER, "teacher", false) : NULL,
         *frozen = teacher ? sm_trial_set(t, FROZEN, "frozen", false) : NULL;
  if (!frozen) return false;
  k->head = (sm_head){.ops = &head_ops,
                      .params = {teacher, "head."},
                      .state = {state, "head."},
                      .role = SM_ROLE_TEACHER,
                      .dim = DIM,
                      .view_dim = K,
                      .patch_dim = K};
  check_tokenizer_head_declare(NULL, &k->head);
  if (k->ops->declare)
    k->ops->declare(k->self, &(sm_params){state, "tokenizer."},
                    k->want[SM_SITE_VIEW] ? check_tokenizer_width(k, SM_SITE_VIEW) : 0,
                    k->want[SM_SITE_PATCH] ? check_tokenizer_width(k, SM_SITE_PATCH) : 0);
  if (k->ops->declare_behind && k->spec.needs_head)
    k->ops->declare_behind(k->self, &(sm_params){state, "tokenizer."}, &k->head, 1);
  if (k->ops->declare_frozen) k->ops->declare_frozen(k->self, &(sm_params){frozen, "tokenizer."});
  return true;
}

static void check_tokenizer_keep_target(sm_graph *g, const sm_target *target) {
  if (target->logits) sm_keep(g, target->logits);
  if (target->ids) sm_keep(g, target->ids);
  if (target->vectors) sm_keep(g, target->vectors);
}

/* What it may look at: what its spec asks for, and nothing else. */
static sm_seen check_tokenizer_look(tokenizer_trial *k, sm_graph *g) {
  const int64_t features[] = {VIEWS, PATCHES, DIM}, view[] = {VIEWS, DIM};
  char name[32];
  k->pictures = sm_input_real(g, "pictures", 4, (int64_t[]){VIEWS, 3, ROWS * k->cell, COLS * k->cell}, NULL);
  k->view = k->spec.needs_teacher ? sm_input_real(g, "teacher.view", 2, view, NULL) : NULL;
  k->patches = k->spec.needs_teacher ? sm_input_real(g, "teacher.patches", 3, features, NULL) : NULL;
  sm_seen seen = {.pictures = k->pictures,
                  .rows = ROWS,
                  .cols = COLS,
                  .view = k->view,
                  .patches = k->patches,
                  .blocks = k->spec.teacher_blocks};
  for (int b = 0; b < seen.blocks; b++) {
    snprintf(name, sizeof name, "teacher.block%d", b);
    seen.block[b] = k->block[b] = sm_input_real(g, name, 3, features, NULL);
  }
  return seen;
}

static sm_tokenizer_env check_tokenizer_env_of(const sm_trial *t) {
  const tokenizer_trial *k = t->ctx;
  return (sm_tokenizer_env){.head = k->spec.needs_head ? &k->head : NULL,
                            .state = {t->set[STATE], "tokenizer."},
                            .frozen = {t->set[FROZEN], "tokenizer."},
                            .masked = k->masked,
                            .want_view = k->want[SM_SITE_VIEW],
                            .want_patch = k->want[SM_SITE_PATCH]};
}

static void check_tokenizer_build(sm_trial *t) {
  tokenizer_trial *k = t->ctx;
  sm_graph *g = t->graph;
  const sm_seen seen = check_tokenizer_look(k, g);
  k->masked = sm_rows_new(g, "masked", VIEWS * PATCHES, VIEWS, PATCHES, NULL);
  const sm_tokenizer_env env = check_tokenizer_env_of(t);
  k->target[0] = k->target[1] = (sm_target){0};
  k->ops->build(k->self, g, &env, &seen, &k->target[SM_SITE_VIEW], &k->target[SM_SITE_PATCH]);
  if (k->local) {
    sm_tokenizer_env local = env;
    local.want_view = false;
    k->target[SM_SITE_PATCH] = (sm_target){0};
    k->ops->build_local(k->self, g, &local, &seen, &k->target[SM_SITE_PATCH]);
  }
  for (int site = 0; site < 2; site++) check_tokenizer_keep_target(g, &k->target[site]);
}

static void check_tokenizer_update(sm_trial *t) {
  tokenizer_trial *k = t->ctx;
  const sm_tokenizer_env env = check_tokenizer_env_of(t);
  if (k->ops->build_update) k->ops->build_update(k->self, t->graph, &env);
}

static void check_tokenizer_fill_features(tokenizer_trial *k, uint64_t key) {
  if (k->view) sm_fill_normal(k->view, key, 1);
  if (k->patches) sm_fill_normal(k->patches, key + 100, 1);
  for (int b = 0; b < k->spec.teacher_blocks; b++)
    sm_fill_normal(k->block[b], key + 200 + 10 * (uint64_t)b, 1);
}

static void check_tokenizer_fill(sm_trial *t) {
  tokenizer_trial *k = t->ctx;
  int32_t cells[VIEWS * PATCHES];
  int n = 0;
  for (int v = 0; v < VIEWS; v++)
    for (int j = 0; j < (v == 0 ? k->hidden : k->hidden / 2); j++) cells[n++] = v * PATCHES + 2 * j;
  sm_rows_set(k->masked, cells, n);
  sm_fill_normal(k->pictures, 41, 1);
  check_tokenizer_fill_features(k, 42);
}

static void check_tokenizer_step(sm_trial *t, int64_t number) {
  tokenizer_trial *k = t->ctx;
  const sm_time time = {.step = number, .steps_per_epoch = 2, .epochs = 3};
  check_tokenizer_fill_features(k, 50 + (uint64_t)number);
  if (k->ops->prepare) k->ops->prepare(k->self, &time, 0);
  sm_graph_run(t->graph, t->pass);
}

/* ---- learning and loading ------------------------------------------------------------------------------ */

static sm_status check_tokenizer_random_views(sm_sampler *sampler, int64_t n, float *views, sm_error *err) {
  int64_t *drawn = sampler->core, floats = 3 * (int64_t)sampler->height * sampler->width;
  (void)err;
  for (int64_t i = 0; i < n; i++) {
    sm_rng rng = sm_rng_make(21, SM_RNG_TEST, (uint64_t)(*drawn)++, 0, 0);
    for (int64_t j = 0; j < floats; j++) views[i * floats + j] = (float)sm_rng_uniform(&rng);
  }
  return SM_OK;
}

/* What a run does before its first step. */
static bool check_tokenizer_prepare_sets(sm_trial *t, bool fit) {
  tokenizer_trial *k = t->ctx;
  sm_checker *c = t->checker;
  sm_error err = {0};
  const sm_params state = {t->set[STATE], "tokenizer."}, frozen = {t->set[FROZEN], "tokenizer."};
  int64_t drawn = 0;
  sm_sampler sampler = {.pictures = 64,
                        .height = ROWS * k->cell,
                        .width = COLS * k->cell,
                        .rows = ROWS,
                        .cols = COLS,
                        .seed = 22,
                        .pool = c->two,
                        .core = &drawn,
                        .next = check_tokenizer_random_views};
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
  int own = sm_tokenizer_width(&k->spec, site);
  const sm_target *t = &k->target[site];
  sm_form promised = site == SM_SITE_VIEW ? k->spec.view : k->spec.patch;
  if (!k->want[site] || promised == SM_TARGET_NONE)
    return sm_check_that(c, promised != SM_TARGET_NONE || t->form == SM_TARGET_NONE, NULL,
                         "%s: given, but the spec says none", where);
  if (!sm_check_that(c, t->form == promised, NULL, "%s: form is %d, the spec says %d", where, (int)t->form,
                     (int)promised) ||
      !sm_check_that(
          c, t->dim == check_tokenizer_width(k, site), NULL, "%s: dim is %lld, not %d%s", where,
          (long long)t->dim, check_tokenizer_width(k, site),
          own ? " as the spec says" : ", the K of the check's head, since the spec gives no length"))
    return false;
  int64_t rows = site == SM_SITE_VIEW ? VIEWS : sm_items(k->masked->token);
  if (t->form == SM_TARGET_DISTRIBUTION) return check_distribution(c, where, t, rows);
  const sm_tensor *values = t->form == SM_TARGET_IDS ? t->ids : t->vectors;
  if (!sm_check_that(c, values != NULL, NULL, "%s: no %s", where,
                     t->form == SM_TARGET_IDS ? "ids" : "vectors") ||
      !sm_check_that(c, t->form == SM_TARGET_IDS || (values->ndim == 2 && values->dim[1] == t->dim), NULL,
                     "%s: vectors are not (rows, %lld)", where, (long long)t->dim))
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
static bool check_tokenizer_run_steps(sm_checker *c, const sm_trial_plan *plan, sm_pool *pool,
                                      uint64_t hash[STEPS], int from, sm_set *load, sm_set **keep) {
  sm_trial t;
  tokenizer_trial *k = plan->ctx;
  if (!sm_trial_open(&t, c, plan, pool)) return false;
  bool ok = check_tokenizer_prepare_sets(&t, !load);
  if (load) sm_set_copy(t.set[STATE], load);
  for (int s = from; s < STEPS && ok; s++) {
    uint64_t before = sm_trial_state(&t, STATE);
    check_tokenizer_step(&t, s);
    ok = sm_check_that(c, sm_trial_state(&t, STATE) == before, NULL,
                       "%s: the state changes before the update", plan->name);
    for (int site = 0; site < 2 && ok; site++) ok = check_target(c, k, (sm_site)site);
    sm_graph_run(t.graph, t.update);
    hash[s] = sm_trial_state(&t, STATE);
    ok = ok && sm_trial_state_finite(&t, STATE, "an update");
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
  const sm_trial_plan plan = {.name = name,
                              .declare = check_tokenizer_declare,
                              .build = check_tokenizer_build,
                              .update = check_tokenizer_update,
                              .fill = check_tokenizer_fill,
                              .no_gradient = true,
                              .ctx = k};
  k->want[SM_SITE_VIEW] = view, k->want[SM_SITE_PATCH] = patch, k->hidden = hidden;
  if (!check_tokenizer_run_steps(c, &plan, c->two, once, 0, NULL, NULL) ||
      !check_tokenizer_run_steps(c, &plan, c->one, again, 0, NULL, NULL))
    return;
  bool ok = sm_check_that(c, memcmp(once, again, sizeof once) == 0, NULL,
                          "%s: 1 and 2 threads give other states", name);
  if (ok && check_tokenizer_run_steps(c, &plan, c->two, again, 0, NULL, &saved) && saved &&
      check_tokenizer_run_steps(c, &plan, c->two, resumed, 1, saved, NULL))
    ok = sm_check_that(
        c, resumed[STEPS - 1] == once[STEPS - 1], NULL,
        "%s: after saving and loading the state, training goes another way (a state that is not declared?)",
        name);
  if (saved) sm_set_free(saved);
  if (ok) sm_check_good(c, "%s", name);
}

/* Each field of the spec that is wrong, by name. */
static bool check_spec(sm_checker *c, const tokenizer_trial *k) {
  const sm_tokenizer_spec *s = &k->spec;
  const sm_own_view *own = s->own;
  const int forms = SM_TARGET_DISTRIBUTION | SM_TARGET_IDS | SM_TARGET_VECTORS;
  for (int j = 0; own && j < 3; j++)
    if (!sm_check_that(c, own->std[j] > 0, NULL, "spec: own->std[%d] is %g; values are divided by it", j,
                       own->std[j]))
      return false;
  return sm_check_that(c, s->view || s->patch, NULL,
                       "spec: view and patch are both SM_TARGET_NONE, so it gives no target at all") &&
         sm_check_that(c, !((int)s->view & ~forms) && !((int)s->patch & ~forms), NULL,
                       "spec: view is %d and patch is %d, which are not both an SM_TARGET_…", (int)s->view,
                       (int)s->patch) &&
         sm_check_that(c, s->view_dim >= 0, NULL, "spec: view_dim is %d", s->view_dim) &&
         sm_check_that(c, s->patch_dim >= 0, NULL, "spec: patch_dim is %d", s->patch_dim) &&
         sm_check_that(
             c, s->teacher_blocks >= 0 && s->teacher_blocks <= BLOCKS, NULL,
             "spec: teacher_blocks is %d, but the check's backbone offers %d, as spec->blocks says; ask for no more, or refuse",
             s->teacher_blocks, BLOCKS) &&
         sm_check_that(c, !s->needs_head || s->needs_teacher, NULL,
                       "spec: needs_head is set, but not needs_teacher, whose features a head reads") &&
         sm_check_that(c, s->needs_head || !s->view || s->view_dim, NULL,
                       "spec: view_dim is 0, as large as a head says, but needs_head is not set") &&
         sm_check_that(c, s->needs_head || !s->patch || s->patch_dim, NULL,
                       "spec: patch_dim is 0, as large as a head says, but needs_head is not set") &&
         sm_check_that(c, !own || own->pixels >= 0, NULL, "spec: own->pixels is %d", own ? own->pixels : 0) &&
         sm_check_that(c, !k->ops->load == !k->ops->declare_frozen, NULL,
                       "declare_frozen and load come together: one fills what the other declares");
}

/* Where a recipe is only looked at there is no backbone yet: spec is asked with zeros, and must answer as
 * well as it can. */
static bool check_spec_early(sm_checker *c, const tokenizer_trial *k) {
  sm_error err = {0};
  sm_tokenizer_spec early = {0};
  if (k->ops->spec(k->self, &early, &err) != SM_OK)
    return sm_check_that(c, false, NULL,
                         "spec is refused where there is no backbone yet (dim, cell and blocks 0): %s",
                         err.message);
  return sm_check_that(
      c, early.view == k->spec.view && early.patch == k->spec.patch, NULL,
      "spec gives other forms where there is no backbone yet (dim, cell and blocks 0): view %d and patch %d, then %d and %d",
      (int)early.view, (int)early.patch, (int)k->spec.view, (int)k->spec.patch);
}

void sm_check_tokenizer(sm_checker *c, sm_instance *instance) {
  sm_error err = {0};
  tokenizer_trial k = {.ops = instance->plugin->ops,
                       .self = instance->self,
                       .spec = {.dim = DIM, .cell = CELL, .blocks = BLOCKS}};
  if (k.ops->spec(k.self, &k.spec, &err) != SM_OK) {
    sm_check_error(c, "spec", &err);
    return;
  }
  if (!check_spec(c, &k) || !check_spec_early(c, &k)) return;
  k.cell = k.spec.own && k.spec.own->pixels ? k.spec.own->pixels : CELL;
  if (k.spec.view && k.spec.patch) check_wants(c, &k, true, true, 3, "both targets");
  if (k.spec.view) check_wants(c, &k, true, false, 3, "view targets");
  if (k.spec.patch) check_wants(c, &k, false, true, 3, "patch targets");
  if (k.spec.patch) check_wants(c, &k, k.spec.view != SM_TARGET_NONE, true, 0, "nothing masked");
  k.local = k.ops->build_local && !k.spec.own;
  if (k.spec.patch && k.local) check_wants(c, &k, false, true, 3, "patch targets of local views");
}

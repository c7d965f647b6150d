/* trial.c — a plugin's graph in double precision: built, run twice and with other numbers of threads,
 * differentiated.
 *
 * The gradient is compared with five-point central differences (error h⁴) along random directions and single
 * coordinates of every parameter. Parameters are moved off their initial values first, since a bias that
 * starts at 0 hides mistakes. */
#include <math.h>
#include <string.h>

#include "driver.h"

#define STEP 3e-4
#define STEPS 3 /* that are tried, each smaller */
#define TOLERANCE 1e-6
#define MOST_BYTES ((size_t)384 << 20) /* a larger trial is planned but not run */
#define MOST_FLOPS 2e8                 /* of one run of a brief trial, likewise */
#define FLOPS_THOROUGH 4e9
#define FLOPS_BRIEF 4e8
#define HEAVY ((size_t)32 << 20) /* a brief trial of this size is not built a second time */

/* ---- building ------------------------------------------------------------------------------------------ */

sm_set *sm_trial_set(sm_trial *t, int slot, const char *name, bool trainable) {
  sm_error err;
  t->set[slot] = sm_set_new(name, SM_F64, trainable, &err);
  if (!t->set[slot]) sm_check_error(t->checker, name, &err);
  return t->set[slot];
}

void sm_fill_normal(sm_tensor *t, uint64_t key, double deviation) {
  sm_rng rng = sm_rng_make(20, SM_RNG_TEST, key, 0, 0);
  int64_t n = sm_elements(t);
  for (int64_t k = 0; k < n; k++) sm_write_f64(t, k, 1, &(double){deviation * sm_rng_normal(&rng)});
}

void sm_trial_term(sm_trial *t, sm_tensor *term) {
  if (t->terms == TRIAL_TERMS) {
    sm_graph_fail(t->graph, "the check has more than %d terms", TRIAL_TERMS);
    return;
  }
  sm_keep(t->graph, term);
  t->term[t->terms++] = term;
}

void sm_trial_score(sm_trial *t, sm_tensor *y) {
  char name[32];
  if (!sm_graph_ok(t->graph)) return;
  snprintf(name, sizeof name, "check.weight%d", t->terms);
  sm_tensor *w = sm_input_real(t->graph, name, y->ndim, y->dim, y->count), *term = sm_mul(t->graph, y, w);
  sm_loss_term(t->graph, term);
  sm_trial_term(t, term);
}

static bool trial_seal(sm_trial *t, size_t *bytes, sm_error *err) {
  for (int k = 0; k < TRIAL_SETS; k++) {
    if (!t->set[k]) continue;
    if (sm_set_seal(t->set[k], SM_MOMENTS_NONE, err) != SM_OK) return false;
    *bytes += sm_set_bytes(t->set[k]);
  }
  return true;
}

/* A cheap number in [0, 1) for element i: big parameters take millions of them. */
static double trial_scramble(uint64_t key, int64_t i) {
  uint64_t z = key + (uint64_t)(i + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

/* Values of weights and inputs, a little off the initial ones. */
static bool trial_allocate(sm_trial *t, sm_error *err) {
  for (int k = 0; k < TRIAL_SETS; k++) {
    if (!t->set[k]) continue;
    if (sm_set_allocate(t->set[k], 1, err) != SM_OK) return false;
    for (int r = 0; r < sm_set_rows(t->set[k]); r++) {
      const sm_row *row = sm_set_row(t->set[k], r);
      if (row->alias_of >= 0) continue;
      uint64_t key = sm_hash64(row->name, strlen(row->name), 3);
      double *v = sm_set_lend(t->set[k], r, SM_VALUES, NULL);
      for (int64_t i = 0; i < row->size; i++) v[i] += 0.15 * (trial_scramble(key, i) - 0.5);
      sm_set_give_back(t->set[k], r, SM_VALUES, v, true);
    }
  }
  return sm_graph_allocate(t->graph, err) == SM_OK;
}

static void trial_fill_weights(sm_trial *t) {
  for (int k = 0; k < t->terms; k++) {
    sm_node *mul = t->term[k]->maker;
    sm_tensor *w = mul && mul->in[1] && mul->in[1]->persistent && !mul->in[1]->maker ? mul->in[1] : NULL;
    const char *last = w && w->name ? strstr(w->name, "check.weight") : NULL;
    if (last) sm_fill_normal(w, 100 + (uint64_t)k, 1 / sqrt((double)sm_elements(w)));
  }
}

/* Made, sealed, built, planned; *bytes it needs. */
static bool trial_build(sm_trial *t, const sm_trial_plan *plan, sm_pool *pool, size_t *bytes, sm_error *err) {
  sm_plan_report report;
  const sm_graph_config config = {.device = SM_CPU, .real = SM_F64, .pool = pool};
  t->graph = sm_graph_new(&config, err);
  if (!t->graph || !plan->declare(t) || !trial_seal(t, bytes, err)) return false;
  t->pass = sm_pass_begin(t->graph, "check");
  plan->build(t);
  if (!plan->no_gradient) sm_pass_backward(t->graph);
  sm_pass_end(t->graph);
  if (plan->update) {
    t->update = sm_pass_begin(t->graph, "update");
    plan->update(t);
    sm_pass_end(t->graph);
  }
  if (sm_graph_plan(t->graph, err) != SM_OK) return false;
  sm_graph_report(t->graph, &report);
  *bytes += report.inputs + report.transient + report.worker;
  return true;
}

/* Too large to run here, which a note says; nothing is allocated yet. */
static bool trial_too_large(sm_trial *t, const char *name) {
  char text[32];
  sm_plan_report report;
  sm_checker *c = t->checker;
  sm_graph_report(t->graph, &report);
  if (t->bytes > MOST_BYTES)
    sm_check_note(c, "%s: built and planned, not run (it needs %s)", name,
                  sm_human_bytes((double)t->bytes, text, sizeof text));
  else if (!c->thorough && report.flops > MOST_FLOPS)
    sm_check_note(c, "%s: built and planned, not run (a run is %.2g multiplications)", name,
                  report.flops / 2);
  else return false;
  return c->untried = true;
}

bool sm_trial_open(sm_trial *t, sm_checker *c, const sm_trial_plan *plan, sm_pool *pool) {
  sm_error err = {0};
  size_t bytes = 0;
  *t = (sm_trial){.checker = c, .ctx = plan->ctx};
  if (!trial_build(t, plan, pool, &bytes, &err)) {
    if (err.code != SM_OK) sm_check_error(c, plan->name, &err);
    sm_trial_close(t);
    return false;
  }
  t->bytes = bytes;
  c->heavy = bytes > HEAVY;
  if (trial_too_large(t, plan->name)) {
    sm_trial_close(t);
    return false;
  }
  if (!trial_allocate(t, &err)) {
    sm_check_error(c, plan->name, &err);
    sm_trial_close(t);
    return false;
  }
  trial_fill_weights(t);
  if (plan->fill) plan->fill(t);
  return true;
}

void sm_trial_close(sm_trial *t) {
  sm_graph_free(t->graph);
  for (int k = 0; k < TRIAL_SETS; k++)
    if (t->set[k]) sm_set_free(t->set[k]);
  *t = (sm_trial){0};
}

/* ---- running ------------------------------------------------------------------------------------------- */

double sm_trial_run(sm_trial *t) {
  double sum = 0;
  sm_watch_sign();
  sm_graph_run(t->graph, t->pass);
  for (int k = 0; k < t->terms; k++) {
    int64_t n = sm_items(t->term[k]) * sm_item_elements(t->term[k]);
    for (int64_t i = 0; i < n; i++) sum += sm_get(t->term[k], i);
  }
  return sum;
}

static bool trial_has_gradient(const sm_trial *t, int set, int row) {
  const sm_row *r = sm_set_row(t->set[set], row);
  return r->alias_of < 0 && !(r->flags & SM_ROW_FROZEN) &&
         sm_set_read(t->set[set], row, SM_GRADIENTS, 0, 0, NULL);
}

void sm_trial_zero_gradients(sm_trial *t) {
  for (int k = 0; k < TRIAL_SETS; k++)
    for (int r = 0; t->set[k] && r < sm_set_rows(t->set[k]); r++)
      if (trial_has_gradient(t, k, r)) sm_set_fill(t->set[k], r, SM_GRADIENTS, 0);
}

uint64_t sm_trial_hash(const sm_trial *t) {
  uint64_t hash = 0;
  for (int k = 0; k < t->terms; k++)
    for (int64_t i = 0, n = sm_items(t->term[k]) * sm_item_elements(t->term[k]); i < n; i++)
      hash = sm_hash64(&(double){sm_get(t->term[k], i)}, sizeof(double), hash);
  for (int k = 0; k < TRIAL_SETS; k++)
    for (int r = 0; t->set[k] && r < sm_set_rows(t->set[k]); r++)
      if (trial_has_gradient(t, k, r)) hash = sm_set_row_hash(t->set[k], r, SM_GRADIENTS, hash);
  return hash;
}

uint64_t sm_trial_state(const sm_trial *t, int slot) {
  uint64_t hash = 0;
  for (int r = 0; r < sm_set_rows(t->set[slot]); r++)
    hash = sm_set_row_hash(t->set[slot], r, SM_VALUES, hash);
  return hash;
}

int sm_trial_running(const sm_trial *t, int slot, uint64_t *hash) {
  int n = 0;
  if (hash) *hash = 0;
  for (int r = 0; r < sm_set_rows(t->set[slot]); r++) {
    if (!(sm_set_row(t->set[slot], r)->flags & SM_ROW_RUNNING)) continue;
    if (hash) *hash = sm_set_row_hash(t->set[slot], r, SM_VALUES, *hash);
    n++;
  }
  return n;
}

bool sm_trial_state_finite(sm_trial *t, int slot, const char *what) {
  double v = 0;
  for (int r = 0; r < sm_set_rows(t->set[slot]); r++)
    for (int64_t j = 0; j < sm_set_row(t->set[slot], r)->size; j++) {
      sm_set_read_f64(t->set[slot], r, SM_VALUES, j, 1, &v);
      if (!sm_check_that(t->checker, isfinite(v), NULL, "'%s' is %g after %s",
                         sm_set_row(t->set[slot], r)->name, v, what))
        return false;
    }
  return true;
}

/* ---- the gradient -------------------------------------------------------------------------------------- */

typedef struct direction {
  int set, row;       /* row -1: all parameters of all sets */
  int64_t coordinate; /* -1: a random direction             */
} direction;

typedef struct finding {
  double worst;
  char where[200];
  int tried;
} finding;

/* The key of a row's random direction, whose elements are 1 and -1. */
static uint64_t trial_sign_key(const sm_row *row) { return sm_hash64(row->name, strlen(row->name), 11); }
static double trial_sign(uint64_t key, int64_t i) { return trial_scramble(key, i) < 0.5 ? -1 : 1; }

static bool trial_takes_part(const sm_trial *t, const direction *d, int set, int row) {
  return trial_has_gradient(t, set, row) && (d->row < 0 || (d->set == set && d->row == row));
}

/* 1 over the direction's length. */
static double trial_unit(const sm_trial *t, const direction *d) {
  double n = 0;
  if (d->coordinate >= 0) return 1;
  for (int k = 0; k < TRIAL_SETS; k++)
    for (int r = 0; t->set[k] && r < sm_set_rows(t->set[k]); r++)
      if (trial_takes_part(t, d, k, r)) n += (double)sm_set_row(t->set[k], r)->size;
  return n > 0 ? 1 / sqrt(n) : 1;
}

/* Move the parameters along the direction. */
static void trial_move(sm_trial *t, const direction *d, double by) {
  for (int k = 0; k < TRIAL_SETS; k++)
    for (int r = 0; t->set[k] && r < sm_set_rows(t->set[k]); r++) {
      if (!trial_takes_part(t, d, k, r)) continue;
      const sm_row *row = sm_set_row(t->set[k], r);
      double *v = sm_set_lend(t->set[k], r, SM_VALUES, NULL);
      uint64_t key = trial_sign_key(row);
      if (d->coordinate >= 0) v[d->coordinate] += by;
      for (int64_t i = 0; d->coordinate < 0 && i < row->size; i++) v[i] += by * trial_sign(key, i);
      sm_set_give_back(t->set[k], r, SM_VALUES, v, true);
    }
}

/* <gradient, direction of unit length>, and the gradient's typical element. */
static double trial_slope_of(sm_trial *t, const direction *d, double *const *gradient, double *typical) {
  double dot = 0, square = 0, n = 0;
  int flat = 0;
  for (int k = 0; k < TRIAL_SETS; k++)
    for (int r = 0; t->set[k] && r < sm_set_rows(t->set[k]); r++, flat++) {
      if (!trial_takes_part(t, d, k, r)) continue;
      const sm_row *row = sm_set_row(t->set[k], r);
      const double *g = gradient[flat];
      uint64_t key = trial_sign_key(row);
      for (int64_t i = 0; i < row->size; i++) {
        dot += d->coordinate < 0 ? g[i] * trial_sign(key, i) : i == d->coordinate ? g[i] : 0;
        square += g[i] * g[i], n++;
      }
    }
  *typical = n > 0 ? sqrt(square / n) : 0;
  return dot * trial_unit(t, d);
}

/* How far the slope is from differences of this step, relative to what they can know. */
static double trial_error_of(sm_trial *t, const direction *d, double slope, double typical, double step,
                             double *numeric) {
  static const double at[4] = {-2, -1, 1, 2}, factor[4] = {1, -8, 8, -1};
  double size = 0, one = trial_unit(t, d);
  *numeric = 0;
  for (int k = 0; k < 4; k++) {
    trial_move(t, d, at[k] * step * one);
    double loss = sm_trial_run(t);
    trial_move(t, d, -at[k] * step * one);
    *numeric += factor[k] * loss / (12 * step);
    size = fmax(size, fabs(loss));
  }
  double rounding = 20 * 2.2e-16 * (1 + size) / step; /* below this the differences know nothing */
  return fabs(slope - *numeric) /
         fmax(fmax(fabs(slope), fabs(*numeric)), fmax(typical, rounding / TOLERANCE));
}

/* Where a max or a ReLU bends within the step, or a norm of a nearly constant row does, smaller steps agree;
 * a wrong gradient agrees at none. */
static void trial_try_direction(sm_trial *t, const direction *d, double *const *gradient, finding *f) {
  double typical, numeric, slope = trial_slope_of(t, d, gradient, &typical),
                           error = trial_error_of(t, d, slope, typical, STEP, &numeric);
  for (int k = 1; k < STEPS && !(error <= TOLERANCE); k++)
    error = trial_error_of(t, d, slope, typical, STEP / (k == 1 ? 30 : 300), &numeric);
  f->tried++;
  if (error <= f->worst && f->worst == f->worst) return;
  f->worst = error;
  snprintf(f->where, sizeof f->where, "%.100s%s: %.9g, differences give %.9g",
           d->row < 0 ? "all parameters" : sm_set_row(t->set[d->set], d->row)->name,
           d->coordinate < 0 ? "" : " (one element)", slope, numeric);
}

static double **trial_copy_gradients(sm_trial *t, int *n_rows, sm_arena *arena) {
  int n = 0, at = 0;
  for (int k = 0; k < TRIAL_SETS; k++) n += t->set[k] ? sm_set_rows(t->set[k]) : 0;
  double **copy = sm_arena_alloc(arena, (size_t)(n + 1) * sizeof *copy);
  for (int k = 0; copy && k < TRIAL_SETS; k++)
    for (int r = 0; t->set[k] && r < sm_set_rows(t->set[k]); r++, at++) {
      int64_t size = sm_set_row(t->set[k], r)->size;
      if (!trial_has_gradient(t, k, r)) continue;
      copy[at] = sm_arena_alloc(arena, (size_t)size * sizeof *copy[at]);
      if (!copy[at]) return NULL;
      sm_set_read_f64(t->set[k], r, SM_GRADIENTS, 0, size, copy[at]);
    }
  *n_rows = n;
  return copy;
}

/* All parameters together, then row by row as far as the budget goes: a random
 * direction and single elements. */
static bool trial_check_gradient(sm_checker *c, sm_trial *t, const char *name) {
  sm_plan_report report;
  bool ok = true;
  finding f = {0};
  int rows;
  sm_arena *arena = sm_arena_new("gradients");
  double **gradient = arena ? trial_copy_gradients(t, &rows, arena) : NULL;
  sm_graph_report(t->graph, &report);
  double directions =
      (c->thorough ? FLOPS_THOROUGH : FLOPS_BRIEF) / (4 * (report.flops + 2 * (double)t->bytes + 1e5));
  int64_t budget = directions > 2000 ? 2000 : directions < 3 ? 3 : (int64_t)directions;
  if (!gradient) {
    sm_check_note(c, "%s: no memory to compare gradients", name);
    goto out;
  }
  int64_t wanted = 3 * (int64_t)rows, stride = (wanted + budget - 1) / budget, next = 0, flat = 0;
  trial_try_direction(t, &(direction){.row = -1, .coordinate = -1}, gradient, &f);
  for (int k = 0; k < TRIAL_SETS; k++)
    for (int r = 0; t->set[k] && r < sm_set_rows(t->set[k]); r++)
      for (int j = 0; j < 3; j++, flat++) {
        if (flat < next || !trial_has_gradient(t, k, r)) continue;
        next = flat + stride;
        int64_t size = sm_set_row(t->set[k], r)->size;
        direction d = {k, r,
                       j == 0 ? -1 : (int64_t)((uint64_t)(j * 2654435761u + (unsigned)r) % (uint64_t)size)};
        trial_try_direction(t, &d, gradient, &f);
      }
  ok = sm_check_that(c, f.worst <= TOLERANCE, NULL, "%s: wrong gradient, off by %.2g for %s", name, f.worst,
                     f.where);
  if (f.worst > c->gradient) c->gradient = f.worst;
  c->directions += f.tried;
out:
  sm_arena_free(arena);
  return ok;
}

/* ---- a whole check ------------------------------------------------------------------------------------- */

static bool trial_all_finite(sm_checker *c, sm_trial *t, const char *name) {
  char what[256];
  int64_t item;
  if (!sm_graph_find_nonfinite(t->graph, t->pass, what, sizeof what, &item, NULL)) return true;
  return sm_check_that(c, false, NULL, "%s: %s", name, what);
}

bool sm_trial_check(sm_checker *c, const sm_trial_plan *plan) {
  sm_trial two, one;
  if (!sm_trial_open(&two, c, plan, c->two)) return false;
  bool ok = trial_all_finite(c, &two, plan->name);
  if (plan->fill) plan->fill(&two);
  sm_trial_zero_gradients(&two);
  sm_trial_run(&two);
  uint64_t hash = sm_trial_hash(&two);
  if (plan->fill) plan->fill(&two);
  sm_trial_zero_gradients(&two);
  sm_trial_run(&two);
  ok = ok && sm_check_that(c, sm_trial_hash(&two) == hash, NULL, "%s: two runs differ", plan->name);
  bool again = c->thorough || !c->heavy;
  if (ok && again && sm_trial_open(&one, c, plan, c->one)) {
    sm_trial_zero_gradients(&one);
    sm_trial_run(&one);
    ok = sm_check_that(c, sm_trial_hash(&one) == hash, NULL, "%s: 1 and 2 threads differ", plan->name);
    sm_trial_close(&one);
  }
  if (ok && !plan->no_gradient) ok = trial_check_gradient(c, &two, plan->name);
  sm_trial_close(&two);
  return ok;
}

/* framework/train/objective.c — training a plugin that brings its network and its loss (kind objective) in place of
 * student, teacher and tokenizers.
 *
 * Sets, graph and step have the shape that sessions, checkpoints and `smalti plan` know from ssl.h: one pass with its
 * gradients, then whatever passes the plugin needs to show pictures. Optimiser, clipping and schedules are those of
 * ssl_step.c. Views come from the loader, normalised as the objective asked (recipe/resolve.c).
 *
 * The draws of a step are keyed by (seed, epoch, step) and by the place of a picture in the step, so they depend neither
 * on micro-batches nor on threads, and a resumed run draws the same. */
#include <math.h>
#include <string.h>

#include "ssl_private.h"

enum { SHOWN = 8 };

/* ---- building ------------------------------------------------------------------------------------------ */

sm_status sm_ssl_objective_spec(sm_ssl *s, sm_error *err) {
  sm_objective_spec spec;
  s->views.global_first.height = s->c.global_height, s->views.global_first.width = s->c.global_width;
  return sm_objective_ask(s->c.objective.ops, s->c.objective.self, s->c.global_height, s->c.global_width, &spec,
                          err);
}

void sm_ssl_objective_declare(sm_ssl *s) {
  const sm_params params = {s->set[SM_SSL_STUDENT], ""}, state = {s->set[SM_SSL_STATE], ""};
  OPS(objective, s->c.objective)->declare(s->c.objective.self, &params, &state);
}

static sm_objective_env env_of(sm_ssl *s, sm_tensor *pictures, sm_tensor *key) {
  return (sm_objective_env){.params = {s->set[SM_SSL_STUDENT], ""},
                            .state = {s->set[SM_SSL_STATE], ""},
                            .pictures = pictures,
                            .key = key,
                            .height = s->c.global_height,
                            .width = s->c.global_width,
                            .step_pictures = s->c.batch_size};
}

static void build_show(sm_ssl *s) {
  const sm_objective_ops *ops = OPS(objective, s->c.objective);
  const int64_t size[] = {SHOWN, 3, s->c.global_height, s->c.global_width};
  if (!ops->build_show || !ops->show) return;
  s->objective.count = sm_count(s->graph, "shown", SHOWN);
  s->objective.shown = sm_input_real(s->graph, "shown pictures", 4, size, s->objective.count);
  const sm_objective_env env = env_of(s, s->objective.shown, NULL);
  sm_scope_push(s->graph, "show");
  ops->build_show(s->c.objective.self, s->graph, &env);
  sm_scope_pop(s->graph);
}

void sm_ssl_objective_build(sm_ssl *s) {
  const int64_t size[] = {s->micro, 3, s->c.global_height, s->c.global_width}, words = 3;
  view_kind *k = &s->kind[GLOBAL];
  sm_graph *g = s->graph;
  k->count = sm_count(g, "pictures", s->micro);
  k->pictures = sm_input_real(g, "pictures", 4, size, k->count);
  s->objective.key = sm_input(g, "key", SM_I32, 1, &words, NULL);
  const sm_objective_env env = env_of(s, k->pictures, s->objective.key);
  s->pass[PASS_GLOBAL] = sm_pass_begin(g, "objective");
  sm_scope_push(g, "%s", s->c.objective.name);
  s->objective.loss = OPS(objective, s->c.objective)->build(s->c.objective.self, g, &env);
  if (s->objective.loss) sm_keep(g, s->objective.loss);
  else sm_graph_fail(g, "objective '%s' gives no loss", s->c.objective.name);
  sm_pass_backward(g);
  sm_scope_pop(g);
  sm_pass_end(g);
  build_show(s);
}

/* ---- the step ------------------------------------------------------------------------------------------ */

static void set_key(sm_ssl *s, const sm_batch *b, int first) {
  sm_rng rng = sm_rng_make(s->c.seed, SM_RNG_OBJECTIVE, (uint64_t)b->epoch, (uint64_t)b->step, 0);
  int32_t key[3] = {0, 0, first};
  for (int i = 0; i < 2; i++) key[i] = (int32_t)sm_rng_u32(&rng);
  sm_write_i32(s->objective.key, 0, 3, key);
}

static void put(sm_measures *m, const char *name, double value, bool mean) {
  sm_ssl_put(m->core, mean, value, "%s", name);
}

sm_status sm_ssl_objective_gradients(sm_ssl *s, const sm_batch *b, const sm_time *t, sm_step_result *r,
                                     sm_error *err) {
  const sm_objective_ops *ops = OPS(objective, s->c.objective);
  void *self = s->c.objective.self;
  const view_kind *k = &s->kind[GLOBAL];
  const int64_t pixels = sm_item_elements(k->pictures);
  memset(r, 0, sizeof *r);
  if (ops->prepare) ops->prepare(self, t);
  for (int first = 0; first < b->pictures; first += s->micro) {
    const int pictures = sm_ssl_part_of(s, b, first);
    double start = sm_now(), now;
    sm_put(k->count, pictures);
    sm_write(k->pictures, 0, pictures * pixels, b->global + first * pixels);
    set_key(s, b, first);
    r->seconds[3] += (now = sm_now()) - start;
    sm_graph_run(s->graph, s->pass[PASS_GLOBAL]);
    const sm_tensor *loss = s->objective.loss;
    for (int64_t i = 0, n = sm_items(loss) * sm_item_elements(loss); i < n; i++) r->loss += sm_get(loss, i);
    if (ops->measure) ops->measure(self, pictures, first == 0);
    r->seconds[1] += sm_now() - now;
    if (!isfinite(r->loss)) return sm_ssl_nonfinite(s, b, first, err);
  }
  sm_ssl_put(r, true, r->loss, "loss", "");
  sm_measures measures = {.core = r, .put = put};
  if (ops->report) ops->report(self, &measures);
  return SM_OK;
}

/* ---- showing ------------------------------------------------------------------------------------------- */

bool sm_ssl_shows(const sm_ssl *s) { return s->objective.shown != NULL; }

/* Picture `index`, its centre cut out; as in evaluations, but with nothing lost at a border that small pictures need. */
static sm_status read_shown(const sm_ssl_shown *from, int64_t index, sm_image_scratch *scratch, float *to,
                            sm_error *err) {
  sm_image picture = {0}, crop = {0};
  const sm_view_recipe *v = from->view;
  const int shorter = v->height < v->width ? v->height : v->width;
  sm_status status = from->dataset.ops->read(from->dataset.self, index, &from->limits, &picture, err);
  if (!status)
    status = sm_image_eval_crop(&picture, shorter, v->height, v->width, v->filter, scratch, &crop, err);
  if (!status) sm_image_normalise(&crop, v->mean, v->std, to);
  sm_image_free(&picture);
  sm_image_free(&crop);
  return status;
}

/* Pictures evenly spread over the set, which may be sorted by class; those that cannot be read are passed over. */
static int read_all_shown(sm_ssl *s, const sm_ssl_shown *from, sm_image_scratch *scratch, float *one, sm_error *err) {
  const int64_t all = from->dataset.ops->count(from->dataset.self), pixels = sm_item_elements(s->objective.shown);
  const int wanted = all < SHOWN ? (int)all : SHOWN;
  int n = 0;
  for (int i = 0; i < wanted; i++) {
    if (read_shown(from, all * (2 * i + 1) / (2 * wanted), scratch, one, err)) continue;
    sm_write(s->objective.shown, n * pixels, pixels, one);
    n++;
  }
  return n;
}

sm_status sm_ssl_show(sm_ssl *s, const sm_ssl_shown *from, sm_error *err) {
  sm_image_scratch *scratch = sm_image_scratch_new();
  float *one = sm_malloc((size_t)sm_item_elements(s->objective.shown) * sizeof *one);
  sm_status status = SM_OK;
  if (!scratch || !one) status = sm_fail(err, SM_ENOMEM, "no memory for the pictures to show");
  sm_show show = {.graph = s->graph, .folder = from->folder};
  if (!status) show.pictures = read_all_shown(s, from, scratch, one, err);
  if (!status && !show.pictures) /* err says why of the last one, if there is any */
    status = err && err->code ? err->code : sm_fail(err, SM_EINVAL, "the data set has no pictures");
  if (!status) {
    sm_error_clear(err);
    sm_put(s->objective.count, show.pictures);
    status = OPS(objective, s->c.objective)->show(s->c.objective.self, &show, err);
  }
  sm_free(one);
  sm_image_scratch_free(scratch);
  return status;
}

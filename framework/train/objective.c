/* framework/train/objective.c — training a plugin that brings its network and its loss (kind objective) in
 * place of student, teacher and tokenizers.
 *
 * The student's set holds its weights, the teacher's is empty. One pass with its gradients, then whatever
 * passes the plugin needs to show pictures. Views come from the loader, normalised as the objective asked
 * (recipe/resolve.c).
 *
 * The draws of a step are keyed by (seed, epoch, step) and by the place of a picture in the step, so they
 * depend neither on micro-batches nor on threads, and a resumed run draws the same. */
#include <math.h>
#include <string.h>

#include "framework/data/source.h"

#include "train.h"
#include "trainable.h"

enum { SHOWN = 8 };

typedef struct objective {
  sm_trainable t;
  const sm_objective_ops *ops;
  void *self;
  int pass;
  sm_tensor *count, *pictures;
  sm_tensor *key, *loss;           /* of the step's draws; what adds up to the loss */
  sm_tensor *shown, *shown_count;  /* pictures to show, and how many; NULL if it shows none */
  double sum;                      /* of the loss */
  sm_error fault;                  /* of what it gave; code SM_OK: none */
} objective;

/* ---- building ------------------------------------------------------------------------------------------ */

static sm_objective_env objective_env(objective *o, sm_tensor *pictures, sm_tensor *key) {
  return (sm_objective_env){.params = {o->t.set[SM_SET_STUDENT], ""},
                            .state = {o->t.set[SM_SET_STATE], ""},
                            .pictures = pictures,
                            .key = key,
                            .height = o->t.c.global_height,
                            .width = o->t.c.global_width,
                            .step_pictures = o->t.c.batch_size};
}

static sm_tensor *objective_input(objective *o, const char *name, int64_t n, sm_tensor *count) {
  return sm_input_real(o->t.graph, name, 4, (int64_t[]){n, 3, o->t.c.global_height, o->t.c.global_width},
                       count);
}

static void objective_build_show(objective *o) {
  if (!o->ops->build_show || !o->ops->show) return;
  o->shown_count = sm_count(o->t.graph, "shown", SHOWN);
  o->shown = objective_input(o, "shown pictures", SHOWN, o->shown_count);
  const sm_objective_env env = objective_env(o, o->shown, NULL);
  sm_scope_push(o->t.graph, "show");
  o->ops->build_show(o->self, o->t.graph, &env);
  sm_scope_pop(o->t.graph);
}

static void objective_build_pass(objective *o) {
  const int64_t words = 3;
  sm_graph *g = o->t.graph;
  o->count = sm_count(g, "pictures", o->t.micro);
  o->pictures = objective_input(o, "pictures", o->t.micro, o->count);
  o->key = sm_input(g, "key", SM_I32, 1, &words, NULL);
  const sm_objective_env env = objective_env(o, o->pictures, o->key);
  o->pass = o->t.gradient_pass = sm_pass_begin(g, "objective");
  sm_scope_push(g, "%s", o->t.c.objective.name);
  o->loss = o->ops->build(o->self, g, &env);
  if (o->loss) sm_keep(g, o->loss);
  else {
    if (sm_graph_ok(g)) sm_blame(&o->t.c.objective.who, &o->fault, "gave no loss (NULL)");
    sm_graph_fail(g, "objective '%s' gives no loss", o->t.c.objective.name);
  }
  sm_pass_backward(g);
  sm_scope_pop(g);
  sm_pass_end(g);
  if (!sm_running_pending(g)) return;
  o->t.update_pass = sm_pass_begin(g, "update");
  sm_running_update(g);
  sm_pass_end(g);
}

static sm_status objective_build(sm_trainable *t, sm_error *err) {
  objective *o = (objective *)t;
  sm_objective_spec spec;
  o->ops = t->c.objective.ops;
  o->self = t->c.objective.self;
  t->views.global_first.height = t->c.global_height;
  t->views.global_first.width = t->c.global_width;
  sm_status status = sm_objective_ask(o->ops, o->self, t->c.global_height, t->c.global_width, &spec, err);
  if (status) return status;
  o->ops->declare(o->self, &(sm_params){t->set[SM_SET_STUDENT], ""}, &(sm_params){t->set[SM_SET_STATE], ""});
  if ((status = sm_trainable_seal(t, err))) return status;
  objective_build_pass(o);
  if (o->fault.code) {
    if (err) *err = o->fault;
    return o->fault.code;
  }
  objective_build_show(o);
  return SM_OK;
}

/* ---- the step ------------------------------------------------------------------------------------------ */

static sm_status objective_begin(sm_trainable *t, const sm_batch *b, const sm_time *time, sm_error *err) {
  objective *o = (objective *)t;
  (void)b;
  o->sum = 0;
  if (o->fault.code) { /* of the last report */
    if (err) *err = o->fault;
    return o->fault.code;
  }
  if (o->ops->prepare) o->ops->prepare(o->self, time);
  return SM_OK;
}

static void objective_set_key(objective *o, const sm_batch *b, int first) {
  sm_rng rng = sm_rng_make(o->t.c.seed, SM_RNG_OBJECTIVE, (uint64_t)b->epoch, (uint64_t)b->step, 0);
  int32_t key[3];
  for (int i = 0; i < 2; i++) key[i] = (int32_t)sm_rng_u32(&rng);
  key[2] = b->place + first;
  sm_write_i32(o->key, 0, 3, key);
}

static sm_status objective_accumulate(sm_trainable *t, const sm_batch *b, int first, int n, sm_error *err) {
  objective *o = (objective *)t;
  const int64_t pixels = sm_item_elements(o->pictures);
  const double start = sm_now();
  sm_put(o->count, n);
  sm_write(o->pictures, 0, n * pixels, b->global + first * pixels);
  objective_set_key(o, b, first);
  t->seconds[SM_TIME_HOST] += sm_now() - start;
  sm_trainable_run(t, o->pass, SM_TIME_STUDENT);
  for (int64_t i = 0, all = sm_items(o->loss) * sm_item_elements(o->loss); i < all; i++)
    o->sum += sm_get(o->loss, i);
  if (o->ops->measure) o->ops->measure(o->self, n, first == 0);
  if (isfinite(o->sum)) return SM_OK;
  return sm_step_nonfinite(t, &o->pass, 1, b, first, &(sm_item_views){o->count, 1}, 1, err);
}

typedef struct reporting {
  objective *o;
  sm_step_result *to;
} reporting;

/* Names are words of logs and checkpoints. */
static void objective_put(sm_measures *m, const char *name, double value, bool mean) {
  reporting *r = m->core;
  const size_t most = sizeof r->to->metric[0].name - 1;
  if (r->o->fault.code) return;
  if (!name || !name[0] || strlen(name) > most || strpbrk(name, " \t\n"))
    sm_blame(&r->o->t.c.objective.who, &r->o->fault,
             "reports a figure called '%.80s'; a name is one word of 1 to %zu bytes", name ? name : "(NULL)",
             most);
  else if (r->to->n >= SM_METRICS_MAX - 8) /* those of the step itself come too */
    sm_blame(&r->o->t.c.objective.who, &r->o->fault, "reports more than %d figures", SM_METRICS_MAX - 8);
  else sm_step_put(r->to, mean, value, "%s", name);
}

static void objective_report(sm_trainable *t, sm_step_result *r) {
  objective *o = (objective *)t;
  r->loss = o->sum;
  sm_step_put(r, true, r->loss, "loss", "");
  sm_measures measures = {.core = &(reporting){o, r}, .put = objective_put};
  if (o->ops->report) o->ops->report(o->self, &measures);
}

/* Its figures are added up inside the plugin, where nobody else can reach them. */
static int objective_sums(sm_trainable *t, sm_step_sum *out, int most) {
  objective *o = (objective *)t;
  const sm_step_sum list[] = {{.kind = SM_SUM_HOST, .name = "loss", .host = &o->sum, .n = 1},
                         {.kind = SM_SUM_WHOLE_STEP, .name = t->c.objective.name}};
  const int n = o->ops->measure ? 2 : 1;
  memcpy(out, list, (size_t)(n < most ? n : most) * sizeof *out);
  return n < most ? n : most;
}

const sm_trainable_ops sm_objective_trainable_ops = {.size = sizeof(objective),
                                                     .build = objective_build,
                                                     .begin = objective_begin,
                                                     .accumulate = objective_accumulate,
                                                     .report = objective_report,
                                                     .sums = objective_sums};

/* ---- showing ------------------------------------------------------------------------------------------- */

bool sm_objective_shows(const sm_trainable *t) {
  return t->ops == &sm_objective_trainable_ops && ((const objective *)t)->shown != NULL;
}

/* Picture `index`, its centre cut out; as in evaluations, but with nothing lost at a border that small
 * pictures need. */
static sm_status objective_read_one(const sm_shown *from, int64_t index, sm_image_scratch *scratch, float *to,
                            sm_error *err) {
  sm_image picture = {0}, crop = {0};
  const sm_view_recipe *v = from->view;
  const sm_source source = {.dataset = &from->dataset, .limits = &from->limits, .stop = sm_signals_stop};
  sm_status status = sm_source_get(&source, index, NULL, &picture, NULL, err);
  if (!status)
    status = sm_image_eval_crop(&picture, v->height < v->width ? v->height : v->width, v->height, v->width,
                                v->filter, scratch, &crop, err);
  if (!status) sm_image_normalise(&crop, v->mean, v->std, to);
  sm_image_free(&picture);
  sm_image_free(&crop);
  return status;
}

/* Pictures evenly spread over the set, which may be sorted by class; those that cannot be read are passed
 * over. */
static int objective_read_shown(objective *o, const sm_shown *from, sm_image_scratch *scratch, float *one,
                                sm_error *err) {
  const int64_t all = from->dataset.ops->count(from->dataset.self), pixels = sm_item_elements(o->shown);
  const int wanted = all < SHOWN ? (int)all : SHOWN;
  int n = 0;
  for (int i = 0; i < wanted; i++) {
    if (objective_read_one(from, all * (2 * i + 1) / (2 * wanted), scratch, one, err)) continue;
    sm_write(o->shown, n++ * pixels, pixels, one);
  }
  return n;
}

sm_status sm_objective_show(sm_trainable *t, const sm_shown *from, sm_error *err) {
  objective *o = (objective *)t;
  sm_image_scratch *scratch = sm_image_scratch_new();
  float *one = sm_malloc((size_t)sm_item_elements(o->shown) * sizeof *one);
  sm_status status = SM_OK;
  if (!scratch || !one) status = sm_fail(err, SM_ENOMEM, "no memory for the pictures to show");
  sm_show show = {.graph = t->graph, .folder = from->folder};
  if (!status) show.pictures = objective_read_shown(o, from, scratch, one, err);
  if (!status && !show.pictures) /* err says why of the last one, if there is any */
    status = err && err->code ? err->code : sm_fail(err, SM_EINVAL, "the data set has no pictures");
  if (!status) {
    sm_error_clear(err);
    sm_put(o->shown_count, show.pictures);
    status = o->ops->show(o->self, &show, err);
  }
  sm_free(one);
  sm_image_scratch_free(scratch);
  return status;
}

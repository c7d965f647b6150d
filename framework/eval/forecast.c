/* forecast.c — what the evaluations of a recipe will have in memory, before anything is there.
 *
 * The graph that makes features is planned and not allocated; the features that are kept follow from the pictures that
 * the data sets count; what an evaluation takes beside, it says itself (sm_feature_spec.memory), by the sizes that it
 * allocates by. Evaluations come one after the other, and features stay until all are done. */
#include <string.h>

#include "evaluator.h"

/* Columns that evaluations choose of the features, and that are copied: all of them are the rows themselves. */
typedef struct forecast_choice {
  int64_t first, n;
} forecast_choice;

typedef struct forecast_run {
  const sm_evaluator_config *c;
  sm_feature_net *net;
  sm_eval_sizes sizes;
  forecast_choice choice[SM_SLOTS_MAX];
  int choices;
  bool kept; /* one of them asks for features */
} forecast_run;

static void forecast_choose(forecast_run *r, int64_t first, int64_t n) {
  int at = 0;
  r->kept = true;
  if (n == sm_feature_net_width(r->net)) return;
  while (at < r->choices && (r->choice[at].first != first || r->choice[at].n != n)) at++;
  if (at == r->choices) r->choice[r->choices++] = (forecast_choice){first, n};
}

static sm_status forecast_one(forecast_run *r, const sm_slot *slot, sm_eval_forecast_line *to, sm_error *err) {
  const sm_evaluator_config *c = r->c;
  const sm_evaluation_ops *ops = slot->plugin.plugin->ops;
  const sm_eval_context x = {
      .network = c->network, .height = c->height, .width = c->width, .bf16 = c->bf16, .pool = c->pool};
  sm_feature_spec spec = {.blocks = 1, .pool = SM_POOL_BOTH};
  int64_t first, n;
  *to = (sm_eval_forecast_line){.name = slot->instance};
  if (ops->wants) ops->wants(slot->plugin.self, &spec);
  if (!spec.memory) return SM_OK;
  to->known = true;
  sm_status status = sm_feature_net_columns(r->net, &spec, &first, &n, err);
  r->sizes.dim = (int)n;
  if (!status) status = spec.memory(slot->plugin.self, &x, &r->sizes, &to->bytes, err);
  if (!status && !to->bytes.none) forecast_choose(r, first, n);
  return status;
}

/* The rows of every picture, copies of some of their columns, labels and numbers. */
static size_t forecast_features(const forecast_run *r) {
  const size_t pictures = (size_t)(r->sizes.train + r->sizes.test);
  size_t columns = (size_t)sm_feature_net_width(r->net);
  for (int i = 0; i < r->choices; i++) columns += (size_t)r->choice[i].n;
  return pictures * (columns * sizeof(float) + 2 * (sizeof(int64_t) + sizeof(int32_t)) + 1);
}

static void forecast_sum(forecast_run *r, int ranks, sm_eval_forecast *f) {
  sm_plan_report graph;
  size_t first = 0, other = 0;
  sm_feature_net_report(r->net, &graph);
  f->network = graph.inputs + graph.transient + graph.worker;
  f->pictures = sm_eval_loader_bytes(SM_EVAL_BATCH, r->c->height, r->c->width, SM_EVAL_AHEAD);
  f->features = r->kept ? forecast_features(r) : 0;
  for (int i = 0; i < f->n; i++) {
    if (f->of[i].bytes.first > first) first = f->of[i].bytes.first;
    if (f->of[i].bytes.other > other) other = f->of[i].bytes.other;
  }
  const size_t batch = SM_EVAL_BATCH * (size_t)sm_feature_net_width(r->net) * sizeof(float);
  f->first = f->network + f->features + (first > f->pictures ? first : f->pictures);
  other = other > f->pictures + batch ? other : f->pictures + batch;
  f->other = ranks > 1 ? f->network + other : 0;
}

static int64_t forecast_count(const sm_dataset *d) { return d->ops ? d->ops->count(d->self) : 0; }

/* Unlabelled pictures are refused when the evaluation runs. */
static int forecast_classes(const sm_dataset *d) {
  const int own = d->ops ? d->ops->classes(d->self) : 0;
  return own > 1 ? own : 1;
}

sm_status sm_evaluations_forecast(const sm_recipe *recipe, const sm_evaluator_config *c, int ranks, sm_eval_forecast *f,
                                  sm_error *err) {
  forecast_run r = {.c = c};
  sm_feature_config net = sm_evaluator_asks(c);
  net.planned = true;
  *f = (sm_eval_forecast){.n = recipe->evaluations};
  sm_status status = sm_feature_net_new(&net, &r.net, err);
  if (status) return status;
  r.sizes = (sm_eval_sizes){.train = forecast_count(&c->train),
                            .test = forecast_count(&c->test),
                            .classes = forecast_classes(&c->train),
                            .threads = sm_pool_threads(c->pool),
                            .ranks = ranks};
  for (int i = 0; !status && i < f->n; i++) status = forecast_one(&r, &recipe->evaluate[i], &f->of[i], err);
  if (!status) forecast_sum(&r, ranks, f);
  sm_feature_net_free(r.net);
  return status;
}

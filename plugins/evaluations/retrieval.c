/* plugins/evaluations/retrieval.c — test pictures ask for training pictures of their class by cosine: mean average
 * precision over the whole ranking, and whether one is among the first k. */
#include <string.h>

#include <smalti/measure.h>
#include <smalti/plugin.h>
#include <smalti/retrieval.h>

enum { ASKED_MOST = 256, RANKED_MOST = 1 << 24 }; /* queries of a ranking, and its entries, at a time */

struct retrieval {
  sm_ints k;
  int pool;
};

static const char *const pools[] = {"cls", "mean", "both", NULL}; /* in the order of sm_pool_mode */

static const sm_option options[] = {
    SM_INTS(struct retrieval, k, "k", "1", 1, 10000, "pictures",
            "recall at k: queries that find their class among the first k, each k a figure of its own"),
    SM_CHOICE(struct retrieval, pool, "pool", "cls", pools,
              "features: [CLS], mean of the patches, or both side by side"),
};

static void retrieval_wants(const void *self, sm_feature_spec *spec) {
  const struct retrieval *o = self;
  spec->blocks = 1;
  spec->pool = (sm_pool_mode)o->pool;
  spec->labels = SM_LABELS_BOTH;
}

typedef struct asking {
  const struct retrieval *o;
  sm_features train, test;
  float *database, *query; /* rows of length 1; of labelled test pictures only */
  int32_t *label;          /* (queries) */
  int64_t queries, at_once;
  int64_t *nearest; /* (at_once, train.n) */
  uint8_t *role;    /* (train.n) */
  float *ap;        /* (queries) */
  int64_t *found;   /* (o->k.n) queries with a picture of their class among the first k */
} asking;

static sm_status retrieval_prepare(asking *a, sm_error *err) {
  const size_t dim = (size_t)a->train.dim, n = (size_t)a->train.n, queries = (size_t)sm_labelled(&a->test);
  a->at_once = RANKED_MOST / a->train.n;
  if (a->at_once > ASKED_MOST) a->at_once = ASKED_MOST;
  if (a->at_once > (int64_t)queries) a->at_once = (int64_t)queries;
  if (a->at_once < 1) a->at_once = 1;
  a->database = sm_malloc(n * dim * sizeof *a->database);
  a->query = sm_malloc(queries * dim * sizeof *a->query);
  a->label = sm_malloc(queries * sizeof *a->label);
  a->nearest = sm_malloc((size_t)a->at_once * n * sizeof *a->nearest);
  a->role = sm_malloc(n);
  a->ap = sm_malloc(queries * sizeof *a->ap);
  a->found = sm_calloc((size_t)a->o->k.n, sizeof *a->found);
  if (!a->database || !a->query || !a->label || !a->nearest || !a->role || !a->ap || !a->found)
    return sm_fail(err, SM_ENOMEM, "no memory for a ranking of %lld pictures", (long long)a->train.n);
  memcpy(a->database, a->train.x, n * dim * sizeof *a->database);
  for (int64_t i = 0; i < a->test.n; i++) {
    if (a->test.label[i] < 0) continue;
    memcpy(a->query + a->queries * a->train.dim, a->test.x + i * a->train.dim, dim * sizeof *a->query);
    a->label[a->queries++] = a->test.label[i];
  }
  sm_unit_rows(a->database, a->train.n, a->train.dim);
  sm_unit_rows(a->query, a->queries, a->train.dim);
  return SM_OK;
}

static void retrieval_score(asking *a, int64_t query, const int64_t *ranking) {
  int64_t relevant = 0, first = 0;
  for (int64_t i = 0; i < a->train.n; i++) {
    a->role[i] = a->train.label[i] == a->label[query] ? SM_RELEVANT : SM_OTHER;
    relevant += a->role[i] == SM_RELEVANT;
  }
  a->ap[query] = (float)(100 * sm_ranking_ap(ranking, a->train.n, a->role, relevant, NULL, 0, NULL));
  while (first < a->train.n && a->role[ranking[first]] != SM_RELEVANT) first++;
  for (int j = 0; j < a->o->k.n; j++) a->found[j] += first < a->o->k.v[j];
}

static sm_status retrieval_ask(asking *a, sm_eval_context *x, sm_error *err) {
  sm_status status = SM_OK;
  for (int64_t at = 0; !status && at < a->queries; at += a->at_once) {
    const int64_t some = a->queries - at < a->at_once ? a->queries - at : a->at_once;
    status = sm_nearest_rows(a->database, a->train.n, a->query + at * a->train.dim, some, a->train.dim, a->train.n,
                             x->pool, a->nearest, NULL, err);
    for (int64_t i = 0; !status && i < some; i++) retrieval_score(a, at + i, a->nearest + i * a->train.n);
    if (!status) status = x->going_on(x, (double)(at + some) / (double)a->queries, err);
  }
  return status;
}

/* A k that was asked for twice is one figure. */
static bool retrieval_is_new(const sm_ints *k, int j) {
  for (int i = 0; i < j; i++)
    if (k->v[i] == k->v[j]) return false;
  return true;
}

static sm_status retrieval_figures(const asking *a, const sm_feature_spec *spec, sm_eval_result *r, sm_error *err) {
  double sum = 0;
  sm_status status = sm_mean_intervals(a->ap, a->queries, 1, &r->interval[0], err);
  if (status) return status;
  for (int64_t i = 0; i < a->queries; i++) sum += (double)a->ap[i];
  r->has_interval[0] = true;
  sm_figure_add_in(r, "%", sum / (double)a->queries, "map");
  for (int j = 0; j < a->o->k.n; j++)
    if (retrieval_is_new(&a->o->k, j)) sm_figure_hits(r, a->found[j], a->queries, "recall%lld", (long long)a->o->k.v[j]);
  snprintf(r->protocol, sizeof r->protocol,
           "test pictures ask for their class among training pictures by cosine, %s; AP by trapezoids over the whole "
           "ranking, ties to the lower index; %lld queries, %lld ranked",
           spec->what, (long long)a->queries, (long long)a->train.n);
  return SM_OK;
}

static sm_status retrieval_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  asking a = {.o = self};
  sm_feature_spec spec = {0};
  retrieval_wants(self, &spec);
  x->doing = "retrieval";
  sm_status status = sm_labelled_features(x, &spec, &a.train, &a.test, err);
  if (!status) status = retrieval_prepare(&a, err);
  if (!status) status = retrieval_ask(&a, x, err);
  if (!status) status = retrieval_figures(&a, &spec, result, err);
  sm_free(a.database);
  sm_free(a.query);
  sm_free(a.label);
  sm_free(a.nearest);
  sm_free(a.role);
  sm_free(a.ap);
  sm_free(a.found);
  return status;
}

static void retrieval_names(const void *self, sm_text *out) {
  const struct retrieval *o = self;
  sm_text_add(out, "map ");
  for (int j = 0; j < o->k.n; j++)
    if (retrieval_is_new(&o->k, j)) sm_text_add(out, "recall%lld ", (long long)o->k.v[j]);
}

static const sm_evaluation_ops ops = {retrieval_run, retrieval_wants, retrieval_names};
static const sm_plugin retrieval = {
    .kind = SM_EVALUATION,
    .name = "retrieval",
    .summary = "mean average precision of training pictures of a class, ranked for each test picture",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite = "Radenovic et al., Revisiting Oxford and Paris: Large-Scale Image Retrieval Benchmarking, CVPR 2018",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(struct retrieval),
    .ops = &ops,
};
SM_MODULE(&retrieval)

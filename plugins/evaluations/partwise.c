/* plugins/evaluations/partwise.c — part-wise probing (Zhou et al., iBOT, section 4.3): how well a picture
 * is classified by the mean of a few of its patches: those that [CLS] looks at most, random ones, or those
 * it looks at least. Beside them stand the mean of all patches, and [CLS].
 *
 * A network looks at each picture once. What that leaves is one table of features for each number of
 * patches, and each table gets a classifier of its own. */
#include <string.h>

#include <smalti/show.h>

#include "linear_options.h"

enum { ATTENDED, RANDOM, LEAST, WAYS };
enum { LINEAR, KNN };
enum { CLS, MEAN, FIRST }; /* tables: these two, then those of each way */
enum { SIZES_MOST = 20, TABLES_MOST = FIRST + WAYS * SIZES_MOST };
static const char *const ways[] = {"attended", "random", "least", "all", NULL}; /* in the order above */
static const char *const classifiers[] = {"linear", "knn", NULL};

typedef struct partwise {
  sm_ints patches;
  int take, classifier;
  bool norm;
  int64_t k, seed;
  double temperature;
  linear_options linear;
} partwise;

static const sm_option options[] = {
    SM_INTS(partwise, patches, "patches", "[1, 7, 14, 56, 112]", 1, 1e6, "patches",
            "how many a feature is the mean of, each a figure of its own, at most 20; those that are not "
            "below the number of patches of a picture are left out"),
    SM_CHOICE(partwise, take, "take", "attended", ways,
              "which patches: those that [CLS] looks at most, by the mean of all heads; random ones; those "
              "it looks at least; all: figures of each"),
    SM_BOOL(partwise, norm, "norm", "false", "patches after the final norm; published: before it"),
    SM_CHOICE(partwise, classifier, "classifier", "linear", classifiers,
              "linear: a linear layer, trained as `linear` does; knn: weighted k-NN"),
    SM_INT(partwise, k, "k", "20", 1, 10000, "neighbours", "of k-NN, at most all training pictures"),
    SM_FLOAT(partwise, temperature, "temperature", "0.07", 1e-4, 100, NULL, "of k-NN"),
    LINEAR_OPTIONS(partwise, linear),
    SM_INT(partwise, seed, "seed", "0", 0, 1e9, NULL,
           "of random patches, the held-out pictures, the initial weights and order"),
};

/* Features are made here, so no more than the least is asked of the core. */
static void partwise_wants(const void *self, sm_feature_spec *spec) {
  (void)self;
  *spec = (sm_feature_spec){.blocks = 1, .pool = SM_POOL_CLS, .labels = SM_LABELS_BOTH};
}

static bool partwise_takes(const partwise *o, int way) { return o->take == WAYS || o->take == way; }

/* The numbers of patches in ascending order, each once and below `most`; how many. */
static int partwise_sizes(const partwise *o, int64_t most, int size[SM_LIST_MAX]) {
  double v[SM_LIST_MAX];
  int n = 0;
  for (int i = 0; i < o->patches.n; i++) v[i] = (double)o->patches.v[i];
  sm_sort_doubles(v, (size_t)o->patches.n);
  for (int i = 0; i < o->patches.n; i++)
    if ((int64_t)v[i] < most && (!n || (int)v[i] > size[n - 1])) size[n++] = (int)v[i];
  return n;
}

static sm_status partwise_create(void *self, sm_error *err) {
  const partwise *o = self;
  int size[SM_LIST_MAX];
  const int sizes = partwise_sizes(o, INT32_MAX, size);
  if (sizes <= SIZES_MOST) return SM_OK;
  return sm_fail(err, SM_EINVAL, "patches: there are %d numbers; give 1 to %d", sizes, SIZES_MOST);
}

/* ---- looking ------------------------------------------------------------------------------------------- */

typedef struct part_table { /* of one split */
  int64_t n;
  float *x[TABLES_MOST]; /* (n, dim) */
  int32_t *label;
  int64_t *index;
  int classes;
} part_table;

typedef struct parting {
  sm_eval_context x; /* the core's, but with features of `table` */
  sm_eval_context *core;
  const partwise *o;
  part_table train, test;
  int size[SM_LIST_MAX];
  int sizes, tables;
  int table; /* that is being classified */
  bool held; /* training pictures were held out to choose a rate */
  int heads, patches, dim;
  int *order;       /* (patches) */
  uint32_t *drawn;  /* (patches) */
  float *attention; /* (patches) the mean of all heads */
  float *mean;      /* (sizes, dim) */
} parting;

static void part_table_free(part_table *t) {
  for (int i = 0; i < TABLES_MOST; i++) sm_free(t->x[i]);
  sm_free(t->label);
  sm_free(t->index);
}

static sm_status parting_refuse(const sm_network *n, sm_error *err) {
  sm_fail(err, SM_EUNSUPPORTED, "partwise asks where [CLS] looks, but `%s` has no attention",
          n ? sm_network_describe(n)->name : "pixels");
  return sm_hint(err, "give a vision transformer, or take another evaluation: knn or linear with pool=mean");
}

static sm_status parting_reserve(parting *p, const sm_look *look, sm_error *err) {
  p->heads = look->heads, p->patches = look->rows * look->cols, p->dim = look->dim;
  p->sizes = partwise_sizes(p->o, p->patches, p->size);
  p->tables = FIRST + p->sizes * (p->o->take == WAYS ? WAYS : 1);
  const size_t n = (size_t)p->patches;
  p->order = sm_malloc(n * sizeof *p->order);
  p->drawn = sm_malloc(n * sizeof *p->drawn);
  p->attention = sm_malloc(n * sizeof *p->attention);
  p->mean = sm_malloc(((size_t)p->sizes + 1) * (size_t)p->dim * sizeof *p->mean);
  if (p->order && p->drawn && p->attention && p->mean) return SM_OK;
  return sm_fail(err, SM_ENOMEM, "no memory for %d patches", p->patches);
}

static sm_status part_table_reserve(const parting *p, int64_t n, part_table *t, sm_error *err) {
  const size_t rows = (size_t)(n ? n : 1), size = rows * (size_t)p->dim;
  t->label = sm_malloc(rows * sizeof *t->label);
  t->index = sm_malloc(rows * sizeof *t->index);
  bool room = t->label && t->index;
  for (int i = 0; i < p->tables; i++) room = room && (t->x[i] = sm_malloc(size * sizeof **t->x));
  if (room) return SM_OK;
  sm_fail(err, SM_ENOMEM, "no memory for %d features of %lld pictures, %d numbers each", p->tables,
          (long long)n, p->dim);
  return sm_hint(err, "ask for fewer numbers of patches at a time");
}

static sm_status parting_order(parting *p, int way, int64_t index, sm_error *err) {
  if (way != RANDOM)
    return sm_attention_top(p->attention, p->patches, p->patches, way == LEAST, p->order, err);
  sm_rng rng = sm_rng_make((uint64_t)p->o->seed, SM_RNG_EVAL, 0, (uint64_t)index, 40);
  for (int i = 0; i < p->patches; i++) p->drawn[i] = (uint32_t)i;
  sm_rng_shuffle(&rng, p->drawn, (size_t)p->patches);
  for (int i = 0; i < p->patches; i++) p->order[i] = (int)p->drawn[i];
  return SM_OK;
}

/* A picture's row in each table. */
static sm_status parting_take(parting *p, const sm_look *look, int64_t index, part_table *t, sm_error *err) {
  const size_t dim = (size_t)p->dim, at = (size_t)t->n * dim;
  sm_status status = SM_OK;
  int table = FIRST;
  memcpy(t->x[CLS] + at, look->view, dim * sizeof(float));
  sm_attention_mean(look->attention, look->heads, p->patches, p->attention);
  for (int i = 0; i < p->patches; i++) p->order[i] = i;
  sm_patch_means(look->patches, p->dim, p->order, &p->patches, 1, t->x[MEAN] + at);
  for (int way = 0; way < WAYS; way++) {
    if (!partwise_takes(p->o, way)) continue;
    if ((status = parting_order(p, way, index, err))) return status;
    sm_patch_means(look->patches, p->dim, p->order, p->size, p->sizes, p->mean);
    for (int s = 0; s < p->sizes; s++)
      memcpy(t->x[table++] + at, p->mean + (size_t)s * dim, dim * sizeof(float));
  }
  return SM_OK;
}

static sm_status parting_see(parting *p, sm_looker *looker, const char *split, part_table *t, double from,
                             sm_error *err) {
  const int64_t pixels = 3 * (int64_t)p->x.height * p->x.width;
  const sm_picture_request request = {.split = split};
  sm_picture_list list;
  sm_pictures *pictures = NULL;
  sm_picture_batch b;
  sm_look look;
  int64_t done = 0;
  sm_status status = sm_picture_list_get(p->core, split, &list, err);
  if (!status) status = sm_pictures_open(p->core, &request, &pictures, err);
  while (!status && !(status = sm_pictures_next(pictures, &b, err)) && b.n)
    for (int i = 0; !status && i < b.n; i++) {
      status = sm_looker_run(looker, b.x + i * pixels, &look, err);
      if (!status && !p->dim) status = parting_reserve(p, &look, err);
      if (!status && !t->label) status = part_table_reserve(p, list.n, t, err);
      if (!status) status = parting_take(p, &look, b.index[i], t, err);
      if (status) break;
      t->label[t->n] = b.label[i], t->index[t->n++] = b.index[i];
      status = p->core->going_on(p->core, from + (double)++done / (double)list.n / 3, err);
    }
  t->classes = status ? 0 : list.classes;
  sm_pictures_close(pictures);
  return status;
}

static sm_status parting_look(parting *p, sm_error *err) {
  const sm_look_request want = {.height = p->x.height,
                                .width = p->x.width,
                                .view = true,
                                .patches = true,
                                .raw = !p->o->norm,
                                .attention = true,
                                .bf16 = p->x.bf16};
  if (!p->x.network || sm_network_describe(p->x.network)->backbone.heads < 1)
    return parting_refuse(p->x.network, err);
  sm_looker *looker = sm_looker_new(p->x.network, p->x.pool, &want, err);
  if (!looker) return err ? err->code : SM_EUNSUPPORTED;
  p->core->doing = "where the network looks";
  sm_status status = parting_see(p, looker, "train", &p->train, 0, err);
  if (!status) status = parting_see(p, looker, "test", &p->test, 1.0 / 3, err);
  sm_looker_free(looker);
  return status;
}

/* ---- classifying --------------------------------------------------------------------------------------- */

/* What a classifier asks: features of the table in progress, and whether to go on. */
static sm_status parting_features(sm_eval_context *x, const char *split, sm_feature_spec *spec,
                                  sm_features *f, sm_error *err) {
  const parting *p = (const parting *)(void *)x;
  const part_table *t = !strcmp(split, "train") ? &p->train : &p->test;
  (void)err;
  snprintf(spec->what, sizeof spec->what, "patch features");
  *f = (sm_features){.n = t->n,
                     .dim = p->dim,
                     .classes = t->classes,
                     .x = t->x[p->table],
                     .label = t->label,
                     .index = t->index};
  return SM_OK;
}

static sm_status parting_going_on(sm_eval_context *x, double done, sm_error *err) {
  const parting *p = (const parting *)(void *)x;
  return p->core->going_on(p->core, 2.0 / 3 + (p->table + done) / p->tables / 3, err);
}

static sm_status parting_knn(parting *p, int64_t *hits, int64_t *n, sm_error *err) {
  sm_feature_spec spec = {0};
  sm_features train, test;
  double top1, top5;
  sm_status status = sm_labelled_features(&p->x, &spec, &train, &test, err);
  if (status) return status;
  const int k = (int)(p->o->k < train.n ? p->o->k : train.n);
  status = sm_knn_eval(&p->x, &train, &test, &k, 1, p->o->temperature, NULL, &top1, &top5, err);
  *n = sm_labelled(&test);
  *hits = (int64_t)(top1 * (double)*n / 100 + 0.5);
  return status ? status : p->x.going_on(&p->x, 1, err);
}

static sm_status parting_linear(parting *p, int64_t *hits, int64_t *n, sm_error *err) {
  double rate[LINEAR_RATES];
  const sm_linear_config config = linear_config(&p->o->linear, (uint64_t)p->o->seed, rate);
  sm_feature_spec spec = {0};
  sm_linear_result r;
  sm_status status = sm_linear_eval(&p->x, &config, &spec, false, &r, err);
  if (!status) *hits = r.top1, *n = r.tested, p->held = r.held > 0;
  return status;
}

static sm_status parting_classify(parting *p, sm_eval_result *r, const char *name, sm_error *err) {
  int64_t hits = 0, n = 0;
  sm_status status =
      p->o->classifier == KNN ? parting_knn(p, &hits, &n, err) : parting_linear(p, &hits, &n, err);
  if (!status) sm_figure_hits(r, hits, n, "%s", name);
  p->table++;
  return status;
}

/* ---- figures ------------------------------------------------------------------------------------------- */

static const char *partwise_name(char name[48], int way, int size) {
  snprintf(name, 48, "%s.%d", ways[way], size);
  return name;
}

static void parting_protocol(const parting *p, sm_eval_result *r) {
  const partwise *o = p->o;
  char how[128], left[64] = "";
  double rate[LINEAR_RATES];
  int size[SM_LIST_MAX];
  const int asked = partwise_sizes(o, INT32_MAX, size);
  if (o->classifier == KNN)
    snprintf(how, sizeof how, "weighted k-NN, k %lld, temperature %g",
             (long long)(o->k < p->train.n ? o->k : p->train.n), o->temperature);
  else
    snprintf(how, sizeof how, "linear probe, %lld epochs of SGD, %s of %d rates%s",
             (long long)o->linear.epochs, p->held ? "best" : "the middle",
             linear_config(&o->linear, 0, rate).rates, p->held ? " on held-out training pictures" : "");
  if (asked > p->sizes)
    snprintf(left, sizeof left, "; %d of the numbers asked for %s not below that", asked - p->sizes,
             sm_plural(asked - p->sizes, "is", "are"));
  snprintf(r->protocol, sizeof r->protocol,
           "%s, on the mean of so many patches of the last block %s the final norm, of %d%s; attention of "
           "[CLS], mean of %d %s; mean: all patches; cls: [CLS] after the norm; %lld against %lld pictures, "
           "seed %lld",
           how, o->norm ? "after" : "before", p->patches, left, p->heads,
           sm_plural(p->heads, "head", "heads"),
           (long long)p->test.n, (long long)p->train.n, (long long)o->seed);
}

static sm_status parting_figures(parting *p, sm_eval_result *r, sm_error *err) {
  char name[48];
  p->x.doing = p->core->doing = "a classifier for each number of patches";
  sm_status status = parting_classify(p, r, "cls", err);
  if (!status) status = parting_classify(p, r, "mean", err);
  for (int way = 0; way < WAYS; way++)
    for (int s = 0; partwise_takes(p->o, way) && !status && s < p->sizes; s++)
      status = parting_classify(p, r, partwise_name(name, way, p->size[s]), err);
  if (!status) parting_protocol(p, r);
  return status;
}

static void partwise_names(const void *self, sm_text *out) {
  const partwise *o = self;
  int size[SM_LIST_MAX];
  char name[48];
  const int sizes = partwise_sizes(o, INT32_MAX, size);
  sm_text_add(out, "cls mean ");
  for (int way = 0; way < WAYS; way++)
    for (int s = 0; partwise_takes(o, way) && s < sizes; s++)
      sm_text_add(out, "%s ", partwise_name(name, way, size[s]));
}

static sm_status partwise_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  parting *p = sm_calloc(1, sizeof *p);
  if (!p) return sm_fail(err, SM_ENOMEM, "no memory for the parts of pictures");
  p->o = self, p->core = x, p->x = *x;
  p->x.features = parting_features, p->x.going_on = parting_going_on;
  sm_status status = parting_look(p, err);
  if (!status) status = parting_figures(p, result, err);
  part_table_free(&p->train);
  part_table_free(&p->test);
  sm_free(p->order);
  sm_free(p->drawn);
  sm_free(p->attention);
  sm_free(p->mean);
  sm_free(p);
  return status;
}

static const sm_evaluation_ops ops = {partwise_run, partwise_wants, partwise_names};
static const sm_plugin plugin = {
    .kind = SM_EVALUATION,
    .name = "partwise",
    .summary = "accuracy of a classifier on the mean of the patches that [CLS] looks at most",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite = "Zhou et al., iBOT: Image BERT Pre-Training with Online Tokenizer, ICLR 2022",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(partwise),
    .create = partwise_create,
    .ops = &ops,
};
SM_MODULE(&plugin)

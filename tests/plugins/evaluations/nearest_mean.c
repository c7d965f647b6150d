/* tests/plugins/evaluations/nearest_mean.c — an evaluation as somebody else would write it, with public
 * headers only: it builds the network into a graph of its own, runs it over pictures at a size of its own,
 * and gives each test picture the class whose mean of the training pictures is nearest. */
#include <float.h>
#include <string.h>

#include <smalti/evaluation.h>
#include <smalti/measure.h>

enum { BATCH = 20 };

typedef struct nearest_mean {
  int64_t size;
} nearest_mean;

static const sm_option options[] = {
    SM_INT(nearest_mean, size, "size", "0", 0, 4096, "px", "side of the pictures; 0: as they are evaluated"),
};

typedef struct running {
  sm_eval_context *x;
  int height, width, dim, classes;
  sm_graph *graph;
  int pass;
  sm_tensor *count, *pictures, *view;
  double *mean;   /* (classes, dim): sums, then means */
  int64_t *n;     /* pictures of each class */
  int64_t all, right, tested, seen;
} running;

static sm_status build(running *r, sm_error *err) {
  sm_backbone_spec spec;
  const sm_graph_config config = {.device = SM_CPU, .real = SM_F32, .pool = r->x->pool, .bf16 = r->x->bf16};
  sm_status status = sm_network_at(r->x->network, r->height, r->width, &spec, err);
  if (status) return status;
  r->dim = spec.dim;
  sm_graph *g = r->graph = sm_graph_new(&config, err);
  if (!g) return SM_ENOMEM;
  r->pass = sm_pass_begin(g, "views");
  r->count = sm_count(g, "pictures", BATCH);
  r->pictures = sm_input_real(g, "pictures", 4, (int64_t[]){BATCH, 3, r->height, r->width}, r->count);
  const sm_backbone_in in = {.pictures = r->pictures, .view = true};
  sm_backbone_out out;
  sm_network_build(r->x->network, g, NULL, &in, &out);
  sm_keep(g, r->view = out.view);
  sm_pass_end(g);
  status = sm_graph_plan(g, err);
  return status ? status : sm_graph_allocate(g, err);
}

/* ---- what is done with a picture --------------------------------------------------------------------- */

static void learn(running *r, const float *view, int32_t label) {
  if (label < 0) return;
  for (int d = 0; d < r->dim; d++) r->mean[label * r->dim + d] += (double)view[d];
  r->n[label]++;
}

static void classify(running *r, const float *view, int32_t label) {
  double nearest = DBL_MAX;
  int found = -1;
  for (int c = 0; c < r->classes; c++) {
    double distance = 0;
    for (int d = 0; d < r->dim; d++) {
      double difference = (double)view[d] - r->mean[c * r->dim + d];
      distance += difference * difference;
    }
    if (r->n[c] && distance < nearest) nearest = distance, found = c;
  }
  if (label < 0) return;
  r->right += found == label;
  r->tested++;
}

static sm_status each(running *r, const char *split, void (*what)(running *, const float *, int32_t),
                      sm_error *err) {
  const int64_t pixels = 3 * (int64_t)r->height * r->width;
  const sm_picture_request request = {.split = split, .height = r->height, .width = r->width, .batch = BATCH};
  float *view = sm_malloc((size_t)r->dim * sizeof *view);
  sm_pictures *pictures = NULL;
  sm_picture_batch b;
  sm_status status = view ? SM_OK : sm_fail(err, SM_ENOMEM, "out of memory");
  if (!status) status = sm_pictures_open(r->x, &request, &pictures, err);
  while (!status && !(status = sm_pictures_next(pictures, &b, err)) && b.n) {
    sm_put(r->count, b.n);
    sm_write(r->pictures, 0, b.n * pixels, b.x);
    sm_graph_run(r->graph, r->pass);
    for (int i = 0; i < b.n; i++) {
      sm_read(r->view, (int64_t)i * r->dim, r->dim, view);
      what(r, view, b.label[i]);
    }
    r->seen += b.n;
    status = r->x->going_on(r->x, (double)r->seen / (double)r->all, err);
  }
  sm_pictures_close(pictures);
  sm_free(view);
  return status;
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

static sm_status begin(running *r, sm_error *err) {
  sm_picture_list train, test;
  if (!r->x->network) return sm_fail(err, SM_EINVAL, "nearest_mean wants a network: pixels have no views");
  sm_status status = sm_picture_list_get(r->x, "train", &train, err);
  if (!status) status = sm_picture_list_get(r->x, "test", &test, err);
  if (!status && train.classes < 1) status = sm_fail(err, SM_EINVAL, "the training pictures have no classes");
  if (!status) status = build(r, err);
  if (status) return status;
  r->classes = train.classes;
  r->all = train.n + test.n;
  r->mean = sm_calloc((size_t)r->classes * (size_t)r->dim, sizeof *r->mean);
  r->n = sm_calloc((size_t)r->classes, sizeof *r->n);
  return r->mean && r->n ? SM_OK : sm_fail(err, SM_ENOMEM, "out of memory");
}

static void divide(running *r) {
  for (int c = 0; c < r->classes; c++)
    for (int d = 0; d < r->dim && r->n[c]; d++) r->mean[c * r->dim + d] /= (double)r->n[c];
}

static sm_status run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  const nearest_mean *o = self;
  running r = {
      .x = x, .height = o->size ? (int)o->size : x->height, .width = o->size ? (int)o->size : x->width};
  sm_status status = begin(&r, err);
  if (!status) status = each(&r, "train", learn, err);
  if (!status) {
    divide(&r);
    status = each(&r, "test", classify, err);
  }
  if (!status) {
    sm_figure_hits(result, r.right, r.tested, "top1");
    snprintf(result->protocol, sizeof result->protocol,
             "nearest class mean of views at %d x %d px, %lld against %lld pictures", r.height, r.width,
             (long long)r.tested, (long long)(r.seen - r.tested));
  }
  sm_graph_free(r.graph);
  sm_free(r.mean);
  sm_free(r.n);
  return status;
}

/* It makes its features itself. */
static void wants(const void *self, sm_feature_spec *spec) {
  (void)self;
  spec->blocks = 1;
  spec->pool = SM_POOL_CLS;
}

static const sm_evaluation_ops ops = {.run = run, .wants = wants};
static const sm_plugin plugin = {
    .kind = SM_EVALUATION,
    .name = "nearest_mean",
    .summary = "share of test pictures whose class has the nearest mean",
    .version = "1.0",
    .license = "Apache-2.0",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(nearest_mean),
    .ops = &ops,
};
SM_MODULE(&plugin)

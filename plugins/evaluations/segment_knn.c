/* segment_knn.c — evaluation `segment_knn`: classes of pixels from the training patches nearest to a patch,
 * or from the mean patch of each class. Nothing is trained (Balazevic et al., NeurIPS 2023;
 * open-hummingbird-eval). */
#include <math.h>
#include <string.h>

#include <smalti/measure.h>
#include <smalti/plugin.h>
#include <smalti/retrieval.h>

#include "segment.h"

enum { KNN, PROTOTYPES };
static const char *const methods[] = {"knn", "prototypes", NULL};

typedef struct segment_knn {
  int method;
  int64_t k, memory, blocks, patch, pictures, seed;
  double temperature;
  const char *size;
} segment_knn;

static const sm_option options[] = {
    SM_CHOICE(segment_knn, method, "method", "knn", methods,
              "knn: the nearest training patches vote; prototypes: the nearest mean patch of a class"),
    SM_INT(segment_knn, k, "k", "30", 1, 10000, "patches",
           "nearest ones that vote, at most all in the memory"),
    SM_FLOAT(segment_knn, temperature, "temperature", "0.02", 1e-4, 100, NULL,
             "of the softmax over cosines that weighs votes"),
    SM_INT(segment_knn, memory, "memory", "102400", 0, 1e9, "patches",
           "of training pictures that are kept at most, as many of each picture, rare classes first; 0: all"),
    SM_STRING(segment_knn, size, "size", "~",
              "pixels of the shorter side, or of height and width, as 360x480; left out: as they are"),
    SM_INT(segment_knn, blocks, "n_last_blocks", "1", 1, 16, "blocks",
           "patches of so many last blocks side by side"),
    SM_INT(segment_knn, patch, "patch", "16", 1, 256, "px", "side of a patch where pixels are the features"),
    SM_INT(segment_knn, pictures, "train_pictures", "0", 0, 1e9, "pictures",
           "training pictures at most, drawn by the seed; 0: all"),
    SM_INT(segment_knn, seed, "seed", "0", 0, 1e9, NULL, "of the pictures and patches that are taken"),
};

typedef struct nearest {
  const segment_knn *o;
  segment s;
  sm_patch_memory *memory;
  double *sum;      /* (classes, dim) of prototypes */
  float *prototype; /* (classes, dim), of length 1; zeros: a class without a patch */
  int dim;
  int64_t patches; /* with a label, of training pictures */
  uint32_t *count; /* of a picture's patches */
  float *vote, *x; /* of a picture's patches: (patches, classes), and (patches, dim) of length 1 */
  size_t counts;
} nearest;

static sm_status nearest_create(void *self, sm_error *err) {
  sm_whole_request r = {0};
  return segment_size(((const segment_knn *)self)->size, &r, err);
}

/* Room for what a picture's patches need. */
static sm_status nearest_reserve(nearest *n, const sm_dense_picture *p, sm_error *err) {
  const size_t patches = (size_t)p->rows * (size_t)p->cols, classes = (size_t)n->s.classes;
  if (n->counts >= patches) return SM_OK;
  sm_free(n->count);
  sm_free(n->vote);
  sm_free(n->x);
  n->count = sm_malloc(patches * classes * sizeof *n->count);
  n->vote = sm_malloc(patches * classes * sizeof *n->vote);
  n->x = sm_malloc(patches * (size_t)p->dim * sizeof *n->x);
  n->counts = n->count && n->vote && n->x ? patches : 0;
  if (n->counts) return SM_OK;
  return sm_fail(err, SM_ENOMEM, "no memory for classes of %d x %d patches", p->cols, p->rows);
}

/* ---- learning ------------------------------------------------------------------------------------------ */

static sm_status nearest_begin(nearest *n, const sm_dense_picture *p, sm_error *err) {
  n->dim = p->dim;
  if (n->o->method == KNN)
    return sm_patch_memory_new(&(sm_patch_memory_config){.dim = p->dim,
                                                         .classes = n->s.classes,
                                                         .most = n->o->memory,
                                                         .pictures = segment_count(&n->s),
                                                         .seed = (uint64_t)n->o->seed},
                               &n->memory, err);
  const size_t size = (size_t)n->s.classes * (size_t)p->dim;
  n->sum = sm_calloc(size, sizeof *n->sum);
  n->prototype = sm_calloc(size, sizeof *n->prototype);
  if (n->sum && n->prototype) return SM_OK;
  return sm_fail(err, SM_ENOMEM, "no memory for %d classes of %d features", n->s.classes, p->dim);
}

static void nearest_unit(nearest *n, const sm_dense_picture *p) {
  const int64_t patches = (int64_t)p->rows * p->cols;
  memcpy(n->x, p->x, (size_t)patches * (size_t)p->dim * sizeof *n->x);
  sm_unit_rows(n->x, patches, p->dim);
}

/* A patch counts for each class by its share of the patch's labelled pixels. */
static void nearest_add_prototypes(nearest *n, const sm_dense_picture *p) {
  nearest_unit(n, p);
  for (int64_t i = 0; i < (int64_t)p->rows * p->cols; i++) {
    const uint32_t *count = n->count + i * n->s.classes;
    int64_t pixels = 0;
    for (int c = 0; c < n->s.classes; c++) pixels += count[c];
    for (int c = 0; c < n->s.classes; c++) {
      if (!count[c]) continue;
      const double share = (double)count[c] / (double)pixels;
      for (int d = 0; d < n->dim; d++)
        n->sum[(int64_t)c * n->dim + d] += share * (double)n->x[i * n->dim + d];
    }
  }
}

static sm_status nearest_learn(void *ctx, const segment_picture *p, sm_error *err) {
  nearest *n = ctx;
  const sm_dense_picture *d = &p->dense;
  const int64_t patches = (int64_t)d->rows * d->cols;
  sm_status status = n->dim ? SM_OK : nearest_begin(n, d, err);
  if (!status) status = nearest_reserve(n, d, err);
  if (!status)
    status = sm_patch_labels(d->whole, d->rows, d->cols, p->labels, p->ignore, n->s.classes, n->count, err);
  for (int64_t i = 0; !status && i < patches; i++) {
    int64_t pixels = 0;
    for (int c = 0; c < n->s.classes; c++) pixels += n->count[i * n->s.classes + c];
    n->patches += pixels > 0;
  }
  if (status) return status;
  if (n->memory) return sm_patch_memory_add(n->memory, p->number, d->x, n->count, patches, err);
  nearest_add_prototypes(n, d);
  return SM_OK;
}

static sm_status nearest_end(nearest *n, sm_error *err) {
  if (!n->patches) {
    sm_fail(err, SM_EINVAL, "no pixel of the training pictures has a class");
    return sm_hint(err, "look at the ignored value and at the label pictures: smalti data check");
  }
  for (int64_t i = 0; n->sum && i < (int64_t)n->s.classes * n->dim; i++) n->prototype[i] = (float)n->sum[i];
  if (n->sum) sm_unit_rows(n->prototype, n->s.classes, n->dim);
  return SM_OK;
}

/* ---- asking -------------------------------------------------------------------------------------------- */

/* A class without a patch is below all cosines. */
static void nearest_cosines(void *context, int64_t i, int worker) {
  const nearest *n = context;
  (void)worker;
  for (int c = 0; c < n->s.classes; c++) {
    double dot = 0, length = 0;
    for (int d = 0; d < n->dim; d++) {
      const double v = (double)n->prototype[(int64_t)c * n->dim + d];
      dot += v * (double)n->x[i * n->dim + d], length += v * v;
    }
    n->vote[i * n->s.classes + c] = length > 0 ? (float)dot : -2;
  }
}

static sm_status nearest_ask(void *ctx, const segment_picture *p, sm_error *err) {
  nearest *n = ctx;
  const sm_dense_picture *d = &p->dense;
  const int64_t patches = (int64_t)d->rows * d->cols;
  sm_status status = nearest_reserve(n, d, err);
  if (!status && n->memory)
    status = sm_patch_memory_vote(n->memory, d->x, patches, n->o->k, n->o->temperature, n->s.x->pool, n->vote,
                                  err);
  else if (!status) {
    nearest_unit(n, d);
    sm_pool_run(n->s.x->pool, patches, nearest_cosines, n);
  }
  return status ? status : segment_add(&n->s, p, n->vote, err);
}

/* ---- running ------------------------------------------------------------------------------------------- */

static void nearest_protocol(const nearest *n, char *to, size_t size) {
  char what[256], method[128] = "mean patch of each class, largest cosine", from[48] = "pixels as features";
  if (n->memory)
    snprintf(method, sizeof method, "k-NN of patches, k %lld, temperature %g, memory of %lld of %lld patches",
             (long long)n->o->k, n->o->temperature, (long long)sm_patch_memory_size(n->memory),
             (long long)n->patches);
  if (n->s.x->network && n->s.blocks == 1) snprintf(from, sizeof from, "last block");
  else if (n->s.x->network) snprintf(from, sizeof from, "last %d blocks", n->s.blocks);
  snprintf(to, size, "%s, %s; %s", method, from, segment_what(&n->s, what, sizeof what));
}

static sm_status nearest_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  const segment_knn *o = self;
  nearest n = {.o = o, .s = {.blocks = (int)o->blocks, .cell = (int)o->patch}};
  n.s.most = o->pictures, n.s.seed = (uint64_t)o->seed;
  const char *doing = x->doing;
  x->doing = "segmentation by nearest patches";
  sm_status status = segment_size(o->size, &n.s.size, err);
  if (!status) status = segment_open(&n.s, x, err);
  if (!status) status = segment_each(&n.s, "train", 0, 0.4, nearest_learn, &n, err);
  if (!status) status = nearest_end(&n, err);
  if (!status) status = segment_each(&n.s, "test", 0.4, 1, nearest_ask, &n, err);
  if (!status) status = segment_figures(&n.s, result, err);
  if (!status) nearest_protocol(&n, result->protocol, sizeof result->protocol);
  x->doing = doing;
  segment_close(&n.s);
  sm_patch_memory_free(n.memory);
  sm_free(n.sum);
  sm_free(n.prototype);
  sm_free(n.count);
  sm_free(n.vote);
  sm_free(n.x);
  return status;
}

/* Patches are made here, so no more than the least is asked of the core. */
static void nearest_wants(const void *self, sm_feature_spec *spec) {
  (void)self;
  spec->blocks = 1;
  spec->pool = SM_POOL_CLS;
}

static void nearest_figures(const void *self, sm_text *out) {
  (void)self;
  segment_names(out);
}

static const sm_evaluation_ops ops = {nearest_run, nearest_wants, nearest_figures};
static const sm_plugin plugin = {
    .kind = SM_EVALUATION,
    .name = "segment_knn",
    .summary = "classes of pixels from the nearest training patches, nothing trained",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite = "Balazevic et al., Towards In-context Scene Understanding, NeurIPS 2023",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(segment_knn),
    .create = nearest_create,
    .ops = &ops,
};
SM_MODULE(&plugin)

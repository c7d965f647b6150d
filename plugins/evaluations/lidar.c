/* plugins/evaluations/lidar.c — LiDAR (Thilak et al. 2024): how many dimensions tell pictures apart better than they
 * differ between views of one picture, without a label. */
#include <math.h>

#include <smalti/measure.h>
#include <smalti/plugin.h>

static const char *const pools[] = {"cls", "mean", "both", NULL}; /* in the order of sm_pool_mode */
static const char *const splits[] = {"train", "test", NULL};
static const char *const divisors[] = {"unbiased", "biased", NULL};

struct lidar {
  int64_t pictures, views, seed;
  double delta, epsilon, least_area, randaugment;
  int pool, split, divisor;
  bool flip;
};

static const sm_option options[] = {
    SM_INT(struct lidar, pictures, "pictures", "1000", 2, 1e7, NULL,
           "how many pictures at most, drawn by the seed; above 32 a multiple of 32 is taken"),
    SM_INT(struct lidar, views, "views", "50", 2, 1000, NULL, "random crops of each picture"),
    SM_CHOICE(struct lidar, pool, "pool", "cls", pools,
              "features: [CLS], mean of the patches, or both side by side"),
    SM_CHOICE(struct lidar, split, "split", "train", splits, "which pictures"),
    SM_FLOAT(struct lidar, delta, "delta", "1e-4", 1e-12, 1e6, NULL,
             "added to the diagonal of the scatter of views"),
    SM_FLOAT(struct lidar, epsilon, "epsilon", "1e-8", 0, 0.1, NULL, "added to each eigenvalue"),
    SM_CHOICE(struct lidar, divisor, "divisor", "unbiased", divisors,
              "unbiased: n - 1 and n(q - 1), as in stable-pretraining; biased: n and nq"),
    SM_FLOAT(struct lidar, least_area, "least_area", "0.08", 0.01, 1, NULL,
             "views are random crops from this share of the picture's area on"),
    SM_BOOL(struct lidar, flip, "flip", "true", "half of the views from left to right"),
    SM_FLOAT(struct lidar, randaugment, "randaugment", "0", 0, 10, NULL,
             "magnitude of RandAugment on each view; 0: none"),
    SM_INT(struct lidar, seed, "seed", "0", 0, 1e9, NULL, "of pictures and views"),
};

static void lidar_wants(const void *self, sm_feature_spec *spec) {
  const struct lidar *o = self;
  spec->blocks = 1;
  spec->pool = (sm_pool_mode)o->pool;
  spec->labels = SM_LABELS_NONE;
}

static sm_status lidar_measure(const struct lidar *o, const sm_sample *s, double *value, sm_error *err) {
  const sm_lidar_config config = {.delta = o->delta, .epsilon = o->epsilon, .biased = o->divisor == 1};
  sm_status status = sm_lidar(s->x, s->n, s->views, s->dim, &config, value, err);
  if (status || !isnan(*value)) return status;
  sm_fail(err, SM_EINVAL, "LiDAR: the features of all pictures are equal");
  return sm_hint(err, "the network has collapsed, or its weights are not those of a run");
}

static sm_status lidar_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  const struct lidar *o = self;
  const sm_sample_request request = {.split = splits[o->split],
                                     .pictures = o->pictures,
                                     .views = (int)o->views,
                                     .least_area = o->least_area,
                                     .flip = o->flip,
                                     .randaugment = o->randaugment,
                                     .seed = (uint64_t)o->seed};
  sm_feature_spec spec = {0};
  sm_sample s;
  double value;
  lidar_wants(o, &spec);
  x->doing = "views for LiDAR";
  sm_status status = sm_sample_get(x, &request, &spec, &s, err);
  if (!status) status = lidar_measure(o, &s, &value, err);
  if (!status) {
    sm_figure_add(result, value, "lidar");
    snprintf(
        result->protocol, sizeof result->protocol,
        "LiDAR of %s, %lld %s pictures, %d random crops each (area from %g%s%s), %s, delta %g, epsilon %g, %d "
        "dimensions; no labels",
        spec.what, (long long)s.n, o->split ? "test" : "training", s.views, o->least_area,
        o->flip ? ", flips" : "", o->randaugment > 0 ? ", RandAugment" : "", divisors[o->divisor], o->delta,
        o->epsilon, s.dim);
  }
  sm_sample_free(&s);
  return status;
}

static void lidar_figures(const void *self, sm_text *out) {
  (void)self;
  sm_text_add(out, "lidar ");
}

static const sm_evaluation_ops ops = {lidar_run, lidar_wants, lidar_figures};
static const sm_plugin lidar = {
    .kind = SM_EVALUATION,
    .name = "lidar",
    .summary = "rank of what tells pictures apart across their views, without labels",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite =
        "Thilak et al., LiDAR: Sensing Linear Probing Performance in Joint Embedding SSL Architectures, ICLR 2024",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(struct lidar),
    .ops = &ops,
};
SM_MODULE(&lidar)

/* plugins/evaluations/lidar.c — LiDAR (Thilak et al. 2024): how many dimensions tell pictures apart better than they
 * differ between views of one picture, without a label. */
#include <math.h>

#include "sample_options.h"
static const char *const divisors[] = {"unbiased", "biased", NULL};

struct lidar {
  sample_options from;
  int64_t views;
  double delta, epsilon;
  int divisor;
};

static const sm_option options[] = {
    SM_INT(struct lidar, from.pictures, "pictures", "1000", 2, 1e7, NULL,
           "how many pictures at most, drawn by the seed; above 32 a multiple of 32 is taken"),
    SM_INT(struct lidar, views, "views", "50", 2, 1000, NULL, "random crops of each picture"),
    SAMPLE_OPTIONS(struct lidar, from),
    SM_FLOAT(struct lidar, delta, "delta", "1e-4", 1e-12, 1e6, NULL,
             "added to the diagonal of the scatter of views"),
    SM_FLOAT(struct lidar, epsilon, "epsilon", "1e-8", 0, 0.1, NULL, "added to each eigenvalue"),
    SM_CHOICE(struct lidar, divisor, "divisor", "unbiased", divisors,
              "unbiased: n - 1 and n(q - 1), as in stable-pretraining; biased: n and nq"),
    CROP_OPTIONS(struct lidar, from),
};

static void lidar_wants(const void *self, sm_feature_spec *spec) {
  sample_wants(&((const struct lidar *)self)->from, spec);
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
  sm_feature_spec spec = {0};
  sm_sample s;
  double value;
  char what[128];
  x->doing = "views for LiDAR";
  sm_status status = sample_get(&o->from, (int)o->views, x, &spec, &s, err);
  if (!status) status = lidar_measure(o, &s, &value, err);
  if (!status) {
    sm_figure_add(result, value, "lidar");
    snprintf(
        result->protocol, sizeof result->protocol,
        "LiDAR of %s, %s, %s, delta %g, epsilon %g, %d dimensions; no labels", spec.what,
        sample_text(&o->from, &s, true, what, sizeof what), divisors[o->divisor], o->delta, o->epsilon, s.dim);
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

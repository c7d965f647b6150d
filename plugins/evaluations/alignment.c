/* plugins/evaluations/alignment.c — alignment and uniformity on the unit sphere (Wang and Isola 2020), without a label:
 * how near two views of a picture lie, and how evenly views of different pictures fill the sphere. */
#include <math.h>
#include <string.h>

#include "sample_options.h"

struct alignment {
  sample_options from;
};

static const sm_option options[] = {
    SM_INT(struct alignment, from.pictures, "pictures", "4096", 2, 100000, NULL,
           "how many pictures at most, drawn by the seed; above 32 a multiple of 32 is taken"),
    SAMPLE_OPTIONS(struct alignment, from),
    CROP_OPTIONS(struct alignment, from),
};

static void alignment_wants(const void *self, sm_feature_spec *spec) {
  sample_wants(&((const struct alignment *)self)->from, spec);
}

/* Both views of all pictures as matrices of their own. */
static sm_status alignment_measure(const sm_sample *s, sm_pool *pool, sm_eval_result *result, sm_error *err) {
  const size_t row = (size_t)s->dim;
  float *view[2] = {sm_malloc((size_t)s->n * row * sizeof(float)),
                    sm_malloc((size_t)s->n * row * sizeof(float))};
  double alignment, uniformity;
  sm_status status = view[0] && view[1]
                         ? SM_OK
                         : sm_fail(err, SM_ENOMEM, "no memory for views of %lld pictures", (long long)s->n);
  for (int64_t i = 0; !status && i < 2 * s->n; i++)
    memcpy(view[i % 2] + (size_t)(i / 2) * row, s->x + (size_t)i * row, row * sizeof(float));
  if (!status) status = sm_alignment(view[0], view[1], s->n, s->dim, &alignment, err);
  if (!status) status = sm_uniformity(view[0], s->n, s->dim, pool, &uniformity, err);
  if (!status) {
    sm_figure_add(result, alignment, "alignment");
    sm_figure_add(result, uniformity, "uniformity");
  }
  sm_free(view[0]);
  sm_free(view[1]);
  return status;
}

static sm_status alignment_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  const struct alignment *o = self;
  sm_feature_spec spec = {0};
  sm_sample s;
  char what[128];
  x->doing = "views for alignment";
  sm_status status = sample_get(&o->from, 2, x, &spec, &s, err);
  if (!status && s.n < 2)
    status = sm_fail(err, SM_EINVAL, "uniformity needs two pictures, and %lld could be read", (long long)s.n);
  if (!status) status = alignment_measure(&s, x->pool, result, err);
  if (!status)
    snprintf(
        result->protocol, sizeof result->protocol,
        "alignment and uniformity (t 2) of %s, L2-normalised, %s; no labels", spec.what,
        sample_text(&o->from, &s, true, what, sizeof what));
  sm_sample_free(&s);
  return status;
}

static void alignment_figures(const void *self, sm_text *out) {
  (void)self;
  sm_text_add(out, "alignment uniformity ");
}

static const sm_evaluation_ops ops = {alignment_run, alignment_wants, alignment_figures};
static const sm_plugin alignment = {
    .kind = SM_EVALUATION,
    .name = "alignment",
    .summary = "how near views of a picture lie and how evenly pictures fill the sphere, without labels",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite =
        "Wang and Isola, Understanding Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere, ICML 2020",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(struct alignment),
    .ops = &ops,
};
SM_MODULE(&alignment)

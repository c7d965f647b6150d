/* plugins/evaluations/rankme.c — how many dimensions the features use, without a label: RankMe, effective and stable
 * rank, participation, and the deviation of the features. */
#include <math.h>

#include "sample_options.h"

struct rankme {
  sample_options from;
  double epsilon;
};

static const sm_option options[] = {
    SM_INT(
        struct rankme, from.pictures, "pictures", "25600", 2, 1e8, NULL,
        "how many pictures at most, drawn by the seed; fewer than the features have dimensions bound the rank"),
    SAMPLE_OPTIONS(struct rankme, from),
    SM_FLOAT(struct rankme, epsilon, "epsilon", "1e-7", 0, 0.1, NULL,
             "added to each share of a singular value in RankMe"),
    SM_INT(struct rankme, from.seed, "seed", "0", 0, 1e9, NULL, "of the choice of pictures"),
};

static void rankme_wants(const void *self, sm_feature_spec *spec) {
  sample_wants(&((const struct rankme *)self)->from, spec);
}

static sm_status rankme_collapsed(sm_error *err) {
  sm_fail(err, SM_EINVAL, "all features are zero: there is no rank");
  return sm_hint(err, "the network has collapsed, or its weights are not those of a run");
}

/* Of the spectrum of the covariance λ = σ² of centred features; equal features have none. */
static double rankme_centred_participation(double *sigma, int64_t n) {
  for (int64_t i = 0; i < n; i++) sigma[i] *= sigma[i];
  const double value = sm_participation(sigma, n);
  return isnan(value) ? 0 : value;
}

static sm_status rankme_add_figures(const struct rankme *o, const sm_sample *s, double *sigma,
                                    sm_eval_result *result, sm_error *err) {
  const int64_t values = s->n < s->dim ? s->n : s->dim;
  double deviation;
  sm_status status = sm_singular_values(s->x, s->n, s->dim, false, sigma, err);
  if (!status && !(sigma[0] > 0)) status = rankme_collapsed(err);
  if (!status) status = sm_feature_deviation(s->x, s->n, s->dim, &deviation, err);
  if (status) return status;
  sm_figure_add(result, sm_rankme(sigma, values, o->epsilon), "rankme");
  sm_figure_add(result, sm_rankme(sigma, values, 0), "effective_rank");
  sm_figure_add(result, sm_stable_rank(sigma, values), "stable_rank");
  if ((status = sm_singular_values(s->x, s->n, s->dim, true, sigma, err))) return status;
  sm_figure_add(result, rankme_centred_participation(sigma, values), "participation");
  sm_figure_add(result, deviation, "deviation");
  return SM_OK;
}

static sm_status rankme_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  const struct rankme *o = self;
  sm_feature_spec spec = {0};
  sm_sample s;
  double *sigma = NULL;
  char what[64];
  x->doing = "features for RankMe";
  sm_status status = sample_get(&o->from, 0, x, &spec, &s, err);
  if (!status && s.n < 2)
    status = sm_fail(err, SM_EINVAL, "RankMe needs two pictures, and %lld could be read", (long long)s.n);
  if (!status && !(sigma = sm_malloc((size_t)s.dim * sizeof *sigma)))
    status = sm_fail(err, SM_ENOMEM, "no memory for %d singular values", s.dim);
  if (!status) status = rankme_add_figures(o, &s, sigma, result, err);
  if (!status)
    snprintf(result->protocol, sizeof result->protocol,
             "ranks of %s, not centred, epsilon %g, %s, %d dimensions%s; no labels", spec.what, o->epsilon,
             sample_text(&o->from, &s, false, what, sizeof what), s.dim,
             s.n < s.dim ? " (more than pictures: these bound the ranks)" : "");
  sm_free(sigma);
  sm_sample_free(&s);
  return status;
}

static void rankme_figures(const void *self, sm_text *out) {
  (void)self;
  sm_text_add(out, "rankme effective_rank stable_rank participation deviation ");
}

static const sm_evaluation_ops ops = {rankme_run, rankme_wants, rankme_figures};
static const sm_plugin rankme = {
    .kind = SM_EVALUATION,
    .name = "rankme",
    .summary = "how many dimensions the features use, without labels: RankMe, stable rank, deviation",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite =
        "Garrido et al., RankMe: Assessing the Downstream Performance of Pretrained Self-Supervised Representations by Their Rank, ICML 2023",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(struct rankme),
    .ops = &ops,
};
SM_MODULE(&rankme)

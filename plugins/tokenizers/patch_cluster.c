/* patch_cluster — a patch is named by the nearest of K mean patches ("patch clustering" of iBOT's table 20).
 *
 *   id = argmin_k |x - c_k|² = argmax_k (x·c_k - |c_k|²/2),   x the patch's 3·P·P values in [0, 1]
 *
 * The centroids c are found before the first step of a run, by k-means (k-means++ seeds, Lloyd's
 * iterations) on a sample of patches of training pictures, at most 16 of each, cut as in training. They
 * are the tokenizer's state: part of checkpoints, never moved again. The right-hand form is one product
 * and an argmax. */
#include <math.h>

#include <smalti/measure.h>
#include <smalti/plugin.h>

enum { PATCHES_A_VIEW = 16, VIEWS_AT_ONCE = 32 };

typedef struct patch_cluster {
  int64_t clusters, pixels, sample, iterations;
  bool plain;
  sm_own_view own;
} patch_cluster;

static const sm_option options[] = {
    SM_INT(patch_cluster, clusters, "clusters", "4096", 2, 65536, NULL, "K, the number of names"),
    SM_INT(patch_cluster, pixels, "pixels", "16", 1, 32, "px", "Side of a patch in the tokenizer's view"),
    SM_INT(patch_cluster, sample, "sample", "65536", 16, 4194304, "patches",
           "How many patches the clusters are found on; at least as many as clusters"),
    SM_INT(patch_cluster, iterations, "iterations", "20", 1, 1000, NULL,
           "Rounds of k-means at most; it ends when no patch changes its cluster"),
    SM_BOOL(patch_cluster, plain, "plain", "false",
            "Look at the picture's own colours, not at those that the student's view was given"),
};

static sm_status patch_cluster_spec(const void *self, sm_tokenizer_spec *out, sm_error *err) {
  patch_cluster *t = (patch_cluster *)self; /* the own view must lie in the instance */
  if (t->sample < t->clusters) {
    sm_fail(err, SM_EINVAL, "%lld patches cannot make %lld clusters", (long long)t->sample,
            (long long)t->clusters);
    return sm_hint(err, "raise sample; ten patches a cluster are few");
  }
  t->own =
      (sm_own_view){.pixels = (int)t->pixels, .std = {1, 1, 1}, .plain = t->plain};
  *out = (sm_tokenizer_spec){
      .patch = SM_TARGET_IDS, .patch_dim = (int)t->clusters, .own = &t->own};
  return SM_OK;
}

static void patch_cluster_declare(const void *self, const sm_params *state, int view_dim, int patch_dim) {
  const patch_cluster *t = self;
  int64_t k = t->clusters, d = 3 * t->pixels * t->pixels;
  (void)view_dim, (void)patch_dim;
  sm_declare(state, "centroids", SM_INIT_ZEROS, 0, 0, 2, (int64_t[]){k, d});
  sm_declare(state, "half_squares", SM_INIT_ZEROS, 0, 0, 1, &k);
}

static void patch_cluster_build(void *self, sm_graph *g, const sm_tokenizer_env *env, const sm_seen *seen,
                                sm_target *view, sm_target *patch) {
  const patch_cluster *t = self;
  (void)view;
  if (!env->want_patch) return;
  sm_tensor *x = sm_gather(g, sm_patchify(g, seen->pictures, (int)t->pixels), env->masked);
  sm_tensor *product = sm_linear(g, x, sm_param(g, &env->state, "centroids"), NULL);
  *patch = (sm_target){.form = SM_TARGET_IDS,
                       .dim = t->clusters,
                       .ids = sm_argmax(g, product, sm_param(g, &env->state, "half_squares"))};
}

/* ---- fitting ------------------------------------------------------------------------------------------- */

/* Patch `cell` of a view, as sm_patchify lays it out. */
static void patch_cluster_cut(const float *view, int height, int width, int p, int cell, float *out) {
  const int cols = width / p, top = cell / cols * p, left = cell % cols * p;
  for (int c = 0; c < 3; c++)
    for (int y = 0; y < p; y++)
      for (int x = 0; x < p; x++) *out++ = view[((int64_t)c * height + top + y) * width + left + x];
}

/* n patches into x, from as many views as it takes. */
static sm_status patch_cluster_draw_sample(const patch_cluster *t, sm_sampler *from, int64_t n, float *x,
                                           sm_error *err) {
  const int p = (int)t->pixels;
  const uint32_t cells = (uint32_t)(from->rows * from->cols);
  const size_t floats = 3 * (size_t)from->height * (size_t)from->width;
  float *views = sm_malloc(VIEWS_AT_ONCE * floats * sizeof *views);
  uint32_t *order = sm_malloc(cells * sizeof *order);
  sm_rng rng = sm_rng_make(from->seed, SM_RNG_TOKENIZER, 0, 0, 0);
  sm_status status = views && order ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for a sample of patches");
  while (n && !status && !(status = from->next(from, VIEWS_AT_ONCE, views, err)))
    for (int v = 0; v < VIEWS_AT_ONCE && n; v++) {
      for (uint32_t k = 0; k < cells; k++) order[k] = k;
      sm_rng_shuffle(&rng, order, cells);
      for (uint32_t k = 0; k < cells && k < PATCHES_A_VIEW && n; k++, n--, x += 3 * p * p)
        patch_cluster_cut(views + (size_t)v * floats, from->height, from->width, p, (int)order[k], x);
    }
  sm_free(views);
  sm_free(order);
  return status;
}

/* Means of the clusters' patches, and half their squares, into the state. */
static sm_status patch_cluster_keep_means(const patch_cluster *t, const sm_features *f,
                                          const int32_t *cluster, const sm_params *state, sm_error *err) {
  const int64_t k = t->clusters, d = f->dim;
  double *sum = sm_calloc((size_t)(k * (d + 1)), sizeof *sum), *n = sum ? sum + k * d : NULL;
  if (!sum) return sm_fail(err, SM_ENOMEM, "no memory for %lld clusters", (long long)k);
  for (int64_t i = 0; i < f->n; i++) {
    n[cluster[i]]++;
    for (int64_t j = 0; j < d; j++) sum[cluster[i] * d + j] += (double)f->x[i * d + j];
  }
  for (int64_t c = 0; c < k; c++) {
    double square = 0;
    for (int64_t j = 0; j < d; j++) {
      double mean = sum[c * d + j] / (n[c] > 0 ? n[c] : 1);
      sm_params_write(state, "centroids", c * d + j, 1, &(float){(float)mean});
      square += mean * mean;
    }
    sm_params_write(state, "half_squares", c, 1, &(float){n[c] > 0 ? (float)(square / 2) : INFINITY});
  }
  sm_free(sum);
  return SM_OK;
}

static sm_status patch_cluster_going_on(void *ctx, double done, sm_error *err) {
  sm_sampler *from = ctx;
  (void)done;
  return from->next(from, 0, NULL, err);
}

static sm_status patch_cluster_fit(void *self, const sm_params *state, sm_sampler *from, sm_error *err) {
  const patch_cluster *t = self;
  const int64_t d = 3 * t->pixels * t->pixels;
  float *x = sm_malloc((size_t)(t->sample * d) * sizeof *x);
  int32_t *cluster = sm_malloc((size_t)t->sample * sizeof *cluster);
  double inertia;
  sm_features f = {.n = t->sample, .dim = (int)d, .x = x};
  const sm_kmeans_config c = {.clusters = (int)t->clusters,
                              .starts = 1,
                              .iterations = t->iterations,
                              .seed = from->seed,
                              .pool = from->pool,
                              .going_on = patch_cluster_going_on,
                              .ctx = from};
  sm_status status = x && cluster ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for a sample of patches");
  if (!status) status = patch_cluster_draw_sample(t, from, t->sample, x, err);
  if (!status) status = sm_kmeans(&f, &c, cluster, &inertia, err);
  if (!status) status = patch_cluster_keep_means(t, &f, cluster, state, err);
  if (!status)
    sm_log(SM_LOG_INFO, "%lld clusters of %lld patches: mean squared distance %.4g", (long long)t->clusters,
           (long long)t->sample, inertia / (double)t->sample);
  sm_free(x);
  sm_free(cluster);
  return status;
}

static const sm_tokenizer_ops ops = {.spec = patch_cluster_spec,
                                     .declare = patch_cluster_declare,
                                     .build = patch_cluster_build,
                                     .fit = patch_cluster_fit};
static const sm_plugin plugin = {.kind = SM_TOKENIZER,
                                 .name = "patch_cluster",
                                 .summary = "The nearest of K mean patches, found by k-means before training",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .cite = "Zhou et al., iBOT, ICLR 2022, table 20; Lloyd 1982",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .instance_size = sizeof(patch_cluster),
                                 .ops = &ops};
SM_MODULE(&plugin)

/* check_evaluation.c — evaluations: run on made-up features of four classes, twice, and with features that
 * fail. */
#include <math.h>
#include <string.h>

#include "driver.h"

#define DIM 16
#define CLASSES 4
#define TRAIN 240
#define TEST 80

typedef struct made_up {
  sm_eval_context context; /* first: the callbacks get this pointer */
  float *x;
  int32_t label[TRAIN + TEST];
  bool fails;
} made_up;

static sm_status features(sm_eval_context *context, const char *split, sm_pool_mode mode, sm_features *out,
                          sm_error *err) {
  made_up *m = (made_up *)(void *)context;
  bool train = strcmp(split, "train") == 0;
  if (m->fails) return sm_fail(err, SM_EIO, "the check makes features fail");
  if (!train && strcmp(split, "test") != 0) return sm_fail(err, SM_EINVAL, "there is no split '%s'", split);
  int dim = mode == SM_POOL_BOTH ? 2 * DIM : DIM;
  *out = (sm_features){.n = train ? TRAIN : TEST,
                       .dim = dim,
                       .classes = CLASSES,
                       .x = m->x + (train ? 0 : TRAIN * dim),
                       .label = m->label + (train ? 0 : TRAIN)};
  return SM_OK;
}

static void no_progress(sm_eval_context *context, double done) { (void)context, (void)done; }

static sm_status no_stop(sm_eval_context *context, double done, sm_error *err) {
  (void)context, (void)done, (void)err;
  return SM_OK;
}

static sm_status features_of(sm_eval_context *context, const char *split, sm_feature_spec *spec,
                             sm_features *out, sm_error *err) {
  snprintf(spec->what, sizeof spec->what, "made-up features");
  return features(context, split, spec->pool, out, err);
}

/* The same features in each epoch, in order. */
static sm_status augmented(sm_eval_context *context, sm_augmented_request *r, sm_error *err) {
  sm_features f;
  sm_status status = features_of(context, "train", &r->features, &f, err);
  for (int64_t epoch = 0; epoch < r->epochs; epoch++)
    for (int64_t i = 0; !status && i < r->n; i++)
      status = r->take(r->to, epoch, f.x + r->row[i] * f.dim, &f.label[r->row[i]], 1, err);
  return status;
}

/* All pictures, whatever the share. */
static sm_status part(sm_eval_context *context, double share, uint64_t seed, int64_t *pictures, sm_error *err) {
  (void)share, (void)seed;
  *pictures = TRAIN;
  return ((made_up *)(void *)context)->fails ? sm_fail(err, SM_EIO, "the check makes a part fail") : SM_OK;
}

/* Each cluster is a class. */
static sm_status assigned(sm_eval_context *context, const char *split, sm_assigned *out, sm_error *err) {
  made_up *m = (made_up *)(void *)context;
  bool train = strcmp(split, "train") == 0;
  if (m->fails) return sm_fail(err, SM_EIO, "the check makes outputs of the head fail");
  const int32_t *label = m->label + (train ? 0 : TRAIN);
  *out = (sm_assigned){
      .n = train ? TRAIN : TEST, .outputs = CLASSES, .classes = CLASSES, .cluster = label, .label = label};
  return SM_OK;
}

/* As if every second test picture were right. */
static sm_status finetune(sm_eval_context *context, const sm_finetune_config *c, sm_finetune_result *r,
                          sm_error *err) {
  if (((made_up *)(void *)context)->fails) return sm_fail(err, SM_EIO, "the check makes fine-tuning fail");
  *r = (sm_finetune_result){.fitted = TRAIN,
                            .tested = TEST,
                            .top1 = TEST / 2,
                            .top5 = TEST,
                            .batch = c->batch < TRAIN ? c->batch : TRAIN,
                            .steps = c->epochs,
                            .first_loss = 1,
                            .last_loss = 0.5};
  return SM_OK;
}

static const sm_backbone_spec network = {.dim = DIM, .depth = 2, .prefix = 1};

/* Clouds around one point a class. */
static bool make_up(made_up *m, sm_pool *pool) {
  sm_rng rng = sm_rng_make(9, SM_RNG_TEST, 0, 0, 0);
  double centre[CLASSES][2 * DIM];
  *m = (made_up){.context = {.pool = pool,
                             .features = features,
                             .progress = no_progress,
                             .features_of = features_of,
                             .augmented = augmented,
                             .going_on = no_stop,
                             .part = part,
                             .assigned = assigned,
                             .finetune = finetune,
                             .network = &network}};
  m->x = sm_malloc((size_t)(TRAIN + TEST) * 2 * DIM * sizeof *m->x);
  if (!m->x) return false;
  for (int k = 0; k < CLASSES * 2 * DIM; k++) centre[k / (2 * DIM)][k % (2 * DIM)] = sm_rng_normal(&rng);
  for (int64_t k = 0; k < (TRAIN + TEST) * 2 * DIM; k++)
    m->x[k] = (float)(centre[k / DIM % CLASSES][k % DIM] + 0.7 * sm_rng_normal(&rng));
  for (int k = 0; k < TRAIN + TEST; k++) m->label[k] = k % CLASSES;
  return true;
}

static bool check_result(sm_checker *c, const sm_eval_result *r) {
  if (!sm_check_that(c, r->n >= 1 && r->n <= 64, NULL, "it gives %d figures, not 1 to 64", r->n) ||
      !sm_check_that(c, memchr(r->protocol, 0, sizeof r->protocol) && r->protocol[0], NULL,
                     "it does not state its protocol"))
    return false;
  for (int k = 0; k < r->n; k++) {
    if (!sm_check_that(c, memchr(r->figure[k].name, 0, sizeof r->figure[k].name) && r->figure[k].name[0],
                       NULL, "figure %d has no name", k) ||
        !sm_check_that(c, isfinite(r->figure[k].value), NULL, "figure '%s' is %g", r->figure[k].name,
                       r->figure[k].value))
      return false;
    for (int j = 0; j < k; j++)
      if (!sm_check_that(c, strcmp(r->figure[j].name, r->figure[k].name) != 0, NULL,
                         "two figures are called '%s'", r->figure[k].name))
        return false;
  }
  return true;
}

void sm_check_evaluation(sm_checker *c, sm_instance *instance) {
  const sm_evaluation_ops *ops = instance->plugin->ops;
  made_up m;
  sm_eval_result result[2];
  sm_error err = {0};
  if (!make_up(&m, c->two)) {
    sm_check_note(c, "no memory for features");
    return;
  }
  for (int k = 0; k < 2; k++) {
    memset(&result[k], 0, sizeof result[k]);
    m.context.pool = k ? c->one : c->two;
    if (ops->run(instance->self, &m.context, &result[k], &err) != SM_OK) {
      sm_check_error(c, "run", &err);
      goto out;
    }
  }
  if (check_result(c, &result[0])) {
    bool same = result[0].n == result[1].n;
    for (int k = 0; same && k < result[0].n; k++)
      same = memcmp(&result[0].figure[k].value, &result[1].figure[k].value, sizeof(double)) == 0;
    sm_check_good(c, "%d figures (%s %.4g)", result[0].n, result[0].figure[0].name,
                  result[0].figure[0].value);
    sm_check_that(c, same, "the same again and on one thread",
                  "another run, on one thread, gives other figures");
  }
  m.fails = true;
  memset(&err, 0, sizeof err);
  sm_check_that(c, ops->run(instance->self, &m.context, &result[0], &err) != SM_OK, NULL,
                "features fail (a damaged data set), but run says it went well");
out:
  sm_free(m.x);
}

/* test_evaluation.c — what an evaluation gets from the core: pictures of a split, parts, crops, features; and
 * a plugin of its own that builds the network itself. */
#include <math.h>

#include "eval_bench.h"
#include "pools.h"
#include "test.h"

#define PIXELS (3 * SIDE * SIDE)
#define PLUGINS "tests/plugins/evaluations/.libs"

/* ---- a plugin that looks at its context ---------------------------------------------------------------- */

typedef void (*look_fn)(sm_eval_context *);
static sm_status look(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  (void)err;
  (*(look_fn *)self)(x);
  result->n = 1; /* an evaluation without a figure is refused */
  snprintf(result->figure[0].name, sizeof result->figure[0].name, "looked");
  return SM_OK;
}

static void with_context(eval_bench *b, look_fn fn) {
  const sm_evaluation_ops ops = {.run = look};
  sm_eval_result result = {0};
  assert_int_equal(sm_evaluator_run(b->e, &ops, &fn, NULL, &result, NULL), SM_OK);
}

static sm_picture_list list_of(sm_eval_context *x, const char *split) {
  sm_picture_list list;
  sm_error err = {0};
  if (sm_picture_list_get(x, split, &list, &err)) fail_msg("%s", err.message);
  return list;
}

static sm_pictures *open_pictures(sm_eval_context *x, sm_picture_request r) {
  sm_pictures *p;
  sm_error err = {0};
  if (sm_pictures_open(x, &r, &p, &err)) fail_msg("%s", err.message);
  return p;
}

static bool next(sm_pictures *p, sm_picture_batch *b) {
  sm_error err = {0};
  if (sm_pictures_next(p, b, &err)) fail_msg("%s", err.message);
  return b->n > 0;
}

/* ---- lists and parts ----------------------------------------------------------------------------------- */

static void look_at_lists(sm_eval_context *x) {
  sm_picture_list all = list_of(x, "train"), test = list_of(x, "test");
  assert_int_equal(all.n, 256);
  assert_int_equal(test.n, 128);
  assert_int_equal(all.classes, 4);
  for (int64_t i = 0; i < all.n; i++) assert_true(all.index[i] == i && all.label[i] == i % 4);
  assert_int_equal(sm_picture_part(x, 0.25, 7, NULL), SM_OK);
  sm_picture_list part = list_of(x, "train");
  assert_int_equal(part.n, 64);
  assert_true(part.hash != all.hash);
  for (int64_t i = 0; i < part.n; i++) {
    assert_true(!i || part.index[i] > part.index[i - 1]);
    assert_int_equal(part.label[i], part.index[i] % 4);
  }
  sm_picture_batch b;
  int64_t seen = 0;
  for (sm_pictures *p = open_pictures(x, (sm_picture_request){.split = "train"}); p;) {
    if (!next(p, &b)) {
      sm_pictures_close(p);
      break;
    }
    for (int i = 0; i < b.n; i++, seen++)
      assert_true(b.index[i] == part.index[seen] && b.label[i] == part.label[seen]);
  }
  assert_int_equal(seen, 64);
  assert_int_equal(sm_picture_part(x, 1, 7, NULL), SM_OK);
  assert_int_equal(list_of(x, "train").n, 256);
  sm_error err = {0};
  assert_int_equal(sm_picture_list_get(x, "validation", &part, &err), SM_EINVAL);
  assert_string_equal(err.message, "no split called 'validation'; there are train and test");
}

static void lists(void **state) {
  eval_bench b;
  eval_bench_open(&b, pool[2], false, NULL);
  with_context(&b, look_at_lists);
  with_context(&b, look_at_lists); /* the part is gone after a run */
  eval_bench_close(&b);
}

/* Contexts of other rigs have features only. */
static void no_pictures(void **state) {
  sm_eval_context x = {.pool = pool[1]};
  sm_pictures *p;
  sm_error err = {0};
  assert_int_equal(sm_pictures_open(&x, &(sm_picture_request){.split = "train"}, &p, &err), SM_EUNSUPPORTED);
  assert_string_equal(err.message, "this evaluation gets features only, and no pictures");
  assert_null(p);
}

/* ---- pictures ------------------------------------------------------------------------------------------ */

/* A picture as the centre crop shows it, by hand: small ones are cut whole. */
static void by_hand(const eval_bench *b, int64_t i, float *to) {
  static const float mean[3] = {0.5f, 0.5f, 0.5f}, deviation[3] = {0.25f, 0.25f, 0.25f};
  sm_image image = {0};
  assert_int_equal(stripes_ops.read(&b->test, i, NULL, &image, NULL), SM_OK);
  sm_image_normalise(&image, mean, deviation, to);
  sm_image_free(&image);
}

static const eval_bench *looked_at;

static void look_at_centres(sm_eval_context *x) {
  static const int64_t some[] = {7, 3, 100};
  static float want[PIXELS];
  sm_picture_batch b;
  sm_pictures *p = open_pictures(x, (sm_picture_request){.split = "test", .index = some, .n = 3, .batch = 2});
  int64_t seen = 0;
  for (; next(p, &b); seen += b.n)
    for (int i = 0; i < b.n; i++) {
      by_hand(looked_at, some[seen + i], want);
      assert_int_equal(b.index[i], some[seen + i]);
      assert_memory_equal(want, b.x + i * PIXELS, sizeof want);
    }
  assert_int_equal(seen, 3);
  sm_pictures_close(p);
  p = open_pictures(x, (sm_picture_request){.split = "test", .height = 8, .width = 24, .batch = 5});
  assert_true(next(p, &b));
  assert_int_equal(b.n, 5);
  for (int k = 0; k < 5 * 3 * 8 * 24; k++) assert_true(isfinite(b.x[k]) && fabsf(b.x[k]) < 3);
  sm_pictures_close(p);
}

static void centres(void **state) {
  eval_bench b;
  eval_bench_open(&b, pool[2], false, NULL);
  looked_at = &b;
  with_context(&b, look_at_centres);
  int64_t made, bad;
  sm_evaluator_counts(b.e, "test", &made, &bad);
  assert_true(made == 128 && bad == 0);
  sm_evaluator_counts(b.e, "train", &made, &bad);
  assert_true(made == 0 && bad == 0);
  eval_bench_close(&b);
}

enum { CROPPED = 50, BATCH = 8, EPOCHS = 3, EACH = 5 }; /* five of six whole batches per epoch */
static float cropped[EPOCHS * EACH][BATCH * PIXELS];

static void look_at_crops(sm_eval_context *x) {
  static int64_t index[CROPPED];
  for (int i = 0; i < CROPPED; i++) index[i] = 2 * i + 1;
  sm_picture_request r = {.split = "train",
                          .geometry = SM_PICTURES_CROPS,
                          .index = index,
                          .n = CROPPED,
                          .batch = BATCH,
                          .epochs = EPOCHS,
                          .epoch_batches = EACH,
                          .seed = 9,
                          .filter = SM_FILTER_BILINEAR,
                          .least_area = 0.3,
                          .flip = true};
  sm_picture_batch b;
  int often[256] = {0}, k = 0;
  sm_pictures *p = open_pictures(x, r);
  for (; next(p, &b); k++) {
    assert_true(b.n == BATCH && b.number == k && b.epoch == k / EACH);
    for (int i = 0; i < b.n; i++) {
      assert_true(b.index[i] % 2 == 1 && b.index[i] < 2 * CROPPED);
      assert_int_equal(b.label[i], b.index[i] % 4);
      assert_true(++often[b.index[i]] <= k / EACH + 1); /* once per epoch */
    }
    memcpy(cropped[k], b.x, sizeof cropped[k]);
  }
  assert_int_equal(k, EPOCHS * EACH);
  assert_memory_not_equal(cropped[0], cropped[EACH], sizeof cropped[0]);
  sm_pictures_close(p);
  r.first_batch = 7; /* on from there, to the same pictures */
  p = open_pictures(x, r);
  for (k = 7; next(p, &b); k++) assert_memory_equal(cropped[k], b.x, sizeof cropped[k]);
  assert_int_equal(k, EPOCHS * EACH);
  sm_pictures_close(p);
}

static void crops(void **state) {
  eval_bench b;
  eval_bench_open(&b, pool[2], false, NULL);
  with_context(&b, look_at_crops);
  eval_bench_close(&b);
}

/* ---- pictures that cannot be read, classes in another order -------------------------------------------- */

static sm_status damaged_read(const void *self, int64_t i, const sm_image_limits *limits, sm_image *out,
                              sm_error *err) {
  return i % 10 == 3 ? sm_fail(err, SM_EFORMAT, "damaged") : stripes_ops.read(self, i, limits, out, err);
}
static const char *other_order(const void *self, int c) {
  static const char *const name[] = {"chequers", "none", "columns", "rows"};
  (void)self;
  return name[c];
}

static void damaged_and_mapped(void **state) {
  eval_bench b;
  sm_features f;
  sm_feature_spec spec = {.blocks = 1, .pool = SM_POOL_CLS};
  sm_error err = {0};
  eval_bench_open(&b, pool[2], false, NULL);
  sm_evaluator_free(b.e);
  sm_dataset_ops ops = stripes_ops;
  ops.read = damaged_read, ops.class_name = other_order;
  b.config.test = (sm_dataset){&ops, &b.test};
  b.config.max_bad = 0.2;
  b.e = eval_bench_at(&b, SIDE, SIDE);
  if (sm_evaluator_features(b.e, "test", &spec, &f, &err)) fail_msg("%s", err.message);
  assert_int_equal(f.n, 128 - 13);
  int64_t made, bad;
  sm_evaluator_counts(b.e, "test", &made, &bad);
  assert_true(made == f.n && bad == 13);
  static const int32_t map[] = {3, 0, 2, 1}; /* of other_order to the training's names */
  for (int64_t i = 0; i < f.n; i++)
    assert_true(f.index[i] % 10 != 3 && f.label[i] == map[f.index[i] % 4]);
  eval_bench_close(&b);
}

/* More bad pictures than max_bad allows, on either side, give no figure: 26 of 256 are 10.2 %, and so
 * are 13 of 128. */
static void too_many_damaged(void **state) {
  static const char *const evaluations[][2] = {{"knn", "{}"},
                                               {"logistic", "{}"},
                                               {"linear", "{features: crops, epochs: 2, n_last_blocks: 1}"},
                                               {"semi", "{method: knn, share: [1]}"},
                                               {"finetune", "{preset: short, epochs: 1, warmup_epochs: 0}"}};
  sm_dataset_ops ops = stripes_ops;
  ops.read = damaged_read;
  for (int side = 0; side < 2; side++)
    for (int allowed = 0; allowed < 2; allowed++) {
      eval_bench b;
      eval_bench_open(&b, pool[2], false, NULL);
      sm_evaluator_free(b.e);
      if (side) b.config.test = (sm_dataset){&ops, &b.test};
      else b.config.train = (sm_dataset){&ops, &b.train};
      b.config.max_bad = allowed ? 0.102 : 0.1;
      b.config.some_blocks = true;
      for (size_t i = 0; i < sizeof evaluations / sizeof *evaluations; i++) {
        sm_eval_result r;
        sm_error err = {0};
        b.e = eval_bench_at(&b, SIDE, SIDE);
        sm_status status = eval_bench_run(&b, evaluations[i][0], evaluations[i][1], &r, &err);
        if (allowed && status) fail_msg("%s: %s", evaluations[i][0], err.message);
        if (!allowed && status != SM_EFORMAT)
          fail_msg("%s, side %d: status %d, %s", evaluations[i][0], side, status, err.message);
        if (!allowed) assert_non_null(strstr(err.message, "cannot be used, more than max_bad allows"));
        sm_evaluator_free(b.e);
      }
      b.e = NULL;
      eval_bench_close(&b);
    }
}

/* ---- which classes there are --------------------------------------------------------------------------- */

/* Seven folders on each side, of which those of the four classes hold pictures; the others' names differ. */
static int seven(const void *self) {
  (void)self;
  return 7;
}
static int every_other(const void *self, int64_t i) { return (int)(2 * (stripes_ops.label(self, i)) % 7); }
static const char *with_empty(const void *self, int c) {
  static const char *const name[] = {"none",    "__MACOSX", "rows",    "lost+found",
                                     "columns", "@eaDir",   "chequers"};
  (void)self;
  return name[c];
}
static const char *with_other_empty(const void *self, int c) {
  static const char *const name[] = {"none", "a", "rows", "b", "columns", "c", "chequers"};
  (void)self;
  return name[c];
}

static int names;
static void take_name(void *ctx, const char *name) {
  (void)ctx;
  assert_string_equal(name, stripes_ops.class_name(NULL, names++));
}

/* Folders without a picture change no figure. */
static void empty_folders(void **state) {
  static const char *const evaluations[][2] = {{"knn", "{}"},
                                               {"logistic", "{}"},
                                               {"linear", "{epochs: 3}"},
                                               {"cluster", "{}"},
                                               {"semi", "{method: logistic, share: [0.2]}"},
                                               {"finetune", "{preset: short, epochs: 1, warmup_epochs: 0}"}};
  enum { EVALUATIONS = sizeof evaluations / sizeof *evaluations };
  static sm_eval_result r[2][EVALUATIONS];
  sm_dataset_ops train = stripes_ops, test = stripes_ops;
  train.classes = test.classes = seven;
  train.label = test.label = every_other;
  train.class_name = with_empty, test.class_name = with_other_empty;
  for (int with = 0; with < 2; with++) {
    eval_bench b;
    sm_error err = {0};
    eval_bench_open(&b, pool[2], false, NULL);
    sm_evaluator_free(b.e);
    if (with) b.config.train = (sm_dataset){&train, &b.train}, b.config.test = (sm_dataset){&test, &b.test};
    b.config.some_blocks = true;
    b.e = eval_bench_at(&b, SIDE, SIDE);
    for (int i = 0; i < EVALUATIONS; i++)
      if (eval_bench_run(&b, evaluations[i][0], evaluations[i][1], &r[with][i], &err))
        fail_msg("%s: %s", evaluations[i][0], err.message);
    names = 0;
    assert_int_equal(sm_evaluator_class_names(b.e, "test", take_name, NULL, &err), SM_OK);
    assert_int_equal(names, 4);
    eval_bench_close(&b);
  }
  for (int i = 0; i < EVALUATIONS; i++) assert_memory_equal(&r[0][i], &r[1][i], sizeof r[0][i]);
}

/* ---- what cannot be evaluated -------------------------------------------------------------------------- */

static int no_label(const void *self, int64_t i) {
  (void)self, (void)i;
  return -1;
}
static int always_rows(const void *self, int64_t i) {
  (void)self, (void)i;
  return 1;
}
static const char *others(const void *self, int c) {
  static const char *const name[] = {"none", "rows", "columns", "spirals"};
  (void)self;
  return name[c];
}

/* One check for all: the same words, whatever the evaluation, before a picture is read. */
static void what_cannot_be_evaluated(void **state) {
  static const char *const classifiers[][2] = {{"knn", "{}"},
                                               {"logistic", "{}"},
                                               {"linear", "{}"},
                                               {"finetune", "{}"},
                                               {"semi", "{}"},
                                               {"semi", "{method: knn}"},
                                               {"semi", "{method: linear}"},
                                               {"semi", "{method: logistic}"},
                                               {"cluster", "{}"},
                                               {"cluster", "{by: head}"}};
  static const struct {
    int side; /* 0: training, 1: test */
    int (*label)(const void *, int64_t);
    const char *(*class_name)(const void *, int);
    const char *classifier, *cluster; /* what they say; NULL: nothing */
  } cases[] = {
      {0, no_label, NULL, "an evaluation needs pictures of two classes, and the training pictures have 0",
       NULL},
      {0, always_rows, NULL, "an evaluation needs pictures of two classes, and the training pictures have 1",
       NULL},
      {1, no_label, NULL, "none of the 128 test pictures has a class",
       "none of the 128 test pictures has a class"},
      {1, always_rows, NULL, NULL,
       "an evaluation needs pictures of two classes, and the test pictures have 1"},
      {1, NULL, others, "test pictures have a class 'spirals' that no training picture has", NULL},
  };
  eval_bench b;
  eval_bench_open(&b, pool[2], true, NULL);
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    sm_dataset_ops ops = stripes_ops;
    if (cases[k].label) ops.label = cases[k].label;
    if (cases[k].class_name) ops.class_name = cases[k].class_name;
    const sm_dataset train = {cases[k].side ? &stripes_ops : &ops, &b.train},
                     test = {cases[k].side ? &ops : &stripes_ops, &b.test};
    for (size_t i = 0; i < sizeof classifiers / sizeof *classifiers; i++) {
      sm_error err = {0};
      sm_instance instance;
      const sm_plugin *p = sm_registry_find(b.registry, SM_EVALUATION, classifiers[i][0], &err);
      const char *says = strcmp(classifiers[i][0], "cluster") ? cases[k].classifier : cases[k].cluster;
      assert_int_equal(sm_instance_new(b.registry, p, &instance, &err), SM_OK);
      assert_int_equal(sm_options_fill(p, classifiers[i][1], instance.self, b.arena, &err), SM_OK);
      sm_status status = sm_evaluation_check(train, test, p->ops, instance.self, &err);
      if (status != (says ? SM_EINVAL : SM_OK) || (says && strcmp(err.message, says)))
        fail_msg("case %zu, %s %s: %d, %s", k, classifiers[i][0], classifiers[i][1], status, err.message);
      sm_instance_free(&instance);
    }
  }
  /* one class on both sides: a figure of 100 % that says nothing */
  sm_dataset_ops one = stripes_ops;
  one.label = always_rows;
  sm_evaluator_free(b.e);
  b.config.train = (sm_dataset){&one, &b.train}, b.config.test = (sm_dataset){&one, &b.test};
  b.e = eval_bench_at(&b, SIDE, SIDE);
  sm_eval_result r;
  sm_error err = {0};
  assert_int_equal(eval_bench_run(&b, "knn", "{}", &r, &err), SM_EINVAL);
  assert_string_equal(err.message,
                      "an evaluation needs pictures of two classes, and the training pictures have 1");
  eval_bench_close(&b);
}

/* ---- features ------------------------------------------------------------------------------------------ */

/* What comes of some pictures in a graph of our own: the view of each block, and the patches of the last. */
static void own_features(const eval_bench *b, const float *x, int n, float *view[2], float *patches) {
  sm_error err = {0};
  sm_graph_config config = {.device = SM_CPU, .real = SM_F32, .pool = pool[1]};
  sm_graph *g = sm_graph_new(&config, &err);
  int pass = sm_pass_begin(g, "by hand");
  sm_tensor *pictures = sm_input_real(g, "pictures", 4, (int64_t[]){n, 3, SIDE, SIDE}, NULL);
  sm_backbone_in in = {.pictures = pictures, .view = true, .patches = true, .blocks = 1};
  sm_backbone_out out;
  sm_network_build(b->network, g, NULL, &in, &out);
  sm_keep(g, out.view);
  sm_keep(g, out.patches);
  sm_keep(g, out.block[0].view);
  sm_pass_end(g);
  if (sm_graph_plan(g, &err) || sm_graph_allocate(g, &err)) fail_msg("%s", err.message);
  sm_write(pictures, 0, (int64_t)n * PIXELS, x);
  sm_graph_run(g, pass);
  sm_read(out.block[0].view, 0, n * 32, view[0]);
  sm_read(out.view, 0, n * 32, view[1]);
  sm_read(out.patches, 0, (int64_t)n * 16 * 32, patches);
  sm_graph_free(g);
}

enum { FEW = 9 };

static void rows_of_features(void **state) {
  static float x[FEW * PIXELS], before[FEW * 32], last[FEW * 32], patches[FEW * 16 * 32];
  eval_bench b;
  sm_features f;
  sm_feature_spec spec = {.blocks = 2, .pool = SM_POOL_BOTH};
  sm_error err = {0};
  eval_bench_open(&b, pool[2], false, NULL);
  sm_evaluator_free(b.e);
  b.config.blocks = 2, b.config.patches = true;
  b.e = eval_bench_at(&b, SIDE, SIDE);
  if (sm_evaluator_features(b.e, "test", &spec, &f, &err)) fail_msg("%s", err.message);
  assert_string_equal(spec.what, "cls features of the last 2 blocks and mean features");
  assert_int_equal(f.dim, 96);
  for (int i = 0; i < FEW; i++) by_hand(&b, i, x + i * PIXELS);
  own_features(&b, x, FEW, (float *[]){before, last}, patches);
  for (int i = 0; i < FEW; i++) {
    const float *row = f.x + i * f.dim;
    for (int d = 0; d < 32; d++) {
      double mean = 0;
      for (int k = 0; k < 16; k++) mean += (double)patches[(i * 16 + k) * 32 + d];
      assert_float_equal(row[d], before[i * 32 + d], 1e-5);
      assert_float_equal(row[32 + d], last[i * 32 + d], 1e-5);
      assert_float_equal(row[64 + d], mean / 16, 1e-5);
    }
  }
  spec = (sm_feature_spec){.blocks = 1, .pool = SM_POOL_CLS};
  sm_features one;
  if (sm_evaluator_features(b.e, "test", &spec, &one, &err)) fail_msg("%s", err.message);
  for (int64_t i = 0; i < one.n; i++)
    assert_memory_equal(one.x + i * 32, f.x + i * 96 + 32, 32 * sizeof *one.x); /* columns of the same pass */
  spec.blocks = 3;
  assert_int_equal(sm_evaluator_features(b.e, "test", &spec, &one, &err), SM_EINTERNAL);
  eval_bench_close(&b);
}

/* ---- protocols over them ------------------------------------------------------------------------------- */

static void learns_from_crops(void **state) {
  const char *yaml = "{epochs: 3, lr: [0.01, 0.1], features: crops, hold_out: 0.2, batch_size: 64}";
  sm_eval_result r[2];
  sm_error err = {0};
  eval_bench b;
  for (int t = 0; t < 2; t++) {
    eval_bench_open(&b, pool[1 + 2 * t], false, NULL);
    sm_evaluator_free(b.e);
    b.config.some_blocks = true;
    b.e = eval_bench_at(&b, SIDE, SIDE);
    if (eval_bench_run(&b, "linear", yaml, &r[t], &err)) fail_msg("%s", err.message);
    sm_eval_result again;
    eval_asked = 0; /* with what the evaluator keeps */
    must(eval_bench_run(&b, "linear", yaml, &again, &err), &err);
    assert_memory_equal(&again, &r[t], sizeof again);
    const int asked = eval_asked, stops[] = {2, asked - 3}; /* at its start, and while it learns */
    assert_true(asked > 5);
    for (int k = 0; k < 2; k++) {
      eval_asked = 0, eval_stop_after = stops[k];
      assert_int_equal(eval_bench_run(&b, "linear", yaml, &again, &err), SM_EINTERRUPTED);
      eval_stop_after = 0;
    }
    eval_bench_close(&b);
  }
  assert_memory_equal(&r[0], &r[1], sizeof r[0]);
  assert_non_null(
      strstr(r[0].protocol, "cls features of the last 2 blocks, random crops, 3 epochs of SGD, lr 0."));
  assert_non_null(strstr(r[0].protocol, "128 against 205 pictures"));
}

/* Nearest class means of the evaluator's own features at a size. */
static double nearest_mean(const eval_bench *b, int side) {
  sm_evaluator *e = eval_bench_at(b, side, side);
  sm_feature_spec spec = {.blocks = 1, .pool = SM_POOL_CLS};
  sm_features train, test;
  sm_error err = {0};
  double mean[4][32] = {0};
  int n[4] = {0}, right = 0;
  if (sm_evaluator_features(e, "train", &spec, &train, &err) ||
      sm_evaluator_features(e, "test", &spec, &test, &err))
    fail_msg("%s", err.message);
  for (int64_t i = 0; i < train.n; i++, n[train.label[i - 1]]++)
    for (int d = 0; d < 32; d++) mean[train.label[i]][d] += (double)train.x[i * 32 + d];
  for (int64_t i = 0; i < test.n; i++) {
    double least = INFINITY;
    int found = 0;
    for (int c = 0; c < 4; c++) {
      double distance = 0;
      for (int d = 0; d < 32; d++) {
        double difference = (double)test.x[i * 32 + d] - mean[c][d] / n[c];
        distance += difference * difference;
      }
      if (distance < least) least = distance, found = c;
    }
    right += found == test.label[i];
  }
  sm_evaluator_free(e);
  return 100.0 * right / (double)test.n;
}

static void a_plugin_of_ones_own(void **state) {
  const char *build = getenv("SMALTI_BUILDDIR");
  char plugins[4096];
  snprintf(plugins, sizeof plugins, "%s/" PLUGINS, build ? build : ".");
  eval_bench b;
  sm_eval_result r;
  sm_error err = {0};
  double top1[2];
  eval_bench_open(&b, pool[3], false, plugins);
  static const struct {
    const char *yaml;
    int side;
  } sizes[] = {{"{}", SIDE}, {"{size: 24}", 24}};
  for (int i = 0; i < 2; i++) {
    if (eval_bench_run(&b, "nearest_mean", sizes[i].yaml, &r, &err)) fail_msg("%s", err.message);
    top1[i] = eval_figure(&r, "top1");
    assert_float_equal(top1[i], nearest_mean(&b, sizes[i].side), 1e-9);
    assert_true(top1[i] > 25 && top1[i] < 100);
  }
  assert_string_equal(r.protocol, "nearest class mean of views at 24 x 24 px, 128 against 256 pictures");
  assert_true(top1[0] != top1[1]);
  eval_asked = 0, eval_stop_after = 5;
  assert_int_equal(eval_bench_run(&b, "nearest_mean", "{}", &r, &err), SM_EINTERRUPTED);
  eval_bench_close(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lists),
      cmocka_unit_test(no_pictures),
      cmocka_unit_test(centres),
      cmocka_unit_test(crops),
      cmocka_unit_test(damaged_and_mapped),
      cmocka_unit_test(too_many_damaged),
      cmocka_unit_test(empty_folders),
      cmocka_unit_test(what_cannot_be_evaluated),
      cmocka_unit_test(rows_of_features),
      cmocka_unit_test(learns_from_crops),
      cmocka_unit_test(a_plugin_of_ones_own),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* test_finetune.c — fine-tuning: layer-wise rates, mixed pictures and their labels, erasing, balanced parts,
 * and whole runs on a tiny network: they learn, do not depend on threads, and go on after a stop to the same
 * bits. */
#include <math.h>
#include <unistd.h>

#include "framework/eval/evaluator.h"
#include "framework/eval/subset.h"
#include "framework/eval/tune_net.h"
#include "eval_bench.h"
#include "pools.h"
#include "test.h"

static sm_status go_on(sm_eval_context *x, double done, sm_error *err) {
  (void)x, (void)done, (void)err;
  return SM_OK;
}

static sm_eval_context context_of(const eval_bench *b) {
  return (sm_eval_context){.network = b->network,
                           .height = SIDE,
                           .width = SIDE,
                           .pool = b->config.pool,
                           .core = b->e,
                           .going_on = go_on};
}

static bool kept(const eval_bench *b) {
  char command[128];
  snprintf(command, sizeof command, "ls %s | grep -q '^finetune-'", b->folder);
  return system(command) == 0;
}

/* ---- layer-wise rates ---------------------------------------------------------------------------------- */

static void layers(void **state) {
  assert_float_equal(sm_layer_rate(0.75, 12, 0), pow(0.75, 13), 0); /* BEiT: 0.75 ** (num_layers + 1 - i) */
  assert_float_equal(sm_layer_rate(0.75, 12, 13), 1, 0);
  eval_bench b;
  sm_error err = {0};
  sm_tune_net net;
  eval_bench_open(&b, pool[1], true, NULL);
  const sm_eval_context x = context_of(&b);
  sm_finetune_config c = {.group = 4, .layer_decay = 0.5, .head_layers = 1, .drop_path = 0.1, .initial = 1};
  if (sm_tune_net_new(&x, &c, 3, NULL, &net, &err)) fail_msg("%s", err.message);
  static const struct {
    const char *name;
    double scale;
    bool decay, frozen;
  } rows[] = {{"network.backbone.cls_token", 0.125, false, false},
              {"network.backbone.pos_embed", 0.125, false, false},
              {"network.backbone.masked_embed", 0.125, true, true},
              {"network.backbone.patch_embed.proj.weight", 0.125, true, false},
              {"network.backbone.blocks.0.norm1.weight", 0.25, false, false},
              {"network.backbone.blocks.0.mlp.fc2.weight", 0.25, true, false},
              {"network.backbone.blocks.1.attn.qkv.weight", 0.5, true, false},
              {"network.backbone.norm.weight", 1, false, false},
              {"network.head.mlp.0.weight", 1, true, false},
              {"network.head.mlp.2.weight", 1, true, true}, /* behind the layer that the classifier reads */
              {"network.head.last_layer.weight_v", 1, true, true},
              {"classifier.weight", 1, true, false},
              {"classifier.bias", 1, false, false}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    int at = sm_set_find(net.set, rows[i].name);
    if (at < 0) fail_msg("no row %s", rows[i].name);
    const sm_row *row = sm_set_row(net.set, at);
    if (row->lr_scale != rows[i].scale || row->decay != rows[i].decay ||
        !!(row->flags & SM_ROW_FROZEN) != rows[i].frozen)
      fail_msg("%s: rate %g, decay %d, flags %u", row->name, row->lr_scale, row->decay, row->flags);
  }
  assert_int_equal(sm_set_row(net.set, sm_set_find(net.set, "classifier.weight"))->dim[1], 40);
  sm_tune_net_free(&net);
  eval_bench_close(&b);
}

/* ---- mixing -------------------------------------------------------------------------------------------- */

enum { N = 5, CLASSES = 3 };
static const int32_t label[N] = {0, 1, 2, 1, 1};

/* Every picture is one number; afterwards picture i holds its own and that of its partner, n-1-i. */
static void numbered(float *x, int pixels) {
  for (int i = 0; i < N; i++)
    for (int k = 0; k < pixels; k++) *x++ = (float)i;
}

static void check_labels(const sm_mix *m, double smoothing) {
  float q[N * CLASSES];
  sm_mix_labels(m, label, N, CLASSES, smoothing, q);
  for (int i = 0; i < N; i++) {
    double sum = 0;
    for (int c = 0; c < CLASSES; c++) {
      double share = m->mix ? m->share : 1, want = smoothing / CLASSES;
      if (c == label[i]) want += (1 - smoothing) * share;
      if (c == label[N - 1 - i]) want += (1 - smoothing) * (1 - share);
      assert_float_equal(q[i * CLASSES + c], want, 1e-7);
      sum += q[i * CLASSES + c];
    }
    assert_float_equal(sum, 1, 1e-6);
  }
}

static void check_cutmix(int height, int width) {
  const int area = height * width;
  static float x[N * 3 * SIDE * SIDE];
  double mean = 0;
  int boxes = 0;
  for (uint64_t k = 0; k < 400; k++) {
    sm_rng rng = sm_rng_make(k, SM_RNG_TEST, 0, 0, 0);
    sm_mix m = sm_mix_draw(0, 1, height, width, &rng);
    numbered(x, 3 * area);
    sm_mix_pictures(&m, x, N, height, width);
    for (int i = 0; i < N; i++) {
      int own = 0;
      for (int p = 0; p < area; p++) {
        float v = x[i * 3 * area + p];
        assert_true(v == (float)i || v == (float)(N - 1 - i));
        for (int c = 1; c < 3; c++) assert_true(x[(i * 3 + c) * area + p] == v); /* all channels */
        own += v == (float)i;
      }
      if (i != N - 1 - i) assert_float_equal((double)own / area, m.mix ? m.share : 1, 1e-12);
    }
    check_labels(&m, 0.1);
    mean += m.mix ? m.share : 1;
    boxes += m.mix;
  }
  assert_in_range(boxes, 300, 400);
  assert_true(mean / 400 > 0.66 &&
              mean / 400 < 0.78); /* 0.68 where edges cut boxes off; halves are rounded down */
}

static void cutmix_weights_are_areas(void **state) {
  check_cutmix(SIDE, SIDE);
  check_cutmix(SIDE / 2, SIDE);
  check_cutmix(SIDE, SIDE / 2);
}

static void mixup_blends(void **state) {
  static float x[N * 3 * SIDE * SIDE];
  double sum = 0, squares = 0;
  enum { DRAWS = 4000 };
  for (uint64_t k = 0; k < DRAWS; k++) {
    sm_rng rng = sm_rng_make(k, SM_RNG_TEST, 1, 0, 0);
    sm_mix m = sm_mix_draw(0.8, 0, SIDE, SIDE, &rng);
    assert_true(m.share >= 0 && m.share <= 1 && m.width == 0);
    sum += m.share;
    squares += m.share * m.share;
    if (k >= 20) continue;
    numbered(x, 3 * SIDE * SIDE);
    sm_mix_pictures(&m, x, N, SIDE, SIDE);
    for (int i = 0; i < N; i++)
      assert_float_equal(x[i * 3 * SIDE * SIDE + 7], m.share * i + (1 - m.share) * (N - 1 - i), 1e-5);
    check_labels(&m, 0);
    check_labels(&m, 0.1);
  }
  /* Beta(a, a): mean 1/2, variance 1/(4(2a+1)) */
  double mean = sum / DRAWS, variance = squares / DRAWS - mean * mean;
  assert_float_equal(mean, 0.5, 0.02);
  assert_float_equal(variance, 1 / (4 * 2.6), 0.006);
}

static void mixing_off_or_either(void **state) {
  int boxes = 0;
  for (uint64_t k = 0; k < 400; k++) {
    sm_rng rng = sm_rng_make(k, SM_RNG_TEST, 2, 0, 0);
    sm_mix none = sm_mix_draw(0, 0, SIDE, SIDE, &rng);
    assert_false(none.mix);
    check_labels(&none, 0.25);
    sm_mix either = sm_mix_draw(0.8, 1, SIDE, SIDE, &rng);
    boxes += either.width > 0 || !either.mix;
  }
  assert_in_range(boxes, 160, 240); /* one in two */
}

static void check_erasing(int height, int width) {
  static float x[3 * SIDE * SIDE];
  int erased = 0;
  for (uint64_t k = 0; k < 400; k++) {
    sm_rng rng = sm_rng_make(k, SM_RNG_TEST, 3, 0, 0);
    sm_erased box;
    for (int i = 0; i < 3 * height * width; i++) x[i] = 100;
    bool done = sm_erase_random(0.25, x, height, width, &rng, &box);
    erased += done;
    int changed = 0;
    for (int i = 0; i < 3 * height * width; i++) {
      int p = i % (height * width), row = p / width, column = p % width;
      bool inside = done && row >= box.top && row < box.top + box.height && column >= box.left &&
                    column < box.left + box.width;
      assert_int_equal(x[i] != 100, inside);
      if (inside) assert_true(fabsf(x[i]) < 8); /* a standard normal */
      changed += x[i] != 100;
    }
    if (!done) continue;
    double area = (double)box.width * box.height / (height * width);
    assert_int_equal(changed, 3 * box.width * box.height);
    assert_true(area > 0.004 && area < 0.42); /* 2 … 33 %, then rounded to pixels */
    assert_true(box.left >= 0 && box.left + box.width <= width && box.top + box.height <= height);
  }
  assert_in_range(erased, 70, 130);
  sm_rng rng = sm_rng_make(0, SM_RNG_TEST, 4, 0, 0);
  assert_false(sm_erase_random(0, x, height, width, &rng, NULL));
}

static void erasing(void **state) {
  check_erasing(SIDE, SIDE);
  check_erasing(SIDE / 2, SIDE);
  check_erasing(SIDE, SIDE / 2);
}

/* ---- balanced parts ------------------------------------------------------------------------------------ */

static void parts(void **state) {
  static const int sizes[] = {100, 50, 3, 48}; /* the last one has no label: 200 labelled */
  stripes s = {201, 1, sizes};
  int64_t *small, *large, *all, n, m, k, index[201];
  int32_t labels[201];
  for (int i = 0; i < 201; i++) index[i] = i, labels[i] = stripes_ops.label(&s, i);
  const sm_picture_list list = {.n = 201, .index = index, .label = labels, .classes = 4};
  sm_error err = {0};
  assert_int_equal(sm_subset_balanced(&list, 0.001, 7, &small, &n, &err), SM_OK);
  assert_int_equal(n, 4); /* one of each class at least */
  assert_int_equal(sm_subset_balanced(&list, 0.2, 7, &large, &m, &err), SM_OK);
  assert_int_equal(m, 10 + 10 + 3 + 10); /* 200 · 0.2 / 4 of each, or all */
  int of[4] = {0};
  for (int64_t i = 0; i < m; i++) {
    of[labels[large[i]]]++;
    assert_true(i == 0 || large[i] > large[i - 1]);
  }
  assert_true(of[0] == 10 && of[1] == 10 && of[2] == 3 && of[3] == 10);
  for (int64_t i = 0; i < n; i++) {
    bool in = false;
    for (int64_t j = 0; j < m; j++) in |= small[i] == large[j];
    assert_true(in);
  }
  assert_int_equal(sm_subset_balanced(&list, 1, 7, &all, &k, &err), SM_OK);
  assert_int_equal(k, 200);
  sm_free(all);
  assert_int_equal(sm_subset_balanced(&list, 0.2, 8, &all, &k, &err), SM_OK);
  assert_memory_not_equal(all, large, (size_t)m * sizeof *all); /* another seed, other pictures */
  sm_free(small);
  sm_free(large);
  sm_free(all);
}

/* A part's features are rows of the whole's, whether these were made before or not. */
static void features_of_a_part(void **state) {
  eval_bench b;
  sm_eval_result first, second;
  sm_error err = {0};
  eval_bench_open(&b, pool[2], false, NULL);
  const char *options = "{method: knn, share: [0.1, 0.5]}";
  assert_int_equal(eval_bench_run(&b, "semi", options, &first, &err), SM_OK);
  assert_int_equal(eval_bench_run(&b, "knn", NULL, &second, &err), SM_OK); /* now all are there */
  assert_int_equal(eval_bench_run(&b, "semi", options, &second, &err), SM_OK);
  assert_int_equal(first.n, 6);
  for (int i = 0; i < 6; i++) assert_true(first.figure[i].value == second.figure[i].value);
  assert_string_equal(first.figure[0].name, "top1.p10");
  assert_non_null(strstr(first.protocol, "128 against 24, 128 pictures"));
  assert_string_equal(first.protocol, second.protocol);
  assert_string_equal(first.figure[5].name, "balanced.p50");
  eval_bench_close(&b);
}

/* Parts of one picture per class: rates and penalties have nothing to be chosen by, and k is what there
 * is. */
static void one_of_each(void **state) {
  static const struct {
    const char *yaml, *says, *not_of;
  } methods[] = {
      {"{method: linear, share: [0.001, 0.2]}",
       "; 128 against 4, 52 pictures; the middle of all where nothing can be held out: 4", "held out: 4, 52"},
      {"{method: logistic, share: [0.001]}", "lambda 0.001 (of 6); 128 against 4 pictures; the middle of all",
       "best of"},
      {"{method: knn, share: [0.001, 0.2]}", "k 20, temperature 0.07; 128 against 4, 52 pictures",
       "the middle"},
      {"{method: knn, share: [0.001]}", "k 4, temperature", "the middle"},
      {"{preset: short, epochs: 1, share: [0.001], finetune_head_layer: 0, lr: [0.1, 0.001, 0.01]}",
       "lr 0.01 (the middle of 3", "best of"}};
  eval_bench b;
  sm_eval_result r;
  sm_error err = {0};
  eval_bench_open(&b, pool[2], false, NULL);
  sm_evaluator_free(b.e);
  b.config.some_blocks = true;
  b.e = eval_bench_at(&b, SIDE, SIDE);
  for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
    if (eval_bench_run(&b, "semi", methods[i].yaml, &r, &err)) fail_msg("%s", err.message);
    if (!strstr(r.protocol, methods[i].says) || strstr(r.protocol, methods[i].not_of))
      fail_msg("%s: %s", methods[i].yaml, r.protocol);
  }
  eval_bench_close(&b);
}

/* ---- whole runs ---------------------------------------------------------------------------------------- */

#define BASIC "preset: short, batch_size: 32, micro_batch: 16, layer_decay: 0.9, drop_path: 0.1"
#define QUICK BASIC ", lr: [0.04]"
#define MIXED "{" QUICK ", epochs: 4, mixup: 0.8, cutmix: 1, erasing: 0.25, randaugment: 9}"

static void learns(void **state) {
  eval_bench b;
  sm_eval_result frozen, tuned;
  sm_error err = {0};
  eval_bench_open(&b, pool[2], false, NULL);
  assert_int_equal(eval_bench_run(&b, "linear", "{epochs: 30, n_last_blocks: 1}", &frozen, &err), SM_OK);
  if (eval_bench_run(&b, "finetune", "{" BASIC ", lr: [0.01], epochs: 40, crop_scale: 0.8, pool: mean}",
                     &tuned, &err))
    fail_msg("%s", err.message);
  if (getenv("SMALTI_SHOW"))
    print_message("frozen %.1f, tuned %.1f, loss %.3f\n", eval_figure(&frozen, "top1"),
                  eval_figure(&tuned, "top1"), eval_figure(&tuned, "train_loss"));
  assert_true(eval_figure(&tuned, "top1") > eval_figure(&frozen, "top1") + 10);
  assert_true(eval_figure(&tuned, "train_loss") < 1.2); /* ln 4 = 1.386 */
  assert_int_equal(tuned.interval[0].low > 0, 1);
  assert_false(kept(&b));
  eval_bench_close(&b);
}

/* Nor does the number of workers, which is 1 with one thread, else 3. */
static void threads_do_not_matter(void **state) {
  double loss = 0, top1 = 0;
  for (int t = 1; t <= 3; t += 2) {
    eval_bench b;
    sm_eval_result r;
    sm_error err = {0};
    eval_bench_open(&b, pool[t], false, NULL);
    if (eval_bench_run(&b, "finetune", MIXED, &r, &err)) fail_msg("%s", err.message);
    if (t == 3) assert_true(loss == eval_figure(&r, "train_loss") && top1 == eval_figure(&r, "top1"));
    loss = eval_figure(&r, "train_loss");
    top1 = eval_figure(&r, "top1");
    eval_bench_close(&b);
  }
}

/* Transfer as published, and a cosine that would rise. 256 pictures are one batch. */
static void transfers(void **state) {
  static const struct {
    const char *yaml, *says;
  } runs[] = {
      {"{preset: cars, epochs: 1, warmup_epochs: 0}", "1 epochs of AdamW, batch 256, lr 3.75e-05, layer decay 1, "
                                                      "drop path 0.1, smoothing 0.1, mixup 0.8, cutmix 1, erasing 0.25"},
      {"{preset: inat, epochs: 1, warmup_epochs: 0, min_lr: 0}", "lr 3.75e-06, layer decay 1, drop path 0.1, smoothing 0.1, "
                                                                 "mixup 0.8, cutmix 1, erasing 0.1, RandAugment m9"},
      {"{preset: cifar, epochs: 1, warmup_epochs: 0, lr: [2.0e-5]}", "lr 2e-05"}};
  eval_bench b;
  sm_eval_result r;
  sm_error err = {0};
  double loss[2];
  eval_bench_open(&b, pool[2], false, NULL);
  for (int i = 0; i < 3; i++) {
    if (eval_bench_run(&b, "finetune", runs[i].yaml, &r, &err)) fail_msg("%s", err.message);
    if (!strstr(r.protocol, runs[i].says)) fail_msg("\"%s\" does not say \"%s\"", r.protocol, runs[i].says);
  }
  assert_int_equal(eval_bench_run(&b, "finetune", "{preset: flowers, epochs: 1, warmup_epochs: 0}", &r, &err), SM_EINVAL);
  assert_string_equal(err.message,
                      "min_lr 1e-05 is above the rate itself, which is 3.75e-06: lr 3.75e-06 times batch 256/256");
  assert_string_equal(err.hint, "the rate would rise to its end: lower min_lr, or say min_lr=0 for a thousandth of the rate");
  for (int i = 0; i < 2; i++) {
    const char *yaml[] = {"{" QUICK ", epochs: 2, warmup_epochs: 0}", "{" QUICK ", epochs: 2, warmup_epochs: 0, min_lr: 0.005}"};
    if (eval_bench_run(&b, "finetune", yaml[i], &r, &err)) fail_msg("%s", err.message);
    loss[i] = eval_figure(&r, "train_loss");
  }
  assert_true(loss[0] != loss[1]); /* 0.005 is lr times 32/256: the rate does not fall */
  eval_bench_close(&b);
}

/* On in what is published, off in `short`, and at any magnitude. */
static void augments(void **state) {
  static const struct {
    const char *plugin, *yaml, *says;
  } runs[] = {
      {"finetune", "{epochs: 1, warmup_epochs: 0}", "erasing 0.25, RandAugment m9 mstd0.5"},
      {"semi", "{epochs: 1, warmup_epochs: 0, share: [0.2]}", "erasing 0.25, RandAugment m9 mstd0.5"},
      {"semi", "{preset: short, epochs: 1, share: [0.2]}", "erasing 0, no RandAugment"},
      {"finetune", "{" QUICK ", epochs: 1, warmup_epochs: 0}", "erasing 0, no RandAugment"},
      {"finetune", "{" QUICK ", epochs: 1, warmup_epochs: 0, randaugment: 9}", "RandAugment m9 mstd0.5"},
      {"finetune", "{" QUICK ", epochs: 1, warmup_epochs: 0, randaugment: 9, randaugment_std: 0}",
       "RandAugment m9 mstd0"}};
  double loss[6];
  eval_bench b;
  sm_eval_result r;
  sm_error err = {0};
  eval_bench_open(&b, pool[2], true, NULL);
  for (int i = 0; i < 6; i++) {
    if (eval_bench_run(&b, runs[i].plugin, runs[i].yaml, &r, &err)) fail_msg("%s", err.message);
    if (!strstr(r.protocol, runs[i].says)) fail_msg("\"%s\" does not say \"%s\"", r.protocol, runs[i].says);
    loss[i] = strcmp(runs[i].plugin, "semi") ? eval_figure(&r, "train_loss") : 0;
  }
  assert_true(loss[3] != loss[4] && loss[4] != loss[5] && loss[3] != loss[5]);
  eval_bench_close(&b);
}

/* Stopped at every so many questions, at a step or while measuring, and again: as if unbroken. */
static void goes_on(void **state) {
  eval_bench b;
  sm_eval_result whole, r;
  sm_error err = {0};
  const char *two = "{" BASIC ", epochs: 3, lr: [0.01, 0.04], hold_out: 0.25, mixup: 0.8}";
  eval_bench_open(&b, pool[2], false, NULL);
  assert_int_equal(eval_bench_run(&b, "finetune", two, &whole, &err), SM_OK);
  int all = eval_asked, stops = 0;
  for (sm_status status = SM_EINTERRUPTED; status == SM_EINTERRUPTED; stops += status == SM_EINTERRUPTED) {
    eval_asked = 0;
    eval_stop_after = 7;
    status = eval_bench_run(&b, "finetune", two, &r, &err);
    if (status && status != SM_EINTERRUPTED) fail_msg("%s", err.message);
    if (!status) break;
    assert_non_null(strstr(err.message, "the same command goes on from there"));
    assert_true(kept(&b));
  }
  assert_in_range(stops, all / 14, all);
  assert_int_equal(whole.n, r.n);
  for (int i = 0; i < r.n; i++) assert_true(whole.figure[i].value == r.figure[i].value);
  assert_string_equal(whole.protocol, r.protocol);
  assert_non_null(strstr(r.protocol, "(best of 2 on 64 held-out)"));
  assert_false(kept(&b));
  eval_bench_close(&b);
}

/* What another network or other options left behind is not taken; a damaged file is passed over. */
static void only_its_own_state(void **state) {
  eval_bench b;
  sm_eval_result whole, r;
  sm_error err = {0};
  char command[256];
  eval_bench_open(&b, pool[1], false, NULL);
  assert_int_equal(eval_bench_run(&b, "finetune", MIXED, &whole, &err), SM_OK);
  eval_asked = 0, eval_stop_after = 20;
  assert_int_equal(eval_bench_run(&b, "finetune", "{" QUICK ", epochs: 4, smoothing: 0.2}", &r, &err),
                   SM_EINTERRUPTED);
  eval_stop_after = 0;
  assert_int_equal(eval_bench_run(&b, "finetune", MIXED, &r, &err), SM_OK);
  assert_true(eval_figure(&whole, "train_loss") == eval_figure(&r, "train_loss"));
  assert_true(kept(&b));
  snprintf(command, sizeof command, "rm %s/finetune-*", b.folder);
  assert_int_equal(system(command), 0);
  eval_asked = 0, eval_stop_after = 20;
  assert_int_equal(eval_bench_run(&b, "finetune", MIXED, &r, &err), SM_EINTERRUPTED);
  snprintf(
      command, sizeof command,
      "for f in %s/finetune-*; do printf '\\377\\377' | dd of=$f bs=1 seek=9000 conv=notrunc status=none; done",
      b.folder);
  assert_int_equal(system(command), 0);
  eval_stop_after = 0;
  assert_int_equal(eval_bench_run(&b, "finetune", MIXED, &r, &err), SM_OK);
  assert_true(eval_figure(&whole, "train_loss") == eval_figure(&r, "train_loss"));
  eval_bench_close(&b);
}

static void from_the_head(void **state) {
  eval_bench b;
  sm_eval_result with, without, r;
  sm_error err = {0};
  eval_bench_open(&b, pool[2], true, NULL);
#define SEMI "{preset: short, epochs: 3, batch_size: 16, lr: [0.02], share: [0.2]"
  if (eval_bench_run(&b, "semi", SEMI "}", &with, &err)) fail_msg("%s", err.message);
  assert_non_null(strstr(with.protocol, "fine-tuning with few labels: from head layer 1, 3 epochs of AdamW"));
  assert_non_null(strstr(with.protocol, "; 128 against 52 pictures"));
  assert_int_equal(eval_bench_run(&b, "semi", SEMI ", finetune_head_layer: 0}", &without, &err), SM_OK);
  assert_non_null(strstr(without.protocol, "few labels: cls, 3 epochs of AdamW"));
  assert_int_equal(eval_bench_run(&b, "semi", SEMI ", finetune_head_layer: 3}", &r, &err), SM_EINVAL);
  assert_string_equal(err.message, "the [CLS] head has no layer 3 with an activation behind it");
  eval_bench_close(&b);
  eval_bench_open(&b, pool[2], false, NULL);
  assert_int_equal(eval_bench_run(&b, "semi", SEMI "}", &r, &err), SM_EINVAL);
  assert_string_equal(err.message,
                      "fine-tuning shall start behind layer 1 of the [CLS] head, but there is no such head");
  assert_int_equal(eval_bench_run(&b, "cluster", "{by: head}", &r, &err), SM_EINVAL);
  assert_string_equal(err.message, "the network has no [CLS] head whose largest output could be taken");
  eval_bench_close(&b);
}

/* The head's largest output, against the plain kernels' of the evaluator's features. */
static void largest_outputs(void **state) {
  eval_bench b;
  sm_error err = {0};
  sm_assigned got;
  sm_features f;
  sm_feature_spec spec = {.blocks = 1, .pool = SM_POOL_CLS};
  int32_t want[128];
  eval_bench_open(&b, pool[2], true, NULL);
  sm_eval_context x = context_of(&b);
  assert_int_equal(sm_evaluator_features(b.e, "test", &spec, &f, &err), SM_OK);
  if (sm_assigned_eval(&x, "test", &got, &err)) fail_msg("%s", err.message);
  assert_int_equal(got.n, 128);
  assert_int_equal(got.outputs, 24);
  sm_graph_config config = {.device = SM_PLAIN, .real = SM_F32, .pool = pool[1]};
  sm_graph *g = sm_graph_new(&config, &err);
  sm_head_room room;
  const sm_head head = sm_network_head(b.network, NULL, &room);
  int at = sm_pass_begin(g, "by hand");
  sm_tensor *rows = sm_input_real(g, "rows", 2, (int64_t[]){128, 32}, NULL);
  sm_tensor *ids = sm_argmax(g, sm_head_logits(g, &head, rows, SM_SITE_VIEW), NULL);
  sm_keep(g, ids);
  sm_pass_end(g);
  if (sm_graph_plan(g, &err) || sm_graph_allocate(g, &err)) fail_msg("%s", err.message);
  sm_write(rows, 0, 128 * 32, f.x);
  sm_graph_run(g, at);
  sm_read_i32(ids, 0, 128, want);
  assert_memory_equal(want, got.cluster, sizeof want);
  assert_memory_equal(f.label, got.label, 128 * sizeof(int32_t));
  sm_graph_free(g);
  sm_assigned_free(&got);
  eval_bench_close(&b);
}

static void refusals(void **state) {
  eval_bench b;
  sm_eval_result r;
  sm_error err = {0};
  eval_bench_open(&b, pool[1], false, NULL);
  assert_int_equal(eval_bench_run(&b, "finetune", "{epochs: 2, warmup_epochs: 2}", &r, &err), SM_EINVAL);
  assert_string_equal(err.message, "a warm-up of 2 epochs leaves nothing of 2");
  assert_string_equal(err.hint, "make warmup_epochs smaller than epochs");
  const float bad = NAN;
  sm_set *set = sm_network_set(b.network);
  sm_set_write(set, sm_set_find(set, "backbone.norm.bias"), SM_VALUES, 0, 1, &bad);
  assert_int_equal(eval_bench_run(&b, "finetune", MIXED, &r, &err), SM_EINVAL);
  assert_string_equal(err.message, "fine-tuning, step 0: the loss is not finite");
  assert_string_equal(err.hint, "lower lr (it is 0.04 for a batch of 256) or lengthen the warm-up");
  eval_bench_close(&b);
  sm_eval_context x = {.pool = pool[1]};
  sm_finetune_config config = {.rates = 1, .epochs = 1, .batch = 1, .group = 1};
  sm_finetune_result result;
  assert_int_equal(sm_finetune_eval(&x, &config, &result, &err), SM_EINVAL);
  assert_string_equal(err.message, "there is no network to fine-tune: pixels have no weights");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(layers),
      cmocka_unit_test(cutmix_weights_are_areas),
      cmocka_unit_test(mixup_blends),
      cmocka_unit_test(mixing_off_or_either),
      cmocka_unit_test(erasing),
      cmocka_unit_test(parts),
      cmocka_unit_test(one_of_each),
      cmocka_unit_test(features_of_a_part),
      cmocka_unit_test(learns),
      cmocka_unit_test(threads_do_not_matter),
      cmocka_unit_test(transfers),
cmocka_unit_test(augments),
      cmocka_unit_test(goes_on),
      cmocka_unit_test(only_its_own_state),
      cmocka_unit_test(from_the_head),
      cmocka_unit_test(largest_outputs),
      cmocka_unit_test(refusals),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}

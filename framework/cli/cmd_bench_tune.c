/* cmd_bench_tune.c — `smalti bench linear|finetune`: how fast evaluations learn, on random pictures that lie in
 * memory. Compare only within one run. */
#include <inttypes.h>

#include "bench_network.h"

/* ---- linear -------------------------------------------------------------------------------------------- */

enum { CACHED, CROPS };
static const char *const linear_features[] = {"cached", "crops", NULL};

struct linear_options {
  int features;
  int64_t batch, classes, rates, repeats;
};
static const sm_option linear_options[] = {
    SM_CHOICE(
        struct linear_options, features, "features", "cached", linear_features,
        "cached: made once, so that a step is the classifiers' alone; crops: the network runs in each step, "
        "as published"),
    SM_INT(struct linear_options, batch, "batch", "1024", 1, 65536, "pictures", "pictures of a step"),
    SM_INT(struct linear_options, classes, "classes", "1000", 2, 1000000, NULL, "classes of each classifier"),
    SM_INT(struct linear_options, rates, "rates", "45", 1, 64, NULL,
           "classifiers, one for each learning rate"),
    SM_INT(struct linear_options, repeats, "repeats", "5", 1, 10000, "steps",
           "timed steps, after one of warm-up"),
};

static int cmd_bench_tune_show_linear(const sm_cli *cli, const bench_network *b,
                                      const struct linear_options *o, size_t dim, const sm_bench_times *t,
                                      double peak) {
  const bench_rate rate = {"images/s", "images_per_s", (double)o->batch};
  if (cli->json) {
    sm_json json = {0};
    sm_json_begin(&json);
    sm_bench_network_put(&json, b, "batch", o->batch);
    sm_json_string(&json, "features", linear_features[o->features]);
    sm_json_int(&json, "dim", (int64_t)dim);
    sm_json_int(&json, "classes", o->classes);
    sm_json_int(&json, "rates", o->rates);
    sm_bench_put_times(&json, t, b->pool, &rate, peak);
    return sm_cli_json(&json);
  }
  char how[224];
  printf("%s: linear probe of %" PRId64 " %s at %" PRId64 " %s on %s features of width %zu, %" PRId64
         " %s per step, %s\n\n",
         b->recipe->name, o->classes, sm_plural(o->classes, "class", "classes"), o->rates,
         sm_plural(o->rates, "rate", "rates"), o->features == CROPS ? "new" : "cached", dim, o->batch,
         sm_plural(o->batch, "picture", "pictures"), sm_bench_how(b->pool, b->bf16, how, sizeof how));
  sm_bench_print_times(t, &rate, peak);
  return SM_EXIT_OK;
}

static int cmd_bench_tune_run_linear(sm_cli *cli, int argc, char **argv) {
  const struct linear_options *o = cli->options;
  const sm_bench_linear_config config = {
      .classes = (int)o->classes, .rates = (int)o->rates, .batch = o->batch, .crops = o->features == CROPS};
  sm_error err = {0};
  bench_network b = {0};
  sm_evaluator *evaluator = NULL;
  sm_bench_times t;
  double peak = 0;
  sm_status status = sm_bench_network_open(cli, argc, argv, &b, &err);
  if (!status) status = sm_bench_network_evaluator(&b, b.pool, true, &evaluator, &err);
  if (!status) peak = sm_bench_eval_peak(b.pool, config.crops && b.bf16, 0);
  if (!status) status = sm_bench_linear(evaluator, &config, (int)o->repeats, &t, &err);
  if (!status) peak = sm_bench_eval_peak(b.pool, config.crops && b.bf16, peak);
  const int code = status ? sm_cli_fail(&err)
                          : cmd_bench_tune_show_linear(cli, &b, o, sm_evaluator_width(evaluator), &t, peak);
  sm_evaluator_free(evaluator);
  sm_bench_network_close(&b);
  return code;
}

const sm_command sm_command_bench_linear = {
    .name = "bench linear",
    .usage = "RECIPE [KEY=VALUE ...]",
    .summary = "time the steps of a linear probe on a recipe's backbone",
    .about =
        "What the evaluation `linear` does with features of the last four blocks: classifiers of all rates in "
        "one step of SGD. Features and pictures are random and lie in memory; the classifiers compute in fp32.",
    .min_args = 1,
    .max_args = -1,
    .options = linear_options,
    .n_options = sizeof linear_options / sizeof *linear_options,
    .options_size = sizeof(struct linear_options),
    .run = cmd_bench_tune_run_linear,
};

/* ---- finetune ------------------------------------------------------------------------------------------ */

struct finetune_options {
  int64_t batch, group, classes, repeats;
};
static const sm_option finetune_options[] = {
    SM_INT(struct finetune_options, batch, "batch", "32", 1, 65536, "pictures",
           "pictures of a step, cut to a multiple of --micro-batch"),
    SM_INT(struct finetune_options, group, "micro_batch", "32", 1, 1024, "pictures",
           "pictures that go through the network together, at most --batch"),
    SM_INT(struct finetune_options, classes, "classes", "1000", 2, 1000000, NULL, "classes to tell apart"),
    SM_INT(struct finetune_options, repeats, "repeats", "3", 1, 10000, "steps",
           "timed steps, after one of warm-up"),
};

static int cmd_bench_tune_show_finetune(const sm_cli *cli, const bench_network *b,
                                        const struct finetune_options *o, const sm_bench_finetune_config *c,
                                        const sm_bench_times *t, double peak) {
  const bench_rate rate = {"images/s", "images_per_s", (double)c->batch};
  if (cli->json) {
    sm_json json = {0};
    sm_json_begin(&json);
    sm_bench_network_put(&json, b, "batch", c->batch);
    sm_json_int(&json, "micro_batch", c->group);
    sm_json_int(&json, "classes", o->classes);
    sm_bench_put_times(&json, t, b->pool, &rate, peak);
    return sm_cli_json(&json);
  }
  char size[24], how[224];
  printf("%s: fine-tuning for %" PRId64 " classes on pictures of %s px, %" PRId64 " per step, %" PRId64
         " at a time, %s\n\n",
         b->recipe->name, o->classes, sm_view_size_text(b->height, b->width, size, sizeof size), c->batch,
         c->group, sm_bench_how(b->pool, b->bf16, how, sizeof how));
  sm_bench_print_times(t, &rate, peak);
  return SM_EXIT_OK;
}

static int cmd_bench_tune_run_finetune(sm_cli *cli, int argc, char **argv) {
  const struct finetune_options *o = cli->options;
  const int64_t group = o->group < o->batch ? o->group : o->batch;
  sm_error err = {0};
  bench_network b = {0};
  sm_bench_times t;
  double peak = 0;
  sm_status status = sm_bench_network_open(cli, argc, argv, &b, &err);
  const sm_bench_finetune_config config = {.network = b.network,
                                           .height = b.height,
                                           .width = b.width,
                                           .classes = (int)o->classes,
                                           .batch = o->batch - o->batch % group,
                                           .group = group,
                                           .bf16 = b.bf16,
                                           .pool = b.pool};
  if (!status) peak = sm_bench_eval_peak(b.pool, b.bf16, 0);
  if (!status) status = sm_bench_finetune(&config, (int)o->repeats, &t, &err);
  if (!status) peak = sm_bench_eval_peak(b.pool, b.bf16, peak);
  const int code = status ? sm_cli_fail(&err) : cmd_bench_tune_show_finetune(cli, &b, o, &config, &t, peak);
  sm_bench_network_close(&b);
  return code;
}

const sm_command sm_command_bench_finetune = {
    .name = "bench finetune",
    .usage = "RECIPE [KEY=VALUE ...]",
    .summary = "time the steps of fine-tuning a recipe's backbone",
    .about =
        "What the evaluation `finetune` does once pictures are read: erasing, mixing, forward and backward with "
        "stochastic depth, and AdamW with layer-wise rates. The pictures are random and have the size of the "
        "recipe's global views.",
    .min_args = 1,
    .max_args = -1,
    .options = finetune_options,
    .n_options = sizeof finetune_options / sizeof *finetune_options,
    .options_size = sizeof(struct finetune_options),
    .run = cmd_bench_tune_run_finetune,
};

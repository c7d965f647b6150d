/* cmd_bench_eval.c — `smalti bench features|knn`: how fast features are made and searched, on generated
 * numbers. Compare only within one run. */
#include <inttypes.h>

#include "bench_model.h"
#include "bench_network.h"

/* ---- features ------------------------------------------------------------------------------------------ */

struct features_options {
  int64_t pictures, repeats;
  struct model_options model;
};
static const sm_option features_options[] = {
    SM_INT(struct features_options, pictures, "pictures", "64", 1, 65536, NULL,
           "random pictures, which lie in memory"),
    SM_INT(struct features_options, repeats, "repeats", "5", 1, 10000, NULL,
           "how often they are timed, after once of warm-up"),
    SM_MODEL_OPTIONS(struct features_options, model),
};

typedef struct features_bench {
  bench_network net;
  const struct features_options *o;
} features_bench;

/* repeats: after one of warm-up */
static sm_status cmd_bench_eval_time_features(const features_bench *b, sm_pool *pool, int repeats,
                                              sm_bench_times *t, sm_error *err) {
  sm_evaluator *evaluator = NULL;
  sm_status status = sm_bench_network_evaluator(&b->net, pool, false, &evaluator, err);
  if (!status) status = sm_bench_features(evaluator, (int)b->o->pictures, repeats, t, err);
  sm_evaluator_free(evaluator);
  return status;
}

static sm_status cmd_bench_eval_note_features(void *ctx, sm_pool *pool, int runs, sm_error *err) {
  sm_bench_times t;
  return cmd_bench_eval_time_features(ctx, pool, runs - 1, &t, err);
}

static int cmd_bench_eval_show_features(const sm_cli *cli, const bench_network *b,
                                        const struct features_options *o, const sm_bench_times *t,
                                        double peak) {
  const bench_rate rate = {"pictures/s", "pictures_per_s", (double)o->pictures};
  if (cli->json) {
    sm_json json = {0};
    sm_json_begin(&json);
    sm_bench_network_put(&json, b, "pictures", o->pictures);
    sm_bench_put_times(&json, t, b->pool, &rate, peak);
    return sm_cli_json(&json);
  }
  char size[24], how[224];
  printf("%s: features of %" PRId64 " %s of %s px, %s\n\n", b->recipe->name, o->pictures,
         sm_plural(o->pictures, "picture", "pictures"),
         sm_view_size_text(b->height, b->width, size, sizeof size),
         sm_bench_how(b->pool, b->bf16, how, sizeof how));
  sm_bench_print_times(t, &rate, peak);
  return SM_EXIT_OK;
}

static int cmd_bench_eval_run_features(sm_cli *cli, int argc, char **argv) {
  const struct features_options *o = cli->options;
  sm_error err = {0};
  features_bench b = {.o = o};
  sm_bench_times t;
  int code = SM_EXIT_OK;
  sm_status status = sm_bench_network_open(cli, argc, argv, &b.net, &err);
  if (!status && o->model.threads.n > 0) {
    const sm_model_of of = {.name = b.net.recipe->name,
                            .rate = "pictures/s",
                            .key = "pictures_per_s",
                            .units = (double)o->pictures,
                            .isa = sm_pool_isa(b.net.pool),
                            .turns = (int)o->repeats,
                            .ctx = &b,
                            .run = cmd_bench_eval_note_features};
    status = sm_bench_model(cli, &of, &o->model, &code, &err);
  } else if (!status) {
    double peak = sm_bench_eval_peak(b.net.pool, b.net.bf16, 0);
    status = cmd_bench_eval_time_features(&b, b.net.pool, (int)o->repeats, &t, &err);
    peak = sm_bench_eval_peak(b.net.pool, b.net.bf16, peak);
    if (!status) code = cmd_bench_eval_show_features(cli, &b.net, o, &t, peak);
  }
  sm_bench_network_close(&b.net);
  return status ? sm_cli_fail(&err) : code;
}

const sm_command sm_command_bench_features = {
    .name = "bench features",
    .usage = "RECIPE [KEY=VALUE ...]",
    .summary = "time how a recipe's backbone makes features of random pictures",
    .about = "The pictures lie in memory and have the size of the recipe's global views.",
    .min_args = 1,
    .max_args = -1,
    .options = features_options,
    .n_options = sizeof features_options / sizeof *features_options,
    .options_size = sizeof(struct features_options),
    .run = cmd_bench_eval_run_features,
};

/* ---- k-NN ---------------------------------------------------------------------------------------------- */

struct knn_options {
  int64_t queries, candidates, dim, classes, k, repeats;
  struct model_options model;
};
static const sm_option knn_options[] = {
    SM_INT(struct knn_options, queries, "queries", "10000", 1, 100000000, NULL, "pictures to classify"),
    SM_INT(struct knn_options, candidates, "candidates", "50000", 1, 100000000, NULL, "pictures to look in"),
    SM_INT(struct knn_options, dim, "dim", "384", 1, 65536, NULL, "width of the features"),
    SM_INT(struct knn_options, classes, "classes", "10", 1, 1000000, NULL, "classes to vote for"),
    SM_INT(struct knn_options, k, "k", "20", 1, 100000, NULL, "neighbours that vote"),
    SM_INT(struct knn_options, repeats, "repeats", "5", 1, 10000, NULL,
           "how often it is timed, after once of warm-up"),
    SM_MODEL_OPTIONS(struct knn_options, model),
};

static int cmd_bench_eval_show_knn(const sm_cli *cli, const struct knn_options *o, sm_pool *pool,
                                   const sm_bench_times *t, double peak) {
  const bench_rate rate = {"queries/s", "queries_per_s", (double)o->queries};
  if (cli->json) {
    sm_json json = {0};
    sm_json_begin(&json);
    sm_json_int(&json, "queries", o->queries);
    sm_json_int(&json, "candidates", o->candidates);
    sm_json_int(&json, "dim", o->dim);
    sm_json_int(&json, "k", o->k);
    sm_bench_put_times(&json, t, pool, &rate, peak);
    return sm_cli_json(&json);
  }
  char how[224];
  printf("%" PRId64 " %s in %" PRId64 " %s of width %" PRId64 ", k = %" PRId64 ", %s\n\n", o->queries,
         sm_plural(o->queries, "query", "queries"), o->candidates,
         sm_plural(o->candidates, "candidate", "candidates"), o->dim, o->k,
         sm_bench_how(pool, false, how, sizeof how));
  sm_bench_print_times(t, &rate, peak);
  return SM_EXIT_OK;
}

static sm_status cmd_bench_eval_note_knn(void *ctx, sm_pool *pool, int runs, sm_error *err) {
  sm_bench_knn_config config = *(const sm_bench_knn_config *)ctx;
  sm_bench_times t;
  config.pool = pool;
  return sm_bench_knn(&config, runs - 1, &t, err);
}

static int cmd_bench_eval_run_knn(sm_cli *cli, int argc, char **argv) {
  const struct knn_options *o = cli->options;
  sm_error err = {0};
  sm_bench_times t;
  int code = SM_EXIT_OK;
  (void)argc, (void)argv;
  sm_bench_knn_config config = {.queries = o->queries,
                                .candidates = o->candidates,
                                .dim = (int)o->dim,
                                .classes = (int)o->classes,
                                .k = (int)o->k,
                                .temperature = 0.07};
  if (o->model.threads.n > 0) {
    const char *isa = sm_cli_isa(cli);
    const sm_model_of of = {.name = "k-NN",
                            .rate = "queries/s",
                            .key = "queries_per_s",
                            .units = (double)o->queries,
                            .isa = sm_isa_find(isa ? isa : "native"),
                            .turns = (int)o->repeats,
                            .ctx = &config,
                            .run = cmd_bench_eval_note_knn};
    return sm_bench_model(cli, &of, &o->model, &code, &err) ? sm_cli_fail(&err) : code;
  }
  sm_pool *pool = sm_recipe_pool(NULL, cli->threads, sm_cli_isa(cli), &err);
  if (!pool) return sm_cli_fail(&err);
  config.pool = pool;
  double peak = sm_bench_eval_peak(pool, false, 0);
  sm_status status = sm_bench_knn(&config, (int)o->repeats, &t, &err);
  peak = sm_bench_eval_peak(pool, false, peak);
  code = status ? sm_cli_fail(&err) : cmd_bench_eval_show_knn(cli, o, pool, &t, peak);
  sm_pool_free(pool);
  return code;
}

const sm_command sm_command_bench_knn = {
    .name = "bench knn",
    .usage = "",
    .summary = "time the weighted k-NN on random features",
    .about =
        "The time is that of one k-NN evaluation: normalising the features, products, the running list of neighbours, and votes.",
    .options = knn_options,
    .n_options = sizeof knn_options / sizeof *knn_options,
    .options_size = sizeof(struct knn_options),
    .run = cmd_bench_eval_run_knn,
};

/* cmd_bench_eval.c — `smalti bench features|knn`: how fast features are made and searched, on generated
 * numbers. Compare only within one run. */
#include <inttypes.h>

#include "bench_model.h"
#include "framework/base/cpu.h"
#include "framework/eval/bench.h"

/* Times of a command that repeats one thing; `what` is counted by `n`. */
static void cmd_bench_eval_put_times(sm_json *json, const sm_bench_times *t, int threads, const char *rate,
                                     double n) {
  sm_json_int(json, "threads", threads);
  sm_json_int(json, "repeats", t->repeats);
  sm_json_double(json, "median_s", t->median);
  sm_json_double(json, "best_s", t->best);
  sm_json_double(json, "worst_s", t->worst);
  sm_json_double(json, rate, n / t->median);
  sm_json_double(json, "gflop", t->flops / 1e9);
  sm_json_double(json, "gflops", t->flops / t->median / 1e9);
  sm_json_int(json, "resident_bytes", (int64_t)t->resident);
}

static void cmd_bench_eval_print_times(const sm_bench_times *t, const char *rate, double n) {
  char text[32];
  printf("  %-18s %10.3f   (median of %d; %.3f to %.3f)\n", "seconds", t->median, t->repeats, t->best,
         t->worst);
  printf("  %-18s %10.1f\n", rate, n / t->median);
  printf("  %-18s %10.1f   %.1f GFLOP of products\n", "GFLOP/s", t->flops / t->median / 1e9, t->flops / 1e9);
  printf("  %-18s %10s   at its peak\n", "memory, process",
         sm_human_bytes((double)t->resident, text, sizeof text));
}

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
  sm_recipe *recipe;
  sm_pool *pool;
  sm_network *network;
  const struct features_options *o;
  int height, width;
} features_bench;

/* The recipe's backbone with its initial weights: what they are changes no time. */
static sm_status cmd_bench_eval_open_features(sm_cli *cli, int argc, char **argv, features_bench *b,
                                              sm_error *err) {
  sm_status status = sm_cli_recipe(cli, argc, argv, &b->recipe, err);
  if (!status) status = sm_slot_create(&b->recipe->backbone, err);
  if (status) return status;
  const sm_recipe *r = b->recipe;
  if (!(b->pool = sm_recipe_pool(r, 0, NULL, err))) return err->code;
  const sm_network_parts parts = {.name = r->backbone.plugin.plugin->name,
                                  .backbone = r->backbone.plugin.plugin->ops,
                                  .self = r->backbone.plugin.self,
                                  .height = b->height = r->views.global_height,
                                  .width = b->width = r->views.global_width,
                                  .net = SM_NET_INIT,
                                  .recipe = r};
  status = sm_network_wrap(&parts, &b->network, err);
  return status ? status : sm_network_allocate(b->network, err);
}

static sm_status cmd_bench_eval_time_features(const features_bench *b, sm_pool *pool, sm_bench_times *t,
                                              sm_error *err) {
  sm_evaluator *evaluator = NULL;
  sm_evaluator_config c = sm_evaluator_config_of(b->network, pool);
  c.bf16 = b->recipe->train.precision == SM_PRECISION_BF16;
  sm_status status = sm_evaluator_new(&c, &evaluator, err);
  if (!status)
    status = sm_bench_features(evaluator, b->height, b->width, (int)b->o->pictures, (int)b->o->repeats, t, err);
  sm_evaluator_free(evaluator);
  return status;
}

static sm_status cmd_bench_eval_note_features(void *ctx, sm_pool *pool, sm_work_log *log, sm_error *err) {
  sm_bench_times t;
  (void)log; /* the pool has it */
  return cmd_bench_eval_time_features(ctx, pool, &t, err);
}

static sm_status cmd_bench_eval_measure_features(void *ctx, sm_pool *pool, double *seconds, sm_error *err) {
  sm_bench_times t = {0};
  sm_status status = cmd_bench_eval_time_features(ctx, pool, &t, err);
  *seconds = t.median;
  return status;
}

static void cmd_bench_eval_close_features(features_bench *b) {
  sm_network_close(b->network);
  sm_pool_free(b->pool);
  sm_recipe_free(b->recipe);
}

static const char *cmd_bench_eval_precision_of(const features_bench *b) {
  return sm_precision_names[b->recipe->train.precision];
}

static int cmd_bench_eval_show_features(const sm_cli *cli, const features_bench *b,
                                        const struct features_options *o, const sm_bench_times *t) {
  int threads = sm_pool_threads(b->pool);
  if (cli->json) {
    sm_json json = {0};
    sm_json_begin(&json);
    sm_json_string(&json, "recipe", b->recipe->name);
    sm_json_int(&json, "pictures", o->pictures);
    sm_cli_json_size(&json, b->height, b->width);
    sm_json_string(&json, "precision", cmd_bench_eval_precision_of(b));
    cmd_bench_eval_put_times(&json, t, threads, "pictures_per_s", (double)o->pictures);
    return sm_cli_json(&json);
  }
  char size[24], text[160];
  const sm_cpus cpus = sm_cpu_look();
  printf("%s: features of %" PRId64 " %s of %s px, %s, %s\n\n", b->recipe->name, o->pictures,
         sm_plural(o->pictures, "picture", "pictures"),
         sm_view_size_text(b->height, b->width, size, sizeof size),
         sm_threads_text(&cpus, threads, text, sizeof text), cmd_bench_eval_precision_of(b));
  cmd_bench_eval_print_times(t, "pictures/s", (double)o->pictures);
  return SM_EXIT_OK;
}

static int cmd_bench_eval_run_features(sm_cli *cli, int argc, char **argv) {
  const struct features_options *o = cli->options;
  sm_error err = {0};
  features_bench b = {.o = o};
  sm_bench_times t;
  int code = SM_EXIT_OK;
  sm_status status = cmd_bench_eval_open_features(cli, argc, argv, &b, &err);
  if (!status && o->model.threads.n > 0) {
    const sm_model_of of = {.name = b.recipe->name,
                            .rate = "pictures/s",
                            .key = "pictures_per_s",
                            .units = (double)o->pictures,
                            .isa = sm_pool_isa(b.pool),
                            .ctx = &b,
                            .note = cmd_bench_eval_note_features,
                            .measure = cmd_bench_eval_measure_features};
    status = sm_bench_model(cli, &of, &o->model, &code, &err);
  } else if (!status) {
    status = cmd_bench_eval_time_features(&b, b.pool, &t, &err);
    if (!status) code = cmd_bench_eval_show_features(cli, &b, o, &t);
  }
  cmd_bench_eval_close_features(&b);
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

static int cmd_bench_eval_show_knn(const sm_cli *cli, const struct knn_options *o, int threads,
                                   const sm_bench_times *t) {
  if (cli->json) {
    sm_json json = {0};
    sm_json_begin(&json);
    sm_json_int(&json, "queries", o->queries);
    sm_json_int(&json, "candidates", o->candidates);
    sm_json_int(&json, "dim", o->dim);
    sm_json_int(&json, "k", o->k);
    cmd_bench_eval_put_times(&json, t, threads, "queries_per_s", (double)o->queries);
    return sm_cli_json(&json);
  }
  char text[160];
  const sm_cpus cpus = sm_cpu_look();
  printf("%" PRId64 " %s in %" PRId64 " %s of width %" PRId64 ", k = %" PRId64 ", %s\n\n", o->queries,
         sm_plural(o->queries, "query", "queries"), o->candidates,
         sm_plural(o->candidates, "candidate", "candidates"), o->dim, o->k,
         sm_threads_text(&cpus, threads, text, sizeof text));
  cmd_bench_eval_print_times(t, "queries/s", (double)o->queries);
  return SM_EXIT_OK;
}

typedef struct knn_bench {
  sm_bench_knn_config config;
  int repeats;
} knn_bench;

static sm_status cmd_bench_eval_measure_knn(void *ctx, sm_pool *pool, double *seconds, sm_error *err) {
  knn_bench *b = ctx;
  sm_bench_times t = {0};
  b->config.pool = pool;
  sm_status status = sm_bench_knn(&b->config, b->repeats, &t, err);
  *seconds = t.median;
  return status;
}

static sm_status cmd_bench_eval_note_knn(void *ctx, sm_pool *pool, sm_work_log *log, sm_error *err) {
  double seconds;
  (void)log; /* the pool has it */
  return cmd_bench_eval_measure_knn(ctx, pool, &seconds, err);
}

static int cmd_bench_eval_run_knn(sm_cli *cli, int argc, char **argv) {
  const struct knn_options *o = cli->options;
  sm_error err = {0};
  sm_bench_times t;
  int code = SM_EXIT_OK;
  (void)argc, (void)argv;
  knn_bench b = {.config = {.queries = o->queries,
                            .candidates = o->candidates,
                            .dim = (int)o->dim,
                            .classes = (int)o->classes,
                            .k = (int)o->k,
                            .temperature = 0.07},
                 .repeats = (int)o->repeats};
  if (o->model.threads.n > 0) {
    const char *isa = sm_cli_isa(cli);
    const sm_model_of of = {.name = "k-NN",
                            .rate = "queries/s",
                            .key = "queries_per_s",
                            .units = (double)o->queries,
                            .isa = sm_isa_find(isa ? isa : "native"),
                            .ctx = &b,
                            .note = cmd_bench_eval_note_knn,
                            .measure = cmd_bench_eval_measure_knn};
    return sm_bench_model(cli, &of, &o->model, &code, &err) ? sm_cli_fail(&err) : code;
  }
  sm_pool *pool = sm_recipe_pool(NULL, cli->threads, sm_cli_isa(cli), &err);
  if (!pool) return sm_cli_fail(&err);
  b.config.pool = pool;
  sm_status status = sm_bench_knn(&b.config, (int)o->repeats, &t, &err);
  code = status ? sm_cli_fail(&err) : cmd_bench_eval_show_knn(cli, o, sm_pool_threads(pool), &t);
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

/* cmd_eval.c — `smalti eval EVALUATION NETWORK`: figures of a network by any evaluation plugin
 * (eval_outcome.c shows them), or its features as files (eval_features.c). */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "framework/formats/formats.h"
#include "framework/plugin/option.h"
#include "framework/recipe/alike.h"
#include "framework/train/share.h"

#include "by_ranks.h"
#include "eval_features.h"
#include "eval_options.h"
#include "eval_outcome.h"
#include "network.h"
#include "progress.h"

static const char *const pools[] = {"default", "cls", "mean", "both", NULL}; /* one behind sm_pool_mode */
static const char *const splits[] = {"train", "test", "all", NULL};
enum { SPLIT_TRAIN, SPLIT_TEST, SPLIT_ALL };

struct eval_options {
  sm_network_options network;
  sm_ints k;
  double temperature, max_bad;
  int pool, split, precision;
  const char *size, *train, *test, *out, *mpi;
  double patience;
  bool force;
};

static const sm_option options[] = {
    SM_CHOICE(
        struct eval_options, network.net, "net", "auto", sm_net_names,
        "which weights; init: the untrained network, pixels: no network (baselines); auto: the teacher where there is one"),
    SM_INTS(struct eval_options, k, "k", "~", 1, 10000, "neighbours", "knn: numbers of neighbours that vote"),
    SM_CHOICE(struct eval_options, pool, "pool", "default", pools,
              "features: [CLS], mean of the patches, or both side by side"),
    SM_FLOAT(struct eval_options, temperature, "temperature", "0", 0, 100, NULL,
             "knn: a neighbour votes exp(similarity/temperature); 0: as the recipe says, or 0.07"),
    SM_PATH(struct eval_options, train, "train", "~",
            "folder or packed file of training pictures, or a data set as in a recipe, {voc: {path: VOC2007}}, in place of the recipe's"),
    SM_PATH(struct eval_options, test, "test", "~",
            "folder or packed file of test pictures, or a data set as in a recipe, {voc: {path: VOC2007}}, in place of the recipe's"),
    SM_STRING(
        struct eval_options, size, "size", "0",
        "pixels of the pictures: side of square ones, or height and width, as 96x160; 0: as in training"),
    SM_FLOAT(
        struct eval_options, max_bad, "max_bad", "-1", -1, 1, NULL,
        "share of the training or of the test pictures that may be unreadable; -1: data.max_bad, or 0.05"),
    SM_PATH(struct eval_options, out, "out", "~", "features: the folder to write"),
    SM_FORCE_OPTION(struct eval_options),
    SM_CHOICE(struct eval_options, split, "split", "train", splits,
              "features: which pictures; all: in two sub-folders"),
    SM_CHOICE(struct eval_options, precision, "precision", "fp32", sm_precision_names,
              "bf16: faster features, as train.precision"),
    SM_NETWORK_OPTIONS(struct eval_options, network),
    SM_MPI_OPTION(struct eval_options),
    SM_PATIENCE_OPTION(struct eval_options),
};

typedef struct evaluating {
  sm_cli *cli;
  const struct eval_options *o;
  sm_network *network;
  sm_pool *pool;
  sm_evaluator *evaluator;
  sm_ranks *ranks; /* that work together, or NULL */
  bool leads;      /* this one writes and speaks: rank 0, or there are none */
  sm_progress progress;
  int height, width;
  int code; /* the command's, where nothing failed */
} evaluating;

/* ---- opening ------------------------------------------------------------------------------------------- */

static void cmd_eval_show_progress(void *ctx, const char *what, double done) {
  sm_progress_event(ctx, &(sm_train_event){.kind = SM_EVENT_EVAL_PART, .text = what, .done = done});
}

/* What is kept of the features: what the evaluation wants, or the pooling that is to be written. */
static void cmd_eval_choose_features(const evaluating *e, const sm_instance *instance,
                                     sm_evaluator_config *c) {
  if (instance) sm_evaluator_want(c, instance->plugin->ops, instance->self);
  else c->patches = e->o->pool > 1; /* mean, both */
}

static sm_status cmd_eval_choose_size(evaluating *e, sm_error *err) {
  const sm_network_spec *network = sm_network_describe(e->network);
  e->height = network->height, e->width = network->width;
  return sm_eval_size(e->o->size, &e->height, &e->width, err);
}

static sm_status cmd_eval_open_evaluator(evaluating *e, const sm_instance *instance, int needed,
                                         sm_error *err) {
  const sm_recipe *r = sm_network_recipe(e->network);
  const int threads = sm_share_threads(r, e->ranks, (int)e->cli->threads);
  if (!(e->pool = sm_recipe_pool(r, threads, sm_cli_isa(e->cli), err))) return err->code;
  sm_evaluator_config c = sm_evaluator_config_of(e->network, e->pool);
  cmd_eval_choose_features(e, instance, &c);
  sm_status status = sm_evaluator_load(&c, e->network, err);
  if (e->leads) status = sm_cli_network_say(e->cli, e->network, status);
  if (!status) status = sm_network_data(e->network, e->o->train, e->o->test, needed, err);
  if (!status) status = cmd_eval_choose_size(e, err);
  if (status) return status;
  c.train = sm_network_pictures(e->network, false), c.test = sm_network_pictures(e->network, true);
  c.height = e->height, c.width = e->width;
  c.bf16 = e->o->precision == SM_PRECISION_BF16;
  if (e->o->max_bad >= 0) c.max_bad = e->o->max_bad;
  c.progress = cmd_eval_show_progress, c.progress_ctx = &e->progress;
  c.stop = sm_signals_stop;
  c.ranks = e->ranks;
  return sm_evaluator_new(&c, &e->evaluator, err);
}

/* ---- several ranks ------------------------------------------------------------------------------------- */

static uint64_t cmd_eval_weights(const sm_network *network) {
  const sm_set *set = sm_network_set(network);
  return set ? sm_set_hash(set, SM_VALUES) : 0;
}

static uint64_t cmd_eval_data(const evaluating *e, bool test) {
  const sm_dataset d = sm_network_pictures(e->network, test);
  return d.ops ? d.ops->hash(d.self) : 0;
}

/* All are open, or none is; and they are open alike. */
static sm_status cmd_eval_meet(const evaluating *e, sm_status status, sm_error *err) {
  sm_likeness like = {0};
  if (!e->ranks) return status;
  if ((status = sm_ranks_agree(e->ranks, status, err))) return status;
  sm_like_program(&like, sm_pool_isa(e->pool));
  sm_like_hash(&like, "has weights with the hash", "let all machines see the same files of weights",
               cmd_eval_weights(e->network));
  sm_like_hash(&like, "has training pictures with the hash", "let all machines see the same pictures, under the same names",
               cmd_eval_data(e, false));
  sm_like_hash(&like, "has test pictures with the hash", "let all machines see the same pictures, under the same names",
               cmd_eval_data(e, true));
  if (e->leads) {
    const int threads = sm_pool_threads(e->pool);
    sm_cli_note(e->cli, "  shared by    %d ranks × %d %s", sm_ranks_size(e->ranks), threads,
                sm_plural(threads, "thread", "threads"));
  }
  return sm_alike(e->ranks, &like, SM_OK, err);
}

/* What rank 0 does alone, with the others at its call, has ended so. */
static sm_status cmd_eval_part(const evaluating *e, sm_status status, sm_error *err) {
  if (!e->ranks) return status;
  if (e->leads && status != SM_ELOST) {
    const sm_status gone = sm_evaluator_dismiss(e->evaluator, status ? NULL : err);
    if (!status) status = gone;
  }
  return sm_ranks_agree(e->ranks, status, err);
}

static void cmd_eval_close_all(evaluating *e) {
  sm_progress_end(&e->progress);
  sm_evaluator_free(e->evaluator);
  sm_pool_free(e->pool);
  sm_network_close(e->network);
}

/* Training pictures are not asked for where an evaluation does not look at them. */
static int cmd_eval_needs(const sm_instance *instance) {
  const sm_feature_spec want = sm_eval_wants(instance);
  return want.labels == SM_LABELS_TEST || want.test_alone ? SM_NETWORK_TEST : SM_NETWORK_TRAIN | SM_NETWORK_TEST;
}

/* ---- the evaluation and its options -------------------------------------------------------------------- */

/* --k, --pool, --temperature, then KEY=VALUE. */
static sm_status cmd_eval_set_options(evaluating *e, sm_instance *instance, int argc, char **argv,
                                      sm_error *err) {
  const struct eval_options *o = e->o;
  sm_text k = {0};
  char number[32];
  sm_status status = SM_OK;
  for (int i = 0; i < o->k.n; i++) sm_text_add(&k, "%s%" PRId64, i ? ", " : "", o->k.v[i]);
  if (o->k.n) status = sm_eval_set_option(e->cli, instance, "k", 1, k.s ? k.s : "", err);
  sm_text_free(&k);
  if (!status && o->pool) status = sm_eval_set_option(e->cli, instance, "pool", 4, pools[o->pool], err);
  if (!status && o->temperature > 0)
    status = sm_eval_set_option(e->cli, instance, "temperature", 11,
                                 sm_double_text(o->temperature, number, sizeof number), err);
  for (int i = 3; !status && i < argc; i++) {
    const char *equals = strchr(argv[i], '=');
    if (!equals) {
      sm_fail(err, SM_EINVAL, "'%.80s' is no option of the evaluation", argv[i]);
      return sm_hint(err, "give KEY=VALUE");
    }
    status = sm_eval_set_option(e->cli, instance, argv[i], (size_t)(equals - argv[i]), equals + 1, err);
  }
  return status;
}

/* Of an evaluation that no recipe names: what has no default must have been given. */
static sm_status cmd_eval_check_given(const evaluating *e, const sm_plugin *p, int argc, char **argv, sm_error *err) {
  const struct eval_options *o = e->o;
  for (uint32_t i = 0; i < p->n_options; i++) {
    const char *name = p->options[i].name;
    const size_t length = strlen(name);
    bool given = p->options[i].def || (o->k.n && !strcmp(name, "k")) || (o->pool && !strcmp(name, "pool")) ||
                 (o->temperature > 0 && !strcmp(name, "temperature"));
    for (int j = 3; !given && j < argc; j++) given = !strncmp(argv[j], name, length) && argv[j][length] == '=';
    if (!given) return sm_option_missing(&p->options[i], p->name, (sm_place){0}, err);
  }
  return SM_OK;
}

/* ---- the command --------------------------------------------------------------------------------------- */

/* By rank 0. */
static sm_status cmd_eval_lead(evaluating *e, const sm_instance *instance, sm_error *err) {
  sm_eval_result *result = sm_arena_alloc(e->cli->arena, sizeof *result);
  if (!result) return sm_fail(err, SM_ENOMEM, "out of memory");
  const double start = sm_now();
  const sm_status status = sm_evaluator_run(e->evaluator, instance->plugin->ops, instance->self,
                                            &(sm_blamed){.plugin = instance->plugin}, result, err);
  const double seconds = sm_now() - start;
  sm_progress_end(&e->progress);
  if (status) return status;
  const sm_eval_outcome outcome = {.cli = e->cli,
                                   .network = e->network,
                                   .evaluator = e->evaluator,
                                   .instance = instance,
                                   .result = result,
                                   .height = e->height,
                                   .width = e->width,
                                   .precision = e->o->precision,
                                   .seconds = seconds};
  e->code = sm_eval_outcome_print(&outcome);
  sm_eval_outcome_keep(&outcome);
  return SM_OK;
}

static sm_status cmd_eval_evaluate(evaluating *e, int argc, char **argv, sm_error *err) {
  sm_instance own = {0}, *instance = NULL;
  sm_slot *slot = NULL; /* of the recipe; NULL: *own */
  sm_status status = sm_eval_find(e->cli, sm_network_recipe(e->network), argv[1], &own, &instance, &slot, err);
  if (!status) status = cmd_eval_set_options(e, instance, argc, argv, err);
  if (!status && !slot) status = cmd_eval_check_given(e, instance->plugin, argc, argv, err);
  if (!status) status = slot ? sm_slot_create(slot, err) : sm_instance_create(instance, err);
  if (!status) status = cmd_eval_open_evaluator(e, instance, cmd_eval_needs(instance), err);
  status = cmd_eval_meet(e, status, err);
  if (!status) {
    status = e->leads ? cmd_eval_lead(e, instance, err) : sm_evaluator_serve(e->evaluator, err);
    status = cmd_eval_part(e, status, err);
  }
  if (own.plugin) sm_instance_free(&own);
  return status;
}

static int cmd_eval_say_features(const sm_cli *cli, const char *folder, const char *split,
                         const sm_features_report *r) {
  if (!cli->json) {
    printf("%s: features.npy (%" PRId64 ", %d), labels.npy, names.txt, classes.txt, features.json\n", folder,
           r->pictures, r->dim);
    return SM_EXIT_OK;
  }
  sm_json j = {0};
  sm_json_begin(&j);
  sm_json_string(&j, "folder", folder);
  sm_json_string(&j, "split", split);
  sm_json_int(&j, "pictures", r->pictures);
  sm_json_int(&j, "bad", r->bad);
  sm_json_int(&j, "dim", r->dim);
  return sm_cli_json(&j);
}

/* The folder for the features of a split; NULL: not wanted, or no memory. */
static const char *cmd_eval_folder(const evaluating *e, int split) {
  const struct eval_options *o = e->o;
  if (o->split != SPLIT_ALL) return o->split == split ? o->out : NULL;
  return sm_path_join(e->cli->arena, o->out, splits[split]);
}

static sm_status cmd_eval_write(evaluating *e, sm_error *err) {
  const struct eval_options *o = e->o;
  const sm_pool_mode pool = o->pool ? (sm_pool_mode)(o->pool - 1) : SM_POOL_CLS;
  sm_status status = SM_OK;
  for (int split = SPLIT_TRAIN; !status && split <= SPLIT_TEST; split++) {
    const char *folder = cmd_eval_folder(e, split);
    if (!folder && o->split != SPLIT_ALL) continue;
    if (!folder) return sm_fail(err, SM_ENOMEM, "out of memory");
    sm_features_report r;
    status = sm_features_write(e->evaluator, e->network, e->height, e->width, o->precision, splits[split],
                               pool, folder, &r, err);
    sm_progress_end(&e->progress);
    if (!status) e->code = cmd_eval_say_features(e->cli, folder, splits[split], &r);
  }
  return status;
}

static sm_status cmd_eval_features(evaluating *e, sm_error *err) {
  const int split = e->o->split, needed = split == SPLIT_TRAIN  ? SM_NETWORK_TRAIN
                                          : split == SPLIT_TEST ? SM_NETWORK_TEST
                                                                : SM_NETWORK_TRAIN | SM_NETWORK_TEST;
  sm_status status = cmd_eval_meet(e, cmd_eval_open_evaluator(e, NULL, needed, err), err);
  if (status) return status;
  status = e->leads ? cmd_eval_write(e, err) : sm_evaluator_serve(e->evaluator, err);
  return cmd_eval_part(e, status, err);
}

static void cmd_eval_move(char **argv, int from, int to) {
  char *word = argv[from];
  memmove(argv + to + 1, argv + to, (size_t)(from - to) * sizeof *argv);
  argv[to] = word;
}

/* EVALUATION to place 1, NETWORK to place 2, wherever they stand among KEY=VALUE. A network whose name looks
 * like a setting is one that is there. False: there is none. */
static bool cmd_eval_sort(int argc, char **argv) {
  int place = 1;
  for (int i = 1; i < argc && place <= 2; i++)
    if (!sm_eval_is_setting(argv[i])) cmd_eval_move(argv, i, place++);
  for (int i = place; i < argc && place == 2; i++)
    if (!access(argv[i], F_OK)) cmd_eval_move(argv, i, place++);
  return place > 2;
}

/* What may be written over is rank 0's to look at. */
static sm_status cmd_eval_open(evaluating *e, bool only_features, char **argv, sm_error *err) {
  sm_status status = SM_OK;
  for (int split = SPLIT_TRAIN; only_features && e->leads && split <= SPLIT_TEST && !status; split++) {
    const char *folder = cmd_eval_folder(e, split);
    if (folder) status = sm_cli_may_write_into(e->cli, folder, sm_features_files, e->o->force, err);
  }
  if (!status) status = sm_cli_network(e->cli, &e->o->network, argv[2], &e->network, err);
  return sm_ranks_agree(e->ranks, status, err);
}

static int cmd_eval_by(sm_cli *cli, int argc, char **argv, sm_ranks *ranks) {
  evaluating e = {.cli = cli, .o = cli->options, .ranks = ranks, .leads = sm_ranks_rank(ranks) == 0};
  const bool only_features = !strcmp(argv[1], "features");
  sm_error err = {0};
  cli->quiet |= !e.leads;
  sm_progress_begin(&e.progress, cli->quiet);
  sm_status status = cmd_eval_open(&e, only_features, argv, &err);
  if (!status) status = only_features ? cmd_eval_features(&e, &err) : cmd_eval_evaluate(&e, argc, argv, &err);
  cmd_eval_close_all(&e);
  if (status && !err.code) sm_fail(&err, status, "the evaluation failed and does not say why");
  return status ? sm_cli_fail_by_ranks(ranks, &err) : e.code;
}

static int cmd_eval_run(sm_cli *cli, int argc, char **argv) {
  const struct eval_options *o = cli->options;
  if (!cmd_eval_sort(argc, argv))
    return sm_cli_usage(cli, "give an evaluation and a network: a run folder, a checkpoint, or weights");
  const bool only_features = !strcmp(argv[1], "features");
  if (only_features && !o->out)
    return sm_cli_usage(cli, "features need a folder to be written to: --out FOLDER");
  if (only_features && argc > 3) return sm_cli_usage(cli, "features take no KEY=VALUE");
  return sm_cli_by_ranks(cli, argc, argv, o->mpi, (sm_ranks_options){.patience = o->patience, .stop = sm_signals_stop},
                         cmd_eval_by);
}

const sm_command sm_command_eval = {
    .name = "eval",
    .usage = "EVALUATION NETWORK [KEY=VALUE ...]",
    .summary = "measure a network's features, or write them to files",
    .about =
        "EVALUATION is the name of an evaluation plugin, such as knn, or of one in the recipe's 'evaluate'; "
        "its options come from there and from KEY=VALUE, which may stand anywhere. "
        "'features' writes the features themselves: "
        "features.npy, labels.npy, names.txt, classes.txt and features.json.\n\n"
        "NETWORK is a run folder (its newest checkpoint counts), a checkpoint in one, or weights: "
        "what `smalti export` writes, or any safetensors file with timm's names (say --backbone). "
        "With --net init or --net pixels it may also be a recipe.\n\n"
        "Pictures are the recipe's, or folders with one sub-folder per class (--train, --test). "
        "Results of a run are also appended to evaluations.jsonl in its folder.\n\n"
        "Started by an MPI launcher (mpirun -n 4 smalti eval …), the processes share the work, to the same figures as one process.",
    .min_args = 2,
    .max_args = -1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .options_size = sizeof(struct eval_options),
    .run = cmd_eval_run,
};

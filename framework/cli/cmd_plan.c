/* cmd_plan.c — `smalti plan`: what a recipe's step will need, without running or allocating it. */
#include "framework/base/cpu.h"
#include "cli.h"
#include "framework/train/train.h"

#include <string.h>

#include "framework/report/report.h"

struct plan_options {
  int64_t largest;
};

static const sm_option options[] = {
    SM_INT(struct plan_options, largest, "largest", "12", 0, 1000, "tensors",
           "how many of the largest tensors to list"),
};

enum { PLAN_RANKS = 8 };

typedef struct plan_view {
  sm_plan_report graph;
  size_t set[SM_SETS], total, pieces;
  struct plan_cost {
    size_t peak;
    double gflop;
  } cost[2]; /* by sm_recompute: the recipe's choice and the other one */
  int64_t parameters;
  const sm_recipe *recipe;
  int threads;
  /* of 1, 2, 4 … ranks, as many as there are pieces */
  struct plan_ranks {
    int ranks;
    size_t step;
    sm_eval_forecast evaluations;
  } by[PLAN_RANKS];
  int bys;
  sm_error unknown; /* why nothing is known of the evaluations; code SM_OK: something is */
} plan_view;

static const char *const set_name[SM_SETS] = {"student: values, gradients, moments", "teacher: values",
                                                  "states (centres, codebooks)",
                                                  "frozen weights of tokenizers"};

static const char *cmd_plan_shape(const sm_plan_line *l, char *buf, size_t size) {
  size_t used = 0;
  buf[0] = 0;
  for (int i = 0; i < l->ndim && used < size; i++)
    used += (size_t)snprintf(buf + used, size - used, "%s%lld", i ? " x " : "", (long long)l->dim[i]);
  return buf;
}

static void cmd_plan_line(const char *what, size_t bytes) {
  char text[32];
  printf("  %-44s %12s\n", what, sm_human_bytes((double)bytes, text, sizeof text));
}

static void cmd_plan_evaluations(const plan_view *p) {
  const sm_eval_forecast *f = &p->by[0].evaluations;
  char text[2048];
  if (!p->recipe->evaluations) return;
  printf("\nevaluations, beside it\n");
  if (p->unknown.code) {
    printf("  not known: %s\n", sm_error_text(&p->unknown, text, sizeof text));
    return;
  }
  cmd_plan_line("network that makes features", f->network);
  if (f->features) cmd_plan_line("features of all pictures", f->features);
  for (int i = 0; i < f->n; i++)
    if (f->of[i].known) cmd_plan_line(f->of[i].name, f->of[i].bytes.first);
    else printf("  %-44s %12s\n", f->of[i].name, "not known");
  cmd_plan_line("peak of those that are known", f->first);
}

static void cmd_plan_ranks(const plan_view *p) {
  char step[32], first[32], other[32];
  if (p->bys > 1) printf("\nof each rank\n");
  for (int i = 1; i < p->bys; i++) {
    const struct plan_ranks *r = &p->by[i];
    printf("  %d ranks: a step %s", r->ranks, sm_human_bytes((double)r->step, step, sizeof step));
    if (p->recipe->evaluations && !p->unknown.code)
      printf("; evaluations, beside it, %s on rank 0 and %s on the others",
             sm_human_bytes((double)r->evaluations.first, first, sizeof first),
             sm_human_bytes((double)r->evaluations.other, other, sizeof other));
    printf("\n");
  }
}

static int cmd_plan_print_text(const plan_view *p, int largest) {
  char text[200], threads[160];
  const sm_cpus cpus = sm_cpu_look();
  printf("%s: one step of %lld %s\n", p->recipe->name, (long long)p->recipe->train.batch_size,
         sm_plural(p->recipe->train.batch_size, "picture", "pictures"));
  if (p->recipe->train.micro_batch)
    printf("in micro-batches of %lld\n", (long long)p->recipe->train.micro_batch);
  if (p->recipe->train.pieces > 1)
    printf("in %lld pieces, whose sums are added in a tree\n", (long long)p->recipe->train.pieces);
  printf("\nmemory\n");
  for (int i = 0; i < SM_SETS; i++)
    if (p->set[i])
      cmd_plan_line(
          !i && p->recipe->objective.plugin.plugin ? "objective: values, gradients, moments" : set_name[i],
          p->set[i]);
  cmd_plan_line("inputs (views, masks, lists)", p->graph.inputs);
  cmd_plan_line("activations and gradients, shared", p->graph.transient);
  if (p->pieces) cmd_plan_line("sums of pieces that wait", p->pieces);
  snprintf(text, sizeof text, "worker memory of %s",
           sm_threads_text(&cpus, p->threads, threads, sizeof threads));
  cmd_plan_line(text, p->graph.worker);
  cmd_plan_line("peak of the step", p->total);
  printf("\n  %.2f M parameters to train; activations without reuse would take %s\n",
         (double)p->parameters / 1e6, sm_human_bytes((double)p->graph.unshared, text, sizeof text));
  printf("  %d nodes in %d %s; %.1f GFLOP per step at full masks\n", p->graph.nodes, p->graph.segments,
         sm_plural(p->graph.segments, "segment", "segments"), p->cost[p->recipe->train.recompute].gflop);
  for (int i = 0; i < 2; i++)
    printf("  with train.recompute %-6s  peak %9s, %.1f GFLOP%s\n", sm_recompute_names[i],
           sm_human_bytes((double)p->cost[i].peak, text, sizeof text), p->cost[i].gflop,
           i == p->recipe->train.recompute ? " (this recipe)" : "");
  cmd_plan_evaluations(p);
  cmd_plan_ranks(p);
  if (largest) printf("\nlargest tensors\n");
  for (int i = 0; i < p->graph.n_largest && i < largest; i++) {
    const sm_plan_line *l = &p->graph.largest[i];
    char bytes[32];
    printf("  %12s  %-22s %-9s  %s\n", sm_human_bytes((double)l->bytes, bytes, sizeof bytes),
           cmd_plan_shape(l, text, sizeof text), l->kind, l->name);
  }
  return SM_EXIT_OK;
}

static void cmd_plan_add_costs(const plan_view *p, sm_json *json) {
  sm_json_object(json, "recompute");
  for (int i = 0; i < 2; i++) {
    char key[32];
    snprintf(key, sizeof key, "%s_peak_bytes", sm_recompute_names[i]);
    sm_json_int(json, key, (int64_t)p->cost[i].peak);
    snprintf(key, sizeof key, "%s_gflop", sm_recompute_names[i]);
    sm_json_double(json, key, p->cost[i].gflop);
  }
  sm_json_close(json);
}

static void cmd_plan_add_largest(const plan_view *p, int largest, sm_json *json) {
  sm_json_array(json, "largest");
  for (int i = 0; i < p->graph.n_largest && i < largest; i++) {
    const sm_plan_line *l = &p->graph.largest[i];
    sm_json_object(json, NULL);
    sm_json_string(json, "name", l->name);
    sm_json_string(json, "kind", l->kind);
    sm_json_int(json, "bytes", (int64_t)l->bytes);
    sm_json_close(json);
  }
  sm_json_close(json);
}

static void cmd_plan_add_evaluations(const plan_view *p, sm_json *json) {
  const sm_eval_forecast *f = &p->by[0].evaluations;
  char text[2048];
  if (p->unknown.code)
    sm_json_string(json, "evaluations_unknown", sm_error_text(&p->unknown, text, sizeof text));
  if (!p->recipe->evaluations || p->unknown.code) return;
  sm_json_int(json, "evaluation_network_bytes", (int64_t)f->network);
  sm_json_int(json, "evaluation_feature_bytes", (int64_t)f->features);
  sm_json_int(json, "evaluation_bytes", (int64_t)f->first);
  sm_json_array(json, "evaluations");
  for (int i = 0; i < f->n; i++) {
    sm_json_object(json, NULL);
    sm_json_string(json, "evaluation", f->of[i].name);
    if (f->of[i].known) sm_json_int(json, "bytes", (int64_t)f->of[i].bytes.first);
    sm_json_close(json);
  }
  sm_json_close(json);
}

static void cmd_plan_add_ranks(const plan_view *p, sm_json *json) {
  if (p->bys < 2) return;
  sm_json_array(json, "by_ranks");
  for (int i = 1; i < p->bys; i++) {
    const struct plan_ranks *r = &p->by[i];
    sm_json_object(json, NULL);
    sm_json_int(json, "ranks", r->ranks);
    sm_json_int(json, "step_bytes", (int64_t)r->step);
    if (p->recipe->evaluations && !p->unknown.code) {
      sm_json_int(json, "rank_0_evaluation_bytes", (int64_t)r->evaluations.first);
      sm_json_int(json, "other_evaluation_bytes", (int64_t)r->evaluations.other);
    }
    sm_json_close(json);
  }
  sm_json_close(json);
}

static int cmd_plan_print_json(const plan_view *p, int largest) {
  const struct {
    const char *key;
    size_t bytes;
  } memory[] = {{"peak_bytes", p->total},
                {"student_bytes", p->set[SM_SET_STUDENT]},
                {"teacher_bytes", p->set[SM_SET_TEACHER]},
                {"state_bytes", p->set[SM_SET_STATE]},
                {"frozen_bytes", p->set[SM_SET_FROZEN]},
                {"input_bytes", p->graph.inputs},
                {"transient_bytes", p->graph.transient},
                {"worker_bytes", p->graph.worker},
                {"pieces_bytes", p->pieces},
                {"unshared_bytes", p->graph.unshared}};
  sm_json json = {0};
  sm_json_begin(&json);
  sm_json_string(&json, "recipe", p->recipe->name);
  for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
    sm_json_int(&json, memory[i].key, (int64_t)memory[i].bytes);
  sm_json_int(&json, "parameters", p->parameters);
  sm_json_int(&json, "nodes", p->graph.nodes);
  sm_json_int(&json, "segments", p->graph.segments);
  sm_json_double(&json, "gflop", p->cost[p->recipe->train.recompute].gflop);
  cmd_plan_add_costs(p, &json);
  cmd_plan_add_evaluations(p, &json);
  cmd_plan_add_ranks(p, &json);
  cmd_plan_add_largest(p, largest, &json);
  return sm_cli_json(&json);
}

static struct plan_cost cmd_plan_cost_of(sm_trainable *net, const sm_train_config *c) {
  sm_plan_report graph;
  sm_graph_report(net->graph, &graph);
  struct plan_cost cost = {sm_trainable_bytes(net), graph.flops * c->batch_size / net->micro / 1e9};
  return cost;
}

static sm_status cmd_plan_make_view(plan_view *view, sm_trainable *net, const sm_train_config *config,
                                    sm_error *err) {
  int chosen = view->recipe->train.recompute;
  sm_trainable *other = NULL;
  sm_graph_report(net->graph, &view->graph);
  for (int i = 0; i < SM_SETS; i++) view->set[i] = sm_set_bytes(net->set[i]);
  view->parameters = sm_set_parameters(net->set[SM_SET_STUDENT]);
  view->cost[chosen] = cmd_plan_cost_of(net, config);
  view->total = view->cost[chosen].peak;
  view->pieces = sm_trainable_piece_bytes(net, 1);
  sm_train_config changed = *config;
  changed.recompute = !config->recompute;
  sm_status status = sm_trainable_new(&changed, &other, err);
  if (!status) view->cost[!chosen] = cmd_plan_cost_of(other, config);
  sm_trainable_free(other);
  return status;
}

/* By 1, 2, 4 … ranks. Data sets that cannot be opened leave only the evaluations unknown. */
static void cmd_plan_by_ranks(plan_view *view, sm_recipe *r, sm_trainable *net, const sm_train_config *c) {
  const int most = c->pieces > 1 ? c->pieces : 1;
  sm_dataset train = {0}, test = {0};
  sm_error *why = &view->unknown;
  sm_status status = r->evaluations ? sm_slot_open(&r->data.train, &train, why) : SM_OK;
  if (!status && r->evaluations) status = sm_slot_open(&r->data.test, &test, why);
  for (int ranks = 1; ranks <= most && view->bys < PLAN_RANKS; ranks *= 2) {
    struct plan_ranks *by = &view->by[view->bys++];
    by->ranks = ranks;
    by->step = view->total - view->pieces + sm_trainable_piece_bytes(net, ranks);
    if (!status) status = sm_train_forecast(r, r, c, net, train, test, ranks, &by->evaluations, why);
  }
  if (!status) *why = (sm_error){0};
}

static int cmd_plan_run(sm_cli *cli, int argc, char **argv) {
  const struct plan_options *o = cli->options;
  sm_error err = {0};
  sm_recipe *recipe = NULL;
  sm_trainable *net = NULL;
  sm_pool *pool = NULL;
  sm_train_config config;
  plan_view view = {0};
  int code = SM_EXIT_OK;
  sm_status status = sm_cli_recipe(cli, argc, argv, &recipe, &err);
  if (!status) status = sm_recipe_create(recipe, &err);
  if (!status) {
    view.threads = sm_recipe_threads(recipe, cli->threads);
    if (!(pool = sm_recipe_pool(recipe, view.threads, NULL, &err))) status = err.code;
  }
  if (!status)
    status = sm_train_configure(
        recipe, pool, recipe->train.steps_per_epoch ? recipe->train.steps_per_epoch : 1, &config, &err);
  if (!status) status = sm_trainable_new(&config, &net, &err);
  view.recipe = recipe;
  if (!status) status = cmd_plan_make_view(&view, net, &config, &err);
  if (!status) cmd_plan_by_ranks(&view, recipe, net, &config);
  if (!status) code = (cli->json ? cmd_plan_print_json : cmd_plan_print_text)(&view, (int)o->largest);
  sm_trainable_free(net);
  sm_pool_free(pool);
  sm_recipe_free(recipe);
  return status ? sm_cli_fail(&err) : code;
}

const sm_command sm_command_plan = {
    .name = "plan",
    .usage = "RECIPE [KEY=VALUE ...]",
    .summary = "show the memory and arithmetic of a recipe's step without running it",
    .min_args = 1,
    .max_args = -1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .options_size = sizeof(struct plan_options),
    .run = cmd_plan_run,
};

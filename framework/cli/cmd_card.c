/* cmd_card.c — `smalti card NETWORK`: one page about a network, with the figures that the data allows. */
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "card.h"
#include "eval_options.h"
#include "progress.h"

static const sm_option options[] = {
    SM_PATH(sm_card_options, out, "out", "~",
            "the page to write (default: card.html in the run folder, else in this one)"),
    SM_FORCE_OPTION(sm_card_options),
    SM_STRING(sm_card_options, only, "only", "~", "evaluations to make, separated by ','; none but these"),
    SM_STRING(sm_card_options, skip, "skip", "~", "evaluations to leave out, separated by ','"),
    SM_BOOL(sm_card_options, slow, "slow", "false",
            "also evaluations that train the network or look at pictures many times"),
    SM_BOOL(sm_card_options, anew, "anew", "false", "measure also what the run keeps in evaluations.jsonl"),
    SM_INT(sm_card_options, pictures, "pictures", "6", 0, 64, NULL,
           "test pictures that are drawn; 0: no drawings"),
    SM_PATH(
        sm_card_options, train, "train", "~",
        "folder or packed file of training pictures, or a data set as in a recipe, in place of the recipe's"),
    SM_PATH(sm_card_options, test, "test", "~",
            "folder or packed file of test pictures, or a data set as in a recipe, in place of the recipe's"),
    SM_STRING(
        sm_card_options, size, "size", "0",
        "pixels of the pictures: side of square ones, or height and width, as 96x160; 0: as in training"),
    SM_FLOAT(
        sm_card_options, max_bad, "max_bad", "-1", -1, 1, NULL,
        "share of the training or of the test pictures that may be unreadable; -1: data.max_bad, or 0.05"),
    SM_CHOICE(sm_card_options, precision, "precision", "fp32", sm_precision_names, "bf16: faster features"),
    SM_CHOICE(sm_card_options, network.net, "net", "auto", sm_net_names,
              "which weights; init: the untrained network, pixels: no network"),
    SM_NETWORK_OPTIONS(sm_card_options, network),
};

/* ---- the page ------------------------------------------------------------------------------------------ */

static sm_status cmd_card_figures(sm_card_maker *c, const sm_eval_result *r, sm_card_evaluation *to,
                                  sm_error *err) {
  sm_card_figure *figure = sm_arena_alloc(c->cli->arena, (size_t)r->n * sizeof *figure);
  if (!figure) return sm_card_no_memory(err);
  for (int i = 0; i < r->n; i++) {
    char value[64];
    sm_figure_text(&r->figure[i], value, sizeof value);
    figure[i] = (sm_card_figure){.name = r->figure[i].name,
                                 .value = sm_arena_strdup(c->cli->arena, value),
                                 .low = r->interval[i].low,
                                 .high = r->interval[i].high,
                                 .interval = sm_has_interval(r, i)};
    if (!figure[i].value) return sm_card_no_memory(err);
  }
  to->figure = figure, to->n = r->n;
  return SM_OK;
}

static sm_status cmd_card_evaluations(sm_card_maker *c, sm_card *page, sm_error *err) {
  sm_card_evaluation *e = sm_arena_alloc(c->cli->arena, (size_t)(c->items + 1) * sizeof *e);
  sm_status status = e ? SM_OK : sm_card_no_memory(err);
  page->evaluation = e;
  for (int i = 0; i < c->items && !status; i++) {
    const sm_card_item *item = &c->item[i];
    if (item->reason) continue;
    sm_card_evaluation *to = &e[page->evaluations++];
    *to = (sm_card_evaluation){.name = item->name,
                               .summary = item->instance->plugin->summary,
                               .protocol = item->result->protocol,
                               .made = sm_arena_printf(c->cli->arena, "measured %.10s", item->when)};
    status = to->made ? cmd_card_figures(c, item->result, to, err) : sm_card_no_memory(err);
  }
  return status;
}

/* The run's name, or that of its folder or file. */
static const char *cmd_card_title(const sm_card_maker *c) {
  const char *recipe = sm_network_about(c->network)->recipe;
  return sm_network_run(c->network) ? sm_path_base(sm_network_run(c->network))
         : recipe && *recipe        ? recipe
                                    : sm_path_base(c->path);
}

static sm_status cmd_card_write(sm_card_maker *c, const char *out, sm_error *err) {
  sm_card page = {.title = cmd_card_title(c),
                  .fact = c->facts.fact,
                  .facts = c->facts.n,
                  .missing = c->missing.fact,
                  .missings = c->missing.n,
                  .picture = c->picture,
                  .pictures = c->pictures};
  char px[24], size[32], parameters[48], done[32], today[16];
  const int64_t n = sm_card_parameters(c->network);
  const time_t now = time(NULL);
  sm_text title = {0};
  strftime(today, sizeof today, "%Y-%m-%d", gmtime(&now));
  sm_network_title(c->network, &title);
  sm_text_add(&title, "; written %s", today);
  sm_status status = title.failed ? sm_card_no_memory(err) : cmd_card_evaluations(c, &page, err);
  snprintf(size, sizeof size, "%s px", sm_view_size_text(c->height, c->width, px, sizeof px));
  snprintf(done, sizeof done, "%d of %d", page.evaluations, c->items);
  if (n < 1000000) snprintf(parameters, sizeof parameters, "%" PRId64, n);
  else snprintf(parameters, sizeof parameters, "%.1f M", (double)n * 1e-6);
  const sm_card_fact tile[] = {{"Parameters", parameters, "of the backbone"},
                               {"Pictures", size, "that it was measured at"},
                               {"Measured", done, "evaluations"}};
  page.tile = tile, page.tiles = sizeof tile / sizeof *tile;
  page.subtitle = title.s, page.recipe = c->recipe.s;
  if (!status) status = sm_card_write(&page, out, err);
  sm_text_free(&title);
  return status;
}

/* ---- the command --------------------------------------------------------------------------------------- */

static sm_status cmd_card_size(sm_card_maker *c, sm_error *err) {
  const sm_network_spec *network = sm_network_describe(c->network);
  c->height = network->height, c->width = network->width;
  return sm_eval_size(c->o->size, &c->height, &c->width, err);
}

static sm_status cmd_card_open(sm_card_maker *c, sm_error *err) {
  const int needed = (c->o->train ? SM_NETWORK_TRAIN : 0) | (c->o->test ? SM_NETWORK_TEST : 0);
  sm_status status = sm_cli_list(c->cli, c->o->only, &c->only, NULL, err);
  if (!status) status = sm_cli_list(c->cli, c->o->skip, &c->skip, NULL, err);
  if (!status) status = sm_cli_network(c->cli, &c->o->network, c->path, &c->network, err);
  if (status) return status;
  c->pool = sm_recipe_pool(sm_network_recipe(c->network), c->cli->threads, sm_cli_isa(c->cli), err);
  if (!c->pool) return err->code;
  if (sm_network_recipe(c->network))
    status = sm_recipe_write(sm_network_recipe(c->network), false, &c->recipe, err);
  if (!status) status = sm_card_list_evaluations(c, err);
  if (!status) status = sm_network_data(c->network, c->o->train, c->o->test, needed, err);
  return status ? status : cmd_card_size(c, err);
}

static const char *cmd_card_out(const sm_card_maker *c) {
  const char *run = sm_network_run(c->network);
  return c->o->out ? c->o->out : run ? sm_path_join(c->cli->arena, run, "card.html") : "card.html";
}

static int cmd_card_say(const sm_card_maker *c, const char *out) {
  if (!c->cli->json) return printf("%s\n", out), SM_EXIT_OK;
  sm_json j = {0};
  sm_json_begin(&j);
  sm_json_string(&j, "file", out);
  sm_json_array(&j, "measured");
  for (int i = 0; i < c->items; i++)
    if (!c->item[i].reason && !c->item[i].kept) sm_json_string(&j, NULL, c->item[i].name);
  sm_json_close(&j);
  sm_json_array(&j, "kept");
  for (int i = 0; i < c->items; i++)
    if (c->item[i].kept) sm_json_string(&j, NULL, c->item[i].name);
  sm_json_close(&j);
  sm_json_object(&j, "missing");
  for (int i = 0; i < c->missing.n; i++)
    sm_json_string(&j, c->missing.fact[i].name, c->missing.fact[i].value);
  sm_json_close(&j);
  return sm_cli_json(&j);
}

/* NETWORK to place 1, wherever it stands among the settings. False: there is none, or more than one. */
static bool cmd_card_sort(int argc, char **argv) {
  int at = 0;
  for (int i = 1; i < argc; i++) {
    if (sm_eval_is_setting(argv[i])) continue;
    if (at) return false;
    at = i;
  }
  for (int i = 1; i < argc && !at; i++)
    if (!access(argv[i], F_OK)) at = i;
  char *network = argv[at];
  if (at) memmove(argv + 2, argv + 1, (size_t)(at - 1) * sizeof *argv), argv[1] = network;
  return at > 0;
}

static int cmd_card_run(sm_cli *cli, int argc, char **argv) {
  const sm_card_options *o = cli->options;
  if (!cmd_card_sort(argc, argv))
    return sm_cli_usage(
        cli,
        "give one network: a run folder, a checkpoint, or weights; options of evaluations are "
        "EVALUATION.KEY=VALUE");
  sm_progress progress;
  sm_card_maker c = {.cli = cli,
                     .o = o,
                     .path = argv[1],
                     .setting = argv + 2,
                     .settings = argc - 2,
                     .progress = &progress,
                     .stop = sm_signals_stop};
  sm_error err = {0};
  const char *out = NULL;
  sm_signals_install();
  sm_progress_begin(&progress, cli->quiet);
  sm_status status = o->out ? sm_cli_may_write(o->out, o->force, &err) : SM_OK;
  if (!status) status = cmd_card_open(&c, &err);
  if (!status && !(out = cmd_card_out(&c))) status = sm_card_no_memory(&err);
  if (!status) status = sm_card_measure(&c, &err);
  if (!status) status = sm_card_draw(&c, &err);
  if (!status) status = sm_card_tell(&c, &err);
  if (!status) status = cmd_card_write(&c, out, &err);
  sm_progress_end(&progress);
  const int code = status ? sm_cli_fail(&err) : cmd_card_say(&c, out);
  sm_text_free(&c.recipe);
  sm_card_free_pictures(&c);
  sm_card_free_evaluations(&c);
  sm_pool_free(c.pool);
  sm_network_close(c.network);
  return code;
}

const sm_command sm_command_card = {
    .name = "card",
    .usage = "NETWORK [EVALUATION.KEY=VALUE ...]",
    .summary = "measure what can be measured, and write it on one page",
    .about =
        "One HTML page that needs nothing beside it: what the network is, the figures of every evaluation "
        "that the data allows with intervals and protocols, pictures of what it sees, and what was "
        "not measured and why.\n\n"
        "Results that the run keeps in evaluations.jsonl, of the same weights, data and options, are used "
        "again; new ones are kept there. Evaluations that take long are made where the recipe, --only or an "
        "option names them, or with --slow. "
        "One that is named and cannot be made is an error.\n\n"
        "NETWORK is what `smalti eval` takes. Options are those of the recipe's 'evaluate', or the defaults, "
        "and "
        "EVALUATION.KEY=VALUE, for instance knn.k=20.",
    .min_args = 1,
    .max_args = -1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .options_size = sizeof(sm_card_options),
    .run = cmd_card_run,
};

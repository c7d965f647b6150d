/* card_measure.c — figures of a card: which evaluations there are, what the run keeps of them, the others. */
#include <string.h>
#include <time.h>

#include "card.h"
#include "eval_options.h"
#include "eval_outcome.h"
#include "progress.h"
#include "framework/plugin/option.h"

/* ---- which evaluations --------------------------------------------------------------------------------- */

static bool card_measure_in_recipe(const sm_recipe *r, const sm_plugin *p) {
  for (int i = 0; r && i < r->evaluations; i++)
    if (r->evaluate[i].plugin.plugin == p) return true;
  return false;
}

static sm_status card_measure_name(sm_card_maker *c, const char *name, sm_error *err) {
  sm_card_item *item = &c->item[c->items];
  *item = (sm_card_item){.name = name};
  const sm_status status = sm_eval_find(c->cli, sm_network_recipe(c->network), name, &item->own,
                                        &item->instance, &item->slot, err);
  item->asked = item->slot != NULL;
  c->items++;
  return status;
}

/* A plugin that the system does not give is an error, since it might be one of the evaluations; one that is
 * wrong is named on the page. */
static sm_status card_measure_refusals(sm_card_maker *c, const sm_registry *registry, sm_error *err) {
  sm_status status = SM_OK;
  for (int i = 0; i < sm_registry_refusals(registry) && !status; i++) {
    const sm_error *why = sm_registry_refusal(registry, i);
    if (why->code == SM_EIO || why->code == SM_ENOMEM || why->code == SM_ENOTFOUND)
      *err = *why, status = why->code;
    else
      status = sm_card_say(c, &c->missing, sm_path_base(why->place), err, "a plugin that is refused: %s",
                           why->message);
  }
  return status;
}

/* The recipe's first, in its order; then the other plugins by name. */
static sm_status card_measure_names(sm_card_maker *c, sm_error *err) {
  const sm_recipe *r = sm_network_recipe(c->network);
  sm_registry *registry;
  sm_status status = sm_cli_registry(c->cli, &registry, err);
  if (!status) status = sm_registry_scan(registry, err);
  if (!status) status = card_measure_refusals(c, registry, err);
  if (status) return status;
  const int plugins = sm_registry_count(registry);
  c->item = sm_calloc((size_t)(plugins + SM_SLOTS_MAX), sizeof *c->item);
  if (!c->item) return sm_card_no_memory(err);
  for (int i = 0; r && i < r->evaluations && !status; i++)
    status = card_measure_name(c, r->evaluate[i].instance, err);
  for (int i = 0; i < plugins && !status; i++) {
    const sm_plugin *p = sm_registry_at(registry, i);
    if (p->kind == SM_EVALUATION && !card_measure_in_recipe(r, p))
      status = card_measure_name(c, p->name, err);
  }
  return status;
}

/* `name`, of n bytes, is what the recipe calls it, or its plugin. */
static bool card_measure_called(const sm_card_item *item, const char *name, size_t n) {
  const char *plugin = item->instance->plugin->name;
  return (strlen(item->name) == n && !strncmp(item->name, name, n)) ||
         (strlen(plugin) == n && !strncmp(plugin, name, n));
}

static sm_status card_measure_unknown(const sm_card_maker *c, const char *name, size_t n, sm_error *err) {
  const char *names[SM_SLOTS_MAX + 240];
  char word[64];
  int count = 0;
  for (int i = 0; i < c->items && count < (int)(sizeof names / sizeof *names) - 1; i++)
    names[count++] = c->item[i].name;
  names[count] = NULL;
  snprintf(word, sizeof word, "%.*s", (int)n, name);
  sm_fail(err, SM_EINVAL, "there is no evaluation '%s'", word);
  sm_hint_names(err, word, names, "evaluations");
  return SM_EINVAL;
}

static sm_status card_measure_known(const sm_card_maker *c, const char *const *names, sm_error *err) {
  for (; *names; names++) {
    bool known = false;
    for (int i = 0; i < c->items; i++) known |= card_measure_called(&c->item[i], *names, strlen(*names));
    if (!known) return card_measure_unknown(c, *names, strlen(*names), err);
  }
  return SM_OK;
}

static bool card_measure_listed(const sm_card_item *item, const char *const *names) {
  for (; *names; names++)
    if (card_measure_called(item, *names, strlen(*names))) return true;
  return false;
}

/* EVALUATION.KEY=VALUE, to all evaluations of that name. */
static sm_status card_measure_set(sm_card_maker *c, const char *setting, sm_error *err) {
  const char *equals = strchr(setting, '='), *dot = memchr(setting, '.', (size_t)(equals - setting));
  sm_status status = SM_OK;
  bool known = false;
  if (!dot) {
    sm_fail(err, SM_EINVAL, "'%.80s' does not say of which evaluation", setting);
    return sm_hint(err, "give EVALUATION.KEY=VALUE, for instance knn.k=20");
  }
  for (int i = 0; i < c->items && !status; i++) {
    sm_card_item *item = &c->item[i];
    if (!card_measure_called(item, setting, (size_t)(dot - setting))) continue;
    known = item->asked = item->named = true;
    status = sm_eval_set_option(c->cli, item->instance, dot + 1, (size_t)(equals - dot - 1), equals + 1, err);
  }
  return status || known ? status : card_measure_unknown(c, setting, (size_t)(dot - setting), err);
}

sm_status sm_card_list_evaluations(sm_card_maker *c, sm_error *err) {
  sm_status status = card_measure_names(c, err);
  if (!status) status = card_measure_known(c, c->only, err);
  if (!status) status = card_measure_known(c, c->skip, err);
  for (int i = 0; i < c->settings && !status; i++) status = card_measure_set(c, c->setting[i], err);
  for (int i = 0; i < c->items && !status; i++)
    if (card_measure_listed(&c->item[i], c->only)) c->item[i].asked = c->item[i].named = true;
  return status;
}

void sm_card_free_evaluations(sm_card_maker *c) {
  for (int i = 0; i < c->items; i++) {
    if (c->item[i].own.plugin) sm_instance_free(&c->item[i].own);
    sm_free(c->item[i].result);
  }
  sm_free(c->item);
}

/* ---- what keeps one from running ----------------------------------------------------------------------- */

/* An option without a default that nobody gave; NULL: there is none. */
static const sm_option *card_measure_missing(const sm_card_maker *c, const sm_card_item *item) {
  const sm_plugin *p = item->instance->plugin;
  for (uint32_t i = 0; i < p->n_options && !item->slot; i++) {
    const sm_option *o = &p->options[i];
    bool given = o->def != NULL;
    for (int k = 0; k < c->settings && !given; k++) {
      const char *dot = strchr(c->setting[k], '.'), *equals = strchr(c->setting[k], '=');
      const size_t n = strlen(o->name);
      given = card_measure_called(item, c->setting[k], (size_t)(dot - c->setting[k])) &&
              (size_t)(equals - dot - 1) == n && !strncmp(dot + 1, o->name, n);
    }
    if (!given) return o;
  }
  return NULL;
}

static sm_status card_measure_refuse(const sm_card_maker *c, sm_card_item *item, const char *reason,
                                     sm_error *err) {
  item->reason = sm_arena_strdup(c->cli->arena, reason);
  return item->reason ? SM_OK : sm_card_no_memory(err);
}

/* What the data or the network does not allow is a reason, unless it was named; all else is an error. */
static sm_status card_measure_failed(const sm_card_maker *c, sm_card_item *item, sm_status status,
                                     sm_error *err) {
  char text[sizeof(sm_error) + 16];
  if (!status) return SM_OK;
  if (item->named || (status != SM_EINVAL && status != SM_EUNSUPPORTED)) return status;
  status = card_measure_refuse(c, item, sm_error_text(err, text, sizeof text), err);
  if (!status) sm_error_clear(err);
  return status;
}

static sm_status card_measure_choose(const sm_card_maker *c, sm_card_item *item, sm_error *err) {
  const sm_option *missing;
  if (card_measure_listed(item, c->skip)) return card_measure_refuse(c, item, "left out by --skip", err);
  if (*c->only && !card_measure_listed(item, c->only))
    return card_measure_refuse(c, item, "not among --only", err);
  if ((missing = card_measure_missing(c, item))) {
    char text[400];
    if (item->named) return sm_option_missing(missing, item->instance->plugin->name, (sm_place){0}, err);
    snprintf(text, sizeof text, "it needs an option, %s.%s=…: %s", item->name, missing->name, missing->doc);
    return card_measure_refuse(c, item, text, err);
  }
  const sm_status status =
      item->slot ? sm_slot_create(item->slot, err) : sm_instance_create(item->instance, err);
  return card_measure_failed(c, item, status, err);
}

/* ---- results ------------------------------------------------------------------------------------------- */

static sm_eval_outcome card_measure_outcome(const sm_card_maker *c, const sm_card_item *item,
                                            sm_evaluator *evaluator) {
  return (sm_eval_outcome){.cli = c->cli,
                           .network = c->network,
                           .evaluator = evaluator,
                           .instance = item->instance,
                           .result = item->result,
                           .height = c->height,
                           .width = c->width,
                           .precision = c->o->precision};
}

static sm_status card_measure_look_up(const sm_card_maker *c, sm_card_item *item, sm_error *err) {
  bool found = false;
  if (!(item->result = sm_calloc(1, sizeof *item->result))) return sm_card_no_memory(err);
  const sm_eval_outcome outcome = card_measure_outcome(c, item, NULL);
  const sm_status status =
      c->o->anew ? SM_OK : sm_eval_outcome_kept(&outcome, item->result, item->when, &found, err);
  if (found) item->kept = true;
  else if (!status && !item->asked && !c->o->slow && sm_eval_wants(item->instance).slow)
    return card_measure_refuse(c, item, "it takes long: ask for it with --slow, or by its name with --only",
                               err);
  return status;
}

static sm_status card_measure_check(const sm_card_maker *c, sm_card_item *item, sm_error *err) {
  const sm_status status =
      sm_evaluation_check(sm_network_pictures(c->network, false), sm_network_pictures(c->network, true),
                          item->instance->plugin->ops, item->instance->self, err);
  return card_measure_failed(c, item, status, err);
}

static bool card_measure_todo(const sm_card_item *item) { return !item->kept && !item->reason; }

static void card_measure_progress(void *ctx, const char *what, double done) {
  sm_progress_event(ctx, &(sm_train_event){.kind = SM_EVENT_EVAL_PART, .text = what, .done = done});
}

/* One evaluator for all, so that features are made once. */
static sm_status card_measure_open(sm_card_maker *c, sm_evaluator **to, sm_error *err) {
  sm_evaluator_config config = sm_evaluator_config_of(c->network, c->pool);
  for (int i = 0; i < c->items; i++)
    if (card_measure_todo(&c->item[i]))
      sm_evaluator_want(&config, c->item[i].instance->plugin->ops, c->item[i].instance->self);
  sm_status status = sm_cli_network_say(c->cli, c->network, sm_evaluator_load(&config, c->network, err));
  if (status) return status;
  config.height = c->height, config.width = c->width;
  config.bf16 = c->o->precision == SM_PRECISION_BF16;
  if (c->o->max_bad >= 0) config.max_bad = c->o->max_bad;
  config.progress = card_measure_progress, config.progress_ctx = c->progress;
  config.stop = c->stop;
  return sm_evaluator_new(&config, to, err);
}

static sm_status card_measure_run(sm_card_maker *c, sm_card_item *item, sm_evaluator *evaluator,
                                  sm_error *err) {
  const sm_plugin *p = item->instance->plugin;
  if (c->stop()) return sm_fail(err, SM_EINTERRUPTED, "stopped before %s", item->name);
  sm_cli_note(c->cli, "measuring %s", item->name);
  sm_status status =
      sm_evaluator_run(evaluator, p->ops, item->instance->self, &(sm_blamed){.plugin = p}, item->result, err);
  sm_progress_end(c->progress);
  if (status) return card_measure_failed(c, item, status, err);
  const time_t now = time(NULL);
  strftime(item->when, sizeof item->when, "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
  const sm_eval_outcome outcome = card_measure_outcome(c, item, evaluator);
  sm_eval_outcome_keep(&outcome);
  return SM_OK;
}

sm_status sm_card_measure(sm_card_maker *c, sm_error *err) {
  sm_evaluator *evaluator = NULL;
  sm_status status = SM_OK;
  for (int i = 0; i < c->items && !status; i++) {
    sm_card_item *item = &c->item[i];
    status = card_measure_choose(c, item, err);
    if (!status && card_measure_todo(item)) status = card_measure_look_up(c, item, err);
    if (!status && card_measure_todo(item)) status = card_measure_check(c, item, err);
  }
  if (!status) status = card_measure_open(c, &evaluator, err);
  for (int i = 0; i < c->items && !status; i++)
    if (card_measure_todo(&c->item[i])) status = card_measure_run(c, &c->item[i], evaluator, err);
  sm_evaluator_free(evaluator);
  for (int i = 0; i < c->items && !status; i++)
    if (c->item[i].reason)
      status = sm_card_say(c, &c->missing, c->item[i].name, err, "%s", c->item[i].reason);
  return status;
}

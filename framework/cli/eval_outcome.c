/* eval_outcome.c — see eval_outcome.h. */
#include "eval_outcome.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "eval_options.h"
#include "framework/formats/formats.h"
#include "framework/plugin/option.h"

/* ---- figures for people -------------------------------------------------------------------------------- */

/* "top1.k20": a column top1 and a row k20. True if all figures are of that form and make a full table. */
static bool eval_outcome_is_table(const sm_eval_result *r, int *columns) {
  int n = 0;
  for (int i = 0; i < r->n; i++) {
    const char *dot = strrchr(r->figure[i].name, '.');
    if (!dot) return false;
    if (i && !strcmp(dot, strrchr(r->figure[0].name, '.')) && n == i) n++;
    if (!i) n = 1;
  }
  *columns = n;
  for (int i = 0; n && i < r->n; i++) {
    const char *name = r->figure[i].name, *column = r->figure[i % n].name, *row = r->figure[i - i % n].name;
    size_t length = (size_t)(strrchr(column, '.') - column);
    if (strncmp(name, column, length + 1) != 0 || strcmp(strrchr(name, '.'), strrchr(row, '.')) != 0)
      return false;
  }
  return n > 0 && r->n % n == 0;
}

/* "85.30 % [84.59, 85.98]" */
static void eval_outcome_print_figure(const sm_eval_result *r, int i, int width) {
  double value = r->figure[i].value;
  if (isnan(value)) printf("  %*s", width, "-");
  else printf("  %*.2f%s%s", width, value, r->figure[i].unit[0] ? " " : "", r->figure[i].unit);
  if (sm_has_interval(r, i)) printf(" [%.2f, %.2f]", r->interval[i].low, r->interval[i].high);
}

static void eval_outcome_print_list(const sm_eval_result *r) {
  int width = 0;
  for (int i = 0; i < r->n; i++)
    width = (int)strlen(r->figure[i].name) > width ? (int)strlen(r->figure[i].name) : width;
  for (int i = 0; i < r->n; i++) {
    printf("%-*s", width, r->figure[i].name);
    eval_outcome_print_figure(r, i, 7);
    printf("\n");
  }
}

static void eval_outcome_print_figures(const sm_eval_result *r) {
  int columns;
  if (!eval_outcome_is_table(r, &columns)) {
    eval_outcome_print_list(r);
    return;
  }
  printf("%-10s", "");
  for (int i = 0; i < columns; i++) {
    const char *name = r->figure[i].name;
    printf("  %7.*s", (int)(strrchr(name, '.') - name), name);
    if (r->figure[i].unit[0]) printf(" %*s", (int)strlen(r->figure[i].unit), "");
    if (sm_has_interval(r, i)) printf(" %*s", 16, "");
  }
  printf("\n");
  for (int i = 0; i < r->n; i++) {
    if (i % columns == 0) printf("%-10s", strrchr(r->figure[i].name, '.') + 1);
    eval_outcome_print_figure(r, i, 7);
    if (i % columns == columns - 1) printf("\n");
  }
}

/* ---- JSON ---------------------------------------------------------------------------------------------- */

static void eval_outcome_add_split(const sm_eval_outcome *o, sm_json *j, const char *split) {
  int64_t n, bad;
  sm_evaluator_counts(o->evaluator, split, &n, &bad);
  sm_json_object(j, split);
  sm_json_int(j, "pictures", n);
  sm_json_int(j, "bad", bad);
  sm_json_close(j);
}

static void eval_outcome_add_network(const sm_eval_outcome *o, sm_json *j) {
  const sm_weights_about *a = sm_network_about(o->network);
  char hash[24];
  sm_json_string(j, "net", sm_net_names[sm_network_net(o->network)]);
  sm_json_string(j, "run", sm_network_run(o->network));
  sm_json_string(j, "weights",
                 sm_network_report(o->network)->taken ? sm_network_describe(o->network)->file : NULL);
  sm_json_int(j, "step", a->step);
  snprintf(hash, sizeof hash, "%016" PRIx64, a->recipe_hash);
  sm_json_string(j, "recipe_hash", a->recipe_hash ? hash : NULL);
  sm_cli_json_size(j, o->height, o->width);
  sm_json_string(j, "precision", sm_precision_names[o->precision]);
}

/* "data": the hash of each split's list; null: not looked at, or none. */
static void eval_outcome_add_data(const sm_eval_outcome *o, sm_json *j) {
  const sm_feature_spec want = sm_eval_wants(o->instance);
  sm_json_object(j, "data");
  for (int test = 0; test < 2; test++) {
    const sm_dataset d = sm_network_pictures(o->network, test);
    const bool looks = d.ops && !(test ? want.train_alone : want.test_alone);
    char hash[24] = "";
    if (looks) snprintf(hash, sizeof hash, "%016" PRIx64, d.ops->hash(d.self));
    sm_json_string(j, test ? "test" : "train", looks ? hash : NULL);
  }
  sm_json_close(j);
}

static void eval_outcome_add_options(const sm_eval_outcome *o, sm_json *j) {
  const sm_plugin *p = o->instance->plugin;
  sm_json_object(j, "options");
  for (uint32_t i = 0; i < p->n_options; i++) {
    sm_text text = {0};
    sm_option_write(&p->options[i], o->instance->self, &text);
    sm_json_string(j, p->options[i].name, text.s);
    sm_text_free(&text);
  }
  sm_json_close(j);
}

static void eval_outcome_result_json(const sm_eval_outcome *o, sm_json *j) {
  const sm_eval_result *r = o->result;
  sm_json_begin(j);
  sm_json_string(j, "evaluation", o->instance->plugin->name);
  eval_outcome_add_network(o, j);
  eval_outcome_add_split(o, j, "train");
  eval_outcome_add_split(o, j, "test");
  eval_outcome_add_data(o, j);
  eval_outcome_add_options(o, j);
  sm_json_object(j, "figures");
  for (int i = 0; i < r->n; i++) sm_json_double(j, r->figure[i].name, r->figure[i].value);
  sm_json_close(j);
  sm_intervals_json(r, j);
  sm_units_json(r, j);
  sm_json_string(j, "protocol", r->protocol);
}

static const char *eval_outcome_file(const sm_eval_outcome *o) {
  const char *run = sm_network_run(o->network);
  return run ? sm_path_join(o->cli->arena, run, "evaluations.jsonl") : NULL;
}

sm_status sm_eval_outcome_kept(const sm_eval_outcome *o, sm_eval_result *result, char when[40], bool *found,
                               sm_error *err) {
  const char *path = eval_outcome_file(o);
  sm_json j = {0};
  *found = false;
  if (!path) return SM_OK;
  sm_json_begin(&j);
  sm_json_string(&j, "evaluation", o->instance->plugin->name);
  eval_outcome_add_network(o, &j);
  eval_outcome_add_data(o, &j);
  eval_outcome_add_options(o, &j);
  const char *identity = sm_json_finish(&j);
  sm_status status = identity ? sm_eval_kept(path, identity, result, when, found, err)
                              : sm_fail(err, SM_ENOMEM, "out of memory");
  sm_json_free(&j);
  return status;
}

void sm_eval_outcome_keep(const sm_eval_outcome *o) {
  sm_error err = {0};
  char when[40], text[sizeof(sm_error) + 16];
  const char *path = eval_outcome_file(o);
  if (!path) return;
  time_t now = time(NULL);
  sm_json j = {0};
  eval_outcome_result_json(o, &j);
  strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
  sm_json_string(&j, "time", when);
  sm_jsonl *file = sm_jsonl_open(path, -1, &err);
  sm_status status = file ? sm_jsonl_append(file, &j, &err) : err.code;
  if (file && sm_jsonl_close(file, status ? NULL : &err) && !status) status = err.code;
  sm_json_free(&j);
  if (status) sm_cli_note(o->cli, "smalti: warning: not kept: %s", sm_error_text(&err, text, sizeof text));
  else sm_cli_note(o->cli, "kept in %s", path);
}

/* ", 96 px", but of an evaluation whose pictures have sizes of their own. */
static const char *eval_outcome_size(const sm_eval_outcome *o, char *to, size_t size) {
  char px[24];
  if (sm_eval_wants(o->instance).own_size) return "";
  snprintf(to, size, ", %s px", sm_view_size_text(o->height, o->width, px, sizeof px));
  return to;
}

int sm_eval_outcome_print(const sm_eval_outcome *o) {
  const sm_eval_result *r = o->result;
  if (!o->cli->json) {
    char time[32], size[32];
    int64_t n, bad[2];
    sm_evaluator_counts(o->evaluator, "train", &n, &bad[0]);
    sm_evaluator_counts(o->evaluator, "test", &n, &bad[1]);
    sm_cli_note(o->cli, "%s%s, %s; %s", r->protocol, eval_outcome_size(o, size, sizeof size),
                sm_precision_names[o->precision], sm_human_seconds(o->seconds, time, sizeof time));
    if (bad[0] + bad[1] > 0)
      sm_cli_note(o->cli, "left out, because they could not be read: %lld training and %lld test pictures",
                  (long long)bad[0], (long long)bad[1]);
    eval_outcome_print_figures(r);
    return SM_EXIT_OK;
  }
  sm_json j = {0};
  eval_outcome_result_json(o, &j);
  return sm_cli_json(&j);
}

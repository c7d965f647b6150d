/* framework/train/record.c — what a session writes down: metric and timing records, warnings, evaluations.
 *
 * metrics.jsonl holds only what recipe and data determine; times and memory go to timing.jsonl. */
#include <string.h>
#include <unistd.h>

#include "monitor.h"
#include "session.h"

/* ---- evaluation ---------------------------------------------------------------------------------------- */

static void record_evaluation_progress(void *ctx, const char *what, double done) {
  sm_session_tell(ctx, (sm_train_event){.kind = SM_EVENT_EVAL_PART, .text = what, .done = done});
}

sm_status sm_train_network(const sm_recipe *r, const sm_train_config *c, sm_trainable *t, const char *run,
                           sm_network **network, sm_error *err) {
  const int which = sm_trainable_evaluated(t);
  sm_network_parts parts = {.name = r->backbone.plugin.plugin->name,
                            .backbone = c->backbone.ops,
                            .self = c->backbone.self,
                            .params = {t->set[which], SM_BACKBONE_PREFIX},
                            .head = sm_distil_head(t, which, SM_SITE_VIEW),
                            .height = c->global_height,
                            .width = c->global_width,
                            .filter = r->views.global_first.filter,
                            .bf16 = r->train.precision == SM_PRECISION_BF16,
                            .net = which == SM_SET_TEACHER ? SM_NET_TEACHER : SM_NET_STUDENT,
                            .recipe = r,
                            .run = run};
  memcpy(parts.mean, r->views.global_first.mean, sizeof parts.mean);
  memcpy(parts.std, r->views.global_first.std, sizeof parts.std);
  return sm_network_wrap(&parts, network, err);
}

sm_status sm_session_evaluator(sm_session *s, sm_error *err) {
  const sm_recipe *r = s->recipe;
  if (!r->evaluations) return SM_OK;
  sm_status status = sm_train_network(r, &s->config, s->trainable, s->folder.path, &s->network, err);
  if (status) return status;
  sm_evaluator_config c = sm_evaluator_config_of(s->network, s->pool);
  c.train = s->train, c.test = s->test;
  c.progress = record_evaluation_progress, c.progress_ctx = s;
  c.stop = sm_signals_stop;
  c.ranks = s->options->ranks;
  sm_evaluations_want(&c, r);
  return sm_evaluator_new(&c, &s->evaluator, err);
}

sm_status sm_train_forecast(const sm_recipe *r, const sm_recipe *asked, const sm_train_config *c, sm_trainable *t,
                            sm_dataset train, sm_dataset test, int ranks, sm_eval_forecast *f, sm_error *err) {
  sm_network *network = NULL;
  *f = (sm_eval_forecast){0};
  if (!asked->evaluations) return SM_OK;
  sm_status status = sm_train_network(r, c, t, NULL, &network, err);
  if (status) return status;
  sm_evaluator_config e = sm_evaluator_config_of(network, c->pool);
  e.train = train, e.test = test;
  sm_evaluations_want(&e, asked);
  status = sm_evaluations_forecast(asked, &e, ranks, f, err);
  sm_network_close(network);
  return status;
}

/* A full disk does not end the run here: the log keeps the record and writes it later, and whether that
 * worked is what the next save tells. */
static sm_status record_append(sm_jsonl *log, sm_json *j, sm_error *err) {
  sm_error why = {0};
  sm_status status = sm_jsonl_append(log, j, &why);
  if (status == SM_EIO) status = SM_OK;
  if (status && err) *err = why;
  sm_json_free(j);
  return status;
}

static sm_status record_evaluation(sm_session *s, const char *name, const sm_eval_result *result,
                                   sm_error *err) {
  sm_json j = {0};
  sm_json_begin(&j);
  sm_json_int(&j, "step", s->time.step);
  sm_json_double(&j, "epoch", (double)s->time.step / (double)s->time.steps_per_epoch);
  sm_json_string(&j, "eval", name);
  for (int i = 0; i < result->n; i++) sm_json_double(&j, result->figure[i].name, result->figure[i].value);
  sm_intervals_json(result, &j);
  sm_units_json(result, &j);
  sm_json_string(&j, "protocol", result->protocol);
  sm_status status = record_append(s->folder.metrics, &j, err);
  for (int i = 0; i < result->n; i++) {
    char tag[128];
    snprintf(tag, sizeof tag, "%s/%s", name, result->figure[i].name);
    sm_tb_scalar(s->folder.events, tag, s->time.step, result->figure[i].value);
  }
  return status;
}

static sm_status record_evaluate_all(sm_session *s, sm_error *err) {
  const sm_recipe *r = s->recipe;
  if (s->evaluator) sm_evaluator_reset(s->evaluator);
  for (int i = 0; i < r->evaluations; i++) {
    sm_eval_result result = {0};
    const sm_slot *slot = &r->evaluate[i];
    sm_status status = sm_evaluator_run(s->evaluator, slot->plugin.plugin->ops, slot->plugin.self,
                                        (sm_blamed[1]){sm_slot_blamed(slot)}, &result, err);
    if (!status) status = record_evaluation(s, slot->instance, &result, err);
    if (status) return status;
    for (int k = 0; k < result.n && !strcmp(slot->plugin.plugin->name, "knn"); k++)
      if (!strncmp(result.figure[k].name, "top1", 4)) s->summary->last_top1 = result.figure[k].value;
    sm_session_tell(s, (sm_train_event){.kind = SM_EVENT_EVAL, .text = slot->instance, .result = &result});
  }
  if (s->evaluator) sm_evaluator_reset(s->evaluator); /* features are large and stale with the next step */
  return SM_OK;
}

/* A signal or an error in the midst leaves the evaluations of this step to the next session, which begins
 * with them; the log is cut to where it was before, so that its bytes come out the same. */
sm_status sm_session_evaluate(sm_session *s, bool *stop, sm_error *err) {
  s->before_evaluation = sm_jsonl_length(s->folder.metrics);
  sm_status status = record_evaluate_all(s, err);
  s->state.pending_evaluation = status != SM_OK;
  if (status != SM_EINTERRUPTED) return status;
  *stop = true;
  return SM_OK;
}

/* ---- records ------------------------------------------------------------------------------------------- */

/* By name: a step without masked patches has no entropies of them. -1: there are too many. */
static int record_window_place(sm_run_state *w, const sm_metric *m) {
  for (int i = 0; i < w->window_metrics; i++)
    if (!strcmp(w->window[i].name, m->name)) return i;
  if (w->window_metrics == SM_METRICS_MAX) return -1;
  w->window[w->window_metrics] = *m;
  w->window[w->window_metrics].value = w->window_count[w->window_metrics] = 0;
  return w->window_metrics++;
}

void sm_session_count(sm_run_state *w, const sm_step_result *r) {
  if (!w->window_steps) w->window_metrics = 0;
  for (int i = 0; i < r->n; i++) {
    int at = record_window_place(w, &r->metric[i]);
    if (at < 0) continue;
    if (!r->metric[i].mean) w->window[at].value = w->window_count[at] = 0;
    w->window[at].value += r->metric[i].value;
    w->window_count[at]++;
  }
  w->window_steps++;
}

int64_t sm_resident_bytes(void) {
  FILE *f = fopen("/proc/self/statm", "r");
  long all = 0, resident = 0;
  if (f && fscanf(f, "%ld %ld", &all, &resident) != 2) resident = 0;
  if (f) fclose(f);
  return (int64_t)resident * sysconf(_SC_PAGESIZE);
}

static sm_status record_timing(sm_session *s, sm_error *err) {
  double now = sm_now(), seconds = now - s->record_start;
  sm_loader_stats loader;
  sm_loader_stats_get(s->loader, &loader);
  sm_json j = {0};
  sm_json_begin(&j);
  sm_json_int(&j, "step", s->time.step);
  sm_json_double(&j, "images_per_s", seconds > 0 ? (double)s->record_pictures / seconds : 0);
  sm_json_double(&j, "seconds", now - s->started);
  sm_json_int(&j, "rss", sm_resident_bytes());
  sm_json_double(&j, "loader_wait", loader.wait_seconds);
  if (s->options->ranks) sm_json_double(&j, "rank_wait", s->waited);
  sm_status status = record_append(s->folder.timing, &j, err);
  s->record_start = now;
  s->record_pictures = 0;
  return status;
}

static sm_status record_warning(sm_session *s, const char *text, sm_error *err) {
  sm_json j = {0};
  sm_json_begin(&j);
  sm_json_int(&j, "step", s->time.step);
  sm_json_string(&j, "warning", text);
  sm_status status = record_append(s->folder.metrics, &j, err);
  sm_session_warn(s, text);
  return status;
}

static sm_status record_watch(sm_session *s, sm_error *err) {
  const char *names[SM_SLOTS_MAX];
  double dim[SM_SLOTS_MAX];
  for (int i = 0; i < s->config.losses; i++) {
    names[i] = s->config.loss[i].slot.name;
    dim[i] = sm_distil_loss_dim(s->trainable, i);
  }
  char text[SM_MONITOR_WARNINGS][SM_MONITOR_TEXT];
  int n = sm_monitor(s->state.monitor, s->state.window, s->state.window_metrics, names, dim, s->config.losses,
                     text);
  sm_status status = SM_OK;
  for (int i = 0; !status && i < n; i++) status = record_warning(s, text[i], err);
  return status;
}

/* So that others can watch the run: resume cuts what is behind the last checkpoint. A full disk is met by
 * save(). A folder that is gone needs no more training. */
static sm_status record_show_logs(sm_session *s, sm_error *err) {
  double now = sm_now();
  if (now - s->flushed < 1) return SM_OK;
  s->flushed = now;
  sm_tb_flush(s->folder.events, NULL);
  sm_jsonl_flush(s->folder.timing, NULL, NULL);
  sm_jsonl_flush(s->folder.metrics, NULL, NULL);
  return sm_folder_there(&s->folder, err);
}

sm_status sm_session_record(sm_session *s, sm_error *err) {
  sm_run_state *w = &s->state;
  for (int i = 0; i < w->window_metrics; i++)
    if (w->window[i].mean) w->window[i].value /= w->window_count[i];
  sm_json j = {0};
  sm_json_begin(&j);
  sm_json_int(&j, "step", s->time.step);
  sm_json_double(&j, "epoch", (double)s->time.step / (double)s->time.steps_per_epoch);
  for (int i = 0; i < w->window_metrics; i++) {
    sm_json_double(&j, w->window[i].name, w->window[i].value);
    char tag[80];
    snprintf(tag, sizeof tag, "train/%s", w->window[i].name);
    sm_tb_scalar(s->folder.events, tag, s->time.step, w->window[i].value);
  }
  sm_status status = record_append(s->folder.metrics, &j, err);
  if (!status) status = record_timing(s, err);
  if (!status) status = record_watch(s, err);
  if (!status) status = record_show_logs(s, err);
  if (!status)
    sm_session_tell(s, (sm_train_event){.kind = SM_EVENT_RECORD,
                                        .metric = w->window,
                                        .metrics = w->window_metrics,
                                        .loss = w->window[0].value});
  w->window_steps = 0;
  return status;
}

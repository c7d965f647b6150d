/* framework/train/loop.c — training a recipe: open everything, step by step to the end, leave everything
 * tidy.
 *
 * The loop knows batches, steps, records, evaluations and checkpoints; what a step computes is the
 * objective's affair (ssl.h), what a run leaves behind folder.h's. A checkpoint is the last act of a step.
 * Owns all it opens. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <smalti/report.h>

#include "framework/eval/eval.h"
#include "folder.h"
#include "monitor.h"
#include "train.h"

typedef struct session {
  sm_recipe *recipe;
  const sm_train_options *options;
  sm_train_summary *summary;
  sm_run_folder folder;
  sm_pool *pool;
  sm_ssl *ssl;
  sm_ssl_config config;
  sm_loader *loader;
  sm_evaluator *evaluator;
  sm_dataset train, test;
  sm_run_state state;
  sm_time time; /* of the next step */
  int64_t steps;
  double started, busy; /* session start; seconds in steps */
  double record_start;  /* timing window */
  double flushed;       /* when the logs last went to the disk */
  int64_t record_pictures;
  bool checkpoint_failed;
  int64_t before_evaluation; /* bytes of metrics.jsonl */
} session;

static void tell(session *s, sm_train_event e) {
  e.folder = s->folder.path;
  e.steps = s->steps;
  e.epochs = s->time.epochs;
  if (!e.step) e.step = s->time.step;
  e.epoch = s->time.steps_per_epoch ? (e.step > 0 ? e.step - 1 : 0) / s->time.steps_per_epoch : 0;
  if (s->options->event) s->options->event(s->options->ctx, &e);
}
static void warn(session *s, const char *text) {
  tell(s, (sm_train_event){.kind = SM_EVENT_WARNING, .text = text});
}

/* ---- opening ------------------------------------------------------------------------------------------- */

sm_status sm_create_instances(sm_recipe *r, sm_error *err) {
  sm_slot *one[] = {&r->data.train, &r->data.test, &r->backbone, &r->masker};
  struct {
    sm_slot *slot;
    int n;
  } many[] = {{r->head, r->heads},
              {r->tokenizer, r->tokenizers},
              {r->loss, r->losses},
              {r->evaluate, r->evaluations}};
  sm_status status = SM_OK;
  for (size_t i = 0; !status && i < sizeof one / sizeof *one; i++)
    if (one[i]->plugin.plugin) status = sm_instance_create(&one[i]->plugin, err);
  for (size_t i = 0; !status && i < sizeof many / sizeof *many; i++)
    for (int k = 0; !status && k < many[i].n; k++) status = sm_instance_create(&many[i].slot[k].plugin, err);
  return status;
}

static sm_status open_dataset(sm_slot *slot, sm_dataset *d, sm_error *err) {
  *d = (sm_dataset){0};
  if (!slot->plugin.plugin) return SM_OK;
  *d = (sm_dataset){slot->plugin.plugin->ops, slot->plugin.self};
  return d->ops->open(d->self, err);
}

void sm_views_of(const sm_recipe *r, sm_views *v) {
  *v = (sm_views){.globals = (int)r->views.globals,
                  .locals = (int)r->views.locals,
                  .global_first = r->views.global_first,
                  .global_other = r->views.global_other,
                  .local = r->views.local};
}

static sm_status open_loader(session *s, sm_error *err) {
  const sm_recipe *r = s->recipe;
  const sm_backbone_spec *b = sm_ssl_backbone(s->ssl);
  int grid = (int)(r->views.global_size / b->patch), threads = sm_pool_threads(s->pool);
  sm_loader_config c = {.dataset = s->train,
                        .seed = (uint64_t)r->train.seed,
                        .batch_size = (int)r->train.batch_size,
                        .steps_per_epoch = s->time.steps_per_epoch,
                        .last_step = s->steps,
                        .workers = r->data.workers > 0 ? (int)r->data.workers : threads,
                        .prefetch = (int)r->data.prefetch,
                        .limits = {.max_pixels = r->data.max_pixels},
                        .max_bad = r->data.max_bad,
                        .n_known_bad = s->state.n_bad,
                        .known_bad = s->state.bad};
  sm_views_of(r, &c.views);
  c.masking = (sm_masking){r->masker.plugin.plugin ? r->masker.plugin.plugin->ops : NULL,
                           r->masker.plugin.self, grid, grid};
  return sm_loader_new(&c, s->state.step, &s->loader, err);
}

static sm_status open_evaluator(session *s, sm_error *err);

static sm_status lengths(session *s, sm_error *err) {
  const sm_recipe *r = s->recipe;
  int64_t pictures = s->train.ops->count(s->train.self), per_epoch = r->train.steps_per_epoch;
  if (!per_epoch) per_epoch = pictures / r->train.batch_size;
  if (per_epoch < 1) {
    sm_fail(err, SM_EINVAL, "train.batch_size is %lld, but the data set has only %lld pictures",
            (long long)r->train.batch_size, (long long)pictures);
    sm_fail_at(err, r->data.train.file, r->data.train.line, r->data.train.col);
    return sm_hint(
        err, "lower train.batch_size, or set train.steps_per_epoch to draw pictures more than once an epoch");
  }
  s->time = (sm_time){.steps_per_epoch = per_epoch, .epochs = r->train.epochs};
  s->steps = per_epoch * r->train.epochs;
  return SM_OK;
}

static sm_status check_state(session *s, sm_error *err) {
  uint64_t hash = s->train.ops->hash(s->train.self);
  const char *isa = sm_graph_isa(sm_ssl_graph(s->ssl)), *core = sm_blas_core();
  if (s->state.step) {
    if (s->state.data_hash != hash) {
      sm_fail(err, SM_EINVAL, "the data set has changed since step %lld of this run was saved",
              (long long)s->state.step);
      sm_fail_at(err, s->folder.path, 0, 0);
      return sm_hint(err, "restore the pictures, or start a new run under another name: `name=…`");
    }
    if (strcmp(s->state.isa, isa) || strcmp(s->state.core, core)) {
      char text[256];
      snprintf(text, sizeof text,
               "the run was made with %s kernels and BLAS core %s, this processor uses %s and %s: it goes "
               "on, but not to the same bits",
               s->state.isa, s->state.core, isa, core);
      warn(s, text);
    }
  }
  s->state.data_hash = hash;
  s->state.recipe_hash = sm_recipe_hash(s->recipe);
  snprintf(s->state.isa, sizeof s->state.isa, "%s", isa);
  snprintf(s->state.core, sizeof s->state.core, "%s", core);
  return SM_OK;
}

static void write_preview(session *s) {
  char path[2200], title[256];
  snprintf(path, sizeof path, "%s/preview.png", s->folder.path);
  if (access(path, F_OK) == 0) return;
  const sm_recipe *r = s->recipe;
  int grid = (int)(r->views.global_size / sm_ssl_backbone(s->ssl)->patch);
  sm_preview_config c = {.dataset = s->train,
                         .seed = (uint64_t)r->train.seed,
                         .pictures = 6,
                         .limits = {.max_pixels = r->data.max_pixels},
                         .title = title};
  sm_views_of(r, &c.views);
  c.masking = (sm_masking){r->masker.plugin.plugin ? r->masker.plugin.plugin->ops : NULL,
                           r->masker.plugin.self, grid, grid};
  snprintf(title, sizeof title, "%s", r->name);
  sm_error e = {0};
  char text[1024];
  if (sm_preview_write(&c, path, &e)) {
    char line[1200];
    snprintf(line, sizeof line, "no preview: %s", sm_error_text(&e, text, sizeof text));
    warn(s, line);
  }
}

static size_t planned_bytes(const session *s) {
  sm_plan_report plan;
  sm_graph_report(sm_ssl_graph(s->ssl), &plan);
  size_t bytes = plan.inputs + plan.transient + plan.worker;
  for (int i = 0; i < SM_SSL_SETS; i++) bytes += sm_set_bytes(sm_ssl_set(s->ssl, i));
  return bytes;
}

/* More memory than there is: the system would hand it out, then swap or kill. Say so while there is time. */
static sm_status allocate(session *s, sm_error *err) {
  double needed = (double)planned_bytes(s),
         all = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
  char a[32], b[32], text[256];
  if (all > 0 && needed > all) {
    snprintf(text, sizeof text,
             "a step needs %s, this machine has %s: lower train.micro_batch, see `smalti plan`",
             sm_human_bytes(needed, a, sizeof a), sm_human_bytes(all, b, sizeof b));
    warn(s, text);
  }
  sm_status status = sm_ssl_allocate(s->ssl, err);
  return status == SM_ENOMEM
             ? sm_hint(err,
                       "lower train.micro_batch, or train a smaller network; `smalti plan` shows "
                       "what takes the memory")
             : status;
}

static sm_status open_session(session *s, sm_error *err) {
  const sm_recipe *r = s->recipe;
  int threads = s->options->threads ? s->options->threads
                : r->train.threads  ? (int)r->train.threads
                                    : sm_cpu_count();
  sm_status status = sm_folder_open(&s->folder, s->options->runs, r, s->options->registry, err);
  snprintf(s->summary->folder, sizeof s->summary->folder, "%s", s->folder.path);
  if (!status) status = sm_create_instances(s->recipe, err);
  if (!status) status = open_dataset(&s->recipe->data.train, &s->train, err);
  if (!status) status = open_dataset(&s->recipe->data.test, &s->test, err);
  if (!status) status = lengths(s, err);
  if (!status && !(s->pool = sm_pool_new(threads, err))) status = SM_ENOMEM;
  if (!status) status = sm_ssl_configure(r, s->pool, s->time.steps_per_epoch, &s->config, err);
  if (!status) status = sm_ssl_new(&s->config, &s->ssl, err);
  if (!status) status = allocate(s, err);
  bool found;
  if (!status) status = sm_checkpoint_load_newest(s->folder.checkpoints, s->ssl, &s->state, &found, err);
  if (!status && !found && r->train.init) status = sm_start_from(r->train.init, s->ssl, err);
  if (!status) status = check_state(s, err);
  if (status) return status;
  s->time.step = s->summary->first_step = s->state.step;
  s->summary->steps = s->steps;
  s->summary->already = s->state.finished;
  s->summary->bad_pictures = s->state.n_bad;
  if (s->state.finished) return SM_OK;
  status = sm_folder_describe(&s->folder, r, s->state.isa, threads, err);
  if (!status) status = sm_folder_logs(&s->folder, &s->state, err);
  if (!status) status = open_loader(s, err);
  if (!status) status = open_evaluator(s, err);
  if (!status) write_preview(s);
  return status;
}

static void close_session(session *s) {
  sm_loader_free(s->loader);
  sm_evaluator_free(s->evaluator);
  sm_ssl_free(s->ssl);
  sm_pool_free(s->pool);
  sm_folder_close(&s->folder);
  sm_run_state_free(&s->state);
}

/* ---- evaluation ---------------------------------------------------------------------------------------- */

static void evaluation_progress(void *ctx, const char *what, double done) {
  tell(ctx, (sm_train_event){.kind = SM_EVENT_EVAL_PART, .text = what, .done = done});
}

static sm_status open_evaluator(session *s, sm_error *err) {
  const sm_recipe *r = s->recipe;
  if (!r->evaluations) return SM_OK;
  sm_set *set = sm_ssl_set(s->ssl, s->config.tokenizer_head[0] >= 0 ? SM_SSL_TEACHER : SM_SSL_STUDENT);
  sm_evaluator_config c = {.backbone = s->config.backbone.ops,
                           .backbone_self = s->config.backbone.self,
                           .set = set,
                           .size = (int)r->views.global_size,
                           .filter = r->views.global_first.filter,
                           .train = s->train,
                           .test = s->test,
                           .limits = {.max_pixels = r->data.max_pixels},
                           .workers = sm_pool_threads(s->pool),
                           .pool = s->pool,
                           .progress = evaluation_progress,
                           .progress_ctx = s,
                           .stop = sm_signals_stop};
  memcpy(c.mean, r->views.global_first.mean, sizeof c.mean);
  memcpy(c.std, r->views.global_first.std, sizeof c.std);
  return sm_evaluator_new(&c, &s->evaluator, err);
}

/* A full disk does not end the run here: the log keeps the record and writes it later, and whether that
 * worked is what the next save tells. */
static sm_status append(sm_jsonl *log, sm_json *j, sm_error *err) {
  sm_error why = {0};
  sm_status status = sm_jsonl_append(log, j, &why);
  if (status == SM_EIO) status = SM_OK;
  if (status && err) *err = why;
  sm_json_free(j);
  return status;
}

static sm_status record_evaluation(session *s, const char *name, const sm_eval_result *result,
                                   sm_error *err) {
  sm_json j = {0};
  sm_json_begin(&j);
  sm_json_int(&j, "step", s->time.step);
  sm_json_double(&j, "epoch", (double)s->time.step / (double)s->time.steps_per_epoch);
  sm_json_string(&j, "eval", name);
  for (int i = 0; i < result->n; i++) sm_json_double(&j, result->figure[i].name, result->figure[i].value);
  sm_json_string(&j, "protocol", result->protocol);
  sm_status status = append(s->folder.metrics, &j, err);
  for (int i = 0; i < result->n; i++) {
    char tag[128];
    snprintf(tag, sizeof tag, "%s/%s", name, result->figure[i].name);
    sm_tb_scalar(s->folder.events, tag, s->time.step, result->figure[i].value);
  }
  return status;
}

static sm_status evaluate_all(session *s, sm_error *err) {
  const sm_recipe *r = s->recipe;
  if (s->evaluator) sm_evaluator_reset(s->evaluator);
  for (int i = 0; i < r->evaluations; i++) {
    sm_eval_result result = {.size = sizeof result};
    const sm_slot *slot = &r->evaluate[i];
    sm_status status =
        sm_evaluator_run(s->evaluator, slot->plugin.plugin->ops, slot->plugin.self, &result, err);
    if (!status) status = record_evaluation(s, slot->instance, &result, err);
    if (status) return status;
    for (int k = 0; k < result.n; k++)
      if (!strncmp(result.figure[k].name, "top1", 4)) s->summary->last_top1 = result.figure[k].value;
    tell(s, (sm_train_event){.kind = SM_EVENT_EVAL, .text = slot->instance, .result = &result});
  }
  if (s->evaluator) sm_evaluator_reset(s->evaluator); /* features are large and stale with the next step */
  return SM_OK;
}

/* A signal in the midst leaves the evaluations of this step to the next session, which begins with them; the
 * log is cut to where it was before, so that its bytes come out the same. */
static sm_status evaluate(session *s, bool *stop, sm_error *err) {
  s->before_evaluation = sm_jsonl_length(s->folder.metrics);
  sm_status status = evaluate_all(s, err);
  s->state.pending_evaluation = status == SM_EINTERRUPTED;
  if (status != SM_EINTERRUPTED) return status;
  *stop = true;
  return SM_OK;
}

/* ---- records ------------------------------------------------------------------------------------------- */

/* By name: a step without masked patches has no entropies of them. -1: there are too many. */
static int window_place(sm_run_state *w, const sm_metric *m) {
  for (int i = 0; i < w->window_metrics; i++)
    if (!strcmp(w->window[i].name, m->name)) return i;
  if (w->window_metrics == SM_METRICS_MAX) return -1;
  w->window[w->window_metrics] = *m;
  w->window[w->window_metrics].value = w->window_count[w->window_metrics] = 0;
  return w->window_metrics++;
}

static void add_to_window(sm_run_state *w, const sm_step_result *r) {
  if (!w->window_steps) w->window_metrics = 0;
  for (int i = 0; i < r->n; i++) {
    int at = window_place(w, &r->metric[i]);
    if (at < 0) continue;
    if (!r->metric[i].mean) w->window[at].value = w->window_count[at] = 0;
    w->window[at].value += r->metric[i].value;
    w->window_count[at]++;
  }
  w->window_steps++;
}

static int64_t resident_bytes(void) {
  FILE *f = fopen("/proc/self/statm", "r");
  long all = 0, resident = 0;
  if (f && fscanf(f, "%ld %ld", &all, &resident) != 2) resident = 0;
  if (f) fclose(f);
  return (int64_t)resident * sysconf(_SC_PAGESIZE);
}

static sm_status record_timing(session *s, sm_error *err) {
  double now = sm_now(), seconds = now - s->record_start;
  sm_loader_stats loader;
  sm_loader_stats_get(s->loader, &loader);
  sm_json j = {0};
  sm_json_begin(&j);
  sm_json_int(&j, "step", s->time.step);
  sm_json_double(&j, "images_per_s", seconds > 0 ? (double)s->record_pictures / seconds : 0);
  sm_json_double(&j, "seconds", now - s->started);
  sm_json_int(&j, "rss", resident_bytes());
  sm_json_double(&j, "loader_wait", loader.wait_seconds);
  sm_status status = append(s->folder.timing, &j, err);
  s->record_start = now;
  s->record_pictures = 0;
  return status;
}

static sm_status record_warning(session *s, const char *text, sm_error *err) {
  sm_json j = {0};
  sm_json_begin(&j);
  sm_json_int(&j, "step", s->time.step);
  sm_json_string(&j, "warning", text);
  sm_status status = append(s->folder.metrics, &j, err);
  warn(s, text);
  return status;
}

static sm_status watch(session *s, sm_error *err) {
  const char *names[SM_SLOTS_MAX];
  double dim[SM_SLOTS_MAX];
  for (int i = 0; i < s->config.losses; i++) {
    names[i] = s->config.loss[i].slot.name;
    dim[i] = sm_ssl_loss_dim(s->ssl, i);
  }
  char text[SM_MONITOR_WARNINGS][SM_MONITOR_TEXT];
  int n = sm_monitor(s->state.monitor, s->state.window, s->state.window_metrics, names, dim, s->config.losses,
                     text);
  sm_status status = SM_OK;
  for (int i = 0; !status && i < n; i++) status = record_warning(s, text[i], err);
  return status;
}

/* So that others can watch the run: resume cuts what is behind the last checkpoint. A full disk is met by
 * save(). */
static void show_logs(session *s) {
  double now = sm_now();
  if (now - s->flushed < 1) return;
  s->flushed = now;
  sm_tb_flush(s->folder.events, NULL);
  sm_jsonl_flush(s->folder.timing, NULL, NULL);
  sm_jsonl_flush(s->folder.metrics, NULL, NULL);
}

static sm_status record(session *s, sm_error *err) {
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
  sm_status status = append(s->folder.metrics, &j, err);
  if (!status) status = record_timing(s, err);
  if (!status) status = watch(s, err);
  show_logs(s);
  if (!status)
    tell(s, (sm_train_event){.kind = SM_EVENT_RECORD,
                             .metric = w->window,
                             .metrics = w->window_metrics,
                             .loss = w->window[0].value});
  w->window_steps = 0;
  return status;
}

/* ---- checkpoints --------------------------------------------------------------------------------------- */

/* One line a picture whatever its name holds: control characters and backslashes as \\xHH. */
static void add_escaped(sm_text *text, const char *name) {
  for (const unsigned char *c = (const unsigned char *)name; *c; c++)
    if (*c < 0x20 || *c == '\\' || *c == 0x7f) sm_text_add(text, "\\x%02x", *c);
    else sm_text_bytes(text, c, 1);
}

/* What earlier sessions wrote about the pictures they found bad; the loader no longer knows their reasons.
 * Returns the number of lines taken over: all or none. */
static int64_t earlier_lines(const char *path, int64_t wanted, sm_text *text) {
  char *old = NULL, *end;
  size_t bytes;
  if (!wanted || sm_file_get(path, (size_t)1 << 30, &old, &bytes, NULL)) return 0;
  int64_t lines = 0;
  for (end = old; lines < wanted && (end = strchr(end, '\n')); end++) lines++;
  if (lines == wanted) sm_text_bytes(text, old, (size_t)(end - old));
  sm_free(old);
  return lines == wanted ? wanted : 0;
}

static sm_status write_bad_pictures(session *s, const sm_bad *bad, int64_t n, sm_error *err) {
  char path[2200];
  sm_text text = {0};
  snprintf(path, sizeof path, "%s/bad-pictures.txt", s->folder.path);
  for (int64_t i = earlier_lines(path, s->state.n_bad, &text); i < n; i++) {
    add_escaped(&text, bad[i].name ? bad[i].name : "?");
    sm_text_add(&text, "\t%s\n", bad[i].reason);
  }
  sm_status status = text.failed ? sm_fail(err, SM_ENOMEM, "no memory for the list of bad pictures")
                                 : sm_file_put(path, text.s, text.len, err);
  sm_text_free(&text);
  return status;
}

static sm_status take_bad_list(session *s, sm_error *err) {
  int64_t n;
  const sm_bad *bad = sm_loader_bad(s->loader, &n);
  sm_run_state *state = &s->state;
  if (n == state->n_bad) return SM_OK;
  sm_status status = write_bad_pictures(s, bad, n, err);
  if (status) return status;
  int64_t *list = sm_malloc((size_t)n * sizeof *list);
  if (!list) return sm_fail(err, SM_ENOMEM, "no memory for the list of bad pictures");
  for (int64_t i = 0; i < n; i++) list[i] = bad[i].index;
  sm_free(state->bad);
  state->bad = list;
  state->n_bad = s->summary->bad_pictures = n;
  return SM_OK;
}

/* Logs first, then the checkpoint that records their length. A failed save is tried again twice, then
 * training goes on: the earlier checkpoints are whole. */
static sm_status save(session *s, bool must, sm_error *err) {
  s->state.step = s->time.step;
  s->state.finished = s->time.step == s->steps && !s->state.pending_evaluation;
  sm_error why = {0};
  sm_status status = SM_OK;
  for (int attempt = 0; attempt < 3; attempt++) {
    if (attempt) nanosleep(&(struct timespec){.tv_nsec = 200000000L << attempt}, NULL);
    status = take_bad_list(s, &why);
    if (!status) status = sm_jsonl_flush(s->folder.timing, NULL, &why);
    if (!status) status = sm_jsonl_flush(s->folder.metrics, &s->state.metrics_bytes, &why);
    if (s->state.pending_evaluation) s->state.metrics_bytes = s->before_evaluation;
    if (!status)
      status = sm_checkpoint_save(s->folder.checkpoints, s->ssl, &s->state,
                                  (int)s->recipe->train.keep_checkpoints, &why);
    if (!status) break;
  }
  sm_tb_flush(s->folder.events, NULL);
  s->checkpoint_failed = status != SM_OK;
  if (!status) {
    tell(s, (sm_train_event){.kind = SM_EVENT_CHECKPOINT, .text = s->folder.checkpoints});
    return SM_OK;
  }
  if (must) {
    if (err) *err = why;
    return sm_hint(err, "make room and run the same command again: it goes on from the last good checkpoint");
  }
  char text[1400], line[1600];
  snprintf(line, sizeof line, "checkpoint failed at step %lld: %s; training goes on", (long long)s->time.step,
           sm_error_text(&why, text, sizeof text));
  warn(s, line);
  return SM_OK;
}

sm_status sm_train_fresh_name(sm_recipe *r, const char *runs, sm_arena *arena, sm_error *err) {
  const char *base = r->name;
  for (int i = 2; i < 10000; i++) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", runs, r->name);
    if (access(path, F_OK)) return SM_OK;
    if (!(r->name = sm_arena_printf(arena, "%s-%d", base, i)))
      return sm_fail(err, SM_ENOMEM, "out of memory");
  }
  return sm_fail(err, SM_EINVAL, "there are ten thousand runs called '%s' in '%s'", base, runs);
}

/* ---- the loop ------------------------------------------------------------------------------------------ */

static sm_status one_step(session *s, sm_error *err) {
  double start = sm_now();
  sm_batch *batch;
  sm_status status = sm_loader_next(s->loader, &batch, err);
  if (status) return status;
  sm_step_result result;
  status = sm_ssl_step(s->ssl, batch, &s->time, &result, err);
  s->record_pictures += batch->pictures;
  sm_loader_release(s->loader, batch);
  if (status) return status;
  s->time.step++;
  add_to_window(&s->state, &result);
  s->busy += sm_now() - start;
  double each = s->busy / (double)(s->time.step - s->summary->first_step),
         rate = (double)s->recipe->train.batch_size / each;
  s->summary->images_per_second = rate;
  tell(s, (sm_train_event){.kind = SM_EVENT_STEP,
                           .loss = result.loss,
                           .rate = rate,
                           .eta = each * (double)(s->steps - s->time.step)});
  return SM_OK;
}

static sm_status after_step(session *s, bool *stop, sm_error *err) {
  const sm_train_section *t = &s->recipe->train;
  int64_t step = s->time.step, epochs_done = step / s->time.steps_per_epoch;
  bool epoch_end = step % s->time.steps_per_epoch == 0, last = step == s->steps;
  *stop = !last && (sm_signals_stop() ||
                    (s->options->stop_after && step - s->summary->first_step >= s->options->stop_after));
  sm_status status = SM_OK;
  if (step % t->log_every == 0 || last) status = record(s, err);
  if (!status && (last || (epoch_end && t->evaluate_every && epochs_done % t->evaluate_every == 0)))
    status = evaluate(s, stop, err);
  bool due = t->checkpoint_every ? step % t->checkpoint_every == 0 : epoch_end;
  if (!status && (due || last || *stop)) status = save(s, last || *stop, err);
  return status;
}

static sm_status run(session *s, sm_error *err) {
  tell(s, (sm_train_event){.kind = SM_EVENT_START,
                           .parameters = sm_set_parameters(sm_ssl_set(s->ssl, SM_SSL_STUDENT)),
                           .bytes = planned_bytes(s)});
  s->started = s->record_start = sm_now();
  sm_status status = SM_OK;
  bool stop = false;
  bool pending = s->state.pending_evaluation;
  if (pending || (!s->time.step && s->recipe->train.evaluate_every)) status = evaluate(s, &stop, err);
  if (!status && pending && (stop || s->time.step == s->steps)) status = save(s, true, err);
  while (!status && !stop && s->time.step < s->steps) {
    status = one_step(s, err);
    if (!status) status = after_step(s, &stop, err);
  }
  s->summary->seconds = sm_now() - s->started;
  if (!status && stop) {
    sm_fail(err, SM_EINTERRUPTED, "stopped at step %lld of %lld; everything is saved",
            (long long)s->time.step, (long long)s->steps);
    sm_fail_at(err, s->folder.path, 0, 0);
    status = sm_hint(err, "run the same command again to go on");
  }
  return status;
}

static void write_report(session *s) {
  sm_error e = {0};
  char text[1024], line[1200];
  sm_jsonl_flush(s->folder.metrics, NULL, NULL);
  sm_jsonl_flush(s->folder.timing, NULL, NULL);
  if (sm_report_run(s->folder.path, &e) == SM_OK) return;
  snprintf(line, sizeof line, "no report: %s", sm_error_text(&e, text, sizeof text));
  warn(s, line);
}

sm_status sm_train(sm_recipe *recipe, const sm_train_options *options, sm_train_summary *summary,
                   sm_error *err) {
  session s = {.recipe = recipe, .options = options, .summary = summary};
  s.folder.lock = -1;
  memset(summary, 0, sizeof *summary);
  summary->last_top1 = NAN;
  sm_status status = open_session(&s, err);
  if (!status && !summary->already) {
    status = run(&s, err);
    if (status == SM_OK || status == SM_EINTERRUPTED) write_report(&s);
  }
  summary->step = s.time.step;
  summary->finished = !status;
  close_session(&s);
  return status;
}

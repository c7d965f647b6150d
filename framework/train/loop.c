/* framework/train/loop.c — training a recipe: step by step to the end, leaving everything tidy.
 *
 * The loop knows batches, steps, records, evaluations and checkpoints; what a step computes is the
 * objective's affair (ssl.h), what a run leaves behind folder.h's. A checkpoint is the last act of a step. */
#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "framework/report/report.h"

#include "share.h"

/* ---- checkpoints --------------------------------------------------------------------------------------- */

/* One line per picture whatever its name holds: control characters and backslashes as \\xHH. */
static void loop_add_escaped(sm_text *text, const char *name) {
  for (const unsigned char *c = (const unsigned char *)name; *c; c++)
    if (*c < 0x20 || *c == '\\' || *c == 0x7f) sm_text_add(text, "\\x%02x", *c);
    else sm_text_bytes(text, c, 1);
}

/* What earlier sessions wrote about the pictures they found bad; the loader no longer knows their reasons.
 * *taken: the number of lines taken over, all or none. A file that is there and cannot be read is left alone. */
static sm_status loop_earlier_lines(const char *path, int64_t wanted, sm_text *text, int64_t *taken, sm_error *err) {
  char *old = NULL, *end;
  size_t bytes;
  int64_t lines = 0;
  *taken = 0;
  sm_status status = wanted ? sm_file_get(path, (size_t)1 << 30, &old, &bytes, err) : SM_ENOTFOUND;
  if (status) return status == SM_ENOTFOUND ? SM_OK : status;
  for (end = old; lines < wanted && (end = strchr(end, '\n')); end++) lines++;
  if (lines == wanted) sm_text_bytes(text, old, (size_t)(end - old));
  sm_free(old);
  if (lines == wanted) *taken = wanted;
  return SM_OK;
}

static sm_status loop_write_bad_pictures(sm_session *s, const sm_bad *bad, int64_t n, sm_error *err) {
  char path[SM_PATH_ROOM];
  sm_text text = {0};
  sm_path_put(path, "%s/bad-pictures.txt", s->folder.path);
  int64_t taken;
  sm_status status = loop_earlier_lines(path, s->state.n_bad, &text, &taken, err);
  if (status) return status;
  for (int64_t i = taken; i < n; i++) {
    loop_add_escaped(&text, bad[i].name ? bad[i].name : "?");
    sm_text_add(&text, "\t%s\n", bad[i].reason);
  }
  status = text.failed ? sm_fail(err, SM_ENOMEM, "no memory for the list of bad pictures")
                       : sm_file_put(path, text.s, text.len, err);
  sm_text_free(&text);
  return status;
}

/* As it was when the last batch came: one that failed has met more, which may be good the next time. */
static sm_status loop_take_bad_list(sm_session *s, sm_error *err) {
  int64_t n = s->listed_bad, all;
  const sm_bad *bad = sm_loader_bad(s->loader, &all);
  sm_run_state *state = &s->state;
  if (n == state->n_bad) return SM_OK;
  sm_status status = loop_write_bad_pictures(s, bad, n, err);
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
 * training goes on: the earlier checkpoints are whole. Where the run's folder is gone it would be in vain. */
static sm_status loop_save(sm_session *s, bool must, sm_error *err) {
  if (!s->writes) return SM_OK;
  sm_status there = sm_folder_there(&s->folder, err);
  if (there) return there;
  s->state.step = s->time.step;
  s->state.finished = s->time.step == s->steps && !s->state.pending_evaluation;
  sm_error why = {0};
  sm_status status = SM_OK;
  for (int attempt = 0; attempt < 3; attempt++) {
    if (attempt) sm_sleep(0.2 * (1 << attempt));
    status = loop_take_bad_list(s, &why);
    if (!status) status = sm_jsonl_flush(s->folder.timing, NULL, &why);
    if (!status) status = sm_jsonl_flush(s->folder.metrics, &s->state.metrics_bytes, &why);
    if (s->state.pending_evaluation) s->state.metrics_bytes = s->before_evaluation;
    if (!status)
      status = sm_checkpoint_save(s->folder.checkpoints, s->trainable->set, &s->state,
                                  (int)s->recipe->train.keep_checkpoints, &why);
    if (!status) break;
  }
  sm_tb_flush(s->folder.events, NULL);
  s->checkpoint_failed = status;
  if (!status) {
    s->saved = s->time.step;
    sm_folder_saved(&s->folder, s->time.step);
    sm_session_tell(s, (sm_train_event){.kind = SM_EVENT_CHECKPOINT, .text = s->folder.checkpoints});
    return SM_OK;
  }
  if (must) {
    if (err) *err = why;
    return sm_hint(err, "make room and run the same command again: it goes on from the last good checkpoint");
  }
  char text[1400], line[1600];
  snprintf(line, sizeof line, "checkpoint failed at step %lld: %s; training goes on", (long long)s->time.step,
           sm_error_text(&why, text, sizeof text));
  sm_session_warn(s, line);
  return SM_OK;
}

/* What ends the run did not touch the weights (a picture that cannot be read, an evaluation that failed): what
 * is done is saved, and the next session goes on here. The error itself is what is told. */
static sm_status loop_save_before_end(sm_session *s, sm_error *err) {
  const sm_error ending = *err;
  sm_error why = {0};
  char text[1400], line[1600];
  if (s->writes && s->time.step != s->saved && loop_save(s, true, &why)) {
    snprintf(line, sizeof line, "step %lld could not be saved: %s", (long long)s->time.step,
             sm_error_text(&why, text, sizeof text));
    sm_session_warn(s, line);
  } else if (s->time.step) {
    sm_hint(err, "%s%sstep %lld is saved, and the run goes on from there", ending.hint,
            ending.hint[0] ? "; " : "", (long long)s->time.step);
  }
  return ending.code;
}

/* ---- the loop ------------------------------------------------------------------------------------------ */

/* *stop: a signal came while a picture was waited for. */
static sm_status loop_next_batch(sm_session *s, sm_batch **batch, bool *stop, sm_error *err) {
  const sm_status status = sm_loader_next(s->loader, batch, err);
  *stop = status == SM_EINTERRUPTED;
  if (status == SM_ELOST) return status;
  if (*stop) { /* s->saved is rank 0's to know */
    const sm_status saved = s->time.step == s->saved ? SM_OK : loop_save(s, true, err);
    return sm_ranks_agree(s->options->ranks, saved, err);
  }
  return status ? loop_save_before_end(s, err) : SM_OK;
}

static sm_status loop_one_step(sm_session *s, bool *stop, sm_error *err) {
  const double start = sm_now(), waited = sm_ranks_waited(s->options->ranks);
  sm_batch *batch;
  sm_status status = loop_next_batch(s, &batch, stop, err);
  if (status || *stop) return status;
  sm_loader_bad(s->loader, &s->listed_bad);
  sm_step_result result;
  status = sm_step(s->trainable, batch, &s->time, &result, err);
  s->record_pictures += s->recipe->train.batch_size;
  sm_loader_release(s->loader, batch);
  if (status) return status;
  s->time.step++;
  sm_session_count(&s->state, &result);
  s->busy += sm_now() - start;
  s->waited += sm_ranks_waited(s->options->ranks) - waited;
  double each = s->busy / (double)(s->time.step - s->summary->first_step),
         rate = (double)s->recipe->train.batch_size / each;
  s->summary->images_per_second = rate;
  sm_session_tell(s, (sm_train_event){.kind = SM_EVENT_STEP,
                                      .loss = result.loss,
                                      .rate = rate,
                                      .waited = s->waited / s->busy,
                                      .eta = each * (double)(s->steps - s->time.step)});
  return SM_OK;
}

/* What an objective shows of its state; that it cannot does not end the run. */
static void loop_show(sm_session *s) {
  if (!sm_objective_shows(s->trainable)) return;
  sm_error e = {0};
  char text[1024], line[1200];
  const sm_shown shown = {.dataset = s->test.ops ? s->test : s->train,
                              .limits = sm_recipe_limits(s->recipe),
                              .view = &s->recipe->views.global_first,
                              .folder = s->folder.path};
  if (sm_objective_show(s->trainable, &shown, &e) == SM_OK) return;
  snprintf(line, sizeof line, "nothing to show: %s", sm_error_text(&e, text, sizeof text));
  sm_session_warn(s, line);
}

/* What this step is followed by, the same for all ranks. */
typedef struct after {
  bool record, evaluate, show, save, last;
} after;

static after loop_due(const sm_session *s) {
  const sm_train_section *t = &s->recipe->train;
  const int64_t step = s->time.step, epochs_done = step / s->time.steps_per_epoch;
  const bool epoch_end = step % s->time.steps_per_epoch == 0, last = step == s->steps;
  return (after){.record = step % t->log_every == 0 || last,
                 .evaluate = last || (epoch_end && t->evaluate_every && epochs_done % t->evaluate_every == 0),
                 .show = epoch_end,
                 .save = last || (t->checkpoint_every ? step % t->checkpoint_every == 0 : epoch_end),
                 .last = last};
}

/* By rank 0, while the others wait, or serve its evaluations. */
static sm_status loop_write(sm_session *s, const after *due, bool *stop, sm_error *err) {
  sm_status status = due->record ? sm_session_record(s, err) : SM_OK;
  if (!status && due->evaluate) status = sm_session_evaluate(s, stop, err);
  if (status && s->state.pending_evaluation) return loop_save_before_end(s, err);
  if (!status && due->show) loop_show(s);
  if (!status && (due->save || *stop)) status = loop_save(s, due->last || *stop, err);
  return status;
}

/* The others follow rank 0's evaluations until it lets them go, whatever came of them. */
static sm_status loop_let_go(sm_session *s, sm_status status, sm_error *err) {
  if (status == SM_ELOST) return status;
  const sm_status gone = sm_evaluator_dismiss(s->evaluator, status ? NULL : err);
  return status ? status : gone;
}

/* How it went for rank 0, and whether it was told to stop meanwhile, is then known to all. */
static sm_status loop_agree(sm_session *s, sm_status status, bool *stop, sm_error *err) {
  sm_ranks *ranks = s->options->ranks;
  status = sm_ranks_agree(ranks, status, err);
  if (!status) status = sm_ranks_any(ranks, stop, err);
  sm_ranks_hurry(ranks, true);
  return status;
}

static sm_status loop_after_step(sm_session *s, bool *stop, sm_error *err) {
  const after due = loop_due(s);
  const int64_t done = s->time.step - s->summary->first_step;
  *stop = !due.last && (sm_signals_stop() || (s->options->stop_after && done >= s->options->stop_after));
  sm_status status = sm_ranks_any(s->options->ranks, stop, err);
  if (!status && (due.save || *stop)) status = sm_share_compare(s, err);
  if (status) return status;
  sm_ranks_hurry(s->options->ranks, !due.evaluate);
  if (s->writes) status = loop_write(s, &due, stop, err);
  if (due.evaluate) status = s->writes ? loop_let_go(s, status, err) : sm_evaluator_serve(s->evaluator, err);
  return loop_agree(s, status, stop, err);
}

/* Evaluations that the session before left, or those of the first step. */
static sm_status loop_first(sm_session *s, bool *stop, sm_error *err) {
  const bool pending = s->state.pending_evaluation;
  const bool evaluate = pending || (!s->time.step && s->recipe->train.evaluate_every);
  sm_status status = SM_OK;
  if (evaluate && s->writes) status = loop_let_go(s, sm_session_evaluate(s, stop, err), err);
  else if (evaluate) status = sm_evaluator_serve(s->evaluator, err);
  if (!status && pending && (*stop || s->time.step == s->steps)) status = loop_save(s, true, err);
  return loop_agree(s, status, stop, err);
}

static sm_status loop_run(sm_session *s, sm_error *err) {
  sm_session_tell(s, (sm_train_event){.kind = SM_EVENT_START,
                                      .parameters = sm_set_parameters(s->trainable->set[SM_SET_STUDENT]),
                                      .bytes = sm_trainable_bytes(s->trainable)});
  s->started = s->record_start = sm_now();
  bool stop = false;
  sm_status status = loop_first(s, &stop, err);
  while (!status && !stop && s->time.step < s->steps) {
    status = loop_one_step(s, &stop, err);
    if (!status && !stop) status = loop_after_step(s, &stop, err);
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

static void loop_write_report(sm_session *s) {
  sm_error e = {0};
  char text[1024], line[1200];
  if (s->folder.metrics) sm_jsonl_flush(s->folder.metrics, NULL, NULL);
  if (s->folder.timing) sm_jsonl_flush(s->folder.timing, NULL, NULL);
  s->summary->reported = sm_report_run(s->folder.path, NULL, &e) == SM_OK;
  if (s->summary->reported) return;
  snprintf(line, sizeof line, "no report: %s", sm_error_text(&e, text, sizeof text));
  sm_session_warn(s, line);
}

/* A session that died after its last checkpoint may have left none. */
static bool loop_lacks_report(const sm_session *s) {
  char path[SM_PATH_ROOM];
  return access(sm_path_put(path, "%s/report.html", s->folder.path), F_OK) && errno == ENOENT;
}

sm_status sm_train(sm_recipe *recipe, const sm_train_options *options, sm_train_summary *summary,
                   sm_error *err) {
  sm_session s = {.recipe = recipe, .options = options, .summary = summary, .saved = -1};
  s.writes = sm_ranks_rank(options->ranks) == 0;
  s.folder.lock = -1;
  memset(summary, 0, sizeof *summary);
  summary->last_top1 = NAN;
  sm_status status = sm_session_open(&s, err);
  bool opened = !status;
  if (opened && !summary->already) status = loop_run(&s, err);
  if (opened && s.writes && (!status || status == SM_EINTERRUPTED) && (!summary->already || loop_lacks_report(&s)))
    loop_write_report(&s);
  summary->step = s.time.step;
  summary->finished = !status;
  s.failed_early = status && (!opened || (status != SM_EINTERRUPTED && !s.time.step));
  sm_session_close(&s);
  return status;
}

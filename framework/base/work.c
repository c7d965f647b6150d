/* work.c — see work.h. */
#include "work.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- the log --------------------------------------------------------------------------------------------- */

/* Other processes take nothing of this clock. */
static double work_clock(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void sm_work_begin(sm_work_log *log) {
  if (!log) return;
  log->at = 0;
  log->on = true;
  log->name[0] = 0;
  log->last = work_clock();
}

static double work_least(const sm_work_log *log, double before, double now) {
  return log->runs == 0 || now < before ? now : before;
}

void sm_work_end(sm_work_log *log) {
  if (!log) return;
  log->after = work_least(log, log->after, work_clock() - log->last);
  if (log->runs && log->at != log->jobs) log->other_jobs = true;
  log->on = false;
  log->runs++;
}

void sm_work_free(sm_work_log *log) {
  for (int i = 0; i < log->jobs; i++) sm_free(log->job[i].item);
  sm_free(log->job);
  *log = (sm_work_log){0};
}

void sm_work_name(sm_work_log *log, const char *fmt, ...) {
  if (!log || !log->on) return;
  va_list args;
  va_start(args, fmt);
  vsnprintf(log->name, sizeof log->name, fmt, args);
  va_end(args);
}

/* The job at log->at, with room for its items. */
static sm_work_job *work_next(sm_work_log *log, int64_t items) {
  if (log->runs) {
    if (log->at < log->jobs && log->job[log->at].items == items) return &log->job[log->at++];
    log->other_jobs = true;
    return NULL;
  }
  if (log->jobs == log->room) {
    const int room = log->room ? 2 * log->room : 256;
    sm_work_job *grown = sm_realloc(log->job, (size_t)room * sizeof *grown);
    if (!grown) return NULL;
    log->job = grown;
    log->room = room;
  }
  sm_work_item *item = sm_calloc((size_t)(items ? items : 1), sizeof *item);
  if (!item) return NULL;
  sm_work_job *j = &log->job[log->jobs++];
  *j = (sm_work_job){.items = items, .item = item};
  snprintf(j->name, sizeof j->name, "%s", log->name);
  log->at = log->jobs;
  return j;
}

void sm_work_run(sm_work_log *log, int64_t items, void (*fn)(void *ctx, int64_t item, int worker), void *ctx) {
  sm_work_job *j = log->on ? work_next(log, items) : NULL;
  if (log->on && !j && !log->other_jobs) log->no_memory = true;
  double start = work_clock();
  if (j) j->before = work_least(log, j->before, start - log->last);
  for (int64_t i = 0; i < items; i++) {
    log->moved = 0;
    fn(ctx, i, 0);
    const double end = work_clock();
    if (j) j->item[i] = (sm_work_item){work_least(log, j->item[i].seconds, end - start), log->moved};
    start = end;
  }
  log->name[0] = 0;
  log->last = work_clock();
}

void sm_work_moves(sm_work_log *log, double bytes) {
  if (log) log->moved += bytes;
}

/* ---- prediction ------------------------------------------------------------------------------------------ */

void sm_work_sink(double *free_at, int n) {
  for (int k = 0, least = 0;; k = least) {
    for (int child = 2 * k + 1; child <= 2 * k + 2 && child < n; child++)
      if (free_at[child] < free_at[least]) least = child;
    if (least == k) return;
    double t = free_at[k];
    free_at[k] = free_at[least];
    free_at[least] = t;
  }
}

static double work_item_seconds(const sm_work_item *item, const sm_work_machine *m) {
  const double wait = m->bandwidth > 0 ? item->bytes / m->bandwidth : 0;
  return wait > item->seconds ? wait : item->seconds;
}

/* Seconds of a job, and the sum of its items as they were measured. */
static double work_play(const sm_work_job *j, const sm_work_machine *m, double *free_at, double *sum) {
  double end = 0;
  memset(free_at, 0, (size_t)m->threads * sizeof *free_at);
  *sum = 0;
  for (int64_t i = 0; i < j->items; i++) {
    *sum += j->item[i].seconds;
    free_at[0] += work_item_seconds(&j->item[i], m);
    if (free_at[0] > end) end = free_at[0];
    sm_work_sink(free_at, m->threads);
  }
  return end;
}

sm_status sm_work_predict(const sm_work_log *log, const sm_work_machine *m, sm_work_result *r,
                          sm_work_loss *loss, sm_error *err) {
  double *free_at = sm_calloc((size_t)m->threads, sizeof *free_at);
  *r = (sm_work_result){.seconds = log->after, .busy = log->after};
  if (!free_at) return sm_fail(err, SM_ENOMEM, "no memory to predict %d threads", m->threads);
  for (int k = 0; k < log->jobs; k++) {
    const sm_work_job *j = &log->job[k];
    const double meeting = m->threads > 1 && j->items > 1 ? m->meeting : 0;
    double sum, seconds = work_play(j, m, free_at, &sum);
    r->seconds += j->before + seconds + meeting;
    r->busy += j->before + sum;
    r->alone += j->before;
    r->meetings += m->threads * meeting;
    if (loss) loss[k] = (sm_work_loss){k, seconds + meeting, m->threads * (seconds + meeting) - sum};
  }
  r->alone = (r->alone + log->after) * (m->threads - 1);
  r->efficiency = r->seconds > 0 ? r->busy / (m->threads * r->seconds) : 1;
  sm_free(free_at);
  return SM_OK;
}

/* work.c — see work.h. */
#include "work.h"

#include "cpu.h"

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

static int work_kinds(const sm_work_log *log) { return log->compare ? 3 : 1; }
int sm_work_runs(const sm_work_log *log) { return 1 + log->turns * work_kinds(log); }

static void work_allocate(sm_work_log *log) {
  log->after_took = sm_calloc((size_t)log->turns * 2, sizeof *log->after_took);
  log->whole = sm_calloc((size_t)log->turns, sizeof *log->whole);
  log->no_memory = !log->after_took || !log->whole;
}

void sm_work_begin(sm_work_log *log) {
  if (!log) return;
  const int run = log->runs++ - 1;
  if (run < 0) work_allocate(log);
  log->kind = run < 0 ? SM_WORK_WARM : (sm_work_kind)(run % work_kinds(log));
  log->turn = run / work_kinds(log);
  log->at = 0;
  log->on = log->kind <= SM_WORK_ALONE && log->turn < log->turns && !log->no_memory;
  log->name[0] = 0;
  if (log->kind == SM_WORK_WHOLE) log->others = sm_cpu_others();
  log->last = log->kind == SM_WORK_WHOLE ? sm_now() : work_clock();
}

/* Of what n runs of the log's kind took: a row for an item. */
static double *work_row(const sm_work_log *log, const sm_work_job *j, sm_work_kind kind, int64_t row) {
  return j->took + ((int64_t)kind * (j->items + 1) + row) * log->turns;
}

void sm_work_end(sm_work_log *log) {
  if (!log) return;
  if (log->kind == SM_WORK_WHOLE) {
    const double took = sm_now() - log->last, others = sm_cpu_others() - log->others;
    if (log->turn < log->turns && log->whole) log->whole[log->turn][0] = took, log->whole[log->turn][1] = others;
  }
  if (log->on) {
    log->after_took[(int)log->kind * log->turns + log->turn] = work_clock() - log->last;
    if (log->at != log->jobs) log->other_jobs = true;
  }
  log->on = false;
}

static double work_median(double *took, int n) {
  sm_sort_doubles(took, (size_t)n);
  return (took[n / 2] + took[(n - 1) / 2]) / 2;
}

void sm_work_settle(sm_work_log *log, sm_work_kind kind) {
  for (int k = 0; k < log->jobs; k++) {
    sm_work_job *j = &log->job[k];
    for (int64_t i = 0; i < j->items; i++) j->item[i].seconds = work_median(work_row(log, j, kind, i), log->turns);
    j->before = work_median(work_row(log, j, kind, j->items), log->turns);
  }
  if (log->after_took) log->after = work_median(log->after_took + (int)kind * log->turns, log->turns);
}

static int work_by(const double *a, const double *b, int column) {
  return a[column] < b[column] ? -1 : a[column] > b[column];
}
static int work_quieter_first(const void *a, const void *b) { return work_by(a, b, 1); }
static int work_quicker_first(const void *a, const void *b) { return work_by(a, b, 0); }

sm_work_whole sm_work_measured(sm_work_log *log) {
  sm_work_whole w = {.runs = log->turns / 2 + 1};
  double sum = 0;
  qsort(log->whole, (size_t)log->turns, sizeof *log->whole, work_quieter_first);
  qsort(log->whole, (size_t)w.runs, sizeof *log->whole, work_quicker_first);
  for (int i = 0; i < w.runs; i++) sum += log->whole[i][0], w.others += log->whole[i][1];
  w.others /= sum > 0 ? sum : 1;
  w.median = (log->whole[w.runs / 2][0] + log->whole[(w.runs - 1) / 2][0]) / 2;
  w.least = log->whole[0][0];
  w.most = log->whole[w.runs - 1][0];
  return w;
}

void sm_work_free(sm_work_log *log) {
  for (int i = 0; i < log->jobs; i++) {
    sm_free(log->job[i].item);
    sm_free(log->job[i].took);
  }
  sm_free(log->job);
  sm_free(log->after_took);
  sm_free(log->whole);
  *log = (sm_work_log){0};
}

void sm_work_name(sm_work_log *log, const char *fmt, ...) {
  if (!log || !log->on) return;
  va_list args;
  va_start(args, fmt);
  vsnprintf(log->name, sizeof log->name, fmt, args);
  va_end(args);
}

static sm_work_job *work_add(sm_work_log *log, int64_t items) {
  if (log->jobs == log->room) {
    const int room = log->room ? 2 * log->room : 256;
    sm_work_job *grown = sm_realloc(log->job, (size_t)room * sizeof *grown);
    if (!grown) return NULL;
    log->job = grown;
    log->room = room;
  }
  sm_work_item *item = sm_calloc((size_t)(items ? items : 1), sizeof *item);
  double *took = sm_calloc((size_t)(items + 1) * (size_t)log->turns * 2, sizeof *took);
  if (!item || !took) {
    sm_free(item);
    sm_free(took);
    return NULL;
  }
  sm_work_job *j = &log->job[log->jobs++];
  *j = (sm_work_job){.items = items, .item = item, .took = took};
  snprintf(j->name, sizeof j->name, "%s", log->name);
  log->at = log->jobs;
  return j;
}

/* The job at log->at, with room for its items. */
static sm_work_job *work_next(sm_work_log *log, int64_t items) {
  sm_work_job *j = NULL;
  if (log->kind == SM_WORK_BUSY && log->turn == 0) {
    j = work_add(log, items);
    if (!j) log->no_memory = true;
  } else if (log->at < log->jobs && log->job[log->at].items == items) {
    j = &log->job[log->at++];
  } else {
    log->other_jobs = true;
  }
  return j;
}

void sm_work_open(sm_work_noted *n, int64_t items) {
  sm_work_log *log = n->log;
  n->job = log->on ? work_next(log, items) : NULL;
  if (n->job) work_row(log, n->job, log->kind, items)[log->turn] = work_clock() - log->last;
}

void sm_work_run_item(void *noted, int64_t item, int worker) {
  const sm_work_noted *n = noted;
  sm_work_job *j = n->job;
  if (!j) {
    n->fn(n->ctx, item, worker);
    return;
  }
  j->item[item].bytes = 0;
  n->log->now[worker] = &j->item[item];
  const double start = work_clock();
  n->fn(n->ctx, item, worker);
  work_row(n->log, j, n->log->kind, item)[n->log->turn] = work_clock() - start;
  n->log->now[worker] = NULL;
}

void sm_work_close(sm_work_noted *n) {
  n->log->name[0] = 0;
  if (n->log->on) n->log->last = work_clock();
}

bool sm_work_is_alone(const sm_work_log *log) { return log && log->on && log->kind == SM_WORK_ALONE; }

void sm_work_moves(sm_work_log *log, int worker, double bytes) {
  if (log && log->now[worker]) log->now[worker]->bytes += bytes;
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

/* Seconds of a job, the sum of its items as they were measured, and how long the first of its workers to be done
 * waits for the last. */
static double work_play(const sm_work_job *j, const sm_work_machine *m, double *free_at, double *sum, double *wait) {
  double end = 0;
  memset(free_at, 0, (size_t)m->threads * sizeof *free_at);
  *sum = 0;
  for (int64_t i = 0; i < j->items; i++) {
    *sum += j->item[i].seconds;
    free_at[0] += work_item_seconds(&j->item[i], m);
    if (free_at[0] > end) end = free_at[0];
    sm_work_sink(free_at, m->threads);
  }
  *wait = end - free_at[0];
  return end;
}

sm_status sm_work_predict(const sm_work_log *log, const sm_work_machine *m, sm_work_result *r,
                          sm_work_loss *loss, sm_error *err) {
  double *free_at = sm_calloc((size_t)m->threads, sizeof *free_at), idle = 0; /* of a worker, before a job */
  *r = (sm_work_result){.seconds = log->after, .busy = log->after};
  if (!free_at) return sm_fail(err, SM_ENOMEM, "no memory to predict %d threads", m->threads);
  for (int k = 0; k < log->jobs; k++) {
    const sm_work_job *j = &log->job[k];
    const bool meet = m->threads > 1 && j->items > 1;
    idle += j->before;
    const double meeting = !meet ? 0 : idle > SM_WORK_PATIENCE ? m->waking : m->meeting;
    double sum, wait, seconds = work_play(j, m, free_at, &sum, &wait);
    idle = meet ? wait : idle + seconds;
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

/* bench_model.c — see bench_model.h. For each number of threads the work is cut as for these and run on the
 * processors that there are, item by item; the rest is arithmetic (base/work.c). */
#include "bench_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "framework/base/cpu.h"

enum { ALONE = 3, WORST = 6 };

typedef struct model_row {
  int threads, jobs;
  sm_work_log log;
  sm_work_machine machine;
  sm_work_result core, memory; /* items limited by cores alone; by memory, too */
  sm_work_result alone;        /* where log.compare: from items that ran without neighbours; */
  sm_work_whole measured;      /* and what runs really took */
  sm_work_loss *loss;          /* (log.jobs), of `core`, the worst first */
} model_row;

typedef struct model {
  const sm_model_of *of;
  model_row row[SM_LIST_MAX + 2]; /* row 0: one thread, the measure of the others */
  int rows;
} model;

static int model_worst_first(const void *a, const void *b) {
  double x = ((const sm_work_loss *)a)->lost, y = ((const sm_work_loss *)b)->lost;
  return x < y ? 1 : x > y ? -1 : 0;
}

static sm_status model_note(const sm_model_of *of, model_row *r, sm_error *err) {
  sm_pool *pool = sm_pool_new_model(r->threads, err);
  if (!pool) return err->code;
  r->log = (sm_work_log){.turns = of->turns, .compare = r->threads > 1 && r->threads <= sm_cpu_count()};
  sm_pool_take(pool, of->isa);
  sm_pool_note(pool, &r->log);
  sm_status status = of->run(of->ctx, pool, sm_work_runs(&r->log), err);
  sm_pool_free(pool);
  if (!status && r->log.no_memory) return sm_fail(err, SM_ENOMEM, "no memory for the times of all work items");
  if (!status && r->log.other_jobs)
    sm_log(SM_LOG_WARNING, "the runs on %d %s did not have the same work items; only some were compared", r->threads,
           sm_plural(r->threads, "thread", "threads"));
  return status;
}

static sm_status model_predict(model_row *r, double bandwidth, sm_error *err) {
  sm_work_meetings meetings;
  sm_status status = sm_work_meet(r->threads, &meetings, err);
  sm_work_scale(&meetings, r->threads, &r->machine);
  r->loss = sm_calloc((size_t)r->log.jobs + 1, sizeof *r->loss);
  if (!status && !r->loss) status = sm_fail(err, SM_ENOMEM, "no memory for a prediction");
  if (!status && r->log.compare) {
    r->measured = sm_work_measured(&r->log);
    sm_work_settle(&r->log, SM_WORK_ALONE);
    status = sm_work_predict(&r->log, &r->machine, &r->alone, NULL, err);
  }
  sm_work_settle(&r->log, SM_WORK_BUSY);
  if (!status) status = sm_work_predict(&r->log, &r->machine, &r->core, r->loss, err);
  if (status) return status;
  qsort(r->loss, (size_t)r->log.jobs, sizeof *r->loss, model_worst_first);
  sm_work_machine with_memory = r->machine;
  with_memory.bandwidth = bandwidth * 1e9;
  return sm_work_predict(&r->log, &with_memory, &r->memory, NULL, err);
}

/* ---- output ---------------------------------------------------------------------------------------------- */

/* How many times as fast as one thread whose work is cut for one thread, a thread. */
static double model_efficiency(const model *m, const model_row *r, const sm_work_result *s) {
  return m->row[0].core.seconds / (r->threads * s->seconds);
}

/* ---- what items cost more where work is cut for more threads ---- */

static double model_busy(const sm_work_job *j) {
  double sum = 0;
  for (int64_t i = 0; i < j->items; i++) sum += j->item[i].seconds;
  return sum;
}

/* Seconds of thread time that a job's items take more than those of one thread's cut. */
static double model_growth(const model *m, const model_row *r, int job) {
  return model_busy(&r->log.job[job]) - model_busy(&m->row[0].log.job[job]);
}

/* The same of all jobs, as a share of one thread's. */
static double model_grown(const model *m, const model_row *r) { return r->core.busy / m->row[0].core.busy - 1; }

static void model_print_growth(const model *m, const model_row *r) {
  if (r->log.jobs != m->row[0].log.jobs) return; /* nobody knows which belong together */
  const double busy = m->row[0].core.busy;
  double limit = HUGE_VAL;
  if (model_grown(m, r) < 0.001) {
    printf("\n%d %s: items take no more thread time than those of work cut for one thread\n", r->threads,
           sm_plural(r->threads, "thread", "threads"));
    return;
  }
  printf("\n%d %s: items take %.1f %% more thread time than those of work cut for one thread; where most\n", r->threads,
         sm_plural(r->threads, "thread", "threads"), 100 * model_grown(m, r));
  printf("  %-58s %9s %6s %7s\n", "", "ms", "items", "more");
  for (int shown = 0; shown < WORST; shown++) {
    double most = 0.0005 * busy;
    int at = -1;
    for (int k = 0; k < r->log.jobs; k++) {
      const double g = model_growth(m, r, k);
      if (g < limit && g > most) at = k, most = g;
    }
    if (at < 0) return;
    limit = most;
    const sm_work_job *j = &r->log.job[at];
    printf("  %-58.58s %9.2f %6lld %5.1f %%\n", j->name[0] ? j->name : "(work without a name)", 1e3 * model_busy(j),
           (long long)j->items, 100 * most / busy);
  }
}

/* The longest times that one thread works alone, and before which job. */
static void model_print_alone(const model_row *r) {
  double limit = HUGE_VAL, least = 0.001 * r->core.seconds;
  for (int shown = 0; shown < ALONE; shown++) {
    const sm_work_job *longest = NULL;
    for (int k = 0; k < r->log.jobs; k++) {
      const sm_work_job *j = &r->log.job[k];
      if (j->before < limit && j->before >= least && (!longest || j->before > longest->before)) longest = j;
    }
    if (!longest) return;
    limit = longest->before;
    printf("    before %-51.51s %9.2f\n", longest->name[0] ? longest->name : "work without a name", limit * 1e3);
  }
}

static void model_print_worst(const model_row *r) {
  const double all = r->threads * r->core.seconds;
  printf("\n%d %s: %.1f %% of thread time is lost; where most\n", r->threads,
         sm_plural(r->threads, "thread", "threads"), 100 * (1 - r->core.efficiency));
  printf("  %-58s %9s %6s %7s %9s\n", "", "ms", "items", "lost", "largest");
  for (int i = 0; i < r->log.jobs && i < WORST && r->loss[i].lost > 0.0005 * all; i++) {
    const sm_work_job *j = &r->log.job[r->loss[i].job];
    double largest = 0;
    for (int64_t k = 0; k < j->items; k++)
      if (j->item[k].seconds > largest) largest = j->item[k].seconds;
    printf("  %-58.58s %9.2f %6lld %5.1f %% %9.2f\n", j->name[0] ? j->name : "(work without a name)",
           r->loss[i].seconds * 1e3, (long long)j->items, 100 * r->loss[i].lost / all, largest * 1e3);
  }
  printf("  %-58s %9s %6s %5.1f %%\n", "one thread alone between jobs", "", "", 100 * r->core.alone / all);
  model_print_alone(r);
  printf("  %-58s %9s %6d %5.1f %%   %.1f us each, %.1f us where one slept\n", "threads meet", "", r->log.jobs,
         100 * r->core.meetings / all, r->machine.meeting * 1e6, r->machine.waking * 1e6);
}

/* By which part of the measured time a prediction is off. */
static double model_off(const model_row *r, const sm_work_result *s) { return s->seconds / r->measured.median - 1; }

static void model_print_measured(const model_row *r) {
  const sm_work_whole *w = &r->measured;
  printf("\n%d threads, measured: %.4f s (%.4f to %.4f in the quieter %d of %d); predicted: %.4f s, off by %+.1f %%\n",
         r->threads, w->median, w->least, w->most, w->runs, r->log.turns, r->core.seconds,
         100 * model_off(r, &r->core));
  printf("  from items that ran without neighbours: %.4f s, off by %+.1f %%; other processes had %.2f processors\n",
         r->alone.seconds, 100 * model_off(r, &r->alone), w->others);
}

static void model_print(const model *m, double bandwidth) {
  const double units = m->of->units;
  const int cpus = sm_cpu_count();
  printf("%s: work items measured on %d %s, then played on so many threads\n\n", m->of->name, cpus,
         sm_plural(cpus, "processor", "processors that all work"));
  printf("%8s %12s %11s   %12s %11s\n", "threads", m->of->rate, "efficiency", "with memory", "efficiency");
  for (int i = 0; i < m->rows; i++) {
    const model_row *r = &m->row[i];
    printf("%8d %12.2f %11.3f   %12.2f %11.3f\n", r->threads, units / r->core.seconds,
           model_efficiency(m, r, &r->core), units / r->memory.seconds, model_efficiency(m, r, &r->memory));
  }
  for (int i = 0; i < m->rows; i++)
    if (m->row[i].log.compare) model_print_measured(&m->row[i]);
  printf("\nmemory: at most %g GB/s a core, of all that items read and write outside their thread's own memory\n",
         bandwidth);
  for (int i = 1; i < m->rows; i++) {
    model_print_worst(&m->row[i]);
    model_print_growth(m, &m->row[i]);
  }
}

static void model_put_result(sm_json *j, const model *m, const model_row *r, const sm_work_result *s) {
  sm_json_double(j, "seconds", s->seconds);
  sm_json_double(j, m->of->key, m->of->units / s->seconds);
  sm_json_double(j, "efficiency", model_efficiency(m, r, s));
}

static void model_put_measured(sm_json *j, const model_row *r) {
  sm_json_double(j, "measured_s", r->measured.median);
  sm_json_double(j, "others_processors", r->measured.others);
  sm_json_double(j, "off", model_off(r, &r->core));
  sm_json_double(j, "without_neighbours_s", r->alone.seconds);
  sm_json_double(j, "without_neighbours_off", model_off(r, &r->alone));
}

static void model_put_row(sm_json *j, const model *m, const model_row *r) {
  sm_json_object(j, NULL);
  sm_json_int(j, "threads", r->threads);
  model_put_result(j, m, r, &r->core);
  sm_json_object(j, "with_memory");
  model_put_result(j, m, r, &r->memory);
  sm_json_close(j);
  if (r->log.compare) model_put_measured(j, r);
  sm_json_int(j, "jobs", r->log.jobs);
  sm_json_double(j, "meeting_s", r->machine.meeting);
  sm_json_double(j, "waking_s", r->machine.waking);
  sm_json_double(j, "alone_thread_s", r->core.alone);
  sm_json_double(j, "items_more", model_grown(m, r));
  sm_json_array(j, "worst");
  for (int i = 0; i < r->log.jobs && i < WORST; i++) {
    const sm_work_job *job = &r->log.job[r->loss[i].job];
    sm_json_object(j, NULL);
    sm_json_string(j, "job", job->name);
    sm_json_int(j, "items", job->items);
    sm_json_double(j, "seconds", r->loss[i].seconds);
    sm_json_double(j, "lost_thread_s", r->loss[i].lost);
    sm_json_close(j);
  }
  sm_json_close(j);
  sm_json_close(j);
}

static int model_print_json(const model *m, double bandwidth) {
  sm_json j = {0};
  sm_json_begin(&j);
  sm_json_string(&j, "of", m->of->name);
  sm_json_int(&j, "processors", sm_cpu_count());
  sm_json_int(&j, "turns", m->of->turns);
  sm_json_double(&j, "core_bandwidth", bandwidth);
  sm_json_array(&j, "model");
  for (int i = 0; i < m->rows; i++) model_put_row(&j, m, &m->row[i]);
  sm_json_close(&j);
  return sm_cli_json(&j);
}

/* ---- all of it --------------------------------------------------------------------------------------------- */

static void model_add_row(model *m, int64_t threads) {
  for (int i = 0; i < m->rows; i++)
    if (m->row[i].threads == threads) return;
  m->row[m->rows++].threads = (int)threads;
}

static void model_choose_rows(model *m, const sm_ints *threads) {
  const int cpus = sm_cpu_count();
  model_add_row(m, 1);
  model_add_row(m, cpus < SM_WORK_THREADS ? cpus : SM_WORK_THREADS);
  for (int i = 0; i < threads->n; i++) model_add_row(m, threads->v[i]);
}

sm_status sm_bench_model(sm_cli *cli, const sm_model_of *of, const struct model_options *o, int *code,
                         sm_error *err) {
  sm_status status = SM_OK;
  model *m = sm_calloc(1, sizeof *m);
  if (!m) return sm_fail(err, SM_ENOMEM, "no memory for a prediction");
  m->of = of;
  model_choose_rows(m, &o->threads);
  for (int i = 0; !status && i < m->rows; i++) {
    model_row *r = &m->row[i];
    sm_cli_note(cli, "%d of %d: measuring the work items of %d %s", i + 1, m->rows, r->threads,
                sm_plural(r->threads, "thread", "threads"));
    status = model_note(of, r, err);
    if (!status) status = model_predict(r, o->bandwidth, err);
  }
  if (!status && cli->json) *code = model_print_json(m, o->bandwidth);
  else if (!status) model_print(m, o->bandwidth);
  for (int i = 0; i < m->rows; i++) {
    sm_work_free(&m->row[i].log);
    sm_free(m->row[i].loss);
  }
  sm_free(m);
  return status;
}

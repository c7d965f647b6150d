/* work.c — doing what is missing, job by job: training, then the evaluations of what was trained.
 *
 * Whatever ends this process, the next one goes on: training resumes from its checkpoints, each evaluation
 * leaves its file when it is whole, and trained.json is written last. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include "gallery.h"
#include "table.h"

#include "framework/eval/eval.h"

enum { WAIT = 2 /* seconds between two looks at what others do */ };

typedef struct piece { /* what a child works on */
  sm_table_jobs *jobs;
  sm_table_job *job;
  sm_child *child;
  double told;
  char folder[SM_PATH_ROOM]; /* of the run, while it is evaluated */
} piece;

static void work_tell_event(sm_table_jobs *jobs, sm_table_event e) {
  e.jobs = jobs;
  if (jobs->options.event) jobs->options.event(jobs->options.ctx, &e);
}

/* ---- training, in the child ---------------------------------------------------------------------------- */

/* Progress is told five times per second at most. */
static bool work_too_soon(piece *p) {
  double now = sm_now();
  if (now - p->told < 0.2) return true;
  p->told = now;
  return false;
}

static sm_status work_put_json(const piece *p, const char *file, sm_json *j, sm_error *err) {
  char path[SM_PATH_ROOM];
  sm_text text = {0};
  const char *line = sm_json_finish(j);
  if (line) sm_text_add(&text, "%s\n", line);
  sm_status status = !line || text.failed
                         ? sm_fail(err, SM_ENOMEM, "no memory for %s", file)
                         : sm_file_put(sm_table_job_path(p->jobs, p->job, file, path), text.s, text.len, err);
  sm_text_free(&text);
  sm_json_free(j);
  return status;
}

/* table.json: what this folder holds. The name says it only to people. */
static sm_status work_describe(const piece *p, sm_error *err) {
  char path[SM_PATH_ROOM];
  sm_json j = {0};
  cJSON *there;
  sm_table_json(sm_table_job_path(p->jobs, p->job, "table.json", path), &there, NULL);
  cJSON_Delete(there);
  if (there) return SM_OK;
  sm_json_begin(&j);
  sm_json_string(&j, "id", p->job->id);
  sm_json_string(&j, "table", p->jobs->recipe->name);
  sm_json_string(&j, "run", p->job->run->key);
  sm_json_array(&j, "needs");
  for (int i = 0; i < p->job->run->needs; i++) sm_json_string(&j, NULL, p->jobs->job[p->job->need[i]].id);
  sm_json_close(&j);
  return work_put_json(p, "table.json", &j, err);
}

static void work_on_training(void *ctx, const sm_train_event *e) {
  piece *p = ctx;
  sm_tell tell = {.step = e->step, .steps = e->steps, .loss = e->loss, .rate = e->rate, .eta = e->eta};
  switch (e->kind) {
    case SM_EVENT_START: /* a run that fails before that leaves no folder */
      work_describe(p, NULL); /* tried again at the end */
      tell.kind = SM_TELL_START;
      break;
    case SM_EVENT_STEP:
      if (work_too_soon(p) && e->step < e->steps) return;
      tell.kind = SM_TELL_STEP;
      break;
    case SM_EVENT_EVAL_PART:
      if (work_too_soon(p)) return;
      tell.kind = SM_TELL_PART, tell.done = e->done;
      snprintf(tell.text, sizeof tell.text, "%s", e->text);
      break;
    case SM_EVENT_WARNING:
      tell.kind = SM_TELL_WARNING;
      snprintf(tell.text, sizeof tell.text, "%s", e->text);
      break;
    default:
      return;
  }
  sm_child_tell(p->child, &tell);
}

/* What cannot be evaluated is refused before it is trained. */
static sm_status work_check_classes_of(const piece *p, const sm_table_other *other, sm_error *err) {
  sm_recipe *r = NULL;
  sm_dataset train = {0}, test = {0};
  sm_status status = sm_table_job_recipe(p->jobs, p->job, SM_JOB_FOR_EVALUATION, other, &r, err);
  const bool any = !status && r->evaluations;
  if (any) status = sm_slot_open(&r->data.train, &train, err);
  if (any && !status) status = sm_slot_open(&r->data.test, &test, err);
  for (int i = 0; !status && i < r->evaluations; i++) status = sm_slot_create(&r->evaluate[i], err);
  if (!status) status = sm_evaluations_check(r, train, test, err);
  sm_recipe_free(r);
  return status;
}

static sm_status work_check_classes(const piece *p, sm_error *err) {
  const sm_table_recipe *t = p->jobs->recipe;
  if (!p->job->evaluations) return SM_OK;
  sm_status status = work_check_classes_of(p, NULL, err);
  for (int i = 0; i < t->others && !status; i++) status = work_check_classes_of(p, &t->other[i], err);
  return status;
}

static sm_status work_train(void *ctx, sm_child *child, sm_error *err) {
  piece *p = ctx;
  sm_recipe *recipe = NULL;
  sm_train_summary summary = {0};
  p->child = child;
  sm_status status = sm_table_job_recipe(p->jobs, p->job, SM_JOB_FOR_TRAINING, NULL, &recipe, err);
  if (!status) status = work_check_classes(p, err);
  sm_train_options o = {.registry = p->jobs->options.registry,
                        .runs = p->jobs->runs,
                        .threads = p->jobs->options.threads,
                        .isa = p->jobs->options.isa,
                        .other_plugins = p->jobs->options.other_plugins,
                        .event = work_on_training,
                        .ctx = p};
  if (!status) status = sm_train(recipe, &o, &summary, err);
  sm_recipe_free(recipe);
  if (!status) status = work_describe(p, err);
  if (status) return status;
  struct rusage usage = {0};
  getrusage(RUSAGE_SELF, &usage);
  sm_json j = {0};
  sm_json_begin(&j);
  sm_json_int(&j, "steps", summary.steps);
  sm_json_int(&j, "peak_bytes", (int64_t)usage.ru_maxrss * 1024);
  sm_json_int(&j, "bad_pictures", summary.bad_pictures);
  return work_put_json(p, "trained.json", &j, err);
}

/* ---- evaluating, in the child -------------------------------------------------------------------------- */

static void work_on_evaluation(void *ctx, const char *what, double done) {
  piece *p = ctx;
  sm_tell tell = {.kind = SM_TELL_PART, .done = done};
  if (work_too_soon(p)) return;
  snprintf(tell.text, sizeof tell.text, "%s", what);
  sm_child_tell(p->child, &tell);
}

/* The evaluation of the recipe that is called so, if its file is missing. */
static struct sm_job_evaluation *work_missing(sm_table_job *job, const char *name) {
  for (int i = 0; i < job->evaluations; i++)
    if (!job->evaluation[i].there && !strcmp(job->evaluation[i].name, name)) return &job->evaluation[i];
  return NULL;
}

static bool work_wants_gallery(const sm_table_job *job) { return job->shown && !job->gallery; }

static sm_status work_open_evaluator(piece *p, sm_recipe *r, bool gallery, sm_network *net, sm_pool *pool,
                                     sm_evaluator **out, sm_error *err) {
  sm_evaluator_config c = sm_evaluator_config_of(net, pool);
  c.folder = p->folder;
  c.limits = sm_recipe_limits(r);
  c.progress = work_on_evaluation, c.progress_ctx = p;
  c.stop = sm_signals_stop;
  sm_status status = sm_slot_open(&r->data.train, &c.train, err);
  if (!status) status = sm_slot_open(&r->data.test, &c.test, err);
  for (int i = 0; i < r->evaluations && !status; i++) {
    const bool for_gallery = i == 0 && gallery;
    if (!for_gallery && !work_missing(p->job, r->evaluate[i].instance)) continue;
    status = sm_slot_create(&r->evaluate[i], err);
    sm_evaluator_want(&c, r->evaluate[i].plugin.plugin->ops, r->evaluate[i].plugin.self);
  }
  if (!status) status = sm_evaluator_load(&c, net, err);
  return status ? status : sm_evaluator_new(&c, out, err);
}

static sm_status work_keep_result(const piece *p, const struct sm_job_evaluation *e, const sm_slot *slot,
                             const sm_network *net, const sm_evaluator *evaluator, const sm_eval_result *r,
                             double seconds, sm_error *err) {
  char path[SM_PATH_ROOM], file[80];
  sm_json j = {0};
  sm_json_begin(&j);
  sm_json_string(&j, "name", e->name);
  sm_json_string(&j, "evaluation", slot->plugin.plugin->name);
  sm_json_string(&j, "net", sm_net_names[sm_network_net(net)]);
  sm_json_int(&j, "step", sm_network_about(net)->step);
  sm_json_object(&j, "figures");
  for (int i = 0; i < r->n; i++) sm_json_double(&j, r->figure[i].name, r->figure[i].value);
  sm_json_close(&j);
  sm_intervals_json(r, &j);
  sm_units_json(r, &j);
  sm_hits_json(evaluator, r, &j);
  sm_json_string(&j, "protocol", r->protocol);
  sm_json_double(&j, "seconds", seconds);
  sm_status status = sm_mkdirs(sm_table_job_path(p->jobs, p->job, "evaluations", path), err);
  if (status) {
    sm_json_free(&j);
    return status;
  }
  snprintf(file, sizeof file, "evaluations/%s-%s.json", e->name, e->id);
  return work_put_json(p, file, &j, err);
}

static sm_status work_evaluate_one(piece *p, sm_evaluator *evaluator, sm_slot *slot, const sm_network *net,
                              sm_error *err) {
  struct sm_job_evaluation *e = work_missing(p->job, slot->instance);
  sm_eval_result result = {0};
  if (!e) return SM_OK;
  char figure[48];
  sm_tell tell = {.kind = SM_TELL_PART};
  snprintf(tell.text, sizeof tell.text, "%s", e->name);
  sm_child_tell(p->child, &tell);
  double start = sm_now();
  sm_status status = sm_evaluator_run(evaluator, slot->plugin.plugin->ops, slot->plugin.self,
                                      (sm_blamed[1]){sm_slot_blamed(slot)}, &result, err);
  if (status) return status;
  tell.kind = SM_TELL_FIGURES;
  if (result.n)
    snprintf(tell.text, sizeof tell.text, "%s %s %s", e->name, result.figure[0].name,
             sm_figure_text(&result.figure[0], figure, sizeof figure));
  sm_child_tell(p->child, &tell);
  return work_keep_result(p, e, slot, net, evaluator, &result, sm_now() - start, err);
}

/* Pictures are a convenience: what goes wrong with them is a warning. */
static void work_make_gallery(piece *p, sm_recipe *r, sm_evaluator *evaluator, const sm_network *net,
                         sm_pool *pool) {
  char folder[SM_PATH_ROOM], file[80], text[1024];
  sm_error err = {0};
  const sm_plugin *first = r->evaluate[0].plugin.plugin;
  const sm_evaluation_ops *ops = first->ops;
  sm_gallery_config c = {.network = net,
                         .recipe = r,
                         .evaluator = evaluator,
                         .pool = pool,
                         .features = {.blocks = 1, .pool = SM_POOL_CLS},
                         .train = {r->data.train.plugin.plugin->ops, r->data.train.plugin.self}};
  if (!r->data.test.plugin.plugin) return;
  c.test = (sm_dataset){r->data.test.plugin.plugin->ops, r->data.test.plugin.self};
  if (ops->wants) ops->wants(r->evaluate[0].plugin.self, &c.features);
  sm_table_gallery_file(p->job, "", file, sizeof file);
  sm_status status = sm_slot_create(&r->masker, &err);
  sm_table_job_path(p->jobs, p->job, file, folder);
  folder[strlen(folder) - 1] = 0;
  if (!status) status = sm_gallery_write(&c, folder, &err);
  sm_json j = {0};
  sm_json_begin(&j);
  sm_json_int(&j, "pictures", SM_GALLERY_PICTURES);
  if (!status)
    status = work_put_json(p, sm_table_gallery_file(p->job, "gallery.json", file, sizeof file), &j, &err);
  else sm_json_free(&j);
  if (!status || status == SM_EINTERRUPTED) return;
  sm_tell tell = {.kind = SM_TELL_WARNING};
  snprintf(tell.text, sizeof tell.text, "no pictures for the report: %.400s",
           sm_error_text(&err, text, sizeof text));
  sm_child_tell(p->child, &tell);
}

/* Where the network comes from: the run folder, or, of a baseline, its recipe. */
static sm_status work_source(const piece *p, char path[SM_PATH_ROOM], sm_error *err) {
  sm_recipe *r = NULL;
  sm_text yaml = {0};
  if (p->job->trains) return sm_path_put(path, "%s", p->folder), SM_OK;
  sm_status status = sm_mkdirs(p->folder, err);
  if (!status) status = work_describe(p, err);
  if (!status) status = sm_table_job_recipe(p->jobs, p->job, SM_JOB_FOR_TRAINING, NULL, &r, err);
  if (!status) status = sm_recipe_write(r, false, &yaml, err);
  sm_table_job_path(p->jobs, p->job, "baseline.yaml", path);
  if (!status) status = sm_file_put(path, yaml.s, yaml.len, err);
  sm_text_free(&yaml);
  sm_recipe_free(r);
  return status;
}

/* What is missing of the evaluations that look at the same pictures; `other` NULL: at the row's, as the gallery
 * does. */
static sm_status work_evaluate_on(piece *p, const sm_table_other *other, sm_error *err) {
  const sm_table_options *o = &p->jobs->options;
  const bool gallery = !other && work_wants_gallery(p->job);
  sm_recipe *r = NULL;
  sm_network *net = NULL;
  sm_pool *pool = NULL;
  sm_evaluator *evaluator = NULL;
  char path[SM_PATH_ROOM];
  const sm_network_source from = {.path = path, .net = p->job->run->net};
  sm_status status = sm_table_job_recipe(p->jobs, p->job, SM_JOB_FOR_EVALUATION, other, &r, err);
  bool any = gallery;
  for (int i = 0; !status && i < r->evaluations; i++) any = any || work_missing(p->job, r->evaluate[i].instance);
  if (any && !status) status = work_source(p, path, err);
  if (any && !status) status = sm_network_open(o->registry, &from, &net, err);
  if (any && !status && !(pool = sm_recipe_pool(r, o->threads, o->isa, err))) status = err->code;
  if (any && !status) status = work_open_evaluator(p, r, gallery, net, pool, &evaluator, err);
  for (int i = 0; any && !status && i < r->evaluations; i++)
    status = work_evaluate_one(p, evaluator, &r->evaluate[i], net, err);
  if (gallery && !status) work_make_gallery(p, r, evaluator, net, pool);
  sm_evaluator_free(evaluator);
  sm_pool_free(pool);
  sm_network_close(net);
  sm_recipe_free(r);
  return status;
}

static sm_status work_evaluate(void *ctx, sm_child *child, sm_error *err) {
  piece *p = ctx;
  const sm_table_recipe *t = p->jobs->recipe;
  p->child = child;
  sm_table_job_path(p->jobs, p->job, NULL, p->folder);
  sm_status status = work_evaluate_on(p, NULL, err);
  for (int i = 0; i < t->others && !status; i++) status = work_evaluate_on(p, &t->other[i], err);
  return status;
}

/* ---- one job, in the parent ---------------------------------------------------------------------------- */

/* Runs a piece to its end: passes on what it tells, keeps the claim alive, hands on a signal. */
static sm_status work_run_piece(piece *p, sm_claim *claim, const char *what,
                           sm_status (*work)(void *ctx, sm_child *, sm_error *), sm_error *err) {
  sm_table_jobs *jobs = p->jobs;
  double beat = sm_now(), every = fmin(1, jobs->options.stale / 6);
  bool asked = false, lost = false;
  sm_tell tell;
  work_tell_event(jobs, (sm_table_event){.kind = SM_TABLE_JOB_STARTS, .job = p->job, .text = what});
  sm_child *child = sm_child_start(work, p, err);
  if (!child) return err->code;
  for (int got; (got = sm_child_listen(child, fmin(every, 0.5), &tell)) >= 0;) {
    if (got && tell.kind != SM_TELL_ERROR)
      work_tell_event(jobs,
                 (sm_table_event){.kind = SM_TABLE_JOB_MOVES, .job = p->job, .text = what, .tell = &tell});
    if (sm_now() - beat > every) {
      beat = sm_now();
      lost = lost || !sm_claim_beat(claim);
    }
    if (!asked && (lost || sm_signals_stop())) {
      asked = true;
      sm_child_stop(child);
    }
  }
  sm_status status = sm_child_end(child, NULL, err);
  if (!lost || !status) return status;
  sm_fail(err, SM_EUNSUPPORTED,
          "another process has taken the run over, since this one gave no sign of life");
  return SM_EUNSUPPORTED;
}

/* A process that lost its claim may still be at it. */
static bool work_folder_is_locked(const sm_table_jobs *jobs, const sm_table_job *job) {
  char path[SM_PATH_ROOM];
  int fd = open(sm_table_job_path(jobs, job, "lock", path), O_RDWR | O_CLOEXEC);
  bool locked = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK;
  if (fd >= 0) close(fd);
  return locked;
}

static sm_status work_do_job(sm_table_jobs *jobs, sm_table_job *job, sm_claim *claim, sm_error *err) {
  piece p = {.jobs = jobs, .job = job};
  sm_status status = SM_OK;
  double start = sm_now();
  sm_table_job_look(jobs, job); /* another process may have done it before the claim was ours */
  if (!sm_table_job_trained(job)) status = work_run_piece(&p, claim, "training", work_train, err);
  if (!status) sm_table_job_look(jobs, job);
  if (!status && sm_table_job_trained(job) && (job->state != SM_JOB_DONE || work_wants_gallery(job)))
    status = work_run_piece(&p, claim, "evaluating", work_evaluate, err);
  job->gallery_tried = true;
  sm_table_job_look(jobs, job);
  if (status && status != SM_EINTERRUPTED) {
    job->state = SM_JOB_FAILED;
    job->why = *err;
  }
  work_tell_event(jobs, (sm_table_event){.kind = SM_TABLE_JOB_ENDS, .job = job, .seconds = sm_now() - start});
  return status;
}

/* ---- all jobs ------------------------------------------------------------------------------------------ */

static bool work_ready(const sm_table_jobs *jobs, const sm_table_job *job) {
  bool pictures = work_wants_gallery(job) && !job->gallery_tried;
  if (!job->wanted || (job->state == SM_JOB_DONE && !pictures) || job->state == SM_JOB_FAILED) return false;
  for (int i = 0; i < job->run->needs; i++)
    if (!sm_table_job_trained(&jobs->job[job->need[i]])) return false;
  return true;
}

/* Claim the first job that can be done. NULL: none now; *busy says whether another process is at one. */
static sm_table_job *work_next_job(sm_table_jobs *jobs, sm_claim *claim, bool *busy, char *who, size_t size,
                              sm_table_job **waits_for, sm_error *err) {
  *busy = false;
  sm_table_jobs_look(jobs);
  for (int i = 0; i < jobs->n; i++) {
    sm_table_job *job = &jobs->job[i];
    if (!work_ready(jobs, job)) continue;
    sm_claim_result r = sm_claim_take(claim, jobs->runs, job->id, jobs->options.stale, who, size, err);
    if (r == SM_CLAIM_ERROR) return NULL;
    if (r == SM_CLAIM_MINE && !work_folder_is_locked(jobs, job)) return job;
    sm_claim_release(claim);
    *busy = true;
    *waits_for = job;
  }
  return NULL;
}

static sm_status work_interrupted(const sm_table_jobs *jobs, sm_error *err) {
  int done = 0, all = 0;
  for (int i = 0; i < jobs->n; i++) {
    all += jobs->job[i].wanted;
    done += jobs->job[i].wanted && jobs->job[i].state == SM_JOB_DONE;
  }
  sm_fail(err, SM_EINTERRUPTED, "stopped with %d of %d %s done; everything is saved", done, all,
          sm_plural(all, "run", "runs"));
  return sm_hint(err, "run the same command again to go on");
}

static void work_pause_a_little(void) {
  for (int i = 0; i < WAIT * 10 && !sm_signals_stop(); i++) sm_sleep(0.1);
}

static sm_status work_first_failure(const sm_table_jobs *jobs, sm_error *err) {
  int failed = 0;
  const sm_table_job *first = NULL;
  for (int i = 0; i < jobs->n; i++) {
    if (jobs->job[i].state != SM_JOB_FAILED) continue;
    failed++;
    if (!first) first = &jobs->job[i];
  }
  if (!first) return SM_OK;
  char title[128];
  sm_fail(err, first->why.code, "%d %s failed; %s: %.700s", failed, sm_plural(failed, "run", "runs"),
          sm_table_job_title(first, title, sizeof title), first->why.message);
  if (first->why.place[0]) snprintf(err->place, sizeof err->place, "%s", first->why.place);
  if (first->why.hint[0]) snprintf(err->hint, sizeof err->hint, "%s", first->why.hint);
  return err->code;
}

sm_status sm_table_work(sm_table_jobs *jobs, void (*changed)(void *ctx), void *ctx, sm_error *err) {
  char who[300] = "";
  bool said = false;
  for (;;) {
    sm_claim claim;
    bool busy;
    sm_table_job *other = NULL;
    sm_error_clear(err);
    if (sm_signals_stop()) return work_interrupted(jobs, err);
    sm_table_job *job = work_next_job(jobs, &claim, &busy, who, sizeof who, &other, err);
    if (err->code) return err->code;
    if (!job && !busy) break;
    if (!job) {
      if (!said) work_tell_event(jobs, (sm_table_event){.kind = SM_TABLE_WAITS, .job = other, .text = who});
      said = true;
      work_pause_a_little();
      continue;
    }
    said = false;
    sm_status status = work_do_job(jobs, job, &claim, err);
    sm_claim_release(&claim);
    if (changed) changed(ctx);
    if (status == SM_EINTERRUPTED) return work_interrupted(jobs, err);
  }
  return work_first_failure(jobs, err);
}

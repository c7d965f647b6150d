/* jobs.c — from a table recipe to jobs: their recipes, their hashes, and what of them is already there.
 *
 * A job's hash covers what determines its weights: the recipe's values that are not defaults, names and
 * versions of the plugins, and the hashes of the jobs it needs, which stand in the recipe where their folders
 * will. Labels, evaluations, test pictures, logging and threads are no part of it. */
#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "framework/base/io.h"
#include "framework/formats/formats.h"
#include "table.h"

enum { JSON_LIMIT = 1 << 24 };

const char *const sm_job_state_names[] = {"missing", "begun", "trained", "done", "failed"};

static sm_status jobs_no_memory(sm_error *err) { return sm_fail(err, SM_ENOMEM, "out of memory"); }

/* ---- parts of `shared` --------------------------------------------------------------------------------- */

/* `path` is `key` or lies under it. */
static bool jobs_lies_under(const char *path, const char *key) {
  size_t n = strlen(key);
  return !strncmp(path, key, n) && (path[n] == 0 || path[n] == '.');
}

static bool jobs_takes(const sm_table_run *run, const char *path) {
  for (int i = 0; i < run->takes; i++)
    if (jobs_lies_under(path, run->take[i])) return true;
  return run->takes_all;
}

static bool jobs_takes_below(const sm_table_run *run, const char *path) {
  for (int i = 0; i < run->takes; i++)
    if (jobs_lies_under(run->take[i], path)) return true;
  return false;
}

static sm_yaml *jobs_taken(sm_arena *arena, const sm_table_run *run, const sm_yaml *node, const char *path) {
  char below[256];
  sm_yaml *out = sm_yaml_new(arena, SM_YAML_MAP, node->at);
  for (int i = 0; out && i < node->n; i++) {
    const sm_entry *e = &node->entry[i];
    snprintf(below, sizeof below, "%s%s%s", path, *path ? "." : "", e->key);
    sm_yaml *value = NULL;
    if (jobs_takes(run, below)) value = e->value;
    else if (jobs_takes_below(run, below) && e->value->kind == SM_YAML_MAP)
      value = jobs_taken(arena, run, e->value, below);
    else continue;
    if (!sm_yaml_add(arena, out, e->key, e->at, value)) return NULL;
  }
  return out;
}

/* A key that no recipe has would take nothing, silently. */
static sm_status jobs_check_takes(const sm_table_run *run, sm_error *err) {
  for (int i = 0; i < run->takes; i++) {
    const sm_schema *s = &sm_recipe_schema;
    const char *at = run->take[i];
    while (s && *at && s->shape == SM_SCHEMA_SECTION) {
      char key[64];
      size_t n = strcspn(at, ".");
      snprintf(key, sizeof key, "%.*s", (int)n, at);
      at += n + (at[n] == '.');
      if (!*at && sm_schema_option(s, key)) break;
      s = sm_schema_child(s, key);
    }
    if (s) continue;
    sm_fail(err, SM_EINVAL, "'%s' takes '%s' of 'shared', which no recipe has", run->key, run->take[i]);
    return sm_fail_place(err, run->at);
  }
  return SM_OK;
}

/* ---- "@NAME" ------------------------------------------------------------------------------------------- */

typedef struct filling {
  sm_arena *arena;
  const sm_table_jobs *jobs;
  const sm_table_job *job;
  bool identity;
} filling;

static const sm_table_job *jobs_needed(const filling *f, const char *name, size_t n) {
  for (int i = 0; i < f->job->run->needs; i++) {
    const sm_table_job *other = &f->jobs->job[f->job->need[i]];
    if (strlen(other->run->key) == n && !strncmp(other->run->key, name, n)) return other;
  }
  return NULL;
}

static sm_yaml *jobs_filled(const filling *f, const sm_yaml *node) {
  if (node->kind == SM_YAML_TEXT && node->text[0] == '@') {
    size_t n = strcspn(node->text + 1, "/");
    const sm_table_job *other = jobs_needed(f, node->text + 1, n);
    const char *rest = node->text + 1 + n,
               *text = !other        ? NULL
                       : f->identity ? sm_arena_printf(f->arena, "/@%s%s", other->id, rest)
                                     : sm_arena_printf(f->arena, "%s/%s%s", f->jobs->runs, other->name, rest);
    return text ? sm_yaml_text(f->arena, text, node->at) : NULL;
  }
  if (node->kind != SM_YAML_MAP && node->kind != SM_YAML_LIST) return (sm_yaml *)node;
  sm_yaml *out = sm_yaml_new(f->arena, node->kind, node->at);
  for (int i = 0; out && i < node->n; i++) {
    const sm_entry *e = &node->entry[i];
    if (!sm_yaml_add(f->arena, out, e->key, e->at, jobs_filled(f, e->value))) return NULL;
  }
  return out;
}

/* ---- recipes ------------------------------------------------------------------------------------------- */

static sm_yaml *jobs_text_node(sm_arena *arena, const char *text) {
  return text ? sm_yaml_text(arena, text, (sm_place){"the table", 0, 0}) : NULL;
}

/* {name: …, train: {seed: …}} */
static sm_yaml *jobs_own_values(sm_arena *arena, const sm_table_job *job) {
  sm_place at = {"the table", 0, 0};
  sm_yaml *top = sm_yaml_new(arena, SM_YAML_MAP, at), *train = sm_yaml_new(arena, SM_YAML_MAP, at);
  if (!top || !train) return NULL;
  bool good =
      sm_yaml_add(arena, top, "name", at, jobs_text_node(arena, *job->name ? job->name : job->run->key));
  if (!job->has_seed) return good ? top : NULL;
  good = good && sm_yaml_add(arena, train, "seed", at,
                             jobs_text_node(arena, sm_arena_printf(arena, "%" PRId64, job->seed)));
  return good && sm_yaml_add(arena, top, "train", at, train) ? top : NULL;
}

static sm_status jobs_refuse_override(const sm_table_options *o, sm_error *err) {
  for (int i = 0; i < o->n_overrides; i++) {
    const char *text = o->overrides[i];
    bool name = jobs_lies_under(text, "name") || !strncmp(text, "name=", 5),
         seed = !strncmp(text, "train.seed=", 11);
    if (!name && !seed) continue;
    sm_fail(err, SM_EINVAL, "'%.80s' cannot be said for a whole table", text);
    return sm_hint(err, name ? "runs are named by the table" : "say --seeds");
  }
  return SM_OK;
}

static bool jobs_override_taken(const sm_table_run *run, const char *text) {
  char key[256];
  if (sm_table_other_override(text)) return false;
  snprintf(key, sizeof key, "%.*s", (int)strcspn(text, "="), text);
  return jobs_takes(run, key);
}

/* Says whose recipe it is: the place is often that of the base. */
static sm_status jobs_of_run(const sm_table_run *run, sm_error *err) {
  char message[sizeof err->message];
  snprintf(message, sizeof message, "%s '%s': %.900s", run->row ? "row" : "dependency", run->key,
           err->message);
  memcpy(err->message, message, sizeof message);
  return err->place[0] ? err->code : sm_fail_place(err, run->at);
}

/* Those evaluations that look at these pictures; the order stays. */
static void jobs_keep_evaluations(const sm_table_recipe *t, const sm_table_other *other, sm_recipe *r) {
  int kept = 0;
  for (int i = 0; i < r->evaluations; i++) {
    if (sm_table_other_of(t, r->evaluate[i].instance) == other) r->evaluate[kept++] = r->evaluate[i];
    else sm_instance_free(&r->evaluate[i].plugin);
  }
  r->evaluations = kept;
}

/* The trees live in the jobs' arena: as long as any recipe made of them. */
sm_status sm_table_job_recipe(const sm_table_jobs *jobs, const sm_table_job *job, sm_job_purpose purpose,
                              const sm_table_other *other, sm_recipe **out, sm_error *err) {
  const sm_table_recipe *t = jobs->recipe;
  const sm_table_run *run = job->run;
  const sm_table_options *o = &jobs->options;
  sm_arena *arena = jobs->arena;
  *out = NULL;
  const sm_yaml *over[2] = {NULL, jobs_own_values(arena, job)};
  filling f = {arena, jobs, job, purpose == SM_JOB_FOR_IDENTITY};
  if (run->change) over[0] = jobs_filled(&f, run->change);
  const sm_yaml *under = t->shared;
  if (under && !run->takes_all) under = jobs_taken(arena, run, under, "");
  const char **overrides = sm_arena_alloc(arena, (size_t)(o->n_overrides + 1) * sizeof *overrides);
  if (!over[1] || (run->change && !over[0]) || (t->shared && !under) || !overrides)
    return jobs_no_memory(err);
  bool other_base = !run->recipe && o->base;
  sm_recipe_parts parts = {.folder = other_base ? "" : t->folder,
                           .path = run->recipe  ? run->recipe
                                   : other_base ? o->base
                                                : t->base,
                           .under = under,
                           .over = over,
                           .n_over = 2,
                           .overrides = overrides,
                           .fit = purpose == SM_JOB_FOR_TRAINING};
  for (int i = 0; i < o->n_overrides; i++)
    if (jobs_override_taken(run, o->overrides[i])) overrides[parts.n_overrides++] = o->overrides[i];
  if (purpose == SM_JOB_FOR_EVALUATION && run->evaluate)
    parts.evaluate = sm_yaml_get(run->evaluate, "evaluate");
  if (other) parts.data = jobs->other[other - t->other];
  if (sm_recipe_compose(out, o->registry, &parts, err)) return jobs_of_run(run, err);
  if (purpose == SM_JOB_FOR_EVALUATION) jobs_keep_evaluations(t, other, *out);
  return SM_OK;
}

/* ---- hashes -------------------------------------------------------------------------------------------- */

static bool jobs_counts_for_weights(void *ctx, const char *path) {
  static const char *const not [] = {"name",
                                     "evaluate",
                                     "data.test",
                                     "train.log_every",
                                     "train.checkpoint_every",
                                     "train.keep_checkpoints",
                                     "train.evaluate_every",
                                     NULL};
  (void)ctx;
  for (int i = 0; not [i]; i++)
    if (jobs_lies_under(path, not [i])) return false;
  return !sm_recipe_conduct(path);
}

typedef struct measured {
  char path[80]; /* evaluate.NAME */
  bool other;    /* it does not look at the pictures that the weights were trained on */
} measured;

static bool jobs_counts_for_evaluation(void *ctx, const char *path) {
  const measured *m = ctx;
  return jobs_lies_under(path, m->path) || jobs_lies_under(path, "data.test") ||
         (m->other && jobs_lies_under(path, "data.train"));
}

static sm_status jobs_hash_job(sm_table_jobs *jobs, sm_table_job *job, sm_error *err) {
  sm_recipe *r = NULL;
  sm_status status = sm_table_job_recipe(jobs, job, SM_JOB_FOR_IDENTITY, NULL, &r, err);
  if (status) return status;
  uint64_t sum = sm_recipe_identity(r, jobs_counts_for_weights, NULL);
  job->hash = sm_hash64(&sum, sizeof sum, 0x7461626c); /* "tabl" */
  snprintf(job->id, sizeof job->id, "%016" PRIx64, job->hash);
  sm_recipe_free(r);
  return sum ? SM_OK : jobs_no_memory(err);
}

/* What the evaluation says that it will give; NULL: it does not say. */
static const char *jobs_figures_of(sm_arena *arena, const sm_instance *evaluation, sm_status *status) {
  const sm_evaluation_ops *ops = evaluation->plugin->ops;
  sm_text text = {0};
  if (!ops->figures) return NULL;
  ops->figures(evaluation->self, &text);
  const char *figures = text.failed ? NULL : sm_arena_strdup(arena, text.s ? text.s : "");
  if (!figures) *status = SM_ENOMEM;
  sm_text_free(&text);
  return figures;
}

static void jobs_note_labels(const sm_instance *evaluation, struct sm_job_evaluation *to) {
  const sm_evaluation_ops *ops = evaluation->plugin->ops;
  sm_feature_spec want = {0};
  if (ops->wants) ops->wants(evaluation->self, &want);
  to->without_labels = want.labels == SM_LABELS_NONE;
  to->knn = !strcmp(evaluation->plugin->name, "knn");
}

/* Another net is another figure; the automatic choice is as old as tables. */
static uint64_t jobs_hash_evaluation(const sm_table_job *job, const sm_recipe *r, int i, bool other) {
  measured m = {.other = other};
  snprintf(m.path, sizeof m.path, "evaluate.%s", r->evaluate[i].instance);
  const uint64_t sum = sm_recipe_identity(r, jobs_counts_for_evaluation, &m);
  return sum ? sm_hash64(&sum, sizeof sum, 1 + (uint64_t)job->run->net) : 0;
}

static sm_status jobs_list_evaluations(sm_table_jobs *jobs, sm_table_job *job, const sm_table_other *other,
                                       sm_error *err) {
  sm_recipe *r = NULL;
  sm_status status = sm_table_job_recipe(jobs, job, SM_JOB_FOR_EVALUATION, other, &r, err);
  for (int i = 0; !status && i < r->evaluations; i++) {
    struct sm_job_evaluation *e = &job->evaluation[job->evaluations++];
    const uint64_t sum = jobs_hash_evaluation(job, r, i, other);
    snprintf(e->id, sizeof e->id, "%08" PRIx32, (uint32_t)(sum >> 32));
    jobs_note_labels(&r->evaluate[i].plugin, e);
    e->figures = jobs_figures_of(jobs->arena, &r->evaluate[i].plugin, &status);
    e->name = sm_arena_strdup(jobs->arena, r->evaluate[i].instance);
    if (!e->name || !sum || status) status = jobs_no_memory(err);
  }
  sm_recipe_free(r);
  return status;
}

/* ---- what is there ------------------------------------------------------------------------------------- */

const char *sm_table_job_path(const sm_table_jobs *jobs, const sm_table_job *job, const char *file,
                              char buf[SM_PATH_ROOM]) {
  return sm_path_put(buf, "%s/%s%s%s", jobs->runs, job->name, file ? "/" : "", file ? file : "");
}

const char *sm_table_job_title(const sm_table_job *job, char *buf, size_t size) {
  if (job->has_seed) snprintf(buf, size, "%s, seed %" PRId64, job->run->key, job->seed);
  else snprintf(buf, size, "%s", job->run->key);
  return buf;
}

sm_status sm_table_json(const char *path, cJSON **json, sm_error *err) {
  char *text;
  size_t bytes;
  *json = NULL;
  sm_status status = sm_file_get(path, JSON_LIMIT, &text, &bytes, err);
  if (status) return status == SM_ENOTFOUND ? SM_OK : status;
  status = sm_json_read(text, bytes, json, err);
  sm_free(text);
  return status == SM_EFORMAT ? SM_OK : status;
}

/* A file that runs leave whole, or not at all, holding an object with `key` (NULL: with anything). Another
 * one in its place is no result: that is said once, and it is made again. */
static bool jobs_is_there(const sm_table_jobs *jobs, const char *path, const char *key, bool *damaged) {
  sm_error why = {0};
  cJSON *json;
  char text[1200], line[1400];
  if (!sm_path_there(path, NULL)) return false;
  const sm_status status = sm_table_json(path, &json, &why);
  bool good = cJSON_IsObject(key ? cJSON_GetObjectItemCaseSensitive(json, key) : json);
  cJSON_Delete(json);
  if (good || *damaged) return good;
  *damaged = true;
  if (status) snprintf(line, sizeof line, "%s: it is made again", sm_error_text(&why, text, sizeof text));
  else snprintf(line, sizeof line, "%.1000s is damaged: it is made again", path);
  if (jobs->options.event)
    jobs->options.event(jobs->options.ctx,
                        &(sm_table_event){.kind = SM_TABLE_WARNS, .jobs = jobs, .text = line});
  return false;
}

/* The run folder says in table.json what it holds. */
static bool jobs_holds(const char *folder, const char *id) {
  char path[SM_PATH_ROOM];
  sm_path_put(path, "%s/table.json", folder);
  cJSON *json;
  sm_table_json(path, &json, NULL);
  const char *found = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "id"));
  bool same = found && !strcmp(found, id);
  cJSON_Delete(json);
  return same;
}

/* A run is called after a job that trains it. */
static const sm_table_job *jobs_namesake(const sm_table_jobs *jobs, const sm_table_job *job) {
  for (int i = 0; i < jobs->n && !job->trains; i++)
    if (jobs->job[i].trains && jobs->job[i].hash == job->hash) return &jobs->job[i];
  return job;
}

/* A folder of this hash, whatever it is called. */
static void jobs_find_folder(const sm_table_jobs *jobs, sm_table_job *job) {
  char suffix[16], folder[SM_PATH_ROOM], seed[32] = "";
  snprintf(suffix, sizeof suffix, "-%.8s", job->id);
  if (job->has_seed) snprintf(seed, sizeof seed, "-s%" PRId64, job->seed);
  snprintf(job->name, sizeof job->name, "%s%s%s", jobs_namesake(jobs, job)->run->key, seed, suffix);
  if (jobs_holds(sm_table_job_path(jobs, job, NULL, folder), job->id)) return;
  DIR *dir = opendir(jobs->runs);
  for (struct dirent *e; dir && (e = readdir(dir));) {
    size_t n = strlen(e->d_name);
    if (n < strlen(suffix) || n >= sizeof job->name || strcmp(e->d_name + n - strlen(suffix), suffix))
      continue;
    sm_path_put(folder, "%s/%s", jobs->runs, e->d_name);
    if (!jobs_holds(folder, job->id)) continue;
    memcpy(job->name, e->d_name, n + 1);
    break;
  }
  if (dir) closedir(dir);
}

static bool jobs_has_checkpoint(const sm_table_jobs *jobs, const sm_table_job *job) {
  char path[SM_PATH_ROOM];
  DIR *dir = opendir(sm_table_job_path(jobs, job, "checkpoints", path));
  bool found = false;
  for (struct dirent *e; dir && !found && (e = readdir(dir));) found = !strncmp(e->d_name, "step-", 5);
  if (dir) closedir(dir);
  return found;
}

const char *sm_table_gallery_file(const sm_table_job *job, const char *file, char *buf, size_t size) {
  snprintf(buf, size, "gallery/%s/%s", job->evaluations ? job->evaluation[0].id : "", file);
  return buf;
}

void sm_table_job_look(sm_table_jobs *jobs, sm_table_job *job) {
  char path[SM_PATH_ROOM], file[80];
  jobs_find_folder(jobs, job);
  bool all = true;
  for (int i = 0; i < job->evaluations; i++) {
    struct sm_job_evaluation *e = &job->evaluation[i];
    snprintf(file, sizeof file, "evaluations/%s-%s.json", e->name, e->id);
    e->there = jobs_is_there(jobs, sm_table_job_path(jobs, job, file, path), "figures", &e->damaged);
    all = all && e->there;
  }
  if (job->shown) {
    sm_table_gallery_file(job, "gallery.json", file, sizeof file);
    job->gallery = jobs_is_there(jobs, sm_table_job_path(jobs, job, file, path), NULL, &job->damaged);
  }
  if (job->state == SM_JOB_FAILED) return;
  if (!job->trains) {
    job->state = all ? SM_JOB_DONE : SM_JOB_MISSING;
    return;
  }
  job->state = jobs_is_there(jobs, sm_table_job_path(jobs, job, "trained.json", path), NULL, &job->damaged)
                   ? all ? SM_JOB_DONE : SM_JOB_TRAINED
               : jobs_has_checkpoint(jobs, job) ? SM_JOB_BEGUN
                                                : SM_JOB_MISSING;
}

void sm_table_jobs_look(sm_table_jobs *jobs) {
  for (int i = 0; i < jobs->n; i++) sm_table_job_look(jobs, &jobs->job[i]);
}

const sm_table_job *sm_table_job_first(const sm_table_jobs *jobs, const sm_table_job *job) {
  for (const sm_table_job *j = jobs->job; j < job; j++)
    if (j->wanted && j->trains && j->hash == job->hash) return j;
  return job;
}

/* ---- the list ------------------------------------------------------------------------------------------ */

static int jobs_find_job(const sm_table_jobs *jobs, const sm_table_run *run, const sm_table_job *for_whom) {
  for (int i = 0; i < jobs->n; i++) {
    const sm_table_job *j = &jobs->job[i];
    if (j->run == run && (!j->has_seed || j->seed == for_whom->seed)) return i;
  }
  return -1;
}

/* Another run may want the weights of any row by "@NAME". */
static bool jobs_is_needed(const sm_table_recipe *t, const sm_table_run *run) {
  for (int i = 0; i < t->runs; i++)
    for (int k = 0; k < t->run[i].needs; k++)
      if (&t->run[t->run[i].need[k]] == run) return true;
  return false;
}

static sm_status jobs_add_job(sm_table_jobs *jobs, const sm_table_run *run, const int64_t *seed,
                              sm_error *err) {
  sm_table_job *job = &jobs->job[jobs->n];
  *job = (sm_table_job){.run = run,
                        .has_seed = seed != NULL,
                        .seed = seed ? *seed : 0,
                        .trains = !sm_table_baseline(run) || jobs_is_needed(jobs->recipe, run)};
  for (int i = 0; i < run->needs; i++)
    if ((job->need[i] = jobs_find_job(jobs, &jobs->recipe->run[run->need[i]], job)) < 0)
      return sm_fail(err, SM_EINTERNAL, "'%s' comes before what it needs", run->key);
  sm_status status = jobs_hash_job(jobs, job, err);
  if (!status && run->row) status = jobs_list_evaluations(jobs, job, NULL, err);
  job->shown = job->evaluations > 0 && run->net == SM_NET_AUTO;
  for (int i = 0; i < jobs->recipe->others && run->row && !status; i++)
    status = jobs_list_evaluations(jobs, job, &jobs->recipe->other[i], err);
  for (int i = 0; i < jobs->n; i++) job->shown = job->shown && jobs->job[i].run != run;
  if (!status) jobs->n++;
  return status;
}

static sm_status jobs_add_jobs(sm_table_jobs *jobs, sm_error *err) {
  const sm_table_recipe *t = jobs->recipe;
  const sm_ints *seeds = jobs->options.seeds.n ? &jobs->options.seeds : &t->seeds;
  jobs->job = sm_arena_alloc(jobs->arena, (size_t)t->runs * (size_t)(seeds->n + 1) * sizeof *jobs->job);
  if (!jobs->job) return jobs_no_memory(err);
  sm_status status = SM_OK;
  for (int i = 0; i < t->runs && !status; i++) {
    const sm_table_run *run = &t->run[t->order[i]];
    status = jobs_check_takes(run, err);
    if (!run->every_seed || !seeds->n) status = status ? status : jobs_add_job(jobs, run, NULL, err);
    for (int k = 0; run->every_seed && k < seeds->n && !status; k++)
      status = jobs_add_job(jobs, run, &seeds->v[k], err);
  }
  return status;
}

/* Jobs that are wanted: of the rows named, and what these need. */
static void jobs_want(sm_table_jobs *jobs, sm_table_job *job) {
  job->wanted = true;
  for (int i = 0; i < job->run->needs; i++) jobs_want(jobs, &jobs->job[job->need[i]]);
}

static sm_status jobs_choose_rows(sm_table_jobs *jobs, sm_error *err) {
  const sm_table_recipe *t = jobs->recipe;
  const sm_table_options *o = &jobs->options;
  for (int i = 0; i < o->n_rows; i++) {
    int found = sm_table_find(t, o->rows[i]);
    if (found >= 0 && t->run[found].row) continue;
    const char **names = sm_arena_alloc(jobs->arena, (size_t)(t->runs + 1) * sizeof *names);
    if (!names) return jobs_no_memory(err);
    for (int k = 0, n = 0; k < t->runs; k++)
      if (t->run[k].row) names[n++] = t->run[k].key;
    sm_fail(err, SM_EINVAL, "the table has no row '%.80s'", o->rows[i]);
    sm_hint_names(err, o->rows[i], names, "rows");
    return SM_EINVAL;
  }
  for (int i = 0; i < jobs->n; i++) {
    bool named = !o->n_rows;
    for (int k = 0; k < o->n_rows; k++) named = named || !strcmp(o->rows[k], jobs->job[i].run->key);
    if (named && jobs->job[i].run->row) jobs_want(jobs, &jobs->job[i]);
  }
  return SM_OK;
}

/* ---- all of them --------------------------------------------------------------------------------------- */

/* Whether the plugins of a job take their options and fit each other can be asked once what it needs is there. */
static sm_status jobs_check_jobs(sm_table_jobs *jobs, sm_error *err) {
  sm_status status = SM_OK;
  for (int i = 0; i < jobs->n && !status; i++) {
    const sm_table_job *job = &jobs->job[i];
    bool ready = job->wanted;
    for (int k = 0; k < job->run->needs; k++) ready = ready && sm_table_job_trained(&jobs->job[job->need[k]]);
    sm_recipe *r = NULL;
    if (ready) status = sm_table_job_recipe(jobs, job, SM_JOB_FOR_TRAINING, NULL, &r, err);
    if (ready && !status && (status = sm_recipe_create(r, err))) jobs_of_run(job->run, err);
    sm_recipe_free(r);
  }
  return status;
}

static sm_status jobs_make_runs_folder(sm_table_jobs *jobs, sm_error *err) {
  char full[PATH_MAX];
  bool look_only = jobs->options.look_only;
  sm_status status = look_only ? SM_OK : sm_mkdirs(jobs->options.runs, err);
  if (status) return status;
  if (!realpath(jobs->options.runs, full)) {
    if (look_only) return (jobs->runs = jobs->options.runs) ? SM_OK : jobs_no_memory(err);
    sm_fail(err, SM_EIO, "cannot use the folder of runs: %s", strerror(errno));
    return sm_fail_at(err, jobs->options.runs, 0, 0);
  }
  jobs->runs = sm_arena_strdup(jobs->arena, full);
  return jobs->runs ? SM_OK : jobs_no_memory(err);
}

sm_status sm_table_jobs_new(const sm_table_recipe *t, const sm_table_options *options, sm_table_jobs **out,
                            sm_error *err) {
  *out = NULL;
  sm_arena *arena = sm_arena_new("table jobs");
  sm_table_jobs *jobs = arena ? sm_arena_alloc(arena, sizeof *jobs) : NULL;
  if (!jobs) {
    sm_arena_free(arena);
    return jobs_no_memory(err);
  }
  *jobs = (sm_table_jobs){.recipe = t, .options = *options, .arena = arena};
  sm_status status = jobs_refuse_override(options, err);
  if (!status) status = jobs_make_runs_folder(jobs, err);
  if (!status) status = sm_table_others_override(jobs, err);
  if (!status) status = jobs_add_jobs(jobs, err);
  if (!status) status = jobs_choose_rows(jobs, err);
  if (!status) status = sm_table_columns_check(jobs, err);
  if (!status) sm_table_jobs_look(jobs);
  if (!status) status = jobs_check_jobs(jobs, err);
  if (status) sm_table_jobs_free(jobs);
  else *out = jobs;
  return status;
}

void sm_table_jobs_free(sm_table_jobs *jobs) {
  if (jobs) sm_arena_free(jobs->arena);
}

/* framework/models/checkpoint.c — see checkpoint.h. The file format itself is formats.h. */
#include "checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <smalti/network.h>

#include "framework/base/path.h"

#define FORMAT "1"
#define STEP_MOST ((int64_t)1 << 53) /* of any run; a larger number in a file is damage */
static const char *const buffer_name[] = {
    [SM_VALUES] = "", [SM_MOMENT1] = "optimizer.m.", [SM_MOMENT2] = "optimizer.v."};

void sm_run_state_free(sm_run_state *s) {
  sm_free(s->bad);
  sm_free(s->damaged);
  sm_free(s->plugins);
  s->bad = s->damaged = NULL;
  s->plugins = NULL;
  s->n_bad = s->n_damaged = 0;
}

/* ---- the tensors of a checkpoint ------------------------------------------------------------------- */

typedef sm_status (*tensor_fn)(void *ctx, const char *name, const char *dtype, int ndim, const int64_t *shape,
                               void *data, size_t bytes, sm_error *);

/* Visit every stored tensor: values of all sets ("student.backbone…"), moments ("optimizer.m.backbone…"),
 * aliases once. */
static sm_status checkpoint_each_tensor(sm_set *const sets[], tensor_fn fn, void *ctx, sm_error *err) {
  for (int i = 0; i < SM_SETS_SAVED; i++) {
    sm_set *set = sets[i];
    const char *dtype = sm_dtype_name(sm_set_real(set));
    for (int r = 0; r < sm_set_rows(set); r++) {
      const sm_row *row = sm_set_row(set, r);
      if (row->alias_of >= 0) continue;
      for (int b = SM_VALUES; b <= SM_MOMENT2; b++) {
        if (b == SM_GRADIENTS || (b != SM_VALUES && i != SM_SET_STUDENT)) continue;
        size_t bytes;
        if (b != SM_VALUES && (row->flags & SM_ROW_FROZEN)) continue;
        void *data = sm_set_lend(set, r, (sm_buffer)b, &bytes);
        if (!data) continue;
        char name[320];
        snprintf(name, sizeof name, "%s%s%s", b == SM_VALUES ? sm_set_names[i] : buffer_name[b],
                 b == SM_VALUES ? "." : "", row->name);
        sm_status status = fn(ctx, name, dtype, row->ndim, row->dim, data, bytes, err);
        sm_set_give_back(set, r, (sm_buffer)b, data, true);
        if (status) return status;
      }
    }
  }
  return SM_OK;
}

static sm_status checkpoint_declare_one(void *w, const char *name, const char *dtype, int ndim,
                                        const int64_t *shape, void *data, size_t bytes, sm_error *err) {
  (void)data, (void)bytes, (void)err;
  sm_st_declare(w, name, dtype, ndim, shape); /* errors are sticky and reported by finish */
  return SM_OK;
}
static sm_status checkpoint_write_one(void *w, const char *name, const char *dtype, int ndim,
                                      const int64_t *shape, void *data, size_t bytes, sm_error *err) {
  (void)dtype, (void)ndim, (void)shape, (void)err;
  sm_st_write(w, name, data, bytes);
  return SM_OK;
}
static sm_status checkpoint_read_one(void *r, const char *name, const char *dtype, int ndim,
                                     const int64_t *shape, void *data, size_t bytes, sm_error *err) {
  if (!sm_st_expect(r, name, dtype, ndim, shape, err)) return err ? err->code : SM_EFORMAT;
  return sm_st_read(r, name, data, bytes, err);
}

/* ---- metadata -------------------------------------------------------------------------------------- */

static void checkpoint_meta_int(sm_st_writer *w, const char *key, int64_t value) {
  char text[32];
  snprintf(text, sizeof text, "%" PRId64, value);
  sm_st_metadata(w, key, text);
}
static void checkpoint_meta_hash(sm_st_writer *w, const char *key, uint64_t value) {
  char text[32];
  snprintf(text, sizeof text, "%016" PRIx64, value);
  sm_st_metadata(w, key, text);
}
/* One hash a tokenizer, up to the last that has frozen weights; nothing where none has. */
static void checkpoint_meta_frozen(sm_st_writer *w, const sm_run_state *s) {
  char text[17 * SM_SLOTS_MAX + 1];
  int n = SM_SLOTS_MAX;
  while (n && !s->frozen_hash[n - 1]) n--;
  for (int i = 0; i < n; i++) snprintf(text + 17 * i, 18, "%016" PRIx64 " ", s->frozen_hash[i]);
  if (n) text[17 * n - 1] = 0;
  if (n) sm_st_metadata(w, "frozen_hash", text);
}
static void checkpoint_read_frozen(const sm_st_reader *r, sm_run_state *s) {
  const char *text = sm_st_get(r, "frozen_hash");
  for (int i = 0; text && *text && i < SM_SLOTS_MAX; i++) {
    char *end;
    s->frozen_hash[i] = strtoull(text, &end, 16);
    text = end + (*end == ' ');
  }
}
static sm_status checkpoint_read_plugins(const sm_st_reader *r, sm_run_state *s, sm_error *err) {
  const char *text = sm_st_get(r, "plugins");
  if (!text) return SM_OK; /* of an earlier smalti */
  s->plugins = sm_malloc(strlen(text) + 1);
  if (!s->plugins) return sm_fail(err, SM_ENOMEM, "no memory to load a checkpoint");
  memcpy(s->plugins, text, strlen(text) + 1);
  return SM_OK;
}
static void checkpoint_meta_state(sm_st_writer *w, const sm_run_state *s) {
  sm_st_metadata(w, "checkpoint.format", FORMAT);
  sm_st_metadata(w, "producer", sm_version());
  checkpoint_meta_int(w, "step", s->step);
  checkpoint_meta_int(w, "metrics_bytes", s->metrics_bytes);
  checkpoint_meta_hash(w, "recipe_hash", s->recipe_hash);
  checkpoint_meta_hash(w, "data_hash", s->data_hash);
  sm_st_metadata(w, "isa", s->isa);
  sm_st_metadata(w, "blas_core", s->core);
  checkpoint_meta_frozen(w, s);
  if (s->plugins) sm_st_metadata(w, "plugins", s->plugins);
  checkpoint_meta_int(w, "finished", s->finished);
  checkpoint_meta_int(w, "pending_evaluation", s->pending_evaluation);
  checkpoint_meta_int(w, "window_steps", s->window_steps);
  sm_text names = {0};
  for (int i = 0; i < s->window_metrics; i++)
    sm_text_add(&names, "%s%s%s", i ? " " : "", s->window[i].mean ? "+" : "=", s->window[i].name);
  sm_st_metadata(w, "window_names", names.failed ? NULL : names.s ? names.s : "");
  sm_text_free(&names);
}

static sm_status checkpoint_get_int(const sm_st_reader *r, const char *key, int64_t *value, sm_error *err) {
  const char *text = sm_st_get(r, key);
  const int64_t most = INT64_C(1) << 53; /* counts and lengths; with room to add to them */
  if (text && sm_parse_int(text, value) && *value >= 0 && *value <= most) return SM_OK;
  sm_fail(err, SM_EFORMAT, "checkpoint says %s%s%s for '%s'", text ? "'" : "", text ? text : "nothing",
          text ? "'" : "", key);
  return sm_fail_at(err, sm_st_path(r), 0, 0);
}
static uint64_t checkpoint_get_hash(const sm_st_reader *r, const char *key) {
  const char *text = sm_st_get(r, key);
  return text ? strtoull(text, NULL, 16) : 0;
}

static sm_status checkpoint_read_window(const sm_st_reader *r, sm_run_state *s, sm_error *err) {
  const char *names = sm_st_get(r, "window_names");
  s->window_metrics = 0;
  while (names && *names && s->window_metrics < SM_METRICS_MAX) {
    sm_metric *m = &s->window[s->window_metrics++];
    size_t n = strcspn(names, " ");
    m->mean = *names == '+';
    snprintf(m->name, sizeof m->name, "%.*s", (int)(n ? n - 1 : 0), names + 1);
    names += n + (names[n] == ' ');
  }
  if (!s->window_metrics) return SM_OK;
  double sums[SM_METRICS_MAX][2];
  const int64_t dim[2] = {s->window_metrics, 2};
  if (!sm_st_expect(r, "run.window", "F64", 2, dim, err)) return SM_EFORMAT;
  sm_status status = sm_st_read(r, "run.window", sums, (size_t)dim[0] * sizeof *sums, err);
  for (int i = 0; !status && i < s->window_metrics; i++) {
    s->window[i].value = sums[i][0];
    s->window_count[i] = sums[i][1];
  }
  return status;
}

static sm_status checkpoint_read_state(const sm_st_reader *r, sm_run_state *s, sm_error *err) {
  int64_t steps = 0, finished = 0, pending = 0;
  memset(s, 0, sizeof *s);
  sm_status status = checkpoint_get_int(r, "step", &s->step, err);
  if (!status) status = checkpoint_get_int(r, "metrics_bytes", &s->metrics_bytes, err);
  if (!status) status = checkpoint_get_int(r, "window_steps", &steps, err);
  if (!status) status = checkpoint_get_int(r, "finished", &finished, err);
  if (!status) status = checkpoint_get_int(r, "pending_evaluation", &pending, err);
  if (!status) status = checkpoint_read_window(r, s, err);
  if (status) return status;
  if ((status = sm_st_read(r, "run.monitor", s->monitor, sizeof s->monitor, err))) return status;
  s->window_steps = (int)steps;
  s->finished = finished != 0;
  s->pending_evaluation = pending != 0;
  s->recipe_hash = checkpoint_get_hash(r, "recipe_hash");
  s->data_hash = checkpoint_get_hash(r, "data_hash");
  checkpoint_read_frozen(r, s);
  if ((status = checkpoint_read_plugins(r, s, err))) return status;
  snprintf(s->isa, sizeof s->isa, "%s", sm_st_get(r, "isa") ? sm_st_get(r, "isa") : "");
  snprintf(s->core, sizeof s->core, "%s", sm_st_get(r, "blas_core") ? sm_st_get(r, "blas_core") : "");
  const sm_st_tensor *bad = sm_st_find(r, "run.bad");
  if (bad && bad->elements && !strcmp(bad->dtype, "I64")) {
    s->bad = sm_malloc(bad->bytes);
    if (!s->bad) return sm_fail(err, SM_ENOMEM, "no memory for the list of bad pictures");
    s->n_bad = (int64_t)bad->elements;
    status = sm_st_read(r, "run.bad", s->bad, bad->bytes, err);
  }
  return status;
}

/* ---- save ------------------------------------------------------------------------------------------ */

static int64_t *checkpoint_step_counts(sm_set *set, int64_t *n) {
  *n = sm_set_rows(set);
  int64_t *steps = sm_calloc((size_t)*n + 1, sizeof *steps);
  for (int64_t i = 0; steps && i < *n; i++) steps[i] = sm_set_row(set, (int)i)->steps;
  return steps;
}

static sm_status checkpoint_write_file(const char *path, sm_set *const set[], const sm_run_state *s,
                                       sm_error *err) {
  int64_t rows, window[2] = {s->window_metrics, 2}, monitors = SM_MONITOR_VALUES;
  int64_t *steps = checkpoint_step_counts(set[SM_SET_STUDENT], &rows);
  if (!steps) return sm_fail(err, SM_ENOMEM, "no memory to save a checkpoint");
  sm_st_writer *w = sm_st_create(path, SM_ST_AS_DECLARED, err);
  if (!w) {
    sm_free(steps);
    return err ? err->code : SM_EIO;
  }
  double sums[SM_METRICS_MAX][2];
  for (int i = 0; i < s->window_metrics; i++) {
    sums[i][0] = s->window[i].value;
    sums[i][1] = s->window_count[i];
  }
  checkpoint_meta_state(w, s);
  checkpoint_each_tensor(set, checkpoint_declare_one, w, NULL);
  sm_st_declare(w, "optimizer.steps", "I64", 1, &rows);
  sm_st_declare(w, "run.monitor", "F64", 1, &monitors);
  if (window[0]) sm_st_declare(w, "run.window", "F64", 2, window);
  if (s->n_bad) sm_st_declare(w, "run.bad", "I64", 1, &s->n_bad);
  checkpoint_each_tensor(set, checkpoint_write_one, w, NULL);
  sm_st_write(w, "optimizer.steps", steps, (size_t)rows * sizeof *steps);
  sm_st_write(w, "run.monitor", s->monitor, sizeof s->monitor);
  if (window[0]) sm_st_write(w, "run.window", sums, (size_t)window[0] * sizeof *sums);
  if (s->n_bad) sm_st_write(w, "run.bad", s->bad, (size_t)s->n_bad * sizeof *s->bad);
  sm_free(steps);
  return sm_st_finish(w, err);
}

/* ---- the folder ------------------------------------------------------------------------------------ */

typedef struct step_list {
  int64_t *step;
  int n;
} step_list;

static bool checkpoint_add_step(int64_t **list, int *n, int64_t step) {
  int64_t *grown = sm_realloc(*list, (size_t)(*n + 1) * sizeof *grown);
  if (!grown) return false;
  *list = grown;
  grown[(*n)++] = step;
  return true;
}

static int checkpoint_newest_first(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return x < y ? 1 : x > y ? -1 : 0;
}

static sm_status checkpoint_list_steps(const char *folder, step_list *list, sm_error *err) {
  *list = (step_list){0};
  DIR *dir = opendir(folder);
  if (!dir) {
    if (errno == ENOENT) return SM_OK;
    sm_fail(err, SM_EIO, "cannot list checkpoints: %s", strerror(errno));
    return sm_fail_at(err, folder, 0, 0), SM_EIO;
  }
  struct dirent *e;
  while (errno = 0, (e = readdir(dir))) {
    long long step;
    int end = 0;
    if (sscanf(e->d_name, "step-%lld.safetensors%n", &step, &end) != 1 || !end || e->d_name[end]) continue;
    if (step < 0 || step > STEP_MOST) continue;
    if (checkpoint_add_step(&list->step, &list->n, step)) continue;
    sm_free(list->step); /* half a list would hide the newest checkpoint */
    *list = (step_list){0};
    closedir(dir);
    return sm_fail(err, SM_ENOMEM, "no memory to list checkpoints");
  }
  int code = errno;
  closedir(dir);
  if (code) {
    sm_free(list->step);
    *list = (step_list){0};
    sm_fail(err, SM_EIO, "cannot list checkpoints: %s", strerror(code));
    return sm_fail_at(err, folder, 0, 0), SM_EIO;
  }
  if (list->n) qsort(list->step, (size_t)list->n, sizeof *list->step, checkpoint_newest_first);
  return SM_OK;
}

static void checkpoint_step_path(const char *folder, int64_t step, char path[SM_PATH_ROOM]) {
  sm_path_put(path, "%s/step-%08lld.safetensors", folder, (long long)step);
}

static void checkpoint_drop(const char *folder, int64_t step) {
  char path[SM_PATH_ROOM];
  checkpoint_step_path(folder, step, path);
  unlink(path); /* one that stays is only lost space */
}

/* Those of later steps that were not damaged are nobody's here to drop. */
static void checkpoint_drop_old(const char *folder, sm_run_state *s, int keep) {
  step_list list;
  for (int i = 0; i < s->n_damaged; i++)
    if (s->damaged[i] != s->step) checkpoint_drop(folder, s->damaged[i]);
  s->n_damaged = 0;
  if (checkpoint_list_steps(folder, &list, NULL)) return;
  for (int i = 0, good = 0; i < list.n; i++)
    if (list.step[i] <= s->step && good++ >= (keep < 2 ? 2 : keep)) checkpoint_drop(folder, list.step[i]);
  sm_free(list.step);
}

sm_status sm_checkpoint_save(const char *folder, sm_set *const set[SM_SETS_SAVED], sm_run_state *s, int keep,
                             sm_error *err) {
  char path[SM_PATH_ROOM];
  mkdir(folder, 0777); /* not the run's own: that one may be gone, and is not made anew */
  checkpoint_step_path(folder, s->step, path);
  sm_status status = checkpoint_write_file(path, set, s, err);
  if (!status) checkpoint_drop_old(folder, s, keep);
  return status;
}

/* ---- load ------------------------------------------------------------------------------------------ */

sm_status sm_checkpoint_format(const sm_st_reader *r, sm_error *err) {
  const char *format = sm_st_get(r, "checkpoint.format"), *producer = sm_st_get(r, "producer");
  if (format && !strcmp(format, FORMAT)) return SM_OK;
  sm_fail(err, format ? SM_EUNSUPPORTED : SM_EFORMAT,
          "checkpoint format %.40s, made by smalti %.40s; this smalti reads format " FORMAT,
          format ? format : "(none)", producer ? producer : "(unknown)");
  sm_fail_at(err, sm_st_path(r), 0, 0);
  return format ? sm_hint(err, "use a newer smalti") : SM_EFORMAT;
}

/* The file of a step, whole, and of that step. NULL: err->code says why. */
static sm_st_reader *checkpoint_open(const char *path, int64_t step, sm_error *err) {
  sm_st_reader *r = sm_st_open(path, err);
  int64_t own = -1;
  sm_status status = r ? sm_st_verify(r, err) : err->code;
  if (!status) status = sm_checkpoint_format(r, err);
  if (!status) status = checkpoint_get_int(r, "step", &own, err);
  if (!status && own != step) {
    status = sm_fail(err, SM_EFORMAT, "it holds step %" PRId64 ", which is not what it is called", own);
    sm_fail_at(err, path, 0, 0);
  }
  if (!status) return r;
  sm_st_close(r);
  return NULL;
}

/* Bytes that are wrong, or no file. What cannot be read just now may be good the next time. */
static bool checkpoint_is_damage(sm_status status) {
  return status == SM_EFORMAT || status == SM_EINVAL || status == SM_ENOTFOUND;
}

static sm_status checkpoint_load_file(const char *path, int64_t step, sm_set *const set[], sm_run_state *s,
                                      sm_error *err) {
  sm_st_reader *r = checkpoint_open(path, step, err);
  if (!r) return err->code;
  int64_t rows = sm_set_rows(set[SM_SET_STUDENT]), *steps = sm_calloc((size_t)rows + 1, sizeof *steps);
  sm_status status = steps ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory to load a checkpoint");
  if (!status) status = checkpoint_read_state(r, s, err);
  if (!status) status = checkpoint_each_tensor(set, checkpoint_read_one, r, err);
  if (!status && !sm_st_expect(r, "optimizer.steps", "I64", 1, &rows, err)) status = SM_EFORMAT;
  if (!status) status = sm_st_read(r, "optimizer.steps", steps, (size_t)rows * sizeof *steps, err);
  for (int64_t i = 0; !status && i < rows; i++) sm_set_row(set[SM_SET_STUDENT], (int)i)->steps = steps[i];
  sm_free(steps);
  sm_st_close(r);
  if (status) sm_run_state_free(s);
  return status;
}

/* The newest that loads. Steps that were passed over go to list->step[0 … *damaged - 1], as they stand. */
static sm_status checkpoint_load_first(const char *folder, const step_list *list, sm_set *const set[],
                                       sm_run_state *s, int *damaged, sm_error *why) {
  char path[SM_PATH_ROOM], text[2048];
  sm_status status = SM_OK;
  for (*damaged = 0; *damaged < list->n; ++*damaged) {
    sm_error_clear(why);
    checkpoint_step_path(folder, list->step[*damaged], path);
    status = checkpoint_load_file(path, list->step[*damaged], set, s, why);
    if (!status || !checkpoint_is_damage(status)) return status;
    sm_log(SM_LOG_WARNING, "checkpoint not usable: %s", sm_error_text(why, text, sizeof text));
  }
  return status;
}

sm_status sm_checkpoint_load_newest(const char *folder, sm_set *const set[SM_SETS_SAVED], sm_run_state *s,
                                    bool *found, sm_error *err) {
  step_list list;
  sm_error why = {0};
  int damaged = 0;
  *found = false;
  sm_status status = checkpoint_list_steps(folder, &list, err);
  if (status) return status;
  status = checkpoint_load_first(folder, &list, set, s, &damaged, &why);
  *found = list.n && !status;
  if (*found && damaged)
    sm_log(SM_LOG_WARNING, "going on from step %lld, the last good checkpoint", (long long)s->step);
  if (list.n && damaged == list.n)
    sm_hint(&why,
            "none of %d checkpoints in '%s' is usable; put a good one there, or train under another name: "
            "`name=…`, --fresh",
            list.n, folder);
  if (status && err) *err = why;
  for (int i = 0; *found && i < damaged; i++)
    if (!checkpoint_add_step(&s->damaged, &s->n_damaged, list.step[i]))
      status = sm_fail(err, SM_ENOMEM, "no memory to list checkpoints");
  sm_free(list.step);
  return status;
}

bool sm_is_checkpoint(const sm_st_reader *r) { return sm_st_get(r, "checkpoint.format") != NULL; }

const char *sm_checkpoint_backbone(bool teacher) {
  return teacher ? "teacher." SM_BACKBONE_PREFIX : "student." SM_BACKBONE_PREFIX;
}

bool sm_checkpoint_holds(const sm_st_reader *r, const char *prefix) {
  size_t cut = strlen(prefix);
  const sm_st_tensor *t;
  for (size_t i = 0; (t = sm_st_at(r, i)); i++)
    if (!strncmp(t->name, prefix, cut)) return true;
  return false;
}

bool sm_checkpoint_has_teacher(const sm_st_reader *r) {
  return sm_checkpoint_holds(r, sm_checkpoint_backbone(true));
}

sm_status sm_weights_file(const char *path, sm_arena *arena, const char **file, sm_error *err) {
  struct stat st;
  *file = NULL;
  if (stat(path, &st)) {
    sm_fail(err, SM_ENOTFOUND, "no such run or file: %s", strerror(errno));
    return sm_fail_at(err, path, 0, 0);
  }
  if (!S_ISDIR(st.st_mode))
    return (*file = sm_arena_strdup(arena, path)) ? SM_OK : sm_fail(err, SM_ENOMEM, "out of memory");
  char folder[SM_PATH_ROOM], name[SM_PATH_ROOM];
  sm_path_put(folder, "%s/checkpoints", path);
  step_list list;
  sm_status status = checkpoint_list_steps(folder, &list, err);
  for (int i = 0; !status && i < list.n && !*file; i++) {
    sm_error why = {0};
    checkpoint_step_path(folder, list.step[i], name);
    sm_st_reader *r = checkpoint_open(name, list.step[i], &why);
    if (r && !(*file = sm_arena_strdup(arena, name))) sm_fail(&why, SM_ENOMEM, "out of memory");
    sm_st_close(r);
    if (!why.code || checkpoint_is_damage(why.code)) continue;
    status = why.code;
    if (err) *err = why;
  }
  sm_free(list.step);
  if (status || *file) return status;
  sm_fail(err, SM_ENOTFOUND, "the run has no usable checkpoint");
  sm_fail_at(err, path, 0, 0);
  return sm_hint(err, "train it first: `smalti train RECIPE`");
}

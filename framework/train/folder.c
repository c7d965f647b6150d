/* framework/train/folder.c — see folder.h. Owns the lock and the log handles. */
#include "folder.h"

#include "framework/base/cpu.h"
#include "framework/base/io.h"
#include "framework/recipe/recipe_private.h"
#include "framework/tensor/kernels.h"

#include <cblas.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

extern char *openblas_get_config(void);

/* ---- the lock ------------------------------------------------------------------------------------------ */

static sm_status folder_no_lock(const sm_run_folder *f, int code, sm_error *err) {
  if (code == EWOULDBLOCK) {
    sm_fail(err, SM_EINVAL, "another process is training this run");
    sm_hint(err, "wait for it, or give this one another name: `name=…`");
  } else if (code == ELOOP || code == ENXIO) {
    sm_fail(err, SM_EINVAL, "lock is not a file, but something else");
    sm_hint(err, "remove it");
  } else {
    sm_fail(err, SM_EIO, "cannot write to the run folder: %s", strerror(code));
  }
  return sm_fail_at(err, f->path, 0, 0);
}

/* errno, or 0. ENOENT: another session has just removed the folder (sm_folder_discard). */
static int folder_try_lock(sm_run_folder *f) {
  char path[SM_PATH_ROOM];
  struct stat st = {0}, found;
  sm_path_put(path, "%s/lock", f->path);
  f->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
  if (f->lock < 0) return errno;
  int code = fstat(f->lock, &st) ? errno : S_ISREG(st.st_mode) ? 0 : ELOOP;
  if (!code && flock(f->lock, LOCK_EX | LOCK_NB)) code = errno;
  if (!code && !fstat(f->lock, &st) && !st.st_nlink) code = ENOENT;
  f->named = !stat(path, &found) && found.st_ino == st.st_ino && found.st_dev == st.st_dev;
  if (code) close(f->lock);
  if (code) f->lock = -1;
  return code;
}

static bool folder_is_missing(const char *path) {
  struct stat st;
  return stat(path, &st) && errno == ENOENT;
}

/* Bytes of the shortest part of `path` that is not there; 0: all of it is. */
static size_t folder_missing_part(const char *path) {
  char part[SM_PATH_ROOM];
  size_t n = strlen(path);
  if (!folder_is_missing(path)) return 0;
  for (size_t i = 1; i < n; i++) {
    sm_path_put(part, "%.*s", (int)i, path);
    if (path[i] == '/' && path[i - 1] != '/' && folder_is_missing(part)) return i;
  }
  return n;
}

static sm_status folder_make(sm_run_folder *f, sm_error *err) {
  sm_status status = SM_OK;
  int code = ENOENT;
  for (int attempt = 0; !status && code == ENOENT && attempt < 3; attempt++) {
    f->made = folder_missing_part(f->path);
    status = sm_mkdirs(f->checkpoints, err);
    if (!status) code = folder_try_lock(f);
  }
  return !status && code ? folder_no_lock(f, code, err) : status;
}

/* ---- the recipe ---------------------------------------------------------------------------------------- */

enum { DIFFERENCES_SHOWN = 3 };
typedef struct differences {
  sm_text text;
  int n;
  bool schedules; /* looked for now; others before, since a schedule that was left open follows from them */
  const char *runs; /* the folder of runs, canonical */
} differences;

/* Paths to a run in a folder of runs that was moved, or is mounted elsewhere: the same behind that folder. */
static bool folder_same_place(const char *runs, const char *old, const char *now) {
  size_t n = strlen(runs), length = old ? strlen(old) : 0;
  if (!old || !now) return false;
  now += now[0] == '"' || now[0] == '\'';
  if (strncmp(now, runs, n) != 0 || now[n] != '/') return false;
  const char *rest = now + n;
  return length > strlen(rest) && !strcmp(old + length - strlen(rest), rest) && strchr("/\"'", old[0]);
}

static void folder_note_difference(void *ctx, const char *path, const char *old, const char *now) {
  differences *d = ctx;
  bool schedule = (old && *old == '{') || (now && *now == '{');
  if (sm_recipe_conduct(path) || schedule != d->schedules || folder_same_place(d->runs, old, now)) return;
  if (++d->n > DIFFERENCES_SHOWN) return;
  sm_text_add(&d->text, "%s%s: %s → %s", d->n > 1 ? ", " : "", path, old ? old : "(none)",
              now ? now : "(none)");
}

static sm_status folder_compare(sm_run_folder *f, const sm_recipe *old, const sm_recipe *r, const char *runs,
                                sm_error *err) {
  char real[PATH_MAX];
  differences d = {.runs = realpath(runs, real) ? real : runs};
  for (int i = 0; i < 2; i++) {
    d.schedules = i;
    if (sm_recipe_compare(old, r, folder_note_difference, &d) < 0)
      return sm_text_free(&d.text), sm_fail(err, SM_ENOMEM, "out of memory");
  }
  if (d.n) {
    sm_fail(err, SM_EINVAL, "this run was started with another recipe; %d %s: %s%s", d.n,
            sm_plural(d.n, "value differs", "values differ"), d.text.s ? d.text.s : "",
            d.n > DIFFERENCES_SHOWN ? ", …" : "");
    sm_fail_at(err, f->path, 0, 0);
    sm_hint(
        err,
        "give the new recipe another name (`name=…`), or remove the folder to start anew; under another name, train.init=%s starts from what this run learned",
        f->path);
  }
  sm_text_free(&d.text);
  return d.n ? SM_EINVAL : SM_OK;
}

/* Hashes hold the name that was given, and of NAME-2, which --fresh made, that was NAME. */
static sm_status folder_hash(sm_run_folder *f, const sm_recipe *r, sm_error *err) {
  char base[256];
  sm_recipe renamed = *r;
  snprintf(base, sizeof base, "%s", r->given_name);
  char *dash = strrchr(base, '-');
  if (dash && dash[1] && !dash[1 + strspn(dash + 1, "0123456789")]) *dash = 0;
  renamed.given_name = base;
  const uint64_t hash[] = {sm_recipe_hash(r), sm_recipe_hash(&renamed), sm_recipe_hash_written(r),
                           sm_recipe_hash_written(&renamed)};
  memcpy(f->recipe_hash, hash, sizeof hash);
  return hash[0] && hash[1] && hash[2] && hash[3] ? SM_OK : sm_fail(err, SM_ENOMEM, "out of memory");
}

/* What is missing is most often a path, never a reason to give the run up. */
static sm_status folder_unreadable(const char *path, sm_status status, sm_error *err) {
  char kind[32], name[96];
  if (!err || status != SM_ENOTFOUND || sscanf(err->message, "no %31s called '%95[^']'", kind, name) != 2)
    return sm_hint(err, "the run folder's recipe cannot be read: restore it, or choose another `name=…`"),
           status;
  sm_fail(err, status, "the run needs %s '%s', which is not there", kind, name);
  sm_fail_at(err, path, 0, 0);
  return sm_hint(err, "say where it is with --plugin-path");
}

/* A folder that holds a recipe must hold this one; the message shows the first differences. */
static sm_status folder_same_recipe(sm_run_folder *f, const char *runs, const sm_recipe *r,
                                    sm_registry *registry, sm_error *err) {
  char path[SM_PATH_ROOM];
  struct stat st;
  sm_recipe *old = NULL;
  sm_path_put(path, "%s/recipe.yaml", f->path);
  f->kept = stat(path, &st) == 0;
  if (!f->kept && errno != ENOENT) return sm_fail_errno(err, errno, "examine", path);
  if (!f->kept) return folder_hash(f, r, err);
  sm_status status = sm_recipe_load(&old, registry, path, 0, NULL, err);
  if (status) return status == SM_ENOMEM || status == SM_EIO ? status : folder_unreadable(path, status, err);
  status = folder_hash(f, old, err);
  if (!status && f->recipe_hash[0] != sm_recipe_hash(r)) status = folder_compare(f, old, r, runs, err);
  sm_recipe_free(old);
  return status;
}

/* ---- opening ------------------------------------------------------------------------------------------- */

/* NAME.tmp-PID or NAME.tmp-PID.N, as sm_file calls what it has not finished (base/file.c). */
static bool folder_is_temporary(const char *name) {
  const char *mark = NULL;
  for (const char *p = name; (p = strstr(p, ".tmp-")); p++) mark = p;
  if (!mark || mark == name) return false;
  mark += strlen(".tmp-");
  return strlen(mark) > 0 && strspn(mark, "0123456789.") == strlen(mark);
}

/* We hold the run's lock: what is unfinished here is a dead process's, and may be as
 * large as a checkpoint. */
static void folder_tidy(const char *folder) {
  DIR *dir = opendir(folder);
  if (!dir) return;
  for (struct dirent *e; (e = readdir(dir));)
    if (folder_is_temporary(e->d_name)) unlinkat(dirfd(dir), e->d_name, 0);
  closedir(dir);
}

sm_status sm_folder_open(sm_run_folder *f, const char *runs, const sm_recipe *r, sm_registry *registry,
                         sm_error *err) {
  memset(f, 0, sizeof *f);
  f->lock = -1;
  sm_path_put(f->path, "%s/%s", runs, r->name);
  sm_path_put(f->checkpoints, "%s/checkpoints", f->path);
  sm_status status = folder_make(f, err);
  if (!status) status = folder_same_recipe(f, runs, r, registry, err);
  if (status) return status;
  folder_tidy(f->path);
  folder_tidy(f->checkpoints);
  return SM_OK;
}

/* The last step that was saved, as the lock says; -1: it does not say. */
static int64_t folder_saved_step(const sm_run_folder *f) {
  char text[32] = "";
  long long step;
  ssize_t n = pread(f->lock, text, sizeof text - 1, 0);
  return n > 0 && sscanf(text, "%lld", &step) == 1 ? step : -1;
}

/* Not synced: after a power cut the checkpoint is there, or its folder says nothing. */
void sm_folder_saved(sm_run_folder *f, int64_t step) {
  char text[32];
  int n = snprintf(text, sizeof text, "%lld\n", (long long)step);
  if (pwrite(f->lock, text, (size_t)n, 0) != n || ftruncate(f->lock, n))
    return; /* it is asked for only where there is no checkpoint */
}

sm_status sm_folder_begins(sm_run_folder *f, sm_error *err) {
  char path[SM_PATH_ROOM];
  struct stat st;
  int64_t saved = folder_saved_step(f);
  sm_path_put(path, "%s/metrics.jsonl", f->path);
  bool records = stat(path, &st) == 0 && st.st_size > 0;
  if (saved <= 0 && !(saved < 0 && records)) {
    if (records) sm_log(SM_LOG_INFO, "%s: ended before its first checkpoint: it begins anew", f->path);
    sm_folder_saved(f, 0);
    return SM_OK;
  }
  if (saved > 0)
    sm_fail(err, SM_EINVAL, "step %lld of this run was saved, but its checkpoints are gone",
            (long long)saved);
  else sm_fail(err, SM_EINVAL, "the folder holds the records of a run, but no checkpoint to go on from");
  sm_fail_at(err, f->path, 0, 0);
  return sm_hint(err, "put them back into checkpoints/, or train under another name: `name=…`, --fresh");
}

/* ENOENT is believed when it is said again a while later: a folder that is renamed and back is none that is
 * gone. */
sm_status sm_folder_there(const sm_run_folder *f, sm_error *err) {
  char path[SM_PATH_ROOM];
  struct stat ours, found;
  sm_path_put(path, "%s/lock", f->path);
  for (int attempt = 0; attempt < 3; attempt++) {
    if (attempt) sm_sleep(0.1 * (1 << attempt));
    if (stat(path, &found)) {
      if (errno != ENOENT && errno != ENOTDIR) return SM_OK;
    } else if (!f->named || fstat(f->lock, &ours) ||
               (ours.st_ino == found.st_ino && ours.st_dev == found.st_dev)) {
      return SM_OK;
    }
  }
  sm_fail(err, SM_EIO, "the run folder was removed, or moved away, while the run was training");
  sm_fail_at(err, f->path, 0, 0);
  return sm_hint(err, "if it was moved, put it back: it goes on from its last checkpoint");
}

/* ---- what it was made with ----------------------------------------------------------------------------- */

static void folder_cpu_model(char *out, size_t size) {
  snprintf(out, size, "unknown");
  FILE *f = fopen("/proc/cpuinfo", "r");
  char line[256];
  while (f && fgets(line, sizeof line, f))
    if (!strncmp(line, "model name", 10) && strchr(line, ':')) {
      snprintf(out, size, "%s", strchr(line, ':') + 2);
      out[strcspn(out, "\n")] = 0;
      break;
    }
  if (f) fclose(f);
}

/* made_by: kinds, names, versions and hashes (identity.c). */
static void folder_add_plugins(sm_json *j, const sm_recipe *r, const char *made_by) {
  sm_slot_ref refs[SM_SLOT_REFS_MAX];
  int n = sm_recipe_slots(r, refs);
  sm_json_array(j, "plugins");
  for (int i = 0; i < n; i++) {
    const sm_plugin *p = refs[i].slot->plugin.plugin;
    sm_json_object(j, NULL);
    sm_json_string(j, "kind", sm_kind_name((sm_kind)p->kind));
    sm_json_string(j, "name", p->name);
    sm_json_string(j, "version", p->version);
    sm_json_string(j, "cite", p->cite);
    sm_json_string(j, "file", sm_module_of(p));
    char hash[17];
    sm_identity_hash(made_by, p, hash);
    sm_json_string(j, "hash", hash);
    sm_json_close(j);
  }
  sm_json_close(j);
}

/* Why there are so many threads: what the machine has, and what of it this process may use. */
static void folder_add_processors(sm_json *j) {
  const sm_cpus cpus = sm_cpu_look();
  sm_json_object(j, "processors");
  sm_json_int(j, "machine", cpus.machine);
  sm_json_int(j, "allowed", cpus.allowed);
  if (cpus.quota) sm_json_int(j, "quota", cpus.quota);
  else sm_json_null(j, "quota");
  sm_json_close(j);
}

sm_status sm_folder_describe(sm_run_folder *f, const sm_recipe *r, const sm_ranks *ranks, const sm_run_state *state,
                             int threads, sm_error *err) {
  char path[SM_PATH_ROOM], cpu[200], when[40], products[64];
  sm_path_put(path, "%s/recipe.yaml", f->path);
  if (!sm_path_there(path, NULL)) {
    sm_text yaml = {0};
    sm_status status = sm_recipe_write(r, false, &yaml, err);
    if (!status) status = sm_file_put(path, yaml.s, yaml.len, err);
    sm_text_free(&yaml);
    if (status) return status;
  }
  struct utsname system;
  uname(&system);
  folder_cpu_model(cpu, sizeof cpu);
  time_t now = time(NULL);
  strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
  sm_json j = {0};
  sm_json_begin(&j);
  sm_json_string(&j, "smalti", sm_version());
  sm_json_string(&j, "session_started", when);
  sm_json_string(&j, "system", system.sysname);
  sm_json_string(&j, "kernel", system.release);
  sm_json_string(&j, "machine", system.machine);
  sm_json_string(&j, "cpu", cpu);
  sm_json_string(&j, "kernels", state->isa);
  sm_json_string(&j, "openblas", openblas_get_config());
  sm_json_string(&j, "products", sm_products_text(state->isa, products, sizeof products));
  sm_json_int(&j, "threads", threads);
  sm_json_int(&j, "ranks", sm_ranks_size(ranks));
  if (ranks) sm_json_string(&j, "mpi", sm_ranks_library(ranks));
  folder_add_processors(&j);
  folder_add_plugins(&j, r, state->plugins);
  const char *text = sm_json_finish(&j);
  sm_path_put(path, "%s/environment.json", f->path);
  sm_status status = text ? sm_file_put(path, text, strlen(text), err)
                          : sm_fail(err, SM_ENOMEM, "no memory for environment.json");
  sm_json_free(&j);
  return status;
}

/* ---- logs ---------------------------------------------------------------------------------------------- */

/* Bytes of timing.jsonl up to the records of steps after `step`; its lines begin {"step":N. A file that is there and
 * cannot be read is left alone. */
static sm_status folder_timing_length(const char *path, int64_t step, int64_t *length, sm_error *err) {
  char *text, *line, *end;
  size_t bytes;
  sm_error why = {0};
  *length = 0;
  sm_status status = sm_file_get(path, (size_t)1 << 30, &text, &bytes, &why);
  if (status == SM_ENOTFOUND) return SM_OK;
  if (status) {
    if (status != SM_ENOMEM && !why.hint[0]) sm_hint(&why, "see to it, or move it away: the run goes on without its times");
    if (err) *err = why;
    return status;
  }
  for (line = text; (end = strchr(line, '\n')); line = end + 1) {
    long long at;
    if (sscanf(line, "{\"step\":%lld", &at) != 1 || at > step) break;
  }
  *length = line - text;
  sm_free(text);
  return SM_OK;
}

sm_status sm_folder_logs(sm_run_folder *f, const sm_run_state *s, sm_error *err) {
  char path[SM_PATH_ROOM];
  sm_path_put(path, "%s/metrics.jsonl", f->path);
  if (!(f->metrics = sm_jsonl_open(path, s->metrics_bytes, err))) return err ? err->code : SM_EIO;
  sm_path_put(path, "%s/timing.jsonl", f->path);
  int64_t length = 0;
  sm_status status = s->step ? folder_timing_length(path, s->step, &length, err) : SM_OK;
  if (status) return status;
  if (!(f->timing = sm_jsonl_open(path, length, err))) return err ? err->code : SM_EIO;
  sm_path_put(path, "%s/tensorboard", f->path);
  if (!(f->events = sm_tb_open(path, s->step ? s->step + 1 : -1, err))) return err ? err->code : SM_EIO;
  return SM_OK;
}

void sm_folder_close(sm_run_folder *f) {
  sm_jsonl_close(f->metrics, NULL);
  sm_jsonl_close(f->timing, NULL);
  sm_tb_close(f->events, NULL);
  f->metrics = f->timing = NULL;
  f->events = NULL;
  if (f->lock >= 0) close(f->lock);
  f->lock = -1;
}

void sm_folder_discard(sm_run_folder *f) {
  char path[SM_PATH_ROOM], *slash;
  if (f->made) {
    bool empty = rmdir(f->checkpoints) == 0; /* nothing was saved, by nobody */
    if (empty && f->lock >= 0) sm_remove_tree(f->path, NULL);
    sm_path_put(path, "%s/", f->path);
    while ((slash = strrchr(path, '/')) && (size_t)(slash - path) >= f->made) {
      *slash = 0;
      if (rmdir(path) && errno != ENOENT) break; /* another run is in it */
    }
  }
  sm_folder_close(f);
}

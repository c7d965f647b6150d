/* framework/train/folder.c — see folder.h. Owns the lock and the log handles. */
#include "folder.h"

#include "framework/recipe/recipe_private.h"

#include <cblas.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

extern char *openblas_get_corename(void);
extern char *openblas_get_config(void);
const char *sm_blas_core(void) { return openblas_get_corename(); }

static sm_status folder_lock_folder(sm_run_folder *f, sm_error *err) {
  char path[2200];
  snprintf(path, sizeof path, "%s/lock", f->path);
  f->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (f->lock < 0) {
    sm_fail(err, SM_EIO, "cannot write to the run folder: %s", strerror(errno));
    return sm_fail_at(err, f->path, 0, 0);
  }
  if (flock(f->lock, LOCK_EX | LOCK_NB) == 0) return SM_OK;
  sm_fail(err, SM_EINVAL, "another process is training this run");
  sm_fail_at(err, f->path, 0, 0);
  return sm_hint(err, "wait for it, or give this one another name: `name=…`");
}

enum { DIFFERENCES_SHOWN = 3 };
typedef struct differences {
  sm_text text;
  int n;
  bool schedules; /* looked for now; others before, since a schedule that was left open follows from them */
} differences;

static void folder_note_difference(void *ctx, const char *path, const char *old, const char *now) {
  differences *d = ctx;
  bool schedule = (old && *old == '{') || (now && *now == '{');
  if (sm_recipe_conduct(path) || schedule != d->schedules || ++d->n > DIFFERENCES_SHOWN) return;
  sm_text_add(&d->text, "%s%s: %s → %s", d->n > 1 ? ", " : "", path, old ? old : "(none)",
              now ? now : "(none)");
}

/* A folder that holds a recipe must hold this one; the message shows the first differences. */
static sm_status folder_same_recipe(sm_run_folder *f, const sm_recipe *r, sm_registry *registry,
                                    sm_error *err) {
  char path[2200];
  struct stat st;
  snprintf(path, sizeof path, "%s/recipe.yaml", f->path);
  if (stat(path, &st)) return SM_OK;
  sm_recipe *old = NULL;
  sm_status status = sm_recipe_load(&old, registry, path, 0, NULL, err);
  if (status) {
    sm_hint(err,
            "the run folder's recipe cannot be read; remove the folder to start anew, or choose another "
            "`name=…`");
    return status;
  }
  const uint64_t hash = sm_recipe_hash(old), ours = sm_recipe_hash(r);
  if (!hash || !ours) {
    status = sm_fail(err, SM_ENOMEM, "no memory to compare the recipe with the run's");
  } else if (hash != ours) {
    differences d = {0};
    for (int i = 0; i < 2; i++) {
      d.schedules = i;
      sm_recipe_compare(old, r, folder_note_difference, &d);
    }
    sm_fail(err, SM_EINVAL, "this run was started with another recipe; %d %s: %s%s", d.n,
            sm_plural(d.n, "value differs", "values differ"), d.text.s ? d.text.s : "",
            d.n > DIFFERENCES_SHOWN ? ", …" : "");
    sm_fail_at(err, f->path, 0, 0);
    status = sm_hint(err, "give the new recipe another name (`name=…`), or remove the folder to start anew");
    sm_text_free(&d.text);
  }
  sm_recipe_free(old);
  return status;
}

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
  snprintf(f->path, sizeof f->path, "%s/%s", runs, r->name);
  snprintf(f->checkpoints, sizeof f->checkpoints, "%s/checkpoints", f->path);
  sm_status status = sm_mkdirs(f->checkpoints, err);
  if (!status) status = folder_lock_folder(f, err);
  if (!status) status = folder_same_recipe(f, r, registry, err);
  if (status) return status;
  folder_tidy(f->path);
  folder_tidy(f->checkpoints);
  return SM_OK;
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

static void folder_add_plugins(sm_json *j, const sm_recipe *r) {
  sm_slot_ref refs[SM_SLOT_REFS_MAX];
  int n = sm_recipe_slots(r, refs);
  sm_json_array(j, "plugins");
  for (int i = 0; i < n; i++) {
    const sm_plugin *p = refs[i].slot->plugin.plugin;
    sm_json_object(j, NULL);
    sm_json_string(j, "kind", sm_kind_name((sm_kind)p->kind));
    sm_json_string(j, "name", p->name);
    sm_json_string(j, "version", p->version);
    sm_json_close(j);
  }
  sm_json_close(j);
}

sm_status sm_folder_describe(sm_run_folder *f, const sm_recipe *r, const char *isa, int threads,
                             sm_error *err) {
  char path[2200], cpu[200], when[40];
  struct stat st;
  snprintf(path, sizeof path, "%s/recipe.yaml", f->path);
  if (stat(path, &st)) {
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
  sm_json_string(&j, "kernels", isa);
  sm_json_string(&j, "openblas", openblas_get_config());
  sm_json_int(&j, "threads", threads);
  folder_add_plugins(&j, r);
  const char *text = sm_json_finish(&j);
  snprintf(path, sizeof path, "%s/environment.json", f->path);
  sm_status status = text ? sm_file_put(path, text, strlen(text), err)
                          : sm_fail(err, SM_ENOMEM, "no memory for environment.json");
  sm_json_free(&j);
  return status;
}

/* ---- logs ---------------------------------------------------------------------------------------------- */

/* Bytes of timing.jsonl up to the records of steps after `step`; its lines begin {"step":N. */
static int64_t folder_timing_length(const char *path, int64_t step) {
  FILE *f = fopen(path, "r");
  if (!f) return 0;
  char line[4096];
  int64_t length = 0;
  while (fgets(line, sizeof line, f)) {
    long long at;
    size_t n = strlen(line);
    if (!n || line[n - 1] != '\n' || sscanf(line, "{\"step\":%lld", &at) != 1 || at > step) break;
    length += (int64_t)n;
  }
  fclose(f);
  return length;
}

sm_status sm_folder_logs(sm_run_folder *f, const sm_run_state *s, sm_error *err) {
  char path[2200];
  snprintf(path, sizeof path, "%s/metrics.jsonl", f->path);
  if (!(f->metrics = sm_jsonl_open(path, s->metrics_bytes, err))) return err ? err->code : SM_EIO;
  snprintf(path, sizeof path, "%s/timing.jsonl", f->path);
  if (!(f->timing = sm_jsonl_open(path, s->step ? folder_timing_length(path, s->step) : 0, err)))
    return err ? err->code : SM_EIO;
  snprintf(path, sizeof path, "%s/tensorboard", f->path);
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

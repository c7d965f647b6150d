/* open.c — joining the ranks that a launcher started: which MPI it is, its module, and whether both see as many
 * ranks; the hosts; and the end. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "framework/base/path.h"

#include "link.h"

/* ---- the launcher -------------------------------------------------------------------------------------- */

/* What a launcher tells the processes that it starts, in the environment. */
typedef struct launcher {
  const char *name, *variable, *module;
  int64_t ranks; /* as the variable says; 0: it is not set */
} launcher;

/* Slurm starts ranks for any MPI; PMIX_RANK then tells that it speaks Open MPI's protocol. */
static launcher open_launcher(void) {
  const char *const by_slurm = getenv("PMIX_RANK") ? "mpi_openmpi.so" : "mpi_mpich.so";
  launcher all[] = {{"Open MPI's mpirun", "OMPI_COMM_WORLD_SIZE", "mpi_openmpi.so", 0},
                    {"an mpiexec of MPICH's kind", "PMI_SIZE", "mpi_mpich.so", 0},
                    {"Slurm", "SLURM_STEP_NUM_TASKS", by_slurm, 0},
                    {"Slurm", "SLURM_NTASKS", by_slurm, 0}};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    const char *value = getenv(all[i].variable);
    if (value && sm_parse_int(value, &all[i].ranks) && all[i].ranks > 0) return all[i];
  }
  return (launcher){"no launcher", "", "", 0};
}

bool sm_ranks_launched(const sm_ranks_options *o) {
  return open_launcher().ranks > 1 && !(o->module && !strcmp(o->module, "off"));
}

/* Of the module that was asked for by the name of its MPI or as a file, else of the launcher's. */
static const char *open_module_path(const char *asked, const launcher *l, char path[SM_PATH_ROOM]) {
  const char *const folder = getenv("SMALTI_MPI_PATH"), *module = l->module;
  if (asked && !strcmp(asked, "openmpi")) module = "mpi_openmpi.so";
  else if (asked && !strcmp(asked, "mpich")) module = "mpi_mpich.so";
  else if (asked) return asked;
  if (folder && *folder) return sm_path_put(path, "%s/%s", folder, module);
  return sm_path_put(path, "%s/mpi/%s", sm_plugin_dir(), module);
}

static sm_status open_no_module(const launcher *l, const char *path, const char *why, sm_error *err) {
  sm_fail(err, SM_EINVAL,
          "%s started %lld processes (%s), but the module that would let them work together cannot be opened: %s",
          l->name, (long long)l->ranks, l->variable, why);
  sm_fail_at(err, path, 0, 0);
  return sm_hint(err, "build smalti where this MPI's headers are, name a module with --mpi (openmpi, mpich, or a file), "
                      "or --mpi off to let each process train by itself");
}

static sm_status open_module(const char *path, const launcher *l, const sm_messages **messages, sm_error *err) {
  char own[SM_PATH_ROOM];
  sm_path_put(own, "%s%s", strchr(path, '/') ? "" : "./", path); /* else dlopen would search */
  void *handle = dlopen(own, RTLD_NOW | RTLD_LOCAL), *symbol = handle ? dlsym(handle, SM_MESSAGES_ENTRY) : NULL;
  const sm_messages *(*entry)(void) = NULL;
  if (!handle || !symbol) {
    const char *why = dlerror(), *rest = why ? why : "no reason given";
    if (why && !strncmp(why, own, strlen(own)) && !strncmp(why + strlen(own), ": ", 2)) rest += strlen(own) + 2;
    if (l->ranks) return open_no_module(l, path, rest, err);
    sm_fail(err, SM_EINVAL, "it is no module for --mpi: %s", rest);
    return sm_fail_at(err, path, 0, 0);
  }
  memcpy(&entry, &symbol, sizeof entry); /* ISO C has no cast from object to function */
  *messages = entry();
  if (*messages && (*messages)->version == SM_MESSAGES_VERSION) return SM_OK;
  sm_fail(err, SM_EINVAL, "the module is of another version of smalti");
  sm_fail_at(err, path, 0, 0);
  return sm_hint(err, "build it again from the mpi_module.c of this one");
}

static void open_free(sm_ranks *r) {
  if (!r) return;
  sm_free(r->host);
  sm_aligned_free(r->block);
  sm_free(r);
}

/* ---- joining ------------------------------------------------------------------------------------------- */

static sm_status open_hosts(sm_ranks *r, sm_error *err) {
  char host[SM_RANKS_HOST] = "";
  void *all = NULL;
  size_t bytes = 0;
  if (gethostname(host, sizeof host - 1)) snprintf(host, sizeof host, "unknown");
  sm_status status = sm_ranks_gather(r, host, sizeof host, &all, &bytes, err);
  r->host = all;
  for (int i = 0; !status && i < r->size; i++) r->here += !strcmp(r->host[i], host);
  return status;
}

static sm_status open_ranks(sm_ranks *r, sm_error *err) {
  const char *why = r->messages->open(r->messages->self, &r->rank, &r->size);
  if (why) return sm_fail(err, SM_EINVAL, "the ranks cannot be joined: %s", why);
  snprintf(r->library, sizeof r->library, "%s", r->messages->name(r->messages->self));
  r->library[strcspn(r->library, ",")] = 0; /* "Open MPI v4.1.4, package: …" */
  for (char *c = r->library; *c; c++)
    if (*c == '\t') *c = ' ';
  return SM_OK;
}

static sm_status open_check(const sm_ranks *r, const launcher *l, sm_error *err) {
  if (l->ranks && l->ranks != r->size) {
    sm_fail(err, SM_EINVAL, "%s started %lld %s (%s), but %s sees %d", l->name, (long long)l->ranks,
            sm_plural(l->ranks, "process", "processes"), l->variable, r->library, r->size);
    const char *start = "start it with the launcher of this MPI, name a module for that launcher with --mpi";
    if (!strcmp(l->name, "Slurm")) start = "start it with srun --mpi=pmix (Open MPI) or --mpi=pmi2 (MPICH)";
    return sm_hint(err, "%s, or --mpi off to train by one process", start);
  }
  return SM_OK;
}

static sm_ranks *open_new(const sm_messages *messages, const sm_ranks_options *o) {
  sm_ranks *r = sm_calloc(1, sizeof *r);
  if (!r || !(r->block = sm_aligned_alloc(SM_RANKS_BLOCK))) return open_free(r), NULL;
  r->messages = messages;
  r->patience = o->patience;
  r->stop = o->stop;
  r->meter = o->meter;
  return r;
}

static sm_status open_over(const sm_messages *messages, const sm_ranks_options *o, const launcher *l, sm_ranks **out,
                           sm_error *err) {
  const double start = sm_now();
  sm_ranks *r = open_new(o->meter ? sm_meter_over(o->meter, messages) : messages, o);
  sm_status status = r ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory to speak to other ranks");
  if (!status) status = open_ranks(r, err);
  if (status) {
    open_free(r);
    return status;
  }
  *out = r;
  status = open_check(r, l, err);
  r->fit = !status;
  if (!status) status = open_hosts(r, err);
  r->joined = sm_now() - start;
  return status;
}

sm_status sm_ranks_open_over(const sm_messages *messages, const sm_ranks_options *o, sm_ranks **out, sm_error *err) {
  *out = NULL;
  return open_over(messages, o, &(launcher){"no launcher", "", "", 0}, out, err);
}

sm_status sm_ranks_open(const sm_ranks_options *o, sm_ranks **out, sm_error *err) {
  char path[SM_PATH_ROOM];
  const launcher l = open_launcher();
  const sm_messages *messages = NULL;
  *out = NULL;
  if (o->module && !strcmp(o->module, "off")) return SM_OK;
  if (!o->module && l.ranks < 2) return SM_OK;
  sm_status status = open_module(open_module_path(o->module, &l, path), &l, &messages, err);
  return status ? status : open_over(messages, o, &l, out, err);
}

/* ---- the end ------------------------------------------------------------------------------------------- */

void sm_ranks_close(sm_ranks *r) {
  if (!r) return;
  sm_ranks_hurry(r, false);
  if (!r->lost && (!r->fit || sm_ranks_agree(r, SM_OK, NULL) == SM_OK)) r->messages->close(r->messages->self);
  open_free(r);
}

void sm_ranks_abort(sm_ranks *r, int code) {
  if (!r) return;
  fflush(NULL);
  sm_sleep(SM_RANKS_READ);
  r->messages->abort(r->messages->self, code);
}

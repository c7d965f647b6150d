/* keep.c — the process that a launcher started, and its child, which is the rank.
 *
 * A launcher gives its own code for a rank that was killed, and says little. So what it starts does nothing but wait: it
 * holds no memory for a system without any to look at, passes signals on, and says which rank was lost, where and how.
 * The child is the leader of a process group, so that a signal to that of its parent comes once, and dies with it. */
#define _GNU_SOURCE
#include <config.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "link.h"

static const int keep_passed[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGXCPU, SIGTSTP, SIGCONT};

/* The number that the launcher gave this process; the ranks are not joined yet. */
static const char *keep_rank(void) {
  static const char *const variable[] = {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID"};
  const char *rank = NULL;
  for (size_t i = 0; !rank && i < sizeof variable / sizeof *variable; i++) rank = getenv(variable[i]);
  return rank ? rank : "?";
}

static sm_status keep_ended(int how, int *code, sm_error *err) {
  char host[SM_RANKS_HOST] = "";
  const int number = WIFSIGNALED(how) ? WTERMSIG(how) : 0;
  *code = number ? 128 + number : WEXITSTATUS(how);
  if (gethostname(host, sizeof host - 1)) snprintf(host, sizeof host, "unknown");
  switch (number) {
  case SIGKILL:
    sm_fail(err, SM_ELOST, "rank %s (%s) was lost: it was killed (signal %d), by the system if memory ran out",
            keep_rank(), host, number);
    return sm_hint(err, SM_RANKS_GOES_ON);
  case SIGABRT: /* UCX, for one, aborts when the memory of a neighbour cannot be read any more */
    sm_sleep(SM_RANKS_READ); /* for the rank that was lost before to be named */
    sm_fail(err, SM_ELOST, "rank %s (%s) was lost: it ended itself (%s), as MPI does where another rank is gone",
            keep_rank(), host, strsignal(number));
    return sm_hint(err, SM_RANKS_GOES_ON);
  case SIGSEGV:
  case SIGBUS:
  case SIGILL:
  case SIGFPE:
  case SIGSYS:
    sm_fail(err, SM_EINTERNAL, "rank %s (%s) crashed: %s", keep_rank(), host, strsignal(number));
    return sm_hint(err, "this is a fault of smalti or of a plugin");
  default: return SM_OK; /* it said itself what there was to say, or a signal that it had not caught yet ended it */
  }
}

static sm_status keep_wait(pid_t child, const sigset_t *all, int *code, sm_error *err) {
  for (int how, number;;) {
    const pid_t ended = waitpid(child, &how, WNOHANG);
    if (ended == child) return keep_ended(how, code, err);
    if (ended < 0 && errno != EINTR) return sm_fail(err, SM_EINTERNAL, "a child is gone: %s", strerror(errno));
    number = sigwaitinfo(all, NULL);
    if (number > 0 && number != SIGCHLD) kill(child, number);
  }
}

static void keep_child(pid_t parent, const sigset_t *before) {
  setpgid(0, 0);
#ifdef __linux__
  prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
  if (getppid() != parent) _exit(128 + SIGKILL);
  sigprocmask(SIG_SETMASK, before, NULL);
}

sm_status sm_ranks_keep(const sm_ranks_options *o, int *code, sm_error *err) {
  sigset_t all, before;
  *code = -1;
  if (!sm_ranks_launched(o)) return SM_OK;
  sigemptyset(&all);
  sigaddset(&all, SIGCHLD);
  for (size_t i = 0; i < sizeof keep_passed / sizeof *keep_passed; i++) sigaddset(&all, keep_passed[i]);
  signal(SIGCHLD, SIG_DFL); /* ignored, it would leave nothing to wait for */
  fflush(NULL);
  sigprocmask(SIG_BLOCK, &all, &before);
  const pid_t parent = getpid(), child = fork();
  if (child < 0) { /* then nobody keeps it */
    sigprocmask(SIG_SETMASK, &before, NULL);
    return SM_OK;
  }
  if (child) return keep_wait(child, &all, code, err);
  keep_child(parent, &before);
  return SM_OK;
}

/* child.c — work in a process of its own, and what it tells.
 *
 * A row that crashes, or runs out of memory, takes nothing else with it, and the system says how much memory
 * it needed. The child is forked, not executed: it has the recipe, the registry and the options already. It
 * stands in a process group of its own, so that Ctrl-C reaches only the parent, which asks the child once for
 * an orderly end. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "table.h"

struct sm_child {
  pid_t pid;
  int pipe[2]; /* parent reads 0, child writes 1 */
  int asked;   /* how often to end */
  bool failed;
  sm_error error;
};

_Static_assert(sizeof(sm_tell) <= 4096, "a message must be one write to a pipe");

void sm_child_tell(sm_child *c, const sm_tell *tell) {
  while (write(c->pipe[1], tell, sizeof *tell) < 0 && errno == EINTR) continue;
}

static void child_log_line(void *ctx, sm_log_level level, const char *line) {
  sm_tell tell = {.kind = SM_TELL_WARNING};
  if (level < SM_LOG_WARNING) return;
  snprintf(tell.text, sizeof tell.text, "%s", line);
  sm_child_tell(ctx, &tell);
}

_Noreturn static void be_child(sm_child *c, pid_t parent,
                               sm_status (*work)(void *ctx, sm_child *, sm_error *), void *ctx) {
  sm_tell last = {.kind = SM_TELL_ERROR};
  close(c->pipe[0]);
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  sm_signals_install();
  sm_log_to(child_log_line, c);
  if (getppid() != parent) _exit(1); /* it died before it could send a signal */
  sm_status status = work(ctx, c, &c->error);
  last.error = c->error;
  last.error.code = status;
  sm_child_tell(c, &last);
  _exit(status ? 1 : 0);
}

sm_child *sm_child_start(sm_status (*work)(void *ctx, sm_child *, sm_error *), void *ctx, sm_error *err) {
  sm_child *c = sm_calloc(1, sizeof *c);
  if (!c || pipe(c->pipe)) {
    sm_fail(err, c ? SM_EIO : SM_ENOMEM, "cannot start a process: %s", strerror(c ? errno : ENOMEM));
    sm_free(c);
    return NULL;
  }
  pid_t parent = getpid();
  c->pid = fork();
  if (c->pid == 0) be_child(c, parent, work, ctx);
  close(c->pipe[1]);
  if (c->pid > 0) {
    setpgid(c->pid, c->pid); /* both do it: neither knows who comes first */
    return c;
  }
  sm_fail(err, SM_ENOMEM, "cannot start a process: %s", strerror(errno));
  close(c->pipe[0]);
  sm_free(c);
  return NULL;
}

/* One whole message, which one write made, can come in parts. */
static bool child_read_all(int fd, void *to, size_t n) {
  for (size_t got = 0; got < n;) {
    ssize_t more = read(fd, (char *)to + got, n - got);
    if (more > 0) got += (size_t)more;
    else if (more == 0 || errno != EINTR) return false;
  }
  return true;
}

int sm_child_listen(sm_child *c, double seconds, sm_tell *tell) {
  struct pollfd p = {.fd = c->pipe[0], .events = POLLIN};
  int ready = poll(&p, 1, (int)(seconds * 1000));
  if (ready <= 0) return 0;
  if (!child_read_all(c->pipe[0], tell, sizeof *tell)) return -1;
  if (tell->kind == SM_TELL_ERROR) c->error = tell->error, c->failed = true;
  return 1;
}

void sm_child_stop(sm_child *c) { kill(c->pid, c->asked++ ? SIGKILL : SIGTERM); }

sm_status sm_child_end(sm_child *c, int64_t *peak, sm_error *err) {
  struct rusage usage = {0};
  sm_tell tell;
  int state = 0;
  while (sm_child_listen(c, 3600, &tell) >= 0) continue;
  while (wait4(c->pid, &state, 0, &usage) < 0 && errno == EINTR) continue;
  if (peak) *peak = (int64_t)usage.ru_maxrss * 1024;
  sm_status status = c->error.code;
  int code = WIFEXITED(state) ? WEXITSTATUS(state) - 128 : 0;
  if (!c->failed && (code == SIGTERM || code == SIGINT || code == SIGUSR1)) { /* signals.c: a second signal */
    status = sm_fail(&c->error, SM_EINTERRUPTED, "two signals ended it at once");
  } else if (!c->failed) { /* it could not say its last word */
    int number = WIFSIGNALED(state) ? WTERMSIG(state) : 0;
    status = sm_fail(&c->error, number ? SM_EINTERNAL : SM_EIO,
                     number ? "the process was ended by signal %d (%s)" : "the process ended without a word",
                     number, number ? strsignal(number) : "");
    if (number == SIGKILL)
      sm_hint(&c->error, "was it out of memory? `smalti table --dry-run` says what each row needs");
  }
  if (err && status) *err = c->error;
  close(c->pipe[0]);
  sm_free(c);
  return status;
}

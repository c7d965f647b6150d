/* apart.c — see apart.h. Messages come through a pipe, each as a head and its bytes; the last one is DONE.
 *
 * The child is the leader of a process group of its own, so that children of a plugin end with it, and it is
 * killed when its parent ends. */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "apart.h"

enum { DONE = -1, EVERY = 100 /* milliseconds between two looks at the child */ };

typedef struct head {
  int32_t kind;
  uint32_t size;
} head;

/* What has come of a message. */
typedef struct inbox {
  char bytes[sizeof(head) + SM_APART_MOST];
  size_t n;
  bool done;
} inbox;

/* ---- shared memory ------------------------------------------------------------------------------------- */

sm_watch *sm_watch_new(sm_error *err) {
  sm_watch *w = mmap(NULL, sizeof *w, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (w != MAP_FAILED) return w;
  sm_fail(err, SM_ENOMEM, "no memory to share with a child process: %s", strerror(errno));
  return NULL;
}

void sm_watch_free(sm_watch *w) {
  if (w) munmap(w, sizeof *w);
}

/* ---- the child ----------------------------------------------------------------------------------------- */

static void apart_write(int out, const char *bytes, size_t n) {
  for (size_t done = 0; done < n;) {
    ssize_t put = write(out, bytes + done, n - done);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) _exit(1); /* nobody listens */
    done += (size_t)put;
  }
}

void sm_apart_send(int out, int kind, const void *bytes, size_t n) {
  char all[sizeof(head) + SM_APART_MOST];
  if (n > SM_APART_MOST) n = SM_APART_MOST;
  const head h = {kind, (uint32_t)n};
  memcpy(all, &h, sizeof h);
  if (n) memcpy(all + sizeof h, bytes, n);
  apart_write(out, all, sizeof h + n);
}

static void apart_child(const sm_apart *a, int out, pid_t parent) {
  const struct rlimit none = {0, 0};
  setpgid(0, 0);
#ifdef __linux__
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);
#else
  (void)parent;
#endif
  (void)setrlimit(RLIMIT_CORE, &none); /* a crash is an answer here, and not to be looked into */
  dup2(STDERR_FILENO, STDOUT_FILENO);  /* stdout is the check's */
  a->work(a->ctx, out);
  sm_apart_send(out, DONE, NULL, 0);
  _exit(0);
}

/* ---- the parent ---------------------------------------------------------------------------------------- */

static void apart_deliver(const sm_apart *a, inbox *in) {
  head h;
  while (in->n >= sizeof h) {
    memcpy(&h, in->bytes, sizeof h);
    if (h.size > SM_APART_MOST || in->n < sizeof h + h.size) return;
    if (h.kind == DONE) in->done = true;
    else a->message(a->ctx, h.kind, in->bytes + sizeof h, h.size);
    in->n -= sizeof h + h.size;
    memmove(in->bytes, in->bytes + sizeof h + h.size, in->n);
  }
}

/* Read what there is; false at the end of the pipe. */
static bool apart_read(const sm_apart *a, int from, inbox *in) {
  ssize_t got = read(from, in->bytes + in->n, sizeof in->bytes - in->n);
  if (got < 0) return errno == EINTR || errno == EAGAIN;
  in->n += (size_t)got;
  apart_deliver(a, in);
  return got > 0;
}

static double apart_silence(const sm_watch *w) {
  return sm_now() - (double)atomic_load_explicit(&w->sign, memory_order_relaxed) / 1000;
}

/* Until the child ends, or is killed because it stays silent. Its wait status. */
static int apart_attend(const sm_apart *a, const sm_watch *w, pid_t child, int from, inbox *in, bool *stuck) {
  int status = 0;
  for (bool ended = false; !ended;) {
    struct pollfd p = {.fd = from, .events = POLLIN};
    if (poll(&p, 1, EVERY) > 0 && !apart_read(a, from, in)) usleep(1000);
    ended = waitpid(child, &status, WNOHANG) == child;
    if (ended || apart_silence(w) <= a->seconds) continue;
    *stuck = true;
    kill(-child, SIGKILL);
    kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR);
    break;
  }
  for (struct pollfd p = {.fd = from, .events = POLLIN}; poll(&p, 1, 0) > 0 && apart_read(a, from, in););
  kill(-child, SIGKILL); /* what it has left behind */
  return status;
}

/* ---- what went wrong ----------------------------------------------------------------------------------- */

static void apart_say(const sm_watch *w, int status, bool stuck, double seconds, char fault[256]) {
  const char *callback = atomic_load(&w->callback);
  const bool inside = callback && atomic_load(&w->inside) > 0, crashed = WIFSIGNALED(status);
  char what[96];
  if (stuck) snprintf(what, sizeof what, "did not come back within %g s", seconds);
  else if (crashed)
    snprintf(what, sizeof what, "crashed (signal %d: %s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
  else snprintf(what, sizeof what, "ended the process (exit status %d)", WEXITSTATUS(status));
  if (inside) snprintf(fault, 256, "the callback '%s' %s", callback, what);
  else if (callback)
    snprintf(fault, 256,
             "the check %s after the callback '%s': in an op of the plugin, or in what uses its answer", what,
             callback);
  else snprintf(fault, 256, "loading the file %s", what);
}

sm_status sm_apart_run(const sm_apart *a, sm_watch *w, char fault[256], bool *stuck, sm_error *err) {
  int ends[2];
  inbox in = {.n = 0};
  fault[0] = 0, *stuck = false;
  atomic_store(&w->callback, NULL);
  atomic_store(&w->inside, 0);
  atomic_store(&w->sign, (int64_t)(sm_now() * 1000));
  if (pipe(ends) != 0) return sm_fail(err, SM_EIO, "no pipe to a child process: %s", strerror(errno));
  fflush(NULL); /* or the child would write it again */
  const pid_t parent = getpid(), child = fork();
  if (child == 0) {
    close(ends[0]);
    apart_child(a, ends[1], parent);
  }
  close(ends[1]);
  int status = 0;
  if (child > 0) status = apart_attend(a, w, child, ends[0], &in, stuck);
  close(ends[0]);
  if (child < 0) return sm_fail(err, SM_EIO, "no child process: %s", strerror(errno));
  if (*stuck || !in.done || status) apart_say(w, status, *stuck, a->seconds, fault);
  return SM_OK;
}

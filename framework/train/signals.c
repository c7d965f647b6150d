/* framework/train/signals.c — the stop flag. The only mutable global of the library beside the log sink: a
 * signal handler can reach nothing else. */
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "train.h"

enum { STOP_ONCE_MS = 1000 };
static _Atomic int64_t stop_since; /* 0: nobody has asked that may insist */
static _Atomic int stop_requested; /* readers of pictures ask, too */

static int64_t signals_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000 + 1;
}

/* One request may come as several signals: Slurm sends it to a rank and to the process that keeps it, which passes it on;
 * timeout(1) to its command and to its group. So who insists comes a second later. A closing terminal sends HUP twice,
 * and XCPU comes again with every second: these never insist. */
static void signals_on_signal(int number) {
  const bool repeats = number == SIGHUP || number == SIGXCPU;
  const int64_t since = stop_since, now = signals_now();
  if (since && !repeats && now - since >= STOP_ONCE_MS) _exit(128 + number);
  if (!since && !repeats) stop_since = now;
  stop_requested = 1;
}

void sm_signals_install(void) {
  static const int numbers[] = {SIGTERM, SIGINT, SIGUSR1, SIGHUP, SIGXCPU};
  struct sigaction action, before;
  memset(&action, 0, sizeof action);
  action.sa_handler = signals_on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  stop_requested = 0;
  stop_since = 0;
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    if (sigaction(numbers[i], NULL, &before) || before.sa_handler == SIG_IGN) continue;
    sigaction(numbers[i], &action, NULL);
  }
}
bool sm_signals_stop(void) { return stop_requested != 0; }

/* framework/train/signals.c — the stop flag. The only mutable global of the library beside the log sink: a
 * signal handler can reach nothing else. */
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "train.h"

static volatile sig_atomic_t stop_insisted;
static _Atomic int stop_requested; /* readers of pictures ask, too */

/* A closing terminal sends HUP twice, and XCPU comes again with every second: only the others insist. */
static void signals_on_signal(int number) {
  const bool repeats = number == SIGHUP || number == SIGXCPU;
  if (stop_insisted && !repeats) _exit(128 + number);
  if (!repeats) stop_insisted = 1;
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
  stop_insisted = 0;
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    if (sigaction(numbers[i], NULL, &before) || before.sa_handler == SIG_IGN) continue;
    sigaction(numbers[i], &action, NULL);
  }
}
bool sm_signals_stop(void) { return stop_requested != 0; }

/* framework/train/signals.c — the stop flag. The only mutable global of the library beside the log sink: a
 * signal handler can reach nothing else. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "train.h"

static volatile sig_atomic_t stop_requested;

static void signals_on_signal(int number) {
  if (stop_requested) _exit(128 + number);
  stop_requested = 1;
}

void sm_signals_install(void) {
  static const int numbers[] = {SIGTERM, SIGINT, SIGUSR1};
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = signals_on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  stop_requested = 0;
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) sigaction(numbers[i], &action, NULL);
  signal(SIGXFSZ, SIG_IGN); /* a limit on the size of files is then an error of write, like a full disk */
}
bool sm_signals_stop(void) { return stop_requested != 0; }

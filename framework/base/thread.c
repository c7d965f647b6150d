/* thread.c — see thread.h. */
#include "thread.h"

#include <signal.h>

int sm_thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg) {
  sigset_t all, old;
  sigfillset(&all);
  sigdelset(&all, SIGBUS); /* an access of the thread's own, which mapped.c answers */
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int code = pthread_create(thread, NULL, run, arg);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return code;
}

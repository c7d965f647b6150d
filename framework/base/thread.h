/* thread.h — how the project starts threads. Private to the tree. */
#ifndef SM_BASE_THREAD_H
#define SM_BASE_THREAD_H

#include <pthread.h>

/* A thread that takes no signals: those are the main thread's business. 0, or an error number as
 * pthread_create gives it; the caller joins the thread. */
int sm_thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg);

#endif

/* bind.h — threads that stay on their processors. Private to the tree. */
#ifndef SM_BASE_BIND_H
#define SM_BASE_BIND_H

#include <pthread.h>
#include <stdbool.h>

/* Whether the workers of a pool of so many threads are bound: as SMALTI_BIND says (yes, no, auto). auto, which is
 * also meant where it is not set: where memory is nearer to some processors than to others (several NUMA nodes), the
 * pool has a thread for each processor that the process may use, and no quota lets others use them, too. */
bool sm_bind_wanted(int threads);
/* Bind n threads to a processor each, of those that the process may use but for the one that the caller runs on;
 * the caller stays free, since threads and processes that it starts would be bound like itself. Where there are
 * fewer processors, or binding fails, threads stay free: it is only for speed. */
void sm_bind_threads(const pthread_t *thread, int n);

#endif

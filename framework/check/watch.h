/* watch.h — which callback of a plugin runs, written into memory that the waiting process shares.
 *
 * `plugins check` drives a plugin in a child process (apart.h). When that dies or does not come back, what is
 * written here says where it was. */
#ifndef SM_CHECK_WATCH_H
#define SM_CHECK_WATCH_H

#include <stdatomic.h>

#include <smalti/plugin.h>

typedef struct sm_watch {
  _Atomic(const char *) callback; /* the one that was entered last: a literal of libsmalti, which has the same
                                     address in both processes */
  atomic_int inside;              /* threads that are in a callback */
  _Atomic int64_t sign;           /* of life: sm_now() in milliseconds */
  int plugin, part;               /* where the check is: which plugin of the file, which part of its check */
  bool tried;                     /* an instance of the plugin was driven */
  char kind[16], name[64];        /* of the plugin; nothing while a file is loaded */
  char variant[160];              /* "defaults", "ratio: 0" */
} sm_watch;

/* A copy of the plugin whose callbacks note in `to` that they run. One plugin of a process at a time. */
const sm_plugin *sm_watch_plugin(sm_watch *to, const sm_plugin *);
/* A sign of life from what takes long by itself; nothing where no plugin is watched. */
void sm_watch_sign(void);

#endif

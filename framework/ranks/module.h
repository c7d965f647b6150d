/* framework/ranks/module.h — what the program asks of the library that moves messages between ranks.
 *
 * A module is a shared object that the program opens at run time, so that the program itself is linked with no MPI.
 * It exports `smalti_messages`, which gives this table. The program calls it from one thread, one call at a time. */
#ifndef SM_RANKS_MODULE_H
#define SM_RANKS_MODULE_H

#include <stddef.h>

#define SM_MESSAGES_VERSION 2
#define SM_MESSAGES_ENTRY "smalti_messages"
#define SM_MESSAGES_MOST ((size_t)1 << 30) /* bytes of one message, at most */
#define SM_MESSAGES_BLOCK (1 << 22)        /* bytes of those that much is cut into */
#define SM_MESSAGES_LANES 2                /* 0, 1 */

typedef struct sm_messages {
  unsigned version; /* SM_MESSAGES_VERSION */
  void *self;       /* first argument of the functions */
  /* Join the others. NULL, or what went wrong. */
  const char *(*open)(void *self, int *rank, int *ranks);
  /* The library and its version, one line; when it is open. */
  const char *(*name)(void *self);
  /* Begin to send `out` to a peer and to receive `in` from it, either of which may be of 0 bytes; both stay the
   * module's until `done` says so. One exchange at a time in each lane; what is sent in a lane is received in
   * that lane, in order, and waits for nothing in the other. NULL, or what went wrong. */
  const char *(*start)(void *self, int lane, int peer, const void *out, size_t out_bytes, void *in,
                       size_t in_bytes);
  /* *finished: has that of the lane ended? Returns at once. NULL, or what went wrong. */
  const char *(*done)(void *self, int lane, int *finished);
  void (*close)(void *self);           /* in order: every rank calls it */
  void (*abort)(void *self, int code); /* end all ranks; does not return */
} sm_messages;

#endif

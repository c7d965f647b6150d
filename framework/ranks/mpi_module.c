/* framework/ranks/mpi_module.c — messages between ranks by MPI: nothing but point-to-point.
 *
 * One source for any MPI, and one object for each, since their constants and handles differ. configure builds one
 * for Open MPI and one for MPICH where it finds them. For another one (Intel MPI, MVAPICH, the ABI of MPI 5):
 *
 *   mpicc -O2 -shared -fPIC -o mpi_mine.so mpi_module.c
 *   mpirun -n 4 smalti train RECIPE --mpi ./mpi_mine.so */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "module.h"

enum { TAG = 1 };

static MPI_Request mpi_request[SM_MESSAGES_LANES][2];
static char mpi_text[MPI_MAX_ERROR_STRING + 64], mpi_version[MPI_MAX_LIBRARY_VERSION_STRING];

/* What MPI says of an error; NULL where there is none. */
static const char *mpi_error(int code) {
  int length = 0;
  if (code == MPI_SUCCESS) return NULL;
  if (MPI_Error_string(code, mpi_text, &length) != MPI_SUCCESS)
    snprintf(mpi_text, sizeof mpi_text, "error %d", code);
  return mpi_text;
}

/* What is longer than its eager limit Open MPI sends only when it is asked for, part by part. Over TCP the asking waits
 * behind what goes the other way, so of two ranks that send each other a block one sends after the other, at half of
 * what the link carries. At most one block of a rank is not awaited yet, so they may go unasked. A limit that
 * the user has set stays. */
static void mpi_settle(void) {
#ifdef OPEN_MPI
  char bytes[32];
  snprintf(bytes, sizeof bytes, "%d", SM_MESSAGES_BLOCK + 65536); /* and MPI's own words before it */
  setenv("OMPI_MCA_btl_tcp_eager_limit", bytes, 0);
#endif
}

/* Only the thread that opens calls MPI. Errors come back, so that the program can say which rank is lost. */
static const char *mpi_open(void *self, int *rank, int *ranks) {
  int started = 0, provided = 0, length = 0, code = MPI_Initialized(&started);
  (void)self;
  mpi_settle();
  if (code == MPI_SUCCESS && !started) code = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
  if (code == MPI_SUCCESS && !started && provided < MPI_THREAD_FUNNELED)
    return "it cannot be used by programs with threads";
  if (code == MPI_SUCCESS) code = MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  if (code == MPI_SUCCESS) code = MPI_Comm_rank(MPI_COMM_WORLD, rank);
  if (code == MPI_SUCCESS) code = MPI_Comm_size(MPI_COMM_WORLD, ranks);
  if (code == MPI_SUCCESS) code = MPI_Get_library_version(mpi_version, &length);
  mpi_version[strcspn(mpi_version, "\n")] = 0;
  for (int lane = 0; lane < SM_MESSAGES_LANES; lane++)
    mpi_request[lane][0] = mpi_request[lane][1] = MPI_REQUEST_NULL;
  return mpi_error(code);
}

static const char *mpi_name(void *self) {
  (void)self;
  return mpi_version;
}

static const char *mpi_start(void *self, int lane, int peer, const void *out, size_t out_bytes, void *in,
                             size_t in_bytes) {
  MPI_Request *const request = mpi_request[lane];
  int code = MPI_SUCCESS;
  (void)self;
  if (out_bytes > SM_MESSAGES_MOST || in_bytes > SM_MESSAGES_MOST) return "a message is too long";
  if (in_bytes) code = MPI_Irecv(in, (int)in_bytes, MPI_BYTE, peer, TAG + lane, MPI_COMM_WORLD, &request[0]);
  if (code == MPI_SUCCESS && out_bytes)
    code = MPI_Isend(out, (int)out_bytes, MPI_BYTE, peer, TAG + lane, MPI_COMM_WORLD, &request[1]);
  return mpi_error(code);
}

static const char *mpi_done(void *self, int lane, int *finished) {
  MPI_Status status[2]; /* gcc takes MPICH's MPI_STATUSES_IGNORE for an array that is too short */
  (void)self;
  return mpi_error(MPI_Testall(2, mpi_request[lane], finished, status));
}

static void mpi_close(void *self) {
  (void)self;
  MPI_Finalize();
}

static void mpi_abort(void *self, int code) {
  (void)self;
  MPI_Abort(MPI_COMM_WORLD, code);
}

const sm_messages *smalti_messages(void);
const sm_messages *smalti_messages(void) {
  static const sm_messages messages = {.version = SM_MESSAGES_VERSION,
                                       .open = mpi_open,
                                       .name = mpi_name,
                                       .start = mpi_start,
                                       .done = mpi_done,
                                       .close = mpi_close,
                                       .abort = mpi_abort};
  return &messages;
}

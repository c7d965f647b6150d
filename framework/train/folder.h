/* framework/train/folder.h — private: the run folder and the logs in it. */
#ifndef SM_FOLDER_H
#define SM_FOLDER_H

#include "framework/formats/formats.h"
#include "framework/recipe/recipe.h"

#include "framework/models/checkpoint.h"

typedef struct sm_run_folder {
  char path[2048], checkpoints[2100];
  int lock; /* descriptor that holds the lock, -1 */
  sm_jsonl *metrics, *timing;
  sm_tb *events;
} sm_run_folder;

/* RUNS/NAME: made if missing, locked against a second process; a folder of another recipe is refused with the
 * differences. Temporary files of sessions that were killed are removed. */
sm_status sm_folder_open(sm_run_folder *, const char *runs, const sm_recipe *, sm_registry *, sm_error *);
/* recipe.yaml (resolved), at the first start; environment.json, which every session writes anew. */
sm_status sm_folder_describe(sm_run_folder *, const sm_recipe *, const char *isa, int threads, sm_error *);
/* Open the logs, cut back to the state of a checkpoint (step 0: anew). */
sm_status sm_folder_logs(sm_run_folder *, const sm_run_state *, sm_error *);
void sm_folder_close(sm_run_folder *);
const char *sm_blas_core(void); /* which kernels OpenBLAS chose for this processor */

#endif

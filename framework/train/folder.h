/* framework/train/folder.h — private: the run folder and the logs in it. */
#ifndef SM_FOLDER_H
#define SM_FOLDER_H

#include "framework/base/path.h"
#include "framework/formats/formats.h"
#include "framework/ranks/ranks.h"
#include "framework/recipe/recipe.h"

#include "framework/models/checkpoint.h"

typedef struct sm_run_folder {
  char path[SM_PATH_ROOM], checkpoints[SM_PATH_ROOM];
  size_t made; /* bytes of the part of `path` that this session made first; 0: it was there */
  int lock;    /* descriptor that holds the lock, -1; the file holds the last step that was saved */
  bool named;  /* the lock is known by its inode (not so on some overlays) */
  bool kept;   /* recipe.yaml was there */
  /* Of recipe.yaml or the recipe: under its name, and without --fresh's number; and both of the keys that
   * recipe.yaml holds. */
  uint64_t recipe_hash[4];
  sm_jsonl *metrics, *timing;
  sm_tb *events;
} sm_run_folder;

/* RUNS/NAME: made if missing, locked against a second process; a folder of another recipe is refused with the
 * differences. Temporary files of sessions that were killed are removed. */
sm_status sm_folder_open(sm_run_folder *, const char *runs, const sm_recipe *, sm_registry *, sm_error *);
/* There is no checkpoint: a run that begins, or one that was killed before its first. Refused where one was
 * saved, or where records stand of which nobody knows. */
sm_status sm_folder_begins(sm_run_folder *, sm_error *);
void sm_folder_saved(sm_run_folder *, int64_t step); /* a checkpoint was */
/* recipe.yaml (resolved), at the first start; environment.json, which every session writes anew. */
sm_status sm_folder_describe(sm_run_folder *, const sm_recipe *, const sm_ranks *, const sm_run_state *, int threads,
                             sm_error *);
/* Open the logs, cut back to the state of a checkpoint (step 0: anew). */
sm_status sm_folder_logs(sm_run_folder *, const sm_run_state *, sm_error *);
/* SM_EIO where the folder was removed, or moved away, since it was opened. */
sm_status sm_folder_there(const sm_run_folder *, sm_error *);
void sm_folder_close(sm_run_folder *);
/* In place of close, where a session failed before its first step: a folder that it made goes. */
void sm_folder_discard(sm_run_folder *);

/* identity.c: of the lines that sm_run_state keeps of plugins, the hash of this one's file, 16 digits; "": it is not
 * among them. */
void sm_identity_hash(const char *plugins, const sm_plugin *, char hash[17]);

#endif

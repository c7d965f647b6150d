/* backgrounds.h — for the evaluation `backgrounds`: what its files share. The gap between two sets, whose
 * pictures share foregrounds; and foregrounds that some background makes the network mistake. */
#ifndef BACKGROUNDS_H
#define BACKGROUNDS_H

#include "ask.h"
#include "outside.h"

/* Where the sets lie, and what their class folders are. */
typedef struct backgrounds_sets {
  const char *folder;
  int (*class_of)(void *ctx, const char *name, sm_error *); /* as outside_tree */
  void *ctx;
  const int32_t *group_of; /* of each class of the classifier, the label that is right for it; -1: none */
} backgrounds_sets;
/* The pictures of FOLDER/SET/val, or FOLDER/SET; root (may be NULL): which of the two, to be freed. */
sm_status backgrounds_tree(const backgrounds_sets *, const char *set, outside *, sm_text *root, sm_error *);
bool backgrounds_right(const backgrounds_sets *, int32_t class_of, int32_t label);

/* ---- the gap ------------------------------------------------------------------------------------------- */

/* Of each foreground: its pictures in both sets, and how many of them were right. */
typedef struct backgrounds_foreground {
  char *name; /* CLASS/NAME */
  int64_t n[2], right[2];
} backgrounds_foreground;
typedef struct backgrounds_gap {
  backgrounds_foreground *of; /* n, sorted once all were added; zero-initialise */
  int64_t n, room;
} backgrounds_gap;
/* A picture of set 0 or 1. Its foreground: the file's name, of "fg_NAME_bg_OTHER" NAME. */
sm_status backgrounds_gap_add(backgrounds_gap *, int set, const char *path, bool right, sm_error *);
/* Accuracy on set 0 less that on set 1, and its interval: foregrounds are drawn again with all of their
 * pictures. How many have some in both goes to *pairs. */
sm_status backgrounds_gap_figure(backgrounds_gap *, sm_eval_result *, int64_t *pairs, sm_error *);
void backgrounds_gap_free(backgrounds_gap *);

/* ---- vulnerable foregrounds ---------------------------------------------------------------------------- */

/* Sets foregrounds of `original`, `most` of them drawn by the seed, before each picture of `only_bg_t`, by
 * the masks FOLDER/fg_mask/val/CLASS/NAME.npy (or without val): *vulnerable of *n are mistaken before one
 * at least, as the challenge's challenge_eval.py counts them. */
sm_status backgrounds_vulnerable(sm_eval_context *, const backgrounds_sets *, ask_question *, int64_t most,
                                 uint64_t seed, int64_t *vulnerable, int64_t *n, sm_error *);

#endif

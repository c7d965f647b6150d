/* copies.h — what the files of evaluation `copies` share: its options, the edits, and the pictures that they
 * are made of, as a data set whose pictures are already of the evaluation's size. */
#ifndef COPIES_H
#define COPIES_H

#include <smalti/plugin.h>

#include "looks.h"
#include "outside.h"

typedef struct copies {
  const char *folder, *whitening;
  sm_ints crop, jpeg, resize;
  int features;
  int64_t pictures, distractors, whiten, depth, seed;
  double power;
} copies;

/* ---- edits --------------------------------------------------------------------------------------------- */

typedef enum { /* never renumber: the number is part of the key of the draws */
               COPIES_CROP = 0,
               COPIES_JPEG,
               COPIES_RESIZE,
               COPIES_FLIP,
               COPIES_BLUR,
               COPIES_CONTRAST,
               COPIES_BRIGHTNESS,
               COPIES_TEXT,
               COPIES_BORDER,
               COPIES_STRONG,
               COPIES_KINDS
} copies_kind;
extern const char *const copies_kind_names[COPIES_KINDS];

enum { COPIES_EDITS_MOST = 100, COPIES_NAME = 24 };
typedef struct copies_edit {
  int group;
  char level[COPIES_NAME]; /* behind the group's name; "": the group has no other */
  copies_kind kind;        /* of made ones, */
  int64_t strength;        /* and how much: per cent cut off, quality, how many times smaller */
  int64_t first, n;        /* of read ones: pictures of `copies_list.files` */
} copies_edit;

/* Groups of edits; `files` of those that are read, the originals first. */
typedef struct copies_list {
  int groups, edits;
  char group[COPIES_EDITS_MOST][COPIES_NAME];
  copies_edit edit[COPIES_EDITS_MOST];
  outside files;
  int64_t originals;
} copies_list;

/* Every level once, in the order of the options. */
void copies_made_list(const copies *, copies_list *);
/* FOLDER/original, and of every other folder the pictures, or those of its folders. SM_EINVAL: no such
 * layout. Free `files` with outside_free. copies_folder.c. */
sm_status copies_folder_list(const char *folder, copies_list *, sm_error *);
/* Numbers the first four letters of the files' names, as Copydays has them: owner (files.n) is 0 …
 * *owners-1, each the owner of an original at least. SM_EINVAL names the file that has none. */
sm_status copies_folder_owners(const copies_list *, int32_t *owner, int32_t *owners, sm_error *);
/* Changes the picture, perhaps its size; draws are keyed by seed, edit and picture. [worker] */
sm_status copies_edit_make(const copies_edit *, uint64_t seed, int64_t index, sm_image *, sm_image_scratch *,
                           sm_error *);

/* ---- pictures ------------------------------------------------------------------------------------------ */

typedef struct copies_set {
  sm_dataset from;
  const int64_t *index; /* (n) of `from` */
  int64_t n;
  const copies_edit *edit; /* NULL: none */
  uint64_t seed;
  int side; /* of the shorter side before an edit, so that its strength is the same for all; 0: as it is */
  int height, width; /* that it is resized to at the end, whatever the ratio */
} copies_set;
extern const sm_dataset_ops copies_set_ops;

/* ---- scores -------------------------------------------------------------------------------------------- */

/* Three rankings of each query: by whitened features, by features as they are, and by the small pictures. */
enum { COPIES_WHITE, COPIES_PLAIN, COPIES_SMALL, COPIES_SPACES };

/* Average precisions, added up by what is drawn again as a whole: an original with all that was made of it.
 * */
typedef struct copies_scores {
  int64_t units;
  int edits;
  bool used[COPIES_SPACES];
  double *ap; /* (units, spaces, edits) sums, per cent */
  int64_t *n; /* (units, edits) queries */
} copies_scores;
sm_status copies_scores_new(copies_scores *, int64_t units, int edits, sm_error *);
void copies_scores_free(copies_scores *);
void copies_scores_add(copies_scores *, int64_t unit, int edit, int space, double ap);
void copies_scores_count(copies_scores *, int64_t unit, int edit); /* a query, once for all spaces */

/* map, its groups and their levels, plain, pixels, with intervals: an edit's figure is the mean over its
 * queries, a group's the mean of its edits, the whole's the mean of the groups. SM_EINVAL: an edit without a
 * query. */
sm_status copies_figures(const copies_scores *, const copies_list *, sm_eval_result *, sm_error *);

#endif

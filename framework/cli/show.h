/* show.h — figures of a network, for the commands that draw them: the network with its weights, the pictures it looks
 * at, and one function for each figure. */
#ifndef SMALTI_CLI_SHOW_H
#define SMALTI_CLI_SHOW_H

#include "framework/data/source.h"
#include "framework/show/show.h"
#include "network.h"

/* A picture file, or a picture of a data set. */
typedef struct sm_shown {
  const char *path; /* NULL: of the set */
  sm_dataset set;
  int64_t index;
} sm_shown;

enum { SM_SHOW_SETS = 16 };
typedef struct sm_viewer {
  sm_cli *cli;
  sm_network *network;
  sm_pool *pool;
  bool borrowed; /* network, its pictures and pool are the caller's */
  sm_image_scratch *scratch;
  int height, width; /* of what the network sees; width 0: height is the shorter side, and no picture is distorted */
  int cell;          /* pixels of a patch in a figure; 0: so many that a picture gets some 240 */
  sm_shown *picture;
  int n;
  sm_recipe *recipe[SM_SHOW_SETS]; /* of pictures that a recipe named */
  sm_instance set[SM_SHOW_SETS];   /* of folders                      */
  int recipes, sets;
  sm_looker *looker; /* for the last size, and for what it was asked */
  sm_look_request want;
  float *x;
} sm_viewer;

/* Opens the network with its weights. size, cell: texts of the options. */
sm_status sm_show_open(sm_viewer *, sm_cli *, const sm_network_options *, const char *path, const char *size, int64_t cell,
                       sm_error *);
/* Looks through a network that has its weights and its pictures; it and the pool must outlive the viewer. */
sm_status sm_show_borrow(sm_viewer *, sm_cli *, sm_network *, sm_pool *, const char *size, sm_error *);
void sm_show_close(sm_viewer *);
/* Adds pictures: files, folders, packed files and recipes (their test pictures), of a set `most`, evenly spaced. No
 * paths: the test pictures of the network's run. SM_EINVAL where there are none. */
sm_status sm_show_add(sm_viewer *, char **path, int paths, int64_t most, sm_error *);
/* Pictures of the test set, else of the training set: folders, packed files or data sets (NULL: those of the network's
 * run). */
sm_status sm_show_add_sets(sm_viewer *, const char *train, const char *test, int64_t most, sm_error *);
/* Training pictures of the network's run; none where it has no run. */
sm_status sm_show_add_training(sm_viewer *, int64_t most, sm_error *);
/* The picture as it is stored. */
sm_status sm_show_read(sm_viewer *, int i, sm_image *, sm_error *);
/* A picture's file without its folders, or with the last of them where another picture is called the same. */
const char *sm_show_name(const sm_viewer *, int i);
/* What the network sees in a picture; the answer lives until the next look. */
sm_status sm_show_look(sm_viewer *, const sm_image *, const sm_look_request *, sm_look *, sm_error *);
/* The same at a size of its own, in pixels. */
sm_status sm_show_look_at(sm_viewer *, const sm_image *, int height, int width, const sm_look_request *, sm_look *,
                          sm_error *);
void sm_show_size(const sm_viewer *, const sm_image *, int *height, int *width);
/* The picture at the size of the figure: as many cells as the look has. */
sm_status sm_show_tile(sm_viewer *, const sm_image *, const sm_look *, sm_image *, sm_error *);
int sm_show_cell(const sm_viewer *, const sm_look *);

/* ---- figures, added to a sheet ------------------------------------------------------------------------- */

enum { SM_SHOW_COLOURS, SM_SHOW_PANELS, SM_SHOW_MASKS, SM_SHOW_ALL };
sm_status sm_show_attention(sm_viewer *, int form, double mass, sm_sheet *, sm_error *);
/* projection: a file to read, or to write where there is none (or `anew`); NULL: none. */
sm_status sm_show_components(sm_viewer *, bool foreground, const char *projection, bool anew, sm_sheet *, sm_error *);
typedef struct sm_pattern_options {
  int64_t outputs, k;
} sm_pattern_options;
sm_status sm_show_layout(sm_viewer *, const sm_pattern_options *, sm_sheet *, sm_error *);
/* Two pictures, or two views of each. score (of n pictures; NULL where two pictures are compared) is counted. */
sm_status sm_show_pair(sm_viewer *, int points, sm_sheet *, sm_error *);
sm_status sm_show_views(sm_viewer *, int points, int drawn, uint64_t seed, sm_match_score *, sm_sheet *, sm_error *);
/* Pictures 0 … queries-1 with the k nearest of the others, of `from` on. */
sm_status sm_show_nearest(sm_viewer *, int queries, int from, int k, sm_sheet *, sm_error *);

#endif

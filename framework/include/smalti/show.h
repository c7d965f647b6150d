/* smalti/show.h — what a network sees in one picture, and what figures and evaluations make of it: shares of attention,
 * correspondence between two views, sheets of pictures.
 *
 * Grids are row by row from the top, N = rows · cols patches. */
#ifndef SMALTI_SHOW_H
#define SMALTI_SHOW_H

#include <smalti/image.h>
#include <smalti/evaluation.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- looking ------------------------------------------------------------------------------------------- */

typedef struct sm_look_request {
  int height, width; /* of the pictures */
  bool view, patches, attention;
  bool raw;    /* the patches before the final norm */
  bool logits; /* of each patch, by the head; the network was opened with one at the patch site */
  bool qkv;    /* queries, keys and values of the patches in the last block */
  bool bf16;   /* products of the network in bf16 */
} sm_look_request;

/* Of the last picture that was looked at; what was not asked for is NULL. */
typedef struct sm_look {
  int rows, cols, cell, dim, heads, outputs;
  const float *view;      /* (D)         */
  const float *patches;   /* (N, D)      */
  const float *attention; /* (heads, N)  */
  const float *logits;    /* (N, K)      */
  bool shared;            /* the head gives view and patches the same outputs */
  const float *qkv;       /* (N, 3·D): q|k|v  */
} sm_look;

/* A graph for pictures of one size, taken one by one, so that no picture's answer depends on others. SM_EUNSUPPORTED
 * where the network has no attention, SM_EINVAL where it cannot cut such pictures. Network and pool outlive it. [main] */
typedef struct sm_looker sm_looker;
sm_looker *sm_looker_new(const sm_network *, sm_pool *, const sm_look_request *, sm_error *); /* NULL: an error */
void sm_looker_free(sm_looker *); /* NULL is allowed */
/* x (3, height, width), normalised. The answer lives until the next call. SM_EINVAL: it is not finite. */
sm_status sm_looker_run(sm_looker *, const float *x, sm_look *, sm_error *);

/* ---- attention ----------------------------------------------------------------------------------------- */

/* kept[k] = 1 for the patches that hold `mass` of a head's attention: values ascending, divided by their sum, are
 * added up, and those whose running sum is above 1 - mass are kept (iBOT, visualize_attention.py). Of equal values the
 * later patch counts as the larger. SM_ENOMEM. */
sm_status sm_attention_mass(const float *a, int n, double mass, uint8_t *kept, sm_error *);
/* The k patches of the largest values, largest first, equal ones by number; with `least` of the smallest. k <= n. */
sm_status sm_attention_top(const float *a, int n, int k, bool least, int *top, sm_error *);
/* mean (n): of the heads. */
void sm_attention_mean(const float *a, int heads, int n, float *mean);
/* For each of n_k numbers the mean of the first k[j] patches of an order, of patches (N, dim): mean (n_k,
 * dim). k ascends. */
void sm_patch_means(const float *patches, int dim, const int *order, const int *k, int n_k, float *mean);

/* ---- correspondence ------------------------------------------------------------------------------------ */

/* Of each of n rows of a (n, dim) the row of b (m, dim) of the largest cosine, equal ones by number. cosine (n) may be
 * NULL. SM_ENOMEM. */
sm_status sm_match(const float *a, int n, const float *b, int m, int dim, int *match, float *cosine, sm_error *);

/* A view: a box of a picture, scaled to rows × cols patches, perhaps turned from left to right, perhaps in
 * other colours: what is added to factors of 1, and to the hue in turns. */
typedef struct sm_match_view {
  sm_box box;
  bool flip;
  double brightness, contrast, saturation, hue; /* all 0: colours stay */
} sm_match_view;
/* View `which`, 0 or 1, of a picture by its number: a crop of 40 … 100 % of the area and a ratio of 3/4 …
 * 4/3, flipped half of the time, as in iBOT's instance-level correspondence; colours are moved `colour` (0
 * … 1) times as far as those of iBOT's views, in that order. Keyed: a function of these. Box and flip do
 * not depend on `colour`. */
sm_match_view sm_match_view_draw(int width, int height, double colour, uint64_t seed, int64_t picture,
                                 int which);
/* Cut it, scale it and change its colours; `out` is not `in`. */
sm_status sm_match_view_cut(const sm_image *in, const sm_match_view *, int width, int height, sm_filter,
                            sm_image_scratch *, sm_image *out, sm_error *);
/* Where the middle of a patch of view a lies in view b; -1: outside, so there is nothing to find. */
int sm_match_truth(const sm_match_view *a, const sm_match_view *b, int rows, int cols, int patch);

/* How far a match is from the truth: rows or columns, whichever are more; and from middle to middle, in
 * patches. */
int sm_match_offset(int match, int truth, int cols);
double sm_match_distance(int match, int truth, int cols);

/* Patches of view a that have a place in view b; how many of them were put there exactly, or at most one
 * row and one column beside it; and the sum of their distances to it. */
typedef struct sm_match_score {
  int64_t n, exact, near;
  double distance;
} sm_match_score;
void sm_match_add(sm_match_score *, const sm_match_view *a, const sm_match_view *b, int rows, int cols,
                  const int *match);
/* Of the patches of all n pictures that have a place: percent that are put exactly there (radius 0), or
 * near (radius 1), and their mean distance. Intervals are those of the bootstrap over pictures
 * (sm_ratio_intervals, 1000 draws). NaN where no patch has a place. SM_ENOMEM. */
enum { SM_MATCH_EXACT, SM_MATCH_NEAR, SM_MATCH_DISTANCE, SM_MATCH_FIGURES };
sm_status sm_match_figures(const sm_match_score *, int64_t n, double value[SM_MATCH_FIGURES],
                           sm_interval interval[SM_MATCH_FIGURES], sm_error *);

/* ---- sheets -------------------------------------------------------------------------------------------- */

/* Rows of tiles on white, with captions below. Tiles are copied. Errors are sticky; sm_sheet_draw reports them. */
typedef struct sm_sheet sm_sheet;
sm_sheet *sm_sheet_new(void); /* NULL: no memory; all of these take it, and say so at the end */
void sm_sheet_tile(sm_sheet *, const sm_image *, const char *caption /* or NULL */);
void sm_sheet_row(sm_sheet *); /* the next tile begins a row */
sm_status sm_sheet_draw(const sm_sheet *, sm_image *out, sm_error *);
void sm_sheet_free(sm_sheet *);

#ifdef __cplusplus
}
#endif
#endif

/* smalti/discovery.h — objects in a picture, found from its patches' features alone: one by LOST or
 * TokenCut, several by MaskCut.
 *
 * All read the keys of the last block's attention. Patches are numbered row by row. Nothing here draws a
 * random number, and all of it runs on the calling thread: any number of threads gives the same bits. */
#ifndef SMALTI_DISCOVERY_H
#define SMALTI_DISCOVERY_H

#include <smalti/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sm_patch_keys {
  const float *x; /* (rows·cols, dim): heads side by side, without [CLS] */
  int rows, cols, dim;
  int cell;          /* side of a patch in pixels                                                      */
  int height, width; /* of the picture before it was padded: boxes are cut off there, right and below */
} sm_patch_keys;

/* Pixels x0 … x1 − 1 and y0 … y1 − 1; all 0 where nothing was found. */
typedef struct sm_patch_box {
  int seed; /* patch from which it grew */
  int x0, y0, x1, y1;
} sm_patch_box;

/* The pieces on the way, for who wants to look: each may be NULL, of rows·cols elements. */
typedef struct sm_lost_parts {
  int64_t *degree;         /* other patches with a positive product         */
  int *similar, n_similar; /* ascending: what the seed was widened to       */
  double *sum;             /* of products with these: above 0 is the object */
  double negative;         /* share of the pairs of patches whose product is below 0: without any, LOST cannot work */
} sm_lost_parts;
/* LOST (Siméoni et al. 2021; object_discovery.py). The seed has the fewest positive products with others, and is widened
 * to those of the k patches of lowest degree that have a positive product with it; of equal degrees the lower patch
 * counts as lower. `parts` may be NULL. SM_EINVAL: keys that are not finite; SM_ENOMEM. [any] */
sm_status sm_lost(const sm_patch_keys *, int k, sm_lost_parts *parts, sm_patch_box *, sm_error *);

typedef struct sm_tokencut_parts {
  double *vector;         /* second eigenvector of (D − W) x = λ D x, xᵀDx = 1, turned so that the seed's part is up */
  uint8_t *object, *mask; /* 1: the part that the seed is in; what of it hangs together with the seed */
  double value[3];        /* the smallest eigenvalues; NaN where there are fewer patches              */
} sm_tokencut_parts;
/* TokenCut (Wang et al. 2022; object_discovery.py): W is 1 where the cosine of two keys is above tau, else 1e-5; `soft`:
 * the cosine itself from tau on. The picture is split at the vector's mean, and the seed is its largest magnitude.
 * Errors as above, and SM_EINVAL for fewer than two patches or a patch whose row of W does not add up to more than 0.
 * [any] */
sm_status sm_tokencut(const sm_patch_keys *, double tau, bool soft, sm_tokencut_parts *parts, sm_patch_box *,
                      sm_error *);

/* MaskCut (Wang et al. 2023, CutLER; maskcut.py), without the CRF that refines its masks: TokenCut, `most`
 * times at most, each time with the keys of what was found before set to 0. Where three corners of the
 * picture are in the object, the other part is it (in that file the solver's sign decides whether they are
 * asked). A mask of at most a hundredth of the patches ends the search, the first one excepted; one that
 * overlaps the mask before it by more than a half (IoU) gives up its turn and is taken in the next, as
 * there. mask (most, rows·cols): 1 in what is of object i and of none before it; box (most): around that;
 * *found: how many, 0 where all patches are alike. Errors as above; most from 1 on. [any] */
sm_status sm_maskcut(const sm_patch_keys *, double tau, int most, uint8_t *mask, sm_patch_box *box,
                     int *found, sm_error *);

/* What of `object` (rows·cols bytes, 0 or not) hangs together with the seed by sides: 1 in `mask`, else 0. Its
 * number of patches; 0 where the seed is none. `stack`: room for rows·cols. [any] */
int64_t sm_patch_component(const uint8_t *object, int rows, int cols, int seed, uint8_t *mask, int *stack);

#ifdef __cplusplus
}
#endif
#endif

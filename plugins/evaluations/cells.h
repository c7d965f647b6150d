/* cells.h — a picture cut into a grid of cells, row by row from the top: what drops some of them, or moves them
 * about. Pictures need not be square. */
#ifndef CELLS_H
#define CELLS_H

#include <smalti/base.h>

/* Cell (r, c) has pixel rows ⌊r·height/rows⌋ … ⌊(r+1)·height/rows⌋-1, and columns likewise. */
typedef struct cells {
  int rows, cols, height, width;
} cells;
typedef struct cells_box {
  int top, left, height, width;
} cells_box;

/* SM_EINVAL: a cell would have no pixel. */
sm_status cells_check(const cells *, sm_error *);
int cells_count(const cells *);
cells_box cells_at(const cells *, int cell);
bool cells_even(const cells *); /* all have the same size */

/* A permutation of 0 … cells_count-1, the same for the same seed, picture and grid. */
void cells_order(const cells *, uint64_t seed, int64_t picture, uint32_t *order);
/* Cells with which[cell] not 0 become `colour`, in x (3, height, width). */
void cells_fill(const cells *, const uint8_t *which, const float colour[3], float *x);
/* Cell k of `out` is cell from[k] of `in`, both (3, height, width); the cells are even. */
void cells_move(const cells *, const uint32_t *from, const float *in, float *out);
/* What lies evenly in each cell of one grid, summed in the cells of another over the same picture. */
void cells_spread(const cells *of, const float *amount, const cells *to, float *sum);

#endif

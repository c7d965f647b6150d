/* batch.h — the memory of one training batch: all its arrays in one block. */
#ifndef SMALTI_DATA_BATCH_H
#define SMALTI_DATA_BATCH_H

#include "framework/data/data.h"

/* Cells of the mask of a view, global or local; 0: it has none. */
size_t sm_batch_cells(const sm_views *, const sm_masking *, bool local);
/* Of a batch of so many pictures. */
size_t sm_batch_bytes(const sm_views *, const sm_masking *, int pictures);
/* Point the batch's arrays into a new block. NULL: out of memory. The block is the caller's, for sm_aligned_free. */
void *sm_batch_allocate(sm_batch *, const sm_views *, const sm_masking *, int pictures);

#endif

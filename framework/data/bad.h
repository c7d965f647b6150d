/* bad.h — the book of pictures that cannot be used.
 *
 * Workers meet bad pictures in any order; the owner lists them when the batch that met them is given out. So
 * `sm_bad_is` knows at once what any worker has seen, and the list depends on nothing but the step. */
#ifndef SMALTI_DATA_BAD_H
#define SMALTI_DATA_BAD_H

#include "framework/data/data.h"

typedef struct sm_bad_book sm_bad_book;

/* `known` pictures are listed from the start. SM_EINVAL: a known index that the dataset has not. */
sm_bad_book *sm_bad_book_new(const sm_dataset *, int64_t count, int64_t n_known, const int64_t *known,
                             sm_error *);
void sm_bad_book_free(sm_bad_book *); /* NULL is allowed */

bool sm_bad_is(const sm_bad_book *, int64_t index);                 /* [worker] */
bool sm_bad_met(sm_bad_book *, int64_t index, const sm_error *why); /* [worker] false: out of memory */
bool sm_bad_list(sm_bad_book *, int64_t index); /* [main] enter a met picture; false: out of memory */
bool sm_bad_is_listed(sm_bad_book *, int64_t index); /* [main] one that was met */
sm_bad sm_bad_of(sm_bad_book *, int64_t index); /* one that was met; its name is the data set's */
const sm_bad *sm_bad_listed(const sm_bad_book *, int64_t *n); /* [main] in the order of listing */

/* [main] What all ranks came across, each its own n met pictures: *all, in the order of ranks, is met by this one too
 * (not listed), and is to be freed. Every rank calls it. */
sm_status sm_bad_gather(sm_bad_book *, sm_ranks *, const int64_t *mine, int n, sm_bad **all, int64_t *n_all,
                        sm_error *);

/* SM_EFORMAT when bad pictures are more than the share allowed of those `read` so far; see data.h for the rule. */
sm_status sm_bad_check(const sm_bad_book *, int64_t read, double max_bad, sm_error *);

#endif

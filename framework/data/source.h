/* source.h — where a worker gets a picture from: the dataset's memory, the cache, or the dataset's read. */
#ifndef SMALTI_DATA_SOURCE_H
#define SMALTI_DATA_SOURCE_H

#include "framework/data/data.h"

/* ---- the cache ----------------------------------------------------------------------------------------- */

/* Decoded pictures that stay until the cache is freed: the first ones that come, as many as fit. A picture
 * that stays is never moved or dropped, so what was found may be looked at without a lock, and whether one
 * is found changes nothing but the time. All functions but new and free: any thread. */
typedef struct sm_cache sm_cache;

/* NULL, with an error, when memory for the table of `count` pictures runs out. The table counts as part of
 * `bytes`. */
sm_cache *sm_cache_new(int64_t count, size_t bytes, sm_error *);
void sm_cache_free(sm_cache *); /* NULL is allowed */
bool sm_cache_find(sm_cache *, int64_t index, sm_image *view);
/* If there is room; want of memory is no error. */
void sm_cache_keep(sm_cache *, int64_t index, const sm_image *);
void sm_cache_stats(const sm_cache *, int64_t *pictures, size_t *bytes, int64_t *found);

/* ---- one picture --------------------------------------------------------------------------------------- */

/* A fault of the system (SM_EIO, SM_ENOTFOUND of what was listed, SM_ENOMEM) says nothing about a picture, and may
 * pass. */
bool sm_source_is_fault(sm_status);
/* What ends the work and says nothing about a picture: a fault that did not pass, a stop, a plugin that breaks its
 * word (guard.h). Anything else makes the picture bad. */
bool sm_source_ends(sm_status);

typedef struct sm_source {
  const sm_dataset *dataset;
  const sm_image_limits *limits;
  sm_cache *cache;            /* or NULL */
  bool (*stop)(void);         /* is a signal there? NULL: never asked */
  const struct sm_ring *ring; /* of the worker, which waits no longer when it is freed; or NULL */
} sm_source;

/* Picture `index` as a view into one of the three; `own` is the worker's memory, used where it must be
 * read. `shrink` NULL: in full size; else a JPEG may come smaller, and shrink->by says by how much. What
 * it asks for must depend on nothing but the size. A picture in the cache is of full size, and taken only
 * if one is wanted. `view` NULL: read into `own` in any case.
 *
 * A fault of the system is tried again after 10 ms, then after twice as long each time, for 10 s in all. One that
 * does not pass is SM_EIO (SM_ENOMEM where memory is short) and names the picture: it ends the work, and makes no
 * picture bad. SM_EINTERRUPTED: a signal came meanwhile. */
sm_status sm_source_get(const sm_source *, int64_t index, sm_image_shrink *shrink, sm_image *own,
                        sm_image *view, sm_error *);

/* How large the picture is, upright: from the header of its file where its name is one, else it is read, into `own`. */
sm_status sm_source_size(const sm_source *, int64_t index, sm_image *own, int *height, int *width, sm_error *);

#endif

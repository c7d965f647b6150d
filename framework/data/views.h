/* views.h — the views and masks of one slot: every random draw of the data side, in one place. */
#ifndef SMALTI_DATA_VIEWS_H
#define SMALTI_DATA_VIEWS_H

#include "framework/data/data.h"

/* A slot of an epoch: what every draw of one picture is keyed with. */
typedef struct sm_slot_key {
  uint64_t seed;
  int64_t epoch, slot;
} sm_slot_key;

sm_status sm_views_check(const sm_views *, sm_error *);
sm_status sm_masking_check(const sm_masking *, sm_error *);

/* The recipe of view v: 0 … globals-1, then the local ones. */
const sm_view_recipe *sm_views_recipe(const sm_views *, int v);
/* The choice of view v for a width x height picture. */
void sm_views_draw(const sm_views *, const sm_slot_key *, int v, int width, int height, sm_view_choice *);
/* Do local views have masks? */
bool sm_masking_local(const sm_masking *, const sm_views *);
/* The mask of view v into as many bytes as its grid has cells; all zero where v is not masked, and before the
 * masker's start epoch. attention: (heads, cells), for a masker that wants it; NULL before the teacher has
 * looked, and its mask is then all zero. An error: the masker wrote elsewhere, or something else. */
sm_status sm_masking_draw(const sm_masking *, const sm_views *, const sm_slot_key *, int v,
                          const float *attention, int heads, uint8_t *mask, sm_error *);
/* The picture that attempt k > 0 puts into a slot whose picture is bad. */
int64_t sm_slot_replacement(const sm_slot_key *, int attempt, int64_t count);

#endif

/* weights_names.h — private to models: how other programs call a backbone's parameters, and what else their
 * files hold.
 *
 * A row's own name is what the authors of the network call it. Where timm calls it otherwise, the backbone
 * said so (sm_declare_timm_name), and a file is read by the names that it uses: all of timm's or none. */
#ifndef SM_WEIGHTS_NAMES_H
#define SM_WEIGHTS_NAMES_H

#include "framework/formats/formats.h"
#include "framework/nn/nn.h"

#include "weights.h"

/* Does the file, after `prefix`, call the set's rows (after `row_prefix`) as timm does? True where all rows
 * with a name of timm's are there by it; false too where there are no such rows. */
bool sm_weights_in_timm(const sm_st_reader *, const char *prefix, sm_set *, const char *row_prefix);
/* What a row is called in a file of timm's or of the network's authors; without the prefix. */
const char *sm_weights_name_of(const sm_row *, size_t row_cut, bool timm);
/* ---- weights_outside.c: how a row goes out ---- */

typedef struct sm_outside_kind { /* which classes of other programs a network fits */
  bool scaled;                   /* it has gains (LayerScale): Dinov2Model             */
  bool relative;                 /* it has relative positions: timm's Beit             */
} sm_outside_kind;
sm_outside_kind sm_outside_kind_of(sm_set *, const char *prefix);
/* Names of the `parts` equal parts of a row, below one another; "": that part is left out. */
typedef struct sm_outside {
  int parts;
  char name[3][320];
} sm_outside;
/* false: the format has no name for the row, whose own begins at `cut`. */
bool sm_outside_name(sm_weights_format, const sm_outside_kind *, const sm_row *, size_t cut, sm_outside *);
/* Tables that other programs save and every program makes itself: indices and masks of windows. */
bool sm_weights_is_buffer(const char *name);

#endif

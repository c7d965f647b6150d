/* missing_callback.c — a masker that cannot draw. */
#include "masker.h"

static const sm_masker_ops no_draw = {.max_ratio = hides_nothing};
static const sm_plugin handless = PLUGIN("handless", .ops = &no_draw);
SM_MODULE(&handless)

/* missing_symbol.c — the right version, but a function that no library has. */
#include "masker.h"

double sm_from_the_future(const void *);
static const sm_masker_ops future_ops = {.max_ratio = sm_from_the_future, .draw = draw_nothing};
static const sm_plugin future = PLUGIN("future", .ops = &future_ops);
SM_MODULE(&future)

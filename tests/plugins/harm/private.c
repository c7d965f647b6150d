/* private.c — a masker that calls a function of libsmalti which no public header declares. */
#include "../masker.h"

uint64_t sm_registry_count(const void *); /* its first argument may be anything: it is never called */

static double asks_inside(const void *self) { return self ? 0 : (double)sm_registry_count(self); }

static const sm_masker_ops ops = {.max_ratio = asks_inside, .draw = draw_nothing};
static const sm_plugin curious = PLUGIN("curious", .ops = &ops);
SM_MODULE(&curious)

/* null_fields.c — a descriptor without a summary. */
#include "masker.h"

static const sm_plugin bare = {.kind = SM_MASKER,
                               .name = "bare",
                               .version = "1",
                               .license = "Apache-2.0",
                               .ops = &masker_ops};
SM_MODULE(&bare)

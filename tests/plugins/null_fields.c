/* null_fields.c — a descriptor without a summary. */
#include "masker.h"

static const sm_plugin bare = {.size = sizeof(sm_plugin),
                               .kind = SM_MASKER,
                               .kind_version = SM_KIND_VERSION,
                               .name = "bare",
                               .version = "1",
                               .license = "Apache-2.0",
                               .ops = &masker_ops};
SM_MODULE(&bare)

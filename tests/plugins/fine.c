/* fine.c — nothing is wrong with this one. */
#include "masker.h"

static const sm_plugin fine = PLUGIN("fine", .ops = &masker_ops, .cite = "Nobody, Nothing, 2026");
SM_MODULE(&fine)

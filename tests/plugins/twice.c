/* twice.c — built into twice_a and twice_b: two files that give the same plugin. */
#include "masker.h"

static const sm_plugin twice = PLUGIN("twice", .ops = &masker_ops);
SM_MODULE(&twice)

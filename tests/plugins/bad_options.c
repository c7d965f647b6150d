/* bad_options.c — the first plugin is sound, the second's default lies outside its
 * range: neither is taken. */
#include "masker.h"

struct masker {
  double ratio;
};

static const sm_option options[] = {
    SM_FLOAT(struct masker, ratio, "ratio", "1.5", 0.1, 1, NULL, "Share of patches that are hidden"),
};
static const sm_plugin sound = PLUGIN("sound", .ops = &masker_ops);
static const sm_plugin unsound = PLUGIN("unsound", .ops = &masker_ops, .options = options, .n_options = 1,
                                        .instance_size = sizeof(struct masker));
SM_MODULE(&sound, &unsound)

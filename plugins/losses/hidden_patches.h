/* hidden_patches.h — each hidden patch with itself: the pairs that `mim` and `mim_regression` have in common,
 * and what their mean is over. Which changes how much views with few hidden patches count:
 *
 *   picture  over a view's hidden patches, then over all views of the step, those without any too (ibot,
 *            iBOTLoss.forward): weight/(pictures · V · max(1, hidden in the view)). V = G, or G + L where
 *            local views are masked too: there each counts as much as a global one, as views do in the
 *            official code's sum
 *   patch    over all hidden patches of the step: weight/hidden in the step */
#ifndef SMALTI_PLUGIN_HIDDEN_PATCHES_H
#define SMALTI_PLUGIN_HIDDEN_PATCHES_H

#include <smalti/plugin.h>

enum { BY_PICTURE, BY_PATCH };
static const char *const normalize_names[] = {"picture", "patch", NULL};

/* The row of an options table, for an instance T with an int called `field`. */
#define NORMALIZE_OPTION(T, field, def)                  \
  SM_CHOICE(T, field, "normalize", def, normalize_names, \
            "Mean over each view's hidden patches, then over views; or over all hidden patches of a step")

static void pair_hidden_patches(const sm_pair_request *r, int normalize, double weight) {
  int64_t row = 0;
  for (int view = 0; view < r->pictures * (r->local ? r->locals : r->globals); view++) {
    double over = normalize == BY_PICTURE ? (double)r->step_pictures * r->views * r->masked[view]
                                          : (double)r->step_masked;
    for (int k = 0; k < r->masked[view]; k++, row++) sm_pairs_add(r->out, row, row, weight / over);
  }
}

#endif

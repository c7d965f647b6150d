/* bad_create.c — three maskers whose create goes wrong: with a reason, without one, and
 * when memory runs out. */
#include "masker.h"

struct greedy {
  void *block[3];
};

static sm_status fails(void *self, sm_error *err) {
  (void)self;
  sm_fail(err, SM_EINVAL, "ratio 0.5 needs a grid of at least 2");
  return sm_hint(err, "raise grid");
}

static sm_status fails_silently(void *self, sm_error *err) {
  (void)self, (void)err;
  return SM_EIO;
}

static void greedy_destroy(void *self) {
  struct greedy *g = self;
  for (int k = 0; k < 3; k++) sm_free(g->block[k]);
}

/* The instance is not destroyed when create fails, so it cleans up after itself. */
static sm_status greedy_create(void *self, sm_error *err) {
  struct greedy *g = self;
  for (int k = 0; k < 3; k++) {
    g->block[k] = sm_malloc(1000);
    if (g->block[k]) continue;
    greedy_destroy(self);
    return sm_fail(err, SM_ENOMEM, "no memory for block %d", k);
  }
  return SM_OK;
}

static const sm_plugin failing = PLUGIN("failing", .ops = &masker_ops, .create = fails);
static const sm_plugin silent = PLUGIN("silent", .ops = &masker_ops, .create = fails_silently);
static const sm_plugin greedy = PLUGIN("greedy", .ops = &masker_ops, .create = greedy_create,
                                       .destroy = greedy_destroy, .instance_size = sizeof(struct greedy));
SM_MODULE(&failing, &silent, &greedy)

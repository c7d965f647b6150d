/* none — hides nothing: DINO, and every recipe without masked image modelling. */
#include <smalti/plugin.h>

static double none_max_ratio(const void *self) {
  (void)self;
  return 0;
}

static void none_draw(const void *self, const sm_mask_request *request, uint8_t *mask) {
  (void)self, (void)request, (void)mask;
}

static const sm_masker_ops ops = {.max_ratio = none_max_ratio, .draw = none_draw};
static const sm_plugin plugin = {.kind = SM_MASKER,
                                 .name = "none",
                                 .summary = "Hides nothing",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .instance_size = 1,
                                 .ops = &ops};
SM_MODULE(&plugin)

/* masker.h — a masker that hides nothing, for the plugins that only tests load: each spoils
 * one thing of it. */
#ifndef TEST_PLUGINS_MASKER_H
#define TEST_PLUGINS_MASKER_H

#include <smalti/plugin.h>

static inline double hides_nothing(const void *self) {
  (void)self;
  return 0;
}

static inline void draw_nothing(const void *self, const sm_mask_request *request, uint8_t *mask) {
  (void)self, (void)request, (void)mask;
}

__attribute__((unused)) static const sm_masker_ops masker_ops = {
    .max_ratio = hides_nothing, .draw = draw_nothing};

/* PLUGIN("fine", .ops = &masker_ops): a sound descriptor with what is given beside the name. */
#define PLUGIN(NAME, ...)                                                                        \
  {                                                                                              \
    .kind = SM_MASKER, .name = NAME, \
    .summary = "Hides nothing", .version = "1", .license = "Apache-2.0", __VA_ARGS__             \
  }

#endif

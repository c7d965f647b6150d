/* random — hides single patches anywhere: exactly floor(ratio · patches) of them (ibot, loader.py, pred_shape
 * "rand"). */
#include <smalti/plugin.h>

#include "ratio.h"

typedef struct random_masker {
  mask_ratio ratio;
} random_masker;

static const sm_option options[] = {MASK_RATIO_OPTIONS(random_masker, ratio)};

static sm_status random_create(void *self, sm_error *err) {
  return mask_ratio_check(&((random_masker *)self)->ratio, err);
}
static double random_max_ratio(const void *self) {
  return mask_ratio_max(&((const random_masker *)self)->ratio);
}
static int64_t random_start_epoch(const void *self) {
  return ((const random_masker *)self)->ratio.start_epoch;
}

/* Selection sampling (Knuth, TAOCP 2, 3.4.2 S): each choice of n cells is equally likely. */
static void random_draw(const void *self, const sm_mask_request *request, uint8_t *mask) {
  int cells = request->rows * request->cols;
  int wanted = (int)(mask_ratio_draw(&((const random_masker *)self)->ratio, request) * cells);
  for (int i = 0; i < cells && wanted > 0; i++)
    if (sm_rng_below(request->rng, (uint32_t)(cells - i)) < (uint32_t)wanted) {
      mask[i] = 1;
      wanted--;
    }
}

/* One ratio that does not vary, from the beginning on. */
static int random_count(const void *self, int rows, int cols) {
  const mask_ratio *m = &((const random_masker *)self)->ratio;
  return m->ratio.n == 1 && mask_ratio_var(m, 0) <= 0 && m->start_epoch == 0
             ? (int)(m->ratio.v[0] * (rows * cols))
             : -1;
}

static const sm_masker_ops ops = {.max_ratio = random_max_ratio,
                                  .start_epoch = random_start_epoch,
                                  .draw = random_draw,
                                  .count = random_count};
static const sm_plugin plugin = {.kind = SM_MASKER,
                                 .name = "random",
                                 .summary = "Hides single patches anywhere",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .cite = "Zhou et al., iBOT, ICLR 2022",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .instance_size = sizeof(random_masker),
                                 .create = random_create,
                                 .ops = &ops};
SM_MODULE(&plugin)

/* blockwise — hides rectangles of patches until the wanted number is reached (BEiT, masking_generator.py, and
 * iBOT after it: ibot, loader.py, pred_shape "block").
 *
 * The wanted number stays a real one, ratio · patches. A block's area is uniform between min_block and what
 * is still wanted (or max_block), also where the former is the larger; its aspect is log-uniform. A block is
 * taken if it hides something new and no more than is still wanted; after ten failures in a row the mask
 * stays as it is, so it may fall short: nothing tops it up.
 *
 * iBOT's smallest block is (shorter side div 3)². BEiT's is 16 patches whatever the grid, and 75 of 196 are
 * wanted: {ratio: 0.3827, min_block: 16}. A ratio, since it means the same on other grids; rounding down
 * makes 75.009 at most 75. */
#include <smalti/plugin.h>

#include <math.h>

#include "ratio.h"

enum { ATTEMPTS = 10 };

typedef struct blockwise {
  mask_ratio ratio;
  sm_floats aspect;
  int64_t min_block, max_block;
} blockwise;

static const sm_option options[] = {
    MASK_RATIO_OPTIONS(blockwise, ratio),
    SM_FLOATS(blockwise, aspect, "aspect", "0.3", 0.01, 100, NULL,
              "Range of a block's height over its width; one number stands for itself and its inverse"),
    SM_INT(
        blockwise, min_block, "min_block", "0", 0, 64, "patches",
        "Smallest area of a block; 0: the square of a third of the shorter side, 16 on a grid of 14 by 14"),
    SM_INT(blockwise, max_block, "max_block", "0", 0, 4096, "patches",
           "Largest area of a block; 0: what is still wanted"),
};

static double blockwise_aspect_low(const blockwise *b) { return b->aspect.v[0]; }
static double blockwise_aspect_high(const blockwise *b) {
  return b->aspect.n > 1 ? b->aspect.v[1] : 1 / b->aspect.v[0];
}

static sm_status blockwise_create(void *self, sm_error *err) {
  const blockwise *b = self;
  if (b->aspect.n < 1 || b->aspect.n > 2 || blockwise_aspect_low(b) > blockwise_aspect_high(b)) {
    sm_fail(err, SM_EINVAL, "aspect must be a lowest and a highest value, or one value of at most 1");
    return sm_hint(err, "for instance aspect: [0.3, 3.33]");
  }
  if (b->max_block && b->max_block < b->min_block) {
    sm_fail(err, SM_EINVAL, "max_block %lld is smaller than min_block %lld", (long long)b->max_block,
            (long long)b->min_block);
    return sm_hint(err, "raise max_block, or leave it out: a block may then be as large as what is wanted");
  }
  return mask_ratio_check(&b->ratio, err);
}

static double blockwise_max_ratio(const void *self) {
  return mask_ratio_max(&((const blockwise *)self)->ratio);
}
static int64_t blockwise_start_epoch(const void *self) {
  return ((const blockwise *)self)->ratio.start_epoch;
}

typedef struct block {
  int top, left, height, width;
} block;

/* A block that fits inside the grid; false if the draw gave one that does not. */
static bool blockwise_draw_block(const blockwise *b, const sm_mask_request *request, double most,
                                 block *out) {
  int rows = request->rows, cols = request->cols, third = (rows < cols ? rows : cols) / 3;
  double low = b->min_block ? (double)b->min_block : third * third;
  double area = low + (most - low) * sm_rng_uniform(request->rng);
  double aspect =
      exp(sm_rng_between(request->rng, log(blockwise_aspect_low(b)), log(blockwise_aspect_high(b))));
  out->height = (int)nearbyint(sqrt(area * aspect));
  out->width = (int)nearbyint(sqrt(area / aspect));
  if (out->height >= rows || out->width >= cols) return false;
  out->top = (int)sm_rng_below(request->rng, (uint32_t)(rows - out->height + 1));
  out->left = (int)sm_rng_below(request->rng, (uint32_t)(cols - out->width + 1));
  return true;
}

/* How many cells of the block are still visible; with `hide` they are hidden. */
static int blockwise_visible(const block *k, int cols, uint8_t *mask, bool hide) {
  int count = 0;
  for (int i = k->top; i < k->top + k->height; i++)
    for (int j = k->left; j < k->left + k->width; j++) {
      count += mask[i * cols + j] == 0;
      if (hide) mask[i * cols + j] = 1;
    }
  return count;
}

static void blockwise_draw(const void *self, const sm_mask_request *request, uint8_t *mask) {
  const blockwise *b = self;
  double wanted = mask_ratio_draw(&b->ratio, request) * request->rows * request->cols;
  int failures = 0;
  while (wanted > 0 && failures < ATTEMPTS) {
    block k;
    double most = b->max_block && wanted > (double)b->max_block ? (double)b->max_block : wanted;
    int news =
        blockwise_draw_block(b, request, most, &k) ? blockwise_visible(&k, request->cols, mask, false) : 0;
    if (news == 0 || news > most) {
      failures++;
      continue;
    }
    blockwise_visible(&k, request->cols, mask, true);
    wanted -= news;
    failures = 0;
  }
}

static const sm_masker_ops ops = {
    .max_ratio = blockwise_max_ratio, .start_epoch = blockwise_start_epoch, .draw = blockwise_draw};
static const sm_plugin plugin = {.kind = SM_MASKER,
                                 .name = "blockwise",
                                 .summary = "Hides rectangles of patches",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .cite = "Bao et al., BEiT, ICLR 2022; Zhou et al., iBOT, ICLR 2022",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .instance_size = sizeof(blockwise),
                                 .create = blockwise_create,
                                 .ops = &ops};
SM_MODULE(&plugin)

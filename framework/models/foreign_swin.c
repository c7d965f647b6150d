/* foreign_swin.c — what the tensors of a Swin transformer say of it: the options of `swin`.
 *
 * Blocks, widths and heads are read off shapes, the window off the tables of relative positions. Which grids
 * the network was made for decides where windows shift, and is told by a stage whose window is smaller, or by
 * the masks that official files keep; where neither is there, window 7 with patches of 4 is taken for 224
 * pixels, and anything else must be said. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "foreign.h"

enum { MOST_STAGES = 6, MOST_BLOCKS = 128 };

static int swin_depth(const foreign_file *f, int stage) {
  int depth = 0;
  while (depth < MOST_BLOCKS && sm_foreign_find(f, "layers.%d.blocks.%d.norm1.weight", stage, depth)) depth++;
  return depth;
}

static const sm_st_tensor *swin_table(const foreign_file *f, int stage) {
  const sm_st_tensor *t = sm_foreign_find(f, "layers.%d.blocks.0.attn.relative_position_bias_table", stage);
  return t && t->ndim == 2 ? t : NULL;
}

/* (2w - 1)² rows. 0: it is no window's. */
static int swin_window(const sm_st_tensor *table) {
  const int64_t side = table && table->shape[0] > 0 && table->shape[0] < 1 << 20 ? llround(sqrt((double)table->shape[0])) : 0;
  return side * side == (table ? table->shape[0] : 1) && side % 2 ? (int)(side + 1) / 2 : 0;
}

/* The masks of shifted windows (windows, w², w²) that official files keep: the grid is w·√windows wide. */
static int swin_grid_of_mask(const foreign_file *f, int stage, int window) {
  const sm_st_tensor *mask = sm_foreign_raw(f, "layers.%d.blocks.1.attn_mask", stage);
  const int64_t side = mask && mask->ndim == 3 && mask->shape[0] < 1 << 16 ? llround(sqrt((double)mask->shape[0])) : 0;
  return side > 0 && side * side == mask->shape[0] ? (int)side * window : 0;
}

static void swin_input(foreign_file *f, int stages, int patch, int window) {
  int size = 0;
  for (int s = 0; s < stages; s++) {
    const int own = swin_window(swin_table(f, s));
    if (own && own < window) size = own * patch << s;
  }
  for (int s = 0; !size && s < stages; s++) size = swin_grid_of_mask(f, s, window) * patch << s;
  if (!size && patch == 4 && stages == 4 && (window == 7 || window == 12)) {
    size = window == 7 ? 224 : 384;
    f->out->assumed = sm_arena_printf(f->texts, "made for pictures of %d pixels", size);
  }
  if (size) {
    sm_foreign_option(f, "input_size", "%d", size);
    f->out->height = f->out->width = size;
  } else f->out->lacks = "input_size", f->out->lacks_for = "input_size: 224";
}

static void swin_lists(foreign_file *f, int stages) {
  char depths[64] = "[", heads[64] = "[";
  size_t a = 1, b = 1;
  for (int s = 0; s < stages && a < sizeof depths - 16 && b < sizeof heads - 16; s++) {
    const sm_st_tensor *table = swin_table(f, s);
    a += (size_t)snprintf(depths + a, sizeof depths - a, "%s%d", s ? ", " : "", swin_depth(f, s));
    b += (size_t)snprintf(heads + b, sizeof heads - b, "%s%d", s ? ", " : "",
                          table && table->shape[1] < 10000 ? (int)table->shape[1] : 0);
  }
  sm_foreign_option(f, "arch", "custom");
  sm_foreign_option(f, "depths", "%s]", depths);
  sm_foreign_option(f, "heads", "%s]", heads);
}

void sm_foreign_swin(foreign_file *f) {
  const sm_st_tensor *patch = sm_foreign_find(f, "patch_embed.proj.weight"),
                     *in = sm_foreign_find(f, "layers.0.blocks.0.mlp.fc1.weight");
  int stages = 0, window = 0;
  char text[32];
  f->out->plugin = "swin";
  f->out->family = sm_foreign_raw(f, "masked_embed")    ? "Swin of iBOT"
                   : sm_foreign_find(f, "masked_embed") ? "Swin of SimMIM"
                                                        : "Swin";
  while (stages < MOST_STAGES && swin_depth(f, stages)) {
    const int own = swin_window(swin_table(f, stages++));
    if (!own) sm_foreign_refuse(f, "a stage has no table of relative positions", "`swin` is Swin's first version");
    if (own > window) window = own;
  }
  if (sm_foreign_find(f, "layers.0.blocks.0.attn.logit_scale"))
    sm_foreign_refuse(f, "it is a Swin V2, with cosine attention", "`swin` is Swin's first version");
  if (!f->status && (patch->ndim != 4 || patch->shape[1] != 3 || patch->shape[2] != patch->shape[3] ||
                     patch->shape[2] < 1 || patch->shape[2] > 64))
    sm_foreign_refuse(f, "its patch embedding is of another form", "`swin` has square patches of 3 colours");
  if (f->status) return;
  swin_lists(f, stages);
  sm_foreign_option(f, "dim", "%" PRId64, patch->shape[0]);
  sm_foreign_option(f, "patch_size", "%" PRId64, patch->shape[2]);
  sm_foreign_option(f, "window", "%d", window);
  swin_input(f, stages, (int)patch->shape[2], window);
  if (in && in->ndim == 2 && patch->shape[0] && in->shape[0] != 4 * patch->shape[0])
    sm_foreign_option(f, "mlp_ratio", "%s",
                      sm_double_text((double)in->shape[0] / (double)patch->shape[0], text, sizeof text));
  if (!sm_foreign_raw(f, "masked_embed")) /* the official one, timm's and SimMIM's; iBOT's has 1e-6 */
    sm_foreign_option(f, "norm_eps", "1e-5");
}

/* conv — a small convolutional network as a backbone: no class token, no attention, three blocks of two
 * widths on grids of their own. It is what a plugin's author would write, with public headers only.
 *
 *   pixels ─ hide cells ─ conv 3×3 ─ relu ─ pool    block 0: width, H/2 × W/2
 *          ─ conv 3×3 ─ relu ─ pool                   block 1: 2·width, H/4 × W/4
 *          ─ + conv 3×3 of the norm                   block 2: 2·width, H/4 × W/4
 *          ─ norm
 *
 * The normed patches are what it gives, and their mean is the view.
 *
 * A cell is 4 × 4 pixels: those of a hidden one are replaced by a learned colour before any window sees
 * them. */
#include <smalti/plugin.h>

#include <smalti/op.h>

#include <string.h>

enum { CELL = 4, BLOCKS = 3, CHANNELS = 3 };
static const double norm_eps = 1e-6;

typedef struct conv {
  int64_t width;
  double drop_path;
} conv;

static const sm_option options[] = {
    SM_INT(conv, width, "width", "8", 1, 1024, NULL,
           "Width of the first block; the others are twice as wide"),
    SM_FLOAT(conv, drop_path, "drop_path", "0", 0, 0.99, NULL,
             "Stochastic depth of the last block (student only)"),
};

static sm_status conv_spec(const void *self, int height, int width, sm_backbone_spec *out, sm_error *err) {
  const conv *c = self;
  const int dim = 2 * (int)c->width;
  if (height < CELL || width < CELL || height % CELL || width % CELL) {
    sm_fail(err, SM_EINVAL, "pictures of %d x %d pixels cannot be halved twice", height, width);
    return sm_hint(err, "choose a view size that is a multiple of %d", CELL);
  }
  out->dim = dim;
  out->rows = height / CELL;
  out->cols = width / CELL;
  out->cell = CELL;
  out->blocks = out->layers = BLOCKS;
  out->block[0] = (sm_block_spec){(int)c->width, height / 2, width / 2};
  out->drop_sites = c->drop_path > 0;
  out->drop_rate[0] = c->drop_path;
  out->drop_columns = 1;
  out->drop_layer[0] = BLOCKS;
  return SM_OK;
}

/* ---- parameters ---------------------------------------------------------------------------------------- */

static void declare_conv(const sm_params *p, const char *name, int64_t out, int64_t in) {
  char full[64];
  snprintf(full, sizeof full, "%s.weight", name);
  sm_declare(p, full, SM_INIT_UNIFORM_FAN, 9 * (double)in, 0, 4, (int64_t[]){out, in, 3, 3});
  snprintf(full, sizeof full, "%s.bias", name);
  sm_declare(p, full, SM_INIT_ZEROS, 0, 0, 1, &out);
}

static void conv_declare(const void *self, int height, int width, const sm_params *p) {
  const conv *c = self;
  const int64_t narrow = c->width, wide = 2 * c->width;
  (void)height, (void)width; /* windows fit every size */
  sm_declare(p, "hidden", SM_INIT_ZEROS, 0, SM_ROW_NO_EXPORT | SM_ROW_EMBEDDING, 2, (int64_t[]){1, CHANNELS});
  sm_declare_layer(p, 1);
  declare_conv(p, "first", narrow, CHANNELS);
  sm_declare_layer(p, 2);
  declare_conv(p, "second", wide, narrow);
  sm_declare_layer(p, 3);
  declare_conv(p, "third", wide, wide);
  sm_declare_layer(p, 4);
  sm_declare(p, "norm.weight", SM_INIT_ONES, 0, 0, 1, &wide);
  sm_declare(p, "norm.bias", SM_INIT_ZEROS, 0, 0, 1, &wide);
}

/* ---- an op of its own: in pixels (B, H·W, 3), mask (B, N) U8, colour (1, 3), i0 = W; out the pixels, hidden
 * ones replaced -- */

static bool hidden_at(const uint8_t *mask, int64_t pixel, int64_t width) {
  return mask[pixel / width / CELL * (width / CELL) + pixel % width / CELL];
}

#define KERNELS(real, suffix)                                                                           \
  static void hide_##suffix(const sm_node *n, int64_t first, int64_t last, sm_worker *w) {              \
    const real *x = sm_at(w, n->in[0], first), *colour = sm_at(w, n->in[2], 0);                         \
    const uint8_t *mask = sm_at(w, n->in[1], first);                                                    \
    real *y = sm_at(w, n->out[0], first);                                                               \
    const int64_t pixels = n->in[0]->dim[1], cells = n->in[1]->dim[1];                                  \
    for (int64_t i = 0; i < last - first; i++, mask += cells)                                           \
      for (int64_t k = 0; k < pixels; k++, x += CHANNELS, y += CHANNELS)                                \
        memcpy(y, hidden_at(mask, k, n->i[0]) ? colour : x, CHANNELS * sizeof *y);                      \
  }                                                                                                     \
  /* in dy, mask; out dcolour: one tile, so that the order of the sum is fixed */                       \
  static void hide_dcolour_##suffix(const sm_node *n, int64_t first, int64_t last, sm_worker *w) {      \
    const real *dy = sm_at(w, n->in[0], 0);                                                             \
    const uint8_t *mask = sm_at(w, n->in[1], 0);                                                        \
    real *dcolour = sm_at(w, n->out[0], 0);                                                             \
    const int64_t items = sm_items(n->in[0]), pixels = n->in[0]->dim[1], cells = n->in[1]->dim[1];      \
    double sum[CHANNELS] = {0};                                                                         \
    (void)first, (void)last;                                                                            \
    for (int64_t i = 0; i < items; i++, mask += cells)                                                  \
      for (int64_t k = 0; k < pixels; k++, dy += CHANNELS)                                              \
        for (int c = 0; c < CHANNELS; c++) sum[c] += hidden_at(mask, k, n->i[0]) ? (double)dy[c] : 0;   \
    for (int c = 0; c < CHANNELS; c++) dcolour[c] = (real)(sum[c] + (n->acc ? (double)dcolour[c] : 0)); \
  }
KERNELS(float, f32)
KERNELS(double, f64)

static int64_t one_tile(const sm_node *n) {
  (void)n;
  return 1;
}

static const sm_op hide_dcolour = {.name = "hide_dcolour",
                                   .cls = SM_TILES,
                                   .tiles = one_tile,
                                   .run = {[SM_CPU] = {hide_dcolour_f32, hide_dcolour_f64},
                                           [SM_PLAIN] = {hide_dcolour_f32, hide_dcolour_f64}}};

/* Pictures get no gradient. */
static void hide_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *dcolour = sm_grad_slot(g, n->in[2], &acc);
  if (!dcolour) return;
  sm_node *node =
      sm_emit(g, &hide_dcolour, 2, (sm_tensor *[]){sm_grad_of(g, n->out[0]), n->in[1]}, 1, &dcolour);
  node->acc = acc;
  node->i[0] = n->i[0];
}
static const sm_op hide = {.name = "hide",
                           .cls = SM_PER_ITEM,
                           .cross = 4,
                           .vjp = hide_vjp,
                           .run = {[SM_CPU] = {hide_f32, hide_f64}, [SM_PLAIN] = {hide_f32, hide_f64}}};

static sm_tensor *hide_cells(sm_graph *g, sm_tensor *x, sm_tensor *mask, sm_tensor *colour, int width) {
  if (!mask) return x;
  sm_tensor *y = sm_result(g, x->dtype, x->ndim, x->dim, x->count);
  sm_emit(g, &hide, 3, (sm_tensor *[]){x, mask, colour}, 1, &y)->i[0] = width;
  return y;
}

/* ---- forward ------------------------------------------------------------------------------------------- */

static sm_tensor *window(sm_graph *g, const sm_params *p, const char *name, sm_tensor *x, int height,
                         int width) {
  return sm_conv2d(g, x, sm_param(g, p, "%s.weight", name), sm_param(g, p, "%s.bias", name), height, width);
}

/* The last block's norm is the network's; earlier ones have another width, and their norm has no gain. */
static sm_tensor *normed(sm_graph *g, const sm_params *p, sm_tensor *x, bool last) {
  return sm_layer_norm(g, x, last ? sm_param(g, p, "norm.weight") : NULL,
                       last ? sm_param(g, p, "norm.bias") : NULL, norm_eps);
}

static void give(sm_graph *g, const sm_backbone_in *in, sm_tensor *x, sm_tensor **view, sm_tensor **patches) {
  if (in->view) *view = sm_mean_tokens(g, x, 0);
  if (in->patches) *patches = in->only ? sm_gather(g, x, in->only) : x;
}

static void conv_build(const void *self, sm_graph *g, const sm_params *p, const sm_backbone_in *in,
                       sm_backbone_out *out) {
  const int height = (int)in->pictures->dim[2], width = (int)in->pictures->dim[3];
  sm_tensor *block[BLOCKS], *x = sm_patchify(g, in->pictures, 1); /* pixels, channels last */
  (void)self;
  x = hide_cells(g, x, in->mask, sm_param(g, p, "hidden"), width);
  x = sm_max_pool(g, sm_relu(g, window(g, p, "first", x, height, width)), height, width);
  block[0] = sm_block_border(g, x);
  x = sm_max_pool(g, sm_relu(g, window(g, p, "second", x, height / 2, width / 2)), height / 2, width / 2);
  block[1] = sm_block_border(g, x);
  sm_tensor *branch =
      window(g, p, "third", sm_layer_norm(g, x, NULL, NULL, norm_eps), height / CELL, width / CELL);
  x = sm_residual(g, x, branch, NULL, in->drop, 0);
  block[2] = sm_block_border(g, x);
  sm_tensor *last = normed(g, p, x, true);
  give(g, in, last, &out->view, &out->patches);
  for (int k = 0; k < in->blocks; k++) {
    const int n = in->block[k].block;
    sm_tensor *y = in->block[k].raw ? block[n] : n == BLOCKS - 1 ? last : normed(g, p, block[n], false);
    give(g, in, y, &out->block[k].view, &out->block[k].patches);
  }
}

static const sm_backbone_ops ops = {.spec = conv_spec, .declare = conv_declare, .build = conv_build};
static const sm_plugin plugin = {.kind = SM_BACKBONE,
                                 .name = "conv",
                                 .summary = "Three convolutional blocks, no class token and no attention",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .instance_size = sizeof(conv),
                                 .ops = &ops};
SM_MODULE(&plugin)

/* swin — the Swin transformer (Liu et al. 2021) as iBOT pre-trains it: attention inside windows of a grid of
 * tokens, every other block's windows shifted by half, and between stages four tokens merged to one of twice
 * the width.
 *
 * There is no class token: the view is the mean of the last stage's tokens after the final norm, and a patch
 * is one of these tokens, so a mask cell is patch_size·2^(stages-1) pixels wide (32 for Swin-T). Hidden cells
 * are replaced on the first grid, after the norm of the patch embedding (ibot, models/swin_transformer.py).
 * A grid that windows do not divide is filled up with zeros after the norm, and then rolled; these zeros take
 * part in attention. Parameter names and shapes are those of the official code and of iBOT. */
#include <smalti/plugin.h>

#include <math.h>

enum { TINY, SMALL, BASE, LARGE, CUSTOM };
static const char *const arch_names[] = {"tiny", "small", "base", "large", "custom", NULL};
enum { MOST_STAGES = 6, MOST_DEPTH = SM_SITES_MAX / 2 };
static const struct {
  int dim, stages;
  int64_t depth[MOST_STAGES], heads[MOST_STAGES];
} presets[] = {[TINY] = {96, 4, {2, 2, 6, 2}, {3, 6, 12, 24}},
               [SMALL] = {96, 4, {2, 2, 18, 2}, {3, 6, 12, 24}},
               [BASE] = {128, 4, {2, 2, 18, 2}, {4, 8, 16, 32}},
               [LARGE] = {192, 4, {2, 2, 18, 2}, {6, 12, 24, 48}},
               [CUSTOM] = {0, 0, {0}, {0}}};

typedef struct swin {
  int arch;
  int64_t dim, patch, window, input_size;
  sm_ints depths, heads;
  double mlp_ratio, drop_path, norm_eps;
} swin;

static const sm_option options[] = {
    SM_CHOICE(
        swin, arch, "arch", "tiny", arch_names,
        "Width, blocks and heads of the stages: 96/2,2,6,2/3,6,12,24 for tiny; 96, 128 and 192 with 18 blocks in stage 3; or your own"),
    SM_INT(swin, dim, "dim", "0", 0, 2048, NULL,
           "Width of a token of the first stage, doubled from stage to stage; 0: as arch says"),
    SM_INTS(swin, depths, "depths", "~", 1, MOST_DEPTH, "blocks",
            "Number of blocks of each stage, for 1 to 6 stages; left out: as arch says"),
    SM_INTS(swin, heads, "heads", "~", 1, 256, NULL,
            "Attention heads of each stage, divisors of its width; left out: as arch says"),
    SM_INT(swin, patch, "patch_size", "4", 1, 64, "px", "Side of a patch of the first stage"),
    SM_INT(
        swin, window, "window", "7", 1, 64, "tokens",
        "Side of the windows that attention stays in; a stage whose grid is no larger has one window of all tokens"),
    SM_INT(
        swin, input_size, "input_size", "0", 0, 4096, "px",
        "Side of the pictures whose grids decide where windows shrink (img_size of other programs); 0: of global views"),
    SM_FLOAT(swin, mlp_ratio, "mlp_ratio", "4", 0.01, 64, NULL,
             "Width of a block's hidden layer over the token's"),
    SM_FLOAT(swin, drop_path, "drop_path", "0", 0, 0.99, NULL,
             "Stochastic depth of the last block (student only); it grows linearly from 0 at the first"),
    SM_FLOAT(swin, norm_eps, "norm_eps", "1e-6", 1e-12, 1e-2, NULL,
             "What norms add to the variance: 1e-6 in iBOT, 1e-5 in the official Swin and timm"),
};

/* ---- sizes --------------------------------------------------------------------------------------------- */

static int swin_stages(const swin *s) { return s->depths.n ? s->depths.n : presets[s->arch].stages; }
static int swin_depth(const swin *s, int stage) {
  return (int)(s->depths.n ? s->depths.v[stage] : presets[s->arch].depth[stage]);
}
static int swin_heads(const swin *s, int stage) {
  return (int)(s->heads.n ? s->heads.v[stage] : presets[s->arch].heads[stage]);
}
static int swin_width(const swin *s, int stage) {
  return (int)(s->dim ? s->dim : presets[s->arch].dim) << stage;
}
static int64_t swin_hidden(const swin *s, int stage) {
  const int64_t hidden = llround(swin_width(s, stage) * s->mlp_ratio);
  return hidden > 0 ? hidden : 1;
}
static int swin_blocks(const swin *s) {
  int blocks = 0;
  for (int stage = 0; stage < swin_stages(s); stage++) blocks += swin_depth(s, stage);
  return blocks;
}
static int swin_cell(const swin *s) { return (int)s->patch << (swin_stages(s) - 1); }

/* Tokens along an axis of so many patches, at a stage: merging rounds up. */
static int swin_side(int patches, int stage) {
  for (; stage > 0; stage--) patches = (patches + 1) / 2;
  return patches;
}

/* A stage's window is decided once, for the pictures that the network was made for: where their grid is no
 * larger than the window, it becomes the grid and does not shift. */
static sm_window swin_window(const swin *s, int rows, int cols, int stage, int block) {
  const int y = swin_side(rows, stage), x = swin_side(cols, stage), side = y < x ? y : x,
            window = (int)s->window;
  if (side <= window) return (sm_window){.rows = side, .cols = side};
  return (sm_window){.rows = window, .cols = window, .shift = block % 2 ? window / 2 : 0};
}

static sm_status swin_check_stages(const swin *s, sm_error *err) {
  const int stages = swin_stages(s), heads = s->heads.n ? s->heads.n : presets[s->arch].stages;
  if (!swin_width(s, 0) || !stages || !heads) {
    sm_fail(err, SM_EINVAL, "arch 'custom' needs dim, depths and heads");
    return sm_hint(err, "for instance {arch: custom, dim: 48, depths: [2, 2], heads: [2, 4]}");
  }
  if (stages > MOST_STAGES || heads != stages) {
    sm_fail(err, SM_EINVAL, "depths are of %d stages, heads of %d", stages, heads);
    return sm_hint(err, "give one number of blocks and one of heads for each of 1 to %d stages", MOST_STAGES);
  }
  return SM_OK;
}

static sm_status swin_create(void *self, sm_error *err) {
  const swin *s = self;
  sm_status status = swin_check_stages(s, err);
  if (status) return status;
  if (swin_blocks(s) > MOST_DEPTH) {
    sm_fail(err, SM_EINVAL, "%d blocks are too many", swin_blocks(s));
    return sm_hint(err, "depths may add up to %d", MOST_DEPTH);
  }
  for (int stage = 0; stage < swin_stages(s); stage++)
    if (swin_width(s, stage) % swin_heads(s, stage) != 0) {
      sm_fail(err, SM_EINVAL, "stage %d: a width of %d cannot be divided among %d heads", stage + 1,
              swin_width(s, stage), swin_heads(s, stage));
      return sm_hint(err, "the width doubles from stage to stage; each number in heads must divide its own");
    }
  if (s->input_size % s->patch != 0) {
    sm_fail(err, SM_EINVAL, "an input_size of %d pixels cannot be cut into patches of %d", (int)s->input_size,
            (int)s->patch);
    return sm_hint(err, "it is the side of whole pictures: a multiple of patch_size");
  }
  return SM_OK;
}

static void swin_spec_blocks(const swin *s, int rows, int cols, sm_backbone_spec *out) {
  const int blocks = swin_blocks(s), skipped = blocks - out->blocks;
  for (int stage = 0, k = 0; stage < swin_stages(s); stage++)
    for (int i = 0; i < swin_depth(s, stage); i++, k++) {
      if (k >= skipped)
        out->block[k - skipped] =
            (sm_block_spec){swin_width(s, stage), swin_side(rows, stage), swin_side(cols, stage)};
      for (int branch = 0; branch < 2; branch++) {
        out->drop_layer[2 * k + branch] = 1 + k;
        if (s->drop_path > 0 && blocks > 1) out->drop_rate[2 * k + branch] = s->drop_path * k / (blocks - 1);
      }
    }
}

static sm_status swin_spec(const void *self, int height, int width, sm_backbone_spec *out, sm_error *err) {
  const swin *s = self;
  const int last = swin_stages(s) - 1;
  sm_status status = swin_create((void *)s, err);
  if (status) return status;
  const int cell = swin_cell(s);
  if (height < cell || width < cell || height % cell || width % cell) {
    sm_fail(err, SM_EINVAL, "views of %d x %d pixels cannot be cut into cells of %d", height, width, cell);
    return sm_hint(
        err, "a cell of the last stage is patch_size doubled %d times: choose a view size that is a multiple",
        last);
  }
  out->dim = swin_width(s, last);
  out->rows = height / cell, out->cols = width / cell, out->cell = cell;
  out->layers = swin_blocks(s);
  out->blocks = out->layers < SM_BLOCKS_MAX ? out->layers : SM_BLOCKS_MAX;
  out->drop_columns = 2 * out->layers;
  if (s->drop_path > 0) out->drop_sites = out->drop_columns;
  swin_spec_blocks(s, height / (int)s->patch, width / (int)s->patch, out);
  return SM_OK;
}

/* ---- parameters ---------------------------------------------------------------------------------------- */

/* timm merges at the beginning of a stage: what is stage S's here is S + 1's there. */
static void swin_declare_merge(const swin *s, const sm_params *p, int stage) {
  static const char *const names[] = {"norm.weight", "norm.bias", "reduction.weight"};
  const int64_t d = swin_width(s, stage);
  char base[80], timm[80];
  snprintf(base, sizeof base, "layers.%d.downsample.norm", stage);
  sm_declare_norm(p, base, SM_INIT_ONES, 4 * d);
  snprintf(base, sizeof base, "layers.%d.downsample.reduction", stage);
  sm_declare_linear(p, base, SM_INIT_TRUNC_NORMAL, .02, 2 * d, 4 * d, false);
  for (int i = 0; i < 3; i++) {
    snprintf(base, sizeof base, "layers.%d.downsample.%s", stage, names[i]);
    snprintf(timm, sizeof timm, "layers.%d.downsample.%s", stage + 1, names[i]);
    sm_declare_timm_name(p, base, timm);
  }
}

#define IN_BLOCK(name) (snprintf(base, sizeof base, "layers.%d.blocks.%d.%s", stage, block, name), base)
#define IN_STAGE(name) (snprintf(base, sizeof base, "layers.%d.%s", stage, name), base)

static void swin_declare_block(const swin *s, const sm_params *p, int rows, int cols, int stage, int block) {
  const int64_t d = swin_width(s, stage), side = 2 * swin_window(s, rows, cols, stage, block).rows - 1;
  char base[80];
  sm_declare_norm(p, IN_BLOCK("norm1"), SM_INIT_ONES, d);
  sm_declare(p, IN_BLOCK("attn.relative_position_bias_table"), SM_INIT_TRUNC_NORMAL, .02, SM_ROW_EMBEDDING, 2,
             (int64_t[]){side * side, swin_heads(s, stage)});
  sm_declare_made_for(p, base, rows, cols);
  sm_declare_linear(p, IN_BLOCK("attn.qkv"), SM_INIT_TRUNC_NORMAL, .02, 3 * d, d, true);
  sm_declare_linear(p, IN_BLOCK("attn.proj"), SM_INIT_TRUNC_NORMAL, .02, d, d, true);
  sm_declare_norm(p, IN_BLOCK("norm2"), SM_INIT_ONES, d);
  sm_declare_linear(p, IN_BLOCK("mlp.fc1"), SM_INIT_TRUNC_NORMAL, .02, swin_hidden(s, stage), d, true);
  sm_declare_linear(p, IN_BLOCK("mlp.fc2"), SM_INIT_TRUNC_NORMAL, .02, d, swin_hidden(s, stage), true);
}

static void swin_declare(const void *self, int height, int width, const sm_params *p) {
  const swin *s = self;
  const int64_t d = swin_width(s, 0), patch = s->patch;
  const int rows = (int)((s->input_size ? s->input_size : height) / patch),
            cols = (int)((s->input_size ? s->input_size : width) / patch);
  const double fan_in = 3.0 * (double)(patch * patch);
  int layer = 0;
  sm_declare_layer(p, layer);
  sm_declare(p, "masked_embed", SM_INIT_ZEROS, 0, SM_ROW_NO_EXPORT, 2, (int64_t[]){1, d});
  sm_declare(p, "patch_embed.proj.weight", SM_INIT_UNIFORM_FAN, fan_in, 0, 4,
             (int64_t[]){d, 3, patch, patch});
  sm_declare(p, "patch_embed.proj.bias", SM_INIT_UNIFORM_FAN, fan_in, 0, 1, &d);
  sm_declare_norm(p, "patch_embed.norm", SM_INIT_ONES, d);
  for (int stage = 0; stage < swin_stages(s); stage++) {
    for (int block = 0; block < swin_depth(s, stage); block++) {
      sm_declare_layer(p, ++layer);
      swin_declare_block(s, p, rows, cols, stage, block);
    }
    if (stage < swin_stages(s) - 1) swin_declare_merge(s, p, stage);
  }
  sm_declare_layer(p, layer + 1);
  sm_declare_norm(p, "norm", SM_INIT_ONES, swin_width(s, swin_stages(s) - 1));
}

/* ---- forward ------------------------------------------------------------------------------------------- */

typedef struct swin_pass {
  const swin *s;
  sm_graph *g;
  const sm_params *p;
  sm_tensor *drop;
  int made_rows, made_cols; /* patches of the pictures that windows are laid out for */
  int rows, cols;           /* of these pictures, at the stage                       */
} swin_pass;

static sm_tensor *swin_linear(const swin_pass *a, sm_tensor *x, const char *base, bool bias) {
  return sm_linear(a->g, x, sm_param(a->g, a->p, "%s.weight", base),
                   bias ? sm_param(a->g, a->p, "%s.bias", base) : NULL);
}

static sm_tensor *swin_norm(const swin_pass *a, sm_tensor *x, const char *base) {
  return sm_layer_norm(a->g, x, sm_param(a->g, a->p, "%s.weight", base),
                       sm_param(a->g, a->p, "%s.bias", base), a->s->norm_eps);
}

/* Patches with hidden cells replaced: (B, rows·cols, C) of the first grid. */
static sm_tensor *swin_embed(const swin_pass *a, const sm_backbone_in *in) {
  const int cell = swin_cell(a->s) / (int)a->s->patch;
  sm_tensor *x = sm_patchify(a->g, in->pictures, (int)a->s->patch);
  x = swin_norm(a, swin_linear(a, x, "patch_embed.proj", true), "patch_embed.norm");
  if (!in->mask) return x;
  return sm_tokens(a->g, x, NULL, NULL, sm_param(a->g, a->p, "masked_embed"),
                   sm_repeat_cells(a->g, in->mask, a->rows, a->cols, cell));
}

static sm_tensor *swin_block(const swin_pass *a, sm_tensor *x, int stage, int block, int index) {
  char base[80];
  const sm_window w = swin_window(a->s, a->made_rows, a->made_cols, stage, block);
  sm_tensor *table = sm_param(a->g, a->p, "%s", IN_BLOCK("attn.relative_position_bias_table"));
  sm_tensor *bias = sm_relative_bias(a->g, table, &w);
  sm_tensor *y = sm_windows(a->g, swin_norm(a, x, IN_BLOCK("norm1")), a->rows, a->cols, &w);
  y = sm_attention_biased(a->g, swin_linear(a, y, IN_BLOCK("attn.qkv"), true), bias,
                          (a->cols + w.cols - 1) / w.cols);
  y = swin_linear(a, sm_unwindows(a->g, y, a->rows, a->cols, &w), IN_BLOCK("attn.proj"), true);
  x = sm_residual(a->g, x, y, NULL, a->drop, 2 * index);
  y = swin_norm(a, x, IN_BLOCK("norm2"));
  y = sm_gelu(a->g, swin_linear(a, y, IN_BLOCK("mlp.fc1"), true));
  y = swin_linear(a, y, IN_BLOCK("mlp.fc2"), true);
  return sm_residual(a->g, x, y, NULL, a->drop, 2 * index + 1);
}

/* Four tokens to one of twice the width, and the grid with them. */
static sm_tensor *swin_merge(swin_pass *a, sm_tensor *x, int stage) {
  char base[80];
  x = sm_merge_tokens(a->g, x, a->rows, a->cols);
  a->rows = swin_side(a->rows, 1), a->cols = swin_side(a->cols, 1);
  x = swin_norm(a, x, IN_STAGE("downsample.norm"));
  return swin_linear(a, x, IN_STAGE("downsample.reduction"), false);
}

/* What is wanted of tokens (B, N, D). `only` lists cells of the last grid: it means them there alone. */
static sm_block_out swin_answer(const swin_pass *a, const sm_backbone_in *in, sm_tensor *x, bool last) {
  return (sm_block_out){.view = in->view ? sm_mean_tokens(a->g, x, 0) : NULL,
                        .patches = !in->patches       ? NULL
                                   : in->only && last ? sm_gather(a->g, x, in->only)
                                                      : x};
}

/* The grid that windows are laid out for stands beside the tables, which were declared for it. */
static void swin_made_for(swin_pass *a) {
  a->made_rows = a->rows, a->made_cols = a->cols;
  sm_param_grid(a->p, "layers.0.blocks.0.attn.relative_position_bias_table", &a->made_rows, &a->made_cols);
}

static void swin_build(const void *self, sm_graph *g, const sm_params *p, const sm_backbone_in *in,
                       sm_backbone_out *out) {
  const swin *s = self;
  swin_pass a = {.s = s,
                 .g = g,
                 .p = p,
                 .drop = in->drop,
                 .rows = (int)(in->pictures->dim[2] / s->patch),
                 .cols = (int)(in->pictures->dim[3] / s->patch)};
  const int blocks = swin_blocks(s), offered = blocks < SM_BLOCKS_MAX ? blocks : SM_BLOCKS_MAX;
  int index = 0, wish = 0;
  swin_made_for(&a);
  sm_tensor *x = sm_block_border(g, swin_embed(&a, in));
  for (int stage = 0; stage < swin_stages(s); stage++) {
    const bool last_stage = stage == swin_stages(s) - 1;
    for (int block = 0; block < swin_depth(s, stage); block++, index++) {
      sm_scope_push(g, "layers.%d.blocks.%d", stage, block);
      x = sm_block_border(g, swin_block(&a, x, stage, block, index));
      sm_scope_pop(g);
      for (; wish < in->blocks && in->block[wish].block == index - (blocks - offered); wish++)
        out->block[wish] = swin_answer(
            &a, in, last_stage && !in->block[wish].raw ? swin_norm(&a, x, "norm") : x, last_stage);
    }
    if (!last_stage) x = sm_block_border(g, swin_merge(&a, x, stage));
  }
  if (!in->view && !in->patches) return;
  const sm_block_out end = swin_answer(&a, in, swin_norm(&a, x, "norm"), true);
  out->view = end.view, out->patches = end.patches;
}

/* ---- elsewhere ----------------------------------------------------------------------------------------- */

static void swin_add_list(sm_text *text, const char *name, const swin *s, int (*of)(const swin *, int)) {
  sm_text_add(text, ", %s=(", name);
  for (int stage = 0; stage < swin_stages(s); stage++)
    sm_text_add(text, "%s%d", stage ? ", " : "", of(s, stage));
  sm_text_add(text, swin_stages(s) == 1 ? ",)" : ")");
}

/* What differs from timm's defaults is said beside the sizes. Its norms add 1e-5. */
static void swin_elsewhere(const void *self, int height, int width, sm_text *text) {
  const swin *s = self;
  char number[32];
  if (s->input_size) height = width = (int)s->input_size;
  sm_text_add(text, "timm: SwinTransformer(img_size=");
  if (height == width) sm_text_add(text, "%d", height);
  else sm_text_add(text, "(%d, %d)", height, width);
  sm_text_add(text, ", patch_size=%d, embed_dim=%d", (int)s->patch, swin_width(s, 0));
  swin_add_list(text, "depths", s, swin_depth);
  swin_add_list(text, "num_heads", s, swin_heads);
  sm_text_add(text, ", window_size=%d", (int)s->window);
  if (s->mlp_ratio != 4)
    sm_text_add(text, ", mlp_ratio=%s", sm_double_text(s->mlp_ratio, number, sizeof number));
  if (s->norm_eps != 1e-5)
    sm_text_add(text, ", norm_layer=partial(nn.LayerNorm, eps=%s)",
                sm_double_text(s->norm_eps, number, sizeof number));
  sm_text_add(text, ", num_classes=0)");
}

static const sm_backbone_ops ops = {
    .spec = swin_spec, .declare = swin_declare, .build = swin_build, .elsewhere = swin_elsewhere};
static const sm_plugin plugin = {.kind = SM_BACKBONE,
                                 .name = "swin",
                                 .summary = "Swin transformer: attention in shifted windows, four stages",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .cite = "Liu et al., Swin Transformer, ICCV 2021",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .instance_size = sizeof(swin),
                                 .create = swin_create,
                                 .ops = &ops};
SM_MODULE(&plugin)

/* vit — the vision transformer (Dosovitskiy et al. 2021) in the forms that published weights have: as DeiT,
 * DINO and iBOT use it; by its options with register tokens, SwiGLU and LayerScale (DINOv2), fixed positions
 * and the mean of patches (MAE), relative positions (BEiT), a distillation token (DeiT), or without a class
 * token.
 *
 * Pre-norm blocks, learned position embedding (resized for other view sizes), mask token put in after the
 * patch embedding and before the position embedding (ibot, models/vision_transformer.py: mask_model). Or
 * hidden patches are dropped after the position embedding (mae, models_mae.py: random_masking): then only
 * visible ones are computed. Parameter names and shapes are timm's, so weights go both ways; those that timm
 * lacks are of the code that has them: iBOT's mask token, DINOv2's registers and its w12 and w3, BEiT's tables.
 * A bias of keys adds the same to all logits of a query, which softmax does not see: BEiT's network without
 * one is this one. */
#include "vit.h"

#include <math.h>

static const char *const arch_names[] = {"tiny", "small", "base", "large", "giant", "custom", NULL};
static const struct {
  int dim, depth, heads;
} presets[] = {[VIT_TINY] = {192, 12, 3},    [VIT_SMALL] = {384, 12, 6},   [VIT_BASE] = {768, 12, 12},
               [VIT_LARGE] = {1024, 24, 16}, [VIT_GIANT] = {1536, 40, 24}, [VIT_CUSTOM] = {0, 0, 0}};
static const char *const position_names[] = {"learned", "sincos", "none", NULL};
static const char *const resize_names[] = {
    [SM_RESIZE_DINO] = "dino", [SM_RESIZE_EXACT] = "exact", [SM_RESIZE_ANTIALIAS] = "antialias", NULL};
static const char *const relative_names[] = {"none", "shared", "block", NULL};
static const char *const mlp_names[] = {"gelu", "swiglu", NULL};
static const char *const view_names[] = {"auto", "class", "mean", NULL};
static const char *const hidden_names[] = {"token", "drop", NULL};
static const char *const init_names[] = {"trunc_normal", "xavier", NULL};
enum { TRUNC_NORMAL, XAVIER };
enum { MOST_DEPTH = SM_SITES_MAX / 2 };

static const sm_option options[] = {
    SM_CHOICE(vit, arch, "arch", "small", arch_names,
              "Width, depth and heads: 192/12/3, 384/12/6, 768/12/12, 1024/24/16, 1536/40/24, or your own"),
    SM_INT(vit, dim, "dim", "0", 0, 16384, NULL, "Width of a token; 0: as arch says"),
    SM_INT(vit, depth, "depth", "0", 0, MOST_DEPTH, "blocks", "Number of blocks; 0: as arch says"),
    SM_INT(vit, heads, "heads", "0", 0, 256, NULL,
           "Attention heads, a divisor of the width; 0: as arch says"),
    SM_INT(vit, patch, "patch_size", "16", 1, 256, "px", "Side of a patch"),
    SM_FLOAT(vit, mlp_ratio, "mlp_ratio", "4", 0.01, 64, NULL,
             "Width of a block's hidden layer over the token's"),
    SM_FLOAT(vit, drop_path, "drop_path", "0", 0, 0.99, NULL,
             "Stochastic depth of the last block (student only); it grows linearly from 0 at the first"),
    SM_BOOL(vit, drop_path_uniform, "drop_path_uniform", "false",
            "The same stochastic depth in all blocks, as DINOv2 has it"),
    SM_FLOAT(vit, layer_scale, "layer_scale", "0", 0, 10, NULL,
             "Initial value of each branch's learned gain; 0: no such gain"),
    SM_BOOL(vit, qkv_bias, "qkv_bias", "true", "Biases of the query, key and value projection"),
    SM_BOOL(vit, class_token, "class_token", "true",
            "A token of no patch, [CLS], that the view is read from"),
    SM_BOOL(vit, distillation_token, "distillation_token", "false", "DeiT's second such token, behind [CLS]"),
    SM_INT(vit, registers, "registers", "0", 0, 64, "tokens",
           "Register tokens between these and the patches, without positions (DINOv2)"),
    SM_CHOICE(vit, positions, "positions", "learned", position_names,
              "A learned table, MAE's fixed sines and cosines, or none"),
    SM_CHOICE(
        vit, resize, "position_resize", "dino", resize_names,
        "How positions fit other grids: as DINO does; exactly (MAE); that antialiased (DINOv2's registers)"),
    SM_CHOICE(vit, relative, "relative_positions", "none", relative_names,
              "Attention knows how far apart patches are, by one learned table or one in each block (BEiT)"),
    SM_CHOICE(vit, mlp, "mlp", "gelu", mlp_names, "A block's second half: GELU, or SwiGLU of 2/3 the width"),
    SM_BOOL(vit, qk_norm, "qk_norm", "false", "Layer norm of each head's queries and keys"),
    SM_CHOICE(
        vit, view, "view", "auto", view_names,
        "What stands for the picture: [CLS] or the mean of its patches; auto: [CLS] where there is one"),
    SM_BOOL(vit, fc_norm, "fc_norm", "false",
            "The last norm is over the view only, patches stay as they are (fine-tuned MAE and BEiT)"),
    SM_FLOAT(vit, norm_eps, "norm_eps", "1e-6", 1e-12, 1e-2, NULL, "What norms add to the variance"),
    SM_CHOICE(vit, hidden, "hidden", "token", hidden_names,
              "Hidden patches are replaced by a learned token, or dropped and not computed (MAE)"),
    SM_CHOICE(vit, init, "init", "trunc_normal", init_names,
              "Initial weights: deviation 0.02 (DeiT), or uniform by both sides' widths (Xavier, as MAE)"),
};

int vit_width(const vit *v) { return (int)(v->dim ? v->dim : presets[v->arch].dim); }
int vit_depth(const vit *v) { return (int)(v->depth ? v->depth : presets[v->arch].depth); }
int vit_heads(const vit *v) { return (int)(v->heads ? v->heads : presets[v->arch].heads); }

/* DINOv2's SwiGLUFFNFused: two thirds, cut to a whole number, up to a multiple of 8. */
int64_t vit_hidden(const vit *v) {
  const int64_t hidden = llround(vit_width(v) * v->mlp_ratio);
  if (v->mlp == VIT_SWIGLU) return hidden * 2 / 3 < 8 ? 8 : (hidden * 2 / 3 + 7) / 8 * 8;
  return hidden > 0 ? hidden : 1;
}

static sm_status vit_check_tokens(const vit *v, sm_error *err) {
  if (v->class_token) return SM_OK;
  if (v->view == VIT_CLASS) {
    sm_fail(err, SM_EINVAL, "view 'class' is the class token, which class_token: false leaves out");
    return sm_hint(err, "set view: mean, or leave it out");
  }
  if (!v->distillation_token) return SM_OK;
  sm_fail(err, SM_EINVAL,
          "a distillation token stands behind the class token, which class_token: false leaves out");
  return sm_hint(err, "leave class_token or distillation_token out");
}

/* BEiT's tables know of patches and one token before them. */
static sm_status vit_check_relative(const vit *v, sm_error *err) {
  const char *what = v->distillation_token   ? "a distillation token"
                     : v->registers          ? "register tokens"
                     : v->hidden == VIT_DROP ? "dropped patches"
                                             : NULL;
  if (v->relative == VIT_APART || !what) return SM_OK;
  sm_fail(err, SM_EINVAL, "relative_positions are not there for %s", what);
  return sm_hint(err, "leave one of the two out");
}

static sm_status vit_create(void *self, sm_error *err) {
  const vit *v = self;
  if (!vit_width(v) || !vit_depth(v) || !vit_heads(v)) {
    sm_fail(err, SM_EINVAL, "arch 'custom' needs dim, depth and heads");
    return sm_hint(err, "for instance {arch: custom, dim: 192, depth: 12, heads: 3}");
  }
  if (vit_width(v) % vit_heads(v) != 0) {
    sm_fail(err, SM_EINVAL, "a width of %d cannot be divided among %d heads", vit_width(v), vit_heads(v));
    return sm_hint(err, "heads must divide dim");
  }
  if (v->positions == VIT_SINCOS && vit_width(v) % 4 != 0) {
    sm_fail(err, SM_EINVAL, "positions 'sincos' need a width that is a multiple of 4, not %d", vit_width(v));
    return sm_hint(err, "choose another dim");
  }
  sm_status status = vit_check_tokens(v, err);
  return status ? status : vit_check_relative(v, err);
}

static sm_status vit_spec(const void *self, int height, int width_, sm_backbone_spec *out, sm_error *err) {
  const vit *v = self;
  const int patch = (int)v->patch;
  sm_status status = vit_create((void *)v, err);
  if (status) return status;
  if (height < patch || width_ < patch || height % patch || width_ % patch) {
    if (height == width_)
      sm_fail(err, SM_EINVAL, "views of %d pixels cannot be cut into patches of %d", height, patch);
    else
      sm_fail(err, SM_EINVAL, "views of %d x %d pixels cannot be cut into patches of %d", height, width_,
              patch);
    return sm_hint(err, "choose a view size that is a multiple of patch_size");
  }
  if (v->relative != VIT_APART && (height / patch > 64 || width_ / patch > 64)) {
    sm_fail(err, SM_EINVAL,
            "views of %d x %d patches are too large for relative_positions: 64 a side at most",
            height / patch, width_ / patch);
    return sm_hint(err, "raise patch_size");
  }
  out->dim = vit_width(v);
  out->rows = height / patch, out->cols = width_ / patch, out->cell = patch;
  /* the attention of [CLS] is what is looked at, and without relative positions */
  out->heads = v->class_token && v->relative == VIT_APART ? vit_heads(v) : 0;
  out->prefix = vit_prefix(v);
  out->drops = v->hidden == VIT_DROP;
  out->one_grid = v->relative != VIT_APART;
  out->blocks = vit_depth(v) < SM_BLOCKS_MAX ? vit_depth(v) : SM_BLOCKS_MAX;
  out->layers = vit_depth(v);
  out->drop_columns = 2 * vit_depth(v);
  if (v->drop_path > 0) out->drop_sites = out->drop_columns;
  for (int site = 0; site < out->drop_columns; site++) {
    out->drop_layer[site] = 1 + site / 2;
    if (v->drop_path_uniform) out->drop_rate[site] = v->drop_path;
    else if (v->drop_path > 0 && vit_depth(v) > 1)
      out->drop_rate[site] = v->drop_path * (site / 2) / (vit_depth(v) - 1);
  }
  return SM_OK;
}

/* ---- parameters -------------------------------------------------------------------------------------- */

/* U(-1/√a, 1/√a) with this a is Glorot's uniform. */
static double vit_glorot(int64_t out, int64_t in) { return (double)(in + out) / 6; }

static void vit_declare_linear(const vit *v, const sm_params *p, const char *base, int64_t out, int64_t in,
                               bool bias) {
  if (v->init == XAVIER) sm_declare_linear(p, base, SM_INIT_UNIFORM_FAN, vit_glorot(out, in), out, in, bias);
  else sm_declare_linear(p, base, SM_INIT_TRUNC_NORMAL, .02, out, in, bias);
}

/* A row for each way to lie apart, and three for [CLS]. */
static void vit_declare_table(const vit *v, const sm_params *p, const char *name, int rows, int cols) {
  const int64_t dim[2] = {(int64_t)(2 * rows - 1) * (2 * cols - 1) + 3 * v->class_token, vit_heads(v)};
  sm_declare(p, name, SM_INIT_TRUNC_NORMAL, .02, SM_ROW_EMBEDDING, 2, dim);
}

static void vit_declare_block(const vit *v, const sm_params *p, int block, int rows, int cols) {
  const int64_t d = vit_width(v), head = d / vit_heads(v), hidden = vit_hidden(v);
  char base[64];
#define IN_BLOCK(name) (snprintf(base, sizeof base, "blocks.%d.%s", block, name), base)
  sm_declare_norm(p, IN_BLOCK("norm1"), SM_INIT_ONES, d);
  vit_declare_linear(v, p, IN_BLOCK("attn.qkv"), 3 * d, d, v->qkv_bias);
  if (v->relative == VIT_BLOCK)
    vit_declare_table(v, p, IN_BLOCK("attn.relative_position_bias_table"), rows, cols);
  if (v->qk_norm) sm_declare_norm(p, IN_BLOCK("attn.q_norm"), SM_INIT_ONES, head);
  if (v->qk_norm) sm_declare_norm(p, IN_BLOCK("attn.k_norm"), SM_INIT_ONES, head);
  vit_declare_linear(v, p, IN_BLOCK("attn.proj"), d, d, true);
  if (v->layer_scale > 0) sm_declare(p, IN_BLOCK("ls1.gamma"), SM_INIT_CONSTANT, v->layer_scale, 0, 1, &d);
  sm_declare_norm(p, IN_BLOCK("norm2"), SM_INIT_ONES, d);
  if (v->mlp == VIT_SWIGLU) {
    vit_declare_linear(v, p, IN_BLOCK("mlp.w12"), 2 * hidden, d, true);
    vit_declare_linear(v, p, IN_BLOCK("mlp.w3"), d, hidden, true);
  } else {
    vit_declare_linear(v, p, IN_BLOCK("mlp.fc1"), hidden, d, true);
    vit_declare_linear(v, p, IN_BLOCK("mlp.fc2"), d, hidden, true);
  }
  if (v->layer_scale > 0) sm_declare(p, IN_BLOCK("ls2.gamma"), SM_INIT_CONSTANT, v->layer_scale, 0, 1, &d);
#undef IN_BLOCK
}

/* Tokens that are no patches, and the positions; the order of today's rows stays. */
static void vit_declare_tokens(const vit *v, const sm_params *p, int rows, int cols) {
  const int64_t d = vit_width(v), one[3] = {1, 1, d};
  if (v->class_token) sm_declare(p, "cls_token", SM_INIT_TRUNC_NORMAL, .02, SM_ROW_EMBEDDING, 3, one);
  if (v->distillation_token) sm_declare(p, "dist_token", SM_INIT_TRUNC_NORMAL, .02, SM_ROW_EMBEDDING, 3, one);
  if (v->registers)
    sm_declare(p, "register_tokens", SM_INIT_NORMAL, 1e-6, SM_ROW_EMBEDDING, 3,
               (int64_t[]){1, v->registers, d});
  if (v->positions == VIT_LEARNED)
    sm_declare_grid(p, "pos_embed", SM_INIT_TRUNC_NORMAL, .02, SM_ROW_EMBEDDING, vit_placed(v), rows, cols,
                    d);
  else if (v->positions == VIT_SINCOS)
    sm_declare_grid(p, "pos_embed", SM_INIT_SINCOS, 0, SM_ROW_EMBEDDING | SM_ROW_FROZEN, vit_placed(v), rows,
                    cols, d);
  if (v->positions != VIT_NONE) sm_declare_resize(p, "pos_embed", (sm_resize_rule)v->resize);
  if (v->hidden == VIT_TOKEN) /* timm knows no such name */
    sm_declare(p, "masked_embed", SM_INIT_ZEROS, 0, SM_ROW_NO_EXPORT, 2, (int64_t[]){1, d});
}

static void vit_declare(const void *self, int height, int width_, const sm_params *p) {
  const vit *v = self;
  const int64_t d = vit_width(v), fan_in = 3 * v->patch * v->patch, filter[4] = {d, 3, v->patch, v->patch};
  const int rows = height / (int)v->patch, cols = width_ / (int)v->patch;
  sm_declare_layer(p, 0);
  vit_declare_tokens(v, p, rows, cols);
  sm_declare(p, "patch_embed.proj.weight", SM_INIT_UNIFORM_FAN,
             v->init == XAVIER ? vit_glorot(d, fan_in) : (double)fan_in, SM_ROW_PIXELS, 4, filter);
  sm_declare(p, "patch_embed.proj.bias", SM_INIT_UNIFORM_FAN, (double)fan_in, SM_ROW_PIXELS, 1, &d);
  for (int block = 0; block < vit_depth(v); block++) {
    sm_declare_layer(p, 1 + block);
    vit_declare_block(v, p, block, rows, cols);
  }
  sm_declare_layer(p, 1 + vit_depth(v));
  if (v->relative == VIT_SHARED) /* that layer: BEiT's optim_factory.py, get_num_layer_for_vit */
    vit_declare_table(v, p, "rel_pos_bias.relative_position_bias_table", rows, cols);
  sm_declare_norm(p, v->fc_norm ? "fc_norm" : "norm", SM_INIT_ONES, d);
}

static void vit_elsewhere_sizes(const vit *v, int height, int width_, sm_text *text) {
  char number[32];
  if (height == width_) sm_text_add(text, "%d", height);
  else sm_text_add(text, "(%d, %d)", height, width_);
  sm_text_add(text, ", patch_size=%d, embed_dim=%d, depth=%d, num_heads=%d", (int)v->patch, vit_width(v),
              vit_depth(v), vit_heads(v));
  if (v->mlp == VIT_SWIGLU) /* timm counts both halves, and cuts off what is behind the point */
    sm_text_add(text, ", mlp_ratio=%.9g", ((double)(2 * vit_hidden(v)) + .25) / vit_width(v));
  else if (v->mlp_ratio != 4)
    sm_text_add(text, ", mlp_ratio=%s", sm_double_text(v->mlp_ratio, number, sizeof number));
  if (!v->qkv_bias) sm_text_add(text, ", qkv_bias=False");
  if (v->layer_scale > 0)
    sm_text_add(text, ", init_values=%s", sm_double_text(v->layer_scale, number, sizeof number));
}

static void vit_elsewhere_beit(const vit *v, int height, int width_, sm_text *text) {
  if (!v->class_token || v->qk_norm || v->mlp == VIT_SWIGLU) return; /* no class of timm has these */
  sm_text_add(text, "timm: Beit(img_size=");
  vit_elsewhere_sizes(v, height, width_, text);
  if (v->positions == VIT_NONE) sm_text_add(text, ", use_abs_pos_emb=False");
  sm_text_add(text, v->relative == VIT_SHARED ? ", use_shared_rel_pos_bias=True" : ", use_rel_pos_bias=True");
  if (!vit_mean(v)) sm_text_add(text, ", global_pool='token'");
  if (v->fc_norm != vit_mean(v)) sm_text_add(text, ", use_fc_norm=%s", v->fc_norm ? "True" : "False");
  sm_text_add(text, ", num_classes=0)");
}

/* What differs from timm's defaults is said beside the sizes. */
static void vit_elsewhere(const void *self, int height, int width_, sm_text *text) {
  const vit *v = self;
  if (v->relative != VIT_APART) {
    vit_elsewhere_beit(v, height, width_, text);
    return;
  }
  sm_text_add(text, v->distillation_token ? "timm: VisionTransformerDistilled(img_size="
                                          : "timm: VisionTransformer(img_size=");
  vit_elsewhere_sizes(v, height, width_, text);
  if (!v->class_token) sm_text_add(text, ", class_token=False");
  if (vit_mean(v)) sm_text_add(text, ", global_pool='avg'");
  if (v->fc_norm != vit_mean(v)) sm_text_add(text, ", fc_norm=%s", v->fc_norm ? "True" : "False");
  if (v->registers) sm_text_add(text, ", reg_tokens=%d, no_embed_class=True", (int)v->registers);
  if (v->positions == VIT_NONE) sm_text_add(text, ", pos_embed='none'");
  if (v->qk_norm) sm_text_add(text, ", qk_norm=True");
  if (v->mlp == VIT_SWIGLU) sm_text_add(text, ", mlp_layer=SwiGLUPacked, act_layer='silu'");
  sm_text_add(text, ", num_classes=0)");
}

static const sm_backbone_ops ops = {
    .spec = vit_spec, .declare = vit_declare, .build = vit_build, .elsewhere = vit_elsewhere};
static const sm_plugin plugin = {
    .kind = SM_BACKBONE,
    .name = "vit",
    .summary = "Vision transformer, in the forms of DeiT, DINO, DINOv2, MAE and their like",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite = "Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(vit),
    .create = vit_create,
    .ops = &ops};
SM_MODULE(&plugin)

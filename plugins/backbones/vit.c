/* vit — the vision transformer (Dosovitskiy et al. 2021) with a class token, as DeiT, DINO and iBOT use it.
 *
 * Pre-norm blocks, learned position embedding (resized for other view sizes), mask token put in after the
 * patch embedding and before the position embedding (ibot, models/vision_transformer.py: mask_model).
 * Parameter names and shapes are timm's, so weights go both ways; the mask token's is iBOT's. */
#include <smalti/plugin.h>

#include <math.h>

enum { TINY, SMALL, BASE, LARGE, CUSTOM };
static const char *const arch_names[] = {"tiny", "small", "base", "large", "custom", NULL};
static const struct {
  int dim, depth, heads;
} presets[] = {[TINY] = {192, 12, 3},
               [SMALL] = {384, 12, 6},
               [BASE] = {768, 12, 12},
               [LARGE] = {1024, 24, 16},
               [CUSTOM] = {0, 0, 0}};
enum { MOST_DEPTH = SM_SITES_MAX / 2 };
static const double norm_eps = 1e-6;

typedef struct vit {
  int arch;
  int64_t dim, depth, heads, patch;
  double mlp_ratio, drop_path, layer_scale;
  bool qkv_bias;
} vit;

static const sm_option options[] = {
    SM_CHOICE(vit, arch, "arch", "small", arch_names,
              "Width, depth and heads: 192/12/3, 384/12/6, 768/12/12, 1024/24/16, or your own"),
    SM_INT(vit, dim, "dim", "0", 0, 16384, NULL, "Width of a token; 0: as arch says"),
    SM_INT(vit, depth, "depth", "0", 0, MOST_DEPTH, "blocks", "Number of blocks; 0: as arch says"),
    SM_INT(vit, heads, "heads", "0", 0, 256, NULL,
           "Attention heads, a divisor of the width; 0: as arch says"),
    SM_INT(vit, patch, "patch_size", "16", 1, 256, "px", "Side of a patch"),
    SM_FLOAT(vit, mlp_ratio, "mlp_ratio", "4", 0.01, 64, NULL,
             "Width of a block's hidden layer over the token's"),
    SM_FLOAT(vit, drop_path, "drop_path", "0", 0, 0.99, NULL,
             "Stochastic depth of the last block (student only); it grows linearly from 0 at the first"),
    SM_FLOAT(vit, layer_scale, "layer_scale", "0", 0, 10, NULL,
             "Initial value of each branch's learned gain; 0: no such gain"),
    SM_BOOL(vit, qkv_bias, "qkv_bias", "true", "Biases of the query, key and value projection"),
};

static int vit_width(const vit *v) { return (int)(v->dim ? v->dim : presets[v->arch].dim); }
static int vit_depth(const vit *v) { return (int)(v->depth ? v->depth : presets[v->arch].depth); }
static int vit_heads(const vit *v) { return (int)(v->heads ? v->heads : presets[v->arch].heads); }

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
  return SM_OK;
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
  out->dim = vit_width(v);
  out->rows = height / patch, out->cols = width_ / patch, out->cell = patch;
  out->heads = vit_heads(v);
  out->blocks = vit_depth(v) < SM_BLOCKS_MAX ? vit_depth(v) : SM_BLOCKS_MAX;
  out->layers = vit_depth(v);
  out->drop_columns = 2 * vit_depth(v);
  if (v->drop_path > 0) out->drop_sites = out->drop_columns;
  for (int site = 0; site < out->drop_columns; site++) {
    out->drop_layer[site] = 1 + site / 2;
    if (v->drop_path > 0 && vit_depth(v) > 1)
      out->drop_rate[site] = v->drop_path * (site / 2) / (vit_depth(v) - 1);
  }
  return SM_OK;
}

/* ---- parameters -------------------------------------------------------------------------------------- */

static void vit_declare_pair(const sm_params *p, const char *base, int64_t out, int64_t in, bool bias) {
  char name[96];
  snprintf(name, sizeof name, "%s.weight", base);
  sm_declare(p, name, SM_INIT_TRUNC_NORMAL, .02, 0, 2, (int64_t[]){out, in});
  snprintf(name, sizeof name, "%s.bias", base);
  if (bias) sm_declare(p, name, SM_INIT_ZEROS, 0, 0, 1, &out);
}

static void vit_declare_norm(const sm_params *p, const char *base, int64_t d) {
  char name[96];
  snprintf(name, sizeof name, "%s.weight", base);
  sm_declare(p, name, SM_INIT_ONES, 0, 0, 1, &d);
  snprintf(name, sizeof name, "%s.bias", base);
  sm_declare(p, name, SM_INIT_ZEROS, 0, 0, 1, &d);
}

static int64_t vit_hidden(const vit *v) {
  return llround(vit_width(v) * v->mlp_ratio) > 0 ? llround(vit_width(v) * v->mlp_ratio) : 1;
}

static void vit_declare_block(const vit *v, const sm_params *p, int block) {
  int64_t d = vit_width(v);
  char base[64];
#define IN_BLOCK(name) (snprintf(base, sizeof base, "blocks.%d.%s", block, name), base)
  vit_declare_norm(p, IN_BLOCK("norm1"), d);
  vit_declare_pair(p, IN_BLOCK("attn.qkv"), 3 * d, d, v->qkv_bias);
  vit_declare_pair(p, IN_BLOCK("attn.proj"), d, d, true);
  if (v->layer_scale > 0) sm_declare(p, IN_BLOCK("ls1.gamma"), SM_INIT_CONSTANT, v->layer_scale, 0, 1, &d);
  vit_declare_norm(p, IN_BLOCK("norm2"), d);
  vit_declare_pair(p, IN_BLOCK("mlp.fc1"), vit_hidden(v), d, true);
  vit_declare_pair(p, IN_BLOCK("mlp.fc2"), d, vit_hidden(v), true);
  if (v->layer_scale > 0) sm_declare(p, IN_BLOCK("ls2.gamma"), SM_INIT_CONSTANT, v->layer_scale, 0, 1, &d);
#undef IN_BLOCK
}

static void vit_declare(const void *self, int height, int width_, const sm_params *p) {
  const vit *v = self;
  const int64_t d = vit_width(v);
  const double fan_in = 3.0 * (double)(v->patch * v->patch);
  sm_declare_layer(p, 0);
  sm_declare(p, "cls_token", SM_INIT_TRUNC_NORMAL, .02, SM_ROW_EMBEDDING, 3, (int64_t[]){1, 1, d});
  sm_declare_grid(p, "pos_embed", SM_INIT_TRUNC_NORMAL, .02, SM_ROW_EMBEDDING, 1, height / (int)v->patch,
                  width_ / (int)v->patch, d);
  sm_declare(p, "masked_embed", SM_INIT_ZEROS, 0, SM_ROW_NO_EXPORT, 2,
             (int64_t[]){1, d}); /* timm knows no such name */
  sm_declare(p, "patch_embed.proj.weight", SM_INIT_UNIFORM_FAN, fan_in, 0, 4,
             (int64_t[]){d, 3, v->patch, v->patch});
  sm_declare(p, "patch_embed.proj.bias", SM_INIT_UNIFORM_FAN, fan_in, 0, 1, &d);
  for (int block = 0; block < vit_depth(v); block++) {
    sm_declare_layer(p, 1 + block);
    vit_declare_block(v, p, block);
  }
  sm_declare_layer(p, 1 + vit_depth(v));
  vit_declare_norm(p, "norm", d);
}

/* ---- forward ----------------------------------------------------------------------------------------- */

static sm_tensor *vit_linear(sm_graph *g, const sm_params *p, sm_tensor *x, const char *base, bool bias) {
  return sm_linear(g, x, sm_param(g, p, "%s.weight", base), bias ? sm_param(g, p, "%s.bias", base) : NULL);
}

static sm_tensor *vit_norm(sm_graph *g, const sm_params *p, sm_tensor *x, const char *base) {
  return sm_layer_norm(g, x, sm_param(g, p, "%s.weight", base), sm_param(g, p, "%s.bias", base), norm_eps);
}

/* [CLS] and patches with their positions; the table was declared for a grid that sm_param_grid knows. */
static sm_tensor *vit_embed(const vit *v, sm_graph *g, const sm_params *p, const sm_backbone_in *in) {
  const int rows = (int)(in->pictures->dim[2] / v->patch), cols = (int)(in->pictures->dim[3] / v->patch);
  int declared_rows = rows, declared_cols = cols;
  sm_tensor *pos = sm_param(g, p, "pos_embed");
  sm_param_grid(p, "pos_embed", &declared_rows, &declared_cols);
  if (rows != declared_rows || cols != declared_cols)
    pos = sm_position_resize(g, pos, declared_rows, declared_cols, rows, cols);
  sm_tensor *patches =
      vit_linear(g, p, sm_patchify(g, in->pictures, (int)v->patch), "patch_embed.proj", true);
  return sm_tokens(g, patches, sm_param(g, p, "cls_token"), pos,
                   in->mask ? sm_param(g, p, "masked_embed") : NULL, in->mask);
}

static sm_tensor *vit_pick(sm_graph *g, sm_tensor *x, const sm_rows *only) {
  return only ? sm_gather(g, x, only) : x;
}

/* One block; *qkv is its joint projection, for the attention map. After attention tokens are independent, so
 * the last block computes only the rows in `only` (drop: (B, sites) as ever). */
static sm_tensor *vit_block(const vit *v, sm_graph *g, const sm_params *p, sm_tensor *x, int index,
                            sm_tensor *drop, const sm_rows *only, sm_tensor **qkv) {
  char base[64];
#define IN_BLOCK(name) (snprintf(base, sizeof base, "blocks.%d.%s", index, name), base)
  bool scaled = v->layer_scale > 0;
  sm_tensor *y = vit_norm(g, p, x, IN_BLOCK("norm1"));
  *qkv = vit_linear(g, p, y, IN_BLOCK("attn.qkv"), v->qkv_bias);
  y = vit_pick(g, sm_attention(g, *qkv, vit_heads(v)), only);
  y = vit_linear(g, p, y, IN_BLOCK("attn.proj"), true);
  if (only && drop) drop = sm_gather_items(g, drop, only);
  x = sm_residual(g, vit_pick(g, x, only), y, scaled ? sm_param(g, p, "%s", IN_BLOCK("ls1.gamma")) : NULL,
                  drop, 2 * index);
  y = vit_norm(g, p, x, IN_BLOCK("norm2"));
  y = sm_gelu(g, vit_linear(g, p, y, IN_BLOCK("mlp.fc1"), true));
  y = vit_linear(g, p, y, IN_BLOCK("mlp.fc2"), true);
  return sm_residual(g, x, y, scaled ? sm_param(g, p, "%s", IN_BLOCK("ls2.gamma")) : NULL, drop,
                     2 * index + 1);
#undef IN_BLOCK
}

/* What is wanted of a sequence: x (B, 1 + N, D), or just the rows `kept` of it. */
static sm_block_out vit_answer(sm_graph *g, const sm_backbone_in *in, const sm_token_rows *rows,
                               sm_tensor *x) {
  sm_block_out out = {0};
  if (x->ndim == 2) {
    if (in->view) out.view = rows->view ? sm_gather(g, x, rows->view) : x;
    if (in->patches) out.patches = sm_gather(g, x, rows->patches);
    return out;
  }
  if (in->view)
    out.view = sm_gather(g, x, sm_rows_behind(g, in->pictures, x->dim[1] - 1, NULL, 1, true).kept);
  if (in->patches) out.patches = sm_drop_prefix(g, x, 1);
  return out;
}

static void vit_build(const void *self, sm_graph *g, const sm_params *p, const sm_backbone_in *in,
                      sm_backbone_out *out) {
  const vit *v = self;
  const int n = vit_depth(v), offered = n < SM_BLOCKS_MAX ? n : SM_BLOCKS_MAX;
  sm_tensor *x = sm_block_border(g, vit_embed(v, g, p, in)), *qkv = NULL;
  const bool some = in->only || (in->view && !in->patches), any = in->view || in->patches;
  const sm_token_rows rows =
      some ? sm_rows_behind(g, in->pictures, x->dim[1] - 1, in->patches ? in->only : NULL, 1, in->view)
           : (sm_token_rows){0};
  int wish = 0;
  for (int i = 0; i < n; i++) {
    const bool last = i == n - 1;
    sm_scope_push(g, "blocks.%d", i);
    x = sm_block_border(g, vit_block(v, g, p, x, i, in->drop, last ? rows.kept : NULL, &qkv));
    sm_scope_pop(g);
    for (; wish < in->blocks && in->block[wish].block == i - (n - offered); wish++) {
      sm_tensor *y = last ? x : vit_pick(g, x, rows.kept);
      out->block[wish] = vit_answer(g, in, &rows, in->block[wish].raw ? y : vit_norm(g, p, y, "norm"));
    }
  }
  if (any) {
    const sm_block_out end = vit_answer(g, in, &rows, vit_norm(g, p, x, "norm"));
    out->view = end.view, out->patches = end.patches;
  }
  if (in->attention) out->attention = sm_attention_map(g, qkv, vit_heads(v), 1);
  if (in->qkv) out->qkv = sm_drop_prefix(g, qkv, 1);
}

/* What differs from timm's defaults is said beside the sizes. */
static void vit_elsewhere(const void *self, int height, int width_, sm_text *text) {
  const vit *v = self;
  char number[32];
  sm_text_add(text, "timm: VisionTransformer(img_size=");
  if (height == width_) sm_text_add(text, "%d", height);
  else sm_text_add(text, "(%d, %d)", height, width_);
  sm_text_add(text, ", patch_size=%d, embed_dim=%d, depth=%d, num_heads=%d", (int)v->patch, vit_width(v),
              vit_depth(v), vit_heads(v));
  if (v->mlp_ratio != 4)
    sm_text_add(text, ", mlp_ratio=%s", sm_double_text(v->mlp_ratio, number, sizeof number));
  if (!v->qkv_bias) sm_text_add(text, ", qkv_bias=False");
  if (v->layer_scale > 0)
    sm_text_add(text, ", init_values=%s", sm_double_text(v->layer_scale, number, sizeof number));
  sm_text_add(text, ", num_classes=0)");
}

static const sm_backbone_ops ops = {
    .spec = vit_spec, .declare = vit_declare, .build = vit_build, .elsewhere = vit_elsewhere};
static const sm_plugin plugin = {.kind = SM_BACKBONE,
                                 .name = "vit",
                                 .summary = "Vision transformer with a class token and learned positions",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .cite = "Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .instance_size = sizeof(vit),
                                 .create = vit_create,
                                 .ops = &ops};
SM_MODULE(&plugin)

/* foreign_vit.c — what the tensors of a vision transformer say of it: the options of `vit`, the family that it is
 * likely of, and what of it cannot be run here.
 *
 * Sizes are read off shapes; parts are there or not. Two things no tensor tells: the number of heads, which all
 * published networks but the huge and giant ones take as width / 64, and how positions are resized, which is
 * the family's custom. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "foreign.h"

enum { MOST_BLOCKS = 512 };

static const struct {
  const char *name;
  int dim, depth, heads;
} presets[] = {{"tiny", 192, 12, 3}, {"small", 384, 12, 6}, {"base", 768, 12, 12}, {"large", 1024, 24, 16}};

static bool vit_has(const foreign_file *f, const char *name) { return sm_foreign_find(f, "%s", name) != NULL; }

/* ---- what cannot be run ------------------------------------------------------------------------------- */

static void vit_refuse_parts(foreign_file *f) {
  static const struct {
    const char *name, *what;
  } parts[] = {{"storage_tokens", "it is a DINOv3, with rotary positions"},
               {"rope_embed.periods", "it has rotary positions (DINOv3)"},
               {"blocks.0.attn.qkv.bias_mask", "its attention has a masked bias (DINOv3)"},
               {"local_cls_norm.weight", "it has a norm of its own for local views (DINOv3)"},
               {"norm_pre.weight", "it has a norm before its blocks (CLIP)"},
               {"patch_embed.norm.weight", "it has a norm behind its patch embedding"},
               {"attn_pool.latent", "it pools by attention (SigLIP)"},
               {"blocks.0.attn.norm.weight", "its attention has an inner norm (EVA-02)"},
               {"blocks.0.mlp.norm.weight", "its MLP has an inner norm (EVA-02)"},
               {"blocks.0.mlp.fc1_g.weight", "its MLP has gates of another form (EVA-02)"},
               {"blocks.0.attn.q_proj.weight", "its attention has separate projections (EVA-02)"},
               {"freqs_cis", "it has rotary positions"}};
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    if (vit_has(f, parts[i].name))
      sm_foreign_refuse(f, parts[i].what, "`vit` has no such part; a backbone plugin of your own may have it");
}

/* ---- sizes -------------------------------------------------------------------------------------------- */

static int vit_depth(const foreign_file *f) {
  int depth = 0;
  while (depth < MOST_BLOCKS && sm_foreign_find(f, "blocks.%d.norm1.weight", depth)) depth++;
  return depth;
}

static void vit_ratio(foreign_file *f, int64_t hidden, int64_t dim) {
  char text[32];
  if (dim > 0 && hidden > 0 && hidden != 4 * dim)
    sm_foreign_option(f, "mlp_ratio", "%s", sm_double_text((double)hidden / (double)dim, text, sizeof text));
}

/* SwiGLU's width S is (int(H·2/3) + 7)/8·8 for a hidden width H (dinov2, layers/swiglu_ffn.py). */
static void vit_mlp(foreign_file *f, int64_t dim) {
  const sm_st_tensor *in = sm_foreign_find(f, "blocks.0.mlp.fc1.weight"),
                     *out = sm_foreign_find(f, "blocks.0.mlp.w3.weight");
  if (out && out->ndim == 2) {
    const int64_t wide = out->shape[1];
    sm_foreign_option(f, "mlp", "swiglu");
    if ((8 * dim / 3 + 7) / 8 * 8 == wide) return;
    if (wide % 8) sm_foreign_refuse(f, "the width of its SwiGLU is no multiple of 8", "`vit` rounds it up to one");
    else vit_ratio(f, wide / 2 * 3, dim);
    return;
  }
  if (in && in->ndim == 2) vit_ratio(f, in->shape[0], dim);
}

static const sm_st_tensor *vit_table(const foreign_file *f) {
  const sm_st_tensor *t = sm_foreign_find(f, "rel_pos_bias.relative_position_bias_table");
  if (!t) t = sm_foreign_find(f, "blocks.0.attn.relative_position_bias_table");
  return t && t->ndim == 2 ? t : NULL;
}

static void vit_heads(foreign_file *f, int64_t dim, int depth) {
  const sm_st_tensor *table = vit_table(f), *norm = sm_foreign_find(f, "blocks.0.attn.q_norm.weight");
  int64_t heads = table ? table->shape[1] : norm && norm->ndim == 1 && norm->shape[0] > 0 ? dim / norm->shape[0] : 0;
  const bool told = heads > 0;
  if (!heads && (dim == 1280 || dim == 1408)) heads = 16;
  else if (!heads && dim % 64 == 0) heads = dim / 64;
  if (!told && heads)
    f->out->assumed = sm_arena_printf(f->texts, "%" PRId64 " heads of width %" PRId64, heads, dim / heads);
  for (size_t i = 0; i < sizeof presets / sizeof *presets; i++)
    if (presets[i].dim == dim && presets[i].depth == depth && presets[i].heads == heads) {
      sm_foreign_option(f, "arch", "%s", presets[i].name);
      return;
    }
  sm_foreign_option(f, "arch", "custom");
  sm_foreign_option(f, "dim", "%" PRId64, dim);
  sm_foreign_option(f, "depth", "%d", depth);
  if (heads) sm_foreign_option(f, "heads", "%" PRId64, heads);
  else f->out->lacks = "heads", f->out->lacks_for = "heads: 4";
}

static void vit_sizes(foreign_file *f) {
  const sm_st_tensor *patch = sm_foreign_find(f, "patch_embed.proj.weight");
  const int depth = vit_depth(f);
  if (!patch || patch->ndim != 4 || patch->shape[2] != patch->shape[3] || patch->shape[2] < 1 || patch->shape[0] < 1) {
    sm_foreign_refuse(f, "its patch embedding is no convolution with square patches", "`vit` has no other");
    return;
  }
  if (patch->shape[1] != 3) {
    sm_foreign_refuse(f, "its pictures do not have 3 colours", "smalti reads pictures as red, green and blue");
    return;
  }
  vit_heads(f, patch->shape[0], depth);
  sm_foreign_option(f, "patch_size", "%" PRId64, patch->shape[2]);
  vit_mlp(f, patch->shape[0]);
}

/* ---- parts -------------------------------------------------------------------------------------------- */

static void vit_parts(foreign_file *f) {
  const sm_st_tensor *reg = sm_foreign_find(f, "register_tokens");
  const bool class = vit_has(f, "cls_token"), fc_norm = vit_has(f, "fc_norm.weight") && !vit_has(f, "norm.weight"),
             shared = vit_has(f, "rel_pos_bias.relative_position_bias_table"),
             block = vit_has(f, "blocks.0.attn.relative_position_bias_table");
  if (vit_has(f, "blocks.0.ls1.gamma")) sm_foreign_option(f, "layer_scale", "%s", shared || block ? "0.1" : "1e-5");
  if (!vit_has(f, "blocks.0.attn.qkv.bias")) sm_foreign_option(f, "qkv_bias", "false");
  if (!class) sm_foreign_option(f, "class_token", "false");
  if (vit_has(f, "dist_token")) sm_foreign_option(f, "distillation_token", "true");
  if (reg && reg->ndim == 3) sm_foreign_option(f, "registers", "%" PRId64, reg->shape[1]);
  if (!vit_has(f, "pos_embed")) sm_foreign_option(f, "positions", "none");
  if (shared || block) sm_foreign_option(f, "relative_positions", "%s", shared ? "shared" : "block");
  if (vit_has(f, "blocks.0.attn.q_norm.weight")) sm_foreign_option(f, "qk_norm", "true");
  if (fc_norm && class) sm_foreign_option(f, "view", "mean");
  if (fc_norm) sm_foreign_option(f, "fc_norm", "true");
}

/* The views' size, by the positions behind the tokens that have no place in the picture. */
static void vit_size(foreign_file *f) {
  const sm_st_tensor *pos = sm_foreign_find(f, "pos_embed"), *table = vit_table(f),
                     *patch = sm_foreign_find(f, "patch_embed.proj.weight");
  const int64_t prefix = vit_has(f, "cls_token") + vit_has(f, "dist_token");
  int64_t side = 0;
  if (pos && pos->ndim == 3 && pos->shape[1] > prefix) {
    side = llround(sqrt((double)(pos->shape[1] - prefix)));
    if (side * side != pos->shape[1] - prefix) side = 0;
  } else if (!pos && table && table->shape[0] > 3) {
    const int64_t wide = llround(sqrt((double)(table->shape[0] - 3)));
    if (wide * wide == table->shape[0] - 3 && wide % 2) side = (wide + 1) / 2;
  }
  if (side > 0 && side < 4096 && patch->shape[2] < 4096)
    f->out->height = f->out->width = (int)(side * patch->shape[2]);
}

/* ---- families ----------------------------------------------------------------------------------------- */

typedef enum { DINO_RULE, EXACT_RULE, ANTIALIAS_RULE } resize_rule;

static bool vit_beside(const foreign_file *f, const char *name) {
  return sm_foreign_raw(f, "%s", name) != NULL;
}

static bool vit_anywhere(const foreign_file *f, const char *begin) {
  const sm_st_tensor *t;
  for (size_t i = 0; (t = sm_st_at(f->raw, i)); i++)
    if (!strncmp(t->name, begin, strlen(begin))) return true;
  return false;
}

/* By the parts that only one family has; what is left has timm's names alone, as DINO's and timm's own files. */
static resize_rule vit_family(foreign_file *f, bool hf) {
  const bool scaled = vit_has(f, "blocks.0.ls1.gamma"), masked = vit_has(f, "masked_embed");
  const sm_st_tensor *registers = sm_foreign_find(f, "register_tokens");
  sm_foreign *out = f->out;
  resize_rule rule = DINO_RULE;
  if (vit_table(f)) {
    out->family = hf ? "BEiT (Hugging Face)" : "BEiT";
    rule = EXACT_RULE;
    out->normalised = true; /* its authors' and timm's pictures lie in -1 … 1 */
    for (int i = 0; i < 3; i++) out->mean[i] = out->std[i] = .5f;
  } else if (registers) { /* all published ones have 4; of others the code's defaults hold, DINO's rule */
    out->family = "DINOv2 with registers";
    if (registers->ndim == 3 && registers->shape[1] == 4) rule = ANTIALIAS_RULE;
  } else if (scaled && masked) {
    out->family = "DINOv2";
  } else if (vit_has(f, "dist_token")) {
    out->family = "DeiT, distilled";
    rule = EXACT_RULE;
  } else if (vit_beside(f, "decoder_embed.weight") || vit_anywhere(f, "decoder.decoder_embed.")) {
    out->family = "MAE, pre-trained";
    rule = EXACT_RULE;
  } else if (vit_has(f, "fc_norm.weight")) {
    out->family = "ViT with a mean of patches (MAE fine-tuned, timm)";
    rule = EXACT_RULE;
  } else if (masked || vit_anywhere(f, "ibot_loss.") || vit_beside(f, "head.last_layer2.weight_v")) {
    out->family = hf ? "ViT (Hugging Face)" : "iBOT";
    if (hf) rule = EXACT_RULE;
  } else if (vit_anywhere(f, "dino_loss.") || vit_beside(f, "head.last_layer.weight_v")) {
    out->family = "DINO";
  } else if (hf) {
    out->family = "ViT (Hugging Face)";
    rule = EXACT_RULE;
  } else if (vit_beside(f, "head.weight")) {
    out->family = "DeiT or timm";
    rule = EXACT_RULE;
  } else out->family = "ViT with timm's names (DINO, DeiT, MAE, timm)";
  return rule;
}

void sm_foreign_vit(foreign_file *f, foreign_layout layout) {
  static const char *const rules[] = {NULL, "exact", "antialias"};
  const bool hf = layout == FOREIGN_HF;
  f->out->plugin = "vit";
  vit_refuse_parts(f);
  vit_sizes(f);
  if (f->status) return;
  vit_parts(f);
  vit_size(f);
  const resize_rule rule = vit_family(f, hf);
  if (rules[rule] && vit_has(f, "pos_embed")) sm_foreign_option(f, "position_resize", "%s", rules[rule]);
  if (hf && !vit_has(f, "register_tokens") && !(vit_has(f, "blocks.0.ls1.gamma") && !vit_table(f)))
    sm_foreign_option(f, "norm_eps", "1e-12"); /* transformers' default for all but DINOv2 */
}

/* vit_build.c — the vision transformer's forward pass: tokens, blocks, and what is asked for at the end.
 *
 * x is (B, prefix + N, D): tokens of no patch first ([CLS], distillation, registers), then the patches, of
 * which the visible ones alone are there where hidden ones are dropped. */
#include "vit.h"

static sm_tensor *vit_build_linear(sm_graph *g, const sm_params *p, sm_tensor *x, const char *base,
                                   bool bias) {
  return sm_linear(g, x, sm_param(g, p, "%s.weight", base), bias ? sm_param(g, p, "%s.bias", base) : NULL);
}

static sm_tensor *vit_build_norm(const vit *v, sm_graph *g, const sm_params *p, sm_tensor *x,
                                 const char *base) {
  return sm_layer_norm(g, x, sm_param(g, p, "%s.weight", base), sm_param(g, p, "%s.bias", base), v->norm_eps);
}

/* The grid of this pass's pictures, and what attention adds in every block. */
typedef struct vit_places {
  int rows, cols;
  sm_tensor *bias; /* where blocks share it, or NULL */
} vit_places;

/* ---- tokens ------------------------------------------------------------------------------------------ */

/* The table of positions for this grid; the one that it was declared for, sm_param_grid knows. */
static sm_tensor *vit_build_positions(const vit *v, sm_graph *g, const sm_params *p, int rows, int cols) {
  int declared_rows = rows, declared_cols = cols;
  if (v->positions == VIT_NONE) return NULL;
  sm_tensor *pos = sm_param(g, p, "pos_embed");
  sm_param_grid(p, "pos_embed", &declared_rows, &declared_cols);
  if (rows == declared_rows && cols == declared_cols) return pos;
  return sm_position_resize_by(g, pos, (sm_resize_rule)v->resize, vit_placed(v), declared_rows, declared_cols,
                               rows, cols);
}

/* [CLS], distillation token, patches or mask tokens, with their positions. */
static sm_tensor *vit_build_placed(const vit *v, sm_graph *g, const sm_params *p, sm_tensor *patches,
                                   sm_tensor *pos, sm_tensor *mask) {
  sm_tensor *cls = v->class_token ? sm_param(g, p, "cls_token") : NULL;
  sm_tensor *hidden = mask ? sm_param(g, p, "masked_embed") : NULL;
  if (!v->distillation_token) return sm_tokens(g, patches, cls, pos, hidden, mask);
  sm_tensor *x = mask ? sm_tokens(g, patches, NULL, NULL, hidden, mask) : patches;
  x = sm_insert_tokens(g, sm_insert_tokens(g, x, sm_param(g, p, "dist_token"), 0), cls, 0);
  return pos ? sm_tokens(g, x, NULL, pos, NULL, NULL) : x;
}

static sm_tensor *vit_build_tokens(const vit *v, sm_graph *g, const sm_params *p, const sm_backbone_in *in,
                                   const vit_places *at) {
  sm_tensor *pos = vit_build_positions(v, g, p, at->rows, at->cols);
  sm_tensor *patches =
      vit_build_linear(g, p, sm_patchify(g, in->pictures, (int)v->patch), "patch_embed.proj", true);
  sm_tensor *x = vit_build_placed(v, g, p, patches, pos, v->hidden == VIT_TOKEN ? in->mask : NULL);
  if (in->visible) x = sm_take(g, x, vit_placed(v), vit_placed(v), in->visible, NULL);
  return v->registers ? sm_insert_tokens(g, x, sm_param(g, p, "register_tokens"), vit_placed(v)) : x;
}

/* ---- blocks ------------------------------------------------------------------------------------------ */

static sm_tensor *vit_build_pick(sm_graph *g, sm_tensor *x, const sm_rows *only) {
  return only ? sm_gather(g, x, only) : x;
}

/* Queries, keys and values of a block; the first two normed head by head where the network has that. */
static sm_tensor *vit_build_qkv(const vit *v, sm_graph *g, const sm_params *p, sm_tensor *y, int index) {
  static const char *const name[2] = {"q_norm", "k_norm"};
  const int heads = vit_heads(v);
  char base[64];
  snprintf(base, sizeof base, "blocks.%d.attn.qkv", index);
  sm_tensor *qkv = vit_build_linear(g, p, y, base, v->qkv_bias);
  for (int k = 0; k < 2 && v->qk_norm; k++) {
    snprintf(base, sizeof base, "blocks.%d.attn.%s", index, name[k]);
    qkv = sm_head_norm(g, qkv, k * vit_width(v), heads, sm_param(g, p, "%s.weight", base),
                       sm_param(g, p, "%s.bias", base), v->norm_eps);
  }
  return qkv;
}

/* What attention adds by how far apart two patches of a rows × cols grid are; NULL: nothing. Tables are for the
 * grid of the global views. */
static sm_tensor *vit_build_bias(const vit *v, sm_graph *g, const sm_params *p, const char *table, int rows,
                                 int cols) {
  const sm_window window = {.rows = rows, .cols = cols, .prefix = v->class_token};
  const int64_t wanted = (int64_t)(2 * rows - 1) * (2 * cols - 1) + 3 * v->class_token;
  sm_tensor *t = sm_param(g, p, "%s", table);
  if (sm_graph_ok(g) && t->dim[0] != wanted)
    return sm_graph_fail(
        g, "relative positions '%s' are of another grid than %d x %d patches: all views must have one size",
        table, rows, cols);
  return sm_relative_bias(g, t, &window);
}

static sm_tensor *vit_build_attention(const vit *v, sm_graph *g, const sm_params *p, sm_tensor *qkv,
                                      const vit_places *at, int index) {
  char table[80];
  sm_tensor *bias = at->bias;
  if (v->relative == VIT_BLOCK) {
    snprintf(table, sizeof table, "blocks.%d.attn.relative_position_bias_table", index);
    bias = vit_build_bias(v, g, p, table, at->rows, at->cols);
  }
  return bias ? sm_attention_biased(g, qkv, bias, 1) : sm_attention(g, qkv, vit_heads(v));
}

static sm_tensor *vit_build_mlp(const vit *v, sm_graph *g, const sm_params *p, sm_tensor *y, int index) {
  char base[64];
#define IN_BLOCK(name) (snprintf(base, sizeof base, "blocks.%d.%s", index, name), base)
  if (v->mlp == VIT_SWIGLU) {
    y = sm_swiglu(g, vit_build_linear(g, p, y, IN_BLOCK("mlp.w12"), true));
    return vit_build_linear(g, p, y, IN_BLOCK("mlp.w3"), true);
  }
  y = sm_gelu(g, vit_build_linear(g, p, y, IN_BLOCK("mlp.fc1"), true));
  return vit_build_linear(g, p, y, IN_BLOCK("mlp.fc2"), true);
}

/* One block; *qkv is its joint projection, for the attention map. After attention tokens are independent, so
 * the last block computes only the rows in `only` (drop: (B, sites) as ever). */
static sm_tensor *vit_build_block(const vit *v, sm_graph *g, const sm_params *p, sm_tensor *x, int index,
                                  sm_tensor *drop, const vit_places *at, const sm_rows *only,
                                  sm_tensor **qkv) {
  char base[64];
  bool scaled = v->layer_scale > 0;
  sm_tensor *y = vit_build_norm(v, g, p, x, IN_BLOCK("norm1"));
  *qkv = vit_build_qkv(v, g, p, y, index);
  y = vit_build_pick(g, vit_build_attention(v, g, p, *qkv, at, index), only);
  y = vit_build_linear(g, p, y, IN_BLOCK("attn.proj"), true);
  if (only && drop) drop = sm_gather_items(g, drop, only);
  x = sm_residual(g, vit_build_pick(g, x, only), y,
                  scaled ? sm_param(g, p, "%s", IN_BLOCK("ls1.gamma")) : NULL, drop, 2 * index);
  y = vit_build_mlp(v, g, p, vit_build_norm(v, g, p, x, IN_BLOCK("norm2")), index);
  return sm_residual(g, x, y, scaled ? sm_param(g, p, "%s", IN_BLOCK("ls2.gamma")) : NULL, drop,
                     2 * index + 1);
#undef IN_BLOCK
}

/* ---- answers ----------------------------------------------------------------------------------------- */

typedef struct vit_answer {
  const vit *v;
  sm_graph *g;
  const sm_params *p;
  const sm_backbone_in *in;
  sm_token_rows rows; /* of `only` and the view; all NULL: every token is wanted */
  bool kept;          /* the last block computes only rows.kept */
} vit_answer;

/* Lists are for a view that is one token; a mean wants all patches. */
static vit_answer vit_build_asked(const vit *v, sm_graph *g, const sm_params *p, const sm_backbone_in *in,
                                  const sm_tensor *x) {
  vit_answer a = {v, g, p, in, {0}, false};
  const int prefix = vit_prefix(v);
  const bool token = in->view && !vit_mean(v);
  a.kept = !in->tokens && (in->view ? token && (in->only || !in->patches) : in->only != NULL);
  if (a.kept || (in->only && in->patches))
    a.rows =
        sm_rows_behind(g, in->pictures, x->dim[1] - prefix, in->patches ? in->only : NULL, prefix, token);
  return a;
}

static sm_tensor *vit_build_view(const vit_answer *a, sm_tensor *x) {
  const int prefix = vit_prefix(a->v);
  if (x->ndim == 2) return a->rows.view ? sm_gather(a->g, x, a->rows.view) : x;
  if (vit_mean(a->v)) return sm_mean_tokens(a->g, x, prefix);
  return sm_gather(a->g, x,
                   sm_rows_behind(a->g, a->in->pictures, x->dim[1] - prefix, NULL, prefix, true).kept);
}

static sm_tensor *vit_build_patches(const vit_answer *a, sm_tensor *x) {
  if (a->in->only)
    return sm_gather(a->g, x->ndim == 2 ? x : sm_gather(a->g, x, a->rows.kept), a->rows.patches);
  return sm_drop_prefix(a->g, x, vit_prefix(a->v));
}

/* What is wanted of a sequence: x (B, prefix + N, D), or just the rows `kept` of it. */
static sm_block_out vit_build_answer(const vit_answer *a, sm_tensor *x, bool raw) {
  const vit *v = a->v;
  sm_block_out out = {0};
  if (!raw && !v->fc_norm) x = vit_build_norm(v, a->g, a->p, x, "norm");
  if (a->in->view) out.view = vit_build_view(a, x);
  if (a->in->view && !raw && v->fc_norm) out.view = vit_build_norm(v, a->g, a->p, out.view, "fc_norm");
  if (a->in->patches) out.patches = vit_build_patches(a, x);
  return out;
}

/* The end of the last block, and all of its tokens where these are wanted. */
static void vit_build_end(const vit_answer *a, sm_tensor *x, sm_tensor *qkv, sm_backbone_out *out) {
  const sm_backbone_in *in = a->in;
  const int prefix = vit_prefix(a->v);
  if (in->tokens) {
    out->tokens = a->v->fc_norm ? x : vit_build_norm(a->v, a->g, a->p, x, "norm");
    if (in->view) out->view = vit_build_view(a, out->tokens);
    if (in->view && a->v->fc_norm) out->view = vit_build_norm(a->v, a->g, a->p, out->view, "fc_norm");
    if (in->patches) out->patches = vit_build_patches(a, out->tokens);
  } else if (in->view || in->patches) {
    const sm_block_out end = vit_build_answer(a, x, false);
    out->view = end.view, out->patches = end.patches;
  }
  if (in->attention) out->attention = sm_attention_map(a->g, qkv, vit_heads(a->v), prefix);
  if (in->qkv) out->qkv = sm_drop_prefix(a->g, qkv, prefix);
}

void vit_build(const void *self, sm_graph *g, const sm_params *p, const sm_backbone_in *in,
               sm_backbone_out *out) {
  const vit *v = self;
  const int n = vit_depth(v), offered = n < SM_BLOCKS_MAX ? n : SM_BLOCKS_MAX;
  vit_places at = {(int)(in->pictures->dim[2] / v->patch), (int)(in->pictures->dim[3] / v->patch), NULL};
  if (v->relative == VIT_SHARED)
    at.bias = vit_build_bias(v, g, p, "rel_pos_bias.relative_position_bias_table", at.rows, at.cols);
  sm_tensor *x = sm_block_border(g, vit_build_tokens(v, g, p, in, &at)), *qkv = NULL;
  const vit_answer a = vit_build_asked(v, g, p, in, x);
  int wish = 0;
  for (int i = 0; i < n; i++) {
    const bool last = i == n - 1;
    sm_scope_push(g, "blocks.%d", i);
    x = sm_block_border(
        g, vit_build_block(v, g, p, x, i, in->drop, &at, last && a.kept ? a.rows.kept : NULL, &qkv));
    sm_scope_pop(g);
    for (; wish < in->blocks && in->block[wish].block == i - (n - offered); wish++) {
      sm_tensor *y = last || !a.kept ? x : vit_build_pick(g, x, a.rows.kept);
      out->block[wish] = vit_build_answer(&a, y, in->block[wish].raw);
    }
  }
  vit_build_end(&a, x, qkv, out);
}

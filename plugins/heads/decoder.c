/* decoder — a small transformer over all tokens of a view, which says what hidden patches hold: MAE's
 * decoder (He et al., CVPR 2022; models_mae.py: forward_decoder). It stands behind a backbone that drops
 * hidden patches (vit's hidden: drop).
 *
 * The backbone's tokens are made narrower, a learned mask token stands where patches are hidden, fixed
 * positions are added, and pre-norm blocks follow; the last layer reads hidden patches only. The backbone's
 * first token ([CLS]), if it has one, goes through as well, with a position of zeros; other tokens of no
 * patch (registers) do not. Names are MAE's. */
#include <smalti/plugin.h>

#include <math.h>

typedef struct decoder {
  int64_t dim, depth, heads, out_dim;
  double mlp_ratio, norm_eps;
} decoder;

static const sm_option options[] = {
    SM_INT(decoder, dim, "dim", "512", 4, 16384, NULL, "Width of a token, a multiple of 4"),
    SM_INT(decoder, depth, "depth", "8", 1, 64, "blocks", "Number of blocks"),
    SM_INT(decoder, heads, "heads", "16", 1, 256, NULL, "Attention heads, a divisor of the width"),
    SM_FLOAT(decoder, mlp_ratio, "mlp_ratio", "4", 0.01, 64, NULL,
             "Width of a block's hidden layer over the token's"),
    SM_FLOAT(decoder, norm_eps, "norm_eps", "1e-6", 1e-12, 1e-2, NULL, "What norms add to the variance"),
    SM_INT(decoder, out_dim, "out_dim", "0", 0, 1048576, NULL,
           "K, the numbers per patch; 0: the target's size"),
};

static sm_status decoder_create(void *self, sm_error *err) {
  const decoder *t = self;
  if (t->dim % 4) {
    sm_fail(err, SM_EINVAL, "dim is %lld, but sines and cosines of a place need a multiple of 4",
            (long long)t->dim);
    return sm_hint(err, "for instance dim: %lld", (long long)(t->dim + 3) / 4 * 4);
  }
  if (t->dim % t->heads == 0) return SM_OK;
  sm_fail(err, SM_EINVAL, "a width of %lld cannot be divided among %lld heads", (long long)t->dim,
          (long long)t->heads);
  return sm_hint(err, "heads must divide dim");
}

static int decoder_out_dim(const void *self, sm_site site, int dim) {
  (void)site, (void)dim;
  return (int)((const decoder *)self)->out_dim;
}

/* ---- parameters -------------------------------------------------------------------------------------- */

static int64_t decoder_hidden(const decoder *t) {
  const int64_t hidden = llround((double)t->dim * t->mlp_ratio);
  return hidden > 0 ? hidden : 1;
}

/* Glorot's uniform: U(-1/√a, 1/√a) with a = (in + out)/6. */
static void decoder_declare_linear(const sm_params *p, const char *base, int64_t out, int64_t in) {
  sm_declare_linear(p, base, SM_INIT_UNIFORM_FAN, (double)(in + out) / 6, out, in, true);
}

static void decoder_declare(const void *self, const sm_head *h) {
  const decoder *t = self;
  const sm_params *p = &h->params;
  char base[64];
  if (!h->patch_dim) return;
  sm_declare(p, "mask_token", SM_INIT_NORMAL, .02, 0, 3, (int64_t[]){1, 1, t->dim});
  decoder_declare_linear(p, "decoder_embed", t->dim, h->dim);
  sm_declare_grid(p, "decoder_pos_embed", SM_INIT_SINCOS, 0, SM_ROW_FROZEN, h->prefix > 0, h->rows, h->cols,
                  t->dim);
#define IN_BLOCK(name) (snprintf(base, sizeof base, "decoder_blocks.%d.%s", block, name), base)
  for (int block = 0; block < t->depth; block++) {
    sm_declare_norm(p, IN_BLOCK("norm1"), SM_INIT_ONES, t->dim);
    decoder_declare_linear(p, IN_BLOCK("attn.qkv"), 3 * t->dim, t->dim);
    decoder_declare_linear(p, IN_BLOCK("attn.proj"), t->dim, t->dim);
    sm_declare_norm(p, IN_BLOCK("norm2"), SM_INIT_ONES, t->dim);
    decoder_declare_linear(p, IN_BLOCK("mlp.fc1"), decoder_hidden(t), t->dim);
    decoder_declare_linear(p, IN_BLOCK("mlp.fc2"), t->dim, decoder_hidden(t));
  }
  sm_declare_norm(p, "decoder_norm", SM_INIT_ONES, t->dim);
  decoder_declare_linear(p, "decoder_pred", h->patch_dim, t->dim);
}

/* ---- forward ----------------------------------------------------------------------------------------- */

static sm_tensor *decoder_linear(sm_graph *g, const sm_params *p, sm_tensor *x, const char *base) {
  return sm_linear(g, x, sm_param(g, p, "%s.weight", base), sm_param(g, p, "%s.bias", base));
}

static sm_tensor *decoder_norm(const decoder *t, sm_graph *g, const sm_params *p, sm_tensor *x,
                               const char *base) {
  return sm_layer_norm(g, x, sm_param(g, p, "%s.weight", base), sm_param(g, p, "%s.bias", base), t->norm_eps);
}

/* After attention tokens are independent, so the last block computes only the rows in `only`. */
static sm_tensor *decoder_block(const decoder *t, sm_graph *g, const sm_params *p, sm_tensor *x, int block,
                                const sm_rows *only) {
  char base[64];
  sm_tensor *y = decoder_norm(t, g, p, x, IN_BLOCK("norm1"));
  y = sm_attention(g, decoder_linear(g, p, y, IN_BLOCK("attn.qkv")), (int)t->heads);
  if (only) x = sm_gather(g, x, only), y = sm_gather(g, y, only);
  x = sm_residual(g, x, decoder_linear(g, p, y, IN_BLOCK("attn.proj")), NULL, NULL, 0);
  y = decoder_norm(t, g, p, x, IN_BLOCK("norm2"));
  y = sm_gelu(g, decoder_linear(g, p, y, IN_BLOCK("mlp.fc1")));
  return sm_residual(g, x, decoder_linear(g, p, y, IN_BLOCK("mlp.fc2")), NULL, NULL, 0);
#undef IN_BLOCK
}

static sm_tensor *decoder_decode(void *self, sm_graph *g, const sm_head *h, const sm_decoder_in *in) {
  const decoder *t = self;
  const sm_params *p = &h->params;
  const int first = in->prefix > 0;
  sm_tensor *x = decoder_linear(g, p, in->tokens, "decoder_embed");
  x = sm_take(g, x, first, in->prefix, in->place, sm_param(g, p, "mask_token"));
  x = sm_block_border(g, sm_tokens(g, x, NULL, sm_param(g, p, "decoder_pos_embed"), NULL, NULL));
  const sm_token_rows rows =
      sm_rows_behind(g, in->tokens, (int64_t)in->rows * in->cols, in->hidden, first, false);
  for (int block = 0; block < t->depth; block++) {
    sm_scope_push(g, "blocks.%d", block);
    x = sm_block_border(g, decoder_block(t, g, p, x, block, block == t->depth - 1 ? rows.kept : NULL));
    sm_scope_pop(g);
  }
  return sm_gather(g, decoder_norm(t, g, p, x, "decoder_norm"), rows.patches);
}

static sm_tensor *decoder_features(void *self, sm_graph *g, const sm_head *h, sm_tensor *x, sm_site site) {
  (void)self, (void)h, (void)x, (void)site;
  return sm_graph_fail(g, "a decoder looks at whole views, not at rows");
}

static sm_tensor *decoder_logits(void *self, sm_graph *g, const sm_head *h, sm_tensor *x, sm_site site) {
  (void)self, (void)site;
  return decoder_linear(g, &h->params, x, "decoder_pred");
}

static const sm_head_ops ops = {.declare = decoder_declare,
                                .features = decoder_features,
                                .logits = decoder_logits,
                                .out_dim = decoder_out_dim,
                                .decode = decoder_decode};
static const sm_plugin plugin = {.kind = SM_HEAD,
                                 .name = "decoder",
                                 .summary = "A small transformer from visible tokens to hidden patches",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .cite = "He et al., MAE, CVPR 2022",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .instance_size = sizeof(decoder),
                                 .create = decoder_create,
                                 .ops = &ops};
SM_MODULE(&plugin)

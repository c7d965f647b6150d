/* dvae_net.h — encoder and decoder of DALL·E's discrete variational auto-encoder (Ramesh et al., ICML 2021),
 * as ops and parameters: the part that the tokenizer `dvae` and the objective that trains one have in common.
 *
 *   encoder   conv 7×7: 3 → hidden; groups g = 0, 1, … of `blocks` blocks of hidden·2^g channels, 2×2
 *             max-pooling after all but the last; ReLU; conv 1×1 → vocabulary
 *   decoder   conv 1×1: vocabulary → 128; the same groups from wide to narrow, nearest up-sampling ×2 after
 *             all but the last; ReLU; conv 1×1 → 6 (mean and scale of three colours)
 *   block     id(x) + res(x)/(groups·blocks)²; id is x, or a conv 1×1 where the width changes; res is four
 *             times ReLU and convolution through a quarter of the width, of sides 3, 3, 3, 1 (encoder) or 1,
 *             3, 3, 3 (decoder)
 *
 * Every convolution keeps the size of the picture and has a bias. Structure, names of parameters and
 * initial values are those of openai/DALL-E (dall_e/encoder.py, decoder.py, utils.py), where hidden = 256,
 * groups = 4, blocks = 2, vocabulary = 8192. Pictures lie as tokens (B, height·width, channels). Nobody
 * owns anything here: tensors belong to the graph. */
#ifndef SMALTI_PLUGIN_DVAE_NET_H
#define SMALTI_PLUGIN_DVAE_NET_H

#include <math.h>
#include <stdio.h>

#include <smalti/params.h>
#include <smalti/tensor.h>

enum { DVAE_COLOURS = 3, DVAE_OUTPUTS = 2 * DVAE_COLOURS, DVAE_DECODER_INPUT = 128 };
enum { DVAE_GROUPS_MAX = 8, DVAE_NAME_MAX = 80 };

typedef struct dvae_shape {
  int groups, blocks; /* groups up to DVAE_GROUPS_MAX; blocks per group    */
  int hidden;         /* width of the first group, a multiple of 4         */
  int vocabulary;     /* number of codes                                   */
} dvae_shape;

typedef enum { DVAE_ENCODER, DVAE_DECODER } dvae_half;

/* Both halves see colours of [0, 1] as (1 - 2·margin)·x + margin (utils.py: map_pixels). */
static const float dvae_margin = 0.1f;

/* Pixels to a code along a side: 8 with four groups. */
static inline int dvae_stride(const dvae_shape *s) { return 1 << (s->groups - 1); }

/* ---- widths and names: the one description that declaring, running and checking files share ------------ */

/* Side of the res path's convolutions. */
static const int dvae_sides[2][4] = {[DVAE_ENCODER] = {3, 3, 3, 1}, [DVAE_DECODER] = {1, 3, 3, 3}};

/* Channels behind group `group`, counted from 0 in the order they run; group -1: behind the first
 * convolution. */
static inline int dvae_width(const dvae_shape *s, dvae_half half, int group) {
  if (half == DVAE_ENCODER) return s->hidden << (group < 0 ? 0 : group);
  return group < 0 ? DVAE_DECODER_INPUT : s->hidden << (s->groups - 1 - group);
}
static inline int dvae_block_in(const dvae_shape *s, dvae_half half, int group, int block) {
  return dvae_width(s, half, block == 0 ? group - 1 : group);
}

/* Calls visit for each convolution: its name without ".w" or ".b", and its weight's shape (out, in, side,
 * side). */
typedef void dvae_visit(void *ctx, const char *name, int out, int in, int side);
static inline void dvae_each_conv(const dvae_shape *s, dvae_half half, dvae_visit *visit, void *ctx) {
  char name[DVAE_NAME_MAX];
  const int first = half == DVAE_ENCODER ? DVAE_COLOURS : s->vocabulary;
  visit(ctx, "blocks.input", dvae_width(s, half, -1), first, half == DVAE_ENCODER ? 7 : 1);
  for (int g = 0; g < s->groups; g++)
    for (int b = 0; b < s->blocks; b++) {
      int in = dvae_block_in(s, half, g, b), out = dvae_width(s, half, g), quarter = out / 4;
      snprintf(name, sizeof name, "blocks.group_%d.block_%d.id_path", g + 1, b + 1);
      if (in != out) visit(ctx, name, out, in, 1);
      for (int k = 0; k < 4; k++) {
        snprintf(name, sizeof name, "blocks.group_%d.block_%d.res_path.conv_%d", g + 1, b + 1, k + 1);
        visit(ctx, name, k == 3 ? out : quarter, k == 0 ? in : quarter, dvae_sides[half][k]);
      }
    }
  const int last = half == DVAE_ENCODER ? s->vocabulary : DVAE_OUTPUTS;
  visit(ctx, "blocks.output.conv", last, dvae_width(s, half, s->groups - 1), 1);
}

/* ---- parameters ---------------------------------------------------------------------------------------- */

/* Weights from N(0, 1/(in·side²)), biases 0 (utils.py: Conv2d). */
static inline void dvae_declare_conv(void *params, const char *name, int out, int in, int side) {
  char full[DVAE_NAME_MAX + 2];
  snprintf(full, sizeof full, "%s.w", name);
  sm_declare(params, full, SM_INIT_NORMAL, 1 / sqrt((double)in * side * side), 0, 4,
             (int64_t[]){out, in, side, side});
  snprintf(full, sizeof full, "%s.b", name);
  sm_declare(params, full, SM_INIT_ZEROS, 0, 0, 1, (int64_t[]){out});
}
static inline void dvae_declare_encoder(const sm_params *params, const dvae_shape *s) {
  dvae_each_conv(s, DVAE_ENCODER, dvae_declare_conv, (void *)params);
}
static inline void dvae_declare_decoder(const sm_params *params, const dvae_shape *s) {
  dvae_each_conv(s, DVAE_DECODER, dvae_declare_conv, (void *)params);
}

/* ---- forward ------------------------------------------------------------------------------------------- */

static inline sm_tensor *dvae_conv(sm_graph *g, const sm_params *params, const char *name, sm_tensor *x,
                                   int height, int width) {
  return sm_conv2d(g, x, sm_param(g, params, "%s.w", name), sm_param(g, params, "%s.b", name), height, width);
}

static inline sm_tensor *dvae_block(sm_graph *g, const sm_params *params, const dvae_shape *s, dvae_half half,
                                    int group, int block, sm_tensor *x, int height, int width) {
  char name[DVAE_NAME_MAX];
  const int layers = s->groups * s->blocks;
  sm_tensor *id = x, *res = x;
  if (dvae_block_in(s, half, group, block) != dvae_width(s, half, group)) {
    snprintf(name, sizeof name, "blocks.group_%d.block_%d.id_path", group + 1, block + 1);
    id = dvae_conv(g, params, name, x, height, width);
  }
  for (int k = 0; k < 4; k++) {
    snprintf(name, sizeof name, "blocks.group_%d.block_%d.res_path.conv_%d", group + 1, block + 1, k + 1);
    res = dvae_conv(g, params, name, sm_relu(g, res), height, width);
  }
  return sm_add(g, id, sm_scale(g, res, 1.0 / ((double)layers * layers)));
}

/* Puts the weights of a group into the order of their products, all at once: then nothing stands between its
 * convolutions, and a few pictures go through the whole group before the next ones do. */
static inline void dvae_order_group(sm_graph *g, const sm_params *params, const dvae_shape *s, int group) {
  for (int block = 1; block <= s->blocks; block++)
    for (int k = 1; k <= 4; k++)
      sm_conv_weight(
          g, sm_param(g, params, "blocks.group_%d.block_%d.res_path.conv_%d.w", group + 1, block, k));
}

/* All but the last convolution: what comes out behind its ReLU. Height and width change by the factor 2 after
 * each group but the last: halved by the encoder, doubled by the decoder. */
static inline sm_tensor *dvae_hidden(sm_graph *g, const sm_params *params, const dvae_shape *s,
                                     dvae_half half, sm_tensor *x, int height, int width) {
  dvae_order_group(g, params, s, 0);
  x = dvae_conv(g, params, "blocks.input", x, height, width);
  for (int group = 0; group < s->groups; group++) {
    for (int block = 0; block < s->blocks; block++)
      x = dvae_block(g, params, s, half, group, block, x, height, width);
    if (group == s->groups - 1) break;
    if (half == DVAE_ENCODER) {
      x = sm_max_pool(g, x, height, width);
      height /= 2, width /= 2;
      dvae_order_group(g, params, s, group + 1);
    } else { /* here the smaller picture is that before */
      dvae_order_group(g, params, s, group + 1);
      x = sm_upsample(g, x, height, width);
      height *= 2, width *= 2;
    }
  }
  return sm_relu(g, x);
}

/* The last convolution, of side 1: it looks at each row (…, channels) by itself, so it may be given only
 * some. */
static inline sm_tensor *dvae_output(sm_graph *g, const sm_params *params, sm_tensor *hidden) {
  return sm_linear(g, hidden, sm_param(g, params, "blocks.output.conv.w"),
                   sm_param(g, params, "blocks.output.conv.b"));
}

/* pixels (B, height·width, 3), mapped to [0.1, 0.9], multiples of the stride high and wide → logits of the
 * codes (B, (height/stride)·(width/stride), vocabulary). */
static inline sm_tensor *dvae_encode(sm_graph *g, const sm_params *params, const dvae_shape *s,
                                     sm_tensor *pixels, int height, int width) {
  return dvae_output(g, params, dvae_hidden(g, params, s, DVAE_ENCODER, pixels, height, width));
}

/* codes (B, height·width, vocabulary), one-hot or relaxed → (B, (height·stride)·(width·stride), 6). */
static inline sm_tensor *dvae_decode(sm_graph *g, const sm_params *params, const dvae_shape *s,
                                     sm_tensor *codes, int height, int width) {
  return dvae_output(g, params, dvae_hidden(g, params, s, DVAE_DECODER, codes, height, width));
}

#endif

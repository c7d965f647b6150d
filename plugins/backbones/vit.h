/* vit.h — what the files of the vision transformer share: an instance, its sizes.
 *
 *   vit.c        options, sizes, parameters
 *   vit_build.c  the forward pass */
#ifndef SMALTI_PLUGIN_VIT_H
#define SMALTI_PLUGIN_VIT_H

#include <smalti/plugin.h>

enum { VIT_TINY, VIT_SMALL, VIT_BASE, VIT_LARGE, VIT_GIANT, VIT_CUSTOM };
enum { VIT_LEARNED, VIT_SINCOS, VIT_NONE };
enum { VIT_APART, VIT_SHARED, VIT_BLOCK };
enum { VIT_GELU, VIT_SWIGLU };
enum { VIT_AUTO, VIT_CLASS, VIT_MEAN };
enum { VIT_TOKEN, VIT_DROP };

typedef struct vit {
  int arch;
  int64_t dim, depth, heads, patch, registers;
  double mlp_ratio, drop_path, layer_scale, norm_eps;
  bool qkv_bias, class_token, distillation_token, qk_norm, fc_norm, drop_path_uniform;
  int positions, resize, relative, mlp, view, hidden, init;
} vit;

int vit_width(const vit *);
int vit_depth(const vit *);
int vit_heads(const vit *);
int64_t vit_hidden(const vit *); /* width between a block's two layers; of SwiGLU: of each half */
/* Tokens before the patches: those that have a row in the table of positions, and with the registers behind
 * them. */
static inline int vit_placed(const vit *v) { return v->class_token + v->distillation_token; }
static inline int vit_prefix(const vit *v) { return vit_placed(v) + (int)v->registers; }
/* Is the view the mean of the patches? Else it is [CLS]. */
static inline bool vit_mean(const vit *v) {
  return v->view == VIT_AUTO ? !v->class_token : v->view == VIT_MEAN;
}

void vit_build(const void *self, sm_graph *, const sm_params *, const sm_backbone_in *, sm_backbone_out *);

#endif

/* smalti/head.h — features → logits. */
#ifndef SMALTI_HEAD_H
#define SMALTI_HEAD_H

#include <smalti/module.h>
#include <smalti/params.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { SM_SITE_VIEW, SM_SITE_PATCH } sm_site; /* [CLS] or patch */
typedef enum { SM_ROLE_STUDENT, SM_ROLE_TEACHER } sm_role; /* heads may share layers differently in each */

typedef struct sm_head_ops {
  uint32_t affine; /* 1: logits are affine in features, so logits(mean) = mean(logits); the patch centre's shortcut needs it */
  /* [build] in_dim: backbone width; dim: K (or vector length) at each site, 0 where the site is not used */
  void (*declare)(const void *self, const sm_params *, int in_dim, int view_dim, int patch_dim, sm_role);
  sm_tensor *(*features)(const void *self, sm_graph *, const sm_params *, sm_tensor *tokens /* (…, D) */, sm_site, sm_role);
  sm_tensor *(*logits)(const void *self, sm_graph *, const sm_params *, sm_tensor *features, sm_site, sm_role);
  int (*out_dim)(const void *self, sm_site); /* [main] pure: what the recipe asks for, 0 = take the target's size */
  /* Its beginning, from which fine-tuning may start (finetune_head_layer): what comes out behind the activation of layer n, and
   * how wide it is, 0 if there is no layer n with an activation. Only parameters of the first n layers are used. NULL: not there. */
  int (*layer_dim)(const void *self, int n); /* [main] pure */
  sm_tensor *(*layer)(const void *self, sm_graph *, const sm_params *, sm_tensor *tokens, sm_site, sm_role, int n); /* [build] */
} sm_head_ops;

/* A head bound to parameters and a role: what tokenizers and the step call. */
typedef struct sm_head {
  const sm_head_ops *ops;
  const void *self;
  sm_params params;
  sm_role role;
  int view_dim, patch_dim;
} sm_head;

#ifdef __cplusplus
}
#endif
#endif

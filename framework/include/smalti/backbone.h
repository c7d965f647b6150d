/* smalti/backbone.h — pictures and masks → features. */
#ifndef SMALTI_BACKBONE_H
#define SMALTI_BACKBONE_H

#include <smalti/module.h>
#include <smalti/params.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SM_SITES_MAX 256
typedef struct sm_backbone_spec {
  int dim, prefix, patch, depth, heads; /* width D; prefix tokens (1 = [CLS]); patch size in pixels */
  int masks_at;                         /* pixels of one mask cell (= patch for a ViT)               */
  int drop_sites;                       /* columns of the drop-path input (0: none)                  */
  double drop_rate[SM_SITES_MAX];       /* of each column                                            */
  int drop_columns;                     /* columns of a drop-path input that build takes also where drop_sites is 0, equally many a
                                           block, the first block first: fine-tuning brings rates of its own (0: it takes none) */
} sm_backbone_spec;

typedef struct sm_backbone_in {
  sm_tensor *pictures; /* (B, 3, H, W), normalised                               */
  sm_tensor *mask;     /* (B, N) U8 or NULL                                      */
  sm_tensor *drop;     /* (B, drop_sites) factors 0 or 1/keep, or NULL (teacher, evaluation) */
  int last_blocks;     /* how many of the last blocks to give in out->blocks     */
  bool attention;      /* give out->attention                                    */
  const sm_rows *only; /* a wish, or NULL: nobody reads other tokens of the outputs, so the backbone may give just these, as
                          (rows, D) in place of (B, prefix + N, D), and save what only others would need */
} sm_backbone_in;

typedef struct sm_backbone_out {
  sm_tensor *tokens;     /* (B, prefix + N, D), after the final norm              */
  sm_tensor *blocks[16]; /* last_blocks tensors like tokens, each after the final norm, the last block at the end */
  sm_tensor *attention;  /* (B, heads, prefix + N): last block, [CLS] row         */
} sm_backbone_out;

typedef struct sm_backbone_ops {
  sm_status (*spec)(const void *self, int view_size, sm_backbone_spec *, sm_error *); /* [main] pure; refuses view sizes it cannot cut */
  void (*declare)(const void *self, int view_size, const sm_params *);                /* [build] view_size: of the position embedding  */
  void (*build)(const void *self, sm_graph *, const sm_params *, const sm_backbone_in *, sm_backbone_out *); /* [build] */
} sm_backbone_ops;

#ifdef __cplusplus
}
#endif
#endif

/* smalti/backbone.h — a backbone turns pictures into features: one vector for the picture, one per patch.
 *
 *   spec     what comes out of pictures of this size: grid, widths, blocks; refuses sizes that it cannot take
 *   declare  its parameters, by name
 *   build    its forward pass, in the graph: gives what it is asked for, and nothing else is read
 *
 * Training asks the student for the *view* and for the hidden patches, the teacher for the view and all
 * patches, an evaluation perhaps for several blocks. How a backbone makes the view is its own affair: a
 * vision transformer gives its [CLS] token, a convolutional network the mean of its patches. Nobody else
 * knows of class tokens, position embeddings or parameter names.
 *
 * B is the number of pictures (a run-time count), N = rows · cols the number of patches, row by row from
 * the top, D the width. A patch is also a mask cell. Pictures need not be square. */
#ifndef SMALTI_BACKBONE_H
#define SMALTI_BACKBONE_H

#include <smalti/module.h>
#include <smalti/params.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SM_SITES_MAX 256 /* columns of a drop-path input                 */
#define SM_BLOCKS_MAX 64 /* blocks that a backbone may offer             */
#define SM_WISHES_MAX 16 /* of these, how many one pass may ask for      */

typedef struct sm_block_spec {
  int dim, rows, cols; /* width and grid of the block's output */
} sm_block_spec;

typedef struct sm_backbone_spec {
  int dim;          /* D, the width of view and patches                                            */
  int rows, cols;   /* grid of the patches; local views have a smaller one                         */
  int cell;         /* side of a patch, which is a mask cell, in pixels                            */
  int heads;        /* of the last block's attention; 0: there is no attention to look at          */
  int blocks;       /* whose outputs may be asked for, 1 … SM_BLOCKS_MAX; 0 counts as 1: the last  */
  sm_block_spec block[SM_BLOCKS_MAX]; /* of each; left zero: as dim, rows and cols above           */
  int layers;       /* that sm_declare_layer counts to: fine-tuning trains early ones more slowly  */
  int drop_sites;   /* columns of the drop-path input (0: none)                                    */
  double drop_rate[SM_SITES_MAX]; /* of each column, 0 … 1                                         */
  int drop_columns; /* columns of a drop-path input that build takes also where drop_sites is 0:
                       fine-tuning brings rates of its own (0: it takes none)                      */
  int drop_layer[SM_SITES_MAX];   /* of each of these columns: the layer it drops, 1 … layers      */
  bool drops; /* hidden patches are left out and not computed (MAE): build is told in->visible where
                 patches are hidden, and then gives no patches, but `tokens`, as a head with `decode` wants */
  int prefix; /* with drops: tokens of no patch that come first in `tokens`                        */
  bool batch_norm;  /* where in->training is set, a picture's answer depends on the others of its batch:
                       those of the micro-batch in views of one size                               */
  bool one_grid;    /* parameters are for the rows and cols that they were declared for: build takes
                       no pictures of another grid, so all views of a recipe have one size         */
} sm_backbone_spec;

/* A block's output: `block` counts from 0; raw: as the next block reads it, else after the final norm. */
typedef struct sm_block_wish {
  int block;
  bool raw;
} sm_block_wish;

typedef struct sm_backbone_in {
  sm_tensor *pictures; /* (B, 3, H, W), normalised                                                       */
  sm_tensor *mask;     /* (B, N) U8, 1 = hidden: the patch is replaced by a learned token; NULL: none    */
  sm_tensor *drop;     /* (B, columns) factors 0 or 1/keep, or NULL (teacher, evaluation)                */
  bool training;       /* student and teacher in a training step: batch norm uses this batch's statistics, and
                          its running state moves in the update; else it uses the running state          */
  bool view, patches;  /* what is wanted, of the last block and of those in `block`                      */
  const sm_rows *only; /* with patches: just these cells of (B, N) are read, so give them as (rows, D) in the
                          list's order and save what only others would need. NULL: all */
  int blocks;          /* how many others are wanted, 0 … SM_WISHES_MAX                                  */
  sm_block_wish block[SM_WISHES_MAX]; /* in ascending order                                              */
  bool attention, qkv; /* of the last block; asked only where spec gave heads                            */
  sm_tensor *visible;  /* (B, V) I32: the cells that are not hidden, ascending, in each picture as many; asked
                          only where spec says `drops`. NULL: all are visible                            */
  bool tokens;         /* all tokens of the last block are wanted; asked only where spec says `drops`    */
} sm_backbone_in;

typedef struct sm_block_out {
  sm_tensor *view;    /* (B, D of the block)                                            */
  sm_tensor *patches; /* (B, N of the block, D of the block), or (rows, D) with `only`  */
} sm_block_out;

/* The core zeroes it before the call. Whatever was wanted must be there, else the graph fails with the
 * backbone's name. */
typedef struct sm_backbone_out {
  sm_tensor *view;                    /* (B, D), after the final norm                                     */
  sm_tensor *patches;                 /* (B, N, D), or (rows, D) where `only` was given                   */
  sm_block_out block[SM_WISHES_MAX];  /* one per wish                                                     */
  /* (B, heads, N): softmax weights from the view to each patch; a row adds up to 1 less what goes to anything
   * that is no patch. */
  sm_tensor *attention;
  sm_tensor *tokens; /* (B, prefix + V, D), after the final norm: tokens of no patch, then the visible patches */
  sm_tensor *qkv; /* (B, N, 3·D): queries, keys and values of the patches: q|k|v, heads contiguous in each */
} sm_backbone_out;

typedef struct sm_backbone_ops {
  /* [main] pure; pictures of height × width pixels. SM_EINVAL with a hint where it cannot cut them. `out`
   * comes zeroed. */
  sm_status (*spec)(const void *self, int height, int width, sm_backbone_spec *out, sm_error *);
  /* [build] for global views of height × width: other sizes use the same parameters (a position embedding is
   * resized), unless spec says one_grid. sm_declare_layer tells which layer the parameters belong to. */
  void (*declare)(const void *self, int height, int width, const sm_params *);
  /* [build] any number of times, in any graph; errors are sticky in the graph. */
  void (*build)(const void *self, sm_graph *, const sm_params *, const sm_backbone_in *, sm_backbone_out *);
  /* [main] the call that makes the same network in another program, for who exports weights: "timm:
   * VisionTransformer(…)". May be NULL. */
  void (*elsewhere)(const void *self, int height, int width, sm_text *);
} sm_backbone_ops;

#ifdef __cplusplus
}
#endif
#endif

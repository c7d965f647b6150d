/* framework/models/weights.h — private to the core: weights of one network between safetensors files and
 * parameter sets.
 *
 * Loading is strict: every tensor of the file and every row of the set must find its partner by name, with
 * the same shape. What differs is listed line by line, so that a reader sees at once whether a prefix, a size
 * or a whole architecture is the matter. Two differences are not errors and are reported: positions for
 * another grid are resized (rows of sm_declare_grid, by the rule that the network itself resizes them by), and rows that
 * are not exported (the mask token) may be missing. Files of other programs have more and less than that
 * (`foreign` below). */
#ifndef SM_WEIGHTS_H
#define SM_WEIGHTS_H

#include "framework/formats/formats.h"
#include "framework/image/augment.h"
#include "framework/nn/nn.h"

typedef struct sm_weights_source {
  const sm_st_reader *file;
  const char *prefix; /* of the names to take: "teacher.backbone."; names without it are left alone */
  const char *const
      *ignore; /* beginnings of names (after the prefix) to leave: "head."; NULL-terminated or NULL */
  int height, width;         /* of the views that its positions are for; 0: square ones */
  const char *isa;           /* path of kernels that resizes positions; NULL: the best */
  /* What whoever reads a refusal writes to name a prefix and beginnings to ignore: "--prefix ", NULL: nothing
   * can be named. */
  const char *say_prefix, *say_ignore;
  /* Of another program (foreign.h): tensors of no row and rows of no tensor are reported, not refused, as long as
   * 90 % of both find their partners and no numbered layer lacks anything or has anything left over. */
  bool foreign;
} sm_weights_source;

typedef struct sm_weights_report {
  int taken, converted, resized, initial, ignored; /* tensors; converted and resized ones are taken ones */
  int missing, unexpected, wrong; /* differences that refuse, but for those of foreign files */
  int64_t elements;               /* taken                                                   */
  sm_text text;                   /* a line each; sm_text_free                               */
} sm_weights_report;

/* Fill the rows of `set` whose names begin with `row_prefix`. On SM_EINVAL (they do not fit) and
 * SM_EFORMAT (a value is not finite; the message names the tensor) nothing was changed; the message of the
 * first counts and names the first differences, the report has them all. The report is filled
 * in every case. [main] */
sm_status sm_weights_load(const sm_weights_source *, sm_set *, const char *row_prefix, sm_weights_report *,
                          sm_error *);

/* Element i of a tensor of floating-point numbers. */
double sm_weights_element(const sm_st_tensor *, int64_t i);

/* ---- writing ------------------------------------------------------------------------------------------- */

typedef enum { SM_WEIGHTS_TIMM, SM_WEIGHTS_IBOT, SM_WEIGHTS_HF } sm_weights_format;

/* What a weights file says about itself, so that it opens without the run it came from. */
typedef struct sm_weights_about {
  const char *backbone; /* "{vit: {arch: small, …}}"                     */
  const char *net;      /* "teacher", "student", "init"                  */
  const char *recipe;   /* its name, or ""                               */
  uint64_t recipe_hash;
  int64_t step;
  int height, width;     /* of the views its position embedding is for    */
  float mean[3], std[3]; /* of the pictures it wants                      */
  sm_filter filter;
} sm_weights_about;

/* Write the rows under `row_prefix` without it. timm: rows that are not exported are left out (*dropped says
 * how many), Swin's mergings go to the next stage, a network with relative positions has Beit's names (no bias of
 * keys), one with registers has their positions in the tokens; ibot: all rows, with the names of iBOT's own code
 * (gamma_1 for ls1.gamma), which are DINO's too; hf: the names of Hugging Face's ViTModel, or Dinov2Model where
 * there are gains (LayerScale), with queries, keys and values apart. SM_EUNSUPPORTED: a row has no name there.
 * An older file is replaced. */
sm_status sm_weights_save(const char *path, sm_set *, const char *row_prefix, sm_weights_format,
                          const sm_weights_about *, int *dropped, int64_t *elements, sm_error *);
/* Read it back; fields the file does not have stay zero (backbone NULL: a file of another program). Texts
 * live in the reader. SM_EFORMAT: the metadata is there but makes no sense. */
sm_status sm_weights_about_read(const sm_st_reader *, sm_weights_about *, sm_error *);

#endif

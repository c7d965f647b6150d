/* foreign.h — private to the core: weights that other programs wrote, under smalti's names.
 *
 *   foreign.c        where in a file the backbone lies: containers and prefixes (teacher.backbone., module., …)
 *   foreign_names.c  names of other programs to those of `vit` and `swin`, tensors cut or joined where they differ
 *   foreign_vit.c    what the tensors say of the network: the options of `vit`
 *   foreign_swin.c   the same of `swin`
 *
 * A file of smalti's own, and one of no known layout, is opened as it is. Layouts: timm's names (DeiT, DINO,
 * iBOT, MAE, BEiT, DINOv2: models/vision_transformer.py and kin of each), Hugging Face's ViT, DeiT, BEiT, MAE
 * and DINOv2 (transformers, modeling_vit.py and kin), Swin's (official and timm). */
#ifndef SM_FOREIGN_H
#define SM_FOREIGN_H

#include <smalti/network.h>

#include "framework/formats/formats.h"

enum { SM_FOREIGN_OPTIONS = 24 };

typedef struct sm_foreign {
  const char *family;     /* "DINOv2", for people; NULL: none is known, or smalti's own */
  const char *plugin;     /* "vit", "swin": its backbone here; NULL with `family`       */
  const char *prefix;     /* what stands before the backbone's names in the file, ""    */
  sm_net net;             /* SM_NET_STUDENT where the file calls it so, else SM_NET_TEACHER */
  /* What the tensors say of the backbone, as options; those that have their default are left out. */
  struct sm_foreign_option {
    const char *name, *value;
  } option[SM_FOREIGN_OPTIONS];
  int options;
  const char *lacks, *lacks_for; /* an option that the file does not tell, and an example of it; NULL: none */
  const char *assumed;           /* what is taken without being told, for people; NULL: nothing */
  int height, width;             /* of the views its positions are for; 0: not told */
  bool normalised;               /* the family's pictures are normalised otherwise than ImageNet's: */
  float mean[3], std[3];
  int unused;   /* tensors of the file that the backbone does not have, by rule */
  sm_text text; /* a line for each kind of them; sm_text_free */
} sm_foreign;

/* Open weights of anybody: `prefix` (NULL or "": find it) and `net` say which of several networks in a file.
 * Texts of *out live in the arena. NULL on error: as sm_st_open; SM_EINVAL, no or several networks may be
 * meant; SM_EUNSUPPORTED, a part of the network is known and cannot be run: the message names it. */
sm_st_reader *sm_foreign_open(const char *path, const char *prefix, sm_net net, sm_arena *, sm_foreign *out,
                              sm_error *);
/* "{vit: {…}}": the options as YAML, in the arena; NULL: memory ran out. */
const char *sm_foreign_backbone(const sm_foreign *, sm_arena *);

/* ---- between the files -------------------------------------------------------------------------------- */

typedef struct foreign_file {
  sm_arena *arena;         /* of names and values that are made; the mapped reader's in the end */
  const sm_st_reader *raw;
  size_t cut;              /* length of the prefix */
  const char *prefix;
  sm_st_tensor *tensor;    /* mapped ones; sm_free */
  size_t count, room;
  sm_foreign *out;
  sm_arena *texts;         /* of *out */
  sm_error *err;
  sm_status status;        /* the first failure stays */
} foreign_file;

/* foreign_names.c */
typedef enum { FOREIGN_UNKNOWN, FOREIGN_TIMM, FOREIGN_HF, FOREIGN_SWIN } foreign_layout;
/* Anchors: names that every backbone of a layout has, NULL-terminated. */
extern const char *const sm_foreign_anchors[];
foreign_layout sm_foreign_layout(const foreign_file *);
void sm_foreign_map(foreign_file *, foreign_layout);
/* Among the mapped tensors; NULL: there is none. */
sm_st_tensor *sm_foreign_find(const foreign_file *, const char *fmt, ...) SM_PRINTF(2, 3);
/* A tensor under the prefix in the file itself. */
const sm_st_tensor *sm_foreign_raw(const foreign_file *, const char *fmt, ...) SM_PRINTF(2, 3);
void sm_foreign_option(foreign_file *, const char *name, const char *fmt, ...) SM_PRINTF(3, 4);
void sm_foreign_refuse(foreign_file *, const char *what, const char *hint);

/* foreign_vit.c, foreign_swin.c */
void sm_foreign_vit(foreign_file *, foreign_layout);
void sm_foreign_swin(foreign_file *);

#endif

/* kind.c — the table of plugin kinds, and the byte by which a second copy of libsmalti is found out. */
#include <string.h>

#include "kind.h"

const char sm_core_identity = 1;

#define REQUIRED(T, field) \
  { #field, offsetof(T, field), true }
#define OPTIONAL(T, field) \
  { #field, offsetof(T, field), false }
#define END \
  { NULL, 0, false }

static const sm_callback backbone_calls[] = {REQUIRED(sm_backbone_ops, spec),
                                             REQUIRED(sm_backbone_ops, declare),
                                             REQUIRED(sm_backbone_ops, build), END};
static const sm_callback head_calls[] = {REQUIRED(sm_head_ops, declare), REQUIRED(sm_head_ops, features),
                                         REQUIRED(sm_head_ops, logits), REQUIRED(sm_head_ops, out_dim), END};
static const sm_callback masker_calls[] = {REQUIRED(sm_masker_ops, max_ratio),
                                           OPTIONAL(sm_masker_ops, start_epoch),
                                           REQUIRED(sm_masker_ops, draw), END};
static const sm_callback tokenizer_calls[] = {
    REQUIRED(sm_tokenizer_ops, spec),    OPTIONAL(sm_tokenizer_ops, declare),
    REQUIRED(sm_tokenizer_ops, build),   OPTIONAL(sm_tokenizer_ops, build_update),
    OPTIONAL(sm_tokenizer_ops, prepare), OPTIONAL(sm_tokenizer_ops, declare_frozen),
    OPTIONAL(sm_tokenizer_ops, load),    OPTIONAL(sm_tokenizer_ops, fit), END};
static const sm_callback loss_calls[] = {REQUIRED(sm_loss_ops, spec),    OPTIONAL(sm_loss_ops, max_pairs),
                                         REQUIRED(sm_loss_ops, pairs),   REQUIRED(sm_loss_ops, build),
                                         OPTIONAL(sm_loss_ops, prepare), END};
static const sm_callback dataset_calls[] = {
    REQUIRED(sm_dataset_ops, open),    REQUIRED(sm_dataset_ops, count),
    REQUIRED(sm_dataset_ops, label),   REQUIRED(sm_dataset_ops, name),
    REQUIRED(sm_dataset_ops, classes), REQUIRED(sm_dataset_ops, class_name),
    REQUIRED(sm_dataset_ops, read),    REQUIRED(sm_dataset_ops, hash),
    OPTIONAL(sm_dataset_ops, borrow),  END};
static const sm_callback evaluation_calls[] = {REQUIRED(sm_evaluation_ops, run),
                                               OPTIONAL(sm_evaluation_ops, wants), END};
static const sm_callback objective_calls[] = {
    REQUIRED(sm_objective_ops, spec),       REQUIRED(sm_objective_ops, declare),
    REQUIRED(sm_objective_ops, build),      OPTIONAL(sm_objective_ops, prepare),
    OPTIONAL(sm_objective_ops, measure),    OPTIONAL(sm_objective_ops, report),
    OPTIONAL(sm_objective_ops, build_show), OPTIONAL(sm_objective_ops, show), END};

static const sm_kind_row rows[SM_KIND_END] = {
    [SM_BACKBONE] = {"backbone", sizeof(sm_backbone_ops), backbone_calls},
    [SM_HEAD] = {"head", sizeof(sm_head_ops), head_calls},
    [SM_MASKER] = {"masker", sizeof(sm_masker_ops), masker_calls},
    [SM_TOKENIZER] = {"tokenizer", sizeof(sm_tokenizer_ops), tokenizer_calls},
    [SM_LOSS] = {"loss", sizeof(sm_loss_ops), loss_calls},
    [SM_DATASET] = {"dataset", sizeof(sm_dataset_ops), dataset_calls},
    [SM_EVALUATION] = {"evaluation", sizeof(sm_evaluation_ops), evaluation_calls},
    [SM_OBJECTIVE] = {"objective", sizeof(sm_objective_ops), objective_calls},
};

const sm_kind_row *sm_kind_row_of(uint32_t kind) {
  return kind > 0 && kind < SM_KIND_END ? &rows[kind] : NULL;
}

const char *sm_kind_name(sm_kind kind) {
  const sm_kind_row *row = sm_kind_row_of((uint32_t)kind);
  return row ? row->name : "unknown kind";
}

sm_kind sm_kind_named(const char *name) {
  for (uint32_t k = 1; k < SM_KIND_END; k++) {
    size_t n = strlen(rows[k].name);
    if (strncmp(name, rows[k].name, n) != 0) continue;
    const char *rest = name + n;
    if (!*rest || strcmp(rest, "s") == 0 || (k == SM_LOSS && strcmp(rest, "es") == 0)) return (sm_kind)k;
  }
  return (sm_kind)0;
}

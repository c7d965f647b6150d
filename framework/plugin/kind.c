/* kind.c — the table of plugin kinds, and the byte by which a second copy of libsmalti is found out. */
#include <string.h>

#include "kind.h"

const char sm_core_identity = 1;

#define CALL(KIND, NAME) {#NAME, offsetof(sm_##KIND##_ops, NAME)}
#define CALLS(...) ((const sm_callback[]){__VA_ARGS__, {NULL, 0}})

static const sm_kind_row rows[SM_KIND_END] = {
    [SM_BACKBONE] = {"backbone", CALLS(CALL(backbone, spec), CALL(backbone, declare), CALL(backbone, build))},
    [SM_HEAD] = {"head",
                 CALLS(CALL(head, declare), CALL(head, features), CALL(head, logits), CALL(head, out_dim))},
    [SM_MASKER] = {"masker", CALLS(CALL(masker, max_ratio), CALL(masker, draw))},
    [SM_TOKENIZER] = {"tokenizer", CALLS(CALL(tokenizer, spec), CALL(tokenizer, build))},
    [SM_LOSS] = {"loss", CALLS(CALL(loss, spec), CALL(loss, pairs), CALL(loss, build))},
    [SM_DATASET] = {"dataset", CALLS(CALL(dataset, open), CALL(dataset, count), CALL(dataset, label),
                                     CALL(dataset, name), CALL(dataset, classes), CALL(dataset, class_name),
                                     CALL(dataset, read), CALL(dataset, hash))},
    [SM_EVALUATION] = {"evaluation", CALLS(CALL(evaluation, run))},
    [SM_OBJECTIVE] = {"objective",
                      CALLS(CALL(objective, spec), CALL(objective, declare), CALL(objective, build))},
};

const sm_kind_row *sm_kind_row_of(uint32_t kind) {
  return kind > 0 && kind < SM_KIND_END ? &rows[kind] : NULL;
}

const char *sm_kind_name(sm_kind kind) {
  const sm_kind_row *row = sm_kind_row_of((uint32_t)kind);
  return row ? row->name : "unknown kind";
}

const char *sm_kind_article(sm_kind kind) { return strchr("aeiou", sm_kind_name(kind)[0]) ? "an" : "a"; }

sm_kind sm_kind_named(const char *name) {
  for (uint32_t k = 1; k < SM_KIND_END; k++) {
    size_t n = strlen(rows[k].name);
    if (strncmp(name, rows[k].name, n) != 0) continue;
    const char *rest = name + n;
    if (!*rest || !strcmp(rest, "s") || (k == SM_LOSS && !strcmp(rest, "es"))) return (sm_kind)k;
  }
  return (sm_kind)0;
}

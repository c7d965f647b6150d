/* alike.c — see alike.h. */
#include "alike.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "framework/tensor/kernels.h"

void sm_like_text(sm_likeness *like, const char *what, const char *hint, const char *text) {
  if (like->n == SM_LIKE_MOST) return;
  like->of[like->n].what = what, like->of[like->n].hint = hint;
  snprintf(like->of[like->n++].text, sizeof like->of[0].text, "%s", text);
}

void sm_like_hash(sm_likeness *like, const char *what, const char *hint, uint64_t hash) {
  char text[24];
  snprintf(text, sizeof text, "%016" PRIx64, hash);
  sm_like_text(like, what, hint, text);
}

void sm_like_program(sm_likeness *like, const char *isa) {
  char core[64];
  sm_like_text(like, "is smalti", "install the same smalti on all machines", sm_version());
  sm_like_text(like, "computes with",
               "give all ranks the same kernels, which the oldest processor has: --isa avx2, say, or baseline", isa);
  sm_like_text(like, "has OpenBLAS compute as on",
               "give all ranks that of the oldest processor, in their environment: OPENBLAS_CORETYPE=Haswell, say",
               sm_products_text(isa, core, sizeof core));
}

sm_status sm_alike(sm_ranks *ranks, const sm_likeness *own, sm_status status, sm_error *err) {
  sm_likeness first = *own;
  status = sm_ranks_agree(ranks, status, err);
  if (!status) status = sm_ranks_broadcast(ranks, 0, &first, sizeof first, err);
  if (status) return status;
  for (int i = 0; !status && i < own->n; i++) {
    char name[128];
    if (!strcmp(own->of[i].text, first.of[i].text)) continue;
    sm_fail(err, SM_EINVAL, "it %s %s, but %s %s", own->of[i].what, own->of[i].text,
            sm_ranks_name(ranks, 0, name, sizeof name), first.of[i].text);
    status = sm_hint(err, "%s", own->of[i].hint);
  }
  return sm_ranks_agree(ranks, status, err);
}

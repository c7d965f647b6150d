/* alike.h — what must be the same on all ranks that work together, or they would come to other bits. A rank says it in
 * texts, with words for who has another one than rank 0: "rank 2 (node7): it computes with avx2, but rank 0 (node1)
 * avx512", and what cures it. */
#ifndef SM_RECIPE_ALIKE_H
#define SM_RECIPE_ALIKE_H

#include "framework/ranks/ranks.h"

enum { SM_LIKE_MOST = 12 };
typedef struct sm_likeness {
  struct {
    const char *what, *hint; /* borrowed */
    char text[64];
  } of[SM_LIKE_MOST];
  int n;
} sm_likeness;

void sm_like_text(sm_likeness *, const char *what, const char *hint, const char *text);
void sm_like_hash(sm_likeness *, const char *what, const char *hint, uint64_t);
/* The version of smalti, the kernels by this name, and what multiplies for them. */
void sm_like_program(sm_likeness *, const char *isa);
/* Whether all have said the same; with what became of saying it. Every rank calls it, with as many texts. */
sm_status sm_alike(sm_ranks *, const sm_likeness *, sm_status, sm_error *);

#endif

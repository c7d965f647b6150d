/* framework/tensor/onednn.h — private: one product of matrices by oneDNN, on the thread that calls. Built where configure was
 * told --with-onednn.
 *
 * oneDNN keeps what it compiles for a shape; each thread has its own, dropped when the thread ends. */
#ifndef SM_ONEDNN_H
#define SM_ONEDNN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* c (m, n) = op(a) op(b), row-major, summed in f32: op(a) is (m, k), op(b) is (k, n); lda, ldb, ldc elements lie between the
 * rows of what is in memory. short_operands: a and b are bf16, else f32. */
typedef struct sm_onednn_shape {
  int64_t m, n, k, lda, ldb, ldc;
  bool ta, tb, short_operands;
} sm_onednn_shape;
/* False: oneDNN has no memory, or no such product; nothing was written. Any thread. */
bool sm_onednn_product(const sm_onednn_shape *, const void *a, const void *b, float *c);

/* What oneDNN finds in this processor. */
bool sm_onednn_has_bf16(void);   /* instructions for bf16: short_operands may be asked for */
bool sm_onednn_has_matrix(void); /* units that multiply matrices of bf16 (AMX) */
/* "oneDNN 2.6.3 for avx2" into buf; returns buf. */
const char *sm_onednn_text(char *buf, size_t size);

#endif

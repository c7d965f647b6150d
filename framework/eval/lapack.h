/* lapack.h — private: the routines of LAPACK that measures and figures need. OpenBLAS has them in its library, but
 * Debian's package lacks their headers. Matrices lie column by column; `info` 0 is success; the last arguments are
 * the lengths of the texts. */
#ifndef SM_LAPACK_H
#define SM_LAPACK_H

#include <cblas.h>
#include <stddef.h>

#include "framework/tensor/kernels.h"

/* QR of a (m, n): the triangle on and above the diagonal, reflectors below. */
extern void dgeqrf_(const int *m, const int *n, double *a, const int *lda, double *tau, double *work,
                    const int *lwork, int *info);
/* Singular values of a (m, n), descending; job "N": without vectors. a is overwritten. iwork: 8·min(m, n). */
extern void dgesdd_(const char *job, const int *m, const int *n, double *a, const int *lda, double *s,
                    double *u, const int *ldu, double *vt, const int *ldvt, double *work, const int *lwork,
                    int *iwork, int *info, size_t);
/* Eigenvalues of a v = λ b v (type 1), ascending; a symmetric, b positive definite; both are overwritten. */
extern void dsygv_(const int *type, const char *job, const char *uplo, const int *n, double *a,
                   const int *lda, double *b, const int *ldb, double *w, double *work, const int *lwork,
                   int *info, size_t, size_t);
/* Eigenvalues of a symmetric a, ascending, and with job "V" its eigenvectors in the place of its columns. */
extern void dsyev_(const char *job, const char *uplo, const int *n, double *a, const int *lda, double *w,
                   double *work, const int *lwork, int *info, size_t, size_t);
/* Eigenvalues il … iu (from 1, ascending; range "I") of a symmetric a and with job "V" their vectors, as columns of z.
 * m: how many were found. w (n), work (8·n at least), iwork (5·n), ifail (n). a is overwritten. */
extern void dsyevx_(const char *job, const char *range, const char *uplo, const int *n, double *a, const int *lda,
                    const double *vl, const double *vu, const int *il, const int *iu, const double *abstol, int *m,
                    double *w, double *z, const int *ldz, double *work, const int *lwork, int *iwork, int *ifail,
                    int *info, size_t, size_t, size_t);
/* The same by another method. isuppz: 2·(iu - il + 1). */
extern void dsyevr_(const char *job, const char *range, const char *uplo, const int *n, double *a, const int *lda,
                    const double *vl, const double *vu, const int *il, const int *iu, const double *abstol, int *m,
                    double *w, double *z, const int *ldz, int *isuppz, double *work, const int *lwork, int *iwork,
                    const int *liwork, int *info, size_t, size_t, size_t);

#endif

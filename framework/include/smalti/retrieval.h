/* smalti/retrieval.h — how well a ranking of pictures answers a query, and the features that rankings are made of. */
#ifndef SMALTI_RETRIEVAL_H
#define SMALTI_RETRIEVAL_H

#include <smalti/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- rankings ------------------------------------------------------------------------------------------ */

typedef enum { SM_OTHER, SM_RELEVANT, SM_JUNK } sm_relevance; /* junk is taken out of a ranking */

/* Area under the trapezoids between precision and recall, as revisitop's evaluate.py (compute_ap): with the j-th
 * relevant picture (from 0) at place r (from 0, junk not counted), the sum over j of ½(j/r + (j+1)/(r+1)) / relevant;
 * j/r is 1 where r is 0. `ranking` (n): numbers of pictures, the best first, all of them or only the first ones: a
 * relevant picture that is not among them adds nothing. role: of each picture by its number, a sm_relevance.
 * precision (k_n, may be NULL): the share of relevant pictures among the first min(k, place of the last one found).
 * NaN where `relevant` is 0. */
double sm_ranking_ap(const int64_t *ranking, int64_t n, const uint8_t *role, int64_t relevant, const int64_t *k,
                     int k_n, double *precision);

/* The `most` rows of database (n, dim) nearest to each of `queries` rows by the dot product, best first, equal ones by
 * the lower number: nearest (queries, most); similarity (the same shape) may be NULL. most <= n. Products are float;
 * the same for any number of threads. SM_ENOMEM. [main] */
sm_status sm_nearest_rows(const float *database, int64_t n, const float *query, int64_t queries, int dim,
                          int64_t most, sm_pool *, int64_t *nearest, float *similarity, sm_error *);

/* The same for one query and a few neighbours, by the cosine in double: rows need not have length 1, a row of zeros has
 * cosine 0. `except`: a row that is passed over, -1: none is. nearest (k), cosine (k), which may be NULL; returns how many
 * there are: k, or all. k <= SM_NEAREST_MOST. The values must be finite. [any] */
#define SM_NEAREST_MOST 64
int sm_nearest_by_cosine(const float *query, const float *database, int64_t n, int dim, int64_t except, int k,
                         int64_t *nearest, double *cosine);

/* ---- landmarks ----------------------------------------------------------------------------------------- */

/* What is to be found for one query, as numbers of pictures, 0 … images-1, none of them twice. */
typedef struct sm_landmark {
  bool boxed;
  double box[4]; /* left, top, right, bottom of the landmark in the query, pixels; the query is cut to it */
  const int64_t *easy, *hard, *junk;
  int64_t n_easy, n_hard, n_junk;
} sm_landmark;

/* Revisited Oxford and Paris (Radenovic et al., CVPR 2018). */
typedef struct sm_landmarks {
  int64_t images, queries;
  const char *const *image, *const *query; /* names */
  const sm_landmark *of;                   /* (queries) */
  sm_arena *arena;                         /* owns all of it */
} sm_landmarks;

/* A JSON file as gnd_roxford5k.pkl: {"imlist": [names], "qimlist": [names], "gnd": [{"bbx": [left, top, right, bottom],
 * "easy": [numbers], "hard": [numbers], "junk": [numbers]}, …]}, a gnd for each query; without `bbx` a query is whole.
 * Other keys count for nothing. SM_EFORMAT names place and key. Free with sm_landmarks_free. */
sm_status sm_landmarks_read(const char *path, sm_landmarks *, sm_error *);
void sm_landmarks_free(sm_landmarks *); /* frees and zeroes */

typedef enum { SM_LANDMARKS_EASY, SM_LANDMARKS_MEDIUM, SM_LANDMARKS_HARD } sm_landmark_level;
/* Role of each of n images for sm_ranking_ap; returns how many are relevant. Easy: the easy ones are, hard ones are junk
 * too; medium: easy and hard ones are; hard: the hard ones are, easy ones are junk too. */
int64_t sm_landmark_roles(const sm_landmark *, sm_landmark_level, uint8_t *role, int64_t n);

/* ---- features ------------------------------------------------------------------------------------------ */

/* Generalised mean of x (n, dim): (mean max(x, epsilon)^power)^(1/power), for each column (Radenovic et al., TPAMI
 * 2019; power 3 there, 4 for copies). [any] */
void sm_gem(const float *x, int64_t n, int dim, double power, double epsilon, float *to);
/* Rows to length 1; a row of zeros stays. [any] */
void sm_unit_rows(float *x, int64_t n, int dim);

/* Whitening by the covariance of x (n, dim): row r of `transform` is the eigenvector of the r-th largest eigenvalue
 * over its square root; eigenvalues below 1e-5 of the largest are raised to it. Divided by n. `about_mean` false:
 * of Xᵀ X / n, as DINO's utils.py PCA has it; the mean is kept, and applied, all the same. Decomposed by LAPACK in
 * double, on the calling thread. The largest component of each row of `transform`, of equal ones the first, is positive. */
typedef struct sm_whitening {
  int dim;
  float *mean;       /* (dim) */
  float *transform;  /* (dim, dim) */
  double *eigenvalue; /* (dim), descending, as they are */
} sm_whitening;
/* SM_EINVAL: fewer than two rows, values that are not finite, or all rows alike. Free with sm_whitening_free. [main] */
sm_status sm_whitening_learn(const float *x, int64_t n, int dim, bool about_mean, sm_pool *, sm_whitening *, sm_error *);
/* to (n, dim) = (x - mean) · transformᵀ, rows of length 1. `to` must not be x. SM_ENOMEM. [main] */
sm_status sm_whitening_apply(const sm_whitening *, const float *x, int64_t n, sm_pool *, float *to, sm_error *);
void sm_whitening_free(sm_whitening *); /* frees and zeroes */

/* Kept in a safetensors file ("mean", "transform", "eigenvalue", "probe"), so that others whiten alike. `what`: a line
 * that says of which features, in metadata "whitening.what". probe (dim): the features of a picture that everybody can
 * make, by which the network of the file is told from others. */
sm_status sm_whitening_write(const sm_whitening *, const char *what, const float *probe, const char *path, sm_error *);
/* SM_EFORMAT: damaged, or no such file. SM_EINVAL: of other features, or its probe is farther from this one than a
 * thousandth of its length: of another network. Free with sm_whitening_free. [main] */
sm_status sm_whitening_read(const char *path, const char *what, const float *probe, int dim, sm_whitening *, sm_error *);

#ifdef __cplusplus
}
#endif
#endif

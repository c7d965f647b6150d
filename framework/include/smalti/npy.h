/* smalti/npy.h — NumPy's array files. */
#ifndef SMALTI_NPY_H
#define SMALTI_NPY_H

#include <smalti/base.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SM_NPY_MAX_DIMS 8

/* NumPy's array file, format 1.0, C order, data on a 64-byte border, written whole or not at all.
 * dtype: "F32", "F64", "I64", "I32" or "U8". */
sm_status sm_npy_write(const char *path, const char *dtype, int ndim, const int64_t *shape, const void *data,
                       sm_error *);

typedef struct sm_npy {
  const char *dtype; /* as above; static text */
  int ndim;
  int64_t shape[SM_NPY_MAX_DIMS];
  size_t bytes;
  void *data; /* aligned to 64 bytes */
} sm_npy;
/* Reads what sm_npy_write writes and what numpy.save writes for these types and for booleans, which become
 * U8, in C order; files of more than `limit` bytes are refused. Release with sm_npy_free. */
sm_status sm_npy_read(const char *path, size_t limit, sm_npy *, sm_error *);
void sm_npy_free(sm_npy *);

#ifdef __cplusplus
}
#endif
#endif

/* st_common.c — element types and sizes, the one table that writer, reader and .npy share. */
#include <inttypes.h>
#include <string.h>

#include "st.h"

static const struct {
  const char *name;
  size_t bytes;
} DTYPES[] = {{"F64", 8},  {"I64", 8}, {"U64", 8}, {"F32", 4}, {"I32", 4}, {"U32", 4}, {"F16", 2},
              {"BF16", 2}, {"I16", 2}, {"U16", 2}, {"I8", 1},  {"U8", 1},  {"BOOL", 1}};

const char *sm_st_dtype_name(const char *dtype) {
  for (size_t i = 0; dtype && i < sizeof DTYPES / sizeof *DTYPES; i++)
    if (!strcmp(dtype, DTYPES[i].name)) return DTYPES[i].name;
  return NULL;
}

size_t sm_st_dtype_size(const char *dtype) {
  for (size_t i = 0; dtype && i < sizeof DTYPES / sizeof *DTYPES; i++)
    if (!strcmp(dtype, DTYPES[i].name)) return DTYPES[i].bytes;
  return 0;
}

bool sm_st_size(const char *dtype, int ndim, const int64_t *shape, uint64_t *elements, uint64_t *bytes) {
  uint64_t n = sm_st_dtype_size(dtype);
  /* A zero extent makes the tensor empty, whatever the others are: as in the reference, they must still not
   * overflow before it. */
  for (int i = 0; i < ndim; i++)
    if (shape[i] < 0 || __builtin_mul_overflow(n, (uint64_t)shape[i], &n) || n > INT64_MAX) return false;
  *bytes = n;
  *elements = n / sm_st_dtype_size(dtype);
  return true;
}

char *sm_st_describe(const char *dtype, int ndim, const int64_t *shape, char *buf, size_t size) {
  size_t at = (size_t)snprintf(buf, size, "%s [", dtype);
  for (int i = 0; i < ndim && at < size; i++)
    at += (size_t)snprintf(buf + at, size - at, "%s%" PRId64, i ? ", " : "", shape[i]);
  if (at < size) snprintf(buf + at, size - at, "]");
  return buf;
}

/* st.h — private to this folder: what writer, parser and reader of safetensors share. */
#ifndef SMALTI_FORMATS_SAFETENSORS_H
#define SMALTI_FORMATS_SAFETENSORS_H

#include "framework/formats/formats.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "smalti stores numbers as they lie in memory and needs a little-endian machine"
#endif

#define ST_KEY_FORMAT "smalti.format"
#define ST_KEY_HEADER "smalti.crc32c.header"
#define ST_KEY_TENSOR "smalti.crc32c.tensor." /* followed by the tensor's name */
#define ST_KEY_CRC "smalti.crc32c."
#define ST_DATA_BORDER 64
#define ST_ZEROS "00000000"
#define ST_DIGITS 8

/* The table's own copy of a type's name, or NULL. */
const char *sm_st_dtype_name(const char *dtype);
/* Elements of a shape and bytes of a tensor; false on a negative extent or overflow of 63 bits. */
bool sm_st_size(const char *dtype, int ndim, const int64_t *shape, uint64_t *elements, uint64_t *bytes);
/* "F32 [1, 197, 384]" into buf. */
char *sm_st_describe(const char *dtype, int ndim, const int64_t *shape, char *buf, size_t size);

typedef struct st_pair {
  const char *key, *value;
  size_t value_at; /* where the value's first character lies in the header */
} st_pair;

typedef struct st_header {
  sm_st_tensor *tensors; /* in file order of the JSON text; `offset` is the first data offset */
  size_t count, room;
  st_pair *pairs;
  size_t npairs, pairs_room;
} st_header;

/* Parses `bytes` of JSON text strictly; names go to the arena, arrays are released by sm_st_header_free, also
 * on error. Checks each tensor by itself; whether they tile the data is the reader's business. */
sm_status sm_st_parse_header(const char *json, size_t bytes, sm_arena *, st_header *, sm_error *);
void sm_st_header_free(st_header *);

#endif

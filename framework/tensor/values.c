/* framework/tensor/values.c — element types, and how values get into tensors and out of them again.
 *
 * Nobody outside framework/tensor holds a pointer to elements: what is read is copied, and converted where
 * the types differ. Every conversion goes through a double, which holds each value of each type exactly. */
#include <string.h>

#include "backend.h"

size_t sm_dtype_size(sm_dtype d) {
  static const size_t size[SM_DTYPE_COUNT] = {4, 8, 1, 4, 2};
  return size[d];
}
const char *sm_dtype_name(sm_dtype d) {
  static const char *const name[SM_DTYPE_COUNT] = {"F32", "F64", "U8", "I32", "BF16"};
  return name[d];
}

double sm_bf16_value(uint16_t x) {
  uint32_t bits = (uint32_t)x << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return (double)value;
}

/* To nearest, halves to even; what is not a number stays so. */
static uint16_t values_bf16(double x) {
  float value = (float)x;
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  if (value != value) return (uint16_t)(bits >> 16 | 0x40u);
  return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

double sm_value_at(const void *data, sm_dtype dtype, int64_t i) {
  switch (dtype) {
    case SM_F32:
      return (double)((const float *)data)[i];
    case SM_F64:
      return ((const double *)data)[i];
    case SM_I32:
      return ((const int32_t *)data)[i];
    case SM_BF16:
      return sm_bf16_value(((const uint16_t *)data)[i]);
    default:
      return ((const uint8_t *)data)[i];
  }
}

static void values_set(void *data, sm_dtype dtype, int64_t i, double value) {
  switch (dtype) {
    case SM_F32:
      ((float *)data)[i] = (float)value;
      break;
    case SM_F64:
      ((double *)data)[i] = value;
      break;
    case SM_I32:
      ((int32_t *)data)[i] = (int32_t)value;
      break;
    case SM_BF16:
      ((uint16_t *)data)[i] = values_bf16(value);
      break;
    default:
      ((uint8_t *)data)[i] = (uint8_t)value;
      break;
  }
}

static void values_convert(void *to, sm_dtype to_type, const void *from, sm_dtype from_type, int64_t n) {
  for (int64_t i = 0; i < n; i++) values_set(to, to_type, i, sm_value_at(from, from_type, i));
}

/* ---- memory of back ends ---------------------------------------------------------------------------- */

enum { PART = 512 }; /* elements converted at once */

void sm_values_write(const sm_backend *b, void *to, sm_dtype type, int64_t n, const void *from,
                     sm_dtype from_type) {
  size_t each = sm_dtype_size(type), given = sm_dtype_size(from_type);
  double part[PART];
  if (type == from_type && n > 0) b->write(to, from, (size_t)n * each);
  for (int64_t i = 0, some; type != from_type && i < n; i += some) {
    some = n - i < PART ? n - i : PART;
    values_convert(part, type, (const char *)from + (size_t)i * given, from_type, some);
    b->write((char *)to + (size_t)i * each, part, (size_t)some * each);
  }
}

void sm_values_read(const sm_backend *b, const void *from, sm_dtype type, int64_t n, void *to,
                    sm_dtype to_type) {
  size_t each = sm_dtype_size(type), wanted = sm_dtype_size(to_type);
  double part[PART];
  if (type == to_type && n > 0) b->read(from, to, (size_t)n * each);
  for (int64_t i = 0, some; type != to_type && i < n; i += some) {
    some = n - i < PART ? n - i : PART;
    b->read((const char *)from + (size_t)i * each, part, (size_t)some * each);
    values_convert((char *)to + (size_t)i * wanted, to_type, part, type, some);
  }
}

void sm_values_fill(const sm_backend *b, void *to, sm_dtype type, int64_t n, double value) {
  size_t each = sm_dtype_size(type);
  double part[PART];
  if (value == 0) {
    b->clear(to, (size_t)n * each);
    return;
  }
  for (int64_t i = 0; i < n && i < PART; i++) values_set(part, type, i, value);
  for (int64_t i = 0; i < n; i += PART)
    b->write((char *)to + (size_t)i * each, part, (size_t)(n - i < PART ? n - i : PART) * each);
}

/* ---- tensors ------------------------------------------------------------------------------------------ */

static void *values_from(const sm_tensor *t, int64_t first) {
  return t->plan->data ? (char *)t->plan->data + (size_t)first * sm_dtype_size(t->dtype) : NULL;
}

static void values_write(sm_tensor *t, int64_t first, int64_t n, const void *from, sm_dtype type) {
  void *to = values_from(t, first);
  if (to) sm_values_write(sm_backend_of(t->device), to, t->dtype, n, from, type);
}

static void values_read(const sm_tensor *t, int64_t first, int64_t n, void *to, sm_dtype type) {
  const void *from = values_from(t, first);
  if (from) sm_values_read(sm_backend_of(t->device), from, t->dtype, n, to, type);
  else
    for (int64_t i = 0; i < n; i++) values_set(to, type, i, sm_get(t, first + i));
}

void sm_write(sm_tensor *t, int64_t first, int64_t n, const float *from) {
  values_write(t, first, n, from, SM_F32);
}
void sm_write_f64(sm_tensor *t, int64_t first, int64_t n, const double *from) {
  values_write(t, first, n, from, SM_F64);
}
void sm_write_i32(sm_tensor *t, int64_t first, int64_t n, const int32_t *from) {
  values_write(t, first, n, from, SM_I32);
}
void sm_write_u8(sm_tensor *t, int64_t first, int64_t n, const uint8_t *from) {
  values_write(t, first, n, from, SM_U8);
}
void sm_fill(sm_tensor *t, int64_t first, int64_t n, double value) {
  void *to = values_from(t, first);
  if (to) sm_values_fill(sm_backend_of(t->device), to, t->dtype, n, value);
}

void sm_read(const sm_tensor *t, int64_t first, int64_t n, float *to) {
  values_read(t, first, n, to, SM_F32);
}
void sm_read_f64(const sm_tensor *t, int64_t first, int64_t n, double *to) {
  values_read(t, first, n, to, SM_F64);
}
void sm_read_i32(const sm_tensor *t, int64_t first, int64_t n, int32_t *to) {
  values_read(t, first, n, to, SM_I32);
}

double sm_get(const sm_tensor *t, int64_t i) {
  double value;
  if (!t->plan->data) return i == 0 ? t->plan->initial : 0;
  sm_read_f64(t, i, 1, &value);
  return value;
}
void sm_put(sm_tensor *t, double value) {
  t->plan->initial = value;
  sm_fill(t, 0, 1, value);
}

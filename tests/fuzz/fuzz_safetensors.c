/* fuzz_safetensors.c — safetensors files, read completely: each tensor lies in the file and is as long as
 * its shape says. */
#include <string.h>

#include <smalti/safetensors.h>

#include "fuzz.h"

static void safetensors_read(const sm_st_reader *file, size_t size) {
  const char *key, *value;
  for (size_t i = 0; i < sm_st_count(file); i++) {
    const sm_st_tensor *t = sm_st_at(file, i);
    FUZZ_MUST(t && t->ndim >= 0 && t->ndim <= SM_ST_MAX_DIMS && t->bytes <= size);
    FUZZ_MUST(t->bytes == t->elements * sm_st_dtype_size(t->dtype));
    FUZZ_MUST(sm_st_find(file, t->name) == t);
    fuzz_touch(t->data, t->bytes);
  }
  FUZZ_MUST(sm_st_at(file, sm_st_count(file)) == NULL);
  for (size_t i = 0; sm_st_metadata_at(file, i, &key, &value); i++) {
    FUZZ_MUST(sm_st_get(file, key) != NULL);
    fuzz_touch(value, strlen(value));
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  sm_error err = {0};
  sm_st_reader *file = sm_st_open(fuzz_file("file.safetensors", data, size), &err);
  FUZZ_MUST(file || *err.message);
  if (!file) return 0;
  safetensors_read(file, size);
  sm_st_verify(file, &err);
  sm_st_close(file);
  return 0;
}

/* fuzz_pth.c — files of PyTorch, read completely, and looked at as weights of another program: each tensor is as
 * long as its shape says, and what is read is in proportion to the file. */
#include <string.h>

#include "framework/models/foreign.h"
#include "fuzz.h"

static void pth_read(const sm_st_reader *file) {
  const sm_st_tensor *t;
  const char *key, *value;
  for (size_t i = 0; (t = sm_st_at(file, i)); i++) {
    FUZZ_MUST(t->ndim >= 0 && t->ndim <= SM_ST_MAX_DIMS);
    FUZZ_MUST(t->bytes == t->elements * sm_st_dtype_size(t->dtype));
    FUZZ_MUST(sm_st_find(file, t->name) == t);
    fuzz_touch(t->data, t->bytes);
  }
  for (size_t i = 0; sm_st_metadata_at(file, i, &key, &value); i++) fuzz_touch(value, strlen(value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  sm_error err = {0};
  sm_foreign foreign = {0};
  const char *path = fuzz_file("file.pth", data, size);
  sm_st_reader *file = sm_st_open(path, &err);
  FUZZ_MUST(file || *err.message);
  if (!file) return 0;
  pth_read(file);
  sm_st_verify(file, &err);
  sm_st_close(file);
  sm_arena *texts = sm_arena_new("fuzz");
  if (texts && (file = sm_foreign_open(path, NULL, SM_NET_AUTO, texts, &foreign, &err))) pth_read(file);
  else FUZZ_MUST(!texts || *err.message);
  sm_st_close(file);
  sm_text_free(&foreign.text);
  sm_arena_free(texts);
  return 0;
}

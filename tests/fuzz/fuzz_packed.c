/* fuzz_packed.c — packed files: tables, names and pixels of every picture. The mutator mends length and
 * checksum, else all mutations would end there. */
#include <string.h>

#include "framework/formats/packed_format.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  sm_error err = {0};
  const char *path = fuzz_file("file.pack", data, size);
  sm_packed *file = sm_packed_open(path, &err);
  FUZZ_MUST(file || *err.message);
  if (!file) return 0;
  FUZZ_MUST(sm_packed_is(path));
  for (int i = 0; i < sm_packed_classes(file); i++)
    fuzz_touch(sm_packed_class_name(file, i), strlen(sm_packed_class_name(file, i)));
  for (int64_t i = 0; i < sm_packed_count(file); i++) {
    sm_packed_picture about = sm_packed_at(file, i);
    FUZZ_MUST(about.label >= -1 && about.label < sm_packed_classes(file));
    const uint8_t *rgb = sm_packed_pixels(file, i, &err);
    fuzz_touch(about.name, strlen(about.name));
    if (rgb) fuzz_touch(rgb, (size_t)3 * (size_t)about.width * (size_t)about.height);
  }
  sm_packed_hash(file);
  sm_packed_close(file);
  return 0;
}

/* ---- the mutator --------------------------------------------------------------------------------------- */

static void packed_mend(uint8_t *data, size_t size) {
  packed_header h;
  if (size < sizeof h) return;
  memcpy(&h, data, sizeof h);
  h.file_bytes = size, h.crc = 0;
  if (h.index_at <= size) {
    uint32_t crc = sm_crc32c(0, &h, sizeof h);
    h.crc = sm_crc32c(crc, data + h.index_at, size - (size_t)h.index_at);
  }
  memcpy(data, &h, sizeof h);
}

#ifdef SM_FUZZER
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, most);
  if (seed % 16) packed_mend(data, size);
  return size;
}
#else
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
  (void)most, (void)seed;
  packed_mend(data, size);
  return size;
}
#endif

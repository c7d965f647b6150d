/* fuzz_listing.c — an index file, and tar shards: each input as both. The mutator mends the length and the
 * checksum of an index, and the checksums of heads, else most mutations would end there. */
#include <string.h>
#include <sys/stat.h>

#include "framework/data/listing.h"
#include "framework/data/listing_format.h"
#include "framework/formats/tar.h"
#include "fuzz.h"

static void listing_use(sm_listing *l) {
  sm_error err = {0};
  sm_text path = {0};
  sm_listing_by by = sm_listing_found(l) % 2 ? SM_LISTING_BY_FOLDER : SM_LISTING_BY_NOTHING;
  if (sm_listing_numbered(l)) by = SM_LISTING_BY_NUMBER;
  const sm_status status = sm_listing_arrange(l, by, 0, &err);
  FUZZ_MUST(!status || (by == SM_LISTING_BY_NUMBER && status == SM_EFORMAT && *err.message));
  if (status) return;
  FUZZ_MUST(sm_listing_count(l) == sm_listing_found(l));
  for (int64_t i = 0; i < sm_listing_count(l); i++) {
    const sm_listing_place p = sm_listing_at(l, i);
    FUZZ_MUST(p.bytes >= -1 && p.offset >= 0 && p.shard < sm_listing_shards(l));
    FUZZ_MUST(sm_listing_label(l, i) >= -1 && sm_listing_label(l, i) < sm_listing_classes(l));
    sm_listing_path(l, i, &path);
    FUZZ_MUST(!strncmp(path.s, fuzz_folder(), strlen(fuzz_folder())) && !strstr(path.s, "/.."));
  }
  sm_text_free(&path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  sm_error err = {0};
  /* the index of a folder that was never changed, whatever the input says of times */
  const char *file = fuzz_file("pictures.smalti-index", data, size);
  sm_listing *l = sm_listing_load(fuzz_path("pictures"), file, &err);
  FUZZ_MUST(l || (*err.message && *err.place));
  if (l) listing_use(l);
  sm_listing_free(l);

  memset(&err, 0, sizeof err);
  l = sm_listing_tar(fuzz_file("pictures.tar", data, size), &err);
  FUZZ_MUST(l || *err.message);
  if (l) listing_use(l);
  sm_listing_free(l);
  return 0;
}

/* ---- the mutator --------------------------------------------------------------------------------------- */

static void listing_mend(uint8_t *data, size_t size) {
  listing_header h;
  if (size >= sizeof h && !memcmp(data, LISTING_MAGIC, 8)) {
    memcpy(&h, data, sizeof h);
    h.file_bytes = size, h.crc = 0;
    h.crc = sm_crc32c(sm_crc32c(0, &h, sizeof h), data + sizeof h, size - sizeof h);
    memcpy(data, &h, sizeof h);
    return;
  }
  for (size_t at = 0; at + SM_TAR_BLOCK <= size; at += SM_TAR_BLOCK) {
    unsigned sum = 8 * ' ';
    if (memcmp(data + at + 257, "ustar", 5) != 0) continue;
    for (size_t i = 0; i < SM_TAR_BLOCK; i++) sum += i >= 148 && i < 156 ? 0 : data[at + i];
    char text[9];
    snprintf(text, sizeof text, "%06o", sum);
    memcpy(data + at + 148, text, 7);
  }
}

#ifdef SM_FUZZER
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, most);
  if (seed % 16) listing_mend(data, size);
  return size;
}
#else
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
  (void)most, (void)seed;
  listing_mend(data, size);
  return size;
}
#endif

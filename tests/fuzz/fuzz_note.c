/* fuzz_note.c — the version note of a plugin, read before anything of the file is mapped. */
#include "framework/plugin/note.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  sm_error err = {0};
  sm_status status = sm_note_check(fuzz_file("plugin.so", data, size), &err);
  FUZZ_MUST(status == SM_OK || *err.message);
  return 0;
}

/* fuzz_report.c — run folders, as `report` and `compare` read them. An input is metrics.jsonl and, behind
 * headings, the other files of a run. Whatever stands in them, the pages hold no script. */
#include <string.h>

#include "framework/report/report.h"
#include "fuzz.h"

static void report_harmless(const char *path) {
  char *page = NULL;
  size_t size = 0;
  sm_error err;
  FUZZ_MUST(sm_file_get(path, (size_t)64 << 20, &page, &size, &err) == SM_OK && size > 0);
  FUZZ_MUST(strlen(page) == size && !strstr(page, "<script"));
  sm_free(page);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *const name[] = {
      "metrics.jsonl",    "timing.jsonl",      "recipe.yaml", "environment.json",
      "bad-pictures.txt", "evaluations.jsonl", NULL};
  sm_error err = {0};
  fuzz_files(data, size, name);
  sm_status status = sm_report_run(fuzz_folder(), NULL, &err);
  FUZZ_MUST(status == SM_OK || *err.message);
  if (!status) report_harmless(fuzz_path("report.html"));
  const char *const runs[] = {fuzz_folder(), fuzz_folder()};
  status = sm_report_compare(runs, 2, fuzz_path("compare.html"), &err);
  FUZZ_MUST(status == SM_OK || *err.message);
  if (!status) report_harmless(fuzz_path("compare.html"));
  return 0;
}

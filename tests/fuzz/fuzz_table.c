/* fuzz_table.c — table recipes and the jobs they ask for, without doing any. An input is table.yaml and,
 * behind a heading, base.yaml. */
#include <string.h>

#include "framework/table/table.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *const name[] = {"table.yaml", "base.yaml", NULL};
  sm_table_recipe *table = NULL;
  sm_table_jobs *jobs = NULL;
  sm_error err = {0};
  fuzz_files(data, size, name);
  sm_status status = sm_table_recipe_load(&table, fuzz_path(name[0]), &err);
  FUZZ_MUST((status == SM_OK) == (table != NULL));
  FUZZ_MUST(status == SM_OK || *err.message);
  if (!table) return 0;
  const sm_table_options options = {.registry = fuzz_registry(),
                                    .runs = fuzz_path("runs"),
                                    .out = fuzz_path("out"),
                                    .threads = 1,
                                    .look_only = true,
                                    .stale = 600};
  status = sm_table_jobs_new(table, &options, &jobs, &err);
  FUZZ_MUST((status == SM_OK) == (jobs != NULL));
  FUZZ_MUST(status == SM_OK || *err.message);
  sm_table_jobs_free(jobs);
  sm_table_recipe_free(table);
  return 0;
}

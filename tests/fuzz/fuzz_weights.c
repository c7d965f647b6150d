/* fuzz_weights.c — a safetensors file as weights: what it says of itself, its tensors loaded into a set,
 * and, as the only checkpoint of a run, the state from which training would go on, up to the logs cut back
 * to it. */
#include <string.h>

#include "framework/models/checkpoint.h"
#include "framework/models/weights.h"
#include "framework/train/folder.h"
#include "fuzz.h"

/* A table of positions, a row that other programs do not know, a matrix and a vector. */
static sm_set *weights_set(const char *name, bool trainable) {
  sm_error err;
  sm_set *set = sm_set_new(name, SM_F32, trainable, &err);
  FUZZ_MUST(set);
  const sm_params p = {.set = set, .prefix = "backbone."};
  sm_declare_grid(&p, "pos_embed", SM_INIT_ZEROS, 0, 0, 1, 2, 2, 2);
  sm_declare(&p, "mask_token", SM_INIT_ZEROS, 0, SM_ROW_NO_EXPORT, 1, (const int64_t[]){2});
  sm_declare(&p, "fc.weight", SM_INIT_ONES, 0, 0, 2, (const int64_t[]){2, 3});
  sm_declare(&p, "fc.bias", SM_INIT_ZEROS, 0, 0, 1, (const int64_t[]){2});
  FUZZ_MUST(sm_set_seal(set, trainable ? SM_MOMENTS_TWO : SM_MOMENTS_NONE, &err) == SM_OK);
  FUZZ_MUST(sm_set_allocate(set, 0, &err) == SM_OK);
  return set;
}

static void weights_load(const char *path, sm_set *set) {
  static const char *const prefix[] = {"", "student.backbone."}, *const ignore[] = {"head.", NULL};
  sm_error err = {0};
  sm_st_reader *file = sm_st_open(path, &err);
  sm_weights_about about = {0};
  if (!file) return;
  sm_status known = sm_weights_about_read(file, &about, &err);
  for (int i = 0; i < 2; i++) {
    sm_weights_report report = {0};
    const sm_weights_source from = {.file = file,
                                    .prefix = prefix[i],
                                    .ignore = ignore,
                                    .height = known ? 0 : about.height,
                                    .width = known ? 0 : about.width};
    sm_weights_load(&from, set, "backbone.", &report, &err);
    sm_text_free(&report.text);
  }
  sm_st_close(file);
}

static void weights_go_on(const uint8_t *data, size_t size, sm_set *const set[SM_SETS_SAVED]) {
  sm_run_state state = {0};
  sm_error err = {0};
  bool found = false;
  sm_run_folder run = {.lock = -1};
  fuzz_file("checkpoints/step-00000002.safetensors", data, size);
  fuzz_file("metrics.jsonl", "{\"step\":1}\n", 11);
  sm_status status = sm_checkpoint_load_newest(fuzz_path("checkpoints"), set, &state, &found, &err);
  FUZZ_MUST(status == SM_OK || *err.message);
  if (!status && found) {
    FUZZ_MUST(state.step >= 0 && state.metrics_bytes >= 0 && state.n_bad >= 0);
    FUZZ_MUST(state.window_metrics >= 0 && state.window_metrics <= SM_METRICS_MAX);
    strcpy(run.path, fuzz_folder());
    sm_folder_logs(&run, &state, &err);
    sm_folder_close(&run);
    sm_remove_tree(fuzz_path("tensorboard"), NULL);
  }
  sm_run_state_free(&state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  sm_error err;
  sm_set *set[SM_SETS_SAVED] = {weights_set("student", true), weights_set("teacher", false),
                                weights_set("state", false)};
  FUZZ_MUST(sm_mkdirs(fuzz_path("checkpoints"), &err) == SM_OK);
  weights_load(fuzz_file("file.safetensors", data, size), set[SM_SET_TEACHER]);
  weights_go_on(data, size, set);
  for (int i = 0; i < SM_SETS_SAVED; i++) sm_set_free(set[i]);
  return 0;
}

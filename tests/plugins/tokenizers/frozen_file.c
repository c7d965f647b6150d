/* A tokenizer with weights of a file: two prototypes of a patch, 24 floats as they lie in memory. Patches
 * get the number of the one that is more like them. */
#include <stdio.h>

#include <smalti/plugin.h>

enum { PIXELS = 2, NUMBERS = 3 * PIXELS * PIXELS };

typedef struct frozen_file {
  const char *path;
} frozen_file;

static const sm_option options[] = {SM_PATH(frozen_file, path, "path", NULL, "The file with the weights")};
static const sm_own_view own = {.pixels = PIXELS, .std = {1, 1, 1}};

static sm_status spec(const void *self, sm_tokenizer_spec *out, sm_error *err) {
  (void)self, (void)err;
  *out = (sm_tokenizer_spec){.patch = SM_TARGET_IDS, .patch_dim = 2, .own = &own};
  return SM_OK;
}

static void declare_frozen(const void *self, const sm_params *frozen) {
  (void)self;
  sm_declare(frozen, "weight", SM_INIT_ZEROS, 0, 0, 2, (int64_t[]){2, NUMBERS});
}

static sm_status load(void *self, const sm_params *frozen, sm_error *err) {
  const frozen_file *t = self;
  float weight[2 * NUMBERS];
  FILE *file = fopen(t->path, "rb");
  size_t n = file ? fread(weight, sizeof *weight, 2 * NUMBERS, file) : 0;
  if (file) fclose(file);
  if (n == 2 * NUMBERS && sm_params_write(frozen, "weight", 0, 2 * NUMBERS, weight)) return SM_OK;
  sm_fail(err, SM_EIO, "%zu of %d weights", n, 2 * NUMBERS);
  return sm_fail_at(err, t->path, 0, 0);
}

static void build(void *self, sm_graph *g, const sm_tokenizer_env *env, const sm_seen *seen, sm_target *view,
                  sm_target *patch) {
  (void)self, (void)view;
  sm_tensor *x = sm_gather(g, sm_patchify(g, seen->pictures, PIXELS), env->masked);
  sm_tensor *logits = sm_linear(g, x, sm_param(g, &env->frozen, "weight"), NULL);
  *patch = (sm_target){
      .form = SM_TARGET_IDS, .dim = 2, .ids = sm_argmax(g, logits, NULL)};
}

static const sm_tokenizer_ops ops = {
    .spec = spec, .build = build, .declare_frozen = declare_frozen, .load = load};
static const sm_plugin plugin = {.kind = SM_TOKENIZER,
                                 .name = "frozen_file",
                                 .summary = "Two prototypes from a file",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .instance_size = sizeof(frozen_file),
                                 .ops = &ops};
SM_MODULE(&plugin)

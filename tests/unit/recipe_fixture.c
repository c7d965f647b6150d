/* recipe_fixture.c — see the header. The plugins are named like real ones and have fewer options. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "recipe_fixture.h"
#include "framework/plugin/registry_private.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define PLUGIN(kind_, name_, T, table, n, ops_)                                                          \
  {                                                                                                      \
    .kind = kind_, .name = name_,            \
    .summary = "for tests", .version = "1.0", .license = "Apache-2.0", .options = table, .n_options = n, \
    .instance_size = sizeof(T), .ops = ops_                                                              \
  }

/* ---- backbone ------------------------------------------------------------------------------------------ */

static sm_status backbone_spec(const void *self, int height, int width, sm_backbone_spec *spec,
                               sm_error *err) {
  const test_backbone *b = self;
  const int side = (int)b->patch_size;
  spec->dim = (int)b->dim, spec->heads = 1, spec->cell = side;
  spec->rows = height / side, spec->cols = width / side;
  if (height % side == 0 && width % side == 0) return SM_OK;
  sm_fail(err, SM_EINVAL, "views of %d px do not divide into patches of %d px",
          height % side ? height : width, side);
  return sm_hint(err, "choose a multiple");
}
static void backbone_declare(const void *self, int height, int width, const sm_params *p) {
  (void)self, (void)height, (void)width, (void)p;
}
static void backbone_build(const void *self, sm_graph *g, const sm_params *p, const sm_backbone_in *in,
                           sm_backbone_out *out) {
  (void)self, (void)g, (void)p, (void)in, (void)out;
}
static const sm_backbone_ops backbone_ops = {
    .spec = backbone_spec, .declare = backbone_declare, .build = backbone_build};
static const sm_option backbone_options[] = {
    SM_INT(test_backbone, dim, "dim", "192", 1, 4096, NULL, "width"),
    SM_INT(test_backbone, patch_size, "patch_size", "16", 1, 256, "px", "side of a patch"),
    SM_FLOAT(test_backbone, drop_path, "drop_path", "0", 0, 0.99, NULL, "stochastic depth"),
};

/* ---- head ---------------------------------------------------------------------------------------------- */

typedef struct test_head {
  int64_t out_dim;
} test_head;
static void head_declare(const void *self, const sm_head *h) {
  (void)self, (void)h;
}
static sm_tensor *head_apply(void *self, sm_graph *g, const sm_head *h, sm_tensor *x, sm_site site) {
  (void)self, (void)g, (void)h, (void)site;
  return x;
}
static int head_dim(const void *self, sm_site site, int dim) {
  (void)site, (void)dim;
  return (int)((const test_head *)self)->out_dim;
}
static const sm_head_ops head_ops = {.affine = 1,
                                     .declare = head_declare,
                                     .features = head_apply,
                                     .logits = head_apply,
                                     .out_dim = head_dim};
static const sm_option head_options[] = {
    SM_INT(test_head, out_dim, "out_dim", "0", 0, 1048576, NULL, "number of logits; 0: the target's size"),
};

/* ---- maskers ------------------------------------------------------------------------------------------- */

static double masker_most(const void *self) {
  const test_masker *m = self;
  double most = 0;
  for (int i = 0; i < m->ratio.n; i++) most = m->ratio.v[i] > most ? m->ratio.v[i] : most;
  return most;
}
static int64_t masker_start(const void *self) { return ((const test_masker *)self)->start_epoch; }
static void masker_draw(const void *self, const sm_mask_request *q, uint8_t *mask) {
  (void)self, (void)q, (void)mask;
}
static double none_most(const void *self) {
  (void)self;
  return 0;
}
static const sm_masker_ops masker_ops = {
    .max_ratio = masker_most, .start_epoch = masker_start, .draw = masker_draw};
static const sm_masker_ops attention_ops = {
    .needs_attention = 1, .max_ratio = masker_most, .start_epoch = masker_start, .draw = masker_draw};
static const sm_masker_ops none_ops = {.max_ratio = none_most, .draw = masker_draw};
static const sm_option masker_options[] = {
    SM_FLOATS(test_masker, ratio, "ratio", "0.3", 0, 1, NULL, "share of hidden patches"),
    SM_INTS(test_masker, sizes, "sizes", "[4, 16]", 1, 100, "patches", "smallest and largest block"),
    SM_INT(test_masker, start_epoch, "start_epoch", "0", 0, 1e6, "epochs", "no masks before it"),
};

/* ---- tokenizers ---------------------------------------------------------------------------------------- */

static sm_status online_spec(const void *self, sm_tokenizer_spec *spec, sm_error *err) {
  const test_tokenizer *t = self;
  (void)err;
  spec->view = SM_TARGET_DISTRIBUTION;
  spec->patch = t->labels ? SM_TARGET_IDS : SM_TARGET_DISTRIBUTION;
  spec->needs_head = spec->needs_teacher = true;
  spec->ema = &t->momentum;
  spec->whole_step = t->balanced;
  return SM_OK;
}
static sm_status dvae_spec(const void *self, sm_tokenizer_spec *spec, sm_error *err) {
  (void)self, (void)err;
  spec->patch = SM_TARGET_IDS;
  spec->patch_dim = 8192;
  return SM_OK;
}
static sm_status pixel_spec(const void *self, sm_tokenizer_spec *spec, sm_error *err) {
  (void)self, (void)err;
  spec->patch = SM_TARGET_VECTORS;
  spec->patch_dim = 768;
  return SM_OK;
}
static void tokenizer_build(void *self, sm_graph *g, const sm_tokenizer_env *env, const sm_seen *seen,
                            sm_target *view, sm_target *patch) {
  (void)self, (void)g, (void)env, (void)seen, (void)view, (void)patch;
}
static const sm_tokenizer_ops online_ops = {.spec = online_spec, .build = tokenizer_build};
static const sm_tokenizer_ops dvae_ops = {.spec = dvae_spec, .build = tokenizer_build};
static const sm_tokenizer_ops pixel_ops = {.spec = pixel_spec, .build = tokenizer_build};
static const char *const labels[] = {"soft", "hard", NULL};
static const sm_option online_options[] = {
    SM_SCHEDULE(test_tokenizer, momentum, "momentum", "{from: 0.996, to: 1, shape: cosine, per: step}", 0, 1,
                NULL, "of the teacher"),
    SM_SCHEDULE(test_tokenizer, temperature, "temperature",
                "{from: 0.04, to: 0.07, shape: linear, per: epoch, epochs: 30}", 1e-4, 100, NULL,
                "of the targets"),
    SM_CHOICE(test_tokenizer, labels, "labels", "soft", labels, "of the patches"),
    SM_BOOL(test_tokenizer, centering, "centering", "true", "subtract the mean"),
    SM_BOOL(test_tokenizer, balanced, "balanced", "false", "look at all rows of a step"),
};

/* ---- losses -------------------------------------------------------------------------------------------- */

static sm_status cls_spec(const void *self, sm_loss_spec *spec, sm_error *err) {
  (void)self, (void)err;
  spec->forms = SM_TARGET_DISTRIBUTION, spec->site = SM_SITE_VIEW, spec->local_views = true;
  return SM_OK;
}
static sm_status mim_spec(const void *self, sm_loss_spec *spec, sm_error *err) {
  (void)self, (void)err;
  spec->forms = SM_TARGET_DISTRIBUTION | SM_TARGET_IDS, spec->site = SM_SITE_PATCH;
  return SM_OK;
}
static int64_t cls_pairs(const void *self, const sm_pair_request *r, int64_t predictions) {
  (void)self;
  return predictions * (r->local ? r->globals : r->globals - 1);
}
static void make_pairs(const void *self, const sm_pair_request *r) { (void)self, (void)r; }
static sm_tensor *loss_build(void *self, sm_graph *g, const sm_prediction *p, const sm_target *t,
                             const sm_pairs *q, sm_tensor **stats) {
  (void)self, (void)g, (void)t, (void)q, (void)stats;
  return p->logits;
}
static const sm_loss_ops cls_ops = {
    .spec = cls_spec, .max_pairs = cls_pairs, .pairs = make_pairs, .build = loss_build};
static const sm_loss_ops mim_ops = {.spec = mim_spec, .pairs = make_pairs, .build = loss_build};
static const sm_option loss_options[] = {
    SM_FLOAT(test_loss, weight, "weight", "1", 0, 1e6, NULL, "factor of this loss"),
};

/* ---- data and evaluation ------------------------------------------------------------------------------- */

static sm_status data_open(void *self, sm_error *err) {
  (void)self;
  return sm_fail(err, SM_EINTERNAL, "not in this test");
}
static int64_t data_count(const void *self) {
  (void)self;
  return 0;
}
static int data_label(const void *self, int64_t i) {
  (void)self, (void)i;
  return -1;
}
static const char *data_name(const void *self, int64_t i) {
  (void)self, (void)i;
  return "";
}
static int data_classes(const void *self) {
  (void)self;
  return 0;
}
static const char *data_class(const void *self, int c) { return data_name(self, c); }
static sm_status data_read(const void *self, int64_t i, const sm_image_limits *limits, sm_image *out,
                           sm_error *err) {
  (void)i, (void)limits, (void)out;
  return data_open((void *)self, err);
}
static uint64_t data_hash(const void *self) {
  (void)self;
  return 0;
}
static const sm_dataset_ops data_ops = {.open = data_open,
                                        .count = data_count,
                                        .label = data_label,
                                        .name = data_name,
                                        .classes = data_classes,
                                        .class_name = data_class,
                                        .read = data_read,
                                        .hash = data_hash};
static const sm_option data_options[] = {
    SM_PATH(test_folder, path, "path", NULL, "folder with the pictures"),
    SM_STRING(test_folder, note, "note", "~", "anything"),
};

typedef struct test_knn {
  sm_ints k;
} test_knn;
static sm_status knn_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  (void)x, (void)result;
  return data_open(self, err);
}
static const sm_evaluation_ops knn_ops = {.run = knn_run};
static const sm_option knn_options[] = {SM_INTS(test_knn, k, "k", "20", 1, 1000, NULL, "neighbours")};

static const sm_plugin plugins[] = {
    PLUGIN(SM_BACKBONE, "vit", test_backbone, backbone_options, COUNT(backbone_options), &backbone_ops),
    PLUGIN(SM_HEAD, "projection", test_head, head_options, COUNT(head_options), &head_ops),
    PLUGIN(SM_MASKER, "none", char, NULL, 0, &none_ops),
    PLUGIN(SM_MASKER, "random", test_masker, masker_options, COUNT(masker_options), &masker_ops),
    PLUGIN(SM_MASKER, "attention", test_masker, masker_options, COUNT(masker_options), &attention_ops),
    PLUGIN(SM_MASKER, "blockwise", test_masker, masker_options, COUNT(masker_options), &masker_ops),
    PLUGIN(SM_TOKENIZER, "online_ema", test_tokenizer, online_options, COUNT(online_options), &online_ops),
    PLUGIN(SM_TOKENIZER, "dvae", char, NULL, 0, &dvae_ops),
    PLUGIN(SM_TOKENIZER, "pixels", char, NULL, 0, &pixel_ops),
    PLUGIN(SM_LOSS, "cls_distill", test_loss, loss_options, COUNT(loss_options), &cls_ops),
    PLUGIN(SM_LOSS, "mim", test_loss, loss_options, COUNT(loss_options), &mim_ops),
    PLUGIN(SM_DATASET, "folder", test_folder, data_options, COUNT(data_options), &data_ops),
    PLUGIN(SM_EVALUATION, "knn", test_knn, knn_options, COUNT(knn_options), &knn_ops),
};

const char fixture_recipe[] =
    "smalti: 1\n"
    "data: {train: {folder: {path: train}}, test: {folder: {path: test}}, views: {local: {count: 4, size: "
    "96}}}\n"
    "backbone: {vit: {dim: 384}}\n"
    "head: {projection: {out_dim: 8192}}\n"
    "masker: {blockwise: {ratio: [0, 0.3]}}\n"
    "tokenizer: online_ema\n"
    "losses: {cls: cls_distill, mim: {mim: {weight: 1}}}\n"
    "optimizer: {adamw: {lr: 5e-4}}\n"
    "train: {epochs: 100, batch_size: 1024}\n"
    "evaluate: {knn: {knn: {k: [10, 20]}}}\n";

/* ---- the folder and the registry ----------------------------------------------------------------------- */

static sm_registry *registry;
static char folder[64], before[4096];

int fixture_setup(void **state) {
  sm_error err;
  (void)state;
  unsetenv("SMALTI_RECIPE_PATH");
  setenv("SMALTI_PLUGIN_PATH", "/nonexistent", 1);
  strcpy(folder, "/tmp/smalti-recipe-XXXXXX");
  if (!mkdtemp(folder) || !getcwd(before, sizeof before) || chdir(folder)) return -1;
  registry = sm_registry_new(NULL, &err);
  for (size_t i = 0; registry && i < COUNT(plugins); i++)
    if (sm_registry_add_builtin(registry, &plugins[i], &err)) {
      print_error("%s: %s\n", plugins[i].name, err.message);
      return -1;
    }
  return registry ? 0 : -1;
}

int fixture_teardown(void **state) {
  (void)state;
  sm_registry_free(registry);
  return chdir(before) || sm_remove_tree(folder, NULL) ? -1 : 0;
}

sm_registry *fixture_registry(void) { return registry; }

/* Not sm_file_put: that waits for the disk, thousands of times here. */
void fixture_write(const char *name, const char *text) {
  remove(name); /* some file systems flush a file that is emptied */
  FILE *f = fopen(name, "w");
  if (!f || fputs(text, f) < 0 || fclose(f)) fail_msg("%s cannot be written", name);
}

const char *fixture_error(const char *name, const char *override, char *buf, size_t size) {
  sm_error err;
  sm_recipe *r;
  if (sm_recipe_load(&r, registry, name, override != NULL, &override, &err) == SM_OK) {
    sm_recipe_free(r);
    return "";
  }
  assert_null(r);
  return sm_error_text(&err, buf, size);
}

sm_recipe *fixture_load(const char *name, int n, const char *const *overrides) {
  sm_error err;
  sm_recipe *r;
  char line[2048];
  if (sm_recipe_load(&r, registry, name, n, overrides, &err))
    fail_msg("%s", sm_error_text(&err, line, sizeof line));
  return r;
}

/* test_golden_steps.c — whole training steps beside the reference implementation's: every .safetensors of the
 * golden folder that holds such steps is run through the real plugins and the real step.
 *
 * Compared, as norm of the difference over norm: the logits of step 0 at every position, the gradients and
 * their norms, the centres after each step (2e-4); losses (1e-5); weights of student and teacher after the
 * first and the last step (1e-3); schedules (1e-12). With bf16 products: logits (2e-2), losses (1 %) and
 * gradients (5e-2). Every instruction set of this processor takes its turn. All dimensions come from the
 * file. The file's views are view-major, one tensor a view; ours are picture-major. */
#include <math.h>
#include <cJSON.h>

#include "framework/tensor/kernels.h"

#include "golden.h"
#include "ssl_rig.h"
#include "test.h"

enum { MOST_FILES = 64, OWN_FILES = 4 /* with steps, in the tree */ };

typedef struct code_path {
  const char *isa;
  bool bf16;
} code_path;
static const code_path paths[] = {{"avx512", false},     {"avx2", false},  {"baseline", false},
                                  {"avx512_bf16", true}, {"avx512", true}, {"avx2", true},
                                  {"baseline", true},    {"neon", false},  {"neon", true},
                                  {"avx512_bf16_onednn", true}, {"avx512_onednn", false}, {"avx512_onednn", true},
                                  {"avx2_onednn", false}, {"avx2_onednn", true}};

typedef struct reference {
  golden *file;
  code_path path;
  const char *name;
  const cJSON *config;
  int batch, globals, locals, steps, first;
  ssl_rig rig;
} reference;

static double number(const reference *r, const char *key) { return golden_number(r->config, key); }
static int whole(const reference *r, const char *key) { return (int)number(r, key); }
static bool flag(const reference *r, const char *key) {
  return cJSON_IsTrue(cJSON_GetObjectItem(r->config, key));
}

/* ---- comparing --------------------------------------------------------------------------------------- */

/* Distance of two lists over the norm of the second. Where that is zero: the norm of the first. */
static double relative(const double *got, const double *want, int64_t n) {
  double off = 0, norm = 0;
  for (int64_t i = 0; i < n; i++) {
    off += (got[i] - want[i]) * (got[i] - want[i]);
    norm += want[i] * want[i];
  }
  return norm > 0 ? sqrt(off / norm) : sqrt(off);
}

static void check(const reference *r, const char *what, const double *got, const double *want, int64_t n,
                  double limit) {
  double error = relative(got, want, n);
  if (!(error <= limit))
    fail_msg("%s, %s%s: %s is off by %.3g (limit %.0e)", r->name, r->path.isa,
             r->path.bf16 ? " with bf16" : "", what, error, limit);
}

static double *row_values(reference *r, int set, int row, sm_buffer which) {
  int64_t n = sm_set_row(r->rig.net->set[set], row)->size;
  double *x = malloc((size_t)n * sizeof *x);
  assert_non_null(x);
  for (int64_t i = 0; i < n; i++) x[i] = rig_value(&r->rig, set, row, which, i);
  return x;
}

/* A tensor of the file beside a row of a set. `skip_key`: leave out the middle third, the key bias, which has
 * no gradient in exact arithmetic. */
static void check_row(reference *r, int set, sm_buffer which, const char *row_name, const char *tensor,
                      double limit, bool skip_key) {
  golden_tensor t = golden_get(r->file, tensor);
  int row = rig_row(&r->rig, set, row_name);
  assert_int_equal(t.count, sm_set_row(r->rig.net->set[set], row)->size);
  double *got = row_values(r, set, row, which), *want = golden_doubles(&t);
  for (int64_t i = t.count / 3; skip_key && i < t.count / 3 * 2; i++) got[i] = want[i];
  check(r, tensor, got, want, t.count, limit);
  free(got);
  free(want);
}

static const char *after(const char *text, const char *prefix) {
  size_t n = strlen(prefix);
  return strncmp(text, prefix, n) ? NULL : text + n;
}

static bool ends_in(const char *text, const char *end) {
  size_t n = strlen(text), m = strlen(end);
  return n >= m && !strcmp(text + n - m, end);
}

/* ---- from the file into the objective ---------------------------------------------------------------- */

static const char *sharing(const reference *r, const char *key) {
  return flag(r, key) ? "shared" : "last_separate";
}

static void configure(reference *r) {
  ssl_rig *rig = &r->rig;
  sm_train_config *c = &rig->config;
  golden_tensor fc1 = golden_get(r->file, "student.backbone.blocks.0.mlp.fc1.weight");
  double start = number(r, "warmup_teacher_temp"), patch_start = number(r, "warmup_teacher_patch_temp");
  rig_open(rig, 2);
  c->isa = r->path.isa;
  c->bf16 = r->path.bf16;
  rig_plugin(rig, &rig->backbone, SM_BACKBONE, "vit",
             "{arch: custom, dim: %d, depth: %d, heads: %d, patch_size: %d, mlp_ratio: %.17g}",
             whole(r, "dim"), whole(r, "depth"), whole(r, "heads"), whole(r, "patch_size"),
             (double)fc1.shape[0] / (double)fc1.shape[1]);
  rig_plugin(rig, &rig->head, SM_HEAD, "projection",
             "{hidden: %d, bottleneck: %d, out_dim: %d, patch_out_dim: %d, norm_last_layer: %s, sharing: %s, "
             "teacher_sharing: %s}",
             whole(r, "head_hidden"), whole(r, "head_bottleneck"), whole(r, "out_dim"),
             whole(r, "patch_out_dim"), flag(r, "norm_last_layer") ? "true" : "false",
             sharing(r, "shared_head"), sharing(r, "shared_head_teacher"));
  rig_plugin(rig, &rig->tokenizer, SM_TOKENIZER, "online_ema",
             "{momentum: {from: %.17g, to: 1}, temperature: {from: %.17g, to: %.17g, epochs: %d}, "
             "patch_temperature: {from: %.17g, to: %.17g, epochs: %d}}",
             number(r, "momentum_teacher"), start, number(r, "teacher_temp"),
             whole(r, "warmup_teacher_temp_epochs"), patch_start, number(r, "teacher_patch_temp"),
             whole(r, "warmup_teacher_temp_epochs"));
  rig_plugin(rig, &rig->cls, SM_LOSS, "cls_distill", "{weight: %.17g}", number(r, "lambda1"));
  rig_plugin(rig, &rig->mim, SM_LOSS, "mim", "{weight: %.17g}", number(r, "lambda2"));
  c->globals = r->globals;
  c->locals = r->locals;
  c->global_height = c->global_width = whole(r, "image_size");
  c->local_height = c->local_width = whole(r, "local_size");
  c->batch_size = r->batch;
  c->optimizer.clip = number(r, "clip_grad") > 0 ? SM_CLIP_PARAMETER : SM_CLIP_NONE;
  c->optimizer.clip_at = number(r, "clip_grad");
  c->lr = (sm_schedule){.from = number(r, "lr"),
                        .to = number(r, "min_lr"),
                        .shape = SM_SHAPE_COSINE,
                        .warmup = number(r, "warmup_epochs")};
  c->weight_decay = (sm_schedule){
      .from = number(r, "weight_decay"), .to = number(r, "weight_decay_end"), .shape = SM_SHAPE_COSINE};
  c->freeze_last_layer = whole(r, "freeze_last_layer");
  c->epochs = whole(r, "epochs");
  c->steps_per_epoch = whole(r, "iters_per_epoch");
  rig_start(rig);
}

static void put_row(reference *r, int set, const char *row_name, const char *tensor) {
  golden_tensor t = golden_get(r->file, tensor);
  sm_set *s = r->rig.net->set[set];
  int row = rig_row(&r->rig, set, row_name);
  if (t.count != sm_set_row(s, row)->size) fail_msg("%s: %s has another size here", r->name, tensor);
  float *values = golden_floats(&t);
  sm_set_write(s, row, SM_VALUES, 0, t.count, values);
  free(values);
}

static void load_weights(reference *r) {
  for (int i = 0; i < golden_tensor_count(r->file); i++) {
    const char *name = golden_tensor_name(r->file, i), *rest;
    if ((rest = after(name, "student."))) put_row(r, SM_SET_STUDENT, rest, name);
    if ((rest = after(name, "teacher."))) put_row(r, SM_SET_TEACHER, rest, name);
  }
  put_row(r, SM_SET_STATE, "tokenizer.center.cls", "center.cls");
  put_row(r, SM_SET_STATE, "tokenizer.center.patch", "center.patch");
  /* nothing of ours may stay at its initial value but a mask token that the reference does not have */
  for (int set = SM_SET_STUDENT; set <= SM_SET_TEACHER; set++) {
    sm_set *s = r->rig.net->set[set];
    for (int row = 0; row < sm_set_rows(s); row++) {
      char name[300];
      snprintf(name, sizeof name, "%s.%s", sm_set_name(s), sm_set_row(s, row)->name);
      if (!golden_has(r->file, name) && !ends_in(name, "backbone.masked_embed"))
        fail_msg("%s has no tensor %s", r->name, name);
    }
  }
}

/* Views of one kind, [B, …] each, into rows picture·count + view. */
static void interleave(reference *r, int step, int first_view, int count, float *out) {
  for (int v = 0; v < count; v++) {
    golden_tensor t = golden_getf(r->file, "step%d.image.%d", step, first_view + v);
    float *x = golden_floats(&t);
    int64_t n = t.count / r->batch;
    for (int b = 0; b < r->batch; b++)
      memcpy(out + ((int64_t)b * count + v) * n, x + b * n, (size_t)n * sizeof *x);
    free(x);
  }
}

static sm_batch *read_batch(reference *r, int step) {
  sm_batch *b = rig_batch(&r->rig, r->batch, 0, 0);
  b->step = r->first + step;
  b->epoch = b->step / r->rig.config.steps_per_epoch;
  interleave(r, step, 0, r->globals, b->global);
  if (r->locals) interleave(r, step, r->globals, r->locals, b->local);
  for (int v = 0; v < r->globals; v++) {
    golden_tensor t = golden_getf(r->file, "step%d.mask.%d", step, v);
    int64_t n = t.count / r->batch;
    for (int64_t i = 0; i < t.count; i++)
      b->mask[(i / n * r->globals + v) * n + i % n] = golden_value(&t, i) != 0;
  }
  return b;
}

/* ---- logits at every position ------------------------------------------------------------------------ */

/* The file's row is view·B + picture; ours is picture·V + view. */
static void check_logits(reference *r, const sm_batch *b, const char *tensor, int set, bool local,
                         sm_site site) {
  golden_tensor t = golden_get(r->file, tensor);
  int views = local ? r->locals : r->globals, first = site == SM_SITE_PATCH; /* after [CLS] */
  int64_t n, k;
  double *all = rig_logits(&r->rig, b, set, local, site, &n, &k), *want = golden_doubles(&t);
  int64_t item = (site == SM_SITE_PATCH ? n - 1 : 1) * k;
  assert_int_equal(t.count, (int64_t)views * r->batch * item);
  double *got = malloc((size_t)t.count * sizeof *got);
  assert_non_null(got);
  for (int64_t i = 0; i < t.count; i++) {
    int64_t row = i / item, picture = row % r->batch, view = row / r->batch;
    got[i] = all[((picture * views + view) * n + first) * k + i % item];
  }
  check(r, tensor, got, want, t.count, r->path.bf16 ? 2e-2 : 2e-4);
  free(all);
  free(got);
  free(want);
}

static void check_all_logits(reference *r, const sm_batch *b) {
  check_logits(r, b, "expect.teacher.cls_logits", SM_SET_TEACHER, false, SM_SITE_VIEW);
  check_logits(r, b, "expect.teacher.patch_logits", SM_SET_TEACHER, false, SM_SITE_PATCH);
  check_logits(r, b, "expect.student.cls_logits", SM_SET_STUDENT, false, SM_SITE_VIEW);
  check_logits(r, b, "expect.student.patch_logits", SM_SET_STUDENT, false, SM_SITE_PATCH);
  if (r->locals) check_logits(r, b, "expect.student.local_cls_logits", SM_SET_STUDENT, true, SM_SITE_VIEW);
}

/* ---- steps ----------------------------------------------------------------------------------------- */

/* With bf16, parts of the loss after an update may be off by more than the loss: AdamW makes whole steps of
 * gradients that are little more than rounding. */
static double loss_limit(const reference *r, int step, const char *key) {
  if (!r->path.bf16) return 1e-5;
  return step > 0 && strcmp(key, "loss") ? 1.5e-2 : 1e-2;
}

static void check_loss(reference *r, int step, const char *key, double got) {
  golden_tensor t = golden_getf(r->file, "expect.step%d.%s", step, key);
  double want = golden_value(&t, 0), off = fabs(got - want) / (want != 0 ? fabs(want) : 1);
  if (!(off <= loss_limit(r, step, key)))
    fail_msg("%s, %s%s: step %d: loss %s is %.8g, not %.8g", r->name, r->path.isa,
             r->path.bf16 ? " with bf16" : "", step, key, got, want);
}

static void check_gradients(reference *r) {
  for (int i = 0; i < golden_tensor_count(r->file); i++) {
    const char *name = golden_tensor_name(r->file, i), *rest = after(name, "expect.grad.");
    if (rest) check_row(r, SM_SET_STUDENT, SM_GRADIENTS, rest, name, r->path.bf16 ? 5e-2 : 2e-4, false);
  }
}

/* Norms stand in the order of the gradients. */
static void check_norms(reference *r, int step) {
  golden_tensor t = golden_getf(r->file, "expect.step%d.grad_norms", step);
  sm_set *student = r->rig.net->set[SM_SET_STUDENT];
  int64_t k = 0;
  for (int i = 0; i < golden_tensor_count(r->file); i++) {
    const char *name = golden_tensor_name(r->file, i), *rest = after(name, "expect.grad.");
    if (!rest) continue;
    double got = sm_set_row(student, rig_row(&r->rig, SM_SET_STUDENT, rest))->grad_norm,
           want = golden_value(&t, k++);
    double limit = step == 0 ? 2e-4 : 1e-3; /* later ones follow from weights, which may differ by 1e-3 */
    if (!(fabs(got - want) <= limit * want + 1e-12))
      fail_msg("%s: step %d: norm of the gradient of %s is %.8g, not %.8g", r->name, step, rest, got, want);
  }
  assert_int_equal(k, t.count);
}

static void check_weights(reference *r, int step) {
  static const char *const sets[] = {"student", "teacher"};
  char prefix[64];
  int compared = 0;
  for (int set = SM_SET_STUDENT; set <= SM_SET_TEACHER; set++) {
    snprintf(prefix, sizeof prefix, "expect.step%d.%s.", step, sets[set]);
    for (int i = 0; i < golden_tensor_count(r->file); i++) {
      const char *name = golden_tensor_name(r->file, i), *rest = after(name, prefix);
      if (!rest) continue;
      check_row(r, set, SM_VALUES, rest, name, 1e-3, ends_in(rest, "qkv.bias"));
      compared++;
    }
  }
  assert_true(compared > 0 || (step > 0 && step < r->steps - 1));
}

static void check_step(reference *r, int step) {
  sm_error err = {0};
  sm_step_result result;
  sm_batch *b = read_batch(r, step);
  sm_time time = rig_time(&r->rig, b->step);
  char name[64];
  if (step == 0) check_all_logits(r, b);
  if (sm_step_gradients(r->rig.net, b, &time, &result, &err) != SM_OK) fail_msg("%s", err.message);
  check_loss(r, step, "cls", sm_step_metric(&result, "loss.cls"));
  check_loss(r, step, "patch", sm_step_metric(&result, "loss.mim"));
  check_loss(r, step, "loss", result.loss);
  if (step == 0) check_gradients(r);
  sm_step_update(r->rig.net, &time, &result);
  rig_batch_free(b);
  if (r->path.bf16) return;
  check_norms(r, step);
  snprintf(name, sizeof name, "expect.step%d.center.cls", step);
  check_row(r, SM_SET_STATE, SM_VALUES, "tokenizer.center.cls", name, 2e-4, false);
  snprintf(name, sizeof name, "expect.step%d.center.patch", step);
  check_row(r, SM_SET_STATE, SM_VALUES, "tokenizer.center.patch", name, 2e-4, false);
  check_weights(r, step);
}

static void check_schedule(reference *r, const char *name, const sm_schedule *s) {
  golden_tensor t = golden_get(r->file, name);
  for (int64_t i = 0; i < t.count; i++) {
    sm_time time = rig_time(&r->rig, i);
    double got = sm_schedule_at(s, &time), want = golden_value(&t, i);
    if (!(fabs(got - want) <= 1e-12))
      fail_msg("%s: %s at %d is %.17g, not %.17g", r->name, name, (int)i, got, want);
  }
}

static bool check_file(const char *name, code_path path) {
  reference r = {.name = name, .file = golden_open(name), .path = path};
  bool holds_steps = golden_text(r.file, "config") && golden_has(r.file, "student.backbone.cls_token");
  if (holds_steps) {
    print_message("    %s, %s%s\n", name, path.isa, path.bf16 ? " with bf16" : "");
    r.config = golden_json(r.file, "config");
    r.batch = whole(&r, "batch");
    r.globals = whole(&r, "n_global");
    r.locals = whole(&r, "n_local");
    r.steps = whole(&r, "steps");
    r.first = whole(&r, "first_iteration");
    configure(&r);
    load_weights(&r);
    sm_tokenizer_spec spec = {0};
    const sm_tokenizer_ops *tokenizer = r.rig.config.tokenizer[0].ops;
    assert_int_equal(tokenizer->spec(r.rig.tokenizer.self, &spec, NULL), SM_OK);
    check_schedule(&r, "schedule.lr", &r.rig.config.lr);
    check_schedule(&r, "schedule.weight_decay", &r.rig.config.weight_decay);
    check_schedule(&r, "schedule.momentum", spec.ema);
    for (int step = 0; step < r.steps; step++) check_step(&r, step);
    rig_close(&r.rig);
  }
  golden_close(r.file);
  return holds_steps;
}

static void test_every_file(void **state) {
  char *names[MOST_FILES];
  int n = golden_names("", names, MOST_FILES), compared = 0;
  assert_non_null(sm_kernels_find(SM_CPU, SM_F32, "baseline"));
  assert_non_null(sm_kernels_find(SM_CPU, SM_BF16, "baseline"));
  for (int i = 0; i < n; i++) {
    bool holds_steps = false;
    for (size_t p = 0; p < sizeof paths / sizeof *paths; p++)
      if (sm_kernels_find(SM_CPU, paths[p].bf16 ? SM_BF16 : SM_F32, paths[p].isa))
        holds_steps = check_file(names[i], paths[p]);
    compared += holds_steps;
    free(names[i]);
  }
  if (golden_is_own()) assert_int_equal(compared, OWN_FILES);
  else if (!compared) fail_msg("no file in %s holds steps", golden_folder());
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_file)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}

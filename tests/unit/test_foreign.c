/* test_foreign.c — weights of other programs: which network in a file is taken, what the tensors say of it, and
 * that it then gives what its authors' code gives (tests/golden/pth_models.safetensors; all published kinds in
 * small of $SMALTI_GOLDEN/pth, where that is). Names of Hugging Face and timm's Swin are made here. */
#include <math.h>

#include "framework/models/foreign.h"
#include "framework/models/models.h"
#include "framework/plugin/option.h"
#include "framework/plugin/registry.h"
#include "test.h"

static sm_registry *registry;
static sm_arena *arena;
static sm_st_reader *models; /* the golden file */

static int set_up(void **state) {
  const char *source = getenv("SMALTI_SRCDIR");
  char path[1024];
  sm_error err = {0};
  if (make_folder(state)) return -1;
  registry = sm_registry_new(NULL, NULL);
  arena = sm_arena_new("test");
  snprintf(path, sizeof path, "%s/tests/golden/pth_models.safetensors", source ? source : ".");
  models = sm_st_open(path, &err);
  return registry && arena && models ? 0 : -1;
}

static int tear_down(void **state) {
  sm_st_close(models);
  sm_arena_free(arena);
  sm_registry_free(registry);
  return remove_folder(state);
}

/* ---- golden networks ---------------------------------------------------------------------------------- */

typedef struct network_case {
  const char *name, *family, *prefix, *options; /* options: as sm_foreign_backbone writes them */
  sm_net net;
  double limit; /* of the difference */
} network_case;

#define SIZES "arch: custom, dim: 24, depth: 2, "
static const network_case cases[] = {
    {"dino_checkpoint", "DINO", "teacher.backbone.", "{vit: {" SIZES "patch_size: 4}}", SM_NET_AUTO, 1e-4},
    {"deit_distilled", "DeiT, distilled", "model.",
     "{vit: {" SIZES "patch_size: 8, distillation_token: true, position_resize: exact}}", SM_NET_AUTO, 1e-4},
    {"mae_pretrain", "MAE, pre-trained", "model.", "{vit: {" SIZES "patch_size: 8, position_resize: exact}}",
     SM_NET_AUTO, 1e-4},
    {"dinov2_teacher", "DINOv2 with registers", "teacher.backbone.",
     "{vit: {" SIZES "patch_size: 8, layer_scale: 1e-5, registers: 4, position_resize: antialias}}", SM_NET_AUTO,
     1e-4},
    {"dinov2_hub_swiglu", "DINOv2 with registers", "",
     "{vit: {" SIZES "patch_size: 8, mlp: swiglu, layer_scale: 1e-5, registers: 2}}",
     SM_NET_AUTO, 1e-4},
    {"beit_pretrain", "BEiT", "model.",
     "{vit: {" SIZES "heads: 2, patch_size: 8, layer_scale: 0.1, positions: none, relative_positions: shared}}",
     SM_NET_AUTO, 1e-4},
    {"beit_finetuned", "BEiT", "module.",
     "{vit: {" SIZES
     "heads: 2, patch_size: 8, layer_scale: 0.1, positions: none, relative_positions: block, view: mean, fc_norm: true}}",
     SM_NET_AUTO, 1e-4},
};

static const sm_st_tensor *golden(const char *name, const char *what) {
  char full[128];
  snprintf(full, sizeof full, "%s/%s", name, what);
  const char *other = sm_st_get(models, full);
  return sm_st_find(models, other ? other : full);
}

static void write_model(const char *name) {
  char full[128];
  sm_error err = {0};
  snprintf(full, sizeof full, "%s.pth", name);
  const sm_st_tensor *t = sm_st_find(models, full);
  assert_non_null(t);
  must(sm_file_put(path_of("model.pth"), t->data, (size_t)t->bytes, &err), &err);
}

static void told(void **state) {
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    sm_error err = {0};
    sm_foreign f;
    write_model(cases[i].name);
    sm_st_reader *r = sm_foreign_open(path_of("model.pth"), NULL, SM_NET_AUTO, arena, &f, &err);
    if (!r) fail_msg("%s: %s", cases[i].name, err.message);
    assert_string_equal(f.family, cases[i].family);
    assert_string_equal(f.prefix, cases[i].prefix);
    assert_string_equal(sm_foreign_backbone(&f, arena), cases[i].options);
    assert_true((f.lacks != NULL) == !strstr(cases[i].options, "heads"));
    assert_int_equal(f.height, 32);
    assert_null(sm_st_find(r, "head.weight"));
    sm_text_free(&f.text);
    sm_st_close(r);
  }
}

static float value(const sm_st_tensor *t, int64_t i) {
  float f;
  memcpy(&f, (const char *)t->data + (size_t)i * sizeof f, sizeof f);
  return f;
}

typedef struct answer {
  double *view, *patches;
  int64_t dim, n_patches;
} answer;

static answer run(const sm_network *n, const sm_st_tensor *image) {
  sm_error err = {0};
  answer a = {.dim = sm_network_describe(n)->backbone.dim};
  sm_pool *pool = sm_pool_new(1, &err);
  sm_graph *g = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .real = SM_F32, .pool = pool}, &err);
  const int pass = sm_pass_begin(g, "features");
  sm_tensor *x = sm_input_real(g, "pictures", 4, image->shape, sm_count(g, "pictures", image->shape[0]));
  const sm_backbone_in in = {.pictures = x, .view = true, .patches = true};
  sm_backbone_out out;
  sm_network_build(n, g, NULL, &in, &out);
  sm_keep(g, out.view);
  sm_keep(g, out.patches);
  sm_pass_end(g);
  if (sm_graph_plan(g, &err) || sm_graph_allocate(g, &err)) fail_msg("%s", err.message);
  for (int64_t i = 0; i < (int64_t)image->elements; i++) sm_fill(x, i, 1, value(image, i));
  sm_graph_run(g, pass);
  a.n_patches = sm_elements(out.patches) / image->shape[0] / a.dim;
  a.view = malloc((size_t)sm_elements(out.view) * sizeof *a.view);
  a.patches = malloc((size_t)sm_elements(out.patches) * sizeof *a.patches);
  for (int64_t i = 0; i < sm_elements(out.view); i++) a.view[i] = sm_get(out.view, i);
  for (int64_t i = 0; i < sm_elements(out.patches); i++) a.patches[i] = sm_get(out.patches, i);
  sm_graph_free(g);
  sm_pool_free(pool);
  return a;
}

/* [CLS] is the first of the reference's tokens, the patches are the last. */
static double differs(const answer *a, const sm_st_tensor *tokens) {
  const int64_t n = tokens->shape[1], prefix = n - a->n_patches;
  double worst = 0;
  assert_true(prefix > 0 && tokens->shape[2] == a->dim);
  for (int64_t b = 0; b < tokens->shape[0]; b++)
    for (int64_t t = 0; t < n; t++)
      for (int64_t d = 0; d < a->dim; d++) {
        if (t && t < prefix) continue;
        const double got = t ? a->patches[(b * a->n_patches + t - prefix) * a->dim + d] : a->view[b * a->dim + d],
                     e = fabs(got - (double)value(tokens, (b * n + t) * a->dim + d));
        if (!(e <= worst)) worst = e;
      }
  return worst;
}

/* The classifier of a fine-tuned file, on the view. */
static double logits_differ(const answer *a, const sm_st_reader *raw, const sm_st_tensor *logits) {
  const sm_st_tensor *w = sm_st_find(raw, "module.head.weight"), *bias = sm_st_find(raw, "module.head.bias");
  double worst = 0;
  assert_true(w && bias);
  for (int64_t b = 0; b < logits->shape[0]; b++)
    for (int64_t k = 0; k < w->shape[0]; k++) {
      double sum = (double)value(bias, k);
      for (int64_t d = 0; d < a->dim; d++) sum += (double)value(w, k * a->dim + d) * a->view[b * a->dim + d];
      const double e = fabs(sum - (double)value(logits, b * w->shape[0] + k));
      if (!(e <= worst)) worst = e;
    }
  return worst;
}

static void close_answer(answer *a) {
  free(a->view);
  free(a->patches);
}

static sm_network *open_model(const char *path, sm_net net, sm_error *err) {
  sm_network *n = NULL;
  const sm_network_source from = {.path = path, .backbone = "vit: {heads: 2}", .net = net};
  if (sm_network_open(registry, &from, &n, err)) return NULL;
  if (!sm_network_allocate(n, err)) return n;
  sm_network_close(n);
  return NULL;
}

static void assert_gives(const network_case *c, const sm_network *n) {
  const sm_st_tensor *image = golden(c->name, "image"), *tokens = golden(c->name, "expect.tokens"),
                     *logits = golden(c->name, "expect.logits"), *rect = golden(c->name, "rect1"),
                     *rect_tokens = golden(c->name, "expect.rect1");
  sm_error err = {0};
  answer a = run(n, image);
  double worst = tokens ? differs(&a, tokens) : 0;
  if (logits && !tokens) {
    sm_st_reader *raw = sm_st_open(path_of("model.pth"), &err);
    worst = logits_differ(&a, raw, logits);
    sm_st_close(raw);
  }
  assert_true(tokens || logits);
  if (worst > c->limit) fail_msg("%s: differs by %g", c->name, worst);
  close_answer(&a);
  if (!rect || !rect_tokens) return;
  a = run(n, rect);
  worst = differs(&a, rect_tokens);
  if (worst > c->limit) fail_msg("%s: other pictures differ by %g", c->name, worst);
  close_answer(&a);
}

static void gives_what_theirs_gives(void **state) {
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const network_case *c = &cases[i];
    sm_error err = {0};
    write_model(c->name);
    sm_network *n = open_model(path_of("model.pth"), SM_NET_AUTO, &err);
    if (!n) fail_msg("%s: %s; %s", c->name, err.message, err.hint);
    const sm_weights_report *report = sm_network_report(n);
    assert_int_equal(report->missing + report->unexpected + report->wrong, 0);
    assert_gives(c, n);
    sm_network_close(n);
  }
}

/* The same networks, written for timm and read again. The names that its classes have otherwise were held against
 * timm's own (docs/results/clients.md). */
static void exports_give_the_same(void **state) {
  static const struct {
    const char *name, *there[4], *gone[4];
  } outside[] = {
      {"beit_pretrain",
       {"blocks.1.attn.q_bias", "blocks.1.attn.v_bias", "blocks.0.gamma_2", "rel_pos_bias.relative_position_bias_table"},
       {"blocks.1.attn.qkv.bias", "blocks.0.ls2.gamma", "masked_embed", "mask_token"}},
      {"beit_finetuned", {"blocks.1.attn.q_bias", "fc_norm.bias"}, {"blocks.1.attn.qkv.bias", "norm.bias"}},
      {"dinov2_hub_swiglu", {"reg_token", "blocks.1.mlp.fc1.bias", "blocks.0.ls2.gamma"}, {"blocks.1.mlp.w12.bias"}},
      {"dinov2_teacher", {"reg_token", "blocks.0.ls1.gamma"}, {"register_tokens"}},
      {"deit_distilled", {"dist_token"}, {NULL}}};
  for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
    const network_case *c = cases;
    sm_error err = {0};
    int dropped;
    int64_t elements;
    while (strcmp(c->name, outside[i].name)) c++;
    write_model(c->name);
    sm_network *n = open_model(path_of("model.pth"), SM_NET_AUTO, &err), *again = NULL;
    must(sm_weights_save(path_of("out.safetensors"), sm_network_set(n), "backbone.", SM_WEIGHTS_TIMM,
                         sm_network_about(n), &dropped, &elements, &err),
         &err);
    sm_st_reader *file = sm_st_open(path_of("out.safetensors"), &err);
    for (int k = 0; k < 4; k++) {
      if (outside[i].there[k]) assert_non_null(sm_st_find(file, outside[i].there[k]));
      if (outside[i].gone[k]) assert_null(sm_st_find(file, outside[i].gone[k]));
    }
    const sm_st_tensor *pos = sm_st_find(file, "pos_embed");
    if (sm_st_find(file, "reg_token")) assert_int_equal(pos->shape[1], 16); /* patches alone, of 4 x 4 */
    sm_st_close(file);
    must(sm_network_open(registry, &(sm_network_source){.path = path_of("out.safetensors")}, &again, &err), &err);
    must(sm_network_allocate(again, &err), &err);
    assert_gives(c, again);
    sm_network_close(again);
    sm_network_close(n);
  }
}

/* ---- which network ------------------------------------------------------------------------------------ */

static void teacher_or_student(void **state) {
  sm_error err = {0};
  sm_foreign f;
  write_model("dino_checkpoint");
  for (int student = 0; student < 2; student++) {
    sm_st_reader *r = sm_foreign_open(path_of("model.pth"), NULL, student ? SM_NET_STUDENT : SM_NET_TEACHER, arena,
                                      &f, &err);
    assert_non_null(r);
    assert_string_equal(f.prefix, student ? "student.module.backbone." : "teacher.backbone.");
    assert_int_equal(f.net, student ? SM_NET_STUDENT : SM_NET_TEACHER);
    assert_non_null(strstr(f.text.s, student ? "unused       teacher: " : "unused       student: "));
    assert_non_null(strstr(f.text.s, "dino_loss: 1 tensor of another part"));
    sm_text_free(&f.text);
    sm_st_close(r);
  }
  sm_st_reader *r = sm_foreign_open(path_of("model.pth"), "student.", SM_NET_AUTO, arena, &f, &err);
  assert_non_null(r);
  assert_string_equal(f.prefix, "student.module.backbone.");
  sm_text_free(&f.text);
  sm_st_close(r);
  write_model("mae_pretrain"); /* one network, called neither */
  assert_non_null(r = sm_foreign_open(path_of("model.pth"), NULL, SM_NET_STUDENT, arena, &f, &err));
  sm_text_free(&f.text);
  sm_st_close(r);
}

/* ---- files made here ---------------------------------------------------------------------------------- */

typedef struct maker {
  sm_st_writer *w;
  bool write;
  int count;
} maker;

static void add(maker *m, const char *name, int ndim, int64_t a, int64_t b, int64_t c, int64_t d) {
  const int64_t shape[4] = {a, b, c, d};
  int64_t n = 1;
  for (int i = 0; i < ndim; i++) n *= shape[i];
  if (!m->write) {
    sm_st_declare(m->w, name, "F32", ndim, shape);
    return;
  }
  float *v = malloc((size_t)n * sizeof *v);
  for (int64_t i = 0; i < n; i++) v[i] = (float)((i * 7 + m->count * 13) % 101) / 500 - .1f;
  m->count++;
  sm_st_write(m->w, name, v, (size_t)n * sizeof *v);
  free(v);
}

static void make(const char *file, void (*tensors)(maker *)) {
  sm_error err = {0};
  maker m = {.w = sm_st_create(path_of(file), SM_ST_AS_DECLARED, &err)};
  tensors(&m);
  m.write = true;
  tensors(&m);
  must(sm_st_finish(m.w, &err), &err);
}

static void add_block(maker *m, const char *names[]) {
  for (int i = 0; names[i]; i++) {
    const bool weight = strstr(names[i], "weight") && !strstr(names[i], "norm");
    const int64_t out = strstr(names[i], "intermediate") || strstr(names[i], "fc1") ? 32 : strstr(names[i], "qkv") ? 24 : 8;
    const int64_t in = strstr(names[i], "layer.0.output") || strstr(names[i], "fc2") ? 32 : 8;
    add(m, names[i], weight ? 2 : 1, out, in, 1, 1);
  }
}

#define L "vit.encoder.layer.0."
static void hf_tensors(maker *m) {
  static const char *block[] = {L "layernorm_before.weight", L "layernorm_before.bias", L "attention.attention.query.weight",
                                L "attention.attention.query.bias", L "attention.attention.key.weight",
                                L "attention.attention.key.bias", L "attention.attention.value.weight",
                                L "attention.attention.value.bias", L "attention.output.dense.weight",
                                L "attention.output.dense.bias", L "layernorm_after.weight", L "layernorm_after.bias",
                                L "intermediate.dense.weight", L "intermediate.dense.bias", L "output.dense.weight",
                                L "output.dense.bias", "vit.layernorm.weight", "vit.layernorm.bias", NULL};
  add(m, "vit.embeddings.cls_token", 3, 1, 1, 8, 1);
  add(m, "vit.embeddings.position_embeddings", 3, 1, 5, 8, 1);
  add(m, "vit.embeddings.patch_embeddings.projection.weight", 4, 8, 3, 4, 4);
  add(m, "vit.embeddings.patch_embeddings.projection.bias", 1, 8, 1, 1, 1);
  add_block(m, block);
  add(m, "classifier.weight", 2, 10, 8, 1, 1);
}

/* Queries, keys and values come together; the classifier stays out. */
static void hugging_face(void **state) {
  sm_error err = {0};
  sm_foreign f;
  make("hf.safetensors", hf_tensors);
  sm_st_reader *r = sm_foreign_open(path_of("hf.safetensors"), NULL, SM_NET_AUTO, arena, &f, &err),
               *raw = sm_st_open(path_of("hf.safetensors"), &err);
  if (!r) fail_msg("%s", err.message);
  assert_string_equal(f.prefix, "vit.");
  assert_string_equal(f.lacks, "heads");
  const sm_st_tensor *qkv = sm_st_find(r, "blocks.0.attn.qkv.weight");
  assert_true(qkv && qkv->shape[0] == 24 && qkv->shape[1] == 8);
  static const char *const parts[] = {"query", "key", "value"};
  for (int i = 0; i < 3; i++) {
    char name[80];
    snprintf(name, sizeof name, L "attention.attention.%s.weight", parts[i]);
    const sm_st_tensor *part = sm_st_find(raw, name);
    assert_memory_equal((const char *)qkv->data + i * 256, part->data, 256);
  }
  assert_non_null(sm_st_find(r, "blocks.0.norm2.bias"));
  assert_non_null(sm_st_find(r, "blocks.0.mlp.fc2.weight"));
  assert_non_null(sm_st_find(r, "norm.weight"));
  assert_non_null(strstr(f.text.s, "classifier: 1 tensor of another part"));
  assert_int_equal(sm_st_count(r), 18);
  sm_text_free(&f.text);
  sm_st_close(r);
  sm_st_close(raw);
}

/* An export with Hugging Face's names is the same network again. */
static void export_round_trip(void **state) {
  static const sm_weights_format formats[] = {SM_WEIGHTS_TIMM, SM_WEIGHTS_IBOT, SM_WEIGHTS_HF};
  sm_error err = {0};
  write_model("dino_checkpoint");
  sm_network *n = open_model(path_of("model.pth"), SM_NET_AUTO, &err);
  if (!n) fail_msg("%s", err.message);
  for (int i = 0; i < 3; i++) {
    int dropped;
    int64_t elements;
    sm_network *again = NULL;
    must(sm_weights_save(path_of("out.safetensors"), sm_network_set(n), "backbone.", formats[i], sm_network_about(n),
                         &dropped, &elements, &err),
         &err);
    must(sm_network_open(registry, &(sm_network_source){.path = path_of("out.safetensors")}, &again, &err), &err);
    must(sm_network_allocate(again, &err), &err);
    for (int r = 0; r < sm_set_rows(sm_network_set(n)); r++) {
      const sm_row *row = sm_set_row(sm_network_set(n), r);
      if (row->flags & SM_ROW_NO_EXPORT) continue;
      const int other = sm_set_find(sm_network_set(again), row->name);
      size_t bytes;
      assert_true(other >= 0);
      void *a = sm_set_lend(sm_network_set(n), r, SM_VALUES, &bytes),
           *b = sm_set_lend(sm_network_set(again), other, SM_VALUES, NULL);
      assert_memory_equal(a, b, bytes);
    }
    sm_network_close(again);
  }
  sm_network_close(n);
}

static void with_odd_part(maker *m) {
  static const char *block[] = {"blocks.0.norm1.weight", "blocks.0.norm1.bias", "blocks.0.attn.qkv.weight", NULL};
  add(m, "patch_embed.proj.weight", 4, 64, 3, 4, 4);
  add(m, "storage_tokens", 3, 1, 4, 64, 1);
  add_block(m, block);
}
static void two_networks(maker *m) {
  add(m, "a.patch_embed.proj.weight", 4, 8, 3, 4, 4);
  add(m, "a.blocks.0.norm1.weight", 1, 8, 1, 1, 1);
  add(m, "b.patch_embed.proj.weight", 4, 8, 3, 4, 4);
}
static void swin_of_timm(maker *m) {
  add(m, "patch_embed.proj.weight", 4, 96, 3, 4, 4);
  for (int s = 0; s < 4; s++) {
    char name[96];
    snprintf(name, sizeof name, "layers.%d.blocks.0.norm1.weight", s);
    add(m, name, 1, 96 << s, 1, 1, 1);
    snprintf(name, sizeof name, "layers.%d.blocks.0.attn.relative_position_bias_table", s);
    add(m, name, 2, s == 3 ? 169 : 729, 3 << s, 1, 1);
    snprintf(name, sizeof name, "layers.%d.downsample.reduction.weight", s);
    if (s) add(m, name, 2, 8, 16, 1, 1);
  }
}

static void swin_of_simmim(maker *m) {
  swin_of_timm(m);
  add(m, "mask_token", 3, 1, 1, 96, 1);
}
static void swin_of_ibot(maker *m) {
  swin_of_timm(m);
  add(m, "masked_embed", 2, 1, 96, 1, 1);
}

/* What cannot be run says by its name what it is; several networks are told; Swin's mergings keep timm's names,
 * by which the rows of `swin` are found. */
static void other_kinds(void **state) {
  sm_error err = {0};
  sm_foreign f;
  make("odd.safetensors", with_odd_part);
  assert_null(sm_foreign_open(path_of("odd.safetensors"), NULL, SM_NET_AUTO, arena, &f, &err));
  assert_int_equal(err.code, SM_EUNSUPPORTED);
  assert_string_equal(err.message, "the weights cannot be run: it is a DINOv3, with rotary positions");
  sm_text_free(&f.text);
  make("two.safetensors", two_networks);
  assert_null(sm_foreign_open(path_of("two.safetensors"), NULL, SM_NET_AUTO, arena, &f, &err));
  assert_string_equal(err.message, "the file holds several networks: 'a.' and 'b.' could both be meant");
  sm_st_reader *r = sm_foreign_open(path_of("two.safetensors"), "a.", SM_NET_AUTO, arena, &f, &err);
  assert_non_null(r);
  sm_text_free(&f.text);
  sm_st_close(r);
  make("swin.safetensors", swin_of_timm);
  assert_non_null(r = sm_foreign_open(path_of("swin.safetensors"), NULL, SM_NET_AUTO, arena, &f, &err));
  assert_string_equal(
      sm_foreign_backbone(&f, arena),
      "{swin: {arch: custom, depths: [1, 1, 1, 1], heads: [3, 6, 12, 24], dim: 96, patch_size: 4, window: 14, input_size: 224, norm_eps: 1e-5}}");
  assert_non_null(sm_st_find(r, "layers.3.downsample.reduction.weight"));
  assert_null(sm_st_find(r, "layers.0.downsample.reduction.weight"));
  sm_text_free(&f.text);
  sm_st_close(r);
  for (int ibot = 0; ibot < 2; ibot++) { /* iBOT's norms add 1e-6, which is the default */
    make("swin.safetensors", ibot ? swin_of_ibot : swin_of_simmim);
    assert_non_null(r = sm_foreign_open(path_of("swin.safetensors"), NULL, SM_NET_AUTO, arena, &f, &err));
    assert_string_equal(f.family, ibot ? "Swin of iBOT" : "Swin of SimMIM");
    assert_int_equal(strstr(sm_foreign_backbone(&f, arena), "norm_eps: 1e-5") != NULL, !ibot);
    assert_non_null(sm_st_find(r, "masked_embed"));
    sm_text_free(&f.text);
    sm_st_close(r);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(told),         cmocka_unit_test(gives_what_theirs_gives),
      cmocka_unit_test(exports_give_the_same), cmocka_unit_test(teacher_or_student),
      cmocka_unit_test(hugging_face), cmocka_unit_test(export_round_trip),       cmocka_unit_test(other_kinds),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}

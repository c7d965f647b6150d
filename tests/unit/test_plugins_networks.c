/* Backbones and heads through their public interface: sizes, names, refusals, and what vit gives on demand.
 * Their values are held against the reference in test_golden_steps, their gradients against differences in
 * test_train_step. */
#include <math.h>

#include "framework/recipe/recipe.h"

#include "test.h"

typedef struct piece {
  sm_arena *arena;
  sm_registry *registry;
  sm_instance instance;
  sm_status created;
  sm_error err;
} piece;

static piece open_piece(sm_kind kind, const char *name, const char *options) {
  piece p = {.arena = sm_arena_new("piece"), .registry = sm_registry_new(NULL, NULL)};
  const sm_plugin *plugin = sm_registry_find(p.registry, kind, name, &p.err);
  if (!plugin) fail_msg("%s", p.err.message);
  assert_int_equal(sm_instance_new(p.registry, plugin, &p.instance, &p.err), SM_OK);
  if (sm_options_fill(plugin, options, p.instance.self, p.arena, &p.err) != SM_OK)
    fail_msg("%s", p.err.message);
  p.created = sm_instance_create(&p.instance, &p.err);
  return p;
}

static void close_piece(piece *p) {
  sm_instance_free(&p->instance);
  sm_registry_free(p->registry);
  sm_arena_free(p->arena);
}

static void expect_refusal(sm_kind kind, const char *name, const char *options, const char *message) {
  piece p = open_piece(kind, name, options);
  assert_int_equal(p.created, SM_EINVAL);
  if (!strstr(p.err.message, message)) fail_msg("'%s' does not say '%s'", p.err.message, message);
  assert_true(p.err.hint[0] != 0);
  close_piece(&p);
}

/* ---- vit ----------------------------------------------------------------------------------------------- */

static sm_set *vit_set(piece *p, int view_size, const char *name) {
  const sm_backbone_ops *ops = p->instance.plugin->ops;
  sm_set *set = sm_set_new(name, SM_F32, false, NULL);
  assert_non_null(set);
  ops->declare(p->instance.self, view_size, view_size, &(sm_params){set, ""});
  if (sm_set_seal(set, SM_MOMENTS_NONE, &p->err) != SM_OK) fail_msg("%s", p->err.message);
  return set;
}

/* As timm's vit_*_patch16_224 with num_classes=0 count them, and the mask token. */
static void test_sizes(void **state) {
  static const struct {
    const char *options;
    int dim;
    int64_t parameters;
  } cases[] = {
      {"{arch: tiny}", 192, 5524416},
      {"{arch: small}", 384, 21665664},
      {"{arch: base}", 768, 85798656},
      {"{arch: large}", 1024, 303301632},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    piece p = open_piece(SM_BACKBONE, "vit", cases[i].options);
    sm_set *set = vit_set(&p, 224, "v");
    assert_int_equal(sm_set_parameters(set), cases[i].parameters + cases[i].dim);
    sm_set_free(set);
    close_piece(&p);
  }
}

static void test_names(void **state) {
  static const char *const names[] = {"cls_token",
                                      "pos_embed",
                                      "masked_embed",
                                      "patch_embed.proj.weight",
                                      "patch_embed.proj.bias",
                                      "blocks.0.norm1.weight",
                                      "blocks.0.norm1.bias",
                                      "blocks.0.attn.qkv.weight",
                                      "blocks.0.attn.qkv.bias",
                                      "blocks.0.attn.proj.weight",
                                      "blocks.0.attn.proj.bias",
                                      "blocks.0.ls1.gamma",
                                      "blocks.0.norm2.weight",
                                      "blocks.0.norm2.bias",
                                      "blocks.0.mlp.fc1.weight",
                                      "blocks.0.mlp.fc1.bias",
                                      "blocks.0.mlp.fc2.weight",
                                      "blocks.0.mlp.fc2.bias",
                                      "blocks.0.ls2.gamma",
                                      "norm.weight",
                                      "norm.bias"};
  piece p = open_piece(SM_BACKBONE, "vit", "{arch: tiny, depth: 1, layer_scale: 1e-5}");
  sm_set *set = vit_set(&p, 224, "v");
  assert_int_equal(sm_set_rows(set), (int)(sizeof names / sizeof *names));
  for (int i = 0; i < sm_set_rows(set); i++) assert_string_equal(sm_set_row(set, i)->name, names[i]);
  const sm_row *patch = sm_set_row(set, sm_set_find(set, "patch_embed.proj.weight"));
  assert_true(patch->ndim == 4 && patch->dim[0] == 192 && patch->dim[1] == 3 && patch->dim[2] == 16 &&
              patch->dim[3] == 16);
  assert_int_equal(sm_set_row(set, 1)->dim[1], 197);
  assert_true(sm_set_row(set, 0)->decay && sm_set_row(set, 1)->decay && sm_set_row(set, 2)->decay);
  assert_false(sm_set_row(set, sm_set_find(set, "norm.weight"))->decay);
  assert_false(sm_set_row(set, sm_set_find(set, "blocks.0.ls1.gamma"))->decay);
  assert_int_equal(sm_set_row(set, 2)->flags, SM_ROW_NO_EXPORT);
  assert_int_equal(sm_set_row(set, 1)->flags, SM_ROW_EMBEDDING);
  assert_true(sm_set_row(set, 1)->grid.prefix == 1 && sm_set_row(set, 1)->grid.rows == 14 &&
              sm_set_row(set, 1)->grid.cols == 14);
  assert_true(sm_set_row(set, 3)->layer == 0 && sm_set_row(set, 5)->layer == 1);
  assert_int_equal(sm_set_row(set, sm_set_rows(set) - 1)->layer, 2);
  sm_set_free(set);
  close_piece(&p);
}

static void test_spec(void **state) {
  piece p = open_piece(SM_BACKBONE, "vit", "{arch: small, depth: 3, patch_size: 8, drop_path: 0.2}");
  const sm_backbone_ops *ops = p.instance.plugin->ops;
  sm_backbone_spec spec = {0};
  assert_int_equal(ops->spec(p.instance.self, 96, 160, &spec, &p.err), SM_OK);
  assert_true(spec.dim == 384 && spec.blocks == 3 && spec.layers == 3 && spec.heads == 6);
  assert_true(spec.rows == 12 && spec.cols == 20 && spec.cell == 8);
  assert_int_equal(spec.drop_sites, 6); /* two a block, growing from 0 to the rate */
  const double rates[] = {0, 0, .1, .1, .2, .2};
  for (int i = 0; i < 6; i++) assert_float_equal(spec.drop_rate[i], rates[i], 1e-15);
  for (int i = 0; i < 6; i++) assert_int_equal(spec.drop_layer[i], 1 + i / 2);
  assert_int_equal(ops->spec(p.instance.self, 100, 100, &spec, &p.err), SM_EINVAL);
  assert_string_equal(p.err.message, "views of 100 pixels cannot be cut into patches of 8");
  assert_int_equal(ops->spec(p.instance.self, 96, 100, &spec, &p.err), SM_EINVAL);
  assert_string_equal(p.err.message, "views of 96 x 100 pixels cannot be cut into patches of 8");
  close_piece(&p);
  expect_refusal(SM_BACKBONE, "vit", "{arch: custom, dim: 64}", "arch 'custom' needs dim, depth and heads");
  expect_refusal(SM_BACKBONE, "vit", "{arch: small, heads: 5}",
                 "a width of 384 cannot be divided among 5 heads");
}

/* Two blocks, one of them raw, attention and keys, on a grid that is not the declared one. */
static void test_on_demand(void **state) {
  enum { N = 3 * 5, D = 8 };
  piece p = open_piece(SM_BACKBONE, "vit", "{arch: custom, dim: 8, depth: 3, heads: 2, patch_size: 4}");
  const sm_backbone_ops *ops = p.instance.plugin->ops;
  sm_set *set = vit_set(&p, 16, "v");
  assert_int_equal(sm_set_allocate(set, 1, &p.err), SM_OK);
  sm_pool *pool = sm_pool_new(2, &p.err);
  sm_graph *g = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .real = SM_F32, .pool = pool}, &p.err);
  sm_tensor *x = sm_input_real(g, "pictures", 4, (int64_t[]){2, 3, 12, 20}, NULL);
  int pass = sm_pass_begin(g, "see");
  const sm_backbone_in in = {.pictures = x,
                             .view = true,
                             .patches = true,
                             .blocks = 3,
                             .block = {{1, false}, {2, false}, {2, true}},
                             .attention = true,
                             .qkv = true};
  sm_backbone_out out = {0};
  ops->build(p.instance.self, g, &(sm_params){set, ""}, &in, &out);
  assert_true(out.view->ndim == 2 && out.view->dim[0] == 2 && out.view->dim[1] == D);
  assert_true(out.patches->dim[0] == 2 && out.patches->dim[1] == N && out.patches->dim[2] == D);
  assert_true(out.qkv->dim[0] == 2 && out.qkv->dim[1] == N && out.qkv->dim[2] == 3 * D);
  sm_tensor *kept[] = {out.view,          out.patches,          out.attention,       out.block[0].patches,
                       out.block[1].view, out.block[2].patches, out.block[1].patches};
  for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) sm_keep(g, kept[i]);
  sm_pass_end(g);
  if (sm_graph_plan(g, &p.err) != SM_OK || sm_graph_allocate(g, &p.err) != SM_OK)
    fail_msg("%s", p.err.message);
  sm_rng rng = sm_rng_make(1, SM_RNG_TEST, 0, 0, 0);
  for (int64_t i = 0; i < sm_elements(x); i++) sm_fill(x, i, 1, sm_rng_normal(&rng));
  sm_graph_run(g, pass);
  assert_true(out.attention->dim[0] == 2 && out.attention->dim[1] == 2 && out.attention->dim[2] == N);
  for (int row = 0; row < 4; row++) { /* less what [CLS] pays to itself */
    double sum = 0;
    for (int t = 0; t < N; t++) sum += sm_get(out.attention, row * N + t);
    assert_true(sum > .8 && sum < 1);
  }
  for (int64_t i = 0; i < sm_elements(out.view); i++)
    assert_true(sm_get(out.view, i) == sm_get(out.block[1].view, i));
  double apart = 0, raw = 0; /* both blocks are normalised, and yet not the same; the raw one is not */
  for (int64_t token = 0; token < 2 * N; token++) {
    double mean[2] = {0, 0}, square[2] = {0, 0};
    for (int k = 0; k < D; k++)
      for (int which = 0; which < 2; which++) {
        double v = sm_get(which ? out.patches : out.block[0].patches, token * D + k);
        mean[which] += v / D;
        square[which] += v * v / D;
        apart += which ? fabs(v - sm_get(out.block[0].patches, token * D + k)) : 0;
        raw += which ? fabs(v - sm_get(out.block[2].patches, token * D + k)) : 0;
        assert_true(!which || v == sm_get(out.block[1].patches, token * D + k));
      }
    for (int which = 0; which < 2; which++) {
      assert_float_equal(mean[which], 0, 1e-5);
      assert_float_equal(square[which], 1, 1e-2);
    }
  }
  assert_true(apart > .1 && raw > .1);
  sm_graph_free(g);
  sm_pool_free(pool);
  sm_set_free(set);
  close_piece(&p);
}

static void compare(const sm_tensor *some, const sm_tensor *all, const int32_t *row, int n) {
  const int64_t dim = some->dim[1];
  assert_int_equal(sm_items(some), n);
  for (int r = 0; r < n; r++)
    for (int64_t d = 0; d < dim; d++)
      assert_float_equal(sm_get(some, r * dim + d), sm_get(all, (row ? row[r] : r) * dim + d), 1e-12);
}

/* Where only the view or some patches are wanted, they are what they are among all; in double precision, so
 * that no sum order blurs it. */
static void test_only_some(void **state) {
  enum { B = 3, N = 16, D = 8, KINDS = 4 };
  piece p = open_piece(SM_BACKBONE, "vit",
                       "{arch: custom, dim: 8, depth: 3, heads: 2, patch_size: 4, layer_scale: 0.5}");
  const sm_backbone_ops *ops = p.instance.plugin->ops;
  sm_set *set = sm_set_new("v", SM_F64, false, &p.err);
  ops->declare(p.instance.self, 16, 16, &(sm_params){set, ""});
  assert_int_equal(sm_set_seal(set, SM_MOMENTS_NONE, &p.err), SM_OK);
  assert_int_equal(sm_set_allocate(set, 1, &p.err), SM_OK);
  sm_pool *pool = sm_pool_new(2, &p.err);
  sm_graph *g = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .real = SM_F64, .pool = pool}, &p.err);
  sm_tensor *count = sm_count(g, "pictures", B);
  sm_tensor *x = sm_input_real(g, "pictures", 4, (int64_t[]){B, 3, 16, 16}, count);
  sm_rows *cells = sm_rows_new(g, "cells", 5, B, N, count);
  sm_backbone_out out[KINDS] = {{0}}; /* all; the view; some patches; both */
  int pass = sm_pass_begin(g, "see");
  for (int kind = 0; kind < KINDS; kind++) {
    const sm_backbone_in in = {.pictures = x,
                               .view = kind != 2,
                               .patches = kind != 1,
                               .only = kind >= 2 ? cells : NULL,
                               .blocks = 1,
                               .block = {{1, kind == 3}}};
    ops->build(p.instance.self, g, &(sm_params){set, ""}, &in, &out[kind]);
    sm_tensor *keep[] = {out[kind].view, out[kind].patches, out[kind].block[0].view,
                         out[kind].block[0].patches};
    for (int i = 0; i < 4; i++)
      if (keep[i]) sm_keep(g, keep[i]);
  }
  sm_pass_end(g);
  if (sm_graph_plan(g, &p.err) != SM_OK || sm_graph_allocate(g, &p.err) != SM_OK)
    fail_msg("%s", p.err.message);
  assert_true(out[3].patches->ndim == 2 && out[3].patches->dim[0] == 5 && out[3].patches->dim[1] == D);
  sm_rng rng = sm_rng_make(1, SM_RNG_TEST, 0, 0, 0);
  for (int64_t i = 0; i < sm_elements(x); i++) sm_fill(x, i, 1, sm_rng_normal(&rng));
  static const int32_t wanted[2][5] = {{0, 7, N, 2 * N, 3 * N - 1},
                                       {5, N + 15}}; /* of three pictures; of two */
  for (int trial = 0; trial < 2; trial++) {
    const int pictures = trial ? 2 : 3, n = trial ? 2 : 5;
    sm_put(count, pictures);
    sm_rows_set(cells, wanted[trial], n);
    sm_graph_run(g, pass);
    compare(out[1].view, out[0].view, NULL, pictures);
    compare(out[3].view, out[0].view, NULL, pictures);
    compare(out[2].patches, out[0].patches, wanted[trial], n);
    compare(out[3].patches, out[0].patches, wanted[trial], n);
    compare(out[1].block[0].view, out[0].block[0].view, NULL, pictures);
    compare(out[2].block[0].patches, out[0].block[0].patches, wanted[trial], n);
  }
  sm_graph_free(g);
  sm_pool_free(pool);
  sm_set_free(set);
  close_piece(&p);
}

/* ---- heads --------------------------------------------------------------------------------------------- */

static void test_projection(void **state) {
  expect_refusal(SM_HEAD, "projection", "{out_dim: 96, patch_out_dim: 48}",
                 "patch_out_dim 48 differs from out_dim 96, but both use one last layer");
  expect_refusal(SM_HEAD, "projection",
                 "{out_dim: 96, patch_out_dim: 48, sharing: separate, teacher_sharing: shared}",
                 "patch_out_dim 48 differs from out_dim 96");
  piece p = open_piece(SM_HEAD, "projection", "{out_dim: 96, patch_out_dim: 48, sharing: last_separate}");
  assert_int_equal(p.created, SM_OK);
  const sm_head_ops *ops = p.instance.plugin->ops;
  assert_int_equal(ops->out_dim(p.instance.self, SM_SITE_VIEW, 384), 96);
  assert_int_equal(ops->out_dim(p.instance.self, SM_SITE_PATCH, 384), 48);
  assert_true(ops->affine);
  sm_set *set = sm_set_new("s", SM_F32, true, NULL);
  ops->declare(p.instance.self, &(sm_head){.params = {set, ""}, .dim = 384, .view_dim = 96, .patch_dim = 48});
  assert_int_equal(sm_set_seal(set, SM_MOMENTS_TWO, &p.err), SM_OK);
  const sm_row *gain = sm_set_row(set, sm_set_find(set, "last_layer2.weight_g"));
  assert_true(gain->dim[0] == 48 && gain->dim[1] == 1 && gain->decay);
  assert_int_equal(gain->flags, SM_ROW_LAST_LAYER | SM_ROW_FROZEN);
  const sm_row *v = sm_set_row(set, sm_set_find(set, "last_layer.weight_v"));
  assert_true(v->dim[0] == 96 && v->dim[1] == 256 && v->flags == SM_ROW_LAST_LAYER);
  assert_true(v->init == SM_INIT_UNIFORM_FAN && v->init_a == 256);
  const sm_row *first = sm_set_row(set, sm_set_find(set, "mlp.0.weight"));
  assert_true(first->dim[0] == 2048 && first->dim[1] == 384 && first->init == SM_INIT_TRUNC_NORMAL &&
              first->init_a == .02);
  sm_set_free(set);
  close_piece(&p);
}

/* A site that no loss uses has no layers. */
static void test_one_site(void **state) {
  static const char *const sharings[] = {"shared", "last_separate", "separate", "first_two_shared"};
  for (int i = 0; i < 4; i++)
    for (int site = 0; site < 2; site++) {
      char options[64];
      snprintf(options, sizeof options, "{hidden: 8, bottleneck: 4, sharing: %s}", sharings[i]);
      piece p = open_piece(SM_HEAD, "projection", options);
      const sm_head_ops *ops = p.instance.plugin->ops;
      sm_set *set = sm_set_new("s", SM_F32, true, NULL);
      ops->declare(
          p.instance.self,
          &(sm_head){.params = {set, ""}, .dim = 6, .view_dim = site ? 0 : 12, .patch_dim = site ? 12 : 0});
      assert_int_equal(sm_set_seal(set, SM_MOMENTS_TWO, &p.err), SM_OK);
      assert_int_equal(sm_set_parameters(set),
                       6 * 8 + 8 + 8 * 8 + 8 + 8 * 4 + 4 + 12 * 4); /* the gain is fixed */
      sm_set_free(set);
      close_piece(&p);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sizes),     cmocka_unit_test(test_names),     cmocka_unit_test(test_spec),
      cmocka_unit_test(test_on_demand), cmocka_unit_test(test_only_some), cmocka_unit_test(test_projection),
      cmocka_unit_test(test_one_site),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

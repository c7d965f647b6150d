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
  assert_int_equal(sm_instance_new(plugin, &p.instance, &p.err), SM_OK);
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
  ops->declare(p->instance.self, view_size, &(sm_params){set, ""});
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
  sm_set_free(set);
  close_piece(&p);
}

static void test_spec(void **state) {
  piece p = open_piece(SM_BACKBONE, "vit", "{arch: small, depth: 3, patch_size: 8, drop_path: 0.2}");
  const sm_backbone_ops *ops = p.instance.plugin->ops;
  sm_backbone_spec spec = {0};
  assert_int_equal(ops->spec(p.instance.self, 96, &spec, &p.err), SM_OK);
  assert_true(spec.dim == 384 && spec.depth == 3 && spec.heads == 6 && spec.prefix == 1 && spec.patch == 8);
  assert_int_equal(spec.masks_at, 8);
  assert_int_equal(spec.drop_sites, 6); /* two a block, growing from 0 to the rate */
  const double rates[] = {0, 0, .1, .1, .2, .2};
  for (int i = 0; i < 6; i++) assert_float_equal(spec.drop_rate[i], rates[i], 1e-15);
  assert_int_equal(ops->spec(p.instance.self, 100, &spec, &p.err), SM_EINVAL);
  assert_string_equal(p.err.message, "views of 100 pixels cannot be cut into patches of 8");
  close_piece(&p);
  expect_refusal(SM_BACKBONE, "vit", "{arch: custom, dim: 64}", "arch 'custom' needs dim, depth and heads");
  expect_refusal(SM_BACKBONE, "vit", "{arch: small, heads: 5}",
                 "a width of 384 cannot be divided among 5 heads");
}

/* The last blocks' tokens and the class token's attention, on a grid that is not the declared one. */
static void test_on_demand(void **state) {
  piece p = open_piece(SM_BACKBONE, "vit", "{arch: custom, dim: 8, depth: 3, heads: 2, patch_size: 4}");
  const sm_backbone_ops *ops = p.instance.plugin->ops;
  sm_set *set = vit_set(&p, 16, "v");
  assert_int_equal(sm_set_allocate(set, 1, &p.err), SM_OK);
  sm_pool *pool = sm_pool_new(2, &p.err);
  sm_graph *g = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .real = SM_F32, .pool = pool}, &p.err);
  sm_tensor *x = sm_input_real(g, "pictures", 4, (int64_t[]){2, 3, 12, 20}, NULL);
  int pass = sm_pass_begin(g, "see");
  sm_backbone_in in = {.pictures = x, .last_blocks = 2, .attention = true};
  sm_backbone_out out = {0};
  ops->build(p.instance.self, g, &(sm_params){set, ""}, &in, &out);
  assert_ptr_equal(out.blocks[1], out.tokens);
  assert_true(out.tokens->dim[0] == 2 && out.tokens->dim[1] == 1 + 3 * 5 && out.tokens->dim[2] == 8);
  assert_null(out.blocks[2]);
  sm_keep(g, out.blocks[0]);
  sm_keep(g, out.tokens);
  sm_keep(g, out.attention);
  sm_pass_end(g);
  if (sm_graph_plan(g, &p.err) != SM_OK || sm_graph_allocate(g, &p.err) != SM_OK)
    fail_msg("%s", p.err.message);
  sm_rng rng = sm_rng_make(1, SM_RNG_TEST, 0, 0, 0);
  for (int64_t i = 0; i < sm_elements(x); i++) sm_fill(x, i, 1, sm_rng_normal(&rng));
  sm_graph_run(g, pass);
  assert_true(out.attention->dim[0] == 2 && out.attention->dim[1] == 2 && out.attention->dim[2] == 16);
  for (int row = 0; row < 4; row++) {
    double sum = 0;
    for (int t = 0; t < 16; t++) sum += sm_get(out.attention, row * 16 + t);
    assert_float_equal(sum, 1, 1e-5);
  }
  double apart = 0; /* both are normalised, and yet not the same */
  for (int64_t token = 0; token < 32; token++) {
    double mean[2] = {0, 0}, square[2] = {0, 0};
    for (int k = 0; k < 8; k++)
      for (int which = 0; which < 2; which++) {
        double v = sm_get(out.blocks[which], token * 8 + k);
        mean[which] += v / 8;
        square[which] += v * v / 8;
        apart += which ? fabs(v - sm_get(out.blocks[0], token * 8 + k)) : 0;
      }
    for (int which = 0; which < 2; which++) {
      assert_float_equal(mean[which], 0, 1e-5);
      assert_float_equal(square[which], 1, 1e-2);
    }
  }
  assert_true(apart > .1);
  sm_graph_free(g);

  g = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .real = SM_F32, .pool = pool}, &p.err);
  x = sm_input_real(g, "pictures", 4, (int64_t[]){2, 3, 16, 16}, NULL);
  sm_pass_begin(g, "see");
  in = (sm_backbone_in){.pictures = x, .last_blocks = 4};
  ops->build(p.instance.self, g, &(sm_params){set, ""}, &in, &out);
  sm_pass_end(g);
  assert_int_equal(sm_graph_plan(g, &p.err), SM_EINVAL);
  assert_string_equal(p.err.message,
                      "features of the last 4 blocks are wanted, but vit has 3 and gives at most 16");
  sm_graph_free(g);
  sm_pool_free(pool);
  sm_set_free(set);
  close_piece(&p);
}

/* Where only some tokens are wanted, they are what they are among all; in double precision, so that no sum order
 * blurs it. */
static void test_only_some(void **state) {
  enum { B = 3, T = 17, D = 8 };
  piece p = open_piece(SM_BACKBONE, "vit",
                       "{arch: custom, dim: 8, depth: 3, heads: 2, patch_size: 4, layer_scale: 0.5}");
  const sm_backbone_ops *ops = p.instance.plugin->ops;
  sm_set *set = sm_set_new("v", SM_F64, false, &p.err);
  ops->declare(p.instance.self, 16, &(sm_params){set, ""});
  assert_int_equal(sm_set_seal(set, SM_MOMENTS_NONE, &p.err), SM_OK);
  assert_int_equal(sm_set_allocate(set, 1, &p.err), SM_OK);
  sm_pool *pool = sm_pool_new(2, &p.err);
  sm_graph *g = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .real = SM_F64, .pool = pool}, &p.err);
  sm_tensor *count = sm_count(g, "pictures", B);
  sm_tensor *x = sm_input_real(g, "pictures", 4, (int64_t[]){B, 3, 16, 16}, count);
  sm_rows *rows = sm_rows_new(g, "rows", B, B, T, count);
  sm_backbone_out out[2];
  int pass = sm_pass_begin(g, "see");
  for (int some = 0; some < 2; some++) {
    out[some] = (sm_backbone_out){0};
    sm_backbone_in in = {.pictures = x, .last_blocks = 2, .only = some ? rows : NULL};
    ops->build(p.instance.self, g, &(sm_params){set, ""}, &in, &out[some]);
    for (int b = 0; b < 2; b++) sm_keep(g, out[some].blocks[b]);
  }
  sm_pass_end(g);
  if (sm_graph_plan(g, &p.err) != SM_OK || sm_graph_allocate(g, &p.err) != SM_OK)
    fail_msg("%s", p.err.message);
  assert_true(out[1].tokens->ndim == 2 && out[1].tokens->dim[0] == B && out[1].tokens->dim[1] == D);
  sm_rng rng = sm_rng_make(1, SM_RNG_TEST, 0, 0, 0);
  for (int64_t i = 0; i < sm_elements(x); i++) sm_fill(x, i, 1, sm_rng_normal(&rng));
  static const int32_t wanted[2][B] = {{0, T, 2 * T}, {5, T + 16}}; /* [CLS] of each; any, of two pictures */
  for (int trial = 0; trial < 2; trial++) {
    int n = trial ? 2 : 3;
    sm_put(count, n);
    sm_rows_set(rows, wanted[trial], n);
    sm_graph_run(g, pass);
    assert_int_equal(sm_items(out[1].tokens), n);
    for (int b = 0; b < 2; b++)
      for (int r = 0; r < n; r++)
        for (int d = 0; d < D; d++)
          assert_float_equal(sm_get(out[1].blocks[b], r * D + d),
                             sm_get(out[0].blocks[b], wanted[trial][r] * D + d), 1e-12);
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
  assert_int_equal(ops->out_dim(p.instance.self, SM_SITE_VIEW), 96);
  assert_int_equal(ops->out_dim(p.instance.self, SM_SITE_PATCH), 48);
  assert_true(ops->affine);
  sm_set *set = sm_set_new("s", SM_F32, true, NULL);
  ops->declare(p.instance.self, &(sm_params){set, ""}, 384, 96, 48, SM_ROLE_STUDENT);
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
      ops->declare(p.instance.self, &(sm_params){set, ""}, 6, site ? 0 : 12, site ? 12 : 0, SM_ROLE_STUDENT);
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

/* wrong_backbones.c — conv, each time with one mistake that the check must name. */
#define smalti_module module_of_the_right_one
#define sm_abi_note_ note_of_the_right_one
#include "conv.c"
#undef smalti_module
#undef sm_abi_note_

/* ---- wrong answers to spec: of a field that says what it is, or of one that build then does not keep to */

#define WRONG_SPEC(name, mistake)                                                                        \
  static sm_status name(const void *self, int height, int width, sm_backbone_spec *out, sm_error *err) { \
    sm_status status = conv_spec(self, height, width, out, err);                                         \
    mistake;                                                                                             \
    return status;                                                                                       \
  }
WRONG_SPEC(wrong_cell, out->cell = 5)
WRONG_SPEC(narrow_end, out->block[2].dim = out->block[0].dim)
WRONG_SPEC(wide_view, out->dim++)
WRONG_SPEC(few_layers, (out->layers = 2, out->drop_columns = out->drop_sites = 0))

/* ---- wrong answers of build ---------------------------------------------------------------------------- */

static void hides_nothing(const void *self, sm_graph *g, const sm_params *p, const sm_backbone_in *in,
                          sm_backbone_out *out) {
  sm_backbone_in seen = *in;
  seen.mask = NULL;
  conv_build(self, g, p, &seen, out);
}

static void gives_all(const void *self, sm_graph *g, const sm_params *p, const sm_backbone_in *in,
                      sm_backbone_out *out) {
  sm_backbone_in all = *in;
  all.only = NULL;
  conv_build(self, g, p, &all, out);
}

static void no_block_views(const void *self, sm_graph *g, const sm_params *p, const sm_backbone_in *in,
                           sm_backbone_out *out) {
  conv_build(self, g, p, in, out);
  for (int k = 0; k < in->blocks; k++)
    if (!in->block[k].raw) out->block[k].view = NULL;
}

#define WRONG(plugin, text, ...)                                                                  \
  static const sm_backbone_ops plugin##_ops = {.declare = conv_declare, __VA_ARGS__};             \
  static const sm_plugin plugin##_plugin = {.kind = SM_BACKBONE,                                  \
                                            .name = #plugin,                                      \
                                            .summary = text,                                      \
                                            .version = "1",                                       \
                                            .license = "Apache-2.0",                              \
                                            .options = options,                                   \
                                            .n_options = sizeof options / sizeof *options,        \
                                            .instance_size = sizeof(conv),                        \
                                            .ops = &plugin##_ops};
WRONG(cell_of_five, "Cells that do not cover the picture", .spec = wrong_cell, .build = conv_build)
WRONG(last_block_narrow, "A last block that is not the backbone's", .spec = narrow_end, .build = conv_build)
WRONG(view_too_wide, "A width that build does not give", .spec = wide_view, .build = conv_build)
WRONG(counts_two_layers, "Fewer layers than it declares", .spec = few_layers, .build = conv_build)
WRONG(masks_ignored, "Masks that hide nothing", .spec = conv_spec, .build = hides_nothing)
WRONG(only_ignored, "All patches where some are wanted", .spec = conv_spec, .build = gives_all)
WRONG(block_without_view, "Blocks without a view", .spec = conv_spec, .build = no_block_views)

SM_MODULE(&cell_of_five_plugin, &last_block_narrow_plugin, &view_too_wide_plugin, &counts_two_layers_plugin,
          &masks_ignored_plugin, &only_ignored_plugin, &block_without_view_plugin)

/* cmd_export.c — `smalti export NETWORK`: a backbone's weights for other programs. */
#include <inttypes.h>
#include <string.h>

#include "framework/base/io.h"
#include "framework/formats/formats.h"
#include "network.h"

static const char *const nets[] = {"auto", "teacher", "student", "init",
                                   NULL};                    /* the first of sm_net_names */
static const char *const formats[] = {"timm", "ibot", "hf", NULL}; /* in the order of sm_weights_format */

struct export_options {
  sm_network_options network;
  const char *out;
  int format;
  bool force;
};

static const sm_option options[] = {
    SM_CHOICE(struct export_options, network.net, "net", "auto", nets,
              "which weights; auto: the teacher where there is one"),
    SM_PATH(struct export_options, out, "out", "~",
            "the file to write; left out: NETWORK/backbone-NET.safetensors"),
    SM_CHOICE(struct export_options, format, "format", "timm", formats,
              "timm: what timm loads strictly; ibot: also the mask token, and the names of iBOT's and DINO's code; hf: the names of Hugging Face's ViTModel or Dinov2Model"),
    SM_FORCE_OPTION(struct export_options),
    SM_NETWORK_OPTIONS(struct export_options, network),
};

static sm_status cmd_export_choose_out(sm_cli *cli, const struct export_options *o, const sm_network *net,
                            const char **out, sm_error *err) {
  const char *run = sm_network_run(net);
  *out = o->out;
  if (!*out && !run) {
    sm_fail(err, SM_EINVAL, "there is no run folder to put the weights into");
    return sm_hint(err, "say where to: --out FILE");
  }
  if (!*out) {
    char name[64];
    snprintf(name, sizeof name, "backbone-%s%s%s.safetensors", sm_net_names[sm_network_net(net)],
             o->format ? "-" : "", o->format ? formats[o->format] : "");
    if (!(*out = sm_path_join(cli->arena, run, name))) return sm_fail(err, SM_ENOMEM, "out of memory");
  }
  return sm_cli_may_write(*out, o->force, err);
}

/* The call that makes the same network in another program, where its backbone knows one. */
static void cmd_export_say_call(const sm_cli *cli, const sm_network *net) {
  const void *self;
  const sm_plugin *p = sm_network_plugin(net, &self);
  const sm_network_spec *spec = sm_network_describe(net);
  const sm_backbone_ops *ops = p->ops;
  sm_text text = {0};
  if (ops->elsewhere) ops->elsewhere(self, spec->height, spec->width, &text);
  if (text.s && !text.failed) sm_cli_note(cli, "in %s", text.s);
  sm_text_free(&text);
}

/* The same for Hugging Face, by the sizes of what was written. */
static void cmd_export_say_hf(const sm_cli *cli, const sm_network *net) {
  const sm_network_spec *spec = sm_network_describe(net);
  sm_set *set = sm_network_set(net);
  const int scaled = sm_set_find(set, SM_BACKBONE_PREFIX "blocks.0.ls1.gamma") >= 0,
            hidden = sm_set_find(set, SM_BACKBONE_PREFIX "blocks.0.mlp.fc1.weight"),
            registers = sm_set_find(set, SM_BACKBONE_PREFIX "register_tokens");
  char more[80] = "", size[40];
  if (spec->height == spec->width) snprintf(size, sizeof size, "%d", spec->height);
  else snprintf(size, sizeof size, "(%d, %d)", spec->height, spec->width);
  if (scaled && hidden < 0) snprintf(more, sizeof more, ", use_swiglu_ffn=True");
  else if (scaled) snprintf(more, sizeof more, ", mlp_ratio=%g", (double)sm_set_row(set, hidden)->dim[0] / spec->backbone.dim);
  else snprintf(more, sizeof more, ", intermediate_size=%d, layer_norm_eps=1e-6", (int)sm_set_row(set, hidden)->dim[0]);
  const char *model = !scaled ? "ViT" : registers >= 0 ? "Dinov2WithRegisters" : "Dinov2";
  sm_cli_note(cli,
              "in transformers: %sModel(%sConfig(hidden_size=%d, num_hidden_layers=%d, num_attention_heads=%d%s, image_size=%s, patch_size=%d)%s)",
              model, model, spec->backbone.dim, spec->backbone.layers, spec->backbone.heads, more, size,
              spec->backbone.cell, scaled ? "" : ", add_pooling_layer=False");
}

static int cmd_export_say(const sm_cli *cli, const struct export_options *o, const sm_network *net,
                          const char *out, int dropped, int64_t elements) {
  if (o->format == SM_WEIGHTS_HF) cmd_export_say_hf(cli, net);
  else if (dropped)
    sm_cli_note(cli, "left out %d %s that the backbone needs for training only; --format ibot keeps %s",
                dropped, sm_plural(dropped, "tensor", "tensors"), sm_plural(dropped, "it", "them"));
  if (o->format == SM_WEIGHTS_TIMM) cmd_export_say_call(cli, net);
  if (!cli->json) {
    printf("%s\n", out);
    return SM_EXIT_OK;
  }
  sm_json j = {0};
  sm_json_begin(&j);
  sm_json_string(&j, "file", out);
  sm_json_string(&j, "format", formats[o->format]);
  sm_json_string(&j, "net", sm_net_names[sm_network_net(net)]);
  sm_json_int(&j, "step", sm_network_about(net)->step);
  sm_json_string(&j, "backbone", sm_network_about(net)->backbone);
  sm_json_int(&j, "numbers", elements);
  sm_json_int(&j, "left_out", dropped);
  return sm_cli_json(&j);
}

static int cmd_export_run(sm_cli *cli, int argc, char **argv) {
  const struct export_options *o = cli->options;
  sm_network *net;
  sm_error err = {0};
  const char *out = NULL;
  int dropped = 0, code = SM_EXIT_OK;
  int64_t elements = 0;
  (void)argc;
  sm_status status = sm_cli_network(cli, &o->network, argv[1], &net, &err);
  if (!status) status = sm_cli_network_say(cli, net, sm_network_allocate(net, &err));
  if (!status) status = cmd_export_choose_out(cli, o, net, &out, &err);
  if (!status)
    status = sm_weights_save(out, sm_network_set(net), SM_BACKBONE_PREFIX, (sm_weights_format)o->format,
                             sm_network_about(net), &dropped, &elements, &err);
  if (!status) code = cmd_export_say(cli, o, net, out, dropped, elements);
  sm_network_close(net);
  return status ? sm_cli_fail(&err) : code;
}

const sm_command sm_command_export = {
    .name = "export",
    .usage = "NETWORK",
    .summary = "write a backbone's weights for other programs",
    .about =
        "NETWORK is a run folder (its newest checkpoint counts), a checkpoint in one, or a weights file, also one of another "
        "program ('weights show' says how it is read). The result is a safetensors file with timm's names, or those of --format; "
        "its metadata says what network it is and how pictures are normalised, so that smalti opens it again without the run.",
    .min_args = 1,
    .max_args = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .options_size = sizeof(struct export_options),
    .run = cmd_export_run,
};

/* cmd_export.c — `smalti export NETWORK`: a backbone's weights for other programs. */
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "framework/formats/formats.h"

#include "framework/recipe/option.h"
#include "network.h"

static const char *const nets[] = {"auto", "teacher", "student", "init",
                                   NULL};                    /* the first of sm_net_names */
static const char *const formats[] = {"timm", "ibot", NULL}; /* in the order of sm_weights_format */

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
              "timm: what timm loads strictly; ibot: also the mask token, and the names of iBOT's code"),
    SM_BOOL(struct export_options, force, "force", "false", "replace a file that is there"),
    SM_NETWORK_OPTIONS(struct export_options, network),
};

static sm_status choose_out(sm_cli *cli, const struct export_options *o, const sm_trained *t,
                            const char **out, sm_error *err) {
  struct stat st;
  *out = o->out;
  if (!*out && !t->run) {
    sm_fail(err, SM_EINVAL, "there is no run folder to put the weights into");
    return sm_hint(err, "say where to: --out FILE");
  }
  if (!*out) {
    char name[64];
    snprintf(name, sizeof name, "backbone-%s%s.safetensors", sm_net_names[t->net], o->format ? "-ibot" : "");
    if (!(*out = sm_path_join(cli->arena, t->run, name))) return sm_fail(err, SM_ENOMEM, "out of memory");
  }
  if (o->force || stat(*out, &st) != 0) return SM_OK;
  sm_fail(err, SM_EINVAL, "the file is there already");
  sm_fail_at(err, *out, 0, 0);
  return sm_hint(err, "give another name with --out, or --force to replace it");
}

/* An option of the backbone as text, where it has a value that timm's default is not. */
static void add_difference(sm_text *text, const sm_trained *t, const char *name, const char *usual,
                           const char *timm) {
  for (uint32_t i = 0; i < t->backbone->n_options; i++) {
    sm_text value = {0};
    if (strcmp(t->backbone->options[i].name, name) != 0) continue;
    sm_option_write(&t->backbone->options[i], t->backbone_self, &value);
    if (value.s && strcmp(value.s, usual) != 0)
      sm_text_add(text, ", %s=%s", timm, !strcmp(value.s, "false") ? "False" : value.s);
    sm_text_free(&value);
  }
}

/* The call that makes the same network in timm. */
static void say_timm(const sm_cli *cli, const sm_trained *t) {
  sm_backbone_spec *spec = sm_arena_alloc(cli->arena, sizeof *spec);
  sm_text text = {0};
  if (!spec || strcmp(t->backbone->name, "vit") != 0) return;
  if (sm_backbone_ask(t->backbone->ops, t->backbone_self, t->about.height, t->about.width, spec, NULL)) return;
  if (t->about.height == t->about.width) sm_text_add(&text, "img_size=%d", t->about.height);
  else sm_text_add(&text, "img_size=(%d, %d)", t->about.height, t->about.width);
  sm_text_add(&text, ", patch_size=%d, embed_dim=%d, depth=%d, num_heads=%d", spec->patch, spec->dim, spec->depth, spec->heads);
  add_difference(&text, t, "mlp_ratio", "4", "mlp_ratio");
  add_difference(&text, t, "qkv_bias", "true", "qkv_bias");
  add_difference(&text, t, "layer_scale", "0", "init_values");
  if (text.s) sm_cli_note(cli, "in timm: VisionTransformer(%s, num_classes=0)", text.s);
  sm_text_free(&text);
}

static int say(const sm_cli *cli, const struct export_options *o, const sm_trained *t, const char *out,
               int dropped, int64_t elements) {
  if (dropped)
    sm_cli_note(cli, "left out %d tensor%s that timm does not know (the mask token); --format ibot keeps %s",
                dropped, dropped == 1 ? "" : "s", dropped == 1 ? "it" : "them");
  if (o->format == SM_WEIGHTS_TIMM) say_timm(cli, t);
  if (!cli->json) {
    printf("%s\n", out);
    return SM_EXIT_OK;
  }
  sm_json j = {0};
  sm_json_begin(&j);
  sm_json_string(&j, "file", out);
  sm_json_string(&j, "format", formats[o->format]);
  sm_json_string(&j, "net", sm_net_names[t->net]);
  sm_json_int(&j, "step", t->about.step);
  sm_json_string(&j, "backbone", t->about.backbone);
  sm_json_int(&j, "numbers", elements);
  sm_json_int(&j, "left_out", dropped);
  return sm_cli_json(&j);
}

static int run(sm_cli *cli, int argc, char **argv) {
  const struct export_options *o = cli->options;
  sm_trained_options from;
  sm_trained t;
  sm_error err = {0};
  const char *out = NULL;
  int dropped = 0, code = SM_EXIT_OK;
  int64_t elements = 0;
  (void)argc;
  sm_status status = sm_network_open(cli, &o->network, argv[1], &from, &t, &err);
  if (!status) status = choose_out(cli, o, &t, &out, &err);
  if (!status)
    status = sm_weights_save(out, t.set, "backbone.", (sm_weights_format)o->format, &t.about, &dropped,
                             &elements, &err);
  if (!status) code = say(cli, o, &t, out, dropped, elements);
  sm_trained_free(&t);
  return status ? sm_cli_fail(&err) : code;
}

const sm_command sm_command_export = {
    .name = "export",
    .usage = "NETWORK",
    .summary = "write a backbone's weights for other programs",
    .about =
        "NETWORK is a run folder (its newest checkpoint counts), a checkpoint in one, or a weights file. "
        "The result is a safetensors file with timm's names; "
        "its metadata says what network it is and how pictures are normalised, so that smalti opens it again without the run.",
    .min_args = 1,
    .max_args = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .options_size = sizeof(struct export_options),
    .run = run,
};

/* cmd_plugins.c — `smalti plugins list` and `smalti plugins show`: what plugins there are, and what one
 * takes.
 *
 * Both read descriptors only. `show` also asks a plugin that needs no options for its spec, to say what it
 * needs and gives. */
#include "cmd_plugins.h"

#include <string.h>

#include "framework/formats/formats.h"

#include "framework/plugin/kind.h"
#include "framework/plugin/registry_private.h"
#include "framework/plugin/option.h"

static int cmd_plugins_columns(const char *utf8) { /* characters, not bytes: enough to align texts */
  int n = 0;
  for (; *utf8; utf8++) n += ((unsigned char)*utf8 & 0xc0) != 0x80;
  return n;
}

static void cmd_plugins_pad(const char *text, int width) {
  printf("%s%*s", text, width > cmd_plugins_columns(text) ? width - cmd_plugins_columns(text) : 0, "");
}

sm_kind sm_plugins_kind(const char *name, sm_error *err) {
  const char *names[SM_KIND_END];
  sm_kind kind = sm_kind_named(name);
  if (kind) return kind;
  for (int k = 1; k < SM_KIND_END; k++) names[k - 1] = sm_kind_name((sm_kind)k);
  names[SM_KIND_END - 1] = NULL;
  sm_fail(err, SM_EINVAL, "there is no kind of plugin called '%.60s'", name);
  sm_hint_names(err, name, names, "kinds");
  return kind;
}

/* ---- plugins list -------------------------------------------------------------------------------------- */

static void cmd_plugins_list_json_plugin(sm_json *json, const sm_registry *r, const sm_plugin *p) {
  sm_json_object(json, NULL);
  sm_json_string(json, "kind", sm_kind_name((sm_kind)p->kind));
  sm_json_string(json, "name", p->name);
  sm_json_string(json, "summary", p->summary);
  sm_json_string(json, "version", p->version);
  sm_json_string(json, "file", sm_registry_file(r, p));
  if (sm_registry_hides(r, p)) sm_json_string(json, "hides", sm_registry_hides(r, p));
  sm_json_close(json);
}

static int cmd_plugins_list_json(const sm_registry *r, sm_kind kind) {
  sm_json json = {0};
  sm_json_begin(&json);
  sm_json_array(&json, "plugins");
  for (int k = 0; k < sm_registry_count(r); k++)
    if (!kind || sm_registry_at(r, k)->kind == kind)
      cmd_plugins_list_json_plugin(&json, r, sm_registry_at(r, k));
  sm_json_close(&json);
  sm_json_array(&json, "refused");
  for (int k = 0; k < sm_registry_refusals(r); k++) {
    const sm_error *why = sm_registry_refusal(r, k);
    sm_json_object(&json, NULL);
    sm_json_string(&json, "file", why->place);
    sm_json_string(&json, "reason", why->message);
    sm_json_string(&json, "hint", why->hint);
    sm_json_close(&json);
  }
  sm_json_close(&json);
  return sm_cli_json(&json);
}

static void cmd_plugins_list_text(const sm_registry *r, sm_kind kind) {
  int width = 8;
  uint32_t last = 0;
  for (int k = 0; k < sm_registry_count(r); k++) {
    int n = (int)strlen(sm_registry_at(r, k)->name);
    if (n > width) width = n;
  }
  for (int k = 0; k < sm_registry_count(r); k++) {
    const sm_plugin *p = sm_registry_at(r, k);
    if (kind && p->kind != kind) continue;
    const char *name = sm_kind_name((sm_kind)p->kind);
    if (p->kind != last) printf("%s%s%s\n", last ? "\n" : "", name, p->kind == SM_LOSS ? "es" : "s");
    printf("  %-*s  %s\n", width, p->name, p->summary);
    last = p->kind;
  }
}

static int cmd_plugins_run_list(sm_cli *cli, int argc, char **argv) {
  sm_error err;
  sm_registry *r;
  sm_kind kind = argc > 1 ? sm_plugins_kind(argv[1], &err) : (sm_kind)0;
  if (argc > 1 && !kind) return sm_cli_usage_error(&err);
  if (sm_cli_registry(cli, &r, &err) != SM_OK || sm_registry_scan(r, &err) != SM_OK) return sm_cli_fail(&err);
  if (cli->json) return cmd_plugins_list_json(r, kind);
  cmd_plugins_list_text(r, kind);
  int n = 0;
  for (int k = 0; k < sm_registry_count(r); k++) n += !kind || sm_registry_at(r, k)->kind == kind;
  if (n == 0) {
    sm_cli_note(cli, "smalti: no plugins were found in these folders:");
    for (int k = 0; sm_registry_folder(r, k); k++) sm_cli_note(cli, "  %s", sm_registry_folder(r, k));
  }
  for (int k = 0; k < sm_registry_count(r); k++) {
    const sm_plugin *p = sm_registry_at(r, k);
    const char *hides = kind && p->kind != kind ? NULL : sm_registry_hides(r, p);
    if (hides)
      sm_cli_note(cli, "smalti: %s '%s' is that of %s, which hides %s", sm_kind_name((sm_kind)p->kind),
                  p->name, sm_registry_file(r, p), hides);
  }
  for (int k = 0; k < sm_registry_refusals(r); k++) {
    char text[sizeof(sm_error) + 16];
    sm_cli_note(cli, "smalti: refused: %s", sm_error_text(sm_registry_refusal(r, k), text, sizeof text));
  }
  return SM_EXIT_OK;
}

const sm_command sm_command_plugins_list = {
    .name = "plugins list",
    .usage = "[KIND]",
    .summary = "list the plugins that are found, and the modules that are refused",
    .about =
        "KIND is @KINDS@. "
        "Plugins are looked for in the folders of --plugin-path, of SMALTI_PLUGIN_PATH, and where smalti is installed.",
    .max_args = 1,
    .run = cmd_plugins_run_list,
};

/* ---- plugins show -------------------------------------------------------------------------------------- */

static const char *const type_names[] = {
    [SM_OPT_INT] = "int",       [SM_OPT_FLOAT] = "float", [SM_OPT_BOOL] = "bool",
    [SM_OPT_STRING] = "string", [SM_OPT_PATH] = "path",   [SM_OPT_CHOICE] = "choice",
    [SM_OPT_FLOATS] = "floats", [SM_OPT_INTS] = "ints",   [SM_OPT_SCHEDULE] = "schedule",
};

static const char *cmd_plugins_range_text(const sm_option *o, char *buf, size_t size) {
  char low[64], high[64];
  sm_text all = {0};
  buf[0] = 0;
  if (o->type == SM_OPT_CHOICE) {
    for (int k = 0; o->choices[k]; k++) sm_text_add(&all, "%s%s", k ? " | " : "", o->choices[k]);
    snprintf(buf, size, "%s", all.s ? all.s : "");
    sm_text_free(&all);
  } else if (o->min != 0 || o->max != 0) {
    snprintf(buf, size, "%s … %s", sm_double_text(o->min, low, sizeof low),
             sm_double_text(o->max, high, sizeof high));
  }
  return buf;
}

static const char *cmd_plugins_default_text(const sm_option *o) {
  return !o->def ? "(required)" : !strcmp(o->def, "~") ? "(none)" : o->def;
}

static int cmd_plugins_wider(int width, const char *text) {
  return cmd_plugins_columns(text) > width ? cmd_plugins_columns(text) : width;
}

static void cmd_plugins_show_row(const char *const cells[5], const int widths[4]) {
  int last = 4;
  while (last > 0 && !cells[last][0]) last--;
  for (int k = 0; k < last; k++)
    cmd_plugins_pad(cells[k], cmd_plugins_columns(cells[k]) > widths[k] ? cmd_plugins_columns(cells[k]) + 2
                                                                        : widths[k] + 2);
  printf("%s\n", cells[last]);
}

static void cmd_plugins_show_options(const sm_plugin *p) {
  char range[256];
  int widths[4] = {6, 4, 7, 5};
  if (!p->n_options) {
    printf("\nIt takes no options.\n");
    return;
  }
  for (uint32_t k = 0; k < p->n_options; k++) {
    const sm_option *o = &p->options[k];
    widths[0] = cmd_plugins_wider(widths[0], o->name);
    widths[1] = cmd_plugins_wider(widths[1], type_names[o->type]);
    widths[2] = cmd_plugins_wider(widths[2], cmd_plugins_default_text(o));
    widths[3] = cmd_plugins_wider(widths[3], cmd_plugins_range_text(o, range, sizeof range));
  }
  if (widths[2] > 28) widths[2] = 28; /* a long one pushes its own row only */
  if (widths[3] > 36) widths[3] = 36;
  printf("\n");
  cmd_plugins_show_row((const char *const[]){"OPTION", "TYPE", "DEFAULT", "RANGE", "UNIT"}, widths);
  for (uint32_t k = 0; k < p->n_options; k++) {
    const sm_option *o = &p->options[k];
    cmd_plugins_show_row((const char *const[]){o->name, type_names[o->type], cmd_plugins_default_text(o),
                                   cmd_plugins_range_text(o, range, sizeof range), o->unit ? o->unit : ""},
             widths);
    printf("    %s\n", o->doc);
  }
}

static const char *cmd_plugins_form_name(sm_form form) {
  switch (form) {
    case SM_TARGET_NONE:
      break;
    case SM_TARGET_DISTRIBUTION:
      return "distribution";
    case SM_TARGET_IDS:
      return "ids";
    case SM_TARGET_VECTORS:
      return "vectors";
  }
  return "nothing";
}

static void cmd_plugins_spec_backbone(const sm_plugin *p, const void *self, sm_text *text) {
  sm_backbone_spec *s = sm_calloc(1, sizeof *s);
  sm_error err;
  static const int sizes[] = {224, 32};
  const sm_backbone_ops *ops = p->ops;
  for (int k = 0; s && !text->len && k < 2; k++) {
    *s = (sm_backbone_spec){0};
    if (ops->spec(self, sizes[k], sizes[k], s, &err) != SM_OK) continue;
    sm_text_add(text, "width %d, patches of %d px, %d %s to look at, %d %s", s->dim, s->cell,
                s->blocks ? s->blocks : 1, sm_plural(s->blocks ? s->blocks : 1, "block", "blocks"), s->layers,
                sm_plural(s->layers, "layer", "layers"));
    if (s->heads) sm_text_add(text, ", attention of %d %s", s->heads, sm_plural(s->heads, "head", "heads"));
    else sm_text_add(text, ", no attention");
    if (s->batch_norm) sm_text_add(text, ", batch norm");
    if (s->one_grid) sm_text_add(text, ", one grid");
  }
  sm_free(s);
}

static void cmd_plugins_spec_tokenizer(const sm_plugin *p, const void *self, sm_text *text) {
  const sm_tokenizer_ops *ops = p->ops;
  sm_tokenizer_spec s = {0};
  sm_error err;
  if (ops->spec(self, &s, &err) != SM_OK) return;
  sm_text_add(text, "gives %s for views, %s for patches%s; needs %s%s", cmd_plugins_form_name(s.view),
              cmd_plugins_form_name(s.patch), ops->build_local && !s.own ? ", of local views too" : "",
              s.needs_teacher ? "a teacher" : "no teacher", s.needs_head ? ", a head" : "");
  if (s.teacher_blocks == 1) sm_text_add(text, ", the teacher's last block");
  else if (s.teacher_blocks) sm_text_add(text, ", the teacher's last %d blocks", s.teacher_blocks);
  if (s.whole_step) sm_text_add(text, ", whole steps");
}

static void cmd_plugins_spec_objective(const sm_plugin *p, const void *self, sm_text *text) {
  const sm_objective_ops *ops = p->ops;
  sm_objective_spec s;
  sm_error err;
  if (sm_objective_ask(ops, self, 0, 0, &s, &err) != SM_OK) return;
  sm_text_add(text, "pictures normalised %s%s", s.normalises ? "in its own way" : "as the recipe says",
              ops->show ? "; shows pictures after each epoch" : "");
}

static void cmd_plugins_spec_loss(const sm_plugin *p, const void *self, sm_text *text) {
  sm_loss_spec s = {0};
  sm_error err;
  if (((const sm_loss_ops *)p->ops)->spec(self, &s, &err) != SM_OK) return;
  sm_text_add(text, "%s %s of %s", s.forms ? "compares" : "looks at", s.features ? "features" : "logits",
              s.site == SM_SITE_VIEW ? (s.local_views ? "global and local views" : "global views")
              : s.local_views        ? "masked patches of global and local views"
                                     : "masked patches of global views");
  if (s.forms) sm_text_add(text, " with ");
  for (int bit = 1, n = 0; bit <= SM_TARGET_VECTORS; bit <<= 1)
    if (s.forms & (unsigned)bit)
      sm_text_add(text, "%s%s", n++ ? " or " : "", cmd_plugins_form_name((sm_form)bit));
  if (s.whole_step) sm_text_add(text, "; needs whole steps");
}

static void cmd_plugins_spec_head(const sm_head_ops *ops, sm_text *text) {
  if (ops->affine) sm_text_add(text, "logits are affine in the features");
  if (ops->whole_step) sm_text_add(text, "%sneeds whole steps", text->len ? "; " : "");
  if (ops->declare_state) sm_text_add(text, "%skeeps a state", text->len ? "; " : "");
}

/* What the plugin needs and gives with its default options, or nothing where those are not enough to say. */
static void cmd_plugins_show_spec(const sm_host *host, const sm_plugin *p, sm_text *text) {
  sm_instance instance = {0};
  sm_error err;
  sm_arena *arena = sm_arena_new("show");
  if (arena && sm_instance_new(host, p, &instance, &err) == SM_OK &&
      sm_options_fill(p, NULL, instance.self, arena, &err) == SM_OK) {
    if (p->kind == SM_BACKBONE) cmd_plugins_spec_backbone(p, instance.self, text);
    if (p->kind == SM_TOKENIZER) cmd_plugins_spec_tokenizer(p, instance.self, text);
    if (p->kind == SM_LOSS) cmd_plugins_spec_loss(p, instance.self, text);
    if (p->kind == SM_OBJECTIVE) cmd_plugins_spec_objective(p, instance.self, text);
    if (p->kind == SM_MASKER)
      sm_text_add(text, "hides at most %.4g %% of the patches",
                  100 * ((const sm_masker_ops *)p->ops)->max_ratio(instance.self));
    if (p->kind == SM_HEAD) cmd_plugins_spec_head(p->ops, text);
  }
  if (instance.plugin) sm_instance_free(&instance);
  sm_arena_free(arena);
}

static int cmd_plugins_show_json(const sm_registry *r, const sm_plugin *p, const char *spec) {
  sm_json json = {0};
  sm_json_begin(&json);
  sm_json_string(&json, "kind", sm_kind_name((sm_kind)p->kind));
  sm_json_string(&json, "name", p->name);
  sm_json_string(&json, "summary", p->summary);
  sm_json_string(&json, "by_default", spec);
  sm_json_string(&json, "cite", p->cite);
  sm_json_string(&json, "version", p->version);
  sm_json_string(&json, "license", p->license);
  sm_json_string(&json, "file", sm_registry_file(r, p));
  sm_json_array(&json, "options");
  for (uint32_t k = 0; k < p->n_options; k++) {
    const sm_option *o = &p->options[k];
    sm_json_object(&json, NULL);
    sm_json_string(&json, "name", o->name);
    sm_json_string(&json, "type", type_names[o->type]);
    sm_json_bool(&json, "required", !o->def);
    sm_json_string(&json, "default", o->def && strcmp(o->def, "~") != 0 ? o->def : NULL);
    if (o->type == SM_OPT_CHOICE) {
      sm_json_array(&json, "choices");
      for (int j = 0; o->choices[j]; j++) sm_json_string(&json, NULL, o->choices[j]);
      sm_json_close(&json);
    } else if (o->min != 0 || o->max != 0) {
      sm_json_double(&json, "min", o->min);
      sm_json_double(&json, "max", o->max);
    }
    sm_json_string(&json, "unit", o->unit);
    sm_json_string(&json, "doc", o->doc);
    sm_json_close(&json);
  }
  sm_json_close(&json);
  return sm_cli_json(&json);
}

static void cmd_plugins_show_text(const sm_registry *r, const sm_plugin *p, const char *spec) {
  printf("%s %s: %s\n\n", sm_kind_name((sm_kind)p->kind), p->name, p->summary);
  if (spec && spec[0]) printf("  by default  %s\n", spec);
  if (p->cite) printf("  cite        %s\n", p->cite);
  printf("  version     %s\n  license     %s\n  file        %s\n", p->version, p->license,
         sm_registry_file(r, p));
  cmd_plugins_show_options(p);
}

const sm_plugin *sm_plugins_find(sm_registry *r, const char *text, sm_error *err) {
  const sm_plugin *found = NULL;
  const char *slash = strchr(text, '/');
  if (slash) {
    char kind[32];
    snprintf(kind, sizeof kind, "%.*s", (int)(slash - text), text);
    sm_kind k = sm_plugins_kind(kind, err);
    return k ? sm_registry_find(r, k, slash + 1, err) : NULL;
  }
  const char *names[256];
  int n = 0;
  if (sm_registry_scan(r, err) != SM_OK) return NULL;
  for (int k = 0; k < sm_registry_count(r); k++) {
    const sm_plugin *p = sm_registry_at(r, k);
    if (n < 255) names[n++] = p->name;
    if (strcmp(p->name, text) != 0) continue;
    if (found) {
      sm_fail(err, SM_EINVAL, "'%s' is %s %s and %s %s", text, sm_kind_article((sm_kind)found->kind),
              sm_kind_name((sm_kind)found->kind), sm_kind_article((sm_kind)p->kind),
              sm_kind_name((sm_kind)p->kind));
      sm_hint(err, "say which: %s/%s", sm_kind_name((sm_kind)found->kind), text);
      return NULL;
    }
    found = p;
  }
  names[n] = NULL;
  if (found) return found;
  sm_fail(err, SM_ENOTFOUND, "no plugin called '%s'", text);
  const char *near = sm_nearest(text, names);
  if (near) sm_hint(err, "did you mean '%s'?", near);
  else sm_hint(err, "`smalti plugins list` shows what there is");
  return NULL;
}

static int cmd_plugins_run_show(sm_cli *cli, int argc, char **argv) {
  (void)argc;
  sm_error err;
  sm_registry *r;
  sm_text spec = {0};
  if (sm_cli_registry(cli, &r, &err) != SM_OK) return sm_cli_fail(&err);
  const sm_plugin *p = sm_plugins_find(r, argv[1], &err);
  if (!p) return sm_cli_fail(&err);
  cmd_plugins_show_spec(r, p, &spec);
  int code = SM_EXIT_OK;
  if (cli->json) code = cmd_plugins_show_json(r, p, spec.s);
  else cmd_plugins_show_text(r, p, spec.s);
  sm_text_free(&spec);
  return code;
}

const sm_command sm_command_plugins_show = {
    .name = "plugins show",
    .usage = "[KIND/]NAME",
    .summary = "show a plugin's options, citation and file",
    .min_args = 1,
    .max_args = 1,
    .run = cmd_plugins_run_show,
};

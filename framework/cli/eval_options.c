/* eval_options.c — see eval_options.h. */
#include "eval_options.h"

#include <string.h>

#include "framework/plugin/option.h"

/* ---- options ------------------------------------------------------------------------------------------- */

static const sm_option *eval_options_named(const sm_plugin *p, const char *name, size_t n) {
  for (uint32_t i = 0; i < p->n_options; i++)
    if (strlen(p->options[i].name) == n && !strncmp(p->options[i].name, name, n)) return &p->options[i];
  return NULL;
}

static sm_status eval_options_none(const sm_plugin *p, const char *name, size_t n, sm_error *err) {
  const char *names[128];
  char word[64];
  uint32_t count = p->n_options < 127 ? p->n_options : 127;
  for (uint32_t i = 0; i < count; i++) names[i] = p->options[i].name;
  names[count] = NULL;
  snprintf(word, sizeof word, "%.*s", (int)n, name);
  sm_fail(err, SM_EINVAL, "evaluation '%s' has no option '%s'", p->name, word);
  sm_hint_names(err, word, names, "options");
  return SM_EINVAL;
}

sm_status sm_eval_set_option(sm_cli *cli, sm_instance *instance, const char *name, size_t n,
                             const char *value, sm_error *err) {
  const sm_option *o = eval_options_named(instance->plugin, name, n);
  if (!o) return eval_options_none(instance->plugin, name, n, err);
  bool list = (o->type == SM_OPT_INTS || o->type == SM_OPT_FLOATS) && value[0] != '[';
  char *text = sm_arena_printf(cli->arena, list ? "[%s]" : "%s", value);
  sm_yaml *yaml = text ? sm_yaml_read(cli->arena, NULL, false, text, strlen(text), err) : NULL;
  if (!text || (!yaml && err->code == SM_ENOMEM)) return sm_fail(err, SM_ENOMEM, "out of memory");
  if (!yaml) return sm_fail(err, SM_EINVAL, "%s cannot be read: '%.80s'", o->name, value);
  return sm_option_read(o, yaml, instance->plugin->name, cli->arena, instance->self, err);
}

/* KEY=VALUE: a name of an option before the first '=', and no path. */
bool sm_eval_is_setting(const char *word) {
  size_t n = strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789_.");
  return n > 0 && word[n] == '=';
}

enum { MOST_SIDE = 4096 };

sm_status sm_eval_size(const char *text, int *height, int *width, sm_error *err) {
  if (strcmp(text, "0") != 0) {
    if (sm_view_size_parse(text, height, width) && *height <= MOST_SIDE && *width <= MOST_SIDE) return SM_OK;
    sm_fail(err, SM_EINVAL, "--size must be pixels, 1 to %d, of a side or of height and width, not '%.80s'",
            MOST_SIDE, text);
    return sm_hint(err, "for instance --size 224 or --size 96x160");
  }
  if (*height) return SM_OK;
  sm_fail(err, SM_EINVAL, "it is not known how large the pictures shall be");
  return sm_hint(err, "say it: --size 224");
}

/* ---- the evaluation ------------------------------------------------------------------------------------ */

sm_status sm_eval_find(sm_cli *cli, sm_recipe *r, const char *name, sm_instance *own, sm_instance **found,
                       sm_slot **slot, sm_error *err) {
  *found = NULL, *slot = NULL;
  for (int by_plugin = 0; by_plugin < 2; by_plugin++)
    for (int i = 0; r && i < r->evaluations && !*found; i++)
      if (!strcmp(by_plugin ? r->evaluate[i].plugin.plugin->name : r->evaluate[i].instance, name))
        *slot = &r->evaluate[i], *found = &r->evaluate[i].plugin;
  if (*found) return SM_OK;
  sm_registry *registry;
  sm_status status = sm_cli_registry(cli, &registry, err);
  if (status) return status;
  const sm_plugin *p = sm_registry_find(registry, SM_EVALUATION, name, err);
  if (!p) return err->code;
  *found = own;
  status = sm_instance_new(registry, p, own, err);
  for (uint32_t i = 0; !status && i < p->n_options; i++)
    status = sm_option_default(&p->options[i], p->name, cli->arena, own->self, err);
  return status;
}

sm_feature_spec sm_eval_wants(const sm_instance *instance) {
  const sm_evaluation_ops *ops = instance->plugin->ops;
  sm_feature_spec want = {0};
  if (ops->wants) ops->wants(instance->self, &want);
  return want;
}

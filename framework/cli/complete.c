/* complete.c — see complete.h: plugins, the keys of recipes and evaluations, and their values. */
#include "complete.h"

#include <string.h>

#include "framework/plugin/kind.h"
#include "framework/recipe/recipe_private.h"

void sm_complete_offer(const char *candidate, const char *word) {
  if (strncmp(candidate, word, strlen(word)) == 0) puts(candidate);
}

/* ---- plugins ------------------------------------------------------------------------------------------- */

static sm_registry *complete_registry(sm_cli *cli) {
  sm_registry *registry;
  sm_error err;
  return sm_cli_registry(cli, &registry, &err) || sm_registry_scan(registry, &err) ? NULL : registry;
}

void sm_complete_plugins(sm_cli *cli, sm_kind kind, const char *before, const char *word) {
  sm_registry *r = complete_registry(cli);
  char text[512];
  for (int i = 0; r && i < sm_registry_count(r); i++) {
    const sm_plugin *p = sm_registry_at(r, i);
    if (kind && p->kind != (uint32_t)kind) continue;
    snprintf(text, sizeof text, "%s%s", before, p->name);
    sm_complete_offer(text, word);
    if (kind || !strchr(word, '/')) continue;
    snprintf(text, sizeof text, "%s/%s", sm_kind_name((sm_kind)p->kind), p->name);
    sm_complete_offer(text, word);
  }
}

void sm_complete_kinds(const char *word) {
  for (int k = 1; k < SM_KIND_END; k++) sm_complete_offer(sm_kind_name((sm_kind)k), word);
}

/* ---- one option ---------------------------------------------------------------------------------------- */

/* "KEY=", and behind it the words that a choice or a switch knows. */
static void complete_option(const sm_option *o, const char *path, const char *word) {
  static const char *const switches[] = {"true", "false", NULL};
  char key[400], text[512];
  snprintf(key, sizeof key, "%s%s%s=", path, *path ? "." : "", o->name);
  if (strncmp(word, key, strlen(key)) != 0) {
    sm_complete_offer(key, word);
    return;
  }
  const char *const *words = o->type == SM_OPT_CHOICE ? o->choices : o->type == SM_OPT_BOOL ? switches : NULL;
  for (; words && *words; words++) {
    snprintf(text, sizeof text, "%s%s", key, *words);
    sm_complete_offer(text, word);
  }
}

static void complete_options(const sm_option *options, int n, const char *path, const char *word) {
  for (int i = 0; i < n; i++) complete_option(&options[i], path, word);
}

/* ---- recipes ------------------------------------------------------------------------------------------- */

/* A slot's key, "masker=", and behind it the plugins of its kind; its plugin's options with the plugin's name
 * in the path, which may be left out, and then are offered only to a word that the long form does not fit. */
static void complete_slot(sm_cli *cli, const sm_slot_ref *ref, const char *path, const char *word) {
  const sm_plugin *p = ref->slot->plugin.plugin;
  char key[200], full[300];
  snprintf(key, sizeof key, "%s=", path);
  snprintf(full, sizeof full, "%s.%s", path, p->name);
  if (!strncmp(word, key, strlen(key))) sm_complete_plugins(cli, (sm_kind)p->kind, key, word);
  else sm_complete_offer(key, word);
  complete_options(p->options, (int)p->n_options, full, word);
  const size_t n = strlen(path), typed = strlen(word);
  if (typed > n + 1 && !strncmp(word, path, n) && word[n] == '.' &&
      strncmp(full, word, typed < strlen(full) ? typed : strlen(full)) != 0)
    complete_options(p->options, (int)p->n_options, path, word);
}

static void complete_slots(sm_cli *cli, const sm_recipe *r, const char *word) {
  sm_slot_ref refs[SM_SLOT_REFS_MAX];
  const int n = sm_recipe_slots(r, refs);
  for (int i = 0; i < n; i++) {
    const sm_schema *s = refs[i].schema;
    const bool many = s->shape == SM_SCHEMA_SLOTS;
    char path[160];
    snprintf(path, sizeof path, "%s%s%s", s->path, many ? "." : "", many ? refs[i].slot->instance : "");
    complete_slot(cli, &refs[i], path, word);
    if (s->single && !strcmp(refs[i].slot->instance, "main")) complete_slot(cli, &refs[i], s->single, word);
  }
}

void sm_complete_recipe(sm_cli *cli, char *recipe, const char *word) {
  sm_error err;
  sm_recipe *r = NULL;
  char *argv[] = {recipe, recipe, NULL};
  const sm_schema *sections[SM_SECTIONS_MAX];
  const int n = sm_recipe_sections(sections, SM_SECTIONS_MAX);
  const bool read = sm_cli_recipe(cli, 2, argv, &r, &err) == SM_OK;
  for (int i = 0; i < n; i++)
    if (!read || strncmp(sections[i]->path, "optimizer", 9) != 0 || sections[i] == r->priv->optimizer)
      complete_options(sections[i]->options, sections[i]->n_options, sections[i]->path, word);
  if (read) complete_slots(cli, r, word);
  sm_recipe_free(r);
}

/* ---- evaluations --------------------------------------------------------------------------------------- */

void sm_complete_evaluation(sm_cli *cli, const char *evaluation, const char *word) {
  sm_registry *r = complete_registry(cli);
  sm_error err;
  const sm_plugin *p = r ? sm_registry_find(r, SM_EVALUATION, evaluation, &err) : NULL;
  if (p) complete_options(p->options, (int)p->n_options, "", word);
}

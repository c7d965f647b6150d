/* reference.c — docs/recipes.md, the reference of every recipe key, from the tables of the core and of all
 * plugins. */
#include "cli.h"

#include <ctype.h>
#include <string.h>

#include "framework/plugin/option.h"
#include "framework/table/table.h"

static const char introduction[] =
    "<!-- Made by 'smalti help --reference' from the option tables; do not edit. -->\n"
    "# Recipe reference\n\n"
    "A recipe is one YAML document. Its keys, in the order of the resolved recipe:\n\n"
    "| key | holds |\n"
    "| --- | --- |\n"
    "| `smalti` | `1`, the version of the format; required |\n"
    "| `extends` | another recipe that this one changes; found beside this file, then in the recipe folders |\n"
    "| `name` | name of the run; not inherited |\n"
    "| `data` | `train` and `test`: a dataset each; `views`; reading |\n"
    "| `backbone`, `masker` | a plugin each; no `masker` means `none` |\n"
    "| `heads`, `tokenizers`, `losses`, `evaluate` | plugins under names of your choice |\n"
    "| `head`, `tokenizer` | short for `heads: {main: …}` and `tokenizers: {main: …}` |\n"
    "| `optimizer` | `adamw`, `sgd` or `lars` |\n"
    "| `train` | length, batch and conduct of the run |\n\n"
    "## Rules\n\n"
    "- A **plugin slot** is `{NAME: {option: value, …}}`, or just `NAME` for its defaults.\n"
    "- **`extends`**: sections merge key by key. A slot merges its options if the child names the same plugin; another plugin\n"
    "  replaces it whole. Values (numbers, lists, schedules) always replace. `key: !delete` drops an inherited key.\n"
    "- **Overrides** on the command line, `a.b.c=value`, follow the same rules: `train.epochs=10`, `masker.random.ratio=0.5`,\n"
    "  `losses.mim.weight=2`, `optimizer.adamw.lr.from=1e-3`, `losses.mim='!delete'`. The plugin's name may be left out where\n"
    "  the slot is filled: `masker.ratio=0.5`.\n"
    "- A **loss** joins one head and one tokenizer; with several to choose from it says `head: NAME`, `tokenizer: NAME`\n"
    "  among its options.\n"
    "- A **schedule** is one number (constant; for `lr`, which warms up, it is `from`) or\n"
    "  `{from, to, shape: cosine|linear|constant, per: step|epoch, start, epochs, warmup, warmup_from}`; what is left out comes\n"
    "  from the option's default. `start`, `epochs` and `warmup` count epochs; `epochs: 0` lasts to the end of the run. A\n"
    "  schedule that outlasts the run is an error, unless `train.scale_schedules` is true; lengths that nobody wrote adapt.\n"
    "- A relative **path** starts at the recipe's folder, one on the command line at the current folder.\n"
    "- `smalti recipe show` prints the resolved recipe; with `--places`, where each value was written.\n\n";

/* Text for a table cell: '|' would end it. */
static void reference_add_cell(sm_text *text, const char *s) {
  for (; *s; s++) {
    if (*s == '|') sm_text_add(text, "\\");
    sm_text_bytes(text, s, 1);
  }
}

static void reference_add_options(sm_text *text, const sm_option *options, int n) {
  if (n == 0) {
    sm_text_add(text, "No options.\n\n");
    return;
  }
  sm_text_add(text, "| option | value | default | meaning |\n| --- | --- | --- | --- |\n");
  for (int i = 0; i < n; i++) {
    const sm_option *o = &options[i];
    sm_text expects = {0};
    sm_option_expects(o, &expects);
    sm_text_add(text, "| `%s` | ", o->name);
    if (expects.s) reference_add_cell(text, expects.s);
    if (o->unit) sm_text_add(text, " (%s)", o->unit);
    if (!o->def) sm_text_add(text, " | *required* | ");
    else if (!strcmp(o->def, "~")) sm_text_add(text, " | none | ");
    else sm_text_add(text, " | `%s` | ", *o->def ? o->def : "\"\"");
    sm_text_add(text, "%c", toupper((unsigned char)o->doc[0]));
    reference_add_cell(text, o->doc + 1);
    sm_text_add(text, " |\n");
    sm_text_free(&expects);
  }
  sm_text_add(text, "\n");
}

static void reference_add_plugin(sm_text *text, const sm_plugin *p) {
  sm_text_add(text, "### `%s`\n\n%c%s.", p->name, toupper((unsigned char)p->summary[0]), p->summary + 1);
  if (p->cite) sm_text_add(text, " (%s)", p->cite);
  sm_text_add(text, "\n\n");
  reference_add_options(text, p->options, (int)p->n_options);
}

/* The recipes of `smalti table`. */
static void reference_add_tables(sm_text *text) {
  int n;
  const sm_table_section *sections = sm_table_sections(&n);
  sm_text_add(text, "## Table recipes\n\nFor `smalti table`; the guide has a chapter on them.\n\n");
  for (int i = 0; i < n; i++) {
    if (*sections[i].path) sm_text_add(text, "### `%s`\n\n%s\n\n", sections[i].path, sections[i].doc);
    reference_add_options(text, sections[i].options, sections[i].n);
    sm_text_add(text, "| key | holds |\n| --- | --- |\n");
    for (int k = 0; k < sections[i].parts; k++)
      sm_text_add(text, "| `%s` | %s |\n", sections[i].part[k].key, sections[i].part[k].doc);
    sm_text_add(text, "\n");
  }
}

sm_status sm_reference(sm_registry *registry, sm_text *text, sm_error *err) {
  const sm_schema *sections[SM_SECTIONS_MAX];
  int n = sm_recipe_sections(sections, SM_SECTIONS_MAX);
  sm_status status = sm_registry_scan(registry, err);
  if (status) return status;
  sm_text_add(text, "%s## Sections\n\n", introduction);
  for (int i = 0; i < n; i++) {
    if (!*sections[i]->path) continue;
    sm_text_add(text, "### `%s`\n\n%s\n\n", sections[i]->path, sections[i]->doc);
    reference_add_options(text, sections[i]->options, sections[i]->n_options);
  }
  int kind = 0;
  for (int i = 0; i < sm_registry_count(registry); i++) {
    const sm_plugin *p = sm_registry_at(registry, i);
    if ((int)p->kind != kind) {
      const char *name = sm_kind_name((sm_kind)p->kind), *plural = p->kind == SM_LOSS ? "es" : "s";
      sm_text_add(text, "## %c%s%s\n\n", toupper((unsigned char)name[0]), name + 1, plural);
    }
    kind = (int)p->kind;
    reference_add_plugin(text, p);
  }
  reference_add_tables(text);
  while (!text->failed && text->len > 1 && text->s[text->len - 2] == '\n') text->s[--text->len] = 0;
  return SM_OK;
}

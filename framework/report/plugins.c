/* plugins.c — the plugins that made one run or several, and what they cite, as environment.json says. */
#include <cjson/cJSON.h>
#include <string.h>

#include "framework/formats/formats.h"
#include "html.h"
#include "page.h"

enum { MAX_TEXT = 4 << 20, MOST = 128 };

typedef struct list {
  cJSON *root[MOST]; /* of each run that has one */
  const cJSON *plugin[MOST];
  int roots, n;
} list;

static const char *plugins_word(const cJSON *plugin, const char *key) {
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(plugin, key));
  return text ? text : "";
}

static bool plugins_same(const cJSON *a, const cJSON *b) {
  static const char *const keys[] = {"kind", "name", "version", "hash"};
  bool same = true;
  for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
    same = same && !strcmp(plugins_word(a, keys[k]), plugins_word(b, keys[k]));
  return same;
}

static void plugins_add(list *l, const cJSON *plugin) {
  if (!cJSON_IsObject(plugin)) return;
  for (int k = 0; k < l->n; k++)
    if (plugins_same(l->plugin[k], plugin)) return;
  if (l->n < MOST) l->plugin[l->n++] = plugin;
}

static sm_status plugins_read(list *l, const sm_run *run) {
  char *text;
  size_t bytes;
  cJSON *root = NULL;
  const cJSON *plugin;
  if (l->roots == MOST || !run->folder) return SM_OK;
  sm_status status = sm_run_file(run, "environment.json", MAX_TEXT, &text, &bytes, NULL);
  if (status || !text) return status;
  status = sm_json_read(text, bytes, &root, NULL);
  sm_free(text);
  if (status == SM_ENOMEM) return status;
  if (!root) return SM_OK; /* damaged: the other pages of the run say what they can */
  l->root[l->roots++] = root;
  cJSON_ArrayForEach(plugin, cJSON_GetObjectItemCaseSensitive(root, "plugins")) plugins_add(l, plugin);
  return SM_OK;
}

static sm_tabular *plugins_tabular(const list *l) {
  static const struct {
    const char *title, *key;
  } columns[] = {{"kind", "kind"},
                 {"plugin", "name"},
                 {"version", "version"},
                 {"paper", "cite"},
                 {"file's hash", "hash"}};
  enum { COLUMNS = sizeof columns / sizeof *columns };
  sm_tabular *t = sm_tabular_new(NULL);
  for (int c = 0; c < COLUMNS; c++) sm_tabular_column(t, columns[c].title, SM_ALIGN_LEFT);
  for (int k = 0; k < l->n; k++)
    for (int c = 0; c < COLUMNS; c++) sm_tabular_cell(t, "%s", plugins_word(l->plugin[k], columns[c].key));
  return t;
}

sm_status sm_page_plugins(sm_text *out, const sm_run *runs, size_t n) {
  list *l = sm_calloc(1, sizeof *l);
  sm_status status = SM_OK;
  if (!l) return SM_ENOMEM;
  for (size_t k = 0; k < n && !status; k++) status = plugins_read(l, &runs[k]);
  if (!status && l->n) {
    sm_page_heading(out, "Plugins");
    status = sm_page_tabular(out, plugins_tabular(l));
  }
  for (int k = 0; k < l->roots; k++) cJSON_Delete(l->root[k]);
  sm_free(l);
  return status;
}

/* loader.c — opens a module file and checks its description, in the order that makes each refusal say the
 * real reason: the file's version note, what it takes from libsmalti, the dynamic linker, the entry function,
 * the module's fields, then every descriptor. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>

#include <smalti/plugin.h>

#include "framework/base/path.h"
#include "loader.h"
#include "note.h"
#include "registry.h"

#define ENTRY "smalti_module"
#define PLUGINS_MAX 1024

typedef const sm_module *(*entry_function)(void);

/* ---- the dynamic linker's words -------------------------------------------------------------------- */

/* The part of `text` after `mark` up to a blank, comma, colon or the end. */
static bool loader_word_after(const char *text, const char *mark, char *buf, size_t size) {
  const char *from = strstr(text, mark);
  if (!from) return false;
  from += strlen(mark);
  snprintf(buf, size, "%.*s", (int)strcspn(from, " ,:;\n"), from);
  return buf[0] != 0;
}

/* dlerror gives "FILE: reason" or "LIBRARY: cannot open shared object file: reason";
 * said again for people. */
static sm_status loader_explain_dlopen(const char *file, const char *text, sm_error *err) {
  char name[128];
  if (loader_word_after(text, "undefined symbol: ", name, sizeof name)) {
    sm_fail(err, SM_EUNSUPPORTED,
            "the plugin uses '%s', which neither smalti %s nor a library it is linked with has", name,
            sm_version());
    if (!strncmp(name, "sm_", 3))
      return sm_hint(
          err, "is it a public function? Then build the plugin against this smalti (pkg-config smalti)");
    return sm_hint(err, "link the plugin with the library that has '%s'", name);
  }
  const char *missing = strstr(text, ": cannot open shared object file");
  size_t n = missing ? (size_t)(missing - text) : 0;
  if (missing && !(n == strlen(file) && !strncmp(text, file, n))) {
    sm_fail(err, SM_ENOTFOUND, "the plugin needs the library %.*s, which is not found", (int)n, text);
    return sm_hint(err, "install it, or put its folder in LD_LIBRARY_PATH");
  }
  size_t own = strlen(file);
  if (!strncmp(text, file, own) && !strncmp(text + own, ": ", 2)) text += own + 2;
  sm_fail(err, SM_EFORMAT, "the dynamic linker refuses the plugin: %s", text);
  return sm_hint(err, "build the plugin again on this machine");
}

/* ---- the module's fields --------------------------------------------------------------------------- */

static sm_status loader_check_core(const sm_module *m, sm_error *err) {
  if (m->core == &sm_core_identity) return SM_OK;
  if (!m->core) return sm_fail(err, SM_EINVAL, "module field 'core' is NULL; it must be &sm_core_identity");
  sm_fail(err, SM_EUNSUPPORTED,
          "the plugin uses a second copy of libsmalti: its is in %s, this program's in %s",
          sm_module_of(m->core), sm_module_of(&sm_core_identity));
  return sm_hint(
      err, "link the plugin with the shared libsmalti of this program, and do not link libsmalti into it");
}

static sm_status loader_check_fields(const sm_module *m, sm_error *err) {
  sm_status status = loader_check_core(m, err);
  if (status) return status;
  if (!m->plugins) return sm_fail(err, SM_EINVAL, "module field 'plugins' is NULL");
  if (m->n_plugins < 1 || m->n_plugins > PLUGINS_MAX)
    return sm_fail(err, SM_EINVAL, "module field 'n_plugins' is %u, not 1 to %d", m->n_plugins, PLUGINS_MAX);
  return SM_OK;
}

static bool loader_same_plugin(const sm_plugin *a, const sm_plugin *b) {
  return a->kind == b->kind && !strcmp(a->name, b->name);
}

sm_status sm_module_check(const sm_module *m, const char *file, sm_error *err) {
  sm_status status = loader_check_fields(m, err);
  for (uint32_t k = 0; !status && k < m->n_plugins; k++) {
    const sm_plugin *p = m->plugins[k];
    status = p ? sm_descriptor_check(p, err) : sm_fail(err, SM_EINVAL, "plugin %u of the module is NULL", k);
    for (uint32_t j = 0; !status && j < k; j++)
      if (loader_same_plugin(m->plugins[j], p))
        status = sm_fail(err, SM_EINVAL, "the module has two plugins called %s '%s' (%u and %u)",
                         sm_kind_name((sm_kind)p->kind), p->name, j, k);
  }
  if (status) sm_fail_at(err, file, 0, 0);
  return status;
}

/* ---- opening --------------------------------------------------------------------------------------- */

static sm_status loader_open_entry(const char *file, entry_function *entry, sm_error *err) {
  char path[SM_PATH_ROOM];
  sm_path_put(path, "%s%s", strchr(file, '/') ? "" : "./", file); /* else dlopen would search */
  void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!handle) handle = dlopen(path, RTLD_NOW | RTLD_LOCAL); /* want of memory passes, and leaves no reason */
  if (!handle) {
    const char *text = dlerror();
    return loader_explain_dlopen(path, text ? text : "no reason given", err);
  }
  void *symbol = dlsym(handle, ENTRY);
  if (!symbol) {
    sm_fail(err, SM_EINVAL, "the plugin does not export '" ENTRY "'");
    return sm_hint(err, "end its source with SM_MODULE(&PLUGIN), and let nothing hide that symbol");
  }
  memcpy(entry, &symbol, sizeof *entry); /* ISO C has no cast from object to function */
  return SM_OK;
}

sm_status sm_module_open(const char *file, const sm_module **module, sm_error *err) {
  entry_function entry = NULL;
  *module = NULL;
  sm_status status = sm_note_check(file, err);
  if (!status) status = sm_imports_check(file, err);
  if (status) return status;
  status = loader_open_entry(file, &entry, err);
  const sm_module *m = !status ? entry() : NULL;
  if (!status && !m) {
    status = sm_fail(err, SM_EINVAL, "'" ENTRY "' gives NULL instead of the module description");
    sm_hint(err, "let SM_MODULE(&PLUGIN) write it");
  }
  if (!status) status = sm_module_check(m, file, err);
  if (!status) *module = m;
  else sm_fail_at(err, file, 0, 0);
  return status;
}

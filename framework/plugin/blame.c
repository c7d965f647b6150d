/* blame.c — errors about what a plugin's callback has given: whose it is, the file it came from, and where
 * the recipe names it. Everything that trusts a number or pointer of a plugin says so with these words. */
#define _GNU_SOURCE
#include <dlfcn.h>

#include "registry.h"

const char *sm_module_of(const void *address) {
  Dl_info info;
  return dladdr(address, &info) && info.dli_fname && info.dli_fname[0] ? info.dli_fname : "an unknown file";
}

sm_status sm_blame(const sm_blamed *who, sm_error *err, const char *fmt, ...) {
  const sm_plugin *p = who ? who->plugin : NULL;
  const char *module = p ? sm_module_of(p) : NULL;
  char what[400];
  va_list args;
  va_start(args, fmt);
  vsnprintf(what, sizeof what, fmt, args);
  va_end(args);
  if (p) sm_fail(err, SM_EINTERNAL, "%s '%s' (%s) %s", sm_kind_name((sm_kind)p->kind), p->name, module, what);
  else sm_fail(err, SM_EINTERNAL, "%s %s", who && who->name ? who->name : "a plugin", what);
  if (who && who->file) sm_fail_at(err, who->file, who->line, who->col);
  if (p) return sm_hint(err, "this is the plugin's mistake: `smalti plugins check %s` looks for it", module);
  return sm_hint(err, "this is the plugin's mistake: `smalti plugins check` looks for it");
}

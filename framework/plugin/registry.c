/* registry.c — which plugins there are and where.
 *
 * Making a registry only lists the folders. A name is looked for in the files that are called like it
 * (KIND_NAME.so, NAME.so), folder by folder, and only then in all, so a run loads the modules it uses. A file
 * hides files of the same name in later folders, as programs do in PATH, and a plugin those of its kind and
 * name; both are kept to be told. The same plugin from two files of a folder is an error. Everything the
 * registry keeps lies in its arena; modules themselves are never unloaded. Used by the main thread only. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "framework/base/io.h"

#include "kind.h"
#include "loader.h"
#include "registry_private.h"

#define BUILT_IN "(built in)"
#define SUFFIX ".so"

typedef enum { NOT_READ, LOADED, REFUSED } file_state;

typedef struct module_file {
  const char *path, *base;
  const char *hides; /* the first file of the same name in a later folder, or NULL */
  int rank;          /* number of its folder */
  file_state state;
  sm_error *why; /* REFUSED */
} module_file;

typedef struct entry {
  const sm_plugin *plugin;
  const char *file;
  const char *hides; /* a file of a later folder that has this plugin too, or NULL */
} entry;

struct sm_registry {
  sm_arena *arena;
  const char **folders;
  module_file *files;
  entry *entries; /* sorted by kind, then name */
  int n_folders, n_files, n_entries, cap_folders, cap_files, cap_entries;
};

/* ---- growing arrays -------------------------------------------------------------------------------- */

/* Room for more than n of `size` bytes; false when memory runs out. */
static bool registry_grow(void *array, int n, int *cap, size_t size) {
  if (n < *cap) return true;
  int more = *cap ? *cap * 2 : 16;
  while (more <= n) more *= 2;
  void *old, *bigger;
  memcpy(&old, array, sizeof old);
  bigger = sm_realloc(old, (size_t)more * size);
  if (!bigger) return false;
  memcpy(array, &bigger, sizeof bigger);
  *cap = more;
  return true;
}

static sm_status registry_no_memory(sm_error *err) {
  return sm_fail(err, SM_ENOMEM, "out of memory while listing plugins");
}

/* ---- folders --------------------------------------------------------------------------------------- */

static bool registry_is_module_name(const char *name) {
  size_t n = strlen(name), s = strlen(SUFFIX);
  return n > s && name[0] != '.' && !strcmp(name + n - s, SUFFIX);
}

static sm_status registry_add_file(sm_registry *r, const char *folder, const char *name, sm_error *err) {
  char *path = sm_path_join(r->arena, folder, name);
  if (!path) return registry_no_memory(err);
  for (int k = 0; k < r->n_files; k++)
    if (!strcmp(r->files[k].base, name)) {
      if (!r->files[k].hides) r->files[k].hides = path;
      return SM_OK;
    }
  if (!registry_grow(&r->files, r->n_files, &r->cap_files, sizeof *r->files)) return registry_no_memory(err);
  r->files[r->n_files++] = (module_file){.path = path, .base = sm_path_base(path), .rank = r->n_folders - 1};
  return SM_OK;
}

static int registry_by_base(const void *a, const void *b) {
  return strcmp(((const module_file *)a)->base, ((const module_file *)b)->base);
}

static sm_status registry_cannot_list(const char *folder, int code, sm_error *err) {
  sm_fail_errno(err, code, "look for plugins in", folder);
  return err->hint[0] ? err->code : sm_hint(err, "--plugin-path takes folders that hold .so files");
}

/* What a folder that cannot be listed means: those of the environment and of the installation may be missing;
 * one that is there and closed to us is told. A passing want of the system is no sign that there are no
 * plugins. */
static sm_status registry_no_folder(const char *folder, int code, bool must, sm_error *err) {
  if (!must && code == ENOENT) return SM_OK;
  sm_error why = {0};
  registry_cannot_list(folder, code, &why);
  if (must || (code != EACCES && code != EPERM && code != ENOTDIR && code != ELOOP && code != ENAMETOOLONG))
    return *err = why, why.code;
  sm_log(SM_LOG_WARNING, "%s; its plugins are not known", why.message);
  return SM_OK;
}

/* A folder given by hand must be there; the others may be missing. */
static sm_status registry_list_folder(sm_registry *r, const char *folder, bool must, sm_error *err) {
  if (!registry_grow(&r->folders, r->n_folders, &r->cap_folders, sizeof *r->folders))
    return registry_no_memory(err);
  r->folders[r->n_folders++] = folder;
  DIR *dir = opendir(folder);
  if (!dir) return registry_no_folder(folder, errno, must, err);
  int first = r->n_files;
  sm_status status = SM_OK;
  errno = 0;
  for (struct dirent *e; !status && (e = readdir(dir)); errno = 0)
    if (registry_is_module_name(e->d_name)) status = registry_add_file(r, folder, e->d_name, err);
  if (!status && errno) status = registry_cannot_list(folder, errno, err);
  closedir(dir);
  if (r->n_files > first)
    qsort(r->files + first, (size_t)(r->n_files - first), sizeof *r->files, registry_by_base);
  return status;
}

static sm_status registry_list_path(sm_registry *r, const char *path, bool must, sm_error *err) {
  sm_status status = SM_OK;
  for (const char *at = path; at && *at && !status;) {
    size_t n = strcspn(at, ":");
    char *folder = n ? sm_arena_strndup(r->arena, at, n) : NULL;
    if (n) status = folder ? registry_list_folder(r, folder, must, err) : registry_no_memory(err);
    at += n + (at[n] == ':');
  }
  return status;
}

sm_registry *sm_registry_new(const char *path, sm_error *err) {
  sm_error own;
  if (!err) err = &own; /* from here on there is always one: sm_hint gives its code back */
  sm_registry *r = sm_calloc(1, sizeof *r);
  if (r) r->arena = sm_arena_new("registry");
  sm_status status = r && r->arena ? SM_OK : registry_no_memory(err);
  if (!status) status = registry_list_path(r, path, true, err);
  if (!status) status = registry_list_path(r, getenv("SMALTI_PLUGIN_PATH"), false, err);
  if (!status) status = registry_list_path(r, sm_plugin_dir(), false, err);
  if (!status) return r;
  sm_registry_free(r);
  return NULL;
}

void sm_registry_free(sm_registry *r) {
  if (!r) return;
  sm_free(r->folders);
  sm_free(r->files);
  sm_free(r->entries);
  sm_arena_free(r->arena);
  sm_free(r);
}

const char *sm_registry_folder(const sm_registry *r, int index) {
  return index >= 0 && index < r->n_folders ? r->folders[index] : NULL;
}

/* ---- plugins --------------------------------------------------------------------------------------- */

static int registry_order(const sm_plugin *p, uint32_t kind, const char *name) {
  return p->kind != kind ? (p->kind < kind ? -1 : 1) : strcmp(p->name, name);
}

static entry *registry_lookup(const sm_registry *r, uint32_t kind, const char *name) {
  for (int k = 0; k < r->n_entries; k++)
    if (registry_order(r->entries[k].plugin, kind, name) == 0) return &r->entries[k];
  return NULL;
}

static sm_status registry_add_plugin(sm_registry *r, const sm_plugin *p, const char *file, sm_error *err) {
  if (!registry_grow(&r->entries, r->n_entries, &r->cap_entries, sizeof *r->entries))
    return registry_no_memory(err);
  int at = r->n_entries;
  while (at > 0 && registry_order(r->entries[at - 1].plugin, p->kind, p->name) > 0) at--;
  memmove(r->entries + at + 1, r->entries + at, (size_t)(r->n_entries - at) * sizeof *r->entries);
  r->entries[at] = (entry){p, file, NULL};
  r->n_entries++;
  return SM_OK;
}

/* The folder of a listed file; -1: it was given by hand. */
static int registry_rank(const sm_registry *r, const char *file) {
  for (int k = 0; k < r->n_files; k++)
    if (r->files[k].path == file) return r->files[k].rank;
  return -1;
}

/* Another file, of an earlier folder, has the plugin already: this one is hidden. */
static bool registry_hidden(const sm_registry *r, const sm_plugin *p, const char *file) {
  const entry *other = registry_lookup(r, p->kind, p->name);
  return other && registry_rank(r, file) >= 0 && registry_rank(r, other->file) < registry_rank(r, file);
}

static sm_status registry_check_duplicate(const sm_registry *r, const sm_plugin *p, const char *file,
                                          sm_error *err) {
  const entry *other = registry_lookup(r, p->kind, p->name);
  if (!other || registry_hidden(r, p, file)) return SM_OK;
  sm_fail(err, SM_EINVAL, "%s '%s' is given by two files: %s and %s", sm_kind_name((sm_kind)p->kind), p->name,
          other->file, file);
  sm_hint(err, "rename one of them or take one file away");
  return sm_fail_at(err, file, 0, 0);
}

sm_status sm_registry_add_builtin(sm_registry *r, const sm_plugin *p, sm_error *err) {
  sm_error own;
  if (!err) err = &own;
  sm_status status = sm_descriptor_check(p, err);
  if (!status) status = registry_check_duplicate(r, p, BUILT_IN, err);
  if (!status) status = registry_add_plugin(r, p, BUILT_IN, err);
  return status;
}

/* ---- modules --------------------------------------------------------------------------------------- */

/* All of a module's plugins are added, or none. A module that was loaded before (under any path) changes
 * nothing. */
static sm_status registry_load_path(sm_registry *r, const char *path, sm_error *err) {
  const sm_module *m;
  sm_status status = sm_module_open(path, &m, err);
  if (status) return status;
  const entry *first = registry_lookup(r, m->plugins[0]->kind, m->plugins[0]->name);
  if (first && first->plugin == m->plugins[0]) return SM_OK;
  for (uint32_t k = 0; k < m->n_plugins && !status; k++)
    status = registry_check_duplicate(r, m->plugins[k], path, err);
  int last = r->n_entries + (int)m->n_plugins - 1; /* room for all of them first */
  if (!status && !registry_grow(&r->entries, last, &r->cap_entries, sizeof *r->entries))
    status = registry_no_memory(err);
  for (uint32_t k = 0; k < m->n_plugins && !status; k++) {
    if (registry_hidden(r, m->plugins[k], path))
      registry_lookup(r, m->plugins[k]->kind, m->plugins[k]->name)->hides = path;
    else status = registry_add_plugin(r, m->plugins[k], path, err);
  }
  return status;
}

sm_status sm_registry_load(sm_registry *r, const char *file, sm_error *err) {
  sm_error own;
  if (!err) err = &own;
  char *path = sm_arena_strdup(r->arena, file);
  return path ? registry_load_path(r, path, err) : registry_no_memory(err);
}

static sm_status registry_load_listed(sm_registry *r, module_file *file, sm_error *err) {
  if (file->state == LOADED) return SM_OK;
  if (file->state == NOT_READ) {
    sm_status status = registry_load_path(r, file->path, err);
    if (status == SM_ENOMEM) return status; /* may go better next time: not the module's fault */
    sm_error *why = !status ? NULL : sm_arena_alloc(r->arena, sizeof *why);
    if (status && !why) return registry_no_memory(err);
    if (why) *why = *err;
    file->why = why;
    file->state = !status ? LOADED : REFUSED;
    return status;
  }
  *err = *file->why;
  return err->code;
}

sm_status sm_registry_scan(sm_registry *r, sm_error *err) {
  sm_error own;
  if (!err) err = &own;
  for (int k = 0; k < r->n_files; k++)
    if (registry_load_listed(r, &r->files[k], err) == SM_ENOMEM) return SM_ENOMEM;
  sm_error_clear(err);
  return SM_OK;
}

static const sm_error *registry_refusal(const sm_registry *r, int index, int *n) {
  *n = 0;
  for (int k = 0; k < r->n_files; k++)
    if (r->files[k].state == REFUSED && r->files[k].why && (*n)++ == index) return r->files[k].why;
  return NULL;
}

int sm_registry_refusals(const sm_registry *r) {
  int n;
  registry_refusal(r, -1, &n);
  return n;
}

const sm_error *sm_registry_refusal(const sm_registry *r, int index) {
  int n;
  return index < 0 ? NULL : registry_refusal(r, index, &n);
}

int sm_registry_count(const sm_registry *r) { return r->n_entries; }

const sm_plugin *sm_registry_at(const sm_registry *r, int index) {
  return index >= 0 && index < r->n_entries ? r->entries[index].plugin : NULL;
}

const char *sm_registry_file(const sm_registry *r, const sm_plugin *p) {
  for (int k = 0; k < r->n_entries; k++)
    if (r->entries[k].plugin == p) return r->entries[k].file;
  return NULL;
}

static bool registry_same_bytes(FILE *a, FILE *b) {
  char one[4096], other[4096];
  size_t n;
  do {
    n = fread(one, 1, sizeof one, a);
    if (fread(other, 1, sizeof other, b) != n || memcmp(one, other, n) != 0) return false;
  } while (n);
  return true;
}

/* Two names of one file, or copies of it. */
static bool registry_same_file(const char *path, const char *other) {
  FILE *a = fopen(path, "rb"), *b = fopen(other, "rb");
  const bool same = a && b && registry_same_bytes(a, b);
  if (a) fclose(a);
  if (b) fclose(b);
  return same;
}

const char *sm_registry_hides(const sm_registry *r, const sm_plugin *p) {
  const char *file = NULL, *hides = NULL;
  for (int k = 0; k < r->n_entries; k++)
    if (r->entries[k].plugin == p) file = r->entries[k].file, hides = r->entries[k].hides;
  for (int k = 0; file && !hides && k < r->n_files; k++)
    if (r->files[k].path == file) hides = r->files[k].hides;
  return hides && !registry_same_file(file, hides) ? hides : NULL;
}

/* ---- finding --------------------------------------------------------------------------------------- */

static bool registry_named_like(const module_file *f, sm_kind kind, const char *name, bool with_kind) {
  char base[160];
  if (with_kind) snprintf(base, sizeof base, "%s_%.96s" SUFFIX, sm_kind_name(kind), name);
  else snprintf(base, sizeof base, "%.96s" SUFFIX, name);
  return !strcmp(f->base, base);
}

/* A file called like the plugin which hides another one, that may have it. */
static const module_file *registry_hiding(const sm_registry *r, sm_kind kind, const char *name) {
  for (int k = 0; k < r->n_files; k++)
    if (r->files[k].hides && (registry_named_like(&r->files[k], kind, name, true) ||
                              registry_named_like(&r->files[k], kind, name, false)))
      return &r->files[k];
  return NULL;
}

/* "there is a loss called 'mim', but no masker", "did you mean …", the names there
 * are, the modules refused. */
static sm_status registry_not_found(sm_registry *r, sm_kind kind, const char *name, sm_error *err) {
  const char *names[256];
  int n = 0;
  sm_text all = {0};
  const char *what = sm_kind_name(kind);
  const sm_plugin *other = NULL;
  for (int k = 0; k < r->n_entries; k++) {
    const sm_plugin *p = r->entries[k].plugin;
    if (p->kind != (uint32_t)kind) {
      if (!strcmp(p->name, name)) other = p;
    } else if (n < 255) {
      names[n++] = p->name;
      sm_text_add(&all, "%s%s", all.len ? ", " : "", p->name);
    }
  }
  names[n] = NULL;
  const char *near = sm_nearest(name, names);
  int refused = sm_registry_refusals(r);
  static const char own[] = "; one of your own is found with --plugin-path FOLDER";
  char more[96] = "";
  if (refused)
    snprintf(more, sizeof more, "; %d module%s refused, see `smalti plugins list`", refused,
             refused > 1 ? "s were" : " was");
  sm_fail(err, SM_ENOTFOUND, "no %s called '%s'", what, name);
  const module_file *hiding = registry_hiding(r, kind, name);
  if (hiding) sm_hint(err, "%s hides %s, a file of the same name", hiding->path, hiding->hides);
  else if (near) sm_hint(err, "did you mean '%s'? There are: %s%s%s", near, all.s, own, more);
  else if (other)
    sm_hint(err, "'%s' is %s %s%s", name, sm_kind_article((sm_kind)other->kind),
            sm_kind_name((sm_kind)other->kind), more);
  else if (all.s) sm_hint(err, "there are: %s%s%s", all.s, own, more);
  else
    sm_hint(err, "no %s was found in %s; set --plugin-path or SMALTI_PLUGIN_PATH%s", what,
            r->n_folders ? r->folders[0] : "any folder", more);
  sm_text_free(&all);
  return SM_ENOTFOUND;
}

/* In the files of a folder that are called like the plugin. *refused: the one that must have it cannot be
 * used, and err says why. */
static const entry *registry_find_in_folder(sm_registry *r, int rank, sm_kind kind, const char *name,
                                            bool *refused, sm_error *err) {
  const entry *found = NULL;
  for (int with_kind = 1; with_kind >= 0; with_kind--)
    for (int k = 0; k < r->n_files && !found; k++) {
      if (r->files[k].rank != rank || !registry_named_like(&r->files[k], kind, name, with_kind)) continue;
      *refused = registry_load_listed(r, &r->files[k], err) != SM_OK && with_kind;
      if (*refused) return NULL;
      found = registry_lookup(r, (uint32_t)kind, name);
    }
  return found;
}

const sm_plugin *sm_registry_find(sm_registry *r, sm_kind kind, const char *name, sm_error *err) {
  sm_error own;
  bool refused = false;
  if (!err) err = &own;
  const entry *found = registry_lookup(r, (uint32_t)kind, name);
  for (int rank = 0; !found && rank < r->n_folders; rank++) {
    found = registry_find_in_folder(r, rank, kind, name, &refused, err);
    if (refused) return NULL;
  }
  if (found) return found->plugin;
  if (sm_registry_scan(r, err) != SM_OK) return NULL;
  found = registry_lookup(r, (uint32_t)kind, name);
  if (found) return found->plugin;
  /* The file is called like the plugin, but was refused: that is the reason, not a wrong name. */
  for (int k = 0; k < r->n_files; k++)
    if (r->files[k].state == REFUSED && registry_named_like(&r->files[k], kind, name, false)) {
      registry_load_listed(r, &r->files[k], err);
      return NULL;
    }
  registry_not_found(r, kind, name, err);
  return NULL;
}

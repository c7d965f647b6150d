/* source.c — recipe files: where they are found, and what they extend. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "framework/base/io.h"
#include "framework/base/signature.h"
#include "recipe_private.h"

enum { CHAIN_MAX = 16 };

/* The files being read, child first. */
typedef struct chain {
  sm_arena *arena;
  const char *shown[CHAIN_MAX + 1]; /* as found, for messages */
  char *real[CHAIN_MAX + 1];        /* canonical              */
  int n;
  sm_error *err;
} chain;

static sm_yaml *source_no_memory(sm_error *err) {
  sm_fail(err, SM_ENOMEM, "out of memory");
  return NULL;
}

/* ---- finding ------------------------------------------------------------------------------------------- */

static bool source_is_file(const char *path) {
  struct stat st;
  return path && sm_path_there(path, &st) && !S_ISDIR(st.st_mode);
}

/* folder/name or folder/name.yaml; folder "" is the current one. */
static const char *source_try_folder(sm_arena *arena, const char *folder, const char *name, bool *no_room) {
  const char *path =
      *folder && *name != '/' ? sm_path_join(arena, folder, name) : sm_arena_strdup(arena, name);
  if (source_is_file(path)) return path;
  path = path ? sm_arena_printf(arena, "%s.yaml", path) : NULL;
  if (!path) *no_room = true;
  return source_is_file(path) ? path : NULL;
}

/* The recipe folders: $SMALTI_RECIPE_PATH, then the installed one. `looked` collects them for the message. */
static const char *source_try_recipe_path(sm_arena *arena, const char *name, sm_text *looked, bool *no_room) {
  const char *env = getenv("SMALTI_RECIPE_PATH");
  for (const char *s = env ? env : ""; *s;) {
    size_t n = strcspn(s, ":");
    char *folder = sm_arena_strndup(arena, s, n);
    const char *found = folder && n ? source_try_folder(arena, folder, name, no_room) : NULL;
    if (!folder) *no_room = true;
    if (found) return found;
    if (n) sm_text_add(looked, ", %.*s", (int)n, s);
    s += n + (s[n] == ':');
  }
  sm_text_add(looked, ", %s", sm_recipe_dir());
  return source_try_folder(arena, sm_recipe_dir(), name, no_room);
}

/* ---- the nearest name, for a recipe that is not there ---- */

enum { NAMES_MAX = 512 };
typedef struct known_names {
  sm_arena *arena;
  const char *name[NAMES_MAX + 1];
  int n;
} known_names;

/* Recipes of a folder and of its sub-folders, without ".yaml": "demo", "ibot/vits16". */
static void source_add_names(known_names *k, const char *folder, const char *under) {
  DIR *dir = opendir(folder);
  for (struct dirent *e; dir && (e = readdir(dir)) && k->n < NAMES_MAX;) {
    size_t n = strlen(e->d_name);
    if (e->d_name[0] == '.') continue;
    if (n > 5 && !strcmp(e->d_name + n - 5, ".yaml")) {
      const char *name = sm_arena_printf(k->arena, "%s%.*s", under, (int)(n - 5), e->d_name);
      if (name) k->name[k->n++] = name;
    } else if (!*under) {
      const char *sub = sm_path_join(k->arena, folder, e->d_name);
      const char *prefix = sm_arena_printf(k->arena, "%s/", e->d_name);
      struct stat st;
      if (sub && prefix && !stat(sub, &st) && S_ISDIR(st.st_mode)) source_add_names(k, sub, prefix);
    }
  }
  if (dir) closedir(dir);
}

static size_t source_stem(const char *name) {
  size_t n = strlen(name);
  return n > 5 && !strcmp(name + n - 5, ".yaml") ? n - 5 : n;
}

/* "recipes/shape.yaml" beside a file recipes/shapes.yaml. */
static const char *source_nearest_beside(sm_arena *arena, const char *folder, const char *name) {
  known_names k = {.arena = arena};
  const char *base = sm_path_base(name);
  const char *under = sm_arena_strndup(arena, name, (size_t)(base - name));
  const char *stem = sm_arena_strndup(arena, base, source_stem(base));
  const char *in = !under ? NULL : *folder && *name != '/' ? sm_path_join(arena, folder, under) : under;
  if (!in || !stem) return NULL;
  source_add_names(&k, *in ? in : ".", "");
  const char *near = sm_nearest(stem, k.name);
  return near ? sm_arena_printf(arena, "%s%s.yaml", under, near) : NULL;
}

/* Files of the folder itself before those of its sub-folders. */
static int source_by_depth(const void *a, const void *b) {
  const char *x = *(const char *const *)a, *y = *(const char *const *)b;
  const bool deep = strchr(x, '/') != NULL, other = strchr(y, '/') != NULL;
  return deep != other ? deep - other : strcmp(x, y);
}

static void source_add_recipe_folders(known_names *k) {
  const char *env = getenv("SMALTI_RECIPE_PATH");
  for (const char *s = env ? env : ""; *s;) {
    size_t n = strcspn(s, ":");
    const char *folder = n ? sm_arena_strndup(k->arena, s, n) : NULL;
    if (folder) source_add_names(k, folder, "");
    s += n + (s[n] == ':');
  }
  source_add_names(k, sm_recipe_dir(), "");
}

/* "table9" is a folder in a recipe folder: "table9/beit, table9/dino". NULL: it is not. */
static const char *source_names_in(sm_arena *arena, const char *name) {
  known_names k = {.arena = arena};
  const size_t n = strlen(name);
  const char *list = NULL;
  source_add_recipe_folders(&k);
  if (k.n) qsort(k.name, (size_t)k.n, sizeof *k.name, source_by_depth);
  for (int i = 0; i < k.n; i++)
    if (!strncmp(k.name[i], name, n) && k.name[i][n] == '/')
      list = sm_arena_printf(arena, "%s%s%s", list ? list : "", list ? ", " : "", k.name[i]);
  return list;
}

/* Of the recipe folders, by the name as it stands or by its last part. */
static const char *source_nearest_recipe(sm_arena *arena, const char *name) {
  known_names k = {.arena = arena};
  const char *base = sm_path_base(name), *near = NULL;
  source_add_recipe_folders(&k);
  const char *whole = sm_arena_strndup(arena, name, source_stem(name));
  const char *last = sm_arena_strndup(arena, base, source_stem(base));
  if (whole) near = sm_nearest(whole, k.name);
  return near || !last ? near : sm_listed(k.name, last) ? last : sm_nearest(last, k.name);
}

/* A folder where a recipe is wanted: which files in it are meant. */
static void source_refuse_folder(sm_arena *arena, const char *path, const char *name, sm_error *err) {
  sm_text list = {0};
  known_names k = {.arena = arena};
  source_add_names(&k, path, "");
  sm_fail(err, SM_EINVAL, "'%s' is a folder, not a recipe", name);
  if (k.n) qsort(k.name, (size_t)k.n, sizeof *k.name, source_by_depth);
  for (int i = 0; i < k.n && i < 5; i++) sm_text_add(&list, "%s%s.yaml", i ? ", " : "", k.name[i]);
  if (source_is_file(sm_path_join(arena, path, "recipe.yaml")))
    sm_hint(err, "a run folder keeps its recipe as recipe.yaml");
  else if (k.n) sm_hint(err, "name a file in it: %s%s", list.s ? list.s : "", k.n > 5 ? ", …" : "");
  else sm_hint(err, "it holds no recipe");
  sm_text_free(&list);
}

const char *sm_recipe_find(sm_arena *arena, const char *folder, const char *name, sm_error *err) {
  sm_text looked = {0};
  bool no_room = false;
  struct stat st;
  const char *found = source_try_folder(arena, folder, name, &no_room);
  if (!found && *name != '/') found = source_try_recipe_path(arena, name, &looked, &no_room);
  const char *here = *folder && *name != '/' ? sm_path_join(arena, folder, name) : name;
  if (!here) no_room = true;
  if (!found && no_room) {
    source_no_memory(err);
  } else if (!found && *name && !stat(here, &st)) {
    source_refuse_folder(arena, here, name, err);
  } else if (!found) {
    sm_fail(err, SM_ENOTFOUND, "there is no recipe '%s'", name);
    const char *near = source_nearest_beside(arena, folder, name);
    const char *in = source_names_in(arena, name);
    if (!near) near = source_nearest_recipe(arena, name);
    if (in) sm_hint(err, "it is a folder of recipes: %s", in);
    else if (near) sm_hint(err, "did you mean '%s'?", near);
    else if (looked.s) sm_hint(err, "looked in %s%s", *folder ? folder : "the current folder", looked.s);
  }
  sm_text_free(&looked);
  return found;
}

static const char *source_folder_of(sm_arena *arena, const char *file) {
  const char *slash = strrchr(file, '/');
  if (!slash) return "";
  return sm_arena_strndup(arena, file, slash == file ? 1 : (size_t)(slash - file));
}

/* ---- what it is instead -------------------------------------------------------------------------------- */

/* A file that cannot be read as a recipe, and whose first bytes say that it is something else, is that. */
static bool source_is_other(const char *file, sm_error *err) {
  uint8_t begun[512];
  int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe has been read */
  ssize_t n = fd >= 0 ? read(fd, begun, sizeof begun) : 0;
  if (fd >= 0) close(fd);
  if (n <= 0 || !sm_signature_known(begun, (size_t)n)) return false;
  sm_fail(err, SM_EFORMAT, "not a recipe: it is %s", sm_signature(begun, (size_t)n));
  sm_fail_at(err, file, 0, 0);
  return true;
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static sm_yaml *source_read_file(sm_arena *arena, const char *file, sm_error *err) {
  char *data;
  size_t bytes;
  sm_yaml *tree = NULL;
  sm_status status = sm_file_get(file, SM_YAML_MAX_BYTES, &data, &bytes, err);
  if (!status) {
    tree = sm_yaml_read(arena, file, true, data, bytes, err);
    sm_free(data);
  }
  if (tree && tree->kind == SM_YAML_MAP) return tree;
  if ((tree || err->code != SM_ENOMEM) && source_is_other(file, err)) return NULL;
  if (!tree) return NULL;
  char what[80];
  if (tree->kind == SM_YAML_NULL) sm_fail(err, SM_EFORMAT, "an empty recipe");
  else sm_fail(err, SM_EFORMAT, "a recipe must be a mapping, not %s", sm_yaml_what(tree, what, sizeof what));
  sm_fail_place(err, tree->at);
  sm_hint(err, "begin with 'smalti: 1'");
  return NULL;
}

/* `smalti: 1` says that the file is a recipe, and of which format. Files that others extend
 * may leave it out. */
static bool source_check_version(const sm_yaml *tree, bool required, sm_error *err) {
  const sm_yaml *v = sm_yaml_get(tree, "smalti");
  char what[80];
  if (!v && !required) return true;
  if (!v) {
    sm_fail(err, SM_EFORMAT, "'smalti: 1' is missing");
    sm_fail_place(err, tree->at);
    sm_hint(err, "a recipe says its format; add the line 'smalti: 1'");
    return false;
  }
  if (v->kind == SM_YAML_TEXT && !strcmp(v->text, "1")) return true;
  sm_fail(err, SM_EFORMAT, "recipe format %s is not known", sm_yaml_what(v, what, sizeof what));
  sm_fail_place(err, v->at);
  sm_hint(err, "this smalti reads format 1");
  return false;
}

sm_yaml *sm_recipe_file(sm_arena *arena, const char *file, bool required, sm_error *err) {
  sm_yaml *tree = source_read_file(arena, file, err);
  return tree && source_check_version(tree, required, err) ? tree : NULL;
}

/* The tree without the keys that are about the file itself. A name belongs to one file: a child that took its
 * parent's would train into the parent's folder. */
static sm_yaml *source_strip(chain *c, const sm_yaml *tree, bool parent) {
  sm_yaml *out = sm_yaml_new(c->arena, SM_YAML_MAP, tree->at);
  for (int i = 0; out && i < tree->n; i++) {
    const sm_entry *e = &tree->entry[i];
    if (!strcmp(e->key, "smalti") || !strcmp(e->key, "extends")) continue;
    if (parent && !strcmp(e->key, "name")) continue;
    if (!sm_yaml_add(c->arena, out, e->key, e->at, e->value)) return NULL;
  }
  return out;
}

static bool source_enter(chain *c, const char *file) {
  char real[PATH_MAX];
  if (!realpath(file, real)) snprintf(real, sizeof real, "%s", file);
  c->shown[c->n] = file;
  c->real[c->n] = sm_arena_strdup(c->arena, real);
  if (!c->real[c->n]) return source_no_memory(c->err) != NULL;
  bool cycle = false;
  for (int i = 0; i < c->n; i++) cycle = cycle || !strcmp(c->real[i], real);
  if (!cycle && c->n < CHAIN_MAX) {
    c->n++;
    return true;
  }
  sm_text text = {0};
  for (int i = 0; i <= c->n; i++) sm_text_add(&text, "%s%s", i ? " -> " : "", sm_path_base(c->shown[i]));
  sm_fail(c->err, SM_EINVAL,
          cycle ? "recipes extend each other: %s" : "recipes extend each other too deeply: %s",
          text.s ? text.s : "");
  sm_text_free(&text);
  return false;
}

static sm_yaml *source_load(chain *c, const char *file);

static sm_yaml *source_load_parent(chain *c, const sm_yaml *extends, const char *file) {
  char what[80];
  sm_error *err = c->err;
  if (extends->kind != SM_YAML_TEXT) {
    sm_fail(err, SM_EINVAL, "extends must be the name of one recipe, not %s",
            sm_yaml_what(extends, what, sizeof what));
    sm_fail_place(err, extends->at);
    return NULL;
  }
  const char *folder = source_folder_of(c->arena, file);
  const char *found = folder ? sm_recipe_find(c->arena, folder, extends->text, err) : NULL;
  if (!found) {
    sm_fail_place(err, extends->at);
    return NULL;
  }
  sm_yaml *parent = source_load(c, found);
  if (!parent && err->place[0] == 0) sm_fail_place(err, extends->at);
  return parent;
}

static sm_yaml *source_load(chain *c, const char *file) {
  bool child = c->n == 0;
  if (!source_enter(c, file)) return NULL;
  sm_yaml *tree = sm_recipe_file(c->arena, file, child, c->err), *parent = NULL;
  if (!tree) return NULL;
  if (sm_yaml_find(tree, "table")) {
    sm_fail(c->err, SM_EINVAL, "this is a table recipe, not that of a run");
    sm_fail_place(c->err, sm_yaml_find(tree, "table")->at);
    sm_hint(c->err, "`smalti table` runs it");
    return NULL;
  }
  const sm_yaml *extends = sm_yaml_get(tree, "extends");
  if (extends && !(parent = source_load_parent(c, extends, file))) return NULL;
  sm_yaml *own = source_strip(c, tree, !child);
  if (!own) return source_no_memory(c->err);
  own = sm_recipe_normalise(c->arena, own, c->err);
  return own ? sm_recipe_merge(c->arena, parent, own, c->err) : NULL;
}

sm_yaml *sm_recipe_source(sm_arena *arena, const char *folder, const char *path, const char **file,
                          sm_error *err) {
  chain c = {.arena = arena, .err = err};
  *file = sm_recipe_find(arena, folder, path, err);
  return *file ? source_load(&c, *file) : NULL;
}

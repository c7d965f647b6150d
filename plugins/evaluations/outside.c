/* outside.c — see outside.h. */
#include "outside.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { NAMES_MOST = 2000000 };

/* ---- names --------------------------------------------------------------------------------------------- */

bool outside_is_folder(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int outside_by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

bool outside_names_add(outside_names *names, const char *name) {
  if (names->n == names->room) {
    const int more = names->room ? 2 * names->room : 64;
    char **grown = sm_realloc(names->v, (size_t)more * sizeof *grown);
    if (!grown) return false;
    names->v = grown, names->room = more;
  }
  return (names->v[names->n] = sm_strdup(name)) != NULL && ++names->n;
}

static bool outside_is_of(const char *folder, const char *name, char kind) {
  struct stat st;
  sm_text path = {0};
  sm_text_add(&path, "%s/%s", folder, name);
  const bool there = !path.failed && stat(path.s, &st) == 0;
  sm_text_free(&path);
  return there && (kind == 'd' ? S_ISDIR(st.st_mode) : S_ISREG(st.st_mode));
}

sm_status outside_names_get(const char *folder, char kind, outside_names *names, sm_error *err) {
  *names = (outside_names){0};
  DIR *dir = opendir(folder);
  if (!dir) {
    const bool missing = errno == ENOENT || errno == ENOTDIR;
    sm_fail(err, missing ? SM_ENOTFOUND : SM_EIO, "cannot open the folder '%s': %s", folder, strerror(errno));
    return missing ? SM_ENOTFOUND : SM_EIO;
  }
  sm_status status = SM_OK;
  for (struct dirent *e; !status && (e = readdir(dir));) {
    if (e->d_name[0] == '.' || !outside_is_of(folder, e->d_name, kind)) continue;
    if (names->n == NAMES_MOST)
      status = sm_fail(err, SM_EINVAL, "'%s' has more than %d entries", folder, NAMES_MOST);
    else if (!outside_names_add(names, e->d_name))
      status = sm_fail(err, SM_ENOMEM, "no memory for the names in '%s'", folder);
  }
  closedir(dir);
  if (status) outside_names_free(names);
  else if (names->n) qsort(names->v, (size_t)names->n, sizeof *names->v, outside_by_name);
  return status;
}

typedef struct outside_taking {
  outside_names *names;
  bool failed;
} outside_taking;

static void outside_take(void *ctx, const char *name) {
  outside_taking *t = ctx;
  if (!t->failed && !outside_names_add(t->names, name)) t->failed = true;
}

sm_status outside_classes(sm_eval_context *x, outside_names *names, sm_error *err) {
  outside_taking t = {.names = names};
  *names = (outside_names){0};
  sm_status status = sm_picture_classes(x, "train", outside_take, &t, err);
  if (!status && t.failed) status = sm_fail(err, SM_ENOMEM, "no memory for the names of classes");
  if (status) outside_names_free(names);
  return status;
}

int outside_names_find(const outside_names *names, const char *name) {
  for (int i = 0; i < names->n; i++)
    if (!strcmp(names->v[i], name)) return i;
  return -1;
}

void outside_names_free(outside_names *names) {
  for (int i = 0; i < names->n; i++) sm_free(names->v[i]);
  sm_free(names->v);
  *names = (outside_names){0};
}

/* ---- pictures ------------------------------------------------------------------------------------------ */

static sm_status outside_add_picture(outside *o, const char *path, int32_t label) {
  const int before = o->path.room;
  if (o->path.n >= NAMES_MOST || !outside_names_add(&o->path, path)) return SM_ENOMEM;
  if (o->path.room != before) {
    int32_t *grown = sm_realloc(o->label, (size_t)o->path.room * sizeof *grown);
    if (!grown) return SM_ENOMEM;
    o->label = grown;
  }
  o->label[o->path.n - 1] = label;
  o->n = o->path.n;
  return SM_OK;
}

static sm_status outside_add_class(const char *root, const char *name, int32_t label, outside *o, sm_error *err) {
  outside_names files = {0};
  sm_text path = {0};
  sm_text_add(&path, "%s/%s", root, name);
  sm_status status = path.failed ? sm_fail(err, SM_ENOMEM, "no memory for a path") : SM_OK;
  if (!status) status = outside_names_get(path.s, 'f', &files, err);
  for (int i = 0; !status && i < files.n; i++) {
    const size_t end = path.len;
    sm_text_add(&path, "/%s", files.v[i]);
    if (path.failed || outside_add_picture(o, path.s, label))
      status = sm_fail(err, SM_ENOMEM, "no memory for the pictures of '%s'", root);
    if (!path.failed) path.s[path.len = end] = 0;
  }
  outside_names_free(&files);
  sm_text_free(&path);
  return status;
}

int outside_class_of(const outside_names *classes, const char *folder, const char *name, sm_error *err) {
  const int c = outside_names_find(classes, name);
  if (c < 0) {
    sm_fail(err, SM_EINVAL, "class '%s' in '%s' is none of the training pictures' classes", name, folder);
    sm_hint(err, "the class folders must have the names that the training pictures' have");
  }
  return c;
}

sm_status outside_tree(const char *root, int (*class_of)(void *ctx, const char *name, sm_error *), void *ctx, outside *o,
                       sm_error *err) {
  outside_names folders;
  *o = (outside){0};
  sm_status status = outside_names_get(root, 'd', &folders, err);
  for (int i = 0; !status && i < folders.n; i++) {
    const int label = class_of(ctx, folders.v[i], err);
    status = label < 0 ? SM_EINVAL : outside_add_class(root, folders.v[i], label, o, err);
  }
  outside_names_free(&folders);
  if (!status && o->n < 1) status = sm_fail(err, SM_EINVAL, "'%s' has no pictures in folders of classes", root);
  if (status) outside_free(o);
  return status;
}

void outside_free(outside *o) {
  outside_names_free(&o->path);
  sm_free(o->label);
  *o = (outside){0};
}

static int64_t outside_count(const void *self) { return ((const outside *)self)->n; }
static int outside_label(const void *self, int64_t i) { return ((const outside *)self)->label[i]; }
static const char *outside_name(const void *self, int64_t i) {
  const outside *o = self;
  return o->path.n ? o->path.v[i] : "a picture of an array";
}
static int outside_none(const void *self) { return (void)self, 0; }
static const char *outside_no_name(const void *self, int c) { return (void)self, (void)c, ""; }
static uint64_t outside_hash(const void *self) { return (uint64_t)((const outside *)self)->n; }
static sm_status outside_open(void *self, sm_error *err) { return (void)self, (void)err, SM_OK; }

static sm_status outside_read(const void *self, int64_t i, const sm_image_limits *limits, sm_image *to, sm_error *err) {
  const outside *o = self;
  if (o->path.n) return sm_image_read(o->path.v[i], limits, NULL, to, err);
  const size_t bytes = 3 * (size_t)o->height * (size_t)o->width;
  sm_status status = sm_image_reshape(to, o->width, o->height, err);
  if (!status) memcpy(to->rgb, o->rgb + (size_t)i * bytes, bytes);
  return status;
}

const sm_dataset_ops outside_ops = {.open = outside_open,
                                    .count = outside_count,
                                    .label = outside_label,
                                    .name = outside_name,
                                    .classes = outside_none,
                                    .class_name = outside_no_name,
                                    .read = outside_read,
                                    .hash = outside_hash};

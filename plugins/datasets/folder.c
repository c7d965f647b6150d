/* folder.c — dataset `folder`: the JPEG, PNG and WebP files below a folder, with its sub-folders as classes.
 *
 * The list is made once, in open, and is sorted by byte order at every level, so it is the same on every
 * machine: first the pictures beside the class folders (without a label), then class after class, at any
 * depth. Hidden files are left out, links are followed, and a link that leads back to a folder above it is
 * skipped. A file is listed for its name and decoded for its content; what cannot be read is found out, and
 * counted, when its turn comes. Names may hold any byte. */
#include <smalti/plugin.h>

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { CLASSES_AUTO, CLASSES_FOLDERS, CLASSES_NONE };
static const char *const classes_choices[] = {"auto", "folders", "none", NULL};
static const char *const extensions[] = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", NULL};
/* Pictures of formats that cannot be read: to pass them over deserves a warning. */
static const char *const other_pictures[] = {".webp", ".tif", ".tiff", ".gif", ".bmp", ".heic", ".heif",
                                             ".avif", ".jp2", ".jxl",  ".dng", ".ppm", ".pgm",  ".ico",
                                             ".tga",  ".dcm", ".psd",  ".exr", ".svg", ".jxr",  NULL};

enum { DEEPEST = 100, NAMED = 5, ENDINGS = 64, ENDING_BYTES = 12, ENDINGS_TOLD = 3 };

typedef struct picture {
  size_t name; /* offset into names */
  int32_t label;
  bool dangling; /* a link that led nowhere when it was listed */
} picture;

typedef struct folder {
  const char *path;
  int classes_mode;
  int64_t limit;
  sm_ints grey16;

  sm_arena *arena; /* names of classes */
  sm_text names;   /* full paths, each terminated */
  picture *pictures;
  int64_t count, cap;
  const char **class_names;
  int classes, classes_cap;
  uint64_t hash;
} folder;

/* ---- one folder's entries ---------------------------------------------------------------------------- */

typedef enum { KIND_FOLDER, KIND_FILE, KIND_OTHER } entry_kind;

typedef struct entry {
  char *name;
  entry_kind kind;
  int64_t bytes; /* of a picture; -1 when its link leads nowhere */
  bool dangling;
} entry;

typedef struct entries {
  entry *v;
  size_t n, cap;
} entries;

static bool folder_has_ending(const char *name, const char *const *endings) {
  const char *dot = strrchr(name, '.');
  for (int i = 0; dot && endings[i]; i++)
    if (strcasecmp(dot, endings[i]) == 0) return true;
  return false;
}

static bool folder_is_picture_name(const char *name) {
  static const char *const webp[] = {".webp", NULL};
  return folder_has_ending(name, extensions) || (sm_image_reads_webp() && folder_has_ending(name, webp));
}

static const char *folder_extensions(void) {
  return sm_image_reads_webp() ? ".jpg, .jpeg, .jpe, .jfif, .png and .webp" : ".jpg, .jpeg, .jpe, .jfif and .png";
}

static void folder_free_entries(entries *list) {
  for (size_t i = 0; i < list->n; i++) sm_free(list->v[i].name);
  sm_free(list->v);
  *list = (entries){0};
}

static bool folder_add_entry(entries *list, const entry *e) {
  if (list->n == list->cap) {
    size_t cap = list->cap ? 2 * list->cap : 64;
    entry *more = sm_realloc(list->v, cap * sizeof *more);
    if (!more) return false;
    list->v = more;
    list->cap = cap;
  }
  list->v[list->n] = *e;
  list->v[list->n].name = sm_strdup(e->name);
  return list->v[list->n].name != NULL && ++list->n;
}

static int folder_by_name(const void *a, const void *b) {
  return strcmp(((const entry *)a)->name, ((const entry *)b)->name);
}

/* Follows links. A picture's name whose link leads nowhere stays a file: it is to be counted as bad, not to
 * go unseen. */
static sm_status folder_look_at(int dir, char *name, entry *e) {
  struct stat st;
  *e = (entry){.name = name, .kind = KIND_OTHER, .bytes = -1};
  if (fstatat(dir, name, &st, 0) != 0) {
    e->kind = KIND_FILE;
    e->dangling = errno == ENOENT || errno == ENOTDIR || errno == ELOOP;
    return e->dangling || errno == EACCES ? SM_OK : SM_EIO;
  }
  if (S_ISDIR(st.st_mode)) e->kind = KIND_FOLDER;
  if (S_ISREG(st.st_mode)) e->kind = KIND_FILE, e->bytes = (int64_t)st.st_size;
  return SM_OK;
}

static sm_status folder_cannot_read(const char *path, sm_error *err) {
  const bool missing = errno == ENOENT || errno == ENOTDIR, denied = errno == EACCES;
  sm_status status = missing ? SM_ENOTFOUND : SM_EIO;
  sm_fail(err, status, "cannot read the folder %s: %s", path, strerror(errno));
  sm_hint(err, missing  ? "a relative path in a recipe starts at the recipe's folder"
               : denied ? "check its permissions"
                        : "see to the disk or file system");
  return status;
}

static sm_status folder_read_entries(const char *path, entries *list, sm_error *err) {
  DIR *dir = opendir(path);
  sm_status status = SM_OK;
  struct dirent *d;
  if (!dir) return folder_cannot_read(path, err);
  for (errno = 0; !status && (d = readdir(dir)); errno = 0) {
    if (d->d_name[0] == '.') continue;
    entry e = {.name = d->d_name, .kind = KIND_FILE};
    if ((folder_is_picture_name(d->d_name) || d->d_type != DT_REG) &&
        folder_look_at(dirfd(dir), d->d_name, &e))
      status = sm_fail(err, SM_EIO, "cannot examine %s/%s: %s", path, d->d_name, strerror(errno));
    else if (!folder_add_entry(list, &e))
      status = sm_fail(err, SM_ENOMEM, "out of memory while listing %s", path);
  }
  if (!status && errno != 0)
    status = sm_fail(err, SM_EIO, "cannot read the folder %s: %s", path, strerror(errno));
  closedir(dir);
  if (list->n > 1) qsort(list->v, list->n, sizeof *list->v, folder_by_name);
  return status;
}

/* ---- the walk ---------------------------------------------------------------------------------------- */

/* The folders from the root to where the walk is: a link to one of them would never end. */
typedef struct above {
  const struct above *up;
  dev_t device;
  ino_t inode;
  int depth;
} above;

typedef struct ending {
  char name[ENDING_BYTES]; /* in lower case; "" stands for none, and for those that found no room */
  int64_t files;
} ending;

typedef struct walk {
  folder *set;
  sm_text path;       /* of the folder the walk is in */
  size_t root_length; /* of the root's path and its slash */
  int label;
  int64_t taken;  /* pictures of this class so far */
  int64_t others; /* files that are no pictures by their names */
  ending endings[ENDINGS]; /* of those; the first is "" */
  int n_endings;
  sm_error *err;
} walk;

static sm_status folder_no_memory(walk *w) {
  return sm_fail(w->err, SM_ENOMEM, "out of memory while listing %s", w->set->path);
}

static bool folder_push(sm_text *path, const char *name) {
  sm_text_add(path, path->len && path->s[path->len - 1] == '/' ? "%s" : "/%s", name);
  return !path->failed;
}

static void folder_pop(sm_text *path, size_t length) {
  path->len = length;
  path->s[length] = 0;
}

static sm_status folder_take(walk *w, const entry *e) {
  folder *set = w->set;
  size_t length = w->path.len;
  if (set->limit && w->taken >= set->limit) return SM_OK;
  if (set->count == set->cap) {
    int64_t cap = set->cap ? 2 * set->cap : 1024;
    picture *more = sm_realloc(set->pictures, (size_t)cap * sizeof *more);
    if (!more) return folder_no_memory(w);
    set->pictures = more;
    set->cap = cap;
  }
  if (!folder_push(&w->path, e->name)) return folder_no_memory(w);
  set->pictures[set->count] = (picture){set->names.len, w->label, e->dangling};
  sm_text_bytes(&set->names, w->path.s, w->path.len + 1);
  if (set->names.failed) return folder_no_memory(w);
  unsigned char bytes[8];
  for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)((uint64_t)e->bytes >> 8 * i);
  set->hash = sm_hash64(w->path.s + w->root_length, w->path.len + 1 - w->root_length, set->hash);
  set->hash = sm_hash64(bytes, sizeof bytes, set->hash);
  folder_pop(&w->path, length);
  set->count++;
  w->taken++;
  return SM_OK;
}

static void folder_pass_over(walk *w, const char *name) {
  const char *dot = strrchr(name, '.');
  char lower[ENDING_BYTES] = "";
  for (size_t i = 0; dot && strlen(dot) < sizeof lower && dot[i]; i++) {
    lower[i] = dot[i] >= 'A' && dot[i] <= 'Z' ? (char)(dot[i] + 'a' - 'A') : dot[i];
    if (lower[i] <= ' ' || lower[i] > '~') lower[i] = '?';
  }
  int at = w->n_endings ? w->n_endings : (w->n_endings = 1);
  for (at--; at > 0 && strcmp(w->endings[at].name, lower) != 0;) at--;
  if (at == 0 && lower[0] && w->n_endings < ENDINGS) strcpy(w->endings[at = w->n_endings++].name, lower);
  w->endings[at].files++;
  w->others++;
}

/* One line: how many, and the commonest endings. */
static void folder_tell_passed_over(walk *w) {
  bool pictures = false;
  int64_t left = w->others;
  sm_text text = {0};
  if (!w->others) return;
  for (int told = 0; told < ENDINGS_TOLD && told < w->n_endings; told++) {
    ending *most = &w->endings[0];
    for (int i = 1; i < w->n_endings; i++) {
      pictures |= told == 0 && folder_has_ending(w->endings[i].name, other_pictures);
      if (w->endings[i].files > most->files) most = &w->endings[i];
    }
    if (most->files == 0) break;
    sm_text_add(&text, "%s%lld %s", told ? ", " : "", (long long)most->files,
                most->name[0] ? most->name : "other");
    left -= most->files;
    most->files = 0;
  }
  sm_log(pictures ? SM_LOG_WARNING : SM_LOG_INFO,
         "folder %s: %lld file%s passed over, for %s name (%s%s); %s are read", w->set->path,
         (long long)w->others, w->others == 1 ? " is" : "s are", w->others == 1 ? "its" : "their",
         text.s ? text.s : "", left ? ", …" : "", folder_extensions());
  sm_text_free(&text);
}

/* Enter the folder in w->path. *skip: it is one of those above. */
static sm_status folder_enter(walk *w, const above *up, above *here, bool *skip) {
  struct stat st;
  const char *path = w->path.s;
  *skip = false;
  if (stat(path, &st) != 0) return folder_cannot_read(path, w->err);
  *here = (above){up, st.st_dev, st.st_ino, up ? up->depth + 1 : 0};
  for (const above *a = up; a; a = a->up)
    if (a->device == st.st_dev && a->inode == st.st_ino) *skip = true;
  if (*skip) sm_log(SM_LOG_INFO, "folder: %s leads back to a folder above it and is skipped", path);
  if (here->depth <= DEEPEST) return SM_OK;
  return sm_fail(w->err, SM_EINVAL, "the folder %s lies more than %d levels deep", path, DEEPEST);
}

static sm_status folder_walk_below(walk *w, const above *up) {
  above here;
  entries list = {0};
  bool skip;
  size_t length = w->path.len;
  sm_status status = folder_enter(w, up, &here, &skip);
  if (status || skip) return status;
  status = folder_read_entries(w->path.s, &list, w->err);
  for (size_t i = 0; !status && i < list.n; i++) {
    const entry *e = &list.v[i];
    if (w->set->limit && w->taken >= w->set->limit) break;
    if (e->kind == KIND_FOLDER) {
      status = folder_push(&w->path, e->name) ? folder_walk_below(w, &here) : folder_no_memory(w);
      if (!status) folder_pop(&w->path, length);
    } else if (e->kind == KIND_FILE && folder_is_picture_name(e->name)) {
      status = folder_take(w, e);
    } else {
      folder_pass_over(w, e->name);
    }
  }
  folder_free_entries(&list);
  return status;
}

static sm_status folder_add_class(walk *w, const char *name) {
  folder *set = w->set;
  if (set->classes == set->classes_cap) {
    int cap = set->classes_cap ? 2 * set->classes_cap : 64;
    const char **more = sm_realloc(set->class_names, (size_t)cap * sizeof *more);
    if (!more) return folder_no_memory(w);
    set->class_names = more;
    set->classes_cap = cap;
  }
  set->class_names[set->classes] = sm_arena_strdup(set->arena, name);
  if (!set->class_names[set->classes]) return folder_no_memory(w);
  w->label = set->classes++;
  return SM_OK;
}

/* Every sub-folder is a class, also an empty one, so that the same folders give the same numbers in every
 * split. */
static sm_status folder_walk_class(walk *w, const above *root, const char *name, sm_text *empty,
                                   int *n_empty) {
  above here;
  bool skip;
  size_t length = w->path.len;
  if (!folder_push(&w->path, name)) return folder_no_memory(w);
  sm_status status = folder_enter(w, root, &here, &skip);
  if (!status && !skip) status = folder_add_class(w, name);
  if (!status && !skip) {
    w->taken = 0;
    status = folder_walk_below(w, root);
    if (w->taken == 0 && (*n_empty)++ < NAMED) sm_text_add(empty, "%s%s", *n_empty > 1 ? ", " : "", name);
  }
  if (!status) folder_pop(&w->path, length);
  return status;
}

static sm_status folder_walk_root(walk *w) {
  folder *set = w->set;
  above root;
  bool skip;
  entries list = {0};
  sm_text empty = {0};
  int n_empty = 0;
  sm_status status = folder_enter(w, NULL, &root, &skip);
  if (!status) status = folder_read_entries(w->path.s, &list, w->err);
  for (size_t i = 0; !status && i < list.n; i++) {
    if (list.v[i].kind == KIND_FILE && folder_is_picture_name(list.v[i].name))
      status = folder_take(w, &list.v[i]);
    else if (list.v[i].kind != KIND_FOLDER) folder_pass_over(w, list.v[i].name);
  }
  int64_t stray = set->count;
  for (size_t i = 0; !status && i < list.n; i++)
    if (list.v[i].kind == KIND_FOLDER) status = folder_walk_class(w, &root, list.v[i].name, &empty, &n_empty);
  if (!status && set->count == stray)
    set->classes = 0; /* sub-folders without a picture are no classes */
  if (!status && set->classes > 0 && n_empty > 0)
    sm_log(SM_LOG_WARNING, "folder %s: %d of %d class folders hold no picture: %s%s", set->path, n_empty,
           set->classes, empty.s ? empty.s : "", n_empty > NAMED ? ", …" : "");
  if (!status && set->classes > 0 && stray > 0)
    sm_log(SM_LOG_WARNING, "folder %s: %lld pictures beside the class folders have no label", set->path,
           (long long)stray);
  sm_text_free(&empty);
  folder_free_entries(&list);
  return status;
}

/* ---- the plugin -------------------------------------------------------------------------------------- */

static sm_status folder_check_list(const folder *set, const walk *w, sm_error *err) {
  if (set->count == 0) {
    if (w->others)
      sm_fail(err, SM_ENOTFOUND, "no picture in %s, but %lld other files", set->path, (long long)w->others);
    else sm_fail(err, SM_ENOTFOUND, "no picture in %s: it holds no file at all", set->path);
    sm_hint(err, "files named %s count, in upper or lower case; hidden ones do not", folder_extensions());
    return SM_ENOTFOUND;
  }
  if (set->classes_mode == CLASSES_FOLDERS && set->classes == 0) {
    sm_fail(err, SM_EINVAL, "no class folder in %s: its %lld pictures lie in one folder", set->path,
            (long long)set->count);
    sm_hint(err, "make a sub-folder for each class, or say classes: none");
    return SM_EINVAL;
  }
  return SM_OK;
}

static sm_status folder_create(void *self, sm_error *err) {
  const sm_ints *range = &((const folder *)self)->grey16;
  if (range->n == 0 || (range->n == 2 && range->v[0] < range->v[1])) return SM_OK;
  sm_fail(err, SM_EINVAL, "grey16 wants two values, the smaller one first");
  return sm_hint(err, "for 12 bits say grey16: [0, 4095]");
}

static sm_status folder_open(void *self, sm_error *err) {
  folder *set = self;
  sm_error why = {0};
  walk w = {.set = set, .label = -1, .err = &why};
  sm_status status = SM_ENOMEM;
  set->arena = sm_arena_new("folder");
  sm_text_add(&w.path, "%s", set->path);
  while (w.path.len > 1 && w.path.s[w.path.len - 1] == '/') folder_pop(&w.path, w.path.len - 1);
  if (!set->arena || w.path.failed) {
    folder_no_memory(&w);
  } else {
    w.root_length = w.path.len + (w.path.s[w.path.len - 1] != '/');
    status = set->classes_mode == CLASSES_NONE ? folder_walk_below(&w, NULL) : folder_walk_root(&w);
    if (!status) status = folder_check_list(set, &w, &why);
    if (!status) folder_tell_passed_over(&w);
  }
  sm_text_free(&w.path);
  if (status && err) *err = why;
  return status;
}

static void folder_destroy(void *self) {
  folder *set = self;
  sm_arena_free(set->arena);
  sm_text_free(&set->names);
  sm_free(set->pictures);
  sm_free(set->class_names);
}

static int64_t folder_count(const void *self) { return ((const folder *)self)->count; }

static int folder_label(const void *self, int64_t index) {
  return ((const folder *)self)->pictures[index].label;
}

static const char *folder_name(const void *self, int64_t index) {
  const folder *set = self;
  return set->names.s + set->pictures[index].name;
}

static int folder_classes(const void *self) { return ((const folder *)self)->classes; }

static const char *folder_class_name(const void *self, int c) {
  return ((const folder *)self)->class_names[c];
}

static sm_status folder_read(const void *self, int64_t index, const sm_image_limits *limits, sm_image *out,
                             sm_error *err) {
  const folder *set = self;
  sm_image_limits all = limits ? *limits : (sm_image_limits){0};
  if (set->grey16.n == 2) all.grey16_from = (int)set->grey16.v[0], all.grey16_to = (int)set->grey16.v[1];
  sm_status status = sm_image_read(folder_name(self, index), &all, NULL, out, err);
  if (status != SM_ENOTFOUND || !set->pictures[index].dangling) return status;
  return sm_fail(err, SM_EFORMAT,
                 "a link that leads nowhere"); /* it did when it was listed: no passing fault */
}

static uint64_t folder_hash(const void *self) { return ((const folder *)self)->hash; }

static const sm_option options[] = {
    SM_PATH(folder, path, "path", NULL, "folder with the pictures, or with one sub-folder a class"),
    SM_CHOICE(folder, classes_mode, "classes", "auto", classes_choices,
              "auto: sub-folders are classes if there are any; folders: they must be; none: no labels"),
    SM_INT(folder, limit, "limit", "0", 0, 1e9, "pictures",
           "take only the first ones of each class; 0 takes all"),
    SM_INTS(
        folder, grey16, "grey16", "~", 0, 65535, NULL,
        "values of 16-bit grey pictures that become black and white, as [0, 4095] for 12 bits; left out: the upper 8 bits are kept"),
};

static const sm_dataset_ops ops = {
    .open = folder_open,
    .count = folder_count,
    .label = folder_label,
    .name = folder_name,
    .classes = folder_classes,
    .class_name = folder_class_name,
    .read = folder_read,
    .hash = folder_hash,
};

static const sm_plugin plugin = {
    .kind = SM_DATASET,
    .name = "folder",
    .create = folder_create,
    .summary = "JPEG, PNG and WebP files below a folder, its sub-folders as classes",
    .version = "0.1",
    .license = "Apache-2.0",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(folder),
    .destroy = folder_destroy,
    .ops = &ops,
};

SM_MODULE(&plugin)

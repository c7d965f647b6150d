/* outside.c — see outside.h. */
#include "outside.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { NAMES_MOST = 2000000 };

/* ---- names --------------------------------------------------------------------------------------------- */

static int outside_by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static bool outside_add(outside_names *names, const char *name) {
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
    else if (!outside_add(names, e->d_name))
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
  if (!t->failed && !outside_add(t->names, name)) t->failed = true;
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
  if (o->path.n >= NAMES_MOST || !outside_add(&o->path, path)) return SM_ENOMEM;
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

/* ---- asking a classifier ------------------------------------------------------------------------------- */

/* Many rows at once: k-NN makes its training features ready for each question. */
enum { ASKED_BATCH = 32, ASKED_ROOM = 1024 };
typedef struct outside_asked {
  float *row, *z;
  int32_t *got;
  int64_t *index;
  int n;
} outside_asked;

static sm_status outside_flush(const outside_question *q, outside_asked *a, int32_t *class_of, float *logits,
                               sm_error *err) {
  sm_status status = sm_classifier_ask(q->classifier, a->row, a->n, a->got, a->z, err);
  for (int i = 0; !status && i < a->n; i++) {
    if (a->index[i] < 0 || a->index[i] >= q->n) continue;
    class_of[a->index[i]] = a->got[i];
    if (logits)
      memcpy(logits + a->index[i] * q->classes, a->z + (int64_t)i * q->classes, (size_t)q->classes * sizeof *logits);
  }
  a->n = 0;
  return status;
}

sm_status outside_ask(sm_eval_context *x, const outside_question *q, int32_t *class_of, float *logits, sm_error *err) {
  const int64_t pixels = 3 * (int64_t)x->height * x->width;
  const size_t dim = (size_t)sm_classifier_dim(q->classifier);
  int64_t done = 0;
  sm_pictures *pictures = NULL;
  sm_picture_batch b;
  outside_asked a = {.row = sm_malloc(ASKED_ROOM * dim * sizeof *a.row),
                     .z = logits ? sm_malloc(ASKED_ROOM * (size_t)q->classes * sizeof *a.z) : NULL,
                     .got = sm_malloc(ASKED_ROOM * sizeof *a.got),
                     .index = sm_malloc(ASKED_ROOM * sizeof *a.index)};
  float *changed = q->change ? sm_malloc((size_t)(ASKED_BATCH * pixels) * sizeof *changed) : NULL;
  const bool room = a.row && a.got && a.index && (a.z || !logits) && (changed || !q->change);
  sm_status status = room ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for features");
  if (!status) status = sm_pictures_open(x, &q->request, &pictures, err);
  while (!status && !(status = sm_pictures_next(pictures, &b, err)) && b.n) {
    const float *at = b.x;
    if (q->change) {
      memcpy(changed, b.x, (size_t)(b.n * pixels) * sizeof *changed);
      q->change(q->ctx, changed, b.index, b.n);
      at = changed;
    }
    status = sm_rows_make(x, q->spec, at, b.n, a.row + (size_t)a.n * dim, err);
    memcpy(a.index + a.n, b.index, (size_t)b.n * sizeof *a.index);
    a.n += b.n, done += b.n;
    if (!status && a.n > ASKED_ROOM - ASKED_BATCH) status = outside_flush(q, &a, class_of, logits, err);
    if (!status) status = x->going_on(x, q->from + (q->to - q->from) * (double)done / (double)q->n, err);
  }
  if (!status) status = outside_flush(q, &a, class_of, logits, err);
  sm_pictures_close(pictures);
  sm_free(a.row);
  sm_free(a.z);
  sm_free(a.got);
  sm_free(a.index);
  sm_free(changed);
  return status;
}

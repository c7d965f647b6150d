/* listing_walk.c — looks for the pictures below a folder, level by level, the folders of a level side by
 * side: what takes the time is waiting for the file system, so there are more threads than processors.
 *
 * * A folder's entries are written as soon as they are known, and its names are let go. Each level's
 * entries are appended to the listing when all of it is read, in the order of the folders, so that no
 * thread has a say in it. */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "listing.h"

/* ---- one folder ---------------------------------------------------------------------------------------- */

typedef enum { KIND_FOLDER, KIND_FILE, KIND_OTHER } entry_kind;

typedef struct entry {
  size_t at; /* of the name, in the folder's names */
  const char *name;
  entry_kind kind;
  uint64_t value;
  dev_t device; /* this and what follows of a folder */
  ino_t inode;
  int64_t changed;
} entry;

typedef struct place { /* a folder on the way */
  const struct place *up;
  char *name;
  dev_t device;
  ino_t inode;
  int64_t changed;
  int depth;
  /* what was found in it */
  sm_text entries, skipped;
  uint32_t n;
  struct place *sub;
  size_t subs;
  sm_status status;
  int code; /* errno of a folder that could not be opened or read */
  sm_error *why; /* of other failures */
} place;

typedef struct entries {
  sm_text names;
  entry *v;
  size_t n, room;
} entries;

typedef struct walk {
  sm_listing *list;
  place **level;
  sm_listing_passed passed[SM_LISTING_THREADS];
} walk;

static void place_path(const sm_listing *l, const place *p, sm_text *path) {
  if (!p->up) {
    sm_text_add(path, "%s", l->root);
    return;
  }
  place_path(l, p->up, path);
  sm_text_add(path, "%s%s", path->len && path->s[path->len - 1] == '/' ? "" : "/", p->name);
}

static void place_free(place *p) {
  for (size_t i = 0; i < p->subs; i++) place_free(&p->sub[i]);
  sm_free(p->sub);
  sm_free(p->name);
  sm_free(p->why);
  sm_text_free(&p->entries);
  sm_text_free(&p->skipped);
}

static int entry_by_name(const void *a, const void *b) {
  return strcmp(((const entry *)a)->name, ((const entry *)b)->name);
}

/* Follows links. A picture's name whose link leads nowhere stays a file: it is to be counted as bad, not to
 * go unseen. */
static int entry_look(int dir, const char *name, entry *e) {
  struct stat st;
  *e = (entry){.kind = KIND_OTHER, .value = SM_LISTING_UNKNOWN};
  if (fstatat(dir, name, &st, 0) != 0) {
    const bool dangling = errno == ENOENT || errno == ENOTDIR || errno == ELOOP;
    e->kind = KIND_FILE;
    if (dangling) e->value = SM_LISTING_DANGLING;
    return dangling || errno == EACCES ? 0 : errno;
  }
  if (S_ISREG(st.st_mode)) e->kind = KIND_FILE, e->value = SM_LISTING_BYTES + (uint64_t)st.st_size;
  if (!S_ISDIR(st.st_mode)) return 0;
  e->kind = KIND_FOLDER;
  e->device = st.st_dev, e->inode = st.st_ino, e->changed = sm_listing_changed(&st);
  return 0;
}

static bool entries_add(entries *list, const entry *e, const char *name) {
  if (list->n == list->room) {
    const size_t room = list->room ? 2 * list->room : 64;
    entry *more = sm_realloc(list->v, room * sizeof *more);
    if (!more) return false;
    list->v = more;
    list->room = room;
  }
  list->v[list->n] = *e;
  list->v[list->n++].at = list->names.len;
  sm_text_bytes(&list->names, name, strlen(name) + 1);
  return !list->names.failed;
}

static sm_status place_fail(place *p, sm_status status, const char *verb, const char *path, const char *name,
                            int code) {
  if ((p->why = sm_calloc(1, sizeof *p->why)) && code)
    sm_fail(p->why, status, "cannot %s %s/%s: %s", verb, path, name, strerror(code));
  else if (p->why) sm_fail(p->why, status, "out of memory while listing %s", path);
  return status;
}

static sm_status place_read(place *p, const char *path, entries *list) {
  DIR *dir = opendir(path);
  struct dirent *d;
  if (!dir) return p->code = errno, SM_EIO;
  for (errno = 0; !p->status && (d = readdir(dir)); errno = 0) {
    if (d->d_name[0] == '.') continue;
    entry e = {.kind = KIND_FILE};
    const int code =
        sm_listing_is_picture(d->d_name) || d->d_type != DT_REG ? entry_look(dirfd(dir), d->d_name, &e) : 0;
    if (code) p->status = place_fail(p, SM_EIO, "examine", path, d->d_name, code);
    else if (!entries_add(list, &e, d->d_name)) p->status = place_fail(p, SM_ENOMEM, "", path, "", 0);
  }
  if (!p->status && errno != 0) p->code = errno, p->status = SM_EIO;
  closedir(dir);
  for (size_t i = 0; i < list->n && !list->names.failed; i++) list->v[i].name = list->names.s + list->v[i].at;
  if (list->n > 1 && !p->status) qsort(list->v, list->n, sizeof *list->v, entry_by_name);
  return p->status;
}

/* A sub-folder, unless it is one of those that lead to it: a link to one of these would never end. */
static bool place_enter(place *p, const entry *e, const char *path, bool *taken) {
  *taken = true;
  for (const place *up = p; up; up = up->up)
    if (up->device == e->device && up->inode == e->inode) *taken = false;
  if (!*taken) {
    sm_text_add(&p->skipped, "%s/%s", path, e->name);
    sm_text_bytes(&p->skipped, "", 1);
    return !p->skipped.failed;
  }
  place *sub = &p->sub[p->subs];
  *sub = (place){p, .device = e->device, .inode = e->inode, .changed = e->changed, .depth = p->depth + 1};
  if (!(sub->name = sm_strdup(e->name))) return false;
  p->subs++;
  return true;
}

static sm_status place_write(const sm_listing *l, place *p, const char *path, const entries *list,
                             sm_listing_passed *others) {
  size_t folders = 0;
  const char *before = "";
  for (size_t i = 0; i < list->n; i++) folders += list->v[i].kind == KIND_FOLDER;
  bool done = !folders || (p->sub = sm_calloc(folders, sizeof *p->sub));
  for (size_t i = 0; i < list->n && done; i++) {
    const entry *e = &list->v[i];
    const bool folder = e->kind == KIND_FOLDER;
    bool taken = folder || (e->kind == KIND_FILE && sm_listing_is_picture(e->name));
    if (!taken) sm_listing_pass(others, e->name);
    if (folder) done = place_enter(p, e, path, &taken);
    if (!taken || !done) continue;
    sm_listing_put(l, &p->entries, p->n++, before, e->name,
                   &(sm_listing_entry){.value = folder ? SM_LISTING_SUB : e->value});
    before = e->name;
  }
  return done && !p->entries.failed ? SM_OK : place_fail(p, SM_ENOMEM, "", path, "", 0);
}

static void walk_look(void *ctx, int64_t item, int worker) {
  walk *w = ctx;
  place *p = w->level[item];
  sm_text path = {0};
  entries list = {0};
  place_path(w->list, p, &path);
  if (path.failed) p->status = place_fail(p, SM_ENOMEM, "", w->list->root, "", 0);
  else if (!(p->status = place_read(p, path.s, &list)))
    p->status = place_write(w->list, p, path.s, &list, &w->passed[worker]);
  sm_text_free(&list.names);
  sm_free(list.v);
  sm_text_free(&path);
}

/* ---- level after level --------------------------------------------------------------------------------- */

static sm_status walk_no_memory(const walk *w, sm_error *err) {
  return sm_fail(err, SM_ENOMEM, "out of memory while listing %s", w->list->root);
}

static sm_status walk_cannot_read(const walk *w, const place *p, int code, sm_error *err) {
  const bool missing = code == ENOENT || code == ENOTDIR, denied = code == EACCES;
  const sm_status status = missing ? SM_ENOTFOUND : SM_EIO;
  sm_text path = {0};
  place_path(w->list, p, &path);
  sm_fail(err, status, "cannot read the folder %s: %s", path.s ? path.s : "", strerror(code));
  sm_hint(err, missing  ? "a relative path in a recipe starts at the recipe's folder"
               : denied ? "check its permissions"
                        : "see to the disk or file system");
  sm_text_free(&path);
  return status;
}

static sm_status walk_settle(walk *w, int64_t item, sm_error *err) {
  place *p = w->level[item];
  if (p->code == EMFILE || p->code == ENFILE) { /* again, with nobody beside */
    p->status = SM_OK, p->code = 0;
    walk_look(w, item, 0);
  }
  if (p->code) return walk_cannot_read(w, p, p->code, err);
  if (!p->status) return SM_OK;
  if (!p->why) return walk_no_memory(w, err);
  *err = *p->why;
  return p->status;
}

/* Appends what a level has found, and makes the next one. */
static sm_status walk_append(walk *w, size_t n, place ***next, size_t *n_next, sm_error *err) {
  sm_listing *l = w->list;
  sm_listing_folder_head *more = sm_realloc(l->own_heads, (l->folders + n) * sizeof *more);
  *n_next = 0;
  if (!more) return walk_no_memory(w, err);
  l->own_heads = more;
  for (size_t i = 0; i < n; i++) *n_next += w->level[i]->subs;
  *next = sm_calloc(*n_next + 1, sizeof **next);
  if (!*next) return walk_no_memory(w, err);
  for (size_t i = 0, at = 0; i < n; i++) {
    place *p = w->level[i];
    l->own_heads[l->folders++] = (sm_listing_folder_head){.changed = p->changed, .entries = p->n};
    sm_text_bytes(&l->own_entries, p->entries.s, p->entries.len);
    sm_text_bytes(&l->tell_skipped, p->skipped.s, p->skipped.len);
    sm_text_free(&p->entries);
    for (size_t k = 0; k < p->subs; k++) (*next)[at++] = &p->sub[k];
  }
  return l->own_entries.failed || l->tell_skipped.failed ? walk_no_memory(w, err) : SM_OK;
}

static sm_status walk_level(walk *w, size_t *n, sm_error *err) {
  place **next = NULL;
  size_t n_next;
  sm_status status = SM_OK;
  sm_listing_each((int64_t)*n, walk_look, w);
  for (size_t i = 0; i < *n && !status; i++) status = walk_settle(w, (int64_t)i, err);
  if (!status) status = walk_append(w, *n, &next, &n_next, err);
  if (status) {
    sm_free(next);
    return status;
  }
  sm_free(w->level);
  w->level = next;
  *n = n_next;
  if (!n_next || next[0]->depth <= SM_LISTING_DEEPEST) return SM_OK;
  sm_text path = {0};
  place_path(w->list, next[0], &path);
  status = sm_fail(err, SM_EINVAL, "the folder %s lies more than %d levels deep", path.s ? path.s : "",
                   SM_LISTING_DEEPEST);
  sm_text_free(&path);
  return status;
}

static sm_status walk_all(walk *w, place *root, sm_error *err) {
  struct stat st;
  size_t n = 1;
  if (stat(w->list->root, &st) != 0) return walk_cannot_read(w, root, errno, err);
  root->device = st.st_dev, root->inode = st.st_ino, root->changed = sm_listing_changed(&st);
  if (!(w->level = sm_calloc(1, sizeof *w->level))) return walk_no_memory(w, err);
  w->level[0] = root;
  sm_status status = SM_OK;
  while (n && !status) status = walk_level(w, &n, err);
  return status;
}

sm_listing *sm_listing_folder(const char *path, sm_error *err) {
  sm_error why = {0};
  place root = {0};
  sm_listing *l = sm_listing_new(path, err);
  walk *w = l ? sm_calloc(1, sizeof *w) : NULL;
  sm_status status = SM_ENOMEM;
  if (!l) return NULL;
  if (w) {
    w->list = l;
    status = walk_all(w, &root, &why);
    sm_listing_passed_over(l, w->passed, SM_LISTING_THREADS);
    sm_free(w->level);
  } else {
    sm_fail(&why, SM_ENOMEM, "out of memory while listing %s", path);
  }
  if (!status) {
    status = sm_listing_own(l, &why);
  }
  place_free(&root);
  sm_free(w);
  if (!status) return l;
  if (err) *err = why;
  sm_listing_free(l);
  return NULL;
}

/* listing_walk.c — looks for the pictures below a folder, level by level, the folders of a level side by
 * side: what takes the time is waiting for the file system, so there are more threads than processors.
 *
 * * A folder's entries are written as soon as they are known, and its names are let go. Each level's
 * entries are appended to the listing when all of it is read, in the order of the folders, so that no
 * thread has a say in it.
 * * A folder of very many files is put off until the others of its level are done, and is then all threads':
 * each reads some names and looks at their files while others read on. */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "listing.h"

/* ---- one folder ---------------------------------------------------------------------------------------- */

enum {
  MANY = 16384, /* names of a folder that is put off */
  PART = 1024   /* names that a thread reads at once */
};

/* An entry's value beyond what can be a size. */
static const uint64_t value_other = UINT64_MAX,     /* neither file nor folder */
                      value_new = UINT64_MAX - 1,   /* it is to be looked at */
                      value_fault = UINT64_MAX - 4096; /* and from here on: it could not be looked at, for this errno */

typedef struct entry {
  union {
    size_t at; /* first: where its name begins in the folder's names */
    const char *name;
  };
  uint64_t value;
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
  bool large; /* it was put off */
  sm_status status;
  int code; /* errno of a folder that could not be opened or read */
  sm_error *why; /* of other failures */
} place;

typedef struct entries {
  sm_text names;
  entry *v;
  size_t n, room;
} entries;

typedef struct reading { /* of a folder, by one thread or several */
  DIR *dir;
  pthread_mutex_t lock; /* for all below */
  entries all;
  size_t most; /* names, after which it is put off */
  bool large, no_memory;
  int code; /* errno */
} reading;

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

static sm_status place_fail(place *p, sm_status status, const char *verb, const char *path, const char *name,
                            int code) {
  if ((p->why = sm_calloc(1, sizeof *p->why)) && code)
    sm_fail(p->why, status, "cannot %s %s/%s: %s", verb, path, name, strerror(code));
  else if (p->why) sm_fail(p->why, status, "out of memory while listing %s", path);
  return status;
}

static void entries_free(entries *list) {
  sm_text_free(&list->names);
  sm_free(list->v);
}

static bool entries_add(entries *list, const char *name, uint64_t value) {
  if (list->n == list->room) {
    const size_t room = list->room ? 2 * list->room : 64;
    entry *more = sm_realloc(list->v, room * sizeof *more);
    if (!more) return false;
    list->v = more;
    list->room = room;
  }
  list->v[list->n++] = (entry){.at = list->names.len, .value = value};
  sm_text_bytes(&list->names, name, strlen(name) + 1);
  return !list->names.failed;
}

/* What need not be looked at: a folder, which is when it is entered, and a file that is no picture. */
static uint64_t entry_value(const struct dirent *d) {
  if (d->d_type == DT_DIR) return SM_LISTING_SUB;
  return d->d_type == DT_REG && !sm_listing_is_picture(d->d_name) ? SM_LISTING_UNKNOWN : value_new;
}

/* Follows links. A picture's name whose link leads nowhere stays a file: it is to be counted as bad, not to
 * go unseen. */
static uint64_t entry_look(int dir, const char *name) {
  struct stat st;
  if (fstatat(dir, name, &st, 0) == 0)
    return S_ISREG(st.st_mode)   ? SM_LISTING_BYTES + (uint64_t)st.st_size
           : S_ISDIR(st.st_mode) ? (uint64_t)SM_LISTING_SUB
                                 : value_other;
  if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return SM_LISTING_DANGLING;
  return errno == EACCES ? SM_LISTING_UNKNOWN : value_fault + (uint64_t)errno;
}

/* The next names, into the thread's own list, which was emptied; false: there are no more, or they are not wanted. */
static bool reading_names(reading *r, entries *own) {
  struct dirent *d = NULL;
  own->n = own->names.len = 0;
  while (own->n < PART && !r->code && !r->no_memory && !r->large) {
    errno = 0;
    if (!(d = readdir(r->dir))) r->code = errno;
    if (!d) break;
    if (d->d_name[0] != '.' && !entries_add(own, d->d_name, entry_value(d))) r->no_memory = true;
  }
  r->large |= r->all.n + own->n > r->most;
  return own->n > 0 && !r->code && !r->no_memory && !r->large;
}

/* The first part, which of most folders is all, is kept as it is. */
static void reading_keep(reading *r, entries *own) {
  if (!r->all.n) {
    const entries none = r->all;
    r->all = *own;
    *own = none;
  }
  for (size_t i = 0; i < own->n && !r->no_memory; i++)
    if (!entries_add(&r->all, own->names.s + own->v[i].at, own->v[i].value)) r->no_memory = true;
}

static void reading_part(void *ctx, int64_t item, int worker) {
  reading *r = ctx;
  entries own = {0};
  (void)item, (void)worker;
  pthread_mutex_lock(&r->lock);
  while (reading_names(r, &own)) {
    pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; i < own.n; i++)
      if (own.v[i].value == value_new) own.v[i].value = entry_look(dirfd(r->dir), own.names.s + own.v[i].at);
    pthread_mutex_lock(&r->lock);
    reading_keep(r, &own);
  }
  pthread_mutex_unlock(&r->lock);
  entries_free(&own);
}

/* The names, sorted, and what stands behind them. alone: nobody reads another folder meanwhile. */
static sm_status place_read(place *p, const char *path, bool alone, reading *r) {
  p->large = false;
  r->most = alone ? SIZE_MAX : MANY;
  if (!(r->dir = opendir(path))) return p->code = errno, SM_EIO;
  sm_listing_each(alone ? SM_LISTING_THREADS : 1, reading_part, r);
  if (r->no_memory) return place_fail(p, SM_ENOMEM, "", path, "", 0);
  if (r->code) return p->code = r->code, SM_EIO;
  if ((p->large = r->large)) return SM_OK;
  entries *all = &r->all;
  for (size_t i = 0; i < all->n; i++) all->v[i].name = all->names.s + all->v[i].at;
  if (all->n > 1) qsort(all->v, all->n, sizeof *all->v, entry_by_name);
  for (size_t i = 0; i < all->n; i++) {
    const entry *e = &all->v[i];
    if (e->value >= value_fault && e->value < value_new)
      return place_fail(p, SM_EIO, "examine", path, e->name, (int)(e->value - value_fault));
  }
  return SM_OK;
}

/* A sub-folder, unless it is one of those that lead to it: a link to one of these would never end. */
static sm_status place_enter(place *p, const char *path, DIR *dir, const char *name, bool *taken) {
  struct stat st;
  *taken = true;
  if (fstatat(dirfd(dir), name, &st, 0)) return place_fail(p, SM_EIO, "examine", path, name, errno);
  for (const place *up = p; up; up = up->up)
    if (up->device == st.st_dev && up->inode == st.st_ino) *taken = false;
  if (!*taken) {
    sm_text_add(&p->skipped, "%s/%s", path, name);
    sm_text_bytes(&p->skipped, "", 1);
    return SM_OK;
  }
  place *sub = &p->sub[p->subs];
  *sub = (place){p,
                 .device = st.st_dev,
                 .inode = st.st_ino,
                 .changed = sm_listing_changed(&st),
                 .depth = p->depth + 1};
  if (!(sub->name = sm_strdup(name))) return place_fail(p, SM_ENOMEM, "", path, "", 0);
  p->subs++;
  return SM_OK;
}

static sm_status place_write(const sm_listing *l, place *p, const char *path, const reading *r,
                             sm_listing_passed *others) {
  const entries *list = &r->all;
  size_t folders = 0;
  const char *before = "";
  sm_status status = SM_OK;
  for (size_t i = 0; i < list->n; i++) folders += list->v[i].value == SM_LISTING_SUB;
  bool memory = !folders || (p->sub = sm_calloc(folders, sizeof *p->sub));
  for (size_t i = 0; i < list->n && memory && !status; i++) {
    const entry *e = &list->v[i];
    const bool folder = e->value == SM_LISTING_SUB;
    bool taken = folder || (e->value != value_other && sm_listing_is_picture(e->name));
    if (!taken) sm_listing_pass(others, e->name);
    if (folder) status = place_enter(p, path, r->dir, e->name, &taken);
    if (!taken || status) continue;
    sm_listing_put(l, &p->entries, p->n++, before, e->name, &(sm_listing_entry){.value = e->value});
    before = e->name;
  }
  if (status) return status;
  return memory && !p->entries.failed && !p->skipped.failed ? SM_OK : place_fail(p, SM_ENOMEM, "", path, "", 0);
}

static void walk_place(walk *w, place *p, bool alone, int worker) {
  sm_text path = {0};
  reading r = {.lock = PTHREAD_MUTEX_INITIALIZER};
  place_path(w->list, p, &path);
  if (path.failed) p->status = place_fail(p, SM_ENOMEM, "", w->list->root, "", 0);
  else p->status = place_read(p, path.s, alone, &r);
  if (!p->status && !p->large) p->status = place_write(w->list, p, path.s, &r, &w->passed[worker]);
  if (r.dir) closedir(r.dir);
  entries_free(&r.all);
  sm_text_free(&path);
}

static void walk_look(void *ctx, int64_t item, int worker) {
  walk *w = ctx;
  walk_place(w, w->level[item], false, worker);
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
  if (p->code == EMFILE || p->code == ENFILE || p->large) { /* again, with nobody beside */
    p->status = SM_OK, p->code = 0;
    walk_place(w, p, true, 0);
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
  if (*n == 1) walk_place(w, w->level[0], true, 0);
  else sm_listing_each((int64_t)*n, walk_look, w);
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

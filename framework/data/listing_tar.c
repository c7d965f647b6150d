/* listing_tar.c — lists the pictures in tar shards: reads the heads of all members, several shards at a
 * time, and puts them into the folders that their names say, as if they had been unpacked side by side.
 *
 * * As with tar itself, a later member of a shard replaces an earlier one of the same name. Names that two
 * shards have are refused, since what they would be unpacked to depends on the order.
 * * A label (KEY.cls) is read with the heads, and goes to the pictures of its shard that bear its key. */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "framework/base/io.h"
#include "framework/formats/tar.h"
#include "listing.h"

typedef struct member {
  size_t name; /* in the shard's names */
  uint64_t at, bytes;
  uint64_t label; /* as an entry says it */
} member;

typedef struct label {
  size_t key; /* in the shard's names */
  const char *text;
  uint64_t at, label;
} label;

typedef struct shard {
  char *file; /* its name in the folder */
  sm_text names;
  member *v;
  size_t n, room;
  label *labels;
  size_t n_labels, labels_room;
  bool numbered;  /* a picture has a label */
  sm_text odd;    /* the first that is no class number */
  sm_listing_passed passed;
  sm_text foreign; /* the first that is neither a file nor a folder, or lies outside */
  int64_t n_foreign;
  sm_error why;
} shard;

typedef struct item { /* a picture of any shard */
  const char *name;
  uint32_t shard;
  uint64_t at, bytes, label;
} item;

typedef struct gathering {
  sm_listing *list;
  shard *shards;
  size_t n, room;
  int64_t changed; /* the folder of the shards */
  item *items;
  size_t n_items;
} gathering;

static sm_status tar_no_memory(const gathering *g, sm_error *err) {
  return sm_fail(err, SM_ENOMEM, "out of memory while listing %s", g->list->root);
}

/* ---- which shards -------------------------------------------------------------------------------------- */

static bool tar_add_shard(gathering *g, const char *file) {
  if (g->n == g->room) {
    const size_t room = g->room ? 2 * g->room : 16;
    shard *more = sm_realloc(g->shards, room * sizeof *more);
    if (!more) return false;
    g->shards = more;
    g->room = room;
  }
  memset(&g->shards[g->n], 0, sizeof *g->shards);
  return (g->shards[g->n].file = sm_strdup(file)) && ++g->n;
}

static int shard_by_name(const void *a, const void *b) {
  return strcmp(((const shard *)a)->file, ((const shard *)b)->file);
}

/* The .tar files of the folder, or the one file. */
static sm_status tar_find_shards(gathering *g, bool *single, sm_error *err) {
  const char *root = g->list->root;
  struct stat st;
  struct dirent *d;
  if (stat(root, &st)) return sm_fail_errno(err, errno, "examine", root);
  *single = !S_ISDIR(st.st_mode);
  g->changed = *single ? 0 : sm_listing_changed(&st);
  if (*single) return tar_add_shard(g, sm_path_base(root)) ? SM_OK : tar_no_memory(g, err);
  DIR *dir = opendir(root);
  if (!dir) return sm_fail_errno(err, errno, "read the folder", root);
  sm_status status = SM_OK;
  for (errno = 0; !status && (d = readdir(dir)); errno = 0) {
    const char *dot = strrchr(d->d_name, '.');
    if (d->d_name[0] == '.' || !dot || strcmp(dot, ".tar") != 0) continue;
    if (!tar_add_shard(g, d->d_name)) status = tar_no_memory(g, err);
  }
  if (!status && errno) status = sm_fail_errno(err, errno, "read the folder", root);
  closedir(dir);
  if (g->n > 1) qsort(g->shards, g->n, sizeof *g->shards, shard_by_name);
  if (status || g->n) return status;
  sm_fail(err, SM_ENOTFOUND, "no shard in %s: it holds no file called .tar", root);
  return sm_hint(err, "name the folder that the shards lie in, or one shard");
}

static sm_status tar_name_shards(gathering *g, sm_error *err) {
  sm_listing *l = g->list;
  if (!(l->own_shards = sm_calloc(g->n, sizeof *l->own_shards))) return tar_no_memory(g, err);
  for (size_t s = 0; s < g->n; s++) {
    l->own_shards[s].name = l->own_names.len;
    sm_text_bytes(&l->own_names, g->shards[s].file, strlen(g->shards[s].file) + 1);
  }
  l->shards = (uint32_t)g->n;
  l->shard_heads = l->own_shards;
  l->shard_names = l->own_names.s;
  return l->own_names.failed ? tar_no_memory(g, err) : SM_OK;
}

/* ---- one shard ----------------------------------------------------------------------------------------- */

/* The name as it would be below a folder: without "./" and a slash before it. NULL: it is not to be
 * listed; *foreign: and that is to be told. */
static const char *tar_inner_name(const char *name, bool *foreign) {
  *foreign = false;
  for (; *name == '/' || (name[0] == '.' && name[1] == '/'); name++) continue;
  for (const char *at = name; *at; at += strspn(at, "/")) {
    const size_t n = strcspn(at, "/");
    *foreign |= n > SM_LISTING_NAME || (n == 2 && at[0] == '.' && at[1] == '.') || !n;
    if (at[0] == '.') return NULL;
    at += n;
    if (at[0] == '/' && at[1] == '/') *foreign = true;
  }
  return *foreign || !*name ? NULL : name;
}

static bool shard_add(shard *s, const char *name, const sm_tar_member *m) {
  if (s->n == s->room) {
    const size_t room = s->room ? 2 * s->room : 256;
    member *more = sm_realloc(s->v, room * sizeof *more);
    if (!more) return false;
    s->v = more;
    s->room = room;
  }
  s->v[s->n++] = (member){s->names.len, m->at, m->bytes, SM_LISTING_NO_LABEL};
  sm_text_bytes(&s->names, name, strlen(name) + 1);
  return !s->names.failed;
}

static bool shard_is_label(const char *name) {
  const char *dot = strrchr(sm_path_base(name), '.');
  return dot && !strcasecmp(dot, ".cls");
}

/* A class number as text, between blanks and ends of lines. */
static uint64_t label_read(char *text) {
  int64_t class;
  text += strspn(text, " \t\r\n");
  for (size_t n = strlen(text); n > 0 && strchr(" \t\r\n", text[n - 1]);) text[--n] = 0;
  const bool number = text[0] >= '0' && text[0] <= '9' && sm_parse_int(text, &class);
  return number && class < SM_LISTING_CLASSES ? SM_LISTING_CLASS + (uint64_t)class : SM_LISTING_ODD_LABEL;
}

static bool shard_add_label(shard *s, const char *name, const label *l) {
  if (s->n_labels == s->labels_room) {
    const size_t room = s->labels_room ? 2 * s->labels_room : 256;
    label *more = sm_realloc(s->labels, room * sizeof *more);
    if (!more) return false;
    s->labels = more;
    s->labels_room = room;
  }
  s->labels[s->n_labels] = *l;
  s->labels[s->n_labels++].key = s->names.len;
  sm_text_bytes(&s->names, name, strlen(name) - 4);
  sm_text_bytes(&s->names, "", 1);
  return !s->names.failed;
}

static sm_status shard_take_label(shard *s, const sm_tar *t, const char *name, const sm_tar_member *m,
                                  sm_error *err) {
  enum { LONGEST = 24 };
  char text[LONGEST + 1];
  size_t n;
  const sm_status status = sm_tar_read(t, m, text, LONGEST, &n, err);
  if (status) return status;
  text[n] = 0;
  const label l = {.at = m->at,
                   .label = strlen(text) == n && m->bytes == n ? label_read(text) : SM_LISTING_ODD_LABEL};
  if (l.label == SM_LISTING_ODD_LABEL && !s->odd.len) {
    sm_text_add(&s->odd, "%s of %s holds '", name, s->file);
    sm_text_add(&s->odd, "%s%s'", text, m->bytes > n ? "…" : "");
  }
  if (shard_add_label(s, name, &l)) return SM_OK;
  return sm_fail(err, SM_ENOMEM, "no memory for the members of an archive");
}

static int label_by_key(const void *a, const void *b) {
  const label *x = a, *y = b;
  const int order = strcmp(x->text, y->text);
  return order ? order : x->at < y->at ? -1 : x->at > y->at;
}

static int label_against(const label *l, const char *key, size_t n) {
  const int order = strncmp(l->text, key, n);
  return order ? order : l->text[n] != 0;
}

/* The last label with that key, of n bytes, or NULL. */
static const label *shard_label(const shard *s, const char *key, size_t n) {
  size_t low = 0, high = s->n_labels; /* those before low are at most the key, those from high on above it */
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (label_against(&s->labels[middle], key, n) <= 0) low = middle + 1;
    else high = middle;
  }
  return low && !label_against(&s->labels[low - 1], key, n) ? &s->labels[low - 1] : NULL;
}

/* Gives each picture its label: that of the longest key. */
static void shard_pair(shard *s) {
  for (size_t i = 0; i < s->n_labels; i++) s->labels[i].text = s->names.s + s->labels[i].key;
  if (s->n_labels > 1) qsort(s->labels, s->n_labels, sizeof *s->labels, label_by_key);
  for (size_t i = 0; i < s->n && s->n_labels; i++) {
    const char *name = s->names.s + s->v[i].name, *base = sm_path_base(name);
    const label *found = NULL;
    for (const char *dot = name + strlen(name) - 1; !found && dot > base; dot--)
      if (*dot == '.') found = shard_label(s, name, (size_t)(dot - name));
    if (found) s->v[i].label = found->label;
    s->numbered |= found != NULL;
  }
}

static sm_status shard_take(shard *s, const sm_tar *t, const sm_tar_member *m, sm_error *err) {
  bool foreign, done = true;
  const char *name = tar_inner_name(m->name, &foreign);
  if (m->folder) return SM_OK;
  if (foreign || (name && !m->regular)) {
    if (!s->n_foreign++) sm_text_add(&s->foreign, "%s", m->name);
  } else if (name && sm_listing_is_picture(name)) {
    done = shard_add(s, name, m);
  } else if (name && shard_is_label(name)) {
    return shard_take_label(s, t, name, m, err);
  } else if (name) {
    sm_listing_pass(&s->passed, sm_path_base(name));
  }
  return done ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for the members of an archive");
}

static void shard_read(void *ctx, int64_t at, int worker) {
  gathering *g = ctx;
  shard *s = &g->shards[at];
  struct stat st = {0};
  sm_text path = {0};
  sm_tar_member m;
  bool end = false;
  (void)worker;
  sm_listing_shard_path(g->list, (uint32_t)at, &path);
  sm_tar *t = path.failed ? NULL : sm_tar_open(path.s, &s->why);
  if (path.failed) tar_no_memory(g, &s->why);
  if (t && stat(path.s, &st)) sm_fail_errno(&s->why, errno, "examine", path.s);
  g->list->own_shards[at].changed = t ? sm_listing_changed(&st) : 0;
  g->list->own_shards[at].bytes = t ? (uint64_t)st.st_size : 0;
  while (t && !end && !s->why.code)
    if (!sm_tar_next(t, &m, &end, &s->why) && !end) shard_take(s, t, &m, &s->why);
  shard_pair(s);
  sm_tar_close(t);
  sm_text_free(&path);
}

static sm_status tar_read_shards(gathering *g, sm_error *err) {
  sm_listing_each((int64_t)g->n, shard_read, g);
  for (size_t i = 0; i < g->n; i++) {
    const shard *s = &g->shards[i];
    g->list->numbered |= s->numbered;
    if (s->odd.len && !g->list->odd_label.len) sm_text_bytes(&g->list->odd_label, s->odd.s, s->odd.len);
    if (!s->why.code) continue;
    *err = s->why;
    return err->code;
  }
  return g->list->odd_label.failed ? tar_no_memory(g, err) : SM_OK;
}

/* ---- all of them, in order ----------------------------------------------------------------------------- */

/* As byte order at every level: a name that ends comes first, then a slash, then anything else. */
static int tar_order(const char *a, const char *b) {
  for (; *a && *a == *b; a++, b++) continue;
  const int x = *a == 0 ? 0 : *a == '/' ? 1 : 1 + (unsigned char)*a;
  const int y = *b == 0 ? 0 : *b == '/' ? 1 : 1 + (unsigned char)*b;
  return x < y ? -1 : x > y;
}

static int item_by_name(const void *a, const void *b) {
  const item *x = a, *y = b;
  const int order = tar_order(x->name, y->name);
  if (order) return order;
  if (x->shard != y->shard) return x->shard < y->shard ? -1 : 1;
  return x->at < y->at ? -1 : x->at > y->at;
}

static sm_status tar_sort(gathering *g, sm_error *err) {
  size_t n = 0, kept = 0;
  for (size_t s = 0; s < g->n; s++) n += g->shards[s].n;
  if (n > INT32_MAX) return sm_fail(err, SM_EUNSUPPORTED, "%s holds %zu pictures; at most %d are supported",
                                    g->list->root, n, INT32_MAX);
  if (!(g->items = sm_calloc(n + 1, sizeof *g->items))) return tar_no_memory(g, err);
  for (size_t s = 0; s < g->n; s++)
    for (size_t i = 0; i < g->shards[s].n; i++) {
      const member *m = &g->shards[s].v[i];
      g->items[g->n_items++] = (item){g->shards[s].names.s + m->name, (uint32_t)s, m->at, m->bytes, m->label};
    }
  if (n > 1) qsort(g->items, n, sizeof *g->items, item_by_name);
  for (size_t i = 0; i < n; i++) {
    const item *it = &g->items[i], *next = i + 1 < n ? it + 1 : NULL;
    const bool again = next && !strcmp(it->name, next->name);
    if (again && it->shard != next->shard) {
      sm_fail(err, SM_EFORMAT, "%.200s is in two shards, %s and %s", it->name, g->shards[it->shard].file,
              g->shards[next->shard].file);
      return sm_hint(err, "give each picture a name of its own when the shards are made");
    }
    if (!again) g->items[kept++] = *it;
  }
  g->n_items = kept;
  return SM_OK;
}

/* ---- folders ------------------------------------------------------------------------------------------- */

typedef struct span { /* the pictures below a folder, and how long its path is, with a slash */
  size_t from, to, path;
} span;

/* One level: each span's entries are written, and the spans of its sub-folders go into the next level. */
static bool tar_write_folder(gathering *g, const span *s, span *next, size_t *n_next) {
  sm_listing *l = g->list;
  char name[SM_LISTING_NAME + 1], before[SM_LISTING_NAME + 1] = "";
  sm_listing_folder_head *head = &l->own_heads[l->folders++];
  *head = (sm_listing_folder_head){.changed = l->folders == 1 ? g->changed : 0};
  for (size_t i = s->from; i < s->to; head->entries++) {
    const item *it = &g->items[i];
    const char *inner = it->name + s->path;
    const size_t n = strcspn(inner, "/"), begin = i++;
    sm_listing_entry e = {it->bytes + SM_LISTING_BYTES, it->shard, it->at / SM_LISTING_UNIT, it->label};
    memcpy(name, inner, n);
    name[n] = 0;
    if (inner[n]) {
      e.value = SM_LISTING_SUB;
      while (i < s->to && !strncmp(g->items[i].name + s->path, inner, n + 1)) i++;
      next[(*n_next)++] = (span){begin, i, s->path + n + 1};
    }
    sm_listing_put(l, &l->own_entries, head->entries, before, name, &e);
    memcpy(before, name, n + 1);
  }
  return !l->own_entries.failed;
}

/* No level has more folders than there are pictures, nor has any level when all are counted once a depth. */
static sm_status tar_write_folders(gathering *g, sm_error *err) {
  sm_listing *l = g->list;
  span *level = sm_calloc(g->n_items + 1, sizeof *level), *next = sm_calloc(g->n_items + 1, sizeof *next);
  size_t n = 1;
  sm_status status = level && next ? SM_OK : tar_no_memory(g, err);
  if (!status) level[0] = (span){0, g->n_items, 0};
  for (int depth = 0; n && !status; depth++) {
    size_t n_next = 0;
    sm_listing_folder_head *more = sm_realloc(l->own_heads, (l->folders + n) * sizeof *more);
    if (more) l->own_heads = more;
    else status = tar_no_memory(g, err);
    if (depth > SM_LISTING_DEEPEST)
      status = sm_fail(err, SM_EINVAL, "%.200s lies more than %d levels deep", g->items[level[0].from].name,
                       SM_LISTING_DEEPEST);
    for (size_t i = 0; i < n && !status; i++)
      if (!tar_write_folder(g, &level[i], next, &n_next)) status = tar_no_memory(g, err);
    span *now = level;
    level = next, next = now, n = n_next;
  }
  sm_free(level);
  sm_free(next);
  return status;
}

static void tar_tell_foreign(const gathering *g) {
  for (size_t i = 0; i < g->n; i++) {
    const shard *s = &g->shards[i];
    if (!s->n_foreign) continue;
    sm_log(SM_LOG_WARNING, "%s/%s: %lld %s passed over, as no file below a folder: %s%s", g->list->root, s->file,
           (long long)s->n_foreign, sm_plural(s->n_foreign, "member is", "members are"),
           s->foreign.s ? s->foreign.s : "", s->n_foreign > 1 ? ", …" : "");
  }
}

static sm_status tar_tell(gathering *g, sm_error *err) {
  sm_listing_passed *all = sm_calloc(g->n, sizeof *all);
  if (!all) return tar_no_memory(g, err);
  for (size_t i = 0; i < g->n; i++) all[i] = g->shards[i].passed;
  sm_listing_passed_over(g->list, all, (int)g->n);
  sm_free(all);
  tar_tell_foreign(g);
  return SM_OK;
}

static void tar_free(gathering *g) {
  for (size_t i = 0; i < g->n; i++) {
    sm_free(g->shards[i].file);
    sm_free(g->shards[i].v);
    sm_free(g->shards[i].labels);
    sm_text_free(&g->shards[i].odd);
    sm_text_free(&g->shards[i].names);
    sm_text_free(&g->shards[i].foreign);
  }
  sm_free(g->shards);
  sm_free(g->items);
}

sm_listing *sm_listing_tar(const char *path, sm_error *err) {
  sm_error why = {0};
  gathering g = {.list = sm_listing_new(path, err)};
  if (!g.list) return NULL;
  sm_status status = tar_find_shards(&g, &g.list->single, &why);
  if (!status) status = tar_name_shards(&g, &why);
  if (!status) status = tar_read_shards(&g, &why);
  if (!status) status = tar_sort(&g, &why);
  if (!status) status = tar_write_folders(&g, &why);
  if (!status) status = tar_tell(&g, &why);
  if (!status) status = sm_listing_own(g.list, &why);
  tar_free(&g);
  if (!status) return g.list;
  if (err) *err = why;
  sm_listing_free(g.list);
  return NULL;
}

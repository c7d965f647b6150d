/* framework/train/identity.c — which builds of which plugins made a run: written down in environment.json and
 * in each checkpoint, and compared before a run goes on.
 *
 * A plugin is known by kind, name, version and the hash of the file it was loaded from. Only plugins that the
 * checkpoint knows are compared: what was added since has made nothing yet. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "framework/base/io.h"

#include "session.h"

enum { PIECE = 1 << 16 };

static sm_status identity_hash_fd(int fd, const char *path, uint64_t *hash, sm_error *err) {
  char *piece = sm_malloc(PIECE);
  ssize_t got = 0;
  *hash = 0;
  if (!piece) return sm_fail(err, SM_ENOMEM, "no memory to read a plugin's file");
  while ((got = read(fd, piece, PIECE)) != 0) {
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) break;
    *hash = sm_hash64(piece, (size_t)got, *hash);
  }
  const int code = errno;
  sm_free(piece);
  return got < 0 ? sm_fail_errno(err, code, "read", path) : SM_OK;
}

static sm_status identity_hash_file(const sm_plugin *p, uint64_t *hash, sm_error *err) {
  const char *path = sm_module_of(p);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return sm_fail_errno(err, errno, "read", path);
  sm_status status = identity_hash_fd(fd, path, hash, err);
  close(fd);
  return status;
}

/* Those of the recipe, each once. */
static int identity_plugins(const sm_recipe *r, const sm_plugin *list[SM_SLOT_REFS_MAX]) {
  sm_slot_ref refs[SM_SLOT_REFS_MAX];
  const int n = sm_recipe_slots(r, refs);
  int found = 0;
  for (int i = 0; i < n; i++) {
    int k = 0;
    while (k < found && list[k] != refs[i].slot->plugin.plugin) k++;
    if (k == found) list[found++] = refs[i].slot->plugin.plugin;
  }
  return found;
}

/* "masker stripes 1.0 0123456789abcdef", one line for each plugin of the recipe. Versions are written without
 * blanks. */
static sm_status identity_now(const sm_recipe *r, sm_text *to, sm_error *err) {
  const sm_plugin *list[SM_SLOT_REFS_MAX];
  const int n = identity_plugins(r, list);
  for (int i = 0; i < n; i++) {
    const sm_plugin *p = list[i];
    char version[64];
    uint64_t hash = 0;
    sm_status status = identity_hash_file(p, &hash, err);
    if (status) return status;
    snprintf(version, sizeof version, "%s", p->version);
    for (char *c = version; *c; c++)
      if ((unsigned char)*c <= ' ') *c = '_';
    sm_text_add(to, "%s%s %s %s %016" PRIx64, to->len ? "\n" : "", sm_kind_name((sm_kind)p->kind), p->name,
                version, hash);
  }
  return to->failed ? sm_fail(err, SM_ENOMEM, "out of memory") : SM_OK;
}

typedef struct line {
  char kind[16], name[64], version[64], hash[17];
} line;

static bool identity_next(const char **text, line *l) {
  const size_t n = *text ? strcspn(*text, "\n") : 0;
  char one[256];
  if (!n) return false;
  snprintf(one, sizeof one, "%.*s", (int)n, *text);
  *text += n + ((*text)[n] == '\n');
  return sscanf(one, "%15s %63s %63s %16s", l->kind, l->name, l->version, l->hash) == 4;
}

static bool identity_find(const char *text, const line *like, line *found) {
  while (identity_next(&text, found))
    if (!strcmp(found->kind, like->kind) && !strcmp(found->name, like->name)) return true;
  return false;
}

void sm_identity_hash(const char *plugins, const sm_plugin *p, char hash[17]) {
  line own = {0}, found;
  snprintf(own.kind, sizeof own.kind, "%s", sm_kind_name((sm_kind)p->kind));
  snprintf(own.name, sizeof own.name, "%s", p->name);
  snprintf(hash, 17, "%s", identity_find(plugins, &own, &found) ? found.hash : "");
}

static const char *identity_module(const sm_recipe *r, const line *l) {
  const sm_plugin *list[SM_SLOT_REFS_MAX];
  const int n = identity_plugins(r, list);
  for (int i = 0; i < n; i++) {
    const sm_plugin *p = list[i];
    if (!strcmp(sm_kind_name((sm_kind)p->kind), l->kind) && !strcmp(p->name, l->name)) return sm_module_of(p);
  }
  return "";
}

/* Another file than the one that made the steps so far: refused, or told and then taken. */
static sm_status identity_differs(sm_session *s, const line *then, const line *now, sm_error *err) {
  char text[512];
  snprintf(
      text, sizeof text,
      "%s '%s' is not the file that made the run's first %lld steps: version %s, hash %s then; version %s, hash %s now (%s)",
      now->kind, now->name, (long long)s->state.step, then->version, then->hash, now->version, now->hash,
      identity_module(s->recipe, now));
  if (s->options->other_plugins) {
    sm_session_warn(s, text);
    return SM_OK;
  }
  sm_fail(err, SM_EINVAL, "%s", text);
  sm_fail_at(err, s->folder.path, 0, 0);
  return sm_hint(
      err,
      "bring the earlier file back, start a new run (`name=…`), or go on with this one: `--other-plugins`");
}

/* A plugin that hides another one of its name is no mistake, but may be one. */
static void identity_announce(sm_session *s) {
  const sm_plugin *list[SM_SLOT_REFS_MAX];
  const int n = identity_plugins(s->recipe, list);
  for (int i = 0; i < n; i++) {
    const sm_plugin *p = list[i];
    const char *hides = s->options->registry ? sm_registry_hides(s->options->registry, p) : NULL;
    char text[512];
    if (!hides) continue;
    snprintf(text, sizeof text, "%s '%s' is that of %s, which hides %s", sm_kind_name((sm_kind)p->kind),
             p->name, sm_module_of(p), hides);
    sm_session_warn(s, text);
  }
}

sm_status sm_identity_check(sm_session *s, sm_error *err) {
  sm_text text = {0};
  line then, now;
  if (s->state.finished) return SM_OK; /* nothing goes on */
  identity_announce(s);
  sm_status status = identity_now(s->recipe, &text, err);
  const char *at = text.s;
  while (!status && s->state.step && s->state.plugins && identity_next(&at, &now))
    if (identity_find(s->state.plugins, &now, &then) && strcmp(then.hash, now.hash) != 0)
      status = identity_differs(s, &then, &now, err);
  char *kept = status ? NULL : sm_malloc(text.len + 1);
  if (!status && !kept) status = sm_fail(err, SM_ENOMEM, "out of memory");
  if (!status) {
    snprintf(kept, text.len + 1, "%s", text.s ? text.s : "");
    sm_free(s->state.plugins);
    s->state.plugins = kept;
  }
  sm_text_free(&text);
  return status;
}

sm_status sm_identity_of_plugins(const sm_recipe *r, uint64_t *hash, sm_error *err) {
  sm_text text = {0};
  sm_status status = identity_now(r, &text, err);
  *hash = status ? 0 : sm_hash64(text.s ? text.s : "", text.len, 0);
  sm_text_free(&text);
  return status;
}

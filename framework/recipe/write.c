/* write.c — the resolved recipe as a list of leaves, and from that: YAML, differences, the hash. */
#include <stdlib.h>
#include <string.h>

#include "recipe_private.h"

/* One value: "data.views.global.size", "224", where it was written. */
typedef struct leaf {
  char path[256];
  char *value;
  sm_place at;
} leaf;

typedef struct leaves {
  leaf *v;
  int n, cap;
  bool failed;
} leaves;

static void write_free_leaves(leaves *l) {
  for (int i = 0; i < l->n; i++) sm_free(l->v[i].value);
  sm_free(l->v);
}

/* ---- collecting ---------------------------------------------------------------------------------------- */

/* Takes the text of `value`. */
static void write_add_leaf(leaves *l, const char *path, const char *key, sm_text *value, sm_place at) {
  if (l->n == l->cap) {
    int cap = l->cap ? 2 * l->cap : 64;
    leaf *v = sm_realloc(l->v, (size_t)cap * sizeof *v);
    if (v) l->v = v, l->cap = cap;
  }
  if (l->n == l->cap || value->failed || !value->s) {
    l->failed = true;
    sm_text_free(value);
    return;
  }
  leaf *x = &l->v[l->n++];
  snprintf(x->path, sizeof x->path, "%s%s%s", path, *path && *key ? "." : "", key);
  x->value = value->s;
  x->at = at;
}

static void write_add_text(leaves *l, const char *path, const char *key, const char *text, sm_place at) {
  sm_text value = {0};
  sm_yaml_quote(text, &value);
  write_add_leaf(l, path, key, &value, at);
}

static void write_add_table(leaves *l, const sm_recipe *r, const char *path, const sm_option *options, int n,
                      const void *base) {
  const sm_yaml *node = sm_recipe_node(r, path);
  for (int i = 0; i < n; i++) {
    const sm_entry *e = sm_yaml_find(node, options[i].name);
    sm_text value = {0};
    sm_option_write(&options[i], base, &value);
    write_add_leaf(l, path, options[i].name, &value, e ? e->at : (sm_place){0});
  }
}

static void write_add_slot(leaves *l, const sm_recipe *r, const sm_slot_ref *ref) {
  const sm_slot *s = ref->slot;
  const sm_plugin *p = s->plugin.plugin;
  const sm_yaml *node = sm_recipe_node(r, ref->path);
  write_add_table(l, r, ref->path, p->options, (int)p->n_options, s->plugin.self);
  const char *const joins[] = {"head", "tokenizer"}, *const names[] = {s->head, s->tokenizer};
  for (int i = 0; i < 2 && ref->schema->kind == SM_LOSS; i++) {
    const sm_entry *e = sm_yaml_find(node, joins[i]);
    if (names[i]) write_add_text(l, ref->path, joins[i], names[i], e ? e->at : (sm_place){0});
  }
  if (p->n_options || ref->schema->kind == SM_LOSS) return;
  sm_text empty = {0};
  sm_text_add(&empty, "{}");
  write_add_leaf(l, ref->path, "", &empty, (sm_place){s->file, s->line, s->col});
}

static void write_add_section(leaves *l, const sm_recipe *r, const sm_schema *s, const sm_slot_ref *refs,
                              int n) {
  const sm_recipe_private *p = r->priv;
  write_add_table(l, r, s->path, s->options, s->n_options, (const char *)r + s->offset);
  for (int i = 0; i < s->children; i++) {
    const sm_schema *c = &s->child[i];
    if (c->shape == SM_SCHEMA_SECTION) write_add_section(l, r, c, refs, n);
    if (c->shape == SM_SCHEMA_SLOT && !c->kind) write_add_section(l, r, p->optimizer, refs, n);
    for (int k = 0; c->kind && k < n; k++)
      if (refs[k].schema == c) write_add_slot(l, r, &refs[k]);
  }
}

static bool write_collect(const sm_recipe *r, leaves *l) {
  sm_slot_ref refs[SM_SLOT_REFS_MAX];
  *l = (leaves){0};
  write_add_section(l, r, &sm_recipe_schema, refs, sm_recipe_slots(r, refs));
  return !l->failed;
}

bool sm_recipe_each(const sm_recipe *r, sm_leaf_fn fn, void *ctx) {
  leaves l;
  bool good = write_collect(r, &l);
  for (int i = 0; i < l.n && good; i++) fn(ctx, l.v[i].path, l.v[i].value, l.v[i].at);
  write_free_leaves(&l);
  return good;
}

/* ---- YAML ---------------------------------------------------------------------------------------------- */

/* Bytes of the leading path parts that a and b share, up to and with a '.'. */
static size_t write_shared(const char *a, const char *b) {
  size_t common = 0;
  for (size_t i = 0; a[i] && a[i] == b[i]; i++)
    if (a[i] == '.') common = i + 1;
  return common;
}

static void write_leaf(const leaf *x, const char *before, bool with_places, sm_text *out) {
  size_t at = write_shared(before, x->path), start = out->len;
  int depth = 0;
  for (size_t i = 0; i < at; i++) depth += x->path[i] == '.';
  for (const char *part = x->path + at;; depth++) {
    size_t n = strcspn(part, ".");
    start = out->len;
    sm_text_add(out, "%*s%.*s:", 2 * depth, "", (int)n, part);
    if (!part[n]) break;
    sm_text_add(out, "\n");
    part += n + 1;
  }
  sm_text_add(out, " %s", x->value);
  if (with_places) {
    int width = (int)(out->len - start);
    sm_text_add(out, "%*s# ", width < 50 ? 50 - width : 2, "");
    if (x->at.file && x->at.line) sm_text_add(out, "%s:%d", x->at.file, x->at.line);
    else sm_text_add(out, "%s", x->at.file ? x->at.file : "default");
  }
  sm_text_add(out, "\n");
}

sm_status sm_recipe_write(const sm_recipe *r, bool with_places, sm_text *out, sm_error *err) {
  leaves l;
  bool good = write_collect(r, &l);
  sm_text_add(out, "smalti: 1\n");
  for (int i = 0; i < l.n && good; i++) write_leaf(&l.v[i], i ? l.v[i - 1].path : "", with_places, out);
  write_free_leaves(&l);
  return good && !out->failed ? SM_OK : sm_fail(err, SM_ENOMEM, "out of memory");
}

/* ---- differences --------------------------------------------------------------------------------------- */

static const leaf *write_find_leaf(const leaves *l, const char *path) {
  for (int i = 0; i < l->n; i++)
    if (!strcmp(l->v[i].path, path)) return &l->v[i];
  return NULL;
}

static int write_compare(const leaves *a, const leaves *b, sm_difference_fn fn, void *ctx) {
  int n = 0;
  for (int i = 0; i < a->n; i++) {
    const leaf *x = &a->v[i], *y = write_find_leaf(b, x->path);
    if (y && !strcmp(x->value, y->value)) continue;
    fn(ctx, x->path, x->value, y ? y->value : NULL);
    n++;
  }
  for (int i = 0; i < b->n; i++) {
    if (write_find_leaf(a, b->v[i].path)) continue;
    fn(ctx, b->v[i].path, NULL, b->v[i].value);
    n++;
  }
  return n;
}

int sm_recipe_compare(const sm_recipe *a, const sm_recipe *b, sm_difference_fn fn, void *ctx) {
  leaves la, lb;
  bool good = write_collect(a, &la);
  good = write_collect(b, &lb) && good;
  int n = good ? write_compare(&la, &lb, fn, ctx) : -1;
  write_free_leaves(&la);
  write_free_leaves(&lb);
  return n;
}

static void write_add_difference(void *ctx, const char *path, const char *a, const char *b) {
  sm_text_add(ctx, "%s: %s → %s\n", path, a ? a : "(none)", b ? b : "(none)");
}

int sm_recipe_diff(const sm_recipe *a, const sm_recipe *b, sm_text *out) {
  int n = sm_recipe_compare(a, b, write_add_difference, out);
  if (n < 0) out->failed = true;
  return n < 0 ? 0 : n;
}

/* ---- hash ---------------------------------------------------------------------------------------------- */

/* What does not change the result: a run may be resumed with other values of these. */
bool sm_recipe_conduct(const char *path) {
  static const char *const keys[] = {"train.threads", "train.isa", "train.recompute", "data.workers", "data.prefetch",
                                     "data.cache",    NULL};
  return sm_listed(keys, path);
}

static uint64_t write_hash(const sm_recipe *r, bool written) {
  leaves l;
  bool good = write_collect(r, &l);
  uint64_t hash = 1;
  for (int i = 0; i < l.n; i++) {
    if (sm_recipe_conduct(l.v[i].path) || (written && !l.v[i].at.line)) continue;
    const char *value = strcmp(l.v[i].path, "name") ? l.v[i].value : r->given_name;
    hash = sm_hash64(l.v[i].path, strlen(l.v[i].path) + 1, hash);
    hash = sm_hash64(value, strlen(value) + 1, hash);
  }
  write_free_leaves(&l);
  return good ? hash : 0;
}

uint64_t sm_recipe_hash(const sm_recipe *r) { return write_hash(r, false); }
uint64_t sm_recipe_hash_written(const sm_recipe *r) { return write_hash(r, true); }

/* ---- identity ------------------------------------------------------------------------------------------ */

typedef struct identity {
  const sm_recipe *r;
  bool (*counts)(void *ctx, const char *path);
  void *ctx;
  uint64_t sum;
  bool failed; /* out of memory */
} identity;

/* A sum of hashes: the order of plugins' tables is not part of it. */
static void write_count_in(identity *id, const char *path, const char *value) {
  if (!id->counts(id->ctx, path)) return;
  uint64_t hash = sm_hash64(path, strlen(path) + 1, 3);
  id->sum += sm_hash64(value, strlen(value) + 1, hash);
}

static bool write_usual_value(identity *id, const sm_option *o, const char *value, void *blank) {
  sm_text text = {0};
  sm_status status = o->def ? sm_option_default(o, "", id->r->priv->arena, blank, NULL) : SM_EINVAL;
  if (status == SM_ENOMEM) id->failed = true;
  if (status) return false;
  sm_option_write(o, blank, &text);
  if (text.failed) id->failed = true;
  bool same = text.s && !strcmp(text.s, value);
  sm_text_free(&text);
  return same;
}

static void write_count_table(identity *id, const char *path, const sm_option *options, int n,
                              const void *base, size_t size) {
  char key[320];
  void *blank = sm_calloc(1, size);
  if (!blank) id->failed = true;
  for (int i = 0; !id->failed && i < n; i++) {
    sm_text value = {0};
    sm_option_write(&options[i], base, &value);
    if (value.failed) id->failed = true;
    snprintf(key, sizeof key, "%s%s%s", path, *path ? "." : "", options[i].name);
    if (value.s && !write_usual_value(id, &options[i], value.s, blank))
      write_count_in(id, key, value.s);
    sm_text_free(&value);
  }
  sm_free(blank);
}

static void write_count_sections(identity *id, const sm_schema *s) {
  const sm_recipe_private *p = id->r->priv;
  write_count_table(id, s->path, s->options, s->n_options, (const char *)id->r + s->offset, sizeof *id->r);
  for (int i = 0; i < s->children; i++) {
    const sm_schema *c = &s->child[i];
    if (c->shape == SM_SCHEMA_SECTION) write_count_sections(id, c);
    if (c->shape != SM_SCHEMA_SLOT || c->kind) continue;
    write_count_in(id, p->optimizer->path, "");
    write_count_sections(id, p->optimizer);
  }
}

uint64_t sm_recipe_identity(const sm_recipe *r, bool (*counts)(void *ctx, const char *path), void *ctx) {
  identity id = {.r = r, .counts = counts, .ctx = ctx, .sum = 1};
  sm_slot_ref refs[SM_SLOT_REFS_MAX];
  int n = sm_recipe_slots(r, refs);
  write_count_sections(&id, &sm_recipe_schema);
  for (int i = 0; i < n; i++) {
    const sm_slot *s = refs[i].slot;
    const sm_plugin *p = s->plugin.plugin;
    char key[240];
    write_count_in(&id, refs[i].path, p->version);
    write_count_table(&id, refs[i].path, p->options, (int)p->n_options, s->plugin.self, p->instance_size);
    const char *const joins[] = {"head", "tokenizer"}, *const names[] = {s->head, s->tokenizer};
    for (int k = 0; k < 2; k++) {
      snprintf(key, sizeof key, "%s.%s", refs[i].path, joins[k]);
      if (names[k]) write_count_in(&id, key, names[k]);
    }
  }
  return id.failed ? 0 : id.sum;
}

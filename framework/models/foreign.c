/* foreign.c — where in somebody's file the backbone lies, and the reader that shows it under smalti's names.
 *
 * A backbone is found by its patch embedding, whatever stands before that name: containers of checkpoints
 * (teacher, student, model, state_dict), wrappers (module, backbone), an architecture's name (vit). What stands
 * there is stripped from the beginning of names only, and all names without it are parts of something else.
 * Where a file holds several, the teacher or average comes first, as in evaluation of smalti's own runs. */
#include "foreign.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"

enum { MOST_CANDIDATES = 16, MOST_TENSORS = 16384 };

typedef enum { AVERAGE, NEUTRAL, STUDENT } candidate_kind;
typedef struct candidate {
  char prefix[320];
  candidate_kind kind;
} candidate;

/* Is `word` one of the parts of "teacher.module.backbone."? */
static bool foreign_has_part(const char *prefix, const char *word) {
  const size_t n = strlen(word);
  for (const char *at = prefix; *at; at += strcspn(at, "."), at += *at == '.')
    if (strcspn(at, ".") == n && !memcmp(at, word, n)) return true;
  return false;
}

static candidate_kind foreign_kind(const char *prefix) {
  static const char *const averages[] = {"teacher",        "ema",         "model_ema", "state_dict_ema",
                                         "target_encoder", "ema_encoder", NULL};
  for (int i = 0; averages[i]; i++)
    if (foreign_has_part(prefix, averages[i])) return AVERAGE;
  return foreign_has_part(prefix, "student") ? STUDENT : NEUTRAL;
}

/* ---- which ------------------------------------------------------------------------------------------- */

static int foreign_candidates(const sm_st_reader *r, const char *within, candidate *list) {
  const sm_st_tensor *t;
  const size_t cut = strlen(within);
  int n = 0;
  for (size_t i = 0; n < MOST_CANDIDATES && (t = sm_st_at(r, i)); i++) {
    const size_t length = strlen(t->name);
    if (t->ndim != 4 || strncmp(t->name, within, cut) != 0) continue;
    for (int a = 0; sm_foreign_anchors[a]; a++) {
      const size_t m = strlen(sm_foreign_anchors[a]);
      if (length < m || strcmp(t->name + length - m, sm_foreign_anchors[a]) != 0) continue;
      const size_t before = length - m;
      if ((before && t->name[before - 1] != '.') || before < cut || before >= sizeof list->prefix) continue;
      snprintf(list[n].prefix, sizeof list->prefix, "%.*s", (int)before, t->name);
      list[n].kind = foreign_kind(list[n].prefix);
      n++;
    }
  }
  return n;
}

static sm_status foreign_choose(const candidate *list, int n, sm_net net, const candidate **chosen, sm_error *err) {
  static const candidate_kind order[][3] = {{AVERAGE, NEUTRAL, STUDENT}, {STUDENT, NEUTRAL, STUDENT}};
  const candidate *other = NULL;
  *chosen = NULL;
  for (int k = 0; k < 3 && !*chosen; k++)
    for (int i = 0; i < n; i++) {
      if (list[i].kind != order[net == SM_NET_STUDENT][k]) continue;
      if (*chosen) other = &list[i];
      else *chosen = &list[i];
    }
  if (!*chosen) {
    sm_fail(err, SM_EINVAL, "the file holds weights of the teacher only, not of the student");
    return sm_hint(err, "take these: --net teacher");
  }
  if (net == SM_NET_TEACHER && (*chosen)->kind == STUDENT) {
    sm_fail(err, SM_EINVAL, "the file holds weights of the student only, not of the teacher");
    return sm_hint(err, "take these: --net student");
  }
  if (!other) return SM_OK;
  sm_fail(err, SM_EINVAL, "the file holds several networks: '%.100s' and '%.100s' could both be meant",
          (*chosen)->prefix, other->prefix);
  return sm_hint(err, "say which: --prefix %.200s", (*chosen)->prefix);
}

/* ---- what is left ------------------------------------------------------------------------------------- */

/* Tensors of other parts of the file, a line for each first part of their names. */
static void foreign_tell_others(foreign_file *f) {
  enum { MOST = 12 };
  struct {
    const char *name;
    size_t length;
    int count;
  } part[MOST];
  const sm_st_tensor *t;
  int parts = 0, more = 0;
  for (size_t i = 0; (t = sm_st_at(f->raw, i)); i++) {
    if (!strncmp(t->name, f->prefix, f->cut)) continue;
    size_t length = strcspn(t->name, ".");
    const char *next = t->name[length] ? t->name + length + 1 : NULL;
    if (next && !strncmp(t->name, f->prefix, length + 1)) length += 1 + strcspn(next, "."); /* teacher.head */
    f->out->unused++;
    int at = 0;
    while (at < parts && (part[at].length != length || memcmp(part[at].name, t->name, length))) at++;
    if (at == parts && parts == MOST) more++;
    else if (at == parts) part[parts].name = t->name, part[parts].length = length, part[parts++].count = 1;
    else part[at].count++;
  }
  for (int i = 0; i < parts; i++)
    sm_text_add(&f->out->text, "%-12s %.*s: %d %s of another part of the file\n", "unused",
                (int)(part[i].length < 120 ? part[i].length : 120), part[i].name, part[i].count,
                sm_plural(part[i].count, "tensor", "tensors"));
  if (more) sm_text_add(&f->out->text, "%-12s %d tensors of further parts\n", "unused", more);
}

/* ---- opening ------------------------------------------------------------------------------------------ */

/* timm's packed SwiGLU is called as two plain layers are. */
static bool foreign_is_packed(const sm_st_reader *r) {
  const sm_st_tensor *in = sm_st_find(r, "blocks.0.mlp.fc1.weight"), *out = sm_st_find(r, "blocks.0.mlp.fc2.weight");
  return in && out && in->ndim == 2 && out->ndim == 2 && in->shape[0] == 2 * out->shape[1];
}

/* smalti's own names: of an export too, unless it was made with those of another program. */
static bool foreign_is_own(const sm_st_reader *r) {
  const char *producer = sm_st_get(r, "producer");
  if (sm_is_checkpoint(r)) return true;
  if (!producer || strcmp(producer, "smalti")) return false;
  return !sm_st_find(r, sm_foreign_anchors[1]) && !sm_st_find(r, "blocks.0.gamma_1") &&
         !sm_st_find(r, "blocks.0.attn.q_bias") && !sm_st_find(r, "reg_token") && !foreign_is_packed(r);
}

static sm_status foreign_map(foreign_file *f, const candidate *chosen) {
  sm_foreign *out = f->out;
  if (sm_st_count(f->raw) > MOST_TENSORS)
    return sm_fail(f->err, SM_EUNSUPPORTED, "the file holds more than %d tensors", MOST_TENSORS);
  if (!(out->prefix = sm_arena_strdup(f->texts, chosen->prefix))) return sm_fail(f->err, SM_ENOMEM, "out of memory");
  f->prefix = out->prefix;
  f->cut = strlen(out->prefix);
  const foreign_layout layout = sm_foreign_layout(f);
  if (layout == FOREIGN_UNKNOWN) {
    out->prefix = "";
    return SM_OK;
  }
  out->net = chosen->kind == STUDENT ? SM_NET_STUDENT : SM_NET_TEACHER;
  sm_foreign_map(f, layout);
  if (!f->status && layout == FOREIGN_SWIN) sm_foreign_swin(f);
  else if (!f->status) sm_foreign_vit(f, layout);
  foreign_tell_others(f);
  if (!f->status && out->text.failed) f->status = sm_fail(f->err, SM_ENOMEM, "out of memory");
  if (f->status) sm_fail_at(f->err, sm_st_path(f->raw), 0, 0);
  return f->status;
}

sm_st_reader *sm_foreign_open(const char *path, const char *prefix, sm_net net, sm_arena *texts, sm_foreign *out,
                              sm_error *err) {
  candidate list[MOST_CANDIDATES];
  const candidate *chosen = NULL;
  sm_error none;
  if (!err) err = &none;
  *out = (sm_foreign){.prefix = "", .net = SM_NET_TEACHER};
  sm_st_reader *raw = sm_st_open(path, err), *mapped = NULL;
  if (!raw || foreign_is_own(raw)) return raw;
  const int n = foreign_candidates(raw, prefix ? prefix : "", list);
  if (!n) return raw;
  foreign_file f = {.raw = raw, .out = out, .texts = texts, .err = err, .arena = sm_arena_new("weights")};
  sm_status status = f.arena ? foreign_choose(list, n, net, &chosen, err) : sm_fail(err, SM_ENOMEM, "out of memory");
  if (status) sm_fail_at(err, path, 0, 0);
  else status = foreign_map(&f, chosen);
  if (!status && !out->plugin) { /* of no known layout */
    sm_arena_free(f.arena);
    return raw;
  }
  if (!status) mapped = sm_st_rename(raw, f.tensor, f.count, f.arena, err);
  sm_free(f.tensor);
  if (mapped) return mapped;
  sm_arena_free(f.arena);
  sm_st_close(raw);
  return NULL;
}

const char *sm_foreign_backbone(const sm_foreign *f, sm_arena *arena) {
  sm_text text = {0};
  sm_text_add(&text, "{%s: {", f->plugin);
  for (int i = 0; i < f->options; i++)
    sm_text_add(&text, "%s%s: %s", i ? ", " : "", f->option[i].name, f->option[i].value);
  sm_text_add(&text, "}}");
  const char *copy = text.failed ? NULL : sm_arena_strdup(arena, text.s);
  sm_text_free(&text);
  return copy;
}

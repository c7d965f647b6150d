/* framework/train/ssl_sets.c — the objective's parameter sets: who declares what, where the values come from.
 *
 *   student  backbone and heads
 *   teacher  the same backbone, and the heads that an online tokenizer runs; nothing where no tokenizer looks at
 *            a teacher
 *   state    what tokenizers keep between steps (centres), or learn before the first one (codebooks)
 *   frozen   weights that tokenizers load from files; not part of checkpoints
 *
 * Where an objective is trained instead, "student" holds its weights, "state" its state, and the others nothing. */
#include <string.h>

#include "ssl_private.h"

/* Width of a head at a site: what it asks for, else what the joined tokenizer gives. */
static int head_dim(const sm_ssl *s, int head, sm_site site) {
  const sm_ssl_slot *slot = &s->c.head[head];
  int dim = OPS(head, *slot)->out_dim(slot->self, site);
  for (int i = 0; i < s->c.losses && !dim; i++)
    if (s->c.loss[i].head == head && s->loss_spec[i].site == site) {
      const sm_tokenizer_spec *t = &s->tokenizer_spec[s->c.loss[i].tokenizer];
      dim = site == SM_SITE_VIEW ? t->view_dim : t->patch_dim;
    }
  return dim;
}

static const char *prefix(sm_ssl *s, const char *kind, const char *name) {
  const char *p = strcmp(name, "main") ? sm_arena_printf(s->arena, "%s.%s.", kind, name)
                                       : sm_arena_printf(s->arena, "%s.", kind);
  if (!p) s->no_memory = true; /* told by make_sets, when all is declared */
  return p ? p : "";
}

/* Is the head run at this site: by a loss in the student, by an online tokenizer in the teacher? */
static bool runs(const sm_ssl *s, int head, sm_site site, sm_role role) {
  if (role == SM_ROLE_STUDENT) return sm_ssl_used(s, head, -1, site);
  for (int t = 0; t < s->c.tokenizers; t++)
    if (s->c.tokenizer_head[t] == head && sm_ssl_used(s, head, t, site)) return true;
  return false;
}

static void declare_network(sm_ssl *s, sm_set *set, sm_role role, sm_head *heads) {
  const sm_ssl_config *c = &s->c;
  if (c->objective.ops || (role == SM_ROLE_TEACHER && !s->want_teacher)) return;
  OPS(backbone, c->backbone)->declare(c->backbone.self, c->global_height, &(sm_params){set, "backbone."});
  for (int i = 0; i < c->heads; i++) {
    sm_head *h = &heads[i];
    *h = (sm_head){
        OPS(head, c->head[i]), c->head[i].self, {set, prefix(s, "head", c->head[i].name)}, role, 0, 0};
    h->view_dim = runs(s, i, SM_SITE_VIEW, role) ? head_dim(s, i, SM_SITE_VIEW) : 0;
    h->patch_dim = runs(s, i, SM_SITE_PATCH, role) ? head_dim(s, i, SM_SITE_PATCH) : 0;
    if (h->view_dim || h->patch_dim)
      h->ops->declare(h->self, &h->params, s->spec.dim, h->view_dim, h->patch_dim, role);
  }
}

static sm_params tokenizer_params(sm_ssl *s, int set, int tokenizer) {
  return (sm_params){s->set[set], prefix(s, "tokenizer", s->c.tokenizer[tokenizer].name)};
}

static void declare_tokenizer(sm_ssl *s, int i) {
  const sm_ssl_slot *slot = &s->c.tokenizer[i];
  const sm_tokenizer_ops *ops = slot->ops;
  const sm_tokenizer_spec *spec = &s->tokenizer_spec[i];
  int head = s->c.tokenizer_head[i];
  sm_params state = tokenizer_params(s, SM_SSL_STATE, i), frozen = tokenizer_params(s, SM_SSL_FROZEN, i);
  row_range *kept = &s->state_rows[i], *fixed = &s->frozen_rows[i];
  kept->first = sm_set_rows(state.set), fixed->first = sm_set_rows(frozen.set);
  if (ops->declare)
    ops->declare(slot->self, &state, head < 0 ? spec->view_dim : s->teacher_head[head].view_dim,
                 head < 0 ? spec->patch_dim : s->teacher_head[head].patch_dim);
  if (ops->declare_frozen) ops->declare_frozen(slot->self, &frozen);
  kept->end = sm_set_rows(state.set), fixed->end = sm_set_rows(frozen.set);
}

sm_status sm_ssl_make_sets(sm_ssl *s, sm_error *err) {
  const sm_ssl_config *c = &s->c;
  static const char *const name[SM_SSL_SETS] = {"student", "teacher", "state", "frozen"};
  for (int i = 0; i < SM_SSL_SETS; i++)
    if (!(s->set[i] = sm_set_new(name[i], c->real, i == SM_SSL_STUDENT, err))) return SM_ENOMEM;
  if (c->objective.ops) sm_ssl_objective_declare(s);
  declare_network(s, s->set[SM_SSL_STUDENT], SM_ROLE_STUDENT, s->student_head);
  declare_network(s, s->set[SM_SSL_TEACHER], SM_ROLE_TEACHER, s->teacher_head);
  for (int i = 0; i < c->tokenizers; i++) declare_tokenizer(s, i);
  if (s->no_memory) return sm_fail(err, SM_ENOMEM, "no memory for the objective");
  for (int i = 0; i < SM_SSL_SETS; i++) {
    sm_status status = sm_set_seal(
        s->set[i], i == SM_SSL_STUDENT ? sm_optimizer_moments(c->optimizer.kind) : SM_MOMENTS_NONE, err);
    if (status) return status;
  }
  if (s->want_teacher && !(s->ema = sm_ema_link_new(s->set[SM_SSL_TEACHER], s->set[SM_SSL_STUDENT], err)))
    return SM_ENOMEM;
  return SM_OK;
}

sm_tokenizer_env sm_ssl_tokenizer_env(sm_ssl *s, int tokenizer, int kind) {
  const view_kind *k = &s->kind[kind];
  int head = s->c.tokenizer_head[tokenizer];
  return (sm_tokenizer_env){.head = head < 0 ? NULL : &s->teacher_head[head],
                            .state = tokenizer_params(s, SM_SSL_STATE, tokenizer),
                            .frozen = tokenizer_params(s, SM_SSL_FROZEN, tokenizer),
                            .cell_rows = k->cell_rows,
                            .view_rows = k->view_rows,
                            .patch_rows = k->patch_rows,
                            .want_view = kind == GLOBAL && sm_ssl_used(s, -1, tokenizer, SM_SITE_VIEW),
                            .want_patch = sm_ssl_used(s, -1, tokenizer, SM_SITE_PATCH)};
}

/* ---- values ---------------------------------------------------------------------------------------- */

static sm_status load_frozen(sm_ssl *s, sm_error *err) {
  sm_status status = SM_OK;
  for (int i = 0; i < s->c.tokenizers && !status; i++) {
    const sm_ssl_slot *slot = &s->c.tokenizer[i];
    const sm_tokenizer_ops *ops = slot->ops;
    sm_params frozen = tokenizer_params(s, SM_SSL_FROZEN, i);
    if (ops->load) status = ops->load(slot->self, &frozen, err);
  }
  return status;
}

sm_status sm_ssl_allocate(sm_ssl *s, sm_error *err) {
  for (int i = 0; i < SM_SSL_SETS; i++) {
    sm_status status = i == SM_SSL_TEACHER
                           ? sm_set_allocate_from(s->set[i], s->set[SM_SSL_STUDENT], s->c.seed, err)
                           : sm_set_allocate(s->set[i], s->c.seed, err);
    if (status) return status;
  }
  sm_status status = load_frozen(s, err);
  return status ? status : sm_graph_allocate(s->graph, err);
}

uint64_t sm_ssl_frozen_hash(sm_ssl *s, int tokenizer) {
  sm_set *set = s->set[SM_SSL_FROZEN];
  uint64_t hash = 0;
  for (int r = s->frozen_rows[tokenizer].first; r < s->frozen_rows[tokenizer].end; r++) {
    const sm_row *row = sm_set_row(set, r);
    if (row->alias_of >= 0) continue;
    hash = sm_hash64(row->name, strlen(row->name), hash);
    hash = sm_set_row_hash(set, r, SM_VALUES, hash);
  }
  return hash;
}

sm_ssl_tokenizer sm_ssl_tokenizer_at(sm_ssl *s, int i) {
  const sm_ssl_slot *slot = &s->c.tokenizer[i];
  return (sm_ssl_tokenizer){.name = slot->name,
                            .ops = slot->ops,
                            .self = slot->self,
                            .state = tokenizer_params(s, SM_SSL_STATE, i),
                            .own = s->own[i],
                            .rows = s->kind[GLOBAL].rows,
                            .cols = s->kind[GLOBAL].cols};
}

int sm_ssl_evaluated(const sm_ssl *s) { return s->ema_momentum ? SM_SSL_TEACHER : SM_SSL_STUDENT; }

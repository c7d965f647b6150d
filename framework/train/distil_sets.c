/* framework/train/distil_sets.c — the parameter sets of student and teacher: who declares what, where the
 * values come from.
 *
 *   student  backbone and heads
 *   teacher  the same backbone, and the heads that an online tokenizer runs; nothing where no tokenizer looks
 *            at a teacher
 *   state    what tokenizers and heads keep between steps (centres, queues), or learn before the first
 *            one (codebooks)
 *   frozen   weights that tokenizers load from files; not part of checkpoints */
#include <string.h>

#include <smalti/measure.h>

#include "distil.h"

/* ---- heads --------------------------------------------------------------------------------------------- */

/* Width of a head at a site: what it asks for, else what the joined tokenizer gives. */
static int sets_head_dim(const distil *d, int head, sm_site site) {
  const sm_train_config *c = &d->t.c;
  const sm_train_slot *slot = &c->head[head];
  int dim = OPS(head, *slot)->out_dim(slot->self, site, d->t.spec.dim);
  for (int i = 0; i < c->losses && !dim; i++)
    if (c->loss[i].head == head && c->loss[i].tokenizer >= 0 && d->loss_spec[i].site == site)
      dim = sm_tokenizer_width(&d->tokenizer_spec[c->loss[i].tokenizer], site);
  return dim;
}

static const char *sets_keep(distil *d, const char *prefix) {
  const char *p = sm_arena_strdup(d->t.arena, prefix);
  if (!p) d->t.no_memory = true; /* told by sm_distil_sets, when all is declared */
  return p ? p : "";
}

static const char *sets_prefix(distil *d, const char *kind, const char *name) {
  char text[128];
  return sets_keep(d, sm_instance_prefix(text, sizeof text, kind, name));
}

/* Is the head run at this site: by a loss in the student, by an online tokenizer in the teacher? */
static bool sets_runs(const distil *d, int head, sm_site site, sm_role role) {
  if (role == SM_ROLE_STUDENT) return sm_distil_used(d, head, -1, site);
  for (int t = 0; t < d->t.c.tokenizers; t++)
    if (d->t.c.tokenizer_head[t] == head && sm_distil_used(d, head, t, site)) return true;
  return false;
}

static void sets_head(distil *d, int i, sm_role role, sm_set *set, sm_head *h) {
  const sm_train_slot *slot = &d->t.c.head[i];
  char state[128];
  sm_head_state_prefix(state, sizeof state, slot->name, role);
  *h = (sm_head){.ops = OPS(head, *slot),
                 .self = slot->self,
                 .params = {set, sets_prefix(d, "head", slot->name)},
                 .state = {d->t.set[SM_SET_STATE], sets_keep(d, state)},
                 .role = role,
                 .training = true,
                 .dim = d->t.spec.dim,
                 .rows = d->kind[GLOBAL].rows,
                 .cols = d->kind[GLOBAL].cols,
                 .prefix = d->t.spec.prefix};
  h->view_dim = sets_runs(d, i, SM_SITE_VIEW, role) ? sets_head_dim(d, i, SM_SITE_VIEW) : 0;
  h->patch_dim = sets_runs(d, i, SM_SITE_PATCH, role) ? sets_head_dim(d, i, SM_SITE_PATCH) : 0;
  if (!h->view_dim && !h->patch_dim) return;
  sm_declare_layer(&h->params, d->t.spec.layers + 1);
  h->ops->declare(h->self, h);
  if (h->ops->declare_state) h->ops->declare_state(h->self, h);
}

static void sets_network(distil *d, int which, sm_role role, sm_head *heads) {
  const sm_train_config *c = &d->t.c;
  if (role == SM_ROLE_TEACHER && !d->want_teacher) return;
  OPS(backbone, c->backbone)
      ->declare(c->backbone.self, c->global_height, c->global_width,
                &(sm_params){d->t.set[which], SM_BACKBONE_PREFIX});
  for (int i = 0; i < c->heads; i++) sets_head(d, i, role, d->t.set[which], &heads[i]);
}

/* ---- tokenizers ---------------------------------------------------------------------------------------- */

static sm_params sets_tokenizer_params(distil *d, int set, int tokenizer) {
  return (sm_params){d->t.set[set], sets_prefix(d, "tokenizer", d->t.c.tokenizer[tokenizer].name)};
}

static void sets_tokenizer(distil *d, int i) {
  const sm_train_slot *slot = &d->t.c.tokenizer[i];
  const sm_tokenizer_ops *ops = slot->ops;
  const sm_tokenizer_spec *spec = &d->tokenizer_spec[i];
  const int head = d->t.c.tokenizer_head[i];
  const sm_params state = sets_tokenizer_params(d, SM_SET_STATE, i),
                  frozen = sets_tokenizer_params(d, SM_SET_FROZEN, i);
  row_range *kept = &d->state_rows[i], *fixed = &d->frozen_rows[i];
  int dim[2] = {spec->view_dim, spec->patch_dim};
  if (head >= 0) dim[0] = d->teacher_head[head].view_dim, dim[1] = d->teacher_head[head].patch_dim;
  else /* as wide as the head that is compared with it, where it leaves that open */
    for (int k = 0; k < d->t.c.losses; k++) {
      const sm_train_loss *l = &d->t.c.loss[k];
      const sm_site site = d->loss_spec[k].site;
      if (l->tokenizer == i && l->head >= 0 && !dim[site]) dim[site] = sets_head_dim(d, l->head, site);
    }
  kept->first = sm_set_rows(state.set), fixed->first = sm_set_rows(frozen.set);
  if (ops->declare) ops->declare(slot->self, &state, dim[SM_SITE_VIEW], dim[SM_SITE_PATCH]);
  if (ops->declare_behind && head >= 0)
    ops->declare_behind(slot->self, &state, &d->teacher_head[head], d->t.c.globals);
  if (ops->declare_frozen) ops->declare_frozen(slot->self, &frozen);
  kept->end = sm_set_rows(state.set), fixed->end = sm_set_rows(frozen.set);
}

sm_tokenizer_env sm_distil_env(distil *d, int tokenizer, int kind) {
  const int head = d->t.c.tokenizer_head[tokenizer];
  const bool all = sm_distil_all_patches(d, tokenizer);
  return (sm_tokenizer_env){.head = head < 0 ? NULL : &d->teacher_head[head],
                            .state = sets_tokenizer_params(d, SM_SET_STATE, tokenizer),
                            .frozen = sets_tokenizer_params(d, SM_SET_FROZEN, tokenizer),
                            .masked = all ? d->kind[kind].every : d->kind[kind].hidden,
                            .want_view = kind == GLOBAL && sm_distil_used(d, -1, tokenizer, SM_SITE_VIEW),
                            .want_patch = sm_distil_used(d, -1, tokenizer, SM_SITE_PATCH) && (kind == GLOBAL || !all)};
}

sm_train_tokenizer sm_distil_tokenizer(sm_trainable *t, int i) {
  distil *d = (distil *)t;
  const sm_train_slot *slot = &t->c.tokenizer[i];
  return (sm_train_tokenizer){.name = slot->name,
                              .ops = slot->ops,
                              .self = slot->self,
                              .state = sets_tokenizer_params(d, SM_SET_STATE, i),
                              .own = d->own[i],
                              .rows = d->kind[GLOBAL].rows,
                              .cols = d->kind[GLOBAL].cols};
}

sm_head sm_distil_head(const sm_trainable *t, int set, sm_site site) {
  const distil *d = (const distil *)t;
  const sm_head *heads = set == SM_SET_TEACHER ? d->teacher_head : d->student_head;
  for (int i = 0; i < t->c.losses; i++) { /* an objective has none */
    const int k = t->c.loss[i].head;
    if (k < 0 || d->loss_spec[i].site != site || !sm_head_declared(&heads[k], site)) continue;
    sm_head head = heads[k];
    head.training = false;
    return head;
  }
  return (sm_head){0};
}

/* ---- all of them --------------------------------------------------------------------------------------- */

/* Rates and parts of the student's rows, once they are all declared; which of them the teacher copies. */
static void sets_mark(distil *d) {
  const sm_train_config *c = &d->t.c;
  sm_set *set = d->t.set[SM_SET_STUDENT];
  const size_t prefix = strlen(SM_BACKBONE_PREFIX);
  bool copied = false;
  for (int i = 0; i < c->tokenizers; i++)
    copied |= d->tokenizer_spec[i].ema && d->tokenizer_spec[i].ema_blocks_only;
  for (int r = 0; r < sm_set_rows(set); r++) {
    sm_row *row = sm_set_row(set, r);
    const bool backbone = !strncmp(row->name, SM_BACKBONE_PREFIX, prefix);
    for (int i = 0; i < c->heads && !backbone; i++)
      if (!strncmp(row->name, d->student_head[i].params.prefix, strlen(d->student_head[i].params.prefix)))
        row->part = 1 + i;
    if (!backbone) continue;
    if (c->layer_decay > 0) row->lr_scale = sm_layer_rate(c->layer_decay, d->t.spec.layers, row->layer);
    if (c->patch_embed_lr > 0 && row->flags & SM_ROW_PIXELS) row->lr_scale *= c->patch_embed_lr;
    if (copied && row->layer == 0) row->flags |= SM_ROW_COPIED;
  }
}

sm_status sm_distil_sets(distil *d, sm_error *err) {
  sm_trainable *t = &d->t;
  sets_network(d, SM_SET_STUDENT, SM_ROLE_STUDENT, d->student_head);
  sets_network(d, SM_SET_TEACHER, SM_ROLE_TEACHER, d->teacher_head);
  for (int i = 0; i < t->c.tokenizers; i++) sets_tokenizer(d, i);
  if (t->no_memory) return sm_fail(err, SM_ENOMEM, "no memory for what trains");
  sm_status status = sm_trainable_seal(t, err);
  if (!status) sets_mark(d);
  if (!status && d->want_teacher &&
      !(t->ema = sm_ema_link_new(t->set[SM_SET_TEACHER], t->set[SM_SET_STUDENT], err)))
    status = SM_ENOMEM;
  return status;
}

sm_status sm_distil_load_frozen(sm_trainable *t, sm_error *err) {
  sm_status status = SM_OK;
  for (int i = 0; i < t->c.tokenizers && !status; i++) {
    const sm_train_slot *slot = &t->c.tokenizer[i];
    const sm_params frozen = sets_tokenizer_params((distil *)t, SM_SET_FROZEN, i);
    if (OPS(tokenizer, *slot)->load) status = OPS(tokenizer, *slot)->load(slot->self, &frozen, err);
  }
  return status;
}

uint64_t sm_distil_frozen_hash(sm_trainable *t, int tokenizer) {
  const distil *d = (const distil *)t;
  uint64_t hash = 0;
  for (int r = d->frozen_rows[tokenizer].first; r < d->frozen_rows[tokenizer].end; r++) {
    const sm_row *row = sm_set_row(t->set[SM_SET_FROZEN], r);
    if (row->alias_of >= 0) continue;
    hash = sm_hash64(row->name, strlen(row->name), hash);
    hash = sm_set_row_hash(t->set[SM_SET_FROZEN], r, SM_VALUES, hash);
  }
  return hash;
}

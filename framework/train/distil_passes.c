/* framework/train/distil_passes.c — the passes of student and teacher.
 *
 *   teacher         clean global views, and local ones where patches of them are hidden → targets of each
 *                   tokenizer. Where the masker wants the teacher's attention it is cut in two: *see* runs
 *                   the backbone, *targets* the rest
 *   student         global views: backbone, the heads on the view and on hidden patches only, losses,
 *                   backward
 *   student local   the same for local views
 *   update          the states of tokenizers and heads, running means and variances of batch norm
 *
 * What a step does with them is in distil.c. */
#include <stdio.h>

#include "distil.h"

/* ---- inputs -------------------------------------------------------------------------------------------- */

static void passes_inputs(distil *d, int kind) {
  static const struct {
    const char *views, *drop;
  } name[KINDS] = {{"global views", "drop path"}, {"local views", "local drop path"}};
  view_kind *k = &d->kind[kind];
  sm_graph *g = d->t.graph;
  const int64_t views = (int64_t)d->t.micro * k->views;
  if (!sm_distil_present(d, kind)) return;
  k->count = sm_count(g, kind == GLOBAL ? "views" : "local views", views);
  k->pictures = sm_input_real(g, name[kind].views, 4, (int64_t[]){views, 3, k->height, k->width}, k->count);
  for (int o = 0; o < d->t.views.owns && kind == GLOBAL; o++) {
    const sm_view_recipe *own = &d->t.views.own[o].view;
    d->own_view[o] =
        sm_input_real(g, "tokenizer's views", 4, (int64_t[]){views, 3, own->height, own->width}, k->count);
  }
  if (kind == GLOBAL || k->masked_views) {
    const int64_t masked = d->t.micro * k->masked_views * k->max_masked;
    if (k->masked_views && !k->drops) k->mask = sm_input(g, "masks", SM_U8, 2, (int64_t[]){views, k->cells}, k->count);
    if (k->drops) {
      k->visible = sm_input(g, "visible patches", SM_I32, 2,
                            (int64_t[]){views, k->cells - k->max_masked}, k->count);
      k->place = sm_input(g, "places of patches", SM_I32, 2, (int64_t[]){views, k->cells}, k->count);
    }
    k->hidden = sm_rows_new(g, "hidden patches", masked > 0 ? masked : 1, views, k->cells, k->count);
  }
  if (kind == GLOBAL && sm_distil_all_patches(d, -1))
    k->every = sm_rows_new(g, "all patches", views * k->cells, views, k->cells, k->count);
  if (d->t.spec.drop_sites)
    k->drop = sm_input_real(g, name[kind].drop, 2, (int64_t[]){views, d->t.spec.drop_sites}, k->count);
}

/* ---- teacher ------------------------------------------------------------------------------------------- */

static void passes_backbone(distil *d, int set, const sm_backbone_in *in, sm_backbone_out *out) {
  const sm_train_slot *slot = &d->t.c.backbone;
  sm_backbone_build(slot->who.plugin ? slot->who.plugin->name : slot->name, d->t.c.backbone.ops,
                    d->t.c.backbone.self, d->t.graph, &(sm_params){d->t.set[set], SM_BACKBONE_PREFIX}, in,
                    out);
  sm_distil_bound_backbone(d, in, out);
}

/* What tokenizers that look at the teacher want of its features of a kind of view. */
static void passes_teacher_wishes(const distil *d, int kind, sm_backbone_in *in) {
  int blocks = 0;
  bool raw = false;
  for (int i = 0; i < d->t.c.tokenizers; i++) {
    const sm_tokenizer_spec *t = &d->tokenizer_spec[i];
    if (!t->needs_teacher) continue;
    in->view |= kind == GLOBAL && sm_distil_used(d, -1, i, SM_SITE_VIEW);
    in->patches |= sm_distil_used(d, -1, i, SM_SITE_PATCH) || t->teacher_blocks > 0;
    if (t->teacher_blocks > blocks) blocks = t->teacher_blocks, raw = t->raw_blocks;
  }
  in->blocks = blocks;
  for (int i = 0; i < blocks; i++) in->block[i] = (sm_block_wish){d->t.spec.blocks - blocks + i, raw};
}

static void passes_see(distil *d, int kind) {
  view_kind *k = &d->kind[kind];
  k->seen = (sm_seen){.pictures = k->pictures, .rows = k->rows, .cols = k->cols, .views = k->views};
  if (!k->taught) return;
  sm_backbone_in in = {
      .pictures = k->pictures, .training = true, .attention = d->late_masks && k->masked_views};
  sm_backbone_out out;
  passes_teacher_wishes(d, kind, &in);
  passes_backbone(d, SM_SET_TEACHER, &in, &out);
  k->seen.view = out.view;
  k->seen.patches = out.patches;
  k->seen.blocks = in.blocks;
  for (int i = 0; i < in.blocks; i++) k->seen.block[i] = out.block[i].patches;
  if ((k->attention = out.attention)) sm_keep(d->t.graph, k->attention);
}

/* Masks that follow from the attention must be known before the targets of hidden patches. */
static bool passes_seen_before(const distil *d, int kind) {
  return d->late_masks && (kind == GLOBAL || d->kind[kind].masked_views);
}

static void passes_build_see(distil *d) {
  d->pass[PASS_SEE] = sm_pass_begin(d->t.graph, "see");
  sm_scope_push(d->t.graph, "teacher");
  for (int kind = 0; kind < KINDS; kind++)
    if (passes_seen_before(d, kind)) passes_see(d, kind);
  sm_scope_pop(d->t.graph);
  sm_pass_end(d->t.graph);
}

/* What a tokenizer may look at: the blocks it asked for, and its own views. */
static sm_seen passes_seen_by(const distil *d, int i, int kind) {
  sm_seen seen = d->kind[kind].seen;
  const int wanted = d->tokenizer_spec[i].teacher_blocks, skip = seen.blocks - wanted;
  if (kind == GLOBAL && d->own[i] >= 0) seen.pictures = d->own_view[d->own[i]];
  for (int b = 0; b < wanted; b++) seen.block[b] = seen.block[b + skip];
  seen.blocks = wanted;
  return seen;
}

/* What a tokenizer says of the views of a kind; of local ones it is asked only where patches of them are
 * hidden. */
static void passes_targets(distil *d, int i, int kind) {
  const sm_train_slot *slot = &d->t.c.tokenizer[i];
  const sm_tokenizer_ops *ops = slot->ops;
  const sm_tokenizer_env env = sm_distil_env(d, i, kind);
  const sm_seen seen = passes_seen_by(d, i, kind);
  sm_target *patch = &d->kind[kind].patch_target[i];
  if (kind == LOCAL && !env.want_patch) return;
  sm_scope_push(d->t.graph, "tokenizer.%s", slot->name);
  if (kind == GLOBAL) ops->build(slot->self, d->t.graph, &env, &seen, &d->view_target[i], patch);
  else ops->build_local(slot->self, d->t.graph, &env, &seen, patch);
  sm_scope_pop(d->t.graph);
  if (env.want_view) sm_distil_bound_target(d, i, kind, SM_SITE_VIEW);
  if (env.want_patch) sm_distil_bound_target(d, i, kind, SM_SITE_PATCH);
}

static void passes_build_teacher(distil *d) {
  d->pass[PASS_TEACHER] =
      sm_pass_begin(d->t.graph, d->want_teacher && !d->late_masks ? "teacher" : "targets");
  sm_scope_push(d->t.graph, "teacher");
  for (int kind = 0; kind < KINDS; kind++) {
    if (kind == LOCAL && !d->kind[LOCAL].keep_patch) continue;
    if (!passes_seen_before(d, kind)) passes_see(d, kind);
    for (int i = 0; i < d->t.c.tokenizers; i++) passes_targets(d, i, kind);
  }
  sm_scope_pop(d->t.graph);
  sm_pass_end(d->t.graph);
}

/* ---- student ------------------------------------------------------------------------------------------- */

static const sm_target *passes_target_of(distil *d, int loss, int kind) {
  const sm_train_loss *l = &d->t.c.loss[loss];
  const sm_site site = d->loss_spec[loss].site;
  if (l->tokenizer < 0) return NULL;
  const sm_target *t =
      site == SM_SITE_VIEW ? &d->view_target[l->tokenizer] : &d->kind[kind].patch_target[l->tokenizer];
  return t;
}

/* x: the head's features, or, for a loss that reads these, the backbone's. */
static void passes_loss(distil *d, int i, sm_tensor *x, int kind) {
  const sm_train_loss *l = &d->t.c.loss[i];
  const sm_loss_ops *ops = OPS(loss, l->slot);
  const sm_site site = d->loss_spec[i].site;
  const int64_t predictions = x->dim[0];
  bound_loss *b = &d->kind[kind].loss[i];
  sm_graph *g = d->t.graph;
  sm_pair_request r = sm_distil_pair_request(d, i, kind);
  r.pictures = d->t.micro;
  r.step_pictures = d->t.c.batch_size;
  const int64_t capacity = ops->max_pairs ? ops->max_pairs(l->slot.self, &r, predictions) : predictions;
  char name[96];
  snprintf(name, sizeof name, "%s pairs%s", l->slot.name, kind == LOCAL ? " (local)" : "");
  b->pairs = sm_pairs_new(g, name, sm_distil_bound_capacity(d, i, capacity), predictions);
  sm_scope_push(g, "loss.%s", l->slot.name);
  sm_prediction p = {.site = site, .local = kind == LOCAL, .views = d->kind[kind].views,
                     .patches = d->loss_spec[i].all_patches ? d->kind[kind].cells : 0};
  if (d->loss_spec[i].features) {
    p.features = x;
  } else {
    const sm_head *h = &d->student_head[l->head];
    p.logits = sm_distil_bound_logits(d, l->head, h->ops->logits(h->self, g, h, x, site), x, site);
  }
  const sm_target *target = passes_target_of(d, i, kind);
  if (sm_graph_ok(g)) b->rows = ops->build(l->slot.self, g, &p, target, b->pairs, &b->stats);
  sm_distil_bound_loss(d, i, kind, predictions);
  sm_scope_pop(g);
}

/* What losses look at: the views, hidden patches, or all of them. */
enum { SEES_VIEW, SEES_HIDDEN, SEES_ALL, SIGHTS };

static bool passes_looks(const distil *d, int loss, int sight, int kind) {
  const sm_loss_spec *s = &d->loss_spec[loss];
  const int own = s->site == SM_SITE_VIEW ? SEES_VIEW : s->all_patches ? SEES_ALL : SEES_HIDDEN;
  return own == sight && (kind == GLOBAL || (s->local_views && own != SEES_ALL));
}

/* What a head that decodes makes of the hidden patches. */
static sm_tensor *passes_decode(distil *d, int h, sm_tensor *tokens, int kind) {
  const sm_head *head = &d->student_head[h];
  const view_kind *k = &d->kind[kind];
  const sm_decoder_in in = {.tokens = tokens,
                            .prefix = d->t.spec.prefix,
                            .place = k->place,
                            .hidden = k->hidden,
                            .rows = k->rows,
                            .cols = k->cols};
  return sm_distil_bound_decoded(d, h, kind, head->ops->decode(head->self, d->t.graph, head, &in));
}

/* Heads on the rows that losses look at, or on all tokens of views with hidden patches, and the losses behind
 * them. */
static void passes_head(distil *d, int h, const sm_backbone_out *out, sm_tensor *rows, int sight, int kind) {
  const sm_train_config *c = &d->t.c;
  const sm_head *head = &d->student_head[h];
  const sm_site site = sight == SEES_VIEW ? SM_SITE_VIEW : SM_SITE_PATCH;
  const bool decodes = head->ops && head->ops->decode && sight == SEES_HIDDEN;
  sm_tensor *x = decodes ? out->tokens : rows;
  bool used = false;
  for (int i = 0; i < c->losses; i++) used |= c->loss[i].head == h && passes_looks(d, i, sight, GLOBAL);
  if (!x || !used) return;
  sm_scope_push(d->t.graph, "head.%s.%s", c->head[h].name, site == SM_SITE_VIEW ? "view" : "patch");
  sm_tensor *features = decodes ? passes_decode(d, h, x, kind)
                                : head->ops->features(head->self, d->t.graph, head, x, site);
  if (!features) features = sm_distil_fault(d, &c->head[h], "gave no features (NULL)");
  for (int i = 0; i < c->losses; i++)
    if (c->loss[i].head == h && passes_looks(d, i, sight, kind)) passes_loss(d, i, features, kind);
  sm_scope_pop(d->t.graph);
}

static bool passes_sees_hidden(const distil *d) {
  for (int i = 0; i < d->t.c.losses; i++)
    if (passes_looks(d, i, SEES_HIDDEN, GLOBAL)) return true;
  return false;
}

static void passes_build_student(distil *d, int kind) {
  const sm_train_config *c = &d->t.c;
  const view_kind *k = &d->kind[kind];
  sm_graph *g = d->t.graph;
  d->pass[PASS_STUDENT + kind] = sm_pass_begin(g, kind == LOCAL ? "student local" : "student");
  sm_scope_push(g, kind == LOCAL ? "local" : "student");
  const sm_backbone_in in = {.pictures = k->pictures,
                             .mask = k->mask,
                             .drop = k->drop,
                             .training = true,
                             .view = k->keep_view,
                             .patches = k->keep_patch && !k->drops,
                             .only = k->keep_patch && !k->drops && !k->every ? k->hidden : NULL,
                             .visible = k->visible,
                             .tokens = k->keep_patch && k->drops};
  sm_backbone_out out;
  passes_backbone(d, SM_SET_STUDENT, &in, &out);
  sm_tensor *seen[SIGHTS] = {out.view, out.patches, NULL};
  if (k->every && out.patches) {
    seen[SEES_ALL] = sm_gather(g, out.patches, k->every);
    seen[SEES_HIDDEN] = passes_sees_hidden(d) ? sm_gather(g, out.patches, k->hidden) : NULL;
  }
  for (int h = 0; h < c->heads; h++)
    for (int sight = 0; sight < SIGHTS; sight++) passes_head(d, h, &out, seen[sight], sight, kind);
  for (int i = 0; i < c->losses; i++)
    for (int sight = 0; sight < SIGHTS; sight++)
      if (d->loss_spec[i].features && passes_looks(d, i, sight, kind)) passes_loss(d, i, seen[sight], kind);
  sm_pass_backward(g);
  sm_scope_pop(g);
  sm_pass_end(g);
  d->t.gradient_pass = d->pass[PASS_STUDENT + kind]; /* the local one is later */
}

/* ---- update -------------------------------------------------------------------------------------------- */

static void passes_build_update(distil *d) {
  const sm_train_config *c = &d->t.c;
  d->t.update_pass = sm_pass_begin(d->t.graph, "update");
  for (int i = 0; i < c->tokenizers; i++) {
    const sm_tokenizer_ops *ops = OPS(tokenizer, c->tokenizer[i]);
    const sm_tokenizer_env env = sm_distil_env(d, i, GLOBAL);
    if (ops->build_update) ops->build_update(c->tokenizer[i].self, d->t.graph, &env);
  }
  for (int i = 0; i < 2 * c->heads; i++) {
    const sm_head *h = i % 2 ? &d->teacher_head[i / 2] : &d->student_head[i / 2];
    if (h->ops && (h->view_dim || h->patch_dim) && h->ops->build_update)
      h->ops->build_update(h->self, d->t.graph, h);
  }
  sm_running_update(d->t.graph);
  sm_pass_end(d->t.graph);
}

void sm_distil_passes(distil *d) {
  for (int kind = 0; kind < KINDS; kind++) passes_inputs(d, kind);
  if (d->late_masks) passes_build_see(d);
  passes_build_teacher(d);
  for (int kind = 0; kind < KINDS; kind++)
    if (sm_distil_present(d, kind)) passes_build_student(d, kind);
  passes_build_update(d);
}

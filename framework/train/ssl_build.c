/* framework/train/ssl_build.c — from plugins to parameter sets and passes.
 *
 * Passes: teacher (clean global views, and local ones where patches of them are hidden → targets; where the masker
 * wants its attention, in two: see, then targets), student on global views and on local views, each forward and
 * backward, then update (the tokenizers' states). What a step does with them is in ssl_step.c. */
#include <math.h>
#include <string.h>

#include "ssl_private.h"

/* ---- specs ----------------------------------------------------------------------------------------- */

/* Instance names are parts of metric names, which have room for so much. */
enum { NAME_MAX_LENGTH = 24 };

static sm_status check_name(const char *kind, const char *name, sm_error *err) {
  if (strlen(name) <= NAME_MAX_LENGTH) return SM_OK;
  sm_fail(err, SM_EINVAL, "the name of %s '%s' is longer than %d bytes", kind, name, NAME_MAX_LENGTH);
  return sm_hint(err, "give it a shorter one in the recipe");
}

static sm_status check_names(const sm_ssl_config *c, sm_error *err) {
  sm_status status = SM_OK;
  for (int i = 0; !status && i < c->heads; i++) status = check_name("head", c->head[i].name, err);
  for (int i = 0; !status && i < c->tokenizers; i++)
    status = check_name("tokenizer", c->tokenizer[i].name, err);
  for (int i = 0; !status && i < c->losses; i++) status = check_name("loss", c->loss[i].slot.name, err);
  return status;
}

static sm_status read_backbone(sm_ssl *s, sm_error *err) {
  const sm_ssl_config *c = &s->c;
  const sm_backbone_ops *ops = OPS(backbone, c->backbone);
  sm_status status = sm_backbone_ask(ops, c->backbone.self, c->global_height, c->global_width, &s->spec, err);
  if (status) return status;
  if (c->locals) {
    sm_backbone_spec local;
    status = sm_backbone_ask(ops, c->backbone.self, c->local_height, c->local_width, &local, err);
    if (status) return status;
  }
  if (s->spec.drop_sites > SM_SITES_MAX || s->spec.patch < 1 || s->spec.dim < 1)
    return sm_fail(err, SM_EINTERNAL,
                   "backbone '%s' describes itself with patch %d, width %d and %d drop-path sites",
                   c->backbone.name, s->spec.patch, s->spec.dim, s->spec.drop_sites);
  if (s->spec.masks_at && s->spec.masks_at != s->spec.patch) {
    sm_fail(err, SM_EUNSUPPORTED, "backbone '%s' masks cells of %d px but gives a token for every %d px",
            c->backbone.name, s->spec.masks_at, s->spec.patch);
    return sm_hint(err, "this objective masks token by token");
  }
  s->views.globals = c->globals;
  s->views.locals = c->locals;
  s->views.global_first = c->global_first;
  s->views.global_other = c->global_other;
  s->views.global_first.height = c->global_height, s->views.global_first.width = c->global_width;
  return SM_OK;
}

static sm_status read_tokenizers(sm_ssl *s, sm_error *err) {
  const sm_ssl_config *c = &s->c;
  const int rows = c->global_height / s->spec.patch, cols = c->global_width / s->spec.patch;
  for (int i = 0; i < c->tokenizers; i++) {
    sm_tokenizer_spec *t = &s->tokenizer_spec[i];
    sm_status status = sm_tokenizer_ask(c->tokenizer[i].ops, c->tokenizer[i].self, s->spec.patch, t, err);
    if (status) return status;
    if (t->ema) s->ema_momentum = t->ema;
    s->want_teacher |= t->needs_teacher || t->needs_head || t->needs_attention || t->ema;
    s->want_attention |= t->needs_attention;
    s->own[i] = -1;
    if (t->own && !sm_views_own_is_global(&s->views, t->own, rows, cols) &&
        (s->own[i] = sm_views_add_own(&s->views, t->own, rows, cols, err)) < 0)
      return SM_EINVAL;
  }
  s->late_masks = c->masker.ops && OPS(masker, c->masker)->needs_attention;
  s->want_teacher |= s->late_masks;
  s->want_attention |= s->late_masks;
  return SM_OK;
}

/* Recipes are refused before (recipe/fit.c); this is for whoever makes a configuration without one. */
static sm_status check_local_patches(const sm_ssl *s, int loss, sm_error *err) {
  const sm_ssl_loss *l = &s->c.loss[loss];
  const sm_ssl_slot *t = &s->c.tokenizer[l->tokenizer];
  if (s->loss_spec[loss].local_views && OPS(tokenizer, *t)->build_local &&
      !s->tokenizer_spec[l->tokenizer].own)
    return SM_OK;
  return sm_fail(err, SM_EUNSUPPORTED,
                 "loss '%s' and tokenizer '%s' do not work on hidden patches of local views", l->slot.name,
                 t->name);
}

/* After losses and tokenizers are known. */
static sm_status read_kind(sm_ssl *s, int kind, int views, int masked_views, sm_error *err) {
  const sm_ssl_config *c = &s->c;
  view_kind *k = &s->kind[kind];
  double ratio = c->masker.ops ? OPS(masker, c->masker)->max_ratio(c->masker.self) : 0;
  *k = (view_kind){.views = views,
                   .height = kind == GLOBAL ? c->global_height : c->local_height,
                   .width = kind == GLOBAL ? c->global_width : c->local_width};
  k->rows = k->height / s->spec.patch, k->cols = k->width / s->spec.patch;
  k->grid = k->rows;
  k->patches = k->rows * k->cols;
  k->tokens = s->spec.prefix + k->patches;
  k->max_masked = masked_views ? (int64_t)ceil(ratio * k->patches) : 0;
  if (k->max_masked > k->patches) k->max_masked = k->patches;
  k->masked_views = k->max_masked > 0 ? masked_views : 0;
  k->taught = kind == GLOBAL ? s->want_teacher : k->masked_views && s->late_masks;
  for (int i = 0; i < c->losses && views > 0; i++) {
    const sm_tokenizer_spec *t = &s->tokenizer_spec[c->loss[i].tokenizer];
    if (s->loss_spec[i].site == SM_SITE_VIEW) {
      k->keep_view |= kind == GLOBAL || s->loss_spec[i].local_views;
    } else if (kind == GLOBAL || k->masked_views) {
      sm_status status = kind == GLOBAL ? SM_OK : check_local_patches(s, i, err);
      if (status) return status;
      k->keep_patch = true;
      k->taught |= t->needs_teacher || t->needs_head || t->needs_attention;
    }
  }
  return SM_OK;
}

static sm_status read_specs(sm_ssl *s, sm_error *err) {
  const sm_ssl_config *c = &s->c;
  sm_status status = read_backbone(s, err);
  if (!status) status = read_tokenizers(s, err);
  for (int i = 0; i < c->losses && !status; i++)
    status = OPS(loss, c->loss[i].slot)->spec(c->loss[i].slot.self, &s->loss_spec[i], err);
  if (!status) status = read_kind(s, GLOBAL, c->globals, c->masked == SM_MASKED_ONE ? 1 : c->globals, err);
  if (!status) status = read_kind(s, LOCAL, c->locals, c->masked == SM_MASKED_ALL ? c->locals : 0, err);
  return status;
}

bool sm_ssl_used(const sm_ssl *s, int head, int tokenizer, sm_site site) {
  for (int i = 0; i < s->c.losses; i++)
    if (s->loss_spec[i].site == site && (head < 0 || s->c.loss[i].head == head) &&
        (tokenizer < 0 || s->c.loss[i].tokenizer == tokenizer))
      return true;
  return false;
}

/* ---- passes ---------------------------------------------------------------------------------------- */

/* A kind of view that no student pass looks at is not an input either. */
static bool present(const sm_ssl *s, int kind) {
  return kind == GLOBAL || s->kind[kind].keep_view || s->kind[kind].keep_patch;
}

/* The hidden patches of a kind of view, and what the student's last block is asked for because of them. */
static void make_patch_rows(sm_ssl *s, view_kind *k) {
  sm_graph *g = s->graph;
  const int64_t views = (int64_t)s->micro * k->views, masked = s->micro * k->masked_views * k->max_masked;
  const int64_t most = masked > 0 ? masked : 1, kept = (k->keep_view ? views : 0) + most;
  if (k->masked_views) k->mask = sm_input(g, "masks", SM_U8, 2, (int64_t[]){views, k->patches}, k->count);
  k->patch_rows = sm_rows_new(g, "masked rows", most, views, k->tokens, k->count);
  k->cell_rows = sm_rows_new(g, "masked cells", most, views, k->patches, k->count);
  if (!k->keep_patch) return;
  k->kept_rows = sm_rows_new(g, "kept rows", kept, views, k->tokens, k->count);
  k->kept_view_rows = sm_rows_new(g, "kept [CLS] rows", views, kept, 1, k->kept_rows->count);
  k->kept_patch_rows = sm_rows_new(g, "kept masked rows", most, kept, 1, k->kept_rows->count);
}

static void make_inputs(sm_ssl *s, int kind) {
  static const struct {
    const char *views, *cls, *drop;
  } name[KINDS] = {{"global views", "[CLS] rows", "drop path"},
                   {"local views", "local [CLS] rows", "local drop path"}};
  view_kind *k = &s->kind[kind];
  sm_graph *g = s->graph;
  const int64_t views = (int64_t)s->micro * k->views;
  if (!present(s, kind)) return;
  k->count = sm_count(g, kind == GLOBAL ? "views" : "local views", views);
  k->pictures = sm_input_real(g, name[kind].views, 4, (int64_t[]){views, 3, k->height, k->width}, k->count);
  for (int o = 0; o < s->views.owns && kind == GLOBAL; o++) {
    const sm_view_recipe *own = &s->views.own[o].view;
    s->own_view[o] =
        sm_input_real(g, "tokenizer's views", 4, (int64_t[]){views, 3, own->height, own->width}, k->count);
  }
  k->view_rows = sm_rows_new(g, name[kind].cls, views, views, k->tokens, k->count);
  if (kind == GLOBAL || k->masked_views) make_patch_rows(s, k);
  if (s->spec.drop_sites)
    k->drop = sm_input_real(g, name[kind].drop, 2, (int64_t[]){views, s->spec.drop_sites}, k->count);
}

/* only: the tokens that anybody reads, or NULL. attention: where it is to be put, or NULL. */
static sm_tensor *run_backbone(sm_ssl *s, int set, sm_tensor *pictures, sm_tensor *mask, sm_tensor *drop,
                               const sm_rows *only, sm_tensor **attention) {
  sm_backbone_in in = {.pictures = pictures,
                       .mask = mask,
                       .drop = drop,
                       .attention = attention != NULL,
                       .only = only};
  sm_backbone_out out = {0};
  sm_scope_push(s->graph, "backbone");
  OPS(backbone, s->c.backbone)
      ->build(s->c.backbone.self, s->graph, &(sm_params){s->set[set], "backbone."}, &in, &out);
  sm_scope_pop(s->graph);
  if (attention && !(*attention = out.attention))
    return sm_graph_fail(s->graph, "backbone '%s' gave no attention", s->c.backbone.name);
  return out.tokens ? out.tokens
                    : sm_graph_fail(s->graph, "backbone '%s' gave no tokens", s->c.backbone.name);
}

static void see(sm_ssl *s, int kind) {
  view_kind *k = &s->kind[kind];
  k->seen = (sm_seen){.pictures = k->pictures,
                      .prefix = s->spec.prefix,
                      .rows = k->rows,
                      .cols = k->cols};
  if (k->taught)
    k->seen.tokens = run_backbone(s, SM_SSL_TEACHER, k->pictures, NULL, NULL, NULL,
                                  s->want_attention ? &k->seen.attention : NULL);
}

/* Masks that follow from the attention must be known before the targets of masked patches. */
static bool seen_before(const sm_ssl *s, int kind) {
  return s->late_masks && (kind == GLOBAL || s->kind[kind].masked_views);
}

static void build_see(sm_ssl *s) {
  s->pass[PASS_SEE] = sm_pass_begin(s->graph, "see");
  sm_scope_push(s->graph, "teacher");
  for (int kind = 0; kind < KINDS; kind++) {
    if (!seen_before(s, kind)) continue;
    see(s, kind);
    if (s->kind[kind].seen.attention) sm_keep(s->graph, s->kind[kind].seen.attention);
  }
  sm_scope_pop(s->graph);
  sm_pass_end(s->graph);
}

/* What a tokenizer says of the views of a kind; of local ones it is asked only where patches of them are hidden. */
static void build_targets(sm_ssl *s, int i, int kind) {
  const sm_ssl_slot *slot = &s->c.tokenizer[i];
  view_kind *k = &s->kind[kind];
  sm_tokenizer_env env = sm_ssl_tokenizer_env(s, i, kind);
  sm_seen seen = k->seen;
  if (kind == LOCAL && !env.want_patch) return;
  if (kind == GLOBAL && s->own[i] >= 0) seen.pictures = s->own_view[s->own[i]];
  sm_scope_push(s->graph, "tokenizer.%s", slot->name);
  if (kind == GLOBAL)
    OPS(tokenizer, *slot)->build(slot->self, s->graph, &env, &seen, &s->view_target[i], &k->patch_target[i]);
  else OPS(tokenizer, *slot)->build_local(slot->self, s->graph, &env, &seen, &k->patch_target[i]);
  sm_scope_pop(s->graph);
}

static void build_teacher(sm_ssl *s) {
  s->pass[PASS_TEACHER] = sm_pass_begin(s->graph, s->want_teacher && !s->late_masks ? "teacher" : "targets");
  sm_scope_push(s->graph, "teacher");
  for (int kind = 0; kind < KINDS; kind++) {
    if (kind == LOCAL && !s->kind[LOCAL].keep_patch) continue;
    if (!seen_before(s, kind)) see(s, kind);
    for (int i = 0; i < s->c.tokenizers; i++) build_targets(s, i, kind);
  }
  sm_scope_pop(s->graph);
  sm_pass_end(s->graph);
}

static void build_loss(sm_ssl *s, int i, sm_tensor *features, int kind, int64_t predictions) {
  const sm_ssl_loss *l = &s->c.loss[i];
  const sm_head *h = &s->student_head[l->head];
  sm_site site = s->loss_spec[i].site;
  view_kind *k = &s->kind[kind];
  bound_loss *b = &k->loss[i];
  const sm_loss_ops *ops = OPS(loss, l->slot);
  sm_pair_request r = sm_ssl_pair_request(s, i, kind);
  r.pictures = s->micro;
  r.step_pictures = s->c.batch_size;
  int64_t capacity = ops->max_pairs ? ops->max_pairs(l->slot.self, &r, predictions) : predictions;
  char name[96];
  snprintf(name, sizeof name, "%s pairs%s", l->slot.name, kind == LOCAL ? " (local)" : "");
  b->pairs = sm_pairs_new(s->graph, name, capacity > 0 ? capacity : 1, predictions);
  sm_scope_push(s->graph, "loss.%s", l->slot.name);
  sm_prediction p = {
      .site = site,
      .local = kind == LOCAL,
      .logits = h->ops->logits(h->self, s->graph, &h->params, features, site, SM_ROLE_STUDENT)};
  const sm_target *t = site == SM_SITE_VIEW ? &s->view_target[l->tokenizer] : &k->patch_target[l->tokenizer];
  if (!t->form)
    sm_graph_fail(s->graph, "tokenizer '%s' gave no %s target for loss '%s'",
                  s->c.tokenizer[l->tokenizer].name, site == SM_SITE_VIEW ? "view" : "patch", l->slot.name);
  b->rows = ops->build(l->slot.self, s->graph, &p, t, b->pairs, &b->stats);
  sm_scope_pop(s->graph);
}

/* The tokens a head sees. A backbone that was asked for some rows only may give just these: (rows, D). */
static sm_tensor *head_rows(sm_ssl *s, sm_tensor *tokens, sm_site site, const view_kind *k) {
  bool pruned = tokens->ndim == 2, view = site == SM_SITE_VIEW;
  if (!pruned) return sm_gather(s->graph, tokens, view ? k->view_rows : k->patch_rows);
  if (!k->kept_rows) return tokens;
  return sm_gather(s->graph, tokens, view ? k->kept_view_rows : k->kept_patch_rows);
}

/* One student pass: backbone, the heads on [CLS] and masked rows only, losses, backward. */
static void build_student(sm_ssl *s, int kind) {
  const sm_ssl_config *c = &s->c;
  const view_kind *k = &s->kind[kind];
  sm_graph *g = s->graph;
  s->pass[kind == LOCAL ? PASS_LOCAL : PASS_GLOBAL] =
      sm_pass_begin(g, kind == LOCAL ? "student local" : "student");
  sm_scope_push(g, kind == LOCAL ? "local" : "student");
  sm_tensor *tokens = run_backbone(s, SM_SSL_STUDENT, k->pictures, k->mask, k->drop,
                                   k->kept_rows ? k->kept_rows : k->view_rows, NULL);
  for (int h = 0; h < c->heads; h++)
    for (int site = SM_SITE_VIEW; site <= SM_SITE_PATCH; site++) {
      bool view = site == SM_SITE_VIEW;
      if (!(view ? k->keep_view : k->keep_patch) || !sm_ssl_used(s, h, -1, (sm_site)site)) continue;
      const sm_head *head = &s->student_head[h];
      sm_scope_push(g, "head.%s.%s", c->head[h].name, view ? "view" : "patch");
      sm_tensor *features =
          head->ops->features(head->self, g, &head->params, head_rows(s, tokens, (sm_site)site, k),
                              (sm_site)site, SM_ROLE_STUDENT);
      for (int i = 0; i < c->losses; i++)
        if (c->loss[i].head == h && s->loss_spec[i].site == (sm_site)site &&
            (kind == GLOBAL || s->loss_spec[i].local_views))
          build_loss(s, i, features, kind, (view ? k->view_rows : k->patch_rows)->capacity);
      sm_scope_pop(g);
    }
  sm_pass_backward(g);
  sm_scope_pop(g);
  sm_pass_end(g);
}

static void build_update(sm_ssl *s) {
  const sm_ssl_config *c = &s->c;
  s->pass[PASS_UPDATE] = sm_pass_begin(s->graph, "update");
  for (int i = 0; i < c->tokenizers; i++) {
    const sm_tokenizer_ops *ops = OPS(tokenizer, c->tokenizer[i]);
    sm_tokenizer_env env = sm_ssl_tokenizer_env(s, i, GLOBAL);
    if (ops->build_update) ops->build_update(c->tokenizer[i].self, s->graph, &env);
  }
  sm_pass_end(s->graph);
}

/* ---- life ------------------------------------------------------------------------------------------ */

/* Host lists for one micro-batch of either kind. */
static sm_status make_lists(sm_ssl *s, sm_error *err) {
  size_t longest = 0;
  for (int kind = 0; kind < KINDS; kind++) {
    view_kind *k = &s->kind[kind];
    size_t views = (size_t)s->micro * (size_t)k->views;
    if (views * (size_t)(k->patches + 1) > longest) longest = views * (size_t)(k->patches + 1);
    if (views && !(k->masked = sm_arena_alloc(s->arena, views * sizeof *k->masked))) s->no_memory = true;
  }
  s->token_list = sm_arena_alloc(s->arena, longest * sizeof *s->token_list);
  s->cell_list = sm_arena_alloc(s->arena, longest * sizeof *s->cell_list);
  for (int i = 0; i < 3; i++)
    if (!(s->kept_list[i] = sm_arena_alloc(s->arena, longest * sizeof *s->kept_list[i]))) s->no_memory = true;
  return s->token_list && s->cell_list && !s->no_memory
             ? SM_OK
             : sm_fail(err, SM_ENOMEM, "no memory for the objective");
}

static sm_status build(sm_ssl *s, sm_error *err) {
  const sm_ssl_config *c = &s->c;
  if (!(s->arena = sm_arena_new("objective"))) return sm_fail(err, SM_ENOMEM, "no memory for the objective");
  s->micro = c->micro_batch && c->micro_batch < c->batch_size ? c->micro_batch : c->batch_size;
  for (int i = 0; i < PASSES; i++) s->pass[i] = -1;
  sm_status status = check_names(&s->c, err);
  if (!status) status = c->objective.ops ? sm_ssl_objective_spec(s, err) : read_specs(s, err);
  if (!status) status = sm_ssl_make_sets(s, err);
  if (status) return status;
  sm_graph_config config = {c->device, c->real, c->pool, c->isa, c->bf16};
  if (!(s->graph = sm_graph_new(&config, err))) return SM_EUNSUPPORTED;
  sm_graph_recompute(s->graph, c->recompute);
  if (c->objective.ops) {
    sm_ssl_objective_build(s);
    return sm_graph_plan(s->graph, err);
  }
  for (int kind = 0; kind < KINDS; kind++) make_inputs(s, kind);
  if (s->late_masks) build_see(s);
  build_teacher(s);
  for (int kind = 0; kind < KINDS; kind++)
    if (present(s, kind)) build_student(s, kind);
  build_update(s);
  if ((status = make_lists(s, err))) return status;
  if (s->late_masks && (status = sm_ssl_make_masks(s, err))) return status;
  return sm_graph_plan(s->graph, err);
}

sm_status sm_ssl_new(const sm_ssl_config *config, sm_ssl **out, sm_error *err) {
  sm_ssl *s = sm_calloc(1, sizeof *s);
  *out = NULL;
  if (!s) return sm_fail(err, SM_ENOMEM, "no memory for the objective");
  s->c = *config;
  sm_status status = build(s, err);
  if (status) {
    sm_ssl_free(s);
    return status;
  }
  *out = s;
  return SM_OK;
}

void sm_ssl_free(sm_ssl *s) {
  if (!s) return;
  sm_graph_free(s->graph);
  sm_ema_link_free(s->ema);
  for (int i = 0; i < SM_SSL_SETS; i++) sm_set_free(s->set[i]);
  sm_arena_free(s->arena);
  sm_free(s);
}

sm_graph *sm_ssl_graph(sm_ssl *s) { return s->graph; }
sm_set *sm_ssl_set(sm_ssl *s, int which) { return s->set[which]; }
const sm_backbone_spec *sm_ssl_backbone(const sm_ssl *s) { return &s->spec; }
const sm_views *sm_ssl_own_views(const sm_ssl *s) { return &s->views; }
double sm_ssl_loss_dim(const sm_ssl *s, int loss) {
  const sm_ssl_loss *l = &s->c.loss[loss];
  const sm_target *t = s->loss_spec[loss].site == SM_SITE_VIEW ? &s->view_target[l->tokenizer]
                                                               : &s->kind[GLOBAL].patch_target[l->tokenizer];
  if (!s->tokenizer_spec[l->tokenizer].ema) return 0;
  return t->form == SM_TARGET_DISTRIBUTION || t->form == SM_TARGET_IDS ? (double)t->dim : 0;
}

/* ---- from a recipe --------------------------------------------------------------------------------- */

static sm_ssl_slot slot_of(const sm_slot *s) {
  return (sm_ssl_slot){s->instance, s->plugin.plugin ? s->plugin.plugin->ops : NULL, s->plugin.self};
}
static int index_of(const sm_slot *slots, int n, const char *name) {
  for (int i = 0; i < n; i++)
    if (name && !strcmp(slots[i].instance, name)) return i;
  return -1;
}

sm_status sm_ssl_configure(const sm_recipe *r, sm_pool *pool, int64_t steps_per_epoch, sm_ssl_config *c,
                           sm_error *err) {
  *c = (sm_ssl_config){.backbone = slot_of(&r->backbone),
                       .masker = slot_of(&r->masker),
                       .objective = slot_of(&r->objective),
                       .heads = r->heads,
                       .tokenizers = r->tokenizers,
                       .losses = r->losses,
                       .globals = (int)r->views.globals,
                       .locals = (int)r->views.locals,
                       .masked = (sm_masked)r->views.masked,
                       .global_height = r->views.global_height,
                       .global_width = r->views.global_width,
                       .global_first = r->views.global_first,
                       .global_other = r->views.global_other,
                       .local_height = r->views.local_height,
                       .local_width = r->views.local_width,
                       .batch_size = (int)r->train.batch_size,
                       .micro_batch = (int)r->train.micro_batch,
                       .recompute = r->train.recompute == SM_RECOMPUTE_BLOCKS,
                       .optimizer = r->optimizer.config,
                       .lr = r->optimizer.lr,
                       .weight_decay = r->optimizer.weight_decay,
                       .freeze_last_layer = r->train.freeze_last_layer,
                       .epochs = r->train.epochs,
                       .steps_per_epoch = steps_per_epoch,
                       .seed = (uint64_t)r->train.seed,
                       .real = SM_F32,
                       .bf16 = r->train.precision == SM_PRECISION_BF16,
                       .device = SM_CPU,
                       .pool = pool};
  c->optimizer.clip = r->train.clip_grad > 0 ? r->train.clip : SM_CLIP_NONE;
  c->optimizer.clip_at = r->train.clip_grad;
  for (int i = 0; i < r->heads; i++) c->head[i] = slot_of(&r->head[i]);
  for (int i = 0; i < r->tokenizers; i++) {
    c->tokenizer[i] = slot_of(&r->tokenizer[i]);
    c->tokenizer_head[i] = -1;
  }
  for (int i = 0; i < r->losses; i++) {
    sm_ssl_loss *l = &c->loss[i];
    *l = (sm_ssl_loss){slot_of(&r->loss[i]), index_of(r->head, r->heads, r->loss[i].head),
                       index_of(r->tokenizer, r->tokenizers, r->loss[i].tokenizer)};
    if (l->head < 0 || l->tokenizer < 0)
      return sm_fail(err, SM_EINTERNAL,
                     "loss '%s' joins head '%s' and tokenizer '%s', which are not in the recipe",
                     r->loss[i].instance, r->loss[i].head ? r->loss[i].head : "?",
                     r->loss[i].tokenizer ? r->loss[i].tokenizer : "?");
    sm_tokenizer_spec spec;
    const sm_ssl_slot *t = &c->tokenizer[l->tokenizer];
    sm_status status = sm_tokenizer_ask(t->ops, t->self, 0, &spec, err);
    if (status) return status;
    int *head = &c->tokenizer_head[l->tokenizer];
    if (spec.needs_head && *head >= 0 && *head != l->head) {
      sm_fail(err, SM_EINVAL, "tokenizer '%s' runs one head, but its losses join heads '%s' and '%s'",
              r->tokenizer[l->tokenizer].instance, r->head[*head].instance, r->head[l->head].instance);
      return sm_hint(err, "give each head a tokenizer of its own");
    }
    if (spec.needs_head) *head = l->head;
  }
  return SM_OK;
}

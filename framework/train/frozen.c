/* frozen.c — see smalti/frozen.h. Owns a registry, the earlier run's recipe with its instances, and nothing of the
 * weights: these lie in the set that the caller hands in, under its prefix as "backbone.…", "head.…" and "state.…". */
#include <smalti/frozen.h>

#include <string.h>

#include "checkpoint.h"
#include "trained.h"

struct sm_frozen {
  sm_registry *registry;
  sm_trained trained;
  sm_frozen_source from;
  sm_frozen_about about;
  int head; /* index in the recipe, or -1 */
  int view_dim, patch_dim;
  sm_role role;
  char head_prefix[160], center_prefix[160]; /* of names in the file */
  const char *center;                        /* "center.cls" */
  const char **others;                       /* beginnings of other heads' names behind head_prefix */
};

#define OPS(kind, slot) ((const sm_##kind##_ops *)(slot).plugin.plugin->ops)

static sm_status refuse(const sm_frozen *f, sm_error *err) { return sm_fail_at(err, f->from.path, 0, 0); }

/* ---- which head ---------------------------------------------------------------------------------------- */

static const sm_slot *head_slot(const sm_frozen *f) { return &f->trained.recipe->head[f->head]; }

/* The loss that joins the head at the site: says what the layer is for, and whose centre it has. */
static const sm_slot *loss_of(const sm_recipe *r, const char *head, sm_site site) {
  for (int i = 0; i < r->losses; i++) {
    sm_loss_spec spec = {0};
    const sm_slot *l = &r->loss[i];
    if (l->head && !strcmp(l->head, head) && OPS(loss, *l)->spec(l->plugin.self, &spec, NULL) == SM_OK &&
        spec.site == site)
      return l;
  }
  return NULL;
}

static sm_status no_head(const sm_frozen *f, sm_error *err) {
  const sm_recipe *r = f->trained.recipe;
  const char *site = f->from.site == SM_SITE_VIEW ? "[CLS]" : "patches";
  if (!r) sm_fail(err, SM_EINVAL, "the file holds a backbone only, and no head that could name patches");
  else if (f->from.name)
    sm_fail(err, SM_EINVAL, "the run has no head '%s' with a layer for %s", f->from.name, site);
  else sm_fail(err, SM_EINVAL, "none of the run's heads has a layer for %s", site);
  refuse(f, err);
  if (!r)
    return sm_hint(err,
                   "give the run folder that the weights were exported from, or take features for targets");
  const char *other = f->from.site == SM_SITE_VIEW ? "patch" : "view";
  return sm_hint(err,
                 "look at the losses in its recipe.yaml; perhaps the other layer is meant, as in 'site: %s'",
                 other);
}

static sm_status choose_head(sm_frozen *f, sm_error *err) {
  const sm_recipe *r = f->trained.recipe;
  f->head = -1;
  for (int i = 0; r && i < r->heads; i++) {
    const char *name = r->head[i].instance;
    if ((f->from.name && strcmp(f->from.name, name) != 0) || !loss_of(r, name, f->from.site)) continue;
    if (f->head >= 0) {
      sm_fail(err, SM_EINVAL, "the run's heads '%s' and '%s' could both be meant", head_slot(f)->instance,
              name);
      refuse(f, err);
      return sm_hint(err, "say which, as in 'head: %s'", name);
    }
    f->head = i;
  }
  if (f->head < 0) return no_head(f, err);
  const sm_slot *head = head_slot(f);
  int dim[2] = {0, 0};
  for (int site = SM_SITE_VIEW; site <= SM_SITE_PATCH; site++) {
    if (!loss_of(r, head->instance, (sm_site)site)) continue;
    dim[site] = OPS(head, *head)->out_dim(head->plugin.self, (sm_site)site);
    if (dim[site] > 0) continue;
    sm_fail(err, SM_EUNSUPPORTED,
            "head '%s' of the run takes its size from its tokenizer and does not say it", head->instance);
    refuse(f, err);
    return sm_hint(err, "write the size into its recipe.yaml: out_dim");
  }
  f->view_dim = dim[SM_SITE_VIEW], f->patch_dim = dim[SM_SITE_PATCH];
  f->about.out_dim = dim[f->from.site];
  return SM_OK;
}

/* ---- names in the file --------------------------------------------------------------------------------- */

static void instance_prefix(char *to, size_t size, const char *set, const char *kind, const char *name) {
  if (strcmp(name, "main")) snprintf(to, size, "%s.%s.%s.", set, kind, name);
  else snprintf(to, size, "%s.%s.", set, kind);
}

/* "head." is where names of 'main' begin, and those of every other head too. */
static sm_status list_others(sm_frozen *f, sm_error *err) {
  const sm_recipe *r = f->trained.recipe;
  sm_arena *arena = f->trained.arena;
  int n = 0;
  if (!(f->others = sm_arena_alloc(arena, (SM_SLOTS_MAX + 1) * sizeof *f->others)))
    return sm_fail(err, SM_ENOMEM, "out of memory");
  for (int i = 0; i < r->heads; i++)
    if (i != f->head && !(f->others[n++] = sm_arena_printf(arena, "%s.", r->head[i].instance)))
      return sm_fail(err, SM_ENOMEM, "out of memory");
  f->others[n] = NULL;
  return SM_OK;
}

static sm_status name_tensors(sm_frozen *f, sm_error *err) {
  const sm_recipe *r = f->trained.recipe;
  const char *set = f->role == SM_ROLE_TEACHER ? "teacher" : "student";
  instance_prefix(f->head_prefix, sizeof f->head_prefix, set, "head", head_slot(f)->instance);
  if (f->from.center) {
    const sm_slot *loss = loss_of(r, head_slot(f)->instance, f->from.site);
    instance_prefix(f->center_prefix, sizeof f->center_prefix, "state", "tokenizer",
                    loss->tokenizer ? loss->tokenizer : "main");
    f->center = f->from.site == SM_SITE_VIEW ? "center.cls" : "center.patch";
  }
  return list_others(f, err);
}

/* ---- life ---------------------------------------------------------------------------------------------- */

static sm_status describe(sm_frozen *f, sm_error *err) {
  const sm_trained *t = &f->trained;
  const sm_weights_about *a = &t->about;
  sm_backbone_spec *spec = sm_arena_alloc(t->arena, sizeof *spec);
  if (!spec) return sm_fail(err, SM_ENOMEM, "out of memory");
  sm_status status = sm_backbone_ask(t->backbone->ops, t->backbone_self, a->height, a->width, spec, err);
  if (status) return refuse(f, err);
  f->about = (sm_frozen_about){.dim = spec->dim,
                               .prefix = spec->prefix,
                               .patch = spec->patch,
                               .view_height = a->height,
                               .view_width = a->width,
                               .filter = a->filter,
                               .file = t->file};
  memcpy(f->about.mean, a->mean, sizeof f->about.mean);
  memcpy(f->about.std, a->std, sizeof f->about.std);
  f->role = t->net == SM_NET_TEACHER ? SM_ROLE_TEACHER : SM_ROLE_STUDENT;
  return SM_OK;
}

sm_status sm_frozen_open(const sm_frozen_source *from, sm_frozen **out, sm_error *err) {
  static const sm_net nets[] = {SM_NET_AUTO, SM_NET_TEACHER, SM_NET_STUDENT};
  *out = NULL;
  sm_frozen *f = sm_calloc(1, sizeof *f);
  if (!f) return sm_fail(err, SM_ENOMEM, "out of memory");
  f->from = *from;
  f->head = -1;
  sm_status status = (f->registry = sm_registry_new(NULL, err)) ? SM_OK : SM_ENOMEM;
  const sm_trained_options o = {.registry = f->registry,
                                .path = from->path,
                                .backbone = from->backbone,
                                .net = nets[from->net],
                                .describe = true};
  if (!status) status = sm_trained_open(&o, &f->trained, err);
  if (!status && !(f->from.path = sm_arena_strdup(f->trained.arena, from->path)))
    status = sm_fail(err, SM_ENOMEM, "out of memory");
  if (!status) status = describe(f, err);
  if (!status && from->head) status = choose_head(f, err);
  if (!status && from->head) status = sm_instance_create(&f->trained.recipe->head[f->head].plugin, err);
  if (!status && from->head) status = name_tensors(f, err);
  if (status) sm_frozen_close(f);
  else *out = f;
  return status;
}

void sm_frozen_close(sm_frozen *f) {
  if (!f) return;
  sm_trained_free(&f->trained);
  sm_registry_free(f->registry);
  sm_free(f);
}

const sm_frozen_about *sm_frozen_describe(const sm_frozen *f) { return &f->about; }

/* ---- weights ------------------------------------------------------------------------------------------- */

/* A part of the caller's set. The text lives as long as `to`. */
typedef struct part {
  char prefix[256];
  sm_params params;
} part;

static const sm_params *part_of(const sm_params *of, const char *name, part *to) {
  snprintf(to->prefix, sizeof to->prefix, "%s%s.", of->prefix, name);
  to->params = (sm_params){of->set, to->prefix};
  return &to->params;
}

void sm_frozen_declare(const sm_frozen *f, const sm_params *p) {
  part to;
  const sm_trained *t = &f->trained;
  ((const sm_backbone_ops *)t->backbone->ops)
      ->declare(t->backbone_self, f->about.view_height, part_of(p, "backbone", &to));
  if (f->head < 0) return;
  const sm_slot *head = head_slot(f);
  OPS(head, *head)
      ->declare(head->plugin.self, part_of(p, "head", &to), f->about.dim, f->view_dim, f->patch_dim, f->role);
  if (f->center)
    sm_declare(part_of(p, "state", &to), f->center, SM_INIT_ZEROS, 0, SM_ROW_NO_DECAY, 1,
               (int64_t[]){f->about.out_dim});
}

static sm_status load_part(const sm_weights_source *from, const sm_params *to, sm_error *err) {
  sm_weights_report report = {0};
  sm_status status = sm_weights_load(from, to->set, to->prefix, &report, err);
  sm_text_free(&report.text);
  return status;
}

static sm_status load_center(const sm_frozen *f, const sm_st_reader *file, const sm_params *p,
                             sm_error *err) {
  static const char *const all[] = {"", NULL}; /* other states are none of ours */
  char name[256];
  part to;
  snprintf(name, sizeof name, "%s%s", f->center_prefix, f->center);
  if (sm_st_find(file, name))
    return load_part(&(sm_weights_source){file, f->center_prefix, all}, part_of(p, "state", &to), err);
  sm_fail(err, SM_EINVAL, "the run kept no centre of these logits: there is no '%s'", name);
  sm_fail_at(err, f->about.file, 0, 0);
  return sm_hint(err, "leave centring out: 'center: false'");
}

sm_status sm_frozen_load(const sm_frozen *f, const sm_params *p, sm_error *err) {
  part to;
  sm_st_reader *file = sm_st_open(f->about.file, err);
  if (!file) return err->code;
  sm_status status =
      load_part(&(sm_weights_source){file, f->trained.prefix, NULL}, part_of(p, "backbone", &to), err);
  if (!status && f->head >= 0)
    status = load_part(&(sm_weights_source){file, f->head_prefix, f->others}, part_of(p, "head", &to), err);
  if (!status && f->center) status = load_center(f, file, p, err);
  sm_st_close(file);
  return status;
}

/* ---- graphs -------------------------------------------------------------------------------------------- */

sm_tensor *sm_frozen_tokens(const sm_frozen *f, sm_graph *g, const sm_params *p, sm_tensor *pictures) {
  part of;
  const sm_trained *t = &f->trained;
  sm_backbone_in in = {.pictures = pictures};
  sm_backbone_out out = {0};
  sm_scope_push(g, "backbone");
  ((const sm_backbone_ops *)t->backbone->ops)
      ->build(t->backbone_self, g, part_of(p, "backbone", &of), &in, &out);
  sm_scope_pop(g);
  return out.tokens ? out.tokens : sm_graph_fail(g, "backbone '%s' gave no tokens", t->backbone->name);
}

sm_tensor *sm_frozen_logits(const sm_frozen *f, sm_graph *g, const sm_params *p, sm_tensor *tokens) {
  part of;
  if (f->head < 0) return sm_graph_fail(g, "a frozen network was opened without a head");
  const sm_slot *slot = head_slot(f);
  const sm_head_ops *head = OPS(head, *slot);
  const sm_params *params = part_of(p, "head", &of);
  sm_scope_push(g, "head");
  sm_tensor *y = head->features(slot->plugin.self, g, params, tokens, f->from.site, f->role);
  y = head->logits(slot->plugin.self, g, params, y, f->from.site, f->role);
  sm_scope_pop(g);
  return y;
}

sm_tensor *sm_frozen_center(const sm_frozen *f, sm_graph *g, const sm_params *p) {
  part of;
  return f->center ? sm_param(g, part_of(p, "state", &of), "%s", f->center) : NULL;
}

/* ---- weights of something else --------------------------------------------------------------------------- */

sm_status sm_frozen_file(const char *path, sm_arena *arena, const char **file, sm_error *err) {
  return sm_checkpoint_find(path, arena, file, err);
}

sm_status sm_frozen_fill(const char *path, const char *prefix, const sm_params *to, sm_error *err) {
  sm_st_reader *file = sm_st_open(path, err);
  if (!file) return err->code;
  sm_status status = sm_st_verify(file, err);
  if (!status) status = load_part(&(sm_weights_source){file, prefix, NULL}, to, err);
  sm_st_close(file);
  return status;
}

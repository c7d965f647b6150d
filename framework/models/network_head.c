/* network_head.c — which head of a run a network has: the recipe says how it is made, how wide it is, and
 * where its names stand in a checkpoint. Weights files have none. */
#include <string.h>

#include "checkpoint.h"
#include "network_private.h"

#define OPS(kind, slot) ((const sm_##kind##_ops *)(slot).plugin.plugin->ops)

/* A site of a head as training joins it. */
typedef struct head_site {
  const sm_slot *loss; /* the first that joins it there, or NULL */
  bool teacher;        /* a tokenizer runs the head there, with teacher weights */
} head_site;

static const sm_slot *head_tokenizer(const sm_recipe *r, const sm_slot *loss) {
  const int i = sm_slot_named(r->tokenizer, r->tokenizers, loss->tokenizer);
  return i < 0 ? NULL : &r->tokenizer[i];
}

/* One from a file need not be there any more. */
sm_tokenizer_spec network_tokenizer_of_run(const sm_slot *tokenizer) {
  const sm_tokenizer_ops *ops = OPS(tokenizer, *tokenizer);
  sm_tokenizer_spec spec;
  const bool told = !ops->load && sm_tokenizer_ask(ops, tokenizer->plugin.self, NULL, &spec, NULL) == SM_OK;
  return told ? spec : (sm_tokenizer_spec){0};
}

static head_site head_site_of(const sm_recipe *r, const sm_slot *head, sm_site site) {
  head_site found = {0};
  for (int i = 0; i < r->losses; i++) {
    sm_loss_spec spec = {0};
    const sm_slot *l = &r->loss[i];
    if (!l->head || strcmp(l->head, head->instance) || OPS(loss, *l)->spec(l->plugin.self, &spec, NULL) ||
        spec.features || spec.site != site)
      continue;
    const sm_slot *t = head_tokenizer(r, l);
    if (!found.loss) found.loss = l;
    if (t && network_tokenizer_of_run(t).needs_head) found.teacher = true;
  }
  return found;
}

/* K: what the head asks for, else what the joined tokenizer gives; 0: neither says it. */
static int head_width(const sm_network *n, const sm_slot *head, const sm_slot *loss, sm_site site) {
  const sm_backbone_spec *b = &n->spec.backbone;
  int dim = OPS(head, *head)->out_dim(head->plugin.self, site, b->dim);
  const sm_slot *t = dim ? NULL : head_tokenizer(n->recipe, loss);
  sm_tokenizer_spec spec;
  if (t && sm_tokenizer_ask(OPS(tokenizer, *t), t->plugin.self, b, &spec, NULL) == SM_OK)
    dim = sm_tokenizer_width(&spec, site);
  return dim;
}

/* ---- what is wrong ------------------------------------------------------------------------------------- */

static sm_status network_head_no_head(const sm_network *n, sm_site site, sm_error *err) {
  const char *name = n->from.head_name, *text = site == SM_SITE_VIEW ? "[CLS]" : "patches";
  if (!n->recipe) {
    sm_fail(err, SM_EINVAL, "the file holds a backbone only, and no head that could name patches");
    network_refuse(n, err);
    return sm_hint(err,
                   "give the run folder that the weights were exported from, or take features for targets");
  }
  if (name) sm_fail(err, SM_EINVAL, "the run has no head '%s' with a layer for %s", name, text);
  else sm_fail(err, SM_EINVAL, "none of the run's heads has a layer for %s", text);
  network_refuse(n, err);
  return sm_hint(err,
                 "look at the losses in its recipe.yaml; perhaps the other layer is meant, as in 'site: %s'",
                 site == SM_SITE_VIEW ? "patch" : "view");
}

static sm_status network_head_decodes(const sm_network *n, const sm_slot *head, sm_error *err) {
  sm_fail(err, SM_EINVAL, "the run's head '%s' (`%s`) looks at whole views with hidden patches, and has no logits of a patch alone",
          head->instance, head->plugin.plugin->name);
  network_refuse(n, err);
  return sm_hint(err, "take the backbone's features for targets");
}

static sm_status network_head_two_heads(const sm_network *n, const char *a, const char *b, sm_error *err) {
  sm_fail(err, SM_EINVAL, "the run's heads '%s' and '%s' could both be meant", a, b);
  network_refuse(n, err);
  return sm_hint(err, "say which, as in 'head: %s'", b);
}

static sm_status network_head_no_width(const sm_network *n, const sm_slot *head, sm_error *err) {
  sm_fail(err, SM_EUNSUPPORTED, "head '%s' of the run takes its size from its tokenizer and does not say it",
          head->instance);
  network_refuse(n, err);
  return sm_hint(err, "write the size into its recipe.yaml: out_dim");
}

static sm_status network_head_no_teacher_head(const sm_network *n, const sm_slot *head, sm_error *err) {
  sm_fail(err, SM_EINVAL, "no tokenizer of the run runs head '%s', so its teacher has none", head->instance);
  network_refuse(n, err);
  return sm_hint(err, "take the student's: 'net: student'");
}

/* ---- names in the file --------------------------------------------------------------------------------- */

/* "head." is where names of 'main' begin, and those of every other head too. */
static sm_status network_head_list_others(sm_network *n, const sm_slot *head, sm_error *err) {
  const sm_recipe *r = n->recipe;
  int k = 0;
  if (!(n->others = sm_arena_alloc(n->arena, (SM_SLOTS_MAX + 1) * sizeof *n->others)))
    return sm_fail(err, SM_ENOMEM, "out of memory");
  for (int i = 0; i < r->heads; i++)
    if (&r->head[i] != head && !(n->others[k++] = sm_arena_printf(n->arena, "%s.", r->head[i].instance)))
      return sm_fail(err, SM_ENOMEM, "out of memory");
  n->others[k] = NULL;
  return SM_OK;
}

static void network_head_name_tensors(sm_network *n, const sm_slot *head) {
  char rows[144];
  snprintf(n->head_prefix, sizeof n->head_prefix, "%s.%s",
           sm_set_names[n->head.role == SM_ROLE_TEACHER ? SM_SET_TEACHER : SM_SET_STUDENT],
           sm_instance_prefix(rows, sizeof rows, "head", head->instance));
  snprintf(n->state_prefix, sizeof n->state_prefix, "%s.%s", sm_set_names[SM_SET_STATE],
           sm_head_state_prefix(rows, sizeof rows, head->instance, n->head.role));
}

/* The tokenizer behind the loss says which row of its state is subtracted. */
static sm_status network_head_find_center(sm_network *n, const sm_slot *loss, sm_site site, sm_error *err) {
  char rows[144];
  const sm_slot *t = head_tokenizer(n->recipe, loss);
  const sm_tokenizer_ops *ops = t ? OPS(tokenizer, *t) : NULL;
  n->center = ops && ops->center ? ops->center(t->plugin.self, site) : NULL;
  if (!n->center) {
    sm_fail(err, SM_EINVAL, "the run kept no centre of these logits: tokenizer '%s' has none",
            t ? t->instance : "");
    network_refuse(n, err);
    return sm_hint(err, "leave centring out: 'center: false'");
  }
  snprintf(n->center_prefix, sizeof n->center_prefix, "%s.%s", sm_set_names[SM_SET_STATE],
           sm_instance_prefix(rows, sizeof rows, "tokenizer", t->instance));
  return SM_OK;
}

/* ---- choosing ------------------------------------------------------------------------------------------ */

static sm_status network_head_choose_slot(const sm_network *n, sm_site site, bool strict, sm_slot **slot,
                                          sm_error *err) {
  sm_recipe *r = n->recipe;
  const sm_slot *first = NULL, *decoder = NULL;
  *slot = NULL;
  for (int i = 0; r && i < r->heads; i++) {
    const head_site at = head_site_of(r, &r->head[i], site);
    if ((n->from.head_name && strcmp(n->from.head_name, r->head[i].instance)) || !at.loss) continue;
    if (OPS(head, r->head[i])->decode) { /* has no logits of a row alone */
      decoder = &r->head[i];
      continue;
    }
    if (*slot && strict) return network_head_two_heads(n, (*slot)->instance, r->head[i].instance, err);
    if (*slot && at.loss > first) continue; /* of several, the one that the first loss in the recipe joins */
    *slot = &r->head[i];
    first = at.loss;
  }
  if (!*slot && strict && decoder) return network_head_decodes(n, decoder, err);
  return !*slot && strict ? network_head_no_head(n, site, err) : SM_OK;
}

/* How wide it is declared: at all sites where training declared it, so that strict loading finds every row;
 * or at one only. */
static sm_status network_head_choose_widths(sm_network *n, const sm_slot *slot, sm_site site, bool strict,
                                            sm_head *head, sm_error *err) {
  for (int s = SM_SITE_VIEW; s <= SM_SITE_PATCH; s++) {
    const head_site at = head_site_of(n->recipe, slot, (sm_site)s);
    if (!at.loss || (!strict && s != (int)site)) continue;
    if (head->role == SM_ROLE_TEACHER && !at.teacher) {
      if (s == (int)site && strict) return network_head_no_teacher_head(n, slot, err);
      continue;
    }
    int dim = head_width(n, slot, at.loss, (sm_site)s);
    if (dim < 1 && strict) return network_head_no_width(n, slot, err);
    *(s == SM_SITE_VIEW ? &head->view_dim : &head->patch_dim) = dim;
  }
  return SM_OK;
}

sm_status network_choose_head(sm_network *n, sm_site site, bool strict, sm_error *err) {
  sm_slot *slot;
  sm_status status = network_head_choose_slot(n, site, strict, &slot, err);
  if (status || !slot) return status;
  sm_head head = {.ops = OPS(head, *slot),
                  .self = slot->plugin.self,
                  .role = n->net == SM_NET_TEACHER ? SM_ROLE_TEACHER : SM_ROLE_STUDENT,
                  .dim = n->spec.backbone.dim,
                  .rows = n->spec.backbone.rows,
                  .cols = n->spec.backbone.cols,
                  .prefix = n->spec.backbone.prefix};
  if ((status = network_head_choose_widths(n, slot, site, strict, &head, err))) return status;
  if (!sm_head_declared(&head, site)) return SM_OK;
  if ((status = sm_slot_create(slot, err)) || (status = network_head_list_others(n, slot, err)))
    return status;
  n->head = head;
  n->head_only = !strict;
  n->from.site = site;
  n->spec.view_dim = head.view_dim, n->spec.patch_dim = head.patch_dim;
  network_head_name_tensors(n, slot);
  return n->from.center ? network_head_find_center(n, head_site_of(n->recipe, slot, site).loss, site, err)
                        : SM_OK;
}

/* Does the file hold the head of this network? A run's teacher has heads only where a tokenizer runs them,
 * and a weights file that comes with a recipe has none. */
static sm_status head_in_file(const sm_network *n, bool *found, sm_error *err) {
  *found = false;
  if (!n->spec.file) return SM_OK;
  sm_st_reader *file = sm_st_open(n->spec.file, err);
  if (!file) return err->code;
  *found = sm_checkpoint_holds(file, n->head_prefix);
  sm_st_close(file);
  return SM_OK;
}

sm_status sm_network_want_head(sm_network *n, sm_site site, sm_error *err) {
  if (n->wrapped || n->head.ops || !n->ops || !n->recipe) return SM_OK;
  bool found = false;
  sm_status status = network_choose_head(n, site, false, err);
  if (status || !n->head.ops || !network_has_weights(n->net)) return status;
  if ((status = head_in_file(n, &found, err)) || found) return status;
  n->head = (sm_head){0};
  n->spec.view_dim = n->spec.patch_dim = 0;
  return SM_OK;
}

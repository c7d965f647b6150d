/* trained_head.c — the [CLS] head of a trained network, for evaluations that run it or train it further.
 *
 * Only runs and checkpoints have one; the recipe says which head it is, how wide, and where its names stand. */
#include <inttypes.h>
#include <string.h>

#include "trained.h"

static int width_of(const sm_recipe *r, const sm_slot *head, const char *tokenizer) {
  const sm_head_ops *ops = head->plugin.plugin->ops;
  int dim = ops->out_dim(head->plugin.self, SM_SITE_VIEW);
  for (int i = 0; !dim && i < r->tokenizers; i++) {
    const sm_tokenizer_ops *t = r->tokenizer[i].plugin.plugin->ops;
    sm_tokenizer_spec spec;
    if (strcmp(r->tokenizer[i].instance, tokenizer) != 0) continue;
    if (sm_tokenizer_ask(t, r->tokenizer[i].plugin.self, 0, &spec, NULL) == SM_OK) dim = spec.view_dim;
  }
  return dim;
}

bool sm_view_head(const sm_recipe *r, sm_head *to, char *prefix, size_t size) {
  *to = (sm_head){0};
  for (int i = 0; r && i < r->losses; i++) {
    const sm_loss_ops *ops = r->loss[i].plugin.plugin->ops;
    sm_loss_spec spec = {0};
    if (ops->spec(r->loss[i].plugin.self, &spec, NULL) || spec.site != SM_SITE_VIEW) continue;
    for (int k = 0; k < r->heads; k++) {
      const sm_slot *head = &r->head[k];
      if (!r->loss[i].head || strcmp(head->instance, r->loss[i].head) != 0) continue;
      int dim = width_of(r, head, r->loss[i].tokenizer);
      if (dim < 1) continue;
      *to = (sm_head){
          .ops = head->plugin.plugin->ops, .self = head->plugin.self, .params = {NULL, prefix}, .view_dim = dim};
      if (strcmp(head->instance, "main")) snprintf(prefix, size, "head.%s.", head->instance);
      else snprintf(prefix, size, "head.");
      return true;
    }
  }
  return false;
}

static sm_status read_rows(const sm_trained *t, sm_error *err) {
  sm_st_reader *file = sm_st_open(t->file, err);
  if (!file) return err ? err->code : SM_EFORMAT;
  sm_status status = SM_OK;
  for (int r = 0; !status && r < sm_set_rows(t->head_set); r++) {
    const sm_row *row = sm_set_row(t->head_set, r);
    char name[320];
    if (row->alias_of >= 0) continue;
    snprintf(name, sizeof name, "%s.%s", sm_net_names[t->net], row->name);
    if (!sm_st_expect(file, name, "F32", row->ndim, row->dim, err)) status = err ? err->code : SM_EFORMAT;
    else {
      size_t bytes;
      void *values = sm_set_lend(t->head_set, r, SM_VALUES, &bytes);
      status = sm_st_read(file, name, values, bytes, err);
      sm_set_give_back(t->head_set, r, SM_VALUES, values, true);
    }
  }
  sm_st_close(file);
  return status;
}

/* Is there a checkpoint, and does it hold the head of this network? A teacher has heads only where a tokenizer runs them. */
static bool has_rows(const sm_trained *t) {
  if (t->net == SM_NET_INIT) return true;
  sm_st_reader *file = t->file ? sm_st_open(t->file, NULL) : NULL;
  char begin[128];
  bool found = false;
  int n = snprintf(begin, sizeof begin, "%s.%s", sm_net_names[t->net], t->head_prefix);
  for (size_t i = 0; file && !found && i < sm_st_count(file); i++)
    found = !strncmp(sm_st_at(file, i)->name, begin, (size_t)n);
  sm_st_close(file);
  return found;
}

sm_status sm_trained_head(sm_trained *t, sm_error *err) {
  sm_head head;
  if (!t->backbone || !sm_view_head(t->recipe, &head, t->head_prefix, sizeof t->head_prefix) || !has_rows(t))
    return SM_OK;
  const sm_backbone_ops *ops = t->backbone->ops;
  sm_backbone_spec spec;
  sm_status status = sm_backbone_ask(ops, t->backbone_self, t->about.height, t->about.width, &spec, err);
  for (int i = 0; !status && i < t->recipe->heads; i++)
    if (t->recipe->head[i].plugin.self == head.self)
      status = sm_instance_create(&t->recipe->head[i].plugin, err);
  if (status) return status;
  if (!(t->head_set = sm_set_new("head", SM_F32, false, err))) return SM_ENOMEM;
  head.params = (sm_params){t->head_set, t->head_prefix};
  head.role = t->net == SM_NET_TEACHER ? SM_ROLE_TEACHER : SM_ROLE_STUDENT;
  head.ops->declare(head.self, &head.params, spec.dim, head.view_dim, 0, head.role);
  status = sm_set_seal(t->head_set, SM_MOMENTS_NONE, err);
  if (!status) status = sm_set_allocate(t->head_set, (uint64_t)t->recipe->train.seed, err);
  if (!status && t->net != SM_NET_INIT) status = read_rows(t, err);
  if (!status) t->head = head;
  return status;
}

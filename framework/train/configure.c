/* framework/train/configure.c — from a recipe whose instances are created to the numbers and pointers that a
 * trainable is made of, and the choice of what trains. */
#include "trainable.h"

static sm_train_slot configure_slot(const sm_slot *s) {
  return (sm_train_slot){s->instance, s->plugin.plugin ? s->plugin.plugin->ops : NULL, s->plugin.self,
                         sm_slot_blamed(s)};
}

/* Which head and tokenizer each loss joins: names that recipe/fit.c has filled in; none where the loss wants
 * none. */
static sm_status configure_joins(const sm_recipe *r, sm_train_config *c, sm_error *err) {
  for (int i = 0; i < r->losses; i++) {
    const sm_slot *slot = &r->loss[i];
    sm_train_loss *l = &c->loss[i];
    *l = (sm_train_loss){configure_slot(slot), sm_slot_named(r->head, r->heads, slot->head),
                         sm_slot_named(r->tokenizer, r->tokenizers, slot->tokenizer)};
    if ((slot->head && l->head < 0) || (slot->tokenizer && l->tokenizer < 0))
      return sm_fail(
          err, SM_EINTERNAL, "loss '%s' joins head '%s' and tokenizer '%s', which are not in the recipe",
          slot->instance, slot->head ? slot->head : "none", slot->tokenizer ? slot->tokenizer : "none");
  }
  for (int i = 0; i < r->tokenizers; i++)
    c->tokenizer_head[i] = sm_slot_named(r->head, r->heads, r->tokenizer[i].head);
  return SM_OK;
}

sm_status sm_train_configure(const sm_recipe *r, sm_pool *pool, int64_t steps_per_epoch, sm_train_config *c,
                             sm_error *err) {
  const sm_views_section *v = &r->views;
  *c = (sm_train_config){.backbone = configure_slot(&r->backbone),
                         .masker = configure_slot(&r->masker),
                         .objective = configure_slot(&r->objective),
                         .heads = r->heads,
                         .tokenizers = r->tokenizers,
                         .losses = r->losses,
                         .globals = (int)v->globals,
                         .locals = (int)v->locals,
                         .masked = (sm_masked)v->masked,
                         .global_height = v->global_first.height,
                         .global_width = v->global_first.width,
                         .local_height = v->local.height,
                         .local_width = v->local.width,
                         .global_first = v->global_first,
                         .global_other = v->global_other,
                         .batch_size = (int)r->train.batch_size,
                         .micro_batch = (int)r->train.micro_batch,
                         .pieces = (int)r->train.pieces,
                         .recompute = r->train.recompute == SM_RECOMPUTE_BLOCKS,
                         .optimizer = sm_recipe_optimizer(r),
                         .lr = sm_recipe_lr(r),
                         .weight_decay = r->optimizer.weight_decay,
                         .layer_decay = r->optimizer.layer_decay,
                         .patch_embed_lr = r->optimizer.patch_embed_lr,
                         .freeze_last_layer = r->train.freeze_last_layer,
                         .epochs = r->train.epochs,
                         .steps_per_epoch = steps_per_epoch,
                         .seed = (uint64_t)r->train.seed,
                         .real = SM_F32,
                         .bf16 = r->train.precision == SM_PRECISION_BF16,
                         .device = SM_CPU,
                         .pool = pool};
  for (int i = 0; i < r->heads; i++) c->head[i] = configure_slot(&r->head[i]);
  for (int i = 0; i < r->tokenizers; i++) c->tokenizer[i] = configure_slot(&r->tokenizer[i]);
  return configure_joins(r, c, err);
}

sm_status sm_trainable_new(const sm_train_config *c, sm_trainable **out, sm_error *err) {
  return sm_trainable_make(c->objective.ops ? &sm_objective_trainable_ops : &sm_distil_ops, c, out, err);
}

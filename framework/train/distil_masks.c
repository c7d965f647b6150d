/* framework/train/distil_masks.c — late masks: those that a masker draws from the teacher's attention
 * (sm_masker_ops.needs_attention; AttMask). All others come with the batch.
 *
 * The draws are those of the loader: keyed by (seed, epoch, slot, view), made by its own function, so they
 * depend on the step, the pictures and the teacher's weights alone, and not on threads or micro-batches. */
#include "framework/data/views.h"
#include "distil.h"

sm_status sm_distil_mask_room(distil *d, sm_error *err) {
  if (!sm_graph_ok(d->t.graph)) return SM_OK; /* there is no attention; planning says why */
  size_t longest = 0;
  bool memory = true;
  for (int kind = 0; kind < KINDS; kind++) {
    view_kind *k = &d->kind[kind];
    if (!k->masked_views) continue;
    const size_t views = (size_t)d->t.c.batch_size * (size_t)k->views,
                 one = (size_t)(k->attention->dim[1] * k->cells);
    memory = (k->drawn = sm_arena_alloc(d->t.arena, views * (size_t)k->cells)) && memory;
    if (one > longest) longest = one;
  }
  memory = memory && (d->attention_list = sm_arena_alloc(d->t.arena, longest * sizeof(float)));
  return memory ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for what trains");
}

sm_status sm_distil_draw_masks(distil *d, const sm_batch *b, int first, int n, sm_error *err) {
  const sm_train_config *c = &d->t.c;
  const view_kind *global = &d->kind[GLOBAL], *local = &d->kind[LOCAL];
  const sm_masking masking = sm_trainable_masking(&d->t);
  const int64_t slot = b->step % c->steps_per_epoch * c->batch_size + b->place + first;
  for (int i = 0; i < n; i++)
    for (int v = 0; v < c->globals + c->locals; v++) {
      const sm_slot_key key = {c->seed, b->epoch, slot + i};
      const view_kind *k = v < c->globals ? global : local;
      const int in_kind = v < c->globals ? v : v - c->globals;
      if (!k->drawn) continue;
      const int64_t heads = k->attention->dim[1], one = heads * k->cells;
      sm_read(k->attention, ((int64_t)i * k->views + in_kind) * one, one, d->attention_list);
      sm_status status =
          sm_masking_draw(&masking, &d->t.views, &key, v, d->attention_list, (int)heads,
                          k->drawn + ((int64_t)(first + i) * k->views + in_kind) * k->cells, err);
      if (status) return status;
    }
  return SM_OK;
}

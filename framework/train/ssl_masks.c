/* framework/train/ssl_masks.c — late masks: those that a masker draws from the teacher's attention
 * (sm_masker_ops.needs_attention; AttMask). All others come with the batch.
 *
 * The draws are those of the loader: keyed by (seed, epoch, slot, view), made by its own function, so they depend
 * on the step, the pictures and the teacher's weights alone, and not on threads or micro-batches. */
#include "framework/data/views.h"
#include "ssl_private.h"

sm_status sm_ssl_make_masks(sm_ssl *s, sm_error *err) {
  if (!sm_graph_ok(s->graph)) return SM_OK; /* there is no attention; planning says why */
  const sm_tensor *a = s->seen.attention;
  if (a->ndim != 3 || a->dim[2] != s->tokens || s->spec.prefix < 1) {
    sm_fail(err, SM_EUNSUPPORTED,
            "backbone '%s' has no attention from a class token to %d patches, which masker '%s' looks at",
            s->c.backbone.name, s->patches, s->c.masker.name);
    return sm_hint(err, "choose another masker");
  }
  size_t views = (size_t)s->c.batch_size * (size_t)s->c.globals;
  s->drawn = sm_arena_alloc(s->arena, views * (size_t)s->patches);
  s->attention_list = sm_arena_alloc(s->arena, (size_t)(a->dim[1] * s->patches) * sizeof(float));
  return s->drawn && s->attention_list ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for the objective");
}

/* Of one view of the micro-batch, without prefix tokens. */
static void copy_attention(sm_ssl *s, int64_t view) {
  const sm_tensor *a = s->seen.attention;
  float *to = s->attention_list;
  for (int64_t h = 0; h < a->dim[1]; h++)
    for (int p = 0; p < s->patches; p++)
      *to++ = (float)sm_get(a, (view * a->dim[1] + h) * s->tokens + s->spec.prefix + p);
}

void sm_ssl_draw_masks(sm_ssl *s, const sm_batch *b, int first, int pictures) {
  const sm_masking masking = {s->c.masker.ops, s->c.masker.self, s->grid, s->grid};
  int64_t slot = b->step % s->c.steps_per_epoch * s->c.batch_size + first;
  for (int i = 0; i < pictures; i++)
    for (int v = 0; v < s->c.globals; v++) {
      const sm_slot_key key = {s->c.seed, b->epoch, slot + i};
      copy_attention(s, (int64_t)i * s->c.globals + v);
      sm_masking_draw(&masking, &key, v, s->attention_list, (int)s->seen.attention->dim[1],
                      s->drawn + ((int64_t)(first + i) * s->c.globals + v) * s->patches);
    }
}

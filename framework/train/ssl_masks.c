/* framework/train/ssl_masks.c — late masks: those that a masker draws from the teacher's attention
 * (sm_masker_ops.needs_attention; AttMask). All others come with the batch.
 *
 * The draws are those of the loader: keyed by (seed, epoch, slot, view), made by its own function, so they depend
 * on the step, the pictures and the teacher's weights alone, and not on threads or micro-batches. */
#include "framework/data/views.h"
#include "ssl_private.h"

sm_status sm_ssl_make_masks(sm_ssl *s, sm_error *err) {
  if (!sm_graph_ok(s->graph)) return SM_OK; /* there is no attention; planning says why */
  size_t longest = 0;
  bool memory = true;
  for (int kind = 0; kind < KINDS; kind++) {
    view_kind *k = &s->kind[kind];
    const sm_tensor *a = k->seen.attention;
    if (!k->masked_views) continue;
    if (a->ndim != 3 || a->dim[2] != k->tokens || s->spec.prefix < 1) {
      sm_fail(err, SM_EUNSUPPORTED,
              "backbone '%s' has no attention from a class token to %d patches, which masker '%s' looks at",
              s->c.backbone.name, k->patches, s->c.masker.name);
      return sm_hint(err, "choose another masker");
    }
    size_t views = (size_t)s->c.batch_size * (size_t)k->views, one = (size_t)(a->dim[1] * k->patches);
    memory = memory && (k->drawn = sm_arena_alloc(s->arena, views * (size_t)k->patches));
    if (one > longest) longest = one;
  }
  memory = memory && (s->attention_list = sm_arena_alloc(s->arena, longest * sizeof(float)));
  return memory ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for the objective");
}

/* Of one view of the micro-batch, without prefix tokens. */
static void copy_attention(sm_ssl *s, const view_kind *k, int64_t view) {
  const sm_tensor *a = k->seen.attention;
  float *to = s->attention_list;
  for (int64_t h = 0; h < a->dim[1]; h++)
    for (int p = 0; p < k->patches; p++)
      *to++ = (float)sm_get(a, (view * a->dim[1] + h) * k->tokens + s->spec.prefix + p);
}

void sm_ssl_draw_masks(sm_ssl *s, const sm_batch *b, int first, int pictures) {
  const int grid = s->kind[GLOBAL].grid, local = s->kind[LOCAL].grid;
  const sm_masking masking = {s->c.masker.ops, s->c.masker.self, grid, grid, s->c.masked, local, local};
  int64_t slot = b->step % s->c.steps_per_epoch * s->c.batch_size + first;
  for (int i = 0; i < pictures; i++)
    for (int v = 0; v < s->c.globals + s->c.locals; v++) {
      const sm_slot_key key = {s->c.seed, b->epoch, slot + i};
      const int kind = v < s->c.globals ? GLOBAL : LOCAL, in_kind = kind == LOCAL ? v - s->c.globals : v;
      const view_kind *k = &s->kind[kind];
      if (!k->drawn) continue;
      copy_attention(s, k, (int64_t)i * k->views + in_kind);
      sm_masking_draw(&masking, &s->views, &key, v, s->attention_list, (int)k->seen.attention->dim[1],
                      k->drawn + ((int64_t)(first + i) * k->views + in_kind) * k->patches);
    }
}

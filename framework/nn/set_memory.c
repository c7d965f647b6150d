/* set_memory.c — a sealed set gets its memory, and its first values: drawn (init.c), or copied from another
 * set (ema.c). */
#include "framework/nn/nn.h"

#include "set.h"

static sm_status set_memory_commit(sm_set *set, sm_error *err) {
  if (!set->sealed || set->allocated)
    return sm_fail(err, SM_EINTERNAL, "parameter set '%s' is %s", set->name,
                   set->sealed ? "allocated already" : "not sealed yet");
  size_t bytes = sm_set_buffer_bytes(set);
  for (int b = 0; b < SM_BUFFERS; b++) {
    if (!set->buffer[b]) continue;
    if (!set->backend->commit(set->buffer[b], bytes)) {
      char text[32];
      sm_fail(err, SM_ENOMEM, "parameter set '%s' needs %s, which the system refuses", set->name,
              sm_human_bytes((double)sm_set_bytes(set), text, sizeof text));
      return sm_hint(err, "choose a smaller backbone or head; `smalti plan` shows what they take");
    }
  }
  set->allocated = true;
  return SM_OK;
}

sm_status sm_set_allocate(sm_set *set, uint64_t seed, sm_error *err) {
  sm_status status = set_memory_commit(set, err);
  if (!status) sm_init_rows(set, seed, NULL);
  return status;
}

sm_status sm_set_allocate_from(sm_set *set, sm_set *source, uint64_t seed, sm_error *err) {
  bool *wanted = sm_calloc((size_t)set->rows, sizeof *wanted);
  if (!wanted) return sm_fail(err, SM_ENOMEM, "out of memory for parameter set '%s'", set->name);
  sm_status status = set_memory_commit(set, err);
  if (!status) {
    sm_copy_rows(set, source, wanted);
    for (int r = 0; r < set->rows; r++) wanted[r] = !wanted[r];
    sm_init_rows(set, seed, wanted);
  }
  sm_free(wanted);
  return status;
}

/* framework/train/trainable.c — what both kinds of trainables have in common: their life, their memory, and
 * the list of all that is added up over a step. */
#include "trainable.h"

#include "framework/nn/pieces.h"
#include "framework/tensor/graph.h"

/* ---- life ---------------------------------------------------------------------------------------------- */

static sm_status trainable_make_sets(sm_trainable *t, sm_error *err) {
  static const char *const name[SM_SETS] = {"student", "teacher", "state", "frozen"};
  for (int i = 0; i < SM_SETS; i++)
    if (!(t->set[i] = sm_set_new(name[i], t->c.real, i == SM_SET_STUDENT, err))) return SM_ENOMEM;
  return SM_OK;
}

static sm_status trainable_make_graph(sm_trainable *t, sm_error *err) {
  const sm_train_config *c = &t->c;
  const sm_graph_config config = {
      .device = c->device, .real = c->real, .pool = c->pool, .isa = c->isa, .bf16 = c->bf16};
  sm_error own = {0};
  if (!(t->graph = sm_graph_new(&config, &own))) {
    if (err) *err = own;
    return own.code;
  }
  sm_graph_recompute(t->graph, c->recompute);
  return SM_OK;
}

sm_status sm_trainable_seal(sm_trainable *t, sm_error *err) {
  sm_status status = SM_OK;
  for (int i = 0; i < SM_SETS && !status; i++)
    status = sm_set_seal(
        t->set[i], i == SM_SET_STUDENT ? sm_optimizer_moments(t->c.optimizer.kind) : SM_MOMENTS_NONE, err);
  return status;
}

sm_status sm_trainable_make(const sm_trainable_ops *ops, const sm_train_config *c, sm_trainable **out,
                            sm_error *err) {
  *out = NULL;
  sm_trainable *t = sm_calloc(1, ops->size);
  if (!t) return sm_fail(err, SM_ENOMEM, "no memory for what trains");
  t->ops = ops;
  t->c = *c;
  t->update_pass = t->gradient_pass = -1;
  if (t->c.pieces < 1) t->c.pieces = 1;
  const int piece = (c->batch_size + t->c.pieces - 1) / t->c.pieces; /* the largest */
  t->micro = c->micro_batch && c->micro_batch < piece ? c->micro_batch : piece;
  sm_status status =
      (t->arena = sm_arena_new("trainable")) ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for what trains");
  if (!status) status = trainable_make_sets(t, err);
  if (!status) status = trainable_make_graph(t, err);
  if (!status) status = ops->build(t, err);
  if (!status) status = sm_graph_plan(t->graph, err);
  if (status) sm_trainable_free(t);
  else *out = t;
  return status;
}

/* The sums of a step, in pieces. Counts are those of the step from the beginning. */
static sm_status trainable_cut(sm_trainable *t, sm_error *err) {
  sm_step_sum *all = sm_calloc(SM_SUMS_MAX, sizeof *all);
  sm_piece_sum *sum = sm_calloc(SM_SUMS_MAX, sizeof *sum);
  sm_pieces_config c = {.set = t->set[SM_SET_STUDENT],
                        .graph = t->graph,
                        .gradient_pass = t->gradient_pass,
                        .pieces = t->c.pieces,
                        .ranks = t->c.ranks,
                        .pool = t->c.pool,
                        .sum = sum,
                        .seconds = &t->seconds[SM_TIME_TREE]};
  sm_status status = all && sum ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for the sums of pieces");
  for (int i = 0, n = status ? 0 : sm_trainable_sums(t, all, SM_SUMS_MAX); i < n; i++)
    if (all[i].kind == SM_SUM_HOST) sum[c.sums++] = (sm_piece_sum){all[i].host, all[i].n};
  if (!status) status = sm_pieces_new(&c, &t->pieces, err);
  sm_free(all);
  sm_free(sum);
  return status;
}

sm_status sm_trainable_allocate(sm_trainable *t, sm_error *err) {
  for (int i = 0; i < SM_SETS; i++) {
    sm_status status = i == SM_SET_TEACHER
                           ? sm_set_allocate_from(t->set[i], t->set[SM_SET_STUDENT], t->c.seed, err)
                           : sm_set_allocate(t->set[i], t->c.seed, err);
    if (status) return status;
  }
  sm_status status = t->ops->fill ? t->ops->fill(t, err) : SM_OK;
  if (!status) status = sm_graph_allocate(t->graph, err);
  return !status && t->c.pieces > 1 ? trainable_cut(t, err) : status;
}

void sm_trainable_free(sm_trainable *t) {
  if (!t) return;
  if (t->ops->destroy) t->ops->destroy(t);
  sm_pieces_free(t->pieces);
  sm_graph_free(t->graph);
  sm_ema_link_free(t->ema);
  for (int i = 0; i < SM_SETS; i++) sm_set_free(t->set[i]);
  sm_arena_free(t->arena);
  sm_free(t);
}

/* ---- what it is ---------------------------------------------------------------------------------------- */

int sm_trainable_evaluated(const sm_trainable *t) {
  return t->ema_momentum ? SM_SET_TEACHER : SM_SET_STUDENT;
}

sm_masking sm_trainable_masking(const sm_trainable *t) {
  return (sm_masking){.ops = t->c.masker.ops,
                      .self = t->c.masker.self,
                      .rows = t->grid[0].rows,
                      .cols = t->grid[0].cols,
                      .views = t->c.masked,
                      .local_rows = t->grid[1].rows,
                      .local_cols = t->grid[1].cols,
                      .batch = t->c.batch_size,
                      .who = t->c.masker.who};
}

int sm_trainable_pieces(const sm_trainable *t) { return sm_pieces_own(t->c.pieces, t->c.ranks); }

size_t sm_trainable_piece_bytes(const sm_trainable *t, int ranks) {
  return sm_pieces_bytes(t->set[SM_SET_STUDENT], t->c.pieces, ranks);
}

size_t sm_trainable_bytes(const sm_trainable *t) {
  sm_plan_report plan;
  sm_graph_report(t->graph, &plan);
  size_t bytes = plan.inputs + plan.transient + plan.worker + sm_trainable_piece_bytes(t, sm_ranks_size(t->c.ranks));
  for (int i = 0; i < SM_SETS; i++) bytes += sm_set_bytes(t->set[i]);
  return bytes;
}

int sm_trainable_last(const sm_trainable *t) {
  const int pictures = t->c.batch_size, end = sm_pieces_first(t->c.pieces, t->c.ranks, 1),
            last = sm_piece_first(pictures, t->c.pieces, end) - sm_piece_first(pictures, t->c.pieces, end - 1);
  return last % t->micro ? last % t->micro : t->micro;
}

int sm_trainable_sums(sm_trainable *t, sm_step_sum *out, int most) {
  int n = t->ops->sums(t, out, most);
  for (int i = 0; n < most; i++) {
    sm_tensor *a = sm_graph_accumulator(t->graph, i);
    if (!a) break;
    out[n++] = (sm_step_sum){.kind = SM_SUM_ACCUMULATOR, .name = a->name, .tensor = a, .n = sm_elements(a)};
  }
  if (n < most)
    out[n++] = (sm_step_sum){.kind = SM_SUM_GRADIENTS, .name = "gradients", .set = t->set[SM_SET_STUDENT]};
  return n;
}

/* ---- passes -------------------------------------------------------------------------------------------- */

void sm_trainable_run(sm_trainable *t, int pass, int time) {
  const double start = sm_now(), tree = t->seconds[SM_TIME_TREE];
  if (!t->pieces || !sm_pieces_run(t->pieces, pass)) sm_graph_run(t->graph, pass);
  t->seconds[time] += sm_now() - start - (t->seconds[SM_TIME_TREE] - tree);
}

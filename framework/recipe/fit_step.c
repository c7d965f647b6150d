/* fit_step.c — what a step is cut into, held against plugins that want to see all of it: micro-batches, which
 * save memory and change no result, and pieces, whose sums are added in a tree (nn/pieces.h). */
#include "fit.h"

#include <string.h>

/* Which key cuts the step, and into how many pictures at once. */
typedef struct step_cut {
  const char *key;
  int64_t pictures; /* that come together */
} step_cut;

static sm_status fit_step_wants_all(fit *f, const step_cut *cut, const char *kind, const char *why, const sm_slot *s) {
  const sm_train_section *train = &f->r->train;
  sm_fit_fail(f, s, "%s '%s' %s, but train.%s shows it %lld of %lld %s", kind, s->instance, why, cut->key,
              (long long)cut->pictures, (long long)train->batch_size,
              sm_plural(train->batch_size, "picture", "pictures"));
  if (!strcmp(cut->key, "pieces")) return sm_hint(f->err, "leave train.pieces out");
  return sm_hint(f->err, "leave train.micro_batch out; train.recompute: blocks saves memory too");
}

/* Where a target depends on the other rows of its step, a cut would change it, and is refused. Batch norm in a
 * backbone is the exception: there a cut says what a batch is, as a GPU's share does elsewhere. */
static sm_status fit_step_plugins(fit *f, const step_cut *cut) {
  const sm_recipe *r = f->r;
  sm_status status = SM_OK;
  for (int i = 0; i < r->tokenizers && !status; i++)
    if (f->tokenizer[i].whole_step)
      status = fit_step_wants_all(f, cut, "tokenizer", "balances its targets over a whole step", &r->tokenizer[i]);
  for (int i = 0; i < r->heads && !status; i++)
    if (((const sm_head_ops *)r->head[i].plugin.plugin->ops)->whole_step)
      status = fit_step_wants_all(f, cut, "head", "looks at all rows of a step", &r->head[i]);
  for (int i = 0; i < r->losses && !status; i++)
    if (f->loss[i].spec.whole_step)
      status = fit_step_wants_all(f, cut, "loss", "compares the rows of a whole step", &r->loss[i]);
  return status;
}

/* The figures of an objective are added up inside its plugin, one piece after the other. */
static sm_status fit_step_objective(fit *f) {
  const sm_objective_ops *ops = f->r->objective.plugin.plugin ? f->r->objective.plugin.plugin->ops : NULL;
  if (!ops || !ops->measure) return SM_OK;
  sm_fit_fail(f, &f->r->objective, "objective `%s` adds up its figures itself, so a step cannot be cut into pieces",
              sm_fit_name(&f->r->objective));
  return sm_hint(f->err, "leave train.pieces out");
}

static sm_status fit_step_pieces(fit *f) {
  const sm_train_section *train = &f->r->train;
  const int64_t n = train->pieces;
  int64_t power = 1;
  while (power * 2 <= n) power *= 2;
  if (power == n && n <= train->batch_size) return SM_OK;
  if (power != n)
    sm_fail(f->err, SM_EINVAL, "train.pieces is %lld; the sums of pieces are added in pairs, so it must be a power of two",
            (long long)n);
  else
    sm_fail(f->err, SM_EINVAL, "train.pieces is %lld, but a step has %lld %s", (long long)n,
            (long long)train->batch_size, sm_plural(train->batch_size, "picture", "pictures"));
  sm_fail_place(f->err, sm_recipe_place(f->r, "train", "pieces"));
  while (power > train->batch_size) power /= 2;
  return sm_hint(f->err, "set train.pieces: %lld", (long long)power);
}

sm_status sm_fit_step(fit *f) {
  const sm_train_section *train = &f->r->train;
  const step_cut pieces = {"pieces", train->batch_size / train->pieces}, micro = {"micro_batch", train->micro_batch};
  sm_status status = fit_step_pieces(f);
  if (!status && train->pieces > 1) status = fit_step_objective(f);
  if (!status && train->pieces > 1) status = fit_step_plugins(f, &pieces);
  if (!status && train->micro_batch && train->micro_batch < train->batch_size) status = fit_step_plugins(f, &micro);
  return status;
}

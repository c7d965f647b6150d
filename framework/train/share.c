/* framework/train/share.c — see share.h. Owns nothing. */
#include "share.h"

#include <string.h>

#include "framework/base/cpu.h"
#include "framework/recipe/alike.h"
#include "framework/recipe/recipe_private.h"

/* ---- can it be shared ---------------------------------------------------------------------------------- */

/* "tokenizer 'main' (online_ema)": the slot whose instance has this name. */
static const char *share_slot_text(const sm_recipe *r, const char *name, char *text, size_t size) {
  sm_slot_ref refs[SM_SLOT_REFS_MAX];
  const int n = sm_recipe_slots(r, refs);
  snprintf(text, size, "'%s'", name);
  for (int i = 0; i < n; i++)
    if (refs[i].slot->instance == name)
      snprintf(text, size, "%s '%s' (%s)", sm_kind_name((sm_kind)refs[i].slot->plugin.plugin->kind), name,
               refs[i].slot->plugin.plugin->name);
  return text;
}

/* What wants all rows of a step in one place, but for batch norm, whose batch is what a micro-batch holds. */
static const char *share_whole_step(const sm_trainable *t) {
  sm_step_sum sum[SM_SUMS_MAX];
  const int n = t->ops->sums((sm_trainable *)t, sum, SM_SUMS_MAX);
  for (int i = 0; i < n; i++)
    if (sum[i].kind == SM_SUM_WHOLE_STEP && sum[i].name != t->c.backbone.name) return sum[i].name;
  return NULL;
}

#define SAME_PIECES "; it changes the bits, so all runs of a comparison want the same"

static sm_status share_pieces(const sm_recipe *r, int pieces, int ranks, sm_error *err) {
  const int64_t batch = r->train.batch_size;
  int least = 1, most = 1; /* pieces, for so many ranks and of so many pictures */
  while (least < ranks) least *= 2;
  while (2 * most <= batch) most *= 2;
  if (least > most)
    sm_fail(err, SM_EINVAL, "%d ranks, but a step of %lld %s has at most %d %s", ranks, (long long)batch,
            sm_plural(batch, "picture", "pictures"), most, sm_plural(most, "piece", "pieces"));
  else
    sm_fail(err, SM_EINVAL, "%d ranks, but train.pieces is %d: each rank computes at least one piece of a step", ranks,
            pieces);
  sm_fail_place(err, sm_recipe_place(r, "train", "pieces"));
  if (least > most) return sm_hint(err, "start fewer, or raise train.batch_size");
  if (most == least) sm_hint(err, "set train.pieces: %d" SAME_PIECES, least);
  else sm_hint(err, "set train.pieces to a power of two from %d to %d" SAME_PIECES, least, most);
  return SM_EINVAL;
}

/* The most that a rank has to do is more than its share by a fifth. */
static void share_tell(int pieces, int ranks) {
  const int most = sm_ranks_longest(pieces, ranks);
  if (5 * most * ranks > 6 * pieces)
    sm_log(SM_LOG_INFO,
           "of %d pieces of a step one of %d ranks computes %d, and the others wait for it: %d ranks would be as fast; "
           "more train.pieces are shared out more evenly" SAME_PIECES,
           pieces, ranks, most, (pieces + most - 1) / most);
}

sm_status sm_share_check(const sm_trainable *t, const sm_recipe *r, sm_error *err) {
  const int ranks = sm_ranks_size(t->c.ranks);
  if (ranks < 2) return SM_OK;
  const char *name = share_whole_step(t);
  char text[160];
  if (name) {
    sm_fail(err, SM_EUNSUPPORTED, "%s wants all pictures of a step in one process, so %d ranks cannot share them",
            share_slot_text(r, name, text, sizeof text), ranks);
    return sm_hint(err, "train this recipe by one process, with more threads");
  }
  if (t->c.pieces < ranks) return share_pieces(r, t->c.pieces, ranks, err);
  if (!sm_ranks_rank(t->c.ranks)) share_tell(t->c.pieces, ranks);
  return SM_OK;
}

int sm_share_threads(const sm_recipe *r, const sm_ranks *ranks, int asked) {
  const int here = sm_ranks_here(ranks), threads = sm_recipe_threads(r, asked);
  const sm_cpus cpus = sm_cpu_look();
  if (asked || (r && r->train.threads) || here < 2) return threads;
  if (threads * here <= cpus.machine) return threads; /* the launcher has given each its own */
  return threads / here > 0 ? threads / here : 1;
}

/* ---- data ----------------------------------------------------------------------------------------------- */

static sm_status share_open_first(sm_slot *slot, sm_dataset *set, sm_text *found, sm_error *err) {
  const sm_status status = sm_slot_open(slot, set, err);
  return status ? status : sm_slot_found(slot, found, err);
}

/* What rank 0 found, to all: *found is each rank's own memory. */
static sm_status share_found(sm_ranks *ranks, sm_text *found, sm_error *err) {
  static const char none[4096];
  uint64_t bytes = found->len;
  sm_status status = sm_ranks_broadcast(ranks, 0, &bytes, sizeof bytes, err);
  if (status) return status;
  while (!found->failed && found->len < bytes)
    sm_text_bytes(found, none, bytes - found->len < sizeof none ? (size_t)(bytes - found->len) : sizeof none);
  status = found->failed ? sm_fail(err, SM_ENOMEM, "no memory for the list of pictures") : SM_OK;
  status = sm_ranks_agree(ranks, status, err);
  return status ? status : sm_ranks_broadcast(ranks, 0, found->s, found->len, err);
}

sm_status sm_share_open(const sm_session *s, sm_slot *slot, sm_dataset *set, sm_error *err) {
  sm_ranks *ranks = s->options->ranks;
  const bool first = sm_ranks_rank(ranks) == 0;
  sm_text found = {0};
  if (!ranks) return sm_slot_open(slot, set, err);
  sm_status status = sm_ranks_agree(ranks, first ? share_open_first(slot, set, &found, err) : SM_OK, err);
  if (!status && !(status = share_found(ranks, &found, err))) {
    if (!first) status = sm_slot_open_found(slot, found.s, found.len, set, err);
    status = sm_ranks_agree(ranks, status, err);
  }
  sm_text_free(&found);
  return status;
}

/* ---- the state ----------------------------------------------------------------------------------------- */

/* What the others need of the run's state; the window of metrics and the monitor stay with rank 0, who writes. */
static sm_status share_run_state(sm_session *s, sm_error *err) {
  sm_ranks *ranks = s->options->ranks;
  sm_run_state *state = &s->state;
  int64_t word[] = {state->step, state->n_bad, state->finished, state->pending_evaluation};
  sm_status status = sm_ranks_broadcast(ranks, 0, word, sizeof word, err);
  if (status) return status;
  int64_t *bad = sm_ranks_rank(ranks) && word[1] ? sm_calloc((size_t)word[1], sizeof *bad) : state->bad;
  status = word[1] && !bad ? sm_fail(err, SM_ENOMEM, "no memory for the list of bad pictures") : SM_OK;
  status = sm_ranks_agree(ranks, status, err);
  if (!status) status = sm_ranks_broadcast(ranks, 0, bad, (size_t)word[1] * sizeof *bad, err);
  state->bad = bad;
  state->step = word[0], state->n_bad = word[1], state->finished = word[2], state->pending_evaluation = word[3];
  return status;
}

/* ---- the same everywhere ------------------------------------------------------------------------------- */

/* What must be alike. */
static sm_status share_likeness(const sm_session *s, sm_error *err) {
  const char *isa = sm_graph_isa(s->trainable->graph);
  uint64_t frozen = 0, plugins = 0;
  sm_status status = sm_identity_of_plugins(s->recipe, &plugins, err);
  for (int i = 0; i < s->recipe->tokenizers; i++) frozen = frozen * 31 + sm_distil_frozen_hash(s->trainable, i);
  sm_likeness like = {0};
  sm_like_program(&like, isa);
  sm_like_hash(&like, "has a recipe with the hash", "let all machines read the same recipe, and give all ranks the same words",
               sm_recipe_hash(s->recipe));
  sm_like_hash(&like, "has a data set with the hash", "let all machines see the same pictures, under the same names",
               s->train.ops->hash(s->train.self));
  sm_like_hash(&like, "has frozen weights with the hash", "let all machines see the same files of weights", frozen);
  sm_like_hash(&like, "has plugins with the hash", "install the same plugins on all machines", plugins);
  return sm_alike(s->options->ranks, &like, status, err);
}

sm_status sm_share_state(sm_session *s, sm_error *err) {
  if (!s->options->ranks) return SM_OK;
  sm_status status = share_likeness(s, err);
  for (int i = 0; !status && i < SM_SETS_SAVED; i++) status = sm_set_broadcast(s->trainable->set[i], s->options->ranks, err);
  return status ? status : share_run_state(s, err);
}

/* Weights that part are a processor or a memory that computes wrong; a checkpoint must not hide it. */
sm_status sm_share_compare(sm_session *s, sm_error *err) {
  sm_ranks *ranks = s->options->ranks;
  const uint64_t own = ranks ? sm_set_hash(s->trainable->set[SM_SET_STUDENT], SM_VALUES) : 0;
  uint64_t first = own;
  sm_status status = sm_ranks_broadcast(ranks, 0, &first, sizeof first, err);
  if (status) return status;
  if (own != first) {
    sm_fail(err, SM_EIO, "step %lld: its weights are no longer those of rank 0", (long long)s->time.step);
    status = sm_hint(err, "one of the two machines computes wrong: look at its memory; the last checkpoint is good");
  }
  return sm_ranks_agree(ranks, status, err);
}

/* framework/train/open.c — opening a session of training: plugins, data, objective, run folder, loader; and
 * closing it.
 *
 * Nothing is trained or written here but the run folder's description and preview. */
#include <string.h>
#include <unistd.h>

#include "framework/nn/pieces.h"
#include "framework/tensor/kernels.h"
#include "share.h"

/* ---- opening ------------------------------------------------------------------------------------------- */

static int open_loader_workers(const sm_session *s) {
  return s->recipe->data.workers > 0 ? (int)s->recipe->data.workers : sm_pool_threads(s->pool);
}

static sm_status open_loader(sm_session *s, sm_error *err) {
  const sm_recipe *r = s->recipe;
  sm_loader_config c = {.dataset = s->train,
                        .seed = (uint64_t)r->train.seed,
                        .batch_size = (int)r->train.batch_size,
                        .steps_per_epoch = s->time.steps_per_epoch,
                        .last_step = s->steps,
                        .workers = open_loader_workers(s),
                        .prefetch = (int)r->data.prefetch,
                        .limits = sm_recipe_limits(r),
                        .max_bad = r->data.max_bad,
                        .cache_bytes = (size_t)r->data.cache << 20,
                        .scaled_jpeg = r->data.jpeg != 0,
                        .stop = sm_signals_stop,
                        .n_known_bad = s->state.n_bad,
                        .known_bad = s->state.bad};
  c.ranks = s->options->ranks;
  c.place = sm_pieces_place(c.batch_size, s->config.pieces, c.ranks, 0);
  c.pictures = sm_pieces_place(c.batch_size, s->config.pieces, c.ranks, 1) - c.place;
  c.views = s->views;
  c.masking = sm_trainable_masking(s->trainable);
  return sm_loader_new(&c, s->state.step, &s->loader, err);
}

static sm_status open_lengths(sm_session *s, sm_error *err) {
  const sm_recipe *r = s->recipe;
  int64_t pictures = s->train.ops->count(s->train.self), per_epoch = r->train.steps_per_epoch;
  if (!per_epoch) per_epoch = pictures / r->train.batch_size;
  if (per_epoch < 1) {
    sm_fail(err, SM_EINVAL, "train.batch_size is %lld, but the data set has only %lld %s",
            (long long)r->train.batch_size, (long long)pictures, sm_plural(pictures, "picture", "pictures"));
    sm_fail_at(err, r->data.train.file, r->data.train.line, r->data.train.col);
    return sm_hint(
        err, "lower train.batch_size, or set train.steps_per_epoch to draw pictures more than once an epoch");
  }
  s->time = (sm_time){.steps_per_epoch = per_epoch, .epochs = r->train.epochs};
  s->steps = per_epoch * r->train.epochs;
  return SM_OK;
}

static sm_status open_fit_tokenizers(sm_session *s, sm_error *err) {
  const sm_recipe *r = s->recipe;
  const sm_fitting f = {.dataset = s->train,
                        .views = s->views,
                        .limits = sm_recipe_limits(r),
                        .seed = (uint64_t)r->train.seed,
                        .workers = open_loader_workers(s),
                        .max_bad = r->data.max_bad,
                        .scaled_jpeg = r->data.jpeg != 0,
                        .pool = s->pool};
  return sm_fit_tokenizers(s->trainable, r->tokenizers, &f, err);
}

/* Frozen weights are in no checkpoint: they must be what they were. */
static sm_status open_check_frozen(sm_session *s, sm_error *err) {
  for (int i = 0; i < s->recipe->tokenizers; i++) {
    const sm_slot *slot = &s->recipe->tokenizer[i];
    uint64_t hash = sm_distil_frozen_hash(s->trainable, i);
    if (s->state.step && s->state.frozen_hash[i] != hash) {
      sm_fail(err, SM_EINVAL,
              "the weights of tokenizer '%s' (%s) have changed since step %lld of this run was saved",
              slot->instance, slot->plugin.plugin->name, (long long)s->state.step);
      sm_fail_at(err, s->folder.path, 0, 0);
      return sm_hint(err,
                     "restore the file that they come from, or start a new run under another name: `name=…`");
    }
    s->state.frozen_hash[i] = hash;
  }
  return SM_OK;
}

/* recipe.yaml is held against the recipe already. */
static sm_status open_check_recipe(sm_session *s, sm_error *err) {
  sm_run_state *state = &s->state;
  const uint64_t *own = s->folder.recipe_hash;
  bool same = !state->step;
  for (size_t i = 0; i < sizeof s->folder.recipe_hash / sizeof *own; i++)
    same = same || state->recipe_hash == own[i];
  if (!state->step) state->recipe_hash = own[0];
  if (same) return SM_OK;
  sm_fail(err, SM_EINVAL, "step %lld of this run was saved under another recipe", (long long)state->step);
  sm_fail_at(err, s->folder.path, 0, 0);
  return sm_hint(err, s->folder.kept ? "restore its recipe.yaml, or give the recipe another name: `name=…`"
                                     : "train with the recipe that it had, or under another name: `name=…`");
}

static sm_status open_check_state(sm_session *s, sm_error *err) {
  uint64_t hash = s->train.ops->hash(s->train.self);
  const char *isa = sm_graph_isa(s->trainable->graph);
  char core[sizeof s->state.core];
  sm_products_text(isa, core, sizeof core);
  if (s->state.step) {
    if (s->state.data_hash != hash) {
      sm_fail(err, SM_EINVAL, "the data set has changed since step %lld of this run was saved",
              (long long)s->state.step);
      sm_fail_at(err, s->folder.path, 0, 0);
      return sm_hint(err, "restore the pictures, or start a new run under another name: `name=…`");
    }
    if (strcmp(s->state.isa, isa) || strcmp(s->state.core, core)) {
      char text[512], keep[96] = "";
      if (strcmp(s->state.isa, isa) != 0 && sm_isa_find(s->state.isa))
        snprintf(keep, sizeof keep, "; train.isa=%s keeps to its kernels", s->state.isa);
      snprintf(text, sizeof text,
               "the run was made with %s kernels and BLAS core %s, this session uses %s and %s: it goes "
               "on, but not to the same bits%s",
               s->state.isa, s->state.core, isa, core, keep);
      sm_session_warn(s, text);
    }
  }
  s->state.data_hash = hash;
  snprintf(s->state.isa, sizeof s->state.isa, "%s", isa);
  snprintf(s->state.core, sizeof s->state.core, "%s", core);
  return SM_OK;
}

static void open_write_preview(sm_session *s) {
  char path[SM_PATH_ROOM], title[256];
  sm_path_put(path, "%s/preview.png", s->folder.path);
  if (access(path, F_OK) == 0) return;
  const sm_recipe *r = s->recipe;
  sm_preview_config c = {.dataset = s->train,
                         .seed = (uint64_t)r->train.seed,
                         .pictures = 6,
                         .limits = sm_recipe_limits(r),
                         .title = title};
  c.views = s->views;
  c.masking = sm_trainable_masking(s->trainable);
  snprintf(title, sizeof title, "%s", r->name);
  sm_error e = {0};
  char text[1024];
  if (sm_preview_write(&c, path, &e)) {
    char line[1200];
    snprintf(line, sizeof line, "no preview: %s", sm_error_text(&e, text, sizeof text));
    sm_session_warn(s, line);
  }
}

/* More memory than there is: the system would hand it out, then swap or kill. Say so while there is time. */
static sm_status open_allocate(sm_session *s, sm_error *err) {
  double needed = (double)sm_trainable_bytes(s->trainable),
         all = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
  char a[32], b[32], text[256];
  if (all > 0 && needed > all) {
    snprintf(text, sizeof text,
             "a step needs %s, this machine has %s: lower train.micro_batch, see `smalti plan`",
             sm_human_bytes(needed, a, sizeof a), sm_human_bytes(all, b, sizeof b));
    sm_session_warn(s, text);
  }
  sm_status status = sm_trainable_allocate(s->trainable, err);
  return status == SM_ENOMEM
             ? sm_hint(err,
                       "lower train.micro_batch, or train a smaller network; `smalti plan` shows "
                       "what takes the memory")
             : status;
}

/* The run's folder, and plugins. */
static sm_status open_folder(sm_session *s, sm_error *err) {
  const sm_recipe *r = s->recipe;
  sm_path_put(s->folder.path, "%s/%s", s->options->runs, r->name);
  sm_status status = s->writes ? sm_folder_open(&s->folder, s->options->runs, r, s->options->registry, err) : SM_OK;
  sm_path_put(s->summary->folder, "%s", s->folder.path);
  return status ? status : sm_recipe_create(s->recipe, err);
}

/* Every rank calls it, and all have them, or none. */
static sm_status open_data(sm_session *s, sm_error *err) {
  sm_status status = sm_ranks_agree(s->options->ranks, open_folder(s, err), err);
  if (!status) status = sm_share_open(s, &s->recipe->data.train, &s->train, err);
  return status ? status : sm_share_open(s, &s->recipe->data.test, &s->test, err);
}

/* What trains, which has its memory then. */
static sm_status open_parts(sm_session *s, sm_error *err) {
  const sm_recipe *r = s->recipe;
  sm_status status = sm_evaluations_check(r, s->train, s->test, err); /* before it trains */
  if (!status) status = open_lengths(s, err);
  if (!status) status = sm_views_of(r, &s->views, err);
  if (!status && !(s->pool = sm_recipe_pool(r, s->threads, s->options->isa, err))) status = err->code;
  if (!status) status = sm_train_configure(r, s->pool, s->time.steps_per_epoch, &s->config, err);
  s->config.ranks = s->options->ranks;
  if (!status) status = sm_trainable_new(&s->config, &s->trainable, err);
  if (!status) status = sm_share_check(s->trainable, s->recipe, err);
  return status ? status : open_allocate(s, err);
}

/* The newest checkpoint, or what a run begins with: in the run folder's hands. */
static sm_status open_state(sm_session *s, sm_error *err) {
  const sm_recipe *r = s->recipe;
  bool found;
  sm_set *const *set = s->trainable->set;
  sm_status status = sm_checkpoint_load_newest(s->folder.checkpoints, set, &s->state, &found, err);
  if (!status && !found) status = sm_folder_begins(&s->folder, err);
  if (!status && !found && r->train.init)
    status = sm_start_from(&(sm_start){r->train.init, r->train.init_prefix, r->train.init_ignore, sm_pool_isa(s->pool)},
                           set[SM_SET_STUDENT], set[SM_SET_TEACHER], err);
  if (!status && !found) status = open_fit_tokenizers(s, err);
  if (!status) status = open_check_recipe(s, err);
  if (!status) status = open_check_state(s, err);
  if (!status) status = open_check_frozen(s, err);
  return status ? status : sm_identity_check(s, err);
}

/* What goes on: its description and logs, its loader and evaluations. */
static sm_status open_rest(sm_session *s, sm_error *err) {
  sm_status status = SM_OK;
  if (s->writes) status = sm_folder_describe(&s->folder, s->recipe, s->options->ranks, &s->state, s->threads, err);
  if (!status && s->writes) status = sm_folder_logs(&s->folder, &s->state, err);
  if (!status) status = open_loader(s, err);
  if (!status) status = sm_session_evaluator(s, err);
  if (!status && s->writes) open_write_preview(s);
  return status;
}

sm_status sm_session_open(sm_session *s, sm_error *err) {
  sm_ranks *ranks = s->options->ranks;
  s->threads = sm_share_threads(s->recipe, ranks, s->options->threads);
  sm_status status = open_data(s, err);
  if (!status) status = sm_ranks_agree(ranks, open_parts(s, err), err);
  if (!status) status = sm_ranks_agree(ranks, s->writes ? open_state(s, err) : SM_OK, err);
  if (!status) status = sm_share_state(s, err);
  if (status) return status;
  s->time.step = s->saved = s->summary->first_step = s->state.step;
  s->summary->steps = s->steps;
  s->summary->already = s->state.finished;
  s->summary->bad_pictures = s->listed_bad = s->state.n_bad;
  return s->state.finished ? SM_OK : sm_ranks_agree(ranks, open_rest(s, err), err);
}

void sm_session_close(sm_session *s) {
  sm_loader_free(s->loader);
  sm_evaluator_free(s->evaluator);
  sm_network_close(s->network);
  sm_trainable_free(s->trainable);
  sm_pool_free(s->pool);
  if (s->failed_early) sm_folder_discard(&s->folder);
  else sm_folder_close(&s->folder);
  sm_run_state_free(&s->state);
}

static sm_status open_free_name(sm_recipe *r, const char *runs, sm_arena *arena, sm_error *err) {
  const char *base = r->name;
  for (int i = 2; i < 10000; i++) {
    char path[SM_PATH_ROOM];
    sm_path_put(path, "%s/%s", runs, r->name);
    if (access(path, F_OK)) return SM_OK;
    if (!(r->name = sm_arena_printf(arena, "%s-%d", base, i)))
      return sm_fail(err, SM_ENOMEM, "out of memory");
  }
  return sm_fail(err, SM_EINVAL, "there are ten thousand runs called '%s' in '%s'", base, runs);
}

sm_status sm_train_fresh_name(sm_recipe *r, const char *runs, sm_ranks *ranks, sm_arena *arena, sm_error *err) {
  char name[256] = "";
  sm_status status = sm_ranks_rank(ranks) ? SM_OK : open_free_name(r, runs, arena, err);
  if ((status = sm_ranks_agree(ranks, status, err)) || !ranks) return status;
  snprintf(name, sizeof name, "%s", r->name);
  status = sm_ranks_broadcast(ranks, 0, name, sizeof name, err);
  if (!status && !(r->name = sm_arena_strdup(arena, name))) status = sm_fail(err, SM_ENOMEM, "out of memory");
  return sm_ranks_agree(ranks, status, err);
}

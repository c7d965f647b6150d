/* views.c — see views.h. Nothing here keeps state: equal keys give equal views on every machine. */
#include <string.h>

#include "views.h"

/* Keys that are no view's own: of the choice of the one view that is masked, and of what the masked views of a step
 * share. */
enum { WHICH_VIEW = 65535, WHICH_STEP = 65534, WHICH_LOCAL_STEP = 65533 };

static sm_status views_check_recipe(const sm_view_recipe *recipe, const char *which, sm_error *err) {
  sm_error inner;
  sm_status status = sm_view_recipe_check(recipe, &inner);
  if (!status) return SM_OK;
  sm_fail(err, status, "%s view: %s", which, inner.message);
  return inner.hint[0] ? sm_hint(err, "%s", inner.hint) : status;
}

sm_status sm_views_check(const sm_views *views, sm_error *err) {
  sm_status status;
  if (views->globals < 1 || views->globals > SM_GLOBALS_MAX)
    return sm_fail(err, SM_EINVAL, "%d global views: the number must lie between 1 and %d", views->globals,
                   SM_GLOBALS_MAX);
  if (views->locals < 0 || views->locals > SM_LOCALS_MAX)
    return sm_fail(err, SM_EINVAL, "%d local views: the number must lie between 0 and %d", views->locals,
                   SM_LOCALS_MAX);
  if ((status = views_check_recipe(&views->global_first, "first global", err)) != SM_OK) return status;
  if (views->globals > 1) {
    if ((status = views_check_recipe(&views->global_other, "other global", err)) != SM_OK) return status;
    const sm_view_recipe *a = &views->global_first, *b = &views->global_other;
    char first[24], others[24];
    if (a->height != b->height || a->width != b->width)
      return sm_fail(err, SM_EINVAL,
                     "the first global view has size %s and the others %s; all must have one size",
                     sm_view_size_text(a->height, a->width, first, sizeof first),
                     sm_view_size_text(b->height, b->width, others, sizeof others));
  }
  if (views->owns < 0 || views->owns > SM_OWNS_MAX)
    return sm_fail(err, SM_EINVAL, "%d own views: the number must lie between 0 and %d", views->owns,
                   SM_OWNS_MAX);
  for (int k = 0; k < views->owns; k++)
    if ((status = views_check_recipe(&views->own[k].view, "tokenizer's own", err)) != SM_OK) return status;
  return views->locals > 0 ? views_check_recipe(&views->local, "local", err) : SM_OK;
}

/* ---- own views of tokenizers --------------------------------------------------------------------------- */

static bool views_same_own(const sm_own_recipe *a, const sm_own_recipe *b) {
  bool same = a->plain == b->plain && a->view.height == b->view.height && a->view.width == b->view.width &&
              a->view.filter == b->view.filter;
  for (int c = 0; c < 3; c++)
    same = same && a->view.mean[c] == b->view.mean[c] && a->view.std[c] == b->view.std[c];
  return same;
}

static bool views_same_values(const sm_view_recipe *a, const sm_own_view *b) {
  return a->filter == b->filter && !memcmp(a->mean, b->mean, sizeof a->mean) &&
         !memcmp(a->std, b->std, sizeof a->std);
}

bool sm_views_own_is_global(const sm_views *views, const sm_own_view *own, int rows, int cols) {
  const sm_view_recipe *global = &views->global_first;
  return !own->plain &&
         (!own->pixels || (own->pixels * rows == global->height && own->pixels * cols == global->width)) &&
         views_same_values(&views->global_first, own) &&
         (views->globals == 1 || views_same_values(&views->global_other, own));
}

int sm_views_add_own(sm_views *views, const sm_own_view *own, int rows, int cols, sm_error *err) {
  const sm_view_recipe *global = &views->global_first;
  const int most = rows > cols ? rows : cols;
  sm_own_recipe add = {.view = {.height = own->pixels ? own->pixels * rows : global->height,
                                .width = own->pixels ? own->pixels * cols : global->width,
                                .filter = own->filter,
                                .scale = {1, 1},
                                .ratio = {1, 1}},
                       .plain = own->plain};
  memcpy(add.view.mean, own->mean, sizeof add.view.mean);
  memcpy(add.view.std, own->std, sizeof add.view.std);
  if (own->pixels < 0 || own->pixels > SM_IMAGE_MAX_SIDE / (most > 0 ? most : 1)) {
    sm_fail(err, SM_EINVAL, "a tokenizer's own view of %d pixels a mask cell", own->pixels);
    return -1;
  }
  if (views_check_recipe(&add.view, "tokenizer's own", err) != SM_OK) return -1;
  for (int k = 0; k < views->owns; k++)
    if (views_same_own(&views->own[k], &add)) return k;
  if (views->owns == SM_OWNS_MAX) {
    sm_fail(err, SM_EUNSUPPORTED, "tokenizers want more than %d different views of their own", SM_OWNS_MAX);
    return -1;
  }
  views->own[views->owns] = add;
  return views->owns++;
}

/* Cells are square, so both sides of an own view are to the global one's as its height is. */
sm_view_choice sm_views_own_choice(const sm_views *views, int k, const sm_view_choice *global) {
  if (views->own[k].plain) return sm_view_choice_plain(global);
  sm_view_choice choice = *global;
  choice.blur_radius *= (double)views->own[k].view.height / views->global_first.height;
  if (choice.blur_radius > SM_BLUR_RADIUS_MAX) choice.blur_radius = SM_BLUR_RADIUS_MAX;
  return choice;
}

sm_status sm_masking_check(const sm_masking *masking, sm_error *err) {
  const int grid[2][2] = {{masking->rows, masking->cols}, {masking->local_rows, masking->local_cols}};
  for (int k = 0; k < 2; k++)
    if (grid[k][0] < 0 || grid[k][1] < 0 || grid[k][0] > 1024 || grid[k][1] > 1024)
      return sm_fail(err, SM_EINVAL, "a mask grid of %d x %d cells: each side must lie between 0 and 1024",
                     grid[k][0], grid[k][1]);
  return SM_OK;
}

const sm_view_recipe *sm_views_recipe(const sm_views *views, int v) {
  if (v >= views->globals) return &views->local;
  return v == 0 ? &views->global_first : &views->global_other;
}

static uint32_t views_view_key(const sm_views *views, int v) {
  return (uint32_t)(v < views->globals ? v : SM_LOCAL_VIEW + v - views->globals);
}

void sm_views_draw(const sm_views *views, const sm_slot_key *key, int v, int width, int height,
                   sm_view_choice *choice) {
  sm_rng rng = sm_rng_make(key->seed, SM_RNG_CROP, (uint64_t)key->epoch, (uint64_t)key->slot,
                           views_view_key(views, v));
  sm_view_draw(sm_views_recipe(views, v), &rng, width, height, choice);
}

bool sm_masking_local(const sm_masking *masking, const sm_views *views) {
  return masking->views == SM_MASKED_ALL && views->locals > 0 && masking->local_rows > 0 &&
         masking->local_cols > 0;
}

/* Of one view in turn the choice has a key of its own, so that no mask depends on it. */
static bool views_is_masked(const sm_masking *masking, const sm_views *views, const sm_slot_key *key, int v) {
  if (v >= views->globals) return sm_masking_local(masking, views);
  if (masking->views != SM_MASKED_ONE) return true;
  sm_rng rng = sm_rng_make(key->seed, SM_RNG_MASK, (uint64_t)key->epoch, (uint64_t)key->slot, WHICH_VIEW);
  return sm_rng_below(&rng, (uint32_t)views->globals) == (uint32_t)v;
}

/* Which of the step's masked views of its kind this is. */
static void views_place(const sm_masking *masking, const sm_views *views, const sm_slot_key *key, int v,
                        sm_mask_request *request, sm_rng *step) {
  const bool local = v >= views->globals, one = !local && masking->views == SM_MASKED_ONE;
  const int64_t of_picture = one ? 1 : local ? views->locals : views->globals;
  *step = sm_rng_make(key->seed, SM_RNG_MASK, (uint64_t)key->epoch, (uint64_t)(key->slot / masking->batch),
                      local ? WHICH_LOCAL_STEP : WHICH_STEP);
  request->place = key->slot % masking->batch * of_picture + (one ? 0 : local ? v - views->globals : v);
  request->places = masking->batch * of_picture;
  request->step = step;
}

enum { MASK_GUARD = 64, MASK_GUARD_BYTE = 0xa5, MASK_STACK = 4096 };

/* A masker writes into a place of its own, between bytes that must stay as they are; what it has written is
 * copied when it has been looked at. */
static sm_status views_draw_apart(const sm_masking *masking, const sm_mask_request *request, size_t cells,
                                  uint8_t *room, uint8_t *mask, sm_error *err) {
  uint8_t *drawn = room + MASK_GUARD;
  memset(room, MASK_GUARD_BYTE, cells + 2 * MASK_GUARD);
  memset(drawn, 0, cells);
  masking->ops->draw(masking->self, request, drawn);
  for (size_t k = 0; k < MASK_GUARD; k++)
    if (room[k] != MASK_GUARD_BYTE || drawn[cells + k] != MASK_GUARD_BYTE)
      return sm_blame(&masking->who, err, "writes outside of a mask of %d x %d cells: %s", request->rows,
                      request->cols, room[k] != MASK_GUARD_BYTE ? "before it" : "behind it");
  uint8_t bits = 0;
  for (size_t k = 0; k < cells; k++) bits |= drawn[k];
  if (bits > 1)
    return sm_blame(&masking->who, err, "writes bytes other than 0 and 1 into a mask of %d x %d cells",
                    request->rows, request->cols);
  memcpy(mask, drawn, cells);
  return SM_OK;
}

sm_status sm_masking_draw(const sm_masking *masking, const sm_views *views, const sm_slot_key *key, int v,
                          const float *attention, int heads, uint8_t *mask, sm_error *err) {
  const sm_masker_ops *ops = masking->ops;
  const bool local = v >= views->globals;
  const int rows = local ? masking->local_rows : masking->rows,
            cols = local ? masking->local_cols : masking->cols;
  const size_t cells = (size_t)rows * (size_t)cols;
  uint8_t stack[MASK_STACK], *room = cells + 2 * MASK_GUARD <= sizeof stack ? stack : NULL;
  memset(mask, 0, cells);
  if (!ops || (ops->needs_attention && !attention) ||
      (ops->start_epoch && key->epoch < ops->start_epoch(masking->self)) ||
      !views_is_masked(masking, views, key, v))
    return SM_OK;
  sm_rng rng = sm_rng_make(key->seed, SM_RNG_MASK, (uint64_t)key->epoch, (uint64_t)key->slot,
                           views_view_key(views, v));
  sm_mask_request request = {.rows = rows,
                             .cols = cols,
                             .view = v,
                             .epoch = key->epoch,
                             .rng = &rng,
                             .attention = ops->needs_attention ? attention : NULL,
                             .heads = heads};
  sm_rng step;
  if (masking->batch) views_place(masking, views, key, v, &request, &step);
  if (!room && !(room = sm_malloc(cells + 2 * MASK_GUARD)))
    return sm_fail(err, SM_ENOMEM, "no memory for a mask of %d x %d cells", rows, cols);
  sm_status status = views_draw_apart(masking, &request, cells, room, mask, err);
  if (room != stack) sm_free(room);
  return status;
}

int64_t sm_slot_replacement(const sm_slot_key *key, int attempt, int64_t count) {
  sm_rng rng =
      sm_rng_make(key->seed, SM_RNG_REPLACE, (uint64_t)key->epoch, (uint64_t)key->slot, (uint32_t)attempt);
  return sm_rng_below(&rng, (uint32_t)count);
}

void sm_epoch_order(uint64_t seed, int64_t epoch, int64_t round, uint32_t *order, uint32_t count) {
  sm_rng rng = sm_rng_make(seed, SM_RNG_SHUFFLE, (uint64_t)epoch, (uint64_t)round, 0);
  for (uint32_t i = 0; i < count; i++) order[i] = i;
  sm_rng_shuffle(&rng, order, count);
}

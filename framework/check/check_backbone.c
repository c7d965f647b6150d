/* check_backbone.c — backbones: spec, shapes, gradients at two view sizes, masks, drop path, attention, short
 * batches. */
#include <math.h>
#include <string.h>

#include "driver.h"

#define PICTURES 2
#define BLOCKS 2

typedef struct backbone_trial {
  const sm_backbone_ops *ops;
  const void *self;
  sm_backbone_spec at_home, spec; /* of the size of the position embedding, and of this trial's */
  int home, size;                 /* view sizes in pixels      */
  bool masks, drop, extras;       /* extras: last blocks and attention */
  sm_backbone_in in;
  sm_backbone_out out;
  sm_tensor *count;
} backbone_trial;

/* ---- spec ---------------------------------------------------------------------------------------------- */

static bool check_spec_values(sm_checker *c, int size, const sm_backbone_spec *s) {
  bool rates = true;
  for (int k = 0; k < s->drop_sites && k < SM_SITES_MAX; k++)
    rates = rates && s->drop_rate[k] >= 0 && s->drop_rate[k] < 1;
  return sm_check_that(c, s->dim > 0 && s->depth > 0 && s->heads > 0 && s->prefix >= 0 && s->patch > 0, NULL,
                       "spec(%d): dim %d, depth %d, heads %d, prefix %d, patch %d", size, s->dim, s->depth,
                       s->heads, s->prefix, s->patch) &&
         sm_check_that(c, s->masks_at > 0 && size % s->masks_at == 0, NULL,
                       "spec(%d): masks_at is %d, which does not divide it", size, s->masks_at) &&
         sm_check_that(c, s->drop_sites >= 0 && s->drop_sites <= SM_SITES_MAX, NULL,
                       "spec(%d): drop_sites is %d", size, s->drop_sites) &&
         sm_check_that(c, rates, NULL, "spec(%d): a drop rate lies outside 0 … 1", size);
}

/* The two smallest view sizes the backbone accepts; how many there are. Refusals must come with words. */
static int find_sizes(sm_checker *c, const backbone_trial *b, int sizes[2], sm_backbone_spec specs[2]) {
  static const int candidates[] = {16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256, 384, 512};
  sm_backbone_spec again;
  sm_error err;
  int n = 0;
  for (size_t k = 0; k < sizeof candidates / sizeof *candidates && n < 2; k++) {
    int size = candidates[k];
    memset(&err, 0, sizeof err);
    memset(&specs[n], 0, sizeof specs[n]);
    if (b->ops->spec(b->self, size, &specs[n], &err) != SM_OK) {
      if (!sm_check_that(c, err.message[0] != 0, NULL, "spec(%d) is refused without a reason", size))
        return 0;
      continue;
    }
    memset(&again, 0, sizeof again);
    b->ops->spec(b->self, size, &again, &err);
    if (!check_spec_values(c, size, &specs[n])) return 0;
    if (!sm_check_that(c, memcmp(&again, &specs[n], sizeof again) == 0, NULL,
                       "spec(%d) differs when asked twice", size))
      return 0;
    sizes[n++] = size;
  }
  return n;
}

/* ---- the graph ----------------------------------------------------------------------------------------- */

static bool declare(sm_trial *t) {
  const backbone_trial *b = t->ctx;
  sm_set *set = sm_trial_set(t, 0, "student", true);
  if (set) b->ops->declare(b->self, b->home, &(sm_params){set, "backbone."});
  return set != NULL;
}

static void build(sm_trial *t) {
  backbone_trial *b = t->ctx;
  int64_t n = b->size / b->spec.masks_at, pictures[] = {PICTURES, 3, b->size, b->size},
          mask[] = {PICTURES, n * n}, drop[] = {PICTURES, b->spec.drop_sites};
  b->count = sm_count(t->graph, "pictures.count", PICTURES);
  b->in = (sm_backbone_in){.last_blocks = b->extras ? (b->spec.depth < BLOCKS ? 1 : BLOCKS) : 0,
                           .attention = b->extras};
  b->out = (sm_backbone_out){0};
  b->in.pictures = sm_input_real(t->graph, "pictures", 4, pictures, b->count);
  if (b->masks) b->in.mask = sm_input(t->graph, "mask", SM_U8, 2, mask, b->count);
  if (b->drop && b->spec.drop_sites) b->in.drop = sm_input_real(t->graph, "drop", 2, drop, b->count);
  b->ops->build(b->self, t->graph, &(sm_params){t->set[0], "backbone."}, &b->in, &b->out);
  if (!b->out.tokens) {
    sm_graph_fail(t->graph, "build gives no tokens");
    return;
  }
  sm_trial_score(t, b->out.tokens);
  for (int k = 0; k < b->in.last_blocks; k++) {
    if (b->out.blocks[k]) sm_keep(t->graph, b->out.blocks[k]);
    else sm_graph_fail(t->graph, "build gives no blocks[%d], though last_blocks is %d", k, b->in.last_blocks);
  }
  if (b->extras) sm_keep(t->graph, b->out.tokens);
  if (b->out.attention) sm_keep(t->graph, b->out.attention);
  else if (b->in.attention) sm_graph_fail(t->graph, "build gives no attention, though it was asked for");
}

/* Pictures like normalised ones; a third of the patches hidden; one branch in four dropped. */
static void fill(sm_trial *t) {
  const backbone_trial *b = t->ctx;
  sm_fill_normal(b->in.pictures, 1, 1);
  if (b->in.mask)
    for (int64_t k = 0; k < sm_elements(b->in.mask); k++) sm_fill(b->in.mask, k, 1, k % 3 == 1);
  if (b->in.drop)
    for (int64_t k = 0; k < sm_elements(b->in.drop); k++) sm_fill(b->in.drop, k, 1, k % 4 == 2 ? 0 : 1.25);
}

static void check_shapes(sm_checker *c, const backbone_trial *b) {
  const sm_tensor *y = b->out.tokens;
  int64_t grid = b->size / b->spec.patch;
  sm_check_that(
      c, y->ndim == 3 && y->dim[0] == PICTURES && y->dim[2] == b->spec.dim && y->dim[1] > b->spec.prefix,
      NULL, "%d px: tokens are not (pictures, prefix + patches, %d)", b->size, b->spec.dim);
  if (b->spec.masks_at == b->spec.patch)
    sm_check_that(c, y->dim[1] == b->spec.prefix + grid * grid, NULL,
                  "%d px: %lld tokens, the spec says %lld", b->size, (long long)y->dim[1],
                  (long long)(b->spec.prefix + grid * grid));
}

/* ---- runs ---------------------------------------------------------------------------------------------- */

/* Attention rows are distributions over the tokens; the last of the last blocks is what the backbone gives.
 */
static void check_extras(sm_checker *c, const sm_trial_plan *plan) {
  sm_trial t;
  backbone_trial *b = plan->ctx;
  if (!sm_trial_open(&t, c, plan, c->two)) return;
  check_shapes(c, b);
  sm_trial_run(&t);
  const sm_tensor *a = b->out.attention, *last = b->out.blocks[b->in.last_blocks - 1], *y = b->out.tokens;
  int64_t width = a->dim[a->ndim - 1], rows = sm_elements(a) / width;
  double worst = 0, apart = 0;
  for (int64_t r = 0; r < rows; r++) {
    double sum = 0;
    for (int64_t k = 0; k < width; k++) sum += sm_get(a, r * width + k);
    worst = fmax(worst, fabs(sum - 1));
  }
  if (sm_check_that(c, a->ndim == 3 && a->dim[1] == b->spec.heads && width == y->dim[1], NULL,
                    "attention is not (pictures, %d heads, tokens)", b->spec.heads) &&
      sm_check_that(c, worst < 1e-9, NULL, "rows of the attention sum to 1 only within %.1e", worst) &&
      sm_check_that(c, sm_elements(last) == sm_elements(y), NULL,
                    "blocks[%d] has another shape than the tokens", b->in.last_blocks - 1)) {
    for (int64_t k = 0; k < sm_elements(y); k++) apart = fmax(apart, fabs(sm_get(last, k) - sm_get(y, k)));
    if (sm_check_that(c, apart < 1e-9, NULL, "the last of the last blocks differs from the tokens by %.1e",
                      apart))
      sm_check_good(c, "attention and last blocks");
  }
  sm_trial_close(&t);
}

/* Hidden patches change the tokens; a mask that hides nothing changes none; fewer pictures give the same
 * first ones. */
static void check_masks_and_counts(sm_checker *c, const sm_trial_plan *plan) {
  sm_trial t;
  backbone_trial *b = plan->ctx;
  if (!sm_trial_open(&t, c, plan, c->two)) return;
  double two = sm_trial_run(&t), first = 0;
  int64_t each = sm_item_elements(t.term[0]);
  for (int64_t k = 0; k < each; k++) first += sm_get(t.term[0], k);
  if (b->in.mask) {
    sm_fill(b->in.mask, 0, sm_elements(b->in.mask), 0);
    sm_check_that(c, sm_trial_run(&t) != two, NULL, "hiding patches changes nothing");
    fill(&t);
  }
  sm_put(b->count, 1);
  sm_trial_zero_gradients(&t);
  double one = sm_trial_run(&t);
  bool ok =
      sm_check_that(c, fabs(one - first) <= 1e-12 * (1 + fabs(first)), NULL,
                    "one picture alone gives other tokens than in a batch of two (%.17g, %.17g)", one, first);
  sm_put(b->count, 0);
  sm_trial_zero_gradients(&t);
  sm_trial_run(&t);
  double most = 0;
  for (int r = 0; r < sm_set_rows(t.set[0]); r++) {
    double g;
    for (int64_t k = 0; k < sm_set_row(t.set[0], r)->size; k++)
      if (sm_set_read_f64(t.set[0], r, SM_GRADIENTS, k, 1, &g)) most = fmax(most, fabs(g));
  }
  ok = sm_check_that(c, most == 0, NULL, "a batch of no pictures leaves a gradient of %g", most) && ok;
  if (ok) sm_check_good(c, "batches of 0, 1 and 2");
  sm_trial_close(&t);
}

void sm_check_backbone(sm_checker *c, sm_instance *instance) {
  int sizes[2] = {0};
  sm_backbone_spec specs[2];
  char name[2][48];
  backbone_trial b = {.ops = instance->plugin->ops, .self = instance->self};
  int n = find_sizes(c, &b, sizes, specs);
  if (n == 0) {
    sm_check_that(c, false, NULL, "spec accepts none of the view sizes 16 to 512");
    return;
  }
  sm_check_good(c, "width %d, %d blocks", specs[0].dim, specs[0].depth);
  b.home = sizes[n - 1]; /* so that the other size needs the position embedding resized */
  b.at_home = specs[n - 1];
  for (int k = n - 1; k >= 0; k--) {
    b.size = sizes[k], b.spec = specs[k];
    b.masks = b.drop = k == n - 1;
    b.extras = false;
    snprintf(name[k], sizeof name[k], "%d px%s", sizes[k], b.masks ? " with masks" : "");
    const sm_trial_plan plan = {name[k], declare, build, fill, false, &b};
    if (!sm_trial_check(c, &plan)) return;
  }
  b.masks = b.drop = true;
  const sm_trial_plan counts = {"masks and counts", declare, build, fill, false, &b};
  check_masks_and_counts(c, &counts);
  b.masks = b.drop = false, b.extras = true;
  const sm_trial_plan extras = {"last blocks and attention", declare, build, fill, true, &b};
  check_extras(c, &extras);
}

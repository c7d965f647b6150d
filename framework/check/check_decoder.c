/* check_decoder.c — heads that decode: what they make of visible tokens has the shape that training wants,
 * gradients into weights and tokens, hidden patches without a place in the list change nothing, and a view's
 * prediction depends on that view only. */
#include <math.h>

#include "driver.h"

#define VIEWS 2
#define ROWS 2
#define COLS 3
#define CELLS (ROWS * COLS)
#define VISIBLE 2
#define HIDDEN (CELLS - VISIBLE)
#define DIM 12
#define K 10 /* where the head asks for none */
enum { PARAMS, INPUT };

typedef struct decoder_trial {
  const sm_head_ops *ops;
  void *self;
  int prefix;
  sm_head head;
  sm_tensor *place;
  sm_rows *hidden;
  int of_views; /* whose hidden patches are asked for: the first so many */
} decoder_trial;

/* Of each view: the place of a cell among the visible ones, -1 where it is hidden. */
static const int32_t places[VIEWS][CELLS] = {{-1, 0, -1, -1, 1, -1}, {0, -1, -1, -1, -1, 1}};

static bool check_decoder_declare(sm_trial *t) {
  decoder_trial *h = t->ctx;
  sm_set *set = sm_trial_set(t, PARAMS, "student", true),
         *input = set ? sm_trial_set(t, INPUT, "tokens", true) : NULL;
  if (!input) return false;
  const int asked = h->ops->out_dim(h->self, SM_SITE_PATCH, DIM);
  h->head = (sm_head){.ops = h->ops,
                      .self = h->self,
                      .params = {set, "head."},
                      .training = true,
                      .dim = DIM,
                      .patch_dim = asked > 0 ? asked : K,
                      .rows = ROWS,
                      .cols = COLS,
                      .prefix = h->prefix};
  h->ops->declare(h->self, &h->head);
  sm_declare(&(sm_params){input, ""}, "tokens", SM_INIT_NORMAL, 1, 0, 3,
             (int64_t[]){VIEWS, h->prefix + VISIBLE, DIM});
  return true;
}

static bool check_decoder_shape(sm_trial *t, const char *what, const sm_tensor *y, int64_t width) {
  char is[96];
  if (!y) sm_graph_fail(t->graph, "%s gives NULL", what);
  if (!y || !sm_graph_ok(t->graph)) return false;
  if (y->ndim == 2 && y->dim[0] == VIEWS * HIDDEN && (!width || y->dim[1] == width)) return true;
  sm_graph_fail(t->graph, "%s are %s, not (%d hidden patches, %s)", what,
                sm_shape_text(y->ndim, y->dim, is, sizeof is), VIEWS * HIDDEN, width ? "K" : "F");
  return false;
}

static void check_decoder_build(sm_trial *t) {
  decoder_trial *h = t->ctx;
  sm_graph *g = t->graph;
  h->place = sm_input(g, "place", SM_I32, 2, (int64_t[]){VIEWS, CELLS}, NULL);
  h->hidden = sm_rows_new(g, "hidden", VIEWS * HIDDEN, VIEWS, CELLS, NULL);
  const sm_decoder_in in = {.tokens = sm_param(g, &(sm_params){t->set[INPUT], ""}, "tokens"),
                            .prefix = h->prefix,
                            .place = h->place,
                            .hidden = h->hidden,
                            .rows = ROWS,
                            .cols = COLS};
  sm_tensor *features = h->ops->decode(h->self, g, &h->head, &in);
  if (!check_decoder_shape(t, "decoded features", features, 0)) return;
  sm_tensor *z = h->ops->logits(h->self, g, &h->head, features, SM_SITE_PATCH);
  if (check_decoder_shape(t, "logits", z, h->head.patch_dim)) sm_trial_score(t, z);
}

static void check_decoder_fill(sm_trial *t) {
  const decoder_trial *h = t->ctx;
  int32_t cells[VIEWS * HIDDEN];
  int n = 0;
  for (int k = 0; k < h->of_views * CELLS; k++)
    if (places[k / CELLS][k % CELLS] < 0) cells[n++] = k;
  sm_write_i32(h->place, 0, VIEWS * CELLS, &places[0][0]);
  sm_rows_set(h->hidden, cells, n);
}

static double check_decoder_first_view(const sm_trial *t) {
  double sum = 0;
  for (int64_t k = 0; k < HIDDEN * sm_item_elements(t->term[0]); k++) sum += sm_get(t->term[0], k);
  return sum;
}

/* The first view's patches alone, and none. */
static bool check_decoder_counts(sm_checker *c, decoder_trial *h) {
  sm_trial t;
  const sm_trial_plan plan = {.name = "fewer hidden patches",
                              .declare = check_decoder_declare,
                              .build = check_decoder_build,
                              .fill = check_decoder_fill,
                              .ctx = h};
  h->of_views = VIEWS;
  if (!sm_trial_open(&t, c, &plan, c->two)) return false;
  sm_trial_run(&t);
  const double first = check_decoder_first_view(&t);
  h->of_views = 1;
  check_decoder_fill(&t);
  const double one = sm_trial_run(&t);
  h->of_views = 0;
  check_decoder_fill(&t);
  const double none = sm_trial_run(&t);
  sm_trial_close(&t);
  h->of_views = VIEWS;
  return sm_check_that(c, fabs(one - first) <= 1e-12 * (1 + fabs(first)), NULL,
                       "the first view's patches asked alone are others than among all (%.17g, %.17g)", one,
                       first) &&
         sm_check_that(c, none == 0, NULL, "no hidden patches, but logits that add up to %g", none);
}

void sm_check_decoder(sm_checker *c, sm_instance *instance) {
  static const char *const names[] = {"behind a backbone without other tokens", "behind one other token",
                                      "behind three other tokens"};
  static const int prefix[] = {0, 1, 3};
  decoder_trial h = {.ops = instance->plugin->ops, .self = instance->self, .of_views = VIEWS};
  for (int k = 0; k < (c->thorough ? 3 : 1); k++) {
    h.prefix = prefix[c->thorough ? k : 1];
    const sm_trial_plan plan = {.name = names[c->thorough ? k : 1],
                                .declare = check_decoder_declare,
                                .build = check_decoder_build,
                                .fill = check_decoder_fill,
                                .ctx = &h};
    if (!sm_trial_check(c, &plan)) return;
    if (!c->heavy && !check_decoder_counts(c, &h)) return;
  }
  sm_check_good(c, "decodes hidden patches, all of them or some");
}

/* check_backbone.c — backbones: what spec says is what build gives, at two sizes of square pictures and at
 * oblong ones; gradients, masks, drop path, chosen patches, blocks, attention, batches that are not full, batch norm.
 *
 * A question (struct question) is what one trial asks for; the same weights and pictures come in every trial,
 * so the answers to two questions may be compared. */
#include <math.h>
#include <string.h>

#include "driver.h"

#define PICTURES 2

typedef struct picture_size {
  int height, width;
  sm_backbone_spec spec;
} picture_size;

typedef struct question {
  bool masks, drop, view, patches, only, attention, score, training;
  int blocks; /* the last so many: raw, then after the norm */
} question;

typedef struct backbone_trial {
  const sm_backbone_ops *ops;
  const void *self;
  picture_size home; /* that parameters are declared for */
  picture_size at;   /* of this trial's pictures         */
  question ask;
  sm_backbone_in in;
  sm_backbone_out out;
  sm_rows *only;
  sm_tensor *count;
} backbone_trial;

/* ---- spec ---------------------------------------------------------------------------------------------- */

/* One field: its name, its value and what it should be. */
static bool check_backbone_field(sm_checker *c, const picture_size *at, bool ok, const char *name,
                                 double value, const char *rule) {
  return sm_check_that(c, ok, NULL, "spec(%d x %d): %s is %g; %s", at->height, at->width, name, value, rule);
}

static bool check_spec_grid(sm_checker *c, const picture_size *at) {
  const sm_backbone_spec *s = &at->spec;
  char rule[96];
  if (!check_backbone_field(c, at, s->dim > 0, "dim", s->dim,
                            "it is the width of view and patches, at least 1") ||
      !check_backbone_field(c, at, s->cell > 0, "cell", s->cell,
                            "it is the side of a patch in pixels, at least 1"))
    return false;
  snprintf(rule, sizeof rule, "%d pixels in cells of %d are %d", at->height, s->cell, at->height / s->cell);
  if (!check_backbone_field(c, at, s->rows * s->cell == at->height, "rows", s->rows, rule)) return false;
  snprintf(rule, sizeof rule, "%d pixels in cells of %d are %d", at->width, s->cell, at->width / s->cell);
  return check_backbone_field(c, at, s->cols * s->cell == at->width, "cols", s->cols, rule) &&
         check_backbone_field(c, at, s->heads >= 0, "heads", s->heads,
                              "0 says that there is no attention to look at");
}

static int check_backbone_blocks_of(const sm_backbone_spec *s) { return s->blocks ? s->blocks : 1; }

/* What the spec says of a block, with the zeros filled in. */
static sm_block_spec check_backbone_block_of(const sm_backbone_spec *s, int block) {
  sm_block_spec b = s->block[block];
  return (sm_block_spec){b.dim ? b.dim : s->dim, b.rows ? b.rows : s->rows, b.cols ? b.cols : s->cols};
}

static bool check_spec_blocks(sm_checker *c, const picture_size *at) {
  const sm_backbone_spec *s = &at->spec;
  char name[32];
  if (!check_backbone_field(c, at, s->blocks >= 0 && s->blocks <= SM_BLOCKS_MAX, "blocks", s->blocks,
                            "0 … 64 are allowed"))
    return false;
  for (int k = 0; k < check_backbone_blocks_of(s); k++) {
    const int of[] = {s->block[k].dim, s->block[k].rows, s->block[k].cols},
              last[] = {s->dim, s->rows, s->cols};
    for (int j = 0; j < 3; j++) {
      static const char *const names[] = {"dim", "rows", "cols"};
      snprintf(name, sizeof name, "block[%d].%s", k, names[j]);
      if (!check_backbone_field(c, at, of[j] >= 0, name, of[j], "0 says: as the backbone's") ||
          !check_backbone_field(
              c, at, k < check_backbone_blocks_of(s) - 1 || !of[j] || of[j] == last[j], name, of[j],
              "the last block's is what view and patches are made of, so it must be the backbone's"))
        return false;
    }
  }
  return true;
}

static bool check_spec_layers(sm_checker *c, const picture_size *at) {
  const sm_backbone_spec *s = &at->spec;
  char name[32];
  if (!check_backbone_field(c, at, s->layers >= 0, "layers", s->layers,
                            "it is what sm_declare_layer counts to") ||
      !check_backbone_field(c, at, s->drop_sites >= 0 && s->drop_sites <= SM_SITES_MAX, "drop_sites",
                            s->drop_sites, "0 … 256 are allowed") ||
      !check_backbone_field(c, at, s->drop_columns >= 0 && s->drop_columns <= SM_SITES_MAX, "drop_columns",
                            s->drop_columns, "0 … 256 are allowed") ||
      !check_backbone_field(c, at, !s->drop_sites || !s->drop_columns || s->drop_sites == s->drop_columns,
                            "drop_columns", s->drop_columns,
                            "the drop-path input has as many columns as drop_sites, or none is 0"))
    return false;
  for (int k = 0; k < s->drop_sites; k++) {
    snprintf(name, sizeof name, "drop_rate[%d]", k);
    if (!check_backbone_field(c, at, s->drop_rate[k] >= 0 && s->drop_rate[k] < 1, name, s->drop_rate[k],
                              "a branch is dropped with a chance from 0 to below 1"))
      return false;
  }
  for (int k = 0; k < s->drop_columns; k++) {
    snprintf(name, sizeof name, "drop_layer[%d]", k);
    if (!check_backbone_field(c, at, s->drop_layer[k] >= 1 && s->drop_layer[k] <= s->layers, name,
                              s->drop_layer[k], "layers are counted from 1 to spec's `layers`"))
      return false;
  }
  return true;
}

/* Asked twice; false if it is refused (with words, else a line says so) or wrong. */
static bool check_backbone_ask_spec(sm_checker *c, const backbone_trial *b, picture_size *at, bool *wrong,
                                    sm_error *err) {
  sm_backbone_spec again = {0};
  memset(err, 0, sizeof *err);
  memset(&at->spec, 0, sizeof at->spec);
  *wrong = false;
  if (b->ops->spec(b->self, at->height, at->width, &at->spec, err) != SM_OK) {
    *wrong = !sm_check_that(c, err->message[0] != 0, NULL, "spec(%d x %d) is refused without a reason",
                            at->height, at->width);
    return false;
  }
  sm_error second = {0};
  b->ops->spec(b->self, at->height, at->width, &again, &second);
  *wrong = !check_spec_grid(c, at) || !check_spec_blocks(c, at) || !check_spec_layers(c, at) ||
           !sm_check_that(c, memcmp(&again, &at->spec, sizeof again) == 0, NULL,
                          "spec(%d x %d) differs when asked twice", at->height, at->width);
  return !*wrong;
}

/* The two smallest squares that the backbone accepts; how many there are, -1 after a complaint. */
static int check_backbone_find_sizes(sm_checker *c, const backbone_trial *b, picture_size found[2]) {
  static const int candidates[] = {16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256, 384, 512};
  sm_error err;
  bool wrong;
  int n = 0;
  for (size_t k = 0; k < sizeof candidates / sizeof *candidates && n < 2; k++) {
    found[n].height = found[n].width = candidates[k];
    if (check_backbone_ask_spec(c, b, &found[n], &wrong, &err)) n++;
    else if (wrong) return -1;
  }
  sm_check_that(c, n > 0, NULL,
                "spec accepts none of the picture sizes 16 x 16 to 512 x 512; the last answer: %s",
                err.message);
  return n;
}

/* ---- the graph ----------------------------------------------------------------------------------------- */

static bool check_backbone_declare(sm_trial *t) {
  const backbone_trial *b = t->ctx;
  sm_set *set = sm_trial_set(t, 0, "student", true);
  if (set) b->ops->declare(b->self, b->home.height, b->home.width, &(sm_params){set, "backbone."});
  return set != NULL;
}

/* Every third cell of a picture from the second on is hidden; the first instead of the second, where
 * `other`. */
static bool check_backbone_hides(int cell, bool other) {
  return other && cell < 2 ? cell == 0 : cell % 3 == 1;
}

/* Where hidden cells are dropped: those that are not, of each picture. */
static int check_backbone_visible(const sm_backbone_spec *s, bool other, int32_t *cells) {
  int n = 0;
  for (int k = 0; k < s->rows * s->cols; k++)
    if (!check_backbone_hides(k, other)) {
      if (cells) cells[n] = k;
      n++;
    }
  return n;
}

static void check_backbone_ask(backbone_trial *b, sm_graph *g) {
  const sm_backbone_spec *s = &b->at.spec;
  const question *q = &b->ask;
  int columns = s->drop_sites > s->drop_columns ? s->drop_sites : s->drop_columns;
  int64_t n = (int64_t)s->rows * s->cols, pictures[] = {PICTURES, 3, b->at.height, b->at.width},
          mask[] = {PICTURES, n}, drop[] = {PICTURES, columns};
  b->count = sm_count(g, "pictures.count", PICTURES);
  b->only = q->only ? sm_rows_new(g, "only", PICTURES * n, PICTURES, n, b->count) : NULL;
  b->in = (sm_backbone_in){.pictures = sm_input_real(g, "pictures", 4, pictures, b->count),
                           .mask = q->masks ? sm_input(g, "mask", SM_U8, 2, mask, b->count) : NULL,
                           .drop = q->drop && columns ? sm_input_real(g, "drop", 2, drop, b->count) : NULL,
                           .training = q->training,
                           .view = q->view,
                           .patches = q->patches,
                           .only = b->only,
                           .attention = q->attention && s->heads,
                           .qkv = q->attention && s->heads};
  if (s->drops && q->masks) { /* hidden patches are not there to be asked for */
    const int64_t visible[] = {PICTURES, check_backbone_visible(s, false, NULL)};
    b->in.visible = sm_input(g, "visible", SM_I32, 2, visible, b->count);
    b->in.mask = NULL, b->in.only = b->only = NULL;
    b->in.patches = false, b->in.tokens = true;
  }
  int first = check_backbone_blocks_of(s) - q->blocks < 0 ? 0 : check_backbone_blocks_of(s) - q->blocks;
  for (int k = first; k < check_backbone_blocks_of(s); k++)
    for (int raw = 1; raw >= 0; raw--) b->in.block[b->in.blocks++] = (sm_block_wish){k, raw};
}

/* An answer: of this shape, and wanted. dim[0] 0: as many rows as `only` holds. */
static void check_backbone_expect(backbone_trial *b, sm_trial *t, bool wanted, sm_tensor *y, int ndim,
                                  const int64_t *dim, const char *fmt, ...) SM_PRINTF(7, 8);
static void check_backbone_expect(backbone_trial *b, sm_trial *t, bool wanted, sm_tensor *y, int ndim,
                                  const int64_t *dim, const char *fmt, ...) {
  char what[64], is[96], should[96];
  va_list args;
  if (!wanted || !sm_graph_ok(t->graph)) return;
  va_start(args, fmt);
  vsnprintf(what, sizeof what, fmt, args);
  va_end(args);
  if (!y) {
    sm_graph_fail(t->graph, "out->%s was asked for, but is NULL", what);
    return;
  }
  bool same = y->ndim == ndim;
  for (int k = 0; same && k < ndim; k++) same = y->dim[k] == dim[k];
  if (!same) {
    sm_graph_fail(t->graph, "out->%s is %s, but spec(%d x %d) says %s", what,
                  sm_shape_text(y->ndim, y->dim, is, sizeof is), b->at.height, b->at.width,
                  sm_shape_text(ndim, dim, should, sizeof should));
    return;
  }
  sm_keep(t->graph, y);
  if (b->ask.score) sm_trial_score(t, y);
}

static void check_backbone_build(sm_trial *t) {
  backbone_trial *b = t->ctx;
  const sm_backbone_spec *s = &b->at.spec;
  int64_t n = (int64_t)s->rows * s->cols, rows[] = {PICTURES * n, s->dim}, view[] = {PICTURES, s->dim},
          all[] = {PICTURES, n, s->dim};
  b->out = (sm_backbone_out){0};
  check_backbone_ask(b, t->graph);
  b->ops->build(b->self, t->graph, &(sm_params){t->set[0], "backbone."}, &b->in, &b->out);
  check_backbone_expect(b, t, b->in.view, b->out.view, 2, view, "view");
  check_backbone_expect(b, t, b->in.patches, b->out.patches, b->only ? 2 : 3, b->only ? rows : all,
                        "patches");
  if (b->in.tokens)
    check_backbone_expect(b, t, true, b->out.tokens, 3,
                          (int64_t[]){PICTURES, s->prefix + b->in.visible->dim[1], s->dim}, "tokens");
  for (int k = 0; k < b->in.blocks; k++) {
    sm_block_spec of = check_backbone_block_of(s, b->in.block[k].block);
    int64_t block_view[] = {PICTURES, of.dim}, block[] = {PICTURES, (int64_t)of.rows * of.cols, of.dim};
    const char *raw = b->in.block[k].raw ? "raw" : "normed";
    check_backbone_expect(b, t, b->in.view, b->out.block[k].view, 2, block_view,
                          "block[%d].view (block %d, %s)", k, b->in.block[k].block, raw);
    check_backbone_expect(b, t, b->in.patches, b->out.block[k].patches, 3, block,
                          "block[%d].patches (block %d, %s)", k, b->in.block[k].block, raw);
  }
  check_backbone_expect(b, t, b->in.attention, b->out.attention, 3, (int64_t[]){PICTURES, s->heads, n},
                        "attention");
  check_backbone_expect(b, t, b->in.qkv, b->out.qkv, 3, (int64_t[]){PICTURES, n, 3 * s->dim}, "qkv");
}

/* Every third patch from the second on, of the flat list over all pictures. */
static int check_backbone_list_patches(const backbone_trial *b, int32_t *cells, int room) {
  int n = 0, all = PICTURES * b->at.spec.rows * b->at.spec.cols;
  for (int k = 1; k < all && n < room; k += 3) cells[n++] = k;
  return n;
}

#define LISTED 512
static void check_backbone_hide(const backbone_trial *b, bool other) {
  const sm_backbone_spec *s = &b->at.spec;
  int32_t cells[LISTED];
  if (!b->in.visible || s->rows * s->cols > LISTED) return;
  const int n = check_backbone_visible(s, other, cells);
  for (int k = 0; k < PICTURES; k++) sm_write_i32(b->in.visible, (int64_t)k * n, n, cells);
}

/* Pictures like normalised ones; a third of the patches hidden, which is also what `only` lists; one branch
 * in four dropped. */
static void check_backbone_fill(sm_trial *t) {
  const backbone_trial *b = t->ctx;
  int32_t cells[LISTED];
  sm_fill_normal(b->in.pictures, 1, 1);
  if (b->in.mask)
    for (int64_t k = 0; k < sm_elements(b->in.mask); k++) sm_fill(b->in.mask, k, 1, k % 3 == 1);
  check_backbone_hide(b, false);
  if (b->in.drop)
    for (int64_t k = 0; k < sm_elements(b->in.drop); k++) sm_fill(b->in.drop, k, 1, k % 4 == 2 ? 0 : 1.25);
  if (b->only) sm_rows_set(b->only, cells, check_backbone_list_patches(b, cells, LISTED));
}

static sm_trial_plan check_backbone_plan_of(backbone_trial *b, const char *name, const picture_size *at,
                                            question check_backbone_ask) {
  b->at = *at, b->ask = check_backbone_ask;
  return (sm_trial_plan){.name = name,
                         .declare = check_backbone_declare,
                         .build = check_backbone_build,
                         .fill = check_backbone_fill,
                         .no_gradient = !check_backbone_ask.score,
                         .ctx = b};
}

/* ---- runs ---------------------------------------------------------------------------------------------- */

/* Values of a tensor after a run; NULL: none, or no memory. */
static double *check_backbone_copy_of(const sm_tensor *y) {
  int64_t n = y ? sm_elements(y) : 0;
  double *copy = n ? sm_malloc((size_t)n * sizeof *copy) : NULL;
  for (int64_t k = 0; copy && k < n; k++) copy[k] = sm_get(y, k);
  return copy;
}

/* The largest difference between a tensor's rows and rows of a copy: row k is row list[k], or k without a
 * list. */
static double check_backbone_apart(const sm_tensor *y, const double *all, int64_t rows, const int32_t *list) {
  double worst = 0;
  int64_t d = y->dim[y->ndim - 1];
  for (int64_t k = 0; k < rows; k++)
    for (int64_t j = 0; j < d; j++)
      worst = fmax(worst, fabs(sm_get(y, k * d + j) - all[(list ? list[k] : k) * d + j]));
  return worst;
}

/* Less asked for is the same: only the view, only the patches, only some patches. */
static void check_less(sm_checker *c, backbone_trial *b, const picture_size *at, const double *view,
                       const double *patches) {
  static const struct {
    const char *name;
    question ask;
  } less[] = {{"view alone", {.view = true}},
              {"patches alone", {.patches = true}},
              {"view and some patches", {.view = true, .patches = true, .only = true}}};
  for (size_t k = 0; k < sizeof less / sizeof *less; k++) {
    sm_trial t;
    int32_t cells[LISTED];
    const sm_trial_plan plan = check_backbone_plan_of(b, less[k].name, at, less[k].ask);
    if (!sm_trial_open(&t, c, &plan, c->two)) return;
    sm_trial_run(&t);
    int64_t n = check_backbone_list_patches(b, cells, LISTED),
            rows = b->only ? n : (int64_t)PICTURES * at->spec.rows * at->spec.cols;
    double off_view = b->in.view ? check_backbone_apart(b->out.view, view, PICTURES, NULL) : 0;
    double off =
        b->in.patches ? check_backbone_apart(b->out.patches, patches, rows, b->only ? cells : NULL) : 0;
    bool ok = sm_check_that(c, off_view < 1e-9, NULL,
                            "%s: out->view differs by %.1e from what it is when everything is asked for",
                            plan.name, off_view) &&
              sm_check_that(c, off < 1e-9, NULL,
                            "%s: out->patches differs by %.1e from what it is when everything is asked for%s",
                            plan.name, off, b->only ? "; row k is cell only->token[k] of (B, N)" : "");
    sm_trial_close(&t);
    if (!ok) return;
  }
  sm_check_good(c, "view, patches and chosen patches apart");
}

/* Attention rows are shares of at most 1. */
static bool check_attention(sm_checker *c, const backbone_trial *b) {
  const sm_tensor *a = b->out.attention;
  int64_t n = a->dim[2];
  double most = 0, least = 0;
  for (int64_t r = 0; r < a->dim[0] * a->dim[1]; r++) {
    double sum = 0;
    for (int64_t k = 0; k < n; k++) sum += sm_get(a, r * n + k), least = fmin(least, sm_get(a, r * n + k));
    most = fmax(most, sum);
  }
  return sm_check_that(c, least >= 0, NULL, "out->attention has a weight of %g, below 0", least) &&
         sm_check_that(c, most > 0 && most < 1 + 1e-9, NULL,
                       "a row of out->attention adds up to %.9g, not to at most 1", most);
}

/* Everything at once: all blocks that one pass may ask for, attention, qkv. */
static void check_everything(sm_checker *c, backbone_trial *b, const picture_size *at) {
  sm_trial t;
  const sm_trial_plan plan = check_backbone_plan_of(
      b, "blocks and attention", at,
      (question){.view = true, .patches = true, .attention = true, .blocks = SM_WISHES_MAX / 2});
  if (!sm_trial_open(&t, c, &plan, c->two)) return;
  sm_trial_run(&t);
  const sm_block_out *last = &b->out.block[b->in.blocks - 1]; /* the last block after the norm */
  double *view = check_backbone_copy_of(b->out.view), *patches = check_backbone_copy_of(b->out.patches);
  int64_t n = (int64_t)PICTURES * at->spec.rows * at->spec.cols;
  bool ok = view && patches;
  if (ok) {
    double off_view = check_backbone_apart(last->view, view, PICTURES, NULL),
           off = check_backbone_apart(last->patches, patches, n, NULL);
    ok =
        sm_check_that(c, off_view < 1e-9, NULL,
                      "the view of the last block after the norm differs by %.1e from out->view", off_view) &&
        sm_check_that(c, off < 1e-9, NULL,
                      "the patches of the last block after the norm differ by %.1e from out->patches", off) &&
        (!at->spec.heads || check_attention(c, b));
  }
  sm_trial_close(&t);
  if (ok) {
    sm_check_good(c, at->spec.heads ? "blocks, attention and qkv" : "blocks (no attention)");
    check_less(c, b, at, view, patches);
  }
  sm_free(view);
  sm_free(patches);
}

static double check_backbone_most_gradient(sm_trial *t) {
  double most = 0, g;
  for (int r = 0; r < sm_set_rows(t->set[0]); r++)
    for (int64_t k = 0;
         k < sm_set_row(t->set[0], r)->size && sm_set_read_f64(t->set[0], r, SM_GRADIENTS, k, 1, &g); k++)
      most = fmax(most, fabs(g));
  return most;
}

/* Hidden patches change the answers; a batch of one picture gives what it gave among two, and one of none
 * leaves no gradient. */
static void check_masks_and_counts(sm_checker *c, backbone_trial *b, const picture_size *at) {
  sm_trial t;
  const sm_trial_plan plan = check_backbone_plan_of(
      b, "masks and counts", at,
      (question){.view = true, .patches = true, .masks = true, .drop = true, .score = true});
  if (!sm_trial_open(&t, c, &plan, c->two)) return;
  double two = sm_trial_run(&t), first = 0;
  for (int term = 0; term < t.terms; term++)
    for (int64_t k = 0; k < sm_item_elements(t.term[term]); k++) first += sm_get(t.term[term], k);
  if (b->in.mask) sm_fill(b->in.mask, 0, sm_elements(b->in.mask), 0);
  else check_backbone_hide(b, true);
  bool ok = sm_check_that(c, sm_trial_run(&t) != two, NULL,
                          "hiding %spatches changes neither view nor patches: in->%s is not looked at",
                          b->in.mask ? "" : "other ", b->in.mask ? "mask" : "visible");
  check_backbone_fill(&t);
  sm_put(b->count, 1);
  sm_trial_zero_gradients(&t);
  double one = sm_trial_run(&t);
  ok = sm_check_that(
           c, fabs(one - first) <= 1e-12 * (1 + fabs(first)), NULL,
           "one picture alone gives another view or other patches than in a batch of two (%.17g, %.17g)", one,
           first) &&
       ok;
  sm_put(b->count, 0);
  sm_trial_zero_gradients(&t);
  sm_trial_run(&t);
  double most = check_backbone_most_gradient(&t);
  ok = sm_check_that(c, most == 0, NULL, "a batch of no pictures leaves a gradient of %g", most) && ok;
  if (ok) sm_check_good(c, "batches of 0, 1 and 2");
  sm_trial_close(&t);
}

/* In training: gradients; a picture alone as among others unless spec says batch_norm; and a running state
 * that a pass alone leaves as it is. */
static bool check_training(sm_checker *c, backbone_trial *b, const picture_size *at) {
  sm_trial t;
  uint64_t before, after;
  const sm_trial_plan plan = check_backbone_plan_of(
      b, "in training", at, (question){.view = true, .patches = true, .score = true, .training = true});
  if (!sm_trial_check(c, &plan)) return false;
  if (!sm_trial_open(&t, c, &plan, c->two)) return false;
  const int running = sm_trial_running(&t, 0, &before);
  double first = 0;
  sm_trial_run(&t);
  for (int term = 0; term < t.terms; term++)
    for (int64_t k = 0; k < sm_item_elements(t.term[term]); k++) first += sm_get(t.term[term], k);
  sm_trial_running(&t, 0, &after);
  bool ok = sm_check_that(c, after == before, NULL,
                          "a running state moves while a pass runs; only sm_running_update may move it");
  sm_put(b->count, 1);
  const double one = sm_trial_run(&t);
  const bool alone = fabs(one - first) <= 1e-12 * (1 + fabs(first));
  ok = sm_check_that(c, alone || at->spec.batch_norm, NULL,
                     "in training a picture's answer depends on the others of its batch; spec must say batch_norm") &&
       sm_check_that(c, !running || at->spec.batch_norm, NULL,
                     "a parameter is declared as a running state; spec must say batch_norm") &&
       ok;
  sm_trial_close(&t);
  if (ok && at->spec.batch_norm)
    sm_check_good(c, "batch norm, %d running %s", running, sm_plural(running, "state", "states"));
  return ok;
}

/* Oblong pictures, higher than wide; a backbone may refuse them with a reason. */
static bool check_oblong(sm_checker *c, backbone_trial *b, const picture_size sizes[2]) {
  picture_size oblong = {.height = sizes[1].height, .width = sizes[0].width};
  sm_error err;
  bool wrong;
  char name[48];
  if (!check_backbone_ask_spec(c, b, &oblong, &wrong, &err)) {
    if (!wrong)
      sm_check_note(c, "%d x %d pictures are refused (%s); the contract wants oblong ones to work",
                    oblong.height, oblong.width, err.message);
    return !wrong;
  }
  snprintf(name, sizeof name, "%d x %d px", oblong.height, oblong.width);
  const sm_trial_plan plan = check_backbone_plan_of(
      b, name, &oblong, (question){.view = true, .patches = true, .masks = true, .score = true});
  if (!sm_trial_check(c, &plan)) return false;
  sm_check_good(c, "oblong pictures");
  return true;
}

static bool check_squares(sm_checker *c, backbone_trial *b, const picture_size *sizes, int n) {
  char name[48];
  for (int k = n - 1; k >= 0; k--) {
    bool home = k == n - 1; /* the other one needs what is declared for a size resized */
    question check_backbone_ask = {.view = true,
                                   .patches = true,
                                   .masks = home,
                                   .drop = home,
                                   .only = home,
                                   .blocks = home ? 0 : 2,
                                   .score = true};
    snprintf(name, sizeof name, "%d px%s", sizes[k].height, home ? " with masks" : "");
    const sm_trial_plan plan = check_backbone_plan_of(b, name, &sizes[k], check_backbone_ask);
    if (!sm_trial_check(c, &plan)) return false;
  }
  return true;
}

/* A size is either like every other, or stands alone. */
static bool check_one_grid(sm_checker *c, const picture_size sizes[2], int n) {
  if (n == 2 && !sm_check_that(c, sizes[0].spec.one_grid == sizes[1].spec.one_grid, NULL,
                               "one_grid is %s at %d px, but %s at %d px; it is for all sizes or for none",
                               sizes[0].spec.one_grid ? "true" : "false", sizes[0].height,
                               sizes[1].spec.one_grid ? "true" : "false", sizes[1].height))
    return false;
  if (sizes[0].spec.one_grid) sm_check_note(c, "one grid only: other sizes and oblong pictures are not tried");
  return true;
}

/* Parameters belong to layers that spec counts: 0 before the first, layers + 1 behind the last. */
static bool check_layers(sm_checker *c, backbone_trial *b, const picture_size *at) {
  sm_error err;
  sm_set *set = sm_set_new("student", SM_F64, true, &err);
  if (!set) return sm_check_error(c, "declare", &err);
  b->ops->declare(b->self, at->height, at->width, &(sm_params){set, "backbone."});
  bool ok = true;
  for (int r = 0; ok && r < sm_set_rows(set); r++) {
    const sm_row *row = sm_set_row(set, r);
    ok = sm_check_that(
        c, row->layer >= 0 && row->layer <= at->spec.layers + 1, NULL,
        "'%s' is declared in layer %d, but spec counts %d layers (0 is before the first, %d behind the last)",
        row->name, row->layer, at->spec.layers, at->spec.layers + 1);
  }
  sm_set_free(set);
  return ok;
}

void sm_check_backbone(sm_checker *c, sm_instance *instance) {
  backbone_trial b = {.ops = instance->plugin->ops, .self = instance->self};
  picture_size sizes[2];
  int n = check_backbone_find_sizes(c, &b, sizes);
  if (n < 1 || !check_one_grid(c, sizes, n)) return;
  if (sizes[0].spec.one_grid) n = 1;
  b.home = sizes[n - 1];
  sm_check_good(c, "width %d, %d %s, grid %d x %d at %d px", b.home.spec.dim,
                check_backbone_blocks_of(&b.home.spec),
                sm_plural(check_backbone_blocks_of(&b.home.spec), "block", "blocks"), b.home.spec.rows,
                b.home.spec.cols, b.home.height);
  if (!check_layers(c, &b, &b.home) || !check_squares(c, &b, sizes, n) ||
      (n == 2 && !check_oblong(c, &b, sizes)))
    return;
  if (!check_training(c, &b, &b.home)) return;
  check_masks_and_counts(c, &b, &sizes[n - 1]);
  check_everything(c, &b, &sizes[0]);
}

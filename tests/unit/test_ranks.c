/* test_ranks.c — what ranks do together: sums have the bits of the tree for any number of ranks, cost the messages that
 * they should, and all agree, also where one of them fails, or is lost. */
#include <math.h>
#include <unistd.h>

#include "framework/ranks/link.h"
#include "framework/nn/pieces.h"
#include "hub.h"
#include "row_rig.h"
#include "step_rig.h"

/* ---- sums ---------------------------------------------------------------------------------------------- */

enum { LEAVES = 8 };

/* What a rank begins with: the sums of its nodes. */
typedef struct numbers {
  int64_t n;
  float *node[SM_RANKS_NODES]; /* the last is x */
  int nodes;
  sm_ranks_tree *tree;
} numbers;

static float leaf(int which, int64_t i) {
  const uint64_t x = ((uint64_t)i * LEAVES + (uint64_t)which + 1) * 0x9e3779b97f4a7c15;
  return (float)(int64_t)(x ^ x >> 29) * (i % 7 ? 1e-19f : 1e-15f);
}

static void add(void *ctx, void *to, const void *from, int64_t first, int64_t n) {
  const numbers *own = ctx;
  float *x = to;
  const float *theirs = from;
  assert_true(first >= 0 && first + n <= own->n);
  for (int64_t i = 0; i < n; i++) x[i] += theirs[i];
}

static float *end_of(const numbers *own) { return own->node[own->nodes - 1]; }

static sm_ranks_values values_of(numbers *own) {
  return (sm_ranks_values){
      .x = end_of(own), .aside = (void *const *)own->node, .size = sizeof(float), .add = add, .ctx = own};
}

static void sum(sm_ranks *ranks, void *ctx) {
  numbers *own = ctx;
  const sm_ranks_values values = values_of(own);
  sm_error err = {0};
  must(sm_ranks_sum(ranks, own->tree, &values, own->n, &err), &err);
}

/* The sum of a node at i as the tree says; that of all is (0, 3). */
static float tree(int first, int level, int64_t i) {
  return level ? tree(first, level - 1, i) + tree(first + (1 << (level - 1)), level - 1, i) : leaf(first, i);
}

/* Part by part, in another order, while ranks speak of other things; what is not ready is not touched. */
static void sum_in_parts(sm_ranks *ranks, void *ctx) {
  enum { LAST = 7 };
  numbers *own = ctx;
  const sm_ranks_part part[] = {{own->n - LAST, LAST}, {0, 3}, {3, own->n - 3 - LAST}};
  const sm_ranks_values values = values_of(own);
  const float before = end_of(own)[3];
  sm_error err = {0};
  bool flag = false;
  sm_ranks_sum_begin(ranks, own->tree, &values, part, 3);
  for (int ready = 1; ready < 3; ready++) {
    sm_ranks_sum_ready(ranks, ready);
    for (int i = 0; i < 100 * sm_ranks_rank(ranks); i++) sm_ranks_sum_go_on(ranks);
    must(sm_ranks_any(ranks, &flag, &err), &err);
    assert_false(flag);
  }
  assert_true(end_of(own)[3] == before);
  must(sm_ranks_sum_end(ranks, &err), &err);
  must(sm_ranks_any(ranks, &flag, &err), &err);
}

static void numbers_make(numbers *own, int ranks, int rank, int64_t n) {
  sm_ranks_node node[SM_RANKS_NODES];
  sm_error err = {0};
  *own = (numbers){.n = n};
  own->nodes = sm_ranks_nodes(sm_ranks_first(LEAVES, ranks, rank), sm_ranks_first(LEAVES, ranks, rank + 1), node);
  for (int k = 0; k < own->nodes; k++) {
    own->node[k] = malloc((size_t)n * sizeof(float) + 1);
    for (int64_t i = 0; i < n; i++) own->node[k][i] = tree(node[k].first, node[k].level, i);
  }
  must(sm_ranks_tree_new(LEAVES, ranks, &own->tree, &err), &err);
}

static void numbers_free(numbers *own) {
  for (int k = 0; k < own->nodes; k++) free(own->node[k]);
  sm_ranks_tree_free(own->tree);
}

static void check_sum(void (*work)(sm_ranks *, void *), int ranks, int64_t n) {
  const sm_ranks_options options = {.patience = 60};
  numbers own[LEAVES];
  int nodes = 0;
  for (int r = 0; r < ranks; r++) {
    numbers_make(&own[r], ranks, r, n);
    nodes += own[r].nodes;
  }
  const int64_t sent = hub_run(ranks, &options, work, own, sizeof *own);
  for (int64_t i = 0; i < n; i++) {
    const float wanted = tree(0, 3, i);
    for (int r = 0; r < ranks; r++) assert_true(end_of(&own[r])[i] == wanted);
  }
  /* each node goes to who adds it, but for that rank's own, and each sum to the others */
  const int64_t twice = 2 * (ranks - 1) * n, all = nodes > ranks ? (nodes + ranks) * n * (ranks - 1) / ranks : twice,
                least = all * (int64_t)sizeof(float), words = 20000 + nodes * ranks * (int64_t)sizeof(float);
  assert_true(sent >= least - nodes * ranks * (int64_t)sizeof(float) && sent < least + words);
  for (int r = 0; r < ranks; r++) numbers_free(&own[r]);
}

static void sums_have_the_bits_of_the_tree(void **state) {
  static const int64_t n[] = {0, 1, 2, 5, 8, 1001};
  (void)state;
  for (int ranks = 1; ranks <= LEAVES; ranks++)
    for (size_t i = 0; i < sizeof n / sizeof *n; i++) check_sum(sum, ranks, n[i]);
  check_sum(sum, 2, 2200003); /* halves of more than one block, and of different lengths */
  check_sum(sum, 3, 3500003); /* slices of more than one block */
}

static void parts_have_the_same_bits(void **state) {
  (void)state;
  for (int ranks = 1; ranks <= LEAVES; ranks++) check_sum(sum_in_parts, ranks, 1001);
  check_sum(sum_in_parts, 2, 2200003);
}

/* Runs are of nearly one length, and are the sum of as few nodes as can be. */
static void runs_are_nodes_of_the_tree(void **state) {
  (void)state;
  for (int leaves = 1; leaves <= 64; leaves *= 2)
    for (int ranks = 1; ranks <= leaves; ranks++)
      for (int rank = 0; rank < ranks; rank++) {
        sm_ranks_node node[SM_RANKS_NODES];
        const int first = sm_ranks_first(leaves, ranks, rank), end = sm_ranks_first(leaves, ranks, rank + 1);
        const int nodes = sm_ranks_nodes(first, end, node);
        int at = first;
        assert_true(end - first == leaves / ranks || end - first == leaves / ranks + 1);
        for (int k = 0; k < nodes; k++) {
          assert_int_equal(node[k].first, at);
          assert_int_equal(at % (1 << node[k].level), 0);
          assert_false(k && sm_ranks_siblings(node[k - 1], node[k]));
          at += 1 << node[k].level;
        }
        assert_int_equal(at, end);
        assert_true(nodes == 1 || (ranks & (ranks - 1)));
      }
}

/* The other has more to send, which is a fault of the messages: the next word says so, whatever it is. */
static void sum_unevenly(sm_ranks *ranks, void *ctx) {
  numbers *own = ctx;
  const sm_ranks_part part = {0, own->n - 2 * sm_ranks_rank(ranks)};
  const sm_ranks_values values = values_of(own);
  const char *wanted = sm_ranks_rank(ranks) ? "rank 0 (" : "rank 1 (";
  sm_error err = {0};
  bool flag = false;
  sm_ranks_sum_begin(ranks, own->tree, &values, &part, 1);
  sm_ranks_sum_ready(ranks, 1);
  while (!sm_ranks_lost(ranks)) sm_ranks_sum_go_on(ranks);
  assert_int_equal(sm_ranks_any(ranks, &flag, &err), SM_ELOST);
  assert_true(!strncmp(err.message, wanted, strlen(wanted)));
  assert_non_null(strstr(err.message, "was lost: a message of another size"));
  sm_error_clear(&err);
  assert_int_equal(sm_ranks_sum_end(ranks, &err), SM_ELOST);
  assert_true(!strncmp(err.message, wanted, strlen(wanted)));
}

static void a_rank_lost_behind_is_named_by_the_next_word(void **state) {
  numbers own[2];
  (void)state;
  for (int r = 0; r < 2; r++) numbers_make(&own[r], 2, r, 8);
  hub_run(2, &(sm_ranks_options){.patience = 60}, sum_unevenly, own, sizeof *own);
  for (int r = 0; r < 2; r++) numbers_free(&own[r]);
}

static sm_sum_cost cost_of(int leaves, int ranks, int64_t n) {
  sm_ranks_tree *tree = NULL;
  sm_error err = {0};
  must(sm_ranks_tree_new(leaves, ranks, &tree, &err), &err);
  const sm_sum_cost cost = sm_ranks_sum_cost(tree, n, sizeof(float));
  sm_ranks_tree_free(tree);
  return cost;
}

/* What a sum sends is known before: of equal parts each of 2^k ranks sends 2 · (1 - 1 / ranks) of all. */
static void what_a_sum_sends(void **state) {
  (void)state;
  for (int ranks = 1; ranks <= 64; ranks *= 2) {
    const sm_sum_cost c = cost_of(64, ranks, 1024);
    assert_true(c.sent == 2 * (ranks - 1) * 1024 * 4 / ranks && c.carried == c.sent);
    int levels = 0;
    while (1 << levels < ranks) levels++;
    assert_int_equal(c.exchanges, 2 * levels); /* each half in one block */
  }
  sm_sum_cost c = cost_of(2, 2, 2200003);
  assert_int_equal(c.sent, 2200003 * 4);
  assert_int_equal(c.exchanges, 2 * 2); /* halves of 4.4 MB, blocks of 4 MiB */
  /* of 3 ranks and 8 leaves rank 0 has one node, the others two: with each of these it gives one slice while it takes
   * two, and later gives its sums */
  c = cost_of(8, 3, 3000);
  assert_int_equal(c.sent, 2 * (1000 + 1000) * 4);
  assert_int_equal(c.exchanges, 2 * (2 + 1));
  assert_int_equal(c.carried, 2 * (2000 + 1000) * 4);
  /* of 16 leaves it has 5: a node of 4 and one of 1 */
  c = cost_of(16, 3, 3000);
  assert_int_equal(c.sent, 2 * (2 * 1000 + 1000) * 4);
}

/* As rank 0's messages are counted. */
static void sum_metered(sm_ranks *ranks, void *ctx) {
  numbers *own = ctx;
  const sm_messages *messages = ranks->messages;
  sm_meter meter = {0};
  ranks->messages = sm_meter_over(&meter, messages);
  sum(ranks, own);
  const sm_sum_cost cost = sm_ranks_sum_cost(own->tree, own->n, sizeof(float));
  if (!sm_ranks_rank(ranks)) assert_true(meter.sent == cost.sent && meter.exchanges == cost.exchanges);
  ranks->messages = messages;
}

static void a_sum_sends_what_was_said(void **state) {
  (void)state;
  for (int ranks = 2; ranks <= LEAVES; ranks++) check_sum(sum_metered, ranks, 1001);
  check_sum(sum_metered, 3, 3500003);
}

/* ---- a meter ------------------------------------------------------------------------------------------- */

static int asked; /* of the messages below, since the last start */

static const char *start_nothing(void *self, int lane, int peer, const void *out, size_t out_bytes, void *in,
                                 size_t in_bytes) {
  (void)self, (void)lane, (void)peer, (void)out, (void)out_bytes, (void)in, (void)in_bytes;
  asked = 0;
  return NULL;
}
static const char *done_at_once(void *self, int lane, int *finished) {
  (void)self, (void)lane;
  assert_int_equal(asked++, 0); /* what has ended is not asked again */
  *finished = 1;
  return NULL;
}
static const char *done_badly(void *self, int lane, int *finished) {
  (void)self, (void)lane;
  *finished = 0;
  return "the line is cut";
}

static double exchange_takes(const sm_messages *messages, size_t out, size_t in) {
  const double start = sm_now();
  int finished = 0;
  assert_null(messages->start(messages->self, 0, 1, NULL, out, NULL, in));
  while (!finished) assert_null(messages->done(messages->self, 0, &finished));
  return sm_now() - start;
}

static void a_meter_counts_and_holds_up(void **state) {
  const sm_messages none = {.version = SM_MESSAGES_VERSION, .start = start_nothing, .done = done_at_once},
                    bad = {.version = SM_MESSAGES_VERSION, .start = start_nothing, .done = done_badly};
  sm_meter quick = {0}, slow = {.rate = 1e6}, cut = {.rate = 1};
  int finished;
  (void)state;
  const sm_messages *messages = sm_meter_over(&quick, &none);
  exchange_takes(messages, 1 << 30, 7);
  exchange_takes(messages, 0, 7);
  assert_int_equal(quick.exchanges, 2);
  assert_int_equal(quick.sent, 1 << 30);
  messages = sm_meter_over(&slow, &none);
  const double start = sm_now();
  for (int i = 0; i < 5; i++) exchange_takes(messages, i % 2 ? 10000 : 400, i % 2 ? 0 : 10000);
  assert_true(sm_now() - start > 0.048); /* 50 ms, of which 1 is made up for */
  assert_int_equal(slow.sent, 3 * 400 + 2 * 10000);
  messages = sm_meter_over(&cut, &bad);
  assert_null(messages->start(messages->self, 1, 1, NULL, 1000, NULL, 1000));
  assert_string_equal(messages->done(messages->self, 1, &finished), "the line is cut");
}

/* ---- words --------------------------------------------------------------------------------------------- */

static void speak(sm_ranks *ranks, void *ctx) {
  const int rank = sm_ranks_rank(ranks), size = sm_ranks_size(ranks);
  sm_error err = {0};
  char word[16], text[64];
  (void)ctx;
  assert_int_equal(sm_ranks_here(ranks), size);
  assert_string_equal(sm_ranks_library(ranks), "threads");
  for (int root = 0; root < size; root++) {
    snprintf(word, sizeof word, "from %d", rank);
    must(sm_ranks_broadcast(ranks, root, word, sizeof word, &err), &err);
    assert_int_equal(word[5] - '0', root);
  }
  char *all;
  size_t bytes;
  snprintf(word, sizeof word, "%d%d%d", rank, rank, rank);
  must(sm_ranks_gather(ranks, word, (size_t)(rank % 4), (void **)&all, &bytes, &err), &err);
  const size_t wanted[] = {0, 0, 1, 3, 6, 6, 7, 9, 12};
  assert_int_equal(bytes, wanted[size]);
  assert_memory_equal(all, "122333566777", bytes);
  sm_free(all);
  double x[300];
  for (int i = 0; i < 300; i++) x[i] = rank * i;
  must(sm_ranks_count(ranks, x, 300, &err), &err);
  for (int i = 0; i < 300; i++) assert_true(x[i] == size * (size - 1) / 2 * i);
  bool flag = rank == size - 1;
  must(sm_ranks_any(ranks, &flag, &err), &err);
  assert_true(flag);
  flag = false;
  must(sm_ranks_any(ranks, &flag, &err), &err);
  assert_false(flag);
  assert_int_equal(sm_ranks_agree(ranks, SM_OK, &err), SM_OK);
  const int from = size > 2 ? 2 : 0; /* it and all behind it fail */
  sm_status status = rank >= from ? sm_fail(&err, SM_EIO, "picture %d", rank) : SM_OK;
  if (rank >= from) sm_hint(&err, "look");
  assert_int_equal(sm_ranks_agree(ranks, status, &err), SM_EIO);
  snprintf(text, sizeof text, "picture %d", from);
  assert_non_null(strstr(err.message, text));
  assert_string_equal(err.hint, "look");
  assert_true(!strncmp(err.message, "rank 2 (", 8) == (from == 2));
}

static void all_say_the_same(void **state) {
  const sm_ranks_options options = {.patience = 60};
  (void)state;
  for (int ranks = 1; ranks <= 8; ranks++) hub_run(ranks, &options, speak, NULL, 0);
}

/* NULL is a process that is alone. */
static void alone(void **state) {
  sm_error err = {0};
  double x = 3;
  bool flag = true;
  char *all;
  size_t bytes;
  (void)state;
  assert_int_equal(sm_ranks_rank(NULL), 0);
  assert_int_equal(sm_ranks_size(NULL), 1);
  assert_int_equal(sm_ranks_agree(NULL, SM_EIO, &err), SM_EIO);
  assert_int_equal(sm_ranks_count(NULL, &x, 1, &err), SM_OK);
  assert_int_equal(sm_ranks_any(NULL, &flag, &err), SM_OK);
  assert_true(x == 3 && flag);
  assert_int_equal(sm_ranks_gather(NULL, "ab", 2, (void **)&all, &bytes, &err), SM_OK);
  assert_true(bytes == 2 && !memcmp(all, "ab", 2));
  sm_free(all);
  assert_int_equal(sm_ranks_broadcast(NULL, 0, &x, sizeof x, &err), SM_OK);
  sm_ranks_hurry(NULL, true);
  sm_ranks_close(NULL);
}

/* ---- one is lost --------------------------------------------------------------------------------------- */

/* Rank 3 answers only when it has been given up by rank 2, who waits for it and names it. */
static void wait_in_vain(sm_ranks *ranks, void *ctx) {
  _Atomic bool *given_up = ctx;
  sm_error err = {0};
  double x = 1;
  sm_ranks_hurry(ranks, true);
  while (sm_ranks_rank(ranks) == 3 && !*given_up) usleep(1000);
  sm_status status = SM_OK;
  while (!status) status = sm_ranks_count(ranks, &x, 1, &err);
  assert_int_equal(status, SM_ELOST);
  assert_int_equal(sm_ranks_agree(ranks, SM_ELOST, &err), SM_ELOST); /* asks nobody */
  if (sm_ranks_rank(ranks) != 2) return;
  *given_up = true;
  assert_true(!strncmp(err.message, "rank 3 (", 8));
  assert_non_null(strstr(err.message, "was lost: it has not answered for "));
  assert_non_null(strstr(err.hint, "goes on from the last checkpoint"));
}

static void a_lost_rank_is_named(void **state) {
  _Atomic bool given_up = false;
  (void)state;
  hub_run(4, &(sm_ranks_options){.patience = 0.2}, wait_in_vain, &given_up, 0);
  assert_true(given_up);
}

/* ---- steps --------------------------------------------------------------------------------------------- */

enum { PICTURES = 11, PIECES = 8 };

/* Hears how often something of sums is begun to be sent: in all, and before the first layer has a gradient. */
typedef struct ear {
  sm_messages messages;
  const sm_messages *over;
  sm_trainable *net;
  int64_t early, all;
} ear;

typedef struct trained {
  setting with;
  ssl_rig rig;
  sm_step_result result;
  ear ear;
  int spoilt; /* 1 + a picture of the second rank with a value that is not a number */
} trained;

static const setting small = {.pictures = PICTURES, .locals = 2, .vit = ", drop_path: 0.3", .pieces = PIECES};

static const char *ear_start(void *self, int lane, int peer, const void *out, size_t out_bytes, void *in,
                             size_t in_bytes) {
  ear *e = self;
  if (lane == SM_LANE_SUM) {
    sm_set *set = e->net->set[SM_SET_STUDENT];
    const int row = sm_set_find(set, "backbone.patch_embed.proj.weight");
    float x = 0;
    assert_true(row >= 0 && sm_set_read(set, row, SM_GRADIENTS, 0, 1, &x));
    e->early += x == 0;
    e->all++;
  }
  return e->over->start(e->over->self, lane, peer, out, out_bytes, in, in_bytes);
}
static const char *ear_done(void *self, int lane, int *finished) {
  const ear *e = self;
  return e->over->done(e->over->self, lane, finished);
}
static void ear_put(ear *e, sm_ranks *ranks, sm_trainable *net) {
  *e = (ear){.messages = *ranks->messages, .over = ranks->messages, .net = net};
  e->messages.self = e, e->messages.start = ear_start, e->messages.done = ear_done;
  ranks->messages = &e->messages;
}

/* The pictures of this rank alone, as a loader gives them. */
static void cut(sm_batch *b, const sm_batch *whole, const sm_trainable *t) {
  const int own = sm_trainable_pieces(t), first = sm_pieces_first(t->c.pieces, t->c.ranks, 0);
  const int64_t pixels = 3 * (int64_t)t->c.global_height * t->c.global_width,
                local = 3 * (int64_t)t->c.local_height * t->c.local_width, cells = (int64_t)t->grid[0].rows * t->grid[0].cols;
  *b = *whole;
  b->place = sm_piece_first(PICTURES, PIECES, first);
  b->pictures = sm_piece_first(PICTURES, PIECES, first + own) - b->place;
  b->global += b->place * t->c.globals * pixels;
  b->local += b->place * t->c.locals * local;
  b->mask += b->place * t->c.globals * cells;
  b->sample += b->place;
}

static void train(sm_ranks *ranks, void *ctx) {
  trained *to = ctx;
  sm_error err = {0};
  sm_batch part;
  to->with.ranks = ranks;
  step_start(&to->rig, &to->with);
  step_shake(&to->rig);
  if (ranks) ear_put(&to->ear, ranks, to->rig.net);
  sm_batch *whole = rig_batch(&to->rig, PICTURES, .4, 9);
  for (whole->step = 0; whole->step < 2; whole->step++) {
    const sm_time time = rig_time(&to->rig, whole->step);
    cut(&part, whole, to->rig.net);
    must(sm_step(to->rig.net, &part, &time, &to->result, &err), &err);
  }
  rig_batch_free(whole);
  if (ranks) ranks->messages = to->ear.over;
}

/* Weights, centres and figures after two steps. */
static void check_steps(const setting *s) {
  trained one = {.with = *s}, many[PIECES];
  train(NULL, &one);
  static const int some[] = {2, 3, 4, 5, 8};
  for (size_t with = 0; with < sizeof some / sizeof *some; with++) {
    const int ranks = some[with];
    for (int i = 0; i < PIECES; i++) many[i] = (trained){.with = *s};
    hub_run(ranks, &(sm_ranks_options){.patience = 60}, train, many, sizeof *many);
    for (int i = 0; i < ranks; i++) {
      for (int which = 0; which < 2; which++) {
        sm_set *set = many[i].rig.net->set[which ? SM_SET_STATE : SM_SET_STUDENT];
        for (int r = 0; r < sm_set_rows(set); r++)
          rows_equal(set, one.rig.net->set[which ? SM_SET_STATE : SM_SET_STUDENT], r, SM_VALUES);
      }
      assert_int_equal(many[i].result.n, one.result.n);
      for (int k = 0; k < one.result.n; k++) assert_true(many[i].result.metric[k].value == one.result.metric[k].value);
      assert_true(s->locals || s->micro || (many[i].ear.early > 0 && many[i].ear.early < many[i].ear.all));
      rig_close(&many[i].rig);
    }
  }
  rig_close(&one.rig);
}

static void steps_have_the_same_bits(void **state) {
  (void)state;
  check_steps(&small);
}

/* Without local views there is one backward pass, and in it the first layer comes last: gradients of others are
 * on their way before it has any. */
static void gradients_are_sent_while_others_are_computed(void **state) {
  setting global = small;
  (void)state;
  global.locals = 0;
  check_steps(&global);
  global.micro = 1; /* then the first layer has those of the piece's other pictures */
  check_steps(&global);
}

/* A rank fails in its first piece, or with its gradients half sent: all have its error, and can speak on. */
static void spoil(sm_ranks *ranks, void *ctx) {
  trained *to = ctx;
  sm_error err = {0};
  sm_batch part;
  bool flag = false;
  to->with.ranks = ranks;
  step_start(&to->rig, &to->with);
  sm_batch *whole = rig_batch(&to->rig, PICTURES, .4, 9);
  const sm_time time = rig_time(&to->rig, 0);
  cut(&part, whole, to->rig.net);
  const int64_t pixels = 3 * (int64_t)to->rig.net->c.global_height * to->rig.net->c.global_width;
  if (sm_ranks_rank(ranks) == 1) part.global[(to->spoilt - 1) * to->rig.net->c.globals * pixels] = NAN;
  assert_int_equal(sm_step(to->rig.net, &part, &time, &to->result, &err), SM_EINVAL);
  assert_true(!strncmp(err.message, "rank 1 (", 8) && strstr(err.message, "step 0: "));
  must(sm_ranks_any(ranks, &flag, &err), &err);
  assert_false(flag);
  rig_batch_free(whole);
}

static void a_rank_that_fails_leaves_nobody_waiting(void **state) {
  enum { OWN = 6 }; /* pictures of the second of two ranks */
  (void)state;
  for (int picture = 0; picture < OWN; picture += OWN - 1) {
    trained two[2] = {{.with = small, .spoilt = 1 + picture}, {.with = small, .spoilt = 1 + picture}};
    hub_run(2, &(sm_ranks_options){.patience = 60}, spoil, two, sizeof *two);
    for (int i = 0; i < 2; i++) rig_close(&two[i].rig);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sums_have_the_bits_of_the_tree),
      cmocka_unit_test(parts_have_the_same_bits),
      cmocka_unit_test(a_rank_lost_behind_is_named_by_the_next_word),
      cmocka_unit_test(runs_are_nodes_of_the_tree),
      cmocka_unit_test(what_a_sum_sends),
      cmocka_unit_test(a_sum_sends_what_was_said),
      cmocka_unit_test(a_meter_counts_and_holds_up),
      cmocka_unit_test(all_say_the_same),
      cmocka_unit_test(alone),
      cmocka_unit_test(a_lost_rank_is_named),
      cmocka_unit_test(steps_have_the_same_bits),
      cmocka_unit_test(gradients_are_sent_while_others_are_computed),
      cmocka_unit_test(a_rank_that_fails_leaves_nobody_waiting),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}

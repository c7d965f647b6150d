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

typedef struct numbers {
  float *x;
  int64_t n;
} numbers;

static float leaf(int which, int64_t i) {
  const uint64_t x = ((uint64_t)i * LEAVES + (uint64_t)which + 1) * 0x9e3779b97f4a7c15;
  return (float)(int64_t)(x ^ x >> 29) * (i % 7 ? 1e-19f : 1e-15f);
}

static void add(void *ctx, int64_t first, int64_t n, const void *from) {
  numbers *to = ctx;
  const float *theirs = from;
  for (int64_t i = 0; i < n; i++) to->x[first + i] += theirs[i];
}

static void sum(sm_ranks *ranks, void *ctx) {
  numbers *own = ctx;
  sm_error err = {0};
  must(sm_ranks_sum(ranks, own->x, own->n, sizeof(float), add, own, &err), &err);
}

/* The sum of 8 leaves at i as the tree says. */
static float tree(int64_t i) {
  float a[LEAVES];
  for (int k = 0; k < LEAVES; k++) a[k] = leaf(k, i);
  return ((a[0] + a[1]) + (a[2] + a[3])) + ((a[4] + a[5]) + (a[6] + a[7]));
}

/* A rank begins with the sum of its leaves, in the tree. */
static float begins(int ranks, int rank, int64_t i) {
  float a[LEAVES];
  const int own = LEAVES / ranks;
  for (int k = 0; k < own; k++) a[k] = leaf(rank * own + k, i);
  for (int n = own; n > 1; n /= 2)
    for (int k = 0; k < n / 2; k++) a[k] = a[2 * k] + a[2 * k + 1];
  return a[0];
}

/* Part by part, in another order, while ranks speak of other things; what is not ready is not touched. */
static void sum_in_parts(sm_ranks *ranks, void *ctx) {
  enum { LAST = 7 };
  numbers *own = ctx;
  const sm_ranks_part part[] = {{own->n - LAST, LAST}, {0, 3}, {3, own->n - 3 - LAST}};
  const float before = own->x[3];
  sm_error err = {0};
  bool flag = false;
  sm_ranks_sum_begin(ranks, own->x, sizeof(float), add, own, part, 3);
  for (int ready = 1; ready < 3; ready++) {
    sm_ranks_sum_ready(ranks, ready);
    for (int i = 0; i < 100 * sm_ranks_rank(ranks); i++) sm_ranks_sum_go_on(ranks);
    must(sm_ranks_any(ranks, &flag, &err), &err);
    assert_false(flag);
  }
  assert_true(own->x[3] == before);
  must(sm_ranks_sum_end(ranks, &err), &err);
  must(sm_ranks_any(ranks, &flag, &err), &err);
}

static void check_sum(void (*work)(sm_ranks *, void *), int ranks, int64_t n) {
  const sm_ranks_options options = {.patience = 60};
  numbers own[LEAVES];
  for (int r = 0; r < ranks; r++) {
    own[r] = (numbers){malloc((size_t)n * sizeof(float) + 1), n};
    for (int64_t i = 0; i < n; i++) own[r].x[i] = begins(ranks, r, i);
  }
  const int64_t sent = hub_run(ranks, &options, work, own, sizeof *own);
  for (int64_t i = 0; i < n; i++) {
    const float wanted = tree(i);
    for (int r = 0; r < ranks; r++) assert_true(own[r].x[i] == wanted);
  }
  const int64_t least = 2 * (ranks - 1) * n * (int64_t)sizeof(float), words = 20000;
  assert_true(sent >= least && sent < least + words);
  for (int r = 0; r < ranks; r++) free(own[r].x);
}

static void sums_have_the_bits_of_the_tree(void **state) {
  static const int64_t n[] = {0, 1, 2, 5, 8, 1001};
  (void)state;
  for (int ranks = 1; ranks <= LEAVES; ranks *= 2)
    for (size_t i = 0; i < sizeof n / sizeof *n; i++) check_sum(sum, ranks, n[i]);
  check_sum(sum, 2, 2200003); /* halves of more than one block, and of different lengths */
}

static void parts_have_the_same_bits(void **state) {
  (void)state;
  for (int ranks = 1; ranks <= LEAVES; ranks *= 2) check_sum(sum_in_parts, ranks, 1001);
  check_sum(sum_in_parts, 2, 2200003);
}

/* The other has more to send, which is a fault of the messages: the next word says so, whatever it is. */
static void sum_unevenly(sm_ranks *ranks, void *ctx) {
  numbers *own = ctx;
  const sm_ranks_part part = {0, own->n - 2 * sm_ranks_rank(ranks)};
  const char *wanted = sm_ranks_rank(ranks) ? "rank 0 (" : "rank 1 (";
  sm_error err = {0};
  bool flag = false;
  sm_ranks_sum_begin(ranks, own->x, sizeof(float), add, own, &part, 1);
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
  float x[2][8] = {{0}};
  numbers own[2] = {{x[0], 8}, {x[1], 8}};
  (void)state;
  hub_run(2, &(sm_ranks_options){.patience = 60}, sum_unevenly, own, sizeof *own);
}

/* What a sum sends is known before: of equal parts each rank sends 2 · (1 - 1 / ranks) of all. */
static void what_a_sum_sends(void **state) {
  int64_t exchanges;
  (void)state;
  for (int ranks = 1; ranks <= 64; ranks *= 2) {
    assert_int_equal(sm_ranks_sum_sent(ranks, 1024, 4, &exchanges), 2 * (ranks - 1) * 1024 * 4 / ranks);
    int levels = 0;
    while (1 << levels < ranks) levels++;
    assert_int_equal(exchanges, 2 * levels); /* each half in one block */
  }
  assert_int_equal(sm_ranks_sum_sent(2, 2200003, 4, &exchanges), 2200003 * 4);
  assert_int_equal(exchanges, 2 * 2); /* halves of 4.4 MB, blocks of 4 MiB */
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
  assert_int_equal(bytes, size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 6 : 12);
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
  for (int ranks = 1; ranks <= 8; ranks *= 2) hub_run(ranks, &options, speak, NULL, 0);
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

enum { PICTURES = 11, PIECES = 4 };

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
  const int own = sm_trainable_pieces(t), first = sm_ranks_rank(t->c.ranks) * own;
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
  for (int ranks = 2; ranks <= PIECES; ranks *= 2) {
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
      cmocka_unit_test(what_a_sum_sends),
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

/* check_masker.c — maskers: every grid from 1×1 to 14×14, before and after the start epoch, several threads
 * at once. One that looks at the teacher gets attention made up from the sample's number. */
#include <config.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "driver.h"

#define SIDE 14
#define GUARD 64 /* bytes behind the grid that must stay as they are; behind those there is no memory */
#define GUARD_BYTE 0xa5
#define STREAMS 64
#define HEADS 3

typedef struct masker_run {
  const sm_masker_ops *ops;
  const void *self;
  uint8_t mask[STREAMS][SIDE * SIDE];
  uint8_t *room; /* three pages, of which the middle one may be touched */
  size_t page;
} masker_run;

/* A masker that writes far away must not find memory of somebody else's. */
static bool check_masker_room(masker_run *m) {
  m->page = (size_t)sysconf(_SC_PAGESIZE);
  void *at = mmap(NULL, 3 * m->page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return false;
  m->room = at;
  return mprotect(m->room + m->page, m->page, PROT_READ | PROT_WRITE) == 0;
}

/* Rows that add up to less than 1, as [CLS] also looks at itself. */
static void check_masker_make_attention(uint64_t sample, int view, int cells, float *attention) {
  sm_rng rng = sm_rng_make(2, SM_RNG_MASK, 0, sample, (uint32_t)view);
  for (int k = 0; k < HEADS * cells; k++) attention[k] = (float)(sm_rng_uniform(&rng) / (cells + 1));
}

static void check_masker_draw(const masker_run *m, int rows, int cols, int view, int64_t epoch,
                              uint64_t sample, uint8_t *mask) {
  sm_rng rng = sm_rng_make(1, SM_RNG_MASK, (uint64_t)epoch, sample, (uint32_t)view);
  sm_mask_request request = {.rows = rows, .cols = cols, .view = view, .epoch = epoch, .rng = &rng};
  float attention[HEADS * SIDE * SIDE];
  if (m->ops->needs_attention) {
    check_masker_make_attention(sample, view, rows * cols, attention);
    request.attention = attention;
    request.heads = HEADS;
  }
  memset(mask, 0, (size_t)(rows * cols));
  m->ops->draw(m->self, &request, mask);
}

/* One grid; the share hidden, or -1 after a complaint. */
static double check_grid(sm_checker *c, const masker_run *m, int rows, int cols, int64_t epoch, double most,
                         bool started) {
  uint8_t again[SIDE * SIDE], *page = m->room + m->page, *end = page + m->page - GUARD,
                              *mask = end - rows * cols;
  int cells = rows * cols, hidden = 0, allowed = (int)(most * cells + 1 - 1e-9),
      count = m->ops->count ? m->ops->count(m->self, rows, cols) : -1;
  double share = 0;
  for (int view = 0; view < 2; view++)
    for (uint64_t sample = 0; sample < 8; sample++) {
      bool bits = true, before = true, behind = true;
      memset(page, GUARD_BYTE, m->page);
      check_masker_draw(m, rows, cols, view, epoch, sample, mask);
      memcpy(again, mask, (size_t)cells);
      check_masker_draw(m, rows, cols, view, epoch, sample, mask);
      hidden = 0;
      for (int k = 0; k < cells; k++) bits = bits && mask[k] <= 1, hidden += mask[k];
      for (const uint8_t *k = page; k < mask; k++) before = before && *k == GUARD_BYTE;
      for (const uint8_t *k = end; k < end + GUARD; k++) behind = behind && *k == GUARD_BYTE;
      if (!sm_check_that(c, before, NULL, "%dx%d: writes before the mask's beginning", rows, cols) ||
          !sm_check_that(c, behind, NULL, "%dx%d: writes behind the mask's end", rows, cols) ||
          !sm_check_that(c, bits, NULL, "%dx%d: a mask byte is neither 0 nor 1", rows, cols) ||
          !sm_check_that(c, memcmp(mask, again, (size_t)cells) == 0, NULL,
                         "%dx%d: the same generator gives another mask (randomness from elsewhere?)", rows,
                         cols) ||
          !sm_check_that(c, started || hidden == 0, NULL,
                         "%dx%d: hides %d patches in epoch %lld, before the start epoch", rows, cols, hidden,
                         (long long)epoch) ||
          !sm_check_that(c, hidden <= allowed, NULL, "%dx%d: hides %d of %d patches, above max_ratio %.4g",
                         rows, cols, hidden, cells, most) ||
          !sm_check_that(c, count < 0 || !started || hidden == count, NULL,
                         "%dx%d: hides %d of %d patches, but 'count' says that it is always %d", rows, cols,
                         hidden, cells, count))
        return -1;
      share += (double)hidden / cells / 16;
    }
  return share;
}

static void check_masker_draw_stream(void *ctx, int64_t item, int worker) {
  masker_run *m = ctx;
  (void)worker;
  check_masker_draw(m, SIDE, SIDE, (int)(item % 2), 1000000, (uint64_t)item, m->mask[item]);
}

static bool check_threads(sm_checker *c, masker_run *m) {
  uint8_t alone[SIDE * SIDE];
  bool same = true;
  sm_pool_run(c->two, STREAMS, check_masker_draw_stream, m);
  for (int k = 0; k < STREAMS; k++) {
    check_masker_draw(m, SIDE, SIDE, k % 2, 1000000, (uint64_t)k, alone);
    same = same && memcmp(alone, m->mask[k], sizeof alone) == 0;
  }
  return sm_check_that(c, same, "same masks on 2 threads", "two threads at once give other masks than one");
}

static void check_masker_all(sm_checker *c, masker_run *m) {
  double most = m->ops->max_ratio(m->self), share = 0, mean = 0;
  int64_t start = m->ops->start_epoch ? m->ops->start_epoch(m->self) : 0;
  if (!sm_check_that(c, most >= 0 && most <= 1, NULL, "max_ratio is %g, not 0 to 1", most) ||
      !sm_check_that(c, start >= 0, NULL, "start_epoch is %lld", (long long)start))
    return;
  for (int rows = 1; rows <= SIDE; rows++)
    for (int cols = 1; cols <= SIDE; cols++) {
      share = check_grid(c, m, rows, cols, start + 3, most, true);
      if (share < 0 || (start > 0 && check_grid(c, m, rows, cols, start - 1, most, false) < 0)) return;
    }
  for (uint64_t k = 0; k < 1000; k++) {
    uint8_t mask[SIDE * SIDE];
    check_masker_draw(m, SIDE, SIDE, 0, start, k, mask);
    for (int j = 0; j < SIDE * SIDE; j++) mean += mask[j] / (1000.0 * SIDE * SIDE);
  }
  sm_check_good(c, "%d grids, hides %.1f %% of at most %.1f %%", SIDE * SIDE, 100 * mean, 100 * most);
  sm_check_that(c, most == 0 || mean > 0, NULL, "max_ratio is %.4g, but 1000 masks of 14x14 hide nothing",
                most);
  check_threads(c, m);
}

void sm_check_masker(sm_checker *c, sm_instance *instance) {
  masker_run m = {.ops = instance->plugin->ops, .self = instance->self};
  if (check_masker_room(&m)) check_masker_all(c, &m);
  else sm_check_note(c, "no memory for masks");
  if (m.room) munmap(m.room, 3 * m.page);
}

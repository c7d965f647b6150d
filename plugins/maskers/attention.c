/* attention — hides what the teacher looks at (AttMask: Kakogeorgiou et al., What to Hide from Your Students,
 * ECCV 2022; attmask, attmask.py).
 *
 * Patches are ranked by the attention that [CLS] pays to them in the teacher's last block, averaged over the
 * heads. Of N patches, floor(ratio · N) are hidden:
 *
 *   high  those with the most attention
 *   hint  the same, but floor(hint · ratio · N) of the floor(hint · N) most attended stay visible, drawn at
 *         random
 *   low   those with the least
 *
 * A ratio is drawn for each view, as the other maskers do; the original draws one for each batch and hides
 * with probability 1/2 (masking_prob), which is ratio: [0, 0.3] here. Of patches with equal attention the
 * first is taken. */
#include <smalti/plugin.h>

#include <string.h>

#include "ratio.h"

enum { HIGH, HINT, LOW };
static const char *const mode_names[] = {"high", "hint", "low", NULL};

typedef struct attention_masker {
  mask_ratio ratio;
  int mode;
  double hint;
} attention_masker;

static const sm_option options[] = {
    MASK_RATIO_OPTIONS(attention_masker, ratio),
    SM_CHOICE(
        attention_masker, mode, "mode", "high", mode_names,
        "Hide what the teacher attends to most, the same but for a few hints, or what it attends to least"),
    SM_FLOAT(
        attention_masker, hint, "hint", "0.1", 0, 1, NULL,
        "Share of the most attended patches among which hints are drawn; of all patches, ratio times this "
        "share stays visible"),
};

static sm_status attention_create(void *self, sm_error *err) {
  return mask_ratio_check(&((attention_masker *)self)->ratio, err);
}
static double attention_max_ratio(const void *self) {
  return mask_ratio_max(&((const attention_masker *)self)->ratio);
}
static int64_t attention_start_epoch(const void *self) {
  return ((const attention_masker *)self)->ratio.start_epoch;
}

/* ---- ranks, without sorting and without memory ------------------------------------------------------- */

/* Attention is not negative, so floats are ordered as their bits are. `least`: the other way round. */
static uint32_t attention_rank(const sm_mask_request *r, int cell, bool least) {
  float sum = 0;
  uint32_t bits;
  for (int h = 0; h < r->heads; h++) sum += r->attention[(int64_t)h * r->rows * r->cols + cell];
  memcpy(&bits, &sum, sizeof bits);
  return least ? ~bits : bits;
}

static int attention_at_least(const sm_mask_request *r, uint32_t cut, bool least) {
  int n = 0;
  for (int i = 0; i < r->rows * r->cols; i++) n += attention_rank(r, i, least) >= cut;
  return n;
}

/* The first n: ranks above `cut`, and of those on it the first `ties` cells. */
typedef struct top {
  uint32_t cut;
  int ties;
} top;

static top attention_top_of(const sm_mask_request *r, int n, bool least) {
  top t = {0, n};
  for (uint32_t bit = 1u << 31; bit; bit >>= 1) /* the n-th rank, bit by bit */
    if (attention_at_least(r, t.cut | bit, least) >= n) t.cut |= bit;
  if (t.cut != UINT32_MAX) t.ties = n - attention_at_least(r, t.cut + 1, least);
  return t;
}

static bool attention_in_top(const sm_mask_request *r, top *t, int cell, bool least) {
  uint32_t here = attention_rank(r, cell, least);
  return here > t->cut || (here == t->cut && t->ties-- > 0);
}

/* ---- drawing ------------------------------------------------------------------------------------------ */

/* `show` of the `among` most attended become visible again: selection sampling (Knuth, TAOCP 2, 3.4.2 S). */
static void attention_give_hints(const sm_mask_request *r, int show, int among, uint8_t *mask) {
  top t = attention_top_of(r, among, false);
  for (int i = 0; i < r->rows * r->cols && show > 0; i++)
    if (attention_in_top(r, &t, i, false) && sm_rng_below(r->rng, (uint32_t)among--) < (uint32_t)show) {
      mask[i] = 0;
      show--;
    }
}

static void attention_draw(const void *self, const sm_mask_request *r, uint8_t *mask) {
  const attention_masker *m = self;
  int cells = r->rows * r->cols, among = (int)(m->hint * cells);
  double ratio = mask_ratio_draw(&m->ratio, r);
  int wanted = (int)(ratio * cells), show = (int)(m->hint * ratio * cells);
  if (wanted < 1) return;
  top t = attention_top_of(r, wanted, m->mode == LOW);
  for (int i = 0; i < cells; i++) mask[i] = attention_in_top(r, &t, i, m->mode == LOW);
  if (m->mode == HINT && show > 0) attention_give_hints(r, show, among, mask);
}

static const sm_masker_ops ops = {.needs_attention = 1,
                                  .max_ratio = attention_max_ratio,
                                  .start_epoch = attention_start_epoch,
                                  .draw = attention_draw};
static const sm_plugin plugin = {.kind = SM_MASKER,
                                 .name = "attention",
                                 .summary = "Hides what the teacher attends to: AttMask",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .cite = "Kakogeorgiou et al., What to Hide from Your Students, ECCV 2022",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .instance_size = sizeof(attention_masker),
                                 .create = attention_create,
                                 .ops = &ops};
SM_MODULE(&plugin)

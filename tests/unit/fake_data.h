/* fake_data.h — a dataset and a masker made of numbers, for tests of the loaders: every picture can be told
 * to misbehave. */
#ifndef TEST_FAKE_DATA_H
#define TEST_FAKE_DATA_H

#include <stdatomic.h>

#include "framework/data/data.h"

enum { FAKE_MOST = 4096 };
/* FAKE_AWAY: cannot be read until `away` of its reads have failed; FAKE_GONE: never again. */
enum { FAKE_GOOD, FAKE_BAD, FAKE_NO_MEMORY, FAKE_SLOW, FAKE_AWAY, FAKE_GONE };

typedef struct fake_set {
  int64_t count;
  uint8_t behaviour[FAKE_MOST];
  char names[FAKE_MOST][24];
  _Atomic int64_t reads;
  _Atomic int away;
} fake_set;

/* Pictures of 24 x 20 pixels whose colour follows from their index; label = index mod 7. */
void fake_set_init(fake_set *, int64_t count);
sm_dataset fake_dataset(fake_set *);

/* Hides each cell with probability 1/2, from `start` on. */
typedef struct fake_masker {
  int64_t start;
} fake_masker;
extern const sm_masker_ops fake_masker_ops;

/* A loader configuration over the set: views of 16 and 8 pixels, masks of 4 x 4 cells, batches of 6. */
sm_loader_config fake_config(fake_set *, const fake_masker *);

/* The loader, and its next batch; whatever fails, fails the test. */
sm_loader *fake_loader(const sm_loader_config *, int64_t first);
sm_batch *fake_next(sm_loader *);

#endif

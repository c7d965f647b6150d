/* linear_options.h — options that `linear` and `partwise` share: how their linear layers are trained. */
#ifndef LINEAR_OPTIONS_H
#define LINEAR_OPTIONS_H

#include <smalti/measure.h>
#include <smalti/plugin.h>

/* {1 … 9} · 10^{-4 … 0}: the rates of eval_linear_multi.py, for a batch of 256. */
enum { LINEAR_PUBLISHED = 45 };
enum { LINEAR_RATES = LINEAR_PUBLISHED > SM_LIST_MAX ? LINEAR_PUBLISHED : SM_LIST_MAX };

typedef struct linear_options {
  int64_t epochs, batch;
  sm_floats lr;
  double momentum, hold_out;
} linear_options;

#define LINEAR_OPTIONS(T, f)                                                                                 \
  SM_INT(T, f.epochs, "epochs", "100", 1, 1000, "epochs", "passes over the training pictures"),              \
      SM_INT(T, f.batch, "batch_size", "1024", 16, 65536, "pictures",                                        \
             "pictures of a step, 1024 as published; small data wants smaller ones, so that there are "      \
             "some thousand steps"),                                                                         \
      SM_FLOATS(T, f.lr, "lr", "~", 1e-8, 1000, NULL,                                                        \
                "learning rates for a batch of 256, all trained at once; left out: the 45 of the "           \
                "published sweep, 0.0001 to 9"),                                                             \
      SM_FLOAT(T, f.momentum, "momentum", "0.9", 0, 0.999, NULL, "of SGD"),                                  \
      SM_FLOAT(T, f.hold_out, "hold_out", "0.1", 0.001, 0.9, NULL,                                           \
               "share of the training pictures that chooses the rate and is not learned from, never the "    \
               "last of a class; where no class has two pictures, the middle rate counts")

/* rate: room that the answer points to. */
static inline sm_linear_config linear_config(const linear_options *o, uint64_t seed,
                                             double rate[LINEAR_RATES]) {
  static const double decade[] = {1e-4, 1e-3, 1e-2, 1e-1, 1};
  for (int i = 0; i < o->lr.n; i++) rate[i] = o->lr.v[i];
  for (int i = 0; !o->lr.n && i < LINEAR_PUBLISHED; i++) rate[i] = decade[i / 9] * (i % 9 + 1);
  return (sm_linear_config){.rate = rate,
                            .rates = o->lr.n ? o->lr.n : LINEAR_PUBLISHED,
                            .epochs = o->epochs,
                            .batch = o->batch,
                            .momentum = o->momentum,
                            .hold_out = o->hold_out,
                            .seed = seed};
}

#endif

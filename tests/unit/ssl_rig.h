/* ssl_rig.h — a self-supervised objective made of the real plugins, for tests: iBOT or DINO in any size,
 * without recipes and loaders. Plugins come through the registry; options are YAML. Every failure fails the
 * running test. */
#ifndef SM_TEST_SSL_RIG_H
#define SM_TEST_SSL_RIG_H

#include "framework/recipe/recipe.h"

#include "framework/train/trainable.h"

typedef struct ssl_rig {
  sm_arena *arena;
  sm_registry *registry;
  sm_pool *pool;
  sm_instance backbone, head, tokenizer, cls, mim, masker;
  sm_train_config config;
  sm_trainable *net;
} ssl_rig;

/* Pool and registry. Masks are whatever a batch brings, unless `masker` is filled in. Fill in the options,
 * then the rest of rig->config, then start. */
void rig_open(ssl_rig *, int threads);
void rig_plugin(ssl_rig *, sm_instance *, sm_kind, const char *name, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* Joins what was filled: a loss that was not given is left out. */
void rig_start(ssl_rig *);
void rig_close(ssl_rig *);

/* A batch of normal random pictures and, of each global view, masks with about `ratio` ones; of local views
 * too where rig->config.masked says so. Owned by the caller. */
sm_batch *rig_batch(const ssl_rig *, int pictures, double ratio, uint64_t seed);
void rig_batch_free(sm_batch *);

/* Logits of a site's head at every token of a batch's views, by a graph of their own: (views, tokens, *k),
 * picture-major; free with free. The student sees the masks, the teacher none. */
double *rig_logits(ssl_rig *, const sm_batch *, int set, bool local, sm_site, int64_t *tokens, int64_t *k);

sm_time rig_time(const ssl_rig *, int64_t step);
/* One element of a row, by its name; the index of the row or a failed test. */
int rig_row(ssl_rig *, int set, const char *name);
double rig_value(ssl_rig *, int set, int row, sm_buffer, int64_t index);

#endif

/* bench_recipe.h — a recipe ready to be timed, by one process or by each of several ranks. Private to the program. */
#ifndef SM_CLI_BENCH_RECIPE_H
#define SM_CLI_BENCH_RECIPE_H

#include "by_ranks.h"
#include "framework/train/bench.h"

typedef struct sm_bench_recipe {
  sm_recipe *recipe;
  sm_pool *pool;
  sm_train_config config;
} sm_bench_recipe;

/* Of the arguments RECIPE [KEY=VALUE ...]; zero before. Ranks (or NULL) agree on the outcome; their step is one that
 * they can share. To be closed also after a failure. */
sm_status sm_bench_recipe_open(sm_cli *, int argc, char **argv, sm_ranks *, sm_bench_recipe *, sm_error *);
void sm_bench_recipe_close(sm_bench_recipe *);
const char *sm_bench_recipe_precision(const sm_bench_recipe *);

#endif

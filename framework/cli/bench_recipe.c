/* bench_recipe.c — see bench_recipe.h. */
#include "bench_recipe.h"

#include "framework/train/share.h"

static sm_status bench_recipe_parts(sm_cli *cli, int argc, char **argv, sm_ranks *ranks, sm_bench_recipe *b, sm_error *err) {
  sm_status status = sm_cli_recipe(cli, argc, argv, &b->recipe, err);
  if (!status) status = sm_recipe_create(b->recipe, err);
  if (status) return status;
  if (!(b->pool = sm_recipe_pool(b->recipe, sm_share_threads(b->recipe, ranks, (int)cli->threads), NULL, err)))
    return err->code;
  status = sm_train_configure(b->recipe, b->pool, 100, &b->config, err);
  b->config.ranks = ranks;
  return status;
}

sm_status sm_bench_recipe_open(sm_cli *cli, int argc, char **argv, sm_ranks *ranks, sm_bench_recipe *b, sm_error *err) {
  const sm_status status = sm_ranks_agree(ranks, bench_recipe_parts(cli, argc, argv, ranks, b, err), err);
  return status ? status : sm_bench_check(&b->config, b->recipe, err);
}

void sm_bench_recipe_close(sm_bench_recipe *b) {
  sm_pool_free(b->pool);
  sm_recipe_free(b->recipe);
}

const char *sm_bench_recipe_precision(const sm_bench_recipe *b) {
  return sm_precision_names[b->recipe->train.precision];
}

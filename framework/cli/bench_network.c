/* bench_network.c — see bench_network.h. */
#include "bench_network.h"

#include "framework/base/cpu.h"
#include "framework/train/bench.h"

sm_status sm_bench_network_open(sm_cli *cli, int argc, char **argv, bench_network *b, sm_error *err) {
  sm_status status = sm_cli_recipe(cli, argc, argv, &b->recipe, err);
  if (!status) status = sm_slot_create(&b->recipe->backbone, err);
  if (status) return status;
  const sm_recipe *r = b->recipe;
  b->bf16 = r->train.precision == SM_PRECISION_BF16;
  if (!(b->pool = sm_recipe_pool(r, 0, NULL, err))) return err->code;
  const sm_network_parts parts = {.name = r->backbone.plugin.plugin->name,
                                  .backbone = r->backbone.plugin.plugin->ops,
                                  .self = r->backbone.plugin.self,
                                  .height = b->height = r->views.global_height,
                                  .width = b->width = r->views.global_width,
                                  .net = SM_NET_INIT,
                                  .recipe = r};
  status = sm_network_wrap(&parts, &b->network, err);
  return status ? status : sm_network_allocate(b->network, err);
}

void sm_bench_network_close(bench_network *b) {
  sm_network_close(b->network);
  sm_pool_free(b->pool);
  sm_recipe_free(b->recipe);
}

sm_status sm_bench_network_evaluator(const bench_network *b, sm_pool *pool, bool blocks, sm_evaluator **e,
                                     sm_error *err) {
  sm_evaluator_config c = sm_evaluator_config_of(b->network, pool);
  c.bf16 = b->bf16;
  c.some_blocks = blocks;
  return sm_evaluator_new(&c, e, err);
}

/* ---- how times are said ---------------------------------------------------------------------------------- */

double sm_bench_eval_peak(sm_pool *pool, bool bf16, double best) {
  const double peak = sm_bench_peak(pool, bf16 ? SM_BF16 : SM_F32);
  return peak > best ? peak : best;
}

void sm_bench_network_put(sm_json *json, const bench_network *b, const char *counted, int64_t n) {
  sm_json_string(json, "recipe", b->recipe->name);
  sm_json_int(json, counted, n);
  sm_cli_json_size(json, b->height, b->width);
  sm_json_string(json, "precision", sm_precision_names[b->recipe->train.precision]);
}

void sm_bench_put_times(sm_json *json, const sm_bench_times *t, sm_pool *pool, const bench_rate *rate,
                        double peak) {
  const double gflops = t->flops / t->median / 1e9;
  sm_json_int(json, "threads", sm_pool_threads(pool));
  sm_json_int(json, "repeats", t->repeats);
  sm_json_double(json, "median_s", t->median);
  sm_json_double(json, "best_s", t->best);
  sm_json_double(json, "worst_s", t->worst);
  sm_json_double(json, rate->key, rate->n / t->median);
  sm_json_double(json, "gflop", t->flops / 1e9);
  sm_json_double(json, "gflops", gflops);
  sm_json_double(json, "peak_gflops", peak);
  sm_json_double(json, "share", gflops / peak);
  sm_json_string(json, "isa", sm_pool_isa(pool));
  sm_json_int(json, "resident_bytes", (int64_t)t->resident);
}

void sm_bench_print_times(const sm_bench_times *t, const bench_rate *rate, double peak) {
  const double gflops = t->flops / t->median / 1e9;
  char text[32];
  printf("  %-18s %10.3f   (median of %d; %.3f to %.3f)\n", "seconds", t->median, t->repeats, t->best,
         t->worst);
  printf("  %-18s %10.1f\n", rate->people, rate->n / t->median);
  printf("  %-18s %10.1f   %.1f GFLOP of products\n", "GFLOP/s", gflops, t->flops / 1e9);
  printf("  %-18s %10.1f %% of the measured peak, %.1f GFLOP/s\n", "share of peak", 100 * gflops / peak,
         peak);
  printf("  %-18s %10s   at its peak\n", "memory, process",
         sm_human_bytes((double)t->resident, text, sizeof text));
}

const char *sm_bench_how(sm_pool *pool, bool bf16, char *to, size_t size) {
  char threads[160];
  const sm_cpus cpus = sm_cpu_look();
  snprintf(to, size, "%s, %s, %s kernels",
           sm_threads_text(&cpus, sm_pool_threads(pool), threads, sizeof threads), bf16 ? "bf16" : "fp32",
           sm_pool_isa(pool));
  return to;
}

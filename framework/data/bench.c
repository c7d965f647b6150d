/* bench.c — the loader alone, for `smalti bench loader`: pictures per second, and where the time goes. */
#include <string.h>

#include "framework/data/data.h"

/* A picture that costs a decoder what a photograph costs: smooth shading, edges and grain. */
static void bench_paint(sm_image *image, sm_rng *rng) {
  enum { PATCHES = 40 };
  const int width = image->width, height = image->height;
  int from[3], to[3];
  for (int c = 0; c < 3; c++) from[c] = (int)sm_rng_below(rng, 256), to[c] = (int)sm_rng_below(rng, 256);
  for (int y = 0; y < height; y++)
    for (int x = 0; x < width; x++)
      for (int c = 0; c < 3; c++)
        image->rgb[((size_t)y * (size_t)width + (size_t)x) * 3 + (size_t)c] =
            (uint8_t)(from[c] + (to[c] - from[c]) * (x + y) / (width + height));
  for (int i = 0; i < PATCHES; i++) {
    int w = 1 + (int)sm_rng_below(rng, (uint32_t)width / 4 + 1),
        h = 1 + (int)sm_rng_below(rng, (uint32_t)height / 4 + 1);
    uint32_t colour = sm_rng_u32(rng) & 0xFFFFFF;
    int x = (int)sm_rng_below(rng, (uint32_t)width), y = (int)sm_rng_below(rng, (uint32_t)height);
    sm_draw_fill(image, x, y, w, h, colour, sm_rng_between(rng, 0.2, 0.9));
  }
  for (size_t i = 0; i < 3 * (size_t)width * (size_t)height; i++) {
    int v = image->rgb[i] + (int)(sm_rng_u32(rng) % 17) - 8;
    image->rgb[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
  }
}

sm_status sm_bench_pictures(const char *folder, int count, int width, int height, sm_error *err) {
  sm_image image = {0};
  sm_status status = sm_mkdirs(folder, err);
  for (int i = 0; i < count && !status; i++) {
    sm_rng rng = sm_rng_make(1, SM_RNG_BENCH, 0, (uint64_t)i, 0);
    void *data = NULL;
    size_t bytes;
    sm_text path = {0};
    sm_text_add(&path, "%s/%04d.jpg", folder, i);
    status =
        path.failed ? sm_fail(err, SM_ENOMEM, "out of memory") : sm_image_reshape(&image, width, height, err);
    if (!status) {
      bench_paint(&image, &rng);
      status = sm_image_encode_jpeg(&image, 90, &data, &bytes, err);
    }
    if (!status) status = sm_file_put(path.s, data, bytes, err);
    sm_free(data);
    sm_text_free(&path);
  }
  sm_image_free(&image);
  return status;
}

sm_status sm_bench_loader(const sm_loader_config *config, double seconds, sm_bench_loader_result *result,
                          sm_error *err) {
  sm_loader *loader;
  sm_batch *batch;
  sm_loader_stats before, after;
  *result = (sm_bench_loader_result){.workers = config->workers};
  sm_status status = sm_loader_new(config, 0, &loader, err);
  if (status) return status;
  const bool stays = config->cache_bytes > 0 || config->dataset.ops->borrow;
  for (int64_t n = stays ? sm_loader_steps_per_epoch(loader) : 1; n > 0 && !status; n--) {
    status = sm_loader_next(loader, &batch, err);
    if (!status) sm_loader_release(loader, batch);
  }
  sm_loader_stats_get(loader, &before);
  after = before;
  while (!status && after.elapsed - before.elapsed < seconds) {
    status = sm_loader_next(loader, &batch, err);
    if (!status) sm_loader_release(loader, batch);
    sm_loader_stats_get(loader, &after);
  }
  sm_loader_free(loader);
  if (status) return status;
  double read = after.read_seconds - before.read_seconds, view = after.view_seconds - before.view_seconds;
  result->pictures = after.pictures - before.pictures;
  result->seconds = after.elapsed - before.elapsed;
  result->per_second = (double)result->pictures / result->seconds;
  result->per_core = (double)result->pictures / (read + view);
  result->read_share = read / (read + view);
  result->view_share = view / (read + view);
  result->cached = after.cached;
  result->cache_bytes = after.cache_bytes;
  return SM_OK;
}

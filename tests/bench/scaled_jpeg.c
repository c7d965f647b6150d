/* scaled_jpeg.c — how far views of JPEGs decoded at 1/2, 1/4 and 1/8 of their size are off those of JPEGs
 * decoded in full, by how many times larger the decoded crop is than the view: the figures behind
 * SM_VIEW_SHRINK_ROOM.
 *
 *   make tests/bench/scaled_jpeg && ./run-uninstalled tests/bench/scaled_jpeg PICTURE.jpg …
 *
 * Crops are drawn as training draws them (14 to 100 % of the area), four of each size of view for each
 * picture; colours are left alone. Differences are in grey levels of 255. */
#include <math.h>
#include <stdlib.h>

#include "framework/image/augment.h"

enum { SHARES = 3, CLASSES = 24, PER_UNIT = 4, DRAWS = 4, LARGEST = 224 };
static const int sizes[] = {32, 64, 96, 160, LARGEST};

typedef struct tally {
  long views;
  double sum, worst, peaks; /* of the mean difference of a view; of its largest */
} tally;

static int given(void *ctx, int width, int height) {
  (void)width, (void)height;
  return *(int *)ctx;
}

static void compare(const float *a, const float *b, long n, tally *t) {
  double sum = 0, peak = 0;
  for (long i = 0; i < n; i++) {
    double d = 255 * fabs((double)(a[i] - b[i]));
    sum += d;
    peak = d > peak ? d : peak;
  }
  t->views++;
  t->sum += sum / (double)n;
  t->worst = sum / (double)n > t->worst ? sum / (double)n : t->worst;
  t->peaks += peak;
}

static sm_status one_share(const char *path, uint64_t key, const sm_image *whole, int by, tally *tallies,
                           sm_image_scratch *scratch, sm_error *err) {
  static float a[3 * LARGEST * LARGEST], b[3 * LARGEST * LARGEST];
  sm_image part = {0};
  sm_image_shrink shrink = {given, &by, 1};
  sm_image_limits limits = {.shrink = &shrink};
  sm_status status = sm_image_read(path, &limits, scratch, &part, err);
  for (size_t i = 0; status == SM_OK && shrink.by == by && i < DRAWS * sizeof sizes / sizeof *sizes; i++) {
    sm_view_recipe recipe = sm_view_recipe_default();
    recipe.jitter_p = recipe.grey_p = recipe.blur_p = 0;
    recipe.scale[0] = 0.14;
    recipe.height = recipe.width = sizes[i / DRAWS];
    for (int c = 0; c < 3; c++) recipe.mean[c] = 0, recipe.std[c] = 1;
    sm_view_choice choice;
    sm_rng rng = sm_rng_make(1, SM_RNG_BENCH, i / DRAWS, key, (uint32_t)(i % DRAWS));
    sm_view_draw(&recipe, &rng, whole->width, whole->height, &choice);
    const int shorter = choice.box.width < choice.box.height ? choice.box.width : choice.box.height;
    const int class = (int)((double)shorter / by / recipe.size * PER_UNIT);
    if (class < PER_UNIT || class >= CLASSES) continue;
    status = sm_view_apply(whole, &recipe, &choice, scratch, a, err);
    if (status == SM_OK) status = sm_view_apply_shrunk(&part, by, &recipe, &choice, scratch, b, err);
    if (status == SM_OK) compare(a, b, 3L * recipe.size * recipe.size, &tallies[class]);
  }
  sm_image_free(&part);
  return status;
}

int main(int argc, char **argv) {
  static tally tallies[SHARES][CLASSES];
  sm_image whole = {0};
  sm_image_scratch *scratch = sm_image_scratch_new();
  char text[2048];
  for (int f = 1; f < argc; f++) {
    sm_error err = {0};
    sm_status status = sm_image_read(argv[f], NULL, scratch, &whole, &err);
    for (int s = 0; s < SHARES && status == SM_OK; s++)
      status = one_share(argv[f], (uint64_t)f, &whole, 2 << s, tallies[s], scratch, &err);
    if (status != SM_OK) fprintf(stderr, "%s\n", sm_error_text(&err, text, sizeof text));
  }
  printf("decoded at  crop over view  views    mean  worst view  largest pixel, on average\n");
  for (int s = 0; s < SHARES; s++)
    for (int k = 0; k < CLASSES; k++) {
      const tally *t = &tallies[s][k];
      if (t->views)
        printf("       1/%d    %.2f - %.2f  %6ld  %6.2f  %10.2f  %6.0f\n", 2 << s, (double)k / PER_UNIT,
               (double)(k + 1) / PER_UNIT, t->views, t->sum / (double)t->views, t->worst,
               t->peaks / (double)t->views);
    }
  sm_image_scratch_free(scratch);
  sm_image_free(&whole);
  return argc < 2;
}

/* overlap.c — DAVIS's measures of a region and of its boundary (smalti/video.h). */
#include <math.h>
#include <string.h>

#include <smalti/video.h>

static bool overlap_in(const sm_frame *f, const uint16_t *mask, int object, int64_t pixel) {
  return mask[pixel] == object && !(f->unknown && f->unknown[pixel]);
}

double sm_region_measure(const sm_frame *f, int object) {
  const int64_t pixels = (int64_t)f->height * f->width;
  int64_t both = 0, any = 0;
  for (int64_t i = 0; i < pixels; i++) {
    const bool truth = overlap_in(f, f->truth, object, i), found = overlap_in(f, f->found, object, i);
    both += truth && found;
    any += truth || found;
  }
  return any ? (double)both / (double)any : 1;
}

/* ---- boundaries ---------------------------------------------------------------------------------------- */

/* A pixel is on the boundary where it differs from its neighbour in the east, the south or the south-east (seg2bmap).
 * before (height, width + 1): how many boundary pixels its row has left of a place. */
typedef struct overlap_boundary {
  int32_t *before;
  int64_t pixels;
} overlap_boundary;

static bool overlap_edge(const sm_frame *f, const uint16_t *mask, int object, int y, int x) {
  const int64_t at = (int64_t)y * f->width + x;
  const bool here = overlap_in(f, mask, object, at), east = x + 1 < f->width, south = y + 1 < f->height;
  return (east && here != overlap_in(f, mask, object, at + 1)) ||
         (south && here != overlap_in(f, mask, object, at + f->width)) ||
         (east && south && here != overlap_in(f, mask, object, at + f->width + 1));
}

static void overlap_find(const sm_frame *f, const uint16_t *mask, int object, overlap_boundary *b) {
  b->pixels = 0;
  for (int y = 0; y < f->height; y++) {
    int32_t *row = b->before + (int64_t)y * (f->width + 1);
    row[0] = 0;
    for (int x = 0; x < f->width; x++) row[x + 1] = row[x] + overlap_edge(f, mask, object, y, x);
    b->pixels += row[f->width];
  }
}

static bool overlap_near(const sm_frame *f, const overlap_boundary *b, int y, int x, int radius,
                         const int *half) {
  for (int dy = -radius; dy <= radius; dy++) {
    if (y + dy < 0 || y + dy >= f->height) continue;
    const int wide = half[dy < 0 ? -dy : dy], left = x - wide < 0 ? 0 : x - wide,
              right = x + wide + 1 > f->width ? f->width : x + wide + 1;
    const int32_t *row = b->before + (int64_t)(y + dy) * (f->width + 1);
    if (row[right] > row[left]) return true;
  }
  return false;
}

/* Pixels of `a` with one of `b` within the radius. */
static int64_t overlap_matched(const sm_frame *f, const overlap_boundary *a, const overlap_boundary *b,
                               int radius, const int *half) {
  int64_t n = 0;
  for (int y = 0; y < f->height; y++) {
    const int32_t *row = a->before + (int64_t)y * (f->width + 1);
    for (int x = 0; row[f->width] && x < f->width; x++)
      if (row[x + 1] > row[x]) n += overlap_near(f, b, y, x, radius, half);
  }
  return n;
}

static double overlap_f(int64_t found, int64_t found_hits, int64_t truth, int64_t truth_hits) {
  double precision = 1, recall = 1;
  if (!found && truth) recall = 0;
  else if (found && !truth) precision = 0;
  else if (found && truth)
    precision = (double)found_hits / (double)found, recall = (double)truth_hits / (double)truth;
  return precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0;
}

sm_status sm_boundary_measure(const sm_frame *f, int object, double share, double *value, sm_error *err) {
  const double h = f->height, w = f->width;
  const int radius = (int)ceil(share * sqrt(h * h + w * w));
  const size_t size = (size_t)f->height * ((size_t)f->width + 1);
  overlap_boundary truth = {sm_malloc(size * sizeof(int32_t)), 0},
                   found = {sm_malloc(size * sizeof(int32_t)), 0};
  int *half = sm_malloc(((size_t)radius + 1) * sizeof *half);
  sm_status status = SM_OK;
  if (truth.before && found.before && half) {
    for (int dy = 0; dy <= radius; dy++) {
      half[dy] = (int)sqrt((double)radius * radius - (double)dy * dy);
      while ((half[dy] + 1) * (half[dy] + 1) + dy * dy <= radius * radius) half[dy]++;
      while (half[dy] * half[dy] + dy * dy > radius * radius) half[dy]--;
    }
    overlap_find(f, f->truth, object, &truth);
    overlap_find(f, f->found, object, &found);
    *value = overlap_f(found.pixels, overlap_matched(f, &found, &truth, radius, half), truth.pixels,
                       overlap_matched(f, &truth, &found, radius, half));
  } else {
    status = sm_fail(err, SM_ENOMEM, "no memory for boundaries in %d x %d pixels", f->width, f->height);
  }
  sm_free(truth.before);
  sm_free(found.before);
  sm_free(half);
  return status;
}

/* ---- over frames --------------------------------------------------------------------------------------- */

/* Mean of value[first … last], without those that are NaN. */
static double series_mean(const double *value, int64_t first, int64_t last) {
  double sum = 0;
  int64_t n = 0;
  for (int64_t i = first; i <= last; i++)
    if (!isnan(value[i])) sum += value[i], n++;
  return n ? sum / (double)n : NAN;
}

sm_series sm_series_of(const double *value, int64_t n) {
  sm_series s = {NAN, NAN, NAN};
  int64_t above = 0, end[5];
  if (n < 1) return s;
  for (int64_t i = 0; i < n; i++) above += value[i] > .5;
  for (int k = 0; k < 5; k++) end[k] = (int64_t)rint(1 + (double)k * ((double)(n - 1) / 4) + 1e-10) - 1;
  s.mean = series_mean(value, 0, n - 1);
  s.recall = (double)above / (double)n;
  s.decay = series_mean(value, end[0], end[1]) - series_mean(value, end[3], end[4]);
  return s;
}

/* polygon.c — a polygon as run-length mask, pixel for pixel as COCO's tools draw it: borders on a grid five times as
 * fine, walked along the longer axis; where the walk enters another fine column that is the middle of a pixel, the
 * mask toggles at its row. */
#include <math.h>
#include <stdlib.h>

#include "framework/score/score.h"

enum { FINE = 5 };
static const int64_t polygon_most_steps = 1 << 28; /* of a walk: bounds the time of a hostile file */

typedef struct polygon {
  int height, width;
  uint32_t *toggles;
  size_t n, room;
  int u, v; /* where the walk is */
  bool begun, lost;
} polygon;

static void polygon_toggle(polygon *p, uint32_t at) {
  if (p->n == p->room) {
    const size_t room = p->room ? 2 * p->room : 64;
    uint32_t *more = sm_realloc(p->toggles, room * sizeof *more);
    p->lost = p->lost || !more;
    if (!more) return;
    p->toggles = more;
    p->room = room;
  }
  p->toggles[p->n++] = at;
}

static void polygon_step(polygon *p, int u, int v) {
  if (p->begun && u != p->u) {
    const double x = ((double)(u < p->u ? u : u - 1) + .5) / FINE - .5;
    double y = ((double)(v < p->v ? v : p->v) + .5) / FINE - .5;
    if (floor(x) == x && x >= 0 && x <= p->width - 1) {
      y = ceil(y < 0 ? 0 : y > p->height ? p->height : y);
      polygon_toggle(p, (uint32_t)x * (uint32_t)p->height + (uint32_t)y);
    }
  }
  p->begun = true;
  p->u = u;
  p->v = v;
}

static void polygon_edge(polygon *p, int xs, int ys, int xe, int ye) {
  const int dx = abs(xe - xs), dy = abs(ye - ys), steps = dx >= dy ? dx : dy;
  const bool flip = dx >= dy ? xs > xe : ys > ye;
  if (flip) {
    const int x = xs, y = ys;
    xs = xe;
    ys = ye;
    xe = x;
    ye = y;
  }
  const double slope = !steps ? 0 : dx >= dy ? (double)(ye - ys) / dx : (double)(xe - xs) / dy;
  for (int d = 0; d <= steps && !p->lost; d++) {
    const int t = flip ? steps - d : d;
    if (dx >= dy) polygon_step(p, t + xs, (int)(ys + slope * t + .5));
    else polygon_step(p, (int)(xs + slope * t + .5), t + ys);
  }
}

static int polygon_order(const void *a, const void *b) {
  const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

/* Runs between toggles; two at one place undo each other. */
static void polygon_runs(polygon *p, sm_rle *out) {
  const uint32_t pixels = (uint32_t)p->height * (uint32_t)p->width;
  uint32_t at = 0;
  if (p->n) qsort(p->toggles, p->n, sizeof *p->toggles, polygon_order);
  for (size_t i = 0; i < p->n && p->toggles[i] < pixels; i++) {
    if (i + 1 < p->n && p->toggles[i + 1] == p->toggles[i]) {
      i++;
      continue;
    }
    out->runs[out->n++] = p->toggles[i] - at;
    at = p->toggles[i];
  }
  out->runs[out->n++] = pixels - at;
}

static sm_status polygon_bounds(int height, int width, const double *xy, int64_t corners, sm_error *err) {
  sm_status status = sm_rle_size(height, width, err);
  if (status) return status;
  if (corners < 2) return sm_fail(err, SM_EFORMAT, "a polygon of %lld corners", (long long)corners);
  const double most = 4. * (height > width ? height : width) + 1000;
  double steps = 0;
  for (int64_t i = 0; i < 2 * corners; i++) {
    if (!(fabs(xy[i]) <= most && fabs(xy[i]) < INT32_MAX / 20))
      return sm_fail(err, SM_EFORMAT, "a corner at %g, far outside the picture of %d×%d pixels", xy[i], width,
                     height);
    steps += FINE * fabs(xy[i] - xy[(i + 2) % (2 * corners)]);
  }
  if (steps <= (double)polygon_most_steps) return SM_OK;
  return sm_fail(err, SM_EFORMAT, "a polygon whose border is %.0f pixels long", steps / FINE);
}

sm_status sm_rle_from_polygon(sm_arena *arena, int height, int width, const double *xy, int64_t corners,
                              sm_rle *out, sm_error *err) {
  polygon p = {.height = height, .width = width};
  *out = (sm_rle){.height = height, .width = width};
  sm_status status = polygon_bounds(height, width, xy, corners, err);
  if (status) return status;
  for (int64_t i = 0; i < corners; i++) {
    const double *a = xy + 2 * i, *b = xy + 2 * ((i + 1) % corners);
    polygon_edge(&p, (int)(FINE * a[0] + .5), (int)(FINE * a[1] + .5), (int)(FINE * b[0] + .5),
                 (int)(FINE * b[1] + .5));
  }
  out->runs = p.lost ? NULL : sm_arena_alloc(arena, (p.n + 1) * sizeof *out->runs);
  if (out->runs) polygon_runs(&p, out);
  else status = sm_fail(err, SM_ENOMEM, "no memory for the mask of a polygon");
  sm_free(p.toggles);
  return status;
}

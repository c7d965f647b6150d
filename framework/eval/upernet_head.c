/* upernet_head.c — see upernet_head.h. */
#include "upernet_head.h"

#include <math.h>
#include <stdio.h>

#define EPSILON 1e-5
#define MOMENTUM 0.1
#define INITIAL 0.01 /* deviation of the weights to the classes */

static const int parts[] = {1, 2, 3, 6}; /* of a side, that the pooling module takes means of */
enum { PARTS = sizeof parts / sizeof *parts };

/* ---- sizes --------------------------------------------------------------------------------------------- */

int sm_upernet_finest(int cell) { return cell >= 12 ? 2 : cell >= 6 ? 1 : 0; }

int sm_upernet_side(const sm_upernet_head *h, int level, int patches) {
  const int up = h->finest - level;
  return up >= 0 ? patches << up : patches >> -up;
}

/* ---- parameters ---------------------------------------------------------------------------------------- */

/* A convolution's weight, normal by what it gives on (He et al. 2015, fan out). */
static void head_declare_filter(const sm_params *p, const char *name, int out, int in, int side) {
  const double deviation = sqrt(2 / ((double)out * side * side));
  sm_declare(p, name, SM_INIT_NORMAL, deviation, 0, 4, (int64_t[]){out, in, side, side});
}

static void head_declare_norm(const sm_params *p, const char *base, int dim) {
  sm_declare_norm(p, base, SM_INIT_ONES, dim);
  sm_declare_running(p, base, dim);
}

/* A convolution with its batch norm: BASE.weight, BASE.norm.… */
static void head_declare_conv(const sm_params *p, const char *base, int out, int in, int side) {
  char name[80];
  snprintf(name, sizeof name, "%s.weight", base);
  head_declare_filter(p, name, out, in, side);
  snprintf(name, sizeof name, "%s.norm", base);
  head_declare_norm(p, name, out);
}

/* One transposed convolution per doubling, batch norm between two; no bias, since the lateral convolution's
 * batch norm takes it away. */
static void head_declare_pyramid(const sm_upernet_head *h) {
  for (int level = 0; level < h->finest; level++) {
    const int dim = h->dim[level];
    for (int step = 0; step < h->finest - level; step++) {
      char name[64];
      snprintf(name, sizeof name, "up.%d.%d.weight", level, step);
      sm_declare(&h->params, name, SM_INIT_UNIFORM_FAN, 4.0 * dim, 0, 2, (int64_t[]){4 * (int64_t)dim, dim});
      snprintf(name, sizeof name, "up.%d.%d.norm", level, step);
      if (step) head_declare_norm(&h->params, name, dim);
    }
  }
}

void sm_upernet_head_declare(const sm_upernet_head *h) {
  const sm_params *p = &h->params;
  char name[64];
  head_declare_pyramid(h);
  for (int i = 0; i < PARTS; i++) {
    snprintf(name, sizeof name, "pool.%d", parts[i]);
    head_declare_conv(p, name, h->width, h->dim[SM_UPERNET_LEVELS - 1], 1);
    snprintf(name, sizeof name, "bottleneck.%d.weight", parts[i]);
    head_declare_filter(p, name, h->width, h->width, 3);
  }
  head_declare_conv(p, "bottleneck", h->width, h->dim[SM_UPERNET_LEVELS - 1], 3);
  for (int level = 0; level < SM_UPERNET_LEVELS - 1; level++) {
    snprintf(name, sizeof name, "lateral.%d", level);
    head_declare_conv(p, name, h->width, h->dim[level], 1);
    snprintf(name, sizeof name, "fpn.%d", level);
    head_declare_conv(p, name, h->width, h->width, 3);
  }
  for (int level = 1; level < SM_UPERNET_LEVELS; level++) {
    snprintf(name, sizeof name, "fuse.%d.weight", level);
    head_declare_filter(p, name, h->width, h->width, 3);
  }
  head_declare_conv(p, "fuse", h->width, h->width, 3);
  sm_declare_linear(p, "classes", SM_INIT_NORMAL, INITIAL, h->classes, h->width, true);
  if (!h->auxiliary) return;
  head_declare_conv(p, "auxiliary", h->auxiliary, h->dim[2], 3);
  sm_declare_linear(p, "auxiliary.classes", SM_INIT_NORMAL, INITIAL, h->classes, h->auxiliary, true);
}

/* ---- what it is made of -------------------------------------------------------------------------------- */

typedef struct map {
  sm_tensor *x;
  int rows, cols;
} map;

typedef struct building {
  const sm_upernet_head *h;
  sm_graph *g;
  bool training;
} building;

static sm_tensor *head_norm(const building *b, sm_tensor *x, const char *base) {
  const sm_params *p = &b->h->params;
  const sm_running running = {sm_param(b->g, p, "%s.norm.running_mean", base),
                              sm_param(b->g, p, "%s.norm.running_var", base), MOMENTUM};
  return sm_batch_norm(b->g, x, sm_param(b->g, p, "%s.norm.weight", base),
                       sm_param(b->g, p, "%s.norm.bias", base), &running, EPSILON, b->training);
}

/* With the weight BASE.weight; the size stays. */
static sm_tensor *head_filter(const building *b, map m, const char *base) {
  sm_tensor *w = sm_param(b->g, &b->h->params, "%s.weight", base);
  return sm_convolve(b->g, m.x, w, NULL,
                     &(sm_conv_shape){.height = m.rows, .width = m.cols, .pad = (int)w->dim[2] / 2});
}

static map head_finish(const building *b, map m, const char *base) {
  m.x = sm_relu(b->g, head_norm(b, m.x, base));
  return m;
}

static map head_conv(const building *b, map m, const char *base) {
  m.x = head_filter(b, m, base);
  return head_finish(b, m, base);
}

static map head_resize(const building *b, map m, int rows, int cols, sm_resample_rule rule) {
  return (map){sm_resample(b->g, m.x, rule, m.rows, m.cols, rows, cols), rows, cols};
}

/* Logits of the classes, after whole channels were dropped. */
static sm_tensor *head_classes(const building *b, map m, sm_tensor *drop, const char *base) {
  const sm_params *p = &b->h->params;
  if (drop) m.x = sm_mul(b->g, m.x, head_resize(b, (map){drop, 1, 1}, m.rows, m.cols, SM_RESAMPLE_MEAN).x);
  return sm_linear(b->g, m.x, sm_param(b->g, p, "%s.weight", base), sm_param(b->g, p, "%s.bias", base));
}

/* ---- the levels ---------------------------------------------------------------------------------------- */

static map head_level(const building *b, map m, int level) {
  const int up = b->h->finest - level;
  char name[64];
  for (int step = 0; step < up; step++) {
    snprintf(name, sizeof name, "up.%d.%d", level, step);
    if (step) m.x = sm_gelu(b->g, head_norm(b, m.x, name));
    m.x = sm_linear(b->g, m.x, sm_param(b->g, &b->h->params, "%s.weight", name), NULL);
    m.x = sm_split_tokens(b->g, m.x, m.rows, m.cols);
    m.rows *= 2, m.cols *= 2;
  }
  if (up >= 0) return m;
  m.x = sm_pool_max(b->g, m.x, &(sm_pool_shape){.height = m.rows, .width = m.cols, .side = 1 << -up});
  m.rows >>= -up, m.cols >>= -up;
  return m;
}

static map head_pooling(const building *b, map last) {
  map sum = {head_filter(b, last, "bottleneck"), last.rows, last.cols};
  char name[64];
  for (int i = 0; i < PARTS; i++) {
    snprintf(name, sizeof name, "pool.%d", parts[i]);
    map part = head_conv(b, head_resize(b, last, parts[i], parts[i], SM_RESAMPLE_MEAN), name);
    part = head_resize(b, part, last.rows, last.cols, SM_RESAMPLE_BILINEAR);
    snprintf(name, sizeof name, "bottleneck.%d", parts[i]);
    sum.x = sm_add(b->g, sum.x, head_filter(b, part, name));
  }
  return head_finish(b, sum, "bottleneck");
}

/* All levels as the FPN leaves them, in the first one's size, through the last 3×3 convolution. */
static map head_fuse(const building *b, const map *level) {
  enum { LAST = SM_UPERNET_LEVELS - 1 };
  map above[SM_UPERNET_LEVELS];
  char name[64];
  above[LAST] = head_pooling(b, level[LAST]);
  for (int i = LAST - 1; i >= 0; i--) {
    snprintf(name, sizeof name, "lateral.%d", i);
    above[i] = head_conv(b, level[i], name);
    const map lower = head_resize(b, above[i + 1], level[i].rows, level[i].cols, SM_RESAMPLE_BILINEAR);
    above[i].x = sm_add(b->g, above[i].x, lower.x);
  }
  map sum = head_conv(b, above[0], "fpn.0");
  sum.x = head_filter(b, sum, "fuse");
  for (int i = 1; i <= LAST; i++) {
    snprintf(name, sizeof name, "fpn.%d", i);
    map m = i < LAST ? head_conv(b, above[i], name) : above[i];
    m = head_resize(b, m, sum.rows, sum.cols, SM_RESAMPLE_BILINEAR);
    snprintf(name, sizeof name, "fuse.%d", i);
    sum.x = sm_add(b->g, sum.x, head_filter(b, m, name));
  }
  return head_finish(b, sum, "fuse");
}

sm_upernet_maps sm_upernet_head_build(const sm_upernet_head *h, sm_graph *g, sm_tensor *const *block,
                                      int rows, int cols, sm_tensor *drop, sm_tensor *drop_auxiliary,
                                      bool training) {
  const building b = {h, g, training};
  map level[SM_UPERNET_LEVELS];
  sm_upernet_maps out = {0};
  for (int i = 0; i < SM_UPERNET_LEVELS; i++) level[i] = head_level(&b, (map){block[i], rows, cols}, i);
  out.logits = head_classes(&b, head_fuse(&b, level), drop, "classes");
  if (training && h->auxiliary)
    out.auxiliary =
        head_classes(&b, head_conv(&b, level[2], "auxiliary"), drop_auxiliary, "auxiliary.classes");
  return out;
}

/* shapes.c — dataset `shapes`: generated pictures whose classes differ in form alone.
 *
 * Picture i is a function of (seed, split, i): one shape of class i mod classes, somewhere, turned and sized
 * at random, before a background with clutter. Colours, gradients and stripes of shape and background are
 * drawn alike for every class, and all shapes have equal area, so neither colour nor texture nor the share of
 * bright pixels tells the class. Label pictures say which pixels are the shape. Shapes are drawn from signed
 * distances, which gives smooth edges at any size. Only exactly rounded arithmetic is used (no libm function
 * but sqrt), so the pictures are the same bytes on every machine. */
#include <smalti/plugin.h>

#include <math.h>
#include <string.h>

enum { SPLIT_TRAIN, SPLIT_TEST };
static const char *const split_choices[] = {"train", "test", NULL};

/* ---- forms: signed distance in units in which the form fills roughly the unit circle, y downwards ---- */

static double shapes_larger(double a, double b) { return a > b ? a : b; }
static double shapes_smaller(double a, double b) { return a < b ? a : b; }
static double shapes_size_of(double x, double y) { return sqrt(x * x + y * y); }
static double shapes_box(double x, double y, double half_x, double half_y) {
  return shapes_larger(fabs(x) - half_x, fabs(y) - half_y);
}

static double shapes_disc(double x, double y) { return shapes_size_of(x, y) - 0.8; }

static double shapes_square(double x, double y) { return shapes_box(x, y, 0.75, 0.75); }

static double shapes_triangle(double x, double y) {
  return shapes_larger(fabs(x) * 0.86602540378443865 - y * 0.5, y) - 0.5;
}

static double shapes_ring(double x, double y) { return fabs(shapes_size_of(x, y) - 0.75) - 0.2; }

static double shapes_cross(double x, double y) {
  return shapes_smaller(shapes_box(x, y, 1, 0.3), shapes_box(x, y, 0.3, 1));
}

/* Five tips: mirrored until the point lies beside the upper tip, then one edge is left. */
static double shapes_star(double x, double y) {
  static const double c = 0.80901699437494742, s = 0.58778525229247313; /* 36 degrees */
  y = -y;
  x = fabs(x);
  for (int fold = 0; fold < 2; fold++) {
    double side = x * c - y * s; /* > 0: nearer to the next tip */
    if (side > 0) {
      x -= 2 * side * c;
      y += 2 * side * s;
    }
    x = fabs(x);
  }
  static const double inner = 0.42;
  double edge_x = inner * s, edge_y = inner * c - 1,
         length = shapes_size_of(edge_x, edge_y); /* from the tip (0, 1) */
  return (x * -edge_y + (y - 1) * edge_x) / length;
}

static double shapes_crescent(double x, double y) {
  return shapes_larger(shapes_size_of(x, y) - 0.95, 0.75 - shapes_size_of(x - 0.45, y));
}

/* A square on its corner with half a disc on each upper side. */
static double shapes_heart(double x, double y) {
  static const double half = 0.45;
  double u = (x - y) * 0.70710678118654752, v = (-x - y) * 0.70710678118654752;
  return shapes_smaller(shapes_box(u, v, half, half),
                        shapes_smaller(shapes_size_of(u - half, v), shapes_size_of(u, v - half)) - half);
}

static double shapes_arrow(double x, double y) {
  double head = shapes_larger(fabs(x) * 0.8 - (y + 1) * 0.6, y + 0.05),
         shaft = shapes_box(x, y - 0.4, 0.22, 0.6);
  return shapes_smaller(head, shaft);
}

static double shapes_bars(double x, double y) { return shapes_box(fabs(x) - 0.45, y, 0.2, 0.85); }

typedef struct form {
  const char *name;
  double (*distance)(double x, double y);
} form;

static const form forms[] = {
    {"disc", shapes_disc},         {"square", shapes_square}, {"triangle", shapes_triangle},
    {"ring", shapes_ring},         {"cross", shapes_cross},   {"star", shapes_star},
    {"crescent", shapes_crescent}, {"heart", shapes_heart},   {"arrow", shapes_arrow},
    {"bars", shapes_bars},
};
enum { FORMS = sizeof forms / sizeof *forms, NAME_BYTES = 32 };

typedef struct shapes {
  int64_t count, size, classes, seed, clutter;
  double rotation, texture, spread, colour;
  int split;

  double unit[FORMS]; /* factor that gives each form the area 1 */
  char (*names)[NAME_BYTES];
} shapes;

/* The factor from the share of a grid's points that lie inside. */
static double shapes_unit_of(const form *f) {
  enum { POINTS = 256 };
  static const double reach = 1.25;
  int inside = 0;
  for (int j = 0; j < POINTS; j++)
    for (int i = 0; i < POINTS; i++)
      inside += f->distance(((i + 0.5) * 2 / POINTS - 1) * reach, ((j + 0.5) * 2 / POINTS - 1) * reach) < 0;
  return sqrt((double)inside / (POINTS * POINTS)) * 2 * reach;
}

/* ---- paint: colours over the picture ----------------------------------------------------------------- */

/* Cosine and sine of `turns` full circles, |turns| <= 1/2: Taylor series of an eighth, doubled thrice. */
static void shapes_direction(double turns, double *c, double *s) {
  double a = turns * 6.2831853071795865 / 8, a2 = a * a;
  double cosine = 1 - a2 / 2 * (1 - a2 / 12 * (1 - a2 / 30 * (1 - a2 / 56)));
  double sine = a * (1 - a2 / 6 * (1 - a2 / 20 * (1 - a2 / 42 * (1 - a2 / 72))));
  for (int i = 0; i < 3; i++) {
    double twice = cosine * cosine - sine * sine;
    sine = 2 * cosine * sine;
    cosine = twice;
  }
  *c = cosine;
  *s = sine;
}

/* A gradient between two colours, with stripes of lightness across it. Coordinates run over the picture from
 * 0 to 1. */
typedef struct paint {
  double from[3], step[3]; /* colour at the gradient's start, and its change to the end */
  double along_x, along_y; /* gradient's direction */
  double stripe_x, stripe_y, phase, depth;
} paint;

static double shapes_lightness(const double rgb[3]) {
  return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2];
}

static void shapes_draw_colour(sm_rng *rng, double rgb[3]) {
  for (int c = 0; c < 3; c++) rgb[c] = sm_rng_between(rng, 0.05, 0.95);
}

static paint shapes_draw_paint(sm_rng *rng, const double base[3], double texture) {
  paint p;
  double c, s, waves = sm_rng_between(rng, 2, 8);
  shapes_direction(sm_rng_between(rng, -0.5, 0.5), &p.along_x, &p.along_y);
  shapes_direction(sm_rng_between(rng, -0.5, 0.5), &c, &s);
  p.stripe_x = c * waves;
  p.stripe_y = s * waves;
  p.phase = sm_rng_uniform(rng);
  p.depth = texture * sm_rng_between(rng, 0, 0.16);
  for (int k = 0; k < 3; k++) {
    double change = texture * sm_rng_between(rng, -0.12, 0.12);
    p.from[k] = base[k] - change;
    p.step[k] = 2 * change;
  }
  return p;
}

/* A triangle wave: 0 … 1 … 0 over one period. */
static double shapes_wave(double t) {
  t -= floor(t);
  return t < 0.5 ? 2 * t : 2 - 2 * t;
}

static void shapes_paint_at(const paint *p, double x, double y, double rgb[3]) {
  double t = 0.5 + (x - 0.5) * p->along_x + (y - 0.5) * p->along_y;
  double stripe = p->depth * (shapes_wave(x * p->stripe_x + y * p->stripe_y + p->phase) - 0.5);
  for (int c = 0; c < 3; c++) rgb[c] = p->from[c] + t * p->step[c] + stripe;
}

/* ---- one picture ------------------------------------------------------------------------------------- */

/* A blob of clutter: an ellipse too small to pass for a shape. */
typedef struct blob {
  double x, y, inverse_x, inverse_y, cosine, sine, radius;
  double rgb[3];
} blob;

enum { MOST_CLUTTER = 8 };

typedef struct scene {
  paint back, front;
  blob blobs[MOST_CLUTTER];
  int n_blobs;
  double (*distance)(double, double);
  double x, y, scale, cosine, sine; /* where the shape is; scale: units of the form to parts of the picture */
  double noise;
} scene;

static blob shapes_draw_blob(sm_rng *rng) {
  blob b;
  b.x = sm_rng_uniform(rng);
  b.y = sm_rng_uniform(rng);
  b.radius = sm_rng_between(rng, 0.03, 0.08);
  double stretch = sm_rng_between(rng, 1, 1.6);
  b.inverse_x = 1 / stretch;
  b.inverse_y = stretch;
  shapes_direction(sm_rng_between(rng, -0.5, 0.5), &b.cosine, &b.sine);
  shapes_draw_colour(rng, b.rgb);
  return b;
}

/* A drawn value pulled towards the middle of its range; exactly the drawn one where spread is 1. */
static double shapes_spread(const shapes *set, double drawn, double middle) {
  return drawn * set->spread + middle * (1 - set->spread);
}

/* Pull colours towards a light grey shape on dark grey; they stay as drawn where colour is 1. */
static void shapes_tone_down(const shapes *set, double front[3], double back[3]) {
  bool swap = set->colour < 1 && shapes_lightness(front) < shapes_lightness(back);
  for (int c = 0; c < 3; c++) {
    double f = swap ? back[c] : front[c], b = swap ? front[c] : back[c];
    front[c] = f * set->colour + 0.8 * (1 - set->colour);
    back[c] = b * set->colour + 0.2 * (1 - set->colour);
  }
}

/* Every class draws the same numbers in the same order. */
static scene shapes_draw_scene(const shapes *set, int64_t index) {
  enum { TRIES = 16 };
  static const double contrast = 0.3;
  sm_rng rng = sm_rng_make((uint64_t)set->seed, SM_RNG_SHAPES, (uint64_t)set->split, (uint64_t)index, 0);
  int label = (int)(index % set->classes);
  double back[3], front[3];
  scene s = {.distance = forms[label].distance};
  shapes_draw_colour(&rng, back);
  for (int i = 0; i < TRIES; i++) {
    shapes_draw_colour(&rng, front);
    if (fabs(shapes_lightness(front) - shapes_lightness(back)) >= contrast) break;
  }
  shapes_tone_down(set, front, back);
  s.back = shapes_draw_paint(&rng, back, set->texture);
  s.front = shapes_draw_paint(&rng, front, set->texture);
  s.x = shapes_spread(set, sm_rng_between(&rng, 0.35, 0.65), 0.5);
  s.y = shapes_spread(set, sm_rng_between(&rng, 0.35, 0.65), 0.5);
  /* root of the area, as part of the side */
  s.scale = shapes_spread(set, sm_rng_between(&rng, 0.34, 0.5), 0.42) / set->unit[label];
  shapes_direction(sm_rng_between(&rng, -1, 1) * set->rotation / 360, &s.cosine, &s.sine);
  s.noise = set->texture * sm_rng_between(&rng, 0, 0.06);
  s.n_blobs = (int)sm_rng_below(&rng, (uint32_t)set->clutter + 1);
  for (int i = 0; i < s.n_blobs; i++) s.blobs[i] = shapes_draw_blob(&rng);
  return s;
}

static void shapes_blend(double to[3], const double with[3], double share) {
  for (int c = 0; c < 3; c++) to[c] += (with[c] - to[c]) * share;
}

/* The part of a pixel inside, from the distance of its centre in pixels. */
static double shapes_cover(double distance) {
  return distance >= 0.5 ? 0 : distance <= -0.5 ? 1 : 0.5 - distance;
}

/* Distance of a place of the picture from the shape's edge, in parts of the side: below 0 inside. */
static double shapes_distance_at(const scene *s, double x, double y) {
  const double dx = (x - s->x) / s->scale, dy = (y - s->y) / s->scale;
  return s->distance(dx * s->cosine + dy * s->sine, dy * s->cosine - dx * s->sine) * s->scale;
}

static void shapes_pixel_at(const scene *s, double x, double y, double pixels, double rgb[3]) {
  shapes_paint_at(&s->back, x, y, rgb);
  for (int i = 0; i < s->n_blobs; i++) {
    const blob *b = &s->blobs[i];
    double dx = x - b->x, dy = y - b->y;
    double u = (dx * b->cosine + dy * b->sine) * b->inverse_x,
           v = (dy * b->cosine - dx * b->sine) * b->inverse_y;
    double share = shapes_cover((shapes_size_of(u, v) - b->radius) * pixels);
    if (share > 0) shapes_blend(rgb, b->rgb, share);
  }
  double share = shapes_cover(shapes_distance_at(s, x, y) * pixels);
  if (share > 0) {
    double front[3];
    shapes_paint_at(&s->front, x, y, front);
    shapes_blend(rgb, front, share);
  }
}

static uint8_t shapes_to_byte(double v) { return v <= 0 ? 0 : v >= 1 ? 255 : (uint8_t)(v * 255 + 0.5); }

static sm_status shapes_read(const void *self, int64_t index, const sm_image_limits *limits, sm_image *out,
                             sm_error *err) {
  const shapes *set = self;
  const int side = (int)set->size;
  (void)limits;
  sm_status status = sm_image_reshape(out, side, side, err);
  if (status) return status;
  const scene s = shapes_draw_scene(set, index);
  sm_rng grain = sm_rng_make((uint64_t)set->seed, SM_RNG_SHAPES, (uint64_t)set->split, (uint64_t)index, 1);
  uint8_t *to = out->rgb;
  for (int j = 0; j < side; j++)
    for (int i = 0; i < side; i++, to += 3) {
      double rgb[3];
      shapes_pixel_at(&s, (i + 0.5) / side, (j + 0.5) / side, side, rgb);
      uint32_t bits = sm_rng_u32(&grain);
      double light = s.noise * ((bits >> 8) * (1.0 / 16777216) - 0.5) * 2;
      for (int c = 0; c < 3; c++) to[c] = shapes_to_byte(rgb[c] + light);
    }
  return SM_OK;
}

/* ---- label pictures ---------------------------------------------------------------------------------- */

static int shapes_map_classes(const void *self) { return (int)((const shapes *)self)->classes + 1; }
static const char *shapes_map_class_name(const void *self, int c) {
  (void)self;
  return c ? forms[c - 1].name : "background";
}
static int shapes_map_ignore(const void *self) {
  (void)self;
  return -1;
}

/* 0 is background, and 1 + c the form of class c where it covers the pixel's centre. */
static sm_status shapes_map_read(const void *self, int64_t index, const sm_image_limits *limits, sm_label_map *out,
                                 sm_error *err) {
  const shapes *set = self;
  const int side = (int)set->size;
  (void)limits;
  sm_status status = sm_label_map_reshape(out, side, side, err);
  if (status) return status;
  const scene s = shapes_draw_scene(set, index);
  for (int j = 0; j < side; j++)
    for (int i = 0; i < side; i++) {
      const bool inside = shapes_distance_at(&s, (i + 0.5) / side, (j + 0.5) / side) < 0;
      out->value[j * side + i] = (uint16_t)(inside ? 1 + index % set->classes : 0);
    }
  return SM_OK;
}

/* ---- the plugin -------------------------------------------------------------------------------------- */

static sm_status shapes_open(void *self, sm_error *err) {
  shapes *set = self;
  if (set->count < set->classes)
    return sm_fail(err, SM_EINVAL, "%lld pictures for %lld classes: count must not be less than classes",
                   (long long)set->count, (long long)set->classes);
  set->names = sm_malloc((size_t)set->count * sizeof *set->names);
  if (!set->names)
    return sm_fail(err, SM_ENOMEM, "out of memory for %lld pictures' names", (long long)set->count);
  for (int c = 0; c < FORMS; c++) set->unit[c] = shapes_unit_of(&forms[c]);
  for (int64_t i = 0; i < set->count; i++)
    snprintf(set->names[i], sizeof *set->names, "%s-%lld-%s", split_choices[set->split], (long long)i,
             forms[i % set->classes].name);
  return SM_OK;
}

static void shapes_destroy(void *self) { sm_free(((shapes *)self)->names); }

static int64_t shapes_count(const void *self) { return ((const shapes *)self)->count; }

static int shapes_label(const void *self, int64_t index) {
  return (int)(index % ((const shapes *)self)->classes);
}

static const char *shapes_name(const void *self, int64_t index) {
  return ((const shapes *)self)->names[index];
}

static int shapes_classes(const void *self) { return (int)((const shapes *)self)->classes; }

static const char *shapes_class_name(const void *self, int c) {
  (void)self;
  return forms[c].name;
}

static uint64_t shapes_hash(const void *self) {
  const shapes *set = self;
  char text[160];
  int n = snprintf(text, sizeof text, "shapes %lld %lld %lld %lld %lld %.6f %d", (long long)set->count,
                   (long long)set->size, (long long)set->classes, (long long)set->seed,
                   (long long)set->clutter, set->rotation, set->split);
  return sm_hash64(text, (size_t)n, 0);
}

static const sm_option options[] = {
    SM_INT(shapes, count, "count", "10000", 2, 1e8, "pictures", "how many pictures there are"),
    SM_INT(shapes, size, "size", "32", 8, 1024, "px", "side of a picture"),
    SM_INT(shapes, classes, "classes", "10", 2, FORMS, NULL,
           "how many forms: disc, square, triangle, ring, cross, star, crescent, heart, arrow, bars"),
    SM_CHOICE(shapes, split, "split", "train", split_choices, "two sets without a common picture"),
    SM_INT(shapes, seed, "seed", "0", 0, 1e15, NULL, "another seed draws other pictures"),
    SM_FLOAT(shapes, rotation, "rotation", "30", 0, 180, "degrees",
             "shapes are turned by up to this angle either way"),
    SM_FLOAT(shapes, colour, "colour", "1", 0, 1, NULL,
             "how much colours differ; 0: light grey on dark grey"),
    SM_FLOAT(shapes, spread, "spread", "1", 0, 1, NULL,
             "how much places and sizes differ; 0: all in the middle, of one size"),
    SM_FLOAT(shapes, texture, "texture", "1", 0, 1, NULL,
             "strength of gradients, stripes and grain, which all classes share; 0: plain colours"),
    SM_INT(shapes, clutter, "clutter", "3", 0, MOST_CLUTTER, "blobs", "most small blobs behind a shape"),
};

static const sm_map_ops maps = {
    .classes = shapes_map_classes,
    .class_name = shapes_map_class_name,
    .ignore = shapes_map_ignore,
    .name = shapes_name,
    .read = shapes_map_read,
};

static const sm_dataset_ops ops = {
    .open = shapes_open,
    .count = shapes_count,
    .label = shapes_label,
    .name = shapes_name,
    .classes = shapes_classes,
    .class_name = shapes_class_name,
    .read = shapes_read,
    .hash = shapes_hash,
    .maps = &maps,
};

static const sm_plugin plugin = {
    .kind = SM_DATASET,
    .name = "shapes",
    .summary = "generated pictures whose classes differ in form alone",
    .version = "0.1",
    .license = "Apache-2.0",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(shapes),
    .destroy = shapes_destroy,
    .ops = &ops,
};

SM_MODULE(&plugin)

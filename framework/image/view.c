/* view.c — one random view of a picture: what is drawn (sm_view_draw) is kept apart from how it is applied,
 * so that the same crop can be made again at another size. Sources: torchvision transforms.py
 * (RandomResizedCrop, ColorJitter); iBOT main_ibot.py (DataAugmentationiBOT) for the order of operations and
 * the default figures. */
#include "planes.h"

#include <math.h>
#include <string.h>

sm_view_recipe sm_view_recipe_default(void) {
  sm_view_recipe r = {.height = 224,
                      .width = 224,
                      .filter = SM_FILTER_BICUBIC,
                      .scale = {0.4, 1.0},
                      .ratio = {3.0 / 4.0, 4.0 / 3.0},
                      .flip_p = 0.5,
                      .jitter_p = 0.8,
                      .brightness = 0.4,
                      .contrast = 0.4,
                      .saturation = 0.2,
                      .hue = 0.1,
                      .grey_p = 0.2,
                      .blur_p = 1.0,
                      .blur_radius = {0.1, 2.0}};
  memcpy(r.mean, sm_imagenet_mean, sizeof r.mean);
  memcpy(r.std, sm_imagenet_std, sizeof r.std);
  return r;
}

sm_status sm_view_recipe_check(const sm_view_recipe *r, sm_error *err) {
  const struct {
    const char *name;
    double value, low, high;
  } fields[] = {{"height", r->height, 1, SM_IMAGE_MAX_SIDE},
                {"width", r->width, 1, SM_IMAGE_MAX_SIDE},
                {"flip_p", r->flip_p, 0, 1},
                {"jitter_p", r->jitter_p, 0, 1},
                {"brightness", r->brightness, 0, 1000},
                {"contrast", r->contrast, 0, 1000},
                {"saturation", r->saturation, 0, 1000},
                {"hue", r->hue, 0, 0.5},
                {"grey_p", r->grey_p, 0, 1},
                {"blur_p", r->blur_p, 0, 1},
                {"blur_radius[0]", r->blur_radius[0], 0, 100},
                {"blur_radius[1]", r->blur_radius[1], r->blur_radius[0], 100},
                {"solarize_p", r->solarize_p, 0, 1},
                {"scale[0]", r->scale[0], 1e-9, 1e9},
                {"scale[1]", r->scale[1], r->scale[0], 1e9},
                {"ratio[0]", r->ratio[0], 1e-6, 1e6},
                {"ratio[1]", r->ratio[1], r->ratio[0], 1e6},
                {"randaugment.layers", r->randaugment.layers, 0, SM_RANDAUGMENT_MAX},
                {"randaugment.magnitude", r->randaugment.magnitude, 0, SM_RANDAUGMENT_FULL},
                {"randaugment.deviation", r->randaugment.deviation, 0, 1000}};
  if ((int)r->filter < 0 || r->filter > SM_FILTER_BOX)
    return sm_fail(err, SM_EINVAL, "view filter %d does not exist", (int)r->filter);
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
    if (!(fields[i].value >= fields[i].low && fields[i].value <= fields[i].high))
      return sm_fail(err, SM_EINVAL, "view %s is %g, not between %g and %g", fields[i].name, fields[i].value,
                     fields[i].low, fields[i].high);
  for (int c = 0; c < 3; c++)
    if (!(r->std[c] > 0) || !isfinite(r->mean[c]))
      return sm_fail(err, SM_EINVAL, "view mean %g and deviation %g of channel %d cannot normalise",
                     r->mean[c], r->std[c], c);
  return SM_OK;
}

const char *sm_view_size_text(int height, int width, char *buf, size_t size) {
  if (height == width) snprintf(buf, size, "%d", height);
  else snprintf(buf, size, "%dx%d", height, width);
  return buf;
}

static bool view_side(const char *text, size_t n, int *side) {
  char digits[8];
  int64_t value;
  if (n < 1 || n >= sizeof digits) return false;
  memcpy(digits, text, n);
  digits[n] = 0;
  if (!sm_parse_int(digits, &value) || value < 1 || value > SM_IMAGE_MAX_SIDE) return false;
  *side = (int)value;
  return true;
}

bool sm_view_size_parse(const char *text, int *height, int *width) {
  const size_t n = strcspn(text, "x");
  if (!view_side(text, n, height)) return false;
  if (text[n]) return view_side(text + n + 1, strlen(text + n + 1), width);
  *width = *height;
  return true;
}

/* ---- drawing ------------------------------------------------------------------------------------------- */

static double view_factor_around_one(sm_rng *rng, double reach) {
  return sm_rng_between(rng, reach < 1 ? 1 - reach : 0, 1 + reach);
}

/* Every draw is made whether or not it is used, so that changing one probability does not change the other
 * draws. */
static void view_draw_colour(const sm_view_recipe *r, sm_rng *rng, sm_view_choice *out) {
  uint32_t order[4] = {SM_JITTER_BRIGHTNESS, SM_JITTER_CONTRAST, SM_JITTER_SATURATION, SM_JITTER_HUE};
  out->flip = sm_rng_uniform(rng) < r->flip_p;
  out->jitter = sm_rng_uniform(rng) < r->jitter_p;
  sm_rng_shuffle(rng, order, 4);
  for (int i = 0; i < 4; i++) out->order[i] = (uint8_t)order[i];
  out->brightness = view_factor_around_one(rng, r->brightness);
  out->contrast = view_factor_around_one(rng, r->contrast);
  out->saturation = view_factor_around_one(rng, r->saturation);
  out->hue = sm_rng_between(rng, -r->hue, r->hue);
  out->grey = sm_rng_uniform(rng) < r->grey_p;
  out->blur = sm_rng_uniform(rng) < r->blur_p;
  out->blur_radius = sm_rng_between(rng, r->blur_radius[0], r->blur_radius[1]);
  out->solarize = sm_rng_uniform(rng) < r->solarize_p;
}

static sm_box view_centred(int width, int height, int w, int h) {
  w = w < 1 ? 1 : w > width ? width : w;
  h = h < 1 ? 1 : h > height ? height : h;
  return (sm_box){(width - w) / 2, (height - h) / 2, w, h};
}

/* nearbyint rounds a half to the even side, as Python's round. */
sm_box sm_crop_draw(const double scale[2], const double ratio[2], int width, int height, sm_rng *rng) {
  const double area = (double)width * height;
  for (int attempt = 0; attempt < 10; attempt++) {
    double target = area * sm_rng_between(rng, scale[0], scale[1]);
    double aspect = exp(sm_rng_between(rng, log(ratio[0]), log(ratio[1])));
    double w = nearbyint(sqrt(target * aspect)), h = nearbyint(sqrt(target / aspect));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    sm_box box = {.width = (int)w, .height = (int)h};
    box.top = (int)sm_rng_below(rng, (uint32_t)(height - box.height + 1));
    box.left = (int)sm_rng_below(rng, (uint32_t)(width - box.width + 1));
    return box;
  }
  const double whole = (double)width / height;
  if (whole < ratio[0]) return view_centred(width, height, width, (int)nearbyint(width / ratio[0]));
  if (whole > ratio[1]) return view_centred(width, height, (int)nearbyint(height * ratio[1]), height);
  return view_centred(width, height, width, height);
}

void sm_view_draw(const sm_view_recipe *recipe, sm_rng *rng, int width, int height, sm_view_choice *out) {
  view_draw_colour(recipe, rng, out);
  out->box = sm_crop_draw(recipe->scale, recipe->ratio, width, height, rng);
  sm_randaugment_draw(&recipe->randaugment, rng, &out->randaugment);
}

sm_view_choice sm_view_choice_plain(const sm_view_choice *choice) {
  return (sm_view_choice){.box = choice->box,
                          .flip = choice->flip,
                          .order = {0, 1, 2, 3},
                          .brightness = 1,
                          .contrast = 1,
                          .saturation = 1};
}

/* ---- applying ------------------------------------------------------------------------------------------ */

/* The pixels that a stretch of `length` full-size pixels from `at` on touches where there is one for every
 * `by`, and where among them it begins and ends. */
static sm_span view_shrunk_span(int at, int length, int by, int *first, int *count) {
  *first = at / by;
  *count = (at + length + by - 1) / by - *first;
  return (sm_span){(double)at / by - *first, (double)(at + length) / by - *first};
}

static sm_status view_planes(const sm_image *in, int shrunk, const sm_view_recipe *recipe,
                             const sm_view_choice *choice, sm_image_scratch *scratch, sm_planes *out,
                             sm_error *err) {
  const sm_box *b = &choice->box;
  const int64_t width = (int64_t)in->width * shrunk, height = (int64_t)in->height * shrunk;
  if (b->left < 0 || b->top < 0 || b->width < 1 || b->height < 1 || b->width > width - b->left ||
      b->height > height - b->top)
    return sm_fail(err, SM_EINVAL, "the box %d x %d at (%d, %d) is not inside the picture of %d x %d",
                   b->width, b->height, b->left, b->top, (int)width, (int)height);
  const sm_pixel_ops *ops = sm_pixel_ops_best();
  sm_resize by = {.box = *b,
                  .keep = {0, 0, recipe->width, recipe->height},
                  .width = recipe->width,
                  .height = recipe->height,
                  .filter = recipe->filter,
                  .flip = choice->flip};
  if (shrunk > 1) {
    by.across = view_shrunk_span(b->left, b->width, shrunk, &by.box.left, &by.box.width);
    by.down = view_shrunk_span(b->top, b->height, shrunk, &by.box.top, &by.box.height);
  }
  sm_status status = sm_resize_planes(in, &by, scratch, out, err);
  if (status) return status;
  status = sm_planes_randaugment(out, &choice->randaugment, recipe->filter, recipe->mean, scratch, err);
  if (status) return status;
  const size_t n = sm_planes_count(out);
  if (choice->jitter) sm_planes_jitter(out, choice);
  if (choice->grey) ops->grey(out->plane, n);
  if (choice->blur) status = sm_planes_blur(out, choice->blur_radius, scratch, err);
  if (choice->solarize)
    for (int c = 0; c < 3; c++) ops->solarize(out->plane[c], n, 128);
  return status;
}

int sm_view_may_shrink(const sm_view_recipe *recipe, const sm_view_choice *choice) {
  const int width = SM_VIEW_SHRINK_ROOM * recipe->width, height = SM_VIEW_SHRINK_ROOM * recipe->height;
  int by = 8;
  while (by > 1 && (choice->box.width / by < width || choice->box.height / by < height)) by /= 2;
  return by;
}

sm_status sm_view_apply(const sm_image *in, const sm_view_recipe *recipe, const sm_view_choice *choice,
                        sm_image_scratch *scratch, float *chw, sm_error *err) {
  return sm_view_apply_shrunk(in, 1, recipe, choice, scratch, chw, err);
}

sm_status sm_view_apply_shrunk(const sm_image *in, int by, const sm_view_recipe *recipe,
                               const sm_view_choice *choice, sm_image_scratch *scratch, float *chw,
                               sm_error *err) {
  sm_planes planes;
  sm_status status = view_planes(in, by, recipe, choice, scratch, &planes, err);
  if (status) return status;
  float table[3][256];
  sm_normalise_table(recipe->mean, recipe->std, table);
  const size_t n = sm_planes_count(&planes);
  for (int c = 0; c < 3; c++) {
    const uint8_t *restrict from = planes.plane[c];
    float *restrict to = chw + (size_t)c * n;
    for (size_t i = 0; i < n; i++) to[i] = table[c][from[i]];
  }
  return SM_OK;
}

sm_status sm_view_pixels(const sm_image *in, const sm_view_recipe *recipe, const sm_view_choice *choice,
                         sm_image_scratch *scratch, sm_image *out, sm_error *err) {
  sm_planes planes;
  sm_status status = view_planes(in, 1, recipe, choice, scratch, &planes, err);
  if (!status) status = sm_image_reshape(out, planes.width, planes.height, err);
  if (!status) sm_planes_to_image(&planes, out);
  return status;
}

/* framework/image/augment.h — changes of a picture that training and evaluation draw: crops, colour, blur,
 * RandAugment, and views, which are made of all of them. The arithmetic is that of PIL 9.4 and torchvision;
 * see smalti/image.h. */
#ifndef SM_IMAGE_AUGMENT_H
#define SM_IMAGE_AUGMENT_H

#include <smalti/image.h>

/* ---- centre crops -------------------------------------------------------------------------------------- */

/* For evaluation: scale the picture until it just covers height x width enlarged by resize / s, where s is
 * the shorter of the two; then cut height x width out of its centre. So `resize` is what the shorter side of
 * the crop is cut from, and must not be less than it. Both scaled sides are truncated. For a square that is
 * torchvision's rule: the picture's shorter side becomes `resize`. Only the pixels
 * that remain are computed. */
sm_status sm_image_eval_crop(const sm_image *in, int resize, int height, int width, sm_filter,
                             sm_image_scratch *, sm_image *out, sm_error *err);

/* The `resize` that evaluations take for crops of height x width: an eighth more than the shorter side, as
 * published for 224 (256); small pictures are cut whole. */
int sm_image_eval_resize(int height, int width);

/* ---- colour, blur, flip: in place ---------------------------------------------------------------------- */

/* factor 1 leaves the picture as it is; factors are >= 0. Source: PIL ImageEnhance and Blend.c. */
void sm_image_brightness(sm_image *, double factor); /* towards black           */
void sm_image_contrast(sm_image *, double factor);   /* towards the mean grey   */
void sm_image_saturation(sm_image *, double factor); /* towards the grey picture */
/* Turn the hue by `turn` of a full circle, -0.5 … 0.5, in steps of 1/255. Source: torchvision adjust_hue, PIL
 * Convert.c. */
void sm_image_hue(sm_image *, double turn);
/* Luma L = (19595 R + 38470 G + 7471 B + 32768) >> 16 in all three channels. */
void sm_image_grey(sm_image *);
void sm_image_solarize(sm_image *, int threshold); /* values >= threshold are inverted (reference: 128) */
/* PIL's GaussianBlur: three box blurs of fractional width in each direction; radius is the standard deviation
 * in pixels, 0 … SM_BLUR_RADIUS_MAX. Source: Pillow src/libImaging/BoxBlur.c. */
sm_status sm_image_blur(sm_image *, double radius, sm_image_scratch *, sm_error *err);
#define SM_BLUR_RADIUS_MAX 100

/* ---- RandAugment --------------------------------------------------------------------------------------- */

/* A few operations out of fifteen, one after the other, all of about the same strength (Cubuk et al. 2020),
 * as timm's "rand-m9-mstd0.5-inc1" that DeiT, BEiT and iBOT fine-tune with. Every operation gives PIL's
 * bytes. */
typedef enum {
  SM_RA_AUTO_CONTRAST = 0,
  SM_RA_EQUALIZE,
  SM_RA_INVERT,
  SM_RA_ROTATE,       /* argument: degrees, anticlockwise                                  */
  SM_RA_POSTERIZE,    /* bits that are kept, 0 … 4; 0: all black                           */
  SM_RA_SOLARIZE,     /* values from here on are inverted, 0 … 256                         */
  SM_RA_SOLARIZE_ADD, /* added to values below 128                                         */
  SM_RA_COLOUR,       /* factor 0.1 … 1.9, 1 changes nothing; so for the next three        */
  SM_RA_CONTRAST,
  SM_RA_BRIGHTNESS,
  SM_RA_SHARPNESS,
  SM_RA_SHEAR_X,     /* row y comes from argument · y pixels further right                 */
  SM_RA_SHEAR_Y,     /* column x comes from argument · x pixels further down               */
  SM_RA_TRANSLATE_X, /* share of the width that the picture moves to the left              */
  SM_RA_TRANSLATE_Y, /* share of the height that it moves up                               */
  SM_RANDAUGMENT_OPS
} sm_randaugment_op;
extern const char *const sm_randaugment_names[]; /* timm's, NULL-terminated, in this order */

/* layers operations are drawn, with replacement, each then applied with probability 1/2 at a magnitude from a
 * normal distribution, cut off to 0 … SM_RANDAUGMENT_FULL. layers 0: none. */
typedef struct sm_randaugment {
  int layers; /* at most SM_RANDAUGMENT_MAX; the published recipes have 2 */
  double magnitude, deviation;
} sm_randaugment;
#define SM_RANDAUGMENT_MAX 4
#define SM_RANDAUGMENT_FULL 10

typedef struct sm_randaugment_step {
  sm_randaugment_op op;
  double argument;
} sm_randaugment_step;
typedef struct sm_randaugment_choice {
  int steps; /* those that are applied */
  sm_randaugment_step step[SM_RANDAUGMENT_MAX];
} sm_randaugment_choice;

/* The argument of an operation at a magnitude, 0 … SM_RANDAUGMENT_FULL; negative: the other direction, where
 * there are two. Where there is no argument, 0. */
double sm_randaugment_argument(sm_randaugment_op, double magnitude, bool negative);
void sm_randaugment_draw(const sm_randaugment *, sm_rng *, sm_randaugment_choice *);
/* In place. Turning, shearing and moving look up values between pixels: bicubic for SM_FILTER_BICUBIC and
 * SM_FILTER_LANCZOS, else bilinear. Where there is no picture they show the colour `mean`,
 * 0 … 1. SM_ENOMEM. */
sm_status sm_image_randaugment(sm_image *, const sm_randaugment_choice *, sm_filter filter,
                               const float mean[3], sm_image_scratch *, sm_error *err);

/* ---- views: random augmentation ------------------------------------------------------------------------ */

/* How one kind of view is drawn: the members of iBOT's DataAugmentationiBOT, and RandAugment. All zero but
 * height, width, scale, ratio and std is legal: a random crop and nothing else. Order of application: crop
 * and resize, flip, RandAugment, jitter, grey, blur, solarise, normalise. */
typedef struct sm_view_recipe {
  int height, width; /* of the view, pixels                                                */
  sm_filter filter;
  double scale[2]; /* share of the picture's area, 0 < low <= high                     */
  double ratio[2]; /* width / height, 0 < low <= high; usually 3/4 and 4/3             */
  double flip_p;   /* probabilities, 0 … 1                                             */
  double jitter_p, brightness, contrast, saturation,
      hue; /* factor in [max(0, 1-b), 1+b]; hue in [-h, h], h <= 0.5 */
  double grey_p;
  double blur_p, blur_radius[2];
  double solarize_p; /* threshold 128                                                    */
  float mean[3], std[3];
  sm_randaugment randaugment; /* with the view's filter and mean                                 */
} sm_view_recipe;

/* The floats of one view of this kind. */
static inline size_t sm_view_floats(const sm_view_recipe *r) {
  return 3 * (size_t)r->height * (size_t)r->width;
}
/* A size as recipes, files and commands write it: "96" for a square, else height and width, "96x160". */
const char *sm_view_size_text(int height, int width, char *buf, size_t size);
/* The same back. False: it is neither, or a side is not 1 … SM_IMAGE_MAX_SIDE. */
bool sm_view_size_parse(const char *text, int *height, int *width);

/* The reference's global view (224 x 224, scale 0.4-1, flip 0.5, jitter 0.4 0.4 0.2 0.1 at p 0.8, grey 0.2,
 * blur 1, radius 0.1-2, no solarising, ImageNet mean and deviation); callers change what differs. */
sm_view_recipe sm_view_recipe_default(void);
/* SM_EINVAL names the field and its value. Call once; drawing and applying do not check again. */
sm_status sm_view_recipe_check(const sm_view_recipe *, sm_error *err);

typedef enum { SM_JITTER_BRIGHTNESS = 0, SM_JITTER_CONTRAST, SM_JITTER_SATURATION, SM_JITTER_HUE } sm_jitter;

/* Everything random about one view, as plain data: it can be stored, shown, and applied again at another size
 * or with other normalisation (a tokenizer's own view of the same crop). */
typedef struct sm_view_choice {
  sm_box box;
  bool flip, jitter, grey, blur, solarize;
  uint8_t order[4]; /* sm_jitter, first to last */
  double brightness, contrast, saturation, hue;
  double blur_radius;
  sm_randaugment_choice randaugment;
} sm_view_choice;

/* Draw a box of a share of a width x height picture's area and a ratio of width to height, both in the
 * ranges given: torchvision's RandomResizedCrop, ten attempts, then the largest centred box of an allowed
 * ratio. */
sm_box sm_crop_draw(const double scale[2], const double ratio[2], int width, int height, sm_rng *);

/* Draw a choice for a width x height picture. The colour draws come first and are always the same in
 * number, so they do not depend on the picture's size; then the box (sm_crop_draw). RandAugment comes
 * last, so crops are the same without it. */
void sm_view_draw(const sm_view_recipe *, sm_rng *, int width, int height, sm_view_choice *);
/* The same box and flip without any change of colour and without RandAugment: for a tokenizer that does not
 * share them. */
sm_view_choice sm_view_choice_plain(const sm_view_choice *);

/* Apply a choice: recipe gives size, filter and normalisation, choice the rest. `chw` gets 3 x height x width
 * floats. SM_EINVAL when the box is not inside the picture, SM_ENOMEM (only while the scratch grows). */
sm_status sm_view_apply(const sm_image *, const sm_view_recipe *, const sm_view_choice *, sm_image_scratch *,
                        float *chw, sm_error *err);
/* The same choice from a picture whose sides were divided by `by` (1, 2, 4, 8; see sm_image_shrink): the box
 * is meant in pixels of the full size and may fall between the pixels there are. by = 1 is sm_view_apply. */
sm_status sm_view_apply_shrunk(const sm_image *, int by, const sm_view_recipe *, const sm_view_choice *,
                               sm_image_scratch *, float *chw, sm_error *err);
/* The most that the picture's sides may be divided by for this view: what is left of the box has at least
 * SM_VIEW_SHRINK_ROOM times as many pixels each way as the view. */
int sm_view_may_shrink(const sm_view_recipe *, const sm_view_choice *);
#define SM_VIEW_SHRINK_ROOM 2
/* The same, before normalisation, as a picture. `out` must not be the input. */
sm_status sm_view_pixels(const sm_image *, const sm_view_recipe *, const sm_view_choice *, sm_image_scratch *,
                         sm_image *out, sm_error *err);
/* Only the jitter of a choice, in place, in its order. */
void sm_image_jitter(sm_image *, const sm_view_choice *);

#endif

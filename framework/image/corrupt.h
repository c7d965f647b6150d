/* framework/image/corrupt.h — private to framework/image: what the corruptions share.
 *
 * They work on doubles in 0 … 1, laid out as the picture: v[(y * width + x) * 3 + c]. Each changes the picture in
 * place, unclipped. Names of the published ones are those of make_imagenet_c.py. */
#ifndef SM_IMAGE_CORRUPT_H
#define SM_IMAGE_CORRUPT_H

#include <smalti/corrupt.h>

typedef struct sm_real_image {
  int height, width;
  double *v;
} sm_real_image;

static inline int64_t sm_real_values(const sm_real_image *x) { return 3 * (int64_t)x->height * x->width; }
static inline double sm_clip01(double v) { return v < 0 ? 0 : v > 1 ? 1 : v; }
/* Index i of n pixels in a row that is mirrored at its ends: without the last pixel twice ("reflect 101", OpenCV),
 * or with it ("reflect", SciPy). Any i. */
static inline int sm_mirror101(int i, int n) {
  if (n == 1) return 0;
  const int period = 2 * (n - 1);
  i = i % period, i += i < 0 ? period : 0;
  return i < n ? i : period - i;
}
static inline int sm_mirror(int i, int n) {
  const int period = 2 * n;
  i = i % period, i += i < 0 ? period : 0;
  return i < n ? i : period - 1 - i;
}

/* corrupt_noise.c */
void sm_corrupt_gaussian(sm_real_image *, double sigma, sm_rng *);
void sm_corrupt_shot(sm_real_image *, double photons, sm_rng *);
void sm_corrupt_impulse(sm_real_image *, double share, sm_rng *);
void sm_corrupt_speckle(sm_real_image *, double sigma, sm_rng *);
int64_t sm_draw_poisson(double mean, sm_rng *);

/* corrupt_blur.c; SM_ENOMEM. */
sm_status sm_corrupt_gaussian_blur(sm_real_image *, double sigma, sm_error *);
sm_status sm_corrupt_defocus(sm_real_image *, double radius, double alias, sm_error *);
sm_status sm_corrupt_zoom(sm_real_image *, double end, double step, sm_error *);
/* Convolve n planes' worth of columns and rows with a normal density of deviation sigma, cut at `truncate` of it:
 * v (height, width, channels). mirrored: "reflect", else the edge goes on. */
sm_status sm_gauss_filter(double *v, int height, int width, int channels, double sigma, double truncate,
                          bool mirrored, sm_error *);
/* The blurred disk of defocus, side × side: 17, or 2·radius + 1 above radius 8. */
#define SM_DISK_MOST 21
int sm_defocus_disk(double radius, double alias, float kernel[SM_DISK_MOST * SM_DISK_MOST]);

/* corrupt_colour.c */
void sm_corrupt_brightness(sm_real_image *, double more);
void sm_corrupt_saturate(sm_real_image *, double factor, double more);
void sm_corrupt_contrast(sm_real_image *, double factor);

/* corrupt_own.c; SM_ENOMEM. */
sm_status sm_corrupt_streak(sm_real_image *, double radius, double sigma, sm_rng *, sm_error *);
sm_status sm_corrupt_haze(sm_real_image *, double strength, double decay, sm_rng *, sm_error *);
sm_status sm_corrupt_warp(sm_real_image *, double alpha, double sigma, double affine, sm_rng *, sm_error *);

#endif

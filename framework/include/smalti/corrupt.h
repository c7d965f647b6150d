/* smalti/corrupt.h — corruptions of pictures at five severities (Hendrycks & Dietterich, Benchmarking Neural
 * Network Robustness to Common Corruptions and Perturbations, ICLR 2019).
 *
 * Those marked `published` follow make_imagenet_c.py and make_cifar_c.py: the same arithmetic where nothing is
 * drawn, the same distribution where something is. The others are this library's own, of the same kind, and have
 * names of their own, so that a figure over them is never taken for a published one. */
#ifndef SMALTI_CORRUPT_H
#define SMALTI_CORRUPT_H

#include <smalti/image.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { /* never renumber, add at the end: the number is part of the key of the draws */
  SM_CORRUPT_GAUSSIAN_NOISE = 0, SM_CORRUPT_SHOT_NOISE, SM_CORRUPT_IMPULSE_NOISE, SM_CORRUPT_DEFOCUS_BLUR,
  SM_CORRUPT_ZOOM_BLUR, SM_CORRUPT_BRIGHTNESS, SM_CORRUPT_CONTRAST, SM_CORRUPT_PIXELATE,
  SM_CORRUPT_JPEG_COMPRESSION, SM_CORRUPT_SPECKLE_NOISE, SM_CORRUPT_GAUSSIAN_BLUR, SM_CORRUPT_SATURATE,
  SM_CORRUPT_STREAK, /* like motion blur: no ImageMagick here */
  SM_CORRUPT_HAZE,   /* like fog     */
  SM_CORRUPT_WARP,   /* like elastic */
  SM_CORRUPTIONS
} sm_corruption;

typedef struct sm_corruption_about {
  const char *name; /* the published one where `published` */
  bool published;
  bool extra;       /* one of the four that are published beside the fifteen, to choose parameters on */
} sm_corruption_about;
extern const sm_corruption_about sm_corruption_list[SM_CORRUPTIONS];

/* The strengths are made for pictures of 224 or of 32 pixels; those of 224 destroy small pictures. */
typedef enum { SM_CORRUPT_FOR_224 = 0, SM_CORRUPT_FOR_32 } sm_corruption_scale;
sm_corruption_scale sm_corruption_scale_for(int height, int width); /* the nearer by the shorter side's ratio */

#define SM_SEVERITIES 5

/* Corrupt in place; severity 1 … 5. All that is random comes from `rng`: key it by seed, picture, corruption and
 * severity. Values are cut to 0 … 255 and truncated to 8 bits, as the scripts store them. Any size of picture.
 * SM_EINVAL: no such corruption or severity; SM_ENOMEM: the picture may then be anything. */
sm_status sm_image_corrupt(sm_image *, sm_corruption, int severity, sm_corruption_scale, sm_rng *,
                           sm_image_scratch *, sm_error *);

#ifdef __cplusplus
}
#endif
#endif

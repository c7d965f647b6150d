/* smalti/image.h — pictures: read, resize, normalise, draw, write.
 *
 * A picture is 8-bit RGB. Every operation reproduces PIL 9.4 / torchvision-on-PIL arithmetic (8-bit steps
 * between the operations, antialiased resizing in two 8-bit passes, Gaussian blur as three box blurs),
 * because the published recipes were trained on exactly that; each function states its source. All of it is
 * integer or exactly rounded arithmetic: the same bytes on every CPU and for every number of threads.
 *
 * No function keeps state: memory to reuse is in a sm_image_scratch, one for each thread, and random draws
 * come from the caller's sm_rng. Functions may be called from any thread as long as no two share a picture
 * being written or a scratch. */
#ifndef SMALTI_IMAGE_H
#define SMALTI_IMAGE_H

#include <smalti/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the picture --------------------------------------------------------------------------------------- */

/* Rows from the top, pixels from the left, R G B: rgb[(y * width + x) * 3 + c]. Zero-initialise before first
 * use; the picture owns `rgb`, free it with sm_image_free. Reusing one picture for many reads reuses its
 * memory. A view is a picture whose pixels belong to somebody else: capacity is 0, they must not be written
 * to, and reshaping or freeing the view leaves them alone. */
typedef struct sm_image {
  int width, height;
  uint8_t *rgb;
  size_t capacity; /* bytes allocated at rgb; 0: a view, or nothing */
} sm_image;

/* Give the picture a size (1 … SM_IMAGE_MAX_SIDE each); the pixels are undefined afterwards. SM_ENOMEM,
 * SM_EINVAL. */
sm_status sm_image_reshape(sm_image *, int width, int height, sm_error *);
sm_status sm_image_copy(sm_image *to, const sm_image *from, sm_error *);
void sm_image_flip(sm_image *); /* left to right */
void sm_image_free(sm_image *); /* frees the pixels and zeroes the struct; NULL is allowed */

#define SM_IMAGE_MAX_SIDE 65535
#define SM_IMAGE_MAX_PIXELS (INT64_C(64) << 20) /* default limit of a picture's size */

/* Memory that reading and augmenting reuse from call to call; one for each thread. It holds no results. */
typedef struct sm_image_scratch sm_image_scratch;
sm_image_scratch *sm_image_scratch_new(void);   /* NULL when memory runs out */
void sm_image_scratch_free(sm_image_scratch *); /* NULL is allowed */

/* ---- reading ------------------------------------------------------------------------------------------- */

/* Leave to decode a JPEG at a fraction of its size, which costs a fraction of the time. `most` is asked once,
 * when the upright size is known and nothing is decoded yet, for the most that both sides may be divided by:
 * 1, 2, 4 or
 * 8. Pixel (x, y) of the result then covers the square of `by` pixels from (by·x, by·y) on; at the right and
 * lower edge the last one may reach beyond the picture. */
typedef struct sm_image_shrink {
  int (*most)(void *ctx, int width, int height);
  void *ctx;
  int by; /* out: what the sides were divided by; left alone by what cannot shrink, so set it to 1 */
} sm_image_shrink;

/* What a file may cost before it is refused, whatever its header claims. A field that is 0 means its default;
 * NULL in place of the struct means all defaults. */
typedef struct sm_image_limits {
  int64_t max_pixels;  /* width x height, 64 Mi (67,108,864): 192 MiB as RGB                             */
  size_t max_bytes;    /* of the file, 256 MiB                                                           */
  size_t max_memory;   /* the decoder's own working memory (a progressive JPEG's coefficients), 512 MiB  */
  int max_scans;       /* of a progressive JPEG, 100 (encoders write about 10)                           */
  bool refuse_damaged; /* also refuse JPEG data that is damaged but of full length; default: decode it   */
  sm_image_shrink *shrink; /* NULL: pictures are wanted in full size */
  int grey16_from, grey16_to; /* values of a 16-bit grey PNG that become 0 and 255; both 0: the high byte */
} sm_image_limits;

/* Decode JPEG, PNG or WebP from memory; the format is found from the content, never from a name.
 *
 * - JPEG: baseline, progressive and arithmetic; grey, YCbCr, RGB, and CMYK/YCCK in Adobe's inverted sense as
 *   PIL does. EXIF orientation 1-8 is applied (an invalid one counts as 1), so width and height are those of
 *   the upright picture.
 * - PNG: every colour type and bit depth, interlaced or not. Alpha and transparency are dropped as PIL's
 *   convert("RGB") does; 16-bit samples keep their high byte, or for grey what the limits say.
 * - WebP: lossy and lossless, by libwebp, where the build has it (sm_image_reads_webp); alpha is dropped, EXIF orientation
 *   is applied, animations are refused.
 * - A picture whose data ends early is refused ("cut short: …"): half a picture is a wrong sample. A missing
 *   end marker behind complete data is accepted; so is damage in mid-data, unless limits->refuse_damaged.
 *
 * Errors: SM_EFORMAT for what is damaged, cut short, empty, or no picture (the message names what it is: "a
 * GIF picture", "an HTML page", "a Git LFS pointer" …); SM_EUNSUPPORTED for a kind of JPEG this decoder
 * lacks; SM_EINVAL over a limit; SM_ENOMEM, a
 * decoding library's too. On failure `out` keeps its memory and has size 0x0. */
sm_status sm_image_decode(const void *data, size_t bytes, const sm_image_limits *limits, sm_image *out,
                          sm_error *err);

bool sm_image_reads_webp(void); /* whether this build has libwebp */

/* The same from a file. SM_ENOTFOUND or SM_EIO when it cannot be read; anything but a regular file is refused
 * at once (a pipe does not block). The error's place is the path. scratch (may be NULL) holds the file's
 * bytes. */
sm_status sm_image_read(const char *path, const sm_image_limits *limits, sm_image_scratch *scratch,
                        sm_image *out, sm_error *err);

/* The upright size from the header only (a few KiB are read); the picture may still prove damaged when
 * decoded. */
sm_status sm_image_size(const char *path, int *width, int *height, sm_error *err);

/* ---- writing ------------------------------------------------------------------------------------------- */

/* Atomic: the file is there whole or not at all. quality 1 … 100; baseline 4:2:0 like PIL's default, 4:4:4
 * from 95 up. */
sm_status sm_image_write_png(const char *path, const sm_image *, sm_error *err);
sm_status sm_image_write_jpeg(const char *path, const sm_image *, int quality, sm_error *err);
/* Into memory that the caller frees with sm_free. */
sm_status sm_image_encode_png(const sm_image *, void **data, size_t *bytes, sm_error *err);
sm_status sm_image_encode_jpeg(const sm_image *, int quality, void **data, size_t *bytes, sm_error *err);

/* ---- resizing ------------------------------------------------------------------------------------------ */

typedef enum { SM_FILTER_BICUBIC = 0, SM_FILTER_BILINEAR, SM_FILTER_LANCZOS, SM_FILTER_BOX } sm_filter;
/* NULL-terminated, in the order of sm_filter: "bicubic", "bilinear", "lanczos", "box". */
extern const char *const sm_filter_names[];

typedef struct sm_box {
  int left, top, width, height; /* pixels */
} sm_box;

/* Cut `box` out of `in` (NULL: all of it) and resize the cut to width x height: PIL's crop().resize(),
 * antialiased when shrinking, bicubic with a = -0.5, horizontal pass first, each pass rounded to 8 bits.
 * `out` must not be `in`. Source: Pillow src/libImaging/Resample.c. */
sm_status sm_image_resize(const sm_image *in, const sm_box *box, int width, int height, sm_filter,
                          sm_image_scratch *, sm_image *out, sm_error *err);

/* ---- label pictures ------------------------------------------------------------------------------------ */

/* A number for each pixel, rows from the top: value[y * width + x]. Zero-initialise before first use; memory is
 * owned, used again and freed as that of an sm_image, and a view has capacity 0. */
typedef struct sm_label_map {
  int width, height;
  uint16_t *value;
  size_t capacity; /* values allocated */
} sm_label_map;

sm_status sm_label_map_reshape(sm_label_map *, int width, int height, sm_error *); /* as sm_image_reshape */
void sm_label_map_free(sm_label_map *);                                            /* NULL is allowed */

/* The samples of a PNG as they are stored: values of grey with up to 8 or with 16 bits, or indices into a palette, whose
 * colours count for nothing. Refused: colour and alpha (SM_EUNSUPPORTED), and JPEG and WebP (SM_EINVAL), which change
 * values. Limits and other errors as sm_image_decode; an orientation in the file is not applied. */
sm_status sm_label_map_decode(const void *data, size_t bytes, const sm_image_limits *, sm_label_map *out,
                              sm_error *);
sm_status sm_label_map_read(const char *path, const sm_image_limits *, sm_label_map *out, sm_error *);
/* Grey, of 8 bits where all values fit, else of 16. Atomic. */
sm_status sm_label_map_write(const char *path, const sm_label_map *, sm_error *);
/* As sm_image_resize, but each pixel takes the value at its centre: floor((x + 1/2)·scale), PIL's NEAREST. `out` must
 * not be `in`. */
sm_status sm_label_map_resize(const sm_label_map *in, const sm_box *box, int width, int height,
                              sm_label_map *out, sm_error *);

/* ---- numbers ------------------------------------------------------------------------------------------- */

/* chw[c][y][x] = (value / 255 - mean[c]) / std[c], 3 x height x width floats. */
void sm_image_normalise(const sm_image *, const float mean[3], const float std[3], float *chw);
/* Mean and deviation of ImageNet's pictures. */
#define SM_IMAGENET_MEAN 0.485, 0.456, 0.406
#define SM_IMAGENET_STD 0.229, 0.224, 0.225
extern const float sm_imagenet_mean[3], sm_imagenet_std[3];

/* Hue (a share of the circle, from red on), saturation and value of a colour, all 0 … 1, and back; grey has hue 0. As
 * skimage.color.rgb2hsv and hsv2rgb. [any] */
void sm_rgb_to_hsv(const double rgb[3], double hsv[3]);
void sm_hsv_to_rgb(const double hsv[3], double rgb[3]);

/* ---- drawing: contact sheets --------------------------------------------------------------------------- */

/* A colour is 0xRRGGBB. Everything is clipped to the picture; no coordinate is an error. */
void sm_draw_fill(sm_image *, int x, int y, int width, int height, uint32_t rgb,
                  double alpha); /* alpha 0 … 1 */
void sm_draw_frame(sm_image *, int x, int y, int width, int height, int line, uint32_t rgb);
void sm_draw_blit(sm_image *, int x, int y, const sm_image *picture);
/* ASCII in a built-in 5x7 font, `zoom` pixels a dot, advancing 6 dots; other bytes show as a box. (x, y): top
 * left. */
void sm_draw_text(sm_image *, int x, int y, int zoom, uint32_t rgb, const char *text);
int sm_draw_text_width(int zoom, const char *text);
#define SM_DRAW_TEXT_HEIGHT 7 /* dots */

#ifdef __cplusplus
}
#endif
#endif

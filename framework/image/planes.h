/* planes.h — what the files of this folder share: reusable memory, planar pictures, the taps of a resize, and
 * the table of pixel loops that exists once for each CPU level (kernels.c). Private to framework/image. */
#ifndef SM_IMAGE_PLANES_H
#define SM_IMAGE_PLANES_H

#include "framework/image/augment.h"

/* ---- reusable memory ----------------------------------------------------------------------------------- */

typedef struct sm_buffer {
  void *data;
  size_t size;
} sm_buffer;

/* At least `bytes` bytes, contents undefined; NULL when memory runs out. A buffer far larger than needed is
 * given back, so that one huge picture does not stay in memory for ever. */
void *sm_buffer_need(sm_buffer *, size_t bytes);

struct sm_image_scratch {
  sm_buffer file; /* bytes of the file being read                       */
  sm_buffer taps_x, taps_y;
  sm_buffer weights; /* resize: filter weights of one output pixel         */
  sm_buffer line;    /* resize: one padded source row and one result row   */
  sm_buffer middle;  /* resize: planes between the two passes              */
  sm_buffer view;    /* the planes of the view in work                     */
  sm_buffer other;   /* the second set of planes, of what cannot be done in place */
};

/* Three planes without padding: plane[c][y * width + x]. */
typedef struct sm_planes {
  int width, height;
  uint8_t *plane[3];
} sm_planes;

static inline size_t sm_planes_count(const sm_planes *p) { return (size_t)p->width * (size_t)p->height; }
/* Lay three planes of width x height into the buffer. */
sm_status sm_planes_make(sm_planes *, sm_buffer *, int width, int height, sm_error *);
void sm_planes_to_image(const sm_planes *, sm_image *); /* the picture has the size already */
/* The picture's channels in the scratch's planes of the view. */
sm_status sm_planes_from_image(sm_planes *, const sm_image *, sm_image_scratch *, sm_error *);
/* A copy in the scratch's other set, for what cannot be done in place. */
sm_status sm_planes_aside(const sm_planes *, sm_image_scratch *, sm_planes *copy, sm_error *);

/* ---- operations on planes (resize.c, blur.c, colour.c, affine.c, randaugment.c) ------------------------ */

/* A stretch of one side of a box, in pixels from its edge; to 0: all of the side. */
typedef struct sm_span {
  double from, to;
} sm_span;

/* The part `keep` of the width x height result of resizing `box` of `in`, or what the spans leave of it,
 * mirrored if `flip`. */
typedef struct sm_resize {
  sm_box box, keep;
  int width, height;
  sm_filter filter;
  bool flip;
  sm_span across, down;
} sm_resize;
sm_status sm_resize_planes(const sm_image *in, const sm_resize *, sm_image_scratch *, sm_planes *out,
                           sm_error *);

/* May swap `planes` to the scratch's other set. */
sm_status sm_planes_blur(sm_planes *, double radius, sm_image_scratch *, sm_error *);
void sm_planes_jitter(sm_planes *, const sm_view_choice *);
/* Output pixel (x, y) comes from x' = map[0]·x + map[1]·y + map[2], y' = map[3]·x + map[4]·y + map[5],
 * counted in pixels from the corner of the picture, so a pixel's centre is at a half. */
sm_status sm_planes_affine(sm_planes *, const double map[6], bool cubic_filter, const uint8_t fill[3],
                           sm_image_scratch *, sm_error *);
sm_status sm_planes_randaugment(sm_planes *, const sm_randaugment_choice *, sm_filter, const float mean[3],
                                sm_image_scratch *, sm_error *);
/* table[c][v] = (v / 255 - mean[c]) / std[c] */
void sm_normalise_table(const float mean[3], const float std[3], float table[3][256]);

/* ---- pixel loops --------------------------------------------------------------------------------------- */

#define SM_TAP_BITS \
  22 /* fraction of a filter weight: 32 bits less 8 of the value, 1 of the sign, 1 to spare */

/* One output position of one pass: `count` weights from source position `first`, filled up with zeros to a
 * multiple of 4. */
typedef struct sm_tap {
  int first, count;
  const int32_t *weight;
} sm_tap;

/* a + factor * (b - a) in fixed point; see sm_blend_make in colour.c. */
typedef struct sm_blend {
  int32_t factor;
  int shift;
} sm_blend;

/* What turning the hue makes of each 8-bit hue: [2 * quotient + whole] = sector * 256 + place within it; see
 * colour.c. */
#define SM_HUE_TABLE 512
void sm_hue_table_make(int steps, int32_t table[SM_HUE_TABLE]);

typedef struct sm_pixel_ops {
  const char *name;
  /* Row pass: width output pixels of an interleaved row; `row` is readable SM_ROW_SLACK
   * bytes beyond its end. */
  void (*resample_row)(const uint8_t *row, const sm_tap *taps, int width, uint32_t *rgbx);
  void (*split_rgbx)(const uint32_t *rgbx, size_t n, bool flip, uint8_t *r, uint8_t *g, uint8_t *b);
  /* Column pass: n values of one output row from rows `stride` bytes apart, the first at `plane`. */
  void (*resample_column)(const uint8_t *plane, size_t stride, const sm_tap *tap, size_t n, uint8_t *out);
  uint64_t (*luma_sum)(uint8_t *const plane[3], size_t n);
  void (*grey)(uint8_t *const plane[3], size_t n);
  void (*blend_value)(uint8_t *values, size_t n, int towards, sm_blend);
  void (*blend_luma)(uint8_t *const plane[3], size_t n, sm_blend);
  void (*hue)(uint8_t *const plane[3], size_t n, const int32_t table[SM_HUE_TABLE]);
  void (*solarize)(uint8_t *values, size_t n, int threshold);
  /* Box blur of one line: rows[1 … count-2] in full, rows[0] and rows[count-1] in part; weights are 24-bit
   * fractions. */
  void (*box_line)(const uint8_t *const *rows, int count, uint32_t full, uint32_t part, size_t n,
                   uint8_t *out);
} sm_pixel_ops;

#define SM_ROW_SLACK 16

/* The fastest table this CPU runs; all give the same bytes. */
const sm_pixel_ops *sm_pixel_ops_best(void);
extern const sm_pixel_ops sm_pixel_ops_baseline, sm_pixel_ops_avx2, sm_pixel_ops_avx512;

/* ---- formats (decode.c, jpeg.c, png.c, webp.c, probe.c, limits.c) ---------------------------------------------- */

/* The result is as stored; orientation is only looked at to shrink what can be turned upright afterwards. */
sm_status sm_jpeg_decode(const uint8_t *data, size_t bytes, int orientation, const sm_image_limits *,
                         sm_image *, sm_error *);
/* All bytes of a regular file into the buffer, if they are within the limits; the caller adds the place to an error. */
sm_status sm_image_file_bytes(const char *path, const sm_image_limits *, sm_buffer *, size_t *bytes,
                              sm_error *);
sm_status sm_png_decode_values(const uint8_t *data, size_t bytes, const sm_image_limits *, sm_label_map *,
                               sm_error *); /* labels.c */
sm_status sm_png_decode(const uint8_t *data, size_t bytes, const sm_image_limits *, sm_image *, sm_error *);
sm_status sm_webp_decode(const uint8_t *data, size_t bytes, const sm_image_limits *, sm_image *, sm_error *);
/* The limits with every default filled in; NULL: all defaults. */
sm_image_limits sm_image_limits_filled(const sm_image_limits *);
/* Refuse a size that is over the limits; `what` is "JPEG", "PNG" or "WebP". */
sm_status sm_image_admit(const char *what, int64_t width, int64_t height, const sm_image_limits *,
                         sm_error *);

/* What the beginning of a file says of the picture. needs_more: the answer lies beyond `bytes`. */
typedef struct sm_image_probe {
  int width, height, orientation; /* as stored; 1-8, 1 if absent or invalid */
  bool found, needs_more;
} sm_image_probe;
sm_image_probe sm_jpeg_probe(const uint8_t *data, size_t bytes);
sm_image_probe sm_png_probe(const uint8_t *data, size_t bytes);
sm_image_probe sm_webp_probe(const uint8_t *data, size_t bytes);
/* The orientation in an EXIF block ("II*\0…" or "MM\0*…"); 1 for anything odd. */
int sm_exif_orientation(const uint8_t *tiff, size_t bytes);
/* Turn the stored picture upright, in place (needs a second buffer for 5-8). */
sm_status sm_image_upright(sm_image *, int orientation, sm_error *);

#endif

/* show.h — figures of what a network sees: drawn from numbers, into pictures of any number of patches. Nothing here
 * reads a file but a stored projection.
 *
 *   colours.c, sheet.c                        colour scales; pictures side by side
 *   attention.c, pca.c, patterns.c, matches.c one figure each
 *   look.c, mass.c, correspond.c              smalti/show.h: what evaluations use too
 *
 * `cell`: pixels that a patch gets in the figure. Pictures that are drawn on are rows·cell × cols·cell. */
#ifndef SM_SHOW_H
#define SM_SHOW_H

#include <smalti/show.h>

/* ---- colours ------------------------------------------------------------------------------------------- */

uint32_t sm_viridis(double value); /* 0 … 1 */
/* Of head h: the six of iBOT's Figure 6, six more for ViT-B, then hues at the golden angle. */
uint32_t sm_head_colour(int h);

/* ---- lines --------------------------------------------------------------------------------------------- */

void sm_draw_line(sm_image *, int x0, int y0, int x1, int y1, int line, uint32_t rgb);

/* ---- attention ----------------------------------------------------------------------------------------- */

/* The share of a head's attention that is shown: --threshold of iBOT's visualize_attention.py. */
#define SM_SHOWN_MASS 0.6
/* Values of a grid from dark, the least, to bright, the most, over the whole of `out`, which has its size. */
void sm_show_values(const float *value, int rows, int cols, sm_image *out);
/* The same on a picture of cols·cell × rows·cell. */
sm_status sm_show_panel(const float *value, int rows, int cols, int cell, sm_image *out, sm_error *);
/* `out` holds the picture; patches outside the head's mass are darkened. */
sm_status sm_show_mass(const float *a, int rows, int cols, double mass, sm_image *out, sm_error *);
/* iBOT's Figure 6: `out` holds the picture, which becomes a faint grey; each patch has the colour of the head that
 * looks at it most, of the heads in whose mass it is. */
sm_status sm_show_heads(const float *a, int heads, int rows, int cols, double mass, sm_image *out, sm_error *);

/* ---- principal components ------------------------------------------------------------------------------ */

/* What turns patches into colours. axis[0] with mean[0] tells the foreground: above 0. The other three, with mean[1],
 * give red, green and blue, from low to high. */
typedef struct sm_projection {
  int dim;
  bool foreground;     /* the first stage counts */
  double *mean, *axis; /* (2, dim), (4, dim) */
  double low[3], high[3];
} sm_projection;
/* Patches of several pictures, one behind the other. */
typedef struct sm_patch_set {
  const float *x; /* (n, dim) */
  const uint8_t *border; /* (n): the patch touches the edge of its picture */
  int64_t n;
  int dim;
} sm_patch_set;
/* Two stages (DINOv2): the sign of the first component is such that the share of its positive patches that touch a
 * border is the lower one; components of the second have their largest element positive. SM_EINVAL: too few patches, or all
 * are equal. */
sm_status sm_projection_fit(const sm_patch_set *, bool foreground, sm_projection *, sm_error *);
void sm_projection_free(sm_projection *);
sm_status sm_projection_write(const sm_projection *, const char *path, sm_error *);
sm_status sm_projection_read(const char *path, sm_projection *, sm_error *);
/* 0xRRGGBB of a patch; *kept: it is foreground. */
uint32_t sm_projection_colour(const sm_projection *, const float *x, bool *kept);
/* One colour a patch; background is black. *kept: so many patches are foreground. */
sm_status sm_show_pca(const sm_projection *, const float *x, int rows, int cols, int cell, sm_image *out, int *kept,
                      sm_error *);

/* ---- patterns ------------------------------------------------------------------------------------------ */

/* iBOT's Figure 4: for each of the head's outputs the patches that it is the largest of. Per picture and output the one of
 * the largest logit is a candidate. */
typedef struct sm_pattern {
  int picture, patch;
  float logit;
} sm_pattern;
typedef struct sm_patterns {
  int outputs, room; /* candidates that an output keeps */
  int64_t *members;  /* (outputs) patches                */
  int *kept;         /* (outputs)                        */
  sm_pattern *best;  /* (outputs, room), largest first   */
} sm_patterns;
sm_status sm_patterns_new(int outputs, int room, sm_patterns *, sm_error *);
void sm_patterns_free(sm_patterns *);
void sm_patterns_add(sm_patterns *, int picture, const float *logits, int cells);
/* The `n` outputs with the most members, most first, equal ones by number; those without any are left out. Returns how
 * many. */
int sm_patterns_largest(const sm_patterns *, int n, int *output);
/* 5 × 5 patches around one, which is tinted; outside the picture is white. False: it is too dark to show (mean of the
 * largest channel at most 40 of 255). */
sm_status sm_show_pattern(const sm_image *picture, int rows, int cols, int patch, int cell, sm_image *out, bool *bright,
                          sm_error *);

/* ---- correspondence ------------------------------------------------------------------------------------ */

/* Two pictures beside each other, and a line from each of `n` patches of the left one to its match. colour NULL: red;
 * else one each. */
sm_status sm_show_matches(const sm_image *left, const sm_image *right, int rows, int cols, const int *from,
                          const int *match, const uint32_t *colour, int n, sm_image *out, sm_error *);

#endif

/* gallery.c — what a trained network looks at: the masks of its training, the attention of [CLS] in the last
 * block, and the training pictures that its features put nearest to some test pictures.
 *
 * Every strip has one column per picture. Tiles are as large as the network's pictures, their longer side at
 * most TILE; a page magnifies them. */
#include "gallery.h"

#include <string.h>

#include <smalti/retrieval.h>

#include "framework/data/source.h"
#include "framework/data/views.h"
#include "framework/show/show.h"
#include "framework/train/train.h"

enum {
  TILE = 64,
  GAP = 2,
  FRAME = 2
};

const sm_gallery_strip sm_gallery_strips[SM_GALLERY_STRIPS] = {
    {"pictures.png", "Test pictures", ""},
    {"masks.png", "What the student sees",
     "Grey patches are hidden. Each line is a global view: "
     "the masks that the first pictures of the last epoch had in training, laid over the test pictures."},
    {"attention.png", "Attention of [CLS]",
     "Last block, mean of the heads; from dark, the least, to yellow, the most."},
    {"heads.png", "Heads",
     "The patches that hold 60 % of a head's attention, in the head's colour; where several heads look, that of the one that looks most."},
    {"neighbours.png", "Nearest training pictures",
     "By the cosine of the features, nearest first from above. A blue frame: the same class."},
};
enum { STRIP_PICTURES, STRIP_MASKS, STRIP_ATTENTION, STRIP_HEADS, STRIP_NEIGHBOURS };

typedef struct gallery {
  const sm_gallery_config *c;
  const char *folder;
  int n, height, width, high, wide; /* of a picture; of a tile */
  int64_t row[SM_GALLERY_PICTURES], sample[SM_GALLERY_PICTURES]; /* of the test features, of the data set */
  sm_features train, test;
  sm_image tiles[SM_GALLERY_PICTURES], canvas, picture, shown;
  sm_image_scratch *scratch;
  float *x;         /* (n, 3, height, width), normalised */
  float *attention; /* (n, heads, rows·cols), or NULL */
  int heads, rows, cols;
} gallery;

/* ---- strips -------------------------------------------------------------------------------------------- */

static sm_status gallery_begin(gallery *g, int rows, sm_error *err) {
  sm_status status =
      sm_image_reshape(&g->canvas, g->n * (g->wide + GAP) - GAP, rows * (g->high + GAP) - GAP, err);
  if (!status) sm_draw_fill(&g->canvas, 0, 0, g->canvas.width, g->canvas.height, 0x808080, 1);
  return status;
}

static sm_status gallery_finish(gallery *g, int strip, sm_error *err) {
  char path[SM_PATH_ROOM];
  sm_path_put(path, "%s/%s", g->folder, sm_gallery_strips[strip].file);
  return sm_image_write_png(path, &g->canvas, err);
}

static int gallery_left(const gallery *g, int column) { return column * (g->wide + GAP); }

/* The cell (i, j) of the grid in a tile that begins at row y. */
static void gallery_fill_cell(gallery *g, int column, int y, int i, int j, uint32_t rgb, double alpha) {
  int x0 = j * g->wide / g->cols, x1 = (j + 1) * g->wide / g->cols, y0 = i * g->high / g->rows,
      y1 = (i + 1) * g->high / g->rows;
  sm_draw_fill(&g->canvas, gallery_left(g, column) + x0, y + y0, x1 - x0, y1 - y0, rgb, alpha);
}

/* ---- pictures ------------------------------------------------------------------------------------------ */

/* As it is evaluated, at the network's size in g->shown. */
static sm_status gallery_read_picture(gallery *g, const sm_dataset *d, int64_t sample, sm_error *err) {
  const int resize = sm_image_eval_resize(g->height, g->width);
  const sm_image_limits limits = {0};
  const sm_source source = {.dataset = d, .limits = &limits};
  sm_status status = sm_source_get(&source, sample, NULL, &g->picture, NULL, err);
  if (!status)
    status = sm_image_eval_crop(&g->picture, resize, g->height, g->width,
                                sm_network_describe(g->c->network)->filter, g->scratch, &g->shown, err);
  return status;
}

static sm_status gallery_make_tile(gallery *g, sm_image *to, sm_error *err) {
  return sm_image_resize(&g->shown, NULL, g->wide, g->high, SM_FILTER_BICUBIC, g->scratch, to, err);
}

static sm_status gallery_read_pictures(gallery *g, sm_error *err) {
  const sm_network_spec *about = sm_network_describe(g->c->network);
  int64_t pixels = 3 * (int64_t)g->height * g->width;
  sm_status status = SM_OK;
  if (!(g->x = sm_malloc((size_t)(g->n * pixels) * sizeof *g->x)))
    return sm_fail(err, SM_ENOMEM, "out of memory");
  for (int i = 0; i < g->n && !status; i++) {
    status = gallery_read_picture(g, &g->c->test, g->sample[i], err);
    if (!status) status = gallery_make_tile(g, &g->tiles[i], err);
    if (!status) sm_image_normalise(&g->shown, about->mean, about->std, g->x + i * pixels);
  }
  return status;
}

static sm_status gallery_draw_pictures(gallery *g, sm_error *err) {
  sm_status status = gallery_begin(g, 1, err);
  for (int i = 0; i < g->n && !status; i++) sm_draw_blit(&g->canvas, gallery_left(g, i), 0, &g->tiles[i]);
  return status ? status : gallery_finish(g, STRIP_PICTURES, err);
}

/* ---- attention ----------------------------------------------------------------------------------------- */

/* Backbones need not have attention. */
static sm_status gallery_make_attention(gallery *g, sm_error *err) {
  const sm_backbone_spec *grid = &sm_network_describe(g->c->network)->backbone;
  g->rows = grid->rows, g->cols = grid->cols, g->heads = grid->heads;
  if (g->heads < 1 || sm_set_real(sm_network_set(g->c->network)) != SM_F32) return SM_OK;
  const size_t values = (size_t)g->heads * (size_t)g->rows * (size_t)g->cols;
  const int64_t pixels = 3 * (int64_t)g->height * g->width;
  const sm_look_request want = {.height = g->height, .width = g->width, .attention = true};
  sm_looker *looker = sm_looker_new(g->c->network, g->c->pool, &want, err);
  if (!looker) return err->code;
  sm_status status = (g->attention = sm_malloc((size_t)g->n * values * sizeof *g->attention))
                         ? SM_OK
                         : sm_fail(err, SM_ENOMEM, "out of memory");
  for (int i = 0; i < g->n && !status; i++) {
    sm_look look;
    status = sm_looker_run(looker, g->x + i * pixels, &look, err);
    if (!status) memcpy(g->attention + (size_t)i * values, look.attention, values * sizeof *g->attention);
  }
  sm_looker_free(looker);
  return status;
}

static const float *gallery_attention_of(const gallery *g, int picture, int head) {
  return g->attention + ((size_t)picture * (size_t)g->heads + (size_t)head) * (size_t)(g->rows * g->cols);
}

static sm_status gallery_draw_attention(gallery *g, sm_error *err) {
  const int cells = g->rows * g->cols;
  sm_image tile = {0};
  float *mean = sm_malloc((size_t)cells * sizeof *mean);
  sm_status status = mean ? gallery_begin(g, 1, err) : sm_fail(err, SM_ENOMEM, "out of memory");
  if (!status) status = sm_image_reshape(&tile, g->wide, g->high, err);
  for (int i = 0; i < g->n && !status; i++) {
    sm_attention_mean(gallery_attention_of(g, i, 0), g->heads, cells, mean);
    sm_show_values(mean, g->rows, g->cols, &tile);
    sm_draw_blit(&g->canvas, gallery_left(g, i), 0, &tile);
  }
  sm_image_free(&tile);
  sm_free(mean);
  return status ? status : gallery_finish(g, STRIP_ATTENTION, err);
}

static sm_status gallery_draw_heads(gallery *g, sm_error *err) {
  sm_image tile = {0};
  sm_status status = gallery_begin(g, 1, err);
  for (int i = 0; i < g->n && !status; i++) {
    status = sm_image_copy(&tile, &g->tiles[i], err);
    if (!status)
      status = sm_show_heads(gallery_attention_of(g, i, 0), g->heads, g->rows, g->cols, SM_SHOWN_MASS, &tile,
                             err);
    if (!status) sm_draw_blit(&g->canvas, gallery_left(g, i), 0, &tile);
  }
  sm_image_free(&tile);
  return status ? status : gallery_finish(g, STRIP_HEADS, err);
}

/* ---- masks --------------------------------------------------------------------------------------------- */

void sm_gallery_mask(const sm_recipe *r, const sm_block_spec *grid, int picture, int view,
                     const float *attention, int heads, uint8_t *mask) {
  const sm_masking masking = sm_masking_of(r, (sm_block_spec[2]){*grid});
  const sm_views views = {.globals = (int)r->views.globals, .locals = (int)r->views.locals};
  const sm_slot_key key = {(uint64_t)r->train.seed, r->train.epochs - 1, picture};
  sm_masking_draw(&masking, &views, &key, view, attention, heads, mask,
                  NULL); /* training has told of errors */
}

static void gallery_draw_mask(gallery *g, int column, int view, const uint8_t *mask) {
  int y = view * (g->high + GAP);
  sm_draw_blit(&g->canvas, gallery_left(g, column), y, &g->tiles[column]);
  for (int k = 0; k < g->rows * g->cols; k++)
    if (mask[k]) gallery_fill_cell(g, column, y, k / g->cols, k % g->cols, 0x8A8F98, 1);
}

static sm_status gallery_draw_masks(gallery *g, sm_error *err) {
  const sm_recipe *r = g->c->recipe;
  const sm_masker_ops *ops = r->masker.plugin.plugin ? r->masker.plugin.plugin->ops : NULL;
  int cells = g->rows * g->cols, views = (int)r->views.globals;
  if (!ops || !cells || sm_recipe_most_hidden(r) <= 0) return SM_OK;
  if ((ops->needs_attention && !g->attention) || r->views.global_height != g->height ||
      r->views.global_width != g->width)
    return SM_OK;
  const sm_block_spec grid = {.rows = g->rows, .cols = g->cols};
  uint8_t *mask = sm_malloc((size_t)cells);
  sm_status status = mask ? gallery_begin(g, views, err) : sm_fail(err, SM_ENOMEM, "out of memory");
  for (int i = 0; !status && i < g->n * views; i++) {
    int column = i / views, view = i % views;
    sm_gallery_mask(r, &grid, column, view, g->attention ? gallery_attention_of(g, column, 0) : NULL,
                    g->heads, mask);
    gallery_draw_mask(g, column, view, mask);
  }
  sm_free(mask);
  return status ? status : gallery_finish(g, STRIP_MASKS, err);
}

/* ---- neighbours ---------------------------------------------------------------------------------------- */

static sm_status gallery_draw_neighbours(gallery *g, sm_error *err) {
  sm_image tile = {0};
  sm_status status = gallery_begin(g, SM_GALLERY_NEIGHBOURS, err);
  for (int i = 0; i < g->n && !status; i++) {
    int64_t row[SM_GALLERY_NEIGHBOURS];
    int n = sm_nearest_by_cosine(g->test.x + g->row[i] * g->train.dim, g->train.x, g->train.n, g->train.dim, -1,
                                 SM_GALLERY_NEIGHBOURS, row, NULL);
    for (int k = 0; k < n && !status; k++) {
      status = gallery_read_picture(g, &g->c->train, g->train.index[row[k]], err);
      if (!status) status = gallery_make_tile(g, &tile, err);
      if (status) break;
      int y = k * (g->high + GAP);
      sm_draw_blit(&g->canvas, gallery_left(g, i), y, &tile);
      int32_t own = g->test.label[g->row[i]];
      if (own >= 0 && own == g->train.label[row[k]])
        sm_draw_frame(&g->canvas, gallery_left(g, i), y, g->wide, g->high, FRAME, 0x2F7BE5);
    }
  }
  sm_image_free(&tile);
  return status ? status : gallery_finish(g, STRIP_NEIGHBOURS, err);
}

/* ---- all ----------------------------------------------------------------------------------------------- */

static sm_status gallery_choose(gallery *g, sm_error *err) {
  sm_feature_spec spec = g->c->features, again = g->c->features;
  sm_status status = sm_evaluator_features(g->c->evaluator, "train", &spec, &g->train, err);
  if (!status) status = sm_evaluator_features(g->c->evaluator, "test", &again, &g->test, err);
  if (status) return status;
  g->n = g->test.n < SM_GALLERY_PICTURES ? (int)g->test.n : SM_GALLERY_PICTURES;
  for (int i = 0; i < g->n; i++) {
    g->row[i] = (2 * i + 1) * g->test.n / (2 * g->n);
    g->sample[i] = g->test.index[g->row[i]];
  }
  return SM_OK;
}

static void gallery_release(gallery *g) {
  for (int i = 0; i < SM_GALLERY_PICTURES; i++) sm_image_free(&g->tiles[i]);
  sm_image_free(&g->canvas);
  sm_image_free(&g->picture);
  sm_image_free(&g->shown);
  sm_image_scratch_free(g->scratch);
  sm_free(g->x);
  sm_free(g->attention);
}

sm_status sm_gallery_write(const sm_gallery_config *c, const char *folder, sm_error *err) {
  const sm_network_spec *a = sm_network_describe(c->network);
  gallery g = {
      .c = c, .folder = folder, .height = a->height, .width = a->width, .scratch = sm_image_scratch_new()};
  const int longest = g.height > g.width ? g.height : g.width;
  g.high = longest < TILE ? g.height : TILE * g.height / longest;
  g.wide = longest < TILE ? g.width : TILE * g.width / longest;
  sm_status status = g.scratch ? sm_mkdirs(folder, err) : sm_fail(err, SM_ENOMEM, "out of memory");
  if (!status) status = gallery_choose(&g, err);
  if (!status && g.n) {
    status = gallery_read_pictures(&g, err);
    if (!status) status = gallery_make_attention(&g, err);
    if (!status) status = gallery_draw_pictures(&g, err);
    if (!status) status = gallery_draw_masks(&g, err);
    if (!status && g.attention) status = gallery_draw_attention(&g, err);
    if (!status && g.attention) status = gallery_draw_heads(&g, err);
    if (!status) status = gallery_draw_neighbours(&g, err);
  }
  gallery_release(&g);
  return status;
}

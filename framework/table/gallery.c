/* gallery.c — what a trained network looks at: the masks of its training, the attention of [CLS] in the last
 * block, and the training pictures that its features put nearest to some test pictures.
 *
 * Every strip has one column per picture. Tiles are as large as the network's pictures, their longer side at
 * most TILE; a page magnifies them. */
#include "gallery.h"

#include <math.h>
#include <string.h>

#include <smalti/retrieval.h>

#include "framework/data/source.h"
#include "framework/data/views.h"
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
     "Last block, mean of the heads; from dark, no attention, to yellow, the most."},
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

static sm_status gallery_run_graph(gallery *g, sm_graph *graph, sm_error *err) {
  int pass = sm_pass_begin(graph, "attention");
  sm_tensor *count = sm_count(graph, "pictures", g->n);
  sm_tensor *x = sm_input_real(graph, "pictures", 4, (int64_t[]){g->n, 3, g->height, g->width}, count);
  const sm_backbone_in in = {.pictures = x, .attention = true};
  sm_backbone_out out = {0};
  sm_network_build(g->c->network, graph, NULL, &in, &out);
  sm_keep(graph, out.attention);
  sm_pass_end(graph);
  sm_status status = sm_graph_plan(graph, err);
  if (!status) status = sm_graph_allocate(graph, err);
  if (status) return status;
  int64_t values = (int64_t)g->n * g->heads * g->rows * g->cols;
  if (!(g->attention = sm_malloc((size_t)values * sizeof *g->attention)))
    return sm_fail(err, SM_ENOMEM, "out of memory");
  sm_write(x, 0, (int64_t)g->n * 3 * g->height * g->width, g->x);
  sm_graph_run(graph, pass);
  sm_read(out.attention, 0, values, g->attention);
  return SM_OK;
}

/* Backbones need not have attention. */
static sm_status gallery_make_attention(gallery *g, sm_error *err) {
  const sm_dtype real = sm_set_real(sm_network_set(g->c->network));
  sm_backbone_spec *spec = sm_calloc(1, sizeof *spec);
  if (!spec) return sm_fail(err, SM_ENOMEM, "out of memory");
  sm_status status = sm_network_at(g->c->network, g->height, g->width, spec, err);
  g->rows = spec->rows, g->cols = spec->cols, g->heads = spec->heads;
  sm_free(spec);
  if (status || g->heads < 1 || real != SM_F32) return status;
  const sm_graph_config config = {.device = SM_CPU, .real = real, .pool = g->c->pool};
  sm_graph *graph = sm_graph_new(&config, err);
  status = graph ? gallery_run_graph(g, graph, err) : err->code;
  sm_graph_free(graph);
  return status;
}

/* Dark blue over red to yellow, 0 … 1: three straight pieces, as bright as the value is large. */
static uint32_t gallery_heat(double v) {
  static const double at[5][3] = {
      {18, 12, 48}, {96, 22, 110}, {186, 54, 85}, {243, 133, 34}, {252, 240, 120}};
  double p = fmin(fmax(v, 0), 1) * 4;
  int i = p >= 4 ? 3 : (int)p;
  uint32_t rgb = 0;
  for (int c = 0; c < 3; c++)
    rgb = rgb << 8 | (uint32_t)lround(at[i][c] + (at[i + 1][c] - at[i][c]) * (p - i));
  return rgb;
}

static const float *gallery_attention_of(const gallery *g, int picture, int head) {
  return g->attention + ((size_t)picture * (size_t)g->heads + (size_t)head) * (size_t)(g->rows * g->cols);
}

static double gallery_mean_attention(const gallery *g, int picture, int cell) {
  double sum = 0;
  for (int h = 0; h < g->heads; h++) sum += (double)gallery_attention_of(g, picture, h)[cell];
  return sum / g->heads;
}

static sm_status gallery_draw_attention(gallery *g, sm_error *err) {
  int cells = g->rows * g->cols;
  sm_status status = gallery_begin(g, 1, err);
  for (int i = 0; i < g->n && !status; i++) {
    double most = 0;
    for (int k = 0; k < cells; k++) most = fmax(most, gallery_mean_attention(g, i, k));
    for (int k = 0; k < cells; k++)
      gallery_fill_cell(g, i, 0, k / g->cols, k % g->cols,
                        gallery_heat(most > 0 ? gallery_mean_attention(g, i, k) / most : 0), 1);
  }
  return status ? status : gallery_finish(g, STRIP_ATTENTION, err);
}

/* The smallest value among the patches that, largest first, hold 60 % of a head's attention to patches (iBOT,
 * visualize_attention.py, --threshold 0.6). */
static float gallery_threshold(const float *a, int cells) {
  double all = 0;
  for (int k = 0; k < cells; k++) all += (double)a[k];
  float limit = INFINITY;
  for (double held = 0; held < 0.6 * all;) {
    float next = -1;
    for (int k = 0; k < cells; k++)
      if (a[k] < limit && a[k] > next) next = a[k];
    if (next < 0) break;
    for (int k = 0; k < cells; k++) held += a[k] == next ? (double)next : 0;
    limit = next;
  }
  return limit;
}

static sm_status gallery_draw_heads(gallery *g, sm_error *err) {
  static const uint32_t colour[] = {0xE8554E, 0x4E9BE8, 0x62C46A, 0xE8B84E, 0xB56BE0, 0x4ED0C8};
  int cells = g->rows * g->cols, colours = (int)(sizeof colour / sizeof *colour);
  sm_status status = gallery_begin(g, 1, err);
  for (int i = 0; i < g->n && !status; i++) {
    sm_draw_blit(&g->canvas, gallery_left(g, i), 0, &g->tiles[i]);
    sm_draw_fill(&g->canvas, gallery_left(g, i), 0, g->wide, g->high, 0x000000, 0.45);
    for (int k = 0; k < cells; k++) {
      int best = -1;
      for (int h = 0; h < g->heads; h++) {
        const float *a = gallery_attention_of(g, i, h);
        if (a[k] >= gallery_threshold(a, cells) && (best < 0 || a[k] > gallery_attention_of(g, i, best)[k]))
          best = h;
      }
      if (best >= 0) gallery_fill_cell(g, i, 0, k / g->cols, k % g->cols, colour[best % colours], 0.65);
    }
  }
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

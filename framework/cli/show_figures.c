/* show_figures.c — each figure: look at every picture, draw, put it on the sheet. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <smalti/retrieval.h>

#include "show.h"

#include "framework/base/io.h"

static sm_status show_figures_no_memory(sm_error *err) { return sm_fail(err, SM_ENOMEM, "no memory for a figure"); }

/* ---- attention ----------------------------------------------------------------------------------------- */

static sm_status show_figures_heads(sm_viewer *s, const sm_look *l, const sm_image *tile, int form, double mass,
                                    sm_sheet *sheet, sm_error *err) {
  const size_t cells = (size_t)l->rows * (size_t)l->cols;
  const int cell = sm_show_cell(s, l);
  sm_image shown = {0};
  sm_status status = SM_OK;
  char caption[32];
  for (int h = 0; h < l->heads && !status; h++) {
    const float *a = l->attention + (size_t)h * cells;
    snprintf(caption, sizeof caption, "head %d", h + 1);
    if (form == SM_SHOW_PANELS) status = sm_show_panel(a, l->rows, l->cols, cell, &shown, err);
    else if (!(status = sm_image_copy(&shown, tile, err)))
      status = sm_show_mass(a, l->rows, l->cols, mass, &shown, err);
    if (!status) sm_sheet_tile(sheet, &shown, caption);
  }
  sm_image_free(&shown);
  return status;
}

static sm_status show_figures_colours(sm_viewer *s, const sm_look *l, const sm_image *tile, double mass, sm_sheet *sheet,
                                      sm_error *err) {
  float *mean = sm_malloc((size_t)l->rows * (size_t)l->cols * sizeof *mean);
  sm_image shown = {0};
  sm_status status = mean ? sm_image_copy(&shown, tile, err) : show_figures_no_memory(err);
  if (!status) status = sm_show_heads(l->attention, l->heads, l->rows, l->cols, mass, &shown, err);
  if (!status) {
    sm_sheet_tile(sheet, &shown, "heads");
    sm_attention_mean(l->attention, l->heads, l->rows * l->cols, mean);
    status = sm_show_panel(mean, l->rows, l->cols, sm_show_cell(s, l), &shown, err);
  }
  if (!status) sm_sheet_tile(sheet, &shown, "mean");
  sm_image_free(&shown);
  sm_free(mean);
  return status;
}

/* Picture i as it is stored, and what the network sees in it. */
static sm_status show_figures_see(sm_viewer *s, int i, const sm_look_request *want, sm_image *picture, sm_look *l,
                                  sm_error *err) {
  sm_status status = sm_show_read(s, i, picture, err);
  return status ? status : sm_show_look(s, picture, want, l, err);
}

sm_status sm_show_attention(sm_viewer *s, int form, double mass, sm_sheet *sheet, sm_error *err) {
  const sm_look_request want = {.attention = true};
  sm_image picture = {0}, tile = {0};
  sm_status status = SM_OK;
  for (int i = 0; i < s->n && !status; i++) {
    sm_look l;
    status = show_figures_see(s, i, &want, &picture, &l, err);
    if (!status) status = sm_show_tile(s, &picture, &l, &tile, err);
    if (status) break;
    if (form != SM_SHOW_COLOURS || i % 2 == 0) sm_sheet_row(sheet); /* three tiles each: two pictures a row */
    sm_sheet_tile(sheet, &tile, sm_show_name(s, i));
    if (form == SM_SHOW_COLOURS || form == SM_SHOW_ALL) status = show_figures_colours(s, &l, &tile, mass, sheet, err);
    if (!status && (form == SM_SHOW_PANELS || form == SM_SHOW_ALL))
      status = show_figures_heads(s, &l, &tile, SM_SHOW_PANELS, mass, sheet, err);
    if (!status && (form == SM_SHOW_MASKS || form == SM_SHOW_ALL))
      status = show_figures_heads(s, &l, &tile, SM_SHOW_MASKS, mass, sheet, err);
  }
  sm_image_free(&picture), sm_image_free(&tile);
  return status;
}

/* ---- principal components ------------------------------------------------------------------------------ */

typedef struct components {
  float *x;
  uint8_t *border;
  int64_t n, room;
  int dim;
} components;

static sm_status show_figures_take(components *c, const sm_look *l, sm_error *err) {
  const int64_t cells = (int64_t)l->rows * l->cols;
  if (c->n + cells > c->room) {
    const int64_t room = 2 * c->room > c->n + cells ? 2 * c->room : c->n + cells;
    float *x = sm_malloc((size_t)room * (size_t)l->dim * sizeof *x);
    uint8_t *border = sm_malloc((size_t)room);
    if (!x || !border) return sm_free(x), sm_free(border), show_figures_no_memory(err);
    if (c->n) memcpy(x, c->x, (size_t)c->n * (size_t)l->dim * sizeof *x), memcpy(border, c->border, (size_t)c->n);
    sm_free(c->x), sm_free(c->border);
    c->x = x, c->border = border, c->room = room;
  }
  c->dim = l->dim;
  memcpy(c->x + c->n * l->dim, l->patches, (size_t)cells * (size_t)l->dim * sizeof *c->x);
  for (int64_t k = 0; k < cells; k++) {
    const int row = (int)(k / l->cols), col = (int)(k % l->cols);
    c->border[c->n + k] = row == 0 || col == 0 || row == l->rows - 1 || col == l->cols - 1;
  }
  c->n += cells;
  return SM_OK;
}

static sm_status show_figures_fit(sm_viewer *s, bool foreground, sm_projection *p, sm_error *err) {
  const sm_look_request want = {.patches = true};
  components c = {0};
  sm_image picture = {0};
  sm_status status = SM_OK;
  for (int i = 0; i < s->n && !status; i++) {
    sm_look l;
    status = show_figures_see(s, i, &want, &picture, &l, err);
    if (!status) status = show_figures_take(&c, &l, err);
  }
  if (!status) status = sm_projection_fit(&(sm_patch_set){c.x, c.border, c.n, c.dim}, foreground, p, err);
  sm_image_free(&picture);
  sm_free(c.x), sm_free(c.border);
  return status;
}

static sm_status show_figures_projection(sm_viewer *s, bool foreground, const char *file, bool anew, sm_projection *p,
                                         sm_error *err) {
  const int dim = sm_network_describe(s->network)->backbone.dim;
  if (!file || anew || !sm_path_there(file, NULL)) {
    sm_status status = show_figures_fit(s, foreground, p, err);
    if (!status && file) status = sm_projection_write(p, file, err);
    return status;
  }
  sm_status status = sm_projection_read(file, p, err);
  if (status || p->dim == dim) return status;
  sm_fail(err, SM_EINVAL, "the projection is of %d dimensions, and the network's patches have %d", p->dim, dim);
  sm_fail_at(err, file, 0, 0);
  return sm_hint(err, "it belongs to another network: name another file, or write it anew with --force");
}

sm_status sm_show_components(sm_viewer *s, bool foreground, const char *file, bool anew, sm_sheet *sheet, sm_error *err) {
  const sm_look_request want = {.patches = true};
  sm_image picture = {0}, tile = {0};
  sm_projection p = {0};
  sm_status status = show_figures_projection(s, foreground, file, anew, &p, err);
  for (int i = 0; i < s->n && !status; i++) {
    sm_look l;
    status = show_figures_see(s, i, &want, &picture, &l, err);
    if (!status) status = sm_show_tile(s, &picture, &l, &tile, err);
    if (status) break;
    if (i % 4 == 0) sm_sheet_row(sheet);
    sm_sheet_tile(sheet, &tile, sm_show_name(s, i));
    int kept;
    status = sm_show_pca(&p, l.patches, l.rows, l.cols, sm_show_cell(s, &l), &tile, &kept, err);
    if (!status) sm_sheet_tile(sheet, &tile, kept ? NULL : "all background");
  }
  sm_projection_free(&p);
  sm_image_free(&picture), sm_image_free(&tile);
  return status;
}

/* ---- patterns ------------------------------------------------------------------------------------------ */

static sm_status show_figures_not_shared(const sm_viewer *s, sm_error *err) {
  sm_text title = {0};
  sm_network_title(s->network, &title);
  sm_fail(err, SM_EUNSUPPORTED, "the head of %s gives patches outputs of their own, not those of [CLS]",
          title.s ? title.s : "this network");
  sm_text_free(&title);
  return sm_hint(err, "a pattern layout needs a shared head: train with head.projection.sharing=shared");
}

static sm_status show_figures_count(sm_viewer *s, int64_t k, sm_patterns *p, sm_error *err) {
  const sm_look_request want = {.logits = true};
  sm_image picture = {0};
  sm_status status = SM_OK;
  for (int i = 0; i < s->n && !status; i++) {
    sm_look l;
    status = show_figures_see(s, i, &want, &picture, &l, err);
    if (!status && !l.shared) status = show_figures_not_shared(s, err);
    if (!status && !p->members) status = sm_patterns_new(l.outputs, 2 * (int)k, p, err);
    if (!status) sm_patterns_add(p, i, l.logits, l.rows * l.cols);
  }
  sm_image_free(&picture);
  return status;
}

/* One output: up to k tiles, about as many across as down. */
static sm_status show_figures_pattern(sm_viewer *s, const sm_patterns *p, int output, int k, sm_image *block,
                                      sm_error *err) {
  const int across = (int)ceil(sqrt(k)), cell = s->cell ? s->cell : 12, side = 5 * cell + 2;
  const int tall = (k + across - 1) / across;
  const sm_backbone_spec *grid = &sm_network_describe(s->network)->backbone;
  sm_image picture = {0}, seen = {0}, tile = {0};
  sm_status status = sm_image_reshape(block, across * side, tall * side, err);
  if (!status) sm_draw_fill(block, 0, 0, block->width, block->height, 0xFFFFFF, 1);
  for (int i = 0, put = 0; i < p->kept[output] && put < k && !status; i++) {
    const sm_pattern *at = &p->best[(size_t)output * (size_t)p->room + (size_t)i];
    bool bright;
    int height, width;
    status = sm_show_read(s, at->picture, &picture, err);
    if (status) break;
    sm_show_size(s, &picture, &height, &width);
    const int rows = height / grid->cell, cols = width / grid->cell;
    status = sm_image_resize(&picture, NULL, cols * cell, rows * cell, SM_FILTER_BICUBIC, s->scratch, &seen, err);
    if (!status) status = sm_show_pattern(&seen, rows, cols, at->patch, cell, &tile, &bright, err);
    if (status || !bright) continue;
    sm_draw_blit(block, put % across * side, put / across * side, &tile);
    put++;
  }
  sm_image_free(&picture), sm_image_free(&seen), sm_image_free(&tile);
  return status;
}

sm_status sm_show_layout(sm_viewer *s, const sm_pattern_options *o, sm_sheet *sheet, sm_error *err) {
  sm_patterns p = {0};
  sm_image block = {0};
  int *output = sm_malloc((size_t)o->outputs * sizeof *output), n = 0;
  sm_status status = output ? show_figures_count(s, o->k, &p, err) : show_figures_no_memory(err);
  if (!status) n = sm_patterns_largest(&p, (int)o->outputs, output);
  for (int i = 0; i < n && !status; i++) {
    char caption[48];
    snprintf(caption, sizeof caption, "%d: %lld %s", output[i], (long long)p.members[output[i]],
             sm_plural(p.members[output[i]], "patch", "patches"));
    if (i % 4 == 0) sm_sheet_row(sheet);
    status = show_figures_pattern(s, &p, output[i], (int)o->k, &block, err);
    if (!status) sm_sheet_tile(sheet, &block, caption);
  }
  sm_patterns_free(&p);
  sm_image_free(&block);
  sm_free(output);
  return status;
}

/* ---- correspondence ------------------------------------------------------------------------------------ */

typedef struct pair {
  sm_image tile[2];
  float *patches, *rank; /* (N, D), (N): of the left one */
  int *match, *from;     /* (N)                          */
  int rows, cols, dim, heads;
} pair;

static void show_figures_pair_free(pair *p) {
  sm_image_free(&p->tile[0]), sm_image_free(&p->tile[1]);
  sm_free(p->patches), sm_free(p->rank), sm_free(p->match), sm_free(p->from);
}

static sm_status show_figures_left(sm_viewer *s, const sm_image *image, int height, int width, pair *p, sm_error *err) {
  const sm_look_request want = {.patches = true,
                                .attention = sm_network_describe(s->network)->backbone.heads > 0};
  sm_look l;
  sm_status status = sm_show_look_at(s, image, height, width, &want, &l, err);
  if (status) return status;
  const size_t cells = (size_t)l.rows * (size_t)l.cols;
  if (!p->patches) {
    p->patches = sm_malloc(cells * (size_t)l.dim * sizeof(float)), p->rank = sm_malloc(cells * sizeof(float));
    p->match = sm_malloc(cells * sizeof(int)), p->from = sm_malloc(cells * sizeof(int));
    if (!p->patches || !p->rank || !p->match || !p->from) return show_figures_no_memory(err);
    p->rows = l.rows, p->cols = l.cols, p->dim = l.dim, p->heads = l.heads;
  }
  memcpy(p->patches, l.patches, cells * (size_t)l.dim * sizeof(float));
  if (l.heads) sm_attention_mean(l.attention, l.heads, (int)cells, p->rank);
  return sm_show_tile(s, image, &l, &p->tile[0], err);
}

static sm_status show_figures_right(sm_viewer *s, const sm_image *image, int height, int width, pair *p, sm_error *err) {
  const int cells = p->rows * p->cols;
  const sm_look_request want = {.patches = true, .attention = p->heads > 0};
  sm_look l;
  sm_status status = sm_show_look_at(s, image, height, width, &want, &l, err);
  float *cosine = status ? NULL : sm_malloc((size_t)cells * sizeof *cosine);
  if (!status && !cosine) status = show_figures_no_memory(err);
  if (!status) status = sm_match(p->patches, cells, l.patches, cells, p->dim, p->match, cosine, err);
  if (!status && !p->heads) memcpy(p->rank, cosine, (size_t)cells * sizeof *cosine);
  if (!status) status = sm_show_tile(s, image, &l, &p->tile[1], err);
  sm_free(cosine);
  return status;
}

sm_status sm_show_pair(sm_viewer *s, int points, sm_sheet *sheet, sm_error *err) {
  pair p = {0};
  sm_image picture[2] = {{0}}, shown = {0};
  int height, width, ends[512];
  sm_status status = sm_show_read(s, 0, &picture[0], err);
  if (!status) status = sm_show_read(s, 1, &picture[1], err);
  if (!status) sm_show_size(s, &picture[0], &height, &width);
  if (!status) status = show_figures_left(s, &picture[0], height, width, &p, err);
  if (!status) status = show_figures_right(s, &picture[1], height, width, &p, err);
  if (!status) {
    const int cells = p.rows * p.cols, n = points < cells ? points : cells;
    status = sm_attention_top(p.rank, cells, n, false, p.from, err);
    for (int i = 0; i < n && !status; i++) ends[i] = p.match[p.from[i]];
    if (!status)
      status = sm_show_matches(&p.tile[0], &p.tile[1], p.rows, p.cols, p.from, ends, NULL, n, &shown, err);
  }
  if (!status) sm_sheet_tile(sheet, &shown, NULL);
  show_figures_pair_free(&p);
  sm_image_free(&picture[0]), sm_image_free(&picture[1]), sm_image_free(&shown);
  return status;
}

/* Of the patches that both views hold, those looked at most; green where the match is exact, yellow where it is beside. */
static sm_status show_figures_draw_views(const pair *p, const sm_match_view v[2], int points, sm_sheet *sheet,
                                         sm_error *err) {
  const int cells = p->rows * p->cols;
  int from[512], ends[512], n = 0;
  uint32_t colour[512];
  sm_image shown = {0};
  sm_status status = sm_attention_top(p->rank, cells, cells, false, p->from, err);
  for (int i = 0; i < cells && n < points && !status; i++) {
    const int k = p->from[i], truth = sm_match_truth(&v[0], &v[1], p->rows, p->cols, k);
    if (truth < 0) continue;
    const int offset = sm_match_offset(p->match[k], truth, p->cols);
    from[n] = k, ends[n] = p->match[k];
    colour[n++] = offset == 0 ? 0x30C050 : offset == 1 ? 0xF0C020 : 0xE03030;
  }
  if (!status) status = sm_show_matches(&p->tile[0], &p->tile[1], p->rows, p->cols, from, ends, colour, n, &shown, err);
  if (!status) sm_sheet_tile(sheet, &shown, NULL);
  sm_image_free(&shown);
  return status;
}

static sm_status show_figures_two_views(sm_viewer *s, const sm_image *picture, const sm_match_view v[2], pair *p,
                                        sm_error *err) {
  sm_image cut = {0};
  sm_status status = SM_OK;
  const int side = s->height, wide = s->width ? s->width : s->height;
  for (int k = 0; k < 2 && !status; k++) {
    status = sm_match_view_cut(picture, &v[k], wide, side, SM_FILTER_BICUBIC, s->scratch, &cut, err);
    if (status) break;
    status = k ? show_figures_right(s, &cut, side, wide, p, err) : show_figures_left(s, &cut, side, wide, p, err);
  }
  sm_image_free(&cut);
  return status;
}

sm_status sm_show_views(sm_viewer *s, int points, int drawn, uint64_t seed, sm_match_score *score, sm_sheet *sheet,
                        sm_error *err) {
  pair p = {0};
  sm_image picture = {0};
  sm_status status = SM_OK;
  for (int i = 0; i < s->n && !status; i++) {
    sm_match_view v[2];
    status = sm_show_read(s, i, &picture, err);
    if (status) break;
    for (int k = 0; k < 2; k++) v[k] = sm_match_view_draw(picture.width, picture.height, 0, seed, i, k);
    status = show_figures_two_views(s, &picture, v, &p, err);
    if (status) break;
    score[i] = (sm_match_score){0};
    sm_match_add(&score[i], &v[0], &v[1], p.rows, p.cols, p.match);
    if (i >= drawn) continue;
    if (i % 2 == 0) sm_sheet_row(sheet);
    status = show_figures_draw_views(&p, v, points, sheet, err);
  }
  show_figures_pair_free(&p);
  sm_image_free(&picture);
  return status;
}

/* ---- neighbours ---------------------------------------------------------------------------------------- */

static sm_status show_figures_features(sm_viewer *s, float **x, int *dim, sm_error *err) {
  const sm_look_request want = {.view = true};
  sm_image picture = {0};
  sm_status status = SM_OK;
  *dim = sm_network_describe(s->network)->backbone.dim;
  if (!(*x = sm_malloc((size_t)s->n * (size_t)*dim * sizeof **x))) return show_figures_no_memory(err);
  for (int i = 0; i < s->n && !status; i++) {
    sm_look l;
    status = show_figures_see(s, i, &want, &picture, &l, err);
    if (!status) memcpy(*x + (size_t)i * (size_t)*dim, l.view, (size_t)*dim * sizeof **x);
  }
  sm_image_free(&picture);
  return status;
}

static sm_status show_figures_put(sm_viewer *s, int i, const char *caption, bool mark, sm_sheet *sheet, sm_error *err) {
  const int side = s->cell ? s->cell * 8 : 112;
  sm_image picture = {0}, tile = {0};
  sm_status status = sm_show_read(s, i, &picture, err);
  if (!status) {
    const int width = picture.width >= picture.height ? side : side * picture.width / picture.height;
    const int height = picture.height >= picture.width ? side : side * picture.height / picture.width;
    status = sm_image_resize(&picture, NULL, width > 0 ? width : 1, height > 0 ? height : 1, SM_FILTER_BICUBIC,
                             s->scratch, &tile, err);
  }
  if (!status && mark) sm_draw_frame(&tile, 0, 0, tile.width, tile.height, 3, 0x3060E0);
  if (!status) sm_sheet_tile(sheet, &tile, caption);
  sm_image_free(&picture), sm_image_free(&tile);
  return status;
}

sm_status sm_show_nearest(sm_viewer *s, int queries, int from, int k, sm_sheet *sheet, sm_error *err) {
  float *x = NULL;
  int dim;
  int64_t row[SM_NEAREST_MOST];
  double at[SM_NEAREST_MOST];
  sm_status status = show_figures_features(s, &x, &dim, err);
  for (int q = 0; q < queries && !status; q++) {
    const float *query = x + (size_t)q * (size_t)dim, *among = x + (size_t)from * (size_t)dim;
    const int n = sm_nearest_by_cosine(query, among, s->n - from, dim, q - from, k, row, at);
    sm_sheet_row(sheet);
    status = show_figures_put(s, q, sm_show_name(s, q), true, sheet, err);
    for (int i = 0; i < n && !status; i++) {
      const bool same = !memcmp(query, among + row[i] * dim, (size_t)dim * sizeof *x);
      char caption[32];
      snprintf(caption, sizeof caption, same ? "%.3f the same" : "%.3f", at[i]);
      status = show_figures_put(s, from + (int)row[i], caption, false, sheet, err);
    }
  }
  sm_free(x);
  return status;
}

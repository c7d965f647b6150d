/* preview.c — the contact sheet: what the first pictures of an epoch look like by the time the networks see
 * them.
 *
 * One row per picture: the original with its crop boxes, the global views, the same with their masks, as
 * tokenizers want them for themselves, the local views (under their masks, where they have any). The draws
 * are those of training (views.h), bad pictures are replaced as training replaces them. */
#include <string.h>

#include "source.h"
#include "views.h"

enum {
  MOST_PICTURES = 64,
  MARGIN = 16,
  GAP = 8,
  SECTION_GAP = 20, /* between original, views, masks and local views */
  LINE = 10,        /* a line of small text                           */
  CAPTION = 2 * LINE + 4,
  HEADER = 62,
  SMALLEST_SIDE = 128, /* smaller views are magnified */
  LARGEST_SIDE = 256   /* larger ones are reduced     */
};

static const uint32_t paper = 0xFCFBF8, ink = 0x22252A, faint = 0x7A7F87, hidden = 0x3A3F47;
static const uint32_t view_colours[] = {0x1F6FB4, 0xD9622B, 0x2F9E5B, 0x8E4EC6};
enum { VIEW_COLOURS = sizeof view_colours / sizeof *view_colours };

/* Where everything stands, in pixels of the sheet. */
typedef struct layout {
  int wide, high;             /* a global view as shown                */
  int small_wide, small_high; /* a local one                           */
  int local_cols, local_rows; /* local views of one picture            */
  int x_global, x_mask, x_own, x_local;
  int row, width, height; /* of one row; of the sheet              */
  bool masks, local_masks;
} layout;

typedef struct sheet {
  const sm_preview_config *config;
  layout at;
  sm_image canvas, picture, view, shown;
  sm_image_scratch *scratch;
  uint8_t *mask; /* of one view */
  uint32_t *order;
  int64_t masked, cells; /* over all rows, for the header */
} sheet;

/* A side of a view as shown, when the longer side of global views is `longest`. */
static int preview_shown_side(int side, int longest) {
  if (longest < SMALLEST_SIDE) return side * ((SMALLEST_SIDE + longest - 1) / longest);
  if (longest > LARGEST_SIDE) return side * LARGEST_SIDE / longest > 0 ? side * LARGEST_SIDE / longest : 1;
  return side;
}

static layout preview_lay_out(const sm_preview_config *c) {
  const sm_views *v = &c->views;
  const sm_view_recipe *g = &v->global_first;
  const int longest = g->height > g->width ? g->height : g->width;
  layout at = {.wide = preview_shown_side(g->width, longest), .high = preview_shown_side(g->height, longest)};
  at.masks = c->masking.ops && !c->masking.ops->needs_attention && c->masking.rows > 0 && c->masking.cols > 0;
  at.local_masks = at.masks && sm_masking_local(&c->masking, v);
  at.x_global = MARGIN + at.wide + SECTION_GAP;
  int x = at.x_global + v->globals * (at.wide + GAP) - GAP;
  at.x_mask = x + SECTION_GAP;
  if (at.masks) x = at.x_mask + v->globals * (at.wide + GAP) - GAP;
  at.x_own = x + SECTION_GAP;
  if (v->owns) x = at.x_own + v->owns * v->globals * (at.wide + GAP) - GAP;
  at.x_local = x + SECTION_GAP;
  int column = at.high;
  if (v->locals > 0) {
    at.small_wide = preview_shown_side(v->local.width, longest);
    at.small_high = preview_shown_side(v->local.height, longest);
    int cell = at.small_high + LINE + GAP;
    at.local_rows =
        (at.high + CAPTION + GAP + cell / 4) / cell; /* a row may grow a little for one line more */
    if (at.local_rows < 1) at.local_rows = 1;
    if (at.local_rows > v->locals) at.local_rows = v->locals;
    at.local_cols = (v->locals + at.local_rows - 1) / at.local_rows;
    x = at.x_local + at.local_cols * (at.small_wide + GAP) - GAP;
    int high = at.local_rows * cell - GAP - CAPTION;
    if (high > column) column = high;
  }
  at.row = column + CAPTION + 2 * GAP;
  at.width = x + MARGIN;
  if (at.width < 520) at.width = 520;
  at.height = HEADER + c->pictures * at.row + GAP;
  return at;
}

/* ---- pieces of a row --------------------------------------------------------------------------------- */

/* As much of the text as fits the width, in whole words; the start goes first when `tail` is what matters (file
 * names). */
static void preview_caption(sheet *s, int x, int y, int width, uint32_t colour, bool tail, const char *text) {
  char line[512];
  size_t fits = width >= 6 ? (size_t)(width / 6) : 1, n = strlen(text);
  if (fits >= sizeof line) fits = sizeof line - 1;
  if (n > fits && tail) {
    text += n - fits;
    n = fits;
  }
  snprintf(line, sizeof line, "%.*s", (int)(n < fits ? n : fits), text);
  if (n > fits && text[fits] != ' ' && strchr(line, ' ')) *strrchr(line, ' ') = 0;
  sm_draw_text(&s->canvas, x, y, 1, colour, line);
}

static sm_status preview_show(sheet *s, const sm_image *image, int x, int y, int width, int height,
                              sm_error *err) {
  sm_filter filter = width >= image->width ? SM_FILTER_BOX : SM_FILTER_BICUBIC;
  sm_status status = sm_image_resize(image, NULL, width, height, filter, s->scratch, &s->shown, err);
  if (!status) sm_draw_blit(&s->canvas, x, y, &s->shown);
  return status;
}

static uint32_t preview_colour_of(const sm_preview_config *c, int v) {
  return v < c->views.globals ? view_colours[v % VIEW_COLOURS] : faint;
}

/* The original, fitted into a tile of the views' shape, and the boxes that the views were cut from. */
static sm_status preview_show_original(sheet *s, int y, int64_t index, const sm_view_choice *choices,
                                       sm_error *err) {
  const sm_preview_config *c = s->config;
  const sm_image *p = &s->picture;
  const int wide = s->at.wide, high = s->at.high;
  double by_width = (double)wide / p->width, by_height = (double)high / p->height;
  double scale = by_width < by_height ? by_width : by_height;
  int width = (int)(p->width * scale + 0.5), height = (int)(p->height * scale + 0.5);
  if (width < 1) width = 1;
  if (height < 1) height = 1;
  int x = MARGIN + (wide - width) / 2, top = y + (high - height) / 2;
  char text[64];
  sm_draw_fill(&s->canvas, MARGIN, y, wide, high, 0xEDEBE6, 1);
  sm_status status = preview_show(s, p, x, top, width, height, err);
  if (status) return status;
  for (int v = c->views.globals + c->views.locals - 1; v >= 0; v--) {
    const sm_box *b = &choices[v].box;
    int left = (int)(b->left * scale), up = (int)(b->top * scale);
    int right = (int)((b->left + b->width) * scale + 0.5), down = (int)((b->top + b->height) * scale + 0.5);
    bool global = v < c->views.globals;
    sm_draw_frame(&s->canvas, x + left, top + up, right - left, down - up, global ? 2 : 1,
                  global ? preview_colour_of(c, v) : 0xFFFFFF);
  }
  preview_caption(s, MARGIN, y + high + 4, wide, ink, true, c->dataset.ops->name(c->dataset.self, index));
  int label = c->dataset.ops->label(c->dataset.self, index);
  snprintf(text, sizeof text, "%d x %d%s%s", p->width, p->height, label >= 0 ? ", " : "",
           label >= 0 ? c->dataset.ops->class_name(c->dataset.self, label) : "");
  preview_caption(s, MARGIN, y + high + 4 + LINE, wide, faint, false, text);
  return SM_OK;
}

/* "43% flip 1.12:1" and "jitter grey blur 1.2 solarised". */
static void preview_describe(const sm_view_choice *choice, const sm_image *p, char *box, char *colour,
                             size_t size) {
  double share = (double)choice->box.width * choice->box.height / ((double)p->width * p->height);
  snprintf(box, size, "%.0f%%%s %.2f:1", 100 * share, choice->flip ? " flip" : "",
           (double)choice->box.width / choice->box.height);
  char blur[24] = "";
  if (choice->blur) snprintf(blur, sizeof blur, "blur %.1f ", choice->blur_radius);
  snprintf(colour, size, "%s%s%s%s", choice->jitter ? "jitter " : "", choice->grey ? "grey " : "", blur,
           choice->solarize ? "solarised" : "");
}

/* The grid over a view that lies there, hidden cells dark; how many they are. */
static int preview_draw_mask(sheet *s, int x, int y, int wide, int high, int rows, int cols) {
  int n = 0;
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < cols; c++) {
      int left = c * wide / cols, right = (c + 1) * wide / cols;
      int top = r * high / rows, bottom = (r + 1) * high / rows;
      bool is_hidden = s->mask[r * cols + c] != 0;
      if (is_hidden) sm_draw_fill(&s->canvas, x + left, y + top, right - left, bottom - top, hidden, 0.9);
      /* a thin line along the cell's upper and left border makes the grid */
      sm_draw_fill(&s->canvas, x + left, y + top, right - left, 1, 0xFFFFFF, is_hidden ? 0.12 : 0.3);
      sm_draw_fill(&s->canvas, x + left, y + top, 1, bottom - top, 0xFFFFFF, is_hidden ? 0.12 : 0.3);
      n += is_hidden;
    }
  s->masked += n;
  s->cells += rows * cols;
  return n;
}

static void preview_show_mask(sheet *s, int x, int y) {
  const sm_masking *m = &s->config->masking;
  const int wide = s->at.wide, high = s->at.high, all = m->rows * m->cols;
  const int n = preview_draw_mask(s, x, y, wide, high, m->rows, m->cols);
  char text[64];
  snprintf(text, sizeof text, "%d of %d hidden", n, all);
  preview_caption(s, x, y + high + 4, wide, ink, false, text);
  snprintf(text, sizeof text, "%.0f%%", 100.0 * n / all);
  preview_caption(s, x, y + high + 4 + LINE, wide, faint, false, text);
}

static sm_status preview_show_global(sheet *s, int y, const sm_slot_key *key, int v, sm_error *err) {
  const sm_preview_config *c = s->config;
  const int wide = s->at.wide, high = s->at.high, x = s->at.x_global + v * (wide + GAP);
  const uint32_t colour = preview_colour_of(c, v);
  sm_status status = preview_show(s, &s->view, x, y, wide, high, err);
  if (status || !s->at.masks) return status;
  int mx = s->at.x_mask + v * (wide + GAP);
  sm_draw_blit(&s->canvas, mx, y, &s->shown);
  if ((status = sm_masking_draw(&c->masking, &c->views, key, v, NULL, 0, s->mask, err))) return status;
  preview_show_mask(s, mx, y);
  sm_draw_frame(&s->canvas, mx - 2, y - 2, wide + 4, high + 4, 2, colour);
  return SM_OK;
}

/* Global view v once more for each tokenizer that looks at it in its own way. */
static sm_status preview_show_owns(sheet *s, int y, int v, const sm_view_choice *global, sm_error *err) {
  const sm_views *views = &s->config->views;
  const int wide = s->at.wide, high = s->at.high;
  sm_status status = SM_OK;
  for (int k = 0; k < views->owns && !status; k++) {
    const sm_own_recipe *own = &views->own[k];
    const sm_view_choice choice = sm_views_own_choice(views, k, global);
    int x = s->at.x_own + (k * views->globals + v) * (wide + GAP);
    char text[64];
    status = sm_view_pixels(&s->picture, &own->view, &choice, s->scratch, &s->view, err);
    if (!status) status = preview_show(s, &s->view, x, y, wide, high, err);
    sm_draw_frame(&s->canvas, x - 2, y - 2, wide + 4, high + 4, 2, preview_colour_of(s->config, v));
    snprintf(text, sizeof text, "%d x %d px", own->view.height, own->view.width);
    preview_caption(s, x, y + high + 4, wide, ink, false, text);
    preview_caption(s, x, y + high + 4 + LINE, wide, faint, false, own->plain ? "its own colours" : "");
  }
  return status;
}

static sm_status preview_show_views(sheet *s, int y, const sm_slot_key *key, const sm_view_choice *choices,
                            sm_error *err) {
  const sm_preview_config *c = s->config;
  const layout *at = &s->at;
  sm_status status = SM_OK;
  for (int v = 0; v < c->views.globals + c->views.locals && !status; v++) {
    char box[64], colour[64];
    preview_describe(&choices[v], &s->picture, box, colour, sizeof box);
    status =
        sm_view_pixels(&s->picture, sm_views_recipe(&c->views, v), &choices[v], s->scratch, &s->view, err);
    if (status) break;
    if (v < c->views.globals) {
      int x = at->x_global + v * (at->wide + GAP);
      status = preview_show_global(s, y, key, v, err);
      sm_draw_frame(&s->canvas, x - 2, y - 2, at->wide + 4, at->high + 4, 2, preview_colour_of(c, v));
      preview_caption(s, x, y + at->high + 4, at->wide, ink, false, box);
      preview_caption(s, x, y + at->high + 4 + LINE, at->wide, faint, false, colour);
      if (!status) status = preview_show_owns(s, y, v, &choices[v], err);
    } else {
      int l = v - c->views.globals;
      int x = at->x_local + l % at->local_cols * (at->small_wide + GAP);
      int top = y + l / at->local_cols * (at->small_high + LINE + GAP);
      status = preview_show(s, &s->view, x, top, at->small_wide, at->small_high, err);
      if (at->local_masks && !status) {
        status = sm_masking_draw(&c->masking, &c->views, key, v, NULL, 0, s->mask, err);
        preview_draw_mask(s, x, top, at->small_wide, at->small_high, c->masking.local_rows,
                          c->masking.local_cols);
      }
      preview_caption(s, x, top + at->small_high + 3, at->small_wide, faint, false, box);
    }
  }
  return status;
}

/* ---- the sheet --------------------------------------------------------------------------------------- */

/* The slot's picture as training finds it: the one in turn, or the first good replacement. */
static sm_status preview_read_slot(sheet *s, const sm_slot_key *key, int64_t count, int64_t *index,
                                   sm_error *err) {
  const sm_preview_config *c = s->config;
  const sm_source source = {.dataset = &c->dataset, .limits = &c->limits};
  sm_status status = SM_OK;
  for (int attempt = 0; attempt <= SM_LOADER_ATTEMPTS; attempt++) {
    *index = attempt ? sm_slot_replacement(key, attempt, count) : s->order[key->slot % count];
    status = sm_source_get(&source, *index, NULL, &s->picture, NULL, err);
    if (!status || sm_source_ends(status)) break;
  }
  return status;
}

static sm_status preview_show_row(sheet *s, int row, int64_t count, sm_error *err) {
  const sm_preview_config *c = s->config;
  const sm_slot_key key = {c->seed, c->epoch, row};
  sm_view_choice choices[SM_GLOBALS_MAX + SM_LOCALS_MAX];
  int64_t index;
  int y = HEADER + row * s->at.row;
  sm_status status = preview_read_slot(s, &key, count, &index, err);
  if (status) return status;
  for (int v = 0; v < c->views.globals + c->views.locals; v++)
    sm_views_draw(&c->views, &key, v, s->picture.width, s->picture.height, &choices[v]);
  status = preview_show_original(s, y, index, choices, err);
  return !status ? preview_show_views(s, y, &key, choices, err) : status;
}

static sm_status preview_show_header(sheet *s, sm_error *err) {
  const sm_preview_config *c = s->config;
  const sm_views *v = &c->views;
  const layout *at = &s->at;
  char side[24];
  sm_text line = {0};
  sm_draw_text(&s->canvas, MARGIN, 12, 2, ink, c->title ? c->title : "");
  sm_text_add(&line, "epoch %lld, seed %llu; global %d x %s px, crops %.2f-%.2f of the area",
              (long long)c->epoch, (unsigned long long)c->seed, v->globals,
              sm_view_size_text(v->global_first.height, v->global_first.width, side, sizeof side),
              v->global_first.scale[0], v->global_first.scale[1]);
  if (v->locals)
    sm_text_add(&line, "; local %d x %s px, %.2f-%.2f", v->locals,
                sm_view_size_text(v->local.height, v->local.width, side, sizeof side), v->local.scale[0],
                v->local.scale[1]);
  if (at->masks) sm_text_add(&line, "; %d x %d patches", c->masking.rows, c->masking.cols);
  if (at->local_masks) sm_text_add(&line, " and %d x %d", c->masking.local_rows, c->masking.local_cols);
  if (at->masks)
    sm_text_add(&line, ", %.0f%% hidden on average",
                100.0 * (double)s->masked / (double)(s->cells ? s->cells : 1));
  if (c->masking.ops && c->masking.ops->needs_attention)
    sm_text_add(&line, "; masks follow the teacher's attention");
  if (!line.failed) preview_caption(s, MARGIN, 32, at->width - 2 * MARGIN, faint, false, line.s);
  sm_status status = line.failed ? sm_fail(err, SM_ENOMEM, "out of memory for a preview") : SM_OK;
  sm_text_free(&line);
  sm_draw_text(&s->canvas, MARGIN, HEADER - 13, 1, ink, "original");
  sm_draw_text(&s->canvas, at->x_global, HEADER - 13, 1, ink, "global views");
  if (at->masks) sm_draw_text(&s->canvas, at->x_mask, HEADER - 13, 1, ink, "what the student sees");
  if (v->owns) sm_draw_text(&s->canvas, at->x_own, HEADER - 13, 1, ink, "what the tokenizer sees");
  if (v->locals)
    sm_draw_text(&s->canvas, at->x_local, HEADER - 13, 1, ink,
                 at->local_masks ? "local views, masked" : "local views");
  return status;
}

static sm_status preview_check(const sm_preview_config *c, int64_t count, sm_error *err) {
  sm_status status;
  if ((status = sm_views_check(&c->views, err)) != SM_OK) return status;
  if ((status = sm_masking_check(&c->masking, err)) != SM_OK) return status;
  if (c->pictures < 1 || c->pictures > MOST_PICTURES)
    return sm_fail(err, SM_EINVAL, "a preview of %d pictures: the number must lie between 1 and %d",
                   c->pictures, MOST_PICTURES);
  if (count < 1 || count > INT32_MAX)
    return sm_fail(err, SM_EINVAL, "the dataset holds %lld pictures", (long long)count);
  return SM_OK;
}

sm_status sm_preview_write(const sm_preview_config *config, const char *path, sm_error *err) {
  const int64_t count = config->dataset.ops->count(config->dataset.self);
  sheet s = {.config = config};
  sm_status status = preview_check(config, count, err);
  if (status) return status;
  s.at = preview_lay_out(config);
  s.scratch = sm_image_scratch_new();
  s.order = sm_malloc((size_t)count * sizeof *s.order);
  const sm_masking *m = &config->masking;
  size_t cells = (size_t)m->rows * (size_t)m->cols, small = (size_t)m->local_rows * (size_t)m->local_cols;
  s.mask = sm_malloc((small > cells ? small : cells) + 1);
  if (!s.scratch || !s.order || !s.mask) {
    status = sm_fail(err, SM_ENOMEM, "out of memory for a preview");
    goto out;
  }
  status = sm_image_reshape(&s.canvas, s.at.width, s.at.height, err);
  if (status) goto out;
  sm_epoch_order(config->seed, config->epoch, 0, s.order, (uint32_t)count);
  sm_draw_fill(&s.canvas, 0, 0, s.at.width, s.at.height, paper, 1);
  for (int row = 0; row < config->pictures && !status; row++) status = preview_show_row(&s, row, count, err);
  if (!status) status = preview_show_header(&s, err);
  if (!status) status = sm_image_write_png(path, &s.canvas, err);

out:
  sm_image_free(&s.canvas);
  sm_image_free(&s.picture);
  sm_image_free(&s.view);
  sm_image_free(&s.shown);
  sm_image_scratch_free(s.scratch);
  sm_free(s.order);
  sm_free(s.mask);
  return status;
}

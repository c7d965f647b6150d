/* card_show.c — pictures of a card, drawn as `smalti show` draws them, as PNG in memory. */
#include <string.h>

#include "card.h"
#include "show.h"

enum { MATCHED = 64, MATCHES_DRAWN = 4, POINTS = 12, LAID_OUT = 500 };

static sm_status card_show_attention(sm_viewer *s, sm_sheet *sheet, char *caption, size_t size,
                                     sm_error *err) {
  snprintf(caption, size,
           "Where [CLS] looks in the last block: each patch in the colour of the head that looks at it most, "
           "and the mean of the heads.");
  return sm_show_attention(s, SM_SHOW_COLOURS, 0.6, sheet, err);
}

static sm_status card_show_pca(sm_viewer *s, sm_sheet *sheet, char *caption, size_t size, sm_error *err) {
  snprintf(caption, size,
           "Patches of all these pictures: the first principal component tells the foreground, three of the "
           "foreground are red, green and blue.");
  return sm_show_components(s, true, NULL, false, sheet, err);
}

static sm_status card_show_matches(sm_viewer *s, sm_sheet *sheet, char *caption, size_t size, sm_error *err) {
  sm_match_score *score = sm_calloc((size_t)s->n, sizeof *score);
  if (!score) return sm_card_no_memory(err);
  sm_status status = sm_show_views(s, POINTS, MATCHES_DRAWN, 0, score, sheet, err);
  double value[SM_MATCH_FIGURES];
  sm_interval at[SM_MATCH_FIGURES];
  if (!status) status = sm_match_figures(score, s->n, value, at, err);
  if (!status)
    snprintf(
        caption, size,
        "Patches of two random views and their nearest by cosine: green right, yellow beside it, red "
        "elsewhere. Of all patches of %d %s that both views hold, %.2f %% [%.2f, %.2f] are right and %.2f %% "
        "[%.2f, %.2f] right or beside it; 95 %% by bootstrap over pictures.",
        s->n, sm_plural(s->n, "picture", "pictures"), value[SM_MATCH_EXACT], at[SM_MATCH_EXACT].low,
        at[SM_MATCH_EXACT].high, value[SM_MATCH_NEAR], at[SM_MATCH_NEAR].low, at[SM_MATCH_NEAR].high);
  sm_free(score);
  return status;
}

static sm_status card_show_patterns(sm_viewer *s, sm_sheet *sheet, char *caption, size_t size,
                                    sm_error *err) {
  snprintf(
      caption, size,
      "Of the head's outputs those that most patches of %d %s choose: the patches with the largest logits, "
      "with their surroundings.",
      s->n, sm_plural(s->n, "picture", "pictures"));
  return sm_show_layout(s, &(sm_pattern_options){.outputs = 8, .k = 9}, sheet, err);
}

typedef struct card_show_figure {
  const char *name, *title;
  int pictures; /* at most; 0: --pictures */
  bool head;    /* on patches */
  sm_status (*draw)(sm_viewer *, sm_sheet *, char *caption, size_t, sm_error *);
} card_show_figure;
static const card_show_figure figures[] = {
    {"attention", "Attention of the heads", 0, false, card_show_attention},
    {"pca", "Principal components of the patches", 0, false, card_show_pca},
    {"matches", "Correspondences", MATCHED, false, card_show_matches},
    {"patterns", "Pattern layout", LAID_OUT, true, card_show_patterns},
};

static sm_status card_show_encode(sm_card_maker *c, const card_show_figure *f, const sm_sheet *sheet,
                                  const char *caption, sm_error *err) {
  sm_image image = {0};
  sm_card_picture *p = &c->picture[c->pictures];
  *p = (sm_card_picture){.title = f->title, .caption = sm_arena_strdup(c->cli->arena, caption)};
  sm_status status = p->caption ? sm_sheet_draw(sheet, &image, err) : sm_card_no_memory(err);
  if (!status) status = sm_image_encode_png(&image, &p->png, &p->bytes, err);
  if (!status) c->pictures++;
  sm_image_free(&image);
  return status;
}

/* Figures look through the network that was measured; a head on patches, which that need not have, is opened for who
 * asks it. */
static sm_status card_show_open(sm_card_maker *c, const card_show_figure *f, sm_cli *silent, sm_viewer *s,
                                sm_error *err) {
  sm_network_options network = c->o->network;
  if (!f->head) return sm_show_borrow(s, silent, c->network, c->pool, c->o->size, err);
  network.patch_head = true;
  return sm_show_open(s, silent, &network, c->path, c->o->size, 0, err);
}

static sm_status card_show_one(sm_card_maker *c, const card_show_figure *f, sm_error *err) {
  char caption[512] = "";
  sm_cli silent = *c->cli; /* what was taken has been said */
  sm_viewer s = {0};
  sm_sheet *sheet = sm_sheet_new();
  silent.quiet = true;
  sm_status status =
      c->stop() ? sm_fail(err, SM_EINTERRUPTED, "stopped before the pictures were drawn") : SM_OK;
  if (!status) status = card_show_open(c, f, &silent, &s, err);
  if (!status)
    status = sm_show_add_sets(&s, c->o->train, c->o->test, f->pictures ? f->pictures : c->o->pictures, err);
  if (!status) status = f->draw(&s, sheet, caption, sizeof caption, err);
  if (!status) status = card_show_encode(c, f, sheet, caption, err);
  sm_sheet_free(sheet);
  sm_show_close(&s);
  return status;
}

sm_status sm_card_draw(sm_card_maker *c, sm_error *err) {
  char text[sizeof(sm_error) + 16], name[64];
  sm_status status = SM_OK;
  for (size_t i = 0; i < sizeof figures / sizeof *figures && c->o->pictures && !status; i++) {
    sm_cli_note(c->cli, "drawing %s", figures[i].name);
    status = card_show_one(c, &figures[i], err);
    if (status != SM_EINVAL && status != SM_EUNSUPPORTED) continue;
    snprintf(name, sizeof name, "show %s", figures[i].name);
    status = sm_card_say(c, &c->missing, name, err, "%s", sm_error_text(err, text, sizeof text));
    sm_error_clear(err);
  }
  return status;
}

void sm_card_free_pictures(sm_card_maker *c) {
  for (int i = 0; i < c->pictures; i++) sm_free(c->picture[i].png);
}

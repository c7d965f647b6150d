/* framework/report/card.h — the card of a network: what it is, its figures, pictures of what it sees, and what
 * was not measured, as one HTML page that needs nothing beside it. Equal input gives equal bytes. Everything is
 * borrowed, UTF-8, and escaped here. */
#ifndef SM_CARD_H
#define SM_CARD_H

#include <smalti/base.h>

/* A name and what is to be said of it; in tiles `note` stands below (or NULL). */
typedef struct sm_card_fact {
  const char *name, *value, *note;
} sm_card_fact;

typedef struct sm_card_figure {
  const char *name, *value; /* "top1", "85.30 %" */
  double low, high;         /* 95 %; of those with `interval` */
  bool interval;
} sm_card_figure;

typedef struct sm_card_evaluation {
  const char *name, *summary, *protocol;
  const char *made; /* when and how: "measured 2026-01-31", or NULL */
  const sm_card_figure *figure;
  int n;
} sm_card_evaluation;

typedef struct sm_card_picture {
  const char *title, *caption;
  void *png;
  size_t bytes;
} sm_card_picture;

typedef struct sm_card {
  const char *title, *subtitle;
  const sm_card_fact *tile, *fact, *missing; /* missing: an evaluation or picture, and why it is not there */
  const sm_card_evaluation *evaluation;
  const sm_card_picture *picture;
  int tiles, facts, missings, evaluations, pictures;
  const char *recipe; /* YAML, or NULL */
} sm_card;

/* Writes the page by renaming a finished file to `path`. */
sm_status sm_card_write(const sm_card *, const char *path, sm_error *);

#endif

/* card.h — what `smalti card` is made of: cmd_card.c puts it together, card_facts.c says what the network
 * is, card_measure.c finds or makes figures, card_show.c draws. Texts live in the program's arena. */
#ifndef SMALTI_CLI_CARD_H
#define SMALTI_CLI_CARD_H

#include "framework/eval/eval.h"
#include "framework/report/card.h"
#include "network.h"

typedef struct sm_card_options {
  sm_network_options network;
  const char *out, *only, *skip, *train, *test, *size;
  double max_bad;
  int64_t pictures;
  int precision;
  bool slow, anew, force;
} sm_card_options;

typedef struct sm_card_item {
  const char *name; /* the recipe's, or the plugin's */
  sm_instance own, *instance;
  sm_slot *slot; /* of the recipe; NULL: *own */
  bool asked;    /* by --only, the recipe or an option: too slow is no reason */
  bool named;    /* by --only or an option: what keeps it from running is an error */
  sm_eval_result *result; /* NULL: it has none */
  bool kept;
  char when[40];
  const char *reason; /* why there is no result; NULL: it is to be measured */
} sm_card_item;

/* What there is to say, in the order of the page; `n` of `room`. */
typedef struct sm_card_notes {
  sm_card_fact *fact;
  int n, room;
} sm_card_notes;

typedef struct sm_card_maker {
  sm_cli *cli;
  const sm_card_options *o;
  const char *path; /* of the network, as it was named */
  sm_network *network;
  sm_pool *pool;
  struct sm_progress *progress;
  bool (*stop)(void);
  int height, width;
  const char *const *only, *const *skip; /* NULL-terminated */
  char **setting;                        /* EVALUATION.KEY=VALUE */
  int settings;
  sm_card_item *item;
  int items;
  sm_card_picture picture[4];
  int pictures;
  sm_card_notes missing, facts;
  sm_text recipe; /* resolved, before options changed it; empty: there is none */
} sm_card_maker;

sm_status sm_card_no_memory(sm_error *);
/* What the network and its data are, into c->facts; it has its weights. (card_facts.c) */
sm_status sm_card_tell(sm_card_maker *, sm_error *);
/* Numbers that the backbone has learnt. */
int64_t sm_card_parameters(const sm_network *);
/* Adds "name: text", printf-like. */
sm_status sm_card_say(sm_card_maker *, sm_card_notes *, const char *name, sm_error *, const char *fmt, ...)
    SM_PRINTF(5, 6);

/* All evaluations there are, with their options: c->item. SM_EINVAL: a name or option is wrong. */
sm_status sm_card_list_evaluations(sm_card_maker *, sm_error *);
/* Results: those that the run keeps, then the others, which are kept too. An evaluation that the data does not
 * allow says why; one that was named fails. */
sm_status sm_card_measure(sm_card_maker *, sm_error *);
void sm_card_free_evaluations(sm_card_maker *);

/* Pictures, or why there are none, in c->missing. */
sm_status sm_card_draw(sm_card_maker *, sm_error *);
void sm_card_free_pictures(sm_card_maker *);

#endif

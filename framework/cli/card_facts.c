/* card_facts.c — what a network is, in words: architecture, parameters, training, data. */
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "card.h"

sm_status sm_card_no_memory(sm_error *err) { return sm_fail(err, SM_ENOMEM, "no memory for the card"); }

sm_status sm_card_say(sm_card_maker *c, sm_card_notes *l, const char *name, sm_error *err, const char *fmt,
                      ...) {
  char text[2048];
  va_list args;
  if (l->n == l->room) {
    const int room = l->room ? 2 * l->room : 32;
    sm_card_fact *more = sm_arena_alloc(c->cli->arena, (size_t)room * sizeof *more);
    if (!more) return sm_card_no_memory(err);
    if (l->n) memcpy(more, l->fact, (size_t)l->n * sizeof *more);
    l->fact = more, l->room = room;
  }
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  const sm_card_fact fact = {.name = sm_arena_strdup(c->cli->arena, name),
                             .value = sm_arena_strdup(c->cli->arena, text)};
  if (!fact.name || !fact.value) return sm_card_no_memory(err);
  l->fact[l->n++] = fact;
  return SM_OK;
}

int64_t sm_card_parameters(const sm_network *n) {
  sm_set *set = sm_network_set(n);
  int64_t sum = 0;
  for (int r = 0; set && r < sm_set_rows(set); r++) {
    const sm_row *row = sm_set_row(set, r);
    if (row->alias_of < 0 && !strncmp(row->name, "backbone.", 9)) sum += row->size;
  }
  return sum;
}

static sm_status card_facts_network(sm_card_maker *c, sm_error *err) {
  const sm_network_spec *spec = sm_network_describe(c->network);
  const sm_weights_about *about = sm_network_about(c->network);
  const sm_backbone_spec *b = &spec->backbone;
  char px[24];
  sm_status status = SM_OK;
  if (sm_network_net(c->network) == SM_NET_PIXELS)
    return sm_card_say(c, &c->facts, "network", err, "none: the pictures themselves are the features");
  if (about->backbone) status = sm_card_say(c, &c->facts, "backbone", err, "%s", about->backbone);
  if (!status)
    status = sm_card_say(c, &c->facts, "features", err, "%d numbers; patches of %d px; %d %s of attention",
                         b->dim, b->cell, b->heads, sm_plural(b->heads, "head", "heads"));
  if (!status && spec->file) status = sm_card_say(c, &c->facts, "weights", err, "%s", spec->file);
  if (!status)
    status = sm_card_say(c, &c->facts, "pictures", err,
                         "%s px, resized by %s, mean %.4g %.4g %.4g, deviation %.4g %.4g %.4g%s",
                         sm_view_size_text(c->height, c->width, px, sizeof px), sm_filter_names[spec->filter],
                         (double)spec->mean[0], (double)spec->mean[1], (double)spec->mean[2],
                         (double)spec->std[0], (double)spec->std[1], (double)spec->std[2],
                         sm_network_assumed(c->network) ? " (assumed: the file does not say)" : "");
  return status;
}

static sm_status card_facts_training(sm_card_maker *c, sm_error *err) {
  const sm_weights_about *about = sm_network_about(c->network);
  const sm_recipe *r = sm_network_recipe(c->network);
  sm_status status = SM_OK;
  if (about->recipe && *about->recipe)
    status =
        sm_card_say(c, &c->facts, "recipe", err, "%s, hash %016" PRIx64, about->recipe, about->recipe_hash);
  if (!status && about->step) status = sm_card_say(c, &c->facts, "step", err, "%" PRId64, about->step);
  if (!status && r && sm_network_run(c->network))
    status = sm_card_say(c, &c->facts, "training", err,
                         "%" PRId64 " %s in batches of %" PRId64 ", seed %" PRId64, r->train.epochs,
                         sm_plural(r->train.epochs, "epoch", "epochs"), r->train.batch_size, r->train.seed);
  return status;
}

static sm_status card_facts_data(sm_card_maker *c, bool test, sm_error *err) {
  const sm_dataset d = sm_network_pictures(c->network, test);
  const char *name = test ? "test pictures" : "training pictures";
  if (!d.ops) return sm_card_say(c, &c->facts, name, err, "none");
  const int64_t n = d.ops->count(d.self);
  const int classes = d.ops->classes(d.self);
  char labels[48] = "without labels";
  if (classes) snprintf(labels, sizeof labels, "of %d %s", classes, sm_plural(classes, "class", "classes"));
  return sm_card_say(c, &c->facts, name, err, "%" PRId64 " %s%s%s%s", n, labels,
                     d.ops->maps ? ", with label pictures" : "", d.ops->objects ? ", with objects" : "",
                     d.ops->clips ? ", in clips" : "");
}

sm_status sm_card_tell(sm_card_maker *c, sm_error *err) {
  sm_status status = card_facts_network(c, err);
  if (!status) status = card_facts_training(c, err);
  if (!status) status = card_facts_data(c, false, err);
  return status ? status : card_facts_data(c, true, err);
}

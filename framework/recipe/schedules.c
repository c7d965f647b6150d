/* schedules.c — schedules against the length of the run.
 *
 * A warm-up or a temperature's rise that outlasts the run would silently never arrive. A length that somebody
 * wrote is then an error with the length that would do; a length that comes from a default adapts. Shorter
 * lengths are in proportion to the official code's default run of 100 epochs: 10 epochs of warm-up become a
 * tenth of the run. */
#include <math.h>
#include <string.h>

#include "recipe_private.h"

static const double REFERENCE_EPOCHS = 100;

typedef struct check {
  const sm_recipe *recipe;
  const char *path; /* of the table: "optimizer.adamw" */
  const sm_option *option;
  const sm_yaml *written; /* the option's node, or NULL */
  sm_error *err;
} check;

/* `length` epochs as a share of the reference run; whole epochs for what changes once an epoch. */
static double schedules_scaled(double length, double epochs, bool whole) {
  double x = length < REFERENCE_EPOCHS ? length * epochs / REFERENCE_EPOCHS : epochs; /* 0.3, not 0.1 · 3 */
  if (whole) x = x < 1 ? 1 : floor(x + 0.5);
  return x < epochs ? x : epochs;
}

static sm_status schedules_too_long(const check *c, const char *key, double length, double fits) {
  char a[40], b[40];
  const sm_yaml *v = sm_yaml_get(c->written, key);
  int64_t epochs = c->recipe->train.epochs;
  sm_fail(c->err, SM_EINVAL, "%s.%s.%s needs %s epochs, but the run has %lld", c->path, c->option->name, key,
          sm_double_text(length, a, sizeof a), (long long)epochs);
  sm_fail_place(c->err, v->at);
  return sm_hint(c->err, "write %s: %s, or set train.scale_schedules: true", key,
                 sm_double_text(fits, b, sizeof b));
}

static sm_status schedules_check_length(const check *c, const char *key, double start, double *length,
                                        bool whole) {
  const sm_train_section *t = &c->recipe->train;
  double epochs = (double)t->epochs;
  bool was_written = sm_yaml_find(c->written, key) != NULL;
  if (*length == 0 || start + *length <= epochs) return SM_OK;
  double fits = schedules_scaled(*length, epochs - start > 1 ? epochs - start : 1, whole);
  if (was_written && !t->scale_schedules) return schedules_too_long(c, key, start + *length, fits);
  *length = fits;
  return SM_OK;
}

static sm_status schedules_check_schedule(const check *c, sm_schedule *s) {
  bool whole = s->per == SM_PER_EPOCH;
  double epochs = (double)c->recipe->train.epochs;
  if (s->start > 0 && s->start >= epochs) {
    bool was_written = sm_yaml_find(c->written, "start") != NULL;
    double fits = floor(schedules_scaled(s->start, epochs, false));
    if (was_written && !c->recipe->train.scale_schedules)
      return schedules_too_long(c, "start", s->start, fits);
    s->start = fits;
  }
  sm_status status = schedules_check_length(c, "warmup", 0, &s->warmup, whole);
  return status ? status : schedules_check_length(c, "epochs", s->start, &s->epochs, whole);
}

static sm_status schedules_check_table(const sm_recipe *r, const char *path, const sm_option *options, int n,
                             void *base, sm_error *err) {
  sm_status status = SM_OK;
  const sm_yaml *node = sm_recipe_node(r, path);
  for (int i = 0; i < n && !status; i++) {
    const sm_yaml *written = sm_yaml_get(node, options[i].name);
    const check c = {r, path, &options[i], written, err};
    if (options[i].type == SM_OPT_SCHEDULE)
      status = schedules_check_schedule(&c, (sm_schedule *)((char *)base + options[i].offset));
  }
  return status;
}

/* The last layer may not stay frozen for longer than the run; the default of one epoch may. */
static sm_status schedules_check_freeze(sm_recipe *r, sm_error *err) {
  sm_train_section *t = &r->train;
  if (t->freeze_last_layer < t->epochs) return SM_OK;
  double fits = floor(schedules_scaled((double)t->freeze_last_layer, (double)t->epochs, false));
  if (!sm_yaml_find(sm_recipe_node(r, "train"), "freeze_last_layer") || t->scale_schedules) {
    t->freeze_last_layer = (int64_t)fits;
    return SM_OK;
  }
  sm_fail(err, SM_EINVAL, "train.freeze_last_layer is %lld %s, but the run has %lld",
          (long long)t->freeze_last_layer, sm_plural(t->freeze_last_layer, "epoch", "epochs"),
          (long long)t->epochs);
  sm_fail_place(err, sm_recipe_place(r, "train", "freeze_last_layer"));
  return sm_hint(err, "the last layer would never learn; write freeze_last_layer: %.0f", fits);
}

sm_status sm_recipe_schedules(sm_recipe *r, sm_error *err) {
  sm_slot_ref refs[SM_SLOT_REFS_MAX];
  const sm_schema *o = r->priv->optimizer;
  int n = sm_recipe_slots(r, refs);
  sm_status status = schedules_check_freeze(r, err);
  if (!status)
    status = schedules_check_table(r, o->path, o->options, o->n_options, (char *)r + o->offset, err);
  for (int i = 0; i < n && !status; i++) {
    const sm_plugin *p = refs[i].slot->plugin.plugin;
    status =
        schedules_check_table(r, refs[i].path, p->options, (int)p->n_options, refs[i].slot->plugin.self, err);
  }
  return status;
}

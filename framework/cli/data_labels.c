/* data_labels.c — see data_labels.h. Pictures are read in parts, so that a signal is heard between them. */
#include "data_labels.h"

#include <string.h>

#include "framework/data/source.h"
#include "framework/train/train.h"

enum { PART = 64 };

typedef struct labels_memory { /* of a worker */
  sm_image picture;
  sm_label_map map;
} labels_memory;

typedef struct labels_check {
  const sm_dataset *set;
  const sm_image_limits *limits;
  labels_memory *memory;
  int64_t first;
  sm_error why[PART]; /* code SM_OK: it can be used, or there is none */
} labels_check;

static void labels_look(void *ctx, int64_t i, int worker) {
  labels_check *c = ctx;
  const int64_t index = c->first + i;
  const sm_map_ops *maps = c->set->ops->maps;
  labels_memory *m = &c->memory[worker];
  sm_error *why = &c->why[i];
  *why = (sm_error){0};
  if (!maps->name(c->set->self, index)) return;
  const sm_source source = {.dataset = c->set, .limits = c->limits, .stop = sm_signals_stop};
  int height, width;
  sm_status status = sm_source_size(&source, index, &m->picture, &height, &width, why);
  if (sm_source_ends(status)) return;
  if (status) status = maps->read(c->set->self, index, c->limits, &m->map, why);
  else status = sm_dataset_label_map(*c->set, index, c->limits, height, width, &m->map, why);
  if (!status) *why = (sm_error){0};
}

static sm_status labels_note(sm_labels_found *f, const char *name, const sm_error *why, sm_error *err) {
  sm_bad_labels *more = sm_realloc(f->bad, ((size_t)f->n + 1) * sizeof *more);
  const size_t bytes = strlen(why->message) + 1;
  if (more) f->bad = more;
  char *reason = more ? sm_malloc(bytes) : NULL;
  if (!reason) return sm_fail(err, SM_ENOMEM, "no memory for a list of label pictures");
  memcpy(reason, why->message, bytes);
  f->bad[f->n++] = (sm_bad_labels){name, reason};
  return SM_OK;
}

static sm_status labels_part(labels_check *c, int64_t n, sm_pool *pool, sm_labels_found *f, sm_error *err) {
  const sm_map_ops *maps = c->set->ops->maps;
  sm_status status = SM_OK;
  sm_pool_run(pool, n, labels_look, c);
  for (int64_t i = 0; !status && i < n; i++) {
    const char *name = maps->name(c->set->self, c->first + i);
    f->count += name != NULL;
    if (!c->why[i].code) continue;
    if (sm_source_ends(c->why[i].code)) *err = c->why[i], status = err->code;
    else status = labels_note(f, name, &c->why[i], err);
  }
  if (!status && sm_signals_stop())
    status = sm_fail(err, SM_EINTERRUPTED, "stopped while reading the label pictures");
  return status;
}

sm_status sm_labels_check(const sm_dataset *set, const sm_image_limits *limits, int threads,
                          sm_labels_found *f, sm_error *err) {
  *f = (sm_labels_found){0};
  if (!set->ops->maps) return SM_OK;
  f->classes = set->ops->maps->classes(set->self);
  sm_pool *pool = sm_pool_new(threads, err);
  if (!pool) return err->code;
  labels_check *c = sm_calloc(1, sizeof *c);
  labels_memory *memory = sm_calloc((size_t)threads, sizeof *memory);
  const int64_t n = set->ops->count(set->self);
  sm_status status = c && memory ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for label pictures");
  for (int64_t at = 0; !status && at < n; at += PART) {
    c->set = set, c->limits = limits, c->memory = memory, c->first = at;
    status = labels_part(c, n - at < PART ? n - at : PART, pool, f, err);
  }
  for (int w = 0; memory && w < threads; w++) {
    sm_image_free(&memory[w].picture);
    sm_label_map_free(&memory[w].map);
  }
  sm_free(memory);
  sm_free(c);
  sm_pool_free(pool);
  return status;
}

void sm_labels_free(sm_labels_found *f) {
  for (int64_t i = 0; i < f->n; i++) sm_free(f->bad[i].reason);
  sm_free(f->bad);
  *f = (sm_labels_found){0};
}

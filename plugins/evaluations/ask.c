/* ask.c — see ask.h. */
#include "ask.h"

#include <stdlib.h>
#include <string.h>

void ask_wants(const ask_options *o, sm_feature_spec *spec) {
  spec->blocks = 1;
  spec->pool = (sm_pool_mode)o->pool;
  spec->labels = SM_LABELS_BOTH;
}

sm_status ask_open(sm_eval_context *x, const ask_options *o, ask_question *q, sm_features *test, sm_error *err) {
  const sm_classifier_config config = {(sm_classifier_kind)o->kind, o->k, o->temperature};
  ask_wants(o, &q->spec);
  sm_status status = sm_classifier_fit(x, &config, &q->spec, &q->classifier, test, err);
  if (!status) q->classes = test->classes;
  return status;
}

void ask_close(ask_question *q) {
  sm_classifier_free(q->classifier);
  q->classifier = NULL;
}

/* ---- which pictures ------------------------------------------------------------------------------------ */

static int ask_by_number(const void *a, const void *b) {
  const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

sm_status ask_choose(const ask_options *o, const sm_picture_list *list, int64_t **index, int64_t *n, sm_error *err) {
  int64_t labelled = 0;
  uint32_t *order = sm_malloc((size_t)(list->n ? list->n : 1) * sizeof *order);
  *index = sm_malloc((size_t)(list->n ? list->n : 1) * sizeof **index);
  if (!order || !*index || list->n > UINT32_MAX) {
    sm_free(order);
    return sm_fail(err, SM_ENOMEM, "no memory for a choice of %lld pictures", (long long)list->n);
  }
  for (int64_t i = 0; i < list->n; i++)
    if (list->label[i] >= 0) order[labelled++] = (uint32_t)i;
  *n = labelled;
  if (o->pictures && o->pictures < labelled) {
    sm_rng rng = sm_rng_make((uint64_t)o->seed, SM_RNG_EVAL, 0, 0, 8);
    sm_rng_shuffle(&rng, order, (size_t)labelled);
    *n = o->pictures;
  }
  for (int64_t i = 0; i < *n; i++) (*index)[i] = list->index[order[i]];
  qsort(*index, (size_t)*n, sizeof **index, ask_by_number);
  sm_free(order);
  return SM_OK;
}

/* ---- asking -------------------------------------------------------------------------------------------- */

sm_status ask_clean(const ask_question *q, const sm_features *test, int64_t n, const int64_t *index, uint8_t *wrong,
                    sm_error *err) {
  int32_t *class_of = sm_malloc((size_t)test->n * sizeof *class_of);
  if (!class_of) return sm_fail(err, SM_ENOMEM, "no memory for classes");
  sm_status status = sm_classifier_ask(q->classifier, test->x, test->n, class_of, NULL, err);
  for (int64_t i = 0, j = 0; !status && i < test->n; i++) {
    while (j < n && index[j] < test->index[i]) j++;
    if (j < n && index[j] == test->index[i]) wrong[j] = class_of[i] != test->label[i];
  }
  sm_free(class_of);
  return status;
}

/* Many rows at once: k-NN makes its training features ready for each question. */
enum { ASKED_BATCH = 32, ASKED_ROOM = 1024 };
typedef struct ask_batch {
  float *row, *z;
  int32_t *got;
  int64_t *index;
  int n;
} ask_batch;

static sm_status ask_flush(const ask_question *q, ask_batch *a, int32_t *class_of, float *logits,
                               sm_error *err) {
  sm_status status = sm_classifier_ask(q->classifier, a->row, a->n, a->got, a->z, err);
  for (int i = 0; !status && i < a->n; i++) {
    if (a->index[i] < 0 || a->index[i] >= q->n) continue;
    class_of[a->index[i]] = a->got[i];
    if (logits)
      memcpy(logits + a->index[i] * q->classes, a->z + (int64_t)i * q->classes, (size_t)q->classes * sizeof *logits);
  }
  a->n = 0;
  return status;
}

sm_status ask_about(sm_eval_context *x, ask_question *q, int32_t *class_of, float *logits, sm_error *err) {
  const int64_t pixels = 3 * (int64_t)x->height * x->width;
  const size_t dim = (size_t)sm_classifier_dim(q->classifier);
  int64_t done = 0;
  sm_pictures *pictures = NULL;
  sm_picture_batch b;
  ask_batch a = {.row = sm_malloc(ASKED_ROOM * dim * sizeof *a.row),
                     .z = logits ? sm_malloc(ASKED_ROOM * (size_t)q->classes * sizeof *a.z) : NULL,
                     .got = sm_malloc(ASKED_ROOM * sizeof *a.got),
                     .index = sm_malloc(ASKED_ROOM * sizeof *a.index)};
  float *changed = q->change ? sm_malloc((size_t)(ASKED_BATCH * pixels) * sizeof *changed) : NULL;
  const bool room = a.row && a.got && a.index && (a.z || !logits) && (changed || !q->change);
  sm_status status = room ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for features");
  for (int64_t i = 0; i < q->n; i++) class_of[i] = ASK_UNREAD;
  if (!status) status = sm_pictures_open(x, &q->request, &pictures, err);
  while (!status && !(status = sm_pictures_next(pictures, &b, err)) && b.n) {
    const float *at = b.x;
    if (q->change) {
      memcpy(changed, b.x, (size_t)(b.n * pixels) * sizeof *changed);
      q->change(q->ctx, changed, b.index, b.n);
      at = changed;
    }
    status = sm_rows_make(x, &q->spec, at, b.n, a.row + (size_t)a.n * dim, err);
    memcpy(a.index + a.n, b.index, (size_t)b.n * sizeof *a.index);
    a.n += b.n, done += b.n;
    if (!status && a.n > ASKED_ROOM - ASKED_BATCH) status = ask_flush(q, &a, class_of, logits, err);
    if (!status) status = x->going_on(x, q->from + (q->to - q->from) * (double)done / (double)q->n, err);
  }
  if (!status) status = ask_flush(q, &a, class_of, logits, err);
  sm_pictures_close(pictures);
  sm_free(a.row);
  sm_free(a.z);
  sm_free(a.got);
  sm_free(a.index);
  sm_free(changed);
  return status;
}

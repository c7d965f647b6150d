/* hits.c — which test pictures a figure was a hit for, so that two networks can be compared picture by
 * picture. An evaluator keeps what its last evaluation told; a result file holds a bit a picture, as
 * hexadecimal digits. */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "evaluator.h"

/* ---- told by evaluations ------------------------------------------------------------------------------- */

sm_status sm_figure_each(sm_eval_context *x, const int64_t *index, const int32_t *label, const int32_t *guess,
                         int64_t n, sm_error *err, const char *name, ...) {
  sm_evaluator *e = x->core;
  sm_picture_list list;
  va_list args;
  if (!e || e->hits == SM_EVAL_HITS) return SM_OK;
  sm_status status = sm_picture_list_get(x, "test", &list, err);
  if (status) return status;
  struct sm_eval_hits *to = &e->hit[e->hits];
  uint8_t *hit = sm_malloc((size_t)n + 1);
  if (!hit) return sm_fail(err, SM_ENOMEM, "no memory for the hits of %" PRId64 " pictures", n);
  va_start(args, name);
  vsnprintf(to->figure, sizeof to->figure, name, args);
  va_end(args);
  to->of = (sm_hits){.hit = hit, .pictures = list.hash};
  for (int64_t i = 0; i < n; i++) {
    if (label[i] < 0) continue;
    hit[to->of.n++] = guess[i] == label[i];
    to->of.pictures = sm_hash64(&index[i], sizeof index[i], to->of.pictures);
  }
  e->hits++;
  return SM_OK;
}

void sm_evaluator_forget_hits(sm_evaluator *e) {
  for (int i = 0; i < e->hits; i++) sm_free(e->hit[i].of.hit);
  e->hits = 0;
}

/* ---- in files ------------------------------------------------------------------------------------------ */

static const sm_figure *hits_figure(const sm_eval_result *r, const struct sm_eval_hits *h) {
  int64_t hits = 0;
  for (int64_t i = 0; i < h->of.n; i++) hits += h->of.hit[i];
  for (int i = 0; i < r->n; i++)
    if (!strcmp(r->figure[i].name, h->figure) &&
        fabs(r->figure[i].value - 100.0 * (double)hits / (double)h->of.n) < 1e-9)
      return &r->figure[i];
  return NULL;
}

static void hits_add_bits(const sm_hits *h, sm_json *j) {
  sm_text bits = {0};
  for (int64_t i = 0; i < h->n; i += 4) {
    int digit = 0;
    for (int k = 0; k < 4; k++) digit |= (i + k < h->n && h->hit[i + k]) << k;
    sm_text_add(&bits, "%x", digit);
  }
  sm_json_string(j, "bits", bits.failed ? NULL : bits.s);
  sm_text_free(&bits);
}

void sm_hits_json(const sm_evaluator *e, const sm_eval_result *r, sm_json *j) {
  char pictures[20];
  sm_json_object(j, "hits");
  for (int i = 0; i < e->hits; i++) {
    const struct sm_eval_hits *h = &e->hit[i];
    if (!hits_figure(r, h)) continue;
    sm_json_object(j, h->figure);
    snprintf(pictures, sizeof pictures, "%016" PRIx64, h->of.pictures);
    sm_json_string(j, "pictures", pictures);
    sm_json_int(j, "n", h->of.n);
    hits_add_bits(&h->of, j);
    sm_json_close(j);
  }
  sm_json_close(j);
}

bool sm_hits_read(const cJSON *result, const char *figure, sm_arena *arena, sm_hits *to) {
  const cJSON *h = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(result, "hits"), figure);
  const char *pictures = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(h, "pictures")),
             *bits = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(h, "bits"));
  const cJSON *n = cJSON_GetObjectItemCaseSensitive(h, "n");
  *to = (sm_hits){0};
  if (!pictures || !bits || !cJSON_IsNumber(n)) return true;
  const size_t digits = strspn(bits, "0123456789abcdef");
  if (bits[digits] || !(n->valuedouble >= 1) || n->valuedouble > 4.0 * (double)digits) return true;
  to->n = (int64_t)n->valuedouble;
  to->pictures = strtoull(pictures, NULL, 16);
  if (!(to->hit = sm_arena_alloc(arena, (size_t)to->n))) return false;
  for (int64_t i = 0; i < to->n; i++) {
    const char digit = bits[i / 4];
    const int value = digit <= '9' ? digit - '0' : digit - 'a' + 10;
    to->hit[i] = (uint8_t)(value >> i % 4 & 1);
  }
  return true;
}

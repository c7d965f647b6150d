/* landmarks.c — the ground truth of Revisited Oxford and Paris in JSON, checked whole (smalti/retrieval.h).
 * */
#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

#include <smalti/retrieval.h>

#include "framework/formats/formats.h"

static const size_t landmarks_most_bytes = (size_t)1 << 30;

typedef struct landmarks_reading {
  const char *path;
  sm_landmarks *to;
  uint8_t *seen; /* (images) 1: in a list of this query */
} landmarks_reading;

static sm_status landmarks_bad(const landmarks_reading *r, sm_error *err, int64_t query, const char *key,
                               const char *what) {
  if (query < 0) sm_fail(err, SM_EFORMAT, "'%s' %s", key, what);
  else sm_fail(err, SM_EFORMAT, "gnd[%lld]: '%s' %s", (long long)query, key, what);
  return sm_fail_at(err, r->path, 0, 0);
}

static sm_status landmarks_no_memory(sm_error *err) {
  return sm_fail(err, SM_ENOMEM, "no memory for a ground truth");
}

static sm_status landmarks_names(const landmarks_reading *r, const cJSON *root, const char *key,
                                 const char *const **names, int64_t *n, sm_error *err) {
  const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, key);
  if (!cJSON_IsArray(list) || !list->child) {
    landmarks_bad(r, err, -1, key, "is no list of names");
    return sm_hint(err, "the file must hold imlist, qimlist and gnd, as the published one does");
  }
  *n = cJSON_GetArraySize(list);
  const char **to = sm_arena_alloc(r->to->arena, (size_t)*n * sizeof *to);
  if (!to) return landmarks_no_memory(err);
  *names = to;
  for (const cJSON *x = list->child; x; x = x->next) {
    if (!cJSON_IsString(x) || !*x->valuestring)
      return landmarks_bad(r, err, -1, key, "holds what is no name");
    if (!(*to++ = sm_arena_strdup(r->to->arena, x->valuestring))) return landmarks_no_memory(err);
  }
  return SM_OK;
}

static sm_status landmarks_list(const landmarks_reading *r, const cJSON *gnd, int64_t query, const char *key,
                                const int64_t **numbers, int64_t *n, sm_error *err) {
  const cJSON *list = cJSON_GetObjectItemCaseSensitive(gnd, key);
  if (!list) return landmarks_bad(r, err, query, key, "is missing");
  if (!cJSON_IsArray(list)) return landmarks_bad(r, err, query, key, "is no list");
  *n = cJSON_GetArraySize(list);
  int64_t *to = sm_arena_alloc(r->to->arena, ((size_t)*n + 1) * sizeof *to);
  if (!to) return landmarks_no_memory(err);
  *numbers = to;
  for (const cJSON *x = list->child; x; x = x->next) {
    const double v = cJSON_IsNumber(x) ? x->valuedouble : -1;
    if (!(v >= 0 && v < (double)r->to->images) || v != floor(v))
      return landmarks_bad(r, err, query, key, "holds what is no number of a picture in imlist, from 0 on");
    if (r->seen[(int64_t)v]++)
      return landmarks_bad(r, err, query, key, "holds a picture for the second time");
    *to++ = (int64_t)v;
  }
  return SM_OK;
}

static sm_status landmarks_box(const landmarks_reading *r, const cJSON *gnd, int64_t query, sm_landmark *to,
                               sm_error *err) {
  const cJSON *list = cJSON_GetObjectItemCaseSensitive(gnd, "bbx");
  if (!list || cJSON_IsNull(list)) return SM_OK;
  int n = 0;
  bool good = cJSON_IsArray(list);
  for (const cJSON *x = good ? list->child : NULL; x && good; x = x->next)
    if ((good = n < 4 && cJSON_IsNumber(x) && isfinite(x->valuedouble) && fabs(x->valuedouble) < 1e6))
      to->box[n++] = x->valuedouble;
  to->boxed = good && n == 4 && to->box[2] > to->box[0] && to->box[3] > to->box[1];
  return to->boxed ? SM_OK : landmarks_bad(r, err, query, "bbx", "is not left, top, right, bottom");
}

static sm_status landmarks_truth(landmarks_reading *r, const cJSON *root, sm_error *err) {
  const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "gnd");
  const int64_t n = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : -1;
  sm_status status = SM_OK;
  if (n != r->to->queries)
    return landmarks_bad(r, err, -1, "gnd", n < 0 ? "is no list" : "is not as long as qimlist");
  sm_landmark *to = sm_arena_alloc(r->to->arena, (size_t)n * sizeof *to);
  r->seen = sm_malloc((size_t)r->to->images);
  if (!to || !r->seen) return landmarks_no_memory(err);
  r->to->of = to;
  int64_t q = 0;
  for (const cJSON *x = list->child; !status && x; x = x->next, q++, to++) {
    memset(r->seen, 0, (size_t)r->to->images);
    status = landmarks_box(r, x, q, to, err);
    if (!status) status = landmarks_list(r, x, q, "easy", &to->easy, &to->n_easy, err);
    if (!status) status = landmarks_list(r, x, q, "hard", &to->hard, &to->n_hard, err);
    if (!status) status = landmarks_list(r, x, q, "junk", &to->junk, &to->n_junk, err);
  }
  return status;
}

static sm_status landmarks_load(const char *path, cJSON **root, sm_error *err) {
  char *text = NULL;
  size_t bytes;
  sm_status status = sm_file_get(path, landmarks_most_bytes, &text, &bytes, err);
  if (status) return status;
  status = sm_json_read(text, bytes, root, err);
  if (status) sm_fail_at(err, path, 0, 0);
  if (status == SM_EFORMAT)
    sm_hint(err, "the published .pkl is no JSON: how to turn it into one, the guide says under Landmarks");
  sm_free(text);
  return status;
}

sm_status sm_landmarks_read(const char *path, sm_landmarks *l, sm_error *err) {
  cJSON *root = NULL;
  sm_error own;
  *l = (sm_landmarks){0};
  if (!err) err = &own;
  sm_status status = landmarks_load(path, &root, err);
  if (status) return status;
  landmarks_reading r = {.path = path, .to = l};
  if (!(l->arena = sm_arena_new("landmarks"))) status = landmarks_no_memory(err);
  if (!status) status = landmarks_names(&r, root, "imlist", &l->image, &l->images, err);
  if (!status) status = landmarks_names(&r, root, "qimlist", &l->query, &l->queries, err);
  if (!status) status = landmarks_truth(&r, root, err);
  sm_free(r.seen);
  cJSON_Delete(root);
  if (status) sm_landmarks_free(l);
  return status;
}

void sm_landmarks_free(sm_landmarks *l) {
  sm_arena_free(l->arena);
  *l = (sm_landmarks){0};
}

int64_t sm_landmark_roles(const sm_landmark *l, sm_landmark_level level, uint8_t *role, int64_t n) {
  const uint8_t easy = level == SM_LANDMARKS_HARD ? SM_JUNK : SM_RELEVANT,
                hard = level == SM_LANDMARKS_EASY ? SM_JUNK : SM_RELEVANT;
  memset(role, SM_OTHER, (size_t)n);
  for (int64_t i = 0; i < l->n_easy; i++) role[l->easy[i]] = easy;
  for (int64_t i = 0; i < l->n_hard; i++) role[l->hard[i]] = hard;
  for (int64_t i = 0; i < l->n_junk; i++) role[l->junk[i]] = SM_JUNK;
  return (easy == SM_RELEVANT ? l->n_easy : 0) + (hard == SM_RELEVANT ? l->n_hard : 0);
}

/* patterns.c — what the head's outputs stand for: the patches that each is the largest of (iBOT, Figure 4;
 * analysis/extract_pattern/extract_topk_cluster.py). */
#include <stdlib.h>
#include <string.h>

#include "show.h"

enum { REACH = 2, DARK = 40 };

sm_status sm_patterns_new(int outputs, int room, sm_patterns *p, sm_error *err) {
  *p = (sm_patterns){.outputs = outputs, .room = room};
  p->members = sm_calloc((size_t)outputs, sizeof *p->members);
  p->kept = sm_calloc((size_t)outputs, sizeof *p->kept);
  p->best = sm_calloc((size_t)outputs * (size_t)room, sizeof *p->best);
  if (p->members && p->kept && p->best) return SM_OK;
  return sm_fail(err, SM_ENOMEM, "no memory for the patterns of %d outputs", outputs);
}

void sm_patterns_free(sm_patterns *p) {
  sm_free(p->members);
  sm_free(p->kept);
  sm_free(p->best);
  *p = (sm_patterns){0};
}

/* Largest first; of equal ones those that came first stay first. A picture's own earlier candidate makes way. */
static void patterns_insert(sm_patterns *p, int output, sm_pattern new) {
  sm_pattern *list = p->best + (size_t)output * (size_t)p->room;
  int *n = &p->kept[output], own = -1, place;
  for (int i = 0; i < *n && own < 0; i++)
    if (list[i].picture == new.picture) own = i;
  if (own >= 0 && list[own].logit >= new.logit) return;
  if (own >= 0) memmove(list + own, list + own + 1, (size_t)(--*n - own) * sizeof *list);
  for (place = *n; place > 0 && new.logit > list[place - 1].logit;) place--;
  if (place == p->room) return;
  if (*n < p->room) ++*n;
  memmove(list + place + 1, list + place, (size_t)(*n - 1 - place) * sizeof *list);
  list[place] = new;
}

void sm_patterns_add(sm_patterns *p, int picture, const float *logits, int cells) {
  for (int k = 0; k < cells; k++) {
    const float *row = logits + (size_t)k * (size_t)p->outputs;
    int best = 0;
    for (int o = 1; o < p->outputs; o++)
      if (row[o] > row[best]) best = o;
    p->members[best]++;
    patterns_insert(p, best, (sm_pattern){picture, k, row[best]});
  }
}

int sm_patterns_largest(const sm_patterns *p, int n, int *output) {
  int found = 0;
  for (int o = 0; o < p->outputs; o++) {
    int place = found;
    if (!p->members[o]) continue;
    while (place > 0 && p->members[o] > p->members[output[place - 1]]) place--;
    if (place == n) continue;
    if (found < n) found++;
    memmove(output + place + 1, output + place, (size_t)(found - 1 - place) * sizeof *output);
    output[place] = o;
  }
  return found;
}

/* Mean over the pixels of the largest channel: V of HSV. */
static int patterns_brightness(const sm_image *tile) {
  const size_t n = (size_t)tile->width * (size_t)tile->height;
  int64_t sum = 0;
  for (size_t i = 0; i < n; i++) {
    const uint8_t *p = tile->rgb + 3 * i;
    sum += p[0] > p[1] ? p[0] > p[2] ? p[0] : p[2] : p[1] > p[2] ? p[1] : p[2];
  }
  return n ? (int)(sum / (int64_t)n) : 0;
}

sm_status sm_show_pattern(const sm_image *picture, int rows, int cols, int patch, int cell, sm_image *out, bool *bright,
                          sm_error *err) {
  const int side = 2 * REACH + 1, high = picture->height / rows, wide = picture->width / cols;
  sm_image cut = {0};
  sm_status status = sm_image_reshape(&cut, side * wide, side * high, err);
  if (!status) {
    sm_draw_fill(&cut, 0, 0, cut.width, cut.height, 0xFFFFFF, 1);
    sm_draw_blit(&cut, (REACH - patch % cols) * wide, (REACH - patch / cols) * high, picture);
    *bright = patterns_brightness(&cut) > DARK;
    sm_draw_fill(&cut, REACH * wide, REACH * high, wide, high, 0xC86400, 127 / 255.0);
    sm_image_scratch *scratch = sm_image_scratch_new();
    status = scratch ? sm_image_resize(&cut, NULL, side * cell, side * cell, SM_FILTER_BICUBIC, scratch, out, err)
                     : sm_fail(err, SM_ENOMEM, "no memory for a tile");
    sm_image_scratch_free(scratch);
  }
  sm_image_free(&cut);
  return status;
}

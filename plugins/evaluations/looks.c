/* looks.c — see looks.h. */
#include "looks.h"

#include <math.h>
#include <string.h>

#include <smalti/retrieval.h>

const char *const looks_kinds[] = {"cls_gem", "cls", "gem", NULL};

static const double gem_least = 1e-6; /* patches below it count as it: cirtorch's and DINO's epsilon */

static sm_status looks_find(looks *l, int height, int width, sm_looker **looker, sm_error *err) {
  const int kept = sizeof l->at / sizeof *l->at;
  for (int i = 0; i < kept; i++)
    if (l->at[i].looker && l->at[i].height == height && l->at[i].width == width) {
      *looker = l->at[i].looker;
      return SM_OK;
    }
  struct looks_at *to = &l->at[l->next];
  l->next = (l->next + 1) % kept;
  sm_looker_free(to->looker);
  *to = (struct looks_at){NULL, height, width};
  const sm_look_request want = {.height = height,
                                .width = width,
                                .view = l->kind != LOOKS_GEM,
                                .patches = l->kind != LOOKS_CLS,
                                .bf16 = l->x->bf16};
  *looker = to->looker = sm_looker_new(l->x->network, l->x->pool, &want, err);
  return to->looker ? SM_OK : err->code;
}

sm_status looks_open(looks *l, sm_eval_context *x, looks_kind kind, double power, sm_error *err) {
  sm_looker *looker;
  *l = (looks){.x = x, .kind = kind, .power = power, .dim = LOOKS_SMALL_DIM};
  if (!x->network) return SM_OK;
  l->dim = sm_network_describe(x->network)->backbone.dim * (kind == LOOKS_BOTH ? 2 : 1);
  return looks_find(l, x->height, x->width, &looker, err);
}

void looks_close(looks *l) {
  for (size_t i = 0; i < sizeof l->at / sizeof *l->at; i++) sm_looker_free(l->at[i].looker);
  *l = (looks){0};
}

void looks_small(const float *x, int height, int width, float *row) {
  for (int c = 0; c < 3; c++)
    for (int v = 0; v < LOOKS_SMALL; v++)
      for (int u = 0; u < LOOKS_SMALL; u++) {
        const int top = v * height / LOOKS_SMALL, left = u * width / LOOKS_SMALL;
        int bottom = (v + 1) * height / LOOKS_SMALL, right = (u + 1) * width / LOOKS_SMALL;
        double sum = 0;
        if (bottom <= top) bottom = top + 1; /* smaller ones are repeated */
        if (right <= left) right = left + 1;
        for (int i = top; i < bottom; i++)
          for (int j = left; j < right; j++) sum += (double)x[((int64_t)c * height + i) * width + j];
        row[(c * LOOKS_SMALL + v) * LOOKS_SMALL + u] = (float)(sum / ((bottom - top) * (right - left)));
      }
}

sm_status looks_row(looks *l, const float *x, int height, int width, float *row, sm_error *err) {
  sm_looker *looker;
  sm_look look;
  if (!l->x->network) {
    looks_small(x, height, width, row);
    return SM_OK;
  }
  sm_status status = looks_find(l, height, width, &looker, err);
  if (!status) status = sm_looker_run(looker, x, &look, err);
  if (status) return status;
  if (l->kind != LOOKS_GEM) memcpy(row, look.view, (size_t)look.dim * sizeof *row);
  if (l->kind != LOOKS_CLS)
    sm_gem(look.patches, (int64_t)look.rows * look.cols, look.dim, l->power, gem_least,
           row + (l->kind == LOOKS_BOTH ? look.dim : 0));
  return SM_OK;
}

void looks_scale(const float *x, int height, int width, double scale, int rows, int cols, float *to) {
  for (int c = 0; c < 3; c++)
    for (int i = 0; i < rows; i++) {
      const double y = fmin(fmax((i + .5) / scale - .5, 0), height - 1);
      const int top = (int)y, below = top + 1 < height ? top + 1 : top;
      const float *upper = x + ((int64_t)c * height + top) * width,
                  *lower = x + ((int64_t)c * height + below) * width;
      for (int j = 0; j < cols; j++) {
        const double u = fmin(fmax((j + .5) / scale - .5, 0), width - 1), du = u - (int)u, dy = y - top;
        const int left = (int)u, right = left + 1 < width ? left + 1 : left;
        to[((int64_t)c * rows + i) * cols + j] =
            (float)((1 - dy) * ((1 - du) * (double)upper[left] + du * (double)upper[right]) +
                    dy * ((1 - du) * (double)lower[left] + du * (double)lower[right]));
      }
    }
}

const char *looks_what(const looks *l, char *buf, size_t size) {
  char gem[40];
  snprintf(gem, sizeof gem, "patches by GeM %g", l->power);
  if (!l->x->network) snprintf(buf, size, "%d x %d pixels", LOOKS_SMALL, LOOKS_SMALL);
  else if (l->kind == LOOKS_CLS) snprintf(buf, size, "[CLS]");
  else snprintf(buf, size, "%s%s", l->kind == LOOKS_BOTH ? "[CLS] and " : "", gem);
  return buf;
}

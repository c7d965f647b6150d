/* annotations.c — a data set's label pictures and objects against its pictures: sizes must agree. */
#include <stdio.h>

#include "framework/data/data.h"

sm_status sm_dataset_label_map(sm_dataset d, int64_t index, const sm_image_limits *limits, int height,
                               int width, sm_label_map *out, sm_error *err) {
  const sm_map_ops *maps = d.ops ? d.ops->maps : NULL;
  if (!maps) {
    sm_fail(err, SM_EINVAL, "the data set has no label pictures");
    return sm_hint(err, "take a data set that has them, such as labelled");
  }
  sm_status status = maps->read(d.self, index, limits, out, err);
  if (status || (out->width == width && out->height == height)) return status;
  const char *name = maps->name(d.self, index);
  status = sm_fail(err, SM_EFORMAT, "the label picture is %d x %d pixels, but its picture %.200s is %d x %d",
                   out->width, out->height, d.ops->name(d.self, index), width, height);
  sm_hint(err, "label pictures are never resized silently: give both the same size");
  if (name) sm_fail_at(err, name, 0, 0);
  return status;
}

bool sm_object_is_wrong(const sm_object *o, int height, int width, char *why, size_t size) {
  const double right = o->x + o->width, low = o->y + o->height, pixels = (double)height * width;
  int64_t masked = 0;
  for (int64_t i = 0; i < o->n_runs; i++) masked += o->runs[i];
  if (!(o->width > 0 && o->height > 0))
    snprintf(why, size, "its box is empty: %g x %g pixels", o->width, o->height);
  else if (!(o->x >= -1 && o->y >= -1 && right <= width + 1. && low <= height + 1.))
    snprintf(why, size, "its box reaches from (%g, %g) to (%g, %g), beyond the picture of %d x %d", o->x, o->y, right,
             low, width, height);
  else if (o->n_runs && (double)masked != pixels)
    snprintf(why, size, "its mask is of %lld pixels, but the picture of %d x %d", (long long)masked, width, height);
  else return false;
  return true;
}

/* annotations.c — a data set's label pictures against its pictures: sizes must agree. */
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

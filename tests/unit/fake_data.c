/* fake_data.c — see fake_data.h. */
#include <unistd.h>

#include "fake_data.h"
#include "test.h"

static sm_status fake_open(void *self, sm_error *err) {
  (void)self, (void)err;
  return SM_OK;
}

static int64_t fake_count(const void *self) { return ((const fake_set *)self)->count; }

static int fake_label(const void *self, int64_t index) {
  (void)self;
  return (int)(index % 7);
}

static const char *fake_name(const void *self, int64_t index) {
  return ((const fake_set *)self)->names[index];
}

static int fake_classes(const void *self) {
  (void)self;
  return 7;
}

static const char *fake_class_name(const void *self, int c) {
  (void)self, (void)c;
  return "class";
}

static sm_status fake_read(const void *self, int64_t index, const sm_image_limits *limits, sm_image *out,
                           sm_error *err) {
  fake_set *set = (fake_set *)self;
  (void)limits;
  atomic_fetch_add(&set->reads, 1);
  switch (set->behaviour[index]) {
    case FAKE_BAD:
      return sm_fail(err, SM_EFORMAT, "picture %lld is spoilt", (long long)index);
    case FAKE_NO_MEMORY:
      return sm_fail(err, SM_ENOMEM, "no memory for picture %lld", (long long)index);
    case FAKE_AWAY:
      if (atomic_fetch_sub(&set->away, 1) <= 0) break;
      return sm_fail(err, SM_EIO, "cannot read: Stale file handle");
    case FAKE_GONE:
      return sm_fail(err, SM_ENOTFOUND, "cannot open: No such file or directory");
    case FAKE_SLOW:
      usleep(20000);
      break;
    default:
      break;
  }
  sm_status status = sm_image_reshape(out, 24, 20, err);
  for (int i = 0; status == SM_OK && i < 24 * 20 * 3; i++)
    out->rgb[i] = (uint8_t)(index * 37 + i * (index % 5 + 1));
  return status;
}

static uint64_t fake_hash(const void *self) {
  (void)self;
  return 1;
}

static const sm_dataset_ops fake_ops = {
    .open = fake_open,
    .count = fake_count,
    .label = fake_label,
    .name = fake_name,
    .classes = fake_classes,
    .class_name = fake_class_name,
    .read = fake_read,
    .hash = fake_hash,
};

void fake_set_init(fake_set *set, int64_t count) {
  memset(set, 0, sizeof *set);
  set->count = count;
  for (int i = 0; i < (int)count; i++) snprintf(set->names[i], sizeof set->names[i], "p%03d.jpg", i);
}

sm_dataset fake_dataset(fake_set *set) { return (sm_dataset){&fake_ops, set}; }

static double fake_max_ratio(const void *self) {
  (void)self;
  return 1;
}

static int64_t fake_start(const void *self) { return ((const fake_masker *)self)->start; }

static void fake_draw(const void *self, const sm_mask_request *request, uint8_t *mask) {
  (void)self;
  for (int i = 0; i < request->rows * request->cols; i++) mask[i] = sm_rng_uniform(request->rng) < 0.5;
}

const sm_masker_ops fake_masker_ops = {.max_ratio = fake_max_ratio,
                                       .start_epoch = fake_start,
                                       .draw = fake_draw};

sm_loader_config fake_config(fake_set *set, const fake_masker *masker) {
  sm_loader_config c = {
      .dataset = fake_dataset(set), .seed = 11, .batch_size = 6, .prefetch = 2, .max_bad = 1};
  c.views.globals = 2;
  c.views.locals = 3;
  c.views.global_first = sm_view_recipe_default();
  c.views.global_first.height = c.views.global_first.width = 16;
  c.views.global_other = c.views.global_first;
  c.views.global_other.solarize_p = 0.2;
  c.views.local = c.views.global_first;
  c.views.local.height = c.views.local.width = 8;
  c.views.local.scale[0] = 0.05;
  c.views.local.scale[1] = 0.4;
  c.masking = (sm_masking){.ops = &fake_masker_ops, .self = masker, .rows = 4, .cols = 4};
  return c;
}

sm_loader *fake_loader(const sm_loader_config *config, int64_t first) {
  sm_loader *loader;
  sm_error err = {0};
  if (sm_loader_new(config, first, &loader, &err) != SM_OK) fail_msg("%s", err.message);
  return loader;
}

sm_batch *fake_next(sm_loader *loader) {
  sm_batch *batch;
  sm_error err = {0};
  if (sm_loader_next(loader, &batch, &err) != SM_OK) fail_msg("%s", err.message);
  return batch;
}

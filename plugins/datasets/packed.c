/* packed.c — dataset `packed`: decoded pictures from a file that `smalti data pack` wrote.
 *
 * The file is mapped and its pixels are lent, not copied; the system reads and drops its pages as memory
 * allows. Order, classes and pixels are those of the pictures that were packed, so the views are the same
 * bytes. */
#include <smalti/packed.h>
#include <smalti/plugin.h>

#include <string.h>

typedef struct packed {
  const char *path;
  int64_t limit;

  sm_packed *file;
  int64_t *chosen; /* the limit's choice, or NULL: all */
  int64_t count;
} packed;

static int64_t packed_place(const packed *set, int64_t index) {
  return set->chosen ? set->chosen[index] : index;
}

/* The first `limit` pictures of each class; those without one count as a class. */
static sm_status packed_choose(packed *set, sm_error *err) {
  const int64_t all = sm_packed_count(set->file);
  int64_t *taken = sm_calloc((size_t)sm_packed_classes(set->file) + 1, sizeof *taken);
  set->chosen = sm_malloc((size_t)all * sizeof *set->chosen);
  if (!taken || !set->chosen) {
    sm_free(taken);
    return sm_fail(err, SM_ENOMEM, "no memory for a list of %lld pictures", (long long)all);
  }
  for (int64_t i = 0; i < all; i++)
    if (taken[sm_packed_at(set->file, i).label + 1]++ < set->limit) set->chosen[set->count++] = i;
  sm_free(taken);
  return SM_OK;
}

static sm_status packed_open(void *self, sm_error *err) {
  packed *set = self;
  sm_error why = {0};
  if (!(set->file = sm_packed_open(set->path, &why))) {
    if (err) *err = why;
    return why.code;
  }
  if (set->limit) return packed_choose(set, err);
  set->count = sm_packed_count(set->file);
  return SM_OK;
}

static void packed_destroy(void *self) {
  packed *set = self;
  sm_packed_close(set->file);
  sm_free(set->chosen);
}

static int64_t packed_count(const void *self) { return ((const packed *)self)->count; }

static int packed_label(const void *self, int64_t index) {
  const packed *set = self;
  return sm_packed_at(set->file, packed_place(set, index)).label;
}

static const char *packed_name(const void *self, int64_t index) {
  const packed *set = self;
  return sm_packed_at(set->file, packed_place(set, index)).name;
}

static int packed_classes(const void *self) { return sm_packed_classes(((const packed *)self)->file); }

static const char *packed_class_name(const void *self, int c) {
  return sm_packed_class_name(((const packed *)self)->file, c);
}

static sm_status packed_borrow(const void *self, int64_t index, const sm_image_limits *limits, sm_image *out,
                               sm_error *err) {
  const packed *set = self;
  const int64_t most = limits && limits->max_pixels > 0 ? limits->max_pixels : SM_IMAGE_MAX_PIXELS;
  const sm_packed_picture p = sm_packed_at(set->file, packed_place(set, index));
  *out = (sm_image){0};
  if ((int64_t)p.width * p.height > most) {
    sm_fail(err, SM_EINVAL, "packed picture of %d x %d pixels is over the limit of %lld pixels", p.width,
            p.height, (long long)most);
    return sm_hint(err, "pack again with --max-side, or raise data.max_pixels");
  }
  const uint8_t *pixels = sm_packed_pixels(set->file, packed_place(set, index), err);
  if (!pixels) return err && err->code ? err->code : SM_EFORMAT;
  *out = (sm_image){.width = p.width, .height = p.height, .rgb = (uint8_t *)(uintptr_t)pixels};
  return SM_OK;
}

static sm_status packed_read(const void *self, int64_t index, const sm_image_limits *limits, sm_image *out,
                             sm_error *err) {
  sm_image lent;
  sm_status status = packed_borrow(self, index, limits, &lent, err);
  return !status ? sm_image_copy(out, &lent, err) : status;
}

static uint64_t packed_hash(const void *self) {
  const packed *set = self;
  return sm_hash64(&set->limit, sizeof set->limit, sm_packed_hash(set->file));
}

static const sm_option options[] = {
    SM_PATH(packed, path, "path", NULL, "file that `smalti data pack` wrote"),
    SM_INT(packed, limit, "limit", "0", 0, 1e9, "pictures",
           "take only the first ones of each class; 0 takes all"),
};

static const sm_dataset_ops ops = {
    .open = packed_open,
    .count = packed_count,
    .label = packed_label,
    .name = packed_name,
    .classes = packed_classes,
    .class_name = packed_class_name,
    .read = packed_read,
    .hash = packed_hash,
    .borrow = packed_borrow,
};

static const sm_plugin plugin = {
    .kind = SM_DATASET,
    .name = "packed",
    .summary = "decoded pictures of a file that `smalti data pack` wrote, mapped into memory",
    .version = "0.1",
    .license = "Apache-2.0",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(packed),
    .destroy = packed_destroy,
    .ops = &ops,
};

SM_MODULE(&plugin)

/* check_dataset.c — datasets: a list that stays the same, labels and names that fit, pictures that read twice
 * alike. */
#include <string.h>

#include "framework/recipe/recipe.h"

#include "driver.h"

#define READS 5

typedef struct reading {
  const sm_dataset_ops *ops;
  const void *self;
  int64_t index[READS];
  uint64_t hash[READS];
  sm_status status[READS];
} reading;

static uint64_t check_dataset_read_one(const sm_dataset_ops *ops, const void *self, int64_t index,
                                       sm_status *status, sm_error *err) {
  sm_image image = {0};
  *status = ops->read(self, index, NULL, &image, err);
  uint64_t hash = 0;
  if (!*status && (image.width < 1 || image.height < 1 || !image.rgb))
    *status = sm_fail(err, SM_EINTERNAL, "read says yes, but gives no picture (%d x %d%s)", image.width,
                      image.height, image.rgb ? "" : ", no pixels");
  else if (!*status && image.capacity && image.capacity / 3 < (size_t)image.width * (size_t)image.height)
    *status = sm_fail(err, SM_EINTERNAL, "read gives %d x %d pixels in %zu bytes", image.width, image.height,
                      image.capacity);
  else if (!*status)
    hash = sm_hash64(image.rgb, (size_t)image.width * (size_t)image.height * 3, (uint64_t)image.width);
  sm_image_free(&image);
  return hash;
}

static void check_dataset_read_item(void *ctx, int64_t item, int worker) {
  reading *r = ctx;
  sm_error err;
  (void)worker;
  r->hash[item] = check_dataset_read_one(r->ops, r->self, r->index[item], &r->status[item], &err);
}

static bool check_list(sm_checker *c, const sm_dataset_ops *ops, const void *self, int64_t n) {
  int classes = ops->classes(self);
  if (!sm_check_that(c, classes >= 0, NULL, "classes is %d", classes)) return false;
  for (int k = 0; k < classes; k++)
    if (!sm_check_that(c, ops->class_name(self, k) && ops->class_name(self, k)[0], NULL,
                       "class %d has no name", k))
      return false;
  for (int64_t k = 0; k<n; k += n> 1000 ? n / 1000 : 1) {
    int label = ops->label(self, k);
    if (!sm_check_that(c, label >= -1 && label < (classes ? classes : 1), NULL,
                       "label of picture %lld is %d of %d classes", (long long)k, label, classes) ||
        !sm_check_that(c, ops->name(self, k) && ops->name(self, k)[0], NULL, "picture %lld has no name",
                       (long long)k))
      return false;
  }
  sm_check_good(c, "%lld %s, %d %s", (long long)n, sm_plural(n, "picture", "pictures"), classes,
                sm_plural(classes, "class", "classes"));
  return true;
}

static void check_reads(sm_checker *c, const sm_dataset_ops *ops, const void *self, int64_t n) {
  reading r = {.ops = ops, .self = self};
  bool same = true;
  int good = 0;
  for (int k = 0; k < READS; k++) r.index[k] = (n - 1) * k / (READS - 1);
  sm_pool_run(c->two, READS, check_dataset_read_item, &r);
  for (int k = 0; k < READS; k++) {
    sm_error err = {0};
    sm_status status;
    uint64_t alone = check_dataset_read_one(ops, self, r.index[k], &status, &err);
    if (!sm_check_that(c, status != SM_EINTERNAL, NULL, "picture %lld: %s", (long long)r.index[k],
                       err.message))
      return;
    good += !status;
    if (status) {
      if (sm_check_that(c, err.message[0] != 0, NULL, "picture %lld is refused without a reason",
                        (long long)r.index[k]))
        sm_check_note(c, "picture %lld is skipped: %s", (long long)r.index[k], err.message);
      continue;
    }
    same = same && r.status[k] == SM_OK && r.hash[k] == alone;
  }
  sm_check_that(c, good > 0, NULL, "none of the %d pictures that were tried can be read", READS);
  sm_check_that(c, same, "the same pixels on two threads",
                "the same picture reads differently on two threads");
}

/* What is lent is what is read. */
static void check_lent(sm_checker *c, const sm_dataset_ops *ops, const void *self, int64_t n) {
  bool same = true;
  for (int k = 0; ops->borrow && k < READS; k++) {
    const int64_t index = (n - 1) * k / (READS - 1);
    sm_error err = {0};
    sm_image view = {0};
    sm_status status;
    uint64_t read = check_dataset_read_one(ops, self, index, &status, &err);
    if (ops->borrow(self, index, NULL, &view, &err) != status) same = false;
    else if (!status)
      same = same && view.capacity == 0 && view.rgb &&
             sm_hash64(view.rgb, (size_t)view.width * (size_t)view.height * 3, (uint64_t)view.width) == read;
  }
  if (ops->borrow)
    sm_check_that(c, same, "lends the pixels that it reads",
                  "borrow gives other pixels than read, or no view of them (capacity 0)");
}

/* Another instance with the same options lists the same: looking for itself, or (bytes) given what one has found. */
static void check_another(sm_checker *c, const sm_dataset_ops *ops, const void *self, const void *found,
                          size_t bytes, const char *what) {
  sm_error err = {0};
  sm_instance other = {0};
  sm_arena *arena = sm_arena_new("check");
  if (arena && sm_instance_new(c->config->host, c->plugin, &other, &err) == SM_OK &&
      sm_options_fill(c->plugin, c->yaml, other.self, arena, &err) == SM_OK &&
      sm_instance_create(&other, &err) == SM_OK &&
      (bytes ? ops->take(other.self, found, bytes, &err) : ops->open(other.self, &err)) == SM_OK)
    sm_check_that(c, ops->hash(other.self) == ops->hash(self), what,
                  "two instances of the same options hash differently%s", bytes ? ", when one takes a list" : "");
  else sm_check_error(c, "a second instance", &err);
  if (other.plugin) sm_instance_free(&other);
  sm_arena_free(arena);
}

static void check_given(sm_checker *c, const sm_dataset_ops *ops, const void *self) {
  static const char nonsense[] = "this is no list";
  sm_error err = {0};
  sm_text found = {0};
  if (!sm_check_that(c, !ops->give == !ops->take, NULL, "it has one of 'give' and 'take', and not the other"))
    return;
  if (!ops->give) return;
  if (ops->give(self, &found, &err) != SM_OK) sm_check_error(c, "give", &err);
  else if (found.len) check_another(c, ops, self, found.s, found.len, "takes what another instance found");
  check_another(c, ops, self, nonsense, sizeof nonsense, "takes no nonsense");
  sm_text_free(&found);
}

void sm_check_dataset(sm_checker *c, sm_instance *instance) {
  const sm_dataset_ops *ops = instance->plugin->ops;
  sm_error err = {0};
  if (ops->open(instance->self, &err) != SM_OK) {
    if (sm_check_that(c, err.message[0] != 0, NULL, "open fails without a reason"))
      sm_check_note(c, "not opened: %s", err.message);
    return;
  }
  int64_t n = ops->count(instance->self);
  if (!sm_check_that(c, n > 0, NULL, "open succeeds with %lld pictures", (long long)n)) return;
  if (!check_list(c, ops, instance->self, n)) return;
  check_reads(c, ops, instance->self, n);
  check_lent(c, ops, instance->self, n);
  const int64_t now = ops->count(instance->self);
  sm_check_that(c, now == n, NULL, "count gives %lld, and %lld when asked again", (long long)n,
                (long long)now);
  check_another(c, ops, instance->self, NULL, 0, "stable hash");
  check_given(c, ops, instance->self);
}

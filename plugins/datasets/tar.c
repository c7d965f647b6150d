/* tar.c — dataset `tar`: the JPEG, PNG and WebP files in tar shards, as if they were unpacked below one
 * folder.
 *
 * * Order, classes and hash are those that `folder` gives over the unpacked pictures, so a run has
 * the same bits with either. Where members KEY.cls lie beside KEY.jpg, as webdataset has them, classes are the numbers
 * in these. The order of an epoch goes across all shards: a picture is read from its place,
 * whichever comes before it. A shard is opened when its first picture is wanted, and stays open while
 * there are few of them. */
#include "listed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MOST_OPEN = 512 };
static const size_t most_bytes = (size_t)256 << 20; /* of a picture, where the limits say nothing */

typedef struct tar {
  listed set; /* the first member: what is shared takes it for itself */
  _Atomic int *open; /* of each shard: its descriptor + 1, or 0 */
  _Atomic int n_open;
  int most_open;
} tar;

static sm_status tar_open(void *self, sm_error *err) {
  tar *t = self;
  struct rlimit limit;
  const sm_status status = listed_open(&t->set, true, err);
  if (status) return status;
  if (!(t->open = sm_calloc((size_t)sm_listing_shards(t->set.list) + 1, sizeof *t->open)))
    return sm_fail(err, SM_ENOMEM, "out of memory while listing %s", t->set.path);
  const bool known = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 4 * MOST_OPEN;
  t->most_open = known ? (int)limit.rlim_cur / 4 : MOST_OPEN;
  return SM_OK;
}

static sm_status tar_take(void *self, const void *found, size_t bytes, sm_error *err) {
  listed_take(&((tar *)self)->set, true, found, bytes);
  return tar_open(self, err);
}

static void tar_destroy(void *self) {
  tar *t = self;
  const int64_t n = t->open ? sm_listing_shards(t->set.list) : 0;
  for (int64_t s = 0; s < n; s++)
    if (t->open[s]) close(t->open[s] - 1);
  sm_free((void *)t->open);
  sm_listing_free(t->set.list);
}

static sm_status tar_fault(sm_error *err, const char *verb, int code) {
  const bool missing = code == ENOENT || code == ENOTDIR;
  const sm_status status = missing ? SM_ENOTFOUND : code == ENOMEM ? SM_ENOMEM : SM_EIO;
  sm_fail(err, status, "cannot %s the shard: %s", verb, strerror(code));
  if (code == EMFILE || code == ENFILE)
    sm_hint(err, "too many files are open: lower data.workers, or raise the limit (ulimit -n)");
  return status;
}

/* A descriptor of the shard; *keep: it stays open. */
static sm_status tar_shard(tar *t, int64_t shard, const char *path, int *fd, bool *keep, sm_error *err) {
  const int known = atomic_load(&t->open[shard]);
  *keep = known > 0;
  *fd = *keep ? known - 1 : open(path, O_RDONLY | O_CLOEXEC);
  if (*fd < 0) return tar_fault(err, "open", errno);
  if (*keep || atomic_load(&t->n_open) >= t->most_open) return SM_OK;
  int none = 0;
  *keep = atomic_compare_exchange_strong(&t->open[shard], &none, *fd + 1);
  if (*keep) atomic_fetch_add(&t->n_open, 1);
  return SM_OK;
}

static sm_status tar_get(int fd, uint8_t *to, size_t bytes, int64_t at, sm_error *err) {
  for (size_t got = 0; got < bytes;) {
    const ssize_t n = pread(fd, to + got, bytes - got, at + (int64_t)got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return tar_fault(err, "read", errno);
    if (n == 0)
      return sm_fail(err, SM_EIO, "the shard ends before the picture does, unlike when it was listed");
    got += (size_t)n;
  }
  return SM_OK;
}

static sm_status tar_picture(tar *t, const sm_listing_place *place, const char *path,
                             const sm_image_limits *limits, sm_image *out, sm_error *err) {
  const size_t most = limits->max_bytes ? limits->max_bytes : most_bytes;
  int fd;
  bool keep;
  if (place->bytes < 0 || place->shard < 0) return sm_fail(err, SM_EIO, "the index of the shards cannot be read");
  if ((uint64_t)place->bytes > most)
    return sm_fail(err, SM_EINVAL, "%lld bytes are over the limit of %zu bytes for a picture file",
                   (long long)place->bytes, most);
  uint8_t *data = sm_malloc((size_t)place->bytes + 1);
  if (!data) return sm_fail(err, SM_ENOMEM, "no memory to read a picture of %lld bytes", (long long)place->bytes);
  sm_status status = tar_shard(t, place->shard, path, &fd, &keep, err);
  if (!status) {
    status = tar_get(fd, data, (size_t)place->bytes, place->offset, err);
    if (!keep) close(fd);
  }
  if (!status) status = sm_image_decode(data, (size_t)place->bytes, limits, out, err);
  sm_free(data);
  return status;
}

static sm_status tar_read(const void *self, int64_t index, const sm_image_limits *limits, sm_image *out,
                          sm_error *err) {
  tar *t = (tar *)(uintptr_t)self; /* which shards are open changes nothing that is seen */
  const sm_image_limits all = listed_limits(&t->set, limits);
  const sm_listing_place place = sm_listing_at(t->set.list, index);
  sm_text path = {0};
  if (place.shard >= 0) sm_listing_shard_path(t->set.list, (uint32_t)place.shard, &path);
  sm_status status = path.failed ? sm_fail(err, SM_ENOMEM, "no memory for the name of a shard")
                                 : tar_picture(t, &place, path.s, &all, out, err);
  if (status && path.s) sm_fail_at(err, path.s, 0, 0);
  sm_text_free(&path);
  return status;
}

static const char *const tar_classes[] = {"auto", "folders", "none", "cls", NULL};
static const sm_option options[] = {
    SM_PATH(listed, path, "path", NULL, "folder with files called .tar, or one such file"),
    LISTED_OPTIONS(tar_classes,
                   "auto: the numbers in .cls members if there are any, else sub-folders; cls, folders: these, which "
                   "must be there; none: no labels"),
};

static const sm_dataset_ops ops = {
    .open = tar_open,
    .count = listed_count,
    .label = listed_label,
    .name = listed_name,
    .classes = listed_classes_of,
    .class_name = listed_class_name,
    .read = tar_read,
    .hash = listed_hash,
    .give = listed_give,
    .take = tar_take,
};

static const sm_plugin plugin = {
    .kind = SM_DATASET,
    .name = "tar",
    .create = listed_create,
    .summary = "JPEG, PNG and WebP files in tar shards, labels in .cls members or their folders as classes",
    .version = "0.1",
    .license = "Apache-2.0",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(tar),
    .destroy = tar_destroy,
    .ops = &ops,
};

SM_MODULE(&plugin)

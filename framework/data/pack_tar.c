/* pack_tar.c — the files of a folder's pictures, byte for byte, into tar shards in the order of the list,
 * with an index of them beside. The shards' folder is written under another name and gets its own when all
 * of it is there. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "framework/base/io.h"
#include "framework/formats/tar.h"
#include "listing.h"

#include "data.h"

enum { CHUNK = 256 * 1024 };

typedef struct packing {
  const sm_pack_tar_config *config;
  sm_listing *list;
  sm_pack_tar_result *result;
  char *folder; /* the temporary name */
  sm_file *shard;
  uint64_t in_shard; /* bytes */
  sm_text path, head;
  char *chunk;
} packing;

static sm_status pack_tar_no_memory(sm_error *err) {
  return sm_fail(err, SM_ENOMEM, "out of memory for packing pictures");
}

static sm_status pack_tar_begin(packing *p, sm_error *err) {
  p->path.len = 0;
  sm_text_add(&p->path, "%s/%05lld.tar", p->folder, (long long)p->result->shards++);
  if (p->path.failed) return pack_tar_no_memory(err);
  p->in_shard = 0;
  p->shard = sm_file_create(p->path.s, err);
  return p->shard ? SM_OK : err->code;
}

/* Two empty blocks, up to tar's usual record of twenty. */
static sm_status pack_tar_end(packing *p, sm_error *err) {
  static const char zeros[20 * SM_TAR_BLOCK];
  const uint64_t rest = sizeof zeros - (p->in_shard + 2 * SM_TAR_BLOCK) % sizeof zeros;
  sm_file_write(p->shard, zeros, 2 * SM_TAR_BLOCK);
  if (rest < sizeof zeros) sm_file_write(p->shard, zeros, (size_t)rest);
  p->result->bytes += p->in_shard + 2 * SM_TAR_BLOCK + (rest < sizeof zeros ? rest : 0);
  sm_file *done = p->shard;
  p->shard = NULL;
  return sm_file_commit(done, err);
}

/* The file's bytes, as many as its head says. */
static sm_status pack_tar_copy(packing *p, int fd, uint64_t bytes, sm_error *err) {
  static const char zeros[SM_TAR_BLOCK];
  uint64_t left = bytes;
  while (left > 0) {
    const ssize_t n = read(fd, p->chunk, left < CHUNK ? (size_t)left : CHUNK);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return sm_fail_errno(err, errno, "read", p->path.s);
    if (n == 0) return sm_fail(err, SM_EIO, "%s became shorter while it was packed", p->path.s);
    sm_file_write(p->shard, p->chunk, (size_t)n);
    left -= (uint64_t)n;
  }
  sm_file_write(p->shard, zeros, (size_t)(-bytes % SM_TAR_BLOCK));
  return SM_OK;
}

static sm_status pack_tar_add(packing *p, int fd, const char *name, uint64_t bytes, sm_error *err) {
  p->head.len = 0;
  sm_tar_head(&p->head, name, bytes);
  if (p->head.failed) return pack_tar_no_memory(err);
  const uint64_t all = p->head.len + (bytes + SM_TAR_BLOCK - 1) / SM_TAR_BLOCK * SM_TAR_BLOCK;
  sm_status status = SM_OK;
  if (p->shard && p->in_shard + all > p->config->shard_bytes) status = pack_tar_end(p, err);
  if (!status && !p->shard) {
    sm_text kept = p->path; /* of the picture */
    p->path = (sm_text){0};
    status = pack_tar_begin(p, err);
    sm_text_free(&p->path);
    p->path = kept;
  }
  if (status) return status;
  sm_file_write(p->shard, p->head.s, p->head.len);
  p->in_shard += all;
  p->result->pictures++;
  return pack_tar_copy(p, fd, bytes, err);
}

static sm_status pack_tar_picture(packing *p, int64_t index, sm_error *err) {
  struct stat st;
  const size_t root = strlen(p->list->root) + (p->list->root[strlen(p->list->root) - 1] != '/');
  sm_listing_path(p->list, index, &p->path);
  if (p->path.failed) return pack_tar_no_memory(err);
  const int fd = open(p->path.s, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 && sm_listing_at(p->list, index).dangling) return p->result->left_out++, SM_OK;
  if (fd < 0) return sm_fail_errno(err, errno, "open", p->path.s);
  sm_status status = SM_OK;
  if (fstat(fd, &st)) status = sm_fail_errno(err, errno, "examine", p->path.s);
  else if (!S_ISREG(st.st_mode)) p->result->left_out++;
  else status = pack_tar_add(p, fd, p->path.s + root, (uint64_t)st.st_size, err);
  close(fd);
  return status;
}

static sm_status pack_tar_all(packing *p, sm_error *err) {
  const sm_pack_tar_config *c = p->config;
  const int64_t n = sm_listing_count(p->list);
  sm_status status = SM_OK;
  for (int64_t i = 0; i < n && !status; i++) {
    status = pack_tar_picture(p, i, err);
    if (!status && c->progress && i % 64 == 0) c->progress(c->progress_ctx, i, n);
    if (!status && c->stop && c->stop())
      status = sm_fail(err, SM_EINTERRUPTED, "stopped while packing: nothing was written");
  }
  if (!status && p->shard) status = pack_tar_end(p, err);
  if (!status && !p->result->shards) status = sm_fail(err, SM_ENOTFOUND, "no picture in %s", c->path);
  return status;
}

/* The index, under the name that the folder is going to have. */
static sm_status pack_tar_index(const char *out, sm_error *err) {
  sm_arena *arena = sm_arena_new("pack");
  const char *file = arena ? sm_listing_file(arena, out) : NULL;
  sm_listing *l = file ? sm_listing_tar(out, err) : NULL;
  sm_status status = l ? sm_listing_save(l, file, err) : file ? err->code : pack_tar_no_memory(err);
  sm_listing_free(l);
  sm_arena_free(arena);
  return status;
}

static sm_status pack_tar_work(packing *p, const char *out, sm_error *err) {
  sm_text temporary = {0};
  sm_status status = SM_OK;
  sm_text_add(&temporary, "%s.tmp-%ld", out, (long)getpid());
  p->chunk = sm_malloc(CHUNK);
  p->folder = temporary.s;
  if (temporary.failed || !p->chunk) status = pack_tar_no_memory(err);
  else if (mkdir(p->folder, 0777)) status = sm_fail_errno(err, errno, "create the folder", p->folder);
  else {
    status = pack_tar_all(p, err);
    sm_file_abort(p->shard);
    if (!status && rename(p->folder, out)) status = sm_fail_errno(err, errno, "rename the new version to", out);
    if (status) sm_remove_tree(p->folder, NULL);
    else status = pack_tar_index(out, err);
  }
  sm_text_free(&temporary);
  return status;
}

sm_status sm_pack_tar(const sm_pack_tar_config *c, const char *out, sm_pack_tar_result *result, sm_error *err) {
  sm_error why = {0};
  *result = (sm_pack_tar_result){0};
  packing p = {.config = c, .result = result, .list = sm_listing_folder(c->path, &why)};
  sm_status status = p.list ? sm_listing_arrange(p.list, SM_LISTING_BY_FOLDER, 0, &why) : why.code;
  if (!status) status = pack_tar_work(&p, out, &why);
  sm_text_free(&p.path);
  sm_text_free(&p.head);
  sm_free(p.chunk);
  sm_listing_free(p.list);
  if (status && err) *err = why;
  return status;
}

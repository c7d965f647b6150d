/* packed_reader.c — opens packed files: maps them, doubts everything in their tables, and hands out
 * pointers into the mapping. The pixels are compared with their checksums when they are first wanted: a
 * file of many GiB opens at once, and yet no damaged picture is trained on. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "framework/base/mapped.h"
#include "framework/base/signature.h"
#include "packed_format.h"

enum { UNSEEN, WHOLE, DAMAGED };

struct sm_packed {
  char *path;
  const unsigned char *map;
  uint64_t bytes;
  packed_header header;
  const packed_entry *index;
  const char *names;
  const char **class_name;
  _Atomic uint8_t *seen; /* of each picture's pixels */
};

static const char make_anew[] = "make it anew with `smalti data pack`";

/* ---- opening ------------------------------------------------------------------------------------------- */

static sm_status packed_reader_map_file(sm_packed *p, sm_error *err) {
  struct stat st;
  sm_status status = SM_OK;
  int fd = open(p->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    bool missing = errno == ENOENT || errno == ENOTDIR;
    status =
        sm_fail(err, missing ? SM_ENOTFOUND : SM_EIO, "cannot open the packed file: %s", strerror(errno));
    return missing ? sm_hint(err,
                             "`smalti data pack FOLDER FILE` makes one; a relative path in a recipe "
                             "starts at the recipe's folder")
                   : status;
  }
  if (fstat(fd, &st)) {
    status = sm_fail(err, SM_EIO, "cannot examine the packed file: %s", strerror(errno));
  } else if (S_ISDIR(st.st_mode)) {
    sm_fail(err, SM_EINVAL, "this is a folder, not a packed file");
    status = sm_hint(err, "use the dataset `folder`, or pack it: smalti data pack FOLDER FILE");
  } else if (!S_ISREG(st.st_mode)) {
    status = sm_fail(err, SM_EINVAL, "this is not a regular file");
  } else if (st.st_size > 0) {
    p->map = sm_mapped_new(fd, (size_t)st.st_size, p->path, err);
    if (p->map) p->bytes = (uint64_t)st.st_size;
    else status = SM_EIO;
  }
  close(fd);
  return status;
}

static sm_status packed_reader_damaged(sm_error *err, const char *what) {
  sm_fail(err, SM_EFORMAT, "the packed file is damaged: %s", what);
  return sm_hint(err, "copy it again, or %s", make_anew);
}

static sm_status packed_reader_cut_short(const sm_packed *p, uint64_t wanted, sm_error *err) {
  sm_fail(err, SM_EFORMAT, "the packed file is cut short: %" PRIu64 " of its %" PRIu64 " bytes are there",
          p->bytes, wanted);
  return sm_hint(err, "copy it again, or %s", make_anew);
}

static sm_status packed_reader_check_header(sm_packed *p, sm_error *err) {
  packed_header *h = &p->header;
  const size_t begun = p->bytes < PACKED_MAGIC_BYTES ? (size_t)p->bytes : PACKED_MAGIC_BYTES;
  if (begun == 0 || memcmp(p->map, PACKED_MAGIC, begun) != 0) {
    sm_fail(err, SM_EFORMAT, "not a packed file of pictures: it is %s",
            sm_signature(p->map, (size_t)p->bytes));
    return sm_hint(err, "`smalti data pack FOLDER FILE` makes one");
  }
  if (p->bytes < sizeof *h) return packed_reader_cut_short(p, sizeof *h, err);
  memcpy(h, p->map, sizeof *h);
  if (h->version != SM_PACKED_VERSION) {
    sm_fail(err, SM_EUNSUPPORTED,
            "this packed file has version %" PRIu32 " of the format; smalti %s reads version %d", h->version,
            sm_version(), SM_PACKED_VERSION);
    return sm_hint(err, "read it with a newer smalti, or %s", make_anew);
  }
  if (p->bytes < h->file_bytes) return packed_reader_cut_short(p, h->file_bytes, err);
  if (p->bytes > h->file_bytes) return packed_reader_damaged(err, "there are bytes behind its end");
  const uint64_t room = h->index_at <= p->bytes ? p->bytes - h->index_at : 0;
  if (h->index_at < sizeof *h || h->index_at % SM_PACKED_ALIGN || h->pictures < 1 ||
      h->pictures > INT32_MAX || h->pictures > room / sizeof(packed_entry) ||
      h->names_bytes != room - h->pictures * sizeof(packed_entry) || h->classes > INT32_MAX ||
      h->classes > h->names_bytes)
    return packed_reader_damaged(err, "its header contradicts itself");
  p->index = (const packed_entry *)(const void *)(p->map + h->index_at);
  p->names = (const char *)(p->index + h->pictures);
  packed_header bare = *h;
  bare.crc = 0;
  uint32_t crc = sm_crc32c(sm_crc32c(0, &bare, sizeof bare), p->index, (size_t)room);
  return crc == h->crc ? SM_OK : packed_reader_damaged(err, "the checksum of its index does not fit");
}

/* What the checksum cannot tell: whether the program that wrote the file did it right. */
static sm_status packed_reader_check_index(const sm_packed *p, sm_error *err) {
  const packed_header *h = &p->header;
  if (h->names_bytes == 0 || p->names[h->names_bytes - 1] != 0)
    return packed_reader_damaged(err, "its last name has no end");
  for (uint64_t i = 0; i < h->pictures; i++) {
    const packed_entry *e = &p->index[i];
    bool sized =
        e->width >= 1 && e->height >= 1 && e->width <= PACKED_MOST_SIDE && e->height <= PACKED_MOST_SIDE;
    uint64_t bytes = sized ? 3 * (uint64_t)e->width * e->height : 0;
    if (!sized || e->pixels_at % SM_PACKED_ALIGN || e->pixels_at < sizeof *h || e->pixels_at > h->index_at ||
        bytes > h->index_at - e->pixels_at || e->name_at >= h->names_bytes || e->label < -1 ||
        e->label >= (int64_t)h->classes) {
      char text[64];
      snprintf(text, sizeof text, "the entry of picture %" PRIu64 " makes no sense", i);
      return packed_reader_damaged(err, text);
    }
  }
  return SM_OK;
}

static sm_status packed_reader_list_classes(sm_packed *p, sm_error *err) {
  const char *at = p->names, *end = p->names + p->header.names_bytes;
  p->class_name = sm_calloc(p->header.classes, sizeof *p->class_name);
  p->seen = sm_calloc((size_t)p->header.pictures, sizeof *p->seen);
  if (!p->class_name || !p->seen)
    return sm_fail(err, SM_ENOMEM, "no memory for an index of %" PRIu64 " pictures", p->header.pictures);
  for (uint32_t c = 0; c < p->header.classes; c++, at += strlen(at) + 1) {
    if (at >= end) return packed_reader_damaged(err, "it has fewer names than classes");
    p->class_name[c] = at;
  }
  return SM_OK;
}

sm_packed *sm_packed_open(const char *path, sm_error *err) {
  sm_error why = {0};
  sm_packed *p = sm_calloc(1, sizeof *p);
  sm_status status = p && (p->path = sm_strdup(path))
                         ? SM_OK
                         : sm_fail(&why, SM_ENOMEM, "no memory to open the packed file");
  if (!status) status = packed_reader_map_file(p, &why);
  if (!status) status = packed_reader_check_header(p, &why);
  if (!status) status = packed_reader_check_index(p, &why);
  if (!status) status = packed_reader_list_classes(p, &why);
  if (p && p->map && sm_mapped_check(p->map, &why) != SM_OK) status = SM_EIO;
  if (!status) return p;
  sm_fail_at(&why, path, 0, 0);
  if (err) *err = why;
  sm_packed_close(p);
  return NULL;
}

void sm_packed_close(sm_packed *p) {
  if (!p) return;
  sm_mapped_free(p->map, (size_t)p->bytes);
  sm_free(p->path);
  sm_free(p->class_name);
  sm_free((void *)p->seen);
  sm_free(p);
}

bool sm_packed_is(const char *path) {
  struct stat st;
  char begin[PACKED_MAGIC_BYTES];
  if (stat(path, &st)) return errno != ENOENT && errno != ENOTDIR;
  if (!S_ISREG(st.st_mode)) return false;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  const ssize_t n = fd >= 0 ? read(fd, begin, sizeof begin) : -1;
  if (fd >= 0) close(fd);
  return n < 0 || (n == (ssize_t)sizeof begin && memcmp(begin, PACKED_MAGIC, sizeof begin) == 0);
}

/* ---- pictures ------------------------------------------------------------------------------------------ */

int64_t sm_packed_count(const sm_packed *p) { return (int64_t)p->header.pictures; }
int sm_packed_classes(const sm_packed *p) { return (int)p->header.classes; }
const char *sm_packed_class_name(const sm_packed *p, int c) { return p->class_name[c]; }

sm_packed_picture sm_packed_at(const sm_packed *p, int64_t index) {
  const packed_entry *e = &p->index[index];
  return (sm_packed_picture){.name = p->names + e->name_at,
                             .width = (int)e->width,
                             .height = (int)e->height,
                             .label = e->label,
                             .rgb = p->map + e->pixels_at};
}

/* Two threads may compare the same picture at once and then find the same. */
const uint8_t *sm_packed_pixels(const sm_packed *p, int64_t index, sm_error *err) {
  const packed_entry *e = &p->index[index];
  const uint8_t *pixels = p->map + e->pixels_at;
  uint8_t state = atomic_load_explicit(&p->seen[index], memory_order_relaxed);
  if (state == UNSEEN) {
    state = sm_crc32c(0, pixels, 3 * (size_t)e->width * e->height) == e->crc ? WHOLE : DAMAGED;
    if (sm_mapped_check(p->map, err) != SM_OK)
      return NULL; /* what was compared may be zeros in the pixels' place */
    atomic_store_explicit(&p->seen[index], state, memory_order_relaxed);
  }
  if (state == WHOLE) return pixels;
  sm_fail(err, SM_EFORMAT, "its pixels in the packed file are damaged: their checksum does not fit");
  sm_hint(err, "copy %s again, or %s", p->path, make_anew);
  return NULL;
}

uint64_t sm_packed_hash(const sm_packed *p) {
  const size_t tables = (size_t)(p->bytes - p->header.index_at);
  return sm_hash64(p->index, tables, sm_hash64(&p->header.classes, sizeof p->header.classes, 0));
}

/* decode.c — from a file to an upright RGB picture: reading with a bound, telling formats apart by their
 * first bytes, and saying plainly what a file is that is no picture. The decoders are in jpeg.c,
 * png.c and webp.c. */
#include "planes.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "framework/base/signature.h"

/* ---- what a file is ------------------------------------------------------------------------------------ */

typedef enum { KIND_JPEG, KIND_PNG, KIND_WEBP, KIND_OTHER } file_kind;

static file_kind decode_kind_of(const uint8_t *data, size_t bytes) {
  if (bytes >= 3 && data[0] == 0xFF && data[1] == 0xD8 && data[2] == 0xFF) return KIND_JPEG;
  if (bytes >= 8 && !memcmp(data, "\x89PNG\r\n\x1a\n", 8)) return KIND_PNG;
  if (bytes >= 12 && !memcmp(data, "RIFF", 4) && !memcmp(data + 8, "WEBP", 4)) return KIND_WEBP;
  return KIND_OTHER;
}

static sm_image_probe decode_probe(file_kind kind, const uint8_t *data, size_t bytes) {
  return kind == KIND_JPEG  ? sm_jpeg_probe(data, bytes)
         : kind == KIND_PNG ? sm_png_probe(data, bytes)
                            : sm_webp_probe(data, bytes);
}

static sm_status decode_refuse_kind(const uint8_t *data, size_t bytes, sm_error *err) {
  if (bytes == 2 && data[0] == 0xFF && data[1] == 0xD8)
    return sm_fail(err, SM_EFORMAT, "JPEG cut short: only its first two bytes are there");
  sm_fail(err, SM_EFORMAT, "not a JPEG, PNG or WebP picture: it is %s", sm_signature(data, bytes));
  return SM_EFORMAT;
}

/* ---- decoding ------------------------------------------------------------------------------------------ */

sm_status sm_image_decode(const void *memory, size_t bytes, const sm_image_limits *limits, sm_image *out,
                          sm_error *err) {
  const uint8_t *data = memory;
  const sm_image_limits all = sm_image_limits_filled(limits);
  sm_image_probe said = {.orientation = 1};
  sm_status status;
  if (bytes > all.max_bytes) {
    status = sm_fail(err, SM_EINVAL, "%zu bytes are over the limit of %zu bytes for a picture file", bytes,
                     all.max_bytes);
  } else {
    switch (decode_kind_of(data, bytes)) {
      case KIND_JPEG:
        said = sm_jpeg_probe(data, bytes);
        status = sm_jpeg_decode(data, bytes, said.orientation, &all, out, err);
        break;
      case KIND_PNG:
        said = sm_png_probe(data, bytes);
        status = sm_png_decode(data, bytes, &all, out, err);
        break;
      case KIND_WEBP:
        said = sm_webp_probe(data, bytes);
        status = sm_webp_decode(data, bytes, &all, out, err);
        break;
      default:
        status = decode_refuse_kind(data, bytes, err);
        break;
    }
    if (!status) status = sm_image_upright(out, said.orientation, err);
  }
  if (status) out->width = out->height = 0;
  return status;
}

/* ---- files --------------------------------------------------------------------------------------------- */

/* The system refused, which says nothing about the picture. */
static sm_status decode_fault(sm_error *err, const char *verb, int code) {
  const bool missing = code == ENOENT || code == ENOTDIR;
  sm_fail(err, missing ? SM_ENOTFOUND : SM_EIO, "cannot %s: %s", verb, strerror(code));
  if (code == EMFILE || code == ENFILE)
    sm_hint(err, "too many files are open: lower data.workers, or raise the limit (ulimit -n)");
  if (code == EACCES || code == EPERM)
    sm_hint(err, "check the permissions of the file and of the folders above it");
  return missing ? SM_ENOTFOUND : SM_EIO;
}

/* Opens without waiting on a pipe; *size is that of a regular file. */
static sm_status decode_open_regular(const char *path, int *fd, int64_t *size, sm_error *err) {
  struct stat st;
  *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (*fd < 0 && errno == ENXIO) return sm_fail(err, SM_EINVAL, "this is not a regular file"); /* a socket */
  if (*fd < 0) return decode_fault(err, "open", errno);
  sm_status status = SM_OK;
  if (fstat(*fd, &st) != 0) status = decode_fault(err, "read", errno);
  else if (!S_ISREG(st.st_mode))
    status = sm_fail(err, SM_EINVAL, S_ISDIR(st.st_mode) ? "this is a folder" : "this is not a regular file");
  if (status) close(*fd);
  else *size = (int64_t)st.st_size;
  return status;
}

/* Up to `count` bytes; fewer only at the end of the file. */
static sm_status decode_read_all(int fd, uint8_t *to, size_t count, size_t *got, sm_error *err) {
  *got = 0;
  while (*got < count) {
    ssize_t n = read(fd, to + *got, count - *got);
    if (n == 0) break;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return decode_fault(err, "read", errno);
    *got += (size_t)n;
  }
  return SM_OK;
}

sm_status sm_image_file_bytes(const char *path, const sm_image_limits *limits, sm_buffer *buffer,
                              size_t *bytes, sm_error *err) {
  int fd = -1;
  int64_t size = 0;
  uint8_t *data = NULL;
  sm_status status = decode_open_regular(path, &fd, &size, err);
  if (status) return status;
  if ((uint64_t)size > limits->max_bytes)
    status = sm_fail(err, SM_EINVAL, "%lld bytes are over the limit of %zu bytes for a picture file",
                     (long long)size, limits->max_bytes);
  else if ((data = sm_buffer_need(buffer, (size_t)size)) == NULL)
    status = sm_fail(err, SM_ENOMEM, "no memory to read a file of %lld bytes", (long long)size);
  if (!status) status = decode_read_all(fd, data, (size_t)size, bytes, err);
  close(fd);
  return status;
}

sm_status sm_image_read(const char *path, const sm_image_limits *limits, sm_image_scratch *scratch,
                        sm_image *out, sm_error *err) {
  const sm_image_limits all = sm_image_limits_filled(limits);
  sm_buffer own = {0}, *buffer = scratch ? &scratch->file : &own;
  size_t got = 0;
  out->width = out->height = 0;
  sm_status status = sm_image_file_bytes(path, &all, buffer, &got, err);
  if (!status) status = sm_image_decode(buffer->data, got, &all, out, err);
  sm_free(own.data);
  if (status) sm_fail_at(err, path, 0, 0);
  return status;
}

/* Headers are mostly in the first 64 KiB; a thumbnail or colour profile before them asks for more, up to all
 * of it. */
static sm_status decode_probe_file(int fd, size_t size, sm_image_probe *said, sm_error *err) {
  sm_buffer buffer = {0};
  sm_status status = SM_OK;
  size_t got = 0;
  for (size_t count = size < 65536 ? size : 65536;; count = size / 8 < count ? size : 8 * count) {
    uint8_t *data = sm_buffer_need(&buffer, count);
    if (!data) status = sm_fail(err, SM_ENOMEM, "no memory to read the header of a picture");
    else if (lseek(fd, 0, SEEK_SET) < 0) status = decode_fault(err, "read", errno);
    else status = decode_read_all(fd, data, count, &got, err);
    if (status) break;
    file_kind kind = decode_kind_of(data, got);
    if (kind == KIND_OTHER) {
      status = decode_refuse_kind(data, got, err);
      break;
    }
    *said = decode_probe(kind, data, got);
    if (!said->needs_more || got >= size) break;
  }
  sm_free(buffer.data);
  if (!status && (!said->found || said->width < 1 || said->height < 1))
    status = sm_fail(err, SM_EFORMAT, "damaged picture: its header gives no size");
  return status;
}

sm_status sm_image_size(const char *path, int *width, int *height, sm_error *err) {
  sm_image_probe said = {0};
  int fd = -1;
  int64_t size = 0;
  sm_status status = decode_open_regular(path, &fd, &size, err);
  if (!status) {
    size_t limit = sm_image_limits_filled(NULL).max_bytes;
    status = decode_probe_file(fd, (uint64_t)size < limit ? (size_t)size : limit, &said, err);
    close(fd);
  }
  if (status) {
    sm_fail_at(err, path, 0, 0);
    return status;
  }
  bool turned = said.orientation >= 5;
  *width = turned ? said.height : said.width;
  *height = turned ? said.width : said.height;
  return SM_OK;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

sm_status sm_image_write_png(const char *path, const sm_image *image, sm_error *err) {
  void *data = NULL;
  size_t bytes = 0;
  sm_status status = sm_image_encode_png(image, &data, &bytes, err);
  if (!status) status = sm_file_put(path, data, bytes, err);
  sm_free(data);
  return status;
}

sm_status sm_image_write_jpeg(const char *path, const sm_image *image, int quality, sm_error *err) {
  void *data = NULL;
  size_t bytes = 0;
  sm_status status = sm_image_encode_jpeg(image, quality, &data, &bytes, err);
  if (!status) status = sm_file_put(path, data, bytes, err);
  sm_free(data);
  return status;
}

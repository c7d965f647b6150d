/* tar.c — see tar.h. A reader owns its descriptor and the texts of names; a long name or a pax record
 * holds for the member that follows it, a global one for all that follow. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "framework/base/io.h"
#include "framework/base/signature.h"
#include "tar.h"

enum { MOST_EXTRA = 1 << 20 }; /* bytes of a long name or of pax records */

typedef struct tar_block { /* as it lies in the archive */
  char name[100], mode[8], uid[8], gid[8], size[12], changed[12], sum[8], type, link[100], magic[8], user[32],
      group[32], major[8], minor[8], prefix[155], rest[12];
} tar_block;

_Static_assert(sizeof(tar_block) == SM_TAR_BLOCK, "a head is one block");

struct sm_tar {
  char *path;
  int fd;
  uint64_t bytes, at; /* of the file; of the next head */
  uint64_t heads;     /* read so far */
  sm_text name;       /* of the member */
  sm_text given;      /* a long name that waits for its member */
  bool has_name, has_size, sparse;
  uint64_t size; /* as the pax records say */
};

/* ---- opening ------------------------------------------------------------------------------------------- */

sm_tar *sm_tar_open(const char *path, sm_error *err) {
  struct stat st;
  sm_error why = {0};
  sm_tar *t = sm_calloc(1, sizeof *t);
  if (t) t->fd = -1;
  if (!t || !(t->path = sm_strdup(path))) sm_fail(&why, SM_ENOMEM, "no memory to read an archive");
  else if ((t->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) < 0) sm_fail_errno(&why, errno, "open", path);
  else if (fstat(t->fd, &st)) sm_fail_errno(&why, errno, "examine", path);
  else if (!S_ISREG(st.st_mode)) sm_fail(&why, SM_EINVAL, "this is not a regular file");
  else t->bytes = (uint64_t)st.st_size;
  if (!why.code) return t;
  sm_fail_at(&why, path, 0, 0);
  if (err) *err = why;
  sm_tar_close(t);
  return NULL;
}

void sm_tar_close(sm_tar *t) {
  if (!t) return;
  if (t->fd >= 0) close(t->fd);
  sm_text_free(&t->name);
  sm_text_free(&t->given);
  sm_free(t->path);
  sm_free(t);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static sm_status tar_cut_short(const sm_tar *t, sm_error *err) {
  sm_fail(err, SM_EFORMAT, "the archive is cut short behind %llu bytes%s%.200s", (unsigned long long)t->bytes,
          t->name.len ? ", in or behind " : "", t->name.len ? t->name.s : "");
  return sm_hint(err, "copy it again, or make it anew");
}

static sm_status tar_get(const sm_tar *t, void *to, size_t bytes, uint64_t at, sm_error *err) {
  for (size_t got = 0; got < bytes;) {
    const ssize_t n = pread(t->fd, (char *)to + got, bytes - got, (off_t)(at + got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return sm_fail_errno(err, errno, "read", t->path);
    if (n == 0) return tar_cut_short(t, err);
    got += (size_t)n;
  }
  return SM_OK;
}

/* Octal digits between blanks, or GNU's binary form, whose first bit is set. */
static bool tar_number(const char *field, size_t n, uint64_t *value) {
  const unsigned char *byte = (const unsigned char *)field;
  size_t i = 0;
  *value = 0;
  if (byte[0] == 0x80) {
    for (i = 1; i < n; i++) {
      if (*value >> 55) return false;
      *value = *value << 8 | byte[i];
    }
    return true;
  }
  while (i < n && field[i] == ' ') i++;
  for (; i < n && field[i] >= '0' && field[i] <= '7'; i++) {
    if (*value >> 60) return false;
    *value = *value << 3 | (uint64_t)(field[i] - '0');
  }
  return i == n || field[i] == ' ' || field[i] == 0;
}

/* Some old programs added signed bytes. */
static bool tar_sum_fits(const tar_block *b) {
  const unsigned char *byte = (const unsigned char *)b;
  const size_t from = offsetof(tar_block, sum), to = from + sizeof b->sum;
  int64_t plain = 0, with_sign = 0;
  uint64_t said;
  for (size_t i = 0; i < sizeof *b; i++) {
    const int value = i >= from && i < to ? ' ' : byte[i];
    plain += value;
    with_sign += value < 128 ? value : value - 256;
  }
  return tar_number(b->sum, sizeof b->sum, &said) && ((int64_t)said == plain || (int64_t)said == with_sign);
}

static bool tar_is_zero(const tar_block *b) {
  static const tar_block zero;
  return !memcmp(b, &zero, sizeof zero);
}

static sm_status tar_damaged(const sm_tar *t, const tar_block *b, sm_error *err) {
  if (t->heads == 0) {
    sm_fail(err, SM_EFORMAT, "not a tar archive: it is %s", sm_signature(b, sizeof *b));
    return sm_hint(err, "a compressed archive must be unpacked once: pictures are read from their places in it");
  }
  sm_fail(err, SM_EFORMAT, "the archive is damaged at byte %llu, behind %.200s", (unsigned long long)t->at,
          t->name.len ? t->name.s : "its first head");
  return sm_hint(err, "copy it again, or make it anew");
}

static void tar_own_name(sm_tar *t, const tar_block *b) {
  t->name.len = 0;
  if (t->has_name) {
    sm_text_bytes(&t->name, t->given.s, t->given.len);
    return;
  }
  if (!memcmp(b->magic, "ustar\0", 6) && b->prefix[0]) /* GNU's heads have other things there */
    sm_text_add(&t->name, "%.*s/", (int)sizeof b->prefix, b->prefix);
  sm_text_add(&t->name, "%.*s", (int)sizeof b->name, b->name);
}

/* One pax record: "LENGTH KEY=VALUE\n". */
static bool tar_take_record(sm_tar *t, const char *key, size_t n, const char *value, size_t bytes) {
  if (n == 4 && !memcmp(key, "path", 4)) {
    t->given.len = 0;
    sm_text_bytes(&t->given, value, bytes);
    t->has_name = true;
    return !memchr(value, 0, bytes);
  }
  if (n > 11 && !memcmp(key, "GNU.sparse.", 11)) t->sparse = true;
  if (n != 4 || memcmp(key, "size", 4) != 0) return true;
  t->has_size = true;
  t->size = 0;
  for (size_t i = 0; i < bytes; i++) {
    if (value[i] < '0' || value[i] > '9' || t->size > UINT64_MAX / 16) return false;
    t->size = 10 * t->size + (uint64_t)(value[i] - '0');
  }
  return bytes > 0;
}

static bool tar_take_records(sm_tar *t, const char *at, const char *end) {
  while (at < end) {
    size_t length = 0;
    const char *p = at;
    for (; p < end && *p >= '0' && *p <= '9' && length < MOST_EXTRA; p++)
      length = 10 * length + (size_t)(*p - '0');
    if (p == at || p == end || *p != ' ' || length > (size_t)(end - at) || length < (size_t)(p - at) + 3)
      return false;
    const char *key = p + 1, *stop = at + length - 1, *is = memchr(key, '=', (size_t)(stop - key));
    if (*stop != '\n' || !is || !tar_take_record(t, key, (size_t)(is - key), is + 1, (size_t)(stop - is - 1)))
      return false;
    at += length;
  }
  return true;
}

/* What is said about the next member: GNU's long name, or pax records. */
static sm_status tar_take_extra(sm_tar *t, const tar_block *b, uint64_t bytes, sm_error *err) {
  char *data = bytes <= MOST_EXTRA ? sm_malloc((size_t)bytes + 1) : NULL;
  if (bytes > MOST_EXTRA) return tar_damaged(t, b, err);
  if (!data) return sm_fail(err, SM_ENOMEM, "no memory to read an archive");
  sm_status status = tar_get(t, data, (size_t)bytes, t->at, err);
  data[bytes] = 0;
  if (!status && b->type == 'L') {
    t->given.len = 0;
    sm_text_add(&t->given, "%s", data);
    t->has_name = true;
  } else if (!status && (b->type == 'x' || b->type == 'X') && !tar_take_records(t, data, data + bytes)) {
    status = tar_damaged(t, b, err);
  }
  sm_free(data);
  return status;
}

static bool tar_is_extra(char type) { return type && strchr("LKxXg", type) != NULL; }

static sm_status tar_step(sm_tar *t, sm_tar_member *m, bool *end, bool *found, sm_error *err) {
  tar_block b;
  uint64_t bytes;
  if (t->bytes - t->at < sizeof b && (t->heads || t->bytes == 0)) return tar_cut_short(t, err);
  memset(&b, 0, sizeof b);
  sm_status status = tar_get(t, &b, t->bytes < sizeof b ? (size_t)t->bytes : sizeof b, t->at, err);
  if (status) return status;
  if (t->bytes >= sizeof b && tar_is_zero(&b)) {
    *end = *found = true;
    return SM_OK;
  }
  if (t->bytes < sizeof b || !tar_sum_fits(&b) || !tar_number(b.size, sizeof b.size, &bytes))
    return tar_damaged(t, &b, err);
  const bool extra = tar_is_extra(b.type);
  if (!extra) tar_own_name(t, &b);
  if (t->name.failed || t->given.failed) return sm_fail(err, SM_ENOMEM, "no memory to read an archive");
  if (!extra && t->has_size) bytes = t->size;
  if (b.type && strchr("123456", b.type)) bytes = 0; /* links and folders may have a size, and yet no bytes */
  t->heads++;
  t->at += sizeof b;
  const uint64_t room = t->bytes - t->at;
  if (bytes > room || (bytes + sizeof b - 1) / sizeof b * sizeof b > room) return tar_cut_short(t, err);
  if (extra) status = tar_take_extra(t, &b, bytes, err);
  else if (b.type == 'S' || t->sparse) {
    sm_fail(err, SM_EUNSUPPORTED, "%.200s lies in the archive as a sparse file", t->name.s);
    status = sm_hint(err, "make it anew without --sparse");
  }
  *found = !extra && !status;
  if (*found)
    *m = (sm_tar_member){t->name.s, b.type == 0 || b.type == '0' || b.type == '7', b.type == '5', t->at, bytes};
  if (*found && m->regular && t->name.len && t->name.s[t->name.len - 1] == '/')
    m->regular = false, m->folder = true;
  t->at += (bytes + sizeof b - 1) / sizeof b * sizeof b;
  if (!extra) t->has_name = t->has_size = t->sparse = false;
  return status;
}

sm_status sm_tar_next(sm_tar *t, sm_tar_member *m, bool *end, sm_error *err) {
  sm_error why = {0};
  sm_status status = SM_OK;
  bool found = false;
  *end = false;
  while (!found && !status) status = tar_step(t, m, end, &found, &why);
  if (!status) return SM_OK;
  sm_fail_at(&why, t->path, 0, 0);
  if (err) *err = why;
  return why.code;
}

sm_status sm_tar_read(const sm_tar *t, const sm_tar_member *m, void *to, size_t n, size_t *got, sm_error *err) {
  *got = m->bytes < n ? (size_t)m->bytes : n;
  const sm_status status = tar_get(t, to, *got, m->at, err);
  if (status) sm_fail_at(err, t->path, 0, 0);
  return status;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

/* Where a name is cut in two for ustar: the place of a slash, 0: it fits whole, -1: not at all. */
static int tar_cut(const char *name, size_t n) {
  if (n <= 100) return 0;
  for (size_t i = n > 256 ? n : n - 101; i < n && i <= 155; i++)
    if (name[i] == '/' && i > 0 && i + 1 < n) return (int)i;
  return -1;
}

static void tar_put_block(sm_text *to, const char *name, size_t n, int cut, uint64_t bytes, char type) {
  tar_block b;
  unsigned sum = 0;
  memset(&b, 0, sizeof b);
  if (cut > 0) memcpy(b.prefix, name, (size_t)cut), name += cut + 1, n -= (size_t)cut + 1;
  memcpy(b.name, name, n < sizeof b.name ? n : sizeof b.name);
  memcpy(b.mode, "0000644", 8), memcpy(b.uid, "0000000", 8), memcpy(b.gid, "0000000", 8);
  snprintf(b.size, sizeof b.size, "%011llo", (unsigned long long)(bytes >> 33 ? 0 : bytes));
  memcpy(b.changed, "00000000000", 12);
  memset(b.sum, ' ', sizeof b.sum);
  b.type = type;
  memcpy(b.magic, "ustar\0" "00", 8);
  for (size_t i = 0; i < sizeof b; i++) sum += ((const unsigned char *)&b)[i];
  snprintf(b.sum, sizeof b.sum, "%06o", sum);
  sm_text_bytes(to, &b, sizeof b);
}

/* "LENGTH KEY=VALUE\n", where LENGTH counts itself. */
static void tar_add_record(sm_text *to, const char *key, const char *value) {
  const size_t rest = strlen(key) + strlen(value) + 3;
  size_t length = rest;
  for (int i = 0; i < 3; i++) length = rest + (size_t)snprintf(NULL, 0, "%zu", length);
  sm_text_add(to, "%zu %s=%s\n", length, key, value);
}

void sm_tar_head(sm_text *to, const char *name, uint64_t bytes) {
  static const char zeros[SM_TAR_BLOCK];
  const size_t n = strlen(name);
  const int cut = tar_cut(name, n);
  sm_text records = {0};
  char number[24];
  if (cut < 0) tar_add_record(&records, "path", name);
  snprintf(number, sizeof number, "%llu", (unsigned long long)bytes);
  if (bytes >> 33) tar_add_record(&records, "size", number);
  if (records.len) {
    tar_put_block(to, "pax", 3, 0, records.len, 'x');
    sm_text_bytes(to, records.s, records.len);
    sm_text_bytes(to, zeros, -records.len % SM_TAR_BLOCK);
  }
  to->failed |= records.failed;
  sm_text_free(&records);
  tar_put_block(to, name, n, cut, bytes, '0');
}

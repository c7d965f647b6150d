/* pth_zip.c — where the members of a zip archive lie, by its central directory alone.
 *
 * PyTorch stores members without compression and writes sizes behind the data (flag 8), so local headers are
 * asked only for their length. Everything else about an archive that torch.save does not write is refused:
 * compression, encryption, members over one another, several discs. zip64 is read (APPNOTE 4.3.14–15, 4.5.3). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "pth.h"

enum { END = 22, END64 = 56, LOCATOR = 20, ENTRY = 46, LOCAL = 30, LONGEST_COMMENT = 65535 };

typedef struct zip_scan {
  const unsigned char *map;
  uint64_t bytes;
  uint64_t at, size, count; /* of the central directory */
  pth_zip *zip;
  sm_error *err;
} zip_scan;

static uint64_t zip_number(const unsigned char *at, int bytes) {
  uint64_t value = 0;
  for (int i = bytes - 1; i >= 0; i--) value = value << 8 | at[i];
  return value;
}

static sm_status zip_bad(const zip_scan *z, const char *what) {
  sm_fail(z->err, SM_EFORMAT, "the zip archive is damaged: %s", what);
  return sm_hint(z->err, "the file was probably cut short or changed: copy or download it again");
}

/* ---- the end of the archive --------------------------------------------------------------------------- */

/* The end record is the one whose comment reaches exactly to the end of the file. */
static const unsigned char *zip_find_end(const zip_scan *z) {
  for (uint64_t back = END; back <= z->bytes && back <= END + LONGEST_COMMENT; back++) {
    const unsigned char *at = z->map + (z->bytes - back);
    if (!memcmp(at, "PK\5\6", 4) && zip_number(at + 20, 2) == back - END) return at;
  }
  return NULL;
}

static sm_status zip_read_end64(zip_scan *z, uint64_t end_at) {
  if (end_at < LOCATOR) return zip_bad(z, "the zip64 locator is missing");
  const unsigned char *locator = z->map + end_at - LOCATOR;
  if (memcmp(locator, "PK\6\7", 4) != 0) return zip_bad(z, "the zip64 locator is missing");
  const uint64_t at = zip_number(locator + 8, 8);
  if (at > end_at - LOCATOR || end_at - LOCATOR - at < END64)
    return zip_bad(z, "the zip64 end record lies outside the file");
  const unsigned char *end = z->map + at;
  if (memcmp(end, "PK\6\6", 4) != 0) return zip_bad(z, "there is no zip64 end record");
  if (zip_number(end + 16, 4) || zip_number(end + 20, 4) || zip_number(end + 24, 8) != zip_number(end + 32, 8))
    return zip_bad(z, "it is a part of several");
  z->count = zip_number(end + 32, 8);
  z->size = zip_number(end + 40, 8);
  z->at = zip_number(end + 48, 8);
  return SM_OK;
}

static sm_status zip_read_end(zip_scan *z) {
  const unsigned char *end = zip_find_end(z);
  if (!end) return zip_bad(z, "it has no end record");
  const uint64_t end_at = (uint64_t)(end - z->map);
  z->count = zip_number(end + 10, 2);
  z->size = zip_number(end + 12, 4);
  z->at = zip_number(end + 16, 4);
  if (zip_number(end + 4, 2) || zip_number(end + 6, 2) || zip_number(end + 8, 2) != z->count)
    return zip_bad(z, "it is a part of several");
  if (z->count == 0xffff || z->size == 0xffffffff || z->at == 0xffffffff) {
    sm_status status = zip_read_end64(z, end_at);
    if (status) return status;
  }
  if (z->at > end_at || z->size > end_at - z->at) return zip_bad(z, "its directory lies outside the file");
  if (z->count > PTH_MEMBERS_MAX || z->count > z->size / ENTRY)
    return zip_bad(z, "its directory is too small for the members it counts");
  return SM_OK;
}

/* ---- members ------------------------------------------------------------------------------------------ */

/* Sizes and place that do not fit into 32 bits stand in the extra field 1, in this order, those only. */
static sm_status zip_read_extra(const zip_scan *z, const unsigned char *extra, size_t n, uint64_t *const wide[3]) {
  bool wanted = *wide[0] == 0xffffffff || *wide[1] == 0xffffffff || *wide[2] == 0xffffffff;
  for (size_t at = 0; at + 4 <= n;) {
    const size_t tag = (size_t)zip_number(extra + at, 2), length = (size_t)zip_number(extra + at + 2, 2);
    at += 4;
    if (length > n - at) return zip_bad(z, "an extra field is cut short");
    size_t used = 0;
    for (int i = 0; tag == 1 && wanted && i < 3; i++) {
      if (*wide[i] != 0xffffffff) continue;
      if (length - used < 8) return zip_bad(z, "a zip64 extra field is cut short");
      *wide[i] = zip_number(extra + at + used, 8);
      used += 8;
    }
    if (tag == 1) wanted = false;
    at += length;
  }
  return wanted ? zip_bad(z, "a zip64 extra field is missing") : SM_OK;
}

static sm_status zip_check_name(const zip_scan *z, const char *name, size_t n) {
  if (!n) return zip_bad(z, "a member has no name");
  for (size_t i = 0; i < n; i++)
    if (!name[i] || name[i] == '\\') return zip_bad(z, "a member's name holds a NUL byte or a backslash");
  return SM_OK;
}

/* Where the data begins says the local header: behind its own name and extra field. */
static sm_status zip_read_local(const zip_scan *z, pth_member *m) {
  if (m->header_at >= z->at || z->at - m->header_at < LOCAL)
    return zip_bad(z, "a member lies outside the file");
  const unsigned char *local = z->map + m->header_at;
  if (memcmp(local, "PK\3\4", 4) != 0) return zip_bad(z, "a member has no local header");
  const uint64_t name = zip_number(local + 26, 2), extra = zip_number(local + 28, 2);
  m->at = m->header_at + LOCAL + name + extra;
  if (m->at > z->at || m->bytes > z->at - m->at) return zip_bad(z, "a member reaches beyond the file");
  if (name != m->name_bytes || memcmp(local + LOCAL, m->name, name) != 0)
    return zip_bad(z, "a member has two names");
  return SM_OK;
}

static sm_status zip_read_member(const zip_scan *z, const unsigned char *entry, uint64_t left, pth_member *m,
                                 uint64_t *length) {
  if (left < ENTRY || memcmp(entry, "PK\1\2", 4) != 0) return zip_bad(z, "its directory ends too early");
  const uint64_t name = zip_number(entry + 28, 2), extra = zip_number(entry + 30, 2),
                 comment = zip_number(entry + 32, 2);
  *length = ENTRY + name + extra + comment;
  if (*length > left) return zip_bad(z, "its directory ends too early");
  uint64_t packed = zip_number(entry + 20, 4);
  *m = (pth_member){.name = (const char *)entry + ENTRY,
                    .name_bytes = (size_t)name,
                    .bytes = zip_number(entry + 24, 4),
                    .header_at = zip_number(entry + 42, 4),
                    .crc = (uint32_t)zip_number(entry + 16, 4)};
  sm_status status = zip_check_name(z, m->name, m->name_bytes);
  if (!status)
    status = zip_read_extra(z, entry + ENTRY + name, (size_t)extra,
                            (uint64_t *const[3]){&m->bytes, &packed, &m->header_at});
  if (status) return status;
  if (zip_number(entry + 8, 2) & 1)
    return sm_fail(z->err, SM_EUNSUPPORTED, "the zip archive is encrypted");
  if (zip_number(entry + 10, 2) || packed != m->bytes) {
    sm_fail(z->err, SM_EUNSUPPORTED, "the zip archive is compressed, which torch.save never does");
    return sm_hint(z->err, "unpack it and pack it again without compression: zip -0 -r FILE FOLDER");
  }
  return zip_read_local(z, m);
}

static int zip_compare_places(const void *a, const void *b) {
  const pth_member *x = a, *y = b;
  return x->header_at != y->header_at ? (x->header_at < y->header_at ? -1 : 1) : 0;
}

static int zip_compare_names(const void *a, const void *b) {
  const pth_member *x = *(const pth_member *const *)a, *y = *(const pth_member *const *)b;
  const size_t n = x->name_bytes < y->name_bytes ? x->name_bytes : y->name_bytes;
  const int order = memcmp(x->name, y->name, n);
  return order ? order : (x->name_bytes > y->name_bytes) - (x->name_bytes < y->name_bytes);
}

static sm_status zip_check_members(const zip_scan *z) {
  pth_zip *zip = z->zip;
  const pth_member **names = zip->by_name = sm_malloc((zip->count + 1) * sizeof *names);
  if (!names) return sm_fail(z->err, SM_ENOMEM, "no memory for the archive's directory");
  sm_status status = SM_OK;
  for (size_t i = 0; i < zip->count; i++) {
    names[i] = &zip->member[i];
    if (i && zip->member[i].header_at < zip->member[i - 1].at + zip->member[i - 1].bytes)
      status = zip_bad(z, "two members lie over one another");
  }
  if (zip->count) qsort(names, zip->count, sizeof *names, zip_compare_names);
  for (size_t i = 1; !status && i < zip->count; i++)
    if (!zip_compare_names(&names[i - 1], &names[i])) status = zip_bad(z, "two members have one name");
  return status;
}

sm_status sm_pth_zip_read(const unsigned char *map, uint64_t bytes, pth_zip *zip, sm_error *err) {
  zip_scan z = {.map = map, .bytes = bytes, .zip = zip, .err = err};
  *zip = (pth_zip){0};
  sm_status status = zip_read_end(&z);
  if (status) return status;
  if (!(zip->member = sm_calloc((size_t)z.count + 1, sizeof *zip->member)))
    return sm_fail(err, SM_ENOMEM, "no memory for the archive's directory");
  const unsigned char *entry = map + z.at;
  uint64_t left = z.size, length = 0;
  for (uint64_t i = 0; !status && i < z.count; i++, entry += length, left -= length) {
    status = zip_read_member(&z, entry, left, &zip->member[i], &length);
    if (status) break;
    zip->count++;
  }
  if (!status && left) status = zip_bad(&z, "its directory holds more members than are counted");
  if (status) return status;
  if (zip->count) qsort(zip->member, zip->count, sizeof *zip->member, zip_compare_places);
  return zip_check_members(&z);
}

const pth_member *sm_pth_zip_find(const pth_zip *zip, const char *name, size_t n) {
  const pth_member wanted = {.name = name, .name_bytes = n}, *one = &wanted;
  const pth_member **found =
      zip->count ? bsearch(&one, zip->by_name, zip->count, sizeof *zip->by_name, zip_compare_names) : NULL;
  return found ? *found : NULL;
}

void sm_pth_zip_free(pth_zip *zip) {
  sm_free(zip->member);
  sm_free(zip->by_name);
  *zip = (pth_zip){0};
}

/* ---- checksums ---------------------------------------------------------------------------------------- */

/* CRC-32 of zip (the reflected polynomial 0xEDB88320), a byte at a time in four tables. */
uint32_t sm_pth_crc32(const void *data, size_t bytes) {
  uint32_t table[4][256], crc = ~0u;
  const unsigned char *at = data;
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; bit++) c = c & 1 ? c >> 1 ^ 0xEDB88320u : c >> 1;
    table[0][i] = c;
  }
  for (int t = 1; t < 4; t++)
    for (int i = 0; i < 256; i++) table[t][i] = table[t - 1][i] >> 8 ^ table[0][table[t - 1][i] & 255];
  for (; bytes >= 4; bytes -= 4, at += 4) {
    crc ^= (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
    crc = table[3][crc & 255] ^ table[2][crc >> 8 & 255] ^ table[1][crc >> 16 & 255] ^ table[0][crc >> 24];
  }
  while (bytes--) crc = crc >> 8 ^ table[0][(crc ^ *at++) & 255];
  return ~crc;
}

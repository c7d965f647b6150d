/* signature.c — the formats that people give by mistake, told apart by their first bytes: for messages of
 * those who read pictures, weights, recipes and packed files. */
#include "signature.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

static const char lfs_begin[] = "version https://git-lfs";

static const char unknown[] = "of no known format", plain[] = "a text file", json[] = "a JSON file";

static const struct {
  const char *name;
  size_t at, length;
  const char *bytes;
} signatures[] = {
    {"a JPEG picture", 0, 3, "\xff\xd8\xff"},
    {"a PNG picture", 0, 8, "\x89PNG\r\n\x1a\n"},
    {"a GIF picture", 0, 4, "GIF8"},
    {"a WebP picture", 8, 4, "WEBP"},
    {"a TIFF picture", 0, 4, "II*\0"},
    {"a TIFF picture", 0, 4, "MM\0*"},
    {"a BMP picture", 0, 2, "BM"},
    {"an AVIF picture", 4, 8, "ftypavif"},
    {"a HEIF picture", 4, 8, "ftypheic"},
    {"a HEIF picture", 4, 8, "ftypmif1"},
    {"a video", 4, 4, "ftyp"},
    {"a JPEG 2000 picture", 4, 8, "jP  \r\n\x87\n"},
    {"a JPEG XL picture", 0, 2, "\xff\x0a"},
    {"a Photoshop file", 0, 4, "8BPS"},
    {"a PDF file", 0, 4, "%PDF"},
    {"a gzip archive", 0, 2, "\x1f\x8b"},
    {"a bzip2 archive", 0, 3, "BZh"},
    {"an xz archive", 0, 6, "\xfd\067zXZ\0"},
    {"a Zstandard archive", 0, 4, "\x28\xb5\x2f\xfd"},
    {"a 7z archive", 0, 6, "7z\xbc\xaf\x27\x1c"},
    {"a RAR archive", 0, 4, "Rar!"},
    {"a tar archive", 257, 5, "ustar"},
    {"a NumPy array", 0, 6, "\x93NUMPY"},
    {"an HDF5 file", 0, 8, "\x89HDF\r\n\x1a\n"},
    {"a GGUF file", 0, 4, "GGUF"},
    {"a packed file of pictures", 0, 8, "\x89SMPK\r\n\x1a"},
    {"a program", 0, 4, "\177ELF"},
    {"a Git LFS pointer, not the file itself", 0, sizeof lfs_begin - 1, lfs_begin},
};

static bool signature_begins(const uint8_t *data, size_t bytes, const char *word) {
  size_t n = strlen(word);
  if (bytes < n) return false;
  for (size_t i = 0; i < n; i++)
    if (tolower(data[i]) != word[i]) return false;
  return true;
}

static bool signature_is_text(const uint8_t *data, size_t bytes) {
  size_t n = bytes < 512 ? bytes : 512;
  for (size_t i = 0; i < n; i++)
    if ((data[i] < 32 && !isspace(data[i])) || data[i] >= 127) return false;
  return true;
}

/* The name of the first member of a ZIP archive, which tells what it is one of. */
static bool signature_zip_member(const uint8_t *data, size_t bytes, const char *end) {
  size_t n = bytes >= 30 ? (size_t)(data[26] | data[27] << 8) : 0, m = strlen(end);
  return n >= m && bytes >= 30 + n && !memcmp(data + 30 + n - m, end, m);
}

static bool signature_is_zip(const uint8_t *data, size_t bytes) {
  return bytes >= 4 && !memcmp(data, "PK\3\4", 4);
}

bool sm_signature_lfs(const void *data, size_t bytes) {
  return bytes >= sizeof lfs_begin - 1 && !memcmp(data, lfs_begin, sizeof lfs_begin - 1);
}

/* Today a ZIP archive that begins with NAME/data.pkl; before, a pickle that begins with PyTorch's number. */
bool sm_signature_torch(const void *data, size_t bytes) {
  static const char before[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
  if (bytes >= sizeof before - 1 && !memcmp(data, before, sizeof before - 1)) return true;
  return signature_is_zip(data, bytes) && signature_zip_member(data, bytes, "data.pkl");
}

static const char *signature_of_text(const uint8_t *text, size_t bytes) {
  const uint8_t *all = text;
  size_t left = bytes;
  while (left > 0 && isspace(*text)) text++, left--;
  if (signature_begins(text, left, "<!doctype html") || signature_begins(text, left, "<html"))
    return "an HTML page";
  if (signature_begins(text, left, "<?xml") || signature_begins(text, left, "<svg"))
    return "an XML or SVG file";
  if (!signature_is_text(all, bytes)) return unknown;
  return left > 0 && *text == '{' ? json : plain;
}

const char *sm_signature(const void *memory, size_t bytes) {
  const uint8_t *data = memory;
  if (bytes == 0) return "an empty file";
  if (sm_signature_torch(data, bytes)) return "a PyTorch file";
  if (signature_is_zip(data, bytes))
    return signature_zip_member(data, bytes, ".npy") ? "a NumPy .npz archive" : "a ZIP archive";
  for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++) {
    size_t end = signatures[i].at + signatures[i].length;
    if (bytes >= end && !memcmp(data + signatures[i].at, signatures[i].bytes, signatures[i].length))
      return signatures[i].name;
  }
  if (bytes >= 2 && data[0] == 0x80 && data[1] >= 2 && data[1] <= 5) return "a Python pickle";
  return signature_of_text(data, bytes);
}

bool sm_signature_known(const void *data, size_t bytes) {
  const char *name = sm_signature(data, bytes);
  return name != unknown && name != plain && name != json;
}

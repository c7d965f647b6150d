/* packed_format.h — the structs of a packed file as they lie on disk; see smalti/packed.h. Private to the two
 * files that write and read it. */
#ifndef SMALTI_FORMATS_PACKED_FORMAT_H
#define SMALTI_FORMATS_PACKED_FORMAT_H

#include <smalti/packed.h>

#define PACKED_MAGIC "\x89SMPK\r\n\x1a"
enum { PACKED_MAGIC_BYTES = 8, PACKED_MOST_SIDE = 65535 };

typedef struct packed_header {
  char magic[PACKED_MAGIC_BYTES];
  uint32_t version, crc;
  uint64_t file_bytes, pictures;
  uint32_t classes, zero;
  uint64_t index_at, names_bytes, zeros;
} packed_header;

typedef struct packed_entry {
  uint64_t pixels_at, name_at;
  uint32_t width, height;
  int32_t label;
  uint32_t crc;
} packed_entry;

_Static_assert(sizeof(packed_header) == 64 && sizeof(packed_entry) == 32, "the format has no padding");

#endif

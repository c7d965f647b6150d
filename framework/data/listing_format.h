/* listing_format.h — the header of an index file as it lies on disk; see smalti/listing.h. Private to the
 * file that writes and reads it, and to its tests. */
#ifndef SMALTI_DATA_LISTING_FORMAT_H
#define SMALTI_DATA_LISTING_FORMAT_H

#include <stdint.h>

#define LISTING_MAGIC "\x89SMIX\r\n\x1a"

typedef struct listing_header {
  char magic[8];
  uint32_t version, crc;
  uint64_t file_bytes, pictures;
  uint32_t folders, shards;
  uint64_t entries_bytes;
  uint32_t webp, single;
  uint64_t zeros;
} listing_header;

_Static_assert(sizeof(listing_header) == 64, "the format has no padding");

#endif

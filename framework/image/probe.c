/* probe.c — what the beginning of a JPEG, PNG or WebP file says about size and orientation, read without a decoder:
 * for listing folders quickly and for applying EXIF orientation. Everything in the file is doubted; nothing
 * is read beyond `bytes`. */
#include "planes.h"

#include <string.h>

static unsigned probe_big16(const uint8_t *p) { return (unsigned)p[0] << 8 | p[1]; }
static uint32_t probe_big32(const uint8_t *p) { return (uint32_t)probe_big16(p) << 16 | probe_big16(p + 2); }

/* ---- EXIF ---------------------------------------------------------------------------------------------- */

typedef struct tiff_block {
  const uint8_t *data;
  size_t bytes;
  bool little;
} tiff_block;

static uint32_t probe_tiff16(const tiff_block *t, size_t at) {
  const uint8_t *p = t->data + at;
  return t->little ? (uint32_t)p[1] << 8 | p[0] : (uint32_t)probe_big16(p);
}

static uint32_t probe_tiff32(const tiff_block *t, size_t at) {
  return t->little ? probe_tiff16(t, at + 2) << 16 | probe_tiff16(t, at)
                   : probe_tiff16(t, at) << 16 | probe_tiff16(t, at + 2);
}

/* Only the first directory is looked at, so a chain of directories cannot loop. */
int sm_exif_orientation(const uint8_t *data, size_t bytes) {
  tiff_block t = {data, bytes, bytes > 0 && data[0] == 'I'};
  if (bytes < 8 || (memcmp(data, "II*\0", 4) != 0 && memcmp(data, "MM\0*", 4) != 0)) return 1;
  size_t at = probe_tiff32(&t, 4);
  if (at > bytes - 2) return 1;
  size_t entries = probe_tiff16(&t, at);
  for (at += 2; entries > 0 && at + 12 <= bytes; entries--, at += 12) {
    if (probe_tiff16(&t, at) != 0x0112) continue;
    uint32_t type = probe_tiff16(&t, at + 2), count = probe_tiff32(&t, at + 4),
             value = probe_tiff16(&t, at + 8);
    return type == 3 && count == 1 && value >= 1 && value <= 8 ? (int)value : 1;
  }
  return 1;
}

/* ---- JPEG ---------------------------------------------------------------------------------------------- */

static bool probe_is_frame_header(int marker) { /* SOF0 … SOF15 without DHT, JPG and DAC */
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

sm_image_probe sm_jpeg_probe(const uint8_t *data, size_t bytes) {
  sm_image_probe said = {.orientation = 1};
  bool oriented = false;
  size_t at = 2;
  while (!said.found) {
    while (at < bytes && data[at] != 0xFF) at++; /* rubbish between segments, as libjpeg skips it */
    while (at < bytes && data[at] == 0xFF) at++;
    if (at + 3 > bytes) {
      said.needs_more = true;
      return said;
    }
    int marker = data[at++];
    if (marker == 0 || marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8)) continue; /* no length follows */
    if (marker == 0xD9 || marker == 0xDA) return said; /* end or data before a frame header */
    size_t length = probe_big16(data + at);
    if (length < 2) length = 2;                               /* libjpeg goes on behind the length field */
    size_t here = length <= bytes - at ? length : bytes - at; /* what is there of the segment */
    if (probe_is_frame_header(marker) && here >= 7) {
      said.height = (int)probe_big16(data + at + 3);
      said.width = (int)probe_big16(data + at + 5);
      said.found = true;
    } else if (marker == 0xE1 && !oriented && here >= 8 && memcmp(data + at + 2, "Exif\0", 5) == 0) {
      if (here < length) {
        said.needs_more = true;
        return said;
      }
      said.orientation = sm_exif_orientation(data + at + 8, length - 8);
      oriented = true;
    }
    at += length;
  }
  return said;
}

/* ---- PNG ----------------------------------------------------------------------------------------------- */

/* Chunks: length, type, data, check sum. IHDR is the first; an eXIf chunk before the picture data gives the
 * orientation. */
sm_image_probe sm_png_probe(const uint8_t *data, size_t bytes) {
  sm_image_probe said = {.orientation = 1};
  size_t at = 8;
  while (at + 8 <= bytes) {
    size_t length = probe_big32(data + at), room = bytes - at - 8;
    const uint8_t *type = data + at + 4;
    if (at == 8) {
      uint32_t width, height;
      if (memcmp(type, "IHDR", 4) != 0 || length != 13) return said;
      if (room < 13) break;
      width = probe_big32(data + at + 8);
      height = probe_big32(data + at + 12);
      said.width = width <= INT32_MAX ? (int)width : INT32_MAX;
      said.height = height <= INT32_MAX ? (int)height : INT32_MAX;
      said.found = true;
    }
    if (memcmp(type, "IDAT", 4) == 0 || memcmp(type, "IEND", 4) == 0) return said;
    if (memcmp(type, "eXIf", 4) == 0) {
      if (room < length) break;
      said.orientation = sm_exif_orientation(data + at + 8, length);
      return said;
    }
    if (length > 0x7fffffff) return said;
    at += 12 + length;
  }
  said.needs_more = true;
  return said;
}

/* ---- WebP ---------------------------------------------------------------------------------------------- */

static uint32_t probe_little(const uint8_t *p, int bytes) {
  uint32_t v = 0;
  for (int i = 0; i < bytes; i++) v |= (uint32_t)p[i] << 8 * i;
  return v;
}

/* The size in the first chunk: of the canvas (VP8X), of a lossless picture (VP8L), of a lossy one (VP8). */
static void probe_webp_size(const uint8_t *type, const uint8_t *data, size_t room, sm_image_probe *said) {
  if (!memcmp(type, "VP8X", 4) && room >= 10) {
    said->width = 1 + (int)probe_little(data + 4, 3);
    said->height = 1 + (int)probe_little(data + 7, 3);
    said->found = true;
  } else if (!memcmp(type, "VP8L", 4) && room >= 5 && data[0] == 0x2f) {
    const uint32_t bits = probe_little(data + 1, 4);
    said->width = 1 + (int)(bits & 0x3fff);
    said->height = 1 + (int)(bits >> 14 & 0x3fff);
    said->found = true;
  } else if (!memcmp(type, "VP8 ", 4) && room >= 10 && !memcmp(data + 3, "\x9d\x01\x2a", 3)) {
    said->width = (int)(probe_little(data + 6, 2) & 0x3fff);
    said->height = (int)(probe_little(data + 8, 2) & 0x3fff);
    said->found = true;
  }
}

/* RIFF: chunks of type, length, data, filled up to an even length. Only a picture with VP8X may have an EXIF chunk, which
 * stands behind the picture. */
sm_image_probe sm_webp_probe(const uint8_t *data, size_t bytes) {
  sm_image_probe said = {.orientation = 1};
  bool exif = false;
  size_t at = 12;
  for (; at + 8 <= bytes; at += 8) {
    const uint8_t *type = data + at, *body = data + at + 8;
    const size_t room = bytes - at - 8, length = probe_little(data + at + 4, 4);
    if (at == 12) {
      if (room < 10) break;
      probe_webp_size(type, body, room, &said);
      exif = !memcmp(type, "VP8X", 4) && (body[0] & 8);
      if (!said.found || !exif) return said;
    }
    if (!memcmp(type, "EXIF", 4)) {
      if (room < length) break;
      const size_t head = length >= 6 && !memcmp(body, "Exif\0", 6) ? 6 : 0;
      said.orientation = sm_exif_orientation(body + head, length - head);
      return said;
    }
    if (length > room) break;
    at += length + (length & 1);
  }
  said.needs_more = true;
  return said;
}

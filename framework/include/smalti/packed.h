/* smalti/packed.h — a packed file: decoded pictures side by side in one file, to be mapped into memory
 * instead of read and decoded.
 *
 * `smalti data pack` writes such files and the dataset `packed` trains from them; any other program may do
 * either. All numbers are little-endian. The file is, in this order:
 *
 *   header    64 bytes
 *               0  8 bytes  magic 89 53 4d 50 4b 0d 0a 1a
 *               8  u32      version of the format: 1
 *              12  u32      CRC-32C of the header, with these four bytes as zeros, the index and the names
 *              16  u64      bytes of the whole file
 *              24  u64      pictures n, 1 … 2^31 - 1
 *              32  u32      classes c
 *              36  u32      0
 *              40  u64      where the index begins, a multiple of 64
 *              48  u64      bytes of the names
 *              56  u64      0
 *   pixels    8-bit R G B, rows from the top, without padding; each picture begins at a multiple of 64
 *   index     n entries of 32 bytes
 *               0  u64      where the pixels begin, from the start of the file
 *               8  u64      where the picture's name begins, from the start of the names
 *              16  u32      width, 1 … 65535
 *              20  u32      height, 1 … 65535
 *              24  i32      class, 0 … c-1, or -1: none
 *              28  u32      CRC-32C of the pixels
 *   names     the classes' names in their order, then the pictures', each ended by a zero byte; to the file's
 *             end
 *
 * Equal pictures give equal bytes. A reader refuses versions that it does not know. */
#ifndef SMALTI_PACKED_H
#define SMALTI_PACKED_H

#include <smalti/base.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SM_PACKED_VERSION 1
#define SM_PACKED_ALIGN 64 /* bytes */

/* ---- writing ------------------------------------------------------------------------------------------- */

/*   sm_packed_writer *w = sm_packed_create("birds.pack", err);
 *   sm_packed_class(w, "owl");                                           … all classes …
 *   sm_packed_add(w, &(sm_packed_picture){"owl/1.jpg", 500, 375, 0, rgb}); … all pictures …
 *   status = sm_packed_finish(w, NULL, err);
 *
 * The file appears at `path` whole and synced, or not at all (sm_file). Errors are sticky: the first one is
 * remembered, later calls return its status and do nothing, and finish reports it. `w` may be NULL everywhere
 * (after a failed create). */
typedef struct sm_packed_writer sm_packed_writer;

typedef struct sm_packed_picture {
  const char *name;   /* any bytes but zero */
  int width, height;  /* 1 … 65535 */
  int32_t label;      /* class, or -1 */
  const uint8_t *rgb; /* 3·width·height bytes */
} sm_packed_picture;

sm_packed_writer *sm_packed_create(const char *path, sm_error *); /* NULL on error */
sm_status sm_packed_class(sm_packed_writer *, const char *name);
sm_status sm_packed_add(sm_packed_writer *, const sm_packed_picture *); /* all of it is copied */
/* Frees the writer in every case; `bytes` (may be NULL) is the size of the file. */
sm_status sm_packed_finish(sm_packed_writer *, uint64_t *bytes, sm_error *);
void sm_packed_abort(sm_packed_writer *); /* leaves no file; frees; NULL is allowed */

/* ---- reading ------------------------------------------------------------------------------------------- */

/* An open file, mapped. After open any number of threads may read. The file must not be cut or written to
 * while it is open; replacing it by rename is harmless. What can no longer be read reads as zeros, and then
 * sm_packed_pixels, and the loaders before they give a batch out, fail with SM_EIO. */
typedef struct sm_packed sm_packed;

/* Does the file begin as a packed file does? For telling it from others; nothing else is checked. */
bool sm_packed_is(const char *path);

/* Checks header, index and names completely, and their checksum; the pixels' checksums wait for
 * sm_packed_pixels. SM_ENOTFOUND, SM_EIO: it cannot be read; SM_EFORMAT: not a packed file, cut short, or
 * damaged; SM_EUNSUPPORTED: of a version that this smalti does not know. The error's place is the path. */
sm_packed *sm_packed_open(const char *path, sm_error *); /* NULL on error */
void sm_packed_close(sm_packed *);                       /* NULL is allowed */

int64_t sm_packed_count(const sm_packed *);
int sm_packed_classes(const sm_packed *);
const char *sm_packed_class_name(const sm_packed *, int c);
/* The picture without looking at its pixels. Everything points into the file. */
sm_packed_picture sm_packed_at(const sm_packed *, int64_t index);
/* Its pixels, compared with their checksum when they are asked for the first
 * time. NULL, SM_EFORMAT: damaged; SM_EIO: the file was cut or its disk failed. */
const uint8_t *sm_packed_pixels(const sm_packed *, int64_t index, sm_error *);
/* Of everything in the file, pixels included (through their checksums). */
uint64_t sm_packed_hash(const sm_packed *);

#ifdef __cplusplus
}
#endif
#endif

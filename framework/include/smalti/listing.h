/* smalti/listing.h — the pictures below a folder or in tar shards, listed: which they are, their order, classes and
 * hash, in a dozen bytes a picture; and the index file that keeps such a list, to be mapped instead of made anew.
 *
 * The datasets `folder` and `tar` are this and a way to read a picture. Both give one order: byte order of names at
 * every level, folders where their name stands; with classes first the pictures beside the class folders, then class
 * after class. So the same pictures below a folder and in shards are the same list, with the same hash.
 *
 * Shards may have labels of their own: a member KEY.cls beside KEY.jpg in its shard, which holds a class number as
 * text. KEY is the picture's name up to a dot; the longest one that has a label counts.
 *
 * `smalti data index` writes index files. All numbers are little-endian. The file is, in this order:
 *
 *   header    64 bytes
 *               0  8 bytes  magic 89 53 4d 49 58 0d 0a 1a
 *               8  u32      version of the format: 1; 2 where pictures have class numbers
 *              12  u32      CRC-32C of the header, with these four bytes as zeros, and of all behind it
 *              16  u64      bytes of the whole file
 *              24  u64      pictures, 1 … 2^31 - 1
 *              32  u32      folders, the root among them
 *              36  u32      shards; 0: the pictures are files
 *              40  u64      bytes of the entries
 *              48  u32      1: files named .webp are among the pictures; 0: they were passed over
 *              52  u32      1: the root is no folder, but the only shard
 *              56  u64      0
 *   folders   16 bytes each: the root, then breadth first, those of one folder in the order of their entries
 *               0  i64      time of its last change, ns since 1970; with shards that of their folder, then 0
 *               8  u32      entries: pictures and sub-folders
 *              12  u32      0
 *   shards    32 bytes each
 *               0  i64      time of its last change, ns
 *               8  u64      bytes
 *              16  u64      where its name begins, from the start of the shards' names
 *              24  u64      0
 *   entries   of the folders one after the other, each folder's in byte order of their names
 *               u8          how many bytes the name shares with that before it; 0 in each 16th of a folder, from its first
 *               bytes, 0    the rest of the name; names are 1 … 255 bytes without '/' and do not begin with '.'
 *               number      0: a sub-folder; 1: a link that leads nowhere; 2: size unknown; else bytes + 3. Numbers have 7
 *                           bits a byte, the lowest first; each byte but the last has its highest bit set
 *               2 numbers   of a picture in shards: which one, and where its bytes begin, in units of 512
 *               number      of a picture in version 2: 0: it has no label; 1: a label that is no class number; else
 *                           class + 2
 *   names     of the shards, as seen from their folder, each ended by a zero byte; to the file's end
 *
 * Equal lists give equal bytes but for the times. A reader refuses versions that it does not know. */
#ifndef SMALTI_LISTING_H
#define SMALTI_LISTING_H

#include <smalti/base.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SM_LISTING_VERSION 2 /* the newest that is read */
#define SM_LISTING_SUFFIX ".smalti-index" /* of a folder's index, which lies beside it */

/* Made and arranged by one thread; then any number of them may read. */
typedef struct sm_listing sm_listing;

/* ---- making -------------------------------------------------------------------------------------------- */

/* The pictures below a folder, looked for now, several folders at a time: names as the dataset `folder`
 * takes them, hidden ones left out, links followed, a link back to a folder above it skipped. NULL on
 * error: SM_ENOTFOUND, SM_EIO for a folder that cannot be read, SM_EINVAL for one too deep, SM_ENOMEM. A
 * listing without any picture is no error. */
sm_listing *sm_listing_folder(const char *path, sm_error *);

/* The pictures in tar shards: in `path`, or in the files called .tar in the folder `path`, whose heads are
 * read now, several shards at a time. Members lie in the folders that their names say; later ones of a
 * shard replace earlier ones. NULL on error: as above, and SM_EFORMAT for what is no archive, is damaged
 * or cut short, or for a picture that is in two shards. */
sm_listing *sm_listing_tar(const char *path, sm_error *);

/* What `path`'s index says: mapped, its checksum and every entry checked, and its folders (or shards)
 * compared with what is there now, one look at each. A picture that was overwritten in place, under its
 * name, goes unseen. NULL on error: SM_ENOTFOUND, SM_EIO; SM_EFORMAT: no index, damaged, or out of date,
 * with the folder that has changed; SM_EUNSUPPORTED: of a version that this smalti does not know. The
 * error's place is `file`, which must not be written to while it is open; replacing it by rename is
 * harmless. */
sm_listing *sm_listing_open(const char *path, const char *file, sm_error *);
/* The comparison alone, also of a listing that was just made: did something change meanwhile? */
sm_status sm_listing_check(const sm_listing *, sm_error *);
sm_status sm_listing_save(const sm_listing *, const char *file, sm_error *); /* whole or not at all (sm_file) */
/* The bytes of an index file, appended; and a listing of `path` made of them, as sm_listing_open makes one. The bytes are
 * copied. */
sm_status sm_listing_write(const sm_listing *, sm_text *to, sm_error *);
sm_listing *sm_listing_read(const char *path, const void *bytes, size_t n, sm_error *);
/* The name of the index beside a folder, its slashes at the end left out; arena memory, or NULL. */
char *sm_listing_file(sm_arena *, const char *path);
void sm_listing_free(sm_listing *); /* NULL is allowed */

/* ---- what it holds ------------------------------------------------------------------------------------- */

int64_t sm_listing_found(const sm_listing *); /* pictures, whatever the arrangement */
int64_t sm_listing_folders(const sm_listing *);
int64_t sm_listing_shards(const sm_listing *); /* 0: the pictures are files */
bool sm_listing_numbered(const sm_listing *); /* a picture has a label of its own */
int64_t sm_listing_others(const sm_listing *); /* files passed over for their names; 0 from an index */
const char *sm_listing_endings(void);         /* of names that are pictures: ".jpg, … and .png" */
/* Says in the log how many, and with which endings; says which links were skipped. */
void sm_listing_tell(const sm_listing *);

/* ---- arranging ----------------------------------------------------------------------------------------- */

enum { SM_LISTING_CLASSES = 1 << 20 }; /* above every class number */

typedef enum sm_listing_by {
  SM_LISTING_BY_NOTHING, /* no classes */
  /* the root's sub-folders, an empty one too, so that the same folders give the same numbers in every split; they are
   * none where no sub-folder holds a picture */
  SM_LISTING_BY_FOLDER,
  SM_LISTING_BY_NUMBER /* what the pictures' labels say: 0 … the largest, which are also the classes' names */
} sm_listing_by;

/* Before any of the following. limit: only the first pictures of each class; 0 takes all. Tells empty classes and
 * pictures without a class in the log. SM_ENOMEM; SM_EFORMAT: by number, and a label is none. */
sm_status sm_listing_arrange(sm_listing *, sm_listing_by, int64_t limit, sm_error *);

int64_t sm_listing_count(const sm_listing *);
int sm_listing_classes(const sm_listing *);
const char *sm_listing_class_name(const sm_listing *, int c);
int sm_listing_label(const sm_listing *, int64_t index); /* class, or -1 */
uint64_t sm_listing_hash(const sm_listing *);            /* of names below the root, sizes, order and class numbers */

/* A picture's path, which begins with the root's: into `path`, replacing what it holds (`failed`: no
 * memory). */
void sm_listing_path(const sm_listing *, int64_t index, sm_text *path);
/* The same, kept until the listing is freed: for the few that are shown. NULL without memory. */
const char *sm_listing_name(const sm_listing *, int64_t index);

typedef struct sm_listing_place {
  int64_t bytes;  /* -1: not known */
  bool dangling;  /* a link that led nowhere when it was listed */
  int64_t shard, offset; /* of a picture in shards: which one, and where its bytes begin; else -1, 0 */
} sm_listing_place;
sm_listing_place sm_listing_at(const sm_listing *, int64_t index);
void sm_listing_shard_path(const sm_listing *, uint32_t shard, sm_text *path); /* as sm_listing_path */

#ifdef __cplusplus
}
#endif
#endif

/* tar.h — tar archives: what lies in one and where, read from the heads of its members alone; and such
 * heads, written.
 *
 * * Read are POSIX ustar and pax, GNU's long names and sizes, and the form before all of them. Nothing is
 * unpacked. Private to the tree. */
#ifndef SMALTI_FORMATS_TAR_H
#define SMALTI_FORMATS_TAR_H

#include <smalti/base.h>

enum { SM_TAR_BLOCK = 512 };

typedef struct sm_tar sm_tar;

typedef struct sm_tar_member {
  const char *name; /* as it is written there; good until the next one is asked for */
  bool regular;     /* a file with bytes of its own; else a folder, link, device … */
  bool folder;
  uint64_t at, bytes; /* where its bytes begin, a multiple of SM_TAR_BLOCK, and how many they are */
} sm_tar_member;

/* NULL on error: SM_ENOTFOUND, SM_EIO, SM_EINVAL for what is no regular file; SM_ENOMEM. The error's place
 * is the path, also in sm_tar_next. */
sm_tar *sm_tar_open(const char *path, sm_error *);
/* The next member, or *end: the archive's end mark. SM_EFORMAT: no archive, damaged, or cut short, which
 * an archive without its end mark is, too; SM_EUNSUPPORTED: a sparse file. */
sm_status sm_tar_next(sm_tar *, sm_tar_member *, bool *end, sm_error *);
/* The first bytes of a member, n at most: how many there were, in *got. SM_EIO. */
sm_status sm_tar_read(const sm_tar *, const sm_tar_member *, void *to, size_t n, size_t *got, sm_error *);
void sm_tar_close(sm_tar *); /* NULL is allowed */

/* The head of a file of so many bytes: ustar, with a pax head before it where name or size do not fit.
 * Equal calls give equal bytes. Its bytes follow, then zeros up to a whole block; behind the last file two
 * blocks of zeros. */
void sm_tar_head(sm_text *to, const char *name, uint64_t bytes);

#endif

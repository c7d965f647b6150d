/* io.c — errors of system calls, in words, always in English: they are searched for. */
#include <config.h>

#include "io.h"

#include <errno.h>
#include <locale.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
  int code;
  const char *hint;
} hints[] = {
    {ENOSPC, "free some space on that file system, or choose another folder"},
    {EDQUOT, "your disk quota is used up: remove files, or choose another folder"},
    {EROFS, "that file system is read-only: choose another folder"},
    {EACCES, "check the permissions of the file and of the folders above it"},
    {EPERM, "check who owns the file and the folder it is in"},
    {EMFILE, "too many files are open in this process: raise the limit (ulimit -n)"},
    {ENAMETOOLONG, "choose a folder with a shorter path"},
    {EFBIG, "the limit on file sizes is reached (ulimit -f)"},
};

sm_status sm_fail_errno(sm_error *err, int code, const char *verb, const char *path) {
  sm_status status = code == ENOENT || code == ENOTDIR ? SM_ENOTFOUND : code == ENOMEM ? SM_ENOMEM : SM_EIO;
  const char *reason = strerror_l(code, newlocale(LC_ALL_MASK, "C", (locale_t)0));
  if (code == ENAMETOOLONG) /* the reason would be cut off behind it */
    sm_fail(err, status, "cannot %s: the path, or a name in it, is too long: %.400s…", verb, path);
  else sm_fail(err, status, "cannot %s %s: %s", verb, path, reason);
  for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
    if (hints[i].code == code) sm_hint(err, "%s", hints[i].hint);
  return status;
}

static bool io_is_missing(int code) { return code == ENOENT || code == ENOTDIR; }

sm_status sm_path_look(const char *path, struct stat *st, bool *there, sm_error *err) {
  *there = stat(path, st) == 0;
  return *there || io_is_missing(errno) ? SM_OK : sm_fail_errno(err, errno, "examine", path);
}

bool sm_path_there(const char *path, struct stat *st) {
  struct stat own;
  if (!st) st = &own;
  if (stat(path, st) == 0) return true;
  int code = errno;
  memset(st, 0, sizeof *st);
  return !io_is_missing(code);
}

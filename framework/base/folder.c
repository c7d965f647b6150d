/* folder.c — reading whole files, making and removing folders, paths. */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io.h"
#include "path.h"

/* Reads until the end, growing from `expected` bytes; pipes and /proc do not know their size. */
static int folder_read_all(int fd, size_t expected, size_t limit, char **data, size_t *bytes) {
  size_t cap = expected < 4096 ? 4096 : expected + 1, n = 0;
  char *buf = sm_malloc(cap + 1);
  while (buf) {
    if (n == cap) {
      char *more = cap < SIZE_MAX / 4 ? sm_realloc(buf, 2 * cap + 1) : NULL;
      if (!more) break;
      buf = more;
      cap *= 2;
    }
    ssize_t got = read(fd, buf + n, cap - n < (size_t)1 << 30 ? cap - n : (size_t)1 << 30);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      int code = errno;
      sm_free(buf);
      return code;
    }
    n += (size_t)got;
    if (got == 0 || n > limit) {
      buf[n] = 0;
      *data = buf;
      *bytes = n;
      return 0;
    }
  }
  sm_free(buf);
  return ENOMEM;
}

/* Opening a FIFO would wait until somebody opens its other end; reading one that somebody writes to may wait,
 * as recipes can come through pipes. */
static int folder_open(const char *path, struct stat *st, int *fd) {
  *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (*fd < 0 || fstat(*fd, st) != 0) return errno;
  if (S_ISDIR(st->st_mode)) return EISDIR;
  int flags = fcntl(*fd, F_GETFL);
  return flags < 0 || fcntl(*fd, F_SETFL, flags & ~O_NONBLOCK) ? errno : 0;
}

sm_status sm_file_get(const char *path, size_t limit, char **data, size_t *bytes, sm_error *err) {
  struct stat st;
  char *buf = NULL;
  size_t n = 0;
  int fd, code = folder_open(path, &st, &fd);
  bool known = !code && S_ISREG(st.st_mode) && st.st_size > 0;
  bool too_long = known && (uintmax_t)st.st_size > limit;
  if (!code && !too_long) code = folder_read_all(fd, known ? (size_t)st.st_size : 0, limit, &buf, &n);
  if (fd >= 0) close(fd);
  if (code) return sm_fail_errno(err, code, "read", path);
  if (too_long || n > limit) {
    sm_free(buf);
    return sm_fail(err, SM_EINVAL, "%s is longer than the %zu bytes allowed here", path, limit);
  }
  if (!n && S_ISFIFO(st.st_mode)) {
    sm_free(buf);
    return sm_fail(err, SM_EINVAL, "%s is a pipe through which nothing came", path);
  }
  *data = buf;
  *bytes = n;
  return SM_OK;
}

static int folder_make_folder(const char *path) {
  struct stat st;
  if (mkdir(path, 0777) == 0) return 0;
  int code = errno;
  if (stat(path, &st) == 0) return S_ISDIR(st.st_mode) ? 0 : EEXIST;
  return code == EEXIST ? errno : code; /* what is there cannot be looked at */
}

sm_status sm_mkdirs(const char *path, sm_error *err) {
  sm_status status = SM_OK;
  char *part = sm_strdup(path);
  if (!part) return sm_fail_errno(err, ENOMEM, "create folder", path);
  for (char *c = part; *c && !status; c++) {
    if (c[1] != '/' && c[1] != 0) continue; /* the last letter of a component */
    char after = c[1];
    c[1] = 0;
    int code = *c == '/' ? 0 : folder_make_folder(part);
    if (code == EEXIST)
      status = sm_fail(err, SM_EIO, "cannot create folder %s: %s is a file", path, part);
    else if (code)
      status = sm_fail_errno(err, code, "create folder", part);
    c[1] = after;
  }
  sm_free(part);
  return status;
}

static int folder_remove_entry(int folder, const char *name);

/* Symbolic links are removed, never followed. Takes over `fd`. */
static int folder_remove_contents(int fd) {
  DIR *dir = fdopendir(fd);
  int code = dir ? 0 : errno;
  if (!dir) close(fd);
  while (dir && !code) {
    errno = 0;
    struct dirent *entry = readdir(dir);
    if (!entry) {
      code = errno;
      break;
    }
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
      code = folder_remove_entry(dirfd(dir), entry->d_name);
  }
  if (dir) closedir(dir);
  return code;
}

static int folder_remove_entry(int folder, const char *name) {
  if (unlinkat(folder, name, 0) == 0 || errno == ENOENT) return 0;
  if (errno != EISDIR && errno != EPERM) return errno;
  int first = errno, fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return errno == ENOTDIR ? first : errno;
  int code = folder_remove_contents(fd);
  if (!code && unlinkat(folder, name, AT_REMOVEDIR) != 0 && errno != ENOENT) code = errno;
  return code;
}

sm_status sm_remove_tree(const char *path, sm_error *err) {
  int code = folder_remove_entry(AT_FDCWD, path);
  return code ? sm_fail_errno(err, code, "remove", path) : SM_OK;
}

char *sm_path_put(char buf[SM_PATH_ROOM], const char *fmt, ...) {
  va_list args;
  va_start(args, fmt);
  vsnprintf(buf, SM_PATH_ROOM, fmt, args);
  va_end(args);
  return buf;
}

char *sm_path_join(sm_arena *arena, const char *dir, const char *name) {
  if (!dir || !*dir || *name == '/') return sm_arena_strdup(arena, name);
  bool slash = dir[strlen(dir) - 1] == '/';
  return sm_arena_printf(arena, "%s%s%s", dir, slash ? "" : "/", name);
}

const char *sm_path_base(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

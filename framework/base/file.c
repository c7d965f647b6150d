/* file.c — files written whole or not at all.
 *
 * The bytes go to PATH.tmp-PID in the same folder, through a buffer. Commit: flush, fsync, close, rename,
 * fsync of the folder. A symbolic link is followed first, so that it stays and what it points to is replaced;
 * a device, a FIFO or a socket is refused, since renaming would put a file into its place. The first error
 * stays and is told at the next call that takes an sm_error; nothing is renamed after one. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io.h"

enum { BUFFER = 64 * 1024, ATTEMPTS = 100, MOST_LINKS = 40 };

struct sm_file {
  char *path, *temporary;
  int fd, error; /* errno of the first failure, or 0 */
  size_t used;
  char buffer[BUFFER];
};

/* A name left over by a killed process of the same number is passed over, never overwritten: it may be in
 * use. */
static bool file_open_temporary(sm_file *file, size_t size) {
  for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
    int n = snprintf(file->temporary, size, "%s.tmp-%ld", file->path, (long)getpid());
    if (attempt > 0) snprintf(file->temporary + n, size - (size_t)n, ".%d", attempt);
    file->fd = open(file->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file->fd >= 0) return true;
    if (errno != EEXIST) return false;
  }
  return false;
}

static void file_release(sm_file *file) {
  sm_free(file->path);
  sm_free(file->temporary);
  sm_free(file);
}

/* What the link `path` says, as a path of its own; NULL with errno. */
static char *file_follow_once(const char *path) {
  char text[PATH_MAX], *to;
  const char *slash = strrchr(path, '/');
  ssize_t n = readlink(path, text, sizeof text);
  if (n < 0) return NULL;
  size_t folder = slash && n && text[0] != '/' ? (size_t)(slash - path) + 1 : 0;
  if (n == sizeof text || !n) return errno = n ? ENAMETOOLONG : ENOENT, NULL;
  if (!(to = sm_malloc(folder + (size_t)n + 1))) return errno = ENOMEM, NULL;
  memcpy(to, path, folder);
  memcpy(to + folder, text, (size_t)n);
  to[folder + (size_t)n] = 0;
  return to;
}

/* The path behind all links, whose last part need not exist; NULL with errno. */
static char *file_follow(const char *path) {
  struct stat st;
  char *at = sm_strdup(path);
  if (!at) errno = ENOMEM;
  for (int links = 0; at; links++) {
    int code = lstat(at, &st) == 0 ? 0 : errno;
    if (code == ENOENT || code == ENOTDIR || (!code && !S_ISLNK(st.st_mode))) break;
    char *next = NULL;
    if (!code && links == MOST_LINKS) code = ELOOP;
    if (!code && !(next = file_follow_once(at))) code = errno;
    sm_free(at);
    at = next;
    errno = code;
  }
  return at;
}

/* What a file at `path` would replace must be a file, and must be seen to be one. */
static sm_status file_check_target(const char *path, sm_error *err) {
  struct stat st;
  bool there;
  const sm_status status = sm_path_look(path, &st, &there, err);
  if (status || !there) return status;
  if (S_ISDIR(st.st_mode)) return sm_fail_errno(err, EISDIR, "write", path);
  if (S_ISREG(st.st_mode)) return SM_OK;
  sm_fail(err, SM_EINVAL, "cannot write %s: it is %s, and a file would take its place", path,
          S_ISFIFO(st.st_mode)   ? "a pipe"
          : S_ISSOCK(st.st_mode) ? "a socket"
                                 : "a device");
  return sm_hint(err, "give the name of a file");
}

sm_file *sm_file_create(const char *path, sm_error *err) {
  if (file_check_target(path, err)) return NULL;
  sm_file *file = sm_calloc(1, sizeof *file);
  int code = file ? 0 : ENOMEM;
  if (file && !(file->path = file_follow(path))) code = errno;
  const size_t size = code ? 0 : strlen(file->path) + 48;
  if (!code && !(file->temporary = sm_malloc(size))) code = ENOMEM;
  if (code) sm_fail_errno(err, code, "write", path);
  else if (!file_open_temporary(file, size)) sm_fail_errno(err, code = errno, "create", path);
  if (!code) return file;
  if (file) file_release(file);
  return NULL;
}

static void file_write_all(sm_file *file, const char *data, size_t n) {
  while (n && !file->error) {
    ssize_t done = write(file->fd, data, n < (size_t)1 << 30 ? n : (size_t)1 << 30);
    if (done > 0) {
      data += done;
      n -= (size_t)done;
    } else if (done == 0 || errno != EINTR) {
      file->error = done == 0 ? EIO : errno;
    }
  }
}

static void file_flush(sm_file *file) {
  file_write_all(file, file->buffer, file->used);
  file->used = 0;
}

sm_status sm_file_write(sm_file *file, const void *data, size_t n) {
  if (n > BUFFER - file->used) file_flush(file);
  if (n >= BUFFER) {
    file_write_all(file, data, n);
  } else if (n) {
    memcpy(file->buffer + file->used, data, n);
    file->used += n;
  }
  return file->error ? SM_EIO : SM_OK;
}

sm_status sm_file_printf(sm_file *file, const char *fmt, ...) {
  sm_text text = {0};
  va_list args;
  va_start(args, fmt);
  sm_text_addv(&text, fmt, args);
  va_end(args);
  if (text.failed && !file->error) file->error = ENOMEM;
  sm_status status = text.failed ? SM_ENOMEM : sm_file_write(file, text.s, text.len);
  sm_text_free(&text);
  return status;
}

int sm_file_fd(sm_file *file) {
  file_flush(file);
  return file->fd;
}

const char *sm_file_temporary(const sm_file *file) { return file->temporary; }

static void file_sync_data(sm_file *file) {
  file_flush(file);
  while (!file->error && fsync(file->fd) != 0)
    if (errno != EINTR) file->error = errno;
}

sm_status sm_file_sync(sm_file *file, sm_error *err) {
  file_sync_data(file);
  return file->error ? sm_fail_errno(err, file->error, "write", file->path) : SM_OK;
}

/* So that the new name survives a power cut. Some file systems cannot sync a folder (EINVAL): nothing more to
 * do there. */
static int file_sync_folder(const char *path) {
  const char *slash = strrchr(path, '/');
  char *folder = slash ? sm_strdup(path) : sm_strdup(".");
  if (!folder) return ENOMEM;
  if (slash) folder[slash == path ? 1 : slash - path] = 0;
  int error = 0, fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL && errno != EINTR)) error = errno;
  if (fd >= 0) close(fd);
  sm_free(folder);
  return error;
}

sm_status sm_file_commit(sm_file *file, sm_error *err) {
  sm_status status = SM_OK;
  file_sync_data(file);
  if (close(file->fd) != 0 && !file->error && errno != EINTR) file->error = errno;
  if (file->error) {
    unlink(file->temporary);
    status = sm_fail_errno(err, file->error, "write", file->path);
  } else if (rename(file->temporary, file->path) != 0) {
    int code = errno;
    unlink(file->temporary);
    status = sm_fail_errno(err, code, "rename the new version to", file->path);
  } else {
    int code = file_sync_folder(file->path);
    if (code) status = sm_fail_errno(err, code, "sync the folder of", file->path);
  }
  file_release(file);
  return status;
}

void sm_file_abort(sm_file *file) {
  if (!file) return;
  close(file->fd);
  unlink(file->temporary);
  file_release(file);
}

sm_status sm_file_put(const char *path, const void *data, size_t n, sm_error *err) {
  sm_file *file = sm_file_create(path, err);
  if (!file) return err ? err->code : SM_EIO;
  sm_file_write(file, data, n);
  return sm_file_commit(file, err);
}

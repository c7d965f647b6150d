/* claim.c — who works on a job, for processes and nodes that share a folder.
 *
 * The claim is a file made with O_EXCL. Looking at an old claim and replacing it are one act under a lock on
 * a file beside them (flock, which the system drops when a process dies); where a file system has no locks,
 * the worst that can happen is that two processes meet at the run folder's own lock. Every owner looks at its
 * claim at each heartbeat, so one that was thought dead notices and stops. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "table.h"

static void claim_host_name(char buf[256]) {
  if (gethostname(buf, 256)) snprintf(buf, 256, "unknown");
  buf[255] = 0;
}

/* Unlike any other's: machine, process, and the time in nanoseconds. */
static void claim_make_nonce(char *buf, size_t size) {
  struct timespec now;
  char host[256];
  clock_gettime(CLOCK_REALTIME, &now);
  claim_host_name(host);
  snprintf(buf, size, "%016" PRIx64 "-%ld",
           sm_hash64(host, strlen(host), (uint64_t)now.tv_sec * 1000000007u + (uint64_t)now.tv_nsec),
           (long)getpid());
}

/* One line: NONCE PID HOST. */
static bool claim_read_claim(const char *path, char nonce[64], long *pid, char host[256]) {
  char *text;
  size_t bytes;
  if (sm_file_get(path, 4096, &text, &bytes, NULL)) return false;
  bool good = sscanf(text, "%63s %ld %255s", nonce, pid, host) == 3;
  sm_free(text);
  return good;
}

static bool claim_write_claim(const char *path, const char *nonce) {
  char host[256], line[400];
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0) return false;
  claim_host_name(host);
  int n = snprintf(line, sizeof line, "%s %ld %s\n", nonce, (long)getpid(), host);
  bool good = write(fd, line, (size_t)n) == n;
  good = fsync(fd) == 0 && good;
  close(fd);
  if (!good) unlink(path);
  return good;
}

static double claim_modified(const struct stat *st) {
  return (double)st->st_mtim.tv_sec + 1e-9 * (double)st->st_mtim.tv_nsec;
}

/* Seconds since the last heartbeat, on the file system's clock: that of a file touched now. */
static double claim_age(const char *path, int lock) {
  struct stat claim, now;
  if (stat(path, &claim) || futimens(lock, NULL) || fstat(lock, &now)) return 0;
  return claim_modified(&now) - claim_modified(&claim);
}

static bool claim_dead_here(long pid, const char *host) {
  char own[256];
  claim_host_name(own);
  return !strcmp(own, host) && pid > 0 && kill((pid_t)pid, 0) && errno == ESRCH;
}

static sm_claim_result claim_take(sm_claim *c, int lock, double stale, char *who, size_t size) {
  char nonce[64] = "", host[256] = "another machine";
  long pid = 0;
  for (int attempt = 0; attempt < 3; attempt++) {
    if (claim_write_claim(c->path, c->nonce)) return SM_CLAIM_MINE;
    if (errno != EEXIST) return SM_CLAIM_ERROR;
    bool readable = claim_read_claim(c->path, nonce, &pid, host);
    double quiet = claim_age(c->path, lock);
    if (!(readable && claim_dead_here(pid, host)) && quiet < stale) break;
    unlink(c->path);
  }
  if (who) snprintf(who, size, "process %ld on %s", pid, host);
  return SM_CLAIM_OTHERS;
}

sm_claim_result sm_claim_take(sm_claim *c, const char *runs, const char *id, double stale, char *who,
                              size_t size, sm_error *err) {
  char path[4300];
  *c = (sm_claim){.held = false};
  snprintf(path, sizeof path, "%s/claims", runs);
  if (sm_mkdirs(path, err)) return SM_CLAIM_ERROR;
  snprintf(c->path, sizeof c->path, "%s/claims/%s", runs, id);
  claim_make_nonce(c->nonce, sizeof c->nonce);
  snprintf(path, sizeof path, "%s/claims/lock", runs);
  int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock < 0) goto failed;
  flock(lock, LOCK_EX);
  sm_claim_result result = claim_take(c, lock, stale, who, size);
  int error = errno;
  close(lock);
  errno = error;
  if (result == SM_CLAIM_ERROR) goto failed;
  c->held = result == SM_CLAIM_MINE;
  return result;
failed:
  sm_fail(err, SM_EIO, "cannot claim a run: %s", strerror(errno));
  sm_fail_at(err, c->path, 0, 0);
  return SM_CLAIM_ERROR;
}

static bool claim_still_mine(const sm_claim *c) {
  char nonce[64], host[256];
  long pid;
  return claim_read_claim(c->path, nonce, &pid, host) && !strcmp(nonce, c->nonce);
}

/* A claim that cannot be read just now (a network file system that is away) is no reason to give up. */
bool sm_claim_beat(sm_claim *c) {
  struct stat st;
  if (!c->held) return false;
  if (stat(c->path, &st) && errno != ENOENT) return true;
  if (!claim_still_mine(c)) return c->held = false;
  utimensat(AT_FDCWD, c->path, NULL, 0);
  return true;
}

void sm_claim_release(sm_claim *c) {
  if (c->held && claim_still_mine(c)) unlink(c->path);
  c->held = false;
}

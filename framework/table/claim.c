/* claim.c — who works on a job, for processes and nodes that share a folder.
 *
 * The claim is a file made with O_EXCL. Looking at an old claim and replacing it are one act under a lock on
 * a file beside them (flock, which the system drops when a process dies); where a file system has no locks,
 * the worst that can happen is that two processes meet at the run folder's own lock. Every owner looks at its
 * claim at each heartbeat, so one that was thought dead notices and stops. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "table.h"

enum { ALIVE = 5 /* seconds after a sign of life in which nothing else is asked */ };

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

/* What a process number belongs to: the running kernel and the namespace of numbers, whatever the host is
 * called. False: this system does not say. */
static bool claim_world(char boot[64], char space[64]) {
  char *text;
  size_t bytes;
  ssize_t n = readlink("/proc/self/ns/pid", space, 63);
  if (n <= 0 || sm_file_get("/proc/sys/kernel/random/boot_id", 4096, &text, &bytes, NULL)) return false;
  space[n] = 0;
  bool good = sscanf(text, "%63s", boot) == 1;
  sm_free(text);
  return good;
}

/* One line: NONCE PID HOST BOOT NAMESPACE, the last two "?" where they are not known. */
typedef struct claim_owner {
  char nonce[64], host[256], boot[64], space[64];
  long pid;
} claim_owner;

static bool claim_read_claim(const char *path, claim_owner *o) {
  char *text;
  size_t bytes;
  *o = (claim_owner){.host = "another machine", .boot = "?", .space = "?"};
  if (sm_file_get(path, 4096, &text, &bytes, NULL)) return false;
  bool good = sscanf(text, "%63s %ld %255s %63s %63s", o->nonce, &o->pid, o->host, o->boot, o->space) >= 3;
  sm_free(text);
  return good;
}

static bool claim_write_claim(const char *path, const char *nonce) {
  char host[256], boot[64], space[64], line[600];
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0) return false;
  claim_host_name(host);
  if (!claim_world(boot, space)) strcpy(boot, "?"), strcpy(space, "?");
  int n = snprintf(line, sizeof line, "%s %ld %s %s %s\n", nonce, (long)getpid(), host, boot, space);
  bool good = write(fd, line, (size_t)n) == n;
  good = fsync(fd) == 0 && good;
  close(fd);
  if (!good) unlink(path);
  return good;
}

static double claim_modified(const struct stat *st) {
  return (double)st->st_mtim.tv_sec + 1e-9 * (double)st->st_mtim.tv_nsec;
}

/* Seconds since the last heartbeat, on the file system's clock: that of a file touched now. A claim from the
 * future (the clock was put back, and its owner has not touched it since) begins to age. */
static double claim_age(const char *path, int lock) {
  struct stat claim, now;
  if (stat(path, &claim) || futimens(lock, NULL) || fstat(lock, &now)) return 0;
  double age = claim_modified(&now) - claim_modified(&claim);
  if (age < -1) utimensat(AT_FDCWD, path, NULL, 0);
  return age;
}

/* Its process is gone for certain: a number means something to the same kernel and namespace only. */
static bool claim_dead_here(const claim_owner *o) {
  char boot[64], space[64];
  return claim_world(boot, space) && !strcmp(boot, o->boot) && !strcmp(space, o->space) && o->pid > 0 &&
         kill((pid_t)o->pid, 0) && errno == ESRCH;
}

static sm_claim_result claim_take(sm_claim *c, int lock, double stale, char *who, size_t size) {
  claim_owner owner = {.host = "another machine"};
  for (int attempt = 0; attempt < 3; attempt++) {
    if (claim_write_claim(c->path, c->nonce)) return SM_CLAIM_MINE;
    if (errno != EEXIST) return SM_CLAIM_ERROR;
    bool readable = claim_read_claim(c->path, &owner);
    double quiet = claim_age(c->path, lock), least = readable && claim_dead_here(&owner) ? ALIVE : stale;
    if (quiet < fmin(least, stale)) break;
    if (unlink(c->path) && errno != ENOENT) return SM_CLAIM_ERROR;
  }
  if (who) snprintf(who, size, "process %ld on %s", owner.pid, owner.host);
  return SM_CLAIM_OTHERS;
}

sm_claim_result sm_claim_take(sm_claim *c, const char *runs, const char *id, double stale, char *who,
                              size_t size, sm_error *err) {
  char path[SM_PATH_ROOM];
  *c = (sm_claim){.held = false};
  if (sm_mkdirs(sm_path_put(path, "%s/claims", runs), err)) return SM_CLAIM_ERROR;
  sm_path_put(c->path, "%s/claims/%s", runs, id);
  claim_make_nonce(c->nonce, sizeof c->nonce);
  sm_path_put(path, "%s/claims/lock", runs);
  int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
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
  claim_owner owner;
  return claim_read_claim(c->path, &owner) && !strcmp(owner.nonce, c->nonce);
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

/* log.c — one sink for lines meant for people. The sink is the library's only changeable global besides the
 * heap's failure injector; its lock keeps lines of different threads apart. */
#include <smalti/base.h>

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static sm_log_sink sink;
static void *sink_ctx;

void sm_log_to(sm_log_sink to, void *ctx) {
  pthread_mutex_lock(&lock);
  sink = to;
  sink_ctx = ctx;
  pthread_mutex_unlock(&lock);
}

void sm_log(sm_log_level level, const char *fmt, ...) {
  char line[2048]; /* a longer line is cut: logging must not fail for want of memory */
  va_list args;
  va_start(args, fmt);
  int n = vsnprintf(line, sizeof line, fmt, args);
  va_end(args);
  if (n < 0) return;
  pthread_mutex_lock(&lock);
  if (sink) sink(sink_ctx, level, line);
  pthread_mutex_unlock(&lock);
}

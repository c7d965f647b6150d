/* meter.c — see meter.h. */
#include "meter.h"

#include <smalti/base.h>

#define LATE 1e-3 /* seconds that a link that was asked late makes up for: waiting is naps (link.c) */

static const char *meter_open(void *self, int *rank, int *ranks) {
  const sm_meter *m = self;
  return m->over->open(m->over->self, rank, ranks);
}

static const char *meter_name(void *self) {
  const sm_meter *m = self;
  return m->over->name(m->over->self);
}

static const char *meter_start(void *self, int lane, int peer, const void *out, size_t out_bytes, void *in,
                               size_t in_bytes) {
  sm_meter *m = self;
  const double start = sm_now() - LATE;
  m->exchanges++;
  m->sent += (int64_t)out_bytes;
  if (m->due < start) m->due = start;
  if (m->rate > 0) m->due += (double)(out_bytes > in_bytes ? out_bytes : in_bytes) / m->rate;
  m->lane[lane].due = m->due;
  m->lane[lane].ended = 0;
  return m->over->start(m->over->self, lane, peer, out, out_bytes, in, in_bytes);
}

static const char *meter_done(void *self, int lane, int *finished) {
  sm_meter *m = self;
  int *const ended = &m->lane[lane].ended;
  const char *why = *ended ? NULL : m->over->done(m->over->self, lane, ended);
  *finished = *ended && (m->rate <= 0 || sm_now() >= m->lane[lane].due);
  return why;
}

static void meter_close(void *self) {
  const sm_meter *m = self;
  m->over->close(m->over->self);
}

static void meter_abort(void *self, int code) {
  const sm_meter *m = self;
  m->over->abort(m->over->self, code);
}

const sm_messages *sm_meter_over(sm_meter *m, const sm_messages *over) {
  m->over = over;
  m->messages = (sm_messages){.version = over->version,
                              .self = m,
                              .open = meter_open,
                              .name = meter_name,
                              .start = meter_start,
                              .done = meter_done,
                              .close = meter_close,
                              .abort = meter_abort};
  return &m->messages;
}

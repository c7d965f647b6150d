/* fit_blame.c — how a misfit is told: at the place of the slot that it is about. */
#include "fit.h"

sm_status sm_fit_fail(fit *f, const sm_slot *s, const char *fmt, ...) {
  char message[800];
  va_list args;
  va_start(args, fmt);
  vsnprintf(message, sizeof message, fmt, args);
  va_end(args);
  sm_fail(f->err, SM_EINVAL, "%s", message);
  return sm_fail_at(f->err, s->file, s->line, s->col);
}

sm_status sm_fit_blame(fit *f, const sm_slot *s, sm_status status) {
  if (!f->err->code)
    sm_fail(f->err, status, "'%s' is refused by its plugin without a reason", sm_fit_name(s));
  if (!f->err->place[0]) sm_fail_at(f->err, s->file, s->line, s->col);
  return status;
}

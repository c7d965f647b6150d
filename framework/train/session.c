/* framework/train/session.c — what a session tells whoever runs it. */
#include "session.h"

void sm_session_tell(sm_session *s, sm_train_event e) {
  e.folder = s->folder.path;
  e.steps = s->steps;
  e.epochs = s->time.epochs;
  if (!e.step) e.step = s->time.step;
  e.epoch = s->time.steps_per_epoch ? (e.step > 0 ? e.step - 1 : 0) / s->time.steps_per_epoch : 0;
  e.ranks = sm_ranks_size(s->options->ranks);
  e.threads = s->threads;
  if (s->options->event && (s->writes || e.kind == SM_EVENT_WARNING)) s->options->event(s->options->ctx, &e);
}
void sm_session_warn(sm_session *s, const char *text) {
  sm_session_tell(s, (sm_train_event){.kind = SM_EVENT_WARNING, .text = text});
}

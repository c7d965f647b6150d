/* progress.c — see progress.h. Writes to stderr; never more than ten times a second to a terminal. */
#include "progress.h"

#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "framework/eval/eval.h"

sm_line sm_line_begin(void) {
  const char *term = getenv("TERM");
  return (sm_line){.terminal = isatty(STDERR_FILENO) && !(term && !strcmp(term, "dumb"))};
}

int sm_line_columns(void) {
  struct winsize w;
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 20 ? w.ws_col : 80;
}

void sm_line_clear(sm_line *line) {
  if (line->shown) fputs("\r\033[K", stderr);
  line->shown = false;
}

void sm_progress_begin(sm_progress *p, bool quiet) {
  *p = (sm_progress){.line = sm_line_begin(), .quiet = quiet, .loss = NAN, .top1 = NAN};
}

/* A bar of eighth blocks. */
static void progress_bar(char *out, size_t size, double done, int width) {
  static const char *const part[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  int eighths = (int)(done * width * 8), full = eighths / 8;
  size_t used = 0;
  out[0] = 0;
  for (int i = 0; i < width && used + 4 < size; i++)
    used += (size_t)snprintf(out + used, size - used, "%s",
                             i < full                   ? "█"
                             : i == full && eighths % 8 ? part[eighths % 8]
                                                        : " ");
}

static void progress_draw(sm_progress *p, const char *left, double done, const char *right) {
  char blocks[256];
  int width = sm_line_columns() - (int)strlen(left) - (int)strlen(right) - 12;
  width = width > 40 ? 40 : width;
  sm_line_clear(&p->line);
  if (width >= 4) {
    progress_bar(blocks, sizeof blocks, done, width);
    sm_cli_say("%s ▕%s▏%3.0f %% %s", left, blocks, done * 100, right);
  } else {
    sm_cli_say("%s %3.0f %%", left, done * 100);
  }
  fflush(stderr);
  p->line.shown = true;
}

static bool progress_too_soon(sm_progress *p, bool last) {
  double now = sm_now();
  if (!last && now - p->line.drawn < 0.1) return true;
  p->line.drawn = now;
  return false;
}

static void progress_on_step(sm_progress *p, const sm_train_event *e) {
  p->loss = isnan(p->loss) ? e->loss : 0.95 * p->loss + 0.05 * e->loss;
  if (!p->line.terminal || progress_too_soon(p, e->step == e->steps)) return;
  char left[64], right[240], eta[32], top[72] = "", share[32], wait[64] = "";
  if (!isnan(p->top1))
    snprintf(top, sizeof top, "  %s %.1f%s", p->evaluation, p->top1, p->top1_percent ? " %" : "");
  if (e->ranks > 1)
    snprintf(wait, sizeof wait, "  comm %s", sm_share_text(e->waited, 1, share, sizeof share));
  snprintf(left, sizeof left, "epoch %lld/%lld", (long long)e->epoch + 1, (long long)e->epochs);
  snprintf(right, sizeof right, " step %lld/%lld  loss %.4f%s  %.1f img/s%s  ETA %s", (long long)e->step,
           (long long)e->steps, p->loss, top, e->rate, wait, sm_human_seconds(e->eta, eta, sizeof eta));
  progress_draw(p, left, (double)e->step / (double)e->steps, right);
}

static double progress_metric(const sm_train_event *e, const char *name) {
  for (int i = 0; i < e->metrics; i++)
    if (!strcmp(e->metric[i].name, name)) return e->metric[i].value;
  return NAN;
}

static void progress_on_record(sm_progress *p, const sm_train_event *e) {
  if (p->line.terminal) return;
  sm_cli_say("epoch %3lld  step %6lld/%lld  loss %8.4f  grad %8.3f  lr %.2e\n", (long long)e->epoch + 1,
             (long long)e->step, (long long)e->steps, e->loss, progress_metric(e, "grad_norm"),
             progress_metric(e, "lr"));
}

static void progress_on_evaluation(sm_progress *p, const sm_train_event *e) {
  sm_line_clear(&p->line);
  sm_cli_say("epoch %3.0f  step %6lld  %s", (double)e->step / ((double)e->steps / (double)e->epochs),
             (long long)e->step, e->text);
  bool has_top1 = e->result->n && !strncmp(e->result->figure[0].name, "top1", 4);
  if (has_top1 && !p->evaluation[0]) snprintf(p->evaluation, sizeof p->evaluation, "%s", e->text);
  for (int i = 0; i < e->result->n; i++) {
    const sm_figure *f = &e->result->figure[i];
    char text[48];
    sm_cli_say("  %s %s", f->name, sm_figure_text(f, text, sizeof text));
    if (i || !has_top1 || strcmp(p->evaluation, e->text) != 0) continue;
    if (!isnan(p->top1)) sm_cli_say(" (%+.2f)", f->value - p->top1);
    p->top1 = f->value;
    p->top1_percent = !strcmp(f->unit, "%");
  }
  sm_cli_say("\n");
}

static void progress_on_start(sm_progress *p, const sm_train_event *e) {
  char bytes[32], ranks[64] = "";
  (void)p;
  if (e->ranks > 1)
    snprintf(ranks, sizeof ranks, ", %d ranks × %d %s", e->ranks, e->threads, sm_plural(e->threads, "thread", "threads"));
  sm_cli_say("%s: %.1f M parameters, %s of memory%s, %lld %s in %lld %s%s", e->folder,
             (double)e->parameters / 1e6, sm_human_bytes((double)e->bytes, bytes, sizeof bytes), ranks,
             (long long)e->steps, sm_plural(e->steps, "step", "steps"), (long long)e->epochs,
             sm_plural(e->epochs, "epoch", "epochs"), e->step ? "" : "\n");
  if (e->step) sm_cli_say("; going on from step %lld\n", (long long)e->step);
}

void sm_progress_event(void *context, const sm_train_event *e) {
  sm_progress *p = context;
  if (e->kind == SM_EVENT_WARNING) {
    sm_line_clear(&p->line);
    sm_cli_say("smalti: warning: %s\n", e->text);
    return;
  }
  if (p->quiet) return;
  switch (e->kind) {
    case SM_EVENT_START:
      progress_on_start(p, e);
      break;
    case SM_EVENT_STEP:
      progress_on_step(p, e);
      break;
    case SM_EVENT_RECORD:
      progress_on_record(p, e);
      break;
    case SM_EVENT_EVAL_PART:
      if (p->line.terminal && !progress_too_soon(p, false)) progress_draw(p, e->text, e->done, "");
      break;
    case SM_EVENT_EVAL:
      progress_on_evaluation(p, e);
      break;
    default:
      break;
  }
}

void sm_progress_end(sm_progress *p) { sm_line_clear(&p->line); }

/* network.c — see network.h. */
#include "network.h"

#include <inttypes.h>
#include <string.h>

static void say_taken(const sm_cli *cli, const sm_trained *t) {
  sm_text title = {0};
  const sm_weights_report *r = &t->report;
  sm_trained_title(t, &title);
  if (r->taken)
    sm_cli_note(cli, "%s: took %d tensors, %" PRId64 " numbers, from %s", title.s ? title.s : "", r->taken,
                r->elements, t->file);
  else sm_cli_note(cli, "%s", title.s ? title.s : "");
  if (r->converted) sm_cli_note(cli, "  converted    %d tensors to F32", r->converted);
  for (const char *line = r->text.s; line && *line;) {
    int n = (int)strcspn(line, "\n");
    sm_cli_note(cli, "  %.*s", n, line);
    line += n + (line[n] == '\n');
  }
  if (t->assumed)
    sm_cli_note(cli, "  assumed      pictures normalised as for ImageNet: the file does not say");
  sm_text_free(&title);
}

sm_status sm_network_open(sm_cli *cli, const sm_network_options *o, const char *path,
                          sm_trained_options *options, sm_trained *t, sm_error *err) {
  *t = (sm_trained){0};
  *options = (sm_trained_options){.path = path,
                                  .recipe = o->recipe,
                                  .backbone = o->backbone,
                                  .prefix = o->prefix,
                                  .net = (sm_net)o->net};
  sm_status status = sm_cli_list(cli, o->ignore, &options->ignore, NULL, err);
  if (!status) status = sm_cli_registry(cli, &options->registry, err);
  if (!status) status = sm_trained_open(options, t, err);
  if (!status) say_taken(cli, t);
  else if (t->report.text.s && t->report.missing + t->report.unexpected + t->report.wrong > 0)
    fputs(t->report.text.s, stderr);
  return status;
}

/* network.c — see network.h. */
#include "network.h"

#include <inttypes.h>
#include <string.h>

/* "head.,fc_norm" as a NULL-terminated list. */
static const char *const *split_list(sm_arena *arena, const char *text) {
  size_t n = 1;
  for (const char *s = text; s && *s; s++) n += *s == ',';
  char *copy = text && *text ? sm_arena_strdup(arena, text) : NULL;
  const char **list = copy ? sm_arena_alloc(arena, (n + 1) * sizeof *list) : NULL;
  for (size_t i = 0; list && i < n; i++) {
    char *comma = strchr(copy, ',');
    if (comma) *comma = 0;
    list[i] = copy;
    copy = comma ? comma + 1 : copy;
  }
  return list;
}

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
                                  .ignore = split_list(cli->arena, o->ignore),
                                  .net = (sm_net)o->net};
  sm_status status = sm_cli_registry(cli, &options->registry, err);
  if (!status) status = sm_trained_open(options, t, err);
  if (!status) say_taken(cli, t);
  else if (t->report.text.s && t->report.missing + t->report.unexpected + t->report.wrong > 0)
    fputs(t->report.text.s, stderr);
  return status;
}

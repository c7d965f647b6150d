/* network.c — see network.h. */
#include "network.h"

#include <inttypes.h>
#include <string.h>

static void network_say_taken(const sm_cli *cli, const sm_network *net) {
  sm_text title = {0};
  const sm_weights_report *r = sm_network_report(net);
  sm_network_title(net, &title);
  if (r->taken)
    sm_cli_note(cli, "%s: took %d %s, %" PRId64 " numbers, from %s", title.s ? title.s : "", r->taken,
                sm_plural(r->taken, "tensor", "tensors"), r->elements, sm_network_describe(net)->file);
  else sm_cli_note(cli, "%s", title.s ? title.s : "");
  if (r->converted)
    sm_cli_note(cli, "  converted    %d %s to F32", r->converted,
                sm_plural(r->converted, "tensor", "tensors"));
  for (const char *line = r->text.s; line && *line;) {
    int n = (int)strcspn(line, "\n");
    sm_cli_note(cli, "  %.*s", n, line);
    line += n + (line[n] == '\n');
  }
  if (sm_network_assumed(net))
    sm_cli_note(cli, "  assumed      pictures normalised as for ImageNet: the file does not say");
  sm_text_free(&title);
}

sm_status sm_cli_network_say(const sm_cli *cli, const sm_network *net, sm_status status) {
  const sm_weights_report *r = sm_network_report(net);
  if (!status) network_say_taken(cli, net);
  else if (r->text.s && r->missing + r->unexpected + r->wrong > 0) sm_cli_say("%s", r->text.s);
  return status;
}

sm_status sm_cli_network(sm_cli *cli, const sm_network_options *o, const char *path, sm_network **net,
                         sm_error *err) {
  sm_registry *registry;
  sm_network_source from = {.path = path,
                                  .recipe = o->recipe,
                                  .backbone = o->backbone,
                                  .prefix = o->prefix,
                                  .head = o->patch_head,
                                  .site = o->patch_head ? SM_SITE_PATCH : SM_SITE_VIEW,
                                  .net = (sm_net)o->net};
  *net = NULL;
  sm_status status = sm_cli_list(cli, o->ignore, &from.ignore, NULL, err);
  if (!status) status = sm_cli_registry(cli, &registry, err);
  return status ? status : sm_network_open(registry, &from, net, err);
}

/* cmd_weights.c — `smalti weights show FILE`: the tensors of a weights file, whose they are, and how smalti would
 * read them. */
#include <inttypes.h>
#include <string.h>

#include "framework/models/foreign.h"
#include "network.h"

static const char *const nets[] = {"auto", "teacher", "student", NULL}; /* the first of sm_net_names */

struct show_options {
  sm_network_options network;
  bool names_only;
};

static const sm_option options[] = {
    SM_CHOICE(struct show_options, network.net, "net", "auto", nets, "which network, where the file has several"),
    SM_STRING(struct show_options, network.backbone, "backbone", "~",
              "what the file does not tell of its network: 'vit: {heads: 2}'"),
    SM_STRING(struct show_options, network.prefix, "prefix", "~",
              "what the names of the wanted network begin with: 'teacher.backbone.'"),
    SM_BOOL(struct show_options, names_only, "brief", "false", "do not list the tensors"),
};

typedef struct shown {
  const char *path;       /* as given */
  const char *file;       /* the checkpoint in it, where it is a run folder */
  sm_st_reader *raw, *mapped; /* the same, as it is and under smalti's names */
  sm_foreign foreign;
  sm_network *network; /* NULL: nobody knows what it is of */
  uint64_t bytes;
} shown;

static const char *weights_form(const shown *s) {
  return sm_st_is_torch(s->raw)              ? "PyTorch"
         : sm_is_checkpoint(s->raw)          ? "checkpoint of smalti"
         : sm_st_get(s->raw, "producer") && !strcmp(sm_st_get(s->raw, "producer"), "smalti")
             ? "weights of smalti"
             : "safetensors";
}

/* ---- reading ------------------------------------------------------------------------------------------ */

static sm_status weights_try(sm_cli *cli, const struct show_options *o, shown *s, sm_error *err) {
  const bool own = sm_st_get(s->raw, "backbone") != NULL;
  if (!s->foreign.plugin && !own && !o->network.backbone) return SM_OK;
  if (s->foreign.lacks && !o->network.backbone) return SM_OK;
  sm_status status = sm_cli_network(cli, &o->network, s->file, &s->network, err);
  return status ? status : sm_network_allocate(s->network, err);
}

static sm_status weights_look(sm_cli *cli, const struct show_options *o, shown *s, sm_error *err) {
  const sm_st_tensor *t;
  sm_status status = sm_weights_file(s->path, cli->arena, &s->file, err);
  if (!status && !(s->raw = sm_st_open(s->file, err))) status = err->code;
  if (!status) status = sm_st_verify(s->raw, err);
  for (size_t i = 0; !status && (t = sm_st_at(s->raw, i)); i++) s->bytes += t->bytes;
  if (!status && !(s->mapped = sm_foreign_open(s->file, o->network.prefix, (sm_net)o->network.net, cli->arena,
                                               &s->foreign, err)))
    status = err->code;
  return status ? status : weights_try(cli, o, s, err);
}

/* ---- saying ------------------------------------------------------------------------------------------- */

static void weights_say_tensors(const shown *s) {
  const sm_st_tensor *t;
  for (size_t i = 0; (t = sm_st_at(s->raw, i)); i++) {
    char shape[200], name[1200];
    sm_shape_text(t->ndim, t->shape, shape, sizeof shape);
    sm_printable(t->name, "", name, sizeof name);
    printf("%-5s %-20s %s\n", t->dtype, shape, name);
  }
}

static void weights_say_lines(const char *text) {
  for (const char *line = text; line && *line;) {
    char out[1200], one[1200];
    const size_t n = strcspn(line, "\n");
    snprintf(one, sizeof one, "%.*s", (int)(n < 1000 ? n : 1000), line);
    sm_printable(one, "", out, sizeof out);
    printf("%s\n", out);
    line += n + (line[n] == '\n');
  }
}

static void weights_say_network(const shown *s) {
  const sm_network_spec *spec = sm_network_describe(s->network);
  const sm_weights_report *r = sm_network_report(s->network);

  printf("%-12s %s\n", "backbone", sm_network_about(s->network)->backbone);
  printf("%-12s %d x %d px, %s %g %g %g, deviation %g %g %g%s\n", "pictures", spec->height, spec->width, "mean",
         (double)spec->mean[0], (double)spec->mean[1], (double)spec->mean[2], (double)spec->std[0],
         (double)spec->std[1], (double)spec->std[2], sm_network_assumed(s->network) ? " (ImageNet's, assumed)" : "");
  printf("%-12s %d %s, %" PRId64 " numbers; %d missing, %d unused\n", "taken", r->taken,
         sm_plural(r->taken, "tensor", "tensors"), r->elements, r->missing + r->initial, r->ignored + r->unexpected);
  weights_say_lines(r->text.s);
}

static void weights_say(const shown *s, const struct show_options *o) {
  char bytes[32];
  if (!o->names_only) weights_say_tensors(s);
  printf("%-12s %s, %zu %s, %s\n", "file", weights_form(s), sm_st_count(s->raw),
         sm_plural((int64_t)sm_st_count(s->raw), "tensor", "tensors"), sm_human_bytes((double)s->bytes, bytes, sizeof bytes));
  if (s->foreign.plugin) {
    printf("%-12s %s\n", "family", s->foreign.family);
    if (*s->foreign.prefix) printf("%-12s %s\n", "prefix", s->foreign.prefix);
  }
  if (s->foreign.assumed) printf("%-12s %s\n", "assumed", s->foreign.assumed);
  if (s->network) weights_say_network(s);
  else if (s->foreign.lacks) {
    printf("%-12s %s: say it, as in --backbone '%s: {%s}'\n", "not told", s->foreign.lacks, s->foreign.plugin,
           s->foreign.lacks_for);
    weights_say_lines(s->foreign.text.s);
  } else if (sm_is_checkpoint(s->raw)) printf("%-12s its run folder says what network it is of\n", "backbone");
  else printf("%-12s none that smalti knows by its names\n", "family");
}

static int weights_say_json(sm_cli *cli, const shown *s, const struct show_options *o) {
  const sm_st_tensor *t;
  sm_json j = {0};
  (void)cli;
  sm_json_begin(&j);
  sm_json_string(&j, "file", s->file);
  sm_json_string(&j, "form", weights_form(s));
  sm_json_string(&j, "family", s->foreign.plugin ? s->foreign.family : NULL);
  sm_json_string(&j, "prefix", s->foreign.prefix);
  sm_json_string(&j, "lacks", s->network ? NULL : s->foreign.lacks);
  sm_json_string(&j, "backbone", s->network ? sm_network_about(s->network)->backbone : NULL);
  if (s->network) {
    const sm_weights_report *r = sm_network_report(s->network);
    sm_json_int(&j, "taken", r->taken);
    sm_json_int(&j, "missing", r->missing + r->initial);
    sm_json_int(&j, "unused", r->ignored + r->unexpected);
  }
  sm_json_array(&j, "tensors");
  for (size_t i = 0; !o->names_only && (t = sm_st_at(s->raw, i)); i++) {
    char crc[16];
    snprintf(crc, sizeof crc, "%08" PRIx32, sm_crc32c(0, t->data, (size_t)t->bytes));
    sm_json_object(&j, NULL);
    sm_json_string(&j, "name", t->name);
    sm_json_string(&j, "dtype", t->dtype);
    sm_json_array(&j, "shape");
    for (int d = 0; d < t->ndim; d++) sm_json_int(&j, NULL, t->shape[d]);
    sm_json_close(&j);
    sm_json_string(&j, "crc32c", crc);
    sm_json_close(&j);
  }
  sm_json_close(&j);
  return sm_cli_json(&j);
}

static int weights_run(sm_cli *cli, int argc, char **argv) {
  const struct show_options *o = cli->options;
  sm_error err = {0};
  shown s = {.path = argv[1]};
  int code = SM_EXIT_OK;
  (void)argc;
  sm_status status = weights_look(cli, o, &s, &err);
  if (status && s.raw && !cli->json && !o->names_only) weights_say_tensors(&s); /* what there is, at least */
  if (status && s.network) status = sm_cli_network_say(cli, s.network, status);
  if (!status && cli->json) code = weights_say_json(cli, &s, o);
  else if (!status) weights_say(&s, o);
  sm_network_close(s.network);
  sm_st_close(s.mapped);
  sm_st_close(s.raw);
  sm_text_free(&s.foreign.text);
  return status ? sm_cli_fail(&err) : code;
}

const sm_command sm_command_weights_show = {
    .name = "weights show",
    .usage = "FILE",
    .summary = "list a weights file's tensors, whose they are, and how smalti would read them",
    .about =
        "FILE is a safetensors file, a file of PyTorch (.pth, .pt, .bin), or a run folder, whose newest checkpoint counts. "
        "Nothing in the file is executed. What is listed are the file's own names; then the family that they are of, what "
        "stands before the names of the backbone, the backbone's options that the tensors tell, and what was taken, is "
        "missing, or is not used. The exit code is not 0 where the file is damaged or its network cannot be run.",
    .min_args = 1,
    .max_args = 1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .options_size = sizeof(struct show_options),
    .run = weights_run,
};

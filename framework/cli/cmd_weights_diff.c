/* cmd_weights_diff.c — `smalti weights diff A B`: which tensors two files have, and whether their bits are equal. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "framework/models/foreign.h"
#include "network.h"

struct diff_options {
  bool mapped;
};

static const sm_option options[] = {
    SM_BOOL(struct diff_options, mapped, "mapped", "false",
            "compare the networks under smalti's names, whatever each file calls them"),
};

typedef struct comparison {
  sm_cli *cli;
  sm_json json;
  int differences;
} comparison;

static void diff_tell(comparison *c, const char *name, const char *what) {
  char shown[1200];
  c->differences++;
  if (!c->cli->json) {
    sm_printable(name, "", shown, sizeof shown);
    printf("%s: %s\n", shown, what);
    return;
  }
  sm_json_object(&c->json, NULL);
  sm_json_string(&c->json, "name", name);
  sm_json_string(&c->json, "difference", what);
  sm_json_close(&c->json);
}

static bool diff_is_real(const char *dtype) { return strchr(dtype, 'F') != NULL; }

static void diff_tell_values(comparison *c, const sm_st_tensor *a, const sm_st_tensor *b) {
  char what[200];
  const size_t size = sm_st_dtype_size(a->dtype);
  uint64_t others = 0;
  double largest = 0;
  for (uint64_t i = 0; i < a->elements; i++) {
    if (!memcmp((const char *)a->data + i * size, (const char *)b->data + i * size, size)) continue;
    others++;
    if (!diff_is_real(a->dtype)) continue;
    const double d = fabs(sm_weights_element(a, (int64_t)i) - sm_weights_element(b, (int64_t)i));
    if (!(d <= largest)) largest = d;
  }
  int n = snprintf(what, sizeof what, "%" PRIu64 " of %" PRIu64 " numbers differ", others, a->elements);
  if (diff_is_real(a->dtype)) snprintf(what + n, sizeof what - (size_t)n, ", at most by %.3g", largest);
  diff_tell(c, a->name, what);
}

static void diff_pair(comparison *c, const sm_st_tensor *a, const sm_st_tensor *b) {
  char what[500], one[200], two[200];
  if (strcmp(a->dtype, b->dtype) || a->ndim != b->ndim || memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof *a->shape)) {
    snprintf(what, sizeof what, "%s %s → %s %s", a->dtype, sm_shape_text(a->ndim, a->shape, one, sizeof one), b->dtype,
             sm_shape_text(b->ndim, b->shape, two, sizeof two));
    diff_tell(c, a->name, what);
  } else if (a->bytes && memcmp(a->data, b->data, (size_t)a->bytes)) diff_tell_values(c, a, b);
}

static sm_st_reader *diff_open(sm_cli *cli, const struct diff_options *o, const char *path, sm_error *err) {
  const char *file = NULL;
  sm_foreign foreign = {0};
  if (sm_weights_file(path, cli->arena, &file, err)) return NULL;
  sm_st_reader *r = o->mapped ? sm_foreign_open(file, NULL, SM_NET_AUTO, cli->arena, &foreign, err) : sm_st_open(file, err);
  sm_text_free(&foreign.text);
  if (!r || !sm_st_verify(r, err)) return r;
  sm_st_close(r);
  return NULL;
}

static void diff_all(comparison *c, const sm_st_reader *a, const sm_st_reader *b) {
  const sm_st_tensor *t;
  for (size_t i = 0; (t = sm_st_at(a, i)); i++) {
    const sm_st_tensor *other = sm_st_find(b, t->name);
    if (other) diff_pair(c, t, other);
    else diff_tell(c, t->name, "only in the first");
  }
  for (size_t i = 0; (t = sm_st_at(b, i)); i++)
    if (!sm_st_find(a, t->name)) diff_tell(c, t->name, "only in the second");
}

static int diff_run(sm_cli *cli, int argc, char **argv) {
  const struct diff_options *o = cli->options;
  sm_error err = {0};
  comparison c = {.cli = cli};
  (void)argc;
  sm_st_reader *a = diff_open(cli, o, argv[1], &err), *b = a ? diff_open(cli, o, argv[2], &err) : NULL;
  int code = SM_EXIT_OK;
  if (!b) code = sm_cli_fail(&err);
  else {
    sm_json_begin(&c.json);
    sm_json_array(&c.json, "differences");
    diff_all(&c, a, b);
    sm_json_close(&c.json);
    if (cli->json) code = sm_cli_json(&c.json);
    else {
      sm_json_free(&c.json);
      sm_cli_note(cli, "%zu and %zu tensors, %d %s", sm_st_count(a), sm_st_count(b), c.differences,
                  sm_plural(c.differences, "difference", "differences"));
    }
    if (!code && c.differences) code = SM_EXIT_NO;
  }
  sm_st_close(a);
  sm_st_close(b);
  return code;
}

const sm_command sm_command_weights_diff = {
    .name = "weights diff",
    .usage = "FILE FILE",
    .summary = "say in which tensors two weights files differ",
    .about =
        "Files as for 'weights show'. One line per tensor that only one of them has, that has another type or shape, or "
        "other numbers, compared bit by bit. The exit code is 1 if the files differ.",
    .min_args = 2,
    .max_args = 2,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .options_size = sizeof(struct diff_options),
    .run = diff_run,
};

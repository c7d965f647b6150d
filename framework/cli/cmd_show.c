/* cmd_show.c — `smalti show FIGURE NETWORK [PICTURES]`: a figure of what a network sees, as one PNG. */
#include <math.h>
#include <string.h>

#include "show.h"

struct show_options {
  sm_network_options network;
  const char *out, *size, *projection, *among;
  bool force, all_patches, views;
  int64_t cell, pictures, outputs, k, points, seed;
  int form;
  double mass;
};

static const char *const forms[] = {"colours", "panels", "masks", "all", NULL};

#define SHOW_OPTIONS(many, at_most)                                                                              \
  SM_PATH(struct show_options, out, "out", "~", "the PNG to write (default: the figure's name in this folder)"), \
      SM_FORCE_OPTION(struct show_options),                                                                      \
      SM_STRING(struct show_options, size, "size", "0",                                                          \
                "pixels that the network sees: the shorter side, or height and width, as 480x640; 0: as in training"), \
      SM_INT(struct show_options, cell, "cell", "0", 0, 128, "px",                                               \
             "side of a patch in the figure; 0: so many that a picture gets some 240"),                          \
      SM_INT(struct show_options, pictures, "pictures", many, 1, at_most, NULL,                                  \
             "of each folder or recipe so many, evenly spaced"),                                                 \
      SM_CHOICE(struct show_options, network.net, "net", "auto", sm_net_names,                                   \
                "which weights; init: the untrained network"),                                                   \
      SM_NETWORK_OPTIONS(struct show_options, network)

static const sm_option attention[] = {
    SM_CHOICE(struct show_options, form, "form", "colours", forms,
              "colours: each patch in the colour of the head that looks most, and the mean; panels: each head by "
              "itself; masks: the patches that hold a head's mass"),
    SM_FLOAT(struct show_options, mass, "mass", "0.6", 0.01, 1, NULL, "share of a head's attention that is shown"),
    SHOW_OPTIONS("6", 64)};
static const sm_option components[] = {
    SM_BOOL(struct show_options, all_patches, "all_patches", "false",
            "colours of all patches; else the first component tells the foreground, and only that is coloured"),
    SM_PATH(struct show_options, projection, "projection", "~",
            "a file that keeps the colours: read where it is there, else written; --force writes it anew"),
    SHOW_OPTIONS("8", 256)};
static const sm_option patterns[] = {
    SM_INT(struct show_options, outputs, "outputs", "12", 1, 100, NULL, "of the head, those with the most patches"),
    SM_INT(struct show_options, k, "k", "16", 1, 196, NULL, "patches of each, from as many pictures"),
    SHOW_OPTIONS("1000", 100000)};
static const sm_option matches[] = {
    SM_BOOL(struct show_options, views, "views", "false",
            "two views of each picture also where two picture files are given"),
    SM_INT(struct show_options, points, "points", "12", 1, 512, NULL, "patches with a line: those looked at most"),
    SM_INT(struct show_options, seed, "seed", "0", 0, 1e9, NULL, "of the views"), SHOW_OPTIONS("500", 100000)};
static const sm_option neighbours[] = {
    SM_INT(struct show_options, k, "k", "8", 1, 64, NULL, "neighbours of each picture"),
    SM_PATH(struct show_options, among, "among", "~",
            "where to look for them: a folder, packed file or recipe; left out: the run's training pictures, 10000 of them at most"),
    SHOW_OPTIONS("6", 10000)};

typedef sm_status (*cmd_show_figure)(sm_viewer *, const struct show_options *, sm_sheet *, sm_error *);

static const char *cmd_show_out(const struct show_options *o, const char *name, char *room, size_t size) {
  if (o->out) return o->out;
  snprintf(room, size, "%s.png", name);
  return room;
}

static int cmd_show_run(sm_cli *cli, int argc, char **argv, const char *name, cmd_show_figure figure) {
  const struct show_options *o = cli->options;
  char room[64];
  const char *out = cmd_show_out(o, name, room, sizeof room);
  sm_viewer s = {0};
  sm_image image = {0};
  sm_error err = {0};
  sm_sheet *sheet = sm_sheet_new();
  sm_network_options network = o->network;
  network.patch_head = !strcmp(name, "patterns");
  sm_status status = o->out ? sm_cli_may_write(out, o->force, &err) : SM_OK;
  if (!status) status = sm_show_open(&s, cli, &network, argv[1], o->size, o->cell, &err);
  if (!status) status = sm_show_add(&s, argv + 2, argc - 2, o->pictures, &err);
  if (!status) status = figure(&s, o, sheet, &err);
  if (!status) status = sm_sheet_draw(sheet, &image, &err);
  if (!status) status = sm_image_write_png(out, &image, &err);
  if (!status) printf("%s\n", out);
  sm_image_free(&image);
  sm_sheet_free(sheet);
  sm_show_close(&s);
  return !status ? SM_EXIT_OK : sm_cli_fail(&err);
}

/* ---- figures ------------------------------------------------------------------------------------------- */

static sm_status cmd_show_attention(sm_viewer *s, const struct show_options *o, sm_sheet *sheet, sm_error *err) {
  return sm_show_attention(s, o->form, o->mass, sheet, err);
}

static sm_status cmd_show_pca(sm_viewer *s, const struct show_options *o, sm_sheet *sheet, sm_error *err) {
  return sm_show_components(s, !o->all_patches, o->projection, o->force, sheet, err);
}

static sm_status cmd_show_patterns(sm_viewer *s, const struct show_options *o, sm_sheet *sheet, sm_error *err) {
  return sm_show_layout(s, &(sm_pattern_options){.outputs = o->outputs, .k = o->k}, sheet, err);
}

enum { VIEWS_SHOWN = 8 };

static sm_status cmd_show_matches(sm_viewer *s, const struct show_options *o, sm_sheet *sheet, sm_error *err) {
  if (s->n == 2 && s->picture[0].path && s->picture[1].path && !o->views)
    return sm_show_pair(s, (int)o->points, sheet, err);
  sm_match_score *score = sm_calloc((size_t)s->n, sizeof *score);
  sm_status status = score ? sm_show_views(s, (int)o->points, VIEWS_SHOWN, (uint64_t)o->seed, score, sheet, err)
                           : sm_fail(err, SM_ENOMEM, "out of memory");
  double value[SM_MATCH_FIGURES];
  sm_interval at[SM_MATCH_FIGURES];
  int64_t patches = 0;
  for (int i = 0; i < s->n && !status; i++) patches += score[i].n;
  if (!status) status = sm_match_figures(score, s->n, value, at, err);
  for (int f = SM_MATCH_EXACT; f <= SM_MATCH_NEAR && !status; f++)
    printf("accuracy at radius %d  %.2f %%  [%.2f, %.2f]\n", f, value[f], at[f].low, at[f].high);
  if (!status)
    printf("mean distance  %.2f patches  [%.2f, %.2f]\n", value[SM_MATCH_DISTANCE], at[SM_MATCH_DISTANCE].low,
           at[SM_MATCH_DISTANCE].high);
  if (!status)
    printf("protocol  two views of each of %d %s, %lld patches that both hold; cosine of the patches, nearest counts; "
           "95 %% by bootstrap over pictures\n",
           s->n, sm_plural(s->n, "picture", "pictures"), (long long)patches);
  sm_free(score);
  return status;
}

static sm_status cmd_show_neighbours(sm_viewer *s, const struct show_options *o, sm_sheet *sheet, sm_error *err) {
  enum { MOST = 100000, MOST_OF_RUN = 10000 };
  const int queries = s->n;
  char *among = (char *)o->among;
  sm_status status = among ? sm_show_add(s, &among, 1, MOST, err) : sm_show_add_training(s, MOST_OF_RUN, err);
  if (status) return status;
  if (s->n > queries || queries > 1) /* else weights without a run: the pictures among themselves */
    return sm_show_nearest(s, queries, s->n > queries ? queries : 0, (int)o->k, sheet, err);
  sm_fail(err, SM_EINVAL, "one picture alone has no neighbours");
  return sm_hint(err, "say where to look for them: --among FOLDER");
}

static int cmd_show_run_attention(sm_cli *cli, int argc, char **argv) {
  return cmd_show_run(cli, argc, argv, "attention", cmd_show_attention);
}
static int cmd_show_run_pca(sm_cli *cli, int argc, char **argv) {
  return cmd_show_run(cli, argc, argv, "pca", cmd_show_pca);
}
static int cmd_show_run_patterns(sm_cli *cli, int argc, char **argv) {
  return cmd_show_run(cli, argc, argv, "patterns", cmd_show_patterns);
}
static int cmd_show_run_matches(sm_cli *cli, int argc, char **argv) {
  return cmd_show_run(cli, argc, argv, "matches", cmd_show_matches);
}
static int cmd_show_run_neighbours(sm_cli *cli, int argc, char **argv) {
  return cmd_show_run(cli, argc, argv, "neighbours", cmd_show_neighbours);
}

/* ---- the commands -------------------------------------------------------------------------------------- */

#define SHOW_COMMAND(word, table, what, text)                \
  const sm_command sm_command_show_##word = {                \
      .name = "show " #word,                                 \
      .usage = "NETWORK [PICTURE|FOLDER|RECIPE ...]",        \
      .summary = what,                                       \
      .about = text "\n\nWithout pictures: test pictures of the network's run. The same bytes for any number of threads.", \
      .min_args = 1,                                         \
      .max_args = -1,                                        \
      .options = table,                                      \
      .n_options = sizeof table / sizeof *table,             \
      .options_size = sizeof(struct show_options),           \
      .run = cmd_show_run_##word,                            \
  }

SHOW_COMMAND(attention, attention, "draw where [CLS] looks, head by head",
             "Attention of [CLS] to the patches in the last block. In colours, each patch has that of the head which looks "
             "at it most, of those heads that have it within 60 % of their attention (iBOT, Figure 6).");
SHOW_COMMAND(pca, components, "draw patches in the colours of their principal components",
             "Patches of all pictures together. The first component tells foreground from background; three components of "
             "the foreground are red, green and blue. Signs are fixed, and --projection keeps the colours for other pictures.");
SHOW_COMMAND(patterns, patterns, "draw the patches that a shared head puts together",
             "For the outputs of the head that most patches choose: the patches with the largest logits, at most one of a "
             "picture, with their surroundings (iBOT, Figure 4). It needs a head that view and patches share.");
SHOW_COMMAND(matches, matches, "draw which patches of two pictures correspond",
             "Two picture files: the patches that [CLS] looks at most, each with its nearest by cosine. Else two random views "
             "of each picture, where the right answer is known (green: exact, yellow: beside it, red: elsewhere); the share "
             "that is right is printed for all pictures.");
SHOW_COMMAND(neighbours, neighbours, "draw the pictures nearest to some pictures",
             "By the cosine of the view's features, which stands below. Equal ones by number; pictures of equal features are "
             "marked.");

/* cmd_score_davis.c — `smalti score davis GT RESULTS`: J and F of folders of masks, as DAVIS 2017's tools count
 * them for the semi-supervised task. Nothing is printed until every mask has been read. */
#include <stdio.h>
#include <string.h>

#include <smalti/image.h>
#include <smalti/measure.h>
#include <smalti/video.h>

#include "cli.h"

struct score_davis_options {
  const char *list;
  bool foreground;
  int64_t resamples, seed;
};

enum { DAVIS_VOID = 255 };

static const sm_option options[] = {
    SM_PATH(
        struct score_davis_options, list, "list", "~",
        "file with the name of a sequence a line, as ImageSets/2017/val.txt; left out: all folders of GT"),
    SM_BOOL(struct score_davis_options, foreground, "foreground", "false",
            "masks tell only object and background: all values but 0 are object 1"),
    SM_INT(
        struct score_davis_options, resamples, "resamples", "0", 0, 100000, NULL,
        "resamples of the sequences, 40 or more, for a 95 % interval (two more lines, low and high); 0: none"),
    SM_INT(struct score_davis_options, seed, "seed", "0", 0, 1000000000, NULL, "seed of the resamples"),
};

/* As DAVIS's tables call the seven figures. */
static const char *const titles[SM_VIDEO_FIGURES] = {"J&F-Mean", "J-Mean",   "J-Recall", "J-Decay",
                                                     "F-Mean",   "F-Recall", "F-Decay"};

typedef struct score_davis {
  const struct score_davis_options *o;
  const char *truth, *results;
  sm_arena *arena;
  sm_pool *pool;
  const char **names; /* (n) of the sequences */
  int64_t n;
  sm_clip_score *score;               /* (n) */
  double *sums, *objects;             /* (n, figures); (n) */
  double mean[SM_VIDEO_FIGURES], all; /* all: objects */
  sm_interval interval[SM_VIDEO_FIGURES];
  sm_label_map a, b;
} score_davis;

static sm_status davis_no_memory(sm_error *err) {
  return sm_fail(err, SM_ENOMEM, "no memory for the scores of sequences");
}

/* ---- sequences ----------------------------------------------------------------------------------------- */

static sm_status davis_sequences(score_davis *s, sm_error *err) {
  int *line;
  sm_status status = s->o->list ? sm_file_names(s->arena, s->o->list, &s->names, &line, &s->n, err)
                                : sm_folder_names(s->arena, s->truth, true, &s->names, &s->n, err);
  if (!status && !s->n) {
    status = sm_fail(err, SM_EINVAL, "%s holds no folder", s->truth);
    sm_hint(err, "GT is a folder with a folder of masks for each sequence, such as Annotations/480p");
  }
  if (status) return status;
  s->score = sm_arena_alloc(s->arena, (size_t)s->n * sizeof *s->score);
  s->sums = sm_arena_alloc(s->arena, (size_t)s->n * SM_VIDEO_FIGURES * sizeof *s->sums);
  s->objects = sm_arena_alloc(s->arena, (size_t)s->n * sizeof *s->objects);
  return s->score && s->sums && s->objects ? SM_OK : davis_no_memory(err);
}

/* ---- masks --------------------------------------------------------------------------------------------- */

/* A mask; unknown pixels of the truth are background. */
static sm_status davis_read(const score_davis *s, const char *folder, const char *sequence, const char *frame,
                            bool truth, sm_label_map *to, const char **file, sm_error *err) {
  if (!(*file = sm_arena_printf(s->arena, "%s/%s/%s", folder, sequence, frame))) return davis_no_memory(err);
  sm_status status = sm_label_map_read(*file, NULL, to, err);
  if (status == SM_ENOTFOUND && !truth) {
    sm_fail(err, SM_ENOTFOUND, "there is no %s: a frame of the sequence has no result", *file);
    return sm_hint(err,
                   "results have a mask for each frame but the first and the last, by the names of GT's"),
           SM_ENOTFOUND;
  }
  const size_t pixels = status ? 0 : (size_t)to->width * (size_t)to->height;
  for (size_t i = 0; i < pixels; i++)
    if (s->o->foreground) to->value[i] = to->value[i] != 0;
    else if (truth && to->value[i] == DAVIS_VOID) to->value[i] = 0;
  return status;
}

static sm_status davis_sizes(const sm_label_map *a, const sm_label_map *b, const char *file,
                             const char *other, sm_error *err) {
  if (a->width == b->width && a->height == b->height) return SM_OK;
  return sm_fail(err, SM_EFORMAT, "%s is %d x %d pixels, but %s is %d x %d", file, a->width, a->height, other,
                 b->width, b->height);
}

static sm_status davis_frame(score_davis *s, int64_t sequence, const char *frame, sm_error *err) {
  const char *truth, *found;
  sm_clip_score *score = &s->score[sequence];
  sm_status status = davis_read(s, s->truth, s->names[sequence], frame, true, &s->a, &truth, err);
  if (!status) status = davis_read(s, s->results, s->names[sequence], frame, false, &s->b, &found, err);
  if (!status) status = davis_sizes(&s->b, &s->a, found, truth, err);
  if (status) return status;
  const sm_frame f = {s->a.value, s->b.value, NULL, s->a.height, s->a.width};
  if ((status = sm_clip_score_add(score, &f, s->pool, err)) == SM_EINVAL) {
    sm_hint(err,
            "results may have no object that the first mask lacks; masks of 0 and 255 want --foreground");
    sm_fail_at(err, found, 0, 0);
  }
  return status;
}

/* The first mask says which objects there are. */
static sm_status davis_sequence(score_davis *s, int64_t i, sm_error *err) {
  const char **frames, *file, *folder = sm_path_join(s->arena, s->truth, s->names[i]);
  int64_t n;
  sm_status status =
      folder ? sm_folder_names(s->arena, folder, false, &frames, &n, err) : davis_no_memory(err);
  if (status) return status;
  if (n < 3)
    return sm_fail(
        err, SM_EINVAL,
        "the sequence %s has %lld %s: the first and the last are not scored, so three are the fewest", folder,
        (long long)n, sm_plural(n, "mask", "masks"));
  status = davis_read(s, s->truth, s->names[i], frames[0], true, &s->a, &file, err);
  if (status) return status;
  const int objects = sm_mask_objects(s->a.value, s->a.height, s->a.width);
  if (!objects) {
    sm_fail(err, SM_EINVAL, "the first mask of a sequence has no object");
    sm_hint(err, "255 is unknown; masks of 0 and 255 want --foreground");
    return sm_fail_at(err, file, 0, 0), SM_EINVAL;
  }
  status = sm_clip_score_new(objects, n - 2, &s->score[i], err);
  for (int64_t t = 1; !status && t < n - 1; t++) status = davis_frame(s, i, frames[t], err);
  if (status) return status;
  sm_clip_score_sums(&s->score[i], s->sums + i * SM_VIDEO_FIGURES);
  s->objects[i] = objects;
  s->all += objects;
  for (int k = 0; k < SM_VIDEO_FIGURES; k++) s->mean[k] += s->sums[i * SM_VIDEO_FIGURES + k];
  return SM_OK;
}

/* ---- what is said -------------------------------------------------------------------------------------- */

static void davis_json(const score_davis *s, sm_json *json) {
  sm_json_begin(json);
  for (int k = 0; k < SM_VIDEO_FIGURES; k++) sm_json_double(json, titles[k], s->mean[k]);
  if (s->o->resamples) sm_json_object(json, "intervals");
  for (int k = 0; s->o->resamples && k < SM_VIDEO_FIGURES; k++) {
    sm_json_array(json, titles[k]);
    sm_json_double(json, NULL, s->interval[k].low);
    sm_json_double(json, NULL, s->interval[k].high);
    sm_json_close(json);
  }
  if (s->o->resamples) sm_json_close(json);
  sm_json_array(json, "sequences");
  for (int64_t i = 0; i < s->n; i++)
    for (int o = 1; o <= s->score[i].objects; o++) {
      sm_json_object(json, NULL);
      sm_json_string(json, "name", s->names[i]);
      sm_json_int(json, "object", o);
      sm_json_double(json, "J-Mean", sm_clip_score_j(&s->score[i], o).mean);
      sm_json_double(json, "F-Mean", sm_clip_score_f(&s->score[i], o).mean);
      sm_json_close(json);
    }
  sm_json_close(json);
}

/* The two tables that DAVIS's tools write, one behind the other. */
static void davis_text(const score_davis *s) {
  char name[512];
  for (int k = 0; k < SM_VIDEO_FIGURES; k++) printf("%s%s", k ? "," : "", titles[k]);
  printf("\n");
  for (int k = 0; k < SM_VIDEO_FIGURES; k++) printf("%s%.6f", k ? "," : "", s->mean[k]);
  printf("\n");
  for (int low = 0; s->o->resamples && low < 2; low++) {
    for (int k = 0; k < SM_VIDEO_FIGURES; k++)
      printf("%s%.6f", k ? "," : "", low ? s->interval[k].high : s->interval[k].low);
    printf("\n");
  }
  printf("\nSequence,J-Mean,F-Mean\n");
  for (int64_t i = 0; i < s->n; i++)
    for (int o = 1; o <= s->score[i].objects; o++) {
      sm_printable(s->names[i], "", name, sizeof name);
      printf("%s_%d,%.6f,%.6f\n", name, o, sm_clip_score_j(&s->score[i], o).mean,
             sm_clip_score_f(&s->score[i], o).mean);
    }
}

static sm_status davis_run(score_davis *s, sm_error *err) {
  if (s->o->resamples && s->o->resamples < 40)
    return sm_fail(err, SM_EINVAL, "--resamples %lld is too few for an interval of 95 %%; give 1000",
                   (long long)s->o->resamples);
  sm_status status = davis_sequences(s, err);
  for (int64_t i = 0; !status && i < s->n; i++) status = davis_sequence(s, i, err);
  if (status) return status;
  for (int k = 0; k < SM_VIDEO_FIGURES; k++) s->mean[k] /= s->all;
  if (!s->o->resamples) return SM_OK;
  return sm_ratio_intervals(s->sums, s->objects, s->n, SM_VIDEO_FIGURES, (int)s->o->resamples,
                            (uint64_t)s->o->seed, s->interval, err);
}

static int score_davis_run(sm_cli *cli, int argc, char **argv) {
  score_davis s = {.o = cli->options, .truth = argv[1], .results = argv[2]};
  sm_error err = {0};
  sm_json json = {0};
  (void)argc;
  s.arena = sm_arena_new("davis");
  s.pool = sm_pool_new(cli->threads ? (int)cli->threads : sm_cpu_count(), &err);
  sm_status status = !s.arena ? davis_no_memory(&err) : !s.pool ? err.code : davis_run(&s, &err);
  int code = SM_EXIT_OK;
  if (status) code = sm_cli_fail(&err);
  else {
    sm_cli_note(cli, "%.0f %s of %lld %s, first and last frame not scored", s.all,
                sm_plural((int64_t)s.all, "object", "objects"), (long long)s.n,
                sm_plural(s.n, "sequence", "sequences"));
    if (cli->json) davis_json(&s, &json), code = sm_cli_json(&json);
    else davis_text(&s);
  }
  for (int64_t i = 0; s.score && i < s.n; i++) sm_clip_score_free(&s.score[i]);
  sm_label_map_free(&s.a);
  sm_label_map_free(&s.b);
  sm_pool_free(s.pool);
  sm_arena_free(s.arena);
  return code;
}

const sm_command sm_command_score_davis = {
    .name = "score davis",
    .usage = "GT RESULTS",
    .summary = "give J and F of DAVIS 2017 of folders of masks",
    .about =
        "GT and RESULTS hold a folder of masks for each sequence, PNG whose values, or places in the palette, are numbers of objects: GT is "
        "DAVIS's Annotations/480p. Both tables are those of DAVIS's tools for the semi-supervised task: the seven figures over all objects, "
        "then J and F of each. Objects are those of the first mask; the first and the last frame are not scored; 255 in GT is background.",
    .min_args = 2,
    .max_args = 2,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .options_size = sizeof(struct score_davis_options),
    .run = score_davis_run,
};

/* cmd_score_segmentation.c — `smalti score segmentation GT PREDICTIONS`: IoU of each class of pixels, and the
 * means, of a folder of label pictures against another. */
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include <smalti/listing.h>
#include <smalti/segmentation.h>

#include "cli.h"
#include "framework/base/path.h"
#include "framework/eval/eval.h"

struct score_segmentation_options {
  int64_t classes, ignore;
  bool reduce_zero;
};

static const sm_option options[] = {
    SM_INT(struct score_segmentation_options, classes, "classes", "0", 0, 65536, NULL,
           "how many classes, 0 … N-1; 0: as many as the largest value of either folder asks for"),
    SM_INT(struct score_segmentation_options, ignore, "ignore", "255", -1, 65535, NULL,
           "value of true pixels that do not count; -1: all count"),
    SM_BOOL(struct score_segmentation_options, reduce_zero, "reduce_zero", "false",
            "of the truth, 0 does not count and 1 is class 0, as ADE20K counts"),
};

typedef struct score_folders {
  const struct score_segmentation_options *o;
  sm_arena *arena;
  const char *truth, *found;
  const char **file; /* below both folders */
  int64_t n, room;
  int classes;
  sm_label_map a, b; /* of one file */
} score_folders;

/* ---- the list ------------------------------------------------------------------------------------------ */

static sm_status score_folders_no_memory(const score_folders *s, sm_error *err) {
  return sm_fail(err, SM_ENOMEM, "out of memory while listing %s", s->truth);
}

static sm_status score_folders_add(score_folders *s, const char *below, sm_error *err) {
  if (s->n == s->room) {
    const int64_t room = s->room ? 2 * s->room : 256;
    const char **more = sm_realloc(s->file, (size_t)room * sizeof *more);
    if (!more) return score_folders_no_memory(s, err);
    s->file = more;
    s->room = room;
  }
  s->file[s->n++] = below;
  return SM_OK;
}

/* The label pictures below the folder of the truth, as a data set lists pictures. */
static sm_status score_folders_find(score_folders *s, sm_error *err) {
  sm_listing *list = sm_listing_folder(s->truth, err);
  if (!list) return err->code;
  sm_text path = {0};
  size_t root = strlen(s->truth);
  while (root > 1 && s->truth[root - 1] == '/') root--;
  sm_status status = sm_listing_arrange(list, SM_LISTING_BY_NOTHING, 0, err);
  for (int64_t i = 0; !status && i < sm_listing_count(list); i++) {
    sm_listing_path(list, i, &path);
    const char *below = path.failed ? NULL : sm_arena_strdup(s->arena, path.s + root + 1);
    if (!below) status = score_folders_no_memory(s, err);
    else if (!strcmp(strrchr(below, '.'), ".png")) status = score_folders_add(s, below, err);
  }
  sm_text_free(&path);
  sm_listing_free(list);
  return status;
}

/* Each has its prediction, before any is read. */
static sm_status score_folders_list(score_folders *s, sm_error *err) {
  int64_t missing = 0;
  const char *first = NULL;
  char path[SM_PATH_ROOM];
  struct stat st;
  sm_status status = score_folders_find(s, err);
  if (!status && !s->n) return sm_fail(err, SM_ENOTFOUND, "no label picture (.png) in %s", s->truth);
  for (int64_t i = 0; !status && i < s->n; i++) {
    if (!stat(sm_path_put(path, "%s/%s", s->found, s->file[i]), &st)) continue;
    if (!missing++) first = s->file[i];
  }
  if (status || !missing) return status;
  sm_fail(err, SM_ENOTFOUND, "%s/%s is missing%s", s->found, first, missing > 1 ? "" : ", the only one");
  return sm_hint(err, "%lld of %lld label pictures of %s have no prediction: give it the same name",
                 (long long)missing, (long long)s->n, s->truth);
}

/* ---- one file ------------------------------------------------------------------------------------------ */

static sm_status score_folders_read(score_folders *s, int64_t i, sm_error *err) {
  char truth[SM_PATH_ROOM], found[SM_PATH_ROOM];
  sm_path_put(truth, "%s/%s", s->truth, s->file[i]), sm_path_put(found, "%s/%s", s->found, s->file[i]);
  sm_status status = sm_label_map_read(truth, NULL, &s->a, err);
  if (!status) status = sm_label_map_read(found, NULL, &s->b, err);
  if (status) return status;
  if (s->a.width != s->b.width || s->a.height != s->b.height) {
    sm_fail(err, SM_EFORMAT, "the prediction is %d x %d pixels, but %.200s is %d x %d", s->b.width,
            s->b.height, truth, s->a.width, s->a.height);
    sm_hint(err, "predictions are scored at the size of the truth: resize them to it by nearest neighbour");
    return sm_fail_at(err, found, 0, 0), SM_EFORMAT;
  }
  const size_t pixels = (size_t)s->a.width * (size_t)s->a.height;
  for (size_t k = 0; s->o->reduce_zero && k < pixels; k++)
    if (!s->a.value[k]) s->a.value[k] = (uint16_t)s->o->ignore;
    else if (s->a.value[k] != s->o->ignore) s->a.value[k]--;
  return SM_OK;
}

/* The number of classes that the values ask for, or a value that is none. */
static sm_status score_folders_values(score_folders *s, int64_t i, sm_error *err) {
  const int most = s->o->classes ? (int)s->o->classes : 65536;
  for (int y = 0; y < s->a.height; y++)
    for (int x = 0; x < s->a.width; x++) {
      const size_t k = (size_t)y * (size_t)s->a.width + (size_t)x;
      if (s->a.value[k] == s->o->ignore) continue;
      const bool truth = s->a.value[k] >= most;
      const int value = truth || s->a.value[k] > s->b.value[k] ? s->a.value[k] : s->b.value[k];
      if (value < most) {
        if (value >= s->classes) s->classes = value + 1;
        continue;
      }
      char path[SM_PATH_ROOM];
      sm_path_put(path, "%s/%s", truth ? s->truth : s->found, s->file[i]);
      sm_fail(err, SM_EFORMAT, "value %d at (%d, %d) is no class: they are 0 to %d", value, x, y, most - 1);
      sm_hint(err, "%s",
              truth ? "say which value is ignored, or how many classes there are"
                    : "a prediction gives each pixel that counts a class");
      return sm_fail_at(err, path, 0, 0), SM_EFORMAT;
    }
  return SM_OK;
}

static sm_status score_folders_run(score_folders *s, sm_segmentation **out, sm_error *err) {
  sm_status status = score_folders_list(s, err);
  for (int64_t i = 0; !status && i < s->n; i++) {
    status = score_folders_read(s, i, err);
    if (!status) status = score_folders_values(s, i, err);
  }
  if (!status && !s->classes) status = sm_fail(err, SM_EFORMAT, "no pixel of %s counts", s->truth);
  if (s->o->classes) s->classes = (int)s->o->classes;
  if (!status) status = sm_segmentation_new(s->classes, (int)s->o->ignore, out, err);
  for (int64_t i = 0; !status && i < s->n; i++) {
    status = score_folders_read(s, i, err);
    if (!status)
      status = sm_segmentation_add(*out, s->a.value, s->b.value, (int64_t)s->a.width * s->a.height, i, err);
  }
  return status;
}

/* ---- the figures --------------------------------------------------------------------------------------- */

static void score_segmentation_json(const sm_segmentation_sums *sums, const sm_eval_result *r,
                                    sm_json *json) {
  sm_json_begin(json);
  for (int f = 0; f < r->n; f++) sm_json_double(json, r->figure[f].name, r->figure[f].value);
  sm_intervals_json(r, json);
  sm_json_array(json, "classes");
  for (int c = 0; c < sums->classes; c++) {
    sm_json_object(json, NULL);
    sm_json_int(json, "class", c);
    sm_json_double(json, "iou", 100 * sm_segmentation_iou(sums, c));
    sm_json_double(json, "accuracy", 100 * sm_segmentation_accuracy(sums, c));
    sm_json_int(json, "pixels", sums->labelled[c]);
    sm_json_int(json, "predicted", sums->taken[c]);
    sm_json_close(json);
  }
  sm_json_close(json);
}

/* "12.34", or "-". */
static const char *score_segmentation_share(double share, char text[16]) {
  if (isnan(share)) snprintf(text, 16, "-");
  else snprintf(text, 16, "%.2f", 100 * share);
  return text;
}

static void score_segmentation_text(const sm_segmentation_sums *sums, const sm_eval_result *r) {
  char iou[16], accuracy[16];
  printf("class     IoU %%   accuracy %%        pixels     predicted\n");
  for (int c = 0; c < sums->classes; c++)
    if (sums->labelled[c] || sums->taken[c])
      printf("%5d  %8s  %11s  %12lld  %12lld\n", c,
             score_segmentation_share(sm_segmentation_iou(sums, c), iou),
             score_segmentation_share(sm_segmentation_accuracy(sums, c), accuracy),
             (long long)sums->labelled[c], (long long)sums->taken[c]);
  for (int f = 0; f < r->n; f++) {
    printf("%-5s  %8.2f %%", r->figure[f].name, r->figure[f].value);
    if (r->has_interval[f]) printf(" [%.2f, %.2f]", r->interval[f].low, r->interval[f].high);
    printf("\n");
  }
}

static int score_segmentation_run(sm_cli *cli, int argc, char **argv) {
  score_folders s = {.o = cli->options, .arena = cli->arena, .truth = argv[1], .found = argv[2]};
  sm_segmentation *score = NULL;
  sm_error err = {0};
  sm_json json = {0};
  (void)argc;
  sm_eval_result *r = sm_arena_alloc(cli->arena, sizeof *r);
  int code = SM_EXIT_OK;
  sm_status status = SM_OK;
  if (s.o->reduce_zero && s.o->ignore < 0)
    return sm_cli_usage(cli, "--reduce-zero wants a value that is ignored, not --ignore -1");
  if (!r) return sm_cli_no_memory();
  status = score_folders_run(&s, &score, &err);
  if (!status) status = sm_segmentation_figures(score, NULL, NULL, r, &err);
  if (status) code = sm_cli_fail(&err);
  else {
    const sm_segmentation_sums sums = sm_segmentation_of(score);
    sm_cli_note(cli, "%lld label %s, %d classes; sums over the whole set, intervals over pictures",
                (long long)s.n, sm_plural(s.n, "picture", "pictures"), s.classes);
    if (cli->json) score_segmentation_json(&sums, r, &json), code = sm_cli_json(&json);
    else score_segmentation_text(&sums, r);
  }
  sm_segmentation_free(score);
  sm_label_map_free(&s.a);
  sm_label_map_free(&s.b);
  sm_free(s.file);
  return code;
}

const sm_command sm_command_score_segmentation = {
    .name = "score segmentation",
    .usage = "GT_FOLDER PREDICTION_FOLDER",
    .summary = "give IoU and accuracy of a folder of predicted label pictures",
    .about =
        "Each PNG of GT_FOLDER, at any depth, is compared with the one of the same name in PREDICTION_FOLDER. A value is a class: grey of 8 or 16 bits, or an index into a palette. "
        "A line for each class that occurs, then mIoU (mean over these), aAcc (all pixels) and mAcc (mean of the classes' accuracies): ratios of sums over the whole set, as mmsegmentation's IoUMetric.",
    .min_args = 2,
    .max_args = 2,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .options_size = sizeof(struct score_segmentation_options),
    .run = score_segmentation_run,
};

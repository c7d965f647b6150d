/* cmd_score_coco.c — `smalti score coco GT DETECTIONS`: COCO's average precision of a file of detections. */
#include <stdio.h>

#include "cli.h"
#include "framework/score/score.h"

struct score_coco_options {
  int type;
  bool agnostic;
  int64_t resamples, seed;
};

static const char *const score_coco_types[] = {"bbox", "segm", NULL};

static const sm_option options[] = {
    SM_CHOICE(struct score_coco_options, type, "type", "bbox", score_coco_types, "score boxes or masks"),
    SM_BOOL(struct score_coco_options, agnostic, "agnostic", "false",
            "take all categories for one, as for objects that were found without labels"),
    SM_INT(struct score_coco_options, resamples, "resamples", "0", 0, 100000, NULL,
           "resamples of the pictures for a 95 % interval; 0: no interval"),
    SM_INT(struct score_coco_options, seed, "seed", "0", 0, 1000000000, NULL, "seed of the resamples"),
};

static void score_coco_json(sm_json *json, const sm_coco *truth, const sm_coco_ap *ap) {
  sm_json_begin(json);
  for (int f = 0; f < SM_COCO_FIGURES; f++) sm_json_double(json, sm_coco_figure_names[f], ap->figures[f]);
  if (ap->has_interval) {
    sm_json_object(json, "intervals");
    for (int f = 0; f < SM_COCO_FIGURES; f++) {
      sm_json_array(json, sm_coco_figure_names[f]);
      sm_json_double(json, NULL, ap->low[f]);
      sm_json_double(json, NULL, ap->high[f]);
      sm_json_close(json);
    }
    sm_json_close(json);
  }
  sm_json_array(json, "categories");
  for (int k = 0; k < ap->categories; k++) {
    sm_json_object(json, NULL);
    sm_json_int(json, "id", truth->categories[k].id);
    sm_json_string(json, "name", truth->categories[k].name);
    sm_json_double(json, "AP", sm_coco_category_ap(ap, k));
    sm_json_close(json);
  }
  sm_json_close(json);
}

static void score_coco_text(const sm_coco *truth, const sm_coco_ap *ap) {
  char name[256];
  for (int f = 0; f < SM_COCO_FIGURES; f++) {
    printf("%-10s %.6f", sm_coco_figure_names[f], ap->figures[f]);
    if (ap->has_interval && ap->figures[f] >= 0) printf("  [%.6f, %.6f]", ap->low[f], ap->high[f]);
    printf("\n");
  }
  for (int k = 0; k < ap->categories; k++) {
    sm_printable(truth->categories[k].name, "", name, sizeof name);
    printf("AP of %s: %.6f\n", name, sm_coco_category_ap(ap, k));
  }
}

static int score_coco_run(sm_cli *cli, int argc, char **argv) {
  const struct score_coco_options *o = cli->options;
  const bool masks = o->type == 1;
  sm_error err = {0};
  sm_coco truth = {0}, found = {0};
  sm_coco_ap ap = {0};
  sm_json json = {0};
  (void)argc;
  sm_status status = sm_coco_read(argv[1], masks ? SM_COCO_MASKS : SM_COCO_BOXES, &truth, &err);
  if (!status) status = sm_coco_read_detections(argv[2], &truth, masks, &found, &err);
  if (!status && o->agnostic) status = sm_coco_one_category(&truth, &found, &err);
  if (!status) status = sm_coco_score(&truth, &found, masks, (int)o->resamples, (uint64_t)o->seed, &ap, &err);
  int code = SM_EXIT_OK;
  if (status) code = sm_cli_fail(&err);
  else {
    sm_cli_note(cli, "%s of %d %s, %d %s in %d %s%s; -1: nothing to count", masks ? "masks" : "boxes",
                found.n_objects, sm_plural(found.n_objects, "detection", "detections"), truth.n_objects,
                sm_plural(truth.n_objects, "object", "objects"), truth.n_images,
                sm_plural(truth.n_images, "picture", "pictures"), o->agnostic ? ", all of one category" : "");
    if (cli->json) score_coco_json(&json, &truth, &ap), code = sm_cli_json(&json);
    else score_coco_text(&truth, &ap);
  }
  sm_coco_ap_free(&ap);
  sm_coco_free(&found);
  sm_coco_free(&truth);
  return code;
}

const sm_command sm_command_score_coco = {
    .name = "score coco",
    .usage = "GT DETECTIONS",
    .summary = "give COCO's average precision of a file of detections",
    .about =
        "GT is COCO's JSON with images, annotations and categories; DETECTIONS a list of image_id, category_id, bbox or segmentation, score. "
        "All twelve figures are those of pycocotools, then one AP per category.",
    .min_args = 2,
    .max_args = 2,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .options_size = sizeof(struct score_coco_options),
    .run = score_coco_run,
};

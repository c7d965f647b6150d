/* cmd_preview.c — `smalti preview RECIPE`: a contact sheet of views and masks, before anything is trained. */
#include <inttypes.h>

#include "recipe_data.h"

struct preview_options {
  const char *out;
  bool force;
  int64_t pictures, epoch;
};

static const sm_option options[] = {
    SM_PATH(struct preview_options, out, "out", "~", "the PNG to write (default: preview.png)"),
    SM_FORCE_OPTION(struct preview_options),
    SM_INT(struct preview_options, pictures, "pictures", "6", 1, 64, NULL, "rows of the sheet"),
    SM_INT(struct preview_options, epoch, "epoch", "-1", -1, 1e9, NULL,
           "the epoch whose draws are shown; -1: the first one with masks"),
};

static int64_t cmd_preview_first_epoch_with_masks(const sm_masking *m) {
  return m->ops && m->ops->start_epoch ? m->ops->start_epoch(m->self) : 0;
}

static const char *cmd_preview_out(const struct preview_options *o) {
  return o->out ? o->out : "preview.png";
}

static sm_status cmd_preview_preview(const struct preview_options *o, sm_recipe *recipe, sm_error *err) {
  sm_recipe_data data;
  sm_text title = {0};
  sm_status status = sm_recipe_data_open(recipe, &data, err);
  if (status) return status;
  int64_t count = data.dataset.ops->count(data.dataset.self);
  uint64_t hash = sm_recipe_hash(recipe);
  sm_text_add(&title, "%s  %016" PRIx64, recipe->name ? recipe->name : "", hash);
  if (!hash || title.failed) return sm_text_free(&title), sm_fail(err, SM_ENOMEM, "out of memory");
  sm_preview_config config = {
      .dataset = data.dataset,
      .views = data.views,
      .masking = data.masking,
      .seed = (uint64_t)recipe->train.seed,
      .epoch = o->epoch >= 0 ? o->epoch : cmd_preview_first_epoch_with_masks(&data.masking),
      .pictures = (int)(o->pictures < count ? o->pictures : count),
      .limits = data.limits,
      .title = title.s};
  status = title.failed ? sm_fail(err, SM_ENOMEM, "out of memory")
                        : sm_preview_write(&config, cmd_preview_out(o), err);
  sm_text_free(&title);
  return status;
}

static int cmd_preview_run(sm_cli *cli, int argc, char **argv) {
  const struct preview_options *o = cli->options;
  sm_recipe *recipe = NULL;
  sm_error err;
  sm_status status = o->out ? sm_cli_may_write(o->out, o->force, &err) : SM_OK;
  if (!status) status = sm_cli_recipe(cli, argc, argv, &recipe, &err);
  if (!status) status = cmd_preview_preview(o, recipe, &err);
  if (!status) printf("%s\n", cmd_preview_out(o));
  sm_recipe_free(recipe);
  return !status ? SM_EXIT_OK : sm_cli_fail(&err);
}

const sm_command sm_command_preview = {
    .name = "preview",
    .usage = "RECIPE [KEY=VALUE ...]",
    .summary = "write a contact sheet of a recipe's views and masks",
    .about =
        "Draws the first pictures of an epoch as training will see them: "
        "the original with the boxes that are cut out, the global views, the same with the patches hidden from the student, the local views.",
    .min_args = 1,
    .max_args = -1,
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .options_size = sizeof(struct preview_options),
    .run = cmd_preview_run,
};

/* recipe_data.c — see recipe_data.h. */
#include "recipe_data.h"

#include <ctype.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <smalti/packed.h>

#include "framework/base/io.h"
#include "framework/data/data.h"

#include "framework/train/train.h"

/* The grid is the backbone's: how many pixels of a view one mask cell covers. */
static sm_status recipe_data_open_masking(sm_recipe *r, sm_masking *masking, sm_error *err) {
  sm_block_spec grid[2];
  *masking = (sm_masking){0};
  if (!r->masker.plugin.plugin || !r->backbone.plugin.plugin) return SM_OK;
  sm_status status = sm_slot_create(&r->backbone, err);
  if (!status) status = sm_slot_create(&r->masker, err);
  if (status) return status;
  if ((status = sm_recipe_grids(r, grid, err))) return status;
  if (sm_recipe_most_hidden(r) <= 0) return SM_OK; /* `none`: nothing to show */
  *masking = sm_masking_of(r, grid);
  return SM_OK;
}

sm_status sm_recipe_data_open(sm_recipe *r, sm_recipe_data *data, sm_error *err) {
  *data = (sm_recipe_data){.limits = sm_recipe_limits(r)};
  sm_status status = sm_views_of(r, &data->views, err);
  if (!status) status = recipe_data_open_masking(r, &data->masking, err);
  return !status ? sm_slot_open(&r->data.train, &data->dataset, err) : status;
}

sm_status sm_cli_folder(sm_cli *cli, const char *path, sm_instance *instance, sm_dataset *set,
                        sm_error *err) {
  sm_registry *registry;
  sm_status status = sm_cli_registry(cli, &registry, err);
  if (status) return status;
  return sm_dataset_open(registry, path, cli->arena, instance, set, err);
}

/* An archive, a picture or weights: no recipe, whatever its name. */
static bool recipe_data_is_binary(const char *path) {
  unsigned char begin[512];
  const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  const ssize_t n = fd >= 0 ? read(fd, begin, sizeof begin) : 0;
  if (fd >= 0) close(fd);
  for (ssize_t i = 0; i < n; i++)
    if (begin[i] < ' ' && !isspace(begin[i])) return true;
  return false;
}

sm_status sm_cli_look(const char *path, bool *pictures, sm_error *err) {
  const char *dot = strrchr(sm_path_base(path), '.');
  struct stat st;
  *pictures = false;
  bool there;
  const sm_status status = sm_path_look(path, &st, &there, err);
  if (status || !there) return status; /* a recipe may lie in a recipe folder */
  *pictures = S_ISDIR(st.st_mode) || sm_packed_is(path) || (S_ISREG(st.st_mode) && sm_tar_is(path));
  if (!*pictures && S_ISREG(st.st_mode) && sm_list_is(path) && !recipe_data_is_binary(path)) *pictures = true;
  if (*pictures || !S_ISREG(st.st_mode) || (dot && (!strcasecmp(dot, ".yaml") || !strcasecmp(dot, ".yml"))) ||
      !recipe_data_is_binary(path))
    return SM_OK;
  sm_fail(err, SM_EINVAL, "this is no recipe, no folder or list of pictures and no packed file");
  sm_fail_at(err, path, 0, 0);
  return sm_hint(
      err, "unpack an archive and name its folder; a dataset plugin is named in a recipe, under data.train");
}

const char *sm_cli_printable(sm_text *text, const char *name) {
  size_t n = sm_printable(name, "", NULL, 0);
  text->len = 0;
  sm_text_add(text, "%*s", (int)n, "");
  if (!text->failed) sm_printable(name, "", text->s, n + 1);
  return text->s ? text->s : "";
}

/* show_pictures.c — a network and the pictures that it looks at. */
#include <string.h>
#include <sys/stat.h>

#include "recipe_data.h"
#include "show.h"

enum { MOST_SIDE = 4096, SHOWN_SIDE = 240 };

/* ---- the network --------------------------------------------------------------------------------------- */

static sm_status show_pictures_size(sm_viewer *s, const char *text, sm_error *err) {
  const sm_network_spec *about = sm_network_describe(s->network);
  s->height = about->height, s->width = about->width == about->height ? 0 : about->width;
  if (strcmp(text, "0") != 0) {
    int width = 0;
    if (!sm_view_size_parse(text, &s->height, &width) || s->height > MOST_SIDE || width > MOST_SIDE) {
      sm_fail(err, SM_EINVAL, "--size must be pixels, 1 to %d, not '%.80s'", MOST_SIDE, text);
      return sm_hint(err, "--size 480 is the shorter side; --size 480x640 are height and width");
    }
    s->width = strchr(text, 'x') ? width : 0;
  }
  if (s->height) return SM_OK;
  sm_fail(err, SM_EINVAL, "it is not known how large the pictures shall be");
  return sm_hint(err, "say it: --size 224");
}

static sm_status show_pictures_begin(sm_viewer *s, const char *size, sm_error *err) {
  if (!(s->scratch = sm_image_scratch_new())) return sm_fail(err, SM_ENOMEM, "out of memory");
  return show_pictures_size(s, size, err);
}

sm_status sm_show_open(sm_viewer *s, sm_cli *cli, const sm_network_options *o, const char *path, const char *size,
                       int64_t cell, sm_error *err) {
  *s = (sm_viewer){.cli = cli, .cell = (int)cell};
  sm_status status = sm_cli_network(cli, o, path, &s->network, err);
  if (!status) status = sm_cli_network_say(cli, s->network, sm_network_allocate(s->network, err));
  if (!status && !(s->pool = sm_recipe_pool(sm_network_recipe(s->network), cli->threads, sm_cli_isa(cli), err)))
    status = err->code;
  return status ? status : show_pictures_begin(s, size, err);
}

sm_status sm_show_borrow(sm_viewer *s, sm_cli *cli, sm_network *network, sm_pool *pool, const char *size,
                         sm_error *err) {
  *s = (sm_viewer){.cli = cli, .network = network, .pool = pool, .borrowed = true};
  return show_pictures_begin(s, size, err);
}

void sm_show_close(sm_viewer *s) {
  sm_looker_free(s->looker);
  sm_free(s->x);
  sm_free(s->picture);
  sm_image_scratch_free(s->scratch);
  if (!s->borrowed) sm_pool_free(s->pool), sm_network_close(s->network);
  for (int i = 0; i < s->recipes; i++) sm_recipe_free(s->recipe[i]);
  for (int i = 0; i < s->sets; i++) sm_instance_free(&s->set[i]);
  *s = (sm_viewer){0};
}

/* ---- pictures ------------------------------------------------------------------------------------------ */

/* Room for n pictures more. */
static sm_status show_pictures_room(sm_viewer *s, int64_t n, sm_error *err) {
  sm_shown *more = sm_realloc(s->picture, (size_t)(s->n + n + 1) * sizeof *more);
  if (!more) return sm_fail(err, SM_ENOMEM, "no memory for the list of pictures");
  s->picture = more;
  return SM_OK;
}

static sm_status show_pictures_put(sm_viewer *s, sm_shown shown, sm_error *err) {
  sm_status status = show_pictures_room(s, 1, err);
  if (!status) s->picture[s->n++] = shown;
  return status;
}

static sm_status show_pictures_of(sm_viewer *s, sm_dataset set, int64_t most, sm_error *err) {
  const int64_t count = set.ops ? set.ops->count(set.self) : 0, n = count < most ? count : most;
  const int64_t step = n ? count / n : 1; /* one further each time: data sets may repeat their classes in order */
  sm_status status = show_pictures_room(s, n, err);
  for (int64_t i = 0; !status && i < n; i++)
    s->picture[s->n++] = (sm_shown){.set = set, .index = i * step + i % step};
  return status;
}

static sm_status show_pictures_recipe(sm_viewer *s, char *path, int64_t most, sm_error *err) {
  char *word[] = {"show", path};
  sm_dataset set = {0};
  sm_recipe **r = &s->recipe[s->recipes];
  sm_status status = sm_cli_recipe(s->cli, 2, word, r, err);
  if (status) return status;
  s->recipes++;
  sm_slot *slot = (*r)->data.test.plugin.plugin ? &(*r)->data.test : &(*r)->data.train;
  status = sm_slot_open(slot, &set, err);
  return status ? status : show_pictures_of(s, set, most, err);
}

static bool show_pictures_is_picture(const char *path) {
  struct stat st;
  sm_error ignored;
  int width, height;
  return !stat(path, &st) && S_ISREG(st.st_mode) && !sm_image_size(path, &width, &height, &ignored);
}

static sm_status show_pictures_path(sm_viewer *s, char *path, int64_t most, sm_error *err) {
  bool folder;
  sm_dataset set = {0};
  if (show_pictures_is_picture(path)) return show_pictures_put(s, (sm_shown){.path = path}, err);
  sm_status status = sm_cli_look(path, &folder, err);
  if (status) return status;
  if (s->recipes >= SM_SHOW_SETS || s->sets >= SM_SHOW_SETS)
    return sm_fail(err, SM_EINVAL, "at most %d folders or recipes can be shown together", SM_SHOW_SETS);
  if (!folder) return show_pictures_recipe(s, path, most, err);
  status = sm_cli_folder(s->cli, path, &s->set[s->sets++], &set, err);
  return status ? status : show_pictures_of(s, set, most, err);
}

static sm_status show_pictures_none(sm_error *err) {
  sm_fail(err, SM_EINVAL, "there are no pictures to show");
  return sm_hint(err, "name picture files, a folder of pictures or a recipe behind the network");
}

sm_status sm_show_add_sets(sm_viewer *s, const char *train, const char *test, int64_t most, sm_error *err) {
  const int before = s->n;
  sm_status status = s->borrowed ? SM_OK : sm_network_data(s->network, train, test, 0, err);
  sm_dataset set = sm_network_pictures(s->network, true);
  if (!set.ops) set = sm_network_pictures(s->network, false);
  if (!status) status = show_pictures_of(s, set, most, err);
  return status || s->n > before ? status : show_pictures_none(err);
}

sm_status sm_show_add(sm_viewer *s, char **path, int paths, int64_t most, sm_error *err) {
  const int before = s->n;
  sm_status status = SM_OK;
  if (!paths) return sm_show_add_sets(s, NULL, NULL, most, err);
  for (int i = 0; i < paths && !status; i++) status = show_pictures_path(s, path[i], most, err);
  return status || s->n > before ? status : show_pictures_none(err);
}

sm_status sm_show_add_training(sm_viewer *s, int64_t most, sm_error *err) {
  const bool opened = sm_network_pictures(s->network, false).ops || sm_network_pictures(s->network, true).ops;
  sm_status status = opened ? SM_OK : sm_network_data(s->network, NULL, NULL, 0, err);
  const sm_dataset set = sm_network_pictures(s->network, false);
  return status || !set.ops ? status : show_pictures_of(s, set, most, err);
}

sm_status sm_show_read(sm_viewer *s, int i, sm_image *out, sm_error *err) {
  const sm_shown *p = &s->picture[i];
  const sm_image_limits limits = sm_recipe_limits(sm_network_recipe(s->network));
  if (p->path) return sm_image_read(p->path, &limits, s->scratch, out, err);
  const sm_source source = {.dataset = &p->set, .limits = &limits};
  return sm_source_get(&source, p->index, NULL, out, NULL, err);
}

static const char *show_pictures_whole_name(const sm_shown *p) {
  return p->path ? p->path : p->set.ops->name(p->set.self, p->index);
}

/* The file and the folder that it lies in. */
static const char *show_pictures_with_folder(const char *path) {
  const char *at = sm_path_base(path);
  if (at > path) at--;
  while (at > path && at[-1] != '/') at--;
  return at;
}

const char *sm_show_name(const sm_viewer *s, int i) {
  const char *path = show_pictures_whole_name(&s->picture[i]), *name = sm_path_base(path);
  for (int k = 0; k < s->n; k++) {
    const char *other = show_pictures_whole_name(&s->picture[k]);
    if (strcmp(path, other) && !strcmp(name, sm_path_base(other))) return show_pictures_with_folder(path);
  }
  return name;
}

/* ---- looking ------------------------------------------------------------------------------------------- */

static int show_pictures_round(double pixels, int cell) {
  const int cells = (int)(pixels / cell + 0.5);
  return (cells < 1 ? 1 : cells) * cell;
}

void sm_show_size(const sm_viewer *s, const sm_image *image, int *height, int *width) {
  const int cell = sm_network_describe(s->network)->backbone.cell, shorter = s->height;
  *height = *width = shorter;
  if (s->width) *width = s->width;
  else if (cell > 0 && image->width > 0 && image->height > 0 && image->width != image->height) {
    double ratio = (double)image->width / image->height;
    ratio = ratio > 4 ? 4 : ratio < 0.25 ? 0.25 : ratio;
    if (ratio > 1) *width = show_pictures_round(shorter * ratio, cell);
    else *height = show_pictures_round(shorter / ratio, cell);
  }
}

static bool show_pictures_same(const sm_look_request *a, const sm_look_request *b) {
  return a->height == b->height && a->width == b->width && a->view == b->view && a->patches == b->patches &&
         a->attention == b->attention && a->raw == b->raw && a->logits == b->logits;
}

sm_status sm_show_look_at(sm_viewer *s, const sm_image *image, int height, int width, const sm_look_request *want,
                          sm_look *look, sm_error *err) {
  const sm_network_spec *about = sm_network_describe(s->network);
  sm_look_request now = *want;
  sm_image seen = {0};
  now.height = height, now.width = width;
  if (!s->looker || !show_pictures_same(&s->want, &now)) {
    sm_looker_free(s->looker);
    sm_free(s->x);
    s->x = NULL;
    if (!(s->looker = sm_looker_new(s->network, s->pool, &now, err))) return err->code;
    s->want = now;
    if (!(s->x = sm_malloc(3 * (size_t)height * (size_t)width * sizeof *s->x)))
      return sm_fail(err, SM_ENOMEM, "out of memory");
  }
  sm_status status = sm_image_resize(image, NULL, width, height, about->filter, s->scratch, &seen, err);
  if (!status) {
    sm_image_normalise(&seen, about->mean, about->std, s->x);
    status = sm_looker_run(s->looker, s->x, look, err);
  }
  sm_image_free(&seen);
  return status;
}

sm_status sm_show_look(sm_viewer *s, const sm_image *image, const sm_look_request *want, sm_look *look, sm_error *err) {
  int height, width;
  sm_show_size(s, image, &height, &width);
  return sm_show_look_at(s, image, height, width, want, look, err);
}

int sm_show_cell(const sm_viewer *s, const sm_look *look) {
  const int side = look->rows > look->cols ? look->rows : look->cols;
  return s->cell ? s->cell : SHOWN_SIDE / side < 4 ? 4 : SHOWN_SIDE / side;
}

sm_status sm_show_tile(sm_viewer *s, const sm_image *image, const sm_look *look, sm_image *out, sm_error *err) {
  const int cell = sm_show_cell(s, look);
  return sm_image_resize(image, NULL, look->cols * cell, look->rows * cell, SM_FILTER_BICUBIC, s->scratch, out, err);
}

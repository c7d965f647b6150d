/* network_open.c — what a path is, and what network it holds: recipe, backbone, sizes, and which of a run's
 * networks. It reads the recipe and the header of the file, and makes no weights. */
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "checkpoint.h"
#include "framework/base/io.h"
#include "framework/plugin/option.h"
#include "framework/recipe/recipe_private.h"
#include "network_private.h"

/* ---- what the path is ---------------------------------------------------------------------------------- */

static bool network_open_ends_in(const char *path, const char *end) {
  size_t n = strlen(path), m = strlen(end);
  return n > m && !strcmp(path + n - m, end);
}

static bool network_open_exists(const char *path) {
  return path && sm_path_there(path, NULL);
}

/* The folder two levels above a checkpoint, if it is a run. */
static const char *network_open_run_of(sm_arena *arena, const char *checkpoint) {
  char *path = sm_arena_strdup(arena, checkpoint);
  for (int level = 0; path && level < 2; level++) {
    char *slash = strrchr(path, '/');
    if (slash == path) return NULL;
    if (slash) *slash = 0;
    else path = sm_arena_strdup(arena, level ? ".." : ".");
  }
  return path && network_open_exists(sm_path_join(arena, path, "recipe.yaml")) ? path : NULL;
}

static sm_registry *network_open_registry_of(const sm_network *n) { return (sm_registry *)n->host; }

static sm_status open_recipe(sm_network *n, const char *path, sm_error *err) {
  return path ? sm_recipe_load(&n->recipe, network_open_registry_of(n), path, 0, NULL, err) : SM_OK;
}

/* The recipe that a run folder keeps: already resolved, with `extends` expanded. */
static sm_status open_own_recipe(sm_network *n, const char *path, sm_error *err) {
  const sm_recipe_parts parts = {.folder = "", .path = path, .fit = false};
  return path ? sm_recipe_compose(&n->recipe, network_open_registry_of(n), &parts, err) : SM_OK;
}

static sm_status open_run(sm_network *n, sm_error *err) {
  const sm_network_source *o = &n->from;
  const char *recipe = o->recipe ? o->recipe : sm_path_join(n->arena, o->path, "recipe.yaml");
  n->run = o->path;
  if (!recipe) return sm_fail(err, SM_ENOMEM, "out of memory");
  if (!o->recipe && !network_open_exists(recipe)) {
    sm_fail(err, SM_ENOTFOUND, "this folder is no run: it has no recipe.yaml");
    network_refuse(n, err);
    return sm_hint(err, "give a folder that `smalti train` made, a checkpoint in one, or a weights file");
  }
  sm_status status = o->recipe ? open_recipe(n, recipe, err) : open_own_recipe(n, recipe, err);
  return status || !network_has_weights(o->net) ? status
                                                : sm_weights_file(o->path, n->arena, &n->spec.file, err);
}

static sm_status open_file(sm_network *n, bool checkpoint, sm_error *err) {
  const sm_network_source *o = &n->from;
  n->spec.file = o->path;
  if (!checkpoint) return open_recipe(n, o->recipe, err);
  n->run = network_open_run_of(n->arena, o->path);
  const char *recipe = o->recipe ? o->recipe : n->run ? sm_path_join(n->arena, n->run, "recipe.yaml") : NULL;
  if (recipe) return o->recipe ? open_recipe(n, recipe, err) : open_own_recipe(n, recipe, err);
  sm_fail(err, SM_EINVAL, "the checkpoint lies in no run folder, and does not say what network it is of");
  network_refuse(n, err);
  return sm_hint(err, "give the recipe it was trained with: --recipe FILE");
}

static bool network_open_is_yaml(const char *path) {
  return network_open_ends_in(path, ".yaml") || network_open_ends_in(path, ".yml");
}

/* Which names may be those of a recipe: of a folder of recipes too, where "demo" finds demo.yaml, unless
 * only weights can be meant. */
static bool network_open_names_recipe(const sm_network_source *o) {
  return network_open_is_yaml(o->path) || !network_has_weights(o->net);
}

static sm_status open_named_recipe(sm_network *n, const char *path, sm_error *err) {
  if (!network_has_weights(n->from.net)) return open_recipe(n, path, err);
  sm_fail(err, SM_EINVAL, "a recipe has no weights");
  network_refuse(n, err);
  return sm_hint(err, "give the run folder that it was trained in, or ask for --net init or --net pixels");
}

static sm_status open_path(sm_network *n, sm_st_reader **file, sm_error *err) {
  const sm_network_source *o = &n->from;
  const char *recipe = NULL;
  struct stat st;
  bool there;
  sm_status status = sm_path_look(o->path, &st, &there, err);
  if (status) return status;
  if (!there) {
    sm_error none;
    if (network_open_names_recipe(o)) recipe = sm_recipe_find(n->arena, "", o->path, &none);
    if (!recipe && network_open_is_yaml(o->path)) return *err = none, none.code;
    if (!recipe) {
      sm_fail(err, SM_ENOTFOUND, "no such run folder, checkpoint or weights file");
      return network_refuse(n, err);
    }
    return open_named_recipe(n, recipe, err);
  }
  if (S_ISDIR(st.st_mode)) {
    status = open_run(n, err);
    if (!status && n->spec.file && !(*file = sm_st_open(n->spec.file, err))) status = err->code;
    return status; /* sm_weights_file has verified it */
  }
  if (network_open_names_recipe(o) && network_open_is_yaml(o->path))
    return open_named_recipe(n, o->path, err);
  if (!(*file = sm_foreign_open(o->path, o->prefix, o->net, n->arena, &n->foreign, err))) return err->code;
  if (n->foreign.plugin) n->prefix = "";
  status = sm_st_verify(*file, err);
  if (!status && sm_is_checkpoint(*file)) status = sm_checkpoint_format(*file, err);
  return status ? status : open_file(n, sm_is_checkpoint(*file), err);
}

/* ---- the backbone -------------------------------------------------------------------------------------- */

/* What a foreign file says of its backbone, where the description does not say it. Whoever names an
 * architecture says its sizes by that. */
static sm_status network_open_add_told(const sm_network *n, sm_yaml *options, sm_error *err) {
  static const char *const sizes[] = {"arch", "dim", "depth", "heads", "depths", NULL};
  const sm_foreign *f = &n->foreign;
  const bool arch = sm_yaml_find(options, "arch") != NULL;
  for (int i = 0; i < f->options; i++) {
    if (sm_yaml_find(options, f->option[i].name) || (arch && sm_listed(sizes, f->option[i].name))) continue;
    sm_yaml *value = sm_yaml_read(n->arena, "backbone", false, f->option[i].value, strlen(f->option[i].value), err);
    if (!value) return err->code;
    if (!sm_yaml_add(n->arena, options, f->option[i].name, value->at, value))
      return sm_fail(err, SM_ENOMEM, "out of memory");
  }
  return SM_OK;
}

/* "vit: {arch: small}", with or without braces around it. */
static sm_status network_open_make_backbone(sm_network *n, const char *yaml, sm_error *err) {
  sm_yaml *map = sm_yaml_read(n->arena, "backbone", false, yaml, strlen(yaml), err);
  if (!map) return err->code;
  if (map->kind != SM_YAML_MAP || map->n != 1) {
    sm_fail(err, SM_EINVAL, "the backbone is described by '%.200s', which is not one plugin with its options",
            yaml);
    return sm_hint(err, "for instance 'vit: {arch: small, patch_size: 16}'");
  }
  const sm_entry *e = &map->entry[0];
  if (!(n->plugin = sm_registry_find(network_open_registry_of(n), SM_BACKBONE, e->key, err)))
    return err->code;
  sm_yaml *options = e->value && e->value->kind == SM_YAML_NULL ? NULL : e->value;
  sm_status status = SM_OK;
  if (n->foreign.plugin && !n->about.backbone && !strcmp(n->foreign.plugin, n->plugin->name)) {
    if (!options && !(options = sm_yaml_new(n->arena, SM_YAML_MAP, e->at)))
      return sm_fail(err, SM_ENOMEM, "out of memory");
    if (options->kind == SM_YAML_MAP) status = network_open_add_told(n, options, err);
  }
  if (!status) status = sm_instance_new(network_open_registry_of(n), n->plugin, &n->own, err);
  if (!status)
    status = sm_options_read(n->plugin->options, (int)n->plugin->n_options, options, n->plugin->name, NULL,
                             e->at, n->arena, n->own.self, err);
  if (!status) status = sm_instance_create(&n->own, err);
  n->self = n->own.self;
  return status;
}

static const char *network_open_describe_backbone(sm_arena *arena, const sm_plugin *p, const void *self) {
  sm_text text = {0};
  sm_text_add(&text, "{%s: {", p->name);
  for (uint32_t i = 0; i < p->n_options; i++) {
    sm_text_add(&text, "%s%s: ", i ? ", " : "", p->options[i].name);
    sm_option_write(&p->options[i], self, &text);
  }
  sm_text_add(&text, "}}");
  const char *copy = text.failed ? NULL : sm_arena_strdup(arena, text.s);
  sm_text_free(&text);
  return copy;
}

static sm_status network_open_no_backbone(const sm_network *n, sm_error *err) {
  sm_fail(err, SM_EINVAL, "the weights file does not say what network it is of");
  network_refuse(n, err);
  return sm_hint(
      err, "describe it, for instance --backbone 'vit: {arch: small, patch_size: 16}', or give a --recipe");
}

/* Everything but one option is told by the file. */
static sm_status network_open_lacks(const sm_network *n, sm_error *err) {
  const sm_foreign *f = &n->foreign;
  sm_fail(err, SM_EINVAL, "the weights (%s) do not tell the network's '%s'", f->family, f->lacks);
  network_refuse(n, err);
  return sm_hint(err, "say it, for instance --backbone '%s: {%s}'; everything else the file tells", f->plugin,
                 f->lacks_for);
}

static sm_status network_open_choose_backbone(sm_network *n, const sm_st_reader *file, sm_error *err) {
  sm_weights_about *a = &n->about;
  sm_status status = SM_OK;
  const char *yaml = n->from.backbone ? n->from.backbone
                     : a->backbone    ? sm_arena_strdup(n->arena, a->backbone)
                                      : NULL;
  if (!yaml && !n->recipe && n->foreign.plugin) {
    if (n->foreign.lacks) return network_open_lacks(n, err);
    if (!(yaml = sm_foreign_backbone(&n->foreign, n->arena))) return sm_fail(err, SM_ENOMEM, "out of memory");
  }
  if (yaml) {
    status = network_open_make_backbone(n, yaml, err);
  } else if (n->recipe && n->recipe->objective.plugin.plugin) {
    sm_fail(err, SM_EINVAL, "objective `%s` trains no backbone, so there are no features",
            n->recipe->objective.plugin.plugin->name);
    network_refuse(n, err);
    return sm_hint(err, "its figures are in the run's metrics.jsonl and report.html");
  } else if (n->recipe) {
    status = sm_slot_create(&n->recipe->backbone, err);
    n->plugin = n->recipe->backbone.plugin.plugin;
    n->self = n->recipe->backbone.plugin.self;
  } else {
    return network_open_no_backbone(n, err);
  }
  if (status) return status;
  n->ops = n->plugin->ops;
  n->spec.name = n->plugin->name;
  if (n->recipe && !a->height && (!file || sm_is_checkpoint(file)))
    a->height = n->recipe->views.global_height, a->width = n->recipe->views.global_width;
  return SM_OK;
}

/* ---- sizes --------------------------------------------------------------------------------------------- */

/* What the pictures must be like, from the best source: the file itself, the recipe, ImageNet. */
static void network_open_take_pictures(sm_network *n) {
  sm_weights_about *a = &n->about;
  if (a->std[0] > 0) return;
  const sm_view_recipe *view = n->recipe ? &n->recipe->views.global_first : NULL;
  const sm_foreign *f = &n->foreign;
  n->assumed = !view && !f->normalised;
  memcpy(a->mean, view ? view->mean : f->normalised ? f->mean : sm_imagenet_mean, sizeof a->mean);
  memcpy(a->std, view ? view->std : f->normalised ? f->std : sm_imagenet_std, sizeof a->std);
  if (view) a->filter = view->filter;
}

/* Weights of another program say the size of their views by the length of a table of positions: which one,
 * and what comes before the patches in it, says a declaration that is thrown away. */
static void network_open_take_size_of_file(sm_network *n, const sm_st_reader *file) {
  char name[320];
  sm_set *scratch = sm_set_new("scratch", SM_F32, false, NULL);
  if (scratch) n->ops->declare(n->self, n->spec.height, n->spec.width, &(sm_params){scratch, ""});
  for (int r = 0; scratch && r < sm_set_rows(scratch); r++) {
    const sm_row *row = sm_set_row(scratch, r);
    snprintf(name, sizeof name, "%s%s", n->prefix, row->name);
    const sm_st_tensor *t = row->grid.rows ? sm_st_find(file, name) : NULL;
    if (!t || t->ndim != 3 || t->shape[1] > 1 << 20) continue;
    int64_t patches = t->shape[1] - row->grid.prefix, side = patches > 0 ? llround(sqrt((double)patches)) : 0;
    if (!side || side * side != patches) continue;
    n->about.height = n->about.width = (int)side * n->spec.backbone.cell;
    break;
  }
  sm_set_free(scratch);
}

/* The size of the views that parameters are declared for. A backbone says what it makes of pictures of a size
 * that it can cut, so the likeliest come first. */
static sm_status network_open_choose_size(sm_network *n, const sm_st_reader *file, sm_error *err) {
  static const int common[] = {224, 32, 256, 64, 196, 96};
  sm_weights_about *a = &n->about;
  sm_network_spec *s = &n->spec;
  int likely[2] = {a->height, a->width}, tries = (int)(sizeof common / sizeof *common);
  sm_status status = SM_EINVAL;
  if (!likely[0] && n->recipe)
    likely[0] = n->recipe->views.global_height, likely[1] = n->recipe->views.global_width;
  for (int i = 0; status && i < (likely[0] ? 1 : tries); i++) {
    s->height = likely[0] ? likely[0] : common[i];
    s->width = likely[0] ? likely[1] : common[i];
    status = sm_network_at(n, s->height, s->width, &s->backbone, err);
  }
  if (status) return network_refuse(n, err);
  if (!a->height && n->foreign.height) a->height = n->foreign.height, a->width = n->foreign.width;
  if (!a->height && file) network_open_take_size_of_file(n, file);
  if (!a->height) a->height = s->height, a->width = s->width;
  if (a->height == s->height && a->width == s->width) return SM_OK;
  s->height = a->height, s->width = a->width;
  status = sm_network_at(n, s->height, s->width, &s->backbone, err);
  return status ? network_refuse(n, err) : SM_OK;
}

/* ---- which network ------------------------------------------------------------------------------------- */

static bool network_open_averaged(const sm_recipe *r) {
  for (int i = 0; r && i < r->tokenizers; i++)
    if (network_tokenizer_of_run(&r->tokenizer[i]).ema) return true;
  return false;
}

static sm_status network_open_choose_in_checkpoint(sm_network *n, const sm_st_reader *file, sm_error *err) {
  n->teacherless = !sm_checkpoint_has_teacher(file);
  if (n->from.net == SM_NET_AUTO)
    n->net = network_open_averaged(n->recipe) && !n->teacherless ? SM_NET_TEACHER : SM_NET_STUDENT;
  n->prefix = sm_checkpoint_backbone(n->net == SM_NET_TEACHER);
  if (n->net != SM_NET_TEACHER || !n->teacherless) return SM_OK;
  sm_fail(err, SM_EINVAL, "the run keeps no teacher: none of its tokenizers looks at one");
  sm_fail_at(err, n->spec.file, 0, 0);
  return sm_hint(err, "take the student: --net student");
}

/* A weights file holds one network, and says which; one of another program: the weights it has. */
static sm_status network_open_choose_in_weights(sm_network *n, sm_error *err) {
  n->net = n->foreign.plugin ? n->foreign.net : SM_NET_TEACHER;
  for (int i = SM_NET_TEACHER; n->about.backbone && sm_net_names[i]; i++)
    if (!strcmp(n->about.net, sm_net_names[i])) n->net = (sm_net)i;
  if (!n->about.backbone || n->from.net == SM_NET_AUTO || n->from.net == n->net) return SM_OK;
  sm_fail(err, SM_EINVAL, "the file holds weights of the %s only, not of the %s", sm_net_names[n->net],
          sm_net_names[n->from.net]);
  return sm_fail_at(err, n->spec.file, 0, 0);
}

static sm_status network_open_choose_net(sm_network *n, const sm_st_reader *file, sm_error *err) {
  sm_status status = SM_OK;
  n->net = n->from.net;
  if (file && network_has_weights(n->net))
    status = sm_is_checkpoint(file) ? network_open_choose_in_checkpoint(n, file, err)
                                    : network_open_choose_in_weights(n, err);
  n->about.net = sm_net_names[n->net];
  return status;
}

/* What an export of it will say. One that was exported keeps saying where it came from. */
static sm_status network_open_describe(sm_network *n, const sm_st_reader *file, sm_error *err) {
  sm_weights_about *a = &n->about;
  const char *step = file && network_has_weights(n->net) ? sm_st_get(file, "step") : NULL;
  if (!a->backbone && n->recipe) {
    a->recipe = n->recipe->name;
    if (!(a->recipe_hash = sm_recipe_hash(n->recipe))) return sm_fail(err, SM_ENOMEM, "out of memory");
    if (step) sm_parse_int(step, &a->step);
  }
  a->recipe = sm_arena_strdup(n->arena, a->recipe ? a->recipe : "");
  a->backbone = network_open_describe_backbone(n->arena, n->plugin, n->self);
  return a->recipe && a->backbone ? SM_OK : sm_fail(err, SM_ENOMEM, "out of memory");
}

static void network_open_take_spec(sm_network *n) {
  sm_network_spec *s = &n->spec;
  s->height = n->about.height, s->width = n->about.width;
  s->filter = n->about.filter;
  memcpy(s->mean, n->about.mean, sizeof s->mean);
  memcpy(s->std, n->about.std, sizeof s->std);
  s->bf16 = n->recipe && n->recipe->train.precision == SM_PRECISION_BF16;
}

sm_status network_look(sm_network *n, sm_error *err) {
  sm_st_reader *file = NULL;
  n->net = n->from.net;
  n->prefix = n->from.prefix;
  sm_status status = open_path(n, &file, err);
  if (!status && file) status = sm_weights_about_read(file, &n->about, err);
  if (!status) network_open_take_pictures(n);
  if (!status && n->net == SM_NET_PIXELS) {
    /* what the file says goes with it */
    n->about.backbone = NULL, n->about.recipe = "", n->about.net = sm_net_names[n->net];
    if (n->recipe)
      n->about.height = n->recipe->views.global_height, n->about.width = n->recipe->views.global_width;
  } else {
    if (!status) status = network_open_choose_backbone(n, file, err);
    if (!status) status = network_open_choose_size(n, file, err);
    if (!status) status = network_open_choose_net(n, file, err);
    if (!status) status = network_open_describe(n, file, err);
  }
  network_open_take_spec(n);
  sm_st_close(file);
  return status;
}

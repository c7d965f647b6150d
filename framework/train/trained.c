/* trained.c — see trained.h. Owns the recipe, the instances and the set it makes; borrows the registry. */
#include "trained.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "checkpoint.h"
#include "framework/recipe/option.h"
#include "framework/recipe/recipe_private.h"

const char *const sm_net_names[] = {"auto", "teacher", "student", "init", "pixels", NULL};

static bool needs_weights(sm_net net) { return net != SM_NET_INIT && net != SM_NET_PIXELS; }

/* ---- what the path is ---------------------------------------------------------------------------------- */

static bool ends_in(const char *path, const char *end) {
  size_t n = strlen(path), m = strlen(end);
  return n > m && !strcmp(path + n - m, end);
}

static bool exists(const char *path) {
  struct stat st;
  return path && stat(path, &st) == 0;
}

/* The folder two levels above a checkpoint, if it is a run. */
static const char *run_of(sm_arena *arena, const char *checkpoint) {
  char *path = sm_arena_strdup(arena, checkpoint);
  for (int level = 0; path && level < 2; level++) {
    char *slash = strrchr(path, '/');
    if (slash == path) return NULL;
    if (slash) *slash = 0;
    else path = sm_arena_strdup(arena, level ? ".." : ".");
  }
  return path && exists(sm_path_join(arena, path, "recipe.yaml")) ? path : NULL;
}

static sm_status open_recipe(const sm_trained_options *o, const char *path, sm_trained *t, sm_error *err) {
  return path ? sm_recipe_load(&t->recipe, o->registry, path, 0, NULL, err) : SM_OK;
}

/* The recipe that a run folder keeps: it did fit, and joins are written out in it. */
static sm_status open_own_recipe(const sm_trained_options *o, const char *path, sm_trained *t,
                                 sm_error *err) {
  const sm_recipe_parts parts = {.folder = "", .path = path, .fit = false};
  return path ? sm_recipe_compose(&t->recipe, o->registry, &parts, err) : SM_OK;
}

static sm_status open_run(const sm_trained_options *o, sm_trained *t, sm_error *err) {
  const char *recipe = o->recipe ? o->recipe : sm_path_join(t->arena, o->path, "recipe.yaml");
  t->run = o->path;
  if (!recipe) return sm_fail(err, SM_ENOMEM, "out of memory");
  if (!o->recipe && !exists(recipe)) {
    sm_fail(err, SM_ENOTFOUND, "this folder is no run: it has no recipe.yaml");
    sm_fail_at(err, o->path, 0, 0);
    return sm_hint(err, "give a folder that `smalti train` made, a checkpoint in one, or a weights file");
  }
  sm_status status = o->recipe ? open_recipe(o, recipe, t, err) : open_own_recipe(o, recipe, t, err);
  return status || !needs_weights(o->net) ? status : sm_checkpoint_find(o->path, t->arena, &t->file, err);
}

static sm_status open_file(const sm_trained_options *o, sm_trained *t, bool checkpoint, sm_error *err) {
  t->file = o->path;
  if (!checkpoint) return open_recipe(o, o->recipe, t, err);
  t->run = run_of(t->arena, o->path);
  const char *recipe = o->recipe ? o->recipe : t->run ? sm_path_join(t->arena, t->run, "recipe.yaml") : NULL;
  if (recipe) return o->recipe ? open_recipe(o, recipe, t, err) : open_own_recipe(o, recipe, t, err);
  sm_fail(err, SM_EINVAL, "the checkpoint lies in no run folder, and does not say what network it is of");
  sm_fail_at(err, o->path, 0, 0);
  return sm_hint(err, "give the recipe it was trained with: --recipe FILE");
}

static sm_status open_path(const sm_trained_options *o, sm_trained *t, sm_st_reader **file, sm_error *err) {
  struct stat st;
  if (stat(o->path, &st)) {
    sm_fail(err, SM_ENOTFOUND, "no such run folder, checkpoint or weights file");
    return sm_fail_at(err, o->path, 0, 0);
  }
  if (S_ISDIR(st.st_mode)) {
    sm_status status = open_run(o, t, err);
    if (!status && t->file && !(*file = sm_st_open(t->file, err))) status = err->code;
    return status; /* sm_checkpoint_find has verified it */
  }
  if (ends_in(o->path, ".yaml") || ends_in(o->path, ".yml")) {
    if (!needs_weights(o->net)) return open_recipe(o, o->path, t, err);
    sm_fail(err, SM_EINVAL, "a recipe has no weights");
    sm_fail_at(err, o->path, 0, 0);
    return sm_hint(err, "give the run folder that it was trained in, or ask for --net init or --net pixels");
  }
  if (!(*file = sm_st_open(o->path, err))) return err->code;
  sm_status status = sm_st_verify(*file, err);
  return status ? status : open_file(o, t, sm_st_get(*file, "checkpoint.format") != NULL, err);
}

/* ---- the backbone -------------------------------------------------------------------------------------- */

/* "vit: {arch: small}", with or without braces around it. */
static sm_status make_backbone(const sm_trained_options *o, sm_trained *t, const char *yaml, sm_error *err) {
  sm_yaml *map = sm_yaml_read(t->arena, "backbone", false, yaml, strlen(yaml), err);
  if (!map) return err->code;
  if (map->kind != SM_YAML_MAP || map->n != 1) {
    sm_fail(err, SM_EINVAL, "the backbone is described by '%.200s', which is not one plugin with its options",
            yaml);
    return sm_hint(err, "for instance 'vit: {arch: small, patch_size: 16}'");
  }
  const sm_entry *e = &map->entry[0];
  if (!(t->backbone = sm_registry_find(o->registry, SM_BACKBONE, e->key, err))) return err->code;
  const sm_yaml *options = e->value && e->value->kind == SM_YAML_NULL ? NULL : e->value;
  sm_status status = sm_instance_new(t->backbone, &t->own, err);
  if (!status)
    status = sm_options_read(t->backbone->options, (int)t->backbone->n_options, options, t->backbone->name,
                             NULL, e->at, t->arena, t->own.self, err);
  if (!status) status = sm_instance_create(&t->own, err);
  t->backbone_self = t->own.self;
  return status;
}

static const char *describe_backbone(sm_arena *arena, const sm_plugin *p, const void *self) {
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

/* Side of the views that the position embedding of a file of another program is for, or 0. */
static int size_of_file(const sm_st_reader *file, const char *prefix, int patch) {
  char name[256];
  snprintf(name, sizeof name, "%spos_embed", prefix);
  const sm_st_tensor *t = sm_st_find(file, name);
  if (!t || t->ndim != 3 || t->shape[1] < 2 || t->shape[1] > 1 << 20) return 0;
  int64_t side = llround(sqrt((double)(t->shape[1] - 1)));
  return side * side == t->shape[1] - 1 ? (int)side * patch : 0;
}

static sm_status no_backbone(const sm_trained_options *o, sm_error *err) {
  sm_fail(err, SM_EINVAL, "the weights file does not say what network it is of");
  sm_fail_at(err, o->path, 0, 0);
  return sm_hint(
      err, "describe it, for instance --backbone 'vit: {arch: small, patch_size: 16}', or give a --recipe");
}

static void take_size(sm_trained *t) {
  t->about.height = t->recipe->views.global_height, t->about.width = t->recipe->views.global_width;
}

/* What the pictures must be like, from the best source: the file itself, the recipe, ImageNet. */
static void take_pictures(sm_trained *t) {
  sm_weights_about *a = &t->about;
  if (a->std[0] > 0) return;
  t->assumed = !t->recipe;
  memcpy(a->mean, t->recipe ? t->recipe->views.global_first.mean : sm_imagenet_mean, sizeof a->mean);
  memcpy(a->std, t->recipe ? t->recipe->views.global_first.std : sm_imagenet_std, sizeof a->std);
  if (t->recipe) a->filter = t->recipe->views.global_first.filter;
}

static sm_status choose_backbone(const sm_trained_options *o, sm_trained *t, const sm_st_reader *file,
                                 sm_error *err) {
  sm_weights_about *a = &t->about;
  const char *yaml = o->backbone ? o->backbone : a->backbone ? sm_arena_strdup(t->arena, a->backbone) : NULL;
  if (yaml) {
    sm_status status = make_backbone(o, t, yaml, err);
    if (status) return status;
  } else if (t->recipe && t->recipe->objective.plugin.plugin) {
    sm_fail(err, SM_EINVAL, "objective `%s` trains no backbone, so there are no features",
            t->recipe->objective.plugin.plugin->name);
    sm_fail_at(err, o->path, 0, 0);
    return sm_hint(err, "its figures are in the run's metrics.jsonl and report.html");
  } else if (t->recipe) {
    sm_status status = sm_instance_create(&t->recipe->backbone.plugin, err);
    if (status) return status;
    t->backbone = t->recipe->backbone.plugin.plugin;
    t->backbone_self = t->recipe->backbone.plugin.self;
  } else {
    return no_backbone(o, err);
  }
  if (t->recipe && !a->height && (!file || sm_st_get(file, "checkpoint.format"))) take_size(t);
  return SM_OK;
}

/* Patch size in pixels. A backbone says it for a view size that it can cut; 0 with its error if it cuts none
 * of these. */
static int patch_of(const sm_trained *t, int height, int width, sm_error *err) {
  static const int common[] = {224, 32, 256, 64, 196, 96};
  const sm_backbone_ops *ops = t->backbone->ops;
  sm_backbone_spec *spec = sm_arena_alloc(t->arena, sizeof *spec);
  int n = height ? 1 : (int)(sizeof common / sizeof *common);
  for (int i = 0; spec && i < n; i++) {
    int h = height ? height : common[i], w = height ? width : common[i];
    if (sm_backbone_ask(ops, t->backbone_self, h, w, spec, err) == SM_OK) return spec->patch;
  }
  if (!spec) sm_fail(err, SM_ENOMEM, "out of memory");
  return 0;
}

/* The size of the views that the set is declared for; a file of another program says it by the length of its
 * position embedding. */
static sm_status choose_size(const sm_trained_options *o, sm_trained *t, const sm_st_reader *file,
                             sm_error *err) {
  sm_weights_about *a = &t->about;
  const sm_views_section *v = t->recipe ? &t->recipe->views : NULL;
  int patch = a->height ? patch_of(t, a->height, a->width, err)
                        : patch_of(t, v ? v->global_height : 0, v ? v->global_width : 0, err);
  if (!patch) return err->code;
  if (!a->height && file) a->height = a->width = size_of_file(file, o->prefix ? o->prefix : "", patch);
  if (!a->height && v) take_size(t);
  if (!a->height) a->height = a->width = 224;
  return SM_OK;
}

/* ---- the weights --------------------------------------------------------------------------------------- */

static bool averaged(const sm_recipe *r) {
  for (int i = 0; r && i < r->tokenizers; i++) {
    const sm_tokenizer_ops *ops = r->tokenizer[i].plugin.plugin->ops;
    sm_tokenizer_spec spec;
    if (ops->load) continue; /* from a file, which need not be there any more */
    if (sm_tokenizer_ask(ops, r->tokenizer[i].plugin.self, 0, &spec, NULL) == SM_OK && spec.ema) return true;
  }
  return false;
}

/* Which network, and where its names stand in the file. */
static sm_status choose_net(const sm_trained_options *o, sm_trained *t, const sm_st_reader *file,
                            const char **prefix, sm_error *err) {
  static const char *const in_checkpoint[] = {
      [SM_NET_TEACHER] = "teacher.backbone.", [SM_NET_STUDENT] = "student.backbone."};
  bool checkpoint = file && sm_st_get(file, "checkpoint.format");
  t->net = o->net;
  *prefix = o->prefix ? o->prefix : "";
  if (checkpoint && needs_weights(o->net)) {
    t->teacherless = !sm_checkpoint_has_teacher(file);
    if (o->net == SM_NET_AUTO)
      t->net = averaged(t->recipe) && !t->teacherless ? SM_NET_TEACHER : SM_NET_STUDENT;
    if (t->net == SM_NET_TEACHER && t->teacherless) {
      sm_fail(err, SM_EINVAL, "the run keeps no teacher: none of its tokenizers looks at one");
      sm_fail_at(err, t->file, 0, 0);
      return sm_hint(err, "take the student: --net student");
    }
    *prefix = in_checkpoint[t->net];
  } else if (file && needs_weights(o->net)) {
    sm_net said = SM_NET_TEACHER; /* a file of another program: the weights it has */
    for (int i = SM_NET_TEACHER; t->about.backbone && sm_net_names[i]; i++)
      if (!strcmp(t->about.net, sm_net_names[i])) said = (sm_net)i;
    if (t->about.backbone && o->net != SM_NET_AUTO && o->net != said) {
      sm_fail(err, SM_EINVAL, "the file holds weights of the %s only, not of the %s", sm_net_names[said],
              sm_net_names[o->net]);
      return sm_fail_at(err, t->file, 0, 0);
    }
    t->net = said;
  }
  t->about.net = sm_net_names[t->net];
  return SM_OK;
}

static sm_status load(const sm_trained_options *o, sm_trained *t, const sm_st_reader *file,
                      const char *prefix, sm_error *err) {
  const sm_backbone_ops *ops = t->backbone->ops;
  if (!(t->set = sm_set_new("network", SM_F32, false, err))) return err->code;
  ops->declare(t->backbone_self, t->about.height, &(sm_params){t->set, "backbone."});
  sm_status status = sm_set_seal(t->set, SM_MOMENTS_NONE, err);
  if (!status) status = sm_set_allocate(t->set, t->recipe ? (uint64_t)t->recipe->train.seed : 0, err);
  sm_weights_source from = {file, prefix, o->ignore};
  return status || !file || !needs_weights(o->net)
             ? status
             : sm_weights_load(&from, t->set, "backbone.", &t->report, err);
}

static sm_status describe(sm_trained *t, const sm_st_reader *file, sm_error *err) {
  sm_weights_about *a = &t->about;
  bool own = a->backbone != NULL; /* an export keeps saying where it came from */
  const char *step = file && needs_weights(t->net) ? sm_st_get(file, "step") : NULL;
  if (!own && t->recipe) {
    a->recipe = t->recipe->name;
    a->recipe_hash = sm_recipe_hash(t->recipe);
    if (step) sm_parse_int(step, &a->step);
  }
  a->recipe = sm_arena_strdup(t->arena, a->recipe ? a->recipe : "");
  a->backbone = describe_backbone(t->arena, t->backbone, t->backbone_self);
  return a->recipe && a->backbone ? SM_OK : sm_fail(err, SM_ENOMEM, "out of memory");
}

sm_status sm_trained_open(const sm_trained_options *o, sm_trained *t, sm_error *err) {
  sm_st_reader *file = NULL;
  const char *prefix = "";
  *t = (sm_trained){.net = o->net};
  if (!(t->arena = sm_arena_new("trained"))) return sm_fail(err, SM_ENOMEM, "out of memory");
  sm_status status = open_path(o, t, &file, err);
  if (!status && file) status = sm_weights_about_read(file, &t->about, err);
  if (!status) take_pictures(t);
  if (!status && o->net == SM_NET_PIXELS) {
    if (t->recipe) take_size(t);
    sm_st_close(file);
    return SM_OK;
  }
  if (!status) status = choose_backbone(o, t, file, err);
  if (!status) status = choose_size(o, t, file, err);
  if (!status) status = choose_net(o, t, file, &prefix, err);
  if (!status && !(t->prefix = sm_arena_strdup(t->arena, prefix)))
    status = sm_fail(err, SM_ENOMEM, "out of memory");
  if (!status && !o->describe) status = load(o, t, file, prefix, err);
  if (!status) status = describe(t, file, err);
  sm_st_close(file);
  return status;
}

/* ---- pictures ------------------------------------------------------------------------------------------ */

static sm_status open_folder(sm_registry *registry, const char *path, sm_arena *arena, sm_instance *instance,
                             sm_error *err) {
  const sm_plugin *plugin = sm_registry_find(registry, SM_DATASET, sm_dataset_for(path), err);
  if (!plugin) return err->code;
  sm_text yaml = {0};
  sm_text_add(&yaml, "{path: ");
  sm_yaml_quote(path, &yaml);
  sm_text_add(&yaml, "}");
  sm_status status =
      yaml.failed ? sm_fail(err, SM_ENOMEM, "out of memory") : sm_instance_new(plugin, instance, err);
  if (!status) status = sm_options_fill(plugin, yaml.s, instance->self, arena, err);
  sm_text_free(&yaml);
  return status ? status : sm_instance_create(instance, err);
}

static sm_status open_split(const sm_trained_options *o, sm_trained *t, int which, sm_error *err) {
  const char *path = which ? o->test : o->train;
  sm_instance *instance = &t->data[which];
  sm_dataset *d = which ? &t->test : &t->train;
  sm_status status = SM_OK;
  if (path) {
    status = open_folder(o->registry, path, t->arena, instance, err);
  } else if (t->recipe) {
    instance = which ? &t->recipe->data.test.plugin : &t->recipe->data.train.plugin;
    if (instance->plugin) status = sm_instance_create(instance, err);
  }
  if (status || !instance->plugin) return status;
  *d = (sm_dataset){instance->plugin->ops, instance->self};
  return d->ops->open(d->self, err);
}

sm_status sm_trained_data(const sm_trained_options *o, sm_trained *t, int needed, sm_error *err) {
  for (int which = 0; which < 2; which++) {
    char text[2048];
    sm_status status = open_split(o, t, which, err);
    if (status && needed & (which ? SM_TRAINED_TEST : SM_TRAINED_TRAIN)) return status;
    if (!status) continue;
    *(which ? &t->test : &t->train) = (sm_dataset){0};
    sm_log(SM_LOG_WARNING, "going on without %s pictures: %s", which ? "test" : "training",
           sm_error_text(err, text, sizeof text));
  }
  return SM_OK;
}

void sm_trained_free(sm_trained *t) {
  for (int i = 0; i < 2; i++)
    if (t->data[i].plugin) sm_instance_free(&t->data[i]);
  if (t->own.plugin) sm_instance_free(&t->own);
  sm_set_free(t->set);
  sm_set_free(t->head_set);
  sm_recipe_free(t->recipe);
  sm_text_free(&t->report.text);
  sm_arena_free(t->arena);
  *t = (sm_trained){0};
}

void sm_trained_title(const sm_trained *t, sm_text *text) {
  switch (t->net) {
    case SM_NET_PIXELS:
      sm_text_add(text, "the pictures themselves, no network");
      return;
    case SM_NET_INIT:
      sm_text_add(text, "untrained network%s%s", t->about.recipe && *t->about.recipe ? " of recipe " : "",
                  t->about.recipe ? t->about.recipe : "");
      return;
    default:
      break;
  }
  sm_text_add(text, "%s of %s", sm_net_names[t->net], t->run ? t->run : t->file);
  if (t->about.step) sm_text_add(text, ", step %" PRId64, t->about.step);
  if (t->teacherless) sm_text_add(text, " (the run keeps no teacher)");
}

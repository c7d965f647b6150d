/* network.c — the handle of smalti/network.h and models.h: its life, its weights, its forward pass, what is
 * known of it. */
#include <inttypes.h>
#include <string.h>

#include "checkpoint.h"
#include "framework/plugin/option.h"
#include "framework/recipe/recipe_private.h"
#include "network_private.h"

const char *const sm_net_names[] = {"auto", "teacher", "student", "init", "pixels", NULL};

/* ---- life ---------------------------------------------------------------------------------------------- */

static sm_network *network_new(sm_error *err) {
  sm_network *n = sm_calloc(1, sizeof *n);
  if (n && (n->arena = sm_arena_new("network"))) return n;
  sm_free(n);
  sm_fail(err, SM_ENOMEM, "out of memory");
  return NULL;
}

/* The caller's texts may go. */
static sm_status network_copy_source(sm_network *n, const sm_network_source *from, sm_error *err) {
  const char **text[] = {&n->from.path, &n->from.recipe, &n->from.backbone, &n->from.prefix,
                         &n->from.head_name};
  size_t ignored = 0;
  n->from = *from;
  if (!n->from.prefix) n->from.prefix = "";
  bool whole = true;
  for (size_t i = 0; i < sizeof text / sizeof *text; i++)
    if (*text[i]) whole = (*text[i] = sm_arena_strdup(n->arena, *text[i])) && whole;
  while (from->ignore && from->ignore[ignored]) ignored++;
  const char **list = sm_arena_alloc(n->arena, (ignored + 1) * sizeof *list);
  for (size_t i = 0; list && i < ignored; i++)
    whole = (list[i] = sm_arena_strdup(n->arena, from->ignore[i])) && whole;
  if (list) list[ignored] = NULL;
  n->from.ignore = list;
  return whole && list ? SM_OK : sm_fail(err, SM_ENOMEM, "out of memory");
}

sm_status sm_network_open(const sm_host *host, const sm_network_source *from, sm_network **out,
                          sm_error *err) {
  *out = NULL;
  if (!host) {
    sm_fail(err, SM_EINTERNAL, "a network cannot be opened without the host, which knows its plugins");
    return sm_hint(err, "let the plugin's descriptor say where in the instance the host goes: .host");
  }
  sm_network *n = network_new(err);
  if (!n) return SM_ENOMEM;
  n->host = host;
  sm_status status = network_copy_source(n, from, err);
  if (!status) status = network_look(n, err);
  if (!status && from->head) status = network_choose_head(n, from->site, true, err);
  if (status) sm_network_close(n);
  else *out = n;
  return status;
}

sm_status sm_network_wrap(const sm_network_parts *parts, sm_network **out, sm_error *err) {
  *out = NULL;
  sm_network *n = network_new(err);
  if (!n) return SM_ENOMEM;
  n->wrapped = true;
  n->net = n->from.net = parts->net;
  n->run = parts->run;
  n->recipe = (sm_recipe *)parts->recipe;
  n->ops = parts->backbone, n->self = parts->self;
  n->set = parts->params.set;
  n->places.backbone = parts->params;
  n->head = parts->head;
  n->places.head = parts->head.params, n->places.head_state = parts->head.state;
  n->spec = (sm_network_spec){.name = parts->name,
                              .height = parts->height,
                              .width = parts->width,
                              .filter = parts->filter,
                              .view_dim = parts->head.view_dim,
                              .patch_dim = parts->head.patch_dim,
                              .bf16 = parts->bf16};
  memcpy(n->spec.mean, parts->mean, sizeof n->spec.mean);
  memcpy(n->spec.std, parts->std, sizeof n->spec.std);
  n->about = (sm_weights_about){.net = sm_net_names[n->net],
                                .recipe = parts->recipe ? parts->recipe->name : "",
                                .height = parts->height,
                                .width = parts->width,
                                .filter = parts->filter};
  memcpy(n->about.mean, parts->mean, sizeof n->about.mean);
  memcpy(n->about.std, parts->std, sizeof n->about.std);
  sm_status status = sm_network_at(n, parts->height, parts->width, &n->spec.backbone, err);
  if (status) sm_network_close(n);
  else *out = n;
  return status;
}

void sm_network_close(sm_network *n) {
  if (!n) return;
  for (int i = 0; i < 2; i++)
    if (n->data[i].plugin) sm_instance_free(&n->data[i]);
  if (n->own.plugin) sm_instance_free(&n->own);
  if (n->made) sm_set_free(n->set);
  if (!n->wrapped) sm_recipe_free(n->recipe);
  sm_text_free(&n->report.text);
  sm_text_free(&n->foreign.text);
  sm_arena_free(n->arena);
  sm_free(n);
}

const sm_network_spec *sm_network_describe(const sm_network *n) { return &n->spec; }

sm_status sm_network_at(const sm_network *n, int height, int width, sm_backbone_spec *spec, sm_error *err) {
  if (!n->ops)
    return sm_fail(err, SM_EINVAL, "there is no network: the pictures themselves are the features");
  return sm_backbone_ask(n->spec.name, n->ops, n->self, height, width, spec, err);
}

/* ---- where its rows lie -------------------------------------------------------------------------------- */

static const network_places *network_places_in(const sm_network *n, const sm_params *p, network_places *to) {
  static const char *const part[] = {SM_BACKBONE_PREFIX, "head.", "head_state.", "state."};
  if (!p) return &n->places;
  sm_params *at[] = {&to->backbone, &to->head, &to->head_state, &to->center};
  for (int i = 0; i < 4; i++) {
    snprintf(to->room[i], sizeof to->room[i], "%s%s", p->prefix ? p->prefix : "", part[i]);
    *at[i] = (sm_params){p->set, to->room[i]};
  }
  return to;
}

static sm_head network_head_at(const sm_network *n, const network_places *at) {
  sm_head h = n->head;
  h.params = at->head;
  h.state = at->head_state;
  return h;
}

sm_head sm_network_head(const sm_network *n, const sm_params *p, sm_head_room *room) {
  network_places to;
  sm_head h = network_head_at(n, network_places_in(n, p, &to));
  if (!h.ops) return h;
  if (h.params.prefix) snprintf(room->params, sizeof room->params, "%s", h.params.prefix);
  if (h.state.prefix) snprintf(room->state, sizeof room->state, "%s", h.state.prefix);
  h.params.prefix = room->params;
  h.state.prefix = room->state;
  return h;
}

/* ---- weights ------------------------------------------------------------------------------------------- */

static void network_declare_at(const sm_network *n, const network_places *at) {
  if (!n->ops) return;
  sm_declare_layer(&at->backbone, 0);
  n->ops->declare(n->self, n->spec.height, n->spec.width, &at->backbone);
  sm_declare_layer(&at->backbone, n->spec.backbone.layers + 1);
  if (!n->head.ops) return;
  const sm_head head = network_head_at(n, at);
  head.ops->declare(head.self, &head);
  if (head.ops->declare_state) head.ops->declare_state(head.self, &head);
  if (n->center)
    sm_declare(&at->center, n->center, SM_INIT_ZEROS, 0, SM_ROW_NO_DECAY, 1,
               (int64_t[]){sm_head_declared(&n->head, n->from.site)});
}

void sm_network_declare(const sm_network *n, const sm_params *p) {
  network_places to;
  network_declare_at(n, network_places_in(n, p, &to));
}

static sm_status network_load_part(const sm_weights_source *from, const sm_params *to, sm_weights_report *all,
                                   sm_error *err) {
  sm_weights_report report = {0};
  sm_status status = sm_weights_load(from, to->set, to->prefix, all ? all : &report, err);
  sm_text_free(&report.text);
  return status;
}

static sm_status network_load_center(const sm_network *n, const sm_st_reader *file, const sm_params *to,
                                     sm_error *err) {
  static const char *const all[] = {"", NULL}; /* other states are none of ours */
  char name[256];
  snprintf(name, sizeof name, "%s%s", n->center_prefix, n->center);
  if (sm_st_find(file, name))
    return network_load_part(&(sm_weights_source){.file = file, .prefix = n->center_prefix, .ignore = all},
                             to, NULL, err);
  sm_fail(err, SM_EINVAL, "the run kept no centre of these logits: there is no '%s'", name);
  sm_fail_at(err, n->spec.file, 0, 0);
  return sm_hint(err, "leave centring out: 'center: false'");
}

static sm_status network_load_head(const sm_network *n, const sm_st_reader *file, const network_places *at,
                                   sm_error *err) {
  static const char *const all[] = {"", NULL};
  const char *const roles[] = {"student.", "teacher.", NULL}; /* states of heads called so */
  sm_status status = network_load_part(
      &(sm_weights_source){.file = file, .prefix = n->head_prefix, .ignore = n->head_only ? all : n->others},
      &at->head, NULL, err);
  if (!status && n->head.ops->declare_state)
    status = network_load_part(
        &(sm_weights_source){.file = file, .prefix = n->state_prefix, .ignore = n->head_only ? all : roles},
        &at->head_state, NULL, err);
  return !status && n->center ? network_load_center(n, file, &at->center, err) : status;
}

static sm_status network_load_file(const sm_network *n, const network_places *at, sm_weights_report *report,
                                   sm_error *err) {
  sm_foreign foreign = {0};
  sm_arena *texts = sm_arena_new("weights");
  sm_st_reader *file = texts ? sm_foreign_open(n->spec.file, n->from.prefix, n->from.net, texts, &foreign, err)
                             : NULL;
  if (!file) {
    const sm_status status = texts ? (err ? err->code : SM_EFORMAT) : sm_fail(err, SM_ENOMEM, "out of memory");
    sm_text_free(&foreign.text);
    sm_arena_free(texts);
    return status;
  }
  const sm_weights_source from = {.file = file,
                                  .foreign = foreign.plugin != NULL,
                                  .prefix = n->prefix,
                                  .ignore = n->from.ignore,
                                  .height = n->about.height,
                                  .width = n->about.width,
                                  .say_prefix = "--prefix ",
                                  .say_ignore = "--ignore "};
  sm_status status = network_load_part(&from, &at->backbone, report, err);
  if (report) report->ignored += foreign.unused;
  if (report && foreign.text.s) sm_text_add(&report->text, "%s", foreign.text.s);
  if (!status && n->head.ops) status = network_load_head(n, file, at, err);
  sm_st_close(file);
  sm_text_free(&foreign.text);
  sm_arena_free(texts);
  return status;
}

/* Copy rows "PREFIX…" of a set to rows "TO…". False: one has no partner of its size. */
static bool network_copy_rows(const sm_params *to, const sm_params *from) {
  size_t cut = strlen(to->prefix);
  for (int r = 0; r < sm_set_rows(to->set); r++) {
    const sm_row *row = sm_set_row(to->set, r);
    char name[320];
    if (row->alias_of >= 0 || strncmp(row->name, to->prefix, cut) != 0) continue;
    snprintf(name, sizeof name, "%s%s", from->prefix, row->name + cut);
    int source = sm_set_find(from->set, name);
    if (source < 0 || sm_set_row(from->set, source)->size != row->size) return false;
    size_t bytes;
    void *values = sm_set_lend(to->set, r, SM_VALUES, &bytes),
         *given = sm_set_lend(from->set, source, SM_VALUES, NULL);
    if (values && given) memcpy(values, given, bytes);
    sm_set_give_back(from->set, source, SM_VALUES, given, false);
    sm_set_give_back(to->set, r, SM_VALUES, values, true);
    if (!values || !given) return false;
  }
  return true;
}

static sm_status network_load_own(const sm_network *n, const network_places *to, sm_error *err) {
  const network_places *from = &n->places;
  if (sm_set_real(to->backbone.set) != sm_set_real(n->set))
    return sm_fail(err, SM_EUNSUPPORTED, "the network holds %s, its copy shall hold %s",
                   sm_dtype_name(sm_set_real(n->set)), sm_dtype_name(sm_set_real(to->backbone.set)));
  bool fits = network_copy_rows(&to->backbone, &from->backbone);
  if (fits && n->head.ops) fits = network_copy_rows(&to->head, &from->head);
  if (fits && n->head.ops && n->head.ops->declare_state)
    fits = network_copy_rows(&to->head_state, &from->head_state);
  if (fits && n->center) fits = network_copy_rows(&to->center, &from->center);
  return fits ? SM_OK : sm_fail(err, SM_EINTERNAL, "the network to copy is not the one that was trained");
}

sm_status sm_network_load(const sm_network *n, const sm_params *p, sm_error *err) {
  network_places to;
  const network_places *at = network_places_in(n, p, &to);
  if (n->set) return network_load_own(n, at, err);
  return n->spec.file && network_has_weights(n->net) ? network_load_file(n, at, NULL, err) : SM_OK;
}

sm_status sm_network_allocate(sm_network *n, sm_error *err) {
  if (!n->ops || n->set) return SM_OK;
  if (!(n->set = sm_set_new("network", SM_F32, false, err))) return SM_ENOMEM;
  n->made = true;
  network_places *own = &n->places; /* names as in training: initial values depend on them */
  network_places_in(n, &(sm_params){n->set, ""}, own);
  if (n->head.ops && n->head_prefix[0])
    snprintf(own->room[1], sizeof own->room[1], "%s", strchr(n->head_prefix, '.') + 1);
  network_declare_at(n, own);
  sm_status status = sm_set_seal(n->set, SM_MOMENTS_NONE, err);
  if (!status) status = sm_set_allocate(n->set, n->recipe ? (uint64_t)n->recipe->train.seed : 0, err);
  if (!status && n->spec.file && network_has_weights(n->net))
    status = network_load_file(n, own, &n->report, err);
  return status;
}

/* ---- graphs -------------------------------------------------------------------------------------------- */

void sm_network_build(const sm_network *n, sm_graph *g, const sm_params *p, const sm_backbone_in *in,
                      sm_backbone_out *out) {
  network_places to;
  *out = (sm_backbone_out){0};
  if (!n->ops) {
    sm_graph_fail(g, "there is no network: the pictures themselves are the features");
    return;
  }
  sm_scope_push(g, "backbone");
  sm_backbone_build(n->spec.name, n->ops, n->self, g, &network_places_in(n, p, &to)->backbone, in, out);
  sm_scope_pop(g);
}

sm_tensor *sm_network_logits(const sm_network *n, sm_graph *g, const sm_params *p, sm_tensor *x,
                             sm_site site) {
  network_places to;
  if (!n->head.ops || !sm_head_declared(&n->head, site))
    return sm_graph_fail(g, "a network was opened without the head that its logits are asked of");
  const sm_head head = network_head_at(n, network_places_in(n, p, &to));
  sm_scope_push(g, "head");
  sm_tensor *y = sm_head_logits(g, &head, x, site);
  sm_scope_pop(g);
  return y;
}

sm_tensor *sm_network_center(const sm_network *n, sm_graph *g, const sm_params *p) {
  network_places to;
  return n->center ? sm_param(g, &network_places_in(n, p, &to)->center, "%s", n->center) : NULL;
}

/* ---- what is known of it ------------------------------------------------------------------------------- */

sm_net sm_network_net(const sm_network *n) { return n->net; }
sm_recipe *sm_network_recipe(const sm_network *n) { return n->recipe; }
const char *sm_network_run(const sm_network *n) { return n->run; }
sm_set *sm_network_set(const sm_network *n) { return n->set; }
const sm_weights_about *sm_network_about(const sm_network *n) { return &n->about; }
const sm_weights_report *sm_network_report(const sm_network *n) { return &n->report; }
bool sm_network_assumed(const sm_network *n) { return n->assumed; }

const sm_plugin *sm_network_plugin(const sm_network *n, const void **self) {
  if (self) *self = n->self;
  return n->plugin;
}

void sm_network_title(const sm_network *n, sm_text *text) {
  const char *recipe = n->about.recipe && *n->about.recipe ? n->about.recipe : NULL;
  if (n->net == SM_NET_PIXELS) {
    sm_text_add(text, "the pictures themselves, no network");
    return;
  }
  if (n->net == SM_NET_INIT) {
    sm_text_add(text, "untrained network%s%s", recipe ? " of recipe " : "", recipe ? recipe : "");
    return;
  }
  sm_text_add(text, "%s of %s", sm_net_names[n->net],
              n->run         ? n->run
              : n->spec.file ? n->spec.file
                             : "a run");
  if (n->about.step) sm_text_add(text, ", step %" PRId64, n->about.step);
  if (n->teacherless) sm_text_add(text, " (the run keeps no teacher)");
}

/* ---- pictures ------------------------------------------------------------------------------------------ */

static sm_status network_open_split(sm_network *n, const char *path, bool test, sm_error *err) {
  sm_dataset d = {0};
  sm_status status = SM_OK;
  if (path) status = sm_dataset_open((sm_registry *)n->host, path, n->arena, &n->data[test], &d, err);
  else if (n->recipe) status = sm_slot_open(test ? &n->recipe->data.test : &n->recipe->data.train, &d, err);
  if (!path && status == SM_ENOTFOUND)
    sm_hint(err, "name pictures of yours with --train FOLDER and --test FOLDER");
  if (!status) n->pictures[test] = d;
  return status;
}

sm_status sm_network_data(sm_network *n, const char *train, const char *test, int needed, sm_error *err) {
  for (int which = 0; which < 2; which++) {
    char text[2048];
    sm_status status = network_open_split(n, which ? test : train, which, err);
    if (status && needed & (which ? SM_NETWORK_TEST : SM_NETWORK_TRAIN)) return status;
    if (status)
      sm_log(SM_LOG_WARNING, "going on without %s pictures: %s", which ? "test" : "training",
             sm_error_text(err, text, sizeof text));
  }
  return SM_OK;
}

sm_dataset sm_network_pictures(const sm_network *n, bool test) { return n->pictures[test]; }

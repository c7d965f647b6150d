/* checkpoint — an earlier run names the patches: its network, frozen, looks at the clean view.
 *
 *   argmax    ids: the likeliest of its head's K tokens, argmax(z) (row 4 of iBOT's Table 9: "each patch can be
 *             tokenized by the argmax of its output", App. F)
 *   soft      its distribution, softmax((z - c)/temperature)
 *   features  its tokens as vectors, after the final norm, without a head
 *
 * A DINO has a layer for [CLS] only; applied to patches it names them too (App. G.1), so that is the default (`site:
 * view`). With `center` the centre c that the run kept is subtracted, also before the argmax. Weights, options,
 * normalisation and patch size come from the run's folder (smalti/frozen.h); its view is cut from the same box into as
 * many of its own patches as the student has, which changes its size where patch sizes differ. */
#include <smalti/frozen.h>

#include <string.h>

enum { ARGMAX, SOFT, FEATURES };
static const char *const label_names[] = {"argmax", "soft", "features", NULL};
static const char *const site_names[] = {"view", "patch", NULL};
static const char *const net_names[] = {"auto", "teacher", "student", NULL};

typedef struct checkpoint {
  const char *path, *head, *backbone;
  int labels, site, net;
  bool center;
  double temperature;
  /* of the network; spec looks once */
  bool known;
  int dim; /* of a target */
  sm_own_view own;
  sm_frozen *frozen; /* from create on */
} checkpoint;

static const sm_option options[] = {
    SM_PATH(checkpoint, path, "path", NULL,
            "The run folder, a checkpoint in one, or exported weights (which have no head: for features)"),
    SM_CHOICE(checkpoint, labels, "labels", "argmax", label_names,
              "Targets: the likeliest token, the distribution over all, or the network's tokens as vectors"),
    SM_CHOICE(checkpoint, site, "site", "view", site_names,
              "Which layer of its head names the patches: that of [CLS], or that of patches"),
    SM_STRING(checkpoint, head, "network_head", "~", "Its head, where several have that layer"),
    SM_CHOICE(checkpoint, net, "net", "auto", net_names,
              "Which of its networks; auto: the teacher where it is the student's moving average"),
    SM_BOOL(checkpoint, center, "center", "false", "Subtract the centre that the run kept of these logits"),
    SM_FLOAT(checkpoint, temperature, "temperature", "0.04", 1e-4, 100, NULL,
             "Temperature of soft targets: lower is sharper"),
    SM_STRING(checkpoint, backbone, "network", "~",
              "The backbone, as 'vit: {arch: small}', of weights that do not say what they are of"),
};

/* ---- the network ----------------------------------------------------------------------------------------- */

static sm_status open_network(const checkpoint *t, sm_frozen **out, sm_error *err) {
  const sm_frozen_source from = {.path = t->path,
                                 .net = (sm_frozen_net)t->net,
                                 .head = t->labels != FEATURES,
                                 .name = t->head,
                                 .site = t->site ? SM_SITE_PATCH : SM_SITE_VIEW,
                                 .center = t->center && t->labels != FEATURES,
                                 .backbone = t->backbone};
  return sm_frozen_open(&from, out, err);
}

static void remember(checkpoint *t, const sm_frozen *network) {
  const sm_frozen_about *about = sm_frozen_describe(network);
  t->dim = t->labels == FEATURES ? about->dim : about->out_dim;
  t->own = (sm_own_view){.pixels = about->patch, .filter = about->filter};
  memcpy(t->own.mean, about->mean, sizeof t->own.mean);
  memcpy(t->own.std, about->std, sizeof t->own.std);
  t->known = true;
}

static sm_status create(void *self, sm_error *err) {
  checkpoint *t = self;
  sm_status status = open_network(t, &t->frozen, err);
  if (!status) remember(t, t->frozen);
  return status;
}
static void destroy(void *self) { sm_frozen_close(((checkpoint *)self)->frozen); }

/* Asked often, and of instances that nobody creates: what it finds out is kept in the instance. */
static sm_status spec(const void *self, sm_tokenizer_spec *out, sm_error *err) {
  static const sm_form forms[] = {SM_TARGET_IDS, SM_TARGET_DISTRIBUTION, SM_TARGET_VECTORS};
  checkpoint *t = (checkpoint *)self;
  if (!t->known) {
    sm_frozen *network = NULL;
    sm_status status = open_network(t, &network, err);
    if (status) return status;
    remember(t, network);
    sm_frozen_close(network);
  }
  out->view = out->patch = forms[t->labels];
  out->view_dim = out->patch_dim = t->dim;
  out->own = &t->own;
  return SM_OK;
}

static void declare_frozen(const void *self, const sm_params *frozen) {
  sm_frozen_declare(((const checkpoint *)self)->frozen, frozen);
}
static sm_status load(void *self, const sm_params *frozen, sm_error *err) {
  return sm_frozen_load(((checkpoint *)self)->frozen, frozen, err);
}

/* ---- targets --------------------------------------------------------------------------------------------- */

static void set_target(const checkpoint *t, sm_graph *g, const sm_tokenizer_env *env, sm_tensor *tokens,
                       const sm_rows *rows, sm_target *out) {
  *out = (sm_target){.dim = t->dim, .rows = rows};
  if (t->labels == FEATURES) {
    out->form = SM_TARGET_VECTORS;
    out->vectors = tokens;
    return;
  }
  sm_tensor *logits = sm_frozen_logits(t->frozen, g, &env->frozen, tokens);
  sm_tensor *center = sm_frozen_center(t->frozen, g, &env->frozen);
  if (t->labels == ARGMAX) {
    out->form = SM_TARGET_IDS;
    out->ids = sm_argmax(g, logits, center);
    return;
  }
  out->form = SM_TARGET_DISTRIBUTION;
  out->logits = logits;
  out->shift = center;
  out->scale = sm_scalar(g, "1/temperature", 1 / t->temperature);
}

static void build(void *self, sm_graph *g, const sm_tokenizer_env *env, const sm_seen *seen, sm_target *view,
                  sm_target *patch) {
  const checkpoint *t = self;
  const sm_frozen_about *about = sm_frozen_describe(t->frozen);
  sm_tensor *tokens = sm_frozen_tokens(t->frozen, g, &env->frozen, seen->pictures);
  if (!sm_graph_ok(g)) return;
  if (tokens->dim[1] != about->prefix + (int64_t)seen->rows * seen->cols) {
    sm_graph_fail(g, "the network of '%s' sees %lld patches where the student has %d x %d", t->path,
                  (long long)(tokens->dim[1] - about->prefix), seen->rows, seen->cols);
    return;
  }
  if (env->want_view &&
      about->prefix != seen->prefix) { /* [CLS] rows are numbered with the student's tokens */
    sm_graph_fail(g, "the network of '%s' has %d class tokens, the student %d: it cannot name [CLS]", t->path,
                  about->prefix, seen->prefix);
    return;
  }
  if (env->want_view) set_target(t, g, env, sm_gather(g, tokens, env->view_rows), env->view_rows, view);
  if (!env->want_patch) return;
  sm_tensor *hidden = about->prefix == seen->prefix
                          ? sm_gather(g, tokens, env->patch_rows)
                          : sm_gather(g, sm_drop_prefix(g, tokens, about->prefix), env->cell_rows);
  set_target(t, g, env, hidden, env->patch_rows, patch);
}

static const sm_tokenizer_ops ops = {
    .spec = spec, .build = build, .declare_frozen = declare_frozen, .load = load};
static const sm_plugin plugin = {.kind = SM_TOKENIZER,
                                 .name = "checkpoint",
                                 .summary = "An earlier run, frozen, names the patches",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .cite = "Zhou et al., iBOT, ICLR 2022",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .instance_size = sizeof(checkpoint),
                                 .create = create,
                                 .destroy = destroy,
                                 .ops = &ops};
SM_MODULE(&plugin)

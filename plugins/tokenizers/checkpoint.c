/* checkpoint — an earlier run names the patches: its network, frozen, looks at the clean view.
 *
 *   argmax    ids: the likeliest of its head's K tokens, argmax(z) (row 4 of iBOT's Table 9: "each patch can
 *             be tokenized by the argmax of its output", App. F)
 *   soft      its distribution, softmax((z - c)/temperature)
 *   features  its tokens as vectors, after the final norm, without a head
 *
 * A DINO has a layer for [CLS] only; applied to patches it names them too (App. G.1), so that is the
 * default (`site: view`). With `center` the centre c that the run kept is subtracted, also before the
 * argmax. Weights, options, normalisation and patch size come from the run's folder (smalti/network.h);
 * its view is cut from the same box into as many of its own patches as the student has, which changes its
 * size where patch sizes differ. */
#include <smalti/network.h>
#include <smalti/tokenizer.h>

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
  const sm_host *host;
  sm_network *network; /* from create on */
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

/* ---- the network -------------------------------------------------------------------------------------- */

static sm_site checkpoint_site_of(const checkpoint *t) { return t->site ? SM_SITE_PATCH : SM_SITE_VIEW; }

static sm_status checkpoint_open_network(const checkpoint *t, sm_network **out, sm_error *err) {
  static const sm_net nets[] = {SM_NET_AUTO, SM_NET_TEACHER, SM_NET_STUDENT};
  const sm_network_source from = {.path = t->path,
                                  .net = nets[t->net],
                                  .backbone = t->backbone,
                                  .head = t->labels != FEATURES,
                                  .head_name = t->head,
                                  .site = checkpoint_site_of(t),
                                  .center = t->center && t->labels != FEATURES};
  return sm_network_open(t->host, &from, out, err);
}

static void checkpoint_remember(checkpoint *t, const sm_network *network) {
  const sm_network_spec *n = sm_network_describe(network);
  t->dim = t->labels == FEATURES                   ? n->backbone.dim
           : checkpoint_site_of(t) == SM_SITE_VIEW ? n->view_dim
                                                   : n->patch_dim;
  t->own = (sm_own_view){.pixels = n->backbone.cell, .filter = n->filter};
  memcpy(t->own.mean, n->mean, sizeof t->own.mean);
  memcpy(t->own.std, n->std, sizeof t->own.std);
  t->known = true;
}

static sm_status checkpoint_create(void *self, sm_error *err) {
  checkpoint *t = self;
  sm_status status = checkpoint_open_network(t, &t->network, err);
  if (!status) checkpoint_remember(t, t->network);
  return status;
}
static void checkpoint_destroy(void *self) { sm_network_close(((checkpoint *)self)->network); }

/* Asked often, and of instances that nobody creates: what it finds out is kept in the instance. */
static sm_status checkpoint_spec(const void *self, sm_tokenizer_spec *out, sm_error *err) {
  static const sm_form forms[] = {SM_TARGET_IDS, SM_TARGET_DISTRIBUTION, SM_TARGET_VECTORS};
  checkpoint *t = (checkpoint *)self;
  if (!t->known) {
    sm_network *network = NULL;
    sm_status status = checkpoint_open_network(t, &network, err);
    if (status) return status;
    checkpoint_remember(t, network);
    sm_network_close(network);
  }
  out->view = out->patch = forms[t->labels];
  out->view_dim = out->patch_dim = t->dim;
  out->own = &t->own;
  return SM_OK;
}

static void checkpoint_declare_frozen(const void *self, const sm_params *frozen) {
  sm_network_declare(((const checkpoint *)self)->network, frozen);
}
static sm_status checkpoint_load(void *self, const sm_params *frozen, sm_error *err) {
  return sm_network_load(((checkpoint *)self)->network, frozen, err);
}

/* ---- targets ------------------------------------------------------------------------------------------ */

static void checkpoint_set_target(const checkpoint *t, sm_graph *g, const sm_tokenizer_env *env, sm_tensor *x,
                                  sm_target *out) {
  *out = (sm_target){.dim = t->dim};
  if (t->labels == FEATURES) {
    out->form = SM_TARGET_VECTORS;
    out->vectors = x;
    return;
  }
  sm_tensor *logits = sm_network_logits(t->network, g, &env->frozen, x, checkpoint_site_of(t));
  sm_tensor *center = sm_network_center(t->network, g, &env->frozen);
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

/* Its patches stand for the student's only where they are as many in each direction. */
static bool checkpoint_same_grid(const checkpoint *t, sm_graph *g, const sm_seen *seen) {
  sm_backbone_spec spec;
  sm_error err = {0};
  if (sm_network_at(t->network, (int)seen->pictures->dim[2], (int)seen->pictures->dim[3], &spec, &err)) {
    sm_graph_fail(g, "the network of '%s': %s", t->path, err.message);
    return false;
  }
  if (spec.rows == seen->rows && spec.cols == seen->cols) return true;
  sm_graph_fail(g, "the network of '%s' sees %d x %d patches where the student has %d x %d", t->path,
                spec.rows, spec.cols, seen->rows, seen->cols);
  return false;
}

static void checkpoint_build(void *self, sm_graph *g, const sm_tokenizer_env *env, const sm_seen *seen,
                             sm_target *view, sm_target *patch) {
  const checkpoint *t = self;
  const sm_backbone_in in = {
      .pictures = seen->pictures, .view = env->want_view, .patches = env->want_patch, .only = env->masked};
  sm_backbone_out out;
  if (!checkpoint_same_grid(t, g, seen)) return;
  sm_network_build(t->network, g, &env->frozen, &in, &out);
  if (!sm_graph_ok(g)) return;
  if (env->want_view) checkpoint_set_target(t, g, env, out.view, view);
  if (env->want_patch) checkpoint_set_target(t, g, env, out.patches, patch);
}

static const sm_tokenizer_ops ops = {.spec = checkpoint_spec,
                                     .build = checkpoint_build,
                                     .declare_frozen = checkpoint_declare_frozen,
                                     .load = checkpoint_load};
static const sm_plugin plugin = {.kind = SM_TOKENIZER,
                                 .name = "checkpoint",
                                 .summary = "An earlier run, frozen, names the patches",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .cite = "Zhou et al., iBOT, ICLR 2022",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .instance_size = sizeof(checkpoint),
                                 .host = offsetof(checkpoint, host),
                                 .create = checkpoint_create,
                                 .destroy = checkpoint_destroy,
                                 .ops = &ops};
SM_MODULE(&plugin)

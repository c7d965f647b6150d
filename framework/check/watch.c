/* watch.c — see watch.h. Each callback is called by a function of its own, which notes its name.
 *
 * Only the callbacks that a plugin has are replaced, since a NULL means something; flags are copied. */
#include <string.h>

#include "watch.h"

typedef union any_ops {
  sm_backbone_ops backbone;
  sm_head_ops head;
  sm_masker_ops masker;
  sm_tokenizer_ops tokenizer;
  sm_loss_ops loss;
  sm_dataset_ops dataset;
  sm_evaluation_ops evaluation;
  sm_objective_ops objective;
} any_ops;

static sm_watch *watch;
static const sm_plugin *original;
static any_ops real, watched;
static sm_plugin copy;

void sm_watch_sign(void) {
  if (watch) atomic_store_explicit(&watch->sign, (int64_t)(sm_now() * 1000), memory_order_relaxed);
}

static void watch_enter(const char *callback) {
  atomic_store(&watch->callback, callback);
  atomic_fetch_add(&watch->inside, 1);
  sm_watch_sign();
}

static void watch_leave(void) {
  atomic_fetch_sub(&watch->inside, 1);
  sm_watch_sign();
}

/* ---- one function a callback --------------------------------------------------------------------------- */

#define GIVES(type, kind, name, parameters, arguments) \
  static type watch_##kind##_##name parameters {       \
    watch_enter(#name);                                \
    type given = real.kind.name arguments;             \
    watch_leave();                                     \
    return given;                                      \
  }
#define DOES(kind, name, parameters, arguments)  \
  static void watch_##kind##_##name parameters { \
    watch_enter(#name);                          \
    real.kind.name arguments;                    \
    watch_leave();                               \
  }

GIVES(sm_status, backbone, spec, (const void *s, int h, int w, sm_backbone_spec *to, sm_error *e),
      (s, h, w, to, e))
DOES(backbone, declare, (const void *s, int h, int w, const sm_params *p), (s, h, w, p))
DOES(backbone, build,
     (const void *s, sm_graph *g, const sm_params *p, const sm_backbone_in *in, sm_backbone_out *out),
     (s, g, p, in, out))
DOES(backbone, elsewhere, (const void *s, int h, int w, sm_text *t), (s, h, w, t))

GIVES(int, head, out_dim, (const void *s, sm_site site, int dim), (s, site, dim))
DOES(head, declare, (const void *s, const sm_head *h), (s, h))
GIVES(sm_tensor *, head, features, (void *s, sm_graph *g, const sm_head *h, sm_tensor *x, sm_site site),
      (s, g, h, x, site))
GIVES(sm_tensor *, head, logits, (void *s, sm_graph *g, const sm_head *h, sm_tensor *x, sm_site site),
      (s, g, h, x, site))
GIVES(int, head, layer_dim, (const void *s, int n), (s, n))
GIVES(sm_tensor *, head, layer, (void *s, sm_graph *g, const sm_head *h, sm_tensor *x, sm_site site, int n),
      (s, g, h, x, site, n))
DOES(head, declare_state, (const void *s, const sm_head *h), (s, h))
GIVES(int, head, feature_dim, (const void *s, sm_site site, int dim), (s, site, dim))
DOES(head, build_update, (void *s, sm_graph *g, const sm_head *h), (s, g, h))

GIVES(double, masker, max_ratio, (const void *s), (s))
GIVES(int64_t, masker, start_epoch, (const void *s), (s))
DOES(masker, draw, (const void *s, const sm_mask_request *r, uint8_t *mask), (s, r, mask))

GIVES(sm_status, tokenizer, spec, (const void *s, sm_tokenizer_spec *to, sm_error *e), (s, to, e))
GIVES(const char *, tokenizer, center, (const void *s, sm_site site), (s, site))
DOES(tokenizer, declare, (const void *s, const sm_params *p, int view, int patch), (s, p, view, patch))
DOES(tokenizer, declare_behind, (const void *s, const sm_params *p, const sm_head *h, int views), (s, p, h, views))
DOES(tokenizer, build,
     (void *s, sm_graph *g, const sm_tokenizer_env *env, const sm_seen *seen, sm_target *view,
      sm_target *patch),
     (s, g, env, seen, view, patch))
DOES(tokenizer, build_update, (void *s, sm_graph *g, const sm_tokenizer_env *env), (s, g, env))
DOES(tokenizer, prepare, (void *s, const sm_time *t, int64_t start), (s, t, start))
DOES(tokenizer, declare_frozen, (const void *s, const sm_params *p), (s, p))
GIVES(sm_status, tokenizer, load, (void *s, const sm_params *p, sm_error *e), (s, p, e))
GIVES(sm_status, tokenizer, fit, (void *s, const sm_params *p, sm_sampler *from, sm_error *e),
      (s, p, from, e))
DOES(tokenizer, build_local,
     (void *s, sm_graph *g, const sm_tokenizer_env *env, const sm_seen *seen, sm_target *patch),
     (s, g, env, seen, patch))

GIVES(sm_status, loss, spec, (const void *s, sm_loss_spec *to, sm_error *e), (s, to, e))
GIVES(int64_t, loss, max_pairs, (const void *s, const sm_pair_request *r, int64_t n), (s, r, n))
DOES(loss, pairs, (const void *s, const sm_pair_request *r), (s, r))
GIVES(sm_tensor *, loss, build,
      (void *s, sm_graph *g, const sm_prediction *p, const sm_target *t, const sm_pairs *all,
       sm_tensor **stats),
      (s, g, p, t, all, stats))
DOES(loss, prepare, (void *s, const sm_time *t), (s, t))

GIVES(sm_status, dataset, open, (void *s, sm_error *e), (s, e))
GIVES(int64_t, dataset, count, (const void *s), (s))
GIVES(int, dataset, label, (const void *s, int64_t index), (s, index))
GIVES(const char *, dataset, name, (const void *s, int64_t index), (s, index))
GIVES(int, dataset, classes, (const void *s), (s))
GIVES(const char *, dataset, class_name, (const void *s, int c), (s, c))
GIVES(sm_status, dataset, read,
      (const void *s, int64_t index, const sm_image_limits *l, sm_image *to, sm_error *e),
      (s, index, l, to, e))
GIVES(uint64_t, dataset, hash, (const void *s), (s))
GIVES(sm_status, dataset, borrow,
      (const void *s, int64_t index, const sm_image_limits *l, sm_image *to, sm_error *e),
      (s, index, l, to, e))

GIVES(sm_status, evaluation, run, (void *s, sm_eval_context *x, sm_eval_result *r, sm_error *e), (s, x, r, e))
DOES(evaluation, wants, (const void *s, sm_feature_spec *to), (s, to))
DOES(evaluation, figures, (const void *s, sm_text *to), (s, to))

GIVES(sm_status, objective, spec, (const void *s, sm_objective_spec *to, sm_error *e), (s, to, e))
DOES(objective, declare, (const void *s, const sm_params *p, const sm_params *state), (s, p, state))
GIVES(sm_tensor *, objective, build, (void *s, sm_graph *g, const sm_objective_env *env), (s, g, env))
DOES(objective, prepare, (void *s, const sm_time *t), (s, t))
DOES(objective, measure, (void *s, int64_t pictures, bool first), (s, pictures, first))
DOES(objective, report, (void *s, sm_measures *m), (s, m))
DOES(objective, build_show, (void *s, sm_graph *g, const sm_objective_env *env), (s, g, env))
GIVES(sm_status, objective, show, (void *s, const sm_show *show, sm_error *e), (s, show, e))

static sm_status watch_create(void *self, sm_error *err) {
  watch_enter("create");
  sm_status status = original->create(self, err);
  watch_leave();
  return status;
}

static void watch_destroy(void *self) {
  watch_enter("destroy");
  original->destroy(self);
  watch_leave();
}

/* ---- the plugin ---------------------------------------------------------------------------------------- */

#define PUT(kind, name) \
  if (real.kind.name) watched.kind.name = watch_##kind##_##name
#define TAKE(kind) memcpy(&real.kind, original->ops, sizeof real.kind), watched.kind = real.kind

static void watch_networks(void) {
  if (original->kind == SM_BACKBONE) {
    TAKE(backbone);
    PUT(backbone, spec);
    PUT(backbone, declare);
    PUT(backbone, build);
    PUT(backbone, elsewhere);
  } else if (original->kind == SM_HEAD) {
    TAKE(head);
    PUT(head, out_dim);
    PUT(head, declare);
    PUT(head, features);
    PUT(head, logits);
    PUT(head, layer_dim);
    PUT(head, layer);
    PUT(head, declare_state);
    PUT(head, build_update);
    PUT(head, feature_dim);
  } else if (original->kind == SM_OBJECTIVE) {
    TAKE(objective);
    PUT(objective, spec);
    PUT(objective, declare);
    PUT(objective, build);
    PUT(objective, prepare);
    PUT(objective, measure);
    PUT(objective, report);
    PUT(objective, build_show);
    PUT(objective, show);
  }
}

static void watch_targets(void) {
  if (original->kind == SM_MASKER) {
    TAKE(masker);
    PUT(masker, max_ratio);
    PUT(masker, start_epoch);
    PUT(masker, draw);
  } else if (original->kind == SM_TOKENIZER) {
    TAKE(tokenizer);
    PUT(tokenizer, spec);
    PUT(tokenizer, center);
    PUT(tokenizer, declare);
    PUT(tokenizer, build);
    PUT(tokenizer, build_update);
    PUT(tokenizer, prepare);
    PUT(tokenizer, declare_frozen);
    PUT(tokenizer, load);
    PUT(tokenizer, fit);
    PUT(tokenizer, build_local);
    PUT(tokenizer, declare_behind);
  } else if (original->kind == SM_LOSS) {
    TAKE(loss);
    PUT(loss, spec);
    PUT(loss, max_pairs);
    PUT(loss, pairs);
    PUT(loss, build);
    PUT(loss, prepare);
  }
}

static void watch_pictures(void) {
  if (original->kind == SM_DATASET) {
    TAKE(dataset);
    PUT(dataset, open);
    PUT(dataset, count);
    PUT(dataset, label);
    PUT(dataset, name);
    PUT(dataset, classes);
    PUT(dataset, class_name);
    PUT(dataset, read);
    PUT(dataset, hash);
    PUT(dataset, borrow);
  } else if (original->kind == SM_EVALUATION) {
    TAKE(evaluation);
    PUT(evaluation, run);
    PUT(evaluation, wants);
    PUT(evaluation, figures);
  }
}

const sm_plugin *sm_watch_plugin(sm_watch *to, const sm_plugin *p) {
  watch = to, original = p, copy = *p;
  watch_networks();
  watch_targets();
  watch_pictures();
  copy.ops = &watched;
  if (p->create) copy.create = watch_create;
  if (p->destroy) copy.destroy = watch_destroy;
  snprintf(to->kind, sizeof to->kind, "%s", sm_kind_name((sm_kind)p->kind));
  snprintf(to->name, sizeof to->name, "%s", p->name);
  sm_watch_sign();
  return &copy;
}

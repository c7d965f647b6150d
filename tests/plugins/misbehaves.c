/* misbehaves.c — plugins that load well and then do not do what they say; `smalti plugins check` must find
 * each. */
#include <stdlib.h>

#include "masker.h"

struct leaky {
  void *lost;
};

/* ---- maskers ------------------------------------------------------------------------------------------- */

static double half(const void *self) {
  (void)self;
  return 0.5;
}

static void draw_all(const void *self, const sm_mask_request *request, uint8_t *mask) {
  (void)self;
  for (int k = 0; k < request->rows * request->cols; k++) mask[k] = 1;
}

static void draw_beyond(const void *self, const sm_mask_request *request, uint8_t *mask) {
  (void)self;
  mask[request->rows * request->cols] = 1;
}

static void draw_by_clock(const void *self, const sm_mask_request *request, uint8_t *mask) {
  static int calls;
  (void)self;
  if (request->rows * request->cols > 1) mask[calls++ % (request->rows * request->cols)] = 1;
}

static sm_status leak(void *self, sm_error *err) {
  (void)err;
  ((struct leaky *)self)->lost = malloc(100);
  return SM_OK;
}

static sm_status ignores_memory(void *self, sm_error *err) {
  (void)self;
  void *block = sm_malloc(100);
  if (!block) return sm_fail(err, SM_EINVAL, "something odd");
  sm_free(block);
  return SM_OK;
}

static const sm_masker_ops too_much = {.max_ratio = half, .draw = draw_all};
static const sm_masker_ops beyond = {.max_ratio = half, .draw = draw_beyond};
static const sm_masker_ops clock_ops = {.max_ratio = half, .draw = draw_by_clock};
static const sm_plugin masks_all = PLUGIN("masks_all", .ops = &too_much);
static const sm_plugin masks_beyond = PLUGIN("masks_beyond", .ops = &beyond);
static const sm_plugin own_random = PLUGIN("own_random", .ops = &clock_ops);
static const sm_plugin leaks =
    PLUGIN("leaks", .ops = &masker_ops, .create = leak, .instance_size = sizeof(struct leaky));
static const sm_plugin blames = PLUGIN("blames_the_user", .ops = &masker_ops, .create = ignores_memory);

/* ---- heads: a wrong gradient, a broken promise --------------------------------------------------------- */

static void square(const sm_node *n, int64_t first, int64_t last, sm_worker *w) {
  int64_t count = (last - first) * sm_item_elements(n->out[0]);
  const double *x = sm_at(w, n->in[0], first);
  double *y = sm_at(w, n->out[0], first);
  for (int64_t k = 0; k < count; k++) y[k] = x[k] * x[k];
}

/* d x²/dx = 2 x; this says x. */
static void wrong_vjp(sm_graph *g, sm_node *n);
static const sm_op square_op = {.name = "square",
                                .doc = "x·x",
                                .cls = SM_PER_ITEM,
                                .vjp = wrong_vjp,
                                .run = {[SM_CPU] = {NULL, square}, [SM_PLAIN] = {NULL, square}}};

static void product(const sm_node *n, int64_t first, int64_t last, sm_worker *w) {
  int64_t count = (last - first) * sm_item_elements(n->out[0]);
  const double *a = sm_at(w, n->in[0], first), *b = sm_at(w, n->in[1], first);
  double *y = sm_at(w, n->out[0], first);
  for (int64_t k = 0; k < count; k++) y[k] = a[k] * b[k] + (n->acc ? y[k] : 0);
}

static const sm_op product_op = {.name = "product",
                                 .doc = "a·b",
                                 .cls = SM_PER_ITEM,
                                 .run = {[SM_CPU] = {NULL, product}, [SM_PLAIN] = {NULL, product}}};

static void wrong_vjp(sm_graph *g, sm_node *n) {
  bool acc;
  sm_tensor *d = sm_grad_slot(g, n->in[0], &acc);
  if (!d) return;
  sm_tensor *in[] = {sm_grad_of(g, n->out[0]), sm_value(g, n->in[0])};
  sm_emit(g, &product_op, 2, in, 1, &d)->acc = acc;
}

static void declare(const void *self, const sm_head *h) {
  (void)self;
  int64_t k = h->view_dim ? h->view_dim : h->patch_dim;
  sm_declare(&h->params, "weight", SM_INIT_NORMAL, 0.1, 0, 2, (int64_t[]){k, h->dim});
}

static sm_tensor *features(void *self, sm_graph *g, const sm_head *h, sm_tensor *x, sm_site site) {
  (void)self, (void)site;
  return sm_linear(g, x, sm_param(g, &h->params, "weight"), NULL);
}

static sm_tensor *squared(void *self, sm_graph *g, const sm_head *h, sm_tensor *x, sm_site site) {
  (void)self, (void)h, (void)site;
  sm_tensor *y = sm_result(g, x->dtype, x->ndim, x->dim, x->count);
  sm_emit(g, &square_op, 1, &x, 1, &y);
  return y;
}

static sm_tensor *bent(void *self, sm_graph *g, const sm_head *h, sm_tensor *x, sm_site site) {
  (void)self, (void)h, (void)site;
  return sm_gelu(g, x);
}

static int any_dim(const void *self, sm_site site, int dim) {
  (void)self, (void)site, (void)dim;
  return 0;
}

static const sm_head_ops wrong_ops = {.declare = declare,
                                      .features = features,
                                      .logits = squared,
                                      .out_dim = any_dim};
static const sm_head_ops bent_ops = {.affine = 1,
                                     .declare = declare,
                                     .features = features,
                                     .logits = bent,
                                     .out_dim = any_dim};
static const sm_plugin wrong_gradient = {.kind = SM_HEAD,
                                         .name = "wrong_gradient",
                                         .summary = "Squares with half the gradient",
                                         .version = "1",
                                         .license = "MIT",
                                         .ops = &wrong_ops};
static const sm_plugin not_affine = {.kind = SM_HEAD,
                                     .name = "not_affine",
                                     .summary = "Promises to be affine and is not",
                                     .version = "1",
                                     .license = "MIT",
                                     .ops = &bent_ops};

/* ---- a loss with more pairs than it says, against targets that are not there --------------------------- */

static sm_status spec(const void *self, sm_loss_spec *out, sm_error *err) {
  (void)self, (void)err;
  *out = (sm_loss_spec){.forms = SM_TARGET_IDS, .site = SM_SITE_VIEW};
  return SM_OK;
}

static void pairs(const void *self, const sm_pair_request *r) {
  (void)self;
  for (int k = 0; k < r->pictures * r->globals; k++)
    for (int j = 0; j < 2; j++) sm_pairs_add(r->out, k, k, 1);
}

static sm_tensor *build(void *self, sm_graph *g, const sm_prediction *p, const sm_target *t,
                        const sm_pairs *all, sm_tensor **stats) {
  (void)self;
  sm_xent_out out = sm_xent(g, p->logits, sm_scalar(g, "1/temperature", 1), t, all);
  sm_loss_term(g, out.loss);
  *stats = out.stats;
  return out.loss;
}

static const sm_loss_ops loss_ops = {spec, NULL, pairs, build, NULL};
static const sm_plugin crowded = {.kind = SM_LOSS,
                                  .name = "crowded",
                                  .summary = "Makes more pairs than it promises",
                                  .version = "1",
                                  .license = "MIT",
                                  .ops = &loss_ops};

SM_MODULE(&masks_all, &masks_beyond, &own_random, &leaks, &blames, &wrong_gradient, &not_affine, &crowded)

/* patch_head.c — batch norm and a 1×1 convolution over patches, trained on the classes of pixels
 * (smalti/dense.h).
 *
 * A step is three passes and some work of the host: the graph gives the patches' logits; the host carries
 * them to the pixels and brings the gradient back (patch_pixels.c), a picture per item of the pool; the graph
 * takes that as the gradient by its logits. So pictures of any sizes share a batch. */
#include "patch_head.h"

#include <math.h>
#include <string.h>

enum { ASKED = 1024 }; /* patches that are asked about together */
#define EPSILON 1e-5
#define MOMENTUM 0.1
#define INITIAL 0.01

struct sm_patch_head {
  sm_patch_head_config c;
  sm_set *set;
  sm_graph *graph;
  int look, step, update, test; /* passes; update -1: nothing moves */
  sm_tensor *count, *x, *dz, *logits, *asked, *ask_x, *ask_z;
  float *z, *back; /* (patches, classes) of a step */
  /* of the step in hand */
  const sm_patch_sample *const *sample;
  const int64_t *first; /* patch of each sample */
  double weight, *loss;
  sm_error *why;
};

/* ---- building it --------------------------------------------------------------------------------------- */

static sm_status head_declare(sm_patch_head *h, sm_error *err) {
  const int64_t dim[] = {h->c.dim}, classes[] = {h->c.classes}, weight[] = {h->c.classes, h->c.dim};
  if (!(h->set = sm_set_new("linear segmentation", SM_F32, true, err))) return err ? err->code : SM_ENOMEM;
  const sm_params p = {h->set, NULL};
  if (h->c.batch_norm) {
    sm_declare(&p, "0.weight", SM_INIT_ONES, 0, 0, 1, dim);
    sm_declare(&p, "0.bias", SM_INIT_ZEROS, 0, 0, 1, dim);
    sm_declare(&p, "0.running_mean", SM_INIT_ZEROS, 0, SM_ROW_RUNNING | SM_ROW_FROZEN, 1, dim);
    sm_declare(&p, "0.running_var", SM_INIT_ONES, 0, SM_ROW_RUNNING | SM_ROW_FROZEN, 1, dim);
  }
  sm_declare(&p, "1.weight", SM_INIT_NORMAL, INITIAL, 0, 2, weight);
  sm_declare(&p, "1.bias", SM_INIT_ZEROS, 0, 0, 1, classes);
  sm_status status = sm_set_seal(h->set, SM_MOMENTS_TWO, err);
  for (int r = 0; !status && r < sm_set_rows(h->set); r++)
    sm_set_row(h->set, r)->decay = !(sm_set_row(h->set, r)->flags & SM_ROW_FROZEN);
  return status;
}

/* Logits of rows x; `moves`: the running state shall follow this batch. */
static sm_tensor *head_logits(const sm_patch_head *h, sm_tensor *x, bool training, bool moves) {
  sm_graph *g = h->graph;
  const sm_params p = {h->set, NULL};
  if (h->c.batch_norm) {
    const sm_running running = {sm_param(g, &p, "0.running_mean"), sm_param(g, &p, "0.running_var"),
                                MOMENTUM};
    x = sm_batch_norm(g, x, sm_param(g, &p, "0.weight"), sm_param(g, &p, "0.bias"),
                      training && !moves ? NULL : &running, EPSILON, training);
  }
  return sm_linear(g, x, sm_param(g, &p, "1.weight"), sm_param(g, &p, "1.bias"));
}

static void head_passes(sm_patch_head *h) {
  sm_graph *g = h->graph;
  h->count = sm_count(g, "patches", h->c.patches);
  h->x = sm_input_real(g, "patches", 2, (int64_t[]){h->c.patches, h->c.dim}, h->count);
  h->dz = sm_input_real(g, "gradients", 2, (int64_t[]){h->c.patches, h->c.classes}, h->count);
  h->look = sm_pass_begin(g, "logits");
  sm_keep(g, h->logits = head_logits(h, h->x, true, false));
  sm_pass_end(g);
  h->step = sm_pass_begin(g, "step");
  sm_loss_term(g, sm_mul(g, head_logits(h, h->x, true, true), h->dz));
  sm_pass_backward(g);
  sm_pass_end(g);
  h->update = sm_running_pending(g) ? sm_pass_begin(g, "update") : -1;
  if (h->update >= 0) {
    sm_running_update(g);
    sm_pass_end(g);
  }
  h->test = sm_pass_begin(g, "test");
  h->asked = sm_count(g, "asked patches", ASKED);
  h->ask_x = sm_input_real(g, "asked patches", 2, (int64_t[]){ASKED, h->c.dim}, h->asked);
  sm_keep(g, h->ask_z = head_logits(h, h->ask_x, false, false));
  sm_pass_end(g);
}

static sm_status head_build(sm_patch_head *h, sm_error *err) {
  const sm_graph_config config = {.device = SM_CPU, .real = SM_F32, .pool = h->c.pool};
  const size_t size = (size_t)h->c.patches * (size_t)h->c.classes;
  sm_status status = head_declare(h, err);
  if (status) return status;
  if (!(h->graph = sm_graph_new(&config, err))) return err ? err->code : SM_ENOMEM;
  head_passes(h);
  status = sm_graph_plan(h->graph, err);
  if (!status) status = sm_set_allocate(h->set, h->c.seed, err);
  if (!status) status = sm_graph_allocate(h->graph, err);
  if (status) return status;
  h->z = sm_malloc(size * sizeof *h->z);
  h->back = sm_malloc(size * sizeof *h->back);
  if (h->z && h->back) return SM_OK;
  sm_fail(err, SM_ENOMEM, "no memory for steps of %lld patches", (long long)h->c.patches);
  return sm_hint(err, "take smaller batches or smaller pictures");
}

sm_status sm_patch_head_new(const sm_patch_head_config *c, sm_patch_head **out, sm_error *err) {
  sm_patch_head *h = sm_calloc(1, sizeof *h);
  *out = NULL;
  if (!h) return sm_fail(err, SM_ENOMEM, "no memory for a linear layer");
  h->c = *c;
  sm_status status = head_build(h, err);
  if (status) sm_patch_head_free(h);
  else *out = h;
  return status;
}

void sm_patch_head_free(sm_patch_head *h) {
  if (!h) return;
  sm_graph_free(h->graph);
  sm_set_free(h->set);
  sm_free(h->z);
  sm_free(h->back);
  sm_free(h);
}

sm_set *sm_patch_head_set(const sm_patch_head *h) { return h->set; }

/* ---- a step -------------------------------------------------------------------------------------------- */

static void head_sample(void *context, int64_t i, int worker) {
  const sm_patch_head *h = context;
  const sm_patch_sample *s = h->sample[i];
  const int64_t at = h->first[i] * h->c.classes;
  (void)worker;
  sm_patch_loss(&s->whole, s->rows, s->cols, h->z + at, h->c.classes, &s->labels, s->ignore, h->weight,
                &h->loss[i], h->back + at, &h->why[i]);
}

/* Pixels that the loss is divided by. */
static int64_t head_pixels(const sm_patch_head *h, const sm_patch_sample *s) {
  const int64_t n = (int64_t)s->labels.width * s->labels.height;
  int64_t counted = 0;
  for (int64_t i = 0; i < n; i++)
    counted += h->c.over_all || (s->labels.value[i] != s->ignore && s->labels.value[i] < h->c.classes);
  return counted;
}

static sm_status head_diverged(double rate, const char *what, sm_error *err) {
  sm_fail(err, SM_EINVAL, "linear segmentation diverged: %s is not finite", what);
  return sm_hint(err, "lower lr: it is %g", rate);
}

/* Gradients of all samples, brought to the graph. */
static sm_status head_gradient(sm_patch_head *h, int n, int64_t patches, double *loss, sm_error *err) {
  sm_put(h->count, (double)patches);
  sm_graph_run(h->graph, h->look);
  sm_read(h->logits, 0, patches * h->c.classes, h->z);
  sm_pool_run(h->c.pool, n, head_sample, h);
  *loss = 0;
  for (int i = 0; i < n; i++) {
    if (h->why[i].code) return sm_fail(err, h->why[i].code, "%s", h->why[i].message);
    *loss += h->loss[i];
  }
  sm_write(h->dz, 0, patches * h->c.classes, h->back);
  sm_graph_run(h->graph, h->step);
  return SM_OK;
}

static sm_status head_update(sm_patch_head *h, double rate, double loss, sm_error *err) {
  const sm_optimizer_config adamw = {.kind = SM_ADAMW, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
  const sm_optimizer_step values = {.lr = rate, .weight_decay = h->c.weight_decay};
  sm_optimizer_result got;
  if (!isfinite(loss)) return head_diverged(rate, "the loss", err);
  sm_optimizer_run(&adamw, h->set, h->c.pool, &values, &got);
  if (!isfinite(got.grad_norm)) return head_diverged(rate, "a gradient", err);
  if (h->update >= 0) sm_graph_run(h->graph, h->update);
  return SM_OK;
}

sm_status sm_patch_head_step(sm_patch_head *h, const sm_patch_sample *const *sample, int n, double rate,
                             double *loss, sm_error *err) {
  int64_t patches = 0, pixels = 0, *first = sm_malloc((size_t)n * sizeof *first);
  h->loss = sm_calloc((size_t)n, sizeof *h->loss);
  h->why = sm_calloc((size_t)n, sizeof *h->why);
  h->sample = sample, h->first = first;
  sm_status status = first && h->loss && h->why ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory for a step");
  for (int i = 0; !status && i < n; i++) {
    const int64_t some = (int64_t)sample[i]->rows * sample[i]->cols;
    first[i] = patches;
    if (patches + some > h->c.patches)
      status = sm_fail(err, SM_EINVAL, "more than %lld patches in a step", (long long)h->c.patches);
    else sm_write(h->x, patches * h->c.dim, some * h->c.dim, sample[i]->x);
    patches += some, pixels += head_pixels(h, sample[i]);
  }
  h->weight = pixels ? 1 / (double)pixels : 0;
  if (!status) status = head_gradient(h, n, patches, loss, err);
  if (!status) status = head_update(h, rate, *loss, err);
  sm_free(first);
  sm_free(h->loss);
  sm_free(h->why);
  return status;
}

void sm_patch_head_ask(sm_patch_head *h, const float *x, int64_t n, float *z) {
  for (int64_t at = 0; at < n; at += ASKED) {
    const int64_t some = n - at < ASKED ? n - at : ASKED;
    sm_put(h->asked, (double)some);
    sm_write(h->ask_x, 0, some * h->c.dim, x + at * h->c.dim);
    sm_graph_run(h->graph, h->test);
    sm_read(h->ask_z, 0, some * h->c.classes, z + at * h->c.classes);
  }
}

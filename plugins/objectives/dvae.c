/* dvae — a discrete variational auto-encoder, as DALL·E trains its tokenizer (Ramesh et al., ICML 2021,
 * section 2.1 and appendix A): an encoder names each cell of a picture by one of `vocabulary` codes, a
 * decoder makes the picture of them. Its encoder is what the tokenizer `dvae` runs.
 *
 *   z = encoder(x)                            logits (cells, vocabulary)
 *   y = softmax((z + Gumbel noise)/tau)       a relaxed draw; tau falls during training
 *   p = decoder(y)
 *   loss = (-ln f(x | p) + kl_weight · Σ over cells KL(softmax(z) ‖ uniform)) / pixels, mean over the
 *     pictures
 *
 * f is the logit-Laplace density (appendix A.3), with a location and a scale for each colour of each pixel;
 * with `reconstruction: l2` the first term is the squared error of the locations. `pixels` counts colours, so
 * that a weight means the same for any size. Pictures are mapped from [0, 1] to [0.1, 0.9] (map_pixels), by
 * the loader.
 *
 * After each epoch reconstructions.png shows pictures beside what the decoder makes of their codes, the
 * largest logits. */
#include <string.h>

#include <smalti/plugin.h>

#include "../dvae_net.h"

enum { LOGIT_LAPLACE, L2 };
static const char *const reconstruction_names[] = {"logit_laplace", "l2", NULL};
static const double epsilon = 0.1; /* of map_pixels: x·(1 - 2ε) + ε */

typedef struct dvae {
  int64_t hidden, groups, blocks, vocabulary;
  sm_schedule temperature, kl_weight;
  int reconstruction;
  /* of the graph */
  sm_tensor *inverse_tau, *kl_factor, *colours, *logits, *error, *kl;
  sm_tensor *shown, *shown_logits, *codes, *drawn;
  int encode, decode; /* passes that show */
  double pixels, step_pictures;
  /* of the step */
  int64_t *met; /* how often each code was the largest logit */
  int64_t cells, items;
  double sum_error, sum_kl, tau, weight;
} dvae;

static const sm_option options[] = {
    SM_INT(dvae, hidden, "hidden", "256", 4, 4096, NULL,
           "Channels of the first group, a multiple of 4; each further group doubles them"),
    SM_INT(dvae, groups, "groups", "4", 1, DVAE_GROUPS_MAX, NULL,
           "Groups of encoder and decoder; a cell is 2^(groups - 1) pixels wide"),
    SM_INT(dvae, blocks, "blocks", "2", 1, 16, NULL, "Residual blocks per group"),
    SM_INT(dvae, vocabulary, "vocabulary", "8192", 2, 65536, NULL, "Number of codes"),
    SM_SCHEDULE(dvae, temperature, "temperature", "{from: 1, to: 0.0625, shape: cosine, per: step}", 1e-3,
                100, NULL, "Temperature of the relaxed draw"),
    SM_SCHEDULE(dvae, kl_weight, "kl_weight", "{from: 0, to: 6.6, shape: cosine, per: step, epochs: 5}", 0,
                1e6, NULL, "Weight of the KL divergence from uniform codes"),
    SM_CHOICE(dvae, reconstruction, "reconstruction", "logit_laplace", reconstruction_names,
              "What measures a reconstruction: the logit-Laplace likelihood or the squared error"),
};

static dvae_shape dvae_shape_of(const dvae *d) {
  return (dvae_shape){.groups = (int)d->groups,
                      .blocks = (int)d->blocks,
                      .hidden = (int)d->hidden,
                      .vocabulary = (int)d->vocabulary};
}

static sm_status dvae_create(void *self, sm_error *err) {
  dvae *d = self;
  d->met = sm_calloc((size_t)d->vocabulary, sizeof *d->met);
  return d->met ? SM_OK : sm_fail(err, SM_ENOMEM, "no memory to count codes");
}
static void dvae_destroy(void *self) { sm_free(((dvae *)self)->met); }

static sm_status dvae_spec(const void *self, sm_objective_spec *out, sm_error *err) {
  const dvae_shape shape = dvae_shape_of(self);
  const int stride = dvae_stride(&shape);
  if (shape.hidden % 4) {
    sm_fail(err, SM_EINVAL, "hidden is %d, but a block goes through a quarter of the channels", shape.hidden);
    return sm_hint(err, "choose a multiple of 4");
  }
  out->normalises = true;
  for (int c = 0; c < DVAE_COLOURS; c++) {
    out->mean[c] = (float)(-epsilon / (1 - 2 * epsilon));
    out->std[c] = (float)(1 / (1 - 2 * epsilon));
  }
  if (out->height % stride == 0 && out->width % stride == 0) return SM_OK;
  char size[32];
  snprintf(size, sizeof size, out->height == out->width ? "%d" : "%d x %d", out->height, out->width);
  sm_fail(err, SM_EINVAL, "views of %s px cannot be cut into cells of %d px, which %d groups make", size,
          stride, shape.groups);
  return sm_hint(err, "set data.views.global.size to a multiple of %d, or take fewer groups", stride);
}

/* ---- building ------------------------------------------------------------------------------------------ */

static void dvae_halves_of(const sm_params *params, char prefix[2][96], sm_params half[2]) {
  snprintf(prefix[DVAE_ENCODER], sizeof prefix[0], "%sencoder.", params->prefix);
  snprintf(prefix[DVAE_DECODER], sizeof prefix[0], "%sdecoder.", params->prefix);
  for (int i = 0; i < 2; i++) half[i] = (sm_params){params->set, prefix[i]};
}

static void dvae_declare(const void *self, const sm_params *params, const sm_params *state) {
  const dvae_shape shape = dvae_shape_of(self);
  char prefix[2][96];
  sm_params half[2];
  (void)state;
  dvae_halves_of(params, prefix, half);
  dvae_declare_encoder(&half[DVAE_ENCODER], &shape);
  dvae_declare_decoder(&half[DVAE_DECODER], &shape);
}

/* The locations of (…, 6): a linear layer that passes on the first three. */
static sm_tensor *dvae_locations(dvae *d, sm_graph *g, sm_tensor *output) {
  if (!d->colours)
    d->colours = sm_input_real(g, "colours", 2, (int64_t[]){DVAE_COLOURS, DVAE_OUTPUTS}, NULL);
  return sm_linear(g, output, d->colours, NULL);
}

static sm_tensor *dvae_build(void *self, sm_graph *g, const sm_objective_env *env) {
  dvae *d = self;
  const dvae_shape shape = dvae_shape_of(d);
  const int stride = dvae_stride(&shape), height = env->height, width = env->width;
  char prefix[2][96];
  sm_params half[2];
  dvae_halves_of(&env->params, prefix, half);
  d->colours = NULL;
  d->step_pictures = env->step_pictures;
  d->pixels = (double)DVAE_COLOURS * height * width;
  d->inverse_tau = sm_scalar(g, "1/temperature", 1);
  d->kl_factor = sm_scalar(g, "weight of KL", 0);
  sm_tensor *pixels = sm_patchify(g, env->pictures, 1);
  d->logits = dvae_encode(g, &half[DVAE_ENCODER], &shape, pixels, height, width);
  sm_tensor *codes = sm_gumbel_softmax(g, d->logits, d->inverse_tau, env->key);
  sm_tensor *output = dvae_decode(g, &half[DVAE_DECODER], &shape, codes, height / stride, width / stride),
            *fit;
  if (d->reconstruction == L2) fit = d->error = sm_squared_error(g, dvae_locations(d, g, output), pixels);
  else fit = sm_logit_laplace(g, output, pixels, &d->error);
  d->kl = sm_kl_uniform(g, d->logits);
  sm_tensor *loss =
      sm_add(g, sm_scale(g, fit, 1 / (d->pixels * d->step_pictures)), sm_scale_by(g, d->kl, d->kl_factor));
  sm_loss_term(g, loss);
  sm_tensor *const kept[] = {d->logits, d->error, d->kl};
  for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) sm_keep(g, kept[i]);
  return loss;
}

static void dvae_build_show(void *self, sm_graph *g, const sm_objective_env *env) {
  dvae *d = self;
  const dvae_shape shape = dvae_shape_of(d);
  const int height = env->height, width = env->width, rows = height / dvae_stride(&shape),
            cols = width / dvae_stride(&shape);
  char prefix[2][96];
  sm_params half[2];
  dvae_halves_of(&env->params, prefix, half);
  d->shown = env->pictures;
  d->codes =
      sm_input_real(g, "codes", 3, (int64_t[]){env->pictures->dim[0], (int64_t)rows * cols, shape.vocabulary},
                    env->pictures->count);
  d->encode = sm_pass_begin(g, "show codes");
  d->shown_logits =
      dvae_encode(g, &half[DVAE_ENCODER], &shape, sm_patchify(g, env->pictures, 1), height, width);
  sm_keep(g, d->shown_logits);
  sm_pass_end(g);
  d->decode = sm_pass_begin(g, "show reconstructions");
  d->drawn = dvae_decode(g, &half[DVAE_DECODER], &shape, d->codes, rows, cols);
  sm_keep(g, d->drawn);
  sm_pass_end(g);
}

/* ---- the step ------------------------------------------------------------------------------------------ */

static void dvae_prepare(void *self, const sm_time *time) {
  dvae *d = self;
  d->tau = sm_schedule_at(&d->temperature, time);
  d->weight = sm_schedule_at(&d->kl_weight, time);
  sm_put(d->inverse_tau, 1 / d->tau);
  sm_put(d->kl_factor, d->weight / (d->pixels * d->step_pictures));
  for (int c = 0; d->colours && c < DVAE_COLOURS; c++)
    sm_fill(d->colours, (int64_t)c * DVAE_OUTPUTS + c, 1, 1);
}

/* The largest of the `cell`-th row, the lowest on ties. */
static int64_t dvae_code_of(const sm_tensor *logits, int64_t cell) {
  enum { PART = 256 };
  const int64_t n = logits->dim[2];
  double part[PART], largest = 0;
  int64_t best = -1;
  for (int64_t first = 0; first < n; first += PART) {
    int64_t some = n - first < PART ? n - first : PART;
    sm_read_f64(logits, cell * n + first, some, part);
    for (int64_t k = 0; k < some; k++)
      if (best < 0 || part[k] > largest) best = first + k, largest = part[k];
  }
  return best;
}

static double dvae_sum_of(const sm_tensor *t, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += sm_get(t, i);
  return sum;
}

static void dvae_measure(void *self, int64_t pictures, bool first) {
  dvae *d = self;
  const int64_t cells = pictures * d->logits->dim[1];
  if (first) {
    memset(d->met, 0, (size_t)d->vocabulary * sizeof *d->met);
    d->cells = d->items = 0;
    d->sum_error = d->sum_kl = 0;
  }
  for (int64_t i = 0; i < cells; i++) d->met[dvae_code_of(d->logits, i)]++;
  d->cells += cells;
  d->items += pictures;
  d->sum_error += dvae_sum_of(d->error, pictures);
  d->sum_kl += dvae_sum_of(d->kl, pictures);
}

static void dvae_report(void *self, sm_measures *to) {
  const dvae *d = self;
  double entropy = 0, used = 0, range = 1 - 2 * epsilon, items = (double)d->items, cells = (double)d->cells;
  for (int64_t k = 0; k < d->vocabulary; k++) {
    if (!d->met[k]) continue;
    double share = (double)d->met[k] / cells;
    entropy -= share * log(share);
    used++;
  }
  to->put(to, "reconstruction", d->sum_error / (items * d->pixels * range * range), true);
  to->put(to, "kl", d->sum_kl / cells, true);
  to->put(to, "codes_used", used / (double)d->vocabulary, true);
  to->put(to, "perplexity", exp(entropy), true);
  to->put(to, "temperature", d->tau, false);
  to->put(to, "kl_weight", d->weight, false);
}

/* ---- showing ------------------------------------------------------------------------------------------- */

enum { ACROSS = 4, MARGIN = 12, GAP = 12, LINE = 20, LEAST_SIDE = 96 };

static uint8_t dvae_byte_of(double mapped) {
  double x = (mapped - epsilon) / (1 - 2 * epsilon) * 255 + 0.5;
  return (uint8_t)(x < 0 ? 0 : x > 255 ? 255 : x);
}

/* Pixel y, x of picture i, colour c: as it is, or as the decoder's output says. */
static double dvae_original_at(const dvae *d, int64_t i, int64_t at, int c) {
  const int64_t area = d->shown->dim[2] * d->shown->dim[3];
  return sm_get(d->shown, (i * DVAE_COLOURS + c) * area + at);
}
static double dvae_drawn_at(const dvae *d, int64_t i, int64_t at, int c) {
  double location = sm_get(d->drawn, (i * d->drawn->dim[1] + at) * DVAE_OUTPUTS + c);
  return d->reconstruction == L2 ? location : 1 / (1 + exp(-location));
}

static void dvae_blow_up(const dvae *d, int64_t i, bool drawn, int zoom, sm_image *sheet, int left, int top) {
  const int height = (int)d->shown->dim[2], width = (int)d->shown->dim[3];
  for (int y = 0; y < height; y++)
    for (int x = 0; x < width; x++) {
      uint32_t rgb = 0;
      for (int c = 0; c < DVAE_COLOURS; c++)
        rgb = rgb << 8 |
              dvae_byte_of((drawn ? dvae_drawn_at : dvae_original_at)(d, i, (int64_t)y * width + x, c));
      sm_draw_fill(sheet, left + x * zoom, top + y * zoom, zoom, zoom, rgb, 1);
    }
}

static sm_status dvae_draw(const dvae *d, int pictures, sm_image *sheet, sm_error *err) {
  const int side = (int)d->shown->dim[3], zoom = side >= LEAST_SIDE ? 1 : (LEAST_SIDE + side - 1) / side;
  const int shown = side * zoom, high = (int)d->shown->dim[2] * zoom, pair = 2 * shown + 2,
            rows = (pictures + ACROSS - 1) / ACROSS, across = pictures < ACROSS ? pictures : ACROSS;
  const int width = 2 * MARGIN + across * (pair + GAP) - GAP,
            height = 2 * MARGIN + LINE + rows * (high + GAP) - GAP;
  sm_status status = sm_image_reshape(sheet, width, height, err);
  if (status) return status;
  sm_draw_fill(sheet, 0, 0, width, height, 0xFCFBF8, 1);
  sm_draw_text(sheet, MARGIN, MARGIN, 1, 0x22252A, "left: picture, right: made of its codes");
  for (int i = 0; i < pictures; i++) {
    const int left = MARGIN + i % ACROSS * (pair + GAP), top = MARGIN + LINE + i / ACROSS * (high + GAP);
    dvae_blow_up(d, i, false, zoom, sheet, left, top);
    dvae_blow_up(d, i, true, zoom, sheet, left + shown + 2, top);
  }
  return SM_OK;
}

static sm_status dvae_show(void *self, const sm_show *s, sm_error *err) {
  dvae *d = self;
  const int64_t cells = s->pictures * d->shown_logits->dim[1];
  char path[4352]; /* more than the system takes: one that is too long is refused, not cut to another */
  sm_image sheet = {0};
  sm_graph_run(s->graph, d->encode);
  sm_fill(d->codes, 0, sm_elements(d->codes), 0);
  for (int64_t i = 0; i < cells; i++)
    sm_fill(d->codes, i * d->vocabulary + dvae_code_of(d->shown_logits, i), 1, 1);
  sm_graph_run(s->graph, d->decode);
  snprintf(path, sizeof path, "%s/reconstructions.png", s->folder);
  sm_status status = dvae_draw(d, s->pictures, &sheet, err);
  if (!status) status = sm_image_write_png(path, &sheet, err);
  sm_image_free(&sheet);
  return status;
}

static const sm_objective_ops ops = {.spec = dvae_spec,
                                     .declare = dvae_declare,
                                     .build = dvae_build,
                                     .prepare = dvae_prepare,
                                     .measure = dvae_measure,
                                     .report = dvae_report,
                                     .build_show = dvae_build_show,
                                     .show = dvae_show};

static const sm_plugin plugin = {
    .kind = SM_OBJECTIVE,
    .name = "dvae",
    .summary = "Discrete variational auto-encoder: learns the codes of the tokenizer dvae",
    .version = "0.1",
    .license = "Apache-2.0",
    .cite = "Ramesh et al., Zero-Shot Text-to-Image Generation, ICML 2021",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(dvae),
    .create = dvae_create,
    .destroy = dvae_destroy,
    .ops = &ops};
SM_MODULE(&plugin)

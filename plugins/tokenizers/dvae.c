/* dvae — the codes of a discrete variational auto-encoder name the patches (BEiT; rows 5 and 7 of iBOT's
 * Table 9).
 *
 *   id = argmax_k E(m(x))_k,   m(x) = (1 - 2ε)·x + ε,   ε = 0.1,   x in [0, 1]
 *
 * E is the encoder of dvae_net.h, frozen (Ramesh et al., ICML 2021; openai/DALL-E). It looks at a view of its
 * own: the student's box and flip, resized by Lanczos so that each patch becomes one code, which for DALL·E's
 * four groups is 8 pixels a patch, 112 in place of 224 (Bao et al., BEiT, ICLR 2022: dataset_folder,
 * second_interpolation lanczos). m is that view's normalisation.
 *
 * Weights are a safetensors file with OpenAI's names, perhaps behind a common beginning ("encoder."), or
 * the run folder of a dVAE that smalti trained. What the shapes of its tensors say is the encoder's size;
 * nothing else needs saying. */
#include <smalti/network.h>
#include <smalti/safetensors.h>
#include <smalti/tokenizer.h>

#include <string.h>

#include "../dvae_net.h"

enum { PREFIX_MAX = 160 };

typedef struct dvae {
  const char *weights;
  bool plain;
  /* of the file; looked up once */
  bool known;
  char file[4096], prefix[PREFIX_MAX];
  dvae_shape shape;
  sm_own_view own;
} dvae;

static const sm_option options[] = {
    SM_PATH(dvae, weights, "weights", NULL,
            "The encoder: a safetensors file with the names of OpenAI's, or the run folder of a dVAE trained "
            "here"),
    SM_BOOL(dvae, plain, "plain", "false",
            "Look at the picture's own colours, not at those that the student's view was given"),
};

/* ---- what the file holds ------------------------------------------------------------------------------ */

static const char first_conv[] = "blocks.input.w";

/* Both halves begin with that name; the encoder's looks at three colours through 7 x 7 pixels. */
static bool dvae_begins_encoder(const sm_st_tensor *t) {
  size_t n = strlen(t->name), end = sizeof first_conv - 1;
  return n >= end && n - end < PREFIX_MAX && !strcmp(t->name + n - end, first_conv) &&
         (n == end || t->name[n - end - 1] == '.') && strncmp(t->name, "optimizer.", 10) != 0 &&
         t->ndim == 4 && t->shape[1] == DVAE_COLOURS && t->shape[2] == 7 && t->shape[3] == 7;
}

/* What stands in front of all names of the encoder. */
static sm_status dvae_find_prefix(dvae *t, const sm_st_reader *file, sm_error *err) {
  const sm_st_tensor *at, *found = NULL;
  for (size_t i = 0; (at = sm_st_at(file, i)); i++) {
    if (!dvae_begins_encoder(at)) continue;
    if (found) {
      sm_fail(err, SM_EINVAL, "'%s' and '%s' both begin an encoder", found->name, at->name);
      sm_fail_at(err, t->file, 0, 0);
      return sm_hint(err, "keep one of them in the file");
    }
    found = at;
  }
  if (!found) {
    sm_fail(err, SM_EINVAL, "the file holds no dVAE's encoder: no '%s' of shape [hidden, 3, 7, 7]",
            first_conv);
    sm_fail_at(err, t->file, 0, 0);
    return sm_hint(err, "the names must be those of OpenAI's encoder; see the guide's chapter on tokenizers");
  }
  snprintf(t->prefix, sizeof t->prefix, "%.*s", (int)(strlen(found->name) - sizeof first_conv + 1),
           found->name);
  return SM_OK;
}

static const sm_st_tensor *dvae_find(const dvae *t, const sm_st_reader *file, int group, int block) {
  char name[PREFIX_MAX + DVAE_NAME_MAX];
  snprintf(name, sizeof name, "%sblocks.group_%d.block_%d.res_path.conv_1.w", t->prefix, group, block);
  return sm_st_find(file, name);
}

/* Counts what there is; whether all of it is there is then asked of each convolution by its name. */
static sm_status dvae_read_shape(dvae *t, const sm_st_reader *file, sm_error *err) {
  char name[PREFIX_MAX + DVAE_NAME_MAX];
  dvae_shape *s = &t->shape;
  *s = (dvae_shape){0};
  while (s->groups < DVAE_GROUPS_MAX && dvae_find(t, file, s->groups + 1, 1)) s->groups++;
  while (s->groups && dvae_find(t, file, 1, s->blocks + 1)) s->blocks++;
  snprintf(name, sizeof name, "%s%s", t->prefix, first_conv);
  const sm_st_tensor *input = sm_st_find(file, name);
  snprintf(name, sizeof name, "%sblocks.output.conv.w", t->prefix);
  const sm_st_tensor *output = sm_st_expect(file, name, NULL, -1, NULL, err);
  if (!output) return SM_EINVAL;
  int64_t hidden = input->shape[0], vocabulary = output->ndim > 0 ? output->shape[0] : 0;
  if (!s->groups || hidden < 4 || hidden % 4 || hidden > 65536 || vocabulary < 2 || vocabulary > 1048576) {
    sm_fail(err, SM_EINVAL, "no dVAE's encoder has %lld channels, %d groups and %lld codes",
            (long long)hidden, s->groups, (long long)vocabulary);
    return sm_fail_at(err, t->file, 0, 0);
  }
  s->hidden = (int)hidden, s->vocabulary = (int)vocabulary;
  return SM_OK;
}

typedef struct checking {
  const dvae *t;
  const sm_st_reader *file;
  sm_status status;
  sm_error *err;
} checking;

static void dvae_check_conv(void *ctx, const char *conv, int out, int in, int side) {
  checking *c = ctx;
  char name[PREFIX_MAX + DVAE_NAME_MAX];
  for (int bias = 0; bias <= 1 && !c->status; bias++) {
    snprintf(name, sizeof name, "%s%s.%c", c->t->prefix, conv, bias ? 'b' : 'w');
    if (sm_st_expect(c->file, name, NULL, bias ? 1 : 4, (int64_t[]){out, in, side, side}, c->err)) continue;
    const dvae_shape *s = &c->t->shape;
    c->status = SM_EINVAL;
    sm_hint(c->err, "an encoder of %d groups of %d blocks from %d channels on, with %d codes, has it so",
            s->groups, s->blocks, s->hidden, s->vocabulary);
  }
}

static sm_status dvae_check_convs(const dvae *t, const sm_st_reader *file, sm_error *err) {
  checking c = {t, file, SM_OK, err};
  dvae_each_conv(&t->shape, DVAE_ENCODER, dvae_check_conv, &c);
  return c.status;
}

static sm_status dvae_find_file(dvae *t, sm_error *err) {
  const char *file = NULL;
  sm_arena *arena = sm_arena_new("dvae");
  sm_status status =
      arena ? sm_weights_file(t->weights, arena, &file, err) : sm_fail(err, SM_ENOMEM, "out of memory");
  if (status == SM_ENOTFOUND)
    sm_hint(err,
            "train a dVAE first, or turn OpenAI's encoder.pkl into safetensors; see the guide's chapter on "
            "tokenizers");
  if (!status && (size_t)snprintf(t->file, sizeof t->file, "%s", file) >= sizeof t->file)
    status = sm_fail(err, SM_EINVAL, "the path of the weights is longer than %zu bytes", sizeof t->file - 1);
  sm_arena_free(arena);
  return status;
}

static sm_status dvae_look(dvae *t, sm_error *err) {
  sm_st_reader *file = NULL;
  sm_status status = dvae_find_file(t, err);
  if (!status && !(file = sm_st_open(t->file, err))) status = err ? err->code : SM_EFORMAT;
  if (!status) status = dvae_find_prefix(t, file, err);
  if (!status) status = dvae_read_shape(t, file, err);
  if (!status) status = dvae_check_convs(t, file, err);
  sm_st_close(file);
  if (status) return status;
  const float scale = 1 / (1 - 2 * dvae_margin);
  t->own = (sm_own_view){.pixels = dvae_stride(&t->shape),
                         .filter = SM_FILTER_LANCZOS,
                         .plain = t->plain};
  for (int c = 0; c < 3; c++) t->own.mean[c] = -dvae_margin * scale, t->own.std[c] = scale;
  t->known = true;
  return SM_OK;
}

/* Asked often, and of instances that nobody creates: what it finds out is kept in the instance. */
static sm_status dvae_spec(const void *self, sm_tokenizer_spec *out, sm_error *err) {
  dvae *t = (dvae *)self;
  sm_status status = t->known ? SM_OK : dvae_look(t, err);
  if (status) return status;
  *out = (sm_tokenizer_spec){
      .patch = SM_TARGET_IDS, .patch_dim = t->shape.vocabulary, .own = &t->own};
  return SM_OK;
}

/* ---- weights and targets ------------------------------------------------------------------------------ */

static void dvae_declare_frozen(const void *self, const sm_params *frozen) {
  dvae_declare_encoder(frozen, &((const dvae *)self)->shape);
}
static sm_status dvae_load(void *self, const sm_params *frozen, sm_error *err) {
  const dvae *t = self;
  return sm_weights_fill(t->file, t->prefix, frozen, err);
}

/* The last layer is as wide as the vocabulary: only hidden patches go through it. */
static void dvae_build(void *self, sm_graph *g, const sm_tokenizer_env *env, const sm_seen *seen,
                       sm_target *view, sm_target *patch) {
  const dvae *t = self;
  const int height = (int)seen->pictures->dim[2], width = (int)seen->pictures->dim[3];
  (void)view;
  if (!env->want_patch) return;
  sm_tensor *pixels = sm_patchify(g, seen->pictures, 1);
  sm_tensor *hidden = dvae_hidden(g, &env->frozen, &t->shape, DVAE_ENCODER, pixels, height, width);
  sm_tensor *logits = dvae_output(g, &env->frozen, sm_gather(g, hidden, env->masked));
  *patch = (sm_target){.form = SM_TARGET_IDS,
                       .dim = t->shape.vocabulary,
                       .ids = sm_argmax(g, logits, NULL)};
}

static const sm_tokenizer_ops ops = {
    .spec = dvae_spec, .build = dvae_build, .declare_frozen = dvae_declare_frozen, .load = dvae_load};
static const sm_plugin plugin = {
    .kind = SM_TOKENIZER,
    .name = "dvae",
    .summary = "The codes of a discrete variational auto-encoder, as BEiT takes DALL-E's",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite = "Ramesh et al., DALL-E, ICML 2021; Bao et al., BEiT, ICLR 2022",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(dvae),
    .ops = &ops};
SM_MODULE(&plugin)

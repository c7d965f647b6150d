/* mean_colour — a patch is named by its mean colour: 3 bits a channel, 512 names.
 *
 *   id = 64·r + 8·g + b,   c = min(7, ⌊8 · mean of channel c over the patch⌋),   values in [0, 1]
 *
 * The target of masked patch prediction in Dosovitskiy et al., An Image is Worth 16x16 Words (ICLR 2021,
 * appendix B.1.2), and "MPP" of iBOT's table 20. It needs no weights and no teacher.
 *
 * The op that makes the names is this plugin's own: a row of sm_op with a kernel for each real type. */
#include <smalti/plugin.h>

enum { LEVELS = 8, NAMES = LEVELS * LEVELS * LEVELS };

typedef struct mean_colour {
  bool plain;
} mean_colour;

static const sm_option options[] = {
    SM_BOOL(mean_colour, plain, "plain", "false",
            "Look at the picture's own colours, not at those that the student's view was given"),
};

/* As large as the student's view, in [0, 1]. */
static const sm_own_view as_seen = {.std = {1, 1, 1}};
static const sm_own_view unchanged = {.std = {1, 1, 1}, .plain = true};

static sm_status mean_colour_spec(const void *self, sm_tokenizer_spec *out, sm_error *err) {
  const mean_colour *t = self;
  (void)err;
  *out = (sm_tokenizer_spec){.patch = SM_TARGET_IDS,
                             .patch_dim = NAMES,
                             .own = t->plain ? &unchanged : &as_seen};
  return SM_OK;
}

/* ---- the op: in patches (R, 3·P·P), channel by channel; out ids (R) ------------------------------------ */

#define MEAN_COLOUR_KERNEL(name, real)                                                           \
  static void name(const sm_node *n, int64_t first, int64_t last, sm_worker *w) {                \
    const real *x = sm_at(w, n->in[0], first);                                                   \
    int32_t *id = sm_at(w, n->out[0], first);                                                    \
    int64_t pixels = n->in[0]->dim[1] / 3;                                                       \
    for (int64_t r = first; r < last; r++, id++) {                                               \
      *id = 0;                                                                                   \
      for (int c = 0; c < 3; c++, x += pixels) {                                                 \
        double sum = 0;                                                                          \
        for (int64_t k = 0; k < pixels; k++) sum += (double)x[k];                                \
        double level = sum / (double)pixels * LEVELS;                                            \
        *id = *id * LEVELS + (level < 1 ? 0 : level < LEVELS - 1 ? (int32_t)level : LEVELS - 1); \
      }                                                                                          \
    }                                                                                            \
  }
MEAN_COLOUR_KERNEL(ids_f32, float)
MEAN_COLOUR_KERNEL(ids_f64, double)

static const sm_op op = {.name = "mean_colour",
                         .doc = "name of a patch's mean colour",
                         .cls = SM_PER_ITEM,
                         .run = {[SM_CPU] = {ids_f32, ids_f64}, [SM_PLAIN] = {ids_f32, ids_f64}}};

static void mean_colour_build(void *self, sm_graph *g, const sm_tokenizer_env *env, const sm_seen *seen,
                              sm_target *view, sm_target *patch) {
  (void)self, (void)view;
  if (!env->want_patch) return;
  int side = (int)(seen->pictures->dim[2] / seen->rows);
  sm_tensor *x = sm_gather(g, sm_patchify(g, seen->pictures, side), env->masked);
  sm_tensor *ids = sm_result(g, SM_I32, 1, x->dim, x->count);
  sm_emit(g, &op, 1, &x, 1, &ids);
  *patch = (sm_target){.form = SM_TARGET_IDS, .dim = NAMES, .ids = ids};
}

static const sm_tokenizer_ops ops = {.spec = mean_colour_spec, .build = mean_colour_build};
static const sm_plugin plugin = {.kind = SM_TOKENIZER,
                                 .name = "mean_colour",
                                 .summary = "A patch's mean colour in 3 bits a channel",
                                 .version = "1.0",
                                 .license = "Apache-2.0",
                                 .cite = "Dosovitskiy et al., ViT, ICLR 2021, appendix B.1.2",
                                 .options = options,
                                 .n_options = sizeof options / sizeof *options,
                                 .instance_size = sizeof(mean_colour),
                                 .ops = &ops};
SM_MODULE(&plugin)

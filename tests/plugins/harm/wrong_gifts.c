/* wrong_gifts.c — plugins of seven kinds that do harm by what they give or do: `how` says which. Without a harm
 * they work, so that only the harm is what is found. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <smalti/plugin.h>

#include <smalti/measure.h>

#define ABOUT(KIND, NAME, STRUCT)                                                              \
  .kind = KIND, .name = NAME, .summary = "Does harm", .version = "1", .license = "Apache-2.0", \
  .options = STRUCT##_options, .n_options = 1, .instance_size = sizeof(STRUCT)

static void loop(void) {
  for (volatile int on = 1; on;) usleep(1000);
}

static int *volatile nowhere;
static void crash(void) { *nowhere = 1; }

/* ---- a masker ------------------------------------------------------------------------------------------ */

enum {
  M_NOTHING,
  M_BEFORE,
  M_BEHIND,
  M_FAR,
  M_TWO,
  M_ALL,
  M_RATIO,
  M_CRASH,
  M_EXIT,
  M_LOOP,
  M_CRASH_CREATE,
  M_EXIT_CREATE,
  M_LOOP_CREATE
};
static const char *const masker_hows[] = {"nothing",      "before",      "behind",      "far",  "two",
                                          "all",          "ratio",       "crash",       "exit", "loop",
                                          "crash_create", "exit_create", "loop_create", NULL};
typedef struct masker {
  int how;
} masker;
static const sm_option masker_options[] = {
    SM_CHOICE(masker, how, "how", "nothing", masker_hows, "Which harm")};

static double masker_ratio(const void *self) { return ((const masker *)self)->how == M_RATIO ? NAN : 0.5; }

static void masker_draw(const void *self, const sm_mask_request *r, uint8_t *mask) {
  const int how = ((const masker *)self)->how, cells = r->rows * r->cols;
  for (int k = 0; k < cells / 2; k++) mask[k] = 1;
  if (how == M_BEFORE) mask[-1] = 1;
  if (how == M_BEHIND) mask[cells] = 1;
  if (how == M_FAR) mask[1 << 24] = 1;
  if (how == M_TWO && cells > 1) mask[0] = 2;
  if (how == M_ALL) memset(mask, 1, (size_t)cells);
  if (how == M_CRASH) crash();
  if (how == M_EXIT) exit(0);
  if (how == M_LOOP) loop();
}

static sm_status masker_create(void *self, sm_error *err) {
  const int how = ((const masker *)self)->how;
  (void)err;
  if (how == M_CRASH_CREATE) crash();
  if (how == M_EXIT_CREATE) exit(0);
  if (how == M_LOOP_CREATE) loop();
  return SM_OK;
}

static const sm_masker_ops masker_ops = {.max_ratio = masker_ratio, .draw = masker_draw};
static const sm_plugin a_masker = {ABOUT(SM_MASKER, "wrong_masker", masker), .create = masker_create,
                                   .ops = &masker_ops};

/* ---- a loss -------------------------------------------------------------------------------------------- */

enum {
  L_NOTHING,
  L_TARGET,
  L_HUGE,
  L_NEGATIVE,
  L_MINUS,
  L_BEHIND,
  L_MANY,
  L_WEIGHT,
  L_PROMISE,
  L_NULL,
  L_SITE,
  L_CRASH,
  L_SHORT
};
static const char *const loss_hows[] = {"nothing", "target",  "huge", "negative", "minus", "behind", "many",
                                        "weight",  "promise", "nil",  "site",     "crash", "short",  NULL};
typedef struct loss {
  int how;
} loss;
static const sm_option loss_options[] = {SM_CHOICE(loss, how, "how", "nothing", loss_hows, "Which harm")};

static sm_status loss_spec(const void *self, sm_loss_spec *out, sm_error *err) {
  (void)err;
  *out = (sm_loss_spec){.forms = SM_TARGET_DISTRIBUTION | SM_TARGET_IDS, .site = SM_SITE_VIEW};
  if (((const loss *)self)->how == L_SITE) out->site = (sm_site)7;
  return SM_OK;
}

static int64_t loss_max_pairs(const void *self, const sm_pair_request *r, int64_t predictions) {
  (void)r;
  return ((const loss *)self)->how == L_PROMISE ? INT64_MAX : predictions;
}

static void loss_pairs(const void *self, const sm_pair_request *r) {
  const int how = ((const loss *)self)->how, rows = r->pictures * r->globals;
  if (how == L_CRASH) crash();
  if (how == L_MINUS && rows) sm_pairs_add(r->out, -5, 0, 1);
  for (int k = 0; k < rows; k++) {
    const int64_t target = how == L_TARGET     ? k + 1000000
                           : how == L_HUGE     ? k + ((int64_t)1 << 32)
                           : how == L_NEGATIVE ? -1 - k
                                               : k;
    for (int j = 0; j < (how == L_MANY ? 9 : 1); j++)
      sm_pairs_add(r->out, k, target, how == L_WEIGHT ? NAN : 0.1);
  }
  if (how == L_BEHIND && rows) sm_pairs_add(r->out, rows + 100, 0, 1);
}

static sm_tensor *loss_build(void *self, sm_graph *g, const sm_prediction *p, const sm_target *t,
                             const sm_pairs *all, sm_tensor **stats) {
  const int how = ((const loss *)self)->how;
  sm_xent_out out = sm_xent(g, p->logits, sm_scalar(g, "1/temperature", 1), t, all);
  sm_loss_term(g, out.loss);
  *stats = how == L_SHORT ? out.loss : out.stats;
  return how == L_NULL ? NULL : out.loss;
}

static const sm_loss_ops loss_ops = {
    .spec = loss_spec, .max_pairs = loss_max_pairs, .pairs = loss_pairs, .build = loss_build};
static const sm_plugin a_loss = {ABOUT(SM_LOSS, "wrong_loss", loss), .ops = &loss_ops};

/* ---- a head -------------------------------------------------------------------------------------------- */

enum { H_NOTHING, H_FEATURES, H_LOGITS, H_WIDE };
static const char *const head_hows[] = {"nothing", "features", "logits", "wide", NULL};
typedef struct head {
  int how;
} head;
static const sm_option head_options[] = {SM_CHOICE(head, how, "how", "nothing", head_hows, "Which harm")};

static int head_dim(const void *self, sm_site site, int dim) {
  (void)self, (void)site, (void)dim;
  return 16;
}
static void head_declare(const void *self, const sm_head *h) {
  const int64_t k = 16 + (((const head *)self)->how == H_WIDE);
  sm_declare(&h->params, "weight", SM_INIT_NORMAL, 0.1, 0, 2, (int64_t[]){k, h->dim});
}
static sm_tensor *head_features(void *self, sm_graph *g, const sm_head *h, sm_tensor *x, sm_site site) {
  (void)g, (void)h, (void)site;
  return ((const head *)self)->how == H_FEATURES ? NULL : x;
}
static sm_tensor *head_logits(void *self, sm_graph *g, const sm_head *h, sm_tensor *x, sm_site site) {
  (void)site;
  return ((const head *)self)->how == H_LOGITS ? NULL
                                               : sm_linear(g, x, sm_param(g, &h->params, "weight"), NULL);
}
static const sm_head_ops head_ops = {.affine = true,
                                     .out_dim = head_dim,
                                     .declare = head_declare,
                                     .features = head_features,
                                     .logits = head_logits};
static const sm_plugin a_head = {ABOUT(SM_HEAD, "wrong_head", head), .ops = &head_ops};

/* ---- a tokenizer --------------------------------------------------------------------------------------- */

enum { T_NOTHING, T_LONGER, T_IDS, T_NULL, T_FORM, T_BLOCKS, T_FEW };
static const char *const tokenizer_hows[] = {"nothing", "longer", "ids", "nil",
                                             "form",    "blocks", "few", NULL};
typedef struct tokenizer {
  int how;
} tokenizer;
static const sm_option tokenizer_options[] = {
    SM_CHOICE(tokenizer, how, "how", "nothing", tokenizer_hows, "Which harm")};
enum { IDS = 16 };

static sm_status tokenizer_spec(const void *self, sm_tokenizer_spec *out, sm_error *err) {
  (void)err;
  out->view = SM_TARGET_IDS, out->view_dim = IDS;
  if (((const tokenizer *)self)->how == T_BLOCKS) out->teacher_blocks = -3;
  return SM_OK;
}

enum { SIDE = 4 };

/* The direction that a view's mean patch points along most; T_IDS: of more directions than names. */
static void tokenizer_declare(const void *self, const sm_params *state, int view_dim, int patch_dim) {
  (void)view_dim, (void)patch_dim;
  const int64_t k = ((const tokenizer *)self)->how == T_IDS ? 4096 : IDS;
  sm_declare(state, "directions", SM_INIT_NORMAL, 1, 0, 2, (int64_t[]){k, 3 * SIDE * SIDE});
}

static void tokenizer_build(void *self, sm_graph *g, const sm_tokenizer_env *env, const sm_seen *seen,
                            sm_target *view, sm_target *patch) {
  const int how = ((const tokenizer *)self)->how;
  (void)patch;
  if (!env->want_view) return;
  sm_tensor *mean = sm_mean_tokens(g, sm_patchify(g, seen->pictures, SIDE), 0);
  sm_tensor *ids = sm_argmax(g, sm_linear(g, mean, sm_param(g, &env->state, "directions"), NULL), NULL);
  *view = (sm_target){.form = how == T_FORM ? SM_TARGET_VECTORS : SM_TARGET_IDS,
                      .dim = IDS + (how == T_LONGER ? 3 : 0),
                      .ids = how == T_NULL  ? NULL
                             : how == T_FEW ? sm_argmax(g, sm_param(g, &env->state, "directions"), NULL)
                                            : ids};
}
static const sm_tokenizer_ops tokenizer_ops = {
    .spec = tokenizer_spec, .declare = tokenizer_declare, .build = tokenizer_build};
static const sm_plugin a_tokenizer = {ABOUT(SM_TOKENIZER, "wrong_tokenizer", tokenizer),
                                      .ops = &tokenizer_ops};

/* ---- a data set ---------------------------------------------------------------------------------------- */

enum {
  D_NOTHING,
  D_NAME,
  D_CLASS,
  D_LABEL,
  D_SHRINKS,
  D_COUNT,
  D_PICTURE,
  D_SMALL,
  D_LENDS,
  D_CRASH,
  D_FAILS
};
static const char *const dataset_hows[] = {"nothing", "name",  "class", "label", "shrinks", "count",
                                           "picture", "small", "lends", "crash", "fails",   NULL};
typedef struct dataset {
  int how;
} dataset;
static const sm_option dataset_options[] = {
    SM_CHOICE(dataset, how, "how", "nothing", dataset_hows, "Which harm")};
enum { PICTURES = 40 };

static sm_status dataset_open(void *self, sm_error *err) {
  (void)self, (void)err;
  return SM_OK;
}
static int64_t dataset_count(const void *self) {
  static _Atomic int64_t asked;
  const int how = ((const dataset *)self)->how;
  return how == D_SHRINKS ? PICTURES - asked++ : how == D_COUNT ? -4 : PICTURES;
}
static int dataset_label(const void *self, int64_t index) {
  return ((const dataset *)self)->how == D_LABEL && index == 17 ? 99 : (int)(index % 4);
}
static const char *dataset_name(const void *self, int64_t index) {
  return ((const dataset *)self)->how == D_NAME && index == 3 ? NULL : "picture";
}
static int dataset_classes(const void *self) {
  (void)self;
  return 4;
}
static const char *dataset_class_name(const void *self, int c) {
  static const char *const names[] = {"a", "b", "c", "d"};
  return ((const dataset *)self)->how == D_CLASS && c == 2 ? NULL : names[c];
}
static sm_status dataset_read(const void *self, int64_t index, const sm_image_limits *limits, sm_image *out,
                              sm_error *err) {
  const int how = ((const dataset *)self)->how;
  (void)limits;
  if (how == D_CRASH) crash();
  if (how == D_FAILS) return sm_fail(err, SM_EFORMAT, "it is not readable");
  if (how == D_PICTURE) return SM_OK;
  sm_status status = sm_image_reshape(out, 32, 32, err);
  if (status) return status;
  for (int k = 0; k < 32 * 32 * 3; k++) out->rgb[k] = (uint8_t)(k * 7 + index * 13);
  if (how == D_SMALL) out->width = out->height = 20000;
  return SM_OK;
}
static uint64_t dataset_hash(const void *self) {
  (void)self;
  return 5;
}
static const sm_dataset_ops dataset_ops = {.open = dataset_open,
                                           .count = dataset_count,
                                           .label = dataset_label,
                                           .name = dataset_name,
                                           .classes = dataset_classes,
                                           .class_name = dataset_class_name,
                                           .read = dataset_read,
                                           .hash = dataset_hash};
static const sm_plugin a_dataset = {ABOUT(SM_DATASET, "wrong_dataset", dataset), .ops = &dataset_ops};

/* ---- an evaluation ------------------------------------------------------------------------------------- */

enum { E_NOTHING, E_MANY, E_NONE, E_NAME, E_INDEX, E_LOOP };
static const char *const evaluation_hows[] = {"nothing", "many", "none", "name", "index", "loop", NULL};
typedef struct evaluation {
  int how;
} evaluation;
static const sm_option evaluation_options[] = {
    SM_CHOICE(evaluation, how, "how", "nothing", evaluation_hows, "Which harm")};

static sm_status evaluation_run(void *self, sm_eval_context *x, sm_eval_result *result, sm_error *err) {
  const int how = ((const evaluation *)self)->how;
  const int64_t far[] = {0, 1 << 30};
  sm_status status = x->going_on(x, 0, err);
  if (status) return status;
  if (how == E_LOOP) loop();
  if (how == E_INDEX) {
    sm_pictures *pictures;
    status =
        sm_pictures_open(x, &(sm_picture_request){.split = "test", .index = far, .n = 2}, &pictures, err);
    sm_pictures_close(pictures);
    if (status) return status;
  }
  sm_figure_add(result, 50, "half");
  snprintf(result->protocol, sizeof result->protocol, "none");
  if (how == E_MANY) result->n = 500;
  if (how == E_NONE) result->n = 0;
  if (how == E_NAME) memset(result->figure[0].name, 'x', sizeof result->figure[0].name);
  return SM_OK;
}
static const sm_evaluation_ops evaluation_ops = {.run = evaluation_run};
static const sm_plugin an_evaluation = {ABOUT(SM_EVALUATION, "wrong_evaluation", evaluation),
                                        .ops = &evaluation_ops};

/* ---- an objective -------------------------------------------------------------------------------------- */

enum { O_NOTHING, O_NIL, O_NAME, O_BLANK, O_MANY };
static const char *const objective_hows[] = {"nothing", "nil", "name", "blank", "many", NULL};
typedef struct objective {
  int how;
} objective;
static const sm_option objective_options[] = {
    SM_CHOICE(objective, how, "how", "nothing", objective_hows, "Which harm")};

static sm_status objective_spec(const void *self, sm_objective_spec *out, sm_error *err) {
  (void)self;
  if (out->height % SIDE || out->width % SIDE) return sm_fail(err, SM_EINVAL, "sides must be multiples of 4");
  return SM_OK;
}
static void objective_declare(const void *self, const sm_params *params, const sm_params *state) {
  (void)self, (void)state;
  sm_declare(params, "weight", SM_INIT_NORMAL, 0.1, 0, 2, (int64_t[]){2, 3 * SIDE * SIDE});
}
/* The smaller w·x², the better. */
static sm_tensor *objective_build(void *self, sm_graph *g, const sm_objective_env *env) {
  sm_tensor *y = sm_linear(g, sm_mean_tokens(g, sm_patchify(g, env->pictures, SIDE), 0),
                           sm_param(g, &env->params, "weight"), NULL);
  sm_tensor *sum = sm_scale(g, sm_mul(g, y, y), 1.0 / env->step_pictures);
  sm_loss_term(g, sum);
  return ((const objective *)self)->how == O_NIL ? NULL : sum;
}
static void objective_report(void *self, sm_measures *m) {
  const int how = ((const objective *)self)->how;
  char name[24];
  m->put(m, how == O_NAME ? NULL : how == O_BLANK ? "two words" : "one", 1, false);
  for (int k = 0; k < 300 && how == O_MANY; k++) {
    snprintf(name, sizeof name, "figure%d", k);
    m->put(m, name, k, false);
  }
}
static const sm_objective_ops objective_ops = {.spec = objective_spec,
                                               .declare = objective_declare,
                                               .build = objective_build,
                                               .report = objective_report};
static const sm_plugin an_objective = {ABOUT(SM_OBJECTIVE, "wrong_objective", objective),
                                       .ops = &objective_ops};

SM_MODULE(&a_masker, &a_loss, &a_head, &a_tokenizer, &a_dataset, &an_evaluation, &an_objective)

/* online_ema — the teacher names the patches: the student's moving average, seen through its own head (iBOT;
 * DINO for [CLS]).
 *
 * Targets are softmax((logits - centre)/temperature), or the argmax of logits - centre where labels are hard.
 * The centre is a moving average of the teacher's mean output: of all [CLS] of the step, and of ALL patches
 * of all global views, masked or not (ibot, main_ibot.py: iBOTLoss.update_center). Logits at every patch are
 * never made for that: the head promises that logits are affine in its features, so the logits of the mean
 * feature are the mean of the logits. Where patches of local views are hidden too, the teacher looks at these
 * whole, and the patch centre follows the mean over all views of each view's mean, as update_center's mean
 * over views has it: a local view counts as much as a global one, though it has fewer patches.
 *
 * With `patch_center_over: hidden` the patch centre is the mean over hidden patches alone, of logits, as DINOv2 has
 * it (dinov2, loss/ibot_patch_loss.py: update_center of forward_masked's rows).
 *
 * With `centering: sinkhorn` (Caron et al., SwAV; Oquab et al., DINOv2: sinkhorn_knopp_teacher) there is no
 * running centre: the shift is what balances the tokens over the rows at hand, all [CLS] of the step or all
 * its masked patches (those of local views apart). A part of the step balances otherwise, so micro-batches
 * are refused. `none` is sharpening only.
 *
 * Sums run over micro-batches in accumulators; the update pass turns them into means and moves the centres.
 * It must run before the teacher's weights change, since it applies the teacher's last layer to the mean
 * feature. */
#include <smalti/plugin.h>

enum { SOFT, HARD };
static const char *const label_names[] = {"soft", "hard", NULL};
enum { OVER_ALL, OVER_HIDDEN };
static const char *const over_names[] = {"all", "hidden", NULL};
enum { CENTER_MEAN, CENTER_SINKHORN, CENTER_NONE };
static const char *const centering_names[] = {"mean", "sinkhorn", "none", NULL};

typedef struct site_graph {    /* what one site needs in the graph; made by build */
  sm_tensor *scale, *momentum; /* scalars */
  sm_tensor *sum, *count;      /* accumulators: of logits ([CLS]) or of features (patches) */
  int64_t patches;             /* of a view */
} site_graph;

typedef struct online_ema {
  sm_schedule momentum, temperature, patch_temperature;
  double center_momentum, patch_center_momentum;
  int centering, patch_centering, patch_center_over;
  int64_t iterations;
  int labels, view_labels;
  site_graph view, patch;
} online_ema;

static const sm_option options[] = {
    SM_SCHEDULE(online_ema, momentum, "momentum", "{from: 0.996, to: 1, shape: cosine, per: step}", 0, 1,
                NULL, "How much of the teacher's weights a step keeps"),
    SM_SCHEDULE(online_ema, temperature, "temperature",
                "{from: 0.04, to: 0.07, shape: linear, per: epoch, epochs: 30}", 1e-4, 100, NULL,
                "Temperature of the [CLS] targets: lower is sharper"),
    SM_SCHEDULE(online_ema, patch_temperature, "patch_temperature",
                "{from: 0.04, to: 0.07, shape: linear, per: epoch, epochs: 30}", 1e-4, 100, NULL,
                "Temperature of the patch targets; its epochs count from the masker's start_epoch"),
    SM_CHOICE(
        online_ema, centering, "centering", "mean", centering_names,
        "What is subtracted from the [CLS] logits: their running mean, what balances the tokens over the "
        "step (Sinkhorn), or nothing"),
    SM_CHOICE(online_ema, patch_centering, "patch_centering", "mean", centering_names,
              "The same for the patch logits"),
    SM_FLOAT(online_ema, center_momentum, "center_momentum", "0.9", 0, 1, NULL,
             "How much of the [CLS] centre a step keeps"),
    SM_FLOAT(online_ema, patch_center_momentum, "patch_center_momentum", "0.9", 0, 1, NULL,
             "How much of the patch centre a step keeps"),
    SM_CHOICE(online_ema, patch_center_over, "patch_center_over", "all", over_names,
              "Patches that the patch centre is the mean of: all, hidden or not (iBOT), or hidden ones (DINOv2)"),
    SM_INT(online_ema, iterations, "sinkhorn_iterations", "3", 1, 100, NULL,
           "Rounds of balancing where centering is sinkhorn"),
    SM_CHOICE(online_ema, labels, "labels", "soft", label_names,
              "Patch targets: distributions, or the most likely token"),
    SM_CHOICE(online_ema, view_labels, "view_labels", "soft", label_names, "The same for the [CLS] targets"),
};

static sm_form online_ema_form_of(int labels) {
  return labels == HARD ? SM_TARGET_IDS : SM_TARGET_DISTRIBUTION;
}

static sm_status online_ema_spec(const void *self, sm_tokenizer_spec *out, sm_error *err) {
  const online_ema *t = self;
  (void)err;
  *out = (sm_tokenizer_spec){
      .view = online_ema_form_of(t->view_labels),
      .patch = online_ema_form_of(t->labels),
      .needs_head = true,
      .needs_teacher = true,
      .whole_step = t->centering == CENTER_SINKHORN || t->patch_centering == CENTER_SINKHORN,
      .ema = &t->momentum};
  return SM_OK;
}

static void online_ema_declare(const void *self, const sm_params *state, int view_dim, int patch_dim) {
  const online_ema *t = self;
  int64_t view = view_dim, patch = patch_dim;
  if (t->centering == CENTER_MEAN && view)
    sm_declare(state, "center.cls", SM_INIT_ZEROS, 0, SM_ROW_NO_DECAY, 1, &view);
  if (t->patch_centering == CENTER_MEAN && patch)
    sm_declare(state, "center.patch", SM_INIT_ZEROS, 0, SM_ROW_NO_DECAY, 1, &patch);
}

static const char *online_ema_center(const void *self, sm_site site) {
  const online_ema *t = self;
  if (site == SM_SITE_VIEW) return t->centering == CENTER_MEAN ? "center.cls" : NULL;
  return t->patch_centering == CENTER_MEAN ? "center.patch" : NULL;
}

/* ---- targets ----------------------------------------------------------------------------------------- */

static void online_ema_set_target(sm_graph *g, sm_target *out, sm_form form, sm_tensor *logits,
                                  sm_tensor *shift, sm_tensor *scale) {
  *out = (sm_target){.form = form, .dim = logits->dim[1]};
  if (form == SM_TARGET_IDS) {
    out->ids = sm_argmax(g, logits, shift);
    return;
  }
  out->logits = logits;
  out->shift = shift;
  out->scale = scale;
}

static sm_tensor *online_ema_center_of(sm_graph *g, const sm_tokenizer_env *env, const char *name) {
  return sm_param(g, &env->state, "%s", name);
}

static sm_tensor *online_ema_shift_of(const online_ema *t, sm_graph *g, const sm_tokenizer_env *env,
                                      int centering, const char *center, sm_tensor *logits,
                                      sm_tensor *scale) {
  if (centering == CENTER_NONE) return NULL;
  return centering == CENTER_MEAN ? online_ema_center_of(g, env, center)
                                  : sm_sinkhorn(g, logits, scale, (int)t->iterations);
}

static void online_ema_build_view(online_ema *t, sm_graph *g, const sm_tokenizer_env *env,
                                  const sm_seen *seen, sm_target *out) {
  const sm_head *head = env->head;
  sm_tensor *logits = sm_head_logits(g, head, seen->view, SM_SITE_VIEW);
  t->view = (site_graph){.scale = sm_scalar(g, "1/temperature of [CLS]", 1)};
  online_ema_set_target(g, out, online_ema_form_of(t->view_labels), logits,
                        online_ema_shift_of(t, g, env, t->centering, "center.cls", logits, t->view.scale),
                        t->view.scale);
  if (t->centering != CENTER_MEAN) return;
  t->view.momentum = sm_scalar(g, "momentum of the [CLS] centre", t->center_momentum);
  t->view.sum = sm_accumulator(g, "sum of [CLS] logits", 1, &logits->dim[1]);
  t->view.count = sm_accumulator(g, "number of [CLS] logits", 1, (int64_t[]){1});
  sm_sum_rows_into(g, logits, t->view.sum);
  sm_add_count_into(g, logits, t->view.count);
}

/* Features at every patch into the centre's sums: of a view with fewer patches they weigh more, so that views
 * are equal. */
static void online_ema_add_patches(online_ema *t, sm_graph *g, sm_tensor *patches) {
  int64_t here = patches->dim[1];
  if (!t->patch.sum) {
    t->patch.patches = here;
    t->patch.momentum = sm_scalar(g, "momentum of the patch centre", t->patch_center_momentum);
    t->patch.sum = sm_accumulator(g, "sum of patch features", 2, (int64_t[]){1, patches->dim[2]});
    t->patch.count = sm_accumulator(g, "number of views", 1, (int64_t[]){1});
  }
  if (here != t->patch.patches) patches = sm_scale(g, patches, (double)t->patch.patches / (double)here);
  sm_sum_rows_into(g, patches, t->patch.sum);
  sm_add_count_into(g, patches, t->patch.count);
}

/* The patch centre needs features at every patch. */
static bool online_ema_sees_all(const online_ema *t) {
  return t->patch_centering == CENTER_MEAN && t->patch_center_over == OVER_ALL;
}

/* Logits at hidden patches into the centre's sums. */
static void online_ema_add_hidden(online_ema *t, sm_graph *g, sm_tensor *logits) {
  if (!t->patch.sum) {
    t->patch.momentum = sm_scalar(g, "momentum of the patch centre", t->patch_center_momentum);
    t->patch.sum = sm_accumulator(g, "sum of patch logits", 1, &logits->dim[1]);
    t->patch.count = sm_accumulator(g, "number of hidden patches", 1, (int64_t[]){1});
  }
  sm_sum_rows_into(g, logits, t->patch.sum);
  sm_add_count_into(g, logits, t->patch.count);
}

static void online_ema_build_patch(online_ema *t, sm_graph *g, const sm_tokenizer_env *env,
                                   const sm_seen *seen, sm_target *out) {
  const sm_head *head = env->head;
  if (!t->patch.scale) t->patch.scale = sm_scalar(g, "1/temperature of patches", 1);
  sm_tensor *x = seen->patches;
  if (!online_ema_sees_all(t)) x = sm_gather(g, x, env->masked);
  x = head->ops->features(head->self, g, head, x, SM_SITE_PATCH);
  if (online_ema_sees_all(t)) { /* features of every patch, for the centre */
    online_ema_add_patches(t, g, x);
    x = sm_gather(g, x, env->masked);
  }
  sm_tensor *logits = head->ops->logits(head->self, g, head, x, SM_SITE_PATCH);
  if (t->patch_centering == CENTER_MEAN && t->patch_center_over == OVER_HIDDEN)
    online_ema_add_hidden(t, g, logits);
  online_ema_set_target(
      g, out, online_ema_form_of(t->labels), logits,
      online_ema_shift_of(t, g, env, t->patch_centering, "center.patch", logits, t->patch.scale),
      t->patch.scale);
}

static void online_ema_build(void *self, sm_graph *g, const sm_tokenizer_env *env, const sm_seen *seen,
                             sm_target *view, sm_target *patch) {
  online_ema *t = self;
  t->view = t->patch = (site_graph){0};
  if (!env->head) {
    sm_graph_fail(g, "online_ema needs the teacher and a head");
    return;
  }
  if (env->want_patch && online_ema_sees_all(t) && !env->head->ops->affine) {
    sm_graph_fail(
        g,
        "online_ema cannot keep a patch centre with this head: its logits are not affine in its features; "
        "set patch_center_over: hidden, or patch_centering: none");
    return;
  }
  if (env->want_view) online_ema_build_view(t, g, env, seen, view);
  if (env->want_patch) online_ema_build_patch(t, g, env, seen, patch);
}

/* After build, which made scale and sums. */
static void online_ema_build_local(void *self, sm_graph *g, const sm_tokenizer_env *env, const sm_seen *seen,
                        sm_target *patch) {
  if (!env->head) {
    sm_graph_fail(g, "online_ema needs the teacher and a head");
    return;
  }
  if (env->want_patch) online_ema_build_patch(self, g, env, seen, patch);
}

/* ---- update ------------------------------------------------------------------------------------------ */

static void online_ema_build_update(void *self, sm_graph *g, const sm_tokenizer_env *env) {
  online_ema *t = self;
  if (t->view.sum)
    sm_ema_update(g, online_ema_center_of(g, env, "center.cls"), t->view.sum, t->view.count,
                  t->view.momentum);
  if (!t->patch.sum) return;
  if (t->patch_center_over == OVER_HIDDEN) {
    sm_ema_update(g, online_ema_center_of(g, env, "center.patch"), t->patch.sum, t->patch.count,
                  t->patch.momentum);
    return;
  }
  const sm_head *head = env->head;
  /* sum/count into `mean`: a moving average that forgets at once */
  sm_tensor *mean = sm_accumulator(g, "mean patch feature", 2, t->patch.sum->dim);
  sm_ema_update(g, mean, t->patch.sum, t->patch.count, sm_scalar(g, "no momentum", 0));
  mean = sm_scale(g, mean, 1.0 / (double)t->patch.patches);
  sm_tensor *logits = head->ops->logits(head->self, g, head, mean, SM_SITE_PATCH);
  sm_tensor *sum = sm_accumulator(g, "mean patch logits", 1, &logits->dim[1]);
  sm_tensor *one = sm_accumulator(g, "one row", 1, (int64_t[]){1});
  sm_sum_rows_into(g, logits, sum);
  sm_add_count_into(g, logits, one);
  sm_ema_update(g, online_ema_center_of(g, env, "center.patch"), sum, one, t->patch.momentum);
}

static void online_ema_prepare(void *self, const sm_time *time, int64_t mask_start_epoch) {
  online_ema *t = self;
  sm_schedule patch = t->patch_temperature;
  patch.start += (double)mask_start_epoch;
  if (t->view.scale) sm_put(t->view.scale, 1 / sm_schedule_at(&t->temperature, time));
  if (t->patch.scale) sm_put(t->patch.scale, 1 / sm_schedule_at(&patch, time));
}

static const sm_tokenizer_ops ops = {.spec = online_ema_spec,
                                     .center = online_ema_center,
                                     .declare = online_ema_declare,
                                     .build = online_ema_build,
                                     .build_update = online_ema_build_update,
                                     .prepare = online_ema_prepare,
                                     .build_local = online_ema_build_local};
static const sm_plugin plugin = {
    .kind = SM_TOKENIZER,
    .name = "online_ema",
    .summary = "The student's moving average and its head, centred or balanced, and sharpened",
    .version = "1.0",
    .license = "Apache-2.0",
    .cite = "Zhou et al., iBOT, ICLR 2022; Caron et al., DINO, ICCV 2021; Oquab et al., DINOv2, TMLR 2024",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .instance_size = sizeof(online_ema),
    .ops = &ops};
SM_MODULE(&plugin)

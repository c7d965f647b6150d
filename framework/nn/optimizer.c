/* optimizer.c — AdamW, SGD and LARS as sweeps over the rows of a set.
 *
 * A step is three passes over the buffers: sums of squares chunk by chunk; from them, row by row in one
 * thread, norms and clip factors; then the update. It goes strip by strip, so that whatever else wants the
 * elements finds them in the first-level cache: the teacher follows, the gradients are cleared. Chunks are
 * fixed and their sums are added in order, so the result does not depend on the number of threads.
 *
 * A row is in one of three states:
 *   SM_ROW_FROZEN                   never touched; no norm
 *   SM_ROW_LAST_LAYER while frozen  not touched, its step count stays; has a norm, since the reference clips
 *                                   before it drops the gradient (main_ibot.py: clip_gradients, then
 *                                   cancel_gradients_last_layer)
 *   trained                         everything else, also where the gradient is all zero */
#include "framework/nn/nn.h"

#include <math.h>
#include <string.h>

#include "framework/base/work.h"
#include "set.h"

typedef struct job {
  const sm_optimizer_config *config;
  const sm_optimizer_step *step;
  const sm_sweeps *sweeps;
  sm_set *set;
  double clip[SM_CLIP_PARTS]; /* coefficient of each part; of a clip by the global norm: of all */
  sm_work_log *log;
} job;

sm_moments sm_optimizer_moments(sm_optimizer_kind kind) {
  return kind == SM_ADAMW ? SM_MOMENTS_TWO : SM_MOMENTS_ONE;
}

static bool optimizer_has_gradient(const sm_row *row) { return !(row->flags & SM_ROW_FROZEN); }

static bool optimizer_is_trained(const sm_row *row, const sm_optimizer_step *step) {
  return row->alias_of < 0 && optimizer_has_gradient(row) &&
         !(step->freeze_last_layer && row->flags & SM_ROW_LAST_LAYER);
}

static void *optimizer_chunk_data(const job *j, const sm_chunk *c, sm_buffer which) {
  char *data = sm_set_data(j->set, c->row, which);
  return data ? data + (size_t)c->start * sm_dtype_size(j->set->real) : NULL;
}

/* ---- norms ------------------------------------------------------------------------------------------- */

static void optimizer_sum_chunk(void *ctx, int64_t item, int worker) {
  const job *j = ctx;
  const sm_chunk *c = &j->set->chunk[item];
  sm_work_moves(j->log, worker, (double)c->n * (double)sm_dtype_size(j->set->real));
  double *partial = &j->set->partial[2 * item];
  partial[0] = partial[1] = 0;
  if (!optimizer_has_gradient(&j->set->row[c->row])) return;
  partial[0] = j->sweeps->sum_squares(optimizer_chunk_data(j, c, SM_GRADIENTS), c->n);
  if (j->config->kind == SM_LARS)
    partial[1] = j->sweeps->sum_squares(optimizer_chunk_data(j, c, SM_VALUES), c->n);
}

/* Row sums in chunk order. The norms of gradients stay in the rows, those of values take the place of the
 * row's first partial sum of values. */
static void optimizer_finish_norms(sm_set *set) {
  for (int64_t c = 0, end; c < set->chunks; c = end) {
    double grad = 0, value = 0;
    for (end = c; end < set->chunks && set->chunk[end].row == set->chunk[c].row; end++) {
      grad += set->partial[2 * end];
      value += set->partial[2 * end + 1];
    }
    set->row[set->chunk[c].row].grad_norm = sqrt(grad);
    for (int64_t k = c; k < end; k++) set->partial[2 * k + 1] = sqrt(value);
  }
}

static double optimizer_clip_coefficient(double limit, double norm) {
  double c = limit / (norm + 1e-6);
  return c < 1 ? c : 1; /* a norm that is not a number clips nothing, as in the reference */
}

static bool optimizer_clips_parts(const sm_optimizer_config *c) {
  return c->clip == SM_CLIP_GLOBAL || c->clip == SM_CLIP_PART;
}

/* A clip by the global norm has one part. */
static int optimizer_part(const sm_optimizer_config *c, const sm_row *row) {
  return c->clip == SM_CLIP_PART ? row->part : 0;
}

static void optimizer_survey(job *j, sm_optimizer_result *result) {
  sm_set *set = j->set;
  const sm_optimizer_config *config = j->config;
  double sum = 0, worst = -1, part[SM_CLIP_PARTS] = {0};
  int trained[SM_CLIP_PARTS] = {0};
  *result = (sm_optimizer_result){.worst_row = -1};
  for (int r = 0; r < set->rows; r++) {
    const sm_row *row = &set->row[r];
    if (!optimizer_is_trained(row, j->step)) continue;
    trained[optimizer_part(config, row)]++;
    part[optimizer_part(config, row)] += row->grad_norm * row->grad_norm;
    sum += row->grad_norm * row->grad_norm;
    if (result->worst_row < 0 || row->grad_norm > worst || (isnan(row->grad_norm) && !isnan(worst))) {
      worst = row->grad_norm;
      result->worst_row = r;
    }
    if (config->clip == SM_CLIP_PARAMETER && optimizer_clip_coefficient(config->clip_at, row->grad_norm) < 1)
      result->clipped_rows++;
  }
  result->grad_norm = sqrt(sum);
  for (int k = 0; k < SM_CLIP_PARTS; k++) {
    j->clip[k] = optimizer_clips_parts(config) ? optimizer_clip_coefficient(config->clip_at, sqrt(part[k])) : 1;
    if (j->clip[k] < 1) result->clipped_rows += trained[k];
  }
}

/* ---- update ------------------------------------------------------------------------------------------ */

/* You et al. 2017, eq. 6: the layer's rate is trust·‖w‖/(‖g‖ + decay·‖w‖). It scales gradient and decay
 * alike, and the rate stays outside the momentum, as in the references' LARS; rows without decay (biases,
 * norms) are adapted only where adapt_all says so, and rows of zeros (a new bias) take lr. LARC takes the
 * smaller of this rate and lr; what is given back is a factor of lr (apex, parallel/LARC.py: clip). */
static double optimizer_lars_rate(const job *j, const sm_row *row, double value_norm, double grad_norm) {
  if (!row->decay && !j->config->adapt_all) return 1;
  double below = grad_norm + (row->decay ? j->step->weight_decay : 0) * value_norm;
  if (!(value_norm > 0 && below > 0)) return 1;
  const double rate = j->config->trust * value_norm / below;
  return j->config->at_most_lr ? fmin(rate / (j->step->lr * row->lr_scale), 1) : rate;
}

/* What all elements of a chunk have in common. */
typedef struct update {
  sm_adamw_args adamw;
  double sgd_decay, sgd_scale;
} update;

static update optimizer_update_of(const job *j, int64_t item, const sm_row *row) {
  const sm_optimizer_config *config = j->config;
  double t = (double)row->steps; /* counted already */
  double scale = config->clip == SM_CLIP_PARAMETER
                     ? optimizer_clip_coefficient(config->clip_at, row->grad_norm)
                     : j->clip[optimizer_part(config, row)];
  double decay = row->decay ? j->step->weight_decay : 0, rate = 1;
  if (config->kind == SM_LARS)
    rate = optimizer_lars_rate(j, row, j->set->partial[2 * item + 1], scale * row->grad_norm);
  return (update){.adamw = {.lr = j->step->lr * row->lr_scale,
                            .beta1 = config->beta1,
                            .beta2 = config->beta2,
                            .eps = config->eps,
                            .weight_decay = decay,
                            .correction1 = 1 - pow(config->beta1, t),
                            .correction2 = 1 - pow(config->beta2, t),
                            .grad_scale = scale},
                  .sgd_decay = rate * decay,
                  .sgd_scale = rate * scale};
}

static void optimizer_update_strip(const job *j, const sm_chunk *c, const sm_row *row, const update *u) {
  void *p = optimizer_chunk_data(j, c, SM_VALUES), *grad = optimizer_chunk_data(j, c, SM_GRADIENTS),
       *m = optimizer_chunk_data(j, c, SM_MOMENT1);
  if (j->config->kind == SM_ADAMW)
    j->sweeps->adamw(p, grad, m, optimizer_chunk_data(j, c, SM_MOMENT2), c->n, &u->adamw);
  else
    j->sweeps->sgd(p, grad, m, c->n, u->adamw.lr, j->config->momentum, u->sgd_decay, u->sgd_scale,
                   row->steps == 1);
}

/* Elements: values, gradients, two moments and the teacher's values are 20 KiB in f32. */
enum { STRIP = 1024 };

static void optimizer_update_chunk(void *ctx, int64_t item, int worker) {
  const job *j = ctx;
  const sm_chunk *c = &j->set->chunk[item];
  const sm_row *row = &j->set->row[c->row];
  bool trained = optimizer_is_trained(row, j->step);
  /* read and written: values, gradients, two moments; the average */
  sm_work_moves(j->log, worker, (double)c->n * (double)sm_dtype_size(j->set->real) * (j->step->ema ? 10 : 8));
  update u = {0};
  if (trained) u = optimizer_update_of(j, item, row);
  for (int64_t done = 0; done < c->n; done += STRIP) {
    int64_t left = c->n - done;
    sm_chunk strip = {.row = c->row, .start = c->start + done, .n = left < STRIP ? left : STRIP};
    if (trained) optimizer_update_strip(j, &strip, row, &u);
    if (j->step->ema)
      sm_ema_range(j->step->ema, j->sweeps, strip.row, strip.start, strip.n, j->step->ema_momentum);
    size_t bytes = (size_t)strip.n * sm_dtype_size(j->set->real);
    j->set->backend->clear(optimizer_chunk_data(j, &strip, SM_GRADIENTS), bytes);
  }
}

void sm_optimizer_run(const sm_optimizer_config *config, sm_set *set, sm_pool *pool,
                      const sm_optimizer_step *step, sm_optimizer_result *result) {
  job j = {.config = config, .step = step, .set = set, .log = sm_pool_log(pool)};
  sm_optimizer_result unused;
  j.sweeps = sm_backend_sweeps(set->backend, set->real, pool);
  sm_work_name(j.log, "optimiser: norms");
  sm_pool_run(pool, set->chunks, optimizer_sum_chunk, &j);
  optimizer_finish_norms(set);
  if (!result) result = &unused;
  optimizer_survey(&j, result);
  if (!isfinite(result->grad_norm)) return;
  for (int r = 0; r < set->rows; r++)
    if (optimizer_is_trained(&set->row[r], step)) set->row[r].steps++;
  sm_work_name(j.log, "optimiser: update, EMA");
  sm_pool_run(pool, set->chunks, optimizer_update_chunk, &j);
}

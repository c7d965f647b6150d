/* probe.c — linear classifiers of many learning rates, trained in one pass over features.
 *
 * A step gathers its rows, then has two parts. Rows: a chunk of the batch is multiplied with the weights of some rates,
 * and its logits become gradients in place. Weights: a tile of the gradient is one product over the whole batch and is
 * used up by the update at once. Chunks, blocks of rates and tiles depend on shapes only, each is one item of the pool,
 * and nothing is added up across items: so the result is the same for any number of threads. */
#include <string.h>

#include <smalti/measure.h>

#include "classify.h"

#define ROWS 256         /* of a batch in one item …                        */
#define OUTPUTS 256      /* … and logits of a row, at least, in whole rates */
#define TILE_OUTPUTS 384 /* rows of the weights …                           */
#define TILE_COLUMNS 384 /* … and columns in one item                       */
#define INITIAL 0.01     /* deviation of initial weights   */

struct sm_probe {
  sm_probe_config c;
  double *rate;
  sm_pool *pool;
  sm_products products;
  int64_t outputs;        /* rates · classes                                        */
  int together;           /* rates in one item                                      */
  float *weight, *moment; /* (outputs, dim)                                         */
  float *bias, *bias_moment;
  float *x;          /* (batch, dim): the rows of this step, side by side      */
  float *g;          /* (batch, outputs): logits, then gradients               */
  float *scratch;    /* a tile of the gradient a worker                        */
  int64_t *hits;     /* of each chunk: top 1, then top 5, of each rate         */
  const float *from; /* this call's arguments                                  */
  const int32_t *label;
  const int64_t *row;
  int64_t n;
  double factor;
  int32_t *class_of; /* where classes of one rate go, or NULL                  */
  int one;
};

void sm_probe_free(sm_probe *p) {
  if (!p) return;
  sm_products_free(&p->products);
  sm_free(p->rate);
  sm_aligned_free(p->weight);
  sm_aligned_free(p->moment);
  sm_free(p->bias);
  sm_free(p->bias_moment);
  sm_aligned_free(p->x);
  sm_aligned_free(p->g);
  sm_aligned_free(p->scratch);
  sm_free(p->hits);
  sm_free(p);
}

static int64_t probe_chunks(int64_t rows) { return (rows + ROWS - 1) / ROWS; }
static int64_t probe_blocks(const sm_probe *p) { return (p->c.rates + p->together - 1) / p->together; }

/* Bytes of each. */
typedef struct probe_sizes {
  size_t rate, weight, bias, x, g, scratch, hits;
} probe_sizes;

static probe_sizes probe_sizes_of(const sm_probe_config *c, int threads) {
  const size_t dim = (size_t)c->dim, rates = (size_t)c->rates, outputs = rates * (size_t)c->classes,
               batch = (size_t)c->batch, f = sizeof(float);
  return (probe_sizes){.rate = rates * sizeof(double),
                       .weight = outputs * dim * f,
                       .bias = outputs * f,
                       .x = batch * dim * f,
                       .g = batch * outputs * f,
                       .scratch = (size_t)threads * TILE_OUTPUTS * TILE_COLUMNS * f,
                       .hits = (size_t)probe_chunks(c->batch) * 2 * rates * sizeof(int64_t)};
}

size_t sm_probe_bytes(const sm_probe_config *c, int threads) {
  const probe_sizes s = probe_sizes_of(c, threads);
  return sizeof(sm_probe) + s.rate + 2 * s.weight + 2 * s.bias + s.x + s.g + s.scratch + s.hits +
         sm_products_bytes(threads);
}

static bool probe_allocate(sm_probe *p) {
  const probe_sizes s = probe_sizes_of(&p->c, sm_pool_threads(p->pool));
  p->rate = sm_malloc(s.rate);
  p->weight = sm_aligned_alloc(s.weight);
  p->moment = sm_aligned_alloc(s.weight);
  p->bias = sm_calloc(s.bias, 1);
  p->bias_moment = sm_calloc(s.bias, 1);
  p->x = sm_aligned_alloc(s.x);
  p->g = sm_aligned_alloc(s.g);
  p->scratch = sm_aligned_alloc(s.scratch);
  p->hits = sm_malloc(s.hits);
  return p->rate && p->weight && p->moment && p->bias && p->bias_moment && p->x && p->g && p->scratch &&
         p->hits;
}

sm_status sm_probe_new(const sm_probe_config *c, sm_pool *pool, sm_probe **out, sm_error *err) {
  sm_probe *p = sm_calloc(1, sizeof *p);
  *out = NULL;
  if (!p) return sm_fail(err, SM_ENOMEM, "no memory for linear classifiers");
  p->c = *c;
  p->pool = pool;
  p->outputs = (int64_t)c->rates * c->classes;
  p->together = (OUTPUTS + c->classes - 1) / c->classes;
  if (!sm_products_new(&p->products, pool) || !probe_allocate(p)) {
    sm_probe_free(p);
    sm_fail(err, SM_ENOMEM, "no memory for %d linear classifiers of %d classes on features of width %d",
            c->rates, c->classes, c->dim);
    return sm_hint(err, "try fewer learning rates or a smaller batch");
  }
  memcpy(p->rate, c->rate, (size_t)c->rates * sizeof *p->rate);
  int64_t one = (int64_t)c->classes * c->dim; /* elements of one rate's weights */
  sm_rng rng = sm_rng_named(c->seed, SM_RNG_EVAL, "linear.weight");
  for (int64_t i = 0; i < one; i++) p->weight[i] = (float)(INITIAL * sm_rng_normal(&rng));
  for (int r = 1; r < c->rates; r++) memcpy(p->weight + r * one, p->weight, (size_t)one * sizeof *p->weight);
  *out = p;
  return SM_OK;
}

const float *sm_probe_weights(const sm_probe *p, int rate) {
  return p->weight + (int64_t)rate * p->c.classes * p->c.dim;
}
const float *sm_probe_bias(const sm_probe *p, int rate) { return p->bias + (int64_t)rate * p->c.classes; }

void sm_probe_put(sm_probe *p, int rate, const float *weight, const float *bias) {
  const int64_t classes = p->c.classes, at = rate * classes;
  memcpy(p->weight + at * p->c.dim, weight, (size_t)(classes * p->c.dim) * sizeof *weight);
  memcpy(p->bias + at, bias, (size_t)classes * sizeof *bias);
}

/* ---- rows ---------------------------------------------------------------------------------------------- */

/* The rows of a step side by side. */
static void probe_gather_chunk(void *context, int64_t chunk, int worker) {
  const sm_probe *p = context;
  const int64_t end = (chunk + 1) * ROWS < p->n ? (chunk + 1) * ROWS : p->n, dim = p->c.dim;
  (void)worker;
  for (int64_t i = chunk * ROWS; i < end; i++)
    memcpy(p->x + i * dim, p->from + p->row[i] * dim, (size_t)dim * sizeof *p->x);
}

/* Rows [first, end) of the batch and rates [rate, last). */
typedef struct part {
  int64_t first, end;
  int rate, last;
} part;

/* Items go through the rows for one block of rates after the other, whose weights are then in cache. */
static part probe_part(const sm_probe *p, int64_t item) {
  const int64_t chunks = probe_chunks(p->n), first = item % chunks * ROWS, rate = item / chunks * p->together;
  return (part){first, first + ROWS < p->n ? first + ROWS : p->n, (int)rate,
                rate + p->together < p->c.rates ? (int)rate + p->together : p->c.rates};
}

static float *probe_at(const sm_probe *p, int64_t row, int rate) {
  return p->g + row * p->outputs + (int64_t)rate * p->c.classes;
}

/* Logits of a part, at p->g. */
static void probe_logits(const sm_probe *p, const part *t, int worker) {
  const int64_t dim = p->c.dim, at = (int64_t)t->rate * p->c.classes,
                outputs = (int64_t)(t->last - t->rate) * p->c.classes;
  sm_product_rows(&p->products, worker, t->end - t->first, outputs, dim, p->x + t->first * dim,
                  p->weight + at * dim, probe_at(p, t->first, t->rate), p->outputs);
  for (int64_t i = t->first; i < t->end; i++) {
    float *z = probe_at(p, i, t->rate);
    for (int64_t o = 0; o < outputs; o++) z[o] += p->bias[at + o];
  }
}

static void probe_forward_part(void *context, int64_t item, int worker) {
  const sm_probe *p = context;
  const part t = probe_part(p, item);
  probe_logits(p, &t, worker);
  for (int64_t i = t.first; i < t.end; i++)
    for (int r = t.rate; r < t.last; r++)
      sm_softmax_gradient(probe_at(p, i, r), p->c.classes, p->label[p->row[i]], (float)(1.0 / (double)p->n));
}

static void probe_count_part(void *context, int64_t item, int worker) {
  const sm_probe *p = context;
  const part t = probe_part(p, item);
  int64_t *top1 = p->hits + t.first / ROWS * 2 * p->c.rates, *top5 = top1 + p->c.rates;
  probe_logits(p, &t, worker);
  for (int r = t.rate; r < t.last; r++) {
    top1[r] = top5[r] = 0;
    for (int64_t i = t.first; i < t.end; i++) {
      int rank = sm_rank_of(probe_at(p, i, r), p->c.classes, p->label[p->row[i]]);
      top1[r] += rank == 0;
      top5[r] += rank < 5;
    }
  }
}

static void probe_classify_chunk(void *context, int64_t chunk, int worker) {
  const sm_probe *p = context;
  const part all = probe_part(p, chunk), t = {all.first, all.end, p->one, p->one + 1};
  probe_logits(p, &t, worker);
  for (int64_t i = t.first; i < t.end; i++)
    p->class_of[i] = sm_first_of(probe_at(p, i, p->one), p->c.classes);
}

/* ---- weights ------------------------------------------------------------------------------------------- */

/* v = momentum·v + g; w -= rate·v (torch.optim.SGD). */
static void probe_update(float *w, float *v, const float *g, int64_t n, float momentum, float rate) {
  for (int64_t i = 0; i < n; i++) {
    v[i] = momentum * v[i] + g[i];
    w[i] -= rate * v[i];
  }
}

static int64_t probe_column_tiles(const sm_probe *p) { return (p->c.dim + TILE_COLUMNS - 1) / TILE_COLUMNS; }

static float probe_rate_of(const sm_probe *p, int64_t output) {
  return (float)(p->factor * p->rate[output / p->c.classes]);
}

static void probe_update_bias(const sm_probe *p, int64_t first, int64_t outputs) {
  double sum[TILE_OUTPUTS] = {0};
  for (int64_t i = 0; i < p->n; i++)
    for (int64_t o = 0; o < outputs; o++) sum[o] += p->g[i * p->outputs + first + o];
  for (int64_t o = 0; o < outputs; o++)
    probe_update(p->bias + first + o, p->bias_moment + first + o, &(float){(float)sum[o]}, 1,
                 (float)p->c.momentum, probe_rate_of(p, first + o));
}

/* A tile of weights; those of the first columns take the biases of their rows along. */
static void probe_update_tile(void *context, int64_t tile, int worker) {
  const sm_probe *p = context;
  int64_t across = probe_column_tiles(p), first = tile / across * TILE_OUTPUTS,
          column = tile % across * TILE_COLUMNS;
  int64_t rows = p->outputs - first < TILE_OUTPUTS ? p->outputs - first : TILE_OUTPUTS;
  int64_t n = p->c.dim - column < TILE_COLUMNS ? p->c.dim - column : TILE_COLUMNS;
  float *g = p->scratch + (int64_t)worker * TILE_OUTPUTS * TILE_COLUMNS;
  sm_product_columns(&p->products, worker, rows, n, p->n, p->g + first, p->outputs, p->x + column, p->c.dim,
                     g, TILE_COLUMNS);
  for (int64_t o = first; o < first + rows; o++) {
    int64_t at = o * p->c.dim + column;
    probe_update(p->weight + at, p->moment + at, g + (o - first) * TILE_COLUMNS, n, (float)p->c.momentum,
                 probe_rate_of(p, o));
  }
  if (!column) probe_update_bias(p, first, rows);
}

/* ---- calls --------------------------------------------------------------------------------------------- */

static void probe_begin(sm_probe *p, const float *x, const int32_t *label, const int64_t *row, int64_t n) {
  p->from = x, p->label = label, p->row = row, p->n = n;
  sm_pool_run(p->pool, probe_chunks(n), probe_gather_chunk, p);
}

void sm_probe_step(sm_probe *p, const float *x, const int32_t *label, const int64_t *row, int64_t n,
                   double factor) {
  probe_begin(p, x, label, row, n);
  p->factor = factor;
  sm_pool_run(p->pool, probe_chunks(n) * probe_blocks(p), probe_forward_part, p);
  sm_pool_run(p->pool, (p->outputs + TILE_OUTPUTS - 1) / TILE_OUTPUTS * probe_column_tiles(p),
              probe_update_tile, p);
}

void sm_probe_classify(sm_probe *p, int rate, const float *x, const int64_t *row, int64_t n,
                       int32_t *class_of) {
  p->one = rate;
  for (int64_t first = 0; first < n; first += p->c.batch) {
    probe_begin(p, x, NULL, row + first, n - first < p->c.batch ? n - first : p->c.batch);
    p->class_of = class_of + first;
    sm_pool_run(p->pool, probe_chunks(p->n), probe_classify_chunk, p);
  }
}

void sm_probe_hits(sm_probe *p, const float *x, const int32_t *label, const int64_t *row, int64_t n,
                   int64_t *top1, int64_t *top5) {
  memset(top1, 0, (size_t)p->c.rates * sizeof *top1);
  memset(top5, 0, (size_t)p->c.rates * sizeof *top5);
  for (int64_t first = 0; first < n; first += p->c.batch) {
    probe_begin(p, x, label, row + first, n - first < p->c.batch ? n - first : p->c.batch);
    sm_pool_run(p->pool, probe_chunks(p->n) * probe_blocks(p), probe_count_part, p);
    for (int64_t c = 0; c < probe_chunks(p->n); c++)
      for (int r = 0; r < p->c.rates; r++) {
        top1[r] += p->hits[c * 2 * p->c.rates + r];
        top5[r] += p->hits[c * 2 * p->c.rates + p->c.rates + r];
      }
  }
}

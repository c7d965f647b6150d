/* smalti/tensor.h — tensors, graphs and the ops an author composes.
 *
 * An author writes the forward pass only: `y = sm_linear(g, x, w, b)`. A graph is a *step program*: an ordered list of
 * passes, built once, planned once, run many times. Nothing is allocated or looked up while it runs.
 *
 * Shapes are row-major. The leading dimension counts *items* (pictures, or rows); everything that varies from step to
 * step is a run-time count of leading items held in a tensor, planned at its capacity and allowed to be 0.
 * Errors while building are sticky: a failed call returns an inert tensor and the graph remembers the first error with
 * the names involved; check once with sm_graph_plan(). Graphs belong to one thread; kernels run on the graph's pool. */
#ifndef SMALTI_TENSOR_H
#define SMALTI_TENSOR_H

#include <smalti/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { SM_F32, SM_F64, SM_U8, SM_I32, SM_BF16, SM_DTYPE_COUNT } sm_dtype;
typedef enum {
  SM_CPU,  /* vectorised kernels, chosen by the processor's features at run time          */
  SM_PLAIN /* straightforward loops, the oracle of the tests and of `smalti bench ops`     */
} sm_device;
#define SM_DEVICE_COUNT 2
#define SM_MAX_DIMS 4

typedef struct sm_graph sm_graph;
typedef struct sm_node sm_node;
typedef struct sm_tensor sm_tensor;

/* Public so that kernels and plugins can read it; only the engine writes it. */
struct sm_tensor {
  const char *name;         /* "student.blocks.3.attn.qkv", owned by the graph                         */
  sm_dtype dtype;
  sm_device device;
  int ndim;
  int64_t dim[SM_MAX_DIMS]; /* dim[0] is the capacity in items                                         */
  sm_tensor *count;         /* (1) I32, how many leading items are valid in this run; NULL = dim[0]     */
  bool needs_grad;
  bool persistent;          /* parameters, states, inputs: memory outside the plan                     */
  sm_tensor *grad;          /* where dL/dt is gathered, or NULL                                        */
  sm_node *maker;           /* the node that writes it, or NULL                                        */
  struct sm_tensor_plan *plan; /* private to the planner                                               */
};

size_t sm_dtype_size(sm_dtype);
const char *sm_dtype_name(sm_dtype); /* "F32" … as in safetensors */
int64_t sm_elements(const sm_tensor *);      /* at capacity */
int64_t sm_item_elements(const sm_tensor *); /* elements of one leading item */
int64_t sm_items(const sm_tensor *);         /* valid leading items now: *count or dim[0] */

/* ---- graph and passes --------------------------------------------------------------------------------- */

typedef struct sm_graph_config {
  sm_device device;
  sm_dtype real;   /* SM_F32, or SM_F64 for gradient checks: the dtype of every computed tensor */
  sm_pool *pool;   /* borrowed; must outlive the graph                                         */
  const char *isa; /* NULL = best here; "avx512_bf16", "avx512", "avx2", "baseline" force one   */
  bool bf16;       /* operands of matrix products are bf16, summed up in f32, and what stands only between
                    * such products lies in memory as bf16 (real = SM_F32) */
} sm_graph_config;

sm_graph *sm_graph_new(const sm_graph_config *, sm_error *);
void sm_graph_free(sm_graph *);
sm_dtype sm_graph_real(const sm_graph *);
const char *sm_graph_isa(const sm_graph *);
bool sm_graph_ok(const sm_graph *);
/* Record an error from an author's own check; the first one stays. Returns the inert tensor, to be returned on. */
sm_tensor *sm_graph_fail(sm_graph *, const char *fmt, ...) SM_PRINTF(2, 3);

/* Passes run in the order the caller asks; all ops between begin and end belong to the pass. Tensors made in one pass may be
 * read in later ones. Returns the pass number. Host code runs only between passes. */
int sm_pass_begin(sm_graph *, const char *name);
/* Differentiate everything registered with sm_loss_term in this pass; parameter gradients are added up (+=). */
void sm_pass_backward(sm_graph *);
void sm_pass_end(sm_graph *);
/* x is where one block of a network ends and the next begins: a backbone says so before its first block and after each.
 * Where the graph was asked to recompute, what was made in the pass between two borders is not kept for the backward pass,
 * but made again from the first of them when the gradient arrives, with the same bits; x itself is kept. Else it does
 * nothing. Returns x. (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost") */
sm_tensor *sm_block_border(sm_graph *, sm_tensor *x);
void sm_graph_recompute(sm_graph *, bool blocks); /* before the first pass; at first not */
/* Names of the tensors made between push and pop get this prefix ("blocks.3"). */
void sm_scope_push(sm_graph *, const char *fmt, ...) SM_PRINTF(2, 3);
void sm_scope_pop(sm_graph *);

/* Plan memory for all passes, as they will be run in order 0, 1, 2 … (any prefix may repeat). Reports the sticky error. */
sm_status sm_graph_plan(sm_graph *, sm_error *);
/* Allocate what was planned (and nothing later). Separate from planning so that `smalti plan` allocates nothing. */
sm_status sm_graph_allocate(sm_graph *, sm_error *);
void sm_graph_run(sm_graph *, int pass);

typedef struct sm_plan_line {
  const char *name, *kind; /* "input", "transient", "worker" */
  int64_t dim[SM_MAX_DIMS];
  int ndim;
  size_t bytes;
} sm_plan_line;
typedef struct sm_plan_report {
  size_t inputs, transient, worker; /* bytes: inputs and states of the graph, planned whole tensors, per-worker memory × threads */
  size_t unshared;                  /* what the transients would take without reuse */
  int nodes, segments;
  double flops;                     /* multiply-adds × 2 of one run of every pass at capacity */
  const sm_plan_line *largest;      /* sorted, owned by the graph */
  int n_largest;
} sm_plan_report;
void sm_graph_report(const sm_graph *, sm_plan_report *);

/* Time per op since the last reset, for `smalti bench` (off by default: costs two clock reads a node and group). */
typedef struct sm_profile_line { const char *pass, *op; double seconds /* summed over workers */, flops; int64_t calls; } sm_profile_line;
void sm_graph_profile(sm_graph *, bool on);
int sm_graph_profile_lines(const sm_graph *, sm_profile_line *out, int max);

/* Run a pass again looking at every written value; the first non-finite one in program order is named
 * ("op layer_norm made a NaN in student.blocks.3.norm1, item 5"). false if all are finite.
 * *tensor (NULL is allowed) and *item (-1 if it has none) say where. */
bool sm_graph_find_nonfinite(sm_graph *, int pass, char *what, size_t size, int64_t *item, const sm_tensor **tensor);

/* ---- tensors without a maker --------------------------------------------------------------------------- */

/* Memory the host fills between passes (views, masks, row lists). Zeroed. */
sm_tensor *sm_input(sm_graph *, const char *name, sm_dtype, int ndim, const int64_t *dim, sm_tensor *count);
sm_tensor *sm_input_real(sm_graph *, const char *name, int ndim, const int64_t *dim, sm_tensor *count); /* graph's real dtype */
sm_tensor *sm_count(sm_graph *, const char *name, int64_t capacity); /* (1) I32, set to the capacity at first */
/* A scalar of the step block: learning-rate-like values that change every step; (1), real dtype. */
sm_tensor *sm_scalar(sm_graph *, const char *name, double value);
void sm_put(sm_tensor *scalar_or_count, double value);
/* Values go in and out between passes, n elements from element `first` on (flat, row-major), converted to and from the
 * tensor's dtype; memory may be of another device. first + n is at most sm_elements(). To read: any tensor that the host
 * can read, which are inputs, scalars, counts, accumulators and external tensors at any time, and of what ops make those
 * that were kept (sm_keep, loss terms), from the end of their pass until it runs again. Before sm_graph_allocate there
 * is no memory: writing does nothing, reading gives zeros, and of a scalar or count its first value. */
void sm_write(sm_tensor *, int64_t first, int64_t n, const float *);
void sm_write_f64(sm_tensor *, int64_t first, int64_t n, const double *);
void sm_write_i32(sm_tensor *, int64_t first, int64_t n, const int32_t *);
void sm_write_u8(sm_tensor *, int64_t first, int64_t n, const uint8_t *);
void sm_fill(sm_tensor *, int64_t first, int64_t n, double value);
void sm_read(const sm_tensor *, int64_t first, int64_t n, float *);
void sm_read_f64(const sm_tensor *, int64_t first, int64_t n, double *);
void sm_read_i32(const sm_tensor *, int64_t first, int64_t n, int32_t *);
double sm_get(const sm_tensor *, int64_t element); /* one of them */
/* Values kept between steps but not saved (sums over micro-batches): zeroed at first, ops may accumulate into them. */
sm_tensor *sm_accumulator(sm_graph *, const char *name, int ndim, const int64_t *dim);
/* A tensor over memory owned by somebody else (parameter sets). grad may be NULL. */
sm_tensor *sm_external(sm_graph *, const char *name, sm_dtype, int ndim, const int64_t *dim, void *data, void *grad);
/* Keep a transient readable by the host after its pass (it is then never worker-local). */
void sm_keep(sm_graph *, sm_tensor *);

/* ---- rows, pairs, targets ------------------------------------------------------------------------------- */

/* A list of tokens of a (B, T, D) tensor, as flat indices b*T + t, each at most once. Filled by the host between passes. */
typedef struct sm_rows {
  int64_t capacity;
  sm_tensor *count; /* (1) I32          */
  sm_tensor *token; /* (capacity) I32   */
  sm_tensor *slot;  /* (B, T) I32: place in `token`, or -1 */
  struct sm_rows_host *host; /* private */
} sm_rows;
sm_rows *sm_rows_new(sm_graph *, const char *name, int64_t capacity, int64_t items, int64_t tokens, sm_tensor *item_count);
void sm_rows_set(sm_rows *, const int32_t *token, int64_t n); /* n <= capacity */

/* What a backbone with `prefix` tokens before its patches has to give, when it is asked for its view (its first token) and
 * for some cells only: lists over its tokens (B, prefix + N), made from the wished `cells` of (B, N). They follow by
 * themselves whenever sm_rows_set was called on `cells` or the number of valid items of `items` (its B and its count)
 * changed. Asked again with the same arguments, the same lists come.
 *
 *   kept      of each valid item its first token, if the view is wanted, then its wished cells by number
 *   view      (n items, capacity of kept, T = 1) where in kept the first tokens are; NULL where kept holds nothing else,
 *             since cells is NULL, or where the view is not wanted
 *   patches   the same of the cells, in the order of `cells`; NULL where cells is NULL
 *
 *   rows = sm_rows_behind(g, in->pictures, n_patches, in->cells, 1, true);
 *   x = sm_gather(g, x, rows.kept);                              x (B, T, D) → (kept, D); the rest on these rows only
 *   view = rows.view ? sm_gather(g, x, rows.view) : x;           (B, D)
 *   patches = sm_gather(g, x, rows.patches);                     (capacity of cells, D), count of cells */
typedef struct sm_token_rows {
  const sm_rows *kept, *view, *patches;
} sm_token_rows;
sm_token_rows sm_rows_behind(sm_graph *, const sm_tensor *items, int64_t n_cells, const sm_rows *cells /* or NULL */,
                             int prefix, bool view);

/* Weighted pairs (prediction row, target row, weight): the loss is their weighted sum. */
typedef struct sm_pairs {
  int64_t capacity, predictions;
  sm_tensor *first;  /* (predictions + 1) I32: pairs of row r are first[r] … first[r+1]-1 */
  sm_tensor *target; /* (capacity) I32 */
  sm_tensor *weight; /* (capacity) real */
  int64_t filled, last; /* while being filled */
  struct sm_pairs_host *host; /* private */
} sm_pairs;
sm_pairs *sm_pairs_new(sm_graph *, const char *name, int64_t capacity, int64_t predictions);
void sm_pairs_begin(sm_pairs *);
bool sm_pairs_add(sm_pairs *, int64_t prediction, int64_t target, double weight); /* predictions in ascending order; false if full */
void sm_pairs_end(sm_pairs *);

typedef enum { SM_TARGET_NONE = 0, SM_TARGET_DISTRIBUTION = 1, SM_TARGET_IDS = 2, SM_TARGET_VECTORS = 4 } sm_form;

/* What a tokenizer gives. A distribution is lazy: row r is softmax((logits[r] - shift) * scale). No gradient flows here. */
typedef struct sm_target {
  sm_form form;
  int64_t dim;          /* K, or the length of a vector */
  const sm_rows *rows;  /* which tokens, or NULL        */
  sm_tensor *logits;    /* DISTRIBUTION: (R, K)         */
  sm_tensor *shift;     /* DISTRIBUTION: (K) or NULL    */
  sm_tensor *scale;     /* DISTRIBUTION: (1), 1/temperature */
  sm_tensor *ids;       /* IDS: (R) I32                 */
  sm_tensor *vectors;   /* VECTORS: (R, dim)            */
} sm_target;

/* ---- ops: tokens ----------------------------------------------------------------------------------------
 * Unless stated, a result has the leading items (and count) of its first argument. Weights are stored [out, in]. */

sm_tensor *sm_linear(sm_graph *, sm_tensor *x /* (…, C) */, sm_tensor *w /* (N, C) */, sm_tensor *b /* (N) or NULL */);
sm_tensor *sm_gelu(sm_graph *, sm_tensor *x);  /* x·Φ(x), exact (erf) form: Hendrycks & Gimpel 2016 */
/* Gain and shift may both be NULL: none. */
sm_tensor *sm_layer_norm(sm_graph *, sm_tensor *x, sm_tensor *w /* (D) */, sm_tensor *b /* (D) */, double eps);
/* x + drop[:, site]·gamma⊙f : gamma (D) is layer scale, or NULL; drop (B, sites) are drop-path factors 0 or 1/keep, or NULL. */
sm_tensor *sm_residual(sm_graph *, sm_tensor *x, sm_tensor *f, sm_tensor *gamma, sm_tensor *drop, int site);
/* Multi-head self-attention, scale 1/sqrt(D/heads): qkv (B, T, 3D) as q|k|v, heads contiguous inside each → (B, T, D). */
sm_tensor *sm_attention(sm_graph *, sm_tensor *qkv, int heads);
/* Softmax attention of the first token over all tokens, of which the first `prefix` are left out of the result, (B, heads, T - prefix);
 * no gradient. */
sm_tensor *sm_attention_map(sm_graph *, sm_tensor *qkv, int heads, int prefix);
/* (B, 3, H, W) → (B, N, 3·P·P), channel-major inside a patch as a convolution's weight (D, 3, P, P); no gradient to pictures. */
sm_tensor *sm_patchify(sm_graph *, sm_tensor *pictures, int patch);
/* [CLS] | patches, where mask (B, N) U8 is 1 the patch is mask_token (1, D); then + pos (1, 1+N, D). mask may be NULL, and so may
 * pos. Without cls there are only the patches, and pos is (1, N, D): a network without a class token hides its patches so. */
sm_tensor *sm_tokens(sm_graph *, sm_tensor *patches, sm_tensor *cls, sm_tensor *pos, sm_tensor *mask_token, sm_tensor *mask);
/* Position embedding (1, 1+h0·w0, D) for another grid: bicubic a = -0.75 with scale (n+0.1)/n0, border clamped, as DINO does. */
sm_tensor *sm_position_resize(sm_graph *, sm_tensor *pos, int h0, int w0, int h1, int w1);
sm_tensor *sm_gather(sm_graph *, sm_tensor *x /* (B, T, D), or (B, D) with a list of T = 1 */, const sm_rows *); /* → (capacity, D), count of the rows */
/* For each row of the list the values of its item: x (B, S) → (capacity, S); no gradient. */
sm_tensor *sm_gather_items(sm_graph *, sm_tensor *x, const sm_rows *);
sm_tensor *sm_drop_prefix(sm_graph *, sm_tensor *x /* (B, T, D) */, int n);      /* → (B, T-n, D) */
sm_tensor *sm_mean_tokens(sm_graph *, sm_tensor *x /* (B, T, D) */, int n);     /* → (B, D): mean of the tokens behind the first n */
sm_tensor *sm_l2_normalize(sm_graph *, sm_tensor *x, double eps);                 /* x / max(‖x‖, eps) over the last dimension */
/* Weight normalisation over rows (Salimans & Kingma 2016): v (K, F), gain (K, 1) → gain·v/‖v‖. Asked for again in a pass, it
 * gives the same tensor. */
sm_tensor *sm_weight_norm(sm_graph *, sm_tensor *v, sm_tensor *gain);
sm_tensor *sm_mean_items(sm_graph *, sm_tensor *x /* (B, …, F) */); /* → (1, F): mean over valid items and middle dimensions; no gradient */

/* ---- ops: small ---------------------------------------------------------------------------------------- */

sm_tensor *sm_add(sm_graph *, sm_tensor *a, sm_tensor *b);        /* same shape */
sm_tensor *sm_mul(sm_graph *, sm_tensor *a, sm_tensor *b);        /* same shape */
sm_tensor *sm_scale(sm_graph *, sm_tensor *x, double factor);
sm_tensor *sm_sum(sm_graph *, sm_tensor *x);                      /* → (1), over valid items, in a fixed order */
/* acc (K) += Σ rows of x (R, K); acc is an accumulator; no gradient. */
void sm_sum_rows_into(sm_graph *, sm_tensor *x, sm_tensor *acc);
/* state = m·state + (1-m)·sum/n, then sum = 0 and n = 0; n (1) real accumulator; does nothing where n is 0. */
void sm_ema_update(sm_graph *, sm_tensor *state, sm_tensor *sum, sm_tensor *n, sm_tensor *momentum);
void sm_add_count_into(sm_graph *, sm_tensor *x, sm_tensor *acc); /* acc (1) += valid items of x */
/* Balanced assignment of rows (R, K) to K columns by `iterations` rounds of Sinkhorn and Knopp, without gradient: the shift
 * (K) with which softmax((logits[r] - shift)·scale) is what SwAV and DINOv2 (sinkhorn_knopp_teacher) make of
 * exp(logits·scale): every round divides each column by its sum over the rows, then each row by its own. So
 * shift = -ln(column factor)/scale; the last division of the rows is the softmax's. Worked out with logarithms, so that no
 * temperature overflows. The valid rows are all that is balanced; without any the shift is 0. */
sm_tensor *sm_sinkhorn(sm_graph *, sm_tensor *logits, sm_tensor *scale /* (1) */, int iterations);
/* ids[r] = argmax_k (logits[r,k] - shift[k]), the lowest k on ties; shift may be NULL. */
sm_tensor *sm_argmax(sm_graph *, sm_tensor *logits, sm_tensor *shift);

/* ---- ops: pictures and discrete codes -------------------------------------------------------------------
 * A picture lies as tokens: (B, H·W, C), rows from the top, channels last; sm_patchify(g, pictures, 1) makes one of
 * (B, 3, H, W). A 1×1 convolution is sm_linear, and everything pointwise is shared with transformers. */

/* Convolution with odd windows k, stride 1 and zeros outside, so that the size stays: w (O, C, k, k) as torch has it. */
sm_tensor *sm_conv2d(sm_graph *, sm_tensor *x, sm_tensor *w, sm_tensor *b /* (O) or NULL */, int height, int width);
sm_tensor *sm_conv_weight(sm_graph *, sm_tensor *w); /* (O, k·k·C): the order its products read; sm_conv2d asks for it, once a pass */
sm_tensor *sm_relu(sm_graph *, sm_tensor *x);
sm_tensor *sm_max_pool(sm_graph *, sm_tensor *x, int height, int width); /* 2×2, stride 2 → (B, H·W/4, C) */
sm_tensor *sm_upsample(sm_graph *, sm_tensor *x, int height, int width); /* nearest, twice the side → (B, 4·H·W, C) */
/* softmax((logits + Gumbel noise)·inv_tau) over the last dimension (Jang et al. 2017; Maddison et al. 2017). key (3) I32: two
 * words of key and the number of the first item, so that noise depends on the item and not on its batch or thread. */
sm_tensor *sm_gumbel_softmax(sm_graph *, sm_tensor *logits /* (B, T, K) */, sm_tensor *inv_tau /* (1) */, sm_tensor *key);
sm_tensor *sm_kl_uniform(sm_graph *, sm_tensor *logits /* (B, T, K) */); /* → (B): Σ over T of KL(softmax ‖ uniform), nats */
sm_tensor *sm_squared_error(sm_graph *, sm_tensor *p, sm_tensor *x);     /* → (B): Σ (p - x)²; no gradient to x */
/* Negative log-likelihood (B) of x (B, T, C) in (0, 1) under the logit-Laplace distribution (Ramesh et al. 2021, appendix A.3)
 * with location p[…, :C] and log-scale p[…, C:]. *error (NULL is allowed): Σ (sigmoid(location) - x)² (B), no gradient. */
sm_tensor *sm_logit_laplace(sm_graph *, sm_tensor *p /* (B, T, 2C) */, sm_tensor *x, sm_tensor **error);
sm_tensor *sm_scale_by(sm_graph *, sm_tensor *x, sm_tensor *factor /* (1), of the step; no gradient to it */);

/* ---- ops: losses --------------------------------------------------------------------------------------- */

typedef struct sm_xent_out {
  sm_tensor *loss;  /* (R): Σ over the row's pairs of weight·CE                                              */
  sm_tensor *stats; /* (R, 4): Σ over pairs of [1, student entropy, target entropy, argmax agrees], unweighted */
} sm_xent_out;
/* Softmax cross-entropy CE = -Σ_k q_k log softmax(logits·inv_tau)_k against distributions or ids, pair by pair, in one pass over K.
 * It writes dL/dlogits over `logits`, so it must be their only consumer, and its loss must be given to sm_loss_term. */
sm_xent_out sm_xent(sm_graph *, sm_tensor *logits /* (R, K) */, sm_tensor *inv_tau /* (1) */, const sm_target *, const sm_pairs *);
/* Mean over the D numbers of a row of a penalty on prediction - target, pair by pair: the rows' losses (R), Σ weight·mean.
 * SM_L2 is x² (MAE), SM_L1 |x| (SimMIM), SM_SMOOTH_L1 x²/(2·beta) where |x| < beta and |x| - beta/2 beyond (Girshick 2015, as
 * torch.nn.SmoothL1Loss); only it looks at beta, which must be above 0. */
typedef enum { SM_L2, SM_L1, SM_SMOOTH_L1 } sm_penalty;
sm_tensor *sm_regression(sm_graph *, sm_tensor *prediction /* (R, D) */, sm_penalty, double beta, const sm_target *, const sm_pairs *);
/* Add the sum of all valid elements of t to the pass's loss (gradient 1 to each). */
void sm_loss_term(sm_graph *, sm_tensor *t);

#ifdef __cplusplus
}
#endif
#endif

/* smalti/tensor.h — tensors, graphs, and the ops that authors compose.
 *
 * An author writes the forward pass. The graph derives the backward pass, plans memory for both, and runs
 * them:
 *
 *   sm_graph *g = sm_graph_new(&(sm_graph_config){.device = SM_CPU, .real = SM_F32, .pool = pool}, err);
 *   sm_tensor *count = sm_count(g, "pictures", 64);              // at most 64, fewer in a smaller batch
 *   sm_tensor *x = sm_input_real(g, "pictures", 2, (int64_t[]){64, 48}, count);
 *   int step = sm_pass_begin(g, "step");
 *   sm_tensor *y = sm_linear(g, x, sm_param(g, &params, "fc.weight"), NULL);    // (64, N), count of x
 *   sm_tensor *loss = sm_sum(g, sm_mul(g, y, y));                // whatever is to become small
 *   sm_loss_term(g, loss);
 *   sm_pass_backward(g);
 *   sm_pass_end(g);
 *   if (!(status = sm_graph_plan(g, err))) status = sm_graph_allocate(g, err);
 *
 *   sm_put(count, n);                                            // for each batch: values in,
 *   sm_write(x, 0, n * 48, values);
 *   sm_graph_run(g, step);                                       // run, values out
 *   printf("%g\n", sm_get(loss, 0));
 *
 * A plugin sees the middle of this: its `build` is handed a graph whose pass is open, calls ops, and returns
 * tensors.
 *
 * Shapes are row-major. The leading dimension counts *items*: pictures, or rows of a list. Everything that
 * varies from step to step is the number of valid leading items, which a tensor holds (`count`); memory is
 * planned for `dim[0]` of them, and 0 are allowed. Unless stated otherwise an op's result has the leading
 * items and the count of its first argument, and values beyond the count are never read.
 *
 * *Errors* stick. A call that fails while a graph is built returns an inert tensor, which later calls accept,
 * and the graph remembers the first error with the names involved. sm_graph_plan() reports it: check once,
 * there. A pass that runs cannot fail: every shape and kernel was checked before. Values may become infinite
 * or NaN; sm_graph_find_nonfinite() says where.
 *
 * *Lifetime*: tensors, sm_rows, sm_pairs and names belong to their graph, and every pointer to them is good
 * until sm_graph_free(). What a graph borrows (the pool, parameter sets) must outlive it. Names given to
 * calls are copied.
 *
 * *Threads*: a graph belongs to one thread at a time; its kernels run on its pool. Results do not depend on
 * the number of threads. */
#ifndef SMALTI_TENSOR_H
#define SMALTI_TENSOR_H

#include <smalti/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { SM_F32, SM_F64, SM_U8, SM_I32, SM_BF16, SM_DTYPE_COUNT } sm_dtype;
typedef enum {
  SM_CPU,  /* vectorised kernels, chosen by the processor's features at run time       */
  SM_PLAIN /* straightforward loops, the oracle of the tests and of `smalti bench ops` */
} sm_device;
#define SM_DEVICE_COUNT 2
#define SM_MAX_DIMS 4

typedef struct sm_graph sm_graph;
typedef struct sm_node sm_node;
typedef struct sm_tensor sm_tensor;

/* Public so that authors and kernels can read it; only the engine writes it. Values: sm_write, sm_read,
 * sm_get below. */
struct sm_tensor {
  const char *name; /* "student.blocks.3.attn.qkv"                                           */
  sm_dtype dtype;
  sm_device device;
  int ndim;
  int64_t dim[SM_MAX_DIMS]; /* dim[0] is the capacity in items                               */
  sm_tensor *count;         /* (1) I32, how many leading items are valid now; NULL: dim[0]   */
  bool needs_grad;
  bool persistent;             /* parameters, states, inputs: memory outside the plan        */
  sm_tensor *grad;             /* where dL/dt is gathered, or NULL                           */
  sm_node *maker;              /* the node that writes it, or NULL                           */
  struct sm_tensor_plan *plan; /* private: where it lies                                     */
};

size_t sm_dtype_size(sm_dtype);              /* bytes of one element                */
const char *sm_dtype_name(sm_dtype);         /* "F32" … as in safetensors           */
/* "(16, 197, 384)" into buf; returns buf. */
const char *sm_shape_text(int ndim, const int64_t *dim, char *buf, size_t size);
int64_t sm_elements(const sm_tensor *);      /* at capacity                         */
int64_t sm_item_elements(const sm_tensor *); /* elements of one leading item        */
int64_t sm_items(const sm_tensor *);         /* valid leading items now             */

/* ---- graphs and passes --------------------------------------------------------------------------------- */

typedef struct sm_graph_config {
  sm_device device;
  sm_dtype real;   /* SM_F32, or SM_F64 for gradient checks: the dtype of every computed tensor   */
  sm_pool *pool;   /* borrowed                                                                    */
  const char *isa; /* a path of kernels, see sm_isa_find; NULL: the pool's, or the best one       */
  bool bf16;       /* operands of matrix products are bf16, summed up in f32, and what stands only
                    * between such products lies in memory as bf16 (real = SM_F32)                */
} sm_graph_config;

/* Paths of kernels are named after instruction sets: "avx512_bf16", "avx512", "avx2", "neon", "baseline" (what the
 * compiler targets without being asked); and, where oneDNN is built in and does the products, "avx2_onednn" and so on.
 * Where a path has no kernels for a type of its own, those of the path that it extends do: "avx512_bf16" has some for
 * bf16 alone. */
/* The name as it is kept, if this processor and this build have the path; "native": the best one. NULL: they lack it. */
const char *sm_isa_find(const char *name);
/* "avx2, baseline": the paths that are here, best first, into buf; returns buf. */
const char *sm_isa_list(char *buf, size_t size);

/* NULL: SM_EUNSUPPORTED (this processor or build lacks the kernels asked for) or SM_ENOMEM. */
sm_graph *sm_graph_new(const sm_graph_config *, sm_error *);
void sm_graph_free(sm_graph *);
sm_dtype sm_graph_real(const sm_graph *);
const char *sm_graph_isa(const sm_graph *);
bool sm_graph_ok(const sm_graph *); /* no error sticks yet */
/* Record an error from an author's own check; the first one stays. Returns the inert tensor, to be returned
 * on. */
sm_tensor *sm_graph_fail(sm_graph *, const char *fmt, ...) SM_PRINTF(2, 3);

/* All ops between begin and end belong to the pass; the caller runs passes one by one, in any order in which
 * what a pass reads was made before. Host code runs only between passes. Returns the pass number. */
int sm_pass_begin(sm_graph *, const char *name);
/* Differentiate everything registered with sm_loss_term in this pass; parameter gradients are added up
 * (+=). */
void sm_pass_backward(sm_graph *);
void sm_pass_end(sm_graph *);
/* x is where one block of a network ends and the next begins: a backbone says so before its first block and
 * after each. Where the graph was asked to recompute, what was made between two borders is not kept for the
 * backward pass, but made again from the first of them when the gradient arrives, with the same bits; x
 * itself is kept. Else it does nothing. Returns x. (Chen et al. 2016, "Training Deep Nets with Sublinear
 * Memory Cost") */
sm_tensor *sm_block_border(sm_graph *, sm_tensor *x);
void sm_graph_recompute(sm_graph *, bool blocks); /* before the first pass; at first not */
/* Names of the tensors made between push and pop get this prefix ("blocks.3"). */
void sm_scope_push(sm_graph *, const char *fmt, ...) SM_PRINTF(2, 3);
void sm_scope_pop(sm_graph *);

/* Plan memory for all passes, as they will be run in order 0, 1, 2 … (any prefix may repeat). Reports the
 * first error of the building, SM_EUNSUPPORTED where an op has no kernel, or SM_ENOMEM. */
sm_status sm_graph_plan(sm_graph *, sm_error *);
/* Allocate what was planned, and nothing later; apart from planning so that `smalti plan` allocates nothing.
 * SM_ENOMEM. */
sm_status sm_graph_allocate(sm_graph *, sm_error *);
void sm_graph_run(sm_graph *, int pass); /* does nothing before sm_graph_allocate */

typedef struct sm_plan_line {
  const char *name, *kind; /* "input", "transient", "worker" */
  int64_t dim[SM_MAX_DIMS];
  int ndim;
  size_t bytes;
} sm_plan_line;
typedef struct sm_plan_report {
  size_t inputs;    /* bytes of inputs and states of the graph                */
  size_t transient; /* of planned whole tensors                               */
  size_t worker;    /* memory per worker × threads                            */
  size_t unshared;  /* what the transients would take without reuse           */
  int nodes, segments;
  double flops;                /* multiply-adds × 2 of every pass with the items that are valid now */
  const sm_plan_line *largest; /* sorted, owned by the graph                             */
  int n_largest;
} sm_plan_report;
void sm_graph_report(const sm_graph *, sm_plan_report *);

/* Time per op since the last reset, for `smalti bench` (off at first: it costs two clock reads per node and
 * group). */
typedef struct sm_profile_line {
  const char *pass, *op;
  double seconds; /* summed over workers */
  double flops;
  int64_t calls;
} sm_profile_line;
void sm_graph_profile(sm_graph *, bool on);
int sm_graph_profile_lines(const sm_graph *, sm_profile_line *out, int max);

/* Run a pass again looking at every written value; the first non-finite one in program order is named ("op
 * layer_norm made a NaN in student.blocks.3.norm1, item 5"). false if all are finite. *tensor (NULL is
 * allowed) and *item (-1 if it has none) say where. */
bool sm_graph_find_nonfinite(sm_graph *, int pass, char *what, size_t size, int64_t *item,
                             const sm_tensor **tensor);

/* ---- tensors without a maker --------------------------------------------------------------------------- */

/* What the host fills between passes: views, masks. Zeros at first. */
sm_tensor *sm_input(sm_graph *, const char *name, sm_dtype, int ndim, const int64_t *dim, sm_tensor *count);
/* The same in the graph's real dtype. */
sm_tensor *sm_input_real(sm_graph *, const char *name, int ndim, const int64_t *dim, sm_tensor *count);
sm_tensor *sm_count(sm_graph *, const char *name, int64_t capacity); /* (1) I32, the capacity at first */
/* A value that changes from step to step, like a learning rate: (1), real dtype. */
sm_tensor *sm_scalar(sm_graph *, const char *name, double value);
/* Kept between steps but not saved, such as sums over micro-batches: zeros at first, ops may add into
 * them. */
sm_tensor *sm_accumulator(sm_graph *, const char *name, int ndim, const int64_t *dim);
/* Keep what an op makes readable by the host. Before sm_graph_plan. */
void sm_keep(sm_graph *, sm_tensor *);

/* ---- values -------------------------------------------------------------------------------------------- */

/* Values go in and out between passes: n elements from element `first` on, counted row-major through the
 * whole tensor, converted to and from its dtype. first + n is at most sm_elements(). Nothing is checked and
 * nothing fails.
 *
 * The host can read inputs, scalars, counts, accumulators and parameters at any time; of what ops make, only
 * tensors that were kept (sm_keep) and loss terms, after their pass, until it runs again. All others share
 * memory, and what is read of them has no meaning. Before sm_graph_allocate writing does nothing, and reading
 * gives zeros (of a scalar or count: its value). */
void sm_write(sm_tensor *, int64_t first, int64_t n, const float *);
void sm_write_f64(sm_tensor *, int64_t first, int64_t n, const double *);
void sm_write_i32(sm_tensor *, int64_t first, int64_t n, const int32_t *);
void sm_write_u8(sm_tensor *, int64_t first, int64_t n, const uint8_t *);
void sm_fill(sm_tensor *, int64_t first, int64_t n, double value);
void sm_read(const sm_tensor *, int64_t first, int64_t n, float *);
void sm_read_f64(const sm_tensor *, int64_t first, int64_t n, double *);
void sm_read_i32(const sm_tensor *, int64_t first, int64_t n, int32_t *);
double sm_get(const sm_tensor *, int64_t element);
void sm_put(sm_tensor *scalar_or_count, double value); /* its value also before sm_graph_allocate */

/* ---- rows, pairs, targets ------------------------------------------------------------------------------ */

/* A list of tokens of a (B, T, D) tensor, as flat numbers b·T + t, each at most once; a list of T = 1 is one
 * of rows. Belongs to the graph; whoever made it fills it between passes. Ops read it as tensors. */
typedef struct sm_rows {
  int64_t capacity;
  sm_tensor *count;          /* (1) I32                            */
  sm_tensor *token;          /* (capacity) I32                     */
  sm_tensor *slot;           /* (B, T) I32: place in `token`, or -1 */
  struct sm_rows_host *host; /* private                            */
} sm_rows;
sm_rows *sm_rows_new(sm_graph *, const char *name, int64_t capacity, int64_t items, int64_t tokens,
                     sm_tensor *item_count);
/* In the order given; n is at most the capacity. Nothing happens before sm_graph_allocate. */
void sm_rows_set(sm_rows *, const int32_t *token, int64_t n);

/* What a backbone with `prefix` tokens before its N patches has to give when it is asked for its view (its
 * first token) and for some cells only: lists over its tokens (B, prefix + N), made from the wished `cells`
 * of (B, N). They follow by themselves when a pass runs after sm_rows_set was called on `cells`, or the
 * number of valid items changed (`items` is any tensor with these items: its dim[0] and count are looked at).
 * Asked again with the same arguments, the same lists come.
 *
 *   kept      of each valid item its first token, if the view is wanted, then its wished cells by number
 *   view      which rows of kept are first tokens; NULL where cells is NULL, since kept has no others, or
 *             where the view is not wanted
 *   patches   which rows of kept are cells, in the order of `cells`; NULL where cells is NULL
 *
 *   sm_token_rows rows = sm_rows_behind(g, in->pictures, N, cells, 1, true);
 *   x = sm_gather(g, x, rows.kept);                      // (B, T, D) → (rows, D): go on with these only
 *   view = rows.view ? sm_gather(g, x, rows.view) : x;   // (B, D)
 *   patches = sm_gather(g, x, rows.patches);             // (capacity of cells, D), as many as cells
 *
 * An error (sticky): no cells and no view; a view without a prefix; cells of other items or another N. */
typedef struct sm_token_rows {
  const sm_rows *kept, *view, *patches;
} sm_token_rows;
sm_token_rows sm_rows_behind(sm_graph *, const sm_tensor *items, int64_t n_cells, const sm_rows *cells,
                             int prefix, bool view);

/* Weighted pairs (prediction row, target row, weight): a loss is their weighted sum. Belongs to the graph. To
 * fill it between passes: begin, add pair by pair in ascending order of predictions, end. A row may have any
 * number of pairs, none too; one target may be in many.
 *
 *   sm_pairs_begin(p);
 *   ok = sm_pairs_add(p, 0, 3, 0.5) && sm_pairs_add(p, 0, 4, 0.5) && sm_pairs_add(p, 2, 3, 1);
 *   sm_pairs_end(p);
 *
 * sm_pairs_add gives false, and leaves the list as it is, if `capacity` pairs are in it, if the prediction is
 * lower than the one before or not below `predictions`, and before sm_graph_allocate. */
typedef struct sm_pairs {
  int64_t capacity, predictions;
  sm_tensor *first;           /* (predictions + 1) I32: pairs of row r are first[r] … first[r+1]-1 */
  sm_tensor *target;          /* (capacity) I32                                                   */
  sm_tensor *weight;          /* (capacity) real                                                  */
  int64_t filled, last;       /* pairs so far, prediction of the newest                           */
  struct sm_pairs_host *host; /* private                                                          */
} sm_pairs;
sm_pairs *sm_pairs_new(sm_graph *, const char *name, int64_t capacity, int64_t predictions);
void sm_pairs_begin(sm_pairs *);
bool sm_pairs_add(sm_pairs *, int64_t prediction, int64_t target, double weight);
void sm_pairs_end(sm_pairs *);

typedef enum {
  SM_TARGET_NONE = 0,
  SM_TARGET_DISTRIBUTION = 1,
  SM_TARGET_IDS = 2,
  SM_TARGET_VECTORS = 4
} sm_form;

/* What a tokenizer gives. A distribution is lazy: row r is softmax((logits[r] - shift) · scale). No gradient
 * flows here. */
typedef struct sm_target {
  sm_form form;
  int64_t dim;         /* K, or the length of a vector      */
  const sm_rows *rows; /* which tokens, or NULL             */
  sm_tensor *logits;   /* DISTRIBUTION: (R, K)              */
  sm_tensor *shift;    /* DISTRIBUTION: (K) or NULL         */
  sm_tensor *scale;    /* DISTRIBUTION: (1), 1/temperature  */
  sm_tensor *ids;      /* IDS: (R) I32                      */
  sm_tensor *vectors;  /* VECTORS: (R, dim)                 */
} sm_target;

/* ---- ops: tokens ---------------------------------------------------------------------------------------
 * An argument that does not fit is a sticky error. Weights are stored [out, in]. "No gradient": the backward
 * pass stops there. */

/* x wᵀ + b: x (…, C), w (N, C), b (N) or NULL → (…, N) */
sm_tensor *sm_linear(sm_graph *, sm_tensor *x, sm_tensor *w, sm_tensor *b);
/* x·Φ(x), exact (erf) form: Hendrycks & Gimpel 2016 */
sm_tensor *sm_gelu(sm_graph *, sm_tensor *x);
/* silu(a)·b of x = a|b: (…, 2S) → (…, S); silu(a) = a/(1 + exp(-a)): Shazeer 2020 */
sm_tensor *sm_swiglu(sm_graph *, sm_tensor *x);
/* Layer norm of parts of a row: of each of the `heads` pieces of d columns from column `first` on, all with
 * gain w and shift b (d); the other columns stay. Over the queries of (…, 3·heads·d): first 0, over the keys:
 * heads·d (qk-norm: Dehghani et al. 2023). */
sm_tensor *sm_head_norm(sm_graph *, sm_tensor *x, int first, int heads, sm_tensor *w, sm_tensor *b,
                        double eps);
/* Over the last dimension; gain w and shift b (D), or both NULL: none */
sm_tensor *sm_layer_norm(sm_graph *, sm_tensor *x, sm_tensor *w, sm_tensor *b, double eps);
/* x + drop[:, site]·gamma⊙f: gamma (D) is layer scale, or NULL; drop (B, sites) are drop-path factors 0 or
 * 1/keep, or NULL. */
sm_tensor *sm_residual(sm_graph *, sm_tensor *x, sm_tensor *f, sm_tensor *gamma, sm_tensor *drop, int site);
/* Multi-head self-attention, scale 1/sqrt(D/heads): qkv (B, T, 3D) as q|k|v, heads contiguous inside each →
 * (B, T, D) */
sm_tensor *sm_attention(sm_graph *, sm_tensor *qkv, int heads);
/* Softmax attention of the first token over all tokens, of which the first `prefix` are left out of the
 * result: (B, heads, T - prefix); no gradient. */
sm_tensor *sm_attention_map(sm_graph *, sm_tensor *qkv, int heads, int prefix);
/* (B, 3, H, W) → (B, N, 3·P·P), channel-major inside a patch as a convolution's weight (D, 3, P, P) */
sm_tensor *sm_patchify(sm_graph *, sm_tensor *pictures, int patch);
/* [CLS] | patches; where mask (B, N) U8 is 1 the patch is mask_token (1, D); then + pos (1, 1+N, D). cls (1,
 * 1, D). mask may be NULL, and so may pos. Without cls there are only the patches, and pos is (1, N, D): a
 * network without a class token hides its patches so. */
sm_tensor *sm_tokens(sm_graph *, sm_tensor *patches, sm_tensor *cls, sm_tensor *pos, sm_tensor *mask_token,
                     sm_tensor *mask);
/* Position embedding (1, 1+h0·w0, D) for another grid: bicubic a = -0.75 with scale (n+0.1)/n0, border
 * clamped, as DINO does. */
sm_tensor *sm_position_resize(sm_graph *, sm_tensor *pos, int h0, int w0, int h1, int w1);
/* The same for a table (1, prefix+h0·w0, D), whose first rows are copied, by the rule that weights were made
 * with:
 *
 *   SM_RESIZE_DINO       the above: DINO, iBOT, DINOv2 without registers
 *   SM_RESIZE_EXACT      scale n/n0, as torch's interpolate to a size: MAE, BEiT
 *   SM_RESIZE_ANTIALIAS  the same with antialias=True (a = -0.5; the window grows where the grid shrinks):
 *                        DINOv2 with registers, timm */
typedef enum { SM_RESIZE_DINO, SM_RESIZE_EXACT, SM_RESIZE_ANTIALIAS } sm_resize_rule;
sm_tensor *sm_position_resize_by(sm_graph *, sm_tensor *pos, sm_resize_rule, int prefix, int h0, int w0,
                                 int h1, int w1);
/* The rows of a list: x (B, T, D), or (B, D) with a list of T = 1 → (capacity, D), count of the list */
sm_tensor *sm_gather(sm_graph *, sm_tensor *x, const sm_rows *);
/* For each row of the list the values of its item: x (B, S) → (capacity, S); no gradient. */
sm_tensor *sm_gather_items(sm_graph *, sm_tensor *x, const sm_rows *);
/* Tokens of each item by its own index (B, N) I32: x (B, T, D) → (B, keep+N, D): the first `keep` tokens of
 * x, then x[skip + index], or `fill` (D; NULL: zeros) where the index is negative. keep ≤ skip, and skip +
 * index must be below T. */
sm_tensor *sm_take(sm_graph *, sm_tensor *x, int keep, int skip, sm_tensor *index, sm_tensor *fill);
/* The same tokens (1, R, D) into each item, before its token number `at`: x (B, T, D) → (B, T+R, D) */
sm_tensor *sm_insert_tokens(sm_graph *, sm_tensor *x, sm_tensor *tokens, int at);
/* (B, T, D) → (B, T-n, D) */
sm_tensor *sm_drop_prefix(sm_graph *, sm_tensor *x, int n);
/* (B, T, D) → (B, D): mean of the tokens behind the first n */
sm_tensor *sm_mean_tokens(sm_graph *, sm_tensor *x, int n);
/* x / max(‖x‖, eps) over the last dimension */
sm_tensor *sm_l2_normalize(sm_graph *, sm_tensor *x, double eps);
/* Weight normalisation over rows (Salimans & Kingma 2016): v (K, F), gain (K, 1) → gain·v/‖v‖. Asked for
 * again in a pass, it gives the same tensor. */
sm_tensor *sm_weight_norm(sm_graph *, sm_tensor *v, sm_tensor *gain);
/* (B, …, F) → (1, F): mean over valid items and middle dimensions; no gradient. */
sm_tensor *sm_mean_items(sm_graph *, sm_tensor *x);

/* ---- ops: windows and biases on attention --------------------------------------------------------------
 * A grid of tokens (B, height·width, C), row by row, is cut into windows, and attention stays inside each
 * (Liu et al. 2021, "Swin Transformer"). Attention with a bias over one window is also BEiT's. */

typedef struct sm_window {
  int rows, cols; /* tokens of a window, 1 … 64 a side                                                      */
  int prefix;     /* 0; 1: one token ([CLS]) stands before them                                             */
  int shift;      /* the grid is rolled by so many places up and to the left, around the edge; 0: it is not */
} sm_window;

/* Zeros below and to the right up to whole windows, then the roll, then window behind window: (B, windows·
 * rows·cols, C). sm_unwindows takes it back, without the zeros. */
sm_tensor *sm_windows(sm_graph *, sm_tensor *x, int height, int width, const sm_window *);
sm_tensor *sm_unwindows(sm_graph *, sm_tensor *x, int height, int width, const sm_window *);
/* What is added to logits, from a trained table ((2·rows-1)(2·cols-1), heads), a row for each relative
 * position; with a prefix it has three more: [CLS] to token, token to [CLS], [CLS] to itself (BEiT's order).
 * A query (y, x) and a key (y', x') have row (y-y'+rows-1)(2·cols-1) + x-x'+cols-1. Once made, it serves any
 * number of blocks; gradients go to the table. With a shift the last windows of the grid hold tokens of
 * different edges: their logits lose 100. → (1, or 4 with a shift, heads, T, T), T = prefix + rows·cols */
sm_tensor *sm_relative_bias(sm_graph *, sm_tensor *table, const sm_window *);
/* sm_attention in each window on its own, scale·q·k + bias before the softmax: qkv (B, windows·T, 3D) → (B,
 * windows·T, D). `bias` is from sm_relative_bias and says heads and T; across: how many windows stand in a
 * row of the grid, looked at where there is a shift. One window: a plain transformer's attention. */
sm_tensor *sm_attention_biased(sm_graph *, sm_tensor *qkv, sm_tensor *bias, int across);
/* 2×2 neighbours to one token, in the order (0, 0), (1, 0), (0, 1), (1, 1) of (row, column), zeros beyond an
 * odd edge → (B, ⌈height/2⌉·⌈width/2⌉, 4C) */
sm_tensor *sm_merge_tokens(sm_graph *, sm_tensor *x, int height, int width);
/* The way back of an even grid: (B, height·width, 4C) → (B, 2·height·2·width, C). With sm_linear to 4C before
 * it a transposed convolution of 2×2 with stride 2. */
sm_tensor *sm_split_tokens(sm_graph *, sm_tensor *x, int height, int width);
/* A mask (B, ⌈height/side⌉·⌈width/side⌉) U8 for a finer grid: each cell side × side times → (B,
 * height·width) U8; no gradient. */
sm_tensor *sm_repeat_cells(sm_graph *, sm_tensor *cells, int height, int width, int side);

/* ---- ops: small ---------------------------------------------------------------------------------------- */

sm_tensor *sm_add(sm_graph *, sm_tensor *a, sm_tensor *b); /* same shape */
sm_tensor *sm_mul(sm_graph *, sm_tensor *a, sm_tensor *b); /* same shape */
sm_tensor *sm_scale(sm_graph *, sm_tensor *x, double factor);
/* x·factor, a tensor (1) that may change from step to step; no gradient to the factor. */
sm_tensor *sm_scale_by(sm_graph *, sm_tensor *x, sm_tensor *factor);
/* → (1): over valid items, in a fixed order */
sm_tensor *sm_sum(sm_graph *, sm_tensor *x);
/* acc (K) += Σ rows of x (R, K); acc is an accumulator; no gradient. */
void sm_sum_rows_into(sm_graph *, sm_tensor *x, sm_tensor *acc);
/* acc (1) += valid items of x */
void sm_add_count_into(sm_graph *, sm_tensor *x, sm_tensor *acc);
/* state = m·state + (1-m)·sum/n, then sum = 0 and n = 0; n (1) real accumulator; does nothing where n is
 * 0. */
void sm_ema_update(sm_graph *, sm_tensor *state, sm_tensor *sum, sm_tensor *n, sm_tensor *momentum);
/* Balanced assignment of rows (R, K) to K columns by `iterations` rounds of Sinkhorn and Knopp, without
 * gradient: the shift (K) with which softmax((logits[r] - shift)·scale) is what SwAV and DINOv2
 * (sinkhorn_knopp_teacher) make of exp(logits·scale): every round divides each column by its sum over the
 * rows, then each row by its own. So shift = -ln(column factor)/scale; the last division of the rows is the
 * softmax's. Worked out with logarithms, so that no temperature overflows. Only valid rows are balanced;
 * without any the shift is 0. scale (1). */
sm_tensor *sm_sinkhorn(sm_graph *, sm_tensor *logits, sm_tensor *scale, int iterations);
/* ids[r] = argmax_k (logits[r,k] - shift[k]), the lowest k on ties; shift (K) or NULL; no gradient. */
sm_tensor *sm_argmax(sm_graph *, sm_tensor *logits, sm_tensor *shift);

/* ---- ops: pictures and discrete codes ------------------------------------------------------------------
 * A picture lies as tokens: (B, H·W, C), rows from the top, channels last; sm_patchify(g, pictures, 1) makes
 * one of (B, 3, H, W). A 1×1 convolution is sm_linear; what works number by number is shared with
 * transformers. */

/* Convolution with odd windows k, stride 1 and zeros outside, so that the size stays: w (O, C, k, k) as torch
 * has it, b (O) or NULL */
sm_tensor *sm_conv2d(sm_graph *, sm_tensor *x, sm_tensor *w, sm_tensor *b, int height, int width);
/* (O, k·k·C): the order in which its products read a weight; sm_conv2d asks for it, once per pass. */
sm_tensor *sm_conv_weight(sm_graph *, sm_tensor *w);
/* Convolution with windows of any side, a stride, a border of zeros, and groups (0 stands for 1, as in
 * torch.nn.functional.conv2d): x (B, H·W, C), w (O, C/groups, k, k), b (O) or NULL → (B, h·w, O) with h =
 * sm_window_count(height, k, stride, pad). Depthwise where groups = C = O. */
typedef struct sm_conv_shape {
  int height, width; /* of x */
  int stride, pad, groups;
} sm_conv_shape;
sm_tensor *sm_convolve(sm_graph *, sm_tensor *x, sm_tensor *w, sm_tensor *b, const sm_conv_shape *);
/* How many windows fit along `size` pixels with `pad` more at both ends; 0: none. */
int sm_window_count(int size, int side, int stride, int pad);
sm_tensor *sm_relu(sm_graph *, sm_tensor *x);
/* Batch normalisation (Ioffe & Szegedy 2015) of the last dimension over all valid rows of x, (B, C) or (B, N,
 * C); gain w and shift b (C). `training`: by mean and biased variance of these rows, and what
 * sm_running_update needs is added up; else by the running state. As torch.nn.BatchNorm2d. running NULL: no
 * state is kept, in training only. */
typedef struct sm_running {
  sm_tensor *mean, *var; /* (C) parameters declared with SM_ROW_RUNNING                            */
  double momentum;       /* how much of a step's statistics enters them (0.1: nine tenths are kept) */
} sm_running;
sm_tensor *sm_batch_norm(sm_graph *, sm_tensor *x, sm_tensor *w, sm_tensor *b, const sm_running *running,
                         double eps, bool training);
/* In a pass that runs once per step: every running state that sm_batch_norm has looked at in training since
 * the last call moves, state = (1 - momentum)·state + momentum·(mean over the rows since the last update of
 * the batches' mean, or unbiased variance). A state that several calls look at (global views, then local ones)
 * moves once for each, in their order; one whose batches were empty stays. Passes that train call it through
 * the core: plugins need not. */
void sm_running_update(sm_graph *);
bool sm_running_pending(const sm_graph *); /* is there anything to move? */
/* Windows of side × side every `stride` pixels (0: side), with a border that counts as nothing for the
 * largest and as zeros for the mean: (B, H·W, C) → (B, h·w, C), as torch.nn.MaxPool2d and AvgPool2d. Gradients
 * of the largest go to the first of equals. */
typedef struct sm_pool_shape {
  int height, width; /* of x */
  int side, stride, pad;
} sm_pool_shape;
sm_tensor *sm_pool_max(sm_graph *, sm_tensor *x, const sm_pool_shape *);
sm_tensor *sm_pool_mean(sm_graph *, sm_tensor *x, const sm_pool_shape *);
/* A map of height × width in another size: (B, H·W, C) → (B, to_height·to_width, C).
 *
 *   SM_RESAMPLE_BILINEAR  between the centres of pixels and constant beyond the outer ones, as torch's
 *                         interpolate without align_corners, which does not blur where the map shrinks
 *   SM_RESAMPLE_MEAN      the mean of rows ⌊i·H/h⌋ … ⌈(i+1)·H/h⌉-1, and of columns so, as torch's
 *                         adaptive_avg_pool2d */
typedef enum { SM_RESAMPLE_BILINEAR, SM_RESAMPLE_MEAN } sm_resample_rule;
sm_tensor *sm_resample(sm_graph *, sm_tensor *x, sm_resample_rule, int height, int width, int to_height,
                       int to_width);
/* Pixels of hidden cells become token (1, C): x (B, H·W, C), mask (B, N) U8 of cells of side × side pixels,
 * row by row. */
sm_tensor *sm_hide_cells(sm_graph *, sm_tensor *x, sm_tensor *token, sm_tensor *mask, int height, int width,
                         int side);
/* 2×2, stride 2 → (B, H·W/4, C) */
sm_tensor *sm_max_pool(sm_graph *, sm_tensor *x, int height, int width);
/* Nearest, twice the side → (B, 4·H·W, C) */
sm_tensor *sm_upsample(sm_graph *, sm_tensor *x, int height, int width);
/* softmax((logits + Gumbel noise)·inv_tau) over the last dimension (Jang et al. 2017; Maddison et al. 2017):
 * logits (B, T, K), inv_tau (1). key (3) I32: two words of key and the number of the first item, so that
 * noise depends on the item and not on its batch or thread. */
sm_tensor *sm_gumbel_softmax(sm_graph *, sm_tensor *logits, sm_tensor *inv_tau, sm_tensor *key);
/* (B, T, K) → (B): Σ over T of KL(softmax ‖ uniform), nats */
sm_tensor *sm_kl_uniform(sm_graph *, sm_tensor *logits);
/* → (B): Σ (p - x)²; no gradient to x */
sm_tensor *sm_squared_error(sm_graph *, sm_tensor *p, sm_tensor *x);
/* Negative log-likelihood (B) of x (B, T, C) in (0, 1) under the logit-Laplace distribution (Ramesh et al.
 * 2021, appendix A.3) with location p[…, :C] and log-scale p[…, C:], p (B, T, 2C). *error (NULL is allowed):
 * Σ (sigmoid(location) - x)² (B), no gradient. */
sm_tensor *sm_logit_laplace(sm_graph *, sm_tensor *p, sm_tensor *x, sm_tensor **error);

/* ---- ops: losses --------------------------------------------------------------------------------------- */

typedef struct sm_xent_out {
  sm_tensor *loss;  /* (R): Σ over the row's pairs of weight·CE */
  sm_tensor *stats; /* (R, 4): Σ over pairs of [1, student entropy, target entropy, argmax agrees] */
} sm_xent_out;
/* Softmax cross-entropy CE = -Σ_k q_k log softmax(logits·inv_tau)_k against distributions or ids, pair by
 * pair, in one pass over K: logits (R, K), inv_tau (1). It writes dL/dlogits over `logits`, so it must be
 * their only reader, and its loss must be given to sm_loss_term. */
sm_xent_out sm_xent(sm_graph *, sm_tensor *logits, sm_tensor *inv_tau, const sm_target *, const sm_pairs *);
/* Mean over the D numbers of a row of a penalty on prediction - target, pair by pair, prediction (R, D): the
 * rows' losses (R), Σ weight·mean. SM_L2 is x² (MAE), SM_L1 |x| (SimMIM), SM_SMOOTH_L1 x²/(2·beta) where |x|
 * < beta and |x| - beta/2 beyond (Girshick 2015, as torch.nn.SmoothL1Loss); only it looks at beta, which must
 * be above 0. */
typedef enum { SM_L2, SM_L1, SM_SMOOTH_L1 } sm_penalty;
sm_tensor *sm_regression(sm_graph *, sm_tensor *prediction, sm_penalty, double beta, const sm_target *,
                         const sm_pairs *);
/* Add the sum of all valid elements of t to the pass's loss (gradient 1 to each). t is kept. */
void sm_loss_term(sm_graph *, sm_tensor *t);

#ifdef __cplusplus
}
#endif
#endif

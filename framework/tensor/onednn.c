/* framework/tensor/onednn.c — the calls to oneDNN: a product is a compiled "matmul" of its shape, kept per thread.
 *
 * oneDNN would spread a product over threads of its own. Each of our threads tells OpenMP, once, that it stays alone: work is
 * cut by us, and bits do not depend on how many threads there are. */
#include "onednn.h"

#include <dnnl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
#include <omp.h>
#endif

#include <smalti/base.h>

enum { PLANS = 256, TRIES = 8 }; /* plans of a thread; places that a shape may have among them */
enum { LEFT, RIGHT, SUM, OPERANDS };

typedef struct plan {
  sm_onednn_shape shape;
  dnnl_primitive_t primitive; /* NULL: the place is free */
  dnnl_memory_t memory[OPERANDS];
} plan;
typedef struct worker {
  dnnl_stream_t stream;
  plan plan[PLANS];
} worker;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static dnnl_engine_t engine; /* NULL: oneDNN does not work here */

/* ---- plans --------------------------------------------------------------------------------------------- */

static void onednn_drop_plan(plan *p) {
  for (int i = 0; i < OPERANDS; i++)
    if (p->memory[i]) dnnl_memory_destroy(p->memory[i]);
  if (p->primitive) dnnl_primitive_destroy(p->primitive);
  *p = (plan){0};
}

static void onednn_drop_worker(void *at) {
  worker *w = at;
  for (int i = 0; i < PLANS; i++) onednn_drop_plan(&w->plan[i]);
  if (w->stream) dnnl_stream_destroy(w->stream);
  sm_free(w);
}

static void onednn_begin(void) {
  if (pthread_key_create(&key, onednn_drop_worker)) return;
  if (dnnl_engine_create(&engine, dnnl_cpu, 0) != dnnl_success) engine = NULL;
}

static worker *onednn_worker(void) {
  pthread_once(&once, onednn_begin);
  if (!engine) return NULL;
  worker *w = pthread_getspecific(key);
  if (w) return w;
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
  omp_set_num_threads(1); /* of those that this thread starts */
#endif
  if (!(w = sm_calloc(1, sizeof *w))) return NULL;
  if (dnnl_stream_create(&w->stream, engine, dnnl_stream_default_flags) != dnnl_success) {
    sm_free(w);
    return NULL;
  }
  if (pthread_setspecific(key, w)) {
    onednn_drop_worker(w);
    return NULL;
  }
  return w;
}

/* ---- making one ---------------------------------------------------------------------------------------- */

#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t layout;
static bool onednn_lay_out(layout *l, const dnnl_dim_t *dim, dnnl_data_type_t type, const dnnl_dim_t *stride) {
  return dnnl_memory_desc_create_with_strides(l, 2, dim, type, stride) == dnnl_success;
}
static bool onednn_describe(dnnl_primitive_desc_t *d, const layout *l, const_dnnl_primitive_attr_t attr) {
  return dnnl_matmul_primitive_desc_create(d, engine, l[LEFT], l[RIGHT], NULL, l[SUM], attr) == dnnl_success;
}
static bool onednn_bind(dnnl_memory_t *m, const layout *l) {
  return dnnl_memory_create(m, *l, engine, DNNL_MEMORY_NONE) == dnnl_success;
}
static void onednn_drop_layout(layout *l) {
  if (*l) dnnl_memory_desc_destroy(*l);
}
#else
typedef dnnl_memory_desc_t layout;
static bool onednn_lay_out(layout *l, const dnnl_dim_t *dim, dnnl_data_type_t type, const dnnl_dim_t *stride) {
  return dnnl_memory_desc_init_by_strides(l, 2, dim, type, stride) == dnnl_success;
}
static bool onednn_describe(dnnl_primitive_desc_t *d, const layout *l, const_dnnl_primitive_attr_t attr) {
  dnnl_matmul_desc_t matmul;
  return dnnl_matmul_desc_init(&matmul, &l[LEFT], &l[RIGHT], NULL, &l[SUM]) == dnnl_success &&
         dnnl_primitive_desc_create(d, &matmul, attr, engine, NULL) == dnnl_success;
}
static bool onednn_bind(dnnl_memory_t *m, const layout *l) {
  return dnnl_memory_create(m, l, engine, DNNL_MEMORY_NONE) == dnnl_success;
}
static void onednn_drop_layout(layout *l) { (void)l; }
#endif

/* Products of f32 stay products of f32, whatever the environment says to oneDNN. */
static bool onednn_compile(dnnl_primitive_t *primitive, const layout *l) {
  dnnl_primitive_attr_t attr = NULL;
  dnnl_primitive_desc_t d = NULL;
  bool good = dnnl_primitive_attr_create(&attr) == dnnl_success &&
              dnnl_primitive_attr_set_fpmath_mode(attr, dnnl_fpmath_mode_strict) == dnnl_success &&
              onednn_describe(&d, l, attr) && dnnl_primitive_create(primitive, d) == dnnl_success;
  if (d) dnnl_primitive_desc_destroy(d);
  if (attr) dnnl_primitive_attr_destroy(attr);
  return good;
}

static bool onednn_make_plan(plan *p, const sm_onednn_shape *s) {
  const dnnl_data_type_t operand = s->short_operands ? dnnl_bf16 : dnnl_f32;
  layout l[OPERANDS];
  memset(l, 0, sizeof l);
  bool good = onednn_lay_out(&l[LEFT], (dnnl_dims_t){s->m, s->k}, operand,
                             (dnnl_dims_t){s->ta ? 1 : s->lda, s->ta ? s->lda : 1}) &&
              onednn_lay_out(&l[RIGHT], (dnnl_dims_t){s->k, s->n}, operand,
                             (dnnl_dims_t){s->tb ? 1 : s->ldb, s->tb ? s->ldb : 1}) &&
              onednn_lay_out(&l[SUM], (dnnl_dims_t){s->m, s->n}, dnnl_f32, (dnnl_dims_t){s->ldc, 1}) &&
              onednn_compile(&p->primitive, l);
  for (int i = 0; i < OPERANDS; i++) good = good && onednn_bind(&p->memory[i], &l[i]);
  for (int i = 0; i < OPERANDS; i++) onednn_drop_layout(&l[i]);
  p->shape = *s;
  if (!good) onednn_drop_plan(p);
  return good;
}

static bool onednn_same(const sm_onednn_shape *a, const sm_onednn_shape *b) {
  return a->m == b->m && a->n == b->n && a->k == b->k && a->lda == b->lda && a->ldb == b->ldb &&
         a->ldc == b->ldc && a->ta == b->ta && a->tb == b->tb && a->short_operands == b->short_operands;
}

/* The plan of a shape, made if it is new, in the place of another one if there are too many. */
static plan *onednn_plan(worker *w, const sm_onednn_shape *s) {
  const uint64_t numbers[] = {(uint64_t)s->m,   (uint64_t)s->n,
                              (uint64_t)s->k,   (uint64_t)s->lda,
                              (uint64_t)s->ldb, (uint64_t)(s->ta + 2 * s->tb + 4 * s->short_operands)};
  const uint64_t hash = sm_hash64(numbers, sizeof numbers, 1);
  plan *p = NULL;
  for (int i = 0; i < TRIES; i++) {
    p = &w->plan[(hash + (uint64_t)i) % PLANS];
    if (p->primitive && onednn_same(&p->shape, s)) return p;
    if (!p->primitive) break;
  }
  onednn_drop_plan(p);
  return onednn_make_plan(p, s) ? p : NULL;
}

/* ---- for the kernels ----------------------------------------------------------------------------------- */

bool sm_onednn_product(const sm_onednn_shape *s, const void *a, const void *b, float *c) {
  worker *w = onednn_worker();
  plan *p = w ? onednn_plan(w, s) : NULL;
  if (!p) return false;
  /* its operands are not constant to oneDNN, which only reads them */
  const uintptr_t at[OPERANDS] = {(uintptr_t)a, (uintptr_t)b, (uintptr_t)c};
  for (int i = 0; i < OPERANDS; i++)
    if (dnnl_memory_set_data_handle(p->memory[i], (void *)at[i]) != dnnl_success) return false;
  const dnnl_exec_arg_t args[OPERANDS] = {{DNNL_ARG_SRC, p->memory[LEFT]},
                                          {DNNL_ARG_WEIGHTS, p->memory[RIGHT]},
                                          {DNNL_ARG_DST, p->memory[SUM]}};
  return dnnl_primitive_execute(p->primitive, w->stream, OPERANDS, args) == dnnl_success &&
         dnnl_stream_wait(w->stream) == dnnl_success;
}

/* ---- what it finds ------------------------------------------------------------------------------------- */

/* Bits of sets of instructions: each holds those that it needs. */
static bool onednn_has(dnnl_cpu_isa_t isa) { return (dnnl_get_effective_cpu_isa() & isa) == isa; }

bool sm_onednn_has_bf16(void) { return onednn_has(dnnl_cpu_isa_avx512_core_bf16); }
bool sm_onednn_has_matrix(void) { return onednn_has(dnnl_cpu_isa_avx512_core_amx); }

const char *sm_onednn_text(char *buf, size_t size) {
  const dnnl_version_t *v = dnnl_version();
  snprintf(buf, size, "oneDNN %d.%d.%d for %s", v->major, v->minor, v->patch,
           sm_onednn_has_matrix()                 ? "AMX"
           : sm_onednn_has_bf16()                 ? "AVX-512 with BF16"
           : onednn_has(dnnl_cpu_isa_avx512_core) ? "AVX-512"
           : onednn_has(dnnl_cpu_isa_avx2)        ? "AVX2"
                                                  : "SSE4.1");
  return buf;
}

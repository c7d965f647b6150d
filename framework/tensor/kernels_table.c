/* framework/tensor/kernels_table.c — which kernel table this processor gets, and the scratch that kernels
 * need.
 *
 * An instruction set is offered only if the processor has every feature its compiler flags may use: x86-64-v3
 * and v4 are more than "AVX2" and "AVX-512F". The baseline is whatever the compiler targets, with OpenBLAS's products;
 * neon the same on aarch64 with products of our own. Paths whose products are oneDNN's are taken where they are asked
 * for, and without a word where the processor multiplies matrices of bf16 (AMX). */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "kernels.h"

#ifdef HAVE_ONEDNN
#include "onednn.h"
#endif

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define TABLES(isa) \
  extern const sm_kernel_table sm_kernels_##isa##_f32, sm_kernels_##isa##_f64, sm_kernels_##isa##_bf16
TABLES(baseline);
TABLES(avx2);
TABLES(avx512);
TABLES(avx512_bf16);
TABLES(neon);
TABLES(avx2_onednn);
TABLES(avx512_onednn);
TABLES(avx512_bf16_onednn);
TABLES(plain);

/* ---- the processor -------------------------------------------------------------------------- */

static bool kernels_table_always(void) { return true; }
#ifdef HAVE_ONEDNN
static bool kernels_table_never(void) { return false; }
#endif

#ifdef HAVE_AVX2_BUILD
/* x86-64-v3; __builtin_cpu_supports also asks the operating system for the wide registers. */
static bool kernels_table_has_v3(void) {
  unsigned a, b, c, d, extended;
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx") || !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
      !__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2"))
    return false;
  /* not known to every compiler's __builtin_cpu_supports: MOVBE and F16C, then LZCNT */
  if (!__get_cpuid(1, &a, &b, &c, &d) || !__get_cpuid(0x80000001u, &a, &b, &extended, &d)) return false;
  return (c & 1u << 22) && (c & 1u << 29) && (extended & 1u << 5);
}
#endif

#ifdef HAVE_AVX512_BUILD
static bool kernels_table_has_v4(void) {
  unsigned a, b, c, d, extended;
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512cd") || !__builtin_cpu_supports("avx512dq") ||
      !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("fma") ||
      !__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2"))
    return false;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !__get_cpuid(0x80000001u, &a, &b, &extended, &d)) return false;
  return (c & 1u << 22) && (c & 1u << 29) && (extended & 1u << 5);
}
#endif

#ifdef HAVE_AVX512_BF16_BUILD
static bool kernels_table_has_v4_bf16(void) { /* leaf 7.1: AVX512_BF16 */
  unsigned a, b, c, d;
  return kernels_table_has_v4() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 5);
}
#endif

/* clang-format off */
#define OF(isa) &sm_kernels_##isa##_f32, &sm_kernels_##isa##_f64, &sm_kernels_##isa##_bf16
static const struct {
  const char *isa;
  bool (*supported)(void);
  bool (*chosen)(void); /* without being asked for, where it is supported */
  const sm_kernel_table *f32, *f64, *bf16;
} fast[] = {
/* best first */
#if defined HAVE_ONEDNN && defined HAVE_AVX512_BF16_BUILD
    {"avx512_bf16_onednn", kernels_table_has_v4_bf16, sm_onednn_has_matrix,
     &sm_kernels_avx512_f32, &sm_kernels_avx512_f64, &sm_kernels_avx512_bf16_onednn_bf16},
#endif
#ifdef HAVE_AVX512_BF16_BUILD
    {"avx512_bf16", kernels_table_has_v4_bf16, kernels_table_always,
     &sm_kernels_avx512_f32, &sm_kernels_avx512_f64, &sm_kernels_avx512_bf16_bf16},
#endif
#ifdef HAVE_AVX512_BUILD
    {"avx512", kernels_table_has_v4, kernels_table_always, OF(avx512)},
#ifdef HAVE_ONEDNN
    {"avx512_onednn", kernels_table_has_v4, kernels_table_never,
     &sm_kernels_avx512_onednn_f32, &sm_kernels_avx512_f64, &sm_kernels_avx512_onednn_bf16},
#endif
#endif
#ifdef HAVE_AVX2_BUILD
    {"avx2", kernels_table_has_v3, kernels_table_always, OF(avx2)},
#ifdef HAVE_ONEDNN
    {"avx2_onednn", kernels_table_has_v3, kernels_table_never,
     &sm_kernels_avx2_onednn_f32, &sm_kernels_avx2_f64, &sm_kernels_avx2_onednn_bf16},
#endif
#endif
#ifdef HAVE_NEON_BUILD
    {"neon", kernels_table_always, kernels_table_always, OF(neon)},
#endif
    {"baseline", kernels_table_always, kernels_table_always, OF(baseline)},
};
/* clang-format on */
enum { PATHS = sizeof fast / sizeof *fast };

/* The best one if isa is NULL; the last one always is supported. */
static int kernels_table_path(const char *isa) {
  for (int k = 0; k < PATHS; k++)
    if ((isa ? !strcmp(isa, fast[k].isa) : fast[k].chosen()) && fast[k].supported()) return k;
  return PATHS;
}

const sm_kernel_table *sm_kernels_find(sm_device device, sm_dtype real, const char *isa) {
  if (real != SM_F32 && real != SM_F64 && real != SM_BF16) return NULL;
  if (device == SM_PLAIN) {
    if (isa && strcmp(isa, sm_kernels_plain_f32.isa) != 0) return NULL;
    return real == SM_F64 ? &sm_kernels_plain_f64 : &sm_kernels_plain_f32;
  }
  const int k = device == SM_CPU ? kernels_table_path(isa) : PATHS;
  if (k == PATHS) return NULL;
  return real == SM_F32 ? fast[k].f32 : real == SM_F64 ? fast[k].f64 : fast[k].bf16;
}

const char *sm_isa_find(const char *name) {
  const int k = kernels_table_path(strcmp(name, "native") != 0 ? name : NULL);
  return k < PATHS ? fast[k].isa : NULL;
}

const char *sm_isa_list(char *buf, size_t size) {
  size_t used = 0;
  if (size) *buf = 0;
  for (int k = 0; k < PATHS && used < size; k++)
    if (fast[k].supported())
      used += (size_t)snprintf(buf + used, size - used, "%s%s", used ? ", " : "", fast[k].isa);
  return buf;
}

/* ---- what kernels need ---------------------------------------------------------------------- */

/* At least T doubles, which is what the plain kernels use. */
static size_t kernels_table_score_block(const sm_node *n, int64_t tokens, int matrices) {
  int64_t queries = tokens < SM_QUERY_BLOCK ? tokens : SM_QUERY_BLOCK;
  size_t real = n->in[0]->dtype == SM_F64 ? sizeof(double) : sizeof(float); /* also where qkv is narrow */
  size_t fast_bytes = (size_t)(matrices * queries * sm_score_stride(tokens)) * real;
  size_t plain_bytes = (size_t)(2 * tokens) * sizeof(double);
  return fast_bytes > plain_bytes ? fast_bytes : plain_bytes;
}

size_t sm_scratch_attention(const sm_node *n, int64_t items) {
  (void)items; /* one head at a time */
  return kernels_table_score_block(n, n->in[0]->dim[1], 1);
}

size_t sm_scratch_attention_dx(const sm_node *n, int64_t items) {
  (void)items;
  return kernels_table_score_block(n, n->in[0]->dim[1], 2);
}

size_t sm_scratch_attention_biased(const sm_node *n, int64_t items) {
  (void)items; /* one head of one window at a time */
  return kernels_table_score_block(n, n->in[1]->dim[2], 1);
}

/* Scores, their gradient, its sum over windows, and a head's table. */
size_t sm_scratch_attention_biased_dx(const sm_node *n, int64_t items) {
  (void)items;
  const int64_t table = n->out[1] ? n->out[1]->dim[1] : 0;
  return kernels_table_score_block(n, n->in[1]->dim[2], 3) + (size_t)table * sizeof(double);
}

size_t sm_scratch_conv(const sm_node *n, int64_t items) {
  int64_t k = n->i[2] * n->i[2] * n->in[0]->dim[n->in[0]->ndim - 1];
  (void)items; /* some rows at a time */
  return (size_t)(sm_conv_rows(k) * k) * sm_dtype_size(n->in[0]->dtype);
}

size_t sm_scratch_conv_dw(const sm_node *n, int64_t items) {
  (void)items; /* one tile's sums, and its windows so many deep */
  return (size_t)((SM_PRODUCT_TILE + SM_CONV_DEPTH) * SM_PRODUCT_TILE) * sm_dtype_size(n->in[0]->dtype);
}

size_t sm_scratch_convolve(const sm_node *n, int64_t items) {
  int64_t k = n->in[1]->dim[1]; /* of the ordered weight (O, k·k·C/groups) */
  (void)items;
  return (size_t)(sm_convolve_rows(k) * k) * sm_dtype_size(n->in[0]->dtype);
}

size_t sm_scratch_xent(const sm_node *n, int64_t items) {
  (void)items; /* one row at a time; doubles, which is what the plain kernels use */
  return (size_t)(3 * n->in[0]->dim[1]) * sizeof(double);
}

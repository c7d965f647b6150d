/* framework/tensor/kernels_variant.h — private: all fast kernels of one (instruction set, real type), and
 * their table.
 *
 * Included by kernels_f32.c, kernels_f64.c and kernels_bf16.c (f32 with products of bf16), which define
 * SM_REAL_F64 and SM_BF16_PRODUCTS; each is compiled once for every instruction set with that set's compiler
 * flags and -DSM_ISA=avx512_bf16, avx512, avx2 or baseline. Nothing but the table is visible outside. */
#include "simd.h"
#include "kernels_vector.h"
#include "kernels_pack.h"
#include "kernels_gemm.h"

#if SM_REAL_F64
#define REAL_SQRT sqrt
#define REAL_LOG log
#define REAL_NAME f64
#define REAL_DTYPE SM_F64
#else
#define REAL_SQRT sqrtf
#define REAL_LOG logf
#define REAL_DTYPE SM_F32
#if SM_BF16_PRODUCTS
#define REAL_NAME bf16
#else
#define REAL_NAME f32
#endif
#endif

#include "kernels_columns.h"
#include "kernels_linear.h"
#include "kernels_pointwise.h"
#include "kernels_norm.h"
#include "kernels_attention.h"
#include "kernels_tokens.h"
#include "kernels_rows.h"
#include "kernels_loss.h"
#include "kernels_conv.h"
#include "kernels_codes.h"
#include "kernels_sweep.h"
#include "kernels_peak.h"

#define TABLE_NAME(isa, real) TABLE_NAME_(isa, real)
#define TABLE_NAME_(isa, real) sm_kernels_##isa##_##real
#define TEXT(word) TEXT_(word)
#define TEXT_(word) #word

static const sm_sweeps sweeps = {sweep_sum_squares, sweep_adamw,   sweep_sgd,  sweep_ema,
                                 sweep_product,     sweep_peak,    sweep_product_columns};

extern const sm_kernel_table TABLE_NAME(SM_ISA, REAL_NAME);
const sm_kernel_table TABLE_NAME(SM_ISA, REAL_NAME) = {
    .isa = TEXT(SM_ISA),
    .real = REAL_DTYPE,
    .run =
        {
#define X(op) [SM_OP_##op] = k_##op,
#include "ops.def"
#undef X
        },
    .sweeps = &sweeps,
};

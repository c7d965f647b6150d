/* framework/tensor/kernels_bf16.c — the fast kernels in f32 whose matrix products take bf16 operands; see
 * kernels_variant.inc. */
#define SM_REAL_F64 0
#define SM_BF16_PRODUCTS 1
#include "kernels_variant.inc"

/* framework/tensor/kernels_f32.c — the fast kernels in f32; see kernels_variant.inc. */
#define SM_REAL_F64 0
#define SM_BF16_PRODUCTS 0
#include "kernels_variant.inc"

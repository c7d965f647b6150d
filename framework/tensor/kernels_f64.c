/* framework/tensor/kernels_f64.c — the fast kernels in f64; see kernels_variant.inc. */
#define SM_REAL_F64 1
#define SM_BF16_PRODUCTS 0
#include "kernels_variant.inc"

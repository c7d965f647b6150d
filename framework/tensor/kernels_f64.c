/* framework/tensor/kernels_f64.c — the fast kernels in f64, for gradient checks; see kernels_variant.h. */
#define SM_REAL_F64 1
#include "kernels_variant.h"

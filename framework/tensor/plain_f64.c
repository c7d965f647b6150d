/* framework/tensor/plain_f64.c — the reference kernels in f64; see plain.inc. */
#define SM_REAL_F64 1
#include "plain.inc"

/* framework/tensor/plain_f32.c — the reference kernels in f32; see plain.inc. */
#define SM_REAL_F64 0
#include "plain.inc"

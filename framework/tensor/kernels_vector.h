/* framework/tensor/kernels_vector.h — private: whole registers, for the few loops that a compiler cannot be
 * left alone with: matrix products, their packing, the peak. Included by kernels_variant.h.
 *
 * The compiler's vector extension instead of intrinsics: one source for every processor, registers as wide as
 * the instruction set has them. */

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

#if SM_REAL_F64
#define VECTOR_LANES (VECTOR_BYTES / 8)
#else
#define VECTOR_LANES (VECTOR_BYTES / 4)
#endif

typedef real vector __attribute__((vector_size(VECTOR_BYTES)));
typedef real loose_vector __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real)), may_alias));

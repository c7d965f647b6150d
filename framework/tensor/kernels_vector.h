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

/* Products are our own where registers are wide enough to win, and where OpenBLAS has none: of bf16. */
#define OWN_PRODUCTS (VECTOR_BYTES > 16 || SM_BF16_PRODUCTS)

/* An *operand* is what one multiply-add takes: a real; or, where the processor multiplies bf16, a pair of two
 * neighbours in k, the even one in the lower half (OPERAND_K = 2). Without such instructions the bf16 kernels
 * round reals to bf16's 8 bits and multiply those: the same inputs, another order of addition. */
#if SM_BF16_PRODUCTS && defined(__AVX512BF16__)
#include <immintrin.h> /* the one place with intrinsics: no vector extension multiplies bf16 */
#define OPERAND_K 2
typedef uint32_t operand;
#else
#define OPERAND_K 1
typedef real operand;
#endif
typedef operand operand_vector __attribute__((vector_size(VECTOR_BYTES)));
typedef operand loose_operands
    __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(operand)), may_alias));

# framework/tensor. The fast kernels are compiled from one source once for every instruction set and precision; the
# processor's features choose among them at run time. The plain ones are the tests' oracle.

tensor_kernel_sources = \
  framework/tensor/kernels_bf16.c \
  framework/tensor/kernels_f32.c \
  framework/tensor/kernels_f64.c \
  framework/tensor/kernels.h \
  framework/tensor/memory.h \
  framework/tensor/kernels_attention.inc \
  framework/tensor/kernels_batch.inc \
  framework/tensor/kernels_codes.inc \
  framework/tensor/kernels_columns.inc \
  framework/tensor/kernels_conv.inc \
  framework/tensor/kernels_convolve.inc \
  framework/tensor/kernels_gemm.inc \
  framework/tensor/kernels_linear.inc \
  framework/tensor/kernels_loss.inc \
  framework/tensor/kernels_maps.inc \
  framework/tensor/kernels_norm.inc \
  framework/tensor/kernels_onednn.inc \
  framework/tensor/kernels_pack.inc \
  framework/tensor/kernels_peak.inc \
  framework/tensor/kernels_pointwise.inc \
  framework/tensor/kernels_rows.inc \
  framework/tensor/kernels_sequence.inc \
  framework/tensor/kernels_sweep.inc \
  framework/tensor/kernels_tile.inc \
  framework/tensor/kernels_tokens.inc \
  framework/tensor/kernels_variant.inc \
  framework/tensor/kernels_vector.inc \
  framework/tensor/kernels_windows.inc \
  framework/tensor/ops.def \
  framework/tensor/simd.h

noinst_LTLIBRARIES += framework/tensor/libkernels_baseline.la
framework_tensor_libkernels_baseline_la_SOURCES = $(tensor_kernel_sources)
framework_tensor_libkernels_baseline_la_CPPFLAGS = $(AM_CPPFLAGS) -DSM_ISA=baseline
framework_tensor_libkernels_baseline_la_CFLAGS = $(AM_CFLAGS) $(SM_KERNEL_CFLAGS)
libsmalti_la_LIBADD += framework/tensor/libkernels_baseline.la

if HAVE_AVX2_BUILD
noinst_LTLIBRARIES += framework/tensor/libkernels_avx2.la
framework_tensor_libkernels_avx2_la_SOURCES = $(tensor_kernel_sources)
framework_tensor_libkernels_avx2_la_CPPFLAGS = $(AM_CPPFLAGS) -DSM_ISA=avx2
framework_tensor_libkernels_avx2_la_CFLAGS = $(AM_CFLAGS) $(SM_KERNEL_CFLAGS) $(SM_AVX2_CFLAGS)
libsmalti_la_LIBADD += framework/tensor/libkernels_avx2.la
endif

if HAVE_AVX512_BUILD
noinst_LTLIBRARIES += framework/tensor/libkernels_avx512.la
framework_tensor_libkernels_avx512_la_SOURCES = $(tensor_kernel_sources)
framework_tensor_libkernels_avx512_la_CPPFLAGS = $(AM_CPPFLAGS) -DSM_ISA=avx512
framework_tensor_libkernels_avx512_la_CFLAGS = $(AM_CFLAGS) $(SM_KERNEL_CFLAGS) $(SM_AVX512_CFLAGS)
libsmalti_la_LIBADD += framework/tensor/libkernels_avx512.la
endif

if HAVE_AVX512_BF16_BUILD
noinst_LTLIBRARIES += framework/tensor/libkernels_avx512_bf16.la
framework_tensor_libkernels_avx512_bf16_la_SOURCES = framework/tensor/kernels_bf16.c
framework_tensor_libkernels_avx512_bf16_la_CPPFLAGS = $(AM_CPPFLAGS) -DSM_ISA=avx512_bf16
framework_tensor_libkernels_avx512_bf16_la_CFLAGS = $(AM_CFLAGS) $(SM_KERNEL_CFLAGS) $(SM_AVX512_BF16_CFLAGS)
libsmalti_la_LIBADD += framework/tensor/libkernels_avx512_bf16.la
endif

if HAVE_NEON_BUILD
noinst_LTLIBRARIES += framework/tensor/libkernels_neon.la
framework_tensor_libkernels_neon_la_SOURCES = $(tensor_kernel_sources)
framework_tensor_libkernels_neon_la_CPPFLAGS = $(AM_CPPFLAGS) -DSM_ISA=neon -DSM_MANY_REGISTERS
framework_tensor_libkernels_neon_la_CFLAGS = $(AM_CFLAGS) $(SM_KERNEL_CFLAGS) $(SM_NEON_CFLAGS)
libsmalti_la_LIBADD += framework/tensor/libkernels_neon.la
endif

# The same kernels with oneDNN's products, which has none of f64.
if HAVE_ONEDNN
libsmalti_la_SOURCES += framework/tensor/onednn.c
libsmalti_la_LIBADD += $(ONEDNN_LIBS)
if HAVE_AVX2_BUILD
noinst_LTLIBRARIES += framework/tensor/libkernels_avx2_onednn.la
framework_tensor_libkernels_avx2_onednn_la_SOURCES = framework/tensor/kernels_bf16.c framework/tensor/kernels_f32.c
framework_tensor_libkernels_avx2_onednn_la_CPPFLAGS = $(AM_CPPFLAGS) -DSM_ISA=avx2_onednn -DSM_ONEDNN
framework_tensor_libkernels_avx2_onednn_la_CFLAGS = $(AM_CFLAGS) $(SM_KERNEL_CFLAGS) $(SM_AVX2_CFLAGS)
libsmalti_la_LIBADD += framework/tensor/libkernels_avx2_onednn.la
endif
if HAVE_AVX512_BUILD
noinst_LTLIBRARIES += framework/tensor/libkernels_avx512_onednn.la
framework_tensor_libkernels_avx512_onednn_la_SOURCES = framework/tensor/kernels_bf16.c framework/tensor/kernels_f32.c
framework_tensor_libkernels_avx512_onednn_la_CPPFLAGS = $(AM_CPPFLAGS) -DSM_ISA=avx512_onednn -DSM_ONEDNN
framework_tensor_libkernels_avx512_onednn_la_CFLAGS = $(AM_CFLAGS) $(SM_KERNEL_CFLAGS) $(SM_AVX512_CFLAGS)
libsmalti_la_LIBADD += framework/tensor/libkernels_avx512_onednn.la
endif
if HAVE_AVX512_BF16_BUILD
noinst_LTLIBRARIES += framework/tensor/libkernels_avx512_bf16_onednn.la
framework_tensor_libkernels_avx512_bf16_onednn_la_SOURCES = framework/tensor/kernels_bf16.c
framework_tensor_libkernels_avx512_bf16_onednn_la_CPPFLAGS = $(AM_CPPFLAGS) -DSM_ISA=avx512_bf16_onednn -DSM_ONEDNN
framework_tensor_libkernels_avx512_bf16_onednn_la_CFLAGS = $(AM_CFLAGS) $(SM_KERNEL_CFLAGS) $(SM_AVX512_BF16_CFLAGS)
libsmalti_la_LIBADD += framework/tensor/libkernels_avx512_bf16_onednn.la
endif
endif

# The oracle, which nobody waits for: gcc 12 for aarch64 dies of an internal error where it makes vectors of these loops.
noinst_LTLIBRARIES += framework/tensor/libplain.la
framework_tensor_libplain_la_SOURCES = \
  framework/tensor/plain_f32.c \
  framework/tensor/plain_f64.c \
  framework/tensor/plain.inc \
  framework/tensor/plain_blocks.inc \
  framework/tensor/plain_batch.inc \
  framework/tensor/plain_conv.inc \
  framework/tensor/plain_convolve.inc \
  framework/tensor/plain_loss.inc \
  framework/tensor/plain_rows.inc \
  framework/tensor/plain_windows.inc \
  framework/tensor/plain_sequence.inc
framework_tensor_libplain_la_CFLAGS = $(AM_CFLAGS) $(SM_PLAIN_CFLAGS)
libsmalti_la_LIBADD += framework/tensor/libplain.la

pkginclude_HEADERS += framework/include/smalti/tensor.h framework/include/smalti/op.h
libsmalti_la_SOURCES += \
  framework/tensor/autodiff.c \
  framework/tensor/backend.c \
  framework/tensor/backend.h \
  framework/tensor/exec.c \
  framework/tensor/graph.c \
  framework/tensor/graph.h \
  framework/tensor/ops_batch.c \
  framework/tensor/ops_codes.c \
  framework/tensor/ops_conv.c \
  framework/tensor/ops_convolve.c \
  framework/tensor/ops_dense.c \
  framework/tensor/ops_maps.c \
  framework/tensor/ops_sequence.c \
  framework/tensor/ops_small.c \
  framework/tensor/ops_tokens.c \
  framework/tensor/ops_windows.c \
  framework/tensor/places.c \
  framework/tensor/plan.c \
  framework/tensor/plan.h \
  framework/tensor/products.c \
  framework/tensor/rows.c \
  framework/tensor/segments.c \
  framework/tensor/tiles.c \
  framework/tensor/values.c \
  framework/tensor/kernels_table.c \
  framework/tensor/onednn.h

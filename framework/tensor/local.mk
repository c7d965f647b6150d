# framework/tensor. Kernels are built from one source once for each kind of processor:
#
#   noinst_LTLIBRARIES += framework/tensor/libkernels_avx2.la     (inside "if HAVE_AVX2_BUILD")
#   framework_tensor_libkernels_avx2_la_SOURCES = framework/tensor/kernels.c
#   framework_tensor_libkernels_avx2_la_CFLAGS = $(AM_CFLAGS) $(SM_KERNEL_CFLAGS) $(SM_AVX2_CFLAGS)
#   framework_tensor_libkernels_avx2_la_CPPFLAGS = $(AM_CPPFLAGS) -DSM_KERNEL_LEVEL=avx2
#   libsmalti_la_LIBADD += framework/tensor/libkernels_avx2.la

# framework/image: read, resize, augment, draw, write pictures.
#
# All of it is built without contracted multiply-adds, and the pixel loops once for each kind of processor; so every
# processor gives the same bytes.
pkginclude_HEADERS += framework/include/smalti/image.h framework/include/smalti/corrupt.h

image_cflags = $(AM_CFLAGS) $(SM_KERNEL_CFLAGS) -ffp-contract=off

noinst_LTLIBRARIES += framework/image/libimage.la
framework_image_libimage_la_SOURCES = \
  framework/image/affine.c framework/image/augment.h \
  framework/image/blur.c \
  framework/image/colour.c \
  framework/image/corrupt.c framework/image/corrupt.h \
  framework/image/corrupt_blur.c framework/image/corrupt_colour.c \
  framework/image/corrupt_noise.c framework/image/corrupt_own.c \
  framework/image/decode.c \
  framework/image/hsv.c \
  framework/image/dispatch.c \
  framework/image/draw.c \
  framework/image/image.c \
  framework/image/jpeg.c \
  framework/image/kernels.c \
  framework/image/labels.c \
  framework/image/lanes.h \
  framework/image/limits.c \
  framework/image/planes.h \
  framework/image/png.c \
  framework/image/probe.c \
  framework/image/randaugment.c \
  framework/image/resize.c \
  framework/image/view.c \
  framework/image/webp.c
framework_image_libimage_la_CFLAGS = $(image_cflags)
libsmalti_la_LIBADD += framework/image/libimage.la

if HAVE_AVX2_BUILD
noinst_LTLIBRARIES += framework/image/libkernels_avx2.la
framework_image_libkernels_avx2_la_SOURCES = framework/image/kernels.c
framework_image_libkernels_avx2_la_CFLAGS = $(image_cflags) $(SM_AVX2_CFLAGS)
framework_image_libkernels_avx2_la_CPPFLAGS = $(AM_CPPFLAGS) -DSM_PIXEL_LEVEL=avx2
libsmalti_la_LIBADD += framework/image/libkernels_avx2.la
endif

if HAVE_AVX512_BUILD
noinst_LTLIBRARIES += framework/image/libkernels_avx512.la
framework_image_libkernels_avx512_la_SOURCES = framework/image/kernels.c
framework_image_libkernels_avx512_la_CFLAGS = $(image_cflags) $(SM_AVX512_CFLAGS)
framework_image_libkernels_avx512_la_CPPFLAGS = $(AM_CPPFLAGS) -DSM_PIXEL_LEVEL=avx512
libsmalti_la_LIBADD += framework/image/libkernels_avx512.la
endif

check_PROGRAMS += tests/unit/test_image_ops tests/unit/test_image_view tests/unit/test_image_webp
tests_unit_test_image_ops_SOURCES = tests/unit/test_image_ops.c tests/unit/golden.c tests/unit/golden.h
tests_unit_test_image_ops_LDADD = $(LDADD) $(CJSON_LIBS)
check_PROGRAMS += tests/unit/test_image_formats tests/unit/test_image_files
tests_unit_test_image_formats_SOURCES = tests/unit/test_image_formats.c tests/unit/picture_rig.h
tests_unit_test_image_formats_LDADD = $(LDADD) $(JPEG_LIBS) $(PNG_LIBS)
tests_unit_test_image_files_SOURCES = tests/unit/test_image_files.c tests/unit/picture_rig.h
tests_unit_test_image_files_LDADD = $(LDADD) $(JPEG_LIBS) $(PNG_LIBS)
EXTRA_DIST += tests/golden/augment.safetensors

check_PROGRAMS += tests/unit/test_randaugment
tests_unit_test_randaugment_SOURCES = tests/unit/test_randaugment.c tests/unit/golden.c tests/unit/golden.h
tests_unit_test_randaugment_LDADD = $(LDADD) $(CJSON_LIBS)
EXTRA_DIST += tests/golden/randaugment.py tests/golden/randaugment.safetensors

check_PROGRAMS += tests/unit/test_corrupt
tests_unit_test_corrupt_SOURCES = tests/unit/test_corrupt.c tests/unit/golden.c tests/unit/golden.h
tests_unit_test_corrupt_LDADD = $(LDADD) $(CJSON_LIBS)
EXTRA_DIST += tests/golden/corruptions.safetensors

# framework/base: errors, memory, text, randomness, threads, log and files
pkginclude_HEADERS += framework/include/smalti/base.h
libsmalti_la_SOURCES += \
  framework/base/arena.c \
  framework/base/bind.c framework/base/bind.h \
  framework/base/cpu.c framework/base/cpu.h \
  framework/base/error.c \
  framework/base/file.c \
  framework/base/folder.c framework/base/path.h \
  framework/base/hash.c framework/base/hash.h \
  framework/base/heap.c framework/base/heap.h \
  framework/base/io.c framework/base/io.h \
  framework/base/listing.c \
  framework/base/log.c \
  framework/base/mapped.c framework/base/mapped.h \
  framework/base/nearest.c \
  framework/base/number.c \
  framework/base/pool.c \
  framework/base/rng.c \
  framework/base/sleepers.c framework/base/sleepers.h \
  framework/base/spelling.c framework/base/spelling.h \
  framework/base/signature.c framework/base/signature.h \
  framework/base/text.c \
  framework/base/thread.c framework/base/thread.h \
  framework/base/version.c \
  framework/base/meeting.c \
  framework/base/work.c framework/base/work.h

# The only place that knows where things are installed.
noinst_LTLIBRARIES += framework/base/libpaths.la
framework_base_libpaths_la_SOURCES = framework/base/paths.c
framework_base_libpaths_la_CPPFLAGS = $(AM_CPPFLAGS) -DSM_PLUGINDIR='"$(pkglibdir)"' \
  -DSM_RECIPEDIR='"$(pkgdatadir)/recipes"'
libsmalti_la_LIBADD += framework/base/libpaths.la

check_PROGRAMS += \
  tests/unit/test_base_error \
  tests/unit/test_base_file \
  tests/unit/test_base_iofail \
  tests/unit/test_base_mapped \
  tests/unit/test_base_memory \
  tests/unit/test_base_number \
  tests/unit/test_base_pool \
  tests/unit/test_base_rng \
  tests/unit/test_base_sleepers \
  tests/unit/test_base_spelling \
  tests/unit/test_base_work

# Not a plugin: a library to preload, which makes system calls fail. Never sanitized: it comes before the sanitizer.
check_LTLIBRARIES += tests/preload/iofail.la
tests_preload_iofail_la_SOURCES = tests/preload/iofail.c
tests_preload_iofail_la_CFLAGS = $(SM_CODE_CFLAGS) $(SM_WARNING_CFLAGS) $(if $(SM_SANITIZE_CFLAGS),-DSM_SANITIZED)
tests_preload_iofail_la_LDFLAGS = -module -avoid-version -shared -rpath /nowhere


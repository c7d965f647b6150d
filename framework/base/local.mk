# framework/base: errors, memory, text, randomness, threads, log and files
pkginclude_HEADERS += framework/include/smalti/base.h
libsmalti_la_SOURCES += \
  framework/base/version.c

# The only place that knows where things are installed.
noinst_LTLIBRARIES += framework/base/libpaths.la
framework_base_libpaths_la_SOURCES = framework/base/paths.c
framework_base_libpaths_la_CPPFLAGS = $(AM_CPPFLAGS) -DSM_PLUGINDIR='"$(pkglibdir)"' \
  -DSM_RECIPEDIR='"$(pkgdatadir)/recipes"'
libsmalti_la_LIBADD += framework/base/libpaths.la

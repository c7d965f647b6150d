# framework/show: figures of what a network sees
libsmalti_la_SOURCES += \
  framework/show/attention.c \
  framework/show/colours.c \
  framework/show/correspond.c \
  framework/show/look.c \
  framework/show/mass.c \
  framework/show/matches.c \
  framework/show/patterns.c \
  framework/show/pca.c \
  framework/show/pca_file.c \
  framework/show/sheet.c \
  framework/show/show.h
pkginclude_HEADERS += framework/include/smalti/show.h

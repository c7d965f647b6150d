# framework/train: see the list of variables at the top of Makefile.am
libsmalti_la_SOURCES += \
  framework/train/ssl.h \
  framework/train/ssl_build.c \
  framework/train/ssl_private.h \
  framework/train/ssl_step.c

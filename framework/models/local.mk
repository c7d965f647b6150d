# framework/models: model files and the network handle
libsmalti_la_SOURCES += \
  framework/models/checkpoint.c \
  framework/models/checkpoint.h \
  framework/models/foreign.c \
  framework/models/foreign.h \
  framework/models/foreign_names.c \
  framework/models/foreign_swin.c \
  framework/models/foreign_vit.c \
  framework/models/models.h \
  framework/models/names.c \
  framework/models/names.h \
  framework/models/network.c \
  framework/models/network_head.c \
  framework/models/network_open.c \
  framework/models/network_private.h \
  framework/models/weights.c \
  framework/models/weights.h \
  framework/models/weights_file.c \
  framework/models/weights_names.c \
  framework/models/weights_names.h \
  framework/models/weights_outside.c \
  framework/models/weights_save.c
pkginclude_HEADERS += framework/include/smalti/network.h

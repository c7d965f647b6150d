# framework/plugin: version notes, the loader, the registry, instances
pkginclude_HEADERS += \
  framework/include/smalti/plugin.h \
  framework/include/smalti/registry.h
libsmalti_la_SOURCES += \
  framework/plugin/default.c \
  framework/plugin/descriptor.c \
  framework/plugin/instance.c \
  framework/plugin/kind.c framework/plugin/kind.h \
  framework/plugin/loader.c framework/plugin/loader.h \
  framework/plugin/note.c framework/plugin/note.h \
  framework/plugin/registry.c framework/plugin/registry_private.h

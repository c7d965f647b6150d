# framework/plugin: version notes, the loader, the registry, instances
pkginclude_HEADERS += \
  framework/include/smalti/backbone.h framework/include/smalti/dataset.h framework/include/smalti/evaluation.h \
  framework/include/smalti/head.h framework/include/smalti/loss.h framework/include/smalti/masker.h \
  framework/include/smalti/module.h framework/include/smalti/objective.h framework/include/smalti/plugin.h \
  framework/include/smalti/tokenizer.h
libsmalti_la_SOURCES += \
  framework/plugin/ask.c \
  framework/plugin/blame.c \
  framework/plugin/descriptor.c \
  framework/plugin/imports.c \
  framework/plugin/instance.c \
  framework/plugin/kind.c framework/plugin/kind.h \
  framework/plugin/loader.c framework/plugin/loader.h \
  framework/plugin/note.c framework/plugin/note.h \
  framework/plugin/option.c framework/plugin/option.h \
  framework/plugin/option_text.c \
  framework/plugin/registry.c framework/plugin/registry.h framework/plugin/registry_private.h

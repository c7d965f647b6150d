# framework/recipe: YAML into typed values through option tables; the resolved recipe
libsmalti_la_SOURCES += \
  framework/recipe/fill.c \
  framework/recipe/fit.c \
  framework/recipe/merge.c \
  framework/recipe/option.c framework/recipe/option.h \
  framework/recipe/option_text.c \
  framework/recipe/override.c \
  framework/recipe/recipe.h framework/recipe/recipe_private.h \
  framework/recipe/resolve.c \
  framework/recipe/schedules.c \
  framework/recipe/schema.c framework/recipe/schema.h \
  framework/recipe/source.c \
  framework/recipe/write.c

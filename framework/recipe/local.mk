libsmalti_la_SOURCES += \
  framework/recipe/alike.c framework/recipe/alike.h \
  framework/recipe/ask.h \
  framework/recipe/effects.c \
  framework/recipe/fit_blame.c framework/recipe/fit.c framework/recipe/fit.h \
  framework/recipe/fit_drops.c \
  framework/recipe/fit_joins.c \
  framework/recipe/fit_masks.c \
  framework/recipe/fit_objective.c \
  framework/recipe/fit_step.c \
  framework/recipe/fit_views.c \
  framework/recipe/load.c \
  framework/recipe/merge.c \
  framework/recipe/name.c \
  framework/recipe/override.c \
  framework/recipe/recipe.h framework/recipe/recipe_private.h \
  framework/recipe/resolve.c \
  framework/recipe/schedules.c \
  framework/recipe/schema.c framework/recipe/schema.h \
  framework/recipe/slots.c \
  framework/recipe/source.c \
  framework/recipe/threads.c \
  framework/recipe/write.c

# framework/check: what `smalti plugins check` does to a plugin; above recipe, below cli
libsmalti_la_SOURCES += \
  framework/check/apart.c framework/check/apart.h \
  framework/check/check.c framework/check/check.h framework/check/driver.h \
  framework/check/check_backbone.c \
  framework/check/check_dataset.c \
  framework/check/check_evaluation.c \
  framework/check/check_decoder.c framework/check/check_head.c \
  framework/check/check_loss.c \
  framework/check/check_masker.c \
  framework/check/check_objective.c \
  framework/check/check_tokenizer.c \
  framework/check/trial.c \
  framework/check/variant.c \
  framework/check/watch.c framework/check/watch.h

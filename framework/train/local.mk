# framework/train: the objective, the loop, checkpoints, the run folder
libsmalti_la_SOURCES += \
  framework/train/bench.c \
  framework/train/bench.h \
  framework/train/fitting.c \
  framework/train/folder.c \
  framework/train/folder.h \
  framework/train/loop.c \
  framework/train/monitor.c \
  framework/train/monitor.h \
  framework/train/objective.c \
  framework/train/open.c \
  framework/train/record.c \
  framework/train/session.h \
  framework/train/signals.c \
  framework/train/ssl.h \
  framework/train/ssl_build.c \
  framework/train/ssl_masks.c \
  framework/train/ssl_private.h \
  framework/train/ssl_sets.c \
  framework/train/ssl_step.c \
  framework/train/train.h

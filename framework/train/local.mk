# framework/train: what trains, its step, the loop, the run folder
libsmalti_la_SOURCES += \
  framework/train/bench.c framework/train/bench.h \
  framework/train/configure.c \
  framework/train/distil_bounds.c \
  framework/train/identity.c \
  framework/train/distil.c framework/train/distil.h \
  framework/train/distil_feed.c \
  framework/train/distil_masks.c \
  framework/train/distil_passes.c \
  framework/train/distil_sets.c \
  framework/train/distil_specs.c \
  framework/train/fitting.c \
  framework/train/folder.c framework/train/folder.h \
  framework/train/loop.c \
  framework/train/monitor.c framework/train/monitor.h \
  framework/train/objective.c \
  framework/train/open.c \
  framework/train/record.c \
  framework/train/rehearse.c framework/train/rehearse.h \
  framework/train/share.c framework/train/share.h \
  framework/train/session.c framework/train/session.h \
  framework/train/signals.c \
  framework/train/step.c \
  framework/train/train.h \
  framework/train/trainable.c framework/train/trainable.h \
  framework/train/views.c

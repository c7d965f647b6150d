# framework/nn: parameter sets, initial values, optimisers, averages, schedules
pkginclude_HEADERS += framework/include/smalti/params.h framework/include/smalti/schedule.h
libsmalti_la_SOURCES += \
  framework/nn/ema.c \
  framework/nn/init.c framework/nn/nn.h \
  framework/nn/optimizer.c \
  framework/nn/param.c \
  framework/nn/partial.c \
  framework/nn/pieces.c framework/nn/pieces.h \
  framework/nn/schedule.c \
  framework/nn/set.c framework/nn/set.h \
  framework/nn/set_memory.c \
  framework/nn/set_values.c

check_PROGRAMS += \
  tests/unit/test_nn_optimizer \
  tests/unit/test_nn_schedule \
  tests/unit/test_nn_sets

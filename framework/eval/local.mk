# framework/eval: features of a backbone, k-NN
pkginclude_HEADERS += framework/include/smalti/eval.h
libsmalti_la_SOURCES += \
  framework/eval/eval.h \
  framework/eval/evaluator.c \
  framework/eval/knn.c

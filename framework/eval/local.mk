# framework/eval: evaluations, room by room (see eval.h)
pkginclude_HEADERS += framework/include/smalti/measure.h framework/include/smalti/retrieval.h framework/include/smalti/video.h
pkginclude_HEADERS += framework/include/smalti/discovery.h framework/include/smalti/segmentation.h framework/include/smalti/dense.h
pkginclude_HEADERS += framework/include/smalti/upernet.h
libsmalti_la_SOURCES += \
  framework/eval/eval.h framework/eval/context.c framework/eval/evaluator.h \
  framework/eval/pictures.c framework/eval/whole.c framework/eval/subset.c framework/eval/subset.h \
  framework/eval/features.c framework/eval/features.h framework/eval/features_net.c framework/eval/forecast.c \
  framework/eval/share.c framework/eval/serve.c framework/eval/crops.c \
  framework/eval/assigned.c \
  framework/eval/classes.c framework/eval/classes.h \
  framework/eval/bench.c framework/eval/bench.h \
  framework/eval/clip_score.c \
  framework/eval/dense.c framework/eval/patch_head.c framework/eval/patch_head.h framework/eval/patch_memory.c framework/eval/patch_pixels.c \
  framework/eval/discovery.c \
  framework/eval/classify.c framework/eval/classify.h \
  framework/eval/figures.c framework/eval/hits.c framework/eval/hold_out.c framework/eval/class_mean.c \
  framework/eval/kept.c framework/eval/kmeans.c \
  framework/eval/landmarks.c \
  framework/eval/knn.c \
  framework/eval/classifier.c framework/eval/rows.c framework/eval/mean_interval.c \
  framework/eval/linear.c framework/eval/sweep.c \
  framework/eval/logistic.c \
  framework/eval/logistic_fit.c \
  framework/eval/overlap.c framework/eval/partitions.c framework/eval/propagation.c \
  framework/eval/ranking.c framework/eval/whitening.c framework/eval/whitening_file.c \
  framework/eval/probe.c \
  framework/eval/lapack.h framework/eval/lidar.c framework/eval/sample.c framework/eval/segmentation.c framework/eval/spectrum.c framework/eval/sphere.c \
  framework/eval/finetune.c \
  framework/eval/tune_mix.c \
  framework/eval/tune_net.c framework/eval/tune_net.h \
  framework/eval/tune_state.c framework/eval/tune_state.h \
  framework/eval/tune_step.c framework/eval/tune_step.h \
  framework/eval/tune_test.c framework/eval/tune_test.h \
  framework/eval/upernet.c framework/eval/upernet_head.c framework/eval/upernet_head.h

# framework/score: measures of files that hold answers; may use base and formats
pkginclude_HEADERS += framework/include/smalti/coco.h
libsmalti_la_SOURCES += \
  framework/score/coco_ap.c \
  framework/score/coco_read.c \
  framework/score/polygon.c \
  framework/score/rle.c \
  framework/score/score.h

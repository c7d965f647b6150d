# framework/table: table recipes and the runs they ask for
libsmalti_la_SOURCES += \
  framework/table/child.c \
  framework/table/claim.c \
  framework/table/columns.c \
  framework/table/compare.c framework/table/correlate.c \
  framework/table/estimate.c \
  framework/table/gallery.c \
  framework/table/gallery.h \
  framework/table/jobs.c \
  framework/table/noise.c \
  framework/table/others.c \
  framework/table/output.c \
  framework/table/page.c \
  framework/table/read.c \
  framework/table/results.c \
  framework/table/results.h \
  framework/table/table.h \
  framework/table/tabular.c \
  framework/table/words.c \
  framework/table/work.c

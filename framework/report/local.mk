# framework/report: tables, charts, pages; may use base and formats
libsmalti_la_SOURCES += \
  framework/report/bins.c \
  framework/report/card.c framework/report/card.h \
  framework/report/chart.c framework/report/chart.h \
  framework/report/curve_groups.c \
  framework/report/html.c framework/report/html.h \
  framework/report/number.c \
  framework/report/page.c framework/report/page.h \
  framework/report/plugins.c \
  framework/report/recipe.c framework/report/report.h \
  framework/report/report_compare.c \
  framework/report/report_run.c \
  framework/report/run.c framework/report/run.h \
  framework/report/tabular.c \
  framework/report/width.c

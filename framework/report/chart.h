/* chart.h — private to this folder: a series brought down to what a picture can show. */
#ifndef SMALTI_REPORT_CHART_H
#define SMALTI_REPORT_CHART_H

#include "framework/report/report.h"

typedef struct sm_bins {
  size_t n;
  double *x, *mean, *low, *high; /* mean NaN: a gap. Not binned: all three are the value itself */
  bool binned;
} sm_bins;

/* Bins of equal width over x0 … x1. A series of at most two points per bin is taken as it is. A bin that
 * holds only missing values is a gap; one without any points is left out. */
sm_status sm_bins_make(sm_bins *, const sm_chart_series *, double x0, double x1, size_t bins);
void sm_bins_free(sm_bins *);

#endif

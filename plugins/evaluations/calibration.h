/* calibration.h — whether confidence says when a classifier is right (Hendrycks et al., CVPR 2021): RMS calibration
 * error and the area under the curve of accuracy over response rate, with intervals over pictures. */
#ifndef CALIBRATION_H
#define CALIBRATION_H

#include <smalti/measure.h>

enum {
  CALIBRATION_RMS,    /* root of the mean over bins, by their pictures, of (mean confidence - accuracy)² */
  CALIBRATION_SCRIPT, /* as the published script has it, which leaves the last bin out; NaN with one bin */
  CALIBRATION_AURRA,  /* mean over k of the accuracy of the k pictures of the largest confidence */
  CALIBRATIONS
};
/* In percent, of n > 0 pictures. Bins are runs of `bin` pictures by ascending confidence, the last one with the rest; equal
 * confidences by number. Intervals: percentiles of 1000 resamples of pictures, keyed. SM_ENOMEM. */
sm_status calibration_of(const float *confidence, const uint8_t *right, int64_t n, int64_t bin,
                         double value[CALIBRATIONS], sm_interval interval[CALIBRATIONS], sm_error *);

#endif

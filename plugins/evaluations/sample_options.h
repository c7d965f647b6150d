/* sample_options.h — what `rankme`, `lidar` and `alignment` share: whose features they measure without a label, and, of
 * the latter two, the random crops of each picture. */
#ifndef SAMPLE_OPTIONS_H
#define SAMPLE_OPTIONS_H

#include <smalti/measure.h>
#include <smalti/plugin.h>

typedef struct sample_options {
  int64_t pictures, seed;
  int pool, split;
  double least_area, randaugment; /* of crops */
  bool flip;
} sample_options;

static const char *const sample_pools[] = {"cls", "mean", "both", NULL}; /* in the order of sm_pool_mode */
static const char *const sample_splits[] = {"train", "test", NULL};

#define SAMPLE_OPTIONS(T, f)                                                      \
  SM_CHOICE(T, f.pool, "pool", "cls", sample_pools,                               \
            "features: [CLS], mean of the patches, or both side by side"),        \
      SM_CHOICE(T, f.split, "split", "train", sample_splits, "which pictures")

#define CROP_OPTIONS(T, f)                                                            \
  SM_FLOAT(T, f.least_area, "least_area", "0.08", 0.01, 1, NULL,                      \
           "views are random crops from this share of the picture's area on"),        \
      SM_BOOL(T, f.flip, "flip", "true", "half of the views from left to right"),     \
      SM_FLOAT(T, f.randaugment, "randaugment", "0", 0, 10, NULL,                     \
               "magnitude of RandAugment on each view; 0: none"),                     \
      SM_INT(T, f.seed, "seed", "0", 0, 1e9, NULL, "of pictures and views")

static inline void sample_wants(const sample_options *o, sm_feature_spec *spec) {
  spec->blocks = 1;
  spec->pool = (sm_pool_mode)o->pool;
  spec->labels = SM_LABELS_NONE;
  spec->train_alone = o->split == 0;
}

/* views 0: no crops, the pictures as they are. */
static inline sm_status sample_get(const sample_options *o, int views, sm_eval_context *x, sm_feature_spec *spec,
                                   sm_sample *out, sm_error *err) {
  const sm_sample_request request = {.split = sample_splits[o->split],
                                     .pictures = o->pictures,
                                     .views = views,
                                     .least_area = o->least_area,
                                     .flip = o->flip,
                                     .randaugment = o->randaugment,
                                     .seed = (uint64_t)o->seed};
  sample_wants(o, spec);
  return sm_sample_get(x, &request, spec, out, err);
}

/* For the protocol: "1000 training pictures", and of crops ", 50 random crops each (area from 0.08, flips)". */
static inline const char *sample_text(const sample_options *o, const sm_sample *s, bool crops, char *text, size_t size) {
  const int n = snprintf(text, size, "%lld %s pictures", (long long)s->n, o->split ? "test" : "training");
  if (crops && n > 0 && (size_t)n < size)
    snprintf(text + n, size - (size_t)n, ", %d random crops each (area from %g%s%s)", s->views, o->least_area,
             o->flip ? ", flips" : "", o->randaugment > 0 ? ", RandAugment" : "");
  return text;
}

#endif

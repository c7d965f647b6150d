/* eval_rig.h — evaluation plugins run on features that a test has made; eval_bench.h has a network and
 * pictures. */
#ifndef SM_TEST_EVAL_RIG_H
#define SM_TEST_EVAL_RIG_H

#include <smalti/measure.h>

typedef struct eval_rig {
  sm_eval_context context; /* first: callbacks get this pointer */
  sm_features train, test;
  int stop_after, asked; /* calls of going_on: that many-th one says stop; 0: none does */
  double done;           /* what the last one was told */
  sm_feature_spec spec;  /* as asked for */
} eval_rig;

eval_rig eval_rig_make(sm_pool *, sm_features train, sm_features test);
/* Find the plugin, fill its options from YAML, run it. Fails the test where it cannot be made. */
sm_status eval_rig_run(eval_rig *, const char *plugin, const char *yaml, sm_eval_result *, sm_error *);

#endif

/* check.h — tries to break a plugin: `smalti plugins check`. Private to the tree.
 *
 * A plugin is instantiated with its defaults, every choice, and the smallest and largest value of each
 * option, one at a time; each instance is driven as training would drive it, on tiny data, in double
 * precision. What is found comes as lines of text. */
#ifndef SM_CHECK_H
#define SM_CHECK_H

#include "framework/plugin/registry.h"
#include "watch.h"

typedef enum {
  SM_CHECK_PASS,
  SM_CHECK_FAIL,
  SM_CHECK_NOTE /* neither: an instance the plugin refused with a reason, a test that was too large to run */
} sm_check_mark;

typedef struct sm_check_config {
  const sm_host *host; /* what instances get that ask for it */
  const char *options; /* YAML that all instances share ("{path: pictures}"), or NULL */
  void (*line)(void *ctx, sm_check_mark, const char *text);
  void *ctx;
  sm_watch *watch; /* where it is: watch->part (0: its life, then one a variant) and the callback that runs */
} sm_check_config;

/* From watch->part on, which is 0 but where a crash has ended an earlier process (apart.h). SM_OK also when
 * the plugin fails, which its lines say. An error means that the check itself could not be done. */
sm_status sm_check_plugin(const sm_plugin *, const sm_check_config *, sm_error *);

/* Of options for all `n` plugins of a module, those that `p` knows, or that none of them knows (an error,
 * told by each); NULL if none is left. The text lives in the arena. */
const char *sm_check_options(const sm_plugin *const *all, int n, const sm_plugin *p, const char *options,
                             sm_arena *);

#endif

/* names.h — how the rows of a run's sets are called, and the tensors of its checkpoints.
 *
 *   set      rows                                                    tensor in a checkpoint
 *   student  backbone.…, head.… or head.NAME.…                       student.backbone.…
 *   teacher  the same, and nothing where no tokenizer looks at one   teacher.backbone.…
 *   state    tokenizer.… or tokenizer.NAME.…,                        state.tokenizer.…
 *            head.student.… or head.NAME.teacher.…
 *
 * An instance called "main" leaves its name out. */
#ifndef SM_NAMES_H
#define SM_NAMES_H

#include <smalti/base.h>
#include <smalti/head.h>

#define SM_BACKBONE_PREFIX "backbone."

/* The sets that a checkpoint holds, in its order. */
typedef enum { SM_SET_STUDENT, SM_SET_TEACHER, SM_SET_STATE, SM_SETS_SAVED } sm_saved_set;
extern const char *const sm_set_names[]; /* "student", "teacher", "state" */

/* "head." or "head.NAME.": where the names of an instance's rows begin. Returns `to`. */
const char *sm_instance_prefix(char *to, size_t size, const char *kind, const char *instance);
/* The same for a head's state: "head.NAME.teacher.". */
const char *sm_head_state_prefix(char *to, size_t size, const char *instance, sm_role role);

#endif

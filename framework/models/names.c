/* names.c — see names.h. */
#include "names.h"

#include <string.h>

const char *const sm_set_names[] = {"student", "teacher", "state"};

const char *sm_instance_prefix(char *to, size_t size, const char *kind, const char *instance) {
  if (strcmp(instance, "main")) snprintf(to, size, "%s.%s.", kind, instance);
  else snprintf(to, size, "%s.", kind);
  return to;
}

const char *sm_head_state_prefix(char *to, size_t size, const char *instance, sm_role role) {
  sm_instance_prefix(to, size, "head", instance);
  size_t n = strlen(to);
  snprintf(to + n, size - n, "%s.", sm_set_names[role == SM_ROLE_TEACHER ? SM_SET_TEACHER : SM_SET_STUDENT]);
  return to;
}

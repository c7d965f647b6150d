/* json_read.c — JSON read by cJSON, which gives nothing back both for a damaged text and for want of memory:
 * its allocations go through ours, where a failed one leaves a mark. */
#include <cjson/cJSON.h>
#include <pthread.h>

#include "framework/formats/formats.h"

static pthread_once_t json_read_once = PTHREAD_ONCE_INIT;
static _Thread_local bool json_read_lost; /* memory ran out since the thread's last reading began */

static void *json_read_malloc(size_t bytes) {
  void *block = sm_malloc(bytes);
  json_read_lost = json_read_lost || !block;
  return block;
}

static void json_read_hook(void) {
  cJSON_InitHooks(&(cJSON_Hooks){.malloc_fn = json_read_malloc, .free_fn = sm_free});
}

sm_status sm_json_read(const char *text, size_t bytes, cJSON **json, sm_error *err) {
  pthread_once(&json_read_once, json_read_hook);
  json_read_lost = false;
  *json = cJSON_ParseWithLengthOpts(text, bytes + 1, NULL, 1);
  if (*json) return SM_OK;
  return json_read_lost ? sm_fail(err, SM_ENOMEM, "no memory to read JSON")
                        : sm_fail(err, SM_EFORMAT, "the text is no JSON");
}
